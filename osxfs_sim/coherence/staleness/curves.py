"""How likely a read is to return the old state, against the time since the change. Pure.

In the words of Bailis and others (Probabilistically bounded staleness for practical partial
quorums, VLDB 2012) this is 1 less the t-visibility: the probability that a read which begins
a time t after the change has returned returns the old state.

Reads are made now and then, so of each change only a bracket is known: the begin of the last
read that returned the old state, and that of the first that returned the new one (interval
censoring). Turnbull's estimator (1976) would make one curve of such brackets, but needs reads that
have nothing to do with what they find; here the first read that sees the change is the last one.
So no curve is guessed: between the share of changes that are surely still unseen and the share of
those that may be, the truth of the samples lies whatever the reads were.

The band around that is Clopper and Pearson's interval (1934) for both shares. Each holds for
one moment; that all of them hold at once, the level of each is made stricter by as much as it
takes (``joint_level``). Such a band is narrow where the curve is near 0 or 1, which is where
staleness is read; that of Dvoretzky, Kiefer and Wolfowitz is as wide there as in the middle
(Aldor-Noiman and others, The power to see, American Statistician 67, 2013, compare them).
"""

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import special

from osxfs_sim.coherence.staleness.predictions import StalenessSample

Numbers = npt.NDArray[np.float64]

CONFIDENCE = 0.95
_NEVER_STALE = -1
# The level is found to some thousandths; every run of the same number finds the same.
_DRAWS = 4_000
_DRAWN_TOGETHER = 1_000_000
_SEED = 1976


@dataclass(frozen=True, slots=True)
class Band:
    """Bounds of a probability, at each of the times that were given."""

    low: Numbers
    """Lower bounds, in [0, 1]; the shape of the times."""
    high: Numbers
    """Upper bounds, likewise."""


@dataclass(frozen=True, slots=True)
class ThresholdCrossing:
    """When P(stale) falls below a share, in ns since the change, with a confidence interval."""

    low_ns: int
    """Not before this, with the confidence asked for."""
    seen_ns: int | None
    """When it does among the samples; None: not as long as was waited."""
    high_ns: int | None
    """Not after this, with that confidence; None: so few samples cannot tell."""


@dataclass(frozen=True, slots=True)
class Curve:
    """What samples tell of P(stale): per change, until when and from when; in ns since the change.

    Both tuples are as long as there are samples, and each is sorted by itself.
    """

    surely_ns: tuple[int, ...]
    """Per change, the latest begin of a read that was stale; -1: none was. Sorted."""
    seen_ns: tuple[float, ...]
    """Per change, the begin of the first read that was fresh; infinite: none was. Sorted."""

    @classmethod
    def of(cls, samples: Sequence[StalenessSample]) -> "Curve":
        """The curve of P(stale) over time of *samples*. Raises AssertionError for none."""
        assert samples
        return cls(
            tuple(sorted(each.lower_ns if each.stale_reads else _NEVER_STALE for each in samples)),
            tuple(sorted(math.inf if each.seen_ns is None else each.seen_ns for each in samples)),
        )

    @property
    def number(self) -> int:
        """How many samples, that is changes, the curve is made of."""
        return len(self.seen_ns)

    @property
    def moments_ns(self) -> Numbers:
        """The moments at which the curve steps, in ns since a change: float64, unique, sorted."""
        stale = [each for each in self.surely_ns if each != _NEVER_STALE]
        seen = [each for each in self.seen_ns if math.isfinite(each)]
        return np.unique(np.array([*stale, *seen], dtype=float))

    def shares(self, times_ns: Numbers) -> Band:
        """Least and greatest share of changes that a read at each of *times_ns* misses, 0 to 1."""
        stale, unseen = self._counts(times_ns)
        return Band(stale / self.number, unseen / self.number)

    def band(self, times_ns: Numbers, confidence: float = CONFIDENCE) -> Band:
        """A confidence band: bounds of P(stale) that hold at all *times_ns* at once, 0 to 1."""
        stale, unseen = self._counts(times_ns)
        level = joint_level(self.number, confidence)
        return Band(_at_least(stale, self.number, level), _at_most(unseen, self.number, level))

    def falls_below(self, share: float, confidence: float = CONFIDENCE) -> ThresholdCrossing:
        """When P(stale) falls below *share* (0 to 1), in ns, with its confidence interval."""
        number, level = self.number, 1 - confidence
        counts = np.arange(number + 1)
        few = math.ceil(share * number) - 1
        enough = np.flatnonzero(_at_most(counts, number, level) < share)
        many = np.flatnonzero(_at_least(counts, number, level) >= share)
        return ThresholdCrossing(
            max(0, self.surely_ns[number - int(many[0])]) if many.size else 0,
            self._fewer_than(few) if few >= 0 else None,
            self._fewer_than(int(enough[-1])) if enough.size else None,
        )

    def _fewer_than(self, count: int) -> int | None:
        """From when on no more than *count* changes were unseen."""
        if count >= self.number:
            return 0
        seen_ns = self.seen_ns[self.number - 1 - count]
        return int(seen_ns) if math.isfinite(seen_ns) else None

    def _counts(self, times_ns: Numbers) -> tuple[npt.NDArray[np.intp], npt.NDArray[np.intp]]:
        stale = self.number - np.searchsorted(self.surely_ns, times_ns, side="left")
        unseen = self.number - np.searchsorted(self.seen_ns, times_ns, side="right")
        return stale, unseen


def _at_least(counts: npt.NDArray[np.intp], number: int, level: float) -> Numbers:
    """Clopper and Pearson's lower bounds of the probability behind *counts* of *number*."""
    inside = np.maximum(counts, 1)
    bound = special.betaincinv(inside, number - inside + 1, level / 2)
    return np.where(counts == 0, 0.0, bound)


def _at_most(counts: npt.NDArray[np.intp], number: int, level: float) -> Numbers:
    inside = np.minimum(counts, number - 1)
    bound = special.betaincinv(inside + 1, number - inside, 1 - level / 2)
    return np.where(counts == number, 1.0, bound)


@functools.cache
def joint_level(number: int, confidence: float) -> float:
    """The error level of each of *number* intervals so that all hold at once by *confidence*.

    What is sought is how far out, among the quantiles of its beta distribution, the
    most unusual of *number* sorted uniform samples lies; found by drawing such samples, from a
    seed of its own. One sample has one moment that matters, and its level is nearly 1 - confidence.
    """
    generator = np.random.default_rng(_SEED)
    ranks = np.arange(1, number + 1)
    most_unusual: list[Numbers] = []
    together = max(1, _DRAWN_TOGETHER // number)
    for start in range(0, _DRAWS, together):
        drawn = generator.random((min(together, _DRAWS - start), number))
        drawn.sort(axis=1)
        below = special.betainc(ranks, number + 1 - ranks, drawn)
        most_unusual.append(np.minimum(below, 1 - below).min(axis=1))
    return 2 * float(np.quantile(np.concatenate(most_unusual), 1 - confidence))
