"""What the results are held against. Pure: a result goes in, verdicts come out.

A target names a benchmark, the figure it looks at in that benchmark's result,
and the bounds the figure must keep. Where several rows are meant, the figure
is the worst of them. A result without the rows (no pass-through installed, no
root) gives the verdict NOT_MEASURED, which is neither met nor missed.
"""

import enum
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

Result = dict[str, Any]
"""What a benchmark's measure() returns."""


class Verdict(enum.Enum):
    """What a result says of a target."""

    MET = "met"
    MISSED = "missed"
    NOT_MEASURED = "not measured"


@dataclass(frozen=True, slots=True)
class Target:
    """A bound that a benchmark's figure must keep.

    *below* is a bound that must not be reached.
    """

    name: str
    """A short name, unique among the targets."""
    benchmark: str
    """The benchmark whose result it is judged by."""
    text: str
    """The bound in words, with its unit."""
    unit: str
    """The unit of the figure and its bounds."""
    figure: Callable[[Result], Iterable[float]]
    """Returns every value in a result that must lie within the bounds."""
    at_least: float = -math.inf
    """The least allowed value."""
    at_most: float = math.inf
    """The largest allowed value."""
    below: float = math.inf
    """A bound that must not be reached."""

    def missed_by(self, value: float) -> float:
        """How far outside the bounds: 0 inside, and never 0 for a value on the forbidden bound."""
        if value < self.at_least:
            return self.at_least - value
        if value > self.at_most:
            return value - self.at_most
        if value >= self.below:
            return max(value - self.below, math.ulp(self.below))
        return 0.0

    def judge(self, result: Result) -> "Judgement":
        """The verdict by the worst value of the figure; NOT_MEASURED without one, or with NaN."""
        values = list(self.figure(result))
        if not values or any(math.isnan(value) for value in values):
            return Judgement(self, Verdict.NOT_MEASURED, None, 0.0)
        worst = max(values, key=lambda value: (self.missed_by(value), -self._room(value)))
        missed_by = self.missed_by(worst)
        return Judgement(self, Verdict.MISSED if missed_by else Verdict.MET, worst, missed_by)

    def _room(self, value: float) -> float:
        return min(value - self.at_least, self.at_most - value, self.below - value)


@dataclass(frozen=True, slots=True)
class Judgement:
    """What a result says of a target, and by how much."""

    target: Target
    """What is judged."""
    verdict: Verdict
    """Whether it is met."""
    value: float | None
    """The worst of the figure's values; None where it was not measured."""
    missed_by: float
    """How far outside the bounds that is, in the target's unit; 0 inside."""

    def as_plain_values(self) -> dict[str, Any]:
        """As a result file keeps it."""
        return {
            "name": self.target.name,
            "text": self.target.text,
            "verdict": self.verdict.value,
            "value": self.value,
            "missed_by": self.missed_by,
            "unit": self.target.unit,
        }


def judge(benchmark: str, result: Result) -> list[Judgement]:
    """All targets of one benchmark, judged by its result."""
    return [target.judge(result) for target in TARGETS if target.benchmark == benchmark]


def _rows(result: Result, **wanted: object) -> Iterator[dict[str, Any]]:
    for row in result["rows"]:
        if all(row.get(key) == value for key, value in wanted.items()):
            yield row


def _column(key: str, **wanted: object) -> Callable[[Result], list[float]]:
    """The figure *key* of every row that is as *wanted*."""

    def figure(result: Result) -> list[float]:
        return [float(row[key]) for row in _rows(result, **wanted) if row.get(key) is not None]

    return figure


def _off_by(asked_us: float) -> Callable[[Result], list[float]]:
    """By which share of what was asked the serial medians are off."""

    def figure(result: Result) -> list[float]:
        medians = _column("p50_us", asked_us=asked_us, own_directories=False)(result)
        return [abs(median_us / asked_us - 1) for median_us in medians]

    return figure


