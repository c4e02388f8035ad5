"""The host directory, through directory descriptors only.

Every access starts from a descriptor of a directory that was reached from the
export's root one name at a time without following links, and is checked to be
the object that the guest means (device, inode number, type). So no symlink, no
``..`` and no rename on the host can lead an access out of the exported tree;
an object that is no longer where it was is ESTALE, which makes the guest's
kernel look its path up anew.

Descriptors are bounded: only directories hold one between requests, the least
recently used give theirs up, and an unlinked object that the guest still
refers to holds one until it is forgotten.

Of some systems the server holds one of every object that was looked up, and
works by that whatever the host does to its names (*holds_objects*; Replaced.HELD
of model/profile.py). They are bounded as well. An object that gave its descriptor
up is found again, by the first of these that leads to the very same object: a file
that the guest has open, a name that it was known by, its file handle
(open_by_handle_at(2), which needs CAP_DAC_READ_SEARCH and a file system that
has such handles). If none does, it is ESTALE, as everywhere else.
"""

import collections
import contextlib
import errno
import os
import resource
import stat as modes
from collections.abc import Iterator

from osxfs_sim.fs import at
from osxfs_sim.fs.at import magic_link as magic_link
from osxfs_sim.mount import syscalls
from osxfs_sim.mount.tree.inodes import Inode

_OPEN_DIRECTORY = os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
OPEN_SAFELY = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
"""No link is followed, and no FIFO or terminal that took a file's place holds or owns us."""
_OPEN_ANYTHING = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_FILES_RESERVED = 512
_FEWEST_DESCRIPTORS = 16


class StaleError(OSError):
    """The object is not where it was; errno is ESTALE."""

    def __init__(self) -> None:
        super().__init__(errno.ESTALE, os.strerror(errno.ESTALE))


