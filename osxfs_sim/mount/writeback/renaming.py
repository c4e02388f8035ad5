"""RENAME of a share whose guest's changes are pending. Exchanges of two names are the host's."""

import errno
import os
import time
from collections.abc import Callable, Coroutine
from typing import Any

import pyfuse3
from pyfuse3 import FUSEError, RequestContext

from osxfs_sim.model.operations import Operation, OperationClass
from osxfs_sim.model.write_back import Change, Kind
from osxfs_sim.mount.latency.crossings import Crossings
from osxfs_sim.mount.loop.request import Request
from osxfs_sim.mount.requests.handlers import Handlers
from osxfs_sim.mount.requests.host_calls import HostCalls
from osxfs_sim.mount.tree.inodes import Inode, InodeTable
from osxfs_sim.mount.tree.pending import overlay_of
from osxfs_sim.mount.writeback.deferral import Deferral
from osxfs_sim.mount.writeback.deferring import Deferring
from osxfs_sim.mount.writeback.guest_side import GuestSide, drop_sent_dentry
from osxfs_sim.mount.writeback.guest_view import GuestView
from osxfs_sim.mount.writeback.journal_format import OtherDetail
from osxfs_sim.mount.writeback.overlay import names_changed
from osxfs_sim.mount.writeback.server_rights import ServerRights
from osxfs_sim.mount.writeback.write_through import WriteThrough
from osxfs_sim.mount.writeback.writeback import WriteBack

_WRITE = 2


class RenameHandler:
    """Moves names, which the host learns later, if both sides may be deferred."""

    def __init__(
        self,
        below: Handlers,
        write_back: WriteBack,
        calls: HostCalls,
        crossings: Crossings,
        inodes: InodeTable,
        deferral: Deferral,
        view: GuestView,
        side: GuestSide,
        rights: ServerRights,
        deferring: Deferring,
        write_through: WriteThrough,
        *,
        has_overlaps: bool,
        server_is_root: bool,
    ) -> None:
        self._next = below
        self._write_back = write_back
        self._attempt = calls.attempt
        self._crossings = crossings
        self._inodes = inodes
        self._deferral = deferral
        self._limits = deferral.limits
        self._may_defer_in, self._may_defer = deferral.may_defer_in, deferral.may_defer
        self._view = view
        self._side = side
        self._rights = rights
        self._deferring = deferring
        self._write_through = write_through
        self._has_overlaps = has_overlaps
        self._privileged = server_is_root

    def rename(
        self,
        request: Request,
        parent_inode_old: int,
        name_old: bytes,
        parent_inode_new: int,
        name_new: bytes,
        flags: int,
        ctx: RequestContext,
    ) -> Coroutine[Any, Any, None]:
        """RENAME: pending, if it may be deferred on both sides. Raises FUSEError."""
        arguments = (parent_inode_old, name_old, parent_inode_new, name_new, flags, ctx)
        directories = (self._inodes[parent_inode_old], self._inodes[parent_inode_new])
        return self._rights.as_permitted(
            request, directories, self._rename_in_guest, self._next.rename, arguments
        )

    async def _rename_in_guest(
        self, request: Request, handler: Callable[..., Coroutine[Any, Any, None]], arguments: Any
    ) -> None:
        old_number, old_name, new_number, new_name, flags, _ = arguments
        original = request
        old_parent, new_parent = self._inodes[old_number], self._inodes[new_number]
        request = await self._deferring.wait_for_room(request, 0)
        found, failure = self._attempt(self._view.named, old_parent, old_name)
        if failure:
            raise FUSEError(failure)
        moving = found[0]
        there, failure = self._attempt(self._view.named, new_parent, new_name)
        if failure not in (0, errno.ENOENT):
            raise FUSEError(failure)
        replaced = there[0] if there is not None else None
        deferrable = (
            moving is not None
            and (there is None or replaced is not None)
            and not flags & ~pyfuse3.RENAME_NOREPLACE
            and self._may_defer_in(request, old_parent)
            and self._may_defer_in(request, new_parent)
            and self._may_defer(request, moving)
            and (replaced is None or self._may_defer(request, replaced))
            and (
                old_parent is new_parent
                or not moving.is_directory
                or self._deferral.may_have_more_links(new_parent)
            )
        )
        if not deferrable:
            if self._has_overlaps:
                # A directory may take what is pending below it to where nothing may be.
                request = await self._write_through.wait_flushed(
                    request, self._write_back.changes.last_sequence
                )
            involved = (old_parent, new_parent, moving, replaced)
            await self._write_through.after_flush(request, involved, handler, *arguments)
            return
        assert moving is not None
        asks_host = replaced is not None and replaced.is_directory and not replaced.is_local_only
        _, failure = self._attempt(
            self.defer_rename, moving, old_parent, old_name, new_parent, new_name, flags
        )
        if failure == errno.EACCES and not self._privileged:
            # As in removing.py.
            involved = (old_parent, new_parent, moving, replaced)
            await self._write_through.after_flush(request, involved, handler, *arguments)
            return
        if asks_host:
            await self._crossings.cross(original, Operation.READDIRPLUS, 0)
        else:
            self._deferring.record_latency(OperationClass.METADATA, original)
        if failure:
            raise FUSEError(failure)

    def defer_rename(
        self,
        moving: Inode,
        old_parent: Inode,
        old_name: bytes,
        new_parent: Inode,
        new_name: bytes,
        flags: int,
    ) -> None:
        """Move a name for the guest at once, and on the host later. Raises OSError."""
        self._limits.check_name(new_name)
        replaced: Inode | None = None
        try:
            replaced, status = self._view.named(new_parent, new_name)
        except FileNotFoundError:
            status = None
        orphaned: list[Inode] = []
        if replaced is not None and status is not None:
            if flags & pyfuse3.RENAME_NOREPLACE:
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
            if replaced is moving:
                return  # two names of one file: rename(2) does nothing
        self._rights.check_may_change(old_parent)
        self._rights.check_may_change(new_parent)
        if replaced is not None and status is not None:
            self._check_replaceable(moving, replaced)
            if replaced.is_directory or status.st_nlink <= 1:
                orphaned.append(replaced)
        if moving.is_directory and old_parent is not new_parent:
            self._rights.check_permits(moving, _WRITE)  # its ".." changes
        if replaced is not None and status is not None:
            self._deferring.record_seen(replaced)
        now_ns = time.time_ns()
        change = Change(
            Kind.RENAME,
            moving,
            time.monotonic_ns(),
            new_parent,
            new_name,
            old_parent,
            old_name,
            replaced=replaced,
            replaced_is_directory=replaced is not None and replaced.is_directory,
            detail=OtherDetail(now_ns),
        )
        self._write_back.defer(change, orphaned=orphaned)
        overlay = overlay_of(moving)
        overlay.ctime_ns = now_ns
        overlay.guest_place = new_parent, new_name
        if replaced is not None:
            if replaced.overlay is not None:
                replaced.overlay.ctime_ns = now_ns
            drop_sent_dentry(new_parent, new_name, replaced)
        drop_sent_dentry(old_parent, old_name, moving)
        names_changed(old_parent, now_ns)
        names_changed(new_parent, now_ns)
        self._side.has_name(new_parent, new_name)

    def _check_replaceable(self, moving: Inode, replaced: Inode) -> None:
        if moving.is_directory and not replaced.is_directory:
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        if replaced.is_directory:
            if not moving.is_directory:
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
            if not self._view.is_empty(replaced):
                raise OSError(errno.ENOTEMPTY, os.strerror(errno.ENOTEMPTY))
