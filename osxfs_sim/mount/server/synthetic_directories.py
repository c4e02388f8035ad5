"""A directory of the server's own in the root of a share: seen there, and nowhere on the host.

It is backed by an empty private directory, reached through a descriptor of its
own, so that whatever looks at it or below it goes through the ordinary code;
what would change it is refused here. In the export an entry of its name is
hidden, and left alone.

Only the root's number and its listing are known here, nothing of what else is
in the root. A share without a synthetic directory has no such layers, and pays nothing.
"""

import contextlib
import errno
import fcntl
import os
import shutil
import stat as modes
import tempfile
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from pyfuse3 import (
    EntryAttributes,
    FileInfo,
    FUSEError,
    ReaddirToken,
    RequestContext,
    SetattrFields,
)

from osxfs_sim.mount.loop.request import Request
from osxfs_sim.mount.requests.handle_table import Listing
from osxfs_sim.mount.requests.handlers import Handlers
from osxfs_sim.mount.requests.host_calls import HostCalls
from osxfs_sim.mount.requests.host_listing import NamesReply, Source
from osxfs_sim.mount.requests.host_operations import HostOperations
from osxfs_sim.mount.requests.layer import Layer
from osxfs_sim.mount.tree.backing import Backing
from osxfs_sim.mount.tree.inodes import ROOT_NUMBER, Inode, InodeTable
from osxfs_sim.mount.tree.spellings import Spellings

_PREFIX = "synthetic-"
_NO_PROCESS = -1  # 0 is who is in no process namespace of ours
_OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class PrivateDirectory:
    """The host directory behind a synthetic one called *name*, and its descriptors.

    The directory lies alone in another one, the *holder*, under the very name that it has in the
    share: so a lookup of that name in the holder finds what a lookup in the root shall find.
    """

    def __init__(self, runtime: Path, name: str) -> None:
        """Make it in the server's own *runtime* directory, and take away what others left.

        Raises OSError.
        """
        self.name = os.fsencode(name)
        for left in runtime.glob(f"{_PREFIX}*"):
            _remove_if_abandoned(left)
        self.path, self.holder_fd = _make_holder(runtime)
        try:
            (self.path / name).mkdir()
            # What the guest shall see; on the host nobody else gets through the holder.
            (self.path / name).chmod(0o755)
            self.fd = os.open(self.path / name, _OPEN_DIRECTORY)
        except BaseException:
            os.close(self.holder_fd)
            shutil.rmtree(self.path, ignore_errors=True)
            raise

    def remove(self) -> None:
        """Remove the directory, as far as it can be; after the last request was served."""
        shutil.rmtree(self.path, ignore_errors=True)
        os.close(self.fd)
        os.close(self.holder_fd)


def _make_holder(runtime: Path) -> tuple[Path, int]:
    """A new directory, locked for as long as the descriptor is open: so it is not abandoned."""
    while True:
        path = Path(tempfile.mkdtemp(prefix=_PREFIX, dir=runtime))
        with contextlib.suppress(FileNotFoundError):
            fd = os.open(path, _OPEN_DIRECTORY)
            fcntl.flock(fd, fcntl.LOCK_EX)
            # Another server may have taken it for abandoned before it was locked.
            if path.exists():
                return path, fd
            os.close(fd)


def _remove_if_abandoned(path: Path) -> None:
    """Remove the private directory at *path* unless a server lives that holds it locked."""
    with contextlib.suppress(OSError):
        fd = os.open(path, _OPEN_DIRECTORY)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(path, ignore_errors=True)
        finally:
            os.close(fd)


class SyntheticBacking(Backing):
    """The exported tree, and directories beside it that are always reached by descriptor."""

    _node: frozenset[Inode] = frozenset()

    def keep_reachable(self, node: frozenset[Inode]) -> None:
        """Reach these inodes by their own descriptors from now on, whatever their names are."""
        self._node = node

    def directory_fd(self, directory: Inode) -> int:
        """A descriptor of *directory*, its own if synthetic. Raises OSError."""
        if directory in self._node:
            return directory.path_fd
        return super().directory_fd(directory)

    def _may_be_served(self, inode: Inode, fd: int) -> bool:
        return inode.parent in self._node or super()._may_be_served(inode, fd)


