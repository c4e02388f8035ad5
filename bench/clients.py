"""The client that time is measured from: client.c, compiled here and run as a process.

Python's own calls cost as much as a tenth of a crossing, and its interpreter
would share nothing but trouble with eight clients: so the client is C.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.figures import Samples

HERE = Path(__file__).parent
BUILD = HERE / "build"

# Enough for minutes of load; the client keeps 8 bytes a call.
_ENDLESS_CALLS = 500_000
# The client itself waits 20 ms for its processes before it starts them together.
_STARTED_AFTER_S = 0.2


class CannotMeasureError(Exception):
    """Something a benchmark needs is missing; the message names the remedy."""


@dataclass(frozen=True, slots=True)
class Calls:
    """What the clients saw: every call of every process, and the time from start to end."""

    taken_ns: Samples
    """Shape (processes x calls,): the time of each call, in ns."""
    wall_ns: int
    """From the start of the first process to the end of the last, in ns."""


def compiled(source: Path, *flags: str) -> Path:
    """The program compiled from *source*, compiled anew when the source is newer."""
    program = BUILD / source.stem
    if program.exists() and program.stat().st_mtime >= source.stat().st_mtime:
        return program
    if shutil.which("cc") is None:
        raise CannotMeasureError("a C compiler is needed: apt-get install gcc libc6-dev")
    BUILD.mkdir(exist_ok=True)
    made = subprocess.run(
        ["cc", "-O2", "-o", str(program), str(source), *flags],
        capture_output=True,
        text=True,
        check=False,
    )
    if made.returncode:
        raise CannotMeasureError(f"{source} does not compile:\n{made.stderr}")
    return program


def run(mode: str, count: int, paths: Sequence[str]) -> Calls:
    """*count* calls on each path, a process per path, all at once."""
    command = [str(compiled(HERE / "client.c")), mode, str(count), *paths]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise CannotMeasureError(f"the client failed: {done.stderr.strip()}")
    *lines, wall = done.stdout.splitlines()
    taken_ns = np.fromiter((int(line.split()[1]) for line in lines), np.int64, len(lines))
    assert len(taken_ns) == count * len(paths), (len(taken_ns), count, len(paths))
    return Calls(taken_ns, int(wall.split()[1]))


@contextlib.contextmanager
def loading(paths: Sequence[str]) -> Iterator[None]:
    """A process per path calls stat(2) on it for the time of the block."""
    command = [str(compiled(HERE / "client.c")), "stat", str(_ENDLESS_CALLS), *paths]
    # A session of its own, so that its group can be ended: the children too.
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True
    )
    try:
        time.sleep(_STARTED_AFTER_S)
        yield
        if process.poll() is not None:
            raise CannotMeasureError("the load ended before the measurement did")
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
