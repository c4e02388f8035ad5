"""The emulated share on a real kernel.

A request's path, in the order the files are met:

    session     the life of a mount: start, signals, end, clean-up
    assembly    puts its parts together, as the settings ask for
    reactor     reads requests from the kernel and resumes each when its reply is due
    handlers    one short method per request: host work, price, hold, reply
    inodes      what the kernel knows by number, and how to reach it on the host
    backing     the host directory, through directory descriptors only
    crossings   prices a request, holds its reply, writes the receipt

what a request keeps, refuses and shows:

    owners      whose an object is; owner_store, for what carries no attribute
    set_id      what ends set-id bits
    attributes  extended attributes of the guest
    spellings   what the host calls a name; collisions, names that fold together;
                callers, what a process is in the middle of
    identity    as whom the server works

what the host changes meanwhile (docs/events.md):

    host_events its way to the guest, from the watcher's hints to raised events
    watch       sees it, and tells our own changes apart
    fanotify    by the process that made them
    inotify     by the state they left, where there is no fanotify
    invalidate  ends what the guest's kernel believes of it
    inject      raises the guest's events by system calls in the mount
    acknowledge answers these, and applies none
    name_sets   all names of a directory, so that every other is missing

what the guest changes and the host gets later (docs/write-back.md):

    delegated   the requests of a share that holds changes
    held        what is held of an object, and laid over the host's answers
    journal     keeps it beyond the server's end
    write_back  holds, waits, and has changes carried out in time and in order
    carry_out   makes one change on the host, whatever that did meanwhile
    sync_barrier tells of sync(2); the supervisor answers it
    unwritten   what an ended share has left; recovery writes it to the host
    draining    waits for a share that is unmounted and still writes back

on purpose (docs/museum.md):

    bugs        those of real systems, laid over the handlers and the host's events

shares without requests (docs/topologies.md):

    local       the server of one: the host's directory itself, or the guest's copy
    copying     makes the copy

several trees, and sockets that cross:

    hub         the mount point of a share file
    overlaps    the parts of an export that obey another's stronger mode
    grafts      a directory of the server's own in the root of a share
    volumes     guest-local directories in a share
    services    sockets in it that lead to the host; service_checks, what may be one
    binder      binds them, in a process of its own

and beside it:

    calibration what lies outside the server's own clock; prober, its client
    wakefulness polling, PM QoS and sleep: what it costs to be quick
    receipt     asked-for against achieved latency
    ending      the signals by which a server is asked to end
    supervisor  a process that takes the mount away when the server is gone; supervision, the
                server's side of it
    cycles      keeps the server out of its own mount
    namespaces  who keeps a share alive that is unmounted: copies of its mount, and who is inside
    records     what a server says of itself in a file; force ends a share by it
    connections end by fusectl, whatever their server does
    control     a running mount's socket: status, reset, drop-events; answering, its server
    mountpoints the kernel's table of mounts: checks before, unmounting after
    launch      starts a mount in the background (server) and waits until it is ready
    syscalls    the few system calls that the standard library lacks

pyfuse3 is imported here only, and trio with it only when a mount is made: commands that
ask a share, or find a mistake, start in half the time.
"""
