"""What the host had, and when: the states of names and of files, from the log of the edits.

A name names an object or nothing, an object has a state; each is a history of its own,
because a descriptor keeps its object when the name goes on to another. A change is not a
moment: between its call and its return either state may be seen.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol


class Span(Protocol):
    """A state that came about between two moments, and holds until the next one in a history."""

    @property
    def began_ns(self) -> int:
        """The moment before the system call that made the state, by CLOCK_MONOTONIC."""

    @property
    def done_ns(self) -> int:
        """The moment after the system call that made the state returned, by CLOCK_MONOTONIC."""


@dataclass(frozen=True, slots=True)
class NameState:
    """What a name stands for from some moment on: an object, or nothing."""

    began_ns: int
    """Before the system call that made it so."""
    done_ns: int
    """After it had returned."""
    object: int | None
    """The number of the object that the name stands for; None: it does not exist."""


@dataclass(frozen=True, slots=True)
class ObjectState:
    """The attributes and the content of an object from some moment on."""

    began_ns: int
    """Before the system call that made it so."""
    done_ns: int
    """After it had returned."""
    size: int
    """In bytes."""
    mtime_ns: int
    """As the host's stat(2) tells it, in ns since 1970."""
    content: str
    """The key of its content in Timeline.contents."""


@dataclass(frozen=True, slots=True)
class Timeline:
    """All that the host had of the edited names, in the order of time.

    Each history begins with what was before the first edit, at 0 ns. Only the edits changed any of
    it; where the workload did, its own changes are known apart (``own_changes``).
    """

    names: Mapping[str, Sequence[NameState]]
    """Of each edited path, what it stood for; the first state is that before all edits."""
    objects: Mapping[int, Sequence[ObjectState]]
    """Of each object, its states; () for a directory, of which nothing is known."""
    contents: Mapping[str, bytes]
    """Every content that an object had, by a key that ObjectState.content gives."""


def possible(history: Sequence[Span], call_ns: int, return_ns: int) -> range:
    """Which states in *history* held at any time from *call_ns* to *return_ns*, as indices."""
    first = max(0, bisect_left(history, call_ns, key=lambda span: span.done_ns) - 1)
    after = bisect_right(history, return_ns, key=lambda span: span.began_ns)
    return range(first, max(first + 1, after))


def timeline_from(document: Mapping[str, Any]) -> Timeline:
    """The host's Timeline in the *document* of editor.py's log. Raises KeyError or TypeError."""
    return Timeline(
        {
            path: tuple(NameState(*one) for one in history)
            for path, history in document["names"].items()
        },
        {
            int(number): tuple(ObjectState(*one) for one in history)
            for number, history in document["objects"].items()
        },
        {key: text.encode("latin-1") for key, text in document["contents"].items()},
    )
