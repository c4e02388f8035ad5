"""Time dilation as a measuring instrument: wall time = processor time + K x waiting time.

With every time in the model multiplied by K, what a workload computes stays as it is
and what it waits for grows. So the wall times of one workload at several K lie on a
straight line, whose slope is what it waits for at K = 1 and whose intercept is what
remains. That serves two ends: a published machine's proportion of the two is
had by K = native time here / native time there; and where K = 1 is below what this
machine can deliver, the line still gives it.

That the line is straight is a claim about the emulator, to be tested and not assumed.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from osxfs_sim.model.formatting import format_significant

CONFIDENCE = 0.95
FEWEST_FOR_ERRORS = 3
"""Two points lie on a line whatever they are."""


@dataclass(frozen=True, slots=True)
class DilationLine:
    """The straight line through wall times at several dilations K, by least squares."""

    processor_s: float
    """The intercept: seconds that no dilation lengthens."""
    waiting_s: float
    """The slope: seconds of waiting for the share at K = 1."""
    processor_error_s: float | None
    """Half width of the intercept's 95 % interval; None for fewer than three points."""
    waiting_error_s: float | None
    """Half width of the slope's 95 % interval; None for fewer than three points."""
    worst_share: float
    """The largest distance of some dilation's mean wall time from the line, as a share of it."""
    bend_p: float | None
    """p-value of the test for lack of fit (scatter between dilations against scatter within them):
    small, where a straight line does not do; None where no dilation was measured twice or there
    are only two."""
    dilations: tuple[float, ...]
    """The K that it went through, ascending."""

    def at(self, dilation: float) -> float:
        """The wall time in seconds that the line gives at *dilation*."""
        return self.processor_s + dilation * self.waiting_s

    def error_at_s(self, dilation: float) -> float | None:
        """A bound on the 95 % half width, in seconds, at *dilation*. None below three points.

        The errors of slope and intercept go against each other; taken as independent they
        give too much rather than too little.
        """
        if self.processor_error_s is None or self.waiting_error_s is None:
            return None
        return math.hypot(self.processor_error_s, dilation * self.waiting_error_s)


def dilation_line(points: Sequence[tuple[float, float]]) -> DilationLine | None:
    """The least-squares line through (dilation, wall seconds). None for fewer than two dilations.

    Each point counts alike.
    """
    dilations = np.array([dilation for dilation, _ in points], dtype=float)
    walls_s = np.array([wall_s for _, wall_s in points], dtype=float)
    distinct = np.unique(dilations)
    if len(distinct) < 2:
        return None
    fit = stats.linregress(dilations, walls_s)
    processor_s, waiting_s = float(fit.intercept), float(fit.slope)
    means_s = np.array([walls_s[dilations == one].mean() for one in distinct])
    off_s = np.abs(means_s - (processor_s + distinct * waiting_s))
    processor_error_s = waiting_error_s = None
    if len(points) >= FEWEST_FOR_ERRORS:
        quantile = float(stats.t.ppf((1 + CONFIDENCE) / 2, len(points) - 2))
        processor_error_s = quantile * float(fit.intercept_stderr)
        waiting_error_s = quantile * float(fit.stderr)
    return DilationLine(
        processor_s=processor_s,
        waiting_s=waiting_s,
        processor_error_s=processor_error_s,
        waiting_error_s=waiting_error_s,
        worst_share=float(np.max(off_s / means_s)),
        bend_p=_bend_p(dilations, walls_s, distinct, means_s, processor_s, waiting_s),
        dilations=tuple(float(one) for one in distinct),
    )


def _bend_p(
    dilations: np.ndarray,
    walls_s: np.ndarray,
    distinct: np.ndarray,
    means_s: np.ndarray,
    processor_s: float,
    waiting_s: float,
) -> float | None:
    """The F test for lack of fit (Draper and Smith, Applied Regression Analysis, 2.1)."""
    bend_freedom, scatter_freedom = len(distinct) - 2, len(walls_s) - len(distinct)
    if bend_freedom < 1 or scatter_freedom < 1:
        return None
    scatter = sum(
        float(np.sum((walls_s[dilations == one] - mean_s) ** 2))
        for one, mean_s in zip(distinct, means_s, strict=True)
    )
    bend = sum(
        float(np.sum(dilations == one)) * float(mean_s - processor_s - one * waiting_s) ** 2
        for one, mean_s in zip(distinct, means_s, strict=True)
    )
    if scatter == 0:
        return 1.0 if math.isclose(bend, 0, abs_tol=1e-12) else 0.0
    ratio = (bend / bend_freedom) / (scatter / scatter_freedom)
    return float(stats.f.sf(ratio, bend_freedom, scatter_freedom))


def dilation_between(here_s: float, published_s: float) -> float:
    """The dilation K: native s here over the published, to 3 digits. Raises ZeroDivisionError.

    Both are native times of the same workload. To three digits, so that it can be written
    down and given to ``--dilate``.
    """
    return float(format_significant(here_s / published_s, 3))