class SyntheticNode:
    """A synthetic directory as a part of the inode tree."""

    def __init__(
        self, private_directory: PrivateDirectory, inodes: InodeTable, backing: SyntheticBacking
    ) -> None:
        self.root = root = inodes.root
        self.name = private_directory.name
        self.holder_fd = private_directory.holder_fd
        try:
            hidden = os.stat(private_directory.name, dir_fd=root.path_fd, follow_symlinks=False)
        except OSError:
            hidden = None
        self.hides_an_entry = hidden is not None
        """Whether the export has an entry of that name."""
        self.more_links = 0 if hidden and modes.S_ISDIR(hidden.st_mode) else 1
        # Both have an nlookup that FORGET never lowers to 0, as the root has: the kernel
        # does not know the holder, and may forget the directory and ask for it again.
        holder = inodes.find_or_add(root, b"", os.fstat(private_directory.holder_fd))
        holder.nlookup, holder.path_fd = 1, private_directory.holder_fd
        self.holder_number = holder.number
        holder.number = ROOT_NUMBER  # it stands for the root: this is the directory's ".."
        self.directory = inodes.find_or_add(
            holder, private_directory.name, os.fstat(private_directory.fd)
        )
        self.directory.nlookup, self.directory.path_fd = 1, private_directory.fd
        backing.keep_reachable(frozenset((holder, self.directory)))


class SyntheticListing(Layer):
    """A listing of the root with the synthetic directory in it."""

    next: Source

    def __init__(self, below: Source, node: SyntheticNode, spellings: Spellings) -> None:
        super().__init__(below)
        self._node = node
        self._spellings = spellings

    def names(self, fh: int, listing: Listing) -> list[bytes]:
        """The names listed below; in the root with the synthetic one, without the host's."""
        names = self.next.names(fh, listing)
        if listing.directory is self._node.root:
            is_same = self._spellings.is_same
            names = [name for name in names if not is_same(name, self._node.name)] + [
                self._node.name
            ]
        return names

    def add_entry(self, token: ReaddirToken, fh: int, listing: Listing, position: int) -> int:
        """Add an entry to a READDIRPLUS reply; the synthetic one is read in its holder."""
        if listing.directory is self._node.root and listing.names[position] == self._node.name:
            fh = self._node.holder_fd
        return self.next.add_entry(token, fh, listing, position)

    def add_name(self, reply: NamesReply, fh: int, listing: Listing, position: int) -> int:
        """Add a name to a READDIR reply; the synthetic one is read in its holder."""
        if listing.directory is self._node.root and listing.names[position] == self._node.name:
            fh = self._node.holder_fd
        return self.next.add_name(reply, fh, listing, position)


