"""A recording is readable however it ends, and what is no whole trace is told in one line."""

import errno
import os
import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from support.complaints import complaint
from support.traces import in_turn, missed, row, write_trace

from osxfs_sim.model.operations import Operation
from osxfs_sim.trace import files, format, recorder, stream
from osxfs_sim.trace.analysis import analyze_file
from osxfs_sim.trace.format import SCHEMA, Header, TraceError, TraceWriter, columns_of, read_trace
from osxfs_sim.trace.outcome import complaint as outcome
from osxfs_sim.trace.recorder import BLOCK_ROWS, Recorder
from osxfs_sim.trace.said import Said
from osxfs_sim.trace.stream import StreamWriter

pytestmark = pytest.mark.starts_processes

BEGINS = Header(0, 0, profile="osxfs")


def kin(thread: int) -> tuple[int, int, int]:
    return thread - thread % 3, 1, 1_000 + thread


class Recording:
    """A recorder whose thread of requests is this one."""

    def __init__(self, path: Path) -> None:
        self.calls: list[Callable[[], None]] = []
        self.path = path
        self.recorder = Recorder(
            path, BEGINS, lambda number: f"/{number}", str, kin, self.calls.append
        )
        self.added = 0

    def add(self, count: int) -> None:
        for _ in range(count):
            number = self.added
            self.added += 1
            name = b"%d" % (number * 7919 % 100_003)
            asked = (number, 1, 2, int(Operation.LOOKUP), 3, name, 0, 0, 0, 2, number % 9, 5, 0)
            self.recorder.add(*asked)

    def until(self, rows: int) -> None:
        """Wait until so many are in the file, or known to be lost."""
        for _ in range(3_000):
            while self.calls:
                self.calls.pop()()
            if self.recorder.rows + self.recorder.lost >= rows:
                return
            time.sleep(0.01)
        raise AssertionError(f"{self.recorder.rows} of {rows} rows were written")


def names_in(path: Path) -> list[str]:
    return [row["name"] for row in read_trace(path)[1].to_pylist()]


def expected(count: int) -> list[str]:
    return [f"{number * 7919 % 100_003}" for number in range(count)]


def table_of(names: list[str]) -> pa.Table:
    rows = in_turn([missed(name, program="sh", directory="/") for name in names])
    return pa.Table.from_pydict(columns_of(iter(rows)), schema=SCHEMA)


def test_what_is_recorded_becomes_a_parquet_file_and_nothing_else_is_left(tmp_path: Path) -> None:
    recording = Recording(tmp_path / "t.parquet")
    recording.add(2 * BLOCK_ROWS + 5)
    header = recording.recorder.close(2 * BLOCK_ROWS + 9, command=(1, 7), notes={"a": 1})
    assert os.listdir(tmp_path) == ["t.parquet"]
    assert read_trace(recording.path)[0] == header
    assert (header.lasted_ns, header.lost, header.failure) == (2 * BLOCK_ROWS + 9, 0, "")
    assert (header.command_start_ns, header.profile, header.notes) == (1, "osxfs", {"a": 1})
    assert names_in(recording.path) == expected(2 * BLOCK_ROWS + 5)
    assert pq.read_table(recording.path).schema.remove_metadata().equals(SCHEMA)
    assert outcome(recording.path) == ""


def test_rows_are_in_the_file_after_a_few_seconds_though_no_block_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recorder, "FLUSHED_WITHIN_S", 0.01)
    recording = Recording(tmp_path / "t")
    recording.add(3)
    recording.until(3)
    assert names_in(tmp_path / "t") == expected(3)
    said = analyze_file(tmp_path / "t").warnings
    assert any("it is being recorded still" in line for line in said)
    recording.add(2)
    recording.recorder.close(9)
    assert names_in(tmp_path / "t") == expected(5)


def recorded(path: Path, blocks: list[list[str]]) -> list[int]:
    """A recording as a killed server leaves it; returns where its frames end."""
    fd, recording = files.make_recording(path)
    writer, ends = StreamWriter(fd, BEGINS), []
    for names in blocks:
        ends.append(recording.stat().st_size)
        writer.write(table_of(names))
    ends.append(recording.stat().st_size)
    os.close(fd)
    return ends


def test_a_recording_of_the_first_format_is_read_by_its_old_column_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = ["asked_ns" if name == "target_ns" else name for name in stream.PLAIN.names]
    fields = zip(stream.PLAIN, names, strict=True)
    old = pa.schema([field.with_name(name) for field, name in fields])
    nothing = pa.RecordBatch.from_pydict({name: [] for name in names}, schema=old)
    fd, _ = files.make_recording(tmp_path / "t")
    with monkeypatch.context() as earlier:
        earlier.setattr(stream, "PLAIN", old)
        earlier.setattr(stream, "_NOTHING", nothing)
        StreamWriter(fd, BEGINS).write(table_of(["a", "b"]).rename_columns(names))
    os.close(fd)
    _, table = read_trace(tmp_path / "t")
    assert table.column_names == SCHEMA.names
    assert [row["name"] for row in table.to_pylist()] == ["a", "b"]


