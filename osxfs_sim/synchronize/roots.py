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
import threading
from collections.abc import Iterator

from osxfs_sim.fs.at import (
    RESOLVE_BENEATH,
    RESOLVE_NO_MAGICLINKS,
    RESOLVE_NO_SYMLINKS,
    RESOLVE_NO_XDEV,
    open_beneath,
)
from osxfs_sim.model.user_error import UserError
from osxfs_sim.synchronize.errors import SyncError
from osxfs_sim.synchronize.snapshot import Path, Stamp

_libc = ctypes.CDLL(None, use_errno=True)

RENAME_NOREPLACE = 1
RENAME_EXCHANGE = 2
_RESOLVE = RESOLVE_NO_XDEV | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS | RESOLVE_BENEATH
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


class _Room(threading.local):
    """Where the kernel writes a handle, made once for each thread: of every file, one is asked."""

    def __init__(self) -> None:
        self.handle = _Handle()
        self.at = ctypes.addressof(self.handle)
        self.content_at = self.at + _Handle.content.offset
        self.mount = ctypes.c_int()
        self.mount_at = ctypes.addressof(self.mount)


_room = _Room()
_libc.name_to_handle_at.argtypes = (
    *(ctypes.c_int, ctypes.c_char_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int),
)
_libc.renameat2.argtypes = (
    *(ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_uint),
)


def _open(dir_fd: int, path: bytes, flags: int) -> int:
    try:
        return open_beneath(dir_fd, path, flags, _RESOLVE)
    except OSError as error:
        if error.errno not in (errno.ENOSYS, errno.EPERM) or b"/" in path:
            raise
    # Older kernels and some sandboxes lack openat2: a mount shows by its device then.
    opened = os.open(path, flags | os.O_NOFOLLOW, dir_fd=dir_fd)
    if os.fstat(opened).st_dev != os.fstat(dir_fd).st_dev:
        os.close(opened)
        raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
    return opened


def open_directory(dir_fd: int, name: bytes) -> int:
    """A descriptor of the directory *name* in another. Raises OSError; EXDEV: mount point."""
    return _open(dir_fd, name, _DIRECTORY)


def open_file(dir_fd: int, name: bytes) -> int:
    """A descriptor to read the file *name* of a directory, without waiting. Raises OSError."""
    return _open(dir_fd, name, _FILE)


@contextlib.contextmanager
def directory_at(root_fd: int, path: Path) -> Iterator[int]:
    """Yield a descriptor of the directory *path* below the root *root_fd*. Raises OSError."""
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


class LastDirectory:
    """Opens directories below a root, and keeps the last one open for the next call.

    For what is read and compared with what was seen there: it may have been moved meanwhile.
    """

    def __init__(self, root_fd: int) -> None:
        """None is open yet."""
        self._root = root_fd
        self._path: Path | None = None
        self._held = contextlib.ExitStack()
        self._fd = -1

    def at(self, path: Path) -> int:
        """The descriptor of the directory *path*, good until the next call. Raises OSError."""
        if path != self._path:
            self.close()
            self._fd = self._held.enter_context(directory_at(self._root, path))
            self._path = path
        return self._fd

    def close(self) -> None:
        """Close the directory that was opened last, if one is open."""
        self._path = None
        self._held.close()


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
    """renameat2(2): rename *old* in one directory to *new* in another. Raises OSError."""
    if _libc.renameat2(old_fd, old, new_fd, new, flags):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def stamp_of(status: os.stat_result) -> Stamp:
    """Device, inode, size, times, mode and ids, by which an unchanged object is recognized."""
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
    """Whether the permission bits *mode* let a file's owner execute it."""
    return bool(mode & modes.S_IXUSR)


def birth_of(dir_fd: int, name: bytes = b"") -> bytes:
    """The file handle (or birth time) of *name*, which no later object has. Raises OSError.

    Empty: of *dir_fd* itself. Where the file system has no handles, its time of birth;
    where it has none either, nothing, and the inode number has to do. Raises OSError.
    """
    room, itself = _room, 0 if name else _EMPTY_PATH
    for flags in (_HANDLE_FID, 0):  # the former, from Linux 6.5 on, also where none can be opened
        handle = room.handle
        handle.bytes = _MOST_HANDLE_BYTES
        if not _libc.name_to_handle_at(dir_fd, name, room.at, room.mount_at, flags | itself):
            return b"%d:%b" % (handle.kind, ctypes.string_at(room.content_at, handle.bytes))
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


class RootLostError(UserError):
    """A root is not what it was: the message says what it is now."""


class Root:
    """The top directory of one side, recognized by its inode."""

    def __init__(self, path: bytes, title: str) -> None:
        """*title*: what messages call it."""
        self.path = path
        self.title = title
        self.identity: tuple[int, int] | None = None
        """Device and inode of the directory that is synchronized."""

    @property
    def shown(self) -> str:
        """The root's path as text, undecodable bytes escaped."""
        return shown(self.path)

    def open(self) -> int:
        """A descriptor of the root directory. Raises RootLostError: it is gone, or another one."""
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
    """Raise SyncError unless *host* and *copy* are directories, no one of the three in another."""
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
    """*path* as text for people and JSON: bytes that are no UTF-8 as \\xNN; never fails."""
    return path.decode("utf-8", "backslashreplace")
