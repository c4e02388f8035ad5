"""A tree is copied with all that it is, while its owner changes it, and nothing is followed."""

import errno
import os
import stat as modes
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from osxfs_sim.fs import at, tree_copy
from osxfs_sim.fs.tree_copy import CopyError, copy_tree

only_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")


@pytest.fixture(autouse=True)
def no_descriptor_is_left() -> Iterator[None]:
    before = sorted(os.listdir("/proc/self/fd"))
    yield
    assert sorted(os.listdir("/proc/self/fd")) == before


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "source").mkdir()
    (tmp_path / "copy").mkdir(mode=0o700)
    return tmp_path / "source"


def copied(source: Path, look: Callable[[], None] = lambda: None) -> Path:
    target = source.parent / "copy"
    fds = [os.open(each, os.O_RDONLY | os.O_DIRECTORY) for each in (source, target)]
    try:
        copy_tree(*fds, look)
    finally:
        for fd in fds:
            os.close(fd)
    return target


def properties(top: Path) -> dict[str, tuple[object, ...]]:
    """All that a copy keeps, by the path below *top*."""
    found = {}
    for path in [top, *sorted(top.rglob("*"))]:
        status = path.lstat()
        content: object = None
        if path.is_symlink():
            content = os.readlink(path)
        elif path.is_file():
            content = path.read_bytes()
        attributes = {
            name: os.getxattr(path, name, follow_symlinks=False)
            for name in os.listxattr(path, follow_symlinks=False)
        }
        found[str(path.relative_to(top))] = (
            status.st_mode,
            (status.st_uid, status.st_gid, status.st_rdev),
            status.st_nlink if path.is_file() else 0,
            status.st_mtime_ns,
            attributes,
            content,
        )
    return found


@pytest.mark.starts_processes
def test_all_that_cp_archive_keeps_is_kept(source: Path, tmp_path: Path) -> None:
    (source / "d" / "e").mkdir(parents=True)
    (source / "d" / "file").write_bytes(b"content")
    (source / "d" / "file").chmod(0o751)
    (source / "empty").touch()
    (source / "link").symlink_to("d/file")
    (source / "dangling").symlink_to("/no/where")
    os.link(source / "d" / "file", source / "d" / "e" / "again")
    os.mkfifo(source / "fifo", 0o640)
    os.mknod(source / "socket", modes.S_IFSOCK | 0o600)
    (source / os.fsdecode(b"\xff\n")).write_text("a name that is no text")
    (source / "d").chmod(0o2755)
    os.setxattr(source / "d" / "file", "user.mine", b"value")
    if os.geteuid() == 0:
        os.mknod(source / "null", modes.S_IFCHR | 0o666, os.makedev(1, 3))
        os.chown(source / "empty", 1201, 1202)
        (source / "empty").chmod(0o6755)
        os.chown(source / "link", 1203, 1203, follow_symlinks=False)
    for path in (source / "link", source / "d" / "file", source / "d", source):
        os.utime(path, ns=(10**18 + 1, 10**18 + 2), follow_symlinks=False)
    made = copied(source)
    subprocess.run(["cp", "--archive", source, tmp_path / "as-cp"], check=True)
    assert properties(made) == properties(source)
    assert properties(made) == properties(tmp_path / "as-cp")


def test_a_default_acl_is_not_inherited_by_what_has_none(source: Path) -> None:
    (source / "d").mkdir()
    (source / "d" / "file").touch()
    # version 2; user rwx, group rwx, other rwx
    acl = bytes.fromhex("02000000 01000700ffffffff 04000700ffffffff 20000700ffffffff")
    try:
        os.setxattr(source / "d", "system.posix_acl_default", acl)
    except OSError:
        pytest.skip("no ACLs here")
    assert properties(copied(source)) == properties(source)


def test_holes_stay_holes(source: Path) -> None:
    with (source / "sparse").open("wb") as file:
        file.truncate(1 << 24)
        file.seek(1 << 23)
        file.write(b"data")
    made = copied(source) / "sparse"
    assert made.read_bytes() == (source / "sparse").read_bytes()
    assert made.stat().st_blocks <= (source / "sparse").stat().st_blocks


