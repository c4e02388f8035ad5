"""Sequences of file operations, run on shares by the thousand, each in a directory of its own.

What a share that caches nothing recorded of them is predicted for another system, and compared
with what that system's kernel asks, sequence by sequence.
"""

import contextlib
import itertools
import os
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from osxfs_sim.model.operations import UNAWAITED, Operation
from osxfs_sim.simulate.dependencies import Dependencies, order
from osxfs_sim.simulate.recording import read_recording
from osxfs_sim.simulate.reference import Reference
from osxfs_sim.simulate.share import System
from osxfs_sim.trace.format import read_trace
from support.guests import eventually
from support.live import LiveShare
from support.recordings import TICK_NS

Sequence_ = tuple[str, ...]
Asked = dict[Sequence_, list[str]]
"""Of each sequence the names of the requests that somebody waited for, in turn."""
_UNAWAITED = {operation.name for operation in UNAWAITED}
_TELLING = {"LOOKUP", "GETATTR", "SETATTR"}
HELD = ", held"
"""After the name of a request that write-back answered on the guest's side."""


def _read(path: str) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        os.read(fd, 100)
        os.read(fd, 100)
    finally:
        os.close(fd)


def _write(path: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT)
    try:
        os.write(fd, b"x" * 10)
    finally:
        os.close(fd)


def _sync(path: str) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _create_in(path: str) -> None:
    directory = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.close(os.open("c", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644, dir_fd=directory))
    finally:
        os.close(directory)


def _create(path: str) -> None:
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644))


OPERATIONS: Mapping[str, Callable[[str], object]] = {
    "stat a": lambda d: os.stat(f"{d}/a"),
    "stat b": lambda d: os.stat(f"{d}/b"),
    "read a": lambda d: _read(f"{d}/a"),
    "read b": lambda d: _read(f"{d}/b"),
    "write a": lambda d: _write(f"{d}/a"),
    "create a": lambda d: _create(f"{d}/a"),
    "create b": lambda d: _create(f"{d}/b"),
    "unlink a": lambda d: os.unlink(f"{d}/a"),
    "rename a b": lambda d: os.rename(f"{d}/a", f"{d}/b"),
    "rename b a": lambda d: os.rename(f"{d}/b", f"{d}/a"),
    "link a b": lambda d: os.link(f"{d}/a", f"{d}/b"),
    "list": lambda d: os.listdir(d),
    "stat .": lambda d: os.stat(d),
    "truncate a": lambda d: os.truncate(f"{d}/a", 3),
    "chmod a": lambda d: os.chmod(f"{d}/a", 0o600),
    "mkdir a": lambda d: os.mkdir(f"{d}/a"),
    "rmdir a": lambda d: os.rmdir(f"{d}/a"),
    "create in a": lambda d: _create_in(f"{d}/a"),
    "sync a": lambda d: _sync(f"{d}/a"),
}
"""On the names a and b of a directory; what is not possible fails, as it would for a program."""


def sequences(longest: int, operations: Iterable[str] = OPERATIONS) -> list[Sequence_]:
    """All of one operation to *longest*."""
    names = tuple(operations)
    return [
        sequence
        for length in range(1, longest + 1)
        for sequence in itertools.product(names, repeat=length)
    ]


def run_traced(live: LiveShare, trace: Path, of: Sequence[Sequence_]) -> Path:
    """Run each of *of* in a directory of its own: of three one has a file a, one a directory a.

    *trace* has what they asked.
    """
    for number, _ in enumerate(of):
        (live.source / str(number)).mkdir()
        if number % 3 == 1:
            (live.source / str(number) / "a").write_text("hello")
        if number % 3 == 2:
            (live.source / str(number) / "a").mkdir()
    os.listdir(live.guest)
    live.settle()
    live.share.start_trace(str(trace), with_calls=True)
    for number, sequence in enumerate(of):
        for name in sequence:
            with contextlib.suppress(OSError):
                OPERATIONS[name](f"{live.guest}/{number}")
    eventually(lambda: live.status().open_handles == 0)
    live.share.stop_trace()
    return trace


def _by_sequence(rows: Iterable[tuple[str | None, str]], of: Sequence[Sequence_]) -> Asked:
    asked: Asked = defaultdict(list)
    for directory, operation in rows:
        number = (directory or "")[1:]
        if operation.removesuffix(HELD) not in _UNAWAITED and number.isdigit():
            asked[of[int(number)]].append(operation)
    return asked


def _rows(trace: Path) -> list[dict[str, Any]]:
    return read_trace(trace)[1].to_pylist()


def asked_live(trace: Path, of: Sequence[Sequence_]) -> Asked:
    """What each of *of* asked of the share that *trace* is of; what it held is marked as that."""
    return _by_sequence(
        [
            (row["directory"], row["operation"] + (HELD if row["answered_by"] == "held" else ""))
            for row in _rows(trace)
            if row["answered_by"] != "names"
        ],
        of,
    )


def predicted(trace: Path, of: Sequence[Sequence_], on: System) -> Asked:
    """What would cross of each of *of* on another system, by the recording *trace*."""
    recorded = read_recording(trace)
    graph = order(recorded, Dependencies.THREADS)
    reference = Reference(recorded, graph, on, tick_ns=TICK_NS, seed=1)
    log: list[tuple[int, Operation, bool]] = []
    reference.log = log
    reference.run()
    directories = [row["directory"] for row in _rows(trace)]
    return _by_sequence(
        [
            (directories[number], each.name + (HELD if is_held else ""))
            for number, each, is_held in log
        ],
        of,
    )


def without_calls(trace: Path, of: Sequence[Sequence_]) -> set[Sequence_]:
    """Those of *of* whose system calls were not all seen: the caller was not asleep yet.

    A few, on a machine that is busy; what a LOOKUP was for is then a guess. Of others than these
    (_TELLING) it makes no difference.
    """
    unseen: Counter[Sequence_] = Counter()
    for row in _rows(trace):
        number = (row["directory"] or "")[1:]
        if row["call"] is None and row["operation"] in _TELLING and number.isdigit():
            unseen[of[int(number)]] += 1
    return set(unseen)


def differing(live: Asked, simulated: Asked, of: Iterable[Sequence_]) -> dict[Sequence_, str]:
    """Of *of* those that a kernel asked something else of than was predicted, and what."""
    return {
        sequence: f"live {live.get(sequence, [])}, predicted {simulated.get(sequence, [])}"
        for sequence in of
        if live.get(sequence, []) != simulated.get(sequence, [])
    }
