"""What tests do from other processes, and how they wait and expect failures."""

import contextlib
import errno
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from support.unit_guard import refuse_waiting

PATIENCE_S = 150.0
"""A generous bound on waiting for what must happen; no test measures time."""


@contextlib.contextmanager
def refused(code: int) -> Iterator[None]:
    """The block must fail with this errno and no other."""
    with pytest.raises(OSError) as caught:  # noqa: PT011 (the errno is checked below)
        yield
    assert errno.errorcode[caught.value.errno] == errno.errorcode[code]


def eventually(condition: Callable[[], Any], *, within_s: float = PATIENCE_S) -> Any:
    """Ask *condition* until it is true, and return what it said."""
    refuse_waiting("eventually")
    deadline_s = time.monotonic() + within_s
    while not (answer := condition()):
        assert time.monotonic() < deadline_s, f"not within {within_s} s: {answer!r}"
        time.sleep(0.005)
    return answer


def eventually_beside(process: "subprocess.Popen[Any]", condition: Callable[[], Any]) -> Any:
    """As eventually, of what *process* does: it must not end before."""

    def is_so() -> Any:
        ended = process.poll() is not None
        answer = condition()
        assert answer or not ended, f"it ended with {process.returncode}"
        return answer

    return eventually(is_so)


def start(code: str, *arguments: object, cwd: Path | None = None) -> "subprocess.Popen[str]":
    """A process that runs *code* with *arguments* as its sys.argv[1:]."""
    return subprocess.Popen(
        [sys.executable, "-I", "-S", "-c", code, *map(str, arguments)],
        cwd=cwd,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@contextlib.contextmanager
def ended(*processes: "subprocess.Popen[str]") -> Iterator[None]:
    """These processes have ended after the block, also if it fails."""
    try:
        yield
    finally:
        for process in processes:
            if process.poll() is None:
                process.kill()
            process.communicate()


def finish(process: "subprocess.Popen[str]", words: str | None = None) -> str:
    """Say *words* to a process, wait for its good end, and return what it said."""
    with process:
        try:
            output, _ = process.communicate(words, timeout=PATIENCE_S)
        except BaseException:
            process.kill()
            raise
    assert process.returncode == 0, output
    return output


def run(code: str, *arguments: object, cwd: Path | None = None) -> str:
    return finish(start(code, *arguments, cwd=cwd))


def hear(process: "subprocess.Popen[str]", words: str) -> None:
    """Wait until a process says *words*, as a line of its own."""
    assert process.stdout is not None
    line = process.stdout.readline()
    assert line == words + "\n", line + (process.stdout.read() if line else "it ended")


# A mount namespace begins as a copy of ours, and a share that is unmounted here lives on as long
# as a copy of it is mounted anywhere: the servers of tests beside would not end.
_LEAVE_SHARES = """
keep=$1
shift
while read -r _ place kind _; do
    case $kind in
    fuse.osxfs-sim) test "$place" = "$keep" || umount -cil "$place" 2>/dev/null || true ;;
    esac
done </proc/self/mounts
exec "$@"
"""


def without_shares(*, but: Path | None = None) -> tuple[str, ...]:
    """What to begin a command with that shall see no share *but* this one, and keep none alive.

    It runs in a mount namespace of its own.
    """
    return ("unshare", "--mount", "sh", "-c", _LEAVE_SHARES, "-", str(but or ""))
