"""``osxfs-sim record`` and ``predict``: a small case recorded once, and predicted; mistakes."""

import json
import os
from pathlib import Path

import pytest
from support.command import Command
from support.traces import found, in_turn, missed, row, write_trace

import osxfs_sim
from osxfs_sim.model.caching import Consistent
from osxfs_sim.predicting import RecordingFailedError
from osxfs_sim.simulate.recording import read_recording

CASE = """
name = "look"
title = "Look for what is not there"
purpose = "Three missing names, twice."
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
    "setup.sh": 'mkdir -p "$1/lib"',
    "run.sh": 'for again in 1 2; do for each in x y z; do test -e "$1/lib/$each"; done; done; '
    "echo done",
}
UNCACHED = Consistent().describe()


def a_recording(path: Path, **header: object) -> Path:
    """By hand: a directory, and a name that is not in it, thrice; 2 ms native."""
    rows = [
        found("lib", 2, mode=0o040755, object_bytes=40, links=2),
        *[missed("x", 2)] * 3,
        row("FORGET", 2),
    ]
    told = {"policy": UNCACHED, "notes": {"native_wall_ns": [2_000_000]}}
    return write_trace(path, in_turn(rows), **{**told, **header})


# Recorded


@pytest.mark.usefixtures("need_fuse")
def test_a_case_is_recorded_and_predicted(cli: Command, small_case, tmp_path: Path) -> None:
    small_case("look", CASE, SCRIPTS)
    options = ("-o", "look.parquet", "--native-runs", "1", "--directory", ".")
    recorded = cli("record", "./look", *options, cwd=tmp_path, cache=tmp_path / "cache")
    assert recorded.returncode == 0, recorded.stderr
    assert "see: osxfs-sim predict look.parquet" in recorded.stdout
    recording = read_recording(tmp_path / "look.parquet")
    assert len(recording.header.notes["native_wall_ns"]) == 1
    assert recording.begin_ns < recording.end_ns
    if os.geteuid() == 0:
        assert any(each.call for each in recording.questions)
    left = {each.name for each in tmp_path.iterdir()}
    assert left == {"look", "cache", "look.parquet"}
    predicted = cli("predict", "look.parquet", "--json", "p.json", cwd=tmp_path)
    assert predicted.returncode == 0, predicted.stderr
    arms = {arm["name"]: arm for arm in json.loads((tmp_path / "p.json").read_text())["arms"]}
    missing = {name: arm["missing_lookups"] for name, arm in arms.items()}
    # Of the names in lib: osxfs asks each time, osxfs-negative once each.
    assert missing["osxfs"] - missing["osxfs-negative"] == 3
    assert missing["osxfs-complete"] < missing["osxfs-negative"]
    assert arms["osxfs"]["wall_ns"] > arms["osxfs-negative"]["wall_ns"]
    notes = recording.header.notes
    assert notes["server_processor_ns"] >= 0
    assert notes["server_requests"] > 0
    verify = ("--verify", "1", "--arm", "osxfs-negative", "--json", "v.json")
    verified = cli("predict", "look.parquet", *verify, cwd=tmp_path, cache=tmp_path / "cache")
    assert verified.returncode == 0, verified.stderr
    (arm,) = json.loads((tmp_path / "v.json").read_text())["verified"]
    assert (arm["name"], arm["runs"], arm["failures"]) == ("osxfs-negative", 1, [])
    assert arm["requests"]["LOOKUP"][0] == arm["requests"]["LOOKUP"][1]


def test_a_recording_that_does_not_say_its_case_cannot_be_verified(
    cli: Command, tmp_path: Path
) -> None:
    a_recording(tmp_path / "r.parquet")
    refused = cli("predict", "r.parquet", "--verify", "1", cwd=tmp_path)
    assert refused.returncode == 1
    assert "does not say which case it is of" in refused.stderr


@pytest.mark.usefixtures("need_fuse")
def test_predictions_are_verified_by_live_runs(cli: Command, small_case, tmp_path: Path) -> None:
    small_case("look", CASE, SCRIPTS)
    options = ("-o", "look.parquet", "--native-runs", "1", "--directory", ".")
    where = {"cwd": tmp_path, "cache": tmp_path / "cache"}
    assert cli("record", "./look", *options, **where).returncode == 0
    # Timeouts that no machine is too slow for, and none at all.
    arms = ("--arm", "osxfs-negative --cache-timeout 1h --negative-timeout 1h", "--arm", "osxfs")
    options = (*arms, "--verify", "5", "--verify-runs", "2", "--json", "v.json")
    result = cli("predict", "look.parquet", *options, **where)
    assert result.returncode == 0, result.stderr
    assert "predicted and measured" in result.stdout
    negative, osxfs = json.loads((tmp_path / "v.json").read_text())["verified"]
    for each in (negative, osxfs):
        assert each["runs"] == 2
        assert each["here_ns"] > 0, "the recording says what its server took"
    # That they are the same to the last is shown by thousands of sequences, of which each call was
    # seen (tests/simulate/test_against_the_kernel.py); here a busy machine may miss one.
    for side in (0, 1):
        assert 0 < negative["requests"]["LOOKUP"][side] < osxfs["requests"]["LOOKUP"][side]


@pytest.mark.usefixtures("need_fuse")
def test_a_workload_that_fails_leaves_no_recording(small_case, tmp_path: Path) -> None:
    folder = small_case("look", CASE, SCRIPTS | {"run.sh": "echo broken >&2; exit 3"})
    with pytest.raises(RecordingFailedError, match="exit code 3: broken"):
        osxfs_sim.record(str(folder), tmp_path / "look.parquet", native_runs=1)
    assert not (tmp_path / "look.parquet").exists()


# Predicted from what was made by hand


def test_a_prediction_is_a_table_and_a_file(cli: Command, tmp_path: Path) -> None:
    a_recording(tmp_path / "t")
    result = cli("predict", "t", "--json", "p.json", cwd=tmp_path)
    assert result.returncode == 0, result.stderr
    for said in ("native, measured", "osxfs-complete", "one line", "from 5 requests of a run of"):
        assert said in result.stdout
    document = json.loads((tmp_path / "p.json").read_text())
    assert document["schema"] == 1
    assert document["native_ns"] == 2_000_000
    counts = {arm["name"]: arm["requests"]["LOOKUP"] for arm in document["arms"]}
    assert counts == {"osxfs": 4, "osxfs-cached": 4, "osxfs-negative": 2, "osxfs-complete": 2}


def test_python_and_the_command_say_the_same(cli: Command, tmp_path: Path) -> None:
    path = a_recording(tmp_path / "t")
    arm = "osxfs-negative --negative-timeout 1s --latency 200us"
    assert cli("predict", path, "--arm", arm, "--json", tmp_path / "p").returncode == 0
    (by_command,) = json.loads((tmp_path / "p").read_text())["arms"]
    plain = osxfs_sim.predict(path, ["osxfs-negative"])
    assert by_command["requests"] == plain.arms[0].requests
    assert by_command["wall_ns"] > plain.arms[0].wall_ns


@pytest.mark.parametrize("dependencies", ["processes", "completed"])
def test_each_model_of_what_waits_for_what_is_named(
    cli: Command, tmp_path: Path, dependencies: str
) -> None:
    path = a_recording(tmp_path / "t")
    result = cli("predict", path, "--dependencies", dependencies, "--seeds", "2")
    assert result.returncode == 0, result.stderr
    assert f"what waits for what: by {dependencies}" in " ".join(result.stdout.split())


# Mistakes


@pytest.mark.parametrize(
    ("header", "options", "said"),
    [
        ({"policy": "cached", "profile": "osxfs-cached"}, (), "a share that caches (osxfs-cached"),
        ({"lost": 7}, (), "is not whole, 7 requests are lost; record it again: osxfs-sim record"),
        ({}, ("--arm", "native"), "native makes no requests"),
        ({}, ("--arm", "docker-vz-sync"), "docker-vz-sync makes no requests"),
        ({}, ("--arm", "osxfs-delegated-kernel"), "the guest's kernel hold writes back, which is"),
        ({}, ("--arm", "virtiofsd-none"), "reads directly, which is not predicted yet"),
        ({}, ("--arm", "osxfsd"), "'osxfsd'"),
        ({}, ("--dependencies", "none"), "'none' is not one of"),
        ({}, ("--seeds", "0"), "0 is not in the range"),
        ({}, ("--verify", "1"), "does not say which case it is of: record it anew with osxfs-sim"),
        ({}, ("--json", "no/where.json"), "cannot be written: its directory does not"),
    ],
)
def test_a_mistake_is_one_line(
    complaint, tmp_path: Path, monkeypatch, header: dict, options: tuple[str, ...], said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    a_recording(tmp_path / "t", **header)
    assert said in complaint("predict", "t", *options)


def test_what_is_no_trace_is_said(complaint, tmp_path: Path) -> None:
    (tmp_path / "t").write_text("nothing")
    assert "is not a trace" in complaint("predict", tmp_path / "t")
    assert "No such file" in complaint("predict", tmp_path / "none")


def test_a_case_that_is_not_there_is_not_recorded(complaint, tmp_path: Path) -> None:
    assert "rak" in complaint("record", "rak", "-o", tmp_path / "t")
    assert "cannot be written" in complaint("record", "rake", "-o", tmp_path / "no" / "t")
