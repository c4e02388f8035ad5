"""What the guest is shown of an object: which inode it is, its attributes, how long to cache them.

Two steps may have something laid over them, which holds the next: which inode a name leads to
(Identify), and how its attributes are shown (Show). Write-back lays what is pending over both.
"""

import contextlib
import os
import stat as modes
import time
from collections.abc import Callable
from typing import Protocol

from pyfuse3 import EntryAttributes

from osxfs_sim.model.caching import UNCACHED, CacheTimeouts
from osxfs_sim.mount import syscalls
from osxfs_sim.mount.requests.caching import Caching
from osxfs_sim.mount.tree.backing import Backing
from osxfs_sim.mount.tree.inodes import Inode, InodeTable
from osxfs_sim.mount.tree.namespace import Namespace
from osxfs_sim.mount.tree.overlaps import Overlaps
from osxfs_sim.mount.tree.owners import Caller, Owners
from osxfs_sim.mount.watch.watcher import Watcher

S_PER_NS = 1e-9
_MEETING_PLACES = (modes.S_IFIFO, modes.S_IFSOCK)

Identify = Callable[[Inode, int, bytes, os.stat_result], tuple[Inode, os.stat_result]]
"""The inode of a name: of its directory, a descriptor of that, the name, and its status."""


class Show(Protocol):
    """Makes the attributes that the guest is shown of an object."""

    def __call__(
        self, inode: Inode, status: os.stat_result, ids: tuple[int, int], timeouts: CacheTimeouts
    ) -> EntryAttributes:
        """*ids* are its user and group, *timeouts* how long the kernel may keep the answer."""


def show(
    inode: Inode, status: os.stat_result, ids: tuple[int, int], timeouts: CacheTimeouts
) -> EntryAttributes:
    """The attributes of *inode* as the host has them, with *ids* as owners and *timeouts*."""
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


def _nothing(_: Inode) -> None:
    """Nobody wants to know."""


class Identities:
    """Finds which inode a name of the host's is."""

    def __init__(
        self,
        inodes: InodeTable,
        backing: Backing,
        watcher: Watcher | None,
        overlaps: Overlaps | None,
        increment_epoch: Callable[[], bool],
    ) -> None:
        self._inodes = inodes
        self._backing = backing
        self._watcher = watcher
        self._overlaps = overlaps
        self._increment_epoch = increment_epoch
        self._on_move_in: Callable[[Inode], None] = _nothing

    def on_move_in(self, callback: Callable[[Inode], None]) -> None:
        """Call *tell* from now on with each directory that gets an object known from elsewhere."""
        self._on_move_in = callback

    def moves_in(self, inode: Inode, directory: Inode) -> None:
        """*inode* is now in *directory*, and was elsewhere: call it before that is recorded.

        In a stronger part what is cached of it, and of what lies below it, must be invalidated. One
        message invalidates all names, because it is the only one that needs no lock of a request on
        its way (Reactor.increment_epoch).
        """
        overlaps = self._overlaps
        if overlaps is not None and overlaps.mode_of(directory) > overlaps.mode_of(inode):
            self._increment_epoch()
        self._on_move_in(directory)

    def identify(
        self, parent: Inode, dir_fd: int, name: bytes, status: os.stat_result
    ) -> tuple[Inode, os.stat_result]:
        """The inode of *name* in *parent*, and its status, perhaps a newer one. Raises OSError.

        Never one which had its number before. Of a FIFO or a socket, because the kernel joins
        processes by inode, and those of an object that the host has removed must not meet those of
        a later one with the same number. Of a directory that is watched, because the changes in the
        later one are reported with another handle: taken for the old one they would never be seen.
        """
        if self._overlaps is not None:
            elsewhere = self._inodes.find(status)
            if elsewhere is not None and elsewhere.parent not in (None, parent):
                self.moves_in(elsewhere, parent)
        kind = modes.S_IFMT(status.st_mode)
        is_watchable = kind == modes.S_IFDIR and self._watcher is not None
        if self._backing.holds_objects:
            known = self._inodes.find(status)
            if known is not None and self._backing.has_been_replaced(known, dir_fd, name):
                self._inodes.detach_host_number(known)
        if not is_watchable and kind not in _MEETING_PLACES:
            return self._inodes.find_or_add(parent, name, status), status
        known = self._inodes.find(status)
        if known is not None and known.path_fd >= 0:
            # Nobody is given its number while we hold it.
            return self._inodes.find_or_add(parent, name, status), status
        handle = syscalls.file_handle(dir_fd, name)
        if known is not None and known.handle != handle:
            self._inodes.detach_host_number(known)
        inode = self._inodes.find_or_add(parent, name, status)
        inode.handle = handle
        if is_watchable and inode.watched is None and self._watcher is not None:
            inode.watched = self._watcher.watch(inode, dir_fd, name)
            # It may have changed just before; of what comes, we shall hear.
            with contextlib.suppress(OSError):
                status = os.stat(name, dir_fd=dir_fd, follow_symlinks=False)
        return inode, status


