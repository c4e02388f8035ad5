"""Carries out on the host what the guest has changed earlier, one change at a time.

The host may have changed meanwhile, too. What then holds is decided here, the same way every
time (the contract's DEL-7: host changes may be lost):

* what the guest has made, written, set, linked or renamed is on the host afterwards; the host's
  change of the same thing is lost, and counted;
* what the guest has taken away is taken away as it was: what the host has put in its place
  meanwhile, or into a directory that the guest took for empty, stays;
* what the host has taken away and the guest has written to is made again, as the guest was
  last shown it, and never for more people to use than that. A directory of the
  host's that is in the way of a file is moved aside, never removed.

Whose name it is decides nothing: each object is told by its device, its inode number and its
generation (generations.py), and what is done to it is done by a descriptor of that very object.

Everything else that the host says (no space, no permission) is raised: the change stays held.

What is known of the host, in a server's table of inodes and elsewhere, is not changed from here:
what was done is told as it happens (effects.py), and who keeps such a table applies it to that
(effect_applier.py).
"""

import contextlib
import errno
import os
import stat as modes
from collections.abc import Callable

from osxfs_sim.fs import at
from osxfs_sim.model.write_back import Change, Kind
from osxfs_sim.mount.tree.backing import OPEN_SAFELY, Backing, StaleError
from osxfs_sim.mount.tree.generations import is_same
from osxfs_sim.mount.tree.inodes import Inode
from osxfs_sim.mount.tree.owners import KnownCaller, Owners
from osxfs_sim.mount.writeback.conflicts import ConflictRules, OvertakenError
from osxfs_sim.mount.writeback.effects import CameBack, Changed, Emit, Linked, Named
from osxfs_sim.mount.writeback.host_contents import HostContents, ReadData
from osxfs_sim.mount.writeback.host_places import HostPlaces
from osxfs_sim.mount.writeback.journal_format import MakeDetail
from osxfs_sim.mount.writeback.restoring import set_times_if_allowed, status_of

_ATTEMPTS = 4
_OPEN_ANYTHING = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC


class HostWriter:
    """The host's side of write-back. The thread of its tree only."""

    def __init__(
        self,
        root: Inode,
        backing: Backing,
        owners: Owners,
        read_data: ReadData,
        emit: Emit,
        *,
        tells_handles: bool = False,
    ) -> None:
        """*read_data* tells the bytes that a write is of.

        *emit* is told of each effect, and has the tree of *root*, which *backing* has the
        descriptors of, know it before it returns. With *tells_handles* somebody watches
        directories, and needs their file handles.
        """
        self.conflicts = ConflictRules(emit)
        """What may be done to what the host has changed meanwhile."""
        self.places = HostPlaces(
            *(root, backing, owners, self.conflicts, emit), tells_handles=tells_handles
        )
        """Where things are."""
        self.contents = HostContents(
            *(backing, owners, self.places, self.conflicts, read_data, emit)
        )
        """What is in them."""
        self._backing = backing
        self._owners = owners
        self._emit = emit

    def apply(self, change: "Change[Inode]") -> None:
        """Make *change* on the host, and tell of each effect. Raises OSError where refused."""
        match change.kind:
            case Kind.MAKE:
                self._make(change)
            case Kind.WRITE:
                self._write(change)
            case Kind.SET:
                self.contents.set(change)
            case Kind.LINK:
                self._link(change)
            case Kind.UNLINK:
                self._remove(change, self.places.unlink_at)
            case Kind.RMDIR:
                self._remove(change, self.places.rmdir_at)
            case Kind.RENAME:
                self._rename(change)
        self.contents.drop_copy(change.target)
        self.conflicts.repeats = False

    def _write(self, change: "Change[Inode]") -> None:
        fd = self.contents.begin_write(change)
        try:
            self.contents.write(change, fd)
        except OSError:
            self.contents.end_failed(change, fd)
            raise
        self.contents.end_write(change)

    # Names

    def _make(self, change: "Change[Inode]") -> None:
        inode, parent, detail = change.target, change.parent, change.detail
        assert parent is not None
        assert isinstance(detail, MakeDetail)
        name = change.name
        with self.places.directory(parent) as dir_fd:
            fd = self._make_object(inode, parent, dir_fd, name, detail)
            try:
                self.places.created_on_host(inode, parent, name, fd)
                set_times_if_allowed(fd, detail.at_ns, detail.at_ns)
                if inode.kind == modes.S_IFREG:
                    self.contents.give_descriptor(inode, fd)
                    fd = -1
            finally:
                if fd >= 0:
                    os.close(fd)
            self._emit(Changed(inode.number))  # its times, since it was made
            self.places.names_changed(parent, dir_fd, detail.at_ns)

    def _make_object(
        self, inode: Inode, parent: Inode, dir_fd: int, name: bytes, detail: MakeDetail
    ) -> int:
        """Make it, whatever is there. A descriptor: to write through of a file, else O_PATH."""
        for _ in range(_ATTEMPTS):
            try:
                return self._make_new(inode, dir_fd, name, detail)
            except FileExistsError:
                pass
            try:
                fd = os.open(name, _OPEN_ANYTHING, dir_fd=dir_fd)
            except FileNotFoundError:
                continue
            if not inode.is_directory or not modes.S_ISDIR(os.fstat(fd).st_mode):
                os.close(fd)
                self.places.make_way(parent, dir_fd, name)
                continue
            try:
                # Both have made it. By the descriptor: the name may be another's by now.
                at.set_mode(fd, modes.S_IMODE(detail.mode))
            except BaseException:
                os.close(fd)
                raise
            return fd
        raise StaleError

    def _make_new(self, inode: Inode, dir_fd: int, name: bytes, detail: MakeDetail) -> int:
        caller = KnownCaller(detail.uid, detail.gid)
        mode = modes.S_IMODE(detail.mode)
        if inode.kind == modes.S_IFREG:
            flags = OPEN_SAFELY | os.O_CREAT | os.O_EXCL | os.O_RDWR
            fd: int = self._owners.make(caller, os.open, name, flags, mode, dir_fd=dir_fd)
            return fd
        if inode.is_directory:
            self._owners.make(caller, os.mkdir, name, mode, dir_fd=dir_fd)
        else:
            self._owners.make(caller, os.symlink, detail.link_target, name, dir_fd=dir_fd)
        fd = os.open(name, _OPEN_ANYTHING, dir_fd=dir_fd)
        if modes.S_IFMT(os.fstat(fd).st_mode) != inode.kind:
            os.close(fd)  # the host has put something in its place already
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
        return fd

    def _link(self, change: "Change[Inode]") -> None:
        inode, parent, name = change.target, change.parent, change.name
        assert parent is not None
        with self.places.directory(parent) as dir_fd:
            try:
                self._link_now(inode, parent, dir_fd, name)
            except (StaleError, FileNotFoundError):
                self.contents.revive(inode, parent, dir_fd, name)  # the host has removed it
                return
            self._emit(Named(parent.number, name, is_moved=False))
            status = status_of(dir_fd, name)
            if status is not None and inode.is_same(status):
                self._emit(Linked(inode.number, parent.number, name, status.st_nlink))
            self.places.names_changed(parent, dir_fd, change.detail.at_ns)

    def _link_now(self, inode: Inode, parent: Inode, dir_fd: int, name: bytes) -> None:
        with self.contents.reached(inode) as fd:
            try:
                at.give_name(fd, dir_fd, name)
            except FileExistsError:
                status = status_of(dir_fd, name)
                if status is None or not is_same(inode, dir_fd, name, status):
                    self.places.make_way(parent, dir_fd, name)
                    at.give_name(fd, dir_fd, name)
            self._emit(Changed(inode.number))

    def _remove(self, change: "Change[Inode]", remove: Callable[[Inode, int, bytes], None]) -> None:
        inode, parent, name = change.target, change.parent, change.name
        assert parent is not None
        try:
            dir_fd = os.dup(self._backing.directory_fd(parent))
        except (StaleError, FileNotFoundError):
            return  # the host has removed more
        try:
            status = os.stat(name, dir_fd=dir_fd, follow_symlinks=False)
            if not is_same(inode, dir_fd, name, status):
                self.conflicts.keep(parent, name)
                return
            if self.contents.was_changed(inode, status):
                self.conflicts.lose(parent, name)
            remove(parent, dir_fd, name)
            self.places.names_changed(parent, dir_fd, change.detail.at_ns)
        except FileNotFoundError:
            return
        except OvertakenError:
            raise
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            self._emit(CameBack(inode.number))
            self.conflicts.keep(parent, name)
        finally:
            os.close(dir_fd)

    def _rename(self, change: "Change[Inode]") -> None:
        inode = change.target
        old_parent, new_parent = change.old_parent, change.parent
        assert old_parent is not None
        assert new_parent is not None
        old_name, new_name = change.old_name, change.name
        with self.places.directory(new_parent) as new_fd:
            there = status_of(new_fd, new_name)
            is_there_already = there is not None and is_same(inode, new_fd, new_name, there)
            try:
                old_fd = self._backing.directory_fd(old_parent)
                found = status_of(old_fd, old_name)
                is_there = found is not None and is_same(inode, old_fd, old_name, found)
            except (StaleError, FileNotFoundError):
                is_there = False
            if is_there_already:
                # The host has done it too, or we have, and were killed before that was noted.
                if is_there:
                    # It has linked the file there: the old name is to go all the same.
                    self._take_old_name(old_parent, old_name, change.detail.at_ns)
                self.places.found_moved(inode, (new_parent, new_name), (old_parent, old_name))
                return
            if not is_there:
                # The host has moved it elsewhere, or removed it.
                place = self.places.now_at(inode, (old_parent, old_name))
                if place is None:
                    self.contents.revive(inode, new_parent, new_fd, new_name)
                    return
                self.conflicts.lose(*place)
                old_parent, old_name = place
            if there is not None and not (
                change.replaced is not None and is_same(change.replaced, new_fd, new_name, there)
            ):
                self.places.make_way(new_parent, new_fd, new_name)
            elif (
                change.replaced is not None
                and there is not None
                and self.contents.was_changed(change.replaced, there)
            ):
                self.conflicts.lose(new_parent, new_name)
            if not self._rename_now(inode, old_parent, old_name, new_parent, new_name):
                return
            at_ns = change.detail.at_ns
            self.places.names_changed(new_parent, new_fd, at_ns)
            if old_parent is not new_parent:
                self.places.names_changed(old_parent, self._backing.directory_fd(old_parent), at_ns)

    def _rename_now(
        self, inode: Inode, old_parent: Inode, old_name: bytes, new_parent: Inode, new_name: bytes
    ) -> bool:
        """Whether it has moved: not into what the host has moved into it."""
        try:
            self.places.rename(old_parent, old_name, new_parent, new_name)
        except OSError as error:
            if error.errno == errno.EINVAL and self.places.lies_in(new_parent, inode):
                self.conflicts.keep(new_parent, new_name)
                self.conflicts.overrule(old_parent, old_name)
                return False
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            # The guest took it for empty; the host has put something in.
            with self.places.directory(new_parent) as new_fd:
                self.places.make_way(new_parent, new_fd, new_name)
            self.places.rename(old_parent, old_name, new_parent, new_name)
        return True

    def _take_old_name(self, parent: Inode, name: bytes, at_ns: int) -> None:
        """The host has linked a file where the guest has renamed it to."""
        with contextlib.suppress(FileNotFoundError), self.places.directory(parent) as dir_fd:
            self.places.unlink_at(parent, dir_fd, name)
            self.places.names_changed(parent, dir_fd, at_ns)
