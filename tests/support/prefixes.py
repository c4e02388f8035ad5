"""Says whether a host's tree is one of the states that a guest's tree has been in.

The rule is that of osxfs_sim/model/write_back.py: the host is the guest as it was after one of
its changes, as far as the objects are concerned that the guest has not taken away since. Of
those that it has, the host still has its own as the guest had them by then, and may have the
guest's; it may lack their latest writes, but never show what they were not.

Pure: a tree is a dictionary of paths, and what a file is told apart by is the caller's (an inode
number on the host, whatever it likes in the guest): only which paths are the same file counts.
"""

import os
import stat as modes
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple


class Node(NamedTuple):
    """What stands by a path. *content* is a link's target, too; a directory's is empty."""

    kind: str
    mode: int
    content: bytes
    object: Hashable

    @property
    def looks(self) -> tuple[str, int, bytes]:
        return self[:3]


Tree = Mapping[str, Node]
"""Paths below the root, without a leading slash. The root itself is not in it."""


def written(tree: Tree, target: Hashable, offset: int, data: bytes) -> dict[str, Node]:
    """*tree* after *data* was written to the file *target*."""
    after = dict(tree)
    for path, node in tree.items():
        if node.object == target:
            old = node.content.ljust(offset, b"\0")
            content = old[:offset] + data + old[offset + len(data) :]
            after[path] = node._replace(content=content)
    return after


@dataclass(frozen=True)
class Verdict:
    """*point* is the state of the guest's that the host shows, or None, and *why* not."""

    point: int | None
    why: str = ""


class History:
    """All states of a guest's tree, one after each of its changes, and what it has synced."""

    def __init__(self, first: Tree) -> None:
        self.states: list[Tree] = [first]
        self._synced: list[tuple[int, Hashable]] = []
        self._looks: dict[Hashable, dict[tuple[str, int, bytes], int]] = {}
        self._of_host = alive_in(first)
        self._note_looks(first)

    def _note_looks(self, tree: Tree) -> None:
        """What each object has looked like, and since when."""
        for node in tree.values():
            self._looks.setdefault(node.object, {}).setdefault(node.looks, len(self.states) - 1)

    @property
    def last(self) -> Tree:
        return self.states[-1]

    def add(self, tree: Tree) -> None:
        """The guest has made a change."""
        self.states.append(tree)
        self._note_looks(tree)

    def sync(self, target: Hashable) -> None:
        """The guest has synced *target*: what it is and how it is called is on the host."""
        self._synced.append((len(self.states) - 1, target))

    def copy(self) -> "History":
        other = History(self.states[0])
        other.states = list(self.states)
        other._synced = list(self._synced)
        other._looks = {each: dict(looks) for each, looks in self._looks.items()}
        return other

    # What must be on the host

    def demanded(self) -> int:
        """The earliest state that what was synced allows."""
        alive = alive_in(self.last)
        return max((self._since(*each, alive) for each in self._synced), default=0)

    def _since(self, at: int, target: Hashable, alive: set[Hashable]) -> int:
        """From when on until *at* the object was what it was then.

        Who had been taken away again does not count: it need not have been on the host.
        """
        if target not in alive:
            return 0
        view = _view(self.states[at], target, alive)
        while at and _view(self.states[at - 1], target, alive) == view:
            at -= 1
        return at

    # Verdicts

    def judge(self, host: Tree, *, since: int | None = None, until: int | None = None) -> Verdict:
        """The earliest state from *since* on that *host* shows.

        Without *since* from what was synced last. *until* is the last that may be there.
        """
        if since is None:
            since = self.demanded()
        last = len(self.states) - 1 if until is None else until
        alive = alive_in(self.states[last])
        why = f"nothing from state {since} to {last} is allowed"
        for point in range(since, last + 1):
            difference = self._difference(point, self.states[point], host, alive)
            if not difference:
                return Verdict(point)
            if point == since:
                why = f"not even the earliest, {point}: {difference}"
            if point == last and since != last:
                why += f"\nnot even the last, {point}: {difference}"
        return Verdict(None, self._nearest(host, since, last, alive) + why)

    def _nearest(self, host: Tree, since: int, last: int, alive: set[Hashable]) -> str:
        """For people: the state that most of the host agrees with."""

        def wrong(point: int) -> int:
            state = self.states[point]
            shown = {path: node.looks for path, node in state.items() if node.object in alive}
            found = {path: node.looks for path, node in host.items()}
            return len(shown.items() - found.items()) + len(found.keys() - state.keys())

        if since > last:
            return ""
        point = min(range(since, last + 1), key=wrong)
        difference = self._difference(point, self.states[point], host, alive)
        return f"most like state {point} of {since} to {last}: {difference}\n"

    def _difference(self, point: int, state: Tree, host: Tree, alive: set[Hashable]) -> str:
        """Why *host* is not *state*, which is that at *point*; nothing if it is."""
        for path, node in state.items():
            if node.object not in alive and node.object not in self._of_host:
                continue
            found = host.get(path)
            if found is None:
                return f"{path} is missing"
            if node.object in alive and found.looks != node.looks:
                return f"{path} is {_shown(found)}, not {_shown(node)}"
        to_host: dict[Hashable, Hashable] = {}
        to_guest: dict[Hashable, Hashable] = {}
        for path, found in host.items():
            expected = state.get(path)
            if expected is None:
                return f"{path} should not be there: {_shown(found)}"
            if expected.object not in alive and found.looks != expected.looks:
                since = self._looks.get(expected.object, {}).get(found.looks)
                if since is None or since > point:
                    return f"{path}, since taken away, never was {_shown(found)} by then"
            if to_host.setdefault(expected.object, found.object) != found.object:
                return f"{path} is not the file that it is linked to"
            if to_guest.setdefault(found.object, expected.object) != expected.object:
                return f"{path} is linked to what it is not"
        return ""


