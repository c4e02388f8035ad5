"""Where journals lie, whose they are, and who may touch them.

A directory per share, in the server's state directory, with four files; ``lock`` is held by the
server for as long as it lives, and says which server that is.

Whose state it is may put something else into the place of a journal, and root reads it and takes
it away: by descriptors, and nothing that another user could have put there.
"""

import contextlib
import errno
import fcntl
import hashlib
import json
import os
import stat as modes
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from osxfs_sim.fs import at

_ASIDE = "-aside"
_OWNER_BYTES = 65_536
"""More than two paths of the longest (PATH_MAX), with each byte escaped as JSON does."""
OPEN = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


class Owner(NamedTuple):
    """Which server a journal belongs to, while that lives."""

    pid: int
    """The server's process."""
    source: str
    """The directory that is shared, as a real path."""
    root: tuple[int, int]
    """Device and inode number of the source's root."""
    mountpoint: str = ""
    """Empty until it is mounted."""
    device: str = ""
    """Of its mount, ``major:minor``: the next file system that is mounted may get it again."""
    drains: bool = False
    """Whether its mount is gone, and only the rest is still written back."""


def all_journals(state: Path) -> list[Path]:
    """The directories of all journals in *state*, of any source, sorted; never fails."""
    return sorted((state / "write-back").glob("*-*"))


def journals_of(state: Path, source: str) -> list[Path]:
    """The directories of the journals in *state* of the directory *source*, sorted."""
    return sorted((state / "write-back").glob(f"{digest_of(source)}-*"))


def digest_of(source: str) -> str:
    """The prefix of the names of *source*'s journals: 16 hexadecimal digits."""
    return hashlib.sha256(os.fsencode(source)).hexdigest()[:16]


def aside_of(directory: Path) -> Path:
    """The path of the quarantine, for what the host refused, of the journal *directory*."""
    return directory.with_name(directory.name + _ASIDE)


def is_aside(directory: Path) -> bool:
    """Whether *directory* is, by its name, a quarantine: holds only what was set aside."""
    return directory.name.endswith(_ASIDE)


def write_owner(lock_fd: int, owner: Owner) -> None:
    """Write in the lock, open as *lock_fd*, which server owns the journal. Raises OSError."""
    # Padded, and so in place: a full disk has room for what it had room for before.
    os.pwrite(lock_fd, json.dumps(owner).encode().ljust(_OWNER_BYTES), 0)


def claim(directory: Path, owner: Owner) -> None:
    """Write that the locked journal in *directory* is now *owner*'s. Raises OSError."""
    fd = open_file(directory, "lock", os.O_RDWR)
    try:
        write_owner(fd, owner)
    finally:
        os.close(fd)


def owner_of(directory: Path) -> Owner | None:
    """The living server that owns the journal; None: none, or just begun. Raises OSError."""
    with locked(directory) as is_free:
        if is_free:
            return None
    try:
        text = read_file(directory, "lock")
        pid, source, root, *rest = json.loads(text)
    except (OSError, ValueError):
        return None
    return Owner(pid, source, (root[0], root[1]), *rest)


@contextlib.contextmanager
def opened(directory: Path) -> Iterator[int]:
    """Yield a descriptor of the *directory* of a journal. Raises OSError."""
    fd = at.open_place(directory)
    try:
        yield fd
    finally:
        os.close(fd)


def make_directory(directory: Path) -> None:
    """Make a journal's new *directory*, for us alone. Raises OSError: FileExistsError."""
    parent_fd = at.make_directories(directory.parent, 0o700, flags=os.O_PATH)
    try:
        os.mkdir(directory.name, 0o700, dir_fd=parent_fd)
    finally:
        os.close(parent_fd)


def open_file(directory: Path, name: str, flags: int = os.O_RDONLY) -> int:
    """Open the regular file *name* of a journal; returns its descriptor. Raises OSError."""
    with opened(directory) as dir_fd:
        fd = os.open(name, OPEN | flags, dir_fd=dir_fd)
    if not modes.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError(errno.EINVAL, f"{name} is no file")
    return fd


def has_changes(directory: Path) -> bool:
    """Whether a journal has its file of changes; False where it cannot be read."""
    with contextlib.suppress(OSError), opened(directory) as dir_fd:
        return modes.S_ISREG(os.stat("changes", dir_fd=dir_fd, follow_symlinks=False).st_mode)
    return False


def read_file(directory: Path, name: str) -> bytes:
    """All bytes of the file *name* of a journal. Raises OSError."""
    with open(open_file(directory, name), "rb") as file:
        return file.read()


def written(dir_fd: int, name: str, data: bytes | bytearray) -> int:
    """Write *data* to the new file *name*, replacing it; its descriptor. Raises OSError."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(name, dir_fd=dir_fd)
    fd = os.open(name, OPEN | os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=dir_fd)
    try:
        left = memoryview(data)
        while left:
            left = left[os.write(fd, left) :]
    except BaseException:
        os.close(fd)
        raise
    return fd


def numbers_of(directory: Path) -> bytes:
    """The bytes of the journal's file of progress; empty where it cannot be read."""
    with contextlib.suppress(OSError):
        return read_file(directory, "progress")
    return b""


def new_lock(directory: Path) -> int:
    """Lock a new journal; the lock's descriptor, -1: another mount took it. Raises OSError.

    That took it for left behind.
    """
    try:
        with opened(directory) as dir_fd:
            fd = os.open("lock", OPEN | os.O_RDWR | os.O_CREAT, 0o600, dir_fd=dir_fd)
    except FileNotFoundError:
        return -1
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        return -1
    if not os.fstat(fd).st_nlink:
        os.close(fd)
        return -1
    return fd


def take_away(directory: Path) -> None:
    """Remove a journal, which is locked, with all its files. Raises OSError.

    In an order in which who is killed in between leaves none or all of it.
    """
    with contextlib.suppress(FileNotFoundError):
        with opened(directory) as dir_fd:
            for name in ("changes", "changes.new", "data", "progress", "lock"):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(name, dir_fd=dir_fd)
        at.remove_directory(directory)


@contextlib.contextmanager
def locked(directory: Path) -> Iterator[bool]:
    """Yield whether no server uses the journal, locked for us then. Raises OSError."""
    try:
        fd = open_file(directory, "lock", os.O_RDWR)
    except FileNotFoundError:
        # Its server is about to make it, or has ended when it had hardly begun, or was removing it.
        with contextlib.suppress(OSError):
            at.remove_directory(directory)
        yield False
        return
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(fd)
