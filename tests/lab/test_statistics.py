"""Intervals that cover, tests that find what is there and stay quiet about what is not.

Times are drawn with seeds, skewed as wall times are; each claim about a rate is shown
a procedure that does not keep it.
"""

from collections.abc import Callable, Sequence

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from osxfs_sim.lab.statistics import (
    SIGNIFICANCE,
    Estimate,
    difference,
    drift,
    holm,
    median_estimate,
    outliers,
    ratio_estimate,
)

TIMES = st.floats(min_value=0.001, max_value=1_000, allow_nan=False)
SEVERAL_TIMES = st.lists(TIMES, min_size=5, max_size=12)
# Of floating point, where a percentile is interpolated between two values.
ROUNDING = 1e-9
P_VALUES = st.lists(st.floats(min_value=0, max_value=1), max_size=6)


def drawn(generator: np.random.Generator, count: int, *, shift: float = 0.0) -> list[float]:
    """Wall times: at least a second, and with a tail of slower ones."""
    return [1 + shift + float(value) for value in generator.lognormal(-3, 0.8, count)]


# Medians and ratios


@given(values=SEVERAL_TIMES)
def test_an_interval_lies_around_its_median_and_within_what_was_seen(values: list[float]) -> None:
    estimate = median_estimate(values, seed=1, resamples=200)
    assert estimate is not None
    assert estimate.interval is not None
    low, high = estimate.interval
    assert low <= estimate.value * (1 + ROUNDING)
    assert high >= estimate.value * (1 - ROUNDING)
    assert min(values) * (1 - ROUNDING) <= low
    assert high <= max(values) * (1 + ROUNDING)


@given(values=SEVERAL_TIMES, baseline=SEVERAL_TIMES)
def test_a_ratio_has_a_positive_interval_around_it(
    values: list[float], baseline: list[float]
) -> None:
    estimate = ratio_estimate(values, baseline, seed=1, resamples=200)
    assert estimate is not None
    assert estimate.interval is not None
    low, high = estimate.interval
    assert 0 < low <= estimate.value * (1 + ROUNDING)
    assert high >= estimate.value * (1 - ROUNDING)


@pytest.mark.parametrize("count", [1, 2, 4])
def test_for_few_runs_no_interval_is_given_and_it_says_why(count: int) -> None:
    values = [1.0 + number for number in range(count)]
    for estimate in (
        median_estimate(values, seed=1),
        ratio_estimate(values, [2.0] * 9, seed=1),
        ratio_estimate([2.0] * 9, values, seed=1),
    ):
        assert estimate is not None
        assert estimate.interval is None
        assert estimate.relative_half_width is None
        assert f"{count} run" in estimate.reason
        assert "it takes 5" in estimate.reason


def test_without_runs_there_is_no_estimate() -> None:
    assert median_estimate([], seed=1) is None
    assert ratio_estimate([], [1.0], seed=1) is None
    assert ratio_estimate([1.0], [], seed=1) is None
    assert ratio_estimate([1.0], [0.0], seed=1) is None
    assert difference([], [1.0]) is None


def test_the_same_samples_and_seed_give_the_same_interval() -> None:
    values = drawn(np.random.default_rng(5), 10)
    assert median_estimate(values, seed=3) == median_estimate(values, seed=3)
    assert ratio_estimate(values, values, seed=3) == ratio_estimate(values, values, seed=3)


def test_the_half_width_is_relative_to_the_median() -> None:
    assert Estimate(10.0, (9.0, 11.0)).relative_half_width == pytest.approx(0.1)
    assert Estimate(100.0, (99.0, 101.0)).relative_half_width == pytest.approx(0.01)


Interval = Callable[[Sequence[float]], tuple[float, float]]


def by_bootstrap(values: Sequence[float]) -> tuple[float, float]:
    estimate = median_estimate(values, seed=7, resamples=300)
    assert estimate is not None
    assert estimate.interval is not None
    return estimate.interval


