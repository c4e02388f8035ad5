"""How stale each view of a file may be, and whether what was measured agrees. Pure.

A view is fresh again when its cached answer times out or when an event of the host
invalidates it, whichever comes first. A change at a time that has nothing to do with the
guest's reads meets a cached answer at any age, so staleness is uniform between 0 and the
timeout.
"""

import enum
import math
import os
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from osxfs_sim.model.caching import CachePolicy
from osxfs_sim.model.events import EventSpec
from osxfs_sim.model.formatting import format_duration
from osxfs_sim.model.write_back import WriteBackSpec


class Direction(enum.StrEnum):
    """Which side reads: the change was made on the other one."""

    TO_GUEST = "to-guest"
    TO_HOST = "to-host"


class View(enum.StrEnum):
    """The ways in which a guest, or the host, sees a file."""

    EXISTENCE = "existence"
    ABSENCE = "absence"
    ATTRIBUTES = "attributes"
    CONTENT = "content"
    LISTING = "listing"
    HANDLE = "handle"
    MAPPING = "mapping"


@dataclass(frozen=True, slots=True)
class PredictedTimeouts:
    """How long the guest's kernel keeps what it caches of a file, by a policy's answers, in ns."""

    entry_timeout_ns: int = 0
    """How long a dentry that was found is valid."""
    attr_timeout_ns: int = 0
    """How long attributes are valid."""
    negative_timeout_ns: int = 0
    """How long a negative dentry is valid."""
    keeps_pages: bool = False
    """Whether an open keeps the page cache (FOPEN_KEEP_CACHE)."""

    @classmethod
    def by(cls, policy: CachePolicy, now_ns: int) -> "PredictedTimeouts":
        """The timeouts that *policy* gives a new, empty file at *now_ns* since 1970."""
        status = os.stat_result((0o100644, 1, 1, 1, 0, 0, 0, 0, 0, 0), {"st_mtime_ns": now_ns})
        entry_timeout_ns, attr_timeout_ns = policy.found(b"file", status, now_ns)
        negative_timeout_ns = policy.negative_timeout_ns(b"file", now_ns)
        return cls(
            entry_timeout_ns,
            attr_timeout_ns,
            negative_timeout_ns,
            policy.keep_pages(status, now_ns),
        )

    def cache_timeout_ns(self, view: View) -> int | None:
        """For how many ns, without events, *view* may be stale; None: no end."""
        match view:
            case View.EXISTENCE:
                return self.negative_timeout_ns
            case View.ABSENCE:
                return self.entry_timeout_ns
            case View.ATTRIBUTES:
                # A lookup of the name brings the attributes too.
                return min(self.entry_timeout_ns, self.attr_timeout_ns)
            case View.CONTENT:
                cache_timeout_ns = min(self.entry_timeout_ns, self.attr_timeout_ns)
                return cache_timeout_ns if self.keeps_pages else 0
            case View.LISTING:
                return 0  # the guest's kernel is not asked to keep listings
            case View.HANDLE:
                return self.attr_timeout_ns
            case View.MAPPING:
                return None  # reading memory makes no request


@dataclass(frozen=True, slots=True)
class Prediction:
    """How stale one view may be: the base of all kinds of predictions."""


@dataclass(frozen=True, slots=True)
class AtOnce(Prediction):
    """The first read that begins after the change returns the new state."""

    def __str__(self) -> str:
        return "at once"


@dataclass(frozen=True, slots=True)
class Uniform(Prediction):
    """Anything between two times, equally likely; and then *longer_ns* to *longest_ns* more."""

    low_ns: int
    """The least."""
    high_ns: int
    """The most, by the timeout as it was asked for."""
    longer_ns: int = 0
    """By how much the kernel lengthens every timeout at least: its rounding to ticks."""
    longest_ns: int = 0
    """By how much it lengthens one at most: a tick more."""

    def __str__(self) -> str:
        low = format_duration(self.low_ns) if self.low_ns else "0"
        return f"uniform, {low} to {format_duration(self.high_ns)}"