def test_a_recording_that_is_cut_anywhere_is_read_up_to_its_last_whole_block(
    tmp_path: Path,
) -> None:
    path = tmp_path / "t"
    blocks = [["a", "b"], ["c"], ["d", "e", "f"], []]
    ends = recorded(path, blocks)
    recording = files.recording_of(path)
    whole = recording.read_bytes()
    for length in sorted({*range(0, len(whole), 5), *ends}):
        recording.write_bytes(whole[:length])
        if length < ends[0]:
            assert "\n" not in complaint(TraceError, read_trace, path)
            continue
        header, table = read_trace(path)
        whole_blocks = sum(end <= length for end in ends[1:])
        there = [name for names in blocks[:whole_blocks] for name in names]
        assert sorted(row["name"] for row in table.to_pylist()) == sorted(there)
        assert "its server ended before it was complete" in header.failure
        assert f"has the first {len(there)} requests" in header.failure
    assert header.lasted_ns == 300
    assert analyze_file(path).requests == 6


def is_refused(path: Path) -> bool:
    try:
        analyze_file(path)
        return False
    except TraceError as error:
        return "\n" not in str(error)


@pytest.mark.parametrize("kind", ["recording", "parquet"])
def test_whatever_is_damaged_is_told_in_one_line_or_read_as_it_is(
    tmp_path: Path, kind: str
) -> None:
    path = tmp_path / "t"
    if kind == "recording":
        recorded(path, [["a", "b"], ["c"], ["d", "e", "f"] * 9])
        files.recording_of(path).replace(path)
    else:
        write_trace(path, in_turn([missed("a", program="sh"), row("READ", size_bytes=5)] * 20))
    whole = path.read_bytes()
    chance = random.Random(5)
    refused = 0
    for _ in range(400):
        damaged = bytearray(whole)
        for _ in range(chance.choice((1, 1, 3, 30))):
            damaged[chance.randrange(len(whole))] = chance.randrange(256)
        path.write_bytes(damaged[: chance.choice((len(whole), chance.randrange(len(whole))))])
        refused += is_refused(path)
    assert refused


def full_disk_at(monkeypatch: pytest.MonkeyPatch, path: Path, most_bytes: int) -> None:
    """A disk on which only so much of files that begin with *path* finds room."""
    write = os.write

    def write_if_there_is_room(fd: int, data: Any) -> int:
        if not os.readlink(f"/proc/self/fd/{fd}").startswith(str(path)):
            return write(fd, data)
        left = most_bytes - os.fstat(fd).st_size
        if left <= 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return write(fd, data[:left])

    monkeypatch.setattr(os, "write", write_if_there_is_room)


def test_on_a_full_disk_what_fits_is_kept_and_the_rest_is_counted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "t"
    full_disk_at(monkeypatch, path, 40_000)
    monkeypatch.setattr(TraceWriter, "write_table", full)
    recording = Recording(path)
    recording.add(3 * BLOCK_ROWS)
    recording.until(3 * BLOCK_ROWS)
    assert recording.recorder.failure == "No space left on device"
    first = recording.recorder.rows
    assert 0 < first < BLOCK_ROWS
    recording.add(10)
    said = complaint(TraceError, recording.recorder.close, 3 * BLOCK_ROWS + 10)
    header, table = read_trace(path)
    assert header.lost == 3 * BLOCK_ROWS + 10 - table.num_rows
    everything, kept = expected(3 * BLOCK_ROWS + 10), names_in(path)
    assert kept[:first] == everything[: len(kept[:first])]
    assert kept[first:] in ([], everything[-10:]), "for so few there may be room again"
    assert header.failure == "No space left on device"
    assert f"{header.lost:,} requests are lost: No space left on device; {path}.partial" in said
    assert said.endswith(f"has the other {table.num_rows:,}, and is read in its place")
    assert f"{header.lost:,} requests are lost: No space left on device" in outcome(path)
    assert os.listdir(tmp_path) == ["t.partial"]


