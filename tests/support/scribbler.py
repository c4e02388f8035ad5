"""A guest that makes random changes, one system call each, and knows what comes of them.

Its tree is a value (prefixes.Tree), so that every state it has been in can be kept. No single
write crosses a page's boundary: the guest's kernel would make more than one request of it where
it does not know the rest of a page (fuse_fill_write_pages in fs/fuse/file.c), and a write on the
host that is killed may end at one (generic_perform_write in mm/filemap.c). Longer data is written
page by page, and each page is a state.
"""

import errno
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

from support.prefixes import History, Node, Tree, alive_in, written

DEAD = (errno.ENOTCONN, errno.ECONNABORTED)
"""What a guest hears whose share has lost its server."""

_MODES = (0o600, 0o640, 0o644, 0o755, 0o700)
_DIRECTORY_MODES = (0o700, 0o750, 0o755)
_SIZES = (1, 5, 100, 1_000, 3_000, 4_096, 5_000, 9_000, 65_536)
_NAMES = "abcdef"
_MOST_PATHS = 60
_DEEPEST = 3
_MOST_OPEN = 4
_PAGE_BYTES = 4_096


@dataclass(frozen=True)
class Step:
    """One system call (and the open and close around it), and the tree after it."""

    text: str
    do: Callable[[], None]
    after: Tree
    syncs: object = None


def furnish(root: Path) -> None:
    """What the host has before the share begins."""
    for name in ("d", "d/e", "g"):
        (root / name).mkdir()
        (root / name).chmod(0o755)
    for number, path in enumerate(("a", "b", "d/a", "d/b", "d/e/c", "g/f")):
        (root / path).write_bytes(b"host %d " % number * 300 * (1 + number))
        (root / path).chmod(0o644)
    os.link(root / "a", root / "d" / "c")
    os.link(root / "d" / "e" / "c", root / "g" / "c")
    os.symlink("d/a", root / "s")


