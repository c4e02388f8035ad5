"""The host's part of each request: one short method, called at once and in the reactor's thread.

Kernel spellings live here and nowhere else. They raise what the host says, as OSError: what the
guest sees of it is decided in host_calls.py, and what it costs in handlers.py. Only what may block
for longer than a thread switch takes is called from another thread: what writes much.
"""

import errno
import fcntl
import os
import stat as modes
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pyfuse3
from pyfuse3 import EntryAttributes, FileInfo, RequestContext

from osxfs_sim.fs import at
from osxfs_sim.mount import syscalls
from osxfs_sim.mount.latency.crossings import Crossings
from osxfs_sim.mount.requests.attributes import Show
from osxfs_sim.mount.requests.caching import Caching
from osxfs_sim.mount.requests.entries import Entries
from osxfs_sim.mount.requests.handle_table import HandleTable, Listing
from osxfs_sim.mount.requests.namespace import Namespace
from osxfs_sim.mount.tree.backing import OPEN_SAFELY, Backing, StaleError, magic_link
from osxfs_sim.mount.tree.inodes import Inode, InodeTable
from osxfs_sim.mount.tree.owners import KnownCaller, Owners
from osxfs_sim.mount.tree.set_id import clear_set_gid, clear_set_id, has_group_id_alone, set_mode
from osxfs_sim.mount.tree.spellings import CaseOnlyRenameError, Spellings
from osxfs_sim.mount.tree.syscall_inspection import groups_of

# Flags of open(2) that mean something to the host's file. write() deals with
# O_APPEND, the guest's kernel with the rest, O_DIRECT included.
_HOST_FLAGS = os.O_ACCMODE | os.O_SYNC | os.O_DSYNC | os.O_NOATIME


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What the guest may do at all, and what the server has to do because it is root."""

    guest_devices: bool = False
    """Whether root in the guest may make devices. They cannot be opened there in any case."""
    kernel_checks: bool = False
    """Whether the guest's kernel checks permissions, by what it knows."""
    server_is_root: bool = False
    """Root's writes leave set-id bits as they are: the server clears them itself."""


