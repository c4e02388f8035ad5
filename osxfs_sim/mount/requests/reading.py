"""READ: from the host's memory at once, else in a thread, into buffers that are used again."""

import errno
import os
from typing import cast

from pyfuse3 import FUSEError

from osxfs_sim.mount.latency.crossings import Crossings
from osxfs_sim.mount.loop.reactor import in_thread
from osxfs_sim.mount.loop.request import Request
from osxfs_sim.mount.requests.handle_table import HandleTable
from osxfs_sim.mount.requests.host_calls import HostCalls

_SPENT_BUFFERS = 16


class Reader:
    """READ of open files of the host's, into buffers that are used again."""

    def __init__(self, calls: HostCalls, crossings: Crossings, handles: HandleTable) -> None:
        self._calls = calls
        self._pay = crossings.cross
        self._files = handles.files
        self._spent_buffers: list[bytearray] = []
        self._never_waiting: set[int] = set()  # devices

    async def read(self, request: Request, fh: int, off: int, size: int) -> bytes:
        """READ up to *size* bytes at *off*; fewer mean the end of the file. Raises FUSEError."""
        if self._spent_buffers and len(self._spent_buffers[-1]) >= size:
            whole = self._spent_buffers.pop()
        else:
            whole = bytearray(size)
        buffer = memoryview(whole)[:size]
        length, failure = None, 0
        try:
            length = self._read_from_memory(fh, off, buffer)
        except Exception as error:
            failure = self._calls.errno_of(error, self._read_from_memory, (fh, off, size))
        if length is None and not failure:
            length, failure = await in_thread(
                lambda: self._calls.attempt(read_fully, fh, off, buffer)
            )
        await self._pay(request, request.operation, length or 0)
        if failure:
            raise FUSEError(failure)
        # pyfuse3 takes any buffer, and copies it into its reply before any other
        # handler runs: from then on the next read may use it. Fresh memory would
        # cost a page fault per 4 KiB, as much as the copy itself.
        if len(self._spent_buffers) < _SPENT_BUFFERS:
            self._spent_buffers.append(whole)
        elif len(self._spent_buffers[-1]) < len(whole):
            self._spent_buffers[-1] = whole
        return cast(bytes, buffer[:length])

    def _read_from_memory(self, fd: int, offset: int, buffer: memoryview) -> int | None:
        """The bytes read if the host has them in memory; None if it would have to wait."""
        device = self._files[fd].device
        if device in self._never_waiting and device >= 0:
            return read_fully(fd, offset, buffer)
        try:
            length = os.preadv(fd, [buffer], offset, os.RWF_NOWAIT)
        except BlockingIOError:
            return None
        except OSError as error:
            if error.errno != errno.EOPNOTSUPP:
                raise
            # A file system that does not know the question, such as tmpfs.
            self._never_waiting.add(device)
            return read_fully(fd, offset, buffer)
        if length < len(buffer) and offset + length < os.fstat(fd).st_size:
            return None
        return length


def read_fully(fd: int, offset: int, buffer: memoryview) -> int:
    """Fill *buffer* from *offset* of *fd*; the bytes read, fewer at the end. Raises OSError.

    To the guest a short answer means the end of the file.
    """
    length = 0
    while length < len(buffer):
        read = os.preadv(fd, [buffer[length:]], offset + length)
        if not read:
            break
        length += read
    return length
