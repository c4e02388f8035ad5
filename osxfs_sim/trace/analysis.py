"""A trace's time, attributed. Pure: a table in, an Analysis out.

Every instant of the wall time is divided evenly among the requests that were on
their way in it; where there was none, it is the rest: the guest computed, or
was served by its own caches. So the parts of each breakdown and the rest add up
to the wall time, exactly, however many requests overlap.

Where the trace has a measured command, its wall time is what is analyzed:
requests outside are left out, and teach the caches of the causes nothing.
"""

import os
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from osxfs_sim.model.formatting import format_duration
from osxfs_sim.model.operations import Operation, OperationClass
from osxfs_sim.trace.attribution import Divided, Floats, allot, divide, idle_after
from osxfs_sim.trace.causes import NECESSARY, RULES, Replay
from osxfs_sim.trace.format import Header, TraceError, read_trace
from osxfs_sim.trace.requests import (
    HOST,
    UNKNOWN,
    Integers,
    Requests,
    Words,
    requests_of,
    window_of,
)

SHOWN_DIRECTORIES = 20
OTHERS = "others"
_BINS = 200
_EDGES_PER_DECADE = 10
BURST_GAP_NS = 1_000_000
"""Requests that arrive closer than this belong to one burst."""


@dataclass(frozen=True, slots=True)
class Part:
    """What one operation, directory or program had: requests, and their part of the wall time."""

    label: str
    """The operation, directory or program."""
    requests: int
    """How many."""
    time_ns: int
    """Their part of the time in which requests were in flight."""
    target_ns: int
    """Their target latencies by the latency model, summed up."""
    followed_ns: int = 0
    """The part of the rest that followed them, each until the next request; 0 where unknown."""


@dataclass(frozen=True, slots=True)
class Cause:
    """Requests that something could have spared.

    *remedy* names it (a policy such as ``negative``), *sentence* says it in
    figures. A request belongs to one cause at most, the first that fits.
    *followed_ns* is the part of the rest that followed them, each until the next request:
    what a request costs the guest beyond its waiting is in there.
    """

    label: str
    """What the requests have in common, in words."""
    remedy: str
    """What would have spared them: a policy such as ``negative``."""
    requests: int
    """How many; each belongs to one cause at most, the first that fits."""
    time_ns: int
    """Their part of the time in which requests were on their way."""
    sentence: str
    """The same in a sentence with figures."""
    followed_ns: int = 0
    """The part of the rest that followed them: what they cost the guest beyond waiting."""


