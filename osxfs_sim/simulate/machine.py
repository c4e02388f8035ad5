"""What a live run on one machine adds to a system: the emulator's own time, measured, not fitted.

A share cannot answer sooner than its server can; what the guest's side knows takes a round trip to
the server all the same; and answers come a little later than they are asked for. All of it is in
the recording: what its own requests took, whose latency was none, and what record() measured of
the machine beside it.
"""

import math
import statistics
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass

from osxfs_sim.model.operations import UNAWAITED, Operation
from osxfs_sim.simulate.recording import Recording


@dataclass(frozen=True, slots=True)
class Machine:
    """One machine with its emulator."""

    processors: int
    """How many the workload and the server share."""
    took_ns: Mapping[str, int]
    """What a request of each operation took whoever asked, without any latency: the mean."""
    inside_ns: int
    """What an answer takes that is given without the host."""
    per_request_ns: int
    """What a request takes the server of a processor: the mean of all. One that polls for requests
    occupies a processor all the time, and needs it only while it answers."""
    held_ns: int = 0
    """What a change takes that is answered without the host: the mean; 0: as any other answer."""
    late_missing_ns: int = 0
    """By how much the answer that a name is missing comes later than it is asked for: the mean."""
    late_found_ns: int = 0
    """The same of any other answer, with what the guest's kernel makes of it."""
    hit_ns: int = 0
    """What the guest's kernel takes longer for what it knows of a share than for a local file."""
    scatter_ns: int | None = None
    """Within so much of a prediction nine of ten live runs are expected, as the recorded ones have
    differed among themselves; None: there was one alone."""

    def crossing_ns(self, operation: Operation) -> int:
        """What a request takes at least that gets to the host."""
        return self.took_ns.get(operation.name, self.inside_ns)

    @property
    def holding_ns(self) -> int:
        """What a question takes that write-back answers."""
        return self.held_ns or self.inside_ns

    def late_ns(self, *, is_missing: bool) -> int:
        """By how much an answer comes later than it is asked for."""
        return self.late_missing_ns if is_missing else self.late_found_ns

    def server_ns(self, took_ns: int) -> int:
        """What an answer that takes *took_ns* takes the server of a processor: not longer."""
        return min(self.per_request_ns, took_ns)


def machine_of(recording: Recording, processors: int) -> Machine | None:
    """The machine that *recording* was made on; None where it does not say what its server took."""
    notes = recording.header.notes
    spent_ns, requests = notes.get("server_processor_ns"), notes.get("server_requests")
    if type(spent_ns) is not int or type(requests) is not int or spent_ns <= 0 or requests <= 0:
        return None
    took: dict[str, list[int]] = defaultdict(list)
    for each in recording.questions:
        if each.operation not in UNAWAITED:
            took[each.operation.name].append(each.took_ns)
    mean_ns = {name: round(sum(each) / len(each)) for name, each in sorted(took.items())}
    measured = _numbers(notes.get("machine"))
    return Machine(
        processors,
        mean_ns,
        recording.header.floor_ns,
        round(spent_ns / requests),
        held_ns=measured.get("held_ns", 0),
        late_missing_ns=measured.get("late_missing_ns", 0),
        late_found_ns=measured.get("late_found_ns", 0),
        hit_ns=measured.get("hit_ns", 0),
        scatter_ns=scatter_of(notes.get("share_wall_ns")),
    )


CONFIDENCE = 0.9
"""Of the interval in which a live run is expected."""


def scatter_of(walls_ns: object) -> int | None:
    """Half the width of a prediction interval of one more run like *walls_ns*, in ns.

    By Student's t, which takes them for normal. None for fewer than two, or what are no numbers.
    """
    if not isinstance(walls_ns, list) or not all(type(each) is int for each in walls_ns):
        return None
    count = len(walls_ns)
    if count < 2:
        return None
    from scipy import stats  # which takes longer to load than many a prediction

    quantile = float(stats.t.ppf((1 + CONFIDENCE) / 2, count - 1))
    half_ns: float = quantile * statistics.stdev(walls_ns) * math.sqrt(1 + 1 / count)
    return round(half_ns)


def _numbers(document: object) -> dict[str, int]:
    """What *document* says of each name, as far as it is a number."""
    if not isinstance(document, dict):
        return {}
    return {str(name): each for name, each in document.items() if type(each) is int}
