"""Records requests at a cost that does not disturb them, and writes them as a trace.

A row's numbers are packed into a block of memory, its name goes into a list.
A full block becomes Arrow columns and a part of the file in a thread, without
a loop over rows; so does one that is not full, after a few seconds. What waits
for that thread is bounded: where it cannot keep up, or the disk is full, rows are
lost, and counted.

What is recorded can be read at any time (stream.py), and becomes a Parquet file
in the end. Where that cannot be, it stays as it was recorded.
"""

import contextlib
import errno
import os
import queue
import struct
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from osxfs_sim.fs import at
from osxfs_sim.model.operations import Operation
from osxfs_sim.trace import files
from osxfs_sim.trace.answers import AnsweredBy
from osxfs_sim.trace.errors import TraceError
from osxfs_sim.trace.format import complete
from osxfs_sim.trace.said import NOTHING_SAID, Said
from osxfs_sim.trace.schema import SCHEMA, Header
from osxfs_sim.trace.stream import StreamWriter

BLOCK_ROWS = 8_192
FLUSHED_WITHIN_S = 2.0
"""So old a row gets before it is on its way to the file, at most."""
_FEWEST_ROWS = 64
"""Where a block does not fit, its halves are tried, down to this."""
_MOST_BLOCKS_WAITING = 32
_MOST_PROCESSES = 16_384
_LOOKS_AT_A_PROGRAM = frozenset({1, 8, 64})
"""A process executes another program after its first requests: so its name is read again."""

_ROW = np.dtype(
    [
        ("arrival_ns", "<i8"),
        ("target_ns", "<i8"),
        ("took_ns", "<i8"),
        ("inode", "<i8"),
        ("found", "<i8"),
        ("size_bytes", "<i8"),
        ("offset_bytes", "<i8"),
        ("directory", "<i8"),
        ("process", "<i4"),
        ("error", "<i2"),
        ("operation", "i1"),
        ("answered_by", "i1"),
        ("object_bytes", "<i8"),
        ("mtime_ns", "<i8"),
        ("handle", "<i8"),
        ("mode", "<i4"),
        ("links", "<i4"),
        ("flags", "<i4"),
    ]
)
_pack_into = struct.Struct("<8qihbb3q3i").pack_into

_ROW_BYTES = _ROW.itemsize
_MOST_GENERATIONS = 16

_OPERATIONS = pa.array([operation.name for operation in Operation])
_ANSWERED_BY = pa.array([by.label for by in AnsweredBy])
_ERRORS = pa.array([errno.errorcode.get(number, f"E{number}") for number in range(256)])


Kin = tuple[int, int, int]
"""The process of a thread, that one's parent, and when the thread was started (monotonic, in ns);
0 where it has ended."""


