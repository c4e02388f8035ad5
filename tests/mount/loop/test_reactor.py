"""The loop that resumes replies when they are due, driven by workers of our own.

The "kernel" is a pipe of one-byte requests; a worker reads one, does what the
byte says, and waits for the next. Nothing here looks at how long it took: only
at what came before what.
"""

import errno
import os
import select
import threading
import time
from collections.abc import Callable, Coroutine, Generator
from typing import Any

import pytest
import trio

from osxfs_sim.mount.loop import reactor as reactor_module
from osxfs_sim.mount.loop.reactor import Patience, Reactor, in_thread, yield_

pytestmark = pytest.mark.starts_processes

MS = 1_000_000
HOUR_NS = 3_600_000 * MS
Behaviour = Callable[["Kernel"], Coroutine[Any, Any, None]]


class HeldUntil:
    """Awaited, it hands the loop a moment of the monotonic clock."""

    def __init__(self, due_ns: int) -> None:
        self.due_ns = due_ns

    def __await__(self) -> Generator[int, int, int]:
        return (yield self.due_ns)


class Kernel:
    """Requests by name, served by *behaviours*; what happened is in *events*."""

    def __init__(self, **behaviours: Behaviour) -> None:
        self.behaviours = behaviours
        self.events: list[str] = []
        self.read_fd, self.write_fd = os.pipe()
        self.reactor = Reactor(self._session_loop)
        self._trio = self.reactor.as_trio()
        self._idle_readers = 0
        self.withdraw_next = False

    def request(self, *names: str) -> None:
        for name in names:
            os.write(self.write_fd, name[:1].encode())

    async def _session_loop(self, nursery: Any, *_: int) -> None:
        # Shaped as pyfuse3's: wait, read, start another worker, serve, again.
        while True:
            self._idle_readers += 1
            async with self._trio.Lock():
                await self._trio.lowlevel.wait_readable(self.read_fd)
            self._idle_readers -= 1
            if not self._idle_readers:
                nursery.start_soon(self._session_loop, nursery, 1, 99, name="another")
            if self.withdraw_next:
                self.withdraw_next = False
                raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN))
            letter = os.read(self.read_fd, 1).decode()
            if not letter:
                return  # the kernel has ended the session
            name = next(name for name in self.behaviours if name[:1] == letter)
            self.events.append(f"{name} arrives")
            await self.behaviours[name](self)
            self.events.append(f"{name} is answered")

    def run(self, drive: Callable[[], Coroutine[Any, Any, None]] | None = None) -> list[str]:
        """Serve until the pipe is closed; *drive* runs beside the loop as a trio task."""

        async def main() -> None:
            with trio.fail_after(180):
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self.reactor.run)
                    if drive is not None:
                        nursery.start_soon(drive)

        try:
            trio.run(main)
        finally:
            self.reactor.close()
            os.close(self.read_fd)
        return self.events

    def end(self) -> None:
        os.close(self.write_fd)


class ClockOfLooks:
    """Each look at it takes a millisecond, and nothing else does: load makes nothing late."""

    def __init__(self) -> None:
        self._now_ns = HOUR_NS

    def monotonic_ns(self) -> int:
        self._now_ns += MS
        return self._now_ns


@pytest.fixture
def clock_of_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reactor_module, "time", ClockOfLooks())


def held(*, ms: int) -> Behaviour:
    async def behaviour(kernel: Kernel) -> None:
        await HeldUntil(kernel.reactor.arrival_ns + ms * MS)

    return behaviour


async def at_once(kernel: Kernel) -> None:
    pass


@pytest.mark.usefixtures("clock_of_looks")
def test_replies_leave_in_the_order_they_are_due_and_not_in_which_they_came() -> None:
    kernel = Kernel(late=held(ms=200), early=held(ms=100), now=at_once)
    kernel.request("late", "early", "now")

    async def drive() -> None:
        while len(kernel.events) < 6:
            await trio.sleep(0.001)
        kernel.end()

    came = ["late arrives", "early arrives", "now arrives"]
    left = ["now is answered", "early is answered", "late is answered"]
    assert kernel.run(drive) == came + left


def test_a_session_that_ends_drops_what_is_delayed() -> None:
    kernel = Kernel(held=held(ms=3_600_000), now=at_once)
    kernel.request("held", "now")
    kernel.end()
    assert kernel.run() == ["held arrives", "now arrives", "now is answered"]


@pytest.mark.usefixtures("clock_of_looks")
def test_a_delayed_reply_blocks_nobody() -> None:
    kernel = Kernel(held=held(ms=100), now=at_once)

    async def drive() -> None:
        kernel.request("held", "now", "now")
        while "held is answered" not in kernel.events:
            await trio.sleep(0.001)
        kernel.end()

    events = kernel.run(drive)
    before = events[: events.index("held is answered")]
    assert before.count("now is answered") == 2


def test_what_is_due_at_once_leaves_in_the_order_it_came() -> None:
    async def due_already(_: Kernel) -> None:
        await HeldUntil(0)

    kernel = Kernel(a=due_already, b=due_already, c=due_already)
    kernel.request("a", "b", "c")

    async def drive() -> None:
        while len(kernel.events) < 6:
            await trio.sleep(0.001)
        kernel.end()

    answers = [event for event in kernel.run(drive) if event.endswith("answered")]
    assert answers == ["a is answered", "b is answered", "c is answered"]


def test_a_call_in_a_thread_lets_others_pass_and_gives_its_result() -> None:
    may_end = threading.Event()

    async def slow(kernel: Kernel) -> None:
        kernel.events.append(await in_thread(lambda: may_end.wait(180) and "result"))

    kernel = Kernel(slow=slow, now=at_once)

    async def drive() -> None:
        kernel.request("slow", "now")
        while "now is answered" not in kernel.events:
            await trio.sleep(0.001)
        assert kernel.reactor.in_flight == 1
        may_end.set()
        while "slow is answered" not in kernel.events:
            await trio.sleep(0.001)
        kernel.end()

    assert kernel.run(drive)[-2:] == ["result", "slow is answered"]


