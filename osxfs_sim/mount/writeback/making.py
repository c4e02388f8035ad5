"""MKNOD, MKDIR, SYMLINK and LINK of a share whose guest's changes are pending.

Sockets, FIFOs and devices are made on the host at once (DEL-8).
"""

import errno
import os
import stat as modes
import time
from collections.abc import Coroutine
from typing import Any

from pyfuse3 import EntryAttributes, RequestContext

from osxfs_sim.model.write_back import Change, Kind
from osxfs_sim.mount.loop.request import Request
from osxfs_sim.mount.requests.handlers import Handlers
from osxfs_sim.mount.requests.host_calls import HostCalls
from osxfs_sim.mount.tree.inodes import Inode, InodeTable
from osxfs_sim.mount.tree.owners import Owners
from osxfs_sim.mount.tree.pending import drop_overlay, overlay_of
from osxfs_sim.mount.writeback.deferral import Deferral
from osxfs_sim.mount.writeback.deferring import Deferring
from osxfs_sim.mount.writeback.guest_side import GuestSide
from osxfs_sim.mount.writeback.guest_view import GuestView, guest_parent
from osxfs_sim.mount.writeback.journal_format import MakeDetail, OtherDetail
from osxfs_sim.mount.writeback.overlay import names_changed
from osxfs_sim.mount.writeback.room import HostRoom
from osxfs_sim.mount.writeback.server_rights import ServerRights
from osxfs_sim.mount.writeback.write_through import WriteThrough
from osxfs_sim.mount.writeback.writeback import WriteBack


