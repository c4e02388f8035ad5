"""How stale a view may be, and whether samples agree: no share, no clock."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from osxfs_sim.coherence.staleness.predictions import (
    AtOnce,
    NotSeen,
    PredictedTimeouts,
    PredictionTest,
    StalenessSample,
    Uniform,
    View,
    Within,
    compare,
    critical_distance,
    distance_from_uniform,
    outlook,
)
from osxfs_sim.model.caching import Cached, CachePolicy, Consistent, Dilated, Negative
from osxfs_sim.model.events import NO_EVENTS, EventSpec, NotifySpec, StreamSpec

MS, S, H = 10**6, 10**9, 3_600 * 10**9
CACHED = PredictedTimeouts.by(Cached(100 * MS), 0)
STREAM = EventSpec(StreamSpec(10 * MS), NotifySpec())


def samples(staleness_ns, *, read_ns: int = 0) -> list[StalenessSample]:
    """Samples known to the width of a look."""
    return [
        StalenessSample(0, 1, max(0, round(each) - read_ns), round(each), round(each) + read_ns)
        for each in staleness_ns
    ]


def unseen(number: int, after_ns: int = 2 * S) -> list[StalenessSample]:
    return [StalenessSample(0, 9, after_ns) for _ in range(number)]


# Predictions


def test_what_is_not_cached_is_seen_at_once() -> None:
    timeouts = PredictedTimeouts.by(Consistent(), 0)
    for view in View:
        if view is not View.MAPPING:
            assert outlook(view, timeouts, NO_EVENTS).prediction == AtOnce()


def test_what_is_cached_is_stale_for_the_rest_of_its_timeout() -> None:
    predicted = {view: outlook(view, CACHED, NO_EVENTS).prediction for view in View}
    stale = Uniform(0, 100 * MS, 0, 1)
    assert predicted == {
        View.EXISTENCE: AtOnce(),  # negative entries are not cached
        View.ABSENCE: stale,
        View.ATTRIBUTES: stale,
        View.CONTENT: stale,
        View.LISTING: AtOnce(),
        View.HANDLE: stale,
        View.MAPPING: NotSeen("no request"),
    }


def test_a_missing_name_has_a_lifetime_of_its_own() -> None:
    timeouts = PredictedTimeouts.by(Negative(100 * MS, 40 * MS), 0)
    assert outlook(View.EXISTENCE, timeouts, NO_EVENTS).prediction == Uniform(0, 40 * MS, 0, 1)


def test_content_that_an_open_drops_is_never_stale() -> None:
    class Reopened(Cached):
        def keep_pages(self, status, now_ns):
            return False

    timeouts = PredictedTimeouts.by(Reopened(100 * MS), 0)
    assert outlook(View.CONTENT, timeouts, NO_EVENTS).prediction == AtOnce()
    assert outlook(View.HANDLE, timeouts, NO_EVENTS).prediction == Uniform(0, 100 * MS, 0, 1)


def test_dilation_makes_what_is_cached_last_longer() -> None:
    assert PredictedTimeouts.by(Dilated(Cached(100 * MS), 3.0), 0).entry_timeout_ns == 300 * MS


def test_with_a_stream_an_event_invalidates_what_is_cached_longer() -> None:
    for view in (View.ABSENCE, View.CONTENT, View.MAPPING):
        assert outlook(view, CACHED, STREAM).prediction == Within(10 * MS)
    # What would end before the event comes still ends by itself.
    brief = PredictedTimeouts.by(Cached(5 * MS), 0)
    assert outlook(View.ABSENCE, brief, STREAM).prediction == Uniform(0, 5 * MS, 0, 1)
    assert outlook(View.EXISTENCE, brief, STREAM).prediction == AtOnce()


def test_a_lifetime_is_rounded_up_to_ticks_and_ends_within_the_one_after() -> None:
    timeouts = PredictedTimeouts.by(Cached(30 * MS), 0)
    predicted = outlook(View.HANDLE, timeouts, NO_EVENTS, tick_ns=4 * MS).prediction
    assert predicted == Uniform(0, 30 * MS, 2 * MS, 6 * MS)
    whole = outlook(View.HANDLE, CACHED, NO_EVENTS, tick_ns=4 * MS).prediction
    assert whole == Uniform(0, 100 * MS, 0, 4 * MS)


def test_a_change_comes_anywhere_in_a_lifetime_and_is_waited_for() -> None:
    planned = outlook(View.ABSENCE, CACHED, NO_EVENTS)
    assert (planned.phase_ns, planned.patience_ns) == (100 * MS, 2 * S)
    long = outlook(View.ABSENCE, PredictedTimeouts.by(Cached(10 * S), 0), NO_EVENTS)
    assert (long.phase_ns, long.patience_ns) == (10 * S, 20 * S)


def test_a_lifetime_that_nobody_waits_for_is_predicted_not_to_end() -> None:
    hour = outlook(View.ABSENCE, PredictedTimeouts.by(Cached(H), 0), NO_EVENTS)
    assert hour.prediction == NotSeen("cached for 1h")
    assert hour.patience_ns == 2 * S
    # Of one that may end, the part that is met is predicted.
    half = outlook(
        View.ABSENCE, PredictedTimeouts.by(Cached(3 * S), 0), NO_EVENTS, patience_ns=2 * S
    )
    assert half.prediction == Uniform(1 * S, 3 * S, 0, 1)


def test_of_a_policy_of_ones_own_nothing_is_predicted() -> None:
    assert outlook(View.ABSENCE, None, NO_EVENTS).prediction is None
    assert PredictedTimeouts.by(CachePolicy(), 0) == PredictedTimeouts()


# Comparisons

UNIFORM = Uniform(0, 100 * MS)


def uniformly(number: int, seed: int) -> "np.ndarray":
    return np.random.default_rng(seed).uniform(0, 100 * MS, number)


def test_uniform_samples_agree_but_for_one_set_in_a_hundred() -> None:
    agreeing = sum(compare(UNIFORM, samples(uniformly(100, seed))).agrees for seed in range(1_000))
    assert 980 <= agreeing < 1_000


@pytest.mark.parametrize(
    "staleness_ns",
    [
        np.zeros(100),  # never stale
        np.full(100, 100 * MS),  # always for the whole lifetime
        np.random.default_rng(1).uniform(0, 50 * MS, 100),  # half the lifetime
        np.random.default_rng(1).uniform(0, 200 * MS, 100),  # twice
        np.random.default_rng(1).exponential(50 * MS, 100),  # the same mean
        np.random.default_rng(1).normal(50 * MS, 10 * MS, 100),
    ],
)
@pytest.mark.parametrize("read_ns", [0, MS])
def test_other_samples_differ(staleness_ns, read_ns: int) -> None:
    comparison = compare(UNIFORM, samples(staleness_ns, read_ns=read_ns))
    assert not comparison.agrees
    assert comparison.text.startswith("D ")
    assert comparison.distance > comparison.critical


def test_changes_that_were_not_seen_are_no_short_ones() -> None:
    seen = samples(uniformly(80, 1))
    assert not compare(UNIFORM, seen + unseen(40)).agrees
    assert not compare(UNIFORM, unseen(5)).agrees


def test_the_rest_of_a_lifetime_longer_than_the_patience_agrees_unseen() -> None:
    # Uniform from 1 s to 3 s, and waited for 2 s.
    staleness_ns = np.random.default_rng(1).uniform(1 * S, 3 * S, 100)
    seen = samples(staleness_ns[staleness_ns < 2 * S])
    assert compare(Uniform(1 * S, 3 * S), seen + unseen(100 - len(seen))).agrees


def test_ticks_that_a_lifetime_is_longer_by_are_taken_off() -> None:
    late = samples(uniformly(400, 1) + 20 * MS)
    assert not compare(UNIFORM, late).agrees
    assert compare(dataclasses.replace(UNIFORM, longer_ns=20 * MS, longest_ns=20 * MS), late).agrees
    assert compare(dataclasses.replace(UNIFORM, longer_ns=18 * MS, longest_ns=22 * MS), late).agrees


def test_the_distance_is_the_one_of_kolmogorov_and_smirnov() -> None:
    values = np.array([0.1, 0.2, 0.9])
    # Above 0.2 two thirds of the samples lie below, of the uniform one fifth.
    assert distance_from_uniform(values, values, 0, 1) == pytest.approx(2 / 3 - 0.2)
    exact = (np.arange(10) + 0.5) / 10
    assert distance_from_uniform(exact, exact, 0, 1) == pytest.approx(0.05)
    # The table of the statistic (Massey, 1951) has 0.163 for a hundred samples at 1 %.
    assert critical_distance(100) == pytest.approx(0.161, abs=0.002)


@given(
    st.lists(st.tuples(st.floats(0, 2), st.floats(0, 0.5)), min_size=1, max_size=30),
    st.data(),
)
def test_no_samples_within_the_bounds_are_nearer_than_the_distance(pairs, data) -> None:
    lower = np.array([low for low, _ in pairs])
    upper = np.array([low + width for low, width in pairs])
    least = distance_from_uniform(lower, upper, 0, 1)
    inside = np.array([low + width * data.draw(st.floats(0, 1)) for low, width in pairs])
    assert least <= distance_from_uniform(inside, inside, 0, 1) + 1e-9


def test_at_once_means_that_no_look_showed_the_old_state() -> None:
    fresh = [StalenessSample(0, 0, 0, 5, 100)] * 9
    assert compare(AtOnce(), fresh) == PredictionTest(True, "0/9 stale")
    late = compare(AtOnce(), [*fresh, StalenessSample(0, 1, 50, 60, 90)])
    assert late == PredictionTest(False, "1/10 stale")
    assert not compare(AtOnce(), unseen(3)).agrees


def test_within_a_window_most_must_come() -> None:
    assert compare(Within(10 * MS), samples([9 * MS] * 95 + [90 * MS] * 5)).agrees
    assert not compare(Within(10 * MS), samples([9 * MS] * 80 + [90 * MS] * 20)).agrees
    assert not compare(Within(10 * MS), samples([9 * MS] * 80) + unseen(20)).agrees


def test_what_is_not_to_be_seen_must_not_be_seen() -> None:
    assert compare(NotSeen("why"), unseen(5)).agrees
    assert not compare(NotSeen("why"), [*unseen(4), *samples([S])]).agrees
