"""Looks through a tree for names that fold together, before anybody works in it."""

import os
from collections import deque
from collections.abc import Container
from typing import NamedTuple

from osxfs_sim.model.names import NameRules

MOST_NAMES_SCANNED = 50_000
_DEEPEST = 64
_OPEN = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


class Collision(NamedTuple):
    """Names of one directory that fold together, so that the guest takes them for one."""

    directory: tuple[int, int]
    """Device and inode number of the directory, on the host."""
    path: bytes
    """Its path on the host, as /proc tells it."""
    names: list[bytes]
    """The first names in it that fold together, two or more."""


def collisions_below(
    root_fd: int,
    rules: NameRules,
    mountpoints: Container[bytes] = (),
    most_names: int = MOST_NAMES_SCANNED,
) -> list[Collision]:
    """Names that fold together among the first *most_names* below *root_fd*. Never fails.

    What cannot be read is passed over, and so are *mountpoints*: behind them may be what never
    answers, or the very share that waits for this to end.
    """
    found: list[Collision] = []
    waiting: deque[tuple[bytes, ...]] = deque([()])
    while waiting and most_names > 0:
        way = waiting.popleft()
        try:
            fd = _open(root_fd, way)
        except OSError:
            continue
        try:
            path = os.readlink(b"/proc/self/fd/%d" % fd)
            names = []
            with os.scandir(fd) as entries:
                for entry in entries:
                    name = os.fsencode(entry.name)
                    names.append(name)
                    if (
                        entry.is_dir(follow_symlinks=False)
                        and len(way) < _DEEPEST
                        and os.path.join(path, name) not in mountpoints
                    ):
                        waiting.append((*way, name))
                    most_names -= 1
                    if most_names <= 0:
                        break
            groups = rules.collisions(names)
            if groups:
                status = os.fstat(fd)
                found.append(Collision((status.st_dev, status.st_ino), path, groups[0]))
        except OSError:
            continue
        finally:
            os.close(fd)
    return found


def _open(root_fd: int, way: tuple[bytes, ...]) -> int:
    """The directory that *way* leads to. No link is followed: none leads out of the tree."""
    fd = os.open(".", _OPEN, dir_fd=root_fd)
    for name in way:
        above = fd
        try:
            fd = os.open(name, _OPEN, dir_fd=above)
        finally:
            os.close(above)
    return fd
