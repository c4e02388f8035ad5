"""How sure the lab can be of a time, and of a difference between two.

Wall times are skewed and have outliers, so nothing here assumes a distribution:
medians, the percentile bootstrap, and tests of ranks. docs/statistics.md says
why these, and what they cannot show.

All of it is pure: the same samples and the same seed give the same answer.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

CONFIDENCE = 0.95
SIGNIFICANCE = 0.05
"""A difference is one if its p-value, after Holm's correction, is below this."""

FEWEST_FOR_INTERVAL = 5
"""Below it no interval of a median can reach the confidence (docs/statistics.md)."""

OUTLIER_SCORE = 3.5
FEWEST_FOR_OUTLIERS = 5
DRIFT_SIGNIFICANCE = 0.01
RESAMPLES = 10_000

# With many samples the exact distribution of U takes long to compute, and the normal one is as
# good. With ties it is not that of the books, and takes longer (``_tied_p``).
_MOST_FOR_EXACT = 100
_MOST_FOR_EXACT_WITH_TIES = 20
# They make a median absolute deviation, or where that is 0 a mean one, an estimate of a
# normal distribution's standard deviation (Iglewicz and Hoaglin, 1993).
_MEDIAN_DEVIATION_TO_SIGMA = 1 / 0.6745
_MEAN_DEVIATION_TO_SIGMA = 1.253314


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value with its interval, or with the reason why none can be given."""

    value: float
    """The estimate, in the unit of the samples."""
    interval: tuple[float, float] | None
    """Its 95 % bootstrap interval; None where it cannot be given."""
    reason: str = ""
    """Why it cannot; empty where it is given."""

    @property
    def relative_half_width(self) -> float | None:
        """Half the interval's width as a share of the value. None without one, or for value 0."""
        if self.interval is None or self.value == 0:
            return None
        low, high = self.interval
        return (high - low) / 2 / abs(self.value)


@dataclass(frozen=True, slots=True)
class Difference:
    """What the Mann-Whitney test says of two samples."""

    p: float
    """The two-sided p-value."""
    superiority: float
    """How likely a value of the first is to be above one of the second (ties count half): 0.5 if
    neither tends to be."""
    smallest_p: float
    """The least that so many samples could have given: above the significance, the test could not
    have found anything."""


@dataclass(frozen=True, slots=True)
class Drift:
    """A trend over the order in which samples were taken (Kendall)."""

    tau: float
    """Kendall's tau of value and order, from -1 to 1; above 0 the values grow."""
    p: float
    """Its p-value, of both sides."""


def median_estimate(
    values: Sequence[float], *, seed: int, resamples: int = RESAMPLES
) -> Estimate | None:
    """The median and its 95 % bootstrap interval, from 5 values on. None for no values."""
    if not values:
        return None
    median = float(np.median(values))
    if len(values) < FEWEST_FOR_INTERVAL:
        return Estimate(median, None, _too_few(len(values)))
    return Estimate(median, _bootstrap((values,), _median, seed, resamples))


def ratio_estimate(
    values: Sequence[float],
    baseline: Sequence[float],
    *,
    seed: int,
    resamples: int = RESAMPLES,
) -> Estimate | None:
    """Ratio of two medians and its bootstrap interval. None if one is empty, or *baseline* has a 0.

    Both samples are drawn anew, each by itself.
    """
    if not values or not baseline or min(baseline) <= 0:
        return None
    ratio = float(np.median(values) / np.median(baseline))
    fewest = min(len(values), len(baseline))
    if fewest < FEWEST_FOR_INTERVAL:
        return Estimate(ratio, None, _too_few(fewest))
    return Estimate(ratio, _bootstrap((values, baseline), _ratio, seed, resamples))


def _too_few(count: int) -> str:
    return (
        f"no interval can be given for {count} run{'s' if count != 1 else ''}: "
        f"it takes {FEWEST_FOR_INTERVAL}"
    )


def _median(values: np.ndarray, axis: int = -1) -> np.ndarray:
    return np.asarray(np.median(values, axis=axis))


def _ratio(values: np.ndarray, baseline: np.ndarray, axis: int = -1) -> np.ndarray:
    return np.asarray(np.median(values, axis=axis) / np.median(baseline, axis=axis))


