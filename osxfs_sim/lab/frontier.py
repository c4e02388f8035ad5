"""What a policy buys and what it costs: time against stale answers, and who is beaten.

A point is an arm of a comparison during whose runs the host was edited. Two things are
bad about it: its wall time, and the stale answers that the guest's caches gave in a
run. A point beats another if it is no worse in either and better in one *beyond the
intervals*; a point that nothing beats may be the best choice for somebody. So there
are three standings and not two: what only seems to be worse is left open.

Everything is computed from raw samples. How it is done, and what it cannot show, is in
docs/case-studies/frontier.md.
"""

import enum
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from osxfs_sim.lab.arms import NATIVE
from osxfs_sim.lab.results import FRESH, Comparison, Sample
from osxfs_sim.lab.stale_answers import JudgedAnswers, StaleAnswers
from osxfs_sim.lab.statistics import (
    CONFIDENCE,
    FEWEST_FOR_INTERVAL,
    RESAMPLES,
    Estimate,
    median_estimate,
)
from osxfs_sim.model.formatting import format_count

GROUPS = "groups"
"""What a comparison's plan keeps the groups of a sweep under: arms that compete, by label."""
EVERYTHING = ""
"""The group of all arms, where nobody has made groups."""
P99 = 0.99
_MOST_DRAWS = 2_000
"""Of whole runs, with all their answers: more would take seconds and move no digit shown."""


class Standing(enum.Enum):
    """Where a point stands among those of its group."""

    FRONTIER = "on the frontier"
    """By the estimates, no other is as good in both and better in one."""
    OPEN = "open"
    """Another seems better; the intervals do not exclude that it is not."""
    BEATEN = "beaten"
    """Another is no worse in both, and better in one, beyond the intervals."""
    UNKNOWN = "unknown"
    """It has no wall time, or nobody counted its stale answers."""


@dataclass(frozen=True, slots=True)
class Reach:
    """An estimate that is the better the smaller it is, with the ends of its interval."""

    low: float
    """The least that it may be; -inf where nobody knows."""
    value: float
    """The estimate."""
    high: float
    """The most that it may be; inf where nobody knows."""


@dataclass(frozen=True, slots=True)
class ParetoPlace:
    """Where a point lies: in seconds, and in stale answers per run."""

    wall_s: Reach
    """The median wall time, in seconds."""
    stale: Reach
    """Stale answers per run."""


def beats(one: ParetoPlace, other: ParetoPlace) -> bool:
    """Whether *one* is no worse in time and stale answers, and better in one, beyond the intervals.

    The relation is a strict order: nothing beats itself, and what beats a point beats all
    that it beats.
    """
    pairs = ((one.wall_s, other.wall_s), (one.stale, other.stale))
    return all(mine.high <= theirs.low for mine, theirs in pairs) and any(
        mine.high < theirs.low for mine, theirs in pairs
    )


def seems_better(one: ParetoPlace, other: ParetoPlace) -> bool:
    """Whether *one* beats *other* in time and stale answers by the estimates, without intervals."""
    pairs = ((one.wall_s, other.wall_s), (one.stale, other.stale))
    return all(mine.value <= theirs.value for mine, theirs in pairs) and any(
        mine.value < theirs.value for mine, theirs in pairs
    )


def standings(places: Mapping[str, ParetoPlace]) -> dict[str, Standing]:
    """By label whether each of *places* is on the frontier, beaten, or open (perhaps beaten)."""
    found = {}
    for label, place in places.items():
        others = [other for name, other in places.items() if name != label]
        if any(beats(other, place) for other in others):
            found[label] = Standing.BEATEN
        elif any(seems_better(other, place) for other in others):
            found[label] = Standing.OPEN
        else:
            found[label] = Standing.FRONTIER
    return found


