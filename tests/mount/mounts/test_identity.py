"""--user: a server that root has started, and that is somebody else from then on."""

import contextlib
import errno
import itertools
import os
import pwd
import shutil
import signal
import stat as modes
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.acting import ALICE, BOB, need_root, owner, owner_told  # noqa: F401
from support.command import Command
from support.complaints import complaint
from support.guests import PATIENCE_S, eventually, refused
from support.live import LiveShare, is_mounted
from support.users import User, outcome_as

import osxfs_sim
from osxfs_sim.mount.launch import launch
from osxfs_sim.mount.mounts import identity
from osxfs_sim.mount.mounts.identity import ServerUser, server_user, state_directory
from osxfs_sim.mount.mounts.mountpoints import MountError, log_path, mount_at, runtime_directory

pytestmark = pytest.mark.usefixtures("need_root", "need_fuse")

ATTRIBUTE = "user.com.docker.owner"
NOBODY = pwd.getpwnam("nobody")


@pytest.fixture
def as_nobody(field: Path, share) -> Iterator[Callable[..., LiveShare]]:
    """A function that shares field/source, of nobody, by a server that becomes nobody."""
    if shutil.which("fusermount3") is None:
        pytest.skip("fusermount3 is not installed: a server of nobody could not unmount")
    for name in ("source", "guest", "state"):
        (field / name).mkdir()
        os.chown(field / name, NOBODY.pw_uid, NOBODY.pw_gid)
    existed = runtime_directory(NOBODY.pw_uid).exists()

    def mount(**settings: object) -> LiveShare:
        state = {"state_directory": str(field / "state"), "user": "nobody"}
        return share(field / "source", field / "guest", **(state | settings))

    yield mount
    if not existed:
        shutil.rmtree(runtime_directory(NOBODY.pw_uid), ignore_errors=True)


def process_status(pid: int) -> dict[str, list[str]]:
    with open(f"/proc/{pid}/status") as file:
        return {key: value.split() for key, _, value in (line.partition(":") for line in file)}


def assert_is_nobody_for_good(pid: int) -> None:
    for thread in os.listdir(f"/proc/{pid}/task"):
        status = process_status(int(thread))
        assert status["Uid"] == [str(NOBODY.pw_uid)] * 4
        assert status["Gid"] == [str(NOBODY.pw_gid)] * 4
        assert {int(group) for group in status["Groups"]} == set(
            os.getgrouplist("nobody", NOBODY.pw_gid)
        )
        for capabilities in ("CapInh", "CapPrm", "CapEff", "CapAmb"):
            assert int(status[capabilities][0], 16) == 0, capabilities


def test_every_thread_of_the_server_is_that_user_for_good(as_nobody) -> None:
    live = as_nobody()
    (live.guest / "file").write_bytes(b"x" * 1_000_000)  # some of it in other threads
    with open(live.guest / "file", "rb") as file:
        os.fsync(file.fileno())
    assert len(os.listdir(f"/proc/{live.pid}/task")) > 1
    assert_is_nobody_for_good(live.pid)
    assert live.status().user == "nobody"
    mounted = mount_at(str(live.guest))
    assert mounted is not None
    assert mounted.user_id == NOBODY.pw_uid


def test_such_a_server_hears_the_host_and_tells_the_guest(as_nobody) -> None:
    live = as_nobody(profile="osxfs-cached", latency_ns=0)
    (live.source / "d").mkdir()
    live.settle()
    assert os.listdir(live.guest / "d") == []
    (live.source / "d" / "new").touch()
    live.settle()
    assert os.listdir(live.guest / "d") == ["new"]
    events = live.status().events
    assert events.raised["create"] >= 1
    assert events.not_raised == 0


def test_the_check_of_who_a_server_is_notices_root(share) -> None:
    live = share()
    with pytest.raises(AssertionError):
        assert_is_nobody_for_good(live.pid)


def test_what_the_server_makes_belongs_to_that_user_on_the_host(as_nobody) -> None:
    live = as_nobody(user=str(NOBODY.pw_uid))
    assert live.status().user == "nobody"
    (live.guest / "file").touch()
    (live.guest / "directory").mkdir()
    (live.guest / "link").symlink_to("file")
    os.mkfifo(live.guest / "fifo")
    for name in os.listdir(live.source):
        assert owner(live.source / name) == (NOBODY.pw_uid, NOBODY.pw_gid)
        assert owner(live.guest / name) == (0, 0)
        assert owner_told(live.guest / name, ALICE) == (ALICE, ALICE)


