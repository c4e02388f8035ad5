"""The directories that a lab works in: its own as long as it lives, and cleaned up after it.

A lab that is killed leaves its trees, in memory mostly. Each directory is locked by whoever works
in it; the kernel lets go of a lock with its process, however that ends. So a directory that
nobody has locked is left over, and the next lab takes it away.
"""

import contextlib
import fcntl
import os
import stat
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from osxfs_sim.fs import at

_PREFIX, _SUFFIX = "osxfs-sim-", ".lab"
_YOUNG_S = 60.0
"""A directory is locked an instant after it is made: one so young is nobody's to take."""
_KINDS = ("run", "compare", "events", "museum", "histories", "schedule")

EndMount = Callable[[str], object]
"""Ends the share mounted at a path, whatever state it is in: handed to the lab."""


@contextlib.contextmanager
def work_directory(kind: str, directory: str | Path) -> Iterator[Path]:
    """Context manager: a new locked directory in *directory*, then gone. Raises OSError."""
    assert kind in _KINDS
    with tempfile.TemporaryDirectory(
        suffix=_SUFFIX, prefix=f"{_PREFIX}{kind}-", dir=directory
    ) as made:
        fd = os.open(made, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            with contextlib.suppress(OSError):  # of a file system without locks
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield Path(made)
        finally:
            os.close(fd)


def left_over(directory: Path, *, young_s: float = _YOUNG_S) -> list[Path]:
    """Our work directories in *directory* whose process is gone; leaves out what it cannot open."""
    found = []
    for kind in _KINDS:
        for path in sorted(directory.glob(f"{_PREFIX}{kind}-????????{_SUFFIX}")):
            try:
                fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
            except OSError:
                continue
            try:
                status = os.fstat(fd)
                if status.st_uid != os.geteuid() or stat.S_IMODE(status.st_mode) & 0o077:
                    continue  # another's, or none of tempfile's
                if time.time() - status.st_ctime < young_s:
                    continue
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                found.append(path)
            except OSError:
                pass  # somebody works in it
            finally:
                os.close(fd)
    return found


def remove(path: Path, end_mount: EndMount, mounted_below: Callable[[str], list[str]]) -> bool:
    """End what is mounted in *path* and remove it; returns whether it is gone, instead of raising.

    While anything is mounted in it, nothing is removed: it may be more than ours.
    """
    for mountpoint in reversed(mounted_below(str(path))):
        with contextlib.suppress(Exception):  # it says so by being there still
            end_mount(mountpoint)
    if mounted_below(str(path)):
        return False
    with contextlib.suppress(OSError):
        at.remove_all(path)
    return not path.exists()
