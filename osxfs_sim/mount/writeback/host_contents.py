"""The content and the attributes of what a change is about: by a descriptor of that very object.

A file that the host has removed while the guest goes on to change it is made again with what it
held, where a descriptor can still tell. What that does to what is known of the host is not done
here: it is told (effects.py).
"""

import contextlib
import errno
import os
import stat as modes
from collections.abc import Callable, Iterator

from osxfs_sim.fs import at
from osxfs_sim.fs.copies import copy_content
from osxfs_sim.model.write_back import Change, Kind
from osxfs_sim.mount import syscalls
from osxfs_sim.mount.tree.backing import OPEN_SAFELY, Backing, StaleError
from osxfs_sim.mount.tree.generations import is_same
from osxfs_sim.mount.tree.inodes import Inode, Shown
from osxfs_sim.mount.tree.owners import KnownCaller, Owners
from osxfs_sim.mount.tree.set_id import set_mode
from osxfs_sim.mount.writeback.conflicts import ConflictRules
from osxfs_sim.mount.writeback.effects import Changed, Emit, Opened, Seen, Stale
from osxfs_sim.mount.writeback.host_places import HostPlaces
from osxfs_sim.mount.writeback.journal_format import SetDetail
from osxfs_sim.mount.writeback.restoring import (
    close_elsewhere,
    dress,
    last_shown,
    opened_by_force,
    readable,
    set_times_if_allowed,
    what_is_seen,
)

_COPIED_BYTES = 1 << 20
COPIED_IN_THREAD_BYTES = 1 << 20
"""From here on a copy takes longer than other requests should have to wait."""
_NEW_FILE_MODE = 0o600
_ATTEMPTS = 4
_NOBODY = KnownCaller(-1, -1)
"""Asks for owners, and is told of -1 where none is set."""
_REVIVING = (Kind.WRITE, Kind.SET, Kind.LINK, Kind.RENAME)

ReadData = Callable[[int, int], bytes]
"""The bytes that are kept at a position, and how many."""


