"""Searches for a linearization: an order of all operations that explains every result.

Linearizability (Herlihy and Wing, 1990): each operation takes effect at one moment between its
call and its return, and returns what a single copy would have returned. The search is Wing and
Gong's (1993) with Lowe's cache of configurations (2017), as in porcupine: take any operation that
may be the next, go on, and backtrack where none may. A configuration, that is which operations
are complete and the state they led to, is never searched twice.

It goes beyond the textbook in three things. An operation may take several steps (model.py). Each
step has its own earliest moment: what a cache may answer can be from before the call. And an
operation may have to come after others of the same process where the intervals alone do not say
so: the session guarantees. With no cache, all of that is linearizability again.
"""

import enum
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from osxfs_sim.coherence.actors.processes import OperationInterval
from osxfs_sim.coherence.histories.history import Grain
from osxfs_sim.coherence.histories.model import (
    DONE,
    MUTATORS,
    SAME,
    START,
    AnswerSource,
    ModelStep,
    OperationProgress,
    State,
    is_pending,
    may_happen_later,
    steps,
)


class CheckResult(enum.StrEnum):
    """What a check says, as in porcupine; unknown where the search was given up."""

    OK = "ok"
    VIOLATION = "violation"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Candidate:
    """An operation to be linearized, and when each of its steps may take effect.

    Exact linearizability is ``exactly``; modes that allow stale answers begin earlier (modes.py).
    """

    interval: OperationInterval
    """The operation as it was observed."""
    read_from_ns: int
    """The earliest moment whose state a cache may still answer with."""
    effect_from_ns: int
    """The earliest moment at which a change, or an answer by the host, takes effect."""
    end_ns: int
    """The latest moment at which its last step takes effect."""
    grain: Grain = Grain.DIRECTORY
    """Into how many atomic steps it divides."""
    after: tuple[int, ...] = ()
    """Indices of those that must be complete before it begins."""
    reads_before: tuple[int, ...] = ()
    """Indices of earlier reads of its process: it reads no older state than they did."""

    @classmethod
    def exactly(cls, interval: OperationInterval, grain: Grain) -> "Candidate":
        """A candidate of *interval* that takes effect between its call and its return."""
        call_ns = interval.call_ns
        return cls(interval, call_ns, call_ns, interval.return_ns, grain)

    @property
    def changes_nothing(self) -> bool:
        """Whether the operation leaves every state as it is: it reads, or was refused."""
        if self.interval.operation.act not in MUTATORS | {"map", "unmap"}:
            return True
        return self.interval.outcome.error is not None and not is_pending(self.interval)


@dataclass(frozen=True, slots=True)
class Limits:
    """When a search is given up, and its answer is unknown."""

    steps: int | None = None
    """Most steps of the model to try; None: no limit."""
    within_ns: int | None = None
    """Longest time to search; None: no limit."""

    def are_reached(self, steps: int, begun_ns: int) -> bool:
        """Whether to end a search after *steps*, or for the time since *begun_ns*, monotonic."""
        if self.steps is not None and steps >= self.steps:
            return True
        return self.within_ns is not None and time.monotonic_ns() - begun_ns > self.within_ns


NO_LIMITS = Limits()


@dataclass(frozen=True, slots=True)
class Search:
    """What a search found."""

    answer: CheckResult
    """OK: there is a linearization. VIOLATION: there is none. UNKNOWN: a limit was reached."""
    linearization: tuple[int, ...]
    """The longest (partial) linearization found, as indices of candidates."""
    counterexample: tuple[int, ...] = ()
    """Candidates that might come next, and whose results the model cannot explain there."""
    steps: int = 0
    """How many steps of the model were tried."""


@dataclass(frozen=True, slots=True)
class _Configuration:
    """What is *done* (a bit for each candidate), what is under way, and the state (Lowe, 2017)."""

    done: int
    under_way: tuple[tuple[int, OperationProgress], ...]
    state: State


@dataclass(slots=True)
class _Frame:
    """A configuration, what may be tried from it, and the linearization that led to it."""

    configuration: _Configuration
    linearization: "tuple[int, object] | None"
    length: int
    untried: Iterator[tuple[int, _Configuration]] = field(default_factory=lambda: iter(()))


def search(
    candidates: Sequence[Candidate], state: State, umask: int, limits: Limits = NO_LIMITS
) -> Search:
    """Search for an order of *candidates* from *state* that explains all; UNKNOWN at *limits*.

    *umask* is that of their processes. An answer is certain unless one of *limits* was reached:
    then it is unknown.
    """
    return _Searcher(candidates, umask).search(state, limits)


