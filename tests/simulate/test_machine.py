"""What a live run here adds to a system: as its recording says, and nothing that it does not."""

import random

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

from osxfs_sim.model.caching import CachePolicy
from osxfs_sim.simulate.dependencies import Dependencies, order
from osxfs_sim.simulate.machine import Machine, machine_of, scatter_of
from osxfs_sim.simulate.reference import Reference

NOTES = {"server_processor_ns": 1_000, "server_requests": 40}


def test_it_is_what_the_recording_says() -> None:
    told = {"late_missing_ns": 3, "late_found_ns": 4, "hit_ns": 1, "held_ns": 21, "odd": "x"}
    made = recording(
        missed(b"a", took_ns=10),
        missed(b"b", took_ns=20),
        asked("WRITE", 2, size_bytes=3, took_ns=7),
        asked("RELEASE", 2, took_ns=999),  # for which nobody waits
        header={"notes": {**NOTES, "machine": told}, "floor_ns": 9},
    )
    machine = machine_of(made, 2)
    assert machine == Machine(
        2,
        {"LOOKUP": 15, "WRITE": 7},
        9,
        25,
        held_ns=21,
        late_missing_ns=3,
        late_found_ns=4,
        hit_ns=1,
    )


def test_a_server_takes_no_longer_than_its_answer_does() -> None:
    """One that polls occupies a processor all the time, and is not needed all the time."""
    machine = Machine(2, {}, 9, 25)
    assert [machine.server_ns(took_ns) for took_ns in (9, 24, 26)] == [9, 24, 25]


# A run on it, computed by hand

ON_IT = Machine(2, {"LOOKUP": 40}, 9, 5, held_ns=30, late_missing_ns=3, late_found_ns=4, hit_ns=2)
"""Names that exist are asked for twice; thinking takes 10 ns each time."""


@pytest.mark.parametrize(
    ("latency_ns", "policy", "expected_ns"),
    [
        (100, None, 3 * 10 + 103 + 2 * 104),
        (0, None, 3 * 10 + 3 * 40),  # no sooner than it took
        (100, CACHED, 3 * 10 + 103 + 104 + 2),
    ],
)
def test_answers_come_late_and_no_sooner_than_the_server_can(
    latency_ns: int, policy: CachePolicy | None, expected_ns: int
) -> None:
    made = recording(missed(b"a"), found(b"b", 2), found(b"b", 2))
    graph = order(made, Dependencies.THREADS)
    on = system(policy, latency=latency(latency_ns))
    run = Reference(made, graph, on, tick_ns=TICK_NS, seed=1, machine=ON_IT).run()
    assert run.wall_ns == expected_ns


@pytest.mark.parametrize("notes", [{}, {"server_processor_ns": 0, "server_requests": 4}])
def test_a_recording_that_does_not_say_is_not_guessed_for(notes: dict[str, object]) -> None:
    assert machine_of(recording(missed(b"a"), header={"notes": notes}), 2) is None


def test_nine_of_ten_more_runs_are_within_what_the_recorded_ones_scatter_by() -> None:
    draw = random.Random(1)
    inside = 0
    for _ in range(2_000):
        *recorded, live = (round(draw.gauss(1e9, 3e7)) for _ in range(6))
        scatter_ns = scatter_of(recorded)
        assert scatter_ns is not None
        inside += abs(live - sum(recorded) / 5) <= scatter_ns
    assert 0.88 < inside / 2_000 < 0.92


@pytest.mark.parametrize("walls", [None, [], [5], [5, "x"], {}])
def test_of_one_run_no_scatter_is_known(walls: object) -> None:
    assert scatter_of(walls) is None
