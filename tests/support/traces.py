"""Small traces made by hand: a line per request, everything else by default."""

from pathlib import Path
from typing import Any

import pyarrow as pa

from osxfs_sim.trace.format import SCHEMA, Header, TraceWriter, columns_of

Row = dict[str, Any]


def row(operation: str, inode: int = 1, name: str | None = None, **others: Any) -> Row:
    """A request; *name* and everything else as the columns of a trace have them."""
    return {"operation": operation, "inode": inode, "name": name, "took_ns": 100} | others


def missed(name: str, inode: int = 1, **others: Any) -> Row:
    return row("LOOKUP", inode, name, error="ENOENT", **others)


def found(name: str, found: int, inode: int = 1, **others: Any) -> Row:
    return row("LOOKUP", inode, name, found=found, **others)


def in_turn(rows: list[Row], *, apart_ns: int = 100) -> list[Row]:
    """*rows* one after the other, as from one process: each arrives when the last was answered."""
    return [{"arrival_ns": number * apart_ns} | row for number, row in enumerate(rows)]


def table_of(rows: list[Row]) -> pa.Table:
    ordered = sorted(rows, key=lambda row: row["arrival_ns"])
    return pa.Table.from_pydict(columns_of(iter(ordered)), schema=SCHEMA)


def header_of(rows: list[Row], **others: Any) -> Header:
    ends = max((row["arrival_ns"] + row["took_ns"] for row in rows), default=0)
    return Header(**{"began_ns": 0, "lasted_ns": ends} | others)


def write_trace(path: Path, rows: list[Row], **header: Any) -> Path:
    writer = TraceWriter(path)
    writer.write(columns_of(iter(rows)))
    writer.close(header_of(rows, **header))
    return path