@dataclass(frozen=True, slots=True)
class Within(Prediction):
    """At most a window of the host's event stream: its event invalidates the cached answer."""

    limit_ns: int
    """The stream's window (StreamSpec.latency_ns); propagation beyond it is allowed for by
    ``latest_ns``."""
    deferred: bool = False
    """Whether every event waits for the end of a window; False: the first after a quiet one does
    not."""

    def __str__(self) -> str:
        return f"event within {format_duration(self.limit_ns)}"


@dataclass(frozen=True, slots=True)
class NotSeen(Prediction):
    """Longer than is waited for."""

    why: str
    """The reason, in a phrase."""

    def __str__(self) -> str:
        return f"not seen: {self.why}"


@dataclass(frozen=True, slots=True)
class WriteBackDelay(Prediction):
    """Exactly that, and the propagation: a dirty change is written back when it is so old."""

    age_ns: int
    """WriteBackSpec.age_ns: how long a change stays dirty before it is written back."""

    def __str__(self) -> str:
        return f"held for {format_duration(self.age_ns)}"


@dataclass(frozen=True, slots=True)
class Mixture(Prediction):
    """One of several, each with its probability: they add up to 1."""

    parts: tuple[tuple[float, Prediction], ...]
    """Weights, which add up to 1, and what is predicted with each."""

    def __post_init__(self) -> None:
        assert math.isclose(sum(weight for weight, _ in self.parts), 1.0), self.parts

    def __str__(self) -> str:
        return "; ".join(f"{100 * weight:g}% {part}" for weight, part in self.parts)


@dataclass(frozen=True, slots=True)
class Outlook:
    """What to expect of a view and how to measure it."""

    prediction: Prediction | None
    """How stale the view may be; None where the policy is not known."""
    phase_ns: int
    """Each change comes at a random time of at most this after the read before it."""
    patience_ns: int
    """How long a change is waited for until it counts as not seen."""
    if_silent: Prediction | None = None
    """What would be predicted if lost events were lost without a rescan; None where none are lost
    on purpose."""


_PATIENCE_NS = 2_000_000_000
# No timeout above is waited for: what outlives the patience is a finding, too.
_LONGEST_WAITED_FOR_NS = 30_000_000_000
_SHORTEST_PHASE_NS = 5_000_000


def outlook(
    view: View,
    timeouts: PredictedTimeouts | None,
    events: EventSpec,
    tick_ns: int = 1,
    patience_ns: int | None = None,
) -> Outlook:
    """The predicted staleness of a guest's *view*, and how to measure it; none without *timeouts*.

    The kernel counts cache timeouts in ticks of *tick_ns*: it rounds them up, and lets them end
    with the tick after that (fs/fuse/dir.c, time_to_jiffies and time_before64). *patience_ns*
    None: twice the timeout or 2 s, whichever is longer; 2 s for a timeout above half a minute.
    """
    cache_timeout_ns = 0 if timeouts is None else timeouts.cache_timeout_ns(view)
    window_ns = None if events.stream is None else events.stream.latency_ns
    if patience_ns is None:
        patience_ns = max(_PATIENCE_NS, 2 * (window_ns or 0))
        if cache_timeout_ns is not None and cache_timeout_ns <= _LONGEST_WAITED_FOR_NS:
            patience_ns = max(patience_ns, 2 * cache_timeout_ns)
    # With a stream, a change must meet its window anywhere too.
    phase_ns = max(_SHORTEST_PHASE_NS, 2 * (window_ns or 0))
    if timeouts is None:
        return Outlook(None, phase_ns, patience_ns)
    if cache_timeout_ns == 0:
        return Outlook(AtOnce(), phase_ns, patience_ns)
    if window_ns is not None and (cache_timeout_ns is None or cache_timeout_ns > window_ns):
        if cache_timeout_ns is not None:
            phase_ns = min(phase_ns, cache_timeout_ns)
        assert events.stream is not None
        return Outlook(Within(window_ns, not events.stream.no_defer), phase_ns, patience_ns)
    if cache_timeout_ns is None:
        return Outlook(NotSeen("no request"), phase_ns, patience_ns)
    # An hour is not waited to meet a cached answer at its timeout.
    phase_ns = min(cache_timeout_ns, patience_ns)
    low_ns = cache_timeout_ns - phase_ns
    if low_ns >= patience_ns:
        why = f"cached for {format_duration(cache_timeout_ns)}"
        return Outlook(NotSeen(why), phase_ns, patience_ns)
    rounding_ns = -cache_timeout_ns % tick_ns
    uniform = Uniform(low_ns, cache_timeout_ns, rounding_ns, rounding_ns + tick_ns)
    return Outlook(uniform, phase_ns, patience_ns)


