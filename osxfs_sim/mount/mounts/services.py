"""Host services: the sockets of a share that lead to the host.

A socket or FIFO of the share itself never connects guest and host. A host
service is the exception that the vendor makes for the SSH agent: a socket in
the directory host-services, at which this server listens, and which leads each
connection to a socket of the host.

The listening is done in a thread with a trio of its own. In the reactor's, every
step of a conversation would wait for up to 10 ms for its turn; and to close the
last socket can end the share's file system, for which the kernel waits until the
reactor has written out what it holds.

The kernel ends a share only when nobody holds it any more, and these sockets
hold it: so the thread watches the table of mounts, and closes them all when the
share is gone from it.
"""

import contextlib
import errno
import functools
import logging
import os
import select
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import trio

from osxfs_sim.model.escaping import quoted
from osxfs_sim.model.status import HostServiceStatus
from osxfs_sim.mount.mounts import binder
from osxfs_sim.mount.mounts.identity import ServerUser
from osxfs_sim.mount.mounts.mountpoints import MountError, mounts
from osxfs_sim.mount.mounts.service_checks import LONGEST_SOCKET_PATH_BYTES

log = logging.getLogger(__name__)

DIRECTORY = "host-services"

# One descriptor for each of the two ends; those of the share's files come first.
_CONNECTIONS_AT_ONCE = 256
_BINDING_WITHIN_S = 30.0
_CONNECTING_ATTEMPTS = 1_000
_CONNECTING_PAUSE_S = 0.01


@dataclass(slots=True)
class _Service:
    """One service: the host's socket at *path*, and how much it was used."""

    name: str
    path: str
    connections: int = 0
    open: int = 0
    failing: bool = False

    @property
    def socket_name(self) -> str:
        return f"{self.name}.sock"


class HostServices:
    """The host services of one mounted share. Its methods are for the server's other threads."""

    def __init__(self, services: tuple[tuple[str, str], ...], mountpoint: str, device: str) -> None:
        """*device* is the share's, as in its MountEntry."""
        self._services = [_Service(name, path) for name, path in services]
        self._mountpoint = mountpoint
        self._device = device
        self._binder: subprocess.Popen[bytes] | None = None
        self._to_binder: socket.socket | None = None
        self._sockets: list[socket.socket] = []
        self._thread: threading.Thread | None = None
        self._started = threading.Event()
        self._token: trio.lowlevel.TrioToken | None = None
        self._everything = trio.CancelScope()
        self._connection_slots = trio.Semaphore(_CONNECTIONS_AT_ONCE)
        self.hold_the_mount = False
        """Whether umount(8) finds the share busy as long as they are open."""

    @property
    def directory(self) -> str:
        """The path of the directory host-services in the share, as the guest sees it."""
        return os.path.join(self._mountpoint, DIRECTORY)

    def prepare(self, user: ServerUser) -> None:
        """Start the process that will bind the sockets as *user*; it waits. Raises OSError."""
        self._to_binder, binders = socket.socketpair()
        names = [service.socket_name for service in self._services]
        with binders:
            self._binder = subprocess.Popen(
                [
                    *(sys.executable, "-I", "-S", str(Path(binder.__file__))),
                    *(user.as_argument, str(binders.fileno()), self.directory, *names),
                ],
                pass_fds=(binders.fileno(),),
                stdin=subprocess.DEVNULL,
                start_new_session=True,  # Ctrl-C is for the server, which ends it
            )

    def start(self, allow: Callable[[int], None]) -> None:
        """Bind the sockets in the share and listen; blocks. Raises MountError.

        It makes requests of the share. *allow* is called with the process that may make sockets
        there; with -1 when done. After prepare().
        """
        ours, process = self._to_binder, self._binder
        assert ours is not None
        assert process is not None
        names = [service.socket_name for service in self._services]
        with ours:
            try:
                ours.settimeout(_BINDING_WITHIN_S)
                allow(process.pid)
                ours.sendall(b"\n")
                said, fds, _, _ = socket.recv_fds(ours, 4096, len(names), socket.MSG_CMSG_CLOEXEC)
            except OSError as error:
                process.kill()
                raise MountError(f"the host services cannot be offered: {error}") from error
            finally:
                # Its namespace must be gone before anybody unmounts.
                process.wait()
                allow(-1)
        self._sockets = [socket.socket(fileno=fd) for fd in fds]
        if len(fds) != len(names):
            why = os.fsdecode(said) or f"the binding process ended with {process.returncode}"
            raise MountError(f"the host services cannot be offered: {why}")
        self.hold_the_mount = said == b"here"
        self._thread = threading.Thread(
            target=self._run, name="osxfs-sim host services", daemon=True
        )
        self._thread.start()
        self._started.wait()

    def begin_to_stop(self) -> None:
        """Have all sockets and connections closed soon; does not wait, never fails."""
        if self._token is not None:
            with contextlib.suppress(trio.RunFinishedError):
                self._token.run_sync_soon(self._everything.cancel)

    def stop(self) -> None:
        """Close all sockets and connections, and wait until they are; never fails.

        The reactor must go on meanwhile, or the share be gone altogether.
        """
        self.begin_to_stop()
        if self._to_binder is not None and self._binder is not None:
            self._to_binder.close()  # if it was never told to bind, it ends by this
            self._binder.wait()
        if self._thread is not None:
            self._thread.join()
        self._close_sockets()

    def status(self) -> list[HostServiceStatus]:
        """A status for each host service: its connections so far and now."""
        return [
            HostServiceStatus(
                name=service.name,
                path=service.path,
                connections=service.connections,
                open=service.open,
            )
            for service in self._services
        ]

    def warnings(self) -> list[str]:
        """The warnings for the share's user about its host services, a line each."""
        warnings = [
            f"{path} is longer than the path of a socket may be "
            f"({LONGEST_SOCKET_PATH_BYTES} bytes): connect to it from within its directory"
            for path in (
                os.path.join(self.directory, service.socket_name) for service in self._services
            )
            if len(os.fsencode(path)) > LONGEST_SOCKET_PATH_BYTES
        ]
        warnings += [
            f"the server may not connect to {service.path}: whoever uses the service "
            f"{service.name} is turned away"
            for service in self._services
            if not os.access(service.path, os.W_OK, effective_ids=True)
        ]
        if self.hold_the_mount:
            warnings.append(
                "namespaces are forbidden here, so the host services keep the share busy for "
                f"umount and fusermount3: use osxfs-sim umount {quoted(self._mountpoint)}"
            )
        return warnings

    # The thread

    def _run(self) -> None:
        try:
            trio.run(self._serve)
        except BaseException:
            log.exception("bug: the host services ended")
        finally:
            self._close_sockets()
            self._started.set()

    def _close_sockets(self) -> None:
        while self._sockets:
            self._sockets.pop().close()

    async def _serve(self) -> None:
        with self._everything:
            async with trio.open_nursery() as nursery:
                for service, stdlib_socket in zip(self._services, self._sockets, strict=True):
                    listener = _Listener(
                        trio.SocketListener(trio.socket.from_stdlib_socket(stdlib_socket)),
                        self._connection_slots,
                    )
                    handler = functools.partial(self._carry, service)
                    nursery.start_soon(
                        functools.partial(
                            trio.serve_listeners, handler, [listener], handler_nursery=nursery
                        )
                    )
                self._token = trio.lowlevel.current_trio_token()
                self._started.set()
                await self._until_unmounted()
                self._everything.cancel()

    async def _until_unmounted(self) -> None:
        """Wait until the share is in nobody's sight, bind mounts of it included.

        The table of mounts is always readable, and tells a change by POLLPRI
        only once, to whoever asks first; behind an epoll of its own, changes
        that come as edges stay until they are taken.
        """
        with (
            open("/proc/self/mountinfo", "rb", buffering=0) as table,
            select.epoll() as changes,
        ):
            changes.register(table, select.EPOLLIN | select.EPOLLET)
            while True:
                changes.poll(0)
                if all(entry.device != self._device for entry in mounts()):
                    return
                await trio.lowlevel.wait_readable(changes.fileno())

    async def _carry(self, service: _Service, guest: trio.SocketStream) -> None:
        """Lead one connection of the guest to the host, until both sides have ended."""
        service.connections += 1
        service.open += 1
        try:
            async with guest:
                host = await self._connect(service)
                if host is not None:
                    async with host, trio.open_nursery() as nursery:
                        either = nursery.cancel_scope
                        nursery.start_soon(_pump, guest, host, either)
                        nursery.start_soon(_pump, host, guest, either)
        finally:
            service.open -= 1
            self._connection_slots.release()

    async def _connect(self, service: _Service) -> trio.SocketStream | None:
        """A connection to the host's socket as it is now; None, and a warning, if there is none."""
        try:
            host = await _connected(service.path)
        except OSError as error:
            # Once, and not for each attempt: a guest could fill the log.
            if not service.failing:
                log.warning(
                    "host service %s: %s cannot be reached: %s", service.name, service.path, error
                )
            service.failing = True
            return None
        service.failing = False
        return host


