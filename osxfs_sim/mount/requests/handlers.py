"""One short method per request: host work, price, hold, reply.

Kernel spellings live here and nowhere else. The public methods are what
pyfuse3 calls by way of dispatch.py (its class Operations documents each); the private ones do the
host's part, at once and in the reactor's thread, or in another thread where
the call may block for longer than a thread switch takes (fsync, large
directories, data that is not in memory).

What a guest sees of a failure is an errno, and is decided in _cross: what the
host said, or EIO for a bug of ours, which is logged.
"""

import contextlib
import errno
import fcntl
import itertools
import logging
import os
import stat as modes
import struct
import time
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, cast

import pyfuse3
from pyfuse3 import EntryAttributes, FileInfo, FUSEError, ReaddirToken, RequestContext

from osxfs_sim.fs import at
from osxfs_sim.model.caching import NOT_BELIEVED, CachePolicy, Lifetimes
from osxfs_sim.model.consistency import Mode
from osxfs_sim.model.operations import Operation
from osxfs_sim.mount import syscalls
from osxfs_sim.mount.latency.crossings import Crossings
from osxfs_sim.mount.loop.reactor import Reactor, breathe, in_thread
from osxfs_sim.mount.tree.backing import OPEN_SAFELY, Backing, StaleError, magic_link
from osxfs_sim.mount.tree.directory_names import NameSets
from osxfs_sim.mount.tree.inodes import Inode, InodeTable
from osxfs_sim.mount.tree.namespace import Namespace
from osxfs_sim.mount.tree.overlaps import Overlaps
from osxfs_sim.mount.tree.owners import Caller, KnownCaller, Owners
from osxfs_sim.mount.tree.set_id import end_group_id, end_set_id, has_group_id_alone, set_mode
from osxfs_sim.mount.tree.spellings import GivesWayError, Spellings
from osxfs_sim.mount.tree.syscall_inspection import groups_of
from osxfs_sim.mount.tree.xattrs import GuestAttributes
from osxfs_sim.mount.watch.watcher import Watcher

log = logging.getLogger(__name__)

# Flags of open(2) that mean something to the host's file. _write deals with
# O_APPEND, the guest's kernel with the rest, O_DIRECT included.
_HOST_FLAGS = os.O_ACCMODE | os.O_SYNC | os.O_DSYNC | os.O_NOATIME
WRITE_IN_THREAD_BYTES = 256 * 1024
"""From here on a copy takes longer than handing it to a thread and back."""
# A directory this large (its st_size) takes longer to list than a thread switch.
_LIST_IN_THREAD_BYTES = 16 * 1024
_MANY_NAMES = 1_000  # to fold so many takes longer than a thread switch
_ENTRIES_PER_BREATH = 32
_SPENT_BUFFERS = 16
_S_PER_NS = 1e-9


@dataclass(frozen=True, slots=True)
class Rights:
    """What the guest may do at all, and the server with it."""

    guest_attributes: bool = False
    """Whether the guest may have extended attributes of its own."""
    guest_devices: bool = False
    """Whether root in the guest may make devices. They cannot be opened there in any case."""
    guest_changes: bool = True
    """Whether the guest may change anything; else EROFS."""
    kernel_checks: bool = False
    """Whether the guest's kernel checks permissions, by what it knows."""
    server_is_root: bool = False
    """Root's writes leave set-id bits as they are: the server ends them itself."""


class NamesReply:
    """The answer to a READDIR as it grows, of at most *size_bytes*."""

    __slots__ = ("entries", "left_bytes")

    def __init__(self, size_bytes: int) -> None:
        self.entries: list[bytes] = []
        self.left_bytes = size_bytes

    def add(self, name: bytes, number: int, mode: int, next_id: int) -> int:
        """Add an entry (struct fuse_dirent): the bytes it took, or 0 if there is no room."""
        entry = _DIRENT.pack(number, next_id, len(name), modes.S_IFMT(mode) >> 12) + name
        entry += bytes(-len(entry) % 8)
        if len(entry) > self.left_bytes:
            return 0
        self.entries.append(entry)
        self.left_bytes -= len(entry)
        return len(entry)


class Listing:
    """The names in an open directory, as they were when its reading began.

    POSIX leaves open whether names that come or go meanwhile are seen, but
    every other name must be seen exactly once: so positions are indices into a
    list that does not change until the directory is rewound.
    """

    __slots__ = ("caller", "directory", "held", "names")

    def __init__(self, directory: Inode, caller: KnownCaller) -> None:
        self.directory = directory
        self.held: dict[bytes, bool] = {}
        """Where the guest's changes are held: names that differ from the host's; is it there?"""
        self.caller = caller
        self.names: list[bytes] = []


_Opened = TypeVar("_Opened")


class _ByHandle(dict[int, _Opened]):
    """What the guest has open; EBADF for a handle that it has not, or not any more."""

    def __missing__(self, handle: int) -> _Opened:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))


