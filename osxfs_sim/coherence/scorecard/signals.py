"""The words of the scorecard: what was heard, what was then seen, what a change shows.

Plain values, so that a log can be written by hand and judged. Times are
nanoseconds of the machine's monotonic clock, which all processes share.
"""

import enum
from collections.abc import Mapping
from dataclasses import dataclass


class Event(enum.StrEnum):
    """The events of inotify(7) that are listened for."""

    CREATE = "IN_CREATE"
    MODIFY = "IN_MODIFY"
    ATTRIB = "IN_ATTRIB"
    DELETE = "IN_DELETE"
    DELETE_SELF = "IN_DELETE_SELF"
    MOVED_FROM = "IN_MOVED_FROM"
    MOVED_TO = "IN_MOVED_TO"
    CLOSE_WRITE = "IN_CLOSE_WRITE"


class Role(enum.StrEnum):
    """Which of the names of a change: the one it begins with, or the one it leads to."""

    A = "a"
    B = "b"


@dataclass(frozen=True, slots=True)
class NameEvent:
    """One event about one of the names of a change; *directory*: with IN_ISDIR."""

    event: Event
    role: Role = Role.A
    directory: bool = False

    def __str__(self) -> str:
        isdir = "|IN_ISDIR" if self.directory else ""
        return f"{self.event}{isdir} {self.role}"


@dataclass(frozen=True, slots=True)
class Look:
    """What the guest saw of a name at once when an event of it came.

    *listed* is whether the directory lists it; *mode* has the permission bits;
    *content* is that of a regular file. None where there is no object.
    """

    began_ns: int
    exists: bool
    listed: bool
    size_bytes: int | None = None
    mode: int | None = None
    mtime_ns: int | None = None
    content: str | None = None


@dataclass(frozen=True, slots=True)
class ExpectedState:
    """What a look at a name must show; None: not looked at."""

    exists: bool = True
    size_bytes: int | None = None
    mode: int | None = None
    mtime_ns: int | None = None
    content: str | None = None

    def agrees(self, look: Look) -> bool:
        """Whether *look* shows it, by name and in the directory's listing."""
        if (look.exists, look.listed) != (self.exists, self.exists):
            return False
        pairs = (
            (self.size_bytes, look.size_bytes),
            (self.mode, look.mode),
            (self.mtime_ns, look.mtime_ns),
            (self.content, look.content),
        )
        return all(wanted is None or wanted == seen for wanted, seen in pairs)


@dataclass(frozen=True, slots=True)
class ReceivedEvent:
    """A signal, when the listener had it in its hands, and what it saw then."""

    signal: NameEvent
    at_ns: int
    look: Look


@dataclass(frozen=True, slots=True)
class ChangeStep:
    """A system call of a change: when it had returned, and what each name then shows."""

    done_ns: int
    shown: Mapping[Role, ExpectedState]


@dataclass(frozen=True, slots=True)
class Log:
    """One change: when its first system call began, its steps, and all that was heard.

    Also what was heard of its names before it began, once the events of their making had come.
    """

    began_ns: int
    steps: tuple[ChangeStep, ...]
    heard: tuple[ReceivedEvent, ...]
