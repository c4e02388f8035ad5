"""A request of the guest's kernel, as a value: made when it comes, passed along until its answer.

Whoever prices it, holds its answer, traces it or makes something else of it has it in hand, and
looks at nothing that belongs to whatever request came last.
"""

import time
from typing import NamedTuple


class Crossing(NamedTuple):
    """One round trip to the host, as the latency model has priced it; times in nanoseconds."""

    operation: int
    """The Operation's number."""
    size_bytes: int
    """The data that crossed with it, in bytes."""
    arrival_ns: int
    """From when on it was paid (monotonic)."""
    target_ns: int
    """The target: what it was to take."""
    observed_ns: int
    """What its client saw it take, client overhead included."""


class Request:
    """One request of the guest's kernel, immutable once its maker has set all fields.

    It is made for each of them, so it has no ``__init__``: that would take as long as the rest.
    """

    __slots__ = ("arrival_ns", "operation", "paid")

    arrival_ns: int
    """When it reached the share, or began to be answered as a request of its own; monotonic."""
    operation: int
    """What the kernel asks for: an Operation's number, since lists are faster by a plain one."""
    paid: list[Crossing] | None
    """Collects what it pays, for whoever traces it; None: nobody does."""

    def restarted(self) -> "Request":
        """A copy of this request that arrives now: what it waited for is not its own time."""
        return new_request(self.operation, time.monotonic_ns(), self.paid)

    def traced(self) -> "Request":
        """A copy of this request that collects what it pays from now on in *paid*."""
        return new_request(self.operation, self.arrival_ns, [])


def new_request(operation: int, arrival_ns: int, paid: list[Crossing] | None = None) -> Request:
    """A Request for *operation* that came at *arrival_ns* (monotonic), and pays into *paid*.

    *paid* is None where nobody traces it.
    """
    request = Request()
    request.operation = int(operation)
    request.arrival_ns = arrival_ns
    request.paid = paid
    return request
