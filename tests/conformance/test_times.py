"""Which of its times each act moves, and which it leaves alone.

Access and modification times are set to the year 2001 first, and the clock
has ticked since the last change: so whatever an act stamps moves, without
anybody having to wait or to compare with the clock.
"""

import mmap
import os
import stat as modes
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from support.objects import (
    RENAME_EXCHANGE,
    RENAME_NOREPLACE,
    UTIME_NOW,
    UTIME_OMIT,
    make,
    opened,
    renameat2,
    utimensat,
    wait_for_the_clock,
)
from support.users import (
    OK,
    OWNER,
    ROOT,
    STRANGER,
    User,
    outcome,
    outcome_as,
    outcomes_as,
    program_as,
)

_LONG_AGO_NS = 10**18


def _prepare(place: Path) -> None:
    """What the acts find: files, directories, links, and a second name."""
    place.chmod(0o777)
    for name in ("file", "other", "linked"):
        make(place / name)
    os.link(place / "linked", place / "linked 2")
    for name in ("directory", "full"):
        make(place / name, "directory", 0o755)
    make(place / "full" / "below")
    make(place / "full" / "deep", "directory", 0o755)
    make(place / "fifo", "fifo", 0o644)
    os.symlink("file", place / "link")
    make(place / "empty").write_bytes(b"")
    make(place / "program", mode=0o755).write_text("#!/bin/sh\nexit 0\n")


def _all_of(place: Path) -> list[Path]:
    return [place, *sorted(place.rglob("*"))]


def _make_old(paths: Iterable[Path]) -> None:
    for path in paths:
        os.utime(path, ns=(_LONG_AGO_NS, _LONG_AGO_NS), follow_symlinks=False)


def _moved(before: os.stat_result, after: os.stat_result) -> str:
    """Which times moved, as letters: access, modification, change."""
    assert after.st_ctime_ns >= before.st_ctime_ns
    return "".join(
        letter
        for letter, of_before, of_after in (
            ("a", before.st_atime_ns, after.st_atime_ns),
            ("m", before.st_mtime_ns, after.st_mtime_ns),
            ("c", before.st_ctime_ns, after.st_ctime_ns),
        )
        if of_before != of_after
    )


def what_moves(place: Path, act: Callable[[], object]) -> dict[str, str]:
    """The times that *act* moves, by the names that objects below *place* had before it.

    Objects that were there before are looked at through descriptors that are
    opened in advance: a rename or an unlink does not hide them.
    """
    paths = _all_of(place)
    _make_old(paths)
    wait_for_the_clock(*paths)
    flags = os.O_PATH | os.O_NOFOLLOW
    handles = {str(path.relative_to(place)): os.open(path, flags) for path in paths}
    try:
        before = {name: os.fstat(fd) for name, fd in handles.items()}
        act()
        after = {name: os.fstat(fd) for name, fd in handles.items()}
    finally:
        for fd in handles.values():
            os.close(fd)
    moved = {name: _moved(before[name], after[name]) for name in before}
    return {name: letters for name, letters in moved.items() if letters}


def _read(path: Path) -> None:
    with open(path, "rb", buffering=0) as file:
        assert file.read()


def _read_mapped(path: Path) -> None:
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ) as mapping:
        assert mapping[0]


def _read_quietly(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_NOATIME)
    try:
        assert os.read(fd, 10)
    finally:
        os.close(fd)


def _with_handle(path: Path, act: Callable[[int], object], flags: int = os.O_RDWR) -> None:
    fd = os.open(path, flags)
    try:
        act(fd)
    finally:
        os.close(fd)


def _write_mapped(path: Path) -> None:
    with open(path, "r+b") as file, mmap.mmap(file.fileno(), 0) as mapping:
        mapping[0:3] = b"CON"
        mapping.flush()


