"""A server whose loop comes to wait for its own share is let go, and its share with it."""

import errno
import os
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from support.guests import eventually, refused
from support.live import LiveShare, is_mounted

from osxfs_sim.mount.mounts.mountpoints import mount_at
from osxfs_sim.mount.server.supervisor import _Server
from osxfs_sim.mount.server.waits import waits_for_fuse, way_back

# A policy that looks into its own share, once there is a name that asks for it.
_POLICY = """
import os
from osxfs_sim import CachePolicy

class Looking(CachePolicy):
    def found(self, name, status, now_ns):
        if name == b"look":
            os.stat(os.environ["LOOKS_AT"])
        return super().found(name, status, now_ns)
"""
GONE = (errno.ENOTCONN, errno.ECONNABORTED)


@pytest.fixture
def looking(share, field: Path, monkeypatch: pytest.MonkeyPatch):
    """Mounts a share whose policy looks at a path when it is asked for the name ``look``."""
    (field / "policy_that_looks.py").write_text(_POLICY)
    monkeypatch.chdir(field)

    def looking(path: Path, *place: Path) -> LiveShare:
        monkeypatch.setenv("LOOKS_AT", str(path))
        live = share(*place, policy="policy_that_looks:Looking", latency_ns=0)
        (live.source / "look").touch()
        (live.source / "behind").touch()
        return live

    return looking


def place(field: Path) -> tuple[Path, Path]:
    source, guest = field / "source", field / "guest"
    source.mkdir()
    guest.mkdir()
    return source, guest


def waits_for_itself(live: LiveShare) -> bool:
    entry = mount_at(str(live.guest))
    return entry is not None and bool(way_back(live.pid, live.pid, entry.device))


@contextmanager
def missing_lookups(live: LiveShare) -> Iterator[list[int | None]]:
    """Somebody looks at the name, and is told after the block, by the errno in the list."""
    told: list[int | None] = []

    def ask() -> None:
        try:
            os.stat(live.guest / "look")
        except OSError as error:
            told.append(error.errno)
        else:
            told.append(None)

    asking = threading.Thread(target=ask, daemon=True)
    asking.start()
    try:
        yield told
    finally:
        if live.server.poll() is None and not told:
            eventually(lambda: told or live.server.poll() is not None)
        asking.join(180)


def assert_let_go(live: LiveShare, way: str) -> None:
    live.expected_end, live.expected_trouble = 1, True
    with missing_lookups(live) as told:
        eventually(lambda: waits_for_fuse(live.pid, live.pid))
        eventually(lambda: told)
    assert told[0] in GONE
    assert live.wait_for_end() == 1
    eventually(lambda: not is_mounted(live.guest))
    log = live.log()
    assert f"by way of {way}: its connection is ended" in log
    assert "waited for its own share" in log


def test_a_policy_that_looks_into_its_own_share_ends_it_and_wedges_nobody(
    looking, field: Path
) -> None:
    source, guest = place(field)
    assert_let_go(looking(guest / "behind", source, guest), str(guest))


def test_a_file_system_that_leads_back_into_the_share_ends_it_and_wedges_nobody(
    looking, field: Path
) -> None:
    if shutil.which("bindfs") is None:
        pytest.skip("bindfs is not installed")
    source, guest = place(field)
    mirror = field / "mirror"
    mirror.mkdir()
    live = looking(mirror / "behind", source, guest)
    subprocess.run(["bindfs", guest, mirror], check=True)
    try:
        assert_let_go(live, f"{mirror}, which leads to {guest}")
    finally:
        subprocess.run(["umount", "-l", mirror], check=True)


def test_a_server_that_waits_for_another_is_left_alone(looking, share, field: Path) -> None:
    """However long that takes: it answers one day."""
    slow = share(latency_ns=0)
    (slow.source / "file").touch()
    live = looking(slow.guest / "file", *place(field))
    os.kill(slow.pid, signal.SIGSTOP)
    try:
        with missing_lookups(live) as told:
            wait = eventually(_Server(live.pid).wait_for_fuse)
            assert not waits_for_itself(live)
            assert not _Server(live.pid).way_to(mount_at(str(live.guest)).device)
            assert _Server(live.pid).wait_for_fuse() == wait, "it is the same one"
            os.kill(slow.pid, signal.SIGCONT)
            eventually(lambda: told)
        assert told == [None]
    finally:
        os.kill(slow.pid, signal.SIGCONT)
        live.unmount()


def test_a_server_that_is_stopped_is_left_alone(share) -> None:
    live = share()
    os.kill(live.pid, signal.SIGSTOP)
    try:
        assert not _Server(live.pid).wait_for_fuse()
        assert not waits_for_itself(live)
    finally:
        os.kill(live.pid, signal.SIGCONT)


def test_a_server_that_waits_for_nobody_waits_not_for_itself(share) -> None:
    live = share()
    assert not waits_for_fuse(live.pid, live.pid)
    assert not waits_for_itself(live)
    with refused(errno.ENOENT):
        os.stat(live.guest / "none")
