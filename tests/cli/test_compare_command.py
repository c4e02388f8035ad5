"""``osxfs-sim compare`` on a case of one's own: samples kept, interrupted, gone on with."""

import json
import os
import shutil
import signal
import subprocess
from pathlib import Path

import pytest
from support.command import Command
from support.guests import eventually_beside
from support.small_cases import write_script

from osxfs_sim.lab.results import load_result, save_result
from osxfs_sim.mount.mounts.mountpoints import mounts

pytestmark = pytest.mark.usefixtures("need_fuse")

RESULT_OF_A_RUN = Path(__file__).parents[2] / "docs" / "results" / "rake-mid.json"
CASE = """
name = "look"
title = "Look for what is not there"
purpose = "One missing name."
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
    "setup.sh": 'mkdir "$1"',
    # Its third run, the one before measuring counted, does not end by itself, if asked to.
    "run.sh": 'echo run >> "$RUNS"; test ! -e "$HANG" || test "$(wc -l < "$RUNS")" -lt 3 || '
    '{ touch "$STARTED"; exec sleep 60; }; test -e "$1/missing" || echo missing',
}


@pytest.fixture
def folder(small_case) -> Path:
    return small_case("look", CASE, SCRIPTS)


def environment(folder: Path) -> dict[str, str]:
    return {name: str(folder.parent / name.lower()) for name in ("RUNS", "HANG", "STARTED")}


@pytest.fixture(scope="session")
def compare(cli: Command):
    def compare(folder: Path, *options: str) -> "subprocess.CompletedProcess[str]":
        return cli(
            "compare",
            *options,
            env=environment(folder),
            cache=folder.parent / "cache",
            cwd=folder.parent,
        )

    return compare


def nothing_is_left_in(directory: Path) -> bool:
    return not list(directory.glob("osxfs-sim-compare-*")) and not [
        entry for entry in mounts() if entry.mountpoint.startswith(str(directory))
    ]


ARMS = ("--arm", "native", "--arm", "still=none --seed 5", "--directory", ".")


def test_a_case_of_ones_own_is_compared_saved_and_gone_on_with(
    compare, folder: Path, tmp_path: Path
) -> None:
    result = compare(folder, "./look", *ARMS, "--runs", "3", "--again", "--trace", "traces")
    assert result.returncode == 0, result.stderr
    assert "Look for what is not there (default; the whole command; fresh mounts" in result.stdout
    assert "again on the same mount" in result.stdout
    made = load_result(tmp_path / "comparison-look.json")
    assert (made.arms, made.baseline, made.caches) == (["native", "still"], "native", "warm")
    assert made.specs["still"] == {"profile": "none", "options": {"seed": 5}}
    assert [len(made.of(arm, kind)) for arm in made.arms for kind in ("fresh", "again")] == [3] * 4
    assert made.mounted["still"]["calibration"]["calibrated"] is True
    for sample in made.of("still"):
        assert sample.share is not None
        assert sample.share["missing_lookups"] == 1
        assert sample.share["seed"] == 5
        assert sample.trace is not None
        assert (tmp_path / sample.trace).stat().st_size > 0
    assert nothing_is_left_in(tmp_path)
    # What is there is not overwritten, and may be gone on with.
    again = compare(folder, "./look", *ARMS)
    assert again.returncode == 1
    assert again.stderr.startswith("osxfs-sim: comparison-look.json exists: --resume ")
    more = compare(folder, "./look", "--resume", "comparison-look.json", "--runs", "5", "--json")
    assert more.returncode == 0, more.stderr
    whole = load_result(tmp_path / "comparison-look.json")
    assert whole.samples[:12] == made.samples
    assert len(whole.samples) == 20
    assert whole.plan["runs"] == 5
    arms = json.loads(more.stdout)["arms"]
    assert [(arm["label"], arm["kind"], arm["runs"]) for arm in arms] == [
        *(("native", "fresh", 5), ("still", "fresh", 5)),
        *(("native", "again", 5), ("still", "again", 5)),
    ]
    assert len(arms[1]["ratio_interval"]) == 2
    # Where one arm is complete and another is not, what is left is still told.
    whole.samples = [each for each in whole.samples if (each.arm, each.round) != ("still", 1)]
    whole.samples = [each for each in whole.samples if (each.arm, each.round) != ("still", 2)]
    save_result(whole, tmp_path / "comparison-look.json")
    rest = compare(folder, "./look", "--resume", "comparison-look.json")
    assert rest.returncode == 0, rest.stderr
    assert len(load_result(tmp_path / "comparison-look.json").samples) == 20


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_comparison_keeps_what_is_finished_and_goes_on(
    cli: Command, compare, folder: Path, tmp_path: Path, how: signal.Signals
) -> None:
    (tmp_path / "hang").touch()
    process = cli.start(
        *("compare", "./look", *ARMS, "--runs", "2"),
        env=environment(folder),
        cache=tmp_path / "cache",
        cwd=tmp_path,
        start_new_session=True,
    )
    eventually_beside(process, (tmp_path / "started").exists)
    os.killpg(process.pid, how)  # as a terminal does
    shown, errors = process.communicate(timeout=180)
    assert process.returncode == 128 + how
    assert "Traceback" not in errors
    assert "Look for what is not there" in shown
    assert "to go on: osxfs-sim compare ./look --resume comparison-look.json" in errors
    assert nothing_is_left_in(tmp_path)
    (kept,) = load_result(tmp_path / "comparison-look.json").samples
    (tmp_path / "hang").unlink()
    result = compare(folder, "./look", "--resume", "comparison-look.json")
    assert result.returncode == 0, result.stderr
    whole = load_result(tmp_path / "comparison-look.json")
    assert whole.samples[0] == kept
    assert [len(whole.of(arm)) for arm in whole.arms] == [2, 2]


def test_it_does_not_go_on_with_another_recipe_or_other_arms(
    compare, folder: Path, tmp_path: Path
) -> None:
    assert compare(folder, "./look", *ARMS, "--runs", "1").returncode == 0
    before = (tmp_path / "comparison-look.json").read_text()
    go_on = ("./look", "--resume", "comparison-look.json", "--runs", "2")
    for change in (("--arm", "native", "--arm", "none"), ("--seed", "9"), ("--baseline", "still")):
        result = compare(folder, *go_on, *change)
        assert result.returncode == 1
        assert "cannot be resumed: " in result.stderr
        assert len(result.stderr.splitlines()) == 1
    write_script(folder, "run.sh", "echo something else")
    result = compare(folder, *go_on)
    assert "cannot be resumed: the recipe of the case was" in result.stderr
    assert (tmp_path / "comparison-look.json").read_text() == before


def test_a_failing_arm_is_shown_and_fails_the_command(
    compare, folder: Path, tmp_path: Path
) -> None:
    write_script(
        folder, "run.sh", 'case "$1" in */share) echo broken >&2; exit 3;; esac; echo fine'
    )
    result = compare(folder, "./look", *ARMS, "--runs", "1", "--output", "mine.json")
    assert result.returncode == 1
    assert "0 (1 failed)" in result.stdout
    assert "still: 1 of 1 run failed, not counted: exit code 3: broken" in result.stdout
    assert len(load_result(tmp_path / "mine.json").samples) == 2


def test_an_arm_against_itself_says_how_often_it_cries_wolf(
    compare, folder: Path, tmp_path: Path
) -> None:
    result = compare(folder, "./look", "--aa", "native", "--runs", "3", "--directory", ".")
    assert result.returncode == 0, result.stderr
    assert "A/A, fresh: 3 rounds of an arm against itself" in result.stdout
    assert "it cries wolf in " in " ".join(result.stdout.split())
    assert load_result(tmp_path / "comparison-look.json").arms == ["native (A)", "native (B)"]


@pytest.mark.slow  # for everybody else on the machine, too
@pytest.mark.skipif(
    os.geteuid() != 0 or not os.access("/proc/sys/vm/drop_caches", os.W_OK),
    reason="caches cannot be dropped here",
)
def test_cold_caches_are_dropped_and_a_tree_in_memory_is_warned_about(
    compare, folder: Path, tmp_path: Path
) -> None:
    memory = Path("/dev/shm") / f"{tmp_path.name}-{os.getpid()}"
    memory.mkdir()
    try:
        options = ("--caches", "cold", "--runs", "1", "--directory", str(memory))
        result = compare(folder, "./look", "--arm", "native", "--arm", "none", *options)
    finally:
        shutil.rmtree(memory)
    assert result.returncode == 0, result.stderr
    assert "warning: the trees lie in memory" in result.stderr
    assert "cold host caches" in result.stdout


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ((), "name a case, such as rake, or --resume a file"),
        (("./look", "--arm", "native"), "a comparison takes two arms"),
        (("./look", "--aa", "native", "--arm", "native"), "--arm has no effect with --aa"),
        (("./look", "--most-runs", "9"), "--most-runs has no effect without --until"),
        (("./look", "--until", "2"), "'2' is not a percentage: write it like 2%"),
        (("./look", "--until", "2%", "--most-runs", "4"), "leaves --until no room"),
        (("./look", "--baseline", "nativ"), "no arm is called 'nativ'; did you mean 'native'?"),
        (("./look", "--quick"), "has no quick form: compare it without --quick"),
        (("./look", "--aa", "native", "--dilate", "2"), "--dilate has no effect without a mounted"),
        (("./look", "--output", "no/where.json"), "cannot be written: its directory does not"),
        (("./look", "--trace", "look"), "look is not empty: name another directory"),
        (("--resume", "none.json"), "none.json cannot be read"),
        (("--resume", str(RESULT_OF_A_RUN)), "cannot be resumed: it was not made by compare"),
        (("--resume", "look/case.toml"), "look/case.toml is no result: it is not JSON"),
    ],
)
def test_a_mistake_is_one_line_and_nothing_is_run(
    compare, folder: Path, tmp_path: Path, options: tuple[str, ...], said: str
) -> None:
    result = compare(folder, *options)
    assert result.returncode in (1, 2)
    assert result.stdout == ""
    assert said in result.stderr
    assert len(result.stderr.splitlines()) == 1
    assert not (tmp_path / "runs").exists()
    assert not list(tmp_path.glob("*.json"))
