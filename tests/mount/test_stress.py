"""A share under strain: killed, full, read-only, without its source, and with very many names."""

import collections
import contextlib
import errno
import mmap
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest
from support.guests import eventually, finish, hear, refused, run, start
from support.live import LiveShare, is_mounted

need_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts a tmpfs")

CONSISTENT = {"profile": "none"}
OSXFS = {"profile": "osxfs", "latency_ns": 0}
CACHED = {"profile": "osxfs-cached", "latency_ns": 0}


# The server is killed

WRITERS = 10

# Even ones append, odd ones write through the guest's page cache.
_WRITE_LINES = """
import os, sys
path, number, acknowledging = sys.argv[1], int(sys.argv[2]), sys.argv[3]
pipe = os.open(acknowledging, os.O_WRONLY)
print("ready", flush=True)
sys.stdin.readline()
fd = os.open(path, os.O_CREAT | os.O_WRONLY | (0 if number % 2 else os.O_APPEND))
turn = 0
try:
    while True:
        line = b"%d: %d %s\\n" % (number, turn, b"-" * (turn * 7 % 500))
        while line:  # over the end of a page it may be two requests: killed between them
            line = line[os.write(fd, line):]
        os.fsync(fd)
        os.write(pipe, b"%d %d\\n" % (number, turn))
        turn += 1
except OSError as error:
    print(error.errno, flush=True)
os._exit(0)  # close(2) would fail
"""


def lines_of(number: int, count: int) -> bytes:
    """The first *count* lines that writer *number* writes."""
    return b"".join(
        b"%d: %d %s\n" % (number, turn, b"-" * (turn * 7 % 500)) for turn in range(count)
    )


def lost(acknowledged: dict[int, int], contents: dict[int, bytes]) -> list[str]:
    """What was acknowledged, as a count of lines by writer, and is not in *contents*."""
    complaints = []
    for number, count in acknowledged.items():
        content = contents.get(number, b"")
        wanted = lines_of(number, count)
        if not content.startswith(wanted):
            whole = 0
            while content.startswith(lines_of(number, whole + 1)):
                whole += 1
            complaints.append(f"writer {number}: line {whole} of {count} is not there")
        elif not lines_of(number, count + 1).startswith(content):
            # One more may have been on its way, and no more than that.
            complaints.append(f"writer {number}: what nobody wrote is there")
    return complaints


def test_what_is_lost_is_noticed() -> None:
    whole = {0: lines_of(0, 5), 1: lines_of(1, 70)}
    assert lost({0: 5, 1: 70}, whole) == []
    assert lost({0: 4, 1: 70}, whole) == [], "one more than acknowledged"
    assert lost({0: 5}, {0: lines_of(0, 6)[:-1]}) == [], "a part of the next"
    assert lost({}, {}) == []
    assert lost({0: 6, 1: 70}, whole) == ["writer 0: line 5 of 6 is not there"]
    assert lost({0: 5, 1: 70}, {0: whole[0]}) == ["writer 1: line 0 of 70 is not there"]
    assert lost({0: 5}, {0: whole[0][:-1]}) == ["writer 0: line 4 of 5 is not there"]
    for changed in (
        whole[1].replace(b"1: 30 ", b"1: 31 "),
        whole[1].replace(lines_of(1, 31)[len(lines_of(1, 30)) :], b""),
    ):
        assert lost({1: 70}, {1: changed}) == ["writer 1: line 30 of 70 is not there"]
    for too_much in (lines_of(0, 7), whole[0] + b"\0" * 10, whole[0] * 2):
        assert lost({0: 5}, {0: too_much}) == ["writer 0: what nobody wrote is there"]


def acknowledgements(pipe: int, at_least: int, then: Callable[[], object]) -> dict[int, int]:
    """Count lines by writer as they are acknowledged; after *at_least* from each do *then*."""
    counts: dict[int, int] = collections.Counter()
    rest, done = b"", False
    while words := os.read(pipe, 65_536):
        *lines, rest = (rest + words).split(b"\n")
        for line in lines:
            number, turn = map(int, line.split())
            assert counts[number] == turn, "fsync answers in order"
            counts[number] += 1
        if not done and len(counts) == WRITERS and min(counts.values()) >= at_least:
            done = True
            then()
    assert not rest
    assert done, counts
    return dict(counts)


