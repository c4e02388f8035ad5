"""The walks of docs/how-it-works.md lead through files and functions that are there, each once.

All are made, without a mount: a share that has none answers a request, or hears of a change of the
host; a case is compared whose share is pretended. Which files are entered on the way, in which
order, is written down by the interpreter. No way down comes back to a file that it has left.
"""

import ast
import contextlib
import functools
import importlib
import os
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType, SimpleNamespace
from typing import Any

import pyfuse3
import pytest
from support.controlled import ControlledReactor
from support.statuses import a_status

import osxfs_sim
from osxfs_sim import emulated_shares
from osxfs_sim.cli import measuring
from osxfs_sim.lab.results import load_result
from osxfs_sim.model.status import ShareStatus
from osxfs_sim.mount.loop.reactor import Job, Reactor
from osxfs_sim.mount.mounts.identity import server_user
from osxfs_sim.mount.requests.entries import Entries
from osxfs_sim.mount.server import assembly
from osxfs_sim.settings import ShareSettings

PACKAGE = Path(osxfs_sim.__file__).parent
PAGE = (PACKAGE.parent / "docs" / "how-it-works.md").read_text()
WALKS = "Four walks through the code"
TOLD_UPWARDS = "What is told upwards"

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
        if heading != TOLD_UPWARDS:
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
    assert [len(tables) for tables in found.values()] == [1, 2, 2, 1]
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


# As they are walked. The library that watches a directory starts a process to find the C library.

CALLER: Any = SimpleNamespace(uid=0, gid=0, pid=0, umask=0)

LOOP = "mount/loop/reactor.py"
"""It drives all coroutines, and so is below each: that it resumes one is no call of who spawns it,
as little as trio's is."""
MAKES_A_VALUE = "__post_init__"
"""What checks a value as it is made is no step: who reads a file makes values of many classes."""


class Way:
    """The files of ours that are entered while it is watched, in this thread and those begun."""

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
        threading.setprofile(self._call)
        sys.setprofile(self._call)
        try:
            yield self
        finally:
            sys.setprofile(before)
            threading.setprofile(None)  # type: ignore[arg-type]

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
            if frame.f_code.co_name == MAKES_A_VALUE:
                return []
            if file != LOOP and (not files or files[-1] != file):
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
            # What is made in a thread has a stack of its own there.
            wanted = work.send(wanted.call() if isinstance(wanted, Job) else wanted)
    except StopIteration as done:
        return done.value


@pytest.fixture
def share(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Any]]:
    """Makes the parts of a share of a profile, all but the mount; there is a file ``x``.

    Where it would be mounted there is a plain directory.
    """
    made = []
    before = pyfuse3.trio
    monkeypatch.setattr(assembly, "Reactor", ControlledReactor)

    def make(profile: str) -> Any:
        source = tmp_path / "source"
        source.mkdir()
        (source / "x").write_text("on the host")
        (tmp_path / "guest").mkdir()
        settings = ShareSettings(
            *(str(source), str(tmp_path / "guest")),
            profile=profile,
            host_events="inotify",
            state_directory=str(tmp_path / "state"),
        )
        parts = assembly.build(
            settings, settings.system(), server_user(None), str(source), settings.mountpoint, None
        )
        made.append(parts)
        return parts

    yield make
    pyfuse3.trio = before
    for parts in made:
        if parts.write_back is not None:
            parts.write_back.finish()
            parts.write_back.close(keep=False)
        parts.close()


_AT_THE_LATEST_NS = 60_000_000_000


def looked_up(parts: Any, name: bytes = b"x") -> Any:
    return driven(parts.dispatcher.lookup(parts.inodes.root.number, name, CALLER))


def opened(parts: Any) -> int:
    number = looked_up(parts).st_ino
    handle: int = driven(parts.dispatcher.open(number, os.O_RDWR, CALLER)).fh
    return handle


def walk_of(heading: str, number: int = 0) -> list[str]:
    """Its files, from the first one that is entered without a kernel."""
    files = [file for file, _ in walks_in(PAGE)[heading][number]]
    return [file for file in files if file != LOOP]


