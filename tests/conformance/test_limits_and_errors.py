"""What every call says of paths that lead nowhere, of wrong kinds, and of limits."""

import errno
import os
import resource
import shutil
import socket
import stat as modes
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from support.guests import PATIENCE_S
from support.objects import RENAME_EXCHANGE, make, renameat2
from support.users import OK, ROOT, act_as, outcome, program_as

_CALLS: dict[str, Callable[[str, str], object]] = {
    # The second path is that of a file which is there.
    "stat": lambda path, _: os.stat(path),
    "lstat": lambda path, _: os.lstat(path),
    "statfs": lambda path, _: os.statvfs(path),
    "open": lambda path, _: os.close(os.open(path, os.O_RDONLY)),
    "open for writing": lambda path, _: os.close(os.open(path, os.O_WRONLY)),
    "create": lambda path, _: os.close(os.open(path, os.O_WRONLY | os.O_CREAT, 0o644)),
    "create anew": lambda path, _: os.close(
        os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644)
    ),
    "chmod": lambda path, _: os.chmod(path, 0o644),
    "chown": lambda path, _: os.chown(path, 1, 1),
    "lchown": lambda path, _: os.chown(path, 1, 1, follow_symlinks=False),
    "truncate": lambda path, _: os.truncate(path, 1),
    "set times": lambda path, _: os.utime(path, ns=(1, 1)),
    "open as a path": lambda path, _: os.close(os.open(path, os.O_PATH)),
    "readlink": lambda path, _: os.readlink(path),
    "chdir": lambda path, _: _come_and_go(path),
    "list": lambda path, _: os.listdir(path),
    "mkdir": lambda path, _: os.mkdir(path),
    "mkfifo": lambda path, _: os.mkfifo(path),
    "mknod": lambda path, _: os.mknod(path, modes.S_IFREG | 0o644),
    "symlink": lambda path, _: os.symlink("nowhere", path),
    "unlink": lambda path, _: os.unlink(path),
    "rmdir": lambda path, _: os.rmdir(path),
    "link from": lambda path, file: os.link(path, file + "-new", follow_symlinks=False),
    "link to": lambda path, file: os.link(file, path),
    "rename from": lambda path, file: os.rename(path, file + "-new"),
    "rename to": lambda path, file: os.rename(file, path),
    "exchange": lambda path, file: renameat2(file, path, RENAME_EXCHANGE),
    "run": lambda path, _: _run(path),
    "read attribute": lambda path, _: os.getxattr(path, "user.key"),
    "list attributes": lambda path, _: os.listxattr(path),
}
_MAKING = {"create", "create anew", "mkdir", "mkfifo", "mknod", "symlink", "link to", "rename to"}
_OF_THE_LINK = {"lstat", "lchown", "readlink", "unlink", "rmdir", "link from", "rename from"}


def _come_and_go(path: str) -> None:
    here = os.open(".", os.O_PATH)
    try:
        os.chdir(path)
        os.fchdir(here)
    finally:
        os.close(here)


def _run(path: str) -> None:
    act_as(ROOT, lambda: os.execv(path, [path]))


def _outcomes(place: Path, path: str, calls: set[str] | None = None) -> dict[str, str]:
    """What each call says of *path*, a name in *place* or a path there."""
    told = {}
    for name, call in _CALLS.items():
        if calls is None or name in calls:
            told[name] = outcome(call, os.path.join(place, path), f"{place}/file")
    return told


@pytest.fixture
def furnished_place(posix_place: Path) -> Path:
    """With some of everything in it."""
    make(posix_place / "file")
    (posix_place / "directory").mkdir()
    make(posix_place / "fifo", "fifo")
    make(posix_place / "socket", "socket")
    os.symlink("file", posix_place / "link")
    os.symlink("nowhere", posix_place / "dangling")
    os.symlink("circle", posix_place / "circle")
    os.symlink("round-2", posix_place / "round-1")
    os.symlink("round-1", posix_place / "round-2")
    return posix_place


