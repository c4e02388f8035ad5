"""Binds the sockets of host services in a share, from a process of its own.

A socket that is bound to a path holds the mount that it was bound through, and
umount(8) would find that mount busy. So this process binds through a copy of
the mount in a mount namespace of its own, which nobody else sees and which ends
with the process: what the sockets hold then is a mount without a place. It is
a process and not a thread because an ordinary user gets a mount namespace only
with a user namespace, which a process with threads cannot have.

Run as a script: the user to be, a descriptor of a socket, the directory, and the
names to bind in it. It waits for a byte on that socket, and answers with the sockets and
either ``apart`` or, where namespaces are forbidden, ``here``; or with an error.

It imports nothing of the package, so that it starts fast.
"""

import ctypes
import os
import socket
import sys

_CLONE_NEWNS = 0x20000
_CLONE_NEWUSER = 0x10000000
_MS_REC, _MS_PRIVATE = 1 << 14, 1 << 18
_WAITING_CONNECTIONS = 128


def _part_from_the_mounts_of_others() -> bool:
    """Get a mount namespace of our own. Returns whether that is allowed."""
    libc = ctypes.CDLL(None)
    if libc.unshare(_CLONE_NEWNS) and libc.unshare(_CLONE_NEWNS | _CLONE_NEWUSER):
        return False
    # Else an unmount elsewhere would be tried, and counted as busy, here too.
    libc.mount(None, b"/", None, ctypes.c_ulong(_MS_REC | _MS_PRIVATE), None)
    return True


def _become(user: str) -> None:
    """Be the user that the share's server becomes: ``uid:gid:group,group``, or ``-``.

    The server starts us before it becomes that user, who may not be able to
    run this very interpreter.
    """
    if user == "-":
        return
    uid, gid, groups = user.split(":")
    os.setgroups([int(group) for group in groups.split(",") if group])
    os.setresgid(int(gid), int(gid), int(gid))
    os.setresuid(int(uid), int(uid), int(uid))


def main() -> None:
    """Run the binding process: bind the sockets when told to; answers with them or an error."""
    user, fd, directory, *names = sys.argv[1:]
    with socket.socket(fileno=int(fd)) as parent:
        if not parent.recv(1):
            return  # the share is not to be
        try:
            where = b"apart" if _part_from_the_mounts_of_others() else b"here"
            _become(user)
            # From within, as the paths of sockets are short.
            os.chdir(directory)
            bound = [socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) for _ in names]
            for each, name in zip(bound, names, strict=True):
                each.bind(os.fsencode(name))
                each.listen(_WAITING_CONNECTIONS)
        except OSError as error:
            parent.sendall(os.fsencode(error.strerror or str(error)))
        else:
            socket.send_fds(parent, [where], [each.fileno() for each in bound])


if __name__ == "__main__":
    main()
