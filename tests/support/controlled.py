"""A share's requests without a kernel, threads or a clock: the test says what goes on next.

What a thread would do is done when the test has it finish, whole; an answer that waits to be
due, when the test sends it. So every interleaving of slow and fast requests can be made, and is
the same each time.
"""

import contextlib
import heapq
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pyfuse3 import EntryAttributes, FUSEError

from osxfs_sim.mount.events.injected_requests import InjectedRequests
from osxfs_sim.mount.events.suppressed_answers import SuppressedAnswers
from osxfs_sim.mount.loop.reactor import Job, Reactor, Worker
from osxfs_sim.mount.mounts.identity import server_user
from osxfs_sim.mount.requests import handlers
from osxfs_sim.mount.requests.dispatch import Dispatcher
from osxfs_sim.mount.requests.layer import Layer
from osxfs_sim.mount.server import assembly
from osxfs_sim.mount.server.assembly import Components
from osxfs_sim.mount.writeback import files as pending_files
from osxfs_sim.mount.writeback import writeback
from osxfs_sim.mount.writeback.handlers import WriteBackHandlers
from osxfs_sim.settings import ShareSettings

_FAR_OFF_NS = 600_000_000_000
SLOW_FROM_BYTES = 8
"""Writes of so many bytes are made in a thread, in place of 256 KiB."""


class ControlledReactor(Reactor):
    """Does nothing by itself. *jobs* are the calls in threads that have not ended."""

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self.jobs: list[tuple[Worker, Job]] = []

    def _start_job(self, worker: Worker, job: Job) -> None:
        self._jobs += 1
        self.jobs.append((worker, job))

    def finish_job(self, number: int) -> None:
        """Make the call of a thread, all of it, and let who waits for it go on."""
        worker, job = self.jobs.pop(number)
        result = failure = None
        try:
            result = job.call()
        except Exception as error:
            failure = error
        self._jobs -= 1
        self._resume(worker, result, failure)

    @property
    def waiting(self) -> bool:
        """Whether anybody waits for a moment that is not far off, or was told to go on."""
        soon_ns = time.monotonic_ns() + _FAR_OFF_NS
        return bool(self._calls) or any(due_ns < soon_ns for due_ns, _, _ in self._delayed)

    def resume_next(self) -> None:
        """Let the first of them go on, as if its moment had come."""
        if self._calls:
            self._call(self._calls.popleft())
        else:
            _, _, worker = heapq.heappop(self._delayed)
            self._resume(worker, 0)

    def resume_told(self) -> None:
        """Let those go on that only wait for the loop to come round."""
        while self._calls or (self._delayed and self._delayed[0][0] == 0):
            self.resume_next()


@dataclass
class Requests:
    """The requests of a share that nobody has mounted; *answers* by the order they came in."""

    components: Components
    reactor: ControlledReactor
    answers: dict[int, Any] = field(default_factory=dict)
    asked: int = 0

    @property
    def dispatcher(self) -> Dispatcher:
        return self.components.dispatcher

    def ask(self, name: str, *arguments: Any) -> int:
        """A request comes. Its answer will be in *answers*: what it is, or the errno."""
        number = self.asked
        self.asked += 1

        async def request() -> None:
            try:
                answer = await getattr(self.dispatcher, name)(*arguments)
                self.answers[number] = bytes(answer) if name == "read" else answer
            except FUSEError as error:
                self.answers[number] = error.errno

        self.reactor.arrival_ns = 1  # long ago: no answer has to wait to be due
        self.reactor.spawn(request())
        return number

    def answer(self, name: str, *arguments: Any) -> Any:
        """The answer to a request that nothing comes in between of."""
        number = self.ask(name, *arguments)
        self.settle(lambda: number in self.answers)
        return self.answers[number]

    def settle(self, is_done: Callable[[], bool] = lambda: False) -> None:
        """Let everything go on until that is so, or nothing is left to do."""
        held = self.components.write_back
        for _ in range(10_000):
            if is_done():
                return
            if self.reactor.jobs:
                self.reactor.finish_job(0)
            elif self.reactor.waiting:
                self.reactor.resume_next()
            elif held is not None and len(held.changes):
                held.flush_up_to(held.changes.last_sequence)
            else:
                return
        raise AssertionError("it goes on for ever")


def injected_layer(components: Components, injector: Any) -> InjectedRequests:
    """What answers the requests of *injector*, over the handlers of a share that has none."""
    written_through = components.handlers
    operations = None
    while isinstance(written_through, Layer):
        if isinstance(written_through, WriteBackHandlers):
            operations = written_through._files._operations
        written_through = written_through.next
    answers = SuppressedAnswers(
        *(injector, components.inodes, components.backing, components.spellings),
        *(written_through._entries, operations or written_through._operations),
    )
    return InjectedRequests(components.handlers, injector, written_through._calls, answers)


CALLER: Any = SimpleNamespace(uid=0, gid=0, pid=1, umask=0)


def fields(**wanted: bool) -> Any:
    """Which attributes a SETATTR is about."""
    names = ("atime", "mtime", "ctime", "mode", "uid", "gid", "size")
    return SimpleNamespace(**{f"update_{name}": wanted.get(name, False) for name in names})


def attributes(**wanted: int) -> EntryAttributes:
    entry = EntryAttributes()
    for name, value in wanted.items():
        setattr(entry, f"st_{name}", value)
    return entry


async def _no_kernel(*_: object) -> None:
    raise AssertionError("there is no kernel")


@contextlib.contextmanager
def requests(base: Path, **settings: Any) -> Iterator[Requests]:
    """A share of ``base/source``, of profile none unless *settings* say otherwise."""
    for name in ("source", "guest", "state"):
        (base / name).mkdir()
    wanted = ShareSettings(
        str(base / "source"),
        str(base / "guest"),
        **({"profile": "none", "state_directory": str(base / "state")} | settings),
    )
    user = server_user(None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(assembly, "Reactor", ControlledReactor)
        for module in (handlers, pending_files, writeback):
            patch.setattr(module, "WRITE_IN_THREAD_BYTES", SLOW_FROM_BYTES)
        source = str(base / "source")
        components = assembly.build(wanted, wanted.system(), user, source, wanted.mountpoint, None)
        reactor = components.reactor
        assert isinstance(reactor, ControlledReactor)
        reactor._session_loop = _no_kernel
        try:
            yield Requests(components, reactor)
        finally:
            if components.write_back is not None:
                components.write_back.close(keep=False)
            components.close()
