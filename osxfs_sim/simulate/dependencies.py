"""What each question of a recording had to wait for: a closed loop, as a graph.

A question comes a think time after the answer that its thread had before; that is all that a
trace says for sure. What else it had to wait for (that its process was started, that another
thread had made the file) is inferred, by models that each err in their own way:

threads     a thread's next question comes a think time after its last answer, and its first one
            after the latest answer that anybody had by then
processes   a new process's first question comes after its nearest ancestor's last answer, or that
            of the last process of its kin that had ended by then, which is taken to have made way
            for it; and what a process asks after one that it has started has ended follows the
            last answer of that, where it asked nothing meanwhile: it is taken to have waited
objects     and what is about one object or name keeps the recording's order where one of two
            changes it (as ROOT/ARTC, SOSP 2013)
completed   and a question follows all that were answered when it came, as far as that does not
            follow from others (as hfplayer, FAST 2017)

Each model has what those before it have, but that threads alone lets a new thread follow whatever
was answered last. A question comes a think time after the latest of the answers that it follows,
and not before any of those that it only waits for. The graph has no cycles, since whatever a
question waits for was answered before it came.
"""

import enum
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from osxfs_sim.model.operations import UNAWAITED
from osxfs_sim.simulate.recording import CHANGES, Question, Recording

NOTHING = -1
"""A question that follows the beginning of the recording."""


class Dependencies(enum.StrEnum):
    """The models, by their names."""

    THREADS = "threads"
    PROCESSES = "processes"
    OBJECTS = "objects"
    COMPLETED = "completed"


@dataclass(frozen=True, slots=True)
class Order:
    """Of each question, by its number: what it follows, and what it may not come before."""

    previous: list[int]
    """The question of its thread whose answer it follows; NOTHING: the beginning."""
    causes: list[tuple[int, ...]]
    """Other questions whose answers it follows: it comes a think time after the latest."""
    think_ns: list[int]
    """How long after that it comes: what its thread computes meanwhile."""
    after: list[tuple[int, ...]]
    """Questions that have to be answered before it comes, whatever it computes meanwhile; none of
    those that it follows."""
    tail_ns: int
    """What the command computes after its last answer."""


def order(recording: Recording, by: Dependencies) -> Order:
    """What each question of *recording* has to wait for, by one of the models."""
    questions = recording.questions
    families = None if by is Dependencies.THREADS else _families(recording)
    previous = _previous(questions, families)
    causes: list[tuple[int, ...]] = [()] * len(questions)
    after = causes
    if families is not None:
        waits = families.waits(previous)
        causes = [(waits[i],) if i in waits else () for i in range(len(questions))]
    if by is Dependencies.COMPLETED:
        causes = _completed(questions, previous, causes)
    elif by is Dependencies.OBJECTS:
        after = _of_objects(questions, previous, causes)
    begin_ns = recording.begin_ns
    think_ns = []
    for index, each in enumerate(questions):
        before = previous[index]
        since_ns = questions[before].end_ns if before != NOTHING else begin_ns
        for cause in causes[index]:
            since_ns = max(since_ns, questions[cause].end_ns)
        think_ns.append(max(0, each.arrival_ns - since_ns))
    last_ns = max((each.end_ns for each in questions), default=begin_ns)
    return Order(previous, causes, think_ns, after, max(0, recording.end_ns - last_ns))


def _families(recording: Recording) -> "Families":
    asked: dict[int, list[int]] = defaultdict(list)
    for index, each in enumerate(recording.questions):
        if each.operation not in UNAWAITED:
            asked[each.thread].append(index)
    return Families(
        recording.header.threads,
        asked,
        [each.arrival_ns for each in recording.questions],
        [each.end_ns for each in recording.questions],
    )


