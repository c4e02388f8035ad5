"""A recording as columns of integers, for loops that are compiled.

The same questions as those of a Recording, without an object for each: what is one of many
(inodes, threads, handles, names) is numbered from 0 as it is met, and what is asked of a word
(whether a call makes a name, say) is asked once for each different word, of the very sets that the
reference asks.
"""

from collections.abc import Callable, Sequence
from stat import S_ISDIR
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import numpy.typing as npt

from osxfs_sim.model.operations import CLASS_OF, UNAWAITED, Operation
from osxfs_sim.simulate import inode_locks, permissions, recording, reference
from osxfs_sim.simulate.compiled import compiled
from osxfs_sim.simulate.recording import UNKNOWN, Question, Recording

if TYPE_CHECKING:
    import pyarrow as pa

Integers = npt.NDArray[Any]
"""An array of integers, of one dimension."""

NO_INODE, ROOT = 0, 1
"""The numbers of the inodes 0 and 1, which are the same in every recording."""
NO_ERROR, ENOENT, OTHER_ERROR = 0, 1, 2
"""What is told apart of errors."""

# What is asked of an operation, a bit each; of the same sets as the reference.
UNAWAITED_BIT, MAKES, TAKES, LISTS, CHANGES, OF_ITSELF, OF_THE_PARENT = (1 << i for i in range(7))
ALONE, SHARED = (1 << i for i in range(7, 9))
_SETS_OF_OPERATIONS = (
    (UNAWAITED_BIT, UNAWAITED),
    (MAKES, recording.MAKES_A_NAME),
    (TAKES, recording.TAKES_A_NAME),
    (LISTS, recording.LISTS),
    (CHANGES, recording.CHANGES),
    (OF_ITSELF, permissions.OF_ITSELF),
    (OF_THE_PARENT, permissions.OF_THE_PARENT),
    (ALONE, inode_locks.ALONE),
    (SHARED, inode_locks.SHARED),
)
KINDS: Integers = np.array(
    [sum(bit for bit, those in _SETS_OF_OPERATIONS if each in those) for each in Operation],
    np.int64,
)
"""The bits of each operation."""
CLASSES: Integers = np.array([int(each) for each in CLASS_OF], np.int64)
"""The class that each operation is priced by."""

# What is asked of a system call, likewise.
NAMED, WANTS_SIZE, SETS_MODE, TRUNCATES, IS_TRUNCATE, LINK = (1 << i for i in range(6))
RENAME, MAKE_A_NAME, REMOVES, LINKS, STARTS_RENAME, MAY_MAKE = (1 << i for i in range(6, 12))
_ASKED_OF_CALLS: tuple[tuple[int, Callable[[str], bool]], ...] = (
    (NAMED, bool),
    (WANTS_SIZE, reference.WANT_THE_SIZE.__contains__),
    (SETS_MODE, recording.SETS_MODE.__contains__),
    (TRUNCATES, reference.TRUNCATE.__contains__),
    (IS_TRUNCATE, "truncate".__eq__),
    (LINK, recording.LINK.__contains__),
    (RENAME, recording.RENAME.__contains__),
    (MAKE_A_NAME, recording.MAKE_A_NAME.__contains__),
    (REMOVES, permissions.REMOVES.__contains__),
    (LINKS, permissions.LINKS.__contains__),
    (STARTS_RENAME, lambda call: call.startswith("rename")),
    (MAY_MAKE, lambda call: call.endswith(permissions.MAY_MAKE)),
)


class Columns(NamedTuple):
    """All questions of a recording, in its order: an array for each thing that is asked of them.

    Inodes, threads, handles and names are numbers from 0 as they are met.
    """

    operation: Integers
    """As model.operations.Operation."""
    thread: Integers
    """Who asked."""
    inode: Integers
    """What it was about."""
    found: Integers
    """What the answer named, or where a rename went; NO_INODE: nothing."""
    place: Integers
    """The number of its directory and name together."""
    new_place: Integers
    """Where a rename went; -1: it is none."""
    has_name: Integers
    """1 where it has a name, else 0."""
    error: Integers
    """NO_ERROR, ENOENT or OTHER_ERROR."""
    offset_bytes: Integers
    """Of a READ or WRITE: where."""
    size_bytes: Integers
    """Of what carried data: how much."""
    is_known: Integers
    """1 where the answer told a status, else 0."""
    mode: Integers
    """The number of its st_mode: an index of *Recorded.modes*."""
    is_directory: Integers
    """1 where it was about a directory."""
    object_bytes: Integers
    """The status's size; -1: it is not told."""
    mtime_ns: Integers
    """The status's mtime; -1: it is not told."""
    flags: Integers
    """Of open(2)."""
    handle: Integers
    """What was opened, or gone by."""
    call: Integers
    """What is asked of its system call: bits."""
    call_word: Integers
    """A number for each different system call."""
    arrival_ns: Integers
    """When it came."""
    end_ns: Integers
    """When its thread went on, in the recording."""
    place_directory: Integers
    """By place: the number of its directory."""
    place_name_bytes: Integers
    """By place: how long its name is."""


