"""LOOKUP of a share whose guest's changes are pending: the guest's names, or else the host's."""

import errno
from collections.abc import Coroutine
from typing import Any

from pyfuse3 import EntryAttributes, FUSEError, RequestContext

from osxfs_sim.mount.loop.request import Request
from osxfs_sim.mount.requests.handlers import Handlers
from osxfs_sim.mount.requests.host_calls import HostCalls
from osxfs_sim.mount.tree.host_limits import HostLimits
from osxfs_sim.mount.tree.inodes import Inode, InodeTable
from osxfs_sim.mount.writeback.guest_view import GuestView
from osxfs_sim.mount.writeback.server_rights import ServerRights
from osxfs_sim.mount.writeback.write_through import WriteThrough


class LookupHandler:
    """Answers LOOKUP by pending names without a crossing, if it can be."""

    def __init__(
        self,
        below: Handlers,
        calls: HostCalls,
        inodes: InodeTable,
        limits: HostLimits,
        view: GuestView,
        rights: ServerRights,
        write_through: WriteThrough,
        *,
        server_is_root: bool,
    ) -> None:
        self._next = below
        self._calls = calls
        self._inodes = inodes
        self._limits = limits
        self._view = view
        self._rights = rights
        self._write_through = write_through
        self._privileged = server_is_root

    def lookup(
        self, request: Request, parent_inode: int, name: bytes, ctx: RequestContext
    ) -> Coroutine[Any, Any, EntryAttributes]:
        """LOOKUP: of pending names without a crossing, if it can be. Raises FUSEError."""
        if self._privileged:
            return self._look_up(request, parent_inode, name, ctx)
        return self._rights.as_permitted(
            request, (self._inodes[parent_inode],), self._look_up, parent_inode, name, ctx
        )

    def inode_called(self, parent_number: int, requested: bytes) -> Inode | None:
        """The inode that the guest has by *requested*, if the kernel knows it. OSError: ENOENT."""
        return self._view.named(self._inodes[parent_number], requested)[0]

    def _look_up(
        self, request: Request, parent_inode: int, name: bytes, ctx: RequestContext
    ) -> Coroutine[Any, Any, EntryAttributes]:
        parent = self._inodes[parent_inode]
        overlay = parent.overlay
        if overlay is not None:
            known = overlay.name(name)
            if known is not None and known.inode is not None:
                inode = known.inode
                if inode.is_local_only:
                    return self._calls.answer(
                        request, self._view.pending_entry, parent, name, inode, ctx
                    )
                return self._look_up_pending(request, parent, name, inode, ctx)
            if overlay.local_only and len(name) > self._limits.name_bytes:
                return self._calls.answer(request, self._limits.check_name, name)
            if known is not None or overlay.local_only:
                return self._next.answer_missing(parent, name)
        return self._next.lookup(request, parent_inode, name, ctx)

    async def _look_up_pending(
        self, request: Request, parent: Inode, name: bytes, inode: Inode, ctx: RequestContext
    ) -> EntryAttributes:
        """What the guest has given a name. Where the host has taken it away, who wins is settled.

        Else it would be ESTALE until that change crosses, and all that lies in it.
        """
        try:
            entry: EntryAttributes = await self._calls.cross(
                request, self._view.pending_entry, parent, name, inode, ctx
            )
        except FUSEError as error:
            if error.errno != errno.ESTALE:
                raise
            request = await self._write_through.flush_stale(request, inode)
        else:
            return entry
        known = parent.overlay.name(name) if parent.overlay is not None else None
        if known is not None and known.inode is inode:
            raise FUSEError(errno.ESTALE)  # it was changed again meanwhile
        return await self._look_up(request, parent.number, name, ctx)