@dataclass(frozen=True, slots=True)
class Point:
    """An arm, over all of its runs. What is None was not measured.

    Stale answers are counted in failed runs too, which may have failed because of them.
    """

    arm: str
    """The arm's label."""
    group: str
    """The name of the group that it competes in."""
    runs: int
    """How many runs count for *wall_s*."""
    failed: int
    """How many runs failed, and do not."""
    changed: int
    """Runs that had another result than a native one under the same edits."""
    wall_s: Estimate | None
    """The median wall time, in seconds; None where no run counts."""
    watched_runs: int
    """Runs during which the host was edited."""
    edits_per_run: float | None
    """Edits of the host in a run, the mean; None where it edited nothing."""
    recorded: int
    """Answers about edited names, in all runs."""
    judged: int
    """How many of those could be judged."""
    unknown: int
    """How many of those could not."""
    kinds: Mapping[str, JudgedAnswers]
    """Judged and stale answers per kind of thing; one answer may be stale about several."""
    ages_ns: tuple[int, ...]
    """How old each stale answer was, in ns, sorted."""
    stale_per_run: Estimate | None
    """Stale answers in a run, the mean; None where nothing was judged."""
    stale_share: Estimate | None
    """The share of stale answers among the judged, from 0 to 1."""
    p99_age_ns: Estimate | None
    """The age in ns that one stale answer of a hundred exceeds."""

    @property
    def is_watched(self) -> bool:
        """Whether any answer in this arm's runs has been judged to be stale or not."""
        return self.judged > 0

    @property
    def stale(self) -> int:
        """Stale answers in all runs; one that is stale about two kinds of things counts twice."""
        return sum(kind.stale for kind in self.kinds.values())

    @property
    def oldest_ns(self) -> int | None:
        """The age of the oldest stale answer, in ns. None where no age is known."""
        return self.ages_ns[-1] if self.ages_ns else None

    def stale_beyond(self, limit_ns: int) -> int:
        """How many answers were stale by *limit_ns* or more, or for an unknown time."""
        of_unknown_age = max(0, self.stale - len(self.ages_ns))
        return of_unknown_age + sum(age >= limit_ns for age in self.ages_ns)

    @property
    def place(self) -> ParetoPlace | None:
        """Wall time and stale answers per run, with intervals. None where one was not measured."""
        if self.wall_s is None or self.stale_per_run is None:
            return None
        return ParetoPlace(_reach(self.wall_s), _reach(self.stale_per_run))


def _reach(estimate: Estimate) -> Reach:
    low, high = estimate.interval or (-math.inf, math.inf)
    return Reach(min(low, estimate.value), estimate.value, max(high, estimate.value))


def upper_bound_of_none(trials: int) -> float:
    """The largest share that seeing none in *trials* leaves possible, at 95 %; 1.0 without trials.

    The bound of Clopper and Pearson for one side, near 3 / *trials* (the rule of three).
    """
    if trials < 1:
        return 1.0
    return float(1 - (1 - CONFIDENCE) ** (1 / trials))


def most_per_run_of_none(runs: int) -> float:
    """The largest mean, at 95 %, where none was seen in *runs*. Raises ZeroDivisionError for 0.

    If stale answers came one by one (Poisson). They come in bursts, so it is a least bound.
    """
    return float(-math.log(1 - CONFIDENCE) / runs)


def points_of(comparison: Comparison, *, resamples: int = RESAMPLES) -> tuple[Point, ...]:
    """A Point (wall time, stale answers) for each arm of *comparison* with a share, in order."""
    return tuple(
        _point_in(comparison, arm, resamples)
        for arm in comparison.arms
        if arm not in natives_of(comparison)
    )


def native_points(comparison: Comparison, *, resamples: int = RESAMPLES) -> tuple[Point, ...]:
    """A Point for each arm without a share; a stale answer there is an error of the judge's."""
    return tuple(
        _point_in(comparison, arm, resamples)
        for arm in comparison.arms
        if arm in natives_of(comparison)
    )


def _point_in(comparison: Comparison, arm: str, resamples: int) -> Point:
    samples = comparison.all_of(arm, FRESH)
    return point_of(
        arm, group_of(comparison, arm), samples, seed=comparison.seed, resamples=resamples
    )


