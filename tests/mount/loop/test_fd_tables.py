"""Threads with a table of descriptors of their own, in which nothing of the share's is."""

import errno
import os
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from support.guests import eventually, refused
from support.live import LiveShare

from osxfs_sim.mount.loop import fd_tables
from osxfs_sim.mount.loop.fd_tables import Device, run_without_fuse_fds, unshare_fd_table


def in_a_thread(call: Callable[[], None]) -> None:
    failures: list[BaseException] = []

    def run() -> None:
        try:
            call()
        except BaseException as error:
            failures.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if failures:
        raise failures[0]


def test_a_thread_with_a_table_of_its_own_has_what_it_keeps_and_nothing_else() -> None:
    read_fd, write_fd = os.pipe()
    other = os.open("/dev/null", os.O_RDONLY)

    def look() -> None:
        assert unshare_fd_table((write_fd,))
        for fd in (read_fd, other):
            with refused(errno.EBADF):
                os.fstat(fd)
        os.write(write_fd, b"kept")
        os.dup2(write_fd, read_fd)  # a number means something else here
        os.close(read_fd)
        os.close(write_fd)

    in_a_thread(look)
    assert os.read(read_fd, 10) == b"kept"
    os.fstat(other)
    os.fstat(write_fd)
    for fd in (read_fd, write_fd, other):
        os.close(fd)


def test_a_call_made_apart_answers_and_fails_as_it_does() -> None:
    fd = os.open("/dev/null", os.O_RDONLY)
    assert run_without_fuse_fds(divmod, 7, 2) == (3, 1)
    with pytest.raises(ZeroDivisionError):
        run_without_fuse_fds(divmod, 7, 0)
    with refused(errno.EBADF):
        run_without_fuse_fds(os.fstat, fd)
    os.close(fd)


def test_where_no_thread_can_be_apart_calls_are_made_all_the_same(monkeypatch) -> None:
    monkeypatch.setattr(fd_tables, "_unshare", lambda: False)
    fd = os.open("/dev/null", os.O_RDONLY)
    run_without_fuse_fds(os.fstat, fd)
    os.close(fd)


@pytest.mark.mounts
def test_what_is_no_share_is_not_cloned() -> None:
    fd = os.open("/dev/null", os.O_RDONLY)
    device = Device(fd)
    device.keep_clone_only(())  # this thread keeps its table
    os.fstat(fd)
    device.close()
    os.close(fd)


def tables_of(live: LiveShare) -> list[list[str]]:
    """What each thread of the server has open of /dev/fuse."""
    threads = Path(f"/proc/{live.pid}/task")
    return [
        [link for fd in (thread / "fd").iterdir() if (link := os.readlink(fd)) == "/dev/fuse"]
        for thread in sorted(threads.iterdir(), key=lambda thread: int(thread.name))
    ]


def test_of_a_share_with_events_one_thread_tells_and_one_waits_without_any(share) -> None:
    live = share(profile="osxfs-cached", latency_ns=0, event_latency_ns=0)
    tables = eventually(lambda: sorted(map(len, tables_of(live)))[:2] == [0, 1] and tables_of(live))
    assert len(tables[0]) == 2, "that of the requests, and its clone"


@pytest.mark.parametrize("refusing", ["_clone", "_taken"])
def test_events_are_raised_all_the_same_where_the_kernel_refuses(
    share, monkeypatch, refusing: str
) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    monkeypatch.setenv("APART_REFUSED", refusing)
    from osxfs_sim.mount import launch

    with monkeypatch.context() as patch:
        patch.setattr(launch, "_SERVER", "support.clinging_server")
        live = share(profile="osxfs-cached", latency_ns=0, event_latency_ns=0)
    for name in ("one", "other"):
        assert not (live.guest / name).exists()
        (live.source / name).write_text("content")
        live.settle()
        assert (live.guest / name).read_text() == "content"
    assert live.status().events.raised["create"] >= 2
