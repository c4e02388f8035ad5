"""A prediction beside what was measured: how far apart, and by how much simpler models are."""

from dataclasses import dataclass

from osxfs_sim.model.operations import Operation
from osxfs_sim.simulate.prediction import Predicted

OF_MEMORY = Operation.FORGET.name
"""What the kernel sends when memory is short, and no workload asks for: it is not compared."""


@dataclass(frozen=True, slots=True)
class Verified:
    """One arm: predicted, and measured."""

    predicted: Predicted
    """By the model of dependencies that was asked for."""
    threads_ns: int
    """The wall time that is predicted without any dependencies but those within threads."""
    measured_ns: int
    """The median wall time of the live runs."""
    lowest_ns: int
    """The shortest of them."""
    highest_ns: int
    """The longest of them."""
    runs: int
    """How many there were."""
    requests: dict[str, int]
    """What crossed in the run of the median, by the protocol's names; but for FORGETs."""

    @property
    def differing(self) -> dict[str, tuple[int, int]]:
        """The operations whose number was predicted wrongly: predicted, and measured."""
        names = sorted({*self.predicted.requests, *self.requests} - {OF_MEMORY})
        pairs = {
            name: (self.predicted.requests.get(name, 0), self.requests.get(name, 0))
            for name in names
        }
        return {name: pair for name, pair in pairs.items() if pair[0] != pair[1]}

    @property
    def error(self) -> float:
        """By what share of the measured wall time the predicted one is longer; below 0: shorter."""
        return self._error(self.predicted.wall_ns)

    @property
    def one_line_error(self) -> float:
        """The same of the one-line model: native, and each request's latency."""
        return self._error(self.predicted.one_line_ns)

    @property
    def threads_error(self) -> float:
        """The same of the prediction without any dependencies but those within threads."""
        return self._error(self.threads_ns)

    def _error(self, wall_ns: int) -> float:
        return wall_ns / self.measured_ns - 1
