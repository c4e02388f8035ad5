"""After a loss: all that is cached below a directory is invalidated, and changes are looked for.

What was lost cannot be known. So the guest is made to ask again, and is told of what the host's
times say has changed since, as if it had been heard of.
"""

import errno
import functools
import logging
import os
import stat as modes
import threading
import time
from collections.abc import Iterator

from osxfs_sim.model.events import FileEvent, MustScan, What
from osxfs_sim.mount import syscalls
from osxfs_sim.mount.events.delivery import Delivery, entry_to
from osxfs_sim.mount.loop.notifications import (
    IncrementEpoch,
    InvalAttributes,
    InvalEntry,
    Invalidation,
    InvalPages,
)
from osxfs_sim.mount.loop.reactor import Reactor, in_thread, pause, yield_
from osxfs_sim.mount.requests.caching import Caching
from osxfs_sim.mount.tree.backing import Backing
from osxfs_sim.mount.tree.inodes import Inode, InodeTable

log = logging.getLogger(__name__)

_MOST_SCANS = 64
_INVALIDATED_AT_ONCE = 64
# A rescan looks this much further back than the loss: a change is read some time after
# it was made. An event may be raised twice (the vendor says so).
_LOOK_BACK_NS = 2_000_000_000
_AGAIN_SOON_NS = 1_000_000
_AGAIN_LATER_NS = 1_000_000_000


class Rescans:
    """The rescans of one share, one after the other. The reactor's thread only."""

    def __init__(
        self,
        delivery: Delivery,
        reactor: Reactor,
        inodes: InodeTable,
        backing: Backing,
        caching: Caching,
        *,
        raises_events: bool,
    ) -> None:
        """*delivery* is where what a rescan finds is put. *raises_events*: events
        are raised of that, too.
        """
        self.count = 0
        self._delivery = delivery
        self._reactor = reactor
        self._inodes = inodes
        self._backing = backing
        self._caching = caching
        self._raises_events = raises_events
        self._scans: dict[Inode, MustScan[Inode]] = {}
        self._scanning = False

    @property
    def waiting(self) -> int:
        """How many rescans are wanted or under way."""
        return len(self._scans) + self._scanning

    def want(self, loss: MustScan[Inode]) -> None:
        """Queue a rescan below the directory of *loss*; starts when earlier ones are done."""
        earlier = self._scans.get(loss.directory)
        if earlier is not None and earlier.since_ns < loss.since_ns:
            loss = earlier
        self._scans[loss.directory] = loss
        if len(self._scans) > _MOST_SCANS:
            since_ns = min(scan.since_ns for scan in self._scans.values())
            self._scans = {self._inodes.root: MustScan(self._inodes.root, since_ns, loss.why)}
        if not self._scanning:
            self._scanning = True
            self._reactor.spawn(self._scan_all())

    async def _scan_all(self) -> None:
        """One scan after the other; each invalidates what is cached, and looks for changes."""
        try:
            while self._scans:
                loss = self._scans.pop(next(iter(self._scans)))
                self.count += 1
                try:
                    await self._scan(loss)
                except Exception as error:
                    self._reactor.internal_errors.record("a rescan", error)
                    self._scans.setdefault(loss.directory, loss)
                    await pause(_AGAIN_LATER_NS)
        finally:
            self._scanning = False

    async def _scan(self, loss: MustScan[Inode]) -> None:
        await self._invalidate_below(loss.directory)
        if self._raises_events:
            await self._look_below(loss)

    async def _invalidate_below(self, top: Inode) -> None:
        """Invalidate all that is cached of *top* and below, whatever it costs."""
        invalidations: list[Invalidation] = [IncrementEpoch(self._reactor.increment_epoch)]
        for inode in self._known_below(top):
            entry = entry_to(inode)
            if not self._caching.can_invalidate_root_names():
                # Name by name; a directory's entry takes the missing names below it along.
                invalidations += [
                    InvalEntry(inode.number, name)
                    for name, child in (inode.sent_dentries or {}).items()
                    if not self._delivery.leads_to_a_volume(child)
                ]
            if modes.S_ISREG(inode.kind):
                invalidations.append(InvalPages(inode.number, entry))
            else:
                invalidations.append(InvalAttributes(inode.number, entry))
            if len(invalidations) >= _INVALIDATED_AT_ONCE:
                self._delivery.invalidate(invalidations, _nothing)
                invalidations = []
                await yield_()
                while self._delivery.is_backlogged:
                    await pause(_AGAIN_SOON_NS)
        done = threading.Event()
        self._delivery.invalidate(invalidations, done.set)
        while not done.is_set():
            await pause(_AGAIN_SOON_NS)

    def _known_below(self, top: Inode) -> Iterator[Inode]:
        """*top* and all below it that the guest knows, wherever the host has moved it."""
        everything = top is self._inodes.root
        for inode in self._inodes.all():
            if everything or top in _ancestors(inode):
                yield inode

    async def _look_below(self, loss: MustScan[Inode]) -> None:
        """Tell of what has changed since the loss, as far as the host's times say."""
        since_ns = time.time_ns() - (time.monotonic_ns() - loss.since_ns) - _LOOK_BACK_NS
        for directory in self._known_below(loss.directory):
            if not directory.is_directory or not self._inodes.knows(directory):
                continue
            await yield_()
            try:
                fd = self._backing.open(directory, os.O_RDONLY | os.O_DIRECTORY)
            except OSError:
                continue  # gone: its own directory tells of it
            try:
                changed, names = await in_thread(functools.partial(_changed_since, fd, since_ns))
            except OSError as error:
                log.warning("cannot look for changes: %s", error)
                continue
            finally:
                os.close(fd)
            found = {
                name: what
                for name, (what, status) in changed.items()
                if not self._is_of_guest(status)
            }
            for name, inode in list((directory.sent_dentries or {}).items()):
                if name and name not in names:
                    found[name] = _how_it_went(inode)
            for name, what in found.items():
                while self._delivery.is_behind:
                    self._reactor.wake_idle_task()
                    await pause(_AGAIN_SOON_NS)
                self._delivery.due.append(FileEvent(directory, name, what, loss.since_ns))
            self._reactor.wake_idle_task()

    def _is_of_guest(self, status: os.stat_result) -> bool:
        """Whether the last change of an object was the guest's, which is no host event."""
        inode = self._inodes.find(status)
        return inode is not None and status.st_ctime_ns <= inode.changed_ns


