"""Nothing outside the exported tree can be reached, whatever the host does meanwhile.

The races run for a bounded number of rounds against a host process that swaps
what lies under a name. A round may end in any errno; it may never read, list,
change or open anything outside.
"""

import ast
import collections
import contextlib
import ctypes
import errno
import os
import shutil
import stat as modes
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.guests import eventually, finish, hear, refused, run, start
from support.live import LiveShare

ROUNDS = 1_500
CONSISTENT = {"profile": "none"}
# Long enough to be cached in the next call, short enough that both kinds are met.
CACHED = {"profile": "osxfs-cached", "latency_ns": 0, "cache_timeout_ns": 1_000_000}
SECRET = "kept outside"
_libc = ctypes.CDLL(None, use_errno=True)


@pytest.fixture
def outside(field: Path) -> Path:
    """A directory of the host that is not shared, and must stay as it is."""
    (field / "outside" / "below").mkdir(parents=True)
    (field / "outside" / "file").write_text(SECRET)
    (field / "outside" / "file").chmod(0o640)
    (field / "outside" / "below" / "file").write_text(SECRET)
    return field / "outside"


def untouched(outside: Path) -> bool:
    status = (outside / "file").stat()
    return (
        sorted(os.listdir(outside)) == ["below", "file"]
        and os.listdir(outside / "below") == ["file"]
        and (outside / "file").read_text() == SECRET
        and (outside / "below" / "file").read_text() == SECRET
        and modes.S_IMODE(status.st_mode) == 0o640
        and status.st_uid == 0
    )


def test_a_symlink_is_told_and_never_followed(share, outside: Path) -> None:
    live = share()
    for name, target in (
        ("absolute", str(outside)),
        ("upwards", "../" * 20 + str(outside).lstrip("/")),
        ("to-a-file", str(outside / "file")),
    ):
        os.symlink(target, live.source / name)
        assert os.readlink(live.guest / name) == target
    live.reset()
    # The guest's own kernel follows them: in the guest, not through the share.
    (live.guest / "to-a-file").read_text()
    os.listdir(live.guest / "absolute")
    requests = live.requests()
    assert set(requests) <= {"LOOKUP", "READLINK", "GETATTR"}, requests


def test_symlinks_are_changed_themselves_and_not_what_they_point_to(share, outside: Path) -> None:
    live = share()
    os.symlink(outside / "file", live.source / "link")
    os.utime(live.guest / "link", ns=(1, 2), follow_symlinks=False)
    os.chown(live.guest / "link", 1234, 1234, follow_symlinks=False)
    os.link(live.guest / "link", live.guest / "again", follow_symlinks=False)
    os.rename(live.guest / "again", live.guest / "moved")
    os.unlink(live.guest / "link")
    assert os.readlink(live.source / "moved") == str(outside / "file")
    assert untouched(outside)


def test_the_parent_of_the_root_is_not_the_parent_of_the_source(share) -> None:
    live = share()
    (live.source.parent / "secret").touch()
    above = os.stat(live.guest / "..")
    assert above.st_dev == os.stat(live.guest.parent).st_dev
    assert (live.guest / ".." / "guest").is_mount()
    with os.scandir(live.guest) as entries:
        assert list(entries) == []
    inside = os.open(live.guest, os.O_RDONLY | os.O_DIRECTORY)
    try:
        # "..", asked for by whoever is in the root, never reaches the server.
        live.reset()
        os.stat("..", dir_fd=inside)
        assert set(live.requests()) <= {"GETATTR"}
    finally:
        os.close(inside)


_WALK_OUT = """
import ctypes, os, sys
CLONE_NEWNS = 0x20000
libc = ctypes.CDLL(None, use_errno=True)
assert libc.unshare(CLONE_NEWNS) == 0
os.chroot(sys.argv[1])
os.chdir("/")
for path in ("..", "../..", "/..", "d/../..", "d/../../.."):
    assert sorted(os.listdir(path)) == ["d"], (path, os.listdir(path))
    assert os.stat(path).st_ino == os.stat("/").st_ino
"""