class _Searcher:
    def __init__(self, candidates: Sequence[Candidate], umask: int) -> None:
        self._tasks = candidates
        self._umask = umask
        self._by_end = sorted(range(len(candidates)), key=lambda each: candidates[each].end_ns)
        self._after = [sum(1 << other for other in candidate.after) for candidate in candidates]
        self._touching = _touching(candidates)

    def search(self, state: State, limits: Limits) -> Search:
        everything = (1 << len(self._tasks)) - 1
        first = _Frame(_Configuration(0, (), state), None, 0)
        first.untried = self._next(first.configuration)
        stack, tried, best, taken = [first], {first.configuration}, first, 0
        begun_ns = time.monotonic_ns()
        while stack:
            frame = stack[-1]
            if frame.configuration.done == everything:
                return Search(CheckResult.OK, _listed(frame.linearization), steps=taken)
            if frame.length > best.length:
                best = frame
            if limits.are_reached(taken, begun_ns):
                return Search(CheckResult.UNKNOWN, _listed(best.linearization), steps=taken)
            for number, configuration in frame.untried:
                taken += 1
                if configuration in tried:
                    continue
                tried.add(configuration)
                finished = configuration.done != frame.configuration.done
                linearization = (number, frame.linearization) if finished else frame.linearization
                deeper = _Frame(configuration, linearization, frame.length + finished)
                deeper.untried = self._next(configuration)
                stack.append(deeper)
                break
            else:
                stack.pop()
        counterexample = tuple(self._ready(best.configuration))
        return Search(CheckResult.VIOLATION, _listed(best.linearization), counterexample, taken)

    def _first_end_ns(self, done: int) -> int:
        return next((self._tasks[each].end_ns for each in self._by_end if not done >> each & 1), 0)

    def _ready(self, configuration: _Configuration) -> Iterator[int]:
        """Candidates that may take the next step by their intervals; the earliest end first."""
        first_end_ns = self._first_end_ns(configuration.done)
        for number in self._by_end:
            if configuration.done >> number & 1:
                continue
            candidate = self._tasks[number]
            if min(candidate.read_from_ns, candidate.effect_from_ns) > first_end_ns:
                continue
            if self._after[number] & ~(configuration.done | self._without_effect(configuration)):
                continue
            yield number

    def _without_effect(self, configuration: _Configuration) -> int:
        """Renames that have decided to do nothing: there is nothing of them to be seen."""
        return sum(
            1 << number for number, progress in configuration.under_way if progress.phase == SAME
        )

    def _next(self, configuration: _Configuration) -> Iterator[tuple[int, _Configuration]]:
        under_way = dict(configuration.under_way)
        later: list[tuple[int, _Configuration]] = []
        for number in self._ready(configuration):
            candidate = self._tasks[number]
            progress = under_way.get(number, START)
            if candidate.changes_nothing and self._ends_here(
                configuration, under_way, number, progress
            ):
                # What changes no state may go first: it rules out nothing else.
                yield (
                    number,
                    self._configuration_after(
                        configuration, under_way, number, configuration.state, DONE
                    ),
                )
                return
            for step in self._steps(configuration, under_way, number, progress):
                after = self._configuration_after(
                    configuration, under_way, number, step.state, step.progress
                )
                later.append((number, after))
        yield from later

    def _ends_here(
        self,
        configuration: _Configuration,
        under_way: dict[int, OperationProgress],
        number: int,
        progress: OperationProgress,
    ) -> bool:
        """Whether the operation can do all that it has left in this very state."""
        return any(
            step.progress is DONE
            or self._ends_here(configuration, under_way, number, step.progress)
            for step in self._steps(configuration, under_way, number, progress)
            if step.state == configuration.state
        )

    def _steps(
        self,
        configuration: _Configuration,
        under_way: dict[int, OperationProgress],
        number: int,
        progress: OperationProgress,
    ) -> Iterator[ModelStep]:
        """The steps that it may take now."""
        candidate = self._tasks[number]
        first_end_ns = self._first_end_ns(configuration.done)
        for step in steps(
            *(
                configuration.state,
                candidate.interval,
                number + 1,
                progress,
                candidate.grain,
                self._umask,
            )
        ):
            from_ns = (
                candidate.effect_from_ns
                if step.source is AnswerSource.HOST
                else candidate.read_from_ns
            )
            if from_ns > first_end_ns:
                continue
            if (
                from_ns >= candidate.interval.call_ns
                and self._touching[number] & ~configuration.done
            ):
                continue
            if self._is_in_session(configuration, under_way, candidate, step):
                yield step

    def _is_in_session(
        self,
        configuration: _Configuration,
        under_way: dict[int, OperationProgress],
        candidate: Candidate,
        step: ModelStep,
    ) -> bool:
        """A process that has seen one moment of something sees no earlier one."""
        for other in (*candidate.after, *candidate.reads_before):
            if configuration.done >> other & 1:
                continue
            if step.source is not AnswerSource.ENTRY or other not in under_way:
                return False
        return True

    def _configuration_after(
        self,
        configuration: _Configuration,
        under_way: dict[int, OperationProgress],
        number: int,
        state: State,
        progress: OperationProgress,
    ) -> _Configuration:
        others = {each: other for each, other in under_way.items() if each != number}
        done = configuration.done
        if progress is DONE:
            done |= 1 << number
        else:
            others[number] = progress
        held = [each.object for each in others.values()]
        return _Configuration(done, tuple(sorted(others.items())), state.without_lost(held))


def _touching(candidates: Sequence[Candidate]) -> list[int]:
    """Of each candidate those of its process, as bits, that returned at the moment of its call.

    By the intervals alone they might come after it; a process makes one call after the other. The
    parts of one listing have one call, and no order.
    """
    by_actor: dict[str, list[int]] = {}
    found = []
    for number, candidate in enumerate(candidates):
        mine, before = candidate.interval, 0
        own = by_actor.setdefault(mine.actor, [])
        for other in reversed(own):
            earlier = candidates[other].interval
            if earlier.return_ns < mine.call_ns:
                break
            if not (may_happen_later(earlier) or _are_of_one_listing(earlier, mine)):
                before |= 1 << other
        own.append(number)
        found.append(before)
    return found


def _are_of_one_listing(one: OperationInterval, other: OperationInterval) -> bool:
    moments = {(each.call_ns, each.return_ns) for each in (one, other)}
    return len(moments) == 1 and {one.operation.act, other.operation.act} <= {"entry", "opendir"}


def _listed(linearization: "tuple[int, object] | None") -> tuple[int, ...]:
    found = []
    while linearization is not None:
        found.append(linearization[0])
        linearization = linearization[1]  # type: ignore[assignment]
    return tuple(reversed(found))
