"""The requests of a share that writes through: the host's part, its price, the delay, the reply.

The public methods are what pyfuse3 calls (its class Operations documents each), by way of
dispatch.py and of the layers that lie over these; each has the request before the arguments of
pyfuse3's. What they do on the host is in host_operations.py; READ and listings have modules of
their own.
"""

import errno
import os
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

import pyfuse3
from pyfuse3 import EntryAttributes, FileInfo, FUSEError, RequestContext

from osxfs_sim.model.complete_directories import CompleteDirectories
from osxfs_sim.model.operations import Operation
from osxfs_sim.mount.latency.crossings import Crossings
from osxfs_sim.mount.loop.internal_errors import InternalErrors
from osxfs_sim.mount.loop.reactor import in_thread
from osxfs_sim.mount.loop.request import Request
from osxfs_sim.mount.requests.caching import Caching
from osxfs_sim.mount.requests.entries import Entries
from osxfs_sim.mount.requests.handle_table import HandleTable
from osxfs_sim.mount.requests.host_calls import HostCalls
from osxfs_sim.mount.requests.host_operations import HostOperations
from osxfs_sim.mount.requests.listing import Listings
from osxfs_sim.mount.requests.namespace import Namespace
from osxfs_sim.mount.requests.reading import Reader
from osxfs_sim.mount.tree.backing import Backing
from osxfs_sim.mount.tree.inodes import Inode, InodeTable
from osxfs_sim.mount.tree.spellings import Spellings
from osxfs_sim.mount.tree.xattrs import GuestAttributes

WRITE_IN_THREAD_BYTES = 256 * 1024
"""From here on a copy takes longer than handing it to a thread and back."""


