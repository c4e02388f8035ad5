"""What happens on the host reaches the guest: from the watcher's hints to raised events.

In this order, for each change:

    watch       the kernel reports it; the new place of what was renamed is recorded at
                once, since only the server needs that
    stream      it waits, is joined with others, or is lost, as on the emulated host
                (model/events.py)
    invalidate  every cached answer that it made untrue is invalidated, in a thread
    debounce    some systems wait before they tell
    inject      an event is raised in the guest, in another thread: who looks then, sees
                the new state (the contract's DEL-1 and CAC-2)

Changes are hints, and so are the flags that the stream has joined: what the
guest gets follows from the dentries that its kernel was sent and what is there now.

After a loss everything below is invalidated, and then looked for: what has changed
since, by its times, is raised as if it had been reported (a rescan).

The first three steps run in the reactor's spare time (an IdleTask). What waits is
bounded: by the kernel's queue, by the stream's, by the invalidator's (delivery.py), and by
the injector's; each says so when it overflows, and a rescan follows.
"""

import functools
import itertools
import logging
import os
import select
import stat as modes
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any

from osxfs_sim.model.complete_directories import CompleteDirectories
from osxfs_sim.model.events import (
    Debounce,
    EventSpec,
    EventStream,
    FileEvent,
    MustScan,
    Notice,
    Stale,
    What,
    invalidated_by,
    notices,
)
from osxfs_sim.model.status import CompleteDirectoriesStatus, HostEventsStatus, InvalidatedStatus
from osxfs_sim.mount import syscalls
from osxfs_sim.mount.events.delivery import Delivery, entry_to
from osxfs_sim.mount.events.inject import Injection, Injector
from osxfs_sim.mount.events.invalidate import Invalidator
from osxfs_sim.mount.events.rescan import Rescans
from osxfs_sim.mount.loop.notifications import InvalAttributes, InvalEntry, Invalidation, InvalPages
from osxfs_sim.mount.loop.reactor import Reactor
from osxfs_sim.mount.mounts.mountpoints import MountError
from osxfs_sim.mount.mounts.volumes import Volumes
from osxfs_sim.mount.requests.caching import Caching
from osxfs_sim.mount.tree.backing import Backing
from osxfs_sim.mount.tree.inodes import Inode, InodeTable
from osxfs_sim.mount.tree.spellings import Spellings
from osxfs_sim.mount.watch.watcher import HostChange, Lost, Watcher

log = logging.getLogger(__name__)

# Each a step of some 30 us: a request that comes meanwhile waits for its end.
_READ_AT_ONCE = 8
_DELIVERED_AT_ONCE = 2
_RAISED_AT_ONCE = 2
_AGAIN_SOON_NS = 1_000_000


