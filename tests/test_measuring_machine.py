"""What this machine adds to a share is measured on shares of its own."""

from dataclasses import replace
from pathlib import Path

import pytest

from osxfs_sim import measuring_machine
from osxfs_sim.lab.arms import Arm
from osxfs_sim.measuring_machine import change, measure_machine
from osxfs_sim.predicted_systems import system_of
from osxfs_sim.simulate.share import System


def test_changes_leave_nothing_behind(tmp_path: Path) -> None:
    change(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("need_fuse")
def test_it_says_what_this_machine_adds_and_leaves_nothing(field: Path) -> None:
    measured = measure_machine(field)
    assert {*measured} == {"late_missing_ns", "late_found_ns", "hit_ns", "held_ns"}
    assert all(each >= 0 for each in measured.values())
    assert measured["held_ns"] > 0, "a server answers"
    assert list(field.iterdir()) == []


@pytest.mark.usefixtures("need_fuse")
def test_answers_that_come_late_are_noticed(field: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Here the share delays each by 100 us more than is asked for: answers never come early."""

    def asked_for_less(arm: Arm) -> System:
        system = system_of(arm)
        less = tuple(each - 100_000 for each in system.latency.base_ns)
        assert min(less) >= 0
        return replace(system, latency=replace(system.latency, base_ns=less))

    monkeypatch.setattr(measuring_machine, "system_of", asked_for_less)
    measured = measure_machine(field)
    assert measured["late_missing_ns"] > 50_000
    assert measured["late_found_ns"] > 50_000
