"""``histories`` and ``check-history`` from outside: answers, exit codes, what is saved."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from support.command import Command

import osxfs_sim
from osxfs_sim.cli import histories, main
from osxfs_sim.cli.histories import check_history
from osxfs_sim.coherence.histories.history import History
from osxfs_sim.coherence.histories.linearize import CheckResult
from osxfs_sim.coherence.histories.modes import Bounds
from osxfs_sim.coherence.histories.verdicts import HistoryVerdict, PartitionVerdict, Rules
from osxfs_sim.model.consistency import Mode

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


@pytest.fixture(scope="session")
def osxfs(cli: Command):
    def osxfs(*arguments: str | Path) -> "subprocess.CompletedProcess[str]":
        return cli(*arguments)

    return osxfs


def test_a_plain_directory_has_nothing_to_find(osxfs) -> None:
    result = osxfs(
        "histories", "native", "--runs", "2", "--operations", "15", "--seed", "4", "--json"
    )
    assert result.returncode == 0, result.stderr
    document = json.loads(result.stdout)
    assert document["counts"] == {"ok": 2, "violation": 0, "unknown": 0}
    assert [each["seed"] for each in document["runs"]] == [4, 5]
    assert document["mode"] == "consistent"


def test_what_is_not_decided_in_time_is_counted_as_unknown(osxfs) -> None:
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
def test_a_mistake_is_one_line(osxfs, arguments: tuple[str, ...], words: str) -> None:
    result = osxfs("histories", *arguments)
    assert result.returncode != 0
    assert words in result.stderr
    assert len(result.stderr.splitlines()) == 1


def test_saved_histories_are_judged_again(osxfs) -> None:
    good, bad = CORPUS / "good" / "host-lag.json", CORPUS / "bad" / "read-goes-back.json"
    result = osxfs("check-history", good, bad)
    assert result.returncode == 1, result.stderr
    assert f"{good}: ok as delegated" in result.stdout
    assert f"{bad}: violation as cached" in result.stdout
    assert "2 histories: 1 ok, 1 violations, 0 unknown" in result.stdout
    assert osxfs("check-history", good).returncode == 0
    assert osxfs("check-history", good, "--as", "consistent").returncode == 1


@pytest.mark.parametrize("text", ["no json", "[]", "{}", '{"schema": 99}'])
def test_a_file_that_is_no_history_is_named(osxfs, tmp_path: Path, text: str) -> None:
    path = tmp_path / "history.json"
    path.write_text(text)
    result = osxfs("check-history", path)
    assert result.returncode == 1
    assert str(path) in result.stderr
    assert len(result.stderr.splitlines()) == 1


def by_hand(*operations: dict[str, object], **rest: object) -> str:
    """A history of one guest, who does *operations* one after the other."""
    words = {
        "schema": 1,
        "about": {},
        "grain": "share",
        "initial": {"a": "old"},
        "umask": 18,
        "operations": [
            {"actor": "guest-1", "call_ns": 10 * number, "return_ns": 10 * number + 5} | each
            for number, each in enumerate(operations)
        ],
    }
    return json.dumps(words | rest)


READ = {"operation": {"act": "read", "path": "a"}, "value": "old"}


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (by_hand({"operation": {"act": "open", "path": "a", "handle": "h"}}), "act 'open'"),
        (by_hand({"operation": {"act": "raed", "path": "a"}}), "act 'raed'"),
        (by_hand({"operation": {"act": "__init__", "path": "a"}}), "act '__init__'"),
        (by_hand({"operation": {"act": "stat", "path": "a"}, "value": "x"}), "no attributes"),
        (by_hand({"operation": {"act": "list"}, "value": None}), "no list of names"),
        (by_hand({"operation": {"act": "list"}, "value": 3}), "no list of names"),
        (by_hand({"operation": {"act": "mread", "handle": "m"}, "value": "o"}), "before any map"),
        (by_hand({"operation": {"act": "read", "path": 3}, "value": "o"}), "path of an operation"),
        (by_hand(READ, about={"rules": {"mode": "foo"}}), "mode in rules must be one of"),
        (by_hand(READ, about={"rules": {"mode": []}}), "mode in rules must be one of"),
        (by_hand(READ, about={"rules": {"stale_ns": "1s"}}), "stale_ns in rules must be"),
        (by_hand(READ, about={"rules": ["cached"]}), "rules must be an object"),
        (by_hand(READ, initial={"a": None}), "initial must be"),
        (by_hand(READ | {"call_ns": 1e400}), "Infinity is no number"),
        (by_hand(READ | {"call_ns": "now"}), "call_ns must be"),
    ],
)
def test_what_was_written_wrongly_by_hand_is_one_line(
    tmp_path: Path, text: str, words: str
) -> None:
    path = tmp_path / "history.json"
    path.write_text(text)
    result = CliRunner().invoke(main, ["check-history", str(path)])
    assert result.exit_code == 1
    assert isinstance(result.exception, SystemExit), result.exception
    assert len(result.output.splitlines()) == 1
    assert str(path) in result.output
    assert words in result.output


def test_what_was_written_rightly_by_hand_is_judged(tmp_path: Path) -> None:
    path = tmp_path / "history.json"
    path.write_text(by_hand(READ))
    assert CliRunner().invoke(check_history, [str(path)]).exit_code == 0


def test_the_last_looks_wait_until_the_bound_allows_nothing_old() -> None:
    ms = 10**6
    assert histories._settle_ns(Bounds(260 * ms)) > 260 * ms
    # Where that would take too long they do not wait for nothing.
    assert histories._settle_ns(Bounds(86_400_000 * ms)) == histories._settle_ns(Bounds())


@pytest.mark.starts_processes
def test_the_smallest_history_is_not_judged_without_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where its search is given up, the violation that was found is told."""
    limits = []

    def gives_up(_: History, rules: Rules) -> HistoryVerdict:
        limits.append(rules.limits)
        return HistoryVerdict(rules.mode, (PartitionVerdict(("a",), CheckResult.UNKNOWN),))

    monkeypatch.setattr(histories, "check", gives_up)
    found = PartitionVerdict(("a",), CheckResult.VIOLATION, lost=("a word",))
    run = histories._Run(1, History(()), HistoryVerdict(Mode.CACHED, (found,)), minimal=History(()))
    assert histories._minimal_part(run, Rules(Mode.CACHED)) is found
    assert all(limit.within_ns is not None for limit in limits)
    assert limits


