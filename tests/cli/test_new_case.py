"""``osxfs-sim new-case``: from a command to a run, and every mistake in one line."""

import json
import os
import subprocess
from pathlib import Path

import pytest
from support.command import Command


@pytest.fixture(scope="session")
def osxfs_sim(cli: Command):
    def osxfs_sim(directory: Path, *words: str) -> "subprocess.CompletedProcess[str]":
        return cli(*words, cwd=directory, cache=directory / "cache")

    return osxfs_sim


@pytest.mark.usefixtures("need_fuse")
def test_a_new_case_is_run_natively_and_on_a_share_at_once(osxfs_sim, tmp_path: Path) -> None:
    (tmp_path / "project").mkdir()
    (tmp_path / "project/in").write_text("hello")
    made = osxfs_sim(tmp_path, "new-case", "mine", "--tree", "project", "--", "cp", "in", "out")
    assert made.returncode == 0, made.stderr
    assert made.stdout == "made mine; now: osxfs-sim run ./mine --arm native --arm osxfs\n"
    result = osxfs_sim(
        tmp_path,
        *("run", "./mine", "--arm", "native", "--arm", "osxfs", "--runs", "1"),
        *("--json", "result.json", "--directory", str(tmp_path)),
    )
    assert result.returncode == 0, result.stdout + result.stderr
    native, shared = json.loads((tmp_path / "result.json").read_text())["samples"]
    assert [sample["failure"] for sample in (native, shared)] == ["", ""]
    assert shared["share"]["requests"]["CREATE"] == 1
    # The original is not touched.
    assert os.listdir(tmp_path / "project") == ["in"]


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["full", "--", "true"], "full is not empty: choose another folder, or empty it"),
        (["full/file", "--", "true"], "full/file exists and is no folder: choose another"),
        (["new", "--", "no-such-tool"], "there is no command 'no-such-tool' here: install it"),
        (["new", "--", "echo a && echo b"], "for shell syntax, write: -- sh -c '...'"),
        (["new", "--", "./build.sh"], "./build.sh is not in the tree, which is empty: add --tree"),
        (["new", "--tree", "full", "--", "./none.sh"], "none.sh is no program: it must exist"),
        (["new", "--tree", "full", "--", "./file"], "file is no program: it must exist and be"),
        (["new", "--tree", "gone", "--", "true"], "--tree gone does not exist: name the folder"),
        (["new", "--tree", "full/file", "--", "true"], "--tree full/file is no folder"),
        (["new", "--tree", "full", "--", "cat", "{full}/file"], "write it relative to the tree"),
        (["_", "--", "true"], "_ gives no name for a case: use a letter or a digit in it"),
        (["new", "--", "echo", "\udcff"], "is not UTF-8: put it into a script"),
        (["new"], "Missing argument 'COMMAND...'"),
    ],
)
def test_a_mistake_is_one_line_and_nothing_is_made(
    osxfs_sim, tmp_path: Path, words: list[str], complaint: str
) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full/file").touch()
    words = [word.replace("{full}", str(tmp_path / "full")) for word in words]
    result = osxfs_sim(tmp_path, "new-case", *words)
    assert result.returncode in (1, 2)
    assert complaint in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert os.listdir(tmp_path) == ["full"]
    assert os.listdir(tmp_path / "full") == ["file"]
