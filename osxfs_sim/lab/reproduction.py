"""A published table, measured again: which arms that takes, and what they say about it.

Two machines with processors of different speed and the same waiting cannot have the same
ratios. So there are two comparisons. At K = 1 nothing is dilated, and the seconds that
a share adds should be the published ones. At K = native here / native there this
machine stands to its waiting as the published one does, and the ratios should be.

Everything here is derived from samples (lab/results.py): nothing is measured.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from osxfs_sim.lab.arms import NATIVE
from osxfs_sim.lab.dilation import DilationLine, dilation_between, dilation_line
from osxfs_sim.lab.results import Comparison
from osxfs_sim.lab.statistics import Estimate, median_estimate, ratio_estimate
from osxfs_sim.lab.study import TABLE, Check, Platform, Reading, Study, Topology
from osxfs_sim.model.formatting import format_plain

NO_VOLUMES = "no volumes"
GOAL = 0.1
"""How far a ratio may be from the published one, as a share of it."""
_SMALLEST_DILATION_APART = 0.25


def bind_label(platform: Platform, dilation: float | None = None) -> str:
    """The label of the arm with *platform*'s bind mount, *dilation* (K) in it unless None."""
    at = "" if dilation is None else f" K={format_plain(dilation)}"
    return f"{platform.profile} bind{at}"


def hybrid_label(platform: Platform) -> str:
    """The label of the arm with *platform*'s bind mount and a volume in it."""
    return f"{platform.profile} hybrid"


def dilation_of(platform: Platform, native_s: float) -> float:
    """The dilation K to measure *platform* at: *native_s* over its published native time."""
    return dilation_between(native_s, platform.times[Topology.NATIVE].average_s)


def table_arms(study: Study, native_s: float, waits: Mapping[str, bool]) -> dict[str, str]:
    """By label the words of each arm of the table. Raises KeyError for a profile not in *waits*.

    The native arm and that without volumes are the same for all platforms here, and
    measured once a round.
    """
    arms = {NATIVE: "native", NO_VOLUMES: study.local}
    for platform in study.platforms:
        words = platform.profile
        if waits[platform.profile]:
            words += f" --dilate {format_plain(dilation_of(platform, native_s))}"
        arms[hybrid_label(platform)] = f"{words} --volume {study.volume}"
        arms[bind_label(platform)] = words
        for dilation in further_dilations(platform, native_s):
            arms[bind_label(platform, dilation)] = (
                f"{platform.profile} --dilate {format_plain(dilation)}"
            )
    return arms | dict(study.extra_arms or {})


def further_dilations(platform: Platform, native_s: float) -> list[float]:
    """The K besides the table's own at which *platform* is measured, without those within 25 %."""
    own = dilation_of(platform, native_s)
    return [one for one in platform.dilations if abs(one / own - 1) > _SMALLEST_DILATION_APART]


@dataclass(frozen=True, slots=True)
class TopologyCell:
    """One topology of one platform: published, and ours.

    Where there are too few runs for an interval, the ranges are what there is to say of scatter.
    """

    platform: str
    """The name of the table's row."""
    topology: Topology
    """Where the project lay."""
    runs: int
    """How many samples of ours count."""
    ours_s: Estimate | None
    """Median of ours, in seconds; None without samples."""
    range_s: tuple[float, float] | None
    """The least and the most of all samples, in seconds."""
    ratio: Estimate | None
    """Ours to native; None without samples."""
    ratio_range: tuple[float, float] | None
    """The least and the most of the ratios within each round."""
    published_s: float
    """The published average, in seconds, not dilated."""
    published: float
    """The published ratio to native."""
    wanted: float
    """The ratio that it is judged by: the published one for a bind mount, 1 for the others, which
    were published to be as fast as native."""

    @property
    def error(self) -> float | None:
        """Our ratio over the wanted one, less 1; None without samples."""
        return None if self.ratio is None else self.ratio.value / self.wanted - 1

    @property
    def reached(self) -> bool | None:
        """Whether our ratio is within 10 % of the wanted one. None where nothing was measured."""
        return None if self.error is None else abs(self.error) <= GOAL


