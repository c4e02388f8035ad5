"""A request of the guest's kernel, as a value: made when it comes, passed along until its answer.

Whoever prices it, holds its answer, traces it or makes something else of it has it in hand, and
looks at nothing that belongs to whatever request came last.
"""

import time
from typing import NamedTuple


class Crossing(NamedTuple):
    """What one question to the host came to, as it was paid: times in nanoseconds."""

    operation: int
    """The Operation's number."""
    size_bytes: int
    """The data that crossed with it."""
    arrival_ns: int
    """From when on it was paid (monotonic)."""
    target_ns: int
    """What it was to take."""
    observed_ns: int
    """What its client saw it take."""


class Request:
    """One request. Its maker sets all fields at once; nobody changes them after that.

    It is made for each of them, so it has no ``__init__``: that would take as long as the rest.
    """

    __slots__ = ("arrival_ns", "operation", "paid")

    arrival_ns: int
    """When it reached the share, or began to be answered as a request of its own (monotonic)."""
    operation: int
    """What the kernel asks for: an Operation's number, since lists are faster by a plain one."""
    paid: list[Crossing] | None
    """Where what it pays is noted, for whoever traces it; None: nobody does."""

    def restarted(self) -> "Request":
        """The same as if it had come only now: what it has waited for was somebody else's work."""
        return new_request(self.operation, time.monotonic_ns(), self.paid)

    def traced(self) -> "Request":
        """The same, that notes what it pays from now on."""
        return new_request(self.operation, self.arrival_ns, [])


def new_request(operation: int, arrival_ns: int, paid: list[Crossing] | None = None) -> Request:
    """A request that came at *arrival_ns* of the monotonic clock."""
    request = Request()
    request.operation = int(operation)
    request.arrival_ns = arrival_ns
    request.paid = paid
    return request
