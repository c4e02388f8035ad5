"""The two directories, and ways into them that lead nowhere else.

Every directory is opened from the root's descriptor, without following a symlink
and without crossing a mount. What remains: a directory that its own side moves out
of the tree between being opened and being used, some microseconds, is used where it
then is. Nothing that the other side does can lead out.
"""

import contextlib
import ctypes
import errno
import os
import stat as modes
import struct
from collections.abc import Iterator

from osxfs_sim.synchronize.errors import SyncError
from osxfs_sim.synchronize.snapshot import Path, Stamp

_libc = ctypes.CDLL(None, use_errno=True)

RENAME_NOREPLACE = 1
RENAME_EXCHANGE = 2
_NO_XDEV, _NO_MAGICLINKS, _NO_SYMLINKS, _BENEATH = 1, 2, 4, 8
_RESOLVE = _NO_XDEV | _NO_MAGICLINKS | _NO_SYMLINKS | _BENEATH
_OPENAT2 = 437  # on every architecture but alpha
_LONGEST_PATH_BYTES = 4_000  # the kernel's limit is 4096, its end included
_HANDLE_FID, _EMPTY_PATH, _AT_SYMLINK_NOFOLLOW = 0x200, 0x1000, 0x100
_MOST_HANDLE_BYTES = 128
_STATX_BYTES, _STATX_BTIME = 256, 0x800
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


class _Handle(ctypes.Structure):
    _fields_ = (
        ("bytes", ctypes.c_uint),
        ("kind", ctypes.c_int),
        ("content", ctypes.c_ubyte * _MOST_HANDLE_BYTES),
    )


class _OpenHow(ctypes.Structure):
    _fields_ = (
        ("flags", ctypes.c_uint64),
        ("mode", ctypes.c_uint64),
        ("resolve", ctypes.c_uint64),
    )


_HOW = {flags: _OpenHow(flags, 0, _RESOLVE) for flags in (_DIRECTORY, _FILE)}
_HOW_BYTES = ctypes.c_size_t(ctypes.sizeof(_OpenHow))


def _open(dir_fd: int, path: bytes, flags: int) -> int:
    fd = _libc.syscall(ctypes.c_long(_OPENAT2), dir_fd, path, ctypes.byref(_HOW[flags]), _HOW_BYTES)
    if fd >= 0:
        return int(fd)
    code = ctypes.get_errno()
    if code not in (errno.ENOSYS, errno.EPERM) or b"/" in path:
        raise OSError(code, os.strerror(code))
    # Older kernels and some sandboxes lack openat2: a mount shows by its device then.
    opened = os.open(path, flags | os.O_NOFOLLOW, dir_fd=dir_fd)
    if os.fstat(opened).st_dev != os.fstat(dir_fd).st_dev:
        os.close(opened)
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
    return opened


def open_directory(dir_fd: int, name: bytes) -> int:
    """The directory *name* of another; EXDEV for a mount point."""
    return _open(dir_fd, name, _DIRECTORY)


def open_file(dir_fd: int, name: bytes) -> int:
    """The file *name* of a directory, to read; never waits for a FIFO's other end."""
    return _open(dir_fd, name, _FILE)


@contextlib.contextmanager
def directory_at(root_fd: int, path: Path) -> Iterator[int]:
    """The directory *path* below a root, open."""
    whole = b"/".join(path) or b"."
    if len(whole) <= _LONGEST_PATH_BYTES:
        try:
            fd = _open(root_fd, whole, _DIRECTORY)
        except OSError as error:
            if error.errno not in (errno.ENOSYS, errno.EPERM):
                raise
            fd = _walk(root_fd, path)
    else:
        fd = _walk(root_fd, path)
    try:
        yield fd
    finally:
        os.close(fd)


def _walk(root_fd: int, path: Path) -> int:
    fd = os.open(b".", _DIRECTORY, dir_fd=root_fd)
    for name in path:
        try:
            below = open_directory(fd, name)
        finally:
            os.close(fd)
        fd = below
    return fd


def rename(old_fd: int, old: bytes, new_fd: int, new: bytes, flags: int) -> None:
    """renameat2(2)."""
    if _libc.renameat2(old_fd, old, new_fd, new, ctypes.c_uint(flags)):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def sync_file_system(fd: int) -> None:
    """syncfs(2): everything written to the file system of *fd* is on its disk."""
    if _libc.syncfs(fd):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def stamp_of(status: os.stat_result) -> Stamp:
    """By which an object that has not changed is recognized."""
    return (
        status.st_dev,
        status.st_ino,
        status.st_size,
        status.st_mtime_ns,
        status.st_ctime_ns,
        status.st_mode,
        status.st_uid,
        status.st_gid,
    )


