"""Copies what a file holds, its holes left out, and shared with it where the host can."""

import errno
import fcntl
import os
from collections.abc import Callable, Iterator

_COPIED_BYTES = 1 << 20
_FICLONE = 0x40049409  # linux/fs.h
_CANNOT = (errno.ENOSYS, errno.EXDEV, errno.EOPNOTSUPP, errno.EINVAL, errno.EBADF, errno.EPERM)


def _go_on() -> None:
    """Nobody wants it to end."""


def copy_content(source: int, target: int, check_interrupt: Callable[[], None] = _go_on) -> None:
    """Copy all of the file *source* into the empty file *target* (both fds). Raises OSError.

    *check_interrupt* is called again and again, and ends it by what it raises.
    """
    try:
        fcntl.ioctl(target, _FICLONE, source)
        return
    except OSError:
        pass  # few file systems share content
    size = os.fstat(source).st_size
    os.ftruncate(target, size)
    for start, end in _data(source, size):
        _copy_range(source, target, start, end, check_interrupt)


def _data(source: int, size: int) -> Iterator[tuple[int, int]]:
    """Where *source* holds data, and no hole."""
    start = 0
    while start < size:
        try:
            start = os.lseek(source, start, os.SEEK_DATA)
            end = os.lseek(source, start, os.SEEK_HOLE)
        except OSError as error:
            if error.errno == errno.ENXIO:
                return  # nothing but a hole is left
            if error.errno != errno.EINVAL:
                raise
            end = size  # this file system does not tell
        yield start, end
        start = end


def _copy_range(
    source: int, target: int, start: int, end: int, check_interrupt: Callable[[], None]
) -> None:
    in_kernel = True
    while start < end:
        check_interrupt()
        length = min(end - start, _COPIED_BYTES)
        if in_kernel:
            try:
                copied = os.copy_file_range(source, target, length, start, start)
            except OSError as error:
                if error.errno not in _CANNOT:
                    raise
                copied = 0
            in_kernel = copied > 0
        if not in_kernel:
            data = os.pread(source, length, start)
            if not data:
                return  # it has become shorter meanwhile
            copied = os.pwrite(target, data, start)
        start += copied
