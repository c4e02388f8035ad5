"""What must be on both sides: the guest's tree as a value, and which names are contested.

A name is contested when the host has touched it, or two guests have at once, or a move of it
failed half way: then only that both sides agree can be demanded. Of all others the guest's
acknowledged moves decide alone.

What the host touches it knows by the name that the host has for it, which may be one that the
guest has changed since: where each object has been since both sides last agreed is remembered.
"""

import errno
import unicodedata
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from adversary.moves import LOOKS, Move, is_of_held

Path = tuple[str, ...]

HARMLESS = frozenset(
    {
        *(errno.ENOENT, errno.EEXIST, errno.ENOTEMPTY, errno.ENOTDIR, errno.EISDIR),
        *(errno.EINVAL, errno.ELOOP, errno.EACCES, errno.EPERM, errno.EXDEV, errno.EOPNOTSUPP),
    }
)
"""What a move may be told that was refused, and has done nothing."""


_FOLLOWING = ("write", "append", "patch", "truncate", "hold", "map")
_FOLLOWING += ("chmod", "utime", "fsync", "read", "list", "attribute")
_OF_FILES = ("append", "patch", "truncate", "hold", "map")


@dataclass(frozen=True)
class Seen:
    """What is seen of an object on one side."""

    kind: str
    content: bytes = b""
    """Of a link, where it leads."""
    mode: int = 0
    mtime_s: int = 0
    links: int = 1
    attribute: bytes = b""
    is_readable: bool = True


@dataclass(eq=False)
class Node:
    """An object: a directory with *names*, a file with *content*, or a link to *target*."""

    kind: str
    content: bytes = b""
    target: str = ""
    mode: int | None = None
    """Where it is known."""
    mtime_s: int | None = None
    """Where somebody has set it, and nothing has changed it since."""
    attribute: bytes = b""
    names: "dict[str, Node]" = field(default_factory=dict)
    """By their names as Expected.fold makes them."""
    spelled: dict[str, str] = field(default_factory=dict)
    """How names are spelled that fold, where it is known."""


@dataclass
class Held:
    """What an actor holds open; None where it is not known what."""

    node: Node | None
    appends: bool = False


def split(path: str) -> Path:
    return tuple(each for each in path.split("/") if each)