@pytest.mark.starts_processes
@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("missing/name", "ENOENT"),
        ("missing/../file", "ENOENT"),
        ("directory/missing/name", "ENOENT"),
        ("dangling/name", "ENOENT"),
        ("file/name", "ENOTDIR"),
        ("file/.", "ENOTDIR"),
        ("file/..", "ENOTDIR"),
        ("file/../file", "ENOTDIR"),
        ("fifo/name", "ENOTDIR"),
        ("socket/name", "ENOTDIR"),
        ("link/name", "ENOTDIR"),
        ("circle/name", "ELOOP"),
        ("round-1/name", "ELOOP"),
        ("directory/../round-2/name", "ELOOP"),
        ("n" * 256 + "/name", "ENAMETOOLONG"),
        ("directory/" + "n" * 256, "ENAMETOOLONG"),
        ("n" * 256, "ENAMETOOLONG"),
        ("n" * 4095, "ENAMETOOLONG"),
        ("directory/../" * 400, "ENAMETOOLONG"),
    ],
    ids=lambda value: value if len(value) < 30 else f"{value[:10]}-{len(value)}",
)
def test_every_call_tells_where_a_path_breaks_off(
    furnished_place: Path, path: str, expected: str
) -> None:
    before = sorted(os.listdir(furnished_place))
    told = _outcomes(furnished_place, path)
    assert told == dict.fromkeys(_CALLS, expected)
    assert sorted(os.listdir(furnished_place)) == before


@pytest.mark.starts_processes
def test_every_call_on_what_is_missing_says_so(furnished_place: Path) -> None:
    calls = set(_CALLS) - _MAKING
    for path in ("missing", "directory/missing"):
        assert _outcomes(furnished_place, path, calls) == dict.fromkeys(calls, "ENOENT")
    for name in ("missing", ""):
        assert outcome(os.open, name, os.O_RDONLY) == "ENOENT"


@pytest.mark.starts_processes
def test_every_call_that_follows_a_dangling_symlink_finds_nothing(furnished_place: Path) -> None:
    follow = set(_CALLS) - _MAKING - _OF_THE_LINK - {"exchange"}
    assert _outcomes(furnished_place, "dangling", follow) == dict.fromkeys(follow, "ENOENT")


@pytest.mark.starts_processes
def test_every_call_that_follows_a_circle_gives_up(furnished_place: Path) -> None:
    follow = set(_CALLS) - _MAKING - _OF_THE_LINK - {"exchange"} | {"create"}
    for name in ("circle", "round-1"):
        assert _outcomes(furnished_place, name, follow) == dict.fromkeys(follow, "ELOOP")


def test_chains_of_symlinks_are_followed_up_to_forty(posix_place: Path) -> None:
    make(posix_place / "link-0")
    for number in range(1, 43):
        os.symlink(f"link-{number - 1}", posix_place / f"link-{number}")
    assert outcome(os.stat, posix_place / "link-40") == OK
    assert outcome(os.stat, posix_place / "link-41") == "ELOOP"
    assert outcome(os.lstat, posix_place / "link-42") == OK


@pytest.mark.parametrize("call", sorted(_MAKING))
def test_names_are_made_up_to_255_bytes(furnished_place: Path, call: str) -> None:
    longest = "é" * 127 + "x"
    assert len(longest.encode()) == 255
    told = _outcomes(furnished_place, longest, {call})
    assert told == {call: OK}
    assert longest in os.listdir(furnished_place)
    (furnished_place / "file").touch()  # or it was renamed
    told = _outcomes(furnished_place, longest + "x", {call})
    assert told == {call: "ENAMETOOLONG"}


def test_paths_are_walked_up_to_4095_bytes(furnished_place: Path) -> None:
    end = "/file"
    room = 4095 - len(os.fsencode(furnished_place)) - len(end)
    longest = f"{furnished_place}{'/.' * (room // 2)}{'/' * (room % 2)}{end}"
    assert len(longest) == 4095
    assert outcome(os.stat, longest) == OK
    assert outcome(os.stat, "/" + longest) == "ENAMETOOLONG"
    assert outcome(os.truncate, longest, 3) == OK
    assert outcome(os.rename, longest, longest + "2") == "ENAMETOOLONG"


def test_symlinks_hold_up_to_4095_bytes(posix_place: Path) -> None:
    target = "x" * 4095
    os.symlink(target, posix_place / "link")
    assert os.readlink(posix_place / "link") == target
    assert os.lstat(posix_place / "link").st_size == 4095
    assert outcome(os.stat, posix_place / "link") == "ENAMETOOLONG"
    assert outcome(os.symlink, target + "x", posix_place / "longer") == "ENAMETOOLONG"
    assert outcome(os.symlink, "", posix_place / "empty") == "ENOENT"


