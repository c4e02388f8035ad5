"""Predicted beside measured: the errors, the counts, and which arms are drawn."""

import pytest

from osxfs_sim.report.verifications import verification_notes, verification_table
from osxfs_sim.simulate.prediction import Predicted
from osxfs_sim.simulate.verification import Measured, drawn, error_of, verified


def predicted(wall_ns: int, one_line_ns: int = 0, **requests: int) -> Predicted:
    return Predicted("arm", wall_ns, wall_ns, wall_ns, requests, 0, 0, 0, 0, {}, one_line_ns)


def test_errors_are_parts_of_the_median_measured() -> None:
    of = predicted(110, 80, LOOKUP=3)
    made = verified(of, predicted(150), Measured((90, 100, 400), ({"LOOKUP": 3},) * 3))
    errors = (made.error, made.one_line_error, made.threads_error)
    assert errors == pytest.approx((0.1, -0.2, 0.5))
    assert (made.measured_ns, made.runs, made.counts_equal) == (100, 3, True)


@pytest.mark.parametrize(
    "measured", [{"LOOKUP": 4}, {}, {"LOOKUP": 3, "GETATTR": 1}, {"GETATTR": 3}]
)
def test_any_operation_that_differs_is_told(measured: dict[str, int]) -> None:
    made = verified(predicted(1, LOOKUP=3), predicted(1), Measured((1,), (measured,)))
    assert made.counts_equal is False
    assert "measured" in verification_notes([made])[0]


def test_where_every_run_failed_there_is_no_error() -> None:
    made = verified(predicted(1, LOOKUP=3), predicted(1), Measured((), (), ("it broke",)))
    assert (made.measured_ns, made.error, made.counts_equal) == (None, None, None)
    assert verification_notes([made]) == ["arm: a run failed: it broke"]
    verification_table([made])


def test_arms_are_drawn_by_the_seed_and_keep_their_order() -> None:
    arms = list(range(20))
    draws = [drawn(arms, 5, seed) for seed in range(10)]
    assert all(each == sorted(set(each)) and len(each) == 5 for each in draws)
    assert drawn(arms, 5, 3) == draws[3]
    assert len({tuple(each) for each in draws}) > 1
    assert drawn(arms, 20, 1) == drawn(arms, 99, 1) == arms


def test_nothing_measured_has_no_error() -> None:
    assert error_of(5, None) is None
    assert error_of(5, 0) is None
    assert error_of(None, 5) is None
