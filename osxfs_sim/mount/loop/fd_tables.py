"""Descriptor tables of threads that may wait in the server's own mount, without /dev/fuse.

The kernel ends a connection, and wakes everybody who waits in the share, when the last
descriptor of /dev/fuse is closed. A server that is killed closes its own with its table of
descriptors: once the last thread that shares that table has ended. A thread that waits in the
mount ends by no signal: it may wait for a directory's lock, which a guest holds who waits for
an answer of the dead server. With such a thread in it, the table would never be closed.

So a thread that goes into the mount has a table of its own (unshare(2) with CLONE_FILES), and
nothing of the share's in it. It sees no descriptor that others open, and must not use one; its
own are below /proc/thread-self, and not /proc/self.

To have the kernel invalidate an entry takes such a lock, too, and a descriptor. It is
another one than that by which requests are read (FUSE_DEV_IOC_CLONE): when the server is
killed, the latter is closed all the same, which ends the requests that were read by it
(fuse_dev_release in fs/fuse/dev.c), and so releases the locks.
"""

import ctypes
import fcntl
import logging
import os
import struct
import threading
from collections.abc import Callable, Iterable
from concurrent.futures import Future
from typing import TypeVar

log = logging.getLogger(__name__)

_CLONE_FILES = 0x400
_CLONE_DEVICE = 0x8004E500  # FUSE_DEV_IOC_CLONE, linux/fuse.h
_PIDFD_GETFD = 438  # on every architecture but alpha (arch/*/kernel/syscalls)
_STANDARD_FDS = (0, 1, 2)
# linux/fuse.h: fuse_out_header, fuse_notify_inval_entry_out
_NOTIFICATION, _INVAL_ENTRY_OUT = struct.Struct("=IiQ"), struct.Struct("=QII")
_NOTIFY_INVAL_ENTRY = 3

_Answer = TypeVar("_Answer")
_libc = ctypes.CDLL(None, use_errno=True)


def unshare_fd_table(keep: Iterable[int] = ()) -> bool:
    """Give this thread a descriptor table of its own, *keep* in it; False: it may not. Never fails.

    Standard descriptors are kept, too; where it may not, nothing has changed. unshare(2),
    CLONE_FILES.
    """
    if not _unshare():
        return False
    _close_all_but(keep)
    return True


def _unshare() -> bool:
    if _libc.unshare(_CLONE_FILES):
        log.info("threads are not apart from the share: %s", os.strerror(ctypes.get_errno()))
        return False
    return True


def _close_all_but(keep: Iterable[int]) -> None:
    highest = max(int(name) for name in os.listdir("/proc/thread-self/fd"))
    before = -1
    for fd in sorted({*_STANDARD_FDS, *keep, highest + 1}):
        if fd > before + 1:  # Python takes an empty range that begins with 0 for all there are
            os.closerange(before + 1, fd)
        before = fd


def run_without_fuse_fds(call: Callable[..., _Answer], *arguments: object) -> _Answer:
    """Run *call* in a thread with none of the share's descriptors; its result. Raises as *call*."""
    future = Future[_Answer]()

    def run() -> None:
        unshare_fd_table()
        try:
            future.set_result(call(*arguments))
        except BaseException as error:
            future.set_exception(error)

    threading.Thread(target=run, name="osxfs-sim apart", daemon=True).start()
    return future.result()


class Device:
    """The descriptors of /dev/fuse, and who has which. One per share; made while it is served."""

    def __init__(self, fuse_fd: int) -> None:
        """*fuse_fd* is that by which requests are read."""
        self._fuse_fd = fuse_fd
        self._clone_fd = _clone(fuse_fd)

    def keep_clone_only(self, keep: Iterable[int]) -> None:
        """Leave this thread no /dev/fuse but the clone, by the other's number. Raises OSError.

        So that whoever knows it by its number sends notifications by the clone. *keep* are what it
        needs else. Does nothing where there is no clone.
        """
        if self._clone_fd >= 0 and _unshare():
            os.dup2(self._clone_fd, self._fuse_fd, inheritable=False)
            _close_all_but((*keep, self._fuse_fd))

    def leave(self) -> Callable[[int, bytes], None] | None:
        """Leave this thread no /dev/fuse; a function that sends INVAL_ENTRY, or None: it may not.

        For each of these it takes a descriptor out of the table of the server's first thread
        (pidfd_getfd(2)), and closes it at once; it raises OSError.
        """
        telling_fd = self._fuse_fd if self._clone_fd < 0 else self._clone_fd
        if not _unshare():
            return None
        pidfd = -1
        try:
            pidfd = os.pidfd_open(os.getpid())
            os.close(_taken(pidfd, telling_fd))
        except OSError as error:
            log.info("the thread of events keeps a descriptor of the share: %s", error)
            _close_all_but((telling_fd,))
            return lambda directory, name: _invalidate_entry(telling_fd, directory, name)
        _close_all_but((pidfd,))

        def invalidate_entry(directory: int, name: bytes) -> None:
            fd = _taken(pidfd, telling_fd)
            try:
                _invalidate_entry(fd, directory, name)
            finally:
                os.close(fd)

        return invalidate_entry

    def close(self) -> None:
        """Close the cloned descriptor, if there is one; no thread may send by it any more."""
        if self._clone_fd >= 0:
            os.close(self._clone_fd)
            self._clone_fd = -1


def _clone(fuse_fd: int) -> int:
    """Another descriptor of the same connection; -1 where there is none to be had."""
    try:
        fd = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        log.info("there is one descriptor of the share only: %s", error)
        return -1
    try:
        fcntl.ioctl(fd, _CLONE_DEVICE, struct.pack("=I", fuse_fd))
    except OSError as error:
        log.info("there is one descriptor of the share only: %s", error)
        os.close(fd)
        return -1
    return fd


def _taken(pidfd: int, number: int) -> int:
    """The descriptor *number* of the first thread of a process (pidfd_getfd(2))."""
    fd = int(_libc.syscall(ctypes.c_long(_PIDFD_GETFD), pidfd, number, ctypes.c_uint(0)))
    if fd < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return fd


def _invalidate_entry(fd: int, directory: int, name: bytes) -> None:
    body = _INVAL_ENTRY_OUT.pack(directory, len(name), 0) + name + b"\0"
    size_bytes = _NOTIFICATION.size + len(body)
    os.write(fd, _NOTIFICATION.pack(size_bytes, _NOTIFY_INVAL_ENTRY, 0) + body)