def of_one_standard_error(values: Sequence[float]) -> tuple[float, float]:
    """What many tables show as an error bar, and many readers take for this interval."""
    error = float(np.std(values) / np.sqrt(len(values)))
    return float(np.median(values)) - error, float(np.median(values)) + error


def coverage(interval: Interval, count: int, trials: int = 400) -> float:
    generator = np.random.default_rng(11)
    truth = 1 + float(np.exp(-3))
    covered = 0
    for _ in range(trials):
        low, high = interval(drawn(generator, count))
        covered += low <= truth <= high
    return covered / trials


@pytest.mark.takes_seconds
@pytest.mark.parametrize("count", [5, 10, 25])
def test_intervals_cover_the_true_median_nearly_as_often_as_they_promise(count: int) -> None:
    # A bootstrap of so few values promises a little too much: docs/statistics.md says how much.
    assert 0.89 <= coverage(by_bootstrap, count) <= 0.98


def test_an_interval_that_promises_too_much_is_noticed() -> None:
    assert coverage(of_one_standard_error, 10) < 0.85


# Differences


@given(first=SEVERAL_TIMES, second=SEVERAL_TIMES)
def test_the_test_is_the_same_from_both_sides(first: list[float], second: list[float]) -> None:
    one, other = difference(first, second), difference(second, first)
    assert one is not None
    assert other is not None
    assert one.p == pytest.approx(other.p)
    assert one.superiority + other.superiority == pytest.approx(1)


@given(values=SEVERAL_TIMES)
def test_a_sample_does_not_differ_from_itself(values: list[float]) -> None:
    found = difference(values, values)
    assert found is not None
    assert found.p > 0.9
    assert found.superiority == 0.5


def test_a_shifted_sample_is_found() -> None:
    generator = np.random.default_rng(3)
    slower = difference(drawn(generator, 10, shift=0.2), drawn(generator, 10))
    assert slower is not None
    assert slower.p < 0.001
    assert slower.superiority > 0.95


def test_three_runs_can_find_nothing_and_it_is_known() -> None:
    found = difference([9.0, 9.1, 9.2], [1.0, 1.1, 1.2])
    assert found is not None
    assert found.p == found.smallest_p == pytest.approx(0.1)
    five = difference([1.0, 2.0, 3.0, 4.0, 5.0], [6.0, 7.0, 8.0, 9.0, 10.0])
    assert five is not None
    assert five.p == five.smallest_p < SIGNIFICANCE


Test = Callable[[list[float], list[float]], float]


def by_ranks(first: list[float], second: list[float]) -> float:
    found = difference(first, second)
    assert found is not None
    return found.p


def with_every_run_counted_twice(first: list[float], second: list[float]) -> float:
    """As who takes each half of a run for a run of its own."""
    return by_ranks([*first, *first], [*second, *second])


def false_alarms(test: Test, count: int = 10, trials: int = 1_000) -> float:
    generator = np.random.default_rng(13)
    alarms = [
        test(drawn(generator, count), drawn(generator, count)) < SIGNIFICANCE for _ in range(trials)
    ]
    return sum(alarms) / trials


@pytest.mark.takes_seconds
@pytest.mark.parametrize("count", [5, 10, 20])
def test_equal_arms_are_quiet_at_about_the_nominal_rate(count: int) -> None:
    # Of 1,000 comparisons; ranks are whole numbers, so it is somewhat below 5% for few runs.
    assert 0.02 <= false_alarms(by_ranks, count) <= 0.065


@pytest.mark.takes_seconds
def test_a_test_that_cries_wolf_is_noticed() -> None:
    assert false_alarms(with_every_run_counted_twice) > 0.1


# Several comparisons at once