class Handlers(pyfuse3.Operations):
    """The requests of one share; dispatch.py passes them on, in the reactor's thread."""

    # The kernel then never sends "." or ".." as names to look up.
    supports_dot_lookup = False
    enable_writeback_cache = False
    directories_to_volumes: frozenset[int] = frozenset()
    """Whose missing names could not be ended all at once: see mount/mounts/volumes.py."""

    mode = Mode.CONSISTENT
    """The contract's mode of the share, but for its overlaps."""
    overlaps: Overlaps | None = None
    """The parts that obey a stronger mode, if there are any."""

    def __init__(
        self,
        reactor: Reactor,
        inodes: InodeTable,
        backing: Backing,
        crossings: Crossings,
        policy: CachePolicy,
        owners: Owners,
        spellings: Spellings,
        rights: Rights,
        watcher: Watcher | None = None,
    ) -> None:
        super().__init__()
        self.policy = policy
        self.crossings = crossings
        self._reactor = reactor
        self._inodes = inodes
        self._backing = backing
        self._owners = owners
        self._spellings = spellings
        self._watcher = watcher
        self.root_can_lack_names = True
        """Whether it may be believed that names are missing in the root."""
        self.name_sets = NameSets() if policy.complete else None
        self.namespace = Namespace(
            *(inodes, backing, owners, spellings, self.name_sets, watcher),
            before_moved=self._arrives,
            when_named=self._named_by_guest,
        )
        self._direct = policy.direct
        self._attributes_of_guests = GuestAttributes(owners, allowed=rights.guest_attributes)
        self._guest_devices = rights.guest_devices
        self._may_change = rights.guest_changes
        self._kernel_checks = rights.kernel_checks
        self._privileged = rights.server_is_root
        self._open_files: _ByHandle[Inode] = _ByHandle()
        self._appending: set[int] = set()
        self._synchronous: set[int] = set()
        # Handles of whoever is not root, and of those of them who are not in the file's group.
        self._ending_set_id: set[int] = set()
        self._strangers: set[int] = set()
        self._listings: _ByHandle[Listing] = _ByHandle()
        self._spent_buffers: list[bytearray] = []
        self._never_waiting: set[int] = set()  # devices

    @property
    def open_handles(self) -> int:
        return len(self._open_files) + len(self._listings)

    def inode(self, number: int) -> Inode:
        """What the guest knows by *number*. Raises OSError: ESTALE."""
        return self._inodes[number]

    def inode_called(self, parent_number: int, asked: bytes) -> Inode | None:
        """What the guest knows already of what it would find as *asked*. Raises OSError."""
        parent = self._inodes[parent_number]
        dir_fd = self._backing.directory_fd(parent)
        _, status = self._spellings.find(parent, dir_fd, asked)
        return self._inodes.known(status)

    def inode_of(self, handle: int, *, is_directory: bool) -> Inode:
        """What the guest has open by *handle*. Raises OSError: EBADF."""
        return self._listings[handle].directory if is_directory else self._open_files[handle]

    def close(self) -> None:
        """Close what the guest left open when its mount was taken away."""
        for fd in itertools.chain(self._open_files, self._listings):
            os.close(fd)
        self._open_files.clear()
        self._listings.clear()

    # The way of every request

    async def _cross(self, operation: Operation, work: Callable[..., Any], *arguments: Any) -> Any:
        """Do *work* on the host now, and answer when the crossing is paid."""
        arrival_ns = self._reactor.arrival_ns
        # As _attempt, without its call: most requests pass here.
        answer, failure = None, 0
        try:
            answer = work(*arguments)
        except Exception as error:
            failure = self._errno_of(error, work, arguments)
        await self.crossings.cross(operation, 0, arrival_ns)
        if failure:
            raise FUSEError(failure)
        return answer

    def _change(
        self, operation: Operation, work: Callable[..., Any], *arguments: Any
    ) -> Coroutine[Any, Any, Any]:
        """As _cross, for what the guest may do only where it may change anything."""
        if not self._may_change:
            return self._cross(operation, _read_only)
        return self._cross(operation, work, *arguments)

    async def _cross_in_thread(
        self, operation: Operation, work: Callable[..., Any], *arguments: Any
    ) -> Any:
        """As _cross, for work that may block."""
        arrival_ns = self._reactor.arrival_ns
        answer, failure = await in_thread(lambda: self._attempt(work, *arguments))
        await self.crossings.cross(operation, 0, arrival_ns)
        if failure:
            raise FUSEError(failure)
        return answer

    def _attempt(self, work: Callable[..., Any], *arguments: Any) -> tuple[Any, int]:
        """The answer of *work* and 0, or None and the errno that the guest shall see."""
        try:
            return work(*arguments), 0
        except Exception as error:
            return None, self._errno_of(error, work, arguments)

    def _errno_of(
        self, error: Exception, work: Callable[..., Any], arguments: tuple[Any, ...]
    ) -> int:
        """What the guest shall see of it that *work* has failed."""
        if isinstance(error, OSError):
            return error.errno or errno.EIO
        if isinstance(error, FUSEError):
            return error.errno
        name = getattr(work, "__name__", repr(work))
        self._reactor.internal_errors.note(name, error, arguments)
        return errno.EIO

    def _attributes(
        self,
        inode: Inode,
        status: os.stat_result,
        ids: tuple[int, int],
        believed: Lifetimes,
    ) -> EntryAttributes:
        entry = EntryAttributes()
        entry.st_ino = inode.number
        entry.st_mode = status.st_mode
        entry.st_nlink = status.st_nlink
        entry.st_uid, entry.st_gid = ids
        entry.st_rdev = status.st_rdev
        entry.st_size = status.st_size
        entry.st_blksize = status.st_blksize
        entry.st_blocks = status.st_blocks
        entry.st_atime_ns = status.st_atime_ns
        entry.st_mtime_ns = status.st_mtime_ns
        entry.st_ctime_ns = status.st_ctime_ns
        entry.entry_timeout = believed[0] * _S_PER_NS
        entry.attr_timeout = believed[1] * _S_PER_NS
        return entry

    def _entry(
        self,
        parent: Inode,
        dir_fd: int,
        name: bytes,
        status: os.stat_result,
        caller: Caller,
        asked: bytes,
        *,
        believes: bool = True,
    ) -> EntryAttributes:
        """The answer that names an object: the kernel owes a forget for it.

        *name* is what the host calls it, *asked* what the guest does.
        """
        # A policy of the user's own may fail: ask it before anything is noted down.
        believed = NOT_BELIEVED
        if believes and parent.followed is not False:
            believed = self._found(parent, name, status)
            believed = self._spellings.believed(name, asked, believed)
        ids = self._owners.ids(dir_fd, name, status, caller)
        inode, status = self._inode(parent, dir_fd, name, status)
        inode.lookups += 1
        self._backing.hold(inode, dir_fd, name)
        return self._attributes(inode, status, ids, believed)

    def _believed(self, inode: Inode, status: os.stat_result) -> Lifetimes:
        """How long the guest may believe what *inode* is like, asked for without a name."""
        if not self._is_followed(inode):
            return NOT_BELIEVED
        return self._found(inode, b"", status)

    def _is_followed(self, inode: Inode) -> bool:
        """Whether the guest will learn of it when the host changes *inode*."""
        directory = inode.parent
        if directory is None:
            # The root; what the guest itself has unlinked; or what the host has moved away.
            return self._backing.is_own(inode) and inode.followed is not False
        return inode.followed is not False and directory.followed is not False

    def _found(self, place: Inode, name: bytes, status: os.stat_result) -> Lifetimes:
        """How long it may be believed what was found as *name* in *place*, or is *place* itself.

        Whatever the policy, nothing is believed of sockets, pipes and devices
        (osxfs-caching.md, DEL-8).
        """
        if modes.S_IFMT(status.st_mode) in _NEVER_BELIEVED:
            return NOT_BELIEVED
        policy = self.policy
        if self.overlaps is not None:
            policy = self.overlaps.policy_at(place, policy, status)
        return policy.found(name, status, time.time_ns())

    def _policy_at(self, inode: Inode) -> CachePolicy:
        """What decides in a directory, or about a file."""
        if self.overlaps is None:
            return self.policy
        return self.overlaps.policy_at(inode, self.policy)

    def mode_of(self, inode: Inode) -> Mode:
        """What *inode*, a directory or a file, has to obey."""
        return self.mode if self.overlaps is None else self.overlaps.mode_of(inode)

    def _arrives(self, inode: Inode, directory: Inode) -> None:
        """*inode*, known from elsewhere, is now in *directory*: call it before that is noted.

        In a stronger part what is believed of it, and of what lies below it, must
        end. One message ends all names, because it is the only one that needs no
        lock of a request on its way (reactor.end_all_names).
        """
        overlaps = self.overlaps
        if overlaps is not None and overlaps.mode_of(directory) > overlaps.mode_of(inode):
            self._reactor.end_all_names()

    def _inode(
        self, parent: Inode, dir_fd: int, name: bytes, status: os.stat_result
    ) -> tuple[Inode, os.stat_result]:
        """The inode of *name*, and its status, which may be newer than the one given.

        Never one which had its number before. Of a FIFO or a socket, because the
        kernel joins processes by inode, and those of an object that the host has
        removed must not meet those of a later one with the same number. Of a
        directory that is followed, because the changes in the later one are told by
        another handle: taken for the old one they would never be heard of.
        """
        if self.overlaps is not None:
            elsewhere = self._inodes.known(status)
            if elsewhere is not None and elsewhere.parent not in (None, parent):
                self._arrives(elsewhere, parent)
        kind = modes.S_IFMT(status.st_mode)
        follows = kind == modes.S_IFDIR and self._watcher is not None
        if self._backing.holds_objects:
            known = self._inodes.known(status)
            if known is not None and self._backing.is_another(known, dir_fd, name):
                self._inodes.renounce_identity(known)
        if not follows and kind not in _MEETING_PLACES:
            return self._inodes.found(parent, name, status), status
        known = self._inodes.known(status)
        if known is not None and known.path_fd >= 0:
            # Nobody is given its number while we hold it.
            return self._inodes.found(parent, name, status), status
        handle = syscalls.file_handle(dir_fd, name)
        if known is not None and known.handle != handle:
            self._inodes.renounce_identity(known)
        inode = self._inodes.found(parent, name, status)
        inode.handle = handle
        if follows and inode.followed is None and self._watcher is not None:
            inode.followed = self._watcher.follow(inode, dir_fd, name)
            # It may have changed just before; of what comes, we shall hear.
            with contextlib.suppress(OSError):
                status = os.stat(name, dir_fd=dir_fd, follow_symlinks=False)
        return inode, status

    def _named_by_guest(self, parent: Inode, asked: bytes) -> None:
        """The guest has made a name in *parent*, by asking for *asked*."""

    def _made(
        self,
        parent: Inode,
        dir_fd: int,
        name: bytes,
        caller: Caller,
        asked: bytes,
        *,
        is_new: bool = True,
    ) -> EntryAttributes:
        """The answer for a name that was just made; *is_new*: of an object just made too."""
        self.namespace.named(parent, dir_fd, name, asked)
        status = os.stat(name, dir_fd=dir_fd, follow_symlinks=False)
        gone = self._inodes.known(status) if is_new else None
        if gone is not None:
            # What was just made cannot be known: the host has removed an object and
            # given its number to this one. Taken for it, a new FIFO would be the old
            # pipe, and a new directory would show what the old one is believed to hold.
            self._inodes.renounce_identity(gone)
        entry = self._entry(parent, dir_fd, name, status, caller, asked)
        self._inodes[entry.st_ino].changed_ns = time.time_ns()
        return entry

    # Names

    def lookup(
        self, parent_inode: int, name: bytes, ctx: RequestContext
    ) -> Coroutine[Any, Any, EntryAttributes]:
        sets = self.name_sets
        if sets is not None and self._policy_at(parent := self._inodes[parent_inode]).complete:
            if sets.lacks(parent, self._spellings.key(name)):
                sets.answers += 1
                return self._answer_missing(parent, name)
            if parent.followed and sets.wants(parent):
                return self._look_up_first(parent, name, ctx)
        return self._cross(Operation.LOOKUP, self._lookup, parent_inode, name, ctx)

    async def _answer_missing(self, parent: Inode, asked: bytes) -> EntryAttributes:
        """Without a crossing: the guest's side knows all names of *parent*."""
        missing = self._missing(parent, asked)
        if missing is None:
            raise FUSEError(errno.ENOENT)
        return missing

    async def _look_up_first(
        self, parent: Inode, asked: bytes, ctx: RequestContext
    ) -> EntryAttributes:
        """A lookup that brings all names of the directory along, if this one is missing."""
        arrival_ns = self._reactor.arrival_ns
        answer, failure = self._attempt(self._lookup, parent.number, asked, ctx)
        size_bytes = 0
        if failure == errno.ENOENT or (answer is not None and not answer.st_ino):
            size_bytes = await self._read_names(parent)
        await self.crossings.cross(Operation.LOOKUP, size_bytes, arrival_ns)
        if failure:
            raise FUSEError(failure)
        assert isinstance(answer, EntryAttributes)
        return answer

    async def _read_names(self, directory: Inode) -> int:
        """Learn all names of *directory*; returns the bytes that cross with them."""
        assert self.name_sets is not None
        fd, failure = self._attempt(self._backing.open, directory, os.O_RDONLY | os.O_DIRECTORY)
        if failure:
            return 0  # it may be searched and not read
        self.name_sets.begin_reading(directory)
        try:
            if os.fstat(fd).st_size > _LIST_IN_THREAD_BYTES:
                names, failure = await in_thread(lambda: self._attempt(_names_in, fd))
            else:
                names, failure = self._attempt(_names_in, fd)
        finally:
            os.close(fd)
        self.name_sets.end_reading(directory, None if failure else await self._keys_of(names))
        return sum(map(len, names)) + _DIRENT_BYTES * len(names) if names else 0

    async def _keys_of(self, names: list[bytes]) -> set[bytes]:
        """The keys of all names in a directory; of many in a thread."""
        if len(names) < _MANY_NAMES:
            return set(map(self._spellings.key, names))
        keys: set[bytes] = await in_thread(lambda: set(map(self._spellings.key, names)))
        return keys

    def _lookup(self, parent_number: int, asked: bytes, ctx: RequestContext) -> EntryAttributes:
        if asked in (b".", b".."):
            raise OSError(errno.EINVAL, "not a name")
        parent = self._inodes[parent_number]
        dir_fd = self._backing.directory_fd(parent)
        try:
            name, status = self._spellings.look_up(parent, dir_fd, asked, ctx.pid)
        except GivesWayError:
            raise
        except FileNotFoundError:
            self.crossings.missing_lookups += 1
            missing = self._missing(parent, asked)
            if missing is None:
                raise
            return missing
        return self._entry(parent, dir_fd, name, status, ctx, asked)

    def _missing(self, parent: Inode, asked: bytes) -> EntryAttributes | None:
        """The answer that there is no *asked*; None where it must not be believed."""
        if parent.followed is False or (
            parent is self._inodes.root and not self.root_can_lack_names
        ):
            return None
        if parent.number in self.directories_to_volumes:
            return None
        lifetime_ns = self._policy_at(parent).missing_ns(asked, time.time_ns())
        lifetime_ns = self._spellings.believed_missing_ns(parent, asked, lifetime_ns)
        if lifetime_ns <= 0:
            return None
        # A number of zero is the protocol's way to say: missing, believe it.
        missing = EntryAttributes()
        missing.st_ino = 0
        missing.entry_timeout = lifetime_ns * _S_PER_NS
        return missing

    async def forget(self, inode_list: Sequence[tuple[int, int]]) -> None:
        self.crossings.counts[Operation.FORGET] += len(inode_list)
        for number, lookups in inode_list:
            try:
                inode = self._inodes.forget(number, lookups)
            except KeyError as error:
                self._reactor.internal_errors.note("FORGET of what was not told", error)
                continue
            except AssertionError as error:
                # More than it was told of: what is left of the count is made to hold.
                self._reactor.internal_errors.note("FORGET of more than was told", error)
                self._inodes[number].lookups = 0
                inode = self._inodes.forget(number, 0)
            if inode is not None:
                self._attempt(self.let_go, inode)
        self._let_go_unneeded()

    def _let_go_unneeded(self) -> None:
        """Directories that were kept only because something was reached through them."""
        while (inode := self._inodes.take_unneeded()) is not None:
            self.let_go(inode)

    def let_go(self, inode: Inode) -> None:
        """The guest refers to *inode* no more."""
        self.namespace.forget(inode)

    def mknod(
        self, parent_inode: int, name: bytes, mode: int, rdev: int, ctx: RequestContext
    ) -> Coroutine[Any, Any, EntryAttributes]:
        return self._change(Operation.MKNOD, self._mknod, parent_inode, name, mode, rdev, ctx)

    def _mknod(
        self, parent_number: int, asked: bytes, mode: int, device: int, ctx: RequestContext
    ) -> EntryAttributes:
        if (modes.S_ISCHR(mode) or modes.S_ISBLK(mode)) and not self._guest_devices:
            raise OSError(errno.EPERM, "devices are not shared")
        parent = self._inodes[parent_number]
        dir_fd = self._backing.directory_fd(parent)
        name = self._spellings.new(parent, dir_fd, asked)
        mode = self._owners.may_carry(mode, ctx)
        self._owners.make(ctx, os.mknod, name, mode, device, dir_fd=dir_fd)
        return self._made(parent, dir_fd, name, ctx, asked)

    def mkdir(
        self, parent_inode: int, name: bytes, mode: int, ctx: RequestContext
    ) -> Coroutine[Any, Any, EntryAttributes]:
        return self._change(Operation.MKDIR, self._mkdir, parent_inode, name, mode, ctx)

    def _mkdir(
        self, parent_number: int, asked: bytes, mode: int, ctx: RequestContext
    ) -> EntryAttributes:
        parent = self._inodes[parent_number]
        dir_fd = self._backing.directory_fd(parent)
        name = self._spellings.new(parent, dir_fd, asked)
        self._owners.make(ctx, os.mkdir, name, modes.S_IMODE(mode), dir_fd=dir_fd)
        return self._made(parent, dir_fd, name, ctx, asked)

    def symlink(
        self, parent_inode: int, name: bytes, target: bytes, ctx: RequestContext
    ) -> Coroutine[Any, Any, EntryAttributes]:
        return self._change(Operation.SYMLINK, self._symlink, parent_inode, name, target, ctx)

    def _symlink(
        self, parent_number: int, asked: bytes, target: bytes, ctx: RequestContext
    ) -> EntryAttributes:
        parent = self._inodes[parent_number]
        dir_fd = self._backing.directory_fd(parent)
        name = self._spellings.new(parent, dir_fd, asked)
        self._owners.make(ctx, os.symlink, target, name, dir_fd=dir_fd)
        return self._made(parent, dir_fd, name, ctx, asked)

    def link(
        self, inode: int, new_parent_inode: int, new_name: bytes, ctx: RequestContext
    ) -> Coroutine[Any, Any, EntryAttributes]:
        return self._change(Operation.LINK, self._link, inode, new_parent_inode, new_name, ctx)

    def _link(
        self, number: int, parent_number: int, asked: bytes, ctx: RequestContext
    ) -> EntryAttributes:
        parent = self._inodes[parent_number]
        with self._backing.pinned(self._inodes[number]) as fd:
            dir_fd = self._backing.directory_fd(parent)
            name = self._spellings.new(parent, dir_fd, asked)
            at.give_name(fd, dir_fd, name)
            self.namespace.has_changed(self._inodes[number], fd)
        return self._made(parent, dir_fd, name, ctx, asked, is_new=False)

    def unlink(
        self, parent_inode: int, name: bytes, ctx: RequestContext
    ) -> Coroutine[Any, Any, None]:
        return self._change(Operation.UNLINK, self._remove, parent_inode, name, os.unlink)

    def rmdir(
        self, parent_inode: int, name: bytes, ctx: RequestContext
    ) -> Coroutine[Any, Any, None]:
        return self._change(Operation.RMDIR, self._remove, parent_inode, name, os.rmdir)

    def _remove(self, parent_number: int, asked: bytes, remove: Callable[..., None]) -> None:
        parent = self._inodes[parent_number]
        dir_fd = self._backing.directory_fd(parent)
        name = self._spellings.existing(parent, dir_fd, asked)
        with self.namespace.losing_a_name(parent, dir_fd, name):
            remove(name, dir_fd=dir_fd)
        self.namespace.unnamed(parent, dir_fd, name, asked)

    def rename(
        self,
        parent_inode_old: int,
        name_old: bytes,
        parent_inode_new: int,
        name_new: bytes,
        flags: int,
        ctx: RequestContext,
    ) -> Coroutine[Any, Any, None]:
        return self._change(
            Operation.RENAME,
            self._rename,
            parent_inode_old,
            name_old,
            parent_inode_new,
            name_new,
            flags,
        )

    def _rename(
        self, old_number: int, old_asked: bytes, new_number: int, new_asked: bytes, flags: int
    ) -> None:
        if flags & ~(pyfuse3.RENAME_EXCHANGE | pyfuse3.RENAME_NOREPLACE):
            # RENAME_WHITEOUT would leave a device in the old one's place.
            raise OSError(errno.EINVAL, "not shared")
        self.namespace.rename(
            self._inodes[old_number], old_asked, self._inodes[new_number], new_asked, flags
        )

    # Attributes

    def getattr(self, inode: int, ctx: RequestContext) -> Coroutine[Any, Any, EntryAttributes]:
        return self._cross(Operation.GETATTR, self._getattr, inode, ctx)

    def _getattr(
        self, number: int, ctx: RequestContext, *, believes: bool = True
    ) -> EntryAttributes:
        inode = self._inodes[number]
        fd, name, status = self._backing.find(inode)
        ids = self._owners.ids(fd, name, status, ctx)
        believed = self._believed(inode, status) if believes else NOT_BELIEVED
        return self._attributes(inode, status, ids, believed)

    def setattr(
        self,
        inode: int,
        attr: EntryAttributes,
        fields: pyfuse3.SetattrFields,
        fh: int | None,
        ctx: RequestContext,
    ) -> Coroutine[Any, Any, EntryAttributes]:
        return self._change(Operation.SETATTR, self._setattr, inode, attr, fields, fh, ctx)

    def _setattr(
        self,
        number: int,
        wanted: EntryAttributes,
        fields: pyfuse3.SetattrFields,
        fh: int | None,
        ctx: RequestContext,
    ) -> EntryAttributes:
        inode = self._inodes[number]
        if fh is not None:
            self.inode_of(fh, is_directory=False)
        with self._backing.pinned(inode) as fd:
            changes_times = fields.update_atime or fields.update_mtime
            changes_owner = fields.update_uid or fields.update_gid
            before = os.fstat(fd).st_mode if fields.update_mode else 0
            if fields.update_size:
                self._end_set_id(fd, ctx)
                # With a handle the right to write was settled when it was opened.
                if fh is None:
                    at.set_size(fd, wanted.st_size)
                else:
                    os.ftruncate(fh, wanted.st_size)
            if changes_owner:
                self._end_set_id(fd, ctx, is_chown=True)
                self._owners.change(
                    fd,
                    os.fstat(fd),
                    wanted.st_uid if fields.update_uid else None,
                    wanted.st_gid if fields.update_gid else None,
                )
            if fields.update_mode:
                mode = modes.S_IMODE(wanted.st_mode)
                if not inode.is_directory:
                    mode = self._owners.may_carry(mode, ctx)
                set_mode(fd, before, mode, lambda: self._is_written(inode))
            if changes_times:
                syscalls.set_times(
                    fd,
                    wanted.st_atime_ns if fields.update_atime else None,
                    wanted.st_mtime_ns if fields.update_mtime else None,
                )
            if not (fields.update_size or fields.update_mode or changes_owner or changes_times):
                # chown(2) of neither id, or a write(2) to come that ends set-id bits:
                # the first moves the ctime, both end the bits.
                self._end_set_id(fd, ctx, is_chown=True)
                syscalls.set_owner(fd, -1, -1)
            self.namespace.has_changed(inode, fd)
            status = os.fstat(fd)
            ids = self._owners.ids(fd, b"", status, ctx)
        return self._attributes(inode, status, ids, self._believed(inode, status))

    @staticmethod
    def _is_written(inode: Inode) -> bool:
        """Whether the guest has it open to write."""
        return any(
            fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE != os.O_RDONLY
            for fd in inode.open_fds or ()
        )

    def _end_set_id(self, fd: int, caller: RequestContext, *, is_chown: bool = False) -> None:
        """Before *caller* changes the content, or the owner, of the file behind *fd*."""
        if not caller.uid or not self._privileged:
            return
        stranger = self._is_stranger(fd, caller)
        if not is_chown:
            end_set_id(fd, stranger=stranger)
        elif stranger:
            end_group_id(fd)

    def _is_stranger(self, fd: int, caller: RequestContext) -> bool:
        """Whether *caller* is outside the group of a file whose set-group-ID bit means no program.

        For all other files it does not matter, and is not asked.
        """
        status = os.fstat(fd)
        if not has_group_id_alone(status.st_mode):
            return False
        _, gid = self._owners.ids(fd, b"", status, caller)
        return gid != caller.gid and gid not in groups_of(caller.pid)

    def readlink(self, inode: int, ctx: RequestContext) -> Coroutine[Any, Any, bytes]:
        return self._cross(Operation.READLINK, self._readlink, inode)

    def _readlink(self, number: int) -> bytes:
        with self._backing.pinned(self._inodes[number]) as fd:
            # An empty path reads the link behind the descriptor itself (readlink(2)).
            return os.readlink(b"", dir_fd=fd)

    def access(self, inode: int, mode: int, ctx: RequestContext) -> Coroutine[Any, Any, bool]:
        return self._cross(Operation.ACCESS, self._access, inode, mode)

    def _access(self, number: int, mode: int) -> bool:
        with self._backing.pinned(self._inodes[number]) as fd:
            return os.access(magic_link(fd), mode, effective_ids=True)

    def statfs(self, ctx: RequestContext) -> Coroutine[Any, Any, pyfuse3.StatvfsData]:
        return self._cross(Operation.STATFS, self._statfs)

    def _statfs(self) -> pyfuse3.StatvfsData:
        host = os.fstatvfs(self._inodes.root.path_fd)
        answer = pyfuse3.StatvfsData()
        answer.f_bsize = host.f_bsize
        answer.f_frsize = host.f_frsize
        answer.f_blocks = host.f_blocks
        answer.f_bfree = host.f_bfree
        answer.f_bavail = host.f_bavail
        answer.f_files = host.f_files
        answer.f_ffree = host.f_ffree
        answer.f_favail = host.f_favail
        answer.f_namemax = host.f_namemax
        return answer

    # Files

    def open(self, inode: int, flags: int, ctx: RequestContext) -> Coroutine[Any, Any, FileInfo]:
        return self._cross(Operation.OPEN, self._open, inode, flags, ctx)

    def _open(self, number: int, flags: int, ctx: RequestContext) -> FileInfo:
        inode = self._inodes[number]
        is_fixed = False
        try:
            fd = self._backing.open(inode, flags & _HOST_FLAGS)
        except PermissionError:
            if not flags & os.O_APPEND:
                raise
            # An append-only file is opened by who says that it appends, and by nobody else.
            fd = self._backing.open(inode, flags & (_HOST_FLAGS | os.O_APPEND))
            is_fixed = True
        try:
            if flags & os.O_TRUNC:
                # Only now that we know that it is the right file.
                self._end_set_id(fd, ctx)
                if flags & os.O_ACCMODE == os.O_RDONLY:
                    # Not truncate(2): that may leave the times of an empty file alone.
                    os.close(at.reopened(fd, os.O_RDONLY | os.O_TRUNC))
                else:
                    os.truncate(fd, 0)
                self.namespace.has_changed(inode, fd)
            keep_pages = self._keep_pages(inode, os.fstat(fd))
            handle = self._opened(inode, fd, flags, ctx, keep_pages)
            if is_fixed:
                handle.direct_io = True  # a page written as a whole would be appended as a whole
            return handle
        except BaseException:
            os.close(fd)
            raise

    def _keep_pages(self, inode: Inode, status: os.stat_result) -> bool:
        return self._is_followed(inode) and self._policy_at(inode).keep_pages(
            status, time.time_ns()
        )

    def create(
        self, parent_inode: int, name: bytes, mode: int, flags: int, ctx: RequestContext
    ) -> Coroutine[Any, Any, tuple[FileInfo, EntryAttributes]]:
        return self._change(Operation.CREATE, self._create, parent_inode, name, mode, flags, ctx)

    def _create(
        self, parent_number: int, asked: bytes, mode: int, flags: int, ctx: RequestContext
    ) -> tuple[FileInfo, EntryAttributes]:
        parent = self._inodes[parent_number]
        dir_fd = self._backing.directory_fd(parent)
        name = self._spellings.new(parent, dir_fd, asked, may_exist=not flags & os.O_EXCL)
        exclusive = flags & os.O_EXCL
        if self._kernel_checks:
            # The guest's kernel has checked that a file may be made here, and not that
            # one which the host has made meanwhile may be opened.
            exclusive = os.O_EXCL
        try:
            fd = self._owners.make(
                ctx,
                os.open,
                name,
                OPEN_SAFELY | os.O_CREAT | exclusive | flags & (_HOST_FLAGS | os.O_TRUNC),
                modes.S_IMODE(self._owners.may_carry(mode, ctx)),
                dir_fd=dir_fd,
            )
        except OSError as error:
            # The host has put a link, a FIFO or the like where the guest believed
            # nothing was: its kernel shall look again and open what it finds.
            if error.errno in (errno.ELOOP, errno.ENXIO):
                raise StaleError from error
            if error.errno == errno.EEXIST and not flags & os.O_EXCL:
                raise StaleError from error
            raise
        try:
            self.namespace.named(parent, dir_fd, name, asked)
            status = os.fstat(fd)
            if not modes.S_ISREG(status.st_mode):
                raise StaleError
            # A policy of the user's own may fail, and nothing may after the entry.
            kept = parent.followed is not False and self._policy_at(parent).keep_pages(
                status, time.time_ns()
            )
            entry = self._entry(parent, dir_fd, name, status, ctx, asked)
            inode = self._inodes[entry.st_ino]
            inode.changed_ns = time.time_ns()
            return self._opened(inode, fd, flags, ctx, kept), entry
        except BaseException:
            os.close(fd)
            raise

    def _opened(
        self, inode: Inode, fd: int, flags: int, caller: RequestContext, keep_pages: bool
    ) -> FileInfo:
        """Note that the guest has *fd* open. Nothing in here may fail, nor after it."""
        # The descriptor serves as the handle: one look-up less on every read.
        handle = FileInfo(fh=fd, keep_cache=keep_pages)
        # Appends bypass the page cache. Through it the kernel cuts a write(2) at
        # page boundaries, so that host and guest would tear each other's records;
        # and it writes a shared mapping's pages back through the handle it was made
        # with, by requests that pyfuse3 does not tell from appends.
        handle.direct_io = self._direct or bool(flags & os.O_APPEND)
        self._open_files[fd] = inode
        if inode.open_fds is None:
            inode.open_fds = [fd]
        else:
            inode.open_fds.append(fd)
        if flags & os.O_APPEND:
            self._appending.add(fd)
        if flags & (os.O_SYNC | os.O_DSYNC):
            self._synchronous.add(fd)
        if caller.uid and self._privileged and flags & os.O_ACCMODE != os.O_RDONLY:
            self._ending_set_id.add(fd)
            if self._is_stranger(fd, caller):
                self._strangers.add(fd)
        return handle

    async def read(self, fh: int, off: int, size: int) -> bytes:
        arrival_ns = self._reactor.arrival_ns
        if self._spent_buffers and len(self._spent_buffers[-1]) >= size:
            whole = self._spent_buffers.pop()
        else:
            whole = bytearray(size)
        buffer = memoryview(whole)[:size]
        length, failure = None, 0
        try:
            length = self._read_from_memory(fh, off, buffer)
        except Exception as error:
            failure = self._errno_of(error, self._read_from_memory, (fh, off, size))
        if length is None and not failure:
            length, failure = await in_thread(lambda: self._attempt(read_fully, fh, off, buffer))
        await self.crossings.cross(Operation.READ, length or 0, arrival_ns)
        if failure:
            raise FUSEError(failure)
        # pyfuse3 takes any buffer, and copies it into its reply before any other
        # handler runs: from then on the next read may use it. Fresh memory would
        # cost a page fault per 4 KiB, as much as the copy itself.
        if len(self._spent_buffers) < _SPENT_BUFFERS:
            self._spent_buffers.append(whole)
        elif len(self._spent_buffers[-1]) < len(whole):
            self._spent_buffers[-1] = whole
        return cast(bytes, buffer[:length])

    def _read_from_memory(self, fd: int, offset: int, buffer: memoryview) -> int | None:
        """The bytes read if the host has them in memory; None if it would have to wait."""
        device = self._open_files[fd].device
        if device in self._never_waiting and device >= 0:
            return read_fully(fd, offset, buffer)
        try:
            length = os.preadv(fd, [buffer], offset, os.RWF_NOWAIT)
        except BlockingIOError:
            return None
        except OSError as error:
            if error.errno != errno.EOPNOTSUPP:
                raise
            # A file system that does not know the question, such as tmpfs.
            self._never_waiting.add(device)
            return read_fully(fd, offset, buffer)
        if length < len(buffer) and offset + length < os.fstat(fd).st_size:
            return None
        return length

    async def write(self, fh: int, off: int, buf: bytes) -> int:
        arrival_ns = self._reactor.arrival_ns
        inode = self._open_files[fh]
        length, failure = 0, 0
        if len(buf) >= WRITE_IN_THREAD_BYTES or fh in self._synchronous:
            length, failure = await in_thread(lambda: self._attempt(self._write, fh, off, buf))
        else:
            try:
                length = self._write(fh, off, buf)
            except Exception as error:
                failure = self._errno_of(error, self._write, (fh, off, buf))
        if length:
            self.namespace.has_changed(inode, fh)
        await self.crossings.cross(Operation.WRITE, length or 0, arrival_ns)
        if failure:
            raise FUSEError(failure)
        assert isinstance(length, int)
        return length

    def _write(self, fd: int, offset: int, data: bytes) -> int:
        if fd in self._ending_set_id:
            end_set_id(fd, stranger=fd in self._strangers)
        if fd in self._appending:
            # The guest's kernel appends at the size it knows, which the host may
            # have outgrown: the host's own end of file decides.
            return os.pwritev(fd, [data], offset, os.RWF_APPEND)
        return os.pwrite(fd, data, offset)

    def flush(self, fh: int) -> Coroutine[Any, Any, None]:
        return self._cross(Operation.FLUSH, self._flush, fh)

    def _flush(self, fd: int) -> None:
        self.inode_of(fd, is_directory=False)
        # Closing a copy makes the host report what it has to report at close(2).
        try:
            os.close(os.dup(fd))
        except OSError as error:
            # No descriptor left for a copy: the guest's close is no worse for it.
            if error.errno not in (errno.EMFILE, errno.ENFILE):
                raise

    async def release(self, fh: int) -> None:
        self.crossings.counts[Operation.RELEASE] += 1
        inode = self._open_files[fh]
        del self._open_files[fh]
        assert inode.open_fds is not None
        inode.open_fds.remove(fh)
        if not inode.open_fds:
            inode.open_fds = None
        self._appending.discard(fh)
        self._synchronous.discard(fh)
        self._ending_set_id.discard(fh)
        self._strangers.discard(fh)
        # Nobody waits for what close(2) may still have to say; flush has asked.
        self._attempt(os.close, fh)

    def fsync(self, fh: int, datasync: bool) -> Coroutine[Any, Any, None]:
        self.inode_of(fh, is_directory=False)
        return self._cross_in_thread(Operation.FSYNC, os.fdatasync if datasync else os.fsync, fh)

    # Directories

    def opendir(self, inode: int, ctx: RequestContext) -> Coroutine[Any, Any, int]:
        return self._cross(Operation.OPENDIR, self._opendir, inode, ctx)

    def _opendir(self, number: int, ctx: RequestContext) -> int:
        inode = self._inodes[number]
        fd = self._backing.open(inode, os.O_RDONLY | os.O_DIRECTORY)
        # READDIRPLUS does not tell who asks, but who opened the directory is known.
        self._listings[fd] = Listing(inode, KnownCaller(ctx.uid, ctx.gid))
        return fd

    async def readdir(self, fh: int, start_id: int, token: ReaddirToken) -> None:
        arrival_ns = self._reactor.arrival_ns
        listing = self._listings[fh]
        failure = await self._begin_listing(fh, listing) if start_id == 0 else 0
        await self._list_on(
            Operation.READDIRPLUS, self._add_entry, token, fh, start_id, failure, arrival_ns
        )

    async def read_names(self, fh: int, start_id: int, size_bytes: int) -> bytes:
        """Answer READDIR, which tells names and numbers only (see negotiation.py)."""
        arrival_ns = self._reactor.arrival_ns
        listing = self._listings[fh]
        failure = await self._begin_listing(fh, listing) if start_id == 0 else 0
        reply = NamesReply(size_bytes)
        await self._list_on(
            Operation.READDIR, self._add_name, reply, fh, start_id, failure, arrival_ns
        )
        return b"".join(reply.entries)

    async def _begin_listing(self, fh: int, listing: Listing) -> int:
        """Settle the names of *listing* as they are now; an errno, or 0."""
        # Also checks that the host has not moved it out of the export meanwhile.
        status, failure = self._attempt(self._backing.status, listing.directory)
        sets = self.name_sets
        learns = (
            sets is not None
            and listing.directory.followed
            and sets.wants(listing.directory)
            and self._policy_at(listing.directory).complete
        )
        if learns and sets is not None:
            sets.begin_reading(listing.directory)
        if failure:
            names = None
        elif status.st_size > _LIST_IN_THREAD_BYTES:
            names, failure = await in_thread(lambda: self._attempt(self._list, fh, listing))
        else:
            names, failure = self._attempt(self._list, fh, listing)
        listing.names = names or []
        if learns and sets is not None:
            keys = await self._keys_of(listing.names[2:])
            sets.end_reading(listing.directory, None if failure else keys)
        if not failure:
            _, failure = self._attempt(self._spellings.listed, listing.directory, fh, listing.names)
        return failure

    async def _list_on(
        self,
        operation: Operation,
        add: Callable[..., int],
        reply: Any,
        fh: int,
        start_id: int,
        failure: int,
        arrival_ns: int,
    ) -> None:
        """Fill *reply* from *start_id* on, by *add*, and answer when the crossing is paid."""
        listing = self._listings[fh]
        size_bytes = 0
        for position in range(start_id, len(listing.names)):
            if position % _ENTRIES_PER_BREATH == _ENTRIES_PER_BREATH - 1:
                await breathe()
            added, failure = self._attempt(add, reply, fh, listing, position)
            if failure and size_bytes:
                failure = 0  # what was added counts; the next request meets the failure
                break
            if failure or not added:
                break
            size_bytes += added
        await self.crossings.cross(operation, size_bytes, arrival_ns)
        if failure:
            raise FUSEError(failure)

    def _list(self, fh: int, listing: Listing) -> list[bytes]:
        return [b".", b"..", *_names_in(fh)]

    def _add_entry(self, token: ReaddirToken, fh: int, listing: Listing, position: int) -> int:
        """Add one entry to the reply: the bytes it took, or 0 if the reply is full."""
        name = listing.names[position]
        if name in (b".", b".."):
            # Shown, but never counted as looked up (fuse_direntplus_link in the
            # kernel). The host's ".." is not asked: it may lie outside the export.
            inode = listing.directory
            if name == b".." and inode.parent is not None:
                inode = inode.parent
            status = os.fstat(fh)
            ids = self._owners.ids(fh, b".", status, listing.caller)
            entry = self._attributes(inode, status, ids, NOT_BELIEVED)
            added = pyfuse3.readdir_reply(token, name, entry, position + 1)
            return DIRENTPLUS_BYTES if added else 0
        seen = _status_of_entry(fh, name)
        if seen is None:
            return 1
        shown = self._spellings.shown(fh, name)
        believed = NOT_BELIEVED
        if listing.directory.followed is not False:
            believed = self._found(listing.directory, name, seen)
            believed = self._spellings.believed(name, shown, believed)
        ids = self._owners.ids(fh, name, seen, listing.caller)
        inode, status = self._inode(listing.directory, fh, name, seen)
        entry = self._attributes(inode, status, ids, believed)
        if not pyfuse3.readdir_reply(token, shown, entry, position + 1):
            # It may have been known before, or be needed for what is held of it.
            if self._inodes.let_go(inode):
                self.let_go(inode)
            return 0
        inode.lookups += 1
        self._backing.hold(inode, fh, name)
        return DIRENTPLUS_BYTES + len(name)

    def _add_name(self, reply: NamesReply, fh: int, listing: Listing, position: int) -> int:
        """As _add_entry, of an entry whose attributes nobody has asked for."""
        name = listing.names[position]
        if name in (b".", b".."):
            inode = listing.directory
            if name == b".." and inode.parent is not None:
                inode = inode.parent
            return reply.add(name, inode.number, modes.S_IFDIR, position + 1)
        # For the kind of the object alone: without it a walk would ask for each.
        status = _status_of_entry(fh, name)
        if status is None:
            return 1
        known = self._inodes.known(status)
        number = known.number if known is not None else status.st_ino
        return reply.add(self._spellings.shown(fh, name), number, status.st_mode, position + 1)

    async def releasedir(self, fh: int) -> None:
        self.crossings.counts[Operation.RELEASEDIR] += 1
        self.inode_of(fh, is_directory=True)
        del self._listings[fh]
        self._attempt(os.close, fh)

    def fsyncdir(self, fh: int, datasync: bool) -> Coroutine[Any, Any, None]:
        self.inode_of(fh, is_directory=True)
        return self._cross_in_thread(Operation.FSYNCDIR, os.fdatasync if datasync else os.fsync, fh)

    # Extended attributes

    def setxattr(
        self, inode: int, name: bytes, value: bytes, ctx: RequestContext
    ) -> Coroutine[Any, Any, None]:
        return self._change(
            Operation.SETXATTR,
            self._change_on_host,
            inode,
            self._attributes_of_guests.set,
            name,
            value,
        )

    def getxattr(self, inode: int, name: bytes, ctx: RequestContext) -> Coroutine[Any, Any, bytes]:
        return self._cross(
            Operation.GETXATTR, self._on_host, inode, self._attributes_of_guests.get, name
        )

    def listxattr(self, inode: int, ctx: RequestContext) -> Coroutine[Any, Any, Sequence[bytes]]:
        return self._cross(
            Operation.LISTXATTR, self._on_host, inode, self._attributes_of_guests.names, ctx
        )

    def removexattr(
        self, inode: int, name: bytes, ctx: RequestContext
    ) -> Coroutine[Any, Any, None]:
        return self._change(
            Operation.REMOVEXATTR,
            self._change_on_host,
            inode,
            self._attributes_of_guests.remove,
            name,
        )

    def _on_host(self, number: int, call: Callable[..., Any], *arguments: Any) -> Any:
        """*call* with a descriptor of the object and *arguments*."""
        with self._backing.pinned(self._inodes[number]) as fd:
            return call(fd, *arguments)

    def _change_on_host(self, number: int, call: Callable[..., Any], *arguments: Any) -> None:
        """As _on_host, for a *call* that changes the object."""
        inode = self._inodes[number]
        with self._backing.pinned(inode) as fd:
            call(fd, *arguments)
            self.namespace.has_changed(inode, fd)


