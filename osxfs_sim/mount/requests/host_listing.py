"""The host's part of listings: the names in a directory, and what each is.

What a listing has besides is laid over HostListing: what is pending, and synthetic directories.
"""

import errno
import os
import stat as modes
import struct
from collections.abc import Callable
from typing import Protocol

import pyfuse3
from pyfuse3 import ReaddirToken

from osxfs_sim.model.caching import UNCACHED
from osxfs_sim.mount.requests.attributes import Show
from osxfs_sim.mount.requests.caching import Caching
from osxfs_sim.mount.requests.handle_table import Listing
from osxfs_sim.mount.requests.identities import Identify
from osxfs_sim.mount.tree.backing import Backing
from osxfs_sim.mount.tree.inodes import Inode, InodeTable
from osxfs_sim.mount.tree.owners import Owners
from osxfs_sim.mount.tree.spellings import Spellings

DIRENTPLUS_BYTES = 152
_DIRENT = struct.Struct("=QQII")
DIRENT_BYTES = _DIRENT.size
"""struct fuse_direntplus and struct fuse_dirent without the name (linux/fuse.h)."""


class NamesReply:
    """The reply to a READDIR as it grows, of at most *size_bytes* (struct fuse_dirent)."""

    __slots__ = ("entries", "left_bytes")

    def __init__(self, size_bytes: int) -> None:
        self.entries: list[bytes] = []
        self.left_bytes = size_bytes

    def add(self, name: bytes, number: int, mode: int, next_id: int) -> int:
        """Append an entry to the reply; the bytes that it takes, or 0 where there is no room."""
        entry = _DIRENT.pack(number, next_id, len(name), modes.S_IFMT(mode) >> 12) + name
        entry += bytes(-len(entry) % 8)
        if len(entry) > self.left_bytes:
            return 0
        self.entries.append(entry)
        self.left_bytes -= len(entry)
        return len(entry)


class Source(Protocol):
    """Where a listing's names come from, and how each is added to a reply."""

    def names(self, fh: int, listing: Listing) -> list[bytes]:
        """All names in an open directory, "." and ".." first. Raises OSError."""

    def add_entry(self, token: ReaddirToken, fh: int, listing: Listing, position: int) -> int:
        """Add name *position* with attributes; bytes taken, or 0: reply full. Raises OSError.

        For READDIRPLUS.
        """

    def add_name(self, reply: NamesReply, fh: int, listing: Listing, position: int) -> int:
        """Add name *position*, its type alone; bytes taken, or 0: reply full. Raises OSError."""


class HostListing:
    """The names that the host has. *evict* is called with inodes that nobody needs any more."""

    def __init__(
        self,
        inodes: InodeTable,
        backing: Backing,
        owners: Owners,
        spellings: Spellings,
        caching: Caching,
        identify: Identify,
        show: Show,
        evict: Callable[[Inode], None],
    ) -> None:
        self._inodes = inodes
        self._backing = backing
        self._owners = owners
        self._spellings = spellings
        self._caching = caching
        self._identify = identify
        self._show = show
        self._evict = evict

    def names(self, fh: int, listing: Listing) -> list[bytes]:
        """All names in the open directory *fh*, "." and ".." first. Raises OSError."""
        return [b".", b"..", *names_in(fh)]

    def add_entry(self, token: ReaddirToken, fh: int, listing: Listing, position: int) -> int:
        """Add name *position* to READDIRPLUS; bytes taken, 1: gone, 0: full. Raises OSError.

        It raises nlookup. "." and ".." are shown, but never counted as looked up.
        """
        name = listing.names[position]
        if name in (b".", b".."):
            # Shown, but never counted as looked up (fuse_direntplus_link in the
            # kernel). The host's ".." is not asked: it may lie outside the export.
            inode = listing.directory
            if name == b".." and inode.parent is not None:
                inode = inode.parent
            status = os.fstat(fh)
            ids = self._owners.ids(fh, b".", status, listing.caller)
            entry = self._show(inode, status, ids, UNCACHED)
            added = pyfuse3.readdir_reply(token, name, entry, position + 1)
            return DIRENTPLUS_BYTES if added else 0
        seen = _status_of_entry(fh, name)
        if seen is None:
            return 1
        shown = self._spellings.display_name(fh, name)
        timeouts = self._caching.entry_timeouts(listing.directory, name, shown, seen)
        ids = self._owners.ids(fh, name, seen, listing.caller)
        inode, status = self._identify(listing.directory, fh, name, seen)
        entry = self._show(inode, status, ids, timeouts)
        if not pyfuse3.readdir_reply(token, shown, entry, position + 1):
            # It may have been known before, or be needed for what is pending of it.
            if self._inodes.evict(inode):
                self._evict(inode)
            return 0
        inode.nlookup += 1
        self._backing.hold(inode, fh, name)
        return DIRENTPLUS_BYTES + len(name)

    def add_name(self, reply: NamesReply, fh: int, listing: Listing, position: int) -> int:
        """Add name *position* to READDIR; bytes taken, 1: it is gone, 0: full. Raises OSError."""
        name = listing.names[position]
        if name in (b".", b".."):
            inode = listing.directory
            if name == b".." and inode.parent is not None:
                inode = inode.parent
            return reply.add(name, inode.number, modes.S_IFDIR, position + 1)
        # For the kind of the object alone: without it a walk would ask for each.
        status = _status_of_entry(fh, name)
        if status is None:
            return 1
        known = self._inodes.find(status)
        number = known.number if known is not None else status.st_ino
        return reply.add(
            self._spellings.display_name(fh, name), number, status.st_mode, position + 1
        )


def _status_of_entry(fh: int, name: bytes) -> os.stat_result | None:
    """Of a name of a listing; None for one that is passed over."""
    try:
        return os.stat(name, dir_fd=fh, follow_symlinks=False)
    except FileNotFoundError:
        return None  # gone since the listing began
    except OSError as error:
        if error.errno not in (errno.ENOTCONN, errno.ELOOP):
            raise
        return None  # a dead mount on the host, or this very share: the rest can be listed


def names_in(fd: int) -> list[bytes]:
    """All names in the host's directory *fd*, without "." and "..". Raises OSError."""
    return [os.fsencode(name) for name in os.listdir(fd)]
