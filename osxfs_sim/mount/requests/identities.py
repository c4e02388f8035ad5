"""Which inode a name of the host's is: never one that had its inode number before."""

import contextlib
import os
import stat as modes
from collections.abc import Callable

from osxfs_sim.mount import syscalls
from osxfs_sim.mount.tree.backing import Backing
from osxfs_sim.mount.tree.inodes import Inode, InodeTable
from osxfs_sim.mount.tree.overlaps import Overlaps
from osxfs_sim.mount.watch.watcher import Watcher

_MEETING_PLACES = (modes.S_IFIFO, modes.S_IFSOCK)

Identify = Callable[[Inode, int, bytes, os.stat_result], tuple[Inode, os.stat_result]]
"""The inode of a name: of its directory, a descriptor of that, the name, and its status."""


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
        """From now on call *callback* with each directory into which an object is moved."""
        self._on_move_in = callback

    def moves_in(self, inode: Inode, directory: Inode) -> None:
        """Invalidate all names if *inode* moves into a part of a stronger mode. Raises OSError.

        To be called before it is recorded that *inode* is now in *directory*, and was elsewhere;
        calls what on_move_in() has set. In a stronger part what is cached of it, and of what lies
        below it, must be invalidated. One message invalidates all names, because it is the only one
        that needs no lock of a request on its way (Reactor.increment_epoch).
        """
        overlaps = self._overlaps
        if overlaps is not None and overlaps.mode_of(directory) > overlaps.mode_of(inode):
            self._increment_epoch()
        self._on_move_in(directory)

    def identify(
        self, parent: Inode, dir_fd: int, name: bytes, status: os.stat_result
    ) -> tuple[Inode, os.stat_result]:
        """Inode and status of the host's *name* in *parent*, no earlier one's. Raises OSError.

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


def _nothing(_: Inode) -> None:
    """Nobody wants to know."""
