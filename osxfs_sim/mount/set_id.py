"""Set-user-ID and set-group-ID bits, and what ends them (inode(7), chown(2), write(2)).

When somebody who is not root changes a file, what runs with another's rights
must not run any more. The guest's kernel leaves that to the server
(FUSE_HANDLE_KILLPRIV), and the host's kernel does it for every server but root.
"""

import os
import stat as modes

from pyfuse3 import RequestContext

from osxfs_sim.mount.backing import magic_link
from osxfs_sim.mount.callers import groups_of


def without_set_id(mode: int) -> int:
    """*mode* after a change that ends set-id bits: a write, a truncation, a chown.

    The set-group-ID bit of a file that its group may not execute means
    mandatory locking, and stays.
    """
    mode &= ~modes.S_ISUID
    return mode & ~modes.S_ISGID if mode & modes.S_IXGRP else mode


def end_set_id(fd: int) -> None:
    """Before somebody who is not root changes the content behind *fd*."""
    mode = os.fstat(fd).st_mode
    if mode & (modes.S_ISUID | modes.S_ISGID) and modes.S_ISREG(mode):
        kept = without_set_id(mode)
        if kept != mode:
            os.chmod(magic_link(fd), modes.S_IMODE(kept))


def end_group_id(fd: int, status: os.stat_result, gid: int, caller: RequestContext) -> None:
    """Before a change by somebody who is not root, and perhaps not in the file's group *gid*.

    A set-group-ID bit that means no program stays when the group's members
    change the file, and ends when others do (setattr_should_drop_sgid in the
    kernel, from 6.2).
    """
    mode = modes.S_IMODE(status.st_mode)
    if not mode & modes.S_ISGID or mode & modes.S_IXGRP or not modes.S_ISREG(status.st_mode):
        return
    if gid != caller.gid and gid not in groups_of(caller.pid):
        os.chmod(magic_link(fd), mode & ~modes.S_ISGID)
