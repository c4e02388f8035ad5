"""Records requests at a cost that does not disturb them, and writes them as a trace.

A row's numbers are packed into a block of memory, its name goes into a list.
A full block becomes Arrow columns and a part of the file in a thread, without
a loop over rows. What waits for that thread is bounded: where it cannot keep
up, rows are lost, and counted.
"""

import errno
import queue
import struct
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from osxfs_sim.model.operations import Operation
from osxfs_sim.trace.answers import AnsweredBy
from osxfs_sim.trace.format import SCHEMA, Header, TraceError, TraceWriter

BLOCK_ROWS = 8_192
_MOST_BLOCKS_WAITING = 32
_MOST_PROCESSES = 16_384
_LOOKS_AT_A_PROGRAM = frozenset({1, 8, 64})
"""A process takes another program after its first requests: so it is looked at again."""

_ROW = np.dtype(
    [
        ("arrival_ns", "<i8"),
        ("asked_ns", "<i8"),
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
    ]
)
_pack_into = struct.Struct("<8qihbb").pack_into

_OPERATIONS = pa.array([operation.name for operation in Operation])
_ANSWERED_BY = pa.array([by.label for by in AnsweredBy])
_ERRORS = pa.array([errno.errorcode.get(number, f"E{number}") for number in range(256)])


class Recorder:
    """One trace being written. All but the writing is called from one thread."""

    def __init__(
        self,
        path: Path,
        began_ns: int,
        directory_path: Callable[[int], str | None],
        program_of: Callable[[int], str | None],
    ) -> None:
        """*directory_path* tells where the directory of a number is, from the share's root;
        *program_of* what a process runs, or None where it has ended.

        Raises TraceError where *path* cannot be written.
        """
        self.path = path
        self.began_ns = began_ns
        self.rows = 0
        self.lost = 0
        self._directory_path = directory_path
        self._program_of = program_of
        self._programs: dict[int, str | None] = {}
        self._looks: dict[int, int] = {}
        self._block = bytearray(BLOCK_ROWS * _ROW.itemsize)
        self._names: list[bytes | None] = []
        self._directories: dict[int, str | None] = {}
        self._writer = TraceWriter(path)
        self._failure: Exception | None = None
        self._blocks: queue.Queue[_Block | None] = queue.Queue(_MOST_BLOCKS_WAITING)
        self._thread = threading.Thread(target=self._write_all, name="osxfs-sim trace", daemon=True)
        self._thread.start()

    def add(
        self,
        arrival_ns: int,
        asked_ns: int,
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
    ) -> None:
        """One answered request. *directory* is the number of the one it is in, or 0."""
        names = self._names
        _pack_into(
            self._block,
            len(names) * 72,
            arrival_ns - self.began_ns,
            asked_ns,
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
        )
        names.append(name)
        looks = self._looks
        seen = looks[process] = looks.get(process, 0) + 1
        if seen in _LOOKS_AT_A_PROGRAM:
            self._programs[process] = self._program_of(process) or self._programs.get(process)
        if len(names) == BLOCK_ROWS:
            self._hand_over()

    def close(
        self,
        ended_ns: int,
        *,
        command: tuple[int, int] | None = None,
        profile: str = "",
        policy: str = "",
        notes: dict[str, Any] | None = None,
    ) -> Header:
        """Write the rest; may block. *command* is when a measured one began and ended.

        All moments are of the clock that *began_ns* is of. Raises TraceError
        where something could not be written: the file then is no trace.
        """
        if self._names:
            self._hand_over(wait=True)
        self._blocks.put(None)
        self._thread.join()
        start_ns, end_ns = command or (None, None)
        header = Header(
            began_ns=self.began_ns,
            lasted_ns=ended_ns - self.began_ns,
            lost=self.lost,
            command_start_ns=None if start_ns is None else start_ns - self.began_ns,
            command_end_ns=None if end_ns is None else end_ns - self.began_ns,
            profile=profile,
            policy=policy,
            notes=notes or {},
        )
        try:
            if self._failure is None:
                self._writer.close(header)
        except (OSError, pa.ArrowException) as error:
            self._failure = error
        if self._failure is not None:
            why = getattr(self._failure, "strerror", None) or str(self._failure)
            raise TraceError(f"the trace {self.path} could not be written: {why}")
        return header

    def _hand_over(self, *, wait: bool = False) -> None:
        rows = np.frombuffer(self._block, _ROW, len(self._names))
        numbers = np.unique(rows["directory"])
        # Here, because directories may be renamed by the time that it is written.
        directories = [self._directory_path(int(number)) for number in numbers]
        block = _Block(rows, self._names, numbers, directories, dict(self._programs))
        try:
            self._blocks.put(block, block=wait)
            self.rows += len(self._names)
        except queue.Full:
            self.lost += len(self._names)
        self._block = bytearray(BLOCK_ROWS * _ROW.itemsize)
        self._names = []
        if len(self._looks) > _MOST_PROCESSES:
            self._looks.clear()
            self._programs.clear()

    def _write_all(self) -> None:
        while (block := self._blocks.get()) is not None:
            if self._failure is not None:
                continue  # told at the end; the requests go on
            try:
                self._writer.write_table(block.table())
            except (OSError, pa.ArrowException) as error:
                self._failure = error


class _Block:
    """Rows on their way to the file, with what their numbers stand for."""

    def __init__(
        self,
        rows: np.ndarray,
        names: list[bytes | None],
        numbers: np.ndarray,
        directories: list[str | None],
        programs: dict[int, str | None],
    ) -> None:
        self._rows = rows
        self._names = names
        self._numbers = numbers
        self._directories = directories
        self._programs = programs

    def table(self) -> pa.Table:
        rows = self._rows
        processes, which = np.unique(rows["process"], return_inverse=True)
        programs = [self._programs.get(int(process)) for process in processes]
        columns = {
            "operation": _coded(rows["operation"], _OPERATIONS),
            "name": _texts(self._names),
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
