"""Nothing outside the exported tree can be reached, whatever the host does meanwhile.

The races run for a bounded number of rounds against a host process that swaps
what lies under a name. A round may end in any errno; it may never read, list,
change or open anything outside.
"""

import contextlib
import ctypes
import errno
import os
import stat as modes
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from guests import finish, hear, refused, run, start
from live import LiveShare

ROUNDS = 1_500
CONSISTENT = {"profile": "none"}
# Long enough to be believed in the next call, short enough that both kinds are met.
CACHED = {"profile": "osxfs-cached", "latency_ns": 0, "lifetime_ns": 1_000_000}
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
print("ready", flush=True)
swaps = 0
while not os.path.exists(stop):
    for _ in range(20):
        assert libc.renameat2(-100, paths[0], -100, paths[1], 2) == 0
        swaps += 1
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
    assert live.status()["in_flight"] == 0


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
