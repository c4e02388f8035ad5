"""Attributes of a share whose guest's changes are pending: GETATTR, SETATTR, READLINK, ACCESS.

Extended attributes are the host's at once, and after what is pending of the object.
"""

import errno
import fcntl
import os
import stat as modes
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import pyfuse3
from pyfuse3 import EntryAttributes, FUSEError, RequestContext

from osxfs_sim.model.extents import Extents
from osxfs_sim.model.operations import OperationClass
from osxfs_sim.model.write_back import Change, Kind
from osxfs_sim.mount.loop.request import Request
from osxfs_sim.mount.requests.handle_table import HandleTable
from osxfs_sim.mount.requests.handlers import Handlers
from osxfs_sim.mount.requests.host_calls import HostCalls
from osxfs_sim.mount.tree.inodes import Inode, InodeTable
from osxfs_sim.mount.tree.owners import Owners
from osxfs_sim.mount.tree.pending import overlay_of
from osxfs_sim.mount.tree.set_id import cleared_set_id, only_clears_set_id
from osxfs_sim.mount.tree.xattrs import GuestAttributes
from osxfs_sim.mount.writeback.deferral import Deferral
from osxfs_sim.mount.writeback.deferring import Deferring
from osxfs_sim.mount.writeback.guest_view import GuestView, guest_parent
from osxfs_sim.mount.writeback.journal_format import SetDetail
from osxfs_sim.mount.writeback.room import HostRoom
from osxfs_sim.mount.writeback.server_rights import ServerRights
from osxfs_sim.mount.writeback.write_through import WriteThrough
from osxfs_sim.mount.writeback.writeback import WriteBack

_WRITE = 2


