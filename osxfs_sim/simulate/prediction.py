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
from osxfs_sim.simulate.machine import Machine, machine_of
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
    """The wall time of a live run on the machine that recorded, the median of all seeds; None: not
    asked for, or the recording does not say what its server took."""
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
    machine: Machine | None = None
    """The machine that recorded, on which *here_ns* is; None: not known, or not asked for."""
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

    With *processors* also what a live run would show on the machine that recorded, where its server
    shares so many with the workload.

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
    machine = None if processors is None else machine_of(recording, processors)
    scale_here: float | None = None
    here: Order | None = None
    if machine is not None:
        scale_here = _think_scale_on(recording, simulated.order, native_ns, tick_ns, machine)
        here = scaled(simulated.order, scale_here)
    arms = []
    for system in systems:
        alone_ns = native_ns or recording.end_ns - recording.begin_ns
        runs = [simulated.run(system, seed=seed, think_scale=scale) for seed in seeds]
        predicted = _predicted(system, runs, alone_ns)
        predicted = replace(predicted, implementation=simulated.implementation(system))
        if here is not None:
            walls = [
                Reference(recording, here, system, tick_ns=tick_ns, seed=seed, machine=machine)
                .run()
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
        machine,
        scale_here,
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
    recording: Recording, graph: Order, native_ns: int | None, tick_ns: int, machine: Machine
) -> float:
    """As _think_scale, where threads that compute share the processors of *machine*.

    Recorded think times have waited for processors already; here they do once more.
    """
    free, scale = System("free", Consistent(), NO_LATENCY), 1.0
    without_cost = Machine(machine.processors, {}, 0, 0)
    for _ in range(_ROUNDS if native_ns is not None else 0):
        run = Reference(
            recording, scaled(graph, scale), free, tick_ns=tick_ns, seed=0, machine=without_cost
        ).run()
        assert native_ns is not None
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
