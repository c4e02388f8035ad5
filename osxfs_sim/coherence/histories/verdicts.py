"""Judges a history by a mode of the contract: ok, violation, or unknown.

Object by object (objects.py), each on its own: in several processes, where an executor is handed
in. A violation of one object is one of the whole; unknown is what is left when there is none.
"""

from collections.abc import Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, replace

from osxfs_sim.coherence.actors.processes import OperationInterval
from osxfs_sim.coherence.histories.delegated import delegated
from osxfs_sim.coherence.histories.history import Grain, History, is_guest
from osxfs_sim.coherence.histories.linearize import NO_LIMITS, CheckResult, Limits, search
from osxfs_sim.coherence.histories.model import State, is_pending, may_happen_later
from osxfs_sim.coherence.histories.modes import (
    EXACT,
    Bounds,
    cached,
    consistent,
    stale_beyond_bound,
)
from osxfs_sim.coherence.histories.objects import Partition, partition_by_object
from osxfs_sim.coherence.histories.sessions import may_have_changed
from osxfs_sim.coherence.histories.well_formed import require_well_formed
from osxfs_sim.model.consistency import Mode

_NEVER_NS = 1 << 80
"""The end of a call without a known outcome: it may still take effect at any time."""


@dataclass(frozen=True, slots=True)
class Rules:
    """By what a history is judged, and when the search is given up."""

    mode: Mode
    """The mode whose promises are checked."""
    bounds: Bounds = EXACT
    """How old answers may be under it."""
    limits: Limits = NO_LIMITS
    """When the search in one partition is given up."""


@dataclass(frozen=True, slots=True)
class PartitionVerdict:
    """What is said of one partition: one object of a history."""

    names: tuple[str, ...]
    """The paths of the object, sorted."""
    answer: CheckResult
    """Whether its operations can be explained."""
    operations: tuple[OperationInterval, ...] = ()
    """All operations on it, ordered by their calls."""
    linearized: tuple[OperationInterval, ...] = ()
    """The longest (partial) linearization that was found."""
    counterexample: tuple[OperationInterval, ...] = ()
    """The operations of which none can follow *linearized*; () unless a violation."""
    lost: tuple[str, ...] = ()
    """Broken rules that need no search, a sentence each."""
    unjudged: int = 0
    """How many operations the mode allows to return anything."""
    steps: int = 0
    """How many steps of the model the search tried."""


@dataclass(frozen=True, slots=True)
class HistoryVerdict:
    """What is said of a history: a verdict per partition."""

    mode: Mode
    """The mode that it was judged by."""
    partitions: tuple[PartitionVerdict, ...]
    """One verdict per object, in the order of their first names."""

    @property
    def answer(self) -> CheckResult:
        """The worst answer of all partitions: VIOLATION, else UNKNOWN, else OK."""
        answers = {partition.answer for partition in self.partitions}
        if CheckResult.VIOLATION in answers:
            return CheckResult.VIOLATION
        return CheckResult.UNKNOWN if CheckResult.UNKNOWN in answers else CheckResult.OK

    @property
    def unjudged(self) -> int:
        """How many operations of all partitions the mode allows to return anything."""
        return sum(partition.unjudged for partition in self.partitions)

    @property
    def violations(self) -> tuple[PartitionVerdict, ...]:
        """The verdicts of the partitions that violate the mode, in order; () for none."""
        return tuple(
            partition for partition in self.partitions if partition.answer is CheckResult.VIOLATION
        )


def check(history: History, rules: Rules, executor: Executor | None = None) -> HistoryVerdict:
    """Judge *history* by *rules*, object by object. Raises ValueError if it is not well-formed.

    Raises ValueError where the history is not well-formed (well_formed.py).
    """
    require_well_formed(history.operations)
    if wrong := out_of_order(history.operations):
        raise ValueError(f"a process makes one call after the other: {wrong}")
    partitions = partition_by_object(history)
    words = [(partition, history.grain, history.umask, rules) for partition in partitions]
    verdicts = executor.map(_judged, words) if executor is not None else map(_judged, words)
    return HistoryVerdict(rules.mode, tuple(verdicts))


def _judged(words: tuple[Partition, Grain, int, Rules]) -> PartitionVerdict:
    return judge(*words)


def judge(partition: Partition, grain: Grain, umask: int, rules: Rules) -> PartitionVerdict:
    """Judge one object's operations by *rules*: OK, VIOLATION, or UNKNOWN where it cannot tell."""
    # A read without a result says nothing; of a change it is open whether and when it was made.
    operations = tuple(
        each for each in partition.operations if may_have_changed(each) or not is_pending(each)
    )
    unjudged = untold = len(partition.operations) - len(operations)
    lost: tuple[str, ...] = ()
    match rules.mode:
        case Mode.CONSISTENT:
            candidates = tuple(consistent(operations, grain))
        case Mode.CACHED:
            if old := stale_beyond_bound(operations, rules.bounds):
                return PartitionVerdict(
                    *(partition.names, CheckResult.VIOLATION, partition.operations),
                    counterexample=tuple(each for each, _ in old),
                    lost=tuple(words for _, words in old),
                    unjudged=untold,
                )
            candidates = tuple(cached(operations, grain, rules.bounds))
        case Mode.DELEGATED:
            promised = delegated(operations, grain, rules.bounds)
            candidates, lost = promised.candidates, promised.lost
            unjudged += promised.unjudged
    candidates = tuple(
        replace(candidate, end_ns=_NEVER_NS) if may_happen_later(candidate.interval) else candidate
        for candidate in candidates
    )
    found = search(candidates, State.of(partition.initial, umask), umask, rules.limits)
    answer = found.answer
    if answer is CheckResult.OK and untold and not any(is_guest(each.actor) for each in operations):
        answer = CheckResult.UNKNOWN  # every call of the guests failed: there is nothing to go by
    if answer is CheckResult.VIOLATION and _may_be_torn(operations):
        answer = CheckResult.UNKNOWN
    return PartitionVerdict(
        partition.names,
        CheckResult.VIOLATION if lost else answer,
        partition.operations,
        tuple(candidates[each].interval for each in found.linearization),
        tuple(candidates[each].interval for each in found.counterexample),
        lost,
        unjudged,
        found.steps,
    )


def _may_be_torn(operations: Sequence[OperationInterval]) -> bool:
    """Whether more than a page was read while it changed: no system reads several atomically."""
    changed = [each for each in operations if each.operation.act in _OF_CONTENT]
    return any(
        change.call_ns <= read.return_ns
        and read.call_ns <= change.return_ns
        and max(map(len, (change.operation.content, read.outcome.value))) > _PAGE_BYTES
        for read in operations
        if read.operation.act in ("read", "mread") and read.outcome.value is not None
        for change in changed
    )


_PAGE_BYTES = 4096
_OF_CONTENT = frozenset({"create", "write", "overwrite", "append", "truncate"})


def out_of_order(operations: Sequence[OperationInterval]) -> OperationInterval | None:
    """The first call that its process made before its last one returned; None if there is none."""
    returned_ns: dict[str, int] = {}
    for each in operations:
        if each.call_ns < returned_ns.get(each.actor, each.call_ns):
            return each
        returned_ns[each.actor] = each.return_ns
    return None
