"""A server is killed, stopped or ended by force at random moments, under all kinds of load.

After at most two seconds guests are told that there is none, and nothing is left. What a hundred
strikes find takes an hour (pytest -m slow); a few of each are in the suite.
"""

import contextlib
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from support import storm
from support.guests import PATIENCE_S, ended, eventually
from support.live import LiveShare, is_mounted, servers_below, shares_below
from support.remains import assert_gone, device_of, supervisor_of

import osxfs_sim
from osxfs_sim.exports import load_exports
from osxfs_sim.mount.launch import launch_exports, unmount_and_wait
from osxfs_sim.mount.mounts.mountpoints import MountError, unmount

EVENTS = {"profile": "osxfs-cached"}
DELEGATED = {"profile": "osxfs-delegated", "latency_ns": 0, "write_back_age_ns": 20_000_000}


class Load(NamedTuple):
    settings: dict[str, object]
    guests: tuple[str, ...]
    host: bool = True


LOADS = {
    "churn under cached events": Load(EVENTS | {"latency_ns": 0}, ("names", "names", "writes")),
    "slow answers": Load(EVENTS | {"latency_ns": 300_000_000}, ("names", "names", "writes")),
    "answers after three seconds": Load(
        EVENTS | {"latency_ns": 3_000_000_000}, ("names", "names", "writes")
    ),
    "pages": Load({"profile": "osxfs"}, ("writes", "maps", "writes"), host=False),
    "write-back": Load(DELEGATED, ("names", "writes", "maps")),
}
# Guests work in a directory of the machine's own, as the kernel serves it.
LOCAL_LOADS = {
    "synchronized": Load({"profile": "docker-vz-sync"}, ("names", "writes", "maps")),
    "the host's own": Load({"profile": "native"}, ("names", "writes", "maps")),
    "a volume": Load({"profile": "volume"}, ("names", "writes", "maps"), host=False),
}


