"""What pyfuse3 calls: between its workers and the handlers of a share.

Every request passes here, and two things are seen to that no handler has to think of:

- Requests about one object keep their order (model/request_order.py). A handler that is done
  without waiting has kept it. One that begins to wait, for a thread or another worker, is entered
  with its object until it is done; and whatever comes for that object meanwhile waits for its
  turn. It is done when its answer is delayed until that is due: then there is nothing left but the
  answer. While nothing waits, all of this is a look at an empty dict.
- Who opens more than is free for that user gets EMFILE (open_handles.py), before anything is done.
- Every request is answered, once. An exception that pyfuse3 does not expect would end the
  server: it is recorded here, and the request is answered EIO. What ends a worker, or the
  process, keeps its meaning (BaseException).

It is here that a request becomes a value (loop/request.py), which handlers pass along.

What a handler awaits are the objects of mount/loop/reactor.py: integers are moments, the others
things that may take any time.
"""

import errno
import os
import types
from collections.abc import Callable, Coroutine, Generator, Sequence
from typing import Any

import pyfuse3
from pyfuse3 import EntryAttributes, FileInfo, FUSEError

from osxfs_sim.model.operations import Operation
from osxfs_sim.model.request_order import ACCESS_OF, Access, Order, Turn
from osxfs_sim.mount.loop.reactor import Reactor, Signal
from osxfs_sim.mount.loop.request import Request, new_request
from osxfs_sim.mount.requests.handlers import Handlers
from osxfs_sim.mount.requests.open_handles import OpenHandles
from osxfs_sim.mount.tree.inodes import Inode

_SLASH = ord("/")
_LARGEST_ERRNO = 999
"""What libfuse takes for one."""

Find = Callable[[Handlers, tuple[Any, ...]], Inode | None]


def _by_number(handlers: Handlers, arguments: tuple[Any, ...]) -> Inode | None:
    return handlers.inode(arguments[0])


def _by_handle(handlers: Handlers, arguments: tuple[Any, ...]) -> Inode | None:
    return handlers.inode_of(arguments[0], is_directory=False)


def _by_name(handlers: Handlers, arguments: tuple[Any, ...]) -> Inode | None:
    return handlers.inode_called(arguments[0], arguments[1])


# How pyfuse3 calls each, what its arguments begin with, and what it must answer.
_BY_NUMBER = {
    "getattr": (Operation.GETATTR, EntryAttributes),
    "setattr": (Operation.SETATTR, EntryAttributes),
    "readlink": (Operation.READLINK, bytes),
    "access": (Operation.ACCESS, int),
    "open": (Operation.OPEN, FileInfo),
    "link": (Operation.LINK, EntryAttributes),
    "setxattr": (Operation.SETXATTR, None),
    "getxattr": (Operation.GETXATTR, bytes),
    "listxattr": (Operation.LISTXATTR, Sequence),
    "removexattr": (Operation.REMOVEXATTR, None),
}
_BY_HANDLE = {
    "read": (Operation.READ, (bytes, memoryview)),
    "write": (Operation.WRITE, int),
    "flush": (Operation.FLUSH, None),
    "fsync": (Operation.FSYNC, None),
}
_BY_NAME = {
    "lookup": (Operation.LOOKUP, EntryAttributes),
    "create": (Operation.CREATE, tuple),
}
_UNORDERED = {
    "mknod": (Operation.MKNOD, EntryAttributes),
    "mkdir": (Operation.MKDIR, EntryAttributes),
    "symlink": (Operation.SYMLINK, EntryAttributes),
    "unlink": (Operation.UNLINK, None),
    "rmdir": (Operation.RMDIR, None),
    "rename": (Operation.RENAME, None),
    "opendir": (Operation.OPENDIR, int),
    "readdir": (Operation.READDIRPLUS, None),
    "read_names": (Operation.READDIR, bytes),
    "releasedir": (Operation.RELEASEDIR, None),
    "fsyncdir": (Operation.FSYNCDIR, None),
    "release": (Operation.RELEASE, None),
    "statfs": (Operation.STATFS, pyfuse3.StatvfsData),
}
# Where among the arguments are the flags of open(2).
_FLAGS_AT = {Operation.OPEN: 1, Operation.CREATE: 3}


# What has the guest hold one descriptor more, or one less.
_OPENING = frozenset({Operation.OPEN, Operation.CREATE, Operation.OPENDIR})
_CLOSING = frozenset({Operation.RELEASE, Operation.RELEASEDIR})


