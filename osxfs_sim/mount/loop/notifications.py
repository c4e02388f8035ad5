"""What the kernel can be told to keep no longer, as values (FUSE_NOTIFY_INVAL_*, linux/fuse.h).

Who sends them is in events/invalidate.py; who wants them sent need know no more than this.
"""

from collections.abc import Callable, Iterable
from typing import NamedTuple


class Entry(NamedTuple):
    """The answer that *name* is, or is not, in the directory of this number."""

    directory: int
    name: bytes


class Attributes(NamedTuple):
    """What the inode of this number is like; *entry* is a way by which the guest knows it."""

    number: int
    entry: Entry | None


class Pages(NamedTuple):
    """As Attributes, and its content."""

    number: int
    entry: Entry | None


class Everything(NamedTuple):
    """All names that the kernel holds, missing ones included."""

    call: Callable[[], bool]


Ending = Entry | Attributes | Pages | Everything

EndAnswers = Callable[[Iterable[Ending]], None]
"""Has the kernel keep none of these any longer, soon, in another thread."""
