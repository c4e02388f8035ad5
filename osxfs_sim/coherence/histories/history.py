"""What several processes did to one tree at the same time, and what their calls returned.

A history is a plain value: it can be recorded on a live mount, written by hand, kept as JSON
and judged again years later. Nothing here judges.
"""

import enum
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from osxfs_sim.coherence.actors.operations import ActorOperation, OperationResult
from osxfs_sim.coherence.actors.processes import OperationInterval
from osxfs_sim.fs.output import write_output
from osxfs_sim.fs.reading import MOST_RESULT_BYTES, parse_json, read_text
from osxfs_sim.model.user_error import UserError

SCHEMA = 1

HOST = "host"
SHARE = "share"
"""The process that mounted the share. All it does is ``sync``: what is dirty is flushed."""


class Grain(enum.StrEnum):
    """Into how many atomic steps an operation of the guest's divides."""

    DIRECTORY = "directory"
    """The guest works in the host's directory itself: each system call has steps of its own."""
    SHARE = "share"
    """Each system call is several requests: the kernel looks names up, then requests the rest."""


@dataclass(frozen=True, slots=True)
class History:
    """Operations with call, return and result, in the order of their calls; a plain value."""

    operations: tuple[OperationInterval, ...]
    """Its operations, ordered by their calls."""
    grain: Grain = Grain.SHARE
    """Into how many atomic steps an operation of the guests' divides."""
    initial: Mapping[str, str] = field(default_factory=dict)
    """The files that were there before: path to content."""
    umask: int = 0o022
    """The file mode creation mask of all its processes."""
    about: Mapping[str, Any] = field(default_factory=dict)
    """For the reader: profile, seed, rules, what it shows. Values that JSON can hold."""

    @classmethod
    def of(cls, operations: Sequence[OperationInterval], **rest: Any) -> "History":
        """A history of *operations*, which are sorted by call; *rest* are its other fields."""
        return cls(in_order(operations), **rest)

    def only(self, operations: Sequence[OperationInterval]) -> "History":
        """A copy of the history with other *operations*, which are sorted by call."""
        return replace(self, operations=in_order(operations))

    def to_json(self) -> dict[str, Any]:
        """The history as a dictionary for JSON; times are ns since its first call."""
        begin_ns = min((each.call_ns for each in self.operations), default=0)
        return {
            "schema": SCHEMA,
            "about": dict(self.about),
            "grain": self.grain.value,
            "initial": dict(self.initial),
            "umask": self.umask,
            "operations": [_performed_json(each, begin_ns) for each in self.operations],
        }

    @classmethod
    def from_json(cls, words: Mapping[str, Any]) -> "History":
        """The history that to_json() made *words* of. Raises UserError where it is none."""
        try:
            if words["schema"] != SCHEMA:
                raise UserError(f"its schema is {words['schema']}, and not {SCHEMA}")
            operations = [_performed(each) for each in words["operations"]]
            initial = dict(words["initial"])
            if not all(isinstance(text, str) for text in initial.values()):
                raise UserError("initial must be names and their contents, as text")
            return cls.of(
                operations,
                grain=Grain(words["grain"]),
                initial=initial,
                umask=_number(words["umask"], "umask"),
                about=dict(words["about"]),
            )
        except KeyError as error:
            raise UserError(f"it is no history: it has no {error}") from error
        except (AttributeError, TypeError, ValueError) as error:
            raise UserError(f"it is no history: {error}") from error

    def save(self, path: Path) -> None:
        """Write the history to the file *path* as JSON, a line per operation. Raises OSError."""
        words = self.to_json()
        operations = ",\n  ".join(json.dumps(each) for each in words.pop("operations"))
        head = json.dumps(words, indent=1).removesuffix("\n}")
        write_output(path, f'{head},\n "operations": [\n  {operations}\n ]\n}}\n')

    @classmethod
    def load(cls, path: Path) -> "History":
        """The history in the JSON file *path*. Raises UserError if it holds none, and OSError."""
        try:
            words = parse_json(read_text(path, MOST_RESULT_BYTES))
            if not isinstance(words, dict):
                raise UserError("it is no history: it holds no object")
            return cls.from_json(words)
        except (ValueError, RecursionError, UserError) as error:
            raise UserError(f"{path}: {' '.join(str(error).split())[:300]}") from error


def in_order(operations: Iterable[OperationInterval]) -> tuple[OperationInterval, ...]:
    """*operations* sorted by the time of their call, then of their return."""
    return tuple(sorted(operations, key=lambda each: (each.call_ns, each.return_ns)))


def is_guest(actor: str) -> bool:
    """Whether *actor*, as an interval names it, is a process of the guest: not host nor share."""
    return actor not in (HOST, SHARE)


def _performed_json(each: OperationInterval, begin_ns: int) -> dict[str, Any]:
    words: dict[str, Any] = {
        "actor": each.actor,
        "call_ns": each.call_ns - begin_ns,
        "return_ns": each.return_ns - begin_ns,
    }
    words |= {"operation": replace(each.operation, pause_ns=0).to_json()}
    if each.outcome.error is not None:
        words["error"] = each.outcome.error
    elif each.outcome.value is not None:
        words["value"] = each.outcome.value
    return words


def _performed(words: Mapping[str, Any]) -> OperationInterval:
    interval = OperationInterval(
        str(words["actor"]),
        ActorOperation.from_json(words["operation"]),
        _number(words["call_ns"], "call_ns"),
        _number(words["return_ns"], "return_ns"),
        OperationResult(words.get("value"), words.get("error")),
    )
    if interval.return_ns < interval.call_ns:
        raise ValueError(f"{interval} returned before it was called")
    return interval


def _number(value: Any, name: str) -> int:
    if type(value) is not int:
        raise ValueError(f"{name} must be a whole number, and is {value!r}")
    return value