def outlook_to_host(write_back: WriteBackSpec | None) -> Outlook:
    """The prediction of when the host sees a guest's change: at once without *write_back*.

    Without write-back (None) a change is on the host when the guest's call returns. With it, a
    change is dirty for as long as it may be: a single one meets no other limit
    (docs/write-back.md).
    """
    if write_back is None:
        return Outlook(AtOnce(), _SHORTEST_PHASE_NS, _PATIENCE_NS)
    patience_ns = max(_PATIENCE_NS, 2 * write_back.age_ns)
    return Outlook(WriteBackDelay(write_back.age_ns), _SHORTEST_PHASE_NS, patience_ns)


def with_losses(known: Outlook, without_events: Outlook, rate: float) -> Outlook:
    """*known* with, in *if_silent*, the prediction if events were silently lost at *rate*.

    No loss is silent here: the stream reports it when the event would have come, and the share
    rescans, and invalidates what is cached below the place (docs/events.md). So *known* stays what
    is predicted; what a silent loss would cost, a timeout *without_events*, is what it is to be
    told apart from.
    """
    otherwise = without_events.prediction
    if not isinstance(known.prediction, Within) or otherwise is None:
        return known
    if isinstance(otherwise, Uniform):
        # The changes come as early before the timeout as they do for the events' sake.
        otherwise = replace(otherwise, low_ns=max(0, otherwise.high_ns - known.phase_ns))
    parts = ((1 - rate, known.prediction), (rate, otherwise))
    return replace(known, if_silent=Mixture(parts))


@dataclass(frozen=True, slots=True)
class StalenessSample:
    """One change, and the reads until its new state was returned.

    The answer changed between *lower_ns* and *upper_ns* after the change. Of a change that was not
    seen, *lower_ns* is how long it is known to have been stale.
    """

    phase_ns: int
    """How long after the read before it the change was made."""
    stale_reads: int
    """How many reads returned the old state after it."""
    lower_ns: int
    """From the change's return to the begin of the last stale read; 0 if there was none."""
    seen_ns: int | None = None
    """From the change's return to the begin of the first fresh read; None: there was none."""
    upper_ns: int | None = None
    """From the change's call to the end of the first fresh read; None: there was none."""


@dataclass(frozen=True, slots=True)
class PredictionTest:
    """Whether samples agree with a prediction, and by which statistic.

    It is half of a verdict: the whole curve is the other (ViewResult.agrees).
    """

    agrees: bool
    """Whether they do."""
    text: str
    """The test's number, for a table."""
    distance: float | None = None
    """The Kolmogorov-Smirnov distance, 0 to 1; None where another test was made."""
    critical: float | None = None
    """The distance from which on they do not agree; None likewise."""


# What an event may take from the host's stream to the guest's caches beyond the window,
# and how much of the samples must keep to that: the machine is shared.
_PROPAGATION_NS = 5_000_000
_KEEP_TO_IT = 0.9


