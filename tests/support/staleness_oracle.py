"""Staleness, by going through all that the host had, moment by moment.

It shares nothing with osxfs_sim/coherence: curves are counted at every moment, intervals come from
the binomial distribution by bisection, and answers are compared with every host that there may have
been, whenever each change took effect.
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass


def tail(number: int, count: int, p: float) -> float:
    """How likely *count* of *number* or more are, each with probability *p*."""
    return math.fsum(
        math.comb(number, k) * p**k * (1 - p) ** (number - k) for k in range(count, number + 1)
    )


def bisected(rises: object, level: float) -> float:
    low, high = 0.0, 1.0
    for _ in range(60):
        middle = (low + high) / 2
        if rises(middle) < level:  # type: ignore[operator]
            low = middle
        else:
            high = middle
    return (low + high) / 2


def interval(number: int, fewest: int, most: int, level: float) -> tuple[float, float]:
    """Clopper and Pearson's: from *fewest* of *number*, to *most*."""
    low = 0.0 if fewest == 0 else bisected(lambda p: tail(number, fewest, p), level / 2)
    high = 1.0
    if most < number:
        high = bisected(lambda p: tail(number, most + 1, p), 1 - level / 2)
    return low, high


@dataclass(frozen=True)
class Seen:
    """A change: the beginnings of its last stale look (None: none) and its first fresh one."""

    stale: int | None
    fresh: int | None
    look: int = 0


def first_departure(
    changes: Sequence[Seen],
    predicted: object,
    level: float,
    until: int,
    step: int,
    slack: float = 1e-9,
) -> tuple[int | None, bool]:
    """The first moment at which the band is beside the prediction; and whether it was a near thing.

    *predicted* gives the least and the most that P(stale) may be at a moment, for a look so long.
    """
    near = False
    number = len(changes)
    bands: dict[tuple[int, int], tuple[float, float]] = {}
    seen = [each for each in changes if each.fresh is not None]
    for now in range(-step, until, step):
        surely = sum(each.stale is not None and each.stale >= now for each in changes)
        perhaps = sum(each.fresh is None or each.fresh > now for each in changes)
        if (surely, perhaps) not in bands:
            bands[surely, perhaps] = interval(number, surely, perhaps, level)
        low, high = bands[surely, perhaps]
        most = predicted(now, 0)[1]  # type: ignore[operator]
        lows = [predicted(now, each.look)[0] for each in seen]  # type: ignore[operator]
        least = math.fsum(lows) / len(lows) if lows else predicted(now, 0)[0]  # type: ignore
        near |= 0 < abs(low - most) < slack or 0 < abs(high - least) < slack
        if (low > most or high < least) and now >= 0:
            return now, near
    return None, near


# Bounded staleness: a register that the host changes, and guests that read it


@dataclass(frozen=True)
class Write:
    call: int
    back: int
    value: str


@dataclass(frozen=True)
class Read:
    who: str
    call: int
    back: int
    value: str


def is_bounded(first: str, writes: Sequence[Write], reads: Sequence[Read], stale: int) -> bool:
    """Whether there are moments for all writes, and for all reads that are no older than *stale*,
    such that each reads what is there, and nobody goes back.
    """
    windows = [range(each.call, each.back + 1) for each in writes]
    for moments in itertools.product(*windows):
        if all(
            has_moments(first, writes, moments, [each for each in reads if each.who == who], stale)
            for who in {each.who for each in reads}
        ):
            return True
    return False


def has_moments(
    first: str, writes: Sequence[Write], moments: Sequence[int], reads: Sequence[Read], stale: int
) -> bool:
    order = sorted(range(len(writes)), key=lambda at: (moments[at], at))
    # The values one after the other, and from when to when each was there.
    values = [first, *(writes[at].value for at in order)]
    begins = [-(10**9), *(moments[at] for at in order)]
    ends = [*(moments[at] for at in order), 10**9]
    reached, now = 0, -(10**9)  # the place among the values of who has read last, and when
    for each in reads:
        for place in range(reached, len(values)):
            moment = max(now, begins[place], each.call - stale)
            if values[place] == each.value and moment <= min(ends[place], each.back):
                reached, now = place, moment
                break
        else:
            return False
    return True
