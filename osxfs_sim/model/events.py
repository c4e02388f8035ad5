"""Decides when a change on the host reaches the guest, what is lost, and what the guest sees.

Three stages, in the order that a change passes them:

    EventStream     FSEvents: a latency window, one event per name, losses that are reported
    invalidated_by  what the change invalidates in the caches of the guest
    Debounce        waits until a name is quiet, as some systems do before they notify
    notices         the events of inotify that the guest's processes see

What FSEvents promises is taken from Apple's documentation of FSEventStreamCreate
and of its flags; what osxfs made of it from the vendor's page, "File system events".
Knows no clock: callers pass the time, and may pass virtual time.
"""

import enum
import heapq
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Generic, Protocol, TypeVar, cast

USER_DROPPED = "user dropped"
KERNEL_DROPPED = "kernel dropped"

_MOST_SCANS = 64


class What(enum.Flag):
    """What happened to one name.

    Flags of one name coalesce by OR and then have lost their order, as in
    FSEvents: CREATED | REMOVED does not say whether the object is there now.
    """

    CREATED = enum.auto()
    REMOVED = enum.auto()
    RENAMED = enum.auto()
    MODIFIED = enum.auto()
    ATTRIBUTES = enum.auto()
    CLOSED = enum.auto()
    """A writer closed it."""
    DIRECTORY = enum.auto()
    """The object is a directory."""


class HostDirectory(Protocol):
    """A directory of the host, hashed by identity: its name and its parent may change."""

    @property
    def parent(self) -> "HostDirectory | None":
        """The directory that this one lies in; None above the root, or where not known."""


D = TypeVar("D", bound=HostDirectory)


# The stream


@dataclass(frozen=True, slots=True)
class StreamSpec:
    """How the host collects changes before it delivers them as events.

    With *no_defer* the first change after a quiet window is delivered at once and opens the next
    window, without it every change waits for the end of the window that the first one opened
    (kFSEventStreamCreateFlagNoDefer).
    """

    latency_ns: int = 0
    """The window in which changes are collected."""
    no_defer: bool = True
    """Whether the first change after a quiet window is delivered at once."""
    most_pending: int = 4096
    """How many distinct names wait at most; with one more they are lost."""

    def __post_init__(self) -> None:
        assert self.latency_ns >= 0, self.latency_ns
        assert self.most_pending >= 1, self.most_pending

    def dilated(self, factor: float) -> "StreamSpec":
        """The same stream, with the window in which changes are collected times *factor*."""
        return replace(self, latency_ns=round(self.latency_ns * factor))


@dataclass(frozen=True, slots=True)
class FileEvent(Generic[D]):
    """An event: something happened to a name in a directory."""

    directory: D
    """The directory, as the caller knows it."""
    name: bytes
    """The name in it; b"" in the root: the root itself."""
    what: What
    """What happened."""
    at_ns: int
    """When the earliest of the changes in it happened."""


@dataclass(frozen=True, slots=True)
class MustScan(Generic[D]):
    """Changes below *directory* were lost (kFSEventStreamEventFlagMustScanSubDirs).

    Every change from *since_ns* on, at any depth, has to be found by a scan.
    """

    directory: D
    """Below which changes were lost, at any depth."""
    since_ns: int
    """From when on."""
    why: str
    """USER_DROPPED or KERNEL_DROPPED, as FSEvents' flags say."""


class _Change:
    """What waits to be delivered of one name."""

    __slots__ = ("at_ns", "what")

    def __init__(self, what: What, at_ns: int) -> None:
        self.what = what
        self.at_ns = at_ns

    def coalesce(self, what: What, at_ns: int) -> None:
        self.what |= what
        self.at_ns = min(self.at_ns, at_ns)


class _Loss(Generic[D]):
    """A loss in a subtree that waits to be delivered; *inside* are directories that lost events.

    They are remembered because one may be renamed to another place before the
    loss is delivered, and would then not be scanned.
    """

    __slots__ = ("inside", "since_ns", "why")

    def __init__(self, since_ns: int, why: str) -> None:
        self.since_ns = since_ns
        self.why = why
        self.inside: dict[D, None] = {}  # a set that keeps its order

    def add(self, inside: Iterable[D], since_ns: int, why: str) -> None:
        self.inside.update(dict.fromkeys(inside))
        self.since_ns = min(self.since_ns, since_ns)
        if why == KERNEL_DROPPED:
            self.why = why


