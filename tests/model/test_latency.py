"""What a crossing costs: exact for one request, properties for many.

Each property is a function of the model it is about, so that the same check
can be shown seeded bugs that it must notice.
"""

import dataclasses
import heapq
import itertools
import math

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support.complaints import complaint, noticed

from osxfs_sim.model import latency as latency_module
from osxfs_sim.model.latency import (
    Constant,
    DataPath,
    Empirical,
    LatencyModel,
    LatencySpec,
    LogNormal,
)
from osxfs_sim.model.operations import OperationClass
from osxfs_sim.model.user_error import UserError

METADATA, READ, WRITE, DIRECTORY, SYNC = OperationClass
CLASSES = st.sampled_from(OperationClass)
MB = 10**6


def uniform(base_ns: int, **values) -> LatencySpec:
    return LatencySpec((base_ns,) * len(OperationClass), **values)


OSXFS = LatencySpec(
    (130_000, 130_000, 221_000, 130_000, 130_000),
    bandwidth_bytes_per_s=250 * MB,
    data_path=DataPath(7, 5, 5_000, 10_000, 45_000),
)


# One request


def test_a_metadata_request_pays_the_base_and_nothing_else():
    assert LatencyModel(OSXFS, 0).due_ns(METADATA, 0, 1_000_000) == 1_130_000


def test_a_single_transfer_pays_base_plus_bytes_over_bandwidth():
    # 1 MiB at 250 MB/s is 4,194,304 ns.
    assert LatencyModel(OSXFS, 0).due_ns(READ, 2**20, 1_000) == 1_000 + 130_000 + 4_194_304


def test_a_hundred_megabytes_in_small_writes_take_the_23_seconds_that_were_published():
    model = LatencyModel(OSXFS, 0)
    now_ns = 0
    for _ in range(102_400):
        now_ns = model.due_ns(WRITE, 1024, now_ns)
    assert now_ns == 102_400 * (221_000 + 4_096)
    assert round(now_ns / 1e9) == 23


def test_each_class_has_a_base_of_its_own():
    model = LatencyModel(LatencySpec((1, 20, 300, 4_000, 50_000)), 0)
    assert [model.due_ns(each, 0, 7) for each in OperationClass] == [8, 27, 307, 4_007, 50_007]


def test_without_a_bandwidth_bytes_are_free():
    assert LatencyModel(uniform(130_000), 0).due_ns(READ, 2**40, 5) == 130_005


def test_without_any_latency_an_answer_is_due_on_arrival():
    model = LatencyModel(uniform(0, distribution=LogNormal(1.0)), 0)
    assert [model.due_ns(METADATA, 0, arrival_ns) for arrival_ns in (3, 3, 9)] == [3, 3, 9]


# The link


def test_two_transfers_at_once_share_the_link():
    model = LatencyModel(OSXFS, 0)
    assert model.due_ns(READ, 250_000, 0) == 1_000_000 + 130_000
    assert model.due_ns(READ, 250_000, 0) == 2_000_000 + 130_000


def test_reads_and_writes_share_one_link():
    model = LatencyModel(OSXFS, 0)
    assert model.due_ns(READ, 250_000, 0) == 1_130_000
    assert model.due_ns(WRITE, 250_000, 0) == 2_221_000


def test_time_in_which_the_link_was_idle_is_not_saved_up():
    model = LatencyModel(OSXFS, 0)
    model.due_ns(READ, 250_000, 0)
    assert model.due_ns(READ, 250_000, 10**9) == 10**9 + 1_000_000 + 130_000


def test_the_link_is_free_again_once_the_bytes_are_through_not_once_the_answer_is_due():
    model = LatencyModel(OSXFS, 0)
    model.due_ns(READ, 250_000, 0)
    assert model.due_ns(READ, 250_000, 1_000_000) == 2_000_000 + 130_000


def test_a_request_without_data_overtakes_a_long_transfer():
    model = LatencyModel(OSXFS, 0)
    model.due_ns(READ, 10**9, 0)
    assert model.due_ns(METADATA, 0, 10) == 130_010


REQUESTS = st.lists(
    st.tuples(CLASSES, st.integers(0, 2**20), st.integers(0, 3_000_000)), min_size=1, max_size=30
)
"""Class, bytes, and time since the request before."""