@pytest.mark.parametrize("settings", [CONSISTENT, OSXFS, CACHED], ids=lambda s: s["profile"])
@pytest.mark.parametrize(
    "at_least", [pytest.param(20, id="soon"), pytest.param(400, id="late", marks=pytest.mark.slow)]
)
def test_a_killed_server_has_lost_nothing_it_acknowledged(
    share, field: Path, settings: dict, at_least: int
) -> None:
    live = share(**settings)
    os.mkfifo(field / "acknowledged")
    pipe = os.open(field / "acknowledged", os.O_RDONLY | os.O_NONBLOCK)
    writers = []
    try:
        for number in range(WRITERS):
            writers.append(
                start(_WRITE_LINES, live.guest / f"log-{number}", number, field / "acknowledged")
            )
        for writer in writers:
            hear(writer, "ready")
        os.set_blocking(pipe, True)  # all have it open: its end is theirs
        for writer in writers:
            assert writer.stdin is not None
            writer.stdin.write("go\n")
            writer.stdin.flush()
        acknowledged = acknowledgements(pipe, at_least, live.kill)
        for writer in writers:
            said = int(finish(writer))
            assert said in (errno.ENOTCONN, errno.ECONNABORTED), errno.errorcode[said]
    finally:
        os.close(pipe)
        for writer in writers:
            if writer.returncode is None:
                writer.kill()
                writer.communicate()
    contents = {n: (live.source / f"log-{n}").read_bytes() for n in range(WRITERS)}
    assert lost(acknowledged, contents) == []
    assert lost({**acknowledged, 0: acknowledged[0] + 2}, contents), "it would have been noticed"
    # The same source, shared anew, has it all.
    again = share(live.source)
    seen = {n: (again.guest / f"log-{n}").read_bytes() for n in range(WRITERS)}
    assert seen == contents


# The host is full, or may only be read


@pytest.fixture
def small_host(field: Path) -> Iterator[Path]:
    """A small file system on the host, of its own.

    Named before ``share`` in a test's arguments it outlasts the share. If that
    goes wrong, the lazy unmount takes it out of the tree all the same.
    """
    host = field / "small"
    host.mkdir()
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m,nr_inodes=200,mode=755", "none", host], check=True
    )
    try:
        yield host
    finally:
        subprocess.run(["umount", "--lazy", host], check=True)
        assert not is_mounted(host)


def fill(fd: int, block: bytes) -> int:
    """Write until it is refused, and return how many bytes were acknowledged."""
    acknowledged = 0
    with refused(errno.ENOSPC):
        while True:
            acknowledged += os.write(fd, block)
    return acknowledged


def server_descriptors(live: LiveShare) -> int:
    """What the server has open. One or two come and go: a connection, the processors' awakener."""
    return len(os.listdir(f"/proc/{live.pid}/fd"))


def is_at_rest(live: LiveShare) -> bool:
    status = live.status()
    return status.open_handles == status.in_flight == 0


