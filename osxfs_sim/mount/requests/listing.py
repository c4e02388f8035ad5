"""READDIR and READDIRPLUS: the names in a directory, with what they are.

What a listing has besides the host's names is laid over HostListing: what is pending, and
synthetic directories.
"""

import errno
import os
import stat as modes
import struct
from collections.abc import Callable
from typing import Any, Protocol

import pyfuse3
from pyfuse3 import FUSEError, ReaddirToken

from osxfs_sim.model.caching import UNCACHED
from osxfs_sim.model.complete_directories import CompleteDirectories
from osxfs_sim.mount.latency.crossings import Crossings
from osxfs_sim.mount.loop.reactor import in_thread, yield_
from osxfs_sim.mount.loop.request import Request
from osxfs_sim.mount.requests.caching import Caching
from osxfs_sim.mount.requests.entries import Identify, Show
from osxfs_sim.mount.requests.handle_table import HandleTable, Listing
from osxfs_sim.mount.requests.host_calls import HostCalls
from osxfs_sim.mount.tree.backing import Backing
from osxfs_sim.mount.tree.inodes import Inode, InodeTable
from osxfs_sim.mount.tree.owners import Owners
from osxfs_sim.mount.tree.spellings import Spellings

# A directory this large (its st_size) takes longer to list than a thread switch.
_LIST_IN_THREAD_BYTES = 16 * 1024
_MANY_NAMES = 1_000  # to fold so many takes longer than a thread switch
_ENTRIES_PER_YIELD = 32

DIRENTPLUS_BYTES = 152
_DIRENT = struct.Struct("=QQII")
_DIRENT_BYTES = _DIRENT.size
"""struct fuse_direntplus and struct fuse_dirent without the name (linux/fuse.h)."""


