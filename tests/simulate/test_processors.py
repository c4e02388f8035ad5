"""Processors that the workload shares with the server: who waits for one, and who does not."""

from collections.abc import Iterable

import pytest

from osxfs_sim.simulate import processors
from osxfs_sim.simulate.dependencies import NOTHING, Order
from osxfs_sim.simulate.schedule import Schedule


def threads(count: int, questions: int, think_ns: int) -> Order:
    """*count* threads from the beginning on, of *questions* each."""
    previous = [NOTHING if i < count else i - count for i in range(count * questions)]
    nothing = [()] * len(previous)
    return Order(previous, nothing, [think_ns] * len(previous), nothing, 0)


def asked(
    order: Order, count: int, *, latency_ns: int = 0, cost_ns: int = 0
) -> tuple[list[tuple[int, int]], int]:
    """When each is asked, and the wall time."""
    schedule = Schedule(order, 0, processors.Processors(count))
    moments = []
    while (moment := schedule.next()) is not None:
        now_ns, index = moment
        moments.append(moment)
        schedule.answered(index, now_ns + latency_ns, now_ns, cost_ns)
    return moments, round(schedule.ends_ns) + order.tail_ns


def wall_ns(order: Order, count: int, *, latency_ns: int = 0, cost_ns: int = 0) -> int:
    return asked(order, count, latency_ns=latency_ns, cost_ns=cost_ns)[1]


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
    of = Order([NOTHING, NOTHING], [(), ()], [100, 30], [(), (0,)], 5)
    assert wall_ns(of, 2, latency_ns=10) == 100 + 10 + 10 + 5


def test_each_question_is_asked_once_and_time_goes_forwards() -> None:
    moments, _ = asked(threads(3, 20, 11), 2, latency_ns=17, cost_ns=5)
    assert sorted(index for _, index in moments) == list(range(60))
    assert [now for now, _ in moments] == sorted(now for now, _ in moments)


def test_a_question_comes_a_think_time_after_the_latest_answer_that_it_follows() -> None:
    of = Order([NOTHING, NOTHING, 0], [(), (), (1,)], [10, 70, 5], [(), (), ()], 0)
    assert wall_ns(of, 4, latency_ns=20) == 70 + 20 + 5 + 20


class Unshared(processors.Processors):
    """A seeded bug: everybody has a processor."""

    def _rate(self) -> float:
        return 1.0


class Single(processors.Processors):
    """A seeded bug: a single job has all processors."""

    def _rate(self) -> float:
        return self._count / len(self._jobs)


class Stopped(processors.Processors):
    """A seeded bug: what was computed before another began is forgotten."""

    def _pass(self, now_ns: float) -> None:
        self._now_ns = max(self._now_ns, now_ns)


def laws() -> Iterable[bool]:
    yield wall_ns(threads(4, 10, 100), 1) == 4_000
    yield wall_ns(threads(1, 10, 100), 4) == 1_000
    # The third begins to compute while the second does.
    staggered = Order([NOTHING, NOTHING, 0], [()] * 3, [50, 100, 10], [()] * 3, 0)
    yield wall_ns(staggered, 2, latency_ns=10) == 110


def test_the_laws_hold() -> None:
    assert all(laws())


@pytest.mark.parametrize("broken", [Unshared, Single, Stopped])
def test_broken_processors_are_rejected(
    broken: type[processors.Processors], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(processors, "Processors", broken)
    assert not all(laws())
