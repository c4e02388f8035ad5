"""V2: who links a file gives it another number."""

import contextlib
import errno
import os
from typing import Any

import pyfuse3
from pyfuse3 import EntryAttributes, FileInfo, RequestContext

from osxfs_sim.mount.faults.fault import Evict, Fault
from osxfs_sim.mount.requests.entries import Entries
from osxfs_sim.mount.requests.host_operations import HostOperations
from osxfs_sim.mount.requests.layer import Layer
from osxfs_sim.mount.tree.inodes import Inode, InodeTable


class LostByLink(Fault):
    """Who links a file gives it another number; what the guest knows by the old one is lost.

    Apple's server invents its inode numbers, and a link changes that of the object
    (podman#23061 quotes Docker's words of it). ENOENT rather than ESTALE, which the guest's
    kernel would answer by looking the name up anew.
    """

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._lost: set[Inode] = set()

    def over_entries(self, below: Entries) -> Any:
        """*below*, wrapped: a LINK has the linked inode lost, and its cached attributes dropped."""
        return _LosingEntries(below, self._inodes, self._lost)

    def over_operations(self, below: HostOperations, evict: Evict) -> Any:
        """*below*, wrapped: what is asked of a lost inode raises OSError: ENOENT."""
        del evict
        return _LosingOperations(below, self._inodes, self._lost)

    def over_eviction(self, below: Evict) -> Evict:
        """*below*, wrapped: it forgets first that an evicted inode was lost."""

        def evict(inode: Inode) -> None:
            self._lost.discard(inode)
            below(inode)

        return evict


class _LosingEntries(Layer):
    next: Entries

    def __init__(self, below: Entries, inodes: InodeTable, lost: set[Inode]) -> None:
        super().__init__(below)
        self._inodes = inodes
        self._lost = lost

    def made(
        self,
        parent: Inode,
        dir_fd: int,
        name: bytes,
        caller: Any,
        requested: bytes,
        *,
        is_new: bool = True,
    ) -> EntryAttributes:
        if not is_new:
            linked = self._inodes.find(os.stat(name, dir_fd=dir_fd, follow_symlinks=False))
            if linked is not None:
                self._inodes.detach_host_number(linked)
                self._lost.add(linked)
                # What is cached of it goes with it; for attributes alone, the kernel waits
                # for nobody (fuse_reverse_inval_inode), so that it can be sent from here.
                with contextlib.suppress(OSError):  # it does not know it any more
                    pyfuse3.invalidate_inode(pyfuse3.InodeT(linked.number), True)
        return self.next.made(parent, dir_fd, name, caller, requested, is_new=is_new)


class _LosingOperations(Layer):
    next: HostOperations

    def __init__(self, below: HostOperations, inodes: InodeTable, lost: set[Inode]) -> None:
        super().__init__(below)
        self._inodes = inodes
        self._lost = lost

    def _look_for(self, number: int) -> None:
        if self._inodes[number] in self._lost:
            raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))

    def getattr(
        self, number: int, ctx: RequestContext, *, is_cached: bool = True
    ) -> EntryAttributes:
        self._look_for(number)
        return self.next.getattr(number, ctx, is_cached=is_cached)

    def setattr(self, number: int, *arguments: Any) -> EntryAttributes:
        self._look_for(number)
        return self.next.setattr(number, *arguments)

    def open(self, number: int, flags: int, ctx: RequestContext) -> FileInfo:
        self._look_for(number)
        return self.next.open(number, flags, ctx)

    def readlink(self, number: int) -> bytes:
        self._look_for(number)
        return self.next.readlink(number)

    def link(self, number: int, *arguments: Any) -> EntryAttributes:
        self._look_for(number)
        return self.next.link(number, *arguments)
