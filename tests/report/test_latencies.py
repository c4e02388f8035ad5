"""Distributions out of receipts: the right shares, and damage that is told in one line."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support import reporting

from osxfs_sim.lab.results import ResultError
from osxfs_sim.model.documents import document_of
from osxfs_sim.model.operations import OperationClass
from osxfs_sim.mount.latency.receipt import Receipt
from osxfs_sim.report.latencies import latencies_of, time_of


def comparison_of(times_ns: list[int], asked_ns: int = 130_000):
    receipt = Receipt()
    for time_ns in times_ns:
        receipt.add(OperationClass.METADATA, asked_ns, time_ns)
    made = reporting.comparison(1, {"osxfs": asked_ns})
    made.samples[0].share["receipt"] = document_of(receipt.report())
    return made


@pytest.mark.takes_seconds
@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(1_000, 10_000_000), min_size=1, max_size=300))
def test_a_curve_rises_to_all_answers_and_has_their_percentiles(times_ns):
    (line,) = latencies_of(comparison_of(times_ns))["osxfs"]
    values, shares = line.observed
    assert line.answers == len(times_ns)
    assert shares[-1] == 1
    assert (np.diff(values) >= 0).all()
    assert (np.diff(shares) >= 0).all()
    exact = np.sort(times_ns)[(len(times_ns) - 1) // 2]
    # A histogram rounds by 0.1 %, and the curve leaves out steps that cannot be seen.
    assert time_of(line.observed, 0.5) >= exact * 0.998
    assert time_of(line.observed, 1.0) == pytest.approx(max(times_ns), rel=0.002)


def test_runs_of_an_arm_are_added_up_and_failed_ones_are_not():
    made = reporting.comparison(3, {"native": None, "osxfs": 130_000})
    made.samples[1].failure = "exit code 1"
    found = latencies_of(made)
    assert list(found) == ["osxfs"]
    assert [(line.label, line.answers) for line in found["osxfs"]] == [
        ("metadata", 800),
        ("read", 200),
    ]


def test_where_nothing_was_asked_there_is_no_curve_of_it():
    (line,) = latencies_of(comparison_of([20_000, 30_000], asked_ns=0))["osxfs"]
    assert line.target is None


@pytest.mark.takes_seconds
@settings(max_examples=80, deadline=None)
@given(st.data())
def test_damage_to_a_histogram_is_told_as_such(data):
    made = comparison_of([130_500, 131_000])
    line = made.samples[0].share["receipt"]["metadata"]
    text = line["observed_histogram"]
    at = data.draw(st.integers(0, len(text) - 1))
    line["observed_histogram"] = data.draw(
        st.sampled_from([text[:at], text[:at] + "x" + text[at + 1 :], text + "é", None, 7])
    )
    refusal = ""
    try:
        latencies_of(made)
    except ResultError as error:
        refusal = str(error)
    assert not refusal or "observed_histogram cannot be decoded" in refusal
