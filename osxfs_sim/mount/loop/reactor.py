"""Reads requests from the kernel, and resumes each when its reply is due.

pyfuse3 runs one worker coroutine per request in flight. The usual way makes
each a trio task: two to four passes of trio's scheduler per request, 80 to
200 us in all, and a timer that rounds up to a millisecond. Here the same
workers are driven by a small loop inside one trio task. A worker that awaits
hands the loop what it waits for:

    READABLE        the next request of the kernel
    an integer      a moment of the monotonic clock, in nanoseconds
    a Job           a call that may block, made in a thread
    a Signal        what another worker will notify of

pyfuse3 waits our way because it is given another object for its module
global ``trio``: the seam that pyfuse3.asyncio uses.

How eagerly the loop waits follows from what it waits for:

    polling     a reply is due within _SPIN_BEFORE_DUE_NS, or a request came
                or was answered within the last Patience.spin_ns
    blocking    in select(2), for up to one pass of trio: wakes in microseconds
                while PM QoS keeps the processors awake
    asleep      in trio, after Patience.block_ns without a request; PM QoS is
                released, and the next wake-up is cold, after Patience.awake_ns more

Where others want the processor (mount/loop/cpu_contention.py) it polls only just before a reply is
due: polling would take from the workload what it shall be measured with.

Work of the server's own (an IdleTask) is done in between, in slices that end before
the next reply is due, so that no request waits for it; but not so long that it
would starve.

A request that finds the loop not polling was in the kernel's queue for the
time the wake-up took. That time is calibrated per state, and the arrival is
dated back by it.

No exception ends the loop, wherever it comes from: it is recorded
(internal_errors.py), and costs what it was about. An idle task that fails rests, longer
each time, and is tried again. What ends a process, or closes a worker, is no
Exception, and passes.
"""

import collections
import concurrent.futures
import enum
import errno
import gc
import heapq
import itertools
import os
import select
import struct
import time
import types
from collections.abc import Callable, Coroutine, Generator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import trio

from osxfs_sim.mount.loop.cpu_contention import Contention
from osxfs_sim.mount.loop.fd_tables import Device
from osxfs_sim.mount.loop.internal_errors import InternalErrors
from osxfs_sim.mount.loop.pm_qos import PmQosRequest

_SPIN_BEFORE_DUE_NS = 60_000
# Where others want the processor: as long as a wake-up by the clock takes.
_SPIN_BEFORE_DUE_CONTENDED_NS = 20_000
# An idle task's slice: the longest, the shortest worth beginning, and what it gets all the
# same when requests have left it no time for _CHORE_STARVES_NS.
_LONGEST_SLICE_NS = 80_000
_SHORTEST_SLICE_NS = 60_000
_STEP_NS = 30_000  # an idle task returns up to a step later than it is to
_SLICE_OF_THE_STARVING_NS = 60_000
_IDLE_TASK_STARVES_NS = 2_000_000
# Other trio tasks (the control socket, signals) run at least this often under load.
_TRIO_PASS_NS = 10_000_000
# While the loop is at work, it says so this often.
_SAYS_SO_NS = 5_000_000_000
# select(2) itself, and the way back into Python.
_SHORTEST_BLOCK_NS = 20_000
_THREADS = 8
# An idle task that fails rests so long before it is tried again; twice as long each time.
_SHORTEST_REST_NS = 10_000_000
_LONGEST_REST_NS = 1_000_000_000
# Workers of pyfuse3's that end by an exception, with none that goes on between: then it is
# the kernel that cannot be talked to.
_MOST_LOST_IN_A_ROW = 100
# Net allocations after which garbage is collected although requests keep coming.
_GARBAGE_UNDER_LOAD = 200_000
# Workers never end for being too many: there are as many as requests were ever in flight.
_ALL_WORKERS = 1 << 30

# struct fuse_out_header: length, the notification's code, and 0 for "no reply".
_INCREMENT_EPOCH = struct.pack("=IiQ", 16, 8, 0)

READABLE = object()

Worker = Coroutine[Any, Any, None]


class Wake(enum.IntEnum):
    """What the loop was doing when a request came."""

    POLLING = 0
    BLOCKING = 1
    ASLEEP = 2
    COLD = 3


