"""What becomes of the guest's side when the host gets what is pending, or does not take it."""

import os
from collections.abc import Callable

from pyfuse3 import FUSEError

from osxfs_sim.model.complete_directories import CompleteDirectories
from osxfs_sim.model.write_back import Change, name_effects
from osxfs_sim.mount.loop.notifications import (
    InvalAttributes,
    InvalEntry,
    Invalidate,
    Invalidation,
    InvalPages,
)
from osxfs_sim.mount.requests.handle_table import HandleTable
from osxfs_sim.mount.requests.host_calls import HostCalls
from osxfs_sim.mount.tree.backing import Backing
from osxfs_sim.mount.tree.inodes import Inode, InodeTable
from osxfs_sim.mount.tree.spellings import Spellings
from osxfs_sim.mount.writeback.sync_errors import SyncErrors
from osxfs_sim.mount.writeback.writeback import WriteBack


def drop_sent_dentry(parent: Inode, name: bytes, inode: Inode) -> None:
    """Look no more for *name* among the host's changes where *inode* was never on the host."""
    if inode.host_number == 0 and parent.sent_dentry(name) is inode:
        assert parent.sent_dentries is not None
        del parent.sent_dentries[name]


class GuestSide:
    """The guest's side of write-back: open handles, failures of fsync(2), invalidations."""

    def __init__(
        self,
        calls: HostCalls,
        inodes: InodeTable,
        backing: Backing,
        spellings: Spellings,
        complete_directories: CompleteDirectories[Inode] | None,
        handles: HandleTable,
        evict: Callable[[Inode], None],
        invalidate: Invalidate,
    ) -> None:
        """*evict* is called with inodes that nothing refers to, and of which nothing is pending."""
        self.sync_errors = SyncErrors()
        self.unopened: set[int] = set()
        """Handles of directories that could not be opened when the host got them."""
        self._attempt = calls.attempt
        self._inodes = inodes
        self._backing = backing
        self._spellings = spellings
        self._complete_directories = complete_directories
        self._handles = handles
        self._evict = evict
        self._invalidate = invalidate

    def was_set_aside(
        self, changes: "list[Change[Inode]]", shown_anew: set[Inode], code: int
    ) -> None:
        """Invalidate what *changes*, which the host refused, show; let fsync(2) fail once.

        *shown_anew* are inodes whose content and attributes are the host's again.
        """
        invalidations: dict[Invalidation, None] = {}
        for change in changes:
            concerned = {change.target, *change.directories}
            for inode in concerned:
                self.sync_errors.happened(inode, code, self._handles.of(inode))
            for directory, name, _ in name_effects(change):
                self.has_name(directory, name)  # it may be there still
                if directory.sent_dentries is not None and directory.sent_dentry(name) is not None:
                    del directory.sent_dentries[name]
                invalidations[InvalEntry(directory.number, name)] = None
                invalidations[InvalAttributes(directory.number, None)] = None
        for inode in shown_anew:
            invalidations[InvalPages(inode.number, None)] = None
        self._invalidate(invalidations)

    def evict_if_forgotten(self, inode: Inode) -> None:
        """Evict *inode*, of which nothing is pending now, if the kernel has forgotten it."""
        if not self._inodes.knows(inode) or self._inodes.evict(inode):
            self._evict(inode)
        while (unneeded := self._inodes.pop_unneeded()) is not None:
            self._evict(unneeded)

    def created_on_host(self, inode: Inode) -> None:
        """Open the guest's handles of the directory *inode*, which the host has now."""
        if not inode.is_directory:
            return
        self.unopened.update(
            handle
            for handle, listing in self._handles.listings.items()
            if listing.directory is inode
        )
        self.attributes_set_on_host(inode)

    def attributes_set_on_host(self, inode: Inode) -> None:
        """Open the handles that wait for *inode*'s mode on the host; goes on where it cannot.

        The guest may have opened a directory under a mode that was pending then, made it so before
        and takes it back afterwards. Only in between the host allows to open it; and what is open
        stays open.
        """
        if not self.unopened or not inode.is_directory:
            return
        for handle in [
            each for each in self.unopened if self._handles.listings[each].directory is inode
        ]:
            self._attempt(self.open_directory, handle, inode)

    def open_directory(self, handle: int, inode: Inode) -> None:
        """Open the host's directory *inode* as *handle*, if it is not open. Raises OSError."""
        if handle not in self.unopened:
            return  # it was opened while somebody waited to do so
        fd = self._backing.open(inode, os.O_RDONLY | os.O_DIRECTORY)
        os.dup2(fd, handle, inheritable=False)
        os.close(fd)
        self.unopened.discard(handle)

    def has_name(self, directory: Inode, name: bytes) -> None:
        """Note that the guest has put *name* in *directory*: it is not known absent any more."""
        if self._complete_directories is not None:
            self._complete_directories.added(directory, self._spellings.key(name))

    def check_synced(self, handle: int, inode: Inode) -> None:
        """Raise FUSEError, once for an fsync(2), where a change of *inode* was set aside."""
        _, failure = self._attempt(self.sync_errors.check, handle, inode)
        if failure:
            raise FUSEError(failure)


class PendingEviction:
    """Evicts an inode, or keeps it where something is pending of it."""

    def __init__(
        self, write_back: WriteBack, sync_errors: SyncErrors, evict: Callable[[Inode], None]
    ) -> None:
        """*evict* is the next one."""
        self._write_back = write_back
        self._sync_errors = sync_errors
        self._next_evict = evict

    def __call__(self, inode: Inode) -> None:
        self._sync_errors.forget(inode)
        if inode.overlay is not None:
            self._write_back.pending.forget(inode)  # comes back without
            return
        self._next_evict(inode)
