"""When each question comes: after what it waits for, and what its thread computes before it.

Virtual time: an event at a time. Where processors are given, computing occupies one, and so does
what an answer takes the server; else everybody has a processor.
"""

import heapq

from osxfs_sim.simulate.dependencies import NOTHING, Order
from osxfs_sim.simulate.processors import Processors

WAKE = -1
"""In place of a question's number: a moment that was asked for by wake_at()."""


class Schedule:
    """All questions of one order, each given out once, in the order of time."""

    def __init__(self, order: Order, begin_ns: int, processors: Processors | None = None) -> None:
        """*begin_ns* is when the command starts."""
        size = len(order.previous)
        self._size = size
        self._think_ns = order.think_ns
        self._processors = processors
        self._thinkers: list[list[int]] = [[] for _ in range(size)]
        self._waiters: list[list[int]] = [[] for _ in range(size)]
        self._unanswered = [1] * size  # of the answers that it follows
        self._since_ns = [begin_ns] * size  # the latest of these
        self._waits = [1] * size  # for what it computes, and for what it may not come before
        self._ready_ns = [begin_ns] * size
        # Moments: of a question; of its answer, by its number and *size*; WAKE.
        self._moments: list[tuple[float, int]] = []
        self._parts = [0] * size if processors is not None else []
        self.ends_ns = float(begin_ns)
        """The last answer so far."""
        for index in range(size):
            for each in order.after[index]:
                self._waiters[each].append(index)
            self._waits[index] += len(order.after[index])
            for each in order.causes[index]:
                self._thinkers[each].append(index)
            self._unanswered[index] += len(order.causes[index])
            if order.previous[index] != NOTHING:
                self._thinkers[order.previous[index]].append(index)
        for index, previous in enumerate(order.previous):
            if previous == NOTHING:
                self._follows(index, begin_ns)

    def next(self) -> tuple[int, int] | None:
        """The moment in ns and the number of the question that comes next, or WAKE; None: all did.

        Whoever is given one says when it is answered before it asks for one that has to wait for
        that.
        """
        processors, size = self._processors, self._size
        if processors is None:
            if not self._moments:
                return None
            now_ns, index = heapq.heappop(self._moments)
            return int(now_ns), index
        while True:
            end_ns = processors.next_end_ns()
            if end_ns is not None and (not self._moments or end_ns <= self._moments[0][0]):
                job, end_ns = processors.take()
                if job < size:
                    self._ready(job, end_ns)
                else:
                    self._has_part(job - size, end_ns)
            elif self._moments:
                moment_ns, index = heapq.heappop(self._moments)
                if index < size:
                    return round(moment_ns), index
                self._has_part(index - size, moment_ns)
            else:
                return None

    def answered(self, index: int, end_ns: int, now_ns: int = 0, server_ns: int = 0) -> None:
        """Take it that a question is answered *end_ns*.

        It came *now_ns*, and takes the server so long of a processor, which has to be over, too.
        """
        if self._processors is None:
            self._has_answer(index, end_ns)
            return
        self._parts[index] = 2 if server_ns else 1
        heapq.heappush(self._moments, (end_ns, self._size + index))
        if server_ns:
            self._processors.begin(self._size + index, server_ns, now_ns)

    def wake_at(self, moment_ns: int) -> None:
        """Have next() return WAKE at that moment."""
        heapq.heappush(self._moments, (moment_ns, WAKE))

    def _has_part(self, index: int, now_ns: float) -> None:
        self._parts[index] -= 1
        if not self._parts[index]:
            self._has_answer(index, now_ns)

    def _has_answer(self, index: int, end_ns: float) -> None:
        self.ends_ns = max(self.ends_ns, end_ns)
        for each in self._thinkers[index]:
            self._follows(each, end_ns)
        for each in self._waiters[index]:
            self._ready(each, end_ns)

    def _follows(self, index: int, end_ns: float) -> None:
        """One of the answers that it follows has come; after the last of them it computes."""
        since_ns = self._since_ns[index] = max(self._since_ns[index], end_ns)  # type: ignore[call-overload]
        self._unanswered[index] -= 1
        if self._unanswered[index]:
            return
        if self._processors is None:
            self._ready(index, since_ns + self._think_ns[index])
        else:
            self._processors.begin(index, self._think_ns[index], since_ns)

    def _ready(self, index: int, moment_ns: float) -> None:
        """Not before *moment_ns*; when nothing is left to wait for, it comes at the latest one."""
        ready_ns = self._ready_ns[index] = max(self._ready_ns[index], moment_ns)  # type: ignore[call-overload]
        self._waits[index] -= 1
        if not self._waits[index]:
            heapq.heappush(self._moments, (ready_ns, index))
