"""The order of a comparison, and how its samples are taken: with pretended shares.

The case is small enough to be read here. What its commands and its shares do is
written to a log.
"""

import contextlib
import itertools
import json
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.benches import bench_of, comparison_of
from support.small_cases import write_script
from support.statuses import a_status

from osxfs_sim.lab import caches
from osxfs_sim.lab.arms import Arm
from osxfs_sim.lab.caches import check_cold, is_in_memory, make_cold
from osxfs_sim.lab.cases import CaseError
from osxfs_sim.lab.executor import Bench, measure
from osxfs_sim.lab.false_alarms import false_alarms
from osxfs_sim.lab.results import Comparison, ResultError, Sample, load_result, save_result
from osxfs_sim.lab.resume import check_resumable
from osxfs_sim.lab.schedule import Interleaved, order_of_round, seed_of, widest
from osxfs_sim.model.status import ShareStatus

MACHINE = {"kernel": "6.1", "processor": "one", "cores": 2}
LABELS = ["native", "osxfs", "cached"]


def comparison(labels: list[str] | None = None, **others: Any) -> Comparison:
    return comparison_of(labels or LABELS, **{"machine": MACHINE} | others)


def pretend(made: Comparison, schedule: Interleaved, walls_s: dict[str, Iterator[float]]) -> None:
    """Take all that is missing, without running anything."""
    while (turn := schedule.next_turn(made)) is not None:
        wall_s = next(walls_s[turn.arm])
        made.samples.append(Sample(turn.arm, turn.round, "fresh", wall_s, 0.0))


def steady(wall_s: float = 1.0) -> dict[str, Iterator[float]]:
    return {label: itertools.repeat(wall_s) for label in LABELS}


# The schedule


@given(seed=st.integers(0, 2**32), number=st.integers(0, 1_000), count=st.integers(1, 6))
def test_every_round_runs_each_arm_once_and_the_seed_says_in_which_order(
    seed: int, number: int, count: int
) -> None:
    labels = [f"arm {each}" for each in range(count)]
    order = order_of_round(labels, seed, number)
    assert sorted(order) == sorted(labels)
    assert order_of_round(labels, seed, number) == order


def test_no_arm_is_favoured_by_its_place() -> None:
    firsts = Counter(order_of_round(LABELS, 3, number)[0] for number in range(600))
    assert set(firsts) == set(LABELS)
    assert all(150 < count < 250 for count in firsts.values())
    assert [order_of_round(LABELS, 3, n) for n in range(20)] != [
        order_of_round(LABELS, 4, n) for n in range(20)
    ]


@given(cut=st.integers(0, 12), seed=st.integers(0, 50))
def test_a_comparison_goes_on_exactly_where_it_stopped(cut: int, seed: int) -> None:
    whole, part = comparison(seed=seed), comparison(seed=seed)
    pretend(whole, Interleaved(4), steady())
    assert len(whole.samples) == 12
    part.samples = whole.samples[:cut]
    pretend(part, Interleaved(4), steady())
    assert [(one.arm, one.round) for one in part.samples] == [
        (one.arm, one.round) for one in whole.samples
    ]


def test_a_failed_sample_is_kept_and_not_taken_again() -> None:
    made = comparison()
    made.samples.append(Sample("osxfs", 0, "fresh", 1.0, 0.0, failure="exit code 1: "))
    pretend(made, Interleaved(2), steady())
    assert len(made.samples) == 6
    assert len(made.of("osxfs")) == 1


def test_more_rounds_may_be_asked_for_later_and_a_begun_one_is_completed() -> None:
    made = comparison()
    pretend(made, Interleaved(2), steady())
    made.samples.append(Sample("osxfs", 2, "fresh", 1.0, 0.0))
    pretend(made, Interleaved(2), steady())
    assert Counter(one.round for one in made.samples) == {0: 3, 1: 3, 2: 3}
    pretend(made, Interleaved(5), steady())
    assert len(made.samples) == 15


def test_what_is_left_is_counted_per_arm() -> None:
    made = comparison()
    made.samples.append(Sample("osxfs", 0, "fresh", 1.0, 0.0))
    assert Interleaved(3).turns_left(made) == {"native": 3, "osxfs": 2, "cached": 3}
    assert Interleaved(3, 0.02, 9).turns_left(made)["osxfs"] == 8
    pretend(made, Interleaved(3), steady())
    assert Interleaved(3).turns_left(made).total() == 0