class Recorded(NamedTuple):
    """The columns of a recording, how many there are of what is numbered, and its moments."""

    columns: Columns
    """The questions."""
    inodes: int
    """How many inodes there are."""
    threads: tuple[int, ...]
    """The threads' numbers in the trace, by their numbers here."""
    handles: int
    """How many handles there are."""
    modes: tuple[int, ...]
    """The different st_mode, by their numbers."""
    begin_ns: int
    """When the measured command started."""
    end_ns: int
    """When it ended."""


class _Words(NamedTuple):
    """A column of words: the different ones, and of each row which."""

    words: Sequence[Any]
    rows: Integers

    def map(self, asked: Callable[[Any], Any], kind: Any) -> Integers:
        """What is *asked* of each row's word; it is asked once for each different one."""
        answers: Integers = np.array([asked(each) for each in self.words], kind)
        return answers[self.rows] if len(answers) else np.zeros(len(self.rows), kind)


class _Raw(NamedTuple):
    """What columns are made of, from whatever holds a recording."""

    operation: _Words
    name: _Words
    new_name: _Words
    error: _Words
    call: _Words
    thread: Integers
    inode: Integers
    found: Integers
    offset_bytes: Integers
    size_bytes: Integers
    is_known: Integers
    mode: Integers
    object_bytes: Integers
    mtime_ns: Integers
    flags: Integers
    handle: Integers
    arrival_ns: Integers
    took_ns: Integers


def columns_of(recorded: Recording) -> Recorded:
    """*recorded* as columns; of what was read from a file no question is made."""
    raw = _of_table(recorded.table) if recorded.table is not None else None
    if raw is None:
        raw = _of_questions(recorded.questions)
    count = len(raw.inode)
    inodes, of_inodes = _numbered(np.concatenate((raw.inode, raw.found)), (0, 1))
    inode, found = inodes[:count], inodes[count:]
    names: dict[bytes, int] = {b"": 0}
    name = raw.name.map(lambda each: names.setdefault(each, len(names)), np.int64)
    new_name = raw.new_name.map(lambda each: names.setdefault(each, len(names)), np.int64)
    operation = raw.operation.map(int, np.int64)
    renames = np.flatnonzero(operation == Operation.RENAME)
    places, of_places = _numbered(
        np.concatenate((inode << 32 | name, found[renames] << 32 | new_name[renames])), ()
    )
    new_place = np.full(count, -1, np.int64)
    new_place[renames] = places[count:]
    lengths = np.array([len(each) for each in names], np.int64)
    modes, of_modes = _numbered(raw.mode, ())
    threads, of_threads = _numbered(raw.thread, ())
    handles, of_handles = _numbered(raw.handle, ())
    columns = Columns(
        operation=operation,
        thread=threads,
        inode=inode,
        found=found,
        place=places[:count],
        new_place=new_place,
        has_name=(name != 0).astype(np.int64),
        error=raw.error.map(_error, np.int64),
        offset_bytes=raw.offset_bytes,
        size_bytes=raw.size_bytes,
        is_known=raw.is_known,
        mode=modes,
        is_directory=np.array([S_ISDIR(each) for each in of_modes.tolist()], np.int64)[modes],
        object_bytes=raw.object_bytes,
        mtime_ns=raw.mtime_ns,
        flags=raw.flags,
        handle=handles,
        call=raw.call.map(_asked_of_call, np.int64),
        call_word=raw.call.rows,
        arrival_ns=raw.arrival_ns,
        end_ns=raw.arrival_ns + raw.took_ns,
        place_directory=of_places >> 32,
        place_name_bytes=lengths[of_places & 0xFFFFFFFF],
    )
    header = recorded.header
    end_ns = header.command_end_ns
    if end_ns is None:
        end_ns = int(columns.end_ns.max()) if count else 0
    return Recorded(
        columns,
        len(of_inodes),
        tuple(of_threads.tolist()),
        len(of_handles),
        tuple(of_modes.tolist()),
        recorded.begin_ns,
        end_ns,
    )


def _error(error: str) -> int:
    return {"": NO_ERROR, "ENOENT": ENOENT}.get(error, OTHER_ERROR)


def _asked_of_call(call: str) -> int:
    return sum(bit for bit, asked in _ASKED_OF_CALLS if asked(call))


