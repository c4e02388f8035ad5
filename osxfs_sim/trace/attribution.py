"""Divides the wall time among requests: each instant evenly among those in flight.

A process that waits for one request waits for all of its time; where two wait
at once, neither request alone could have been spared with all the time that
both took. Divided evenly, the parts add up to the time in which at least one
request was in flight, whatever overlaps.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from osxfs_sim.trace.requests import Flags, Integers

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Divided:
    """The time of a trace, divided among its requests."""

    waiting_ns: int
    """The time with at least one request in flight: exact."""
    shares_ns: Floats
    """Shape (requests,): each request's part of it, exact up to rounding."""
    depth_ns: tuple[int, ...]
    """Nanoseconds with 0, 1, 2... requests in flight, from the first begin to the last end."""


def divide(begin_ns: Integers, end_ns: Integers) -> Divided:
    """Divide the time with requests in flight evenly among those; ns arrays of shape (n,)."""
    count = len(begin_ns)
    if not count:
        return Divided(0, np.zeros(0), (0,))
    times = np.concatenate((begin_ns, end_ns))
    order = np.argsort(times, kind="stable")
    steps = np.ones(2 * count, np.int64)
    steps[count:] = -1
    depth = np.cumsum(steps[order])[:-1]
    passed = np.diff(times[order])
    busy = depth > 0
    waiting_ns = int(passed[busy].sum())
    # What a request would have had that had been on its way since the first begin. Extended
    # precision, because each request's share is the difference of two large numbers.
    had = np.zeros(2 * count, np.longdouble)
    np.cumsum(np.where(busy, passed / np.maximum(depth, 1), 0), dtype=np.longdouble, out=had[1:])
    at = np.empty_like(had)
    at[order] = had
    shares = np.asarray(at[count:] - at[:count], np.float64)
    depth_ns = np.zeros(int(depth.max(initial=0)) + 1, np.int64)
    np.add.at(depth_ns, depth, passed)
    return Divided(waiting_ns, shares, tuple(int(each) for each in depth_ns))


def idle_after(begin_ns: Integers, end_ns: Integers, awaited: Flags, until_ns: int) -> Integers:
    """Per request, the ns from its answer to the next arrival with none in flight, as int64, (n,).

    In the order of arrival; the last is followed until *until_ns*. Of several that overlap the
    one that is answered last has it. A request for which no process waits (not *awaited*) has 0.
    """
    idle = np.zeros(len(begin_ns), np.int64)
    rows = np.flatnonzero(awaited)
    if not len(rows):
        return idle
    begins, ends = begin_ns[rows], end_ns[rows]
    latest_ns = np.maximum.accumulate(ends)
    latest = np.maximum.accumulate(np.where(ends == latest_ns, np.arange(len(rows)), 0))
    gaps = np.maximum(np.append(begins[1:], max(until_ns, 0)) - latest_ns, 0)
    np.add.at(idle, rows[latest], gaps)
    return idle


def allot(weights: Floats, total_ns: int) -> Integers:
    """Divide *total_ns* by *weights* into whole ns that add up exactly; zeros if all weights are 0.

    Zeros where the weights add up to nothing.
    """
    whole = float(weights.sum())
    if not len(weights) or whole <= 0:
        return np.zeros(len(weights), np.int64)
    exact = weights / whole * total_ns
    parts = np.asarray(np.floor(exact), np.int64)
    left = total_ns - int(parts.sum())
    if left > 0:
        by_remainder = np.argsort(parts - exact, kind="stable")
        np.add.at(parts, by_remainder[np.arange(left) % len(parts)], 1)
    elif left < 0:  # the product was rounded up past a whole number
        by_size = np.argsort(-parts, kind="stable")
        np.add.at(parts, by_size[np.arange(-left) % len(parts)], -1)
    return parts