def _cuts(operation: Operation, arguments: tuple[Any, ...]) -> bool:
    """Whether it may cut the file when its crossing is paid, and not before."""
    at = _FLAGS_AT.get(operation)
    return at is not None and bool(arguments[at] & os.O_TRUNC)


def _access(operation: Operation, arguments: tuple[Any, ...]) -> Access:
    return Access.CHANGES if _cuts(operation, arguments) else ACCESS_OF[operation]


_DONE_AT_ONCE = frozenset(
    {
        *(Operation.LOOKUP, Operation.CREATE, Operation.GETATTR, Operation.ACCESS),
        *(Operation.READLINK, Operation.GETXATTR, Operation.LISTXATTR),
    }
)


def _refuse() -> None:
    raise OSError(errno.EINVAL, os.strerror(errno.EINVAL))


def _is_no_name(name: bytes) -> bool:
    return not name or b"/" in name or b"\0" in name


_Check = Callable[[tuple[Any, ...]], None]


def _size(arguments: tuple[Any, ...]) -> None:
    if arguments[2].update_size and arguments[1].st_size < 0:
        _refuse()


def _one_name(arguments: tuple[Any, ...]) -> None:
    if _is_no_name(arguments[1]):
        _refuse()


def _two_names(arguments: tuple[Any, ...]) -> None:
    if _is_no_name(arguments[1]) or _is_no_name(arguments[3]):
        _refuse()


def _new_name(arguments: tuple[Any, ...]) -> None:
    if _is_no_name(arguments[2]):
        _refuse()


# A kernel sends nothing of this kind, and what the host would make of it is not ours to find out.
# What only looks pays for as little as can be: the host itself refuses all but a path.
_CHECKS: dict[Operation, _Check] = {
    Operation.SETATTR: _size,
    Operation.CREATE: _one_name,
    Operation.MKNOD: _one_name,
    Operation.MKDIR: _one_name,
    Operation.SYMLINK: _one_name,
    Operation.UNLINK: _one_name,
    Operation.RMDIR: _one_name,
    Operation.LINK: _new_name,
    Operation.RENAME: _two_names,
}


def _never(_: Any) -> bool:
    """Nobody raises events: there are no such requests."""
    return False


