"""Where on the host things are that a change is about, whatever the host did meanwhile.

A directory that the host has taken away is made again where it was; what is in the way of the
guest's is moved or taken away; what is on the host now stands for an inode from then on.
"""

import contextlib
import errno
import os
import stat as modes
import time
from collections.abc import Iterator

from osxfs_sim.mount import syscalls
from osxfs_sim.mount.tree import generations
from osxfs_sim.mount.tree.backing import Backing, StaleError
from osxfs_sim.mount.tree.generations import is_same
from osxfs_sim.mount.tree.inodes import Facts, Inode, InodeTable, Shown
from osxfs_sim.mount.tree.namespace import DirectoryWatcher, Namespace
from osxfs_sim.mount.tree.owners import Owners
from osxfs_sim.mount.writeback.conflicts import Conflicts
from osxfs_sim.mount.writeback.restoring import dress, last_shown, set_times_if_allowed, status_of

_NEW_DIRECTORY_MODE = 0o700
_MOST_ASIDE = 1_000
_ATTEMPTS = 4
_SEARCHED_BYTES = 128 * 1024
"""The st_size of the largest directory in which it is looked for what the host has renamed."""
_OPEN_ANYTHING = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_RENAME_NOREPLACE = 1
_DEEPEST = 4_096


class HostPlaces:
    """The places of one share's tree on the host. The reactor's thread only."""

    def __init__(
        self,
        namespace: Namespace,
        inodes: InodeTable,
        backing: Backing,
        owners: Owners,
        watcher: DirectoryWatcher | None,
        conflicts: Conflicts,
    ) -> None:
        self._namespace = namespace
        self._inodes = inodes
        self._backing = backing
        self._owners = owners
        self._watcher = watcher
        self._conflicts = conflicts

    @contextlib.contextmanager
    def directory(self, directory: Inode) -> Iterator[int]:
        """A descriptor of *directory*, which is made again if the host has taken it away."""
        try:
            fd = os.dup(self._backing.directory_fd(directory))
        except (StaleError, FileNotFoundError):
            fd = -1
        if fd >= 0:
            status = os.fstat(fd)
            if not status.st_nlink or not is_same(directory, fd, b"", status):
                # Removed: nothing can be made in it. Or another that was given its number.
                os.close(fd)
                self._backing.forget(directory)
                fd = -1
        if fd < 0:
            fd = self._make_again(directory)
        try:
            yield fd
        finally:
            os.close(fd)

    def _make_again(self, directory: Inode) -> int:
        """Make a *directory* that the host has removed, where it was. An O_PATH descriptor.

        Another directory that the host has put there serves as well, as it is.
        """
        place = self.place(directory)
        if place is None:
            raise StaleError
        parent, name = place
        with self.directory(parent) as parent_fd:
            if self._conflicts.yields:
                raise StaleError
            for _ in range(_ATTEMPTS):
                is_new = True
                try:
                    os.mkdir(name, _NEW_DIRECTORY_MODE, dir_fd=parent_fd)
                except FileExistsError:
                    is_new = False
                try:
                    fd = os.open(name, _OPEN_ANYTHING | os.O_DIRECTORY, dir_fd=parent_fd)
                except FileNotFoundError:
                    continue
                except NotADirectoryError:
                    self.make_way(parent, parent_fd, name)
                    continue
                break
            else:
                raise StaleError
            try:
                if is_new:
                    self._conflicts.lose(parent, name)
                    dress(fd, self._owners, last_shown(directory))
                self._backing.forget(directory)
                self.created_on_host(directory, parent, parent_fd, name, fd)
            except BaseException:
                os.close(fd)
                raise
            return fd

    @staticmethod
    def place(inode: Inode) -> tuple[Inode, bytes] | None:
        """Where the host had it last."""
        if inode.parent is not None:
            return inode.parent, inode.name
        return inode.overlay.place if inode.overlay is not None else None

    def created_on_host(
        self, inode: Inode, parent: Inode, dir_fd: int, name: bytes, fd: int
    ) -> None:
        """What is behind *fd*, as *name*, is what stands for *inode* on the host from now on."""
        status = os.fstat(fd)
        self._inodes.created_on_host(inode, parent, name, status)
        above = parent.facts or inode.facts
        inode.facts = Facts(
            generations.generation(fd, b"", status), above.mount_id if above is not None else 0, 0
        )
        self._namespace.name_added(parent, dir_fd, name, name)
        if inode.overlay is not None:
            inode.overlay.place = parent, name
            inode.overlay.local_only = False
        if inode.is_directory:
            inode.shown = Shown(status.st_mode, status.st_uid, status.st_gid)
            if self._watcher is not None:
                inode.handle = syscalls.file_handle(fd, b"")
                inode.watched = self._watcher.watch(inode, dir_fd, name)
        inode.changed_ns = time.time_ns()

    def make_way(self, parent: Inode, dir_fd: int, name: bytes) -> None:
        """The host has put something where the guest has put something else."""
        status = status_of(dir_fd, name)
        if status is None:
            return  # and has taken it away
        self._conflicts.lose(parent, name)
        with self._namespace.removing_name(parent, dir_fd, name):
            if not modes.S_ISDIR(status.st_mode):
                os.unlink(name, dir_fd=dir_fd)
                return
            for number in range(1, _MOST_ASIDE):
                aside = name[:240] + b".host-%d" % number
                try:
                    syscalls.rename(dir_fd, name, dir_fd, aside, _RENAME_NOREPLACE)
                    return
                except FileExistsError:
                    continue
            raise OSError(errno.EEXIST, os.strerror(errno.EEXIST))

    def names_changed(self, directory: Inode, dir_fd: int, at_ns: int) -> None:
        """The names in *directory* have changed when the guest changed them, and not now."""
        set_times_if_allowed(dir_fd, None, at_ns)
        self._namespace.record_change(directory, dir_fd)

    def lies_in(self, directory: Inode, above: Inode) -> bool:
        """Whether *directory* is *above*, or below it, on the host."""
        if not above.is_directory:
            return False
        root = os.fstat(self._inodes.root.path_fd)
        here = os.dup(self._backing.directory_fd(directory))
        try:
            for _ in range(_DEEPEST):
                status = os.fstat(here)
                if above.is_same(status):
                    return True
                if os.path.samestat(status, root):
                    return False
                upper = os.open("..", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=here)
                os.close(here)
                here = upper
            return False
        finally:
            os.close(here)

    def now_at(self, inode: Inode, was: tuple[Inode, bytes]) -> tuple[Inode, bytes] | None:
        """Where the host has renamed *inode* to from where it *was*, as far as can be told."""
        place = self.place(inode)
        if place is not None and place != was and self.is_at(inode, place):
            return place
        # Under another name in the same directory, of which we have not been told yet.
        try:
            fd = self._backing.open(was[0], os.O_RDONLY | os.O_DIRECTORY)
        except OSError:
            return None
        try:
            if os.fstat(fd).st_size > _SEARCHED_BYTES:
                return None
            with os.scandir(fd) as entries:
                for entry in entries:
                    name = os.fsencode(entry.name)
                    if entry.inode() == inode.host_number and self.is_at(inode, (was[0], name)):
                        return was[0], name
        finally:
            os.close(fd)
        return None

    def is_at(self, inode: Inode, place: tuple[Inode, bytes]) -> bool:
        """Whether *inode* is what the host has at *place*."""
        try:
            dir_fd = self._backing.directory_fd(place[0])
            status = status_of(dir_fd, place[1])
            return status is not None and is_same(inode, dir_fd, place[1], status)
        except OSError:
            return False