@pytest.mark.parametrize("ownership", ["osxfs", "host"])
def test_no_access_is_made_that_the_user_could_not_make(as_nobody, ownership: str) -> None:
    """Not for the guest's root either."""
    live = as_nobody(ownership=ownership)
    (live.source / "secret").write_text("root's")
    (live.source / "secret").chmod(0o600)
    (live.source / "closed").mkdir(mode=0o700)
    (live.source / "open").mkdir(mode=0o755)
    for attempt in (
        lambda: (live.guest / "secret").read_text(),
        lambda: (live.guest / "secret").write_text("changed"),
        lambda: os.listdir(live.guest / "closed"),
        lambda: (live.guest / "open" / "file").touch(),
    ):
        with refused(errno.EACCES):
            attempt()
    with refused(errno.EPERM):
        (live.guest / "secret").chmod(0o666)
    assert (live.source / "secret").read_text() == "root's"


def test_an_owner_of_what_belongs_to_somebody_else_cannot_be_kept(as_nobody) -> None:
    live = as_nobody()
    (live.source / "root's").touch(mode=0o644)
    with refused(errno.EACCES):
        os.chown(live.guest / "root's", 5, 6)
    assert owner_told(live.guest / "root's", BOB) == (BOB, BOB)


# Attributes that cannot be read


def mode(path: Path) -> int:
    return modes.S_IMODE(path.lstat().st_mode)


def test_the_server_opens_what_is_its_own_to_itself_and_closes_it_again(as_nobody) -> None:
    live = as_nobody()
    for number, (make, bits) in enumerate(
        itertools.product((Path.touch, Path.mkdir), (0o000, 0o200, 0o100, 0o400))
    ):
        sub = live.guest / f"sub-{number}"
        sub.mkdir()
        it, on_host = sub / "it", live.source / sub.name / "it"
        make(it)
        os.chown(it, 5, -1)
        it.chmod(bits)
        for _ in range(2):
            assert owner_told(it, BOB) == (5, BOB)
            with os.scandir(it.parent) as entries:
                assert [entry.stat().st_uid for entry in entries] == [5]
            assert mode(on_host) == bits
        os.chown(it, -1, 6)
        assert owner_told(it, BOB) == (5, 6)
        assert mode(on_host) == bits
        os.setxattr(on_host, ATTRIBUTE, b"0:7:8")
        assert owner_told(it, BOB) == (7, 8), "what was read by force was kept too long"


def test_what_cannot_be_opened_belongs_to_whoever_asks_until_it_can_be_read(as_nobody) -> None:
    live = as_nobody()
    for make in (Path.touch, Path.mkdir):
        it = live.source / make.__name__
        make(it)
        it.chmod(0)
        os.setxattr(it, ATTRIBUTE, b"0:5:6")
        assert owner_told(live.guest / it.name, BOB) == (BOB, BOB)
        assert mode(it) == 0
        it.chmod(0o755)
        assert owner_told(live.guest / it.name, BOB) == (5, 6)
    assert live.status().ownership.malformed == 0
    for name, value in (("short", b"?"), ("long", b"?" * 100)):
        (live.guest / name).touch()
        os.setxattr(live.source / name, ATTRIBUTE, value)
        (live.guest / name).chmod(0)
    for _ in range(2):
        for name in ("short", "long"):
            assert owner_told(live.guest / name, BOB) == (BOB, BOB)
    assert live.status().ownership.malformed == 2, "also of what was opened by force"


_STAT_MANY = """
import os, sys
for _ in range(100):
    for directory in sys.argv[1:]:
        for name in os.listdir(directory):
            assert os.lstat(f"{directory}/{name}").st_uid == 5
"""


def test_servers_that_open_one_file_at_once_leave_it_as_it_was(as_nobody, field, share) -> None:
    live = as_nobody()
    (field / "second").mkdir()
    os.chown(field / "second", NOBODY.pw_uid, NOBODY.pw_gid)
    second = share(
        live.source, field / "second", user="nobody", state_directory=str(field / "state")
    )
    for number in range(5):
        (live.guest / f"file-{number}").touch()
        os.chown(live.guest / f"file-{number}", 5, 6)
        (live.guest / f"file-{number}").chmod(0)
    readers = [
        subprocess.Popen(["/usr/bin/python3", "-ISc", _STAT_MANY, guest])
        for guest in (live.guest, second.guest)
    ]
    assert [reader.wait(PATIENCE_S) for reader in readers] == [0, 0]
    assert {mode(path) for path in live.source.iterdir()} == {0}


# Its end


