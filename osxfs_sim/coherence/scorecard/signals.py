"""The values of the scorecard: events received, states observed, what a change makes visible.

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
    """One event about one of the names of a change."""

    event: Event
    """Which event."""
    role: Role = Role.A
    """Of which of the change's names."""
    directory: bool = False
    """Whether it has IN_ISDIR."""

    def __str__(self) -> str:
        isdir = "|IN_ISDIR" if self.directory else ""
        return f"{self.event}{isdir} {self.role}"


@dataclass(frozen=True, slots=True)
class ObservedState:
    """What the guest read of a name at once when an event of it came."""

    began_ns: int
    """Before the first system call of the read, by CLOCK_MONOTONIC."""
    exists: bool
    """Whether lstat(2) found the name."""
    listed: bool
    """Whether the directory lists it."""
    size_bytes: int | None = None
    """st_size; None where it does not exist."""
    mode: int | None = None
    """Its permission bits; None where it does not exist."""
    mtime_ns: int | None = None
    """In ns since 1970; None where it does not exist."""
    content: str | None = None
    """The first 64 bytes of a regular file (latin-1); else None."""


@dataclass(frozen=True, slots=True)
class ExpectedState:
    """What a read of a name must return."""

    exists: bool = True
    """Whether the name must exist, and be listed."""
    size_bytes: int | None = None
    """What st_size must be; None: anything."""
    mode: int | None = None
    """What the permission bits must be; None: anything."""
    mtime_ns: int | None = None
    """What st_mtime must be, in ns since 1970; None: anything."""
    content: str | None = None
    """What the file must contain; None: anything."""

    def agrees(self, observed: ObservedState) -> bool:
        """Whether *observed* is this state, and listed as it says; a None field allows anything."""
        if (observed.exists, observed.listed) != (self.exists, self.exists):
            return False
        pairs = (
            (self.size_bytes, observed.size_bytes),
            (self.mode, observed.mode),
            (self.mtime_ns, observed.mtime_ns),
            (self.content, observed.content),
        )
        return all(wanted is None or wanted == seen for wanted, seen in pairs)


@dataclass(frozen=True, slots=True)
class ReceivedEvent:
    """An event of a name of a change, and what the listener read of the name then."""

    signal: NameEvent
    """Which event, of which name."""
    at_ns: int
    """When the listener had read it, by CLOCK_MONOTONIC."""
    observed: ObservedState
    """What a read of the name returned at once."""


@dataclass(frozen=True, slots=True)
class ChangeStep:
    """A system call of a change, and the state of each name after it."""

    done_ns: int
    """When the system call had returned, by CLOCK_MONOTONIC."""
    expected: Mapping[Role, ExpectedState]
    """What a read of each name must return from then on."""


@dataclass(frozen=True, slots=True)
class ChangeLog:
    """One change and all events of its names, from when the events of their making had come."""

    began_ns: int
    """Before its first system call, by CLOCK_MONOTONIC."""
    steps: tuple[ChangeStep, ...]
    """Its system calls, in order."""
    received: tuple[ReceivedEvent, ...]
    """All events of its names, in the order in which they came."""