def _working(what: str, seed: int, place: Path) -> "subprocess.Popen[str]":
    worker = subprocess.Popen(
        [sys.executable, "-I", "-S", str(Path(storm.__file__)), what, str(seed)],
        cwd=place,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert worker.stdout is not None
    assert worker.stdout.readline() == "at work\n"
    return worker


@contextlib.contextmanager
def at_work(
    load: Load, seed: int, guest: Path, source: Path
) -> Iterator[tuple[list["subprocess.Popen[str]"], list["subprocess.Popen[str]"]]]:
    """The guests of a load, and the host."""
    guests = [_working(what, seed + n, guest) for n, what in enumerate(load.guests)]
    hosts = [_working("host", seed, source)] if load.host else []
    with ended(*guests, *hosts):
        yield guests, hosts
        for host in hosts:
            _go_home(host)


def _go_home(worker: "subprocess.Popen[str]") -> None:
    assert worker.communicate("stop\n", timeout=PATIENCE_S)[0] == "asked to stop\n"


def _is_told(guest: "subprocess.Popen[str]") -> bool:
    guest.wait(PATIENCE_S)
    assert guest.stdout is not None
    # A page that cannot be read any more is told of by SIGBUS.
    return guest.stdout.read() == "told\n" or guest.returncode == -signal.SIGBUS


def _by_force(guest: Path) -> None:
    with contextlib.suppress(MountError):  # it says what is not on the host, if anything
        unmount_and_wait(str(guest), force=True)


def struck_down(live: LiveShare, load: Load, seed: int) -> None:
    """Guests and host are at work, and the server ends at some moment, in some way."""
    chance = random.Random(seed)
    device = device_of(live)
    live.expected_end, live.expected_trouble = None, True
    with at_work(load, seed, live.guest, live.source) as (guests, _):
        time.sleep(chance.uniform(0, 0.4))
        way = chance.choice(("kill", "stop", "force", "stop and kill", "kill with supervisor"))
        if way in ("stop", "stop and kill"):
            os.kill(live.pid, signal.SIGSTOP)
        if way == "kill with supervisor":
            os.kill(supervisor_of(live), signal.SIGKILL)
        if way in ("stop", "force"):
            _by_force(live.guest)
        else:
            os.kill(live.pid, signal.SIGKILL)
        if way == "kill with supervisor":
            with contextlib.suppress(MountError):
                unmount_and_wait(str(live.guest))
        for guest in guests:
            assert _is_told(guest), way
    assert_gone(live, device)
    if load.settings.get("profile") == "osxfs-delegated":
        with contextlib.suppress(MountError):
            unmount_and_wait(str(live.guest))


def times(load: str, number: int, share: Callable[..., LiveShare]) -> None:
    source = guest = None
    for seed in range(number):
        settings = LOADS[load].settings
        if settings["profile"] == "osxfs-delegated":
            settings = settings | {"unwritten": "discard"}
        live = share(source, guest, **settings)
        source, guest = live.source, live.guest
        struck_down(live, LOADS[load], seed)


@pytest.mark.parametrize("load", LOADS)
def test_a_server_that_is_struck_down_at_any_moment_takes_its_mount_along(share, load: str) -> None:
    times(load, 3, share)


@pytest.mark.slow
@pytest.mark.parametrize("load", LOADS)
def test_a_hundred_servers_that_are_struck_down_take_their_mounts_along(share, load: str) -> None:
    times(load, 25, share)


# Shares without requests: whoever is inside works on, in what is a directory like any other


def local_struck_down(live: LiveShare, load: Load, seed: int) -> None:
    chance = random.Random(seed)
    live.expected_end, live.expected_trouble = None, True
    with at_work(load, seed, live.guest, live.source) as (guests, _):
        time.sleep(chance.uniform(0, 0.4))
        way = chance.choice(("kill", "stop", "force", "stop and kill"))
        if way in ("stop", "stop and kill"):
            os.kill(live.pid, signal.SIGSTOP)
        if way in ("kill", "stop and kill"):
            os.kill(live.pid, signal.SIGKILL)
        _by_force(live.guest)
        assert not is_mounted(live.guest), way
        for guest in guests:
            _go_home(guest)
    assert live.server.wait(PATIENCE_S) is not None


def local_times(load: str, number: int, share: Callable[..., LiveShare], field: Path) -> None:
    if os.geteuid():
        pytest.skip("only root can bind-mount")
    source = guest = None
    for seed in range(number):
        live = share(
            source, guest, **LOCAL_LOADS[load].settings, state_directory=str(field / "state")
        )
        source, guest = live.source, live.guest
        local_struck_down(live, LOCAL_LOADS[load], seed)


@pytest.mark.parametrize("load", LOCAL_LOADS)
def test_a_share_without_requests_that_is_struck_down_leaves_nothing(
    share, field: Path, load: str
) -> None:
    local_times(load, 3, share, field)


@pytest.mark.slow
@pytest.mark.parametrize("load", LOCAL_LOADS)
def test_a_hundred_shares_without_requests_that_are_struck_down_leave_nothing(
    share, field: Path, load: str
) -> None:
    local_times(load, 25, share, field)


# Share files: several servers, one in the mount of another

SHARE_FILE = """
[exports.cached]
source = "cached"
profile = "osxfs-cached"
latency = "0us"

[exports.slow]
source = "slow"
profile = "osxfs"
latency = "3s"

[exports.held]
source = "held"
profile = "osxfs-delegated"
latency = "0us"
"""
EXPORTS = ("cached", "slow", "held")


@contextlib.contextmanager
def site(field: Path) -> Iterator[osxfs_sim.Share]:
    """All exports mounted, and nothing of them left whatever happens."""
    if os.geteuid():
        pytest.skip("a share file needs root")
    for name in EXPORTS:
        (field / name).mkdir(exist_ok=True)
    (field / "mnt").mkdir(exist_ok=True)
    (field / "share.toml").write_text(SHARE_FILE)
    given = {"calibrate": False, "unwritten": "discard", "state_directory": str(field / "state")}
    share = launch_exports(load_exports(str(field / "share.toml"), str(field / "mnt"), given))
    try:
        yield share
    finally:
        for server in _servers(share):
            server.kill()
            server.wait(PATIENCE_S)
        for mountpoint in reversed(shares_below(field)):
            unmount(mountpoint, lazily=True)


def _servers(share: osxfs_sim.Share) -> list["subprocess.Popen[bytes]"]:
    return [each._server for each in (*share.exports, share)]


def site_struck_down(share: osxfs_sim.Share, field: Path, seed: int) -> str:
    """Returns in which way."""
    chance = random.Random(seed)
    with contextlib.ExitStack() as stack:
        guests = []
        for name in EXPORTS:
            load = Load({}, ("names", "writes"))
            working = at_work(load, seed, field / "mnt" / name, field / name)
            guests += stack.enter_context(working)[0]
        time.sleep(chance.uniform(0, 0.4))
        way = chance.choice(("force", "stop", "stop some", "kill some", "kill"))
        servers = _servers(share)
        some = chance.sample(servers, 2) if way.endswith("some") else servers
        for server in some if way != "force" else ():
            server.send_signal(signal.SIGKILL if way.startswith("kill") else signal.SIGSTOP)
        if way != "kill":
            _by_force(field / "mnt")
        for guest in guests:
            # Where the one above was killed first, a share goes on for whoever is inside.
            if way != "kill some":
                assert _is_told(guest), way
            elif guest.poll() is None:
                guest.communicate("stop\n", timeout=PATIENCE_S)
    return way


def site_times(number: int, field: Path) -> None:
    for seed in range(number):
        with site(field) as share:
            way = site_struck_down(share, field, seed)
            eventually(lambda: not shares_below(field))
            for server in _servers(share):
                assert server.wait(PATIENCE_S) is not None, way
            eventually(lambda: not servers_below(field))


def test_the_servers_of_a_share_file_that_are_struck_down_leave_nothing(
    field: Path, need_fuse: None
) -> None:
    del need_fuse
    site_times(3, field)


@pytest.mark.slow
def test_the_servers_of_many_share_files_that_are_struck_down_leave_nothing(
    field: Path, need_fuse: None
) -> None:
    del need_fuse
    site_times(25, field)
