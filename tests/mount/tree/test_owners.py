"""Whom the objects of a share belong to, as its users see it and as the host keeps it."""

import contextlib
import errno
import itertools
import os
import socket
import stat as modes
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.acting import ALICE, BOB, STAFF, acting_as, need_root, owner, owner_told  # noqa: F401
from support.guests import refused
from support.live import LiveShare
from support.objects import wait_for_the_clock

from osxfs_sim.mount import syscalls

pytestmark = pytest.mark.usefixtures("need_root")

ATTRIBUTE = "user.com.docker.owner"
RENAME_EXCHANGE = 2
HOUR_NS = 3_600 * 10**9


def make_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as made, contextlib.chdir(path.parent):
        made.bind(path.name)


KINDS: dict[str, Callable[[Path], None]] = {
    "file": lambda path: path.write_text("content"),
    "directory": lambda path: path.mkdir(),
    "symlink": lambda path: path.symlink_to("nowhere"),
    "socket": make_socket,
    "fifo": os.mkfifo,
}
RECORDED = ("symlink", "socket", "fifo")
"""Those that can carry no attribute."""
LINKABLE = ("file", *RECORDED)


def chown(path: Path, uid: int, gid: int) -> None:
    os.chown(path, uid, gid, follow_symlinks=False)


def kept(path: Path) -> bytes | None:
    """What the host's object carries."""
    if ATTRIBUTE not in os.listxattr(path, follow_symlinks=False):
        return None
    return os.getxattr(path, ATTRIBUTE, follow_symlinks=False)


def remove(path: Path) -> None:
    path.rmdir() if path.is_dir() and not path.is_symlink() else path.unlink()


@pytest.fixture
def shared(field: Path, share) -> Callable[..., LiveShare]:
    """A function that shares field/source, every time with the same state directory.

    The source is open to everybody, so that the host's own permissions say nothing.
    """
    (field / "source").mkdir()
    (field / "source").chmod(0o777)

    def mount(name: str = "guest", source: Path | None = None, **settings: object) -> LiveShare:
        (field / name).mkdir(exist_ok=True)
        settings = {"state_directory": str(field / "state")} | settings
        return share(source or field / "source", field / name, **settings)

    return mount


@dataclass
class Place:
    """A directory of a share that other tests use too, on both sides, open to everybody."""

    source: Path
    guest: Path

    @classmethod
    def made_in(cls, live: LiveShare) -> "Place":
        name = f"place-{next(_number)}"
        (live.source / name).mkdir()
        (live.source / name).chmod(0o777)
        return cls(live.source / name, live.guest / name)


_number = itertools.count()


@pytest.fixture(scope="module")
def osxfs(module_share) -> LiveShare:
    return module_share()


@pytest.fixture(scope="module")
def osxfs_with_attributes(module_share) -> LiveShare:
    return module_share(extended_attributes="host")


@pytest.fixture(scope="module")
def cached_for_an_hour(module_share) -> LiveShare:
    # What the host's changes end is not the story here.
    return module_share(
        profile="osxfs-cached", latency_ns=0, cache_timeout_ns=HOUR_NS, host_events="none"
    )


@pytest.fixture(scope="module")
def host(module_share) -> LiveShare:
    return module_share(ownership="host", extended_attributes="host")


@pytest.fixture
def place(osxfs: LiveShare) -> Place:
    return Place.made_in(osxfs)


@pytest.fixture
def place_with_attributes(osxfs_with_attributes: LiveShare) -> Place:
    return Place.made_in(osxfs_with_attributes)


@pytest.fixture
def cached(cached_for_an_hour: LiveShare) -> Place:
    return Place.made_in(cached_for_an_hour)


@pytest.fixture
def hosted(host: LiveShare) -> Place:
    return Place.made_in(host)


# osxfs: whoever asks


