"""A trace holds what the guest asked, what it got and what it took, as the share counted it."""

import itertools
import os
import pwd
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pytest
from support.command import Command
from support.complaints import complaint
from support.guests import eventually

from osxfs_sim.mount.mounts.mountpoints import MountError
from osxfs_sim.mount.server import session
from osxfs_sim.trace.format import SCHEMA, Header, read_trace

HERE = os.getpid()


def rows_of(path: Path) -> tuple[Header, list[dict]]:
    header, table = read_trace(path)
    return header, table.to_pylist()


def traced(live, path: Path, work) -> tuple[Header, list[dict], dict]:
    """What *work* asked of a share: header, rows, and the share's status over the same time."""
    live.share.start_trace(str(path))
    live.share.reset()
    work()
    eventually(lambda: live.status().open_handles == 0)
    status = live.status()
    told = live.share.stop_trace(command_start_ns=1, command_end_ns=2, notes={"case": "own"})
    header, rows = rows_of(path)
    assert told == {"path": str(path), "rows": len(rows), "lost": 0}
    return header, rows, status


def about(rows: list[dict], operation: str) -> list[dict]:
    return [row for row in rows if row["operation"] == operation]


def test_every_request_is_in_the_trace_once_and_agrees_with_the_shares_counts(
    share, tmp_path: Path
) -> None:
    live = share(profile="osxfs", latency_ns=1_000)
    (live.source / "lib").mkdir()
    (live.source / "lib" / "there").write_text("12345")

    def work() -> None:
        for _ in range(3):
            assert (live.guest / "lib" / "there").read_text() == "12345"
            assert not (live.guest / "lib" / "missing").exists()
        (live.guest / "lib" / "made").write_bytes(b"x" * 7)
        os.rename(live.guest / "lib" / "made", live.guest / "moved")
        os.link(live.guest / "moved", live.guest / "linked")
        os.mkdir(live.guest / "new")
        assert sorted(os.listdir(live.guest)) == ["lib", "linked", "moved", "new"]
        os.unlink(live.guest / "moved")
        os.statvfs(live.guest)

    header, rows, status = traced(live, tmp_path / "trace.parquet", work)
    counted = Counter(row["operation"] for row in rows)
    assert counted == status.requests
    assert header.profile == "osxfs"
    assert header.notes == {"case": "own"}
    assert (header.command_end_ns - header.command_start_ns, header.lost) == (1, 0)
    missing = [row for row in about(rows, "LOOKUP") if row["name"] == "missing"]
    assert [(row["error"], row["found"], row["directory"]) for row in missing] == [
        ("ENOENT", 0, "/lib")
    ] * 3
    assert status.missing_lookups == sum(row["error"] == "ENOENT" for row in about(rows, "LOOKUP"))
    assert {row["target_ns"] for row in missing} == {1_000}
    assert all(row["took_ns"] > 0 for row in rows)
    made = about(rows, "CREATE")[0]
    assert (made["name"], made["directory"], made["process"]) == ("made", "/lib", HERE)
    written = about(rows, "WRITE")
    assert [(row["size_bytes"], row["offset_bytes"]) for row in written] == [(7, 0)]
    assert {row["inode"] for row in written} == {made["found"]}
    assert {row["process"] for row in written} == {HERE}, "known from who opened the file"
    assert sum(row["size_bytes"] for row in about(rows, "READ")) == 15
    renamed = about(rows, "RENAME")[0]
    assert (renamed["directory"], renamed["name"], renamed["found"]) == ("/lib", "made", 1)
    assert about(rows, "LINK")[0]["found"] == made["found"]
    assert {row["answered_by"] for row in rows if row["operation"].startswith("RELEASE")} == {
        "guest"
    }
    assert {row["program"] for row in rows if row["process"] == HERE} == {
        Path("/proc/self/comm").read_text().strip()
    }


def test_names_that_are_no_text_are_written_in_a_way_that_can_be_read(
    share, tmp_path: Path
) -> None:
    live = share()

    def work() -> None:
        os.mkdir(os.fsencode(live.guest) + b"/a\xff")

    _, rows, _ = traced(live, tmp_path / "trace.parquet", work)
    assert [row["name"] for row in about(rows, "MKDIR")] == [r"a\xff"]


def test_what_write_back_and_complete_directories_answer_is_told_from_what_crossed(
    share, tmp_path: Path
) -> None:
    held = share(profile="osxfs-delegated", latency_ns=1_000)

    def write() -> None:
        (held.guest / "made").mkdir()
        (held.guest / "made" / "file").write_text("content")

    _, rows, _ = traced(held, tmp_path / "held.parquet", write)
    assert {row["answered_by"] for row in about(rows, "WRITE")} == {"held"}
    assert {row["target_ns"] for row in about(rows, "WRITE")} == {0}
    assert {row["directory"] for row in about(rows, "WRITE")} == {"/made"}

    complete = share(profile="osxfs-complete", latency_ns=1_000)
    (complete.source / "lib").mkdir()

    def look() -> None:
        for name in ("first", "second"):
            assert not (complete.guest / "lib" / name).exists()

    _, rows, _ = traced(complete, tmp_path / "names.parquet", look)
    answered = {row["name"]: row["answered_by"] for row in about(rows, "LOOKUP")}
    assert (answered["first"], answered["second"]) == ("host", "names")