def test_a_guest_whose_root_is_the_share_cannot_walk_out(share) -> None:
    live = share()
    (live.source / "d").mkdir()
    (live.source.parent / "secret").touch()
    run(_WALK_OUT, live.guest)


# The host, racing. Each swaps one name between the real thing and something
# else, with nothing in between: by RENAME_EXCHANGE.

_SWAP = """
import ctypes, os, sys
one, other, stop = sys.argv[1:4]
libc = ctypes.CDLL(None)
paths = os.fsencode(one), os.fsencode(other)
swaps = 0
while not os.path.exists(stop):
    for _ in range(20):
        assert libc.renameat2(-100, paths[0], -100, paths[1], 2) == 0
        swaps += 1
    if swaps == 120:
        print("ready", flush=True)  # and at it: on one processor others may have it for long
print(swaps)
"""


@contextlib.contextmanager
def swapping(one: Path, other: Path, field: Path) -> Iterator[None]:
    """A host process exchanges the two names all the time."""
    stop = field / "stop"
    process = start(_SWAP, one, other, stop)
    hear(process, "ready")
    try:
        yield
    finally:
        stop.touch()
        swaps = int(finish(process))
        stop.unlink()
    assert swaps > 100


def nofollow(path: Path, flags: int) -> int:
    """Open without letting the guest's own kernel follow a symlink at the end."""
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK)


def write_to(path: Path) -> None:
    fd = nofollow(path, os.O_WRONLY)
    with contextlib.closing(open(fd, "wb", buffering=0)) as file:
        if modes.S_ISREG(os.fstat(fd).st_mode):
            file.write(b"written")


def make_empty(path: Path) -> None:
    os.close(nofollow(path, os.O_RDWR | os.O_TRUNC))


def read_from(path: Path) -> None:
    with open(nofollow(path, os.O_RDONLY), "rb") as file:
        assert SECRET.encode() not in file.read(100)


def change_mode(path: Path) -> None:
    # fchmodat(2) with AT_SYMLINK_NOFOLLOW exists in the C library only; a
    # descriptor of the path does as well.
    fd = os.open(path, os.O_PATH | os.O_NOFOLLOW)
    with contextlib.suppress(OSError):
        if not modes.S_ISLNK(os.fstat(fd).st_mode):
            os.chmod(f"/proc/self/fd/{fd}", 0o777)
    os.close(fd)


def change_times(path: Path) -> None:
    os.utime(path, ns=(1, 2), follow_symlinks=False)


def change_owner(path: Path) -> None:
    os.chown(path, 1234, 1234, follow_symlinks=False)


def shorten(path: Path) -> None:
    fd = os.open(path, os.O_PATH | os.O_NOFOLLOW)
    try:
        if modes.S_ISREG(os.fstat(fd).st_mode):
            os.truncate(f"/proc/self/fd/{fd}", 1)
    finally:
        os.close(fd)


def link_it(path: Path) -> None:
    again = path.with_name("again")
    with contextlib.suppress(FileNotFoundError):
        os.unlink(again)
    os.link(path, again, follow_symlinks=False)


ON_FILES: list[Callable[[Path], None]] = [
    write_to,
    make_empty,
    read_from,
    change_mode,
    change_times,
    change_owner,
    shorten,
    link_it,
]

_HARMLESS = {
    errno.ENOENT,
    errno.ENOTDIR,
    errno.ELOOP,
    errno.ESTALE,
    errno.ENXIO,
    errno.EINVAL,
    errno.EEXIST,
    errno.EACCES,
    errno.EISDIR,
}


def attempt(call: Callable[[], object]) -> str:
    """What came of a racing call: "done", or an errno that the race explains."""
    try:
        call()
    except OSError as error:
        if error.errno not in _HARMLESS:
            raise
        return errno.errorcode[error.errno]
    return "done"


