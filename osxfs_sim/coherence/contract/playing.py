"""Has the schedules of each rule played, from the shortest on, and comes to a verdict.

The first breach found is therefore the shortest there is among the schedules. It counts once it
has been seen again. What was seen once, and not again, leaves the rule undecided: of a directory
that is like no other it is the only sign.
An allowed relaxation is different: to see it used once is enough, and it is tried several times.

A precondition that fails time after time leaves its rule undecided. That is as bad as a
breach: a share on which nothing works would else keep every rule. So is a rule of which nothing
at all was shown, though it applies: where processes get events of changes, and none ever came.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Protocol

from osxfs_sim.coherence.actors.processes import OperationInterval
from osxfs_sim.coherence.contract.checks import Nature, schedules, why_not
from osxfs_sim.coherence.contract.rules import RULES, RuleId, with_references
from osxfs_sim.coherence.contract.schedules import (
    ContractSchedule,
    PlayResult,
    ScheduleResult,
    Use,
    judged,
)
from osxfs_sim.coherence.contract.verdicts import Breach, Finding, RuleVerdict, by_reference

REPEATS = 3
"""How often a breach is tried again."""
ATTEMPTS = 5
"""How often the use of an allowed relaxation is tried for, with every schedule."""

_NOT_SHOWN = (PlayResult.PRECONDITION_FAILED, PlayResult.NOTHING)


class Site(Protocol):
    """Where schedules are played: a share, or several, with processes of both sides."""

    def play(self, schedule: ContractSchedule) -> Sequence[OperationInterval]:
        """Play *schedule* in a fresh directory; returns an interval for each step, in order."""


def judge(
    site: Site,
    nature: Nature,
    chosen: Iterable[RuleId] = RuleId,
    progress: Callable[[str], None] | None = None,
) -> Iterator[RuleVerdict]:
    """Yield the verdict of each of *chosen* rules on *site*, in the contract's order, as known."""
    wanted = set(chosen)
    found: dict[RuleId, RuleVerdict] = {}
    judging = _Judging(site)
    # Rules refer only to what comes before them.
    for rule in with_references(wanted):
        reason = why_not(rule, nature)
        if reason:
            found[rule] = RuleVerdict(rule, Finding.NOT_APPLICABLE, reason)
        else:
            if progress is not None:
                progress(f"{rule}: {RULES[rule].text}")
            own = schedules(rule, nature)
            verdict = judging.verdict(rule, own) if own else None
            others = [found[other] for other in RULES[rule].refers_to]
            found[rule] = by_reference(rule, verdict, others) if others else _some(rule, verdict)
        if rule in wanted:
            yield found[rule]


def _some(rule: RuleId, verdict: RuleVerdict | None) -> RuleVerdict:
    assert verdict is not None, f"{rule} has no schedule"
    return verdict


class _Judging:
    """Remembers what was played: rules have schedules in common."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._told: dict[tuple[object, ...], Sequence[OperationInterval]] = {}

    def verdict(self, rule: RuleId, own: Sequence[ContractSchedule]) -> RuleVerdict:
        known, unplayed, failed_preconditions, once = (
            list[Breach](),
            list[str](),
            list[str](),
            list[str](),
        )
        shown = 0
        for schedule in _from_the_shortest(own, Use.MUST):
            # One precondition that stays failed decides: retrying the others tells no more.
            result = self._first(schedule) if failed_preconditions else self._retried(schedule)
            if result.shown in _NOT_SHOWN:
                unplayed.append(f"{schedule.name}: {result.seen}")
                if result.shown is PlayResult.PRECONDITION_FAILED:
                    failed_preconditions.append(unplayed[-1])
                continue
            shown += 1
            if result.shown is PlayResult.AS_EXPECTED:
                continue
            breach = self._again(schedule, result)
            if schedule.known:
                known.append(breach)
            elif breach.times > 1:
                return RuleVerdict(
                    *(rule, Finding.BROKEN, breach.seen, breach, tuple(known)),
                    schedules=shown,
                    unplayed=tuple(unplayed),
                )
            else:
                unplayed.append(f"{schedule.name}: once, and not again: {result.seen}")
                once.append(unplayed[-1])
        relaxations = _from_the_shortest(own, Use.MAY)
        is_used, unused = self._use(relaxations, unplayed, failed_preconditions)
        played = shown + len(relaxations)
        if unused is not None:
            return RuleVerdict(
                *(rule, Finding.INCONCLUSIVE, unused.seen, unused, tuple(known)),
                schedules=played,
                unplayed=tuple(unplayed),
            )
        if failed_preconditions or once or not (shown or is_used):
            why = f"could not be shown: {(failed_preconditions or unplayed)[0]}"
            if once and not failed_preconditions:
                why = f"is in doubt: {once[0]}"
            return RuleVerdict(
                *(rule, Finding.UNDECIDED, why),
                known=tuple(known),
                schedules=shown,
                unplayed=tuple(unplayed),
            )
        return RuleVerdict(
            *(rule, Finding.KEPT),
            known=tuple(known),
            schedules=played,
            unplayed=tuple(unplayed),
        )

    def _first(self, schedule: ContractSchedule) -> ScheduleResult:
        played = schedule.steps, schedule.exports
        if played not in self._told:
            self._told[played] = self._site.play(schedule)
        return judged(schedule, self._told[played])

    def _retried(self, schedule: ContractSchedule) -> ScheduleResult:
        """What it shows; where a precondition failed, what it shows when tried again."""
        result = self._first(schedule)
        for _ in range(REPEATS):
            if result.shown is not PlayResult.PRECONDITION_FAILED:
                break
            result = self._play(schedule)
        return result

    def _play(self, schedule: ContractSchedule) -> ScheduleResult:
        return judged(schedule, self._site.play(schedule))

    def _again(self, schedule: ContractSchedule, first: ScheduleResult) -> Breach:
        times = 1 + sum(self._play(schedule).shown is PlayResult.OTHERWISE for _ in range(REPEATS))
        return Breach(schedule, first.seen, times, 1 + REPEATS)

    def _use(
        self,
        relaxations: Sequence[ContractSchedule],
        unplayed: list[str],
        failed_preconditions: list[str],
    ) -> tuple[bool, Breach | None]:
        """Whether one of *relaxations* was used; and if none ever was, the breach that says so.

        Where none was and none could be tried, the first obstacle is added to
        *failed_preconditions*.
        """
        obstacles = list[str]()
        plays = 0
        first: tuple[ContractSchedule, str] | None = None
        for attempt in range(ATTEMPTS):
            for schedule in relaxations:
                result = self._play(schedule)
                if result.shown is PlayResult.AS_EXPECTED:
                    return True, None
                if result.shown in _NOT_SHOWN:
                    if not attempt:
                        unplayed.append(f"{schedule.name}: {result.seen}")
                    if result.shown is PlayResult.PRECONDITION_FAILED:
                        obstacles.append(f"{schedule.name}: {result.seen}")
                    continue
                plays += 1
                first = first or (schedule, result.seen)
        if first is None:
            failed_preconditions += obstacles[:1]
            return False, None
        return False, Breach(first[0], f"never used: {first[1]}", plays, plays)


def _from_the_shortest(own: Sequence[ContractSchedule], use: Use) -> list[ContractSchedule]:
    return sorted(
        (schedule for schedule in own if schedule.use is use),
        key=lambda schedule: (bool(schedule.exports), len(schedule.steps)),
    )
