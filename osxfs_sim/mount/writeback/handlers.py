"""The requests of a share whose guest keeps its changes for a while: the contract's ``delegated``.

A change is checked against what the guest is shown, recorded (writeback.py), and answered
without a crossing. What the guest asks is answered from what is pending where that says it
all, and else by the host, with what is pending laid over it. So every process of the guest
sees the guest's changes at once and in every way.

Not deferred, but made on the host at once, after what they depend on: sockets, FIFOs and
devices (DEL-8), extended attributes, exchanges of two names, objects without a name on the host,
whatever lies where an overlapping export is stronger (DEL-5), in another mount below, or is
immutable, and what only the host can judge (host_limits.py): so it is refused at once, if it is.

A server that is not root is subject to modes. What a change is allowed to do is decided by the
modes that will hold when it crosses: the pending ones, or else the host's. What
they allow, and the host does not yet, waits until they have crossed.
"""

import errno
import fcntl
import os
import stat as modes
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import pyfuse3
from pyfuse3 import EntryAttributes, FileInfo, FUSEError, ReaddirToken, RequestContext

from osxfs_sim.fs import at
from osxfs_sim.model.extents import ON_HOST, ZEROS, Extents
from osxfs_sim.model.operations import Operation, OperationClass
from osxfs_sim.model.write_back import Change, Kind
from osxfs_sim.mount.latency.crossings import Crossings
from osxfs_sim.mount.loop.reactor import in_thread
from osxfs_sim.mount.loop.request import Request
from osxfs_sim.mount.requests.caching import Caching
from osxfs_sim.mount.requests.handle_table import HandleTable, Listing
from osxfs_sim.mount.requests.handlers import WRITE_IN_THREAD_BYTES, Handlers
from osxfs_sim.mount.requests.host_calls import HostCalls
from osxfs_sim.mount.requests.host_listing import Source
from osxfs_sim.mount.requests.host_operations import HostOperations, sync_with_directory
from osxfs_sim.mount.requests.layer import Layer
from osxfs_sim.mount.requests.reading import read_fully
from osxfs_sim.mount.tree.backing import Backing, StaleError, magic_link
from osxfs_sim.mount.tree.inodes import Inode, InodeTable
from osxfs_sim.mount.tree.overlaps import Overlaps
from osxfs_sim.mount.tree.owners import KnownCaller, Owners
from osxfs_sim.mount.tree.pending import drop_overlay, overlay_of
from osxfs_sim.mount.tree.set_id import only_clears_set_id, without_set_id
from osxfs_sim.mount.tree.xattrs import GuestAttributes
from osxfs_sim.mount.writeback.deferral import Deferral
from osxfs_sim.mount.writeback.guest_side import GuestSide
from osxfs_sim.mount.writeback.guest_view import GuestView, Status, guest_parent
from osxfs_sim.mount.writeback.journal_format import MakeDetail, OtherDetail, SetDetail
from osxfs_sim.mount.writeback.overlay import laid_over
from osxfs_sim.mount.writeback.overlay_layers import merged
from osxfs_sim.mount.writeback.restoring import what_is_seen
from osxfs_sim.mount.writeback.writeback import WriteBack

_READ, _WRITE, _SEARCH = 4, 2, 1
# Room on the host that is left to others: a full disk is met when the guest writes, not later.
_SPARE_BYTES = 16 << 20
_READ_ROOM_NS = 50_000_000
_NEVER_NS = -2 * _READ_ROOM_NS  # also on a machine just booted
_FEW_OBJECTS = 1_000