class HostContents:
    """Content and attributes of one share's objects on the host.

    The thread of their tree only, but for write() and what copy_beforehand() returns.
    """

    def __init__(
        self,
        backing: Backing,
        owners: Owners,
        places: HostPlaces,
        conflicts: ConflictRules,
        read_data: ReadData,
        emit: Emit,
    ) -> None:
        """*emit* is told of each effect, and has the tree know it before it returns."""
        self._backing = backing
        self._owners = owners
        self._places = places
        self._conflicts = conflicts
        self._read_data = read_data
        self._emit = emit
        self._copies: dict[Inode, tuple[int, int]] = {}
        """Of files that the host has removed: copies without a name, see copy_beforehand().

        And descriptors of the files themselves.
        """

    # Content

    def begin_write(self, change: "Change[Inode]") -> int:
        """Open the host's file that *change* writes to; its descriptor. Raises OSError."""
        return self._writable(change.target)

    def write(self, change: "Change[Inode]", fd: int) -> None:
        """Write the data of *change* to *fd*, in any thread. Raises OSError, half written."""
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

    def end_failed(self, change: "Change[Inode]", fd: int) -> None:
        """Note after a failed write() that what was written is the guest's. Raises OSError."""
        overlay = change.target.overlay
        if overlay is not None and overlay.seen is not None:
            self._saw(change.target, os.fstat(fd))

    def end_write(self, change: "Change[Inode]") -> None:
        """Set the time of a completed write() and note what the file is. Raises OSError."""
        inode = change.target
        self.drop_copy(inode)
        overlay = inode.overlay
        fd = overlay.fd if overlay is not None else -1
        if fd >= 0:
            set_times_if_allowed(fd, None, change.detail.at_ns)
            self._now_seen(inode, fd)

    def _now_seen(self, inode: Inode, fd: int) -> None:
        self._emit(Changed(inode.number))
        if inode.overlay is not None and inode.overlay.seen is not None:
            self._saw(inode, os.fstat(fd))

    def _saw(self, inode: Inode, status: os.stat_result) -> None:
        """What the host's file is like now is known, and no change of the host's."""
        self._emit(Seen(inode.number, what_is_seen(status)))

    def _writable(self, inode: Inode, *, makes_again: bool = True) -> int:
        """A descriptor of the file to write through, the host's file made again if need be.

        Without *makes_again* only where that loses nothing of what it held.
        """
        overlay = inode.overlay
        assert overlay is not None
        if overlay.fd < 0:
            try:
                self._emit(Opened(inode.number, self._open(inode), replaces_handles=False))
            except StaleError:
                if not makes_again:
                    raise
                self._make_file_again(inode)
                return overlay.fd
        status = os.fstat(overlay.fd)
        if not status.st_nlink:
            place = self._places.place(inode)
            if place is None:
                raise StaleError
            with self._places.directory(place[0]) as dir_fd:
                self.revive(inode, place[0], dir_fd, place[1])
        elif self.was_changed(inode, status):
            self._conflicts.lose(*(self._places.place(inode) or (None, b"")))
            self._saw(inode, status)
        return overlay.fd

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
        with self.reached(inode) as fd:
            return opened_by_force(fd, os.O_RDWR)

    def _make_file_again(self, inode: Inode) -> None:
        """The host has removed a file, and no descriptor can tell what it held (after a crash).

        What it has put in its place keeps what the guest did not write.
        """
        place = self._places.place(inode)
        if place is None:
            raise StaleError
        parent, name = place
        with self._places.directory(parent) as dir_fd:
            self._conflicts.lose(parent, name)
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
                    self._places.make_way(parent, dir_fd, name)
                    continue
                if modes.S_ISREG(os.fstat(fd).st_mode):
                    break
                os.close(fd)  # a FIFO or the like
                self._places.make_way(parent, dir_fd, name)
            else:
                raise StaleError
            try:
                if is_new:
                    dress(fd, self._owners, last_shown(inode))
                self._emit(Stale(inode.number))
                self._places.created_on_host(inode, parent, name, fd)
            except BaseException:
                os.close(fd)
                raise
            self.give_descriptor(inode, fd)

    def give_descriptor(self, inode: Inode, fd: int) -> None:
        """Let *fd*, of the host's file, stand for all that the guest has open of *inode*."""
        self._emit(Opened(inode.number, fd, replaces_handles=True))

    # What the host has removed

    def copy_beforehand(self, change: "Change[Inode]") -> Callable[[], None] | None:
        """A function that copies *change*'s large removed file, for a thread; None: no need.

        A large file that the host has removed while the guest goes on to change it is copied,
        to where nobody sees it; apply() then only gives it its name.
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
            place = (
                self._places.place(inode) if change.parent is None else (change.parent, change.name)
            )
            if place is None:
                return None
            with self._places.directory(place[0]) as dir_fd:
                target = at.unnamed_file(dir_fd, _NEW_FILE_MODE)
        except OSError:
            return None  # not every file system has files without a name: it is copied in its turn
        source_fd = readable(source)

        def copy() -> None:
            try:
                copy_content(source_fd, target)
            except BaseException:
                os.close(target)
                os.close(source_fd)
                raise
            self._copies[inode] = target, source_fd

        return copy

    def drop_copy(self, inode: Inode) -> None:
        """Close the copy that was made for *inode* beforehand, if any; never fails."""
        for fd in self._copies.pop(inode, ()):
            close_elsewhere(fd)

    @staticmethod
    def _source_of(inode: Inode) -> int:
        """A descriptor that can tell what a removed file held, or -1."""
        overlay = inode.overlay
        if overlay is not None and overlay.fd >= 0:
            return overlay.fd
        return inode.open_fds[-1] if inode.open_fds and not inode.is_local_only else -1

    def revive(self, inode: Inode, parent: Inode, dir_fd: int, name: bytes) -> None:
        """Make a file that the host has removed again as *name*. Raises OSError.

        With what it held, where a descriptor can still tell. What was only renamed by the guest
        and removed by the host stays removed.
        """
        self._conflicts.lose(parent, name)
        overlay = inode.overlay
        source = self._source_of(inode)
        if source < 0 or inode.kind != modes.S_IFREG:
            self._conflicts.overrule(parent, name)  # which the guest has been told is there
            return
        copy, original = self._copies.pop(inode, (-1, -1))
        status = os.fstat(source)
        self._places.make_way(parent, dir_fd, name)
        try:
            if copy >= 0:
                fd = copy
                at.give_name(fd, dir_fd, name)
            else:
                flags = OPEN_SAFELY | os.O_CREAT | os.O_EXCL | os.O_RDWR
                fd = copy = os.open(name, flags, _NEW_FILE_MODE, dir_fd=dir_fd)
                # The guest may have opened it to write only.
                source_fd = readable(source)
                try:
                    copy_content(source_fd, fd)
                finally:
                    os.close(source_fd)
            uid, gid = self._owners.ids(source, b"", status, _NOBODY)
            dress(fd, self._owners, Shown(status.st_mode, status.st_uid, status.st_gid, uid, gid))
            set_times_if_allowed(fd, status.st_atime_ns, status.st_mtime_ns)
            self._emit(Stale(inode.number))
            self._places.created_on_host(inode, parent, name, fd)
            self.give_descriptor(inode, fd)
        except BaseException:
            if copy >= 0:
                os.close(copy)
            raise
        finally:
            if original >= 0:
                close_elsewhere(original)  # after all others
        if overlay is not None:
            self._saw(inode, os.fstat(fd))

    # Attributes

    @contextlib.contextmanager
    def reached(self, inode: Inode) -> Iterator[int]:
        """Yield a descriptor of the very object, O_PATH perhaps. Raises StaleError, OSError."""
        if inode.overlay is not None and inode.overlay.fd >= 0:
            yield inode.overlay.fd
            return
        with self._backing.pinned(inode) as fd:
            if not is_same(inode, fd, b"", os.fstat(fd)):
                raise StaleError
            yield fd

    def was_changed(self, inode: Inode, status: os.stat_result) -> bool:
        """Whether the host has changed the file, by *status*, since the guest first did."""
        overlay = inode.overlay
        if overlay is None or overlay.seen is None or not modes.S_ISREG(status.st_mode):
            return False
        return overlay.seen != what_is_seen(status)

    def set(self, change: "Change[Inode]") -> None:
        """Set on the host the attributes that *change* sets. Raises OSError."""
        inode, detail = change.target, change.detail
        assert isinstance(detail, SetDetail)
        try:
            if inode.kind == modes.S_IFREG and detail.size is not None:
                self._writable(inode, makes_again=False)
            with self.reached(inode) as fd:
                status = os.fstat(fd)
                if self.was_changed(inode, status):
                    self._conflicts.lose(*(self._places.place(inode) or (None, b"")))
                self._set_now(fd, status, detail)
                self._now_seen(inode, fd)
        except (StaleError, FileNotFoundError):
            # The host has removed it, and nothing that was written is lost with it.
            self._conflicts.lose(*(self._places.place(inode) or (None, b"")))

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
            set_times_if_allowed(fd, None, detail.at_ns)
