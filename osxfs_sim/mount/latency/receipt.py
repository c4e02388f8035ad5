"""Asked-for against achieved latency, for everything that ran on a share.

Each held reply adds one line: its class, what it was asked to take, and what
the client saw. Writing a line must cost next to nothing, so the lines go into
plain lists and are folded into histograms in blocks. The histograms are
HdrHistogram's with three significant digits: under 0.1 % relative error,
mergeable by adding, and readable by that project's own tools.
"""

from dataclasses import dataclass

import numpy as np
from hdrh.histogram import HdrHistogram

from osxfs_sim.model.operations import OperationClass
from osxfs_sim.model.status import ReceiptLine

_LOWEST_NS = 1
_HIGHEST_NS = 3_600_000_000_000
_DIGITS = 3
FOLD_AT = 8192

LATE_BY_NS = 20_000
LATE_BY_SHARE = 0.05
"""An answer is late when it came later than asked by more than the larger of the two."""

TOLERANCE = 0.05
"""A class is out of tolerance when its median is off by more than this share of what was asked."""
FEWEST_JUDGED = 50
"""Fewer answers than this are shown, and not judged."""
LATE_TOLERANCE = 0.10
"""... or when more than this share of its answers was late."""


def new_histogram() -> HdrHistogram:
    """An empty histogram of nanoseconds, up to an hour."""
    return HdrHistogram(_LOWEST_NS, _HIGHEST_NS, _DIGITS)


def fold(histogram: HdrHistogram, values_ns: np.ndarray) -> None:
    """Add many values at once. *values_ns* is an array of integers, shape (n,).

    HdrHistogram takes a microsecond a value. Values that share their leading
    bits share a bucket, so we round them as it would (11 bits give three
    digits) and add each distinct one with its count.
    """
    values = np.clip(values_ns, _LOWEST_NS, _HIGHEST_NS).astype(np.int64)
    # frexp gives the position of the leading bit.
    shift = np.maximum(np.frexp(values.astype(np.float64))[1] - 11, 0)
    distinct, counts = np.unique((values >> shift) << shift, return_counts=True)
    for value, count in zip(distinct.tolist(), counts.tolist(), strict=True):
        histogram.record_value(value, count)


@dataclass(slots=True)
class _Line:
    asked: HdrHistogram
    achieved: HdrHistogram
    late: int = 0
    asked_for_something: bool = False
    asked_total_ns: int = 0
    achieved_total_ns: int = 0


class Receipt:
    """The histograms of one share, per operation class. Bounded, however long it runs."""

    def __init__(self) -> None:
        self._lines = {
            operation_class: _Line(new_histogram(), new_histogram())
            for operation_class in OperationClass
        }
        self.pending: list[list[int]] = [[] for _ in OperationClass]
        """Per class what is not folded in yet, asked and achieved by turns. Whoever is in every
        request's way appends to it, as add() does, and has it folded in at FOLD_AT."""

    def add(self, operation_class: OperationClass, asked_ns: int, achieved_ns: int) -> None:
        """One answered request: what it was to take, and what its client saw it take."""
        pending = self.pending[operation_class]
        pending.append(asked_ns)
        pending.append(achieved_ns)
        if len(pending) >= FOLD_AT:
            self.fold(operation_class)

    def fold(self, operation_class: OperationClass) -> None:
        """Fold what is pending of a class into its histograms."""
        pending = self.pending[operation_class]
        if not pending:
            return
        asked, achieved = np.asarray(pending, dtype=np.int64).reshape(-1, 2).T
        pending.clear()
        line = self._lines[operation_class]
        line.asked_for_something |= bool(asked.any())
        line.asked_total_ns += int(asked.sum())
        line.achieved_total_ns += int(achieved.sum())
        fold(line.asked, asked)
        fold(line.achieved, achieved)
        line.late += int(
            np.count_nonzero(achieved - asked > np.maximum(LATE_BY_NS, asked * LATE_BY_SHARE))
        )

    def report(self) -> dict[str, ReceiptLine]:
        """Per class that was used: counts, percentiles in nanoseconds, late answers, histograms.

        ``within_tolerance`` is None where no latency was asked for: there is
        nothing to compare with. Histograms are in HdrHistogram's own encoding.
        """
        report: dict[str, ReceiptLine] = {}
        for operation_class, line in self._lines.items():
            self.fold(operation_class)
            count = line.asked.get_total_count()
            if not count:
                continue
            asked_p50 = _percentile_ns(line.asked, 50)
            achieved_p50 = _percentile_ns(line.achieved, 50)
            asked_nothing = not line.asked_for_something
            report[operation_class.label] = ReceiptLine(
                count=count,
                # The smallest value a histogram can hold is 1, and stands for 0.
                asked_p50_ns=0 if asked_p50 <= _LOWEST_NS else asked_p50,
                achieved_p50_ns=achieved_p50,
                achieved_p90_ns=_percentile_ns(line.achieved, 90),
                achieved_p99_ns=_percentile_ns(line.achieved, 99),
                asked_total_ns=line.asked_total_ns,
                achieved_total_ns=line.achieved_total_ns,
                late=0 if asked_nothing else line.late,
                within_tolerance=None
                if asked_nothing or count < FEWEST_JUDGED
                else (asked_p50 <= _LOWEST_NS or abs(achieved_p50 / asked_p50 - 1) <= TOLERANCE)
                and line.late <= LATE_TOLERANCE * count,
                asked_histogram=line.asked.encode().decode("ascii"),
                achieved_histogram=line.achieved.encode().decode("ascii"),
            )
        return report


def _percentile_ns(histogram: HdrHistogram, percentile: float) -> int:
    return int(histogram.get_value_at_percentile(percentile))
