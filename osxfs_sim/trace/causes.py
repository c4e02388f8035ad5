"""What could have spared each request: the trace is replayed against ideal caches.

A cache is consulted in the order of arrival, and knows what the requests before have
taught it. It is ideal: nothing in it expires, it has room for everything, and
only the guest changes anything (what the host changes is not in a trace).
So a cause says the most that a policy could spare, of these requests in this
order; what a shorter timeout or the host's changes take from that, a run with
the policy shows. On the other side it is cautious: what a listing teaches of the
names that exist, and what a policy would spare as a consequence of what it has
spared, is not counted.

The names of causes are those of the policies in model/caching.py, each of which
does what those before it do, too.
"""

from dataclasses import dataclass

import numpy as np

from osxfs_sim.model.operations import Operation
from osxfs_sim.trace.requests import HOST, Flags, Integers, Requests

MADE = (Operation.CREATE, Operation.MKDIR, Operation.MKNOD, Operation.SYMLINK, Operation.LINK)
REMOVED = (Operation.UNLINK, Operation.RMDIR)
LISTINGS = (Operation.READDIRPLUS, Operation.READDIR)
_ATTRIBUTE_CHANGES = (Operation.SETXATTR, Operation.REMOVEXATTR)
_CHANGES = (
    *MADE,
    *REMOVED,
    *_ATTRIBUTE_CHANGES,
    Operation.RENAME,
    Operation.WRITE,
    Operation.SETATTR,
)


@dataclass(frozen=True, slots=True)
class Rule:
    """A cause before it has figures."""

    key: str
    """Its word in documents."""
    label: str
    """What the requests have in common, in words."""
    remedy: str
    """The policy that would have spared them."""
    what: str
    """The requests, as the subject of a sentence."""
    saying: str
    """What answers, or need not wait, and why."""


RULES = (
    Rule(
        "inside",
        "answered without a crossing",
        "at work",
        "requests that did not cross",
        "the guest's side knew the answer, took the change, or no process waited",
    ),
    Rule(
        "negative",
        "missing names, asked again",
        "negative",
        "repeated lookups of missing names",
        "a negative cache answers them",
    ),
    Rule(
        "complete",
        "missing names, first asked",
        "complete",
        "first lookups of missing names in directories whose names were all known",
        "only a complete negative cache answers them",
    ),
    Rule(
        "entries",
        "names, asked again",
        "cached",
        "repeated lookups of names that exist",
        "a cache of entries answers them",
    ),
    Rule(
        "attributes",
        "attributes of unchanged objects",
        "cached",
        "questions for attributes that were known and had not changed",
        "a cache of attributes answers them",
    ),
    Rule(
        "data",
        "data, read again",
        "cached",
        "reads of unchanged data that had been read before",
        "pages that are kept answer them",
    ),
    Rule(
        "links",
        "link targets, read again",
        "none here",
        "repeated readings of symbolic links",
        "no policy here keeps them; a cache of links would answer them",
    ),
    Rule(
        "listings",
        "listings of unchanged directories",
        "none here",
        "requests to list directories again that had not changed",
        "no policy here keeps listings; a cache of directories would answer them",
    ),
    Rule(
        "cancelled",
        "changes of objects that came and went",
        "delegated",
        "changes of objects that were made and removed again",
        "with write-back they need never cross",
    ),
    Rule(
        "held",
        "other changes",
        "delegated",
        "changes that no process needs to wait for",
        "with write-back they cross later, in the background",
    ),
    Rule(
        "flush",
        "closing files",
        "delegated",
        "closings of files (FLUSH)",
        "with write-back nothing crosses for them",
    ),
)
NECESSARY = len(RULES)
"""The class of what no rule fits."""


