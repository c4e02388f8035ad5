"""The FUSE operations, written through to the host, in layers that hold the next.

dispatch         what pyfuse3 calls: a request becomes a value; order, and one answer to each
layer            a layer over something of the same shape: what it does not do is the next one's
tracing          the layer that shows every request to a trace, or to somebody who looks
handlers         the requests: host work, price, hold, reply
listing          READDIR and READDIRPLUS
reading          READ
host_operations  the host's part of each: one short method
host_calls       calls it now or in a thread, has it paid for, and says what a failure is told as
entries          what the guest is told of an object
caching          may the guest's kernel keep an answer, and for how long?
handle_table     what the guest has open
open_handles     how many files and directories who may have open
live_counters    what is asked of a share just now: rates, latency, directories
"""
