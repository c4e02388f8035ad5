"""How many recorded requests a prediction goes through in a second of a processor.

A recording is made up: a program that looks for files along a path of directories, lists some,
reads what it finds, and writes a log, in several threads. It is written to a file, and predicted
from by each implementation, on systems that cache this and that. *Whole* is all that one system
takes: reading the file, what waits for what, and the run; *fast* and *reference* are the run alone.
"""

import random
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median
from typing import Any

from osxfs_sim.lab.arms import Arm
from osxfs_sim.model.caching import CachePolicy, CacheTimeouts
from osxfs_sim.predicted_systems import system_of
from osxfs_sim.simulate.dependencies import Dependencies, Order, order
from osxfs_sim.simulate.recording import Recording, read_recording
from osxfs_sim.simulate.reference import Reference
from osxfs_sim.simulate.running import FAST, Runs
from osxfs_sim.simulate.share import System
from osxfs_sim.trace.format import TraceWriter, columns_of
from osxfs_sim.trace.schema import Header

ARMS = (
    *("osxfs", "osxfs-cached", "osxfs-negative", "osxfs-complete"),
    *("docker-vz", "virtiofsd-auto", "host"),
)
OWN_POLICY = "a policy in Python"
_TICK_NS = 4_000_000
_DIRECTORIES, _FILES = 40, 3_000
_A_FILE, _A_DIRECTORY = 0o100644, 0o040755
_MTIME_NS = 1_700_000_000 * 10**9


class FreshFilesChange(CachePolicy):
    """Keeps a file the longer the older it is: a user's policy, which is asked for each answer."""

    def found(self, name: bytes, status: Any, now_ns: int) -> CacheTimeouts:
        """A tenth of its age, and at most a minute."""
        age_ns = now_ns - status.st_mtime_ns
        cache_timeout_ns = min(max(age_ns // 10, 0), 60 * 10**9)
        return CacheTimeouts(cache_timeout_ns, cache_timeout_ns)


def measure(quick: bool) -> dict[str, Any]:
    """Requests per second of processor time, by system and implementation; *quick* is shorter."""
    requests, rounds = (20_000, 1) if quick else (400_000, 5)
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "recording.parquet"
        write_recording(path, requests, seed=1)
        file_bytes = path.stat().st_size
        recording = read_recording(path)
        loading_s = _taken(lambda: _runs(recording).run(system_of(Arm("none", "none")), seed=1))
        reading_s = median(_taken(lambda: read_recording(path)) for _ in range(rounds))
        systems = [system_of(Arm(arm, arm)) for arm in ARMS]
        systems.append(System(OWN_POLICY, FreshFilesChange(), systems[0].latency))
        graph = order(recording, Dependencies.OBJECTS)
        rows = [_row(path, recording, graph, each, rounds) for each in systems]
    return {
        "quick": quick,
        "requests": requests,
        "file_bytes": file_bytes,
        "rounds": rounds,
        "loading_s": round(loading_s, 3),
        "reading_per_s": round(requests / reading_s),
        "rows": rows,
    }


def _runs(recording: Recording) -> Runs:
    return Runs(recording, Dependencies.OBJECTS, tick_ns=_TICK_NS, expected=1, implementation=FAST)


def _row(
    path: Path, recording: Recording, graph: Order, system: System, rounds: int
) -> dict[str, Any]:
    requests, runs = len(recording), _runs(recording)

    def whole() -> None:
        _runs(read_recording(path)).run(system, seed=1)

    def by_reference() -> None:
        Reference(recording, graph, system, tick_ns=_TICK_NS, seed=1).run()

    implementation = runs.implementation(system)
    run = runs.run(system, seed=1)
    row: dict[str, Any] = {
        "arm": system.name,
        "implementation": implementation,
        "crossings": run.crossings.total(),
        "whole_per_s": _per_s(requests, whole, rounds if implementation == FAST else 1),
        "reference_per_s": _per_s(requests, by_reference, 1),
    }
    if implementation == FAST:
        row["fast_per_s"] = _per_s(requests, lambda: runs.run(system, seed=1), rounds)
    return row


def _per_s(requests: int, action: Callable[[], object], rounds: int) -> int:
    return round(requests / median(_taken(action) for _ in range(rounds)))


def _taken(action: Callable[[], object]) -> float:
    began_s = time.process_time()
    action()
    return time.process_time() - began_s


def write_recording(path: Path, requests: int, *, seed: int) -> None:
    """Write a recording of so many requests, or a few more, to *path*."""
    rows: list[dict[str, Any]] = []
    now_ns = 0
    steps = _steps(random.Random(seed))
    while len(rows) < requests:
        thread = 1 + len(rows) // 64 % 4
        for operation, fields in next(steps):
            now_ns += 20_000
            fixed = {"arrival_ns": now_ns, "took_ns": 15_000, "process": thread}
            rows.append({"operation": operation, **fixed, **fields})
    writer = TraceWriter(path)
    for first in range(0, len(rows), 65_536):
        writer.write(columns_of(iter(rows[first : first + 65_536])))
    writer.close(Header(0, now_ns, command_start_ns=0, command_end_ns=now_ns, source="made up"))


_Asked = tuple[str, dict[str, Any]]


def _steps(draw: random.Random) -> Iterator[list[_Asked]]:
    """What a program asks, a file after the other."""
    log = _DIRECTORIES + _FILES + 10
    while True:
        number = min(int(draw.expovariate(4 / _FILES)), _FILES - 1)
        asked: list[_Asked] = []
        for directory in range(number % 9):  # where the file is not
            asked += [_directory(directory), _missing(directory, number)]
        where, inode = number % 9, _DIRECTORIES + 10 + number
        file = {"mode": _A_FILE, "object_bytes": 3_000, "mtime_ns": _MTIME_NS + number, "links": 1}
        asked += [
            _directory(where),
            ("LOOKUP", {"inode": 10 + where, "name": f"f{number}.rb", "found": inode, **file}),
            ("GETATTR", {"inode": inode, "call": "newfstatat", **file}),
            ("OPEN", {"inode": inode, "handle": 1, "call": "openat", **file}),
            ("READ", {"inode": inode, "handle": 1, "size_bytes": 3_000, "call": "read"}),
            ("FLUSH", {"inode": inode, "handle": 1}),
            ("RELEASE", {"inode": inode, "handle": 1}),
            ("WRITE", {"inode": log, "handle": 2, "offset_bytes": 80 * number, "size_bytes": 80}),
        ]
        if not number % 50:
            listed = {"inode": 10 + where, "handle": 3}
            asked += [
                ("OPENDIR", listed),
                ("READDIRPLUS", {**listed, "size_bytes": 8_000}),
                ("READDIRPLUS", listed),
                ("RELEASEDIR", listed),
            ]
        yield asked


def _directory(number: int) -> _Asked:
    status = {"mode": _A_DIRECTORY, "object_bytes": 40, "mtime_ns": _MTIME_NS, "links": 2}
    return "LOOKUP", {"inode": 1, "name": f"d{number}", "found": 10 + number, **status}


def _missing(directory: int, number: int) -> _Asked:
    return "LOOKUP", {"inode": 10 + directory, "name": f"f{number}.rb", "error": "ENOENT"}
