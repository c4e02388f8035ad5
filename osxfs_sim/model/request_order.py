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

    LOOKS       (read, getattr, lookup, open, ...) waits for every change that came before it
    CHANGES     (write, setattr, open with O_TRUNC, ...) waits for every change that came
                before it, and for everything that looks: a read that takes long must not
                show half of what came later
    SYNCS       (fsync, flush) waits for every change that came before it, and nobody waits
                for it: what is written later may be on the disk or not

Nobody waits for what came later, so nobody waits for ever; and there is no order between
different objects.
"""

import enum
from typing import Generic, TypeVar

from osxfs_sim.model.operations import Operation

T = TypeVar("T")


class Access(enum.Enum):
    """What a request does with the one object that it is about."""

    LOOKS = "looks"
    CHANGES = "changes"
    SYNCS = "syncs"


ACCESS_OF: dict[Operation, Access] = {
    Operation.LOOKUP: Access.LOOKS,
    Operation.GETATTR: Access.LOOKS,
    Operation.READLINK: Access.LOOKS,
    Operation.ACCESS: Access.LOOKS,
    Operation.OPEN: Access.LOOKS,
    Operation.CREATE: Access.LOOKS,
    Operation.READ: Access.LOOKS,
    Operation.GETXATTR: Access.LOOKS,
    Operation.LISTXATTR: Access.LOOKS,
    Operation.SETATTR: Access.CHANGES,
    Operation.LINK: Access.CHANGES,
    Operation.WRITE: Access.CHANGES,
    Operation.SETXATTR: Access.CHANGES,
    Operation.REMOVEXATTR: Access.CHANGES,
    Operation.FLUSH: Access.SYNCS,
    Operation.FSYNC: Access.SYNCS,
}
"""Of what is not named here nobody waits for anybody.

Names are the kernel's to keep apart: it holds the lock of a directory that it changes. READDIR
tells no attributes, and those of READDIRPLUS are not taken over by a kernel that has changed
the object since it asked (fs/fuse/inode.c, fuse_change_attributes). RELEASE comes when all that
was asked by the handle is answered.
"""


class Turn(Generic[T]):
    """One request's place among those of the object *of*.

    *signal* is whatever its driver wakes it by.
    """

    __slots__ = ("access", "has_begun", "of", "signal")

    def __init__(self, of: T, access: Access, *, has_begun: bool) -> None:
        self.of = of
        self.access = access
        self.has_begun = has_begun
        self.signal: object = None


class Order(Generic[T]):
    """The requests that are under way or wait, per object; nothing of an object that is idle.

    A request that is done at once, while nothing is under way, need not enter at all.
    """

    def __init__(self) -> None:
        self.turns: dict[T, dict[Turn[T], None]] = {}
        """Only objects about which something is under way: to look whether it is empty is cheap."""

    def enter(self, of: T, access: Access, *, has_begun: bool = False) -> Turn[T]:
        """A request has come. It may begin at once, or when leave() of another returns it.

        With *has_begun* it came when nothing was under way, and turns out to take long.
        """
        turns = self.turns.setdefault(of, {})
        turn = Turn(of, access, has_begun=has_begun or not _waits(access, turns))
        turns[turn] = None
        return turn

    def leave(self, turn: Turn[T]) -> list[Turn[T]]:
        """A request is done, or given up. Returns those that may begin now, and have to."""
        turns = self.turns[turn.of]
        del turns[turn]
        if not turns:
            del self.turns[turn.of]
            return []
        begin: list[Turn[T]] = []
        somebody_looks = False
        for each in turns:
            changes = each.access is Access.CHANGES
            if not each.has_begun and not (changes and somebody_looks):
                each.has_begun = True
                begin.append(each)
            if changes:
                break  # everything after it waits for it
            somebody_looks |= each.access is Access.LOOKS
        return begin


def _waits(access: Access, earlier: "dict[Turn[T], None]") -> bool:
    if access is Access.CHANGES:
        return any(each.access is not Access.SYNCS for each in earlier)
    return any(each.access is Access.CHANGES for each in earlier)
