"""Whether the host says itself that it has no room."""

import errno
import os

_SPARE_BYTES = 1 << 20
_MOST_SPARE_BYTES = 64 << 20
_SPARE_PART = 100  # of it all: what a file system may keep for itself


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