def test_until_goes_on_while_an_interval_is_wide_and_no_longer() -> None:
    narrow = comparison()
    pretend(narrow, Interleaved(2, 0.02, 20), steady())
    assert len(narrow.of("osxfs")) == 5  # no interval can be given before
    wide = comparison()
    pretend(wide, Interleaved(2, 0.02, 20), steady() | {"osxfs": itertools.cycle([1.0, 2.0])})
    assert len(wide.of("osxfs")) == len(wide.of("native")) == 20
    settling = comparison()
    walls_s = itertools.chain([1.0, 2.0, 1.0, 2.0], itertools.repeat(1.5))
    pretend(settling, Interleaved(2, 0.02, 50), steady() | {"osxfs": walls_s})
    assert 5 < len(settling.of("osxfs")) < 50
    assert widest(settling) <= 0.02


def test_an_arm_of_which_no_run_counts_is_not_waited_for() -> None:
    made = comparison()
    schedule = Interleaved(5, 0.02, 20)
    while (turn := schedule.next_turn(made)) is not None:
        failure = "exit code 1: " if turn.arm == "osxfs" else ""
        made.samples.append(Sample(turn.arm, turn.round, "fresh", 1.0, 0.0, failure))
    assert len(made.samples) == 15


def test_a_share_has_another_seed_each_round_and_all_arms_the_same() -> None:
    seeds = {seed_of(3, number) for number in range(50)}
    assert len(seeds) == 50
    assert seed_of(3, 1) == seed_of(3, 1) != seed_of(4, 1)


# Taking samples

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
reset = ["reset.sh", "{tree}"]
[command]
measured = ["run.sh", "{tree}"]
check = ["check.sh", "{tree}"]
"""
SCRIPTS = {
    "setup.sh": 'mkdir "$1"; ln -s nowhere "$1/link"',
    "reset.sh": 'rm -f "$1/word"; echo reset >> "$LOG"',
    "run.sh": 'test ! -e "$1/word" && echo hello > "$1/word"; echo run >> "$LOG"',
    "check.sh": 'test -L "$1/link" && test "$(cat "$1/word")" = hello',
}


@pytest.fixture
def folder(small_case, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = small_case("note", CASE, SCRIPTS)
    (tmp_path / "log").touch()
    monkeypatch.setenv("LOG", str(tmp_path / "log"))
    return folder


class PretendedShare:
    """A share that logs what it is asked for; *refusal* is raised where it writes back."""

    def __init__(self, log: Path, refusal: Exception | None) -> None:
        self.log, self.refusal = log, refusal
        self.first_status = a_status(profile="pretended")
        self.flushed = 0

    def _write(self, text: str) -> None:
        with self.log.open("a") as log:
            log.write(f"{text}\n")

    def flush(self) -> ShareStatus:
        self._write("flush")
        self.flushed += 1
        if self.refusal is not None and self.flushed == 2:
            raise self.refusal
        return self.first_status

    def reset(self) -> ShareStatus:
        self._write("count anew")
        return a_status(server_processor_s=0.5)

    def start_trace(self, path: str, *, with_calls: bool = False) -> None:
        self._write(f"trace {Path(path).name}")
        Path(path).write_text("trace")

    def stop_trace(
        self,
        *,
        command_start_ns: int | None = None,
        command_end_ns: int | None = None,
        notes: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        assert command_start_ns is not None
        assert command_end_ns is not None
        assert 0 < command_start_ns < command_end_ns
        self._write(f"end of trace {json.dumps(notes)}")
        return {"rows": 0}


def bench(
    folder: Path, labels: list[str], *, refusal: Exception | None = None, **others: Any
) -> Bench:
    """For the case in *folder*; a guest works in the host's directory."""
    log = folder.parent / "log"

    @contextlib.contextmanager
    def mount(arm: Arm, seed: int, source: Path, mountpoint: Path) -> Iterator[PretendedShare]:
        mountpoint.rmdir()
        mountpoint.symlink_to(source)
        with log.open("a") as file:
            file.write(f"mount {arm.label} with seed {seed}\n")
        try:
            yield PretendedShare(log, refusal)
        finally:
            mountpoint.unlink()
            mountpoint.mkdir()
        if refusal is not None:
            raise refusal

    return bench_of(folder, mount, labels, **others)


def logged(folder: Path) -> list[str]:
    return (folder.parent / "log").read_text().splitlines()


