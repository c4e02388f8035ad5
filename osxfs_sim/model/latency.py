"""Decides what a crossing costs, and when its answer is due.

The rule (the model that fits the published numbers):

    due = start + base of the operation's class * a drawn factor + time on the link

where *start* is the arrival, or the moment a server slot is free if the system
serves a limited number at once, and the link carries one transfer after the
other at the published bandwidth. A single request therefore pays
base + bytes / bandwidth, and many in flight share the bandwidth instead of
each having it whole.

"Due" counts from the arrival: whatever the emulator itself spends on a request
lies inside the cost and not on top of it.

Knows no clock: callers pass the arrival, and may pass virtual time.

numpy is imported where something is drawn: a command that only reads what a profile
says, or finds a mistake, starts in half the time without it.
"""

import heapq
import itertools
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol

from osxfs_sim.model.operations import OperationClass
from osxfs_sim.model.user_error import UserError

if TYPE_CHECKING:
    import numpy as np

_DRAWS_AT_ONCE = 1024
_NS_PER_S = 1_000_000_000
_LONGEST_NS = 2**62
_MOST_SLOTS = 65_536
_MOST_STEPS = 1_000


class Distribution(Protocol):
    """How costs scatter around their median: a factor whose median is 1."""

    def factors(self, generator: "np.random.Generator", count: int) -> "np.ndarray":
        """Draw *count* factors, of median 1, from *generator*: float64, shape (count,)."""

    def describe(self) -> str:
        """The distribution and its numbers in one phrase, for a status line."""


@dataclass(frozen=True, slots=True)
class Constant:
    """Every crossing costs its base: the default, as sources publish one number."""

    def factors(self, generator: "np.random.Generator", count: int) -> "np.ndarray":
        """The factor 1, *count* times: float64, shape (*count*,); nothing is drawn."""
        import numpy as np

        del generator  # nothing is drawn
        return np.ones(count)

    def describe(self) -> str:
        """The phrase for a status line, which is the word constant."""
        return "constant"


@dataclass(frozen=True, slots=True)
class LogNormal:
    """Costs whose logarithm is normal with standard deviation *sigma*: a long right tail.

    The median stays the base; the mean is higher by exp(sigma**2 / 2).
    """

    sigma: float
    """The standard deviation of the logarithm."""

    def __post_init__(self) -> None:
        if not 0 < self.sigma <= 3:
            raise UserError(
                f"lognormal sigma {self.sigma:g} is out of range: give one above 0 and up to 3"
            )

    def factors(self, generator: "np.random.Generator", count: int) -> "np.ndarray":
        """Draw exp(sigma * standard normal), of median 1: float64, shape (*count*,)."""
        import numpy as np

        return np.exp(self.sigma * generator.standard_normal(count))

    def describe(self) -> str:
        """The phrase for a status line: the word lognormal, and its sigma."""
        return f"lognormal, sigma {self.sigma:g}"


@dataclass(frozen=True, slots=True)
class Empirical:
    """Costs drawn, with replacement, from measured ones.

    *samples_ns* are durations in nanoseconds; what is kept of them here is
    their shape around the median, so that one file serves every class.
    """

    samples_ns: tuple[int, ...]
    """Shape (n,): measured durations."""
    median_ns: int = field(init=False)
    """Their median: factors are relative to it."""
    _factors: "np.ndarray" = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        import numpy as np

        if not self.samples_ns:
            raise UserError("the empirical distribution has no samples")
        samples_ns = np.asarray(self.samples_ns, dtype=np.int64)
        median_ns = round(float(np.median(samples_ns)))
        if median_ns <= 0:
            raise UserError("the samples have a median of zero: give measured latencies")
        # Worked out once: draws are made while requests wait.
        object.__setattr__(self, "median_ns", median_ns)
        object.__setattr__(self, "_factors", samples_ns / median_ns)

    def factors(self, generator: "np.random.Generator", count: int) -> "np.ndarray":
        """Draw measured samples over their median, with replacement: float64, (*count*,)."""
        return generator.choice(self._factors, count)

    def describe(self) -> str:
        """The phrase for a status line: empirical, the number of samples, their median in us."""
        return f"empirical, {len(self.samples_ns)} samples, median {self.median_ns / 1000:g}us"


