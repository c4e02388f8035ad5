"""What is neither a file nor a directory: FIFOs, sockets, devices and symlinks.

A FIFO's or socket's name is shared, what flows through it is not: it lives in
the kernel that opened it. So it joins two processes of the guest, or two of
the host, and never one of each.
"""

import contextlib
import ctypes
import errno
import itertools
import os
import select
import socket
import stat as modes
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.guests import eventually, finish, hear, refused, run, start
from support.live import LiveShare

from osxfs_sim.model.status import ShareStatus

_libc = ctypes.CDLL(None, use_errno=True)
RENAME_NOREPLACE, RENAME_WHITEOUT = 1, 4

PROFILES = {
    "none": {},
    "osxfs": {"latency_ns": 0},
    "osxfs-cached": {"latency_ns": 0},
    "osxfs-negative": {"latency_ns": 0},
}
SIDES = ("guest", "host")
_number = itertools.count()


@dataclass(frozen=True)
class Place:
    """An empty directory in a share, from both of its sides."""

    share: LiveShare
    guest: Path
    source: Path


@pytest.fixture(scope="module", params=PROFILES)
def each_share(request, module_share: Callable[..., LiveShare]) -> LiveShare:
    """Shares of all profiles, one after the other."""
    return module_share(profile=request.param, **PROFILES[request.param])


@pytest.fixture
def place(each_share: LiveShare) -> Iterator[Place]:
    """An empty directory on a share of each profile."""
    name = f"place-{next(_number)}"
    (each_share.guest / name).mkdir()
    yield Place(each_share, each_share.guest / name, each_share.source / name)
    assert not each_share.trouble()
    eventually(lambda: is_at_rest(each_share.status()))


def is_at_rest(status: ShareStatus) -> bool:
    return status.open_handles == status.in_flight == 0


# A share that caches nothing, and one that does.
two_profiles = pytest.mark.parametrize("each_share", ["none", "osxfs-cached"], indirect=True)


def on(place: Place | LiveShare, side: str) -> Path:
    return place.guest if side == "guest" else place.source


def other_than(side: str) -> str:
    return "host" if side == "guest" else "guest"


@contextlib.contextmanager
def descriptor(path: Path, flags: int) -> Iterator[int]:
    fd = os.open(path, flags | os.O_NONBLOCK)
    try:
        yield fd
    finally:
        os.close(fd)


@contextlib.contextmanager
def process(code: str, *arguments: object) -> Iterator["subprocess.Popen[str]"]:
    """A process that has said "ready", and is ended with the block."""
    started = start(code, *arguments)
    try:
        hear(started, "ready")
        yield started
    finally:
        if started.returncode is None:
            started.kill()
            started.communicate()


# FIFOs

_READ = """
import sys
print("ready", flush=True)
with open(sys.argv[1]) as fifo:
    print(fifo.read())
"""
_WRITE = """
import sys
print("ready", flush=True)
with open(sys.argv[1], "w") as fifo:
    fifo.write(sys.argv[2])
print("met")
"""
_BE_INSIDE = """
import os, sys
fd = os.open(sys.argv[1], int(sys.argv[2]) | os.O_NONBLOCK)
print("ready", flush=True)
sys.stdin.readline()
"""


def has_reader(fifo: Path) -> bool:
    """Whether somebody reads where a writer at *fifo* would write."""
    try:
        os.close(os.open(fifo, os.O_WRONLY | os.O_NONBLOCK))
    except OSError as error:
        if error.errno == errno.ENXIO:
            return False
        raise
    return True


def has_writer(fifo: Path) -> bool:
    """Whether somebody writes where a reader at *fifo* would read. Nothing may be in it."""
    with descriptor(fifo, os.O_RDONLY) as fd:
        try:
            assert os.read(fd, 1) == b""
        except BlockingIOError:
            return True
    return False