@pytest.mark.parametrize("settings", [CONSISTENT, CACHED])
@pytest.mark.parametrize("instead", ["symlink", "fifo", "device"])
def test_a_file_that_is_swapped_is_never_mistaken(
    share, field: Path, outside: Path, instead: str, settings: dict
) -> None:
    live = share(**settings)
    (live.source / "name").write_text("inside")
    decoy = live.source / "decoy"
    if instead == "symlink":
        decoy.symlink_to(outside / "file")
    elif instead == "fifo":
        os.mkfifo(decoy)
    else:
        os.mknod(decoy, modes.S_IFCHR | 0o666, os.makedev(1, 7))  # /dev/full: writing is ENOSPC
    came = set()
    with swapping(live.source / "name", decoy, field):
        for round_ in range(ROUNDS):
            operation = ON_FILES[round_ % len(ON_FILES)]
            came.add(attempt(lambda operation=operation: operation(live.guest / "name")))
    assert "done" in came
    assert untouched(outside)
    os.stat(live.guest / "name")
    assert live.status().in_flight == 0


@pytest.mark.parametrize("settings", [CONSISTENT, CACHED])
def test_a_directory_swapped_for_a_symlink_is_never_walked_through(
    share, field: Path, outside: Path, settings: dict
) -> None:
    live = share(**settings)
    directory = live.source / "directory"
    (directory / "below").mkdir(parents=True)
    (directory / "file").write_text("inside")
    (directory / "below" / "file").write_text("inside")
    (live.source / "decoy").symlink_to(outside)

    def beneath(path: str, use: Callable[[int, str], object]) -> None:
        """Walk from the root by openat2(2)'s rule of old: one name, no link, at a time."""
        fd = os.open(live.guest, os.O_PATH | os.O_DIRECTORY)
        try:
            *above, last = path.split("/")
            for name in above:
                below = os.open(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=fd)
                os.close(fd)
                fd = below
            use(fd, last)
        finally:
            os.close(fd)

    def read(fd: int, name: str) -> None:
        with open(os.open(name, os.O_RDONLY | os.O_NOFOLLOW, dir_fd=fd)) as file:
            assert file.read() == "inside"

    def create(fd: int, _: str) -> None:
        os.close(os.open("new", os.O_CREAT | os.O_WRONLY, dir_fd=fd))
        os.unlink("new", dir_fd=fd)

    def make_directory(fd: int, _: str) -> None:
        os.mkdir("made", dir_fd=fd)
        os.rmdir("made", dir_fd=fd)

    def list_it(fd: int, _: str) -> None:
        listing = os.open(".", os.O_RDONLY | os.O_DIRECTORY, dir_fd=fd)
        try:
            assert "file" in os.listdir(listing)
        finally:
            os.close(listing)

    def truncate(fd: int, name: str) -> None:
        os.close(os.open(name, os.O_RDWR | os.O_NOFOLLOW, dir_fd=fd))
        os.utime(name, ns=(1, 2), dir_fd=fd, follow_symlinks=False)

    uses = (read, create, make_directory, list_it, truncate)
    paths = ("directory/file", "directory/below/file")
    came = set()
    with swapping(directory, live.source / "decoy", field):
        # Believed answers take no time: many rounds then pass between two looks at the host.
        for round_ in range(100 * ROUNDS):
            use, path = uses[round_ % len(uses)], paths[round_ % len(paths)]
            came.add(attempt(lambda path=path, use=use: beneath(path, use)))
            if round_ >= ROUNDS and "done" in came:
                break
    assert "done" in came
    assert untouched(outside)


def test_directories_whose_descriptor_was_given_up_are_checked_when_reached_again(
    share, outside: Path
) -> None:
    """More directories than descriptors: paths are reopened, name by name, and checked."""
    live = share()
    count = 1_300
    for number in range(count):
        (live.source / f"d{number}").mkdir()
    (live.source / "d0" / "below").mkdir()
    (live.source / "d0" / "below" / "file").write_text("inside")
    held = os.open(live.guest / "d0" / "below", os.O_PATH)
    try:
        for number in range(1, count):
            assert missing_in(live, f"d{number}")
        os.rename(live.source / "d0", live.source / "moved")
        os.symlink(outside, live.source / "d0")
        with refused(errno.ESTALE):
            os.stat("file", dir_fd=held)
        assert untouched(outside)
    finally:
        os.close(held)
    assert (live.guest / "moved" / "below" / "file").read_text() == "inside"


