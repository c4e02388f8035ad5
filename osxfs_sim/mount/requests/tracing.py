"""Records every request of the guest for whoever wants to know: a trace, or live counters.

While either is wanted, a layer lies over the handlers that records what each of them answers;
then it is taken away again: where nobody looks, nothing is spent. Injected requests, of the
server's own thread that raises events, are not the guest's, and are not recorded.

A crossing belongs to the request that has paid it: each is handed down as a value that collects
what it pays (loop/request.py). Times say nothing: several requests may have one arrival,
and a request that waits is dated anew when it goes on. What write-back does in the background
belongs to nobody.
"""

import contextlib
import errno
import os
import stat as modes
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pyfuse3 import FUSEError, RequestContext

from osxfs_sim.model.operations import UNAWAITED, Operation
from osxfs_sim.model.status import TraceStatus
from osxfs_sim.mount.errors import MountError
from osxfs_sim.mount.latency.crossings import Crossings
from osxfs_sim.mount.loop.request import Crossing, Request
from osxfs_sim.mount.requests.dispatch import Dispatcher
from osxfs_sim.mount.requests.handlers import Handlers
from osxfs_sim.mount.requests.live_counters import LiveCounters
from osxfs_sim.mount.tree.inodes import ROOT_NUMBER, Inode, InodeTable
from osxfs_sim.mount.tree.system_calls import system_call_of
from osxfs_sim.trace.answers import AnsweredBy
from osxfs_sim.trace.errors import TraceError
from osxfs_sim.trace.said import NOTHING_SAID, Said

if TYPE_CHECKING:
    from osxfs_sim.trace.recorder import Recorder

_AS_CROSSED = -1
"""For a size: that of the crossing."""
_LONGEST_WAY = 256
_LONGEST_PATH_BYTES = 4_096  # each row of a trace has it written out

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
    "read_names": Operation.READDIR,
    "releasedir": Operation.RELEASEDIR,
    "fsyncdir": Operation.FSYNCDIR,
}
_OF_A_HANDLE = frozenset(map(int, _WITH_HANDLE.values()))
"""Of these only who has opened the handle is known, which need not be who asks."""
_LISTINGS = frozenset({Operation.READDIRPLUS, Operation.READDIR})
_OF_DIRECTORY = _LISTINGS | {Operation.RELEASEDIR, Operation.FSYNCDIR}
_HOST, _NAMES, _HELD, _GUEST = map(int, AnsweredBy)
_XATTR_NAME = frozenset({Operation.SETXATTR, Operation.GETXATTR, Operation.REMOVEXATTR})


class _Traced:
    """The layer that lies over the handlers while somebody looks: a method for each request."""


def _as_it_is(handlers: Any) -> Any:
    return handlers


