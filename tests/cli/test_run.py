"""``osxfs-sim run`` on a case of one's own: table, file, exit code, interruption."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from osxfs_sim.mount.mountpoints import mounts

pytestmark = pytest.mark.skipif(not os.path.exists("/dev/fuse"), reason="there is no /dev/fuse")

CASE = """
name = "look"
title = "Look for what is not there"
purpose = "One missing name."
arms = ["native", "none"]
[needs]
commands = ["sh"]
install = "apt-get install dash"
[tree]
setup = ["setup.sh", "{tree}"]
[command]
measured = ["run.sh", "{tree}"]
quick = ["quick.sh", "{tree}"]
"""
SCRIPTS = {
    "setup.sh": 'mkdir "$1"',
    "run.sh": 'test -e "$1/missing" || echo missing',
    "quick.sh": 'touch "$STARTED"; exec sleep 60',
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "look"
    folder.mkdir()
    (folder / "case.toml").write_text(CASE)
    for name, text in SCRIPTS.items():
        (folder / name).write_text(f"#!/bin/sh\n{text}\n")
        (folder / name).chmod(0o755)
    return folder


def command(folder: Path, *options: str) -> list[str]:
    program = [sys.executable, "-m", "osxfs_sim", "run", f"{folder}/", *options]
    return [*program, "--directory", str(folder.parent)]


def environment(folder: Path) -> dict[str, str]:
    return {
        **os.environ,
        "XDG_CACHE_HOME": str(folder.parent / "cache"),
        "STARTED": str(folder.parent / "started"),
    }


def run(folder: Path, *options: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        command(folder, *options),
        capture_output=True,
        text=True,
        env=environment(folder),
        timeout=120,
    )


def test_a_case_of_ones_own_is_run_arm_by_arm_and_saved(folder: Path, tmp_path: Path) -> None:
    saved = tmp_path / "result.json"
    result = run(folder, "--json", str(saved), "--runs", "1", "--dilate", "2", "--seed", "3")
    assert result.returncode == 0, result.stderr
    assert "Look for what is not there" in result.stdout
    assert "time dilated 2 times" in result.stdout
    document = json.loads(saved.read_text())
    assert (document["case"], document["dilate"], document["seed"]) == ("look", 2.0, 3)
    native, none = document["arms"]
    assert (native["arm"], native["runs"][0]["share"]) == ("native", None)
    assert none["runs"][0]["share"]["missing_lookups"] == 1
    assert none["mounted"]["calibration"]["calibrated"] is True
    assert not list(tmp_path.glob("osxfs-sim-run-*"))


def test_a_failed_run_has_no_time_and_the_command_fails(folder: Path) -> None:
    (folder / "run.sh").write_text("#!/bin/sh\necho broken >&2\nexit 3\n")
    result = run(folder, "--arm", "native", "--runs", "1")
    assert result.returncode == 1
    assert "failed" in result.stdout
    assert "native, fresh: exit code 3: broken" in result.stdout


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupted_run_leaves_nothing_behind(
    folder: Path, tmp_path: Path, how: signal.Signals
) -> None:
    process = subprocess.Popen(
        command(folder, "--arm", "none", "--quick"),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(folder),
        start_new_session=True,
    )
    while not (tmp_path / "started").exists():
        assert process.poll() is None
        time.sleep(0.01)
    os.killpg(process.pid, how)  # as a terminal does
    _, errors = process.communicate(timeout=60)
    assert process.returncode != 0
    assert "Traceback" not in errors
    assert not [entry for entry in mounts() if entry.mountpoint.startswith(str(tmp_path))]
    assert not list(tmp_path.glob("osxfs-sim-run-*"))