@dataclass(frozen=True, slots=True)
class Analysis:
    """All that is known of a trace. Times in nanoseconds.

    *wall_ns* = *waiting_ns* (at least one request in flight) + *rest_ns*.
    Each breakdown adds up to *waiting_ns*; *operations* and so on are sorted by
    time, the longest first. So do *causes* and *necessary* together.
    *directories* has the first 20 and ``others``; *subtrees* has directories
    with all that lies below them, which therefore do not add up.
    *summary* says in sentences what the causes come to. *concurrency* is the
    time with 0, 1, 2... requests in flight. *timeline* has ``bin_ns``,
    ``start_ns`` (since the trace began) and under ``operations`` per operation
    the requests that arrived in each bin. *latency* has per class of operation
    ``edges_ns`` and the counts ``target`` and ``observed`` between them (what lies
    beyond the first or last edge is counted next to it), and the medians
    ``target_p50_ns`` and ``observed_p50_ns``. *reuse*: per kind of question (names,
    attributes, data, listings, links) how many ``requests`` there were, and how many of
    these had been answered ``before``, with nothing changed since. *bursts* has
    the percentiles of the gaps between requests (``gap_p50_ns``...), and of the
    number of requests in a run with gaps below 1 ms (``run_p50``...).
    """

    title: str
    """What was traced: a command, or a share."""
    wall_ns: int
    """How long the trace, or the command measured in it, went on."""
    waiting_ns: int
    """Of that, the time with at least one awaited request on its way."""
    rest_ns: int
    """All other time: ``wall_ns - waiting_ns``."""
    requests: int
    """How many were seen."""
    lost: int
    """How many are not in the trace."""
    operations: tuple[Part, ...]
    """By operation of the protocol; adds up to *waiting_ns*, the longest first."""
    directories: tuple[Part, ...]
    """By directory: the first 20, and ``others``; adds up to *waiting_ns*."""
    programs: tuple[Part, ...]
    """By program of the guest; adds up to *waiting_ns*."""
    answered_by: tuple[Part, ...]
    """By what answered, host or guest; adds up to *waiting_ns*."""
    causes: tuple[Cause, ...]
    """What could have been spared; with *necessary* it adds up to *waiting_ns*."""
    necessary: Part
    """What no cache could have spared."""
    concurrency: tuple[int, ...]
    """Nanoseconds with 0, 1, 2... requests on their way."""
    timeline: dict[str, Any]
    """Requests that arrived per operation and bin: ``bin_ns``, ``start_ns``, ``operations``."""
    latency: dict[str, Any]
    """Per class: counts ``target`` and ``observed`` between ``edges_ns``, and medians in ns."""
    reuse: dict[str, dict[str, int]]
    """Per kind of request: how many ``requests``, and how many were known ``before``."""
    bursts: dict[str, int]
    """Percentiles of gaps (``gap_p50_ns``...) and of runs with gaps below 1 ms (``run_p50``...)."""
    warnings: tuple[str, ...] = ()
    """What makes the figures doubtful, a sentence each."""
    subtrees: tuple[Part, ...] = ()
    """Directories with all that lies below them, which do not add up."""
    summary: tuple[str, ...] = ()
    """What the causes come to, in sentences."""

    def to_document(self) -> dict[str, Any]:
        """All fields of the analysis by their names, as a dictionary that JSON can hold."""
        return asdict(self)


def analyze_file(
    path: str | Path, *, wall_ns: int | None = None, directories: int = SHOWN_DIRECTORIES
) -> Analysis:
    """Analyze the trace file *path*. Raises TraceError if unreadable, or *wall_ns* is too short.

    The other arguments are those of ``analyze``.
    """
    header, table = read_trace(path)
    return analyze(header, table, title=os.fspath(path), wall_ns=wall_ns, directories=directories)


def analyze(
    header: Header,
    table: pa.Table,
    *,
    title: str,
    wall_ns: int | None = None,
    directories: int = SHOWN_DIRECTORIES,
) -> Analysis:
    """Analyze a trace, *table* being by arrival. Raises TraceError, also for too short a *wall_ns*.

    *wall_ns* is what a clock outside has measured, where the trace itself does
    not know it (an imported log). So many *directories* are named, the hottest, and
    the others summed up. Raises TraceError where the wall time is shorter than the
    time in which requests were on their way.
    """
    window = window_of(header, table)
    requests = requests_of(table, window)
    divided = divide(requests.begin_ns, requests.end_ns)
    waiting_ns = divided.waiting_ns
    if wall_ns is None:
        wall_ns = window[1] - window[0]
    if wall_ns < waiting_ns:
        raise TraceError(
            f"a wall time of {format_duration(wall_ns)} cannot be: requests were on their way for "
            f"{format_duration(waiting_ns)}; give that of the whole command"
        )
    parts = _Breakdown(requests, divided)
    replay = Replay(requests)
    followed = idle_after(requests.begin_ns, requests.end_ns, requests.awaited, window[1])
    causes, necessary, summary = _causes(requests, replay, parts, followed, wall_ns)
    places = parts.by(requests.directory)
    return Analysis(
        title=title,
        wall_ns=wall_ns,
        waiting_ns=waiting_ns,
        rest_ns=wall_ns - waiting_ns,
        requests=len(requests),
        lost=header.lost,
        operations=parts.by(requests.operation),
        directories=_first(places, directories),
        programs=parts.by(requests.program),
        answered_by=parts.by(requests.answered_by),
        causes=causes,
        necessary=necessary,
        concurrency=(wall_ns - waiting_ns, *divided.depth_ns[1:]),
        timeline=_timeline(requests, window),
        latency=_latency(requests),
        reuse=replay.reuse(),
        bursts=_bursts(requests),
        warnings=tuple(_warnings(header, table, requests)),
        subtrees=_subtrees(places, directories),
        summary=(*summary, *_of_floor(header, requests)),
    )