class Tracing:
    """Records the requests of a share: at most one trace at a time, and live counters."""

    def __init__(
        self,
        dispatcher: Dispatcher,
        handlers: Handlers,
        inodes: InodeTable,
        crossings: Crossings,
        call_soon: Callable[[Callable[[], None]], None],
        *,
        names_answer: bool = False,
        add_layer: Callable[[Any], Any] = _as_it_is,
    ) -> None:
        """*dispatcher* is served by *handlers* while nobody looks; *call_soon* is the reactor's.

        *names_answer*: names that are missing may be answered by what is known of a directory.
        *lay_over* puts over handlers what answers requests that shall not be seen here.
        """
        self._names_answer = names_answer
        self._add_layer = add_layer
        self._dispatcher = dispatcher
        self._handlers = handlers
        self._inodes = inodes
        self._crossings = crossings
        self._call_soon = call_soon
        self._recorder: Recorder | None = None
        self._with_calls = False
        self._live_counters: LiveCounters | None = None
        self._sinks: tuple[Callable[..., None], ...] = ()
        self._processes: dict[int, int] = {}
        """Who opened each handle: a read does not say who asks."""

    def report(self) -> TraceStatus | None:
        """The status of the trace that is being written; None: none is."""
        recorder = self._recorder
        if recorder is None:
            return None
        return TraceStatus(
            path=str(recorder.path),
            rows=recorder.rows,
            lost=recorder.lost,
            failure=recorder.failure or None,
        )

    def start(self, path: Path, *, with_calls: bool = False, **header: Any) -> None:
        """Record every request from now on to *path*; *header*: what answers. Raises MountError.

        *with_calls*: note also which system call each is for, which takes some 10 us of each.
        """
        if self._recorder is not None:
            raise MountError(f"a trace is being written already, to {self._recorder.path}")
        # Loaded now: the library for its format takes time and memory.
        from osxfs_sim.trace.recorder import Recorder
        from osxfs_sim.trace.schema import Header

        begins = Header(time.monotonic_ns(), 0, began_wall_ns=time.time_ns(), **header)
        try:
            recorder = Recorder(path, begins, self._path_of, _program_of, _kin_of, self._call_soon)
        except TraceError as error:
            raise MountError(str(error)) from error
        self._recorder = recorder
        self._with_calls = with_calls
        self._start_recording()

    def live_counters(self, top: int) -> dict[str, Any]:
        """Counts, latencies and *top* directories since the last call, as a dict; none at first."""
        now_ns = time.monotonic_ns()
        if self._live_counters is None:
            self._live_counters = LiveCounters(self._path_of, now_ns)
            self._start_recording()
        return self._live_counters.take(now_ns, top)

    def _start_recording(self) -> None:
        was_recording = bool(self._sinks)
        self._sinks = self._wanted()
        if was_recording:
            return
        self._processes.clear()
        self._dispatcher.set_handlers(self._add_layer(self._traced()))

    def _traced(self) -> _Traced:
        traced = _Traced()
        for methods, tracing in (
            (_WITH_NAME, self._tracing_name),
            (_WITH_INODE, self._tracing_inode),
            (_WITH_HANDLE, self._tracing_handle),
        ):
            for name, operation in methods.items():
                setattr(traced, name, tracing(operation, getattr(self._handlers, name)))
        for name, tracing_one in (
            ("link", self._tracing_link),
            ("statfs", self._tracing_statfs),
            ("forget", self._tracing_forget),
        ):
            setattr(traced, name, tracing_one(getattr(self._handlers, name)))
        return traced

    def stop(
        self,
        command: tuple[int, int] | None = None,
        notes: dict[str, Any] | None = None,
    ) -> Callable[[], dict[str, Any]]:
        """Stop the trace; returns a call that completes its file, and blocks. Raises MountError.

        See Recorder.close; what it returns raises MountError, too.
        """
        recorder = self._recorder
        if recorder is None:
            raise MountError("no trace is being written")
        self._recorder = None
        self._with_calls = False
        self._stop_recording()
        ended_ns = time.monotonic_ns()

        def complete() -> dict[str, Any]:
            try:
                recorder.close(ended_ns, command=command, notes=notes)
            except TraceError as error:
                raise MountError(str(error)) from error
            return _numbers(recorder)

        return complete

    def _wanted(self) -> tuple[Callable[..., None], ...]:
        return tuple(each.add for each in (self._recorder, self._live_counters) if each is not None)

    def _stop_recording(self) -> None:
        self._sinks = self._wanted()
        if self._sinks:
            return
        self._dispatcher.set_handlers(self._add_layer(self._handlers))

    # One wrapper per shape of arguments. What they do is in every request's way: so what
    # depends on the operation alone is decided before, and nothing is passed by keyword.

    def _tracing_name(self, operation: Operation, own: Callable[..., Awaitable[Any]]) -> Any:
        code, record = int(operation), self._record
        is_create = operation is Operation.CREATE
        is_rename = operation is Operation.RENAME
        by = _NAMES if self._names_answer and operation is Operation.LOOKUP else _HELD

        async def handler(request: Request, parent: int, name: bytes, *more: Any) -> Any:
            request = request.traced()
            pid = more[-1].pid
            try:
                answer = await own(request, parent, name, *more)
            except Exception as error:
                failure = _number_of(error)
                record(code, request, parent, name, pid, parent, 0, failure, 0, 0, by)
                raise
            found = error_number = 0
            said = NOTHING_SAID
            if is_create:
                opened, attributes = answer
                found = attributes.st_ino
                self._processes[opened.fh] = pid
                said = _said_of(attributes, more[1], opened.fh)
            elif is_rename:
                found = more[0]  # where it went
                said = Said(new_name=more[1])
            elif answer is not None:
                found = answer.st_ino
                if found:
                    said = _said_of(answer)
                else:
                    error_number = errno.ENOENT  # a negative entry: missing all the same
            by_whom = by if error_number else _HELD
            record(
                code, request, parent, name, pid, parent, found, error_number, 0, 0, by_whom, said
            )
            return answer

        return handler

    def _tracing_inode(self, operation: Operation, own: Callable[..., Awaitable[Any]]) -> Any:
        code, record = int(operation), self._record
        has_name = operation in _XATTR_NAME
        is_open = operation is Operation.OPEN
        is_opendir = operation is Operation.OPENDIR
        says = operation in (Operation.GETATTR, Operation.SETATTR)

        async def handler(request: Request, number: int, *more: Any) -> Any:
            request = request.traced()
            pid = more[-1].pid
            name = more[0] if has_name else None
            directory = self._directory_of(number)
            try:
                answer = await own(request, number, *more)
            except Exception as error:
                failure = _number_of(error)
                record(code, request, number, name, pid, directory, 0, failure, 0, 0, _HELD)
                raise
            said = NOTHING_SAID
            if is_open:
                self._processes[answer.fh] = pid
                said = Said(flags=more[0], handle=answer.fh)
            elif is_opendir:
                self._processes[answer] = pid
                said = Said(handle=answer)
            elif says:
                said = _said_of(answer)
            record(code, request, number, name, pid, directory, 0, 0, 0, 0, _HELD, said)
            return answer

        return handler

    def _tracing_handle(self, operation: Operation, own: Callable[..., Awaitable[Any]]) -> Any:
        code, record = int(operation), self._record
        of_directory = operation in _OF_DIRECTORY
        ends = operation in UNAWAITED
        has_offset = operation in (Operation.READ, Operation.WRITE)
        is_read, is_write = operation is Operation.READ, operation is Operation.WRITE
        is_listing = operation in _LISTINGS
        by = _GUEST if ends else _HELD

        async def handler(request: Request, handle: int, *more: Any) -> Any:
            if not ends:
                request = request.traced()
            inode = self._handlers.inode_of(handle, is_directory=of_directory)
            directory = self._directory_of_inode(inode)
            processes = self._processes
            pid = processes.pop(handle, 0) if ends else processes.get(handle, 0)
            offset = more[0] if has_offset else 0
            number = inode.number
            try:
                answer = await own(request, handle, *more)
            except Exception as error:
                failure = _number_of(error)
                record(code, request, number, None, pid, directory, 0, failure, 0, offset, by)
                raise
            size = 0
            if is_read:
                size = len(answer)
            elif is_write:
                size = answer
            elif is_listing:
                size = _AS_CROSSED
            said = Said(handle=handle)
            record(code, request, number, None, pid, directory, 0, 0, size, offset, by, said)
            return answer

        return handler

    def _tracing_link(self, own: Callable[..., Awaitable[Any]]) -> Any:
        code, record = int(Operation.LINK), self._record

        async def link(
            request: Request, number: int, parent: int, name: bytes, ctx: RequestContext
        ) -> Any:
            request = request.traced()
            try:
                answer = await own(request, number, parent, name, ctx)
            except Exception as error:
                failure = _number_of(error)
                record(code, request, parent, name, ctx.pid, parent, 0, failure, 0, 0, _HELD)
                raise
            found, said = answer.st_ino, _said_of(answer)
            record(code, request, parent, name, ctx.pid, parent, found, 0, 0, 0, _HELD, said)
            return answer

        return link

    def _tracing_statfs(self, own: Callable[..., Awaitable[Any]]) -> Any:
        code, root = int(Operation.STATFS), ROOT_NUMBER

        async def statfs(request: Request, ctx: RequestContext) -> Any:
            request = request.traced()
            error_number = 0
            try:
                return await own(request, ctx)
            except Exception as error:
                error_number = _number_of(error)
                raise
            finally:
                self._record(code, request, root, None, ctx.pid, root, 0, error_number, 0, 0, _HELD)

        return statfs

    def _tracing_forget(self, own: Callable[..., Awaitable[Any]]) -> Any:
        code, record = int(Operation.FORGET), self._record

        async def forget(request: Request, inode_list: Any) -> None:
            directories = [self._directory_of(number) for number, _ in inode_list]
            await own(request, inode_list)
            for (number, _), directory in zip(inode_list, directories, strict=True):
                record(code, request, number, None, 0, directory, 0, 0, 0, 0, _GUEST)

        return forget

    def _record(
        self,
        operation: int,
        request: Request,
        inode: int,
        name: bytes | None,
        pid: int,
        directory: int,
        found: int,
        error: int,
        size_bytes: int,
        offset_bytes: int,
        otherwise: int,
        said: Said = NOTHING_SAID,
    ) -> None:
        """One answered request; *otherwise* is who has answered it, if it did not cross."""
        paid, arrival_ns = request.paid, request.arrival_ns
        answered_by = otherwise
        target_ns = looked_ns = 0
        if self._with_calls and pid and operation not in _OF_A_HANDLE:
            # It waits still: the answer is sent after this. So the look is a part of its wait.
            before_ns = time.monotonic_ns()
            said = said._replace(call=system_call_of(pid))
            looked_ns = time.monotonic_ns() - before_ns
        if not paid:
            took_ns = time.monotonic_ns() - arrival_ns
            if otherwise != _GUEST:
                took_ns += self._crossings.client_overhead.overhead_ns(0)
        else:
            crossed, crossed_bytes, paid_from_ns, crossed_target_ns, took_ns = paid[-1]
            # Its own time begins when it came, and the crossing's when it was done waiting.
            took_ns += paid_from_ns - arrival_ns
            if crossed == operation:
                answered_by, target_ns = _HOST, crossed_target_ns
                if size_bytes == _AS_CROSSED:
                    size_bytes = crossed_bytes
            if len(paid) > 1 or crossed != operation:
                took_ns -= self._record_others(paid, operation, inode, name, pid, directory)
            took_ns += looked_ns
        if size_bytes == _AS_CROSSED:
            size_bytes = 0
        # None, if recording was stopped while this request was on its way.
        for add in self._sinks:
            add(
                arrival_ns,
                target_ns,
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
                said,
            )
        if self._live_counters is not None and self._live_counters.is_over(arrival_ns):
            self._live_counters = None
            self._stop_recording()

    def _record_others(
        self,
        paid: list[Crossing],
        operation: int,
        inode: int,
        name: bytes | None,
        pid: int,
        directory: int,
    ) -> int:
        """A row for each crossing of a request that its own row is not of; returns their time.

        Such as the FSYNC of a WRITE that is to be synchronous. What is about a name need not
        be about its directory: of what else it asked the host, the object is not known.
        """
        others = paid if paid[-1][0] != operation else paid[:-1]
        about = inode if name is None else 0
        whole_ns = 0
        for crossed, size_bytes, arrival_ns, target_ns, took_ns in others:
            whole_ns += took_ns
            for add in self._sinks:
                add(
                    *(arrival_ns, target_ns, took_ns, crossed, about, None, 0, size_bytes),
                    *(0, 0, pid, directory, _HOST),
                )
        return whole_ns

    # Where it is

    def _directory_of(self, number: int) -> int:
        try:
            return self._directory_of_inode(self._inodes[number])
        except KeyError:
            return 0

    @staticmethod
    def _directory_of_inode(inode: Inode) -> int:
        if inode.kind == modes.S_IFDIR:
            return inode.number
        parent, _ = _place_of(inode)
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
            parent, name = _place_of(here)
            if parent is None:
                break
            names.append(name.decode("utf-8", "backslashreplace"))
            here = parent
        if here is not self._inodes.root:
            return None  # it has lost its name
        path = "/" + "/".join(reversed(names))
        return path if len(path.encode()) <= _LONGEST_PATH_BYTES else None


