"""The requests of a share whose guest keeps its changes for a while: the contract's ``delegated``.

A change is checked against what the guest is shown, noted down (writeback.py), and answered
without a crossing. What the guest asks is answered from what is held where that says it all,
and else by the host, with what is held laid over it. So every process of the guest sees the
guest's changes at once and in every way.

Not held back, but made on the host at once, after what they follow from: sockets, FIFOs and
devices (DEL-8), extended attributes, exchanges of two names, objects without a name on the host,
whatever lies where an overlapping export is stronger (DEL-5), in another mount below, or is
immutable, and what only the host can judge (host_limits.py): so it is refused at once, if it is.

A server that is not root is subject to modes. What a change is allowed to do is decided by the
modes that will hold when it crosses: the held ones, and the host's where none is held. What
they allow, and the host does not yet, waits until they have crossed.
"""

import errno
import fcntl
import os
import select
import stat as modes
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import pyfuse3
from pyfuse3 import EntryAttributes, FileInfo, FUSEError, ReaddirToken, RequestContext

from osxfs_sim.fs import at
from osxfs_sim.model.caching import NOT_BELIEVED, Lifetimes
from osxfs_sim.model.extents import ON_HOST, ZEROS, Extents
from osxfs_sim.model.operations import Operation, OperationClass
from osxfs_sim.model.write_back import Change, Kind
from osxfs_sim.mount import syscalls
from osxfs_sim.mount.events.injected_requests import AcknowledgingHandlers
from osxfs_sim.mount.events.invalidate import Attributes, Ending, Entry, Invalidator, Pages
from osxfs_sim.mount.loop.reactor import in_thread
from osxfs_sim.mount.loop.request import Request
from osxfs_sim.mount.requests.handlers import (
    DIRENTPLUS_BYTES,
    WRITE_IN_THREAD_BYTES,
    Listing,
    read_fully,
)
from osxfs_sim.mount.tree import generations
from osxfs_sim.mount.tree.backing import StaleError, magic_link
from osxfs_sim.mount.tree.host_limits import HostLimits, limits_of
from osxfs_sim.mount.tree.inodes import Facts, Inode, Shown
from osxfs_sim.mount.tree.owners import KnownCaller
from osxfs_sim.mount.tree.set_id import ends_set_id_alone, without_set_id
from osxfs_sim.mount.writeback.journal_format import MakeDetail, OtherDetail, SetDetail
from osxfs_sim.mount.writeback.overlay import (
    GuestStatus,
    drop_overlay,
    laid_over,
    name_effects,
    overlay_of,
    status_of_local_only,
)
from osxfs_sim.mount.writeback.restoring import what_is_seen
from osxfs_sim.mount.writeback.sync_errors import SyncErrors
from osxfs_sim.mount.writeback.writeback import WriteBack

_HELD_KINDS = (modes.S_IFREG, modes.S_IFDIR, modes.S_IFLNK)
_READ, _WRITE, _SEARCH = 4, 2, 1
# Who may not be changed, or not in all ways (chattr(1)): the host has to say.
_FIXED = syscalls.STATX_ATTR_IMMUTABLE | syscalls.STATX_ATTR_APPEND
_NOBODY = KnownCaller(-1, -1)
"""Asks for owners, and is told of -1 where none is set."""
# Room on the host that is left to others: a full disk is met when the guest writes, not later.
_SPARE_BYTES = 16 << 20
_LOOK_FOR_ROOM_NS = 50_000_000
_NEVER_NS = -2 * _LOOK_FOR_ROOM_NS  # also on a machine just booted
_FEW_OBJECTS = 1_000

_Status = os.stat_result | GuestStatus