def missing_in(live: LiveShare, directory: str) -> bool:
    return not (live.guest / directory / "nothing").exists()


def test_what_is_created_over_a_host_symlink_stays_inside(share, outside: Path) -> None:
    live = share(profile="osxfs-negative", latency_ns=0)
    for name in ("create", "mkdir", "mknod", "symlink", "link", "rename"):
        assert not os.path.lexists(live.guest / name)
    (live.guest / "file").touch()
    for name in ("create", "mkdir", "mknod", "symlink", "link", "rename"):
        os.symlink(outside / f"new-{name}", live.source / name)
    for call in (
        lambda: os.open(live.guest / "create", os.O_CREAT | os.O_EXCL | os.O_WRONLY),
        lambda: os.mkdir(live.guest / "mkdir"),
        lambda: os.mkfifo(live.guest / "mknod"),
        lambda: os.symlink("x", live.guest / "symlink"),
        lambda: os.link(live.guest / "file", live.guest / "link"),
    ):
        with refused(errno.EEXIST):
            call()
    os.rename(live.guest / "file", live.guest / "rename")
    assert not os.path.islink(live.source / "rename")
    assert untouched(outside)


@pytest.mark.parametrize("profile", ["none", "osxfs-cached"])
def test_a_directory_that_the_host_moves_out_takes_nobody_with_it(
    share, field: Path, profile: str
) -> None:
    """A descriptor follows its directory; whoever is in it must not follow too."""
    live = share(profile=profile, latency_ns=0)
    (live.source / "within" / "deep").mkdir(parents=True)
    (live.source / "within" / "deep" / "file").write_text("inside")
    inside = os.open(live.guest / "within" / "deep", os.O_RDONLY | os.O_DIRECTORY)
    try:
        assert (live.guest / "within" / "deep" / "file").read_text() == "inside"
        moved = field / "moved-out"
        (live.source / "within").rename(moved)
        (moved / "deep" / "secret").write_text(SECRET)
        for path in ("secret", "file"):
            opening = attempt(lambda path=path: os.open(path, os.O_RDONLY, dir_fd=inside))
            assert opening in ("ESTALE", "ENOENT")
            assert not os.path.exists(live.guest / "within" / "deep" / path)
        for change in (
            lambda: os.mkdir("made", dir_fd=inside),
            lambda: os.open("made", os.O_CREAT | os.O_WRONLY, dir_fd=inside),
            lambda: os.symlink("x", "made", dir_fd=inside),
            lambda: os.rename("file", "made", src_dir_fd=inside, dst_dir_fd=inside),
        ):
            assert attempt(change) in ("ESTALE", "ENOENT")
        assert sorted(os.listdir(moved / "deep")) == ["file", "secret"]
        # Moved back, it is the share's again.
        moved.rename(live.source / "within")
        assert os.path.exists(live.guest / "within" / "deep" / "secret")
    finally:
        os.close(inside)


def test_a_source_that_is_renamed_is_still_the_source(share, field: Path) -> None:
    live = share()
    (live.source / "directory").mkdir()
    (live.source / "directory" / "file").write_text("inside")
    assert (live.guest / "directory" / "file").read_text() == "inside"
    elsewhere = live.source.rename(field / "renamed")
    try:
        assert (live.guest / "directory" / "file").read_text() == "inside"
        (elsewhere / "directory" / "new").touch()
        assert (live.guest / "directory" / "new").exists()
    finally:
        elsewhere.rename(live.source)


# Links that only the kernel that walks may follow

_IN_THE_SHARE = """
import os, sys
def answer(call):
    try:
        return call()
    except OSError as error:
        return type(error).__name__
def list_it(path):
    return sorted(os.listdir(path))
def read(path):
    with open(path) as file:
        return file.read()
os.chroot(sys.argv[1])
os.chdir("/")
print([(name, answer(lambda: read(name)), answer(lambda: list_it(name)))
    for name in sys.argv[2:]])
"""


def seen_in(root: Path, *names: str) -> list[tuple[str, object, object]]:
    """What a guest whose root is the share reads, and lists, under each of the names."""
    found = ast.literal_eval(run(_IN_THE_SHARE, root, *names))
    assert isinstance(found, list)
    return found


