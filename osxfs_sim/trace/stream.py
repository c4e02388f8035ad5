"""The format of a recording: whatever ends it, all of it until then can be read.

An Arrow IPC stream: the schema, with a header in its metadata, then batches of
which none needs another (so words are written out), and at last an empty batch
with the final header. Each batch is a zstd frame of its own, so that a file that
ends anywhere is whole up to its last complete frame, and ``zstd -dc`` makes a
plain stream of it.

Nothing that is read is trusted: a piece that claims to be too long, or a batch
that is not what it says, ends the reading there.
"""

import io
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import pyarrow as pa
import pyarrow.ipc as ipc

from osxfs_sim.trace.errors import TraceError
from osxfs_sim.trace.schema import (
    ADDED,
    METADATA_KEY,
    RENAMED,
    SCHEMA,
    WORD,
    Header,
    header_of,
    metadata_of,
)

MAGIC = b"\x28\xb5\x2f\xfd"
"""What a zstd frame begins with."""
_LONGEST_PIECE = 1 << 26

PLAIN = pa.schema([each.with_type(pa.string()) if each.type == WORD else each for each in SCHEMA])
"""SCHEMA with its words written out."""
_BEFORE = pa.schema([each for each in PLAIN if each.name not in ADDED])
"""What earlier versions recorded."""

# What reading a damaged file may raise.
DAMAGES = (pa.ArrowException, OSError, ValueError, KeyError, TypeError, EOFError, MemoryError)


class _Pending(io.RawIOBase):
    """Takes what a writer writes, until it is taken."""

    def __init__(self) -> None:
        super().__init__()
        self._pieces = bytearray()

    def writable(self) -> bool:
        return True

    def write(self, piece: Any) -> int:
        self._pieces += piece
        return len(piece)

    def take(self) -> bytes:
        taken = bytes(self._pieces)
        self._pieces.clear()
        return taken


class StreamWriter:
    """Writes a recording that grows by whole frames; one that does not fit is taken back."""

    def __init__(self, fd: int, header: Header, *, is_file: bool = True) -> None:
        """Write to *fd*, from its beginning. Raises OSError where not even that can be."""
        self.rows = 0
        self._fd = fd
        self._is_file = is_file
        self._codec = pa.Codec("zstd")
        self._pending = _Pending()
        self._size_bytes = 0
        self._last: list[tuple[int, int]] = []
        """Of the last frames: where each begins, and its rows."""
        schema = PLAIN.with_metadata(metadata_of(header))
        self._writer = ipc.new_stream(pa.PythonFile(self._pending, "w"), schema)
        self._writer.write_batch(_NOTHING)  # only now the schema is written
        self._put()

    def write(self, table: pa.Table) -> None:
        """Append the rows of *table*, which has SCHEMA. Raises OSError, adding none of them."""
        for batch in table.cast(PLAIN).combine_chunks().to_batches():
            self._writer.write_batch(batch)
        self._last.append((self._size_bytes, table.num_rows))
        try:
            self._put()
        except OSError:
            self._last.pop()
            raise
        del self._last[:-_TAKEN_BACK]
        self.rows += table.num_rows

    def finish(self, header: Callable[[], Header]) -> None:
        """Write the final *header*, if need be in place of the last rows. Raises OSError.

        It is worth more than the last rows: they make room for it, and *header* is called anew.
        """
        while True:
            self._writer.write_batch(_NOTHING, custom_metadata=metadata_of(header()))
            try:
                self._put()
                return
            except OSError:
                if not self._last or not self._is_file:
                    raise
                self._size_bytes, rows = self._last.pop()
                self.rows -= rows
                self._cut()

    def _put(self) -> None:
        frame = memoryview(self._codec.compress(self._pending.take(), asbytes=True))
        written = 0
        try:
            while written < len(frame):
                written += os.write(self._fd, frame[written:])
        except OSError:
            if self._is_file:
                self._cut()
            raise
        self._size_bytes += len(frame)

    def _cut(self) -> None:
        os.ftruncate(self._fd, self._size_bytes)
        os.lseek(self._fd, self._size_bytes, os.SEEK_SET)


_NOTHING = pa.RecordBatch.from_pydict({each.name: [] for each in PLAIN}, schema=PLAIN)
_TAKEN_BACK = 16


class StreamReader:
    """Reads a recording, as far as it goes.

    *header* is the final one, or else what is known without it, and *is_complete* says
    which; both count once all batches have been read.
    """

    def __init__(self, file: IO[bytes], path: Path) -> None:
        """Raises TraceError where it is no recording of a trace."""
        self.is_complete = False
        self._path = path
        try:
            frames = pa.CompressedInputStream(pa.PythonFile(file, "r"), "zstd")
            self._reader = ipc.open_stream(pa.PythonFile(_Bounded(frames), "r"))
            schema = self._reader.schema
            columns = _with_current_names(schema)
        except DAMAGES as error:
            raise TraceError(f"{path} is not a trace: its beginning is damaged") from error
        self.header = header_of(path, schema.metadata or {})
        if not columns.equals(PLAIN) and not columns.equals(_BEFORE):
            raise TraceError(f"{path} is not a trace: it has other columns")

    def batches(self) -> Iterator[pa.RecordBatch]:
        """Yield batches of columns PLAIN up to the end or first damage. Raises TraceError."""
        while not self.is_complete:
            try:
                batch, metadata = self._reader.read_next_batch_with_custom_metadata()
                batch.validate(full=True)
            except (*DAMAGES, StopIteration):
                return
            if metadata is not None and METADATA_KEY in metadata:
                self.header = header_of(self._path, metadata)
                self.is_complete = True
            yield batch.rename_columns(_with_current_names(batch.schema).names)


def _with_current_names(schema: pa.Schema) -> pa.Schema:
    return pa.schema([each.with_name(RENAMED.get(each.name, each.name)) for each in schema])


class _Bounded(io.RawIOBase):
    """Gives no piece that is longer than any recorder writes, whatever a file claims."""

    def __init__(self, file: Any) -> None:
        super().__init__()
        self._file = file

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        if not 0 <= size <= _LONGEST_PIECE:
            raise ValueError("no recorder writes a piece of this length")
        return self._file.read(size)  # type: ignore[no-any-return]
