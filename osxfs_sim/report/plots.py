"""The figures of a report, one function each; no state is shared between them.

Each takes plain values and a Style, and returns a matplotlib Figure; render()
makes bytes of it, the same bytes for the same values. Colours are Okabe and
Ito's, which most colour-blind readers can tell apart; nothing is said by colour
alone. Text in an SVG is text.
"""

import contextlib
import io
import textwrap
import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.legend import Legend
from matplotlib.ticker import FuncFormatter, LogLocator, NullLocator

from osxfs_sim.lab.reproduction import RatioBar
from osxfs_sim.model.formatting import (
    format_count,
    format_duration,
    format_fixed,
    format_tick,
    format_wall_time,
)
from osxfs_sim.report.latencies import Latencies, time_of

PlotFormat = Literal["svg", "png"]


@dataclass(frozen=True, slots=True)
class Theme:
    """Colours for one scheme, each as ``#rrggbb``."""

    name: str
    """``light`` or ``dark``."""
    paper: str
    """The background, as ``#rrggbb``, like all of these."""
    ink: str
    """The colour of texts and lines."""
    faint: str
    """The colour of grids and frames."""
    rest: str
    """What belongs to no series."""
    colours: tuple[str, ...]
    """Of series, in order: told apart from the paper and from each other."""


