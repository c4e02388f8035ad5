"""Decides which of the guest's changes are still to be written back, in which order, and when.

Under the contract's ``delegated`` the guest's changes are acknowledged at once and reach the host
later. This is the list of those that are pending: it knows no file, no clock and no FUSE. Objects
are whatever the caller tells them apart by.

The rule of order: changes reach the host one after the other in the order in which the guest
made them. Two things are left out on the way, and nothing else is:

* an object that the guest has made and removed again never crosses, nor does anything that
  was done to it; what it had replaced under its name is removed in its stead;
* what was written to, or set on, an object that the guest has removed since does not cross
  either, unless it is a directory in which other changes have to cross: the host keeps it as it
  was until it goes.

So at every moment the host's tree is the guest's as it was after one of its changes, as far as
the objects are concerned that the guest has not removed since. docs/write-back.md tells what
follows from that, and how it is tested.

A change that the host will never take (refusals.py) leaves the list by itself, along with those
that depend on it: see depending(). All others go on in their order.
"""

import enum
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass, replace
from typing import Any, Generic, TypeVar

from osxfs_sim.model.operations import Operation

T = TypeVar("T", bound=Hashable)

LARGEST_WRITE_BYTES = 128 * 1024
"""What one crossing carries: the largest WRITE of FUSE until Linux 4.20 (32 pages)."""


@dataclass(frozen=True, slots=True)
class WriteBackSpec:
    """How much may be pending, and for how long."""

    age_ns: int = 5_000_000_000
    """No change is pending longer before its turn to be written back."""
    most_changes: int = 16_384
    """How many may be pending; a request that would exceed that waits for room."""
    most_bytes: int = 128_000_000
    """How many bytes of content may be pending."""
    in_flight: int = 8
    """How many crossings are under way at once."""
    kernel: bool = False
    """Whether the guest's kernel holds small writes too (FUSE_WRITEBACK_CACHE)."""

    def dilated(self, factor: float) -> "WriteBackSpec":
        """The same limits, but the longest time that a change is pending multiplied by *factor*."""
        return replace(self, age_ns=round(self.age_ns * factor))


class Kind(enum.StrEnum):
    """What a change does; the values are those of the journal."""

    MAKE = "make"
    WRITE = "write"
    SET = "set"
    LINK = "link"
    UNLINK = "unlink"
    RMDIR = "rmdir"
    RENAME = "rename"


@dataclass(slots=True, eq=False)
class Change(Generic[T]):
    """One change of the guest's to the object *target*."""

    kind: Kind
    """What is done."""
    target: T
    """The object that it is done to."""
    at_ns: int
    """When it was acknowledged, on the monotonic clock."""
    parent: T | None = None
    """The directory in which it makes or removes a name."""
    name: bytes = b""
    """That name."""
    old_parent: T | None = None
    """Of a rename: where it comes from."""
    old_name: bytes = b""
    """Of a rename: the name it had there."""
    replaced: T | None = None
    """The object whose name a rename takes, if that is on the host by then."""
    replaced_is_directory: bool = False
    """Whether that is a directory."""
    offset: int = 0
    """Of a write: where in the file."""
    length: int = 0
    """Of a write: how many bytes."""
    position: int = 0
    """Of a write: where the journal keeps them."""
    detail: Any = None
    """Whatever the caller needs with it; not read here."""
    sequence: int = 0
    """Its number in the order of the guest, from 1 on."""

    @property
    def directories(self) -> set[T]:
        """The directories whose names the change affects: none, one, or of a rename up to two."""
        return {each for each in (self.parent, self.old_parent) if each is not None}


def concerned(change: Change[T]) -> set[T]:
    """The objects that *change* takes part in: target, directories, what is replaced."""
    found = {change.target, *change.directories}
    if change.replaced is not None:
        found.add(change.replaced)
    return found


def name_effects(change: Change[T]) -> list[tuple[T, bytes, T | None]]:
    """The names that *change* gives and takes, as (directory, name, object or None: taken)."""
    parent = change.parent
    if parent is None:
        return []
    if change.kind in (Kind.UNLINK, Kind.RMDIR):
        return [(parent, change.name, None)]
    effects: list[tuple[T, bytes, T | None]] = []
    if change.kind is Kind.RENAME:
        assert change.old_parent is not None
        effects.append((change.old_parent, change.old_name, None))
    effects.append((parent, change.name, change.target))
    return effects


