"""Makes a violation small enough to be understood.

In two ways, and it matters which. ``shrink_recorded`` leaves operations out of the history and
judges the rest: what remains was observed just so. It may leave out only what cannot have made the
history worse: other objects, reads, what was refused, and what came after. A change that others
may have read stays. ``shrink_by_replay`` plays a shorter schedule on a live share and judges what
that returns: it may leave out anything, but what it shows is another history, of the same fault or
of another.

Both are delta debugging (Zeller and Hildebrandt, 2002).
"""

from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace
from typing import TypeVar

from osxfs_sim.coherence.actors.operations import OperationResult
from osxfs_sim.coherence.actors.processes import OperationInterval
from osxfs_sim.coherence.actors.staging import ScheduleStep
from osxfs_sim.coherence.histories.history import SHARE, History
from osxfs_sim.coherence.histories.schedules import schedule_of
from osxfs_sim.coherence.histories.sessions import may_have_changed

T = TypeVar("T")

Violates = Callable[[History], bool]
"""Whether a history is certainly a violation; False where it is unknown."""

PlaySchedule = Callable[[Sequence[ScheduleStep]], History]
"""Performs a schedule in an empty directory, one step after the other; the history of that."""


def minimize(items: Sequence[T], fails: Callable[[Sequence[T]], bool]) -> list[T]:
    """A part of *items*, in order, that still *fails*, but not without any one (ddmin).

    In their order. All of *items* together must fail, else what is returned need not.
    """
    kept, pieces = list(items), 2
    while len(kept) >= 2:
        size = -(-len(kept) // pieces)
        for start in range(0, len(kept), size):
            rest = kept[:start] + kept[start + size :]
            if rest and fails(rest):
                kept, pieces = rest, max(pieces - 1, 2)
                break
        else:
            if size == 1:
                break
            pieces = min(2 * pieces, len(kept))
    return kept


def shrink_recorded(history: History, names: Sequence[str], violates: Violates) -> History:
    """A small part of *history*, only on *names*, that still violates; nothing is replayed.

    Nothing is performed again: what it contains was observed just so.
    """
    history = restricted(history, names)
    history = _ended_early(history, violates)
    fixed = [each for each in history.operations if may_have_changed(each)]
    units = _units([each for each in history.operations if not may_have_changed(each)])

    def fails(kept: Sequence[list[OperationInterval]]) -> bool:
        reads = [each for unit in kept for each in unit]
        return violates(history.only([*fixed, *reads]))

    if not units:
        return history
    kept = minimize(units, fails)
    smaller = history.only([*fixed, *(each for unit in kept for each in unit)])
    return _ended_early(smaller, violates)


def restricted(history: History, names: Sequence[str]) -> History:
    """A copy of *history* with only the operations on one of *names*, and on everything (sync).

    A listing stays with what it says of *names*, and no more.
    """
    wanted = set(names)
    wanted |= {name.rpartition("/")[0] for name in names}  # a listing tells of a name
    mapped = {
        (each.actor, each.operation.handle)
        for each in history.operations
        if each.operation.act == "map" and each.operation.path in wanted
    }

    def is_about(each: OperationInterval) -> bool:
        operation = each.operation
        if operation.handle:
            return (each.actor, operation.handle) in mapped
        if operation.act == "list":
            return operation.path in wanted
        return each.actor == SHARE or bool({operation.path, operation.to} & set(names))

    kept = history.only([_told_of(each, names) for each in history.operations if is_about(each)])
    initial = {path: text for path, text in history.initial.items() if path in wanted}
    return History(kept.operations, kept.grain, initial, kept.umask, kept.about)


def _told_of(each: OperationInterval, names: Sequence[str]) -> OperationInterval:
    operation, value = each.operation, each.outcome.value
    if operation.act != "list" or value is None:
        return each
    prefix = f"{operation.path}/" if operation.path else ""
    told = [name for name in value if f"{prefix}{name}" in names]
    return replace(each, outcome=OperationResult(told))


def _ended_early(history: History, violates: Violates) -> History:
    """Up to the first moment that shows it, if no change was under way then."""
    for end_ns in sorted({each.return_ns for each in history.operations}):
        begun = [each for each in history.operations if each.call_ns <= end_ns]
        ended = [each for each in begun if each.return_ns <= end_ns]
        if any(may_have_changed(each) for each in begun if each.return_ns > end_ns):
            continue  # others may have read it already
        if violates(history.only(ended)):
            return history.only(ended)
    return history


def _units(operations: Sequence[OperationInterval]) -> list[list[OperationInterval]]:
    """What goes together: a mapping, what was read in it, and its end."""
    units: dict[Hashable, list[OperationInterval]] = {}
    for number, each in enumerate(operations):
        handle = each.operation.handle
        units.setdefault((each.actor, handle) if handle else number, []).append(each)
    return list(units.values())


def shrink_by_replay(
    history: History,
    names: Sequence[str],
    play: PlaySchedule,
    violates: Violates,
    attempts: int = 1,
) -> History | None:
    """The history of the shortest schedule that violates in a new play; None if none does.

    It begins with all that *history* has about *names*: a read that proves nothing may be what
    filled a cache. The operations are played one after the other in the order of their calls.
    None: played like that nothing was wrong, in *attempts* attempts; the violation then needs
    concurrent calls.
    """
    seen: dict[int, History] = {}

    def fails(units: Sequence[list[ScheduleStep]]) -> bool:
        steps = [step for unit in units for step in unit]
        if not any(actor != SHARE for actor, _ in steps):
            return False
        for _ in range(attempts):
            found = play(steps)
            if violates(found):
                seen[len(steps)] = found
                return True
        return False

    history = _ended_early(restricted(history, names), violates)
    units = _step_units(schedule_of(history))
    if not fails(units):
        return None
    kept = minimize(units, fails)
    return seen[sum(map(len, kept))]


def _step_units(schedule: Sequence[ScheduleStep]) -> list[list[ScheduleStep]]:
    units: dict[Hashable, list[ScheduleStep]] = {}
    for number, (actor, operation) in enumerate(schedule):
        handle = operation.handle
        units.setdefault((actor, handle) if handle else number, []).append((actor, operation))
    return list(units.values())
