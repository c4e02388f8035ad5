"""The cases that need no network, run in their quick form as a user would, and what they refuse."""

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any

import pytest
from support.command import Command

from osxfs_sim.lab.cases import Case, load_case
from osxfs_sim.lab.tree_digest import entries_of, first_difference

pytestmark = pytest.mark.starts_processes

ALL = (PurePosixPath("."),)


@pytest.fixture(scope="session")
def results_of(cli: Command):
    def results_of(directory: Path, case: str, *options: str) -> list[dict[str, Any]]:
        """The only run of each arm."""
        saved = directory / "result.json"
        words = ("run", case, "--quick", "--runs", "1", *options, "--json", saved)
        result = cli(*words, cache=directory / "cache")
        assert result.returncode == 0, result.stdout + result.stderr
        return list(json.loads(saved.read_text())["samples"])

    return results_of


def set_up(case: Case, tree: Path, variant: str = "small") -> Path:
    subprocess.run(case.command(case.setup, tree=tree, variant=variant), check=True)
    return tree


def run(
    case: Case, words: tuple[str, ...] | None, tree: Path, variant: str = "small"
) -> "subprocess.CompletedProcess[str]":
    assert words is not None
    command = case.command(words, tree=tree, variant=variant, form="quick")
    return subprocess.run(command, capture_output=True, text=True, timeout=180)


@pytest.mark.usefixtures("need_fuse")
@pytest.mark.parametrize(
    ("case", "options", "requests"),
    [
        # Each file asked for twice; nothing is believed.
        ("find-stat", [], {"LOOKUP": 2_000}),
        # Each path has two components, and stat asks for what it has found.
        ("walk", [], {"LOOKUP": 2_000, "GETATTR": 1_000, "READDIRPLUS": 2}),
        # A quarter of 150 files made anew twice, and six that are only on one branch.
        ("git", [], {"CREATE": 80, "UNLINK": 80}),
        ("tar", [], {"CREATE": 400, "SYMLINK": 20, "WRITE": 400}),
        # Every transaction crosses to the disk: with the journal, more than once.
        ("sqlite", [], {"FSYNC": 150, "CREATE": 51, "UNLINK": 50}),
        ("sqlite", ["--variant", "wal"], {"FSYNC": 50}),
    ],
)
def test_it_does_the_same_natively_and_on_a_share_and_its_questions_cross(
    results_of, tmp_path: Path, case: str, options: list[str], requests: dict[str, int]
) -> None:
    native, shared = results_of(tmp_path, case, "--arm", "native", "--arm", "osxfs", *options)
    assert [native["failure"], shared["failure"]] == ["", ""]
    assert native["digest"] == shared["digest"]
    assert (native["digest"] is not None) == bool(load_case(case).deterministic)
    counted = shared["share"]["requests"]
    assert {name: counted[name] for name in requests if counted[name] < requests[name]} == {}


@pytest.mark.usefixtures("need_fuse")
def test_a_share_that_holds_changes_back_still_lets_each_fdatasync_cross(
    results_of, tmp_path: Path
) -> None:
    (held,) = results_of(tmp_path, "sqlite", "--arm", "osxfs-delegated")
    assert held["failure"] == ""
    assert held["share"]["requests"]["FSYNC"] >= 150
    # What is waited for is written back before the answer: little is ever at risk.
    assert held["share"]["write_back"]["most_changes_at_risk"] < 20


@pytest.mark.parametrize("name", ["find-stat", "tar", "walk"])
def test_set_up_makes_the_same_tree_again(tmp_path: Path, name: str) -> None:
    case = load_case(name)
    one, other = set_up(case, tmp_path / "one"), set_up(case, tmp_path / "other")
    assert first_difference(entries_of(one, ALL), entries_of(other, ALL)) == ""


def test_the_repository_is_the_same_to_its_hashes(tmp_path: Path) -> None:
    tree = set_up(load_case("git"), tmp_path / "tree")
    command = ["git", "-c", "safe.directory=*", "-C", str(tree), "rev-parse", "main", "other"]
    said = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    assert said == GIT_HASHES


GIT_HASHES = [
    "663db366c9a8f1cdc8eded88c5fffbc047be5b74",
    "0a411545a6a168fa10e52a4fffaefd894f3be272",
]