@dataclass(frozen=True, slots=True)
class Patience:
    """How long the loop stays in each state after a request or a reply, in nanoseconds."""

    spin_ns: int = 300_000
    """It polls so long."""
    block_ns: int = 100_000_000
    """Then it blocks in select(2) so long, and hands over to trio."""
    awake_ns: int = 1_000_000_000
    """Then it keeps the processors awake so long."""


class IdleTask(Protocol):
    """Work of the server's own, done in the reactor's thread in between the requests."""

    def fileno(self) -> int:
        """A file descriptor that is readable when the task has something to do."""

    @property
    def has_threads_at_work(self) -> bool:
        """Whether threads of the task's own want the interpreter just now."""

    def work(self, until_ns: int) -> int | None:
        """Work until *until_ns* (monotonic); when to be called next, None: when fileno() is ready.

        That may be now; None: when the descriptor is readable. An exception makes it rest, and be
        tried again.
        """


class Job:
    """A call to make in a thread; its worker resumes with the result or the exception."""

    __slots__ = ("call",)

    def __init__(self, call: Callable[[], Any]) -> None:
        self.call = call


class Signal:
    """What several coroutines wait for, like a condition variable; see Reactor.notify_all."""

    __slots__ = ("waiting",)

    def __init__(self) -> None:
        self.waiting: list[Worker] = []


@types.coroutine
def wait(signal: Signal) -> Generator[Signal, int, None]:
    """Suspend this coroutine until Reactor.notify_all() is called for *signal*."""
    yield signal


@types.coroutine
def until(moment_ns: int) -> Generator[int, int, None]:
    """Suspend this coroutine until *moment_ns* (monotonic); one pass where that has passed."""
    yield moment_ns


@types.coroutine
def in_thread(call: Callable[[], Any]) -> Generator[Job, Any, Any]:
    """Run *call* in a thread while requests go on; its result. Raises as *call*."""
    return (yield Job(call))


@types.coroutine
def yield_() -> Generator[int, int, None]:
    """Suspend this coroutine for due replies and new requests: for handlers that work for long."""
    yield time.monotonic_ns()


@types.coroutine
def pause(duration_ns: int) -> Generator[int, int, None]:
    """Suspend this coroutine for *duration_ns* nanoseconds, while requests go on."""
    yield time.monotonic_ns() + duration_ns


class _NoLock:
    """pyfuse3's workers take turns with a lock; here only one ever runs."""

    async def __aenter__(self) -> None: ...

    async def __aexit__(self, *exc_info: object) -> None: ...