@two_profiles
@pytest.mark.parametrize("made_by", SIDES)
@pytest.mark.parametrize("side", SIDES)
def test_a_fifo_joins_two_processes_of_one_side(place: Place, side: str, made_by: str) -> None:
    os.mkfifo(on(place, made_by) / "fifo")
    assert modes.S_ISFIFO((place.guest / "fifo").stat().st_mode)
    assert modes.S_ISFIFO((place.source / "fifo").stat().st_mode)
    for words in ("one way", "and once more"):
        with process(_READ, on(place, side) / "fifo") as reader:
            assert run(_WRITE, on(place, side) / "fifo", words) == "ready\nmet\n"
            assert finish(reader) == f"{words}\n"


@two_profiles
@pytest.mark.parametrize("made_by", SIDES)
@pytest.mark.parametrize("side", SIDES)
def test_a_reader_never_meets_a_writer_of_the_other_side(
    place: Place, side: str, made_by: str
) -> None:
    os.mkfifo(on(place, made_by) / "fifo")
    own, others = on(place, side) / "fifo", on(place, other_than(side)) / "fifo"
    assert not has_reader(own)
    with process(_BE_INSIDE, own, os.O_RDONLY) as reader:
        assert has_reader(own), "what has_reader looks for"
        assert not has_reader(others)
        finish(reader, "\n")
    assert not has_reader(own)
    # A reader that waits for a writer is not let go by one of the other side.
    with process(_READ, own) as reader:
        eventually(lambda: has_reader(own))
        # Trying has released it: it met a writer that wrote nothing.
        assert finish(reader) == "\n"
    with process(_READ, own) as reader, process(_BE_INSIDE, others, os.O_RDWR) as non_member:
        with descriptor(others, os.O_WRONLY) as fd:
            os.write(fd, b"not for you")
        assert not select.select([reader.stdout], [], [], 0)[0]
        assert run(_WRITE, own, "for you") == "ready\nmet\n"
        assert finish(reader) == "for you\n"
        finish(non_member, "\n")


@two_profiles
@pytest.mark.parametrize("made_by", SIDES)
@pytest.mark.parametrize("side", SIDES)
def test_a_writer_never_meets_a_reader_of_the_other_side(
    place: Place, side: str, made_by: str
) -> None:
    os.mkfifo(on(place, made_by) / "fifo")
    own, others = on(place, side) / "fifo", on(place, other_than(side)) / "fifo"
    # A writer needs a reader of its own side to get in without waiting.
    with (
        process(_BE_INSIDE, own, os.O_RDONLY) as reader,
        process(_BE_INSIDE, own, os.O_WRONLY) as writer,
    ):
        assert has_writer(own), "what has_writer looks for"
        assert not has_writer(others)
        finish(writer, "\n")
        assert not has_writer(own)
        finish(reader, "\n")
    # A writer that waits for a reader is not let go by one of the other side.
    with process(_WRITE, own, "for my own side") as writer:
        with descriptor(others, os.O_RDONLY) as fd:
            assert os.read(fd, 100) == b""
            assert not select.select([writer.stdout], [], [], 0)[0]
            assert os.read(fd, 100) == b""
        assert run(_READ, own) == "ready\nfor my own side\n"
        assert finish(writer) == "met\n"


@two_profiles
def test_the_same_fifo_is_two_at_once(place: Place) -> None:
    """Both sides fill it: each finds its own, and all of it."""
    os.mkfifo(place.guest / "fifo")
    with contextlib.ExitStack() as stack:
        ends = {
            side: (
                stack.enter_context(descriptor(on(place, side) / "fifo", os.O_RDONLY)),
                stack.enter_context(descriptor(on(place, side) / "fifo", os.O_WRONLY)),
            )
            for side in SIDES
        }
        for side, (_, writing) in ends.items():
            os.write(writing, side.encode())
        for side, (reading, writing) in ends.items():
            polled = select.poll()
            polled.register(reading, select.POLLIN)
            assert polled.poll(0) == [(reading, select.POLLIN)]
            assert os.read(reading, 100) == side.encode()
            assert polled.poll(0) == []
            for _ in range(16):  # a pipe holds 64 KiB: neither takes room from the other
                assert os.write(writing, b"-" * 4_096) == 4_096
            with refused(errno.EAGAIN):
                os.write(writing, b"one too many")


