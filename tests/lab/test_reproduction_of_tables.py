"""What samples say about a published table: ratios, added seconds, the fit, and the checks."""

from typing import Any

import pytest
from support.reproducing import (
    LATENCY_NS,
    NATIVE_S,
    WAITING_S,
    comparison,
    ideal,
    samples,
    study,
    wall_s,
)

from osxfs_sim.lab.reproduction import (
    Reproduction,
    bars_of,
    bind_label,
    dilation_of,
    reproduction,
    table_arms,
)
from osxfs_sim.lab.study import TABLE, Topology, study_from


def cell(found: Reproduction, platform: str, topology: Topology) -> Any:
    (one,) = (one for one in found.cells if (one.platform, one.topology) == (platform, topology))
    return one


def test_arms_are_dilated_by_what_this_machine_is_slower() -> None:
    arms = table_arms(study(), NATIVE_S, {"slow": True, "local": False})
    assert arms == {
        "native": "native",
        "no volumes": "volume",
        "slow hybrid": "slow --dilate 5 --volume made",
        "slow bind": "slow --dilate 5",
        # 5.1 is as good as measured by the table's own 5.
        "slow bind K=1": "slow --dilate 1",
        "slow bind K=2": "slow --dilate 2",
        # Where nothing waits there is nothing to dilate.
        "local hybrid": "local --volume made",
        "local bind": "local",
    }


def test_extra_arms_are_measured_beside_the_tables_own() -> None:
    extra = study(extra_arms=[{"label": "grpc K=1", "words": "grpc-fuse"}])
    arms = table_arms(extra, NATIVE_S, {"slow": True, "local": False})
    assert arms["grpc K=1"] == "grpc-fuse"


def test_a_ratio_as_published_reaches_the_goal_and_another_misses_it() -> None:
    found = ideal()
    bind = cell(found, "Slow", Topology.BIND)
    assert (bind.ratio.value, bind.published, bind.error) == (2.0, 2.0, 0.0)
    assert bind.reached is True
    # A volume is to be as fast as native, whatever else was published.
    hybrid = cell(found, "Local", Topology.HYBRID)
    assert hybrid.error == pytest.approx(0.2)
    assert hybrid.reached is False
    assert hybrid.ratio_range == (pytest.approx(1.19), pytest.approx(1.21))


def test_what_was_not_measured_is_neither_reached_nor_missed() -> None:
    table = comparison(samples("native", [NATIVE_S]), {})
    found = reproduction(study(), NATIVE_S, {TABLE: table})
    bind = cell(found, "Slow", Topology.BIND)
    assert (bind.ours_s, bind.error, bind.reached) == (None, None, None)
    assert [one.ours for one in found.checked] == [None] * 5


def test_failed_runs_are_no_times() -> None:
    failed = samples("slow bind", [1.0, 1.0, 1.0], shared=True)
    for one in failed:
        one.failure = "it broke"
    table = comparison([*samples("native", [NATIVE_S] * 3), *failed], {"slow bind": 5.0})
    found = reproduction(study(), NATIVE_S, {TABLE: table})
    assert cell(found, "Slow", Topology.BIND).ours_s is None


def test_the_added_seconds_are_measured_and_the_line_says_what_of_them_is_waiting() -> None:
    (added,) = ideal().added  # the other platform has no requests to wait for
    assert added.platform == "Slow"
    assert added.published_s == 2.0
    assert added.measured_s == pytest.approx(WAITING_S)
    assert added.waiting_s == pytest.approx(WAITING_S)
    assert added.line is not None
    assert added.line.dilations == (1, 2, 5)
    assert (added.requests, added.latency_ns) == (100, LATENCY_NS)
    assert added.in_reach_at_1 is True
    assert added.fitted_ns == LATENCY_NS
    assert added.ratio_of_waiting == pytest.approx(2.0)


def test_what_the_emulator_itself_costs_is_measured_and_is_no_waiting() -> None:
    found = ideal(own_cost_s=3.0)
    (added,) = found.added
    assert added.measured_s == pytest.approx(WAITING_S + 3)
    assert added.waiting_s == pytest.approx(WAITING_S)
    assert added.fitted_ns == LATENCY_NS
    bind = cell(found, "Slow", Topology.BIND)
    assert bind.ratio.value == pytest.approx(2.3)
    assert bind.reached is False
    assert added.ratio_of_waiting == pytest.approx(2.0)


def test_a_dilation_below_the_floor_is_measured_and_kept_out_of_the_line() -> None:
    (added,) = ideal(floor_ns=3 * LATENCY_NS // 2).added
    assert added.in_reach_at_1 is False
    assert added.measured_s == pytest.approx(1.5 * WAITING_S)
    assert added.line is not None
    assert added.line.dilations == (2, 5)
    assert added.waiting_s == pytest.approx(WAITING_S)


def test_a_latency_that_adds_too_much_is_fitted_downwards() -> None:
    slow = study_from(
        {
            "name": "t",
            "title": "t",
            "case": "walk",
            "volume": "v",
            "local": "volume",
            "source": "s",
            "machine": "m",
            "platforms": [
                {
                    "name": "Slow",
                    "profile": "slow",
                    "native": 2.0,
                    "no_volumes": 2.0,
                    "hybrid": 2.0,
                    "bind": 3.0,  # half of what the samples add
                    "dilations": [1],
                }
            ],
        }
    )
    assert study().platforms[0].added_s == 2 * slow.platforms[0].added_s
    table = comparison(
        [
            *samples("native", [NATIVE_S] * 3),
            *samples("slow bind", [wall_s(5)] * 3, shared=True),
            *samples("slow bind K=1", [wall_s(1)] * 3, shared=True),
        ],
        {"slow bind": 5.0, "slow bind K=1": 1.0},
    )
    (added,) = reproduction(slow, NATIVE_S, {TABLE: table}).added
    assert added.fitted_ns == LATENCY_NS // 2


def test_checks_are_read_in_their_unit() -> None:
    again = comparison(
        [*samples("slow", [9.9] * 3, kind="again"), *samples("slow", [99.0] * 3)], {}
    )
    table = comparison(
        [
            *samples("native", [NATIVE_S] * 3),
            *samples("slow bind", [25.0] * 3),
            *samples("slow bind K=1", [12.5] * 3),
        ],
        {},
    )
    found = reproduction(study(), NATIVE_S, {TABLE: table, "other": again})
    times, less, seconds, elsewhere, not_here = found.checked
    assert (times.ours, times.error) == (2.5, 0.0)
    assert less.ours == pytest.approx(0.6)
    assert less.error == pytest.approx(0.2)
    assert seconds.ours == 2.5
    assert elsewhere.ours == 9.9
    assert elsewhere.error == pytest.approx(0.1)
    assert (not_here.ours, not_here.error) == (None, None)


def test_a_picture_has_a_bar_per_platform() -> None:
    slow, local = bars_of(ideal())
    assert (slow.label, slow.published, slow.ours, slow.ours_range) == ("Slow", 2, 2, (2, 2))
    assert (local.published, local.ours) == (1, 1)


def test_the_labels_of_a_platform_tell_its_dilations_apart() -> None:
    platform = study().platforms[0]
    assert dilation_of(platform, NATIVE_S) == 5
    assert {bind_label(platform), bind_label(platform, 1), bind_label(platform, 2)} == {
        "slow bind",
        "slow bind K=1",
        "slow bind K=2",
    }
