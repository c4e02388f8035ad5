"""What each mode of the contract makes of an operation: how old its answer may be.

consistent   every operation between its call and its return. One thing is excepted, and no
             share can do it: reading memory asks nobody, so what a guest has mapped may show
             any state since it was mapped.
cached       changes of either side between call and return (they are written through). What a
             guest is told may be as old as *stale_ns*: bounded staleness. A guest process
             keeps its session guarantees (sessions.py).
delegated    see delegated.py.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from osxfs_sim.coherence.actors.processes import OperationInterval
from osxfs_sim.coherence.histories.history import Grain, is_guest
from osxfs_sim.coherence.histories.linearize import PendingOperation
from osxfs_sim.coherence.histories.model import MUTATORS, is_pending, may_happen_later
from osxfs_sim.coherence.histories.sessions import changes, predecessors


@dataclass(frozen=True, slots=True)
class Bounds:
    """How old an answer may be, in nanoseconds: what a guest, and what the host is told.

    *stale_ns* follows from lifetimes and events, *lag_ns* from the age of what is held back. Both
    with an allowance for what a machine needs beside that.
    """

    stale_ns: int = 0
    lag_ns: int = 0


EXACT = Bounds()


def past_the_bound(operations: Sequence[OperationInterval], bounds: Bounds) -> int:
    """How many looks of guests the bound can find wrong: some change was made longer before.

    All others may be told what was before there was any change, and are right whatever they say
    of what the host did, but for nonsense and for their sessions.
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


def too_old(
    operations: Sequence[OperationInterval], bounds: Bounds
) -> list[tuple[OperationInterval, str]]:
    """Guests' looks that say otherwise than the host, when the last change is past the bound.

    All of these say of the same state what it is, so this needs no search, which is long for a
    guest that believes much. Each comes with words for what the host was told.
    """
    if any(_may_change(each) and may_happen_later(each) for each in operations):
        return []  # when the last change was nobody knows
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
            continue  # it was told nothing
        other = host.get((each.operation.act, each.operation.path))
        if other is not None and each.operation.act in _COMPARED and _differ(each, other):
            words = f"{each}, when nothing had been changed for longer than the bound: {other}"
            found.append((each, words))
    return found


_COMPARED = ("stat", "read", "entry", "opendir")
"""Not a mapping: what it leads to may have no name any more."""


def _may_change(performed: OperationInterval) -> bool:
    """Also one that was refused: what is done in two steps may have done the first."""
    return performed.operation.act in MUTATORS


def _differ(one: OperationInterval, other: OperationInterval) -> bool:
    if one.outcome.error is not None or other.outcome.error is not None:
        # Which error it is depends on how far somebody came.
        return (one.outcome.error is None) is not (other.outcome.error is None)
    return _compared(one.outcome.value) != _compared(other.outcome.value)


def _compared(value: object) -> object:
    """As the model does: of a directory type and mode."""
    if not isinstance(value, dict):
        return value
    keys = ("type", "mode") if value["type"] == "directory" else ("type", "mode", "links", "size")
    return [value.get(key) for key in keys]


def consistent(operations: Sequence[OperationInterval], grain: Grain) -> list[PendingOperation]:
    """Each between its call and its return; a mapping through a share since it was mapped."""
    tasks = []
    for number, performed in enumerate(operations):
        own = grain if is_guest(performed.actor) else Grain.DIRECTORY
        if performed.operation.act == "mread" and own is Grain.SHARE:
            tasks.append(_as_mapped(operations, number, own, 0))
        else:
            tasks.append(PendingOperation.exactly(performed, own))
    return tasks


def cached(
    operations: Sequence[OperationInterval], grain: Grain, bounds: Bounds
) -> list[PendingOperation]:
    """The guests' looks up to *stale_ns* earlier, in sessions."""
    tasks = []
    for number, performed in enumerate(operations):
        if not is_guest(performed.actor):
            tasks.append(PendingOperation.exactly(performed, Grain.DIRECTORY))
        elif performed.operation.act == "mread" and grain is Grain.SHARE:
            tasks.append(_as_mapped(operations, number, grain, bounds.stale_ns))
        else:
            tasks.append(_in_session(operations, number, grain, bounds.stale_ns))
    return tasks


def _as_mapped(
    operations: Sequence[OperationInterval], number: int, grain: Grain, stale_ns: int
) -> PendingOperation:
    performed = operations[number]
    mapped_ns = max(
        (
            each.call_ns
            for each in operations[:number]
            if each.operation.act == "map"
            and each.actor == performed.actor
            and each.operation.handle == performed.operation.handle
        ),
        default=performed.call_ns,  # it was given up, and then there is nothing mapped
    )
    after, looked = predecessors(operations, number)
    return PendingOperation(
        *(performed, mapped_ns - stale_ns, performed.call_ns, performed.return_ns, grain),
        *(tuple(after), tuple(looked)),
    )


def _in_session(
    operations: Sequence[OperationInterval], number: int, grain: Grain, stale_ns: int
) -> PendingOperation:
    performed = operations[number]
    after, looked = predecessors(operations, number)
    look_ns = performed.call_ns - stale_ns
    return PendingOperation(
        *(performed, look_ns, performed.call_ns, performed.return_ns, grain),
        *(tuple(after), tuple(looked)),
    )


def seen_late(
    operations: Sequence[OperationInterval], number: int, grain: Grain, from_ns: int
) -> PendingOperation:
    """All of it from *from_ns* on, in its session: for somebody who changes nothing."""
    performed = operations[number]
    assert not changes(performed), performed
    after, looked = predecessors(operations, number)
    return PendingOperation(
        *(performed, from_ns, from_ns, performed.return_ns, grain), *(tuple(after), tuple(looked))
    )
