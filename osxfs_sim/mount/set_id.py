"""Set-user-ID and set-group-ID bits, and what ends them (inode(7), chown(2), write(2)).

When somebody who is not root changes a file, what runs with another's rights
must not run any more. The guest's kernel leaves that to the server
(FUSE_HANDLE_KILLPRIV), and the host's kernel does it for every server but root.
"""

import os
import stat as modes

from osxfs_sim.mount.backing import magic_link


def without_set_id(mode: int) -> int:
    """*mode* after a change that ends set-id bits: a write, a truncation, a chown.

    The set-group-ID bit of a file that its group may not execute means
    mandatory locking, and stays.
    """
    mode &= ~modes.S_ISUID
    return mode & ~modes.S_ISGID if mode & modes.S_IXGRP else mode


def has_group_id_alone(mode: int) -> bool:
    """Whether a file's set-group-ID bit stands without the right to execute for its group.

    It means no program then, and stays when members of the group change the
    file (setattr_should_drop_sgid in the kernel, from 6.2).
    """
    return bool(mode & modes.S_ISGID and not mode & modes.S_IXGRP and modes.S_ISREG(mode))


def end_set_id(fd: int, *, stranger: bool) -> None:
    """Before somebody who is not root changes the content behind *fd*; *stranger*: to its group."""
    mode = os.fstat(fd).st_mode
    if mode & (modes.S_ISUID | modes.S_ISGID) and modes.S_ISREG(mode):
        kept = without_set_id(mode)
        if stranger:
            kept &= ~modes.S_ISGID
        if kept != mode:
            os.chmod(magic_link(fd), modes.S_IMODE(kept))


def end_group_id(fd: int) -> None:
    """Before a stranger to its group changes what is behind *fd* otherwise."""
    os.chmod(magic_link(fd), modes.S_IMODE(os.fstat(fd).st_mode) & ~modes.S_ISGID)