@pytest.mark.parametrize("how", ["SIGTERM", "SIGINT", "command", "umount", "fusermount3"])
def test_the_share_ends_in_every_way(cli: Command, as_nobody, how: str) -> None:
    live = as_nobody()
    (live.guest / "file").write_text("content")
    if how.startswith("SIG"):
        os.kill(live.pid, signal.Signals[how])
    elif how == "command":
        assert cli("umount", live.guest).returncode == 0
    elif how == "umount":
        subprocess.run(["umount", live.guest], check=True)
    else:
        subprocess.run(
            ["fusermount3", "-u", live.guest],
            user=NOBODY.pw_uid,
            group=NOBODY.pw_gid,
            extra_groups=[],
            check=True,
        )
    assert live.wait_for_end() == 0
    assert not is_mounted(live.guest)
    directory = runtime_directory(NOBODY.pw_uid)
    log = log_path(directory, str(live.guest))
    assert not log.exists() or not log.read_text()
    assert not log.with_suffix(".sock").exists()


def test_in_the_foreground_too(cli: Command, field: Path, as_nobody) -> None:
    assert as_nobody is not None  # the directories
    source, guest = field / "source", field / "guest"
    options = ("--profile", "none", "--user", "nobody", "--state", field / "state")
    with cli.start("mount", source, guest, "--foreground", *options, stdout=None) as server:
        try:
            eventually(lambda: is_mounted(guest) or server.poll() is not None)
            (guest / "file").touch()
            assert owner(source / "file") == (NOBODY.pw_uid, NOBODY.pw_gid)
            assert_is_nobody_for_good(server.pid)
        finally:
            server.send_signal(signal.SIGINT)
            said = server.communicate(timeout=PATIENCE_S)[1]
    assert "Traceback" not in said
    assert not is_mounted(guest)


def test_the_processors_are_kept_awake_all_the_same(as_nobody) -> None:
    """Only root may open /dev/cpu_dma_latency: it was opened before."""
    if not os.path.exists("/dev/cpu_dma_latency"):
        pytest.skip("this machine has no /dev/cpu_dma_latency")
    live = as_nobody(profile="osxfs")
    (live.guest / "file").touch()

    def held_while_in_use() -> bool:
        os.stat(live.guest / "file")
        return live.status().pm_qos_held

    eventually(held_while_in_use)
    assert not any("PM QoS" in warning for warning in live.status().warnings)


# Where it keeps what outlives it


def user(**changes: object) -> ServerUser:
    values = {"uid": ALICE, "gid": ALICE, "groups": (ALICE,), "home": "/none", "drops": True}
    return ServerUser(**(values | changes))


