"""The objects of a share: inode table, spellings, owners, and the host below them.

inodes              what the kernel knows by number, and its lookup counts
pending             what the guest has changed of an object, and the host does not have yet
backing             the host directory, through directory descriptors only
generations         tells an object of the host from a later one with its inode number
overlaps            the parts of a share that obey another export's stronger mode
spellings           what the host calls a name that the guest may spell in another way
collisions          names that fold together, looked for before anybody works in a tree
system_calls        which system call a thread waits in, by its name
syscall_inspection  what a process is in the middle of, where its request does not tell
owners              who owns an object, as the guest sees it
owner_store         owners of what cannot carry the attribute: symlinks, sockets, FIFOs
xattrs              extended attributes of the guest
set_id              what clears set-user-ID and set-group-ID bits
host_limits         what the host's file system takes for sure
"""
