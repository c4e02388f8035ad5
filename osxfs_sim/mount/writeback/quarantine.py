"""Keeps what the host has refused: apart from what is still on its way to it.

A journal like the other (journal.py), beside it, made when something is first refused. It can be
read without the other: it says where things are, what was to be done, with which bytes, and why
the host did not take it. What is in here is written and synced before it leaves the other, so that
who is killed in between leaves it in both, never in none; what both have is this one's.
"""

import contextlib
import errno
import os
from collections.abc import Callable, Iterable
from dataclasses import replace
from pathlib import Path

from osxfs_sim.model.write_back import Change, Kind
from osxfs_sim.mount.tree.inodes import ROOT_NUMBER, Inode
from osxfs_sim.mount.writeback.journal import Journal
from osxfs_sim.mount.writeback.journal_directory import (
    aside_of,
    make_directory,
    new_lock,
    opened,
    take_away,
)
from osxfs_sim.mount.writeback.journal_format import Refusal, record

_ATTEMPTS = 20
_COPIED_BYTES = 1 << 20


class Quarantine(Journal):
    """The journal of what was set aside of one share. Raises OSError where it cannot be kept."""

    def __init__(self, directory: Path, source: str, root: Inode, lock_fd: int) -> None:
        # The kernel's numbers come to mean something else in time: what is in here stays.
        self._numbers_given: dict[Inode, int] = {root: ROOT_NUMBER}
        super().__init__(directory, source, root, lock_fd)

    @property
    def is_empty(self) -> bool:
        """Whether the quarantine keeps no change."""
        return not self._records_bytes

    def _number(self, inode: Inode | None) -> int:
        if inode is None:
            return 0
        return self._numbers_given.setdefault(inode, len(self._numbers_given) + ROOT_NUMBER)

    def _places(self, inode: Inode) -> list[tuple[Inode, bytes]]:
        overlay = inode.overlay
        if (
            overlay is not None
            and overlay.local_only
            and not overlay.aside
            and overlay.guest_place is not None
        ):
            return [overlay.guest_place]  # on its way there
        return super()._places(inode)

    def keep(
        self,
        changes: "Iterable[Change[Inode]]",
        refusal: Refusal,
        read: Callable[[int, int], bytes],
        seen: dict[Inode, tuple[int, int, int]],
    ) -> None:
        """Keep *changes* as refused, synced to disk: all or nothing. Raises OSError.

        *read* gives their bytes by their position; *seen* is what the host's files among their
        objects are like now.
        """
        end_bytes = self.data.end_bytes
        try:
            copies = [self._with_data(change, read) for change in changes]
            records = bytearray(b"" if self._records_bytes else self._base())
            for copy in copies:
                records += self._records_of(copy)
            for inode, like in seen.items():
                records += record(("seen", self._number(inode), *like))
            records += record(("refused", [copy.sequence for copy in copies], *refusal))
            os.fdatasync(self.data.fd)
            self._append_introducing(records)
            os.fdatasync(self._changes_fd)
        except BaseException:
            self._take_back(self._introduced)
            self._introduced = []
            self.data.end_bytes = end_bytes
            raise

    def _with_data(
        self, change: "Change[Inode]", read: Callable[[int, int], bytes]
    ) -> "Change[Inode]":
        if change.kind is not Kind.WRITE:
            return change
        position = self.data.end_bytes
        self.data.end_bytes += change.length
        copied = 0
        while copied < change.length:
            data = read(change.position + copied, min(_COPIED_BYTES, change.length - copied))
            if not data:
                raise OSError(errno.EIO, "the journal has lost its data")
            self.data.put(position + copied, data)
            copied += len(data)
        return replace(change, position=position)


def open_quarantine(journal: Journal, source: str, root: Inode) -> Quarantine:
    """Make the new quarantine beside *journal*, synced to the disk. Raises OSError."""
    directory = aside_of(journal.directory)
    for _ in range(_ATTEMPTS):  # another mount may take it for left behind before it is locked
        with contextlib.suppress(FileExistsError):
            # Above it too, where somebody has removed the state directory.
            make_directory(directory)
        lock_fd = new_lock(directory)
        if lock_fd >= 0:
            break
    else:
        raise OSError(errno.EAGAIN, os.strerror(errno.EAGAIN), str(directory))
    try:
        quarantine = Quarantine(directory, source, root, lock_fd)
    except BaseException:
        with contextlib.suppress(OSError):
            take_away(directory)
        os.close(lock_fd)
        raise
    for above in (directory, directory.parent):
        with opened(above) as fd:
            os.fsync(fd)
    return quarantine
