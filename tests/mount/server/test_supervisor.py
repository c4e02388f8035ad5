"""A server that ends, in whatever way, takes its mount with it: nobody waits for the dead."""

import contextlib
import errno
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support import storm
from support.complaints import complaint
from support.guests import PATIENCE_S, ended, eventually, hear, start
from support.live import LiveShare, is_mounted
from support.nobody import need_fusermount, run_as_nobody
from support.remains import (
    abort,
    aborting_at_the_end,
    assert_gone,
    device_of,
    supervisor_of,
    supervisors_for,
    threads_in_the_kernel,
)

from osxfs_sim.mount import launch
from osxfs_sim.mount.launch import unmount_and_wait
from osxfs_sim.mount.mounts.control import ask
from osxfs_sim.mount.mounts.mountpoints import GoneError, MountError, SilentError, unmount
from osxfs_sim.mount.mounts.runtime_records import record_path

HOUR_NS = 3_600 * 10**9
EVENTS = {"profile": "osxfs-cached"}
DELEGATED = {"profile": "osxfs-delegated", "latency_ns": 0, "write_back_age_ns": HOUR_NS}

ASKS = """
import os
print("there", flush=True)
input()
try: os.stat("missing")
except OSError as error: print(error.errno)
"""


@pytest.fixture
def slow_share(share, monkeypatch) -> Callable[[], LiveShare]:
    """Mounts shares whose guests wait, with a directory's lock, longer than any test lasts."""

    def slow_share() -> LiveShare:
        with monkeypatch.context() as patch:
            patch.setattr(launch, "_SERVER", "support.slow_server")
            patch.setenv("PYTHONPATH", str(Path(storm.__file__).parents[1]))
            return share(**EVENTS, latency_ns=0, event_latency_ns=0)

    return slow_share


def inside(live: LiveShare) -> "subprocess.Popen[str]":
    """A guest that will ask for something once it is told to."""
    guest = start(ASKS, cwd=live.guest)
    hear(guest, "there")
    return guest


def go(guest: "subprocess.Popen[str]") -> None:
    assert guest.stdin is not None
    guest.stdin.write("\n")
    guest.stdin.flush()


def held_up(live: LiveShare) -> "subprocess.Popen[str]":
    """A guest waits for an answer, and a thread of the server for the lock that the guest holds."""
    guest = inside(live)
    live.reset()  # from now on it is slow
    go(guest)
    eventually(lambda: live.status().in_flight)
    (live.source / "new").touch()
    eventually(lambda: threads_in_the_kernel(live.pid))
    return guest


# A server that is killed


def test_a_killed_server_whose_thread_waits_in_its_own_mount_lets_everybody_go(slow_share) -> None:
    live = slow_share()
    device = device_of(live)
    guest = held_up(live)
    with ended(guest):
        live.kill()
        said, _ = guest.communicate(timeout=PATIENCE_S)
        assert int(said) in (errno.ENOTCONN, errno.ECONNABORTED)
    assert_gone(live, device)


def test_so_does_one_that_ends_by_a_fault(slow_share) -> None:
    """For a core dump the kernel would wait for that very thread, and tell nobody."""
    live = slow_share()
    device = device_of(live)
    with aborting_at_the_end(device):
        guest = held_up(live)
        with ended(guest):
            live.expected_end = None
            os.kill(live.pid, signal.SIGSEGV)
            said, _ = guest.communicate(timeout=PATIENCE_S)
            assert int(said) in (errno.ENOTCONN, errno.ECONNABORTED)
        live.wait_for_end()
    eventually(lambda: not is_mounted(live.guest))
    assert_gone(live, device)


def killed_with_its_supervisor(live: LiveShare) -> None:
    """As where all processes of a container, or of a service, are killed at once."""
    live.expected_end = None
    supervisor = supervisor_of(live)
    os.kill(live.pid, signal.SIGSTOP)  # so that it starts no other
    os.kill(supervisor, signal.SIGKILL)
    live.server.kill()


