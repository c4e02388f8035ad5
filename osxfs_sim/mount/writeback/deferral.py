"""May a change be pending for a while, or must the host have it at once?"""

import os
import select
import stat as modes

from osxfs_sim.mount import syscalls
from osxfs_sim.mount.loop.request import Request
from osxfs_sim.mount.requests.host_calls import HostCalls
from osxfs_sim.mount.tree import generations
from osxfs_sim.mount.tree.backing import Backing, StaleError
from osxfs_sim.mount.tree.host_limits import HostLimits, limits_of
from osxfs_sim.mount.tree.inodes import Facts, Inode, InodeTable, Shown
from osxfs_sim.mount.tree.overlaps import Overlaps
from osxfs_sim.mount.tree.owners import KnownCaller, Owners
from osxfs_sim.mount.writeback.guest_view import GuestView, guest_parent

_DEFERRABLE_KINDS = (modes.S_IFREG, modes.S_IFDIR, modes.S_IFLNK)
# Who may not be changed, or not in all ways (chattr(1)): the host has to say.
_FIXED = syscalls.STATX_ATTR_IMMUTABLE | syscalls.STATX_ATTR_APPEND
_NOBODY = KnownCaller(-1, -1)
"""Asks for owners, and is shown -1 where none is set."""


class Deferral:
    """Decides of each change whether it may be pending. *never*: directories in which none may."""

    def __init__(
        self,
        calls: HostCalls,
        inodes: InodeTable,
        backing: Backing,
        owners: Owners,
        view: GuestView,
        overlaps: Overlaps | None,
        *,
        server_is_root: bool,
        never: frozenset[Inode],
    ) -> None:
        self._attempt, self._errno_of = calls.attempt, calls.errno_of
        self._inodes = inodes
        self._backing = backing
        self._owners = owners
        self._view = view
        self._overlaps = overlaps
        self._privileged = server_is_root
        self._never = never
        root_fd = inodes.root.path_fd
        self.limits: HostLimits = limits_of(root_fd)
        """What only the host can judge lies beyond these."""
        self._mount_id = syscalls.more_status(root_fd, b"")[1]
        self._mounts_fd = os.open("/proc/self/mountinfo", os.O_RDONLY | os.O_CLOEXEC)
        self._mounts = select.poll()
        self._mounts.register(self._mounts_fd, select.POLLPRI)
        self._facts_read_by: Request | None = None
        """Which request has read what is below."""
        self._facts_read_of: set[Inode] = set()

    def close(self) -> None:
        """Close the descriptor of the table of mounts."""
        os.close(self._mounts_fd)

    def is_stronger(self, inode: Inode, request: Request | None = None) -> bool:
        """Whether changes of *inode*, or in it, must be on the host at once (DEL-5).

        So must those on another file system below the export: only the host knows what may move
        there, and whether there is room. One *request* reads the host once.
        """
        here: Inode | None = inode
        while here is not None and here.is_local_only:
            here = guest_parent(here)
        if here in self._never or here is None or here.device != self._inodes.root.device:
            return True
        # A device may be mounted in several places, between which nothing can be moved.
        facts = self._facts(here, request)
        if facts is not None and facts.mount_id not in (self._mount_id, 0):
            return True
        return self._overlaps is not None and self._overlaps.is_stronger(here)

    def _facts(self, inode: Inode, request: Request | None) -> Facts | None:
        """What the host says of *inode* since a change of it is pending, or else now.

        None where it cannot be reached, or something else is there: the host shall answer.
        One *request* reads once.
        """
        facts = inode.facts
        if facts is not None and inode.overlay is not None and facts.mount_id:
            return facts
        if request is not None and request is self._facts_read_by:
            if inode in self._facts_read_of:
                return facts
        else:
            self._facts_read_by = request
            self._facts_read_of.clear()
        try:
            read = self._read_facts(inode)
        except Exception as error:
            self._errno_of(error, self._read_facts, (inode,))  # which records a bug of ours
            return None
        if facts is not None and inode.overlay is not None:
            # What is pending is of the object that it was.
            read = read._replace(generation=facts.generation)
        inode.facts = read
        self._facts_read_of.add(inode)
        return read

    def _read_facts(self, inode: Inode) -> Facts:
        """Raises OSError."""
        if inode.is_directory and inode.parent is not None:
            # By its name: what may be mounted there, its descriptor does not show.
            dir_fd, name = self._backing.directory_fd(inode.parent), inode.name
            status = os.stat(name, dir_fd=dir_fd, follow_symlinks=False)
            if not inode.is_same(status):
                raise StaleError
        else:
            dir_fd, name, status = self._backing.find(inode)
            name = b"" if name == b"." else name
        facts = generations.read_facts(dir_fd, name, status)
        owners = self._owners.ids(dir_fd, name, status, _NOBODY)
        inode.shown = Shown(status.st_mode, status.st_uid, status.st_gid, *owners)
        return facts

    def check_mounts(self) -> None:
        """If the table of mounts has changed, forget which mounts inodes are in. OSError."""
        if self._mounts.poll(0):
            self._mount_id = syscalls.more_status(self._inodes.root.path_fd, b"")[1]
            for inode in self._inodes.all():
                if inode.facts is not None:
                    inode.facts = inode.facts._replace(mount_id=0)

    def may_defer_in(self, request: Request, directory: Inode) -> bool:
        """Whether a change of a name in *directory* may wait for the host; never fails."""
        if self.is_stronger(directory, request):
            return False
        if directory.is_local_only:
            return True
        facts = self._facts(directory, request)
        if facts is None or facts.attributes & _FIXED:
            return False
        if self._privileged:
            return True
        # Who is not root cannot know who may remove what from a sticky directory.
        try:
            status = self._view.status(directory)
        except Exception as error:
            self._errno_of(error, self._view.status, (directory,))
            return False
        return not status.st_mode & modes.S_ISVTX

    def may_defer(self, request: Request | None, inode: Inode) -> bool:
        """Whether a change of the object *inode* may wait for the host; never fails."""
        if inode.kind not in _DEFERRABLE_KINDS or inode is self._inodes.root:
            return False
        overlay = inode.overlay
        if overlay is not None and (overlay.local_only or overlay.orphan):
            return True
        if inode.parent is None or self.is_stronger(inode, request):
            return False
        facts = self._facts(inode, request)
        return facts is not None and not facts.attributes & _FIXED

    def may_have_more_links(self, inode: Inode) -> bool:
        """Whether every file system lets *inode* have one more. Else the host shall say."""
        status, _ = self._attempt(self._view.status, inode)
        return status is not None and status.st_nlink < self.limits.links
