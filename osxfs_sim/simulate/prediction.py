"""What a recording comes to on several systems, and beside each what one line would have said.

The one-line model is the native wall time and the latency of each request, one after the other.
It needs the number of requests, which is what a simulation is for: a prediction that is no
better than it says nothing by its time.
"""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace

from osxfs_sim.model.caching import Consistent
from osxfs_sim.model.latency import NO_LATENCY
from osxfs_sim.model.operations import CLASS_OF, UNAWAITED
from osxfs_sim.simulate.dependencies import Dependencies, Order, order
from osxfs_sim.simulate.recording import Recording
from osxfs_sim.simulate.reference import Reference, Simulated
from osxfs_sim.simulate.share import System


@dataclass(frozen=True, slots=True)
class Predicted:
    """What one system would do with the recorded workload."""

    name: str
    """The arm's."""
    wall_ns: int
    """The median of all seeds, from the command's start to its end."""
    lowest_ns: int
    """The shortest of all seeds."""
    highest_ns: int
    """The longest of all seeds."""
    requests: dict[str, int]
    """Those that cross, by the protocol's names; of the first seed."""
    missing_lookups: int
    """LOOKUPs of names that do not exist that cross."""
    hits: int
    """Questions that the guest's kernel answers out of its caches."""
    names: int
    """Questions that complete directories answer."""
    held: int
    """Questions that write-back answers on the guest's side, the changes that it takes included."""
    background: dict[str, int]
    """Requests by which pending changes cross, beside *requests*; of the first seed."""
    one_line_ns: int
    """Native and each awaited request's latency, one after the other."""

    @property
    def crossings(self) -> int:
        """All requests that cross, those that nobody waits for among them."""
        return sum(self.requests.values())


@dataclass(frozen=True, slots=True)
class Prediction:
    """Several systems, from one recording."""

    arms: tuple[Predicted, ...]
    """In the order in which they were asked for."""
    questions: int
    """How many requests were recorded."""
    recorded_ns: int
    """The wall time of the recorded run."""
    native_ns: int | None
    """The median wall time of native runs beside it; None: there were none."""
    think_scale: float
    """What recorded think times are multiplied by, so that a share that costs nothing takes the
    native time: the server that recorded took processors from the workload. 1 without native runs.
    """
    dependencies: Dependencies
    """The model of what waits for what."""


def predict_systems(
    recording: Recording,
    systems: Sequence[System],
    *,
    dependencies: Dependencies = Dependencies.OBJECTS,
    seeds: Sequence[int] = (1,),
    tick_ns: int,
) -> Prediction:
    """What *recording* would come to on each of *systems*.

    One run for each of *seeds*, which matter where latencies are drawn; *tick_ns* is that of the
    guest's kernel (1 s / CONFIG_HZ).
    """
    graph = order(recording, dependencies)
    native_ns = native_of(recording)
    scale = 1.0
    if native_ns is not None:
        scale = _think_scale(recording, graph, native_ns, tick_ns)
        graph = _scaled(graph, scale)
    arms = []
    for system in systems:
        runs = [
            Reference(recording, graph, system, tick_ns=tick_ns, seed=seed).run() for seed in seeds
        ]
        arms.append(_predicted(system, runs, native_ns or recording.end_ns - recording.begin_ns))
    return Prediction(
        tuple(arms),
        len(recording),
        recording.end_ns - recording.begin_ns,
        native_ns,
        scale,
        dependencies,
    )


def native_of(recording: Recording) -> int | None:
    """The median wall time of the native runs beside a recording, in ns; None: there were none."""
    runs = recording.header.notes.get("native_wall_ns")
    if not isinstance(runs, list) or not runs or not all(type(run) is int for run in runs):
        return None
    return round(float(statistics.median(runs)))


def _think_scale(recording: Recording, graph: Order, native_ns: int, tick_ns: int) -> float:
    """By what think times are multiplied so that a share that costs nothing takes *native_ns*."""
    free = System("free", Consistent(), NO_LATENCY)
    whole = Reference(recording, graph, free, tick_ns=tick_ns, seed=0).run()
    return native_ns / whole.wall_ns if whole.wall_ns else 1.0


def _scaled(graph: Order, scale: float) -> Order:
    return replace(
        graph,
        think_ns=[round(each * scale) for each in graph.think_ns],
        tail_ns=round(graph.tail_ns * scale),
    )


def _predicted(system: System, runs: list[Simulated], native_ns: int) -> Predicted:
    first, walls = runs[0], [run.wall_ns for run in runs]
    return Predicted(
        system.name,
        round(statistics.median(walls)),
        min(walls),
        max(walls),
        {operation.name: count for operation, count in sorted(first.crossings.items())},
        first.missing_lookups,
        first.hits.total(),
        first.names,
        first.held.total(),
        {operation.name: count for operation, count in sorted(first.background.items())},
        native_ns + _one_after_the_other_ns(system, first),
    )


def _one_after_the_other_ns(system: System, run: Simulated) -> int:
    base_ns = system.latency.base_ns
    return sum(
        base_ns[CLASS_OF[operation]] * count
        for operation, count in run.crossings.items()
        if operation not in UNAWAITED
    )