@dataclass(frozen=True, slots=True)
class DataPath:
    """A round trip taken apart: what it would cost with some of its steps removed.

    The vendor counts 7 copies and 5 context switches on the way from a Linux
    system call to macOS and back, and planned to remove 2 of each (seed osxfs).
    How the 130 us divide between them is not published.
    """

    copies: int
    """Copies of the data on the way there and back."""
    context_switches: int
    """Context switches on the way there and back."""
    copy_ns: int
    """What one copy costs."""
    context_switch_ns: int
    """What one context switch costs."""
    hypervisor_hop_ns: int
    """What the way through the hypervisor costs."""

    @property
    def total_ns(self) -> int:
        """What the round trip costs with all its copies, switches and hop, in ns."""
        return (
            self.copies * self.copy_ns
            + self.context_switches * self.context_switch_ns
            + self.hypervisor_hop_ns
        )

    def scaled(self, factor: float) -> "DataPath":
        """The same steps of a round trip, each one's cost multiplied by *factor* and rounded."""
        return replace(
            self,
            copy_ns=round(self.copy_ns * factor),
            context_switch_ns=round(self.context_switch_ns * factor),
            hypervisor_hop_ns=round(self.hypervisor_hop_ns * factor),
        )


@dataclass(frozen=True, slots=True)
class LatencySpec:
    """What a profile says about latency. Immutable; LatencyModel keeps the state.

    *base_ns* has one entry per OperationClass, in its order. *served_at_once*
    is how many requests the server works on at a time (None: any number).
    """

    base_ns: tuple[int, ...]
    """Shape (5,): the median cost of each OperationClass, in its order."""
    bandwidth_bytes_per_s: int | None = None
    """Of the one link; None: unlimited."""
    distribution: Distribution = Constant()
    """What a cost is multiplied by."""
    served_at_once: int | None = None
    """How many requests the server works on at a time; None: any number."""
    data_path: DataPath | None = None
    """How a round trip divides into steps; None: it is not taken apart."""

    def __post_init__(self) -> None:
        assert len(self.base_ns) == len(OperationClass), self.base_ns
        if any(base_ns < 0 for base_ns in self.base_ns):
            raise UserError("a latency cannot be negative")
        if self.served_at_once is not None and not 1 <= self.served_at_once <= _MOST_SLOTS:
            raise UserError(
                f"a server serves from 1 to {_MOST_SLOTS} requests at once, "
                f"not {self.served_at_once}"
            )

    @property
    def metadata_ns(self) -> int:
        """The round trip of a metadata request, by which a system is known, in ns."""
        return self.base_ns[OperationClass.METADATA]

    def scaled_to(self, metadata_ns: int) -> "LatencySpec":
        """The same system with *metadata_ns* as round trip; other classes in proportion.

        Where there was no latency there is no proportion to keep, and every
        class gets the new one.
        """
        if self.metadata_ns == 0:
            return replace(self, base_ns=(metadata_ns,) * len(self.base_ns))
        factor = metadata_ns / self.metadata_ns
        return replace(
            self,
            base_ns=tuple(round(base_ns * factor) for base_ns in self.base_ns),
            data_path=self.data_path and self.data_path.scaled(factor),
        )

    def multiplied(self, factor: float) -> "LatencySpec":
        """The same system, each class's cost times *factor*; the link's bandwidth stays."""
        return replace(
            self,
            base_ns=tuple(round(base_ns * factor) for base_ns in self.base_ns),
            data_path=self.data_path and self.data_path.scaled(factor),
        )

    def with_data_path(self, *, copies: int, context_switches: int) -> "LatencySpec":
        """The same system with other numbers of copies and switches. Raises UserError.

        Every class crosses on the same path, so each becomes cheaper (or
        dearer) by the same time. Raises UserError where the profile does not
        take its round trip apart.
        """
        if self.data_path is None:
            raise UserError("this profile does not take its round trip apart: it has no data path")
        if not (0 <= copies <= _MOST_STEPS and 0 <= context_switches <= _MOST_STEPS):
            raise UserError(f"a data path has from 0 to {_MOST_STEPS} copies and switches")
        path = replace(self.data_path, copies=copies, context_switches=context_switches)
        saved_ns = self.data_path.total_ns - path.total_ns
        return replace(
            self,
            base_ns=tuple(max(0, base_ns - saved_ns) for base_ns in self.base_ns),
            data_path=path,
        )

    def dilated(self, factor: float) -> "LatencySpec":
        """The same system slower by *factor*: costs multiplied, the bandwidth divided."""
        bandwidth = self.bandwidth_bytes_per_s
        return replace(
            self,
            base_ns=tuple(round(base_ns * factor) for base_ns in self.base_ns),
            bandwidth_bytes_per_s=None if bandwidth is None else max(1, round(bandwidth / factor)),
            data_path=self.data_path and self.data_path.scaled(factor),
        )


