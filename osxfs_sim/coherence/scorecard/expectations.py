"""Which events each change on the host must raise in the guest, and which it may.

The table of osxfs is that of docs/semantics.md, "Host events"; what a system
leaves out (NotifySpec) is then unexpected where it comes all the same. The
native table is inotify(7) of a plain directory: the other end of the checker.
Events may come more than once, so nothing here counts.
"""

import enum
from collections.abc import Mapping
from dataclasses import dataclass, replace

from osxfs_sim.coherence.scorecard.signals import Event, Role, Signal
from osxfs_sim.model.events import NotifySpec


class Kind(enum.StrEnum):
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
    """What must be heard of a change, and what may be. All else is unexpected."""

    required: tuple[Signal, ...] = ()
    allowed: frozenset[Signal] = frozenset()

    @property
    def known(self) -> frozenset[Signal]:
        """All signals that are not unexpected."""
        return self.allowed.union(self.required)


_MODIFIED = Signal(Event.MODIFY)
_ATTRIBUTES = Signal(Event.ATTRIB)
_CREATED = Signal(Event.CREATE)
_CREATED_B = Signal(Event.CREATE, Role.B)
_DELETED = Signal(Event.DELETE)
_DELETED_SELF = Signal(Event.DELETE_SELF)
_MODIFIED_B = Signal(Event.MODIFY, Role.B)
_ATTRIBUTES_B = Signal(Event.ATTRIB, Role.B)
_DELETED_B = Signal(Event.DELETE, Role.B)
_CREATED_DIRECTORY = Signal(Event.CREATE, directory=True)
_DELETED_DIRECTORY = Signal(Event.DELETE, directory=True)
_MODIFIED_DIRECTORY_B = Signal(Event.MODIFY, Role.B, directory=True)

_Row = tuple[tuple[Signal, ...], frozenset[Signal]]


def _row(*required: Signal, may: tuple[Signal, ...] = ()) -> _Row:
    return required, frozenset(may)


_OSXFS: Mapping[Kind, _Row] = {
    Kind.CREATE: _row(_CREATED),
    Kind.WRITE: _row(_CREATED, _MODIFIED),
    # "IN_MODIFY (often with IN_ATTRIB)"
    Kind.MODIFY: _row(_MODIFIED, may=(_ATTRIBUTES,)),
    Kind.MODIFY_OPEN: _row(_MODIFIED, may=(_ATTRIBUTES,)),
    Kind.APPEND: _row(_MODIFIED, may=(_ATTRIBUTES,)),
    Kind.TRUNCATE: _row(_MODIFIED, may=(_ATTRIBUTES,)),
    Kind.CHMOD: _row(_ATTRIBUTES),
    Kind.UTIMES: _row(_ATTRIBUTES),
    Kind.DELETE: _row(_DELETED, _DELETED_SELF),
    Kind.MKDIR: _row(_CREATED_DIRECTORY),
    Kind.RMDIR: _row(_DELETED_DIRECTORY, _DELETED_SELF),
    # "IN_DELETE of a, IN_MODIFY of b", and nothing else: not even where b is new.
    Kind.RENAME: _row(_DELETED, _MODIFIED_B, may=(_ATTRIBUTES_B,)),
    Kind.REPLACE: _row(_DELETED, _MODIFIED_B, may=(_ATTRIBUTES_B,)),
    Kind.RENAME_DIRECTORY: _row(_DELETED_DIRECTORY, _MODIFIED_DIRECTORY_B),
    Kind.SYMLINK: _row(_CREATED),
    # Its link count is an attribute of the object, whatever its name.
    Kind.LINK: _row(_CREATED_B, may=(_ATTRIBUTES, _ATTRIBUTES_B)),
    Kind.READ: _row(),
}

_CLOSED = Signal(Event.CLOSE_WRITE)
_MOVED = (Signal(Event.MOVED_FROM), Signal(Event.MOVED_TO, Role.B))

_NATIVE: Mapping[Kind, _Row] = {
    # Made by open(2) for reading: nothing is closed that could have been written.
    Kind.CREATE: _row(_CREATED),
    Kind.WRITE: _row(_CREATED, _MODIFIED, _CLOSED),
    Kind.MODIFY: _row(_MODIFIED, _CLOSED),
    Kind.MODIFY_OPEN: _row(_MODIFIED),
    Kind.APPEND: _row(_MODIFIED, _CLOSED),
    Kind.TRUNCATE: _row(_MODIFIED, _CLOSED),
    Kind.CHMOD: _row(_ATTRIBUTES),
    Kind.UTIMES: _row(_ATTRIBUTES),
    Kind.DELETE: _row(_DELETED, _DELETED_SELF),
    Kind.MKDIR: _row(_CREATED_DIRECTORY),
    Kind.RMDIR: _row(_DELETED_DIRECTORY, _DELETED_SELF),
    Kind.RENAME: _row(*_MOVED),
    Kind.REPLACE: _row(*_MOVED),
    Kind.RENAME_DIRECTORY: _row(
        Signal(Event.MOVED_FROM, directory=True), Signal(Event.MOVED_TO, Role.B, directory=True)
    ),
    Kind.SYMLINK: _row(_CREATED),
    Kind.LINK: _row(_CREATED_B),
    Kind.READ: _row(),
}


def native(kind: Kind) -> Expectation:
    """What a plain directory raises."""
    return Expectation(*_NATIVE[kind])


def expected_of(kind: Kind, notify: NotifySpec) -> Expectation:
    """What a system raises that notifies as *notify* says: what it leaves out is not known."""
    required, allowed = _OSXFS[kind]
    told = tuple(signal for signal in required if _is_told(signal, kind, notify))
    may = frozenset(signal for signal in allowed if _is_told(signal, kind, notify))
    if notify.touches:
        told = tuple(dict.fromkeys(map(_touched, told)))
        may = frozenset(map(_touched, may))
    return Expectation(told, may)


def _touched(signal: Signal) -> Signal:
    """What is heard instead where all that is told of is touched."""
    if signal.event in (Event.DELETE, Event.DELETE_SELF):
        return signal
    return replace(signal, event=Event.ATTRIB)


def _is_told(signal: Signal, kind: Kind, notify: NotifySpec) -> bool:
    match signal.event:
        case Event.CREATE:
            return notify.creates
        case Event.MODIFY:
            if notify.modifies == "closed":
                return kind is not Kind.MODIFY_OPEN
            return notify.modifies == "written"
        case Event.ATTRIB:
            return notify.attributes
    return notify.deletes