def content_of(move: Move) -> bytes:
    token: bytes = move["token"].encode()
    return (token * (move["size"] // len(token) + 1))[: move["size"]]


def exactly(name: str) -> str:
    """Each name is another."""
    return name


def without_case(name: str) -> str:
    """Names that differ in case, or in how they are composed, are one: the judge's own rule."""
    return unicodedata.normalize("NFD", unicodedata.normalize("NFD", name).casefold())


class Expected:
    """The guest's tree, as its moves have made it."""

    def __init__(
        self,
        *,
        strict: bool = True,
        fold: Callable[[str], str] = exactly,
        excused: Iterable[int] = (),
        has_attributes: bool = True,
    ) -> None:
        """Where it is not *strict* permissions decide, too, which are not looked at here.

        Names are one that *fold* makes one. *excused* is what a guest may be answered although
        nobody has touched what it asks for, as by a full disk.
        """
        self.fold = fold
        self.excused = frozenset(excused)
        self.has_attributes = has_attributes
        self.root = Node("directory")
        self.contested: set[Path] = set()
        self.held: dict[tuple[str, str], Held] = {}
        self.strict = strict
        self.synced: dict[Path, bytes] = {}
        """Files whose content was synced, and has not been touched since."""
        self.synced_names: dict[Path, str] = {}
        """Names that a sync of their directory has told, with their kinds."""
        self._been: dict[Path, list[Node]] = {}
        """What has been where, since both sides agreed."""
        self.touched: set[Path] = set()
        """Where that has been which the host has touched: a conflict may be counted there."""
        self._held_by_host: dict[tuple[str, str], list[Node]] = {}
        """What each handle of the host's may be of."""
        self.checked: dict[str, int] = {}
        """How often what was demanded, so that a judge who judges nothing is found out."""

    def count(self, what: str, number: int = 1) -> None:
        self.checked[what] = self.checked.get(what, 0) + number

    # What is there

    def split(self, path: str) -> Path:
        return tuple(map(self.fold, split(path)))

    def folded(self, path: Path) -> Path:
        return tuple(map(self.fold, path))

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

    def holds_contested(self, path: Path) -> bool:
        return any(each[: len(path)] == path for each in self.contested)

    def contest(self, path: Path) -> None:
        """Nobody can say what is at *path*, below it, or at other names of what is there."""
        self.contested.add(path)
        self._forget_synced(path)
        parent = self.at(path[:-1])
        if parent is not None:
            parent.mtime_s = None
        node = self.at(path)
        if node is not None:
            self._contest_object(node)

    def _contest_object(self, node: Node) -> None:
        self.touched |= {path for path, nodes in self._been.items() if node in nodes}
        for each in [node, *(below for _, below in self.walk(node))]:
            self._touched(each)
            for held in self.held.values():
                if held.node is each:
                    held.node = None
            if each.kind != "directory":
                for path in self.paths_of(each):
                    self.contested.add(path)
                    self._forget_synced(path)

    def unknown_handles(self) -> set[tuple[str, str]]:
        return {key for key, held in self.held.items() if held.node is None}

    # Moves

    def involved(self, actor: str, move: Move) -> list[Path]:
        """The paths that *move* touches."""
        if is_of_held(move):
            held = self.held.get((actor, move["number"]))
            return self.paths_of(held.node) if held and held.node is not None else []
        if "path" not in move:
            return []
        paths = [self.split(move["path"])]
        if "to" in move:
            paths.append(self.split(move["to"]))
        if move["do"] == "replace":
            paths.append(self.split(move["path"] + ".new"))
        for path in list(paths):
            node = self.at(path)
            if node is not None and node.kind != "directory":
                paths += self.paths_of(node)
        return paths

    def by_host(self, actor: str, move: Move) -> None:
        """The host's *actor* has done, or tried, *move*."""
        if move["do"] == "hold":
            path = self.split(move["path"])
            there = [self.at(path), *self._been.get(path, ())]
            self._held_by_host[actor, move["number"]] = [each for each in there if each is not None]
        if move["do"] in LOOKS:
            return
        if is_of_held(move):
            for node in self._held_by_host[actor, move["number"]]:
                for path in self.paths_of(node):
                    self.contest(path)
                self._contest_object(node)
            return
        paths = self.involved(actor, move)
        for path in list(paths):
            for length in range(1, len(path) + 1):
                for node in self._been.get(path[:length], ()):
                    # The host's name for what the guest has moved elsewhere since.
                    if length == len(path):
                        self._contest_object(node)
                    paths += [(*moved, *path[length:]) for moved in self.paths_of(node)]
            for been, nodes in self._been.items():
                if been[: len(path)] == path:
                    for node in nodes:
                        self._contest_object(node)
                        paths += self.paths_of(node)
        for path in paths:
            self.contest(path)

    def by_guest(self, actor: str, move: Move, code: int, value: object = None) -> str:
        """A guest's *actor* was answered *code*, 0 for yes. What is wrong with that, or nothing."""
        if not self._is_known(actor, move):
            self.lose_track(actor, move, code)
            return ""
        predicted = self._predict(actor, move)
        if code and code in self.excused:
            self.lose_track(actor, move, code)
            return ""
        if code in (errno.EACCES, errno.EPERM) and not self.strict:
            return ""
        self.count("answers")
        if code == 0 and predicted:
            return f"it was done, and should be refused with {errno.errorcode[predicted]}"
        if code and not predicted:
            return f"it was refused with {errno.errorcode.get(code, code)}, and should be done"
        if code != predicted and self.strict:
            told, right = (errno.errorcode.get(each, str(each)) for each in (code, predicted))
            return f"it was refused with {told}, and should be with {right}"
        if code:
            return ""
        wrong = self._judge_value(actor, move, value)
        self._apply(actor, move)
        return wrong

    def _judge_value(self, actor: str, move: Move, value: object) -> str:
        """What a guest has read of what nobody else has touched is what guests have made."""
        if move["do"] == "look":
            node = self.held[actor, move["number"]].node
        elif move["do"] in ("read", "list"):
            node = self.at(self.split(move["path"]))
        else:
            return ""
        assert node is not None
        if move["do"] == "list":
            path = self.split(move["path"])
            if self.holds_contested(path):
                return ""
            right: object = sorted(node.names)
            if self.fold is not exactly:
                assert isinstance(value, list)
                if wrong := _misspelled(node, value, self.fold):
                    return wrong
                value = sorted(map(self.fold, value))
        else:
            right = summary(node.content)
        self.count("reads")
        return "" if value == right else f"it was told {value}, and should be {right}"

    def _is_known(self, actor: str, move: Move) -> bool:
        """Whether the guest's own moves alone decide what comes of *move*."""
        if is_of_held(move):
            held = self.held.get((actor, move["number"]))
            if held is None or held.node is None:
                return False
        paths = self.involved(actor, move)
        if any(map(self.is_contested, paths)):
            return False
        if move["do"] in ("rmdir", "rename", "exchange"):
            return not any(map(self.holds_contested, paths))
        return True

    def lose_track(self, actor: str, move: Move, code: int) -> None:
        """It is not known what of *move* was done."""
        if move["do"] not in LOOKS:
            for path in self.involved(actor, move):
                self.contest(path)
        if move["do"] == "hold" and code == 0:
            self.held[actor, move["number"]] = Held(None)
        elif move["do"] == "drop":
            self.held.pop((actor, move["number"]), None)

    def _predict(self, actor: str, move: Move) -> int:
        """The errno that *move* must be answered with; 0 where it must be done."""
        kind = move["do"]
        if is_of_held(move):
            return 0
        path = self.split(move["path"])
        if kind in ("link", "rename", "exchange"):
            return self._predict_two(kind, path, self.split(move["to"]))
        wrong = self._predict_parent(path)
        if wrong:
            return wrong
        node = self.at(path)
        if kind in _FOLLOWING and node is not None and node.kind == "symlink":
            return errno.ENOENT  # all lead nowhere
        match kind:
            case "mkdir" | "symlink":
                return errno.EEXIST if node is not None else 0
            case "write":
                return errno.EISDIR if node is not None and node.kind == "directory" else 0
        if node is None:
            return errno.ENOENT
        is_directory = node.kind == "directory"
        match kind:
            case "rmdir":
                if not is_directory:
                    return errno.ENOTDIR
                return errno.ENOTEMPTY if node.names else 0
            case "list":
                return 0 if is_directory else errno.ENOTDIR
            case "append" | "patch" | "truncate" | "hold" | "map" | "unlink" | "read":
                return errno.EISDIR if is_directory else 0
            case "attribute" if not self.has_attributes:
                return errno.EOPNOTSUPP
            case "chmod" | "utime" | "fsync" | "attribute":
                return 0
        raise AssertionError(kind)

    def _predict_parent(self, path: Path) -> int:
        """The errno of the way to *path*, where there is none."""
        here = self.root
        for name in path[:-1]:
            below = here.names.get(name)
            if below is None or below.kind == "symlink":  # all lead nowhere
                return errno.ENOENT
            if below.kind != "directory":
                return errno.ENOTDIR
            here = below
        return 0

    def _predict_two(self, kind: str, path: Path, to: Path) -> int:
        if kind == "link":
            # Linux looks what is linked up before the way to its new name.
            wrong = self._predict_parent(path) or (0 if self.at(path) else errno.ENOENT)
            wrong = wrong or self._predict_parent(to)
        else:
            wrong = self._predict_parent(path) or self._predict_parent(to)
        if wrong:
            return wrong
        node, there = self.at(path), self.at(to)
        if node is None:
            return errno.ENOENT
        if kind == "link":
            if there is not None:
                return errno.EEXIST
            return errno.EPERM if node.kind == "directory" else 0
        if kind == "exchange" and there is None:
            return errno.ENOENT
        if path != to and to[: len(path)] == path:
            # Into itself: into its own depth, and not only onto something in it.
            return errno.EINVAL
        if path != to and path[: len(to)] == to:
            return errno.EINVAL if kind == "exchange" else errno.ENOTEMPTY
        if there is None or node is there or kind == "exchange":
            return 0
        if node.kind == "directory":
            if there.kind != "directory":
                return errno.ENOTDIR
            return errno.ENOTEMPTY if there.names else 0
        return errno.EISDIR if there.kind == "directory" else 0

    def _apply(self, actor: str, move: Move) -> None:
        kind = move["do"]
        if kind in ("list", "read"):
            return
        if is_of_held(move):
            self._apply_to_held(actor, move)
            return
        path = self.split(move["path"])
        node, parent = self.at(path), self.at(path[:-1])
        assert parent is not None
        match kind:
            case "write":
                if node is None:
                    node = self._make(path, Node("file", mode=0o644), move["path"])
                self._set(node, content_of(move))
                if move.get("synced"):
                    self._synced(node)
            case "mkdir":
                self._make(path, Node("directory", mode=move["mode"]), move["path"])
            case "symlink":
                self._make(path, Node("symlink", target=move["target"]), move["path"])
            case "rmdir" | "unlink":
                self._removed(path)
                del parent.names[path[-1]]
                parent.spelled.pop(path[-1], None)
            case "link" | "rename" | "exchange":
                assert node is not None
                self._apply_two(kind, path, move["to"], node)
            case _:
                assert node is not None
                self._apply_to_node(actor, node, move)

    def _apply_to_node(self, actor: str, node: Node, move: Move) -> None:
        match move["do"]:
            case "append":
                self._set(node, node.content + content_of(move))
                if move.get("synced"):
                    self._synced(node)
            case "patch" | "map":
                self._patch(node, move)
            case "truncate":
                self._set(node, node.content[: move["size"]].ljust(move["size"], b"\0"))
            case "hold":
                self.held[actor, move["number"]] = Held(node, move.get("appends", False))
            case "fsync":
                self._synced(node)
            case "chmod":
                node.mode = move["mode"]
            case "utime":
                node.mtime_s = move["at_s"]
            case "attribute":
                node.attribute = move["token"].encode()

    def _make(self, path: Path, node: Node, spelled: str = "") -> Node:
        parent = self.at(path[:-1])
        assert parent is not None
        parent.names[path[-1]] = node
        parent.spelled.pop(path[-1], None)
        if spelled:
            parent.spelled[path[-1]] = split(spelled)[-1]
        parent.mtime_s = None
        return node

    def _apply_two(self, kind: str, path: Path, spelled: str, node: Node) -> None:
        to = self.split(spelled)
        there, above = self.at(to), self.at(to[:-1])
        if there is node:
            if path == to and above is not None and kind == "rename":
                above.spelled[to[-1]] = split(spelled)[-1]
            return  # two names of one object
        if kind != "link":
            self._moved(path, node)
            self._removed(path)
            self._removed(to)
            if kind == "exchange":
                assert there is not None
                self._moved(to, there)
                self._make(path, there)
            else:
                parent = self.at(path[:-1])
                assert parent is not None
                parent.mtime_s = None
                del parent.names[path[-1]]
                parent.spelled.pop(path[-1], None)
        self._make(to, node, spelled if kind != "exchange" else "")

    def _moved(self, path: Path, node: Node) -> None:
        self._been.setdefault(path, []).append(node)
        for below, each in self.walk(node, path):
            self._been.setdefault(below, []).append(each)

    def _removed(self, path: Path) -> None:
        """Something loses *path*; what was contested below it makes all of it so."""
        self._forget_synced(path)
        parent = self.at(path[:-1])
        if parent is not None:
            parent.mtime_s = None
        node = self.at(path)
        if node is not None:
            self._moved(path, node)  # somebody may hold it, or it has other names
        if self.holds_contested(path):
            self.contest(path)

    def _forget_synced(self, path: Path) -> None:
        for known in (self.synced, self.synced_names):
            for each in [each for each in known if each[: len(path)] == path]:
                del known[each]

    def _apply_to_held(self, actor: str, move: Move) -> None:
        key = actor, move["number"]
        held = self.held[key]
        assert held.node is not None
        match move["do"]:
            case "drop":
                del self.held[key]
            case "put" if held.appends:
                self._set(held.node, held.node.content + content_of(move))
            case "put":
                self._patch(held.node, move)
            case "cut":
                size = move["size"]
                self._set(held.node, held.node.content[:size].ljust(size, b"\0"))
            case "sync":
                self._synced(held.node)

    def _patch(self, node: Node, move: Move) -> None:
        data, offset = content_of(move), move["offset"]
        before = node.content.ljust(offset, b"\0")
        self._set(node, before[:offset] + data + before[offset + len(data) :])

    def _set(self, node: Node, content: bytes) -> None:
        node.content = content
        node.mtime_s = None
        self._touched(node)

    def _touched(self, node: Node) -> None:
        for path in self.paths_of(node):
            self.synced.pop(path, None)

    def _synced(self, node: Node) -> None:
        for path in self.paths_of(node):
            if node.kind == "file":
                self.synced[path] = node.content
                self.synced_names[path] = node.kind
            elif node.kind == "directory":
                for name, each in node.names.items():
                    if not self.is_contested((*path, name)):
                        self.synced_names[*path, name] = each.kind

    # Comparing

    def missing(self, host: "dict[Path, Seen]") -> list[tuple[Path, str]]:
        """Where *host* is not what the guest was told it is."""
        wrong = []
        spelled: dict[Path, list[str]] = {}
        for path in host:
            spelled.setdefault(self.folded(path[:-1]), []).append(path[-1])
        host = {self.folded(path): seen for path, seen in host.items()}
        for path, node in self.walk():
            if self.is_contested(path):
                continue
            self.count("kept")
            self.count("kept bytes", len(node.content))
            there = host.get(path)
            why = "is not on the host" if there is None else _differs(node, there)
            if not why and node.kind == "directory" and not self.holds_contested(path):
                why = _misspelled(node, spelled.get(path, []), self.fold)
            if why:
                wrong.append((path, why))
        if not self.holds_contested(()):
            why = _misspelled(self.root, spelled.get((), []), self.fold)
            wrong += [((), why)] if why else []
        for path in host:
            if not self.is_contested(path) and self.at(path) is None:
                wrong.append((path, "is on the host, and the guest took it away"))
        return wrong

    def unsynced(self, host: "dict[Path, Seen]") -> list[tuple[Path, str]]:
        """Which synced files are not on *host* as they were synced."""
        wrong = []
        host = {self.folded(path): seen for path, seen in host.items()}
        for path, content in self.synced.items():
            self.count("synced")
            there = host.get(path)
            if there is None or (there.is_readable and there.content != content):
                found = _brief(there.content) if there else "nothing"
                wrong.append((path, f"was synced as {_brief(content)}, and is {found}"))
        for path, kind in self.synced_names.items():
            self.count("synced names")
            there = host.get(path)
            if there is None or there.kind != kind:
                found = there.kind if there else "nothing"
                wrong.append((path, f"was synced as a {kind}, and is {found}"))
        return wrong

    def adopt(self, host: "dict[Path, Seen]", inodes: "dict[Path, int]") -> None:
        """Both sides are *host* now: only pipes are contested. *inodes* tells which names are one.

        Nobody has a handle of what is not known.
        """
        named = [(each, self.paths_of(each.node)) for each in self.held.values() if each.node]
        self.root = Node("directory")
        self.contested.clear()
        self.synced.clear()
        self.synced_names.clear()
        self._been.clear()
        self.touched.clear()
        self._held_by_host.clear()
        by_inode: dict[int, Node] = {}
        by_fold: dict[Path, list[Path]] = {}
        for path in host:
            by_fold.setdefault(self.folded(path), []).append(path)
        for path in sorted(by_fold, key=len):
            seen, spelled = host[by_fold[path][0]], by_fold[path][0]
            if len(by_fold[path]) > 1 or self.is_contested(path):
                self.contested.add(path)  # which of them the guest has nobody can say
                continue
            node = Node(seen.kind, mode=seen.mode, attribute=seen.attribute)
            if seen.kind == "symlink":
                node.target = seen.content.decode()
            elif seen.kind == "file":
                node.content = seen.content
            if seen.kind != "directory":
                node = by_inode.setdefault(inodes[spelled], node)
            parent = self.at(path[:-1])
            assert parent is not None
            parent.names[path[-1]] = node
            parent.spelled[path[-1]] = spelled[-1]
            if seen.kind == "other":
                self.contested.add(path)  # nobody tells what comes of what
        for each, paths in named:
            if paths:  # else it has lost its names, and is still what it was
                each.node = self.at(paths[0])


def _differs(node: Node, there: Seen) -> str:
    """What is wrong with what is *there*, where *node* should be."""
    if there.kind != node.kind:
        return f"is a {there.kind} on the host, not a {node.kind}"
    if node.kind == "symlink":
        return "" if there.content == node.target.encode() else "leads elsewhere"
    if not there.is_readable:
        return ""
    if node.kind == "file" and there.content != node.content:
        return f"holds {_brief(there.content)}, not {_brief(node.content)}"
    if node.mode is not None and there.mode != node.mode:
        return f"has the mode {there.mode:o}, not {node.mode:o}"
    if node.mtime_s is not None and there.mtime_s != node.mtime_s:
        return f"is of {there.mtime_s}, not {node.mtime_s}"
    if there.attribute != node.attribute:
        return f"has the attribute {there.attribute!r}, not {node.attribute!r}"
    return ""


def _misspelled(node: Node, names: Iterable[str], fold: Callable[[str], str]) -> str:
    """What is wrong with how *names* are spelled, which are all of *node*'s."""
    seen: dict[str, str] = {}
    for name in names:
        if fold(name) in seen:
            return f"holds {name!r} and {seen[fold(name)]!r}, which are one name"
        seen[fold(name)] = name
    for key, name in seen.items():
        right = node.spelled.get(key, name)
        # How it is composed is the rules' own matter.
        if _composed(name) != _composed(right):
            return f"spells {name!r}, and the guest spelled it {right!r}"
    return ""


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def summary(content: bytes) -> list[object]:
    """As an actor tells what it has read."""
    return [
        len(content),
        content[:16].decode("latin-1"),
        content[-16:].decode("latin-1"),
        zlib.crc32(content),
    ]


def _brief(content: bytes) -> str:
    return f"{content[:12]!r} ({len(content)} bytes)"