class Recorder:
    """One trace being written. All but the writing is called from one thread."""

    def __init__(
        self,
        path: Path,
        header: Header,
        directory_path: Callable[[int], str | None],
        program_of: Callable[[int], str | None],
        kin_of: Callable[[int], Kin],
        call_soon: Callable[[Callable[[], None]], None],
    ) -> None:
        """*directory_path* tells where the directory of a number is, from the share's root;
        *program_of* what a process runs, or None where it has ended; *kin_of* where a thread
        comes from. *call_soon* has
        something called by the thread that records, and *header* is what is known already.

        Raises TraceError where *path* cannot be written.
        """
        self.path = path
        self.failure = ""
        """Why it is not whole, if so."""
        self._header = header
        self._began_ns = header.began_ns
        self._directory_path = directory_path
        self._program_of = program_of
        self._kin_of = kin_of
        self._call_soon = call_soon
        self._programs: dict[int, str | None] = {}
        self._readings: dict[int, int] = {}
        self._block = bytearray(BLOCK_ROWS * _ROW.itemsize)
        self._names: list[bytes | None] = []
        self._new_names: dict[int, bytes] = {}
        self._calls: dict[int, str] = {}
        self._threads: dict[int, Kin] = {}
        self._handed_over = self._found_no_room = self._unwritten = 0
        self._closing = threading.Lock()
        self._place, self._fd = files.place_of(path)
        self._recording: Path | None = None
        is_file = self._fd < 0
        if is_file:
            self._fd, self._recording = files.make_recording(self._place)
        try:
            self._writer = StreamWriter(self._fd, header, is_file=is_file)
        except OSError as error:
            self._let_go()
            os.close(self._fd)
            raise TraceError(f"{path} cannot be written: {error.strerror}") from error
        self._blocks: queue.Queue[_Block | None] = queue.Queue(_MOST_BLOCKS_WAITING)
        self._thread = threading.Thread(target=self._write_all, name="osxfs-sim trace", daemon=True)
        self._thread.start()

    @property
    def rows(self) -> int:
        """How many answered requests have been written to the trace's file so far."""
        return self._writer.rows

    @property
    def lost(self) -> int:
        """How many answered requests are not in the trace, and never will be."""
        return self._found_no_room + self._unwritten

    def add(
        self,
        arrival_ns: int,
        target_ns: int,
        took_ns: int,
        operation: int,
        inode: int,
        name: bytes | None,
        found: int,
        size_bytes: int,
        offset_bytes: int,
        error: int,
        process: int,
        directory: int,
        answered_by: int,
        said: Said = NOTHING_SAID,
    ) -> None:
        """Record one answered request without waiting; where there is no room it counts as lost."""
        names = self._names
        _pack_into(
            self._block,
            len(names) * _ROW_BYTES,
            arrival_ns - self._began_ns,
            target_ns,
            took_ns,
            inode,
            found,
            size_bytes,
            offset_bytes,
            directory,
            process,
            error,
            operation,
            answered_by,
            said.object_bytes,
            said.mtime_ns,
            said.handle,
            said.mode,
            said.links,
            said.flags,
        )
        if said.call is not None:
            self._calls[len(names)] = said.call
        if said.new_name is not None:
            self._new_names[len(names)] = said.new_name
        names.append(name)
        readings = self._readings
        seen = readings[process] = readings.get(process, 0) + 1
        if seen in _LOOKS_AT_A_PROGRAM:
            self._programs[process] = self._program_of(process) or self._programs.get(process)
            if seen == 1:
                self._note_kin(process)
        if len(names) == BLOCK_ROWS:
            self._hand_over()

    def _note_kin(self, thread: int) -> None:
        """Where *thread* comes from, and who started that: a shell may ask nothing itself."""
        for _ in range(_MOST_GENERATIONS):
            if thread in self._threads or len(self._threads) >= _MOST_PROCESSES:
                return
            kin = self._threads[thread] = self._kin_of(thread)
            thread = kin[1]
            if thread <= 1:
                return

    def close(
        self,
        ended_ns: int,
        *,
        command: tuple[int, int] | None = None,
        notes: dict[str, Any] | None = None,
    ) -> Header:
        """Write the rest, may block; returns the final header. Raises TraceError if not whole.

        All moments are of the clock that the trace's begin is of. Raises TraceError
        where something could not be written, and says what there is all the same.
        """
        with self._closing:
            if self._names:
                self._hand_over(wait=True)
        self._blocks.put(None)
        self._thread.join()
        began_ns = self._began_ns
        start_ns, end_ns = command or (None, None)

        def header() -> Header:
            # Some may have had to make room for this.
            self._unwritten = self._handed_over - self._found_no_room - self._writer.rows
            return replace(
                self._header,
                lasted_ns=ended_ns - began_ns,
                lost=self.lost,
                command_start_ns=None if start_ns is None else start_ns - began_ns,
                command_end_ns=None if end_ns is None else end_ns - began_ns,
                notes=notes or {},
                threads=[
                    [thread, process, parent, started_ns - began_ns if started_ns else 0]
                    for thread, (process, parent, started_ns) in self._threads.items()
                ],
                failure=self.failure,
            )

        try:
            try:
                self._writer.finish(header)
            except OSError as error:
                self._has_failed(error)
            where = self._complete(header()) if self._recording is not None else ""
        finally:
            os.close(self._fd)
        if self.failure:
            lost = f"{self.lost:,} requests are lost" if self.lost else "it is not complete"
            raise TraceError(f"the trace {self.path} is not whole, {lost}: {self.failure}{where}")
        return header()

    def _complete(self, header: Header) -> str:
        """Make the Parquet file; where that cannot be, returns what there is instead."""
        assert self._recording is not None
        try:
            with os.fdopen(os.dup(self._fd), "rb") as recording:
                complete(recording, self._place, header)
        except (TraceError, OSError, pa.ArrowException, MemoryError) as error:
            self._has_failed(error)
            return f"; {self._recording} has the other {self.rows:,}, and is read in its place"
        self._let_go()
        return ""

    def _let_go(self) -> None:
        """What it was recorded in is needed no more."""
        with contextlib.suppress(OSError):
            if self._recording is not None and os.path.samestat(
                os.fstat(self._fd), self._recording.lstat()
            ):
                at.remove(self._recording)

    def _has_failed(self, error: Exception) -> None:
        self.failure = self.failure or getattr(error, "strerror", None) or str(error)

    def _hand_over(self, *, wait: bool = False) -> None:
        names = self._names
        rows = np.frombuffer(self._block, _ROW, len(names))
        numbers = np.unique(rows["directory"])
        # Here, because directories may be renamed by the time that it is written.
        directories = [self._directory_path(int(number)) for number in numbers]
        programs = dict(self._programs)
        block = _Block(rows, names, self._new_names, self._calls, numbers, directories, programs)
        self._handed_over += len(names)
        try:
            self._blocks.put(block, block=wait)
        except queue.Full:
            self._found_no_room += len(names)
        self._block = bytearray(BLOCK_ROWS * _ROW.itemsize)
        self._names = []
        self._new_names = {}
        self._calls = {}
        if len(self._readings) > _MOST_PROCESSES:
            self._readings.clear()
            self._programs.clear()

    def _hand_over_early(self) -> None:
        # The caller of close() hands over what there is, in a thread of its own.
        if self._closing.acquire(blocking=False):
            if self._names and self._blocks.empty():
                self._hand_over()
            self._closing.release()

    def _write_all(self) -> None:
        while True:
            try:
                block = self._blocks.get(timeout=FLUSHED_WITHIN_S)
            except queue.Empty:
                if self._names:
                    self._call_soon(self._hand_over_early)
                continue
            if block is None:
                return
            before = self._writer.rows
            try:
                self._write(block.table())
            except (pa.ArrowException, MemoryError, ValueError) as error:
                self._has_failed(error)
            self._unwritten += len(block) - (self._writer.rows - before)

    def _write(self, table: pa.Table) -> bool:
        """Write as many of the rows as there is room for; whether that is all of them."""
        try:
            self._writer.write(table)
            return True
        except OSError as error:
            self._has_failed(error)
        half = table.num_rows // 2
        return (
            half >= _FEWEST_ROWS
            and self._write(table.slice(0, half))
            and self._write(table.slice(half))
        )


