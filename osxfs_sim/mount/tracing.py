"""Shows every request of the guest to whoever wants to know: a trace, or somebody who looks.

pyfuse3 looks a handler up by its name for each request. So, to
begin, the handlers' object is given methods of its own, that call those of its
class and note the answer, and in the end they are taken away: where nobody
looks, nothing is spent. The requests of the server's own thread that raises events
are not the guest's, and are not recorded.
"""

import contextlib
import logging
import os
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyfuse3 import FUSEError, RequestContext

from osxfs_sim.model.operations import UNAWAITED, Operation
from osxfs_sim.mount.acknowledge import AcknowledgingHandlers
from osxfs_sim.mount.crossings import Crossings
from osxfs_sim.mount.inodes import ROOT_NUMBER, Inode, InodeTable
from osxfs_sim.mount.mountpoints import MountError
from osxfs_sim.mount.pulse import Pulse
from osxfs_sim.mount.reactor import Reactor
from osxfs_sim.trace.answers import AnsweredBy

if TYPE_CHECKING:
    from osxfs_sim.trace.recorder import Recorder

log = logging.getLogger(__name__)

_ENOENT = 2
_LONGEST_WAY = 256

# What pyfuse3 calls, by what its arguments begin with. The context comes last, where there is one.
_WITH_NAME = {
    "lookup": Operation.LOOKUP,
    "mknod": Operation.MKNOD,
    "mkdir": Operation.MKDIR,
    "symlink": Operation.SYMLINK,
    "unlink": Operation.UNLINK,
    "rmdir": Operation.RMDIR,
    "rename": Operation.RENAME,
    "create": Operation.CREATE,
}
_WITH_INODE = {
    "getattr": Operation.GETATTR,
    "setattr": Operation.SETATTR,
    "readlink": Operation.READLINK,
    "access": Operation.ACCESS,
    "open": Operation.OPEN,
    "opendir": Operation.OPENDIR,
    "setxattr": Operation.SETXATTR,
    "getxattr": Operation.GETXATTR,
    "listxattr": Operation.LISTXATTR,
    "removexattr": Operation.REMOVEXATTR,
}
_WITH_HANDLE = {
    "read": Operation.READ,
    "write": Operation.WRITE,
    "flush": Operation.FLUSH,
    "release": Operation.RELEASE,
    "fsync": Operation.FSYNC,
    "readdir": Operation.READDIRPLUS,
    "releasedir": Operation.RELEASEDIR,
    "fsyncdir": Operation.FSYNCDIR,
}
_XATTR_NAME = frozenset({Operation.SETXATTR, Operation.GETXATTR, Operation.REMOVEXATTR})


