"""A comparison's samples taken by the executor, of a case in a folder and with mounts of one's own.

Without a command, and where the mounts are pretended without FUSE.
"""

import itertools
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from osxfs_sim.coherence.edits.stream import parse_stream
from osxfs_sim.lab.arms import Arm
from osxfs_sim.lab.cases import load_case
from osxfs_sim.lab.executor import Bench, measure
from osxfs_sim.lab.results import Comparison, Sample
from osxfs_sim.lab.schedule import InTurn
from osxfs_sim.lab.shares import MountArm
from osxfs_sim.lab.trees import prepare_tree
from osxfs_sim.lab.workload import Workload

Mount = Callable[[str, Path, Path], AbstractContextManager[Any]]
"""Mounts, for an arm of the given label, a directory at a mount point."""


def workload_of(
    folder: Path, variant: str = "default", *, quick: bool = False, edits: str | None = None
) -> Workload:
    stream = None if edits is None else parse_stream(edits)
    return Workload(load_case(f"{folder}/"), variant, quick, edits=stream, edits_seed=3)


def tree_of(workload: Workload, folder: Path) -> Path:
    return prepare_tree(workload.case, workload.variant, folder.parent / "cache", lambda _: None)


def by_label(mount: Mount) -> MountArm:
    """As the executor is handed it."""
    return lambda arm, _, source, mountpoint: mount(arm.label, source, mountpoint)


def bench_of(
    folder: Path,
    mount: MountArm,
    labels: Sequence[str],
    workload: Workload | None = None,
    **others: Any,
) -> Bench:
    """The first word of a label is the arm's profile."""
    workload = workload or workload_of(folder)
    seconds = itertools.count()
    values: dict[str, Any] = {
        "workload": workload,
        "arms": {label: Arm(label, label.split()[0]) for label in labels},
        "tree": others.get("tree") or tree_of(workload, folder),
        "directory": folder.parent,
        "mount": mount,
        "prepare_caches": lambda: None,
        "clock_s": lambda: float(next(seconds)),
        "progress": lambda _: None,
        "say": lambda _: None,
    }
    return Bench(**values | others)


def comparison_of(labels: Sequence[str], **others: Any) -> Comparison:
    """Without a sample yet."""
    values: dict[str, Any] = {
        "case": "note",
        "title": "Write a word",
        "variant": "default",
        "quick": False,
        "options": [],
        "arms": list(labels),
        "baseline": labels[0],
        "caches": "warm",
        "seed": 7,
        "dilate": 1.0,
        "started": "2026-01-01T00:00:00+00:00",
        "machine": {"kernel": "6.1", "processor": "one", "cores": 2},
    }
    return Comparison(**values | others)


def run_in_turn(
    folder: Path,
    mount: Mount,
    *labels: str,
    runs: int = 1,
    workload: Workload | None = None,
    **others: Any,
) -> Comparison:
    """Each arm once, with so many *runs* on its mount."""
    made = comparison_of(labels)
    list(measure(made, InTurn(runs), bench_of(folder, by_label(mount), labels, workload, **others)))
    return made


def by_arm(comparison: Comparison) -> list[list[Sample]]:
    return [comparison.all_of(arm) for arm in comparison.arms]


def failures_of(samples: Sequence[Sample]) -> list[str]:
    return [sample.failure for sample in samples]
