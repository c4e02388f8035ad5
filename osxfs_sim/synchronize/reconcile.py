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
"""

from dataclasses import dataclass, field
from typing import Literal

from osxfs_sim.model.synchronization import SyncMode
from osxfs_sim.synchronize.snapshot import (
    IGNORED,
    Blocked,
    Child,
    Directory,
    Entry,
    Ignored,
    Path,
    Put,
    is_alike,
    shallow,
)

Side = Literal["host", "guest"]


@dataclass(frozen=True, slots=True)
class Change:
    """At *path*, *old* becomes *new*; both with all that they hold."""

    path: Path
    old: Entry | None
    new: Entry | None


@dataclass(frozen=True, slots=True)
class Conflict:
    """At *path*, both sides have changed what they once agreed upon, each its own way."""

    path: Path
    then: Entry | None
    host: Entry | None
    guest: Entry | None


@dataclass(slots=True)
class Plan:
    """What is to be done."""

    host: list[Change] = field(default_factory=list)
    guest: list[Change] = field(default_factory=list)
    conflicts: list[Conflict] = field(default_factory=list)
    in_the_way: list[tuple[Path, Side]] = field(default_factory=list)
    """Ignored or unfit things at whose path the other side has something that takes part."""
    agreed: list[Put] = field(default_factory=list)
    """What both sides have already, and the last agreed state does not."""


def reconcile(then: Entry | None, host: Child | None, guest: Child | None, mode: SyncMode) -> Plan:
    """What is to be done so that *host* and *guest* agree, as far as *mode* lets them."""
    plan = Plan()
    _Reconciliation(mode, plan).at((), then, host, guest)
    return plan


class _Reconciliation:
    def __init__(self, mode: SyncMode, plan: Plan) -> None:
        self._plan = plan
        self._mode = mode
        self._is_two_way = mode in (SyncMode.TWO_WAY_SAFE, SyncMode.TWO_WAY_RESOLVED)

    def at(self, path: Path, then: Entry | None, host: Child | None, guest: Child | None) -> bool:
        """Decide *path*; whether something will be there that takes part.

        For the directory it lies in, which comes back only for that.
        """
        if isinstance(host, (Blocked, Ignored)) or isinstance(guest, (Blocked, Ignored)):
            self._stays(path, then, host, guest)
            return False
        if host == guest and host == then and host is not None:
            return True  # a whole tree, mostly
        if isinstance(host, Directory) and isinstance(guest, Directory):
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
            if isinstance(then, Directory) or isinstance(now, Directory):
                self._plan.agreed.append((path, None))
            if now is not None:
                self._plan.agreed.append((path, shallow(now)))
            elif not isinstance(then, Directory):
                self._plan.agreed.append((path, None))

    def _below(
        self,
        path: Path,
        then: Entry | None,
        host: Directory | None,
        guest: Directory | None,
    ) -> bool:
        """Decide all that lies in the directory *path*; whether something will be left."""
        past = then.children if isinstance(then, Directory) else {}
        hosts = host.children if host else {}
        guests = guest.children if guest else {}
        is_left = False
        for name in sorted({*past, *hosts, *guests}):
            was = past.get(name)
            assert not isinstance(was, (Blocked, Ignored))
            if self.at((*path, name), was, hosts.get(name), guests.get(name)):
                is_left = True
        return is_left

    def _to_guest(self, path: Path, host: Entry | None, guest: Entry | None) -> bool:
        self._plan.guest.append(Change(path, guest, host))
        return host is not None

    def _to_host(self, path: Path, host: Entry | None, guest: Entry | None) -> bool:
        self._plan.host.append(Change(path, host, guest))
        return guest is not None

    def _both_ways(
        self, path: Path, then: Entry | None, host: Entry | None, guest: Entry | None
    ) -> bool:
        if guest == then:
            return self._to_guest(path, host, guest)
        if host == then:
            return self._to_host(path, host, guest)
        if host is None or guest is None:
            if isinstance(then, Directory) and isinstance(host or guest, Directory):
                return self._half_deleted(path, then, host, guest)
            # A deletion against an edit, or against something else made in its place.
            if host is None:
                return self._to_host(path, host, guest)
            return self._to_guest(path, host, guest)
        # One that only lacks something has made nothing that could be lost.
        if _only_lacks(guest, then):
            return self._to_guest(path, host, guest)
        if _only_lacks(host, then):
            return self._to_host(path, host, guest)
        if self._mode is SyncMode.TWO_WAY_RESOLVED:
            return self._to_guest(path, host, guest)
        self._plan.conflicts.append(Conflict(path, then, host, guest))
        return True

    def _half_deleted(
        self, path: Path, then: Directory, host: Entry | None, guest: Entry | None
    ) -> bool:
        """One side has deleted the directory, the other has changed something in it."""
        assert isinstance(host, (Directory, type(None)))
        assert isinstance(guest, (Directory, type(None)))
        kept = Plan()
        is_left = _Reconciliation(self._mode, kept)._below(path, then, host, guest)
        deleted, has_it = (self._plan.host, guest) if host is None else (self._plan.guest, host)
        if is_left:
            # The directory comes back, for what the other side has put in it.
            deleted.append(Change(path, None, shallow(has_it)))
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
        if guest == then or guest is None or _only_lacks(guest, then):
            return self._to_guest(path, host, guest)
        if host is None:
            if isinstance(guest, Directory) and isinstance(then, Directory):
                is_left = self._below(path, then, None, guest)
                return is_left or self._to_guest(path, host, guest)
            self._agree(path, then, None)  # the guest's own: nothing of it was agreed upon
            return True
        self._plan.conflicts.append(Conflict(path, then, host, guest))
        return True


def _only_lacks(now: Entry | None, then: Entry | None) -> bool:
    """Whether *now* is *then*, or *then* without some of what it held."""
    if now is None or now == then:
        return True
    if not isinstance(now, Directory) or not isinstance(then, Directory):
        return False
    for name, child in now.children.items():
        if isinstance(child, (Blocked, Ignored)):
            continue
        was = then.children.get(name)
        assert not isinstance(was, (Blocked, Ignored))
        if not _only_lacks(child, was) or was is None:
            return False
    return True
