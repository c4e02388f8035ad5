"""Descriptors that are kept open for what is pending, so that not too many are.

Of files that are written to, since nothing may lead to them later; of files that were made, since
they are written to next; and some for nothing, to be given up when there is none left.
"""

import collections
import contextlib
import fcntl
import os
import resource
from collections.abc import Set

from osxfs_sim.mount.tree.inodes import Inode
from osxfs_sim.mount.tree.pending import Overlay

_SPARE_DESCRIPTORS = 32
"""More than one change takes: a few directories, a file or two."""


class PendingDescriptors:
    """The descriptors of one share's dirty files (Overlay.fd), counted and bounded."""

    def __init__(self) -> None:
        self.most = resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 4
        """So many are held at most of each: files that are written to, and files that were made."""
        self._written: set[Inode] = set()
        # Of files that were made: their descriptors may be given up, and are opened again.
        self._made: collections.OrderedDict[Inode, None] = collections.OrderedDict()
        self._spare: list[int] = []
        self.keep_spare()

    @property
    def counted(self) -> Set[Inode]:
        """The inodes of which a descriptor to write through is kept."""
        return self._written | self._made.keys()

    @property
    def has_room(self) -> bool:
        """Whether a descriptor of one more written file may be kept."""
        return len(self._written) < self.most

    def keep(self, inode: Inode, overlay: Overlay, fd: int) -> None:
        """Keep a copy of *fd* to write *inode* through, unless one is kept. Raises OSError."""
        if overlay.fd >= 0 or overlay.local_only:
            return
        if not fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_APPEND:  # which was append-only, then
            overlay.fd = os.dup(fd)
            self._written.add(inode)

    def keep_of_made(self, inode: Inode) -> None:
        """Count the descriptor of a file just made on the host; closes the oldest if too many."""
        if inode.overlay is None or inode.overlay.fd < 0:
            return
        self._made[inode] = None
        while len(self._made) > self.most:
            self._give_up_one()

    def close_of(self, inode: Inode, overlay: Overlay) -> None:
        """Close the kept descriptor of *inode*, of which nothing is pending any more."""
        os.close(overlay.fd)
        self._written.discard(inode)
        self._made.pop(inode, None)

    def _give_up_one(self) -> None:
        inode, _ = self._made.popitem(last=False)
        overlay = inode.overlay
        # Where the host's file has lost its name, nothing else leads to it.
        if overlay is not None and overlay.fd >= 0 and os.fstat(overlay.fd).st_nlink:
            os.close(overlay.fd)
            overlay.fd = -1

    def give_up(self) -> None:
        """Close all descriptors that can be opened again, when there is none left."""
        while self._made:
            self._give_up_one()
        self.close()

    def keep_spare(self) -> None:
        """Open spare descriptors, to be given up later, if there are none; never fails."""
        if not self._spare:
            with contextlib.suppress(OSError):
                while len(self._spare) < _SPARE_DESCRIPTORS:
                    self._spare.append(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))

    def close(self) -> None:
        """Close the spare descriptors; others are closed with what is pending of them."""
        for fd in self._spare:
            os.close(fd)
        self._spare.clear()