@need_root
@pytest.mark.parametrize(
    ("settings", "flags"),
    [(CONSISTENT, 0), (CONSISTENT, os.O_APPEND), (CONSISTENT, os.O_SYNC), (CACHED, 0)],
    ids=["plain", "append", "sync", "cached"],
)
def test_a_full_host_is_told_and_loses_nothing(
    small_host: Path, share, settings: dict, flags: int
) -> None:
    live = share(small_host, **settings)
    (live.guest / "before").write_text("before")
    held = server_descriptors(live)
    block = bytes(range(256)) * 70  # no whole number of pages
    for _ in range(3):
        fd = os.open(live.guest / "large", os.O_CREAT | os.O_WRONLY | flags)
        try:
            acknowledged = fill(fd, block)
            assert 500_000 < acknowledged <= 1_048_576
            with refused(errno.ENOSPC):
                (live.guest / "small").write_bytes(b"-" * 10_000)
            with refused(errno.ENOSPC):
                os.pwrite(fd, block, 2_000_000)
            os.fsync(fd)
        finally:
            os.close(fd)
        content = (small_host / "large").read_bytes()[:acknowledged]
        assert content == (block * (acknowledged // len(block) + 1))[:acknowledged]
        assert (live.guest / "large").read_bytes()[:acknowledged] == content
        assert (live.guest / "before").read_text() == "before"
        # Room again: by less content, then by fewer files.
        os.truncate(live.guest / "large", 1_000)
        (live.guest / "small").write_bytes(b"-" * 10_000)
        assert (small_host / "small").read_bytes() == b"-" * 10_000
        for name in ("large", "small"):
            os.unlink(live.guest / name)
        assert os.listdir(small_host) == ["before"]
    eventually(lambda: is_at_rest(live) and server_descriptors(live) <= held + 2)


@need_root
@pytest.mark.parametrize("settings", [CONSISTENT, CACHED], ids=lambda s: s["profile"])
def test_a_host_without_room_for_names_is_told(small_host: Path, share, settings: dict) -> None:
    live = share(small_host, **settings)
    (live.guest / "directory").mkdir()
    new = live.guest / "new"
    held = server_descriptors(live)
    for _ in range(3):
        made = []
        with refused(errno.ENOSPC):
            for number in range(1_000):
                path = live.guest / "directory" / f"file-{number}"
                os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY))
                made.append(path.name)
        assert 100 < len(made) < 200
        for making in (
            new.mkdir,
            lambda: os.mkfifo(new),
            lambda: os.symlink("x" * 200, new),
            lambda: os.link(live.guest / "directory" / "file-0", new),
            lambda: os.open(new, os.O_CREAT | os.O_RDWR | os.O_TRUNC),
        ):
            with refused(errno.ENOSPC):
                making()
            assert not os.path.lexists(new)
        # What is there can be worked with.
        first = live.guest / "directory" / made[0]
        first.write_text("content")
        first.rename(live.guest / "moved")
        assert sorted(os.listdir(small_host / "directory")) == sorted(made[1:])
        assert sorted(os.listdir(live.guest / "directory")) == sorted(made[1:])
        for name in made[1:]:
            os.unlink(live.guest / "directory" / name)
        new.mkdir()
        new.rmdir()
        assert (small_host / "moved").read_text() == "content"
        os.unlink(live.guest / "moved")
        assert os.listdir(live.guest) == ["directory"]
    eventually(lambda: is_at_rest(live) and server_descriptors(live) <= held + 2)
    assert live.status().descriptors <= 1


@need_root
def test_a_mapping_that_a_full_host_cannot_take_is_told(small_host: Path, share) -> None:
    """Its pages are written out later than they are changed: msync(2) tells what came of it."""
    live = share(small_host)
    fd = os.open(live.guest / "file", os.O_CREAT | os.O_RDWR)
    os.ftruncate(fd, 3_000_000)
    with mmap.mmap(fd, 3_000_000) as mapping:
        mapping[:4_096] = b"a" * 4_096
        mapping.flush()
        for page in range(mmap.PAGESIZE, 3_000_000, mmap.PAGESIZE):
            mapping[page] = 1
        with refused(errno.ENOSPC):
            mapping.flush()
    with contextlib.suppress(OSError):
        os.close(fd)
    assert (small_host / "file").read_bytes()[:4_096] == b"a" * 4_096
    os.unlink(live.guest / "file")
    # The kernel sends RELEASE in the background; the room is free only then.
    eventually(lambda: live.status().open_handles == 0)
    (live.guest / "file").write_text("content")
    assert (small_host / "file").read_text() == "content"
    eventually(lambda: is_at_rest(live))


