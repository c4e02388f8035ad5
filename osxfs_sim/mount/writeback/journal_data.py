"""The bytes that the guest has written and the host does not have yet: a journal's file ``data``.

They are here before a record says where (journal.py): who is killed in between has answered nobody.
What is pending no more is given back to the file system a segment at a time.
"""

import contextlib
import os
from collections.abc import Iterator

from osxfs_sim.mount import syscalls

SEGMENT_BYTES = 1 << 20
"""Data is given back to the file system in pieces of this size."""
_PUNCH_HOLE = 0x02 | 0x01  # FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE (linux/falloc.h)


class JournalData:
    """The file ``data`` of one journal, and which of its bytes are still needed."""

    def __init__(self, fd: int) -> None:
        """*fd* is open to read and write; whoever opened it closes it."""
        self.fd = fd
        """Its descriptor."""
        self.end_bytes = 0
        """Where the next bytes will be. Written by reserve(), and by a quarantine, which frees
        nothing."""
        self._live: dict[int, int] = {}
        """Of each segment with any, how many bytes are needed."""

    def clear(self) -> None:
        """Empty the file of data: none of its bytes is needed. Raises OSError."""
        os.ftruncate(self.fd, 0)
        self.end_bytes = 0
        self._live = {}

    def reserve(self, length: int) -> int:
        """Reserve *length* bytes of data; returns their position. Never fails."""
        position = self.end_bytes
        self.end_bytes += length
        segment = position // SEGMENT_BYTES
        if self.end_bytes <= (segment + 1) * SEGMENT_BYTES:
            self._live[segment] = self._live.get(segment, 0) + length
            return position
        for segment, part in _segments(position, length):
            self._live[segment] = self._live.get(segment, 0) + part
        return position

    def put(self, position: int, data: bytes) -> None:
        """Write *data* at the reserved *position*, in any thread. Raises OSError."""
        written = os.pwrite(self.fd, data, position)
        while written < len(data):
            written += os.pwrite(self.fd, memoryview(data)[written:], position + written)

    def free(self, position: int, length: int) -> None:
        """Give the *length* bytes at *position* back, which nobody needs now; never fails."""
        for segment, part in _segments(position, length):
            left = self._live[segment] - part
            if left:
                self._live[segment] = left
                continue
            del self._live[segment]
            if (segment + 1) * SEGMENT_BYTES <= self.end_bytes:
                self._punch(segment * SEGMENT_BYTES)

    def _punch(self, position: int) -> None:
        # Some file systems cannot; their journal gets small when nothing is pending.
        with contextlib.suppress(OSError):
            syscalls.fallocate(self.fd, _PUNCH_HOLE, position, SEGMENT_BYTES)

    def read(self, position: int, length: int) -> bytes:
        """The *length* bytes kept at *position*, fewer where the file ends. Raises OSError."""
        return os.pread(self.fd, length, position)

    @property
    def holds_data(self) -> bool:
        """Whether any bytes of data are still needed."""
        return bool(self._live)

    @property
    def live_bytes(self) -> dict[int, int]:
        """How many bytes are still needed, by the number of their data segment."""
        return dict(self._live)


def _segments(position: int, length: int) -> Iterator[tuple[int, int]]:
    """The segments that these bytes lie in, and how many in each."""
    while length > 0:
        segment = position // SEGMENT_BYTES
        part = min(length, (segment + 1) * SEGMENT_BYTES - position)
        yield segment, part
        position += part
        length -= part
