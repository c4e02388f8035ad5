"""Which operations of one process may not go back behind which others: the session guarantees.

Terry and others (1994): *monotonic reads* (who has seen a state of something sees no earlier one of
it) and *read your writes*. The other two, writes follow reads and monotonic writes, hold by
themselves here: a change takes effect between its call and its return.

"Something" is a path: what the name leads to, and what is then found. A kernel keeps what names
lead to and what objects are like apart, and each on its own is never replaced by something older;
a whole tree is no such thing. Nor is a listing: it is asked for anew each time, while a name that
it no longer has may still be believed. So listings follow listings, and looks follow looks.
"""

from collections.abc import Iterator, Sequence

from osxfs_sim.coherence.actors.processes import OperationInterval
from osxfs_sim.coherence.histories.model import MUTATORS, is_pending

_OF_OBJECTS = frozenset({"write", "overwrite", "append", "truncate", "chmod"})
"""They change what a name leads to, by the name as it was believed: who looks again may believe the
name as before, and must see the change in what it leads to."""

TWO_NAMES = frozenset({"rename", "link"})
"""They look at two names, each as of a moment of its own: no one moment holds for both."""


def changes(performed: OperationInterval) -> bool:
    """Whether it was a change that was made, as far as its process was told."""
    return performed.operation.act in MUTATORS and performed.outcome.error is None


def may_have_changed(performed: OperationInterval) -> bool:
    """Whether it changed something, or nobody knows whether it did."""
    return performed.operation.act in MUTATORS and (changes(performed) or is_pending(performed))


def predecessors(
    operations: Sequence[OperationInterval], number: int
) -> tuple[list[int], list[int]]:
    """Of the *number*-th: own changes that it must see, own looks that it must not go behind."""
    mine = operations[number]
    after: list[int] = []
    looked: list[int] = []
    names = set(_names(mine))
    above = {parent for name in names for parent in _above(name)}
    for other in range(number):
        earlier = operations[other]
        if earlier.actor != mine.actor or earlier.return_ns > mine.call_ns or is_pending(earlier):
            continue
        touched = set(_names(earlier))
        handle = mine.operation.handle
        if handle and handle == earlier.operation.handle:
            after.append(other)  # a mapping, and what it showed before
        elif changes(earlier) and earlier.operation.act not in _OF_OBJECTS:
            if mine.operation.act not in TWO_NAMES and touched & (names | above):
                after.append(other)
        elif {mine.operation.act, earlier.operation.act} & TWO_NAMES:
            continue  # which of the two it had to look at to say so, nobody knows
        elif touched & names and _is_listing(earlier) == _is_listing(mine):
            looked.append(other)
    return after, looked


def _is_listing(performed: OperationInterval) -> bool:
    return performed.operation.act in ("entry", "opendir")


def _names(performed: OperationInterval) -> Iterator[str]:
    operation = performed.operation
    if operation.path:
        yield operation.path
    if operation.to:
        yield operation.to


def _above(path: str) -> Iterator[str]:
    while "/" in path:
        path = path.rpartition("/")[0]
        yield path
