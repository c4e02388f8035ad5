"""A directory of the server's own in the root of a share: seen there, and nowhere on the host.

It is backed by an empty private directory, reached through a descriptor of its
own, so that whatever looks at it or below it goes through the ordinary code;
what would change it is refused here. In the export an entry of its name is
hidden, and left alone.

Only the root's number and its listing are known here, nothing of what else is
in the root. A share without a graft uses the plain classes and pays nothing.
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

from osxfs_sim.model.operations import Operation
from osxfs_sim.mount.events.injected_requests import AcknowledgingHandlers
from osxfs_sim.mount.requests.handlers import Listing, NamesReply
from osxfs_sim.mount.tree.backing import Backing
from osxfs_sim.mount.tree.inodes import ROOT_NUMBER, Inode, InodeTable
from osxfs_sim.mount.writeback.handlers import WriteBackHandlers

_PREFIX = "graft-"
_OPEN_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Graft:
    """The private directory behind a graft called *name*, and its descriptors.

    The directory lies alone in another one, the *holder*, under the very name
    that it has in the share: so a lookup of that name in the holder finds what
    a lookup in the root shall find.
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
        """Take the directory away; after the last request was served."""
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
    """Remove the graft at *path* unless a server lives that holds it locked."""
    with contextlib.suppress(OSError):
        fd = os.open(path, _OPEN_DIRECTORY)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(path, ignore_errors=True)
        finally:
            os.close(fd)


class GraftedBacking(Backing):
    """The exported tree, and directories beside it that are always reached by their descriptor."""

    grafted: frozenset[Inode] = frozenset()

    def directory_fd(self, directory: Inode) -> int:
        if directory in self.grafted:
            return directory.path_fd
        return super().directory_fd(directory)

    def _may_be_served(self, inode: Inode, fd: int) -> bool:
        return inode.parent in self.grafted or super()._may_be_served(inode, fd)


