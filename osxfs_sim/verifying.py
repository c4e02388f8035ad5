"""Predictions against live runs: the recorded case live, beside what was predicted."""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from osxfs_sim.emulated_shares import EmulatedShares
from osxfs_sim.lab.arms import NATIVE, Arm
from osxfs_sim.lab.comparing import run_comparison
from osxfs_sim.model.user_error import UserError
from osxfs_sim.predicting import USUAL_ARMS, predict
from osxfs_sim.simulate.dependencies import Dependencies
from osxfs_sim.simulate.verification import Measured, Verified, drawn, verified
from osxfs_sim.trace.format import read_header


def verify(
    trace: str | Path,
    arms: Sequence[str | Arm] = USUAL_ARMS,
    *,
    count: int = 3,
    runs: int = 1,
    seed: int = 1,
    dependencies: str | Dependencies = Dependencies.OBJECTS,
    processors: int | None = None,
    say: Callable[[str], None] | None = None,
    directory: str | None = None,
) -> tuple[Verified, ...]:
    """Run *count* of *arms* live, *runs* times each, beside what *trace* predicts of them.

    *seed* draws which, and is the runs' own; *directory* is where host trees lie,
    *processors* how many server and workload share (None: all that this process may use). A run
    that fails says so in the result.

    Raises UserError for a recording that does not say which case it is of, what predict() does,
    and what lab.comparing.run_comparison does where the case or a mount cannot be had.
    """
    workload = workload_of(trace)
    every = [Arm(arm, arm) if isinstance(arm, str) else arm for arm in arms]
    chosen = drawn(every, count, seed)
    shared = processors or len(os.sched_getaffinity(0))
    predicted = predict(trace, chosen, dependencies=dependencies, processors=shared)
    threads = predict(trace, chosen, dependencies=Dependencies.THREADS, processors=shared)
    comparison = run_comparison(
        workload.pop("case"),
        # A comparison has two arms at least.
        (Arm(NATIVE, NATIVE), *chosen),
        shares=EmulatedShares(),
        samples=runs,
        seed=seed,
        say=say,
        directory=directory,
        **workload,
    )
    return tuple(
        verified(whole, alone, _measured(comparison.all_of(arm.label)))
        for arm, whole, alone in zip(chosen, predicted.arms, threads.arms, strict=True)
    )


def workload_of(trace: str | Path) -> dict[str, Any]:
    """What was recorded in *trace*: its ``case``, ``quick``, ``variant``, ``toggles``.

    Raises UserError where the trace does not say.
    """
    workload = read_header(trace).notes.get("workload")
    if not isinstance(workload, dict) or not isinstance(workload.get("case"), str):
        raise UserError(
            f"{trace} does not say which case it is of: record it anew with osxfs-sim record"
        )
    return {
        "case": workload["case"],
        "quick": bool(workload.get("quick")),
        "variant": workload.get("variant"),
        "toggles": tuple(workload.get("toggles") or ()),
    }


def _measured(samples: Sequence[Any]) -> Measured:
    good = [sample for sample in samples if not sample.failure and sample.share]
    return Measured(
        tuple(round(sample.wall_s * 1e9) for sample in good),
        tuple(dict(sample.share["requests"]) for sample in good),
        tuple(sample.failure for sample in samples if sample.failure),
    )
