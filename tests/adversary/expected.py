"""What must be on both sides: the guest's tree as a value, and which names are contested.

A name is contested when the host has touched it, or two guests have at once, or a move of it
failed half way: then only that both sides agree can be demanded. Of all others the guest's
acknowledged moves decide alone.
"""

import errno
from collections.abc import Iterator
from dataclasses import dataclass, field

from adversary.moves import Move

Path = tuple[str, ...]

HARMLESS = frozenset(
    {
        *(errno.ENOENT, errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR, errno.EISDIR),
        *(errno.EINVAL, errno.ELOOP, errno.EACCES, errno.EPERM),
    }
)
"""What a move may be told that was refused, and has done nothing."""


_FOLLOWING = ("write", "append", "patch", "truncate", "hold")
_FOLLOWING += ("chmod", "utime", "fsync", "read", "list")


@dataclass(eq=False)
class Node:
    """An object: a directory with *names*, a file with *content*, or a link to *target*."""

    kind: str
    content: bytes = b""
    target: str = ""
    names: "dict[str, Node]" = field(default_factory=dict)


def split(path: str) -> Path:
    return tuple(each for each in path.split("/") if each)


def content_of(move: Move) -> bytes:
    token: bytes = move["token"].encode()
    return (token * (move["size"] // len(token) + 1))[: move["size"]]


class Expected:
    """The guest's tree, as its moves have made it."""

    def __init__(self, *, strict: bool = True) -> None:
        """Where it is not *strict* permissions decide, too, which are not looked at here."""
        self.root = Node("directory")
        self.contested: set[Path] = set()
        self.held: dict[tuple[str, int], Node | None] = {}
        """What actors hold open, None where it is not known what."""
        self.strict = strict
        self.synced: dict[Path, bytes] = {}
        """Files whose content was synced, and has not been touched since."""

    # What is there

    def at(self, path: Path) -> Node | None:
        here: Node | None = self.root
        for name in path:
            if here is None or here.kind != "directory":
                return None
            here = here.names.get(name)
        return here

    def walk(self, top: Node | None = None, path: Path = ()) -> Iterator[tuple[Path, Node]]:
        for name, node in (top or self.root).names.items():
            yield (*path, name), node
            if node.kind == "directory":
                yield from self.walk(node, (*path, name))

    def paths_of(self, node: Node) -> list[Path]:
        return [path for path, each in self.walk() if each is node]

    def is_contested(self, path: Path) -> bool:
        """Whether *path* is, or something that it lies in."""
        return any(path[:length] in self.contested for length in range(1, len(path) + 1))

    def contest(self, path: Path) -> None:
        """Nobody can say what is at *path*, below it, or at other names of what is there."""
        self.contested.add(path)
        node = self.at(path)
        if node is None:
            return
        for each in [node, *(below for _, below in self.walk(node))]:
            self._touched(each)
            for key, held in self.held.items():
                if held is each:
                    self.held[key] = None
            if each.kind == "file":
                self.contested.update(self.paths_of(each))

    def _holds_contested(self, path: Path) -> bool:
        return any(each[: len(path)] == path for each in self.contested)

    # Moves

    def involved(self, actor: str, move: Move) -> list[Path]:
        """The paths that *move* touches."""
        if "number" in move and move["do"] != "hold":
            node = self.held.get((actor, move["number"]))
            return self.paths_of(node) if node is not None else []
        paths = [split(move["path"])]
        if "to" in move:
            paths.append(split(move["to"]))
        for path in list(paths):
            node = self.at(path)
            if node is not None and node.kind == "file":
                paths += self.paths_of(node)
        return paths

    def by_host(self, move: Move) -> None:
        """The host has done, or tried, *move*."""
        if move["do"] in ("list", "read", "fsync", "sync", "drop", "hold", "fill", "free"):
            return
        for path in self.involved("", move):
            self.contest(path)

    def by_guest(self, actor: str, move: Move, code: int) -> str:
        """A guest's *actor* was answered *code*, 0 for yes. What is wrong with that, or nothing."""
        if not self._is_known(actor, move):
            self._lose_track(actor, move, code)
            return ""
        predicted = self._predict(actor, move)
        if code and code not in HARMLESS:
            self._lose_track(actor, move, code)
            return ""
        if code in (errno.EACCES, errno.EPERM) and not self.strict:
            return ""
        if code == 0 and predicted:
            return f"it was done, and should be refused with {errno.errorcode[predicted]}"
        if code and not predicted:
            return f"it was refused with {errno.errorcode.get(code, code)}, and should be done"
        if code == 0:
            self._apply(actor, move)
        return ""

    def _is_known(self, actor: str, move: Move) -> bool:
        """Whether the guest's own moves alone decide what comes of *move*."""
        paths = self.involved(actor, move)
        if any(map(self.is_contested, paths)):
            return False
        if "number" in move and move["do"] != "hold":
            return self.held.get((actor, move["number"])) is not None
        if move["do"] in ("rmdir", "rename"):
            return not any(map(self._holds_contested, paths))
        return True

    def _lose_track(self, actor: str, move: Move, code: int) -> None:
        if move["do"] not in ("list", "read", "chmod", "utime", "fsync", "sync", "hold"):
            for path in self.involved(actor, move):
                self.contest(path)
        if move["do"] == "hold" and code == 0:
            self.held[actor, move["number"]] = None
        elif move["do"] == "drop":
            self.held.pop((actor, move["number"]), None)

    def _predict(self, actor: str, move: Move) -> int:
        """The errno that *move* must be answered with; 0 where it must be done."""
        kind = move["do"]
        if kind in ("put", "sync", "drop"):
            return 0
        path = split(move["path"])
        node, parent = self.at(path), self.at(path[:-1])
        if parent is None:
            return errno.ENOENT
        if parent.kind != "directory":
            return errno.ENOTDIR
        if kind in _FOLLOWING and node is not None and node.kind == "symlink":
            return errno.ENOENT  # all lead nowhere
        match kind:
            case "write":
                return errno.EISDIR if node is not None and node.kind == "directory" else 0
            case "append" | "patch" | "truncate" | "hold":
                if node is None:
                    return errno.ENOENT
                return errno.EISDIR if node.kind == "directory" else 0
            case "mkdir" | "symlink":
                return errno.EEXIST if node is not None else 0
            case "rmdir":
                if node is None:
                    return errno.ENOENT
                if node.kind != "directory":
                    return errno.ENOTDIR
                return errno.ENOTEMPTY if node.names else 0
            case "unlink":
                if node is None:
                    return errno.ENOENT
                return errno.EISDIR if node.kind == "directory" else 0
            case "chmod" | "utime" | "fsync" | "read" | "list":
                if node is None:
                    return errno.ENOENT
                if kind == "read" and node.kind == "directory":
                    return errno.EISDIR
                return errno.ENOTDIR if kind == "list" and node.kind != "directory" else 0
            case "link" | "rename":
                return self._predict_two(kind, path, split(move["to"]), node)
        raise AssertionError(kind)

    def _predict_two(self, kind: str, path: Path, to: Path, node: Node | None) -> int:
        there, to_parent = self.at(to), self.at(to[:-1])
        if node is None or to_parent is None:
            return errno.ENOENT
        if to_parent.kind != "directory":
            return errno.ENOTDIR
        if kind == "link":
            if there is not None:
                return errno.EEXIST
            return errno.EPERM if node.kind == "directory" else 0
        if node is there:
            return 0
        if to[: len(path)] == path:
            return errno.EINVAL
        if path[: len(to)] == to:
            return errno.ENOTEMPTY
        if there is None:
            return 0
        if node.kind == "directory":
            if there.kind != "directory":
                return errno.ENOTDIR
            return errno.ENOTEMPTY if there.names else 0
        return errno.EISDIR if there.kind == "directory" else 0

    def _apply(self, actor: str, move: Move) -> None:
        kind = move["do"]
        if kind in ("list", "read", "chmod", "utime"):
            return
        if kind in ("put", "sync", "drop"):
            self._apply_to_held(actor, move)
            return
        path = split(move["path"])
        node, parent = self.at(path), self.at(path[:-1])
        assert parent is not None
        match kind:
            case "write":
                if node is None:
                    node = parent.names[path[-1]] = Node("file")
                self._set(node, content_of(move))
            case "append":
                assert node is not None
                self._set(node, node.content + content_of(move))
            case "patch":
                assert node is not None
                self._patch(node, move)
            case "truncate":
                assert node is not None
                self._set(node, node.content[: move["size"]].ljust(move["size"], b"\0"))
            case "mkdir":
                parent.names[path[-1]] = Node("directory")
            case "symlink":
                parent.names[path[-1]] = Node("symlink", target=move["target"])
            case "rmdir" | "unlink":
                assert node is not None
                self._removed(path)
                del parent.names[path[-1]]
            case "hold":
                self.held[actor, move["number"]] = node
            case "fsync":
                assert node is not None
                self._synced(node)
            case "link":
                to = split(move["to"])
                directory = self.at(to[:-1])
                assert directory is not None
                assert node is not None
                directory.names[to[-1]] = node
            case "rename":
                assert node is not None
                self._rename(path, split(move["to"]), parent, node)

    def _rename(self, path: Path, to: Path, parent: Node, node: Node) -> None:
        directory = self.at(to[:-1])
        assert directory is not None
        if directory.names.get(to[-1]) is node:
            return  # two names of one object
        self._removed(path)
        self._removed(to)
        del parent.names[path[-1]]
        directory.names[to[-1]] = node

    def _removed(self, path: Path) -> None:
        """Something loses *path*; what was contested below it makes all of it so."""
        for synced in [each for each in self.synced if each[: len(path)] == path]:
            del self.synced[synced]
        if self._holds_contested(path):
            self.contest(path)

    def _apply_to_held(self, actor: str, move: Move) -> None:
        key = actor, move["number"]
        node = self.held.get(key)
        if move["do"] == "drop":
            self.held.pop(key, None)
        elif node is None:
            return
        elif move["do"] == "put":
            self._patch(node, move)
        else:
            self._synced(node)

    def _patch(self, node: Node, move: Move) -> None:
        data, offset = content_of(move), move["offset"]
        before = node.content.ljust(offset, b"\0")
        self._set(node, before[:offset] + data + before[offset + len(data) :])

    def _set(self, node: Node, content: bytes) -> None:
        node.content = content
        self._touched(node)

    def _touched(self, node: Node) -> None:
        for path in self.paths_of(node):
            self.synced.pop(path, None)

    def _synced(self, node: Node) -> None:
        if node.kind == "file":
            for path in self.paths_of(node):
                self.synced[path] = node.content

    # Comparing

    def missing(self, host: "dict[Path, tuple[str, bytes]]") -> list[tuple[Path, str]]:
        """Where *host*, by path its kind and content, is not what the guest was told it is."""
        wrong = []
        for path, node in self.walk():
            if self.is_contested(path):
                continue
            there = host.get(path)
            if there is None:
                wrong.append((path, "is not on the host"))
            elif there[0] != node.kind:
                wrong.append((path, f"is a {there[0]} on the host, not a {node.kind}"))
            elif node.kind == "file" and there[1] != node.content:
                wrong.append((path, f"holds {_brief(there[1])}, not {_brief(node.content)}"))
            elif node.kind == "symlink" and there[1] != node.target.encode():
                wrong.append((path, "leads elsewhere"))
        for path in host:
            if not self.is_contested(path) and self.at(path) is None:
                wrong.append((path, "is on the host, and the guest took it away"))
        return wrong

    def unsynced(self, host: "dict[Path, tuple[str, bytes]]") -> list[tuple[Path, str]]:
        """Which synced files are not on *host* as they were synced."""
        wrong = []
        for path, content in self.synced.items():
            if not self.is_contested(path):
                there = host.get(path)
                if there is None or there[1] != content:
                    found = _brief(there[1]) if there else "nothing"
                    wrong.append((path, f"was synced as {_brief(content)}, and is {found}"))
        return wrong

    def adopt(self, host: "dict[Path, tuple[str, bytes]]", inodes: "dict[Path, int]") -> None:
        """Both sides are *host* now: nothing is contested. *inodes* tells which names are one."""
        self.root = Node("directory")
        self.contested.clear()
        self.held.clear()
        self.synced.clear()
        by_inode: dict[int, Node] = {}
        for path in sorted(host, key=len):
            kind, content = host[path]
            node = Node(kind, content if kind == "file" else b"")
            if kind == "symlink":
                node.target = content.decode()
            if kind != "directory":
                node = by_inode.setdefault(inodes[path], node)
            parent = self.at(path[:-1])
            assert parent is not None
            parent.names[path[-1]] = node


def _brief(content: bytes) -> str:
    return f"{content[:12]!r} ({len(content)} bytes)"
