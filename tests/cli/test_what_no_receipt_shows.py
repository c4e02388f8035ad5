"""A command that waits with its answers in hand is warned of, on a real mount."""

import json
import subprocess
from pathlib import Path

import pytest
from support.command import Command

# On a share it waits for as long as a busy machine might have it wait, and natively it does not.
_RUN = """#!/bin/sh
cd "$1" && for name in 1 2 3 4 5 6 7 8 9; do test -e "missing-$name"; done
case "$1" in */share) sleep 2 ;; esac
echo done
"""


@pytest.mark.usefixtures("need_fuse")
def test_a_client_that_waits_for_a_processor_is_seen(cli: Command, tmp_path: Path) -> None:
    def osxfs_sim(*words: str) -> "subprocess.CompletedProcess[str]":
        return cli(*words, cwd=tmp_path, cache=tmp_path / "cache", env={"COLUMNS": "400"})

    assert osxfs_sim("new-case", "waits", "--", "true").returncode == 0
    run = tmp_path / "waits/scripts/run.sh"
    run.write_text(_RUN)
    arms = ("--arm", "native", "--arm", "osxfs", "--runs", "1")
    done = osxfs_sim("run", "./waits", *arms, "--json", "r.json", "--directory", str(tmp_path))
    assert done.returncode == 0, done.stderr + done.stdout
    assert "are neither the command's own" in done.stdout
    assert "it waited for a processor, or for what no receipt shows" in done.stdout
    native, shared = json.loads((tmp_path / "r.json").read_text())["samples"]
    for arm in (native, shared):
        assert arm["others_processor_s"] >= 0
    # The same is said where the result is shown again.
    done = osxfs_sim("compare", "--show", "r.json")
    assert "in 1 of 1 run, at the worst:" in done.stdout