class _Breakdown:
    """Sums up requests and their shares of the time, so that they add up exactly."""

    def __init__(self, requests: Requests, divided: Divided) -> None:
        self._shares: Floats = divided.shares_ns
        self._waiting_ns = divided.waiting_ns
        self._target_ns = np.asarray(requests.target_ns, np.float64)

    def sums(self, codes: Integers, labels: int) -> tuple[Integers, Integers, Integers]:
        """Per code: requests, time and what was asked for."""
        counts = np.bincount(codes, minlength=labels)
        times = allot(np.bincount(codes, self._shares, labels).astype(np.float64), self._waiting_ns)
        return counts, times, np.bincount(codes, self._target_ns, labels).astype(np.int64)

    def by(self, words: Words) -> tuple[Part, ...]:
        sums = zip(words.labels, *self.sums(words.codes, len(words.labels)), strict=True)
        parts = [
            Part(label, int(count), int(time_ns), int(target_ns))
            for label, count, time_ns, target_ns in sums
            if count
        ]
        return tuple(sorted(parts, key=_longest_first))


def _longest_first(part: Part) -> tuple[int, int, str]:
    return (-part.time_ns, -part.requests, part.label)


def _sum(label: str, parts: tuple[Part, ...]) -> Part:
    return Part(
        label,
        sum(part.requests for part in parts),
        sum(part.time_ns for part in parts),
        sum(part.target_ns for part in parts),
    )


def _first(parts: tuple[Part, ...], count: int) -> tuple[Part, ...]:
    others = parts[count:]
    return (*parts[:count], *([_sum(OTHERS, others)] if others else []))


def _subtrees(directories: tuple[Part, ...], count: int) -> tuple[Part, ...]:
    """The hottest directories with all below them; those with nothing below are left out."""
    below: dict[str, list[Part]] = {}
    for part in directories:
        if part.label.startswith("/"):
            for place in _upwards(part.label):
                below.setdefault(place, []).append(part)
    found = [_sum(place, tuple(parts)) for place, parts in below.items() if len(parts) > 1]
    return tuple(sorted(found, key=_longest_first)[:count])


def _upwards(directory: str) -> Iterator[str]:
    place = directory
    while place not in ("", "/"):
        yield place
        place = place.rpartition("/")[0]
    yield "/"


def _causes(
    requests: Requests, replay: Replay, parts: _Breakdown, followed: Integers, wall_ns: int
) -> tuple[tuple[Cause, ...], Part, tuple[str, ...]]:
    """The causes, what is necessary, and what to say of both."""
    classes = replay.classes()
    counts, times, asked = parts.sums(classes, NECESSARY + 1)
    idle = np.bincount(classes, followed, NECESSARY + 1).astype(np.int64)
    causes = []
    by_remedy: dict[str, tuple[int, int]] = {}
    for index, rule in enumerate(RULES):
        count, time_ns, followed_ns = int(counts[index]), int(times[index]), int(idle[index])
        if count:
            said = f"{_product(count, rule.what, time_ns, wall_ns)}: {rule.saying}"
            causes.append(Cause(rule.label, rule.remedy, count, time_ns, said, followed_ns))
            before = by_remedy.get(rule.remedy, (0, 0))
            by_remedy[rule.remedy] = before[0] + time_ns, before[1] + followed_ns
    causes.sort(key=lambda cause: (-cause.time_ns, -cause.requests, cause.label))
    necessary = Part(
        "necessary",
        *(int(counts[NECESSARY]), int(times[NECESSARY]), int(asked[NECESSARY])),
        int(idle[NECESSARY]),
    )
    summary = [
        *_of_missing_names(requests, classes, parts, wall_ns),
        *_of_remedies(by_remedy, necessary, wall_ns),
    ]
    return tuple(causes), necessary, tuple(summary)


