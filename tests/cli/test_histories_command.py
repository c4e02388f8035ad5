"""``histories`` and ``check-history`` from outside: answers, exit codes, what is saved."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

import osxfs_sim

CORPUS = Path(__file__).parents[1] / "coherence" / "histories"
PACKAGE = str(Path(osxfs_sim.__file__).parents[1])


def run(*arguments: str | Path) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, *map(str, arguments)],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": PACKAGE},
    )


def osxfs(*arguments: str | Path) -> "subprocess.CompletedProcess[str]":
    return run("-m", "osxfs_sim", *arguments)


def test_a_plain_directory_has_nothing_to_find() -> None:
    result = osxfs(
        "histories", "native", "--runs", "2", "--operations", "15", "--seed", "4", "--json"
    )
    assert result.returncode == 0, result.stderr
    document = json.loads(result.stdout)
    assert document["counts"] == {"ok": 2, "violation": 0, "unknown": 0}
    assert [each["seed"] for each in document["runs"]] == [4, 5]
    assert document["mode"] == "consistent"


def test_what_is_not_decided_in_time_is_counted_as_unknown() -> None:
    result = osxfs("histories", "native", "--runs", "1", "--operations", "5", "--time-limit", "0s")
    assert "1 histories: 0 ok, 0 violations, 1 unknown" in result.stdout, result.stderr
    assert result.returncode == 0


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("osxfs", "--bound", "1s"), "--bound and --allowance have no effect as consistent"),
        (("osxfs-cached", "--bound", "1s", "--allowance", "1s"), "--allowance has no effect"),
        (("volume",), "host and guest share no tree"),
        (("osxfs", "--objects", "27"), "--objects"),
    ],
)
def test_a_mistake_is_one_line(arguments: tuple[str, ...], words: str) -> None:
    result = osxfs("histories", *arguments)
    assert result.returncode != 0
    assert words in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_saved_histories_are_judged_again() -> None:
    good, bad = CORPUS / "good" / "host-lag.json", CORPUS / "bad" / "read-goes-back.json"
    result = osxfs("check-history", good, bad)
    assert result.returncode == 1, result.stderr
    assert f"{good}: ok as delegated" in result.stdout
    assert f"{bad}: violation as cached" in result.stdout
    assert "2 histories: 1 ok, 1 violations, 0 unknown" in result.stdout
    assert osxfs("check-history", good).returncode == 0
    assert osxfs("check-history", good, "--as", "consistent").returncode == 1


@pytest.mark.parametrize("text", ["no json", "[]", "{}", '{"schema": 99}'])
def test_a_file_that_is_no_history_is_named(tmp_path: Path, text: str) -> None:
    path = tmp_path / "history.json"
    path.write_text(text)
    result = osxfs("check-history", path)
    assert result.returncode == 1
    assert str(path) in result.stderr
    assert len(result.stderr.splitlines()) == 1


@pytest.mark.slow
@pytest.mark.usefixtures("need_fuse")
def test_a_violation_is_saved_and_its_script_finds_it_unless_it_is_cured(tmp_path: Path) -> None:
    result = osxfs(
        *("histories", "osxfs-cached", "--host-events", "none", "--as", "consistent"),
        *("--runs", "4", "--objects", "1", "--save", tmp_path),
    )
    assert result.returncode == 1, result.stderr
    found = sorted(tmp_path.iterdir())
    assert found
    for place in found:
        assert {each.name for each in place.iterdir()} == {
            *("history.json", "minimal.json", "timeline.svg", "schedule.py"),
        }
        assert osxfs("check-history", place / "minimal.json").returncode == 1
        assert "<svg" in (place / "timeline.svg").read_text()
    played = [
        place
        for place in found
        if "played again" in json.loads((place / "minimal.json").read_text())["about"]["shrunk"]
    ]
    assert played
    script = played[0] / "schedule.py"
    assert run(script).returncode == 1
    cured = run(script, "profile=osxfs", "host_events=auto")
    assert cured.returncode == 0, cured.stdout + cured.stderr