# Wrong kinds


_OPENINGS = {
    "read": os.O_RDONLY,
    "write": os.O_WRONLY,
    "both": os.O_RDWR,
    "empty": os.O_WRONLY | os.O_TRUNC,
    "create": os.O_RDWR | os.O_CREAT,
    "create for reading": os.O_RDONLY | os.O_CREAT,
    "create anew": os.O_RDWR | os.O_CREAT | os.O_EXCL,
    "directory": os.O_RDONLY | os.O_DIRECTORY,
    "no symlink": os.O_RDONLY | os.O_NOFOLLOW,
    "no symlink to a directory": os.O_RDONLY | os.O_NOFOLLOW | os.O_DIRECTORY,
    "path of it": os.O_PATH | os.O_NOFOLLOW,
}


@pytest.mark.parametrize(
    ("name", "refusals"),
    [
        ("file", {"directory": "ENOTDIR", "no symlink to a directory": "ENOTDIR"}),
        (
            "directory",
            dict.fromkeys(("write", "both", "empty", "create", "create for reading"), "EISDIR"),
        ),
        ("link", {"no symlink": "ELOOP", "directory": "ENOTDIR"}),
        ("socket", dict.fromkeys(_OPENINGS, "ENXIO") | {"directory": "ENOTDIR", "path of it": OK}),
        (
            "fifo",
            {"write": "ENXIO", "empty": "ENXIO", "directory": "ENOTDIR"},
        ),
    ],
)
def test_each_kind_is_opened_in_its_own_ways(
    furnished_place: Path, name: str, refusals: dict[str, str]
) -> None:
    refusals = {"create anew": "EEXIST", "no symlink to a directory": "ENOTDIR"} | refusals
    refusals |= {"create anew": "EEXIST", "no symlink to a directory": "ENOTDIR"}
    if name == "directory":
        del refusals["no symlink to a directory"]
    for opening, flags in _OPENINGS.items():

        def act(flags: int = flags) -> None:
            os.close(os.open(furnished_place / name, flags | os.O_NONBLOCK))

        assert outcome(act) == refusals.get(opening, OK), opening


def test_calls_for_directories_refuse_the_rest(furnished_place: Path) -> None:
    for name in ("file", "fifo", "socket", "link"):
        calls = {"list", "chdir", "rmdir"}
        assert _outcomes(furnished_place, name, calls) == dict.fromkeys(calls, "ENOTDIR")


def test_only_files_are_cut(furnished_place: Path) -> None:
    for name, expected in (
        ("directory", "EISDIR"),
        ("fifo", "EINVAL"),
        ("socket", "EINVAL"),
        ("link", OK),
        ("dangling", "ENOENT"),
    ):
        assert outcome(os.truncate, furnished_place / name, 2) == expected
    assert (furnished_place / "file").read_bytes() == b"co"
    assert outcome(os.truncate, furnished_place / "file", -1) == "EINVAL"


def test_only_symlinks_are_read_as_such(furnished_place: Path) -> None:
    for name in ("file", "directory", "fifo", "socket"):
        assert outcome(os.readlink, furnished_place / name) == "EINVAL"


def test_handles_allow_what_they_were_opened_for(furnished_place: Path) -> None:
    def told(name: str, flags: int) -> dict[str, str]:
        fd = os.open(furnished_place / name, flags)
        try:
            return {
                "read": outcome(os.pread, fd, 1, 0),
                "write": outcome(os.pwrite, fd, b"x", 0),
                "truncate": outcome(os.ftruncate, fd, 3),
                "chmod": outcome(os.fchmod, fd, 0o644),
                "list": outcome(os.listdir, fd),
                "sync": outcome(os.fsync, fd),
            }
        finally:
            os.close(fd)

    expected = dict.fromkeys(("read", "write", "truncate", "chmod", "sync"), OK)
    expected["list"] = "ENOTDIR"
    assert told("file", os.O_RDWR) == expected
    refused_writing = {"write": "EBADF", "truncate": "EINVAL"}
    assert told("file", os.O_RDONLY) == expected | refused_writing
    assert told("file", os.O_WRONLY) == expected | {"read": "EBADF"}
    assert told("directory", os.O_RDONLY) == {
        "read": "EISDIR",
        "write": "EBADF",
        "truncate": "EINVAL",
        "chmod": OK,
        "list": OK,
        "sync": OK,
    }
    assert told("file", os.O_PATH) == dict.fromkeys(expected, "EBADF") | {"list": "ENOTDIR"}


