"""READDIR and READDIRPLUS: the names in a directory, with what they are.

Whoever has the names is a Source (host_listing.py).
"""

import os
from collections.abc import Callable
from typing import Any

from pyfuse3 import FUSEError, ReaddirToken

from osxfs_sim.model.complete_directories import CompleteDirectories
from osxfs_sim.mount.latency.crossings import Crossings
from osxfs_sim.mount.loop.reactor import in_thread, yield_
from osxfs_sim.mount.loop.request import Request
from osxfs_sim.mount.requests.caching import Caching
from osxfs_sim.mount.requests.handle_table import HandleTable, Listing
from osxfs_sim.mount.requests.host_calls import HostCalls
from osxfs_sim.mount.requests.host_listing import DIRENT_BYTES, NamesReply, Source, names_in
from osxfs_sim.mount.tree.backing import Backing
from osxfs_sim.mount.tree.inodes import Inode
from osxfs_sim.mount.tree.spellings import Spellings

# A directory this large (its st_size) takes longer to list than a thread switch.
_LIST_IN_THREAD_BYTES = 16 * 1024
_MANY_NAMES = 1_000  # to fold so many takes longer than a thread switch
_ENTRIES_PER_YIELD = 32


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
        """Read and keep all names of *directory*; the bytes that cross; 0 where it is unreadable.

        It may be searched and not read.
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
                names, failure = await in_thread(lambda: self._calls.attempt(names_in, fd))
            else:
                names, failure = self._calls.attempt(names_in, fd)
        finally:
            os.close(fd)
        self._complete_directories.end_reading(
            directory, None if failure else await self.keys_of(names)
        )
        return sum(map(len, names)) + DIRENT_BYTES * len(names) if names else 0

    async def keys_of(self, names: list[bytes]) -> set[bytes]:
        """The folded keys of *names*, made in a thread where they are many. Never fails."""
        if len(names) < _MANY_NAMES:
            return set(map(self._spellings.key, names))
        keys: set[bytes] = await in_thread(lambda: set(map(self._spellings.key, names)))
        return keys
