"""The FUSE operations, written through to the host, in layers that hold the next.

dispatch         what pyfuse3 calls: a request becomes a value; order, and one answer to each
layer            a layer over something of the same shape: what it does not do is the next one's
tracing          the layer that shows every request to a trace, or to live counters
handlers         the requests: host work, price, delay, reply
listing          READDIR and READDIRPLUS
host_listing     the host's part of these: the names, and what each is
reading          READ
host_operations  the host's part of each: one short method
host_calls       calls it now or in a thread, has it paid for, and says which errno a failure is
identities       which inode a name of the host's is
namespace        gives and takes names on the host, and keeps what is known of them
entries          the replies that name an object, show it, or say that there is none
attributes       how the attributes of an object are put into a reply
caching          may the guest's kernel keep an answer, and for how long?
handle_table     what the guest has open
open_handles     how many files and directories who may have open
live_counters    what is requested of a share just now: rates, latency, directories
"""
