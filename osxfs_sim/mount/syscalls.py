"""The few system calls that the standard library does not offer in full."""

import ctypes
import os

_libc = ctypes.CDLL(None, use_errno=True)

AT_EMPTY_PATH = 0x1000
"""Work on the object behind the descriptor itself, O_PATH and symlinks included (open(2))."""
_UTIME_OMIT = (1 << 30) - 2


class _Timespec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


def _raise_errno() -> None:
    code = ctypes.get_errno()
    raise OSError(code, os.strerror(code))


def rename(old_fd: int, old: bytes, new_fd: int, new: bytes, flags: int) -> None:
    """renameat2(2); *flags* are RENAME_NOREPLACE and RENAME_EXCHANGE."""
    if not flags:
        os.rename(old, new, src_dir_fd=old_fd, dst_dir_fd=new_fd)
    elif _libc.renameat2(old_fd, old, new_fd, new, ctypes.c_uint(flags)):
        _raise_errno()


def set_times(fd: int, atime_ns: int | None, mtime_ns: int | None) -> None:
    """utimensat(2) on the object behind *fd*; None leaves a time as it is."""
    times = (_Timespec * 2)(_timespec(atime_ns), _timespec(mtime_ns))
    if _libc.utimensat(fd, b"", times, AT_EMPTY_PATH):
        _raise_errno()


def _timespec(time_ns: int | None) -> _Timespec:
    if time_ns is None:
        return _Timespec(0, _UTIME_OMIT)
    return _Timespec(*divmod(time_ns, 1_000_000_000))


def set_owner(fd: int, uid: int, gid: int) -> None:
    """fchownat(2) on the object behind *fd*; -1 leaves an id as it is."""
    if _libc.fchownat(fd, b"", ctypes.c_uint(uid), ctypes.c_uint(gid), AT_EMPTY_PATH):
        _raise_errno()


def give_memory_back() -> None:
    """malloc_trim(3): return freed heap to the system, where the C library can."""
    if hasattr(_libc, "malloc_trim"):
        _libc.malloc_trim(0)


def write_out(path: str) -> None:
    """syncfs(2): have the kernel write out what it holds of the file system at *path*."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        if _libc.syncfs(fd):
            _raise_errno()
    finally:
        os.close(fd)
