"""Percentiles for reading, and histograms to keep.

A stat(2) is one call and several requests, one after the other. A client
cannot time the requests apart, so a figure "per request" is the time of the
call divided by the number of requests it was counted to cost. Medians survive
the division; the far tail does not (a late request hides among punctual ones),
and is exact only where a call is one request.
"""

from typing import Any

import numpy as np
from hdrh.histogram import HdrHistogram
from numpy.typing import NDArray

from osxfs_sim.mount.latency.receipt import fold, new_histogram

Samples = NDArray[np.int64]
"""Nanoseconds that calls took, shape (calls,)."""


def per_request(taken_ns: Samples, requests_per_call: float) -> dict[str, float]:
    """p50, p90 and p99 of the time per request, in microseconds."""
    p50, p90, p99 = np.percentile(taken_ns, (50, 90, 99)) / (requests_per_call * 1_000)
    return {
        "p50_us": round(float(p50), 2),
        "p90_us": round(float(p90), 2),
        "p99_us": round(float(p99), 2),
    }


def histogram(taken_ns: Samples) -> str:
    """All samples in HdrHistogram's own encoding: three digits, read by that project's tools."""
    collected = new_histogram()
    fold(collected, taken_ns)
    return str(collected.encode().decode("ascii"))


def merged_p50_ns(encoded: list[str]) -> int:
    """The median over several encoded histograms together."""
    merged = new_histogram()
    for one in encoded:
        merged.add(HdrHistogram.decode(one))
    return int(merged.get_value_at_percentile(50))


def without_histograms(row: dict[str, Any]) -> dict[str, Any]:
    """What of a row is meant for reading."""
    return {key: value for key, value in row.items() if not key.endswith("histogram")}