class AttributeHandlers:
    """Answers by pending attributes laid over the host's, and defers that they are set."""

    def __init__(
        self,
        below: Handlers,
        write_back: WriteBack,
        calls: HostCalls,
        inodes: InodeTable,
        owners: Owners,
        handles: HandleTable,
        guest_attributes: GuestAttributes,
        deferral: Deferral,
        room: HostRoom,
        view: GuestView,
        rights: ServerRights,
        deferring: Deferring,
        write_through: WriteThrough,
        *,
        server_is_root: bool,
    ) -> None:
        self._next = below
        self._write_back = write_back
        self._calls = calls
        self._attempt = calls.attempt
        self._inodes = inodes
        self._owners = owners
        self._handles = handles
        self._guest_attributes = guest_attributes
        self._limits = deferral.limits
        self._may_defer = deferral.may_defer
        self._room = room
        self._view = view
        self._rights = rights
        self._deferring = deferring
        self._write_through = write_through
        self._privileged = server_is_root

    def getattr(
        self, request: Request, inode: int, ctx: RequestContext
    ) -> Coroutine[Any, Any, EntryAttributes]:
        """GETATTR: the host's attributes overlaid, or local ones. Raises FUSEError."""
        node = self._inodes[inode]
        if node.is_local_only:
            return self._calls.answer(request, self._local_attributes, node, ctx)
        return self._rights.ask_host(request, (node,), self._next.getattr, inode, ctx)

    def _local_attributes(self, inode: Inode, ctx: RequestContext) -> EntryAttributes:
        return self._view.pending_attributes(inode, b"", ctx, is_cached=True)

    def setattr(
        self,
        request: Request,
        inode: int,
        attr: EntryAttributes,
        fields: pyfuse3.SetattrFields,
        fh: int | None,
        ctx: RequestContext,
    ) -> Coroutine[Any, Any, EntryAttributes]:
        """SETATTR: pending attributes, if that may be deferred. Raises FUSEError."""
        node = self._inodes[inode]
        handler = self._next.setattr
        too_large = fields.update_size and attr.st_size > self._limits.file_bytes
        # What is open may be set by that, which the kernel does not always say.
        directories = () if node.open_fds else (guest_parent(node),)
        if not self._may_defer(request, node) or too_large:
            arguments = (inode, attr, fields, fh, ctx)
            return self._rights.as_permitted(
                request, directories, self._write_through.after_flush, (node,), handler, *arguments
            )
        return self._rights.as_permitted(
            request, directories, self._set_in_guest, handler, node, attr, fields, fh, ctx
        )

    async def _set_in_guest(
        self,
        request: Request,
        handler: Callable[..., Coroutine[Any, Any, EntryAttributes]],
        inode: Inode,
        attr: EntryAttributes,
        fields: pyfuse3.SetattrFields,
        fh: int | None,
        ctx: RequestContext,
    ) -> EntryAttributes:
        original = request
        request = await self._deferring.wait_for_room(request, 0)
        if not self._may_defer(request, inode):  # it has lost its name while this waited
            return await handler(request, inode.number, attr, fields, fh, ctx)
        entry, failure = self._attempt(self._defer_attributes, inode, attr, fields, fh, ctx)
        self._deferring.record_latency(OperationClass.METADATA, original)
        if failure:
            raise FUSEError(failure)
        return entry  # type: ignore[no-any-return]

    def _defer_attributes(
        self,
        inode: Inode,
        wanted: EntryAttributes,
        fields: pyfuse3.SetattrFields,
        fh: int | None,
        ctx: RequestContext,
    ) -> EntryAttributes:
        if fh is not None:
            self._handles.inode_of(fh, is_directory=False)
        self._check_may_set(inode, wanted, fields, fh)
        status = self._view.status(inode)
        size = wanted.st_size if fields.update_size else None
        uid = wanted.st_uid if fields.update_uid else None
        gid = wanted.st_gid if fields.update_gid else None
        mode = None
        if fields.update_mode:
            mode = modes.S_IMODE(wanted.st_mode)
            if not inode.is_directory:
                mode = self._owners.may_carry(mode, ctx)
        elif inode.kind == modes.S_IFREG:
            is_chown = uid is not None or gid is not None
            if is_chown or (size is not None and ctx.uid and self._privileged):
                mode = cleared_set_id(status.st_mode)
        now_ns = time.time_ns()
        detail = SetDetail(
            size,
            mode,
            uid,
            gid,
            wanted.st_atime_ns if fields.update_atime else None,
            wanted.st_mtime_ns if fields.update_mtime else None,
            now_ns,
        )
        self.defer_set(inode, detail)
        if size is not None and fh is not None:
            # Who has it open may cut it, whatever its mode has become.
            self._write_back.pending.descriptors.keep(inode, overlay_of(inode), fh)
        elif not self._privileged:
            self._keep_any_descriptor(inode)
        return self._view.pending_attributes(inode, b"", ctx, is_cached=True)

    def _keep_any_descriptor(self, inode: Inode) -> None:
        """Of a file that is open: the modes above it may keep us from finding it again."""
        overlay = inode.overlay
        if overlay is None or overlay.fd >= 0 or overlay.local_only or inode.kind != modes.S_IFREG:
            return
        for fd in inode.open_fds or ():
            if fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE != os.O_RDONLY:
                self._write_back.pending.descriptors.keep(inode, overlay, fd)
                return

    def _check_may_set(
        self,
        inode: Inode,
        wanted: EntryAttributes,
        fields: pyfuse3.SetattrFields,
        fh: int | None,
    ) -> None:
        """Whether the host will let us set these attributes. Raises OSError."""
        if self._privileged:
            return
        is_ours = self._rights.is_ours(inode)
        sets_mode = fields.update_mode and not (
            # As before a write, which is the host's to do then.
            only_clears_set_id(self._view.status(inode).st_mode, modes.S_IMODE(wanted.st_mode))
            and self._rights.permits(inode, _WRITE)
        )
        if not is_ours and (sets_mode or fields.update_atime or fields.update_mtime):
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))
        changes_owner = fields.update_uid or fields.update_gid
        if not is_ours and changes_owner and not self._rights.permits(inode, _WRITE):
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))
        if fields.update_size and fh is None:
            self._rights.check_permits(inode, _WRITE)

    def defer_set(self, inode: Inode, detail: SetDetail) -> None:
        """Set attributes for the guest at once, and on the host later. Raises OSError."""
        self._write_back.pending.check_not_aside(inode)
        is_orphan = inode.overlay is not None and inode.overlay.orphan
        if not is_orphan:
            self._room.check(0)
        self._deferring.record_seen(inode)
        if not is_orphan:
            change = Change(Kind.SET, inode, time.monotonic_ns(), detail=detail)
            self._write_back.defer(change)
        overlay = overlay_of(inode)
        overlay.ctime_ns = detail.at_ns
        if detail.size is not None:
            if overlay.content is None:
                overlay.content = Extents()
            cut = overlay.content.truncate(detail.size)
            if overlay.orphan:
                self._write_back.pending.free(cut)
                overlay.content.cuts = [min(overlay.content.cuts)]
            overlay.size = detail.size
            overlay.mtime_ns = detail.at_ns
        if detail.mode is not None:
            overlay.mode = detail.mode
        overlay.owner = overlay.owner.overlaid(detail.uid, detail.gid)
        if detail.atime_ns is not None:
            overlay.atime_ns = detail.atime_ns
        if detail.mtime_ns is not None:
            overlay.mtime_ns = detail.mtime_ns
        inode.changed_ns = detail.at_ns

    def readlink(
        self, request: Request, inode: int, ctx: RequestContext
    ) -> Coroutine[Any, Any, bytes]:
        """READLINK: of a local-only symlink without a crossing. Raises FUSEError."""
        node = self._inodes[inode]
        if node.is_local_only:
            return self._calls.answer(request, self.pending_link_target, node)
        return self._rights.ask_host(request, (node,), self._next.readlink, inode, ctx)

    @staticmethod
    def pending_link_target(inode: Inode) -> bytes:
        """What the local-only symlink *inode* points to; never fails."""
        assert inode.overlay is not None
        return inode.overlay.link_target

    def access(
        self, request: Request, inode: int, mode: int, ctx: RequestContext
    ) -> Coroutine[Any, Any, bool]:
        """ACCESS: by the pending mode, if there is one. Raises FUSEError."""
        node = self._inodes[inode]
        if node.overlay is not None and node.overlay.mode is not None:
            return self._calls.answer(request, self._rights.may_access, node, mode)
        return self._rights.ask_host(request, (node,), self._next.access, inode, mode, ctx)

    # Extended attributes

    def setxattr(
        self, request: Request, inode: int, name: bytes, value: bytes, ctx: RequestContext
    ) -> Coroutine[Any, Any, None]:
        """SETXATTR: on the host, once that has what is pending. Raises FUSEError."""
        return self._with_attributes(request, self._next.setxattr, name, inode, name, value, ctx)

    def removexattr(
        self, request: Request, inode: int, name: bytes, ctx: RequestContext
    ) -> Coroutine[Any, Any, None]:
        """REMOVEXATTR: on the host, once that has what is pending. Raises FUSEError."""
        return self._with_attributes(request, self._next.removexattr, name, inode, name, ctx)

    async def _with_attributes(
        self,
        request: Request,
        handler: Callable[..., Coroutine[Any, Any, None]],
        name: bytes,
        number: int,
        *arguments: Any,
    ) -> None:
        await self._calls.answer(request, self._guest_attributes.check, name)
        await self._write_through.after_flush(
            request, (self._inodes[number],), handler, number, *arguments
        )

    def getxattr(
        self, request: Request, inode: int, name: bytes, ctx: RequestContext
    ) -> Coroutine[Any, Any, bytes]:
        """GETXATTR: the host's; ENODATA where it is local-only. Raises FUSEError."""
        node = self._inodes[inode]
        if node.is_local_only:
            return self._calls.answer(request, self._no_attribute, name)
        return self._rights.ask_host(request, (node,), self._next.getxattr, inode, name, ctx)

    def _no_attribute(self, name: bytes) -> bytes:
        self._guest_attributes.check(name)
        raise OSError(errno.ENODATA, os.strerror(errno.ENODATA))

    def listxattr(
        self, request: Request, inode: int, ctx: RequestContext
    ) -> Coroutine[Any, Any, Sequence[bytes]]:
        """LISTXATTR: the host's; none where it is local-only. Raises FUSEError."""
        if self._inodes[inode].is_local_only:
            return self._calls.answer(request, self._no_attributes)
        return self._next.listxattr(request, inode, ctx)

    def _no_attributes(self) -> Sequence[bytes]:
        self._guest_attributes.check(b"")
        return ()
