"""A trace's time, attributed. Pure: a table in, an Analysis out.

Every instant of the wall time is divided evenly among the requests that were on
their way in it; where there was none, it is the rest: the guest computed, or
was served by its own caches. So the parts of each breakdown and the rest add up
to the wall time, exactly, however many requests overlap.
"""

from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Part:
    """What one operation, directory or program had: requests, and their part of the wall time."""

    label: str
    requests: int
    time_ns: int
    asked_ns: int


@dataclass(frozen=True, slots=True)
class Cause:
    """Requests that something could have spared.

    *remedy* names it (a policy such as ``negative``), *sentence* says it in
    figures. A request belongs to one cause at most, the first that fits.
    """

    label: str
    remedy: str
    requests: int
    time_ns: int
    sentence: str


@dataclass(frozen=True, slots=True)
class Analysis:
    """All that is known of a trace. Times in nanoseconds.

    *wall_ns* = *waiting_ns* (at least one request on its way) + *rest_ns*.
    Each breakdown adds up to *waiting_ns*; *operations* and so on are sorted by
    time, the longest first. *concurrency* is the time with 0, 1, 2... requests
    on their way. *timeline* has *bin_ns* and per operation the requests in each
    bin. *latency* has per class of operation ``edges_ns`` and the counts
    ``asked`` and ``took`` between them. *reuse*: per kind of question (names,
    attributes, data, listings) how many were asked, and how many of these
    before. *bursts* has the percentiles of the gaps between requests.
    """

    title: str
    wall_ns: int
    waiting_ns: int
    rest_ns: int
    requests: int
    lost: int
    operations: tuple[Part, ...]
    directories: tuple[Part, ...]
    programs: tuple[Part, ...]
    answered_by: tuple[Part, ...]
    causes: tuple[Cause, ...]
    necessary: Part
    concurrency: tuple[int, ...]
    timeline: dict[str, Any]
    latency: dict[str, Any]
    reuse: dict[str, dict[str, int]]
    bursts: dict[str, int]
    warnings: tuple[str, ...] = ()

    def to_document(self) -> dict[str, Any]:
        return asdict(self)
