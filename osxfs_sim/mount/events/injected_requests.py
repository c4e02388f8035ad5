"""Answers the requests of the injector's thread: acknowledged, and never applied.

What the injector does to raise an event (inject.py) has happened on the host
already. Its requests cost no crossing, are not counted as the guest's, and are
not believed by the kernel for longer than the call takes: so an event leaves the
caches as empty as the invalidation before it did.

What another process of the guest sees meanwhile: the kernel holds the
directory's lock from the injector's LOOKUP to the end of its call. A name that
is about to be created is found missing under that lock only, and believed by
nobody. A name that is about to be deleted is found there under that lock only;
another process that meets it in the dcache must ask the server, because it may
not be believed, and is told the truth.
"""

import errno
import os
import stat as modes
from collections.abc import Coroutine
from typing import Any

import pyfuse3
from pyfuse3 import EntryAttributes, FUSEError, RequestContext

from osxfs_sim.model.events import Notice
from osxfs_sim.mount.events.inject import Injection, Injector, way_up
from osxfs_sim.mount.loop.request import Request
from osxfs_sim.mount.requests.handlers import Handlers
from osxfs_sim.mount.tree.backing import StaleError
from osxfs_sim.mount.tree.inodes import Inode


class NotAnnouncedError(OSError):
    """The injector has met something else than what it is about to tell of."""

    def __init__(self) -> None:
        super().__init__(errno.ESTALE, os.strerror(errno.ESTALE))


