"""Target against observed latency: counts, percentiles, and what is late."""

import numpy as np
import pytest
from hdrh.histogram import HdrHistogram
from hypothesis import given, settings
from hypothesis import strategies as st
from support.complaints import noticed

from osxfs_sim.model.operations import OperationClass
from osxfs_sim.mount.latency.receipt import Receipt, fold, new_histogram

METADATA, READ = OperationClass.METADATA, OperationClass.READ
HOUR_NS = 3_600 * 10**9
# As many small as large ones, on a logarithmic scale.
DURATIONS = st.integers(0, 41).flatmap(
    lambda bits: st.integers(2**bits, min(2 ** (bits + 1), HOUR_NS))
)


def recorded(values_ns) -> HdrHistogram:
    """Folded in one block."""
    histogram = new_histogram()
    fold(histogram, np.asarray(values_ns, dtype=np.int64))
    return histogram


def counts(histogram: HdrHistogram) -> dict[int, int]:
    """What a histogram holds: how often each of its values."""
    return {
        item.value_iterated_to: item.count_at_value_iterated_to
        for item in (histogram.get_recorded_iterator())
    }


def receipt_of(*lines: tuple[int, int], operation_class=METADATA) -> Receipt:
    receipt = Receipt()
    for target_ns, observed_ns in lines:
        receipt.add(operation_class, target_ns, observed_ns)
    return receipt


# Percentiles


def percentiles_agree_with_numpy(fold_into):
    """Within 1 %, of one of the two samples that the percentile lies between."""

    @settings(max_examples=50)
    @given(st.lists(DURATIONS, min_size=1, max_size=60))
    def check(values_ns):
        histogram = new_histogram()
        fold_into(histogram, np.asarray(values_ns, dtype=np.int64))
        assert histogram.get_total_count() == len(values_ns)
        for percentile in (50, 90, 99):
            lower = np.percentile(values_ns, percentile, method="lower")
            higher = np.percentile(values_ns, percentile, method="higher")
            shown = histogram.get_value_at_percentile(percentile)
            assert lower * 0.99 <= shown <= higher * 1.01, percentile

    check()


def test_percentiles_are_those_of_numpy_within_one_percent():
    percentiles_agree_with_numpy(fold)


def too_coarse(histogram, values_ns):
    fold(histogram, values_ns >> 16 << 16)


def a_bit_lost(histogram, values_ns):
    fold(histogram, values_ns >> 1)


def repeats_lost(histogram, values_ns):
    fold(histogram, np.unique(values_ns))


def the_largest_lost(histogram, values_ns):
    fold(histogram, np.append(np.sort(values_ns)[:-1], 1))


@pytest.mark.parametrize("bug", [too_coarse, a_bit_lost, repeats_lost, the_largest_lost])
def test_the_check_of_percentiles_notices(bug):
    with noticed():
        percentiles_agree_with_numpy(bug)


def test_a_receipt_of_many_agrees_with_numpy_within_one_percent():
    generator = np.random.default_rng(7)
    observed = np.rint(130_000 * np.exp(0.3 * generator.standard_normal(30_000))).astype(int)
    line = receipt_of(*((130_000, each) for each in observed.tolist())).report()["metadata"]
    assert line.count == 30_000
    assert line.target_p50_ns == pytest.approx(130_000, rel=0.001)
    for percentile in (50, 90, 99):
        expected = np.percentile(observed, percentile)
        assert getattr(line, f"observed_p{percentile}_ns") == pytest.approx(expected, rel=0.01)


# Folding and adding


def folding_is_recording_one_by_one(fold_into):
    @settings(max_examples=50)
    @given(st.lists(st.integers(-10, 2 * HOUR_NS) | DURATIONS, max_size=40))
    def check(values_ns):
        one_by_one = new_histogram()
        for value_ns in values_ns:
            assert one_by_one.record_value(min(max(value_ns, 1), HOUR_NS))
        folded = new_histogram()
        fold_into(folded, np.asarray(values_ns, dtype=np.int64))
        assert folded.encode() == one_by_one.encode()

    check()


def test_folding_a_block_is_recording_its_values_one_by_one():
    folding_is_recording_one_by_one(fold)


@pytest.mark.parametrize("bug", [too_coarse, a_bit_lost, repeats_lost])
def test_the_check_of_folding_notices(bug):
    with noticed():
        folding_is_recording_one_by_one(bug)


@settings(max_examples=30)
@given(st.lists(DURATIONS, max_size=30), st.lists(DURATIONS, max_size=30))
def test_histograms_merge_by_adding(first_ns, second_ns):
    merged = recorded(first_ns)
    merged.add(recorded(second_ns))
    assert merged.encode() == recorded(first_ns + second_ns).encode()
    assert merged.get_total_count() == len(first_ns) + len(second_ns)


