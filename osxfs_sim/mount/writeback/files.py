"""OPEN, CREATE, READ, WRITE and RELEASE of a share whose guest's changes are pending.

What is written goes into the journal's data; a read takes from there what is dirty, and the rest
from the host.
"""

import errno
import os
import stat as modes
import time
from collections.abc import Callable, Coroutine
from typing import Any

from pyfuse3 import EntryAttributes, FileInfo, FUSEError, RequestContext

from osxfs_sim.fs import at
from osxfs_sim.model.extents import ON_HOST, ZEROS, Extents
from osxfs_sim.model.operations import Operation, OperationClass
from osxfs_sim.model.write_back import Change, Kind
from osxfs_sim.mount.latency.crossings import Crossings
from osxfs_sim.mount.loop.reactor import in_thread
from osxfs_sim.mount.loop.request import Request
from osxfs_sim.mount.requests.caching import Caching
from osxfs_sim.mount.requests.handle_table import HandleTable
from osxfs_sim.mount.requests.handlers import WRITE_IN_THREAD_BYTES, Handlers
from osxfs_sim.mount.requests.host_calls import HostCalls
from osxfs_sim.mount.requests.host_operations import HostOperations
from osxfs_sim.mount.requests.reading import read_fully
from osxfs_sim.mount.tree.backing import StaleError
from osxfs_sim.mount.tree.inodes import Inode, InodeTable
from osxfs_sim.mount.tree.pending import overlay_of
from osxfs_sim.mount.tree.set_id import cleared_set_id
from osxfs_sim.mount.writeback.attributes import AttributeHandlers
from osxfs_sim.mount.writeback.deferral import Deferral
from osxfs_sim.mount.writeback.deferring import Deferring
from osxfs_sim.mount.writeback.fsync import FsyncHandlers
from osxfs_sim.mount.writeback.guest_side import GuestSide
from osxfs_sim.mount.writeback.guest_view import GuestView
from osxfs_sim.mount.writeback.journal_format import OtherDetail, SetDetail
from osxfs_sim.mount.writeback.making import MakingHandlers
from osxfs_sim.mount.writeback.room import HostRoom
from osxfs_sim.mount.writeback.server_rights import ServerRights
from osxfs_sim.mount.writeback.write_through import WriteThrough
from osxfs_sim.mount.writeback.writeback import WriteBack


