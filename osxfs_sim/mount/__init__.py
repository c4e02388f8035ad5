"""The emulated share on a real kernel: a FUSE server, and all that keeps it honest.

The way of a request: loop reads it, requests answers it from the tree, latency holds its
reply until it is due. What the host changes comes by watch and events; what a guest's
changes wait for is in writeback.

    launch     starts a mount in a process of its own, and waits until it is ready
    force      ends a share within two seconds, whatever state it is in
    errors     what goes wrong with a share, for its user
    syscalls   the few system calls that the standard library lacks
    loop       the event loop over /dev/fuse: reads requests, resumes those whose reply is due
    latency    what a round trip costs, and what it did cost
    tree       the inode table, spellings, owners, and descriptors of the host's directories
    requests   the FUSE operations, written through to the host
    watch      changes of the host, as fanotify or inotify tells of them
    events     from a change of the host to what the guest sees and hears of it
    writeback  changes of the guest that the host gets later: journal, overlay, host writer
    mounts     mount points, volumes, host services, identities: what is there before a request
    server     the process that serves a share: its life, status, control socket, supervisor
    faults     bugs of real systems, made on purpose

pyfuse3 is imported here only, and trio with it only when a mount is made: commands that
ask a share, or find a mistake, start in half the time.
"""