def test_a_server_that_is_killed_with_its_supervisor_lets_everybody_go(slow_share) -> None:
    live = slow_share()
    device = device_of(live)
    with aborting_at_the_end(device):
        guest = held_up(live)
        with ended(guest):
            killed_with_its_supervisor(live)
            said, _ = guest.communicate(timeout=PATIENCE_S)
            assert int(said) in (errno.ENOTCONN, errno.ECONNABORTED)
        live.wait_for_end()
    unmount_and_wait(str(live.guest))
    assert_gone(live, device)


def test_so_does_one_that_was_about_to_end_a_name(slow_share) -> None:
    """The thread that tells the kernel waits for the same lock, with a descriptor in hand."""
    live = slow_share()
    device = device_of(live)
    with aborting_at_the_end(device):
        guest = held_up(live)
        with ended(guest):
            (live.source / "known").touch()
            eventually(lambda: threads_in_the_kernel(live.pid) > 0)
            killed_with_its_supervisor(live)
            said, _ = guest.communicate(timeout=PATIENCE_S)
            assert int(said) in (errno.ENOTCONN, errno.ECONNABORTED)
        live.wait_for_end()
    unmount_and_wait(str(live.guest))
    assert_gone(live, device)


def test_one_that_is_killed_with_its_supervisor_while_it_unmounts_lets_everybody_go(
    slow_share,
) -> None:
    live = slow_share()
    device = device_of(live)
    with aborting_at_the_end(device):
        guest = held_up(live)
        with ended(guest):
            live.server.terminate()
            eventually(lambda: not is_mounted(live.guest))
            killed_with_its_supervisor(live)
            said, _ = guest.communicate(timeout=PATIENCE_S)
            assert int(said) in (errno.ENOTCONN, errno.ECONNABORTED, errno.ENOENT)
        live.wait_for_end()
    assert_gone(live, device)


def test_with_the_share_s_descriptors_in_hand_they_would_be_left_waiting(
    slow_share, monkeypatch
) -> None:
    # What shows that the tests above can fail: the connection must be ended by hand.
    monkeypatch.setenv("UNSUPERVISED", "1")
    monkeypatch.setenv("HOLDS_DEVICE", "1")
    live = slow_share()
    device = device_of(live)
    with aborting_at_the_end(device):
        guest = held_up(live)
        with ended(guest):
            live.expected_end = None
            live.server.kill()
            with pytest.raises(subprocess.TimeoutExpired):
                guest.wait(1)
            assert threads_in_the_kernel(live.pid)
            assert is_mounted(live.guest)
            assert abort(device)
        live.wait_for_end()
    unmount_and_wait(str(live.guest))


def test_a_supervisor_that_is_killed_is_followed_by_another(slow_share) -> None:
    live = slow_share()
    device = device_of(live)
    live.expected_trouble = True
    for _ in range(2):
        before = supervisor_of(live)
        os.kill(before, signal.SIGKILL)
        eventually(lambda: supervisor_of(live) not in (0, before))  # noqa: B023
    guest = held_up(live)
    with ended(guest):
        live.kill()
        guest.communicate(timeout=PATIENCE_S)
    assert_gone(live, device)


def test_signals_that_are_meant_for_servers_do_not_end_a_supervisor(share) -> None:
    live = share()
    supervisor = supervisor_of(live)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1):
        os.kill(supervisor, number)
    live.kill()
    eventually(lambda: not is_mounted(live.guest))


def test_a_supervisor_leaves_alone_what_was_mounted_there_since(field: Path, share) -> None:
    for name in ("source", "guest"):
        (field / name).mkdir()
    first = share(field / "source", field / "guest")
    supervisor = supervisor_of(first)
    os.kill(supervisor, signal.SIGSTOP)
    first.expected_end = None
    first.server.kill()
    first.wait_for_end()
    unmount(str(field / "guest"), lazily=True)  # our own command would wake the supervisor up
    second = share(field / "source", field / "guest")
    os.kill(supervisor, signal.SIGCONT)
    eventually(lambda: supervisor not in supervisors_for(field / "guest"))
    (second.guest / "file").touch()
    assert os.listdir(second.source) == ["file"]