def link_carries_no_more_and_no_less_than_its_bandwidth(model_class):
    """Over any stretch of time; a rounding down of under 1 ns per transfer is allowed."""

    @given(REQUESTS, st.sampled_from([MB, 250 * MB, 3_000_000_000, 7]))
    def check(requests, bandwidth):
        model = model_class(dataclasses.replace(OSXFS, bandwidth_bytes_per_s=bandwidth), 0)
        moved, now_ns = [], 0
        for operation_class, size_bytes, gap_ns in requests:
            now_ns += gap_ns
            due_ns = model.due_ns(operation_class, size_bytes, now_ns)
            through_ns = due_ns - OSXFS.base_ns[operation_class]
            if size_bytes:
                moved.append((now_ns, size_bytes, through_ns))
            else:
                assert through_ns == now_ns
        for last, (_, _, through_ns) in enumerate(moved):
            spans = []
            carried_bytes = 0
            for count, (arrival_ns, size_bytes, _) in enumerate(reversed(moved[: last + 1]), 1):
                carried_bytes += size_bytes
                needed_ns = carried_bytes * 10**9 / bandwidth
                spans.append(through_ns - arrival_ns - needed_ns)
                assert spans[-1] > -count * 1.001 - needed_ns * 1e-12, "more than the bandwidth"
            # The bytes of some stretch that ends here took no longer than they had to.
            assert min(spans) <= 0.001 + through_ns * 1e-12, "idle while work waited"

    check()


def test_the_link_carries_its_bandwidth_and_never_more():
    link_carries_no_more_and_no_less_than_its_bandwidth(LatencyModel)


class EachHasTheLinkToItself(LatencyModel):
    def due_ns(self, operation_class, size_bytes, arrival_ns):
        self._link_free_ns = 0
        return super().due_ns(operation_class, size_bytes, arrival_ns)


class TheLinkIsHeldUntilTheAnswer(LatencyModel):
    def due_ns(self, operation_class, size_bytes, arrival_ns):
        due_ns = super().due_ns(operation_class, size_bytes, arrival_ns)
        if size_bytes:
            self._link_free_ns = due_ns
        return due_ns


class IdleTimeIsSavedUp(LatencyModel):
    def due_ns(self, operation_class, size_bytes, arrival_ns):
        if not size_bytes:
            return super().due_ns(operation_class, size_bytes, arrival_ns)
        needed_ns = size_bytes * 10**9 // self.spec.bandwidth_bytes_per_s
        self._link_free_ns += needed_ns
        return max(arrival_ns, self._link_free_ns) + self.spec.base_ns[operation_class]


@pytest.mark.parametrize(
    "bug", [EachHasTheLinkToItself, TheLinkIsHeldUntilTheAnswer, IdleTimeIsSavedUp]
)
def test_the_check_of_the_link_notices(bug):
    with noticed():
        link_carries_no_more_and_no_less_than_its_bandwidth(bug)


# The server's slots


def test_a_server_of_one_answers_one_after_the_other():
    model = LatencyModel(uniform(100, served_at_once=1), 0)
    assert [model.due_ns(METADATA, 0, 0) for _ in range(3)] == [100, 200, 300]


def test_a_server_of_two_answers_in_pairs():
    model = LatencyModel(uniform(100, served_at_once=2), 0)
    assert [model.due_ns(METADATA, 0, 0) for _ in range(5)] == [100, 100, 200, 200, 300]


def test_a_server_without_limit_answers_all_at_once():
    model = LatencyModel(uniform(100), 0)
    assert {model.due_ns(METADATA, 0, 0) for _ in range(1_000)} == {100}


def test_a_free_slot_waits_for_the_request_and_not_the_request_for_the_slot():
    model = LatencyModel(uniform(100, served_at_once=1), 0)
    assert model.due_ns(METADATA, 0, 0) == 100
    assert model.due_ns(METADATA, 0, 5_000) == 5_100


def test_a_slot_is_taken_while_its_transfer_waits_for_the_link():
    spec = uniform(100, served_at_once=1, bandwidth_bytes_per_s=10**9)
    model = LatencyModel(spec, 0)
    assert model.due_ns(READ, 1_000, 0) == 1_100
    assert model.due_ns(METADATA, 0, 0) == 1_200