@pytest.mark.parametrize("kind", KINDS)
def test_every_process_is_told_that_it_owns_the_object(place: Place, kind: str) -> None:
    KINDS[kind](place.source / "host's")
    with acting_as(ALICE):
        KINDS[kind](place.guest / "alice's")
    for name in ("host's", "alice's"):
        assert owner_told(place.guest / name, ALICE, STAFF) == (ALICE, STAFF)
        assert owner_told(place.guest / name, BOB) == (BOB, BOB)
        assert owner(place.guest / name) == (0, 0)
        # Whatever the guest is told, the host's objects are the server's.
        assert owner(place.source / name) == (0, 0)


def test_the_root_of_the_share_belongs_to_whoever_asks_too(shared) -> None:
    live = shared()
    assert owner_told(live.guest, ALICE) == (ALICE, ALICE)
    assert owner_told(live.guest, BOB) == (BOB, BOB)
    os.chown(live.guest, 5, -1)
    assert owner_told(live.guest, BOB) == (5, BOB)
    assert kept(live.source) == b"0:5:"


def test_a_listing_tells_whoever_opened_the_directory(shared) -> None:
    """READDIRPLUS carries attributes: they are the asker's as well."""
    live = shared()
    for number in range(3):
        (live.source / f"file-{number}").touch()
    (live.source / "link").symlink_to("file-0")
    for user in (ALICE, BOB):
        with acting_as(user), os.scandir(live.guest) as entries:
            told = {entry.name: entry.stat(follow_symlinks=False) for entry in entries}
        assert len(told) == 4
        assert {(status.st_uid, status.st_gid) for status in told.values()} == {(user, user)}
    assert live.requests()["READDIRPLUS"]


def test_who_opened_a_file_does_not_matter_to_who_asks_about_it(place: Place) -> None:
    with acting_as(ALICE):
        fd = os.open(place.guest / "file", os.O_RDWR | os.O_CREAT)
    try:
        assert owner_told(fd, BOB) == (BOB, BOB)
        os.unlink(place.guest / "file")
        assert owner_told(fd, BOB) == (BOB, BOB)
        os.fchown(fd, 5, 6)
        assert owner_told(fd, BOB) == (5, 6)
    finally:
        os.close(fd)


def test_there_are_no_permission_checks(place: Place) -> None:
    """Who may do what is the server's right on the host, whoever is told to own it."""
    file = place.guest / "file"
    file.write_text("root's")
    chown(file, ALICE, ALICE)
    file.chmod(0o600)
    with acting_as(BOB):
        assert file.read_text() == "root's"
        file.write_text("bob's")
        file.chmod(0o640)
        chown(file, BOB, STAFF)
        os.utime(file, (0, 0))
        file.rename(place.guest / "taken")
        (place.guest / "taken").unlink()


# osxfs: chown


@pytest.mark.parametrize("kind", KINDS)
def test_a_chown_holds_for_everybody_and_either_id_may_be_left(place: Place, kind: str) -> None:
    KINDS[kind](place.guest / "it")
    with acting_as(ALICE):
        chown(place.guest / "it", 5, -1)
    assert owner_told(place.guest / "it", BOB) == (5, BOB)
    with acting_as(BOB):
        chown(place.guest / "it", -1, 6)
    assert owner_told(place.guest / "it", ALICE) == (5, 6)
    chown(place.guest / "it", 0, -1)
    assert owner_told(place.guest / "it", ALICE) == (0, 6)
    assert owner(place.source / "it") == (0, 0)


@pytest.mark.parametrize("kind", ["file", "directory"])
def test_the_host_keeps_it_in_the_documented_form(place: Place, kind: str) -> None:
    KINDS[kind](place.guest / "it")
    assert kept(place.source / "it") is None
    for change, value in (
        ((-1, 6), b"0::6"),
        ((0, -1), b"0:0:6"),
        ((2**32 - 2, 7), b"0:4294967294:7"),
    ):
        chown(place.guest / "it", *change)
        assert kept(place.source / "it") == value
    os.setxattr(place.source / "it", ATTRIBUTE, b"0:33:")
    assert owner_told(place.guest / "it", BOB) == (33, BOB)
    os.removexattr(place.source / "it", ATTRIBUTE)
    assert owner_told(place.guest / "it", BOB) == (BOB, BOB)


