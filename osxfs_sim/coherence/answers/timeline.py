"""What the host had, and when: the states of names and of files, from the log of the edits.

A name names an object or nothing, an object has a state; each is a history of its own,
because a descriptor keeps its object when the name goes on to another. A change is not a
moment: between its call and its return either state may be seen.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol


class Span(Protocol):
    """Something that came about between two moments, and is so until the next one."""

    @property
    def began_ns(self) -> int: ...

    @property
    def done_ns(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Named:
    """From then on a name stands for *object*, or for nothing."""

    began_ns: int
    done_ns: int
    object: int | None


@dataclass(frozen=True, slots=True)
class Held:
    """From then on an object has these attributes and this content (a key of contents)."""

    began_ns: int
    done_ns: int
    size: int
    mtime_ns: int
    content: str


@dataclass(frozen=True, slots=True)
class Timeline:
    """All that the host had of the edited names, in the order of time.

    Each history begins with what was before the first edit, at 0 ns. Nobody but the edits
    changed any of it; where the workload did, its own changes are known apart.
    """

    names: Mapping[str, Sequence[Named]]
    objects: Mapping[int, Sequence[Held]]
    contents: Mapping[str, bytes]


def possible(history: Sequence[Span], call_ns: int, return_ns: int) -> range:
    """The places in *history* that were true at some moment from *call_ns* to *return_ns*."""
    first = 0
    while first + 1 < len(history) and history[first + 1].done_ns < call_ns:
        first += 1
    last = first
    while last + 1 < len(history) and history[last + 1].began_ns <= return_ns:
        last += 1
    return range(first, last + 1)


def timeline_from(document: Mapping[str, Any]) -> Timeline:
    """What the editor's process has taken down (editor.py writes it)."""
    return Timeline(
        {
            path: tuple(Named(*one) for one in history)
            for path, history in document["names"].items()
        },
        {
            int(number): tuple(Held(*one) for one in history)
            for number, history in document["objects"].items()
        },
        {key: text.encode("latin-1") for key, text in document["contents"].items()},
    )
