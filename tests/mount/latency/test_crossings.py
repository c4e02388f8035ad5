"""A request's price, its hold and its line on the receipt, with a clock that stands still."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.complaints import noticed

from osxfs_sim.model.latency import LatencyModel, LatencySpec, LogNormal
from osxfs_sim.model.operations import Operation, OperationClass
from osxfs_sim.mount.latency import crossings as crossings_module
from osxfs_sim.mount.latency.crossings import ClientOverhead, Crossings
from osxfs_sim.mount.loop.request import new_request


class Clock:
    """Shows what it is set to."""

    def __init__(self) -> None:
        self.now_ns = 0

    def monotonic_ns(self) -> int:
        return self.now_ns


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(crossings_module, "time", clock)
    return clock


def crossings_of(base_ns=130_000, outside=None, seed=0, **values) -> Crossings:
    spec = LatencySpec((base_ns,) * len(OperationClass), **values)
    return Crossings(LatencyModel(spec, seed), ClientOverhead(outside or {0: 0}))


def cross(crossings, operation, size_bytes, arrival_ns, resumed_late_by_ns=0):
    """One request as the reactor drives it: when it was to be resumed, or None if at once."""
    answer = crossings.cross(new_request(operation, arrival_ns), operation, size_bytes)
    try:
        send_ns = answer.send(None)
    except StopIteration:
        return None
    with pytest.raises(StopIteration):
        answer.send(send_ns + resumed_late_by_ns)
    return send_ns


def line_of(crossings, label="metadata"):
    return crossings.receipt.report()[label]


# What lies outside


def test_one_measured_point_holds_for_all_latencies():
    outside = ClientOverhead({0: 20_000})
    assert [outside.overhead_ns(target_ns) for target_ns in (0, 1, 10**9)] == [20_000] * 3


def test_between_two_points_it_grows_in_proportion_and_beyond_them_not_at_all():
    outside = ClientOverhead({100_000: 20_000, 200_000: 30_000})
    target = (0, 100_000, 125_000, 150_000, 200_000, 10**9)
    assert [outside.overhead_ns(each) for each in target] == [
        20_000,
        20_000,
        22_500,
        25_000,
        30_000,
        30_000,
    ]


def test_points_may_be_given_in_any_order():
    assert ClientOverhead({200: 2, 100: 1}).points == {100: 1, 200: 2}


def test_no_point_at_all_is_a_bug():
    with pytest.raises(AssertionError, match="at least one measured point"):
        ClientOverhead({})


def test_ever_new_latencies_are_not_all_remembered():
    outside = ClientOverhead({0: 0, 10**6: 1_000})
    for target_ns in range(20_000):
        outside.overhead_ns(target_ns)
    assert len(outside.known) < 10_000


POINTS = st.dictionaries(st.integers(0, 10**9), st.integers(0, 10**6), min_size=1, max_size=6)


def interpolates_as_numpy_does(outside_class):
    @given(points=POINTS, target_ns=st.integers(0, 2 * 10**9), which=st.integers(0, 5))
    def check(points, target_ns, which):
        outside = outside_class(points)
        measured = sorted(points)
        for each in (target_ns, measured[which % len(measured)]):
            expected = np.interp(each, measured, [points[point] for point in measured])
            assert abs(outside.overhead_ns(each) - expected) <= 0.501
            assert outside.overhead_ns(each) == outside.overhead_ns(each)  # also from memory

    check()


def test_interpolation_is_numpys():
    interpolates_as_numpy_does(ClientOverhead)


class TakesTheNearest(ClientOverhead):
    def _interpolate(self, target_ns):
        return self.points[min(self.points, key=lambda point: abs(point - target_ns))]


class GoesOnBeyond(ClientOverhead):
    def _interpolate(self, target_ns):
        last = max(self.points)
        return super()._interpolate(target_ns) + max(0, target_ns - last)


class RemembersTheWrongOne(ClientOverhead):
    def overhead_ns(self, target_ns):
        return self.known.setdefault(0, self._interpolate(target_ns))


@pytest.mark.parametrize("bug", [TakesTheNearest, GoesOnBeyond, RemembersTheWrongOne])
def test_the_check_of_the_interpolation_notices(bug):
    with noticed():
        interpolates_as_numpy_does(bug)


# One request


@pytest.mark.usefixtures("clock")
def test_a_reply_is_delayed_until_its_latency_has_passed():
    assert cross(crossings_of(), Operation.LOOKUP, 0, 1_000) == 131_000


@pytest.mark.usefixtures("clock")
def test_a_reply_is_sent_earlier_by_what_lies_outside():
    assert cross(crossings_of(outside={0: 20_000}), Operation.LOOKUP, 0, 1_000) == 111_000


@pytest.mark.usefixtures("clock")
def test_the_bytes_of_a_read_are_priced():
    crossings = crossings_of(bandwidth_bytes_per_s=10**9)
    assert cross(crossings, Operation.READ, 4_096, 0) == 130_000 + 4_096


@pytest.mark.usefixtures("clock")
def test_the_client_overhead_is_that_of_the_whole_target():
    crossings = crossings_of(outside={0: 0, 200_000: 20_000}, bandwidth_bytes_per_s=10**9)
    assert cross(crossings, Operation.READ, 70_000, 0) == 200_000 - 20_000


def test_a_reply_that_is_overdue_is_sent_at_once(clock):
    clock.now_ns = 500_000
    crossings = crossings_of()
    assert cross(crossings, Operation.LOOKUP, 0, 1_000) is None
    assert line_of(crossings).observed_p50_ns == pytest.approx(499_000, rel=0.001)
    assert line_of(crossings).late == 1


def test_a_reply_that_is_due_this_very_moment_is_sent_at_once(clock):
    clock.now_ns = 131_000
    assert cross(crossings_of(), Operation.LOOKUP, 0, 1_000) is None


def test_without_latency_nothing_is_delayed(clock):
    clock.now_ns = 1_000
    assert cross(crossings_of(0), Operation.LOOKUP, 0, 1_000) is None


def test_less_latency_than_the_client_overhead_is_no_delay_at_all(clock):
    clock.now_ns = 1_000
    crossings = crossings_of(5_000, outside={0: 20_000})
    assert cross(crossings, Operation.LOOKUP, 0, 1_000) is None
    assert line_of(crossings).observed_p50_ns == pytest.approx(20_000, rel=0.001)


@pytest.mark.usefixtures("clock")
def test_the_receipt_says_what_the_client_saw_and_not_what_the_server_did():
    crossings = crossings_of(outside={0: 20_000})
    cross(crossings, Operation.LOOKUP, 0, 1_000, resumed_late_by_ns=3_000)
    assert line_of(crossings).target_p50_ns == pytest.approx(130_000, rel=0.001)
    assert line_of(crossings).observed_p50_ns == pytest.approx(133_000, rel=0.001)


@pytest.mark.usefixtures("clock")
def test_a_request_is_receipted_in_its_class_and_counted_by_its_kind():
    crossings = crossings_of()
    for operation in (Operation.LOOKUP, Operation.GETATTR, Operation.LOOKUP, Operation.FSYNC):
        cross(crossings, operation, 0, 0)
    counted = {each: crossings.counts[each] for each in Operation if crossings.counts[each]}
    assert counted == {Operation.LOOKUP: 2, Operation.GETATTR: 1, Operation.FSYNC: 1}
    report = crossings.receipt.report()
    assert {label: line.count for label, line in report.items()} == {"metadata": 3, "sync": 1}


@pytest.mark.usefixtures("clock")
def test_a_request_that_is_still_delayed_is_counted_and_not_yet_receipted():
    crossings = crossings_of()
    request = crossings.cross(new_request(Operation.LOOKUP, 0), Operation.LOOKUP, 0)
    request.send(None)
    assert crossings.counts[Operation.LOOKUP] == 1
    assert crossings.receipt.report() == {}
    request.close()


@pytest.mark.usefixtures("clock")
def test_counting_anew_forgets_counts_and_receipt():
    crossings = crossings_of()
    cross(crossings, Operation.LOOKUP, 0, 0)
    crossings.missing_lookups += 1
    crossings.reset_counts()
    assert sum(crossings.counts) == 0
    assert crossings.missing_lookups == 0
    assert crossings.receipt.report() == {}


@pytest.mark.usefixtures("clock")
def test_counting_anew_does_not_begin_the_drawn_latencies_anew():
    def drawn(anew):
        crossings = crossings_of(distribution=LogNormal(0.5))
        first = [cross(crossings, Operation.LOOKUP, 0, 0) for _ in range(5)]
        if anew:
            crossings.reset_counts()
        return first + [cross(crossings, Operation.LOOKUP, 0, 0) for _ in range(5)]

    assert drawn(anew=True) == drawn(anew=False)


# Seeds


REQUESTS = st.lists(
    st.tuples(st.sampled_from(Operation), st.integers(0, 10**9)), min_size=1, max_size=20
)


def the_same_seed_holds_as_long(make):
    @given(requests=REQUESTS, seed=st.integers(0, 2**64), later_ns=st.integers(0, 10**15))
    def check(requests, seed, later_ns):
        def holds(start_ns):
            crossings = make(distribution=LogNormal(0.5), seed=seed)
            held = []
            for operation, arrival_ns in requests:
                send_ns = cross(crossings, operation, 0, start_ns + arrival_ns)
                held.append(send_ns - start_ns - arrival_ns)
            return held

        assert holds(0) == holds(later_ns)

    check()


@pytest.fixture
def clock_at_the_beginning(monkeypatch):
    """So early that no reply is overdue."""
    clock = Clock()
    clock.now_ns = -(10**18)
    monkeypatch.setattr(crossings_module, "time", clock)


@pytest.mark.usefixtures("clock_at_the_beginning")
def test_the_same_seed_and_requests_are_delayed_as_long_whenever_they_come():
    the_same_seed_holds_as_long(crossings_of)


@pytest.mark.usefixtures("clock_at_the_beginning")
def test_the_check_of_seeds_notices_a_seed_that_is_not_passed_on():
    with noticed():
        the_same_seed_holds_as_long(
            lambda seed, **values: crossings_of(
                seed=np.random.SeedSequence().entropy + seed, **values
            )
        )


@pytest.mark.usefixtures("clock_at_the_beginning")
def test_another_seed_is_delayed_otherwise():
    def held(seed):
        crossings = crossings_of(distribution=LogNormal(0.5), seed=seed)
        return [cross(crossings, Operation.LOOKUP, 0, 0) for _ in range(5)]

    assert held(1) == held(1)
    assert held(1) != held(2)
