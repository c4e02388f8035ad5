"""Staleness measured: on a plain directory, where nothing is stale, and on shares."""

import os
from pathlib import Path
from random import Random

import pytest
from support.guests import eventually

from osxfs_sim.coherence.staleness.measure import ViewResult, kernel_tick_ns, measure_views
from osxfs_sim.coherence.staleness.predictions import (
    AtOnce,
    Direction,
    NotSeen,
    Outlook,
    PredictedTimeouts,
    Uniform,
    View,
    Within,
    WriteBackDelay,
    outlook,
    outlook_to_host,
)
from osxfs_sim.coherence.staleness.views import VIEWS
from osxfs_sim.model.caching import Cached, Negative
from osxfs_sim.model.events import NO_EVENTS, EventSpec, NotifySpec, StreamSpec

pytestmark = pytest.mark.starts_processes

MS, S = 10**6, 10**9
TIMES = 8


def say_nothing(text: str) -> None:
    del text


def measure(
    host: Path,
    guest: Path,
    outlooks: dict[View, Outlook],
    number: int = TIMES,
    direction: Direction = Direction.TO_GUEST,
) -> dict[View, ViewResult]:
    results = measure_views(
        *(host, guest, outlooks, number, 50 * MS, Random(1), say_nothing), direction
    )
    return {result.view: result for result in results}


def test_every_view_can_be_looked_at() -> None:
    assert set(VIEWS) == set(View)


def test_on_a_plain_directory_every_view_is_fresh(field: Path) -> None:
    planned = {view: Outlook(AtOnce(), 0, S) for view in View}
    for result in measure(field, field, planned).values():
        assert result.comparison.agrees, result
        assert len(result.samples) == TIMES
        for sample in result.samples:
            assert sample.stale_reads == sample.lower_ns == 0
            assert 0 <= sample.seen_ns <= sample.upper_ns


def test_what_is_fresh_is_not_what_a_cache_predicts(field: Path) -> None:
    planned = {View.ABSENCE: Outlook(Uniform(0, S), 0, S), View.MAPPING: Outlook(NotSeen(""), 0, S)}
    for result in measure(field, field, planned).values():
        assert not result.comparison.agrees, result


def test_a_view_that_never_shows_the_change_is_given_up(field: Path) -> None:
    (field / "host").mkdir()
    (field / "guest" / "existence").mkdir(parents=True)
    planned = {View.EXISTENCE: Outlook(None, 0, MS)}
    result = measure(field / "host", field / "guest", planned)[View.EXISTENCE]
    assert len(result.samples) == 5
    assert result.comparison is None
    for sample in result.samples:
        assert sample.seen_ns is None
        assert sample.upper_ns is None
        assert sample.stale_reads > 0


def test_consistent_shows_every_change_at_once(share) -> None:
    live = share(profile="none")
    planned = {
        view: outlook(view, PredictedTimeouts(), NO_EVENTS)
        for view in View
        if view is not View.MAPPING
    }
    for result in measure(live.source, live.guest, planned).values():
        assert result.comparison.agrees, result