def test_what_the_share_itself_asks_in_order_to_raise_events_is_no_request_of_the_guest(
    share, tmp_path: Path
) -> None:
    live = share(profile="osxfs-cached", latency_ns=1_000, event_latency_ns=1_000_000)
    os.listdir(live.guest)

    def change() -> None:
        before = live.status().events.raised["create"]
        (live.source / "of-the-host").write_text("")
        eventually(lambda: live.status().events.raised["create"] > before)

    _, rows, _ = traced(live, tmp_path / "trace.parquet", change)
    assert not about(rows, "MKNOD")
    assert not [row for row in rows if row["program"] and "osxfs" in row["program"]]


def test_a_trace_can_be_had_again_and_again_and_only_one_at_a_time(share, tmp_path: Path) -> None:
    live = share()
    first, second = tmp_path / "first.parquet", tmp_path / "second.parquet"
    assert "no trace is being written" in complaint(MountError, live.share.stop_trace)
    live.share.start_trace(str(first))
    assert live.status().trace.path == str(first)
    assert f"a trace is being written already, to {first}" in complaint(
        MountError, live.share.start_trace, str(second)
    )
    os.stat(live.guest)
    live.share.stop_trace()
    assert live.status().trace is None
    os.stat(live.guest / "..")
    assert not second.exists()
    live.share.start_trace(str(second))
    assert not os.path.exists(live.guest / "missing")
    live.share.stop_trace()
    assert [row["name"] for row in rows_of(second)[1]] == ["missing"]
    assert "missing" not in {row["name"] for row in rows_of(first)[1]}
    assert "cannot be written" in complaint(
        MountError, live.share.start_trace, str(tmp_path / "no" / "directory")
    )


def test_a_trace_from_the_first_request_on_is_complete_when_the_share_has_ended(
    share, tmp_path: Path
) -> None:
    path = tmp_path / "trace.parquet"
    live = share(trace=str(path))
    for number in range(20):
        assert not (live.guest / f"missing-{number}").exists()
    live.unmount()
    header, rows = rows_of(path)
    assert [row["name"] for row in about(rows, "LOOKUP")] == [f"missing-{n}" for n in range(20)]
    assert header.lasted_ns >= rows[-1]["arrival_ns"]
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("count", [20_000])
def test_more_than_a_block_of_requests_is_written_in_order(
    share, tmp_path: Path, count: int
) -> None:
    live = share()
    name = os.fsencode(live.guest) + b"/missing"

    def work() -> None:
        for _ in range(count):
            os.path.exists(name)

    _, rows, _ = traced(live, tmp_path / "trace.parquet", work)
    assert len(about(rows, "LOOKUP")) == count
    arrivals = [row["arrival_ns"] for row in rows]
    assert arrivals == sorted(arrivals)
    assert pa.schema(SCHEMA).names == list(rows[0])


@pytest.fixture(scope="session")
def osxfs_sim(cli: Command):
    def osxfs_sim(*arguments: object) -> subprocess.CompletedProcess[str]:
        return cli(*arguments)

    return osxfs_sim


def test_a_trace_can_be_asked_for_when_a_share_is_mounted_by_a_command(
    osxfs_sim, field: Path
) -> None:
    for name in ("source", "guest"):
        (field / name).mkdir()
    trace = field / "trace.parquet"
    done = osxfs_sim("mount", "--trace", trace, field / "source", field / "guest")
    assert (done.returncode, done.stderr) == (0, "")
    try:
        assert not (field / "guest" / "missing").exists()
    finally:
        osxfs_sim("umount", field / "guest")
    assert [row["name"] for row in about(rows_of(trace)[1], "LOOKUP")] == ["missing"]

    refused = osxfs_sim("mount", "--trace", field / "no/trace", field / "source", field / "guest")
    assert (refused.returncode, refused.stderr.count("\n")) == (1, 1)
    assert f"{field}/no/trace cannot be written" in refused.stderr
    share_file = field / "share.toml"
    share_file.write_text('[exports.code]\nsource = "source"\n')
    several = osxfs_sim("mount", "--trace", trace, share_file, field / "guest")
    assert several.stderr == (
        "osxfs-sim: a trace is of one share: mount the export by itself, or trace a run\n"
    )


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root")
def test_a_server_of_another_user_traces_what_its_mount_asked_for(share) -> None:
    """Also where that user cannot read the Python that serves the share, as below /root."""
    with tempfile.TemporaryDirectory() as kept:
        os.chown(kept, pwd.getpwnam("nobody").pw_uid, -1)
        live = share(user="nobody", trace=f"{kept}/trace", state_directory=f"{kept}/state")
        os.listdir(live.guest)
        live.unmount()
        assert about(rows_of(Path(kept, "trace"))[1], "READDIRPLUS")


