"""``osxfs-sim run`` on a case of one's own: table, file, exit code, interruption."""

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest
from support.command import Command
from support.guests import eventually_beside
from support.small_cases import write_script

from osxfs_sim.lab.results import load_result
from osxfs_sim.mount.mounts.mountpoints import mounts
from osxfs_sim.trace.format import read_trace

pytestmark = pytest.mark.usefixtures("need_fuse")

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
quick = ["quick.sh", "{tree}"]
"""
SCRIPTS = {
    "setup.sh": 'mkdir "$1"',
    "run.sh": 'test -e "$1/missing" || echo missing',
    "quick.sh": 'touch "$STARTED"; exec sleep 60',
}


@pytest.fixture
def folder(small_case) -> Path:
    return small_case("look", CASE, SCRIPTS)


def words(folder: Path, *options: str) -> list[str]:
    return ["run", f"{folder}/", *options, "--directory", str(folder.parent)]


def environment(folder: Path) -> dict[str, str]:
    return {
        "XDG_CACHE_HOME": str(folder.parent / "cache"),
        "STARTED": str(folder.parent / "started"),
    }


@pytest.fixture(scope="session")
def measured(cli: Command):
    def measured(folder: Path, *options: str) -> "subprocess.CompletedProcess[str]":
        return cli(*words(folder, *options), env=environment(folder))

    return measured


def test_a_case_of_ones_own_is_run_arm_by_arm_and_saved(
    measured, folder: Path, tmp_path: Path
) -> None:
    saved = tmp_path / "result.json"
    result = measured(folder, "--json", str(saved), "--runs", "1", "--dilate", "2", "--seed", "3")
    assert result.returncode == 0, result.stderr
    assert "Look for what is not there" in result.stdout
    assert "time dilated 2 times" in result.stdout
    document = json.loads(saved.read_text())
    assert (document["case"], document["dilate"], document["seed"]) == ("look", 2.0, 3)
    assert (document["schema"], document["made_by"]) == (3, "run")
    native, none = document["samples"]
    assert (native["arm"], native["share"]) == ("native", None)
    assert none["share"]["missing_lookups"] == 1
    assert document["mounted"]["none"]["calibration"]["calibrated"] is True
    assert not list(tmp_path.glob("osxfs-sim-run-*"))


def test_what_a_share_holds_back_is_waited_for_shown_and_saved(
    measured, folder: Path, tmp_path: Path
) -> None:
    (folder / "case.toml").write_text(
        CASE.replace("[command]", '[command]\ncheck = ["check.sh", "{tree}"]')
    )
    for name, text in (("run.sh", 'echo hello > "$1/word"'), ("check.sh", 'test -s "$1/word"')):
        write_script(folder, name, text)
    saved = tmp_path / "result.json"
    arms = ("--arm", "native", "--arm", "osxfs", "--arm", "osxfs-delegated")
    result = measured(folder, *arms, "--json", str(saved), "--runs", "1")
    assert result.returncode == 0, result.stdout + result.stderr
    tables = [line.split()[0] for line in result.stdout.splitlines() if line.strip()]
    assert {"arm", "requests", "write-back", "trade-off"} <= set(tables)
    said = " ".join(result.stdout.split())
    assert "native: " in said
    assert "osxfs: the baseline; nothing at risk" in said
    assert "were only in the guest" in said
    native, consistent, delegated = json.loads(saved.read_text())["samples"]
    assert native["drain_s"] is None
    assert consistent["share"]["write_back"] is None
    assert delegated["share"]["write_back"]["made"] > 0
    assert delegated["share"]["write_back"]["pending_changes"] == 0
    assert delegated["drain_s"] >= 0


def test_a_wrong_result_fails_the_command(measured, folder: Path) -> None:
    (folder / "case.toml").write_text(
        CASE.replace("[command]", '[command]\ncheck = ["check.sh", "{tree}"]')
    )
    write_script(folder, "check.sh", "echo 'nothing there' >&2\nexit 1")
    result = measured(folder, "--arm", "native", "--runs", "1")
    assert result.returncode == 1
    assert "native, fresh: the check failed: exit code 1: nothing there" in result.stdout


def test_the_quick_form_takes_its_own_variant_unless_asked_otherwise(
    measured, folder: Path
) -> None:
    text = CASE.replace('"{tree}"]\n[command]', '"{tree}"]\nvariants = ["all", "part"]\n[command]')
    (folder / "case.toml").write_text(text + 'quick_variant = "part"\n')
    (folder / "quick.sh").write_text("#!/bin/sh\necho quickly\n")
    said = measured(folder, "--arm", "native", "--runs", "1", "--quick").stdout
    assert "Look for what is not there (part; quick" in said
    said = measured(folder, "--arm", "native", "--runs", "1", "--quick", "--variant", "all").stdout
    assert "Look for what is not there (all; quick" in said


def test_a_failed_run_has_no_time_and_the_command_fails(measured, folder: Path) -> None:
    (folder / "run.sh").write_text("#!/bin/sh\necho broken >&2\nexit 3\n")
    result = measured(folder, "--arm", "native", "--runs", "1")
    assert result.returncode == 1
    assert "failed" in result.stdout
    assert "native, fresh: exit code 3: broken" in result.stdout


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_an_interrupted_run_leaves_nothing_behind(
    cli: Command, folder: Path, tmp_path: Path, how: signal.Signals
) -> None:
    process = cli.start(
        *words(folder, "--arm", "none", "--quick"), env=environment(folder), start_new_session=True
    )
    eventually_beside(process, (tmp_path / "started").exists)
    os.killpg(process.pid, how)  # as a terminal does
    _, errors = process.communicate(timeout=180)
    assert process.returncode != 0
    assert "Traceback" not in errors
    assert not [entry for entry in mounts() if entry.mountpoint.startswith(str(tmp_path))]
    assert not list(tmp_path.glob("osxfs-sim-run-*"))


def test_a_trace_of_each_run_is_kept_and_named_in_the_file(
    measured, folder: Path, tmp_path: Path
) -> None:
    saved, traces = tmp_path / "look.json", tmp_path / "traces"
    options = ("--trace", str(traces), "--json", str(saved))
    done = measured(folder, *options)
    assert done.returncode == 0, done.stderr
    assert [one.trace for one in load_result(saved).of("none")] == [
        "traces/2-none-001-fresh.parquet",
        "traces/2-none-002-again.parquet",
    ], "a report finds them"
    samples = json.loads(saved.read_text())["samples"]
    native = [sample for sample in samples if sample["arm"] == "native"]
    mounted = [sample for sample in samples if sample["arm"] == "none"]
    assert [run["trace"] for run in native] == [None, None]
    assert [run["trace"] for run in mounted] == [
        "traces/2-none-001-fresh.parquet",
        "traces/2-none-002-again.parquet",
    ]
    for run in mounted:
        header, table = read_trace(tmp_path / run["trace"])
        assert header.notes["kind"] == run["kind"]
        assert header.command_end_ns - header.command_start_ns == round(run["wall_s"] * 1e9)
        missing = [row for row in table.to_pylist() if row["name"] == "missing"]
        assert [row["error"] for row in missing] == ["ENOENT"]
        assert header.command_start_ns < missing[0]["arrival_ns"] < header.command_end_ns

    again = measured(folder, *options)
    assert (again.returncode, again.stderr) == (
        1,
        f"osxfs-sim: {traces} is not empty: name another directory for the traces\n",
    )
    without = measured(folder, "--arm", "native", "--trace", str(tmp_path / "none"))
    assert without.stderr == (
        "osxfs-sim: --trace has no effect without a mounted arm: add --arm osxfs\n"
    )


def test_the_cases_are_listed_for_scripts(cli: Command) -> None:
    done = cli("cases", "--json")
    assert (done.returncode, done.stderr) == (0, "")
    cases = {case["name"]: case for case in json.loads(done.stdout)}
    assert cases["rake"]["variants"] == ["mid", "full"]
    assert cases["rake"]["options"]["bootsnap"].startswith("The application's own remedy")
    assert cases["rake"]["claims"][0]["text"] == "Tries 37,000 and more files that do not exist."
    assert "npm-install" in cases
