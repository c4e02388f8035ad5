"""An answer against what the host had while it was asked for. Pure.

An answer is *stale* if it is true of no state that the host had between call and return,
and of an earlier one it is; its age is the time since the edit that ended the last state of
which it was true. Where a change was going on meanwhile and the answer may be made of both sides,
it may be torn, as it may be natively: that is *unknown*, and so is what nothing can be said
about, such as a name that the workload has changed itself. An answer of parts of two states (a new
size with an old time, new content cut at an old size) is as old as the oldest of its parts. What
is true of no state that there ever was, nor of such parts, is *unexplained*: something was not
seen, and nothing is concluded from it. An answer about which no
edit ever made a difference is never stale: a share may tell other attributes than the host's for
other reasons. ESTALE is a stale answer about a name's existence: no host says it of its own.
"""

import errno
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from osxfs_sim.coherence.answers.log import AnswerKind, RecordedAnswer
from osxfs_sim.coherence.answers.timeline import NameState, ObjectState, Span, Timeline, possible


class Freshness(StrEnum):
    """What is found of one statement of an answer: see the head of this file."""

    FRESH = "fresh"
    STALE = "stale"
    UNKNOWN = "unknown"
    UNEXPLAINED = "unexplained"


@dataclass(frozen=True, slots=True)
class JudgedStatement:
    """One statement of an answer (a stat says a name exists, and its attributes), judged."""

    kind: str
    """What it is about: one of risk.KINDS."""
    verdict: Freshness
    """Whether it was true of the host's state during the call."""
    age_ns: int | None = None
    """For how long it had not been true any more when the call returned; None unless stale."""


_STILL_NS = 1 << 80
"""The end of what has not ended."""


@dataclass(frozen=True, slots=True)
class _View:
    """A state that a name led to, or that what it led to had.

    *ended_ns* is when an edit had ended it before the call, and None if it may be so still.
    *was_shown*: at some moment the name led to it.
    """

    state: ObjectState
    ended_ns: int | None
    was_shown: bool

    @property
    def until_ns(self) -> int:
        return _STILL_NS if self.ended_ns is None else self.ended_ns


@dataclass(frozen=True, slots=True)
class CompleteListing:
    """A directory that was listed to its end, and the edited names that the listing contained."""

    end: RecordedAnswer
    """The record of its end, with the interval of the whole listing."""
    names: frozenset[str]
    """The paths of the edited names that it returned."""


def own_changes(answers: Iterable[RecordedAnswer]) -> dict[str, int]:
    """Per path that the workload changes itself, the first time that it did, in monotonic ns."""
    since: dict[str, int] = {}
    for answer in answers:
        if answer.kind is AnswerKind.OWN:
            since[answer.path] = min(answer.call_ns, since.get(answer.path, answer.call_ns))
    return since