@given(p_values=P_VALUES)
def test_a_correction_raises_p_values_and_keeps_their_order(p_values: list[float]) -> None:
    corrected = holm(p_values)
    assert len(corrected) == len(p_values)
    for p, raised in zip(p_values, corrected, strict=True):
        assert p <= raised <= min(1, p * len(p_values)) or raised == pytest.approx(p)
    by_p = [raised for _, raised in sorted(zip(p_values, corrected, strict=True))]
    assert by_p == sorted(by_p)


def test_the_correction_is_that_of_holm() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.04]) == [0.04]


@pytest.mark.takes_seconds
def test_among_several_equal_arms_a_false_alarm_is_no_more_likely_than_among_two() -> None:
    generator = np.random.default_rng(17)
    alarms = {"corrected": 0, "as they are": 0}
    for _ in range(400):
        baseline = drawn(generator, 10)
        p_values = [by_ranks(drawn(generator, 10), baseline) for _ in range(5)]
        alarms["as they are"] += min(p_values) < SIGNIFICANCE
        alarms["corrected"] += min(holm(p_values)) < SIGNIFICANCE
    assert alarms["corrected"] / 400 <= 0.065
    assert alarms["as they are"] / 400 > 0.1


# Outliers and drift


def test_the_run_that_a_backup_disturbed_is_an_outlier() -> None:
    assert outliers([1.0, 1.1, 0.9, 1.05, 9.0, 0.95]) == [4]
    assert outliers([1.0, 1.1, 0.9, 1.05, 1.02, 0.95]) == []


def test_outliers_are_found_where_most_values_are_one_and_none_where_all_are() -> None:
    assert outliers([1.0] * 8 + [2.0]) == [8]
    assert outliers([1.0] * 8) == []
    assert outliers([]) == []
    assert outliers([1.0, 1.0, 1.0, 9.0]) == []  # too few to know how they scatter


@given(values=SEVERAL_TIMES, unit=st.sampled_from([2.0, 0.25, 1_024.0]))
def test_outliers_do_not_depend_on_the_unit(values: list[float], unit: float) -> None:
    assert outliers([value * unit for value in values]) == outliers(values)


def test_a_machine_that_slows_down_is_seen_to_drift() -> None:
    generator = np.random.default_rng(19)
    found = drift([1 + 0.02 * number + noise for number, noise in enumerate(generator.random(15))])
    assert found is None  # hidden in the noise
    found = drift([1 + 0.2 * number + noise for number, noise in enumerate(generator.random(15))])
    assert found is not None
    assert found.tau > 0
    found = drift([9.0, 8.0, 7.0, 6.0, 5.0, 4.0, 3.0])
    assert found is not None
    assert found.tau == -1


def test_runs_in_no_order_drift_about_as_seldom_as_promised() -> None:
    generator = np.random.default_rng(23)
    drifts = sum(drift(drawn(generator, 10)) is not None for _ in range(1_000))
    assert drifts <= 20


def test_one_value_has_no_drift() -> None:
    assert drift([]) is None
    assert drift([1.0]) is None
    assert drift([1.0] * 9) is None


# Ties


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ([2.0] * 3, [1.0] * 3),
        ([0.0] * 2, [1.0] * 5),
        ([4.0, 3.0, 4.0], [1.0, 2.0, 3.0, 1.0, 2.0]),
        ([1.0], [1.0]),
    ],
)
def test_ties_make_no_p_smaller_than_so_many_runs_can_give(
    first: list[float], second: list[float]
) -> None:
    for found in (difference(first, second), difference(second, first)):
        assert found is not None
        assert found.p >= found.smallest_p


def test_ties_among_many_runs_are_as_far_apart_as_they_are() -> None:
    """Of more than are dealt out exactly the normal approximation is as good."""
    few, many = (difference([1.0, 2.0, 3.0] * n, [1.0, 3.0, 3.0] * n) for n in (6, 7))
    assert few is not None
    assert many is not None
    assert many.p == pytest.approx(few.p, rel=0.25)
    apart = difference([1.0] * 25, [2.0] * 25)
    assert apart is not None
    assert apart.p < 1e-10
