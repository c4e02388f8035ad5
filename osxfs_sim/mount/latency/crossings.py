"""Prices a request, delays its reply until it is due, and writes the receipt.

Part of what a client waits for lies outside the server's clock: the way into
the kernel, the wake-up of the client, the reply itself. It is calibrated when
the share is mounted, and a reply is sent that much earlier than it is due.
"""

import contextlib
import time
import types
from collections.abc import Generator, Iterator

from osxfs_sim.model.latency import NO_LATENCY, LatencyModel
from osxfs_sim.model.operations import CLASS_OF, Operation
from osxfs_sim.mount.latency.receipt import FOLD_AT, Receipt
from osxfs_sim.mount.loop.request import Crossing, Request


class ClientOverhead:
    """What a client waits for outside the server, as a function of the target latency.

    It grows with the latency, as processors go colder in longer waits. Measured at a few latencies
    (*points*: target and overhead, both in nanoseconds) and interpolated linearly between them;
    flat beyond.
    """

    def __init__(self, points: dict[int, int]) -> None:
        assert points, "at least one measured point"
        self.points = dict(sorted(points.items()))
        self.known: dict[int, int] = {}
        """What overhead_ns() has worked out, by target; it may be forgotten at any time."""

    def overhead_ns(self, target_ns: int) -> int:
        """How many ns a client waits outside the server at target *target_ns*, interpolated."""
        known = self.known.get(target_ns)
        if known is None:
            if len(self.known) > 4096:
                self.known.clear()  # drawn latencies hardly repeat
            known = self.known[target_ns] = self._interpolate(target_ns)
        return known

    def _interpolate(self, target_ns: int) -> int:
        below: tuple[int, int] | None = None
        for point in self.points.items():
            if point[0] >= target_ns:
                if below is None or point[0] == target_ns:
                    return point[1]
                share = (target_ns - below[0]) / (point[0] - below[0])
                return round(below[1] + share * (point[1] - below[1]))
            below = point
        assert below is not None
        return below[1]


# By plain numbers: a list is faster by them, and each request passes here.
_CLASS_OF = tuple(map(int, CLASS_OF))


class Crossings:
    """What every request of a share passes: the latency model, the receipt, the counts."""

    def __init__(self, latency: LatencyModel, client_overhead: ClientOverhead) -> None:
        self.latency = latency
        self.client_overhead = client_overhead
        self.reset_counts()

    def set_latency(self, latency: LatencyModel) -> None:
        """Price every request by the model *latency* from now on."""
        self.latency = latency

    def set_client_overhead(self, client_overhead: ClientOverhead) -> None:
        """Send replies earlier by *client_overhead* from now on."""
        self.client_overhead = client_overhead

    @contextlib.contextmanager
    def without_latency(self) -> Iterator[None]:
        """Within the block no reply is delayed: for what the server asks of its own share.

        Nothing is drawn from the share's own randomness either.
        """
        kept, self.latency = self.latency, LatencyModel(NO_LATENCY, seed=0)
        try:
            yield
        finally:
            self.latency = kept

    def reset_counts(self) -> None:
        """Begin an empty receipt and counts of 0; the latency model stays as it is."""
        self.receipt = Receipt()
        self._pending = self.receipt.pending
        self.counts = [0] * len(Operation)
        self.missing_lookups = 0

    @types.coroutine
    def cross(self, request: Request, operation: int, size_bytes: int) -> Generator[int, int, None]:
        """Delay *request*'s reply until *operation*'s latency is over; count it. Never fails.

        It is paid as *operation*, which need not be its own (a WRITE that is to be synchronous pays
        an FSYNC); *size_bytes* is the data that crosses with it.
        """
        arrival_ns = request.arrival_ns
        self.counts[operation] += 1
        operation_class = _CLASS_OF[operation]
        latency = self.latency
        target_ns = (latency.fixed_with_data_ns if size_bytes else latency.fixed_ns)[
            operation_class
        ]
        if target_ns is None:
            target_ns = latency.due_ns(CLASS_OF[operation], size_bytes, arrival_ns) - arrival_ns
        client_overhead_ns = self.client_overhead.known.get(target_ns)
        if client_overhead_ns is None:
            client_overhead_ns = self.client_overhead.overhead_ns(target_ns)
        send_ns = arrival_ns + target_ns - client_overhead_ns
        now_ns = time.monotonic_ns()
        if now_ns < send_ns:
            now_ns = yield send_ns
        observed_ns = now_ns - arrival_ns + client_overhead_ns
        # As Receipt.add, without its call.
        pending = self._pending[operation_class]
        pending += (target_ns, observed_ns)
        if len(pending) >= FOLD_AT:
            self.receipt.fold(CLASS_OF[operation])
        if request.paid is not None:
            request.paid.append(Crossing(operation, size_bytes, arrival_ns, target_ns, observed_ns))
