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
from osxfs_sim.coherence.histories.modes import EXACT, Bounds, cached, consistent, too_old
from osxfs_sim.coherence.histories.objects import Partition, parts_of
from osxfs_sim.coherence.histories.sessions import may_have_changed
from osxfs_sim.coherence.histories.wording import require_judgeable
from osxfs_sim.model.consistency import Mode

_NEVER_NS = 1 << 80
"""The end of a call that was given up: what it asked for may still be done at any time."""


@dataclass(frozen=True, slots=True)
class Rules:
    """What a history is judged by, and when the search is given up."""

    mode: Mode
    bounds: Bounds = EXACT
    limits: Limits = NO_LIMITS


@dataclass(frozen=True, slots=True)
class PartitionVerdict:
    """What is said of one object.

    *explained* is the longest order that explains what everybody was told, *stuck* those that
    nothing explains after it. *lost* are broken rules, in words. *unjudged* operations are left to
    the mode's freedom.
    """

    names: tuple[str, ...]
    answer: CheckResult
    operations: tuple[OperationInterval, ...] = ()
    explained: tuple[OperationInterval, ...] = ()
    stuck: tuple[OperationInterval, ...] = ()
    lost: tuple[str, ...] = ()
    unjudged: int = 0
    steps: int = 0


@dataclass(frozen=True, slots=True)
class HistoryVerdict:
    """What is said of a history."""

    mode: Mode
    parts: tuple[PartitionVerdict, ...]

    @property
    def answer(self) -> CheckResult:
        answers = {part.answer for part in self.parts}
        if CheckResult.VIOLATION in answers:
            return CheckResult.VIOLATION
        return CheckResult.UNKNOWN if CheckResult.UNKNOWN in answers else CheckResult.OK

    @property
    def unjudged(self) -> int:
        return sum(part.unjudged for part in self.parts)

    @property
    def violations(self) -> tuple[PartitionVerdict, ...]:
        return tuple(part for part in self.parts if part.answer is CheckResult.VIOLATION)


def check(history: History, rules: Rules, executor: Executor | None = None) -> HistoryVerdict:
    """The verdict on *history*; its objects by the processes of *executor*.

    Raises ValueError where it holds what no history can (see wording.py).
    """
    require_judgeable(history.operations)
    if wrong := out_of_order(history.operations):
        raise ValueError(f"a process does one thing after the other: {wrong}")
    parts = parts_of(history)
    words = [(part, history.grain, history.umask, rules) for part in parts]
    verdicts = executor.map(_judged, words) if executor is not None else map(_judged, words)
    return HistoryVerdict(rules.mode, tuple(verdicts))


def _judged(words: tuple[Partition, Grain, int, Rules]) -> PartitionVerdict:
    return judge(*words)


def judge(part: Partition, grain: Grain, umask: int, rules: Rules) -> PartitionVerdict:
    """The verdict on one object."""
    # Who was told nothing says nothing; of a change it is open whether and when it was made.
    operations = tuple(
        each for each in part.operations if may_have_changed(each) or not is_pending(each)
    )
    unjudged = untold = len(part.operations) - len(operations)
    lost: tuple[str, ...] = ()
    match rules.mode:
        case Mode.CONSISTENT:
            tasks = tuple(consistent(operations, grain))
        case Mode.CACHED:
            if old := too_old(operations, rules.bounds):
                return PartitionVerdict(
                    *(part.names, CheckResult.VIOLATION, part.operations),
                    stuck=tuple(each for each, _ in old),
                    lost=tuple(words for _, words in old),
                    unjudged=untold,
                )
            tasks = tuple(cached(operations, grain, rules.bounds))
        case Mode.DELEGATED:
            promised = delegated(operations, grain, rules.bounds)
            tasks, lost = promised.tasks, promised.lost
            unjudged += promised.unjudged
    tasks = tuple(
        replace(task, end_ns=_NEVER_NS) if may_happen_later(task.performed) else task
        for task in tasks
    )
    found = search(tasks, State.of(part.initial, umask), umask, rules.limits)
    answer = found.answer
    if answer is CheckResult.OK and untold and not any(is_guest(each.actor) for each in operations):
        answer = CheckResult.UNKNOWN  # every call of the guests failed: there is nothing to go by
    if answer is CheckResult.VIOLATION and _may_be_torn(operations):
        answer = CheckResult.UNKNOWN
    return PartitionVerdict(
        part.names,
        CheckResult.VIOLATION if lost else answer,
        part.operations,
        tuple(tasks[each].performed for each in found.order),
        tuple(tasks[each].performed for each in found.stuck),
        lost,
        unjudged,
        found.steps,
    )


def _may_be_torn(operations: Sequence[OperationInterval]) -> bool:
    """Whether what was long was read while it changed: no system reads several pages at once."""
    changed = [each for each in operations if each.operation.act in _OF_CONTENT]
    return any(
        change.call_ns <= look.return_ns
        and look.call_ns <= change.return_ns
        and max(map(len, (change.operation.content, look.outcome.value))) > _PAGE_BYTES
        for look in operations
        if look.operation.act in ("read", "mread") and look.outcome.value is not None
        for change in changed
    )


_PAGE_BYTES = 4096
_OF_CONTENT = frozenset({"create", "write", "overwrite", "append", "truncate"})


def out_of_order(operations: Sequence[OperationInterval]) -> OperationInterval | None:
    """One that its process called before another of it had returned."""
    returned_ns: dict[str, int] = {}
    for each in operations:
        if each.call_ns < returned_ns.get(each.actor, each.call_ns):
            return each
        returned_ns[each.actor] = each.return_ns
    return None
