"""The format of a trace: a Parquet file, a row per answered request.

Any tool that reads Parquet reads a trace (DuckDB, pandas, Polars, R). Its columns
and its header are in schema.py. Requests that were answered by the guest's kernel
out of its caches never reached the share, and are not in it.

A Parquet file cannot be read without its last block. So a trace is recorded in
another file beside it (stream.py), which becomes Parquet when it is complete;
where that never was, the other is read in its place.
"""

import contextlib
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from osxfs_sim.fs.reading import open_regular
from osxfs_sim.trace import files
from osxfs_sim.trace.errors import TraceError as TraceError  # it is raised here
from osxfs_sim.trace.schema import ADDED, RENAMED, WORD, header_of, metadata_of
from osxfs_sim.trace.schema import FORMAT as FORMAT
from osxfs_sim.trace.schema import METADATA_KEY as METADATA_KEY
from osxfs_sim.trace.schema import SCHEMA as SCHEMA
from osxfs_sim.trace.schema import Header as Header
from osxfs_sim.trace.stream import DAMAGES, MAGIC, StreamReader

_ROWS_OF_A_GROUP = 65_536  # of a Parquet file

MOST_ROWS = 1 << 25
"""More are not read, whatever memory there is."""
_BYTES_OF_A_ROW = 500  # what analyzing takes of memory, measured
_ALWAYS_READ = 1_000_000
"""So many rows are read in any case: half a GB."""
MOST_WORDS_BYTES = 1 << 28
"""All distinct words of a column; more are not read either."""
_MOST_GROUP_BYTES = 1 << 28  # of a row group, written out
_ROWS_OF_A_BATCH = 8_192
_ROWS_AT_ONCE = 1 << 19
_BYTES_OF_A_GROUP = 1 << 26


class TraceWriter:
    """Writes a trace batch by batch; it takes its place when it is closed."""

    def __init__(self, path: Path) -> None:
        """Raises TraceError where *path* cannot be written."""
        self._output = files.new_trace(path)
        self._writer = pq.ParquetWriter(self._output.file, SCHEMA, compression="zstd")

    def write(self, columns: dict[str, Any]) -> None:
        """Append rows: lists of one length per column. Raises KeyError, OSError, ArrowException."""
        arrays = [pa.array(columns[each.name], type=_plain(each.type)) for each in SCHEMA]
        arrays = [
            array.dictionary_encode().cast(each.type) if each.type == WORD else array
            for array, each in zip(arrays, SCHEMA, strict=True)
        ]
        self.write_table(pa.Table.from_arrays(arrays, schema=SCHEMA))

    def write_table(self, table: pa.Table) -> None:
        """Append an Arrow table, columns as in SCHEMA. Raises OSError or ArrowException."""
        self._writer.write_table(table)

    def close(self, header: Header) -> None:
        """Finish the trace's file, and put it in place. Raises OSError or ArrowException."""
        self._writer.add_key_value_metadata(metadata_of(header))
        self._writer.close()
        self._output.commit()

    def discard(self) -> None:
        """Give up a trace that was not closed, leaving no file; after close() do nothing."""
        if not self._output.file.closed:
            with contextlib.suppress(OSError, pa.ArrowException):
                self._writer.close()
        self._output.discard()


def complete(recording: IO[bytes], path: Path, header: Header) -> None:
    """Convert a *recording* to a Parquet file *path*. Raises TraceError, OSError, ArrowException.

    Raises TraceError, OSError or ArrowException; then there is none.
    """
    recording.seek(0)
    reader = StreamReader(recording, path)
    writer = TraceWriter(path)
    try:
        for batches in _grouped(reader.batches()):
            table = pa.Table.from_batches(batches, schema=batches[0].schema)
            writer.write_table(_with_words(table).cast(SCHEMA))
        writer.close(header)
    finally:
        writer.discard()


def _with_words(table: pa.Table) -> pa.Table:
    """*table* with dictionaries where SCHEMA has some."""
    columns = [
        table[each.name].combine_chunks().dictionary_encode()
        if each.type == WORD
        else table[each.name]
        for each in SCHEMA
    ]
    return pa.Table.from_arrays(columns, names=SCHEMA.names)


def _grouped(
    batches: Iterable[pa.RecordBatch], rows: int = _ROWS_OF_A_GROUP
) -> Iterator[list[pa.RecordBatch]]:
    """The same batches in lists of so many rows, or fewer where they take much memory."""
    group: list[pa.RecordBatch] = []
    in_group = in_bytes = 0
    for batch in batches:
        group.append(batch)
        in_group += batch.num_rows
        in_bytes += batch.nbytes
        if in_group >= rows or in_bytes >= _BYTES_OF_A_GROUP:
            yield group
            group, in_group, in_bytes = [], 0, 0
    if in_group:
        yield group


