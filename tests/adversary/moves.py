"""What the actors are told: moves on the same few names, drawn from a seed."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any

Move = dict[str, Any]

LOOKS = ("list", "read", "look", "fsync", "sync", "drop", "hold", "fill", "free", "sync all")
"""Moves that change nothing."""
_OF_HELD = ("put", "cut", "look", "sync", "drop")
_HOSTS_ONLY = ("turn", "replace", "pipe")
"""Moves of several steps, or of what is not held: nobody looks for what came of them."""

NAMES = "abcdef"
_DEEPEST = 3
_SIZES = (1, 10, 300, 4_096, 5_000, 40_000, 300_000)
_MODES = (0o700, 0o750, 0o755)
_CLOSED_MODES = (0o000, 0o300, 0o500, 0o700, 0o700)
_OFFSETS = (0, 1, 100, 4_090, 10_000)
_LENGTHS = (0, 1, 100, 5_000)
_MOST_HELD = 3
_WEIGHTS = {
    "write": 10,
    "append": 4,
    "patch": 3,
    "map": 2,
    "truncate": 2,
    "mkdir": 5,
    "rmdir": 3,
    "unlink": 4,
    "rename": 7,
    "exchange": 1,
    "link": 2,
    "symlink": 2,
    "chmod": 2,
    "utime": 1,
    "attribute": 1,
    "fsync": 5,
    "list": 3,
    "read": 4,
    "hold": 3,
    "put": 4,
    "cut": 1,
    "look": 3,
    "sync": 2,
    "drop": 1,
    "turn": 3,
    "replace": 3,
    "pipe": 1,
}


def is_of_held(move: Move) -> bool:
    """Whether *move* is of what the actor holds open, not of a path."""
    return move["do"] in _OF_HELD


@dataclass
class Mover:
    """Draws the moves of one actor. *closes* directories by their modes; *links* hard links."""

    random: Random
    name: str
    closes: bool = False
    links: bool = True
    names: Sequence[str] = NAMES
    fold: Callable[[str], str] = str
    """Names are one that it makes one."""
    without: tuple[str, ...] = ()
    """Moves that it does not make."""
    stays: str = ""
    """A directory that is not moved or taken away."""
    below: str = ""
    """The directory below which all its moves are."""
    held: list[str] = field(default_factory=list)
    _count: int = 0
    _there: dict[str, list[str]] = field(default_factory=dict)

    def draw(self, there: dict[str, list[str]]) -> Move:
        """The next move, where *there* are paths by their kind, as far as anybody knows."""
        tops = {*map(self.fold, self.names), *([self.stays] if self.stays else [])}
        self._there = {
            kind: [path for path in paths if path.partition("/")[0] in tops]
            for kind, paths in there.items()
        }
        kinds = {kind: weight for kind, weight in _WEIGHTS.items() if kind not in self.without}
        if not self.links:
            kinds.pop("link", None)
        for kind in _HOSTS_ONLY if self.name.startswith("g") else ():
            kinds.pop(kind, None)
        if not self.held:
            for kind in _OF_HELD:
                kinds.pop(kind, None)
        elif len(self.held) >= _MOST_HELD:
            kinds.pop("hold", None)
        kind = self.random.choices(list(kinds), list(kinds.values()))[0]
        return self._move(kind)

    def _move(self, kind: str) -> Move:
        self._count += 1
        random = self.random
        move: Move = {"do": kind}
        if kind in _OF_HELD:
            move["number"] = random.choice(self.held)
        else:
            move["path"] = self._path(kind)
        if kind in ("write", "append", "patch", "map", "put", "replace"):
            move |= {"token": f"{self.name}{self._count}.", "size": random.choice(_SIZES)}
        match kind:
            case "write" | "append":
                move["synced"] = random.random() < 0.1
            case "patch" | "put" | "map":
                move["offset"] = random.choice(_OFFSETS)
            case "truncate" | "cut":
                move["size"] = random.choice(_LENGTHS)
            case "mkdir" | "chmod":
                move["mode"] = random.choice(_CLOSED_MODES if self.closes else _MODES)
            case "rename" | "link" | "exchange":
                move["to"] = self._path("to" if kind != "exchange" else kind)
            case "symlink":
                move["target"] = f"nowhere/{self._count}"
            case "utime":
                move["at_s"] = 1_000_000_000 + self._count
            case "attribute":
                move["token"] = f"{self.name}{self._count}"
            case "turn":
                move["into"] = random.choice(("file", "directory", "symlink"))
            case "hold":
                move["number"] = f"{self.name}-{self._count}"
                move["appends"] = random.random() < 0.3
                self.held.append(move["number"])
            case "drop":
                self.held.remove(move["number"])
        return move

    def answered(self, move: Move, ok: bool) -> None:
        """What was to be held when *move* failed is not."""
        if move["do"] == "hold" and not ok:
            self.held.remove(move["number"])

    def _path(self, kind: str) -> str:
        while True:
            path = self._any_path(kind)
            if path == self.stays and kind not in ("list", "fsync", "chmod", "utime"):
                continue
            if not self.below or path.startswith(f"{self.below}/"):
                return "/".join(map(self._respelled, path.split("/")))

    def _respelled(self, name: str) -> str:
        """As any of the names that are the same one."""
        same = [each for each in self.names if self.fold(each) == self.fold(name)]
        return self.random.choice(same) if len(same) > 1 else name

    def _any_path(self, kind: str) -> str:
        """Mostly of what is there and can be moved so; else of anything."""
        random = self.random
        if kind in _MAKING and random.random() < 0.8:
            parent = random.choice(["", *self._there.get("directory", [])])
            if parent.count("/") < _DEEPEST - 1:
                return f"{parent}/{random.choice(self.names)}".lstrip("/")
        choices = [path for each in _KINDS_OF.get(kind, _ALL) for path in self._there.get(each, [])]
        if choices and random.random() < 0.85:
            return random.choice(choices)
        depth = random.choices(range(1, _DEEPEST + 1), (3, 4, 2))[0]
        path = "/".join(random.choice(self.names) for _ in range(depth))
        return f"{self.below}/{path}" if self.below else path


_ALL = ("file", "directory", "symlink")
_MAKING = ("write", "mkdir", "symlink", "to", "pipe")
_KINDS_OF = {
    **dict.fromkeys(
        ("append", "patch", "map", "truncate", "read", "hold", "link", "replace"), ("file",)
    ),
    **dict.fromkeys(("rmdir", "list"), ("directory",)),
    "unlink": ("file", "symlink"),
    "fsync": ("file", "file", "directory"),
    "attribute": ("file", "directory"),
}
