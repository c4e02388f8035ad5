"""V4: who looks up a file that is open gets another inode of it."""

from typing import Any

from pyfuse3 import EntryAttributes, RequestContext

from osxfs_sim.mount.faults.fault import Evict, Fault
from osxfs_sim.mount.requests.host_operations import HostOperations
from osxfs_sim.mount.requests.layer import Layer
from osxfs_sim.mount.tree.backing import Backing
from osxfs_sim.mount.tree.inodes import InodeTable
from osxfs_sim.mount.tree.spellings import Spellings


class TwoLocks(Fault):
    """Who looks up a file that is open gets another inode of it; flock(2) is an inode's own.

    A name that the kernel has cached is not looked up, and leads both to one inode: so too
    in the report, where locks that follow quickly exclude each other.
    """

    def over_operations(self, below: HostOperations, evict: Evict) -> Any:
        """*below*, wrapped: LOOKUP of a file that is open gives it another inode."""
        del evict
        return _TwoInodes(below, self._inodes, self._backing, self._spellings)


class _TwoInodes(Layer):
    next: HostOperations

    def __init__(
        self, below: HostOperations, inodes: InodeTable, backing: Backing, spellings: Spellings
    ) -> None:
        super().__init__(below)
        self._inodes = inodes
        self._backing = backing
        self._spellings = spellings

    def lookup(self, parent_number: int, requested: bytes, ctx: RequestContext) -> EntryAttributes:
        parent = self._inodes[parent_number]
        try:
            dir_fd = self._backing.directory_fd(parent)
            _, status = self._spellings.find(parent, dir_fd, requested)
            known = self._inodes.find(status)
        except OSError:
            known = None  # what is wrong, the look-up itself will say
        if known is not None and known.open_fds:
            self._inodes.detach_host_number(known)
        return self.next.lookup(parent_number, requested, ctx)
