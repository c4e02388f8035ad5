"""A trace as the questions that a guest asked: read once, for any number of predictions.

What a share answered that caches nothing holds every question its guest can ask: each caching
policy has to answer a part of them, which the rules of the guest's kernel decide
(guest_kernel.py). A trace of a share that caches does not, and cannot be widened again.
"""

import enum
import os
from collections import defaultdict
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from osxfs_sim.model.caching import CachePolicy, Consistent
from osxfs_sim.model.operations import UNAWAITED, Operation
from osxfs_sim.model.user_error import UserError
from osxfs_sim.trace.format import read_trace
from osxfs_sim.trace.schema import Header

if TYPE_CHECKING:
    import pyarrow as pa

MAKES_A_NAME = frozenset(
    {
        *(Operation.CREATE, Operation.MKNOD, Operation.MKDIR, Operation.SYMLINK),
        Operation.LINK,
    }
)
TAKES_A_NAME = frozenset({Operation.UNLINK, Operation.RMDIR})
LISTS = frozenset({Operation.READDIRPLUS, Operation.READDIR})
CHANGES = frozenset(
    {
        *(*MAKES_A_NAME, *TAKES_A_NAME, Operation.RENAME),
        *(Operation.WRITE, Operation.SETATTR, Operation.SETXATTR, Operation.REMOVEXATTR),
    }
)
"""What makes another answer of what is asked after it."""


SETS_MODE = frozenset({"chmod", "fchmod", "fchmodat", "fchmodat2"})
"""The calls whose SETATTR is of a mode."""


class RecordingError(UserError):
    """A trace that nothing can be predicted from, and which one could be."""


class Status(NamedTuple):
    """What an answer said of an object."""

    mode: int
    """As st_mode; 0: the answer was about no object, or the trace does not say."""
    size_bytes: int
    """As st_size; -1: the trace does not say."""
    mtime_ns: int
    """As st_mtime_ns; -1: the trace does not say."""
    links: int
    """As st_nlink; 0: the trace does not say."""


UNKNOWN = Status(0, -1, -1, 0)


class Question(NamedTuple):
    """One request of the recording."""

    operation: Operation
    """What was asked."""
    thread: int
    """Who asked: a number of the guest's kernel; 0 where it is the kernel itself."""
    inode: int
    """What it was about: of a request with a name, its directory."""
    name: bytes
    """The name; empty where there is none."""
    found: int
    """What the answer named, or where a rename went; 0: nothing."""
    error: str
    """The errno by its name; empty where it succeeded."""
    offset_bytes: int
    """Of a READ or WRITE: where."""
    size_bytes: int
    """Of what carried data: how much."""
    status: Status
    """What the answer said of the object."""
    flags: int
    """Of open(2), where something was opened."""
    handle: int
    """What was opened, or gone by; -1: none, or the trace does not say."""
    new_name: bytes
    """Where a rename went."""
    call: str
    """The system call that its thread waited in; empty: the trace does not say."""
    arrival_ns: int
    """When it came, since the recording began."""
    took_ns: int
    """What its thread waited for the answer, in the recording."""

    @property
    def end_ns(self) -> int:
        """When its thread went on, in the recording."""
        return self.arrival_ns + self.took_ns


class Recording:
    """All questions of one run, in the order in which they came."""

    def __init__(
        self,
        header: Header,
        questions: list[Question] | None = None,
        *,
        table: "pa.Table | None" = None,
    ) -> None:
        """*table* are the rows of a trace, from which *questions* are made once they are wanted."""
        assert (questions is None) != (table is None)
        self.header = header
        self.table = table
        """The rows of the trace; None: it was made of questions."""
        self._given = questions

    def __len__(self) -> int:
        return self.table.num_rows if self.table is not None else len(self.questions)

    @cached_property
    def questions(self) -> list[Question]:
        """All of them, an object each."""
        return self._given if self._given is not None else _questions(self.table)

    @cached_property
    def lookups(self) -> "dict[int, Lookup]":
        """What each LOOKUP is for, by its number. No valid dentry answers an EXCLUSIVE one."""
        return _lookups(self.questions)

    @cached_property
    def _mentions(self) -> "dict[tuple[int, bytes], list[_Mention]]":
        return _mentions(self.questions)

    @cached_property
    def _names(self) -> dict[int, list[bytes]]:
        names: dict[int, list[bytes]] = defaultdict(list)
        for directory, name in self._mentions:
            names[directory].append(name)
        return names

    @cached_property
    def _following(self) -> dict[int, int]:
        return _following(self.questions)

    @property
    def began_wall_ns(self) -> int:
        """The wall clock when the recording began, in ns since 1970, as far as it is known."""
        return self.header.began_wall_ns or self.header.began_ns

    @property
    def begin_ns(self) -> int:
        """When the measured command started, since the recording began."""
        return self.header.command_start_ns or 0

    @property
    def end_ns(self) -> int:
        """When it ended; of a recording without one, when the last answer came."""
        if self.header.command_end_ns is not None:
            return self.header.command_end_ns
        return max((each.end_ns for each in self.questions), default=0)

    def following(self, index: int) -> Question | None:
        """What the thread of the question number *index* asked next, and waited for, if anything.

        None also for what no thread waits for.
        """
        following = self._following.get(index)
        return None if following is None else self.questions[following]

    def names(self, directory: int, index: int) -> Iterator[tuple[bytes, int, Status]]:
        """What is in *directory* when the question number *index* is asked, as far as is known.

        Known is what the recording ever asks for, before or after: a name, its inode number and
        its status. Others make no difference to what is asked.
        """
        for name in self._names[directory]:
            inode, status = self._of(self._mentions[directory, name], index)
            if inode:
                yield name, inode, status

    def exists(self, directory: int, name: bytes, index: int) -> bool:
        """Whether *name* is in *directory* when the question number *index* is asked."""
        mentions = self._mentions.get((directory, name))
        return mentions is not None and self._of(mentions, index)[0] != 0

    @staticmethod
    def _of(mentions: "list[_Mention]", index: int) -> tuple[int, Status]:
        status = UNKNOWN
        for each in mentions:
            if each.at >= index:
                return each.before, each.status if status is UNKNOWN else status
            status = each.status
        return mentions[-1].after, status