class Dispatcher(pyfuse3.Operations):
    """The FUSE operations as pyfuse3 calls them; set_handlers() binds what answers each.

    *is_suppressed* tells of a caller's context whether its requests are injected by the server
    itself, which read nothing and change nothing: they wait for nobody.
    """

    supports_dot_lookup = False
    """The kernel then never sends "." or ".." as names to look up."""
    enable_writeback_cache = False
    read_names: Callable[[int, int, int], Coroutine[Any, Any, bytes]]
    """READDIR, which pyfuse3 does not know; see negotiation.py."""

    def __init__(
        self,
        handlers: Handlers,
        reactor: Reactor,
        opened: OpenHandles,
        *,
        is_suppressed: Callable[[Any], bool] | None = None,
        kernel_writes_back: bool = False,
    ) -> None:
        super().__init__()
        self._is_suppressed = is_suppressed or _never
        self.enable_writeback_cache = kernel_writes_back
        self.opened = opened
        self.order: Order[Inode] = Order()
        self._handlers = handlers
        self._reactor = reactor
        self.set_handlers(handlers)

    def set_handlers(self, handlers: Any) -> None:
        """Have *handlers* answer from the next request on, a method each. Raises AttributeError.

        Bound here once: so layers, or taking one away again, cost a request nothing.
        """
        for methods, find in (
            (_BY_NUMBER, _by_number),
            (_BY_HANDLE, _by_handle),
            (_BY_NAME, _by_name),
            (_UNORDERED, None),
        ):
            for name, (operation, expected) in methods.items():
                method = getattr(handlers, name)
                setattr(self, name, self._passing(name, method, operation, find, expected))
        self.forget = self._forgetting(handlers.forget)  # type: ignore[method-assign]

    # Order

    def _take_turn(
        self, operation: Operation, find: Find | None, arguments: tuple[Any, ...]
    ) -> Turn[Inode] | None:
        """The turn of a request that has just come, if something of its object is under way."""
        if self._is_suppressed(arguments[-1]):
            return None  # it looks at nothing, and changes nothing
        inode = self._found(find, arguments)
        if inode is None or inode not in self.order.turns:
            return None
        return self.order.enter(inode, _access(operation, arguments))

    def _begin(
        self, operation: Operation, find: Find | None, arguments: tuple[Any, ...]
    ) -> Turn[Inode] | None:
        """The turn of a request that had none, and begins to wait for something else."""
        inode = self._found(find, arguments)
        if inode is None:
            return None
        return self.order.enter(inode, _access(operation, arguments), has_begun=True)

    def _found(self, find: Find | None, arguments: tuple[Any, ...]) -> Inode | None:
        """Which object a request is about; what is wrong with it, its handler will say."""
        try:
            return None if find is None else find(self._handlers, arguments)
        except OSError:
            return None

    def _in_turn(
        self,
        turn: Turn[Inode],
        cuts: bool,
        method: Callable[..., Any],
        request: Request,
        arguments: tuple[Any, ...],
    ) -> Generator[Any, Any, Any]:
        """Wait for *turn*, if it has not come yet; then for what *method* does with it."""
        try:
            if not turn.has_begun:
                turn.signal = Signal()
                yield turn.signal
            # What it has waited is part of what it takes.
            work = method(request, *arguments)
            wanted = work.send(None)
        except StopIteration as done:
            self._leave(turn)
            return done.value
        except BaseException:
            self._leave(turn)
            raise
        return (yield from self._to_its_end(turn, cuts, work, wanted))

    def _to_its_end(
        self, turn: Turn[Inode] | None, cuts: bool, work: Any, wanted: Any
    ) -> Generator[Any, Any, Any]:
        """What *work* comes to, which has begun and wants *wanted*.

        Its *turn* is over when only its answer is delayed until that is due; where it *cuts* that
        may be done but then: at its end.
        """
        try:
            while True:
                if turn is not None and isinstance(wanted, int) and not cuts:
                    self._leave(turn)
                    turn = None
                try:
                    value = yield wanted
                except BaseException as error:
                    wanted = work.throw(error)
                else:
                    wanted = work.send(value)
        except StopIteration as done:
            return done.value
        finally:
            if turn is not None:
                self._leave(turn)

    def _leave(self, turn: Turn[Inode]) -> None:
        for each in self.order.leave(turn):
            if isinstance(each.signal, Signal):
                self._reactor.notify_all(each.signal)

    # Answers

    def _failed(self, operation: Operation, error: Exception) -> FUSEError:
        """What pyfuse3 shall answer instead."""
        code = error.errno if isinstance(error, FUSEError | OSError) else None
        if code is None or not 0 < code <= _LARGEST_ERRNO:
            self._reactor.internal_errors.record(operation.name, error)
            code = errno.EIO
        return FUSEError(code)

    def _forgetting(self, method: Callable[..., Any]) -> Callable[..., Any]:
        async def forget(inode_list: Sequence[tuple[int, int]]) -> None:
            try:
                await method(new_request(Operation.FORGET, self._reactor.arrival_ns), inode_list)
            except Exception as error:  # nobody waits for an answer
                self._failed(Operation.FORGET, error)

        return forget

    def stacktrace(self) -> None:
        """Do nothing: pyfuse3 calls it for who debugs its threads."""

    def _passing(
        self,
        name: str,
        method: Callable[..., Any],
        operation: Operation,
        find: Find | None,
        expected: Any,
    ) -> Any:
        """The method *name*: for each kind of request the least that has to be done for it.

        Every request passes here, so what depends on the operation alone is decided here, once.
        """
        assert (find is None) == (operation not in ACCESS_OF)
        check = _CHECKS.get(operation)
        is_create, is_lookup = operation is Operation.CREATE, operation is Operation.LOOKUP
        reactor, turns, code = self._reactor, self.order.turns, int(operation)

        def at_once(*arguments: Any) -> Generator[Any, Any, Any]:
            try:
                if is_lookup:
                    if _SLASH in arguments[1]:
                        _refuse()
                elif check is not None:
                    check(arguments)
                request = Request()
                request.arrival_ns = reactor.arrival_ns
                request.operation = code
                request.paid = None
                if turns and (turn := self._take_turn(operation, find, arguments)):
                    cuts = _cuts(operation, arguments)
                    answer = yield from self._in_turn(turn, cuts, method, request, arguments)
                else:
                    answer = yield from method(request, *arguments)
                if expected is not None and not isinstance(answer, expected):
                    _unexpected(answer)
                if is_create:
                    _check_created(answer)
            except Exception as error:
                if type(error) is FUSEError and 0 < error.errno <= _LARGEST_ERRNO:
                    raise
                raise self._failed(operation, error) from error
            return answer

        def perhaps_later(*arguments: Any) -> Generator[Any, Any, Any]:
            try:
                if check is not None:
                    check(arguments)
                request = Request()
                request.arrival_ns = reactor.arrival_ns
                request.operation = code
                request.paid = None
                if turns and (turn := self._take_turn(operation, find, arguments)):
                    cuts = _cuts(operation, arguments)
                    answer = yield from self._in_turn(turn, cuts, method, request, arguments)
                else:
                    work = method(request, *arguments)
                    try:
                        wanted = work.send(None)
                    except StopIteration as done:  # without waiting: that is nearly every time
                        answer = done.value
                    else:
                        cuts = _cuts(operation, arguments)
                        begun = None
                        if cuts or not isinstance(wanted, int):
                            begun = self._begin(operation, find, arguments)
                        answer = yield from self._to_its_end(begun, cuts, work, wanted)
                if expected is not None and not isinstance(answer, expected):
                    _unexpected(answer)
            except Exception as error:
                if type(error) is FUSEError and 0 < error.errno <= _LARGEST_ERRNO:
                    raise
                raise self._failed(operation, error) from error
            return answer

        def of_data(handle: int, offset: int, wanted_or_data: Any) -> Generator[Any, Any, Any]:
            # As perhaps_later, of READ and WRITE alone, of which there are the most: their
            # arguments need not be packed and unpacked again.
            try:
                if offset < 0:
                    _refuse()
                request = Request()
                request.arrival_ns = reactor.arrival_ns
                request.operation = code
                request.paid = None
                if turns:
                    arguments = handle, offset, wanted_or_data
                    if turn := self._take_turn(operation, find, arguments):
                        answer = yield from self._in_turn(turn, False, method, request, arguments)
                        if not isinstance(answer, expected):
                            _unexpected(answer)
                        return answer
                work = method(request, handle, offset, wanted_or_data)
                try:
                    wanted = work.send(None)
                except StopIteration as done:
                    answer = done.value
                else:
                    begun = None
                    if not isinstance(wanted, int):
                        begun = self._begin(operation, find, (handle, offset, wanted_or_data))
                    answer = yield from self._to_its_end(begun, False, work, wanted)
                if not isinstance(answer, expected):
                    _unexpected(answer)
            except Exception as error:
                if type(error) is FUSEError and 0 < error.errno <= _LARGEST_ERRNO:
                    raise
                raise self._failed(operation, error) from error
            return answer

        # What a name leads to is not known before it is looked up: it may meet others there, and
        # they need not wait for it. The others of these are done at once by every handler.
        passes: _Passes = perhaps_later
        if find is None or operation in _DONE_AT_ONCE:
            passes = at_once
        elif operation in (Operation.READ, Operation.WRITE):
            passes = of_data
        if operation in _OPENING:
            passes = _opening(self.opened, _awaitable(passes))
        elif operation in _CLOSING:
            passes = _closing(self.opened, _awaitable(passes))
        passes.__name__ = passes.__qualname__ = name
        return _awaitable(passes)


