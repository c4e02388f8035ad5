"""What the library has written, read again: one record per answer.

Each process of a workload has written files of its own, of records of 64 bytes; those that
it did not come to are zero. record.c has the same layout.
"""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from pathlib import Path

_RECORD = struct.Struct("<HHIQQQQqqII")


class AnswerKind(IntEnum):
    """What a record is of."""

    LOOKUP = 1
    """Whether a name exists, and no more: access, open, readlink."""
    STAT = 2
    FSTAT = 3
    """Attributes, through an open descriptor."""
    READ = 4
    LISTED = 5
    """One name of a listing."""
    LIST_END = 6
    """A listing of a directory was read to its end."""
    OWN = 7
    """The workload changes the name itself, or may do so through a descriptor."""
    UNKNOWN = 8
    """It got an answer that was not recorded: through a mapping, for one."""


@dataclass(frozen=True, slots=True)
class RecordedAnswer:
    """What one system call of the workload returned; 0 in fields that its kind does not use."""

    kind: AnswerKind
    """Which call it was, and so what the other fields mean."""
    path: str
    """The name asked for, relative to the root of the recording."""
    call_ns: int
    """Just before the call, by CLOCK_MONOTONIC."""
    return_ns: int
    """Just after it had returned."""
    error: int = 0
    """Its errno; 0 where it succeeded."""
    opened_call_ns: int = 0
    """For a call through a descriptor: before the open(2) of that; else 0."""
    opened_return_ns: int = 0
    """For a call through a descriptor: after the open(2) of that; else 0."""
    size: int = 0
    """The file's size in bytes; of a read its offset."""
    more: int = 0
    """The file's mtime, in ns since 1970; of a read how many bytes came."""
    crc: int = 0
    """Of a read, the CRC-32 of the bytes that came."""
    number: int = 0
    """Tells the listings of a process apart; of a read 1 where fewer bytes came than were asked
    for, else 0."""
    process: str = ""
    """The process that made the call, as its log's name begins."""


def read_answers(directory: Path, names: Sequence[str]) -> Iterator[RecordedAnswer]:
    """Yield a run's recorded answers. Raises OSError, struct.error, ValueError or IndexError.

    *names* are those of the recording, in its order. Raises OSError, and struct.error, ValueError
    or IndexError for a log of another layout.
    """
    for path in sorted(directory.glob("*.log")):
        content = path.read_bytes()
        process = path.name.partition("-")[0]
        for op, error, index, *times, size, more, crc, number in _RECORD.iter_unpack(content):
            if op == 0:
                break
            yield RecordedAnswer(
                AnswerKind(op),
                names[index],
                times[0],
                times[1],
                error,
                times[2],
                times[3],
                size,
                more,
                crc,
                number,
                process,
            )
