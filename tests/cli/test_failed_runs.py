"""A run that did not do its work is shown as failed, with its reason, and never as fast."""

import subprocess
from pathlib import Path

import pytest
from support.command import Command
from support.small_cases import write_case

CASE = """
name = "word"
title = "Write a word"
purpose = "One file made."
arms = ["native"]
[tree]
setup = ["setup.sh", "{tree}"]
[command]
measured = ["run.sh", "{tree}"]
"""
CHECK = 'check = ["check.sh", "{tree}"]\n'
SCRIPTS = {
    "setup.sh": 'mkdir "$1"',
    "run.sh": 'echo hello > "$1/word"',
    "check.sh": 'test "$(cat "$1/word")" = hello',
}


@pytest.fixture(scope="session")
def run(cli: Command):
    def run(
        folder: Path, case: str = CASE + CHECK, **scripts: str
    ) -> "subprocess.CompletedProcess[str]":
        write_case(folder, case, SCRIPTS | {f"{name}.sh": text for name, text in scripts.items()})
        return cli(
            *("run", folder, "--directory", folder.parent),
            cache=folder.parent / "cache",
            env={"COLUMNS": "200"},
        )

    return run


def test_what_does_its_work_is_not_failed(run, tmp_path: Path) -> None:
    result = run(tmp_path / "word", CASE + CHECK + 'deterministic = ["."]\n')
    assert result.returncode == 0, result.stderr
    assert "failed" not in result.stdout


@pytest.mark.parametrize(
    ("case", "scripts", "why"),
    [
        (CASE + CHECK, {"run": "echo broken >&2; exit 7"}, "exit code 7: broken"),
        (CASE + CHECK, {"run": 'echo hallo > "$1/word"'}, "the check failed: exit code 1: "),
        (CASE, {}, "the command printed nothing"),
        (
            CASE + CHECK + 'deterministic = ["."]\n',
            {"run": 'echo hello > "$1/word"; echo $$ > "$1/made-up"'},
            "the tree is not what a native run leaves: made-up",
        ),
    ],
    ids=["command", "check", "no check", "tree"],
)
def test_what_does_not_is_a_failed_run_with_its_reason(
    run, tmp_path: Path, case: str, scripts: dict[str, str], why: str
) -> None:
    result = run(tmp_path / "word", case, **scripts)
    assert result.returncode == 1
    assert "failed" in result.stdout
    assert f"native, fresh: {why}" in result.stdout
    assert "Traceback" not in result.stderr


def test_a_check_that_is_not_there_is_found_before_anything_runs(run, tmp_path: Path) -> None:
    result = run(tmp_path / "word", CASE + CHECK.replace("check.sh", "chekc.sh"))
    assert result.returncode == 1
    assert "command.check names" in result.stderr
    assert "which is no file: write it, or correct it" in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_the_last_line_that_a_command_prints_is_shown_where_it_is_a_result(
    run, tmp_path: Path
) -> None:
    printing = 'echo one; echo "median 3 ms"; echo hello > "$1/word"'
    result = run(tmp_path / "word", CASE + CHECK + "tells = true\n", run=printing)
    (line,) = (each for each in result.stderr.splitlines() if "median" in each)
    assert "s (fresh): median 3 ms, " in line
    assert "s (again): median 3 ms; 1 of 1" in line
