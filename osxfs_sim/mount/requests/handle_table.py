"""What the guest has open: a descriptor of the host's each, and what reads and writes need of it.

The descriptor serves as the handle: one look-up less on every read.
"""

import errno
import os
from typing import TypeVar

from pyfuse3 import FileInfo

from osxfs_sim.mount.tree.inodes import Inode
from osxfs_sim.mount.tree.owners import KnownCaller

_Opened = TypeVar("_Opened")


class Listing:
    """The names in an open directory, as they were when its reading began.

    POSIX leaves open whether names that come or go meanwhile are seen, but
    every other name must be seen exactly once: so positions are indices into a
    list that does not change until the directory is rewound.
    """

    __slots__ = ("caller", "directory", "names", "pending_names")

    def __init__(self, directory: Inode, caller: KnownCaller) -> None:
        self.directory = directory
        self.pending_names: dict[bytes, bool] = {}
        """Pending names, which differ from the host's; is it there? Written by write-back."""
        self.caller = caller
        self.names: list[bytes] = []


class _ByHandle(dict[int, _Opened]):
    """What the guest has open; EBADF for a handle that it has not, or not any more."""

    def __missing__(self, handle: int) -> _Opened:
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))


class HandleTable:
    """The open files and directories of one share, by handle. The reactor's thread only."""

    def __init__(self, *, direct: bool, kernel_appends: bool) -> None:
        """*direct*: the guest's kernel keeps no content (FOPEN_DIRECT_IO). *kernel_appends*: it
        writes back its own pages, and appends where it takes the end to be.
        """
        self.files: _ByHandle[Inode] = _ByHandle()
        self.listings: _ByHandle[Listing] = _ByHandle()
        self.appending: set[int] = set()
        """Handles whose writes go to the host's own end of the file."""
        self.synchronous: set[int] = set()
        """Handles whose writes are to be synced (O_SYNC, O_DSYNC)."""
        self.clearing_set_id: set[int] = set()
        """Handles whose writes clear set-id bits: of whoever is not root."""
        self.non_members: set[int] = set()
        """Of these, those of callers who are not in the file's group."""
        self._direct = direct
        self._kernel_appends = kernel_appends

    def __len__(self) -> int:
        return len(self.files) + len(self.listings)

    def inode_of(self, handle: int, *, is_directory: bool) -> Inode:
        """The inode that is open by *handle*. Raises OSError: EBADF where none is."""
        return self.listings[handle].directory if is_directory else self.files[handle]

    def of(self, inode: Inode) -> list[int]:
        """The handles by which the guest has *inode* open; an empty list where it has not."""
        if inode.is_directory:
            return [fh for fh, each in self.listings.items() if each.directory is inode]
        return list(inode.open_fds or ())

    def opened(self, inode: Inode, fd: int, flags: int, *, keep_pages: bool) -> FileInfo:
        """Enter *fd* as the handle of *inode*, opened with *flags*; the OPEN reply. Never fails.

        Nor may anything after it.
        """
        if self._kernel_appends:
            flags &= ~os.O_APPEND
        handle = FileInfo(fh=fd, keep_cache=keep_pages)
        # Appends bypass the page cache. Through it the kernel cuts a write(2) at
        # page boundaries, so that host and guest would tear each other's records;
        # and it writes a shared mapping's pages back through the handle it was made
        # with, by requests that pyfuse3 does not tell from appends.
        handle.direct_io = self._direct or bool(flags & os.O_APPEND)
        self.files[fd] = inode
        if inode.open_fds is None:
            inode.open_fds = [fd]
        else:
            inode.open_fds.append(fd)
        if flags & os.O_APPEND:
            self.appending.add(fd)
        if flags & (os.O_SYNC | os.O_DSYNC):
            self.synchronous.add(fd)
        return handle

    def released(self, fh: int) -> None:
        """Remove file handle *fh* from the table, without closing it. Raises OSError: EBADF."""
        inode = self.files[fh]
        del self.files[fh]
        assert inode.open_fds is not None
        inode.open_fds.remove(fh)
        if not inode.open_fds:
            inode.open_fds = None
        self.appending.discard(fh)
        self.synchronous.discard(fh)
        self.clearing_set_id.discard(fh)
        self.non_members.discard(fh)

    def close(self) -> None:
        """Close all files and directories that the guest has left open."""
        for fd in (*self.files, *self.listings):
            os.close(fd)
        self.files.clear()
        self.listings.clear()
