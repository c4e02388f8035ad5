"""What was predicted beside what was measured: requests and wall time, and the error of each.

Beside the error of a prediction are those of what is simpler: the one-line model, and threads
alone, without any other dependency. One that is no better than they are says nothing by its time.
"""

import random
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from osxfs_sim.simulate.prediction import Predicted

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class Measured:
    """Live runs of one arm."""

    walls_ns: tuple[int, ...]
    """Wall times of the runs that did not fail, in the order taken."""
    requests: tuple[Mapping[str, int], ...]
    """Of each of them the requests that crossed, by the protocol's names."""
    failures: tuple[str, ...] = ()
    """Why the others do not count."""


@dataclass(frozen=True, slots=True)
class Verified:
    """One arm, predicted and measured."""

    name: str
    """The arm's."""
    predicted_ns: int
    """The wall time predicted of the system itself."""
    measured_ns: int | None
    """The median wall time of live runs; None: all failed."""
    runs: int
    """How many runs that is the median of."""
    fastest_ns: int | None
    """The shortest of them; None: all failed."""
    slowest_ns: int | None
    """The longest of them; None: all failed."""
    error: float | None
    """Of the prediction, as a part of what was measured: 0.05 is 5 % too long."""
    one_line_error: float | None
    """Of native and each request's latency, one after the other."""
    here_ns: int | None
    """The wall time predicted of a live run, server and workload on the same processors; None:
    the recording does not say what its server took."""
    here_error: float | None
    """Of that prediction."""
    threads_error: float | None
    """Of a prediction by threads alone, of a live run where that can be had."""
    requests: dict[str, tuple[int, int]]
    """By operation: predicted, and the median measured. An operation with neither is not in it."""
    failures: tuple[str, ...]
    """Why runs do not count."""

    @property
    def counts_equal(self) -> bool | None:
        """Whether every operation was asked as often as was predicted; None: all runs failed."""
        if self.measured_ns is None:
            return None
        return all(predicted == measured for predicted, measured in self.requests.values())


def verified(predicted: Predicted, by_threads: Predicted, measured: Measured) -> Verified:
    """*predicted*, and the same arm *by_threads* alone, beside what was *measured*."""
    live_ns = round(statistics.median(measured.walls_ns)) if measured.walls_ns else None
    names = sorted({*predicted.requests, *(name for run in measured.requests for name in run)})
    counts = {
        name: (
            predicted.requests.get(name, 0),
            round(statistics.median(run.get(name, 0) for run in measured.requests)),
        )
        for name in names
        if measured.requests
    }
    return Verified(
        predicted.name,
        predicted.wall_ns,
        live_ns,
        len(measured.walls_ns),
        min(measured.walls_ns, default=None),
        max(measured.walls_ns, default=None),
        error_of(predicted.wall_ns, live_ns),
        error_of(predicted.one_line_ns, live_ns),
        predicted.here_ns,
        error_of(predicted.here_ns, live_ns),
        error_of(by_threads.wall_ns if by_threads.here_ns is None else by_threads.here_ns, live_ns),
        {name: both for name, both in counts.items() if any(both)},
        measured.failures,
    )


def error_of(predicted: int | None, measured: int | None) -> float | None:
    """By what part of *measured* the prediction is too large; None where one is not known."""
    return None if predicted is None or not measured else predicted / measured - 1


def drawn(arms: Sequence[_T], count: int, seed: int) -> list[_T]:
    """*count* of *arms*, drawn by *seed*, in their own order; all, if they are no more."""
    if count >= len(arms):
        return list(arms)
    chosen = sorted(random.Random(seed).sample(range(len(arms)), count))
    return [arms[i] for i in chosen]