class HostEvents:
    """The way from the host's changes to the guest, of one share. The reactor's thread only."""

    def __init__(
        self,
        spec: EventSpec,
        watcher: Watcher,
        reactor: Reactor,
        inodes: InodeTable,
        backing: Backing,
        spellings: Spellings,
        caching: Caching,
        complete_directories: CompleteDirectories[Inode] | None,
        injector: Injector | None,
        seed: int,
        *,
        forgets: bool = False,
        filter_change: Callable[[HostChange], HostChange | None] | None = None,
        map_injection: Callable[[Injection], Iterator[Injection]] | None = None,
    ) -> None:
        """*injector* raises events, and is not started yet; *forgets* as Invalidator's.
        *filter_change* says what is left of a host change, and *map_injection* what is raised in
        place of an event (faults/).
        """
        self._filter_change = filter_change
        self._map_injection = map_injection
        assert spec.stream is not None
        self.watcher = watcher
        self.stream = EventStream[Inode](spec.stream, inodes.root, seed)
        self.trouble = ""
        """Why events are not raised, for the user; else empty."""
        self.kernel_losses = 0
        self._notify = spec.notify
        self._debounce = None
        if spec.notify is not None and (
            spec.notify.debounce_files_ns or spec.notify.debounce_directories_ns
        ):
            self._debounce = Debounce[Inode](spec.notify, spec.stream.most_pending)
        self._reactor = reactor
        self._inodes = inodes
        self._backing = backing
        self._spellings = spellings
        self._caching = caching
        self._names = complete_directories
        self._forgets = forgets
        self._injector = injector
        self._delivery = Delivery(injector)
        self._due = self._delivery.due
        self._to_raise = self._delivery.to_raise
        self._gone: dict[tuple[Inode, bytes], Inode] = {}
        self._invalidating = 0
        """Deliveries whose invalidations are not known to be done."""
        self._turn = 0
        self._drained_ns = time.monotonic_ns()
        self._readable = select.poll()
        self._readable.register(watcher.fileno(), select.POLLIN)
        self._rescans = Rescans(
            *(self._delivery, reactor, inodes, backing, caching),
            raises_events=spec.notify is not None,
        )

    def start(self) -> None:
        """Start the threads, and handle host changes in idle time. Raises OSError."""
        device = self._reactor.device
        self._delivery.start(
            Invalidator(forgets=self._forgets, device=device, keep=self._reactor.wake_fds)
        )
        # Negative entries in the root can be invalidated all at once, or not at all;
        # those further down go with the entry of their directory.
        self._caching.set_can_invalidate_root_names(self._reactor.increment_epoch())
        if self._injector is not None:
            self._injector.start(device)
        self._reactor.set_idle_task(self)

    def set_volumes(self, volumes: Volumes) -> None:
        """Invalidate no name that leads to one of these *volumes*: that would unmount it."""
        self._delivery.set_volumes(volumes)

    def open_mount(self) -> None:
        """Find out whether events can be raised; else set *trouble*. Blocks; never fails."""
        if self._injector is None:
            return
        try:
            self._injector.open()
        except OSError as error:
            self.trouble = f"no events are raised in the guest: {error.strerror}: {error.filename}"

    def drop(self, count: int = 0, rate: float = 0.0) -> dict[str, Any]:
        """Lose the next *count* events, or each at *rate* (0 to 1). Raises MountError.

        See EventStream.drop.
        """
        if not (isinstance(count, int) and count >= 0 and isinstance(rate, int | float)):
            raise MountError("to drop events: a number from 0 on, or a rate from 0 to 1")
        if not 0 <= rate <= 1:
            raise MountError("the rate of events to drop is from 0 to 1")
        self.stream.drop(count=count, rate=rate)
        return {"count": count, "rate": rate}

    def host_kept_name(self, directory: Inode, name: bytes) -> None:
        """Invalidate the cached absence of *name*, removed by the guest and kept by the host."""
        invalidator = self._delivery.invalidator
        if invalidator is not None and self._inodes.knows(directory):
            way = InvalAttributes(directory.number, entry_to(directory))
            invalidator.invalidate({InvalEntry(directory.number, name): None, way: None}, _nothing)

    def invalidate(self, invalidations: Iterable[Invalidation]) -> None:
        """Have the kernel invalidate these; nothing before start(). Nobody waits for it."""
        if self._delivery.invalidator is not None:
            self._delivery.invalidate(invalidations, _nothing)

    def pause(self) -> bool:
        """Hold nothing in the share for 3 s, to unmount it. Returns whether events were waiting."""
        return self._injector is not None and self._injector.pause()

    def stop(self) -> bool:
        """End both threads, waiting 5 s for each; False: one is stuck. Never fails.

        While requests are still served, or when nobody can ask any more.
        """
        invalidator = self._delivery.invalidator
        ended = invalidator is None or invalidator.stop()
        return (self._injector is None or self._injector.stop()) and ended

    def close(self) -> None:
        """Close the watcher of the host; to be called after stop(), when the reactor has ended."""
        self.watcher.close()

    # The idle task

    def fileno(self) -> int:
        """The watcher's file descriptor, readable when the host has changed something."""
        return self.watcher.fileno()

    @property
    def has_threads_at_work(self) -> bool:
        """Whether the injector or the invalidator has something left to do."""
        injector, invalidator = self._injector, self._delivery.invalidator
        return bool((injector and injector.waiting) or (invalidator and invalidator.waiting))

    def work(self, until_ns: int) -> int | None:
        """Handle host changes until *until_ns* (monotonic); when next, or None. Raises Exception.

        None: when fileno() is readable. An exception drops what was under way,
        and makes a rescan of everything follow.
        """
        try:
            return self._work(until_ns)
        except Exception:
            # Whatever it was about is unknown now. All of it, or answers would stay untrue.
            now_ns = time.monotonic_ns()
            self._due.clear()
            self.stream.kernel_dropped(now_ns, self._drained_ns)
            raise  # the reactor notes it, and comes back

    def _work(self, until_ns: int) -> int | None:
        """A little of each in turn, so that no step starves another."""
        steps = (self._read_some, self._deliver_some, self._raise_some)
        idle = 0
        while idle < len(steps):
            idle = 0 if steps[self._turn]() else idle + 1
            self._turn = (self._turn + 1) % len(steps)
            now_ns = time.monotonic_ns()
            if now_ns >= until_ns and idle < len(steps):
                return now_ns
        self._look_after_the_injector()
        return self._next_ns()

    def _read_some(self) -> bool:
        """Take what the watcher has next. Returns whether there may be more."""
        before_ns = time.monotonic_ns()
        changes = self.watcher.read(_READ_AT_ONCE)
        for change in changes:
            self._happened(change)
        if len(changes) >= _READ_AT_ONCE:
            return True
        # Few were in directories that we watch; there may be many that are not.
        more = bool(self._readable.poll(0))
        if not more:
            self._drained_ns = before_ns
        return more

    def _next_ns(self) -> int | None:
        soon_ns = time.monotonic_ns() + _AGAIN_SOON_NS
        dues_ns = [self.stream.due_ns]
        if self._delivery.is_backlogged:
            dues_ns = [soon_ns]
        if self._debounce is not None:
            dues_ns.append(self._debounce.due_ns)
        if self._injector is not None and self._injector.overflowed_since_ns is not None:
            dues_ns.append(soon_ns)
        return min((due_ns for due_ns in dues_ns if due_ns is not None), default=None)

    def _happened(self, change: HostChange | Lost) -> None:
        if isinstance(change, Lost):
            self.kernel_losses += 1
            self.stream.kernel_dropped(change.at_ns, self._drained_ns)
            return
        if self._filter_change is not None:
            audible = self._filter_change(change)
            if audible is None:
                return
            change = audible
        if change.moved_to is not None:
            self._note_place(*change.moved_to)
        self.stream.happened(change.directory, change.name, change.what, change.at_ns)

    def _note_place(self, directory: Inode, name: bytes) -> None:
        """Something was renamed to *name*: if the guest knows it, it is reached there now."""
        status = self._status(directory, name)
        inode = self._inodes.find(status) if status is not None else None
        if inode is not None and inode.parent is not None:
            inode.moved_by_host(directory, name)

    def _status(self, directory: Inode, name: bytes) -> os.stat_result | None:
        """What *name* is on the host now; None if there is none, or nothing can be said."""
        if not name:
            return os.fstat(directory.path_fd)  # the root itself
        try:
            dir_fd = self._backing.directory_fd(directory)
            return os.stat(name, dir_fd=dir_fd, follow_symlinks=False)
        except OSError:
            return None

    # Invalidating what is untrue

    def _deliver_some(self) -> bool:
        """Deliver what is due next; all its invalidations come before the first notice."""
        if self._delivery.is_backlogged:
            return False
        if not self._due:
            self._due.extend(self.stream.take(time.monotonic_ns()))
        if not self._due:
            return False
        invalidations: dict[Invalidation, None] = {}
        deliveries: list[tuple[FileEvent[Inode], Inode | None]] = []
        for _ in range(min(len(self._due), _DELIVERED_AT_ONCE)):
            event = self._due.popleft()
            if isinstance(event, MustScan):
                self._rescan(event)
                continue
            gone = self._invalidate_for(event, invalidations)
            if self._notify is not None:
                deliveries.append((event, gone))
        if invalidations or deliveries:
            self._invalidating += 1
            # In its thread it does no more than put that into the reactor's.
            done = functools.partial(self._invalidated, deliveries)
            self._delivery.invalidate(
                invalidations, functools.partial(self._reactor.call_soon, done)
            )
        return True

    def _invalidate_for(
        self, event: FileEvent[Inode], invalidations: dict[Invalidation, None]
    ) -> Inode | None:
        """Add what *event* makes untrue. Returns what the guest knew as that name, if gone."""
        directory, name, what = event.directory, event.name, event.what
        if not self._inodes.knows(directory):
            return None  # forgotten meanwhile, and all that was known of it
        stale = invalidated_by(what)
        if not name:
            invalidations[InvalAttributes(directory.number, None)] = None
            return None
        before = directory.sent_dentry(name)
        status = self._status(directory, name)
        now = self._inodes.find(status) if status is not None else None
        if now is not None and now is before and self._was_replaced(event, now):
            now = None
        entry = InvalEntry(directory.number, name)
        keeps = now is not None and now is before and self._delivery.leads_to_a_volume(now)
        if Stale.ENTRY in stale:
            if self._names is not None and status is not None:
                self._names.added(directory, self._spellings.key(name))
            # Also where the guest knows what is there now: it may have asked in between,
            # when the name was missing, and cache that; by any spelling.
            if not keeps:
                invalidations[entry] = None
            spelling = self._spellings.negative_spelling(directory, name)
            if spelling is not None:
                invalidations[InvalEntry(directory.number, spelling)] = None
        if Stale.DIRECTORY_ATTRIBUTES in stale:
            invalidations[InvalAttributes(directory.number, entry_to(directory))] = None
        for inode in {before, now} - {None}:
            assert inode is not None
            if Stale.PAGES in stale and modes.S_ISREG(inode.kind):
                invalidations[InvalPages(inode.number, entry)] = None
            elif Stale.ATTRIBUTES in stale or Stale.PAGES in stale:
                invalidations[InvalAttributes(inode.number, entry)] = None
        if before is None or before is now or Stale.ENTRY not in stale:
            return None
        moved = What.RENAMED in what
        if not before.drop_name(directory, name) and not before.is_directory:
            # Open in the guest, and where it is now, if anywhere, nobody watches.
            before.parent = None
        if before.is_directory and not moved:
            # Its number may be another's by now, of which nothing is known.
            self._inodes.detach_host_number(before)
            if self._names is not None:
                self._names.forget(before)
        return None if moved else before

    def _was_replaced(self, event: FileEvent[Inode], now: Inode) -> bool:
        """Whether a directory is another than the one known by its number: see Inode.handle."""
        if not now.is_directory or What.REMOVED not in event.what:
            return False
        try:
            dir_fd = self._backing.directory_fd(event.directory)
            return syscalls.file_handle(dir_fd, event.name) != now.handle
        except OSError:
            return True

    # Telling the guest's processes

    def _invalidated(self, deliveries: list[tuple[FileEvent[Inode], Inode | None]]) -> None:
        """What is cached of these is invalidated."""
        self._invalidating -= 1
        if self._debounce is None:
            self._to_raise.extend(deliveries)
        else:
            now_ns = time.monotonic_ns()
            for event, gone in deliveries:
                self._debounce.happened(event, now_ns)
                if gone is not None:
                    self._gone.setdefault((event.directory, event.name), gone)
        self._reactor.wake_idle_task()

    def _raise_some(self) -> bool:
        """Raise what the guest's processes shall see of the next ones."""
        if self._debounce is not None:
            quiet = self._debounce.take(time.monotonic_ns())
            self._to_raise.extend((event, None) for event in quiet)
        if not self._to_raise:
            return False
        assert self._injector is not None
        at_ns = self._to_raise[0][0].at_ns
        injections: list[Injection] = []
        for _ in range(min(len(self._to_raise), _RAISED_AT_ONCE)):
            event, gone = self._to_raise.popleft()
            gone = gone or self._gone.pop((event.directory, event.name), None)
            raised = self._injections(event, gone)
            if self._map_injection is not None:
                raised = itertools.chain.from_iterable(map(self._map_injection, raised))
            injections += raised
        if injections:
            self._injector.inject(injections, at_ns)
        return True

    def _injections(self, event: FileEvent[Inode], gone: Inode | None) -> Iterator[Injection]:
        assert self._notify is not None
        directory, name, what = event.directory, event.name, event.what
        if not self._inodes.knows(directory):
            return
        if directory.overlay is not None and directory.overlay.name(name) is not None:
            return  # the guest has changed it itself, and sees what it has made of it (DEL-1)
        status = self._status(directory, name)
        kind = modes.S_IFDIR if What.DIRECTORY in what else modes.S_IFREG
        kind_now = modes.S_IFMT(status.st_mode) if status is not None else kind
        shown = name
        if name:
            try:
                shown = self._spellings.display_name(self._backing.directory_fd(directory), name)
            except OSError:
                # The directory is gone, or no longer in the export. What was deleted in
                # it before is still to be raised for who watches it.
                if status is not None:
                    return
        sent = directory.sent_dentry(shown)
        leads_to_a_volume = sent is not None and self._delivery.leads_to_a_volume(sent)
        for notice in notices(
            what,
            self._notify,
            exists=status is not None,
            was_known=gone is not None,
            replaced=gone is not None,
        ):
            if notice is Notice.CREATE and leads_to_a_volume:
                continue  # it was there all the time, and to raise it invalidates it
            if notice is Notice.DELETE:
                kind_gone = gone.kind if gone is not None else kind
                yield Injection(notice, directory, shown, kind_gone, gone)
            else:
                yield Injection(notice, directory, shown, kind_now)

    def _look_after_the_injector(self) -> None:
        """Where it was too much to tell one by one: look what has changed since."""
        if self._injector is None:
            return
        since_ns = self._injector.take_overflow()
        if since_ns is not None:
            self._rescan(MustScan(self._inodes.root, since_ns, "too many to raise"))

    # After a loss

    def _rescan(self, loss: MustScan[Inode]) -> None:
        if self._names is not None:
            self._names.clear()
        self._rescans.want(loss)

    def has_delivered(self, asked_ns: int) -> bool:
        """Whether the guest was told of all that the host had done at *asked_ns* (monotonic).

        What the host does is in the kernel's queue before its system call returns: so it was all
        read once that queue was seen empty later than that. Then nothing may be on its way; where
        the host never pauses, something always is.
        """
        has_read_all = self._drained_ns >= asked_ns
        injector = self._injector
        overflowed = injector is not None and injector.overflowed_since_ns is not None
        return has_read_all and not (self.waiting or self.stream.due_ns is not None or overflowed)

    @property
    def waiting(self) -> int:
        """How many changes and notices are on their way; 0 once the guest was told all."""
        waiting = self.stream.waiting + len(self._due) + len(self._to_raise) + self._rescans.waiting
        invalidator = self._delivery.invalidator
        if invalidator is not None:
            # What it has just invalidated is raised a moment later.
            waiting += max(invalidator.waiting, self._invalidating)
        if self._injector is not None:
            waiting += self._injector.waiting
        if self._debounce is not None:
            waiting += self._debounce.due_ns is not None
        return waiting

    def report(self) -> HostEventsStatus:
        """Counts of host changes and of events raised, as a part of the share's status."""
        stream, invalidator, injector = self.stream, self._delivery.invalidator, self._injector
        names = self._names
        return HostEventsStatus(
            watcher=self.watcher.kind,
            latency_ns=stream.spec.latency_ns,
            seen=stream.seen,
            delivered=stream.delivered,
            coalesced=stream.coalesced,
            dropped=stream.dropped,
            must_scans=stream.must_scans,
            rescans=self._rescans.count,
            kernel_losses=self.kernel_losses,
            waiting=self.waiting,
            invalidated=InvalidatedStatus(
                entries=invalidator.entries if invalidator else 0,
                attributes=invalidator.attributes if invalidator else 0,
                pages=invalidator.pages if invalidator else 0,
            ),
            raised={notice.value: injector.raised[notice] if injector else 0 for notice in Notice},
            not_raised=injector.failed if injector else 0,
            complete_directories=CompleteDirectoriesStatus(
                directories=len(names) if names is not None else 0,
                names=names.names if names is not None else 0,
                answers=names.answers if names is not None else 0,
            ),
        )


def _nothing() -> None:
    """After invalidations that nobody waits for."""
