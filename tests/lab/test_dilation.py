"""Wall time = processor time + K x waiting: what the line says, and when it must say no."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from osxfs_sim.lab.dilation import dilation_between, dilation_line

times = st.floats(0.1, 100)


@given(processor_s=times, waiting_s=times, at=st.floats(1, 20))
def test_points_on_a_line_give_its_processor_and_waiting_time(
    processor_s: float, waiting_s: float, at: float
) -> None:
    points = [(k, processor_s + k * waiting_s) for k in (1.0, 2.0, 5.0, 10.0)]
    line = dilation_line(points)
    assert line is not None
    assert line.processor_s == pytest.approx(processor_s, abs=1e-6)
    assert line.waiting_s == pytest.approx(waiting_s, abs=1e-6)
    assert line.at(at) == pytest.approx(processor_s + at * waiting_s, abs=1e-5)
    assert line.worst_share < 1e-6
    assert line.dilations == (1, 2, 5, 10)


def test_what_a_machine_cannot_deliver_the_line_gives() -> None:
    # At K = 1 the floor was in the way; it is not among the points.
    line = dilation_line([(2, 12.0), (5, 15.0), (10, 20.0)])
    assert line is not None
    assert line.at(1) == pytest.approx(11.0)
    assert line.error_at_s(1) == pytest.approx(0, abs=1e-6)


def test_scatter_becomes_an_error_of_the_time_at_one() -> None:
    line = dilation_line([(1, 11.0), (1, 11.4), (5, 15.1), (5, 14.6), (10, 20.2), (10, 19.9)])
    assert line is not None
    error_s = line.error_at_s(1)
    assert error_s is not None
    assert 0 < error_s < 1
    assert line.bend_p is not None
    assert line.bend_p > 0.05


def test_two_dilations_make_a_line_without_an_error() -> None:
    line = dilation_line([(1, 3.0), (5, 7.0)])
    assert line is not None
    assert (line.processor_s, line.waiting_s) == (pytest.approx(2), pytest.approx(1))
    assert line.error_at_s(1) is None
    assert line.bend_p is None


def test_one_dilation_makes_no_line() -> None:
    assert dilation_line([]) is None
    assert dilation_line([(5, 7.0), (5, 7.1)]) is None


@pytest.mark.parametrize(
    "bent",
    [
        # A cost that grows with the square, and a floor that small dilations cannot get below.
        lambda k: 10 + k + 0.1 * k * k,
        lambda k: 10 + max(k, 4.0),
    ],
)
def test_a_bend_is_seen(bent: object) -> None:
    assert callable(bent)
    scatter = (-0.02, 0.0, 0.02)
    points = [(k, bent(k) + off) for k in (1.0, 2.0, 5.0, 10.0) for off in scatter]
    line = dilation_line(points)
    assert line is not None
    assert line.bend_p is not None
    assert line.bend_p < 0.001
    assert line.worst_share > 0.02


def test_a_bend_without_scatter_is_seen_too() -> None:
    line = dilation_line([(k, k * k) for k in (1.0, 2.0, 3.0) for _ in range(2)])
    assert line is not None
    assert line.bend_p == 0


def test_the_dilation_between_two_machines_is_that_of_their_native_times() -> None:
    assert dilation_between(17.0, 3.4) == 5
    assert dilation_between(17.123, 3.37) == 5.08
