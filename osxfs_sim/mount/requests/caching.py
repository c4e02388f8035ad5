"""May the guest's kernel keep an answer, and for how long? Decided here, for every answer.

The policy says what the emulated system allows (model/caching.py, with the kernel's own rules);
what is known of the share may only take away from it:

- a change of the host's that the guest would not hear of: a directory that is not watched;
- a part of the share that another export has, with a stronger mode (tree/overlaps.py);
- a name that could not be invalidated: in the root, or above a volume, on older kernels;
- a spelling that is not the host's own (tree/spellings.py).
"""

import contextlib
import os
import time
from collections.abc import Iterator
from typing import Any

from osxfs_sim.model.caching import (
    UNCACHED,
    CachePolicy,
    CacheTimeouts,
    Consistent,
    is_ever_cached,
    negative_timeout_ns,
)
from osxfs_sim.model.complete_directories import CompleteDirectories
from osxfs_sim.mount.tree.backing import Backing
from osxfs_sim.mount.tree.inodes import Inode
from osxfs_sim.mount.tree.overlaps import Overlaps
from osxfs_sim.mount.tree.spellings import Spellings


class Caching:
    """What the guest's kernel may cache of one share, and for how long. Reactor's thread only."""

    def __init__(
        self,
        policy: CachePolicy,
        root: Inode,
        backing: Backing,
        spellings: Spellings,
        complete_directories: CompleteDirectories[Inode] | None,
        overlaps: Overlaps | None,
    ) -> None:
        self._policy = policy
        self._root = root
        self._backing = backing
        self._spellings = spellings
        self._complete_directories = complete_directories
        self._overlaps = overlaps
        self._can_invalidate_root_names = True
        self._directories_to_volumes: frozenset[int] = frozenset()

    # What it learns

    @contextlib.contextmanager
    def suspended(self) -> Iterator[None]:
        """Within the block nothing may be cached: for what the server asks of its own share."""
        kept, self._policy = self._policy, Consistent()
        try:
            yield
        finally:
            self._policy = kept

    def can_invalidate_root_names(self) -> bool:
        """Whether the kernel can invalidate all names in the root at once."""
        return self._can_invalidate_root_names

    def set_can_invalidate_root_names(self, can_invalidate: bool) -> None:
        """Note whether names in the root can be invalidated; else none is cached as missing."""
        self._can_invalidate_root_names = can_invalidate

    def set_volumes(self, directories: frozenset[int]) -> None:
        """Cache no missing name in these *directories* (inode numbers), which lead to volumes.

        See mounts/volumes.py.
        """
        self._directories_to_volumes = directories

    # What it decides

    def entry_timeouts(
        self, parent: Inode, name: bytes, requested: bytes, status: os.stat_result
    ) -> CacheTimeouts:
        """How long the kernel may cache the host's *name* in *parent*, asked for as *requested*."""
        if parent.watched is False:
            return UNCACHED
        return self._spellings.entry_timeouts(name, requested, self._found(parent, name, status))

    def attr_timeouts(self, inode: Inode, status: os.stat_result) -> CacheTimeouts:
        """How long the attributes of *inode*, asked for without a name, may be cached."""
        if not self._is_watched(inode):
            return UNCACHED
        return self._found(inode, b"", status)

    def local_timeouts(self, name: bytes, status: Any) -> CacheTimeouts:
        """How long the kernel may cache a local-only *name*, which nobody else can change."""
        return self._policy.found(name, status, time.time_ns())

    def negative_timeout_ns(self, parent: Inode, requested: bytes) -> int:
        """How many ns the kernel may cache that *parent* has no *requested*; 0: not at all."""
        can_invalidate = parent.watched is not False and (
            (parent is not self._root or self._can_invalidate_root_names)
            and parent.number not in self._directories_to_volumes
        )
        policy = self._policy if self._overlaps is None else self._at(parent)
        timeout_ns = negative_timeout_ns(policy, requested, time.time_ns(), can_invalidate)
        if timeout_ns <= 0:
            return 0
        return self._spellings.negative_timeout_ns(parent, requested, timeout_ns)

    def keep_cache(self, inode: Inode, status: os.stat_result) -> bool:
        """Whether the kernel may keep cached pages of *inode* at this open (FOPEN_KEEP_CACHE)."""
        return self._is_watched(inode) and self._at(inode).keep_pages(status, time.time_ns())

    def keep_cache_of_new(self, parent: Inode, status: os.stat_result) -> bool:
        """Whether the kernel may keep cached pages of a file being created in *parent*."""
        return parent.watched is not False and self._at(parent).keep_pages(status, time.time_ns())

    def keep_cache_of_local(self, status: Any) -> bool:
        """Whether the kernel may keep cached pages of a local-only file at this open."""
        return self._policy.keep_pages(status, time.time_ns())

    def known_absent(self, directory: Inode, name: bytes) -> bool:
        """Whether *directory* certainly lacks *name*: all its names are known and cached."""
        sets = self._complete_directories
        return (
            sets is not None
            and self._at(directory).complete
            and sets.known_absent(directory, self._spellings.key(name))
        )

    def should_read_names(self, directory: Inode) -> bool:
        """Whether all names of *directory* should be read now, to be cached as a whole."""
        sets = self._complete_directories
        return (
            sets is not None
            and bool(directory.watched)
            and sets.should_read(directory)
            and self._at(directory).complete
        )

    # By what

    def _found(self, place: Inode, name: bytes, status: os.stat_result) -> CacheTimeouts:
        """Of what was found as *name* in *place*, or is *place* itself."""
        if not is_ever_cached(status.st_mode):
            return UNCACHED
        policy = self._policy
        if self._overlaps is not None:
            policy = self._overlaps.policy_at(place, policy, status)
        return policy.found(name, status, time.time_ns())

    def _at(self, inode: Inode) -> CachePolicy:
        """What decides in a directory, or about a file."""
        if self._overlaps is None:
            return self._policy
        return self._overlaps.policy_at(inode, self._policy)

    def _is_watched(self, inode: Inode) -> bool:
        """Whether the guest will learn of it when the host changes *inode*."""
        directory = inode.parent
        if directory is None:
            # The root; what the guest itself has unlinked; or what the host has moved away.
            return self._backing.is_own(inode) and inode.watched is not False
        return inode.watched is not False and directory.watched is not False
