"""The frontier on made-up points: who is beaten, who is best, and when nobody can say."""

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from osxfs_sim.lab.frontier import (
    LIMITS,
    ParetoPlace,
    Point,
    Reach,
    Standing,
    beats,
    best_of,
    most_per_run_of_none,
    native_points,
    point_of,
    points_of,
    seems_better,
    standings,
    standings_of,
    upper_bound_of_none,
)
from osxfs_sim.lab.results import Comparison, Sample

MS = 1_000_000


def reaches() -> st.SearchStrategy[Reach]:
    numbers = st.integers(min_value=0, max_value=9)
    return st.lists(numbers, min_size=3, max_size=3).map(lambda three: Reach(*sorted(three)))


PLACES = st.lists(st.builds(ParetoPlace, reaches(), reaches()), max_size=8).map(
    lambda places: {str(number): place for number, place in enumerate(places)}
)


@given(PLACES)
def test_no_point_on_the_frontier_is_beaten_nor_seems_to_be(places: dict[str, ParetoPlace]) -> None:
    found = standings(places)
    for label, standing in found.items():
        if standing is Standing.FRONTIER:
            assert not any(beats(other, places[label]) for other in places.values())
            assert not any(seems_better(other, places[label]) for other in places.values())


@given(PLACES)
def test_every_beaten_point_is_beaten_by_one_that_is_not(places: dict[str, ParetoPlace]) -> None:
    found = standings(places)
    kept = [places[label] for label in places if found[label] is not Standing.BEATEN]
    for label, standing in found.items():
        is_beaten = any(beats(other, places[label]) for other in kept)
        assert is_beaten == (standing is Standing.BEATEN)


@pytest.mark.takes_seconds
@given(PLACES)
def test_whatever_is_not_on_the_frontier_seems_worse_than_something_on_it(
    places: dict[str, ParetoPlace],
) -> None:
    found = standings(places)
    frontier = [places[label] for label in places if found[label] is Standing.FRONTIER]
    for label, standing in found.items():
        seems_worse = any(seems_better(other, places[label]) for other in frontier)
        assert seems_worse == (standing is not Standing.FRONTIER)


@given(PLACES, st.builds(ParetoPlace, reaches(), reaches()))
def test_a_beaten_point_more_changes_nothing(
    places: dict[str, ParetoPlace], more: ParetoPlace
) -> None:
    found = standings({**places, "more": more})
    if found.pop("more") is Standing.BEATEN:
        assert found == standings(places)


@given(PLACES)
def test_somebody_is_always_on_the_frontier(places: dict[str, ParetoPlace]) -> None:
    assert (Standing.FRONTIER in standings(places).values()) == bool(places)


def place(wall: tuple[float, float, float], stale: tuple[float, float, float]) -> ParetoPlace:
    return ParetoPlace(Reach(*wall), Reach(*stale))


def test_what_only_seems_worse_is_left_open() -> None:
    fast = place((1, 2, 3), (0, 1, 2))
    assert standings({"fast": fast, "slow": place((4, 5, 6), (3, 4, 5))}) == {
        "fast": Standing.FRONTIER,
        "slow": Standing.BEATEN,
    }
    overlapping = place((4, 5, 6), (1, 4, 5))
    assert standings({"fast": fast, "slow": overlapping})["slow"] is Standing.OPEN
    trade = place((4, 5, 6), (0, 0, 0))
    assert set(standings({"fast": fast, "slow": trade}).values()) == {Standing.FRONTIER}


def test_a_slower_one_is_not_beaten_while_either_may_have_stale_answers_nobody_saw() -> None:
    # No stale answer was seen of either: the slower one may be the safer one.
    fast, slow = place((1, 1, 1), (0, 0, 0.6)), place((5, 5, 5), (0, 0, 0.6))
    assert standings({"fast": fast, "slow": slow})["slow"] is Standing.OPEN


# From samples


def risk(
    stale: dict[str, list[int]] | None = None, judged: int = 1000, **others: Any
) -> dict[str, Any]:
    """A run's, with stale answers of these ages in ns, by kind."""
    stale = stale or {}
    kinds = {
        kind: {"judged": judged, "stale": len(stale.get(kind, [])), "ages_ns": stale.get(kind, [])}
        for kind in ("existence", "attributes")
    }
    return {
        "edits": {"stream": "vim", "seed": 0, "made": 4, "skipped": 0},
        "answers": {"recorded": judged + 9, "judged": judged, "unknown": 9},
        "stale": kinds,
        "result": "same",
        "compared": ["exit"],
        **others,
    }


def samples(
    arm: str, walls_s: list[float], risks: list[dict[str, Any] | None], failure: str = ""
) -> list[Sample]:
    return [
        Sample(arm, number, "fresh", wall_s, 0.1, failure, risk=each)
        for number, (wall_s, each) in enumerate(zip(walls_s, risks, strict=True))
    ]