class Replay:
    """Which requests each kind of ideal cache would have answered."""

    def __init__(self, requests: Requests) -> None:
        names = _Names(requests)
        self._requests = requests
        self.missing_again = names.missing_again
        self.missing_in_known = names.missing_in_known
        self.found_again = names.found_again
        self.reads_again = _reads_again(requests)
        self.attributes_again = _attributes_again(requests, names.child, self.reads_again)
        self.links_again = _links_again(requests)
        self.listings_again = _listings_again(requests)
        self._child = names.child

    def classes(self) -> Integers:
        """Per request the index of the first of RULES that would have spared it, or NECESSARY."""
        requests = self._requests
        fits = {
            "inside": ~requests.answered_by.are(HOST) | ~requests.awaited,
            "negative": self.missing_again,
            "complete": self.missing_in_known,
            "entries": self.found_again,
            "attributes": self.attributes_again,
            "data": self.reads_again,
            "links": self.links_again,
            "listings": self.listings_again,
            "cancelled": _cancelled(requests, self._child),
            "held": requests.are(*_CHANGES) & ~requests.failed,
            "flush": requests.are(Operation.FLUSH),
        }
        classes = np.full(len(requests), NECESSARY, np.int64)
        for index in reversed(range(len(RULES))):
            classes[fits[RULES[index].key]] = index
        return classes

    def reuse(self) -> dict[str, dict[str, int]]:
        """Per kind of question how many ``requests`` came, and how many repeat one ``before``."""
        of_kind = {
            "names": (Operation.LOOKUP, self.missing_again | self.found_again),
            "attributes": (Operation.GETATTR, self.attributes_again),
            "data": (Operation.READ, self.reads_again),
            "listings": (Operation.OPENDIR, self.listings_again),
            "links": (Operation.READLINK, self.links_again),
        }
        reuse = {}
        for kind, (operation, again) in of_kind.items():
            asked = self._requests.are(operation)
            reuse[kind] = {
                "requests": int(np.count_nonzero(asked)),
                "before": int(np.count_nonzero(asked & again)),
            }
        return reuse


class _Names:
    """What is known of each name when it is looked up.

    A name is an inode of a directory and a name in it. The last that was said of
    it counts: that it is a certain object (by a lookup, or by the answer to its
    making), or that it is missing (by a lookup). A name that was removed is not
    known to be missing: the kernel looks it up again, once.
    """

    def __init__(self, requests: Requests) -> None:
        count = len(requests)
        succeeded = ~requests.failed
        named = requests.name >= 0
        is_missing = requests.missing & named
        is_found = requests.are(Operation.LOOKUP) & succeeded & named
        is_made = requests.are(*MADE) & succeeded & named
        is_gone = requests.are(*REMOVED, Operation.RENAME) & succeeded & named
        says = np.zeros(count, np.int8)
        says[is_missing], says[is_found | is_made], says[is_gone] = _MISSING, _FOUND, _GONE
        rows = np.flatnonzero(says)
        names = int(requests.name.max(initial=0)) + 1
        directories = np.unique(requests.inode[rows], return_inverse=True)[1]
        before = _previous(directories * names + requests.name[rows])
        known = np.where(before >= 0, says[rows[before]], 0)
        known_inode = np.where(before >= 0, requests.found[rows[before]], 0)

        self.missing_again = np.zeros(count, bool)
        self.missing_again[rows] = is_missing[rows] & (known == _MISSING)
        self.found_again = np.zeros(count, bool)
        self.found_again[rows] = (
            is_found[rows] & (known == _FOUND) & (known_inode == requests.found[rows])
        )
        self.child = np.zeros(count, np.int64)
        """Of what takes a name away: the object that had it, 0 where that is not known."""
        self.child[rows] = np.where(is_gone[rows] & (known == _FOUND), known_inode, 0)
        tells = requests.are(*REMOVED) & succeeded & (requests.found != 0)
        self.child[tells] = requests.found[tells]

        # The first miss in a directory, or a listing, has brought all its names along.
        teaches = requests.missing | (requests.are(*LISTINGS) & succeeded)
        asks = np.flatnonzero(teaches)
        directories = np.unique(requests.inode[asks], return_inverse=True)[1]
        self.missing_in_known = np.zeros(count, bool)
        self.missing_in_known[asks] = is_missing[asks] & (_previous(directories) >= 0)


_MISSING, _FOUND, _GONE = 1, 2, 3


def _previous(keys: Integers) -> Integers:
    """Of each the position of the one before with the same key, -1 of the first."""
    order = np.argsort(keys, kind="stable")
    same = keys[order][1:] == keys[order][:-1]
    before = np.full(len(keys), -1, np.int64)
    before[order[1:][same]] = order[:-1][same]
    return before


