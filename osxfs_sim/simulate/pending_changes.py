"""What a guest's changes are while they are pending, and what is answered out of that.

The list of what has to cross, its order, what it merges and what it cancels are those of a mounted
share (model/write_back.py). What is written down here once more is what such a share makes of each
request (mount/writeback/): is it answered on the guest's side, has the host to be asked, and must
it have something first?

Taken to be so, since no recording tells: the host takes every change; nothing of the tree is
immutable, in another mount, or an overlapping export's; and the server is root.
"""

import stat as modes
from collections import defaultdict
from dataclasses import dataclass, field
from typing import NamedTuple

from osxfs_sim.model.extents import ON_HOST, Extents
from osxfs_sim.model.operations import Operation
from osxfs_sim.model.write_back import (
    Change,
    Kind,
    PendingChanges,
    WriteBackSpec,
    concerned,
    name_effects,
)
from osxfs_sim.simulate.recording import LISTS, MAKES_A_NAME, SETS_MODE, TAKES_A_NAME, Question

_SETS_SIZE = frozenset({"truncate", "ftruncate"})
_DEEPEST = 4_096
_OPEN_TRUNCATES = 0o1000  # O_TRUNC of Linux


class Answer(NamedTuple):
    """What a share with write-back does with a request."""

    is_held: bool
    """Whether it is answered on the guest's side."""
    crosses_as: Operation | None = None
    """What the host is asked all the same, or instead; None: nothing, or the request itself."""
    size_bytes: int = 0
    """What that carries."""


HELD = Answer(is_held=True)
TO_HOST = Answer(is_held=False)


@dataclass(slots=True)
class _Overlay:
    """What is pending of one object."""

    changes: int = 0
    last_sequence: int = 0
    own_sequence: int = 0
    has_mode: bool = False
    is_orphan: bool = False
    content: Extents = field(default_factory=Extents)


