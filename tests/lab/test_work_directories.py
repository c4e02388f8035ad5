"""A lab's directory goes with the lab, and what a killed one has left goes with the next."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from osxfs_sim.lab.work_directories import left_over, remove, work_directory

_KILLED = """
import os, signal, sys
from osxfs_sim.lab.work_directories import work_directory
with work_directory("compare", sys.argv[1]) as work:
    (work / "host").mkdir()
    print(work, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def killed_lab(directory: Path) -> Path:
    done = subprocess.run(
        [sys.executable, "-c", _KILLED, str(directory)], capture_output=True, text=True, check=False
    )
    return Path(done.stdout.strip())


def nothing(_: str) -> list[str]:
    return []


def test_what_a_living_lab_works_in_is_not_left_over(tmp_path: Path) -> None:
    with work_directory("run", tmp_path) as work:
        assert work.is_dir()
        assert left_over(tmp_path, young_s=0) == []
    assert list(tmp_path.iterdir()) == []


@pytest.mark.starts_processes
def test_what_a_killed_lab_has_left_is_found_and_taken_away(tmp_path: Path) -> None:
    left = killed_lab(tmp_path)
    assert left_over(tmp_path) == []  # it might be one that is being made
    assert left_over(tmp_path, young_s=0) == [left]
    assert remove(left, lambda _: None, nothing)
    assert not left.exists()


@pytest.mark.starts_processes
def test_nothing_is_removed_while_something_is_mounted_in_it(tmp_path: Path) -> None:
    left = killed_lab(tmp_path)
    mounted = [str(left / "share")]
    assert not remove(left, lambda _: None, lambda _: list(mounted))
    assert (left / "host").is_dir()
    assert remove(left, mounted.remove, lambda _: list(mounted))


@pytest.mark.parametrize(
    "name", ["osxfs-sim-run-abcdefgh", "other", "osxfs-sim-run-abcdefgh.lab.x"]
)
def test_what_no_lab_has_made_stays(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir(mode=0o700)
    assert left_over(tmp_path, young_s=0) == []


def test_neither_a_link_nor_what_others_may_enter_is_taken_for_ours(tmp_path: Path) -> None:
    (tmp_path / "precious").mkdir(mode=0o700)
    os.symlink("precious", tmp_path / "osxfs-sim-run-abcdefgh.lab")
    (tmp_path / "osxfs-sim-run-abcdefgi.lab").mkdir(mode=0o755)
    assert left_over(tmp_path, young_s=0) == []
