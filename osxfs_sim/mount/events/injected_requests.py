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

from collections.abc import Callable, Coroutine
from typing import Any

import pyfuse3
from pyfuse3 import EntryAttributes, RequestContext

from osxfs_sim.mount.events.inject import Injector
from osxfs_sim.mount.events.suppressed_answers import SuppressedAnswers
from osxfs_sim.mount.loop.request import Request
from osxfs_sim.mount.requests.handlers import Handlers
from osxfs_sim.mount.requests.host_calls import HostCalls
from osxfs_sim.mount.requests.layer import Layer


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
        answers: SuppressedAnswers,
        is_synthetic: Callable[[int, bytes], bool] | None = None,
    ) -> None:
        """What *is_synthetic* (a directory's number, a name) is none of the host's to report."""
        super().__init__(below)
        self._is_synthetic = is_synthetic or _never
        self._injector = injector
        self._answer_suppressed = calls.answer
        self._answers = answers

    def _is_of_host(self, ctx: RequestContext, parent_number: int, name: bytes) -> bool:
        """Whether it is the injector that asks, and for a name that the host may have."""
        return ctx.pid == self._injector.thread_id and not self._is_synthetic(parent_number, name)

    def lookup(
        self, request: Request, parent_inode: int, name: bytes, ctx: RequestContext
    ) -> Coroutine[Any, Any, EntryAttributes]:
        """LOOKUP; if injected, the uncached entry that its event needs. Raises FUSEError."""
        # The thread first, and without a call: most look-ups are the guest's.
        if ctx.pid == self._injector.thread_id and self._is_of_host(ctx, parent_inode, name):
            return self._answer_suppressed(request, self._answers.look_up, parent_inode, name, ctx)
        return self.next.lookup(request, parent_inode, name, ctx)

    def getattr(
        self, request: Request, inode: int, ctx: RequestContext
    ) -> Coroutine[Any, Any, EntryAttributes]:
        """GETATTR; if injected, st_nlink is never 0, so that watches stay. Raises FUSEError."""
        if ctx.pid == self._injector.thread_id:
            return self._answer_suppressed(request, self._answers.where_it_got_to, inode, ctx)
        return self.next.getattr(request, inode, ctx)

    def setattr(
        self,
        request: Request,
        inode: int,
        attr: EntryAttributes,
        fields: pyfuse3.SetattrFields,
        fh: int | None,
        ctx: RequestContext,
    ) -> Coroutine[Any, Any, EntryAttributes]:
        """SETATTR; if injected, sets nothing: the attributes as they are. Raises FUSEError."""
        if ctx.pid == self._injector.thread_id:
            return self._answer_suppressed(request, self._answers.attributes_now, inode, ctx)
        return self.next.setattr(request, inode, attr, fields, fh, ctx)

    def mknod(
        self,
        request: Request,
        parent_inode: int,
        name: bytes,
        mode: int,
        rdev: int,
        ctx: RequestContext,
    ) -> Coroutine[Any, Any, EntryAttributes]:
        """MKNOD; if injected, the entry of what the host has made already. Raises FUSEError."""
        if self._is_of_host(ctx, parent_inode, name):
            return self._answer_suppressed(request, self._answers.created, parent_inode, name, ctx)
        return self.next.mknod(request, parent_inode, name, mode, rdev, ctx)

    def mkdir(
        self, request: Request, parent_inode: int, name: bytes, mode: int, ctx: RequestContext
    ) -> Coroutine[Any, Any, EntryAttributes]:
        """MKDIR; if injected, the entry of what the host has made already. Raises FUSEError."""
        if self._is_of_host(ctx, parent_inode, name):
            return self._answer_suppressed(request, self._answers.created, parent_inode, name, ctx)
        return self.next.mkdir(request, parent_inode, name, mode, ctx)

    def symlink(
        self, request: Request, parent_inode: int, name: bytes, target: bytes, ctx: RequestContext
    ) -> Coroutine[Any, Any, EntryAttributes]:
        """SYMLINK; if injected, the entry of what the host has made already. Raises FUSEError."""
        if self._is_of_host(ctx, parent_inode, name):
            return self._answer_suppressed(request, self._answers.created, parent_inode, name, ctx)
        return self.next.symlink(request, parent_inode, name, target, ctx)

    def unlink(
        self, request: Request, parent_inode: int, name: bytes, ctx: RequestContext
    ) -> Coroutine[Any, Any, None]:
        """UNLINK; if injected, removes nothing. Raises FUSEError: EAGAIN if it is there again."""
        if self._is_of_host(ctx, parent_inode, name):
            return self._answer_suppressed(request, self._answers.removed, parent_inode, name)
        return self.next.unlink(request, parent_inode, name, ctx)

    def rmdir(
        self, request: Request, parent_inode: int, name: bytes, ctx: RequestContext
    ) -> Coroutine[Any, Any, None]:
        """RMDIR; if injected, removes nothing. Raises FUSEError: EAGAIN if it is there again."""
        if self._is_of_host(ctx, parent_inode, name):
            return self._answer_suppressed(request, self._answers.removed, parent_inode, name)
        return self.next.rmdir(request, parent_inode, name, ctx)


def _never(_: int, __: bytes) -> bool:
    return False
