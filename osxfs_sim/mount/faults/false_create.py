"""V8: each removal on the host is raised as a creation and a removal."""

from collections.abc import Coroutine, Iterator
from dataclasses import dataclass
from typing import Any

from pyfuse3 import EntryAttributes, RequestContext

from osxfs_sim.model.events import Notice
from osxfs_sim.mount.events.inject import Injection, Injector
from osxfs_sim.mount.events.injected_requests import InjectedRequests
from osxfs_sim.mount.events.suppressed_answers import tombstone_attributes
from osxfs_sim.mount.faults.fault import Fault
from osxfs_sim.mount.loop.request import Request
from osxfs_sim.mount.requests.layer import Layer
from osxfs_sim.mount.tree.inodes import InodeTable


@dataclass(slots=True, eq=False)
class FalseInjection(Injection):
    """A creation that never was."""


def with_false_creations(injection: Injection) -> Iterator[Injection]:
    """The events to raise for *injection*: itself; before a DELETE a CREATE that never was."""
    if injection.notice is Notice.DELETE:
        yield FalseInjection(Notice.CREATE, injection.directory, injection.name, injection.kind)
    yield injection


class FalseCreate(Fault):
    """Answers the injected creation of what is gone; with_false_creations() raises it."""

    def over_injected(self, below: InjectedRequests, injector: Injector) -> Any:
        """*below*, wrapped: it answers the injector's false creations by tombstones."""
        return _FalseCreation(below, injector, self._inodes)


class _FalseCreation(Layer):
    next: InjectedRequests

    def __init__(self, below: InjectedRequests, injector: Injector, inodes: InodeTable) -> None:
        super().__init__(below)
        self._injector = injector
        self._inodes = inodes

    def mknod(
        self,
        request: Request,
        parent_inode: int,
        name: bytes,
        mode: int,
        rdev: int,
        ctx: RequestContext,
    ) -> Coroutine[Any, Any, EntryAttributes]:
        if self._is_false(parent_inode, name, ctx):
            return self._answer_suppressed()
        return self.next.mknod(request, parent_inode, name, mode, rdev, ctx)

    def mkdir(
        self, request: Request, parent_inode: int, name: bytes, mode: int, ctx: RequestContext
    ) -> Coroutine[Any, Any, EntryAttributes]:
        if self._is_false(parent_inode, name, ctx):
            return self._answer_suppressed()
        return self.next.mkdir(request, parent_inode, name, mode, ctx)

    def symlink(
        self, request: Request, parent_inode: int, name: bytes, target: bytes, ctx: RequestContext
    ) -> Coroutine[Any, Any, EntryAttributes]:
        if self._is_false(parent_inode, name, ctx):
            return self._answer_suppressed()
        return self.next.symlink(request, parent_inode, name, target, ctx)

    def _is_false(self, parent_number: int, name: bytes, ctx: RequestContext) -> bool:
        injection = self._injector.current
        return (
            ctx.pid == self._injector.thread_id
            and isinstance(injection, FalseInjection)
            and injection.directory.number == parent_number
            and injection.name == name
        )

    async def _answer_suppressed(self) -> EntryAttributes:
        injection = self._injector.current
        assert injection is not None
        inode = self._inodes.tombstone(injection.directory, injection.name, injection.kind)
        inode.nlookup += 1
        return tombstone_attributes(inode)