def alive_in(tree: Tree) -> set[Hashable]:
    return {node.object for node in tree.values()}


def difference(wanted: Tree, found: Tree) -> str:
    """How *found* is not exactly *wanted*: names, kinds, modes, contents, links."""
    history = History(wanted)
    return history.judge(found).why


def _view(tree: Tree, target: Hashable, alive: set[Hashable]) -> tuple[object, ...]:
    """What a sync of *target* makes sure of: itself, its names, and who is in it by which name.

    Where a file has one name, the directories above it belong to that.
    """
    paths = [path for path, node in tree.items() if node.object == target]
    looks = {tree[path].looks for path in paths}
    names = frozenset(_place(tree, path) for path in paths)
    above: list[object] = []
    if len(paths) == 1:
        path = paths[0]
        while path := path.rpartition("/")[0]:
            above.append(_place(tree, path))
        inside = frozenset(
            (path.rpartition("/")[2], node.object)
            for path, node in tree.items()
            if path.rpartition("/")[0] == paths[0] and node.object in alive
        )
    else:
        inside = frozenset()
    return frozenset(looks), names, tuple(above), inside


def _place(tree: Tree, path: str) -> tuple[Hashable, str]:
    above, _, name = path.rpartition("/")
    return (tree[above].object if above else None), name


def _shown(node: Node) -> str:
    content = node.content
    shown = repr(content[:24]) + (f"... ({len(content)} bytes)" if len(content) > 24 else "")
    return f"a {node.kind} {node.mode:o} {shown}"


# A directory of the host as a tree


def snapshot(root: Path) -> dict[str, Node]:
    """What is below *root*. Raises OSError where it changes meanwhile."""
    found: dict[str, Node] = {}
    directories = [""]
    while directories:
        above = directories.pop()
        with os.scandir(root / above) as entries:
            names = [entry.name for entry in entries]
        for name in names:
            path = f"{above}/{name}" if above else name
            status = os.lstat(root / path)
            found[path] = Node(*_looks(root / path, status), status.st_ino)
            if modes.S_ISDIR(status.st_mode):
                directories.append(path)
    return found


def _looks(path: Path, status: os.stat_result) -> tuple[str, int, bytes]:
    permissions = modes.S_IMODE(status.st_mode)
    if modes.S_ISDIR(status.st_mode):
        return "directory", permissions, b""
    if modes.S_ISLNK(status.st_mode):
        return "symlink", permissions, os.fsencode(os.readlink(path))
    assert modes.S_ISREG(status.st_mode), path
    return "file", permissions, path.read_bytes()
