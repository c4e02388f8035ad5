"""What this machine adds to a share is measured on shares of its own."""

from dataclasses import replace
from pathlib import Path

import pytest

from osxfs_sim import measuring_machine
from osxfs_sim.lab.arms import Arm
from osxfs_sim.measuring_machine import measure_machine, probe
from osxfs_sim.model.operations import OperationClass
from osxfs_sim.predicted_systems import system_of
from osxfs_sim.simulate.share import System


def test_the_probe_leaves_nothing_behind(tmp_path: Path) -> None:
    probe(tmp_path)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("need_fuse")
def test_it_says_what_held_changes_take_and_leaves_nothing(field: Path) -> None:
    measured = measure_machine(field)
    assert measured["late_ns"] >= 0
    assert {"MKDIR", "CREATE", "WRITE", "SETATTR", "RENAME", "UNLINK"} <= {*measured["held_ns"]}
    assert all(each > 0 for each in measured["held_ns"].values())
    assert list(field.iterdir()) == []


@pytest.mark.usefixtures("need_fuse")
def test_answers_that_come_late_are_noticed(field: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Here the share delays each by 100 us more than is asked for: answers never come early."""

    def asked_for_less(arm: Arm) -> System:
        system = system_of(arm)
        less = {each: system.latency.base_ns[each] - 100_000 for each in OperationClass}
        assert min(less.values()) >= 0
        return replace(system, latency=replace(system.latency, base_ns=less))

    monkeypatch.setattr(measuring_machine, "system_of", asked_for_less)
    assert measure_machine(field)["late_ns"] > 50_000
