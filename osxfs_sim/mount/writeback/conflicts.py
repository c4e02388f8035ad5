"""Conflicts between guest and host that a change meets: counted, reported, or not to be won.

The contract's DEL-7: host changes may be lost. Which are is decided where a change is made
(host_writer.py and what it stands on); here is what it may do, and what is recorded of it.
"""

import collections
import errno
import os
from collections.abc import Callable

from osxfs_sim.mount.tree.inodes import Inode
from osxfs_sim.mount.writeback.effects import Emit, Kept, Lost, Overruled

_KEPT_PATHS = 10
_DEEPEST = 4_096


class OvertakenError(OSError):
    """What was refused before would now overwrite what has come since; errno is EEXIST."""

    def __init__(self) -> None:
        super().__init__(errno.EEXIST, os.strerror(errno.EEXIST))


class ConflictRules:
    """What a change may do to the host's, and what it says of that. The host writer's."""

    def __init__(self, emit: Emit) -> None:
        self._emit = emit
        self.repeats = False
        """Whether the next change may be half done: what it finds there is its own."""
        self.yields = False
        """Whether the next change was refused before: what came since is not to be lost to it."""

    def lose(self, directory: Inode | None, name: bytes = b"") -> None:
        """Tell that a host change gets lost. Raises OvertakenError where it must not be."""
        if self.yields and not self.repeats:
            raise OvertakenError
        if not self.repeats:
            self._emit(Lost(0 if directory is None else directory.number, name))

    def keep(self, directory: Inode, name: bytes) -> None:
        """Tell that the host keeps a *name* which the guest has removed; never fails."""
        self._emit(Kept(directory.number, name))

    def overrule(self, directory: Inode, name: bytes) -> None:
        """Tell that the host has something else at *name* than the guest has made there."""
        self._emit(Overruled(directory.number, name))


class Conflicts:
    """Conflicts between pending changes of the guest and changes of the host, counted."""

    def __init__(self, on_conflict: Callable[[Inode, bytes], None] | None = None) -> None:
        """*on_conflict* is called with a name that is another object on the host."""
        self.on_conflict = on_conflict or _nothing
        self.lost = 0
        """Changes of the host that the guest's have taken the place of."""
        self.lost_paths: collections.deque[str] = collections.deque(maxlen=_KEPT_PATHS)
        """Where the latest of them were."""
        self.kept = 0
        """Removals of the guest's that the host's changes have prevented."""
        self.kept_paths: collections.deque[str] = collections.deque(maxlen=_KEPT_PATHS)
        """Where the latest of them were."""

    def note_lost(self, directory: Inode | None, name: bytes) -> None:
        """Count a change of the host as lost, and keep its path (*directory* None: unknown)."""
        self.lost += 1
        self.lost_paths.append(path_of(directory, name))

    def note_kept(self, directory: Inode, name: bytes) -> None:
        """Count a removal of the guest's that the host has prevented, and keep its path."""
        self.kept += 1
        self.kept_paths.append(path_of(directory, name))
        self.on_conflict(directory, name)


def _nothing(_directory: Inode, _name: bytes) -> None:
    """Nobody is to be called."""


def path_of(inode: Inode | None, name: bytes = b"") -> str:
    """The host's path of *name* in a directory, below the source, as one line of text."""
    names = [name] if name else []
    while inode is not None and inode.name and len(names) < _DEEPEST:
        names.append(inode.name)
        inode = inode.parent
    path = os.fsdecode(b"/".join(reversed(names))) or "."
    return path if path.isprintable() else repr(path)
