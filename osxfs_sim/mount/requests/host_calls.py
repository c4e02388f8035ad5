"""The host's part of a request: made now or in a thread, paid for, and the errno of a failure.

What a guest sees of a failure is an errno, and is decided here: what the host said, or EIO for a
bug of ours, which is recorded.
"""

import errno
import os
from collections.abc import Callable, Coroutine
from typing import Any

from pyfuse3 import FUSEError

from osxfs_sim.model.operations import Operation
from osxfs_sim.mount.latency.crossings import Crossings
from osxfs_sim.mount.loop.internal_errors import InternalErrors
from osxfs_sim.mount.loop.reactor import in_thread
from osxfs_sim.mount.loop.request import Request


class HostCalls:
    """Runs the host's part of requests. *may_change*: whether the guest may change anything."""

    def __init__(
        self, crossings: Crossings, internal_errors: InternalErrors, *, may_change: bool
    ) -> None:
        self._pay = crossings.cross
        self._internal_errors = internal_errors
        self._may_change = may_change

    async def cross(self, request: Request, work: Callable[..., Any], *arguments: Any) -> Any:
        """Run *work* now; its result, once the request's latency is paid. Raises FUSEError."""
        # As attempt, without its call: most requests pass here.
        answer, failure = None, 0
        try:
            answer = work(*arguments)
        except Exception as error:
            failure = self.errno_of(error, work, arguments)
        await self._pay(request, request.operation, 0)
        if failure:
            raise FUSEError(failure)
        return answer

    def change(
        self, request: Request, work: Callable[..., Any], *arguments: Any
    ) -> Coroutine[Any, Any, Any]:
        """Run *work*, a change, now; its result when paid. Raises FUSEError: EROFS if read-only."""
        if not self._may_change:
            return self.cross(request, _read_only)
        return self.cross(request, work, *arguments)

    async def cross_in_thread(
        self,
        request: Request,
        work: Callable[..., Any],
        *arguments: Any,
        operation: Operation | None = None,
    ) -> Any:
        """Run *work*, which may block, in a thread; pay; its result. Raises FUSEError."""
        answer, failure = await in_thread(lambda: self.attempt(work, *arguments))
        await self._pay(request, operation or request.operation, 0)
        if failure:
            raise FUSEError(failure)
        return answer

    async def answer(self, request: Request, work: Callable[..., Any], *arguments: Any) -> Any:
        """Run *work*, which needs nothing of the host, at no latency. Raises FUSEError."""
        del request
        answer, failure = self.attempt(work, *arguments)
        if failure:
            raise FUSEError(failure)
        return answer

    def attempt(self, work: Callable[..., Any], *arguments: Any) -> tuple[Any, int]:
        """The result of *work* and 0, or None and the errno for the guest. Never fails."""
        try:
            return work(*arguments), 0
        except Exception as error:
            return None, self.errno_of(error, work, arguments)

    def errno_of(
        self, error: Exception, work: Callable[..., Any], arguments: tuple[Any, ...]
    ) -> int:
        """The errno that the guest sees of *error*; EIO, and noted, for a bug. Never fails."""
        if isinstance(error, OSError):
            return error.errno or errno.EIO
        if isinstance(error, FUSEError):
            return error.errno
        name = getattr(work, "__name__", repr(work))
        self._internal_errors.record(name, error, arguments)
        return errno.EIO


def _read_only() -> None:
    raise OSError(errno.EROFS, os.strerror(errno.EROFS))