class EventStream(Generic[D]):
    """The changes below *root*, from the host's file system to the share.

    Nothing is lost silently: each change is delivered in a FileEvent, or lies below
    the directory of a MustScan that covers changes of that time. What waits
    is bounded by *most_pending* names and twice as many directories.

    Counts: of the changes *seen*, each was *delivered* as an event, *coalesced*
    with one that waited, *dropped*, or waits; *must_scans* were delivered.
    """

    def __init__(self, spec: StreamSpec, root: D, seed: int = 0) -> None:
        import numpy as np  # not for those who only read a specification: see latency.py

        self.spec = spec
        self._root = root
        self._pending: dict[tuple[D, bytes], _Change] = {}
        self._losses: dict[D, _Loss[D]] = {}
        self._due_ns: int | None = None
        self._last_delivery_ns: int | None = None
        self._generator = np.random.default_rng(seed)
        self._drop_count = 0
        self._drop_rate = 0.0
        self.seen = 0
        self.delivered = 0
        self.coalesced = 0
        self.dropped = 0
        self.must_scans = 0

    @property
    def due_ns(self) -> int | None:
        """When take() will next deliver something, in ns; None while nothing waits."""
        return self._due_ns

    @property
    def waiting(self) -> int:
        """How many distinct names have a change that waits to be delivered."""
        return len(self._pending)

    def happened(self, directory: D, name: bytes, what: What, now_ns: int) -> None:
        """Record the change *what* to *name* in *directory* at *now_ns*, for take() to deliver."""
        self.seen += 1
        # Decided for every event, so that which are lost does not hang on when they come.
        is_lost = self._is_to_be_lost()
        loss = self._loss_around(directory)
        if loss is not None:
            self.dropped += 1
            loss.add((directory,), now_ns, loss.why)
            self._bound_losses()
            return
        key = (directory, name)
        change = self._pending.get(key)
        if is_lost:
            self.dropped += 1
            self._lose((directory,), now_ns, USER_DROPPED)
        elif change is not None:
            self.coalesced += 1
            change.coalesce(what, now_ns)
        elif len(self._pending) < self.spec.most_pending:
            self._pending[key] = _Change(what, now_ns)
        else:
            self._overflow(directory, now_ns)
        self._schedule(now_ns)

    def kernel_dropped(self, now_ns: int, since_ns: int) -> None:
        """Record that the host's queue overflowed: a scan is due of all since *since_ns*."""
        self._lose((self._root,), min(since_ns, now_ns), KERNEL_DROPPED)
        self._schedule(now_ns)

    def drop(self, *, count: int = 0, rate: float = 0.0) -> None:
        """Lose the next *count* events, or each by chance *rate* (0 to 1). Raises AssertionError.

        Each call replaces the one before; drop() ends it. Raises AssertionError for a negative
        count, or a rate outside [0, 1].
        """
        assert count >= 0, count
        assert 0 <= rate <= 1, rate
        self._drop_count = count
        self._drop_rate = rate

    def take(self, now_ns: int) -> list[FileEvent[D] | MustScan[D]]:
        """Take out what is due at *now_ns*: losses, then events in order; [] if nothing is."""
        if self._due_ns is None or now_ns < self._due_ns:
            return []
        self._follow_renamed()
        told: list[FileEvent[D] | MustScan[D]] = [
            MustScan(directory, loss.since_ns, loss.why) for directory, loss in self._losses.items()
        ]
        self.must_scans += len(told)
        told += [
            FileEvent(directory, name, change.what, change.at_ns)
            for (directory, name), change in self._pending.items()
        ]
        self.delivered += len(self._pending)
        self._pending.clear()
        self._losses.clear()
        self._due_ns = None
        self._last_delivery_ns = now_ns
        return told

    def _schedule(self, now_ns: int) -> None:
        """Something waits: settle when it is due, unless that is settled."""
        if self._due_ns is not None:
            return
        latency_ns, last_ns = self.spec.latency_ns, self._last_delivery_ns
        if not self.spec.no_defer:
            self._due_ns = now_ns + latency_ns
        elif last_ns is None or now_ns - last_ns > latency_ns:
            self._due_ns = now_ns
        else:
            self._due_ns = last_ns + latency_ns

    # Losses

    def _is_to_be_lost(self) -> bool:
        if self._drop_count:
            self._drop_count -= 1
            return True
        return bool(self._drop_rate) and float(self._generator.random()) < self._drop_rate

    def _overflow(self, directory: D, now_ns: int) -> None:
        """One name too many: all that wait are lost, and so is what happened in *directory*."""
        self.dropped += len(self._pending) + 1
        since_ns = min(now_ns, *(change.at_ns for change in self._pending.values()))
        directories = dict.fromkeys(directory for directory, _ in self._pending)
        directories[directory] = None
        self._pending.clear()
        self._lose(directories, since_ns, USER_DROPPED)

    def _lose(self, directories: Iterable[D], since_ns: int, why: str) -> None:
        """Changes in all of *directories* are lost: a scan for them, or one that waits already."""
        directories = tuple(directories)
        top = self._deepest_above(directories)
        loss = self._loss_around(top)
        if loss is None:
            loss = _Loss[D](since_ns, why)
            for other in [other for other in self._losses if top in self._way_up(other)]:
                below = self._losses.pop(other)
                loss.add((other, *below.inside), below.since_ns, below.why)
            self._losses[top] = loss
        loss.add(directories, since_ns, why)
        self._bound_losses()

    def _bound_losses(self) -> None:
        """Rather a larger scan than a longer list."""
        root_loss = self._losses.get(self._root)
        if root_loss is not None:
            root_loss.inside.clear()  # nothing is renamed to a place outside the root
        remembered = sum(len(loss.inside) for loss in self._losses.values())
        if remembered > 2 * self.spec.most_pending:
            self._merge_losses((self._root,))
        elif len(self._losses) > _MOST_SCANS:
            self._merge_losses(self._losses)

    def _merge_losses(self, directories: Iterable[D]) -> None:
        """One loss of what *directories* and all losses have in common."""
        losses = self._losses
        merged = _Loss[D](min(loss.since_ns for loss in losses.values()), USER_DROPPED)
        for top, loss in losses.items():
            merged.add((top, *loss.inside), loss.since_ns, loss.why)
        top = self._deepest_above((*directories, *losses))
        self._losses = {top: merged}
        if top is self._root:
            merged.inside.clear()

    def _follow_renamed(self) -> None:
        """Lose anew what has been renamed out of the subtree that is to be scanned for it."""
        renamed = []
        for top, loss in self._losses.items():
            elsewhere = [each for each in loss.inside if top not in self._way_up(each)]
            if elsewhere:
                renamed.append((elsewhere, loss.since_ns, loss.why))
                for each in elsewhere:
                    del loss.inside[each]
        for elsewhere, since_ns, why in renamed:
            self._lose(elsewhere, since_ns, why)

    def _loss_around(self, directory: D) -> _Loss[D] | None:
        if not self._losses:
            return None
        for above in self._way_up(directory):
            loss = self._losses.get(above)
            if loss is not None:
                return loss
        return None

    def _way_up(self, directory: D) -> list[D]:
        """*directory*, its parent and so on; the root is always the last.

        Also of one that hangs nowhere any more, or in a circle, as two renames
        of which we have heard in the wrong order can make it.
        """
        way: dict[D, None] = {}
        above: D | None = directory
        while above is not None and above is not self._root and above not in way:
            way[above] = None
            above = cast("D | None", above.parent)  # what lies above a D is one
        return [*way, self._root]

    def _deepest_above(self, directories: Iterable[D]) -> D:
        """The deepest directory that all of *directories* are, or lie below."""
        first, *others = directories
        way = self._way_up(first)
        rank = {directory: number for number, directory in enumerate(way)}
        deepest = 0
        for other in others:
            deepest = max(deepest, next(rank[up] for up in self._way_up(other) if up in rank))
        return way[deepest]


