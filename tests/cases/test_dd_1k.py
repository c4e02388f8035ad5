"""The case dd-1k, run in its quick form as a user would."""

import json
import os
import subprocess
from pathlib import Path

import pytest
from support.command import Command

from osxfs_sim.lab.cases import load_case


@pytest.mark.usefixtures("need_fuse")
def test_each_block_crosses_by_itself_where_nothing_is_held_back(
    cli: Command, tmp_path: Path
) -> None:
    saved = tmp_path / "result.json"
    words = (
        "run",
        "dd-1k",
        "--quick",
        "--runs",
        "2",
        "--arm",
        "native",
        "--arm",
        "none",
        "--directory",
        str(tmp_path),
    )
    result = cli(*words, "--json", saved, cache=tmp_path / "cache")
    assert result.returncode == 0, result.stderr
    samples = json.loads(saved.read_text())["samples"]
    none = [sample for sample in samples if sample["arm"] == "none"]
    assert [sample["failure"] for sample in samples] == [""] * 4
    assert [run["share"]["requests"]["WRITE"] for run in none] == [5000, 5000]
    # The file is made anew by each run.
    assert [run["share"]["requests"]["CREATE"] for run in none] == [1, 1]
    assert "none: nothing at risk" in result.stdout


@pytest.mark.starts_processes
@pytest.mark.parametrize(("form", "size"), [("whole", 104_857_600), ("quick", 5_120_000)])
def test_only_a_whole_file_passes_the_check(tmp_path: Path, form: str, size: int) -> None:
    def check() -> "subprocess.CompletedProcess[str]":
        case = load_case("dd-1k")
        assert case.check is not None
        command = case.command(case.check, tree=tmp_path, variant="default", form=form)
        return subprocess.run(command, capture_output=True, text=True, timeout=180)

    assert check().returncode != 0
    os.truncate(os.open(tmp_path / "out", os.O_WRONLY | os.O_CREAT), size)
    assert check().returncode == 0
    os.truncate(tmp_path / "out", size - 1024)
    assert f"out has {size - 1024} bytes, and should have {size}" in check().stderr
