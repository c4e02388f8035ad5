"""Hears of sync(2), for which the kernel does not wait at a FUSE share.

It does at a FUSE file system on a block device, where it asks with FUSE_SYNCFS (Linux 6.18). So
here is one: empty, on a loop device of a page of memory, and mounted nowhere. Needs root. It
hears of sync(2) only: syncfs(2) names a file system, and that is the share.

Everybody's sync(2) waits for its answer. So it is not the share's server that gives it, which
may be stopped, but the supervisor, which has heard of what the server has to do first.
"""

import errno
import fcntl
import os
import struct

from osxfs_sim.mount import syscalls

# linux/loop.h
_LOOP_GET_FREE, _LOOP_CONFIGURE, _AUTOCLEAR = 0x4C82, 0x4C0A, 4
_LOOP_CONFIG = struct.Struct("=II 5Q4I 176s 64x")
_ATTEMPTS = 20
_PAGE_BYTES = 4096


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


def sync_barrier() -> tuple[int, int]:
    """Make a mount that hears of sync(2): (its /dev/fuse, its mount) as fds. Raises OSError.

    Both are descriptors; it ends when either is closed by all who have it. Whoever has the first
    must answer.
    """
    fuse = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        path, device = _loop_device()
        try:
            options = {
                "source": path,
                "fd": str(fuse),
                "rootmode": "40000",
                "user_id": "0",
                "group_id": "0",
                "blksize": str(_PAGE_BYTES),
            }
            return fuse, syscalls.detached_file_system(b"fuseblk", options)
        finally:
            os.close(device)
    except BaseException:
        os.close(fuse)
        raise