def read_trace(path: str | Path) -> tuple[Header, pa.Table]:
    """A trace's header, and its rows as an Arrow table in the order of arrival. Raises TraceError.

    Its words, and its names with them, are dictionaries. Where the trace was never
    completed, it is read from what it was recorded in, and *failure* in its header says so.
    Raises TraceError for a file that is none, or of a later format, or that cannot
    be read in reasonable memory.
    """
    return _read(Path(path), with_rows=True)


def rewrite_notes(path: Path, notes: dict[str, Any]) -> None:
    """Give the complete trace *path* other *notes*. Raises TraceError or OSError."""
    header, table = read_trace(path)
    writer = TraceWriter(path)
    try:
        for batch in table.to_batches(_ROWS_OF_A_GROUP):
            writer.write_table(pa.Table.from_batches([batch]).cast(SCHEMA))
        writer.close(replace(header, notes=notes))
    finally:
        writer.discard()


def read_header(path: str | Path) -> Header:
    """The Header of the trace file *path*, reading a recording to its end. Raises TraceError."""
    return _read(Path(path), with_rows=False)[0]


def _read(path: Path, *, with_rows: bool) -> tuple[Header, pa.Table]:
    place = files.last_of(path)
    try:
        with open(open_regular(place), "rb") as file:
            magic = file.read(len(MAGIC))
            file.seek(0)
            if magic == MAGIC:
                return _read_recording(file, place, with_rows=with_rows)
            return _read_parquet(file, place, with_rows=with_rows)
    except OSError as error:
        why = error.strerror or "it cannot be read"
        raise TraceError(f"{path} is not a trace: {why}") from error


def _read_recording(file: IO[bytes], path: Path, *, with_rows: bool) -> tuple[Header, pa.Table]:
    goes_on = files.is_locked(file.fileno())
    reader = StreamReader(file, path)
    rows = _Rows(path)
    count = 0
    for batches in _grouped(reader.batches(), _ROWS_AT_ONCE):
        count += sum(batch.num_rows for batch in batches)
        if with_rows:
            rows.add(batches)
    table = rows.table()
    header = reader.header
    if reader.is_complete:
        return header, table
    ends = pc.max(pc.add(table["arrival_ns"], table["took_ns"])).as_py() or 0
    who = "it is being recorded still" if goes_on else "its server ended before it was complete"
    return replace(
        header,
        lasted_ns=max(ends, 0),
        failure=f"{who}: {path} has the first {count:,} requests",
    ), table


def _read_parquet(file: IO[bytes], path: Path, *, with_rows: bool) -> tuple[Header, pa.Table]:
    try:
        with pq.ParquetFile(file) as parquet:
            metadata, schema = parquet.metadata, parquet.schema_arrow
            header = header_of(path, schema.metadata or metadata.metadata or {})
        if not with_rows:
            return header, _NO_ROWS
        given = {RENAMED.get(name, name): name for name in schema.names}
        has = [each.name for each in SCHEMA if each.name in given]
        missing = [each.name for each in SCHEMA if each.name not in (*has, *ADDED)]
        if missing:
            raise TraceError(f"{path} is not a trace: it has no column {missing[0]}")
        _check_size(path, metadata)
        # A word that comes again and again is not to be written out in memory.
        words = [
            given[name]
            for name in has
            if name in _WORDS and _is_of_words(schema.field(given[name]).type)
        ]
        file.seek(0)
        rows = _Rows(path)
        with pq.ParquetFile(file, metadata=metadata, read_dictionary=words) as parquet:
            columns = [given[name] for name in has]
            batches = (
                batch.rename_columns([RENAMED.get(name, name) for name in batch.schema.names])
                for batch in parquet.iter_batches(_ROWS_OF_A_BATCH, columns=columns)
            )
            for group in _grouped(batches, _ROWS_AT_ONCE):
                rows.add(group)
        return header, rows.table()
    except DAMAGES as error:
        if getattr(error, "errno", None):
            raise
        raise TraceError(f"{path} is not a trace: it is no Parquet file") from error


