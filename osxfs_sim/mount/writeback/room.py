"""Room on the host: enough for what is pending? And does it say itself that it has none?"""

import errno
import os
import time
from collections.abc import Callable

from osxfs_sim.model.write_back import PendingChanges
from osxfs_sim.mount.tree.host_limits import HostLimits
from osxfs_sim.mount.tree.inodes import Inode

_SPARE_BYTES = 1 << 20
_MOST_SPARE_BYTES = 64 << 20
_SPARE_PART = 100  # of it all: what a file system may keep for itself
# Room on the host that is left to others: a full disk is met when the guest writes, not later.
_LEFT_TO_OTHERS_BYTES = 16 << 20
_READ_AGAIN_NS = 50_000_000
_NEVER_NS = -2 * _READ_AGAIN_NS  # also on a machine just booted
_FEW_OBJECTS = 1_000


class HostRoom:
    """Judges whether the host has room for what is pending, and for one change more."""

    def __init__(
        self,
        root_fd: int,
        limits: HostLimits,
        changes: PendingChanges[Inode],
        check_mounts: Callable[[], None],
    ) -> None:
        """*check_mounts* is called whenever the host is asked anew."""
        self._root_fd = root_fd
        self._limits = limits
        self._changes = changes
        self._check_mounts = check_mounts
        self._read_ns = _NEVER_NS
        self._bytes = self._objects = self._block_bytes = 0

    def check(self, size_bytes: int, *, objects: int = 0) -> None:
        """Whether the host has room for all that is pending, and for this. Raises OSError."""
        now_ns = time.monotonic_ns()
        if now_ns - self._read_ns > _READ_AGAIN_NS:
            self._read(now_ns)
            self._check_mounts()
        if not self._has(size_bytes, objects):
            if self._read_ns != now_ns:
                self._read(now_ns)
            if not self._has(size_bytes, objects):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _read(self, now_ns: int) -> None:
        host = os.fstatvfs(self._root_fd)
        if host.f_flag & os.ST_RDONLY:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        unlimited = 1 << 62
        self._bytes = self._objects = unlimited
        self._block_bytes = 0
        if host.f_blocks:
            spare = min(_LEFT_TO_OTHERS_BYTES, host.f_blocks * host.f_frsize // 4)
            self._bytes = host.f_bavail * host.f_frsize - spare
            self._block_bytes = host.f_frsize
        if host.f_files:  # some file systems have inodes as long as they have room
            self._objects = host.f_favail
        self._read_ns = now_ns

    def _has(self, size_bytes: int, objects: int) -> bool:
        changes = self._changes
        objects += changes.to_make
        if self._limits.links_take_inodes:
            objects += changes.links
        if objects > self._objects:
            return False
        if self._objects - objects < _FEW_OBJECTS:
            self._read_ns = _NEVER_NS  # what crosses meanwhile counts: look again each time
        return changes.bytes + size_bytes + objects * self._block_bytes <= self._bytes


def has_room(fd: int, code: int, length: int) -> bool:
    """Whether *fd*'s file system says it has room, having refused *length* bytes; never fails.

    *code* is the errno. Where it has, the refusal is about something else: a quota, one directory.
    """
    try:
        host = os.fstatvfs(fd)
    except OSError:
        return True
    if host.f_flag & os.ST_RDONLY:
        return False
    if code == errno.EROFS:
        return True
    total, free = host.f_blocks * host.f_frsize, host.f_bavail * host.f_frsize
    spare = min(max(total // _SPARE_PART, _SPARE_BYTES), _MOST_SPARE_BYTES)
    is_full = host.f_blocks > 0 and free < length + spare
    return not is_full and not (host.f_files > 0 and host.f_favail == 0)
