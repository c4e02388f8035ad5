"""What the contract's ``delegated`` promises of one object, as candidates and as rules.

Which side changes an object decides what can be said of it.

* Only guests change it: among themselves they see one copy (DEL-3), exactly. The host sees a state
  that the guests had, at most *lag_ns* old, and not older than the last flush or fsync that had
  returned (DEL-2); and never goes back.
* Only the host changes it: as ``cached``.
* Both change it: either side's changes may meet the other's, and those of the host may be lost
  (DEL-7). What is left to say is a rule: what a guest has written, and no process has touched at
  the time or since, is on the host after a flush (DEL-2). The other answers are not judged, and
  counted.

What guests have removed again need never have reached the host (docs/write-back.md): while such a
removal may be under way, the host's reads of the object are not judged either.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from osxfs_sim.coherence.actors.processes import OperationInterval
from osxfs_sim.coherence.histories.history import SHARE, Grain, is_guest
from osxfs_sim.coherence.histories.linearize import Candidate
from osxfs_sim.coherence.histories.model import may_happen_later
from osxfs_sim.coherence.histories.modes import Bounds, cached, seen_late, stale_beyond_bound
from osxfs_sim.coherence.histories.sessions import changes, may_have_changed

_REMOVALS = ("unlink", "rmdir", "rename")
_WHOLE = ("create", "write")


@dataclass(frozen=True, slots=True)
class Delegated:
    """What delegated demands of one object: what must be linearizable, which writes are lost."""

    candidates: tuple[Candidate, ...]
    """What is to be linearized."""
    lost: tuple[str, ...] = ()
    """Lost writes, a sentence each: what was flushed, and what the host returned after it."""
    unjudged: int = 0
    """How many operations the mode allows to return anything."""


def delegated(operations: Sequence[OperationInterval], grain: Grain, bounds: Bounds) -> Delegated:
    """What ``delegated`` demands of *operations* on one object: candidates, and lost writes."""
    by_guests = any(may_have_changed(each) and is_guest(each.actor) for each in operations)
    by_host = any(may_have_changed(each) and not is_guest(each.actor) for each in operations)
    if by_guests and by_host:
        return Delegated((), tuple(_lost(operations, bounds)), len(operations))
    if not by_guests:
        old = tuple(words for _, words in stale_beyond_bound(operations, bounds))
        return Delegated(tuple(cached(operations, grain, bounds)), old)
    flushes = [each for each in operations if is_flush(each)]
    removals = [
        each for each in operations if may_have_changed(each) and each.operation.act in _REMOVALS
    ]
    candidates, unjudged = [], 0
    for number, interval in enumerate(operations):
        if is_guest(interval.actor):
            candidates.append(Candidate.exactly(interval, grain))
        elif interval.actor == SHARE:
            candidates.append(Candidate.exactly(interval, Grain.DIRECTORY))
        else:
            flushed_ns = max(
                (each.call_ns for each in flushes if each.return_ns < interval.call_ns),
                default=None,
            )
            if _may_be_undone(interval, removals, flushed_ns):
                unjudged += 1
                continue
            from_ns = interval.call_ns - bounds.lag_ns
            if flushed_ns is not None:
                from_ns = max(from_ns, flushed_ns)
            candidates.append(seen_late(operations, number, Grain.DIRECTORY, from_ns))
    return Delegated(_renumbered(candidates, operations), unjudged=unjudged)


def is_flush(interval: OperationInterval) -> bool:
    """Whether *interval* is a fsync or sync that succeeded, not the host's own: a flush."""
    if interval.outcome.error is not None:
        return False
    return interval.operation.act in ("sync", "fsync") and interval.actor != "host"


def _may_be_undone(
    read: OperationInterval, removals: Sequence[OperationInterval], flushed_ns: int | None
) -> bool:
    return any(
        each.call_ns <= read.return_ns
        and (flushed_ns is None or each.return_ns > flushed_ns or may_happen_later(each))
        for each in removals
    )


def _renumbered(
    candidates: Sequence[Candidate], operations: Sequence[OperationInterval]
) -> tuple[Candidate, ...]:
    """With predecessors as indices of *candidates*; those that are not judged are left out."""
    numbers = {id(candidate.interval): number for number, candidate in enumerate(candidates)}

    def among(others: Sequence[int]) -> tuple[int, ...]:
        return tuple(
            numbers[id(operations[other])] for other in others if id(operations[other]) in numbers
        )

    return tuple(
        Candidate(
            *(
                candidate.interval,
                candidate.read_from_ns,
                candidate.effect_from_ns,
                candidate.end_ns,
                candidate.grain,
            ),
            *(among(candidate.after), among(candidate.reads_before)),
        )
        for candidate in candidates
    )


def _lost(operations: Sequence[OperationInterval], bounds: Bounds) -> list[str]:
    """Lost writes: guests' last contents that the host does not have after a flush."""
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
            f"{last} was flushed, and then {read}"
            for read in operations
            if read.actor == "host"
            and read.call_ns > flushed_ns
            and read.operation.path == last.operation.path
            and _lacks(read, last.operation.content)
        ]
    return lost


def _lacks(read: OperationInterval, content: str) -> bool:
    value, error = read.outcome.value, read.outcome.error
    match read.operation.act:
        case "read":
            return error is not None or value != content
        case "stat":
            return error is not None or value.get("size") != len(content)
        case "entry":
            return value is False
    return False
