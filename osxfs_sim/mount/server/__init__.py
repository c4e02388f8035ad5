"""The process that serves a share.

main                   where it begins; launch starts it
session                the life of a mount: start, signals, end, clean-up
assembly               puts the parts of one share together, as its settings ask for
local                  the server of a share without requests: the host's directory, or a copy
status                 what any share tells of itself
request_status         what a share that serves requests adds to it
share_warnings         what the user should know of it before trusting a number
control_socket         answers the questions of mounts/control
recovery_process       writes to the host what an earlier share has left: a process of its own
without_fuse           starts a process that cannot import pyfuse3
signals                those by which a server is asked to end
synthetic_directories  directories of the server's own in the root of a share
log                    what it says, once each, bounded
supervisor             a process that takes the mount away when the server is gone
supervision            the server's side of it
waits                  whether the loop waits for the share itself
"""