async def _connected(path: str) -> trio.SocketStream:
    """A connection to the socket at *path*. Raises OSError.

    As trio.open_unix_socket, but waits while too many others wait to be accepted
    there: for a socket that does not block the kernel then says EAGAIN, which
    trio takes for a connection in progress.
    """
    host = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        host.setblocking(False)
        for _ in range(_CONNECTING_ATTEMPTS):
            with contextlib.suppress(BlockingIOError):
                host.connect(path)
                return trio.SocketStream(trio.socket.from_stdlib_socket(host))
            await trio.sleep(_CONNECTING_PAUSE_S)
        raise TimeoutError(errno.ETIMEDOUT, "it accepts nobody")
    except BaseException:
        host.close()
        raise


class _Listener(trio.abc.Listener[trio.SocketStream]):
    """Accepts while there are slots for connections; others wait in the kernel's queue."""

    def __init__(self, inner: trio.SocketListener, slots: trio.Semaphore) -> None:
        self._inner = inner
        self._slots = slots

    async def accept(self) -> trio.SocketStream:
        await self._slots.acquire()
        try:
            return await self._inner.accept()
        except BaseException:
            self._slots.release()
            raise

    async def aclose(self) -> None:
        await self._inner.aclose()


async def _pump(
    source: trio.SocketStream, sink: trio.SocketStream, either: trio.CancelScope
) -> None:
    """Carry what comes from *source* to *sink*, and its end; *either* spans both directions.

    Holds no more than one chunk: a reader that is slow slows the writer.
    """
    while True:
        try:
            chunk = await source.receive_some()
        except trio.BrokenResourceError:
            either.cancel()  # reset: nothing is left to say in either direction
            return
        try:
            if chunk:
                await sink.send_all(chunk)
                continue
            await sink.send_eof()
        except trio.BrokenResourceError:
            # Nobody reads there; the other direction may go on. The writer is told.
            with contextlib.suppress(OSError):
                source.socket.shutdown(socket.SHUT_RD)
        return