def test_a_tree_that_is_deeper_than_a_path_may_be_long(source: Path) -> None:
    fd = os.open(source, os.O_RDONLY)
    for _ in range(30):
        os.mkdir("d" * 200, dir_fd=fd)
        below = os.open("d" * 200, os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    os.close(os.open("file", os.O_CREAT, dir_fd=fd))
    os.close(fd)
    made = copied(source)
    fd = os.open(made, os.O_RDONLY)
    below = at.open_directory(fd, [b"d" * 200] * 30)
    assert os.listdir(below) == ["file"]
    os.close(below)
    os.close(fd)


@only_root
def test_what_others_must_not_see_meanwhile_is_ours_until_it_is_whole(source: Path) -> None:
    (source / "file").write_bytes(bytes(3 << 20))
    os.chown(source, 1201, 1201)
    os.chown(source / "file", 1201, 1201)
    source.chmod(0o777)
    seen = []
    target = source.parent / "copy"

    def look() -> None:
        seen.append((target.stat().st_uid, modes.S_IMODE(target.stat().st_mode)))

    copied(source, look)
    assert set(seen) == {(0, 0o700)}
    assert (target.stat().st_uid, modes.S_IMODE(target.stat().st_mode)) == (1201, 0o777)


# While somebody changes it


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    directory = tmp_path / "secret"
    directory.mkdir(mode=0o700)
    (directory / "s").write_text("TOP")
    return directory


def holds(top: Path, text: str) -> bool:
    return any(
        path.read_text() == text
        for path in top.rglob("*")
        if path.is_file() and not path.is_symlink()
    )


def between(monkeypatch: pytest.MonkeyPatch, call: str, act: Callable[[], None]) -> None:
    """Have *act* done once, before the next *call* of the copy: after it has looked."""
    real = getattr(os, call)

    def first(*args, **more):
        monkeypatch.setattr(os, call, real)
        act()
        return real(*args, **more)

    monkeypatch.setattr(os, call, first)


def swap(path: Path, target: Path) -> Callable[[], None]:
    def act() -> None:
        path.rename(path.with_name("moved away"))
        path.symlink_to(target)

    return act


def test_a_directory_that_is_swapped_for_a_link_is_not_entered(source, secret, monkeypatch):
    (source / "d").mkdir()
    (source / "d" / "s").write_text("mine")
    between(monkeypatch, "mkdir", swap(source / "d", secret))  # seen, and about to be entered
    made = copied(source)
    assert not holds(made, "TOP")
    assert os.listdir(made) == []


def test_nor_one_above_it(source, secret, monkeypatch):
    (secret / "e").mkdir()
    (secret / "e" / "s").write_text("TOP")
    (source / "d" / "e").mkdir(parents=True)
    mkdir = os.mkdir

    def later(name, *args, **more):
        if name == b"e":
            swap(source / "d", secret)()
        mkdir(name, *args, **more)

    monkeypatch.setattr(os, "mkdir", later)
    assert not holds(copied(source), "TOP")


@pytest.mark.parametrize("call", ["open", "stat", "fstat"])
def test_a_file_that_is_swapped_for_a_link_is_copied_as_the_link(source, secret, monkeypatch, call):
    (source / "s").write_text("mine")
    monkeypatch.setattr(
        tree_copy._Copy, "fill", _swapping_fill(monkeypatch, call, source / "s", secret / "s")
    )
    made = copied(source)
    assert not holds(made, "TOP")
    assert set(os.listdir(made)) <= {"s", "moved away"}


def _swapping_fill(monkeypatch, call: str, path: Path, target: Path):
    real = tree_copy._Copy.fill

    def fill(self, names):
        between(monkeypatch, call, swap(path, target))
        return real(self, names)

    return fill


def test_the_tests_would_notice_a_copy_that_goes_by_names(source, secret, monkeypatch):
    """As cp does: what is seen to be a directory is opened by its name again."""
    (source / "d").mkdir()
    (source / "d" / "s").write_text("mine")

    def by_name(dir_fd: int, names: tuple[bytes, ...]) -> int:
        return os.open(b"/".join(names) or b".", os.O_RDONLY | os.O_DIRECTORY, dir_fd=dir_fd)

    monkeypatch.setattr(tree_copy.at, "open_directory", by_name)
    between(monkeypatch, "mkdir", swap(source / "d", secret))
    assert holds(copied(source), "TOP")


def test_what_vanishes_meanwhile_is_left_out(source, monkeypatch):
    for name in "abc":
        (source / name).write_text(name)
    real = os.stat

    def losing(name, **more):
        if name == b"b":
            (source / "b").unlink(missing_ok=True)
        return real(name, **more)

    monkeypatch.setattr(os, "stat", losing)
    assert sorted(os.listdir(copied(source))) == ["a", "c"]


def test_a_directory_that_vanishes_meanwhile_is_left_out(source, monkeypatch):
    (source / "d").mkdir()
    real = os.mkdir

    def losing(name, *args, **more):
        real(name, *args, **more)
        (source / "d").rmdir()

    monkeypatch.setattr(os, "mkdir", losing)
    assert os.listdir(copied(source)) == []


def test_what_cannot_be_copied_is_named(source, monkeypatch):
    (source / "d").mkdir()
    (source / "d" / "f").write_text("text")

    def full(*_args):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tree_copy, "copy_content", full)
    with pytest.raises(CopyError, match="No space left on device: 'd/f'"):
        copied(source)


def test_it_ends_when_it_is_unwanted_within_a_large_file_too(source):
    (source / "large").write_bytes(bytes(5 << 20))
    looks = []

    def look() -> None:
        looks.append(1)
        if len(looks) == 3:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        copied(source, look)