OPERATION_OF = {
    Kind.WRITE: Operation.WRITE,
    Kind.SET: Operation.SETATTR,
    Kind.LINK: Operation.LINK,
    Kind.UNLINK: Operation.UNLINK,
    Kind.RMDIR: Operation.RMDIR,
    Kind.RENAME: Operation.RENAME,
}
"""By which request a change crosses; a MAKE by that of its kind of object, see made_by()."""


def made_by(*, is_directory: bool, is_symlink: bool) -> Operation:
    """The request by which the MAKE of such an object crosses."""
    if is_directory:
        return Operation.MKDIR
    return Operation.SYMLINK if is_symlink else Operation.CREATE


@dataclass(frozen=True, slots=True)
class Cancelled(Generic[T]):
    """What need not cross any more, and what crosses as another change: as it was, as it is."""

    dropped: list[Change[T]]
    """What need not cross any more."""
    compacted: list[tuple[Change[T], Change[T]]]
    """What crosses as another change: as it was, as it is."""


@dataclass(frozen=True, slots=True)
class Closure(Generic[T]):
    """A change that the host will never take, and what falls with it.

    Of objects that so never get to the host none can be replaced there: changes that would
    replace one go on as others.
    """

    changes: list[Change[T]]
    """The change that the host will never take, and those that depend on it, oldest first."""
    compacted: list[tuple[Change[T], Change[T]]]
    """What goes on as something else: as it was, as it is to be."""
    lost: set[T]
    """The objects that never get to the host."""

    def is_moot(self, is_gone: Callable[[T], bool]) -> bool:
        """Whether the guest has removed all that the closure is of: nothing need be kept then.

        *is_gone* tells whether the guest has removed an object's last name.
        """
        if len(self.changes) == 1 and self.changes[0].kind in (Kind.WRITE, Kind.SET):
            return is_gone(self.changes[0].target)
        return all(
            change.target in self.lost
            and is_gone(change.target)
            and (change.replaced is None or change.replaced in self.lost)
            for change in self.changes
        )


def _unknown(_: Any) -> Any:
    """Of any object: not gone; in no directory."""


def depending(
    refused: Change[T],
    later: Iterable[Change[T]],
    is_gone: Callable[[T], bool] = _unknown,
    parent_of: Callable[[T], T | None] = _unknown,
) -> Closure[T]:
    """The Closure of *refused*, never applied: it, and changes among *later* that fall with it.

    *later* are the changes after it, in their order. A change falls

    1. with an object that never gets to the host: whatever is done to it, or in it;
    2. with a name: what takes a name that was to be given, and what gives one that was to be
       freed, so that nothing takes the place of what the host still has there;
    3. with an object's content or attributes: what is written or set later, and what gives it a
       name, so that no name ever stands for half of a file;
    4. with an object's other name: what takes its last ones away, or removes the directory
       that it was to leave, or would move that into the object (*parent_of* tells in which
       directory the host has something).

    What only shares a directory with it, or a file, does not. What the guest has removed
    (*is_gone*) may go: without what was to be written to it before.
    """
    found: _Fallen[T] = _Fallen(parent_of)
    changes, compacted = [refused], list[tuple[Change[T], Change[T]]]()
    if not (refused.kind in (Kind.WRITE, Kind.SET) and is_gone(refused.target)):
        found.leave_out(refused)
    for change in later:
        if found.includes(change):
            changes.append(change)
            found.leave_out(change)
            continue
        if change.replaced is not None and change.replaced in found.lost:
            compacted.append((change, replace(change, replaced=None, replaced_is_directory=False)))
        found.go_on(change)
    return Closure(changes, compacted, found.lost)