def test_links_through_proc_lead_a_guest_nowhere_but_to_its_own(share, outside: Path) -> None:
    """Followed by the server, each would lead to the host's root or the server's own files."""
    live = share()
    targets = {
        "root": "/proc/self/root",
        "init": "/proc/1/root",
        "server": f"/proc/{live.pid}/root",
        "file": f"/proc/self/root{outside}/file",
        "thread": f"/proc/thread-self/root{outside}/file",
        "cwd": f"/proc/{live.pid}/cwd",
        "stdin": "/proc/self/fd/0",
        "stdin-of-dev": "/dev/stdin",
        **{f"fd-{fd}": f"/proc/{live.pid}/fd/{fd}" for fd in range(12)},
    }
    for name, target in targets.items():
        os.symlink(target, live.source / name)
    for name, reading, listing in seen_in(live.guest, *targets):
        assert (reading, listing) == ("FileNotFoundError", "FileNotFoundError"), name
    # Where the guest has such a path of its own, it is the guest's own that is found.
    own = live.source / "proc" / "self" / "root"
    own.mkdir(parents=True)
    (own / "own").write_text("the guest's own")
    os.symlink("/proc/self/root/own", live.source / "to-own")
    assert seen_in(live.guest, "root", "to-own") == [
        ("root", "IsADirectoryError", ["own"]),
        ("to-own", "the guest's own", "NotADirectoryError"),
    ]
    for name, target in targets.items():
        assert os.readlink(live.guest / name) == target
        with refused(errno.ELOOP):
            os.open(live.guest / name, os.O_RDONLY | os.O_NOFOLLOW)
    assert untouched(outside)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes bind mounts")
def test_a_proc_in_the_source_does_not_lend_its_magic_links(share, outside: Path) -> None:
    """In /proc a link is a door, not a text: the guest gets the text."""
    live = share()
    (live.source / "processes").mkdir()
    (live.source / "file").write_text("inside")
    server = f"processes/{live.pid}"
    subprocess.run(["mount", "--bind", "/proc", live.source / "processes"], check=True)
    try:
        assert os.path.exists(live.source / server / "root" / str(outside).lstrip("/"))
        fds = [
            f"{server}/fd/{fd}"
            for fd in os.listdir(live.source / server / "fd")
            if os.readlink(live.source / server / "fd" / fd) in (str(live.source), "/dev/fuse")
        ]
        assert len(fds) >= 2
        doors = [f"{server}/root", f"{server}/cwd", f"{server}/task/{live.pid}/root"]
        seen = {name: (read, listed) for name, read, listed in seen_in(live.guest, *doors, *fds)}
        for name in doors:
            # The text is "/", and that is the guest's own root.
            assert seen[name] == ("IsADirectoryError", ["file", "processes"])
        for name in fds:
            assert seen[name] == ("FileNotFoundError", "FileNotFoundError")
        for name in (*doors, *fds):
            by_path = os.open(live.guest / name, os.O_PATH | os.O_NOFOLLOW)
            try:
                assert modes.S_ISLNK(os.fstat(by_path).st_mode)
                with refused(errno.ELOOP):
                    os.open(f"/proc/self/fd/{by_path}", os.O_RDONLY)
            finally:
                os.close(by_path)
            with refused(errno.EXDEV):
                os.link(live.guest / name, live.guest / "linked", follow_symlinks=False)
    finally:
        subprocess.run(["umount", "--lazy", live.source / "processes"], check=True)
    assert sorted(os.listdir(live.source)) == ["file", "processes"]
    assert untouched(outside)


