"""Performs each kind of change on the host many times, and scores what the guest hears.

What a change needs is made first, in lots; then nothing is done until the guest
has heard of that, so that no event of the preparation is taken for one of the
change, nor coalesced with it. Before each lot the guest looks at every name, so
that its caches believe the old state, a missing name included. What is heard of a name from then
on, and before its own change, is heard of nothing: it is judged, too.
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
    Names,
    PerformedChange,
    ScorecardChange,
    parse_name,
)
from osxfs_sim.coherence.scorecard.expectations import ChangeKind, Expectation
from osxfs_sim.coherence.scorecard.hearing import Hearing
from osxfs_sim.coherence.scorecard.judging import Score, add_up, is_satisfied, judge
from osxfs_sim.coherence.scorecard.listener import look
from osxfs_sim.coherence.scorecard.signals import Log, NameEvent, ReceivedEvent
from osxfs_sim.model.events import EventSpec, NotifySpec, StreamSpec
from osxfs_sim.model.user_error import UserError

Progress = Callable[[str], None]

_PATIENCE_NS = 2_000_000_000
_QUIET_NS = 100_000_000
_LOT = 100


@dataclass(frozen=True, slots=True)
class Pace:
    """The times of a scorecard, in nanoseconds.

    *window_ns* is how long the system may collect changes before it tells them.
    An event that has not come *patience_ns* after the last change of its lot is
    missing. All has been heard once nothing came for *quiet_ns*. *lot* is how many
    changes are prepared together.
    """

    window_ns: int = 0
    patience_ns: int = _PATIENCE_NS
    quiet_ns: int = _QUIET_NS
    lot: int = _LOT

    @classmethod
    def of(cls, events: EventSpec) -> "Pace":
        """The pace that suits a system."""
        stream, notify = events.stream or StreamSpec(), events.notify or NotifySpec()
        debounce_ns = max(notify.debounce_files_ns, notify.debounce_directories_ns)
        window_ns = stream.latency_ns + debounce_ns
        # Two names a change, and room to spare: a preparation must not make the stream overflow.
        lot = max(1, min(_LOT, stream.most_pending // 4))
        return cls(window_ns, window_ns + _PATIENCE_NS, 2 * window_ns + _QUIET_NS, lot)


@dataclass(frozen=True, slots=True)
class KindResult:
    """What was expected of a kind of change, and its score."""

    kind: ChangeKind
    expectation: Expectation
    score: Score


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
    """Perform each of *kinds* *number* times in *host*; yields each when it is scored.

    *guest* shows the same directory to the guest. What is made beforehand is waited for until
    nothing more is heard, after *settle* has waited until no event of it is on its way. Raises
    UserError if nothing can be heard there.
    """
    with Hearing() as hearing:
        for position, kind in enumerate(kinds, start=1):
            progress(f"{kind} ({position} of {len(kinds)})")
            name = kind.name.lower()
            os.mkdir(host / name)
            field = _Field(
                *(host / name, guest / name, kind, expected(kind), hearing, pace, random),
                settle,
            )
            yield KindResult(kind, field.expectation, field.score(number))


class _Field:
    """One kind of change in a directory of its own."""

    def __init__(
        self,
        host: Path,
        guest: Path,
        kind: ChangeKind,
        expectation: Expectation,
        hearing: Hearing,
        pace: Pace,
        random: Random,
        settle: Callable[[], object],
    ) -> None:
        self.expectation = expectation
        self._settle = settle
        self._host = host
        self._guest = guest
        self._change: ScorecardChange = CHANGES[kind]
        self._hearing = hearing
        self._pace = pace
        self._random = random
        self._heard: dict[int, list[ReceivedEvent]] = {}
        self._performed: dict[int, PerformedChange] = {}
        self._prepared_ns: dict[int, int] = {}
        self._until_ns: dict[int, int] = {}
        self._strange: Counter[str] = Counter()

    def score(self, number: int) -> Score:
        """Perform the change *number* times, and add up what was heard."""
        self._wait_for_directory()
        self._hearing.watch(str(self._guest))
        lot = self._pace.lot
        for start in range(0, number, lot):
            self._perform_lot(range(start, min(start + lot, number)))
        score = add_up(
            judge(self._log(change), self.expectation) for change in sorted(self._performed)
        )
        score.unexpected.update(self._strange)
        return score

    def _wait_for_directory(self) -> None:
        deadline_ns = time.monotonic_ns() + self._pace.patience_ns
        while not os.path.isdir(self._guest):
            if time.monotonic_ns() > deadline_ns:
                raise UserError(f"the guest does not see the new directory {self._guest}")
            time.sleep(0.01)

    def _perform_lot(self, lot: range) -> None:
        for change in lot:
            self._change.prepare(Names(self._host, change))
        self._settle()
        self._hear_out()
        self._prepared_ns |= dict.fromkeys(lot, time.monotonic_ns())
        for change in lot:
            names = Names(self._guest, change)
            if self._change.watched:
                self._hearing.watch(names.path(self._change.roles[0]), itself=True)
            for role in self._change.roles:
                look(str(self._guest), names.name(role))
        try:
            for change in lot:
                self._perform(change)
            self._listen(lambda: all(map(self._is_satisfied, lot)), self._pace.patience_ns)
            self._hear_out()
        finally:
            self._close(lot)

    def _perform(self, change: int) -> None:
        performed = self._change.perform(Names(self._host, change))
        self._performed[change] = performed
        # Who waits for the event before the next change never meets a window half over.
        pause_ns = round(self._random.random() * self._pace.window_ns)
        self._listen(lambda: self._is_satisfied(change), self._pace.window_ns + self._pace.quiet_ns)
        self._listen(lambda: False, pause_ns)

    def _close(self, lot: range) -> None:
        """Close what was kept open; what is heard from then on is not of the change."""
        was_open = False
        for change in lot:
            performed = self._performed.get(change)
            if performed is not None and performed.kept_open is not None:
                self._until_ns[change] = time.monotonic_ns()
                os.close(performed.kept_open)
                was_open = True
        if was_open:
            self._hear_out()

    def _is_satisfied(self, change: int) -> bool:
        return is_satisfied(self._log(change), self.expectation)

    def _log(self, change: int) -> Log:
        performed = self._performed[change]
        prepared_ns, until_ns = self._prepared_ns[change], self._until_ns.get(change)
        heard = tuple(
            each
            for each in self._heard.get(change, ())
            if each.at_ns >= prepared_ns and (until_ns is None or each.at_ns < until_ns)
        )
        return Log(performed.began_ns, performed.steps, heard)

    def _hear_out(self) -> None:
        """Wait until nothing has been heard for the quiet time."""
        while self._take(self._pace.quiet_ns):
            pass

    def _listen(self, enough: Callable[[], bool], within_ns: int) -> None:
        deadline_ns = time.monotonic_ns() + within_ns
        while not enough() and (left_ns := deadline_ns - time.monotonic_ns()) > 0:
            self._take(left_ns)

    def _take(self, within_ns: int) -> bool:
        """Sort in what is heard within that time; whether it was anything."""
        reports = self._hearing.take(within_ns)
        for report in reports:
            directory, name = os.path.split(report.path)
            if directory != str(self._guest):
                continue  # late, of the kind before
            parsed = parse_name(name)
            if parsed is None:
                # Nobody here makes such a name: the system did, and let it be seen.
                self._strange[f"{report.event} {name}"] += 1
                continue
            change, role = parsed
            signal = NameEvent(report.event, role, report.directory)
            heard = ReceivedEvent(signal, report.at_ns, report.look)
            self._heard.setdefault(change, []).append(heard)
        return bool(reports)
