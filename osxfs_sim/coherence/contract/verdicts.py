"""What was found of each rule, as values."""

import enum
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from osxfs_sim.coherence.contract.rules import RULES, RuleId
from osxfs_sim.coherence.contract.schedules import Schedule


class Finding(enum.StrEnum):
    """What was found of a rule, the worst first."""

    BROKEN = "broken"
    SUSPICIOUS = "suspicious"
    """A weaker mode was never seen to use its freedom: is it what it says?"""
    UNDECIDED = "undecided"
    """It applies, and could not be shown: what a share must be able to do did not succeed."""
    KEPT = "kept"
    NOT_APPLICABLE = "not applicable"


@dataclass(frozen=True, slots=True)
class Breach:
    """*schedule* showed otherwise than the rule demands: what was *seen*, and how often.

    It was played *plays* times, and shown in *times* of them.
    """

    schedule: Schedule
    seen: str
    times: int
    plays: int


@dataclass(frozen=True, slots=True)
class RuleVerdict:
    """What was found of *rule*, and why.

    *breach* is the shortest schedule of a rule that is broken, or the freedom that a suspicious
    one never used; an undecided one has none. *known* are breaches that no share on a Linux guest
    can avoid, of a rule that is kept otherwise. *schedules* were played; *unplayed* are those that
    showed nothing, and why.
    *by* is the rule referred to that decided it.
    """

    rule: RuleId
    finding: Finding
    why: str = ""
    breach: Breach | None = None
    known: tuple[Breach, ...] = ()
    schedules: int = 0
    unplayed: tuple[str, ...] = ()
    by: RuleId | None = None

    @property
    def is_bad(self) -> bool:
        """Whether it is not as it should be."""
        return self.finding in (Finding.BROKEN, Finding.SUSPICIOUS, Finding.UNDECIDED)


def by_reference(
    rule: RuleId, own: RuleVerdict | None, others: Sequence[RuleVerdict]
) -> RuleVerdict:
    """The verdict of *rule*, which refers to those of *others*, and has an *own* part or none."""
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