@pytest.mark.parametrize("end", ["unmount", "kill"])
def test_an_owner_outlives_the_mount_and_a_server_that_is_killed(shared, end: str) -> None:
    live = shared()
    for number, (kind, make) in enumerate(KINDS.items()):
        make(live.guest / kind)
        chown(live.guest / kind, number, 6)
    getattr(live, end)()
    live = shared()
    for number, kind in enumerate(KINDS):
        assert owner(live.guest / kind) == (number, 6)


@pytest.mark.parametrize("side", ["guest", "source"])
@pytest.mark.parametrize("kind", KINDS)
def test_an_owner_follows_renames_of_either_side(place: Place, kind: str, side: str) -> None:
    (place.source / "sub").mkdir()
    KINDS[kind](place.guest / "it")
    chown(place.guest / "it", 5, 6)
    at = getattr(place, side)
    (at / "it").rename(at / "sub" / "other")
    assert owner_told(place.guest / "sub" / "other", BOB) == (5, 6)
    KINDS[kind](place.guest / "it")
    assert owner_told(place.guest / "it", BOB) == (BOB, BOB)
    (at / "sub").rename(at / "moved")
    assert owner_told(place.guest / "moved" / "other", BOB) == (5, 6)


@pytest.mark.parametrize("side", ["guest", "source"])
@pytest.mark.parametrize("kind", LINKABLE)
def test_an_owner_is_that_of_all_hard_links(place: Place, kind: str, side: str) -> None:
    at = getattr(place, side)
    KINDS[kind](place.guest / "it")
    os.link(at / "it", at / "before", follow_symlinks=False)
    chown(place.guest / "it", 5, 6)
    os.link(at / "it", at / "after", follow_symlinks=False)
    for name in ("it", "before", "after"):
        assert owner_told(place.guest / name, BOB) == (5, 6)
    (place.guest / "it").unlink()
    (place.source / "before").unlink()
    assert owner_told(place.guest / "after", BOB) == (5, 6), "it lives on under its last name"


@pytest.mark.parametrize("how", ["unlink", "replace", "exchange"])
@pytest.mark.parametrize("side", ["guest", "source"])
@pytest.mark.parametrize("kind", KINDS)
def test_an_owner_goes_with_its_object(place: Place, kind: str, side: str, how: str) -> None:
    at = getattr(place, side)
    KINDS[kind](place.guest / "it")
    chown(place.guest / "it", 5, 6)
    if how == "unlink":
        remove(at / "it")
        KINDS[kind](at / "it")
    else:
        KINDS[kind](at / "new")
        if how == "replace":
            (at / "new").rename(at / "it")
        else:
            here = os.open(at, os.O_PATH)
            syscalls.rename(here, b"new", here, b"it", RENAME_EXCHANGE)
            os.close(here)
            assert owner_told(place.guest / "new", BOB) == (5, 6)
    assert owner_told(place.guest / "it", BOB) == (BOB, BOB)


@pytest.fixture
def small_disk(field: Path) -> Iterator[Path]:
    """A file system that gives the inode number of a deleted object to the next one."""
    image, path = field / "image", field / "disk"
    image.touch()
    os.truncate(image, 16 << 20)
    path.mkdir()
    made = subprocess.run(["mkfs.ext4", "-q", "-F", image], capture_output=True, text=True)
    if made.returncode:
        pytest.skip("mkfs.ext4 is missing")
    mounted = subprocess.run(["mount", "-o", "loop", image, path], capture_output=True, text=True)
    if mounted.returncode:
        pytest.skip("this machine has no loop device")
    yield path
    subprocess.run(["umount", path], check=True)


