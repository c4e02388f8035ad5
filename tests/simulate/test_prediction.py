"""What a recording comes to on several systems, beside native and the one-line model."""

import dataclasses

import pytest
from support.recordings import (
    CACHED,
    TICK_NS,
    asked,
    found,
    latency,
    missed,
    recording,
    system,
)

from osxfs_sim.model.latency import LatencySpec, LogNormal
from osxfs_sim.report.predictions import notes, prediction_table
from osxfs_sim.simulate.dependencies import Dependencies
from osxfs_sim.simulate.prediction import Prediction, native_of, predict_systems
from osxfs_sim.simulate.recording import Recording
from osxfs_sim.simulate.share import System


def recorded(**notes: object) -> Recording:
    """Ten looks for one name, 10 ns of computing before each, and a FORGET."""
    return recording(*[missed(b"a")] * 10, asked("FORGET", 2), header={"notes": notes})


def predict(of: Recording, *systems: System, seeds: tuple[int, ...] = (1,)) -> Prediction:
    return predict_systems(of, systems, seeds=seeds, tick_ns=TICK_NS)


SLOW = system(latency=latency(1_000))
SLOW_CACHED = system(CACHED, latency=latency(1_000))


def test_an_arm_says_what_crosses_and_what_does_not() -> None:
    every, kept = predict(recorded(), SLOW, SLOW_CACHED).arms
    assert (every.requests, every.missing_lookups) == ({"FORGET": 1, "LOOKUP": 10}, 10)
    assert (kept.requests, kept.missing_lookups) == ({"FORGET": 1, "LOOKUP": 1}, 1)
    assert (every.hits, kept.hits, every.names) == (0, 9, 0)
    assert (every.crossings, kept.crossings) == (11, 2)


def test_the_one_line_model_is_native_and_each_awaited_request_in_turn() -> None:
    made = predict(recorded(native_wall_ns=[50, 70, 60]), SLOW, SLOW_CACHED)
    assert made.native_ns == 60
    assert [arm.one_line_ns for arm in made.arms] == [60 + 10 * 1_000, 60 + 1_000]


def test_without_native_runs_the_recorded_time_stands_for_them() -> None:
    made = predict(recorded(), SLOW)
    assert (made.native_ns, made.think_scale) == (None, 1.0)
    assert made.arms[0].one_line_ns == made.recorded_ns + 10 * 1_000
    assert "no native runs are in the recording" in notes(made)[1]


@pytest.mark.parametrize("native_ns", [55, 110, 220])
def test_think_times_are_scaled_so_that_a_free_share_takes_the_native_time(native_ns: int) -> None:
    made = predict(recorded(native_wall_ns=[native_ns]), system(), SLOW)
    # 11 think times of 10 ns, the one before FORGET among them.
    assert made.think_scale == pytest.approx(native_ns / 110)
    assert [arm.wall_ns for arm in made.arms] == [native_ns, native_ns + 10 * 1_000]
    assert f"count {native_ns / 110:.2f} times" in notes(made)[1]


@pytest.mark.parametrize("said", [None, [], "2 s", [1.5], [True]])
def test_native_runs_that_are_no_numbers_are_none(said: object) -> None:
    assert native_of(recorded(native_wall_ns=said)) is None


def test_seeds_spread_what_is_drawn_and_nothing_else() -> None:
    drawn = system(latency=LatencySpec((1_000,) * 5, distribution=LogNormal(0.5)))
    made = predict(recorded(), drawn, SLOW, seeds=tuple(range(9)))
    spread, fixed = made.arms
    assert spread.lowest_ns < spread.wall_ns < spread.highest_ns
    assert fixed.lowest_ns == fixed.wall_ns == fixed.highest_ns
    assert made == predict(recorded(), drawn, SLOW, seeds=tuple(range(9)))


def test_a_prediction_says_what_it_was_made_from() -> None:
    made = predict(recorded(native_wall_ns=[60]), SLOW)
    assert made.questions == 11
    assert made.dependencies is Dependencies.OBJECTS
    assert notes(made)[0].startswith("from 11 requests of a run of ")
    assert notes(made)[0].endswith("waits for what: by objects")


def test_the_table_has_a_line_for_each_arm_and_a_spread_where_there_is_one() -> None:
    made = predict(recorded(native_wall_ns=[60]), SLOW, SLOW_CACHED)
    table = prediction_table(made)
    assert [row[0] for row in table.rows] == ["native, measured", "arm", "arm"]
    assert not {"from", "to", "names"} & set(table.columns)
    drawn = dataclasses.replace(made.arms[0], lowest_ns=1)
    with_spread = prediction_table(dataclasses.replace(made, arms=(drawn,)))
    assert {"from", "to"} <= set(with_spread.columns)


def test_a_recording_of_nothing_is_predicted_too() -> None:
    made = predict(recording(header={"notes": {"native_wall_ns": [60]}}), SLOW)
    assert made.think_scale == 1.0
    assert made.arms[0].crossings == 0


def test_hits_are_counted_for_what_was_found() -> None:
    (arm,) = predict(recording(*[found(b"a", 2)] * 3), SLOW_CACHED).arms
    assert (arm.hits, arm.missing_lookups) == (2, 0)
