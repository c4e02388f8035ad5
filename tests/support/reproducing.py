"""A tiny study and samples for it, for the tests of what is derived and of how it is shown."""

from typing import Any

from osxfs_sim.lab.reproduction import Reproduction, reproduction
from osxfs_sim.lab.results import Comparison, Sample
from osxfs_sim.lab.study import TABLE, Study, study_from

NATIVE_S = 10.0
WAITING_S = 2.0  # of the share, at K = 1
LATENCY_NS = 100_000


def study(**changes: Any) -> Study:
    return study_from(
        {
            "name": "tiny",
            "title": "A tiny table",
            "case": "walk",
            "volume": "made",
            "local": "volume",
            "source": "nobody",
            "machine": "a big one",
            "platforms": [
                {
                    "name": "Slow",
                    "profile": "slow",
                    "native": 2.0,
                    "no_volumes": 2.0,
                    "hybrid": 2.1,
                    "bind": 4.0,
                    "dilations": [1, 2, 5.1],
                },
                {
                    "name": "Local",
                    "profile": "local",
                    "native": 2.0,
                    "no_volumes": 2.0,
                    "hybrid": 2.0,
                    "bind": 2.0,
                },
            ],
            "checks": [
                {
                    "text": "so many times",
                    "source": "somebody",
                    "published": 2.5,
                    "unit": "times",
                    "value": {"case": "table", "arm": "slow bind", "over": "native"},
                },
                {
                    "text": "so much less",
                    "source": "somebody",
                    "published": 0.5,
                    "unit": "less",
                    "value": {"case": "table", "arm": "native", "over": "slow bind"},
                },
                {
                    "text": "so many seconds more",
                    "source": "somebody",
                    "published": 2.0,
                    "unit": "s",
                    "value": {"case": "table", "arm": "slow bind K=1", "minus": "native"},
                },
                {
                    "text": "elsewhere",
                    "source": "somebody",
                    "published": 9.0,
                    "unit": "s",
                    "value": {"case": "other", "arm": "slow", "kind": "again"},
                },
                {
                    "text": "not here",
                    "source": "somebody",
                    "published": 9.0,
                    "unit": "s",
                    "not_run": "it needs a Mac",
                },
            ],
            "others": [{"name": "other", "case": "walk", "arms": ["slow"], "again": True}],
            **changes,
        }
    )


def share(*, good: bool = True) -> dict[str, Any]:
    line = {
        "within_tolerance": good,
        "count": 100,
        "late": 0,
        "target_p50_ns": LATENCY_NS,
        "observed_p50_ns": LATENCY_NS,
    }
    return {
        "requests": {"LOOKUP": 90, "GETATTR": 10},
        "receipt": {"metadata": line},
        "server_processor_s": 1.0,
    }


def mounted(dilate: float, floor_ns: int) -> dict[str, Any]:
    base_ns = {"metadata": round(LATENCY_NS * dilate)}
    return {
        "latency": {"base_ns": base_ns},
        "dilate": dilate,
        "warnings": [],
        "calibration": {"floor_ns": floor_ns},
    }


def samples(
    label: str,
    walls_s: list[float],
    *,
    shared: bool = False,
    good: bool = True,
    kind: str = "fresh",
) -> list[Sample]:
    status = share(good=good) if shared else None
    return [
        Sample(label, number, kind, wall_s, 1.0, share=status)
        for number, wall_s in enumerate(walls_s)
    ]


def comparison(
    all_samples: list[Sample], dilations: dict[str, float], *, floor_ns: int = 0
) -> Comparison:
    return Comparison(
        case="walk",
        title="A walk",
        variant="flat",
        quick=False,
        options=[],
        arms=list(dict.fromkeys(sample.arm for sample in all_samples)),
        baseline=all_samples[0].arm,
        caches="warm",
        seed=0,
        dilate=1.0,
        started="2026-01-01T00:00:00+00:00",
        machine={},
        mounted={label: mounted(dilate, floor_ns) for label, dilate in dilations.items()},
        samples=all_samples,
    )


def wall_s(dilate: float) -> float:
    return NATIVE_S + dilate * WAITING_S


def ideal(*, floor_ns: int = 0, own_cost_s: float = 0.0) -> Reproduction:
    """As a machine would have it on which everything is as published.

    But that it cannot answer sooner than after *floor_ns*, and that the emulator takes
    *own_cost_s* of the workload's processors in each run.
    """

    def shared_s(dilate: float) -> float:
        asked_ns = LATENCY_NS * dilate
        return own_cost_s + wall_s(dilate * max(1.0, floor_ns / asked_ns))

    table = comparison(
        [
            *samples("native", [NATIVE_S] * 3),
            *samples("no volumes", [NATIVE_S] * 3),
            *samples("slow hybrid", [10.5, 10.4, 10.6], shared=True),
            *samples("slow bind", [shared_s(5)] * 3, shared=True),
            *samples("slow bind K=1", [shared_s(1)] * 3, shared=True),
            *samples("slow bind K=2", [shared_s(2)] * 3, shared=True),
            *samples("local hybrid", [12.0, 12.1, 11.9]),
            *samples("local bind", [NATIVE_S] * 3),
        ],
        {"slow bind": 5.0, "slow bind K=1": 1.0, "slow bind K=2": 2.0},
        floor_ns=floor_ns,
    )
    return reproduction(study(), NATIVE_S, {TABLE: table})