def test_a_later_object_with_the_same_inode_number_is_not_taken_for_it(
    small_disk: Path, shared
) -> None:
    live = shared(source=small_disk)
    later = []
    for kind, at in itertools.product(RECORDED, (live.guest, live.source)):
        KINDS[kind](live.guest / kind)
        chown(live.guest / kind, 5, 6)
        number = os.lstat(live.source / kind).st_ino
        (at / kind).unlink()
        for attempt in range(200):
            name = f"{kind}-{at.name}-{attempt}"
            KINDS[kind](at / name)
            if os.lstat(live.source / name).st_ino == number:
                break
        else:
            pytest.fail("the file system did not use the inode number again")
        later.append(name)
        assert owner_told(live.guest / name, BOB) == (BOB, BOB)
    live.unmount()
    live = shared(source=small_disk)
    for name in later:
        assert owner_told(live.guest / name, BOB) == (BOB, BOB)


def test_an_owner_outlives_the_unmounting_of_the_host_s_file_system(
    field: Path, small_disk: Path, shared
) -> None:
    live = shared(source=small_disk)
    for kind in RECORDED:
        KINDS[kind](live.guest / kind)
        chown(live.guest / kind, 5, 6)
    live.unmount()
    subprocess.run(["umount", small_disk], check=True)
    subprocess.run(["mount", "-o", "loop", field / "image", small_disk], check=True)
    live = shared(source=small_disk)
    assert {owner(live.guest / kind) for kind in RECORDED} == {(5, 6)}


@pytest.mark.parametrize("kind", KINDS)
def test_a_chown_of_an_object_without_a_name(place: Place, kind: str) -> None:
    KINDS[kind](place.guest / "it")
    fd = os.open(place.guest / "it", os.O_PATH | os.O_NOFOLLOW)
    try:
        remove(place.guest / "it")
        syscalls.set_owner(fd, 5, 6)
        assert owner_told(fd, BOB) == (5, 6)
    finally:
        os.close(fd)


# Several mounts


def test_mounts_of_one_tree_and_of_overlapping_trees_agree(field: Path, shared) -> None:
    whole, same = shared("whole"), shared("same")
    (field / "source" / "sub").mkdir()
    part = shared("part", field / "source" / "sub")
    for kind, make in KINDS.items():
        make(part.guest / kind)
        views = (whole.guest / "sub" / kind, same.guest / "sub" / kind, part.guest / kind)
        for number, view in enumerate(views, 10):
            chown(view, number, -1)
            assert {owner_told(each, BOB) for each in views} == {(number, BOB)}
        chown(views[0], -1, 6)
        assert {owner_told(each, BOB) for each in views} == {(12, 6)}
        remove(views[1])
        make(views[2])
        assert {owner_told(each, BOB) for each in views} == {(BOB, BOB)}


_CHOWN_MANY = """
import os, sys
directory, which = sys.argv[1], sys.argv[2]
for turn in range(20):
    for name in sorted(os.listdir(directory)):
        ids = (100 + turn, -1) if which == "uid" else (-1, 200 + turn)
        os.chown(os.path.join(directory, name), *ids, follow_symlinks=False)
"""


def test_owners_written_at_the_same_time_from_several_mounts_are_all_kept(shared) -> None:
    """Each mount sets one id of the same objects, and neither takes the other's away."""
    mounts = shared("one"), shared("two")
    for kind, make in KINDS.items():
        for number in range(3):
            make(mounts[0].source / f"{kind}-{number}")
    writers = [
        subprocess.Popen(["/usr/bin/python3", "-ISc", _CHOWN_MANY, live.guest, which])
        for live, which in zip(mounts, ("uid", "gid"), strict=True)
    ]
    assert [writer.wait(180) for writer in writers] == [0, 0]
    for live in mounts:
        assert {owner(live.guest / name) for name in os.listdir(live.source)} == {(119, 219)}


# What a change of the owner changes besides


@pytest.mark.parametrize("kind", KINDS)
def test_a_chown_moves_the_ctime_and_no_other_time(place: Place, kind: str) -> None:
    KINDS[kind](place.guest / "it")
    chown(place.guest / "it", 5, 6)
    os.utime(place.guest / "it", ns=(1, 2), follow_symlinks=False)
    wait_for_the_clock(place.guest / "it")
    before = os.lstat(place.guest / "it")
    chown(place.guest / "it", 5, 6)  # the same again counts, as everywhere
    after = os.lstat(place.guest / "it")
    assert after.st_ctime_ns > before.st_ctime_ns
    assert (after.st_atime_ns, after.st_mtime_ns) == (1, 2)


