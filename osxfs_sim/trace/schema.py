"""The columns of a trace, and the header that is true of the whole of it.

The header is JSON in the file's own metadata, under the key ``osxfs_sim``.
"""

import json
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

import pyarrow as pa

from osxfs_sim.trace.errors import TraceError

FORMAT = 2
"""Grows when a column changes its meaning, its name, or goes; columns may be added."""
RENAMED = {"asked_ns": "target_ns"}
"""Columns of format 1, and what they are called since."""
METADATA_KEY = b"osxfs_sim"

WORD = pa.dictionary(pa.int32(), pa.string())
"""The type of a column whose values come again and again."""

SCHEMA = pa.schema(
    [
        # When it reached the share, in ns since the trace began.
        pa.field("arrival_ns", pa.int64(), nullable=False),
        # The latency model's target, and what was observed until its client saw the reply.
        pa.field("target_ns", pa.int64(), nullable=False),
        pa.field("took_ns", pa.int64(), nullable=False),
        # A name of model.operations.Operation, such as LOOKUP.
        pa.field("operation", WORD, nullable=False),
        # What it is about: an object, or of a request with a name the directory. 1 is the root;
        # 0 is one that is not known.
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
        pa.field("error", WORD),
        # The thread that made the system call; 0 where the kernel does not say. And its name.
        pa.field("process", pa.int32(), nullable=False),
        pa.field("program", WORD),
        # The directory it is in or about, from the share's root: "/" or "/lib/x"; null: unknown.
        pa.field("directory", WORD),
        # host: it crossed. names: a complete directory cache knew that the name is absent.
        # held: write-back's overlay knew, or took the change. guest: it never crosses (FORGET,
        # RELEASE).
        pa.field("answered_by", WORD, nullable=False),
        # Of a RENAME the new name, else null.
        pa.field("new_name", pa.string()),
        # What the answer said of the object (st_mode, st_size, st_mtime_ns, st_nlink); a mode of
        # 0: it said nothing.
        pa.field("mode", pa.int32(), nullable=False),
        pa.field("object_bytes", pa.int64(), nullable=False),
        pa.field("mtime_ns", pa.int64(), nullable=False),
        pa.field("links", pa.int32(), nullable=False),
        # The flags of open(2), of OPEN and CREATE; 0 for others.
        pa.field("flags", pa.int32(), nullable=False),
        # The handle that it opens, or goes by; -1: none.
        pa.field("handle", pa.int64(), nullable=False),
        # The system call that its thread waited in, such as openat; other: one without a name in
        # the trace, or a page fault; null: it was not looked at, or could not be told.
        pa.field("call", WORD),
    ]
)

ADDED = {
    "new_name": None,
    "mode": 0,
    "object_bytes": 0,
    "mtime_ns": 0,
    "links": 0,
    "flags": 0,
    "handle": -1,
    "call": None,
}
"""Columns that earlier versions did not write, and what stands there for what they recorded."""


@dataclass(frozen=True, slots=True)
class Header:
    """What is true of a whole trace."""

    began_ns: int
    """The monotonic clock when it began."""
    lasted_ns: int
    """How long it went on."""
    lost: int = 0
    """How many requests are not in it."""
    command_start_ns: int | None = None
    """When a measured command started, since the trace began; None: there was none."""
    command_end_ns: int | None = None
    """When that ended."""
    profile: str = ""
    """The name of the profile that answered."""
    policy: str = ""
    """The cache policy, in words."""
    source: str = "mount"
    """What made the trace: ``mount``, or ``strace`` for an imported log."""
    notes: dict[str, Any] = field(default_factory=dict)
    """The maker's own."""
    failure: str = ""
    """Why it is not whole; empty where it is."""
    floor_ns: int = 0
    """What a request without latency took at mount; 0 where that was not measured."""
    began_wall_ns: int = 0
    """The wall clock when it began, in ns since 1970; 0: not known."""
    threads: list[list[int]] = field(default_factory=list)
    """Of each thread that asked, and of the processes that it descends from: its number, its
    process, that one's parent, and when it started, in ns since the trace began (to the tick of
    /proc, 10 ms). 0 for what was not to be seen."""


def metadata_of(header: Header) -> dict[bytes, bytes]:
    """*header* as JSON under the key osxfs_sim, in the form of the metadata of a trace's file."""
    return {METADATA_KEY: json.dumps({"format": FORMAT, **asdict(header)}).encode()}


def header_of(path: str | Path, metadata: Any) -> Header:
    """The Header in a file's *metadata*. Raises TraceError if absent, damaged or too new."""
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
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise TraceError(f"{path} is not a trace: its header is damaged") from error


def _check(header: Header) -> None:
    """Raises TypeError where a value is not what a header has."""
    numbers = (
        *(header.began_ns, header.lasted_ns, header.lost, header.floor_ns),
        header.began_wall_ns,
    )
    optional = (header.command_start_ns, header.command_end_ns)
    given = [*numbers, *(value for value in optional if value is not None)]
    words = (header.profile, header.policy, header.source, header.failure)
    if (
        not all(type(value) is int and abs(value) < 2**63 for value in given)
        or not all(type(value) is str for value in words)
        or type(header.notes) is not dict
        or not _are_threads(header.threads)
    ):
        raise TypeError("not a header")


def _are_threads(rows: object) -> bool:
    return type(rows) is list and all(
        type(row) is list
        and len(row) == 4
        and all(type(value) is int and abs(value) < 2**63 for value in row)
        for row in rows
    )
