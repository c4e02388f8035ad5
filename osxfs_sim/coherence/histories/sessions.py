"""Which operations of one process may not go back behind which others: the session guarantees.

Terry and others (1994): *monotonic reads* (a process that has read a state of something reads no
earlier one of it) and *read your writes*. The other two, writes follow reads and monotonic writes,
hold by themselves here: a change takes effect between its call and its return.

"Something" is a path: what the name leads to, and what is then found. A kernel caches dentries and
inodes apart, and each on its own is never replaced by something older; a whole tree is no such
thing. Nor is a listing: it is requested anew each time, while the dentry of a name that it no
longer has may still be valid. So listings follow listings, and other reads follow reads.
"""

from collections.abc import Iterator, Sequence

from osxfs_sim.coherence.actors.processes import OperationInterval
from osxfs_sim.coherence.histories.model import MUTATORS, is_pending

_OF_OBJECTS = frozenset({"write", "overwrite", "append", "truncate", "chmod"})
"""They change what a name leads to, by the dentry as it was cached: a later read may still use
that dentry, and must see the change in the inode that it leads to."""

TWO_NAMES = frozenset({"rename", "link"})
"""They look up two names, each as of a moment of its own: no one moment holds for both."""


def changes(interval: OperationInterval) -> bool:
    """Whether *interval* is of an act that changes something, and has succeeded."""
    return interval.operation.act in MUTATORS and interval.outcome.error is None


def may_have_changed(interval: OperationInterval) -> bool:
    """Whether *interval* is of a changing act that succeeded, or whose outcome is unknown."""
    return interval.operation.act in MUTATORS and (changes(interval) or is_pending(interval))


def predecessors(
    operations: Sequence[OperationInterval], number: int
) -> tuple[list[int], list[int]]:
    """Indices of earlier changes and reads of its process that operation *number* must respect.

    First its process's own changes that it must see, then its own reads of which it must not read
    an older state.
    """
    mine = operations[number]
    after: list[int] = []
    reads: list[int] = []
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
            continue  # which of the two names decided the result is not known
        elif touched & names and _is_listing(earlier) == _is_listing(mine):
            reads.append(other)
    return after, reads


def _is_listing(interval: OperationInterval) -> bool:
    return interval.operation.act in ("entry", "opendir")


def _names(interval: OperationInterval) -> Iterator[str]:
    operation = interval.operation
    if operation.path:
        yield operation.path
    if operation.to:
        yield operation.to


def _above(path: str) -> Iterator[str]:
    while "/" in path:
        path = path.rpartition("/")[0]
        yield path