def _changes_of_directory(requests: Requests) -> tuple[Integers, Integers]:
    """Rows that change a directory's names, and which; a rename changes two."""
    succeeded = ~requests.failed
    rows = np.flatnonzero(requests.are(*MADE, *REMOVED, Operation.RENAME) & succeeded)
    moved = np.flatnonzero(requests.are(Operation.RENAME) & succeeded)
    return (
        np.concatenate((rows, moved)),
        np.concatenate((requests.inode[rows], requests.found[moved])),
    )


def _made(requests: Requests) -> Integers:
    return np.flatnonzero(requests.are(*MADE) & ~requests.failed)


class _Sequence:
    """Events in the order of inodes, then of arrival; of one row, in the order given."""

    def __init__(self, *events: tuple[Integers, Integers, int]) -> None:
        """Each: rows, the inodes that they are about, and a kind."""
        self.rows = np.concatenate([rows for rows, _, _ in events])
        inodes = np.concatenate([inodes for _, inodes, _ in events])
        kinds = np.concatenate([np.full(len(rows), kind, np.int8) for rows, _, kind in events])
        order = np.lexsort((self.rows, inodes))
        self.rows, self.inodes, self.kinds = self.rows[order], inodes[order], kinds[order]

    def period(self, kind: int) -> Integers:
        """A number that differs between inodes, and before and after each event of *kind*."""
        begins = self.kinds == kind
        begins[1:] |= self.inodes[1:] != self.inodes[:-1]
        return np.cumsum(begins)


_ASKS, _TEACHES, _ENDS = 0, 1, 2


def _attributes_again(requests: Requests, child: Integers, reads_again: Flags) -> Flags:
    """Which ask for attributes that an answer has told, and nothing has changed since.

    To read changes the time of access, unless it is answered by pages; so does to
    list, and to follow a link. An answer that is about an object tells its attributes.
    """
    succeeded = ~requests.failed
    asks = np.flatnonzero(requests.are(Operation.GETATTR) & succeeded)
    of_inode = requests.are(Operation.GETATTR, Operation.SETATTR) & succeeded
    teaching = np.flatnonzero(of_inode)
    naming = np.flatnonzero(requests.are(Operation.LOOKUP, *MADE) & succeeded)
    crossing_reads = requests.are(Operation.READ) & ~reads_again
    reading = requests.are(*LISTINGS, Operation.READLINK) | crossing_reads
    ending = requests.are(Operation.WRITE, *_ATTRIBUTE_CHANGES) | reading
    ending_rows = np.flatnonzero(ending & succeeded)
    losing = np.flatnonzero(child)
    # What an answer teaches comes last: it is told as it is after the request.
    events = _Sequence(
        (asks, requests.inode[asks], _ASKS),
        (ending_rows, requests.inode[ending_rows], _ENDS),
        (*_changes_of_directory(requests), _ENDS),
        (losing, child[losing], _ENDS),
        (teaching, requests.inode[teaching], _TEACHES),
        (naming, requests.found[naming], _TEACHES),
    )
    return _asked_while_known(events, len(requests))


def _asked_while_known(events: _Sequence, count: int) -> Flags:
    """Which rows ask after a teaching event of the same inode with no ending one between."""
    places = np.arange(len(events.kinds))
    first = np.ones(len(places), bool)
    first[1:] = events.inodes[1:] != events.inodes[:-1]
    begins = np.maximum.accumulate(np.where(first, places, 0))

    def last(kind: int) -> Integers:
        """The place of the last event of *kind* before each, -1 where its inode had none."""
        at = np.maximum.accumulate(np.where(events.kinds == kind, places, -1))
        before = np.concatenate((np.array([-1]), at[:-1])) if len(at) else at
        return np.where(before >= begins, before, -1)

    knows = last(_TEACHES) > last(_ENDS)
    again = np.zeros(count, bool)
    again[events.rows[(events.kinds == _ASKS) & knows]] = True
    return again