@two_profiles
def test_data_in_a_fifo_never_crosses_the_share(place: Place) -> None:
    os.mkfifo(place.guest / "fifo")
    place.share.reset()
    with process(_READ, place.guest / "fifo") as reader:
        run(_WRITE, place.guest / "fifo", "words" * 1_000)
        assert finish(reader) == "words" * 1_000 + "\n"
    assert not {"OPEN", "READ", "WRITE"} & set(place.share.requests()), place.share.requests()
    (place.guest / "file").write_text("words")
    assert {"CREATE", "WRITE"} <= set(place.share.requests()), "what would have been counted"


@pytest.mark.parametrize("made_by", ["guest", "source"])
@pytest.mark.parametrize("on_disk", [False, True], ids=["memory", "disk"])
def test_a_new_fifo_is_not_the_one_whose_number_it_was_given(
    share, tmp_path: Path, on_disk: bool, made_by: str
) -> None:
    """On a disk the host gives the number of what it removes to the next that is made."""
    live = share(tmp_path if on_disk else None)
    for turn in range(3):
        old, new = f"old-{turn}", f"new-{turn}"
        os.mkfifo(live.guest / old)
        with descriptor(live.guest / old, os.O_RDONLY) as reading:
            assert has_reader(live.guest / old)
            (live.source / old).unlink()
            os.mkfifo(getattr(live, made_by) / new)
            assert not has_reader(live.guest / new)
            with refused(errno.ESTALE):
                os.fchmod(reading, 0o600)
            assert os.stat(live.guest / new).st_nlink == 1
        joins_two_processes(live.guest / new)
    assert live.status().in_flight == 0


def joins_two_processes(fifo: Path) -> None:
    """It joins two processes."""
    with process(_READ, fifo) as reader:
        assert run(_WRITE, fifo, "words") == "ready\nmet\n"
        assert finish(reader) == "words\n"


# Sockets

# Answers every caller with its own name, however many lines they say.
_ANSWER = """
import os, socket, sys, threading
kind, path, name = getattr(socket, sys.argv[1]), sys.argv[2], sys.argv[3]
own = socket.socket(socket.AF_UNIX, kind)
own.bind(path)
def answer(connection):
    with connection:
        while words := connection.recv(100):
            connection.sendall(name.encode() + b": " + words)
def accept():
    while True:
        threading.Thread(target=answer, args=own.accept()[:1], daemon=True).start()
def take():
    while True:
        words, caller = own.recvfrom(100)
        own.sendto(name.encode() + b": " + words, caller)
if kind == socket.SOCK_DGRAM:
    target = take
else:
    own.listen(10)
    target = accept
threading.Thread(target=target, daemon=True).start()
print("ready", flush=True)
sys.stdin.readline()
os._exit(0)
"""
# Datagrams are answered to a name in the abstract space, which no side shares as a file.
_CALL = """
import errno, socket, sys
kind, path = getattr(socket, sys.argv[1]), sys.argv[2]
with socket.socket(socket.AF_UNIX, kind) as own:
    if kind == socket.SOCK_DGRAM:
        own.bind("")
    try:
        own.connect(path)
    except OSError as error:
        print(errno.errorcode[error.errno])
    else:
        own.sendall(b"hello")
        print(own.recv(100).decode())
"""
# Connects, and speaks for each line it is told.
_STAY = """
import socket, sys
with socket.socket(socket.AF_UNIX) as own:
    own.connect(sys.argv[1])
    print("ready", flush=True)
    for line in sys.stdin:
        own.sendall(line.encode())
        print(own.recv(100).decode(), end="", flush=True)
"""
KINDS = ("SOCK_STREAM", "SOCK_DGRAM", "SOCK_SEQPACKET")


def call(path: Path, kind: str = "SOCK_STREAM") -> str:
    """What a process that calls at *path* is answered, or its errno."""
    return run(_CALL, kind, path).strip()


