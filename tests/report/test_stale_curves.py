"""The picture of staleness: what is in it, found by the names of its parts."""

import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest

from osxfs_sim.coherence.staleness.measure import ViewResult
from osxfs_sim.coherence.staleness.predictions import (
    Direction,
    Mixture,
    NotSeen,
    Outlook,
    StalenessSample,
    Uniform,
    View,
    Within,
)
from osxfs_sim.report.plots import Style, render
from osxfs_sim.report.stale_curves import SCALES, stale_curves

MS = 10**6


def samples(seed: int, number: int = 40) -> tuple[StalenessSample, ...]:
    drawn = np.random.default_rng(seed).uniform(0, 100 * MS, number)
    return tuple(
        StalenessSample(0, 1, int(each), int(each) + MS, int(each) + 2 * MS) for each in drawn
    )


def result(
    view: View = View.CONTENT,
    direction: Direction = Direction.TO_GUEST,
    prediction=Uniform(0, 100 * MS),  # noqa: B008 (frozen)
    if_silent=None,
    seed: int = 1,
) -> ViewResult:
    outlook = Outlook(prediction, 100 * MS, 200 * MS, if_silent)
    return ViewResult(view, outlook, samples(seed), None, direction)


def drawn(results, scale: str = "log", style: Style = Style()) -> str:  # noqa: B008 (frozen)
    return render(stale_curves(results, style, "a title", scale), style, "svg").decode()


def ids(picture: str) -> set[str]:
    return set(re.findall(r'id="((?:band|measured|prediction|silent)-[^"]+)"', picture))


@pytest.mark.parametrize("scale", SCALES)
def test_every_panel_has_its_band_and_its_prediction(scale: str) -> None:
    picture = drawn([result(), result(View.HANDLE, Direction.TO_HOST)], scale)
    assert ids(picture) == {
        f"{part}-{name}"
        for part in ("band", "measured", "prediction-low", "prediction-high")
        for name in ("content-to-guest", "handle-to-host")
    }
    ET.fromstring(picture)
    for words in ("a title", "content, seen by the guest", "handle, seen by the host"):
        assert words in picture
    assert "95% band" in picture
    assert "predicted: between" in picture


@pytest.mark.takes_seconds
def test_where_nothing_is_predicted_nothing_is_drawn_for_it() -> None:
    assert ids(drawn([result(prediction=None)])) == {
        "band-content-to-guest",
        "measured-content-to-guest",
    }


def test_what_silent_losses_would_cost_is_drawn_where_it_is_known() -> None:
    silent = Mixture(((0.8, Within(10 * MS)), (0.2, NotSeen("lost"))))
    picture = drawn([result(prediction=Within(10 * MS), if_silent=silent), result(View.HANDLE)])
    assert "silent-content-to-guest" in ids(picture)
    assert "silent-handle-to-guest" not in ids(picture)
    assert "if losses were silent" in picture


def test_the_curves_are_those_of_the_samples() -> None:
    """Read from the figure: between the shares lies what the samples say, within the band."""
    figure = stale_curves([result()], Style(), "a title", "linear")
    (panel,) = figure.axes
    parts = {each.get_gid(): each for each in panel.collections}
    edges = {}
    for name in ("band", "measured"):
        vertices = parts[f"{name}-content-to-guest"].get_paths()[0].vertices
        edges[name] = (vertices[:, 1].min(), vertices[:, 1].max())
    assert edges["measured"] == (0, 1)
    assert edges["band"][0] == 0
    assert edges["band"][1] == 1
    (low, high) = (line for line in panel.lines if line.get_gid())
    assert low.get_gid() == "prediction-low-content-to-guest"
    times, values = high.get_xdata(), high.get_ydata()
    assert np.interp(50 * MS, times, values) == pytest.approx(0.5, abs=0.01)
    # A look of up to 1 ms may begin before.
    assert np.interp(50 * MS, low.get_xdata(), low.get_ydata()) == pytest.approx(0.49, abs=0.01)


def test_both_directions_of_a_view_stand_beside_each_other() -> None:
    results = [result(view, direction) for direction in Direction for view in list(View)[:2]]
    titles = [panel.get_title("left") for panel in stale_curves(results, Style(), "t").axes]
    assert titles == [
        "existence, seen by the guest",
        "existence, seen by the host",
        "absence, seen by the guest",
        "absence, seen by the host",
    ]


def test_an_odd_number_of_panels_leaves_none_empty_in_sight() -> None:
    figure = stale_curves([result(view) for view in list(View)[:3]], Style(), "t")
    assert [panel.get_visible() for panel in figure.axes] == [True, True, True, False]


def test_the_same_samples_make_the_same_picture() -> None:
    assert drawn([result()]) == drawn([result()])
    assert drawn([result()]) != drawn([result(seed=2)])


def test_what_was_never_seen_can_be_drawn() -> None:
    unseen = tuple(StalenessSample(0, 9, 2_000 * MS) for _ in range(5))
    outlook = Outlook(NotSeen("no request"), 0, 2_000 * MS)
    picture = drawn([ViewResult(View.MAPPING, outlook, unseen, None)])
    assert "band-mapping-to-guest" in ids(picture)


def test_a_narrow_picture_has_one_panel_a_row() -> None:
    figure = stale_curves([result(), result(View.HANDLE)], Style(width_inches=4.0), "t")
    lefts = {round(panel.get_subplotspec().colspan.start) for panel in figure.axes}
    assert lefts == {0}
