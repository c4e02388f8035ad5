"""What the actors are told: moves on the same few names, drawn from a seed."""

from dataclasses import dataclass, field
from random import Random
from typing import Any

Move = dict[str, Any]

_NAMES = "abcd"
_DEEPEST = 3
_SIZES = (1, 10, 300, 4_096, 5_000, 40_000, 300_000)
_MODES = (0o700, 0o750, 0o755)
_CLOSED_MODES = (0o000, 0o300, 0o500, 0o700, 0o700)
_OFFSETS = (0, 1, 100, 4_090, 10_000)
_MOST_HELD = 3
_WEIGHTS = {
    "write": 10,
    "append": 4,
    "patch": 3,
    "truncate": 2,
    "mkdir": 5,
    "rmdir": 3,
    "unlink": 4,
    "rename": 7,
    "link": 2,
    "symlink": 2,
    "chmod": 2,
    "utime": 1,
    "fsync": 5,
    "list": 2,
    "read": 2,
    "hold": 2,
    "put": 4,
    "sync": 3,
    "drop": 1,
}


@dataclass
class Mover:
    """Draws the moves of one actor. *closes* directories by their modes; *links* hard links."""

    random: Random
    name: str
    closes: bool = False
    links: bool = True
    names: str = _NAMES
    held: list[int] = field(default_factory=list)
    _count: int = 0
    _there: dict[str, list[str]] = field(default_factory=dict)

    def draw(self, there: dict[str, list[str]]) -> Move:
        """The next move, where *there* are paths by their kind, as far as anybody knows."""
        self._there = there
        kinds = dict(_WEIGHTS)
        if not self.links:
            del kinds["link"]
        if not self.held:
            for kind in ("put", "sync", "drop"):
                del kinds[kind]
        elif len(self.held) >= _MOST_HELD:
            del kinds["hold"]
        kind = self.random.choices(list(kinds), list(kinds.values()))[0]
        return self._move(kind)

    def _move(self, kind: str) -> Move:
        self._count += 1
        random = self.random
        move: Move = {"do": kind, "path": self._path(kind)}
        if kind in ("write", "append", "patch", "put"):
            move |= {"token": f"{self.name}{self._count}.", "size": random.choice(_SIZES)}
        match kind:
            case "patch":
                move["offset"] = random.choice(_OFFSETS)
            case "truncate":
                move["size"] = random.choice((0, 1, 100, 5_000))
            case "mkdir" | "chmod":
                move["mode"] = random.choice(_CLOSED_MODES if self.closes else _MODES)
            case "rename" | "link":
                move["to"] = self._path("to")
            case "symlink":
                move["target"] = f"nowhere/{self._count}"
            case "utime":
                move["at_s"] = 1_000_000_000 + self._count
            case "hold":
                move["number"] = self._count
                self.held.append(self._count)
            case "put" | "sync" | "drop":
                move["number"] = random.choice(self.held)
                del move["path"]
                if kind == "put":
                    move["offset"] = random.choice(_OFFSETS)
                if kind == "drop":
                    self.held.remove(move["number"])
        return move

    def answered(self, move: Move, ok: bool) -> None:
        """What was held when *move* failed is not."""
        if move["do"] == "hold" and not ok:
            self.held.remove(move["number"])

    def _path(self, kind: str = "") -> str:
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
        return "/".join(random.choice(self.names) for _ in range(depth))


_ALL = ("file", "directory", "symlink")
_MAKING = ("write", "mkdir", "symlink", "to")
_FILES = ("file",)
_KINDS_OF = {
    **dict.fromkeys(("append", "patch", "truncate", "read", "hold", "link"), _FILES),
    **dict.fromkeys(("rmdir", "list"), ("directory",)),
    "unlink": ("file", "symlink"),
    "fsync": ("file", "file", "directory"),
}