class NamesReply:
    """The reply to a READDIR as it grows, of at most *size_bytes* (struct fuse_dirent)."""

    __slots__ = ("entries", "left_bytes")

    def __init__(self, size_bytes: int) -> None:
        self.entries: list[bytes] = []
        self.left_bytes = size_bytes

    def add(self, name: bytes, number: int, mode: int, next_id: int) -> int:
        """Append an entry: the bytes that it takes, or 0 where there is no room for it."""
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
        """All names in the directory, "." and ".." first. Raises OSError."""

    def add_entry(self, token: ReaddirToken, fh: int, listing: Listing, position: int) -> int:
        """Add name *position* with attributes: the bytes taken; 0: the reply is full. OSError.

        For READDIRPLUS.
        """

    def add_name(self, reply: NamesReply, fh: int, listing: Listing, position: int) -> int:
        """As add_entry, without attributes (READDIR)."""


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
        return [b".", b"..", *_names_in(fh)]

    def add_entry(self, token: ReaddirToken, fh: int, listing: Listing, position: int) -> int:
        """Add name *position*, with nlookup raised: bytes taken; 1: it is gone; 0: reply full.

        "." and ".." are shown, but never counted as looked up. Raises OSError.
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
        """Add name *position* with its type: bytes taken; 1: it is gone; 0: reply full."""
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


class Listings:
    """READDIR, READDIRPLUS, and reading all names of a directory for a LOOKUP."""

    def __init__(
        self,
        calls: HostCalls,
        crossings: Crossings,
        backing: Backing,
        spellings: Spellings,
        caching: Caching,
        complete_directories: CompleteDirectories[Inode] | None,
        handles: HandleTable,
        source: Source,
    ) -> None:
        self._calls = calls
        self._crossings = crossings
        self._backing = backing
        self._spellings = spellings
        self._caching = caching
        self._complete_directories = complete_directories
        self._handles = handles
        self._source = source

    async def readdir(self, request: Request, fh: int, start_id: int, token: ReaddirToken) -> None:
        """READDIRPLUS: fill *token* with entries from *start_id* on. Raises FUSEError."""
        listing = self._handles.listings[fh]
        failure = await self._begin_listing(fh, listing) if start_id == 0 else 0
        await self._list_on(request, self._source.add_entry, token, fh, start_id, failure)

    async def read_names(self, request: Request, fh: int, start_id: int, size_bytes: int) -> bytes:
        """READDIR: entries without attributes, from *start_id* on, as bytes. Raises FUSEError."""
        listing = self._handles.listings[fh]
        failure = await self._begin_listing(fh, listing) if start_id == 0 else 0
        reply = NamesReply(size_bytes)
        await self._list_on(request, self._source.add_name, reply, fh, start_id, failure)
        return b"".join(reply.entries)

    async def _begin_listing(self, fh: int, listing: Listing) -> int:
        """Settle the names of *listing* as they are now; an errno, or 0."""
        # Also checks that the host has not moved it out of the export meanwhile.
        status, failure = self._calls.attempt(self._backing.status, listing.directory)
        sets = self._complete_directories
        learns = self._caching.should_read_names(listing.directory)
        if learns and sets is not None:
            sets.begin_reading(listing.directory)
        if failure:
            names = None
        elif status.st_size > _LIST_IN_THREAD_BYTES:
            names, failure = await in_thread(
                lambda: self._calls.attempt(self._source.names, fh, listing)
            )
        else:
            names, failure = self._calls.attempt(self._source.names, fh, listing)
        listing.names = names or []
        if learns and sets is not None:
            keys = await self.keys_of(listing.names[2:])
            sets.end_reading(listing.directory, None if failure else keys)
        if not failure:
            _, failure = self._calls.attempt(
                self._spellings.listed, listing.directory, fh, listing.names
            )
        return failure

    async def _list_on(
        self,
        request: Request,
        add: Callable[..., int],
        reply: Any,
        fh: int,
        start_id: int,
        failure: int,
    ) -> None:
        """Fill *reply* from *start_id* on, by *add*, and answer when the crossing is paid."""
        listing = self._handles.listings[fh]
        size_bytes = 0
        for position in range(start_id, len(listing.names)):
            if position % _ENTRIES_PER_YIELD == _ENTRIES_PER_YIELD - 1:
                await yield_()
            added, failure = self._calls.attempt(add, reply, fh, listing, position)
            if failure and size_bytes:
                failure = 0  # what was added counts; the next request meets the failure
                break
            if failure or not added:
                break
            size_bytes += added
        await self._crossings.cross(request, request.operation, size_bytes)
        if failure:
            raise FUSEError(failure)

    async def read_all(self, directory: Inode) -> int:
        """Read all names of *directory* into the complete directories; the bytes that cross.

        0 where it may be searched and not read.
        """
        assert self._complete_directories is not None
        fd, failure = self._calls.attempt(
            self._backing.open, directory, os.O_RDONLY | os.O_DIRECTORY
        )
        if failure:
            return 0  # it may be searched and not read
        self._complete_directories.begin_reading(directory)
        try:
            if os.fstat(fd).st_size > _LIST_IN_THREAD_BYTES:
                names, failure = await in_thread(lambda: self._calls.attempt(_names_in, fd))
            else:
                names, failure = self._calls.attempt(_names_in, fd)
        finally:
            os.close(fd)
        self._complete_directories.end_reading(
            directory, None if failure else await self.keys_of(names)
        )
        return sum(map(len, names)) + _DIRENT_BYTES * len(names) if names else 0

    async def keys_of(self, names: list[bytes]) -> set[bytes]:
        """The folded keys of *names*; of many of them in a thread."""
        if len(names) < _MANY_NAMES:
            return set(map(self._spellings.key, names))
        keys: set[bytes] = await in_thread(lambda: set(map(self._spellings.key, names)))
        return keys


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


def _names_in(fd: int) -> list[bytes]:
    return [os.fsencode(name) for name in os.listdir(fd)]