class _Fallen(Generic[T]):
    """By what later changes are told to depend on those that were left out."""

    def __init__(self, parent_of: Callable[[T], T | None]) -> None:
        self._parent_of = parent_of
        self._moved: dict[T, T | None] = {}  # where it goes on
        self.lost: set[T] = set()  # never on the host
        self._unwritten: set[T] = set()  # content or attributes are not what they were to be
        self._misnamed: set[T] = set()  # a name of it is missing
        # Names that stand for nothing, or for something older, though the guest gave them;
        # and those that still stand for something that the guest took away.
        self._missing: set[tuple[T, bytes]] = set()
        self._occupied: set[tuple[T, bytes]] = set()

    def includes(self, change: Change[T]) -> bool:
        """Whether *change* depends on what was left out."""
        if change.target in self.lost or not self.lost.isdisjoint(change.directories):
            return True
        if change.kind in (Kind.WRITE, Kind.SET):
            return change.target in self._unwritten
        place = _place(change)
        if change.kind in (Kind.UNLINK, Kind.RMDIR):
            return (
                place in self._missing
                or change.target in self._misnamed
                or self._is_full(change.target)
            )
        if place in self._occupied or change.target in self._unwritten:
            return True
        if change.kind is not Kind.RENAME:
            return False
        if _old_place(change) in self._missing or self._is_below(change.parent, change.target):
            return True
        replaced = change.replaced
        if replaced is None or replaced in self.lost:
            return False
        return place in self._missing or replaced in self._misnamed or self._is_full(replaced)

    def _is_full(self, directory: T) -> bool:
        """Whether something that was to leave it is still in *directory*."""
        return any(inside == directory for inside, _ in self._occupied)

    def _is_below(self, directory: T | None, target: T) -> bool:
        """Whether *directory* would be in *target*, or be it, since something has not moved."""
        seen: set[T] = set()
        while self._misnamed and directory is not None and directory not in seen:
            if directory == target:
                return True
            seen.add(directory)
            moved = directory in self._moved
            directory = self._moved[directory] if moved else self._parent_of(directory)
        return False

    def leave_out(self, change: Change[T]) -> None:
        """Record that *change* is not applied."""
        place = _place(change)
        match change.kind:
            case Kind.WRITE | Kind.SET:
                self._unwritten.add(change.target)
            case Kind.UNLINK | Kind.RMDIR:
                self._not_freed(place)
            case Kind.MAKE:
                self.lost.add(change.target)
                self._missing.add(place)
            case Kind.LINK:
                self._misname(change.target)
                self._missing.add(place)
            case Kind.RENAME:
                self._misname(change.target)
                self._not_freed(_old_place(change))
                replaced = change.replaced
                if replaced is not None and replaced not in self.lost:
                    self._not_freed(place)
                self._missing.add(place)

    def _misname(self, target: T) -> None:
        if target not in self.lost:
            self._misnamed.add(target)

    def _not_freed(self, place: tuple[T, bytes]) -> None:
        if place in self._missing:
            self._missing.discard(place)  # it never was taken
        else:
            self._occupied.add(place)

    def go_on(self, change: Change[T]) -> None:
        """Record that *change* is applied: where it makes a name, that is the guest's."""
        if change.kind in (Kind.MAKE, Kind.LINK, Kind.RENAME):
            self._missing.discard(_place(change))
            self._moved[change.target] = change.parent


def _place(change: Change[T]) -> tuple[T, bytes]:
    return change.parent, change.name  # type: ignore[return-value]


def _old_place(change: Change[T]) -> tuple[T, bytes]:
    return change.old_parent, change.old_name  # type: ignore[return-value]


