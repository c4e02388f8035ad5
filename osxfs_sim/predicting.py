"""Recordings and predictions: one run of a workload, and what it would take on other systems.

simulate/ knows nothing of cases, shares and profiles; here they meet.
"""

import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

from osxfs_sim.coherence.staleness.measure import kernel_tick_ns
from osxfs_sim.emulated_shares import EmulatedShares
from osxfs_sim.fs.output import write_output
from osxfs_sim.lab.arms import NATIVE, Arm
from osxfs_sim.lab.comparing import run_comparison
from osxfs_sim.measuring_machine import measure_machine, server_notes
from osxfs_sim.model.user_error import UserError
from osxfs_sim.predicted_systems import system_of
from osxfs_sim.simulate.dependencies import Dependencies
from osxfs_sim.simulate.prediction import Prediction, predict_systems
from osxfs_sim.simulate.recording import read_recording
from osxfs_sim.trace.format import read_header, rewrite_notes

RECORDED = "none"
"""The profile of the share that is recorded: it caches nothing, and adds no latency."""
USUAL_ARMS = ("osxfs", "osxfs-cached", "osxfs-negative", "osxfs-complete")
"""What is predicted where nobody says otherwise."""


class RecordingFailedError(UserError):
    """A workload that did not end as it should while it was recorded."""


def record(
    case: str,
    output: str | Path,
    *,
    native_runs: int = 3,
    say: Callable[[str], None] | None = None,
    quick: bool = False,
    variant: str | None = None,
    toggles: Sequence[str] = (),
    directory: str | None = None,
) -> Path:
    """Run *case* once on a share that caches nothing, and keep every request in *output*.

    *native_runs* runs without a share, in turn with it, tell how long the workload takes by
    itself; the median run of the share is kept. *case* and the others are as in
    lab.comparing.ComparisonPlan. Returns *output*. Raises what lab.comparing.run_comparison does,
    and RecordingFailedError where the workload fails.
    """
    target = Path(output).absolute()
    with tempfile.TemporaryDirectory(prefix="osxfs-sim-record-", dir=target.parent) as traces:
        comparison = run_comparison(
            case,
            (Arm(NATIVE, NATIVE), Arm(RECORDED, RECORDED)),
            shares=EmulatedShares(),
            samples=native_runs,
            say=say,
            save_to=Path(traces) / "result.json",
            quick=quick,
            variant=variant,
            toggles=toggles,
            directory=directory,
            trace=traces,
            trace_calls=True,
        )
        for sample in comparison.samples:
            if sample.failure:
                raise RecordingFailedError(f"{sample.arm}: {sample.failure}")
        native_wall_ns = [
            round(sample.wall_s * 1e9)
            for sample in comparison.samples
            if sample.arm == NATIVE and sample.wall_s is not None
        ]
        shared = sorted(
            (sample for sample in comparison.samples if sample.trace),
            key=lambda sample: sample.wall_s or 0.0,
        )
        recorded = shared[(len(shared) - 1) // 2]
        if say is not None:
            say("measuring what this machine adds to answers")
        machine = measure_machine(directory)
        assert recorded.trace is not None
        made = Path(traces) / recorded.trace
        rewrite_notes(
            made,
            {
                **read_header(made).notes,
                "native_wall_ns": native_wall_ns,
                "share_wall_ns": [round((sample.wall_s or 0.0) * 1e9) for sample in shared],
                "workload": {
                    "case": case,
                    "quick": quick,
                    "variant": variant,
                    "toggles": list(toggles),
                },
                # What the server took in the very run that is kept, and this machine beside it:
                # for simulate/machine.py.
                "machine": machine,
                **server_notes(recorded.share or {}),
            },
        )
        write_output(target, made.read_bytes())
    return target


def predict(
    trace: str | Path,
    arms: Sequence[str | Arm] = USUAL_ARMS,
    *,
    dependencies: str | Dependencies = Dependencies.OBJECTS,
    seeds: Sequence[int] = (1,),
    processors: int | None = None,
) -> Prediction:
    """What the recorded workload *trace* would take on each of *arms*.

    An arm is the name of a profile, or an Arm with options. *dependencies* is the model of what
    waits for what (simulate/dependencies.py); one run is simulated for each of *seeds*, which
    matter where latencies are drawn. With *processors* also what a live run would show whose
    server shares so many with the workload, as far as the recording says what its server took.

    Raises TraceError for a file that is no trace; RecordingError, with the command that records
    the right one, for a trace that does not hold every question; and UserError for an arm that
    cannot be predicted.
    """
    recording = read_recording(trace)
    systems = [system_of(Arm(arm, arm) if isinstance(arm, str) else arm) for arm in arms]
    return predict_systems(
        recording,
        systems,
        dependencies=Dependencies(dependencies),
        seeds=seeds,
        tick_ns=kernel_tick_ns(),
        processors=processors,
    )
