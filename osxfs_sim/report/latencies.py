"""How latency was distributed, target and observed, from the receipts' histograms."""

import struct
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from hdrh.codec import (
    HdrCookieException,
    HdrHistogramSettingsException,
    HdrLengthException,
)
from hdrh.histogram import HdrHistogram

from osxfs_sim.lab.results import Comparison, ResultError

Curve = tuple[np.ndarray, np.ndarray]
"""Times in ns, ascending, and the shares (0 to 1) of all answers that came within each."""


@dataclass(frozen=True, slots=True)
class Latencies:
    """How the answers of one class of operations were distributed over time."""

    label: str
    """The class of operations."""
    answers: int
    """How many answers both curves are of."""
    target: Curve | None
    """The latency that was modelled; None where there was none."""
    observed: Curve
    """The latency that the guest had."""


# So many points are enough for a curve; fewer make smaller pages.
_CURVE_POINTS = 160
_CURVE_STEP = 1.05


# What the decoder raises for text that is not a histogram: of base64, zlib, or its own.
_UNREADABLE = (
    *(KeyError, TypeError, ValueError, IndexError, struct.error, zlib.error),
    *(HdrCookieException, HdrLengthException, HdrHistogramSettingsException),
)


def latencies_of(comparison: Comparison) -> dict[str, list[Latencies]]:
    """By arm a latency curve per class of operations. Raises ResultError for bad histograms."""
    found: dict[str, list[Latencies]] = {}
    for arm in comparison.arms:
        receipts = [each.share.get("receipt") or {} for each in comparison.of(arm) if each.share]
        for label in dict.fromkeys(label for receipt in receipts for label in receipt):
            lines = [receipt[label] for receipt in receipts if label in receipt]
            target = _merged(lines, "target_histogram")
            observed = _merged(lines, "observed_histogram")
            if not observed.get_total_count():
                continue
            # The smallest value a histogram can hold is 1, and stands for 0: nothing was asked.
            wanted = target if target.get_max_value() > 1 else None
            found.setdefault(arm, []).append(
                Latencies(
                    label,
                    observed.get_total_count(),
                    None if wanted is None else _curve(wanted),
                    _curve(observed),
                )
            )
    return found


def _merged(lines: Iterable[Mapping[str, Any]], name: str) -> HdrHistogram:
    """The sum of encoded histograms (HdrHistogram's V2 format, compressed, base64)."""
    merged: HdrHistogram | None = None
    for line in lines:
        try:
            histogram = HdrHistogram.decode(line[name])
        except _UNREADABLE as error:
            raise ResultError(f"a receipt's {name} cannot be decoded: {error}") from error
        if merged is None:
            merged = histogram
        else:
            merged.add(histogram)
    assert merged is not None
    return merged


def _curve(histogram: HdrHistogram) -> Curve:
    """Values in ns, and the shares of all answers up to each: a point per step that can be seen."""
    total = histogram.get_total_count()
    values, shares = [], []
    shown, last_ns = -1.0, 1
    for each in histogram.get_recorded_iterator():
        share = each.total_count_to_this_value / total
        value_ns = each.value_iterated_to
        if share - shown >= 1 / _CURVE_POINTS or value_ns > last_ns * _CURVE_STEP or share == 1:
            values.append(value_ns)
            shares.append(share)
            shown, last_ns = share, value_ns
    # From nothing: the first step goes up where the first answer came.
    return np.array([values[0], *values], dtype=float), np.array([0.0, *shares])


def time_of(curve: Curve, share: float) -> float:
    """The time in ns within which *share* (0 to 1) of the answers of *curve* came."""
    values, shares = curve
    return float(values[min(int(np.searchsorted(shares, share)), len(values) - 1)])
