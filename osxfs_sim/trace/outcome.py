"""What became of a trace whose share has ended, in one line if anything is wrong with it."""

import os
from pathlib import Path

from osxfs_sim.trace import files
from osxfs_sim.trace.format import TraceError, read_header


def complaint(path: Path) -> str:
    """What is wrong with an ended share's trace *path*, in one line, never raising; "" if fine."""
    last = files.last_of(path)
    if not last.is_file():
        return "" if path.exists() else f"the trace {path} is not there"
    if not os.access(last, os.R_OK):
        return ""  # it is another user's
    try:
        header = read_header(path)
    except TraceError as error:
        return str(error)
    lost = f"{header.lost:,} requests are lost" if header.lost else "it is not complete"
    if last != path:
        why = header.failure or "it could not be completed"
        return f"the trace {path} is not whole, {lost}: {why}; {last} is read in its place"
    return f"the trace {path} is not whole, {lost}: {header.failure}" if header.failure else ""
