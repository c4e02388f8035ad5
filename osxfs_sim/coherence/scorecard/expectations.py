"""Which events each change on the host must raise in the guest, and which it may.

The table of osxfs is that of docs/semantics.md, "Host events"; what a system
leaves out (NotifySpec) is then unexpected where it comes all the same. The
native table is inotify(7) of a plain directory: the other end of the checker.
Events may come more than once, so nothing here counts.
"""

import enum
from collections.abc import Mapping
from dataclasses import dataclass, replace

from osxfs_sim.coherence.scorecard.signals import Event, NameEvent, Role
from osxfs_sim.model.events import NotifySpec


class ChangeKind(enum.StrEnum):
    """The changes of the scorecard, by the names of its rows."""

    CREATE = "create"
    WRITE = "create with content"
    MODIFY = "modify in place"
    MODIFY_OPEN = "modify, kept open"
    APPEND = "append"
    TRUNCATE = "truncate"
    CHMOD = "chmod"
    UTIMES = "utimes"
    DELETE = "delete"
    MKDIR = "mkdir"
    RMDIR = "rmdir"
    RENAME = "rename"
    REPLACE = "rename over a file"
    RENAME_DIRECTORY = "rename a directory"
    SYMLINK = "symlink"
    LINK = "hard link"
    READ = "open, read, close"


@dataclass(frozen=True, slots=True)
class Expectation:
    """Which events of a change must come, and which may. All others are unexpected."""

    required: tuple[NameEvent, ...] = ()
    """Events that must come."""
    allowed: frozenset[NameEvent] = frozenset()
    """Events that may come."""

    @property
    def known(self) -> frozenset[NameEvent]:
        """All events that are required or allowed; any other is unexpected."""
        return self.allowed.union(self.required)


_MODIFIED = NameEvent(Event.MODIFY)
_ATTRIBUTES = NameEvent(Event.ATTRIB)
_CREATED = NameEvent(Event.CREATE)
_CREATED_B = NameEvent(Event.CREATE, Role.B)
_DELETED = NameEvent(Event.DELETE)
_DELETED_SELF = NameEvent(Event.DELETE_SELF)
_MODIFIED_B = NameEvent(Event.MODIFY, Role.B)
_ATTRIBUTES_B = NameEvent(Event.ATTRIB, Role.B)
_CREATED_DIRECTORY = NameEvent(Event.CREATE, directory=True)
_DELETED_DIRECTORY = NameEvent(Event.DELETE, directory=True)
_MODIFIED_DIRECTORY_B = NameEvent(Event.MODIFY, Role.B, directory=True)

_Row = tuple[tuple[NameEvent, ...], frozenset[NameEvent]]


def _row(*required: NameEvent, may: tuple[NameEvent, ...] = ()) -> _Row:
    return required, frozenset(may)


_OSXFS: Mapping[ChangeKind, _Row] = {
    ChangeKind.CREATE: _row(_CREATED),
    ChangeKind.WRITE: _row(_CREATED, _MODIFIED),
    # "IN_MODIFY (often with IN_ATTRIB)"
    ChangeKind.MODIFY: _row(_MODIFIED, may=(_ATTRIBUTES,)),
    ChangeKind.MODIFY_OPEN: _row(_MODIFIED, may=(_ATTRIBUTES,)),
    ChangeKind.APPEND: _row(_MODIFIED, may=(_ATTRIBUTES,)),
    ChangeKind.TRUNCATE: _row(_MODIFIED, may=(_ATTRIBUTES,)),
    ChangeKind.CHMOD: _row(_ATTRIBUTES),
    ChangeKind.UTIMES: _row(_ATTRIBUTES),
    ChangeKind.DELETE: _row(_DELETED, _DELETED_SELF),
    ChangeKind.MKDIR: _row(_CREATED_DIRECTORY),
    ChangeKind.RMDIR: _row(_DELETED_DIRECTORY, _DELETED_SELF),
    # "IN_DELETE of a, IN_MODIFY of b", and nothing else: not even where b is new.
    ChangeKind.RENAME: _row(_DELETED, _MODIFIED_B, may=(_ATTRIBUTES_B,)),
    ChangeKind.REPLACE: _row(_DELETED, _MODIFIED_B, may=(_ATTRIBUTES_B,)),
    ChangeKind.RENAME_DIRECTORY: _row(_DELETED_DIRECTORY, _MODIFIED_DIRECTORY_B),
    ChangeKind.SYMLINK: _row(_CREATED),
    # Its link count is an attribute of the object, whatever its name.
    ChangeKind.LINK: _row(_CREATED_B, may=(_ATTRIBUTES, _ATTRIBUTES_B)),
    ChangeKind.READ: _row(),
}

