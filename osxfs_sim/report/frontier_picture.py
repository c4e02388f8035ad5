"""The frontier as a picture: wall time to the right, stale answers upwards, a panel per case.

No stale answer is no place on a logarithmic axis: such points have a lane of their own at
the bottom, where height means nothing and each has its row. A dotted line above says
how many there may be that nobody saw.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.lines import Line2D
from matplotlib.textpath import TextPath
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from osxfs_sim.lab.frontier import EVERYTHING, Point, Standing, groups_of, most_per_run_of_none
from osxfs_sim.model.formatting import format_plain, format_tick, format_wall_time
from osxfs_sim.report.frontier import Frontier
from osxfs_sim.report.labels import Box, place_labels

# One house, one style: the figure is drawn as the others are.
from osxfs_sim.report.plots import Style, drawable, drawing, mark_logarithmic

_MARKERS = ("o", "s", "^", "D", "v", "P")
_ROW_INCHES = 0.17
_MAIN_INCHES = 2.3
_FONT_POINTS = 8.0
_MARKER_POINTS, _BEATEN_POINTS = 6.0, 4.5
_POINTS_PER_INCH = 72
_TITLE_INCHES, _AXIS_INCHES = 0.32, 0.45
_LEFT_INCHES, _RIGHT_INCHES, _LEGEND_INCHES = 0.75, 0.15, 0.75
_LONGEST_LABEL = 34


@dataclass(frozen=True, slots=True)
class _Scale:
    """Heights in a panel, in decades of stale answers per run; the lane lies below *floor*."""

    floor: float
    top: float
    rows: int

    @property
    def inches_per_decade(self) -> float:
        return _MAIN_INCHES / (self.top - self.floor)

    @property
    def row(self) -> float:
        return _ROW_INCHES / self.inches_per_decade

    @property
    def bottom(self) -> float:
        return self.floor - (self.rows + 0.6) * self.row if self.rows else self.floor

    @property
    def height_inches(self) -> float:
        return (self.top - self.bottom) * self.inches_per_decade

    def of(self, stale: float) -> float:
        """The height of so many stale answers; what is less than the axis shows is its floor."""
        return max(self.floor, math.log10(stale)) if stale > 0 else self.floor

    def of_row(self, number: int) -> float:
        return self.floor - (number + 0.8) * self.row


def frontier_picture(frontiers: Sequence[Frontier], style: Style) -> Figure:
    """A figure with a panel of wall time against stale answers for each of *frontiers*."""
    with drawing(style):
        scales = [_scale_of(_drawn(one)) for one in frontiers]
        heights = [each.height_inches + _TITLE_INCHES + _AXIS_INCHES for each in scales]
        total = sum(heights) + _LEGEND_INCHES
        figure = Figure(figsize=(style.width_inches, total))
        width = style.width_inches - _LEFT_INCHES - _RIGHT_INCHES
        top = total
        groups = _all_groups(frontiers)
        for one, scale, height in zip(frontiers, scales, heights, strict=True):
            top -= height
            panel = figure.add_axes(
                (
                    _LEFT_INCHES / style.width_inches,
                    (top + _AXIS_INCHES) / total,
                    width / style.width_inches,
                    scale.height_inches / total,
                )
            )
            _panel(panel, one, scale, groups, style, width)
        _explain(figure, groups, style)
        return figure


def _all_groups(frontiers: Sequence[Frontier]) -> list[str]:
    return list(dict.fromkeys(point.group for one in frontiers for point in one.points))


def _drawn(one: Frontier) -> list[Point]:
    return [point for point in one.points if point.place is not None]


def _scale_of(points: Sequence[Point]) -> _Scale:
    """From what one stale answer in all runs would be, to above the most that was seen."""
    runs = max((point.watched_runs for point in points), default=1)
    highs = [point.stale_per_run.value for point in points if point.stale_per_run]
    highs += [
        point.stale_per_run.interval[1]
        for point in points
        if point.stale_per_run and point.stale_per_run.interval
    ]
    floor = math.log10(0.6 / runs)
    top = max(floor + 1, math.log10(2.5 * max([*highs, 1e-9])))
    return _Scale(floor, top, sum(not point.stale for point in points))


def _panel(
    panel: Axes,
    one: Frontier,
    scale: _Scale,
    groups: Sequence[str],
    style: Style,
    width_inches: float,
) -> None:
    theme = style.theme
    points = _drawn(one)
    panel.set_title(drawable(one.title), fontsize=9)
    panel.set_xscale("log")
    panel.set_xlim(*_limits(one))
    panel.set_ylim(scale.bottom, scale.top)
    mark_logarithmic(panel, style)
    panel.xaxis.set_major_formatter(FuncFormatter(lambda value, _: format_tick(value)))
    panel.set_xlabel("wall time (logarithmic)")
    panel.set_ylabel("stale answers per run")
    _mark_heights(panel, scale)
    for native in one.natives:
        if native.wall_s is not None:
            panel.axvline(native.wall_s.value, color=theme.ink, linewidth=1, linestyle=(0, (4, 3)))
            panel.annotate(
                f"{drawable(native.arm)} {format_wall_time(native.wall_s.value)}",
                (native.wall_s.value, scale.top),
                xytext=(3, -2),
                textcoords="offset points",
                va="top",
                fontsize=_FONT_POINTS,
            )
    missing = [point.arm for point in one.points if point.place is None]
    if missing:
        panel.annotate(
            drawable(f"no place: {', '.join(missing)}"),
            (1, 1),
            xycoords="axes fraction",
            xytext=(-3, -12),
            textcoords="offset points",
            va="top",
            ha="right",
            style="italic",
            fontsize=_FONT_POINTS,
        )
    heights = _heights(points, scale)
    page = _Page(panel.get_xlim(), scale, width_inches)
    lines = [_upright(page, one.wall_s.value) for one in one.natives if one.wall_s is not None]
    if scale.rows:
        panel.axhspan(scale.bottom, scale.floor, color=theme.faint, alpha=0.35, linewidth=0)
        least_runs = min(point.watched_runs for point in points if not point.stale)
        bound = scale.of(most_per_run_of_none(least_runs))
        panel.axhline(bound, color=theme.ink, linewidth=0.7, linestyle=":")
        lines.append(Box(0, page.up(bound) - 0.5, page.width, page.up(bound) + 0.5))
    for name, group in groups_of(points).items():
        stairs = _stairs(one, group, heights)
        panel.plot(
            *([x for x, _ in stairs], [y for _, y in stairs]),
            color=style.colour(groups.index(name)),
            linewidth=1.4,
            zorder=2,
        )
        lines += [page.line(begin, end) for begin, end in pairwise(stairs)]
    for point in points:
        number = groups.index(point.group)
        _mark(panel, point, one.standings[point.arm], heights[point.arm], number, scale, style)
    _label(panel, points, heights, page, lines)


@dataclass(frozen=True, slots=True)
class _Page:
    """Where things are in a panel, in points of the page from its lower left."""

    limits_s: tuple[float, float]
    scale: _Scale
    width_inches: float

    @property
    def width(self) -> float:
        return self.width_inches * _POINTS_PER_INCH

    @property
    def height(self) -> float:
        return self.scale.height_inches * _POINTS_PER_INCH

    def across(self, wall_s: float) -> float:
        low, high = (math.log(limit) for limit in self.limits_s)
        return (math.log(wall_s) - low) / (high - low) * self.width

    def up(self, decades: float) -> float:
        return (decades - self.scale.bottom) * self.scale.inches_per_decade * _POINTS_PER_INCH

    def line(self, begin: tuple[float, float], end: tuple[float, float]) -> Box:
        """What a level or upright line between two places covers."""
        xs = sorted((self.across(begin[0]), self.across(end[0])))
        ys = sorted((self.up(begin[1]), self.up(end[1])))
        return Box(xs[0] - 0.5, ys[0] - 0.5, xs[1] + 0.5, ys[1] + 0.5)


def _upright(page: _Page, wall_s: float) -> Box:
    """A native arm's line, and its label at the top."""
    x = page.across(wall_s)
    return Box(x - 0.5, 0, x + 0.5, page.height)


