"""A write that is on its way to the host is in the guest's pages already. Whoever drops those
pages and reads anew, because the time of modification has changed or it opens the file, must
not get what was there before.
"""

import contextlib
import mmap
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import lmdb
import pytest
from support.guests import PATIENCE_S, eventually
from support.live import LiveShare, is_mounted
from support.waiting_server import GATE

from osxfs_sim.mount import launch

_PAGE_BYTES = 4096
_LARGE_BYTES = 1 << 18


def _look(path: Path) -> None:
    path.stat()


def _open(path: Path) -> None:
    os.close(os.open(path, os.O_RDONLY))


def _overtaken(
    gate: Path,
    share: Callable[..., LiveShare],
    profile: str,
    flags: int,
    size: int,
    drop_pages: Callable[[Path], None],
) -> bool:
    """Whether the guest's pages are old when a write has ended, during which somebody has read."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(launch, "_SERVER", "support.waiting_server")
        patch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
        patch.setenv(GATE, str(gate))
        live = share(profile=profile, latency_ns=0)
    go, begun = gate / "go", gate / "begun"
    go.touch()
    path = live.guest / "file"
    path.write_bytes(b"a" * size)
    if live.status().write_back is not None:
        live.share.flush()
    fd = os.open(path, os.O_RDWR | flags)
    with mmap.mmap(fd, size) as mapped:
        assert mapped[:1] == b"a"
        os.utime(path, ns=(1, 1))
        os.fstat(fd)
        # From here on the kernel does not know the time of modification any more.
        os.pwrite(fd, b"b" * 100, 100)
        go.unlink()
        begun.unlink(missing_ok=True)
        writer = threading.Thread(target=os.pwrite, args=(fd, b"c" * size, 0))
        writer.start()
        eventually(begun.exists)

        def read() -> None:
            drop_pages(path)
            os.pread(fd, size, 0)

        reader = threading.Thread(target=read)
        reader.start()
        # Either it was answered, or it waits, as the writer does.
        eventually(lambda: not reader.is_alive() or live.status().in_flight >= 2)
        go.touch()
        writer.join()
        reader.join()
        # In this order: read(2) asks for the time of modification first, and so finds out.
        seen = mapped[:], os.pread(fd, size, 0)
    os.close(fd)
    assert (live.source / "file").read_bytes() == b"c" * size or profile == "osxfs-delegated"
    return seen != (b"c" * size, b"c" * size)


@pytest.mark.parametrize("drop_pages", [_look, _open])
@pytest.mark.parametrize(
    ("profile", "flags", "size"),
    [
        ("none", 0, _LARGE_BYTES),
        ("none", os.O_DSYNC, _PAGE_BYTES),
        ("none", os.O_SYNC, _PAGE_BYTES),
        ("osxfs-cached", 0, _LARGE_BYTES),
        ("osxfs-delegated", 0, _LARGE_BYTES),
    ],
)
def test_a_read_does_not_overtake_a_write_that_takes_long(
    field: Path,
    share: Callable[..., LiveShare],
    profile: str,
    flags: int,
    size: int,
    drop_pages: Callable[[Path], None],
) -> None:
    assert not _overtaken(field, share, profile, flags, size, drop_pages)


@pytest.mark.parametrize(
    ("profile", "flags", "size"),
    [("none", 0, _LARGE_BYTES), ("none", os.O_DSYNC, _PAGE_BYTES)],
)
def test_where_nobody_waits_it_is_found_out(
    field: Path, share: Callable[..., LiveShare], profile: str, flags: int, size: int
) -> None:
    (field / "disorder").touch()
    assert _overtaken(field, share, profile, flags, size, _look)


def test_a_share_that_ends_while_somebody_waits_for_a_turn_ends_well(
    field: Path, share: Callable[..., LiveShare], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launch, "_SERVER", "support.waiting_server")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    monkeypatch.setenv(GATE, str(field))
    live = share()
    path = live.guest / "file"
    path.write_bytes(b"a")
    fd = os.open(path, os.O_RDWR)

    def ask(call: Callable[[], object]) -> threading.Thread:
        def run() -> None:
            with contextlib.suppress(OSError):  # the share is gone, as it may be
                call()

        thread = threading.Thread(target=run)
        thread.start()
        return thread

    threads = [ask(lambda: os.pwrite(fd, b"c" * _LARGE_BYTES, 0))]
    eventually((field / "begun").exists)
    threads += [ask(lambda: os.fstat(fd)), ask(lambda: os.close(os.open(path, os.O_RDONLY)))]
    eventually(lambda: live.status().in_flight >= 3)
    live.server.terminate()
    eventually(lambda: not is_mounted(live.guest))
    (field / "go").touch()
    assert live.wait_for_end() == 0
    for thread in threads:
        thread.join()
    with contextlib.suppress(OSError):
        os.close(fd)


_COMMIT = """
import sys, lmdb
path, writer, commits = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
with lmdb.open(path, map_size=16 << 20, max_readers=20) as database:
    for number in range(commits):
        with database.begin(write=True) as transaction:
            transaction.put(b"%d-%d" % (writer, number), b"v" * (100 + number * 37))
            count = int(transaction.get(b"count", b"0"))
            transaction.put(b"count", b"%d" % (count + 1))
"""


def test_lmdb_loses_no_transaction(share: Callable[..., LiveShare]) -> None:
    """It writes by O_DSYNC, and reads through a mapping (kata-containers#5634)."""
    live = share(profile="osxfs", latency_ns=20_000)
    processes, commits = 3, 40
    for attempt in range(4):
        path = live.guest / f"database-{attempt}"
        path.mkdir()
        writers = [
            subprocess.Popen([sys.executable, "-c", _COMMIT, path, str(number), str(commits)])
            for number in range(processes)
        ]
        assert [writer.wait(PATIENCE_S) for writer in writers] == [0] * processes
        with (
            lmdb.open(str(path), map_size=16 << 20, readonly=True) as database,
            database.begin() as transaction,
        ):
            assert transaction.get(b"count") == b"%d" % (processes * commits)
            assert transaction.stat()["entries"] == processes * commits + 1
