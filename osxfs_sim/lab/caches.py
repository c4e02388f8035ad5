"""What the host's caches hold when a measured command begins: the same for every arm.

*Warm*: the tree was just written, so the host's page cache holds it; on a disk it
is synced first, so that nobody's run pays for writing the copy. *Cold*: the page
cache, dentries and inodes of the whole machine are dropped. The guest's caches know
nothing in either, because the mount is new.

It is syncfs(2) of the trees' own file system, and not sync(2): that asks every file system of
the machine, shares among them, which write back what they hold for it, and may take their time.
"""

import os
from collections.abc import Callable
from functools import partial
from pathlib import Path

from osxfs_sim.fs.at import sync_file_system
from osxfs_sim.lab.cases import CaseError

WARM = "warm"
COLD = "cold"

_DROP_CACHES = "/proc/sys/vm/drop_caches"
_PAGES_AND_NAMES = "3"
_IN_MEMORY = ("tmpfs", "ramfs")


def check_cold(drop_caches: str = _DROP_CACHES) -> None:
    """Raise CaseError, with the remedy, unless this process may drop the host's caches."""
    if not os.access(drop_caches, os.W_OK):
        raise CaseError(
            f"cold caches need {drop_caches}, which only root may write to (and not in every "
            "container): run it as root, or with --caches warm"
        )


def sync_trees(directory: Path) -> None:
    """Write out what the file system of *directory* has in memory. Raises OSError."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        sync_file_system(fd)
    finally:
        os.close(fd)


def make_cold(directory: Path, drop_caches: str = _DROP_CACHES) -> None:
    """Write out the trees below *directory*, and drop all caches of the machine. Raises OSError."""
    sync_trees(directory)
    with open(drop_caches, "w", encoding="ascii") as file:
        file.write(_PAGES_AND_NAMES)


def is_in_memory(directory: Path, mounts: str = "/proc/self/mountinfo") -> bool:
    """Whether *directory* lies on a tmpfs or ramfs, with no disk below it. Raises OSError."""
    device = os.stat(directory).st_dev
    number = f"{os.major(device)}:{os.minor(device)}"
    with open(mounts, encoding="utf-8", errors="surrogateescape") as file:
        for line in file:
            fields, _, rest = line.partition(" - ")
            if fields.split()[2] == number:
                return rest.split()[0] in _IN_MEMORY
    return False


COLD_IN_MEMORY = (
    "the trees lie in memory, and what is there has no cold page cache: only names and "
    "inodes are dropped; let --directory name a disk"
)


def preparation(wanted: str, directory: Path) -> Callable[[], None]:
    """The function to call before each measured mount, so that the host's caches are as *wanted*.

    *directory* is where the trees lie: in memory nothing waits to be written.
    """
    if wanted == COLD:
        return partial(make_cold, directory)
    return _nothing if is_in_memory(directory) else partial(sync_trees, directory)


def _nothing() -> None:
    """The caches are as they are to be."""
