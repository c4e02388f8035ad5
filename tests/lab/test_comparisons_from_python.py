"""A comparison from Python, without the command line: the lab is handed how arms are mounted."""

import contextlib
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.statuses import a_status

from osxfs_sim.lab import Arm, load_result, run_comparison, summarize
from osxfs_sim.lab.cases import CaseError
from osxfs_sim.lab.comparing import PlanError, Taken
from osxfs_sim.lab.shares import Identity
from osxfs_sim.model.status import ShareStatus
from osxfs_sim.model.user_error import UserError

pytestmark = pytest.mark.starts_processes

CASE = """
name = "note"
title = "Write a word"
purpose = "One file made."
arms = ["native"]
[needs]
commands = ["sh"]
install = "apt-get install dash"
[tree]
setup = ["setup.sh", "{tree}"]
[command]
measured = ["run.sh", "{tree}"]
check = ["check.sh", "{tree}"]
"""
SCRIPTS = {
    "setup.sh": 'mkdir "$1"',
    "run.sh": 'echo hello > "$1/word"',
    "check.sh": 'test "$(cat "$1/word")" = hello',
}


class PretendedShare:
    first_status = a_status(profile="pretended")

    def flush(self) -> ShareStatus:
        return self.first_status

    def reset(self) -> ShareStatus:
        return a_status(server_processor_s=0.5)

    def start_trace(self, path: str, *, with_calls: bool = False) -> None: ...

    def stop_trace(self, **_: Any) -> dict[str, Any]:
        return {}


class PretendedShares:
    """Whose guest works in the host's directory."""

    def __init__(self) -> None:
        self.system = "one"
        self.seeds: list[int] = []

    def check(self, arm: Arm, *, traced: bool) -> None:
        del traced
        if arm.profile == "unknown":
            raise UserError(f"unknown profile {arm.profile!r}")

    def identity(self, arm: Arm, *, dilate: float) -> Identity:
        del arm, dilate
        return Identity(self.system)

    @contextlib.contextmanager
    def mount(
        self, arm: Arm, source: Path, mountpoint: Path, *, seed: int, dilate: float
    ) -> Iterator[PretendedShare]:
        del arm, dilate
        self.seeds.append(seed)
        mountpoint.rmdir()
        mountpoint.symlink_to(source)
        yield PretendedShare()
        mountpoint.unlink()
        mountpoint.mkdir()


@pytest.fixture
def folder(small_case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return small_case("note", CASE, SCRIPTS)


ARMS = (Arm("native", "native"), Arm("pretended", "pretended"))


def test_a_case_is_compared_and_saved_and_says_how_far_it_is(folder: Path, tmp_path: Path) -> None:
    shares, taken = PretendedShares(), list[Taken]()
    comparison = run_comparison(
        *(f"{folder}/", ARMS),
        shares=shares,
        samples=3,
        seed=4,
        on_progress=taken.append,
        save_to=tmp_path / "result.json",
        directory=str(tmp_path),
    )
    assert [sample.failure for sample in comparison.samples] == [""] * 6
    assert [len(comparison.of(arm.label)) for arm in ARMS] == [3, 3]
    assert [(each.done, each.left) for each in taken] == [(n, 6 - n) for n in range(1, 7)]
    assert taken[-1].remaining_s == 0
    assert len(set(shares.seeds)) == 3, "each round has a seed of its own"
    assert comparison.sources["systems"] == {"pretended": "one"}
    assert load_result(tmp_path / "result.json") == comparison
    native, pretended = summarize(comparison)
    assert (native.verdict, pretended.runs) == ("baseline", 3)
    assert not list(tmp_path.glob("osxfs-sim-*"))


def test_what_cannot_be_compared_is_said_before_anything_runs(folder: Path) -> None:
    shares = PretendedShares()
    with pytest.raises(UserError, match="a comparison takes two arms"):
        run_comparison(f"{folder}/", ARMS[:1], shares=shares)
    with pytest.raises(PlanError, match="no arm is called 'other'"):
        run_comparison(f"{folder}/", ARMS, shares=shares, baseline="other")
    with pytest.raises(UserError, match="unknown profile"):
        run_comparison(f"{folder}/", (*ARMS, Arm("it", "unknown")), shares=shares)
    with pytest.raises(CaseError, match="has no quick form"):
        run_comparison(f"{folder}/", ARMS, shares=shares, quick=True)
    assert shares.seeds == []


def test_an_arm_that_changes_while_it_is_measured_ends_it_and_what_was_measured_is_kept(
    folder: Path, tmp_path: Path
) -> None:
    shares = PretendedShares()

    def change(taken: Taken) -> None:
        if taken.done == 2:
            shares.system = "two"

    with pytest.raises(CaseError, match="the profile of the arm pretended changed"):
        run_comparison(
            *(f"{folder}/", ARMS),
            shares=shares,
            samples=3,
            on_progress=change,
            save_to=tmp_path / "result.json",
            directory=str(tmp_path),
        )
    assert len(load_result(tmp_path / "result.json").samples) >= 2


def test_no_command_line_is_loaded_for_it() -> None:
    code = (
        "import sys\nfrom osxfs_sim.emulated_shares import EmulatedShares\n"
        "from osxfs_sim.lab import run_comparison\nprint('click' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