# Packages of layers that a way goes down through, with those beside them that are below all.
LAYERED = ("mount/events", "mount/requests", "mount/writeback")


def calls_up(way: Way, walk: list[str]) -> list[tuple[str, str]]:
    """Calls from a layer of a walk to one above it, also where that has returned."""
    layers = [file for file in walk if file.startswith(LAYERED)]
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


PROFILES = ["osxfs", "osxfs-cached", "osxfs-negative", "osxfs-complete", "osxfs-delegated"]


@pytest.mark.starts_processes
@pytest.mark.parametrize("profile", PROFILES)
def test_no_lookup_comes_back_to_a_file(share: Callable[[str], Any], profile: str) -> None:
    parts = share(profile)
    with Way().watched() as way:
        looked_up(parts)
        # The first brings the names of the directory along, where these are kept.
        for _ in range(2):
            with contextlib.suppress(pyfuse3.FUSEError):
                looked_up(parts, b"missing")
    assert way.again == set()
    assert ("mount/requests/listing.py" in way.entered) == (profile == "osxfs-complete")


@pytest.mark.starts_processes
def test_a_deferred_write_goes_the_way_that_the_page_tells(share: Callable[[str], Any]) -> None:
    parts = share("osxfs-delegated")
    handle = opened(parts)
    with Way().watched() as way:
        driven(parts.dispatcher.write(handle, 0, b"in the guest"))
    walk = walk_of("A WRITE under write-back")
    assert in_order(way, walk) == walk
    assert calls_up(way, walk) == []
    # Data and record of a write come from different heights, and to different files.
    for journal in ("mount/writeback/journal.py", "mount/writeback/journal_data.py"):
        assert len({caller for caller, called in way.calls if called == journal}) == 1
    with way.watched():
        driven(parts.dispatcher.write(handle, 12, b", and on"))  # it continues the other
        parts.write_back.finish()  # so that fsync need not wait for it
        driven(parts.dispatcher.fsync(handle, False))
    assert way.again == set()


@pytest.mark.starts_processes
def test_a_deferred_write_reaches_the_host_as_the_page_tells(share: Callable[[str], Any]) -> None:
    parts = share("osxfs-delegated")
    driven(parts.dispatcher.write(opened(parts), 0, b"in the guest"))
    with Way().watched() as way:
        parts.write_back.finish()
    walk = walk_of("A WRITE under write-back", 1)
    assert in_order(way, walk) == walk
    assert way.again == set()