class FileHandlers:
    """Opens files that are local-only, or the host's; reads and writes what is pending of them."""

    def __init__(
        self,
        below: Handlers,
        write_back: WriteBack,
        calls: HostCalls,
        crossings: Crossings,
        inodes: InodeTable,
        caching: Caching,
        handles: HandleTable,
        operations: HostOperations,
        deferral: Deferral,
        room: HostRoom,
        view: GuestView,
        side: GuestSide,
        rights: ServerRights,
        deferring: Deferring,
        write_through: WriteThrough,
        making: MakingHandlers,
        attributes: AttributeHandlers,
        fsync: FsyncHandlers,
        null_fd: int,
        *,
        server_is_root: bool,
        kernel_writes_back: bool,
    ) -> None:
        """*null_fd* is what a handle stands for whose file the host has not got."""
        self._next = below
        self._read_through = below.read
        self._write_back = write_back
        self._data = write_back.journal.data
        self._calls = calls
        self._attempt, self._errno_of = calls.attempt, calls.errno_of
        self._crossings = crossings
        self._inodes = inodes
        self._caching = caching
        self._handles, self._files = handles, handles.files
        self._operations = operations
        self._limits = deferral.limits
        self._may_defer_in, self._may_defer = deferral.may_defer_in, deferral.may_defer
        self._room = room
        self._view = view
        self._side = side
        self._rights = rights
        self._deferring = deferring
        self._write_through = write_through
        self._making = making
        self._attributes = attributes
        self._fsync = fsync
        self._null_fd = null_fd
        self._privileged = server_is_root
        self._kernel_writes_back = kernel_writes_back

    def open(
        self, request: Request, inode: int, flags: int, ctx: RequestContext
    ) -> Coroutine[Any, Any, FileInfo]:
        """OPEN: of a local-only file without a crossing; O_TRUNC is deferred. FUSEError."""
        if self._privileged:
            return self._open_in_guest(request, inode, flags, ctx)
        node = self._inodes[inode]
        return self._rights.once_allowed(request, (node,), self._open_permitted, node, flags, ctx)

    async def _open_permitted(
        self, request: Request, inode: Inode, flags: int, ctx: RequestContext
    ) -> FileInfo:
        await self._calls.answer(request, self._rights.check_open, inode, flags)
        return await self._open_in_guest(request, inode.number, flags, ctx)

    def _open_in_guest(
        self, request: Request, inode: int, flags: int, ctx: RequestContext
    ) -> Coroutine[Any, Any, FileInfo]:
        node = self._inodes[inode]
        if node.is_local_only:
            return self._open_while_local(request, node, flags, ctx)
        if self._kernel_writes_back and flags & os.O_ACCMODE == os.O_WRONLY:
            return self._open_to_fill_pages(request, self._next.open, node, flags, ctx)
        if flags & os.O_TRUNC and self._may_defer(request, node):
            return self._open_and_cut(request, self._next.open, node, flags, ctx)
        return self._next.open(request, inode, flags, ctx)

    async def _open_while_local(
        self, request: Request, inode: Inode, flags: int, ctx: RequestContext
    ) -> FileInfo:
        request = await self._deferring.wait_for_room(request, 0)
        if inode.is_local_only:
            return await self._deferring.answer(request, 0, self._open_local, inode, flags, ctx)  # type: ignore[no-any-return]
        # The host has got it meanwhile.
        return await self._open_in_guest(request, inode.number, flags, ctx)

    def _open_local(self, inode: Inode, flags: int, ctx: RequestContext) -> FileInfo:
        if inode.overlay is not None and inode.overlay.aside:
            raise StaleError  # the guest's kernel shall look again
        # A descriptor that stands for the host's file: once there is one, it is one.
        fd = os.dup(self._null_fd)
        try:
            if flags & os.O_TRUNC:
                self._cut(inode, ctx)
            keeps = self._caching.keep_cache_of_local(self._view.status(inode))
            return self._operations.opened(inode, fd, flags, ctx, keeps)
        except BaseException:
            os.close(fd)
            raise

    async def _open_to_fill_pages(
        self,
        request: Request,
        handler: Callable[..., Coroutine[Any, Any, FileInfo]],
        inode: Inode,
        flags: int,
        ctx: RequestContext,
    ) -> FileInfo:
        """Open to write, and to read: the kernel reads the rest of a page that is written in part.

        Where the host lets nobody read, writes go past the kernel's pages.
        """
        cuts = flags & os.O_TRUNC and self._may_defer(request, inode)
        open_ = self._open_and_cut if cuts else self._open_as_it_is
        try:
            return await open_(request, handler, inode, flags & ~os.O_ACCMODE | os.O_RDWR, ctx)
        except FUSEError as error:
            if error.errno != errno.EACCES:
                raise
        handle = await open_(request, handler, inode, flags, ctx)
        handle.direct_io = True
        return handle

    @staticmethod
    async def _open_as_it_is(
        request: Request,
        handler: Callable[..., Coroutine[Any, Any, FileInfo]],
        inode: Inode,
        flags: int,
        ctx: RequestContext,
    ) -> FileInfo:
        return await handler(request, inode.number, flags, ctx)

    async def _open_and_cut(
        self,
        request: Request,
        handler: Callable[..., Coroutine[Any, Any, FileInfo]],
        inode: Inode,
        flags: int,
        ctx: RequestContext,
    ) -> FileInfo:
        """Open a file of the host's, and defer that it is truncated."""
        request = await self._deferring.wait_for_room(request, 0)
        handle = await handler(request, inode.number, flags & ~os.O_TRUNC, ctx)
        if self._may_defer(request, inode):
            _, failure = self._attempt(self._cut, inode, ctx)
        else:
            _, failure = self._attempt(at.set_size, handle.fh, 0)
        if failure:
            await self.release(request, handle.fh)
            raise FUSEError(failure)
        return handle

    def _cut(self, inode: Inode, ctx: RequestContext) -> None:
        status = self._view.status(inode)
        mode = None
        if ctx.uid and self._privileged:
            mode = cleared_set_id(status.st_mode)
        self._attributes.defer_set(
            inode, SetDetail(0, mode, None, None, None, None, time.time_ns())
        )

    def create(
        self,
        request: Request,
        parent_inode: int,
        name: bytes,
        mode: int,
        flags: int,
        ctx: RequestContext,
    ) -> Coroutine[Any, Any, tuple[FileInfo, EntryAttributes]]:
        """CREATE: a local-only file, if that may be deferred. Raises FUSEError."""
        parent = self._inodes[parent_inode]
        if not self._may_defer_in(request, parent):
            handler = self._next.create
            return self._rights.as_permitted(
                request,
                (parent,),
                self._write_through.after_flush,
                (parent,),
                handler,
                parent_inode,
                name,
                mode,
                flags,
                ctx,
            )
        return self._rights.as_permitted(
            request,
            (parent,),
            self._deferring.answer,
            0,
            self._create_in_guest,
            parent,
            name,
            mode,
            flags,
            ctx,
        )

    def _create_in_guest(
        self, parent: Inode, name: bytes, mode: int, flags: int, ctx: RequestContext
    ) -> tuple[FileInfo, EntryAttributes]:
        fd = os.dup(self._null_fd)
        try:
            try:
                inode = self._making.defer_make(
                    parent, name, modes.S_IFREG | modes.S_IMODE(mode), ctx
                )
            except FileExistsError:
                if flags & os.O_EXCL:
                    raise
                # The guest's kernel shall look again, and open what is there.
                raise StaleError from None
            keeps = self._caching.keep_cache_of_local(self._view.status(inode))
            entry = self._view.pending_entry(parent, name, inode, ctx)
            return self._operations.opened(inode, fd, flags, ctx, keeps), entry
        except BaseException:
            os.close(fd)
            raise

    async def release(self, request: Request, fh: int) -> None:
        """RELEASE: close *fh*, and what fsync(2) had to say by it."""
        self._side.sync_errors.closed(fh)
        await self._next.release(request, fh)

    # Content

    def read(self, request: Request, fh: int, off: int, size: int) -> Coroutine[Any, Any, bytes]:
        """READ: dirty bytes from the journal, the others from the host. Raises FUSEError."""
        inode = self._files[fh]
        overlay = inode.overlay
        if overlay is None or not (overlay.local_only or overlay.content):
            return self._read_through(request, fh, off, size)
        return self._read_overlaid(request, inode, fh, off, size)

    async def _read_overlaid(
        self, request: Request, inode: Inode, fh: int, off: int, size: int
    ) -> bytes:
        answer, failure = self._attempt(self.read_dirty, inode, fh, off, size)
        if failure:
            raise FUSEError(failure)
        data, of_host = answer
        if of_host:
            await self._crossings.cross(request, Operation.READ, of_host)
        return bytes(data)

    def read_dirty(self, inode: Inode, fd: int, offset: int, size: int) -> tuple[bytearray, int]:
        """The bytes of a dirty file, and how many of them the host was asked for. OSError."""
        overlay = inode.overlay
        assert overlay is not None
        end = overlay.size
        if end is None:
            end = 0 if overlay.local_only else os.fstat(fd).st_size
        data = bytearray(max(0, min(size, end - offset)))
        of_host = 0
        if overlay.content is None:
            return data, 0
        view = memoryview(data)
        for piece in overlay.content.read(offset, len(data)):
            start = piece.offset - offset
            part = view[start : start + piece.length]
            if piece.position == ON_HOST:
                if not overlay.local_only:
                    of_host += read_fully(fd, piece.offset, part)
            elif piece.position != ZEROS:
                part[:] = self._data.read(piece.position, piece.length)
        return data, of_host

    async def write(self, request: Request, fh: int, off: int, buf: bytes) -> int:
        """WRITE: into the journal, if it may be deferred; the bytes written. FUSEError."""
        inode = self._files[fh]
        length = len(buf)
        if not self._may_defer(request, inode) or off + length > self._limits.file_bytes:
            request = await self._write_through.flush(request, inode)
            return await self._next.write(request, fh, off, buf)
        original = request
        has_waited = False
        if not self._write_back.has_room_for(length):
            request = await self._deferring.wait_for_room(request, length)
            has_waited = True
        data = self._data
        place = data.reserve(length)
        is_put, failure = False, 0
        if length >= WRITE_IN_THREAD_BYTES:
            _, failure = await in_thread(lambda: self._attempt(data.put, place, buf))
            is_put = has_waited = True
        if has_waited and not failure and not self._may_defer(request, inode):
            # It has lost its name while this waited: nothing of it is pending any more.
            data.free(place, length)
            return await self._next.write(request, fh, off, buf)
        if not failure:
            try:
                if not is_put:
                    data.put(place, buf)
                self.defer_write(inode, fh, off, length, place)
            except Exception as error:
                failure = self._errno_of(error, self.defer_write, (inode, fh, off, length, place))
        if failure:
            data.free(place, length)
            raise FUSEError(failure)
        if fh in self._handles.synchronous:
            await self._fsync.sync(request, inode, fh, datasync=True)
        self._deferring.record_latency(OperationClass.WRITE, original)
        return length

    def defer_write(self, inode: Inode, fd: int, offset: int, length: int, place: int) -> None:
        """The guest has written *length* bytes, which are kept at *place*. Raises OSError."""
        self._write_back.pending.check_not_aside(inode)
        self._room.check(length)
        try:
            self._hold_write(inode, fd, offset, length, place)
        except OSError:
            self._write_back.pending.drop_unused(inode)  # it says what the host has only for this
            raise

    def _hold_write(self, inode: Inode, fd: int, offset: int, length: int, place: int) -> None:
        if inode.overlay is None or inode.overlay.seen is None:
            self._deferring.record_seen(inode)
        overlay = overlay_of(inode)
        size = overlay.size
        if size is None:
            size = 0 if overlay.local_only else os.fstat(fd).st_size
        if fd in self._handles.appending:
            offset = size
        if fd in self._handles.clearing_set_id:
            mode = cleared_set_id(self._view.status(inode).st_mode)
            if mode is not None:
                self._attributes.defer_set(
                    inode, SetDetail(None, mode, None, None, None, None, time.time_ns())
                )
        now_ns = time.time_ns()
        detail = OtherDetail(now_ns)
        pending = self._write_back.pending
        if not overlay.orphan and not pending.extend(inode, offset, length, place, detail):
            self._write_back.pending.descriptors.keep(inode, overlay, fd)
            change = Change(
                Kind.WRITE,
                inode,
                time.monotonic_ns(),
                offset=offset,
                length=length,
                position=place,
                detail=detail,
            )
            self._write_back.defer(change)
        if overlay.content is None:
            overlay.content = Extents()
        replaced = overlay.content.write(offset, length, place)
        if overlay.orphan:
            self._write_back.pending.free(replaced)
        overlay.size = max(size, offset + length)
        overlay.mtime_ns = overlay.ctime_ns = now_ns
        inode.changed_ns = now_ns
