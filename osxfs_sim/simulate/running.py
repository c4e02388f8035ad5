"""Runs of one recording: by the compiled implementation where that says the same, or the reference.

Both say the same; which one it was is said beside what came of it. The compiled one is loaded only
where it pays: numba takes longer to import than the reference takes for a small recording.
"""

from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

from osxfs_sim.simulate.dependencies import Dependencies, Order, order
from osxfs_sim.simulate.recording import Recording
from osxfs_sim.simulate.reference import Reference, Simulated
from osxfs_sim.simulate.share import System

if TYPE_CHECKING:
    from osxfs_sim.simulate.fast import Fast
    from osxfs_sim.simulate.graph import Graph

FAST, REFERENCE = "fast", "reference"
"""The two implementations, by the names that are said."""
WORTH_COMPILING = 1_000_000
"""From so many questions in all runs together on, the compiled one is faster, loading included."""


class Runs:
    """Any number of runs of one recording, with think times as recorded or scaled."""

    def __init__(
        self,
        recording: Recording,
        dependencies: Dependencies,
        *,
        tick_ns: int,
        expected: int,
        implementation: str | None = None,
    ) -> None:
        """*expected* is how many runs there will be; *implementation*: FAST or REFERENCE, None: by
        what is faster. A system that FAST does not cover is run by the reference in any case.
        """
        if implementation is None:
            is_worth_it = expected * len(recording) >= WORTH_COMPILING
            implementation = FAST if is_worth_it else REFERENCE
        self._recording = recording
        self._dependencies = dependencies
        self._tick_ns = tick_ns
        self._fast = _fast(recording) if implementation == FAST else None
        self._orders: dict[float, Order] = {}
        self._graphs: dict[float, Graph] = {}

    @cached_property
    def order(self) -> Order:
        """What waits for what, as recorded."""
        return order(self._recording, self._dependencies)

    @cached_property
    def _graph(self) -> "Graph":
        from osxfs_sim.simulate.graph import graph_of

        assert self._fast is not None
        return graph_of(self._recording, self._fast.recorded, self._dependencies)

    def implementation(self, system: System) -> str:
        """Which one runs *system*."""
        return FAST if self._fast is not None and self._fast.covers(system) else REFERENCE

    def run(self, system: System, *, seed: int, think_scale: float = 1.0) -> Simulated:
        """What the recording comes to on *system*, its think times multiplied by *think_scale*."""
        if self._fast is not None and self._fast.covers(system):
            if think_scale not in self._graphs:
                self._graphs[think_scale] = self._graph.scaled(think_scale)
            return self._fast.run(self._graphs[think_scale], system, tick_ns=self._tick_ns)
        if think_scale not in self._orders:
            self._orders[think_scale] = scaled(self.order, think_scale)
        graph = self._orders[think_scale]
        return Reference(self._recording, graph, system, tick_ns=self._tick_ns, seed=seed).run()


def scaled(graph: Order, scale: float) -> Order:
    """*graph* with all think times multiplied, and rounded to whole nanoseconds."""
    return replace(
        graph,
        think_ns=[round(each * scale) for each in graph.think_ns],
        tail_ns=round(graph.tail_ns * scale),
    )


def _fast(recording: Recording) -> "Fast | None":
    """The compiled implementation; None where numba is not to be had."""
    try:
        from osxfs_sim.simulate.fast import Fast
    except ImportError:
        return None
    return Fast(recording)
