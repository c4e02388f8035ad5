"""Keeps a share busy while something is measured: processes that read other files of it.

What they read has nothing to do with what is measured, so that they change no answer, only what
else is requested. How much they did and took is part of a result: "under load" says nothing by
itself.
"""

import contextlib
import json
import os
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from osxfs_sim.coherence.staleness import load
from osxfs_sim.model.user_error import UserError

FILES = 64
FILE_BYTES = 4096
"""What each process goes through, again and again: as a small project's sources."""

_NAME = "load"
_ANSWERS_WITHIN_S = 30.0


@dataclass(frozen=True, slots=True)
class LoadSpec:
    """A load to be made. Raises AssertionError for no process, or an impossible share."""

    processes: int
    """How many processes of the guest read; at least 1."""
    share: float
    """How much of one processor each takes at most, above 0 up to 1."""

    def __post_init__(self) -> None:
        assert self.processes >= 1, self.processes
        assert 0 < self.share <= 1, self.share


@dataclass(frozen=True, slots=True)
class LoadResult:
    """What all processes of a load together did and took."""

    reads: int
    """How many files all of them read together."""
    processor_s: float
    """The processor time that they took together, the server's not included."""
    elapsed_s: float
    """How long the one ran that ran longest."""


@dataclass(slots=True)
class Load:
    """A load under way; ``loaded`` makes it."""

    spec: LoadSpec
    """What was asked for."""
    done: LoadResult | None = None
    """What it did; None until the block of ``loaded`` has ended, which sets it."""
    _processes: list["subprocess.Popen[bytes]"] = field(default_factory=list)


@contextlib.contextmanager
def loaded(host: Path, guest: Path, spec: LoadSpec) -> Iterator[Load]:
    """Keep a share busy, as *spec* says, by other processes for a block. Raises UserError, OSError.

    It is made in *host*; *guest* is the same through the share. Raises UserError if a process could
    not begin, or ended before its time.
    """
    os.mkdir(host / _NAME)
    for number in range(FILES):
        (host / _NAME / f"{number:04}").write_bytes(bytes(FILE_BYTES))
    under_way = Load(spec)
    try:
        for _ in range(spec.processes):
            under_way._processes.append(_start(guest / _NAME, spec.share))
        for process in under_way._processes:
            _line(process)
        yield under_way
        under_way.done = _finish(under_way._processes)
    finally:
        for process in under_way._processes:
            process.kill()
            process.communicate()


def _start(directory: Path, share: float) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        # By path, alone: it shall find the standard library, and nothing else.
        [sys.executable, "-I", "-S", str(Path(load.__file__)), str(directory), str(share)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,  # Ctrl-C is for us, and our end is its end
    )


def _finish(processes: list["subprocess.Popen[bytes]"]) -> LoadResult:
    for process in processes:
        assert process.stdin is not None
        process.stdin.close()
        process.stdin = None  # communicate() would flush it
    told = [_line(process) for process in processes]
    for each in told:
        if "error" in each:
            raise UserError(f"a process of the load has met an error: {each['error']}")
    return LoadResult(
        sum(each["reads"] for each in told),
        sum(each["processor_s"] for each in told),
        max(each["elapsed_s"] for each in told),
    )


def _line(process: "subprocess.Popen[bytes]") -> dict[str, Any]:
    """The next line of *process*. Byte by byte: lines are few, and nothing beyond one is taken."""
    assert process.stdout is not None
    fd = process.stdout.fileno()
    deadline_s = time.monotonic() + _ANSWERS_WITHIN_S
    piece = b""
    while not piece.endswith(b"\n"):
        left_s = max(0.0, deadline_s - time.monotonic())
        ready, _, _ = select.select([fd], [], [], left_s)
        if not ready:
            raise UserError("a process of the load does not answer")
        more = os.read(fd, 1)
        if not more:
            raise UserError("a process of the load has ended")
        piece += more
    told: dict[str, Any] = json.loads(piece)
    return told
