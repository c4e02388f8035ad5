"""Performs each kind of change on the host many times, and scores the events in the guest.

What a change needs is made first, in batches; then nothing is done until the events of that have
come, so that no event of the preparation is taken for one of the change, nor coalesced with it.
Before each batch the guest reads every name, so that its kernel caches the old state, negative
entries included. An event of a name from then on, and before its own change, is one of nothing: it
is judged, too.
"""

import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

from osxfs_sim.coherence.scorecard.changes import (
    CHANGES,
    ChangeNames,
    PerformedChange,
    ScorecardChange,
    parse_name,
)
from osxfs_sim.coherence.scorecard.expectations import ChangeKind, Expectation
from osxfs_sim.coherence.scorecard.judging import Score, add_up, is_satisfied, judge
from osxfs_sim.coherence.scorecard.listener import observe
from osxfs_sim.coherence.scorecard.listener_process import ListenerProcess
from osxfs_sim.coherence.scorecard.signals import ChangeLog, NameEvent, ReceivedEvent
from osxfs_sim.model.events import EventSpec, NotifySpec, StreamSpec
from osxfs_sim.model.user_error import UserError

Progress = Callable[[str], None]

_PATIENCE_NS = 2_000_000_000
_QUIET_NS = 100_000_000
_BATCH = 100


