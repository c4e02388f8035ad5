"""Judges the events that came of a change against those expected. Pure: no clock, no files.

Missing and unexpected events are wrong, and so is what comes before its change has begun: nothing
had happened to that name. So is an early one: the contract (DEL-1) promises that when an event
reaches the guest, a read there already returns what it tells of. A duplicate is counted and is not
wrong.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from osxfs_sim.coherence.scorecard.expectations import Expectation
from osxfs_sim.coherence.scorecard.signals import ChangeLog, ChangeStep, NameEvent, ReceivedEvent


@dataclass(frozen=True, slots=True)
class ChangeScore:
    """How the events of one change compare with what was expected."""

    delivered: int
    """How many required events came."""
    missing: tuple[NameEvent, ...]
    """Required events that did not come."""
    duplicates: tuple[NameEvent, ...]
    """Events that came again."""
    unexpected: tuple[NameEvent, ...]
    """Events that are neither required nor allowed, or came before the change began."""
    early: tuple[NameEvent, ...]
    """Events at which the guest still read an older state (breaks DEL-1)."""
    delays_ns: tuple[int, ...]
    """From the change's begin until each required event first came, in the order of the
    requirements."""


def judge(log: ChangeLog, expectation: Expectation) -> ChangeScore:
    """Score one change: events of *log* that were missing, unexpected, repeated or too early."""
    first: dict[NameEvent, ReceivedEvent] = {}
    duplicates, unexpected, early = [], [], []
    known = expectation.known
    for received in log.received:
        if received.signal not in known or received.at_ns < log.began_ns:
            unexpected.append(received.signal)
            continue
        if received.signal in first:
            duplicates.append(received.signal)
        else:
            first[received.signal] = received
        if is_early(received, log.steps):
            early.append(received.signal)
    missing, delays_ns = [], []
    for signal in expectation.required:
        if signal in first:
            delays_ns.append(first[signal].at_ns - log.began_ns)
        else:
            missing.append(signal)
    return ChangeScore(
        len(delays_ns),
        tuple(missing),
        tuple(duplicates),
        tuple(unexpected),
        tuple(early),
        tuple(delays_ns),
    )


def is_early(received: ReceivedEvent, steps: tuple[ChangeStep, ...]) -> bool:
    """Whether the guest, at the event *received*, still read a state older than the event tells of.

    It must return at least what the host had finished before the read began; later steps may be
    seen too, as the host went on meanwhile.
    """
    finished = sum(step.done_ns <= received.observed.began_ns for step in steps)
    if not finished:
        return False
    return not any(
        step.expected[received.signal.role].agrees(received.observed)
        for step in steps[finished - 1 :]
    )


def is_satisfied(log: ChangeLog, expectation: Expectation) -> bool:
    """Whether *log* has all events that *expectation* requires, since the change began."""
    signals = {each.signal for each in log.received if each.at_ns >= log.began_ns}
    return signals.issuperset(expectation.required)


@dataclass(frozen=True, slots=True)
class Score:
    """All changes of one kind, added up."""

    changes: int
    """How many changes were made."""
    delivered: int
    """How many required events came, of all changes."""
    missing: Counter[str]
    """How often each required event did not come."""
    duplicates: Counter[str]
    """How often each event came again."""
    unexpected: Counter[str]
    """How often each event came that should not have."""
    early: Counter[str]
    """How often each event came before the state that it tells of."""
    delays_ns: tuple[int, ...]
    """All delays, sorted."""

    @property
    def is_right(self) -> bool:
        """Whether no event was missing, unexpected or too early; duplicates are allowed."""
        return not (self.missing or self.unexpected or self.early)


def add_up(verdicts: Iterable[ChangeScore]) -> Score:
    """The scores of many changes of one kind, added up; all zeros for an empty *verdicts*."""
    verdicts = tuple(verdicts)
    return Score(
        len(verdicts),
        sum(verdict.delivered for verdict in verdicts),
        Counter(str(signal) for verdict in verdicts for signal in verdict.missing),
        Counter(str(signal) for verdict in verdicts for signal in verdict.duplicates),
        Counter(str(signal) for verdict in verdicts for signal in verdict.unexpected),
        Counter(str(signal) for verdict in verdicts for signal in verdict.early),
        tuple(sorted(delay_ns for verdict in verdicts for delay_ns in verdict.delays_ns)),
    )