def natives_of(comparison: Comparison) -> tuple[str, ...]:
    """The labels of the arms of *comparison* that mount no share, in its order."""
    return tuple(
        arm
        for arm in comparison.arms
        if comparison.specs.get(arm, {}).get("profile", NATIVE) == NATIVE
        and "volumes" not in comparison.specs.get(arm, {}).get("options", {})
    )


def group_of(comparison: Comparison, arm: str) -> str:
    """The name of the group that *arm* competes in; EVERYTHING where the plan has none."""
    groups: Mapping[str, str] = comparison.plan.get(GROUPS) or {}
    return groups.get(arm, EVERYTHING)


def groups_of(points: Sequence[Point]) -> dict[str, list[Point]]:
    """Sort *points* into lists by the name of their group, in the order of *points*."""
    groups: dict[str, list[Point]] = {}
    for point in points:
        groups.setdefault(point.group, []).append(point)
    return groups


def standings_of(points: Sequence[Point]) -> dict[str, Standing]:
    """By label where each point stands in its group; UNKNOWN without time or judged answers."""
    found = {point.arm: Standing.UNKNOWN for point in points}
    for group in groups_of(points).values():
        places = {point.arm: place for point in group if (place := point.place) is not None}
        found |= standings(places)
    return found


def point_of(
    arm: str, group: str, samples: Sequence[Sample], *, seed: int, resamples: int = RESAMPLES
) -> Point:
    """Sum one arm's *samples* up as a Point, with intervals. None is what was not measured."""
    counted = [sample for sample in samples if not sample.failure]
    watched = [sample.risk for sample in samples if sample.risk is not None]
    runs = [StaleAnswers.of([risk]) for risk in watched]
    total = StaleAnswers.of(watched)
    return Point(
        arm=arm,
        group=group,
        runs=len(counted),
        failed=len(samples) - len(counted),
        changed=total.changed,
        wall_s=median_estimate([one.wall_s for one in counted], seed=seed, resamples=resamples),
        watched_runs=total.runs,
        edits_per_run=total.edits_made / total.runs if total.runs else None,
        recorded=total.recorded,
        judged=total.judged,
        unknown=total.unknown,
        kinds=total.kinds,
        ages_ns=total.ages_ns,
        stale_per_run=_stale_per_run(runs, total.judged, seed, resamples),
        stale_share=_stale_share(runs, seed, resamples),
        p99_age_ns=_p99_age_ns(runs, seed, resamples),
    )


def _stale_per_run(
    runs: Sequence[StaleAnswers], judged: int, seed: int, resamples: int
) -> Estimate | None:
    """The mean; None where nothing was judged.

    Where none was seen, the interval is how many there may be all the same.
    """
    if not judged:
        return None
    stale = np.asarray([run.stale for run in runs], dtype=float)
    if not stale.any():
        return Estimate(0.0, (0.0, most_per_run_of_none(len(runs))))
    return _over_runs(runs, lambda drawn: float(stale[drawn].mean()), seed, resamples)


def _stale_share(runs: Sequence[StaleAnswers], seed: int, resamples: int) -> Estimate | None:
    """Of what was judged: None where nothing was."""
    judged = np.asarray([run.things_judged for run in runs], dtype=float)
    stale = np.asarray([run.stale for run in runs], dtype=float)
    if not judged.sum():
        return None
    if not stale.any():
        return Estimate(0.0, (0.0, upper_bound_of_none(int(judged.sum()))))

    def share(drawn: np.ndarray) -> float:
        return float(stale[drawn].sum() / max(1.0, judged[drawn].sum()))

    return _over_runs(runs, share, seed, resamples)


def _p99_age_ns(runs: Sequence[StaleAnswers], seed: int, resamples: int) -> Estimate | None:
    """The age that one stale answer of a hundred exceeds."""
    ages = [np.asarray(run.ages_ns, dtype=float) for run in runs]
    if not any(each.size for each in ages):
        return None

    def p99(drawn: np.ndarray) -> float:
        chosen = np.concatenate([ages[index] for index in drawn])
        return float(np.quantile(chosen, P99)) if chosen.size else math.nan

    return _over_runs(runs, p99, seed, resamples)