def point(
    arm: str, wall_s: float, stale_ages_ns: list[int], *, group: str = "", **others: Any
) -> Point:
    """Five runs near *wall_s*; the ages are those of the first."""
    risks: list[dict[str, Any] | None] = [risk({"attributes": stale_ages_ns}), *([risk()] * 4)]
    walls_s = [wall_s * factor for factor in (0.98, 0.99, 1.0, 1.01, 1.02)]
    return point_of(arm, group, samples(arm, walls_s, risks, **others), seed=0, resamples=200)


def test_stale_answers_are_counted_over_runs_and_kinds() -> None:
    risks: list[dict[str, Any] | None] = [
        risk({"existence": [5 * MS], "attributes": [1 * MS, 900 * MS]}),
        *([risk({"attributes": [2 * MS]})] * 4),
    ]
    found = point_of("a", "", samples("a", [1.0] * 5, risks), seed=0, resamples=500)
    assert (found.judged, found.stale, found.unknown, found.recorded) == (5000, 7, 45, 5045)
    assert found.kinds["existence"].stale == 1
    assert found.kinds["attributes"].stale == 6
    assert found.edits_per_run == 4
    assert found.ages_ns == (1 * MS, 2 * MS, 2 * MS, 2 * MS, 2 * MS, 5 * MS, 900 * MS)
    assert found.oldest_ns == 900 * MS
    assert found.stale_per_run is not None
    assert found.stale_per_run.value == pytest.approx(7 / 5)
    assert found.stale_per_run.interval is not None
    low, high = found.stale_per_run.interval
    assert 1 <= low <= 7 / 5 <= high <= 3
    assert found.stale_share is not None
    assert found.stale_share.value == pytest.approx(7 / 10_000)  # of both kinds
    assert found.p99_age_ns is not None
    assert 5 * MS < found.p99_age_ns.value <= 900 * MS


def test_the_interval_is_of_runs_and_not_of_answers() -> None:
    """A hundred stale answers in one run of five are one bad run, and not a hundred."""
    found = point("a", 1.0, [MS] * 100)
    assert found.stale_per_run is not None
    assert found.stale_per_run.value == 20
    assert found.stale_per_run.interval is not None
    assert found.stale_per_run.interval[0] == 0
    assert found.stale_per_run.interval[1] >= 40


def test_none_seen_is_not_none() -> None:
    found = point("a", 1.0, [])
    assert found.stale_per_run is not None
    assert found.stale_per_run.interval == (0.0, most_per_run_of_none(5))
    assert found.stale_share is not None
    assert found.stale_share.interval == (0.0, upper_bound_of_none(10_000))


def test_the_rule_of_three() -> None:
    assert upper_bound_of_none(0) == 1
    assert upper_bound_of_none(1) == pytest.approx(0.95)
    for count in (100, 10_000):
        assert upper_bound_of_none(count) == pytest.approx(3 / count, rel=0.03)
        # What it says: with this share, to see none is as unlikely as 5 %.
        assert (1 - upper_bound_of_none(count)) ** count == pytest.approx(0.05)
    assert most_per_run_of_none(5) == pytest.approx(3 / 5, rel=0.01)


def test_failed_runs_do_not_count_for_time_and_do_for_stale_answers() -> None:
    taken = samples("a", [1.0] * 5, [risk()] * 5)
    taken += samples("a", [99.0], [risk({"existence": [MS]}, result="failed")], failure="exit 1")
    found = point_of("a", "", taken, seed=0, resamples=100)
    assert (found.runs, found.failed, found.stale) == (5, 1, 1)
    assert found.wall_s is not None
    assert found.wall_s.value == 1.0


def test_few_runs_have_no_interval_and_beat_nobody() -> None:
    def few(arm: str, wall_s: float, stale: list[int]) -> Point:
        taken = samples(arm, [wall_s] * 3, [risk({"existence": stale})] * 3)
        return point_of(arm, "", taken, seed=0, resamples=100)

    found = standings_of([few("good", 1.0, [MS]), few("bad", 9.0, [MS] * 9)])
    assert found == {"good": Standing.FRONTIER, "bad": Standing.OPEN}


def test_without_edits_there_is_a_time_and_no_standing() -> None:
    found = point_of("a", "", samples("a", [1.0] * 5, [None] * 5), seed=0, resamples=100)
    assert found.stale_per_run is None
    assert found.place is None
    assert standings_of([found]) == {"a": Standing.UNKNOWN}


def test_only_arms_of_one_group_compete() -> None:
    mine, other = point("a", 1.0, [], group="x"), point("b", 9.0, [MS] * 500, group="y")
    assert set(standings_of([mine, other]).values()) == {Standing.FRONTIER}
    assert [best.group for best in best_of([mine, other], LIMITS[:1])] == ["x", "y"]


# Who is best


def names(points: list[Point]) -> list[str | None]:
    return [best.point and best.point.arm for best in best_of(points)]


