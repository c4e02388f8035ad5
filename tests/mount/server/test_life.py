"""The life of a share: how it starts, how it ends, and that it bears a crowd."""

import contextlib
import errno
import json
import mmap
import os
import random
import resource
import shutil
import signal
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.guests import PATIENCE_S, ended, eventually, finish, hear, refused, start
from support.live import LiveShare, is_mounted
from support.nobody import (
    BECOME_NOBODY,
    NOBODY,
    interpreter_for_everybody,
    need_fusermount,
    run_as_nobody,
)

import osxfs_sim
from osxfs_sim.mount.launch import launch, unmount_and_wait
from osxfs_sim.mount.mounts import control
from osxfs_sim.mount.mounts.mountpoints import MountError, runtime_directory


def quick(source: object, guest: object, **settings: object) -> osxfs_sim.ShareSettings:
    settings = {"profile": "none", "calibrate": False} | settings
    return osxfs_sim.ShareSettings(str(source), str(guest), **settings)


def complaint(call, *arguments: object, **settings: object) -> str:
    """The one line that a user is told."""
    with pytest.raises(MountError) as caught:
        call(*arguments, **settings)
    message = str(caught.value)
    assert "\n" not in message
    return message


# Mounting and unmounting


@pytest.mark.usefixtures("need_fuse")
def test_a_share_lasts_for_its_block(field: Path) -> None:
    source, guest = field / "source", field / "guest"
    source.mkdir()
    guest.mkdir()
    (source / "file").write_text("content")
    with osxfs_sim.share(source, guest, profile="none", calibrate=False) as share:
        assert share.mountpoint == str(guest)
        assert (guest / "file").read_text() == "content"
        status = share.status()
        assert (status.source, status.mountpoint) == (str(source), str(guest))
        pid = status.pid
    assert os.listdir(guest) == []
    assert not is_mounted(guest)
    assert not os.path.exists(f"/proc/{pid}")


@pytest.mark.usefixtures("need_fuse")
def test_a_share_ends_with_a_block_that_fails(field: Path) -> None:
    for name in ("source", "guest"):
        (field / name).mkdir()
    with (
        pytest.raises(KeyError),
        osxfs_sim.share(field / "source", field / "guest", profile="none", calibrate=False),
    ):
        raise KeyError
    assert not is_mounted(field / "guest")


@pytest.mark.usefixtures("need_fuse")
def test_leaving_the_block_of_a_share_that_was_unmounted_is_no_error(field: Path) -> None:
    for name in ("source", "guest"):
        (field / name).mkdir()
    with osxfs_sim.share(field / "source", field / "guest", profile="none", calibrate=False) as s:
        s.unmount()
    assert not is_mounted(field / "guest")


def test_a_mount_point_is_used_again_and_again(share, field: Path) -> None:
    source, guest = field / "source", field / "guest"
    source.mkdir()
    guest.mkdir()
    for number in range(4):
        live = share(source, guest)
        (guest / f"file-{number}").touch()
        assert len(os.listdir(guest)) == number + 1
        live.unmount()
        assert live.wait_for_end() == 0
        assert os.listdir(guest) == []
    assert len(os.listdir(source)) == 4


def test_numbers_of_inodes_outlive_a_remount(share, field: Path) -> None:
    source, guest = field / "source", field / "guest"
    source.mkdir()
    guest.mkdir()
    (source / "file").touch()
    numbers = set()
    for _ in range(2):
        live = share(source, guest)
        numbers.add((guest / "file").stat().st_ino)
        live.unmount()
    assert numbers == {(source / "file").stat().st_ino}