def _nothing() -> None:
    """After invalidations that nobody waits for."""


def _ancestors(inode: Inode) -> set[Inode]:
    """*inode* and all directories above it, by each of its names."""
    found = {inode}
    waiting = [parent for parent, _ in inode.other_names or ()]
    if inode.parent is not None:
        waiting.append(inode.parent)
    while waiting:
        above = waiting.pop()
        if above not in found:
            found.add(above)
            if above.parent is not None:
                waiting.append(above.parent)
    return found


def _how_it_went(inode: Inode) -> What:
    """What happened to an object whose name is no longer there."""
    what = What.DIRECTORY if inode.is_directory else What(0)
    if inode.path_fd >= 0 and os.fstat(inode.path_fd).st_nlink:
        return what | What.RENAMED  # it lives on, under a name that we do not know
    return what | What.REMOVED


def _changed_since(
    fd: int, since_ns: int
) -> tuple[dict[bytes, tuple[What, os.stat_result]], set[bytes]]:
    """Of the directory behind *fd*: what has changed since (wall-clock time), and all names."""
    changed: dict[bytes, tuple[What, os.stat_result]] = {}
    names = {os.fsencode(name) for name in os.listdir(fd)}
    for name in names:
        try:
            status = os.stat(name, dir_fd=fd, follow_symlinks=False)
            if status.st_ctime_ns < since_ns:
                continue
            birth_ns = syscalls.birth_time_ns(fd, name)
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENOTCONN, errno.ELOOP):
                raise
            continue
        what = What.ATTRIBUTES
        if modes.S_ISDIR(status.st_mode):
            what |= What.DIRECTORY
        if status.st_mtime_ns >= since_ns:
            what |= What.MODIFIED
        if birth_ns >= since_ns:
            what |= What.CREATED
        elif status.st_mtime_ns < since_ns:
            what |= What.RENAMED
        changed[name] = what, status
    return changed, names
