"""Writes pending changes back in virtual time, beside the requests, as a mounted share's worker.

One change after the other, in the order of the guest, with so many crossings under way at once; by
age, or because somebody waits for it (mount/writeback/writeback.py). It is resumed at the moments
that it asks for, by whoever keeps the time.
"""

from collections import Counter, deque
from collections.abc import Callable, Iterator

from osxfs_sim.model.operations import Operation
from osxfs_sim.model.write_back import OPERATION_OF, Change, Kind, made_by
from osxfs_sim.simulate.pending_changes import PendingTree

_NEVER = -1


class Background:
    """The worker of one share. It wakes whoever keeps the time by *at*."""

    def __init__(
        self,
        tree: PendingTree,
        due_ns: Callable[[Operation, int, int], int],
        at: Callable[[int], None],
    ) -> None:
        """*due_ns* says when a crossing (operation, bytes, from when) is answered; *at* has
        wake() called at a moment.
        """
        self._tree = tree
        self._changes = tree.changes
        self._due_ns = due_ns
        self._at = at
        self._wanted = _NEVER
        self._unpaid: deque[tuple[int, int]] = deque()  # what it was, when it is answered
        self._work: Iterator[int] | None = None
        self._works_from_ns = 0  # when it goes on
        self._now_ns = 0
        self._due_asked_ns = _NEVER
        self.crossings: Counter[Operation] = Counter()
        """What has crossed in the background."""

    def flush_up_to(self, sequence: int, now_ns: int) -> None:
        """Have all changes up to *sequence* written back, beginning now."""
        self._wanted = max(self._wanted, sequence)
        if self._work is None and len(self._changes):
            self._work = self._working()
            self._works_from_ns = now_ns
            self._at(now_ns)

    def is_flushed(self, sequence: int) -> bool:
        """Whether all changes up to *sequence* are on the host, and that was answered."""
        if self._changes.oldest_sequence <= sequence and len(self._changes):
            return False
        return not self._unpaid or self._unpaid[0][0] > sequence

    def changed(self) -> None:
        """A change is pending that was not: it is due when it is old enough."""
        due_ns = self._changes.due_ns
        if due_ns is not None and due_ns != self._due_asked_ns:
            self._due_asked_ns = due_ns
            self._at(due_ns)

    def wake(self, now_ns: int) -> None:
        """Go on with what there is to do at this moment."""
        self._now_ns = now_ns
        due_ns = self._changes.due_ns
        if due_ns is not None and due_ns <= now_ns:
            self.flush_up_to(self._changes.oldest_sequence, now_ns)
        while self._work is not None and self._works_from_ns <= now_ns:
            then_ns = next(self._work, None)
            if then_ns is None:
                self._work = None
                if self._next() is not None:
                    self.flush_up_to(self._wanted, now_ns)
            else:
                self._works_from_ns = then_ns
                if then_ns > now_ns:
                    self._at(then_ns)
        self.changed()

    def _next(self) -> Change[int] | None:
        due_ns = self._changes.due_ns
        if due_ns is None:
            return None
        if self._changes.oldest_sequence <= self._wanted or due_ns <= self._now_ns:
            return self._changes.take()
        return None

    def _working(self) -> Iterator[int]:
        """One change after the other; yields the moments from which it can go on."""
        while (change := self._next()) is not None:
            yield from self._pay_all_but(self._changes.spec.in_flight - 1)
            operation = self._operation_of(change)
            size_bytes = change.length
            self._tree.crossed(change, self._now_ns)
            self.crossings[operation] += 1
            due_ns = self._due_ns(operation, size_bytes, self._now_ns)
            self._unpaid.append((change.sequence, due_ns))
        yield from self._pay_all_but(0)

    def _pay_all_but(self, number: int) -> Iterator[int]:
        while len(self._unpaid) > number:
            yield self._unpaid[0][1]
            self._unpaid.popleft()

    def _operation_of(self, change: Change[int]) -> Operation:
        if change.kind is not Kind.MAKE:
            return OPERATION_OF[change.kind]
        return made_by(
            is_directory=self._tree.is_directory(change.target),
            is_symlink=self._tree.is_symlink(change.target),
        )