# What must be refused


def test_a_walk_that_finds_fewer_files_fails(tmp_path: Path) -> None:
    case = load_case("find-stat")
    tree = set_up(case, tmp_path / "tree")
    first, second = run(case, case.measured, tree).stdout.splitlines()
    assert first == second
    assert first.startswith("1000 files, ")
    (tree / "files/d00/e00/f000").unlink()
    result = run(case, case.measured, tree)
    assert (result.returncode, result.stderr) == (
        1,
        "walk.sh: found other files than were made\n",
    )


@pytest.mark.parametrize("variant", ["small", "tree"])
def test_walking_once_fails_if_it_finds_fewer_files(tmp_path: Path, variant: str) -> None:
    case = load_case("walk")
    tree = set_up(case, tmp_path / "tree", variant)
    assert run(case, case.measured, tree, variant).returncode == 0
    next((tree / "files").rglob("file7")).unlink()
    result = run(case, case.measured, tree, variant)
    assert (result.returncode, result.stderr) == (
        1,
        "walk.sh: found other files than were made\n",
    )


def test_git_refuses_a_file_that_is_not_what_the_branch_has(tmp_path: Path) -> None:
    case = load_case("git")
    tree = set_up(case, tmp_path / "tree")
    for words in (case.reset, case.measured, case.check):
        result = run(case, words, tree)
        assert result.returncode == 0, result.stderr
    first = next(path for path in sorted(tree.glob("src/**/*.txt")))
    first.write_text("another text\n")
    for words in (case.check, case.measured):
        result = run(case, words, tree)
        assert result.returncode == 1
        assert f" M {first.relative_to(tree)}" in result.stderr
    run(case, case.reset, tree)
    assert run(case, case.check, tree).returncode == 0
    (tree / ".git/HEAD").write_text("ref: refs/heads/other\n")
    assert "on branch other, not main" in run(case, case.check, tree).stderr


def rewrite(file: Path, text: str) -> None:
    """Another text, and nobody sees by its time that it is another."""
    before = file.stat()
    file.write_text(text)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (lambda file: rewrite(file, "x" * file.stat().st_size), "Contents differ"),
        (lambda file: rewrite(file, "x"), "Size differs"),
        (lambda file: file.chmod(0o600), "Mode differs"),
        (lambda file: os.utime(file, (0, 0)), "Mod time differs"),
        (lambda file: file.unlink(), "No such file or directory"),
    ],
)
def test_tar_refuses_whatever_is_not_as_in_the_archive(
    tmp_path: Path, spoil: Callable[[Path], object], said: str
) -> None:
    case = load_case("tar")
    tree = set_up(case, tmp_path / "tree")
    assert run(case, case.check, tree).returncode == 1
    assert run(case, case.measured, tree).returncode == 0
    assert run(case, case.check, tree).returncode == 0
    spoil(tree / "out/include/part03/unit003/header04.h")
    result = run(case, case.check, tree)
    assert result.returncode == 1
    assert said in result.stderr
    assert run(case, case.reset, tree).returncode == 0
    assert os.listdir(tree / "out") == []


@pytest.mark.parametrize("variant", ["journal", "wal"])
def test_sqlite_refuses_a_database_that_lacks_a_row_or_is_broken(
    tmp_path: Path, variant: str
) -> None:
    case = load_case("sqlite")
    tree = set_up(case, tmp_path / "tree", variant)
    assert "unable to open" in run(case, case.check, tree).stderr
    assert run(case, case.measured, tree, variant).stdout == "50 transactions\n"
    assert os.listdir(tree) == ["data.db"]
    assert run(case, case.check, tree).returncode == 0
    assert os.listdir(tree) == ["data.db"]
    whole = case.command(case.check or (), tree=tree, variant=variant)
    result = subprocess.run(whole, capture_output=True, text=True, timeout=180)
    assert result.stderr == "database.py: 50 rows, of 500, or with other contents\n"
    with open(tree / "data.db", "r+b") as file:
        file.seek(4096)
        file.write(b"\xff" * 4096)
    assert run(case, case.check, tree).returncode == 1
    shutil.copy(__file__, tree / "data.db")
    assert "file is not a database" in run(case, case.check, tree).stderr
