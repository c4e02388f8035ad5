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
"""

import collections
import contextlib
import errno
import fcntl
import os
import stat as modes
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

from osxfs_sim.fs import at
from osxfs_sim.fs.copies import copy_content
from osxfs_sim.model.write_back import Change, Kind
from osxfs_sim.mount import syscalls
from osxfs_sim.mount.tree import generations
from osxfs_sim.mount.tree.backing import OPEN_SAFELY, Backing, StaleError
from osxfs_sim.mount.tree.generations import is_same
from osxfs_sim.mount.tree.inodes import Facts, Inode, InodeTable, Shown
from osxfs_sim.mount.tree.namespace import Follower, Namespace
from osxfs_sim.mount.tree.owners import KnownCaller, Owners
from osxfs_sim.mount.tree.set_id import set_mode
from osxfs_sim.mount.writeback.journal import MakeDetail, SetDetail

_KEPT_PATHS = 10
_COPIED_BYTES = 1 << 20
COPIED_IN_THREAD_BYTES = 1 << 20
"""From here on a copy takes longer than other requests should have to wait."""
_NEW_DIRECTORY_MODE = 0o700
_NEW_FILE_MODE = 0o600
_MOST_ASIDE = 1_000
_ATTEMPTS = 4
_SEARCHED_BYTES = 128 * 1024
"""The st_size of the largest directory in which it is looked for what the host has renamed."""
_OPEN_ANYTHING = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_NOBODY = KnownCaller(-1, -1)
"""Asks for owners, and is told of -1 where none is set."""

ReadData = Callable[[int, int], bytes]
"""The bytes that are kept at a position, and how many."""


class OvertakenError(OSError):
    """What was refused before would now take the place of what has come since."""

    def __init__(self) -> None:
        super().__init__(errno.EEXIST, os.strerror(errno.EEXIST))


class HostWriter:
    """The host's side of write-back. The reactor's thread only, but for write().

    *lost* counts changes of the host that the guest's have taken the place of, *kept* removals
    of the guest's that the host's changes have prevented; each with the latest paths.
    """

    def __init__(
        self,
        namespace: Namespace,
        inodes: InodeTable,
        backing: Backing,
        owners: Owners,
        watcher: Follower | None,
        read_data: ReadData,
    ) -> None:
        self._namespace = namespace
        self._inodes = inodes
        self._backing = backing
        self._owners = owners
        self._watcher = watcher
        self._read_data = read_data
        self.lost = 0
        self.lost_paths: collections.deque[str] = collections.deque(maxlen=_KEPT_PATHS)
        self.kept = 0
        self.kept_paths: collections.deque[str] = collections.deque(maxlen=_KEPT_PATHS)
        self.on_conflict: Callable[[Inode, bytes], None] = _nothing
        """Is told of a name that is not on the host what the guest has made of it."""
        self._copies: dict[Inode, tuple[int, int]] = {}
        """Of files that the host has removed: copies without a name, see copy_beforehand().

        And descriptors of the files themselves.
        """
        self.repeats = False
        """Whether the next change may be half done: what it finds there is its own."""
        self.yields = False
        """Whether the next change was refused before: what came since is not to be lost to it."""

    def carry_out(self, change: "Change[Inode]") -> None:
        """Do *change* on the host. Raises OSError where the host refuses."""
        match change.kind:
            case Kind.MAKE:
                self._make(change)
            case Kind.WRITE:
                self.write(change, self.begin_write(change))
                self.end_write(change)
            case Kind.SET:
                self._set(change)
            case Kind.LINK:
                self._link(change)
            case Kind.UNLINK:
                self._remove(change, os.unlink)
            case Kind.RMDIR:
                self._remove(change, os.rmdir)
            case Kind.RENAME:
                self._rename(change)
        self._drop_copy(change.target)
        self.repeats = False

    # Reports

    def _lose(self, inode: Inode | None, name: bytes = b"") -> None:
        """A change of the host is about to be lost. Raises OSError where it must not be."""
        if self.yields and not self.repeats:
            raise OvertakenError
        if not self.repeats:
            self.lost += 1
            self.lost_paths.append(path_of(inode, name))

    def _keep(self, inode: Inode | None, name: bytes) -> None:
        self.kept += 1
        self.kept_paths.append(path_of(inode, name))
        if inode is not None:
            self.on_conflict(inode, name)

    # Places

    @contextlib.contextmanager
    def _directory(self, directory: Inode) -> Iterator[int]:
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
        place = self._place(directory)
        if place is None:
            raise StaleError
        parent, name = place
        with self._directory(parent) as parent_fd:
            if self.yields:
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
                    self._make_way(parent, parent_fd, name)
                    continue
                break
            else:
                raise StaleError
            try:
                if is_new:
                    self._lose(parent, name)
                    _dress(fd, self._owners, _shown(directory))
                self._backing.forget(directory)
                self._has_arrived(directory, parent, parent_fd, name, fd)
            except BaseException:
                os.close(fd)
                raise
            return fd

    @staticmethod
    def _place(inode: Inode) -> tuple[Inode, bytes] | None:
        """Where the host had it last."""
        if inode.parent is not None:
            return inode.parent, inode.name
        return inode.held.place if inode.held is not None else None

    def _has_arrived(self, inode: Inode, parent: Inode, dir_fd: int, name: bytes, fd: int) -> None:
        """What is behind *fd*, as *name*, is what stands for *inode* on the host from now on."""
        status = os.fstat(fd)
        self._inodes.arrived(inode, parent, name, status)
        above = parent.facts or inode.facts
        inode.facts = Facts(
            generations.generation(fd, b"", status), above.mount_id if above is not None else 0, 0
        )
        self._namespace.named(parent, dir_fd, name, name)
        if inode.held is not None:
            inode.held.place = parent, name
            inode.held.unmade = False
        if inode.is_directory:
            inode.shown = Shown(status.st_mode, status.st_uid, status.st_gid)
            if self._watcher is not None:
                inode.handle = syscalls.file_handle(fd, b"")
                inode.followed = self._watcher.follow(inode, dir_fd, name)
        inode.changed_ns = time.time_ns()

    def _make_way(self, parent: Inode, dir_fd: int, name: bytes) -> None:
        """The host has put something where the guest has put something else."""
        status = _status(dir_fd, name)
        if status is None:
            return  # and has taken it away
        self._lose(parent, name)
        with self._namespace.losing_a_name(parent, dir_fd, name):
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

    def _touch(self, directory: Inode, dir_fd: int, at_ns: int) -> None:
        """The names in *directory* have changed when the guest changed them, and not now."""
        _set_times_if_allowed(dir_fd, None, at_ns)
        self._namespace.has_changed(directory, dir_fd)

    # Names

    def _make(self, change: "Change[Inode]") -> None:
        inode, parent, detail = change.target, change.parent, change.detail
        assert parent is not None
        assert isinstance(detail, MakeDetail)
        name = change.name
        with self._directory(parent) as dir_fd:
            fd = self._make_object(inode, parent, dir_fd, name, detail)
            try:
                self._has_arrived(inode, parent, dir_fd, name, fd)
                _set_times_if_allowed(fd, detail.at_ns, detail.at_ns)
                if inode.kind == modes.S_IFREG:
                    self._give_descriptor(inode, fd)
                    fd = -1
            finally:
                if fd >= 0:
                    os.close(fd)
            self._touch(parent, dir_fd, detail.at_ns)

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
                self._make_way(parent, dir_fd, name)
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

    def _give_descriptor(self, inode: Inode, fd: int) -> None:
        """*fd* is of the host's file: what the guest has open stands for it from now on."""
        for handle in inode.open_fds or ():
            os.dup2(fd, handle, inheritable=False)
        if inode.held is not None:
            if inode.held.fd >= 0:
                os.close(inode.held.fd)
            inode.held.fd = fd
        else:
            os.close(fd)

    def _link(self, change: "Change[Inode]") -> None:
        inode, parent, name = change.target, change.parent, change.name
        assert parent is not None
        with self._directory(parent) as dir_fd:
            try:
                self._link_now(inode, parent, dir_fd, name)
            except (StaleError, FileNotFoundError):
                self._revive(inode, parent, dir_fd, name)  # the host has removed it
                return
            self._namespace.named(parent, dir_fd, name, name)
            status = _status(dir_fd, name)
            if status is not None and inode.is_same(status):
                self._inodes.found(parent, name, status)
            self._touch(parent, dir_fd, change.detail.at_ns)

    def _link_now(self, inode: Inode, parent: Inode, dir_fd: int, name: bytes) -> None:
        with self._reached(inode) as fd:
            try:
                at.give_name(fd, dir_fd, name)
            except FileExistsError:
                status = _status(dir_fd, name)
                if status is None or not is_same(inode, dir_fd, name, status):
                    self._make_way(parent, dir_fd, name)
                    at.give_name(fd, dir_fd, name)
            self._namespace.has_changed(inode, fd)

    def _remove(self, change: "Change[Inode]", remove: Callable[..., None]) -> None:
        inode, parent, name = change.target, change.parent, change.name
        assert parent is not None
        try:
            dir_fd = os.dup(self._backing.directory_fd(parent))
        except (StaleError, FileNotFoundError):
            return  # the host has removed more
        try:
            status = os.stat(name, dir_fd=dir_fd, follow_symlinks=False)
            if not is_same(inode, dir_fd, name, status):
                self._keep(parent, name)
                return
            if self._was_changed(inode, status):
                self._lose(parent, name)
            with self._namespace.losing_a_name(parent, dir_fd, name):
                remove(name, dir_fd=dir_fd)
            self._namespace.unnamed(parent, dir_fd, name, name)
            self._touch(parent, dir_fd, change.detail.at_ns)
        except FileNotFoundError:
            return
        except OvertakenError:
            raise
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            self.comes_back_as_another(inode)
            self._keep(parent, name)
        finally:
            os.close(dir_fd)

    def comes_back_as_another(self, inode: Inode) -> None:
        """The host keeps a directory that the guest has removed: it is given another number.

        Who is in it still has the guest's kernel remember that number as a directory that is
        gone (S_DEAD): it would show it as empty, and make nothing in it, whatever we say.
        """
        if not inode.is_directory or inode.device == -1 or inode.is_unmade:
            return
        try:
            with self._backing.pinned(inode) as fd:
                kept = os.dup(fd)
        except OSError:
            return  # it is gone after all
        for parent, name in [*inode.ways()]:
            inode.drop_name(parent, name)
        self._inodes.renounce_identity(inode)
        self._backing.keep_nameless(inode, kept)

    def _rename(self, change: "Change[Inode]") -> None:
        inode = change.target
        old_parent, new_parent = change.old_parent, change.parent
        assert old_parent is not None
        assert new_parent is not None
        old_name, new_name = change.old_name, change.name
        with self._directory(new_parent) as new_fd:
            there = _status(new_fd, new_name)
            arrived = there is not None and is_same(inode, new_fd, new_name, there)
            try:
                old_fd = self._backing.directory_fd(old_parent)
                found = _status(old_fd, old_name)
                is_there = found is not None and is_same(inode, old_fd, old_name, found)
            except (StaleError, FileNotFoundError):
                is_there = False
            if arrived:
                # The host has done it too, or we have, and were killed before that was noted.
                if is_there:
                    # It has linked the file there: the old name is to go all the same.
                    self._take_old_name(old_parent, old_name, change.detail.at_ns)
                inode.moved(new_parent, new_name, old_parent, old_name)
                if inode.held is not None:
                    inode.held.place = new_parent, new_name
                return
            if not is_there:
                # The host has moved it elsewhere, or removed it.
                place = self._now_at(inode, (old_parent, old_name))
                if place is None:
                    self._revive(inode, new_parent, new_fd, new_name)
                    return
                self._lose(*place)
                old_parent, old_name = place
            if there is not None and not (
                change.replaced is not None and is_same(change.replaced, new_fd, new_name, there)
            ):
                self._make_way(new_parent, new_fd, new_name)
            elif (
                change.replaced is not None
                and there is not None
                and self._was_changed(change.replaced, there)
            ):
                self._lose(new_parent, new_name)
            if not self._rename_now(inode, old_parent, old_name, new_parent, new_name):
                return
            if inode.held is not None:
                inode.held.place = new_parent, new_name
            at_ns = change.detail.at_ns
            self._touch(new_parent, new_fd, at_ns)
            if old_parent is not new_parent:
                self._touch(old_parent, self._backing.directory_fd(old_parent), at_ns)

    def _rename_now(
        self, inode: Inode, old_parent: Inode, old_name: bytes, new_parent: Inode, new_name: bytes
    ) -> bool:
        """Whether it has moved: not into what the host has moved into it."""
        try:
            self._namespace.rename(old_parent, old_name, new_parent, new_name, 0)
        except OSError as error:
            if error.errno == errno.EINVAL and self._lies_in(new_parent, inode):
                self._keep(new_parent, new_name)
                self.on_conflict(old_parent, old_name)
                return False
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            # The guest took it for empty; the host has put something in.
            with self._directory(new_parent) as new_fd:
                self._make_way(new_parent, new_fd, new_name)
            self._namespace.rename(old_parent, old_name, new_parent, new_name, 0)
        return True

    def _lies_in(self, directory: Inode, above: Inode) -> bool:
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

    def _take_old_name(self, parent: Inode, name: bytes, at_ns: int) -> None:
        """The host has linked a file where the guest has renamed it to."""
        with contextlib.suppress(FileNotFoundError), self._directory(parent) as dir_fd:
            with self._namespace.losing_a_name(parent, dir_fd, name):
                os.unlink(name, dir_fd=dir_fd)
            self._namespace.unnamed(parent, dir_fd, name, name)
            self._touch(parent, dir_fd, at_ns)

    def _now_at(self, inode: Inode, was: tuple[Inode, bytes]) -> tuple[Inode, bytes] | None:
        """Where the host has renamed *inode* to from where it *was*, as far as can be told."""
        place = self._place(inode)
        if place is not None and place != was and self._is_at(inode, place):
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
                    if entry.inode() == inode.host_number and self._is_at(inode, (was[0], name)):
                        return was[0], name
        finally:
            os.close(fd)
        return None

    def _is_at(self, inode: Inode, place: tuple[Inode, bytes]) -> bool:
        try:
            dir_fd = self._backing.directory_fd(place[0])
            status = _status(dir_fd, place[1])
            return status is not None and is_same(inode, dir_fd, place[1], status)
        except OSError:
            return False

    def _was_changed(self, inode: Inode, status: os.stat_result) -> bool:
        """Whether the host has changed a file since the guest first did."""
        held = inode.held
        if held is None or held.seen is None or not modes.S_ISREG(status.st_mode):
            return False
        return held.seen != what_is_seen(status)

    def seen_now(self, inode: Inode) -> tuple[int, int, int]:
        """What the host's file is like now. Raises OSError."""
        if inode.held is not None and inode.held.fd >= 0:
            return what_is_seen(os.fstat(inode.held.fd))
        return what_is_seen(self._backing.status(inode))

    # Content and attributes

    def begin_write(self, change: "Change[Inode]") -> int:
        """The descriptor to write through. Raises OSError."""
        return self._writable(change.target)

    def write(self, change: "Change[Inode]", fd: int) -> None:
        """Write the data of *change*; in a thread, perhaps. Raises OSError."""
        try:
            self._write(change, fd)
        except OSError:
            held = change.target.held
            if held is not None and held.seen is not None:
                # What is there of it is the guest's, and no change of the host's.
                held.seen = what_is_seen(os.fstat(fd))
            raise

    def _write(self, change: "Change[Inode]", fd: int) -> None:
        written = 0
        while written < change.length:
            length = min(change.length - written, _COPIED_BYTES)
            data = memoryview(self._read_data(change.position + written, length))
            if not data:
                raise OSError(errno.EIO, "the journal has lost its data")
            while data:
                count = os.pwrite(fd, data, change.offset + written)
                written += count
                data = data[count:]

    def end_write(self, change: "Change[Inode]") -> None:
        """After write()."""
        inode = change.target
        self._drop_copy(inode)
        held = inode.held
        fd = held.fd if held is not None else -1
        if fd >= 0:
            _set_times_if_allowed(fd, None, change.detail.at_ns)
            self._now_seen(inode, fd)

    def _now_seen(self, inode: Inode, fd: int) -> None:
        self._namespace.has_changed(inode, fd)
        if inode.held is not None and inode.held.seen is not None:
            inode.held.seen = what_is_seen(os.fstat(fd))

    def _writable(self, inode: Inode, *, makes_again: bool = True) -> int:
        """A descriptor of the file to write through, the host's file made again if need be.

        Without *makes_again* only where that loses nothing of what it held.
        """
        held = inode.held
        assert held is not None
        if held.fd < 0:
            try:
                held.fd = self._open(inode)
            except StaleError:
                if not makes_again:
                    raise
                self._make_file_again(inode)
                return held.fd
        status = os.fstat(held.fd)
        if not status.st_nlink:
            place = self._place(inode)
            if place is None:
                raise StaleError
            with self._directory(place[0]) as dir_fd:
                self._revive(inode, place[0], dir_fd, place[1])
        elif self._was_changed(inode, status):
            self._lose(*(self._place(inode) or (None, b"")))
            held.seen = what_is_seen(status)
        return held.fd

    def _open(self, inode: Inode) -> int:
        """A descriptor to write through, and to read where that may be. Raises OSError."""
        try:
            fd = self._backing.open(inode, os.O_RDWR)
        except PermissionError:
            try:
                fd = self._backing.open(inode, os.O_WRONLY)
            except PermissionError:
                fd = self._open_by_force(inode)
        if not is_same(inode, fd, b"", os.fstat(fd)):
            os.close(fd)
            raise StaleError
        return fd

    def _open_by_force(self, inode: Inode) -> int:
        """Of a file that is ours, and whose mode keeps even us out: the guest had it open."""
        with self._reached(inode) as fd:
            return _opened_by_force(fd, os.O_RDWR)

    def _make_file_again(self, inode: Inode) -> None:
        """The host has removed a file, and no descriptor can tell what it held (after a crash).

        What it has put in its place keeps what the guest did not write.
        """
        place = self._place(inode)
        if place is None:
            raise StaleError
        parent, name = place
        with self._directory(parent) as dir_fd:
            self._lose(parent, name)
            for _ in range(_ATTEMPTS):
                is_new = False
                try:
                    fd = os.open(name, OPEN_SAFELY | os.O_RDWR, dir_fd=dir_fd)
                except FileNotFoundError:
                    is_new = True
                    flags = OPEN_SAFELY | os.O_RDWR | os.O_CREAT | os.O_EXCL
                    try:
                        fd = os.open(name, flags, _NEW_FILE_MODE, dir_fd=dir_fd)
                    except FileExistsError:
                        continue
                except OSError as error:
                    if error.errno not in (errno.ELOOP, errno.ENXIO, errno.EISDIR):
                        raise
                    self._make_way(parent, dir_fd, name)
                    continue
                if modes.S_ISREG(os.fstat(fd).st_mode):
                    break
                os.close(fd)  # a FIFO or the like
                self._make_way(parent, dir_fd, name)
            else:
                raise StaleError
            try:
                if is_new:
                    _dress(fd, self._owners, _shown(inode))
                self._backing.forget(inode)
                self._has_arrived(inode, parent, dir_fd, name, fd)
            except BaseException:
                os.close(fd)
                raise
            self._give_descriptor(inode, fd)

    def copy_beforehand(self, change: "Change[Inode]") -> Callable[[], None] | None:
        """What takes long of *change* and can be done before it, in a thread; None: nothing.

        A large file that the host has removed while the guest goes on to change it is copied,
        to where nobody sees it; carry_out() then only gives it its name.
        """
        inode = change.target
        if inode.kind != modes.S_IFREG or change.kind not in _REVIVING or inode in self._copies:
            return None
        if change.kind is Kind.SET and change.detail.size is None:
            return None
        source = self._source_of(inode)
        if source < 0:
            return None
        try:
            status = os.fstat(source)
            if status.st_nlink or status.st_size < COPIED_IN_THREAD_BYTES:
                return None
            place = self._place(inode) if change.parent is None else (change.parent, change.name)
            if place is None:
                return None
            with self._directory(place[0]) as dir_fd:
                target = at.unnamed_file(dir_fd, _NEW_FILE_MODE)
        except OSError:
            return None  # not every file system has files without a name: it is copied in its turn
        readable = _readable(source)

        def copy() -> None:
            try:
                copy_content(readable, target)
            except BaseException:
                os.close(target)
                os.close(readable)
                raise
            self._copies[inode] = target, readable

        return copy

    def _drop_copy(self, inode: Inode) -> None:
        """It was not needed after all."""
        for fd in self._copies.pop(inode, ()):
            _close_elsewhere(fd)

    @staticmethod
    def _source_of(inode: Inode) -> int:
        """A descriptor that can tell what a removed file held, or -1."""
        held = inode.held
        if held is not None and held.fd >= 0:
            return held.fd
        return inode.open_fds[-1] if inode.open_fds and not inode.is_unmade else -1

    def _revive(self, inode: Inode, parent: Inode, dir_fd: int, name: bytes) -> None:
        """The host has removed what the guest goes on to change: make it again as *name*.

        With what it held, where a descriptor can still tell. What was only renamed by the guest
        and removed by the host stays removed.
        """
        self._lose(parent, name)
        held = inode.held
        source = self._source_of(inode)
        if source < 0 or inode.kind != modes.S_IFREG:
            self.on_conflict(parent, name)  # which the guest has been told is there
            return
        copy, original = self._copies.pop(inode, (-1, -1))
        status = os.fstat(source)
        self._make_way(parent, dir_fd, name)
        try:
            if copy >= 0:
                fd = copy
                at.give_name(fd, dir_fd, name)
            else:
                flags = OPEN_SAFELY | os.O_CREAT | os.O_EXCL | os.O_RDWR
                fd = copy = os.open(name, flags, _NEW_FILE_MODE, dir_fd=dir_fd)
                # The guest may have opened it to write only.
                readable = _readable(source)
                try:
                    copy_content(readable, fd)
                finally:
                    os.close(readable)
            uid, gid = self._owners.ids(source, b"", status, _NOBODY)
            _dress(fd, self._owners, Shown(status.st_mode, status.st_uid, status.st_gid, uid, gid))
            _set_times_if_allowed(fd, status.st_atime_ns, status.st_mtime_ns)
            self._backing.forget(inode)
            self._has_arrived(inode, parent, dir_fd, name, fd)
            self._give_descriptor(inode, fd)
        except BaseException:
            if copy >= 0:
                os.close(copy)
            raise
        finally:
            if original >= 0:
                _close_elsewhere(original)  # after all others
        if held is not None:
            held.seen = what_is_seen(os.fstat(fd))

    @contextlib.contextmanager
    def _reached(self, inode: Inode) -> Iterator[int]:
        """A descriptor of the object, O_PATH perhaps."""
        if inode.held is not None and inode.held.fd >= 0:
            yield inode.held.fd
            return
        with self._backing.pinned(inode) as fd:
            if not is_same(inode, fd, b"", os.fstat(fd)):
                raise StaleError
            yield fd

    def _set(self, change: "Change[Inode]") -> None:
        inode, detail = change.target, change.detail
        assert isinstance(detail, SetDetail)
        try:
            if inode.kind == modes.S_IFREG and detail.size is not None:
                self._writable(inode, makes_again=False)
            with self._reached(inode) as fd:
                status = os.fstat(fd)
                if self._was_changed(inode, status):
                    self._lose(*(self._place(inode) or (None, b"")))
                self._set_now(fd, status, detail)
                self._now_seen(inode, fd)
        except (StaleError, FileNotFoundError):
            # The host has removed it, and nothing that was written is lost with it.
            self._lose(*(self._place(inode) or (None, b"")))

    def _set_now(self, fd: int, status: os.stat_result, detail: SetDetail) -> None:
        if detail.size is not None:
            os.ftruncate(fd, detail.size)  # the file's mode may have changed since it was opened
        if detail.uid is not None or detail.gid is not None:
            self._owners.change(fd, os.fstat(fd), detail.uid, detail.gid)
        if detail.mode is not None and not modes.S_ISLNK(status.st_mode):
            # What another owns loses its set-id bits with the write to come at the latest.
            set_mode(fd, status.st_mode, detail.mode, lambda: True)
        if detail.atime_ns is not None or detail.mtime_ns is not None:
            syscalls.set_times(fd, detail.atime_ns, detail.mtime_ns)
        if detail.mtime_ns is None and detail.size is not None:
            _set_times_if_allowed(fd, None, detail.at_ns)