def _over_runs(
    runs: Sequence[StaleAnswers],
    statistic: Callable[[np.ndarray], float],
    seed: int,
    resamples: int,
) -> Estimate:
    """An estimate whose interval comes from drawing whole runs anew.

    Answers of one run are not independent of each other: one edit makes many of them stale.
    """
    value = statistic(np.arange(len(runs)))
    if len(runs) < FEWEST_FOR_INTERVAL:
        return Estimate(value, None, f"{len(runs)} runs are too few for an interval")
    random = np.random.default_rng(seed)
    drawn = random.integers(len(runs), size=(min(resamples, _MOST_DRAWS), len(runs)))
    values = np.asarray([statistic(each) for each in drawn])
    values = values[~np.isnan(values)]
    tail = (1 - CONFIDENCE) / 2
    low, high = np.quantile(values, (tail, 1 - tail))
    return Estimate(value, (float(low), float(high)))


@dataclass(frozen=True, slots=True)
class Limit:
    """What staleness is accepted of an arm."""

    name: str
    """How it is called in tables."""
    below_ns: int | None
    """Stale answers of this age and more break it, in ns; 0: every stale answer does; None: none
    does."""

    def broken_by(self, point: Point) -> int:
        """How many stale answers of *point* are as old as the limit or older; 0 without one."""
        if self.below_ns is None:
            return 0
        return point.stale_beyond(self.below_ns) if self.below_ns else point.stale

    def why_not(self, point: Point) -> str:
        """Why *point* does not keep to the limit, in words: a failed run, too; "" if it does.

        No arm with a failed run does: whether it works comes before how fast it is.
        """
        if point.wall_s is None:
            return "no run counts"
        if point.failed:
            return f"{point.failed} of its runs failed"
        if self.below_ns is not None and not point.is_watched:
            return "its stale answers were not counted"
        broken = self.broken_by(point)
        if broken:
            return f"{format_count(broken)} answers beyond"
        if self.below_ns is not None and point.changed:
            # By what nobody saw, perhaps: a mapping, or a program without libc.
            return f"{point.changed} of its runs had another result"
        return ""


LIMITS = (
    Limit("none seen", 0),
    Limit("all below 100 ms", 100_000_000),
    Limit("no limit", None),
)


@dataclass(frozen=True, slots=True)
class Best:
    """The fastest arm of a group that keeps to a limit."""

    group: str
    """The group's name; EVERYTHING where there are no groups."""
    limit: Limit
    """Which staleness was accepted."""
    point: Point | None
    """The fastest that keeps to it; None where none does."""
    not_slower: tuple[str, ...]
    """Labels of others that keep to it and whose wall time cannot be told from the best one's."""
    is_sure: bool
    """False where too few runs were made to tell which others are as fast."""
    why_not: Mapping[str, str]
    """By label, why an arm does not keep to the limit."""


def best_of(points: Sequence[Point], limits: Sequence[Limit] = LIMITS) -> tuple[Best, ...]:
    """By group and limit the fastest arm that keeps to it; its point is None where none does."""
    return tuple(
        _best(name, group, limit) for name, group in groups_of(points).items() for limit in limits
    )


def _best(name: str, group: Sequence[Point], limit: Limit) -> Best:
    why_not = {point.arm: why for point in group if (why := limit.why_not(point))}
    keeping = sorted(
        (point for point in group if point.arm not in why_not and point.wall_s is not None),
        key=_value_s,
    )
    if not keeping:
        return Best(name, limit, None, (), True, why_not)
    first, *others = keeping
    sure = first.wall_s is not None and first.wall_s.interval is not None
    alike = tuple(point.arm for point in others if _cannot_be_told(first, point)) if sure else ()
    return Best(name, limit, first, alike, sure or not others, why_not)


def _value_s(point: Point) -> float:
    assert point.wall_s is not None
    return point.wall_s.value


def _cannot_be_told(first: Point, other: Point) -> bool:
    assert first.wall_s is not None
    assert other.wall_s is not None
    return _reach(other.wall_s).low <= _reach(first.wall_s).high