def test_offsets_before_the_beginning_are_refused(furnished_place: Path) -> None:
    fd = os.open(furnished_place / "file", os.O_RDWR)
    try:
        assert outcome(os.lseek, fd, -1, os.SEEK_SET) == "EINVAL"
        assert outcome(os.lseek, fd, -8, os.SEEK_END) == "EINVAL"
        assert outcome(os.pread, fd, 1, -1) == "EINVAL"
        assert outcome(os.pwrite, fd, b"x", -1) == "EINVAL"
        assert outcome(os.ftruncate, fd, -1) == "EINVAL"
        assert outcome(os.lseek, fd, 100, os.SEEK_DATA) == "ENXIO"
        assert os.lseek(fd, 0, os.SEEK_END) == 7
    finally:
        os.close(fd)


# Limits


@pytest.mark.starts_processes
def test_a_process_that_may_not_write_more_is_told(posix_place: Path) -> None:
    def act() -> list[object]:
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
        fd = os.open(posix_place / "file", os.O_RDWR | os.O_CREAT)
        told: list[object] = [
            os.write(fd, b"x" * 9_000),
            os.write(fd, b"x" * 9_000),  # as much as fits
            outcome(os.write, fd, b"x"),
            outcome(os.pwrite, fd, b"x", 10_000),
            outcome(os.pwrite, fd, b"x", 9_999),
            outcome(os.ftruncate, fd, 10_001),
            outcome(os.truncate, posix_place / "file", 20_000),
            outcome(os.ftruncate, fd, 10_000),
            os.fstat(fd).st_size,
        ]
        os.close(fd)
        return told

    # Python ignores SIGXFSZ, so the error is seen.
    assert act_as(ROOT, act) == [
        9_000,
        1_000,
        "EFBIG",
        "EFBIG",
        OK,
        "EFBIG",
        "EFBIG",
        OK,
        10_000,
    ]


def test_large_offsets_are_kept(posix_place: Path) -> None:
    fd = os.open(posix_place / "file", os.O_RDWR | os.O_CREAT)
    try:
        for offset in (2**31 - 1, 2**31, 2**32 - 1, 2**32, 2**40):
            os.pwrite(fd, b"xyz", offset)
            assert os.fstat(fd).st_size == offset + 3
            assert os.pread(fd, 5, offset - 1) == b"\0xyz"
            os.ftruncate(fd, 0)
        os.ftruncate(fd, 2**41 + 1)
        assert os.fstat(fd).st_size == 2**41 + 1
        assert os.pread(fd, 10, 2**41) == b"\0"
        assert os.fstat(fd).st_blocks < 1_000
    finally:
        os.close(fd)


def test_room_is_made_in_advance(posix_place: Path) -> None:
    fd = os.open(posix_place / "file", os.O_RDWR | os.O_CREAT)
    try:
        os.posix_fallocate(fd, 0, 5_000)
        assert os.fstat(fd).st_size == 5_000
        os.pwrite(fd, b"content", 100)
        os.posix_fallocate(fd, 50, 100)
        assert os.fstat(fd).st_size == 5_000
        assert os.pread(fd, 7, 100) == b"content"
        os.posix_fallocate(fd, 9_000, 1_000)
        assert os.fstat(fd).st_size == 10_000
        for offset, length in ((-1, 1), (0, 0), (0, -1)):
            assert outcome(os.posix_fallocate, fd, offset, length) == "EINVAL"
    finally:
        os.close(fd)
    fd = os.open(posix_place / "file", os.O_RDONLY)
    try:
        assert outcome(os.posix_fallocate, fd, 0, 20_000) == "EBADF"
    finally:
        os.close(fd)


