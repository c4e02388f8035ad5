"""What each side must change so that both agree: from two snapshots and the last agreed state.

Pure, and by the path: each object is decided for itself, so a deletion of a whole
directory and an edit deep in it are both kept as far as they go together. With
*then* for what was agreed upon, at one path:

| host | guest | both ways, safe | resolved | one way, safe | replica |
| --- | --- | --- | --- | --- | --- |
| equal to guest | equal to host | agreed | agreed | agreed | agreed |
| changed | as then | travels | travels | travels | travels |
| as then | edited, made | travels | travels | kept, listed if in the way | host's |
| as then | deleted | travels | travels | host's | host's |
| deleted | edited, made | edit wins | edit wins | kept | host's |
| edited, made | deleted | edit wins | edit wins | host's | host's |
| edited, made | edited, made otherwise | conflict | host's | conflict | host's |

What is ignored or cannot travel stays, with what lies at its path on the other
side, and what was agreed upon there.

A deletion travels only to the very object that was agreed upon (snapshot.Known): one
with equal content that is another has been made again, by somebody who wants it, and
counts as made. In doubt nothing is deleted: what comes back can be deleted again.
"""

from collections.abc import Container
from dataclasses import dataclass, field
from typing import Literal

from osxfs_sim.model.synchronization import SyncMode
from osxfs_sim.synchronize.snapshot import (
    IGNORED,
    Blocked,
    Child,
    Entry,
    Ignored,
    Path,
    Put,
    Subtree,
    identity_of,
    is_alike,
    shallow,
)

Side = Literal["host", "guest"]
_INDEX: dict[Side, int] = {"host": 0, "guest": 1}


@dataclass(frozen=True, slots=True)
class SyncChange:
    """At *path*, *old* becomes *new*; both with all that they hold."""

    path: Path
    """Where, relative to the root."""
    old: Entry | None
    """What is there, with all that it holds; None: nothing."""
    new: Entry | None
    """What comes there; None: nothing."""
    keeps_old: bool = False
    """Whether what gives way is set aside: it may be the newer one."""


@dataclass(frozen=True, slots=True)
class Conflict:
    """At *path*, both sides have changed what they once agreed upon, each its own way."""

    path: Path
    """Where, relative to the root."""
    then: Entry | None
    """What was agreed upon; None: nothing."""
    host: Entry | None
    """What the host has now."""
    guest: Entry | None
    """What the guest has now."""


@dataclass(slots=True)
class Plan:
    """The changes that make both sides agree, and what stands against it."""

    host: list[SyncChange] = field(default_factory=list)
    """What is to be changed on the host's side."""
    guest: list[SyncChange] = field(default_factory=list)
    """What is to be changed on the guest's side."""
    conflicts: list[Conflict] = field(default_factory=list)
    """What is left as it is, because both have changed it."""
    in_the_way: list[tuple[Path, Side]] = field(default_factory=list)
    """Ignored or unfit things at whose path the other side has something that takes part."""
    agreed: list[Put] = field(default_factory=list)
    """What both sides have already, and the last agreed state does not."""


def reconcile(
    then: Entry | None,
    host: Child | None,
    guest: Child | None,
    mode: SyncMode,
    doubts: Container[Path] = (),
) -> Plan:
    """The Plan of changes that make *host* and *guest* agree, as far as *mode* lets them. Pure.

    *doubts*: where, and below which, more may have travelled than is known, the process or
    the machine having crashed; with the root, everywhere. A side that has the agreed content
    there in another object may have gone back to it, and a version that has to give way may
    be the newer one.
    """
    plan = Plan()
    _Reconciliation(mode, plan, doubts).at((), then, host, guest)
    return plan


def is_untouched(now: Entry, then: Entry | None, side: Side, *, strictly: bool = False) -> bool:
    """Whether *now* is the very object agreed upon as *then*, with all that it holds. Pure.

    *strictly*: nor has any directory been moved, or anything made or deleted in it.
    """
    if then is None or now != then or not _is_the_same(now, then, side, strictly=strictly):
        return False
    if isinstance(now, Subtree):
        assert isinstance(then, Subtree)
        for name, child in now.children.items():
            was = then.children.get(name)
            if isinstance(child, (Blocked, Ignored)):
                continue
            assert not isinstance(was, (Blocked, Ignored))
            if not is_untouched(child, was, side, strictly=strictly):
                return False
    return True


def _is_the_same(now: Entry, then: Entry, side: Side, *, strictly: bool) -> bool:
    identity = identity_of(now)
    if not identity:
        return True  # it was read from no disk: its value is all there is to it
    known = then.known[_INDEX[side]]
    if known is None or known.identity != identity:
        return False
    return not strictly or not isinstance(now, Subtree) or known.change_ns == now.change_ns