def test_what_a_call_in_a_thread_raises_is_raised_where_it_was_awaited() -> None:
    def fail() -> None:
        raise OSError(errno.ENOSPC, "full")

    async def slow(_: Kernel) -> None:
        with pytest.raises(OSError, match="full"):
            await in_thread(fail)

    kernel = Kernel(slow=slow)

    async def drive() -> None:
        kernel.request("slow")
        while "slow is answered" not in kernel.events:
            await trio.sleep(0.001)
        kernel.end()

    assert kernel.run(drive) == ["slow arrives", "slow is answered"]


def test_long_work_that_breathes_lets_a_new_request_pass() -> None:
    async def long(kernel: Kernel) -> None:
        kernel.request("now")
        for _ in range(50):
            await yield_()

    kernel = Kernel(long=long, now=at_once)

    async def drive() -> None:
        kernel.request("long")
        while "long is answered" not in kernel.events:
            await trio.sleep(0.001)
        kernel.end()

    events = kernel.run(drive)
    assert events == ["long arrives", "now arrives", "now is answered", "long is answered"]


def test_long_work_that_does_not_breathe_makes_others_wait() -> None:
    """The counterpart: so that the test above can fail."""

    async def long(kernel: Kernel) -> None:
        kernel.request("now")

    kernel = Kernel(long=long, now=at_once)

    async def drive() -> None:
        kernel.request("long")
        while len(kernel.events) < 4:
            await trio.sleep(0.001)
        kernel.end()

    assert kernel.run(drive)[:2] == ["long arrives", "long is answered"]


def test_a_request_that_was_withdrawn_before_it_was_read_stops_nothing() -> None:
    kernel = Kernel(now=at_once)
    kernel.withdraw_next = True

    async def drive() -> None:
        kernel.request("now")
        while "now is answered" not in kernel.events:
            await trio.sleep(0.001)
        kernel.end()

    assert kernel.run(drive) == ["now arrives", "now is answered"]


def test_a_share_that_fell_asleep_wakes_for_the_next_request() -> None:
    kernel = Kernel(now=at_once)
    idle = []
    kernel.reactor.patience = Patience(spin_ns=0, block_ns=0, awake_ns=0)
    kernel.reactor.idle_callback = lambda: idle.append(kernel.reactor.awake.held)

    async def drive() -> None:
        while not idle:
            await trio.sleep(0.001)
        kernel.request("now")
        while "now is answered" not in kernel.events:
            await trio.sleep(0.001)
        kernel.end()

    kernel.run(drive)
    # Tidying up is for when PM QoS was let go.
    assert idle[0] is False
    assert kernel.reactor.wakes[-1] >= 1


class Busy:
    """An idle task that has something new to do again and again: the host is busy."""

    def __init__(self) -> None:
        self.turns = 0
        self._fd, self._write_fd = os.pipe()

    def more(self) -> None:
        os.write(self._write_fd, b"m")

    def fileno(self) -> int:
        return self._fd

    def work(self, until_ns: int) -> None:
        if select.select((self._fd,), (), (), 0)[0]:
            os.read(self._fd, 100)
        self.turns += 1

    def close(self) -> None:
        os.close(self._fd)
        os.close(self._write_fd)


def test_an_idle_task_that_never_ends_does_not_keep_a_share_awake_that_nobody_uses() -> None:
    kernel = Kernel(now=at_once)
    idle_task = Busy()
    kernel.reactor.patience = Patience(spin_ns=0, block_ns=0, awake_ns=5 * MS)
    slept = []
    kernel.reactor.idle_callback = lambda: slept.append(idle_task.turns)

    async def drive() -> None:
        kernel.reactor.set_idle_task(idle_task)
        while not slept or idle_task.turns < slept[0] + 20:
            idle_task.more()
            kernel.reactor.call_soon(lambda: None)  # what its threads have to say
            await trio.sleep(0.001)
        assert not kernel.reactor.awake.held
        kernel.request("now")
        while "now is answered" not in kernel.events:
            await trio.sleep(0.001)
        kernel.reactor.clear_idle_task()
        kernel.end()

    kernel.run(drive)
    idle_task.close()
    assert slept[0] > 0, "it worked on beside"
    assert len(slept) <= 2, "it slept on while the idle task worked"


class ClockOfAnOldMachine:
    """Shows an hour more than the machine's own, which may have been booted just now."""

    @staticmethod
    def monotonic_ns() -> int:
        return time.monotonic_ns() + HOUR_NS


def test_an_arrival_is_dated_back_by_the_wake_up_it_waited_for(monkeypatch) -> None:
    monkeypatch.setattr(reactor_module, "time", ClockOfAnOldMachine)
    arrivals = []

    async def note(kernel: Kernel) -> None:
        arrivals.append(ClockOfAnOldMachine.monotonic_ns() - kernel.reactor.arrival_ns)

    kernel = Kernel(note=note)
    kernel.reactor.patience = Patience(spin_ns=0, block_ns=0, awake_ns=0)
    kernel.reactor.wake_ns = [0, 0, 0, HOUR_NS]
    asleep: list[bool] = []
    kernel.reactor.idle_callback = lambda: asleep.append(True)

    async def drive() -> None:
        while not asleep:
            await trio.sleep(0.001)
        kernel.request("note")
        while not arrivals:
            await trio.sleep(0.001)
        kernel.end()

    kernel.run(drive)
    assert arrivals[0] >= HOUR_NS