class _Block:
    """Rows on their way to the file, with what their numbers stand for."""

    def __init__(
        self,
        rows: np.ndarray,
        names: list[bytes | None],
        new_names: dict[int, bytes],
        calls: dict[int, str],
        numbers: np.ndarray,
        directories: list[str | None],
        programs: dict[int, str | None],
    ) -> None:
        self._rows = rows
        self._names = names
        self._new_names = new_names
        self._calls = calls
        self._numbers = numbers
        self._directories = directories
        self._programs = programs

    def __len__(self) -> int:
        return len(self._rows)

    def table(self) -> pa.Table:
        rows = self._rows
        processes, which = np.unique(rows["process"], return_inverse=True)
        programs = [self._programs.get(int(process)) for process in processes]
        columns = {
            "operation": _coded(rows["operation"], _OPERATIONS),
            "name": _texts(self._names),
            "new_name": _texts([self._new_names.get(row) for row in range(len(rows))])
            if self._new_names
            else pa.nulls(len(rows), pa.string()),
            "call": _coded_words(
                np.arange(len(rows)), [self._calls.get(row) for row in range(len(rows))]
            )
            if self._calls
            else _no_words(len(rows)),
            "error": _coded(rows["error"], _ERRORS, nothing=rows["error"] == 0),
            "program": _coded_words(which, programs),
            "directory": _coded_words(
                np.searchsorted(self._numbers, rows["directory"]), self._directories
            ),
            "answered_by": _coded(rows["answered_by"], _ANSWERED_BY),
        }
        return pa.Table.from_arrays(
            [
                columns[each.name]
                if each.name in columns
                else pa.array(np.ascontiguousarray(rows[each.name]), each.type)
                for each in SCHEMA
            ],
            schema=SCHEMA,
        )


def _no_words(count: int) -> pa.Array:
    return _coded_words(np.zeros(count, np.int64), [None])


def _coded(codes: np.ndarray, words: pa.Array, nothing: np.ndarray | None = None) -> pa.Array:
    return pa.DictionaryArray.from_arrays(pa.array(codes.astype(np.int32), mask=nothing), words)


def _coded_words(codes: np.ndarray, words: list[str | None]) -> pa.Array:
    """Codes into *words*, of which some may be None (null) or occur twice."""
    distinct = sorted({word for word in words if word is not None})
    place = {word: code for code, word in enumerate(distinct)}
    recoded = np.array([-1 if word is None else place[word] for word in words], np.int32)[codes]
    return pa.DictionaryArray.from_arrays(
        pa.array(recoded, mask=recoded < 0), pa.array(distinct, pa.string())
    )


def _texts(names: list[bytes | None]) -> pa.Array:
    """Names as text; bytes that are no UTF-8 as \\xNN."""
    try:
        return pa.array(names, pa.binary()).cast(pa.string())
    except pa.ArrowInvalid:
        return pa.array(
            [None if name is None else name.decode("utf-8", "backslashreplace") for name in names],
            pa.string(),
        )