def _is_of_words(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _check_size(path: Path, metadata: pq.FileMetaData) -> None:
    """Raises TraceError for a file that says itself that it is larger than what is read."""
    _check_rows(path, metadata.num_rows)
    for number in range(metadata.num_row_groups):
        # Of the group, not of its columns: to look at a damaged one's can end the process.
        if metadata.row_group(number).total_byte_size > _MOST_GROUP_BYTES:
            raise TraceError(f"{path} cannot be read: a block of it is too large")


def _check_rows(path: Path, count: int) -> None:
    """Raises TraceError where so many rows are too many for this machine, or for this file.

    A few bytes can stand for any number of equal rows; but no two requests of a recording
    arrive, and take, the same nanoseconds, which takes more than a byte to say.
    """
    if count <= _ALWAYS_READ:
        return
    if count > path.stat().st_size:
        raise TraceError(
            f"{path} cannot be read: no recording has {count:,} requests in so few bytes"
        )
    takes_bytes, free_bytes = count * _BYTES_OF_A_ROW, _free_bytes()
    if count > MOST_ROWS or takes_bytes > free_bytes:
        raise TraceError(
            f"{path} cannot be read: its {count:,} requests or more take {takes_bytes >> 20:,} MB "
            f"of memory, and {free_bytes >> 20:,} MB are free; record less at once"
        )


def _free_bytes() -> int:
    """What processes can have of this machine's memory."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        return next(int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvail"))
    except (OSError, StopIteration, ValueError):
        return MOST_ROWS * _BYTES_OF_A_ROW


_READ = pa.schema([each.with_type(WORD) if each.type == pa.string() else each for each in SCHEMA])
_WORDS = tuple(each.name for each in _READ if each.type == WORD)
_NO_ROWS = _READ.empty_table()


class _Rows:
    """Rows that are read, with their words as dictionaries: no more of them than memory has."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._tables: list[pa.Table] = []
        self._rows = 0
        self._words_bytes = dict.fromkeys(_WORDS, 0)

    def add(self, batches: list[pa.RecordBatch]) -> None:
        """Raises TraceError where a column is not what it must be, or there are too many."""
        whole = pa.Table.from_batches(batches)
        self._rows += whole.num_rows
        _check_rows(self._path, self._rows)
        columns = [
            self._column(whole[each.name], each)
            if each.name in whole.column_names
            else _added(each, whole.num_rows)
            for each in _READ
        ]
        self._tables.append(pa.Table.from_arrays(columns, schema=_READ))

    def _column(self, column: pa.ChunkedArray, wanted: pa.Field) -> pa.Array:
        try:
            if wanted.type != WORD:
                if not pa.types.is_integer(column.type):
                    raise TypeError(column.type)
                return column.cast(wanted.type).combine_chunks()
            if not pa.types.is_dictionary(column.type):
                column = column.cast(pa.string()).dictionary_encode()
            encoded = _one(column.cast(WORD))
        except (pa.ArrowException, TypeError, ValueError) as error:
            raise _unusable(wanted.name) from error
        if encoded.dictionary.null_count:
            raise _unusable(wanted.name)
        self._words_bytes[wanted.name] += encoded.dictionary.nbytes
        if self._words_bytes[wanted.name] > MOST_WORDS_BYTES:
            raise TraceError(
                f"{self._path} cannot be read: its column {wanted.name} has more than "
                f"{MOST_WORDS_BYTES >> 20} MB of words"
            )
        return encoded

    def table(self) -> pa.Table:
        """All of them, in the order of arrival, each column in one piece."""
        if not self._tables:
            return _NO_ROWS
        table = pa.concat_tables(self._tables)
        self._tables.clear()
        columns = [
            _one(table[each.name]) if each.type == WORD else table[each.name].combine_chunks()
            for each in _READ
        ]
        return pa.Table.from_arrays(columns, schema=_READ).sort_by("arrival_ns")


def _added(column: pa.Field, count: int) -> pa.Array:
    """What stands in a *column* that came later than the trace, *count* times."""
    if column.type == WORD:
        return pa.DictionaryArray.from_arrays(
            pa.nulls(count, pa.int32()), pa.array([], pa.string())
        )
    return pa.repeat(pa.scalar(ADDED[column.name], column.type), count)


def _one(column: pa.ChunkedArray) -> pa.DictionaryArray:
    """A column of words as one array with one dictionary."""
    column.validate(full=True)
    return column.unify_dictionaries().combine_chunks()


def _unusable(name: str) -> TraceError:
    return TraceError(f"the trace's column {name} is damaged, or of another type than it must be")


def _plain(kind: pa.DataType) -> pa.DataType:
    return pa.string() if kind == WORD else kind


def columns_of(rows: Iterator[dict[str, Any]]) -> dict[str, list[Any]]:
    """Rows as dictionaries turned into lists per column of SCHEMA; missing values get defaults.

    A row may leave out what has an evident default: 0, null, or ``host``.
    """
    columns: dict[str, list[Any]] = {each.name: [] for each in SCHEMA}
    for row in rows:
        for name, column in columns.items():
            column.append(row.get(name, _DEFAULTS.get(name)))
    return columns


_DEFAULTS = {
    "target_ns": 0,
    "found": 0,
    "size_bytes": 0,
    "offset_bytes": 0,
    "process": 0,
    "answered_by": "host",
    **ADDED,
}