def latest_ns(prediction: Within | WriteBackDelay) -> int:
    """By when, in ns, nearly every change must be seen: the predicted time and an allowance."""
    if isinstance(prediction, WriteBackDelay):
        return prediction.age_ns + 2 * _PROPAGATION_NS  # and the crossing
    return prediction.limit_ns + prediction.limit_ns // 10 + _PROPAGATION_NS


def compare(prediction: Prediction, samples: Sequence[StalenessSample]) -> PredictionTest:
    """Test whether *samples* agree with *prediction*. Raises AssertionError for a Mixture.

    Raises AssertionError for a Mixture: it is a curve alone.
    """
    assert not isinstance(prediction, Mixture), prediction
    number = len(samples)
    match prediction:
        case Uniform():
            return _compare_uniform(prediction, samples)
        case Within() | WriteBackDelay():
            bound_ns = latest_ns(prediction)
            kept = sum(
                sample.seen_ns is not None and sample.lower_ns <= bound_ns for sample in samples
            )
            text = f"{kept}/{number} in {format_duration(bound_ns)}"
            early = _early(prediction, samples)
            if early:
                text += f", {early} early"
            return PredictionTest(kept >= _KEEP_TO_IT * number and not early, text)
        case NotSeen():
            seen = sum(sample.seen_ns is not None for sample in samples)
            return PredictionTest(seen == 0, f"{seen}/{number} seen")
    late = sum(sample.stale_reads > 0 for sample in samples)
    return PredictionTest(late == 0, f"{late}/{number} stale")


def _early(prediction: Within | WriteBackDelay, samples: Sequence[StalenessSample]) -> int:
    """How many were seen before they may have been written back: one seen at once was not dirty."""
    if not isinstance(prediction, WriteBackDelay):
        return 0
    return sum(
        sample.upper_ns is not None and sample.upper_ns < prediction.age_ns for sample in samples
    )


def _compare_uniform(prediction: Uniform, samples: Sequence[StalenessSample]) -> PredictionTest:
    lower_ns = np.array([sample.lower_ns for sample in samples], dtype=float)
    upper_ns = np.array(
        [math.inf if sample.upper_ns is None else sample.upper_ns for sample in samples]
    )
    # By how much the timeout was lengthened is not known either.
    lower_ns -= prediction.longest_ns
    upper_ns -= prediction.longer_ns
    distance = distance_from_uniform(lower_ns, upper_ns, prediction.low_ns, prediction.high_ns)
    critical = critical_distance(len(samples))
    text = f"D {distance:.2f} of {critical:.2f}"
    return PredictionTest(distance <= critical, text, distance, critical)


def distance_from_uniform(
    lower_ns: "np.ndarray[tuple[int], np.dtype[np.float64]]",
    upper_ns: "np.ndarray[tuple[int], np.dtype[np.float64]]",
    low_ns: float,
    high_ns: float,
) -> float:
    """The least Kolmogorov-Smirnov distance from uniform of samples known in bounds.

    The distribution of the samples lies between those of their upper and lower
    bounds, so only what lies outside that band counts. With equal bounds it is
    the usual distance, from 0 to 1.
    """
    number = len(lower_ns)
    width_ns = high_ns - low_ns
    at_upper = np.clip((np.sort(upper_ns) - low_ns) / width_ns, 0, 1)
    at_lower = np.clip((np.sort(lower_ns) - low_ns) / width_ns, 0, 1)
    ranks = np.arange(1, number + 1) / number
    above = np.max(ranks - at_upper)
    below = np.max(at_lower - (ranks - 1 / number))
    return max(0.0, float(above), float(below))


def critical_distance(number: int) -> float:
    """The Kolmogorov-Smirnov distance that 1 % of sets of *number* true samples exceed.

    Stephens' approximation of the distribution of Kolmogorov's statistic (1974).
    """
    root = math.sqrt(number)
    return 1.628 / (root + 0.12 + 0.11 / root)
