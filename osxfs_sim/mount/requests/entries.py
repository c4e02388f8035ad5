"""The replies about objects of the host's: entries, attributes, negative entries.

Two steps of a reply are taken elsewhere, and may have something laid over them, which holds the
next: which inode a name leads to (Identify, names/identities.py), and how its attributes are shown
(Show, attributes.py). Write-back lays what is pending over both.
"""

import os
import time

from pyfuse3 import EntryAttributes

from osxfs_sim.model.caching import UNCACHED
from osxfs_sim.mount.requests.attributes import S_PER_NS, Show
from osxfs_sim.mount.requests.caching import Caching
from osxfs_sim.mount.requests.identities import Identify
from osxfs_sim.mount.requests.namespace import Namespace
from osxfs_sim.mount.tree.backing import Backing
from osxfs_sim.mount.tree.inodes import Inode, InodeTable
from osxfs_sim.mount.tree.owners import Caller, Owners


class Entries:
    """Makes the replies about objects of the host's: entries, attributes, negative entries."""

    def __init__(
        self,
        inodes: InodeTable,
        backing: Backing,
        owners: Owners,
        caching: Caching,
        namespace: Namespace,
        identify: Identify,
        show: Show,
    ) -> None:
        self._inodes = inodes
        self._backing = backing
        self._owners = owners
        self._caching = caching
        self._namespace = namespace
        self._identify = identify
        self._show = show

    def entry(
        self,
        parent: Inode,
        dir_fd: int,
        name: bytes,
        status: os.stat_result,
        caller: Caller,
        requested: bytes,
        *,
        is_cached: bool = True,
    ) -> EntryAttributes:
        """The reply that names *name* in *parent*; raises the inode's nlookup. Raises OSError.

        FORGET pays that back. *name* is what the host calls it, *requested* what the guest does;
        where it is not to be *is_cached*, both timeouts are 0.
        """
        # A policy of the user's own may fail: ask it before anything is noted down.
        timeouts = UNCACHED
        if is_cached:
            timeouts = self._caching.entry_timeouts(parent, name, requested, status)
        ids = self._owners.ids(dir_fd, name, status, caller)
        inode, status = self._identify(parent, dir_fd, name, status)
        inode.nlookup += 1
        self._backing.hold(inode, dir_fd, name)
        return self._show(inode, status, ids, timeouts)

    def attributes(
        self, inode: Inode, caller: Caller, *, is_cached: bool = True
    ) -> EntryAttributes:
        """The attributes of *inode*, asked for without a name. Raises OSError: ESTALE."""
        fd, name, status = self._backing.find(inode)
        ids = self._owners.ids(fd, name, status, caller)
        timeouts = self._caching.attr_timeouts(inode, status) if is_cached else UNCACHED
        return self._show(inode, status, ids, timeouts)

    def made(
        self,
        parent: Inode,
        dir_fd: int,
        name: bytes,
        caller: Caller,
        requested: bytes,
        *,
        is_new: bool = True,
    ) -> EntryAttributes:
        """The reply that names *name*, which the guest has just made in *parent*. Raises OSError.

        *is_new*: the object was just made, too, and is no further name of one.
        """
        self._namespace.name_added(parent, dir_fd, name, requested)
        status = os.stat(name, dir_fd=dir_fd, follow_symlinks=False)
        gone = self._inodes.find(status) if is_new else None
        if gone is not None:
            # What was just made cannot be known: the host has removed an object and
            # given its number to this one. Taken for it, a new FIFO would be the old
            # pipe, and a new directory would show what is cached of the old one.
            self._inodes.detach_host_number(gone)
        entry = self.entry(parent, dir_fd, name, status, caller, requested)
        self._inodes[entry.st_ino].changed_ns = time.time_ns()
        return entry

    def missing(self, parent: Inode, requested: bytes) -> EntryAttributes | None:
        """A reply that *requested* is missing, to be cached (st_ino 0); None: not to be cached."""
        timeout_ns = self._caching.negative_timeout_ns(parent, requested)
        if timeout_ns <= 0:
            return None
        # A number of zero is the protocol's way to say: missing, and that may be kept.
        missing = EntryAttributes()
        missing.st_ino = 0
        missing.entry_timeout = timeout_ns * S_PER_NS
        return missing
