"""The format of a trace: a Parquet file, a row per answered request.

Any tool that reads Parquet reads a trace (DuckDB, pandas, Polars, R). What is
true of the whole trace, its Header, is JSON in the file's own metadata, under
the key ``osxfs_sim``. Requests that were answered by the guest's kernel out of
its caches never reached the share, and are not in it.
"""

import json
import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from osxfs_sim.trace.errors import TraceError as TraceError  # it is raised here

FORMAT = 1
"""Grows when a column changes its meaning or goes; columns may be added."""
METADATA_KEY = b"osxfs_sim"

_WORD = pa.dictionary(pa.int32(), pa.string())

SCHEMA = pa.schema(
    [
        # When it reached the share, in ns since the trace began.
        pa.field("arrival_ns", pa.int64(), nullable=False),
        # What the model asked for, and what passed until its client saw the reply.
        pa.field("asked_ns", pa.int64(), nullable=False),
        pa.field("took_ns", pa.int64(), nullable=False),
        # A name of model.operations.Operation, such as LOOKUP.
        pa.field("operation", _WORD, nullable=False),
        # What it is about: an object, or of a request with a name the directory. 1 is the root.
        pa.field("inode", pa.int64(), nullable=False),
        # Null where the request has none. Bytes that are no UTF-8 are written \xNN.
        pa.field("name", pa.string()),
        # The inode that the answer names (lookup, create, mkdir...), or 0. Of a RENAME the
        # directory that it went to; of an UNLINK or RMDIR what had the name, if that is known.
        pa.field("found", pa.int64(), nullable=False),
        # Data read or written, 0 for others; and where in the file.
        pa.field("size_bytes", pa.int64(), nullable=False),
        pa.field("offset_bytes", pa.int64(), nullable=False),
        # An errno by name, such as ENOENT; null where it succeeded.
        pa.field("error", _WORD),
        # The thread that asked; 0 where the kernel does not say. And its name.
        pa.field("process", pa.int32(), nullable=False),
        pa.field("program", _WORD),
        # The directory it is in or about, from the share's root: "/" or "/lib/x"; null: unknown.
        pa.field("directory", _WORD),
        # host: it crossed. names: a complete set of names knew that it is missing.
        # held: write-back knew, or took the change. guest: it never crosses (FORGET, RELEASE).
        pa.field("answered_by", _WORD, nullable=False),
    ]
)


@dataclass(frozen=True, slots=True)
class Header:
    """What is true of a whole trace.

    *began_ns* is the monotonic clock at its begin, *lasted_ns* how long it went
    on, *lost* how many requests found no room. A measured command, if there was
    one, ran from *command_start_ns* to *command_end_ns*, since the trace began.
    *profile* and *policy* name what answered; *source* says what made the trace
    (``mount``, or ``strace`` for an imported log); *notes* are the maker's own.
    """

    began_ns: int
    lasted_ns: int
    lost: int = 0
    command_start_ns: int | None = None
    command_end_ns: int | None = None
    profile: str = ""
    policy: str = ""
    source: str = "mount"
    notes: dict[str, Any] = field(default_factory=dict)


class TraceWriter:
    """Writes a trace, batch by batch."""

    def __init__(self, path: Path) -> None:
        """Raises TraceError where *path* cannot be written."""
        try:
            # With a mode of its own: a share's server has no umask.
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise TraceError(f"{path} cannot be written: {error.strerror}") from error
        self._file = open(fd, "wb")  # noqa: SIM115 (closed with the trace)
        self._writer = pq.ParquetWriter(self._file, SCHEMA, compression="zstd")

    def write(self, columns: dict[str, Any]) -> None:
        """A batch: a list or an array per column of SCHEMA, all of one length."""
        arrays = [pa.array(columns[each.name], type=_plain(each.type)) for each in SCHEMA]
        arrays = [
            array.dictionary_encode().cast(each.type) if each.type == _WORD else array
            for array, each in zip(arrays, SCHEMA, strict=True)
        ]
        self.write_table(pa.Table.from_arrays(arrays, schema=SCHEMA))

    def write_table(self, table: pa.Table) -> None:
        """A batch as an Arrow table with exactly the columns of SCHEMA."""
        self._writer.write_table(table)

    def close(self, header: Header) -> None:
        """End the file. Without it, it cannot be read."""
        document = {"format": FORMAT, **asdict(header)}
        self._writer.add_key_value_metadata({METADATA_KEY: json.dumps(document).encode()})
        self._writer.close()
        self._file.close()


def read_trace(path: str | Path) -> tuple[Header, pa.Table]:
    """A trace's header, and its rows as an Arrow table in the order of arrival.

    Raises TraceError for a file that is none, or of a later format.
    """
    try:
        with pq.ParquetFile(path) as file:
            header = _header(path, file.schema_arrow.metadata or file.metadata.metadata or {})
            table = file.read()
    except (pa.ArrowException, OSError, ValueError) as error:
        number = getattr(error, "errno", None)
        why = os.strerror(number) if number else "it is no Parquet file"
        raise TraceError(f"{path} is not a trace: {why}") from error
    missing = [each.name for each in SCHEMA if each.name not in table.column_names]
    if missing:
        raise TraceError(f"{path} is not a trace: it has no column {missing[0]}")
    return header, table.sort_by("arrival_ns")


def _header(path: str | Path, metadata: dict[bytes, bytes]) -> Header:
    if METADATA_KEY not in metadata:
        raise TraceError(f"{path} is not a trace: its metadata has no osxfs_sim")
    known = {each.name for each in fields(Header)}
    try:
        document = json.loads(metadata[METADATA_KEY])
        made_for = int(document["format"])
        if made_for > FORMAT:
            raise TraceError(f"{path} is of format {made_for}, this version reads {FORMAT}: update")
        # Like columns, what is told of a trace may grow within a format.
        header = Header(**{name: value for name, value in document.items() if name in known})
        _check(header)
        return header
    except (ValueError, TypeError, KeyError) as error:
        raise TraceError(f"{path} is not a trace: its header is damaged") from error


def _check(header: Header) -> None:
    """Raises TypeError where a value is not what a header has."""
    numbers = (header.began_ns, header.lasted_ns, header.lost)
    optional = (header.command_start_ns, header.command_end_ns)
    given = [*numbers, *(value for value in optional if value is not None)]
    if not all(type(value) is int for value in given) or type(header.notes) is not dict:
        raise TypeError("not a header")


def _plain(kind: pa.DataType) -> pa.DataType:
    return pa.string() if kind == _WORD else kind


def columns_of(rows: Iterator[dict[str, Any]]) -> dict[str, list[Any]]:
    """Rows, given as dictionaries, as the columns that TraceWriter.write takes.

    A row may leave out what has an evident default: 0, null, or ``host``.
    """
    columns: dict[str, list[Any]] = {each.name: [] for each in SCHEMA}
    for row in rows:
        for name, column in columns.items():
            column.append(row.get(name, _DEFAULTS.get(name)))
    return columns


_DEFAULTS = {
    "asked_ns": 0,
    "found": 0,
    "size_bytes": 0,
    "offset_bytes": 0,
    "process": 0,
    "answered_by": "host",
}