_Passes = Callable[..., Generator[Any, Any, Any]]


def _awaitable(passes: _Passes) -> Any:
    """*passes*, that pyfuse3 can await."""
    return types.coroutine(passes)


def _opening(handles: OpenHandles, passes: _Passes) -> _Passes:
    """As *passes*, by which the guest gets a handle: if there is one left for who asks."""

    def counted(*arguments: Any) -> Generator[Any, Any, Any]:
        uid = arguments[-1].uid
        try:
            handles.acquire(uid)
        except OSError as error:
            raise FUSEError(error.errno or errno.EMFILE) from error
        try:
            answer = yield from passes(*arguments)
        except BaseException:
            handles.release(uid)
            raise
        opened = answer[0] if isinstance(answer, tuple) else answer
        handles.assign(opened.fh if isinstance(opened, FileInfo) else opened, uid)
        return answer

    return counted


def _closing(handles: OpenHandles, passes: _Passes) -> _Passes:
    def counted(*arguments: Any) -> Generator[Any, Any, Any]:
        # Before: its number is given anew when it is closed.
        handles.closed(arguments[0])
        return (yield from passes(*arguments))

    return counted


def _unexpected(answer: Any) -> None:
    raise TypeError(f"it answered {answer!r}")


def _check_created(answer: tuple[Any, ...]) -> None:
    if not (
        len(answer) == 2
        and isinstance(answer[0], FileInfo)
        and isinstance(answer[1], EntryAttributes)
    ):
        _unexpected(answer)