class Reactor:
    """Drives pyfuse3's workers. One per mount; everything but jobs runs in trio's thread.

    *arrival_ns* is when the request that is being read reached the share, on the monotonic
    clock: it is of use to the dispatcher alone, which makes a value of it before anything
    waits (request.py). *wake_ns* holds the calibrated time of a wake-up per
    Wake state.
    """

    def __init__(
        self, session_loop: Callable[..., Worker], *, keeps_dentries: bool = False
    ) -> None:
        """*keeps_dentries*: never to be invalidated all at once, for what is mounted on them."""
        self.arrival_ns = 0
        self.wake_ns = [0] * len(Wake)
        self.wakes = [0] * len(Wake)
        self.ended = False
        self.keeps_dentries = keeps_dentries
        self.internal_errors = InternalErrors()
        self.awake = PmQosRequest()
        self._contention = Contention()
        self.patience = Patience()
        self.idle_callback: Callable[[], None] = lambda: None
        self.activity_callback: Callable[[], None] = lambda: None
        """Called every few seconds, but not while nothing is to be done."""
        self._said_so_ns = 0
        self._wake = Wake.COLD
        self._cold = False
        """Whether the processors may sleep."""
        self._last_active_ns = time.monotonic_ns()
        self._fuse_fd = -1  # pyfuse3 gives it to nobody but whoever waits for it
        self._device: Device | None = None
        self._wake_fd = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        # poll(2) for the quick look, select(2) for its microsecond timeout,
        # epoll as one descriptor for trio to wait on.
        self._poller = select.poll()
        self._epoll = select.epoll()
        self._waking: tuple[int, ...] = (self._wake_fd,)
        self._idle_task: IdleTask | None = None
        self._idle_task_rest_ns = 0
        """How long the idle task rests, if it has failed and is resting; else 0."""
        self._lost_in_a_row = 0
        self._spawned: set[Worker] = set()
        self._calls: collections.deque[Callable[[], None]] = collections.deque()
        self._idle_task_due_ns: int | None = None
        self._watch(self._wake_fd)
        self._table_fd = -1
        self._mounts_changed: Callable[[], None] = lambda: None
        self._session_loop = session_loop
        self._idle: list[Worker] = []
        self._delayed: list[tuple[int, int, Worker]] = []
        self._sequence = itertools.count()
        self._jobs = 0
        self._parked: set[Worker] = set()
        self._done: collections.deque[tuple[Worker, Any, BaseException | None]] = (
            collections.deque()
        )
        self._threads = concurrent.futures.ThreadPoolExecutor(_THREADS, "osxfs-sim host call")

    def _watch(self, fd: int) -> None:
        self._poller.register(fd, select.POLLIN)
        self._epoll.register(fd, select.EPOLLIN)

    def as_trio(self) -> types.SimpleNamespace:
        """A namespace in place of trio's, by which pyfuse3's workers wait for this loop."""
        this_task = types.SimpleNamespace(name="osxfs-sim worker")
        return types.SimpleNamespace(
            Lock=_NoLock,
            ClosedResourceError=trio.ClosedResourceError,
            lowlevel=types.SimpleNamespace(
                wait_readable=self._wait_readable, current_task=lambda: this_task
            ),
        )

    @types.coroutine
    def _wait_readable(self, fd: int) -> Generator[object, None, None]:
        if self._fuse_fd < 0:
            # Between poll(2) and the read, the kernel may withdraw a request whose
            # caller was killed: the read must then fail rather than block.
            os.set_blocking(fd, False)
            self._watch(fd)
            self._fuse_fd = fd
            self._waking += (fd,)
        yield READABLE

    def watch_mounts(self, table_fd: int, changed: Callable[[], None]) -> None:
        """Call *changed* now, and before the next request whenever *table_fd* reports POLLPRI.

        Call this before the session begins: the table is to be polled before the kernel's
        descriptor. Nobody is woken for it.
        """
        self._poller.register(table_fd, select.POLLPRI)
        self._table_fd, self._mounts_changed = table_fd, changed
        changed()

    def set_idle_task(self, idle_task: IdleTask) -> None:
        """Run *idle_task*, the only one, in between requests from now on."""
        self._idle_task = idle_task
        self._watch(idle_task.fileno())
        self._waking += (idle_task.fileno(),)
        self.wake_idle_task()

    def clear_idle_task(self) -> None:
        """Run the idle task no more; does nothing where there is none."""
        if self._idle_task is None:
            return
        if not self._idle_task_rest_ns:
            self._unwatch(self._idle_task)
        self._idle_task, self._idle_task_due_ns, self._idle_task_rest_ns = None, None, 0

    def _unwatch(self, idle_task: IdleTask) -> None:
        fd = idle_task.fileno()
        self._poller.unregister(fd)
        self._epoll.unregister(fd)
        self._waking = tuple(each for each in self._waking if each != fd)

    def _run_idle_task(self, idle_task: IdleTask, until_ns: int) -> None:
        """Let *idle_task* work; where it fails, let it rest, and poll its descriptor no more."""
        rest_ns = self._idle_task_rest_ns
        if rest_ns:
            self._watch(idle_task.fileno())
            self._waking += (idle_task.fileno(),)
            self._idle_task_rest_ns = 0
        self._idle_task_due_ns = None  # it may be wanted again while it works
        try:
            again_ns = idle_task.work(until_ns)
        except Exception as error:
            self.internal_errors.record(f"the idle task {type(idle_task).__name__}", error)
            if self._idle_task is not idle_task:
                return  # it was its end
            self._unwatch(idle_task)
            self._idle_task_rest_ns = min(max(2 * rest_ns, _SHORTEST_REST_NS), _LONGEST_REST_NS)
            self._idle_task_due_ns = time.monotonic_ns() + self._idle_task_rest_ns
            return
        if again_ns is not None and self._idle_task_due_ns is None:
            self._idle_task_due_ns = again_ns

    def spawn(self, work: Worker) -> None:
        """Drive coroutine *work* as requests are; its failure is recorded, not raised.

        An exception ends it, and is recorded as an internal error: whoever waits for what it does
        has to be notified by itself.
        """
        self._spawned.add(work)
        self._resume(work, None)

    def call_soon(self, call: Callable[[], None]) -> None:
        """Have *call* called in trio's thread soon; its failure is recorded. From any thread."""
        self._calls.append(call)
        self.wake_up()

    def notify_all(self, signal: Signal) -> None:
        """Have all coroutines that wait for *signal* resume soon. In trio's thread."""
        for worker in signal.waiting:
            self._parked.discard(worker)
            heapq.heappush(self._delayed, (0, next(self._sequence), worker))
        signal.waiting.clear()

    def wake_idle_task(self) -> None:
        """Have the idle task, if there is one, run soon unless it rests after a failure."""
        if self._idle_task is not None and not self._idle_task_rest_ns:
            self._idle_task_due_ns = time.monotonic_ns()
            self.wake_up()

    @property
    def serves(self) -> bool:
        """Whether the FUSE session has begun, so that notifications can be sent."""
        return self._fuse_fd >= 0

    @property
    def in_flight(self) -> int:
        """The number of requests that were read and are not yet answered."""
        # Work of the server's own is always in one of the three.
        return len(self._delayed) + self._jobs + len(self._parked) - len(self._spawned)

    def has_requests(self) -> bool:
        """Whether any request was read and is not yet answered."""
        return self.in_flight > 0

    @property
    def quiet_ns(self) -> int:
        """Nanoseconds since a request came or was answered; 0 while one is being answered."""
        return 0 if self.in_flight else time.monotonic_ns() - self._last_active_ns

    async def run(self) -> None:
        """Serve until the kernel ends the session. Raises OSError if the kernel always fails."""
        self.awake.hold()
        self._last_active_ns = time.monotonic_ns()
        self.start_soon(self._session_loop, self, _ALL_WORKERS, _ALL_WORKERS)
        try:
            while True:
                quiet = self._serve()
                if self.ended:
                    return
                if quiet:
                    await self._sleep()
                else:
                    await trio.lowlevel.checkpoint()
        finally:
            self.awake.release()

    @property
    def device(self) -> Device:
        """The share's /dev/fuse, for threads that wait in it; only once requests are served."""
        if self._device is None:
            self._device = Device(self._fuse_fd)
        return self._device

    @property
    def wake_fds(self) -> tuple[int, ...]:
        """The file descriptors that a thread must keep to call wake_up() and call_soon()."""
        return (self._wake_fd,)

    def wake_up(self) -> None:
        """Have the loop look for requests and calls anew, from any thread."""
        os.eventfd_write(self._wake_fd, 1)

    def set_idle_callback(self, call: Callable[[], None]) -> None:
        """Call *call* from now on whenever no request has come for long (Patience.awake_ns)."""
        self.idle_callback = call

    def set_activity_callback(self, call: Callable[[], None]) -> None:
        """Call *call* from now on every 5 s while the loop has something to do."""
        self.activity_callback = call

    def set_patience(self, patience: Patience) -> None:
        """Poll, block and sleep for as long as *patience* says, from now on."""
        self.patience = patience

    def set_wake_latency(self, wake_ns: Mapping[Wake, int]) -> None:
        """Date requests' arrival back by *wake_ns*, the wake-up time of each state, from now on."""
        for wake, took_ns in wake_ns.items():
            self.wake_ns[wake] = took_ns

    def reset_wake_counts(self) -> None:
        """Set to 0 the counts of how often a request found the loop in each Wake state."""
        self.wakes = [0] * len(Wake)

    def end(self) -> None:
        """Have run() return soon, though the kernel does not end the session."""
        self.ended = True
        self.wake_up()

    def increment_epoch(self) -> bool:
        """Invalidate all dentries of the mount; False where the kernel cannot. Raises OSError.

        FUSE_NOTIFY_INC_EPOCH (linux/fuse.h, Linux 6.16). Unlike the message that invalidates a
        single entry it takes no lock, so that it can be sent before the reply to a request that
        holds the directory's. It cannot be on an older kernel, and with *keeps_dentries* it never
        is. Raises OSError for what else goes wrong.
        """
        if self.keeps_dentries:
            return False
        try:
            os.write(self._fuse_fd, _INCREMENT_EPOCH)
        except OSError as error:
            if error.errno != errno.EINVAL:
                raise
            return False
        return True

    def reply_at_once(self) -> None:
        """Send all delayed replies now, however long they were to wait. In trio's thread."""
        self._delayed[:] = [(0, sequence, worker) for _, sequence, worker in self._delayed]
        heapq.heapify(self._delayed)
        self.wake_up()

    def close(self) -> None:
        """Free threads, coroutines and file descriptors; only after run() has returned."""
        self._threads.shutdown(wait=True)
        for worker in (*self._idle, *self._parked, *(delayed[2] for delayed in self._delayed)):
            worker.close()
        self._idle.clear()
        self._parked.clear()
        self._delayed.clear()
        self._epoll.close()
        if self._device is not None:
            self._device.close()
        os.close(self._wake_fd)
        self.awake.close()

    # pyfuse3 takes this object for its nursery when it wants one more worker.
    def start_soon(self, worker: Callable[..., Worker], *args: object, name: str = "") -> None:
        """Start one more worker coroutine, as a trio nursery would: pyfuse3 calls it."""
        del name
        self._resume(worker(*args), None)

    def _serve(self) -> bool:
        """Handle requests until trio's turn comes (False) or all has long been quiet (True)."""
        clock_ns = time.monotonic_ns
        poll = self._poller.poll
        delayed = self._delayed
        fuse_fd, wake_fd = self._fuse_fd, self._wake_fd
        wake = self._wake
        now_ns = clock_ns()
        if now_ns - self._said_so_ns > _SAYS_SO_NS:
            self._said_so_ns = now_ns
            self.activity_callback()
        polled_ns = 0
        trio_turn_ns = now_ns + _TRIO_PASS_NS
        spin_ns, before_due_ns = self.patience.spin_ns, _SPIN_BEFORE_DUE_NS
        if self._contention.sample(now_ns):
            spin_ns, before_due_ns = 0, _SPIN_BEFORE_DUE_CONTENDED_NS
        while True:
            # What becomes due meanwhile waits for the next look at new requests.
            due_ns = now_ns
            while delayed and delayed[0][0] <= due_ns:
                self._resume(heapq.heappop(delayed)[2], now_ns)
                # Its client is likely to ask again at once.
                now_ns = self._last_active_ns = clock_ns()
            if now_ns >= trio_turn_ns:
                self._wake = Wake.POLLING
                if gc.get_count()[0] > _GARBAGE_UNDER_LOAD:
                    gc.collect(0)
                return False
            events = poll(0)
            has_request = woken = False
            for fd, _ in events:
                if fd == fuse_fd:
                    if self._cold:
                        self.awake.hold()
                        self._cold = False
                    self.wakes[wake] += 1
                    # It was not there at the last look: so it came since.
                    arrival_ns = now_ns - self.wake_ns[wake]
                    self.arrival_ns = arrival_ns if arrival_ns > polled_ns else polled_ns
                    lost_before = self._lost_in_a_row
                    # An idle worker reads it, and begins to handle it.
                    self._resume(self._idle.pop(), None)
                    if lost_before and self._lost_in_a_row == lost_before:
                        self._lost_in_a_row = 0
                    has_request = True
                elif fd == wake_fd:
                    has_request = self._finish_jobs() or has_request
                    woken = True
                elif fd == self._table_fd:
                    self._mounts_changed()
                elif self._idle_task_due_ns is None or self._idle_task_due_ns > now_ns:
                    self._idle_task_due_ns = now_ns
            if (has_request or woken) and self.ended:
                return False
            if has_request:
                wake = Wake.POLLING
                now_ns = self._last_active_ns = clock_ns()
            else:
                polled_ns = now_ns
                now_ns = clock_ns()
            idle_task_due_ns = self._idle_task_due_ns
            if idle_task_due_ns is not None and idle_task_due_ns <= now_ns:
                slice_ns = _LONGEST_SLICE_NS
                if has_request:
                    slice_ns = 0
                elif delayed:
                    slice_ns = min(slice_ns, delayed[0][0] - now_ns)
                if (
                    slice_ns < _SHORTEST_SLICE_NS
                    and now_ns - idle_task_due_ns > _IDLE_TASK_STARVES_NS
                ):
                    slice_ns = _SLICE_OF_THE_STARVING_NS
                if slice_ns >= _SHORTEST_SLICE_NS:
                    assert self._idle_task is not None
                    self._run_idle_task(self._idle_task, now_ns + slice_ns - _STEP_NS)
                    wake = Wake.POLLING
                    now_ns = clock_ns()
                    continue
            if has_request:
                continue
            quiet_ns = now_ns - self._last_active_ns
            if delayed:
                wait_ns = delayed[0][0] - now_ns - before_due_ns
            elif quiet_ns < self.patience.block_ns or self._jobs:
                wait_ns = _TRIO_PASS_NS
            elif self._idle_task_due_ns is None:
                return True
            else:
                wait_ns = _TRIO_PASS_NS
            if self._idle_task_due_ns is not None:
                wait_ns = min(wait_ns, self._idle_task_due_ns - now_ns)
            # Polling would keep the interpreter from a thread that finishes its job.
            polling = quiet_ns < spin_ns and not self._jobs
            if polling and self._idle_task is not None and self._idle_task.has_threads_at_work:
                polling = False
            wait_ns = min(wait_ns, trio_turn_ns - now_ns)
            if not polling and wait_ns > _SHORTEST_BLOCK_NS:
                if select.select(self._waking, (), (), wait_ns / 1_000_000_000)[0]:
                    wake = Wake.BLOCKING
                now_ns = clock_ns()

    async def _sleep(self) -> None:
        """Wait in trio for something to do; let the processors sleep if no request comes.

        Only the next request has them awake again: an idle task whose work never ends,
        because the host is busy, has nobody who waits for it.
        """
        if not self._cold:
            self._wake = Wake.ASLEEP
            idle_ns = time.monotonic_ns() - self._last_active_ns - self.patience.block_ns
            left_ns = max(self.patience.awake_ns - idle_ns, 0)
            with trio.move_on_after(left_ns / 1_000_000_000):
                await trio.lowlevel.wait_readable(self._epoll)
                return
            self.awake.release()
            self._cold = True
            self._call(self.idle_callback)
        self._wake = Wake.COLD
        await trio.lowlevel.wait_readable(self._epoll)

    def _resume(self, worker: Worker, value: Any, error: BaseException | None = None) -> None:
        """Let *worker* go on until it awaits again, and file it by what it waits for."""
        try:
            wanted = worker.send(value) if error is None else worker.throw(error)
        except StopIteration:
            if worker in self._spawned:
                self._spawned.discard(worker)
                return
            # The kernel has ended the session: nothing more can be read.
            self.ended = True
        except Exception as failure:
            if worker in self._spawned:
                self._spawned.discard(worker)
                self.internal_errors.record(getattr(worker, "__qualname__", repr(worker)), failure)
                return
            self._lost(failure)
        else:
            if wanted is READABLE:
                self._idle.append(worker)
            elif isinstance(wanted, int):
                heapq.heappush(self._delayed, (wanted, next(self._sequence), worker))
            elif isinstance(wanted, Signal):
                wanted.waiting.append(worker)
                self._parked.add(worker)
            else:
                self._start_job(worker, wanted)

    def _lost(self, failure: Exception) -> None:
        """A worker of pyfuse3's has ended by *failure*: another reads in its place.

        BlockingIOError: its request was withdrawn before it was read.
        """
        if not isinstance(failure, BlockingIOError):
            self.internal_errors.record("pyfuse3", failure)
            if isinstance(failure, OSError):  # what read(2) says, perhaps
                self._lost_in_a_row += 1
                if self._lost_in_a_row > _MOST_LOST_IN_A_ROW:
                    raise failure
        if not self._idle:
            self.start_soon(self._session_loop, self, _ALL_WORKERS, _ALL_WORKERS)

    def _start_job(self, worker: Worker, job: Job) -> None:
        self._jobs += 1
        unclaimed = [job.call]

        def make() -> None:
            try:
                call = unclaimed.pop()
            except IndexError:
                return
            result, failure = None, None
            try:
                result = call()
            except BaseException as error:
                failure = error
            self._done.append((worker, result, failure))
            os.eventfd_write(self._wake_fd, 1)

        try:
            self._threads.submit(make)
        except RuntimeError as error:
            # The machine has no thread left for us. One that we have may come to it all the
            # same, and then it has been made: once.
            self.internal_errors.record("a call in a thread", error)
            make()

    def _call(self, call: Callable[[], None]) -> None:
        try:
            call()
        except Exception as error:
            self.internal_errors.record(getattr(call, "__qualname__", repr(call)), error)

    def _finish_jobs(self) -> bool:
        """Resume who waited for a thread, and make the calls asked for. Whether a job was done."""
        os.eventfd_read(self._wake_fd)
        finished = bool(self._done)
        while self._done:
            worker, result, failure = self._done.popleft()
            self._jobs -= 1
            self._resume(worker, result, failure)
        while self._calls:
            self._call(self._calls.popleft())
        return finished
