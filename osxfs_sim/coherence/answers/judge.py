"""An answer against what the host had while it was asked for. Pure.

An answer is *stale* if it is true of no state that the host had between call and return,
and of an earlier one it is; its age is the time since the edit that ended the last state of
which it was true. Where a change was going on meanwhile and the answer fits neither side, it
may be torn, as it may be natively: that is *unknown*, and so is what nothing can be said
about, such as a name that the workload has changed itself. What is true of no state that there
ever was, nor of parts of two (a new size with an old time, new content cut at an old size), is
*unexplained*: something was not seen, and nothing is concluded from it. An answer about which no
edit ever made a difference is never stale: a share may tell other attributes than the host's for
other reasons. ESTALE is a stale answer about a name's existence: no host says it of its own.
"""

import errno
import zlib
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from osxfs_sim.coherence.answers.log import Answer, Told
from osxfs_sim.coherence.answers.timeline import Held, Named, Timeline, possible


class Verdict(StrEnum):
    FRESH = "fresh"
    STALE = "stale"
    UNKNOWN = "unknown"
    UNEXPLAINED = "unexplained"


@dataclass(frozen=True, slots=True)
class Judged:
    """One thing that an answer said, judged; *age_ns* only where it is stale."""

    kind: str
    verdict: Verdict
    age_ns: int | None = None


@dataclass(frozen=True, slots=True)
class Listing:
    """A directory that was listed to its end: the edited names among what it told."""

    end: Answer
    told: frozenset[str]


def own_changes(answers: Iterable[Answer]) -> dict[str, int]:
    """Since when (ns) the workload itself changes a name, or a directory above it."""
    since: dict[str, int] = {}
    for answer in answers:
        if answer.told is Told.OWN:
            since[answer.path] = min(answer.call_ns, since.get(answer.path, answer.call_ns))
    return since


def listings(answers: Iterable[Answer]) -> Iterator[Listing]:
    """The listings among *answers*, each with all names it told."""
    told: dict[tuple[str, int], set[str]] = defaultdict(set)
    ends = []
    for answer in answers:
        if answer.told is Told.LISTED:
            told[answer.process, answer.number].add(answer.path)
        elif answer.told is Told.LIST_END:
            ends.append(answer)
    for end in ends:
        yield Listing(end, frozenset(told[end.process, end.number]))


