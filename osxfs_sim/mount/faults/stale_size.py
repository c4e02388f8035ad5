"""V1: the size that the guest was shown stays what it is, whatever the host writes."""

import os
import stat as modes
import time
from dataclasses import dataclass
from typing import Any

from pyfuse3 import EntryAttributes, FileInfo, RequestContext

from osxfs_sim.model.caching import CacheTimeouts
from osxfs_sim.mount.faults.fault import Evict, Fault
from osxfs_sim.mount.requests.attributes import Show
from osxfs_sim.mount.requests.host_operations import HostOperations
from osxfs_sim.mount.requests.layer import Layer
from osxfs_sim.mount.tree.inodes import Inode


@dataclass(frozen=True, slots=True)
class _Size:
    """What the guest was shown: *shown_ns* is wall-clock time, *until_ns* monotonic."""

    size_bytes: int
    shown_ns: int
    until_ns: int


class StaleSize(Fault):
    """No event changes the size that the guest was shown, until its attribute timeout.

    Not only because no event invalidates it: a kernel that has read asks anew for the attributes
    (the time of access has changed), and the report has the old size in ``ls`` still. What the
    guest changes itself, it knows. Where no attributes are cached, there is nothing to keep.
    """

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._sizes: dict[Inode, _Size] = {}

    def over_show(self, below: Show) -> Show:
        """*below*, wrapped: it shows the size shown before until the attribute timeout."""

        def show(
            inode: Inode, status: os.stat_result, ids: tuple[int, int], timeouts: CacheTimeouts
        ) -> EntryAttributes:
            entry = below(inode, status, ids, timeouts)
            if not modes.S_ISREG(status.st_mode):
                return entry
            now_ns = time.monotonic_ns()
            shown = self._sizes.get(inode)
            if shown is not None and now_ns < shown.until_ns and inode.changed_ns <= shown.shown_ns:
                entry.st_size = shown.size_bytes
            elif timeouts.attr_timeout_ns:
                until_ns = now_ns + timeouts.attr_timeout_ns
                self._sizes[inode] = _Size(status.st_size, time.time_ns(), until_ns)
            return entry

        return show

    def over_eviction(self, below: Evict) -> Evict:
        """*below*, wrapped: it forgets the size shown of an evicted inode first."""

        def evict(inode: Inode) -> None:
            self._sizes.pop(inode, None)
            below(inode)

        return evict

    def over_operations(self, below: HostOperations, evict: Evict) -> Any:
        """*below*, wrapped: every OPEN has the kernel drop the pages that it has cached."""
        del evict
        return _NeverKeepCache(below)


class _NeverKeepCache(Layer):
    next: HostOperations

    def open(self, number: int, flags: int, ctx: RequestContext) -> FileInfo:
        handle = self.next.open(number, flags, ctx)
        handle.keep_cache = False
        return handle