def _product(count: int, what: str, time_ns: int, wall_ns: int) -> str:
    return (
        f"{count:,} {what} x {format_duration(time_ns / count)} = {format_duration(time_ns)} "
        f"of {format_duration(wall_ns)}"
    )


def _of_missing_names(
    requests: Requests, classes: Integers, parts: _Breakdown, wall_ns: int
) -> Iterator[str]:
    """One sentence on all lookups of missing names that crossed, if there were any."""
    index_of = {rule.key: index for index, rule in enumerate(RULES)}
    crossed = requests.missing & (classes != index_of["inside"])
    counts, times, _ = parts.sums(np.where(crossed, classes, NECESSARY + 1), NECESSARY + 2)
    count, time_ns = int(counts[:-1].sum()), int(times[:-1].sum())
    if not count:
        return
    said = []
    for index, many, one, why in (
        (index_of["negative"], "repeats", "a repeat", "that a negative cache answers"),
        (
            index_of["complete"],
            "first lookups",
            "a first lookup",
            "that only a complete negative cache answers",
        ),
        (
            NECESSARY,
            "first lookups",
            "a first lookup",
            "in directories of which nothing was known",
        ),
    ):
        if counts[index]:
            what = f"is {one}" if counts[index] == 1 else f"are {many}"
            time = format_duration(int(times[index]))
            said.append(f"{counts[index]:,} {what} {why} ({time})")
    product = _product(count, "lookups of missing names", time_ns, wall_ns)
    yield f"{product}: {'; '.join(said)}"


def _of_remedies(
    by_remedy: dict[str, tuple[int, int]], necessary: Part, wall_ns: int
) -> Iterator[str]:
    """What each policy would spare at most: each does what the one before it does, too.

    The waiting for a request is spared with it. What followed, until the next came, may be:
    there the guest was woken, its processor and caches cold, and there it computed. These cannot
    be told apart from outside; together they are the most that it can have cost.
    """
    waited_ns = followed_ns = 0
    said, of_waiting = [], []
    for policy in ("cached", "negative", "complete"):
        more = by_remedy.get(policy, (0, 0))
        waited_ns, followed_ns = waited_ns + more[0], followed_ns + more[1]
        said.append(f"{policy} {_at_most(waited_ns + followed_ns, wall_ns)}")
        of_waiting.append(format_duration(waited_ns))
    held_ns, after_held_ns = by_remedy.get("delegated", (0, 0))
    yield (
        f"of {format_duration(wall_ns)}, ideal caches spare at most: {', '.join(said)}; write-back "
        f"besides {_at_most(held_ns + after_held_ns, wall_ns)}; requests of "
        f"{format_duration(necessary.time_ns)} are necessary"
    )
    if followed_ns or after_held_ns:
        yield (
            f"of these, {', '.join(of_waiting)} and {format_duration(held_ns)} are waiting for the "
            "share; the other part followed these requests, each until the next: the guest was "
            "woken, which is spared with them, and computed, which is not"
        )


def _of_floor(header: Header, requests: Requests) -> Iterator[str]:
    """What the machine itself takes of the waiting, where it was measured."""
    crossed = int(np.count_nonzero(requests.awaited & requests.answered_by.are(HOST)))
    if header.floor_ns > 0 and crossed:
        yield (
            f"this machine's own part of the waiting: {crossed:,} requests x "
            f"{format_duration(header.floor_ns)}, its floor when the share was mounted, = "
            f"{format_duration(crossed * header.floor_ns)}"
        )


def _at_most(time_ns: int, wall_ns: int) -> str:
    return format_duration(min(time_ns, wall_ns))


