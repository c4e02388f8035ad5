"""The event loop over /dev/fuse. It knows nothing of file systems.

reactor          reads requests from the kernel, and resumes each when its reply is due
notifications    FUSE invalidations (FUSE_NOTIFY_INVAL_*, INC_EPOCH), as values
request          a request as a value: made when it comes, passed along until its answer
cpu_contention   whether others want the processor that it polls on
pm_qos           polling, PM QoS and sleep: what it costs to be quick
negotiation      asks the kernel for what pyfuse3 does not ask for (FUSE_INIT)
fd_tables        threads without /dev/fuse, which may wait in the server's own mount
internal_errors  errors of our own: counted, logged once per kind, survived
"""
