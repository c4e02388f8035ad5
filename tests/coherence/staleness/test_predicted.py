"""The curves that predictions draw, and whether measured ones meet them: simulated samples."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from osxfs_sim.coherence.staleness.predicted import band_of_reads, departure_ns, predicted_band
from osxfs_sim.coherence.staleness.predictions import (
    AtOnce,
    Mixture,
    NotSeen,
    Outlook,
    PredictedTimeouts,
    Prediction,
    PredictionTest,
    StalenessSample,
    Uniform,
    View,
    Within,
    WriteBackDelay,
    compare,
    outlook,
    outlook_to_host,
    with_losses,
)
from osxfs_sim.model.caching import Cached
from osxfs_sim.model.events import NO_EVENTS, EventSpec, NotifySpec, StreamSpec
from osxfs_sim.model.write_back import WriteBackSpec

MS, S = 10**6, 10**9
LOOK_NS = 100_000
STREAM = EventSpec(StreamSpec(10 * MS), NotifySpec())


def at(prediction: Prediction, *times_ms: float, phase_ns: int = 20 * MS) -> list[tuple]:
    band = predicted_band(prediction, phase_ns, np.array(times_ms) * MS)
    return [(round(low, 3), round(high, 3)) for low, high in zip(band.low, band.high, strict=True)]


def samples(changed_ns) -> list[StalenessSample]:
    """Seen by looks that last LOOK_NS and follow each other."""
    found = []
    for each in np.maximum(np.asarray(changed_ns, dtype=float), 0):
        before = round(each - each % LOOK_NS)
        stale = int(each > 0)
        seen = before + LOOK_NS if stale else 0
        found.append(StalenessSample(0, stale, before, seen, seen + LOOK_NS))
    return found


def unseen(number: int, after_ns: int = 2 * S) -> list[StalenessSample]:
    return [StalenessSample(0, 9, after_ns) for _ in range(number)]


# Curves


def test_a_lifetime_declines_in_a_straight_line() -> None:
    assert at(Uniform(0, 100 * MS), 0, 25, 100, 200) == [(1, 1), (0.75, 0.75), (0, 0), (0, 0)]
    # Met in its last part only, it is sure to last until then.
    assert at(Uniform(80 * MS, 100 * MS), 40, 90, 101) == [(1, 1), (0.5, 0.5), (0, 0)]
    # And the ticks of the kernel.
    assert at(Uniform(0, 100 * MS, 0, 10 * MS), 50, 105) == [(0.5, 0.6), (0, 0.05)]


def test_at_once_is_never_stale_and_not_seen_is_always() -> None:
    assert at(AtOnce(), 0, 1) == [(0, 0), (0, 0)]
    assert at(NotSeen("why"), 0, 1_000) == [(1, 1), (1, 1)]


def test_a_window_is_met_by_some_and_ends_for_all() -> None:
    # 10 ms of 20 lie in the window that the last change has opened; 6 ms may be the way.
    assert at(Within(10 * MS), 0, 2, 5, 16) == [(0.2, 1), (0.1, 1), (0, 1), (0, 0)]
    assert at(Within(10 * MS), 11) == [(0, 0.5)]


def test_where_every_event_waits_for_the_end_of_a_window_all_changes_do() -> None:
    assert at(Within(10 * MS, deferred=True), 9, 12, 17) == [(1, 1), (0, 1), (0, 0)]


def test_what_is_held_is_stale_until_its_age() -> None:
    assert at(WriteBackDelay(200 * MS), 0, 199, 205, 211) == [(1, 1), (1, 1), (0, 1), (0, 0)]


def test_a_mixture_is_the_weighted_sum() -> None:
    mixed = Mixture(((0.75, WriteBackDelay(100 * MS)), (0.25, NotSeen("lost"))))
    assert at(mixed, 50, 200) == [(1, 1), (0.25, 0.25)]
    assert str(mixed) == "75% held for 100ms; 25% not seen: lost"
    with pytest.raises(AssertionError):
        Mixture(((0.5, AtOnce()),))


simple = st.one_of(
    st.just(AtOnce()),
    st.just(NotSeen("why")),
    st.builds(WriteBackDelay, st.integers(0, 10 * S)),
    st.builds(Within, st.integers(0, S), st.booleans()),
    st.builds(
        lambda low, width, longer, more: Uniform(low, low + width, longer, longer + more),
        *(st.integers(0, S), st.integers(1, S), st.integers(0, 10 * MS), st.integers(0, 10 * MS)),
    ),
)
predictions = st.one_of(
    simple,
    st.builds(lambda p, a, b: Mixture(((p, a), (1 - p, b))), st.floats(0, 1), simple, simple),
)


@example(Within(12_500_002), 1, [6_250_001])
@given(predictions, st.integers(1, S), st.lists(st.integers(0, 20 * S), min_size=1))
def test_every_curve_is_a_bracket_of_probabilities_that_only_fall(
    prediction: Prediction, phase_ns: int, times: list[int]
) -> None:
    band = predicted_band(prediction, phase_ns, np.array(sorted(times), dtype=float))
    assert np.all(band.low <= band.high + 1e-12)
    for edge in (band.low, band.high):
        assert np.all((edge >= 0) & (edge <= 1 + 1e-12))
        assert np.all(np.diff(edge) <= 1e-12)


# What to expect


def test_without_write_back_the_host_sees_a_change_at_once() -> None:
    assert outlook_to_host(None).prediction == AtOnce()


def test_with_it_when_it_is_as_old_as_it_may_be_and_that_is_waited_for() -> None:
    planned = outlook_to_host(WriteBackSpec())
    assert planned.prediction == WriteBackDelay(5 * S)
    assert planned.patience_ns == 10 * S
    assert outlook_to_host(WriteBackSpec(age_ns=MS)).patience_ns == 2 * S
    assert outlook_to_host(WriteBackSpec(age_ns=MS).dilated(3)).prediction == WriteBackDelay(3 * MS)


def planned_with_losses(cache_timeout_ns: int, view: View = View.ATTRIBUTES) -> Outlook:
    timeouts = PredictedTimeouts.by(Cached(cache_timeout_ns), 0)
    return with_losses(outlook(view, timeouts, STREAM), outlook(view, timeouts, NO_EVENTS), 0.2)


def test_a_loss_changes_nothing_of_what_is_expected_since_none_is_silent() -> None:
    planned = planned_with_losses(86_400 * S)
    assert planned.prediction == Within(10 * MS)
    assert planned.if_silent == Mixture(((0.8, Within(10 * MS)), (0.2, NotSeen("cached for 24h"))))


def test_a_silent_loss_would_last_for_the_rest_of_the_lifetime() -> None:
    # The change comes within 20 ms of a look, so early in the lifetime.
    silent = planned_with_losses(S).if_silent
    assert silent == Mixture(((0.8, Within(10 * MS)), (0.2, Uniform(980 * MS, S, 0, 1))))


def test_what_no_event_ends_suffers_no_loss() -> None:
    assert planned_with_losses(0).if_silent is None
    assert planned_with_losses(5 * MS).if_silent is None  # ends before any event would come


def test_a_stream_that_defers_is_told_apart() -> None:
    deferring = EventSpec(StreamSpec(10 * MS, no_defer=False), NotifySpec())
    timeouts = PredictedTimeouts.by(Cached(S), 0)
    assert outlook(View.HANDLE, timeouts, deferring).prediction == Within(10 * MS, deferred=True)


# Measured curves against these


def drawn(seed: int, number: int = 60) -> "np.ndarray":
    return np.random.default_rng(seed).uniform(0, 100 * MS, number)


HONEST = {
    "lifetime": (Uniform(0, 100 * MS), samples(drawn(1))),
    "held": (WriteBackDelay(100 * MS), samples(100 * MS + drawn(1) / 50)),
    "window": (Within(10 * MS), samples(np.where(drawn(1) < 50 * MS, drawn(1) / 5, 0) + MS)),
    "once": (AtOnce(), samples(np.zeros(60))),
    "never": (NotSeen("why"), unseen(60)),
}


@pytest.mark.parametrize("kind", HONEST)
def test_honest_samples_meet_their_curve(kind: str) -> None:
    prediction, measured = HONEST[kind]
    assert departure_ns(prediction, 20 * MS, measured) is None


@pytest.mark.parametrize("other", HONEST)
@pytest.mark.parametrize("kind", HONEST)
def test_and_no_other(kind: str, other: str) -> None:
    if kind != other and {kind, other} != {"once", "window"}:
        assert departure_ns(HONEST[kind][0], 20 * MS, HONEST[other][1]) is not None
    elif kind == "once" and other == "window":
        assert departure_ns(AtOnce(), 20 * MS, HONEST["window"][1]) is not None


def test_honest_lifetimes_depart_in_one_measurement_of_twenty_at_the_most() -> None:
    departed = sum(
        departure_ns(Uniform(0, 100 * MS), 100 * MS, samples(drawn(seed))) is not None
        for seed in range(200)
    )
    assert departed <= 16


@pytest.mark.parametrize("factor", [0.6, 1.4])
def test_a_lifetime_of_another_length_departs(factor: float) -> None:
    measured = samples(factor * drawn(1, 100))
    assert departure_ns(Uniform(0, 100 * MS), 100 * MS, measured) is not None


def test_silent_losses_are_told_from_losses_that_are_told() -> None:
    """The point of drawing both: a cache that hears of no loss stays stale for good."""
    planned = planned_with_losses(86_400 * S)
    assert planned.if_silent is not None
    told = samples(drawn(1, 100) / 10 + MS)
    silent = [*told[:80], *unseen(20)]
    assert departure_ns(Within(10 * MS), 20 * MS, told) is None
    assert departure_ns(planned.if_silent, 20 * MS, told) is not None
    assert departure_ns(Within(10 * MS), 20 * MS, silent) is not None
    assert departure_ns(planned.if_silent, 20 * MS, silent) is None


def test_a_look_may_get_an_answer_that_changes_while_it_waits() -> None:
    held, times_ns = WriteBackDelay(100 * MS), 100 * MS - LOOK_NS + np.array([-1.0, 1.0])
    assert list(band_of_reads(held, 1, samples([5 * MS]), times_ns).low) == [1, 0]
    assert list(band_of_reads(held, 1, unseen(3), times_ns).low) == [1, 1]


def stalled(sample: StalenessSample, read_from_ns: int) -> StalenessSample:
    return replace(sample, upper_ns=sample.seen_ns + read_from_ns)


def test_one_look_that_was_stalled_hides_no_other() -> None:
    """All are seen in half the age. One look of a hundred took as long as that age."""
    measured = samples(50 * MS + drawn(1, 100) / 50)
    measured[7] = stalled(measured[7], 100 * MS)
    assert departure_ns(WriteBackDelay(100 * MS), 20 * MS, measured) is not None


def test_nor_is_it_itself_too_early() -> None:
    measured = samples(100 * MS + drawn(1, 100) / 50)
    measured[7] = stalled(replace(measured[7], lower_ns=0, seen_ns=1), 100 * MS)
    assert departure_ns(WriteBackDelay(100 * MS), 20 * MS, measured) is None


# Held, in numbers


def test_held_back_too_briefly_or_too_long_differs() -> None:
    on_time = samples(np.full(50, 102 * MS))
    assert compare(WriteBackDelay(100 * MS), on_time) == PredictionTest(True, "50/50 in 110ms")
    early = compare(WriteBackDelay(100 * MS), [*on_time, *samples([90 * MS])])
    assert early == PredictionTest(False, "51/51 in 110ms, 1 early")
    assert not compare(WriteBackDelay(100 * MS), samples(np.full(50, 150 * MS))).agrees
    assert not compare(WriteBackDelay(100 * MS), unseen(5)).agrees
    assert not compare(WriteBackDelay(100 * MS), samples(np.zeros(50))).agrees