def _numbers(recorder: "Recorder") -> dict[str, Any]:
    return {"path": str(recorder.path), "rows": recorder.rows, "lost": recorder.lost}


def _place_of(inode: Inode) -> tuple[Inode | None, bytes]:
    """The directory that the guest has it in, and its name there."""
    if inode.overlay is not None and inode.overlay.guest_place is not None:
        return inode.overlay.guest_place  # made or moved, and the host does not know yet
    return inode.parent, inode.name


def _number_of(error: Exception) -> int:
    """The errno that the guest gets."""
    return error.errno if isinstance(error, FUSEError) else errno.EIO


def _said_of(attributes: Any, flags: int = 0, handle: int = -1) -> Said:
    """What an answer says that tells what an object is like."""
    return Said(
        attributes.st_mode,
        attributes.st_size,
        attributes.st_mtime_ns,
        attributes.st_nlink,
        flags,
        handle,
    )


_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def _kin_of(thread: int) -> tuple[int, int, int]:
    """Its process, that one's parent, and when it was started; see Recorder.Kin."""
    try:
        status = Path(f"/proc/{thread}/status").read_text(encoding="utf-8", errors="replace")
        stat = Path(f"/proc/{thread}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return 0, 0, 0
    lines = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
    # The program's name, in parentheses, may have anything in it; starttime is the 22nd field.
    started_ticks = int(stat.rpartition(")")[2].split()[19])
    return (
        int(lines.get("Tgid", "0")),
        int(lines.get("PPid", "0")),
        started_ticks * 10**9 // _TICKS_PER_S,
    )


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
