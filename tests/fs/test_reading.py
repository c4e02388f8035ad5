"""Files that people name are read up to a size, to a depth, and only if they are files."""

import os
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path

import pytest

from osxfs_sim.catalogue import load_distribution, load_profile
from osxfs_sim.coherence.edits.stream import parse_stream
from osxfs_sim.coherence.histories.history import History
from osxfs_sim.exports import load_exports
from osxfs_sim.fs.reading import MOST_RESULT_BYTES, parse_json, parse_toml, read_bytes
from osxfs_sim.lab.cases import CaseError, load_case
from osxfs_sim.lab.results import ResultError, load_result
from osxfs_sim.lab.study import load_study
from osxfs_sim.lab.sweep import load_sweep
from osxfs_sim.model.profile import ProfileError
from osxfs_sim.model.user_error import UserError
from osxfs_sim.trace.errors import TraceError
from osxfs_sim.trace.format import read_trace
from osxfs_sim.trace.strace import import_strace

_DEPTH = 100_000


def _case(path: str) -> object:
    return load_case(str(Path(path).parent))


# Who reads a file that a person has named: how, the name it must have, and what it raises.
READERS: dict[str, tuple[Callable[[str], object], str, type[Exception]]] = {
    "a profile": (load_profile, "a.toml", ProfileError),
    "samples": (lambda path: load_distribution(f"empirical:{path}"), "a", ProfileError),
    "a share file": (lambda path: load_exports(path, "/mnt", {}), "a.toml", ProfileError),
    "a case": (_case, "case.toml", CaseError),
    "a result": (load_result, "a.json", ResultError),
    "a sweep": (load_sweep, "a.toml", UserError),
    "a study": (load_study, "a.toml", UserError),
    "edits": (lambda path: parse_stream(f"{path}@1/s"), "a.toml", UserError),
    "a history": (lambda path: History.load(Path(path)), "a.json", (UserError, OSError)),
    "a trace": (read_trace, "a.parquet", TraceError),
    "a log of strace": (
        lambda path: import_strace(Path(path), Path(path).parent / "out.parquet", "/x"),
        "a",
        TraceError,
    ),
}


@pytest.fixture(params=READERS)
def reader(request, tmp_path):
    """Reads, the path to be read, and what it may raise."""
    read, name, error = READERS[request.param]
    return read, tmp_path / name, error


def refused_in_a_line(reader) -> str:
    read, path, error = reader
    with pytest.raises(error) as caught:
        read(str(path))
    assert "\n" not in str(caught.value).strip()
    return str(caught.value)


def test_a_device_without_an_end_is_refused(reader):
    reader[1].symlink_to("/dev/zero")
    refused_in_a_line(reader)


def test_a_pipe_that_nobody_writes_to_is_not_waited_for(reader):
    os.mkfifo(reader[1])
    refused_in_a_line(reader)


def test_a_directory_is_refused(reader):
    reader[1].mkdir()
    refused_in_a_line(reader)


def test_what_is_larger_than_any_is_refused(reader):
    with open(reader[1], "wb") as file:
        file.truncate(1 << 40)  # a hole: more than there is memory
    if reader[1].name == "a" and reader[2] is TraceError:
        pytest.skip("a log is read line by line, and may be long")
    refused_in_a_line(reader)


@pytest.mark.parametrize(
    "content",
    [
        b"[" * _DEPTH,
        b"a = " + b"[" * _DEPTH,
        b'{"a":' * _DEPTH,
        b"a = " + b"9" * 10_000,
        b"9" * 10_000,
        b"a" + b".a" * 2_000 + b" = 1",
        b"\xff\xfe\x00",
        b"\x00" * 4_096,
        b"",
        b"NaN",
        b'{"schema": 2, "arms": NaN}',
    ],
    ids=range(11),
)
def test_what_is_too_deep_too_long_or_no_text_is_refused(reader, content):
    reader[1].write_bytes(content)
    refused_in_a_line(reader)


@pytest.mark.parametrize("value", ["1e999", "-1", "1" + 400 * "0", "1e300"])
def test_a_time_that_is_none_is_refused(tmp_path, value):
    from support.reporting import comparison

    from osxfs_sim.lab.results import save_result

    path = tmp_path / "a.json"
    save_result(comparison(1), path)
    text = path.read_text()
    first = text.index('"wall_s": ') + len('"wall_s": ')
    path.write_text(text[:first] + value + text[text.index(",", first) :])
    with pytest.raises(ResultError, match=r"no time|no finite number"):
        load_result(path)


@pytest.mark.starts_processes
def test_a_pipe_of_ones_own_can_be_read():
    code = (
        "import sys; from osxfs_sim.fs.reading import read_bytes; print(read_bytes(sys.argv[1], 9))"
    )
    done = subprocess.run(
        ["bash", "-c", f'{sys.executable} -c "$1" <(printf abc)', "-", code],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert done.stdout == "b'abc'\n", done.stderr


def test_exactly_the_most_is_read_and_one_byte_more_is_not(tmp_path):
    (tmp_path / "a").write_bytes(b"12345")
    assert read_bytes(tmp_path / "a", 5) == b"12345"
    with pytest.raises(OSError, match="larger"):
        read_bytes(tmp_path / "a", 4)


def test_numbers_that_json_has_not_are_refused():
    for text in ("NaN", "[Infinity]", '{"a": -Infinity}'):
        with pytest.raises(ValueError, match="no number"):
            parse_json(text)
    assert parse_json("[1.5]") == [1.5]
    assert MOST_RESULT_BYTES > 1_000_000
    with pytest.raises(tomllib.TOMLDecodeError):
        parse_toml("a = " + "9" * 10_000)