def test_a_chown_clears_set_id_bits(place: Place) -> None:
    file, directory = place.guest / "file", place.guest / "directory"
    file.touch()
    directory.mkdir()
    for path in (file, directory):
        path.chmod(0o6755)
        chown(path, 5, -1)
    assert modes.S_IMODE(file.stat().st_mode) == 0o755
    assert modes.S_IMODE(directory.stat().st_mode) == 0o6755


def test_only_root_and_the_server_s_user_set_set_id_bits(place: Place) -> None:
    with acting_as(ALICE):
        (place.guest / "alice's").touch()
        (place.guest / "alice's").chmod(0o6755)
        os.mknod(place.guest / "made", 0o6755 | modes.S_IFREG)
        (place.guest / "directory").mkdir()
        (place.guest / "directory").chmod(0o2775)
    (place.guest / "root's").touch()
    (place.guest / "root's").chmod(0o6755)

    def mode(name: str) -> int:
        return modes.S_IMODE((place.source / name).stat().st_mode)

    assert (mode("alice's"), mode("made") & 0o7000) == (0o755, 0)
    assert (mode("root's"), mode("directory")) == (0o6755, 0o2775)


# Attributes that cannot be read, or make no sense


def test_a_malformed_attribute_counts_as_none_and_is_reported_once(shared) -> None:
    live = shared()
    values = (b"", b"garbage", b"0:1", b"1:5:6", b"0:4294967295:1", b"0:5:6:7", b"x" * 3_000)
    names = []
    for kind in ("file", "directory"):
        for number, value in enumerate(values):
            names.append(f"{kind}-{number}")
            KINDS[kind](live.source / names[-1])
            os.setxattr(live.source / names[-1], ATTRIBUTE, value)
    for _ in range(2):
        for name in names:
            assert owner_told(live.guest / name, BOB) == (BOB, BOB)
        os.listdir(live.guest)
    status = live.status()
    assert status.ownership.malformed == len(names)
    assert status.warnings == [
        f"{len(names)} objects have a malformed owner attribute, taken as unset; "
        f"the first is {live.source / names[0]}"
    ]
    assert live.log().count("malformed owner attribute") == len(names)
    for name in names:
        chown(live.guest / name, 5, -1)
        assert kept(live.source / name) == b"0:5:"
        assert owner_told(live.guest / name, BOB) == (5, BOB)


def test_a_malformed_attribute_of_an_awkwardly_named_object_is_reported_on_one_line(shared) -> None:
    live = shared()
    path = live.source / "line\nfeed\x1b[31m"
    path.touch()
    os.setxattr(path, ATTRIBUTE, b"?\n\x1b")
    os.listdir(live.guest)
    (warning,) = live.status().warnings
    assert warning.isprintable()
    assert "feed" in warning
    assert len(live.log().splitlines()) == 1
    assert live.log().strip().isprintable()


def test_a_malformed_attribute_too_deep_to_be_named_is_no_reason_to_fail(shared) -> None:
    live = shared()
    with contextlib.chdir(live.source):
        for _ in range(30):
            os.mkdir("d" * 250)
            os.chdir("d" * 250)
        Path("it").touch()
        os.setxattr("it", ATTRIBUTE, b"?")
    with contextlib.chdir(live.guest):
        for _ in range(30):
            os.chdir("d" * 250)
        assert owner_told(Path("it"), BOB) == (BOB, BOB)
    assert live.status().ownership.malformed == 1


