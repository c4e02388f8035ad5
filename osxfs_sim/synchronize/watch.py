"""Hears which directories of a side have changed, by inotify: one watch a directory.

A directory is watched before it is listed, so whatever changes after the list is
heard. A watch stays with its directory wherever that is moved, and may then speak
of a path that is another's: that one is scanned for nothing, and the moved one
as a whole, since its parent tells of a name that is new there.

`watchfiles` would watch whole trees by itself; here the scan goes through all
directories anyway, and decides by the same list what is ignored and not watched.
"""

import errno
import os
import struct

from inotify_simple import INotify, flags

from osxfs_sim.synchronize.ignore import STAGING_PREFIX
from osxfs_sim.synchronize.snapshot import Path

_WANTED = int(
    flags.MODIFY
    | flags.ATTRIB
    | flags.CREATE
    | flags.DELETE
    | flags.MOVED_FROM
    | flags.MOVED_TO
    | flags.DELETE_SELF
    | flags.MOVE_SELF
    | flags.ONLYDIR
    | flags.EXCL_UNLINK
)
_OVERFLOW, _IGNORED = int(flags.Q_OVERFLOW), int(flags.IGNORED)
_EVENT = struct.Struct("=iIII")  # struct inotify_event: watch, mask, cookie, name's length
_MOST_BYTES = 65_536


class Heard:
    """The paths below one side at which changes were heard of since it was taken last."""

    def __init__(self) -> None:
        """Nothing yet."""
        self.paths: set[Path] = set()
        self.is_lost = False
        """Whether something was missed, so that all must be scanned."""

    def __bool__(self) -> bool:
        return bool(self.paths) or self.is_lost


class SideWatcher:
    """Watches the directories of one side with inotify. Not thread-safe."""

    def __init__(self) -> None:
        """Raises OSError where the kernel gives no more of it."""
        self._inotify = INotify(nonblocking=True)
        self.fd: int = self._inotify.fileno()
        self._paths: dict[int, Path] = {}
        self.refused = 0
        """Directories that could not be watched since this was last set to 0."""

    def follow(self, path: Path, dir_fd: int) -> None:
        """Watch the directory *path*, open as *dir_fd*; *refused* counts those that cannot be."""
        try:
            watch = self._inotify.add_watch(f"/proc/self/fd/{dir_fd}", _WANTED)
        except OSError as error:
            if error.errno == errno.ENOENT:
                return  # it is gone
            self.refused += 1
            return
        self._paths[watch] = path

    def read_into(self, heard: Heard) -> bool:
        """Read waiting events into *heard*, without blocking; returns whether one counts."""
        counts = False
        while True:
            try:
                content = os.read(self.fd, _MOST_BYTES)
            except BlockingIOError:
                return counts
            offset = 0
            while offset < len(content):
                watch, mask, _, length = _EVENT.unpack_from(content, offset)
                name = content[offset + _EVENT.size : offset + _EVENT.size + length]
                offset += _EVENT.size + length
                if mask & _OVERFLOW:
                    heard.is_lost = counts = True
                elif mask & _IGNORED:
                    self._paths.pop(watch, None)
                else:
                    path = self._paths.get(watch)
                    if path is None or (not path and name.startswith(STAGING_PREFIX)):
                        continue  # our own staging
                    heard.paths.add(path)
                    counts = True

    def close(self) -> None:
        """Close the inotify instance, and end all its watches."""
        self._inotify.close()
