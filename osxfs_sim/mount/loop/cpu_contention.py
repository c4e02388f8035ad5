"""Whether others want the processor that the server polls on.

Polling makes the server quick while a processor is free for it. Where none is, it
takes time from the very workload that is measured, and the scheduler interrupts it for
others all the same. How often it does is known: involuntary context switches of the
thread (getrusage(2)). Measured here: some 4 a second beside one client, 200 to 1,600
beside npm, which keeps both cores busy.
"""

import resource
from collections.abc import Callable

_MANY = 2
"""Of a look's time, some 10 ms: 200 a second."""
_LASTS_NS = 100_000_000


def involuntary_switches() -> int:
    """How often the kernel has taken the processor from the calling thread, so far."""
    return resource.getrusage(resource.RUSAGE_THREAD).ru_nivcsw


class Contention:
    """Whether other threads want the processor that the server polls on, judged now and then."""

    def __init__(self, count: Callable[[], int] = involuntary_switches) -> None:
        self._count = count
        self._before: int | None = None
        self._until_ns = 0

    def sample(self, now_ns: int) -> bool:
        """Whether others have wanted the processor in the 100 ms before *now_ns* (monotonic)."""
        count = self._count()
        if self._before is not None and count - self._before >= _MANY:
            self._until_ns = now_ns + _LASTS_NS
        self._before = count
        return now_ns < self._until_ns
