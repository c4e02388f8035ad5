"""P(stale) from samples: simulated looks, whose truth is known; no share, no clock."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from osxfs_sim.coherence.staleness.curves import Band, Curve, joint_level
from osxfs_sim.coherence.staleness.predictions import StalenessSample

MS = 10**6


def read(changed_ns: float, first_ns: float, grow: float, patience_ns: float) -> StalenessSample:
    """What a prober finds of an answer that changes at *changed_ns*.

    Its looks begin at *first_ns* and come further and further apart, as those of staleness.py.
    """
    stale, lower, begins = 0, 0, first_ns
    while begins < changed_ns:
        stale, lower = stale + 1, round(begins)
        if begins > patience_ns:
            return StalenessSample(0, stale, lower)
        begins = begins * grow + 1
    return StalenessSample(0, stale, lower, round(begins), round(begins))


def simulated(
    truth: "stats.rv_continuous", number: int, seed: int, *, patience_ns: float = math.inf
) -> list[StalenessSample]:
    generator = np.random.default_rng(seed)
    changed_ns = truth.rvs(number, random_state=generator)
    firsts_ns = generator.uniform(0, 0.2 * MS, number)
    return [
        read(float(at), float(first), 1.1, patience_ns)
        for at, first in zip(changed_ns, firsts_ns, strict=True)
    ]


UNIFORM = stats.uniform(0, 50 * MS)
SKEWED = stats.expon(0, 8 * MS)
TIMES_NS = np.linspace(0, 60 * MS, 601)


def holds(band: Band, truth: "stats.rv_continuous") -> bool:
    stale = truth.sf(TIMES_NS)
    # Simulated times are rounded to a nanosecond.
    return bool(np.all((band.low <= stale + 1e-6) & (stale <= band.high + 1e-6)))


def coverage(truth, number: int, confidence: float, repetitions: int = 300) -> float:
    held = 0
    for seed in range(repetitions):
        curve = Curve.of(simulated(truth, number, seed))
        held += holds(curve.band(TIMES_NS, confidence), truth)
    return held / repetitions


@pytest.mark.takes_seconds
@pytest.mark.parametrize("truth", [UNIFORM, SKEWED])
@pytest.mark.parametrize("number", [5, 40])
def test_the_band_holds_everywhere_at_once_as_often_as_it_says(truth, number: int) -> None:
    # 300 repetitions: three standard errors are 4 points.
    assert coverage(truth, number, 0.95) >= 0.91


def exact(number: int, seed: int) -> list[StalenessSample]:
    """Known to a nanosecond: nothing is gained by wide brackets."""
    changed = UNIFORM.rvs(number, random_state=np.random.default_rng(seed))
    return [StalenessSample(0, 1, math.floor(at), math.ceil(at), math.ceil(at)) for at in changed]


def held_of(number: int, level: float, repetitions: int = 400) -> float:
    """How often a band at *level* holds at all moments of exact samples."""
    held = 0
    for seed in range(repetitions):
        curve = Curve.of(exact(number, seed))
        times = curve.moments_ns
        # The upper edge is met at a step, the lower one just before it, where one more is stale.
        after = np.round(curve.shares(times).high * number).astype(int)
        before = np.round(curve.shares(times - 2).low * number).astype(int)
        high = np.where(
            after == number, 1, stats.beta.ppf(1 - level / 2, after + 1, number - after)
        )
        low = np.where(before == 0, 0, stats.beta.ppf(level / 2, before, number - before + 1))
        truth = UNIFORM.sf(times)
        held += bool(np.all((low <= truth + 1e-6) & (truth <= high + 1e-6)))
    return held / repetitions


def test_the_joint_level_is_neither_too_strict_nor_too_loose() -> None:
    for number in (10, 60):
        assert 0.92 <= held_of(number, joint_level(number, 0.95)) <= 0.98


def test_a_band_of_single_moments_would_be_caught() -> None:
    """Wrong on purpose: 95 % at each moment are far from 95 % at all of them."""
    assert held_of(60, 0.05) < 0.75


def test_a_band_that_forgets_the_brackets_would_be_caught() -> None:
    """Wrong on purpose: takes the first look that saw the change for its moment."""
    honest = wrong = 0
    for seed in range(60):
        seldom_ns = 10 * MS
        reads = [each.lower_ns // seldom_ns for each in exact(200, seed)]
        samples = [StalenessSample(0, 1, k * seldom_ns, (k + 1) * seldom_ns) for k in reads]
        honest += holds(Curve.of(samples).band(TIMES_NS), UNIFORM)
        forgetful = [StalenessSample(0, 1, each.seen_ns - 1, each.seen_ns) for each in samples]
        wrong += holds(Curve.of(forgetful).band(TIMES_NS), UNIFORM)
    assert honest >= 0.9 * 60
    assert wrong <= 0.2 * 60


def test_the_level_of_one_sample_is_the_whole_one() -> None:
    assert joint_level(1, 0.95) == pytest.approx(0.05, abs=0.01)
    assert joint_level(40, 0.95) == joint_level(40, 0.95)
    assert joint_level(200, 0.95) < joint_level(20, 0.95) < 0.05


@pytest.mark.parametrize("share", [0.5, 0.1])
def test_when_a_share_is_reached_lies_in_the_interval_as_often_as_it_says(share: float) -> None:
    truth_ns, held = UNIFORM.isf(share), 0
    for seed in range(400):
        found = Curve.of(simulated(UNIFORM, 60, seed)).falls_below(share)
        assert found.seen_ns is not None
        held += found.low_ns <= truth_ns and (found.high_ns is None or truth_ns <= found.high_ns)
        assert found.low_ns <= found.seen_ns <= (found.high_ns or math.inf)
    assert held / 400 >= 0.93


def test_too_few_samples_cannot_tell_of_one_in_a_hundred() -> None:
    fresh = [StalenessSample(0, 0, 0, 5_000, 90_000)]
    assert Curve.of(fresh * 367).falls_below(0.01).high_ns is None
    # (1 - 0.01)^368 < 0.025
    assert Curve.of(fresh * 368).falls_below(0.01).high_ns == 5_000
    assert Curve.of(fresh * 368).falls_below(0.01).low_ns == 0


def test_what_was_not_seen_stays_possible_for_ever() -> None:
    curve = Curve.of(
        [StalenessSample(0, 9, 100), StalenessSample(0, 9, 200), StalenessSample(0, 1, 10, 20, 30)]
    )
    shares = curve.shares(np.array([0.0, 10.0, 15.0, 20.0, 150.0, 1e12]))
    assert shares.low.tolist() == pytest.approx([1, 1, 2 / 3, 2 / 3, 1 / 3, 0])
    assert shares.high.tolist() == pytest.approx([1, 1, 1, 2 / 3, 2 / 3, 2 / 3])
    assert curve.falls_below(0.5).seen_ns is None
    assert curve.falls_below(0.5).high_ns is None


def test_patience_that_ends_early_makes_no_curve_too_low() -> None:
    held = 0
    for seed in range(200):
        cut = simulated(UNIFORM, 30, seed, patience_ns=20 * MS)
        held += holds(Curve.of(cut).band(TIMES_NS), UNIFORM)
    assert held >= 0.91 * 200


# A fresh look ends later than the last stale one began.
brackets = st.tuples(
    st.integers(0, 10**9), st.integers(1, 10**9), st.booleans(), st.booleans()
).map(
    lambda each: StalenessSample(
        0,
        int(each[2]),
        each[0] if each[2] else 0,
        None if each[3] and each[2] else each[0] + each[1],
        None if each[3] and each[2] else each[0] + each[1] + 9,
    )
)


@given(st.lists(brackets, min_size=1, max_size=25), st.data())
def test_the_truth_of_the_samples_lies_between_the_shares(samples, data) -> None:
    """Whenever each answer changed within its bracket, and the shares only fall."""
    curve = Curve.of(samples)
    changed = []
    for each in samples:
        low = each.lower_ns + 1 if each.stale_reads else 0
        high = each.seen_ns if each.seen_ns is not None else 10**10
        changed.append(data.draw(st.integers(low, high)))
    times = np.unique(np.array([0, *changed, *curve.moments_ns], dtype=float))
    shares, band = curve.shares(times), curve.band(times)
    stale = np.array([np.mean(np.array(changed) > at) for at in times])
    assert np.all(shares.low <= stale + 1e-12)
    assert np.all(stale <= shares.high + 1e-12)
    assert np.all(band.low <= shares.low + 1e-12)
    assert np.all(shares.high <= band.high + 1e-12)
    for edge in (band.low, band.high, shares.low, shares.high):
        assert np.all(np.diff(edge) <= 1e-12)
