"""What once took a share down, or served the wrong object: each must stay harmless."""

import contextlib
import errno
import os
import resource
import signal
import socket
import stat as modes
import subprocess
import sys
from pathlib import Path

import pytest
from support.guests import eventually
from support.live import LiveShare

import osxfs_sim
from osxfs_sim.mount.launch import launch, unmount_and_wait
from osxfs_sim.mount.mounts.mountpoints import control_path, mount_at, runtime_directory, unmount
from osxfs_sim.mount.tree.backing import Backing
from osxfs_sim.mount.tree.inodes import InodeTable


def test_whoever_asks_and_hangs_up_leaves_the_share_alone(share) -> None:
    live = share()
    path = control_path(runtime_directory(os.geteuid()), str(live.guest))
    for _ in range(5):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
            client.connect(str(path))
            client.sendall(b"status\n")
    assert live.status().profile == "none"


def test_a_file_system_that_dies_below_the_source_takes_nothing_with_it(share, field: Path) -> None:
    inner = share()
    (inner.source / "file").write_text("inner")
    outer = share()
    (outer.source / "nested").mkdir()
    (outer.source / "file").write_text("outer")
    (field / "inner").mkdir()
    nested = osxfs_sim.ShareSettings(
        str(inner.source), str(outer.source / "nested"), profile="none", calibrate=False
    )
    dying = launch(nested)
    try:
        handle = os.open(outer.guest / "nested" / "file", os.O_RDONLY)
        assert os.read(handle, 5) == b"inner"
        os.kill(dying.first_status.pid, signal.SIGKILL)
        dying._server.wait()
        with contextlib.suppress(OSError):  # ENOTCONN, as the file system below says
            os.close(handle)
        with pytest.raises(OSError, match="not connected") as caught:
            os.stat(outer.guest / "nested" / "file")
        assert caught.value.errno == errno.ENOTCONN
        # The rest of the directory can still be listed, and the share still serves.
        assert os.listdir(outer.guest) == ["file"]
        assert (outer.guest / "file").read_text() == "outer"
        eventually(lambda: outer.status().open_handles == 0)
    finally:
        unmount(str(outer.source / "nested"), lazily=True)


@pytest.mark.mounts
def test_a_server_that_is_still_ending_spares_the_next_share_at_its_place(field: Path) -> None:
    source, guest = field / "source", field / "guest"
    source.mkdir()
    guest.mkdir()
    (source / "file").write_text("there")
    first = LiveShare.mount(source, guest)
    inside = subprocess.Popen(["sleep", "30"], cwd=guest)
    try:
        os.kill(first.pid, signal.SIGTERM)
        eventually(lambda: mount_at(str(guest)) is None)
        with osxfs_sim.share(source, guest, profile="none", calibrate=False) as second:
            first.share._server.wait(180)
            assert (guest / "file").read_text() == "there"
            assert second.status().pid != first.pid
    finally:
        inside.kill()
        inside.wait()
        first._watchdog.cancel()
    assert mount_at(str(guest)) is None


def test_a_tree_that_the_host_turned_inside_out_is_stale_and_not_endless(tmp_path: Path) -> None:
    inodes = InodeTable(os.stat(tmp_path))
    backing = Backing(inodes.root, os.open(tmp_path, os.O_RDONLY), most_descriptors=4)
    try:
        (tmp_path / "a" / "b").mkdir(parents=True)
        a = inodes.find_or_add(inodes.root, b"a", os.stat(tmp_path / "a"))
        b = inodes.find_or_add(a, b"b", os.stat(tmp_path / "a" / "b"))
        a.parent = b
        with pytest.raises(OSError, match=r"[Ss]tale") as caught:
            backing.directory_fd(b)
        assert caught.value.errno == errno.ESTALE
    finally:
        backing.close()


# A policy's own mistakes cost no answer, so this one brings a mistake of ours, to the server alone.
_POLICY = """
import sys
from osxfs_sim import CachePolicy

class Failing(CachePolicy):
    pass

if getattr(sys.modules["__main__"].__spec__, "name", "") == "osxfs_sim.mount.server.main":
    from osxfs_sim.mount.requests.caching import Caching
    found = Caching._found

    def fails(self, place, name, status):
        if name == b"bad":
            raise ValueError(name)
        return found(self, place, name, status)

    Caching._found = fails
"""


def test_a_create_that_fails_late_leaves_no_handle_behind(share, field: Path, monkeypatch) -> None:
    (field / "policy_that_fails_late.py").write_text(_POLICY)
    monkeypatch.chdir(field)
    live = share(policy="policy_that_fails_late:Failing")
    live.expected_trouble = True
    with pytest.raises(OSError, match="output error"):
        os.open(live.guest / "bad", os.O_CREAT | os.O_WRONLY)
    (live.source / "precious").write_text("precious")
    with open(live.guest / "precious", "rb") as precious:
        assert live.status().open_handles == 1
        with pytest.raises(OSError, match="output error"):
            os.truncate(live.guest / "bad", 0)
        assert precious.read() == b"precious"