def answering(path: Path, name: str, kind: str = "SOCK_STREAM"):
    """A process that is bound to *path*, and answers with *name*."""
    return process(_ANSWER, kind, path, name)


@two_profiles
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("side", SIDES)
def test_a_socket_joins_processes_of_one_side_only(place: Place, side: str, kind: str) -> None:
    own, others = on(place, side) / "socket", on(place, other_than(side)) / "socket"
    assert call(own, kind) == "ENOENT"
    with answering(own, "bound here", kind) as bound:
        assert modes.S_ISSOCK(own.stat().st_mode)
        assert modes.S_ISSOCK(others.stat().st_mode)
        assert call(own, kind) == "bound here: hello"
        assert call(others, kind) == "ECONNREFUSED"
        assert call(own, kind) == "bound here: hello", "the stranger changed nothing"
        with socket.socket(socket.AF_UNIX, getattr(socket, kind)) as second:
            for path in (own, others):
                with refused(errno.EADDRINUSE):
                    second.bind(str(path))
        finish(bound, "\n")
    # What is left of a socket nobody is bound to is a name, for both.
    assert {call(own, kind), call(others, kind)} == {"ECONNREFUSED"}
    os.unlink(others)
    with answering(others, "now there", kind):
        assert call(others, kind) == "now there: hello"


@two_profiles
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("side", SIDES)
def test_a_bound_socket_answers_under_each_of_its_names(place: Place, side: str, kind: str) -> None:
    own = on(place, side)
    (own / "directory").mkdir()
    with answering(own / "socket", "bound", kind):
        os.link(own / "socket", own / "directory" / "link")
        os.symlink("directory/link", own / "symlink")
        assert (on(place, other_than(side)) / "socket").stat().st_nlink == 2
        for name in ("socket", "directory/link", "symlink"):
            assert call(own / name, kind) == "bound: hello"
        os.unlink(own / "socket")
        assert call(own / "socket", kind) == "ENOENT"
        assert call(own / "directory" / "link", kind) == "bound: hello"


@two_profiles
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("side", SIDES)
def test_a_socket_renamed_while_bound_answers_under_its_new_name(
    place: Place, side: str, kind: str
) -> None:
    own = on(place, side)
    (own / "directory").mkdir()
    with answering(own / "socket", "bound", kind):
        os.rename(own / "socket", own / "directory" / "moved")
        assert call(own / "socket", kind) == "ENOENT"
        assert call(own / "directory" / "moved", kind) == "bound: hello"
        os.rename(own / "directory", own / "elsewhere")
        assert call(own / "elsewhere" / "moved", kind) == "bound: hello"
        # Replaced by another that is bound, it is no longer reached at all.
        with answering(own / "second", "second", kind):
            os.rename(own / "second", own / "elsewhere" / "moved")
            assert call(own / "elsewhere" / "moved", kind) == "second: hello"


@pytest.mark.parametrize("kind", KINDS)
def test_a_socket_of_the_guest_that_the_host_renames_answers_under_its_new_name(
    share, kind: str
) -> None:
    live = share()
    with answering(live.guest / "socket", "bound", kind):
        (live.source / "socket").rename(live.source / "moved")
        assert call(live.guest / "socket", kind) == "ENOENT"
        assert call(live.guest / "moved", kind) == "bound: hello"
        assert call(live.source / "moved", kind) == "ECONNREFUSED"


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("unlinked_by", SIDES)
@pytest.mark.parametrize("on_disk", [False, True], ids=["memory", "disk"])
def test_who_is_connected_stays_so_when_the_socket_s_name_is_removed(
    share, tmp_path: Path, side: str, unlinked_by: str, on_disk: bool
) -> None:
    """On a disk the host gives the number of the removed name to the next at once."""
    live = share(tmp_path if on_disk else None)
    own = on(live, side) / "socket"
    with contextlib.ExitStack() as stack:
        stack.enter_context(answering(own, "first"))
        caller = stack.enter_context(process(_STAY, own))
        say(caller, "one", "first: one")
        os.unlink(on(live, unlinked_by) / "socket")
        assert call(own) == "ENOENT"
        say(caller, "two", "first: two")
        stack.enter_context(answering(own, "second"))
        assert call(own) == "second: hello"
        say(caller, "three", "first: three")
        finish(caller)