class AcknowledgingHandlers(Handlers):
    """The handlers of a share in which events are raised."""

    injector: Injector | None = None

    # pyfuse3 tells of each request which thread made it.

    def _is_injected(self, ctx: RequestContext) -> bool:
        return self.injector is not None and ctx.pid == self.injector.thread_id

    @property
    def injector_thread(self) -> int:
        """The thread whose requests are the server's own, or 0."""
        return 0 if self.injector is None else self.injector.thread_id

    async def _acknowledge(self, *arguments: Any) -> Any:
        answer, failure = self._attempt(*arguments)
        if failure:
            raise FUSEError(failure)
        return answer

    def _injection(self, parent_number: int, name: bytes, *notices: Notice) -> Injection:
        """The one being raised, if that is for *name*. Raises NotAnnouncedError."""
        assert self.injector is not None
        injection = self.injector.current
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
        if self._is_injected(ctx):
            return self._acknowledge(self._look_up_injected, parent_inode, name, ctx)
        return super().lookup(request, parent_inode, name, ctx)

    def _look_up_injected(
        self, parent_number: int, name: bytes, ctx: RequestContext
    ) -> EntryAttributes:
        try:
            injection = self._injection(parent_number, name, Notice.CREATE, Notice.DELETE)
        except NotAnnouncedError:
            return self._on_the_way(parent_number, name, ctx)
        injection.asked = True
        if injection.notice is Notice.CREATE:
            raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))
        return self._as_it_was(injection, ctx)

    def _on_the_way(self, parent_number: int, asked: bytes, ctx: RequestContext) -> EntryAttributes:
        """A directory that the injector walks through to what it has announced.

        What goes with a tree goes before its directories do, and is told of when
        they are gone, too. Who watches them is still to be told, so they are
        shown as they were; or else `rm -r` would be one deletion.
        """
        before = self._directory_before(parent_number, asked)
        try:
            parent = self._inodes[parent_number]
            dir_fd = self._backing.directory_fd(parent)
            name, status = self._spellings.find(parent, dir_fd, asked)
            if before is None or self._inodes.known(status) is before:
                return self._entry(parent, dir_fd, name, status, ctx, asked, believes=False)
        except OSError as error:
            if before is None or error.errno not in (errno.ENOENT, errno.ESTALE):
                raise
        before.lookups += 1
        return shadow(before)

    def _directory_before(self, parent_number: int, name: bytes) -> Inode | None:
        """The directory of this name that a deletion is about, or lies below."""
        assert self.injector is not None
        injection = self.injector.current
        if injection is None or injection.notice is not Notice.DELETE:
            return None
        return next(
            (
                here
                for here in way_up(injection.directory)
                if here.name == name
                and here.parent is not None
                and here.parent.number == parent_number
                and self._inodes.knows(here)
            ),
            None,
        )

    def _as_it_was(self, injection: Injection, ctx: RequestContext) -> EntryAttributes:
        """What is gone, so that it can be seen to go."""
        inode = injection.gone
        if inode is not None and _is_there_again(inode):
            # Once the kernel has seen that one go it would show it as empty for ever.
            inode = injection.gone = None
        if inode is None or not self._inodes.knows(inode):
            inode = self._inodes.vanished(injection.directory, injection.name, injection.kind)
            answer = shadow(inode)
        else:
            try:
                # Open in the guest, or with another link: it is as it is, and what the
                # call takes from its link count is added to it.
                answer = self._getattr(inode.number, ctx, believes=False)
                answer.st_nlink += 1
            except OSError:
                answer = shadow(inode)
        inode.lookups += 1
        return answer

    def getattr(
        self, request: Request, inode: int, ctx: RequestContext
    ) -> Coroutine[Any, Any, EntryAttributes]:
        if self._is_injected(ctx):
            return self._acknowledge(self._where_it_got_to, inode, ctx)
        return super().getattr(request, inode, ctx)

    def _where_it_got_to(self, number: int, ctx: RequestContext) -> EntryAttributes:
        """The injector asks only which directory it has reached, which may be gone: see above.

        Told of no link, the kernel would take it for deleted and end the watches on
        it, before what was deleted in it could be told.
        """
        try:
            answer = self._attributes_now(number, ctx)
        except (FileNotFoundError, StaleError):
            return shadow(self._inodes[number])
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
        if self._is_injected(ctx):
            return self._acknowledge(self._attributes_now, inode, ctx)
        return super().setattr(request, inode, attr, fields, fh, ctx)

    def _attributes_now(self, number: int, ctx: RequestContext) -> EntryAttributes:
        return self._getattr(number, ctx, believes=False)

    def mknod(
        self,
        request: Request,
        parent_inode: int,
        name: bytes,
        mode: int,
        rdev: int,
        ctx: RequestContext,
    ) -> Coroutine[Any, Any, EntryAttributes]:
        if self._is_injected(ctx):
            return self._acknowledge(self._made_by_host, parent_inode, name, ctx)
        return super().mknod(request, parent_inode, name, mode, rdev, ctx)

    def mkdir(
        self, request: Request, parent_inode: int, name: bytes, mode: int, ctx: RequestContext
    ) -> Coroutine[Any, Any, EntryAttributes]:
        if self._is_injected(ctx):
            return self._acknowledge(self._made_by_host, parent_inode, name, ctx)
        return super().mkdir(request, parent_inode, name, mode, ctx)

    def symlink(
        self, request: Request, parent_inode: int, name: bytes, target: bytes, ctx: RequestContext
    ) -> Coroutine[Any, Any, EntryAttributes]:
        if self._is_injected(ctx):
            return self._acknowledge(self._made_by_host, parent_inode, name, ctx)
        return super().symlink(request, parent_inode, name, target, ctx)

    def _made_by_host(
        self, parent_number: int, name: bytes, ctx: RequestContext
    ) -> EntryAttributes:
        injection = self._injection(parent_number, name, Notice.CREATE)
        injection.void = True
        parent = self._inodes[parent_number]
        dir_fd = self._backing.directory_fd(parent)
        host_name, status = self._spellings.find(parent, dir_fd, name)
        if modes.S_IFMT(status.st_mode) != injection.kind:
            # Another object by now, of another kind: an event of its own will come.
            raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))
        injection.void = False
        return self._entry(parent, dir_fd, host_name, status, ctx, name, believes=False)

    def unlink(
        self, request: Request, parent_inode: int, name: bytes, ctx: RequestContext
    ) -> Coroutine[Any, Any, None]:
        if self._is_injected(ctx):
            return self._acknowledge(self._removed_by_host, parent_inode, name)
        return super().unlink(request, parent_inode, name, ctx)

    def rmdir(
        self, request: Request, parent_inode: int, name: bytes, ctx: RequestContext
    ) -> Coroutine[Any, Any, None]:
        if self._is_injected(ctx):
            return self._acknowledge(self._removed_by_host, parent_inode, name)
        return super().rmdir(request, parent_inode, name, ctx)

    def _removed_by_host(self, parent_number: int, name: bytes) -> None:
        injection = self._injection(parent_number, name, Notice.DELETE)
        is_back = injection.gone is not None and _is_there_again(injection.gone)
        if not injection.asked or is_back:
            # The kernel goes by an answer to somebody else, about what is there now:
            # to acknowledge would take that for gone.
            raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))


def _is_there_again(inode: Inode) -> bool:
    """Whether the guest has something in a removed directory, which is made again for that."""
    if not inode.is_directory:
        return False
    return inode.device != -1 or (inode.overlay is not None and bool(inode.overlay.names))


def shadow(inode: Inode) -> EntryAttributes:
    """The answer for something that is no more: its kind, its last link, and nothing believed."""
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