def _following(questions: list[Question]) -> dict[int, int]:
    """Of each awaited question the next awaited one of its thread."""
    following = {}
    last: dict[int, int] = {}
    for index, each in enumerate(questions):
        if each.operation not in UNAWAITED:
            if each.thread in last:
                following[last[each.thread]] = index
            last[each.thread] = index
    return following


class Lookup(enum.Enum):
    """What a LOOKUP is for: the protocol does not carry the kernel's flags for it."""

    WALKED = enum.auto()
    """A directory on the way of a path."""
    LAST = enum.auto()
    """The last name of a path."""
    RENAMED = enum.auto()
    """The last name of the first path of a rename, once both paths have been walked."""
    EXCLUSIVE = enum.auto()
    """The name that a call makes, or a rename replaces (LOOKUP_EXCL, LOOKUP_RENAME_TARGET)."""


def _lookups(questions: list[Question]) -> dict[int, Lookup]:
    """What each LOOKUP is for, by its number; what follows it in its thread tells."""
    lookups = {}
    of_thread: dict[int, list[int]] = defaultdict(list)
    for index, each in enumerate(questions):
        if each.operation not in UNAWAITED:
            of_thread[each.thread].append(index)
    for numbers in of_thread.values():
        walked = _walked(questions, numbers)
        is_second = False
        for index, following in zip(numbers, (*numbers[1:], -1), strict=True):
            each, then = questions[index], questions[following] if following >= 0 else None
            if each.operation is not Operation.LOOKUP or each.error not in ("", "ENOENT"):
                is_second = False
                continue
            if index in walked:
                lookups[index] = Lookup.WALKED
            elif each.call in LINK | RENAME and not is_second:
                is_second = bool(each.found)  # the old name; the new one comes next
                lookups[index] = Lookup.RENAMED if each.call in RENAME else Lookup.LAST
            else:
                lookups[index] = Lookup.EXCLUSIVE if _makes(each, then) else Lookup.LAST
                is_second = False
    return lookups


def _walked(questions: list[Question], numbers: list[int]) -> set[int]:
    """Which LOOKUPs of a thread are of what is gone through: something follows that is in it.

    As a rule at once. A rename(2) first walks both paths, and then looks up both last names.
    """
    walked = set()
    inside: set[int] = set()
    call = ""
    for index in reversed(numbers):
        each = questions[index]
        if each.operation is Operation.LOOKUP and each.found in inside:
            walked.add(index)
        is_of_it = each.call == call and each.operation is Operation.LOOKUP
        inside = {each.inode} | (inside if is_of_it and call in RENAME else set())
        if each.operation is Operation.RENAME:
            inside.add(each.found)
        call = each.call
    return walked


def _makes(lookup: Question, then: Question | None) -> bool:
    """Whether *lookup* is of a name that a call makes; *then* is what its thread asked next."""
    place = lookup.inode, lookup.name
    if then is not None and then.operation is Operation.RENAME:
        return (then.found, then.new_name) == place
    follows = (
        then is not None and then.operation in MAKES_A_NAME and (then.inode, then.name) == place
    )
    if lookup.call in LINK | RENAME:
        return True  # the first of their two names is told by its place
    if lookup.call and (follows or not lookup.error):
        return lookup.call in MAKE_A_NAME
    # Where a name was missing, its making follows, or it was that of a directory on the way.
    if then is None or not follows:
        return False
    return then.operation is not Operation.CREATE or bool(then.flags & os.O_EXCL)


