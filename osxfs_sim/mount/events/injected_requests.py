"""Suppresses the injected requests, of the injector's thread: answered, and never applied.

What the injector does to raise an event (inject.py) has happened on the host
already. Its requests cost no crossing, are not counted as the guest's, and are
not cached by the kernel for longer than the call takes: so an event leaves the
caches as empty as the invalidation before it did.

What another process of the guest sees meanwhile: the kernel holds the
directory's lock from the injector's LOOKUP to the end of its call. A name that
is about to be created is found missing under that lock only, and cached by
nobody. A name that is about to be deleted is found there under that lock only;
another process that meets it in the dcache must ask the server (revalidate),
because its timeout is 0, and gets the truth.
"""

import errno
import os
import stat as modes
from collections.abc import Callable, Coroutine
from typing import Any

import pyfuse3
from pyfuse3 import EntryAttributes, RequestContext

from osxfs_sim.model.events import Notice
from osxfs_sim.mount.events.inject import Injection, Injector, ancestors
from osxfs_sim.mount.loop.request import Request
from osxfs_sim.mount.requests.entries import Entries
from osxfs_sim.mount.requests.handlers import Handlers
from osxfs_sim.mount.requests.host_calls import HostCalls
from osxfs_sim.mount.requests.host_operations import HostOperations
from osxfs_sim.mount.requests.layer import Layer
from osxfs_sim.mount.tree.backing import Backing, StaleError
from osxfs_sim.mount.tree.inodes import Inode, InodeTable
from osxfs_sim.mount.tree.spellings import Spellings


class NotAnnouncedError(OSError):
    """The injector's request is not for the event that is being raised; errno is ESTALE."""

    def __init__(self) -> None:
        super().__init__(errno.ESTALE, os.strerror(errno.ESTALE))