# What a change invalidates in the guest


class Stale(enum.Flag):
    """What the guest's kernel may have cached and must not use any longer."""

    ENTRY = enum.auto()
    """The dentry: that the name is this object, or a negative entry."""
    DIRECTORY_ATTRIBUTES = enum.auto()
    """The attributes of the directory that the name is in."""
    ATTRIBUTES = enum.auto()
    """The attributes of the object."""
    PAGES = enum.auto()
    """The object's pages in the page cache."""


_NAMED_ANEW = What.CREATED | What.REMOVED | What.RENAMED


def invalidated_by(what: What) -> Stale:
    """What the host change *what* makes stale in the guest's caches, exactly; Stale(0) if none.

    A name that comes or goes is another answer to a lookup; it changes the
    directory's times and link count; and it changes the link count and ctime of
    the object, which may be known by another name. Content that changed takes
    size and times with it, whether or not the guest has pages. Attributes invalidate
    nothing else. A writer's close changes nothing: what it wrote was delivered before.
    """
    stale = Stale(0)
    if what & _NAMED_ANEW:
        stale |= Stale.ENTRY | Stale.DIRECTORY_ATTRIBUTES | Stale.ATTRIBUTES
    if What.MODIFIED in what:
        stale |= Stale.ATTRIBUTES | Stale.PAGES
    if What.ATTRIBUTES in what:
        stale |= Stale.ATTRIBUTES
    return stale