def test_a_malformed_record_counts_as_none_and_is_reported(shared, field: Path) -> None:
    live = shared()
    (live.guest / "link").symlink_to("nowhere")
    chown(live.guest / "link", 5, 6)
    change = "import sqlite3,sys;d=sqlite3.connect(sys.argv[1]);" + (
        "d.execute('UPDATE owners SET owner = ?', (b'\\xff\\xfe',));d.commit()"
    )
    database = field / "state" / "owners.sqlite"
    subprocess.run(["/usr/bin/python3", "-Ic", change, database], check=True)
    assert owner_told(live.guest / "link", BOB) == (BOB, BOB)
    assert live.status().ownership.malformed == 1
    chown(live.guest / "link", -1, 7)
    assert owner_told(live.guest / "link", BOB) == (BOB, 7)


# A server that is not root: see test_identity.py for what becomes of mode 0000.

# The attribute is nobody's business in the guest


@pytest.mark.parametrize("kind", ["file", "directory"])
def test_the_attribute_is_invisible_to_the_guest(place_with_attributes: Place, kind: str) -> None:
    it = place_with_attributes.guest / "it"
    KINDS[kind](it)
    chown(it, 5, 6)
    os.setxattr(it, "user.mine", b"value")
    assert os.listxattr(it) == ["user.mine"]
    assert os.getxattr(it, "user.mine") == b"value"
    with refused(errno.ENODATA):
        os.getxattr(it, ATTRIBUTE)
    with refused(errno.EPERM):
        os.setxattr(it, ATTRIBUTE, b"0:0:0")
    with refused(errno.ENODATA):
        os.removexattr(it, ATTRIBUTE)
    assert kept(place_with_attributes.source / "it") == b"0:5:6"
    os.removexattr(it, "user.mine")
    assert os.listxattr(it) == []


def test_under_osxfs_the_guest_has_no_extended_attributes(shared) -> None:
    live = shared()
    (live.guest / "file").touch()
    chown(live.guest / "file", 5, 6)
    for call in (
        lambda path: os.setxattr(path, "user.mine", b"value"),
        lambda path: os.getxattr(path, "user.mine"),
        lambda path: os.getxattr(path, ATTRIBUTE),
        os.listxattr,
        lambda path: os.removexattr(path, ATTRIBUTE),
    ):
        for _ in range(2):
            with refused(errno.ENOTSUP):
                call(live.guest / "file")
    assert owner(live.guest / "file") == (5, 6)


def test_copies_do_not_carry_the_owner_with_them(place_with_attributes: Place) -> None:
    (place_with_attributes.guest / "file").touch()
    chown(place_with_attributes.guest / "file", 5, 6)
    with acting_as(BOB):
        subprocess.run(
            [
                "cp",
                "--preserve=xattr",
                place_with_attributes.guest / "file",
                place_with_attributes.guest / "copy",
            ],
            check=True,
        )
    assert owner_told(place_with_attributes.guest / "copy", BOB) == (BOB, BOB)


# Cached attributes. docs/semantics.md says what this means; here is what happens.


def test_with_a_timeout_everybody_is_told_what_the_first_was_told(cached: Place) -> None:
    for name in ("file", "other"):
        (cached.source / name).touch()
    assert owner_told(cached.guest / "file", ALICE) == (ALICE, ALICE)
    assert owner_told(cached.guest / "file", BOB) == (ALICE, ALICE)
    assert owner_told(cached.guest / "other", BOB) == (BOB, BOB)
    assert owner_told(cached.guest / "other", ALICE) == (BOB, BOB)


def test_without_a_timeout_everybody_is_told_its_own(shared) -> None:
    live = shared(profile="osxfs-cached", latency_ns=0, cache_timeout_ns=0)
    (live.source / "file").touch()
    for user in (ALICE, BOB, ALICE):
        assert owner_told(live.guest / "file", user) == (user, user)


def test_with_a_timeout_a_listing_s_reader_is_the_first_to_be_told(shared) -> None:
    live = shared(
        profile="osxfs-cached", latency_ns=0, cache_timeout_ns=HOUR_NS, host_events="none"
    )
    (live.source / "file").touch()
    with acting_as(ALICE):
        os.listdir(live.guest)
    live.reset()
    assert owner_told(live.guest / "file", BOB) == (ALICE, ALICE)
    assert "LOOKUP" not in live.requests()
    assert "GETATTR" not in live.requests()