def _timeline(requests: Requests, window: tuple[int, int]) -> dict[str, Any]:
    start, end = window
    bin_ns = max(-(-(end - start) // _BINS), 1)
    bins = max(-(-(end - start) // bin_ns), 1)
    at = np.minimum((requests.begin_ns - start) // bin_ns, bins - 1)
    labels = requests.operation.labels
    counts = np.bincount(requests.operation.codes * bins + at, minlength=len(labels) * bins)
    rows = counts.reshape(len(labels), bins)
    by_frequency = sorted(range(len(labels)), key=lambda code: (-rows[code].sum(), labels[code]))
    operations = {labels[code]: rows[code].tolist() for code in by_frequency if rows[code].any()}
    return {"bin_ns": int(bin_ns), "start_ns": start, "operations": operations}


_CLASS_OF = {operation.name: operation.operation_class for operation in Operation}


def _latency(requests: Requests) -> dict[str, Any]:
    """How target and observed latencies are distributed, per class of operation."""
    found: dict[str, Any] = {}
    for kind in OperationClass:
        operations = [label for label, each in _CLASS_OF.items() if each is kind]
        of_kind = requests.operation.are(*operations) & requests.awaited
        observed = requests.took_ns[of_kind]
        target = requests.target_ns[of_kind]
        target = target[target > 0]  # what a cache of the share answers has none
        if not len(observed):
            continue
        edges = _edges(np.concatenate((target, observed)))
        found[kind.label] = {
            "edges_ns": edges.tolist(),
            "target": _counted(target, edges),
            "observed": _counted(observed, edges),
            "target_p50_ns": int(np.median(target)) if len(target) else None,
            "observed_p50_ns": int(np.median(observed)),
        }
    return found


def _edges(values: Integers) -> Integers:
    """Edges in equal steps of the logarithm around all *values*."""
    low = np.floor(np.log10(max(int(values.min()), 1)) * _EDGES_PER_DECADE)
    high = np.floor(np.log10(max(int(values.max()), 1)) * _EDGES_PER_DECADE) + 1
    steps = np.arange(low, high + 1)
    powers = np.minimum(10 ** (steps / _EDGES_PER_DECADE), 2.0**62)  # damage may claim anything
    edges = np.unique(np.round(powers).astype(np.int64))
    return edges if len(edges) > 1 else np.append(edges, edges[-1] + 1)


def _counted(values: Integers, edges: Integers) -> list[int]:
    places = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, len(edges) - 2)
    counts: list[int] = np.bincount(places, minlength=len(edges) - 1).tolist()
    return counts


_PERCENTILES = (50, 90, 99)


def _bursts(requests: Requests) -> dict[str, int]:
    """Percentiles of the gaps between arrivals, and of the lengths of runs without a long gap."""
    arrivals = requests.begin_ns[requests.awaited]
    if not len(arrivals):
        return {}
    gaps = np.diff(arrivals)
    ends = np.flatnonzero(np.append(gaps >= BURST_GAP_NS, True))
    runs = np.diff(ends, prepend=-1)
    found = {"runs": len(runs)}
    for name, unit, values in (("gap", "_ns", gaps), ("run", "", runs)):
        if len(values):
            for percent in _PERCENTILES:
                found[f"{name}_p{percent}{unit}"] = int(np.percentile(values, percent))
            found[f"{name}_max{unit}"] = int(values.max())
    return found


def _warnings(header: Header, table: pa.Table, requests: Requests) -> Iterator[str]:
    if not len(requests):
        yield "there is no request in it: everything was answered by the guest's caches"
    if header.failure:
        yield f"the trace is not whole: {header.failure}"
    if header.lost:
        yield (
            f"{header.lost:,} requests found no room in the trace: counts and times are too low, "
            "and the rest is too large"
        )
    outside = table.num_rows - len(requests)
    if outside:
        yield f"{outside:,} requests before or after the measured command are left out"
    strange = sorted({*requests.operation.labels} - {*_CLASS_OF} - {UNKNOWN})
    if strange:
        yield f"operations that this version does not know have no cause: {', '.join(strange)}"
    said = header.notes.get("warnings")
    if isinstance(said, list):
        yield from map(str, said)
