"""A policy of one's own in the lab: it is part of what was measured, and its mistakes show."""

import json
import subprocess
from pathlib import Path

import pytest
from support.command import Command

GOOD = """
from osxfs_sim import CachePolicy, CacheTimeouts

LIFETIME_NS = 60 * 10**9

class Mine(CachePolicy):
    def found(self, name, status, now_ns):
        return CacheTimeouts(LIFETIME_NS, LIFETIME_NS)
"""
FAILS_LATE = """
from osxfs_sim import CachePolicy

class Mine(CachePolicy):
    def negative_timeout_ns(self, name, now_ns):
        return {b"gone": None}.get(name, 0)
"""


@pytest.fixture
def here(osxfs_sim, tmp_path: Path) -> Path:
    (tmp_path / "project").mkdir()
    (tmp_path / "project/v").write_text("hello")
    words = ("new-case", "case", "--tree", "project", "--", "sh", "-c", "cat v; test ! -e gone")
    assert osxfs_sim(tmp_path, *words).returncode == 0
    return tmp_path


@pytest.fixture(scope="session")
def osxfs_sim(cli: Command):
    def osxfs_sim(directory: Path, *words: str) -> "subprocess.CompletedProcess[str]":
        return cli(*words, cwd=directory, cache=directory / "cache", env={"COLUMNS": "400"})

    return osxfs_sim


@pytest.mark.usefixtures("need_fuse")
def test_a_policy_that_was_edited_does_not_go_on_as_the_same_arm(osxfs_sim, here: Path) -> None:
    (here / "mine.py").write_text(GOOD)
    words = ("--runs", "1", "--arm", "native", "--arm", "a=osxfs --policy mine:Mine")
    done = osxfs_sim(here, "compare", "./case", *words, "--output", "c.json")
    assert done.returncode == 0, done.stderr
    saved = json.loads((here / "c.json").read_text())
    digest = saved["sources"]["policies"]["a"]
    assert saved["mounted"]["a"]["own_policy"]["digest"] == digest
    assert len(saved["machine"]["code"]) == 16
    (here / "mine.py").write_text(GOOD.replace("60", "0"))
    done = osxfs_sim(here, "compare", "--resume", "c.json", "--trust", "--runs", "2")
    assert done.returncode == 1
    # Before it, what it would run is told of.
    line = done.stderr.splitlines()[-1]
    assert line.startswith("osxfs-sim: c.json cannot be resumed: the source of the policy of a ")
    assert digest in line
    assert len(json.loads((here / "c.json").read_text())["samples"]) == 2
    (here / "mine.py").write_text(GOOD)
    done = osxfs_sim(here, "compare", "--resume", "c.json", "--trust", "--runs", "2")
    assert done.returncode == 0, done.stderr


@pytest.mark.usefixtures("need_fuse")
def test_a_policy_that_fails_in_a_run_fails_the_arm(osxfs_sim, here: Path) -> None:
    (here / "mine.py").write_text(FAILS_LATE)
    (here / "project/v").write_text("another")
    words = ("--runs", "1", "--arm", "osxfs", "--policy", "mine:Mine", "--json", "r.json")
    done = osxfs_sim(here, "run", "./case", *words)
    assert done.returncode == 1, done.stdout
    (run,) = json.loads((here / "r.json").read_text())["samples"]
    assert run["failure"].startswith("the policy failed ")
    assert "mine:Mine.negative_timeout_ns (mine.py, line 5) gave None (NoneType)" in run["failure"]
    # The tree was not set up before: what it was copied from has not changed since.
    assert "note:" not in done.stderr


@pytest.mark.usefixtures("need_fuse")
def test_a_run_says_that_what_it_was_copied_from_has_changed(osxfs_sim, here: Path) -> None:
    words = ("run", "./case", "--arm", "native", "--runs", "1")
    assert "note:" not in osxfs_sim(here, *words).stderr
    (here / "project/v").write_text("other")
    done = osxfs_sim(here, *words)
    assert done.returncode == 0
    (note,) = (line for line in done.stderr.splitlines() if "note:" in line)
    assert f"{here}/project has changed since it was copied (v changed)" in note
    assert "change copy=1 in" in note
    setup = here / "case/scripts/setup.sh"
    setup.write_text(setup.read_text().replace("copy=1", "copy=2"))
    assert "note:" not in osxfs_sim(here, *words).stderr


PROFILE = 'name = "x"\nextends = "osxfs"\n[caching]\n'


@pytest.mark.parametrize(
    ("caching", "said"),
    [
        ('policy = "negative"\ncache_timeout = "10s"', "no missing name without a negative_"),
        ('policy = "negative"\nnegative_timeout = "10s"', "no answer without a cache_timeout"),
        ('policy = "cached"', "no answer without a cache_timeout: set caching.cache_timeout"),
        ('policy = "complete"', "caches no answer without a cache_timeout"),
        ('policy = "complete"\ncache_timeout = "1s"', "without a negative_timeout"),
        (
            'policy = "cached"\ncache_timeout = "0s"\nkeep_pages = false',
            "keeps nothing with timeouts",
        ),
    ],
)
def test_a_profile_that_believes_nothing_for_want_of_a_timeout_is_refused(
    osxfs_sim, tmp_path: Path, caching: str, said: str
) -> None:
    (tmp_path / "x.toml").write_text(PROFILE + caching)
    (tmp_path / "m").mkdir()
    for words in (("profiles", "./x.toml"), ("mount", ".", "m", "--profile", "./x.toml")):
        done = osxfs_sim(tmp_path, *words)
        assert done.returncode == 1
        (line,) = done.stderr.splitlines()
        assert said in line
        assert "'x'" in line