_CLOSED = NameEvent(Event.CLOSE_WRITE)
_MOVED = (NameEvent(Event.MOVED_FROM), NameEvent(Event.MOVED_TO, Role.B))

_NATIVE: Mapping[ChangeKind, _Row] = {
    # Made by open(2) for reading: nothing is closed that could have been written.
    ChangeKind.CREATE: _row(_CREATED),
    ChangeKind.WRITE: _row(_CREATED, _MODIFIED, _CLOSED),
    ChangeKind.MODIFY: _row(_MODIFIED, _CLOSED),
    ChangeKind.MODIFY_OPEN: _row(_MODIFIED),
    ChangeKind.APPEND: _row(_MODIFIED, _CLOSED),
    ChangeKind.TRUNCATE: _row(_MODIFIED, _CLOSED),
    ChangeKind.CHMOD: _row(_ATTRIBUTES),
    ChangeKind.UTIMES: _row(_ATTRIBUTES),
    ChangeKind.DELETE: _row(_DELETED, _DELETED_SELF),
    ChangeKind.MKDIR: _row(_CREATED_DIRECTORY),
    ChangeKind.RMDIR: _row(_DELETED_DIRECTORY, _DELETED_SELF),
    ChangeKind.RENAME: _row(*_MOVED),
    ChangeKind.REPLACE: _row(*_MOVED),
    ChangeKind.RENAME_DIRECTORY: _row(
        NameEvent(Event.MOVED_FROM, directory=True),
        NameEvent(Event.MOVED_TO, Role.B, directory=True),
    ),
    ChangeKind.SYMLINK: _row(_CREATED),
    ChangeKind.LINK: _row(_CREATED_B),
    ChangeKind.READ: _row(),
}


def native(kind: ChangeKind) -> Expectation:
    """The events that inotify(7) raises for *kind* of change in a plain local directory."""
    return Expectation(*_NATIVE[kind])


def expected_of(kind: ChangeKind, notify: NotifySpec) -> Expectation:
    """The events that a system which raises what *notify* says must and may raise for *kind*."""
    required, allowed = _OSXFS[kind]
    told = tuple(signal for signal in required if _is_told(signal, kind, notify))
    may = frozenset(signal for signal in allowed if _is_told(signal, kind, notify))
    if notify.touches:
        told = tuple(dict.fromkeys(map(_touched, told)))
        may = frozenset(map(_touched, may))
    return Expectation(told, may)


def _touched(signal: NameEvent) -> NameEvent:
    """The event instead of *signal* where the system announces changes by touching the file."""
    if signal.event in (Event.DELETE, Event.DELETE_SELF):
        return signal
    return replace(signal, event=Event.ATTRIB)


def _is_told(signal: NameEvent, kind: ChangeKind, notify: NotifySpec) -> bool:
    match signal.event:
        case Event.CREATE:
            return notify.creates
        case Event.MODIFY:
            if notify.modifies == "closed":
                return kind is not ChangeKind.MODIFY_OPEN
            return notify.modifies == "written"
        case Event.ATTRIB:
            return notify.attributes
    return notify.deletes
