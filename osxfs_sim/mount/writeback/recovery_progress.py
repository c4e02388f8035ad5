"""How far a recovery has got: noted in the journal that it recovers."""

import contextlib
import errno
import os

from osxfs_sim.mount.tree.inodes import Inode
from osxfs_sim.mount.writeback.journal_directory import open_file
from osxfs_sim.mount.writeback.journal_format import (
    PROGRESS_DONE_AT,
    Refusal,
    created_record,
    progress_bytes,
    record,
)
from osxfs_sim.mount.writeback.journal_reader import UnfinishedJournal


class RecoveryProgress:
    """Records how far a recovery has got, for the next one in case that it is killed."""

    def __init__(self, left: UnfinishedJournal) -> None:
        self._end = left.end
        self._changes_fd = open_file(left.directory, "changes", os.O_WRONLY)
        self._progress_fd = open_file(left.directory, "progress", os.O_WRONLY)

    def started(self, sequence: int) -> None:
        """Record that the change *sequence* is being applied. Raises OSError."""
        os.pwrite(self._progress_fd, progress_bytes(sequence), 0)

    def done(self, sequence: int) -> None:
        """Record that the host has the change *sequence* and all before. Raises OSError."""
        os.pwrite(self._progress_fd, progress_bytes(sequence), PROGRESS_DONE_AT)

    def applied_since(self, sequence: int) -> None:
        """Record that the host now has the change *sequence*, once refused. Raises OSError."""
        self._append(record(("settled", sequence)))

    def refused(self, sequences: list[int], refusal: Refusal) -> None:
        """Record that the host has refused the changes *sequences*. Raises OSError."""
        self._append(record(("refused", sequences, *refusal)))

    def _append(self, values: bytes) -> None:
        if os.pwrite(self._changes_fd, values, self._end) != len(values):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._end += len(values)

    def created(self, number: int, inode: Inode) -> None:
        """Record that the host has created the object *number*, *inode*; never fails."""
        values = created_record(number, inode)
        # On a full disk it goes without: what is there is then found by its name. What was torn
        # is written over; what is left of it then is torn, too.
        with contextlib.suppress(OSError):
            if os.pwrite(self._changes_fd, values, self._end) == len(values):
                self._end += len(values)

    def close(self) -> None:
        """Close the journal's files of changes and of progress."""
        os.close(self._changes_fd)
        os.close(self._progress_fd)
