"""V6: no open invalidates the pages that the guest has of a file."""

from typing import Any

from pyfuse3 import FileInfo, RequestContext

from osxfs_sim.mount.faults.fault import Evict, Fault
from osxfs_sim.mount.requests.host_operations import HostOperations
from osxfs_sim.mount.requests.layer import Layer


class StaleContent(Fault):
    """No OPEN invalidates pages: only what the kernel itself learns of size and mtime does."""

    def over_operations(self, below: HostOperations, evict: Evict) -> Any:
        """*below*, wrapped: every OPEN has the kernel keep the pages that it has cached."""
        del evict
        return _AlwaysKeepCache(below)


class _AlwaysKeepCache(Layer):
    next: HostOperations

    def open(self, number: int, flags: int, ctx: RequestContext) -> FileInfo:
        handle = self.next.open(number, flags, ctx)
        handle.keep_cache = True
        return handle