def _limits(one: Frontier) -> tuple[float, float]:
    """Room for labels on both sides of the fastest and the slowest."""
    walls_s = [
        value
        for point in (*one.points, *one.natives)
        if point.wall_s is not None
        for value in (point.wall_s.value, *(point.wall_s.interval or ()))
    ]
    low, high = min(walls_s, default=0.5), max(walls_s, default=2.0)
    spread = max(high / low, 2.0)
    return low / spread**0.08, high * spread**0.3


def _mark_heights(panel: Axes, scale: _Scale) -> None:
    decades = range(math.ceil(scale.floor), math.floor(scale.top) + 1)
    places = [float(decade) for decade in decades]
    names = [format_plain(10.0**decade) for decade in decades]
    if scale.rows:
        places.insert(0, (scale.bottom + scale.floor) / 2)
        names.insert(0, "none\nseen")
    panel.yaxis.set_major_locator(FixedLocator(places))
    panel.yaxis.set_ticklabels(names)
    panel.yaxis.set_minor_locator(NullLocator())


def _heights(points: Sequence[Point], scale: _Scale) -> dict[str, float]:
    """Where each lies; those of which none was seen each in a row, the fastest on top."""
    unseen = sorted((point for point in points if not point.stale), key=_wall_s)
    rows = {point.arm: scale.of_row(number) for number, point in enumerate(unseen)}
    return {
        point.arm: rows[point.arm]
        if point.arm in rows
        else scale.of(point.stale_per_run.value if point.stale_per_run else 0.0)
        for point in points
    }


