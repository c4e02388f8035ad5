"""What holds when guest and host have changed the same names: docs/write-back.md, row by row.

On a file system that gives a removed object's inode number to the next one (ext4), and on one
that does not (tmpfs): what holds must be the same.
"""

import ctypes
import os
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.guests import eventually
from support.live import LiveShare

from osxfs_sim.mount import launch, syscalls
from osxfs_sim.mount.tree import generations
from osxfs_sim.mount.tree.inodes import Inode

HELD = {"profile": "osxfs-delegated", "latency_ns": 0, "write_back_age_ns": 3_600 * 10**9}
RENAME_EXCHANGE = 2


@pytest.fixture(scope="module")
def small_ext4(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A file system that gives the inode number of a removed object to the next one."""
    if os.geteuid() or not os.path.exists("/dev/loop-control"):
        pytest.skip("only root, with loop devices, can mount an image")
    place = tmp_path_factory.mktemp("ext4")
    image, path = place / "image", place / "disk"
    image.touch()
    os.truncate(image, 64 << 20)
    path.mkdir()
    subprocess.run(["mkfs.ext4", "-q", "-F", image], check=True)
    subprocess.run(["mount", "-o", "loop", image, path], check=True)
    yield path
    subprocess.run(["umount", path], check=True)


@pytest.fixture(scope="module", params=["tmpfs", "ext4"])
def of_all(request: pytest.FixtureRequest, sharing) -> Iterator[LiveShare]:
    source = None
    if request.param == "ext4":
        source = request.getfixturevalue("small_ext4") / "source"
        source.mkdir()
    with sharing() as share:  # which ends before its file system does
        yield share(source, **HELD)


@pytest.fixture
def both(of_all: LiveShare) -> LiveShare:
    """One share for all rows, each in a directory of its own."""
    of_all.reset_watchdog()
    return of_all


def swap(one: Path, other: Path) -> None:
    here = os.open(one.parent, os.O_PATH)
    syscalls.rename(here, os.fsencode(one.name), here, os.fsencode(other.name), RENAME_EXCHANGE)
    os.close(here)


def replace(path: Path, text: str) -> None:
    """Remove a file, and make another of that name: where numbers are used again, with its."""
    path.unlink()
    path.write_text(text)


def replace_directory(path: Path) -> None:
    path.rmdir()
    path.mkdir()


def write(path: Path, text: str) -> None:
    """Over the beginning of a file."""
    with open(path, "r+") as file:
        file.write(text)


def files(**content: str) -> Callable[[Path], None]:
    """Makes files, and directories of what is called so."""

    def make(here: Path) -> None:
        for name, text in content.items():
            if text == "/":
                (here / name).mkdir()
            else:
                (here / name).write_text(text)

    return make


@dataclass
class Row:
    """First the host *has* something, then the guest *does* something, then *meanwhile* the host.

    *after* is what both have then: the content of files, "/" for directories, "-> to" for links.
    """

    has: Callable[[Path], None]
    does: Callable[[Path], None]
    meanwhile: Callable[[Path], None]
    after: dict[str, str]
    lost: int = 0
    kept: int = 0


ROWS = {
    "written, and replaced by another file": Row(
        files(f="host..", other="new"),
        lambda g: write(g / "f", "GUEST"),
        lambda h: os.rename(h / "other", h / "f"),
        {"f": "GUEST."},
        lost=2,
    ),
    "written, and replaced by a directory": Row(
        files(f="host.."),
        lambda g: write(g / "f", "GUEST"),
        lambda h: (os.unlink(h / "f"), os.mkdir(h / "f")),
        {"f": "GUEST.", "f.host-1": "/"},
        lost=2,
    ),
    "written, and replaced while it has another name": Row(
        files(f="host.."),
        lambda g: write(g / "f", "GUEST"),
        lambda h: (os.link(h / "f", h / "second"), replace(h / "f", "new")),
        {"f": "new", "second": "GUEST."},
    ),
    "written, and swapped with another": Row(
        files(f="host..", other="new"),
        lambda g: write(g / "f", "GUEST"),
        lambda h: swap(h / "f", h / "other"),
        {"f": "new", "other": "GUEST."},
    ),
    "removed, and another in its place": Row(
        files(f="old"),
        lambda g: os.unlink(g / "f"),
        lambda h: replace(h / "f", "new"),
        {"f": "new"},
        kept=1,
    ),
    "removed, and a directory in its place": Row(
        files(f="old"),
        lambda g: os.unlink(g / "f"),
        lambda h: (os.unlink(h / "f"), os.mkdir(h / "f")),
        {"f": "/"},
        kept=1,
    ),
    "removed, and renamed over": Row(
        files(f="old", other="new"),
        lambda g: os.unlink(g / "f"),
        lambda h: os.rename(h / "other", h / "f"),
        {"f": "new"},
        kept=1,
    ),
    "removed, and linked": Row(
        files(f="old"),
        lambda g: os.unlink(g / "f"),
        lambda h: os.link(h / "f", h / "second"),
        {"second": "old"},
    ),
    "removed, and swapped with another": Row(
        files(f="old", other="new"),
        lambda g: os.unlink(g / "f"),
        lambda h: swap(h / "f", h / "other"),
        {"f": "new", "other": "old"},
        kept=1,
    ),
    "a directory removed, and another in its place": Row(
        files(d="/"),
        lambda g: os.rmdir(g / "d"),
        lambda h: replace_directory(h / "d"),
        {"d": "/"},
        kept=1,
    ),
    "a directory removed, and a link in its place": Row(
        files(d="/"),
        lambda g: os.rmdir(g / "d"),
        lambda h: (os.rmdir(h / "d"), os.symlink("nowhere", h / "d")),
        {"d": "-> nowhere"},
        kept=1,
    ),
    "its mode set, and replaced": Row(
        files(f="old"),
        lambda g: os.chmod(g / "f", 0o600),
        lambda h: replace(h / "f", "new"),
        {"f": "new"},
        lost=1,
    ),
    "renamed, and the same done by the host": Row(
        files(a="x"),
        lambda g: os.rename(g / "a", g / "b"),
        lambda h: os.rename(h / "a", h / "b"),
        {"b": "x"},
    ),
    "renamed, and linked there by the host": Row(
        files(a="x"),
        lambda g: os.rename(g / "a", g / "b"),
        lambda h: os.link(h / "a", h / "b"),
        {"b": "x"},
    ),
    "renamed, and linked there, and another in the old one's place": Row(
        files(a="x"),
        lambda g: os.rename(g / "a", g / "b"),
        lambda h: (os.link(h / "a", h / "b"), os.unlink(h / "a"), (h / "a").write_text("new")),
        {"a": "new", "b": "x"},
    ),
    "renamed, and renamed elsewhere": Row(
        files(a="x"),
        lambda g: os.rename(g / "a", g / "b"),
        lambda h: os.rename(h / "a", h / "c"),
        {"b": "x"},
        lost=1,
    ),
    "renamed, and swapped with another": Row(
        files(a="x", other="new"),
        lambda g: os.rename(g / "a", g / "b"),
        lambda h: swap(h / "a", h / "other"),
        {"a": "new", "b": "x"},
        lost=1,
    ),
    "renamed, and another in its place": Row(
        files(a="x"),
        lambda g: os.rename(g / "a", g / "b"),
        lambda h: replace(h / "a", "new"),
        {"a": "new"},
        lost=1,
    ),
    "renamed over another, which is replaced": Row(
        files(a="x", b="old"),
        lambda g: os.rename(g / "a", g / "b"),
        lambda h: replace(h / "b", "new"),
        {"b": "x"},
        lost=1,
    ),
    "a directory renamed over another, which is replaced": Row(
        files(a="/", b="/"),
        lambda g: os.rename(g / "a", g / "b"),
        lambda h: replace_directory(h / "b"),
        {"b": "/", "b.host-1": "/"},
        lost=1,
    ),
    "linked, and replaced": Row(
        files(a="x"),
        lambda g: os.link(g / "a", g / "b"),
        lambda h: replace(h / "a", "new"),
        {"a": "new"},
        lost=1,
    ),
    "linked, and another made there": Row(
        files(a="x"),
        lambda g: os.link(g / "a", g / "b"),
        lambda h: (h / "b").write_text("new"),
        {"a": "x", "b": "x"},
        lost=1,
    ),
    "made in a directory, which is replaced by another": Row(
        files(d="/"),
        lambda g: (g / "d" / "new").write_text("x"),
        lambda h: replace_directory(h / "d"),
        {"d": "/", "d/new": "x"},
    ),
    "made in a directory, which is replaced by a link": Row(
        files(d="/", other="/"),
        lambda g: (g / "d" / "new").write_text("x"),
        lambda h: (os.rmdir(h / "d"), os.symlink("other", h / "d")),
        {"d": "/", "d/new": "x", "other": "/"},
        lost=2,
    ),
    "made in a directory, which is replaced by a file": Row(
        files(d="/"),
        lambda g: (g / "d" / "new").write_text("x"),
        lambda h: (os.rmdir(h / "d"), (h / "d").write_text("host")),
        {"d": "/", "d/new": "x"},
        lost=2,
    ),
    "made in a directory, which is swapped with another": Row(
        files(d="/", e="/"),
        lambda g: (g / "d" / "new").write_text("x"),
        lambda h: swap(h / "d", h / "e"),
        {"d": "/", "e": "/", "e/new": "x"},
    ),
}


def tree(top: Path) -> dict[str, str]:
    def what(path: Path) -> str:
        if path.is_symlink():
            return "-> " + os.readlink(path)
        return "/" if path.is_dir() else path.read_text()

    return {str(path.relative_to(top)): what(path) for path in sorted(top.rglob("*"))}


def play(both: LiveShare, row: Row, name: str) -> tuple[dict[str, str], int, int]:
    """What the host has after *row*, and how many changes were lost and kept."""
    host, guest = both.source / name, both.guest / name
    host.mkdir()
    row.has(host)
    both.settle()
    tree(guest)
    row.does(guest)
    row.meanwhile(host)
    before = both.status().write_back
    after = both.share.flush().write_back
    counts = (
        after.lost_host_changes - before.lost_host_changes,
        after.kept_host_changes - before.kept_host_changes,
    )
    return tree(host), *counts


@pytest.mark.parametrize("name", ROWS)
def test_when_both_have_changed_it(both: LiveShare, name: str) -> None:
    row = ROWS[name]
    after, lost, kept = play(both, row, name)
    assert after == row.after
    assert lost <= row.lost, "nothing of the host's is lost but what is counted"
    assert bool(lost) == bool(row.lost)
    assert kept == row.kept
    eventually(lambda: tree(both.guest / name) == row.after)
    assert (both.trouble(), both.server.poll()) == ([], None)


@pytest.mark.mounts
def test_where_numbers_are_used_again_the_rows_are_about_that(small_ext4: Path) -> None:
    path = small_ext4 / "file"
    path.write_text("old")
    before = os.stat(path)
    fd = os.open(small_ext4, os.O_PATH)
    old = generations.read_facts(fd, b"file", before)
    replace(path, "new")
    after = os.stat(path)
    inode = Inode(7, after.st_dev, after.st_ino, after.st_mode & 0o170000, None, b"file")
    assert before.st_ino == after.st_ino, "or nothing above is tried"
    assert inode.is_same(before)
    inode.facts = old
    assert not generations.is_same(inode, fd, b"file", after)
    inode.facts = generations.read_facts(fd, b"file", after)
    assert generations.is_same(inode, fd, b"file", after)
    os.close(fd)


def test_a_server_that_tells_objects_by_number_alone_is_found_out(
    small_ext4: Path, share, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(launch, "_SERVER", "support.numbering_server")
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))
    source = small_ext4 / "by-number"
    source.mkdir()
    live = share(source, **HELD)
    name = "removed, and another in its place"
    after, _, kept = play(live, ROWS[name], name)
    assert (after, kept) == ({}, 0), "the seeded bug is not there"
    assert after != ROWS[name].after


def test_after_a_crash_an_object_with_a_used_number_is_not_taken_for_the_old_one(
    small_ext4: Path, share
) -> None:
    source = small_ext4 / "crash"
    source.mkdir()
    live = share(source, **HELD)
    (source / "f").write_text("old")
    (source / "d").mkdir()
    live.settle()
    os.listdir(live.guest)
    os.unlink(live.guest / "f")
    os.rmdir(live.guest / "d")
    live.kill()
    replace(source / "f", "new")
    replace_directory(source / "d")
    again = share(source, **HELD, unwritten="recover")
    assert tree(source) == {"f": "new", "d": "/"}
    assert tree(again.guest) == {"f": "new", "d": "/"}


# What the kernel has forgotten meanwhile


def test_what_is_pending_is_shown_though_a_listing_overflows_after_the_kernel_forgot(share) -> None:
    live = share(**HELD)
    names = [f"file-{number:03}-" + "n" * 60 for number in range(200)]  # several replies
    (live.source / "d").mkdir()
    for name in names:
        (live.source / "d" / name).write_text("old")
    os.listdir(live.guest / "d")
    for name in names:
        (live.guest / "d" / name).write_text("NEWER")
    inodes = live.status().inodes
    forgotten = live.requests().get("FORGET", 0)
    os.rename(live.source / "d", live.source / "e")
    live.settle()
    os.rename(live.source / "e", live.source / "d")
    live.settle()
    eventually(lambda: live.requests().get("FORGET", 0) >= forgotten + len(names))
    assert live.status().inodes >= inodes - 2, "held: the server knows them all"
    os.listdir(live.guest / "d")
    for name in names:
        with open(live.guest / "d" / name, "a") as file:
            assert os.fstat(file.fileno()).st_size == 5
            file.write("+")
    live.share.flush()
    assert {(live.source / "d" / name).read_text() for name in names} == {"NEWER+"}


def test_directories_that_are_made_again_are_found_by_the_guest(share) -> None:
    live = share(**HELD)
    (live.source / "d" / "e").mkdir(parents=True)
    (live.source / "d" / "e" / "f").write_text("old")
    (live.guest / "d" / "e" / "f").write_text("guest's")
    forgotten = live.requests().get("FORGET", 0)
    subprocess.run(["rm", "-r", live.source / "d"], check=True)
    live.settle()
    eventually(lambda: live.requests().get("FORGET", 0) > forgotten)
    live.share.flush()
    assert tree(live.source) == {"d": "/", "d/e": "/", "d/e/f": "guest's"}
    eventually(lambda: tree(live.guest) == tree(live.source))
    (live.guest / "d" / "e" / "new").write_text("x")
    live.share.flush()
    assert (live.source / "d" / "e" / "new").read_text() == "x"


# What is made again


def mode(path: Path) -> int:
    return os.stat(path).st_mode & 0o7777


def test_a_directory_is_made_again_as_the_guest_was_shown_it(share) -> None:
    live = share(**HELD)
    (live.source / "private").mkdir(0o700)
    (live.source / "shared" / "deep").mkdir(0o750, parents=True)
    os.chmod(live.source / "shared", 0o2711)
    os.chown(live.source / "shared", 1234, 4321)
    (live.source / "shared" / "deep" / "f").write_text("host")
    live.settle()
    subprocess.run(["ls", "-lR", live.guest], check=True, stdout=subprocess.DEVNULL)
    (live.guest / "private" / "token").write_text("guest")
    write(live.guest / "shared" / "deep" / "f", "G")
    subprocess.run(["rm", "-r", live.source / "private", live.source / "shared"], check=True)
    live.settle()
    live.share.flush()
    assert mode(live.source / "private") == 0o700
    assert mode(live.source / "shared") == 0o2711
    assert mode(live.source / "shared" / "deep") == 0o750
    status = os.stat(live.source / "shared")
    assert (status.st_uid, status.st_gid) == (1234, 4321)


def test_what_the_guest_has_closed_meanwhile_is_not_made_again_open(share) -> None:
    live = share(**HELD)
    (live.source / "d").mkdir(0o755)
    (live.guest / "d" / "new").write_text("guest")
    os.chmod(live.guest / "d", 0o700)
    os.rmdir(live.source / "d")
    live.settle()
    made: list[int] = []
    live.share.flush()
    made.append(mode(live.source / "d"))
    assert made == [0o700]


def test_a_file_is_made_again_with_its_owner_mode_and_time(share) -> None:
    live = share(**HELD)
    path = live.source / "f"
    path.write_text("host..")
    os.chmod(path, 0o640)
    os.chown(path, 1234, 4321)
    with open(live.guest / "f", "r+") as file:
        file.write("GUEST")
    path.unlink()
    live.share.flush()
    status = os.stat(path)
    assert path.read_text() == "GUEST."
    assert (status.st_mode & 0o7777, status.st_uid, status.st_gid) == (0o640, 1234, 4321)


def test_after_a_crash_what_is_made_again_is_no_wider(share) -> None:
    live = share(**HELD)
    source = live.source
    (source / "private").mkdir(0o700)
    (source / "private" / "f").write_text("host")
    os.chmod(source / "private" / "f", 0o600)
    subprocess.run(["ls", "-lR", live.guest], check=True, stdout=subprocess.DEVNULL)
    write(live.guest / "private" / "f", "G")
    live.kill()
    subprocess.run(["rm", "-r", source / "private"], check=True)
    share(source, **HELD, unwritten="recover")
    assert (mode(source / "private"), mode(source / "private" / "f")) == (0o700, 0o600)


def test_a_large_file_is_made_again_with_its_holes_while_others_are_served(share) -> None:
    live = share(**HELD)
    path = live.source / "large"
    with open(path, "wb") as file:
        for megabyte in range(0, 64, 16):
            file.seek(megabyte << 20)
            file.write(b"host" * 256 * 1024)
        file.truncate(64 << 20)
    expected = bytearray(path.read_bytes())
    with open(live.guest / "large", "r+b", buffering=0) as guest:
        guest.seek(1 << 20)
        guest.write(b"guest")
        expected[1 << 20 : (1 << 20) + 5] = b"guest"
        path.unlink()
        live.settle()
        live.share.flush()
        guest.seek(0, os.SEEK_END)
        guest.write(b"more")
        expected += b"more"
        assert (live.guest / "large").read_bytes() == expected
        live.share.flush()
    assert path.read_bytes() == expected
    assert os.stat(path).st_blocks * 512 < 32 << 20


# By descriptor


def test_a_link_put_in_a_directorys_place_does_not_lead_a_change_of_mode_astray(share) -> None:
    """Guest and host both make a directory; another user of the host swaps a link in and out."""
    live = share(**HELD | {"write_back_age_ns": 1_000_000})
    secret = live.source.parent / "secret"
    secret.write_text("root's")
    secret.chmod(0o600)
    link = live.source / "link"
    link.symlink_to(secret)
    libc = ctypes.CDLL(None)
    here = os.open(live.source, os.O_RDONLY)
    for number in range(10):
        name = b"d%d" % number
        os.mkdir(os.fsencode(live.guest) + b"/" + name, 0o777)
        try:
            os.mkdir(name, dir_fd=here)
        except FileExistsError:
            continue
        while live.status().write_back.pending_changes:
            for _ in range(200):
                libc.renameat2(here, name, here, b"link", RENAME_EXCHANGE)
    os.close(here)
    assert mode(secret) == 0o600
