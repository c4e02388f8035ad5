"""The tree that a run leaves is compared with what a native run leaves, on the host's side."""

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.benches import Mount, by_arm, failures_of, run_in_turn, workload_of
from support.small_cases import write_script
from support.statuses import a_status

from osxfs_sim.lab.results import Sample
from osxfs_sim.model.status import ShareStatus

CASE = """
name = "note"
title = "Write a word"
purpose = "One file made."
arms = ["native"]
[tree]
setup = ["setup.sh", "{tree}"]
variants = ["whole", "inner"]
shared = { inner = "inner" }
[command]
measured = ["run.sh", "{tree}"]
check = ["check.sh", "{tree}"]
deterministic = ["inner"]
ignored = ["*.log"]
"""
SCRIPTS = {
    "setup.sh": 'mkdir -p "$1/inner"',
    "run.sh": 'echo run >> "$LOG"; echo hello > "$1/inner/word"; echo $$ > "$1/inner/run.log"\n'
    'echo $$ > "$1/outside"',
    "check.sh": 'test -e "$1/inner/word"',
}


@pytest.fixture
def folder(small_case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = small_case("note", CASE, SCRIPTS)
    monkeypatch.setenv("LOG", str(tmp_path / "log"))
    return folder


class CopiedShare:
    """A share whose guest works in a copy, which reaches the host at a flush, spoilt on its way."""

    def __init__(self, guest: Path, host: Path, spoil: str) -> None:
        self.first_status = a_status()
        self.guest, self.host, self.spoil = guest, host, spoil

    def flush(self) -> ShareStatus:
        shutil.copytree(self.guest, self.host, dirs_exist_ok=True)
        for word in self.host.rglob("word"):
            if self.spoil == "lost":
                word.unlink()
            elif self.spoil:
                word.write_text(self.spoil)
        return self.first_status

    def reset(self) -> ShareStatus:
        return self.first_status


def copying(spoil: str = "") -> Mount:
    @contextlib.contextmanager
    def mount(arm: str, source: Path, mountpoint: Path) -> Iterator[CopiedShare]:
        assert arm == "pretended"
        shutil.copytree(source, mountpoint, dirs_exist_ok=True)
        yield CopiedShare(mountpoint, source, spoil)
        shutil.rmtree(mountpoint)
        mountpoint.mkdir()

    return mount


def results_of(
    folder: Path, mount: Mount, *arms: str, variant: str = "whole"
) -> list[list[Sample]]:
    """The samples of each arm, which is run twice."""
    made = run_in_turn(folder, mount, *arms, runs=2, workload=workload_of(folder, variant))
    return by_arm(made)


@pytest.mark.parametrize("variant", ["whole", "inner"])
def test_the_same_tree_has_the_same_digest_natively_and_on_a_share(
    folder: Path, variant: str
) -> None:
    results = results_of(folder, copying(), "native", "pretended", variant=variant)
    assert [failures_of(result) for result in results] == [["", ""], ["", ""]]
    digests = {run.digest for result in results for run in result}
    assert len(digests) == 1
    assert None not in digests


@pytest.mark.parametrize("variant", ["whole", "inner"])
def test_a_host_that_has_another_tree_is_a_failed_run_though_the_check_is_content(
    folder: Path, variant: str
) -> None:
    # The guest sees hello; only the host's side shows what became of it.
    (result,) = results_of(folder, copying("hallo\n"), "pretended", variant=variant)
    said = "the tree is not what a native run leaves: inner/word has another content"
    assert failures_of(result) == [said] * 2


def test_a_file_that_the_host_never_got_is_named(folder: Path) -> None:
    write_script(folder, "check.sh", "exit 0")
    (result,) = results_of(folder, copying("lost"), "pretended")
    said = "the tree is not what a native run leaves: inner/word is missing"
    # The pretended share copies again what its guest still has; it is lost both times.
    assert failures_of(result) == [said] * 2


def test_the_native_run_to_compare_with_is_made_once_and_kept(folder: Path, tmp_path: Path) -> None:
    for _ in range(2):
        results_of(folder, copying(), "pretended")
    assert (tmp_path / "log").read_text().split() == ["run"] * 5
    assert not list(tmp_path.glob("osxfs-sim-run-*"))


def test_a_case_that_is_not_as_deterministic_as_it_says_is_a_failed_run(folder: Path) -> None:
    write_script(folder, "run.sh", 'echo $$ > "$1/inner/word"')
    (result,) = results_of(folder, copying(), "native")
    assert all("is not what a native run leaves: inner/word" in why for why in failures_of(result))


def test_where_a_native_run_fails_no_other_run_counts(folder: Path) -> None:
    write_script(folder, "check.sh", 'case "$1" in */share) exit 0;; esac; echo no >&2; exit 1')
    (result,) = results_of(folder, copying(), "native")
    assert failures_of(result) == ["the check failed: exit code 1: no"] * 2
    write_script(
        folder, "run.sh", 'case "$1" in */share) echo hello > "$1/inner/word";; *) exit 3;; esac'
    )
    write_script(folder, "check.sh", "exit 0")
    (result,) = results_of(folder, copying(), "pretended")
    said = "the tree cannot be verified, because a native run fails: exit code 3: "
    assert failures_of(result) == [said] * 2


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("run.sh", "{}/run.sh cannot be run"),
        ("check.sh", "the check failed: {}/check.sh cannot be"),
    ],
)
def test_a_program_that_cannot_be_run_is_a_failed_run(folder: Path, name: str, said: str) -> None:
    (folder / name).write_text("#!/no/such/interpreter\n")
    (result,) = results_of(folder, copying(), "native")
    assert all(why.startswith(said.format(folder)) for why in failures_of(result))


def test_a_check_that_went_missing_is_a_failed_run(folder: Path) -> None:
    write_script(folder, "run.sh", 'rm -f "$(dirname "$0")/check.sh"')
    (result,) = results_of(folder, copying(), "native")
    assert (
        failures_of(result)
        == [f"the check failed: {folder}/check.sh cannot be run: No such file or directory"] * 2
    )
