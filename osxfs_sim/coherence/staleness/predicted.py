"""The curve that a prediction draws: how likely a read is to return the old state. Pure.

Where a prediction leaves something open (how long an event takes to propagate, at which tick an
answer times out), the curve is a bracket: between two that decline. Measured curves (curves.py)
are compared with that.
"""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from osxfs_sim.coherence.staleness.curves import CONFIDENCE, Band, Curve, Numbers
from osxfs_sim.coherence.staleness.predictions import (
    AtOnce,
    Mixture,
    NotSeen,
    Prediction,
    StalenessSample,
    Uniform,
    Within,
    WriteBackDelay,
    latest_ns,
)


def predicted_band(prediction: Prediction, phase_ns: int, times_ns: Numbers) -> Band:
    """Bounds of P(stale) at *times_ns* by *prediction*. Raises AssertionError if unknown.

    *phase_ns*: each change comes at a random time of at most that after the one before was seen.
    Raises AssertionError for an unknown kind of prediction.

    Of events: the stream reports the first change after a quiet window at once, and any other at
    the end of the window w. A change that comes x after the last report so waits w - x,
    if x is less than w, so at least (w - t) / *phase_ns* are stale at t. At most
    (w - t) / w are: when the file is closed, too, that opens another window, and any change
    falls into one.
    """
    zero, one = np.zeros_like(times_ns), np.ones_like(times_ns)
    match prediction:
        case AtOnce():
            return Band(zero, zero)
        case NotSeen():
            return Band(one, one)
        case Uniform(low_ns, high_ns, longer_ns, longest_ns):
            width_ns = max(1, high_ns - low_ns)
            return Band(
                np.clip((high_ns + longer_ns - times_ns) / width_ns, 0, 1),
                np.clip((high_ns + longest_ns - times_ns) / width_ns, 0, 1),
            )
        case Within(window_ns, deferred):
            propagation_ns = latest_ns(prediction) - window_ns
            if deferred:
                return Band(
                    (times_ns < window_ns).astype(float),
                    (times_ns < window_ns + propagation_ns).astype(float),
                )
            late_ns = window_ns + propagation_ns - times_ns
            return Band(
                np.clip((window_ns - propagation_ns - times_ns) / max(1, phase_ns), 0, 1),
                # Changes that all come early in a window wait for most of it.
                np.where(
                    late_ns > 0, np.clip(late_ns / max(1, min(window_ns, phase_ns)), 0, 1), 0.0
                ),
            )
        case WriteBackDelay(age_ns):
            return Band(
                (times_ns < age_ns).astype(float),
                (times_ns < latest_ns(prediction)).astype(float),
            )
        case Mixture(parts):
            bands = [(weight, predicted_band(part, phase_ns, times_ns)) for weight, part in parts]
            return Band(
                sum((weight * band.low for weight, band in bands), zero),
                sum((weight * band.high for weight, band in bands), zero),
            )
    raise AssertionError(prediction)


def band_of_reads(
    prediction: Prediction, phase_ns: int, samples: Sequence[StalenessSample], times_ns: Numbers
) -> Band:
    """As predicted_band(), its lower edge earlier by how long the reads of *samples* took.

    A prediction is about answers, and a read that begins before one changes may get the new one: it
    takes its time, and so does the call that makes the change. The lower edge is therefore earlier
    for each sample by its own read. One that was stalled says nothing of the others.
    """
    band = predicted_band(prediction, phase_ns, times_ns)
    reads_ns = Counter(
        each.upper_ns - each.seen_ns
        for each in samples
        if each.upper_ns is not None and each.seen_ns is not None
    )
    if not reads_ns:
        return band
    lows = [
        times * predicted_band(prediction, phase_ns, times_ns + read_from_ns).low
        for read_from_ns, times in reads_ns.items()
    ]
    return Band(sum(lows, np.zeros_like(times_ns)) / reads_ns.total(), band.high)


def departure_ns(
    prediction: Prediction,
    phase_ns: int,
    samples: Sequence[StalenessSample],
    confidence: float = CONFIDENCE,
) -> int | None:
    """When *samples* first contradict *prediction*, in ns since the change; None if never.

    The band is that of *confidence*.
    The band's edges and the predicted curves only fall, so that it is enough to compare where the
    edges do: if they miss each other anywhere, they do there.
    """
    curve = Curve.of(samples)
    times_ns = curve.moments_ns
    measured = curve.band(times_ns, confidence)
    predicted = band_of_reads(prediction, phase_ns, samples, times_ns)
    apart = np.flatnonzero((measured.low > predicted.high) | (measured.high < predicted.low))
    return int(times_ns[apart[0]]) if apart.size else None
