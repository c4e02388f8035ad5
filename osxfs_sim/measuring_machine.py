"""What this machine adds to a share, measured by small workloads of its own beside a recording.

What an answer takes beyond what is asked for, and what the guest's kernel takes beyond what it
takes for a local file system: on shares of which nothing is predicted. simulate/machine.py has it.
"""

import os
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from osxfs_sim.emulated_shares import EmulatedShares
from osxfs_sim.lab.arms import Arm
from osxfs_sim.lab.shares import MountedShare
from osxfs_sim.model.operations import CLASS_OF, UNAWAITED, Operation
from osxfs_sim.predicted_systems import system_of
from osxfs_sim.trace.format import read_trace

DELAYED = Arm("osxfs", "osxfs")
"""The share whose answers are to come at a moment; it caches nothing."""
CACHED = Arm("cached", "osxfs-cached", {"cache_timeout_ns": 3_600 * 10**9})
"""The share that is not asked again."""
HELD = Arm("osxfs-delegated", "osxfs-delegated")
"""The share that answers changes without the host."""
ROUNDS = 5
"""Of each workload; the median counts."""
_DIRECTORIES, _FILES, _LOOKS = 10, 5, 4


def measure_machine(directory: str | Path | None = None) -> dict[str, int]:
    """Measure this machine on three shares below *directory*, in some four seconds.

    In ns, each a mean: ``late_missing_ns`` and ``late_found_ns``, by how much an answer comes later
    than it is asked for, where it names nothing and where it does; ``hit_ns``, what the guest's
    kernel takes longer for what it knows of a share than for a local file; ``held_ns``, what a
    change takes that is answered without the host. Raises MountError.
    """
    with tempfile.TemporaryDirectory(prefix="osxfs-sim-machine-", dir=directory) as made:
        top = Path(made)
        delayed, cached, held = (_Place(top, arm) for arm in (DELAYED, CACHED, HELD))
        with delayed as share:
            late_missing_ns = _late_ns(share, delayed, look_for_missing)
            late_found_ns = _late_ns(share, delayed, look_for_found)
        with cached:
            look_for_found(cached.guest)
            over_ns = _median_ns(lambda: look_for_found(cached.guest)) - _median_ns(
                lambda: look_for_found(cached.source)
            )
            hit_ns = round(over_ns / (_FILES * _DIRECTORIES * _LOOKS))
        with held as share:
            held_ns = _held_ns(share, held, top / "held.parquet")
        return {
            "late_missing_ns": late_missing_ns,
            "late_found_ns": late_found_ns,
            "hit_ns": max(0, hit_ns),
            "held_ns": held_ns,
        }


# Small workloads


def make_files(directory: Path) -> None:
    """What look_for_found() finds, in the empty *directory*. Raises OSError."""
    for number in range(_DIRECTORIES):
        inside = directory / f"found{number}"
        inside.mkdir()
        for each in range(_FILES):
            (inside / f"file{each}").write_text("x")


def look_for_missing(directory: Path) -> None:
    """Ask for names that are not there."""
    for number in range(_DIRECTORIES * _FILES * _LOOKS):
        os.path.exists(f"{directory}/missing{number}")


def look_for_found(directory: Path) -> None:
    """Ask for the attributes of what make_files() has made. Raises OSError."""
    for _ in range(_LOOKS):
        for number in range(_DIRECTORIES):
            for each in range(_FILES):
                os.stat(f"{directory}/found{number}/file{each}")


def change(directory: Path) -> None:
    """Make, change and remove some names, in pairs that leave nothing. Raises OSError."""
    for number in range(_DIRECTORIES):
        inside = directory / f"d{number}"
        inside.mkdir()
        for each in range(_FILES):
            path = inside / f"f{each}"
            fd = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o644)
            os.write(fd, b"x" * 1024)
            os.close(fd)
            os.chmod(path, 0o600)
            os.rename(path, inside / f"g{each}")
        for each in range(_FILES):
            os.unlink(inside / f"g{each}")
        inside.rmdir()


# Measured


class _Place:
    """A share with a source of its own, mounted for a block."""

    def __init__(self, top: Path, arm: Arm) -> None:
        self._arm = arm
        self.source, self.guest = top / arm.label / "source", top / arm.label / "guest"
        for each in (self.source, self.guest):
            each.mkdir(parents=True)
        make_files(self.source)

    def __enter__(self) -> MountedShare:
        self._mounted = EmulatedShares().mount(
            self._arm, self.source, self.guest, seed=1, dilate=1.0
        )
        return self._mounted.__enter__()

    def __exit__(self, *of_error: Any) -> None:
        self._mounted.__exit__(*of_error)


def _median_ns(work: Callable[[], None]) -> int:
    def once() -> int:
        begin_ns = time.monotonic_ns()
        work()
        return time.monotonic_ns() - begin_ns

    return round(statistics.median(once() for _ in range(ROUNDS)))


def _late_ns(share: MountedShare, place: _Place, work: Callable[[Path], None]) -> int:
    """By how much each answer that *work* waits for comes later than it is asked for."""
    work(place.guest)
    share.reset()
    guest_ns = _median_ns(lambda: work(place.guest))
    asked_ns, count = _asked(share.flush().requests)
    native_ns = _median_ns(lambda: work(place.source))
    return max(0, round((guest_ns - native_ns - asked_ns / ROUNDS) / (count / ROUNDS)))


def _asked(requests: Mapping[str, int]) -> tuple[int, int]:
    """What all of *requests* that are awaited are asked to take, in ns, and how many they are."""
    base_ns = system_of(DELAYED).latency.base_ns
    awaited = {Operation[name]: n for name, n in requests.items()}
    counts = {each: n for each, n in awaited.items() if each not in UNAWAITED}
    return sum(base_ns[CLASS_OF[each]] * n for each, n in counts.items()), sum(counts.values())


def _held_ns(share: MountedShare, place: _Place, trace: Path) -> int:
    """What each question takes that *change* has held. Tracing takes time: it only counts."""
    share.start_trace(str(trace))
    change(place.guest)
    share.flush()
    share.stop_trace()
    _, table = read_trace(trace)
    held: int = table.column("answered_by").to_pylist().count("held")

    def work() -> None:
        change(place.guest)

    share.reset()
    guest_ns = _median_ns(work)
    crossing_ns, _ = _asked(share.flush().requests)
    native_ns = _median_ns(lambda: change(place.source))
    return max(0, round((guest_ns - native_ns - crossing_ns / ROUNDS) / held))


def server_notes(status: Mapping[str, Any]) -> dict[str, int]:
    """What a share's *status* says that its server took, as simulate/machine.py reads it."""
    return {
        "server_processor_ns": round(status.get("server_processor_s", 0.0) * 1e9),
        "server_requests": sum(status.get("requests", {}).values()),
    }
