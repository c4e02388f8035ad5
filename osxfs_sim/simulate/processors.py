"""What a live run on one machine shows: the server on the processors of the workload.

Think time is computation and occupies a processor; whoever waits for an answer occupies none. Each
request that crosses takes the server some processor time beside its latency: it is answered when
both are over. Processors are shared evenly by all who compute (processor sharing), as a fair
scheduler does over times that are long against its slices.

What a request takes the server is the mean of the recording's own run: nothing is fitted.
"""

import heapq
from collections.abc import Callable
from dataclasses import dataclass

from osxfs_sim.simulate.dependencies import NOTHING, Order
from osxfs_sim.simulate.recording import Recording

Ask = Callable[[int, int], tuple[int, int]]
"""Asks the question of a number at a moment in ns: when its latency is over, and what it takes the
server in ns of a processor."""


@dataclass(frozen=True, slots=True)
class ServerCost:
    """What requests take the server that recorded, as was measured in the recording's own run."""

    processor_ns: int
    """Processor time of the server in that run, what the trace took it included."""
    requests: int
    """How many requests that was for, those that nobody waits for included."""

    @property
    def per_request_ns(self) -> int:
        """The mean: a run has one total, which cannot be told apart by operation or by byte."""
        return round(self.processor_ns / self.requests)


def server_cost(recording: Recording) -> ServerCost | None:
    """What the recording says of its server; None where it does not."""
    notes = recording.header.notes
    spent_ns, requests = notes.get("server_processor_ns"), notes.get("server_requests")
    if type(spent_ns) is not int or type(requests) is not int or spent_ns <= 0 or requests <= 0:
        return None
    return ServerCost(spent_ns, requests)


class Processors:
    """So many processors, shared evenly by all jobs that compute; none gets more than one."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._now_ns = 0.0
        self._each_ns = 0.0  # what a job that was always here would have computed
        self._jobs: list[tuple[float, int]] = []  # by what each has then computed; its number

    def begin(self, job: int, work_ns: int, now_ns: float) -> None:
        """*job* begins to compute *work_ns*. No job may have ended before *now_ns*: take it."""
        self._pass(now_ns)
        heapq.heappush(self._jobs, (self._each_ns + work_ns, job))

    def next_end_ns(self) -> float | None:
        """When the next job will end, if none begins before; None: there is no job."""
        if not self._jobs:
            return None
        return self._now_ns + (self._jobs[0][0] - self._each_ns) / self._rate()

    def take(self) -> tuple[int, float]:
        """The job that ends next, and when; the clock goes on to that moment."""
        end_ns = self.next_end_ns()
        assert end_ns is not None
        self._now_ns = end_ns
        self._each_ns, job = heapq.heappop(self._jobs)
        return job, end_ns

    def _pass(self, now_ns: float) -> None:
        if now_ns > self._now_ns:
            if self._jobs:
                self._each_ns += (now_ns - self._now_ns) * self._rate()
            self._now_ns = now_ns

    def _rate(self) -> float:
        return min(1.0, self._count / len(self._jobs))


def wall_on(order: Order, count: int, ask: Ask, begin_ns: int) -> int:
    """The wall time in ns of all questions of *order* on *count* processors.

    *ask* is called once for each, in the order of time.
    """
    size = len(order.previous)
    followers: list[list[int]] = [[] for _ in range(size)]
    waits = [1] * size  # for what it computes, and for other questions
    for index, others in enumerate(order.after):
        waits[index] += len(others)
        for each in others:
            followers[each].append(index)
    thinkers: list[list[int]] = [[] for _ in range(size)]
    processors = Processors(count)
    # Moments: of a thread that begins to compute, of a question, of an answer's latency.
    moments: list[tuple[float, int, int]] = []
    for index, previous in enumerate(order.previous):
        if previous == NOTHING:
            heapq.heappush(moments, (begin_ns, _THINKS, index))
        else:
            thinkers[previous].append(index)
    parts = [0] * size  # of an answer: latency and server
    ends_ns = float(begin_ns)

    def ready(index: int, now_ns: float) -> None:
        waits[index] -= 1
        if not waits[index]:
            heapq.heappush(moments, (now_ns, _ASKS, index))

    def part_done(index: int, now_ns: float) -> None:
        nonlocal ends_ns
        parts[index] -= 1
        if parts[index]:
            return
        ends_ns = max(ends_ns, now_ns)
        for each in thinkers[index]:
            heapq.heappush(moments, (now_ns, _THINKS, each))
        for each in followers[index]:
            ready(each, now_ns)

    while True:
        end_ns = processors.next_end_ns()
        if end_ns is not None and (not moments or end_ns <= moments[0][0]):
            job, now_ns = processors.take()
            if job < size:
                ready(job, now_ns)
            else:
                part_done(job - size, now_ns)
        elif moments:
            now_ns, kind, index = heapq.heappop(moments)
            if kind == _THINKS:
                processors.begin(index, order.think_ns[index], now_ns)
            elif kind == _ASKS:
                due_ns, cost_ns = ask(index, round(now_ns))
                parts[index] = 2 if cost_ns else 1
                heapq.heappush(moments, (max(now_ns, due_ns), _ANSWERS, index))
                if cost_ns:
                    processors.begin(size + index, cost_ns, now_ns)
            else:
                part_done(index, now_ns)
        else:
            return round(ends_ns) + order.tail_ns - begin_ns


_ANSWERS, _ASKS, _THINKS = range(3)
