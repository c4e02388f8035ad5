"""UNLINK and RMDIR of a share whose guest's changes are pending."""

import errno
import os
import time
from collections.abc import Callable, Coroutine
from typing import Any

from pyfuse3 import FUSEError, RequestContext

from osxfs_sim.model.operations import Operation, OperationClass
from osxfs_sim.model.write_back import Change, Kind
from osxfs_sim.mount.latency.crossings import Crossings
from osxfs_sim.mount.loop.request import Request
from osxfs_sim.mount.requests.handlers import Handlers
from osxfs_sim.mount.requests.host_calls import HostCalls
from osxfs_sim.mount.tree.backing import StaleError
from osxfs_sim.mount.tree.inodes import Inode, InodeTable
from osxfs_sim.mount.writeback.deferral import Deferral
from osxfs_sim.mount.writeback.deferring import Deferring
from osxfs_sim.mount.writeback.guest_side import drop_sent_dentry
from osxfs_sim.mount.writeback.guest_view import GuestView
from osxfs_sim.mount.writeback.journal_format import OtherDetail
from osxfs_sim.mount.writeback.overlay import names_changed
from osxfs_sim.mount.writeback.server_rights import ServerRights
from osxfs_sim.mount.writeback.write_through import WriteThrough
from osxfs_sim.mount.writeback.writeback import WriteBack


class RemovalHandlers:
    """Takes names away, which the host learns later. Whether a directory is empty, it is asked."""

    def __init__(
        self,
        below: Handlers,
        write_back: WriteBack,
        calls: HostCalls,
        crossings: Crossings,
        inodes: InodeTable,
        deferral: Deferral,
        view: GuestView,
        rights: ServerRights,
        deferring: Deferring,
        write_through: WriteThrough,
        *,
        server_is_root: bool,
    ) -> None:
        self._next = below
        self._write_back = write_back
        self._attempt = calls.attempt
        self._crossings = crossings
        self._inodes = inodes
        self._may_defer_in, self._may_defer = deferral.may_defer_in, deferral.may_defer
        self._view = view
        self._rights = rights
        self._deferring = deferring
        self._write_through = write_through
        self._privileged = server_is_root

    def unlink(
        self, request: Request, parent_inode: int, name: bytes, ctx: RequestContext
    ) -> Coroutine[Any, Any, None]:
        """UNLINK: a pending removal, if that may be deferred. Raises FUSEError."""
        handler = self._next.unlink
        return self._rights.as_permitted(
            request,
            (self._inodes[parent_inode],),
            self._remove,
            handler,
            Kind.UNLINK,
            parent_inode,
            name,
            ctx,
        )

    def rmdir(
        self, request: Request, parent_inode: int, name: bytes, ctx: RequestContext
    ) -> Coroutine[Any, Any, None]:
        """RMDIR: a pending removal; the host is asked whether it is empty. FUSEError."""
        handler = self._next.rmdir
        return self._rights.as_permitted(
            request,
            (self._inodes[parent_inode],),
            self._remove,
            handler,
            Kind.RMDIR,
            parent_inode,
            name,
            ctx,
        )

    async def _remove(
        self,
        request: Request,
        handler: Callable[..., Coroutine[Any, Any, None]],
        kind: Kind,
        parent_number: int,
        name: bytes,
        ctx: RequestContext,
    ) -> None:
        original = request
        parent = self._inodes[parent_number]
        request = await self._deferring.wait_for_room(request, 0)
        found, failure = self._attempt(self._view.named, parent, name)
        if failure:
            raise FUSEError(failure)
        inode = found[0]
        if (
            inode is None
            or not self._may_defer_in(request, parent)
            or not self._may_defer(request, inode)
        ):
            await self._write_through.after_flush(
                request, (parent, inode), handler, parent_number, name, ctx
            )
            return
        asks_host = kind is Kind.RMDIR and not inode.is_local_only
        _, failure = self._attempt(self.defer_removal, kind, parent, name)
        if failure == errno.EACCES and not self._privileged:
            # We may not see whether it is empty; or may not at all, which the host will say.
            await self._write_through.after_flush(
                request, (parent, inode), handler, parent_number, name, ctx
            )
            return
        if asks_host:
            # Only the host knows whether a directory of its own is empty.
            await self._crossings.cross(original, Operation.READDIRPLUS, 0)
        else:
            self._deferring.record_latency(OperationClass.METADATA, original)
        if failure:
            raise FUSEError(failure)

    def defer_removal(self, kind: Kind, parent: Inode, name: bytes) -> None:
        """Take *name* from the guest at once, and from the host later. Raises OSError."""
        inode, status = self._view.named(parent, name)
        if inode is None:
            # The host has put another object there since it was looked at: the guest's kernel
            # shall look again.
            raise StaleError
        self._rights.check_may_change(parent)
        if kind is Kind.RMDIR:
            if not inode.is_directory:
                raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
            if not self._view.is_empty(inode):
                raise OSError(errno.ENOTEMPTY, os.strerror(errno.ENOTEMPTY))
        elif inode.is_directory:
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        now_ns = time.time_ns()
        is_last = inode.is_directory or status.st_nlink <= 1
        self._deferring.record_seen(inode)
        change = Change(kind, inode, time.monotonic_ns(), parent, name, detail=OtherDetail(now_ns))
        self._write_back.defer(change, orphaned=[inode] if is_last else [])
        if inode.overlay is not None:
            inode.overlay.ctime_ns = now_ns
        names_changed(parent, now_ns)
        drop_sent_dentry(parent, name, inode)
