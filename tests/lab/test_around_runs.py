"""What happens around a measured command: reset, catching up, check; and shares of a part.

The shares are made of directories, and time is what has been written to a log:
each line of it is a second.
"""

import contextlib
import shutil
from collections.abc import Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from support.benches import Mount, by_arm, failures_of, run_in_turn, workload_of
from support.small_cases import write_script
from support.statuses import a_status

from osxfs_sim import Share, share
from osxfs_sim.lab import workload
from osxfs_sim.lab.cases import CaseError
from osxfs_sim.lab.results import Sample
from osxfs_sim.model.status import ShareStatus

CASE = """
name = "note"
title = "Write a word"
purpose = "One file made."
arms = ["native"]
[needs]
commands = ["sh"]
install = "apt-get install dash"
[tree]
setup = ["setup.sh", "{tree}"]
reset = ["reset.sh", "{tree}", "{form}"]
variants = ["whole", "inner"]
shared = { inner = "inner" }
[command]
measured = ["run.sh", "{tree}"]
check = ["check.sh", "{tree}", "{form}"]
"""
SCRIPTS = {
    "setup.sh": 'mkdir -p "$1/inner"',
    "reset.sh": 'rm -f "$1/word" && echo "reset $2" >> "$LOG"',
    "run.sh": 'echo run >> "$LOG"; test ! -e "$1/word" && echo hello > "$1/word"',
    "check.sh": 'echo "check $2" >> "$LOG"\n'
    'test "$(cat "$1/word")" = hello || { echo "the word is wrong" >&2; exit 1; }',
}


