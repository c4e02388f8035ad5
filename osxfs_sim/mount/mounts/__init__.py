"""What there is of a mount before a request comes, and what is beside it.

mountpoints      the kernel's table of mounts: checks before, unmounting after
runtime_records  what a server says of itself in a file, for who finds no share
control          asks a running share: status, reset, drop-events
connections      aborts a FUSE connection by fusectl, whatever its server does
namespaces       who keeps a share alive that is unmounted, and who is inside
cycles           keeps a server out of its own mount
lower            what a mount rests on, where that are files of another
identity         as whom the server works
exports_root     the mount point of a share file: a directory that shows the exports
volumes          guest-local directories in a share
copying          the guest's own copy of the host's directory: whole, or not at all
services         host services: sockets of a share that lead to the host
service_checks   what may be one, looked at before anything is mounted
binder           binds them, in a process of its own
"""