LINK = frozenset({"link", "linkat"})
RENAME = frozenset({"rename", "renameat", "renameat2"})
MAKE_A_NAME = LINK | {
    *("mkdir", "mkdirat", "mknod", "mknodat", "symlink", "symlinkat"),
    *("open O_EXCL", "openat O_EXCL"),
}


class _Mention(NamedTuple):
    """What one question tells of a name."""

    at: int  # the number of the question
    before: int  # the inode number that it had until then, 0: none
    after: int
    status: Status


def _mentions(questions: list[Question]) -> dict[tuple[int, bytes], list[_Mention]]:
    """All that is told of each name, in the order of the questions."""
    mentions: dict[tuple[int, bytes], list[_Mention]] = defaultdict(list)
    last: dict[tuple[int, bytes], int] = {}

    def tell(place: tuple[int, bytes], index: int, before: int, after: int, of: Status) -> None:
        mentions[place].append(_Mention(index, before, after, of))
        last[place] = after

    for index, each in enumerate(questions):
        place = each.inode, each.name
        if each.error not in ("", "ENOENT"):
            continue
        if each.operation is Operation.LOOKUP:
            tell(place, index, each.found, each.found, each.status)
        elif each.error:
            continue
        elif each.operation in MAKES_A_NAME:
            tell(place, index, 0, each.found, each.status)
        elif each.operation in TAKES_A_NAME:
            tell(place, index, last.get(place, each.found), 0, each.status)
        elif each.operation is Operation.RENAME:
            moved = last.get(place, 0)
            tell(place, index, moved, 0, UNKNOWN)
            to = each.found, each.new_name
            tell(to, index, last.get(to, 0), moved, UNKNOWN)
    return mentions


def read_recording(path: str | Path) -> Recording:
    """The questions of the trace *path*.

    Raises TraceError for a file that is no trace, and RecordingError for one that nothing can be
    predicted from: of a share that caches, or with rows lost.
    """
    header, table = read_trace(path)
    check(header, path)
    return Recording(header, table=table)


def check(header: Header, path: str | Path) -> None:
    """Raises RecordingError for a trace that does not hold every question."""
    again = "record it again: osxfs-sim record CASE -o FILE"
    if header.source != "mount":
        return
    if header.policy not in _UNCACHED:
        raise RecordingError(
            f"{path} is of a share that caches ({header.profile}, {header.policy}): what the "
            f"guest's kernel answered is not in it; {again}"
        )
    if header.lost or header.failure:
        what = f"{header.lost:,} requests are lost" if header.lost else header.failure
        raise RecordingError(f"{path} is not whole, {what}; {again}")


_UNCACHED = {policy.describe() for policy in (CachePolicy(), Consistent())}


def _questions(table: "pa.Table") -> list[Question]:
    """The rows of *table*, column by column: a trace has hundreds of thousands."""
    table = table.unify_dictionaries()

    def numbers(name: str) -> list[int]:
        return table.column(name).to_numpy().tolist()  # type: ignore[no-any-return]

    def words(name: str, as_read: Callable[[str | None], Any]) -> Iterator[Any]:
        """*name*'s column of words: each different one is read once."""
        column = table.column(name).combine_chunks()
        read = [as_read(each) for each in column.dictionary.to_pylist()]
        if column.null_count:
            read.append(as_read(None))
        return map(read.__getitem__, column.indices.fill_null(len(read) - 1).to_numpy().tolist())

    known: dict[tuple[int, int, int, int], Status] = {}
    statuses = []
    of_status = (numbers(each) for each in ("mode", "object_bytes", "mtime_ns", "links"))
    for told in zip(*of_status, strict=True):
        status = known.get(told)
        if status is None:
            status = known[told] = Status(*told) if told[0] else UNKNOWN
        statuses.append(status)
    columns = (
        words("operation", as_operation),
        *(numbers("process"), numbers("inode"), words("name", as_bytes), numbers("found")),
        words("error", as_text),
        *(numbers("offset_bytes"), numbers("size_bytes"), statuses, numbers("flags")),
        *(numbers("handle"), words("new_name", as_bytes), words("call", as_text)),
        # An answer takes some time, so that nobody waits for what has come together with it.
        *(numbers("arrival_ns"), [max(1, each) for each in numbers("took_ns")]),
    )
    return list(map(Question._make, zip(*columns, strict=True)))


def as_operation(name: str | None) -> Operation:
    """What a trace calls *name*."""
    return Operation[name or ""]


def as_text(word: str | None) -> str:
    """A word of a trace; empty where it has none."""
    return word or ""


def as_bytes(name: str | None) -> bytes:
    """A name as the guest gave it; empty where there is none."""
    return b"" if name is None else name.encode("utf-8", "surrogateescape")
