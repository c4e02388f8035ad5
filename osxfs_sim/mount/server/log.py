"""The log of a server: who reads it is told of everything once, and nobody can fill the disk.

What is logged has names of other people in it, and most of it happens as often as they like. So
each line is escaped and cut; from each place in the program come so many lines at once, and then
a few an hour, with how many were left out; and the file stays below a size, whatever comes:
its beginning is kept, and what came last.
"""

import contextlib
import logging
import os
import stat
import sys
import time
from collections.abc import Callable
from typing import TextIO

from osxfs_sim.model.escaping import ERRORS, printable

LONGEST_LINE = 1_000
MOST_LINES_OF_A_RECORD = 60
"""A traceback has as many, at most."""
LINES_AT_ONCE = 100
"""From one place in the program; then one more in each REST_S."""
REST_S = 360.0
KEPT_BYTES = 1 << 20
"""Of the beginning; what came last takes no more."""
OF_A_SERVER = "%(asctime)s %(levelname)s %(message)s"
OF_A_COMMAND = "osxfs-sim: %(message)s"


class BoundedHandler(logging.StreamHandler[TextIO]):
    """Writes log records to *stream*: escaped, cut, few from one place, bounded in size."""

    def __init__(
        self,
        stream: TextIO,
        clock_s: Callable[[], float] = time.monotonic,
        *,
        form: str = OF_A_SERVER,
    ) -> None:
        super().__init__(stream)
        self.setFormatter(_Escaping(form))
        self._clock_s = clock_s
        self._places: dict[tuple[str, int], _Place] = {}
        self._is_file = _is_file(stream)

    def emit(self, record: logging.LogRecord) -> None:
        """Write *record*, unless its place in the program has said enough; never fails."""
        place = self._places.setdefault((record.pathname, record.lineno), _Place())
        if not place.admits(self._clock_s()):
            return
        left_out, place.left_out = place.left_out, 0
        super().emit(record)
        if left_out:
            self._write(f"  ({left_out:,} more from the same place were left out before)\n")
        if self._is_file:
            with contextlib.suppress(OSError, ValueError):
                self._bound()

    def _write(self, text: str) -> None:
        with contextlib.suppress(OSError, ValueError):
            self.stream.write(text)
            self.flush()

    def _bound(self) -> None:
        """Others write to the same file: what counts is how long it is."""
        fd = self.stream.fileno()
        if os.fstat(fd).st_size > 2 * KEPT_BYTES:
            os.ftruncate(fd, KEPT_BYTES)
            os.lseek(fd, KEPT_BYTES, os.SEEK_SET)
            self._write("\n(what was here was left out, for the log to stay small)\n")


class _Place:
    """A place in the program that logs: a bucket of lines, which fills again slowly."""

    __slots__ = ("left_out", "lines", "since_s")

    def __init__(self) -> None:
        self.left_out = 0
        self.lines = float(LINES_AT_ONCE)
        self.since_s: float | None = None

    def admits(self, now_s: float) -> bool:
        if self.since_s is not None:
            self.lines = min(self.lines + (now_s - self.since_s) / REST_S, LINES_AT_ONCE)
        self.since_s = now_s
        if self.lines < 1:
            self.left_out += 1
            return False
        self.lines -= 1
        return True


class _Escaping(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        message = _cut(record.getMessage())
        plain = logging.makeLogRecord(
            {**record.__dict__, "msg": message, "args": None, "exc_text": None}
        )
        return super().format(plain)

    def formatException(self, ei: object) -> str:  # noqa: N802 (logging's name)
        lines = super().formatException(ei).splitlines()  # type: ignore[arg-type]
        if len(lines) > MOST_LINES_OF_A_RECORD:
            lines[MOST_LINES_OF_A_RECORD // 2 : -MOST_LINES_OF_A_RECORD // 2] = ["  ..."]
        return "\n".join(map(_cut, lines))


def _cut(line: str) -> str:
    line = printable(line)
    return line if len(line) <= LONGEST_LINE else f"{line[:LONGEST_LINE]}..."


def _is_file(stream: TextIO) -> bool:
    try:
        return stat.S_ISREG(os.fstat(stream.fileno()).st_mode)
    except (OSError, ValueError, AttributeError):
        return False


def log_to(level: int = logging.INFO, *, form: str = OF_A_SERVER) -> None:
    """Log to standard error from now on, bounded, unless this process logs already; never fails."""
    stream = sys.stderr
    reconfigure = getattr(stream, "reconfigure", None)
    if reconfigure is not None:
        reconfigure(errors=ERRORS)
    logging.basicConfig(level=level, handlers=[BoundedHandler(stream, form=form)])