class Entries:
    """Makes the replies about objects of the host's: entries, attributes, negative entries."""

    def __init__(
        self,
        inodes: InodeTable,
        backing: Backing,
        owners: Owners,
        caching: Caching,
        namespace: Namespace,
        identify: Identify,
        show: Show,
    ) -> None:
        self._inodes = inodes
        self._backing = backing
        self._owners = owners
        self._caching = caching
        self._namespace = namespace
        self._identify = identify
        self._show = show

    def entry(
        self,
        parent: Inode,
        dir_fd: int,
        name: bytes,
        status: os.stat_result,
        caller: Caller,
        requested: bytes,
        *,
        is_cached: bool = True,
    ) -> EntryAttributes:
        """The reply that names an object, with nlookup raised for it. Raises OSError.

        FORGET pays that back. *name* is what the host calls it, *requested* what the guest does;
        where it is not to be *is_cached*, both timeouts are 0.
        """
        # A policy of the user's own may fail: ask it before anything is noted down.
        timeouts = UNCACHED
        if is_cached:
            timeouts = self._caching.entry_timeouts(parent, name, requested, status)
        ids = self._owners.ids(dir_fd, name, status, caller)
        inode, status = self._identify(parent, dir_fd, name, status)
        inode.nlookup += 1
        self._backing.hold(inode, dir_fd, name)
        return self._show(inode, status, ids, timeouts)

    def attributes(
        self, inode: Inode, caller: Caller, *, is_cached: bool = True
    ) -> EntryAttributes:
        """The attributes of *inode*, asked for without a name. Raises OSError: ESTALE."""
        fd, name, status = self._backing.find(inode)
        ids = self._owners.ids(fd, name, status, caller)
        timeouts = self._caching.attr_timeouts(inode, status) if is_cached else UNCACHED
        return self._show(inode, status, ids, timeouts)

    def made(
        self,
        parent: Inode,
        dir_fd: int,
        name: bytes,
        caller: Caller,
        requested: bytes,
        *,
        is_new: bool = True,
    ) -> EntryAttributes:
        """The entry of a *name* that the guest has just made. Raises OSError.

        *is_new*: the object was just made, too, and is no further name of one.
        """
        self._namespace.name_added(parent, dir_fd, name, requested)
        status = os.stat(name, dir_fd=dir_fd, follow_symlinks=False)
        gone = self._inodes.find(status) if is_new else None
        if gone is not None:
            # What was just made cannot be known: the host has removed an object and
            # given its number to this one. Taken for it, a new FIFO would be the old
            # pipe, and a new directory would show what is cached of the old one.
            self._inodes.detach_host_number(gone)
        entry = self.entry(parent, dir_fd, name, status, caller, requested)
        self._inodes[entry.st_ino].changed_ns = time.time_ns()
        return entry

    def missing(self, parent: Inode, requested: bytes) -> EntryAttributes | None:
        """A negative entry for *requested* (st_ino 0); None where none may be cached."""
        timeout_ns = self._caching.negative_timeout_ns(parent, requested)
        if timeout_ns <= 0:
            return None
        # A number of zero is the protocol's way to say: missing, and that may be kept.
        missing = EntryAttributes()
        missing.st_ino = 0
        missing.entry_timeout = timeout_ns * S_PER_NS
        return missing
