"""Tells an object of the host's from a later one with its inode number (i_generation).

A file handle holds the inode's number and its generation (name_to_handle_at(2)); where the file
system has none that last, the time of the object's birth has to do, and where that is not kept
either, nothing tells them apart.
"""

import os

from osxfs_sim.mount import syscalls
from osxfs_sim.mount.tree.inodes import Facts, Inode

_FUSE, _OVERLAY = 0x65735546, 0x794C7630  # linux/magic.h
_HANDLE, _BIRTH, _NOTHING = b"h", b"b", b""
# By st_dev: by what objects of that file system are told apart.
_means: dict[int, bytes] = {}
_MOST_DEVICES = 1_000


def read_facts(dir_fd: int, name: bytes, status: os.stat_result) -> Facts:
    """Generation, mount and STATX_ATTR bits of *name* in *dir_fd*, on the host. Raises OSError.

    An empty name is the object behind *dir_fd*; *status* is its os.stat().
    """
    birth_ns, mount_id, attributes = syscalls.more_status(dir_fd, name)
    generation = _generation(dir_fd, name, status.st_dev, birth_ns)
    return Facts(generation, mount_id, attributes)


def generation(dir_fd: int, name: bytes, status: os.stat_result) -> bytes | None:
    """Bytes that tell *name* from a later object with its inode number, or None. Raises OSError."""
    return _generation(dir_fd, name, status.st_dev, None)


def is_same(inode: Inode, dir_fd: int, name: bytes, status: os.stat_result) -> bool:
    """Whether *name*, of this *status*, is *inode*, no later one of its number. Raises OSError."""
    if not inode.is_same(status):
        return False
    known = inode.facts.generation if inode.facts is not None else None
    if known is None:
        return True
    now = generation(dir_fd, name, status)
    return now is None or now == known


def _generation(dir_fd: int, name: bytes, device: int, birth_ns: int | None) -> bytes | None:
    means = _means.get(device)
    if means is None:
        means = _find_means(dir_fd, name, device)
    if means == _HANDLE:
        handle = syscalls.file_handle(dir_fd, name)
        return None if handle is None else _HANDLE + handle
    if means == _BIRTH:
        if birth_ns is None:
            birth_ns = syscalls.birth_time_ns(dir_fd, name)
        return _BIRTH + b"%d" % birth_ns if birth_ns else None
    return None


def _find_means(dir_fd: int, name: bytes, device: int) -> bytes:
    fd = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=dir_fd) if name else dir_fd
    try:
        magic = syscalls.file_system_magic(fd)
        means = _HANDLE
        if magic == _FUSE:
            means = _NOTHING  # its handles last as long as a kernel remembers the object
        elif syscalls.file_handle(fd, b"") is None:
            # An overlay gives an object another birth when it is first written to.
            means = _NOTHING if magic == _OVERLAY else _BIRTH
    finally:
        if name:
            os.close(fd)
    if len(_means) >= _MOST_DEVICES:
        _means.clear()
    _means[device] = means
    return means
