"""What happens to dirty data at fsync(2): the host gets all that is pending of it, and syncs that.

close(2), which sends FLUSH, is no sync. What the host has refused for good of a file is said once,
by the next fsync(2) of each handle.
"""

import os

from osxfs_sim.model.operations import Operation
from osxfs_sim.mount.loop.request import Request
from osxfs_sim.mount.requests.handle_table import HandleTable
from osxfs_sim.mount.requests.handlers import Handlers
from osxfs_sim.mount.requests.host_calls import HostCalls
from osxfs_sim.mount.requests.host_operations import sync_with_directory
from osxfs_sim.mount.tree.backing import Backing
from osxfs_sim.mount.tree.inodes import Inode
from osxfs_sim.mount.writeback.deferral import Deferral
from osxfs_sim.mount.writeback.guest_side import GuestSide
from osxfs_sim.mount.writeback.write_through import WriteThrough


class FsyncHandlers:
    """FLUSH, FSYNC and FSYNCDIR of a share whose guest's changes are pending."""

    def __init__(
        self,
        below: Handlers,
        calls: HostCalls,
        backing: Backing,
        handles: HandleTable,
        deferral: Deferral,
        write_through: WriteThrough,
        side: GuestSide,
    ) -> None:
        self._next = below
        self._calls = calls
        self._attempt = calls.attempt
        self._backing = backing
        self._handles, self._files = handles, handles.files
        self._may_defer = deferral.may_defer
        self._write_through = write_through
        self._side = side

    async def flush(self, request: Request, fh: int) -> None:
        """FLUSH: nothing, since close(2) is no sync; else the next one's. Raises FUSEError."""
        if not self._may_defer(request, self._files[fh]):
            await self._next.flush(request, fh)

    async def fsync(self, request: Request, fh: int, datasync: bool) -> None:
        """FSYNC: flush what is pending of the file, then sync it on the host. FUSEError."""
        await self.sync(request, self._files[fh], fh, datasync=datasync)

    async def fsyncdir(self, request: Request, fh: int, datasync: bool) -> None:
        """FSYNCDIR: flush what is pending in it, then sync it on the host. FUSEError."""
        directory = self._handles.listings[fh].directory
        await self._write_through.flush(request, directory)
        self._side.check_synced(fh, directory)
        if directory.is_local_only:
            return
        if fh in self._side.unopened:
            await self._calls.answer(request, self._side.open_directory, fh, directory)
        await self._next.fsyncdir(request.restarted(), fh, datasync)

    async def sync(self, request: Request, inode: Inode, fh: int, *, datasync: bool) -> None:
        """Flush what is pending of *inode*, and have the host sync it and its name. FUSEError."""
        await self._write_through.flush(request, inode)
        self._side.check_synced(fh, inode)
        if inode.is_local_only:
            return  # it has no name any more, and never will: there is nothing to find again
        parent_fd = None
        if inode.parent is not None:
            flags = os.O_RDONLY | os.O_DIRECTORY
            parent_fd, _ = self._attempt(self._backing.open, inode.parent, flags)
        await self._calls.cross_in_thread(
            request.restarted(),
            *(sync_with_directory, fh, parent_fd, datasync),
            operation=Operation.FSYNC,
        )
