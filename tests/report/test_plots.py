"""Figures: the same bytes for the same values, text that is text, labels that may be anything."""

import xml.etree.ElementTree as ElementTree

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from osxfs_sim.model.formatting import format_wall_time
from osxfs_sim.report import plots
from osxfs_sim.report.latencies import Latencies
from osxfs_sim.report.plots import DARK, LIGHT, Style, WallTimes, render

STYLES = [Style(), Style(DARK, 3.4)]
CURVE = (np.array([1e5, 1e5, 2e5]), np.array([0.0, 0.5, 1.0]))


def walls(label: str = "osxfs") -> dict[str, list[WallTimes]]:
    native = WallTimes("native", [1.0, 1.1, 1.2], 1.1, (1.0, 1.2))
    return {"fresh": [native, WallTimes(label, [5.0, 50.0], 27.5, None, failed=1)]}


def figures(label: str, style: Style):
    yield plots.wall_times(walls(label), "native", style)
    yield plots.latencies({label: [Latencies("metadata", 9, CURVE, CURVE)]}, style)
    yield plots.attribution({label: {label: 3_000_000, plots.REST: 1_000_000}}, style)
    yield plots.requests_over_time({label: [1, 5, 2], "READ": [0, 0, 9]}, 1_000_000, style)


def texts(svg: bytes) -> str:
    return " ".join("".join(node.itertext()) for node in ElementTree.fromstring(svg).iter())


@pytest.mark.takes_seconds
@pytest.mark.parametrize("style", STYLES, ids=lambda style: style.theme.name)
def test_the_same_values_give_the_same_bytes_and_text_is_text(style):
    for first, second in zip(figures("osxfs", style), figures("osxfs", style), strict=True):
        svg = render(first, style, "svg")
        assert svg == render(second, style, "svg")
        assert "osxfs" in texts(svg)
        assert b"<dc:date>" not in svg
        assert style.theme.paper.encode() in svg


def test_a_png_is_one_and_always_the_same():
    style = Style()
    first, second = (
        render(plots.wall_times(walls(), "native", style), style, "png", 72) for _ in range(2)
    )
    assert first.startswith(b"\x89PNG")
    assert first == second


@pytest.mark.takes_seconds
@pytest.mark.parametrize(
    "label",
    ["<script>alert(1)</script> & co", "$\\frac{1}{", "\x00\x1b[31m", "\ud800", "日本語", "", " "],
)
def test_a_label_may_be_anything(label):
    style = Style()
    for figure in figures(label, style):
        ElementTree.fromstring(render(figure, style, "svg"))


def test_a_formula_is_shown_as_it_was_written():
    style = Style()
    svg = render(plots.wall_times(walls("a $x^2$"), "native", style), style, "svg")
    assert "a $x^2$ (1 failed)" in texts(svg)


def test_an_arm_of_which_no_run_counts_is_there_and_says_so():
    style = Style()
    groups = {"fresh": [WallTimes("osxfs", [], None, None, failed=3)]}
    svg = render(plots.wall_times(groups, "osxfs", style), style, "svg")
    assert "no run counts" in texts(svg)
    assert "osxfs (3 failed)" in texts(svg)


def test_ratios_become_distances_only_where_they_are_large():
    def label(slowest_s: float) -> str:
        groups = {"fresh": [WallTimes("a", [1.0], 1.0, None), WallTimes("b", [slowest_s], 1, None)]}
        return plots.wall_times(groups, "a", Style()).axes[0].get_xlabel()

    assert label(3.0) == "wall time"
    assert label(30.0) == "wall time (logarithmic)"


@settings(deadline=None)
@given(
    st.dictionaries(
        st.text("ABCDEFGH", min_size=1, max_size=3),
        st.lists(st.integers(0, 1000), min_size=4, max_size=4),
        max_size=12,
    )
)
def test_the_rarer_operations_are_summed_up_and_none_is_lost(counts):
    shown = plots.most_frequent(counts)
    assert len(shown) <= 6
    assert np.sum(list(shown.values()), axis=None) == np.sum(list(counts.values()), axis=None)


@settings(max_examples=300, deadline=None)
@given(st.floats(1e-6, 1e6))
def test_a_wall_time_has_at_least_three_digits_that_are_right(value_s):
    number, unit = format_wall_time(value_s).split()
    read_s = float(number) * {"s": 1.0, "ms": 1e-3}[unit]
    assert abs(read_s / value_s - 1) <= 0.0051


def luminance(colour: str) -> float:
    channels = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(first: str, second: str) -> float:
    low, high = sorted((luminance(first), luminance(second)))
    return (high + 0.05) / (low + 0.05)


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=lambda theme: theme.name)
def test_ink_and_colours_stand_out_from_the_paper(theme):
    assert contrast(theme.ink, theme.paper) >= 7
    assert min(contrast(colour, theme.paper) for colour in theme.colours) >= 2
    assert len(set(theme.colours)) == len(theme.colours)


def test_a_pale_colour_would_be_noticed():
    assert contrast("#F0E442", LIGHT.paper) < 2


def test_only_where_there_are_requests_an_area_is_drawn():
    counts = {"READ": [5, 5, 0, 5], "LOOKUP": [0, 0, 1, 0]}
    (panel,) = plots.requests_over_time(counts, 1_000_000, Style()).axes
    areas = [(patch.get_data().edges * 1e3, patch.get_data().values) for patch in panel.patches]
    drawn = [(edges.round().tolist(), values.tolist()) for edges, values in areas]
    assert drawn == [([0, 1, 2], [5000, 5000]), ([3, 4], [5000]), ([2, 3], [1000])]


LONG = [
    "attributes asked for again, which had just been answered",
    "answered without a crossing, by what was held",
    "names that do not exist, asked for again",
    "names that exist, asked for again",
    "listings read again",
]


@pytest.mark.takes_seconds
@pytest.mark.parametrize("width_inches", [3.4, 5.0, 7.5])
def test_no_legend_is_wider_than_its_picture(width_inches: float) -> None:
    style = Style(width_inches=width_inches)
    bars = {f"arm {number}": dict.fromkeys([*LONG, plots.REST], 10**9) for number in range(3)}
    figure = plots.attribution(bars, style)
    render(figure, style, "png")
    (legend,) = figure.legends
    box = legend.get_window_extent()
    assert box.x0 >= 0
    assert box.x1 <= figure.bbox.width
    # Short ones stand side by side.
    figure = plots.attribution({"arm": {"a": 1, "b": 1, plots.REST: 1}}, style)
    render(figure, style, "png")
    (legend,) = figure.legends
    heights = [text.get_window_extent().y0 for text in legend.get_texts()]
    assert width_inches < 5 or max(heights) - min(heights) < 5