def served_at_once_is_never_exceeded_and_always_used(model_class):
    """At no time more than k requests are in service; none waits while fewer are."""

    @given(
        served_at_once=st.integers(1, 4),
        requests=st.lists(st.tuples(CLASSES, st.integers(0, 300)), min_size=1, max_size=30),
        distribution=st.sampled_from([Constant(), LogNormal(0.5)]),
        seed=st.integers(0, 3),
    )
    @example(served_at_once=1, requests=[(METADATA, 0)] * 3, distribution=Constant(), seed=0)
    def check(served_at_once, requests, distribution, seed):
        spec = LatencySpec((100, 200, 300, 50, 7), distribution=distribution)
        costs = LatencyModel(spec, seed)  # without a limit, an answer takes what it costs
        model = model_class(dataclasses.replace(spec, served_at_once=served_at_once), seed)
        served, now_ns = [], 0
        for operation_class, gap_ns in requests:
            now_ns += gap_ns
            cost_ns = costs.due_ns(operation_class, 0, now_ns) - now_ns
            due_ns = model.due_ns(operation_class, 0, now_ns)
            start_ns = due_ns - cost_ns
            assert start_ns >= now_ns, "served before it came"
            if start_ns > now_ns:
                before = sum(start <= start_ns - 1 < due for start, due in served)
                assert before >= served_at_once, "kept waiting while a slot was free"
            served.append((start_ns, due_ns))
        for moment_ns, _ in served:
            at_once = sum(start <= moment_ns < due for start, due in served)
            assert at_once <= served_at_once, "more at once than it has slots"

    check()


def test_a_server_of_k_never_has_more_than_k_in_service_nor_fewer_than_it_could():
    served_at_once_is_never_exceeded_and_always_used(LatencyModel)


class OneSlotTooMany(LatencyModel):
    def __init__(self, spec, seed):
        super().__init__(spec, seed)
        self._slots_free_ns.append(0)


class AlwaysOneSlot(LatencyModel):
    def __init__(self, spec, seed):
        super().__init__(spec, seed)
        self._slots_free_ns = [0]


class SlotsWithoutAHeap(LatencyModel):
    """Takes the slots in turn, and not the one that is free first."""

    def due_ns(self, operation_class, size_bytes, arrival_ns):
        self._slots_free_ns.append(self._slots_free_ns.pop(0))
        due_ns = max(arrival_ns, self._slots_free_ns[-1]) + next(self._costs_ns[operation_class])
        self._slots_free_ns[-1] = due_ns
        return due_ns


@pytest.mark.parametrize("bug", [OneSlotTooMany, AlwaysOneSlot, SlotsWithoutAHeap])
def test_the_check_of_the_slots_notices(bug):
    with noticed():
        served_at_once_is_never_exceeded_and_always_used(bug)


# Distributions


DISTRIBUTIONS = st.sampled_from(
    [Constant(), LogNormal(0.2), LogNormal(2.0), Empirical((90_000, 130_000, 131_000, 900_000))]
)
SEEDS = st.integers(0, 2**64)


def same_requests_cost_the_same_whenever_they_arrive(model_class):
    @given(
        distribution=DISTRIBUTIONS,
        seed=SEEDS,
        classes=st.lists(CLASSES, min_size=1, max_size=30),
        data=st.data(),
    )
    def check(distribution, seed, classes, data):
        def costs():
            model = model_class(dataclasses.replace(OSXFS, distribution=distribution), seed)
            gaps = st.lists(st.integers(0, 10**12), min_size=len(classes), max_size=len(classes))
            arrivals_ns = itertools.accumulate(data.draw(gaps))
            return [
                model.due_ns(each, 0, arrival_ns) - arrival_ns
                for each, arrival_ns in zip(classes, arrivals_ns, strict=True)
            ]

        assert costs() == costs()

    check()


def other_classes_in_between_change_nothing(model_class):
    @given(
        distribution=DISTRIBUTIONS,
        seed=SEEDS,
        classes=st.lists(CLASSES, min_size=1, max_size=30),
    )
    def check(distribution, seed, classes):
        spec = dataclasses.replace(OSXFS, distribution=distribution)
        model = model_class(spec, seed)
        mixed = [(each, model.due_ns(each, 0, 0)) for each in classes]
        for operation_class in OperationClass:
            alone = model_class(spec, seed)
            costs = [cost_ns for each, cost_ns in mixed if each is operation_class]
            assert costs == [alone.due_ns(operation_class, 0, 0) for _ in costs]

    check()


def test_the_same_seed_and_requests_cost_the_same_whenever_they_arrive():
    same_requests_cost_the_same_whenever_they_arrive(LatencyModel)


