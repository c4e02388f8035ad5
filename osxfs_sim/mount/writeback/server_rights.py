"""What a server that is not root may do, by the modes that will hold when a change crosses.

Those are the pending ones, or else the host's. What they allow, and the host does not yet,
waits until they have crossed.
"""

import errno
import os
from collections.abc import Callable, Coroutine, Sequence
from typing import Any

from pyfuse3 import FUSEError

from osxfs_sim.mount.loop.request import Request
from osxfs_sim.mount.requests.host_calls import HostCalls
from osxfs_sim.mount.tree.backing import Backing, magic_link
from osxfs_sim.mount.tree.inodes import Inode
from osxfs_sim.mount.writeback.guest_view import guest_ancestors, guest_parent
from osxfs_sim.mount.writeback.write_through import WriteThrough

_READ, _WRITE, _SEARCH = 4, 2, 1


class ServerRights:
    """Judges what the server may do with objects; all, where it is root."""

    def __init__(
        self,
        calls: HostCalls,
        backing: Backing,
        write_through: WriteThrough,
        *,
        server_is_root: bool,
    ) -> None:
        self._calls = calls
        self._attempt = calls.attempt
        self._backing = backing
        self._write_through = write_through
        self._privileged = server_is_root

    def permits(self, inode: Inode, wanted: int) -> bool:
        """Whether pending modes, or else the host, let us: 4 read, 2 write, 1 search. OSError."""
        if self._privileged:
            return True
        overlay = inode.overlay
        mode = overlay.mode if overlay is not None else None
        if overlay is not None and overlay.local_only:
            return ((mode or 0) >> 6) & wanted == wanted  # it will be our own
        if mode is None:
            with self._backing.pinned(inode) as fd:
                return os.access(magic_link(fd), wanted, effective_ids=True)
        status = self._backing.status(inode)
        if status.st_uid == os.geteuid():
            mode >>= 6
        elif status.st_gid == os.getegid() or status.st_gid in os.getgroups():
            mode >>= 3
        return mode & wanted == wanted

    def check_permits(self, inode: Inode, wanted: int) -> None:
        """Raise OSError (EACCES) where *wanted* (bits: 4 read, 2 write, 1 search) is refused."""
        if not self.permits(inode, wanted):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    def check_search(self, directory: Inode | None) -> None:
        """Raise OSError (EACCES) where we shall not get into *directory* from the root.

        That we have a descriptor of it now does not help when a change of it crosses.
        """
        if self._privileged:
            return
        for here in guest_ancestors(directory):
            self.check_permits(here, _SEARCH)

    def check_may_change(self, directory: Inode) -> None:
        """Raise OSError (EACCES) where the host will not let us change names in *directory*."""
        if self._privileged:
            return
        self.check_search(directory)
        self.check_permits(directory, _WRITE | _SEARCH)

    def check_open(self, inode: Inode, flags: int) -> None:
        """Raise OSError (EACCES) where the pending modes do not let us open *inode* so."""
        if not inode.open_fds:
            self.check_search(guest_parent(inode))
        overlay = inode.overlay
        if overlay is None or overlay.mode is None or overlay.orphan:
            return
        wanted = {os.O_RDONLY: _READ, os.O_WRONLY: _WRITE}.get(flags & os.O_ACCMODE, _READ | _WRITE)
        self.check_permits(inode, wanted | (_WRITE if flags & os.O_TRUNC else 0))

    def is_ours(self, inode: Inode) -> bool:
        """Whether the server may link *inode*, as its owner or root; never fails.

        Who is not root may not link what belongs to others (proc(5), protected_hardlinks).
        """
        if self._privileged or inode.is_local_only:
            return True
        status, _ = self._attempt(self._backing.status, inode)
        return status is not None and status.st_uid == os.geteuid()

    def may_access(self, inode: Inode, mode: int) -> bool:
        """What access(2) would say to the server of *inode* with its pending mode. OSError."""
        assert inode.overlay is not None
        bits = inode.overlay.mode or 0
        if self._privileged:
            return not mode & os.X_OK or inode.is_directory or bool(bits & 0o111)
        return self.permits(inode, mode)

    def _mode_is_pending(self, inode: Inode | None) -> bool:
        """Whether the host has other modes yet, of *inode* or of a directory above it."""
        return any(
            here.overlay is not None and here.overlay.mode is not None
            for here in guest_ancestors(inode)
        )

    # Requests

    def as_permitted(
        self,
        request: Request,
        directories: Sequence[Inode | None],
        handler: Callable[..., Coroutine[Any, Any, Any]],
        *arguments: Any,
    ) -> Coroutine[Any, Any, Any]:
        """Ask *handler* about names in *directories*, if modes let us get there. FUSEError."""
        if self._privileged:
            return handler(request, *arguments)
        return self.once_allowed(
            request, directories, self._when_found, directories, handler, *arguments
        )

    async def _when_found(
        self,
        request: Request,
        directories: Sequence[Inode | None],
        handler: Callable[..., Coroutine[Any, Any, Any]],
        *arguments: Any,
    ) -> Any:
        for directory in directories:
            await self._calls.answer(request, self.check_search, directory)
        return await handler(request, *arguments)

    async def once_allowed(
        self,
        request: Request,
        inodes: Sequence[Inode | None],
        handler: Callable[..., Coroutine[Any, Any, Any]],
        *arguments: Any,
    ) -> Any:
        """Ask *handler*, and again once the host has the modes that it refuses by. FUSEError."""
        try:
            return await handler(request, *arguments)
        except FUSEError as error:
            if error.errno != errno.EACCES or not any(map(self._mode_is_pending, inodes)):
                raise
        request = await self._write_through.flush(request, *inodes)
        return await handler(request, *arguments)

    def ask_host(
        self,
        request: Request,
        inodes: Sequence[Inode | None],
        handler: Callable[..., Coroutine[Any, Any, Any]],
        *arguments: Any,
    ) -> Coroutine[Any, Any, Any]:
        """Ask *handler*, in whose way modes may be that the host has not got. FUSEError."""
        if self._privileged:
            return handler(request, *arguments)
        return self.once_allowed(request, inodes, handler, *arguments)