_CASES: dict[str, tuple[Callable[[Path], object], dict[str, str]]] = {
    # What is new
    "create a file": (lambda p: opened(p / "new", os.O_CREAT | os.O_WRONLY), {".": "mc"}),
    "create what is there": (lambda p: opened(p / "file", os.O_CREAT | os.O_WRONLY), {}),
    "create below": (lambda p: opened(p / "full" / "new", os.O_CREAT), {"full": "mc"}),
    "mkdir": (lambda p: os.mkdir(p / "new"), {".": "mc"}),
    "mkfifo": (lambda p: os.mkfifo(p / "new"), {".": "mc"}),
    "mknod": (lambda p: os.mknod(p / "new", modes.S_IFSOCK | 0o600), {".": "mc"}),
    "symlink": (lambda p: os.symlink("file", p / "new"), {".": "mc"}),
    "link": (lambda p: os.link(p / "file", p / "new"), {".": "mc", "file": "c"}),
    "link below": (
        lambda p: os.link(p / "file", p / "directory" / "new"),
        {"directory": "mc", "file": "c"},
    ),
    # What goes
    "unlink": (lambda p: os.unlink(p / "file"), {".": "mc", "file": "c"}),
    "unlink one of two names": (
        lambda p: os.unlink(p / "linked"),
        {".": "mc", "linked": "c", "linked 2": "c"},
    ),
    "unlink a symlink": (lambda p: os.unlink(p / "link"), {".": "mc", "link": "c"}),
    "unlink a fifo": (lambda p: os.unlink(p / "fifo"), {".": "mc", "fifo": "c"}),
    # Names
    "rename": (lambda p: os.rename(p / "file", p / "new"), {".": "mc", "file": "c"}),
    "rename a directory": (
        lambda p: os.rename(p / "full", p / "new"),
        {".": "mc", "full": "c"},
    ),
    "move": (
        lambda p: os.rename(p / "full" / "below", p / "directory" / "new"),
        {"full": "mc", "directory": "mc", "full/below": "c"},
    ),
    "rename over a file": (
        lambda p: os.rename(p / "file", p / "other"),
        {".": "mc", "file": "c", "other": "c"},
    ),
    "rename over one of two names": (
        lambda p: os.rename(p / "file", p / "linked"),
        {".": "mc", "file": "c", "linked": "c", "linked 2": "c"},
    ),
    "rename onto another name of itself": (lambda p: os.rename(p / "linked", p / "linked 2"), {}),
    "exchange": (
        lambda p: renameat2(p / "file", p / "full" / "below", RENAME_EXCHANGE),
        {".": "mc", "full": "mc", "file": "c", "full/below": "c"},
    ),
    "rename without replacing": (
        lambda p: renameat2(p / "file", p / "new", RENAME_NOREPLACE),
        {".": "mc", "file": "c"},
    ),
    # Attributes
    "chmod": (lambda p: os.chmod(p / "file", 0o600), {"file": "c"}),
    "chmod to what it was": (lambda p: os.chmod(p / "file", 0o644), {"file": "c"}),
    "chmod a directory": (lambda p: os.chmod(p / "full", 0o700), {"full": "c"}),
    "chmod a fifo": (lambda p: os.chmod(p / "fifo", 0o700), {"fifo": "c"}),
    "chmod through a symlink": (lambda p: os.chmod(p / "link", 0o600), {"file": "c", "link": "a"}),
    "fchmod": (
        lambda p: _with_handle(p / "file", lambda fd: os.fchmod(fd, 0o600)),
        {"file": "c"},
    ),
    "chown": (lambda p: os.chown(p / "file", 1, 2), {"file": "c"}),
    "chown to who it was": (lambda p: os.chown(p / "file", OWNER.uid, -1), {"file": "c"}),
    "chown a symlink": (
        lambda p: os.chown(p / "link", 1, 2, follow_symlinks=False),
        {"link": "c"},
    ),
    "chown to nobody": (lambda p: os.chown(p / "file", -1, -1), {"file": "c"}),
    "fchown": (lambda p: _with_handle(p / "file", lambda fd: os.fchown(fd, 1, 2)), {"file": "c"}),
    "set the times": (lambda p: os.utime(p / "file", ns=(1, 2)), {"file": "amc"}),
    "set the times they have": (
        lambda p: os.utime(p / "file", ns=(_LONG_AGO_NS, _LONG_AGO_NS)),
        {"file": "c"},
    ),
    "touch": (lambda p: os.utime(p / "file"), {"file": "amc"}),
    "touch a directory": (lambda p: os.utime(p / "full"), {"full": "amc"}),
    "touch for reading": (lambda p: utimensat(p / "file", UTIME_NOW, UTIME_OMIT), {"file": "ac"}),
    "touch for writing": (lambda p: utimensat(p / "file", UTIME_OMIT, UTIME_NOW), {"file": "mc"}),
    "touch nothing": (lambda p: utimensat(p / "file", UTIME_OMIT, UTIME_OMIT), {}),
    # Content
    "write": (
        lambda p: _with_handle(p / "file", lambda fd: os.write(fd, b"new")),
        {"file": "mc"},
    ),
    "append": (
        lambda p: _with_handle(
            p / "file", lambda fd: os.write(fd, b"new"), os.O_WRONLY | os.O_APPEND
        ),
        {"file": "mc"},
    ),
    "write what it holds": (
        lambda p: _with_handle(p / "file", lambda fd: os.pwrite(fd, b"content", 0)),
        {"file": "mc"},
    ),
    "write nothing": (lambda p: _with_handle(p / "file", lambda fd: os.write(fd, b"")), {}),
    "write by mapping": (lambda p: _write_mapped(p / "file"), {"file": "amc"}),
    "read": (lambda p: _read(p / "file"), {"file": "a"}),
    "read through a symlink": (lambda p: _read(p / "link"), {"file": "a", "link": "a"}),
    "read by mapping": (lambda p: _read_mapped(p / "file"), {"file": "a"}),
    "read quietly": (lambda p: _read_quietly(p / "file"), {}),
    "truncate": (lambda p: os.truncate(p / "file", 3), {"file": "mc"}),
    "make longer": (lambda p: os.truncate(p / "file", 30_000), {"file": "mc"}),
    "truncate by handle": (
        lambda p: _with_handle(p / "file", lambda fd: os.ftruncate(fd, 3)),
        {"file": "mc"},
    ),
    "truncate by handle to the size it has": (
        lambda p: _with_handle(p / "file", lambda fd: os.ftruncate(fd, 7)),
        {"file": "mc"},
    ),
    "empty by opening": (lambda p: opened(p / "file", os.O_WRONLY | os.O_TRUNC), {"file": "mc"}),
    "empty by opening for reading": (
        lambda p: opened(p / "file", os.O_RDONLY | os.O_TRUNC),
        {"file": "mc"},
    ),
    "empty by opening what is empty": (
        lambda p: opened(p / "empty", os.O_WRONLY | os.O_TRUNC),
        {"empty": "mc"},
    ),
    "empty by opening for reading what is empty": (
        lambda p: opened(p / "empty", os.O_RDONLY | os.O_TRUNC),
        {"empty": "mc"},
    ),
    "empty by creating what is empty": (
        lambda p: opened(p / "empty", os.O_WRONLY | os.O_CREAT | os.O_TRUNC),
        {"empty": "mc"},
    ),
    # Looking
    "list": (lambda p: os.listdir(p / "full"), {"full": "a"}),
    "list what is empty": (lambda p: os.listdir(p / "directory"), {"directory": "a"}),
    "read a symlink": (lambda p: os.readlink(p / "link"), {"link": "a"}),
    "run": (lambda p: program_as(ROOT, p / "program"), {"program": "a"}),
    "stat": (lambda p: [os.lstat(path) for path in _all_of_known(p)], {}),
    "access": (lambda p: os.access(p / "file", os.R_OK), {}),
    "open": (lambda p: opened(p / "file", os.O_RDWR), {}),
    "open a directory": (lambda p: opened(p / "full", os.O_RDONLY | os.O_DIRECTORY), {}),
    "seek": (lambda p: _with_handle(p / "file", lambda fd: os.lseek(fd, 0, os.SEEK_END)), {}),
    "sync": (lambda p: _with_handle(p / "file", os.fsync), {}),
    "statfs": (os.statvfs, {}),
}