def _read_only() -> None:
    raise OSError(errno.EROFS, os.strerror(errno.EROFS))


_MEETING_PLACES = (modes.S_IFIFO, modes.S_IFSOCK)
_NEVER_BELIEVED = (*_MEETING_PLACES, modes.S_IFCHR, modes.S_IFBLK)

DIRENTPLUS_BYTES = 152
_DIRENT = struct.Struct("=QQII")
_DIRENT_BYTES = _DIRENT.size
"""struct fuse_direntplus and struct fuse_dirent without the name (linux/fuse.h)."""


def _status_of_entry(fh: int, name: bytes) -> os.stat_result | None:
    """Of a name of a listing; None for one that is passed over."""
    try:
        return os.stat(name, dir_fd=fh, follow_symlinks=False)
    except FileNotFoundError:
        return None  # gone since the listing began
    except OSError as error:
        if error.errno not in (errno.ENOTCONN, errno.ELOOP):
            raise
        return None  # a dead mount on the host, or this very share: the rest can be listed


def _names_in(fd: int) -> list[bytes]:
    return [os.fsencode(name) for name in os.listdir(fd)]


def read_fully(fd: int, offset: int, buffer: memoryview) -> int:
    """Read until *buffer* is full or the file ends: a short answer means the end to the guest."""
    length = 0
    while length < len(buffer):
        read = os.preadv(fd, [buffer[length:]], offset + length)
        if not read:
            break
        length += read
    return length
