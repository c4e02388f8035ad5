"""Changes of names on the host, and all that has to be known of them afterwards.

Whoever gives and takes names for the guest does it here: the requests at once, the host writer
of write-back later, a recovery before there is a share at all. So it knows neither requests nor
libfuse: inode table, descriptors, spellings and own changes are what it keeps true.
"""

import contextlib
import os
import time
from collections.abc import Callable, Iterator

from osxfs_sim.model.complete_directories import CompleteDirectories
from osxfs_sim.mount import syscalls
from osxfs_sim.mount.tree.backing import Backing
from osxfs_sim.mount.tree.inodes import Inode, InodeTable
from osxfs_sim.mount.tree.owners import Owners
from osxfs_sim.mount.tree.spellings import Spellings
from osxfs_sim.mount.watch.watcher import Watcher

_RENAME_EXCHANGE = 2  # linux/fs.h


class Namespace:
    """The names of one share on the host. The reactor's thread only."""

    def __init__(
        self,
        inodes: InodeTable,
        backing: Backing,
        owners: Owners,
        spellings: Spellings,
        complete_directories: CompleteDirectories[Inode] | None,
        watcher: Watcher | None,
        *,
        before_move: Callable[[Inode, Inode], None] | None = None,
        on_name_added: Callable[[Inode, bytes], None] | None = None,
    ) -> None:
        """*before_move* is called with an inode and the directory that it is about to be in,
        *on_name_added* with a directory and what was requested when a name was made in it.
        """
        self._inodes = inodes
        self._backing = backing
        self._owners = owners
        self._spellings = spellings
        self._complete_directories = complete_directories
        self._watcher = watcher
        self._needs_own_changes = watcher is not None and watcher.needs_own_changes
        self._before_move = before_move or _nothing
        self._on_name_added = on_name_added or _nothing

    def record_change(self, inode: Inode, fd: int) -> None:
        """Note that the guest has changed what is behind *fd*: no host event. Raises OSError.

        *fd* is -1 where it cannot be had: then it is heard of as one.
        """
        inode.changed_ns = time.time_ns()
        if self._needs_own_changes and fd >= 0:
            assert self._watcher is not None
            self._watcher.record_own_change_fd(fd)

    def name_added(self, parent: Inode, dir_fd: int, name: bytes, requested: bytes) -> None:
        """Note everywhere that the guest has made *name* in *parent*. Raises OSError."""
        self._on_name_added(parent, requested)
        self._spellings.added(parent, dir_fd, name, requested)
        self._note_present(parent, name)
        self._record_own_change(parent, name, dir_fd)

    def name_removed(self, parent: Inode, dir_fd: int, name: bytes, requested: bytes) -> None:
        """Note everywhere that the guest has removed *name* in *parent*. Raises OSError."""
        self._spellings.removed(parent, dir_fd, name, requested)
        self._record_own_change(parent, name, dir_fd)

    def name_moved_in(self, parent: Inode, dir_fd: int, name: bytes, requested: bytes) -> None:
        """Note everywhere that the guest has renamed something to *name*. Raises OSError."""
        self._on_name_added(parent, requested)
        self._spellings.renamed(parent, dir_fd, name, requested)
        self._note_present(parent, name)
        self._record_own_change(parent, name, dir_fd)

    def _note_present(self, parent: Inode, name: bytes) -> None:
        if self._complete_directories is not None:
            self._complete_directories.added(parent, self._spellings.key(name))

    def _record_own_change(self, parent: Inode, name: bytes, dir_fd: int) -> None:
        if self._needs_own_changes and dir_fd >= 0:
            assert self._watcher is not None
            self._watcher.record_own_change(parent, name, dir_fd)

    @contextlib.contextmanager
    def removing_name(self, parent: Inode, parent_fd: int, name: bytes) -> Iterator[None]:
        """Around a call that removes *name*: holds an object that loses its last. Raises OSError.

        The guest may have it open, or be inside it. If this was its last name, a descriptor is the
        only way to reach it from now on. OSError where *name* cannot be opened.
        """
        fd = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent_fd)
        try:
            inode = self._inodes.find(os.fstat(fd))
            yield
            status = os.fstat(fd)
            unlinked = status.st_nlink == 0
            if unlinked:
                self._owners.gone(fd, status)
            if inode is not None:
                kept, fd = fd, -1
                self.name_lost(inode, parent, name, kept, is_last=unlinked)
        finally:
            if fd >= 0:
                os.close(fd)

    def name_lost(
        self, inode: Inode, parent: Inode, name: bytes, fd: int, *, is_last: bool
    ) -> None:
        """Note that *inode* is *name* no more; *is_last*: it has no name, and is held by *fd*.

        *fd* is an O_PATH descriptor of it, which is kept or closed.
        """
        inode.changed_ns = time.time_ns()
        named = inode.drop_name(parent, name)
        if is_last or inode.is_directory:
            self._inodes.detach_host_number(inode)
        elif named:
            os.close(fd)
            return
        else:
            # Its other names are the host's secret until the guest looks them up.
            inode.parent = None
        self._backing.keep_orphan(inode, fd)

    def rename(
        self,
        old_parent: Inode,
        old_requested: bytes,
        new_parent: Inode,
        new_requested: bytes,
        flags: int,
    ) -> None:
        """renameat2(2) on the host, and note everywhere what moved. Raises OSError."""
        # Two descriptors at once: the second call may take the first's away.
        old_fd = os.dup(self._backing.directory_fd(old_parent))
        try:
            new_fd = self._backing.directory_fd(new_parent)
            old_name = self._spellings.existing(old_parent, old_fd, old_requested)
            moving = os.stat(old_name, dir_fd=old_fd, follow_symlinks=False)
            new_name, replaced = self._spellings.target(new_parent, new_fd, new_requested)
            respelled = old_parent is new_parent and old_name == new_name
            if respelled:
                new_name, replaced = self._spellings.stored_name(new_requested), None
            exchange = flags & _RENAME_EXCHANGE
            # Two names of one file: rename(2) then does nothing at all.
            same = replaced is not None and os.path.samestat(moving, replaced)
            if replaced is None or exchange or same:
                syscalls.rename(old_fd, old_name, new_fd, new_name, flags)
            else:
                with self.removing_name(new_parent, new_fd, new_name):
                    syscalls.rename(old_fd, old_name, new_fd, new_name, flags)
                new_name = self._spellings.respell(new_parent, new_fd, new_name, new_requested)
            if not same:
                if exchange:
                    self.name_moved_in(old_parent, old_fd, old_name, old_requested)
                else:
                    self.name_removed(old_parent, old_fd, old_name, old_requested)
                self.name_moved_in(new_parent, new_fd, new_name, new_requested)
        finally:
            os.close(old_fd)
        if same:
            return
        moved = self._inodes.find(moving)
        swapped = self._inodes.find(replaced) if exchange and replaced is not None else None
        if moved is not None:
            self.has_moved(moved, (new_parent, new_name), (old_parent, old_name))
        if swapped is not None:
            self.has_moved(swapped, (old_parent, old_name), (new_parent, new_name))

    def has_moved(self, inode: Inode, to: tuple[Inode, bytes], was: tuple[Inode, bytes]) -> None:
        """Note that *inode* is now at *to*, a (directory, name), and no longer at *was*."""
        self._before_move(inode, to[0])
        inode.changed_ns = time.time_ns()
        inode.moved(*to, *was)

    def forget(self, inode: Inode) -> None:
        """Free what is held of *inode*, which the kernel has forgotten: fd, watch, index, names."""
        if inode.watched and self._watcher is not None:
            self._watcher.unwatch(inode)  # while it can be reached
        self._backing.forget(inode)
        self._spellings.forget(inode)
        if self._complete_directories is not None and inode.is_directory:
            self._complete_directories.forget(inode)


def _nothing(*_: object) -> None:
    """Nobody is to be called."""
