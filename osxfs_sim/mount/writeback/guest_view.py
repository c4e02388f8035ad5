"""What the guest is shown of objects of which something is pending: that, laid over the host's
answer; or that alone, where the object is local-only.
"""

import errno
import os
from collections.abc import Iterator
from typing import Any

from pyfuse3 import EntryAttributes

from osxfs_sim.model.caching import UNCACHED, CacheTimeouts
from osxfs_sim.mount.requests.attributes import Show
from osxfs_sim.mount.requests.caching import Caching
from osxfs_sim.mount.requests.identities import Identify
from osxfs_sim.mount.tree import generations
from osxfs_sim.mount.tree.backing import Backing
from osxfs_sim.mount.tree.inodes import Inode, InodeTable, Shown
from osxfs_sim.mount.tree.owners import Caller, Owners
from osxfs_sim.mount.writeback.overlay import GuestStatus, laid_over, status_of_local_only

Status = os.stat_result | GuestStatus
_DEEPEST = 4_096


def guest_parent(inode: Inode) -> Inode | None:
    """The directory in which the guest has *inode*; None: it has no place."""
    if inode.overlay is not None and inode.overlay.guest_place is not None:
        return inode.overlay.guest_place[0]
    return inode.parent


def guest_ancestors(inode: Inode | None) -> Iterator[Inode]:
    """*inode* and the directories above it, as the guest has them: no more than paths can have."""
    for _ in range(_DEEPEST):
        if inode is None:
            return
        yield inode
        inode = guest_parent(inode)


class GuestView:
    """Lays what is pending over how the host's objects are identified and shown."""

    def __init__(
        self,
        inodes: InodeTable,
        backing: Backing,
        owners: Owners,
        caching: Caching,
        identify: Identify,
        show: Show,
    ) -> None:
        """*identify* and *show* are the next ones, which know nothing of what is pending."""
        self._inodes = inodes
        self._backing = backing
        self._owners = owners
        self._caching = caching
        self._next_identify = identify
        self._next_show = show

    def show(
        self, inode: Inode, status: Any, ids: tuple[int, int], timeouts: CacheTimeouts
    ) -> EntryAttributes:
        """The attributes of *inode* for a reply: pending changes laid over the host's *status*."""
        overlay = inode.overlay
        if overlay is not None:
            ids = overlay.owner.reported_to(*ids)
            if not overlay.local_only:
                status = laid_over(overlay, status)
        if inode.is_directory and status.st_mode != (inode.shown.mode if inode.shown else 0):
            owners = inode.shown[3:] if inode.shown is not None else ()
            inode.shown = Shown(status.st_mode, status.st_uid, status.st_gid, *owners)
        return self._next_show(inode, status, ids, timeouts)

    def identify(
        self, parent: Inode, dir_fd: int, name: bytes, status: os.stat_result
    ) -> tuple[Inode, os.stat_result]:
        """The inode of *name* and its status, none with another's changes. Raises OSError."""
        known = self._inodes.find(status)
        if (
            known is not None
            and known.overlay is not None
            and not generations.is_same(known, dir_fd, name, status)
        ):
            # Something is pending of an object that the host has removed; this one has its number.
            self._inodes.detach_host_number(known)
        return self._next_identify(parent, dir_fd, name, status)

    def status(self, inode: Inode) -> Status:
        """The status of *inode* as the guest sees it, pending changes included. Raises OSError."""
        overlay = inode.overlay
        if overlay is None:
            return self._backing.status(inode)
        if overlay.local_only:
            return status_of_local_only(inode)
        return laid_over(overlay, self._backing.status(inode))

    def named(self, parent: Inode, name: bytes) -> tuple[Inode | None, Status]:
        """What the guest has by *name*: its inode, if it is known, and what it is like.

        Raises OSError: ENOENT.
        """
        overlay = parent.overlay
        if overlay is not None:
            known = overlay.name(name)
            if known is not None:
                if known.inode is None:
                    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
                return known.inode, self.status(known.inode)
            if overlay.local_only:
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        dir_fd = self._backing.directory_fd(parent)
        status = os.stat(name, dir_fd=dir_fd, follow_symlinks=False)
        inode = self._inodes.find(status)
        if inode is not None and inode.overlay is not None:
            return inode, laid_over(inode.overlay, status)
        return inode, status

    def has(self, parent: Inode, name: bytes) -> bool:
        """Whether the guest has anything by *name* in *parent*. Raises OSError."""
        try:
            self.named(parent, name)
        except FileNotFoundError:
            return False
        return True

    def is_empty(self, directory: Inode) -> bool:
        """Whether the guest has no names in *directory*. Raises OSError."""
        overlay = directory.overlay
        names = (overlay.names if overlay is not None else None) or {}
        if any(each.inode is not None for each in names.values()):
            return False
        if directory.is_local_only:
            return True
        fd = self._backing.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            with os.scandir(fd) as entries:
                return all(os.fsencode(entry.name) in names for entry in entries)
        finally:
            os.close(fd)

    def pending_attributes(
        self, inode: Inode, name: bytes, caller: Caller, *, is_cached: bool
    ) -> EntryAttributes:
        """Attributes of an *inode* reached by a pending name, or local-only. Raises OSError."""
        overlay = inode.overlay
        status: Any
        timeouts = UNCACHED
        if overlay is not None and overlay.local_only:
            status, ids = status_of_local_only(inode), (caller.uid, caller.gid)
            if is_cached:
                timeouts = self._caching.local_timeouts(name, status)
        else:
            fd, host_name, status = self._backing.find(inode)
            ids = self._owners.ids(fd, host_name, status, caller)
            if is_cached:
                timeouts = self._caching.attr_timeouts(inode, status)
        return self.show(inode, status, ids, timeouts)

    def pending_entry(
        self, parent: Inode, name: bytes, inode: Inode, caller: Caller
    ) -> EntryAttributes:
        """The pending_attributes() for a reply that names *inode*; its nlookup rises. OSError."""
        is_cached = parent.watched is not False
        entry = self.pending_attributes(inode, name, caller, is_cached=is_cached)
        inode.nlookup += 1
        if parent.sent_dentries is not None:
            parent.sent_dentries[name] = inode
        return entry