def say(caller: "subprocess.Popen[str]", words: str, answer: str) -> None:
    assert caller.stdin is not None
    caller.stdin.write(words + "\n")
    caller.stdin.flush()
    hear(caller, answer)


# Names of all kinds


def make(kind: str, path: Path) -> None:
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "socket":
        with socket.socket(socket.AF_UNIX) as unbound_soon:
            unbound_soon.bind(str(path))
    else:
        os.symlink("nowhere", path)


IS_KIND = {"fifo": modes.S_ISFIFO, "socket": modes.S_ISSOCK, "symlink": modes.S_ISLNK}


@two_profiles
@pytest.mark.parametrize("kind", IS_KIND)
@pytest.mark.parametrize("made_by", SIDES)
@pytest.mark.parametrize("linked_by", SIDES)
def test_whatever_it_is_it_can_have_several_names(
    place: Place, kind: str, made_by: str, linked_by: str
) -> None:
    make(kind, on(place, made_by) / "first")
    (place.source / "directory").mkdir()
    linker = on(place, linked_by)
    os.link(linker / "first", linker / "directory" / "second", follow_symlinks=False)
    for side in SIDES:
        first = os.lstat(on(place, side) / "first")
        second = os.lstat(on(place, side) / "directory" / "second")
        assert os.path.samestat(first, second)
        assert IS_KIND[kind](first.st_mode), oct(first.st_mode)
        # A guest that has cached what it was sent may not have heard of the second name.
        if side == linked_by or place.share.status().profile == "none":
            assert first.st_nlink == second.st_nlink == 2
    assert sum(check(first.st_mode) for check in IS_KIND.values()) == 1
    os.unlink(place.guest / "first")
    os.rename(place.guest / "directory" / "second", place.guest / "third")
    assert os.listdir(place.source / "directory") == []
    last = os.lstat(place.source / "third")
    assert IS_KIND[kind](last.st_mode)
    assert last.st_nlink == 1
    assert not os.path.lexists(place.source / "first")
    if kind == "symlink":
        assert os.readlink(place.guest / "third") == "nowhere"


@two_profiles
@pytest.mark.parametrize("side", SIDES)
def test_a_fifo_is_one_under_all_its_names(place: Place, side: str) -> None:
    own = on(place, side)
    os.mkfifo(own / "first")
    os.link(own / "first", own / "second")
    with process(_READ, own / "first") as reader:
        assert run(_WRITE, own / "second", "by the other name") == "ready\nmet\n"
        assert finish(reader) == "by the other name\n"
    # A name that is taken away while it is in use takes nothing away from who uses it.
    with process(_BE_INSIDE, own / "first", os.O_RDONLY) as reader:
        os.unlink(own / "first")
        assert has_reader(own / "second")
        os.rename(own / "second", own / "third")
        assert has_reader(own / "third")
        os.mkfifo(own / "first")
        assert not has_reader(own / "first"), "a new one of the old name"
        finish(reader, "\n")
    assert not has_reader(own / "third")


# Devices

DEVICES = {
    "character": (modes.S_IFCHR | 0o666, os.makedev(1, 3)),  # as /dev/null
    "block": (modes.S_IFBLK | 0o666, os.makedev(7, 0)),  # as /dev/loop0
}
need_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can make devices at all")


@pytest.mark.parametrize("kind", DEVICES)
def test_no_device_can_be_made(place: Place, kind: str) -> None:
    (place.source / "directory").mkdir()
    place.share.reset()
    mode, numbers = DEVICES[kind]
    for path in ("device", "directory/device"):
        for device in (numbers, 0):
            with refused(errno.EPERM):
                os.mknod(place.guest / path, mode, device)
            with refused(errno.ENOENT):
                os.lstat(place.guest / path)
    assert os.listdir(place.source) == os.listdir(place.guest) == ["directory"]
    assert os.listdir(place.source / "directory") == []
    assert place.share.requests()["MKNOD"] == 4, "the share was asked, and refused"
    os.mknod(place.guest / "device", modes.S_IFREG | 0o600)
    assert os.listdir(place.source / "directory") == []


