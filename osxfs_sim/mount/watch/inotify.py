"""Sees the host's changes by inotify: for kernels and file systems without fanotify.

One watch a directory. inotify tells nobody's process, so our own changes are
told apart by what they left:

- A name that our server removed: each removal has one event, and the kernel keeps
  the order, so as many removals of that name as we have made are passed over.
- An object that our server made or changed: an event of an object that is now
  exactly as our last change left it (change time, modification time, size,
  links) is ours. Anything else is the host's.

The host's last change of an object is then always reported, except one in the
few microseconds between ours and record_own_change(), which reads what it left. An
earlier one is not, where ours came after it before the event was read: inotify
merges equal events, so nothing tells that there were two. A name that
was made and removed again, or content that was changed twice, may be reported
although it was ours. fanotify has none of these limits.

Change times must tell any two changes apart. They do from Linux 6.13 on, on file
systems with multigrain timestamps: a change after somebody has looked gets a
time of its own (Documentation/filesystems/multigrain-ts.rst). Elsewhere times
have ticks of up to 10 ms, and a host's change of equal size in the tick of ours
would look like ours, however late its event is read. So there only removals are
recognized, and the guest's other changes are reported as the host's: caches are invalidated
too often, never too late.
"""

import collections
import contextlib
import errno
import os
import re
import stat as modes
import struct
from collections.abc import Sequence
from dataclasses import dataclass

from inotify_simple import INotify, flags

from osxfs_sim.model.events import What
from osxfs_sim.mount import syscalls
from osxfs_sim.mount.mounts.mountpoints import MountError
from osxfs_sim.mount.tree.backing import magic_link, opened, reached
from osxfs_sim.mount.tree.inodes import Inode
from osxfs_sim.mount.watch.watcher import HostChange, Lost, now_ns

# inotify_simple's flags are enums, too slow for every event.
_MODIFY, _ATTRIB, _CLOSE_WRITE = int(flags.MODIFY), int(flags.ATTRIB), int(flags.CLOSE_WRITE)
_MOVED_FROM, _MOVED_TO = int(flags.MOVED_FROM), int(flags.MOVED_TO)
_CREATE, _DELETE = int(flags.CREATE), int(flags.DELETE)
_Q_OVERFLOW, _IGNORED, _ISDIR = int(flags.Q_OVERFLOW), int(flags.IGNORED), int(flags.ISDIR)
_GONE = _DELETE | _MOVED_FROM
_MADE = _CREATE | _MOVED_TO
_WANTED = (
    (_MODIFY | _ATTRIB | _CLOSE_WRITE | _GONE | _MADE)
    # A deleted file that is still open has no name to report.
    | int(flags.EXCL_UNLINK)
    | int(flags.ONLYDIR)
)
_MEANINGS = {
    bit | directory: what | also
    for bit, what in (
        (_CREATE, What.CREATED),
        (_DELETE, What.REMOVED),
        (_MOVED_FROM, What.RENAMED),
        (_MOVED_TO, What.RENAMED),
        (_MODIFY, What.MODIFIED),
        (_ATTRIB, What.ATTRIBUTES),
        (_CLOSE_WRITE, What.CLOSED),
    )
    for directory, also in ((0, What(0)), (_ISDIR, What.DIRECTORY))
}

_EVENT = struct.Struct("=iIII")  # struct inotify_event: watch, mask, cookie, name's length
_LEAST_BYTES, _MOST_BYTES = 4_096, 65_536
"""Of one read: the longest event has 272 bytes."""
_USUAL_BYTES = 32

_OWN_KEPT = 20_000
"""Names, and objects, of which our last change is remembered: 12 MB at most."""

# With multigrain timestamps since Linux 6.13 (FS_MGTIME): ext4, btrfs, xfs, tmpfs.
_MULTIGRAIN = frozenset((0xEF53, 0x9123683E, 0x58465342, 0x01021994))

_Event = tuple[int, int, int, bytes]
_State = tuple[int, int, int, int]


@dataclass(slots=True)
class _OwnName:
    """What our server left at one name."""

    made: tuple[int, int, bytes | None] | None = None
    """Device, number and, of a directory, handle of the object that it put there."""
    removals: int = 0
    """Whose events have not been read yet."""