def test_what_lies_outside_cannot_be_linked_or_moved_in_or_out(share, outside: Path) -> None:
    live = share()
    (live.guest / "file").write_text("inside")
    os.symlink(outside / "file", live.source / "symlink")
    fd = os.open(outside / "file", os.O_RDONLY)
    try:
        for there in (outside, live.source):
            for call in (
                lambda there=there: os.link(there / "file", live.guest / "new"),
                lambda there=there: os.link(live.guest / "file", there / "new"),
                lambda there=there: os.rename(there / "file", live.guest / "new"),
                lambda there=there: os.rename(live.guest / "file", there / "new"),
            ):
                with refused(errno.EXDEV):
                    call()
        # By the guest's own walk: a symlink of the share, a magic link of its own. (Only
        # with a directory's descriptor does os.link follow, whatever else it is told.)
        for followed in (live.guest / "symlink", f"/proc/self/fd/{fd}"):
            with refused(errno.EXDEV):
                os.link(followed, live.guest / "new", src_dir_fd=fd, follow_symlinks=True)
    finally:
        os.close(fd)
    os.link(live.guest / "file", live.guest / "link")
    assert sorted(os.listdir(live.source)) == ["file", "link", "symlink"]
    assert untouched(outside)


@pytest.mark.parametrize(
    "name",
    [
        b"..\\outside",
        b"..%2foutside",
        b"..\xc0\xafoutside",  # a slash, in a UTF-8 that is none
        "..\N{FULLWIDTH SOLIDUS}outside".encode(),
        "..\N{DIVISION SLASH}outside".encode(),
        "\N{TWO DOT LEADER}".encode(),
        "\N{FULLWIDTH FULL STOP}\N{FULLWIDTH FULL STOP}".encode(),
        b".. ",
        b"..\n",
        b"...",
        b"..\x01",
        b"~root",
        b"$HOME",
    ],
)
def test_a_name_that_looks_like_a_way_out_is_only_a_name(
    share_of_names: LiveShare, name: bytes
) -> None:
    live = share_of_names
    source, guest = os.fsencode(live.source), os.fsencode(live.guest)
    os.mkdir(guest + b"/" + name)
    assert os.listdir(source) == [name]
    with open(guest + b"/" + name + b"/" + name, "wb") as file:
        file.write(b"inside")
    assert os.listdir(source + b"/" + name) == [name]
    os.rename(guest + b"/" + name + b"/" + name, guest + b"/moved " + name)
    os.symlink(name, guest + b"/link " + name)
    os.link(guest + b"/moved " + name, guest + b"/" + name + b"/" + name)
    assert sorted(os.listdir(guest)) == sorted([name, b"moved " + name, b"link " + name])
    assert os.readlink(source + b"/link " + name) == name
    assert sorted(os.listdir(live.source.parent)) == ["guest", "source"]
    shutil.rmtree(guest + b"/" + name)
    os.unlink(guest + b"/moved " + name)
    os.unlink(guest + b"/link " + name)
    assert os.listdir(source) == []


@pytest.fixture(scope="module")
def share_of_names(module_share: Callable[..., LiveShare]) -> LiveShare:
    return module_share(**CONSISTENT)


def test_a_name_ends_where_its_bytes_end(share, outside: Path) -> None:
    """Neither a slash nor a NUL is part of any name the share is asked for."""
    live = share()
    (live.source / "directory").mkdir()
    assert _libc.mkdir(os.fsencode(live.guest / "cut") + b"\0/../../outside/new", 0o700) == 0
    assert sorted(os.listdir(live.source)) == ["cut", "directory"]
    cut, moved = os.fsencode(live.guest / "cut"), os.fsencode(live.guest / "moved")
    assert _libc.rename(cut, moved + b"\0/../../outside/new") == 0
    assert sorted(os.listdir(live.source)) == ["directory", "moved"]
    up = os.fsencode(live.guest) + b"/directory//.././directory/../directory///new/"
    assert _libc.mkdir(up, 0o700) == 0
    assert os.listdir(live.source / "directory") == ["new"]
    assert sorted(os.listdir(live.source)) == ["directory", "moved"]
    assert untouched(outside)


# Directories that the host moves out, again and again


