"""FUSE invalidations as values: what the kernel is to cache no longer (linux/fuse.h).

Who sends them is in events/invalidate.py; who wants them sent need know no more than this.
"""

from collections.abc import Callable, Iterable
from typing import NamedTuple


class InvalEntry(NamedTuple):
    """Invalidate one dentry, positive or negative: FUSE_NOTIFY_INVAL_ENTRY."""

    directory: int
    """The FUSE inode number of the directory (``parent`` of fuse_notify_inval_entry_out)."""
    name: bytes
    """The name in it, as the guest spells it."""


class InvalAttributes(NamedTuple):
    """Invalidate the attributes of an inode: FUSE_NOTIFY_INVAL_INODE with a negative offset."""

    number: int
    """The FUSE inode number."""
    entry: InvalEntry | None
    """A dentry by which the guest knows it, invalidated too where a reply on its way may bring the
    inode; None: none."""


class InvalPages(NamedTuple):
    """Invalidate attributes and page cache of an inode: FUSE_NOTIFY_INVAL_INODE from offset 0."""

    number: int
    """The FUSE inode number."""
    entry: InvalEntry | None
    """As of InvalAttributes."""


class IncrementEpoch(NamedTuple):
    """Invalidate all dentries of the mount at once: FUSE_NOTIFY_INC_EPOCH (Linux 6.16)."""

    call: Callable[[], bool]
    """Reactor.increment_epoch: returns whether the kernel could."""


Invalidation = InvalEntry | InvalAttributes | InvalPages | IncrementEpoch

Invalidate = Callable[[Iterable[Invalidation]], None]
"""Has the kernel invalidate these, soon, in another thread."""
