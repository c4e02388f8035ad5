"""Staleness as a document: all of it comes back, and what is none is refused."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from osxfs_sim.coherence.staleness.measure import ViewResult
from osxfs_sim.coherence.staleness.predictions import (
    AtOnce,
    Direction,
    Mixture,
    NotSeen,
    Outlook,
    StalenessSample,
    Uniform,
    View,
    Within,
    WriteBackDelay,
    compare,
)
from osxfs_sim.coherence.staleness.saved import view_document, view_result
from osxfs_sim.model.user_error import UserError

MS = 10**6

SAMPLES = (StalenessSample(5, 1, 10, 20, 30), StalenessSample(7, 9, 10**9))
PREDICTIONS = [AtOnce(), Uniform(1, 2, 3, 4), Within(5, True), WriteBackDelay(6), NotSeen("why")]


def result(prediction, if_silent=None, samples=SAMPLES) -> ViewResult:
    comparison = None if prediction is None else compare(prediction, samples)
    outlook = Outlook(prediction, 8, 9, if_silent)
    return ViewResult(View.HANDLE, outlook, samples, comparison, Direction.TO_HOST)


@given(
    st.sampled_from([None, *PREDICTIONS]),
    st.sampled_from([None, Mixture(((0.25, AtOnce()), (0.75, Uniform(1, 2))))]),
)
def test_what_was_saved_comes_back(prediction, if_silent) -> None:
    original = result(prediction, if_silent)
    assert view_result(json.loads(json.dumps(view_document(original)))) == original


def test_a_comparison_is_made_anew_and_not_taken_over() -> None:
    document = view_document(result(AtOnce()))
    document["comparison"] = {"agrees": True, "text": "trust me"}
    document |= {"departs_ns": None, "agrees": True}
    assert view_result(document).comparison.text == "2/2 stale"
    assert view_result(document).agrees is False


def test_where_a_curve_departs_is_told_to_scripts() -> None:
    stale = tuple(StalenessSample(0, 1, 90 * MS, 91 * MS, 92 * MS) for _ in range(20))
    assert view_document(result(AtOnce(), samples=stale))["departs_ns"] == 90 * MS
    assert view_document(result(AtOnce(), samples=stale))["agrees"] is False
    assert view_document(result(WriteBackDelay(91 * MS), samples=stale))["agrees"] is True
    assert view_document(result(None, samples=stale))["agrees"] is None
    assert view_document(result(WriteBackDelay(91 * MS), samples=stale))["departs_ns"] is None
    assert view_document(result(None, samples=stale))["departs_ns"] is None


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("view", "smell"),
        ("direction", "sideways"),
        ("samples", [{"phase_ns": 1}]),
        ("samples", []),
        ("prediction", {"kind": "oracle"}),
        ("prediction", {"kind": "held"}),
        ("prediction", {"kind": "mixture", "parts": [{"weight": 0.5, "of": {"kind": "at once"}}]}),
        ("prediction", "at once"),
    ],
)
def test_what_is_no_view_is_refused(key: str, value: object) -> None:
    document = view_document(result(AtOnce())) | {key: value}
    with pytest.raises(UserError):
        view_result(document)


@pytest.mark.parametrize("key", ["view", "direction", "samples", "prediction", "phase_ns"])
def test_what_is_missing_is_named(key: str) -> None:
    document = view_document(result(AtOnce()))
    del document[key]
    with pytest.raises(UserError, match=key):
        view_result(document)
