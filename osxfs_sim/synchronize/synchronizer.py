"""The synchronization in a thread of its own, as a share runs it."""

from pathlib import Path
from typing import Any

from osxfs_sim.model.synchronization import SyncSpec


class Synchronizer:
    """Keeps *host* and *copy* the same, by the rules of *spec*."""

    def __init__(self, host: Path, copy: Path, state: Path, spec: SyncSpec) -> None:
        """*state*: a private directory for the last agreed state, staging and the lock."""

    def start(self) -> None:
        """Lock the state, synchronize once, and go on in a thread; raises SyncError."""

    def flush(self) -> dict[str, Any]:
        """One whole cycle that sees everything changed before; raises SyncError when halted."""
        return {}

    def status(self) -> dict[str, Any]:
        """What there is to know, as plain JSON values."""
        return {}

    def resume(self) -> None:
        """Go on after a halt, the user having confirmed."""

    def stop(self) -> None:
        """Finish the current step, synchronize a last time, end the thread and unlock."""
