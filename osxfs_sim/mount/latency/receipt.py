"""Target against observed latency, for everything that ran on a share.

Each reply adds one line: its class, its target, and what the client observed. Writing
a line must cost next to nothing, so the lines go into plain lists and are folded into
histograms in blocks. The histograms are
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
"""An answer is late when it came later than its target by more than the larger of the two."""

TOLERANCE = 0.05
"""A class is out of tolerance when its median is off by more than this share of its target,
or when more than LATE_TOLERANCE of its answers was late."""
FEWEST_JUDGED = 50
"""Fewer answers than this are shown, and not judged."""
LATE_TOLERANCE = 0.10
"""See TOLERANCE."""


def new_histogram() -> HdrHistogram:
    """An empty HdrHistogram of nanoseconds, from 1 ns to an hour, three significant digits."""
    return HdrHistogram(_LOWEST_NS, _HIGHEST_NS, _DIGITS)


def fold(histogram: HdrHistogram, values_ns: np.ndarray) -> None:
    """Add *values_ns*, integers of shape (n,), to *histogram*, clipped to its range. Never fails.

    HdrHistogram takes a microsecond a value. Values that share their leading bits share a bucket,
    so we round them as it would (11 bits give three digits) and add each distinct one with its
    count.
    """
    values = np.clip(values_ns, _LOWEST_NS, _HIGHEST_NS).astype(np.int64)
    # frexp gives the position of the leading bit.
    shift = np.maximum(np.frexp(values.astype(np.float64))[1] - 11, 0)
    distinct, counts = np.unique((values >> shift) << shift, return_counts=True)
    for value, count in zip(distinct.tolist(), counts.tolist(), strict=True):
        histogram.record_value(value, count)


@dataclass(slots=True)
class _Line:
    target: HdrHistogram
    observed: HdrHistogram
    late: int = 0
    has_target: bool = False
    target_total_ns: int = 0
    observed_total_ns: int = 0


class Receipt:
    """Target and observed latency of all answers of a share, as histograms per operation class.

    Bounded, however long it runs. "Receipt" is the product's word for this latency report.
    """

    def __init__(self) -> None:
        self._lines = {
            operation_class: _Line(new_histogram(), new_histogram())
            for operation_class in OperationClass
        }
        self.pending: list[list[int]] = [[] for _ in OperationClass]
        """Per class what is not folded in yet, target and observed by turns. Whoever is in every
        request's way appends to it, as add() does, and has it folded in at FOLD_AT."""

    def add(self, operation_class: OperationClass, target_ns: int, observed_ns: int) -> None:
        """Enter one answer: its target latency, and what its client observed, both in ns."""
        pending = self.pending[operation_class]
        pending.append(target_ns)
        pending.append(observed_ns)
        if len(pending) >= FOLD_AT:
            self.fold(operation_class)

    def fold(self, operation_class: OperationClass) -> None:
        """Move a class's pending answers into its histograms; does nothing where there are none."""
        pending = self.pending[operation_class]
        if not pending:
            return
        target, observed = np.asarray(pending, dtype=np.int64).reshape(-1, 2).T
        pending.clear()
        line = self._lines[operation_class]
        line.has_target |= bool(target.any())
        line.target_total_ns += int(target.sum())
        line.observed_total_ns += int(observed.sum())
        fold(line.target, target)
        fold(line.observed, observed)
        line.late += int(
            np.count_nonzero(observed - target > np.maximum(LATE_BY_NS, target * LATE_BY_SHARE))
        )

    def report(self) -> dict[str, ReceiptLine]:
        """For each used class, by label: counts, percentiles in ns, late answers, histograms.

        ``within_tolerance`` is None where there was no target: there is nothing to compare with.
        Histograms are in HdrHistogram's own encoding.
        """
        report: dict[str, ReceiptLine] = {}
        for operation_class, line in self._lines.items():
            self.fold(operation_class)
            count = line.target.get_total_count()
            if not count:
                continue
            target_p50 = _percentile_ns(line.target, 50)
            observed_p50 = _percentile_ns(line.observed, 50)
            has_no_target = not line.has_target
            report[operation_class.label] = ReceiptLine(
                count=count,
                # The smallest value a histogram can hold is 1, and stands for 0.
                target_p50_ns=0 if target_p50 <= _LOWEST_NS else target_p50,
                observed_p50_ns=observed_p50,
                observed_p90_ns=_percentile_ns(line.observed, 90),
                observed_p99_ns=_percentile_ns(line.observed, 99),
                target_total_ns=line.target_total_ns,
                observed_total_ns=line.observed_total_ns,
                late=0 if has_no_target else line.late,
                within_tolerance=None
                if has_no_target or count < FEWEST_JUDGED
                else (target_p50 <= _LOWEST_NS or abs(observed_p50 / target_p50 - 1) <= TOLERANCE)
                and line.late <= LATE_TOLERANCE * count,
                target_histogram=line.target.encode().decode("ascii"),
                observed_histogram=line.observed.encode().decode("ascii"),
            )
        return report


def _percentile_ns(histogram: HdrHistogram, percentile: float) -> int:
    return int(histogram.get_value_at_percentile(percentile))