def is_executable(mode: int) -> bool:
    """Whether a file's owner may execute it: all of its mode that travels."""
    return bool(mode & modes.S_IXUSR)


def birth_of(dir_fd: int, name: bytes = b"") -> bytes:
    """What no later object has: the file handle, which has a generation, of *name* of a directory.

    Empty: of *dir_fd* itself. Where the file system has no handles, its time of birth;
    where it has none either, nothing, and the inode number has to do. Raises OSError.
    """
    for flags in (_HANDLE_FID, 0):  # the former, from Linux 6.5 on, also where none can be opened
        handle = _Handle(_MOST_HANDLE_BYTES)
        if not _libc.name_to_handle_at(
            dir_fd,
            name,
            ctypes.byref(handle),
            ctypes.byref(ctypes.c_int()),
            flags | (0 if name else _EMPTY_PATH),
        ):
            return b"%d:" % handle.kind + bytes(handle.content)[: handle.bytes]
        code = ctypes.get_errno()
        if code in (errno.ENOENT, errno.ENOTDIR, errno.ESTALE):
            raise OSError(code, os.strerror(code))
    status = ctypes.create_string_buffer(_STATX_BYTES)
    flags = _AT_SYMLINK_NOFOLLOW | (0 if name else _EMPTY_PATH)
    if _libc.statx(dir_fd, name, flags, _STATX_BTIME, status):
        return b""
    if not struct.unpack_from("<I", status, 0)[0] & _STATX_BTIME:
        return b""
    return status.raw[80:92]  # stx_btime: seconds and nanoseconds


class RootLostError(Exception):
    """A root is not what it was: the message says what it is now."""


class Root:
    """One side's directory."""

    def __init__(self, path: bytes, title: str) -> None:
        """*title*: what messages call it."""
        self.path = path
        self.title = title
        self.identity: tuple[int, int] | None = None
        """Device and inode of the directory that is synchronized."""

    @property
    def shown(self) -> str:
        """The path for reading."""
        return shown(self.path)

    def open(self) -> int:
        """Its descriptor; raises RootLostError where it is not there, or another one."""
        try:
            fd = os.open(self.path, _DIRECTORY)
        except OSError as error:
            if error.errno == errno.ENOENT:
                raise RootLostError(f"{self.title} ({self.shown}) is gone: put it back") from None
            if error.errno in (errno.ENOTDIR, errno.ELOOP):
                raise RootLostError(
                    f"{self.title} ({self.shown}) is no directory any more: put it back"
                ) from None
            raise RootLostError(
                f"{self.title} ({self.shown}) cannot be opened ({error.strerror}): put that right"
            ) from None
        status = os.fstat(fd)
        identity = status.st_dev, status.st_ino
        if self.identity is None:
            self.identity = identity
        elif self.identity != identity:
            os.close(fd)
            raise RootLostError(
                f"{self.title} ({self.shown}) is another directory than before: put it back"
            )
        return fd


def refuse_unfit(host: Root, copy: Root, state: bytes) -> None:
    """Raises SyncError unless the three are real directories, none within another."""
    for root in (host, copy):
        if os.path.islink(root.path):
            raise SyncError(f"{root.shown} is a symlink: name the directory that it leads to")
        if not os.path.isdir(root.path):
            raise SyncError(f"{root.shown} is no directory: make it first")
    real = {root.title: os.path.realpath(root.path) for root in (host, copy)} | {
        "the state's directory": os.path.realpath(state)
    }
    for inner, inside in real.items():
        for outer, outside in real.items():
            if inner != outer and _is_within(inside, outside):
                raise SyncError(
                    f"{inner} ({shown(inside)}) lies in {outer} ({shown(outside)}): "
                    "choose a place outside of it"
                )
    if os.path.samefile(host.path, copy.path):
        raise SyncError(f"{host.shown} and {copy.shown} are the same directory: choose another")


def _is_within(inside: bytes, outside: bytes) -> bool:
    return inside == outside or inside.startswith(outside.rstrip(b"/") + b"/")


def shown(path: bytes) -> str:
    """*path* for people and JSON: bytes that are no UTF-8 as \\xNN."""
    return path.decode("utf-8", "backslashreplace")