NO_LATENCY = LatencySpec((0,) * len(OperationClass))
"""Nothing costs anything: the emulator at its own floor."""


class LatencyModel:
    """The state behind a LatencySpec: streams of drawn costs, the link, the server's slots.

    The same seed and the same sequence of requests give the same costs,
    whenever they arrive: each class draws from a stream of its own, so that
    background reads that slip in between two lookups do not change what the
    lookups cost. The sequence is that of pricing: a request whose host call was
    made in a thread is priced when that has ended.
    """

    def __init__(self, spec: LatencySpec, seed: int) -> None:
        import numpy as np

        self.spec = spec
        generators = np.random.default_rng(seed).spawn(len(OperationClass))
        self._costs_ns = [
            _costs_ns(base_ns, spec.distribution, generator)
            for base_ns, generator in zip(spec.base_ns, generators, strict=True)
        ]
        is_fixed = isinstance(spec.distribution, Constant) and spec.served_at_once is None
        self.fixed_ns: list[int | None] = [
            base_ns if is_fixed else None for base_ns in spec.base_ns
        ]
        """Per class what a crossing costs that carries no data; None where due_ns() has to say."""
        self.fixed_with_data_ns: list[int | None] = [
            each if spec.bandwidth_bytes_per_s is None else None for each in self.fixed_ns
        ]
        """The same, of one that carries data."""
        self._link_free_ns = 0
        # One entry per slot: when it is free. None: no limit.
        self._slots_free_ns = None if spec.served_at_once is None else [0] * spec.served_at_once

    def due_ns(self, operation_class: OperationClass, size_bytes: int, arrival_ns: int) -> int:
        """Price a request and return when its answer is due, ns on the clock of *arrival_ns*.

        *size_bytes* is the data that crosses with it: what a read returns, what
        a write carries. With slots, requests wait in the order they are priced.
        """
        cost_ns = next(self._costs_ns[operation_class])
        slots = self._slots_free_ns
        if not size_bytes and slots is None:
            return arrival_ns + cost_ns
        start_ns = arrival_ns if slots is None else max(arrival_ns, slots[0])
        transferred_ns = start_ns
        bandwidth = self.spec.bandwidth_bytes_per_s
        if size_bytes and bandwidth is not None:
            transferred_ns = max(start_ns, self._link_free_ns) + size_bytes * _NS_PER_S // bandwidth
            self._link_free_ns = transferred_ns
        due_ns = transferred_ns + cost_ns
        if slots is not None:
            heapq.heapreplace(slots, due_ns)
        return due_ns


def _costs_ns(
    base_ns: int, distribution: Distribution, generator: "np.random.Generator"
) -> Iterator[int]:
    if base_ns == 0 or isinstance(distribution, Constant):
        return itertools.repeat(base_ns)
    return _drawn_ns(base_ns, distribution, generator)


def _drawn_ns(
    base_ns: int, distribution: Distribution, generator: "np.random.Generator"
) -> Iterator[int]:
    import numpy as np

    while True:
        drawn = np.rint(base_ns * distribution.factors(generator, _DRAWS_AT_ONCE))
        # A tail without end would leave the integers.
        drawn = np.minimum(drawn, _LONGEST_NS)
        yield from drawn.astype(np.int64).tolist()
