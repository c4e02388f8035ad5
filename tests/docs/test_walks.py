"""The walks of docs/how-it-works.md lead through files and functions that are there, each once.

Two of them are made: a share without its mount answers a request, and which files are entered on
the way, in which order, is written down by the interpreter. A way down that comes back to a file
that it has left is a call up, and only those that the page tells of may be.
"""

import ast
import contextlib
import functools
import os
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType, SimpleNamespace
from typing import Any

import pyfuse3
import pytest

import osxfs_sim
from osxfs_sim.mount.mounts.identity import server_user
from osxfs_sim.mount.requests.entries import Entries
from osxfs_sim.mount.server.assembly import build
from osxfs_sim.settings import ShareSettings

PACKAGE = Path(osxfs_sim.__file__).parent
PAGE = (PACKAGE.parent / "docs" / "how-it-works.md").read_text()
WALKS = "Four walks through the code"
TWICE = "Where a way leads through a file twice"

Walk = list[tuple[str, str]]
"""Files, from the first on, each with the function where it is entered."""

_ROW = re.compile(r"^\| `([\w/.]+\.py)` \| `([\w.]+)` \| .+ \|$", re.MULTILINE)


def section(page: str, heading: str) -> str:
    """What is below *heading*, up to the next one of its level or above."""
    level, _, after = re.split(rf"^(##+) ({re.escape(heading)})$", page, flags=re.MULTILINE)[1:]
    return re.split(rf"^##{{0,{len(level) - 2}}} |^{level} ", after, flags=re.MULTILINE)[0]


def walks_in(page: str) -> dict[str, list[Walk]]:
    """The tables below each heading."""
    found = {}
    for part in section(page, WALKS).split("\n### ")[1:]:
        heading, _, text = part.partition("\n")
        tables = [_ROW.findall(table) for table in text.split("| file | function |")[1:]]
        if heading != TWICE:
            found[heading] = tables
    return found


@functools.cache
def defined_in(path: Path) -> set[str]:
    """Functions and classes, and methods as ``Class.method``."""
    if not path.exists():
        return set()
    names = set()
    for node in ast.parse(path.read_text()).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        if isinstance(node, ast.ClassDef):
            names |= {
                f"{node.name}.{each.name}"
                for each in node.body
                if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)
            }
    return names


def wrong_with(walk: Walk) -> list[str]:
    """Steps that are not there, and files that come twice."""
    files = [file for file, _ in walk]
    return [
        *(f"no {name} in {file}" for file, name in walk if name not in defined_in(PACKAGE / file)),
        *(f"{file} comes twice" for file in sorted({f for f in files if files.count(f) > 1})),
    ]


@pytest.mark.parametrize("heading", walks_in(PAGE))
def test_each_step_is_there_and_no_file_comes_twice(heading: str) -> None:
    for walk in walks_in(PAGE)[heading]:
        assert len(walk) > 5
        assert wrong_with(walk) == []


def test_there_are_the_four_walks() -> None:
    found = walks_in(PAGE)
    assert list(found) == [
        *("A LOOKUP", "A WRITE under write-back", "A change on the host", "compare")
    ]
    assert [len(tables) for tables in found.values()] == [1, 2, 1, 1]
    # Each row of a walk is one that is looked at.
    rows = [line for line in section(PAGE, WALKS).splitlines() if line.startswith("| `")]
    assert len(rows) == sum(len(walk) for tables in found.values() for walk in tables)


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("`Entries.entry`", "`Entries.exit`", "no Entries.exit in mount/requests/entries.py"),
        ("`mount/tree/backing.py`", "`mount/tree/bark.py`", "no Backing.directory_fd in"),
        ("`mount/tree/backing.py`", "`mount/tree/inodes.py`", "mount/tree/inodes.py comes twice"),
    ],
)
def test_a_step_that_is_not_there_is_noticed(old: str, new: str, said: str) -> None:
    (walk,) = walks_in(PAGE.replace(old, new))["A LOOKUP"]
    assert said in "; ".join(wrong_with(walk))


# As it is walked. The library that watches a directory starts a process to find the C library.

CALLER: Any = SimpleNamespace(uid=0, gid=0, pid=0, umask=0)


class Way:
    """The files of ours that are entered while it is watched."""

    def __init__(self) -> None:
        self.entered: list[str] = []
        """Each once, in the order in which they were first entered."""
        self.again: set[tuple[str, ...]] = set()
        """Ways down from a file to the same file, by others in between."""
        self.calls: set[tuple[str, str]] = set()
        """Which file calls into which."""

    @contextlib.contextmanager
    def watched(self) -> Iterator["Way"]:
        before = sys.getprofile()
        sys.setprofile(self._call)
        try:
            yield self
        finally:
            sys.setprofile(before)

    def _call(self, frame: FrameType, event: str, _: object) -> None:
        if event == "call" and (files := files_down_to(frame)):
            self.enter(files)

    def enter(self, files: list[str]) -> None:
        """*files* are those of the callers, and at last the one that is entered."""
        here = files[-1]
        if here not in self.entered:
            self.entered.append(here)
        if len(files) > 1:
            self.calls.add((files[-2], here))
        if here in files[:-1]:
            last = max(at for at, file in enumerate(files[:-1]) if file == here)
            self.again.add(tuple(files[last:]))


def files_down_to(frame: FrameType | None) -> list[str]:
    """Files of ours from the outermost caller to *frame*, which is in one; else none."""
    files: list[str] = []
    inmost = True
    while frame is not None:
        path = Path(frame.f_code.co_filename)
        if path.is_relative_to(PACKAGE):
            file = str(path.relative_to(PACKAGE))
            if not files or files[-1] != file:
                files.append(file)
        elif inmost:
            return []
        inmost = False
        frame = frame.f_back
    return files[::-1]