_RENAME_NOREPLACE = 1
_REVIVING = (Kind.WRITE, Kind.SET, Kind.LINK, Kind.RENAME)
_DEEPEST = 4_096


def _nothing(_directory: Inode, _name: bytes) -> None:
    """Nobody is to be told."""


def what_is_seen(status: Any) -> tuple[int, int, int]:
    """By what a change of a file by the host is told: times, size and mode, not where it is."""
    return status.st_mtime_ns, status.st_size, status.st_mode


def path_of(inode: Inode | None, name: bytes = b"") -> str:
    """Where *name* in a directory is, below the source, for people: on one line."""
    names = [name] if name else []
    while inode is not None and inode.name and len(names) < 4_096:
        names.append(inode.name)
        inode = inode.parent
    path = os.fsdecode(b"/".join(reversed(names))) or "."
    return path if path.isprintable() else repr(path)


def _set_times_if_allowed(fd: int, atime_ns: int | None, mtime_ns: int | None) -> None:
    """Only the owner may say when: what others may write has the time at which it crossed.

    A time is no reason to refuse what has been done.
    """
    with contextlib.suppress(OSError):
        syscalls.set_times(fd, atime_ns, mtime_ns)


def _status(dir_fd: int, name: bytes) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=dir_fd, follow_symlinks=False)
    except FileNotFoundError:
        return None