@dataclass(frozen=True, slots=True)
class Pace:
    """The times of a scorecard, in nanoseconds, and the size of its batches."""

    window_ns: int = 0
    """How long the system may collect changes before it raises events."""
    patience_ns: int = _PATIENCE_NS
    """An event that has not come so long after the last change of its batch is missing."""
    quiet_ns: int = _QUIET_NS
    """Without an event for so long, all of them have come."""
    batch: int = _BATCH
    """How many changes are prepared together."""

    @classmethod
    def of(cls, events: EventSpec) -> "Pace":
        """The waiting times and the batch size of a scorecard that suit a system's *events*."""
        stream, notify = events.stream or StreamSpec(), events.notify or NotifySpec()
        debounce_ns = max(notify.debounce_files_ns, notify.debounce_directories_ns)
        window_ns = stream.latency_ns + debounce_ns
        # Two names a change, and room to spare: a preparation must not make the stream overflow.
        batch = max(1, min(_BATCH, stream.most_pending // 4))
        return cls(window_ns, window_ns + _PATIENCE_NS, 2 * window_ns + _QUIET_NS, batch)


@dataclass(frozen=True, slots=True)
class KindResult:
    """The result of one kind of change."""

    kind: ChangeKind
    """The kind of change."""
    expectation: Expectation
    """Which events were expected of it."""
    score: Score
    """What came."""


def run_scorecard(
    host: Path,
    guest: Path,
    expected: Callable[[ChangeKind], Expectation],
    number: int,
    pace: Pace,
    random: Random,
    progress: Progress,
    kinds: tuple[ChangeKind, ...] = tuple(ChangeKind),
    settle: Callable[[], object] = lambda: None,
) -> Iterator[KindResult]:
    """Make changes of all *kinds* in *host*, and yield each kind's score. Raises UserError.

    *guest* is the same directory through the share. After what is made beforehand, *settle* waits
    until no event of it is in flight, and then until none has come for the quiet time. Raises
    UserError if the guest cannot watch there.
    """
    with ListenerProcess() as listener:
        for position, kind in enumerate(kinds, start=1):
            progress(f"{kind} ({position} of {len(kinds)})")
            name = kind.name.lower()
            os.mkdir(host / name)
            field = _KindRun(
                *(host / name, guest / name, kind, expected(kind), listener, pace, random),
                settle,
            )
            yield KindResult(kind, field.expectation, field.score(number))


class _KindRun:
    """One kind of change in a directory of its own."""

    def __init__(
        self,
        host: Path,
        guest: Path,
        kind: ChangeKind,
        expectation: Expectation,
        listener: ListenerProcess,
        pace: Pace,
        random: Random,
        settle: Callable[[], object],
    ) -> None:
        self.expectation = expectation
        self._settle = settle
        self._host = host
        self._guest = guest
        self._change: ScorecardChange = CHANGES[kind]
        self._listener = listener
        self._pace = pace
        self._random = random
        self._received: dict[int, list[ReceivedEvent]] = {}
        self._performed: dict[int, PerformedChange] = {}
        self._prepared_ns: dict[int, int] = {}
        self._until_ns: dict[int, int] = {}
        self._foreign: Counter[str] = Counter()

    def score(self, number: int) -> Score:
        """Perform the change *number* times, and add up the scores."""
        self._wait_for_directory()
        self._listener.watch(str(self._guest))
        batch = self._pace.batch
        for start in range(0, number, batch):
            self._perform_batch(range(start, min(start + batch, number)))
        score = add_up(
            judge(self._log(change), self.expectation) for change in sorted(self._performed)
        )
        score.unexpected.update(self._foreign)
        return score

    def _wait_for_directory(self) -> None:
        deadline_ns = time.monotonic_ns() + self._pace.patience_ns
        while not os.path.isdir(self._guest):
            if time.monotonic_ns() > deadline_ns:
                raise UserError(f"the guest does not see the new directory {self._guest}")
            time.sleep(0.01)

    def _perform_batch(self, batch: range) -> None:
        for change in batch:
            self._change.prepare(ChangeNames(self._host, change))
        self._settle()
        self._drain_events()
        self._prepared_ns |= dict.fromkeys(batch, time.monotonic_ns())
        for change in batch:
            names = ChangeNames(self._guest, change)
            if self._change.watched:
                self._listener.watch(names.path(self._change.roles[0]), itself=True)
            for role in self._change.roles:
                observe(str(self._guest), names.name(role))
        try:
            for change in batch:
                self._perform(change)
            self._listen(lambda: all(map(self._is_satisfied, batch)), self._pace.patience_ns)
            self._drain_events()
        finally:
            self._close(batch)

    def _perform(self, change: int) -> None:
        performed = self._change.perform(ChangeNames(self._host, change))
        self._performed[change] = performed
        # If each change waited for the event of the one before, none would meet a window half over.
        pause_ns = round(self._random.random() * self._pace.window_ns)
        self._listen(lambda: self._is_satisfied(change), self._pace.window_ns + self._pace.quiet_ns)
        self._listen(lambda: False, pause_ns)

    def _close(self, batch: range) -> None:
        """Close what was kept open; events from then on are not of the change."""
        was_open = False
        for change in batch:
            performed = self._performed.get(change)
            if performed is not None and performed.open_fd is not None:
                self._until_ns[change] = time.monotonic_ns()
                os.close(performed.open_fd)
                was_open = True
        if was_open:
            self._drain_events()

    def _is_satisfied(self, change: int) -> bool:
        return is_satisfied(self._log(change), self.expectation)

    def _log(self, change: int) -> ChangeLog:
        performed = self._performed[change]
        prepared_ns, until_ns = self._prepared_ns[change], self._until_ns.get(change)
        received = tuple(
            each
            for each in self._received.get(change, ())
            if each.at_ns >= prepared_ns and (until_ns is None or each.at_ns < until_ns)
        )
        return ChangeLog(performed.began_ns, performed.steps, received)

    def _drain_events(self) -> None:
        """Wait until no event has come for the quiet time."""
        while self._take(self._pace.quiet_ns):
            pass

    def _listen(self, enough: Callable[[], bool], within_ns: int) -> None:
        deadline_ns = time.monotonic_ns() + within_ns
        while not enough() and (left_ns := deadline_ns - time.monotonic_ns()) > 0:
            self._take(left_ns)

    def _take(self, within_ns: int) -> bool:
        """Sort in the events that come within that time; whether there were any."""
        reports = self._listener.take(within_ns)
        for report in reports:
            directory, name = os.path.split(report.path)
            if directory != str(self._guest):
                continue  # late, of the kind before
            parsed = parse_name(name)
            if parsed is None:
                # No change here makes such a name: the system did, and let it be seen.
                self._foreign[f"{report.event} {name}"] += 1
                continue
            change, role = parsed
            signal = NameEvent(report.event, role, report.directory)
            received = ReceivedEvent(signal, report.at_ns, report.observed)
            self._received.setdefault(change, []).append(received)
        return bool(reports)