def full(*_: object) -> None:
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_where_room_comes_again_recording_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "t"
    recording = Recording(path)
    with monkeypatch.context() as patched:
        patched.setattr(os, "write", full)
        recording.add(BLOCK_ROWS)
        recording.until(BLOCK_ROWS)
    assert (recording.recorder.rows, recording.recorder.lost) == (0, BLOCK_ROWS)
    recording.add(5)
    said = complaint(TraceError, recording.recorder.close, 9)
    assert f"is not whole, {BLOCK_ROWS:,} requests are lost: No space left on device" in said
    assert os.listdir(tmp_path) == ["t"], "what there is is a trace as any other"
    assert names_in(path) == expected(BLOCK_ROWS + 5)[-5:]
    assert (read_trace(path)[0].lost, outcome(path)) == (BLOCK_ROWS, said)
    warnings = analyze_file(path).warnings
    assert "the trace is not whole: No space left on device" in warnings


def test_where_only_parquet_finds_no_room_the_recording_stays_and_nothing_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "t"
    monkeypatch.setattr(TraceWriter, "write_table", full)
    recording = Recording(path)
    recording.add(70)
    said = complaint(TraceError, recording.recorder.close, 99)
    assert "is not whole, it is not complete: No space left on device" in said
    assert os.listdir(tmp_path) == ["t.partial"]
    header, table = read_trace(path)
    assert (header.lasted_ns, header.lost, table.num_rows) == (99, 0, 70)
    assert outcome(path)


def test_what_was_not_completed_is_set_aside_for_the_next_and_never_lost(tmp_path: Path) -> None:
    path = tmp_path / "t"
    recorded(path, [["of the killed server"]])
    recording = Recording(path)
    recording.add(1)
    assert "is being recorded" in complaint(TraceError, Recording, path), "two at once"
    recording.recorder.close(5)
    assert names_in(path) == expected(1)
    assert names_in(tmp_path / "t.partial.old") == ["of the killed server"]


def test_the_newer_of_a_trace_and_of_what_was_not_completed_is_read(tmp_path: Path) -> None:
    path = write_trace(tmp_path / "t", in_turn([missed("before")]))
    os.utime(path, ns=(1, 1))
    recorded(path, [["after"]])
    assert names_in(path) == ["after"]
    os.utime(files.recording_of(path), ns=(0, 0))
    assert names_in(path) == ["before"]


def test_a_trace_is_its_owners_alone_and_takes_the_place_of_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "t"
    path.write_text("old")
    path.chmod(0o644)
    before = os.umask(0)
    try:
        recording = Recording(path)
        assert files.recording_of(path).stat().st_mode & 0o777 == 0o600
        assert path.read_text() == "old", "it stays until there is another"
        recording.recorder.close(1)
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make a link of another user")
def test_a_link_of_another_user_is_not_followed(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("precious")
    for name in ("t", "t.partial", "t.new"):
        (tmp_path / name).symlink_to(precious)
        os.lchown(tmp_path / name, 65_534, 65_534)
        assert "cannot be written" in complaint(TraceError, Recording, tmp_path / "t")
        (tmp_path / name).unlink()
        if name == "t.partial":
            break
    (tmp_path / "t.new").symlink_to(precious)
    recording = Recording(tmp_path / "t")
    recording.recorder.close(1)
    assert precious.read_text() == "precious"


@pytest.mark.parametrize(
    ("path", "why"),
    [("/dev/full", "No space left on device"), ("/", "it is no file"), ("/dev/loop0", "no file")],
)
def test_what_is_no_file_stays_what_it_is(path: str, why: str) -> None:
    if not os.path.exists(path):
        pytest.skip(f"there is no {path}")
    before = os.stat(path)
    assert why in complaint(TraceError, Recording, Path(path))
    assert os.path.samestat(os.stat(path), before)
    assert not os.path.lexists(f"{path}.partial")


def test_a_device_is_written_through(tmp_path: Path) -> None:
    (tmp_path / "null").symlink_to("/dev/null")
    recording = Recording(tmp_path / "null")
    recording.add(3)
    recording.recorder.close(9)
    assert os.listdir(tmp_path) == ["null"]
    assert (tmp_path / "null").is_symlink()


# Files from somebody else, made to take more memory than there is.


def bomb_of_rows(path: Path) -> None:
    """As many equal rows as there may be in a few bytes."""
    write(path, [table(1_000_000, ["n" * 1_000] * 10 + [None] * 999_990)] * 3)


def bomb_of_many_words(path: Path) -> None:
    write(
        path,
        [
            table(40_000, [f"{number}-{n}" + "n" * 1_000 for n in range(40_000)])
            for number in range(8)
        ],
    )


def bomb_in_a_recording(path: Path) -> None:
    fd, recording = files.make_recording(path)
    writer = StreamWriter(fd, BEGINS)
    for _ in range(3):
        writer.write(table(90_000, ["n" * 1_000] * 90_000))
    os.close(fd)
    recording.replace(path)


def table(count: int, names: list[str | None]) -> pa.Table:
    words = pa.DictionaryArray.from_arrays(pa.array([0] * count, pa.int32()), ["LOOKUP"])
    nothing: list[str | None] = [None] * count
    columns = [
        words
        if pa.types.is_dictionary(each.type)
        else pa.array(names if each.name == "name" else nothing, each.type)
        if pa.types.is_string(each.type)
        else pa.array([0] * count, each.type)
        for each in SCHEMA
    ]
    return pa.Table.from_arrays(columns, schema=SCHEMA)


def write(path: Path, tables: list[pa.Table]) -> None:
    writer = TraceWriter(path)
    for each in tables:
        writer.write_table(each)
    writer.close(Header(0, 1))


READ_IT = """
import resource, sys
from osxfs_sim.trace.format import TraceError, read_trace
limit = 1_800_000_000
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
try:
    print(read_trace(sys.argv[1])[1].num_rows)
except TraceError as error:
    print(error)
"""


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (bomb_of_rows, "no recording has 3,000,000 requests in so few bytes"),
        (bomb_of_many_words, "more than 256 MB of words"),
        (bomb_in_a_recording, "0"),
    ],
)
def test_a_small_file_that_would_take_all_memory_is_refused_in_one_line(
    tmp_path: Path, make: Callable[[Path], None], why: str
) -> None:
    make(tmp_path / "t")
    read = subprocess.run(
        [sys.executable, "-c", READ_IT, str(tmp_path / "t")],
        capture_output=True,
        text=True,
        timeout=180,
        check=True,
    )
    assert why in read.stdout
    assert read.stdout.count("\n") == 1