@pytest.fixture
def roots(field: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(identity, "_ROOTS", field / "lib" / "osxfs-sim")
    monkeypatch.setenv("XDG_STATE_HOME", str(field / "root's"))
    (field / "lib").mkdir()
    return field / "lib" / "osxfs-sim"


def test_root_and_users_with_a_home_have_the_usual_places(field: Path, roots: Path) -> None:
    home = field / "home"
    home.mkdir()
    os.chown(home, ALICE, ALICE)
    assert state_directory(user(uid=0, drops=False)) == roots
    assert state_directory(user(home=str(home))) == home / ".local/state/osxfs-sim"
    assert state_directory(user(home=str(home), drops=False)) == field / "root's" / "osxfs-sim"
    assert os.listdir(field / "lib") == []
    assert os.listdir(home) == []


@pytest.mark.parametrize("home", ["none", "root's", "open to all"])
def test_a_user_without_a_home_of_its_own_is_given_a_place_by_root(
    field: Path, roots: Path, home: str
) -> None:
    if home != "none":
        (field / home).mkdir()
    if home == "open to all":
        (field / home).chmod(0o777)
    for _ in range(2):
        directory = state_directory(user(home=str(field / home)))
        assert directory == roots.with_name(f"osxfs-sim-{ALICE}")
        assert owner(directory) == (ALICE, ALICE)
        assert mode(directory) == 0o700
    assert os.geteuid() == 0


def test_the_place_of_a_user_without_a_home_serves(as_nobody) -> None:
    """On the machine's own /var/lib, as there is no other way to a server of its own."""
    place = Path(f"/var/lib/osxfs-sim-{NOBODY.pw_uid}")
    if os.path.isdir(NOBODY.pw_dir):
        pytest.skip("nobody has a home here")
    was_there = place.exists()
    try:
        live = as_nobody(state_directory=None)
        (live.guest / "link").symlink_to("nowhere")
        os.chown(live.guest / "link", 5, 6, follow_symlinks=False)
        assert owner(live.guest / "link") == (5, 6)
        assert (place / "owners.sqlite").exists()
        live.unmount()
    finally:
        if not was_there:
            shutil.rmtree(place, ignore_errors=True)


# Mistakes


def settings(field: Path, **changes: object) -> osxfs_sim.ShareSettings:
    values = {"profile": "none", "calibrate": False, "user": "nobody"} | changes
    return osxfs_sim.ShareSettings(str(field / "source"), str(field / "guest"), **values)


def test_mistakes_are_told_in_one_line(field: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("source", "guest"):
        (field / name).mkdir()

    def said(**changes: object) -> str:
        return complaint(MountError, launch, settings(field, **changes))

    assert said(user="no-such-user") == "there is no user 'no-such-user': see getent passwd"
    assert said(user="") == "there is no user '': see getent passwd"
    assert said(user="-1") == "there is no user '-1': see getent passwd"
    assert said(user="4294967290") == "there is no user '4294967290': see getent passwd"
    assert said(user="9" * 30) == f"there is no user '{'9' * 30}': see getent passwd"
    assert said(user="²") == "there is no user '²': see getent passwd"
    assert said(user="no\0body") == "there is no user 'no\\x00body': see getent passwd"
    for root in ("root", "0"):
        assert said(user=root) == (
            "the server is root already: leave --user out, or name another user"
        )
    with monkeypatch.context() as changed:
        changed.setattr(shutil, "which", lambda _: None)
        assert said() == "--user needs fusermount3, to unmount without root: apt-get install fuse3"
    with monkeypatch.context() as changed:
        changed.setattr(os, "geteuid", lambda: ALICE)
        assert said() == "--user needs root: only root can become somebody else"
    (field / "source").chmod(0o700)
    assert said() == f"the source {field / 'source'} cannot be read: permission denied"
    assert not is_mounted(field / "guest")


def test_the_one_who_is_named_is_looked_up_with_all_its_groups() -> None:
    found = server_user("nobody")
    assert (found.uid, found.gid, found.drops) == (NOBODY.pw_uid, NOBODY.pw_gid, True)
    assert str(found) == "nobody"
    assert not server_user(None).drops
    with contextlib.suppress(KeyError):
        pwd.getpwuid(ALICE)
        pytest.skip("this machine has that user")
    assert str(user()) == str(ALICE)


def test_acting_as_a_user_ends_with_the_block() -> None:
    groups = os.getgroups()
    with contextlib.suppress(KeyError), user(groups=(ALICE, BOB)).acting():
        assert (os.geteuid(), os.getegid()) == (ALICE, ALICE)
        assert sorted(os.getgroups()) == [ALICE, BOB]
        raise KeyError
    assert (os.getresuid(), os.getresgid()) == ((0, 0, 0), (0, 0, 0))
    assert os.getgroups() == groups


@pytest.mark.parametrize("profile", ["none", "osxfs", "osxfs-delegated"])
@pytest.mark.parametrize("mode", [0o6777, 0o4666, 0o2766, 0o2777])
def test_whoever_writes_a_set_id_file_of_somebody_else_clears_its_bits_as_natively(
    as_nobody, field: Path, profile: str, mode: int
) -> None:
    """It was EPERM: only its owner may set a mode, and the server is not its owner."""
    live = as_nobody(profile=profile, latency_ns=0)
    natively = field / "natively"
    natively.mkdir()
    files = [directory / how for directory in (live.source, natively) for how in _WRITERS]
    for path in files:
        path.write_bytes(b"text")
        path.chmod(mode)
    non_member = User(NOBODY.pw_uid, NOBODY.pw_gid)
    for directory in (live.guest, natively):
        assert [
            outcome_as(non_member, write, str(directory / how)) for how, write in _WRITERS.items()
        ] == ["ok"] * len(_WRITERS)

    def ends(directory: Path) -> list[str]:
        return [oct((directory / how).stat().st_mode) for how in _WRITERS]

    eventually(lambda: ends(live.source) == ends(natively))
    assert outcome_as(non_member, os.chmod, str(live.guest / "write"), 0o700) == "EPERM"


def _write(path: str) -> None:
    fd = os.open(path, os.O_WRONLY)
    try:
        os.pwrite(fd, b"T", 0)
    finally:
        os.close(fd)


def _cut_open(path: str) -> None:
    fd = os.open(path, os.O_WRONLY)
    try:
        os.ftruncate(fd, 1)
    finally:
        os.close(fd)


def _append(path: str) -> None:
    with open(path, "ab") as file:
        file.write(b"more")


_WRITERS: dict[str, Callable[[str], object]] = {
    "write": _write,
    "append": _append,
    "truncate": lambda path: os.truncate(path, 1),
    "ftruncate": _cut_open,
    "O_TRUNC": lambda path: open(path, "wb").close(),
}