class WriteBackHandlers(Layer):
    """The layer of requests that defers changes; *next* does at once what has to be."""

    next: Handlers

    def __init__(
        self,
        below: Handlers,
        write_back: WriteBack,
        view: GuestView,
        side: GuestSide,
        deferral: Deferral,
        *,
        calls: HostCalls,
        crossings: Crossings,
        inodes: InodeTable,
        backing: Backing,
        owners: Owners,
        caching: Caching,
        handles: HandleTable,
        operations: HostOperations,
        listing: Source,
        guest_attributes: GuestAttributes,
        overlaps: Overlaps | None,
        server_is_root: bool,
        kernel_writes_back: bool,
    ) -> None:
        """*operations* and *listing* are those with what is pending laid over them."""
        super().__init__(below)
        self.write_back = write_back
        self._data = write_back.journal.data
        self._view = view
        self._side = side
        self._deferral = deferral
        self._limits = deferral.limits
        self._may_defer_in, self._may_defer = deferral.may_defer_in, deferral.may_defer
        self._calls = calls
        self._attempt, self._errno_of = calls.attempt, calls.errno_of
        self._crossings = crossings
        self._inodes = inodes
        self._backing = backing
        self._owners = owners
        self._caching = caching
        self._handles = handles
        self._files = handles.files
        self._read_through = below.read
        self._operations = operations
        self._listing = listing
        self._guest_attributes = guest_attributes
        self._overlaps = overlaps
        self._privileged = server_is_root
        self._kernel_writes_back = kernel_writes_back
        self._null_fd = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        self._room_read_ns = _NEVER_NS
        self._room_bytes = self._room_objects = self._block_bytes = 0

    def close(self) -> None:
        """Free its descriptors."""
        os.close(self._null_fd)
        self._deferral.close()

    async def _defer(
        self, request: Request, size_bytes: int, work: Callable[..., Any], *arguments: Any
    ) -> Any:
        """Do *work*, which defers a change, when there is room for one, and answer at once."""
        await self._wait_for_room(request, size_bytes)
        answer, failure = None, 0
        try:
            answer = work(*arguments)
        except Exception as error:
            failure = self._errno_of(error, work, arguments)
        self._record_latency(OperationClass.METADATA, request)
        if failure:
            raise FUSEError(failure)
        return answer

    async def _wait_for_room(self, request: Request, size_bytes: int) -> Request:
        """Wait until so much more may be pending. Returns the request as which to go on."""
        if self.write_back.has_room_for(size_bytes):
            return request
        try:
            await self.write_back.room_for(size_bytes)
        except OSError as error:
            raise FUSEError(error.errno or errno.EIO) from error
        return request.restarted()

    def _record_latency(self, operation_class: OperationClass, request: Request) -> None:
        observed_ns = time.monotonic_ns() - request.arrival_ns
        self.write_back.acknowledged.add(operation_class, 0, observed_ns)

    async def _write_through(
        self,
        request: Request,
        inodes: Sequence[Inode | None],
        handler: Callable[..., Coroutine[Any, Any, Any]],
        *arguments: Any,
    ) -> Any:
        """Have *handler* ask the host, once that has everything that is pending of *inodes*."""
        request = await self._flush(request, *inodes)
        return await handler(request, *arguments)

    async def _flush(self, request: Request, *inodes: Inode | None) -> Request:
        """Wait until the host has what the guest has changed of *inodes*, and what that needs.

        Returns the request as which to go on.
        """
        needed = max((self._needed(each) for each in inodes if each is not None), default=0)
        return await self._wait_flushed(request, needed)

    async def _wait_flushed(self, request: Request, sequence: int) -> Request:
        """Wait until the host has all changes up to this one."""
        if sequence < self.write_back.changes.oldest_sequence:
            return request
        try:
            await self.write_back.wait_flushed(sequence)
        except OSError as error:
            raise FUSEError(error.errno or errno.EIO) from error
        return request.restarted()  # what follows is a request of its own

    def _needed(self, inode: Inode) -> int:
        """The last change that *inode* needs to be what and where the guest has it.

        Of a directory that includes its names.
        """
        sequence = inode.overlay.last_sequence if inode.overlay is not None else 0
        here: Inode | None = inode
        for _ in range(_DEEPEST):
            if here is None:
                break
            if here.overlay is not None:
                sequence = max(sequence, here.overlay.own_sequence)
            here = guest_parent(here)
        return sequence

    # What a server that is not root may do

    def _permits(self, inode: Inode, wanted: int) -> bool:
        """Whether the pending modes, or else the host, let us. Raises OSError."""
        if self._privileged:
            return True
        overlay = inode.overlay
        mode = overlay.mode if overlay is not None else None
        if overlay is not None and overlay.local_only:
            return ((mode or 0) >> 6) & wanted == wanted  # it will be our own
        if mode is None:
            with self._backing.pinned(inode) as fd:
                return os.access(magic_link(fd), wanted, effective_ids=True)
        status = self._backing.status(inode)
        if status.st_uid == os.geteuid():
            mode >>= 6
        elif status.st_gid == os.getegid() or status.st_gid in os.getgroups():
            mode >>= 3
        return mode & wanted == wanted

    def _check_permits(self, inode: Inode, wanted: int) -> None:
        if not self._permits(inode, wanted):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    def _check_search(self, directory: Inode | None) -> None:
        """Whether we shall get into *directory* from the root. Raises OSError.

        That we have a descriptor of it now does not help when a change of it crosses.
        """
        here = directory
        for _ in range(0 if self._privileged else _DEEPEST):
            if here is None:
                return
            self._check_permits(here, _SEARCH)
            here = guest_parent(here)

    def _mode_is_pending(self, inode: Inode | None) -> bool:
        """Whether the host has other modes yet, of *inode* or of a directory above it."""
        for _ in range(_DEEPEST):
            if inode is None:
                return False
            if inode.overlay is not None and inode.overlay.mode is not None:
                return True
            inode = guest_parent(inode)
        return False

    def _as_permitted(
        self,
        request: Request,
        directories: Sequence[Inode | None],
        handler: Callable[..., Coroutine[Any, Any, Any]],
        *arguments: Any,
    ) -> Coroutine[Any, Any, Any]:
        """Ask *handler* about names in these *directories*, if the modes let us get there."""
        if self._privileged:
            return handler(request, *arguments)
        return self._once_allowed(
            request, directories, self._when_found, directories, handler, *arguments
        )

    async def _when_found(
        self,
        request: Request,
        directories: Sequence[Inode | None],
        handler: Callable[..., Coroutine[Any, Any, Any]],
        *arguments: Any,
    ) -> Any:
        for directory in directories:
            await self._calls.answer(request, self._check_search, directory)
        return await handler(request, *arguments)

    async def _once_allowed(
        self,
        request: Request,
        inodes: Sequence[Inode | None],
        handler: Callable[..., Coroutine[Any, Any, Any]],
        *arguments: Any,
    ) -> Any:
        """*handler*, and again if the host refuses what the modes allow that it has not got."""
        try:
            return await handler(request, *arguments)
        except FUSEError as error:
            if error.errno != errno.EACCES or not any(map(self._mode_is_pending, inodes)):
                raise
        request = await self._flush(request, *inodes)
        return await handler(request, *arguments)

    # What the guest is shown

    def _in_guest(self, parent: Inode, name: bytes) -> tuple[Inode | None, Status]:
        """What the guest has by *name*: its inode, if it is known, and what it is like.

        Raises OSError: ENOENT.
        """
        overlay = parent.overlay
        if overlay is not None:
            known = overlay.name(name)
            if known is not None:
                if known.inode is None:
                    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
                return known.inode, self._view.status(known.inode)
            if overlay.local_only:
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        dir_fd = self._backing.directory_fd(parent)
        status = os.stat(name, dir_fd=dir_fd, follow_symlinks=False)
        inode = self._inodes.find(status)
        if inode is not None and inode.overlay is not None:
            return inode, laid_over(inode.overlay, status)
        return inode, status

    def inode_called(self, parent_number: int, requested: bytes) -> Inode | None:
        """The inode that the guest has by *requested*, if the kernel knows it. OSError: ENOENT."""
        return self._in_guest(self._inodes[parent_number], requested)[0]

    def _exists_in_guest(self, parent: Inode, name: bytes) -> bool:
        try:
            self._in_guest(parent, name)
        except FileNotFoundError:
            return False
        return True

    def _is_empty(self, directory: Inode) -> bool:
        overlay = directory.overlay
        names = (overlay.names if overlay is not None else None) or {}
        if any(each.inode is not None for each in names.values()):
            return False
        if directory.is_local_only:
            return True
        fd = self._backing.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            with os.scandir(fd) as entries:
                return all(os.fsencode(entry.name) in names for entry in entries)
        finally:
            os.close(fd)

    # What the host has not taken

    async def release(self, request: Request, fh: int) -> None:
        """RELEASE: close *fh*, and what fsync(2) had to say by it."""
        self._side.sync_errors.closed(fh)
        await self.next.release(request, fh)

    # Names

    def lookup(
        self, request: Request, parent_inode: int, name: bytes, ctx: RequestContext
    ) -> Coroutine[Any, Any, EntryAttributes]:
        """LOOKUP: of pending names without a crossing, if it can be. Raises FUSEError."""
        if self._privileged:
            return self._look_up(request, parent_inode, name, ctx)
        return self._as_permitted(
            request, (self._inodes[parent_inode],), self._look_up, parent_inode, name, ctx
        )

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
                return self._calls.answer(request, _too_long)
            if known is not None or overlay.local_only:
                return self.next.answer_missing(parent, name)
        return self.next.lookup(request, parent_inode, name, ctx)

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
            request = await self._flush_stale(request, inode)
        else:
            return entry
        known = parent.overlay.name(name) if parent.overlay is not None else None
        if known is not None and known.inode is inode:
            raise FUSEError(errno.ESTALE)  # it was changed again meanwhile
        return await self._look_up(request, parent.number, name, ctx)

    async def _flush_stale(self, request: Request, inode: Inode) -> Request:
        """Flush what is pending of *inode*. Raises FUSEError (ESTALE) where that cannot be."""
        try:
            return await self._flush(request, inode)
        except FUSEError:
            raise FUSEError(errno.ESTALE) from None

    def _check_new(self, parent: Inode, name: bytes, *, is_object: bool = True) -> None:
        """Whether *name* can be made in *parent*, and an object for it. Raises OSError."""
        self.write_back.pending.check_not_aside(parent)
        if len(name) > self._limits.name_bytes:
            _too_long()
        if self._exists_in_guest(parent, name):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
        self._check_may_change(parent)
        self._check_room(0, objects=1 if is_object else 0)

    def _check_may_change(self, directory: Inode) -> None:
        """Whether the host will let us change names in *directory*. Raises OSError."""
        if self._privileged:
            return
        self._check_search(directory)
        self._check_permits(directory, _WRITE | _SEARCH)

    def _check_room(self, size_bytes: int, *, objects: int = 0) -> None:
        """Whether the host has room for all that is pending, and for this. Raises OSError."""
        now_ns = time.monotonic_ns()
        if now_ns - self._room_read_ns > _READ_ROOM_NS:
            self._read_room(now_ns)
            self._deferral.check_mounts()
        if not self._has_room(size_bytes, objects):
            if self._room_read_ns != now_ns:
                self._read_room(now_ns)
            if not self._has_room(size_bytes, objects):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _read_room(self, now_ns: int) -> None:
        host = os.fstatvfs(self._inodes.root.path_fd)
        if host.f_flag & os.ST_RDONLY:
            raise OSError(errno.EROFS, os.strerror(errno.EROFS))
        unlimited = 1 << 62
        self._room_bytes = self._room_objects = unlimited
        self._block_bytes = 0
        if host.f_blocks:
            spare = min(_SPARE_BYTES, host.f_blocks * host.f_frsize // 4)
            self._room_bytes = host.f_bavail * host.f_frsize - spare
            self._block_bytes = host.f_frsize
        if host.f_files:  # some file systems have inodes as long as they have room
            self._room_objects = host.f_favail
        self._room_read_ns = now_ns

    def _has_room(self, size_bytes: int, objects: int) -> bool:
        changes = self.write_back.changes
        objects += changes.to_make
        if self._limits.links_take_inodes:
            objects += changes.links
        if objects > self._room_objects:
            return False
        if self._room_objects - objects < _FEW_OBJECTS:
            self._room_read_ns = _NEVER_NS  # what crosses meanwhile counts: look again each time
        return changes.bytes + size_bytes + objects * self._block_bytes <= self._room_bytes

    def _defer_make(
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
            self.write_back.defer(change)
        except BaseException:
            drop_overlay(inode)
            self._inodes.remove(inode)
            raise
        self._names_changed(parent, now_ns)
        self._side.has_name(parent, name)
        inode.changed_ns = now_ns
        return inode

    def _made_in_guest(
        self, parent_number: int, name: bytes, mode: int, ctx: RequestContext, target: bytes = b""
    ) -> EntryAttributes:
        parent = self._inodes[parent_number]
        inode = self._defer_make(parent, name, mode, ctx, target)
        return self._view.pending_entry(parent, name, inode, ctx)

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
        handler = self.next.mknod
        parent = self._inodes[parent_inode]
        if modes.S_ISREG(mode) and self._may_defer_in(request, parent):
            return self._as_permitted(
                request,
                (parent,),
                self._defer,
                0,
                self._made_in_guest,
                parent_inode,
                name,
                mode,
                ctx,
            )
        return self._as_permitted(
            request,
            (parent,),
            self._write_through,
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
        handler = self.next.mkdir
        parent = self._inodes[parent_inode]
        if not self._may_defer_in(request, parent) or not self._may_have_more_links(parent):
            return self._as_permitted(
                request,
                (parent,),
                self._write_through,
                (parent,),
                handler,
                parent_inode,
                name,
                mode,
                ctx,
            )
        mode = modes.S_IFDIR | modes.S_IMODE(mode)
        return self._as_permitted(
            request, (parent,), self._defer, 0, self._made_in_guest, parent_inode, name, mode, ctx
        )

    def symlink(
        self, request: Request, parent_inode: int, name: bytes, target: bytes, ctx: RequestContext
    ) -> Coroutine[Any, Any, EntryAttributes]:
        """SYMLINK: local-only at first, if that may be deferred. Raises FUSEError."""
        handler = self.next.symlink
        parent = self._inodes[parent_inode]
        if not self._may_defer_in(request, parent) or len(target) > self._limits.link_target_bytes:
            return self._as_permitted(
                request,
                (parent,),
                self._write_through,
                (parent,),
                handler,
                parent_inode,
                name,
                target,
                ctx,
            )
        return self._as_permitted(
            request,
            (parent,),
            self._defer,
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
            and self._may_have_more_links(target)
            and self._is_ours(target)
        ):
            return self._as_permitted(
                request,
                (parent, source),
                self._defer,
                0,
                self._defer_link,
                target,
                parent,
                new_name,
                ctx,
            )
        handler = self.next.link
        arguments = (inode, new_parent_inode, new_name, ctx)
        return self._as_permitted(
            request, (parent, source), self._write_through, (parent, target), handler, *arguments
        )

    def _may_have_more_links(self, inode: Inode) -> bool:
        """Whether every file system lets *inode* have one more. Else the host shall say."""
        status, _ = self._attempt(self._view.status, inode)
        return status is not None and status.st_nlink < self._limits.links

    def _is_ours(self, inode: Inode) -> bool:
        """Who is not root may not link what belongs to others (proc(5), protected_hardlinks)."""
        if self._privileged or inode.is_local_only:
            return True
        status, _ = self._attempt(self._backing.status, inode)
        return status is not None and status.st_uid == os.geteuid()

    def _defer_link(
        self, target: Inode, parent: Inode, name: bytes, ctx: RequestContext
    ) -> EntryAttributes:
        self._check_new(parent, name, is_object=self._limits.links_take_inodes)
        if not self._may_defer(None, target):  # it has lost its name while this waited
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        now_ns = time.time_ns()
        change = Change(
            Kind.LINK, target, time.monotonic_ns(), parent, name, detail=OtherDetail(now_ns)
        )
        self.write_back.defer(change)
        overlay_of(target).ctime_ns = now_ns
        self._names_changed(parent, now_ns)
        self._side.has_name(parent, name)
        return self._view.pending_entry(parent, name, target, ctx)

    def unlink(
        self, request: Request, parent_inode: int, name: bytes, ctx: RequestContext
    ) -> Coroutine[Any, Any, None]:
        """UNLINK: a pending removal, if that may be deferred. Raises FUSEError."""
        handler = self.next.unlink
        return self._as_permitted(
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
        handler = self.next.rmdir
        return self._as_permitted(
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
        request = await self._wait_for_room(request, 0)
        found, failure = self._attempt(self._in_guest, parent, name)
        if failure:
            raise FUSEError(failure)
        inode = found[0]
        if (
            inode is None
            or not self._may_defer_in(request, parent)
            or not self._may_defer(request, inode)
        ):
            await self._write_through(request, (parent, inode), handler, parent_number, name, ctx)
            return
        asks_host = kind is Kind.RMDIR and not inode.is_local_only
        _, failure = self._attempt(self._defer_removal, kind, parent, name)
        if failure == errno.EACCES and not self._privileged:
            # We may not see whether it is empty; or may not at all, which the host will say.
            await self._write_through(request, (parent, inode), handler, parent_number, name, ctx)
            return
        if asks_host:
            # Only the host knows whether a directory of its own is empty.
            await self._crossings.cross(original, Operation.READDIRPLUS, 0)
        else:
            self._record_latency(OperationClass.METADATA, original)
        if failure:
            raise FUSEError(failure)

    def _defer_removal(self, kind: Kind, parent: Inode, name: bytes) -> None:
        inode, status = self._in_guest(parent, name)
        if inode is None:
            # The host has put another object there since it was looked at: the guest's kernel
            # shall look again.
            raise StaleError
        self._check_may_change(parent)
        if kind is Kind.RMDIR:
            if not inode.is_directory:
                raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
            if not self._is_empty(inode):
                raise OSError(errno.ENOTEMPTY, os.strerror(errno.ENOTEMPTY))
        elif inode.is_directory:
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        now_ns = time.time_ns()
        is_last = inode.is_directory or status.st_nlink <= 1
        self._record_seen(inode)
        change = Change(kind, inode, time.monotonic_ns(), parent, name, detail=OtherDetail(now_ns))
        self.write_back.defer(change, orphaned=[inode] if is_last else [])
        if inode.overlay is not None:
            inode.overlay.ctime_ns = now_ns
        self._names_changed(parent, now_ns)
        self._drop_sent_dentry(parent, name, inode)

    @staticmethod
    def _names_changed(directory: Inode, now_ns: int) -> None:
        """A change of its names is pending, unless it has been cancelled at once."""
        overlay = directory.overlay
        if overlay is not None:
            overlay.mtime_ns = overlay.ctime_ns = now_ns

    @staticmethod
    def _drop_sent_dentry(parent: Inode, name: bytes, inode: Inode) -> None:
        """What was never on the host is not looked for among its changes."""
        if inode.host_number == 0 and parent.sent_dentry(name) is inode:
            assert parent.sent_dentries is not None
            del parent.sent_dentries[name]

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
        return self._as_permitted(
            request, directories, self._rename_in_guest, self.next.rename, arguments
        )

    async def _rename_in_guest(
        self, request: Request, handler: Callable[..., Coroutine[Any, Any, None]], arguments: Any
    ) -> None:
        old_number, old_name, new_number, new_name, flags, _ = arguments
        original = request
        old_parent, new_parent = self._inodes[old_number], self._inodes[new_number]
        request = await self._wait_for_room(request, 0)
        found, failure = self._attempt(self._in_guest, old_parent, old_name)
        if failure:
            raise FUSEError(failure)
        moving = found[0]
        there, failure = self._attempt(self._in_guest, new_parent, new_name)
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
                or self._may_have_more_links(new_parent)
            )
        )
        if not deferrable:
            if self._overlaps is not None:
                # A directory may take what is pending below it to where nothing may be.
                request = await self._wait_flushed(request, self.write_back.changes.last_sequence)
            involved = (old_parent, new_parent, moving, replaced)
            await self._write_through(request, involved, handler, *arguments)
            return
        assert moving is not None
        asks_host = replaced is not None and replaced.is_directory and not replaced.is_local_only
        _, failure = self._attempt(
            self._defer_rename, moving, old_parent, old_name, new_parent, new_name, flags
        )
        if failure == errno.EACCES and not self._privileged:
            # As in _take_away.
            involved = (old_parent, new_parent, moving, replaced)
            await self._write_through(request, involved, handler, *arguments)
            return
        if asks_host:
            await self._crossings.cross(original, Operation.READDIRPLUS, 0)
        else:
            self._record_latency(OperationClass.METADATA, original)
        if failure:
            raise FUSEError(failure)

    def _defer_rename(
        self,
        moving: Inode,
        old_parent: Inode,
        old_name: bytes,
        new_parent: Inode,
        new_name: bytes,
        flags: int,
    ) -> None:
        if len(new_name) > self._limits.name_bytes:
            _too_long()
        replaced: Inode | None = None
        try:
            replaced, status = self._in_guest(new_parent, new_name)
        except FileNotFoundError:
            status = None
        orphaned: list[Inode] = []
        if replaced is not None and status is not None:
            if flags & pyfuse3.RENAME_NOREPLACE:
                raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
            if replaced is moving:
                return  # two names of one file: rename(2) does nothing
        self._check_may_change(old_parent)
        self._check_may_change(new_parent)
        if replaced is not None and status is not None:
            self._check_replaceable(moving, replaced)
            if replaced.is_directory or status.st_nlink <= 1:
                orphaned.append(replaced)
            self._record_seen(replaced)
        if moving.is_directory and old_parent is not new_parent:
            self._check_permits(moving, _WRITE)  # its ".." changes
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
        self.write_back.defer(change, orphaned=orphaned)
        overlay = overlay_of(moving)
        overlay.ctime_ns = now_ns
        overlay.guest_place = new_parent, new_name
        if replaced is not None:
            if replaced.overlay is not None:
                replaced.overlay.ctime_ns = now_ns
            self._drop_sent_dentry(new_parent, new_name, replaced)
        self._drop_sent_dentry(old_parent, old_name, moving)
        self._names_changed(old_parent, now_ns)
        self._names_changed(new_parent, now_ns)
        self._side.has_name(new_parent, new_name)

    def _check_replaceable(self, moving: Inode, replaced: Inode) -> None:
        if moving.is_directory and not replaced.is_directory:
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        if replaced.is_directory:
            if not moving.is_directory:
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
            if not self._is_empty(replaced):
                raise OSError(errno.ENOTEMPTY, os.strerror(errno.ENOTEMPTY))

    def _record_seen(self, inode: Inode) -> None:
        """What the host's file is like, before the guest first changes it."""
        if inode.kind != modes.S_IFREG or inode.is_local_only:
            return
        overlay = overlay_of(inode)
        if overlay.seen is None:
            status, failure = self._attempt(self._backing.status, inode)
            if not failure:
                overlay.seen = what_is_seen(status)

    # Attributes

    def getattr(
        self, request: Request, inode: int, ctx: RequestContext
    ) -> Coroutine[Any, Any, EntryAttributes]:
        """GETATTR: the host's attributes overlaid, or local ones. Raises FUSEError."""
        node = self._inodes[inode]
        if node.is_local_only:
            return self._calls.answer(request, self._local_attributes, node, ctx)
        return self._ask_host(request, (node,), self.next.getattr, inode, ctx)

    def _ask_host(
        self,
        request: Request,
        inodes: Sequence[Inode | None],
        handler: Callable[..., Coroutine[Any, Any, Any]],
        *arguments: Any,
    ) -> Coroutine[Any, Any, Any]:
        """What *handler* asks of the host, modes may be in the way of."""
        if self._privileged:
            return handler(request, *arguments)
        return self._once_allowed(request, inodes, handler, *arguments)

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
        handler = self.next.setattr
        too_large = fields.update_size and attr.st_size > self._limits.file_bytes
        # What is open may be set by that, which the kernel does not always say.
        directories = () if node.open_fds else (guest_parent(node),)
        if not self._may_defer(request, node) or too_large:
            arguments = (inode, attr, fields, fh, ctx)
            return self._as_permitted(
                request, directories, self._write_through, (node,), handler, *arguments
            )
        return self._as_permitted(
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
        request = await self._wait_for_room(request, 0)
        if not self._may_defer(request, inode):  # it has lost its name while this waited
            return await handler(request, inode.number, attr, fields, fh, ctx)
        entry, failure = self._attempt(self._defer_attributes, inode, attr, fields, fh, ctx)
        self._record_latency(OperationClass.METADATA, original)
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
                mode = self._cleared_set_id(status.st_mode)
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
        self._defer_set(inode, detail)
        if size is not None and fh is not None:
            # Who has it open may cut it, whatever its mode has become.
            self.write_back.pending.descriptors.keep(inode, overlay_of(inode), fh)
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
                self.write_back.pending.descriptors.keep(inode, overlay, fd)
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
        is_ours = self._is_ours(inode)
        sets_mode = fields.update_mode and not (
            # As before a write, which is the host's to do then.
            only_clears_set_id(self._view.status(inode).st_mode, modes.S_IMODE(wanted.st_mode))
            and self._permits(inode, _WRITE)
        )
        if not is_ours and (sets_mode or fields.update_atime or fields.update_mtime):
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))
        changes_owner = fields.update_uid or fields.update_gid
        if not is_ours and changes_owner and not self._permits(inode, _WRITE):
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))
        if fields.update_size and fh is None:
            self._check_permits(inode, _WRITE)

    @staticmethod
    def _cleared_set_id(mode: int) -> int | None:
        """The bits of *mode* without set-id bits, if it had any that end."""
        kept = without_set_id(modes.S_IMODE(mode))
        return None if kept == modes.S_IMODE(mode) else kept

    def _defer_set(self, inode: Inode, detail: SetDetail) -> None:
        """The guest sets attributes. Raises OSError."""
        self.write_back.pending.check_not_aside(inode)
        self._record_seen(inode)
        overlay = overlay_of(inode)
        if not overlay.orphan:
            self._check_room(0)
            change = Change(Kind.SET, inode, time.monotonic_ns(), detail=detail)
            self.write_back.defer(change)
        overlay.ctime_ns = detail.at_ns
        if detail.size is not None:
            if overlay.content is None:
                overlay.content = Extents()
            cut = overlay.content.truncate(detail.size)
            if overlay.orphan:
                self.write_back.pending.free(cut)
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
            return self._calls.answer(request, self._pending_link_target, node)
        return self._ask_host(request, (node,), self.next.readlink, inode, ctx)

    @staticmethod
    def _pending_link_target(inode: Inode) -> bytes:
        assert inode.overlay is not None
        return inode.overlay.link_target

    def access(
        self, request: Request, inode: int, mode: int, ctx: RequestContext
    ) -> Coroutine[Any, Any, bool]:
        """ACCESS: by the pending mode, if there is one. Raises FUSEError."""
        node = self._inodes[inode]
        if node.overlay is not None and node.overlay.mode is not None:
            return self._calls.answer(request, self._may_access, node, mode)
        return self._ask_host(request, (node,), self.next.access, inode, mode, ctx)

    def _may_access(self, inode: Inode, mode: int) -> bool:
        """As access(2) would say to the server, whose the object will be."""
        assert inode.overlay is not None
        bits = inode.overlay.mode or 0
        if self._privileged:
            return not mode & os.X_OK or inode.is_directory or bool(bits & 0o111)
        return self._permits(inode, mode)

    # Files

    def open(
        self, request: Request, inode: int, flags: int, ctx: RequestContext
    ) -> Coroutine[Any, Any, FileInfo]:
        """OPEN: of a local-only file without a crossing; O_TRUNC is deferred. FUSEError."""
        if self._privileged:
            return self._open_in_guest(request, inode, flags, ctx)
        node = self._inodes[inode]
        return self._once_allowed(request, (node,), self._open_permitted, node, flags, ctx)

    async def _open_permitted(
        self, request: Request, inode: Inode, flags: int, ctx: RequestContext
    ) -> FileInfo:
        await self._calls.answer(request, self._check_open, inode, flags)
        return await self._open_in_guest(request, inode.number, flags, ctx)

    def _check_open(self, inode: Inode, flags: int) -> None:
        """Whether the pending modes let us open it so. Raises OSError."""
        if not inode.open_fds:
            self._check_search(guest_parent(inode))
        overlay = inode.overlay
        if overlay is None or overlay.mode is None or overlay.orphan:
            return
        wanted = {os.O_RDONLY: _READ, os.O_WRONLY: _WRITE}.get(flags & os.O_ACCMODE, _READ | _WRITE)
        self._check_permits(inode, wanted | (_WRITE if flags & os.O_TRUNC else 0))

    def _open_in_guest(
        self, request: Request, inode: int, flags: int, ctx: RequestContext
    ) -> Coroutine[Any, Any, FileInfo]:
        node = self._inodes[inode]
        if node.is_local_only:
            return self._open_while_local(request, node, flags, ctx)
        if self._kernel_writes_back and flags & os.O_ACCMODE == os.O_WRONLY:
            return self._open_to_fill_pages(request, self.next.open, node, flags, ctx)
        if flags & os.O_TRUNC and self._may_defer(request, node):
            return self._open_and_cut(request, self.next.open, node, flags, ctx)
        return self.next.open(request, inode, flags, ctx)

    async def _open_while_local(
        self, request: Request, inode: Inode, flags: int, ctx: RequestContext
    ) -> FileInfo:
        request = await self._wait_for_room(request, 0)
        if inode.is_local_only:
            return await self._defer(request, 0, self._open_local, inode, flags, ctx)  # type: ignore[no-any-return]
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
        request = await self._wait_for_room(request, 0)
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
            mode = self._cleared_set_id(status.st_mode)
        self._defer_set(inode, SetDetail(0, mode, None, None, None, None, time.time_ns()))

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
            handler = self.next.create
            return self._as_permitted(
                request,
                (parent,),
                self._write_through,
                (parent,),
                handler,
                parent_inode,
                name,
                mode,
                flags,
                ctx,
            )
        return self._as_permitted(
            request,
            (parent,),
            self._defer,
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
                inode = self._defer_make(parent, name, modes.S_IFREG | modes.S_IMODE(mode), ctx)
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
        answer, failure = self._attempt(self._read_dirty, inode, fh, off, size)
        if failure:
            raise FUSEError(failure)
        data, of_host = answer
        if of_host:
            await self._crossings.cross(request, Operation.READ, of_host)
        return bytes(data)

    def _read_dirty(self, inode: Inode, fd: int, offset: int, size: int) -> tuple[bytearray, int]:
        """The bytes, and how many of them the host had to be asked for."""
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
            request = await self._flush(request, inode)
            return await self.next.write(request, fh, off, buf)
        original = request
        has_waited = False
        if not self.write_back.has_room_for(length):
            request = await self._wait_for_room(request, length)
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
            return await self.next.write(request, fh, off, buf)
        if not failure:
            try:
                if not is_put:
                    data.put(place, buf)
                self._defer_write(inode, fh, off, length, place)
            except Exception as error:
                failure = self._errno_of(error, self._defer_write, (inode, fh, off, length, place))
        if failure:
            data.free(place, length)
            raise FUSEError(failure)
        if fh in self._handles.synchronous:
            await self._sync(request, inode, fh, datasync=True)
        self._record_latency(OperationClass.WRITE, original)
        return length

    def _defer_write(self, inode: Inode, fd: int, offset: int, length: int, place: int) -> None:
        """The guest has written *length* bytes, which are kept at *place*. Raises OSError."""
        self.write_back.pending.check_not_aside(inode)
        self._check_room(length)
        if inode.overlay is None or inode.overlay.seen is None:
            self._record_seen(inode)
        overlay = overlay_of(inode)
        size = overlay.size
        if size is None:
            size = 0 if overlay.local_only else os.fstat(fd).st_size
        if fd in self._handles.appending:
            offset = size
        if fd in self._handles.clearing_set_id:
            mode = self._cleared_set_id(self._view.status(inode).st_mode)
            if mode is not None:
                self._defer_set(
                    inode, SetDetail(None, mode, None, None, None, None, time.time_ns())
                )
        now_ns = time.time_ns()
        detail = OtherDetail(now_ns)
        pending = self.write_back.pending
        if not overlay.orphan and not pending.extend(inode, offset, length, place, detail):
            self.write_back.pending.descriptors.keep(inode, overlay, fd)
            change = Change(
                Kind.WRITE,
                inode,
                time.monotonic_ns(),
                offset=offset,
                length=length,
                position=place,
                detail=detail,
            )
            try:
                self.write_back.defer(change)
            except OSError:
                self.write_back.pending.drop_unused(inode)
                raise
        if overlay.content is None:
            overlay.content = Extents()
        replaced = overlay.content.write(offset, length, place)
        if overlay.orphan:
            self.write_back.pending.free(replaced)
        overlay.size = max(size, offset + length)
        overlay.mtime_ns = overlay.ctime_ns = now_ns
        inode.changed_ns = now_ns

    async def flush(self, request: Request, fh: int) -> None:
        """FLUSH: nothing, since close(2) is no sync; else the next one's. Raises FUSEError."""
        if not self._may_defer(request, self._files[fh]):
            await self.next.flush(request, fh)

    async def fsync(self, request: Request, fh: int, datasync: bool) -> None:
        """FSYNC: flush what is pending of the file, then sync it on the host. FUSEError."""
        await self._sync(request, self._files[fh], fh, datasync=datasync)

    async def _sync(self, request: Request, inode: Inode, fh: int, *, datasync: bool) -> None:
        await self._flush(request, inode)
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

    # Directories

    def opendir(
        self, request: Request, inode: int, ctx: RequestContext
    ) -> Coroutine[Any, Any, int]:
        """OPENDIR: of a local-only directory without a crossing. Raises FUSEError."""
        node = self._inodes[inode]
        if node.is_local_only:
            return self._calls.answer(request, self._open_local_directory, node, ctx)
        if self._privileged:
            return self.next.opendir(request, inode, ctx)
        return self._once_allowed(request, (node,), self._open_directory_permitted, node, ctx)

    async def _open_directory_permitted(
        self, request: Request, inode: Inode, ctx: RequestContext
    ) -> int:
        await self._calls.answer(request, self._check_open, inode, os.O_RDONLY)
        return await self.next.opendir(request, inode.number, ctx)

    def _open_local_directory(self, inode: Inode, ctx: RequestContext) -> int:
        self._check_open(inode, os.O_RDONLY)
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
                await self._once_allowed(
                    request,
                    (directory,),
                    self._calls.answer,
                    self._side.open_directory,
                    fh,
                    directory,
                )
        if not listing.directory.is_local_only:
            try:
                await self.next.readdir(request, fh, start_id, token)
            except FUSEError as error:
                if error.errno != errno.ESTALE:
                    raise
                # The host has taken away what the guest has put in it: see _look_up_held().
                request = await self._flush_stale(request, listing.directory)
                listing.pending_names = {}
                await self.next.readdir(request, fh, start_id, token)
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
        await self.next.releasedir(request, fh)

    async def fsyncdir(self, request: Request, fh: int, datasync: bool) -> None:
        """FSYNCDIR: flush what is pending in it, then sync it on the host. FUSEError."""
        directory = self._handles.listings[fh].directory
        await self._flush(request, directory)
        self._side.check_synced(fh, directory)
        if directory.is_local_only:
            return
        if fh in self._side.unopened:
            await self._calls.answer(request, self._side.open_directory, fh, directory)
        await self.next.fsyncdir(request.restarted(), fh, datasync)

    # Extended attributes: the host's at once, and after what is pending of the object.

    def setxattr(
        self, request: Request, inode: int, name: bytes, value: bytes, ctx: RequestContext
    ) -> Coroutine[Any, Any, None]:
        """SETXATTR: on the host, once that has what is pending. Raises FUSEError."""
        return self._with_attributes(request, self.next.setxattr, name, inode, name, value, ctx)

    def removexattr(
        self, request: Request, inode: int, name: bytes, ctx: RequestContext
    ) -> Coroutine[Any, Any, None]:
        """REMOVEXATTR: on the host, once that has what is pending. Raises FUSEError."""
        return self._with_attributes(request, self.next.removexattr, name, inode, name, ctx)

    async def _with_attributes(
        self,
        request: Request,
        handler: Callable[..., Coroutine[Any, Any, None]],
        name: bytes,
        number: int,
        *arguments: Any,
    ) -> None:
        await self._calls.answer(request, self._guest_attributes.check, name)
        await self._write_through(request, (self._inodes[number],), handler, number, *arguments)

    def getxattr(
        self, request: Request, inode: int, name: bytes, ctx: RequestContext
    ) -> Coroutine[Any, Any, bytes]:
        """GETXATTR: the host's; ENODATA where it is local-only. Raises FUSEError."""
        node = self._inodes[inode]
        if node.is_local_only:
            return self._calls.answer(request, self._no_attribute, name)
        return self._ask_host(request, (node,), self.next.getxattr, inode, name, ctx)

    def _no_attribute(self, name: bytes) -> bytes:
        self._guest_attributes.check(name)
        raise OSError(errno.ENODATA, os.strerror(errno.ENODATA))

    def listxattr(
        self, request: Request, inode: int, ctx: RequestContext
    ) -> Coroutine[Any, Any, Sequence[bytes]]:
        """LISTXATTR: the host's; none where it is local-only. Raises FUSEError."""
        if self._inodes[inode].is_local_only:
            return self._calls.answer(request, self._no_attributes)
        return self.next.listxattr(request, inode, ctx)

    def _no_attributes(self) -> Sequence[bytes]:
        self._guest_attributes.check(b"")
        return ()


_DEEPEST = 4_096


def _too_long() -> None:
    raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))
