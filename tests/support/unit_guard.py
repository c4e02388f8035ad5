"""What a unit test may not do: mount, start a process, wait for the clock.

Calls that would are replaced once, for good, so that they are found wherever a module looks for
them; while no unit test runs they do what they always did.
"""

import asyncio
import contextlib
import ctypes
import multiprocessing.util
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import trio
import trio.testing

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


class Guard:
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


GUARD = Guard()


def refuse_waiting(how: str) -> None:
    """For helpers that wait if they must: a unit test may not use them, even where it need not."""
    GUARD.refuse("sleep", how)


def _audit(event: str, arguments: tuple[Any, ...]) -> None:
    if GUARD.test is None:
        return
    if event in _STARTING:
        GUARD.refuse("start a process", f"{event} {arguments[0]!r}" if arguments else event)
    elif event == "open" and arguments[0] in ("/dev/fuse", b"/dev/fuse"):
        GUARD.refuse("mount", "it opens /dev/fuse")


def install() -> None:
    """Once for a process: modules that are imported from now on find these wherever they look."""
    if getattr(time.sleep, "is_watched", False):
        return
    sys.addaudithook(_audit)
    spawn = multiprocessing.util.spawnv_passfds

    def watched_spawn(*arguments: Any) -> Any:
        GUARD.refuse("start a process", "multiprocessing")
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
            GUARD.refuse("sleep", f"{name}({how_long_s:g})")
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
                GUARD.refuse("mount", f"{name}(2)")
            return super().__call__(*arguments)

    return Mounting
