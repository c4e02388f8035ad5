"""Every target is shown a result that it must accept and one that it must reject."""

import copy
import math
from typing import Any

import pytest

from bench.targets import TARGETS, Result, Target, Verdict, judge


def _serial(asked_us: float, p50_us: float, **more: Any) -> dict[str, Any]:
    return {
        "asked_us": asked_us,
        "clients": 1,
        "own_directories": False,
        "p50_us": p50_us,
        "p90_us": p50_us * 1.05,
        "receipt_less_client_us": 1.0,
        "requests_per_s": 1e6 / p50_us,
        **more,
    }


def _several(clients: int, p50_us: float, requests_per_s: float) -> dict[str, Any]:
    return _serial(130.0, p50_us) | {
        "clients": clients,
        "own_directories": True,
        "requests_per_s": requests_per_s,
    }


GOOD: dict[str, Result] = {
    "floor": {
        "rows": [
            {"server": "share", "clients": 1, "p50_us": 26.0},
            {"server": "share", "clients": 8, "p50_us": 170.0},
            {"server": "bindfs", "clients": 1, "p50_us": 20.0, "share_to_this": 1.3},
            {"server": "passthrough_ll", "clients": 1, "p50_us": 14.0, "share_to_this": 1.9},
        ]
    },
    "latency": {
        "rows": [
            _serial(40.0, 39.0),
            _serial(130.0, 130.0, name="missing"),
            _serial(130.0, 129.0, name="there"),
            _serial(1_000.0, 1_004.0, receipt_less_client_us=20.0),
            _serial(10_000.0, 9_950.0, receipt_less_client_us=50.0),
            _several(4, 131.0, 28_000),
            _several(8, 200.0, 33_000),
        ]
    },
    "sequential": {
        "rows": [
            {"cap": "250MB/s", "direction": "read", "megabytes_per_s": 247.0},
            {"cap": "250MB/s", "direction": "write", "megabytes_per_s": 190.0},
            {"cap": "none", "direction": "read", "megabytes_per_s": 1_400.0},
        ]
    },
    "control": {
        "rows": [
            {"what": "status answers", "times": 100, "worst_ms": 60.0},
            {"what": "SIGTERM to gone", "times": 5, "worst_ms": 600.0, "clean": 5},
        ]
    },
    "forced_end": {
        "rows": [
            {"state": "idle", "worst_ms": 600.0, "gone_worst_ms": 600.0},
            {"state": "3 s latency", "worst_ms": 1_400.0, "gone_worst_ms": 1_300.0},
        ]
    },
    "idle": {
        "rows": [
            {"share_of_core": 0.002, "pm_qos_held_afterwards": False},
            {"share_of_core": 0.0, "pm_qos_held_afterwards": False},
        ]
    },
    "burst": {
        "rows": [
            {
                "burst": kind,
                "where": where,
                "p50_us": p50_us,
                "wrong_at_the_end": 0,
                "grown_mib": 5.0,
            }
            for kind, where, p50_us in (
                ("-", "none", 130.0),
                ("unpack", "beside the share", 131.0),
                ("unpack", "in the share", 135.0),
            )
        ]
    },
    "write_back": {
        "rows": [
            {"share": "written through", "to_written_through": 1.0},
            {"share": "held", "to_written_through": 1.6},
            {
                "share": "held, more than may be",
                "achieved_to_asked": 1.02,
                "most_changes_at_risk": 50,
                "limit_changes": 50,
            },
        ]
    },
    "tracing": {"rows": [{"cost_us": 1.4, "lost": 0}, {"cost_us": 1.2, "lost": 0}]},
    "simulate": {
        "rows": [
            {"implementation": "fast", "whole_per_s": 1_400_000, "reference_per_s": 150_000},
            {"implementation": "reference", "whole_per_s": 90_000, "reference_per_s": 250_000},
        ]
    },
    "inodes": {
        "bytes_per_inode": 400.0,
        "rows": [
            {"when": "start", "now_bytes": 50_000_000},
            {"when": "looked up", "now_bytes": 450_000_000},
            {"when": "forgotten", "now_bytes": 60_000_000},
        ],
    },
}


