"""How often the lab would cry wolf: an arm against itself.

A difference between two labels of one arm is a false alarm. One comparison of
them gives one answer only; so its samples are labelled anew, many times, as the
schedule would have: in each round, a coin says which of the two runs was whose.
What the machine did meanwhile stays in the samples, in the order it happened.
"""

from dataclasses import dataclass

import numpy as np
from scipy import stats

from osxfs_sim.lab.results import Comparison
from osxfs_sim.lab.statistics import CONFIDENCE, SIGNIFICANCE, difference

RELABELLINGS = 2_000


@dataclass(frozen=True, slots=True)
class FalseAlarms:
    """How often an arm that is compared with itself is found to differ."""

    rounds: int
    """Rounds in which both runs count."""
    p: float
    """Mann-Whitney p-value of the comparison as it was."""
    relabellings: int
    """How many times the labels were drawn anew within each round."""
    alarms: int
    """How many of these found a difference."""
    interval: tuple[float, float]
    """95 % binomial interval (Clopper and Pearson) of the rate, from 0 to 1."""
    p_in_order: float
    """p-value of the first half of the rounds against the second, as if the arms had been run one
    after the other."""

    @property
    def rate(self) -> float:
        """The share of relabellings, from 0 to 1, that found a difference."""
        return self.alarms / self.relabellings


def false_alarms(
    comparison: Comparison, kind: str, *, seed: int, relabellings: int = RELABELLINGS
) -> FalseAlarms | None:
    """How often relabelled runs of one arm seem to differ. None below two rounds that count.

    *comparison* is of two labels of one arm, *kind* that of its runs.
    """
    first, second = (
        {sample.round: sample.wall_s for sample in comparison.of(arm, kind)}
        for arm in comparison.arms
    )
    rounds = sorted(first.keys() & second.keys())
    if len(rounds) < 2:
        return None
    walls_s = np.array([(first[number], second[number]) for number in rounds])
    generator = np.random.default_rng(seed)
    alarms = 0
    for _ in range(relabellings):
        whose = generator.integers(2, size=len(rounds))
        each = np.arange(len(rounds))
        alarms += _p(walls_s[each, whose], walls_s[each, 1 - whose]) < SIGNIFICANCE
    chance = stats.binomtest(alarms, relabellings).proportion_ci(CONFIDENCE)
    half = len(rounds) // 2
    return FalseAlarms(
        rounds=len(rounds),
        p=_p(walls_s[:, 0], walls_s[:, 1]),
        relabellings=relabellings,
        alarms=int(alarms),
        interval=(float(chance.low), float(chance.high)),
        p_in_order=_p(walls_s[:half].ravel(), walls_s[-half:].ravel()),
    )


def _p(first: np.ndarray, second: np.ndarray) -> float:
    found = difference(first.tolist(), second.tolist())
    assert found is not None
    return found.p