class Handlers:
    """The FUSE operations of a share that writes through: each done on the host at once."""

    def __init__(
        self,
        calls: HostCalls,
        crossings: Crossings,
        internal_errors: InternalErrors,
        inodes: InodeTable,
        backing: Backing,
        spellings: Spellings,
        namespace: Namespace,
        caching: Caching,
        complete_directories: CompleteDirectories[Inode] | None,
        entries: Entries,
        handles: HandleTable,
        operations: HostOperations,
        listings: Listings,
        guest_attributes: GuestAttributes,
        evict: Callable[[Inode], None],
    ) -> None:
        """*evict* is called with inodes that the guest refers to no more."""
        self._calls = calls
        self._cross = calls.cross
        self._change = calls.change
        self._cross_in_thread = calls.cross_in_thread
        self._attempt = calls.attempt
        self._errno_of = calls.errno_of
        self._crossings = crossings
        self._internal_errors = internal_errors
        self._inodes = inodes
        self._backing = backing
        self._spellings = spellings
        self._has_changed = namespace.record_change
        self._caching = caching
        self._complete_directories = complete_directories
        self._entries = entries
        self._handles = handles
        self._files = handles.files
        self._synchronous = handles.synchronous
        self._operations = operations
        self._write_on_host = operations.write
        self._pay = crossings.cross
        self._listings = listings
        self._guest_attributes = guest_attributes
        self._evict = evict
        self._reader = Reader(calls, crossings, handles)
        self.read = self._reader.read
        self.readdir = listings.readdir
        self.read_names = listings.read_names

    # For the order of requests, and for who traces them

    def inode(self, number: int) -> Inode:
        """The inode of that FUSE *number*. Raises OSError: ESTALE."""
        return self._inodes[number]

    def inode_called(self, parent_number: int, requested: bytes) -> Inode | None:
        """The inode that LOOKUP would find; None: the kernel does not know it. Raises OSError."""
        parent = self._inodes[parent_number]
        dir_fd = self._backing.directory_fd(parent)
        _, status = self._spellings.find(parent, dir_fd, requested)
        return self._inodes.find(status)

    def inode_of(self, handle: int, *, is_directory: bool) -> Inode:
        """The inode that is open by *handle*. Raises OSError: EBADF."""
        return self._handles.inode_of(handle, is_directory=is_directory)

    # Names

    def lookup(
        self, request: Request, parent_inode: int, name: bytes, ctx: RequestContext
    ) -> Coroutine[Any, Any, EntryAttributes]:
        """LOOKUP: the entry of *name*, or a negative one. Raises FUSEError: ENOENT, ESTALE, EIO."""
        sets = self._complete_directories
        if sets is not None:
            parent = self._inodes[parent_inode]
            if self._caching.known_absent(parent, name):
                sets.answers += 1
                return self.answer_missing(parent, name)
            if self._caching.should_read_names(parent):
                return self._look_up_first(request, parent, name, ctx)
        return self._cross(request, self._operations.lookup, parent_inode, name, ctx)

    async def answer_missing(self, parent: Inode, requested: bytes) -> EntryAttributes:
        """The negative entry for *requested*, known to be absent. Raises FUSEError: ENOENT."""
        missing = self._entries.missing(parent, requested)
        if missing is None:
            raise FUSEError(errno.ENOENT)
        return missing

    async def _look_up_first(
        self, request: Request, parent: Inode, requested: bytes, ctx: RequestContext
    ) -> EntryAttributes:
        """A lookup that brings all names of the directory along, if this one is missing."""
        answer, failure = self._attempt(self._operations.lookup, parent.number, requested, ctx)
        size_bytes = 0
        if failure == errno.ENOENT or (answer is not None and not answer.st_ino):
            size_bytes = await self._listings.read_all(parent)
        await self._crossings.cross(request, Operation.LOOKUP, size_bytes)
        if failure:
            raise FUSEError(failure)
        assert isinstance(answer, EntryAttributes)
        return answer

    async def forget(self, request: Request, inode_list: Sequence[tuple[int, int]]) -> None:
        """FORGET: lower nlookup by each (number, count), evict what is not needed. Never fails."""
        self._crossings.counts[Operation.FORGET] += len(inode_list)
        for number, nlookup in inode_list:
            try:
                inode = self._inodes.forget(number, nlookup)
            except KeyError as error:
                self._internal_errors.record("FORGET of an inode that was not sent", error)
                continue
            except AssertionError as error:
                # More than its lookup count: what is left of that is made to fit.
                self._internal_errors.record("FORGET of more than was looked up", error)
                self._inodes[number].nlookup = 0
                inode = self._inodes.forget(number, 0)
            if inode is not None:
                self._attempt(self._evict, inode)
        self.evict_unneeded()

    def evict_unneeded(self) -> None:
        """Evict all inodes that were kept only because others, now gone, were reached by them."""
        while (inode := self._inodes.pop_unneeded()) is not None:
            self._attempt(self._evict, inode)

    def mknod(
        self,
        request: Request,
        parent_inode: int,
        name: bytes,
        mode: int,
        rdev: int,
        ctx: RequestContext,
    ) -> Coroutine[Any, Any, EntryAttributes]:
        """MKNOD: make a file, FIFO, socket or device; its entry. Raises FUSEError."""
        return self._change(request, self._operations.mknod, parent_inode, name, mode, rdev, ctx)

    def mkdir(
        self, request: Request, parent_inode: int, name: bytes, mode: int, ctx: RequestContext
    ) -> Coroutine[Any, Any, EntryAttributes]:
        """MKDIR: make a directory; its entry. Raises FUSEError."""
        return self._change(request, self._operations.mkdir, parent_inode, name, mode, ctx)

    def symlink(
        self, request: Request, parent_inode: int, name: bytes, target: bytes, ctx: RequestContext
    ) -> Coroutine[Any, Any, EntryAttributes]:
        """SYMLINK: make a link that leads to *target*; its entry. Raises FUSEError."""
        return self._change(request, self._operations.symlink, parent_inode, name, target, ctx)

    def link(
        self,
        request: Request,
        inode: int,
        new_parent_inode: int,
        new_name: bytes,
        ctx: RequestContext,
    ) -> Coroutine[Any, Any, EntryAttributes]:
        """LINK: give *inode* one more name; the entry of that. Raises FUSEError."""
        return self._change(request, self._operations.link, inode, new_parent_inode, new_name, ctx)

    def unlink(
        self, request: Request, parent_inode: int, name: bytes, ctx: RequestContext
    ) -> Coroutine[Any, Any, None]:
        """UNLINK: remove *name*, which is no directory. Raises FUSEError."""
        return self._change(request, self._operations.remove, parent_inode, name, os.unlink)

    def rmdir(
        self, request: Request, parent_inode: int, name: bytes, ctx: RequestContext
    ) -> Coroutine[Any, Any, None]:
        """RMDIR: remove an empty directory. Raises FUSEError."""
        return self._change(request, self._operations.remove, parent_inode, name, os.rmdir)

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
        """RENAME: renameat2(2) with RENAME_NOREPLACE or RENAME_EXCHANGE. Raises FUSEError."""
        return self._change(
            request,
            self._operations.rename,
            parent_inode_old,
            name_old,
            parent_inode_new,
            name_new,
            flags,
        )

    # Attributes

    def getattr(
        self, request: Request, inode: int, ctx: RequestContext
    ) -> Coroutine[Any, Any, EntryAttributes]:
        """GETATTR: the attributes of *inode*. Raises FUSEError: ESTALE."""
        return self._cross(request, self._operations.getattr, inode, ctx)

    def setattr(
        self,
        request: Request,
        inode: int,
        attr: EntryAttributes,
        fields: pyfuse3.SetattrFields,
        fh: int | None,
        ctx: RequestContext,
    ) -> Coroutine[Any, Any, EntryAttributes]:
        """SETATTR: set what *fields* names of *attr*; all attributes after. Raises FUSEError."""
        return self._change(request, self._operations.setattr, inode, attr, fields, fh, ctx)

    def readlink(
        self, request: Request, inode: int, ctx: RequestContext
    ) -> Coroutine[Any, Any, bytes]:
        """READLINK: the target of the symlink *inode*, as bytes. Raises FUSEError."""
        return self._cross(request, self._operations.readlink, inode)

    def access(
        self, request: Request, inode: int, mode: int, ctx: RequestContext
    ) -> Coroutine[Any, Any, bool]:
        """ACCESS: whether the server may do *mode* (access(2)) with *inode*. Raises FUSEError."""
        return self._cross(request, self._operations.access, inode, mode)

    def statfs(
        self, request: Request, ctx: RequestContext
    ) -> Coroutine[Any, Any, pyfuse3.StatvfsData]:
        """STATFS: statvfs(3) of the host's file system. Raises FUSEError."""
        return self._cross(request, self._operations.statfs)

    # Files

    def open(
        self, request: Request, inode: int, flags: int, ctx: RequestContext
    ) -> Coroutine[Any, Any, FileInfo]:
        """OPEN: a handle of a file, and what the kernel may do with its pages. Raises FUSEError."""
        return self._cross(request, self._operations.open, inode, flags, ctx)

    def create(
        self,
        request: Request,
        parent_inode: int,
        name: bytes,
        mode: int,
        flags: int,
        ctx: RequestContext,
    ) -> Coroutine[Any, Any, tuple[FileInfo, EntryAttributes]]:
        """CREATE: make a file and open it; its handle and entry. Raises FUSEError."""
        return self._change(request, self._operations.create, parent_inode, name, mode, flags, ctx)

    async def write(self, request: Request, fh: int, off: int, buf: bytes) -> int:
        """WRITE *buf* at *off*, or at the end (O_APPEND); the bytes written. Raises FUSEError."""
        inode = self._files[fh]
        length, failure = 0, 0
        if len(buf) >= WRITE_IN_THREAD_BYTES or fh in self._synchronous:
            length, failure = await in_thread(
                lambda: self._attempt(self._write_on_host, fh, off, buf)
            )
        else:
            try:
                length = self._write_on_host(fh, off, buf)
            except Exception as error:
                failure = self._errno_of(error, self._write_on_host, (fh, off, buf))
        if length:
            self._has_changed(inode, fh)
        await self._pay(request, request.operation, length or 0)
        if failure:
            raise FUSEError(failure)
        assert isinstance(length, int)
        return length

    def flush(self, request: Request, fh: int) -> Coroutine[Any, Any, None]:
        """FLUSH: report the host's delayed errors of a file, at each close(2). Raises FUSEError."""
        return self._cross(request, self._operations.flush, fh)

    async def release(self, request: Request, fh: int) -> None:
        """RELEASE: close the file handle *fh*. Raises OSError: EBADF."""
        self._crossings.counts[Operation.RELEASE] += 1
        self._handles.released(fh)
        # Nobody waits for what close(2) may still have to say; flush has asked.
        self._attempt(os.close, fh)

    def fsync(self, request: Request, fh: int, datasync: bool) -> Coroutine[Any, Any, None]:
        """FSYNC: fsync(2) or fdatasync(2) a file on the host. Raises FUSEError, OSError: EBADF."""
        self._handles.inode_of(fh, is_directory=False)
        return self._cross_in_thread(request, os.fdatasync if datasync else os.fsync, fh)

    # Directories

    def opendir(
        self, request: Request, inode: int, ctx: RequestContext
    ) -> Coroutine[Any, Any, int]:
        """OPENDIR: a handle of a directory. Raises FUSEError."""
        return self._cross(request, self._operations.opendir, inode, ctx)

    async def releasedir(self, request: Request, fh: int) -> None:
        """RELEASEDIR: close the directory handle *fh*. Raises OSError: EBADF."""
        self._crossings.counts[Operation.RELEASEDIR] += 1
        self._handles.inode_of(fh, is_directory=True)
        del self._handles.listings[fh]
        self._attempt(os.close, fh)

    def fsyncdir(self, request: Request, fh: int, datasync: bool) -> Coroutine[Any, Any, None]:
        """FSYNCDIR: fsync(2) or fdatasync(2) a directory. Raises FUSEError, OSError: EBADF."""
        self._handles.inode_of(fh, is_directory=True)
        return self._cross_in_thread(request, os.fdatasync if datasync else os.fsync, fh)

    # Extended attributes

    def setxattr(
        self, request: Request, inode: int, name: bytes, value: bytes, ctx: RequestContext
    ) -> Coroutine[Any, Any, None]:
        """SETXATTR: set an extended attribute. Raises FUSEError: ENOSYS where not shared."""
        return self._change(
            request,
            self._operations.change_on_host,
            inode,
            self._guest_attributes.set,
            name,
            value,
        )

    def getxattr(
        self, request: Request, inode: int, name: bytes, ctx: RequestContext
    ) -> Coroutine[Any, Any, bytes]:
        """GETXATTR: an extended attribute's value. Raises FUSEError: ENODATA, ENOSYS."""
        return self._cross(
            request, self._operations.on_host, inode, self._guest_attributes.get, name
        )

    def listxattr(
        self, request: Request, inode: int, ctx: RequestContext
    ) -> Coroutine[Any, Any, Sequence[bytes]]:
        """LISTXATTR: the names of the extended attributes. Raises FUSEError: ENOSYS."""
        return self._cross(
            request, self._operations.on_host, inode, self._guest_attributes.names, ctx
        )

    def removexattr(
        self, request: Request, inode: int, name: bytes, ctx: RequestContext
    ) -> Coroutine[Any, Any, None]:
        """REMOVEXATTR: remove an extended attribute. Raises FUSEError: ENODATA, ENOSYS."""
        return self._change(
            request,
            self._operations.change_on_host,
            inode,
            self._guest_attributes.remove,
            name,
        )