def _all_of_known(place: Path) -> list[Path]:
    return [place / name for name in ("file", "directory", "full", "fifo", "link", "full/below")]


@pytest.mark.starts_processes
@pytest.mark.parametrize("case", list(_CASES))
def test_each_act_moves_the_times_it_must_and_no_other(posix_place: Path, case: str) -> None:
    act, expected = _CASES[case]
    if case == "run" and os.statvfs(posix_place).f_flag & os.ST_NOEXEC:
        pytest.skip("nothing can be executed here")
    _prepare(posix_place)
    assert what_moves(posix_place, lambda: act(posix_place)) == expected


_REFUSED: dict[str, tuple[User, str, Callable[[Path], object]]] = {
    "create what is there": (ROOT, "EEXIST", lambda p: opened(p / "file", os.O_CREAT | os.O_EXCL)),
    "create without the right": (
        STRANGER,
        "EACCES",
        lambda p: opened(p / "full" / "new", os.O_CREAT),
    ),
    "mkdir what is there": (ROOT, "EEXIST", lambda p: os.mkdir(p / "file")),
    "mkdir without the right": (STRANGER, "EACCES", lambda p: os.mkdir(p / "full" / "new")),
    "symlink what is there": (ROOT, "EEXIST", lambda p: os.symlink("x", p / "link")),
    "link what is there": (ROOT, "EEXIST", lambda p: os.link(p / "file", p / "other")),
    "link a directory": (ROOT, "EPERM", lambda p: os.link(p / "full", p / "new")),
    "link without the right": (
        STRANGER,
        "EACCES",
        lambda p: os.link(p / "mine", p / "full" / "new"),
    ),
    "unlink a directory": (ROOT, "EISDIR", lambda p: os.unlink(p / "directory")),
    "unlink without the right": (STRANGER, "EACCES", lambda p: os.unlink(p / "full" / "below")),
    "rmdir a file": (ROOT, "ENOTDIR", lambda p: os.rmdir(p / "file")),
    "rmdir what is full": (ROOT, "ENOTEMPTY", lambda p: os.rmdir(p / "full")),
    "rename over a directory": (ROOT, "EISDIR", lambda p: os.rename(p / "file", p / "directory")),
    "rename over what is full": (
        ROOT,
        "ENOTEMPTY",
        lambda p: os.rename(p / "directory", p / "full"),
    ),
    "rename into itself": (ROOT, "EINVAL", lambda p: os.rename(p / "full", p / "full" / "x")),
    "rename without the right": (
        STRANGER,
        "EACCES",
        lambda p: os.rename(p / "full" / "below", p / "new"),
    ),
    "chmod": (STRANGER, "EPERM", lambda p: os.chmod(p / "file", 0o777)),
    "chown": (STRANGER, "EPERM", lambda p: os.chown(p / "file", STRANGER.uid, -1)),
    "chown to a strange group": (
        OWNER,
        "EPERM",
        lambda p: os.chown(p / "file", -1, STRANGER.gid),
    ),
    "truncate": (STRANGER, "EACCES", lambda p: os.truncate(p / "file", 0)),
    "truncate to less than nothing": (ROOT, "EINVAL", lambda p: os.truncate(p / "file", -1)),
    "empty by opening": (
        STRANGER,
        "EACCES",
        lambda p: opened(p / "file", os.O_WRONLY | os.O_TRUNC),
    ),
    "touch": (STRANGER, "EACCES", lambda p: os.utime(p / "file")),
    "set the times": (STRANGER, "EPERM", lambda p: os.utime(p / "file", ns=(1, 2))),
    "list": (STRANGER, "EACCES", lambda p: os.listdir(p / "closed")),
    "read": (STRANGER, "EACCES", lambda p: _read(p / "secret")),
}


