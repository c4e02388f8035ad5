"""Processors that the server of a live run shares with the workload.

Think time is computation and occupies a processor; whoever waits for an answer occupies none. What
a request takes the server occupies one beside its latency. Processors are shared evenly by all who
compute (processor sharing), as a fair scheduler does over times that are long against its slices.
"""

import heapq


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
