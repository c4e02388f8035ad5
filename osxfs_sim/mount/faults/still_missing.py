"""V7: a name that was missing stays missing for as long as its negative entry was to last."""

import time
from typing import Any

import pyfuse3
from pyfuse3 import EntryAttributes, RequestContext

from osxfs_sim.mount.faults.fault import Evict, Fault
from osxfs_sim.mount.requests.attributes import S_PER_NS
from osxfs_sim.mount.requests.caching import Caching
from osxfs_sim.mount.requests.host_operations import HostOperations
from osxfs_sim.mount.requests.layer import Layer
from osxfs_sim.mount.tree.inodes import Inode, InodeTable

_MISSING_REMEMBERED = 4_096  # of a directory


class StillMissing(Fault):
    """A name stays missing until the timeout of the negative entry that the guest was sent.

    Linux before 6.6 cached it that long itself. Since then a kernel that meets EEXIST asks anew
    (fuse: invalidate dentry on EEXIST creates), and the server answers what an older one
    would have cached. Where there are no negative entries, there is nothing to keep.
    """

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._missing_until_ns: dict[Inode, dict[bytes, int]] = {}

    def over_caching(self, below: Caching) -> Any:
        """*below*, wrapped: it notes until when each missing name may be cached."""
        return _Remembering(below, self._missing_until_ns)

    def over_operations(self, below: HostOperations, evict: Evict) -> Any:
        """*below*, wrapped: LOOKUP says missing as long as that might have been cached."""
        del evict
        return _StillMissingOperations(below, self._inodes, self._missing_until_ns)

    def over_eviction(self, below: Evict) -> Evict:
        """*below*, wrapped: it forgets first what was missing in an evicted directory."""

        def evict(inode: Inode) -> None:
            self._missing_until_ns.pop(inode, None)
            below(inode)

        return evict

    def on_name_added(self, parent: Inode, requested: bytes) -> None:
        """Forget that *requested* was missing in *parent*: the guest has made it itself."""
        self._missing_until_ns.get(parent, {}).pop(requested, None)  # made by the guest itself


class _Remembering(Layer):
    next: Caching

    def __init__(self, below: Caching, missing_until_ns: dict[Inode, dict[bytes, int]]) -> None:
        super().__init__(below)
        self._missing_until_ns = missing_until_ns

    def negative_timeout_ns(self, parent: Inode, requested: bytes) -> int:
        timeout_ns = self.next.negative_timeout_ns(parent, requested)
        if timeout_ns > 0:
            names = self._missing_until_ns.setdefault(parent, {})
            names[requested] = time.monotonic_ns() + timeout_ns
            if len(names) > _MISSING_REMEMBERED:
                del names[next(iter(names))]
        return timeout_ns


class _StillMissingOperations(Layer):
    next: HostOperations

    def __init__(
        self,
        below: HostOperations,
        inodes: InodeTable,
        missing_until_ns: dict[Inode, dict[bytes, int]],
    ) -> None:
        super().__init__(below)
        self._inodes = inodes
        self._missing_until_ns = missing_until_ns

    def lookup(self, parent_number: int, requested: bytes, ctx: RequestContext) -> EntryAttributes:
        parent = self._inodes[parent_number]
        until_ns = self._missing_until_ns.get(parent, {}).get(requested, 0)
        left_ns = until_ns - time.monotonic_ns()
        if left_ns > 0:
            missing = EntryAttributes()
            missing.st_ino = pyfuse3.InodeT(0)
            missing.entry_timeout = left_ns * S_PER_NS
            return missing
        return self.next.lookup(parent_number, requested, ctx)
