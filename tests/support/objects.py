"""What tests of POSIX rules make and look at, and the calls that Python lacks."""

import ctypes
import os
import stat as modes
import time
from pathlib import Path

from support.guests import eventually
from support.users import OWNER, User

RENAME_NOREPLACE, RENAME_EXCHANGE, RENAME_WHITEOUT = 1, 2, 4
UTIME_NOW, UTIME_OMIT = (1 << 30) - 1, (1 << 30) - 2
_AT_FDCWD = -100
_CLOCK_REALTIME_COARSE = 5
_libc = ctypes.CDLL(None, use_errno=True)


def _check(code: int) -> None:
    if code:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def octal(value: object) -> str | None:
    """How a test's id shows a mode."""
    if isinstance(value, str):
        return value
    return oct(value) if type(value) is int else None


def renameat2(old: Path | str, new: Path | str, flags: int) -> None:
    paths = os.fsencode(old), os.fsencode(new)
    _check(_libc.renameat2(_AT_FDCWD, paths[0], _AT_FDCWD, paths[1], ctypes.c_uint(flags)))


def utimensat(path: Path, atime_ns: int, mtime_ns: int) -> None:
    """With the nanoseconds given, and so with UTIME_NOW and UTIME_OMIT."""
    times = (ctypes.c_long * 4)(0, atime_ns, 0, mtime_ns)
    _check(_libc.utimensat(_AT_FDCWD, os.fsencode(path), times, 0))


def opened(path: Path, flags: int, mode: int = 0o666) -> None:
    os.close(os.open(path, flags, mode))


def make(path: Path, kind: str = "file", mode: int = 0o644, owner: User = OWNER) -> Path:
    """Make an object of *kind* that belongs to *owner*."""
    if kind == "directory":
        path.mkdir()
    elif kind == "fifo":
        os.mkfifo(path)
    elif kind == "symlink":
        os.symlink("nowhere", path)
    elif kind == "socket":
        os.mknod(path, modes.S_IFSOCK | 0o666)
    else:
        path.write_bytes(b"content")
    os.chown(path, owner.uid, owner.gid, follow_symlinks=False)
    if kind != "symlink":
        path.chmod(mode)
    return path


def mode_of(path: Path) -> int:
    return modes.S_IMODE(os.lstat(path).st_mode)


def owners_of(path: Path) -> tuple[int, int]:
    status = os.lstat(path)
    return status.st_uid, status.st_gid


def wait_for_the_clock(*paths: Path) -> None:
    """Until whatever changes next is stamped later than these were."""
    latest_ns = max(os.lstat(path).st_ctime_ns for path in paths)
    # File systems stamp with the clock's value of the last tick.
    eventually(lambda: time.clock_gettime_ns(_CLOCK_REALTIME_COARSE) > latest_ns)
