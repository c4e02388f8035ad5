"""Has the host do at once what cannot wait, after what it depends on of the guest's changes."""

import errno
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from pyfuse3 import FUSEError

from osxfs_sim.mount.loop.request import Request
from osxfs_sim.mount.tree.inodes import Inode
from osxfs_sim.mount.writeback.guest_view import guest_ancestors
from osxfs_sim.mount.writeback.writeback import WriteBack


class WriteThrough:
    """Waits until the host has what is pending of inodes; then it may be asked about them."""

    def __init__(self, write_back: WriteBack) -> None:
        self._write_back = write_back

    async def after_flush(
        self,
        request: Request,
        inodes: Sequence[Inode | None],
        handler: Callable[..., Coroutine[Any, Any, Any]],
        *arguments: Any,
    ) -> Any:
        """Have *handler* ask the host, once that has what is pending of *inodes*. FUSEError."""
        request = await self.flush(request, *inodes)
        return await handler(request, *arguments)

    async def flush(self, request: Request, *inodes: Inode | None) -> Request:
        """Wait until the host has what is pending of *inodes*, and what that needs. FUSEError.

        Returns the request as which to go on.
        """
        needed = max((self._needed(each) for each in inodes if each is not None), default=0)
        return await self.wait_flushed(request, needed)

    async def flush_stale(self, request: Request, inode: Inode) -> Request:
        """Flush what is pending of *inode*. Raises FUSEError (ESTALE) where that cannot be."""
        try:
            return await self.flush(request, inode)
        except FUSEError:
            raise FUSEError(errno.ESTALE) from None

    async def wait_flushed(self, request: Request, sequence: int) -> Request:
        """Wait until the host has all changes up to *sequence*. Raises FUSEError.

        Returns the request as which to go on.
        """
        if sequence < self._write_back.changes.oldest_sequence:
            return request
        try:
            await self._write_back.wait_flushed(sequence)
        except OSError as error:
            raise FUSEError(error.errno or errno.EIO) from error
        return request.restarted()  # what follows is a request of its own

    def _needed(self, inode: Inode) -> int:
        """The last change that *inode* needs to be what and where the guest has it.

        Of a directory that includes its names.
        """
        sequence = inode.overlay.last_sequence if inode.overlay is not None else 0
        for here in guest_ancestors(inode):
            if here.overlay is not None:
                sequence = max(sequence, here.overlay.own_sequence)
        return sequence