def _receipt_off_us(result: Result) -> list[float]:
    """One client only: several on few processors also wait for a processor, after the reply."""
    return [
        abs(row["receipt_less_client_us"])
        for row in _rows(result, own_directories=False)
        if row["asked_us"] <= 130
    ]


def _not_clean(result: Result) -> list[float]:
    return [float(row["times"] - row["clean"]) for row in _rows(result, what="SIGTERM to gone")]


def _pm_qos_still_held(result: Result) -> list[float]:
    return [float(row["pm_qos_held_afterwards"]) for row in result["rows"]]


def _memory_for_a_million(result: Result) -> list[float]:
    """Extrapolated from what was looked up; exact for the full benchmark."""
    (start,) = _rows(result, when="start")
    most_bytes = start["now_bytes"] + result["bytes_per_inode"] * 1_000_000
    return [most_bytes / 2**20]


def _memory_kept(result: Result) -> list[float]:
    """Memory after all is forgotten, over what may be left: 1.3 times the start and 50 MB."""
    (start,) = _rows(result, when="start")
    allowed_bytes = 1.3 * start["now_bytes"] + 50e6
    return [row["now_bytes"] / allowed_bytes for row in _rows(result, when="forgotten")]


_ONE_AT_130 = {"asked_us": 130.0, "own_directories": False}


def _beside_a_burst(result: Result) -> list[float]:
    """The median during each burst in the share, as a multiple of the same one's beside it."""
    beside = {row["burst"]: row["p50_us"] for row in _rows(result, where="beside the share")}
    return [row["p50_us"] / beside[row["burst"]] for row in _rows(result, where="in the share")]


def _background_off_by(result: Result) -> list[float]:
    """By which share of what was asked the crossings of write-back were off."""
    return [abs(ratio - 1) for ratio in _column("achieved_to_asked")(result)]


def _held_beyond_the_limit(result: Result) -> list[float]:
    return [
        max(0.0, float(row["most_changes_at_risk"] - row["limit_changes"]))
        for row in _rows(result, share="held, more than may be")
    ]


