"""What fsync(2) has to say of changes that the host has not taken: errno, once to each.

As Linux reports pages that could not be written (lib/errseq.c): whoever has the object open when
it happens hears of it by the next fsync of that very handle, once. Where nobody has heard yet,
who opens it later is. After that fsync speaks of what comes then.
"""

import os

from osxfs_sim.mount.tree.inodes import Inode

_MOST_UNSEEN = 4_096


class SyncErrors:
    """Which fsync(2) still has to fail for a change that was set aside. Reactor's thread only."""

    def __init__(self) -> None:
        self._of_handles: dict[int, int] = {}
        self._unseen: dict[Inode, int] = {}

    def happened(self, inode: Inode, code: int, handles: "list[int]") -> None:
        """Note that a change of *inode*, open by *handles*, was refused with errno *code*."""
        for handle in handles:
            self._of_handles[handle] = code
        self._unseen[inode] = code
        if len(self._unseen) > _MOST_UNSEEN:
            del self._unseen[next(iter(self._unseen))]

    def check(self, handle: int, inode: Inode) -> None:
        """Raise OSError, once, where a change was refused that an fsync(2) must tell of."""
        code = self._of_handles.pop(handle, 0)
        code = self._unseen.pop(inode, 0) or code
        if code:
            raise OSError(code, os.strerror(code))

    def closed(self, handle: int) -> None:
        """Forget errors of the closed *handle*, whose number will be another's."""
        self._of_handles.pop(handle, None)

    def forget(self, inode: Inode) -> None:
        """Forget errors of *inode*, which the kernel has forgotten."""
        self._unseen.pop(inode, None)
