"""What a file system of the host's takes for sure, so that it need not be asked.

What lies beyond is made on the host at once, which then says whether it can be. The numbers are
the smallest that any configuration of these file systems has, not what this one may have.
"""

import errno
import os
import resource
from dataclasses import dataclass

from osxfs_sim.mount import syscalls

_EXT, _XFS, _BTRFS, _TMPFS = 0xEF53, 0x58465342, 0x9123683E, 0x01021994  # linux/magic.h
_OVERLAY, _F2FS = 0x794C7630, 0xF2F52010
# They have symbolic links (of a target up to a block of theirs, less what surrounds it), hard
# links, and files of at least this size.
_FILE_BYTES = {
    _EXT: (1 << 34) - 1,  # blocks of 1 KiB, without extents
    _XFS: 1 << 40,
    _BTRFS: 1 << 40,
    _TMPFS: 1 << 40,
    _F2FS: 1 << 40,
    _OVERLAY: (1 << 34) - 1,
}
_LARGE_BLOCK_BYTES = 4096
_LINK_TARGET_BYTES = 1_000  # XFS: 1,024; ext4 with the smallest blocks: 1,023
_LARGEST_FILE_BYTES = 1 << 40
_LONGEST_NAME_BYTES = 255
_MOST_LINKS = 31_000  # ext2 and ext3: 32,000


@dataclass(frozen=True, slots=True)
class HostLimits:
    """What any file system of this kind accepts for certain, so that the host need not be asked."""

    name_bytes: int
    """Of one name."""
    link_target_bytes: int
    """Of a symlink's target."""
    file_bytes: int
    """Of a file's size."""
    links: int
    """Names of one object."""
    has_links: bool
    """Whether there are hard links at all."""
    links_take_inodes: bool
    """Whether a further name of a file counts as one more (tmpfs)."""

    def check_name(self, name: bytes) -> None:
        """Raise OSError (ENAMETOOLONG) where *name* is longer than the host takes."""
        if len(name) > self.name_bytes:
            raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))


def limits_of(fd: int) -> HostLimits:
    """What the file system of the object behind *fd* accepts for certain. Raises OSError."""
    host = os.fstatvfs(fd)
    magic = syscalls.file_system_magic(fd)
    is_known = magic in _FILE_BYTES
    file_bytes = _FILE_BYTES.get(magic, (1 << 31) - 1)
    if magic == _EXT and host.f_frsize >= _LARGE_BLOCK_BYTES:
        file_bytes = _LARGEST_FILE_BYTES
    own_limit = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
    if own_limit != resource.RLIM_INFINITY:
        file_bytes = min(file_bytes, own_limit)
    return HostLimits(
        name_bytes=min(host.f_namemax or _LONGEST_NAME_BYTES, _LONGEST_NAME_BYTES),
        link_target_bytes=_LINK_TARGET_BYTES if is_known else -1,
        file_bytes=file_bytes,
        links=_MOST_LINKS,
        has_links=is_known,
        links_take_inodes=magic == _TMPFS,
    )
