"""Judges what was heard of a change against what had to be. Pure: no clock, no files.

Missing and unexpected events are wrong, and so is what comes before its change has begun: nothing
had happened to that name. So is an early one: the contract
(DEL-1) promises that when an event reaches the guest, the guest's state already
shows what it tells of. A duplicate is counted and is not wrong.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

from osxfs_sim.coherence.scorecard.expectations import Expectation
from osxfs_sim.coherence.scorecard.signals import ChangeStep, Log, NameEvent, ReceivedEvent


@dataclass(frozen=True, slots=True)
class ChangeScore:
    """One change. *delays_ns*: from its beginning until each requirement was first met."""

    delivered: int
    missing: tuple[NameEvent, ...]
    duplicates: tuple[NameEvent, ...]
    unexpected: tuple[NameEvent, ...]
    early: tuple[NameEvent, ...]
    delays_ns: tuple[int, ...]


def judge(log: Log, expectation: Expectation) -> ChangeScore:
    """Compare a change's *log* with what was expected of it."""
    first: dict[NameEvent, ReceivedEvent] = {}
    duplicates, unexpected, early = [], [], []
    known = expectation.known
    for heard in log.heard:
        if heard.signal not in known or heard.at_ns < log.began_ns:
            unexpected.append(heard.signal)
            continue
        if heard.signal in first:
            duplicates.append(heard.signal)
        else:
            first[heard.signal] = heard
        if is_early(heard, log.steps):
            early.append(heard.signal)
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


def is_early(heard: ReceivedEvent, steps: tuple[ChangeStep, ...]) -> bool:
    """Whether the guest still saw an older state when the event came.

    It must see at least what the host had finished before the look began;
    later steps may be seen too, as the host went on meanwhile.
    """
    finished = sum(step.done_ns <= heard.look.began_ns for step in steps)
    if not finished:
        return False
    return not any(
        step.shown[heard.signal.role].agrees(heard.look) for step in steps[finished - 1 :]
    )


def is_satisfied(log: Log, expectation: Expectation) -> bool:
    """Whether nothing required is missing any more."""
    signals = {each.signal for each in log.heard if each.at_ns >= log.began_ns}
    return signals.issuperset(expectation.required)


@dataclass(frozen=True, slots=True)
class Score:
    """All changes of one kind, added up; *delays_ns* are sorted."""

    changes: int
    delivered: int
    missing: Counter[str]
    duplicates: Counter[str]
    unexpected: Counter[str]
    early: Counter[str]
    delays_ns: tuple[int, ...]

    @property
    def is_right(self) -> bool:
        """Whether everything came that had to, nothing else, and nothing too early."""
        return not (self.missing or self.unexpected or self.early)


def add_up(verdicts: Iterable[ChangeScore]) -> Score:
    """The score of many changes of one kind."""
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
