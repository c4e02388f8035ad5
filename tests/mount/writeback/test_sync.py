"""sync(2) waits until the host has what the guest has changed; syncfs(2) cannot be made to."""

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.guests import PATIENCE_S, eventually, run
from support.live import LiveShare

HOUR_NS = 3_600 * 10**9
HELD = {"profile": "osxfs-delegated", "latency_ns": 0, "write_back_age_ns": HOUR_NS}


pytestmark = pytest.mark.usefixtures("alone_with_sync")


@pytest.fixture
def held(alone_with_sync: None, share: Callable[..., LiveShare]) -> LiveShare:
    del alone_with_sync
    if os.geteuid() or not os.path.exists("/dev/loop-control"):
        pytest.skip("only root, with loop devices, can be told of sync(2)")
    live = share(**HELD)
    eventually(lambda: live.status().write_back.sync_waits)
    return live


def loop_devices_of_ours() -> set[str]:
    """Loop devices on memory that is called as the barrier's is."""
    found = set()
    for name in os.listdir("/sys/block"):
        backing = Path("/sys/block", name, "loop", "backing_file")
        if backing.exists() and "osxfs-sim sync barrier" in backing.read_text():
            found.add(name)
    return found


def test_sync_brings_everything_that_is_pending(held: LiveShare) -> None:
    (held.guest / "directory").mkdir()
    for number in range(200):
        (held.guest / "directory" / f"{number}").write_text("content")
    os.rename(held.guest / "directory", held.guest / "renamed")
    assert os.listdir(held.source) == []
    os.sync()
    assert len(os.listdir(held.source / "renamed")) == 200
    assert held.status().write_back.pending_changes == 0


@contextlib.contextmanager
def barrier_of(live: LiveShare) -> Iterator[int]:
    """The file system that hears of sync(2): syncfs(2) of it asks this share, and no other."""
    for child in Path(f"/proc/{live.pid}/task/{live.pid}/children").read_text().split():
        for link in Path(f"/proc/{child}/fd").iterdir():
            if os.readlink(link) == "/":
                fd = os.open(link, os.O_RDONLY | os.O_DIRECTORY)
                try:
                    yield fd
                finally:
                    os.close(fd)
                return
    raise AssertionError("it has none")


_SYNC = "import ctypes, sys; print(ctypes.CDLL(None).syncfs(int(sys.argv[1])))"


def sync(barrier: int) -> None:
    """As sync(2), in a process that can be given up."""
    command = [sys.executable, "-ISc", _SYNC, str(barrier)]
    said = subprocess.run(
        command, pass_fds=[barrier], capture_output=True, text=True, timeout=PATIENCE_S, check=True
    )
    assert said.stdout == "0\n"


def test_sync_does_not_wait_for_a_server_that_is_stopped(held: LiveShare) -> None:
    with barrier_of(held) as barrier:
        (held.guest / "before").write_text("content")
        sync(barrier)
        assert os.listdir(held.source) == ["before"], "this is what sync(2) asks"
        (held.guest / "file").write_text("content")
        os.kill(held.pid, signal.SIGSTOP)
        try:
            sync(barrier)
            assert os.listdir(held.source) == ["before"]
        finally:
            os.kill(held.pid, signal.SIGCONT)
        sync(barrier)
        assert sorted(os.listdir(held.source)) == ["before", "file"]


def test_sync_does_not_wait_for_a_server_that_is_killed(held: LiveShare) -> None:
    held.expected_end = None
    with barrier_of(held) as barrier:
        (held.guest / "file").write_text("content")
        os.kill(held.pid, signal.SIGSTOP)
        waiting = subprocess.Popen(
            [sys.executable, "-ISc", _SYNC, str(barrier)], pass_fds=[barrier]
        )
        held.kill()
        assert waiting.wait(PATIENCE_S) == 0


def test_syncfs_is_told_to_nobody(held: LiveShare) -> None:
    # A known difference; and what shows that the tests of sync(2) here can fail.
    (held.guest / "file").write_text("content")
    fd = os.open(held.guest, os.O_RDONLY)
    try:
        assert ctypes.CDLL(None).syncfs(fd) == 0
    finally:
        os.close(fd)
    assert os.listdir(held.source) == []


def test_one_sync_after_the_other_and_by_several_at_once(held: LiveShare) -> None:
    for number in range(20):
        (held.guest / f"{number}").touch()
        os.sync()
        assert (held.source / f"{number}").exists()
    said = run(
        """
import os, sys, threading
guest, source = sys.argv[1:]
wrong = []
def work(number):
    for step in range(10):
        name = f"{number}-{step}"
        open(os.path.join(guest, name), "w").close()
        os.sync()
        if not os.path.exists(os.path.join(source, name)):
            wrong.append(name)
threads = [threading.Thread(target=work, args=(number,)) for number in range(4)]
[thread.start() for thread in threads]
[thread.join() for thread in threads]
print(wrong)
""",
        held.guest,
        held.source,
    )
    assert said == "[]\n"


def test_a_killed_server_holds_no_sync_and_leaves_no_device(
    share: Callable[..., LiveShare],
) -> None:
    before = loop_devices_of_ours()
    live = share(**HELD)
    (live.guest / "file").touch()
    live.kill()
    os.sync()
    eventually(lambda: loop_devices_of_ours() <= before)


def test_an_ended_share_leaves_no_device(share: Callable[..., LiveShare]) -> None:
    before = loop_devices_of_ours()
    live = share(**HELD)
    live.unmount()
    eventually(lambda: loop_devices_of_ours() <= before)


def test_a_host_that_refuses_does_not_hold_a_sync(
    small_source: Path, share: Callable[..., LiveShare]
) -> None:
    live = share(small_source, **HELD)
    live.expected_trouble = True
    (live.guest / "file").write_bytes(b"guest" * 200_000)
    (small_source / "host").write_bytes(bytes((24 << 20) - 300_000))
    os.sync()
    assert live.status().write_back.refusal.path == "file"
    (small_source / "host").unlink()
    os.sync()
    assert (small_source / "file").read_bytes() == b"guest" * 200_000
