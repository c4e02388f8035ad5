"""``osxfs-sim analyze`` and ``import-strace``: output, JSON, and mistakes in one line."""

import json
import subprocess
from pathlib import Path

import pytest
from support.command import Command
from support.traces import in_turn, missed, row, write_trace

LOG = """\
1 1700000000.000000 execve("/usr/bin/ruby", ["ruby"], 0x7ff /* 9 vars */) = 0 <0.000245>
1 1700000000.001000 stat("/work-tree/app/a", 0x7ff) = -1 ENOENT (No such file) <0.000130>
1 1700000000.002000 stat("/work-tree/app/a", 0x7ff) = -1 ENOENT (No such file) <0.000130>
1 1700000000.003000 stat("b", 0x7ff) = 0 <0.000130>
nonsense
"""


@pytest.fixture(scope="session")
def analyzed(cli: Command):
    def analyzed(*arguments: str) -> "subprocess.CompletedProcess[str]":
        return cli(*arguments)

    return analyzed


@pytest.fixture
def trace(tmp_path: Path) -> str:
    rows = in_turn(
        [missed("a", took_ns=130_000), missed("a", took_ns=130_000), row("READ", 5)],
        apart_ns=1_000_000,
    )
    return str(write_trace(tmp_path / "trace.parquet", rows, lasted_ns=10_000_000))


def test_a_trace_is_told(analyzed, trace):
    result = analyzed("analyze", trace)
    assert result.returncode == 0, result.stderr
    assert "wall 10ms = waiting for the share 260.1us" in result.stdout
    assert "1 is a repeat that a negative cache answers (130us)" in " ".join(result.stdout.split())


def test_all_of_it_is_json(analyzed, trace):
    result = analyzed("analyze", trace, "--json")
    document = json.loads(result.stdout)
    assert (document["wall_ns"], document["waiting_ns"]) == (10_000_000, 260_100)
    assert document["causes"][0]["remedy"] == "negative"
    assert document["title"] == trace


def test_the_top_goes_as_far_as_one_likes(analyzed, tmp_path):
    rows = in_turn([row("LOOKUP", directory=f"/{number:02}") for number in range(30)])
    path = str(write_trace(tmp_path / "t", rows))
    assert "/24" in analyzed("analyze", path, "--top", "25").stdout
    assert "/10" not in analyzed("analyze", path).stdout


def test_a_wall_time_of_another_clock_is_taken(analyzed, trace):
    document = json.loads(analyzed("analyze", trace, "--wall", "1s", "--json").stdout)
    assert document["rest_ns"] == 1_000_000_000 - 260_100


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("--wall", "1us"), "a wall time of 1us cannot be: requests were on their way for 260.1us"),
        (("--top", "3", "--json"), "--top has no effect with --json"),
    ],
)
def test_what_cannot_be_is_one_line(analyzed, trace, arguments, why):
    result = analyzed("analyze", trace, *arguments)
    assert result.returncode == 1
    assert result.stderr.startswith(f"osxfs-sim: {why}")
    assert result.stderr.count("\n") == 1


@pytest.mark.parametrize("content", [None, "no parquet"])
def test_a_file_that_is_no_trace_is_one_line(analyzed, tmp_path, content):
    path = tmp_path / "t"
    if content is not None:
        path.write_text(content)
    result = analyzed("analyze", str(path))
    assert result.returncode == 1
    assert result.stderr.startswith(f"osxfs-sim: {path} is not a trace: ")
    assert result.stderr.count("\n") == 1


def test_a_strace_log_becomes_a_trace_and_is_analyzed(analyzed, tmp_path):
    log, trace = tmp_path / "log", tmp_path / "trace.parquet"
    log.write_text(LOG)
    made = analyzed(
        *("import-strace", str(log), "--root", "/work-tree/app", "--output", str(trace)),
        *("--cwd", "/work-tree/app"),
    )
    assert made.returncode == 0, made.stderr
    assert made.stdout == f"3 calls below /work-tree/app of 4 in {trace}\n"
    assert "1 of 5 lines could not be read, the first: nonsense" in made.stderr
    told = " ".join(analyzed("analyze", str(trace)).stdout.split())
    assert "made of a strace log: a row is a system call" in told
    assert "2 lookups of missing names x 130us = 260us" in told


def test_without_the_directory_relative_paths_are_left_out_and_counted(analyzed, tmp_path):
    log, trace = tmp_path / "log", tmp_path / "trace.parquet"
    log.write_text(LOG)
    made = analyzed("import-strace", str(log), "--root", "/work-tree/app", "--output", str(trace))
    assert made.stdout.startswith("2 calls")
    assert "1 calls are left out, because it is not known where their process was" in made.stderr


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("--root", "app"), "app is not an absolute path"),
        (("--root", "/elsewhere"), "has no call below /elsewhere: give --root as the command saw"),
        (("--root", "/work-tree/app", "--cwd", "app"), "--cwd app is not an absolute path"),
    ],
)
def test_a_log_of_no_use_is_one_line(analyzed, tmp_path, arguments, why):
    (tmp_path / "log").write_text(LOG.replace('"b"', '"/b"'))
    output = tmp_path / "trace.parquet"
    result = analyzed("import-strace", str(tmp_path / "log"), *arguments, "--output", str(output))
    assert result.returncode == 1
    assert why in result.stderr
    assert result.stderr.count("\n") == 1
    assert not output.exists()


def test_where_nothing_can_be_written_is_one_line(analyzed, tmp_path):
    (tmp_path / "log").write_text(LOG)
    output = tmp_path / "nowhere" / "t"
    result = analyzed(
        "import-strace", str(tmp_path / "log"), "--root", "/work-tree/app", "--output", str(output)
    )
    assert result.returncode == 1
    assert result.stderr == f"osxfs-sim: {output} cannot be written: its directory does not exist\n"
