"""How a synchronized share keeps its two sides the same: modes and numbers, as a profile has them.

The two sides are the host's directory and a copy of it in the guest. Mutagen, which
Docker's synchronized file shares are made of, calls them alpha and beta, and the
modes are its (mutagen.io, "Synchronization").
"""

import enum
from dataclasses import dataclass


class SyncMode(enum.StrEnum):
    """Whose changes travel, and what becomes of two that contradict each other."""

    TWO_WAY_SAFE = "two-way-safe"
    """Both travel; where both sides have changed an object, nothing moves, and it is listed."""
    TWO_WAY_RESOLVED = "two-way-resolved"
    """Both travel; where both sides have changed an object, the host's wins."""
    ONE_WAY_SAFE = "one-way-safe"
    """The host's travel; what the guest has changed or made is kept, and listed if in the way."""
    ONE_WAY_REPLICA = "one-way-replica"
    """The host's travel, and the guest's side becomes exactly the host's."""


@dataclass(frozen=True, slots=True)
class SyncSpec:
    """How a profile's synchronized share works."""

    mode: SyncMode = SyncMode.TWO_WAY_SAFE
    """Which side's changes travel, and what becomes of conflicts."""
    latency_ns: int = 10_000_000
    """Changes are collected until nothing has changed for so long."""
    rescan_ns: int = 10_000_000_000
    """Both sides are scanned wholly after so long, whatever events came."""
    ignored: tuple[str, ...] = ()
    """Patterns of what does not travel, in the syntax of .gitignore."""
    ignore_vcs: bool = False
    """Whether the directories of version control systems stay."""
    most_file_bytes: int | None = None
    """Nothing larger travels; None: no limit."""
