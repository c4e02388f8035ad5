"""The FUSE operations, written through to the host.

dispatch       what pyfuse3 calls: order of requests, one answer to each
handlers       one short method per request: host work, price, hold, reply
open_handles   how many files and directories who may have open
tracing        shows every request to a trace, or to somebody who looks
live_counters  what is asked of a share just now: rates, latency, directories
"""