def test_cached_shows_the_old_state_until_its_lifetime_ends(share) -> None:
    """Seen at all, and later than the rest of the lifetime; how much later is not for a test."""
    cache_timeout_ns = 40 * MS
    live = share(
        profile="osxfs-negative",
        latency_ns=0,
        cache_timeout_ns=cache_timeout_ns,
        negative_timeout_ns=cache_timeout_ns,
        host_events="none",
    )
    timeouts = PredictedTimeouts.by(Negative(cache_timeout_ns, cache_timeout_ns), 0)
    stale = (View.EXISTENCE, View.ABSENCE, View.ATTRIBUTES, View.CONTENT, View.HANDLE)
    planned = {
        # Early in the lifetime, so that a busy machine does not meet it at its end.
        view: Outlook(outlook(view, timeouts, NO_EVENTS).prediction, cache_timeout_ns // 4, 60 * S)
        for view in (*stale, View.LISTING)
    }
    results = measure(live.source, live.guest, planned)
    for view in stale:
        assert any(sample.stale_reads for sample in results[view].samples), results[view]
        assert all(sample.seen_ns is not None for sample in results[view].samples)
    assert results[View.LISTING].comparison.agrees


def test_a_mapping_is_not_fresh_before_somebody_asks(share) -> None:
    live = share(profile="osxfs-cached", latency_ns=0, host_events="none")
    planned = {View.MAPPING: Outlook(NotSeen("no request"), 0, 20 * MS)}
    assert measure(live.source, live.guest, planned)[View.MAPPING].comparison.agrees


def test_host_events_invalidate_what_would_be_cached_for_a_day(share) -> None:
    live = share(profile="osxfs-cached", latency_ns=0)
    timeouts = PredictedTimeouts.by(Cached(86_400 * S), 0)
    events = EventSpec(StreamSpec(10 * MS), NotifySpec())
    planned = {view: outlook(view, timeouts, events, patience_ns=60 * S) for view in View}
    assert planned[View.HANDLE].prediction == Within(10 * MS)
    for result in measure(live.source, live.guest, planned).values():
        assert all(sample.seen_ns is not None for sample in result.samples), result


# The other way


def test_the_host_sees_at_once_what_the_guest_has_changed(share) -> None:
    live = share(profile="osxfs-cached", latency_ns=0)
    planned = {view: outlook_to_host(None) for view in View}
    results = measure(live.source, live.guest, planned, 4, Direction.TO_HOST)
    assert set(results) == set(View)
    for result in results.values():
        assert result.direction is Direction.TO_HOST
        assert result.comparison.agrees, result


def test_the_host_does_not_see_what_is_held_before_its_age(share) -> None:
    """Seen at last, and in no view before its time; how much later is not for a test."""
    age_ns = 60 * MS
    live = share(profile="osxfs-delegated", latency_ns=0, write_back_age_ns=age_ns)
    unseen = set(View)

    def every_view_has_shown_the_old_state() -> bool:
        planned = {view: Outlook(WriteBackDelay(age_ns), MS, 60 * S) for view in unseen}
        results = measure(live.source, live.guest, planned, 3, Direction.TO_HOST)
        for view, result in results.items():
            for sample in result.samples:
                assert sample.upper_ns is not None
                assert sample.upper_ns >= age_ns, result
            # On a busy machine a first look may come when it is written back already.
            if any(sample.stale_reads for sample in result.samples):
                unseen.discard(view)
        return not unseen

    eventually(every_view_has_shown_the_old_state)


def test_write_through_is_no_write_back(share) -> None:
    """The checker is shown a share that holds nothing back."""
    live = share(profile="osxfs-cached", latency_ns=0)
    planned = {View.CONTENT: Outlook(WriteBackDelay(60 * MS), MS, S)}
    found = measure(live.source, live.guest, planned, 3, Direction.TO_HOST)[View.CONTENT]
    assert found.comparison.text.endswith("3 early")
    assert not found.comparison.agrees


def test_both_directions_are_measured_on_one_share(field: Path) -> None:
    planned = {View.CONTENT: Outlook(AtOnce(), 0, S)}
    for direction in Direction:
        (result,) = measure(field, field, planned, 2, direction).values()
        assert result.direction is direction


# Losses, told and silent


def test_a_lost_event_costs_no_more_than_the_way(share) -> None:
    """All are lost, and what would be cached for a day is seen: the share rescans."""
    live = share(profile="osxfs-cached", latency_ns=0)
    live.share.drop_events(rate=1.0)
    planned = {view: Outlook(Within(10 * MS), 0, 60 * S) for view in (View.CONTENT, View.ABSENCE)}
    for result in measure(live.source, live.guest, planned, 4).values():
        assert all(sample.seen_ns is not None for sample in result.samples), result
    assert live.status().events.dropped >= 8
    assert live.status().events.rescans >= 1


@pytest.mark.parametrize("seed", [1, 2])
def test_phases_follow_the_seed(field: Path, seed: int) -> None:
    def phases(name: str) -> list[int]:
        os.mkdir(field / name)
        planned = {View.ABSENCE: Outlook(None, 10 * MS, S)}
        (result,) = measure_views(
            field / name, field / name, planned, 3, 0, Random(seed), say_nothing
        )
        return [sample.phase_ns for sample in result.samples]

    first = phases("first")
    assert phases("second") == first
    assert first == [round(Random(seed).random() * 10 * MS), *first[1:]]
    assert len(set(first)) == 3


def test_no_change_is_made_before_the_guest_has_heard_of_what_was_prepared(field: Path) -> None:
    """Else the event of a file's making would be on its way still when the file is changed."""
    contents = []

    def settle() -> None:
        contents.append({path.read_bytes() for path in (field / "content").iterdir()})

    planned = {View.CONTENT: Outlook(None, 0, S)}
    (result,) = measure_views(
        *(field, field, planned, 4, 0, Random(1), say_nothing), Direction.TO_GUEST, settle
    )
    assert len(result.samples) == 4
    (before,) = contents[0]
    assert contents == [{before}]


def test_the_kernels_tick_is_that_of_a_real_kernel() -> None:
    assert 1_000_000 <= kernel_tick_ns() <= 10_000_000
