"""Plays steps on a share: each by a process of the host or of the guest, one after the other.

A step names its actor and what that does. Beside the processes that perform operations there
are two actors of another sort: ``listener`` receives events in the guest, and ``share`` stands for
the process that mounted the share. Nothing here mounts anything: a share is handed in, and used
through its public interface.
"""

import contextlib
import errno
import fcntl
import os
import struct
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

from osxfs_sim.coherence.actors.operations import ActorOperation, OperationResult
from osxfs_sim.coherence.actors.processes import Actor, OperationInterval
from osxfs_sim.coherence.scorecard.listener_process import ListenerProcess

ScheduleStep = tuple[str, ActorOperation]
"""An actor, and what it does. ``host`` and ``guest`` are processes of the two sides; so is every
name that begins like that (``guest-2``). See LISTENER_ACTS and SHARE_ACTS for the others."""

LISTENER, SHARE = "listener", "share"

LISTENER_ACTS = ("watch", "hear")
"""``watch`` the directory *path* of the guest; ``hear`` the next event of the object at *path*, and
read its state: the value is that (signals.ObservedState) with the event's name, and no event for
*pause_ns* is the error SILENCE."""

SHARE_ACTS = ("settle", "flush", "unmount", "refuse", "accept")
"""``settle`` waits until the events of what the host did so far have been delivered; ``flush`` and
``unmount`` are the share's own. From ``refuse`` to ``accept`` the host lets no process make or
remove a name in its root. What the share says against it is the error, in its words."""

SILENCE = "SILENCE"


class SharedTree(Protocol):
    """What a stage needs of a share that was mounted: osxfs_sim.Share is one."""

    @property
    def exports(self) -> "Sequence[SharedTree]":
        """The shares below a share file's mount point, one per export; empty for a plain share."""

    def settle(self) -> object:
        """Wait until the events of all that the host has done have reached the guest."""

    def flush(self) -> object:
        """Write everything dirty in the guest back to the host, and wait; raises if it cannot."""

    def unmount(self) -> None:
        """Unmount the share; raises an error of its own where that would lose something."""


class Stage:
    """The actors of one share, started when they are first needed, for a ``with`` block.

    *host* and *guest* are the two sides. *refusals* are the exceptions by which *share* says no.
    """

    def __init__(
        self,
        host: Path,
        guest: Path,
        share: SharedTree,
        refusals: type[Exception] | tuple[type[Exception], ...],
    ) -> None:
        self._host, self._guest, self._share = host, guest, share
        self._refusals = refusals
        self._processes = contextlib.ExitStack()
        self._actors: dict[str, Actor] = {}
        self._listener: ListenerProcess | None = None
        self._received: list[tuple[str, dict[str, Any]]] = []
        self._refusing = contextlib.ExitStack()

    def __enter__(self) -> "Stage":
        return self

    def __exit__(self, *_: object) -> None:
        self._refusing.close()
        self._processes.close()

    def play(self, steps: Sequence[ScheduleStep]) -> list[OperationInterval]:
        """Have *steps* performed one by one; returns an interval for each. Raises UserError.

        What the share refuses is a step's error. Raises UserError where a process does not answer.
        """
        return [self._perform(actor, operation) for actor, operation in steps]

    def _perform(self, actor: str, operation: ActorOperation) -> OperationInterval:
        if actor not in (LISTENER, SHARE):
            return self._actor(actor).do(operation)
        call_ns = time.monotonic_ns()
        outcome = self._listener_act(operation) if actor == LISTENER else self._share_act(operation)
        return OperationInterval(actor, operation, call_ns, time.monotonic_ns(), outcome)

    def _actor(self, name: str) -> Actor:
        if name not in self._actors:
            assert name.startswith(("host", "guest")), name
            root = self._host if name.startswith("host") else self._guest
            self._actors[name] = self._processes.enter_context(Actor(name, root))
        return self._actors[name]

    def _listener_act(self, operation: ActorOperation) -> OperationResult:
        path = os.path.normpath(self._guest / operation.path)
        if self._listener is None:
            self._listener = self._processes.enter_context(ListenerProcess())
        if operation.act == "watch":
            self._listener.watch(path)
            return OperationResult()
        assert operation.act == "hear", operation
        deadline_ns = time.monotonic_ns() + operation.pause_ns
        while (left_ns := deadline_ns - time.monotonic_ns()) > 0:
            for position, (where, seen) in enumerate(self._received):
                if where == path:
                    del self._received[position]
                    return OperationResult(seen)
            self._received += [
                (report.path, {"event": str(report.event)} | asdict(report.observed))
                for report in self._listener.take(left_ns)
            ]
        return OperationResult(error=SILENCE)

    def _share_act(self, operation: ActorOperation) -> OperationResult:
        try:
            match operation.act:
                case "settle":
                    self._share.settle()
                case "flush":
                    for share in self._share.exports or (self._share,):
                        share.flush()
                case "unmount":
                    self._leave()
                    self._share.unmount()
                case "refuse":
                    self._refusing.enter_context(refusing(self._host))
                case "accept":
                    self._refusing.close()
                case _:
                    raise AssertionError(operation)
        except self._refusals as error:
            return OperationResult(error=str(error))
        except OSError as error:
            return OperationResult(error=errno.errorcode.get(error.errno or 0, str(error)))
        return OperationResult()

    def _leave(self) -> None:
        """End the processes, which may have files of the share open."""
        self._processes.close()
        self._actors.clear()
        self._listener = None


_GET_FLAGS, _SET_FLAGS = 0x80086601, 0x40086602  # FS_IOC_GETFLAGS, FS_IOC_SETFLAGS (64 bit)
_IMMUTABLE = 0x10  # FS_IMMUTABLE_FL


@contextlib.contextmanager
def refusing(directory: Path) -> Iterator[None]:
    """Let no process make or remove names in *directory* for a ``with`` block. Raises OSError.

    Mode bits bind all but root; what binds root is chattr(1)'s ``i``. Raises OSError where the
    file system has no such flag, or we have not the right to set it.
    """
    if os.geteuid():
        mode = directory.stat().st_mode
        directory.chmod(0o555)
        try:
            yield
        finally:
            directory.chmod(mode & 0o7777)
        return
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        (flags,) = struct.unpack("l", fcntl.ioctl(fd, _GET_FLAGS, struct.pack("l", 0)))
        fcntl.ioctl(fd, _SET_FLAGS, struct.pack("l", flags | _IMMUTABLE))
        try:
            yield
        finally:
            fcntl.ioctl(fd, _SET_FLAGS, struct.pack("l", flags & ~_IMMUTABLE))
    finally:
        os.close(fd)