class Tracing:
    """At most one trace of a share at a time, and one pulse."""

    def __init__(
        self,
        handlers: AcknowledgingHandlers,
        inodes: InodeTable,
        crossings: Crossings,
        reactor: Reactor,
    ) -> None:
        self._handlers = handlers
        self._inodes = inodes
        self._crossings = crossings
        self._reactor = reactor
        self._recorder: Recorder | None = None
        self._pulse: Pulse | None = None
        self._processes: dict[int, int] = {}
        """Who opened each handle: a read does not say who asks."""

    def report(self) -> dict[str, Any] | None:
        recorder = self._recorder
        if recorder is None:
            return None
        return {"path": str(recorder.path), "rows": recorder.rows, "lost": recorder.lost}

    def start(self, path: Path) -> None:
        """Record from now on. Raises MountError where that cannot be."""
        if self._recorder is not None:
            raise MountError(f"a trace is being written already, to {self._recorder.path}")
        # Loaded now: the library for its format takes time and memory.
        from osxfs_sim.trace.format import TraceError
        from osxfs_sim.trace.recorder import Recorder

        try:
            recorder = Recorder(path, time.monotonic_ns(), self._path_of, _program_of)
        except TraceError as error:
            raise MountError(str(error)) from error
        self._begin_to_note()
        self._recorder = recorder

    def pulse(self, top: int) -> dict[str, Any]:
        """What was asked since the last time that this was; see Pulse.take."""
        now_ns = time.monotonic_ns()
        if self._pulse is None:
            self._begin_to_note()
            self._pulse = Pulse(self._path_of, now_ns)
        return self._pulse.take(now_ns, top)

    def _begin_to_note(self) -> None:
        if self._recorder is not None or self._pulse is not None:
            return
        self._crossings.keeps_latest = True
        self._processes.clear()
        for methods, wrapped in (
            (_WITH_NAME, self._noting_name),
            (_WITH_INODE, self._noting_inode),
            (_WITH_HANDLE, self._noting_handle),
        ):
            for name, operation in methods.items():
                own = getattr(self._handlers, name)
                setattr(self._handlers, name, wrapped(operation, own))
        for name, wrapper in (
            ("link", self._noting_link),
            ("statfs", self._noting_statfs),
            ("forget", self._noting_forgotten),
        ):
            setattr(self._handlers, name, wrapper(getattr(self._handlers, name)))

    def stop(
        self,
        answerer: Mapping[str, str],
        command: tuple[int, int] | None = None,
        notes: dict[str, Any] | None = None,
    ) -> Callable[[], dict[str, Any]]:
        """Record no more. Returns what completes the file, which may block; see Recorder.close."""
        recorder = self._recorder
        if recorder is None:
            raise MountError("no trace is being written")
        from osxfs_sim.trace.format import TraceError

        self._recorder = None
        self._end_noting()
        ended_ns = time.monotonic_ns()

        def complete() -> dict[str, Any]:
            try:
                recorder.close(ended_ns, command=command, notes=notes, **answerer)
            except TraceError as error:
                raise MountError(str(error)) from error
            return {"path": str(recorder.path), "rows": recorder.rows, "lost": recorder.lost}

        return complete

    def _end_noting(self) -> None:
        if self._recorder is not None or self._pulse is not None:
            return
        for name in (*_WITH_NAME, *_WITH_INODE, *_WITH_HANDLE, "link", "statfs", "forget"):
            delattr(self._handlers, name)
        self._crossings.keeps_latest = False

    # One wrapper per shape of arguments

    def _noting_name(self, operation: Operation, own: Callable[..., Awaitable[Any]]) -> Any:
        async def handler(parent: int, name: bytes, *more: Any) -> Any:
            arrival_ns = self._reactor.arrival_ns
            ctx: RequestContext = more[-1]
            try:
                answer = await own(parent, name, *more)
            except FUSEError as error:
                self._note(operation, arrival_ns, parent, name, ctx.pid, parent, error=error.errno)
                raise
            found = error_number = 0
            if operation is Operation.CREATE:
                found = answer[1].st_ino
                self._processes[answer[0].fh] = ctx.pid
            elif operation is Operation.RENAME:
                found = more[0]  # where it went
            elif answer is not None:
                found = answer.st_ino
                if not found:
                    error_number = _ENOENT  # it may be believed, and is missing all the same
            self._note(
                operation,
                arrival_ns,
                parent,
                name,
                ctx.pid,
                parent,
                found=found,
                error=error_number,
            )
            return answer

        return handler

    def _noting_inode(self, operation: Operation, own: Callable[..., Awaitable[Any]]) -> Any:
        has_name = operation in _XATTR_NAME

        async def handler(number: int, *more: Any) -> Any:
            arrival_ns = self._reactor.arrival_ns
            pid = more[-1].pid
            name = more[0] if has_name else None
            directory = self._directory_of(number)
            try:
                answer = await own(number, *more)
            except FUSEError as error:
                self._note(operation, arrival_ns, number, name, pid, directory, error=error.errno)
                raise
            if operation is Operation.OPEN:
                self._processes[answer.fh] = pid
            elif operation is Operation.OPENDIR:
                self._processes[answer] = pid
            self._note(operation, arrival_ns, number, name, pid, directory)
            return answer

        return handler

    def _noting_handle(self, operation: Operation, own: Callable[..., Awaitable[Any]]) -> Any:
        of_directory = operation in (
            Operation.READDIRPLUS,
            Operation.RELEASEDIR,
            Operation.FSYNCDIR,
        )
        ends = operation in UNAWAITED

        async def handler(handle: int, *more: Any) -> Any:
            arrival_ns = self._reactor.arrival_ns
            inode = self._handlers.inode_of(handle, is_directory=of_directory)
            directory = self._directory_of_inode(inode)
            processes = self._processes
            pid = processes.pop(handle, 0) if ends else processes.get(handle, 0)
            offset_bytes = more[0] if operation in _WITH_OFFSET else 0
            try:
                answer = await own(handle, *more)
            except FUSEError as error:
                self._note(
                    operation,
                    arrival_ns,
                    inode.number,
                    None,
                    pid,
                    directory,
                    error=error.errno,
                    offset_bytes=offset_bytes,
                )
                raise
            size_bytes = 0
            if operation is Operation.READ:
                size_bytes = len(answer)
            elif operation is Operation.WRITE:
                size_bytes = answer
            self._note(
                operation,
                arrival_ns,
                inode.number,
                None,
                pid,
                directory,
                size_bytes=size_bytes,
                offset_bytes=offset_bytes,
            )
            return answer

        return handler

    def _noting_link(self, own: Callable[..., Awaitable[Any]]) -> Any:
        async def link(number: int, parent: int, name: bytes, ctx: RequestContext) -> Any:
            arrival_ns = self._reactor.arrival_ns
            try:
                answer = await own(number, parent, name, ctx)
            except FUSEError as error:
                self._note(
                    Operation.LINK, arrival_ns, parent, name, ctx.pid, parent, error=error.errno
                )
                raise
            self._note(
                Operation.LINK, arrival_ns, parent, name, ctx.pid, parent, found=answer.st_ino
            )
            return answer

        return link

    def _noting_statfs(self, own: Callable[..., Awaitable[Any]]) -> Any:
        async def statfs(ctx: RequestContext) -> Any:
            arrival_ns = self._reactor.arrival_ns
            answer = await own(ctx)
            self._note(Operation.STATFS, arrival_ns, ROOT_NUMBER, None, ctx.pid, ROOT_NUMBER)
            return answer

        return statfs

    def _noting_forgotten(self, own: Callable[..., Awaitable[Any]]) -> Any:
        async def forget(inode_list: Any) -> None:
            arrival_ns = self._reactor.arrival_ns
            directories = [self._directory_of(number) for number, _ in inode_list]
            await own(inode_list)
            for (number, _), directory in zip(inode_list, directories, strict=True):
                self._note(Operation.FORGET, arrival_ns, number, None, 0, directory)

        return forget

    def _note(
        self,
        operation: Operation,
        arrival_ns: int,
        inode: int,
        name: bytes | None,
        pid: int,
        directory: int,
        *,
        found: int = 0,
        error: int = 0,
        size_bytes: int = 0,
        offset_bytes: int = 0,
    ) -> None:
        if pid and pid == self._handlers.injector_thread:
            return
        crossings = self._crossings
        crossed_ns, asked_ns, took_ns, crossed_bytes = crossings.latest
        if crossed_ns == arrival_ns:
            answered_by = AnsweredBy.HOST
            if operation in _WITH_BULK:
                size_bytes = size_bytes or crossed_bytes
        else:
            asked_ns = 0
            took_ns = time.monotonic_ns() - arrival_ns
            if operation in UNAWAITED:
                answered_by = AnsweredBy.GUEST
            else:
                took_ns += crossings.outside.ns(0)
                missing = operation is Operation.LOOKUP and error
                knows_names = missing and self._handlers.name_sets is not None
                answered_by = AnsweredBy.NAMES if knows_names else AnsweredBy.HELD
        # Neither, if what looked ended while this request was on its way.
        for sink in (self._recorder, self._pulse):
            if sink is not None:
                sink.add(
                    arrival_ns,
                    asked_ns,
                    took_ns,
                    operation,
                    inode,
                    name,
                    found,
                    size_bytes,
                    offset_bytes,
                    error,
                    pid,
                    directory,
                    answered_by,
                )
        if self._pulse is not None and self._pulse.is_over(arrival_ns):
            self._pulse = None
            self._end_noting()

    # Where it is

    def _directory_of(self, number: int) -> int:
        try:
            return self._directory_of_inode(self._inodes[number])
        except KeyError:
            return 0

    @staticmethod
    def _directory_of_inode(inode: Inode) -> int:
        if inode.is_directory:
            return inode.number
        parent = inode.parent
        if inode.held is not None and inode.held.guest_place is not None:
            parent = inode.held.guest_place[0]  # made or moved, and the host does not know yet
        return parent.number if parent is not None else 0

    def _path_of(self, number: int) -> str | None:
        """The path of a directory from the share's root, by the names that are known now."""
        names: list[str] = []
        try:
            here: Inode | None = self._inodes[number]
        except KeyError:
            return None
        for _ in range(_LONGEST_WAY):
            assert here is not None
            parent, name = here.parent, here.name
            if here.held is not None and here.held.guest_place is not None:
                parent, name = here.held.guest_place
            if parent is None:
                break
            names.append(name.decode("utf-8", "backslashreplace"))
            here = parent
        if here is not self._inodes.root:
            return None  # it has lost its name
        return "/" + "/".join(reversed(names))


_WITH_OFFSET = frozenset({Operation.READ, Operation.WRITE})
_WITH_BULK = frozenset({Operation.READDIRPLUS})


def _program_of(pid: int) -> str | None:
    """What a process or a thread runs."""
    if not pid:
        return None
    with contextlib.suppress(OSError):
        fd = os.open(f"/proc/{pid}/comm", os.O_RDONLY | os.O_CLOEXEC)
        try:
            return os.read(fd, 64).strip().decode("utf-8", "backslashreplace")
        finally:
            os.close(fd)
    return None