def test_what_a_class_costs_does_not_depend_on_requests_of_other_classes():
    other_classes_in_between_change_nothing(LatencyModel)


class DrawsByTheClock(LatencyModel):
    def due_ns(self, operation_class, size_bytes, arrival_ns):
        if arrival_ns % 2:
            next(self._costs_ns[operation_class])
        return super().due_ns(operation_class, size_bytes, arrival_ns)


class ForgetsItsSeed(LatencyModel):
    made = itertools.count()

    def __init__(self, spec, seed):
        super().__init__(spec, next(self.made) % 2)


class OneStreamForAll(LatencyModel):
    def __init__(self, spec, seed):
        super().__init__(spec, seed)
        generator = np.random.default_rng(seed)

        def costs_ns(base_ns):
            while True:
                yield round(base_ns * float(spec.distribution.factors(generator, 1)[0]))

        self._costs_ns = [costs_ns(base_ns) for base_ns in spec.base_ns]


@pytest.mark.parametrize("bug", [DrawsByTheClock, ForgetsItsSeed])
def test_the_check_of_seeds_notices(bug):
    with noticed():
        same_requests_cost_the_same_whenever_they_arrive(bug)


def test_the_check_of_streams_notices_one_stream_for_all_classes():
    with noticed():
        other_classes_in_between_change_nothing(OneStreamForAll)


def drawn_ns(spec: LatencySpec, seed: int, count: int) -> list[int]:
    model = LatencyModel(spec, seed)
    return [model.due_ns(METADATA, 0, 0) for _ in range(count)]


def test_another_seed_draws_other_costs():
    spec = uniform(130_000, distribution=LogNormal(0.2))
    assert drawn_ns(spec, 1, 10) != drawn_ns(spec, 2, 10)


def test_two_classes_of_one_base_draw_other_costs():
    model = LatencyModel(uniform(130_000, distribution=LogNormal(0.2)), 0)
    reads = [model.due_ns(READ, 0, 0) for _ in range(10)]
    assert reads != [model.due_ns(WRITE, 0, 0) for _ in range(10)]