@dataclass(frozen=True, slots=True)
class Added:
    """What a bind mount takes more than no volumes at K = 1: published, measured, and derived.

    Derived: the slope of the line through several dilations is what the workload waits for, without
    what the emulator itself costs.
    """

    platform: str
    """The name of the table's row."""
    profile: str
    """The profile that stands for it."""
    published_s: float
    """What was published to be added, in seconds."""
    published_ratio: float
    """The published ratio of the bind mount to native."""
    measured_s: float | None
    """The difference of medians at K = 1, in seconds; None where that was not measured."""
    line: DilationLine | None
    """Through all dilations whose latency is in this machine's reach; None where there are too
    few."""
    ratio_of_waiting: float | None
    """What bind mount / native would be at the table's dilation if the emulator cost nothing: (no
    volumes + K x waiting) / native."""
    requests: int | None
    """Of the median run at the table's dilation; None where there is none."""
    latency_ns: int | None
    """The profile's metadata latency at K = 1."""
    fitted_ns: int | None
    """The latency that would have made the waiting the published seconds: what the profile should
    say."""
    in_reach_at_1: bool | None
    """Whether the profile's latency at K = 1 is above this machine's floor; None: unknown."""

    @property
    def waiting_s(self) -> float | None:
        """The line's slope: seconds of waiting for the share at K = 1; None without a line."""
        return None if self.line is None else self.line.waiting_s


@dataclass(frozen=True, slots=True)
class Checked:
    """A published result that nothing was fitted to, with our value."""

    check: Check
    """The published result, and how ours is read."""
    ours: float | None
    """Our value in the check's unit; None where it was not measured."""

    @property
    def error(self) -> float | None:
        """Ours over the published value, less 1; None where it was not measured."""
        return None if self.ours is None else self.ours / self.check.published - 1


@dataclass(frozen=True, slots=True)
class Reproduction:
    """All that a study's samples say."""

    native_s: float
    """This machine's native time, in seconds, that the dilations were made from."""
    dilations: Mapping[str, float]
    """By profile the K at which its table was measured."""
    cells: tuple[TopologyCell, ...]
    """A cell for each platform and topology, in the table's order."""
    added: tuple[Added, ...]
    """What each platform's bind mount adds to no volumes."""
    checked: tuple[Checked, ...]
    """What else was published, with our values."""


@dataclass(frozen=True, slots=True)
class RatioBar:
    """A line of the picture of ratios: the bind mount of one platform."""

    label: str
    """The platform."""
    published: float
    """The published ratio to native."""
    ours: float | None
    """Our ratio; None without samples."""
    ours_range: tuple[float, float] | None
    """The least and the most of the ratios within each round; None without samples."""


def bars_of(derived: Reproduction) -> list[RatioBar]:
    """A RatioBar (published ratio, ours, range) for each platform's bind mount, in table order."""
    return [
        RatioBar(
            cell.platform,
            cell.published,
            None if cell.ratio is None else cell.ratio.value,
            (cell.ratio.interval if cell.ratio is not None else None) or cell.ratio_range,
        )
        for cell in derived.cells
        if cell.topology is Topology.BIND
    ]


def reproduction(
    study: Study, native_s: float, comparisons: Mapping[str, Comparison], *, seed: int = 0
) -> Reproduction:
    """Our results beside those that *study* published. Raises KeyError without its table measured.

    *native_s* is the native time that the dilations were made from.
    """
    table = comparisons[TABLE]
    return Reproduction(
        native_s=native_s,
        dilations={one.profile: dilation_of(one, native_s) for one in study.platforms},
        cells=tuple(
            _cell(table, platform, topology, seed)
            for platform in study.platforms
            for topology in Topology
        ),
        added=tuple(
            _added(table, platform, native_s)
            for platform in study.platforms
            if _base_latency_ns(table, bind_label(platform))
        ),
        checked=tuple(Checked(check, _read(check, comparisons)) for check in study.checks),
    )


_LABELS = {
    Topology.NATIVE: lambda _: NATIVE,
    Topology.NO_VOLUMES: lambda _: NO_VOLUMES,
    Topology.HYBRID: hybrid_label,
    Topology.BIND: bind_label,
}


def _cell(table: Comparison, platform: Platform, topology: Topology, seed: int) -> TopologyCell:
    walls_s = _walls_s(table, _LABELS[topology](platform))
    published = platform.ratio(topology)
    return TopologyCell(
        platform=platform.name,
        topology=topology,
        runs=len(walls_s),
        ours_s=median_estimate(walls_s, seed=seed),
        range_s=(min(walls_s), max(walls_s)) if walls_s else None,
        ratio=ratio_estimate(walls_s, _walls_s(table, NATIVE), seed=seed),
        ratio_range=_ratio_range(table, _LABELS[topology](platform)),
        published_s=platform.times[topology].average_s,
        published=published,
        wanted=published if topology is Topology.BIND else 1.0,
    )


