"""Processors that the workload shares with the server: who waits for one, and who does not."""

from collections.abc import Iterable

import pytest
from support.recordings import missed, recording

from osxfs_sim.simulate import processors
from osxfs_sim.simulate.dependencies import NOTHING, Order
from osxfs_sim.simulate.processors import Processors, ServerCost, server_cost, wall_on


def threads(count: int, questions: int, think_ns: int) -> Order:
    """*count* threads from the beginning on, of *questions* each."""
    previous = [NOTHING if i < count else i - count for i in range(count * questions)]
    return Order(previous, [think_ns] * len(previous), [()] * len(previous), 0)


def wall_ns(order: Order, count: int, *, latency_ns: int = 0, cost_ns: int = 0) -> int:
    return wall_on(order, count, lambda _, now: (now + latency_ns, cost_ns), 0)


def test_a_thread_alone_has_a_processor_and_waits_for_the_longer_of_latency_and_server() -> None:
    alone = threads(1, 10, 100)
    assert wall_ns(alone, 1) == 1_000
    assert wall_ns(alone, 1, latency_ns=50, cost_ns=20) == 1_500
    assert wall_ns(alone, 1, latency_ns=20, cost_ns=50) == 1_500


@pytest.mark.parametrize(("count", "expected_ns"), [(1, 4_000), (2, 2_000), (4, 1_000), (8, 1_000)])
def test_threads_that_compute_share_the_processors(count: int, expected_ns: int) -> None:
    assert wall_ns(threads(4, 10, 100), count) == expected_ns


def test_who_waits_for_a_round_trip_occupies_no_processor() -> None:
    # Four threads of 100 ns and a latency of 300: one processor is just busy.
    assert wall_ns(threads(4, 1, 100), 1, latency_ns=300) == 700
    assert wall_ns(threads(4, 10, 0), 1, latency_ns=300) == 3_000


def test_the_server_takes_processors_from_the_workload() -> None:
    assert wall_ns(threads(2, 10, 100), 2, cost_ns=50) == 1_500
    assert wall_ns(threads(2, 10, 100), 1, cost_ns=50) == 3_000


def test_nothing_is_lost_where_processors_are_always_busy() -> None:
    of = threads(7, 13, 91)
    assert wall_ns(of, 1, cost_ns=9) == 7 * 13 * (91 + 9)


def test_a_question_waits_for_others_and_computes_meanwhile() -> None:
    of = Order([NOTHING, NOTHING], [100, 30], [(), (0,)], 5)
    assert wall_ns(of, 2, latency_ns=10) == 100 + 10 + 10 + 5


def test_each_question_is_asked_once_and_time_goes_forwards() -> None:
    asked: list[tuple[int, int]] = []

    def ask(index: int, now_ns: int) -> tuple[int, int]:
        asked.append((now_ns, index))
        return now_ns + 17, 5

    wall_on(threads(3, 20, 11), 2, ask, 0)
    assert sorted(index for _, index in asked) == list(range(60))
    assert [now for now, _ in asked] == sorted(now for now, _ in asked)


class Unshared(Processors):
    """A seeded bug: everybody has a processor."""

    def _rate(self) -> float:
        return 1.0


class Single(Processors):
    """A seeded bug: a single job has all processors."""

    def _rate(self) -> float:
        return self._count / len(self._jobs)


class Stopped(Processors):
    """A seeded bug: what was computed before another began is forgotten."""

    def _pass(self, now_ns: float) -> None:
        self._now_ns = max(self._now_ns, now_ns)


def laws() -> Iterable[bool]:
    yield wall_ns(threads(4, 10, 100), 1) == 4_000
    yield wall_ns(threads(1, 10, 100), 4) == 1_000
    # The third begins to compute while the second does.
    staggered = Order([NOTHING, NOTHING, 0], [50, 100, 10], [()] * 3, 0)
    yield wall_ns(staggered, 2, latency_ns=10) == 110


def test_the_laws_hold() -> None:
    assert all(laws())


@pytest.mark.parametrize("broken", [Unshared, Single, Stopped])
def test_broken_processors_are_rejected(
    broken: type[Processors], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processors, "Processors", broken)
    assert not all(laws())


def test_what_the_server_takes_is_what_the_recording_says() -> None:
    notes = {"server_processor_ns": 1_000, "server_requests": 40}
    assert server_cost(recording(missed(b"a"), header={"notes": notes})) == ServerCost(1_000, 40)
    assert ServerCost(1_000, 40).per_request_ns == 25


@pytest.mark.parametrize("notes", [{}, {"server_processor_ns": 0, "server_requests": 4}])
def test_a_recording_that_does_not_say_is_not_guessed_for(notes: dict[str, object]) -> None:
    assert server_cost(recording(missed(b"a"), header={"notes": notes})) is None
