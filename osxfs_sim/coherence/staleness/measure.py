"""Measures how long one side goes on seeing an old state after a change on the other.

The guest reads, so that its kernel caches the old state; a random time later the host changes it;
then the guest reads until it gets the new state. In the other direction the host reads, and the
guest changes. Change and reads are made one after the other in one thread: the change is one
system call, and nothing is gained by a second clock or an interpreter's lock between the two.

Reads are spaced by a small part of the time that has gone by, so that what measures does not take
the processor from what serves. When a read returned the old state, its answer was given some time
between the read's call and its return; so what is known of that moment is an interval (see
StalenessSample).
"""

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

from osxfs_sim.coherence.staleness.predicted import departure_ns
from osxfs_sim.coherence.staleness.predictions import (
    Direction,
    Outlook,
    PredictionTest,
    StalenessSample,
    View,
    compare,
)
from osxfs_sim.coherence.staleness.views import VIEWS, ReadOnce, ViewProbe

Progress = Callable[[str], None]

# Advances with the tick; the standard library has no name for it (linux/time.h).
_CLOCK_MONOTONIC_COARSE = 6
_SPACING = 256
_LONGEST_PAUSE_NS = 2_000_000
_GIVE_UP_AFTER = 5
# After it, file times differ however coarse the clock is that the file system takes them from.
_OLD_ENOUGH_NS = 50_000_000


@dataclass(frozen=True, slots=True)
class ViewResult:
    """What was measured of a view, and what was expected."""

    view: View
    """The view that was measured."""
    outlook: Outlook
    """What was expected of it, and how it was measured."""
    samples: tuple[StalenessSample, ...]
    """One per change, in the order in which they were made; fewer than asked for where none of the
    first was seen."""
    comparison: PredictionTest | None
    """The test of the samples against the prediction; None without a prediction."""
    direction: Direction = Direction.TO_GUEST
    """On which side the change was to be seen."""

    @property
    def departs_ns(self) -> int | None:
        """When the measured curve first leaves the predicted one, ns; None if it never does."""
        if self.outlook.prediction is None:
            return None
        return departure_ns(self.outlook.prediction, self.outlook.phase_ns, self.samples)

    @property
    def agrees(self) -> bool | None:
        """Whether test and curve both agree with the prediction; None without a prediction."""
        if self.comparison is None:
            return None
        return self.comparison.agrees and self.departs_ns is None


def kernel_tick_ns() -> int:
    """The length of this kernel's tick (jiffy), in which cache timeouts are counted, in ns."""
    return round(time.clock_getres(_CLOCK_MONOTONIC_COARSE) * 1e9)


def measure_views(
    host: Path,
    guest: Path,
    outlooks: dict[View, Outlook],
    number: int,
    settle_ns: int,
    random: Random,
    progress: Progress,
    direction: Direction = Direction.TO_GUEST,
    settle: Callable[[], object] = lambda: None,
) -> Iterator[ViewResult]:
    """Measure the staleness of each view *number* times; yields each result. Raises OSError.

    *guest* is the directory *host* through the share. What is read is made on the host in both
    directions, so that nothing of it is still dirty in the guest. *settle_ns* is how long the
    host's events of what is made beforehand may take to reach the guest; then *settle* waits
    until they have, which on a busy share takes longer. Raises OSError where a side fails.
    """
    for position, (view, outlook) in enumerate(outlooks.items(), start=1):
        progress(f"{direction}: {view} ({position} of {len(outlooks)})")
        name = view.name.lower()
        if direction is Direction.TO_HOST:
            name += "-to-host"
        os.mkdir(host / name)
        sides = _Sides(host / name, guest / name, host / name)
        if direction is Direction.TO_HOST:
            sides = _Sides(host / name, host / name, guest / name)
        samples = tuple(_measure(VIEWS[view], sides, outlook, number, settle_ns, random, settle))
        comparison = None if outlook.prediction is None else compare(outlook.prediction, samples)
        yield ViewResult(view, outlook, samples, comparison, direction)


@dataclass(frozen=True, slots=True)
class _Sides:
    """One directory by three paths: where files are made, read, and changed."""

    made: Path
    read: Path
    changed: Path


def _measure(
    view: ViewProbe,
    sides: _Sides,
    outlook: Outlook,
    number: int,
    settle_ns: int,
    random: Random,
    settle: Callable[[], object],
) -> Iterator[StalenessSample]:
    names = [f"{each:06}" for each in range(number)]
    for name in names:
        view.prepare(str(sides.made / name))
    _sleep(max(settle_ns, _OLD_ENOUGH_NS))
    settle()
    unseen = 0
    for position, name in enumerate(names):
        phase_ns = round(random.random() * outlook.phase_ns)
        with view.reader(str(sides.read / name)) as read_once:
            assert not read_once(), f"{name} is new before it has changed"
            _sleep(phase_ns)
            changed = str(sides.changed / name)
            sample = _read_until_visible(view, changed, read_once, phase_ns, outlook.patience_ns)
        yield sample
        unseen += sample.seen_ns is None
        if unseen == position + 1 == _GIVE_UP_AFTER:
            return


def _read_until_visible(
    view: ViewProbe, path: str, read_once: ReadOnce, phase_ns: int, patience_ns: int
) -> StalenessSample:
    called = view.change(path)
    stale_reads = lower_ns = 0
    while True:
        began_ns = time.monotonic_ns()
        is_new = read_once()
        ended_ns = time.monotonic_ns()
        if is_new:
            return StalenessSample(
                phase_ns,
                stale_reads,
                lower_ns,
                began_ns - called.return_ns,
                ended_ns - called.call_ns,
            )
        stale_reads += 1
        lower_ns = began_ns - called.return_ns
        since_ns = ended_ns - called.return_ns
        if since_ns > patience_ns:
            return StalenessSample(phase_ns, stale_reads, lower_ns)
        _sleep(min(since_ns // _SPACING, _LONGEST_PAUSE_NS))


def _sleep(duration_ns: int) -> None:
    # A shorter sleep takes longer than it says.
    if duration_ns >= 10_000:
        time.sleep(duration_ns / 1e9)