def test_dot_dot_in_a_directory_that_was_moved_out_does_not_lead_after_it(
    share, outside: Path
) -> None:
    live = share()
    (live.source / "above" / "within" / "deep").mkdir(parents=True)
    (live.source / "beside").touch()
    with start(_LOOK_UP, cwd=live.guest / "above" / "within" / "deep") as walker:
        hear(walker, "ready")
        (live.source / "above" / "within").rename(outside / "within")
        (outside / "within" / "file").write_text(SECRET)
        (outside / "within" / "deep" / "file").write_text(SECRET)
        seen = ast.literal_eval(finish(walker, "go\n"))
    # Its own way up is what the guest's kernel walked down, and never the host's.
    assert seen["../../.."] == ["above", "beside"]
    assert seen["../.."] in ([], "ESTALE")
    for gone in (".", "..", "../deep", "../file", "file", "../new", "new"):
        assert seen[gone] in ("ESTALE", "ENOENT"), (gone, seen[gone])
    for nothing in ("../../file", "../../below", "../../../file"):
        assert seen[nothing] == "ENOENT", (nothing, seen[nothing])
    shutil.rmtree(outside / "within")
    assert untouched(outside)


_LOOK_UP = """
import errno, os, sys
os.listdir("../../..")
print("ready", flush=True)
sys.stdin.readline()
def answer(call, path):
    try:
        return call(path)
    except OSError as error:
        return errno.errorcode[error.errno]
def read(path):
    with open(path) as file:
        return file.read()
seen = {path: answer(lambda path: sorted(os.listdir(path)), path)
    for path in (".", "..", "../..", "../../..", "../deep", "../../below")}
seen |= {path: answer(read, path)
    for path in ("file", "../file", "../../file", "../../../file")}
seen |= {path: answer(os.mkdir, path) for path in ("new", "../new")}
print(seen)
"""


_MOVE_OUT_AND_IN = """
import os, sys
inside, outside, stop = sys.argv[1:]
moves = 0
while not os.path.exists(stop):
    for _ in range(10):
        os.rename(inside, outside)
        os.rename(outside, inside)
        moves += 1
    if moves == 110:
        print("ready", flush=True)  # and at it: on one processor others may have it for long
print(moves)
"""


@pytest.mark.parametrize("settings", [CONSISTENT, CACHED])
def test_a_deep_walk_while_the_host_moves_its_middle_out_and_in_touches_nothing_else(
    share, field: Path, outside: Path, settings: dict
) -> None:
    """Whatever it comes to: nothing arrives beside what was moved, and ``..`` stays inside."""
    live = share(**settings)
    middle = live.source / "top" / "middle"
    (middle / "a" / "b" / "c").mkdir(parents=True)
    (middle / "a" / "b" / "c" / "file").write_text("inside")
    deep = live.guest / "top" / "middle" / "a" / "b" / "c"
    up = deep / ".." / ".." / ".." / ".."

    def read() -> None:
        with open(deep / "file") as file:
            assert file.read() == "inside"

    def make() -> None:
        os.close(os.open(deep / "new", os.O_CREAT | os.O_WRONLY))
        os.unlink(deep / "new")

    def make_directory() -> None:
        os.mkdir(deep / ".." / "made")
        os.rmdir(deep / ".." / "made")

    def look_up() -> None:
        assert set(os.listdir(up)) <= {"middle", "made-above"}
        assert not os.path.exists(up / "file")

    def make_above() -> None:
        os.close(os.open(up / "made-above", os.O_CREAT | os.O_WRONLY))
        os.unlink(up / "made-above")

    def move() -> None:
        os.rename(deep / "file", deep / ".." / "file")
        os.rename(deep / ".." / "file", deep / "file")

    uses = (read, make, make_directory, look_up, make_above, read, move)
    stop = field / "stop"
    mover = start(_MOVE_OUT_AND_IN, middle, outside / "middle", stop)
    hear(mover, "ready")
    came = collections.Counter()
    try:
        for round_ in range(50 * ROUNDS):
            came[attempt(uses[round_ % len(uses)])] += 1
            if round_ >= ROUNDS and came["done"] and len(came) > 1:
                break
    finally:
        stop.touch()
        assert int(finish(mover)) > 100
    assert came["done"], came
    assert len(came) > 1, "the host was never in the way"
    assert untouched(outside)
    assert os.listdir(live.source) == ["top"]
    assert set(os.listdir(live.source / "top")) <= {"middle", "made-above"}
    names = {path.name for path in middle.rglob("*")}
    assert names <= {"a", "b", "c", "file", "new", "made"}
    assert "file" in names
    eventually(lambda: live.status().open_handles == live.status().in_flight == 0)


