"""What the kernel can be told to keep no longer, as values (FUSE_NOTIFY_INVAL_*, linux/fuse.h).

Who sends them is in events/invalidate.py; who wants them sent need know no more than this.
"""

from collections.abc import Callable, Iterable
from typing import NamedTuple


class InvalEntry(NamedTuple):
    """The answer that *name* is, or is not, in the directory of this number."""

    directory: int
    name: bytes


class InvalAttributes(NamedTuple):
    """What the inode of this number is like; *entry* is a way by which the guest knows it."""

    number: int
    entry: InvalEntry | None


class InvalPages(NamedTuple):
    """As Attributes, and its content."""

    number: int
    entry: InvalEntry | None


class IncrementEpoch(NamedTuple):
    """All names that the kernel holds, missing ones included."""

    call: Callable[[], bool]


Invalidation = InvalEntry | InvalAttributes | InvalPages | IncrementEpoch

Invalidate = Callable[[Iterable[Invalidation]], None]
"""Has the kernel keep none of these any longer, soon, in another thread."""