def _previous(questions: list[Question], families: "Families | None") -> list[int]:
    """Of each the last awaited one of its thread; of a thread's first the last that was answered.

    With *families* that is the last that who started the thread was answered, if that is known.

    For what no process waits, its thread does not either: it follows what it was sent after.
    """
    last: dict[int, int] = {}
    answered = _LatestAnswer(questions)
    previous = []
    for index, each in enumerate(questions):
        before = last.get(each.thread)
        if before is None:
            latest = answered.by(each.arrival_ns)
            before = latest if families is None else families.origin(index, each.thread, latest)
        previous.append(before)
        if each.operation not in UNAWAITED:
            last[each.thread] = index
    return previous


class _LatestAnswer:
    """Which question was answered last by a moment; asked for moments that grow."""

    def __init__(self, questions: list[Question]) -> None:
        self._by_end = sorted(
            (i for i, each in enumerate(questions) if each.operation not in UNAWAITED),
            key=lambda i: questions[i].end_ns,
        )
        self._questions = questions
        self._passed = 0

    def by(self, moment_ns: int) -> int:
        while (
            self._passed < len(self._by_end)
            and self._questions[self._by_end[self._passed]].end_ns <= moment_ns
        ):
            self._passed += 1
        return self._by_end[self._passed - 1] if self._passed else NOTHING


class Families:
    """Which process has started which, and what each asked and waited for."""

    def __init__(
        self,
        threads: Iterable[Sequence[int]],
        asked: Mapping[int, Sequence[int]],
        arrival_ns: Sequence[int],
        end_ns: Sequence[int],
    ) -> None:
        """*threads* are as in a trace's Header; *asked* the awaited questions of each thread.

        By question, *arrival_ns* is when it came, and *end_ns* when it was answered.
        """
        self._arrival_ns, self._end_ns = arrival_ns, end_ns
        self._process: dict[int, int] = {}  # of a thread
        self._parent: dict[int, int] = {}  # of a process
        for thread, process, parent, _ in threads:
            if process:
                self._process[thread] = process
                self._parent[process] = parent
        self._asked: dict[int, list[int]] = defaultdict(list)
        for thread, numbers in asked.items():
            self._asked[self._process.get(thread, thread)] += numbers
        for of_process in self._asked.values():
            of_process.sort()
        last = {
            process: max(numbers, key=end_ns.__getitem__)
            for process, numbers in self._asked.items()
        }
        self._ended = sorted((end_ns[i], i, process) for process, i in last.items())

    def _ancestors(self, process: int) -> Iterator[int]:
        """Who started it, who started that, and so on."""
        seen = {process}
        while (process := self._parent.get(process, 0)) and process not in seen:
            seen.add(process)
            yield process

    def _nearest(self, process: int) -> int:
        """The nearest of its ancestors that has asked anything; 0: none has."""
        return next((each for each in self._ancestors(process) if each in self._asked), 0)

    def origin(self, index: int, thread: int, otherwise: int) -> int:
        """What question *index*, the first of *thread*, comes after; *otherwise*: not known.

        The last answer of its process, if it is a later thread of it; else the last of its nearest
        ancestor, or of a process of the same kin that has ended, whichever came later. When a
        thread was started is known to 10 ms only: what its parent was answered between that and
        the thread's first question counts as before.
        """
        process = self._process.get(thread, 0)
        if not process:
            return otherwise
        own = self._latest_answered(process, index)
        if own != NOTHING:
            return own
        above = [*self._ancestors(process)]
        found = NOTHING
        for ancestor in above:
            found = self._latest_answered(ancestor, index)
            if found != NOTHING:
                break
        since_ns = self._end_ns[found] if found != NOTHING else -1
        kin = {*above}
        for end_ns, last, other in reversed(self._ended_by(self._arrival_ns[index])):
            if end_ns <= since_ns:
                break
            if other != process and kin & {*self._ancestors(other)}:
                return last
        return found

    def _ended_by(self, moment_ns: int) -> list[tuple[int, int, int]]:
        return self._ended[: bisect_right(self._ended, (moment_ns, len(self._end_ns), 0))]

    def _latest_answered(self, process: int, index: int) -> int:
        arrival_ns = self._arrival_ns[index]
        asked = self._asked.get(process, [])
        at = bisect_left(asked, index)
        for number in reversed(asked[max(0, at - _LATEST) : at]):
            if self._end_ns[number] <= arrival_ns:
                return number
        return NOTHING

    def waits(self, previous: Sequence[int]) -> dict[int, int]:
        """By question the last answer of what its process has started and waited for meanwhile.

        *previous* is what each follows in its thread.
        """
        latest: dict[int, int] = {}
        for end_ns, last, child in self._ended:
            first = self._asked[child][0]
            of_parent = self._asked.get(self._nearest(child), [])
            at = bisect_left(of_parent, first)
            if at == len(of_parent):
                continue
            then, before = of_parent[at], of_parent[at - 1] if at else NOTHING
            was_idle = before == NOTHING or self._end_ns[before] <= self._arrival_ns[first]
            if was_idle and end_ns <= self._arrival_ns[then] and last != previous[then]:
                latest[then] = last  # of several the one that ended last
        return latest