def _bootstrap(
    samples: tuple[Sequence[float], ...], statistic: object, seed: int, resamples: int
) -> tuple[float, float]:
    # By percentile and not BCa: that corrects by a jackknife, which fails for medians.
    found = stats.bootstrap(
        [np.asarray(sample, dtype=float) for sample in samples],
        statistic,
        n_resamples=resamples,
        confidence_level=CONFIDENCE,
        method="percentile",
        vectorized=True,
        random_state=np.random.default_rng(seed),
    ).confidence_interval
    return float(found.low), float(found.high)


def difference(first: Sequence[float], second: Sequence[float]) -> Difference | None:
    """The Mann-Whitney test of whether two samples differ. None where one is empty."""
    if not first or not second:
        return None
    tied = len({*first, *second}) < len(first) + len(second)
    most = max(len(first), len(second))
    exact = not tied and most <= _MOST_FOR_EXACT
    result = stats.mannwhitneyu(first, second, method="exact" if exact else "asymptotic")
    # Where all values are one, the normal approximation divides by 0.
    p = 1.0 if math.isnan(result.pvalue) else float(result.pvalue)
    if tied and most <= _MOST_FOR_EXACT_WITH_TIES:
        p = _tied_p(first, second)
    smallest_p = min(1.0, 2 / math.comb(len(first) + len(second), len(first)))
    return Difference(
        # The normal approximation knows of no least value.
        p=max(smallest_p, min(1.0, p)),
        superiority=float(result.statistic) / (len(first) * len(second)),
        smallest_p=smallest_p,
    )


def _tied_p(first: Sequence[float], second: Sequence[float]) -> float:
    """The exact p of both sides where some values are the same: over all ways to deal them out.

    Doubled, as without ties: twice the share of ways that are as extreme on the side that it is on.
    """
    ranks = np.rint(2 * stats.rankdata([*first, *second])).astype(int)
    ways = np.zeros((len(first) + 1, int(ranks.sum()) + 1))
    ways[0, 0] = 1
    for rank in ranks:
        # From many to few, so that none is dealt twice.
        ways[1:, rank:] += ways[:-1, : ways.shape[1] - rank].copy()
    counts = ways[len(first)]
    seen = int(ranks[: len(first)].sum())
    extreme = min(counts[: seen + 1].sum(), counts[seen:].sum())
    return float(min(1.0, 2 * extreme / counts.sum()))


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct *p_values* for being several (Holm, 1979), in the order given; empty for none."""
    order = sorted(range(len(p_values)), key=lambda index: p_values[index])
    raised = [
        min(1.0, (len(p_values) - rank) * p_values[index]) for rank, index in enumerate(order)
    ]
    corrected = [0.0] * len(p_values)
    for index, p in zip(order, itertools.accumulate(raised, max), strict=True):
        corrected[index] = p
    return corrected


def outliers(values: Sequence[float]) -> list[int]:
    """Indices of values with a modified z-score above 3.5; none of fewer than 5 values.

    None of few values: how they scatter is not known then. Wall times are skewed, so that
    even undisturbed ones have some (docs/statistics.md): to be looked at, never left out.
    """
    if len(values) < FEWEST_FOR_OUTLIERS:
        return []
    deviations = np.abs(np.asarray(values, dtype=float) - np.median(values))
    sigma = float(np.median(deviations)) * _MEDIAN_DEVIATION_TO_SIGMA
    if sigma == 0:  # more than half of the values are one
        sigma = float(np.mean(deviations)) * _MEAN_DEVIATION_TO_SIGMA
    if sigma == 0:
        return []
    return [int(index) for index in np.flatnonzero(deviations / sigma > OUTLIER_SCORE)]


def drift(values: Sequence[float]) -> Drift | None:
    """Kendall's trend of *values* in their order. None without a significant one (p < 0.01)."""
    if len({*values}) < 2:
        return None
    result = stats.kendalltau(np.arange(len(values)), values)
    found = Drift(float(result.statistic), float(result.pvalue))
    return found if found.p < DRIFT_SIGNIFICANCE else None
