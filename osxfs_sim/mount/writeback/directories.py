"""OPENDIR, READDIRPLUS and RELEASEDIR of a share whose guest's changes are pending."""

import errno
import os
from collections.abc import Coroutine
from typing import Any

from pyfuse3 import FUSEError, ReaddirToken, RequestContext

from osxfs_sim.mount.loop.request import Request
from osxfs_sim.mount.requests.handle_table import HandleTable, Listing
from osxfs_sim.mount.requests.handlers import Handlers
from osxfs_sim.mount.requests.host_calls import HostCalls
from osxfs_sim.mount.requests.host_listing import Source
from osxfs_sim.mount.tree.inodes import Inode, InodeTable
from osxfs_sim.mount.tree.owners import KnownCaller
from osxfs_sim.mount.writeback.guest_side import GuestSide
from osxfs_sim.mount.writeback.overlay_layers import merged
from osxfs_sim.mount.writeback.server_rights import ServerRights
from osxfs_sim.mount.writeback.write_through import WriteThrough


class DirectoryHandlers:
    """Lists the host's entries with pending names laid over them, or these alone."""

    def __init__(
        self,
        below: Handlers,
        calls: HostCalls,
        inodes: InodeTable,
        handles: HandleTable,
        listing: Source,
        side: GuestSide,
        rights: ServerRights,
        write_through: WriteThrough,
        null_fd: int,
        *,
        server_is_root: bool,
    ) -> None:
        """*null_fd* is what a handle stands for whose directory the host has not got."""
        self._next = below
        self._calls = calls
        self._attempt = calls.attempt
        self._inodes = inodes
        self._handles = handles
        self._listing = listing
        self._side = side
        self._rights = rights
        self._write_through = write_through
        self._null_fd = null_fd
        self._privileged = server_is_root

    def opendir(
        self, request: Request, inode: int, ctx: RequestContext
    ) -> Coroutine[Any, Any, int]:
        """OPENDIR: of a local-only directory without a crossing. Raises FUSEError."""
        node = self._inodes[inode]
        if node.is_local_only:
            return self._calls.answer(request, self._open_local_directory, node, ctx)
        if self._privileged:
            return self._next.opendir(request, inode, ctx)
        return self._rights.once_allowed(
            request, (node,), self._open_directory_permitted, node, ctx
        )

    async def _open_directory_permitted(
        self, request: Request, inode: Inode, ctx: RequestContext
    ) -> int:
        await self._calls.answer(request, self._rights.check_open, inode, os.O_RDONLY)
        return await self._next.opendir(request, inode.number, ctx)

    def _open_local_directory(self, inode: Inode, ctx: RequestContext) -> int:
        self._rights.check_open(inode, os.O_RDONLY)
        fd = os.dup(self._null_fd)
        self._handles.listings[fd] = Listing(inode, KnownCaller(ctx.uid, ctx.gid))
        return fd

    async def readdir(self, request: Request, fh: int, start_id: int, token: ReaddirToken) -> None:
        """READDIRPLUS: the host's entries overlaid by pending names. Raises FUSEError."""
        listing = self._handles.listings[fh]
        if start_id == 0:
            # As it is before the host is asked, which may take a while: what the host gets
            # meanwhile is in here, and what it loses is not in its answer.
            overlay = listing.directory.overlay
            names = (overlay.names if overlay is not None else None) or {}
            listing.pending_names = {name: each.inode is not None for name, each in names.items()}
            if fh in self._side.unopened:
                directory = listing.directory
                await self._rights.once_allowed(
                    request,
                    (directory,),
                    self._calls.answer,
                    self._side.open_directory,
                    fh,
                    directory,
                )
        if not listing.directory.is_local_only:
            try:
                await self._next.readdir(request, fh, start_id, token)
            except FUSEError as error:
                if error.errno != errno.ESTALE:
                    raise
                # The host has taken away what the guest has put in it: see lookup.py.
                request = await self._write_through.flush_stale(request, listing.directory)
                listing.pending_names = {}
                await self._next.readdir(request, fh, start_id, token)
            return
        if start_id == 0:
            listing.names = [b".", b"..", *merged([], listing.pending_names)]
        for position in range(start_id, len(listing.names)):
            added, failure = self._attempt(self._listing.add_entry, token, fh, listing, position)
            if failure:
                raise FUSEError(failure)
            if not added:
                break

    async def releasedir(self, request: Request, fh: int) -> None:
        """RELEASEDIR: close *fh*, and what fsync(2) had to say by it."""
        self._side.sync_errors.closed(fh)
        self._side.unopened.discard(fh)
        await self._next.releasedir(request, fh)