class InotifyWatcher:
    """Host changes by inotify; a Watcher. Not thread-safe."""

    kind = "inotify"
    needs_own_changes = True

    def __init__(self, root: Inode, root_fd: int) -> None:
        """Raises MountError where the kernel gives no more of it."""
        self._root = root
        self._device = root.device
        self.refused = 0
        """Directories that could not be watched because no watch was left."""
        try:
            self._inotify = INotify(nonblocking=True)
        except OSError as error:
            raise MountError(
                f"inotify cannot be had ({error.strerror}): "
                "raise the sysctl fs.inotify.max_user_instances"
            ) from None
        self._fd: int = self._inotify.fileno()
        self._by_watch: dict[int, Inode] = {}
        self._watches: dict[Inode, int] = {}
        self._unread: collections.deque[_Event] = collections.deque()
        self._times_tell = _change_times_tell(root_fd)
        self._own_names: collections.OrderedDict[tuple[int, bytes], _OwnName]
        self._own_names = collections.OrderedDict()
        self._own_objects: collections.OrderedDict[tuple[int, int], _State]
        self._own_objects = collections.OrderedDict()

    def fileno(self) -> int:
        """The inotify instance's file descriptor, readable when there are events."""
        return self._fd

    def watch(self, directory: Inode, dir_fd: int, name: bytes) -> bool:
        """Watch *directory*, *name* in *dir_fd*; False: no watch is left, or it is not that."""
        if directory.device != self._device:
            return False
        try:
            with opened(dir_fd, name) as fd:
                if not directory.is_same(os.fstat(fd)):
                    return False
                watch = self._inotify.add_watch(magic_link(fd), _WANTED)
        except OSError as error:
            if error.errno == errno.ENOSPC:
                self.refused += 1
            return False
        if self._watches.get(directory) != watch:
            self.unwatch(directory)
            before = self._by_watch.get(watch)
            if before is not None:
                del self._watches[before]
            self._by_watch[watch] = directory
            self._watches[directory] = watch
        return True

    def unwatch(self, directory: Inode) -> None:
        """Remove the watch of *directory*, if there is one. Raises OSError."""
        watch = self._watches.pop(directory, None)
        if watch is None:
            return
        del self._by_watch[watch]
        try:
            self._inotify.rm_watch(watch)
        except OSError as error:
            # It went with its directory, and we have not read so yet.
            if error.errno != errno.EINVAL:
                raise

    def read(self, most: int) -> Sequence[HostChange | Lost]:
        """About *most* changes by others, perhaps none; a Lost where the queue overflowed."""
        at_ns = now_ns()
        if not self._unread:
            self._fill(most)
        changes: list[HostChange | Lost] = []
        while self._unread and len(changes) < most:
            watch, mask, cookie, name = self._unread.popleft()
            if mask & _Q_OVERFLOW:
                self._own_names.clear()  # the events that they wait for may be among the lost
                changes.append(Lost(at_ns))
                continue
            directory = self._by_watch.get(watch)
            if mask & _IGNORED:
                # The directory was deleted, or unmounted.
                if directory is not None:
                    del self._by_watch[watch]
                    del self._watches[directory]
                continue
            if mask & _MOVED_FROM:
                self._add_rename(changes, (watch, mask, cookie, name), most, at_ns)
            elif directory is not None and mask in _MEANINGS:
                change = self._change(directory, watch, mask, name, at_ns)
                if change is not None:
                    changes.append(change)
        return changes

    def _fill(self, most: int) -> None:
        """Take about *most* events from the kernel."""
        wanted = min(max(most * _USUAL_BYTES, _LEAST_BYTES), _MOST_BYTES)
        try:
            data = os.read(self._fd, wanted)
        except BlockingIOError:
            return
        position = 0
        while position < len(data):
            try:
                watch, mask, cookie, length = _EVENT.unpack_from(data, position)
                position += _EVENT.size + length
                if position > len(data):
                    raise struct.error
            except struct.error:
                # Not what the kernel writes. Whatever it was is unknown now.
                self._unread.append((-1, _Q_OVERFLOW, 0, b""))
                return
            # Not by the library's own reading, which takes all there is, and makes text of names.
            name = data[position - length : position].split(b"\0", 1)[0]
            self._unread.append((watch, mask, cookie, name))

    def _add_rename(
        self, changes: list[HostChange | Lost], event: _Event, most: int, at_ns: int
    ) -> None:
        """Both sides of a rename, joined if the second one has been read already."""
        watch, mask, cookie, name = event
        other = self._other_side(cookie)
        if other is None and not self._unread:
            self._fill(most)
            other = self._other_side(cookie)
        old = new = None
        directory = self._by_watch.get(watch)
        if directory is not None:
            old = self._change(directory, watch, mask, name, at_ns)
        if other is not None:
            self._unread.remove(other)
            directory = self._by_watch.get(other[0])
            if directory is not None:
                new = self._change(directory, other[0], other[1], other[3], at_ns)
        if old is not None:
            place = None if new is None else (new.directory, new.name)
            changes.append(HostChange(old.directory, old.name, old.what, at_ns, place))
        if new is not None:
            changes.append(new)

    def _other_side(self, cookie: int) -> _Event | None:
        for event in self._unread:
            if event[2] == cookie and event[1] & _MOVED_TO:
                return event
        return None

    def _change(
        self, directory: Inode, watch: int, mask: int, name: bytes, at_ns: int
    ) -> HostChange | None:
        """What an event says; None if it is about our own change, or said elsewhere."""
        if not name:
            if directory is self._root:
                if self._is_own_object(directory, b"."):
                    return None
                return HostChange(directory, b"", _MEANINGS[mask | _ISDIR], at_ns)
            parent = directory.parent
            if parent is None or parent in self._watches or self._is_own_object(directory, b"."):
                return None  # the parent's watch says it too
            return HostChange(parent, directory.name, _MEANINGS[mask | _ISDIR], at_ns)
        if mask & (_GONE | _MADE):
            if self._is_own_name(directory, watch, mask, name):
                return None
        elif self._is_own_object(directory, name):
            return None
        return HostChange(directory, name, _MEANINGS[mask], at_ns)

    def _is_own_name(self, directory: Inode, watch: int, mask: int, name: bytes) -> bool:
        """Whether an event of a name that appeared or went is ours."""
        own = self._own_names.get((watch, name))
        if own is None:
            return False
        if mask & _GONE and own.removals:
            own.removals -= 1
            return True
        if own.made is None and not own.removals:
            return False
        try:
            with reached(directory) as fd:
                status = os.stat(name, dir_fd=fd, follow_symlinks=False)
                is_ours = (
                    own.made is not None
                    and (status.st_dev, status.st_ino) == own.made[:2]
                    and (
                        self._is_as_left(status)
                        # A directory changes whenever something is made in it: its
                        # handle tells it from a later one with the same number.
                        or (
                            bool(mask & _MADE)
                            and own.made[2] is not None
                            and syscalls.file_handle(fd, name) == own.made[2]
                        )
                    )
                )
        except FileNotFoundError:
            # If we have removed it, the event of that is still to come.
            is_ours = own.removals > 0
        except OSError:
            is_ours = False
        if mask & _GONE and not is_ours:
            own.made = None  # whatever comes to this name, the host has put there
        return is_ours

    def _is_own_object(self, directory: Inode, name: bytes) -> bool:
        if not self._own_objects:
            return False
        try:
            with reached(directory) as fd:
                return self._is_as_left(os.stat(name, dir_fd=fd, follow_symlinks=False))
        except OSError:
            return False

    def _is_as_left(self, status: os.stat_result) -> bool:
        return self._own_objects.get((status.st_dev, status.st_ino)) == _state(status)

    def record_own_change(self, directory: Inode, name: bytes, dir_fd: int) -> None:
        """Remember what we left at *name*, so that its event counts as ours. Raises OSError."""
        watch = self._watches.get(directory)
        key = (-1 if watch is None else watch, name)
        own = self._own_names.get(key) or _OwnName()
        try:
            status = os.stat(name or b".", dir_fd=dir_fd, follow_symlinks=False)
        except FileNotFoundError:
            own.made = None
            own.removals += 1
        else:
            if not self._times_tell:
                return
            handle = None
            if modes.S_ISDIR(status.st_mode):
                with contextlib.suppress(OSError):
                    handle = syscalls.file_handle(dir_fd, name)
            own.made = status.st_dev, status.st_ino, handle
            self._note(status)
        if watch is None:
            return  # no event will tell of it
        self._own_names[key] = own
        self._own_names.move_to_end(key)
        if len(self._own_names) > _OWN_KEPT:
            self._own_names.popitem(last=False)

    def record_own_change_fd(self, fd: int) -> None:
        """Remember what we left behind *fd*, so that its events count as ours. Raises OSError."""
        if self._times_tell:
            self._note(os.fstat(fd))

    def _note(self, status: os.stat_result) -> None:
        key = status.st_dev, status.st_ino
        self._own_objects[key] = _state(status)
        self._own_objects.move_to_end(key)
        if len(self._own_objects) > _OWN_KEPT:
            self._own_objects.popitem(last=False)

    def close(self) -> None:
        """Close the inotify instance, which ends all watches, and forget our own changes."""
        self._inotify.close()
        self._by_watch.clear()
        self._watches.clear()
        self._unread.clear()
        self._own_names.clear()
        self._own_objects.clear()


def _state(status: os.stat_result) -> _State:
    return status.st_ctime_ns, status.st_mtime_ns, status.st_size, status.st_nlink


def _change_times_tell(fd: int) -> bool:
    """Whether change times tell any two changes apart that somebody looked between."""
    release = re.match(r"(\d+)\.(\d+)", os.uname().release)
    if release is None or (int(release[1]), int(release[2])) < (6, 13):
        return False
    return syscalls.file_system_magic(fd) in _MULTIGRAIN