def test_a_file_that_grows_is_zero_in_between(posix_place: Path) -> None:
    fd = os.open(posix_place / "file", os.O_RDWR | os.O_CREAT)
    try:
        os.write(fd, b"x" * 5_000)
        os.ftruncate(fd, 100)
        os.ftruncate(fd, 9_000)
        assert os.pread(fd, 10_000, 0) == b"x" * 100 + b"\0" * 8_900
        os.pwrite(fd, b"end", 12_000)
        assert os.pread(fd, 10_000, 9_000) == b"\0" * 3_000 + b"end"
    finally:
        os.close(fd)


# Programs that run


@pytest.fixture
def running_program(posix_place: Path):
    """A program in the place, and it runs."""
    if os.statvfs(posix_place).f_flag & os.ST_NOEXEC:
        pytest.skip("nothing can be executed here")
    program = posix_place / "program"
    shutil.copy2(shutil.which("cat") or "/bin/cat", program)
    process = subprocess.Popen([program], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    with process:
        try:
            yield program
        finally:
            output, _ = process.communicate(b"still here", timeout=PATIENCE_S)
    assert output == b"still here"
    assert process.returncode == 0


@pytest.mark.starts_processes
def test_a_program_that_runs_is_not_written(running_program: Path) -> None:
    for flags in (os.O_WRONLY, os.O_RDWR, os.O_WRONLY | os.O_TRUNC, os.O_RDWR | os.O_CREAT):
        assert outcome(os.open, running_program, flags) == "ETXTBSY"
    assert outcome(os.truncate, running_program, 0) == "ETXTBSY"
    assert outcome(os.chmod, running_program, 0o700) == OK
    assert outcome(os.utime, running_program, ns=(1, 2)) == OK
    assert running_program.read_bytes()[:4] == b"\x7fELF"


@pytest.mark.starts_processes
def test_a_program_that_runs_is_renamed_replaced_and_removed(running_program: Path) -> None:
    moved = running_program.with_name("moved")
    os.rename(running_program, moved)
    make(running_program)
    os.rename(running_program, moved)
    assert moved.read_bytes() == b"content"
    moved.unlink()
    assert os.listdir(moved.parent) == []


@pytest.mark.starts_processes
def test_a_program_that_is_being_written_does_not_run(posix_place: Path) -> None:
    if os.statvfs(posix_place).f_flag & os.ST_NOEXEC:
        pytest.skip("nothing can be executed here")
    program = posix_place / "program"
    program.write_text("#!/bin/sh\nexit 0\n")
    program.chmod(0o755)
    fd = os.open(program, os.O_WRONLY | os.O_CLOEXEC)
    try:
        assert outcome(program_as, ROOT, program) == "ETXTBSY"
    finally:
        os.close(fd)
    assert program_as(ROOT, program) == 0


# Sockets and FIFOs have names here, and live in the kernel


@pytest.mark.starts_processes
def test_a_socket_is_bound_to_a_name_once(posix_place: Path) -> None:
    def act() -> list[object]:
        os.chdir(posix_place)
        with (
            socket.socket(socket.AF_UNIX) as server,
            socket.socket(socket.AF_UNIX) as second,
            socket.socket(socket.AF_UNIX) as client,
        ):
            server.bind("socket")
            told: list[object] = [
                outcome(second.bind, "socket"),
                outcome(client.connect, "socket"),
            ]
            server.listen()
            told.append(outcome(client.connect, "socket"))
            accepted, _ = server.accept()
            with accepted:
                client.sendall(b"hello")
                told.append(accepted.recv(10))
            os.unlink("socket")
            told.append(outcome(second.connect, "socket"))
        return told

    assert act_as(ROOT, act) == ["EADDRINUSE", "ECONNREFUSED", OK, b"hello", "ENOENT"]


def test_a_fifo_waits_for_nobody_when_asked_not_to(posix_place: Path) -> None:
    fifo = make(posix_place / "fifo", "fifo", 0o666)
    assert outcome(os.open, fifo, os.O_WRONLY | os.O_NONBLOCK) == errno.errorcode[errno.ENXIO]
    reading = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    writing = os.open(fifo, os.O_WRONLY | os.O_NONBLOCK)
    try:
        assert outcome(os.read, reading, 1) == "EAGAIN"
        os.write(writing, b"hello")
        assert os.read(reading, 10) == b"hello"
        assert outcome(os.lseek, reading, 0, os.SEEK_SET) == "ESPIPE"
        assert os.fstat(reading).st_ino == os.stat(fifo).st_ino
    finally:
        os.close(reading)
        os.close(writing)