@pytest.mark.starts_processes
@pytest.mark.parametrize("case", list(_REFUSED))
def test_what_is_refused_moves_no_time(posix_place: Path, case: str) -> None:
    user, error, act = _REFUSED[case]
    _prepare(posix_place)
    make(posix_place / "closed", "directory", 0o700)
    make(posix_place / "secret", mode=0o600)
    make(posix_place / "mine", owner=STRANGER)
    told = []
    moved = what_moves(posix_place, lambda: told.append(outcome_as(user, act, posix_place)))
    assert told == [error]
    assert moved == {}


@pytest.mark.starts_processes
@pytest.mark.parametrize("kind", ["file", "directory", "fifo", "socket", "symlink"])
def test_what_is_new_has_the_times_of_its_making(posix_place: Path, kind: str) -> None:
    make(posix_place / "witness")
    wait_for_the_clock(posix_place / "witness")
    earlier = os.lstat(posix_place / "witness").st_ctime_ns
    path = posix_place / "new"
    {
        "file": lambda: opened(path, os.O_CREAT | os.O_WRONLY),
        "directory": lambda: os.mkdir(path),
        "fifo": lambda: os.mkfifo(path),
        "socket": lambda: os.mknod(path, modes.S_IFSOCK | 0o600),
        "symlink": lambda: os.symlink("x", path),
    }[kind]()
    status = os.lstat(path)
    times = [status.st_atime_ns, status.st_mtime_ns, status.st_ctime_ns]
    assert min(times) > earlier
    parent = posix_place.stat()
    assert min(parent.st_mtime_ns, parent.st_ctime_ns) > earlier
    wait_for_the_clock(path, posix_place)
    (posix_place / "later").touch()
    assert (posix_place / "later").stat().st_mtime_ns > max(times)


