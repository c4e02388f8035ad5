"""What was found of each rule, as values."""

import enum
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from osxfs_sim.coherence.contract.rules import RULES, RuleId
from osxfs_sim.coherence.contract.schedules import ContractSchedule


class Finding(enum.StrEnum):
    """What was found of a rule, the worst first."""

    BROKEN = "broken"
    INCONCLUSIVE = "inconclusive"
    """A weaker mode was never seen to use its allowed relaxation: is it what it says?"""
    UNDECIDED = "undecided"
    """It applies, and could not be shown: a precondition failed (see PlayResult)."""
    KEPT = "kept"
    NOT_APPLICABLE = "not applicable"


@dataclass(frozen=True, slots=True)
class Breach:
    """A schedule that showed otherwise than its rule demands, and how often it did."""

    schedule: ContractSchedule
    """The schedule that showed it."""
    seen: str
    """What its steps returned the first time, in words."""
    times: int
    """In how many plays it was shown."""
    plays: int
    """How often it was played."""


@dataclass(frozen=True, slots=True)
class RuleVerdict:
    """What was found of one rule of the contract on one share, and why."""

    rule: RuleId
    """The rule that is judged."""
    finding: Finding
    """What was found of it."""
    why: str = ""
    """The reason, in words; "" for a rule that is kept."""
    breach: Breach | None = None
    """The shortest schedule that breaks it, or the relaxation that was never used; None where it
    is kept or undecided."""
    known: tuple[Breach, ...] = ()
    """Breaches that no share on a Linux guest can avoid, of a rule that is kept otherwise."""
    schedules: int = 0
    """How many of its schedules showed something."""
    unplayed: tuple[str, ...] = ()
    """Schedules that showed nothing, each with the reason."""
    by: RuleId | None = None
    """The rule referred to that decided it; None: its own schedules did."""

    @property
    def is_bad(self) -> bool:
        """Whether the exit code must be 1: the rule is broken, inconclusive or undecided."""
        return self.finding in (Finding.BROKEN, Finding.INCONCLUSIVE, Finding.UNDECIDED)


def by_reference(
    rule: RuleId, own: RuleVerdict | None, others: Sequence[RuleVerdict]
) -> RuleVerdict:
    """The verdict of *rule*, which refers to *others*: the worst of theirs and its *own* (or None).

    *own* is None for a rule that only refers. Not applicable, where none of them all applies.
    """
    parts = [*([own] if own else []), *others]
    applicable = [each for each in parts if each.finding is not Finding.NOT_APPLICABLE]
    names = ", ".join(RULES[rule].refers_to)
    if not applicable:
        return RuleVerdict(rule, Finding.NOT_APPLICABLE, f"none of {names} applies")
    worst = min(applicable, key=lambda each: list(Finding).index(each.finding))
    known = tuple(_each_once(breach for each in applicable for breach in each.known))
    if worst.is_bad:
        by = None if worst is own else worst.by or worst.rule
        return RuleVerdict(rule, worst.finding, worst.why, worst.breach, known, by=by)
    kept = ", ".join(each.rule for each in applicable if each is not own)
    return RuleVerdict(
        rule,
        Finding.KEPT,
        f"as {kept}" if kept else "",
        known=known,
        schedules=own.schedules if own else 0,
        unplayed=own.unplayed if own else (),
    )


def _each_once(breaches: Iterable[Breach]) -> Iterable[Breach]:
    return {breach.schedule.name: breach for breach in breaches}.values()