def _close_elsewhere(fd: int) -> None:
    """Close what is perhaps the last descriptor of a large file without a name.

    That takes as long as it takes to free what it held, and nobody need wait for it.
    """
    threading.Thread(target=os.close, args=(fd,), daemon=True).start()


def _readable(source: int) -> int:
    """A descriptor to read the file behind *source* by. Raises OSError."""
    try:
        return at.reopened(source, os.O_RDONLY)
    except PermissionError:
        fd = os.dup(source)  # which may do, whatever its mode has become
        if fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_ACCMODE != os.O_WRONLY:
            return fd
        os.close(fd)
    return _opened_by_force(source, os.O_RDONLY)


def _opened_by_force(fd: int, flags: int) -> int:
    """Open the file behind *fd*, which is ours, and whose mode keeps even us out."""
    status = os.fstat(fd)
    if status.st_uid != os.geteuid():
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    mode = modes.S_IMODE(status.st_mode)
    at.set_mode(fd, mode | modes.S_IRUSR | modes.S_IWUSR)
    try:
        return at.reopened(fd, flags)
    finally:
        at.set_mode(fd, mode)


def _shown(inode: Inode) -> Shown | None:
    """What the guest was last shown of *inode*, or has made of it since."""
    shown, held = inode.shown, inode.held
    if shown is None or held is None or held.mode is None:
        return shown
    # What it has set will follow. Until then we must get in, and nobody else needs to.
    return shown._replace(mode=shown.mode & (held.mode | modes.S_IRWXU))


def _dress(fd: int, owners: Owners, shown: Shown | None) -> None:
    """What was just made, for us alone, gets the owner and the mode that it had.

    Nobody gets more of it than before: where it cannot be given to whom it belonged, what that
    user, or that group, could do to it is given to nobody else.
    """
    if shown is None:
        return
    mode = modes.S_IMODE(shown.mode)
    status = os.fstat(fd)
    if (status.st_uid, status.st_gid) != (shown.uid, shown.gid):
        with contextlib.suppress(OSError):
            syscalls.set_owner(fd, shown.uid if not os.geteuid() else -1, shown.gid)
        status = os.fstat(fd)
    if shown.owner_uid != -1 or shown.owner_gid != -1:
        wanted = (None if each == -1 else each for each in (shown.owner_uid, shown.owner_gid))
        owners.change(fd, status, *wanted)
    if status.st_gid != shown.gid:
        mode &= ~(modes.S_IRWXG | modes.S_ISGID)
    if status.st_uid != shown.uid:
        mode &= ~modes.S_ISUID
    at.set_mode(fd, mode)
