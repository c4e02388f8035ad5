"""``--edits`` and ``osxfs-sim edits``: on a real share that is told nothing by the host."""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
from support.asking import asking_case
from support.command import Command

from osxfs_sim.coherence.edits.stream import parse_stream

needs_a_share = pytest.mark.skipif(
    not os.path.exists("/dev/fuse") or shutil.which("cc") is None,
    reason="there is no /dev/fuse, or no C compiler",
)


@pytest.fixture(scope="session")
def osxfs_sim(cli: Command):
    def osxfs_sim(where: Path, *words: str) -> "subprocess.CompletedProcess[str]":
        return cli(*words, cwd=where, cache=where / "cache", env={"COLUMNS": "200"})

    return osxfs_sim


@needs_a_share
def test_a_cache_that_hears_of_nothing_gives_stale_answers_and_none_gives_none(
    osxfs_sim,
    tmp_path: Path,
) -> None:
    asking_case(tmp_path)
    options = ("--runs", "1", "--json", "out.json", "--directory", str(tmp_path), "--seed", "5")
    silent = ("--cache-timeout", "60s", "--host-events", "none")
    arms = ("--arm", "native", "--arm", "osxfs-cached")
    result = osxfs_sim(
        tmp_path, "run", "./ask", *arms, *options, *silent, "--edits", "rewrite@30/s"
    )
    assert result.returncode == 0, result.stderr
    assert "a native run, to see what the case asks for" in result.stderr
    assert "median age" in result.stdout
    assert "do not believe" not in result.stdout
    native, cached = json.loads((tmp_path / "out.json").read_text())["samples"]
    for arm in (native, cached):
        risk = arm["risk"]
        assert (risk["edits"]["stream"], risk["edits"]["seed"]) == ("rewrite@30/s", 5)
        assert risk["edits"]["made"] > 0
        assert risk["result"] == "same"
        assert risk["answers"]["judged"] > risk["answers"]["unknown"]
        assert risk["native"]["stale"] == 0
    of_native, of_cached = (arm["risk"]["stale"] for arm in (native, cached))
    assert sum(kind["stale"] for kind in of_native.values()) == 0
    # Attributes are believed for a minute; a listing alone renews them.
    assert of_cached["attributes"]["stale"] > 0
    assert all(age_ns >= 0 for age_ns in of_cached["attributes"]["ages_ns"])


@pytest.fixture(scope="session")
def stale_contents(osxfs_sim):
    def stale_contents(where: Path, replaced: str) -> int:
        """How many contents the case reads stale, on a deaf share, while files are replaced."""
        out = where / "out.json"
        out.unlink(missing_ok=True)
        options = ("--runs", "1", "--json", str(out), "--directory", str(where), "--seed", "5")
        share = ("--arm", "virtiofsd-always", "--replaced", replaced)
        result = osxfs_sim(where, "run", "./ask", *share, *options, "--edits", "replace@30/s")
        assert result.returncode == 0, result.stderr
        (arm,) = json.loads(out.read_text())["samples"]
        risk = arm["risk"]
        assert risk["edits"]["made"] > 0
        stale = risk["stale"]["content"]["stale"]
        assert isinstance(stale, int)
        return stale

    return stale_contents


@needs_a_share
def test_what_is_read_of_a_replaced_file_that_is_held_counts_as_stale(
    stale_contents, tmp_path: Path
) -> None:
    asking_case(tmp_path)
    assert stale_contents(tmp_path, "anew") == 0
    # The case lists the directory all the time, which brings the new names: most edits meet one
    # of its reads before that, and once in a while none does.
    assert any(stale_contents(tmp_path, "held") > 0 for _ in range(5))


@needs_a_share
@pytest.mark.slow
def test_a_comparison_under_edits_is_made_shown_and_gone_on_with(osxfs_sim, tmp_path: Path) -> None:
    asking_case(tmp_path)
    arms = (
        "--arm",
        "native",
        "--arm",
        "silent=osxfs-cached --cache-timeout 60s --host-events none",
    )
    options = ("--directory", str(tmp_path), "--edits", "vim@10/s", "--runs", "1")
    result = osxfs_sim(tmp_path, "compare", "./ask", *arms, *options)
    assert result.returncode in (0, 1), result.stderr  # a replaced file may be a lost handle
    assert "median age" in result.stdout
    again = osxfs_sim(
        tmp_path, "compare", "./ask", "--resume", "comparison-ask.json", "--edits", "nano"
    )
    assert again.returncode == 1
    assert "cannot be resumed: the edits was vim@10/s, and is nano" in again.stderr


def test_edits_that_do_not_exist_are_one_line_with_the_remedy(osxfs_sim, tmp_path: Path) -> None:
    for command in ("run", "compare"):
        result = osxfs_sim(tmp_path, command, "git", "--edits", "vmi@5/s")
        assert result.returncode == 1
        assert result.stderr.startswith("osxfs-sim: there are no edits called 'vmi'")
        assert len(result.stderr.splitlines()) == 1


def test_edits_are_recorded_listed_and_not_overwritten(osxfs_sim, tmp_path: Path) -> None:
    (tmp_path / "project").mkdir()
    (tmp_path / "project" / "a.txt").write_text("hello\n")
    record = ("edits", "record", "project", "mine.toml")
    tool = ("--", "sed", "-i", "s/h/H/", "project/a.txt")
    result = osxfs_sim(tmp_path, *record, "--about", "my tool", "--rate", "3/s", *tool)
    assert result.returncode == 0, result.stderr
    assert result.stdout.startswith("mine.toml: 1 at a time, each: create sed")
    stream = parse_stream(str(tmp_path / "mine.toml"))
    assert (stream.pattern.about, stream.rate_per_s) == ("my tool", 3)
    assert stream.pattern.recorded == "osxfs-sim edits record DIR, of: sed -i s/h/H/ DIR/a.txt"
    again = osxfs_sim(tmp_path, *record, *tool)
    assert (again.returncode, again.stderr) == (
        1,
        "osxfs-sim: mine.toml exists: --force overwrites it\n",
    )
    nothing = osxfs_sim(tmp_path, *record, "--force", "--", "true")
    assert nothing.stderr.startswith("osxfs-sim: no file was edited: the command must")
    listed = osxfs_sim(tmp_path, "edits", "list")
    assert listed.returncode == 0
    assert "git-checkout" in listed.stdout
