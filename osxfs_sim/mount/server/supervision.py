"""The server's side of its supervisor: the process that takes the mount away without it.

Whoever holds /dev/fuse must never wait in its own mount in a way that only it can end. The
server's threads do wait there, so somebody else ends the connection when the server is gone:
supervisor.py, which is started before the first of them, and anew should it end.
"""

import contextlib
import logging
import os
import socket
import subprocess
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import trio

from osxfs_sim.mount.mounts.connections import open_abort
from osxfs_sim.mount.mounts.mountpoints import MountEntry
from osxfs_sim.mount.server import supervisor
from osxfs_sim.mount.writeback.machine_sync import sync_barrier

log = logging.getLogger(__name__)

_ENDING_WITHIN_S = 10.0
_AGAIN_AFTER_S = 0.1
_MESSAGE_BYTES = 4096


class Supervision:
    """The supervisor of one share, as its server deals with it. The first thread only."""

    def __init__(self, mountpoint: str, user_id: int) -> None:
        """Start it, before the share is mounted."""
        self._mountpoint = mountpoint
        self._user_id = user_id
        self._entry: MountEntry | None = None
        self._abort_fd = -1
        self._has_barrier = False
        self.has_cut = False
        """Whether it had to end the connection, because the share's loop waited for the share."""
        self._link, self._process = self._start()

    def _start(self) -> "tuple[socket.socket, subprocess.Popen[bytes]]":
        ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        entry = self._entry
        # One that follows another knows it from its start: we may be killed before we say it.
        mounted = () if entry is None else (str(entry.mount_id), entry.device)
        with its:
            process = subprocess.Popen(
                [
                    *(sys.executable, "-I", "-S", str(Path(supervisor.__file__))),
                    *(self._mountpoint, str(os.getpid()), str(self._user_id), str(its.fileno())),
                    *mounted,
                ],
                pass_fds=(its.fileno(),),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                start_new_session=True,
            )
        ours.setblocking(False)
        return ours, process

    @property
    def pid(self) -> int:
        """The process id of the supervisor."""
        return self._process.pid

    @property
    def sync_waits(self) -> bool:
        """Whether sync(2) waits until the host has what is pending."""
        return self._has_barrier

    def mounted(self, entry: MountEntry, *, wants_barrier: bool) -> None:
        """Have the supervisor take the mount *entry* away when the server ends.

        With *wants_barrier* sync(2) is waited for, where that can be had.
        """
        self._entry = entry
        self._abort_fd = open_abort(entry.device)
        self._has_barrier = wants_barrier
        self._introduce()

    def _introduce(self) -> None:
        """Say to a new supervisor what it takes away, and give it what it needs for that."""
        assert self._entry is not None
        with contextlib.ExitStack() as closing:
            fds: dict[str, int] = {}
            if self._abort_fd >= 0:
                fds["abort"] = self._abort_fd
            elif os.geteuid():
                # It must do with what an ordinary user has.
                fds["fuse"] = _fuse_descriptor()
            if self._has_barrier:
                try:
                    fds["barrier"], fds["mount"] = sync_barrier()
                except OSError as error:
                    self._has_barrier = False
                    log.info("sync(2) does not wait for the host: %s", error)
                else:
                    closing.callback(os.close, fds["mount"])
                    closing.callback(os.close, fds["barrier"])
            words = ["share", str(self._entry.mount_id), self._entry.device, *fds]
            with contextlib.suppress(OSError):  # it has ended: serve() sees to that
                socket.send_fds(self._link, [" ".join(words).encode()], list(fds.values()))

    async def serve(
        self, have_all_written: Callable[[], Awaitable[None]], unmounted: Callable[[], None]
    ) -> None:
        """Await *have_all_written* for each sync(2); restart a supervisor that ends.

        *unmounted* is called when the share is not mounted here any more, once or more often.
        """
        async with trio.open_nursery() as nursery:
            while True:
                await trio.lowlevel.wait_readable(self._link)
                try:
                    said = self._link.recv(_MESSAGE_BYTES)
                except BlockingIOError:
                    continue
                except OSError:
                    said = b""
                if not said:
                    await self._restart()
                    continue
                word, unique = said.split(b" ")
                if word == b"sync":
                    self._send(b"heard " + unique)
                    nursery.start_soon(self._sync, unique, have_all_written)
                elif word == b"unmounted":
                    unmounted()
                elif word == b"cut":
                    self.has_cut = True

    async def _sync(self, unique: bytes, have_all_written: Callable[[], Awaitable[None]]) -> None:
        await have_all_written()
        self._send(b"done " + unique)

    def _send(self, words: bytes) -> None:
        with contextlib.suppress(OSError):
            self._link.send(words)

    async def _restart(self) -> None:
        self._link.close()
        await trio.to_thread.run_sync(self._process.wait)
        log.warning(
            "the supervisor (process %d) has ended with %d: another is started",
            self._process.pid,
            self._process.returncode,
        )
        while True:
            try:
                self._link, self._process = self._start()
            except OSError as error:
                log.warning("no supervisor can be started: %s", error)
                await trio.sleep(_AGAIN_AFTER_S)
            else:
                break
        self._introduce()
        await trio.sleep(_AGAIN_AFTER_S)

    def at_work(self) -> None:
        """Tell the supervisor that the loop is at work, and may wait for its own share."""
        self._send(b"work")

    def ending(self) -> None:
        """Tell the supervisor that nobody here does anything for sync(2) any more."""
        self._send(b"ending")
        with contextlib.suppress(OSError):
            while said := self._link.recv(_MESSAGE_BYTES):
                self.has_cut = self.has_cut or said.startswith(b"cut ")

    def end(self, *, mounted: bool = False) -> None:
        """End the supervisor, which first takes a share that is *mounted* away; never fails."""
        self._send(b"left" if mounted else b"end")
        self._link.close()
        try:
            self._process.wait(_ENDING_WITHIN_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._abort_fd >= 0:
            os.close(self._abort_fd)
            self._abort_fd = -1


def _fuse_descriptor() -> int:
    """The descriptor by which the kernel asks us."""
    for name in os.listdir("/proc/self/fd"):
        with contextlib.suppress(OSError):
            if os.readlink(f"/proc/self/fd/{name}") == "/dev/fuse":
                return int(name)
    raise OSError("the share has no descriptor")
