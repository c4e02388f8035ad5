"""Predictions beside what is measured: some arms, drawn, run live here and now.

What is predicted is the system's own time; a live run's server takes its processor time from the
same machine. So the times differ where processors are scarce, and the numbers of requests may not.
"""

import random
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from osxfs_sim.emulated_shares import EmulatedShares
from osxfs_sim.lab.arms import Arm
from osxfs_sim.lab.comparing import run_comparison
from osxfs_sim.lab.results import Sample
from osxfs_sim.model.user_error import UserError
from osxfs_sim.predicting import USUAL_ARMS, predict
from osxfs_sim.simulate.dependencies import Dependencies
from osxfs_sim.simulate.prediction import Predicted
from osxfs_sim.simulate.verification import OF_MEMORY, Verified
from osxfs_sim.trace.format import read_header


class VerificationError(UserError):
    """A recording that does not say what to run, or a live run that failed."""


def verify(
    trace: str | Path,
    arms: Sequence[str | Arm] = USUAL_ARMS,
    *,
    count: int = 3,
    runs: int = 1,
    seed: int = 1,
    dependencies: str | Dependencies = Dependencies.OBJECTS,
    directory: str | None = None,
    say: Callable[[str], None] | None = None,
) -> list[Verified]:
    """Predict from the recording *trace*, and run *count* of *arms*, drawn by *seed*, *runs* times.

    They keep their order; all are run where there are no more. *directory* and *say* are as in
    record(). Needs what the recorded case needs, and FUSE.

    Raises what predict() and lab.comparing.run_comparison() do, and VerificationError for a
    recording that does not say what was run, and where a live run fails.
    """
    asked = [Arm(arm, arm) if isinstance(arm, str) else arm for arm in arms]
    workload = _workload_of(trace)
    drawn = drawn_by(seed, asked, count)
    predicted = predict(trace, drawn, dependencies=dependencies)
    threads = predict(trace, drawn, dependencies=Dependencies.THREADS)
    comparison = run_comparison(
        workload["case"],
        drawn,
        shares=EmulatedShares(),
        samples=runs,
        say=say,
        quick=workload["quick"],
        variant=workload["variant"],
        toggles=tuple(workload["toggles"]),
        directory=directory,
    )
    verified = []
    for arm, simple in zip(predicted.arms, threads.arms, strict=True):
        samples = [each for each in comparison.samples if each.arm == arm.name]
        verified.append(beside(arm, simple.wall_ns, samples))
    return verified


def drawn_by(seed: int, arms: Sequence[Arm], count: int) -> list[Arm]:
    """*count* of *arms* in their order, drawn by *seed*; all, where there are no more."""
    if count >= len(arms):
        return list(arms)
    chosen = random.Random(seed).sample(range(len(arms)), count)
    return [arms[index] for index in sorted(chosen)]


def beside(predicted: Predicted, threads_ns: int, samples: Sequence[Sample]) -> Verified:
    """*predicted* beside the live *samples* of its arm. Raises VerificationError for a failed one.

    *threads_ns* as in Verified.
    """
    walls = []
    for sample in samples:
        if sample.failure or sample.wall_s is None or sample.share is None:
            raise VerificationError(f"{sample.arm}: {sample.failure or 'it was not measured'}")
        walls.append((round(sample.wall_s * 1e9), sample.share))
    walls.sort(key=lambda each: each[0])
    median_ns = round(float(statistics.median(wall_ns for wall_ns, _ in walls)))
    share: dict[str, Any] = walls[(len(walls) - 1) // 2][1]
    requests = {name: number for name, number in share["requests"].items() if name != OF_MEMORY}
    return Verified(
        predicted, threads_ns, median_ns, walls[0][0], walls[-1][0], len(walls), requests
    )


def _workload_of(trace: str | Path) -> dict[str, Any]:
    workload = read_header(trace).notes.get("workload")
    if not isinstance(workload, dict) or "case" not in workload:
        raise VerificationError(
            f"{trace} does not say what to run: record it again, by osxfs-sim record CASE -o FILE"
        )
    return {"quick": False, "variant": None, "toggles": [], **workload}