class Judge:
    """Judges the answers of one run against *timeline*.

    *own* is since when the workload changes names itself; names below one of *private* are
    not the host's, such as those in a volume. Without *times* attributes are judged by size
    alone: where the guest has a copy, its files have times of their own.
    """

    def __init__(
        self,
        timeline: Timeline,
        own: dict[str, int],
        private: Sequence[str] = (),
        *,
        times: bool = True,
    ) -> None:
        self._timeline = timeline
        self._own = own
        self._private = tuple(private)
        self._times = times
        self._in_directory: dict[str, list[str]] = defaultdict(list)
        for name in timeline.names:
            self._in_directory[name.rpartition("/")[0]].append(name)

    def knows(self, answer: Answer) -> bool:
        """Whether the answer is about something that is edited at all."""
        if answer.told is Told.LIST_END:
            return answer.path in self._in_directory
        return answer.path in self._timeline.names

    def judge(self, answer: Answer) -> tuple[Judged, ...]:
        """What *answer*, which is no listing, said; nothing, if that cannot be known."""
        if answer.told is Told.UNKNOWN or self._is_own(answer.path, answer.return_ns):
            return ()
        if answer.told in (Told.FSTAT, Told.READ):
            kind = "content" if answer.told is Told.READ else "attributes"
            if answer.error:
                return ()
            window = self._names_at(answer.path, answer.opened_call_ns, answer.opened_return_ns)
            return _known(self._of_object(answer, kind, window))
        window = self._names_at(answer.path, answer.call_ns, answer.return_ns)
        if answer.error == errno.ENOENT:
            return _known(self._existence(answer, "absence", window, present=False))
        if answer.error == errno.ESTALE:
            return self._of_a_lost_object(answer, window)
        if answer.error:
            return ()
        exists = self._existence(answer, "existence", window, present=True)
        if answer.told is Told.LOOK or exists.verdict is not Verdict.FRESH:
            return _known(exists)
        return _known(exists, self._of_object(answer, "attributes", window))

    def judge_listing(self, listing: Listing) -> tuple[Judged, ...]:
        """What the listing said of the edited names in its directory."""
        end = listing.end
        verdicts = []
        for name in self._in_directory.get(end.path, ()):
            if not self._is_own(name, end.return_ns):
                window = self._names_at(name, end.call_ns, end.return_ns)
                seen = name in listing.told
                verdicts.append(self._presence(end, name, window, present=seen))
        ages = [age for verdict, age in verdicts if verdict is Verdict.STALE and age is not None]
        if ages:
            return (Judged("listing", Verdict.STALE, max(ages)),)
        if not verdicts or any(verdict is Verdict.UNKNOWN for verdict, _ in verdicts):
            return ()
        return (Judged("listing", Verdict.FRESH),)

    def _is_own(self, path: str, until_ns: int) -> bool:
        if any(path == part or path.startswith(f"{part}/") for part in self._private):
            return True
        while True:
            since_ns = self._own.get(path)
            if since_ns is not None and since_ns <= until_ns:
                return True
            if not path:
                return False
            path = path.rpartition("/")[0]

    def _names_at(self, path: str, call_ns: int, return_ns: int) -> range:
        return possible(self._timeline.names[path], call_ns, return_ns)

    def _existence(self, answer: Answer, kind: str, window: range, *, present: bool) -> Judged:
        return Judged(kind, *self._presence(answer, answer.path, window, present=present))

    def _of_a_lost_object(self, answer: Answer, window: range) -> tuple[Judged, ...]:
        """ESTALE: the guest believed that the name still stood for an object that has gone.

        A host does not say that of its own files; it is stale since the name went on.
        """
        history = self._timeline.names[answer.path]
        if window.stop == 1:
            return ()  # no edit has made a difference
        done_ns = history[window.stop - 1].done_ns
        return (Judged("existence", Verdict.STALE, max(0, answer.return_ns - done_ns)),)

    def _presence(
        self, answer: Answer, name: str, window: range, *, present: bool
    ) -> tuple[Verdict, int | None]:
        """Whether *name* was there, as *answer* says, in one of the states of *window*."""
        history = self._timeline.names[name]
        if any((history[at].object is not None) == present for at in window):
            return Verdict.FRESH, None
        # Replaced meanwhile: a listing may miss such a name, natively too.
        if len(window) == 1:
            for at in reversed(range(window.start)):
                if (history[at].object is not None) == present:
                    return Verdict.STALE, answer.return_ns - history[at + 1].done_ns
        return Verdict.UNKNOWN, None

    def _of_object(self, answer: Answer, kind: str, window: range) -> Judged:
        """Attributes or content, where the name stood for the objects of *window*."""
        names = self._timeline.names[answer.path]
        if any(self._is_directory(names[at]) for at in range(window.stop)):
            return Judged(kind, Verdict.UNKNOWN)
        candidates = 0
        for at in window:
            for held in self._possible_states(names[at], answer):
                candidates += 1
                if self._is_true(answer, held):
                    return Judged(kind, Verdict.FRESH)
        ended_ns, changed_ns = self._last_truth(answer, names, window)
        if ended_ns is not None:
            return Judged(kind, Verdict.STALE, max(0, answer.return_ns - ended_ns))
        # True of no state at all, but of parts of two: attributes and pages may be cached apart.
        if candidates <= 1 and len(window) == 1 and changed_ns is not None:
            if self._is_of_parts(answer, names, window):
                return Judged(kind, Verdict.STALE, max(0, answer.return_ns - changed_ns))
            return Judged(kind, Verdict.UNEXPLAINED)
        return Judged(kind, Verdict.UNKNOWN)

    def _is_directory(self, name: Named) -> bool:
        """Whether it stood for a directory, of which nothing else is known."""
        return name.object is not None and not self._timeline.objects[name.object]

    def _possible_states(self, name: Named, answer: Answer) -> Iterator[Held]:
        if name.object is not None:
            history = self._timeline.objects[name.object]
            for at in possible(history, answer.call_ns, answer.return_ns):
                yield history[at]

    def _last_truth(
        self, answer: Answer, names: Sequence[Named], window: range
    ) -> tuple[int | None, int | None]:
        """When the last state ended of which *answer* was true, and when the last one came."""
        changed_ns = None
        for at in reversed(range(window.stop)):
            name = names[at]
            # While it is among what the name may still stand for, no other name has ended it.
            replaced_ns = names[at + 1].done_ns if at < window.start else None
            if name.object is not None:
                history = self._timeline.objects[name.object]
                first = possible(history, answer.call_ns, answer.return_ns).start
                last = first if replaced_ns is not None else first - 1
                for place in reversed(range(last + 1)):
                    ends = [replaced_ns] if replaced_ns is not None else []
                    if place < first:
                        ends.append(history[place + 1].done_ns)
                    if changed_ns is None:
                        changed_ns = min(ends)
                    if self._is_true(answer, history[place]):
                        return min(ends), changed_ns
            elif replaced_ns is not None and changed_ns is None:
                changed_ns = replaced_ns
        return None, changed_ns

    def _is_of_parts(self, answer: Answer, names: Sequence[Named], window: range) -> bool:
        """Whether each part of *answer* is of a state that the name stood for until then."""
        held = [
            state
            for name in names[: window.stop]
            if name.object is not None
            for state in self._timeline.objects[name.object]
            if state.began_ns <= answer.return_ns
        ]
        if answer.told is Told.READ:
            return any(self._has_piece(answer, state) for state in held)
        same_time = any(answer.more == state.mtime_ns for state in held) or not self._times
        return any(answer.size == state.size for state in held) and same_time

    def _is_true(self, answer: Answer, held: Held) -> bool:
        if answer.told is not Told.READ:
            same_time = answer.more == held.mtime_ns or not self._times
            return answer.size == held.size and same_time
        content = self._timeline.contents[held.content]
        at_end = answer.size + answer.more >= len(content)
        return self._has_piece(answer, held) and (at_end or not answer.number)

    def _has_piece(self, answer: Answer, held: Held) -> bool:
        """Whether the bytes that came are these of *held*, wherever it was said to end."""
        piece = self._timeline.contents[held.content][answer.size : answer.size + answer.more]
        return len(piece) == answer.more and zlib.crc32(piece) == answer.crc


def _known(*judged: Judged) -> tuple[Judged, ...]:
    return tuple(one for one in judged if one.verdict is not Verdict.UNKNOWN)