def test_with_a_timeout_a_chown_shows_at_once_to_everybody(cached: Place) -> None:
    (cached.source / "file").touch()
    assert owner_told(cached.guest / "file", ALICE) == (ALICE, ALICE)
    with acting_as(BOB):
        chown(cached.guest / "file", 5, 6)
    assert owner_told(cached.guest / "file", ALICE) == (5, 6)
    assert owner_told(cached.guest / "file", BOB) == (5, 6)


def test_with_a_timeout_a_change_makes_its_author_the_one_who_is_told(cached: Place) -> None:
    (cached.source / "file").touch()
    assert owner_told(cached.guest / "file", ALICE) == (ALICE, ALICE)
    with acting_as(BOB):
        (cached.guest / "file").chmod(0o600)
    assert owner_told(cached.guest / "file", ALICE) == (BOB, BOB)


@pytest.mark.parametrize("timeout", ["none", "an hour"])
def test_the_sticky_bit_is_shown_and_keeps_nobody_from_removing(
    place: Place, cached: Place, timeout: str
) -> None:
    """The guest's kernel leaves it to the server (fuse_change_attributes), cached or not."""
    at = place if timeout == "none" else cached
    (at.guest / "sticky").mkdir()
    (at.guest / "sticky").chmod(0o1777)
    for name in ("first", "second"):
        (at.source / "sticky" / name).touch()
        owner_told(at.guest / "sticky" / name, ALICE)
    chown(at.guest / "sticky", 0, 0)
    chown(at.guest / "sticky" / "second", ALICE, ALICE)
    assert (at.guest / "sticky").stat().st_mode & modes.S_ISVTX
    with acting_as(BOB):
        (at.guest / "sticky" / "first").unlink()
        (at.guest / "sticky" / "second").unlink()


# host: the real ids, and the kernel checks


@pytest.mark.parametrize("kind", KINDS)
def test_host_tells_real_ids_to_everybody(hosted: Place, kind: str) -> None:
    KINDS[kind](hosted.source / "it")
    chown(hosted.source / "it", 5, 6)
    assert owner_told(hosted.guest / "it", BOB) == (5, 6)
    with acting_as(ALICE), os.scandir(hosted.guest) as entries:
        (told,) = (entry.stat(follow_symlinks=False) for entry in entries)
    assert (told.st_uid, told.st_gid) == (5, 6)
    chown(hosted.guest / "it", -1, 8)
    assert owner(hosted.source / "it") == (5, 8)


@pytest.mark.parametrize("kind", KINDS)
def test_host_gives_new_objects_to_their_maker(hosted: Place, kind: str) -> None:
    with acting_as(ALICE, STAFF):
        KINDS[kind](hosted.guest / "it")
    assert owner(hosted.source / "it") == (ALICE, STAFF)
    KINDS[kind](hosted.guest / "root's")
    assert owner(hosted.source / "root's") == (0, 0)


@pytest.mark.parametrize("kind", KINDS)
def test_host_gives_new_objects_the_group_of_a_set_group_id_directory(
    hosted: Place, kind: str
) -> None:
    (hosted.source / "sub").mkdir()
    chown(hosted.source / "sub", -1, STAFF)
    (hosted.source / "sub").chmod(0o2777)
    with acting_as(ALICE):
        KINDS[kind](hosted.guest / "sub" / "it")
    assert owner(hosted.source / "sub" / "it") == (ALICE, STAFF)
    inherits = bool(os.lstat(hosted.source / "sub" / "it").st_mode & modes.S_ISGID)
    assert inherits == (kind == "directory")