def test_draws_do_not_begin_again_after_a_block():
    count = 2 * latency_module._DRAWS_AT_ONCE
    costs = drawn_ns(uniform(10**9, distribution=LogNormal(0.2)), 0, count)
    assert costs[: count // 2] != costs[count // 2 :]


def test_costs_are_pythons_own_integers_for_they_go_into_json():
    costs = drawn_ns(uniform(130_000, distribution=LogNormal(0.2)), 0, 3)
    assert {type(cost_ns) for cost_ns in costs} == {int}


def lognormal_has_its_median_and_spread(distribution_class):
    """20,000 draws: the quantiles lie within six standard errors of the theory's."""

    @given(sigma=st.floats(0.05, 3), seed=SEEDS)
    def check(sigma, seed):
        generator = np.random.default_rng(seed)
        logs = np.log(distribution_class(sigma).factors(generator, 20_000)) / sigma
        assert abs(np.median(logs)) < 6 * 1.2533 / math.sqrt(20_000)
        assert abs(np.std(logs) - 1) < 6 * 0.7072 / math.sqrt(20_000)

    check()


def test_a_lognormal_cost_has_the_base_as_its_median():
    lognormal_has_its_median_and_spread(LogNormal)


class TheMeanIsTheBase(LogNormal):
    def factors(self, generator, count):
        return LogNormal.factors(self, generator, count) * math.exp(-(self.sigma**2) / 2)


class TheVarianceIsSigma(LogNormal):
    def factors(self, generator, count):
        return np.exp(math.sqrt(self.sigma) * generator.standard_normal(count))


class Normal(LogNormal):
    def factors(self, generator, count):
        return np.maximum(1e-9, 1 + self.sigma * generator.standard_normal(count))


@pytest.mark.parametrize("bug", [TheMeanIsTheBase, TheVarianceIsSigma, Normal])
def test_the_check_of_the_lognormal_notices(bug):
    with noticed():
        lognormal_has_its_median_and_spread(bug)


def test_constant_costs_are_all_the_base():
    assert set(drawn_ns(uniform(130_000), 5, 100)) == {130_000}
    assert Constant().factors(np.random.default_rng(0), 3).tolist() == [1.0, 1.0, 1.0]


@given(
    samples_ns=st.lists(st.integers(1, 10**10), min_size=1, max_size=9).filter(
        lambda samples: len(samples) % 2
    ),
    seed=SEEDS,
)
def test_an_empirical_cost_at_its_own_median_is_one_of_the_samples(samples_ns, seed):
    distribution = Empirical(tuple(samples_ns))
    assert distribution.median_ns == sorted(samples_ns)[len(samples_ns) // 2]
    costs = drawn_ns(uniform(distribution.median_ns, distribution=distribution), seed, 50)
    assert set(costs) <= set(samples_ns)


def test_an_empirical_shape_is_scaled_to_the_base():
    costs = drawn_ns(uniform(1_000, distribution=Empirical((50, 100, 400))), 0, 200)
    assert set(costs) == {500, 1_000, 4_000}


def test_the_median_of_an_even_number_of_samples_lies_between_the_middle_two():
    assert Empirical((100, 200, 400, 800)).median_ns == 300


@pytest.mark.parametrize(
    ("distribution", "phrase"),
    [
        (Constant(), "constant"),
        (LogNormal(0.25), "lognormal, sigma 0.25"),
        (Empirical((100_000, 131_000, 900_000)), "empirical, 3 samples, median 131us"),
    ],
)
def test_a_distribution_describes_itself_in_one_phrase(distribution, phrase):
    assert distribution.describe() == phrase


@pytest.mark.parametrize(
    ("sigma", "shown"), [(0, "0"), (-1, "-1"), (3.5, "3.5"), (math.inf, "inf"), (math.nan, "nan")]
)
def test_a_sigma_out_of_range_is_refused(sigma, shown):
    message = f"lognormal sigma {shown} is out of range: give one above 0 and up to 3"
    assert complaint(UserError, LogNormal, sigma) == message


def test_no_samples_make_no_distribution():
    message = "the empirical distribution has no samples"
    assert complaint(UserError, Empirical, ()) == message


def test_samples_without_a_median_make_no_distribution():
    message = "the samples have a median of zero: give measured latencies"
    assert complaint(UserError, Empirical, (0, 0, 5)) == message


# What a profile says, and changes to it


def test_a_latency_cannot_be_negative():
    assert complaint(UserError, uniform, -1) == "a latency cannot be negative"


@pytest.mark.parametrize("served_at_once", [0, -1, 65_537, 10**30])
def test_a_server_must_serve_somebody(served_at_once):
    message = f"a server serves from 1 to 65536 requests at once, not {served_at_once}"
    assert complaint(UserError, uniform, 1, served_at_once=served_at_once) == message


def test_a_base_too_few_is_a_bug_and_not_a_users_mistake():
    with pytest.raises(AssertionError):
        LatencySpec((1, 2, 3))


def test_a_system_is_known_by_its_metadata_round_trip():
    assert OSXFS.metadata_ns == 130_000


def test_another_round_trip_keeps_every_proportion():
    half = OSXFS.scaled_to(65_000)
    assert half.base_ns == (65_000, 65_000, 110_500, 65_000, 65_000)
    assert half.data_path == DataPath(7, 5, 2_500, 5_000, 22_500)
    assert half.data_path.total_ns == half.metadata_ns
    assert half.bandwidth_bytes_per_s == 250 * MB


def test_where_there_was_no_latency_every_class_gets_the_new_one():
    assert uniform(0).scaled_to(42).base_ns == (42,) * 5


def test_scaled_to_nothing_nothing_is_left():
    assert OSXFS.scaled_to(0).base_ns == (0,) * 5


@pytest.mark.parametrize("spec", [OSXFS, uniform(0)], ids=["some latency", "none"])
def test_a_negative_round_trip_is_refused(spec):
    assert complaint(UserError, spec.scaled_to, -1) == "a latency cannot be negative"


def test_the_planned_data_path_saves_two_copies_and_two_switches_in_every_class():
    planned = OSXFS.with_data_path(copies=5, context_switches=3)
    assert OSXFS.data_path.total_ns == 130_000
    assert planned.base_ns == (100_000, 100_000, 191_000, 100_000, 100_000)
    assert planned.data_path.total_ns == 100_000


def test_more_copies_cost_more():
    assert OSXFS.with_data_path(copies=8, context_switches=5).metadata_ns == 135_000


def test_a_saving_cannot_go_below_nothing():
    spec = LatencySpec((130_000, 40_000, 0, 0, 0), data_path=OSXFS.data_path)
    shorter = spec.with_data_path(copies=0, context_switches=0)
    assert shorter.base_ns == (45_000, 0, 0, 0, 0)


def test_without_a_data_path_there_is_nothing_to_take_away():
    message = complaint(UserError, uniform(5).with_data_path, copies=5, context_switches=3)
    assert message == "this profile does not take its round trip apart: it has no data path"


@pytest.mark.parametrize("counts", [(-1, 5), (7, -1)])
def test_a_data_path_has_no_fewer_than_no_steps(counts):
    copies, switches = counts
    message = complaint(UserError, OSXFS.with_data_path, copies=copies, context_switches=switches)
    assert message == "a data path has from 0 to 1000 copies and switches"


# Dilation: a share whose time runs slower


def dilation_multiplies_every_due_time(dilate):
    """Exactly, where the bases and the link's time per byte are whole nanoseconds."""

    @given(
        requests=REQUESTS,
        factor=st.sampled_from([1, 2, 4, 5, 10, 100]),
        served_at_once=st.none() | st.integers(1, 3),
    )
    def check(requests, factor, served_at_once):
        spec = dataclasses.replace(OSXFS, served_at_once=served_at_once)
        plain, slow = LatencyModel(spec, 0), LatencyModel(dilate(spec, float(factor)), 0)
        now_ns = 0
        for operation_class, size_bytes, gap_ns in requests:
            now_ns += gap_ns
            due_ns = plain.due_ns(operation_class, size_bytes, now_ns)
            assert slow.due_ns(operation_class, size_bytes, now_ns * factor) == due_ns * factor

    check()


def test_dilation_multiplies_every_due_time():
    dilation_multiplies_every_due_time(LatencySpec.dilated)


@pytest.mark.parametrize("lost", ["base_ns", "bandwidth_bytes_per_s", "served_at_once"])
def test_the_check_of_dilation_notices_what_is_left_out(lost):
    def dilate(spec, factor):
        kept = None if lost == "served_at_once" else getattr(spec, lost)
        return dataclasses.replace(spec.dilated(factor), **{lost: kept})

    with noticed():
        dilation_multiplies_every_due_time(dilate)


@given(factor=st.integers(1, 1_000), seed=SEEDS)
def test_dilation_multiplies_drawn_costs_up_to_their_rounding(factor, seed):
    spec = uniform(130_000, distribution=LogNormal(0.5))
    plain, slow = drawn_ns(spec, seed, 20), drawn_ns(spec.dilated(float(factor)), seed, 20)
    for cost_ns, slow_ns in zip(plain, slow, strict=True):
        assert abs(slow_ns - cost_ns * factor) <= (factor + 1) / 2


def test_dilation_stretches_the_data_path_too():
    assert OSXFS.dilated(2.0).data_path == DataPath(7, 5, 10_000, 20_000, 90_000)


def test_no_dilation_leaves_a_link_that_carries_nothing():
    assert uniform(1, bandwidth_bytes_per_s=10).dilated(1e6).bandwidth_bytes_per_s == 1


def test_without_a_bandwidth_there_is_none_to_dilate():
    assert uniform(1).dilated(2.0).bandwidth_bytes_per_s is None


# All together, against the sentence in the module's own words


@given(requests=REQUESTS, served_at_once=st.none() | st.integers(1, 3), seed=st.integers(0, 9))
def test_due_is_start_plus_transfer_plus_cost(requests, served_at_once, seed):
    spec = dataclasses.replace(OSXFS, served_at_once=served_at_once, distribution=LogNormal(0.3))
    model, costs = (
        LatencyModel(spec, seed),
        LatencyModel(
            dataclasses.replace(spec, served_at_once=None, bandwidth_bytes_per_s=None), seed
        ),
    )
    busy: list[int] = []  # due times of those in service
    link_free_ns = now_ns = 0
    for operation_class, size_bytes, gap_ns in requests:
        now_ns += gap_ns
        start_ns = now_ns
        while served_at_once is not None and len(busy) >= served_at_once:
            start_ns = max(now_ns, heapq.heappop(busy))
        expected_ns = start_ns
        if size_bytes:
            # 250 MB/s is 4 ns a byte.
            link_free_ns = expected_ns = max(start_ns, link_free_ns) + 4 * size_bytes
        expected_ns += costs.due_ns(operation_class, 0, 0)
        heapq.heappush(busy, expected_ns)
        assert model.due_ns(operation_class, size_bytes, now_ns) == expected_ns