def listings(answers: Iterable[RecordedAnswer]) -> Iterator[CompleteListing]:
    """Yield the listings among *answers* that were read to the end, each with its edited names."""
    told: dict[tuple[str, int], set[str]] = defaultdict(set)
    ends = []
    for answer in answers:
        if answer.kind is AnswerKind.LISTED:
            told[answer.process, answer.number].add(answer.path)
        elif answer.kind is AnswerKind.LIST_END:
            ends.append(answer)
    for end in ends:
        yield CompleteListing(end, frozenset(told[end.process, end.number]))


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

    def knows(self, answer: RecordedAnswer) -> bool:
        """Whether *answer* is about an edited name, or lists a directory that has one."""
        if answer.kind is AnswerKind.LIST_END:
            return answer.path in self._in_directory
        return answer.path in self._timeline.names

    def judge(self, answer: RecordedAnswer) -> tuple[JudgedStatement, ...]:
        """Judge if *answer* (no listing) was fresh or stale, per kind; () where undecidable."""
        if answer.kind is AnswerKind.UNKNOWN or self._is_own(answer.path, answer.return_ns):
            return ()
        if answer.kind in (AnswerKind.FSTAT, AnswerKind.READ):
            kind = "content" if answer.kind is AnswerKind.READ else "attributes"
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
        if answer.kind is AnswerKind.LOOKUP or exists.verdict is Freshness.UNKNOWN:
            return _known(exists)
        attributes = self._of_object(answer, "attributes", window)
        if exists.verdict is Freshness.STALE and attributes.age_ns == exists.age_ns:
            return _known(exists)  # they were true for as long as the name was there
        return _known(exists, attributes)

    def judge_listing(self, listing: CompleteListing) -> tuple[JudgedStatement, ...]:
        """Judge if *listing* was fresh or stale about edited names; () where undecidable."""
        end = listing.end
        verdicts = []
        for name in self._in_directory.get(end.path, ()):
            if not self._is_own(name, end.return_ns):
                window = self._names_at(name, end.call_ns, end.return_ns)
                seen = name in listing.names
                verdicts.append(self._presence(end, name, window, present=seen))
        ages = [age for verdict, age in verdicts if verdict is Freshness.STALE and age is not None]
        if ages:
            return (JudgedStatement("listing", Freshness.STALE, max(ages)),)
        if not verdicts or any(verdict is Freshness.UNKNOWN for verdict, _ in verdicts):
            return ()
        return (JudgedStatement("listing", Freshness.FRESH),)

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

    def _existence(
        self, answer: RecordedAnswer, kind: str, window: range, *, present: bool
    ) -> JudgedStatement:
        return JudgedStatement(kind, *self._presence(answer, answer.path, window, present=present))

    def _of_a_lost_object(
        self, answer: RecordedAnswer, window: range
    ) -> tuple[JudgedStatement, ...]:
        """ESTALE: the guest's dentry still led to an object that has gone.

        A host does not answer that for its own files; it is stale since the name went on.
        """
        history = self._timeline.names[answer.path]
        if window.stop == 1:
            return ()  # no edit has made a difference
        done_ns = history[window.stop - 1].done_ns
        return (JudgedStatement("existence", Freshness.STALE, max(0, answer.return_ns - done_ns)),)

    def _presence(
        self, answer: RecordedAnswer, name: str, window: range, *, present: bool
    ) -> tuple[Freshness, int | None]:
        """Whether *name* was there, as *answer* says, in one of the states of *window*."""
        history = self._timeline.names[name]
        if any((history[at].object is not None) == present for at in window):
            return Freshness.FRESH, None
        # Replaced meanwhile: a listing may miss such a name, natively too.
        if len(window) == 1:
            for at in reversed(range(window.start)):
                if (history[at].object is not None) == present:
                    return Freshness.STALE, answer.return_ns - history[at + 1].done_ns
        return Freshness.UNKNOWN, None

    def _of_object(self, answer: RecordedAnswer, kind: str, window: range) -> JudgedStatement:
        """Attributes or content, where the name stood for the objects of *window*."""
        names = self._timeline.names[answer.path]
        if any(self._is_directory(names[at]) for at in range(window.stop)):
            return JudgedStatement(kind, Freshness.UNKNOWN)
        now = [view for view in self._views(answer, window, now=True) if view.ended_ns is None]
        if any(self._is_true(answer, view.state) for view in now):
            return JudgedStatement(kind, Freshness.FRESH)
        if len(now) > 1 and self._may_be_torn(answer, [view.state for view in now]):
            return JudgedStatement(kind, Freshness.UNKNOWN)
        views = list(self._views(answer, window, now=False))
        true = [view for view in views if self._is_true(answer, view.state)]
        # What a name never showed may still be its answer: of a file that it stands for no more.
        shown = [view for view in true if view.was_shown] or true
        if shown:
            return self._stale(answer, kind, max(view.until_ns for view in shown))
        # True of no state at all, but of parts of two: attributes and pages may be cached apart.
        if len(now) > 1 or len(window) > 1 or len(views) == len(now):
            return JudgedStatement(kind, Freshness.UNKNOWN)
        ends_ns = [self._part_ended_ns(views, part) for part in self._parts(answer)]
        known_ns = [end_ns for end_ns in ends_ns if end_ns is not None]
        if len(known_ns) < len(ends_ns):
            return JudgedStatement(kind, Freshness.UNEXPLAINED)
        return self._stale(answer, kind, min(known_ns))

    def _stale(self, answer: RecordedAnswer, kind: str, ended_ns: int) -> JudgedStatement:
        return JudgedStatement(kind, Freshness.STALE, max(0, answer.return_ns - ended_ns))

    def _is_directory(self, name: NameState) -> bool:
        """Whether it stood for a directory, of which nothing else is known."""
        return name.object is not None and not self._timeline.objects[name.object]

    def _views(self, answer: RecordedAnswer, window: range, *, now: bool) -> Iterator[_View]:
        """All that the name has shown until then, or that what it stood for was like.

        *now*: only what it may show still.
        """
        names = self._timeline.names[answer.path]
        by_name = answer.kind not in (AnswerKind.FSTAT, AnswerKind.READ)
        for at in window if now else range(window.stop):
            name = names[at]
            if name.object is None:
                continue
            history = self._timeline.objects[name.object]
            possibly = possible(history, answer.call_ns, answer.return_ns)
            named_until_ns = _until_ns(names, at)
            for place in possibly if now else range(possibly.stop):
                state, held_until_ns = history[place], _until_ns(history, place)
                ended_ns = []
                if at < window.start:
                    ended_ns.append(named_until_ns)
                # A call by name looks it up first: it cannot see what was before.
                if place < possibly.start or (by_name and held_until_ns < name.began_ns):
                    ended_ns.append(held_until_ns)
                # Through a descriptor what was opened is seen, whatever its names are meanwhile.
                was_shown = (not by_name and at >= window.start) or (
                    max(name.began_ns, state.began_ns) <= min(named_until_ns, held_until_ns)
                )
                yield _View(state, min(ended_ns, default=None), was_shown)

    def _may_be_torn(self, answer: RecordedAnswer, states: Sequence[ObjectState]) -> bool:
        """Whether *answer* may mix *states*, of which one was becoming the other meanwhile."""
        sizes = [state.size for state in states]
        if answer.kind is not AnswerKind.READ:
            return min(sizes) <= answer.size <= max(sizes) and (
                not self._times or any(answer.more == state.mtime_ns for state in states)
            )
        known = next(
            (
                piece
                for content in self._timeline.contents.values()
                if _is_piece(answer, piece := _piece(answer, content))
            ),
            None,
        )
        if known is None:
            return True
        ends = answer.size + answer.more
        if answer.number and not min(sizes) <= ends <= max(sizes):
            return False
        pieces = [_piece(answer, self._timeline.contents[state.content]) for state in states]
        return all(
            any(at < len(piece) and piece[at] == byte for piece in pieces)
            for at, byte in enumerate(known)
        )

    def _parts(self, answer: RecordedAnswer) -> Sequence[Callable[[ObjectState], bool]]:
        """What *answer* says, each by itself."""
        ends = answer.size + answer.more
        if answer.kind is AnswerKind.READ:
            parts: list[Callable[[ObjectState], bool]] = [
                lambda state: self._has_piece(answer, state)
            ]
            if answer.number:
                parts.append(lambda state: len(self._timeline.contents[state.content]) == ends)
            return parts
        parts = [lambda state: answer.size == state.size]
        if self._times:
            parts.append(lambda state: answer.more == state.mtime_ns)
        return parts

    def _part_ended_ns(
        self, views: Sequence[_View], is_true: Callable[[ObjectState], bool]
    ) -> int | None:
        """When the last state ended of which a part was true; None where there was none."""
        true = [view for view in views if is_true(view.state)]
        shown = [view for view in true if view.was_shown] or true
        return max((view.until_ns for view in shown), default=None)

    def _is_true(self, answer: RecordedAnswer, state: ObjectState) -> bool:
        if answer.kind is not AnswerKind.READ:
            same_time = answer.more == state.mtime_ns or not self._times
            return answer.size == state.size and same_time
        content = self._timeline.contents[state.content]
        at_end = answer.size + answer.more >= len(content)
        return self._has_piece(answer, state) and (at_end or not answer.number)

    def _has_piece(self, answer: RecordedAnswer, state: ObjectState) -> bool:
        """Whether the bytes that came are these of *state*, wherever it was said to end."""
        return _is_piece(answer, _piece(answer, self._timeline.contents[state.content]))


def _until_ns(history: Sequence[Span], place: int) -> int:
    """When an edit had ended the state at *place*."""
    return history[place + 1].done_ns if place + 1 < len(history) else _STILL_NS


def _piece(answer: RecordedAnswer, content: bytes) -> bytes:
    """What *answer* would have been of *content*, as long as it was."""
    return content[answer.size : answer.size + answer.more]


def _is_piece(answer: RecordedAnswer, piece: bytes) -> bool:
    return len(piece) == answer.more and zlib.crc32(piece) == answer.crc


def _known(*judged: JudgedStatement) -> tuple[JudgedStatement, ...]:
    return tuple(one for one in judged if one.verdict is not Freshness.UNKNOWN)
