"""A schedule: steps of host and guest, and what some of them must be told. Pure.

An expectation is about one step. A schedule that *must* show something is a breach where it does
not; one that *may* shows a freedom that a weaker mode has, and is no breach either way: somebody
who never uses it is suspicious. Where a step that nobody judges failed, nothing was shown: that
is nothing against a share if it was the machine that cannot do such a thing, and else it is.
"""

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from osxfs_sim.coherence.actors.operations import OperationResult
from osxfs_sim.coherence.actors.processes import OperationInterval
from osxfs_sim.coherence.actors.staging import SILENCE, Step

State = tuple[str, Any]
"""What an outcome tells: ``("value", V)``, ``("error", E)`` (any, if empty), ``("done", True)``,
``("lists", NAME)``, ``("lacks", NAME)``, ``("told", None)`` (anything), or one of the fields of a
value that has some, such as ``("size", 3)``."""


def shows(outcome: OperationResult, state: State) -> bool:
    """Whether *outcome* tells *state*."""
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
    """Step number *step* (from 0) shows *state*."""

    step: int
    state: State

    def is_met(self, outcomes: Sequence[OperationResult]) -> bool:
        """Whether it does."""
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
    """What it expects is the use of a freedom."""


@dataclass(frozen=True, slots=True)
class Export:
    """One tree of a share file. No *profile*: the share that is judged, as it was asked for."""

    name: str
    source: str
    profile: str | None = None
    hears_of_host: bool = True


@dataclass(frozen=True, slots=True)
class Schedule:
    """*steps*, and what they show: one of *expected*, of which any will do.

    *given* must hold before anything is shown: the guest saw what was there, for example. *known*
    says why a breach is no surprise on a Linux guest, where there is a reason; *exports* are the
    trees of the share file that it is played on.
    """

    name: str
    steps: tuple[Step, ...]
    expected: tuple[Expected, ...]
    use: Use = Use.MUST
    given: tuple[Expected, ...] = ()
    known: str = ""
    exports: tuple[Export, ...] = ()

    @property
    def ends(self) -> bool:
        """Whether the share is unmounted in it, so that nothing can be played on it afterwards."""
        return any(actor == "share" and step.act == "unmount" for actor, step in self.steps)

    def __post_init__(self) -> None:
        assert self.expected, self.name
        for each in (*self.expected, *self.given):
            assert 0 <= each.step < len(self.steps), (self.name, each)


class PlayResult(enum.Enum):
    """What playing a schedule has shown."""

    AS_EXPECTED = "as expected"
    OTHERWISE = "otherwise"
    HINDERED = "hindered"
    """Nothing, because of something that the share must be able to do: a change failed, or what was
    there was not seen."""
    NOTHING = "nothing"
    """And need not: the machine cannot do a step, or no event came. Of some kinds of change some
    systems tell no process, and the contract is about what is told."""


@dataclass(frozen=True, slots=True)
class Result:
    """What a schedule has shown, and in words what was seen, or why nothing was shown."""

    shown: PlayResult
    seen: str = ""


def judged(schedule: Schedule, told: Sequence[OperationInterval]) -> Result:
    """What *told*, one for each step, shows of *schedule*."""
    assert len(told) == len(schedule.steps), schedule.name
    outcomes = [each.outcome for each in told]
    ours = {each.step for each in (*schedule.expected, *schedule.given)}
    for position, each in enumerate(told):
        silent = each.outcome.error == SILENCE
        if silent or (each.outcome.error is not None and position not in ours):
            shown = PlayResult.NOTHING if silent or _is_beyond(each) else PlayResult.HINDERED
            return Result(shown, _failed(each))
    for given in schedule.given:
        if not given.is_met(outcomes):
            return Result(PlayResult.HINDERED, f"{told[given.step]} (needed: {given})")
    if any(expected.is_met(outcomes) for expected in schedule.expected):
        return Result(PlayResult.AS_EXPECTED)
    seen = "; ".join(
        f"{told[expected.step]} (expected: {expected})" for expected in schedule.expected
    )
    return Result(PlayResult.OTHERWISE, seen)


_BEYOND: Mapping[str, frozenset[str]] = {
    # mknod(2) of a device is root's alone, and in some containers nobody's.
    "mkdev": frozenset({"EPERM", "EACCES"}),
    # chattr(1)'s i, that binds root too: not every file system has it, nor everybody the right.
    "refuse": frozenset({"ENOTTY", "EOPNOTSUPP", "EINVAL", "ENOSYS", "EPERM", "EACCES"}),
}
"""What a machine may be unable to do, and how it says so. All other changes a share must make."""


def _is_beyond(performed: OperationInterval) -> bool:
    return performed.outcome.error in _BEYOND.get(performed.operation.act, ())


def _failed(performed: OperationInterval) -> str:
    if performed.outcome.error == SILENCE:
        return f"no event came of {performed.operation.path}"
    return str(performed)