class WriteBackHandlers(AcknowledgingHandlers):
    """The handlers of a share with write-back. *write_back* is set before the first request."""

    write_back: WriteBack

    def __init__(self, *arguments: Any) -> None:
        super().__init__(*arguments)
        self._null_fd = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        self._sync_errors = SyncErrors()
        self.end_answers: Callable[[dict[Ending, None]], None] = self._end_answers
        """Has the kernel believe these no more; of the host events, where there are any."""
        self._invalidator: Invalidator | None = None
        self._room_looked_ns = _NEVER_NS
        self._room_bytes = self._room_objects = self._block_bytes = 0
        root_fd = self._inodes.root.path_fd
        self._limits: HostLimits = limits_of(root_fd)
        self._mount_id = syscalls.more_status(root_fd, b"")[1]
        self._mounts_fd = os.open("/proc/self/mountinfo", os.O_RDONLY | os.O_CLOEXEC)
        self._mounts = select.poll()
        self._mounts.register(self._mounts_fd, select.POLLPRI)
        self._looked_by: Request | None = None
        """Whose look at the host what is below is of."""
        self._looked_at: set[Inode] = set()
        self._unopened: set[int] = set()
        """Handles of directories that could not be opened when the host got them."""

    def close(self) -> None:
        super().close()
        os.close(self._null_fd)
        os.close(self._mounts_fd)
        if self._invalidator is not None:
            self._invalidator.stop()

    # What may be held

    def _is_stronger(self, inode: Inode, request: Request | None = None) -> bool:
        """Whether changes of *inode*, or in it, must be on the host at once (DEL-5).

        So must those on another file system below the export: only the host knows what may
        move there, and whether there is room.
        """
        here: Inode | None = inode
        while here is not None and here.is_local_only:
            here = self._guest_parent(here)
        if here is None or here.device != self._inodes.root.device:
            return True
        # A device may be mounted in several places, between which nothing can be moved.
        facts = self._facts(here, request)
        if facts is not None and facts.mount_id not in (self._mount_id, 0):
            return True
        return self.overlaps is not None and self.overlaps.is_stronger(here)

    def _arrives(self, inode: Inode, directory: Inode) -> None:
        super()._arrives(inode, directory)
        if self._is_stronger(directory):
            # What is held of what lies below it must not wait any longer.
            write_back = self.write_back
            wanted = write_back.changes.last_sequence
            self._reactor.call_soon(lambda: write_back.flush_up_to(wanted))

    def _facts(self, inode: Inode, request: Request | None) -> Facts | None:
        """What the host says of *inode* since a change of it is held, or else now.

        None where it cannot be reached, or something else is there: the host shall answer.
        One *request* looks once.
        """
        facts = inode.facts
        if facts is not None and inode.overlay is not None and facts.mount_id:
            return facts
        if request is not None and request is self._looked_by:
            if inode in self._looked_at:
                return facts
        else:
            self._looked_by = request
            self._looked_at.clear()
        looked, failure = self._attempt(self._look, inode)
        if failure:
            return None
        if facts is not None and inode.overlay is not None:
            # What is held is of the object that it was.
            looked = looked._replace(generation=facts.generation)
        inode.facts = looked
        self._looked_at.add(inode)
        return looked  # type: ignore[no-any-return]

    def _look(self, inode: Inode) -> Facts:
        """Raises OSError."""
        if inode.is_directory and inode.parent is not None:
            # By its name: what may be mounted there, its descriptor does not show.
            dir_fd, name = self._backing.directory_fd(inode.parent), inode.name
            status = os.stat(name, dir_fd=dir_fd, follow_symlinks=False)
            if not inode.is_same(status):
                raise StaleError
        else:
            dir_fd, name, status = self._backing.find(inode)
            name = b"" if name == b"." else name
        facts = generations.look(dir_fd, name, status)
        owners = self._owners.ids(dir_fd, name, status, _NOBODY)
        inode.shown = Shown(status.st_mode, status.st_uid, status.st_gid, *owners)
        return facts

    def _look_for_mounts(self) -> None:
        """Has anything been mounted since? Then where it was has to be looked at again."""
        if self._mounts.poll(0):
            self._mount_id = syscalls.more_status(self._inodes.root.path_fd, b"")[1]
            for inode in self._inodes.all():
                if inode.facts is not None:
                    inode.facts = inode.facts._replace(mount_id=0)

    def _holds_in(self, request: Request, directory: Inode) -> bool:
        """Whether a name in *directory* may be held."""
        if self._is_stronger(directory, request):
            return False
        if directory.is_local_only:
            return True
        facts = self._facts(directory, request)
        if facts is None or facts.attributes & _FIXED:
            return False
        if self._privileged:
            return True
        # Who is not root cannot tell who may remove what from a sticky directory.
        status, _ = self._attempt(self._status, directory)
        return status is not None and not status.st_mode & modes.S_ISVTX

    def _holds(self, request: Request | None, inode: Inode) -> bool:
        """Whether a change of the object itself may be held."""
        if inode.kind not in _HELD_KINDS or inode is self._inodes.root:
            return False
        overlay = inode.overlay
        if overlay is not None and (overlay.local_only or overlay.orphan):
            return True
        if inode.parent is None or self._is_stronger(inode, request):
            return False
        facts = self._facts(inode, request)
        return facts is not None and not facts.attributes & _FIXED

    async def _hold(
        self, request: Request, size_bytes: int, work: Callable[..., Any], *arguments: Any
    ) -> Any:
        """Do *work*, which holds a change, when there is room for one, and answer at once."""
        await self._wait_for_room(request, size_bytes)
        answer, failure = self._attempt(work, *arguments)
        self._acknowledged(OperationClass.METADATA, request)
        if failure:
            raise FUSEError(failure)
        return answer

    async def _wait_for_room(self, request: Request, size_bytes: int) -> Request:
        """Wait until so much may be held. Returns the request as which to go on."""
        if self.write_back.has_room_for(size_bytes):
            return request
        try:
            await self.write_back.room_for(size_bytes)
        except OSError as error:
            raise FUSEError(error.errno or errno.EIO) from error
        return request.again()

    def _acknowledged(self, operation_class: OperationClass, request: Request) -> None:
        achieved_ns = time.monotonic_ns() - request.arrival_ns
        self.write_back.acknowledged.add(operation_class, 0, achieved_ns)

    async def _answer(self, request: Request, work: Callable[..., Any], *arguments: Any) -> Any:
        """An answer that needs nothing of the host."""
        del request
        answer, failure = self._attempt(work, *arguments)
        if failure:
            raise FUSEError(failure)
        return answer

    async def _through(
        self,
        request: Request,
        inodes: Sequence[Inode | None],
        handler: Callable[..., Coroutine[Any, Any, Any]],
        *arguments: Any,
    ) -> Any:
        """Have *handler* ask the host, once that has everything that is held of *inodes*."""
        request = await self._settle(request, *inodes)
        return await handler(request, *arguments)

    async def _settle(self, request: Request, *inodes: Inode | None) -> Request:
        """Wait until the host has what the guest has changed of *inodes*, and what that needs.

        Returns the request as which to go on.
        """
        needed = max((self._needed(each) for each in inodes if each is not None), default=0)
        return await self._reach(request, needed)

    async def _reach(self, request: Request, sequence: int) -> Request:
        """Wait until the host has all changes up to this one."""
        if sequence < self.write_back.changes.oldest_sequence:
            return request
        try:
            await self.write_back.wait_flushed(sequence)
        except OSError as error:
            raise FUSEError(error.errno or errno.EIO) from error
        return request.again()  # what follows is a request of its own

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
            here = self._guest_parent(here)
        return sequence

    # What a server that is not root may do

    def _permits(self, inode: Inode, wanted: int) -> bool:
        """Whether the modes that are held, or else the host, let us. Raises OSError."""
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
            here = self._guest_parent(here)

    def _mode_is_held(self, inode: Inode | None) -> bool:
        """Whether the host has other modes yet, of *inode* or of a directory above it."""
        for _ in range(_DEEPEST):
            if inode is None:
                return False
            if inode.overlay is not None and inode.overlay.mode is not None:
                return True
            inode = self._guest_parent(inode)
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
            await self._answer(request, self._check_search, directory)
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
            if error.errno != errno.EACCES or not any(map(self._mode_is_held, inodes)):
                raise
        request = await self._settle(request, *inodes)
        return await handler(request, *arguments)

    @staticmethod
    def _guest_parent(inode: Inode) -> Inode | None:
        if inode.overlay is not None and inode.overlay.guest_place is not None:
            return inode.overlay.guest_place[0]
        return inode.parent

    # What the guest is shown

    def _attributes(
        self, inode: Inode, status: Any, ids: tuple[int, int], believed: Lifetimes
    ) -> EntryAttributes:
        overlay = inode.overlay
        if overlay is not None:
            ids = overlay.owner.reported_to(*ids)
            if not overlay.local_only:
                status = laid_over(overlay, status)
        if inode.is_directory and status.st_mode != (inode.shown.mode if inode.shown else 0):
            owners = inode.shown[3:] if inode.shown is not None else ()
            inode.shown = Shown(status.st_mode, status.st_uid, status.st_gid, *owners)
        return super()._attributes(inode, status, ids, believed)

    def _status(self, inode: Inode) -> _Status:
        """What the guest is told that *inode* is like. Raises OSError."""
        overlay = inode.overlay
        if overlay is None:
            return self._backing.status(inode)
        if overlay.local_only:
            return status_of_local_only(inode)
        return laid_over(overlay, self._backing.status(inode))

    def _held_attributes(
        self, inode: Inode, name: bytes, caller: RequestContext, *, believes: bool
    ) -> EntryAttributes:
        """The attributes of an object that is reached by a held name, or not on the host."""
        overlay = inode.overlay
        status: Any
        believed = NOT_BELIEVED
        if overlay is not None and overlay.local_only:
            status, ids = status_of_local_only(inode), (caller.uid, caller.gid)
            if believes:
                believed = self.policy.found(name, status, time.time_ns())
        else:
            fd, host_name, status = self._backing.find(inode)
            ids = self._owners.ids(fd, host_name, status, caller)
            if believes:
                believed = self._believed(inode, status)
        return self._attributes(inode, status, ids, believed)

    def _held_entry(
        self, parent: Inode, name: bytes, inode: Inode, caller: RequestContext
    ) -> EntryAttributes:
        """As _held_attributes, for an answer that names the object."""
        believes = parent.followed is not False
        entry = self._held_attributes(inode, name, caller, believes=believes)
        inode.lookups += 1
        if parent.children is not None:
            parent.children[name] = inode
        return entry

    def _in_guest(self, parent: Inode, name: bytes) -> tuple[Inode | None, _Status]:
        """What the guest has by *name*: its inode, if it is known, and what it is like.

        Raises OSError: ENOENT.
        """
        overlay = parent.overlay
        if overlay is not None:
            known = overlay.name(name)
            if known is not None:
                if known.inode is None:
                    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
                return known.inode, self._status(known.inode)
            if overlay.local_only:
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        dir_fd = self._backing.directory_fd(parent)
        status = os.stat(name, dir_fd=dir_fd, follow_symlinks=False)
        inode = self._inodes.known(status)
        if inode is not None and inode.overlay is not None:
            return inode, laid_over(inode.overlay, status)
        return inode, status

    def inode_called(self, parent_number: int, asked: bytes) -> Inode | None:
        return self._in_guest(self._inodes[parent_number], asked)[0]

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

    def was_set_aside(
        self, changes: "list[Change[Inode]]", shown_anew: set[Inode], code: int
    ) -> None:
        """The host has refused *changes*: what the guest was told by them is true no more."""
        endings: dict[Ending, None] = {}
        for change in changes:
            concerned = {change.target, *change.directories}
            for inode in concerned:
                self._sync_errors.happened(inode, code, self._handles_of(inode))
            for directory, name, _ in name_effects(change):
                self._has_name(directory, name)  # it may be there still
                if directory.children is not None and directory.told(name) is not None:
                    del directory.children[name]
                endings[Entry(directory.number, name)] = None
                endings[Attributes(directory.number, None)] = None
        for inode in shown_anew:
            endings[Pages(inode.number, None)] = None
        self.end_answers(endings)

    def _handles_of(self, inode: Inode) -> list[int]:
        if inode.is_directory:
            return [fh for fh, each in self._listings.items() if each.directory is inode]
        return list(inode.open_fds or ())

    def _end_answers(self, endings: dict[Ending, None]) -> None:
        if not self._reactor.serves or self._reactor.ended:
            return
        if self._invalidator is None:
            self._invalidator = Invalidator(
                forgets=self.enable_writeback_cache, device=self._reactor.device
            )
        self._invalidator.end(endings, lambda: None)

    def _check_synced(self, handle: int, inode: Inode) -> None:
        """For fsync(2). Raises FUSEError where something was set aside, once."""
        _, failure = self._attempt(self._sync_errors.check, handle, inode)
        if failure:
            raise FUSEError(failure)

    async def release(self, request: Request, fh: int) -> None:
        self._sync_errors.closed(fh)
        await super().release(request, fh)

    # Names

    def lookup(
        self, request: Request, parent_inode: int, name: bytes, ctx: RequestContext
    ) -> Coroutine[Any, Any, EntryAttributes]:
        if self._privileged or self._is_injected(ctx):
            return self._look_up(request, parent_inode, name, ctx)
        return self._as_permitted(
            request, (self._inodes[parent_inode],), self._look_up, parent_inode, name, ctx
        )

    def _look_up(
        self, request: Request, parent_inode: int, name: bytes, ctx: RequestContext
    ) -> Coroutine[Any, Any, EntryAttributes]:
        parent = self._inodes[parent_inode]
        overlay = parent.overlay
        if overlay is not None and not self._is_injected(ctx):
            known = overlay.name(name)
            if known is not None and known.inode is not None:
                inode = known.inode
                if inode.is_local_only:
                    return self._answer(request, self._held_entry, parent, name, inode, ctx)
                return self._look_up_held(request, parent, name, inode, ctx)
            if overlay.local_only and len(name) > self._limits.name_bytes:
                return self._answer(request, _too_long)
            if known is not None or overlay.local_only:
                return self._answer_missing(parent, name)
        return super().lookup(request, parent_inode, name, ctx)

    async def _look_up_held(
        self, request: Request, parent: Inode, name: bytes, inode: Inode, ctx: RequestContext
    ) -> EntryAttributes:
        """What the guest has given a name. Where the host has taken it away, who wins is settled.

        Else it would be ESTALE until that change crosses, and all that lies in it.
        """
        try:
            entry: EntryAttributes = await self._cross(
                request, self._held_entry, parent, name, inode, ctx
            )
        except FUSEError as error:
            if error.errno != errno.ESTALE:
                raise
            request = await self._settle_stale(request, inode)
        else:
            return entry
        known = parent.overlay.name(name) if parent.overlay is not None else None
        if known is not None and known.inode is inode:
            raise FUSEError(errno.ESTALE)  # it was changed again meanwhile
        return await self._look_up(request, parent.number, name, ctx)

    async def _settle_stale(self, request: Request, inode: Inode) -> Request:
        """Have the host get what is held of *inode* now. Raises FUSEError (ESTALE) if it cannot."""
        try:
            return await self._settle(request, inode)
        except FUSEError:
            raise FUSEError(errno.ESTALE) from None

    def _inode(
        self, parent: Inode, dir_fd: int, name: bytes, status: os.stat_result
    ) -> tuple[Inode, os.stat_result]:
        known = self._inodes.known(status)
        if (
            known is not None
            and known.overlay is not None
            and not generations.is_same(known, dir_fd, name, status)
        ):
            # Something is held of an object that the host has removed; this one has its number.
            self._inodes.renounce_identity(known)
        return super()._inode(parent, dir_fd, name, status)

    def let_go(self, inode: Inode) -> None:
        self._sync_errors.forget(inode)
        if inode.overlay is not None:
            self.write_back.pending.forget(inode)  # comes back without
            return
        super().let_go(inode)

    def let_go_if_forgotten(self, inode: Inode) -> None:
        """Nothing is held of *inode* any more: has the kernel forgotten it meanwhile?"""
        if not self._inodes.knows(inode) or self._inodes.let_go(inode):
            super().let_go(inode)
        self._let_go_unneeded()

    def created_on_host(self, inode: Inode) -> None:
        """The host has got *inode*: the guest's open directories are real from now on."""
        if not inode.is_directory:
            return
        self._unopened.update(
            handle for handle, listing in self._listings.items() if listing.directory is inode
        )
        self.attributes_set_on_host(inode)

    def attributes_set_on_host(self, inode: Inode) -> None:
        """The host has got *inode*, or a mode of it: what waits for that to be open is opened.

        The guest may have opened a directory under a mode that was pending then, made it so before
        and takes it back afterwards. Only in between the host allows to open it; and what is open
        stays open.
        """
        if not self._unopened or not inode.is_directory:
            return
        for handle in [each for each in self._unopened if self._listings[each].directory is inode]:
            self._attempt(self._open_directory, handle, inode)

    def _open_directory(self, handle: int, inode: Inode) -> None:
        """From now on *handle* is of the host's directory. Raises OSError."""
        if handle not in self._unopened:
            return  # it was opened while somebody waited to do so
        fd = self._backing.open(inode, os.O_RDONLY | os.O_DIRECTORY)
        os.dup2(fd, handle, inheritable=False)
        os.close(fd)
        self._unopened.discard(handle)

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
        """Whether the host has room for all that is held, and for this. Raises OSError."""
        now_ns = time.monotonic_ns()
        if now_ns - self._room_looked_ns > _LOOK_FOR_ROOM_NS:
            self._look_for_room(now_ns)
            self._look_for_mounts()
        if not self._has_room(size_bytes, objects):
            if self._room_looked_ns != now_ns:
                self._look_for_room(now_ns)
            if not self._has_room(size_bytes, objects):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _look_for_room(self, now_ns: int) -> None:
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
        self._room_looked_ns = now_ns

    def _has_room(self, size_bytes: int, objects: int) -> bool:
        changes = self.write_back.changes
        objects += changes.to_make
        if self._limits.links_take_inodes:
            objects += changes.links
        if objects > self._room_objects:
            return False
        if self._room_objects - objects < _FEW_OBJECTS:
            self._room_looked_ns = _NEVER_NS  # what crosses meanwhile counts: look again each time
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
        self._has_name(parent, name)
        inode.changed_ns = now_ns
        return inode

    def _made_in_guest(
        self, parent_number: int, name: bytes, mode: int, ctx: RequestContext, target: bytes = b""
    ) -> EntryAttributes:
        parent = self._inodes[parent_number]
        inode = self._defer_make(parent, name, mode, ctx, target)
        return self._held_entry(parent, name, inode, ctx)

    def mknod(
        self,
        request: Request,
        parent_inode: int,
        name: bytes,
        mode: int,
        rdev: int,
        ctx: RequestContext,
    ) -> Coroutine[Any, Any, EntryAttributes]:
        handler = super().mknod
        if self._is_injected(ctx):
            return handler(request, parent_inode, name, mode, rdev, ctx)
        parent = self._inodes[parent_inode]
        if modes.S_ISREG(mode) and self._holds_in(request, parent):
            return self._as_permitted(
                request,
                (parent,),
                self._hold,
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
            self._through,
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
        handler = super().mkdir
        if self._is_injected(ctx):
            return handler(request, parent_inode, name, mode, ctx)
        parent = self._inodes[parent_inode]
        if not self._holds_in(request, parent) or not self._may_have_more_links(parent):
            return self._as_permitted(
                request, (parent,), self._through, (parent,), handler, parent_inode, name, mode, ctx
            )
        mode = modes.S_IFDIR | modes.S_IMODE(mode)
        return self._as_permitted(
            request, (parent,), self._hold, 0, self._made_in_guest, parent_inode, name, mode, ctx
        )

    def symlink(
        self, request: Request, parent_inode: int, name: bytes, target: bytes, ctx: RequestContext
    ) -> Coroutine[Any, Any, EntryAttributes]:
        handler = super().symlink
        if self._is_injected(ctx):
            return handler(request, parent_inode, name, target, ctx)
        parent = self._inodes[parent_inode]
        if not self._holds_in(request, parent) or len(target) > self._limits.link_target_bytes:
            return self._as_permitted(
                request,
                (parent,),
                self._through,
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
            self._hold,
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
        parent, target = self._inodes[new_parent_inode], self._inodes[inode]
        source = self._guest_parent(target)
        if (
            self._limits.has_links
            and self._holds_in(request, parent)
            and self._holds(request, target)
            and self._may_have_more_links(target)
            and self._is_ours(target)
        ):
            return self._as_permitted(
                request,
                (parent, source),
                self._hold,
                0,
                self._defer_link,
                target,
                parent,
                new_name,
                ctx,
            )
        handler = super().link
        arguments = (inode, new_parent_inode, new_name, ctx)
        return self._as_permitted(
            request, (parent, source), self._through, (parent, target), handler, *arguments
        )

    def _may_have_more_links(self, inode: Inode) -> bool:
        """Whether every file system lets *inode* have one more. Else the host shall say."""
        status, _ = self._attempt(self._status, inode)
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
        if not self._holds(None, target):  # it has lost its name while this waited
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        now_ns = time.time_ns()
        change = Change(
            Kind.LINK, target, time.monotonic_ns(), parent, name, detail=OtherDetail(now_ns)
        )
        self.write_back.defer(change)
        overlay_of(target).ctime_ns = now_ns
        self._names_changed(parent, now_ns)
        self._has_name(parent, name)
        return self._held_entry(parent, name, target, ctx)

    def unlink(
        self, request: Request, parent_inode: int, name: bytes, ctx: RequestContext
    ) -> Coroutine[Any, Any, None]:
        handler = super().unlink
        if self._is_injected(ctx):
            return handler(request, parent_inode, name, ctx)
        return self._as_permitted(
            request,
            (self._inodes[parent_inode],),
            self._take_away,
            handler,
            Kind.UNLINK,
            parent_inode,
            name,
            ctx,
        )

    def rmdir(
        self, request: Request, parent_inode: int, name: bytes, ctx: RequestContext
    ) -> Coroutine[Any, Any, None]:
        handler = super().rmdir
        if self._is_injected(ctx):
            return handler(request, parent_inode, name, ctx)
        return self._as_permitted(
            request,
            (self._inodes[parent_inode],),
            self._take_away,
            handler,
            Kind.RMDIR,
            parent_inode,
            name,
            ctx,
        )

    async def _take_away(
        self,
        request: Request,
        handler: Callable[..., Coroutine[Any, Any, None]],
        kind: Kind,
        parent_number: int,
        name: bytes,
        ctx: RequestContext,
    ) -> None:
        arrived = request
        parent = self._inodes[parent_number]
        request = await self._wait_for_room(request, 0)
        found, failure = self._attempt(self._in_guest, parent, name)
        if failure:
            raise FUSEError(failure)
        inode = found[0]
        if inode is None or not self._holds_in(request, parent) or not self._holds(request, inode):
            await self._through(request, (parent, inode), handler, parent_number, name, ctx)
            return
        asks_host = kind is Kind.RMDIR and not inode.is_local_only
        _, failure = self._attempt(self._defer_removal, kind, parent, name)
        if failure == errno.EACCES and not self._privileged:
            # We may not see whether it is empty; or may not at all, which the host will say.
            await self._through(request, (parent, inode), handler, parent_number, name, ctx)
            return
        if asks_host:
            # Only the host knows whether a directory of its own is empty.
            await self.crossings.cross(arrived, Operation.READDIRPLUS, 0)
        else:
            self._acknowledged(OperationClass.METADATA, arrived)
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
        self._note_seen(inode)
        change = Change(kind, inode, time.monotonic_ns(), parent, name, detail=OtherDetail(now_ns))
        self.write_back.defer(change, loses=[inode] if is_last else [])
        if inode.overlay is not None:
            inode.overlay.ctime_ns = now_ns
        self._names_changed(parent, now_ns)
        self._untell(parent, name, inode)

    @staticmethod
    def _names_changed(directory: Inode, now_ns: int) -> None:
        """A change of its names is held, unless it has been cancelled at once."""
        overlay = directory.overlay
        if overlay is not None:
            overlay.mtime_ns = overlay.ctime_ns = now_ns

    @staticmethod
    def _untell(parent: Inode, name: bytes, inode: Inode) -> None:
        """What was never on the host is not looked for among its changes."""
        if inode.host_number == 0 and parent.told(name) is inode:
            assert parent.children is not None
            del parent.children[name]

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
        arguments = (parent_inode_old, name_old, parent_inode_new, name_new, flags, ctx)
        directories = (self._inodes[parent_inode_old], self._inodes[parent_inode_new])
        return self._as_permitted(
            request, directories, self._rename_in_guest, super().rename, arguments
        )

    async def _rename_in_guest(
        self, request: Request, handler: Callable[..., Coroutine[Any, Any, None]], arguments: Any
    ) -> None:
        old_number, old_name, new_number, new_name, flags, _ = arguments
        arrived = request
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
        holds = (
            moving is not None
            and (there is None or replaced is not None)
            and not flags & ~pyfuse3.RENAME_NOREPLACE
            and self._holds_in(request, old_parent)
            and self._holds_in(request, new_parent)
            and self._holds(request, moving)
            and (replaced is None or self._holds(request, replaced))
            and (
                old_parent is new_parent
                or not moving.is_directory
                or self._may_have_more_links(new_parent)
            )
        )
        if not holds:
            if self.overlaps is not None:
                # A directory may take what is held below it to where nothing may be held.
                request = await self._reach(request, self.write_back.changes.last_sequence)
            involved = (old_parent, new_parent, moving, replaced)
            await self._through(request, involved, handler, *arguments)
            return
        assert moving is not None
        asks_host = replaced is not None and replaced.is_directory and not replaced.is_local_only
        _, failure = self._attempt(
            self._defer_rename, moving, old_parent, old_name, new_parent, new_name, flags
        )
        if failure == errno.EACCES and not self._privileged:
            # As in _take_away.
            involved = (old_parent, new_parent, moving, replaced)
            await self._through(request, involved, handler, *arguments)
            return
        if asks_host:
            await self.crossings.cross(arrived, Operation.READDIRPLUS, 0)
        else:
            self._acknowledged(OperationClass.METADATA, arrived)
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
        loses: list[Inode] = []
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
                loses.append(replaced)
            self._note_seen(replaced)
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
        self.write_back.defer(change, loses=loses)
        overlay = overlay_of(moving)
        overlay.ctime_ns = now_ns
        overlay.guest_place = new_parent, new_name
        if replaced is not None:
            if replaced.overlay is not None:
                replaced.overlay.ctime_ns = now_ns
            self._untell(new_parent, new_name, replaced)
        self._untell(old_parent, old_name, moving)
        self._names_changed(old_parent, now_ns)
        self._names_changed(new_parent, now_ns)
        self._has_name(new_parent, new_name)

    def _has_name(self, directory: Inode, name: bytes) -> None:
        """The guest has put *name* there."""
        if self.name_sets is not None:
            self.name_sets.added(directory, self._spellings.key(name))

    def _check_replaceable(self, moving: Inode, replaced: Inode) -> None:
        if moving.is_directory and not replaced.is_directory:
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR))
        if replaced.is_directory:
            if not moving.is_directory:
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
            if not self._is_empty(replaced):
                raise OSError(errno.ENOTEMPTY, os.strerror(errno.ENOTEMPTY))

    def _note_seen(self, inode: Inode) -> None:
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
        node = self._inodes[inode]
        if node.is_local_only:
            return self._answer(request, self._attributes_of_unmade, node, ctx)
        return self._asked(request, (node,), super().getattr, inode, ctx)

    def _getattr(
        self, number: int, ctx: RequestContext, *, believes: bool = True
    ) -> EntryAttributes:
        inode = self._inodes[number]
        if inode.is_local_only:  # what it is open by is nothing of the host's yet
            return self._held_attributes(inode, b"", ctx, believes=believes)
        return super()._getattr(number, ctx, believes=believes)

    def _asked(
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

    def _attributes_of_unmade(self, inode: Inode, ctx: RequestContext) -> EntryAttributes:
        return self._held_attributes(inode, b"", ctx, believes=True)

    def setattr(
        self,
        request: Request,
        inode: int,
        attr: EntryAttributes,
        fields: pyfuse3.SetattrFields,
        fh: int | None,
        ctx: RequestContext,
    ) -> Coroutine[Any, Any, EntryAttributes]:
        node = self._inodes[inode]
        handler = super().setattr
        if self._is_injected(ctx):
            return handler(request, inode, attr, fields, fh, ctx)
        too_large = fields.update_size and attr.st_size > self._limits.file_bytes
        # What is open may be set by that, which we are not always told.
        directories = () if node.open_fds else (self._guest_parent(node),)
        if not self._holds(request, node) or too_large:
            arguments = (inode, attr, fields, fh, ctx)
            return self._as_permitted(
                request, directories, self._through, (node,), handler, *arguments
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
        arrived = request
        request = await self._wait_for_room(request, 0)
        if not self._holds(request, inode):  # it has lost its name while this waited
            return await handler(request, inode.number, attr, fields, fh, ctx)
        entry, failure = self._attempt(self._defer_attributes, inode, attr, fields, fh, ctx)
        self._acknowledged(OperationClass.METADATA, arrived)
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
            self.inode_of(fh, is_directory=False)
        self._check_may_set(inode, wanted, fields, fh)
        status = self._status(inode)
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
                mode = self._ended_set_id(status.st_mode)
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
        return self._held_attributes(inode, b"", ctx, believes=True)

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
            ends_set_id_alone(self._status(inode).st_mode, modes.S_IMODE(wanted.st_mode))
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
    def _ended_set_id(mode: int) -> int | None:
        """The bits of *mode* without set-id bits, if it had any that end."""
        kept = without_set_id(modes.S_IMODE(mode))
        return None if kept == modes.S_IMODE(mode) else kept

    def _defer_set(self, inode: Inode, detail: SetDetail) -> None:
        """The guest sets attributes. Raises OSError."""
        self.write_back.pending.check_not_aside(inode)
        self._note_seen(inode)
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
        node = self._inodes[inode]
        if node.is_local_only:
            return self._answer(request, self._held_link_target, node)
        return self._asked(request, (node,), super().readlink, inode, ctx)

    @staticmethod
    def _held_link_target(inode: Inode) -> bytes:
        assert inode.overlay is not None
        return inode.overlay.link_target

    def access(
        self, request: Request, inode: int, mode: int, ctx: RequestContext
    ) -> Coroutine[Any, Any, bool]:
        node = self._inodes[inode]
        if node.overlay is not None and node.overlay.mode is not None:
            return self._answer(request, self._may_access, node, mode)
        return self._asked(request, (node,), super().access, inode, mode, ctx)

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
        if self._privileged:
            return self._open_in_guest(request, inode, flags, ctx)
        node = self._inodes[inode]
        return self._once_allowed(request, (node,), self._open_permitted, node, flags, ctx)

    async def _open_permitted(
        self, request: Request, inode: Inode, flags: int, ctx: RequestContext
    ) -> FileInfo:
        await self._answer(request, self._check_open, inode, flags)
        return await self._open_in_guest(request, inode.number, flags, ctx)

    def _check_open(self, inode: Inode, flags: int) -> None:
        """Whether the modes that are held let us open it so. Raises OSError."""
        if not inode.open_fds:
            self._check_search(self._guest_parent(inode))
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
            return self._open_while_unmade(request, node, flags, ctx)
        if self.enable_writeback_cache and flags & os.O_ACCMODE == os.O_WRONLY:
            return self._open_to_fill_pages(request, super().open, node, flags, ctx)
        if flags & os.O_TRUNC and self._holds(request, node):
            return self._open_and_cut(request, super().open, node, flags, ctx)
        return super().open(request, inode, flags, ctx)

    def _opened(
        self, inode: Inode, fd: int, flags: int, caller: RequestContext, keep_pages: bool
    ) -> FileInfo:
        if self.enable_writeback_cache:
            # The guest's kernel appends where it takes the end to be, by way of its pages.
            flags &= ~os.O_APPEND
        return super()._opened(inode, fd, flags, caller, keep_pages)

    async def _open_while_unmade(
        self, request: Request, inode: Inode, flags: int, ctx: RequestContext
    ) -> FileInfo:
        request = await self._wait_for_room(request, 0)
        if inode.is_local_only:
            return await self._hold(request, 0, self._open_unmade, inode, flags, ctx)  # type: ignore[no-any-return]
        # The host has got it meanwhile.
        return await self._open_in_guest(request, inode.number, flags, ctx)

    def _open_unmade(self, inode: Inode, flags: int, ctx: RequestContext) -> FileInfo:
        if inode.overlay is not None and inode.overlay.aside:
            raise StaleError  # the guest's kernel shall look again
        # A descriptor that stands for the host's file: once there is one, it is one.
        fd = os.dup(self._null_fd)
        try:
            if flags & os.O_TRUNC:
                self._cut(inode, ctx)
            keeps = self.policy.keep_pages(_as_status(self._status(inode)), time.time_ns())
            return self._opened(inode, fd, flags, ctx, keeps)
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
        cuts = flags & os.O_TRUNC and self._holds(request, inode)
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
        """Open a file of the host's, and hold that it is cut."""
        request = await self._wait_for_room(request, 0)
        handle = await handler(request, inode.number, flags & ~os.O_TRUNC, ctx)
        if self._holds(request, inode):
            _, failure = self._attempt(self._cut, inode, ctx)
        else:
            _, failure = self._attempt(at.set_size, handle.fh, 0)
        if failure:
            await self.release(request, handle.fh)
            raise FUSEError(failure)
        return handle

    def _cut(self, inode: Inode, ctx: RequestContext) -> None:
        status = self._status(inode)
        mode = None
        if ctx.uid and self._privileged:
            mode = self._ended_set_id(status.st_mode)
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
        parent = self._inodes[parent_inode]
        if not self._holds_in(request, parent):
            handler = super().create
            return self._as_permitted(
                request,
                (parent,),
                self._through,
                (parent,),
                handler,
                parent_inode,
                name,
                mode,
                flags,
                ctx,
            )
        return self._as_permitted(
            request, (parent,), self._hold, 0, self._create_in_guest, parent, name, mode, flags, ctx
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
            keeps = self.policy.keep_pages(_as_status(self._status(inode)), time.time_ns())
            entry = self._held_entry(parent, name, inode, ctx)
            return self._opened(inode, fd, flags, ctx, keeps), entry
        except BaseException:
            os.close(fd)
            raise

    async def read(self, request: Request, fh: int, off: int, size: int) -> bytes:
        inode = self._open_files[fh]
        overlay = inode.overlay
        if overlay is None or not (overlay.local_only or overlay.content):
            return await super().read(request, fh, off, size)
        answer, failure = self._attempt(self._read_held, inode, fh, off, size)
        if failure:
            raise FUSEError(failure)
        data, of_host = answer
        if of_host:
            await self.crossings.cross(request, Operation.READ, of_host)
        return bytes(data)

    def _read_held(self, inode: Inode, fd: int, offset: int, size: int) -> tuple[bytearray, int]:
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
                part[:] = self.write_back.journal.read(piece.position, piece.length)
        return data, of_host

    async def write(self, request: Request, fh: int, off: int, buf: bytes) -> int:
        inode = self._open_files[fh]
        length = len(buf)
        if not self._holds(request, inode) or off + length > self._limits.file_bytes:
            request = await self._settle(request, inode)
            return await super().write(request, fh, off, buf)
        arrived = request
        has_waited = False
        if not self.write_back.has_room_for(length):
            request = await self._wait_for_room(request, length)
            has_waited = True
        journal = self.write_back.journal
        place = journal.reserve(length)
        is_put, failure = False, 0
        if length >= WRITE_IN_THREAD_BYTES:
            _, failure = await in_thread(lambda: self._attempt(journal.put, place, buf))
            is_put = has_waited = True
        if has_waited and not failure and not self._holds(request, inode):
            # It has lost its name while this waited: nothing of it is held any more.
            journal.free(place, length)
            return await super().write(request, fh, off, buf)
        if not failure:
            try:
                if not is_put:
                    journal.put(place, buf)
                self._defer_write(inode, fh, off, length, place)
            except Exception as error:
                failure = self._errno_of(error, self._defer_write, (inode, fh, off, length, place))
        if failure:
            journal.free(place, length)
            raise FUSEError(failure)
        if fh in self._synchronous:
            await self._sync(request, inode, fh, datasync=True)
        self._acknowledged(OperationClass.WRITE, arrived)
        return length

    def _defer_write(self, inode: Inode, fd: int, offset: int, length: int, place: int) -> None:
        """The guest has written *length* bytes, which are kept at *place*. Raises OSError."""
        self.write_back.pending.check_not_aside(inode)
        self._check_room(length)
        if inode.overlay is None or inode.overlay.seen is None:
            self._note_seen(inode)
        overlay = overlay_of(inode)
        size = overlay.size
        if size is None:
            size = 0 if overlay.local_only else os.fstat(fd).st_size
        if fd in self._appending:
            offset = size
        if fd in self._ending_set_id:
            mode = self._ended_set_id(self._status(inode).st_mode)
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
        """close(2) is no sync: nothing crosses for it, and there is nothing to report."""
        if not self._holds(request, self._open_files[fh]):
            await super().flush(request, fh)

    async def fsync(self, request: Request, fh: int, datasync: bool) -> None:
        await self._sync(request, self._open_files[fh], fh, datasync=datasync)

    async def _sync(self, request: Request, inode: Inode, fh: int, *, datasync: bool) -> None:
        await self._settle(request, inode)
        self._check_synced(fh, inode)
        if inode.is_local_only:
            return  # it has no name any more, and never will: there is nothing to find again
        parent_fd, _ = self._attempt(self._open_directory_of, inode)
        await self._cross_in_thread(
            request.again(),
            *(_sync_on_host, fh, parent_fd, datasync),
            operation=Operation.FSYNC,
        )

    def _open_directory_of(self, inode: Inode) -> int:
        if inode.parent is None:
            return -1
        return self._backing.open(inode.parent, os.O_RDONLY | os.O_DIRECTORY)

    # Directories

    def opendir(
        self, request: Request, inode: int, ctx: RequestContext
    ) -> Coroutine[Any, Any, int]:
        node = self._inodes[inode]
        if node.is_local_only:
            return self._answer(request, self._open_unmade_directory, node, ctx)
        if self._privileged:
            return super().opendir(request, inode, ctx)
        return self._once_allowed(request, (node,), self._open_directory_permitted, node, ctx)

    async def _open_directory_permitted(
        self, request: Request, inode: Inode, ctx: RequestContext
    ) -> int:
        await self._answer(request, self._check_open, inode, os.O_RDONLY)
        return await super().opendir(request, inode.number, ctx)

    def _open_unmade_directory(self, inode: Inode, ctx: RequestContext) -> int:
        self._check_open(inode, os.O_RDONLY)
        fd = os.dup(self._null_fd)
        self._listings[fd] = Listing(inode, KnownCaller(ctx.uid, ctx.gid))
        return fd

    async def readdir(self, request: Request, fh: int, start_id: int, token: ReaddirToken) -> None:
        listing = self._listings[fh]
        if start_id == 0:
            # As it is before the host is asked, which may take a while: what the host gets
            # meanwhile is in here, and what it loses is not in its answer.
            overlay = listing.directory.overlay
            names = (overlay.names if overlay is not None else None) or {}
            listing.held = {name: each.inode is not None for name, each in names.items()}
            if fh in self._unopened:
                directory = listing.directory
                await self._once_allowed(
                    request, (directory,), self._answer, self._open_directory, fh, directory
                )
        if not listing.directory.is_local_only:
            try:
                await super().readdir(request, fh, start_id, token)
            except FUSEError as error:
                if error.errno != errno.ESTALE:
                    raise
                # The host has taken away what the guest has put in it: see _look_up_held().
                request = await self._settle_stale(request, listing.directory)
                listing.held = {}
                await super().readdir(request, fh, start_id, token)
            return
        if start_id == 0:
            listing.names = [b".", b"..", *self._merged([], listing.held)]
        for position in range(start_id, len(listing.names)):
            added, failure = self._attempt(self._add_entry, token, fh, listing, position)
            if failure:
                raise FUSEError(failure)
            if not added:
                break

    def _list(self, fh: int, listing: Listing) -> list[bytes]:
        names = super()._list(fh, listing)
        merged = self._merged(names[2:], listing.held)
        # Positions that were told before stay what they were, though names have moved from
        # what is held to the host's own order.
        present = set(merged)
        earlier = [name for name in listing.names[2:] if name in present]
        if earlier:
            known = set(earlier)
            merged = earlier + [name for name in merged if name not in known]
        return names[:2] + merged

    @staticmethod
    def _merged(names: list[bytes], overlay: dict[bytes, bool]) -> list[bytes]:
        """The *names* that the host has, as the guest has changed them."""
        if not overlay:
            return names
        shown = [name for name in names if name not in overlay]
        return shown + [name for name, is_there in overlay.items() if is_there]

    def _add_entry(self, token: ReaddirToken, fh: int, listing: Listing, position: int) -> int:
        name = listing.names[position]
        directory = listing.directory
        overlay = directory.overlay
        if overlay is None:
            return super()._add_entry(token, fh, listing, position)
        if name in (b".", b".."):
            if not overlay.local_only:
                return super()._add_entry(token, fh, listing, position)
            inode = directory
            if name == b"..":
                inode = self._guest_parent(directory) or directory
            status = self._status(inode)
            entry = self._attributes(inode, status, listing.caller, NOT_BELIEVED)
            added = pyfuse3.readdir_reply(token, name, entry, position + 1)
            return DIRENTPLUS_BYTES if added else 0
        known = overlay.name(name)
        if known is None:
            return 1 if overlay.local_only else super()._add_entry(token, fh, listing, position)
        if known.inode is None:
            return 1  # gone since the listing began: passed over
        caller: Any = listing.caller
        entry = self._held_entry(directory, name, known.inode, caller)
        if not pyfuse3.readdir_reply(token, name, entry, position + 1):
            known.inode.lookups -= 1
            return 0
        return DIRENTPLUS_BYTES + len(name)

    async def releasedir(self, request: Request, fh: int) -> None:
        self._sync_errors.closed(fh)
        self._unopened.discard(fh)
        await super().releasedir(request, fh)

    async def fsyncdir(self, request: Request, fh: int, datasync: bool) -> None:
        directory = self._listings[fh].directory
        await self._settle(request, directory)
        self._check_synced(fh, directory)
        if directory.is_local_only:
            return
        if fh in self._unopened:
            await self._answer(request, self._open_directory, fh, directory)
        await super().fsyncdir(request.again(), fh, datasync)

    # Extended attributes: the host's at once, and after what is held of the object.

    def setxattr(
        self, request: Request, inode: int, name: bytes, value: bytes, ctx: RequestContext
    ) -> Coroutine[Any, Any, None]:
        return self._with_attributes(request, super().setxattr, name, inode, name, value, ctx)

    def removexattr(
        self, request: Request, inode: int, name: bytes, ctx: RequestContext
    ) -> Coroutine[Any, Any, None]:
        return self._with_attributes(request, super().removexattr, name, inode, name, ctx)

    async def _with_attributes(
        self,
        request: Request,
        handler: Callable[..., Coroutine[Any, Any, None]],
        name: bytes,
        number: int,
        *arguments: Any,
    ) -> None:
        await self._answer(request, self._attributes_of_guests.check, name)
        await self._through(request, (self._inodes[number],), handler, number, *arguments)

    def getxattr(
        self, request: Request, inode: int, name: bytes, ctx: RequestContext
    ) -> Coroutine[Any, Any, bytes]:
        node = self._inodes[inode]
        if node.is_local_only:
            return self._answer(request, self._no_attribute, name)
        return self._asked(request, (node,), super().getxattr, inode, name, ctx)

    def _no_attribute(self, name: bytes) -> bytes:
        self._attributes_of_guests.check(name)
        raise OSError(errno.ENODATA, os.strerror(errno.ENODATA))

    def listxattr(
        self, request: Request, inode: int, ctx: RequestContext
    ) -> Coroutine[Any, Any, Sequence[bytes]]:
        if self._inodes[inode].is_local_only:
            return self._answer(request, self._no_attributes)
        return super().listxattr(request, inode, ctx)

    def _no_attributes(self) -> Sequence[bytes]:
        self._attributes_of_guests.check(b"")
        return ()


_DEEPEST = 4_096


def _too_long() -> None:
    raise OSError(errno.ENAMETOOLONG, os.strerror(errno.ENAMETOOLONG))


def _sync_on_host(fd: int, parent_fd: int | None, datasync: bool) -> None:
    """Sync a file and, if it has one, its directory: one that is not found again was not saved."""
    try:
        (os.fdatasync if datasync else os.fsync)(fd)
        if parent_fd is not None and parent_fd >= 0:
            os.fsync(parent_fd)
    finally:
        if parent_fd is not None and parent_fd >= 0:
            os.close(parent_fd)


def _as_status(status: _Status) -> Any:
    """For a cache policy, which takes what os.stat gives: it has the same names."""
    return status