@pytest.mark.slow
@pytest.mark.usefixtures("need_fuse")
def test_where_no_look_is_old_enough_that_is_said(osxfs) -> None:
    arguments = ("--runs", "1", "--operations", "5", "--objects", "1")
    result = osxfs("histories", "osxfs-cached", "--host-events", "none", *arguments)
    assert "none was judged by the bound" in " ".join(result.stdout.split())
    result = osxfs("histories", "osxfs-cached", *arguments)
    assert "judged by the bound" not in " ".join(result.stdout.split())
    assert result.returncode == 0, result.stdout


@pytest.mark.slow
@pytest.mark.usefixtures("need_fuse")
def test_a_share_that_does_not_hear_is_a_violation_as_cached(osxfs) -> None:
    """A bug of the museum: names that are gone are believed for a day."""
    result = osxfs("histories", "osxfs-cached", "--bug", "phantom", "--runs", "8", "--json")
    assert result.returncode == 1, result.stderr
    document = json.loads(result.stdout)
    assert document["counts"]["violation"] >= 1
    lost = [line for run in document["runs"] for each in run["objects"] for line in each["lost"]]
    assert any("longer than the bound" in line for line in lost)


@pytest.mark.slow
@pytest.mark.usefixtures("need_fuse")
def test_a_violation_is_saved_and_its_script_finds_it_unless_it_is_cured(
    osxfs, tmp_path: Path
) -> None:
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