_AS_NOBODY = """
import os, signal, sys, threading, time
import osxfs_sim
from osxfs_sim.mount.launch import launch
from osxfs_sim.mount.mounts.mountpoints import mount_at
source, guest = sys.argv[1:]
share = launch(osxfs_sim.ShareSettings(source, guest, profile="osxfs-cached", calibrate=False,
    latency_ns=4 * 10**9, event_latency_ns=0, state_directory=source + "/../state"))
pid = share._server.pid
os.chdir(guest)
told = []
def ask():
    try: os.stat("missing")
    except OSError as error: told.append(error.errno)
thread = threading.Thread(target=ask)
thread.start()
while not share.status().in_flight: time.sleep(0.01)
open(source + "/new", "w").close()
def waits():
    stats = (f"/proc/{pid}/task/{thread}/stat" for thread in os.listdir(f"/proc/{pid}/task"))
    return "D" in [open(stat).read().rpartition(")")[2].split()[0] for stat in stats]
while not waits(): time.sleep(0.01)
os.kill(pid, signal.SIGKILL)
thread.join(180)
share._server.wait(180)
os.chdir("/")
while mount_at(guest) is not None: time.sleep(0.01)
print(told)
"""


@pytest.mark.usefixtures("need_fuse")
def test_an_ordinary_user_s_supervisor_answers_in_the_server_s_place(nobody) -> None:
    need_fusermount()
    source, guest = nobody
    said = run_as_nobody(_AS_NOBODY, source, guest)
    assert said.strip() in (f"[{errno.ENOTCONN}]", f"[{errno.ECONNABORTED}]")


# A server that is stopped, and umount --force


@pytest.fixture
def stopped(share: Callable[..., LiveShare]) -> Iterator[LiveShare]:
    live = share()
    live.expected_end = None
    os.kill(live.pid, signal.SIGSTOP)
    try:
        yield live
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(live.pid, signal.SIGCONT)


def test_whoever_asks_a_stopped_server_is_told_the_way_out(stopped: LiveShare) -> None:
    guest = str(stopped.guest)
    remedy = f"kill -CONT {stopped.pid}, or osxfs-sim umount --force {guest}"
    for question in ("status", "flush", "live-counters"):
        timeout_s = None if question == "flush" else 60.0
        assert remedy in complaint(SilentError, ask, guest, question, timeout_s=timeout_s)
    assert remedy in complaint(SilentError, unmount_and_wait, guest)
    settings = live_settings(stopped)
    assert "is already mounted" in complaint(MountError, launch.launch, settings)
    os.kill(stopped.pid, signal.SIGCONT)
    assert stopped.status().pid == stopped.pid, "nothing was done to it"
    stopped.expected_end = 0


def live_settings(live: LiveShare):
    from osxfs_sim import ShareSettings

    return ShareSettings(str(live.source), str(live.guest), profile="none", calibrate=False)


def test_force_ends_a_stopped_server_whose_guests_wait(share) -> None:
    live = share()
    device = device_of(live)
    guest = inside(live)
    with ended(guest):
        live.expected_end = None
        os.kill(live.pid, signal.SIGSTOP)
        go(guest)
        live.share.unmount(force=True)
        said, _ = guest.communicate(timeout=PATIENCE_S)
        assert int(said) in (errno.ENOTCONN, errno.ECONNABORTED)
    assert_gone(live, device)


def test_force_ends_a_stopped_server_whose_share_was_unmounted_lazily(share) -> None:
    live = share()
    device = device_of(live)
    guest = inside(live)
    with ended(guest):
        live.expected_end = None
        os.kill(live.pid, signal.SIGSTOP)
        go(guest)
        unmount(str(live.guest), lazily=True)
        assert "nothing is mounted" in complaint(MountError, unmount_and_wait, str(live.guest))
        unmount_and_wait(str(live.guest), force=True)
        said, _ = guest.communicate(timeout=PATIENCE_S)
        assert int(said) in (errno.ENOTCONN, errno.ECONNABORTED)
    live.wait_for_end()
    assert_gone(live, device)


