"""V5: what the host has removed cannot be opened, and is there."""

import errno
import os
from collections.abc import Callable
from typing import Any, cast

from pyfuse3 import FileInfo, RequestContext

from osxfs_sim.mount.faults.fault import Evict, Fault
from osxfs_sim.mount.requests.host_operations import HostOperations
from osxfs_sim.mount.requests.layer import Layer


class Phantom(Fault):
    """What the host has removed cannot be opened or read as a link: EINVAL."""

    def over_operations(self, below: HostOperations, evict: Evict) -> Any:
        """*below*, wrapped: OPEN and READLINK of what is gone raise OSError: EINVAL."""
        del evict
        return _InvalidWhenGone(below)


class _InvalidWhenGone(Layer):
    next: HostOperations

    def open(self, number: int, flags: int, ctx: RequestContext) -> FileInfo:
        return cast(FileInfo, _or_invalid(self.next.open, number, flags, ctx))

    def readlink(self, number: int) -> bytes:
        return cast(bytes, _or_invalid(self.next.readlink, number))


def _or_invalid(work: Callable[..., Any], *arguments: Any) -> Any:
    try:
        return work(*arguments)
    except OSError as error:
        if error.errno in (errno.ESTALE, errno.ENOENT):
            raise OSError(errno.EINVAL, os.strerror(errno.EINVAL)) from error
        raise
