"""What can be known when a change is acknowledged is refused then, as by a local file system."""

import errno
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.guests import eventually, refused
from support.live import LiveShare

from osxfs_sim.mount.tree.host_limits import limits_of

HELD = {"profile": "osxfs-delegated", "latency_ns": 0, "write_back_age_ns": 3_600 * 10**9}


pytestmark = pytest.mark.usefixtures("need_fuse")


@pytest.fixture(autouse=True)
def need_root() -> None:
    if os.geteuid():
        pytest.skip("only root can mount, and make files immutable")


@pytest.fixture
def bound(field: Path) -> Iterator[Path]:
    """A source with another directory, and a file, of its file system mounted below it."""
    source, other = field / "source", field / "other"
    for each in (source, other, source / "bound"):
        each.mkdir()
    for each in (other / "a", other / "file", source / "file", source / "here"):
        each.write_text("x")
    subprocess.run(["mount", "--bind", other, source / "bound"], check=True)
    subprocess.run(["mount", "--bind", other / "file", source / "file"], check=True)
    yield source
    subprocess.run(["umount", source / "file", source / "bound"], check=True)


def goes_on(live: LiveShare) -> None:
    """What the guest does next reaches the host."""
    (live.guest / "precious").write_text("guest")
    after = live.share.flush().write_back
    assert (live.source / "precious").read_text() == "guest"
    assert (after.pending_changes, after.refusal) == (0, None)


def test_another_mount_of_the_same_file_system_is_another(bound: Path, share) -> None:
    live = share(bound, **HELD)
    guest = live.guest
    assert os.stat(bound).st_dev == os.stat(bound / "bound").st_dev, "or this tries nothing"
    (guest / "directory").mkdir()
    with refused(errno.EXDEV):
        os.rename(guest / "bound" / "a", guest / "b")
    with refused(errno.EXDEV):
        os.rename(guest / "here", guest / "bound" / "here")
    with refused(errno.EXDEV):
        os.rename(guest / "directory", guest / "bound" / "directory")
    with refused(errno.EXDEV):
        os.link(guest / "here", guest / "bound" / "link")
    with refused(errno.EXDEV):
        os.link(guest / "bound" / "a", guest / "link")
    with refused(errno.EXDEV):
        os.link(guest / "file", guest / "link")
    with refused(errno.EBUSY):
        os.rmdir(guest / "bound")
    with refused(errno.EBUSY):
        os.rename(guest / "bound", guest / "elsewhere")
    with refused(errno.EBUSY):
        os.unlink(guest / "file")
    with refused(errno.EBUSY):
        os.rename(guest / "here", guest / "file")
    (guest / "bound" / "new").write_text("at once")
    assert (bound / "bound" / "new").read_text() == "at once"
    goes_on(live)


def test_what_is_mounted_while_changes_are_pending_is_seen(field: Path, share) -> None:
    live = share(**HELD)
    guest, source = live.guest, live.source
    (source / "d").mkdir()
    (field / "other").mkdir()
    (guest / "d" / "new").write_text("held")
    live.share.flush()
    (guest / "d" / "again").write_text("held")
    os.unlink(guest / "d" / "new")
    subprocess.run(["mount", "--bind", field / "other", source / "d"], check=True)
    try:
        eventually(lambda: _is_refused(lambda: os.rename(guest / "d", guest / "e")))
        assert (source / "d").is_dir()
    finally:
        subprocess.run(["umount", source / "d"], check=True)
    goes_on(live)


def _is_refused(act) -> bool:
    try:
        act()
    except OSError as error:
        return error.errno in (errno.EBUSY, errno.EXDEV)
    return False


def chattr(flag: str, *paths: Path) -> None:
    done = subprocess.run(["chattr", flag, *paths], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"this file system has no such attributes: {done.stderr}")


def test_what_is_immutable_or_append_only_is_refused(share) -> None:
    live = share(**HELD)
    guest, source = live.guest, live.source
    files = [source / name for name in ("fixed", "log")]
    for each in files:
        each.write_text("x")
    directories = [source / name for name in ("closed", "growing")]
    for each in directories:
        each.mkdir()
        (each / "inside").write_text("x")
    chattr("+i", files[0], directories[0])
    try:
        chattr("+a", files[1], directories[1])
        for name in ("fixed", "log"):
            path = guest / name
            for act in (
                lambda path=path: os.unlink(path),
                lambda path=path: os.rename(path, guest / "elsewhere"),
                lambda path=path: os.link(path, guest / "link"),
                lambda path=path: os.chmod(path, 0o600),
                lambda path=path: os.truncate(path, 0),
                lambda path=path: os.utime(path, (1, 1)),
                lambda path=path: path.write_text("again"),
            ):
                with refused(errno.EPERM):
                    act()
        for name in ("closed", "growing"):
            for act in (
                lambda name=name: os.unlink(guest / name / "inside"),
                lambda name=name: os.rename(guest / name / "inside", guest / "inside"),
                lambda name=name: os.rmdir(guest / name),
                lambda name=name: os.rename(guest / name, guest / "elsewhere"),
            ):
                with refused(errno.EPERM):
                    act()
        with refused(errno.EPERM):
            (guest / "closed" / "new").write_text("x")
        (guest / "growing" / "new").write_text("x")
        assert (source / "growing" / "new").exists()
        with open(guest / "log", "a") as log:
            log.write("y")
            log.flush()
            assert (source / "log").read_text() == "xy", "appended, and at once"
            log.write("z")
        assert (guest / "log").read_text() == (source / "log").read_text() == "xyz"
        goes_on(live)
    finally:
        chattr("-i", files[0], directories[0])
        chattr("-a", files[1], directories[1])
    os.unlink(guest / "fixed")
    assert (source / "fixed").exists(), "held again"
    goes_on(live)


