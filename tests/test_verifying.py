"""What was predicted beside what was measured, from samples made by hand."""

import pytest

from osxfs_sim.lab.arms import Arm
from osxfs_sim.lab.results import Sample
from osxfs_sim.simulate.prediction import Predicted
from osxfs_sim.simulate.verification import Verified
from osxfs_sim.verifying import VerificationError, beside, drawn_by

PREDICTED = Predicted(
    *("osxfs", 1_100_000_000, 0, 0),
    requests={"LOOKUP": 10, "RELEASE": 2},
    missing_lookups=0,
    hits=0,
    names=0,
    held=0,
    background={},
    one_line_ns=1_500_000_000,
)


def sample(wall_s: float | None, failure: str | None = None, **requests: int) -> Sample:
    return Sample(
        "osxfs", 0, "fresh", wall_s, None, failure, share={"requests": {"FORGET": 9} | requests}
    )


def measured(*samples: Sample) -> Verified:
    return beside(PREDICTED, 2_000_000_000, samples)


def test_the_errors_are_of_the_median_run_which_the_requests_are_of_too() -> None:
    run = measured(
        sample(3.0, LOOKUP=12), sample(1.0, LOOKUP=10, RELEASE=2), sample(0.5, LOOKUP=11)
    )
    assert (run.lowest_ns, run.measured_ns, run.highest_ns) == (5 * 10**8, 10**9, 3 * 10**9)
    assert run.error == pytest.approx(0.1)
    assert run.one_line_error == pytest.approx(0.5)
    assert run.threads_error == pytest.approx(1.0)
    assert run.differing == {}


def test_each_operation_that_was_predicted_wrongly_is_named() -> None:
    assert measured(sample(1.0, LOOKUP=10, OPEN=1)).differing == {
        "OPEN": (0, 1),
        "RELEASE": (2, 0),
    }


@pytest.mark.parametrize("failed", [sample(None), sample(1.0, "exit code 1")])
def test_a_run_that_failed_verifies_nothing(failed: Sample) -> None:
    with pytest.raises(VerificationError, match="osxfs: "):
        measured(sample(1.0), failed)


def test_arms_are_drawn_by_a_seed_and_keep_their_order() -> None:
    arms = [Arm(name, name) for name in "abcdefgh"]
    drawn = [tuple(each.label for each in drawn_by(seed, arms, 3)) for seed in range(20)]
    assert all(list(each) == sorted(each) and len(set(each)) == 3 for each in drawn)
    assert drawn == [tuple(each.label for each in drawn_by(seed, arms, 3)) for seed in range(20)]
    assert {label for each in drawn for label in each} == set("abcdefgh")
    assert drawn_by(1, arms, 8) == drawn_by(1, arms, 100) == arms
