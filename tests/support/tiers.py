"""A plugin: each test's tier, from what it uses; and a unit test that does more is refused.

    unit      no mount, no process, no waiting for the clock: for every edit
    mount     mounts something
    process   starts processes, or waits for the clock
    slow      marked so, whatever it does

A test mounts that uses the fixture need_fuse, as all do that mount a share, or small_source; or
that says so (``pytest.mark.mounts``) because it mounts something by hand. It starts processes if
it uses one of PROCESS_FIXTURES, or says so (``pytest.mark.starts_processes``). What mounts a share
starts its server, too: the tier is mount. All others are unit tests, and watched while they run.
"""

import asyncio
import contextlib
import ctypes
import multiprocessing.util
import sys
import time
from collections.abc import Callable, Generator, Iterable, Iterator
from typing import Any

import pytest
import trio
import trio.testing

TIERS = {
    "unit": "no mount, no process, no waiting for the clock: for every edit",
    "mount": "mounts something",
    "process": "starts processes, or waits for the clock",
}
SLOW = "slow"
MOUNT_FIXTURES = {"need_fuse", "small_source"}
PROCESS_FIXTURES = {"cli"}
MARKS = {
    "mounts": "mounts something by hand",
    "starts_processes": "starts a process by hand, or waits for the clock",
}


def tier_of(fixtures: Iterable[str], marks: Iterable[str]) -> str:
    """The one tier of a test that uses these fixtures, those of its fixtures among them."""
    used, said = set(fixtures), set(marks)
    if SLOW in said:
        return SLOW
    if used & MOUNT_FIXTURES or "mounts" in said:
        return "mount"
    if used & PROCESS_FIXTURES or "starts_processes" in said:
        return "process"
    return "unit"


def tiers_of(item: pytest.Item) -> list[str]:
    """The tiers that -m finds a test in: one, or something is wrong."""
    names = {mark.name for mark in item.iter_markers()}
    return sorted(names & {*TIERS, SLOW})


def pytest_configure(config: pytest.Config) -> None:
    for name, meaning in {**TIERS, **MARKS}.items():
        config.addinivalue_line("markers", f"{name}: {meaning}")
    _install()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        by_hand = set(tiers_of(item)) - {SLOW}
        if by_hand:
            raise pytest.UsageError(
                f"{item.nodeid} is marked {', '.join(sorted(by_hand))}: a tier follows from what "
                f"a test uses; mark what it does by hand: {' or '.join(MARKS)}"
            )
        marks = {mark.name for mark in item.iter_markers()}
        tier = tier_of(getattr(item, "fixturenames", ()), marks)
        if tier != SLOW:
            item.add_marker(tier)


def pytest_collection_finish(session: pytest.Session) -> None:
    """What is run is in one tier, so that running them one by one leaves nothing out."""
    for item in session.items:
        if len(found := tiers_of(item)) != 1:
            raise pytest.UsageError(
                f"{item.nodeid} is in {' and '.join(found) or 'no tier'}: it must be in exactly "
                f"one of {', '.join((*TIERS, SLOW))} (tests/support/tiers.py)"
            )


# What a unit test may not do

_REMEDIES = {
    "start a process": (
        "take the fixture cli to run the command, call what it calls, or say "
        "@pytest.mark.starts_processes"
    ),
    "mount": "take the fixture share or need_fuse, or say @pytest.mark.mounts",
    "sleep": (
        "wait for a sign, give it a clock of the test's, or say @pytest.mark.starts_processes"
    ),
}
_STARTING = {"subprocess.Popen", "os.fork", "os.forkpty", "os.posix_spawn", "os.system", "os.exec"}
_MOUNTING = {
    *("mount", "umount", "umount2", "pivot_root"),
    *("open_tree", "move_mount", "fsopen", "fsmount", "fspick"),
}
_MOUNTING_NUMBERS = {428, 429, 430, 432, 433}  # of these, by syscall(2), on all architectures


class _Watch:
    """Whether a unit test is running, and what it has been refused."""

    def __init__(self) -> None:
        self.test: str | None = None
        self.refused: list[str] = []

    def refuse(self, what: str, how: str) -> None:
        """Fail the test that is running if it is a unit test, in whatever thread."""
        if self.test is not None:
            said = f"a unit test may not {what} ({how}): {_REMEDIES[what]} (see CONTRIBUTING.md)"
            self.refused.append(said)
            pytest.fail(said)

    @contextlib.contextmanager
    def over(self, test: str) -> Iterator[None]:
        self.test, self.refused = test, []
        try:
            yield
        finally:
            self.test = None
        if self.refused:  # and something has kept it from the test
            pytest.fail(self.refused[0])


_watch = _Watch()


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if _watch.test is None:
        return
    if event in _STARTING:
        _watch.refuse("start a process", f"{event} {arguments[0]!r}" if arguments else event)
    elif event == "open" and arguments[0] in ("/dev/fuse", b"/dev/fuse"):
        _watch.refuse("mount", "it opens /dev/fuse")


def _install() -> None:
    """Once for a process: modules that are imported from now on find these wherever they look."""
    if getattr(time.sleep, "is_watched", False):
        return
    sys.addaudithook(_audit)
    spawn = multiprocessing.util.spawnv_passfds

    def watched_spawn(*arguments: Any) -> Any:
        _watch.refuse("start a process", "multiprocessing")
        return spawn(*arguments)

    multiprocessing.util.spawnv_passfds = watched_spawn
    time.sleep = _watched("time.sleep", time.sleep)
    asyncio.sleep = asyncio.tasks.sleep = _watched("asyncio.sleep", asyncio.sleep)
    for name in ("sleep", "sleep_until"):
        setattr(trio, name, _watched(f"trio.{name}", getattr(trio, name)))
    function = ctypes.CDLL.__getitem__

    def watched_function(library: ctypes.CDLL, name: Any) -> Any:
        if name in _MOUNTING or name == "syscall":
            return _mounting(library._FuncPtr, name)((name, library))
        return function(library, name)

    ctypes.CDLL.__getitem__ = watched_function


def _watched(name: str, sleep: Callable[..., Any]) -> Callable[..., Any]:
    def watched(how_long_s: float, *arguments: Any, **options: Any) -> Any:
        if how_long_s > 0 and not _is_simulated(name):
            _watch.refuse("sleep", f"{name}({how_long_s:g})")
        return sleep(how_long_s, *arguments, **options)

    watched.is_watched = True
    return watched


def _is_simulated(name: str) -> bool:
    """Whether what sleeps now does it by trio's clock for tests."""
    clock: Any = None
    if name.startswith("trio"):
        with contextlib.suppress(RuntimeError):
            clock = trio.lowlevel.current_clock()
    return isinstance(clock, trio.testing.MockClock)


def _mounting(kind: Any, name: str) -> Any:
    """The kind of a library's function that mounts, or that may: syscall."""

    class Mounting(kind):
        _flags_ = kind._flags_
        _restype_ = kind._restype_

        def __call__(self, *arguments: Any) -> Any:
            first = getattr(arguments[0], "value", arguments[0]) if arguments else None
            if name in _MOUNTING or first in _MOUNTING_NUMBERS:
                _watch.refuse("mount", f"{name}(2)")
            return super().__call__(*arguments)

    return Mounting


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, object, object]:
    with _over(item):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    with _over(item):
        return (yield)


def _over(item: pytest.Item) -> contextlib.AbstractContextManager[None]:
    return _watch.over(item.nodeid) if tiers_of(item) == ["unit"] else contextlib.nullcontext()