_LATEST = 64
"""Of so many of a process's last questions one was answered: they were hardly all under way."""


def _of_objects(
    questions: list[Question], previous: list[int], causes: list[tuple[int, ...]]
) -> list[tuple[int, ...]]:
    """Of each the last changes, and for a change the looks since, of each object it is about.

    Only what was answered when it came: two that were under way together had no order.
    """
    changed: dict[object, list[int]] = defaultdict(list)
    looked: dict[object, list[int]] = defaultdict(list)

    def answered(numbers: list[int], by_ns: int) -> list[int]:
        return [i for i in numbers if questions[i].end_ns <= by_ns]

    after = []
    for index, each in enumerate(questions):
        waits: set[int] = set()
        for place in _places(each):
            changes, since_ns = changed[place], -1
            if done := answered(changes, each.arrival_ns):
                # What was answered before the last one that is done, that has waited for.
                since_ns = questions[done[-1]].arrival_ns
                changes[:] = [i for i in changes if i == done[-1] or questions[i].end_ns > since_ns]
            waits.update(answered(changes, each.arrival_ns))
            if each.operation in CHANGES:
                looks = [i for i in looked[place] if questions[i].end_ns > since_ns]
                waits.update(answered(looks, each.arrival_ns))
                looked[place] = looks
                changes.append(index)
            else:
                looked[place].append(index)
        waits -= {previous[index], *causes[index]}
        after.append(tuple(sorted(waits)))
    return after


def _places(question: Question) -> tuple[object, ...]:
    """What a question is about: a name in a directory, an object, or both."""
    if question.name:
        place = question.inode, question.name
        return (place, question.found) if question.found else (place,)
    return (question.inode,)


def _completed(
    questions: list[Question], previous: list[int], causes: list[tuple[int, ...]]
) -> list[tuple[int, ...]]:
    """Of each the last answered one of every other thread, where none of these waits for another.

    That is the transitive reduction: a thread's earlier answers come before its last. *causes* are
    among them.
    """
    last: dict[int, int] = {}
    # Of each question the last one of every thread that is known to have been answered before it.
    knows: list[dict[int, int]] = []
    after = []
    finished: list[tuple[int, int]] = []
    pending = sorted(
        (each.end_ns, i) for i, each in enumerate(questions) if each.operation not in UNAWAITED
    )
    at = 0
    for index, each in enumerate(questions):
        while at < len(pending) and pending[at][0] <= each.arrival_ns:
            finished.append(pending[at])
            last[questions[pending[at][1]].thread] = pending[at][1]
            at += 1
        before = previous[index]
        known = dict(knows[before]) if before != NOTHING else {}
        if before != NOTHING:
            known[questions[before].thread] = before
        waits = []
        for thread, i in sorted(last.items(), key=lambda item: -item[1]):
            if i > known.get(thread, NOTHING):
                waits.append(i)
                for other, j in knows[i].items():
                    known[other] = max(known.get(other, NOTHING), j)
                known[thread] = i
        knows.append(known)
        after.append(tuple(sorted({*waits, *causes[index]})))
    return after
