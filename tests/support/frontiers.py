"""Comparisons under host edits, made by hand: what each arm takes, and how stale it is."""

from collections.abc import Mapping
from random import Random
from typing import Any

from osxfs_sim.cli.arms import parse_arms
from osxfs_sim.coherence.answers.risk import KINDS
from osxfs_sim.lab.results import Comparison, Sample
from osxfs_sim.lab.sweep import load_sweep

MS = 1_000_000
# Per arm: seconds, and about how many stale answers a run has.
ARMS: Mapping[str, tuple[float, int]] = {
    "native": (1.4, 0),
    "osxfs": (53, 0),
    "osxfs-negative": (3.5, 0),
    "osxfs-complete": (2.9, 1),
    "osxfs-cached": (8.4, 1),
    "events-1s": (8.35, 60),
    "lifetime-100ms": (11, 6),
    "lifetime-10s": (8.4, 400),
    "osxfs-delegated": (8.1, 2),
    "docker-vz": (5, 30),
    "virtiofsd-auto": (3, 40),
}


def risk(
    stale: Mapping[str, list[int]] | None = None, judged: int = 9_000, **others: Any
) -> dict[str, Any]:
    """A run's document: for each kind the ages in ns of what was stale."""
    stale = stale or {}
    return {
        "edits": {"stream": "vim", "seed": 0, "made": 4, "skipped": 0},
        "answers": {"recorded": judged + 9, "judged": judged, "unknown": 9},
        "stale": {
            kind: {
                "judged": judged if kind == "attributes" else 0,
                "stale": len(stale.get(kind, [])),
                "ages_ns": stale.get(kind, []),
            }
            for kind in KINDS
        },
        "result": "same",
        "compared": ["exit"],
        **others,
    }


def comparison(case: str = "rake", runs: int = 5, seed: int = 1, **others: Any) -> Comparison:
    """The short sweep, *runs* of each arm."""
    random = Random(seed)
    sweep = load_sweep("short")
    arms = parse_arms(sweep.arms)
    made = Comparison(
        case=case,
        title=f"The case {case}",
        variant="mid",
        quick=False,
        options=[],
        arms=[arm.label for arm in arms],
        baseline="native",
        caches="warm",
        seed=0,
        dilate=1.0,
        started="2026-11-27T20:00:00+00:00",
        machine={"processor": "AMD EPYC", "cores": 2, "kernel": "6.18"},
        specs={arm.label: arm.spec() for arm in arms},
        plan={
            "sweep": "short",
            "edits": "vim",
            "groups": {
                arm.label: group.name for group in sweep.groups for arm in parse_arms(group.arms)
            },
        },
    )
    for number in range(runs):
        for arm in arms:
            wall_s, about = ARMS[arm.label]
            count = round(about * random.uniform(0.5, 1.5))
            ages_ns = [round(random.expovariate(1) * 100 * MS) for _ in range(count)]
            made.samples.append(
                Sample(
                    arm.label,
                    number,
                    "fresh",
                    wall_s * random.uniform(0.98, 1.03),
                    0.1,
                    risk=risk({"attributes": ages_ns}),
                )
            )
    for name, value in others.items():
        setattr(made, name, value)
    return made
