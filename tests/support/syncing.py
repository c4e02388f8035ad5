"""sync(2) asks every share of the machine: who calls it must not do so beside who holds changes.

Tests run beside each other in several processes, and so may several runs of them, of whatever
checkout. Those whose shares hold changes for as long as the test takes share a lock; one that
calls sync(2) has it alone. It is on a directory that all of them have, so that nothing is left.
"""

import fcntl
import os
from pathlib import Path

LONG_NS = 60 * 10**9
"""Who holds changes for so long relies on nobody asking for them."""


class SyncLock:
    """The lock of this process, on a *directory* that all processes have in common."""

    def __init__(self, directory: Path) -> None:
        self._fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        self._holding = 0
        self._alone = 0

    def hold(self) -> None:
        """From now on, until release(), no other process calls sync(2)."""
        if not self._holding and not self._alone:
            fcntl.flock(self._fd, fcntl.LOCK_SH)
        self._holding += 1

    def release(self) -> None:
        self._holding -= 1
        self._settle()

    def take_alone(self) -> None:
        """Wait until no other process relies on it that nobody calls sync(2)."""
        if not self._alone:
            fcntl.flock(self._fd, fcntl.LOCK_EX)
        self._alone += 1

    def give_back(self) -> None:
        self._alone -= 1
        self._settle()

    def _settle(self) -> None:
        if self._alone:
            return
        fcntl.flock(self._fd, fcntl.LOCK_SH if self._holding else fcntl.LOCK_UN)

    def close(self) -> None:
        os.close(self._fd)
