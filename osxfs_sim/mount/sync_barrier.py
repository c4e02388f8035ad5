"""Tells of sync(2), for which the kernel does not wait at a FUSE share.

It does at a FUSE file system on a block device, where it asks with FUSE_SYNCFS (Linux 6.18). So
here is one: empty, on a loop device of a page of memory, and mounted nowhere. Needs root. It
hears of sync(2) only: syncfs(2) names a file system, and that is the share.
"""

import errno
import fcntl
import logging
import os
import struct
from collections.abc import Awaitable, Callable

import trio

from osxfs_sim.mount import syscalls

log = logging.getLogger(__name__)

# linux/loop.h and linux/fuse.h
_LOOP_GET_FREE, _LOOP_CONFIGURE, _AUTOCLEAR = 0x4C82, 0x4C0A, 4
_LOOP_CONFIG = struct.Struct("=II 5Q4I 176s 64x")
_IN, _OUT = struct.Struct("=IIQQIIII"), struct.Struct("=IiQ")
_GETATTR, _INIT, _DESTROY, _SYNCFS = 3, 26, 38, 50
_WITHOUT_REPLY = frozenset({2, 36, 42})  # FORGET, INTERRUPT, BATCH_FORGET
_INIT_OUT = struct.pack("=IIIIHHIIHHI7I", 7, 31, 0, 0, 12, 9, 65536, 1, 0, 0, 0, *[0] * 7)
_ROOT = struct.pack("=QII 6Q10I", 3600, 0, 0, 1, *[0] * 8, 0o40755, 2, 0, 0, 0, 4096, 0)
_ATTEMPTS = 20
_PAGE_BYTES = 4096
_LARGEST_REQUEST_BYTES = 1 << 17
_ENOSYS = -38


def _loop_device() -> tuple[str, int]:
    """A loop device that goes when its last descriptor is closed, and such a descriptor."""
    memory = os.memfd_create("osxfs-sim sync barrier")
    control = os.open("/dev/loop-control", os.O_RDWR | os.O_CLOEXEC)
    try:
        os.truncate(memory, _PAGE_BYTES)
        for _ in range(_ATTEMPTS):  # others take them too
            path = f"/dev/loop{fcntl.ioctl(control, _LOOP_GET_FREE)}"
            device = os.open(path, os.O_RDWR | os.O_CLOEXEC)
            try:
                config = _LOOP_CONFIG.pack(memory, 0, *[0] * 8, _AUTOCLEAR, b"")
                fcntl.ioctl(device, _LOOP_CONFIGURE, config)
            except OSError:
                os.close(device)
            else:
                return path, device
        raise OSError(errno.EBUSY, "no free loop device")
    finally:
        os.close(control)
        os.close(memory)


class SyncBarrier:
    """The file system exists as long as this is open."""

    def __init__(self) -> None:
        """Raises OSError where it cannot be set up."""
        self.works = False
        self._fuse = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
        try:
            path, device = _loop_device()
            try:
                options = {
                    "source": path,
                    "fd": str(self._fuse),
                    "rootmode": "40000",
                    "user_id": "0",
                    "group_id": "0",
                    "blksize": str(_PAGE_BYTES),
                }
                self._mount = syscalls.detached_file_system(b"fuseblk", options)
            finally:
                os.close(device)
        except BaseException:
            os.close(self._fuse)
            raise

    async def serve(self, have_all_written: Callable[[], Awaitable[None]]) -> None:
        """Answer; *have_all_written* is awaited for each sync(2) of anybody."""
        async with trio.open_nursery() as nursery:
            while True:
                await trio.lowlevel.wait_readable(self._fuse)
                try:
                    request = os.read(self._fuse, _LARGEST_REQUEST_BYTES)
                except BlockingIOError:
                    continue  # withdrawn
                except OSError as error:
                    self.works = False
                    log.warning("sync(2) does not wait for the host any more: %s", error)
                    return
                nursery.start_soon(self._answer, request, have_all_written)

    async def _answer(
        self, request: bytes, have_all_written: Callable[[], Awaitable[None]]
    ) -> None:
        _, operation, unique, *_ = _IN.unpack_from(request)
        error, body = 0, b""
        if operation in _WITHOUT_REPLY:
            return
        if operation == _INIT:
            body = _INIT_OUT
            self.works = True
        elif operation == _GETATTR:
            body = _ROOT
        elif operation == _SYNCFS:
            await have_all_written()
        elif operation != _DESTROY:
            error = _ENOSYS
        try:
            os.write(self._fuse, _OUT.pack(_OUT.size + len(body), error, unique) + body)
        except OSError as failure:
            log.debug("a sync(2) was withdrawn: %s", failure)

    def close(self) -> None:
        os.close(self._fuse)  # first, else the kernel would ask for leave
        os.close(self._mount)
