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
class ObjectState:
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
    objects: Mapping[int, Sequence[ObjectState]]
    contents: Mapping[str, bytes]


def possible(history: Sequence[Span], call_ns: int, return_ns: int) -> range:
    """The places in *history* that were true at some moment from *call_ns* to *return_ns*."""
    first = max(0, bisect_left(history, call_ns, key=lambda span: span.done_ns) - 1)
    after = bisect_right(history, return_ns, key=lambda span: span.began_ns)
    return range(first, max(first + 1, after))


def timeline_from(document: Mapping[str, Any]) -> Timeline:
    """What the editor's process has taken down (editor.py writes it)."""
    return Timeline(
        {
            path: tuple(Named(*one) for one in history)
            for path, history in document["names"].items()
        },
        {
            int(number): tuple(ObjectState(*one) for one in history)
            for number, history in document["objects"].items()
        },
        {key: text.encode("latin-1") for key, text in document["contents"].items()},
    )