def _of_table(table: "pa.Table") -> _Raw:
    table = table.unify_dictionaries()

    def numbers(name: str) -> Integers:
        return np.ascontiguousarray(table.column(name).to_numpy(), np.int64)

    def words(name: str, as_read: Callable[[str | None], Any]) -> _Words:
        column = table.column(name).combine_chunks()
        read = [as_read(each) for each in column.dictionary.to_pylist()]
        if column.null_count:
            read.append(as_read(None))
        rows = column.indices.fill_null(len(read) - 1).to_numpy()
        # Two words may read as one: "" and null.
        numbers_of = {word: number for number, word in enumerate(dict.fromkeys(read))}
        renumber = np.array([numbers_of[each] for each in read], np.int64)
        return _Words(list(numbers_of), renumber[rows] if len(read) else rows.astype(np.int64))

    mode = numbers("mode")
    is_known = (mode != 0).astype(np.int64)
    return _Raw(
        operation=words("operation", recording.as_operation),
        name=words("name", recording.as_bytes),
        new_name=words("new_name", recording.as_bytes),
        error=words("error", recording.as_text),
        call=words("call", recording.as_text),
        thread=numbers("process"),
        inode=numbers("inode"),
        found=numbers("found"),
        offset_bytes=numbers("offset_bytes"),
        size_bytes=numbers("size_bytes"),
        is_known=is_known,
        mode=mode,
        object_bytes=np.where(is_known, numbers("object_bytes"), UNKNOWN.size_bytes),
        mtime_ns=np.where(is_known, numbers("mtime_ns"), UNKNOWN.mtime_ns),
        flags=numbers("flags"),
        handle=numbers("handle"),
        arrival_ns=numbers("arrival_ns"),
        took_ns=np.maximum(1, numbers("took_ns")),
    )


def _of_questions(questions: Sequence[Question]) -> _Raw:
    def numbers(of: Callable[[Question], int]) -> Integers:
        return np.array([of(each) for each in questions], np.int64)

    def words(of: Callable[[Question], Any]) -> _Words:
        found: dict[Any, int] = {}
        rows = numbers(lambda each: found.setdefault(of(each), len(found)))
        return _Words(list(found), rows)

    return _Raw(
        operation=words(lambda each: each.operation),
        name=words(lambda each: each.name),
        new_name=words(lambda each: each.new_name),
        error=words(lambda each: each.error),
        call=words(lambda each: each.call),
        thread=numbers(lambda each: each.thread),
        inode=numbers(lambda each: each.inode),
        found=numbers(lambda each: each.found),
        offset_bytes=numbers(lambda each: each.offset_bytes),
        size_bytes=numbers(lambda each: each.size_bytes),
        is_known=numbers(lambda each: each.status is not UNKNOWN),
        mode=numbers(lambda each: each.status.mode),
        object_bytes=numbers(lambda each: each.status.size_bytes),
        mtime_ns=numbers(lambda each: each.status.mtime_ns),
        flags=numbers(lambda each: each.flags),
        handle=numbers(lambda each: each.handle),
        arrival_ns=numbers(lambda each: each.arrival_ns),
        took_ns=numbers(lambda each: each.took_ns),
    )


def _numbered(keys: Integers, first: tuple[int, ...]) -> tuple[Integers, Integers]:
    """Of each of *keys* its number, from 0 as they are met after those of *first*; and all keys."""
    every = np.concatenate((np.array(first, np.int64), keys))
    numbers, distinct = _number(every)
    return numbers[len(first) :], distinct


@compiled
def _number(keys: Integers) -> tuple[Integers, Integers]:
    """A hash table with open addressing; the slots have the numbers of keys, less 1."""
    numbers = np.empty(len(keys), np.int64)
    distinct = np.empty(len(keys), np.int64)
    mask = 1023
    slots = np.zeros(mask + 1, np.int64)
    count = 0
    for index in range(len(keys)):
        key = keys[index]
        at = _hashed(key) & mask
        while slots[at] and distinct[slots[at] - 1] != key:
            at = (at + 1) & mask
        if not slots[at]:
            distinct[count] = key
            count += 1
            slots[at] = count
            numbers[index] = count - 1
            if 2 * count > mask:
                mask = 2 * mask + 1
                slots = np.zeros(mask + 1, np.int64)
                for number in range(count):
                    at = _hashed(distinct[number]) & mask
                    while slots[at]:
                        at = (at + 1) & mask
                    slots[at] = number + 1
        else:
            numbers[index] = slots[at] - 1
    return numbers, distinct[:count].copy()


@compiled
def _hashed(key: int) -> int:
    """Multiplied (Fibonacci hashing), and the upper half mixed into the lower."""
    product = key * -7046029254386353131
    return product ^ (product >> 32)
