"""Answers a request whose change is deferred: when there is room for it, and without a crossing."""

import errno
import stat as modes
import time
from collections.abc import Callable
from typing import Any

from pyfuse3 import FUSEError

from osxfs_sim.model.operations import OperationClass
from osxfs_sim.mount.loop.request import Request
from osxfs_sim.mount.requests.host_calls import HostCalls
from osxfs_sim.mount.tree.backing import Backing
from osxfs_sim.mount.tree.inodes import Inode
from osxfs_sim.mount.tree.pending import overlay_of
from osxfs_sim.mount.writeback.restoring import what_is_seen
from osxfs_sim.mount.writeback.writeback import WriteBack


class Deferring:
    """Waits for room, does what defers a change, and records how long the answer took."""

    def __init__(self, write_back: WriteBack, calls: HostCalls, backing: Backing) -> None:
        self._write_back = write_back
        self._attempt, self._errno_of = calls.attempt, calls.errno_of
        self._backing = backing

    async def answer(
        self, request: Request, size_bytes: int, work: Callable[..., Any], *arguments: Any
    ) -> Any:
        """Do *work*, which defers a change, once there is room for one. Raises FUSEError."""
        await self.wait_for_room(request, size_bytes)
        answer, failure = None, 0
        try:
            answer = work(*arguments)
        except Exception as error:
            failure = self._errno_of(error, work, arguments)
        self.record_latency(OperationClass.METADATA, request)
        if failure:
            raise FUSEError(failure)
        return answer

    async def wait_for_room(self, request: Request, size_bytes: int) -> Request:
        """Wait until *size_bytes* more may be pending. Returns the request as which to go on.

        Raises FUSEError where the journal cannot get smaller.
        """
        if self._write_back.has_room_for(size_bytes):
            return request
        try:
            await self._write_back.room_for(size_bytes)
        except OSError as error:
            raise FUSEError(error.errno or errno.EIO) from error
        return request.restarted()

    def record_latency(self, operation_class: OperationClass, request: Request) -> None:
        """Note how long *request* took till now, which was acknowledged without a crossing."""
        observed_ns = time.monotonic_ns() - request.arrival_ns
        self._write_back.acknowledged.add(operation_class, 0, observed_ns)

    def record_seen(self, inode: Inode) -> None:
        """Note what the host's file is like, before the guest first changes it; never fails."""
        if inode.kind != modes.S_IFREG or inode.is_local_only:
            return
        overlay = overlay_of(inode)
        if overlay.seen is None:
            status, failure = self._attempt(self._backing.status, inode)
            if not failure:
                overlay.seen = what_is_seen(status)
