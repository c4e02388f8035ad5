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
from osxfs_sim.simulate.dependencies import Dependencies, Order
from osxfs_sim.simulate.processors import server_cost
from osxfs_sim.simulate.recording import Recording
from osxfs_sim.simulate.reference import Reference, Simulated
from osxfs_sim.simulate.running import REFERENCE, Runs, scaled
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
    here_ns: int | None = None
    """The wall time where the server shares the workload's processors; None: not asked for, of a
    system with write-back, or the recording does not say what its server took. The median of all
    seeds."""
    implementation: str = REFERENCE
    """Which of the two implementations (running.py) simulated it, but for *here_ns*, which is the
    reference's."""

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
    processors: int | None = None
    """How many the server and the workload share in *here_ns*; None: not asked for."""
    per_request_ns: int | None = None
    """What a request takes the server, measured in the recording's own run; None: not known."""
    think_scale_here: float | None = None
    """As *think_scale*, on these processors; None: not asked for."""


def predict_systems(
    recording: Recording,
    systems: Sequence[System],
    *,
    dependencies: Dependencies = Dependencies.OBJECTS,
    seeds: Sequence[int] = (1,),
    tick_ns: int,
    processors: int | None = None,
    implementation: str | None = None,
) -> Prediction:
    """What *recording* would come to on each of *systems*.

    With *processors* also where its server shares so many with the workload.

    One run for each of *seeds*, which matter where latencies are drawn; *tick_ns* is that of the
    guest's kernel (1 s / CONFIG_HZ). *implementation* is that of running.Runs.
    """
    simulated = Runs(
        recording,
        dependencies,
        tick_ns=tick_ns,
        expected=1 + len(systems) * len(seeds),
        implementation=implementation,
    )
    native_ns = native_of(recording)
    scale = 1.0 if native_ns is None else _think_scale(simulated, native_ns)
    cost = server_cost(recording) if processors is not None else None
    scale_here, here = scale, None
    if processors is not None and cost is not None:
        if native_ns is not None:
            scale_here = _think_scale_on(recording, simulated.order, native_ns, tick_ns, processors)
        here = scaled(simulated.order, scale_here)
    arms = []
    for system in systems:
        runs = [simulated.run(system, seed=seed, think_scale=scale) for seed in seeds]
        predicted = _predicted(system, runs, native_ns or recording.end_ns - recording.begin_ns)
        predicted = replace(predicted, implementation=simulated.implementation(system))
        if (
            processors is not None
            and cost is not None
            and here is not None
            and system.write_back is None
        ):
            walls = [
                Reference(recording, here, system, tick_ns=tick_ns, seed=seed)
                .run_on(processors, cost.per_request_ns)
                .wall_ns
                for seed in seeds
            ]
            predicted = replace(predicted, here_ns=round(statistics.median(walls)))
        arms.append(predicted)
    return Prediction(
        tuple(arms),
        len(recording),
        recording.end_ns - recording.begin_ns,
        native_ns,
        scale,
        dependencies,
        processors,
        cost.per_request_ns if cost is not None else None,
        scale_here if cost is not None else None,
    )


def native_of(recording: Recording) -> int | None:
    """The median wall time of the native runs beside a recording, in ns; None: there were none."""
    runs = recording.header.notes.get("native_wall_ns")
    if not isinstance(runs, list) or not runs or not all(type(run) is int for run in runs):
        return None
    return round(float(statistics.median(runs)))


def _think_scale(simulated: Runs, native_ns: int) -> float:
    """By what think times are multiplied so that a share that costs nothing takes *native_ns*."""
    whole = simulated.run(System("free", Consistent(), NO_LATENCY), seed=0)
    return native_ns / whole.wall_ns if whole.wall_ns else 1.0


_ROUNDS = 6
"""After so many corrections in turn, a scale on busy processors is as good as it gets."""


def _think_scale_on(
    recording: Recording, graph: Order, native_ns: int, tick_ns: int, processors: int
) -> float:
    """As _think_scale, where threads that compute share *processors*.

    Recorded think times have waited for processors already; here they do once more, and so are
    scaled until a share that costs nothing takes the native time.
    """
    free, scale = System("free", Consistent(), NO_LATENCY), 1.0
    for _ in range(_ROUNDS):
        run = Reference(recording, scaled(graph, scale), free, tick_ns=tick_ns, seed=0).run_on(
            processors, 0
        )
        if not run.wall_ns or abs(run.wall_ns - native_ns) * 1_000 <= native_ns:
            break
        scale *= native_ns / run.wall_ns
    return scale


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