def _wall_s(point: Point) -> float:
    return math.inf if point.wall_s is None else point.wall_s.value


def _stairs(
    one: Frontier, group: Sequence[Point], heights: Mapping[str, float]
) -> list[tuple[float, float]]:
    """Through the points on the frontier: nothing was found below and to the left of it."""
    stairs: list[tuple[float, float]] = []
    for point in sorted(group, key=_wall_s):
        if one.standings[point.arm] is Standing.FRONTIER:
            if stairs:
                stairs.append((_wall_s(point), stairs[-1][1]))
            stairs.append((_wall_s(point), heights[point.arm]))
    return stairs


def _mark(
    panel: Axes,
    point: Point,
    standing: Standing,
    height: float,
    number: int,
    scale: _Scale,
    style: Style,
) -> None:
    colour = style.colour(number)
    alpha = 0.45 if standing is Standing.BEATEN else 0.9
    assert point.wall_s is not None
    assert point.stale_per_run is not None
    if point.wall_s.interval is not None:
        panel.plot(
            point.wall_s.interval, (height, height), color=colour, alpha=alpha, linewidth=1.2
        )
    if point.stale and point.stale_per_run.interval is not None:
        reach = [scale.of(bound) for bound in point.stale_per_run.interval]
        panel.plot(
            (point.wall_s.value,) * 2, reach, color=colour, alpha=alpha, linewidth=1.2, zorder=2
        )
    panel.plot(
        point.wall_s.value,
        height,
        marker=_MARKERS[number % len(_MARKERS)],
        markersize=_BEATEN_POINTS if standing is Standing.BEATEN else _MARKER_POINTS,
        markeredgecolor=colour,
        markerfacecolor=colour if standing is Standing.FRONTIER else style.theme.paper,
        alpha=1 if standing is not Standing.BEATEN else 0.6,
        linestyle="none",
        zorder=3,
    )