def test_host_lets_the_kernel_check_permissions(hosted: Place) -> None:
    with acting_as(ALICE):
        (hosted.guest / "file").write_text("alice's")
        (hosted.guest / "file").chmod(0o600)
        (hosted.guest / "closed").mkdir(0o700)
    with acting_as(BOB):
        for attempt in (
            lambda: (hosted.guest / "file").read_text(),
            lambda: (hosted.guest / "file").write_text("bob's"),
            lambda: os.listdir(hosted.guest / "closed"),
            lambda: (hosted.guest / "closed" / "inside").touch(),
        ):
            with refused(errno.EACCES):
                attempt()
        for attempt in (
            lambda: (hosted.guest / "file").chmod(0o666),
            lambda: chown(hosted.guest / "file", BOB, -1),
            lambda: os.utime(hosted.guest / "file", (0, 0)),
        ):
            with refused(errno.EPERM):
                attempt()
    assert (hosted.guest / "file").read_text() == "alice's"


def test_host_honours_supplementary_groups(hosted: Place) -> None:
    (hosted.source / "team").mkdir()
    chown(hosted.source / "team", 0, STAFF)
    (hosted.source / "team").chmod(0o770)
    with acting_as(BOB), refused(errno.EACCES):
        (hosted.guest / "team" / "file").touch()
    with acting_as(BOB, groups=[STAFF]):
        (hosted.guest / "team" / "file").touch()
        chown(hosted.guest / "team" / "file", -1, STAFF)
        with refused(errno.EPERM):
            chown(hosted.guest / "team" / "file", -1, ALICE)
    assert owner(hosted.source / "team" / "file") == (BOB, STAFF)


def test_host_heeds_the_sticky_bit(hosted: Place) -> None:
    hosted.source.chmod(0o1777)
    with acting_as(ALICE):
        (hosted.guest / "file").touch()
    with acting_as(BOB), refused(errno.EPERM):
        (hosted.guest / "file").unlink()
    with acting_as(ALICE):
        (hosted.guest / "file").unlink()


def test_host_clears_set_id_bits_when_somebody_else_writes(hosted: Place) -> None:
    (hosted.guest / "file").touch()
    (hosted.guest / "file").chmod(0o6777)
    with acting_as(BOB):
        (hosted.guest / "file").write_text("bob's")
    assert modes.S_IMODE((hosted.source / "file").stat().st_mode) == 0o777


def test_host_does_not_know_the_attribute_of_osxfs(hosted: Place) -> None:
    (hosted.guest / "file").touch()
    os.setxattr(hosted.source / "file", ATTRIBUTE, b"0:5:6")
    assert owner_told(hosted.guest / "file", BOB) == (0, 0)
    assert os.getxattr(hosted.guest / "file", ATTRIBUTE) == b"0:5:6"


def test_host_opens_nothing_unchecked_that_the_host_made_in_between(share) -> None:
    """To the guest's kernel it is a new file, which whoever makes it may open."""
    live = share(profile="osxfs-negative", latency_ns=0, ownership="host")
    live.guest.chmod(0o777)
    with acting_as(ALICE), refused(errno.ENOENT):
        os.stat(live.guest / "private")
    (live.source / "private").write_text("root's")
    (live.source / "private").chmod(0o600)
    for flags in (os.O_RDWR, os.O_WRONLY | os.O_TRUNC):
        with acting_as(ALICE), refused(errno.EACCES):
            os.open(live.guest / "private", flags | os.O_CREAT)
    assert (live.source / "private").read_text() == "root's"
    with open(os.open(live.guest / "private", os.O_RDONLY | os.O_CREAT)) as file:
        assert file.read() == "root's"


def test_an_owner_that_the_host_sets_is_told_at_once(share) -> None:
    """That there is none is remembered, until the object changes."""
    live = share()
    path = live.guest / "file"
    path.write_text("words")
    os.utime(path, (1, 1))
    for _ in range(3):
        assert owner_told(path, ALICE) == (ALICE, ALICE)
        time.sleep(0.03)  # from some moment on it is remembered
    os.setxattr(live.source / "file", "user.com.docker.owner", b"0:5:6")
    assert owner_told(path, ALICE) == (5, 6)
    os.removexattr(live.source / "file", "user.com.docker.owner")
    assert owner_told(path, ALICE) == (ALICE, ALICE)