def test_a_directory_deeper_than_a_page_of_path_works(share) -> None:
    live = share()
    fds = [os.open(live.guest, os.O_RDONLY)]
    try:
        for _ in range(30):
            os.mkdir("n" * 200, dir_fd=fds[-1])
            fds.append(os.open("n" * 200, os.O_RDONLY, dir_fd=fds[-1]))
        handle = os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=fds[-1])
        os.close(handle)
        assert os.listdir(fds[-1]) == ["file"]
    finally:
        for fd in fds:
            os.close(fd)
    subprocess.run(["rm", "-rf", str(live.guest / ("n" * 200))], check=True)
    assert os.listdir(live.source) == []


@pytest.mark.parametrize("profile", ["none", "osxfs-cached"])
def test_an_open_directory_that_is_moved_out_is_not_listed(
    share, field: Path, profile: str
) -> None:
    live = share(profile=profile, latency_ns=0)
    (live.source / "within").mkdir()
    fd = os.open(live.guest / "within", os.O_RDONLY | os.O_DIRECTORY)
    try:
        (live.source / "within").rename(field / "outside")
        (field / "outside" / "secret").touch()
        with pytest.raises(OSError, match=r"[Ss]tale"):
            os.listdir(fd)
    finally:
        os.close(fd)


def test_a_handle_survives_the_loss_of_the_only_name_the_guest_knew(share) -> None:
    live = share()
    (live.source / "known").write_text("content")
    os.link(live.source / "known", live.source / "unknown")
    handle = os.open(live.guest / "known", os.O_PATH)
    try:
        os.unlink(live.guest / "known")
        assert os.fstat(handle).st_nlink == 1
        assert (live.guest / "unknown").read_text() == "content"
        assert os.fstat(handle).st_ino == os.stat(live.guest / "unknown").st_ino
    finally:
        os.close(handle)


_AS_NOBODY = """
import os, sys
os.setgid(65534); os.setuid(65534)
fd = os.open(sys.argv[1], os.O_CREAT | os.O_WRONLY, 0o4755)
os.close(fd)
os.chmod(sys.argv[1], 0o6755)
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become somebody else")
def test_nobody_makes_a_program_that_runs_as_root_on_the_host(share) -> None:
    live = share()
    live.source.chmod(0o777)
    # -I and the system's own path: the interpreter must be readable for anybody.
    subprocess.run(
        [_system_python(), "-I", "-c", _AS_NOBODY, str(live.guest / "program")], check=True
    )
    mode = (live.source / "program").stat().st_mode
    assert modes.S_IMODE(mode) == 0o755
    os.chmod(live.guest / "program", 0o4755)
    assert modes.S_IMODE((live.source / "program").stat().st_mode) == 0o4755


def _system_python() -> str:
    return "/usr/bin/python3" if os.path.exists("/usr/bin/python3") else sys.executable


@pytest.mark.mounts
def test_a_share_whose_server_was_killed_is_unmounted_with_somebody_inside(field: Path) -> None:
    source, guest = field / "source", field / "guest"
    source.mkdir()
    guest.mkdir()
    share = launch(
        osxfs_sim.ShareSettings(str(source), str(guest), profile="none", calibrate=False)
    )
    inside = subprocess.Popen(["sleep", "30"], cwd=guest)
    try:
        os.kill(share.first_status.pid, signal.SIGKILL)
        share._server.wait()
        unmount_and_wait(str(guest))
        assert mount_at(str(guest)) is None
    finally:
        inside.kill()
        inside.wait()


@pytest.mark.mounts
def test_an_error_in_the_block_is_not_hidden_by_a_share_in_use(field: Path) -> None:
    source, guest = field / "source", field / "guest"
    source.mkdir()
    guest.mkdir()
    (source / "file").touch()
    handles = []

    def fail_inside() -> None:
        with osxfs_sim.share(source, guest, profile="none", calibrate=False):
            handles.append(os.open(guest / "file", os.O_RDONLY))
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        fail_inside()
    assert mount_at(str(guest)) is None
    with contextlib.suppress(OSError):
        os.close(handles[0])


@pytest.mark.usefixtures("need_fuse")
def test_who_has_thousands_of_files_open_can_share_all_the_same(field: Path) -> None:
    source, guest = field / "source", field / "guest"
    source.mkdir()
    guest.mkdir()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(2_000, hard), hard))
    held = [os.open(field, os.O_RDONLY)]
    try:
        while held[-1] < 1_100:  # beyond what select(2) can be asked about
            held.append(os.dup(held[0]))
        with osxfs_sim.share(source, guest, profile="none", calibrate=False) as share:
            (guest / "file").touch()
            assert share.status().requests
    finally:
        for fd in held:
            os.close(fd)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert os.listdir(source) == ["file"]
    assert mount_at(str(guest)) is None