@pytest.fixture
def hears(share: Callable[[str], Any], monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The parts of a share that hears of changes of the host, and whose kernel has looked up x."""
    for name in ("invalidate_inode", "invalidate_entry"):
        monkeypatch.setattr(pyfuse3, name, lambda *_: None)
    monkeypatch.setattr(Reactor, "device", None)
    monkeypatch.setattr(Reactor, "increment_epoch", lambda _: False)
    parts = share("osxfs-negative")
    looked_up(parts)
    yield parts
    assert parts.host_events.stop()


def hear(parts: Any) -> None:
    """All that the host has done until now is told, as far as that can be without a mount."""
    asked_ns = time.monotonic_ns()
    until_ns = asked_ns + _AT_THE_LATEST_NS
    while not parts.host_events.has_delivered(asked_ns):
        if time.monotonic_ns() > until_ns:
            raise AssertionError("it is never told")
        parts.host_events.work(time.monotonic_ns())
        while parts.reactor.waiting:
            parts.reactor.resume_next()
        while parts.reactor.jobs:
            parts.reactor.finish_job(0)


@pytest.mark.starts_processes
def test_a_host_change_goes_the_way_that_the_page_tells(hears: Any, tmp_path: Path) -> None:
    """As far as the system call that raises the event: there is no share to make it in."""
    with Way().watched() as way:
        hears.host_events.start()
        hears.host_events.open_mount()
        way.entered.clear()
        (tmp_path / "source" / "x").write_text("changed")
        hear(hears)
    # Told apart by process it would be none of the host's.
    walk = [file.replace("fanotify", "inotify") for file in walk_of("A change on the host")]
    assert in_order(way, walk) == walk
    assert hears.host_events.report().invalidated.pages == 1
    assert way.again == set()
    assert calls_up(way, walk) == []


@pytest.mark.starts_processes
def test_a_rescan_comes_back_to_no_file(hears: Any, tmp_path: Path) -> None:
    with Way().watched() as way:
        hears.host_events.start()
        hears.host_events.drop(1)
        (tmp_path / "source" / "x").write_text("changed")
        hear(hears)
    assert hears.host_events.report().rescans == 1
    assert "mount/events/rescan.py" in way.entered
    assert way.again == set()


@pytest.mark.starts_processes
def test_what_the_injector_asks_goes_the_way_that_the_page_tells(hears: Any) -> None:
    hears.host_events.start()
    injector = hears.host_events._injector
    caller: Any = SimpleNamespace(uid=0, gid=0, pid=injector.thread_id, umask=0)
    with Way().watched() as way:
        driven(hears.dispatcher.lookup(hears.inodes.root.number, b"x", caller))
    walk = walk_of("A change on the host", 1)
    assert in_order(way, walk) == walk
    assert way.again == set()
    assert calls_up(way, walk) == []


CASE = """
name = "note"
title = "Write a word"
purpose = "One file made."
arms = ["native"]
[needs]
commands = ["sh"]
install = "apt-get install dash"
[tree]
setup = ["setup.sh", "{tree}"]
[command]
measured = ["run.sh", "{tree}"]
check = ["check.sh", "{tree}"]
"""
SCRIPTS = {
    "setup.sh": 'mkdir "$1"',
    "run.sh": 'echo hello > "$1/word"',
    "check.sh": 'test "$(cat "$1/word")" = hello',
}
STATUS = a_status(profile="pretended", server_processor_s=0.5)


class PretendedShare:
    first_status = STATUS

    def flush(self) -> ShareStatus:
        return STATUS

    def reset(self) -> ShareStatus:
        return STATUS


@contextlib.contextmanager
def pretended(settings: ShareSettings) -> Iterator[PretendedShare]:
    """Its guest works in the host's directory."""
    mountpoint = Path(settings.mountpoint)
    mountpoint.rmdir()
    mountpoint.symlink_to(settings.source)
    try:
        yield PretendedShare()
    finally:
        mountpoint.unlink()
        mountpoint.mkdir()


@pytest.mark.starts_processes
def test_a_comparison_goes_the_way_that_the_page_tells(
    small_case: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = small_case("note", CASE, SCRIPTS)
    command = importlib.import_module("osxfs_sim.cli.compare")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(emulated_shares, "mounted", pretended)
    monkeypatch.setattr(command, "end_on_signals", lambda: None)
    way = Way()

    def measure_all(*arguments: Any) -> None:
        way.entered[1:] = []  # what plans it looks at cases and arms, too
        measuring.measure_all(*arguments)

    monkeypatch.setattr(command, "measure_all", measure_all)
    options = ["--arm", "native", "--arm", "osxfs", "--runs", "1", "--directory", str(tmp_path)]
    with way.watched():
        command.compare.main([f"{folder}/", *options], standalone_mode=False)
    samples = load_result(tmp_path / "comparison-note.json").samples
    assert [sample.failure for sample in samples] == ["", ""]
    # What is in mount/ is not entered where the share is pretended.
    walk = [file for file in walk_of("compare") if not file.startswith("mount/")]
    assert in_order(way, walk) == walk
    assert way.again == set()
    # Files of the lab are used from several heights: who is above another imports it.
    assert [(here, called) for here, called in way.calls if imports(called, here)] == []
    into_cli = {each for each in way.calls if each[1].startswith("cli/")}
    told = {called for here, called in into_cli if not here.startswith("cli/")}
    assert told == {"cli/progress.py"}  # as the page says


def imports(file: str, other: str) -> bool:
    """Whether *file* imports *other*."""
    module = ".".join(("osxfs_sim", *Path(other).with_suffix("").parts))
    return f"from {module} import" in (PACKAGE / file).read_text()


def test_who_imports_whom_is_read() -> None:
    assert imports("lab/comparing.py", "lab/executor.py")
    assert not imports("lab/executor.py", "lab/comparing.py")


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