def _ratio_range(table: Comparison, label: str) -> tuple[float, float] | None:
    native_s = {sample.round: sample.wall_s for sample in table.of(NATIVE)}
    ratios = [
        sample.wall_s / native_s[sample.round]
        for sample in table.of(label)
        if sample.round in native_s
    ]
    return (min(ratios), max(ratios)) if ratios else None


def _added(table: Comparison, platform: Platform, native_s: float) -> Added:
    labels = _dilated_labels(platform, native_s)
    line = dilation_line(
        [
            (dilation, wall_s)
            for dilation, label in labels.items()
            if _in_reach(table, label)
            for wall_s in _walls_s(table, label)
        ]
    )
    native_here_s = _median(_walls_s(table, NATIVE))
    without_s = _median(_walls_s(table, NO_VOLUMES))
    measured_s = _median(_walls_s(table, labels[1.0])) if 1.0 in labels else None
    label = bind_label(platform)
    latency_ns = _base_latency_ns(table, label)
    ratio_of_waiting = fitted_ns = None
    if line is not None and without_s and native_here_s:
        waiting_s = dilation_of(platform, native_s) * line.waiting_s
        ratio_of_waiting = (without_s + waiting_s) / native_here_s
    if line is not None and latency_ns and line.waiting_s > 0:
        fitted_ns = round(latency_ns * platform.added_s / line.waiting_s)
    return Added(
        platform=platform.name,
        profile=platform.profile,
        published_s=platform.added_s,
        published_ratio=platform.ratio(Topology.BIND),
        measured_s=measured_s - without_s if measured_s and without_s else None,
        line=line,
        ratio_of_waiting=ratio_of_waiting,
        requests=_requests(table, label),
        latency_ns=latency_ns,
        fitted_ns=fitted_ns,
        in_reach_at_1=_in_reach(table, labels[1.0]) if 1.0 in labels else None,
    )


def _in_reach(comparison: Comparison, label: str) -> bool | None:
    """Whether the latency that *label* asks for is above this machine's floor; None: unknown."""
    mounted = comparison.mounted.get(label)
    if not mounted:
        return None
    base_ns = mounted["latency"]["base_ns"]["metadata"]
    return bool(base_ns >= mounted["calibration"]["floor_ns"])


def _dilated_labels(platform: Platform, native_s: float) -> dict[float, str]:
    own = dilation_of(platform, native_s)
    further = further_dilations(platform, native_s)
    return {own: bind_label(platform)} | {one: bind_label(platform, one) for one in further}


def _walls_s(comparison: Comparison, label: str, kind: str = "fresh") -> list[float]:
    return [sample.wall_s for sample in comparison.of(label, kind)]


def _median(values: Sequence[float]) -> float | None:
    estimate = median_estimate(values, seed=0, resamples=1) if values else None
    return None if estimate is None else estimate.value


def _requests(comparison: Comparison, label: str) -> int | None:
    counts = [
        sum(sample.share["requests"].values())
        for sample in comparison.of(label)
        if sample.share is not None
    ]
    return sorted(counts)[len(counts) // 2] if counts else None


def _base_latency_ns(comparison: Comparison, label: str) -> int | None:
    """The metadata latency at K = 1 of the share that *label* mounts; None where it has none."""
    mounted = comparison.mounted.get(label)
    if not mounted:
        return None
    base_ns = mounted.get("latency", {}).get("base_ns", {}).get("metadata", 0)
    return round(base_ns / mounted["dilate"]) or None


def _read(check: Check, comparisons: Mapping[str, Comparison]) -> float | None:
    reading = check.reading
    if reading is None or reading.comparison not in comparisons:
        return None
    value = _median_of(comparisons, reading, reading.arm)
    if value is None:
        return None
    for other, combine in ((reading.over, _divided), (reading.minus, _subtracted)):
        if other is not None:
            by = _median_of(comparisons, reading, other)
            if by is None:
                return None
            value = combine(value, by)
    return 1 - value if check.unit == "less" else value


def _divided(value: float, by: float) -> float:
    return value / by


def _subtracted(value: float, by: float) -> float:
    return value - by


def _median_of(comparisons: Mapping[str, Comparison], reading: Reading, arm: str) -> float | None:
    return _median(_walls_s(comparisons[reading.comparison], arm, reading.kind))