TARGETS: tuple[Target, ...] = (
    Target(
        "130 us, one client, median",
        "latency",
        "126 to 134 us",
        "us",
        _column("p50_us", **_ONE_AT_130),
        at_least=126,
        at_most=134,
    ),
    Target(
        "130 us, one client, p90",
        "latency",
        "under 150 us",
        "us",
        _column("p90_us", **_ONE_AT_130),
        below=150,
    ),
    Target(
        "40 us, one client, median",
        "latency",
        "38 to 43 us",
        "us",
        _column("p50_us", asked_us=40.0, own_directories=False),
        at_least=38,
        at_most=43,
    ),
    Target(
        "130 us, four clients, median",
        "latency",
        "at most 140 us",
        "us",
        _column("p50_us", asked_us=130.0, own_directories=True, clients=4),
        at_most=140,
    ),
    Target(
        "130 us, eight clients, throughput",
        "latency",
        "at least 25,000 requests/s",
        "requests/s",
        _column("requests_per_s", asked_us=130.0, own_directories=True, clients=8),
        at_least=25_000,
    ),
    Target(
        "1 ms, one client, median off by",
        "latency",
        "at most 1 %",
        "share",
        _off_by(1_000.0),
        at_most=0.01,
    ),
    Target(
        "10 ms, one client, median off by",
        "latency",
        "at most 1 %",
        "share",
        _off_by(10_000.0),
        at_most=0.01,
    ),
    Target(
        "receipt's median against the client's",
        "latency",
        "within 5 us (one client, up to 130 us)",
        "us",
        _receipt_off_us,
        at_most=5,
    ),
    Target(
        "floor, one client, median",
        "floor",
        "at most 30 us",
        "us",
        _column("p50_us", server="share", clients=1),
        at_most=30,
    ),
    Target(
        "floor to bindfs, one client",
        "floor",
        "at most 2.2 times",
        "times",
        _column("share_to_this", server="bindfs", clients=1),
        at_most=2.2,
    ),
    Target(
        "floor to libfuse's passthrough_ll, one client",
        "floor",
        "at most 2.2 times",
        "times",
        _column("share_to_this", server="passthrough_ll", clients=1),
        at_most=2.2,
    ),
    Target(
        "sequential read, 250 MB/s asked",
        "sequential",
        "within 5 %",
        "MB/s",
        _column("megabytes_per_s", cap="250MB/s", direction="read"),
        at_least=237.5,
        at_most=262.5,
    ),
    Target(
        "sequential read, no limit",
        "sequential",
        "at least 1 GB/s",
        "MB/s",
        _column("megabytes_per_s", cap="none", direction="read"),
        at_least=1_000,
    ),
    Target(
        "status under load, slowest answer",
        "control",
        "under 200 ms",
        "ms",
        _column("worst_ms", what="status answers"),
        below=200,
    ),
    Target(
        "SIGTERM to gone under load, slowest",
        "control",
        "within 2 s",
        "ms",
        _column("worst_ms", what="SIGTERM to gone"),
        at_most=2_000,
    ),
    Target(
        "ends under load that were not clean",
        "control",
        "none",
        "ends",
        _not_clean,
        at_most=0,
    ),
    Target(
        "umount --force, slowest, in any state",
        "forced_end",
        "within 2 s",
        "ms",
        _column("worst_ms"),
        at_most=2_000,
    ),
    Target(
        "mount, server and guests gone by force, slowest, in any state",
        "forced_end",
        "within 2 s",
        "ms",
        _column("gone_worst_ms"),
        at_most=2_000,
    ),
    Target(
        "processor time when idle",
        "idle",
        "under 1 % of a core",
        "share",
        _column("share_of_core"),
        below=0.01,
    ),
    Target(
        "PM QoS held when idle",
        "idle",
        "no",
        "times",
        _pm_qos_still_held,
        at_most=0,
    ),
    Target(
        "memory for a million inodes",
        "inodes",
        "at most 1 GiB",
        "MiB",
        _memory_for_a_million,
        at_most=1_024,
    ),
    Target(
        "memory after they are forgotten, of what may be left",
        "inodes",
        "at most 1.3 times the start and 50 MB",
        "times",
        _memory_kept,
        at_most=1,
    ),
    Target(
        "untrue answers after a burst of host changes",
        "burst",
        "none",
        "files",
        _column("wrong_at_the_end"),
        at_most=0,
    ),
    Target(
        "memory for a burst of 10,000 host changes",
        "burst",
        "at most 64 MiB",
        "MiB",
        _column("grown_mib"),
        at_most=64,
    ),
    Target(
        "130 us, p50 during a burst of host changes",
        "burst",
        "within 10 % of the same burst beside the share",
        "times",
        _beside_a_burst,
        at_most=1.1,
    ),
    Target(
        "a held write of 1 KiB, median",
        "write_back",
        "at most 2 times one that is written through without latency",
        "times",
        _column("to_written_through", share="held"),
        at_most=2,
    ),
    Target(
        "crossings in the background, median off by",
        "write_back",
        "at most 5 %",
        "share",
        _background_off_by,
        at_most=0.05,
    ),
    Target(
        "changes held beyond the limit",
        "write_back",
        "none",
        "changes",
        _held_beyond_the_limit,
        at_most=0,
    ),
    Target(
        "recording a request, in the median",
        "tracing",
        "less than 2 us",
        "us",
        _column("cost_us"),
        below=2,
    ),
    Target("requests lost by the trace", "tracing", "none", "requests", _column("lost"), at_most=0),
    Target(
        "requests predicted in a second of a processor, reading the file included",
        "simulate",
        "at least 1,000,000",
        "requests/s",
        _column("whole_per_s", implementation="fast"),
        at_least=1_000_000,
    ),
    Target(
        "the same, run alone, with a user's policy in Python",
        "simulate",
        "at least 200,000",
        "requests/s",
        _column("reference_per_s", implementation="reference"),
        at_least=200_000,
    ),
)
