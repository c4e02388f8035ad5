"""What the contract's ``delegated`` promises of one object, as tasks and as rules.

Who changes an object decides what can be said of it.

* Only guests change it: among themselves they see one copy (DEL-3), exactly. The host sees a state
  that the guests had, at most *lag_ns* old, and not older than the last flush or fsync that had
  returned (DEL-2); and never goes back.
* Only the host changes it: as ``cached``.
* Both change it: either side's changes may meet the other's, and those of the host may be lost
  (DEL-7). What is left to say is a rule: what a guest has written, and nobody has touched at the
  time or since, is on the host after a flush (DEL-2). The other answers are not judged, and
  counted.

What guests have removed again need not ever have been as it was on the host (docs/write-back.md):
while such a removal may be under way, what the host sees of the object is not judged either.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from osxfs_sim.coherence.actors.processes import OperationInterval
from osxfs_sim.coherence.histories.history import SHARE, Grain, is_guest
from osxfs_sim.coherence.histories.linearize import PendingOperation
from osxfs_sim.coherence.histories.model import may_happen_later
from osxfs_sim.coherence.histories.modes import Bounds, cached, seen_late, too_old
from osxfs_sim.coherence.histories.sessions import changes, may_have_changed

_REMOVALS = ("unlink", "rmdir", "rename")
_WHOLE = ("create", "write")


@dataclass(frozen=True, slots=True)
class Delegated:
    """The *tasks* to be put in order, what a rule says was *lost*, and how many are *unjudged*."""

    tasks: tuple[PendingOperation, ...]
    lost: tuple[str, ...] = ()
    unjudged: int = 0


def delegated(operations: Sequence[OperationInterval], grain: Grain, bounds: Bounds) -> Delegated:
    """What there is to judge of the *operations* on one object."""
    by_guests = any(may_have_changed(each) and is_guest(each.actor) for each in operations)
    by_host = any(may_have_changed(each) and not is_guest(each.actor) for each in operations)
    if by_guests and by_host:
        return Delegated((), tuple(_lost(operations, bounds)), len(operations))
    if not by_guests:
        old = tuple(words for _, words in too_old(operations, bounds))
        return Delegated(tuple(cached(operations, grain, bounds)), old)
    flushes = [each for each in operations if is_flush(each)]
    removals = [
        each for each in operations if may_have_changed(each) and each.operation.act in _REMOVALS
    ]
    tasks, unjudged = [], 0
    for number, performed in enumerate(operations):
        if is_guest(performed.actor):
            tasks.append(PendingOperation.exactly(performed, grain))
        elif performed.actor == SHARE:
            tasks.append(PendingOperation.exactly(performed, Grain.DIRECTORY))
        else:
            flushed_ns = max(
                (each.call_ns for each in flushes if each.return_ns < performed.call_ns),
                default=None,
            )
            if _may_be_undone(performed, removals, flushed_ns):
                unjudged += 1
                continue
            from_ns = performed.call_ns - bounds.lag_ns
            if flushed_ns is not None:
                from_ns = max(from_ns, flushed_ns)
            tasks.append(seen_late(operations, number, Grain.DIRECTORY, from_ns))
    return Delegated(_renumbered(tasks, operations), unjudged=unjudged)


def is_flush(performed: OperationInterval) -> bool:
    """Whether the host has everything that was done to this object before it was called."""
    if performed.outcome.error is not None:
        return False
    return performed.operation.act in ("sync", "fsync") and performed.actor != "host"


def _may_be_undone(
    look: OperationInterval, removals: Sequence[OperationInterval], flushed_ns: int | None
) -> bool:
    return any(
        each.call_ns <= look.return_ns
        and (flushed_ns is None or each.return_ns > flushed_ns or may_happen_later(each))
        for each in removals
    )


def _renumbered(
    tasks: Sequence[PendingOperation], operations: Sequence[OperationInterval]
) -> tuple[PendingOperation, ...]:
    """With the predecessors' numbers among the tasks; those that are not judged are left out."""
    numbers = {id(task.performed): number for number, task in enumerate(tasks)}

    def among(others: Sequence[int]) -> tuple[int, ...]:
        return tuple(
            numbers[id(operations[other])] for other in others if id(operations[other]) in numbers
        )

    return tuple(
        PendingOperation(
            *(task.performed, task.look_ns, task.act_ns, task.end_ns, task.grain),
            *(among(task.after), among(task.looked_before)),
        )
        for task in tasks
    )


def _lost(operations: Sequence[OperationInterval], bounds: Bounds) -> list[str]:
    """Guests' last words that the host does not have after a flush."""
    changed = [each for each in operations if may_have_changed(each)]
    lost = []
    for last in changed:
        if last.operation.act not in _WHOLE or not is_guest(last.actor) or not changes(last):
            continue
        others = [each for each in changed if each is not last]
        # What ends as this one is called may come after it, too.
        if any(each.return_ns >= last.call_ns or may_happen_later(each) for each in others):
            continue
        if any(
            each.return_ns > last.call_ns - bounds.stale_ns
            for each in others
            if not is_guest(each.actor)
        ):
            continue  # the guest may not have known of it: both have changed it
        flushed_ns = min(
            (
                each.return_ns
                for each in operations
                if is_flush(each) and each.call_ns > last.return_ns
            ),
            default=None,
        )
        if flushed_ns is None:
            continue
        lost += [
            f"{last} was flushed, and then {look}"
            for look in operations
            if look.actor == "host"
            and look.call_ns > flushed_ns
            and look.operation.path == last.operation.path
            and _lacks(look, last.operation.content)
        ]
    return lost


def _lacks(look: OperationInterval, content: str) -> bool:
    value, error = look.outcome.value, look.outcome.error
    match look.operation.act:
        case "read":
            return error is not None or value != content
        case "stat":
            return error is not None or value.get("size") != len(content)
        case "entry":
            return value is False
    return False
