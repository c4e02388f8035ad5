"""What a log of strace does not say again, and its reader must keep: processes and objects."""

import posixpath
from dataclasses import dataclass, field

_ROOT_INODE = 1


@dataclass
class OpenFile:
    """An open file description; descriptors made by dup(2) and fork(2) share it."""

    path: str
    """Where it was opened."""
    position: int = 0
    """The offset of the next read or write, in bytes."""
    is_directory: bool = False
    """Whether it is one."""


@dataclass
class Process:
    """The state of a process: its working directory, what it has open, and what it runs."""

    directory: list[str | None] = field(default_factory=lambda: [None])
    """One element; shared by those that share their working directory."""
    files: dict[int, OpenFile] = field(default_factory=dict)
    """What each descriptor stands for."""
    closed_by_exec: set[int] = field(default_factory=set)
    """Descriptors with close-on-exec."""
    program: str | None = None
    """What it runs, as far as execve(2) was seen."""

    def child(self, *, same_files: bool = False, same_directory: bool = False) -> "Process":
        """A new Process as clone(2) makes it: files, directory shared if so told, else copied."""
        return Process(
            self.directory if same_directory else [*self.directory],
            self.files if same_files else {**self.files},
            self.closed_by_exec if same_files else {*self.closed_by_exec},
            self.program,
        )


class Objects:
    """Inode numbers of objects by their paths, as system calls make, move and remove them.

    *exists* tells of each path that a call was about whether it exists.
    """

    def __init__(self) -> None:
        self._inodes: dict[str, int] = {"/": _ROOT_INODE}
        self._last = _ROOT_INODE
        self._within: dict[str, set[str]] = {}
        self.exists: dict[str, bool] = {}

    def inode(self, path: str) -> int:
        """The inode number of the object at *path*; one not seen before gets a new number."""
        known = self._inodes.get(path)
        if known is not None:
            return known
        self._last += 1
        self._inodes[path] = self._last
        self._note(path)
        return self._last

    def made(self, path: str) -> int:
        """Record that *path* was made anew, and return its new inode number."""
        self.removed(path)
        self.exists[path] = True
        return self.inode(path)

    def linked(self, path: str, to: str) -> int:
        """Make *path* a further name of *to*'s object, and return that object's inode number."""
        number = self.inode(to)
        self._inodes[path] = number
        self._note(path)
        self.exists[path] = True
        return number

    def removed(self, path: str) -> None:
        """Record that *path*, and all below it, no longer exists; an unknown path is no error."""
        for below in [*self._within.get(path, ())]:
            self.removed(below)
        if path != "/":
            self._inodes.pop(path, None)
            self._within.get(posixpath.dirname(path), set()).discard(path)
        self._within.pop(path, None)
        self.exists[path] = False

    def moved(self, old: str, new: str) -> None:
        """Record that *old* was renamed to *new*, with all below it; no-op if *new* is within."""
        if old == new or new.startswith(old.rstrip("/") + "/"):
            return
        self.removed(new)
        self._move(old, new)

    def _move(self, old: str, new: str) -> None:
        below = [*self._within.get(old, ())]
        number = self._inodes.get(old)
        existed = self.exists.get(old, True)
        if number is not None:
            self._inodes[new] = number
            self._note(new)
        self.exists[new] = existed
        for path in below:
            self._move(path, new + path[len(old) :])
        self.removed(old)

    def _note(self, path: str) -> None:
        """That *path* lies in its directory, and that in its own."""
        while path != "/":
            directory = posixpath.dirname(path)
            within = self._within.setdefault(directory, set())
            if path in within:
                return
            within.add(path)
            path = directory