@pytest.mark.usefixtures("need_fuse")
def test_relative_paths_and_symlinks_lead_to_the_same_share(
    field: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("source", "guest"):
        (field / name).mkdir()
        (field / f"link-to-{name}").symlink_to(name)
    monkeypatch.chdir(field)
    with contextlib.closing(_Launched(quick("source", "guest"))) as launched:
        assert launched.share.mountpoint == str(field / "guest")
        (field / "source" / "file").touch()
        assert os.listdir("guest") == ["file"]
        unmount_and_wait("link-to-guest")
    with contextlib.closing(_Launched(quick("link-to-source", "link-to-guest"))):
        assert is_mounted(field / "guest")
        assert os.listdir("guest") == ["file"]
        unmount_and_wait("guest")


class _Launched:
    """A share from settings as they are, reaped at the end."""

    def __init__(self, settings: osxfs_sim.ShareSettings) -> None:
        self.share = launch(settings)

    def close(self) -> None:
        assert self.share._server.wait(PATIENCE_S) == 0


def test_a_mount_point_may_have_an_awkward_name(share, field: Path) -> None:
    for name in ("with space", "tab\tnew\nline", "ünï\\code", "comma,equals="):
        guest = field / name
        guest.mkdir()
        source = field / f"source of {name}"
        source.mkdir()
        live = share(source, guest)
        (guest / "file").touch()
        assert os.listdir(source) == ["file"]
        live.unmount()


def test_a_mount_point_that_is_not_empty_is_covered_and_comes_back(share, field: Path) -> None:
    for name in ("source", "guest"):
        (field / name).mkdir()
    (field / "guest" / "below").touch()
    live = share(field / "source", field / "guest")
    assert os.listdir(live.guest) == []
    live.unmount()
    assert os.listdir(field / "guest") == ["below"]


# Mistakes, and what is said of them


def test_mistakes_are_told_in_one_line(share, field: Path) -> None:
    live = share()
    source, guest, file = field / "source", field / "guest", field / "file"
    (source / "inside").mkdir(parents=True)
    guest.mkdir()
    file.touch()
    none = field / "none"

    def said(source: Path, guest: Path) -> str:
        return complaint(launch, quick(source, guest))

    assert said(none, guest) == f"the source {none} does not exist"
    assert said(file, guest) == (
        f"the source {file} is not a directory: only directories can be shared"
    )
    assert said(source, none) == f"the mount point {none} does not exist: mkdir -p {none}"
    assert said(source, file) == (
        f"the mount point {file} is not a directory (the order is SOURCE MOUNTPOINT)"
    )
    assert said(source, source) == (
        "source and mount point are the same directory: mount it elsewhere"
    )
    assert said(source, source / "inside") == (
        f"the mount point {source}/inside lies inside the source: "
        "the share would contain itself; mount it elsewhere"
    )
    assert said(source / "inside", source) == (
        f"the source {source}/inside lies inside the mount point: "
        "the share would hide it; mount it elsewhere"
    )
    assert said(source, live.guest) == (
        f"a share is already mounted at {live.guest}: osxfs-sim umount {live.guest}"
    )
    assert said(source, Path("/proc")) == (
        "a proc file system is already mounted at /proc: choose another"
    )
    assert complaint(unmount_and_wait, str(guest)) == f"nothing is mounted at {guest}"
    assert complaint(unmount_and_wait, "/proc") == (
        "/proc is a proc mount, not a share: use umount"
    )
    assert not is_mounted(guest)
    assert live.status().mountpoint == str(live.guest), "the share in use was not disturbed"


def test_a_second_share_at_a_mount_point_does_not_touch_the_log_of_the_first(
    share, field: Path
) -> None:
    live = share()
    live_log = live.log_file
    with open(live_log, "a") as log:
        log.write("kept\n")
    complaint(launch, quick(field, live.guest))
    assert "kept" in live_log.read_text()


def test_a_share_in_use_is_not_unmounted_until_it_is_left(share) -> None:
    live = share()
    held = open(live.guest / "file", "w")  # noqa: SIM115 (held over the attempt)
    try:
        assert complaint(live.unmount) == (
            f"{live.guest} is in use: leave it (fuser -vm {live.guest} shows who is in it), or "
            f"osxfs-sim umount --force {live.guest}"
        )
        held.write("still works")
        held.flush()
        assert (live.source / "file").read_text() == "still works"
    finally:
        held.close()
    live.unmount()
    assert not is_mounted(live.guest)


def test_what_the_share_itself_lets_go_of_while_it_is_asked_does_not_keep_it_mounted(
    share, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As when the thread that raises events ends its batch just then: it has nothing to release."""
    live = share()
    held = os.open(live.guest, os.O_PATH)

    def ask_and_let_go(*arguments: object, **named: object) -> dict:
        answer = control.ask(*arguments, **named)
        if arguments[1] == "release":
            assert answer == {"released": False}
            os.close(held)
        return answer

    monkeypatch.setattr("osxfs_sim.mount.launch.ask", ask_and_let_go)
    live.unmount()
    assert not is_mounted(live.guest)
    with pytest.raises(OSError, match="Bad file descriptor"):
        os.close(held)


@pytest.mark.usefixtures("need_fuse")
def test_leaving_a_block_whose_share_is_in_use_says_so_and_ends_it(field: Path) -> None:
    for name in ("source", "guest"):
        (field / name).mkdir()
    guest = field / "guest"
    block = osxfs_sim.share(field / "source", guest, profile="none", calibrate=False)
    server = block.__enter__()._server
    held = os.open(guest / "file", os.O_WRONLY | os.O_CREAT)
    os.write(held, b"written")
    assert "is in use" in complaint(block.__exit__, None, None, None)
    assert server.wait(PATIENCE_S) == 0
    assert not is_mounted(guest)
    with refused(errno.ENOTCONN):
        os.write(held, b"too late")
    close_after_the_end(held)
    assert (field / "source" / "file").read_text() == "written"


# Ends


def close_after_the_end(fd: int) -> None:
    """close(2) frees the descriptor, and says that the file could not be flushed."""
    with refused(errno.ENOTCONN):
        os.close(fd)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_a_share_and_loses_nothing(share, number: signal.Signals) -> None:
    live = share()
    (live.source / "file").write_bytes(b"-" * 8_192)
    with (
        open(live.guest / "file", "r+b") as file,
        mmap.mmap(file.fileno(), 0) as mapping,
    ):
        mapping[4_000:4_200] = b"x" * 200
    os.kill(live.pid, number)
    assert live.wait_for_end() == 0
    assert not is_mounted(live.guest)
    assert (live.source / "file").read_bytes() == b"-" * 4_000 + b"x" * 200 + b"-" * 3_992


_DIRTY = """
import mmap, sys
with open(sys.argv[1], "r+b") as file, mmap.mmap(file.fileno(), 0) as mapping:
    mapping[4_000:4_200] = b"x" * 200
    print("dirty", flush=True)
    sys.stdin.readline()
    import os
    os._exit(0)
"""


def test_a_signal_writes_out_what_a_process_that_stays_has_mapped(share) -> None:
    live = share()
    (live.source / "file").write_bytes(b"-" * 8_192)
    process = start(_DIRTY, live.guest / "file")
    hear(process, "dirty")
    os.kill(live.pid, signal.SIGTERM)
    assert live.wait_for_end() == 0
    assert not is_mounted(live.guest)
    finish(process, "go\n")
    assert (live.source / "file").read_bytes() == b"-" * 4_000 + b"x" * 200 + b"-" * 3_992


def test_the_end_of_a_slow_share_is_not_slow(share) -> None:
    ten_minutes_ns = 600 * 10**9
    live = share()
    (live.source / "file").write_bytes(b"-" * 8_192)
    slow = share(live.source, latency_ns=ten_minutes_ns)
    process = start("import os, sys; print(os.stat(sys.argv[1]).st_size)", slow.guest / "file")
    eventually(lambda: slow.status().in_flight)
    os.kill(slow.pid, signal.SIGTERM)
    assert slow.wait_for_end() == 0
    assert finish(process) == "8192\n"


def test_signals_upon_signals_change_nothing(share) -> None:
    live = share()
    held = os.open(live.guest / "file", os.O_WRONLY | os.O_CREAT)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        os.kill(live.pid, number)
    assert live.wait_for_end() == 0
    close_after_the_end(held)
    assert not is_mounted(live.guest)


def test_a_killed_server_leaves_a_mount_point_that_can_be_used_again(share, field: Path) -> None:
    for name in ("source", "guest"):
        (field / name).mkdir()
    (field / "source" / "file").write_text("content")
    live = share(field / "source", field / "guest")
    live.kill()
    assert os.listdir(field / "guest") == [], "the mount is gone with it"
    again = share(field / "source", field / "guest")
    assert (field / "guest" / "file").read_text() == "content"
    again.unmount()
    assert not is_mounted(field / "guest"), "the dead mount below is gone too"


def test_a_killed_server_s_mount_is_gone_and_whoever_unmounts_it_is_told_no_error(share) -> None:
    live = share()
    live.kill()
    assert "was killed, and its mount is taken away" in complaint(live.status)
    assert not is_mounted(live.guest)
    unmount_and_wait(str(live.guest))
    assert complaint(unmount_and_wait, str(live.guest)) == f"nothing is mounted at {live.guest}"


def test_who_is_inside_when_the_server_is_killed_gets_an_error_and_no_hang(share) -> None:
    live = share()
    held = os.open(live.guest / "file", os.O_RDWR | os.O_CREAT)
    live.kill()
    with refused(errno.ENOTCONN):
        os.pread(held, 10, 0)
    close_after_the_end(held)
    unmount_and_wait(str(live.guest))


@pytest.mark.parametrize("command", [["umount"], ["fusermount3", "-u"]])
def test_others_may_unmount_and_the_server_ends(share, command: list[str]) -> None:
    live = share()
    (live.guest / "file").write_text("content")
    subprocess.run([*command, live.guest], check=True)
    assert live.wait_for_end() == 0
    assert not is_mounted(live.guest)
    assert (live.source / "file").read_text() == "content"


def test_a_lazy_unmount_serves_whoever_is_inside_until_they_leave(share) -> None:
    live = share()
    with open(live.guest / "file", "w") as held:
        subprocess.run(["umount", "-l", live.guest], check=True)
        held.write("still served")
        held.flush()
        assert (live.source / "file").read_text() == "still served"
    assert live.wait_for_end() == 0


def test_a_source_that_is_taken_away_is_told_and_served_again_when_it_is_back(share) -> None:
    live = share()
    (live.source / "file").touch()
    moved = live.source.with_name("moved")
    live.source.rename(moved)
    assert os.listdir(live.guest) == ["file"], "the directory is shared, not its name"
    moved.rename(live.source)
    shutil.rmtree(live.source)
    assert os.listdir(live.guest) == []
    with refused(errno.ENOENT):
        (live.guest / "new").touch()


def test_what_ends_leaves_no_socket_behind(share) -> None:
    live = share()
    before = set(os.listdir(runtime_directory(0)))
    socket = live.log_file.with_suffix(".sock").name
    assert socket in before
    live.unmount()
    assert socket not in os.listdir(runtime_directory(0))


# Ordinary users

_AS_NOBODY = """
import json, os, sys
import osxfs_sim
from osxfs_sim.mount.mounts.mountpoints import mount_at
source, guest, settings = sys.argv[1], sys.argv[2], json.loads(sys.argv[3])
assert os.geteuid() == 65534
try:
    with osxfs_sim.share(source, guest, profile="none", calibrate=False, **settings) as share:
        with open(f"{guest}/file", "w") as file:
            file.write("content")
        os.mkdir(f"{guest}/directory")
        os.chmod(f"{guest}/file", 0o400)
        assert open(f"{guest}/file").read() == "content"
        try:
            os.open(f"{guest}/not-mine", os.O_WRONLY)
        except PermissionError:
            pass
        else:
            raise AssertionError("opened what is not mine")
        assert mount_at(guest).user_id == 65534
        assert share.status().requests
    assert mount_at(guest) is None
except osxfs_sim.MountError as error:
    print("refused:", error)
else:
    print("done")
"""


def as_nobody(source: Path, guest: Path, *, fuse_mode: str = "0666", **settings: object) -> str:
    """What an ordinary user's attempt to share comes to."""
    return run_as_nobody(_AS_NOBODY, source, guest, json.dumps(settings), fuse_mode=fuse_mode)


@pytest.mark.usefixtures("need_fuse")
def test_an_ordinary_user_mounts_and_unmounts(nobody: tuple[Path, Path]) -> None:
    need_fusermount()
    source, guest = nobody
    assert as_nobody(source, guest) == "done"
    status = (source / "file").stat()
    assert (status.st_uid, status.st_mode & 0o777) == (NOBODY, 0o400)
    assert not is_mounted(guest)


@pytest.mark.usefixtures("need_fuse")
def test_an_ordinary_user_lets_others_in_only_if_root_has_allowed_it(
    nobody: tuple[Path, Path],
) -> None:
    need_fusermount()
    with open("/etc/fuse.conf") as file:
        if any(line.strip() == "user_allow_other" for line in file):
            pytest.skip("root has allowed user_allow_other on this machine")
    assert as_nobody(*nobody, allow_other=True) == (
        "refused: --allow-other needs the line user_allow_other in /etc/fuse.conf "
        "(only root can add it)"
    )


@pytest.mark.usefixtures("need_fuse")
def test_an_ordinary_user_cannot_share_what_it_cannot_read(nobody: tuple[Path, Path]) -> None:
    source, guest = nobody
    os.chown(source, 0, 0)
    source.chmod(0o700)
    assert as_nobody(source, guest) == (
        f"refused: the source {source} cannot be read: permission denied"
    )


@pytest.mark.usefixtures("need_fuse")
def test_an_ordinary_user_who_may_not_use_fuse_is_told_which_file_to_look_at(
    nobody: tuple[Path, Path],
) -> None:
    need_fusermount()
    said = as_nobody(*nobody, fuse_mode="0600")
    assert said.startswith("refused: ")
    assert "/dev/fuse" in said


def test_root_lets_others_in_unless_told_not_to(share) -> None:
    code = "import os, sys; os.listdir(sys.argv[1])"

    def others_get_in(live: LiveShare) -> bool:
        command = [interpreter_for_everybody(), "-ISc", code, live.guest]
        done = subprocess.run(command, **BECOME_NOBODY, stderr=subprocess.DEVNULL)
        return done.returncode == 0

    assert others_get_in(share())
    assert not others_get_in(share(allow_other=False))


# A crowd


def test_forty_threads_of_mixed_work_come_to_an_end(share) -> None:
    live = share(profile="osxfs-cached", latency_ns=200_000)
    failures: list[BaseException] = []

    def work(number: int) -> None:
        rng = random.Random(number)
        own = live.guest / f"own-{number}"
        shared = live.guest / "shared"
        try:
            own.mkdir()
            for turn in range(15):
                file = own / f"file-{turn}"
                content = rng.randbytes(rng.randrange(60_000))
                file.write_bytes(content)
                assert file.read_bytes() == content
                file.rename(own / f"renamed-{turn}")
                os.listdir(shared)
                with contextlib.suppress(FileExistsError):
                    (shared / f"{turn}").touch(exist_ok=False)
                with contextlib.suppress(FileNotFoundError):
                    (shared / f"{rng.randrange(15)}").unlink()
                if turn % 5 == 0:
                    fd = os.open(own / f"renamed-{turn}", os.O_RDWR)
                    os.fsync(fd)
                    os.close(fd)
            assert len(os.listdir(own)) == 15
        except BaseException as error:
            failures.append(error)

    (live.guest / "shared").mkdir()
    threads = [threading.Thread(target=work, args=(number,)) for number in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE_S * 3)
    assert not any(thread.is_alive() for thread in threads)
    assert not failures, failures
    assert sum(len(files) for _, _, files in os.walk(live.source)) >= 40 * 15
    eventually(lambda: live.status().open_handles == 0)
    assert live.status().in_flight == 0


def test_a_delayed_reply_holds_up_nobody_else(share) -> None:
    """With 50 ms a request, clients overlap: requests are in flight together."""
    live = share(latency_ns=50_000_000, profile="osxfs")
    done = threading.Event()

    def ask(directory: Path) -> None:
        while not done.is_set():
            (directory / "missing").exists()

    for number in range(8):
        (live.source / f"d{number}").mkdir()
    threads = [threading.Thread(target=ask, args=(live.guest / f"d{n}",)) for n in range(8)]
    for thread in threads:
        thread.start()
    try:
        assert eventually(lambda: live.status().in_flight > 1)
    finally:
        done.set()
        for thread in threads:
            thread.join()


def test_a_slow_host_call_holds_up_nobody_else(share, field: Path) -> None:
    """A host that is stuck in fsync must not keep others from being answered.

    The host's file system is another share, one that takes 2 s for an fsync:
    while that lasts, lookups on the outer share are answered.
    """
    (field / "slow.toml").write_text(
        'name = "slow"\ntitle = "Slow fsync"\nabout = "For a test."\n'
        '[latency]\nmetadata = "0us"\nsync = "2s"\n'
    )
    inner = share(profile=str(field / "slow.toml"))
    outer = share(inner.guest)
    fd = os.open(outer.guest / "file", os.O_RDWR | os.O_CREAT)
    syncing = threading.Thread(target=os.fsync, args=(fd,))
    syncing.start()
    answered = 0
    while syncing.is_alive():
        os.stat(outer.guest / "file")
        answered += 1
    os.close(fd)
    assert outer.requests()["FSYNC"] == 1
    assert inner.requests()["FSYNC"] == 1
    assert answered > 2, "one may have come before it, and one have waited for its end"
    outer.unmount()


def test_descriptors_for_directories_are_bounded_and_all_stay_reachable(share) -> None:
    live = share()
    count = 5_000
    for number in range(count):
        (live.source / f"d{number}").mkdir()
        (live.source / f"d{number}" / "file").touch()
    held = os.open(live.guest / "d0", os.O_PATH)
    for number in range(count):
        os.stat(live.guest / f"d{number}" / "file")
        if number % 500 == 0:
            assert live.status().descriptors <= 1_024
    assert live.status().descriptors <= 1_024
    assert live.status().inodes > count
    os.stat("file", dir_fd=held)
    for number in random.Random(0).sample(range(count), 500):
        (live.guest / f"d{number}" / "new").touch()
        assert sorted(os.listdir(live.guest / f"d{number}")) == ["file", "new"]
    assert live.status().descriptors <= 1_024
    os.close(held)


def test_an_ordinary_user_of_the_tests_keeps_no_share_of_others_mounted(share) -> None:
    live = share()
    assert str(live.guest).encode() in Path("/proc/self/mounts").read_bytes()
    assert str(live.guest) not in run_as_nobody("print(open('/proc/self/mounts', 'rb').read())")
    os.stat(live.guest)


def test_one_share_can_be_made_to_be_forgotten_and_no_other_is(share) -> None:
    """So that a test may do it while others count requests."""
    shares = [share(profile="osxfs-cached", latency_ns=0) for _ in range(2)]
    for live in shares:
        (live.source / "file").touch()
        live.settle()
        os.stat(live.guest / "file")
        live.reset()
    shares[0].drop_dentries()
    for live in shares:
        os.stat(live.guest / "file")
    assert [live.requests().get("LOOKUP", 0) for live in shares] == [1, 0]


def test_what_the_kernel_forgets_is_forgotten(share) -> None:
    live = share(profile="osxfs-cached", latency_ns=0)
    for number in range(300):
        (live.source / f"d{number}").mkdir()
        for name in ("a", "b", "c"):
            (live.source / f"d{number}" / name).touch()
    live.settle()
    for above, _, files in os.walk(live.guest):
        for name in files:
            os.stat(os.path.join(above, name))
    assert live.status().inodes > 1_200

    def forgotten() -> bool:
        live.drop_dentries()
        status = live.status()
        return status.inodes <= 2 and status.descriptors == 0

    eventually(forgotten)
    assert live.requests()["FORGET"] >= 1_200
    assert len([path for path, _, _ in os.walk(live.guest)]) == 301


def test_deleted_objects_are_evicted(share) -> None:
    live = share()
    for _ in range(3):
        held = []
        for number in range(200):
            held.append(os.open(live.guest / f"file-{number}", os.O_RDWR | os.O_CREAT))
            (live.guest / f"directory-{number}").mkdir()
        for number in range(200):
            os.unlink(live.guest / f"file-{number}")
            os.rmdir(live.guest / f"directory-{number}")
        for fd in held:
            assert os.fstat(fd).st_nlink == 0
            os.close(fd)

    def let_go() -> bool:
        live.drop_dentries()
        status = live.status()
        return (status.inodes, status.descriptors, status.open_handles) == (1, 0, 0)

    eventually(let_go)
    assert len(os.listdir(f"/proc/{live.pid}/fd")) < 40


# By several processes: each may have no more than the usual 1,024.
_HOLD_DELETED = """
import os, sys
directory, (first, end) = sys.argv[1], map(int, sys.argv[2:])
held = []
for number in range(first, end):
    held.append(os.open(f"{directory}/file", os.O_RDWR | os.O_CREAT))
    os.write(held[-1], str(number).encode())
    os.unlink(f"{directory}/file")
print("held", flush=True)
sys.stdin.readline()
for number, fd in enumerate(held, first):
    assert os.pread(fd, 10, 0) == str(number).encode()
    os.ftruncate(fd, 1)
    assert os.fstat(fd).st_size == 1
"""


def test_deleted_files_in_use_beyond_the_descriptors_stay_readable(share) -> None:
    live = share()
    holders = []
    with contextlib.ExitStack() as ending:
        for first in range(0, 1_500, 500):
            holders.append(start(_HOLD_DELETED, live.guest, first, first + 500))
            ending.enter_context(ended(holders[-1]))
            hear(holders[-1], "held")
        assert live.status().descriptors <= 1_024
        for holder in holders:
            finish(holder, "go on\n")


@pytest.fixture
def most_descriptors() -> Iterator[int]:
    """As many open files as this machine allows a process, here and in the servers started."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = max(hard, 70_000)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, wanted))
    except ValueError:  # not even root may raise it here
        wanted = hard
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    yield wanted
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.slow
def test_sixty_thousand_files_are_open_at_once(most_descriptors: int, share) -> None:
    """Sixty thousand, or where a process may not have so many, all that it may."""
    count = min(60_000, (most_descriptors - 3_000) // 300 * 300)  # less what the server keeps
    live = share()
    held = []
    try:
        for number in range(count):
            path = live.guest / f"d{number % 300}"
            if number < 300:
                path.mkdir()
            held.append(os.open(path / f"f{number}", os.O_RDWR | os.O_CREAT))
            os.write(held[-1], b"%d" % number)
        assert live.status().open_handles == count
        for number in range(0, count, 997):
            assert os.pread(held[number], 10, 0) == b"%d" % number
        assert len(os.listdir(live.guest / "d7")) == count // 300
    finally:
        for fd in held:
            os.close(fd)
    eventually(lambda: live.status().open_handles == 0)


@pytest.mark.slow
def test_more_open_files_than_descriptors_is_an_error_and_not_the_end(share) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    live = share()
    limit = 700
    resource.prlimit(live.pid, resource.RLIMIT_NOFILE, (limit, hard))
    live.expected_trouble = True  # its control socket cannot accept meanwhile, and says so
    held, failures = [], []
    try:
        with refused(errno.EMFILE):
            for number in range(limit):
                held.append(os.open(live.guest / f"file-{number}", os.O_RDWR | os.O_CREAT))
        assert len(held) > limit // 2
        os.write(held[0], b"still works")
    finally:
        for fd in held:
            try:
                os.close(fd)
            except OSError as error:
                failures.append(error)
    assert not failures, "what was open before can be closed without an error"
    eventually(lambda: live.status().open_handles == 0)
    (live.guest / "after").write_text("all")
    assert (live.source / "after").read_text() == "all"


@pytest.mark.slow
def test_a_hundred_thousand_names_are_listed_and_removed(share) -> None:
    live = share()
    count = 100_000
    directory = live.source / "large"
    directory.mkdir()
    for number in range(count):
        os.mknod(directory / f"file-{number}")
    assert len(set(os.listdir(live.guest / "large"))) == count
    shutil.rmtree(live.guest / "large")
    assert os.listdir(live.source) == []