def test_each_sample_is_of_a_fresh_mount_of_a_fresh_tree(folder: Path, tmp_path: Path) -> None:
    made = comparison(["native", "pretended"])
    steps = list(measure(made, Interleaved(3), bench(folder, made.arms)))
    assert [len(samples) for samples in steps] == [1] * 6
    assert [sample for samples in steps for sample in samples] == made.samples
    assert [sample.failure for sample in made.samples] == [""] * 6
    assert [sample.began_s for sample in made.samples] == [0, 1, 2, 3, 4, 5]
    mounts = [line for line in logged(folder) if line.startswith("mount")]
    assert mounts == [f"mount pretended with seed {seed_of(7, number)}" for number in range(3)]
    assert {sample.drain_s is None for sample in made.of("native")} == {True}
    assert {sample.drain_s is None for sample in made.of("pretended")} == {False}
    assert list(made.mounted) == ["pretended"]
    first = made.mounted["pretended"]
    assert (first["warnings"], first["profile"]) == ([], "pretended")
    # Besides the six there is one that is not measured.
    assert logged(folder).count("run") == 7
    assert not list(tmp_path.glob("osxfs-sim-compare-*"))


def test_a_second_run_is_on_the_same_mount_and_after_a_reset(folder: Path) -> None:
    made = comparison(["pretended", "native"])
    list(measure(made, Interleaved(1, again=True), bench(folder, made.arms)))
    kinds = [(sample.arm, sample.kind) for sample in made.samples]
    assert sorted(kinds) == sorted(
        (arm, kind) for arm in ("native", "pretended") for kind in ("again", "fresh")
    )
    assert [sample.failure for sample in made.samples] == [""] * 4
    lines = logged(folder)
    start = lines.index(f"mount pretended with seed {seed_of(7, 0)}")
    one_run = ["flush", "count anew", "run", "flush", "count anew"]
    assert lines[start + 1 : start + 12] == [*one_run, "reset", *one_run]


def test_caches_are_prepared_before_each_fresh_run_of_every_arm(folder: Path) -> None:
    prepared = []
    made = comparison(["native", "pretended"])
    place = bench(folder, made.arms)
    place = replace(place, prepare_caches=lambda: prepared.append(logged(folder)[-1]))
    list(measure(made, Interleaved(2, again=True), place))
    assert len(prepared) == 4
    # As late as can be: after the tree was made, and mounted.
    assert sorted(line.split()[0] for line in prepared) == ["mount", "mount", "reset", "reset"]


def test_a_failing_command_is_a_failed_sample_and_the_others_go_on(folder: Path) -> None:
    # Fails through a mount point only.
    write_script(folder, "run.sh", 'case "$1" in */share) exit 3;; esac; echo hello > "$1/word"')
    made = comparison(["native", "pretended"])
    list(measure(made, Interleaved(2, again=True), bench(folder, made.arms)))
    assert [one.failure for one in made.samples if one.arm == "pretended"] == ["exit code 3: "] * 2
    assert len(made.of("native")) == 4
    assert made.of("pretended") == []


def test_a_command_that_fails_without_a_share_is_said_before_anything_is_measured(
    folder: Path,
) -> None:
    write_script(folder, "run.sh", "echo broken >&2; exit 3")
    said: list[str] = []
    made = comparison(["native", "pretended"])
    list(measure(made, Interleaved(1), bench(folder, made.arms, say=said.append)))
    assert said == ["it failed, even without a share: exit code 3: broken"]


def test_a_wrong_result_is_a_failed_sample(folder: Path) -> None:
    write_script(folder, "run.sh", 'echo goodbye > "$1/word"')
    made = comparison(["native", "pretended"])
    list(measure(made, Interleaved(1), bench(folder, made.arms)))
    assert all(sample.failure.startswith("the check failed") for sample in made.samples)


def test_a_share_whose_host_refuses_is_a_failed_sample_and_the_others_go_on(folder: Path) -> None:
    made = comparison(["native", "pretended"])
    place = bench(folder, made.arms, refusal=OSError("the disk is full"))
    list(measure(made, Interleaved(2), place))
    failures = [sample.failure for sample in made.samples if sample.arm == "pretended"]
    assert failures == ["the host did not get everything: the disk is full"] * 2
    assert len(made.of("native")) == 2