class SyntheticDirectory(Layer):
    """The layer of requests that shows a synthetic directory and refuses to change it.

    Refusals cross, and cost, as any answer.
    """

    next: Handlers

    def __init__(
        self,
        below: Any,
        node: SyntheticNode,
        calls: HostCalls,
        inodes: InodeTable,
        spellings: Spellings,
        operations: HostOperations,
    ) -> None:
        super().__init__(below)
        self._builder_pid = _NO_PROCESS
        self._node = node
        self._directory = node.directory
        self._cross = calls.cross
        self._inodes = inodes
        self._spellings = spellings
        self._operations = operations

    def hides_an_entry(self) -> bool:
        """Whether the export has an entry of the synthetic name, which the guest misses."""
        return self._node.hides_an_entry

    def allow_sockets_of(self, pid: int) -> None:
        """Let only the process *pid* make sockets in the directory; -1: nobody."""
        self._builder_pid = pid

    def is_synthetic(self, parent_number: int, name: bytes) -> bool:
        """Whether *name* in the directory *parent_number* is the synthetic directory."""
        return parent_number == ROOT_NUMBER and self._spellings.is_same(name, self._node.name)

    def _is_in_synthetic(self, number: int) -> bool:
        """Whether it is the synthetic directory or lies in it, where there are no directories."""
        inode = self._inodes[number]
        return inode is self._directory or inode.parent is self._directory

    def _refused(self, request: Request, code: int) -> Coroutine[Any, Any, Any]:
        return self._cross(request, _refuse, code)

    def _no_new_name(self, parent_number: int, name: bytes) -> int:
        """The errno for whoever would make *name* there, or 0."""
        if self.is_synthetic(parent_number, name):
            return errno.EEXIST
        return errno.EPERM if parent_number == self._directory.number else 0

    # What looks

    def lookup(
        self, request: Request, parent_inode: int, name: bytes, ctx: RequestContext
    ) -> Coroutine[Any, Any, EntryAttributes]:
        """LOOKUP: the synthetic name is found in its holder; others by the next layer."""
        if self.is_synthetic(parent_inode, name):
            parent_inode = self._node.holder_number
        return self.next.lookup(request, parent_inode, name, ctx)

    def getattr(
        self, request: Request, inode: int, ctx: RequestContext
    ) -> Coroutine[Any, Any, EntryAttributes]:
        """GETATTR: as the next layer answers, with one link more for the root."""
        answer = self.next.getattr(request, inode, ctx)
        return self._with_its_link(answer) if inode == ROOT_NUMBER else answer

    async def _with_its_link(self, answer: Coroutine[Any, Any, EntryAttributes]) -> EntryAttributes:
        """find(1) and others conclude from a directory's links how many directories are in it."""
        entry = await answer
        if entry.st_nlink > 1:
            entry.st_nlink += self._node.more_links
        return entry

    # What changes

    def setattr(
        self,
        request: Request,
        inode: int,
        attr: EntryAttributes,
        fields: SetattrFields,
        fh: int | None,
        ctx: RequestContext,
    ) -> Coroutine[Any, Any, EntryAttributes]:
        """SETATTR: FUSEError (EPERM) for what is synthetic; else the next layer's."""
        if self._is_in_synthetic(inode):
            return self._refused(request, errno.EPERM)
        answer = self.next.setattr(request, inode, attr, fields, fh, ctx)
        return self._with_its_link(answer) if inode == ROOT_NUMBER else answer

    def mknod(
        self,
        request: Request,
        parent_inode: int,
        name: bytes,
        mode: int,
        rdev: int,
        ctx: RequestContext,
    ) -> Coroutine[Any, Any, EntryAttributes]:
        """MKNOD: in it a socket of the allowed process, else FUSEError; or the next layer's.

        FUSEError: EPERM, EEXIST.
        """
        if (
            parent_inode == self._directory.number
            and ctx.pid == self._builder_pid
            and modes.S_ISSOCK(mode)
        ):
            # Whoever may use the share may use its sockets.
            mode = modes.S_IFSOCK | 0o666
            return self._cross(request, self._operations.mknod, parent_inode, name, mode, 0, ctx)
        if code := self._no_new_name(parent_inode, name):
            return self._refused(request, code)
        return self.next.mknod(request, parent_inode, name, mode, rdev, ctx)

    def mkdir(
        self, request: Request, parent_inode: int, name: bytes, mode: int, ctx: RequestContext
    ) -> Coroutine[Any, Any, EntryAttributes]:
        """MKDIR: FUSEError (EPERM, EEXIST) in or over it; else the next layer's."""
        if code := self._no_new_name(parent_inode, name):
            return self._refused(request, code)
        return self.next.mkdir(request, parent_inode, name, mode, ctx)

    def symlink(
        self, request: Request, parent_inode: int, name: bytes, target: bytes, ctx: RequestContext
    ) -> Coroutine[Any, Any, EntryAttributes]:
        """SYMLINK: FUSEError (EPERM, EEXIST) in or over it; else the next layer's."""
        if code := self._no_new_name(parent_inode, name):
            return self._refused(request, code)
        return self.next.symlink(request, parent_inode, name, target, ctx)

    def link(
        self,
        request: Request,
        inode: int,
        new_parent_inode: int,
        new_name: bytes,
        ctx: RequestContext,
    ) -> Coroutine[Any, Any, EntryAttributes]:
        """LINK: FUSEError (EPERM, EEXIST) in or over it; else the next layer's."""
        code = self._no_new_name(new_parent_inode, new_name)
        if not code and self._is_in_synthetic(inode):
            code = errno.EPERM  # a name for it in the export would be a name on the host
        if code:
            return self._refused(request, code)
        return self.next.link(request, inode, new_parent_inode, new_name, ctx)

    def create(
        self,
        request: Request,
        parent_inode: int,
        name: bytes,
        mode: int,
        flags: int,
        ctx: RequestContext,
    ) -> Coroutine[Any, Any, tuple[FileInfo, EntryAttributes]]:
        """CREATE: FUSEError (EPERM, EEXIST) in or over it; else the next layer's."""
        if code := self._no_new_name(parent_inode, name):
            return self._refused(request, code)
        return self.next.create(request, parent_inode, name, mode, flags, ctx)

    def _no_removal(self, parent_number: int, name: bytes) -> int:
        """The errno for whoever would take *name* away there, or 0."""
        if self.is_synthetic(parent_number, name):
            return errno.EBUSY
        return errno.EPERM if parent_number == self._directory.number else 0

    def unlink(
        self, request: Request, parent_inode: int, name: bytes, ctx: RequestContext
    ) -> Coroutine[Any, Any, None]:
        """UNLINK: FUSEError (EPERM, EBUSY) for what is synthetic; else the next layer's."""
        if code := self._no_removal(parent_inode, name):
            return self._refused(request, code)
        return self.next.unlink(request, parent_inode, name, ctx)

    def rmdir(
        self, request: Request, parent_inode: int, name: bytes, ctx: RequestContext
    ) -> Coroutine[Any, Any, None]:
        """RMDIR: FUSEError (EPERM, EBUSY) for what is synthetic; else the next layer's."""
        if code := self._no_removal(parent_inode, name):
            return self._refused(request, code)
        return self.next.rmdir(request, parent_inode, name, ctx)

    def rename(
        self,
        request: Request,
        parent_inode_old: int,
        name_old: bytes,
        parent_inode_new: int,
        name_new: bytes,
        flags: int,
        ctx: RequestContext,
    ) -> Coroutine[Any, Any, None]:
        """RENAME: FUSEError (EPERM, EBUSY) for what is synthetic; else the next layer's."""
        code = self._no_removal(parent_inode_old, name_old)
        code = code or self._no_removal(parent_inode_new, name_new)
        if code:
            return self._refused(request, code)
        return self.next.rename(
            request, parent_inode_old, name_old, parent_inode_new, name_new, flags, ctx
        )

    def setxattr(
        self, request: Request, inode: int, name: bytes, value: bytes, ctx: RequestContext
    ) -> Coroutine[Any, Any, None]:
        """SETXATTR: FUSEError (EPERM) for what is synthetic; else the next layer's."""
        if self._is_in_synthetic(inode):
            return self._refused(request, errno.EPERM)
        return self.next.setxattr(request, inode, name, value, ctx)

    def removexattr(
        self, request: Request, inode: int, name: bytes, ctx: RequestContext
    ) -> Coroutine[Any, Any, None]:
        """REMOVEXATTR: FUSEError (EPERM) for what is synthetic; else the next layer's."""
        if self._is_in_synthetic(inode):
            return self._refused(request, errno.EPERM)
        return self.next.removexattr(request, inode, name, ctx)


def _refuse(code: int) -> None:
    raise FUSEError(code)
