"""V9: a descriptor is held of each object that the guest's kernel knows."""

import errno
import os
import resource
from typing import Any

from pyfuse3 import EntryAttributes, FileInfo, RequestContext

from osxfs_sim.model.bugs import Bug
from osxfs_sim.mount.errors import MountError
from osxfs_sim.mount.faults.fault import Evict, Fault
from osxfs_sim.mount.requests.host_operations import HostOperations
from osxfs_sim.mount.requests.identities import Identify
from osxfs_sim.mount.requests.layer import Layer
from osxfs_sim.mount.tree.inodes import Inode

_OWN_DESCRIPTORS = 512


class Descriptors(Fault):
    """Holds a descriptor of each object that the guest's kernel knows, until it forgets it.

    They are real (O_PATH), and so is what they cost; beyond the limit it is this
    server that says ENFILE, since the machine shall not be the one to run out.
    """

    def __init__(self, limit: int, *arguments: Any) -> None:
        """Raises MountError where so many cannot be had."""
        super().__init__(limit, *arguments)
        _make_room(limit)
        self._held: dict[int, int] = {}

    def need_one(self) -> None:
        """Check that a descriptor is left for one more object. Raises OSError: ENFILE."""
        if len(self._held) >= self._limit:
            raise OSError(errno.ENFILE, os.strerror(errno.ENFILE))

    def over_identify(self, below: Identify) -> Identify:
        """*below*, wrapped: it holds a descriptor of each object. Raises OSError: ENFILE."""

        def identify(
            parent: Inode, dir_fd: int, name: bytes, status: os.stat_result
        ) -> tuple[Inode, os.stat_result]:
            known = self._inodes.find(status)
            if known is None or known.number not in self._held:
                self.need_one()
                fd = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=dir_fd)
                try:
                    inode, status = below(parent, dir_fd, name, status)
                except BaseException:
                    os.close(fd)
                    raise
                replaced = self._held.pop(inode.number, -1)
                if replaced >= 0:
                    os.close(replaced)
                self._held[inode.number] = fd
                return inode, status
            return below(parent, dir_fd, name, status)

        return identify

    def over_operations(self, below: HostOperations, evict: Evict) -> Any:
        """*below*, wrapped: creating and opening raise OSError (ENFILE) where none is left."""
        del evict
        return _NeedingDescriptors(below, self)

    def over_eviction(self, below: Evict) -> Evict:
        """*below*, wrapped: it closes the descriptor held of an evicted inode first."""

        def evict(inode: Inode) -> None:
            fd = self._held.pop(inode.number, -1)
            if fd >= 0:
                os.close(fd)
            below(inode)

        return evict

    def close(self) -> None:
        """Close all descriptors that are held of objects."""
        for fd in self._held.values():
            os.close(fd)
        self._held.clear()


class _NeedingDescriptors(Layer):
    """Asks before anything is made on the host, as a host that has none left would."""

    next: HostOperations

    def __init__(self, below: HostOperations, fault: Descriptors) -> None:
        super().__init__(below)
        self._need_one = fault.need_one

    def create(self, *arguments: Any) -> tuple[FileInfo, EntryAttributes]:
        self._need_one()
        return self.next.create(*arguments)

    def mknod(self, *arguments: Any) -> EntryAttributes:
        self._need_one()
        return self.next.mknod(*arguments)

    def mkdir(self, *arguments: Any) -> EntryAttributes:
        self._need_one()
        return self.next.mkdir(*arguments)

    def symlink(self, *arguments: Any) -> EntryAttributes:
        self._need_one()
        return self.next.symlink(*arguments)

    def open(self, number: int, flags: int, ctx: RequestContext) -> FileInfo:
        self._need_one()
        return self.next.open(number, flags, ctx)

    def opendir(self, number: int, ctx: RequestContext) -> int:
        self._need_one()
        return self.next.opendir(number, ctx)


def _make_room(limit: int) -> None:
    """Be allowed to hold *limit* descriptors beside one's own. Raises MountError."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = limit + _OWN_DESCRIPTORS
    if soft >= wanted:
        return
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, max(hard, wanted)))
    except (OSError, ValueError) as error:
        raise MountError(
            f"the bug {Bug.DESCRIPTORS} needs {wanted} descriptors, and this process may have "
            f"{hard}: give a smaller number, such as --bug {Bug.DESCRIPTORS}=1000"
        ) from error