def test_what_is_finished_is_there_when_it_is_interrupted_and_the_rest_is_taken_later(
    folder: Path, tmp_path: Path
) -> None:
    write_script(folder, "run.sh", 'test ! -e "$STOP" && echo hello > "$1/word"')
    made = comparison(["native", "pretended"])
    taken = measure(made, Interleaved(3), bench(folder, made.arms))
    for _ in range(3):
        next(taken)
        save_result(made, tmp_path / "result.json")
    taken.close()
    assert not list(tmp_path.glob("osxfs-sim-compare-*"))
    again = load_result(tmp_path / "result.json")
    assert again == made
    list(measure(again, Interleaved(3), bench(folder, made.arms)))
    assert again.samples[:3] == made.samples
    whole = comparison(["native", "pretended"])
    pretend(whole, Interleaved(3), {label: itertools.repeat(1.0) for label in whole.arms})
    assert [(one.arm, one.round) for one in again.samples] == [
        (one.arm, one.round) for one in whole.samples
    ]


def test_nothing_is_run_for_a_comparison_that_is_complete(folder: Path) -> None:
    made = comparison(["native", "pretended"])
    list(measure(made, Interleaved(1), bench(folder, made.arms)))
    before = logged(folder)
    assert list(measure(made, Interleaved(1), bench(folder, made.arms))) == []
    assert logged(folder) == before


def test_each_run_on_a_share_has_a_trace_beside_the_result(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "traces").mkdir()
    # As an interrupted run of the same comparison would have left it.
    (tmp_path / "traces" / "2-pretended-a-b-001-fresh.parquet").write_text("half")
    made = comparison(["native", "pretended a/b"])
    place = bench(
        *(folder, made.arms),
        traces=tmp_path / "traces",
        result_directory=tmp_path,
    )
    list(measure(made, Interleaved(1, again=True), place))
    assert {sample.trace for sample in made.of("native")} == {None}
    names = [sample.trace for sample in made.of("pretended a/b")]
    assert names == [f"traces/2-pretended-a-b-001-{kind}.parquet" for kind in ("fresh", "again")]
    assert all((tmp_path / str(name)).read_text() == "trace" for name in names)
    lines = logged(folder)
    assert lines.index("run") < lines.index("trace 2-pretended-a-b-001-fresh.parquet")
    assert 'end of trace {"arm": "pretended a/b", "round": 0, "kind": "again"}' in lines


def test_a_tree_that_cannot_be_copied_is_one_line(folder: Path, tmp_path: Path) -> None:
    made = comparison(["native", "pretended"])
    with pytest.raises(CaseError, match=r"^the tree .*gone cannot be copied to .*No such file"):
        list(measure(made, Interleaved(1), bench(folder, made.arms, tree=tmp_path / "gone")))


# Going on


def test_a_comparison_may_go_on_where_nothing_has_changed() -> None:
    check_resumable(comparison(), comparison(started="2027-01-01T00:00:00+00:00"), "it")


@pytest.mark.parametrize(
    ("others", "said"),
    [
        ({"case": "other"}, "the case was note, and is other"),
        ({"arms": ["native"]}, "the list of arms"),
        ({"seed": 8}, "the seed was 7, and is 8"),
        ({"caches": "cold"}, "the state of the caches was warm, and is cold"),
        ({"quick": True}, "its form was whole, and is quick"),
        ({"dilate": 2.0}, "the dilation of time"),
        ({"sources": {"recipe": "other"}}, "the recipe of the case was one, and is other"),
        ({"plan": {"again": True}}, "what each mount is measured for"),
        ({"specs": {"osxfs": {"profile": "host", "options": {}}}}, "the arm osxfs"),
        (
            {"sources": {"recipe": "one", "systems": {"osxfs": "2"}}},
            "what the profile of osxfs says",
        ),
        ({"machine": {"kernel": "6.2", "processor": "one", "cores": 2}}, "the kernel of the mach"),
        (
            {"machine": MACHINE | {"packages": {"osxfs-sim": "9"}}},
            "the version of osxfs-sim was None, and is 9",
        ),
        (
            {"machine": MACHINE | {"code": "22"}},
            r"the code of osxfs-sim \(its digest\) was not saved, and is 22",
        ),
        (
            {"sources": {"recipe": "one", "systems": {"osxfs": "1"}, "policies": {"osxfs": "b"}}},
            r"the source of the policy of osxfs \(its digest\) was not saved, and is b",
        ),
    ],
)
def test_a_comparison_does_not_go_on_where_something_has_changed(
    others: dict[str, Any], said: str
) -> None:
    then = comparison(
        sources={"recipe": "one", "systems": {"osxfs": "1"}},
        specs={"osxfs": {"profile": "osxfs", "options": {}}},
    )
    now = replace(then, **others)
    with pytest.raises(ResultError, match=f"^it cannot be resumed: {said}"):
        check_resumable(then, now, "it")


