"""What goes wrong in a worker, an idle task or a call costs what it was about, not the loop."""

import errno
import os
from collections.abc import Callable
from typing import Any

import pytest
import trio
from test_reactor import Behaviour, Busy, HeldUntil, Kernel, at_once

from osxfs_sim.mount.loop.reactor import Patience, in_thread

pytestmark = pytest.mark.starts_processes


def _until_answered(kernel: Kernel, name: str, times: int = 1) -> Callable[[], bool]:
    return lambda: kernel.events.count(f"{name} is answered") >= times


async def _wait_until(is_so: Callable[[], bool]) -> None:
    while not is_so():
        await trio.sleep(0.001)


async def fails(_: Kernel) -> None:
    raise KeyError(7)


async def fails_later(_: Kernel) -> None:
    await HeldUntil(0)
    raise KeyError(7)


@pytest.mark.parametrize("wrong", [fails, fails_later])
def test_a_worker_that_ends_by_an_exception_takes_no_other_along(wrong: Behaviour) -> None:
    kernel = Kernel(wrong=wrong, now=at_once)

    async def drive() -> None:
        for number in range(5):
            kernel.request("wrong", "now")
            await _wait_until(_until_answered(kernel, "now", number + 1))
        kernel.end()

    events = kernel.run(drive)
    assert events.count("now is answered") == 5
    assert kernel.reactor.internal_errors.count == 5


def test_a_kernel_that_cannot_be_talked_to_at_all_is_the_end() -> None:
    kernel = Kernel(now=at_once)

    async def broken(*_: Any) -> None:
        await kernel._trio.lowlevel.wait_readable(kernel.read_fd)
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))

    kernel.reactor._session_loop = broken
    kernel.request("now")
    with pytest.RaisesGroup(OSError):
        kernel.run()
    kernel.end()


def test_work_of_its_own_that_fails_ends_alone() -> None:
    kernel = Kernel(now=at_once)

    async def drive() -> None:
        await _wait_until(lambda: kernel.reactor.serves)
        kernel.reactor.spawn(fails(kernel))
        kernel.reactor.spawn(fails_later(kernel))
        kernel.reactor.call_soon(lambda: [][1])
        done: list[bool] = []
        kernel.reactor.call_soon(lambda: done.append(True))
        await _wait_until(lambda: bool(done))
        kernel.request("now")
        await _wait_until(_until_answered(kernel, "now"))
        assert kernel.reactor.in_flight == 0
        kernel.end()

    kernel.run(drive)
    assert kernel.reactor.internal_errors.count == 3


def test_what_is_done_when_idle_may_fail() -> None:
    kernel = Kernel(now=at_once)
    kernel.reactor.patience = Patience(spin_ns=0, block_ns=0, awake_ns=0)
    kernel.reactor.idle_callback = lambda: [][1]

    async def drive() -> None:
        await _wait_until(lambda: kernel.reactor.internal_errors.count > 0)
        kernel.request("now")
        await _wait_until(_until_answered(kernel, "now"))
        kernel.end()

    kernel.run(drive)


class Failing(Busy):
    """An idle task that fails so many times first, and then does what there is to do."""

    has_threads_at_work = False

    def __init__(self, failures: int) -> None:
        super().__init__()
        self.failures = failures
        self.done = 0

    def work(self, until_ns: int) -> None:
        self.turns += 1
        if self.turns <= self.failures:
            raise KeyError(7)
        super().work(until_ns)
        self.done += 1


def test_an_idle_task_that_fails_rests_and_is_tried_again() -> None:
    kernel = Kernel(now=at_once)
    idle_task = Failing(4)

    async def drive() -> None:
        kernel.reactor.set_idle_task(idle_task)
        idle_task.more()
        await _wait_until(lambda: kernel.reactor.internal_errors.count > 0)
        for number in range(50):
            kernel.reactor.wake_idle_task()  # which is no reason not to rest
            kernel.request("now")
            await _wait_until(_until_answered(kernel, "now", number + 1))
        await _wait_until(lambda: idle_task.done > 0)
        done = idle_task.done
        idle_task.more()
        await _wait_until(lambda: idle_task.done > done)
        kernel.reactor.clear_idle_task()
        kernel.end()

    kernel.run(drive)
    idle_task.close()
    assert kernel.reactor.internal_errors.count == 4


def test_an_idle_task_that_always_fails_can_be_cleared_while_it_rests() -> None:
    kernel = Kernel(now=at_once)
    idle_task = Failing(1_000_000)

    async def drive() -> None:
        kernel.reactor.set_idle_task(idle_task)
        idle_task.more()
        await _wait_until(lambda: kernel.reactor.internal_errors.count > 1)
        kernel.reactor.clear_idle_task()
        turns = idle_task.turns
        idle_task.more()
        kernel.request("now")
        await _wait_until(_until_answered(kernel, "now"))
        assert idle_task.turns == turns
        kernel.end()

    kernel.run(drive)
    idle_task.close()


def test_where_the_machine_has_no_thread_left_a_call_is_made_all_the_same() -> None:
    """Once: the thread that comes to it later finds it made."""
    made: list[str] = []

    async def slow(kernel: Kernel) -> None:
        kernel.events.append(await in_thread(lambda: made.append("made") or "result"))

    kernel = Kernel(slow=slow)
    own = kernel.reactor._threads.submit

    def submit(call: Callable[[], None]) -> Any:
        own(call)
        raise RuntimeError("can't start new thread")

    kernel.reactor._threads.submit = submit  # type: ignore[assignment, method-assign]

    async def drive() -> None:
        kernel.request("slow")
        await _wait_until(_until_answered(kernel, "slow"))
        kernel.end()

    assert kernel.run(drive) == ["slow arrives", "result", "slow is answered"]
    assert made == ["made"]
    assert kernel.reactor.in_flight == 0
