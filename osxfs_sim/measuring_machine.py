"""What this machine adds to a share, measured by a small workload of its own beside a recording.

By how much answers come later than they are asked for, and what the server takes for what it
answers without the host: on shares of which nothing is predicted. simulate/machine.py uses it.
"""

import os
import statistics
import tempfile
import time
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from osxfs_sim.coherence.staleness.measure import kernel_tick_ns
from osxfs_sim.emulated_shares import EmulatedShares
from osxfs_sim.lab.arms import Arm
from osxfs_sim.lab.shares import MountedShare
from osxfs_sim.model.operations import UNAWAITED
from osxfs_sim.predicted_systems import system_of
from osxfs_sim.simulate.dependencies import Dependencies, order
from osxfs_sim.simulate.machine import machine_of
from osxfs_sim.simulate.recording import read_recording
from osxfs_sim.simulate.reference import Reference
from osxfs_sim.trace.format import read_trace

FREE = "none"
"""The profile that adds no latency."""
DELAYED = "osxfs"
"""The profile whose answers are to come at a moment; it caches nothing, either."""
HELD = "osxfs-delegated"
"""The profile that answers changes without the host."""
ROUNDS = 5
"""Of each; the fastest counts, or their median."""
_DIRECTORIES, _FILES = 12, 5


def measure_machine(directory: str | Path | None = None) -> dict[str, Any]:
    """Measure this machine on three shares below *directory*, in some three seconds.

    Returns ``late_ns``, how much later than asked for an answer comes, and ``held_ns``, what a
    change takes that is answered without the host, by operation. Raises MountError.
    """
    with tempfile.TemporaryDirectory(prefix="osxfs-sim-machine-", dir=directory) as made:
        top = Path(made)
        free = _measured(top, FREE)
        delayed = _measured(top, DELAYED)
        held = _measured(top, HELD)
        return {"late_ns": _late_ns(free, delayed), "held_ns": _held_ns(held)}


def probe(directory: Path) -> None:
    """Make, change, look for, and remove some names in the empty *directory*. Raises OSError."""
    for number in range(_DIRECTORIES):
        inside = directory / f"d{number}"
        inside.mkdir()
        for each in range(_FILES):
            path = inside / f"f{each}"
            fd = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
            os.write(fd, b"x" * 1024)
            os.close(fd)
            os.chmod(path, 0o600)
            os.stat(path)
            os.path.exists(inside / "missing")
            os.rename(path, inside / f"g{each}")
        for each in range(_FILES):
            os.unlink(inside / f"g{each}")
        inside.rmdir()


def server_notes(status: Mapping[str, Any]) -> dict[str, int]:
    """What a share's *status* says that its server took, as simulate/machine.py reads it."""
    return {
        "server_processor_ns": round(status.get("server_processor_s", 0.0) * 1e9),
        "server_requests": sum(status.get("requests", {}).values()),
    }


class _Measured:
    """What the probe took on one share, round by round."""

    def __init__(self) -> None:
        self.wall_ns: list[int] = []
        self.traces: list[Path] = []


def _measured(top: Path, profile: str) -> _Measured:
    source, guest = top / profile / "source", top / profile / "guest"
    for each in (source, guest):
        each.mkdir(parents=True)
    measured = _Measured()
    arm = Arm(profile, profile)
    with EmulatedShares().mount(arm, source, guest, seed=1, dilate=1.0) as share:
        for number in range(ROUNDS):
            trace = top / f"{profile}-{number}.parquet"
            # What is answered by tracing's own clock is compared with what is not traced.
            is_traced = profile != DELAYED
            measured.wall_ns.append(_round(guest, share, trace if is_traced else None))
            if is_traced:
                measured.traces.append(trace)
    return measured


def _round(guest: Path, share: MountedShare, trace: Path | None) -> int:
    share.flush()
    if trace is not None:
        share.start_trace(str(trace), with_calls=True)
    share.reset()
    begin_ns = time.monotonic_ns()
    probe(guest)
    end_ns = time.monotonic_ns()
    if trace is not None:
        status = share.flush()
        share.stop_trace(
            command_start_ns=begin_ns, command_end_ns=end_ns, notes=server_notes(status.as_dict())
        )
    return end_ns - begin_ns


def _late_ns(free: _Measured, delayed: _Measured) -> int:
    """By how much the delayed share's answers came later than predicted from the free one's."""
    fastest = free.traces[free.wall_ns.index(min(free.wall_ns))]
    recording = read_recording(fastest)
    run = Reference(
        recording,
        order(recording, Dependencies.THREADS),
        system_of(Arm(DELAYED, DELAYED)),
        tick_ns=kernel_tick_ns(),
        seed=1,
        machine=machine_of(recording, os.cpu_count() or 1),
    ).run()
    awaited = sum(n for operation, n in run.crossings.items() if operation not in UNAWAITED)
    return max(0, round((statistics.median(delayed.wall_ns) - run.wall_ns) / awaited))


def _held_ns(held: _Measured) -> dict[str, int]:
    took: dict[str, list[int]] = defaultdict(list)
    for trace in held.traces:
        _, table = read_trace(trace)
        for row in table.select(["operation", "answered_by", "took_ns"]).to_pylist():
            if row["answered_by"] == "held":
                took[row["operation"]].append(row["took_ns"])
    return {operation: round(statistics.mean(each)) for operation, each in sorted(took.items())}
