"""What is on its way to the guest: changes that were delivered, and the two threads that tell it.

The way of events (host_events.py) and a rescan (rescan.py) both put something on its way. They meet
here and not in each other: who fills these queues looks first how full they are.
"""

import collections
from collections.abc import Callable, Iterable

from osxfs_sim.model.events import FileEvent, MustScan
from osxfs_sim.mount.events.inject import BUSY, Injector
from osxfs_sim.mount.events.invalidate import Invalidator
from osxfs_sim.mount.loop.notifications import InvalEntry, Invalidation
from osxfs_sim.mount.mounts.volumes import Volumes
from osxfs_sim.mount.tree.inodes import Inode

_MOST_FOUND_WAITING = 1024
_MOST_INVALIDATIONS_WAITING = 256


class Delivery:
    """The queues of one share, and who empties them. The reactor's thread only."""

    def __init__(self, injector: Injector | None) -> None:
        """*injector* raises events; None: nobody is told of any."""
        self.due: collections.deque[FileEvent[Inode] | MustScan[Inode]] = collections.deque()
        """What is delivered next: whatever it made stale is invalidated, or a rescan follows.
        Written by host events and rescans."""
        self.to_raise: collections.deque[tuple[FileEvent[Inode], Inode | None]] = (
            collections.deque()
        )
        """What is raised next, and what the guest knew by the name that is gone. Written by host
        events."""
        self._injector = injector
        self.invalidator: Invalidator | None = None
        """The thread that invalidates; None before start()."""
        self._volumes: Volumes | None = None

    def start(self, invalidator: Invalidator) -> None:
        """Have *invalidator* send all invalidations from now on."""
        self.invalidator = invalidator

    def set_volumes(self, volumes: Volumes) -> None:
        """Note which *volumes* are mounted in the share: names that lead to them stay cached."""
        self._volumes = volumes

    def leads_to_a_volume(self, inode: Inode) -> bool:
        """Whether a volume is mounted on *inode* or below it: its name must not be invalidated."""
        return self._volumes is not None and self._volumes.holds(inode.number)

    def invalidate(self, invalidations: Iterable[Invalidation], then: Callable[[], None]) -> None:
        """Queue *invalidations*; *then* is called in the invalidator's thread. After start()."""
        assert self.invalidator is not None
        self.invalidator.invalidate(invalidations, then)

    @property
    def is_backlogged(self) -> bool:
        """Whether 256 invalidations or more wait, so that none must be added; after start().

        The stream goes on to fill meanwhile: that is bounded, and reports what it loses.
        """
        assert self.invalidator is not None
        return self.invalidator.waiting >= _MOST_INVALIDATIONS_WAITING

    @property
    def is_behind(self) -> bool:
        """Whether so many events wait that a rescan should wait; only where events are raised.

        Only where events are raised.
        """
        assert self._injector is not None
        waiting = len(self.due) + len(self.to_raise)
        return waiting >= _MOST_FOUND_WAITING or self._injector.waiting >= BUSY


def entry_to(directory: Inode) -> InvalEntry | None:
    """The (directory, name) entry that leads to *directory*; None: the root, or no name leads."""
    if directory.parent is None:
        return None
    return InvalEntry(directory.parent.number, directory.name)