def test_a_block_that_says_itself_that_it_is_too_large_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(format, "_MOST_GROUP_BYTES", 1 << 20)
    write(tmp_path / "t", [table(3, ["n" * (1 << 20), None, None])])
    assert "a block of it is too large" in complaint(TraceError, read_trace, tmp_path / "t")


def test_what_an_answer_said_is_recorded_with_it(tmp_path: Path) -> None:
    recording = Recording(tmp_path / "t")
    recorder = recording.recorder
    found = (0, 1, 2, int(Operation.LOOKUP), 1, b"file", 7, 0, 0, 0, 4, 1, 0)
    recorder.add(*found, Said(0o100644, 5, 1_700_000_000_000_000_001, 2))
    opened = (1, 1, 2, int(Operation.OPEN), 7, None, 0, 0, 0, 0, 4, 1, 0)
    recorder.add(*opened, Said(flags=os.O_RDWR, handle=3))
    moved = (2, 1, 2, int(Operation.RENAME), 1, b"file", 1, 0, 0, 0, 5, 1, 0)
    recorder.add(*moved, Said(new_name=b"new\xff"))
    recorder.add(3, 1, 2, int(Operation.STATFS), 1, None, 0, 0, 0, 0, 5, 1, 0)
    recorder.close(10)
    header, table = read_trace(tmp_path / "t")
    said = ("mode", "object_bytes", "mtime_ns", "links", "flags", "handle", "new_name")
    assert [tuple(row[name] for name in said) for row in table.to_pylist()] == [
        (0o100644, 5, 1_700_000_000_000_000_001, 2, 0, -1, None),
        (0, 0, 0, 0, os.O_RDWR, 3, None),
        (0, 0, 0, 0, 0, -1, "new\\xff"),
        (0, 0, 0, 0, 0, -1, None),
    ]
    assert header.threads == [[4, 3, 1, 1_004], [5, 3, 1, 1_005]]


def test_who_started_a_thread_is_known_though_it_asks_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A shell asks nothing while it waits for what it has started."""
    monkeypatch.setattr(sys.modules[__name__], "kin", lambda thread: (thread, thread // 10, 0))
    recording = Recording(tmp_path / "t")
    for number, thread in enumerate((345, 346)):
        recording.recorder.add(
            number, 1, 2, int(Operation.STATFS), 1, None, 0, 0, 0, 0, thread, 1, 0
        )
    recording.recorder.close(10)
    header, _ = read_trace(tmp_path / "t")
    assert [row[:3] for row in header.threads] == [
        *([345, 345, 34], [34, 34, 3], [3, 3, 0], [346, 346, 34]),
    ]


def test_the_call_that_a_request_is_for_is_recorded_where_it_was_seen(tmp_path: Path) -> None:
    recording = Recording(tmp_path / "t")
    for number, call in enumerate(("openat", None, "openat O_EXCL")):
        looked = (number, 1, 2, int(Operation.LOOKUP), 1, b"file", 7, 0, 0, 0, 4, 1, 0)
        recording.recorder.add(*looked, Said(call=call))
    recording.recorder.close(10)
    _, table = read_trace(tmp_path / "t")
    assert table["call"].to_pylist() == ["openat", None, "openat O_EXCL"]