def _reads_again(requests: Requests) -> Flags:
    """Which read what was read before, and not written since: same place, no more of it."""
    succeeded = ~requests.failed
    reads = np.flatnonzero(requests.are(Operation.READ) & succeeded)
    changes = np.flatnonzero(requests.are(Operation.WRITE, Operation.SETATTR) & succeeded)
    made = _made(requests)
    events = _Sequence(
        (changes, requests.inode[changes], _ENDS),
        (made, requests.found[made], _ENDS),
        (reads, requests.inode[reads], _ASKS),
    )
    asks = events.kinds == _ASKS
    rows, period = events.rows[asks], events.period(_ENDS)[asks]
    order = np.lexsort((rows, requests.offset_bytes[rows], period))
    rows, period = rows[order], period[order]
    offset, size = requests.offset_bytes[rows], requests.size_bytes[rows]
    first = np.ones(len(rows), bool)
    first[1:] = (period[1:] != period[:-1]) | (offset[1:] != offset[:-1])
    begins = np.maximum.accumulate(np.where(first, np.arange(len(rows)), 0))
    again = np.zeros(len(requests), bool)
    again[rows[~first & (size <= size[begins])]] = True
    return again


def _links_again(requests: Requests) -> Flags:
    """Which follow a link that was followed before: its target cannot change."""
    reads = np.flatnonzero(requests.are(Operation.READLINK) & ~requests.failed)
    made = _made(requests)
    events = _Sequence((made, requests.found[made], _ENDS), (reads, requests.inode[reads], _ASKS))
    asks = events.kinds == _ASKS
    again = np.zeros(len(requests), bool)
    again[events.rows[asks]] = _previous(events.period(_ENDS)[asks]) >= 0
    return again


def _listings_again(requests: Requests) -> Flags:
    """Which open a directory, or list it, that was listed before and has not changed since.

    A listing is an OPENDIR and several READDIRPLUS or READDIR; these belong to the last before.
    """
    succeeded = ~requests.failed
    opens = requests.are(Operation.OPENDIR) & succeeded
    rows = np.flatnonzero(opens | (requests.are(*LISTINGS) & succeeded))
    made = _made(requests)
    events = _Sequence(
        (*_changes_of_directory(requests), _ENDS),
        (made, requests.found[made], _ENDS),
        (rows, requests.inode[rows], _ASKS),
    )
    asks = events.kinds == _ASKS
    rows, period = events.rows[asks], events.period(_ENDS)[asks]
    opened = np.cumsum(opens[rows])
    first = np.ones(len(rows), bool)
    first[1:] = period[1:] != period[:-1]
    # How many openings there were in all before this period's first request.
    before = np.maximum.accumulate(np.where(first, opened - opens[rows], 0))
    again = np.zeros(len(requests), bool)
    again[rows[opened - before >= 2]] = True
    return again


def _cancelled(requests: Requests, child: Integers) -> Flags:
    """Which change an object that was made here and has lost each of its names again.

    Nor was it flushed to the host by an FSYNC. A number may be given
    to another object later: each making, other than by a link, begins another life.
    """
    succeeded = ~requests.failed

    def rows_of(*operations: Operation) -> Integers:
        return np.flatnonzero(requests.are(*operations) & succeeded)

    new = rows_of(*(each for each in MADE if each is not Operation.LINK))
    linked = rows_of(Operation.LINK)
    gone = rows_of(*REMOVED)
    gone = gone[child[gone] != 0]
    moved = rows_of(Operation.RENAME)
    moved = moved[child[moved] != 0]
    touched = rows_of(Operation.WRITE, Operation.SETATTR, *_ATTRIBUTE_CHANGES)
    safe = rows_of(Operation.FSYNC)
    born, linking, losing, other, saving = range(5)
    events = _Sequence(
        (new, requests.found[new], born),
        (linked, requests.found[linked], linking),
        (gone, child[gone], losing),
        (moved, child[moved], other),
        (touched, requests.inode[touched], other),
        (safe, requests.inode[safe], saving),
    )
    life = events.period(born)

    def count(kind: int) -> Integers:
        return np.bincount(life, events.kinds == kind, minlength=1).astype(np.int64)

    names_made = count(born) + count(linking)
    goes = (count(born) > 0) & (names_made == count(losing)) & (count(saving) == 0)
    cancelled = np.zeros(len(requests), bool)
    cancelled[events.rows[goes[life]]] = True
    return cancelled