class PendingChanges(Generic[T]):
    """The guest's changes that the host does not have, oldest first.

    made == crossed + cancelled + merged + set_aside + len(self), always.
    """

    def __init__(self, spec: WriteBackSpec) -> None:
        self.spec = spec
        self.under_way: Change[T] | None = None
        """The one that is being applied: no longer to be cancelled."""
        self.last_sequence = 0
        self.done_sequence = 0
        """Every change up to this one is on the host, or has been cancelled."""
        self.bytes = 0
        self._changes: dict[int, Change[T]] = {}
        self._by_target: dict[T, dict[int, Change[T]]] = {}
        # For objects that were made and are not on the host: their MAKE.
        self._local_only: dict[T, Change[T]] = {}
        self.links = 0
        """How many further names of files the host has yet to make."""
        # Changes by which other objects got or lost a name in a directory.
        self._inside: dict[T, int] = {}
        self.reset_counts()

    def reset_counts(self) -> None:
        """Begin all counts anew from now on; changes that are pending count as made."""
        self.made = len(self)
        self.crossed = self.cancelled = self.merged = self.written_back_bytes = 0
        self.set_aside = 0
        self.longest_lag_ns = 0
        self.most_changes = len(self)
        self.most_bytes = self.bytes

    def __len__(self) -> int:
        return len(self._changes) + (self.under_way is not None)

    def all(self) -> list[Change[T]]:
        """All pending changes as a new list, oldest first, the one under way included."""
        first = [self.under_way] if self.under_way is not None else []
        return [*first, *self._changes.values()]

    @property
    def oldest_ns(self) -> int | None:
        """When the oldest pending change was acknowledged, monotonic ns; None: none is."""
        oldest = self.under_way or next(iter(self._changes.values()), None)
        return None if oldest is None else oldest.at_ns

    @property
    def oldest_sequence(self) -> int:
        """The sequence number of the oldest pending change; if none, that of the next one."""
        oldest = self.under_way or next(iter(self._changes.values()), None)
        return self.last_sequence + 1 if oldest is None else oldest.sequence

    @property
    def due_ns(self) -> int | None:
        """When the oldest pending change must be written back, monotonic ns; None: none is."""
        oldest_ns = self.oldest_ns
        return None if oldest_ns is None else oldest_ns + self.spec.age_ns

    def has_room_for(self, size_bytes: int) -> bool:
        """Whether one more change of *size_bytes* may be pending; always where nothing is."""
        if not len(self):
            return True
        return (
            len(self) < self.spec.most_changes and self.bytes + size_bytes <= self.spec.most_bytes
        )

    @property
    def to_make(self) -> int:
        """How many objects exist in the guest only, and are still to be made on the host."""
        return len(self._local_only)

    def is_local_only(self, target: T) -> bool:
        """Whether *target* exists in the guest only, and is still to be made on the host."""
        return target in self._local_only

    def cancels(self, target: T) -> bool:
        """Whether removing *target* now would spare the host from ever getting it at all."""
        return target in self._local_only and target not in self._inside

    def add(self, change: Change[T]) -> Change[T]:
        """Append *change* as pending; returns it, or the earlier write that it was merged into."""
        if change.kind is Kind.WRITE:
            carrier = self.carrier_of(change.target, change.offset, change.length, change.position)
            if carrier is not None:
                self.extend(carrier, change.length, change.detail)
                return carrier
        self.made += 1
        self._hold_bytes(change.length)
        self.last_sequence += 1
        change.sequence = self.last_sequence
        self._changes[change.sequence] = change
        self._by_target.setdefault(change.target, {})[change.sequence] = change
        if change.kind is Kind.MAKE:
            self._local_only[change.target] = change
        self.links += change.kind is Kind.LINK
        self._count_inside(change, 1)
        self.most_changes = max(self.most_changes, len(self))
        return change

    def carrier_of(self, target: T, offset: int, length: int, position: int) -> Change[T] | None:
        """The last pending write, if one more write continues it and fits in; else returns None."""
        last = self._changes.get(self.last_sequence)
        if (
            last is not None
            and last.target == target
            and last.kind is Kind.WRITE
            and last.offset + last.length == offset
            and last.position + last.length == position
            and last.length + length <= LARGEST_WRITE_BYTES
        ):
            return last
        return None

    def extend(self, carrier: Change[T], length: int, detail: Any) -> None:
        """Merge *length* bytes more into the pending write *carrier*, which they continue."""
        self.made += 1
        self.merged += 1
        carrier.length += length
        carrier.detail = detail
        self._hold_bytes(length)

    def _hold_bytes(self, length: int) -> None:
        self.bytes += length
        self.most_bytes = max(self.most_bytes, self.bytes)

    def _count_inside(self, change: Change[T], number: int) -> None:
        for directory in change.directories:
            if directory != change.target:
                count = self._inside.get(directory, 0) + number
                if count:
                    self._inside[directory] = count
                else:
                    del self._inside[directory]

    def gone(self, target: T) -> Cancelled[T]:
        """Note that *target*'s last name is removed; cancels and returns what need not cross."""
        mine = list(self._by_target.get(target, {}).values())
        cancelled: Cancelled[T] = Cancelled([], [])
        if target not in self._local_only:
            # What was set on a directory may be what lets the changes in it be made.
            is_needed = target in self._inside
            for change in mine:
                if change.kind in (Kind.WRITE, Kind.SET) and not is_needed:
                    self._drop(change)
                    cancelled.dropped.append(change)
        elif self.cancels(target):
            for change in mine:
                if change.kind is Kind.RENAME and change.replaced is not None:
                    before = replace(change)
                    self._turn(change)
                    cancelled.compacted.append((before, change))
                else:
                    self._drop(change)
                    cancelled.dropped.append(change)
        self.cancelled += len(cancelled.dropped)
        return cancelled

    def _drop(self, change: Change[T]) -> None:
        del self._changes[change.sequence]
        self._forget(change)
        self.bytes -= change.length

    def _forget(self, change: Change[T]) -> None:
        mine = self._by_target[change.target]
        del mine[change.sequence]
        if not mine:
            del self._by_target[change.target]
        if self._local_only.get(change.target) is change:
            del self._local_only[change.target]
        self.links -= change.kind is Kind.LINK
        self._count_inside(change, -1)

    def _turn(self, change: Change[T]) -> None:
        """A rename of what never crosses takes away what it replaced, and no more."""
        assert change.replaced is not None
        self._forget(change)
        change.kind = Kind.RMDIR if change.replaced_is_directory else Kind.UNLINK
        change.target, change.replaced = change.replaced, None
        change.old_parent, change.old_name = None, b""
        self._by_target.setdefault(change.target, {})[change.sequence] = change
        self._count_inside(change, 1)

    def take(self) -> Change[T] | None:
        """Make the oldest change the one under way, if none is, and return it; None: no change."""
        if self.under_way is None and self._changes:
            change = self._changes.pop(next(iter(self._changes)))
            self._forget(change)
            self.under_way = change
        return self.under_way

    def closure(
        self,
        is_gone: Callable[[T], bool] = _unknown,
        parent_of: Callable[[T], T | None] = _unknown,
    ) -> Closure[T]:
        """What falls if the change under way is never applied. Raises AssertionError if none is.

        Raises AssertionError where none is under way.
        """
        assert self.under_way is not None
        return depending(self.under_way, self._changes.values(), is_gone, parent_of)

    @property
    def makes_room(self) -> bool:
        """Whether any independent change frees room. Raises AssertionError if none is under way.

        What would be done to the same object does not count: see depending().
        """
        assert self.under_way is not None
        freeing = [change for change in self._changes.values() if _frees_room(change)]
        return bool(freeing) and not {change.sequence for change in freeing} <= {
            change.sequence for change in self.closure().changes
        }

    def leave(self, closure: Closure[T], *, is_moot: bool = False) -> None:
        """Drop *closure* unapplied. Raises AssertionError if its first is not under way.

        Where it *is_moot* it counts as cancelled, else as set aside.
        """
        first, *others = closure.changes
        assert first is self.under_way
        self.under_way = None
        self.done_sequence = first.sequence
        self.bytes -= first.length
        for change in others:
            self._drop(change)
        for _, after in closure.compacted:
            self._changes[after.sequence] = after
            self._by_target[after.target][after.sequence] = after
        if is_moot:
            self.cancelled += len(closure.changes)
        else:
            self.set_aside += len(closure.changes)

    def done(self, now_ns: int) -> None:
        """Note that the host has the change under way. Raises AssertionError if none is.

        Raises AssertionError where none was.
        """
        change = self.under_way
        assert change is not None
        self.under_way = None
        self.done_sequence = change.sequence
        self.bytes -= change.length
        self.crossed += 1
        self.written_back_bytes += change.length
        self.longest_lag_ns = max(self.longest_lag_ns, now_ns - change.at_ns)


def _frees_room(change: Change[T]) -> bool:
    return change.kind in (Kind.UNLINK, Kind.RMDIR) or change.replaced is not None
