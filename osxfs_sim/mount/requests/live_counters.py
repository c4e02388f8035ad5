"""What is requested of a share just now: rates, latency, and the directories it is about.

For whoever watches a running share (osxfs-sim top). It counts only while
somebody asks: from one question to the next, and a few seconds longer.
"""

from collections import Counter, deque
from collections.abc import Callable
from typing import Any

import numpy as np

from osxfs_sim.model.operations import Operation
from osxfs_sim.trace.answers import AnsweredBy
from osxfs_sim.trace.said import NOTHING_SAID, Said

LOOKED_AT_NS = 6_000_000_000
"""So long after the last question nobody asks any more."""
_MOST_DIRECTORIES = 16_384
_LATEST = 8_192


class LiveCounters:
    """Counts of what is asked of a share, from one call of take() to the next. Bounded.

    Beyond so many directories all others are counted as one.
    """

    def __init__(self, directory_path: Callable[[int], str | None], now_ns: int) -> None:
        self._directory_path = directory_path
        self._begin(now_ns)

    def _begin(self, now_ns: int) -> None:
        self._since_ns = now_ns
        self._requests = [0] * len(Operation)
        self._answered_by = [0] * len(AnsweredBy)
        self._missing = 0
        self._directories: Counter[int] = Counter()
        self._latest: deque[tuple[int, int]] = deque(maxlen=_LATEST)

    def is_over(self, now_ns: int) -> bool:
        """Whether nobody has called take() for LOOKED_AT_NS, 6 seconds."""
        return now_ns - self._since_ns > LOOKED_AT_NS

    def add(
        self,
        arrival_ns: int,
        target_ns: int,
        took_ns: int,
        operation: int,
        inode: int,
        name: bytes | None,
        found: int,
        size_bytes: int,
        offset_bytes: int,
        error: int,
        process: int,
        directory: int,
        answered_by: int,
        said: Said = NOTHING_SAID,
    ) -> None:
        """Count one answered request; the arguments are those of trace.recorder.Recorder.add."""
        del said
        self._requests[operation] += 1
        self._answered_by[answered_by] += 1
        if answered_by == AnsweredBy.HOST:
            self._latest.append((target_ns, took_ns))
        self._missing += operation == Operation.LOOKUP and error != 0
        counts = self._directories
        if directory in counts or len(counts) < _MOST_DIRECTORIES:
            counts[directory] += 1
        else:
            counts[0] += 1

    def take(self, now_ns: int, top: int) -> dict[str, Any]:
        """Counts, latencies, *top* directories since the last call, as a dict; starts anew.

        docs/reference.md describes it.
        """
        latest = np.array(self._latest, dtype=np.int64).reshape(-1, 2)
        directories: Counter[str | None] = Counter()
        for number, count in self._directories.most_common(top):
            directories[self._directory_path(number) if number else None] += count
        answer = {
            "interval_s": (now_ns - self._since_ns) / 1e9,
            "requests": {op.name: self._requests[op] for op in Operation if self._requests[op]},
            "answered_by": {by.label: self._answered_by[by] for by in AnsweredBy},
            "missing_lookups": self._missing,
            "directories": [[path, count] for path, count in directories.most_common()],
            "target_p50_ns": _percentile_ns(latest[:, 0], 50),
            "observed_p50_ns": _percentile_ns(latest[:, 1], 50),
            "observed_p99_ns": _percentile_ns(latest[:, 1], 99),
        }
        self._begin(now_ns)
        return answer


def _percentile_ns(values_ns: np.ndarray, percentile: int) -> int | None:
    """None where there are no values."""
    return int(np.percentile(values_ns, percentile)) if len(values_ns) else None