@pytest.mark.starts_processes
def test_a_file_cut_to_the_size_it_has_may_be_taken_for_changed(posix_place: Path) -> None:
    _prepare(posix_place)
    moved = what_moves(posix_place, lambda: os.truncate(posix_place / "file", 7))
    assert moved in ({}, {"file": "mc"})  # POSIX says it is, not every file system agrees
    assert (posix_place / "file").read_bytes() == b"content"


@pytest.mark.starts_processes
def test_a_removed_directory_moves_its_parents_times(posix_place: Path) -> None:
    _prepare(posix_place)
    moved = what_moves(posix_place, lambda: os.rmdir(posix_place / "directory"))
    assert moved["."] == "mc"
    assert set(moved) <= {".", "directory"}
    deep = posix_place / "full" / "deep"
    moved = what_moves(posix_place, lambda: os.rename(deep, posix_place / "moved"))
    assert (moved["."], moved["full"]) == ("mc", "mc")
    # Whether the directory whose ".." changes is modified is up to the file system.
    assert set(moved) == {".", "full", "full/deep"}


@pytest.mark.starts_processes
def test_a_directory_that_replaces_another_moves_its_parents_times(posix_place: Path) -> None:
    _prepare(posix_place)
    full, directory = posix_place / "full", posix_place / "directory"
    moved = what_moves(posix_place, lambda: os.rename(full, directory))
    assert moved["."] == "mc"
    assert "c" in moved["full"]
    assert set(moved) <= {".", "full", "directory"}


def test_a_file_that_lost_its_name_still_has_times(posix_place: Path) -> None:
    file = make(posix_place / "file")
    fd = os.open(file, os.O_RDWR)
    try:
        file.unlink()
        os.utime(fd, ns=(_LONG_AGO_NS, _LONG_AGO_NS))
        before = os.fstat(fd)
        assert (before.st_atime_ns, before.st_mtime_ns) == (_LONG_AGO_NS, _LONG_AGO_NS)
        os.pwrite(fd, b"new", 0)
        assert os.fstat(fd).st_mtime_ns > _LONG_AGO_NS
        os.utime(fd, ns=(1, 2))
        assert os.fstat(fd).st_mtime_ns == 2
        assert os.pread(fd, 3, 0) == b"new"
        assert os.fstat(fd).st_atime_ns > 1
    finally:
        os.close(fd)


@pytest.mark.starts_processes
def test_a_stamp_by_one_user_is_seen_by_another(posix_place: Path) -> None:
    file = make(posix_place / "file", mode=0o666)
    os.utime(file, ns=(1, 2))
    with open(file, "rb") as handle:
        assert outcome_as(STRANGER, os.utime, file) == OK
        assert os.fstat(handle.fileno()).st_mtime_ns > 2
    assert outcome_as(OWNER, os.utime, file, ns=(3, 4)) == OK
    assert (file.stat().st_atime_ns, file.stat().st_mtime_ns) == (3, 4)


@pytest.mark.starts_processes
def test_times_of_symlinks_are_set_by_their_owners(posix_place: Path) -> None:
    file = make(posix_place / "file")
    link = make(posix_place / "link", "symlink", owner=STRANGER)

    def set_times() -> None:
        os.utime(link, ns=(5, 6), follow_symlinks=False)

    os.utime(file, ns=(1, 2))
    assert outcome_as(OWNER, set_times) == "EPERM"
    assert outcome_as(STRANGER, set_times) == OK
    assert os.lstat(link).st_mtime_ns == 6
    assert file.stat().st_mtime_ns == 2
    assert outcome(os.utime, link) == "ENOENT"  # it leads nowhere


@pytest.mark.starts_processes
def test_times_follow_symlinks_to_who_owns_the_target(posix_place: Path) -> None:
    file = make(posix_place / "file")
    os.symlink("file", posix_place / "link")
    acts = {
        "through": lambda: os.utime(posix_place / "link", ns=(7, 8)),
        "itself": lambda: os.utime(posix_place / "link", ns=(9, 10), follow_symlinks=False),
    }
    assert outcomes_as(OWNER, acts) == {"through": OK, "itself": "EPERM"}
    assert file.stat().st_mtime_ns == 8
