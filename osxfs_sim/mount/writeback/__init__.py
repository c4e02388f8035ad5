"""Changes of the guest that the host gets later (docs/write-back.md).

handlers      the requests of a share that holds changes
overlay       what is held of an object, laid over the host's answers
journal       keeps it beyond the server's end: a write-ahead log
writeback     holds, waits, and has changes made on the host in time and in order
host_writer   makes one change on the host, whatever that did meanwhile
room          whether the host says itself that it has no room
quarantine    what the host has refused, apart from what is still on its way
sync_errors   what fsync(2) has to say of changes that the host has not taken
sync_barrier  tells of sync(2), for which the kernel does not wait
unwritten     what a share that ended badly has left: told, or given up
recovery      writes it to the host
draining      waits for the journal of a share that is unmounted and still writes back
"""
