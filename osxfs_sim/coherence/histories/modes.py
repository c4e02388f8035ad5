"""What each mode of the contract makes of an operation: how old its answer may be.

consistent   every operation between its call and its return. One thing is excepted, and no
             share can do it: reading memory makes no request, so what a guest has mapped may
             show any state since it was mapped.
cached       changes of either side between call and return (they are written through). What a
             guest reads may be as old as *stale_ns*: bounded staleness. A guest process
             keeps its session guarantees (sessions.py).
delegated    see delegated.py.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from osxfs_sim.coherence.actors.processes import OperationInterval
from osxfs_sim.coherence.histories.history import Grain, is_guest
from osxfs_sim.coherence.histories.linearize import Candidate
from osxfs_sim.coherence.histories.model import MUTATORS, is_pending, may_happen_later
from osxfs_sim.coherence.histories.sessions import changes, predecessors


@dataclass(frozen=True, slots=True)
class Bounds:
    """How old an answer may be, in nanoseconds, for the guests' reads and for the host's."""

    stale_ns: int = 0
    """How old a guest's answer may be: cache timeout or event propagation, and an allowance."""
    lag_ns: int = 0
    """How old the host's answer may be: write-back age, and an allowance."""


EXACT = Bounds()


def past_the_bound(operations: Sequence[OperationInterval], bounds: Bounds) -> int:
    """How many guests' reads came so long after a change that the bound can find them stale.

    All others may return what was before any change, and are right whatever they say of what the
    host did, but for nonsense and for their sessions.
    """
    changed_ns = min((each.return_ns for each in operations if changes(each)), default=None)
    if changed_ns is None:
        return 0
    return sum(
        is_guest(each.actor)
        and each.operation.act not in MUTATORS
        and each.call_ns - bounds.stale_ns > changed_ns
        for each in operations
    )


def stale_beyond_bound(
    operations: Sequence[OperationInterval], bounds: Bounds
) -> list[tuple[OperationInterval, str]]:
    """Guests' reads that differ from the host's past the bound, each with why; [] for none.

    All of these are of one state, so this needs no search, which is long where long timeouts allow
    many states. Each comes with a sentence that names the host's read.
    """
    if any(_may_change(each) and may_happen_later(each) for each in operations):
        return []  # when the last change was is not known
    changed_ns = max((each.return_ns for each in operations if _may_change(each)), default=0)
    host = {
        (each.operation.act, each.operation.path): each
        for each in operations
        if not is_guest(each.actor) and each.call_ns > changed_ns and not is_pending(each)
    }
    found = []
    for each in operations:
        if not is_guest(each.actor) or each.call_ns - bounds.stale_ns <= changed_ns:
            continue
        if is_pending(each):
            continue  # it returned no state
        other = host.get((each.operation.act, each.operation.path))
        if other is not None and each.operation.act in _COMPARED and _differ(each, other):
            words = f"{each}, when nothing had been changed for longer than the bound: {other}"
            found.append((each, words))
    return found


_COMPARED = ("stat", "read", "entry", "opendir")
"""Not a mapping: what it leads to may have no name any more."""


def _may_change(interval: OperationInterval) -> bool:
    """Also one that was refused: what is done in two steps may have done the first."""
    return interval.operation.act in MUTATORS


def _differ(one: OperationInterval, other: OperationInterval) -> bool:
    if one.outcome.error is not None or other.outcome.error is not None:
        # Which error it is depends on how far the path walk came.
        return (one.outcome.error is None) is not (other.outcome.error is None)
    return _compared(one.outcome.value) != _compared(other.outcome.value)


def _compared(value: object) -> object:
    """As the model does: of a directory type and mode."""
    if not isinstance(value, dict):
        return value
    keys = ("type", "mode") if value["type"] == "directory" else ("type", "mode", "links", "size")
    return [value.get(key) for key in keys]


def consistent(operations: Sequence[OperationInterval], grain: Grain) -> list[Candidate]:
    """A candidate per operation, within its call; what a mapping shows may date from its map."""
    candidates = []
    for number, interval in enumerate(operations):
        own = grain if is_guest(interval.actor) else Grain.DIRECTORY
        if interval.operation.act == "mread" and own is Grain.SHARE:
            candidates.append(_as_mapped(operations, number, own, 0))
        else:
            candidates.append(Candidate.exactly(interval, own))
    return candidates


def cached(
    operations: Sequence[OperationInterval], grain: Grain, bounds: Bounds
) -> list[Candidate]:
    """A candidate per operation: guests' reads may be *bounds*.stale_ns old, all others exact."""
    candidates = []
    for number, interval in enumerate(operations):
        if not is_guest(interval.actor):
            candidates.append(Candidate.exactly(interval, Grain.DIRECTORY))
        elif interval.operation.act == "mread" and grain is Grain.SHARE:
            candidates.append(_as_mapped(operations, number, grain, bounds.stale_ns))
        else:
            candidates.append(_in_session(operations, number, grain, bounds.stale_ns))
    return candidates


def _as_mapped(
    operations: Sequence[OperationInterval], number: int, grain: Grain, stale_ns: int
) -> Candidate:
    interval = operations[number]
    mapped_ns = max(
        (
            each.call_ns
            for each in operations[:number]
            if each.operation.act == "map"
            and each.actor == interval.actor
            and each.operation.handle == interval.operation.handle
        ),
        default=interval.call_ns,  # the map was given up, and nothing is mapped
    )
    after, reads = predecessors(operations, number)
    return Candidate(
        *(interval, mapped_ns - stale_ns, interval.call_ns, interval.return_ns, grain),
        *(tuple(after), tuple(reads)),
    )


def _in_session(
    operations: Sequence[OperationInterval], number: int, grain: Grain, stale_ns: int
) -> Candidate:
    interval = operations[number]
    after, reads = predecessors(operations, number)
    read_from_ns = interval.call_ns - stale_ns
    return Candidate(
        *(interval, read_from_ns, interval.call_ns, interval.return_ns, grain),
        *(tuple(after), tuple(reads)),
    )


def seen_late(
    operations: Sequence[OperationInterval], number: int, grain: Grain, from_ns: int
) -> Candidate:
    """The candidate of a read that may be as old as *from_ns*. Raises AssertionError for a change.

    Raises AssertionError for one that changes something.
    """
    interval = operations[number]
    assert not changes(interval), interval
    after, reads = predecessors(operations, number)
    return Candidate(
        *(interval, from_ns, from_ns, interval.return_ns, grain), *(tuple(after), tuple(reads))
    )