# What the guest's processes see


WHEN_MODIFIES_ARE_SEEN = ("written", "closed", "never")


@dataclass(frozen=True, slots=True)
class NotifySpec:
    """Which changes of the host become events of inotify in the guest, and when.

    Raises AssertionError for a word that is none of WHEN_MODIFIES_ARE_SEEN, or a negative time.
    """

    creates: bool = True
    """Whether objects that were made raise an event."""
    modifies: str = "written"
    """At each write, when a writer closes, or never: one of WHEN_MODIFIES_ARE_SEEN."""
    attributes: bool = True
    """Whether changed attributes do."""
    deletes: bool = True
    """Whether removed objects do."""
    debounce_files_ns: int = 0
    """So long nothing must have happened to a file's name; 0: events are raised at once."""
    debounce_directories_ns: int = 0
    """The same of directories."""
    touches: bool = False
    """Whether an agent in the guest touches what has changed, so that all raises ATTRIB."""

    def __post_init__(self) -> None:
        assert self.modifies in WHEN_MODIFIES_ARE_SEEN, self.modifies
        assert self.debounce_files_ns >= 0, self.debounce_files_ns
        assert self.debounce_directories_ns >= 0, self.debounce_directories_ns

    def dilated(self, factor: float) -> "NotifySpec":
        """The same choice of events, with both debounce times multiplied by *factor*."""
        return replace(
            self,
            debounce_files_ns=round(self.debounce_files_ns * factor),
            debounce_directories_ns=round(self.debounce_directories_ns * factor),
        )


class Notice(enum.Enum):
    """What is raised in the guest, by the name of its event of inotify(7)."""

    DELETE = "delete"
    CREATE = "create"
    MODIFY = "modify"
    ATTRIB = "attrib"


def notices(
    what: What, spec: NotifySpec, *, exists: bool, was_known: bool, replaced: bool
) -> tuple[Notice, ...]:
    """The inotify events that the guest sees of a host change *what* to one name; () for none.

    *exists*: there is an object of that name on the host now. *was_known*: the
    guest had looked up an object under that name. *replaced*: that was
    another object than the one there now. The host's flags have lost their
    order, so what is there now decides between them.

    The vendor's page on osxfs, "File system events": what is created is seen as
    CREATE, what is removed as DELETE, and a rename, whose two halves arrive
    unpaired, as DELETE of the old name and MODIFY of the new one. A directory is
    never seen modified otherwise.
    """
    gone_anew = was_known and replaced
    renamed = What.RENAMED in what
    if not exists:
        seen = [Notice.DELETE] if was_known or what & (What.REMOVED | What.RENAMED) else []
    else:
        seen = [Notice.DELETE] if gone_anew else []
        if What.CREATED in what or (gone_anew and not renamed):
            seen.append(Notice.CREATE)
        written = What.CLOSED if spec.modifies == "closed" else What.MODIFIED
        if renamed or (written in what and What.DIRECTORY not in what):
            seen.append(Notice.MODIFY)
        if What.ATTRIBUTES in what:
            seen.append(Notice.ATTRIB)
    told = {
        Notice.DELETE: spec.deletes,
        Notice.CREATE: spec.creates,
        Notice.MODIFY: spec.modifies != "never",
        Notice.ATTRIB: spec.attributes,
    }
    heard = [notice for notice in seen if told[notice]]
    if spec.touches:
        # utimensat(2) of both times, whatever it was.
        heard = [Notice.DELETE if notice is Notice.DELETE else Notice.ATTRIB for notice in heard]
    return tuple(dict.fromkeys(heard))


