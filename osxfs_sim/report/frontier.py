"""The frontier in tables: every point with how sure it is, and the best at each limit."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from rich.padding import Padding

from osxfs_sim.lab.frontier import (
    EVERYTHING,
    LIMITS,
    Best,
    Point,
    Standing,
    best_of,
    groups_of,
    most_per_run_of_none,
    native_points,
    points_of,
    standings_of,
    upper_bound_of_none,
)
from osxfs_sim.lab.results import Comparison
from osxfs_sim.lab.statistics import FEWEST_FOR_INTERVAL, RESAMPLES, Estimate
from osxfs_sim.model.formatting import (
    decimals_of_three_digits,
    format_count,
    format_fixed,
    format_interval,
    format_plain,
    format_ratio,
    format_significant,
)
from osxfs_sim.report.console import console, escape
from osxfs_sim.report.tables import Table, table

NATIVE_STANDING = "native"
_STANDINGS = {
    Standing.FRONTIER: "yes",
    Standing.OPEN: "open",
    Standing.BEATEN: "beaten",
    Standing.UNKNOWN: "",
}
NOBODY = "nobody"
_LEGEND = (
    "wall, stale, age: [ ] a 95% interval, by bootstrap, for stale answers and ages of whole runs; "
    "where no stale answer was seen, ≤ is how many there may be all the same (rule of three). "
    "edits, judged, stale: of the host, of answers, and of answers that were not the host's at "
    "that moment, in a run. age: since the host's edit, of 99 in 100 stale answers, and of the "
    "oldest. (changed): runs with another result than a native one under the same edits. Pareto: "
    "yes, if no arm of its group is as good in both wall and stale and better in one; open, if one "
    "seems to be and the intervals do not show it; beaten, if they do."
)
_BEST_LEGEND = (
    "The fastest arm of each group none of whose runs failed, and all of whose stale answers were "
    "within the limit. as fast: others within it whose wall time cannot be told from the best "
    "one's; ?: too few runs to tell. stale: of all judged answers of all runs. 'None seen' is not "
    "'none': unseen is the share of answers that may be beyond the limit all the same, at 95 %, "
    "if they are independent of each other. They come in bursts: of all runs, up to "
    f"{format_fixed(100 * upper_bound_of_none(FEWEST_FOR_INTERVAL), 0)} % may have one where none "
    f"of {FEWEST_FOR_INTERVAL} had, and up to {format_fixed(100 * upper_bound_of_none(20), 0)} % "
    "where none of 20 had."
)


@dataclass(frozen=True, slots=True)
class Frontier:
    """All that is derived of one comparison, made once for tables, pictures and documents."""

    comparison: Comparison
    """What all of it is derived from."""
    points: tuple[Point, ...]
    """The arms that have a share, in the comparison's order."""
    natives: tuple[Point, ...]
    """The arms that have no share."""
    standings: dict[str, Standing]
    """By label, where a point stands among those of its group."""
    best: tuple[Best, ...]
    """For each group and limit the fastest arm."""

    @property
    def title(self) -> str:
        """One line: case, variant, form, runs of each arm (least to most), and the host's edits."""
        one = self.comparison
        form = ", quick" if one.quick else ""
        dilated = f", time dilated {format_plain(one.dilate)} times" if one.dilate != 1 else ""
        runs = sorted({point.runs + point.failed for point in (*self.points, *self.natives)})
        count = "no runs" if not runs else f"{runs[0]}" + (f" to {runs[-1]}" if runs[1:] else "")
        return (
            f"{one.case} ({one.variant}{form}{dilated}): {count} runs of each arm, "
            f"{edits_words(one)}"
        )


def edits_words(comparison: Comparison) -> str:
    """The edits that *comparison* was measured under, in words; ``no host edits`` without."""
    streams = {one.risk["edits"]["stream"]: None for one in comparison.samples if one.risk}
    return f"host edits {', '.join(streams)}" if streams else "no host edits"


def frontier_of(comparison: Comparison, *, resamples: int = RESAMPLES) -> Frontier:
    """Derive from *comparison* its points, their standings, and the fastest arm at each limit."""
    points = points_of(comparison, resamples=resamples)
    return Frontier(
        comparison,
        points,
        native_points(comparison, resamples=resamples),
        standings_of(points),
        best_of(points),
    )


def tables_of(frontiers: Sequence[Frontier]) -> list[Table]:
    """The table of the best arms of all cases, then a table of points for each case."""
    return [best_table(frontiers), *(points_table(one) for one in frontiers)]


def best_table(frontiers: Sequence[Frontier]) -> Table:
    """The table of the fastest arm for each case, group and limit of staleness."""
    rows = []
    measured = [one.comparison.case for one in frontiers]
    for one in frontiers:
        case = one.comparison.case
        if measured.count(case) > 1:
            case = f"{case}, {edits_words(one.comparison)}"
        has_groups = any(best.group != EVERYTHING for best in one.best)
        for best in one.best:
            is_first = best.limit is LIMITS[0]
            rows.append(
                (
                    case if best is one.best[0] else "",
                    (best.group if has_groups else "all arms") if is_first else "",
                    best.limit.name,
                    *_best_cells(best, groups_of(one.points)[best.group]),
                )
            )
    columns = ("case", "group", "staleness", "best", ">wall", ">stale", ">unseen", "as fast")
    return table(*columns, title="The best policy at each limit", rows=rows, legend=_BEST_LEGEND)