@need_root
@pytest.mark.parametrize("kind", DEVICES)
def test_a_device_of_the_host_is_seen_and_never_opened(place: Place, kind: str) -> None:
    mode, numbers = DEVICES[kind]
    os.mknod(place.source / "device", mode, numbers)
    os.chmod(place.source / "device", 0o666)
    place.share.reset()
    seen = (place.guest / "device").stat()
    assert modes.S_IFMT(seen.st_mode) == modes.S_IFMT(mode)
    assert seen.st_rdev == numbers
    assert os.listdir(place.guest) == ["device"]
    for flags in (os.O_RDONLY, os.O_WRONLY, os.O_RDWR, os.O_RDONLY | os.O_NONBLOCK):
        with refused(errno.EACCES):
            os.open(place.guest / "device", flags)
    for flags in (os.O_CREAT | os.O_WRONLY, os.O_TRUNC | os.O_WRONLY):
        with refused(errno.EACCES):
            os.open(place.guest / "device", flags)
    with refused(errno.EINVAL):
        os.truncate(place.guest / "device", 0)
    # Nor by another name, nor by a descriptor of its path.
    os.link(place.guest / "device", place.guest / "link")
    os.symlink("device", place.guest / "symlink")
    by_path = os.open(place.guest / "device", os.O_PATH)
    try:
        for path in (place.guest / "link", place.guest / "symlink", f"/proc/self/fd/{by_path}"):
            with refused(errno.EACCES):
                os.open(path, os.O_RDWR)
    finally:
        os.close(by_path)
    assert not {"OPEN", "READ", "WRITE"} & set(place.share.requests()), place.share.requests()
    assert os.statvfs(place.guest).f_flag & os.ST_NODEV
    assert os.statvfs(place.guest).f_flag & os.ST_NOSUID


@need_root
def test_a_device_of_the_host_can_be_renamed_and_removed(place: Place) -> None:
    mode, numbers = DEVICES["character"]
    os.mknod(place.source / "device", mode, numbers)
    os.chmod(place.guest / "device", 0o600)
    os.rename(place.guest / "device", place.guest / "moved")
    status = (place.source / "moved").stat()
    assert (status.st_mode, status.st_rdev) == (modes.S_IFCHR | 0o600, numbers)
    os.unlink(place.guest / "moved")
    assert os.listdir(place.source) == []


@pytest.mark.parametrize("flags", [RENAME_WHITEOUT, RENAME_WHITEOUT | RENAME_NOREPLACE])
@pytest.mark.parametrize("replacing", [False, True])
def test_a_rename_leaves_no_whiteout(place: Place, flags: int, replacing: bool) -> None:
    """RENAME_WHITEOUT leaves a device in the place of what it moves (renameat2(2))."""
    (place.guest / "from").write_text("content")
    if replacing:
        (place.guest / "to").write_text("old")
    names = sorted(os.listdir(place.source))
    paths = (os.fsencode(place.guest / name) for name in ("from", "to"))
    result = _libc.renameat2(-100, next(paths), -100, next(paths), ctypes.c_uint(flags))
    assert result == -1
    expected = errno.EEXIST if replacing and flags & RENAME_NOREPLACE else errno.EINVAL
    assert errno.errorcode[ctypes.get_errno()] == errno.errorcode[expected]
    assert sorted(os.listdir(place.source)) == sorted(os.listdir(place.guest)) == names
    assert (place.source / "from").read_text() == (place.guest / "from").read_text() == "content"
    assert all(modes.S_ISREG((place.source / name).stat().st_mode) for name in names)
    os.rename(place.guest / "from", place.guest / "to")
    assert (place.source / "to").read_text() == "content"