def driven(work: Any) -> Any:
    """What *work* comes to, where each moment that it waits for has come."""
    try:
        wanted = work.send(None)
        while True:
            wanted = work.send(wanted)
    except StopIteration as done:
        return done.value


@pytest.fixture
def share(tmp_path: Path) -> Iterator[Callable[[str], Any]]:
    """Makes the parts of a share of a profile, all but the mount; there is a file ``x``."""
    made = []
    before = pyfuse3.trio

    def make(profile: str) -> Any:
        source = tmp_path / "source"
        source.mkdir()
        (source / "x").write_text("on the host")
        settings = ShareSettings(
            *(str(source), str(tmp_path / "guest")),
            profile=profile,
            host_events="inotify",
            state_directory=str(tmp_path / "state"),
        )
        parts = build(settings, settings.system(), server_user(None), str(source), "/nowhere", None)
        made.append(parts)
        return parts

    yield make
    pyfuse3.trio = before
    for parts in made:
        if parts.write_back is not None:
            parts.write_back.finish()
            parts.write_back.close(keep=False)
        parts.close()


def looked_up(parts: Any, name: bytes = b"x") -> Any:
    return driven(parts.dispatcher.lookup(parts.inodes.root.number, name, CALLER))


def opened(parts: Any) -> int:
    number = looked_up(parts).st_ino
    handle: int = driven(parts.dispatcher.open(number, os.O_RDWR, CALLER)).fh
    return handle


def rows_with_arrows(page: str) -> set[tuple[str, ...]]:
    """The ways that lead through a file twice, as the page tells of them."""
    rows = [line for line in section(page, TWICE).splitlines() if "` → `" in line]
    return {tuple(re.findall(r"`([\w/.]+\.py)`", line)) for line in rows}


def walk_of(heading: str, number: int = 0) -> list[str]:
    """Its files, from the first one that is entered without a kernel."""
    files = [file for file, _ in walks_in(PAGE)[heading][number]]
    return [file for file in files if file != "mount/loop/reactor.py"]


def calls_up(way: Way, walk: list[str]) -> list[tuple[str, str]]:
    """Calls from a layer of a request to one above it, also where that has returned."""
    layers = [file for file in walk if file.split("/")[1] in ("events", "requests", "writeback")]
    return sorted(
        (caller, called)
        for caller, called in way.calls
        if caller in layers and called in layers and layers.index(called) < layers.index(caller)
    )


def in_order(way: Way, files: list[str]) -> list[str]:
    return [file for file in way.entered if file in files]


@pytest.mark.starts_processes
def test_a_lookup_goes_the_way_that_the_page_tells(share: Callable[[str], Any]) -> None:
    parts = share("osxfs-negative")
    with Way().watched() as way:
        looked_up(parts)
    assert in_order(way, walk_of("A LOOKUP")) == walk_of("A LOOKUP")
    assert way.again == set()
    assert calls_up(way, walk_of("A LOOKUP")) == []


@pytest.mark.starts_processes
@pytest.mark.parametrize("profile", ["osxfs", "osxfs-cached", "osxfs-negative"])
def test_without_write_back_no_lookup_comes_back_to_a_file(
    share: Callable[[str], Any], profile: str
) -> None:
    parts = share(profile)
    with Way().watched() as way, contextlib.suppress(pyfuse3.FUSEError):
        looked_up(parts)
        looked_up(parts, b"missing")
    assert way.again == set()


@pytest.mark.starts_processes
def test_a_deferred_write_goes_the_way_that_the_page_tells(share: Callable[[str], Any]) -> None:
    parts = share("osxfs-delegated")
    handle = opened(parts)
    with Way().watched() as way:
        driven(parts.dispatcher.write(handle, 0, b"in the guest"))
    walk = walk_of("A WRITE under write-back")
    assert in_order(way, walk) == walk
    with Way().watched() as later:
        parts.write_back.finish()
    walk = walk_of("A WRITE under write-back", 1)
    assert in_order(later, walk) == walk
    assert later.again == set()


@pytest.mark.starts_processes
def test_a_way_that_comes_back_is_told_of_by_the_page(share: Callable[[str], Any]) -> None:
    """No other does; and those that are told of do, or the page would be out of date."""
    parts = share("osxfs-delegated")
    with Way().watched() as way:
        driven(parts.dispatcher.write(opened(parts), 0, b"in the guest"))
        looked_up(parts)
    assert way.again == rows_with_arrows(PAGE)


@pytest.mark.starts_processes
def test_a_call_up_would_be_noticed(
    share: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    parts = share("osxfs-negative")
    entry = Entries.entry

    def asks_above(self: Any, *arguments: Any, **keywords: Any) -> Any:
        parts.handlers.inode(parts.inodes.root.number)
        return entry(self, *arguments, **keywords)

    # As if it were written there.
    code = asks_above.__code__.replace(co_filename=entry.__code__.co_filename)
    monkeypatch.setattr(asks_above, "__code__", code)
    monkeypatch.setattr(Entries, "entry", asks_above)
    with Way().watched() as way:
        looked_up(parts)
    assert calls_up(way, walk_of("A LOOKUP")) == [
        ("mount/requests/entries.py", "mount/requests/handlers.py")
    ]


def test_a_way_that_comes_back_would_be_noticed() -> None:
    way = Way()
    for files in (["a.py"], ["a.py", "b.py"], ["a.py", "b.py", "c.py"]):
        way.enter(files)
    assert way.again == set()
    way.enter(["a.py", "b.py", "a.py"])
    assert way.again == {("a.py", "b.py", "a.py")}
