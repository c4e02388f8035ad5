"""Gives back to what is made again on the host what the guest was shown of it, and no more.

And the few calls by which that is told and set, each by a descriptor of the very object.
"""

import contextlib
import errno
import fcntl
import os
import stat as modes
import threading
from typing import Any

from osxfs_sim.fs import at
from osxfs_sim.mount import syscalls
from osxfs_sim.mount.tree.backing import Backing
from osxfs_sim.mount.tree.inodes import Inode, Shown
from osxfs_sim.mount.tree.owners import Owners


def what_is_seen(status: Any) -> tuple[int, int, int]:
    """(mtime in ns, size, mode) of *status*: others tell a change of a file by the host."""
    return status.st_mtime_ns, status.st_size, status.st_mode


def seen_now(inode: Inode, backing: Backing) -> tuple[int, int, int]:
    """The (mtime in ns, size, mode) of the host's file *inode* now. Raises OSError."""
    if inode.overlay is not None and inode.overlay.fd >= 0:
        return what_is_seen(os.fstat(inode.overlay.fd))
    return what_is_seen(backing.status(inode))


def set_times_if_allowed(fd: int, atime_ns: int | None, mtime_ns: int | None) -> None:
    """Set access and modification time (ns; None keeps one); goes on where it may not.

    A time is no reason to refuse what has been done.
    """
    with contextlib.suppress(OSError):
        syscalls.set_times(fd, atime_ns, mtime_ns)


def status_of(dir_fd: int, name: bytes) -> os.stat_result | None:
    """The status of *name*, links not followed; None where there is none. Raises OSError."""
    try:
        return os.stat(name, dir_fd=dir_fd, follow_symlinks=False)
    except FileNotFoundError:
        return None


def close_elsewhere(fd: int) -> None:
    """Close *fd* in a thread of its own, as freeing a large file takes long; never fails.

    That takes as long as it takes to free what it held, and nobody need wait for it.
    """
    threading.Thread(target=os.close, args=(fd,), daemon=True).start()


def readable(source: int) -> int:
    """Another descriptor, to read the file behind *source*. Raises OSError."""
    try:
        return at.reopened(source, os.O_RDONLY)
    except PermissionError:
        fd = os.dup(source)  # which may do, whatever its mode has become
        if fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE != os.O_WRONLY:
            return fd
        os.close(fd)
    return opened_by_force(source, os.O_RDONLY)


def opened_by_force(fd: int, flags: int) -> int:
    """Open our own file behind *fd* despite its mode, kept as it is. Raises OSError."""
    status = os.fstat(fd)
    if status.st_uid != os.geteuid():
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    mode = modes.S_IMODE(status.st_mode)
    at.set_mode(fd, mode | modes.S_IRUSR | modes.S_IWUSR)
    try:
        return at.reopened(fd, flags)
    finally:
        at.set_mode(fd, mode)


def last_shown(inode: Inode) -> Shown | None:
    """The mode and owner the guest was last shown of *inode*; None: it never was."""
    shown, overlay = inode.shown, inode.overlay
    if shown is None or overlay is None or overlay.mode is None:
        return shown
    # What it has set will follow. Until then we must get in, and nobody else needs to.
    return shown._replace(mode=shown.mode & (overlay.mode | modes.S_IRWXU))


def dress(fd: int, owners: Owners, shown: Shown | None) -> None:
    """Give what was just made the owner and mode of *shown*, never more. Raises OSError.

    Nobody gets more of it than before: where it cannot be given to whom it belonged, what that
    user, or that group, could do to it is given to nobody else.
    """
    if shown is None:
        return
    mode = modes.S_IMODE(shown.mode)
    status = os.fstat(fd)
    if (status.st_uid, status.st_gid) != (shown.uid, shown.gid):
        with contextlib.suppress(OSError):
            syscalls.set_owner(fd, shown.uid if not os.geteuid() else -1, shown.gid)
        status = os.fstat(fd)
    if shown.owner_uid != -1 or shown.owner_gid != -1:
        wanted = (None if each == -1 else each for each in (shown.owner_uid, shown.owner_gid))
        owners.change(fd, status, *wanted)
    if status.st_gid != shown.gid:
        mode &= ~(modes.S_IRWXG | modes.S_ISGID)
    if status.st_uid != shown.uid:
        mode &= ~modes.S_ISUID
    at.set_mode(fd, mode)