def test_a_reports_histograms_are_read_and_merged_by_hdrhistograms_own_tools():
    first = receipt_of((130_000, 131_000), (130_000, 250_000)).report()["metadata"]
    second = receipt_of((130_000, 131_000)).report()["metadata"]
    merged = HdrHistogram.decode(first.observed_histogram)
    merged.decode_and_add(second.observed_histogram)
    assert counts(merged) == counts(recorded([131_000, 250_000, 131_000]))
    target = HdrHistogram.decode(first.target_histogram)
    assert counts(target) == counts(recorded([130_000, 130_000]))


def test_a_value_beyond_an_hour_counts_as_an_hour():
    assert counts(recorded([HOUR_NS, 5 * HOUR_NS])) == counts(recorded([HOUR_NS] * 2))


def test_nothing_and_less_count_as_the_smallest_value():
    assert counts(recorded([0, -5])) == {1: 2}


# The report


def test_an_unused_share_has_an_empty_receipt():
    assert Receipt().report() == {}


def test_only_classes_that_were_used_are_reported():
    receipt = receipt_of((130_000, 131_000))
    receipt.add(OperationClass.SYNC, 130_000, 131_000)
    assert list(receipt.report()) == ["metadata", "sync"]


def test_classes_are_kept_apart():
    receipt = receipt_of((100, 100))
    receipt.add(READ, 2_000, 2_000)
    receipt.add(READ, 2_000, 2_000)
    report = receipt.report()
    assert {label: line.count for label, line in report.items()} == {"metadata": 1, "read": 2}
    assert (report["metadata"].observed_p50_ns, report["read"].observed_p50_ns) == (100, 2000)


def test_reporting_does_not_end_the_counting():
    receipt = receipt_of((100, 100))
    assert receipt.report() == receipt.report()
    receipt.add(METADATA, 100, 100)
    assert receipt.report()["metadata"].count == 2


@pytest.mark.parametrize("count", [4_095, 4_096, 4_097, 10_000])
def test_no_answer_is_lost_or_doubled_where_a_block_ends(count):
    assert receipt_of(*[(100, 100)] * count).report()["metadata"].count == count


def test_what_waits_to_be_folded_is_bounded():
    receipt = receipt_of(*[(100, 100)] * 50_000)
    assert max(len(pending) for pending in receipt.pending) < 10_000


@pytest.mark.parametrize(
    ("target_ns", "observed_ns", "late"),
    [
        (130_000, 150_000, 0),
        (130_000, 150_001, 1),
        (400_000, 420_000, 0),
        (400_000, 420_001, 1),
        (1_000_000, 1_050_000, 0),
        (1_000_000, 1_050_001, 1),
        (130_000, 1_000, 0),
    ],
)
def test_late_is_later_than_twenty_microseconds_and_five_percent(target_ns, observed_ns, late):
    assert receipt_of((target_ns, observed_ns)).report()["metadata"].late == late


@pytest.mark.parametrize(
    ("observed_ns", "within"),
    [(130_000, True), (136_000, True), (137_000, False), (124_000, True), (123_000, False)],
)
def test_a_median_is_tolerated_up_to_five_percent_either_way(observed_ns, within):
    report = receipt_of(*[(130_000, observed_ns)] * 50).report()["metadata"]
    assert report.within_tolerance is within


def test_a_handful_of_answers_is_shown_and_not_judged():
    report = receipt_of(*[(130_000, 900_000)] * 49).report()["metadata"]
    assert (report.late, report.within_tolerance) == (49, None)


@pytest.mark.parametrize(("late", "within"), [(0, True), (10, True), (11, False)])
def test_one_late_answer_in_ten_is_tolerated_and_no_more(late, within):
    lines = [(130_000, 131_000)] * (100 - late) + [(130_000, 200_000)] * late
    report = receipt_of(*lines).report()["metadata"]
    assert report.late == late
    assert report.within_tolerance is within


def test_where_there_is_no_target_nothing_is_late_and_nothing_is_judged():
    line = receipt_of((0, 30_000), (0, 90_000), (0, 90_000)).report()["metadata"]
    assert line.target_p50_ns == 0
    assert line.observed_p50_ns == pytest.approx(90_000, rel=0.001)
    assert line.late == 0
    assert line.within_tolerance is None


def test_target_and_observed_are_shown_on_the_same_scale():
    # Both come out of a histogram: what was met exactly must not look off by its rounding.
    line = receipt_of((130_000, 130_000)).report()["metadata"]
    assert line.target_p50_ns == line.observed_p50_ns
