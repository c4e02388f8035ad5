"""Set-user-ID and set-group-ID bits, and what clears them (inode(7), chown(2), write(2)).

When somebody who is not root changes a file, what runs with another's rights
must not run any more. The guest's kernel leaves that to the server
(FUSE_HANDLE_KILLPRIV), or asks it to set the mode that is left; and the host's
kernel does it for every server but root.
"""

import contextlib
import os
import stat as modes
from collections.abc import Callable

from osxfs_sim.fs import at
from osxfs_sim.mount import syscalls

_KEEP_SIZE = 0x01  # FALLOC_FL_KEEP_SIZE (linux/falloc.h)


def without_set_id(mode: int) -> int:
    """File *mode* without set-user-ID, and without set-group-ID where its group may execute.

    The set-group-ID bit of a file that its group may not execute means mandatory locking, and
    stays.
    """
    mode &= ~modes.S_ISUID
    return mode & ~modes.S_ISGID if mode & modes.S_IXGRP else mode


def cleared_set_id(mode: int) -> int | None:
    """The permission bits of *mode* without set-id bits. None: it has none that a change clears."""
    kept = without_set_id(modes.S_IMODE(mode))
    return None if kept == modes.S_IMODE(mode) else kept


def has_group_id_alone(mode: int) -> bool:
    """Whether a file's set-group-ID bit stands without the right to execute for its group.

    It means no program then, and stays when members of the group change the
    file (setattr_should_drop_sgid in the kernel, from 6.2).
    """
    return bool(mode & modes.S_ISGID and not mode & modes.S_IXGRP and modes.S_ISREG(mode))


def clear_set_id(fd: int, *, non_member: bool) -> None:
    """Clear set-id bits of the file behind *fd*, before who is not root changes it. Raises OSError.

    *non_member*: the caller is not in its group, so that set-group-ID goes in any case.
    """
    mode = os.fstat(fd).st_mode
    if mode & (modes.S_ISUID | modes.S_ISGID) and modes.S_ISREG(mode):
        kept = without_set_id(mode)
        if non_member:
            kept &= ~modes.S_ISGID
        if kept != mode:
            at.set_mode(fd, modes.S_IMODE(kept))


def clear_set_gid(fd: int) -> None:
    """Clear set-group-ID of what is behind *fd*, for a caller outside its group. Raises OSError."""
    at.set_mode(fd, modes.S_IMODE(os.fstat(fd).st_mode) & ~modes.S_ISGID)


def set_mode(fd: int, before: int, mode: int, is_written: Callable[[], bool]) -> None:
    """Set *mode* on what is behind *fd*, whose mode is *before*. Raises OSError: EPERM.

    The guest's kernel asks for that before somebody writes to a set-id file. Who may write may
    clear its bits, by writing; but only its owner may set its mode, which we need not be. Then the
    host's kernel clears them for us, here or, where *is_written* says that the guest has it open to
    write, with the write to come.
    """
    try:
        at.set_mode(fd, mode)
    except PermissionError:
        if not only_clears_set_id(before, mode):
            raise
        if modes.S_IMODE(os.fstat(fd).st_mode) == mode:
            return  # it was cut as well
        if not _clear_by_writing(fd, mode) and not is_written():
            raise


def only_clears_set_id(before: int, mode: int) -> bool:
    """Whether changing file mode *before* to *mode* only clears set-id bits, as a write does."""
    if not modes.S_ISREG(before) or not before & (modes.S_ISUID | modes.S_ISGID):
        return False
    kept = modes.S_IMODE(without_set_id(before))
    return mode != modes.S_IMODE(before) and mode in (kept, kept & ~modes.S_ISGID)


def _clear_by_writing(fd: int, mode: int) -> bool:
    """Have the host's kernel clear what a write clears, without one. Whether *mode* is left."""
    with contextlib.suppress(OSError):
        writing = at.reopened(fd, os.O_WRONLY | os.O_NONBLOCK)
        try:
            syscalls.fallocate(writing, _KEEP_SIZE, 0, 1)
        finally:
            os.close(writing)
    return modes.S_IMODE(os.fstat(fd).st_mode) == mode