class HostOperations:
    """The host's part of each FUSE operation. Arguments as pyfuse3's; all raise OSError."""

    def __init__(
        self,
        inodes: InodeTable,
        backing: Backing,
        owners: Owners,
        spellings: Spellings,
        namespace: Namespace,
        crossings: Crossings,
        caching: Caching,
        entries: Entries,
        show: Show,
        handles: HandleTable,
        capabilities: Capabilities,
    ) -> None:
        self._inodes = inodes
        self._backing = backing
        self._owners = owners
        self._spellings = spellings
        self._namespace = namespace
        self._crossings = crossings
        self._caching = caching
        self._entries = entries
        self._show = show
        self._handles = handles
        # Each write looks at these.
        self._clearing_set_id, self._non_members = handles.clearing_set_id, handles.non_members
        self._appending = handles.appending
        self._guest_devices = capabilities.guest_devices
        self._kernel_checks = capabilities.kernel_checks
        self._privileged = capabilities.server_is_root

    def lookup(self, parent_number: int, requested: bytes, ctx: RequestContext) -> EntryAttributes:
        """The entry of *requested*, or a negative one. Raises OSError: ENOENT, EINVAL for "."."""
        if requested in (b".", b".."):
            raise OSError(errno.EINVAL, "not a name")
        parent = self._inodes[parent_number]
        dir_fd = self._backing.directory_fd(parent)
        try:
            name, status = self._spellings.look_up(parent, dir_fd, requested, ctx.pid)
        except CaseOnlyRenameError:
            raise
        except FileNotFoundError:
            self._crossings.missing_lookups += 1
            missing = self._entries.missing(parent, requested)
            if missing is None:
                raise
            return missing
        return self._entries.entry(parent, dir_fd, name, status, ctx, requested)

    def mknod(
        self, parent_number: int, requested: bytes, mode: int, device: int, ctx: RequestContext
    ) -> EntryAttributes:
        """Make a file, FIFO, socket or device; its entry. Raises OSError: EPERM for a device."""
        if (modes.S_ISCHR(mode) or modes.S_ISBLK(mode)) and not self._guest_devices:
            raise OSError(errno.EPERM, "devices are not shared")
        parent = self._inodes[parent_number]
        dir_fd = self._backing.directory_fd(parent)
        name = self._spellings.new(parent, dir_fd, requested)
        mode = self._owners.may_carry(mode, ctx)
        self._owners.make(ctx, os.mknod, name, mode, device, dir_fd=dir_fd)
        return self._entries.made(parent, dir_fd, name, ctx, requested)

    def mkdir(
        self, parent_number: int, requested: bytes, mode: int, ctx: RequestContext
    ) -> EntryAttributes:
        """Make a directory for the caller; its new entry. Raises OSError."""
        parent = self._inodes[parent_number]
        dir_fd = self._backing.directory_fd(parent)
        name = self._spellings.new(parent, dir_fd, requested)
        self._owners.make(ctx, os.mkdir, name, modes.S_IMODE(mode), dir_fd=dir_fd)
        return self._entries.made(parent, dir_fd, name, ctx, requested)

    def symlink(
        self, parent_number: int, requested: bytes, target: bytes, ctx: RequestContext
    ) -> EntryAttributes:
        """Make a symlink to *target* for the caller; its new entry. Raises OSError."""
        parent = self._inodes[parent_number]
        dir_fd = self._backing.directory_fd(parent)
        name = self._spellings.new(parent, dir_fd, requested)
        self._owners.make(ctx, os.symlink, target, name, dir_fd=dir_fd)
        return self._entries.made(parent, dir_fd, name, ctx, requested)

    def link(
        self, number: int, parent_number: int, requested: bytes, ctx: RequestContext
    ) -> EntryAttributes:
        """Give the object *number* the further name *requested*; its new entry. Raises OSError."""
        parent = self._inodes[parent_number]
        with self._backing.pinned(self._inodes[number]) as fd:
            dir_fd = self._backing.directory_fd(parent)
            name = self._spellings.new(parent, dir_fd, requested)
            at.give_name(fd, dir_fd, name)
            self._namespace.record_change(self._inodes[number], fd)
        return self._entries.made(parent, dir_fd, name, ctx, requested, is_new=False)

    def remove(self, parent_number: int, requested: bytes, remove: Callable[..., None]) -> None:
        """Remove a name by *remove*, os.unlink or os.rmdir; hold the object. Raises OSError."""
        parent = self._inodes[parent_number]
        dir_fd = self._backing.directory_fd(parent)
        name = self._spellings.existing(parent, dir_fd, requested)
        with self._namespace.removing_name(parent, dir_fd, name):
            remove(name, dir_fd=dir_fd)
        self._namespace.name_removed(parent, dir_fd, name, requested)

    def rename(
        self,
        old_number: int,
        old_requested: bytes,
        new_number: int,
        new_requested: bytes,
        flags: int,
    ) -> None:
        """Rename on the host, by renameat2(2). Raises OSError: EINVAL for flags not shared."""
        if flags & ~(pyfuse3.RENAME_EXCHANGE | pyfuse3.RENAME_NOREPLACE):
            # RENAME_WHITEOUT would leave a device in the old one's place.
            raise OSError(errno.EINVAL, "not shared")
        self._namespace.rename(
            self._inodes[old_number], old_requested, self._inodes[new_number], new_requested, flags
        )

    def getattr(
        self, number: int, ctx: RequestContext, *, is_cached: bool = True
    ) -> EntryAttributes:
        """The attributes of the inode *number*. Raises OSError: ESTALE."""
        return self._entries.attributes(self._inodes[number], ctx, is_cached=is_cached)

    def setattr(
        self,
        number: int,
        wanted: EntryAttributes,
        fields: pyfuse3.SetattrFields,
        fh: int | None,
        ctx: RequestContext,
    ) -> EntryAttributes:
        """Set what *fields* names of *wanted*; all the attributes afterwards. Raises OSError."""
        inode = self._inodes[number]
        if fh is not None:
            self._handles.inode_of(fh, is_directory=False)
        with self._backing.pinned(inode) as fd:
            changes_times = fields.update_atime or fields.update_mtime
            changes_owner = fields.update_uid or fields.update_gid
            before = os.fstat(fd).st_mode if fields.update_mode else 0
            if fields.update_size:
                self._clear_set_id(fd, ctx)
                # With a handle the right to write was settled when it was opened.
                if fh is None:
                    at.set_size(fd, wanted.st_size)
                else:
                    os.ftruncate(fh, wanted.st_size)
            if changes_owner:
                self._clear_set_id(fd, ctx, is_chown=True)
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
                # chown(2) of neither id, or a write(2) to come that clears set-id bits:
                # the first moves the ctime, both clear the bits.
                self._clear_set_id(fd, ctx, is_chown=True)
                syscalls.set_owner(fd, -1, -1)
            self._namespace.record_change(inode, fd)
            status = os.fstat(fd)
            ids = self._owners.ids(fd, b"", status, ctx)
        return self._show(inode, status, ids, self._caching.attr_timeouts(inode, status))

    @staticmethod
    def _is_written(inode: Inode) -> bool:
        """Whether the guest has it open to write."""
        return any(
            fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE != os.O_RDONLY
            for fd in inode.open_fds or ()
        )

    def _clear_set_id(self, fd: int, caller: RequestContext, *, is_chown: bool = False) -> None:
        """Before *caller* changes the content, or the owner, of the file behind *fd*."""
        if not caller.uid or not self._privileged:
            return
        non_member = self._is_non_member(fd, caller)
        if not is_chown:
            clear_set_id(fd, non_member=non_member)
        elif non_member:
            clear_set_gid(fd)

    def _is_non_member(self, fd: int, caller: RequestContext) -> bool:
        """Whether *caller* is outside the group of a file whose set-group-ID bit means no program.

        For all other files it does not matter, and is not asked.
        """
        status = os.fstat(fd)
        if not has_group_id_alone(status.st_mode):
            return False
        _, gid = self._owners.ids(fd, b"", status, caller)
        return gid != caller.gid and gid not in groups_of(caller.pid)

    def readlink(self, number: int) -> bytes:
        """The target of the symlink *number*, as bytes. Raises OSError."""
        with self._backing.pinned(self._inodes[number]) as fd:
            # An empty path reads the link behind the descriptor itself (readlink(2)).
            return os.readlink(b"", dir_fd=fd)

    def access(self, number: int, mode: int) -> bool:
        """Whether the server may do *mode* (access(2)) with *number*. Raises OSError: ESTALE."""
        with self._backing.pinned(self._inodes[number]) as fd:
            return os.access(magic_link(fd), mode, effective_ids=True)

    def statfs(self) -> pyfuse3.StatvfsData:
        """The space and limits of the export's file system (fstatvfs(3)). Raises OSError."""
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

    def open(self, number: int, flags: int, ctx: RequestContext) -> FileInfo:
        """Open file *number*, truncated if O_TRUNC; the reply to OPEN. Raises OSError."""
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
                self._clear_set_id(fd, ctx)
                if flags & os.O_ACCMODE == os.O_RDONLY:
                    # Not truncate(2): that may leave the times of an empty file alone.
                    os.close(at.reopened(fd, os.O_RDONLY | os.O_TRUNC))
                else:
                    os.truncate(fd, 0)
                self._namespace.record_change(inode, fd)
            keep_pages = self._caching.keep_cache(inode, os.fstat(fd))
            handle = self.opened(inode, fd, flags, ctx, keep_pages)
            if is_fixed:
                handle.direct_io = True  # a page written as a whole would be appended as a whole
            return handle
        except BaseException:
            os.close(fd)
            raise

    def create(
        self, parent_number: int, requested: bytes, mode: int, flags: int, ctx: RequestContext
    ) -> tuple[FileInfo, EntryAttributes]:
        """Make and open a file; the replies to OPEN and LOOKUP. Raises OSError, ESTALE if raced.

        ESTALE where something else is there by now, so that the guest's kernel looks again.
        """
        parent = self._inodes[parent_number]
        dir_fd = self._backing.directory_fd(parent)
        name = self._spellings.new(parent, dir_fd, requested, may_exist=not flags & os.O_EXCL)
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
            # The host has put a link, a FIFO or the like where the guest had found
            # nothing: its kernel shall look again and open what it finds.
            if error.errno in (errno.ELOOP, errno.ENXIO):
                raise StaleError from error
            if error.errno == errno.EEXIST and not flags & os.O_EXCL:
                raise StaleError from error
            raise
        try:
            self._namespace.name_added(parent, dir_fd, name, requested)
            status = os.fstat(fd)
            if not modes.S_ISREG(status.st_mode):
                raise StaleError
            # A policy of the user's own may fail, and nothing may after the entry.
            kept = self._caching.keep_cache_of_new(parent, status)
            entry = self._entries.entry(parent, dir_fd, name, status, ctx, requested)
            inode = self._inodes[entry.st_ino]
            inode.changed_ns = time.time_ns()
            return self.opened(inode, fd, flags, ctx, kept), entry
        except BaseException:
            os.close(fd)
            raise

    def opened(
        self, inode: Inode, fd: int, flags: int, caller: RequestContext, keep_pages: bool
    ) -> FileInfo:
        """Enter *fd* as a handle; the reply to OPEN. Raises OSError.

        Notes whether its writes clear set-id bits. Nothing may fail after it.
        """
        clears = caller.uid and self._privileged and flags & os.O_ACCMODE != os.O_RDONLY
        # Asked first: whoever calls this closes *fd* if it fails, which may be no handle then.
        is_non_member = clears and self._is_non_member(fd, caller)
        handle = self._handles.opened(inode, fd, flags, keep_pages=keep_pages)
        if clears:
            self._handles.clearing_set_id.add(fd)
        if is_non_member:
            self._handles.non_members.add(fd)
        return handle

    def write(self, fd: int, offset: int, data: bytes) -> int:
        """Write *data* at *offset*, or at the file's end; the bytes written. Raises OSError."""
        if fd in self._clearing_set_id:
            clear_set_id(fd, non_member=fd in self._non_members)
        if fd in self._appending:
            # The guest's kernel appends at the size it knows, which the host may
            # have outgrown: the host's own end of file decides.
            return os.pwritev(fd, [data], offset, os.RWF_APPEND)
        return os.pwrite(fd, data, offset)

    def flush(self, fd: int) -> None:
        """Close a copy of *fd*, so that delayed errors of the host show up. Raises OSError."""
        self._handles.inode_of(fd, is_directory=False)
        # Closing a copy makes the host report what it has to report at close(2).
        try:
            os.close(os.dup(fd))
        except OSError as error:
            # No descriptor left for a copy: the guest's close is no worse for it.
            if error.errno not in (errno.EMFILE, errno.ENFILE):
                raise

    def opendir(self, number: int, ctx: RequestContext) -> int:
        """Open the directory *number*; its handle (descriptor). Raises OSError."""
        inode = self._inodes[number]
        fd = self._backing.open(inode, os.O_RDONLY | os.O_DIRECTORY)
        # READDIRPLUS does not say who asks, but who opened the directory is known.
        self._handles.listings[fd] = Listing(inode, KnownCaller(ctx.uid, ctx.gid))
        return fd

    def on_host(self, number: int, call: Callable[..., Any], *arguments: Any) -> Any:
        """*call*'s result for a descriptor of object *number* and *arguments*. Raises OSError."""
        with self._backing.pinned(self._inodes[number]) as fd:
            return call(fd, *arguments)

    def change_on_host(self, number: int, call: Callable[..., Any], *arguments: Any) -> None:
        """Call *call*, which changes object *number*, with a descriptor of it. Raises OSError."""
        inode = self._inodes[number]
        with self._backing.pinned(inode) as fd:
            call(fd, *arguments)
            self._namespace.record_change(inode, fd)


def sync_with_directory(fd: int, parent_fd: int | None, datasync: bool) -> None:
    """Sync file *fd* and its directory *parent_fd*, and close the latter. Raises OSError.

    With *datasync* the file as fdatasync(2) does. A *parent_fd* of None: it has none to be had.
    """
    try:
        (os.fdatasync if datasync else os.fsync)(fd)
        if parent_fd is not None:
            os.fsync(parent_fd)
    finally:
        if parent_fd is not None:
            os.close(parent_fd)