class InjectedRequests(Layer):
    """The layer that answers injected requests and applies none; all others are *next*'s.

    pyfuse3 tells of each request which thread made it.
    """

    next: Handlers

    def __init__(
        self,
        below: Any,
        injector: Injector,
        calls: HostCalls,
        inodes: InodeTable,
        backing: Backing,
        spellings: Spellings,
        entries: Entries,
        operations: HostOperations,
        is_synthetic: Callable[[int, bytes], bool] | None = None,
    ) -> None:
        """What *is_synthetic* (a directory's number, a name) is none of the host's to report."""
        super().__init__(below)
        self._is_synthetic = is_synthetic or _never
        self._injector = injector
        self._answer_suppressed = calls.answer
        self._inodes = inodes
        self._backing = backing
        self._spellings = spellings
        self._entries = entries
        self._operations = operations

    def _is_of_host(self, ctx: RequestContext, parent_number: int, name: bytes) -> bool:
        """Whether it is the injector that asks, and for a name that the host may have."""
        return ctx.pid == self._injector.thread_id and not self._is_synthetic(parent_number, name)

    def _injection(self, parent_number: int, name: bytes, *notices: Notice) -> Injection:
        """The one being raised, if that is for *name*. Raises NotAnnouncedError."""
        injection = self._injector.current
        if (
            injection is None
            or injection.notice not in notices
            or injection.directory.number != parent_number
            or injection.name != name
        ):
            raise NotAnnouncedError
        return injection

    def lookup(
        self, request: Request, parent_inode: int, name: bytes, ctx: RequestContext
    ) -> Coroutine[Any, Any, EntryAttributes]:
        """LOOKUP, if injected: what makes the event possible; uncached. Raises FUSEError."""
        # The thread first, and without a call: most look-ups are the guest's.
        if ctx.pid == self._injector.thread_id and self._is_of_host(ctx, parent_inode, name):
            return self._answer_suppressed(request, self._look_up_injected, parent_inode, name, ctx)
        return self.next.lookup(request, parent_inode, name, ctx)

    def _look_up_injected(
        self, parent_number: int, name: bytes, ctx: RequestContext
    ) -> EntryAttributes:
        try:
            injection = self._injection(parent_number, name, Notice.CREATE, Notice.DELETE)
        except NotAnnouncedError:
            return self._on_the_way(parent_number, name, ctx)
        injection.was_looked_up = True
        if injection.notice is Notice.CREATE:
            raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))
        return self._as_before(injection, ctx)

    def _on_the_way(
        self, parent_number: int, requested: bytes, ctx: RequestContext
    ) -> EntryAttributes:
        """A directory that the injector walks through to what it has announced.

        What goes with a tree goes before its directories do, and is raised when
        they are gone, too. Who watches them is still to hear of it, so they are
        shown as they were; or else `rm -r` would be one deletion.
        """
        before = self._directory_before(parent_number, requested)
        try:
            parent = self._inodes[parent_number]
            dir_fd = self._backing.directory_fd(parent)
            name, status = self._spellings.find(parent, dir_fd, requested)
            if before is None or self._inodes.find(status) is before:
                return self._entries.entry(
                    parent, dir_fd, name, status, ctx, requested, is_cached=False
                )
        except OSError as error:
            if before is None or error.errno not in (errno.ENOENT, errno.ESTALE):
                raise
        before.nlookup += 1
        return tombstone_attributes(before)

    def _directory_before(self, parent_number: int, name: bytes) -> Inode | None:
        """The directory of this name that a deletion is about, or lies below."""
        injection = self._injector.current
        if injection is None or injection.notice is not Notice.DELETE:
            return None
        return next(
            (
                here
                for here in ancestors(injection.directory)
                if here.name == name
                and here.parent is not None
                and here.parent.number == parent_number
                and self._inodes.knows(here)
            ),
            None,
        )

    def _as_before(self, injection: Injection, ctx: RequestContext) -> EntryAttributes:
        """What is gone, so that it can be seen to go."""
        inode = injection.gone
        if inode is not None and _is_there_again(inode):
            # Once the kernel has seen that one go it would show it as empty for ever.
            inode = injection.gone = None
        if inode is None or not self._inodes.knows(inode):
            inode = self._inodes.tombstone(injection.directory, injection.name, injection.kind)
            answer = tombstone_attributes(inode)
        else:
            try:
                # Open in the guest, or with another link: it is as it is, and what the
                # call takes from its link count is added to it.
                answer = self._operations.getattr(inode.number, ctx, is_cached=False)
                answer.st_nlink += 1
            except OSError:
                answer = tombstone_attributes(inode)
        inode.nlookup += 1
        return answer

    def getattr(
        self, request: Request, inode: int, ctx: RequestContext
    ) -> Coroutine[Any, Any, EntryAttributes]:
        """GETATTR, if injected: never without a link, so that watches survive. Raises FUSEError."""
        if ctx.pid == self._injector.thread_id:
            return self._answer_suppressed(request, self._where_it_got_to, inode, ctx)
        return self.next.getattr(request, inode, ctx)

    def _where_it_got_to(self, number: int, ctx: RequestContext) -> EntryAttributes:
        """The injector asks only which directory it has reached, which may be gone: see above.

        Shown without a link, the kernel would take it for deleted and end the watches on
        it, before what was deleted in it could be raised.
        """
        try:
            answer = self._attributes_now(number, ctx)
        except (FileNotFoundError, StaleError):
            return tombstone_attributes(self._inodes[number])
        answer.st_nlink = max(answer.st_nlink, 1)
        return answer

    def setattr(
        self,
        request: Request,
        inode: int,
        attr: EntryAttributes,
        fields: pyfuse3.SetattrFields,
        fh: int | None,
        ctx: RequestContext,
    ) -> Coroutine[Any, Any, EntryAttributes]:
        """SETATTR, if injected: nothing is set; the attributes as they are. Raises FUSEError."""
        if ctx.pid == self._injector.thread_id:
            return self._answer_suppressed(request, self._attributes_now, inode, ctx)
        return self.next.setattr(request, inode, attr, fields, fh, ctx)

    def _attributes_now(self, number: int, ctx: RequestContext) -> EntryAttributes:
        return self._operations.getattr(number, ctx, is_cached=False)

    def mknod(
        self,
        request: Request,
        parent_inode: int,
        name: bytes,
        mode: int,
        rdev: int,
        ctx: RequestContext,
    ) -> Coroutine[Any, Any, EntryAttributes]:
        """MKNOD, if injected: what the host has made, already. FUSEError: ENOENT, ESTALE."""
        if self._is_of_host(ctx, parent_inode, name):
            return self._answer_suppressed(
                request, self._suppressed_create, parent_inode, name, ctx
            )
        return self.next.mknod(request, parent_inode, name, mode, rdev, ctx)

    def mkdir(
        self, request: Request, parent_inode: int, name: bytes, mode: int, ctx: RequestContext
    ) -> Coroutine[Any, Any, EntryAttributes]:
        """MKDIR, if injected: what the host has made, already. FUSEError: ENOENT, ESTALE."""
        if self._is_of_host(ctx, parent_inode, name):
            return self._answer_suppressed(
                request, self._suppressed_create, parent_inode, name, ctx
            )
        return self.next.mkdir(request, parent_inode, name, mode, ctx)

    def symlink(
        self, request: Request, parent_inode: int, name: bytes, target: bytes, ctx: RequestContext
    ) -> Coroutine[Any, Any, EntryAttributes]:
        """SYMLINK, if injected: what the host has made, already. FUSEError: ENOENT, ESTALE."""
        if self._is_of_host(ctx, parent_inode, name):
            return self._answer_suppressed(
                request, self._suppressed_create, parent_inode, name, ctx
            )
        return self.next.symlink(request, parent_inode, name, target, ctx)

    def _suppressed_create(
        self, parent_number: int, name: bytes, ctx: RequestContext
    ) -> EntryAttributes:
        injection = self._injection(parent_number, name, Notice.CREATE)
        injection.is_moot = True
        parent = self._inodes[parent_number]
        dir_fd = self._backing.directory_fd(parent)
        host_name, status = self._spellings.find(parent, dir_fd, name)
        if modes.S_IFMT(status.st_mode) != injection.kind:
            # Another object by now, of another kind: an event of its own will come.
            raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))
        injection.is_moot = False
        return self._entries.entry(parent, dir_fd, host_name, status, ctx, name, is_cached=False)

    def unlink(
        self, request: Request, parent_inode: int, name: bytes, ctx: RequestContext
    ) -> Coroutine[Any, Any, None]:
        """UNLINK, if injected: nothing is removed. FUSEError: EAGAIN where it is there again."""
        if self._is_of_host(ctx, parent_inode, name):
            return self._answer_suppressed(request, self._suppressed_remove, parent_inode, name)
        return self.next.unlink(request, parent_inode, name, ctx)

    def rmdir(
        self, request: Request, parent_inode: int, name: bytes, ctx: RequestContext
    ) -> Coroutine[Any, Any, None]:
        """RMDIR, if injected: nothing is removed. FUSEError: EAGAIN where it is there again."""
        if self._is_of_host(ctx, parent_inode, name):
            return self._answer_suppressed(request, self._suppressed_remove, parent_inode, name)
        return self.next.rmdir(request, parent_inode, name, ctx)

    def _suppressed_remove(self, parent_number: int, name: bytes) -> None:
        injection = self._injection(parent_number, name, Notice.DELETE)
        is_back = injection.gone is not None and _is_there_again(injection.gone)
        if not injection.was_looked_up or is_back:
            # The kernel goes by an answer to somebody else, about what is there now:
            # a suppressed removal would take that for gone.
            raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))


def _never(_: int, __: bytes) -> bool:
    return False


def _is_there_again(inode: Inode) -> bool:
    """Whether the guest has something in a removed directory, which is made again for that."""
    if not inode.is_directory:
        return False
    return inode.device != -1 or (inode.overlay is not None and bool(inode.overlay.names))


def tombstone_attributes(inode: Inode) -> EntryAttributes:
    """Attributes for something that is gone: its type, one link, no timeout."""
    entry = EntryAttributes()
    entry.st_ino = inode.number
    entry.st_mode = inode.kind | (0o700 if inode.is_directory else 0o600)
    entry.st_nlink = 1
    entry.st_uid = entry.st_gid = 0
    entry.st_rdev = 0
    entry.st_size = 0
    entry.st_blksize = 4096
    entry.st_blocks = 0
    entry.st_atime_ns = entry.st_mtime_ns = entry.st_ctime_ns = 0
    entry.entry_timeout = entry.attr_timeout = 0
    return entry