def descriptor_budget(most: int) -> int:
    """The descriptors to hold between requests: *most*, or fewer by RLIMIT_NOFILE, but at least 16.

    The guest's open files need some, too.
    """
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(_FEWEST_DESCRIPTORS, min(most, (soft - _FILES_RESERVED) // 2))


class Backing:
    """The exported tree, reached through directory descriptors. Reactor's thread only."""

    def __init__(
        self, root: Inode, root_fd: int, *, most_descriptors: int, holds_objects: bool = False
    ) -> None:
        root.path_fd = root_fd
        self._root = root
        self.holds_objects = holds_objects
        self._own_fds = os.open("/proc/self/fd", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        self._inside = self._prefix()
        self._most_descriptors = most_descriptors
        self._with_descriptor: collections.OrderedDict[Inode, None] = collections.OrderedDict()
        self._orphans: dict[Inode, None] = {}
        self._in_use: list[Inode] = []

    @property
    def descriptors(self) -> int:
        """How many descriptors are held between requests, the root's not counted."""
        return len(self._with_descriptor) + len(self._orphans)

    def directory_fd(self, directory: Inode) -> int:
        """An O_PATH descriptor of *directory*, good until the next call. Raises OSError: ESTALE.

        ESTALE where it is no longer what the guest means; else what the host says.
        """
        fd = directory.path_fd
        if fd < 0:
            try:
                fd = self._reach(directory)
            except StaleError:
                fd = self._by_handle(directory)
                if fd < 0:
                    raise
        elif directory is self._root:
            return fd
        directory.recently_used = True
        if not self._is_inside(fd):
            self.forget(directory)
            raise StaleError
        return fd

    def _is_inside(self, fd: int) -> bool:
        """Whether the directory behind *fd* still lies in the export.

        A descriptor follows its directory wherever the host moves it. The
        kernel tells where that is for less than 3 us, without a walk.
        """
        try:
            if self._path(fd).startswith(self._inside):
                return True
            self._inside = self._prefix()  # the export itself may have been renamed
            return self._path(fd).startswith(self._inside)
        except OSError as error:
            if error.errno != errno.ENAMETOOLONG:
                raise
            return self._climbs_to_root(fd)

    def _climbs_to_root(self, fd: int) -> bool:
        """As _is_inside, for a path too long for readlink(2): walk up, one parent at a time."""
        root = os.fstat(self._root.path_fd)
        here = os.open(".", _OPEN_DIRECTORY, dir_fd=fd)
        try:
            while True:
                above = os.open("..", _OPEN_DIRECTORY, dir_fd=here)
                status, status_above = os.fstat(here), os.fstat(above)
                os.close(here)
                here = above
                if os.path.samestat(status_above, root):
                    return True
                if os.path.samestat(status, status_above):
                    return False
        finally:
            os.close(here)

    def _path(self, fd: int) -> bytes:
        return os.readlink(b"%d" % fd, dir_fd=self._own_fds)

    def _prefix(self) -> bytes:
        return self._path(self._root.path_fd).rstrip(b"/") + b"/"

    def _reach(self, directory: Inode) -> int:
        """Open *directory* from the nearest directory above it that holds a descriptor."""
        missing = {directory: None}
        above = directory.parent
        while above is not None and above.path_fd < 0:
            if above in missing:
                raise StaleError  # the host has turned the tree inside out
            missing[above] = None
            above = above.parent
        if above is None:
            raise StaleError
        fd = above.path_fd
        for inode in reversed(missing):
            try:
                fd = os.open(inode.name, _OPEN_DIRECTORY, dir_fd=fd)
            except FileNotFoundError:
                raise StaleError from None
            except NotADirectoryError:
                raise StaleError from None
            if not inode.is_same(os.fstat(fd)):
                os.close(fd)
                raise StaleError
            self._keep(inode, fd)
        return fd

    def _keep(self, inode: Inode, fd: int) -> None:
        inode.path_fd = fd
        inode.recently_used = True
        self._with_descriptor[inode] = None
        # Second chance (the clock algorithm): least recently used, nearly, at
        # the price of one flag per use.
        bound = max(self._most_descriptors, 1 + len(self._in_use))
        while len(self._with_descriptor) > bound:
            candidate, _ = self._with_descriptor.popitem(last=False)
            if candidate is inode or candidate in self._in_use:
                self._with_descriptor[candidate] = None
            elif candidate.recently_used:
                candidate.recently_used = False
                self._with_descriptor[candidate] = None
            else:
                self._give_up(candidate)

    def _give_up(self, inode: Inode) -> None:
        """Close its descriptor, and remember what it can be found by again."""
        if self.holds_objects and inode.openable_handle is None:
            with contextlib.suppress(OSError):
                inode.openable_handle = syscalls.openable_handle(inode.path_fd, b"")
        os.close(inode.path_fd)
        inode.path_fd = -1

    def forget(self, inode: Inode) -> None:
        """Close the descriptor held of *inode*, if any: the guest no longer knows it."""
        if inode.path_fd < 0 or inode is self._root:
            return
        if inode in self._orphans:
            del self._orphans[inode]
        else:
            del self._with_descriptor[inode]
        os.close(inode.path_fd)
        inode.path_fd = -1

    def close(self) -> None:
        """Close all descriptors that are held, the root's included."""
        for inode in (*self._with_descriptor, *self._orphans, self._root):
            os.close(inode.path_fd)
            inode.path_fd = -1
        self._with_descriptor.clear()
        self._orphans.clear()
        os.close(self._own_fds)

    def find(self, inode: Inode) -> tuple[int, bytes, os.stat_result]:
        """Where *inode* is now: a descriptor, a name below it, its status. Raises OSError: ESTALE.

        The name is empty where the descriptor is the object's own; ESTALE where it cannot be
        reached.
        """
        if inode.is_directory:
            fd = self.directory_fd(inode)
            return fd, b".", os.fstat(fd)
        fd = self._own_fd(inode)
        if fd >= 0:
            return fd, b"", os.fstat(fd)
        for parent, name in _names(inode):
            try:
                fd = self.directory_fd(parent)
                status = os.stat(name, dir_fd=fd, follow_symlinks=False)
            except (FileNotFoundError, StaleError):
                continue
            if inode.is_same(status):
                return fd, name, status
        raise StaleError

    def status(self, inode: Inode) -> os.stat_result:
        """The status of *inode* as it is now. Raises OSError: ESTALE where it cannot be reached."""
        return self.find(inode)[2]

    @contextlib.contextmanager
    def pinned(self, inode: Inode) -> Iterator[int]:
        """Within the block, a descriptor (maybe O_PATH) of just *inode*. Raises OSError: ESTALE."""
        if inode.is_directory:
            yield self.directory_fd(inode)
            return
        fd = self._own_fd(inode)
        if fd >= 0:
            self._in_use.append(inode)
            try:
                yield fd
            finally:
                self._in_use.pop()
            return
        fd = self._open(inode, _OPEN_ANYTHING)
        try:
            yield fd
        finally:
            os.close(fd)

    def open(self, inode: Inode, flags: int) -> int:
        """Open *inode*, file or directory, with *flags* of open(2); its fd. Raises OSError: ESTALE.

        What is opened is checked to be that object before anything is done to it; O_NONBLOCK keeps
        a FIFO that took its place from holding us.
        """
        flags |= OPEN_SAFELY
        if inode.is_directory:
            return os.open(".", flags, dir_fd=self.directory_fd(inode))
        fd = self._own_fd(inode)
        if fd >= 0 and fd == inode.path_fd:
            # It has no name any more, or none of its names matters.
            return at.reopened(fd, flags)
        if inode.open_fds:
            with contextlib.suppress(StaleError):
                return self._open(inode, flags)
            return at.reopened(inode.open_fds[-1], flags)
        return self._open(inode, flags)

    def hold(self, inode: Inode, dir_fd: int, name: bytes) -> None:
        """Hold a descriptor of *inode*, *name* in *dir_fd*, if the system holds any. Never fails.

        The kernel was sent it, so it may mean it from now on. Without one it is found by its names.
        """
        if not self.holds_objects:
            return
        if inode.path_fd >= 0:
            inode.recently_used = True
            return
        # Without one (it is gone again, or there is none left) it is found by its names.
        with contextlib.suppress(OSError):
            fd = os.open(name, _OPEN_ANYTHING, dir_fd=dir_fd)
            if inode.is_same(os.fstat(fd)):
                self._keep(inode, fd)
            else:
                os.close(fd)

    def has_been_replaced(self, inode: Inode, dir_fd: int, name: bytes) -> bool:
        """Whether *name* is a later object given the host number of *inode*; False where it fails.

        That can be while no descriptor is held of it; its file handle tells.
        """
        if inode.path_fd >= 0 or inode.openable_handle is None:
            return False
        with contextlib.suppress(OSError):
            return syscalls.openable_handle(dir_fd, name) != inode.openable_handle
        return False

    def _own_fd(self, inode: Inode) -> int:
        """A descriptor of *inode* itself, which is no directory; -1 if there is none."""
        if inode.path_fd >= 0:
            if not self.holds_objects or inode in self._orphans:
                return inode.path_fd
            inode.recently_used = True
            if self._may_be_served(inode, inode.path_fd):
                return inode.path_fd
            self.forget(inode)  # the host has moved it out of the export
        # What is local-only is open by a descriptor of nothing.
        if inode.open_fds and not inode.is_local_only:
            return inode.open_fds[-1]
        return self._found_again(inode) if self.holds_objects else -1

    def _may_be_served(self, inode: Inode, fd: int) -> bool:
        """Whether what *fd* holds of *inode* lies, or was removed, in the export."""
        try:
            return self._is_inside(fd)
        except OSError as error:
            if error.errno == errno.ENOTDIR:  # a path too long for readlink(2)
                return False
            raise

    def _found_again(self, inode: Inode) -> int:
        """A descriptor of what gave its own up, held anew; -1 if nothing leads to it."""
        try:
            fd = self._open(inode, _OPEN_ANYTHING)
        except StaleError:
            return self._by_handle(inode)
        self._keep(inode, fd)
        return fd

    def _by_handle(self, inode: Inode) -> int:
        """As _found_again, by the handle alone: where the host has renamed it to."""
        if inode.openable_handle is None or inode.device != self._root.device:
            return -1
        try:
            fd = syscalls.open_by_handle(self._root.path_fd, inode.openable_handle, _OPEN_ANYTHING)
        except OSError:
            return -1  # it is gone, or we may not (EPERM)
        try:
            if inode.is_same(os.fstat(fd)) and self._may_be_served(inode, fd):
                self._keep(inode, fd)
                return fd
        except OSError:
            os.close(fd)
            raise
        os.close(fd)
        return -1

    def _open(self, inode: Inode, flags: int) -> int:
        for parent, name in _names(inode):
            try:
                fd = os.open(name, flags | os.O_NOFOLLOW, dir_fd=self.directory_fd(parent))
            except (FileNotFoundError, StaleError):
                continue
            except OSError as error:
                # A symlink, a socket or a directory has taken its place.
                taken = (errno.ELOOP, errno.ENXIO, errno.EISDIR)
                if error.errno in taken and modes.S_ISREG(inode.kind):
                    continue
                raise
            if inode.is_same(os.fstat(fd)):
                return fd
            os.close(fd)
        raise StaleError

    def keep_orphan(self, inode: Inode, fd: int) -> None:
        """Hold O_PATH *fd* of *inode*, which has lost its last name, until it is forgotten.

        Too many of these at once (a guest that keeps thousands of deleted objects in use) cost the
        oldest its descriptor: it becomes ESTALE, unless it is open.
        """
        self.forget(inode)
        inode.path_fd = fd
        self._orphans[inode] = None
        if len(self._orphans) > self._most_descriptors:
            oldest = next(iter(self._orphans))
            del self._orphans[oldest]
            self._give_up(oldest)

    def is_own(self, inode: Inode) -> bool:
        """Whether *inode*, to which no name leads, is the root or an orphan held open."""
        if self.holds_objects:
            return inode is self._root or inode in self._orphans
        return inode.path_fd >= 0


def _names(inode: Inode) -> Iterator[tuple[Inode, bytes]]:
    if inode.parent is not None:
        yield inode.parent, inode.name
    yield from list(inode.other_names or ())


@contextlib.contextmanager
def opened(dir_fd: int, name: bytes) -> Iterator[int]:
    """Within the block, an O_PATH descriptor of the directory *name* in *dir_fd*. Raises OSError.

    b"." is *dir_fd* itself.
    """
    if name == b".":
        yield dir_fd
        return
    fd = os.open(name, _OPEN_DIRECTORY, dir_fd=dir_fd)
    try:
        yield fd
    finally:
        os.close(fd)


@contextlib.contextmanager
def reached(directory: Inode) -> Iterator[int]:
    """Within the block, an O_PATH descriptor of *directory*, not kept. Raises OSError: ESTALE."""
    if directory.path_fd >= 0:
        yield directory.path_fd
        return
    names: list[bytes] = []
    above: Inode | None = directory
    while above is not None and above.path_fd < 0:
        names.append(above.name)
        above = above.parent
        if len(names) > _DEEPEST:
            above = None  # the host has turned the tree inside out
    if above is None:
        raise StaleError
    fd = os.open(".", _OPEN_DIRECTORY, dir_fd=above.path_fd)
    try:
        while names:
            below = os.open(names.pop(), _OPEN_DIRECTORY, dir_fd=fd)
            os.close(fd)
            fd = below
        if not directory.is_same(os.fstat(fd)):
            raise StaleError
        yield fd
    finally:
        os.close(fd)


_DEEPEST = 4_096