def remount(host: Path, how: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{how}", host], check=True)


@need_root
@pytest.mark.parametrize("settings", [CONSISTENT, CACHED], ids=lambda s: s["profile"])
def test_a_host_that_may_only_be_read_says_so_to_every_change(
    small_host: Path, share, settings: dict
) -> None:
    live = share(small_host, **settings)
    guest = live.guest
    (guest / "directory").mkdir()
    (guest / "empty").mkdir()
    (guest / "file").write_text("content")
    os.symlink("file", guest / "symlink")

    def open_and_close(name: str, flags: int) -> None:
        os.close(os.open(guest / name, flags))

    changes: dict[str, Callable[[], object]] = {
        "create": lambda: open_and_close("new", os.O_CREAT | os.O_WRONLY),
        "create alone": lambda: open_and_close("new", os.O_CREAT | os.O_EXCL | os.O_WRONLY),
        "write": lambda: open_and_close("file", os.O_WRONLY),
        "write and read": lambda: open_and_close("file", os.O_RDWR),
        "append": lambda: open_and_close("file", os.O_WRONLY | os.O_APPEND),
        "empty": lambda: open_and_close("file", os.O_WRONLY | os.O_TRUNC),
        "shorten": lambda: os.truncate(guest / "file", 1),
        "mkdir": lambda: os.mkdir(guest / "new"),
        "mkfifo": lambda: os.mkfifo(guest / "new"),
        "symlink": lambda: os.symlink("file", guest / "new"),
        "link": lambda: os.link(guest / "file", guest / "new"),
        "rename": lambda: os.rename(guest / "file", guest / "new"),
        "rename over": lambda: os.rename(guest / "file", guest / "symlink"),
        "rename directory": lambda: os.rename(guest / "empty", guest / "directory" / "new"),
        "unlink": lambda: os.unlink(guest / "file"),
        "unlink symlink": lambda: os.unlink(guest / "symlink"),
        "rmdir": lambda: os.rmdir(guest / "empty"),
        "chmod": lambda: os.chmod(guest / "file", 0o600),
        "chmod directory": lambda: os.chmod(guest / "directory", 0o700),
        "chown": lambda: os.chown(guest / "file", 1, 1),
        "chown symlink": lambda: os.chown(guest / "symlink", 1, 1, follow_symlinks=False),
        "times": lambda: os.utime(guest / "file", ns=(1, 2)),
        "times of symlink": lambda: os.utime(guest / "symlink", ns=(1, 2), follow_symlinks=False),
    }

    def picture() -> list[tuple[str, int, int, int]]:
        found = []
        for path in sorted(small_host.rglob("*")):
            status = path.lstat()
            found.append((path.name, status.st_mode, status.st_uid, status.st_mtime_ns))
        return found

    before = picture()
    held = server_descriptors(live)
    remount(small_host, "ro")
    try:
        for what, change in changes.items():
            with pytest.raises(OSError) as caught:  # noqa: PT011 (the errno is checked below)
                change()
            assert (what, errno.errorcode[caught.value.errno]) == (what, "EROFS")
        assert (guest / "file").read_text() == "content"
        assert (guest / "symlink").read_text() == "content"
        assert os.readlink(guest / "symlink") == "file"
        assert sorted(os.listdir(guest)) == ["directory", "empty", "file", "symlink"]
        assert (guest / "file").stat().st_size == 7
        assert not os.path.lexists(guest / "new")
        assert picture() == before
    finally:
        remount(small_host, "rw")
    (guest / "file").write_text("changed")
    (guest / "new").mkdir()
    os.rename(guest / "new", guest / "directory" / "new")
    os.unlink(guest / "symlink")
    assert (small_host / "file").read_text() == "changed"
    assert (small_host / "directory" / "new").is_dir()
    assert picture() != before
    eventually(lambda: is_at_rest(live) and server_descriptors(live) <= held + 2)


# The source, or the ground under somebody's feet, is taken away


@pytest.mark.parametrize("settings", [CONSISTENT, CACHED], ids=lambda s: s["profile"])
def test_a_source_that_is_removed_and_replaced_stays_removed(share, settings: dict) -> None:
    """The directory is shared, not its name: what takes its place is another."""
    live = share(**settings)
    (live.source / "directory").mkdir()
    (live.source / "file").write_text("content")
    (live.guest / "file").read_text()
    shutil.rmtree(live.source)
    live.source.mkdir()
    (live.source / "file").write_text("not shared")
    (live.source / "directory").mkdir()
    (live.source / "directory" / "new").touch()
    assert os.listdir(live.guest) == []
    assert live.guest.stat().st_nlink == 0
    for change in (
        lambda: os.mkdir(live.guest / "made"),
        lambda: os.open(live.guest / "made", os.O_CREAT | os.O_WRONLY),
        lambda: os.symlink("x", live.guest / "made"),
        lambda: os.mkfifo(live.guest / "made"),
        lambda: os.unlink(live.guest / "other"),
        lambda: os.stat(live.guest / "directory" / "new"),
    ):
        with refused_as_gone():
            change()
    if settings is CONSISTENT:
        with refused(errno.ENOENT):
            os.stat(live.guest / "file")
    with refused_as_gone():
        (live.guest / "file").read_text()
    os.statvfs(live.guest)
    assert sorted(os.listdir(live.source)) == ["directory", "file"]
    assert (live.source / "file").read_text() == "not shared"
    assert live.status().in_flight == 0
    live.unmount()
    assert live.wait_for_end() == 0


@contextlib.contextmanager
def refused_as_gone() -> Iterator[None]:
    """The block must fail because what it works on is no longer there."""
    with pytest.raises(OSError) as caught:  # noqa: PT011 (the errno is checked below)
        yield
    assert errno.errorcode[caught.value.errno] in ("ENOENT", "ESTALE")


def test_only_what_is_gone_is_taken_for_gone() -> None:
    with refused_as_gone():
        raise FileNotFoundError(errno.ENOENT, "gone")
    with pytest.raises(AssertionError), refused_as_gone():
        raise PermissionError(errno.EACCES, "there")
    with pytest.raises(pytest.fail.Exception), refused_as_gone():
        pass


# Says what comes of everything one may do where one is.
_STAY_INSIDE = """
import errno, os, sys
os.stat(".")
fd = os.open(".", os.O_RDONLY | os.O_DIRECTORY)
print("ready", flush=True)
sys.stdin.readline()
def attempt(name, call):
    try:
        answer = call()
    except OSError as error:
        answer = errno.errorcode[error.errno]
    print(name, answer)
attempt("create", lambda: os.open("made", os.O_CREAT | os.O_WRONLY))
attempt("mkdir", lambda: os.mkdir("made"))
attempt("symlink", lambda: os.symlink("x", "made"))
attempt("mkfifo", lambda: os.mkfifo("made"))
attempt("rename", lambda: os.rename("file", "made"))
attempt("link", lambda: os.link("file", "made"))
attempt("unlink", lambda: os.unlink("file"))
attempt("open", lambda: os.open("file", os.O_RDONLY))
attempt("stat-new", lambda: os.stat("new"))
attempt("open-new", lambda: os.open("new", os.O_RDONLY))
attempt("list", lambda: os.listdir(".") or "nothing")
attempt("list-open", lambda: os.listdir(fd) or "nothing")
attempt("sync", lambda: os.fsync(fd) or "synced")
"""
_GONE = {"ENOENT", "ESTALE"}


@pytest.mark.parametrize("settings", [CONSISTENT, CACHED], ids=lambda s: s["profile"])
@pytest.mark.parametrize("instead", ["nothing", "directory", "file"])
def test_who_is_in_a_directory_that_the_host_removes_finds_nothing_and_makes_nothing(
    share, settings: dict, instead: str
) -> None:
    live = share(**settings)
    (live.source / "above" / "here").mkdir(parents=True)
    (live.source / "above" / "here" / "file").write_text("content")
    inside = start(_STAY_INSIDE, cwd=live.guest / "above" / "here")
    try:
        hear(inside, "ready")
        shutil.rmtree(live.source / "above" / "here")
        if instead == "directory":
            (live.source / "above" / "here").mkdir()
            (live.source / "above" / "here" / "new").write_text("another's")
        elif instead == "file":
            (live.source / "above" / "here").write_text("another's")
        answers = dict(line.split(" ", 1) for line in finish(inside, "go\n").splitlines())
    finally:
        if inside.returncode is None:
            inside.kill()
            inside.communicate()
    assert len(answers) == 13
    for name in ("list", "list-open"):
        assert answers.pop(name) in {"nothing", *_GONE}
    assert answers.pop("sync") in {"synced", *_GONE}
    assert set(answers.values()) <= _GONE, answers
    if instead == "directory":
        assert os.listdir(live.source / "above" / "here") == ["new"]
        assert (live.source / "above" / "here" / "new").read_text() == "another's"
    eventually(lambda: is_at_rest(live))
    live.unmount()
    assert live.wait_for_end() == 0


# Very many names

_STAT_EACH = """
import os, sys
directory, first, last = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
print(sum(os.stat(f"{directory}/d{n % 1_500}/f{n}").st_size == n for n in range(first, last)))
"""


@need_root
@pytest.mark.parametrize("count", [6_000, pytest.param(60_000, marks=pytest.mark.slow)])
def test_very_many_files_are_remembered_and_forgotten(share, count: int) -> None:
    """By three processes at once, in more directories than the server holds descriptors for."""
    live = share(**CACHED)
    for number in range(1_500):
        (live.source / f"d{number}").mkdir()
    for number in range(count):
        with open(live.source / f"d{number % 1_500}" / f"f{number}", "wb") as file:
            file.truncate(number)
    live.settle()
    third = count // 3
    held = []
    lookers = [
        start(_STAT_EACH, live.guest, first, first + third) for first in range(0, count, third)
    ]
    for looker in lookers:
        while looker.poll() is None:
            held.append(server_descriptors(live))
        assert finish(looker) == f"{third}\n"
    held.append(server_descriptors(live))
    assert max(held) < 1_300
    status = live.status()
    assert count + 1_500 <= status.inodes <= count + 1_501
    assert status.descriptors <= 1_024
    live.reset()
    assert run(_STAT_EACH, live.guest, 0, third) == f"{third}\n"
    if third <= 20_000:
        assert sum(live.requests().values()) < 10, "the guest's kernel remembers"

    def forgotten() -> bool:
        live.drop_dentries()
        return live.status().inodes < 100

    eventually(forgotten)
    assert live.requests()["FORGET"] >= count
    assert live.status().descriptors < 100
    assert run(_STAT_EACH, live.guest, 0, 100) == "100\n"


# Makes and removes names until told to stop; some of them have many letters.
_CHURN = """
import os, select, sys
directory, side = sys.argv[1:]
def name(turn):
    return f"{directory}/{side}-{turn}-" + "n" * (turn * 13 % 150)
turn = 0
while not select.select([sys.stdin], [], [], 0)[0]:
    os.close(os.open(name(turn), os.O_CREAT | os.O_EXCL | os.O_WRONLY))
    if turn >= 5:
        os.unlink(name(turn - 5))
    turn += 1
    if turn == 1:
        print("ready", flush=True)  # and at it: on one processor it may not get another turn
for left in range(max(0, turn - 5), turn):
    os.unlink(name(left))
print(turn)
"""


def wrong_in(listing: Iterable[str], throughout: int) -> list[str]:
    """What a listing lacks or has too often of the names that stay, or has that nobody made."""
    counts = collections.Counter(listing)
    complaints = [
        f"stays-{number}: {counts[f'stays-{number}']} times"
        for number in range(throughout)
        if counts[f"stays-{number}"] != 1
    ]
    for name, count in counts.items():
        if not re.fullmatch(r"stays-\d+|(guest|host)-\d+-n*", name):
            complaints.append(f"{name}: nobody made it")
        elif count != 1 and not name.startswith("stays-"):
            complaints.append(f"{name}: {count} times")
    return complaints


def test_a_wrong_listing_is_noticed() -> None:
    right = [f"stays-{number}" for number in range(5)]
    assert wrong_in(right, 5) == []
    assert wrong_in([*right, "guest-17-", "host-3-nnn"], 5) == []
    assert wrong_in(right[1:], 5) == ["stays-0: 0 times"]
    assert wrong_in([*right, "stays-3"], 5) == ["stays-3: 2 times"]
    assert wrong_in([*right, "guest-1-n", "guest-1-n"], 5) == ["guest-1-n: 2 times"]
    assert wrong_in([*right, "stray"], 5) == ["stray: nobody made it"]
    assert wrong_in([*right, "."], 5) == [".: nobody made it"]


@pytest.mark.parametrize("settings", [CONSISTENT, CACHED], ids=lambda s: s["profile"])
@pytest.mark.parametrize("count", [3_000, pytest.param(100_000, marks=pytest.mark.slow)])
def test_a_large_directory_is_listed_whole_while_others_change_it(
    share, settings: dict, count: int
) -> None:
    live = share(**settings)
    large = live.source / "large"
    large.mkdir()
    for number in range(count):
        os.mknod(large / f"stays-{number}")
    changers = {
        side: start(_CHURN, directory / "large", side)
        for side, directory in (("guest", live.guest), ("host", live.source))
    }
    listings = []
    try:
        for changer in changers.values():
            hear(changer, "ready")
        strange = 0
        while len(listings) < 4 or (not strange and len(listings) < 50):
            listings.append(os.listdir(live.guest / "large"))
            strange += sum(not name.startswith("stays-") for name in listings[-1])
        turns = {side: int(finish(changer, "stop\n")) for side, changer in changers.items()}
    finally:
        for changer in changers.values():
            if changer.returncode is None:
                changer.kill()
                changer.communicate()
    for listing in listings:
        assert wrong_in(listing, count) == []
    assert strange, "names came and went while it was listed"
    assert min(turns.values()) > 0, turns
    # The server is well: it has let go of everything, and tells what is there now.
    assert wrong_in(os.listdir(live.guest / "large"), count) == []
    assert len(os.listdir(live.guest / "large")) == count
    eventually(lambda: is_at_rest(live))
    assert live.status().descriptors <= 2
    (live.guest / "large" / "guest-0-").touch()
    assert (large / "guest-0-").exists()