@pytest.mark.parametrize("profile", ["osxfs-delegated", "osxfs-delegated-kernel"])
def test_who_appended_while_it_was_append_only_writes_anywhere_afterwards(share, profile) -> None:
    live = share(**{**HELD, "profile": profile})
    source = live.source / "log"
    # Whole at once: under its own write-back the kernel keeps the size that it sees first, and
    # somebody who hears of a new file may see it empty.
    (live.source.parent / "log").write_text("0123456789")
    (live.source.parent / "log").rename(source)
    chattr("+a", source)
    try:
        appending = os.open(live.guest / "log", os.O_WRONLY | os.O_APPEND)
        os.write(appending, b"abc")
        assert source.read_text() == "0123456789abc"
    finally:
        chattr("-a", source)
    os.write(appending, b"def")
    fd = os.open(live.guest / "log", os.O_RDWR)
    os.pwrite(fd, b"X", 1)
    os.fsync(fd)
    os.close(fd)
    os.close(appending)
    live.share.flush()
    assert source.read_text() == (live.guest / "log").read_text() == "0X23456789abcdef"


def test_a_file_is_made_only_while_the_host_has_inodes(field: Path, share) -> None:
    source = field / "few"
    source.mkdir()
    options = ["-o", "size=200m,nr_inodes=20"]
    subprocess.run(["mount", "-t", "tmpfs", *options, "few", source], check=True)
    live = share(source, **HELD)
    try:
        makers = (
            lambda path: path.write_text("x"),
            lambda path: path.mkdir(),
            lambda path: path.symlink_to("x"),
        )
        made = 0
        with refused(errno.ENOSPC):
            for number in range(30):
                makers[number % 3](live.guest / str(number))
                made += 1
        assert made == 19
        with refused(errno.ENOSPC):
            (live.guest / "more").mkdir()
        with refused(errno.ENOSPC):
            os.link(live.guest / "0", live.guest / "link")  # in a tmpfs
        live.share.flush()
        with refused(errno.ENOSPC):
            (live.guest / "more").mkdir()
        os.unlink(live.guest / "3")
        live.share.flush()
        (live.guest / "more").mkdir()
        live.share.flush()
    finally:
        live.finish()
        subprocess.run(["umount", source], check=True)


def test_what_only_the_file_system_knows_it_says_at_once(share) -> None:
    live = share(**HELD)
    fd = os.open(live.source, os.O_PATH)
    limits = limits_of(fd)
    os.close(fd)
    (live.guest / "short").symlink_to("x" * limits.link_target_bytes)
    (live.guest / "long").symlink_to("x" * (limits.link_target_bytes + 1))
    assert sorted(os.listdir(live.source)) == ["long", "short"], "what is older crosses with it"
    with refused(errno.ENAMETOOLONG):
        (live.guest / ("n" * 256)).write_text("x")
    (live.guest / "large").touch()
    os.truncate(live.guest / "large", limits.file_bytes)
    assert not (live.source / "large").exists()
    goes_on(live)


def test_the_file_systems_own_limit_is_met_by_the_guest(tmp_path: Path, share) -> None:
    if not os.path.exists("/dev/loop-control"):
        pytest.skip("this machine has no loop devices")
    image, disk = tmp_path / "image", tmp_path / "disk"
    image.touch()
    os.truncate(image, 32 << 20)
    disk.mkdir()
    subprocess.run(["mkfs.ext4", "-q", "-F", "-b", "1024", image], check=True)
    subprocess.run(["mount", "-o", "loop", image, disk], check=True)
    live = share(disk, **HELD)
    try:
        with refused(errno.ENAMETOOLONG):
            (live.guest / "link").symlink_to("x" * 1_500)
        goes_on(live)
    finally:
        live.finish()
        subprocess.run(["umount", disk], check=True)