class GraftedHandlers(AcknowledgingHandlers):
    """The requests of a share with a graft in its root.

    *builder_pid* is the process that may make sockets in it, while there is one; else -1
    (0 is who is in no process namespace of ours).
    Refusals cross, and cost, as any other answer.
    """

    def __init__(
        self, graft: Graft, inodes: InodeTable, backing: GraftedBacking, *arguments: Any
    ) -> None:
        super().__init__(*arguments)
        self.builder_pid = -1
        root = inodes.root
        self._root = root
        self._name = graft.name
        self._holder_fd = graft.holder_fd
        try:
            hidden = os.stat(graft.name, dir_fd=root.path_fd, follow_symlinks=False)
        except OSError:
            hidden = None
        self.hides_an_entry = hidden is not None
        """Whether the export has an entry of that name."""
        self._more_links = 0 if hidden and modes.S_ISDIR(hidden.st_mode) else 1
        # Both count a lookup that is never paid back, as the root does: the kernel
        # does not know the holder, and may forget the graft and ask for it again.
        holder = inodes.found(root, b"", os.fstat(graft.holder_fd))
        holder.lookups, holder.path_fd = 1, graft.holder_fd
        self._holder_number = holder.number
        holder.number = ROOT_NUMBER  # it stands for the root: this is the graft's ".."
        self._graft = inodes.found(holder, graft.name, os.fstat(graft.fd))
        self._graft.lookups, self._graft.path_fd = 1, graft.fd
        backing.grafted = frozenset((holder, self._graft))

    def _is_graft(self, parent_number: int, name: bytes) -> bool:
        return parent_number == ROOT_NUMBER and self._spellings.is_same(name, self._name)

    def _is_of_graft(self, number: int) -> bool:
        """Whether it is the graft or lies in it. There are no directories below it."""
        inode = self._inodes[number]
        return inode is self._graft or inode.parent is self._graft

    def _refused(self, operation: Operation, code: int) -> Coroutine[Any, Any, Any]:
        return self._cross(operation, _refuse, code)

    def _no_new_name(self, parent_number: int, name: bytes) -> int:
        """The errno for whoever would make *name* there, or 0."""
        if self._is_graft(parent_number, name):
            return errno.EEXIST
        return errno.EPERM if parent_number == self._graft.number else 0

    # What looks

    def lookup(
        self, parent_inode: int, name: bytes, ctx: RequestContext
    ) -> Coroutine[Any, Any, EntryAttributes]:
        if self._is_graft(parent_inode, name):
            parent_inode = self._holder_number
        return super().lookup(parent_inode, name, ctx)

    def _list(self, fh: int, listing: Listing) -> list[bytes]:
        names = super()._list(fh, listing)
        if listing.directory is self._root:
            is_same = self._spellings.is_same
            names = [name for name in names if not is_same(name, self._name)] + [self._name]
        return names

    def _add_entry(self, token: ReaddirToken, fh: int, listing: Listing, position: int) -> int:
        if listing.directory is self._root and listing.names[position] == self._name:
            fh = self._holder_fd
        return super()._add_entry(token, fh, listing, position)

    def _add_name(self, reply: NamesReply, fh: int, listing: Listing, position: int) -> int:
        if listing.directory is self._root and listing.names[position] == self._name:
            fh = self._holder_fd
        return super()._add_name(reply, fh, listing, position)

    def getattr(self, inode: int, ctx: RequestContext) -> Coroutine[Any, Any, EntryAttributes]:
        answer = super().getattr(inode, ctx)
        return self._with_its_link(answer) if inode == ROOT_NUMBER else answer

    async def _with_its_link(self, answer: Coroutine[Any, Any, EntryAttributes]) -> EntryAttributes:
        """find(1) and others conclude from a directory's links how many directories are in it."""
        entry = await answer
        if entry.st_nlink > 1:
            entry.st_nlink += self._more_links
        return entry

    # What changes

    def setattr(
        self,
        inode: int,
        attr: EntryAttributes,
        fields: SetattrFields,
        fh: int | None,
        ctx: RequestContext,
    ) -> Coroutine[Any, Any, EntryAttributes]:
        if self._is_of_graft(inode):
            return self._refused(Operation.SETATTR, errno.EPERM)
        answer = super().setattr(inode, attr, fields, fh, ctx)
        return self._with_its_link(answer) if inode == ROOT_NUMBER else answer

    def mknod(
        self, parent_inode: int, name: bytes, mode: int, rdev: int, ctx: RequestContext
    ) -> Coroutine[Any, Any, EntryAttributes]:
        if (
            parent_inode == self._graft.number
            and ctx.pid == self.builder_pid
            and modes.S_ISSOCK(mode)
        ):
            # Whoever may use the share may use its sockets.
            mode = modes.S_IFSOCK | 0o666
            return self._cross(Operation.MKNOD, self._mknod, parent_inode, name, mode, 0, ctx)
        if code := self._no_new_name(parent_inode, name):
            return self._refused(Operation.MKNOD, code)
        return super().mknod(parent_inode, name, mode, rdev, ctx)

    def mkdir(
        self, parent_inode: int, name: bytes, mode: int, ctx: RequestContext
    ) -> Coroutine[Any, Any, EntryAttributes]:
        if code := self._no_new_name(parent_inode, name):
            return self._refused(Operation.MKDIR, code)
        return super().mkdir(parent_inode, name, mode, ctx)

    def symlink(
        self, parent_inode: int, name: bytes, target: bytes, ctx: RequestContext
    ) -> Coroutine[Any, Any, EntryAttributes]:
        if code := self._no_new_name(parent_inode, name):
            return self._refused(Operation.SYMLINK, code)
        return super().symlink(parent_inode, name, target, ctx)

    def link(
        self, inode: int, new_parent_inode: int, new_name: bytes, ctx: RequestContext
    ) -> Coroutine[Any, Any, EntryAttributes]:
        code = self._no_new_name(new_parent_inode, new_name)
        if not code and self._is_of_graft(inode):
            code = errno.EPERM  # a name for it in the export would be a name on the host
        if code:
            return self._refused(Operation.LINK, code)
        return super().link(inode, new_parent_inode, new_name, ctx)

    def create(
        self, parent_inode: int, name: bytes, mode: int, flags: int, ctx: RequestContext
    ) -> Coroutine[Any, Any, tuple[FileInfo, EntryAttributes]]:
        if code := self._no_new_name(parent_inode, name):
            return self._refused(Operation.CREATE, code)
        return super().create(parent_inode, name, mode, flags, ctx)

    def _no_removal(self, parent_number: int, name: bytes) -> int:
        """The errno for whoever would take *name* away there, or 0."""
        if self._is_graft(parent_number, name):
            return errno.EBUSY
        return errno.EPERM if parent_number == self._graft.number else 0

    def unlink(
        self, parent_inode: int, name: bytes, ctx: RequestContext
    ) -> Coroutine[Any, Any, None]:
        if code := self._no_removal(parent_inode, name):
            return self._refused(Operation.UNLINK, code)
        return super().unlink(parent_inode, name, ctx)

    def rmdir(
        self, parent_inode: int, name: bytes, ctx: RequestContext
    ) -> Coroutine[Any, Any, None]:
        if code := self._no_removal(parent_inode, name):
            return self._refused(Operation.RMDIR, code)
        return super().rmdir(parent_inode, name, ctx)

    def rename(
        self,
        parent_inode_old: int,
        name_old: bytes,
        parent_inode_new: int,
        name_new: bytes,
        flags: int,
        ctx: RequestContext,
    ) -> Coroutine[Any, Any, None]:
        code = self._no_removal(parent_inode_old, name_old)
        code = code or self._no_removal(parent_inode_new, name_new)
        if code:
            return self._refused(Operation.RENAME, code)
        return super().rename(parent_inode_old, name_old, parent_inode_new, name_new, flags, ctx)

    def setxattr(
        self, inode: int, name: bytes, value: bytes, ctx: RequestContext
    ) -> Coroutine[Any, Any, None]:
        if self._is_of_graft(inode):
            return self._refused(Operation.SETXATTR, errno.EPERM)
        return super().setxattr(inode, name, value, ctx)

    def removexattr(
        self, inode: int, name: bytes, ctx: RequestContext
    ) -> Coroutine[Any, Any, None]:
        if self._is_of_graft(inode):
            return self._refused(Operation.REMOVEXATTR, errno.EPERM)
        return super().removexattr(inode, name, ctx)


class GraftedWriteBackHandlers(GraftedHandlers, WriteBackHandlers):
    """As GraftedHandlers, for a share with write-back. What lies in the graft is never held."""

    def _is_stronger(self, directory: Inode) -> bool:
        return directory is self._graft or super()._is_stronger(directory)


def _refuse(code: int) -> None:
    raise FUSEError(code)
