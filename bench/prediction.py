"""Does a prediction say what a live run then shows, and how fast is it?

Each case is recorded once; then each arm is predicted from that, and run live. The recordings are
of the cases' shortened commands. Nothing of the simulation is fitted to any of these runs.
"""

import itertools
import tempfile
import time
from pathlib import Path
from typing import Any

import osxfs_sim
from osxfs_sim.coherence.staleness.measure import kernel_tick_ns
from osxfs_sim.lab.arms import Arm
from osxfs_sim.lab.cases import CaseError
from osxfs_sim.model.operations import UNAWAITED
from osxfs_sim.predicting import system_of
from osxfs_sim.simulate.dependencies import Dependencies, order
from osxfs_sim.simulate.recording import read_recording
from osxfs_sim.simulate.reference import Reference

CASES = ("rake", "find-stat", "walk", "git", "tar", "npm-install", "ember", "vite-install")
"""Those with several threads last."""
_PARALLEL = frozenset({"npm-install", "ember", "vite-install"})
ARMS = (
    *("osxfs", "osxfs-cached", "osxfs-negative", "osxfs-complete", "osxfs-delegated"),
    *("grpc-fuse", "docker-vz", "virtiofsd-auto", "virtiofsd-always", "orbstack"),
    *("osxfs-cached --cache-timeout 100ms", "osxfs --latency 65us"),
)
RUNS = 5
_UNAWAITED = {operation.name for operation in UNAWAITED}


def measure(quick: bool) -> dict[str, Any]:
    """Cases times arms, predicted and live, and the speed of each recording; *quick*: few."""
    cases, arms, runs = (("find-stat",), ARMS[:2], 1) if quick else (CASES, ARMS, RUNS)
    rows: list[dict[str, Any]] = []
    not_run = {}
    with tempfile.TemporaryDirectory() as directory:
        for case in cases:
            trace = Path(directory) / f"{case}.parquet"
            try:
                osxfs_sim.record(case, trace, quick=True, native_runs=runs)
            except CaseError as error:  # its programs are not installed
                not_run[case] = str(error)
                continue
            rows += _beside(case, trace, arms, runs)
            rows.append(_speed(case, trace))
    return {"quick": quick, "runs": runs, "rows": rows, "not_run": not_run}


def _beside(case: str, trace: Path, arms: tuple[str, ...], runs: int) -> list[dict[str, Any]]:
    from osxfs_sim.cli.arms import parse_arms

    verified = osxfs_sim.verify(trace, parse_arms(arms), count=len(arms), runs=runs)
    return [
        {
            "case": case,
            "parallel": case in _PARALLEL,
            "arm": each.predicted.name,
            "requests": sum(each.requests.values()),
            "requests_off_by": _off_by(each.differing, sum(each.requests.values())),
            "predicted_s": round(each.predicted.wall_ns / 1e9, 4),
            "measured_s": round(each.measured_ns / 1e9, 4),
            "lowest_s": round(each.lowest_ns / 1e9, 4),
            "highest_s": round(each.highest_ns / 1e9, 4),
            "error": round(each.error, 4),
            "one_line_error": round(each.one_line_error, 4),
            "threads_error": round(each.threads_error, 4),
            "differing": {name: list(pair) for name, pair in each.differing.items()},
        }
        for each in verified
    ]


def _off_by(differing: dict[str, tuple[int, int]], total: int) -> float:
    """What share of all requests was predicted as others, too many or too few."""
    off = sum(
        abs(predicted - measured)
        for name, (predicted, measured) in differing.items()
        if name not in _UNAWAITED
    )
    return round(off / total, 5) if total else 0.0


def _speed(case: str, trace: Path) -> dict[str, Any]:
    """Requests per second of processor time: read, put in order, and run, by the reference."""
    marks_s = [time.process_time()]
    recording = read_recording(trace)
    marks_s.append(time.process_time())
    graph = order(recording, Dependencies.OBJECTS)
    marks_s.append(time.process_time())
    for arm in ("osxfs", "osxfs-negative"):
        system = system_of(Arm(arm, arm))
        Reference(recording, graph, system, tick_ns=kernel_tick_ns(), seed=1).run()
        marks_s.append(time.process_time())
    reading, ordering, crossing, caching = (
        round(len(recording) / max(after_s - before_s, 1e-9))
        for before_s, after_s in itertools.pairwise(marks_s)
    )
    return {
        "recording": case,
        "questions": len(recording),
        "read_per_s": reading,
        "ordered_per_s": ordering,
        "osxfs_per_s": crossing,
        "osxfs_negative_per_s": caching,
    }