class Scribbler:
    """Works below *root*, which looks like *tree* in the beginning."""

    def __init__(self, root: Path, tree: Tree, random: Random, *, sync_rate: float = 0.02) -> None:
        self.root = root
        self.random = random
        self.history = History(tree)
        self.under_way: Step | None = None
        self.log: list[str] = []
        self._sync_rate = sync_rate
        self._number = 0
        self._is_mounted = os.path.ismount(self.root)
        self._open: list[tuple[int, object]] = []

    @property
    def tree(self) -> Tree:
        return self.history.last

    def run(self, steps: int, before: Callable[[int], None] = lambda _: None) -> bool:
        """Make so many changes; False if the share has died. *before* is told of each."""
        try:
            done = 0
            while done < steps:
                for step in self._story():
                    before(done)
                    if not self._take(step):
                        return False
                    done += 1
            return True
        finally:
            for fd, _ in self._open:
                _close(fd)
            self._open.clear()

    def _take(self, step: Step) -> bool:
        self.under_way = step
        self.log.append(step.text)
        try:
            step.do()
        except OSError as error:
            # A share that died a while ago is not mounted any more.
            if error.errno in DEAD or (self._is_mounted and not os.path.ismount(self.root)):
                return False
            raise AssertionError(f"{step.text}: {error}; before it: {self.log[-30:]}") from error
        self.under_way = None
        if step.syncs is not None:
            self.history.sync(step.syncs)
        elif step.after is not self.tree:
            self.history.add(step.after)
        return True

    def outcomes(self) -> list[History]:
        """What may have happened: all that was answered, with or without what was not."""
        if self.under_way is None or self.under_way.after is self.tree:
            return [self.history]
        with_last = self.history.copy()
        with_last.add(self.under_way.after)
        return [self.history, with_last]

    # What to do next

    def _story(self) -> Iterator[Step]:
        if self._chance(self._sync_rate):
            yield from self._sync()
            return
        stories = [
            (self._create, 5),
            (self._write, 6),
            (self._append, 3),
            (self._truncate, 2),
            (self._rewrite, 2),
            (self._save, 2),
            (self._rename, 5),
            (self._link, 2),
            (self._symlink, 1),
            (self._unlink, 3),
            (self._mkdir, 2),
            (self._rmdir, 1),
            (self._temporary_directory, 2),
            (self._chmod, 2),
            (self._write_to_open, 3),
        ]
        story = self.random.choices([s for s, _ in stories], [w for _, w in stories])[0]
        yield from story()

    def _chance(self, probability: float) -> bool:
        return self.random.random() < probability

    def _paths(self, *kinds: str) -> list[str]:
        return sorted(path for path, node in self.tree.items() if node.kind in kinds)

    def _some(self, *kinds: str) -> str | None:
        paths = self._paths(*kinds)
        return self.random.choice(paths) if paths else None

    def _place(self) -> str:
        """Where something may be, or be put."""
        above = [path for path in self._paths("directory") if path.count("/") < _DEEPEST - 1]
        parent = self.random.choice(["", *above])
        name = self.random.choice(_NAMES)
        return f"{parent}/{name}" if parent else name

    def _free_place(self) -> str | None:
        path = self._place()
        return path if path not in self.tree and len(self.tree) < _MOST_PATHS else None

    def _data(self) -> bytes:
        self._number += 1
        size = self.random.choice(_SIZES)
        if size > 10_000 and self._chance(0.7):
            size = 2_000
        token = b"%d." % self._number
        return (token * (size // len(token) + 1))[:size]

    def _new(self) -> str:
        self._number += 1
        return f"object {self._number}"

    # Steps

    def _make(self, path: str, *, keeps_open: bool = False) -> Step:
        node = Node("file", self.random.choice(_MODES), b"", self._new())

        def do() -> None:
            fd = os.open(self.root / path, os.O_CREAT | os.O_EXCL | os.O_RDWR, node.mode)
            if keeps_open:
                self._open.append((fd, node.object))
            else:
                os.close(fd)

        return Step(f"create {path}", do, {**self.tree, path: node})

    def _put(self, path: str, offset: int, data: bytes, flags: int = 0) -> Iterator[Step]:
        for start, part in _in_pages(offset, data):
            yield self._put_part(path, start, part, flags)

    def _put_part(self, path: str, offset: int, data: bytes, flags: int) -> Step:
        def do() -> None:
            fd = os.open(self.root / path, os.O_WRONLY | flags)
            try:
                if flags & os.O_APPEND:
                    assert os.write(fd, data) == len(data)
                else:
                    assert os.pwrite(fd, data, offset) == len(data)
            finally:
                _close(fd)

        text = f"write {path} {offset} {len(data)} {data[:8]!r}"
        return Step(text, do, written(self.tree, self.tree[path].object, offset, data))

    def _create(self) -> Iterator[Step]:
        path = self._free_place()
        if path is not None:
            yield self._make(path, keeps_open=len(self._open) < _MOST_OPEN)
            for _ in range(self.random.randrange(3)):
                yield from self._put(path, len(self.tree[path].content), self._data())

    def _write(self) -> Iterator[Step]:
        path = self._some("file")
        if path is not None:
            offset = self.random.randrange(len(self.tree[path].content) + 2_000)
            yield from self._put(path, offset, self._data())

    def _append(self) -> Iterator[Step]:
        path = self._some("file")
        if path is not None and len(self.tree[path].content) < 200_000:
            for _ in range(self.random.randrange(1, 4)):
                size = len(self.tree[path].content)
                yield from self._put(path, size, self._data(), os.O_APPEND)

    def _cut(self, path: str, size: int, call: Callable[[], None]) -> Step:
        after = dict(self.tree)
        for each, node in self.tree.items():
            if node.object == self.tree[path].object:
                content = node.content[:size].ljust(size, b"\0")
                after[each] = node._replace(content=content)
        return Step(f"truncate {path} {size}", call, after)

    def _truncate(self) -> Iterator[Step]:
        path = self._some("file")
        if path is not None:
            size = self.random.choice((0, 1, 100, 4_096, 5_000, 20_000))
            yield self._cut(path, size, lambda: os.truncate(self.root / path, size))

    def _rewrite(self) -> Iterator[Step]:
        """As a shell's > does."""
        path = self._some("file")
        if path is not None:
            flags = os.O_WRONLY | os.O_TRUNC
            yield self._cut(path, 0, lambda: _close(os.open(self.root / path, flags)))
            for _ in range(self.random.randrange(3)):
                yield from self._put(path, len(self.tree[path].content), self._data())

    def _save(self) -> Iterator[Step]:
        """As an editor does: a new file, synced perhaps, in place of the old."""
        path = self._some("file")
        if path is None or f"{path}~" in self.tree:
            return
        yield self._make(f"{path}~")
        yield from self._put(f"{path}~", 0, self._data())
        if self._chance(self._sync_rate * 5):
            yield self._sync_of(f"{path}~")
        if path in self.tree:
            yield self._move(f"{path}~", path)

    def _move(self, old: str, new: str) -> Step:
        after: dict[str, Node] = {}
        moves = self.tree[old].object != (self.tree[new].object if new in self.tree else None)
        for path, node in self.tree.items():
            if path == old or path.startswith(f"{old}/"):
                after[new + path[len(old) :] if moves else path] = node
            elif path != new or not moves:
                after.setdefault(path, node)
        text = f"rename {old} {new}"
        return Step(text, lambda: os.rename(self.root / old, self.root / new), after)

    def _rename(self) -> Iterator[Step]:
        old = self._some("file", "file", "symlink", "directory")
        if old is None:
            return
        new = self._place()
        is_directory = self.tree[old].kind == "directory"
        if new.startswith(f"{old}/") or new == old or old.startswith(f"{new}/"):
            return
        there = self.tree.get(new)
        if there is not None and (is_directory != (there.kind == "directory") or self._inside(new)):
            return
        if is_directory and new.count("/") + self._depth(old) > _DEEPEST:
            return
        yield self._move(old, new)

    def _inside(self, path: str) -> bool:
        return any(each.startswith(f"{path}/") for each in self.tree)

    def _depth(self, path: str) -> int:
        below = [each.count("/") for each in self.tree if each.startswith(f"{path}/")]
        return max(below, default=path.count("/")) - path.count("/")

    def _link(self) -> Iterator[Step]:
        old, new = self._some("file"), self._free_place()
        if old is not None and new is not None:
            after = {**self.tree, new: self.tree[old]}
            yield Step(
                f"link {old} {new}", lambda: os.link(self.root / old, self.root / new), after
            )

    def _symlink(self) -> Iterator[Step]:
        path = self._free_place()
        if path is not None:
            node = Node("symlink", 0o777, b"to/%d" % self._number, self._new())
            yield Step(
                f"symlink {path}",
                lambda: os.symlink(os.fsdecode(node.content), self.root / path),
                {**self.tree, path: node},
            )

    def _without(self, path: str) -> dict[str, Node]:
        return {each: node for each, node in self.tree.items() if each != path}

    def _remove(self, path: str) -> Step:
        return Step(f"unlink {path}", lambda: os.unlink(self.root / path), self._without(path))

    def _unlink(self) -> Iterator[Step]:
        path = self._some("file", "symlink")
        if path is not None:
            yield self._remove(path)

    def _make_directory(self, path: str) -> Step:
        node = Node("directory", self.random.choice(_DIRECTORY_MODES), b"", self._new())
        return Step(
            f"mkdir {path}",
            lambda: os.mkdir(self.root / path, node.mode),
            {**self.tree, path: node},
        )

    def _remove_directory(self, path: str) -> Step:
        return Step(f"rmdir {path}", lambda: os.rmdir(self.root / path), self._without(path))

    def _mkdir(self) -> Iterator[Step]:
        path = self._free_place()
        if path is not None and path.count("/") < _DEEPEST - 1:
            yield self._make_directory(path)

    def _rmdir(self) -> Iterator[Step]:
        empty = [path for path in self._paths("directory") if not self._inside(path)]
        if empty:
            yield self._remove_directory(self.random.choice(empty))

    def _temporary_directory(self) -> Iterator[Step]:
        """Files in a directory that goes again; some come from outside, some get out."""
        base = self._free_place()
        if base is None or base.count("/") >= _DEEPEST - 1:
            return
        yield self._make_directory(base)
        for name in self.random.sample(_NAMES, 3):
            yield self._make(f"{base}/{name}")
            yield from self._put(f"{base}/{name}", 0, self._data())
        stranger = self._some("file")
        if stranger is not None and self._chance(0.3) and "/" not in stranger:
            yield self._move(stranger, f"{base}/z")
        if self._chance(0.3):
            moved = self._free_place()
            if (
                moved is not None
                and moved.count("/") < _DEEPEST - 1
                and not moved.startswith(f"{base}/")
            ):
                yield self._move(base, moved)
                base = moved
        for path in [each for each in self._paths("file") if each.startswith(f"{base}/")]:
            place = self._place()
            there = self.tree.get(place)
            gets_out = not place.startswith(f"{base}/") and place != base
            if gets_out and (there is None or there.kind != "directory") and self._chance(0.3):
                yield self._move(path, place)
            if path in self.tree and self._chance(0.95):
                yield self._remove(path)
        if base in self.tree and not self._inside(base):
            yield self._remove_directory(base)

    def _chmod(self) -> Iterator[Step]:
        path = self._some("file", "directory")
        if path is None:
            return
        node = self.tree[path]
        mode = self.random.choice(_DIRECTORY_MODES if node.kind == "directory" else _MODES)
        after = {
            each: other._replace(mode=mode) if other.object == node.object else other
            for each, other in self.tree.items()
        }
        yield Step(f"chmod {path} {mode:o}", lambda: os.chmod(self.root / path, mode), after)

    def _write_to_open(self) -> Iterator[Step]:
        """To a file that was renamed or unlinked since it was opened, perhaps."""
        if not self._open:
            return
        fd, target = self._open[self.random.randrange(len(self._open))]
        if self._chance(0.2):
            self._open.remove((fd, target))
            yield Step("close", lambda: os.close(fd), self.tree)
            return
        for start, part in _in_pages(self.random.choice((0, 10, 4_090, 8_192)), self._data()):
            yield self._put_to_open(fd, target, start, part)

    def _put_to_open(self, fd: int, target: object, offset: int, data: bytes) -> Step:
        def do() -> None:
            assert os.pwrite(fd, data, offset) == len(data)

        text = f"write to open {target} {offset} {len(data)}"
        if target not in alive_in(self.tree):
            return Step(text, do, self.tree)
        return Step(text, do, written(self.tree, target, offset, data))

    def _sync_of(self, path: str) -> Step:
        def do() -> None:
            fd = os.open(self.root / path, os.O_RDONLY)
            try:
                os.fsync(fd)
            finally:
                _close(fd)

        return Step(f"sync {path}", do, self.tree, syncs=self.tree[path].object)

    def _sync(self) -> Iterator[Step]:
        path = self._some("file", "directory")
        if path is not None:
            yield self._sync_of(path)


def _in_pages(offset: int, data: bytes) -> Iterator[tuple[int, bytes]]:
    end = offset + len(data)
    while offset < end:
        stop = min(offset - offset % _PAGE_BYTES + _PAGE_BYTES, end)
        yield offset, data[: stop - offset]
        data, offset = data[stop - offset :], stop


def _close(fd: int) -> None:
    """close(2), which says nothing new of a share that has died."""
    try:
        os.close(fd)
    except OSError as error:
        if error.errno not in DEAD:
            raise