class PendingTree:
    """The guest's tree, as far as the host has not got it yet. Objects are inode numbers."""

    def __init__(self, spec: WriteBackSpec, root: int) -> None:
        self.changes: PendingChanges[int] = PendingChanges(spec)
        """What has to cross."""
        self._root = root
        self._overlays: dict[int, _Overlay] = {}
        self._local_only: set[int] = set()
        self._nameless: set[int] = set()  # on the host, and without a name there
        # Of a name that differs from the host's: how many changes are of it, and its object.
        self._names: dict[tuple[int, bytes], tuple[int, int]] = {}
        # What the guest has by each name and where each object is, as far as it was told.
        self._holders: dict[tuple[int, bytes], int] = {}
        self._parents: dict[int, int] = {}
        self._links: dict[int, int] = defaultdict(lambda: 1)
        self._kinds: dict[int, int] = {self._root: modes.S_IFDIR}
        self._stored_bytes = 0  # the journal's data: one place after the other

    def learn(self, question: Question) -> None:
        """Take from a recorded answer what it says of its object: before it is answered here."""
        inode = question.found or question.inode
        if question.error:
            return
        if question.status.mode:
            self._kinds[inode] = modes.S_IFMT(question.status.mode)
            self._links[inode] = question.status.links
        if question.operation is Operation.LOOKUP and question.found:
            self._holders[question.inode, question.name] = question.found
            self._parents[question.found] = question.inode

    def is_local_only(self, inode: int) -> bool:
        """Whether the host has no such object, not yet or never."""
        return inode in self._local_only

    def is_directory(self, inode: int) -> bool:
        """Whether *inode* is a directory."""
        return self._kinds.get(inode) == modes.S_IFDIR

    def is_symlink(self, inode: int) -> bool:
        """Whether *inode* is a symbolic link."""
        return self._kinds.get(inode) == modes.S_IFLNK

    # Which changes the host must have first

    def needed(self, inode: int) -> int:
        """The last change that *inode* needs to be what and where the guest has it; 0: none."""
        overlay = self._overlays.get(inode)
        sequence = 0 if overlay is None else overlay.last_sequence
        here: int | None = inode
        for _ in range(_DEEPEST):
            if here is None:
                break
            above = self._overlays.get(here)
            if above is not None:
                sequence = max(sequence, above.own_sequence)
            here = self._parents.get(here)
        return sequence

    def needs(self, question: Question) -> int:
        """The last change that the host must have before it can be asked; 0: none."""
        operation = question.operation
        if operation in (Operation.FSYNC, Operation.FSYNCDIR):
            return self.needed(question.inode)
        if operation in (Operation.SETXATTR, Operation.REMOVEXATTR):
            return self.needed(question.inode)
        if operation in (Operation.SETATTR, Operation.WRITE, Operation.FLUSH):
            return 0 if self._may_defer(question.inode) else self.needed(question.inode)
        if operation is Operation.MKNOD and not modes.S_ISREG(question.status.mode):
            return self.needed(question.inode)
        return 0

    def size_to_hold(self, question: Question) -> int | None:
        """For how many bytes there must be room before *question* is answered; None: for none."""
        operation = question.operation
        if operation is Operation.WRITE:
            return question.size_bytes if self._may_defer(question.inode) else None
        if operation is Operation.SETATTR:
            return 0 if self._may_defer(question.inode) else None
        if operation is Operation.OPEN:
            is_held = self.is_local_only(question.inode) or self._cuts(question)
            return 0 if is_held else None
        if operation in MAKES_A_NAME | TAKES_A_NAME | {Operation.RENAME}:
            return 0
        return None

    def _may_defer(self, inode: int) -> bool:
        if inode in self._local_only:
            return True
        overlay = self._overlays.get(inode)
        if overlay is not None and overlay.is_orphan:
            return True
        return inode != self._root and inode not in self._nameless

    def _cuts(self, question: Question) -> bool:
        return bool(question.flags & _OPEN_TRUNCATES) and self._may_defer(question.inode)

    # Requests

    def answer(self, question: Question, now_ns: int) -> Answer:
        """What becomes of *question*; a change is pending from now on."""
        operation, inode = question.operation, question.inode
        if operation is Operation.LOOKUP:
            return self._look_up(question)
        if operation in MAKES_A_NAME or operation in TAKES_A_NAME or operation is Operation.RENAME:
            return self._change_names(question, now_ns)
        if operation is Operation.SETATTR:
            return self._set(question, now_ns)
        if operation is Operation.WRITE:
            return self._write(question, now_ns)
        if operation is Operation.READ:
            return self._read(question)
        if operation is Operation.OPEN:
            return self._open(question, now_ns)
        if operation is Operation.FLUSH:
            return HELD if self._may_defer(inode) else TO_HOST
        if operation is Operation.ACCESS:
            overlay = self._overlays.get(inode)
            return HELD if overlay is not None and overlay.has_mode else TO_HOST
        if operation in _ANSWERED_OF_LOCAL_ONLY and self.is_local_only(inode):
            return HELD
        return TO_HOST

    def _look_up(self, question: Question) -> Answer:
        name = self._names.get((question.inode, question.name))
        if name is not None:
            _, inode = name
            return HELD if not inode or self.is_local_only(inode) else TO_HOST
        return HELD if self.is_local_only(question.inode) else TO_HOST

    def _change_names(self, question: Question, now_ns: int) -> Answer:
        operation, place = question.operation, (question.inode, question.name)
        if operation is Operation.MKNOD and not modes.S_ISREG(question.status.mode):
            return TO_HOST
        asks = self._asks_whether_empty(question)
        answer = Answer(is_held=True, crosses_as=Operation.READDIRPLUS) if asks else HELD
        if question.error:
            return answer
        if operation is Operation.LINK:
            self._link(question, now_ns)
        elif operation in MAKES_A_NAME:
            self._make(question, now_ns)
        elif operation is Operation.RENAME:
            self._rename(question, now_ns)
        else:
            target = self._holders.pop(place, question.found)
            kind = Kind.RMDIR if operation is Operation.RMDIR else Kind.UNLINK
            is_last = kind is Kind.RMDIR or self._links[target] <= 1
            change = Change(kind, target, now_ns, question.inode, question.name)
            self._defer(change, orphaned=target if is_last else None)
            self._links[target] -= 1
        return answer

    def _asks_whether_empty(self, question: Question) -> bool:
        """Whether the host is asked if a directory of its own is empty."""
        if question.operation is Operation.RMDIR:
            inode = self._holders.get((question.inode, question.name), question.found)
        elif question.operation is Operation.RENAME:
            inode = self._holders.get((question.found, question.new_name), 0)
        else:
            return False
        return bool(inode) and self.is_directory(inode) and not self.is_local_only(inode)

    def _make(self, question: Question, now_ns: int) -> None:
        target = question.found
        self._local_only.add(target)
        self._overlay(target).has_mode = True
        self._holders[question.inode, question.name] = target
        self._parents[target] = question.inode
        self._links[target] = 1
        self._defer(Change(Kind.MAKE, target, now_ns, question.inode, question.name))

    def _link(self, question: Question, now_ns: int) -> None:
        target = question.found
        self._holders[question.inode, question.name] = target
        self._defer(Change(Kind.LINK, target, now_ns, question.inode, question.name))
        # As the answer says of it: learn() has heard that already.

    def _rename(self, question: Question, now_ns: int) -> None:
        old, new = (question.inode, question.name), (question.found, question.new_name)
        moving, replaced = self._holders.get(old, 0), self._holders.get(new, 0)
        if not moving or replaced == moving:
            return  # two names of one file: rename(2) does nothing
        del self._holders[old]
        self._holders[new] = moving
        is_last = bool(replaced) and (self.is_directory(replaced) or self._links[replaced] <= 1)
        change = Change(
            *(Kind.RENAME, moving, now_ns, *new, *old),
            replaced=replaced or None,
            replaced_is_directory=bool(replaced) and self.is_directory(replaced),
        )
        self._defer(change, orphaned=replaced if is_last else None)
        self._parents[moving] = question.found
        if replaced:
            self._links[replaced] -= 1

    def _set(self, question: Question, now_ns: int) -> Answer:
        inode = question.inode
        if not self._may_defer(inode):
            return TO_HOST
        if question.error:
            return HELD
        size_bytes = question.status.size_bytes if question.call in _SETS_SIZE else None
        self._defer_set(inode, size_bytes, now_ns)
        if question.call in SETS_MODE:
            self._overlay(inode).has_mode = True
        return HELD

    def _defer_set(self, inode: int, size_bytes: int | None, now_ns: int) -> None:
        overlay = self._overlay(inode)
        if not overlay.is_orphan:
            self._defer(Change(Kind.SET, inode, now_ns, detail=size_bytes))
        if size_bytes is not None:
            overlay.content.truncate(size_bytes)

    def _open(self, question: Question, now_ns: int) -> Answer:
        inode = question.inode
        if question.error:
            return HELD if self.is_local_only(inode) else TO_HOST
        answer = HELD if self.is_local_only(inode) else TO_HOST
        if self._cuts(question):
            self._defer_set(inode, 0, now_ns)
        return answer

    def _write(self, question: Question, now_ns: int) -> Answer:
        inode, length = question.inode, question.size_bytes
        if not self._may_defer(inode):
            return TO_HOST
        if question.error or not length:
            return HELD
        overlay = self._overlay(inode)
        position = self._stored_bytes
        self._stored_bytes += length
        if not overlay.is_orphan:
            carrier = self.changes.carrier_of(inode, question.offset_bytes, length, position)
            if carrier is not None:
                self.changes.extend(carrier, length, None)
            else:
                self._defer(
                    Change(
                        *(Kind.WRITE, inode, now_ns),
                        offset=question.offset_bytes,
                        length=length,
                        position=position,
                    )
                )
        overlay.content.write(question.offset_bytes, length, position)
        return HELD

    def _read(self, question: Question) -> Answer:
        overlay = self._overlays.get(question.inode)
        is_local_only = self.is_local_only(question.inode)
        if question.error or overlay is None or not (is_local_only or overlay.content):
            return TO_HOST
        of_host = sum(
            piece.length
            for piece in overlay.content.read(question.offset_bytes, question.size_bytes)
            if piece.position == ON_HOST and not is_local_only
        )
        return Answer(False, Operation.READ, of_host) if of_host else HELD

    # What begins and ceases to be pending

    def _overlay(self, inode: int) -> _Overlay:
        overlay = self._overlays.get(inode)
        if overlay is None:
            overlay = self._overlays[inode] = _Overlay()
        return overlay

    def _defer(self, change: Change[int], *, orphaned: int | None = None) -> None:
        if orphaned is not None and orphaned == change.replaced and self.changes.cancels(orphaned):
            change.replaced = None  # the host never gets it
        self.changes.add(change)
        self._count(change, 1)
        if orphaned is not None:
            self._overlay(orphaned).is_orphan = True
            cancelled = self.changes.gone(orphaned)
            for before, after in cancelled.compacted:
                self._count(after, 1, is_latest=False)
                self._count(before, -1)
            for dropped in cancelled.dropped:
                self._count(dropped, -1)

    def _count(self, change: Change[int], sign: int, *, is_latest: bool = True) -> None:
        if change.kind is not Kind.WRITE:
            for directory, name, inode in name_effects(change):
                count, holder = self._names.get((directory, name), (0, 0))
                if count + sign:
                    now = (inode or 0) if sign > 0 and is_latest else holder
                    self._names[directory, name] = count + sign, now
                else:
                    self._names.pop((directory, name), None)
        for inode in {change.target} if change.kind is Kind.WRITE else concerned(change):
            overlay = self._overlay(inode)
            overlay.changes += sign
            if sign > 0:
                overlay.last_sequence = max(overlay.last_sequence, change.sequence)
                if inode == change.target:
                    overlay.own_sequence = max(overlay.own_sequence, change.sequence)
            elif not overlay.changes and inode not in self._local_only:
                if overlay.is_orphan:
                    self._nameless.add(inode)
                del self._overlays[inode]

    def crossed(self, change: Change[int], now_ns: int) -> None:
        """The host has *change*, which was under way."""
        self.changes.done(now_ns)
        overlay = self._overlays.get(change.target)
        if change.kind is Kind.MAKE:
            self._local_only.discard(change.target)
        elif overlay is not None and not overlay.is_orphan:
            if change.kind is Kind.WRITE:
                overlay.content.mark_clean(change.offset, change.length, change.position)
            elif change.kind is Kind.SET and change.detail is not None:
                overlay.content.mark_cut_clean()
        self._count(change, -1)


_ANSWERED_OF_LOCAL_ONLY = LISTS | {
    *(Operation.GETATTR, Operation.READLINK, Operation.OPENDIR, Operation.FSYNCDIR),
    *(Operation.GETXATTR, Operation.LISTXATTR, Operation.FSYNC),
}