@pytest.fixture
def folder(small_case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = small_case("note", CASE, SCRIPTS)
    (tmp_path / "log").touch()
    monkeypatch.setenv("LOG", str(tmp_path / "log"))
    monkeypatch.setattr(
        workload.time, "perf_counter_ns", lambda: len(logged(tmp_path)) * 1_000_000_000
    )
    return folder


def logged(directory: Path) -> list[str]:
    return (directory / "log").read_text().splitlines()


class PretendedShare:
    """A share that logs what the lab asks of it, each flush three lines long."""

    def __init__(self, log: Path, refusal: Exception | None = None) -> None:
        self.log = log
        self.refusal = refusal
        self.first_status = a_status()
        self.flushed = 0

    def flush(self) -> ShareStatus:
        with self.log.open("a") as log:
            log.write("flush\n.\n.\n")
        if self.refusal is not None and "run" in self.log.read_text().splitlines():
            raise self.refusal
        self.flushed += 1
        return self.first_status

    def reset(self) -> ShareStatus:
        with self.log.open("a") as log:
            log.write("count anew\n")
        return a_status(requests={"WRITE": self.flushed})


def pretending(log: Path, refusal: Exception | None = None, *, forgetful: bool = False) -> Mount:
    """A mount whose guest works in the host's directory, or if *forgetful* in a copy of it."""

    @contextlib.contextmanager
    def mount(arm: str, source: Path, mountpoint: Path) -> Iterator[PretendedShare]:
        mountpoint.rmdir()
        if forgetful:
            shutil.copytree(source, mountpoint)
        else:
            mountpoint.symlink_to(source)
        with log.open("a") as file:
            file.write(f"mount {arm}: {source.name} at {mountpoint.name}\n")
        try:
            yield PretendedShare(log, refusal)
        finally:
            if forgetful:
                shutil.rmtree(mountpoint)
            else:
                mountpoint.unlink()
            mountpoint.mkdir()
        if refusal is not None:
            raise refusal

    return mount


def really(arm: str, source: Path, mountpoint: Path) -> "AbstractContextManager[Share]":
    return share(source, mountpoint, profile=arm, calibrate=False)


def results_of(
    folder: Path, mount: Mount, *arms: str, runs: int = 1, variant: str = "whole"
) -> list[list[Sample]]:
    """The samples of each arm."""
    made = run_in_turn(folder, mount, *arms, runs=runs, workload=workload_of(folder, variant))
    return by_arm(made)


def test_a_run_is_measured_between_its_reset_and_its_check(folder: Path, tmp_path: Path) -> None:
    (result,) = results_of(folder, pretending(tmp_path / "log"), "pretended", runs=2)
    one_run = ["flush", "count anew", "run", "flush", "count anew", "check whole", "check whole"]
    assert [line for line in logged(tmp_path) if line != "."] == [
        "reset whole",  # on the host: the guest of a fresh run knows nothing
        "mount pretended: host at share",
        *one_run,
        "reset whole",
        *one_run,
    ]
    assert failures_of(result) == ["", ""]
    assert [run.wall_s for run in result] == [1.0, 1.0]


def test_a_native_run_is_reset_and_checked_too_and_has_nothing_to_catch_up_with(
    folder: Path, tmp_path: Path
) -> None:
    (result,) = results_of(folder, pretending(tmp_path / "log"), "native", runs=2)
    assert logged(tmp_path) == ["reset whole", "run", "check whole"] * 2
    assert [(run.wall_s, run.drain_s) for run in result] == [(1.0, None)] * 2


def test_what_the_host_took_to_catch_up_is_kept_beside_the_wall_time(
    folder: Path, tmp_path: Path
) -> None:
    (result,) = results_of(folder, pretending(tmp_path / "log"), "pretended")
    (run,) = result
    assert (run.wall_s, run.drain_s) == (1.0, 3.0)
    # The counts go on until the host has everything: the second flush is in them.
    assert run.share is not None
    assert run.share["requests"] == {"WRITE": 2}


def test_a_run_whose_changes_the_host_does_not_get_has_failed_and_ends_its_arm(
    folder: Path, tmp_path: Path
) -> None:
    refusing = pretending(tmp_path / "log", OSError("No space left on device"))
    first, second = results_of(folder, refusing, "one", "native", runs=2)
    assert failures_of(first) == ["the host did not get everything: No space left on device"]
    assert first[0].drain_s is None
    assert failures_of(second) == ["", ""]
    assert not list(tmp_path.glob("osxfs-sim-run-*"))


def test_a_command_that_fails_is_said_before_a_host_that_does_not_catch_up(
    folder: Path, tmp_path: Path
) -> None:
    write_script(folder, "run.sh", 'echo run >> "$LOG"; echo broken >&2; exit 7')
    (result,) = results_of(folder, pretending(tmp_path / "log", OSError("full")), "one")
    assert failures_of(result) == ["exit code 7: broken"]


def test_a_wrong_result_is_a_failed_run(folder: Path, tmp_path: Path) -> None:
    write_script(folder, "run.sh", 'echo run >> "$LOG"; echo goodbye > "$1/word"')
    results = results_of(folder, pretending(tmp_path / "log"), "native", "pretended")
    assert [failures_of(result) for result in results] == [
        ["the check failed: exit code 1: the word is wrong"]
    ] * 2


def test_a_result_that_the_host_has_not_is_a_failed_run(folder: Path, tmp_path: Path) -> None:
    forgetful = pretending(tmp_path / "log", forgetful=True)
    (result,) = results_of(folder, forgetful, "pretended")
    assert failures_of(result) == ["the check failed on the host: exit code 1: the word is wrong"]


def test_the_check_is_told_where_the_guest_sees_the_tree(folder: Path, tmp_path: Path) -> None:
    (folder / "case.toml").write_text(
        CASE.replace('check.sh", "{tree}", "{form}"', 'check.sh", "{tree}", "{guest}"')
    )
    write_script(folder, "check.sh", 'echo "$(basename "$1") $(basename "$2")" >> "$LOG"')
    results_of(folder, pretending(tmp_path / "log"), "pretended")
    assert logged(tmp_path)[-2:] == ["share share", "host share"]


def test_a_reset_that_fails_is_an_error_and_leaves_nothing(folder: Path, tmp_path: Path) -> None:
    write_script(folder, "reset.sh", "echo no >&2; exit 4")
    with pytest.raises(CaseError, match=r"^the case note cannot be reset: exit code 4: no$"):
        results_of(folder, pretending(tmp_path / "log"), "native")
    assert not list(tmp_path.glob("osxfs-sim-run-*"))


def test_a_part_of_the_tree_is_shared_in_its_place(folder: Path, tmp_path: Path) -> None:
    write_script(folder, "run.sh", 'echo hello > "$1/word"; cp "$1/word" "$1/inner/copy"')
    write_script(folder, "check.sh", 'cmp "$1/word" "$1/inner/copy"')
    (result,) = results_of(folder, pretending(tmp_path / "log"), "pretended", variant="inner")
    assert "mount pretended: shared at inner" in logged(tmp_path)
    assert failures_of(result) == [""]
    assert not list(tmp_path.glob("osxfs-sim-run-*"))


@pytest.mark.usefixtures("need_fuse")
def test_only_what_is_shared_crosses_and_no_reset_is_counted(folder: Path) -> None:
    write_script(
        folder, "reset.sh", 'for n in 1 2 3 4 5; do test -e "$1/inner/old$n"; done; exit 0'
    )
    write_script(folder, "run.sh", '! test -e "$1/gone" && ! test -e "$1/inner/gone"')
    write_script(folder, "check.sh", '! test -e "$1/inner/wrong"')

    missing = {}
    for variant in ("whole", "inner"):
        (result,) = results_of(folder, really, "none", runs=2, variant=variant)
        assert failures_of(result) == ["", ""]
        missing[variant] = [run.share["missing_lookups"] for run in result if run.share]
    assert missing == {"whole": [2, 2], "inner": [1, 1]}


@pytest.mark.usefixtures("need_fuse")
def test_a_share_that_holds_changes_back_has_written_them_when_the_host_is_checked(
    folder: Path,
) -> None:
    (result,) = results_of(folder, really, "osxfs-delegated", runs=2)
    assert failures_of(result) == ["", ""]
    for run in result:
        assert run.share is not None
        assert run.share["write_back"]["made"] > 0
        assert run.share["write_back"]["pending_changes"] == 0
