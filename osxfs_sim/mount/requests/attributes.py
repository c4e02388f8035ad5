"""How the attributes of an object are put into a reply (struct fuse_attr, as pyfuse3 has it)."""

import os
from typing import Protocol

from pyfuse3 import EntryAttributes

from osxfs_sim.model.caching import CacheTimeouts
from osxfs_sim.mount.tree.inodes import Inode

S_PER_NS = 1e-9


class Show(Protocol):
    """Makes the attributes that the guest is shown of an object."""

    def __call__(
        self, inode: Inode, status: os.stat_result, ids: tuple[int, int], timeouts: CacheTimeouts
    ) -> EntryAttributes:
        """*ids* are its user and group, *timeouts* how long the kernel may keep the answer."""


def show(
    inode: Inode, status: os.stat_result, ids: tuple[int, int], timeouts: CacheTimeouts
) -> EntryAttributes:
    """The attributes of *inode* for a reply, of host *status*, owner *ids* and cache *timeouts*."""
    entry = EntryAttributes()
    entry.st_ino = inode.number
    entry.st_mode = status.st_mode
    entry.st_nlink = status.st_nlink
    entry.st_uid, entry.st_gid = ids
    entry.st_rdev = status.st_rdev
    entry.st_size = status.st_size
    entry.st_blksize = status.st_blksize
    entry.st_blocks = status.st_blocks
    entry.st_atime_ns = status.st_atime_ns
    entry.st_mtime_ns = status.st_mtime_ns
    entry.st_ctime_ns = status.st_ctime_ns
    entry.entry_timeout = timeouts[0] * S_PER_NS
    entry.attr_timeout = timeouts[1] * S_PER_NS
    return entry
