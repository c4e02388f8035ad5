"""The other side of the guest's kernel: what a share would answer, and what that would take.

It decides by the very objects that a mounted share decides by (model/): the cache policy, the
complete directories, the latency model.
"""

import os
from dataclasses import dataclass
from typing import Any

from osxfs_sim.model.caching import (
    UNCACHED,
    CachePolicy,
    CacheTimeouts,
    is_ever_cached,
    negative_timeout_ns,
)
from osxfs_sim.model.complete_directories import CompleteDirectories
from osxfs_sim.model.latency import LatencyModel, LatencySpec
from osxfs_sim.model.operations import CLASS_OF, Operation
from osxfs_sim.model.write_back import WriteBackSpec
from osxfs_sim.simulate.recording import Recording, Status

DIRENT_BYTES = 24  # what a name takes in a listing, besides itself (struct fuse_dirent)


@dataclass(frozen=True, slots=True)
class System:
    """What is predicted: one arm."""

    name: str
    """As the arm is called."""
    policy: CachePolicy
    """What the guest's kernel may keep, and for how long."""
    latency: LatencySpec
    """What a crossing takes."""
    readdirplus: str = "always"
    """Whether listings bring attributes: one of model.protocol.READDIRPLUS."""
    keeps_xattrs: bool = False
    """Whether the guest has extended attributes: its kernel then asks before each write whether
    the file has capabilities that end with it (security.capability)."""
    write_back: WriteBackSpec | None = None
    """How long changes may be pending, and how many; None: each crosses at once."""
    checks_permissions: bool = False
    """Whether the guest's kernel checks modes and owners itself (default_permissions), and has to
    know them for each directory on a path; else it asks by ACCESS, for access(2) and chdir(2)."""


class Share:
    """One share of one system, as a recording asks it."""

    def __init__(self, system: System, recording: Recording, seed: int, began_ns: int) -> None:
        """*seed* is of the latencies that are drawn; *began_ns* the wall clock at the begin."""
        self._policy = system.policy
        self._recording = recording
        self._latency = LatencyModel(system.latency, seed)
        self._complete: CompleteDirectories[int] | None = (
            CompleteDirectories() if system.policy.complete else None
        )
        self._began_ns = began_ns
        self._stats: dict[Status, Any] = {}  # as policies expect them; most come again and again

    def due_ns(self, operation: Operation, size_bytes: int, arrival_ns: int) -> int:
        """When the answer to a request that crosses is there, on the simulation's clock."""
        return self._latency.due_ns(CLASS_OF[operation], size_bytes, arrival_ns)

    # What may be kept

    def timeouts(self, name: bytes, status: Status, now_ns: int) -> CacheTimeouts:
        """For how long what an answer says may be kept."""
        if status.mode and not is_ever_cached(status.mode):
            return UNCACHED
        return self._policy.found(name, self._as_stat(status), self._began_ns + now_ns)

    def negative_timeout_ns(self, name: bytes, now_ns: int) -> int:
        """For how long may be kept that there is no such name."""
        return negative_timeout_ns(self._policy, name, self._began_ns + now_ns, can_end=True)

    def keeps_pages(self, status: Status, now_ns: int) -> bool:
        """Whether pages outlive an open."""
        return self._policy.keep_pages(self._as_stat(status), self._began_ns + now_ns)

    def _as_stat(self, status: Status) -> Any:
        """*status* as a policy expects it: an os.stat_result."""
        known = self._stats.get(status)
        if known is None:
            known = self._stats[status] = _as_stat(status)
        return known

    # Complete directories

    def known_absent(self, directory: int, name: bytes) -> bool:
        """Whether it is known without a crossing that *directory* has no such name."""
        return self._complete is not None and self._complete.known_absent(directory, name)

    def learn_names(self, directory: int, index: int) -> int:
        """A missing name of *directory* was asked for: its names come along, if they are wanted.

        Returns the bytes that cross with them.
        """
        if self._complete is None or not self._complete.should_read(directory):
            return 0
        return self._read_names(self._complete, directory, index)

    def listed(self, directory: int, index: int) -> None:
        """The guest has listed *directory* to its end: its names are known."""
        if self._complete is not None and self._complete.should_read(directory):
            self._read_names(self._complete, directory, index)

    def _read_names(self, complete: CompleteDirectories[int], directory: int, index: int) -> int:
        names = {name for name, _, _ in self._recording.names(directory, index)}
        complete.begin_reading(directory)
        complete.end_reading(directory, names)
        return sum(map(len, names)) + DIRENT_BYTES * len(names)

    def added(self, directory: int, name: bytes) -> None:
        """The guest has made a name."""
        if self._complete is not None:
            self._complete.added(directory, name)


def _as_stat(status: Status) -> Any:
    whole_s = max(0, status.mtime_ns) // 10**9
    return os.stat_result(
        (
            status.mode,
            0,
            0,
            status.links,
            0,
            0,
            max(0, status.size_bytes),
            whole_s,
            whole_s,
            whole_s,
        ),
        {"st_mtime_ns": max(0, status.mtime_ns)},
    )