def _label(
    panel: Axes,
    points: Sequence[Point],
    heights: Mapping[str, float],
    page: _Page,
    lines: Sequence[Box],
) -> None:
    """The name of each point beside it."""
    # The lane first: its rows are its labels' natural places.
    ordered = sorted(points, key=lambda point: (point.stale > 0, -heights[point.arm]))
    anchors = [(page.across(_wall_s(one)), page.up(heights[one.arm])) for one in ordered]
    names = [_shortened(point.arm) for point in ordered]
    half = _MARKER_POINTS / 2 + 0.5
    obstacles = [*lines, *(Box(x - half, y - half, x + half, y + half) for x, y in anchors)]
    for point in ordered:
        wall_s, stale, height = point.wall_s, point.stale_per_run, heights[point.arm]
        assert wall_s is not None
        if wall_s.interval is not None:
            low, high = wall_s.interval
            obstacles.append(page.line((low, height), (high, height)))
        if point.stale and stale is not None and stale.interval is not None:
            low, high = map(page.scale.of, stale.interval)
            obstacles.append(page.line((wall_s.value, low), (wall_s.value, high)))
    # At the top stand the names of native arms, and of those that have no place.
    frame = Box(2, 1, page.width - 2, page.height - _FONT_POINTS - 4)
    boxes = place_labels(anchors, [_size(name) for name in names], frame, obstacles)
    width, height = page.width, page.height
    for name, (x, y), box in zip(names, anchors, boxes, strict=True):
        middle = ((box.left + box.right) / 2, (box.bottom + box.top) / 2)
        nearest = (min(max(x, box.left), box.right), min(max(y, box.bottom), box.top))
        if math.dist(nearest, (x, y)) > 10:
            panel.plot(
                (x / width, nearest[0] / width),
                (y / height, nearest[1] / height),
                transform=panel.transAxes,
                color=panel.yaxis.label.get_color(),
                linewidth=0.5,
                zorder=1,
            )
        panel.text(
            middle[0] / width,
            middle[1] / height,
            name,
            transform=panel.transAxes,
            ha="center",
            va="center",
            fontsize=_FONT_POINTS,
            zorder=4,
        )


def _shortened(label: str) -> str:
    label = drawable(label)
    return label if len(label) <= _LONGEST_LABEL else f"{label[: _LONGEST_LABEL - 1]}…"


def _size(name: str) -> tuple[float, float]:
    """Width and height in points, as matplotlib's own font has it."""
    path = TextPath(
        (0, 0), name or " ", size=_FONT_POINTS, prop=FontProperties(family="DejaVu Sans")
    )
    return float(path.get_extents().width) + 2, _FONT_POINTS + 2


def _explain(figure: Figure, groups: Sequence[str], style: Style) -> None:
    """What colours, shapes and fillings mean."""
    ink = style.theme.ink
    handles = [
        Line2D(
            [],
            [],
            marker=_MARKERS[number % len(_MARKERS)],
            color=style.colour(number),
            label=drawable(name),
            markersize=_MARKER_POINTS,
        )
        for number, name in enumerate(groups)
        if name != EVERYTHING
    ]
    for words, filling, size in (
        ("on the frontier", ink, _MARKER_POINTS),
        ("open: seems beaten", style.theme.paper, _MARKER_POINTS),
        ("beaten (small, pale)", style.theme.paper, _BEATEN_POINTS),
    ):
        handles.append(
            Line2D(
                *([], []),
                linestyle="none",
                marker="o",
                markeredgecolor=ink,
                markerfacecolor=filling,
                markersize=size,
                alpha=0.6 if size == _BEATEN_POINTS else 1,
                label=words,
            )
        )
    handles.append(
        Line2D([], [], color=ink, linestyle=":", linewidth=0.7, label="as many may be unseen")
    )
    handles.append(Line2D([], [], color=ink, linestyle=(0, (4, 3)), linewidth=1, label="no share"))
    columns = 2 if style.is_narrow else 4
    figure.legend(handles=handles, loc="lower left", ncols=columns, fontsize=_FONT_POINTS)
