"""What a live run here adds to a system: as its recording says, and nothing that it does not."""

import random

import pytest
from support.recordings import asked, missed, recording

from osxfs_sim.simulate.machine import Machine, machine_of, scatter_of

NOTES = {"server_processor_ns": 1_000, "server_requests": 40}


def test_it_is_what_the_recording_says() -> None:
    notes = {**NOTES, "machine": {"late_ns": 3, "held_ns": {"MKDIR": 21, "odd": "x"}}}
    made = recording(
        missed(b"a", took_ns=10),
        missed(b"b", took_ns=20),
        asked("WRITE", 2, size_bytes=3, took_ns=7),
        asked("RELEASE", 2, took_ns=999),  # for which nobody waits
        header={"notes": notes, "floor_ns": 9},
    )
    machine = machine_of(made, 2)
    assert machine == Machine(2, {"LOOKUP": 15, "WRITE": 7}, {"MKDIR": 21}, 9, 25, 3)


def test_a_server_takes_no_longer_than_its_answer_does() -> None:
    """One that polls occupies a processor all the time, and is not needed all the time."""
    machine = Machine(2, {}, {}, 9, 25)
    assert [machine.server_ns(took_ns) for took_ns in (9, 24, 26)] == [9, 24, 25]


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
