"""A schedule: steps of host and guest, and what some of them must return. Pure.

An expectation is about one step. A schedule that *must* show something is a breach where it does
not; one that *may* shows a relaxation that a weaker mode allows, and is no breach either way: of a
share that never uses it the verdict is inconclusive. Where a step without an expectation failed,
nothing was shown: that is nothing against a share if it was the machine that cannot do such a
thing, and else a failed precondition.
"""

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from osxfs_sim.coherence.actors.operations import OperationResult
from osxfs_sim.coherence.actors.processes import OperationInterval
from osxfs_sim.coherence.actors.staging import SILENCE, ScheduleStep

State = tuple[str, Any]
"""What a result says: ``("value", V)``, ``("error", E)`` (any, if empty), ``("done", True)``,
``("lists", NAME)``, ``("lacks", NAME)``, ``("told", None)`` (anything), or one of the fields of a
value that has some, such as ``("size", 3)``."""


def shows(outcome: OperationResult, state: State) -> bool:
    """Whether *outcome*, what one step of a schedule returned, is the expected *state*."""
    what, wanted = state
    match what:
        case "error":
            return outcome.error == wanted if wanted else outcome.error is not None
        case "told":
            return True
        case "done":
            return (outcome.error is None) is bool(wanted)
        case "value":
            return outcome.error is None and bool(outcome.value == wanted)
        case "lists" | "lacks":
            if outcome.error is not None:
                return False
            return (wanted in outcome.value) is (what == "lists")
    return (
        outcome.error is None
        and isinstance(outcome.value, dict)
        and bool(outcome.value.get(what) == wanted)
    )


@dataclass(frozen=True, slots=True)
class Expected:
    """That one step of a schedule shows a state."""

    step: int
    """The number of the step, from 0 on."""
    state: State
    """What its result must say; any error where that is ("error", "")."""

    def is_met(self, outcomes: Sequence[OperationResult]) -> bool:
        """Whether the expected step returned the expected state, *outcomes* being all steps'."""
        return shows(outcomes[self.step], self.state)

    def __str__(self) -> str:
        what, wanted = self.state
        match what:
            case "error":
                return f"{wanted}" if wanted else "a failure"
            case "told":
                return "anything"
            case "done":
                return "success" if wanted else "a failure"
            case "value":
                return repr(wanted)
            case "lists" | "lacks":
                return f"{what} {wanted}"
        return f"{what} {wanted!r}"


class Use(enum.Enum):
    """What a schedule is for."""

    MUST = "must"
    """What it expects is what the rule demands."""
    MAY = "may"
    """What it expects is the use of an allowed relaxation."""


@dataclass(frozen=True, slots=True)
class Export:
    """One tree of the share file that a schedule is played on."""

    name: str
    """The name of the directory below the mount point."""
    source: str
    """The exported directory, relative to the host's."""
    profile: str | None = None
    """The profile of this export; None: that of the share that is judged."""
    hears_of_host: bool = True
    """Whether it has events of host changes; without, its caches expire by timeout alone."""


@dataclass(frozen=True, slots=True)
class ContractSchedule:
    """Steps of host and guest, and what they show. Raises AssertionError for a step that is not."""

    name: str
    """What it is called in reports, unique within its rule."""
    steps: tuple[ScheduleStep, ...]
    """Actors and what they do, one after the other."""
    expected: tuple[Expected, ...]
    """What it shows: one of these, of which any will do. At least one."""
    use: Use = Use.MUST
    """Whether it must show that, or may (an allowed relaxation)."""
    given: tuple[Expected, ...] = ()
    """Preconditions: what must have been returned for anything to be shown: the old state, say."""
    known: str = ""
    """Why a breach cannot be avoided on a Linux guest; "" where it can."""
    exports: tuple[Export, ...] = ()
    """The trees of the share file that it is played on; (): one plain share."""

    @property
    def ends(self) -> bool:
        """Whether the schedule unmounts the share, so that none can be played after it."""
        return any(actor == "share" and step.act == "unmount" for actor, step in self.steps)

    def __post_init__(self) -> None:
        assert self.expected, self.name
        for each in (*self.expected, *self.given):
            assert 0 <= each.step < len(self.steps), (self.name, each)


class PlayResult(enum.Enum):
    """What playing a schedule has shown."""

    AS_EXPECTED = "as expected"
    OTHERWISE = "otherwise"
    PRECONDITION_FAILED = "precondition failed"
    """Nothing, because of something that the share must be able to do: a change failed, or the
    state before it was not seen."""
    NOTHING = "nothing"
    """And need not: the machine cannot do a step, or no event came. Of some kinds of change some
    systems raise no event, and the contract is about those that are raised."""


@dataclass(frozen=True, slots=True)
class ScheduleResult:
    """What one play of a schedule has shown."""

    shown: PlayResult
    """What the play has shown."""
    seen: str = ""
    """What was returned otherwise, or why nothing was shown; "" where all was as expected."""


def judged(schedule: ContractSchedule, told: Sequence[OperationInterval]) -> ScheduleResult:
    """What one play, *told*, shows of *schedule*. Raises AssertionError if steps are missing.

    Raises AssertionError where there are not as many as steps.
    """
    assert len(told) == len(schedule.steps), schedule.name
    outcomes = [each.outcome for each in told]
    ours = {each.step for each in (*schedule.expected, *schedule.given)}
    for position, each in enumerate(told):
        silent = each.outcome.error == SILENCE
        if silent or (each.outcome.error is not None and position not in ours):
            shown = (
                PlayResult.NOTHING if silent or _is_beyond(each) else PlayResult.PRECONDITION_FAILED
            )
            return ScheduleResult(shown, _failed(each))
    for given in schedule.given:
        if not given.is_met(outcomes):
            return ScheduleResult(
                PlayResult.PRECONDITION_FAILED, f"{told[given.step]} (needed: {given})"
            )
    if any(expected.is_met(outcomes) for expected in schedule.expected):
        return ScheduleResult(PlayResult.AS_EXPECTED)
    seen = "; ".join(
        f"{told[expected.step]} (expected: {expected})" for expected in schedule.expected
    )
    return ScheduleResult(PlayResult.OTHERWISE, seen)


_BEYOND: Mapping[str, frozenset[str]] = {
    # mknod(2) of a device is root's alone, and in some containers not even root's.
    "mkdev": frozenset({"EPERM", "EACCES"}),
    # chattr(1)'s i, that binds root too: not every file system has it, nor every user the right.
    "refuse": frozenset({"ENOTTY", "EOPNOTSUPP", "EINVAL", "ENOSYS", "EPERM", "EACCES"}),
}
"""What a machine may be unable to do, and how it says so. All other changes a share must make."""


def _is_beyond(interval: OperationInterval) -> bool:
    return interval.outcome.error in _BEYOND.get(interval.operation.act, ())


def _failed(interval: OperationInterval) -> str:
    if interval.outcome.error == SILENCE:
        return f"no event came of {interval.operation.path}"
    return str(interval)