LIGHT = Theme(
    "light",
    paper="#ffffff",
    ink="#1b1f24",
    faint="#d5d9de",
    rest="#c3c8ce",
    colours=("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9"),
)
DARK = Theme(
    "dark",
    paper="#14181d",
    ink="#e6e9ed",
    faint="#3b434c",
    rest="#59636e",
    colours=("#56B4E9", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#F0E442"),
)


@dataclass(frozen=True, slots=True)
class Style:
    """How a figure is drawn: its colours and its size."""

    theme: Theme = LIGHT
    """The colours it is drawn in."""
    width_inches: float = 7.0
    """How wide the figure is; it is as tall as it must be."""

    @property
    def is_narrow(self) -> bool:
        """Whether the figure is for a small screen (below 5 inches): labels are wrapped earlier."""
        return self.width_inches < 5

    def colour(self, number: int) -> str:
        """The colour of series *number*, from 0; colours come again after the last."""
        return self.theme.colours[number % len(self.theme.colours)]

    def hatch(self, number: int) -> str:
        """The hatch pattern of series *number*, from 0: another when the colours come again."""
        return ("", "////", "....", "xxxx")[number // len(self.theme.colours) % 4]


@dataclass(frozen=True, slots=True)
class WallTimes:
    """The runs of one arm and kind, as a figure shows them."""

    arm: str
    """The label of the arm."""
    samples_s: Sequence[float]
    """Of the runs that count, in seconds."""
    median_s: float | None
    """Of these, in seconds; None where no run counts."""
    interval_s: tuple[float, float] | None
    """Of the median, in seconds; None where there are too few runs to give one."""
    failed: int = 0
    """How many runs do not count."""


# A logarithmic axis, when the slowest is so many times the fastest: a ratio is a distance then.
_LOGARITHMIC_FROM = 15
_LABEL_WIDTH = 34
_NARROW_LABEL_WIDTH = 15
_SHOWN_OPERATIONS = 5
_NARROW_LEGEND_WIDTH = 38
_MOST_COLUMNS = 6  # of a legend
_EDGE_INCHES = 0.05


def _settings(style: Style) -> dict[str, Any]:
    theme = style.theme
    return {
        "axes.edgecolor": theme.faint,
        "axes.facecolor": theme.paper,
        "axes.grid": True,
        "axes.axisbelow": True,
        "axes.labelcolor": theme.ink,
        "axes.spines.right": False,
        "axes.spines.top": False,
        "axes.titlecolor": theme.ink,
        "axes.titlelocation": "left",
        "axes.titlesize": 10,
        "axes.titleweight": "bold",
        "figure.facecolor": theme.paper,
        "figure.dpi": 96,
        # Named for the reader's machine; measured with the one that matplotlib brings.
        "font.family": ["DejaVu Sans", "sans-serif"],
        "font.size": 9,
        "grid.color": theme.faint,
        "grid.linewidth": 0.6,
        "hatch.color": theme.paper,
        "legend.fontsize": 9,
        "legend.frameon": False,
        "legend.labelcolor": theme.ink,
        "savefig.facecolor": theme.paper,
        "svg.fonttype": "none",
        "svg.hashsalt": "osxfs-sim",
        "text.color": theme.ink,
        # A label is what its author wrote, and no formula.
        "text.parse_math": False,
        "xtick.color": theme.ink,
        "ytick.color": theme.ink,
        "xtick.labelsize": 8.5,
        "ytick.labelsize": 9,
        "ytick.left": False,
    }


@contextlib.contextmanager
def drawing(style: Style) -> Iterator[None]:
    """Context manager in which figures are made in *style*, whatever matplotlibrc says."""
    settings: Any = _settings(style)  # the stubs want each key as a literal
    with matplotlib.rc_context(), warnings.catch_warnings():
        # A file matplotlibrc that lies where somebody works says nothing about our figures.
        matplotlib.rcdefaults()
        matplotlib.rcParams.update(settings)
        # A label in a script that the font does not have is shown by the reader's own.
        warnings.filterwarnings("ignore", "Glyph", UserWarning)
        yield


def render(
    figure: Figure, style: Style, plot_format: PlotFormat, dots_per_inch: int = 200
) -> bytes:
    """The bytes of *figure* as an SVG or PNG file: the same each time, without a date."""
    buffer = io.BytesIO()
    metadata = {"Date": None, "Creator": None} if plot_format == "svg" else {"Software": None}
    with drawing(style):
        figure.savefig(buffer, format=plot_format, dpi=dots_per_inch, metadata=metadata)
    return buffer.getvalue()


def drawable(text: str) -> str:
    """*text* with each character that cannot be printed replaced by U+FFFD."""
    return "".join(
        letter if letter.isprintable() else "\N{REPLACEMENT CHARACTER}" for letter in text
    )


def _label(text: str, style: Style) -> str:
    text = textwrap.shorten(drawable(text), 3 * _NARROW_LABEL_WIDTH, placeholder="…")
    width = _NARROW_LABEL_WIDTH if style.is_narrow else _LABEL_WIDTH
    return "\n".join(textwrap.wrap(text, width)) or " "


def empty_figure(style: Style, height_inches: float) -> Figure:
    """A new figure without panels, as wide as *style* has it, *height_inches* tall."""
    return Figure(figsize=(style.width_inches, height_inches), layout="constrained")


def wall_times(groups: Mapping[str, Sequence[WallTimes]], baseline: str, style: Style) -> Figure:
    """A figure with a panel per kind: each arm's runs as circles, median a bar, interval a line."""
    with drawing(style):
        rows = sum(len(arms) for arms in groups.values())
        figure = empty_figure(style, 0.75 + 0.42 * rows + 0.25 * len(groups))
        panels = figure.subplots(
            len(groups),
            sharex=True,
            squeeze=False,
            gridspec_kw={"height_ratios": [len(arms) + 0.3 for arms in groups.values()]},
        )[:, 0]
        times = [time for arms in groups.values() for arm in arms for time in arm.samples_s]
        is_logarithmic = bool(times) and max(times) > _LOGARITHMIC_FROM * min(times) > 0
        for panel, (kind, arms) in zip(panels, groups.items(), strict=True):
            panel.set_title(kind if len(groups) > 1 else "")
            _wall_times_panel(panel, arms, baseline, style)
            if is_logarithmic:
                panel.set_xscale("log")
        last = panels[-1]
        if is_logarithmic:
            # To the right of the slowest stands its value.
            last.set_xlim(0.7 * min(times), (4 if style.is_narrow else 2) * max(times))
        else:
            last.set_xlim(0, 1.2 * max(times, default=1.0) or 1.0)
        for panel in panels:
            if is_logarithmic:
                mark_logarithmic(panel, style)
            panel.xaxis.set_major_formatter(FuncFormatter(lambda value, _: format_tick(value)))
        last.set_xlabel(f"wall time{' (logarithmic)' if is_logarithmic else ''}")
        return figure


def mark_logarithmic(panel: Axes, style: Style) -> None:
    """Mark a panel's logarithmic x axis at 1, 2 and 5 of each decade, or at 1 without room."""
    low, high = panel.get_xlim()
    decades = np.log10(high / low)
    subs = (1, 2, 5) if decades < (1.7 if style.is_narrow else 3) else (1,)
    panel.xaxis.set_major_locator(LogLocator(subs=subs, numticks=20))
    panel.xaxis.set_minor_locator(NullLocator())


def _wall_times_panel(panel: Axes, arms: Sequence[WallTimes], baseline: str, style: Style) -> None:
    theme = style.theme
    for row, arm in enumerate(arms):
        colour = style.colour(0 if arm.arm == baseline else 3)
        count = len(arm.samples_s)
        spread = np.linspace(-0.2, 0.2, count) if count > 1 else np.zeros(count)
        panel.scatter(
            arm.samples_s,
            row + spread,
            s=16,
            facecolors="none",
            edgecolors=theme.ink,
            linewidths=0.7,
        )
        if arm.median_s is None:
            panel.annotate(
                "no run counts",
                (0.02, row),
                xycoords=("axes fraction", "data"),
                va="center",
                style="italic",
            )
            continue
        if arm.interval_s is not None:
            panel.plot(arm.interval_s, (row, row), color=colour, linewidth=5, alpha=0.45)
        panel.plot((arm.median_s,) * 2, (row - 0.32, row + 0.32), color=colour, linewidth=2.5)
        panel.annotate(
            format_wall_time(arm.median_s),
            (max(*arm.samples_s, arm.median_s), row),
            xytext=(7, 0),
            textcoords="offset points",
            va="center",
            fontsize=8.5,
        )
        if arm.arm == baseline:
            panel.axvline(arm.median_s, color=colour, linewidth=1, linestyle=(0, (4, 3)))
    labels = [
        _label(arm.arm + (f" ({arm.failed} failed)" if arm.failed else ""), style) for arm in arms
    ]
    panel.set_yticks(range(len(arms)), labels)
    panel.set_ylim(len(arms) - 0.4, -0.6)
    panel.grid(visible=False, axis="y")


_TARGET: dict[str, Any] = {"linewidth": 1.1, "linestyle": (0, (4, 2))}


def latencies(arms: Mapping[str, Sequence[Latencies]], style: Style) -> Figure:
    """A figure of the share of answers over time: target (dashed) and observed, a panel per arm."""
    with drawing(style):
        figure = empty_figure(style, 1.0 + 1.55 * len(arms))
        panels = figure.subplots(len(arms), sharex=True, squeeze=False)[:, 0]
        classes = list(dict.fromkeys(line.label for lines in arms.values() for line in lines))
        for panel, (arm, lines) in zip(panels, arms.items(), strict=True):
            panel.set_title(_label(arm, Style(style.theme)).replace("\n", " "))
            for line in lines:
                colour = style.colour(classes.index(line.label))
                panel.step(*line.observed, where="post", color=colour, linewidth=2.4)
                if line.target is not None:
                    panel.step(*line.target, where="post", color=style.theme.ink, **_TARGET)
            panel.set_ylim(0, 1.03)
            panel.set_yticks((0, 0.5, 1), ("0%", "50%", "100%"))
        panels[-1].set_xscale("log")
        panels[-1].set_xlim(*_latency_limits(arms))
        for panel in panels:
            mark_logarithmic(panel, style)
            panel.xaxis.set_major_formatter(FuncFormatter(lambda value, _: format_duration(value)))
        panels[-1].set_xlabel("answered within (logarithmic)")
        for number, label in enumerate(classes):
            panels[0].plot([], [], color=style.colour(number), linewidth=2.4, label=label)
        panels[0].plot([], [], color=style.theme.ink, label="target", **_TARGET)
        legend_of(figure, panels[0])
        return figure


def _latency_limits(arms: Mapping[str, Sequence[Latencies]]) -> tuple[float, float]:
    """From the fastest to what 99.9 % took, so that one answer does not flatten the picture."""
    curves = [
        curve
        for lines in arms.values()
        for line in lines
        for curve in (line.target, line.observed)
        if curve is not None
    ]
    lowest = min(time_of(curve, 0.001) for curve in curves)
    highest = max(time_of(curve, 0.999) for curve in curves)
    return max(0.6 * lowest, 1.0), 1.7 * highest


def legend_of(figure: Figure, panel: Axes, *, reverse: bool = False) -> None:
    """Put *panel*'s legend below *figure*, in as many columns as there is room for."""
    handles, labels = panel.get_legend_handles_labels()
    if reverse:
        handles, labels = handles[::-1], labels[::-1]
    for columns in range(min(_MOST_COLUMNS, len(labels) or 1), 0, -1):
        legend = figure.legend(handles, labels, loc="outside lower left", ncols=columns)
        # A text is as wide as its letters, which only the renderer knows.
        if _width_of(legend, figure) <= figure.bbox.width:
            return
        if columns > 1:
            legend.remove()
            continue
        for text in legend.get_texts():
            text.set_text("\n".join(textwrap.wrap(text.get_text(), _NARROW_LEGEND_WIDTH)))


def _width_of(legend: Legend, figure: Figure) -> float:
    """In pixels, with the gap to the figure's edge on either side."""
    return float(legend.get_window_extent().width) + 2 * _EDGE_INCHES * figure.dpi


def attribution(bars: Mapping[str, Mapping[str, int]], style: Style) -> Figure:
    """A figure of where wall time went: a bar per trace, of parts in ns; REST last, in grey."""
    with drawing(style):
        parts = list(dict.fromkeys(part for bar in bars.values() for part in bar if part != REST))
        # As many as there may be: who has room for columns gets a taller picture.
        legend_lines = (len(parts) + 1) / (1 if style.is_narrow else 2)
        figure = empty_figure(style, 0.8 + 0.5 * len(bars) + 0.2 * legend_lines)
        panel = figure.subplots()
        longest_ns = max((sum(bar.values()) for bar in bars.values()), default=0) or 1
        starts_ns = dict.fromkeys(bars, 0)
        for number, part in enumerate([*parts, REST]):
            colour = style.theme.rest if part == REST else style.colour(number)
            for row, (label, bar) in enumerate(bars.items()):
                panel.barh(
                    row,
                    bar.get(part, 0),
                    left=starts_ns[label],
                    height=0.6,
                    color=colour,
                    edgecolor=style.theme.paper,
                    linewidth=0.6,
                    hatch="" if part == REST else style.hatch(number),
                    label=drawable(part) if row == 0 else "",
                )
                starts_ns[label] += bar.get(part, 0)
        for row, total_ns in enumerate(starts_ns.values()):
            panel.annotate(
                format_wall_time(total_ns / 1e9),
                (total_ns, row),
                xytext=(5, 0),
                textcoords="offset points",
                va="center",
                fontsize=8.5,
            )
        panel.set_xlim(0, 1.18 * longest_ns)
        panel.set_yticks(range(len(bars)), [_label(label, style) for label in bars])
        panel.set_ylim(len(bars) - 0.5, -0.5)
        panel.grid(visible=False, axis="y")
        panel.xaxis.set_major_formatter(FuncFormatter(lambda value, _: format_tick(value / 1e9)))
        panel.set_xlabel("wall time")
        legend_of(figure, panel)
        return figure


REST = "rest: no request on its way"
NECESSARY = "necessary requests"


def ratios(bars: Sequence[RatioBar], style: Style) -> Figure:
    """A figure of ratios to native: published open bars, ours filled. Raises ValueError if none."""
    with drawing(style):
        figure = empty_figure(style, 1.0 + 0.5 * len(bars))
        panel = figure.subplots()
        for row, bar in enumerate(bars):
            panel.barh(
                *(row - 0.2, bar.published, 0.34),
                facecolor="none",
                edgecolor=style.theme.ink,
                label="published" if row == 0 else None,
            )
            if bar.ours is None:
                continue
            panel.barh(
                *(row + 0.2, bar.ours, 0.34),
                color=style.colour(0),
                label="here" if row == 0 else None,
            )
            if bar.ours_range is not None:
                panel.plot(bar.ours_range, (row + 0.2, row + 0.2), color=style.theme.ink)
            panel.annotate(
                f" {format_fixed(bar.ours, 2)} ({format_fixed(bar.published, 2)})",
                (max(bar.ours, bar.published, *(bar.ours_range or ())), row),
                va="center",
            )
        panel.axvline(1, color=style.theme.ink, linewidth=0.8, linestyle=":")
        panel.set_yticks(range(len(bars)), [_label(bar.label, style) for bar in bars])
        panel.invert_yaxis()
        panel.set_xlim(0, 1.25 * max(bar.published for bar in bars))
        panel.set_xlabel("bind mount / native")
        legend_of(figure, panel)
        return figure


def requests_over_time(counts: Mapping[str, Sequence[int]], bin_ns: int, style: Style) -> Figure:
    """A figure of requests per second, operations stacked, the rarer ones as one area."""
    with drawing(style):
        series = most_frequent(counts)
        figure = empty_figure(style, 2.6 if style.is_narrow else 2.9)
        panel = figure.subplots()
        bins = max((len(each) for each in series.values()), default=0)
        edges_s = np.arange(bins + 1) * bin_ns / 1e9
        below = np.zeros(bins)
        for number, (operation, values) in enumerate(series.items()):
            rates = np.asarray(values, dtype=float) / (bin_ns / 1e9)
            # Only where there is something: most operations come now and then.
            for number_of_stretch, (start, stop) in enumerate(_stretches(rates > 0)):
                panel.stairs(
                    (below + rates)[start:stop],
                    edges_s[start : stop + 1],
                    baseline=below[start:stop],
                    fill=True,
                    color=style.theme.rest if operation == OTHERS else style.colour(number),
                    label="" if number_of_stretch else drawable(operation),
                )
            below = below + rates
        panel.set_xlim(0, edges_s[-1] if bins else 1)
        panel.set_ylim(0, 1.05 * below.max(initial=0.0) or 1)
        panel.set_ylabel("requests per second")
        panel.yaxis.set_major_formatter(FuncFormatter(lambda value, _: format_count(value)))
        panel.xaxis.set_major_formatter(FuncFormatter(lambda value, _: format_tick(value)))
        panel.set_xlabel("since the beginning")
        legend_of(figure, panel)
        return figure


def _stretches(are_set: np.ndarray) -> Iterator[tuple[int, int]]:
    """Begin and end (exclusive) of each run of elements that are set."""
    edges = np.flatnonzero(np.diff(np.concatenate(([0], are_set.astype(int), [0]))))
    yield from zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True)


OTHERS = "others"


def most_frequent(counts: Mapping[str, Sequence[int]]) -> dict[str, Sequence[int]]:
    """Counts per bin of the five most frequent operations; all others summed as OTHERS."""
    ordered = sorted(counts, key=lambda operation: (-sum(counts[operation]), operation))
    kept: dict[str, Sequence[int]] = {name: counts[name] for name in ordered[:_SHOWN_OPERATIONS]}
    others = [counts[name] for name in ordered[_SHOWN_OPERATIONS:]]
    if others:
        kept[OTHERS] = np.sum(others, axis=0).tolist()
    return kept
