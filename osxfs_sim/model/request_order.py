"""Which requests about one object have to wait for which.

Most requests are done at once, one after the other. A few are made in a thread, because the
host may take long (large or synchronous writes, data that is not in memory, fsync), or wait for
something else (room for held changes). Others come in the meantime, and the guest's kernel
relies on what an ordinary, single-threaded server gives it: that each is answered as if all that
came before had been done before.

It relies on it where it matters most. A write(2) is put into the guest's pages before the server
hears of it, and the pages are free again while it is on its way: any process that learns of a
new time of modification drops them, and reads anew. A READ that overtakes the WRITE fills them
with what was there before, and nothing ends that: the write has been answered, and is gone.

So, of one object, in the order in which they came:

    READS       (read, getattr, lookup, open, ...) waits for every change that came before it
    CHANGES     (write, setattr, open with O_TRUNC, ...) waits for every change that came
                before it, and for every read: one that takes long must not return half of
                what came later
    SYNCS       (fsync, flush) waits for every change that came before it, and no request
                waits for it: what is written later may be on the disk or not

No request waits for a later one, so none waits for ever; and there is no order between
different objects.
"""

import enum
from typing import Generic, TypeVar

from osxfs_sim.model.operations import Operation

T = TypeVar("T")


class Access(enum.Enum):
    """What a request does with the one object that it is about."""

    READS = "reads"
    CHANGES = "changes"
    SYNCS = "syncs"


ACCESS_OF: dict[Operation, Access] = {
    Operation.LOOKUP: Access.READS,
    Operation.GETATTR: Access.READS,
    Operation.READLINK: Access.READS,
    Operation.ACCESS: Access.READS,
    Operation.OPEN: Access.READS,
    Operation.CREATE: Access.READS,
    Operation.READ: Access.READS,
    Operation.GETXATTR: Access.READS,
    Operation.LISTXATTR: Access.READS,
    Operation.SETATTR: Access.CHANGES,
    Operation.LINK: Access.CHANGES,
    Operation.WRITE: Access.CHANGES,
    Operation.SETXATTR: Access.CHANGES,
    Operation.REMOVEXATTR: Access.CHANGES,
    Operation.FLUSH: Access.SYNCS,
    Operation.FSYNC: Access.SYNCS,
}
"""Requests that are not named here neither wait nor are waited for.

Names are the kernel's to keep apart: it holds the lock of a directory that it changes. READDIR
tells no attributes, and those of READDIRPLUS are not taken over by a kernel that has changed
the object since its request (fs/fuse/inode.c, fuse_change_attributes). RELEASE comes when all
requests by the handle are answered.
"""


class Turn(Generic[T]):
    """One request's place in the queue of the object *of*.

    *signal* is whatever the caller wakes it by.
    """

    __slots__ = ("access", "has_begun", "of", "signal")

    def __init__(self, of: T, access: Access, *, has_begun: bool) -> None:
        self.of = of
        self.access = access
        self.has_begun = has_begun
        self.signal: object = None


class Order(Generic[T]):
    """A reader-writer queue per object: requests that are under way or wait; none of idle objects.

    A request that is done at once, while nothing is under way, need not enter at all.
    """

    def __init__(self) -> None:
        self.turns: dict[T, dict[Turn[T], None]] = {}
        """Only objects about which something is under way: to test whether it is empty is cheap."""

    def enter(self, of: T, access: Access, *, has_begun: bool = False) -> Turn[T]:
        """Queue a request on the object *of*; ``has_begun`` of its Turn tells if it may begin now.

        With *has_begun* it came when nothing was under way, and turns out to take long.
        """
        turns = self.turns.setdefault(of, {})
        turn = Turn(of, access, has_begun=has_begun or not _waits(access, turns))
        turns[turn] = None
        return turn

    def leave(self, turn: Turn[T]) -> list[Turn[T]]:
        """End or give up *turn*; returns those to begin now. Raises KeyError if not queued."""
        turns = self.turns[turn.of]
        del turns[turn]
        if not turns:
            del self.turns[turn.of]
            return []
        begin: list[Turn[T]] = []
        some_read_before = False
        for each in turns:
            changes = each.access is Access.CHANGES
            if not each.has_begun and not (changes and some_read_before):
                each.has_begun = True
                begin.append(each)
            if changes:
                break  # everything after it waits for it
            some_read_before |= each.access is Access.READS
        return begin


def _waits(access: Access, earlier: "dict[Turn[T], None]") -> bool:
    if access is Access.CHANGES:
        return any(each.access is not Access.SYNCS for each in earlier)
    return any(each.access is Access.CHANGES for each in earlier)