# Per target: which row of its good result is spoiled, what in it, and by how much it then misses.
# A row of None is the result itself.
SPOILED: dict[str, list[tuple[int | None, str, Any, float]]] = {
    "130 us, one client, median": [(1, "p50_us", 134.5, 0.5), (2, "p50_us", 125.0, 1.0)],
    "130 us, one client, p90": [(1, "p90_us", 151.0, 1.0)],
    "40 us, one client, median": [(0, "p50_us", 44.0, 1.0), (0, "p50_us", 37.0, 1.0)],
    "130 us, four clients, median": [(5, "p50_us", 141.0, 1.0)],
    "130 us, eight clients, throughput": [(6, "requests_per_s", 24_000, 1_000.0)],
    "1 ms, one client, median off by": [
        (3, "p50_us", 1_020.0, 0.01),
        (3, "p50_us", 980.0, 0.01),
    ],
    "10 ms, one client, median off by": [(4, "p50_us", 10_300.0, 0.02)],
    "receipt's median against the client's": [
        (2, "receipt_less_client_us", -6.0, 1.0),
        (0, "receipt_less_client_us", 7.0, 2.0),
    ],
    "floor, one client, median": [(0, "p50_us", 31.0, 1.0)],
    "floor to bindfs, one client": [(2, "share_to_this", 2.5, 0.3)],
    "floor to libfuse's passthrough_ll, one client": [(3, "share_to_this", 2.3, 0.1)],
    "sequential read, 250 MB/s asked": [
        (0, "megabytes_per_s", 230.0, 7.5),
        (0, "megabytes_per_s", 270.0, 7.5),
    ],
    "sequential read, no limit": [(2, "megabytes_per_s", 999.0, 1.0)],
    "status under load, slowest answer": [(0, "worst_ms", 210.0, 10.0)],
    "SIGTERM to gone under load, slowest": [(1, "worst_ms", 2_500.0, 500.0)],
    "ends under load that were not clean": [(1, "clean", 4, 1.0)],
    "umount --force, slowest, in any state": [(1, "worst_ms", 2_300.0, 300.0)],
    "mount, server and guests gone by force, slowest, in any state": [
        (0, "gone_worst_ms", 2_500.0, 500.0)
    ],
    "processor time when idle": [(1, "share_of_core", 0.03, 0.02)],
    "PM QoS held when idle": [(0, "pm_qos_held_afterwards", True, 1.0)],
    "memory for a million inodes": [(None, "bytes_per_inode", 2_000.0, 930.0)],
    "untrue answers after a burst of host changes": [(2, "wrong_at_the_end", 1, 1.0)],
    "memory for a burst of 10,000 host changes": [(2, "grown_mib", 100.0, 36.0)],
    "130 us, p50 during a burst of host changes": [(2, "p50_us", 262.0, 0.9)],
    "a held write of 1 KiB, median": [(1, "to_written_through", 2.5, 0.5)],
    "crossings in the background, median off by": [(2, "achieved_to_asked", 0.9, 0.05)],
    "changes held beyond the limit": [(2, "most_changes_at_risk", 57, 7.0)],
    "recording a request, in the median": [(1, "cost_us", 2.25, 0.25)],
    "requests lost by the trace": [(0, "lost", 3, 3.0)],
    "requests predicted in a second of a processor, reading the file included": [
        (0, "whole_per_s", 900_000, 100_000.0)
    ],
    "the same, run alone, with a user's policy in Python": [
        (1, "reference_per_s", 150_000, 50_000.0)
    ],
    "memory after they are forgotten, of what may be left": [
        (2, "now_bytes", 230_000_000, 1.0),
    ],
}


def _spoiled(target: Target, row: int | None, key: str, value: Any) -> Result:
    result = copy.deepcopy(GOOD[target.benchmark])
    place = result if row is None else result["rows"][row]
    assert key in place, f"{key} is not in the good result: the target would not be tested"
    place[key] = value
    return result


def test_every_target_has_a_good_and_a_bad_result() -> None:
    names = [target.name for target in TARGETS]
    assert len(set(names)) == len(names)
    assert set(names) == set(SPOILED)
    assert {target.benchmark for target in TARGETS} == set(GOOD)


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_a_good_result_meets_the_target(target: Target) -> None:
    judgement = target.judge(GOOD[target.benchmark])
    assert judgement.verdict is Verdict.MET
    assert judgement.missed_by == 0
    assert judgement.value is not None


@pytest.mark.parametrize(
    ("target", "spoiled"),
    [(target, spoiled) for target in TARGETS for spoiled in SPOILED[target.name]],
    ids=lambda part: part.name if isinstance(part, Target) else f"{part[1]}={part[2]}",
)
def test_a_bad_result_misses_the_target(
    target: Target, spoiled: tuple[int | None, str, Any, float]
) -> None:
    row, key, value, missed_by = spoiled
    judgement = target.judge(_spoiled(target, row, key, value))
    assert judgement.verdict is Verdict.MISSED
    assert judgement.missed_by == pytest.approx(missed_by, rel=0.01)


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_what_was_not_measured_is_neither_met_nor_missed(target: Target) -> None:
    result = copy.deepcopy(GOOD[target.benchmark])
    result["rows"] = [row for row in result["rows"] if row.get("when") == "start"]
    if target.name == "memory for a million inodes":
        result["bytes_per_inode"] = math.nan
    judgement = target.judge(result)
    assert judgement.verdict is Verdict.NOT_MEASURED
    assert judgement.value is None


def test_the_worst_row_decides() -> None:
    result = copy.deepcopy(GOOD["latency"])
    result["rows"][1]["p50_us"] = 135.0
    result["rows"][2]["p50_us"] = 140.0
    (judgement,) = [
        j
        for j in judge("latency", result)
        if j.target.name.endswith("client, median") and j.target.name.startswith("130 us")
    ]
    assert judgement.value == 140.0
    assert judgement.missed_by == 6.0


def test_where_all_rows_are_good_the_one_with_least_room_is_shown() -> None:
    (judgement,) = [j for j in judge("idle", GOOD["idle"]) if "processor" in j.target.name]
    assert judgement.value == 0.002


@pytest.mark.parametrize(("value", "met"), [(1.0, True), (2.0, True), (1.99, True), (0.99, False)])
def test_bounds_belong_to_what_is_allowed(value: float, met: bool) -> None:
    target = Target("n", "b", "t", "u", lambda result: result["rows"], at_least=1, at_most=2)
    assert (target.judge({"rows": [value]}).verdict is Verdict.MET) == met


def test_a_bound_that_must_not_be_reached_is_missed_when_reached() -> None:
    target = Target("n", "b", "t", "u", lambda result: result["rows"], below=200)
    judgement = target.judge({"rows": [200.0]})
    assert judgement.verdict is Verdict.MISSED
    assert judgement.missed_by > 0


def test_only_the_targets_of_the_benchmark_are_judged() -> None:
    assert {judgement.target.benchmark for judgement in judge("idle", GOOD["idle"])} == {"idle"}
    assert judge("listing", {"rows": []}) == []