def _best_cells(best: Best, group: Sequence[Point]) -> tuple[str, ...]:
    point = best.point
    if point is None:
        return (NOBODY, *_nearest(best, group), "", "")
    is_bounded = point.is_watched and best.limit.below_ns is not None
    return (
        point.arm,
        _wall(point),
        f"{format_count(point.stale)} of {format_count(point.judged)}"
        if point.is_watched
        else "not counted",
        f"≤ {format_significant(100 * upper_bound_of_none(point.judged), 2)} %"
        if is_bounded
        else "",
        ", ".join(best.not_slower) if best.is_sure else "?",
    )


def _nearest(best: Best, group: Sequence[Point]) -> tuple[str, str]:
    """Where nobody keeps to a limit: who comes next to it, or why not even that can be said."""
    tried = [point for point in group if best.limit.broken_by(point) and not point.failed]
    if not tried:
        return "", ""
    nearest = min(tried, key=best.limit.broken_by)
    return f"nearest: {nearest.arm}", f"{format_count(best.limit.broken_by(nearest))} beyond"


def points_table(one: Frontier) -> Table:
    """The table of wall time and stale answers of each arm, native ones first."""
    columns = (
        "arm",
        "Pareto",
        ">wall",
        ">edits",
        ">judged",
        ">stale",
        ">age",
        ">oldest",
    )
    rows = [_point_cells(point, NATIVE_STANDING) for point in one.natives]
    group = EVERYTHING
    for point in one.points:
        if point.group != group:
            group = point.group
            rows.append((f"{group}:", *[""] * (len(columns) - 1)))
        rows.append(_point_cells(point, _STANDINGS[one.standings[point.arm]]))
    return table(*columns, title=one.title, rows=rows, legend=_LEGEND)


def _point_cells(point: Point, standing: str) -> tuple[str, ...]:
    notes = [f"{point.failed} failed"] if point.failed else []
    notes += [f"{point.changed} changed"] if point.changed else []
    return (
        point.arm + (f" ({', '.join(notes)})" if notes else ""),
        standing,
        _wall(point),
        "" if point.edits_per_run is None else format_fixed(point.edits_per_run, 0),
        format_count(point.judged / point.watched_runs) if point.watched_runs else "",
        _stale_per_run(point),
        "" if point.p99_age_ns is None else _age(point.p99_age_ns),
        "" if point.oldest_ns is None else _age(Estimate(point.oldest_ns, None)),
    )


def _wall(point: Point) -> str:
    """``3.51 [3.43, 3.60] s``"""
    if point.wall_s is None:
        return "none counts"
    scale, unit = (1, "s") if point.wall_s.value >= 1 else (1_000, "ms")
    return f"{_with_interval(point.wall_s, scale)} {unit}"


def _stale_per_run(point: Point) -> str:
    if point.stale_per_run is None:
        return ""
    if not point.stale:
        return f"0 ≤ {format_significant(most_per_run_of_none(point.watched_runs), 2)}"
    return _with_interval(point.stale_per_run, 1)


def _with_interval(estimate: Estimate, scale: float) -> str:
    """Three digits of the value, and the same decimals of the interval's ends."""
    value = estimate.value * scale
    if estimate.interval is None:
        return format_ratio(value)
    low, high = (bound * scale for bound in estimate.interval)
    return format_interval(value, low, high, decimals_of_three_digits(value))


def _age(age_ns: Estimate) -> str:
    """``214 [34, 216] ms``: one unit for all three."""
    scale_ns, unit = next(
        (scale_ns, unit)
        for scale_ns, unit in ((1e9, "s"), (1e6, "ms"), (1e3, "us"), (1, "ns"))
        if age_ns.value >= scale_ns or scale_ns == 1
    )
    return f"{_with_interval(age_ns, 1 / scale_ns)} {unit}"


def caveats(one: Frontier) -> list[str]:
    """Sentences on what makes the tables say less than they seem to; empty if nothing does."""
    lines = []
    few = [point.arm for point in one.points if point.runs < FEWEST_FOR_INTERVAL]
    if few:
        lines.append(
            f"no interval can be given for fewer than {FEWEST_FOR_INTERVAL} runs, and nothing is "
            f"said to be beaten: {', '.join(few)}"
        )
    wrong = [point for point in one.natives if point.stale]
    lines += [
        f"{point.stale} answers were judged stale without a share ({point.arm}), where none can "
        "be: so many of the others are the judge's errors"
        for point in wrong
    ]
    unwatched = [point.arm for point in one.points if point.runs and not point.is_watched]
    if unwatched:
        lines.append(f"no answer was judged, so that they have no place: {', '.join(unwatched)}")
    for point in one.points:
        asked = point.recorded
        if asked and point.unknown > asked / 10:
            lines.append(
                f"{point.arm}: {format_fixed(100 * point.unknown / asked, 0)} % of its answers "
                "could not be judged"
            )
    failures = {
        f"{sample.arm}: {sample.failure}": None
        for sample in one.comparison.samples
        if sample.failure
    }
    return [*lines, *failures]


def frontier_report(frontiers: Sequence[Frontier], machine: str) -> None:
    """Print the tables of *frontiers*, what to doubt of them, and the machine."""
    out = console()
    for each in tables_of(frontiers):
        out.print(each)
    for one in frontiers:
        for line in caveats(one):
            text = f"[yellow]{escape(f'{one.comparison.case}: {line}')}[/yellow]"
            out.print(Padding(text, (0, 0, 0, 2)))
    out.print(Padding(escape(machine), (0, 0, 0, 2)), style="dim")


def frontier_markdown(frontiers: Sequence[Frontier]) -> str:
    """The tables of *frontiers* as a Markdown document, each legend once, no caveats."""
    tables = tables_of(frontiers)
    blocks = []
    for number, each in enumerate(tables):
        is_last_of_its_kind = number in (0, len(tables) - 1)
        shown = each if is_last_of_its_kind else replace(each, legend="")
        blocks += list(shown.markdown())
    return "\n\n".join(blocks)
