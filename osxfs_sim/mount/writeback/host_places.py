"""Where on the host things are that a change is about, whatever the host did meanwhile.

A directory that the host has taken away is made again where it was; what is in the way of the
guest's is moved or taken away; what is on the host now stands for an inode from then on. What that
does to what is known of the host is not done here: it is told (effects.py).
"""

import contextlib
import errno
import os
import stat as modes
from collections.abc import Iterator

from osxfs_sim.mount import syscalls
from osxfs_sim.mount.tree import generations
from osxfs_sim.mount.tree.backing import Backing, StaleError
from osxfs_sim.mount.tree.generations import is_same
from osxfs_sim.mount.tree.inodes import Identifying, Inode, Shown
from osxfs_sim.mount.tree.owners import Owners
from osxfs_sim.mount.writeback.conflicts import ConflictRules
from osxfs_sim.mount.writeback.effects import (
    Changed,
    Created,
    Emit,
    Moved,
    Named,
    NameLost,
    ObjectIdentity,
    Stale,
    Unnamed,
)
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
    """The places of one share's tree on the host. The thread of that tree only."""

    def __init__(
        self,
        root: Inode,
        backing: Backing,
        owners: Owners,
        conflicts: ConflictRules,
        emit: Emit,
        *,
        tells_handles: bool,
    ) -> None:
        """*emit* is told of each effect, and has the tree know it before it returns.

        With *tells_handles* somebody watches directories, and needs their file handles.
        """
        self._root = root
        self._backing = backing
        self._owners = owners
        self._conflicts = conflicts
        self._emit = emit
        self._tells_handles = tells_handles

    @contextlib.contextmanager
    def directory(self, directory: Inode) -> Iterator[int]:
        """Yield a descriptor of *directory*, made again if the host removed it. OSError."""
        try:
            fd = os.dup(self._backing.directory_fd(directory))
        except (StaleError, FileNotFoundError):
            fd = -1
        if fd >= 0:
            status = os.fstat(fd)
            if not status.st_nlink or not is_same(directory, fd, b"", status):
                # Removed: nothing can be made in it. Or another that was given its number.
                os.close(fd)
                self._emit(Stale(directory.number))
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
                self._emit(Stale(directory.number))
                self.created_on_host(directory, parent, name, fd)
            except BaseException:
                os.close(fd)
                raise
            return fd

    @staticmethod
    def place(inode: Inode) -> tuple[Inode, bytes] | None:
        """The (directory, name) at which the host had *inode* last; None: none is known."""
        if inode.parent is not None:
            return inode.parent, inode.name
        return inode.overlay.place if inode.overlay is not None else None

    def created_on_host(self, inode: Inode, parent: Inode, name: bytes, fd: int) -> None:
        """Tell that what *fd* is of, at *name*, stands for *inode* now. Raises OSError."""
        status = os.fstat(fd)
        shown = handle = None
        if inode.is_directory:
            shown = Shown(status.st_mode, status.st_uid, status.st_gid)
            handle = syscalls.file_handle(fd, b"") if self._tells_handles else None
        generation = generations.generation(fd, b"", status)
        self._emit(
            Created(inode.number, parent.number, name, _identity(status), generation, shown, handle)
        )

    @contextlib.contextmanager
    def removing_name(self, parent: Inode, dir_fd: int, name: bytes) -> Iterator[None]:
        """Within the block, *name* is taken away: tell so after it. Raises OSError.

        The guest may hold it open, or be inside it. If this was its last name, a descriptor is the
        only way to reach it from now on.
        """
        fd = os.open(name, _OPEN_ANYTHING, dir_fd=dir_fd)
        try:
            yield
            status = os.fstat(fd)
            is_last = status.st_nlink == 0
            if is_last:
                self._owners.gone(fd, status)
        except BaseException:
            os.close(fd)
            raise
        self._emit(NameLost(parent.number, name, _identity(status), is_last, fd))

    def unlink_at(self, parent: Inode, dir_fd: int, name: bytes) -> None:
        """Remove *name*, no directory, on the host, and tell of it. Raises OSError."""
        with self.removing_name(parent, dir_fd, name):
            os.unlink(name, dir_fd=dir_fd)
        self._emit(Unnamed(parent.number, name))

    def rmdir_at(self, parent: Inode, dir_fd: int, name: bytes) -> None:
        """Remove the directory *name* on the host, and tell of it. Raises OSError."""
        with self.removing_name(parent, dir_fd, name):
            os.rmdir(name, dir_fd=dir_fd)
        self._emit(Unnamed(parent.number, name))

    def rename(
        self, old_parent: Inode, old_name: bytes, new_parent: Inode, new_name: bytes
    ) -> None:
        """rename(2) on the host, over what is there, and tell of it. Raises OSError."""
        # Two descriptors at once: the second call may take the first's away.
        old_fd = os.dup(self._backing.directory_fd(old_parent))
        try:
            new_fd = self._backing.directory_fd(new_parent)
            moving = os.stat(old_name, dir_fd=old_fd, follow_symlinks=False)
            replaced = status_of(new_fd, new_name)
            # Two names of one file: rename(2) then does nothing at all.
            is_same_file = replaced is not None and os.path.samestat(moving, replaced)
            if replaced is None or is_same_file:
                syscalls.rename(old_fd, old_name, new_fd, new_name, 0)
            else:
                with self.removing_name(new_parent, new_fd, new_name):
                    syscalls.rename(old_fd, old_name, new_fd, new_name, 0)
        finally:
            os.close(old_fd)
        if not is_same_file:
            self._emit(Unnamed(old_parent.number, old_name))
            self._emit(Named(new_parent.number, new_name, is_moved=True))
            places = new_parent.number, new_name, old_parent.number, old_name
            self._emit(Moved(_identity(moving), *places, is_found=False))

    def found_moved(self, inode: Inode, to: tuple[Inode, bytes], was: tuple[Inode, bytes]) -> None:
        """Tell that *inode* was found at *to*, where it was to be renamed, instead of at *was*."""
        identity = ObjectIdentity(inode.device, inode.host_number, inode.kind)
        places = to[0].number, to[1], was[0].number, was[1]
        self._emit(Moved(identity, *places, is_found=True))

    def make_way(self, parent: Inode, dir_fd: int, name: bytes) -> None:
        """Move aside or remove what the host has put at *name*. Raises OSError."""
        status = status_of(dir_fd, name)
        if status is None:
            return  # and has taken it away
        self._conflicts.lose(parent, name)
        with self.removing_name(parent, dir_fd, name):
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
        """Set *directory*'s time to when the guest changed its names; goes on if it may not."""
        set_times_if_allowed(dir_fd, None, at_ns)
        self._emit(Changed(directory.number))

    def lies_in(self, directory: Inode, above: Inode) -> bool:
        """Whether *directory* is *above*, or below it, on the host. Raises OSError."""
        if not above.is_directory:
            return False
        root = os.fstat(self._root.path_fd)
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
        """Where the host has renamed *inode* to; None where that cannot be told. Raises OSError."""
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
        """Whether *inode* is what the host has at *place*; False where it cannot be read."""
        try:
            dir_fd = self._backing.directory_fd(place[0])
            status = status_of(dir_fd, place[1])
            return status is not None and is_same(inode, dir_fd, place[1], status)
        except OSError:
            return False


def _identity(status: Identifying) -> ObjectIdentity:
    return ObjectIdentity(status.st_dev, status.st_ino, modes.S_IFMT(status.st_mode))
