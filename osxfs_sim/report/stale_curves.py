"""The picture of staleness: how likely a read returns the old state, against the time since.

A panel per view and direction. What was measured is a band (curves.py); what was predicted is
drawn over it, as the two dashed lines that it must lie between.
"""

import textwrap
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, NullLocator

from osxfs_sim.coherence.staleness.curves import CONFIDENCE, Band, Curve, Numbers
from osxfs_sim.coherence.staleness.measure import ViewResult
from osxfs_sim.coherence.staleness.predicted import band_of_reads, predicted_band
from osxfs_sim.coherence.staleness.predictions import Direction
from osxfs_sim.model.formatting import format_duration, format_percent
from osxfs_sim.report.plots import (
    Style,
    drawable,
    drawing,
    empty_figure,
    legend_of,
    mark_logarithmic,
)

LOGARITHMIC, LINEAR = "log", "linear"
SCALES = (LOGARITHMIC, LINEAR)

SEEN_BY = {Direction.TO_GUEST: "seen by the guest", Direction.TO_HOST: "seen by the host"}

_FIRST_NS = 1_000.0  # no read is faster
_POINTS = 800


def stale_curves(
    results: Sequence[ViewResult], style: Style, title: str, scale: str = LOGARITHMIC
) -> Figure:
    """A figure of P(stale) over time since the change, with band and prediction, per view.

    All panels have one axis of time: *scale* is one of SCALES.
    """
    columns = 1 if style.is_narrow or len(results) == 1 else 2
    rows = -(-len(results) // columns)
    results = _beside_each_other(results)
    last_ns = _last_ns(results)
    with drawing(style):
        figure = empty_figure(style, 1.1 + 1.75 * rows)
        title = "\n".join(textwrap.wrap(drawable(title), round(13 * style.width_inches)))
        figure.suptitle(title, x=0.01, ha="left", fontsize=10.5, color=style.theme.ink)
        panels = figure.subplots(rows, columns, squeeze=False, sharex=True, sharey=True)
        used: list[Axes] = list(panels.flat[: len(results)])
        for panel, result in zip(used, results, strict=True):
            if scale == LOGARITHMIC:
                panel.set_xscale("log")
            panel.set_xlim(_FIRST_NS if scale == LOGARITHMIC else 0, last_ns)
            _panel(panel, result, _times_ns(last_ns, scale), style)
        for empty in panels.flat[len(results) :]:
            empty.set_visible(False)
        for panel in used:
            if scale == LOGARITHMIC:
                mark_logarithmic(panel, style)
            else:
                panel.xaxis.set_minor_locator(NullLocator())
            panel.xaxis.set_major_formatter(FuncFormatter(lambda value, _: format_duration(value)))
            panel.tick_params(axis="x", labelbottom=True)
        for panel in used[-columns:]:
            panel.set_xlabel(
                "since the change" + (" (logarithmic)" if scale == LOGARITHMIC else "")
            )
        legend_of(figure, _with_most_in_its_legend(used))
        return figure


def _beside_each_other(results: Sequence[ViewResult]) -> list[ViewResult]:
    """Where both directions were measured, those of one view together, in the views' order."""
    order = {view: number for number, view in enumerate(each.view for each in results)}
    if len({each.direction for each in results}) == 1:
        return list(results)
    return sorted(results, key=lambda each: order[each.view])


def _panel(panel: Axes, result: ViewResult, times_ns: Numbers, style: Style) -> None:
    """One view. Each artist is named, so that a reader of the SVG can find it."""
    curve = Curve.of(result.samples)
    name = f"{result.view.name.lower()}-{result.direction}"
    measured, shares = curve.band(times_ns), curve.shares(times_ns)
    _fill(
        panel,
        times_ns,
        measured,
        color=style.colour(0),
        alpha=0.25,
        linewidth=0,
        label=f"{format_percent(CONFIDENCE, 0)} band, all moments at once",
        gid=f"band-{name}",
    )
    _fill(
        panel,
        times_ns,
        shares,
        facecolor=style.colour(0),
        edgecolor=style.colour(0),
        linewidth=1.6,
        label="measured: between",
        gid=f"measured-{name}",
    )
    outlook = result.outlook
    if outlook.prediction is not None:
        predicted = band_of_reads(outlook.prediction, outlook.phase_ns, result.samples, times_ns)
        for edge, values in (("low", predicted.low), ("high", predicted.high)):
            panel.plot(
                *_corners(times_ns, values),
                color=style.theme.ink,
                linewidth=1.1,
                linestyle=(0, (4, 2)),
                label="predicted: between" if edge == "low" else None,
                gid=f"prediction-{edge}-{name}",
            )
    if outlook.if_silent is not None:
        silent = predicted_band(outlook.if_silent, outlook.phase_ns, times_ns)
        panel.plot(
            *_corners(times_ns, silent.low),
            color=style.colour(3),
            linewidth=1.3,
            linestyle=":",
            label="at least, if losses were silent",
            gid=f"silent-{name}",
        )
    panel.set_title(f"{result.view.value}, {SEEN_BY[result.direction]}", fontsize=9)
    panel.set_ylim(-0.03, 1.05)
    panel.set_yticks((0, 0.5, 1), ("0%", "50%", "100%"))


def _fill(panel: Axes, times_ns: Numbers, band: Band, **look: Any) -> None:
    where_ns, low, high = _corners(times_ns, band.low, band.high)
    panel.fill_between(where_ns, low, high, **look)


def _with_most_in_its_legend(panels: Sequence[Axes]) -> Axes:
    return max(panels, key=lambda panel: len(panel.get_legend_handles_labels()[1]))


def _last_ns(results: Sequence[ViewResult]) -> float:
    """A little after the last that was seen anywhere, or after the longest wait."""
    latest = [
        max(each for each in (sample.upper_ns, sample.lower_ns) if each is not None)
        for result in results
        for sample in result.samples
    ]
    return max(10 * _FIRST_NS, 1.3 * max(latest))


def _times_ns(last_ns: float, scale: str) -> Numbers:
    """Where to look at the curves: evenly along the axis, closer than a reader sees."""
    if scale == LOGARITHMIC:
        return np.geomspace(_FIRST_NS, last_ns, _POINTS)
    return np.linspace(0, last_ns, _POINTS)


def _corners(times_ns: Numbers, *curves: Numbers) -> tuple[Numbers, ...]:
    """*times_ns* and *curves* without the points that lie between equal ones: a smaller file."""
    kept = np.ones(len(times_ns), dtype=bool)
    kept[1:-1] = False
    for values in curves:
        is_step = np.diff(values) != 0
        kept[:-1] |= is_step
        kept[1:] |= is_step
    return tuple(each[kept] for each in (times_ns, *curves))
