"""Searches for an order of all operations that explains what everybody was told.

Linearizability (Herlihy and Wing, 1990): each operation takes effect at one moment between its
call and its return, and what it is told is what a single copy would have told it. The
search is Wing and Gong's (1993) with Lowe's memory of what has been tried (2017): take any
operation that may be the next, go on, and go back where nothing may. A configuration, that is
which operations are done and the state they led to, is never searched twice.

It goes beyond the textbook in three things. An operation may take several steps (model.py). Each
step has its own earliest moment: what a cache may answer can be from before the call. And an
operation may have to come after others of the same process where its moments alone do not say so:
the session guarantees. With no cache, all of that is linearizability again.
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
    Local,
    ModelStep,
    State,
    is_pending,
    may_happen_later,
    steps,
)


class CheckResult(enum.StrEnum):
    """What a check says. Unknown is neither of the two others: the search was given up."""

    OK = "ok"
    VIOLATION = "violation"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class PendingOperation:
    """An operation to be put in order.

    What a cache may answer is from *look_ns* or later, what it changes happens at *act_ns* or
    later, and all of it not later than *end_ns*. It begins when all of *after* are done, and
    looks at each thing no earlier than those of *looked_before* did.
    """

    performed: OperationInterval
    look_ns: int
    act_ns: int
    end_ns: int
    grain: Grain = Grain.DIRECTORY
    after: tuple[int, ...] = ()
    looked_before: tuple[int, ...] = ()

    @classmethod
    def exactly(cls, performed: OperationInterval, grain: Grain) -> "PendingOperation":
        """Between its call and its return."""
        call_ns = performed.call_ns
        return cls(performed, call_ns, call_ns, performed.return_ns, grain)

    @property
    def changes_nothing(self) -> bool:
        """Whether it left everything as it was, whenever it was."""
        if self.performed.operation.act not in MUTATORS | {"map", "unmap"}:
            return True
        return self.performed.outcome.error is not None and not is_pending(self.performed)


@dataclass(frozen=True, slots=True)
class Limits:
    """When a search is given up: after *steps*, or when it has taken *within_ns*."""

    steps: int | None = None
    within_ns: int | None = None

    def are_reached(self, steps: int, begun_ns: int) -> bool:
        """Whether a search that began at *begun_ns* ends, having taken so many steps."""
        if self.steps is not None and steps >= self.steps:
            return True
        return self.within_ns is not None and time.monotonic_ns() - begun_ns > self.within_ns


NO_LIMITS = Limits()


@dataclass(frozen=True, slots=True)
class Search:
    """What a search found. *order* are the tasks of the longest order that explains something.

    *stuck* are those that might have come next, and to whom nothing explains what they were told.
    """

    answer: CheckResult
    order: tuple[int, ...]
    stuck: tuple[int, ...] = ()
    steps: int = 0


@dataclass(frozen=True, slots=True)
class _Configuration:
    """A configuration: what is *done* (a bit for each task), who is under way, and the state."""

    done: int
    under_way: tuple[tuple[int, Local], ...]
    state: State


@dataclass(slots=True)
class _Frame:
    """A place, what may be tried from it, and the order that led to it."""

    place: _Configuration
    order: "tuple[int, object] | None"
    length: int
    untried: Iterator[tuple[int, _Configuration]] = field(default_factory=lambda: iter(()))


def search(
    tasks: Sequence[PendingOperation], state: State, umask: int, limits: Limits = NO_LIMITS
) -> Search:
    """Whether the *tasks*, from *state* on, can be put in order."""
    return _Searcher(tasks, umask).search(state, limits)


class _Searcher:
    def __init__(self, tasks: Sequence[PendingOperation], umask: int) -> None:
        self._tasks = tasks
        self._umask = umask
        self._by_end = sorted(range(len(tasks)), key=lambda each: tasks[each].end_ns)
        self._after = [sum(1 << other for other in task.after) for task in tasks]
        self._touching = _touching(tasks)

    def search(self, state: State, limits: Limits) -> Search:
        everything = (1 << len(self._tasks)) - 1
        first = _Frame(_Configuration(0, (), state), None, 0)
        first.untried = self._next(first.place)
        stack, tried, best, taken = [first], {first.place}, first, 0
        begun_ns = time.monotonic_ns()
        while stack:
            frame = stack[-1]
            if frame.place.done == everything:
                return Search(CheckResult.OK, _listed(frame.order), steps=taken)
            if frame.length > best.length:
                best = frame
            if limits.are_reached(taken, begun_ns):
                return Search(CheckResult.UNKNOWN, _listed(best.order), steps=taken)
            for number, place in frame.untried:
                taken += 1
                if place in tried:
                    continue
                tried.add(place)
                finished = place.done != frame.place.done
                order = (number, frame.order) if finished else frame.order
                deeper = _Frame(place, order, frame.length + finished)
                deeper.untried = self._next(place)
                stack.append(deeper)
                break
            else:
                stack.pop()
        stuck = tuple(self._ready(best.place))
        return Search(CheckResult.VIOLATION, _listed(best.order), stuck, taken)

    def _first_end_ns(self, done: int) -> int:
        return next((self._tasks[each].end_ns for each in self._by_end if not done >> each & 1), 0)

    def _ready(self, place: _Configuration) -> Iterator[int]:
        """Tasks that may do something next, as far as their moments say; those in haste first."""
        first_end_ns = self._first_end_ns(place.done)
        for number in self._by_end:
            if place.done >> number & 1:
                continue
            task = self._tasks[number]
            if min(task.look_ns, task.act_ns) > first_end_ns:
                continue
            if self._after[number] & ~(place.done | self._without_effect(place)):
                continue
            yield number

    def _without_effect(self, place: _Configuration) -> int:
        """Renames that have decided to do nothing: there is nothing of them to be seen."""
        return sum(1 << number for number, local in place.under_way if local.phase == SAME)

    def _next(self, place: _Configuration) -> Iterator[tuple[int, _Configuration]]:
        under_way = dict(place.under_way)
        later: list[tuple[int, _Configuration]] = []
        for number in self._ready(place):
            task = self._tasks[number]
            local = under_way.get(number, START)
            if task.changes_nothing and self._ends_here(place, under_way, number, local):
                # Whoever changes nothing may go first: nobody else is worse off for it.
                yield number, self._place_after(place, under_way, number, place.state, DONE)
                return
            for step in self._steps(place, under_way, number, local):
                after = self._place_after(place, under_way, number, step.state, step.local)
                later.append((number, after))
        yield from later

    def _ends_here(
        self, place: _Configuration, under_way: dict[int, Local], number: int, local: Local
    ) -> bool:
        """Whether the operation can do all that it has left in this very state."""
        return any(
            step.local is DONE or self._ends_here(place, under_way, number, step.local)
            for step in self._steps(place, under_way, number, local)
            if step.state == place.state
        )

    def _steps(
        self, place: _Configuration, under_way: dict[int, Local], number: int, local: Local
    ) -> Iterator[ModelStep]:
        """The steps that it may take now."""
        task = self._tasks[number]
        first_end_ns = self._first_end_ns(place.done)
        for step in steps(
            *(place.state, task.performed, number + 1, local, task.grain, self._umask)
        ):
            from_ns = task.act_ns if step.source is AnswerSource.HOST else task.look_ns
            if from_ns > first_end_ns:
                continue
            if from_ns >= task.performed.call_ns and self._touching[number] & ~place.done:
                continue
            if self._is_in_session(place, under_way, task, step):
                yield step

    def _is_in_session(
        self,
        place: _Configuration,
        under_way: dict[int, Local],
        task: PendingOperation,
        step: ModelStep,
    ) -> bool:
        """A process that has seen one moment of something sees no earlier one."""
        for other in (*task.after, *task.looked_before):
            if place.done >> other & 1:
                continue
            if step.source is not AnswerSource.ENTRY or other not in under_way:
                return False
        return True

    def _place_after(
        self,
        place: _Configuration,
        under_way: dict[int, Local],
        number: int,
        state: State,
        local: Local,
    ) -> _Configuration:
        others = {each: other for each, other in under_way.items() if each != number}
        done = place.done
        if local is DONE:
            done |= 1 << number
        else:
            others[number] = local
        held = [each.object for each in others.values()]
        return _Configuration(done, tuple(sorted(others.items())), state.without_lost(held))


def _touching(tasks: Sequence[PendingOperation]) -> list[int]:
    """Of each the tasks of the same process, as bits, that ended at the moment it was called.

    By the moments alone they might come after it; a process does one thing after the other. The
    parts of one listing have one call, and no order.
    """
    by_actor: dict[str, list[int]] = {}
    found = []
    for number, task in enumerate(tasks):
        mine, before = task.performed, 0
        own = by_actor.setdefault(mine.actor, [])
        for other in reversed(own):
            earlier = tasks[other].performed
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


def _listed(order: "tuple[int, object] | None") -> tuple[int, ...]:
    found = []
    while order is not None:
        found.append(order[0])
        order = order[1]  # type: ignore[assignment]
    return tuple(reversed(found))
