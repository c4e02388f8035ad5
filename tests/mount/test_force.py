"""``umount --force`` has two seconds, from the start of the command on, and says what is left."""

import contextlib
import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest
from support.complaints import complaint
from support.guests import eventually, run
from support.live import is_mounted
from support.remains import device_of

from osxfs_sim.mount import force
from osxfs_sim.mount.force import WITHIN_S, Budget
from osxfs_sim.mount.launch import unmount_and_wait
from osxfs_sim.mount.mounts.mountpoints import MountError, mount_at

HOUR_NS = 3_600 * 10**9
DELEGATED = {"profile": "osxfs-delegated", "latency_ns": 0, "write_back_age_ns": HOUR_NS}


def test_what_a_budget_gives_is_never_more_than_is_left() -> None:
    assert Budget().at_most(100.0) < WITHIN_S
    assert Budget().at_most(100.0, 0.25) < WITHIN_S / 4
    assert Budget().at_most(0.001) < 0.1
    spent = Budget(0.0)  # when the machine was booted
    assert spent.left_s == 0
    assert 0 < spent.at_most(100.0) < 0.1, "a look, all the same"


@pytest.mark.starts_processes
def test_the_two_seconds_of_a_command_begin_with_its_process() -> None:
    before_s = time.monotonic()
    said_s = float(
        run(
            "import sys; sys.path[:0] = sys.argv[1:]\n"
            "from osxfs_sim.mount.force import started_s; print(started_s())",
            *sys.path,
        )
    )
    a_tick_s = 1 / os.sysconf("SC_CLK_TCK")
    assert before_s - 2 * a_tick_s <= said_s <= time.monotonic()


def test_a_share_is_ended_also_where_all_of_the_time_is_gone(share) -> None:
    live = share()
    live.expected_end = None
    with contextlib.suppress(MountError):  # that its server has not ended yet
        unmount_and_wait(str(live.guest), force=True, started_s=time.monotonic() - 60)
    assert not is_mounted(live.guest)
    assert live.server.wait(180) is not None


def test_whoever_gets_the_number_of_one_that_ended_meanwhile_is_let_alone(share) -> None:
    """The kernel gives the least number that is free: to the next share, as a rule."""
    first = share()
    entry = mount_at(str(first.guest))
    assert entry is not None
    ending = force._Share(entry, Budget(), None)
    first.unmount()
    first.wait_for_end()
    others = []
    for _ in range(10):
        others.append(share())
        if device_of(others[-1]) == entry.device:
            break
    ending.cut()
    late = force._Share(entry, Budget(), None)  # also for who looked at the mounts long ago
    late.cut()
    for each in others:
        (each.guest / "file").write_text("written")
        each.unmount()


def test_a_journal_that_takes_long_to_read_is_named_instead(share, monkeypatch) -> None:
    live = share(**DELEGATED, unwritten="discard")
    (live.guest / "precious").write_text("content")
    live.expected_end = None
    os.kill(live.pid, signal.SIGSTOP)
    go_on = threading.Event()
    with monkeypatch.context() as patch:
        patch.setattr(force, "is_unwritten", lambda _: go_on.wait(180))
        message = complaint(MountError, unmount_and_wait, str(live.guest), force=True)
    go_on.set()
    assert f"osxfs-sim unwritten {live.source} --state " in message
    eventually(lambda: not is_mounted(live.guest))
    share(live.source, live.guest, **DELEGATED, unwritten="discard").unmount()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can bind-mount")
def test_a_local_share_is_ended_whoever_is_in_its_volumes(share, field: Path) -> None:
    (field / "volume").mkdir()
    live = share(profile="native", volumes=(("kept", str(field / "volume")),))
    live.expected_end = None
    (live.guest / "kept" / "file").touch()
    held = os.open(live.guest / "kept", os.O_RDONLY)
    os.kill(live.pid, signal.SIGSTOP)
    try:
        live.share.unmount(force=True)
        assert not is_mounted(live.guest)
        assert not is_mounted(live.guest / "kept")
    finally:
        os.close(held)
    assert live.server.wait(180) is not None