class _Quiet:
    """An event that waits until its name has been quiet; *queued_ns* is its entry in the queue."""

    __slots__ = ("change", "due_ns", "number", "queued_ns")

    def __init__(self, change: _Change, number: int) -> None:
        self.change = change
        self.number = number
        self.due_ns = 0
        self.queued_ns = 0


class Debounce(Generic[D]):
    """Delivers an event when nothing has happened to its name for the debounce time.

    At most *most_pending* names wait; one more, and the one that began to wait
    first is delivered early. As long as what is due is taken, that bounds memory.
    """

    def __init__(self, spec: NotifySpec, most_pending: int = 4096) -> None:
        assert most_pending >= 1, most_pending
        self.spec = spec
        self._most_pending = most_pending
        self._waiting: dict[tuple[D, bytes], _Quiet] = {}
        self._early: dict[tuple[D, bytes], _Change] = {}
        self._early_ns = 0
        self._queue: list[tuple[int, int, tuple[D, bytes]]] = []
        self._number = 0

    def happened(self, event: FileEvent[D], now_ns: int) -> None:
        """Record *event*, come at *now_ns*, to wait until its name is quiet; joins one waiting."""
        key = (event.directory, event.name)
        early = self._early.get(key)
        if early is not None:
            early.coalesce(event.what, event.at_ns)
            return
        quiet = self._waiting.get(key)
        is_new = quiet is None
        if quiet is None:
            self._number += 1
            quiet = self._waiting[key] = _Quiet(_Change(event.what, event.at_ns), self._number)
        else:
            quiet.change.coalesce(event.what, event.at_ns)
        is_directory = What.DIRECTORY in quiet.change.what
        spec = self.spec
        quiet.due_ns = now_ns + (
            spec.debounce_directories_ns if is_directory else spec.debounce_files_ns
        )
        # An entry that is too early is put right when it is met, so that a name
        # with a thousand changes has one entry and not a thousand.
        if is_new or quiet.due_ns < quiet.queued_ns:
            self._enqueue(key, quiet)
        if len(self._waiting) > self._most_pending:
            oldest = next(iter(self._waiting))
            if not self._early:
                self._early_ns = now_ns
            self._early[oldest] = self._waiting.pop(oldest).change

    @property
    def due_ns(self) -> int | None:
        """When take() will next give some event, in ns; None while none waits."""
        if self._early:
            return self._early_ns
        self._settle()
        return self._queue[0][0] if self._queue else None

    def take(self, now_ns: int) -> list[FileEvent[D]]:
        """Take out the events whose names are quiet at *now_ns*, in that order; [] if none is."""
        given = [
            FileEvent(directory, name, change.what, change.at_ns)
            for (directory, name), change in self._early.items()
        ]
        self._early.clear()
        self._settle()
        while self._queue and self._queue[0][0] <= now_ns:
            _, _, key = heapq.heappop(self._queue)
            change = self._waiting.pop(key).change
            given.append(FileEvent(*key, change.what, change.at_ns))
            self._settle()
        return given

    def _enqueue(self, key: tuple[D, bytes], quiet: _Quiet) -> None:
        quiet.queued_ns = quiet.due_ns
        heapq.heappush(self._queue, (quiet.due_ns, quiet.number, key))

    def _settle(self) -> None:
        """Make the first entry of the queue a true one."""
        while self._queue:
            entry_timeout_ns, number, key = self._queue[0]
            quiet = self._waiting.get(key)
            if quiet is None or (number, entry_timeout_ns) != (quiet.number, quiet.queued_ns):
                heapq.heappop(self._queue)
            elif quiet.due_ns > entry_timeout_ns:
                heapq.heappop(self._queue)
                self._enqueue(key, quiet)
            else:
                return


# What a profile says


@dataclass(frozen=True, slots=True)
class EventSpec:
    """What becomes of a change on the host: None for a stage that a system does not have.

    Raises AssertionError for *notify* without a *stream*.
    """

    stream: StreamSpec | None = None
    """How the host collects changes; None: the guest gets no events."""
    notify: NotifySpec | None = None
    """Which become events of inotify; None: caches are invalidated, processes get none."""

    def __post_init__(self) -> None:
        assert self.stream is not None or self.notify is None, self

    def dilated(self, factor: float) -> "EventSpec":
        """The same stages of events, all their times multiplied by *factor*; None stays None."""
        return EventSpec(
            self.stream and self.stream.dilated(factor),
            self.notify and self.notify.dilated(factor),
        )


NO_EVENTS = EventSpec()