def test_what_ran_with_another_policy_or_another_program_does_not_go_on() -> None:
    sources = {"recipe": "one", "policies": {"osxfs": "a"}}
    then = comparison(sources=sources, machine=MACHINE | {"code": "11"})
    check_resumable(then, replace(then), "it")
    with pytest.raises(ResultError, match=r"the source of the policy of osxfs .* was a, and is b"):
        check_resumable(then, replace(then, sources=sources | {"policies": {"osxfs": "b"}}), "it")
    with pytest.raises(ResultError, match=r"the code of osxfs-sim .* was 11, and is 12"):
        check_resumable(then, replace(then, machine=MACHINE | {"code": "12"}), "it")
    with pytest.raises(ResultError, match=r"what the edits do .* was not saved, and is e"):
        check_resumable(then, replace(then, sources=sources | {"edits": "e"}), "it")


# Caches


def test_cold_caches_are_refused_where_they_cannot_be_dropped(tmp_path: Path) -> None:
    with pytest.raises(CaseError, match=r"run it as root, or with --caches warm"):
        check_cold(str(tmp_path / "none"))
    (tmp_path / "drop_caches").touch()
    check_cold(str(tmp_path / "drop_caches"))
    make_cold(tmp_path, str(tmp_path / "drop_caches"))
    assert (tmp_path / "drop_caches").read_text() == "3"


def test_to_measure_asks_no_other_file_system_to_be_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """sync(2) would ask each share of the machine for what it holds, and wait for it."""

    def everywhere() -> None:
        raise AssertionError("sync(2)")

    monkeypatch.setattr(os, "sync", everywhere)
    monkeypatch.setattr(caches, "is_in_memory", lambda _: False)
    written: list[int] = []
    monkeypatch.setattr(caches, "sync_file_system", lambda fd: written.append(os.fstat(fd).st_ino))
    caches.preparation(caches.WARM, tmp_path)()
    make_cold(tmp_path, str(tmp_path / "drop_caches"))
    assert written == [tmp_path.stat().st_ino] * 2


def test_a_directory_in_memory_is_told_from_one_on_a_disk(tmp_path: Path) -> None:
    device = tmp_path.stat().st_dev
    number = f"{device >> 8 & 0xFFF}:{device & 0xFF}"
    mounts = tmp_path / "mountinfo"
    for kind, in_memory in (("tmpfs", True), ("ext4", False)):
        mounts.write_text(
            f"1 1 0:999 / / rw - other none rw\n2 1 {number} / /x rw - {kind} none rw\n"
        )
        assert is_in_memory(tmp_path, str(mounts)) is in_memory
    mounts.write_text("1 1 0:999 / / rw - tmpfs none rw\n")
    assert not is_in_memory(tmp_path, str(mounts))


# An arm against itself


def against_itself(walls_s: list[tuple[float, float]]) -> Comparison:
    made = comparison(["it (A)", "it (B)"])
    made.samples = [
        Sample(label, number, "fresh", wall_s, 0.0)
        for number, pair in enumerate(walls_s)
        for label, wall_s in zip(made.arms, pair, strict=True)
    ]
    return made


def test_an_arm_against_itself_seldom_differs_and_a_drift_shows_without_interleaving() -> None:
    walls_s = [(1 + number / 10, 1 + number / 10 + 0.01) for number in range(10)]
    found = false_alarms(against_itself(walls_s), "fresh", seed=1)
    assert found is not None
    assert found.rounds == 10
    assert found.p > 0.5
    assert found.rate < 0.05
    assert found.interval[0] <= found.rate <= found.interval[1]
    assert found.p_in_order < 0.001
    assert false_alarms(against_itself(walls_s), "fresh", seed=1) == found


def test_a_lab_that_favours_a_label_would_be_caught_in_the_act() -> None:
    walls_s = [(1 + number / 1_000, 2 + number / 1_000) for number in range(10)]
    found = false_alarms(against_itself(walls_s), "fresh", seed=1)
    assert found is not None
    assert found.p < 0.001
    assert found.rate > 0  # the wide spread of a run and its twin is within rounds


def test_without_two_rounds_there_is_nothing_to_say_of_false_alarms() -> None:
    assert false_alarms(against_itself([(1.0, 1.0)]), "fresh", seed=1) is None
    assert false_alarms(against_itself([(1.0, 1.0)] * 4), "again", seed=1) is None