def test_the_best_at_each_limit() -> None:
    safe, young = point("safe", 9.0, []), point("young", 5.0, [99 * MS])
    fast = point("fast", 1.0, [100 * MS])
    assert names([safe, young, fast]) == ["safe", "young", "fast"]
    none_seen, below, anything = best_of([safe, young, fast])
    assert none_seen.why_not == {"young": "1 answers beyond", "fast": "1 answers beyond"}
    assert below.why_not == {"fast": "1 answers beyond"}
    assert anything.why_not == {}
    assert all(best.is_sure and not best.not_slower for best in (none_seen, below, anything))


def test_another_result_without_a_stale_answer_is_not_the_best_below_a_limit() -> None:
    """What made it was not seen: a mapping, or a program that answers were not taken down of."""
    walls_s = [0.98, 0.99, 1.0, 1.01, 1.02]
    odd = point_of("odd", "", samples("odd", walls_s, [risk(result="changed")] * 5), seed=0)
    none_seen, below, anything = best_of([point("safe", 9.0, []), odd])
    assert none_seen.why_not == below.why_not == {"odd": "5 of its runs had another result"}
    assert [each.point.arm for each in (none_seen, anything) if each.point] == ["safe", "odd"]


def test_nobody_may_qualify() -> None:
    found = best_of([point("a", 1.0, [200 * MS]), point("b", 2.0, [5 * MS], failure="exit code 1")])
    assert [best.point and best.point.arm for best in found] == [None, None, "a"]
    assert found[0].why_not["b"] == "no run counts"


def test_an_arm_with_a_failed_run_is_never_the_best() -> None:
    taken = samples("a", [1.0] * 5, [risk()] * 5) + samples("a", [1.0], [risk()], "exit code 1")
    unreliable = point_of("a", "", taken, seed=0, resamples=100)
    assert names([unreliable]) == [None] * 3
    assert best_of([unreliable])[2].why_not == {"a": "1 of its runs failed"}


def test_without_edits_only_the_last_limit_has_a_best() -> None:
    unwatched = point_of("a", "", samples("a", [1.0] * 5, [None] * 5), seed=0, resamples=100)
    assert names([unwatched]) == [None, None, "a"]


def test_what_cannot_be_told_from_the_best_is_named() -> None:
    first, near, far = point("a", 1.0, []), point("b", 1.01, []), point("c", 2.0, [])
    assert best_of([first, near, far])[0].not_slower == ("b",)


def test_too_few_runs_are_said_to_be_unsure() -> None:
    few = [
        point_of(arm, "", samples(arm, [wall_s], [risk()]), seed=0, resamples=100)
        for arm, wall_s in (("a", 1.0), ("b", 2.0))
    ]
    assert best_of(few)[0].point is few[0]
    assert not best_of(few)[0].is_sure


def test_a_stale_answer_of_unknown_age_is_beyond_every_limit() -> None:
    unknown = risk()
    unknown["stale"]["existence"]["stale"] = 2
    unknown["stale"]["existence"]["ages_ns"] = [MS]
    found = point_of("a", "", samples("a", [1.0], [unknown]), seed=0, resamples=100)
    assert found.stale_beyond(100 * MS) == 1
    assert found.stale_beyond(MS) == 2


# From a comparison


def comparison(groups: dict[str, str] | None = None) -> Comparison:
    return Comparison(
        case="look",
        title="Look",
        variant="default",
        quick=False,
        options=[],
        arms=["native", "osxfs", "quick=osxfs"],
        baseline="native",
        caches="warm",
        seed=0,
        dilate=1.0,
        started="2026-01-01T00:00:00+00:00",
        machine={},
        specs={
            "native": {"profile": "native", "options": {}},
            "osxfs": {"profile": "osxfs", "options": {}},
            "quick=osxfs": {"profile": "osxfs", "options": {"latency_ns": 1}},
        },
        plan={} if groups is None else {"groups": groups},
        samples=[
            *samples("native", [0.5], [risk()]),
            *samples("osxfs", [2.0], [risk()]),
            *samples("quick=osxfs", [1.0], [risk()]),
        ],
    )


def test_native_is_nobodys_rival() -> None:
    found = points_of(comparison(), resamples=100)
    assert [one.arm for one in found] == ["osxfs", "quick=osxfs"]
    assert [one.arm for one in native_points(comparison(), resamples=100)] == ["native"]


def test_groups_are_those_of_the_sweep_and_all_are_one_without() -> None:
    assert {one.group for one in points_of(comparison(), resamples=9)} == {""}
    groups = {"osxfs": "slow", "quick=osxfs": "fast"}
    assert [one.group for one in points_of(comparison(groups), resamples=9)] == ["slow", "fast"]


def test_a_second_run_on_the_same_mount_is_another_matter() -> None:
    document = comparison()
    again = Sample("osxfs", 0, "again", 9.0, 0.1, risk=risk({"existence": [MS]}))
    document.samples.append(again)
    found = points_of(document, resamples=9)[0]
    assert (found.runs, found.stale) == (1, 0)


def test_a_value_is_within_its_reach() -> None:
    found = point("a", 1.0, [MS] * 100)
    assert found.place is not None
    for reach in (found.place.wall_s, found.place.stale):
        assert reach.low <= reach.value <= reach.high < math.inf