def test_force_says_what_a_share_that_was_unmounted_lazily_has_not_written(share) -> None:
    live = share(**DELEGATED)
    with open(live.guest / "file", "w") as file:
        file.write("held")
        file.flush()
        live.expected_end = None
        os.kill(live.pid, signal.SIGSTOP)
        unmount(str(live.guest), lazily=True)
        said = complaint(MountError, unmount_and_wait, str(live.guest), force=True)
        with contextlib.suppress(OSError):
            file.close()
    assert "are not on the host: file" in said
    live.wait_for_end()


def test_force_ends_a_share_whose_supervisor_is_stopped_too(stopped: LiveShare) -> None:
    device = device_of(stopped)
    os.kill(supervisor_of(stopped), signal.SIGSTOP)
    stopped.share.unmount(force=True)
    assert_gone(stopped, device)


def test_force_ends_what_is_left_of_a_server_whose_supervisor_was_stopped(
    share: Callable[..., LiveShare],
) -> None:
    live = share()
    device = device_of(live)
    supervisor = supervisor_of(live)
    os.kill(supervisor, signal.SIGSTOP)
    live.expected_end = None
    live.server.kill()
    live.wait_for_end()
    assert is_mounted(live.guest), "nobody else takes it away"
    live.share.unmount(force=True)
    assert_gone(live, device)


def test_so_it_does_while_guests_wait(slow_share) -> None:
    live = slow_share()
    device = device_of(live)
    guest = held_up(live)
    with ended(guest):
        os.kill(supervisor_of(live), signal.SIGSTOP)
        live.expected_end = None
        live.server.kill()
        live.share.unmount(force=True)
        said, _ = guest.communicate(timeout=PATIENCE_S)
        assert int(said) in (errno.ENOTCONN, errno.ECONNABORTED)
    assert_gone(live, device)


def test_force_ends_a_server_whose_thread_waits_in_its_own_mount(slow_share) -> None:
    live = slow_share()
    live.expected_end = None
    device = device_of(live)
    with ended(held_up(live)):
        live.share.unmount(force=True)
    assert_gone(live, device)


def test_force_ends_a_share_that_is_in_use(share) -> None:
    live = share()
    live.expected_end = None
    held = os.open(live.guest / "file", os.O_RDWR | os.O_CREAT)
    assert "umount --force" in complaint(MountError, live.unmount)
    live.share.unmount(force=True)
    assert not is_mounted(live.guest)
    with pytest.raises(OSError, match="o"):
        os.pread(held, 1, 0)
    with contextlib.suppress(OSError):
        os.close(held)


def test_force_says_what_is_not_on_the_host(share) -> None:
    live = share(**DELEGATED)
    (live.guest / "precious").write_text("content")
    os.kill(live.pid, signal.SIGSTOP)
    live.expected_end = None
    message = complaint(MountError, live.share.unmount, force=True)
    assert "precious" in message
    assert "--unwritten recover" in message
    again = share(live.source, live.guest, **DELEGATED, unwritten="recover")
    again.unmount()
    assert (live.source / "precious").read_text() == "content"


def test_unmounting_after_a_kill_says_what_is_not_on_the_host(share) -> None:
    live = share(**DELEGATED)
    (live.guest / "precious").write_text("content")
    live.kill()
    assert "was killed" in complaint(GoneError, live.status)
    assert "precious" in unmount_and_wait(str(live.guest))
    assert not record_path(os.geteuid(), str(live.guest)).exists()
    share(live.source, live.guest, **DELEGATED, unwritten="recover").unmount()


def test_a_share_that_ends_in_order_leaves_no_record(share) -> None:
    live = share()
    assert record_path(os.geteuid(), str(live.guest)).exists()
    live.unmount()
    assert not record_path(os.geteuid(), str(live.guest)).exists()


def test_a_server_whose_connection_somebody_has_aborted_leaves_no_dead_mount(share) -> None:
    live = share()
    assert abort(device_of(live))
    assert live.wait_for_end() == 0
    assert not is_mounted(live.guest)