@pytest.mark.parametrize("settings", [CONSISTENT, CACHED])
def test_names_given_in_a_directory_swapped_for_a_symlink_stay_inside(
    share, field: Path, outside: Path, settings: dict
) -> None:
    """rename, link and symlink into a directory, and rename out of it, as it is swapped."""
    live = share(**settings)
    directory = live.source / "directory"
    directory.mkdir()
    (directory / "file").write_text("inside")
    (live.source / "precious").write_text("precious")
    (live.source / "decoy").symlink_to(outside)

    def in_directory(use: Callable[[int, int], object]) -> None:
        root = os.open(live.guest, os.O_PATH | os.O_DIRECTORY)
        try:
            fd = os.open("directory", os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=root)
            try:
                use(root, fd)
            finally:
                os.close(fd)
        finally:
            os.close(root)

    def move_in_and_out(root: int, fd: int) -> None:
        os.rename("precious", "file", src_dir_fd=root, dst_dir_fd=fd)
        os.rename("file", "precious", src_dir_fd=fd, dst_dir_fd=root)

    def move_out_and_in(root: int, fd: int) -> None:
        os.rename("file", "precious", src_dir_fd=fd, dst_dir_fd=root)
        os.rename("precious", "file", src_dir_fd=root, dst_dir_fd=fd)

    def link_in(root: int, fd: int) -> None:
        os.link("precious", "link", src_dir_fd=root, dst_dir_fd=fd, follow_symlinks=False)
        os.unlink("link", dir_fd=fd)

    def link_out(root: int, fd: int) -> None:
        os.link("file", "link", src_dir_fd=fd, dst_dir_fd=root, follow_symlinks=False)
        os.unlink("link", dir_fd=root)

    def symlink_in(_: int, fd: int) -> None:
        os.symlink("target", "symlink", dir_fd=fd)
        os.unlink("symlink", dir_fd=fd)

    uses = (move_in_and_out, link_in, link_out, symlink_in, move_out_and_in)
    came = collections.Counter()
    with swapping(directory, live.source / "decoy", field):
        for round_ in range(100 * ROUNDS):
            came[attempt(lambda round_=round_: in_directory(uses[round_ % len(uses)]))] += 1
            if round_ >= ROUNDS and came["done"]:
                break
            for path in (live.source / "precious", live.source / "link"):
                if path.exists():
                    assert SECRET not in path.read_text()
    assert came["done"], came
    assert untouched(outside)
    # One of the two, or both, are left, wherever they were when somebody was in the way.
    left = {path.name for path in live.source.rglob("*")}
    assert left & {"file", "precious"}
    assert left <= {"directory", "decoy", "file", "precious", "link", "symlink"}


def test_what_is_mounted_below_the_source_shows_its_contents(share) -> None:
    live = share()
    (live.source / "inner").mkdir()
    (live.source / "file").write_text("outer")
    subprocess.run(["mount", "-t", "tmpfs", "none", live.source / "inner"], check=True)
    try:
        (live.source / "inner" / "file").write_text("inner")
        os.link(live.source / "inner" / "file", live.source / "inner" / "other")
        inner = live.guest / "inner"
        assert sorted(os.listdir(inner)) == ["file", "other"]
        assert (inner / "file").read_text() == "inner"
        assert os.stat(inner / "file").st_ino == os.stat(inner / "other").st_ino
        assert os.stat(inner).st_dev == os.stat(live.guest).st_dev, "not its structure"
        (inner / "new").write_text("new")
        assert (live.source / "inner" / "new").read_text() == "new"
        # It is another file system on the host all the same.
        with refused(errno.EXDEV):
            os.rename(inner / "new", live.guest / "new")
        with refused(errno.EBUSY):
            os.rmdir(inner)
    finally:
        # Lazily: the server may hold a directory in it.
        subprocess.run(["umount", "-l", live.source / "inner"], check=True)
    assert os.listdir(live.guest / "inner") == []
