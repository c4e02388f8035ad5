"""The rows of a trace that count for an analysis, as numpy columns.

Words become small integers once, here; everything after is arithmetic on
arrays, so that a trace of millions of rows is analyzed in seconds.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from osxfs_sim.model.operations import UNAWAITED, Operation
from osxfs_sim.trace.format import Header, TraceError

Integers = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

UNKNOWN = "(unknown)"
HOST = "host"
GUEST = "guest"


@dataclass(frozen=True, slots=True)
class Words:
    """A column of words: a code per row, and what each code stands for."""

    codes: Integers
    """Shape (rows,): the index of each row's word in *labels*."""
    labels: tuple[str, ...]
    """What each code stands for."""

    def are(self, *words: str) -> Flags:
        """Which rows have one of *words*, known or not, in this column: booleans, (rows,)."""
        return np.array([label in words for label in self.labels], bool)[self.codes]


@dataclass(frozen=True, slots=True)
class Requests:
    """Requests as columns, in the order of arrival; their times lie within the wall time."""

    begin_ns: Integers
    """Shape (requests,), as all that follow: the arrival, since the wall time began."""
    end_ns: Integers
    """When it was answered; *begin_ns* where no process waits."""
    target_ns: Integers
    """What the latency model asked for; 0 where nothing crossed."""
    took_ns: Integers
    """What it took until the answer was sent."""
    operation: Words
    """The operation of the protocol."""
    inode: Integers
    """The inode number that it was about: for a name, its directory's."""
    name: Integers
    """A code for the name it was about, -1 where there is none."""
    found: Integers
    """The inode number that a name led to; 0 where it led nowhere."""
    size_bytes: Integers
    """Of a read or write: how many bytes it was for."""
    offset_bytes: Integers
    """Of a read or write: from where."""
    failed: Flags
    """Whether it was answered by an error."""
    missing: Flags
    """Whether it was a LOOKUP of a name that does not exist (ENOENT)."""
    program: Words
    """The program whose thread made the system call, as far as it is known."""
    directory: Words
    """The path of the directory it was in."""
    answered_by: Words
    """``host`` where it crossed; ``guest`` where the guest's side knew the answer."""
    awaited: Flags
    """Whether a process waits for such an answer."""

    def __len__(self) -> int:
        return len(self.begin_ns)

    def are(self, *operations: Operation) -> Flags:
        """Which requests are one of *operations* of the protocol: booleans, shape (requests,)."""
        return self.operation.are(*(operation.name for operation in operations))


def window_of(header: Header, table: pa.Table) -> tuple[int, int]:
    """The (begin, end) of the measured command or whole trace, ns since begin. Raises TraceError.

    Raises TraceError where the command ends before it starts.
    """
    ends = header.lasted_ns
    if table.num_rows:
        last = pc.max(pc.add(table["arrival_ns"], table["took_ns"])).as_py()
        ends = max(ends, last or 0)
    begin = header.command_start_ns if header.command_start_ns is not None else 0
    end = header.command_end_ns if header.command_end_ns is not None else ends
    if end < begin:
        raise TraceError("the trace's command ends before it starts: its header is damaged")
    return begin, end


def requests_of(table: pa.Table, window: tuple[int, int]) -> Requests:
    """The requests of *table* (by arrival) in flight within *window* (ns). Raises TraceError.

    Raises TraceError for a column that is damaged or of another type.
    """
    start, end = window
    arrival = _integers(table, "arrival_ns")
    took = np.maximum(_integers(table, "took_ns"), 0)
    inside = (arrival <= end) & (arrival + took >= start)
    if not inside.all():
        table = table.filter(pa.array(inside))
        arrival, took = arrival[inside], took[inside]
    operation = _words(table, "operation")
    answered_by = _words(table, "answered_by")
    unawaited = answered_by.are(GUEST) | operation.are(*(each.name for each in UNAWAITED))
    begin_ns = np.clip(arrival, start, end)
    end_ns = np.where(unawaited, begin_ns, np.clip(arrival + took, start, end))
    error = _words(table, "error")
    found = _integers(table, "found")
    failed = ~error.are(UNKNOWN)
    return Requests(
        begin_ns=begin_ns,
        end_ns=end_ns,
        target_ns=_integers(table, "target_ns"),
        took_ns=took,
        operation=operation,
        inode=_integers(table, "inode"),
        name=_names(table),
        found=found,
        size_bytes=_integers(table, "size_bytes"),
        offset_bytes=_integers(table, "offset_bytes"),
        failed=failed,
        missing=operation.are(Operation.LOOKUP.name) & error.are("ENOENT"),
        program=_words(table, "program"),
        directory=_words(table, "directory"),
        answered_by=answered_by,
        awaited=~unawaited,
    )


def _integers(table: pa.Table, name: str) -> Integers:
    try:
        column = table[name].cast(pa.int64())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise _unusable(name) from error
    return np.asarray(column.fill_null(0).to_numpy(), np.int64)


def _words(table: pa.Table, name: str) -> Words:
    column = _encoded(table, name)
    try:
        labels = tuple(column.dictionary.to_pylist())
    except UnicodeDecodeError as error:
        raise _unusable(name) from error
    codes = column.indices.fill_null(len(labels)).to_numpy(zero_copy_only=False)
    if column.null_count:
        labels = (*labels, UNKNOWN)
    return Words(np.asarray(codes, np.int64), labels)


def _names(table: pa.Table) -> Integers:
    codes = _encoded(table, "name").indices.fill_null(-1)
    return np.asarray(codes.to_numpy(zero_copy_only=False), np.int64)


def _encoded(table: pa.Table, name: str) -> Any:
    """A column as one dictionary array, whatever the batches had for dictionaries."""
    column = table[name]
    try:
        if not pa.types.is_dictionary(column.type):
            column = column.cast(pa.string()).dictionary_encode()
        return column.unify_dictionaries().combine_chunks()
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise _unusable(name) from error


def _unusable(name: str) -> TraceError:
    return TraceError(f"the trace's column {name} is damaged, or of another type than it must be")