class _Reconciliation:
    def __init__(self, mode: SyncMode, plan: Plan, doubts: Container[Path] = ()) -> None:
        self._plan = plan
        self._mode = mode
        self._is_two_way = mode in (SyncMode.TWO_WAY_SAFE, SyncMode.TWO_WAY_RESOLVED)
        self._doubts = doubts
        self._is_in_doubt = False
        """Whether what is being decided is: its path, or one above."""
        self._moved: frozenset[Side] = frozenset()
        """Sides whose directories above may have been moved away and back, where that is in doubt:
        what lies in them shows nothing of that."""

    def _is_untouched(self, now: Entry, then: Entry | None, side: Side) -> bool:
        return side not in self._moved and is_untouched(now, then, side, strictly=self._is_in_doubt)

    def _is_the_same(self, now: Entry, then: Entry, side: Side) -> bool:
        return side not in self._moved and _is_the_same(now, then, side, strictly=self._is_in_doubt)

    def _only_lacks(self, now: Entry, then: Entry | None, side: Side) -> bool:
        """Whether *now* is *then*, or *then* without some of what it held.

        Of a directory whose place something else takes, all of it is deleted: what was made
        again in it was made.
        """
        if not isinstance(now, Subtree):
            return now == then
        if not isinstance(then, Subtree) or not self._is_the_same(now, then, side):
            return False
        for name, child in now.children.items():
            if isinstance(child, (Blocked, Ignored)):
                continue
            was = then.children.get(name)
            assert not isinstance(was, (Blocked, Ignored))
            if was is None:
                return False
            if isinstance(child, Subtree):
                if not self._only_lacks(child, was, side):
                    return False
            elif not self._is_untouched(child, was, side):
                return False
        return True

    def at(self, path: Path, then: Entry | None, host: Child | None, guest: Child | None) -> bool:
        """Decide *path*; whether something will be there that takes part.

        For the directory it lies in, which comes back only for that.
        """
        if isinstance(host, (Blocked, Ignored)) or isinstance(guest, (Blocked, Ignored)):
            self._stays(path, then, host, guest)
            return False
        if host == guest and host == then and host is not None:
            return True  # a whole tree, mostly
        above = self._is_in_doubt
        self._is_in_doubt = above or path in self._doubts
        try:
            return self._decide(path, then, host, guest)
        finally:
            self._is_in_doubt = above

    def _decide(
        self, path: Path, then: Entry | None, host: Entry | None, guest: Entry | None
    ) -> bool:
        if isinstance(host, Subtree) and isinstance(guest, Subtree):
            self._agree(path, then, host)
            self._below(path, then, host, guest)
            return True
        if host == guest:  # two files, two symlinks, or nothing on both sides
            self._agree(path, then, host)
            return host is not None
        if self._mode is SyncMode.ONE_WAY_REPLICA:
            return self._to_guest(path, host, guest)
        if self._is_two_way:
            return self._both_ways(path, then, host, guest)
        return self._one_way(path, then, host, guest)

    def _stays(
        self, path: Path, then: Entry | None, host: Child | None, guest: Child | None
    ) -> None:
        is_one_ignored = isinstance(host, Ignored) or isinstance(guest, Ignored)
        if is_one_ignored and all(side is None or side == IGNORED for side in (host, guest)):
            self._agree(path, then, None)
        elif isinstance(host, Ignored):
            self._plan.in_the_way.append((path, "host"))
        elif isinstance(guest, Ignored):
            self._plan.in_the_way.append((path, "guest"))

    def _agree(self, path: Path, then: Entry | None, now: Entry | None) -> None:
        if not is_alike(then, now):
            # What was there goes first, with all that it held.
            if isinstance(then, Subtree) or isinstance(now, Subtree):
                self._plan.agreed.append((path, None))
            if now is not None:
                self._plan.agreed.append((path, shallow(now)))
            elif not isinstance(then, Subtree):
                self._plan.agreed.append((path, None))

    def _below(
        self,
        path: Path,
        then: Entry | None,
        host: Subtree | None,
        guest: Subtree | None,
    ) -> bool:
        """Decide all that lies in the directory *path*; whether something will be left."""
        past = then.children if isinstance(then, Subtree) else {}
        hosts = host.children if host else {}
        guests = guest.children if guest else {}
        is_left = False
        moved = self._moved
        self._moved |= self._moved_at(path, then, {"host": host, "guest": guest})
        for name in sorted({*past, *hosts, *guests}):
            was = past.get(name)
            assert not isinstance(was, (Blocked, Ignored))
            if self.at((*path, name), was, hosts.get(name), guests.get(name)):
                is_left = True
        self._moved = moved
        return is_left

    def _moved_at(
        self, path: Path, then: Entry | None, sides: "dict[Side, Subtree | None]"
    ) -> set[Side]:
        if not path or not self._is_in_doubt or not isinstance(then, Subtree):
            return set()  # a root that is moved halts everything
        return {
            side
            for side, now in sides.items()
            if now is not None and not self._is_the_same(now, then, side)
        }

    def _to_guest(self, path: Path, host: Entry | None, guest: Entry | None) -> bool:
        self._plan.guest.append(SyncChange(path, guest, host))
        return host is not None

    def _to_host(self, path: Path, host: Entry | None, guest: Entry | None) -> bool:
        self._plan.host.append(SyncChange(path, host, guest))
        return guest is not None

    def _surely(self, path: Path, then: Entry | None, sides: "dict[Side, Entry]") -> Entry | None:
        """*then*, unless one of *sides* may have gone back to it after more was agreed upon."""
        if not self._is_in_doubt or not any(
            now == then and not self._is_untouched(now, then, side) for side, now in sides.items()
        ):
            return then
        # Nothing is known to have been agreed upon: that has to outlast this cycle.
        self._plan.agreed.append((path, None))
        return None

    def _both_ways(
        self, path: Path, then: Entry | None, host: Entry | None, guest: Entry | None
    ) -> bool:
        if host is None or guest is None:
            return self._made_or_deleted(path, then, host, guest)
        then = self._surely(path, then, {"host": host, "guest": guest})
        # One that only lacks something has made nothing that could be lost.
        if self._only_lacks(guest, then, "guest"):
            return self._to_guest(path, host, guest)
        if self._only_lacks(host, then, "host"):
            return self._to_host(path, host, guest)
        if self._mode is SyncMode.TWO_WAY_RESOLVED:
            self._plan.guest.append(SyncChange(path, guest, host, keeps_old=self._is_in_doubt))
            return True
        self._plan.conflicts.append(Conflict(path, then, host, guest))
        return True

    def _made_or_deleted(
        self, path: Path, then: Entry | None, host: Entry | None, guest: Entry | None
    ) -> bool:
        """One side has nothing here: the other has made what it has, or it goes there too."""
        if isinstance(then, Subtree) and isinstance(host or guest, Subtree):
            return self._half_deleted(path, then, host, guest)
        if host is None:
            assert guest is not None
            is_to_go = self._is_untouched(guest, then, "guest")
            travel = self._to_guest if is_to_go else self._to_host
        else:
            is_to_go = self._is_untouched(host, then, "host")
            travel = self._to_host if is_to_go else self._to_guest
        if not is_to_go:
            self._counts_as_made(path, then)
        # An edit wins against a deletion, and so does what was made in its place.
        return travel(path, host, guest)

    def _counts_as_made(self, path: Path, then: Entry | None) -> None:
        """Also in the next cycle, if it cannot come to the other side in this one."""
        if self._is_in_doubt and then is not None:
            self._plan.agreed.append((path, None))

    def _half_deleted(
        self, path: Path, then: Subtree, host: Entry | None, guest: Entry | None
    ) -> bool:
        """One side has deleted the directory, the other has changed something in it."""
        assert isinstance(host, (Subtree, type(None)))
        assert isinstance(guest, (Subtree, type(None)))
        kept = Plan()
        below = _Reconciliation(self._mode, kept, self._doubts)
        below._moved, below._is_in_doubt = self._moved, self._is_in_doubt
        is_left = below._below(path, then, host, guest)
        side: Side = "guest" if host is None else "host"
        deleted, has_it = (self._plan.host, guest) if host is None else (self._plan.guest, host)
        assert has_it is not None
        is_the_same = self._is_the_same(has_it, then, side)
        if is_left or not is_the_same:
            if not is_the_same:
                self._counts_as_made(path, then)
            # The directory comes back, for what the other side has put in it, or as itself.
            deleted.append(SyncChange(path, None, shallow(has_it)))
            self._plan.host += kept.host
            self._plan.guest += kept.guest
            self._plan.conflicts += kept.conflicts
            self._plan.in_the_way += kept.in_the_way
            self._plan.agreed += kept.agreed
            return True
        if host is None:
            return self._to_guest(path, host, guest)
        return self._to_host(path, host, guest)

    def _one_way(
        self, path: Path, then: Entry | None, host: Entry | None, guest: Entry | None
    ) -> bool:
        if guest is None:
            return self._to_guest(path, host, guest)
        if host is None:
            is_directory = isinstance(guest, Subtree)
            if self._only_lacks(guest, then, "guest") and (
                is_directory or self._is_untouched(guest, then, "guest")
            ):
                return self._to_guest(path, host, guest)
            if isinstance(guest, Subtree) and isinstance(then, Subtree):
                self._below(path, then, None, guest)
                return True
            self._agree(path, then, None)  # the guest's own: nothing of it was agreed upon
            return True
        # Of the host's, the guest may have gone back: that is its own.
        then = self._surely(path, then, {"guest": guest})
        if self._only_lacks(guest, then, "guest"):
            return self._to_guest(path, host, guest)
        self._plan.conflicts.append(Conflict(path, then, host, guest))
        return True
