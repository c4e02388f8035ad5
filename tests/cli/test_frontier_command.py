"""``osxfs-sim frontier`` on a case of one's own: measured under edits, resumed, shown again."""

import json
import subprocess
from collections import Counter
from pathlib import Path

import pytest
from support.command import Command
from support.frontiers import comparison

from osxfs_sim.cli import main
from osxfs_sim.lab.results import Comparison, load_result, save_result

CASE = """
name = "read"
title = "Read one file again and again"
purpose = "A file that somebody edits meanwhile."
arms = ["native", "none"]
[needs]
commands = ["sh"]
install = "apt-get install dash"
[tree]
setup = ["setup.sh", "{tree}"]
[command]
measured = ["run.sh", "{tree}"]
"""
SCRIPTS = {
    "setup.sh": 'mkdir "$1" && echo text > "$1/file.txt"',
    "run.sh": 'for n in 1 2 3 4 5 6 7 8; do cat "$1/file.txt" > /dev/null || true; '
    "sleep 0.05; done; echo done",
}


@pytest.fixture
def folder(small_case) -> Path:
    return small_case("read", CASE, SCRIPTS)


@pytest.fixture(scope="session")
def frontier(cli: Command):
    def frontier(where: Path, *options: str) -> "subprocess.CompletedProcess[str]":
        return cli("frontier", *options, cache=where / "cache", cwd=where)

    return frontier


def _stale_answers(made: Comparison) -> Counter[str]:
    """How many each arm was given."""
    return Counter(
        sample.arm
        for sample in made.samples
        if sample.risk is not None
        for kind in sample.risk["stale"].values()
        for _ in range(kind["stale"])
    )


@pytest.mark.usefixtures("need_fuse")
@pytest.mark.usefixtures("folder")
def test_a_case_of_ones_own_is_measured_under_edits_and_gone_on_with(
    frontier, tmp_path: Path
) -> None:
    forever = "old=osxfs-cached --cache-timeout 1h --host-events none"
    arms = ("--arm", "native", "--arm", "none", "--arm", forever, "--directory", ".")
    # The first answer is kept for an hour, and the file is another one after every edit.
    result = frontier(
        tmp_path, "./read", *arms, "--runs", "1", "--edits", "rewrite@40/s", "--picture", "f.svg"
    )
    assert result.returncode == 0, result.stderr
    assert "read (default): 1 runs of each arm, host edits rewrite@40/s" in result.stdout
    assert (tmp_path / "f.svg").read_text().startswith("<?xml")
    made = load_result(tmp_path / "frontier-read.json")
    assert made.plan["edits"] == "rewrite@40/s"
    assert made.plan["groups"] == {}
    runs, stale = 1, _stale_answers(made)
    while not stale["old"] and runs < 5:  # a busy machine has edited too late, or too early
        runs += 1
        more = ("--resume", "frontier-read.json", "--runs", str(runs))
        assert frontier(tmp_path, "./read", *more).returncode == 0
        stale = _stale_answers(load_result(tmp_path / "frontier-read.json"))
    assert stale["native"] == stale["none"] == 0
    assert stale["old"] > 0

    runs += 1
    more = ("--resume", "frontier-read.json", "--runs", str(runs))
    result = frontier(tmp_path, "./read", *more, "--json")
    assert result.returncode == 0, result.stderr
    (document,) = json.loads(result.stdout)["frontiers"]
    assert [point["runs"] for point in document["points"]] == [runs, runs]
    assert {best["limit"]["name"]: best["arm"] for best in document["best"]}["none seen"] == "none"
    assert {point["arm"] for point in document["native"]} == {"native"}
    assert [len(load_result(tmp_path / "frontier-read.json").of(arm)) for arm in made.arms] == [
        runs
    ] * 3

    result = frontier(tmp_path, "./read", *arms)
    assert result.returncode == 1
    assert "frontier-read.json exists: --resume frontier-read.json goes on with it" in result.stderr


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    save_result(comparison("rake"), tmp_path / "rake.json")
    save_result(comparison("git", seed=2), tmp_path / "git.json")
    return tmp_path


def test_saved_results_are_shown_together_without_measuring(frontier, saved: Path) -> None:
    result = frontier(
        saved, "--show", "rake.json", "git.json", "--markdown", "--picture", "f.svg", "--dark"
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("**The best policy at each limit**")
    assert "| git | osxfs, 130 us | none seen |" in result.stdout
    drawn = (saved / "f.svg").read_text()
    assert "git (mid): 5 runs" in drawn
    assert "rake (mid): 5 runs" in drawn
    assert sorted(path.name for path in saved.glob("*.json")) == ["git.json", "rake.json"]


def test_what_is_derived_has_no_samples_in_it(frontier, saved: Path) -> None:
    (document,) = json.loads(frontier(saved, "--show", "rake.json", "--json").stdout)["frontiers"]
    assert (document["case"], document["sweep"], document["edits"]) == ("rake", "short", "vim")
    assert "ages_ns" not in document["points"][0]
    standings = {point["arm"]: point["standing"] for point in document["points"]}
    assert standings["lifetime-10s"] == "beaten"
    assert standings["osxfs-negative"] == "on the frontier"
    assert [best["arm"] for best in document["best"]][:2] == ["osxfs-negative"] * 2


MISTAKES = {
    "": "name one case, such as rake; --show takes files",
    "rake git": "name one case",
    "--show": "--show takes files that frontier has saved",
    "--show none.json": "none.json cannot be read: No such file",
    "--show rake.json --runs 3": "--runs has no effect with --show",
    "--resume rake.json git": "rake.json is of the case None: name that with --resume, or none",
    "--resume rake.json --edits vim": "--edits has no effect with --resume",
    "--resume plain.json": "plain.json cannot be resumed: it was not made by frontier",
    "rake --dark": "--dark has no effect without --picture",
    "rake --picture f.pdf": "--picture f.pdf: name a file in .svg or .png",
    "--show rake.json --markdown --json": "--markdown has no effect beside --json",
    "rake --sweep defalt": "unknown sweep 'defalt'",
    "rake --sweep short --arm osxfs": "--arm has no effect with --sweep",
    "rake --arm native --arm two=native": "a frontier takes an arm with a share",
    "rake --edits nobody": "there are no edits called 'nobody'",
    "./read --quick": "has no quick form",
}


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize(("words", "said"), list(MISTAKES.items()))
def test_each_mistake_is_one_line(
    saved: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: str,
    said: str,
) -> None:
    plain = comparison("rake", runs=1)
    plain.plan = {}
    save_result(plain, saved / "plain.json")
    monkeypatch.chdir(saved)
    with pytest.raises(SystemExit) as ended:
        main(["frontier", *words.split()])
    told = capsys.readouterr()
    assert ended.value.code
    assert said in told.err
    assert told.err.count("\n") == 1
    assert not told.out