def test_a_later_trace_that_the_servers_user_cannot_record_is_one_line(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "osxfs_sim.trace.recorder", None)
    assert "cannot load what records a trace" in complaint(MountError, session._load_recorder)


def test_a_server_that_is_killed_leaves_what_it_has_recorded(
    osxfs_sim, share, tmp_path: Path
) -> None:
    path = tmp_path / "trace.parquet"
    live = share(trace=str(path))
    for number in range(5):
        assert not (live.guest / f"missing-{number}").exists()
    eventually(lambda: live.status().trace.rows >= 5)
    live.kill()
    header, rows = rows_of(path)
    assert [row["name"] for row in about(rows, "LOOKUP")] == [f"missing-{n}" for n in range(5)]
    assert "its server ended before it was complete" in header.failure
    assert header.profile == "none"
    told = osxfs_sim("analyze", path)
    assert (told.returncode, told.stderr) == (0, "")
    assert "trace.parquet.partial has the first" in " ".join(told.stdout.split())


@pytest.fixture
def tiny_disk(field: Path) -> Iterator[Path]:
    """A directory on a file system of 64 KiB."""
    if os.geteuid():
        pytest.skip("only root can mount a small file system")
    tiny = field / "tiny"
    tiny.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64k", "tiny", tiny], check=True)
    yield tiny
    subprocess.run(["umount", tiny], check=True)


def fill(live, path: Path) -> dict:
    """Ask so much that its trace finds no room; returns the status then."""
    for number in range(12_000):
        os.path.exists(f"{live.guest}/{number * 7919 % 100_003}")
    eventually(lambda: live.status().trace.lost > 0)
    status = live.status()
    assert status.trace.failure == "No space left on device"
    said = f"the trace {path} loses requests, {status.trace.lost} so far: No space left"
    assert [line for line in status.warnings if line.startswith(said)]
    return status


def test_a_trace_that_finds_no_room_is_told_by_status_and_by_stop(share, tiny_disk: Path) -> None:
    path = tiny_disk / "trace.parquet"
    live = share()
    live.share.start_trace(str(path))
    fill(live, path)
    said = complaint(MountError, live.share.stop_trace)
    assert "requests are lost: No space left on device" in said
    assert live.status().trace is None
    header, rows = rows_of(path)
    assert 0 < len(rows) < 12_000
    assert header.lost + len(rows) == 12_000
    live.unmount()


def test_a_trace_that_finds_no_room_is_told_by_umount(osxfs_sim, share, tiny_disk: Path) -> None:
    path = tiny_disk / "trace.parquet"
    live = share(trace=str(path))
    live.expected_end, live.expected_trouble = 1, True
    fill(live, path)
    done = osxfs_sim("umount", live.guest)
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert f"{live.guest} is unmounted, but the trace {path} is not whole" in done.stderr
    assert "requests are lost: No space left on device" in done.stderr
    assert live.wait_for_end() == 1
    header, rows = rows_of(path)
    assert header.lost + len(rows) >= 12_000


@pytest.mark.skipif(os.geteuid() != 0, reason="/proc/PID/syscall is root's")
def test_a_trace_can_say_what_each_request_is_for(share, tmp_path: Path) -> None:
    """Which a LOOKUP does not tell: whether a name is walked, or must not exist."""
    live = share()
    (live.source / "dir").mkdir()

    def work(number: int) -> None:
        os.mkdir(live.guest / f"dir/{number}")
        os.rename(live.guest / f"dir/{number}", live.guest / f"dir/{number}-moved")

    def calls(path: Path, *, with_calls: bool) -> set[tuple[str, str | None]]:
        live.share.start_trace(str(path), with_calls=with_calls)
        for number in range(20):
            work(number)
        live.share.stop_trace()
        for number in range(20):
            os.rmdir(live.guest / f"dir/{number}-moved")
        return {(row["operation"], row["call"]) for row in rows_of(path)[1]}

    said = calls(tmp_path / "with", with_calls=True)
    assert {("LOOKUP", "mkdir"), ("MKDIR", "mkdir"), ("RENAME", "rename")} <= said
    assert {call for _, call in said} <= {"mkdir", "rename", None}  # None: not asleep yet
    assert {call for _, call in calls(tmp_path / "without", with_calls=False)} == {None}
    header, _ = rows_of(tmp_path / "with")
    # And whoever has started this, up to the first process.
    assert header.threads[0][:3] == [HERE, HERE, os.getppid()]
    for row, above in itertools.pairwise(header.threads):
        assert row[2] == above[1]