class MakingHandlers:
    """Makes objects that are local-only at first, and further names of objects."""

    def __init__(
        self,
        below: Handlers,
        write_back: WriteBack,
        calls: HostCalls,
        inodes: InodeTable,
        owners: Owners,
        deferral: Deferral,
        room: HostRoom,
        view: GuestView,
        side: GuestSide,
        rights: ServerRights,
        deferring: Deferring,
        write_through: WriteThrough,
    ) -> None:
        self._next = below
        self._write_back = write_back
        self._calls = calls
        self._inodes = inodes
        self._owners = owners
        self._deferral = deferral
        self._limits = deferral.limits
        self._may_defer_in, self._may_defer = deferral.may_defer_in, deferral.may_defer
        self._room = room
        self._view = view
        self._side = side
        self._rights = rights
        self._deferring = deferring
        self._write_through = write_through

    def mknod(
        self,
        request: Request,
        parent_inode: int,
        name: bytes,
        mode: int,
        rdev: int,
        ctx: RequestContext,
    ) -> Coroutine[Any, Any, EntryAttributes]:
        """MKNOD: a file is local-only at first; all else goes to the host. FUSEError."""
        handler = self._next.mknod
        parent = self._inodes[parent_inode]
        if modes.S_ISREG(mode) and self._may_defer_in(request, parent):
            return self._rights.as_permitted(
                request,
                (parent,),
                self._deferring.answer,
                0,
                self._made_in_guest,
                parent_inode,
                name,
                mode,
                ctx,
            )
        return self._rights.as_permitted(
            request,
            (parent,),
            self._write_through.after_flush,
            (parent,),
            handler,
            parent_inode,
            name,
            mode,
            rdev,
            ctx,
        )

    def mkdir(
        self, request: Request, parent_inode: int, name: bytes, mode: int, ctx: RequestContext
    ) -> Coroutine[Any, Any, EntryAttributes]:
        """MKDIR: local-only at first, if that may be deferred. Raises FUSEError."""
        handler = self._next.mkdir
        parent = self._inodes[parent_inode]
        if not self._may_defer_in(request, parent) or not self._deferral.may_have_more_links(
            parent
        ):
            return self._rights.as_permitted(
                request,
                (parent,),
                self._write_through.after_flush,
                (parent,),
                handler,
                parent_inode,
                name,
                mode,
                ctx,
            )
        mode = modes.S_IFDIR | modes.S_IMODE(mode)
        return self._rights.as_permitted(
            request,
            (parent,),
            self._deferring.answer,
            0,
            self._made_in_guest,
            parent_inode,
            name,
            mode,
            ctx,
        )

    def symlink(
        self, request: Request, parent_inode: int, name: bytes, target: bytes, ctx: RequestContext
    ) -> Coroutine[Any, Any, EntryAttributes]:
        """SYMLINK: local-only at first, if that may be deferred. Raises FUSEError."""
        handler = self._next.symlink
        parent = self._inodes[parent_inode]
        if not self._may_defer_in(request, parent) or len(target) > self._limits.link_target_bytes:
            return self._rights.as_permitted(
                request,
                (parent,),
                self._write_through.after_flush,
                (parent,),
                handler,
                parent_inode,
                name,
                target,
                ctx,
            )
        return self._rights.as_permitted(
            request,
            (parent,),
            self._deferring.answer,
            0,
            self._made_in_guest,
            parent_inode,
            name,
            modes.S_IFLNK,
            ctx,
            target,
        )

    def link(
        self,
        request: Request,
        inode: int,
        new_parent_inode: int,
        new_name: bytes,
        ctx: RequestContext,
    ) -> Coroutine[Any, Any, EntryAttributes]:
        """LINK: a pending name, if that may be deferred. Raises FUSEError."""
        parent, target = self._inodes[new_parent_inode], self._inodes[inode]
        source = guest_parent(target)
        if (
            self._limits.has_links
            and self._may_defer_in(request, parent)
            and self._may_defer(request, target)
            and self._deferral.may_have_more_links(target)
            and self._rights.is_ours(target)
        ):
            return self._rights.as_permitted(
                request,
                (parent, source),
                self._deferring.answer,
                0,
                self.defer_link,
                target,
                parent,
                new_name,
                ctx,
            )
        handler = self._next.link
        arguments = (inode, new_parent_inode, new_name, ctx)
        return self._rights.as_permitted(
            request,
            (parent, source),
            self._write_through.after_flush,
            (parent, target),
            handler,
            *arguments,
        )

    # The change

    def defer_make(
        self,
        parent: Inode,
        name: bytes,
        mode: int,
        caller: RequestContext,
        link_target: bytes = b"",
    ) -> Inode:
        """The guest makes an object of the kind and with the bits of *mode*. Raises OSError."""
        self._check_new(parent, name)
        now_ns = time.time_ns()
        inode = self._inodes.new_local_only(modes.S_IFMT(mode))
        permissions = modes.S_IMODE(mode)
        if not inode.is_directory:
            permissions = self._owners.may_carry(permissions, caller)
        if inode.kind == modes.S_IFLNK:
            permissions = 0o777
        detail = MakeDetail(permissions, caller.uid, caller.gid, link_target, now_ns)
        overlay = overlay_of(inode)
        overlay.local_only = True
        overlay.guest_place = parent, name
        overlay.mode = permissions
        overlay.atime_ns = overlay.mtime_ns = overlay.ctime_ns = now_ns
        overlay.link_target = link_target
        overlay.size = len(link_target) if inode.kind == modes.S_IFLNK else 0
        change = Change(Kind.MAKE, inode, time.monotonic_ns(), parent, name, detail=detail)
        try:
            self._write_back.defer(change)
        except BaseException:
            drop_overlay(inode)
            self._inodes.remove(inode)
            raise
        names_changed(parent, now_ns)
        self._side.has_name(parent, name)
        inode.changed_ns = now_ns
        return inode

    def _made_in_guest(
        self, parent_number: int, name: bytes, mode: int, ctx: RequestContext, target: bytes = b""
    ) -> EntryAttributes:
        parent = self._inodes[parent_number]
        inode = self.defer_make(parent, name, mode, ctx, target)
        return self._view.pending_entry(parent, name, inode, ctx)

    def defer_link(
        self, target: Inode, parent: Inode, name: bytes, ctx: RequestContext
    ) -> EntryAttributes:
        """Give *target* a name more for the guest at once, on the host later. Raises OSError."""
        self._check_new(parent, name, is_object=self._limits.links_take_inodes)
        if not self._may_defer(None, target):  # it has lost its name while this waited
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        now_ns = time.time_ns()
        change = Change(
            Kind.LINK, target, time.monotonic_ns(), parent, name, detail=OtherDetail(now_ns)
        )
        self._write_back.defer(change)
        overlay_of(target).ctime_ns = now_ns
        names_changed(parent, now_ns)
        self._side.has_name(parent, name)
        return self._view.pending_entry(parent, name, target, ctx)

    def _check_new(self, parent: Inode, name: bytes, *, is_object: bool = True) -> None:
        """Whether *name* can be made in *parent*, and an object for it. Raises OSError."""
        self._write_back.pending.check_not_aside(parent)
        self._limits.check_name(name)
        if self._view.has(parent, name):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
        self._rights.check_may_change(parent)
        self._room.check(0, objects=1 if is_object else 0)
