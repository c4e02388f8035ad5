"""Guest-local directories inside a share: volumes, which the host does not see.

As a container's volume on a path of its bind mount: where the path is missing in
the share it is made, an empty directory that the host sees, and the volume is then
bind-mounted over it. What the guest does there costs no request.

Two things could lead elsewhere, and do not. The way to a volume is walked by openat2(2),
which follows no symlink and leaves the share for nothing but another of its volumes.
And what is unmounted is what we have noted when we mounted it, by its mount's number
and its device; numbers of mounts are given anew, so that one alone would not do.

One thing takes a volume away: where the name of a directory on the way to it is no longer
what the guest's kernel has cached, the kernel detaches what is mounted there and below
(d_invalidate in fs/dcache.c). That is right where the host has removed or renamed the
directory: a guest on a real Mac loses its volume just so. It must not happen only because
an entry is invalidated early. So that of a directory on the way to a volume is not while
it still is that directory (HostEvents asks holds()), and never are all dentries at once (reactor).
"""

import contextlib
import ctypes
import errno
import logging
import os
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from osxfs_sim.model.escaping import quoted
from osxfs_sim.model.status import VolumeStatus
from osxfs_sim.mount import syscalls
from osxfs_sim.mount.mounts.mountpoints import MountError, mount_number_of, mounts

log = logging.getLogger(__name__)

_WALK = os.O_PATH | os.O_NOFOLLOW | os.O_DIRECTORY | os.O_CLOEXEC
_INSIDE = syscalls.RESOLVE_BENEATH | syscalls.RESOLVE_NO_SYMLINKS | syscalls.RESOLVE_NO_MAGICLINKS
_UMOUNT_NOFOLLOW = 8
_libc = ctypes.CDLL(None, use_errno=True)


_Mounted = tuple[int, str]
"""What tells a mount of ours from others: its number, and the device mounted."""


@dataclass(slots=True)
class _Volume:
    path: str
    directory: str
    mounted: _Mounted | None = None
    way: frozenset[int] = frozenset()
    """The share's directories on the way to it, by number; what it covers included."""


def check_volumes(
    volumes: Sequence[tuple[str, str]], source: str, mountpoint: str
) -> tuple[tuple[str, str], ...]:
    """The *volumes* (path, real directory), outer ones first. Raises MountError.

    *source* and *mountpoint* are real paths.
    """
    if not volumes:
        return ()
    if os.geteuid() != 0:
        raise MountError("volumes need root, who alone may mount a directory: mount as root")
    found = []
    shares = [entry.mountpoint for entry in mounts() if entry.is_ours]
    for path, directory in volumes:
        what = f"the volume {path}"
        if not directory:
            raise MountError(f"{what} has no directory: write --volume {path}=DIRECTORY")
        if not os.path.isdir(directory):
            raise MountError(f"{what}: {directory} is no directory: mkdir -p {quoted(directory)}")
        real = os.path.realpath(directory)
        for other, name in ((source, "source"), (mountpoint, "mount point")):
            if os.path.commonpath((real, other)) in (real, other):
                raise MountError(
                    f"{what}: {directory} and the {name} are not apart; a volume is the "
                    "guest's own: name a directory elsewhere"
                )
        if any(os.path.commonpath((real, share)) == share for share in shares):
            raise MountError(
                f"{what}: {directory} lies in a share; a volume is the guest's own: "
                "name a directory outside"
            )
        found.append((path, real))
    return tuple(sorted(found, key=lambda volume: volume[0].count("/")))


class Volumes:
    """The volumes of one share; in any thread but that of the requests, for they are asked."""

    def __init__(self, volumes: Sequence[tuple[str, str]], mountpoint: str, device: str) -> None:
        """*volumes* are as check_volumes() returns them, *device* is the share's."""
        self._volumes = [_Volume(path, directory) for path, directory in volumes]
        self._mountpoint = mountpoint
        self._device = device
        self._lock = threading.Lock()

    @classmethod
    def of_record(cls, record: Mapping[str, Any]) -> "Volumes":
        """The volumes that a server which is gone has mounted, made of its *record*."""
        volumes = cls((), record["mountpoint"], record["device"])
        for path, directory, mount_id, device in record["volumes"]:
            volumes._volumes.append(_Volume(path, directory, (mount_id, device)))
        return volumes

    def record(self) -> list[tuple[str, str, int, str]]:
        """The path, directory, mount ID and device of each volume that is mounted."""
        return [
            (volume.path, volume.directory, *volume.mounted)
            for volume in self._volumes
            if volume.mounted is not None
        ]

    def mount(self) -> None:
        """Mount the volumes that are not, in order. Raises MountError, keeping what is mounted."""
        with self._lock:
            for volume in self._volumes:
                try:
                    with self._root() as root_fd:
                        if volume.mounted is None:
                            self._mount(volume, root_fd)
                except OSError as error:
                    raise MountError(
                        f"the volume {volume.path} cannot be mounted: {_reason(error)}"
                    ) from error

    @contextlib.contextmanager
    def _root(self) -> Iterator[int]:
        """A descriptor of the share's root. Raises OSError where that is not mounted there."""
        root_fd = os.open(self._mountpoint, _WALK)
        try:
            if _device(os.fstat(root_fd).st_dev) != self._device:
                raise OSError(errno.ENOTCONN, "the share is gone")
            yield root_fd
        finally:
            os.close(root_fd)

    def _mount(self, volume: _Volume, root_fd: int) -> None:
        way: set[int] = set()
        share = mount_number_of(root_fd)
        allowed = {share, *(each.mounted[0] for each in self._volumes if each.mounted)}
        fd = os.dup(root_fd)
        try:
            for part in volume.path.split("/"):
                name = os.fsencode(part)
                with contextlib.suppress(FileExistsError):
                    os.mkdir(name, 0o755, dir_fd=fd)
                below = syscalls.open_beneath(fd, name, _WALK, _INSIDE)
                os.close(fd)
                fd = below
                if mount_number_of(fd) not in allowed:
                    raise OSError(errno.EBUSY, os.strerror(errno.EBUSY))
                if mount_number_of(fd) == share:
                    way.add(os.fstat(fd).st_ino)
            place = b"/proc/self/fd/%d" % fd
            syscalls.bind_mount(volume.directory, place)
        finally:
            os.close(fd)
        # What was opened is what it covers: only who walks there again is in the volume.
        with self._top(volume.path, root_fd) as (top, _):
            volume.mounted, volume.way = _identity(top), frozenset(way)

    @contextlib.contextmanager
    def _top(self, path: str, root_fd: int) -> Iterator[tuple[int, int]]:
        """Descriptors of what is at *path*, and of the directory above. Raises OSError."""
        above, _, name = path.rpartition("/")
        dir_fd = syscalls.open_beneath(root_fd, os.fsencode(above) or b".", _WALK, _INSIDE)
        try:
            top = syscalls.open_beneath(dir_fd, os.fsencode(name), _WALK, _INSIDE)
            try:
                yield top, dir_fd
            finally:
                os.close(top)
        finally:
            os.close(dir_fd)

    def unmount(self) -> None:
        """Unmount all volumes; if one is in use, mount all again and raise MountError."""
        busy = None
        # Where the share is gone, these have gone along.
        with self._lock, contextlib.suppress(OSError), self._root() as root_fd:
            for volume in reversed(self._volumes):
                if not self._unmount(volume, root_fd):
                    busy = volume
                    break
        if busy is not None:
            self.mount()
            where = os.path.join(self._mountpoint, busy.path)
            raise MountError(
                f"the volume {where} is in use: leave it (fuser -vm {quoted(where)} shows "
                "who is in it)"
            )

    def _unmount(self, volume: _Volume, root_fd: int) -> bool:
        """Whether it is not mounted any more; False where it is in use."""
        mountpoint = self._places().get(volume.mounted) if volume.mounted else None
        if mountpoint is not None:
            # The guest may have renamed a directory on the way: it moves along.
            volume.path = mountpoint.removeprefix(self._mountpoint + "/")
            dir_fd = -1
            with self._top(volume.path, root_fd) as (top, above):
                if _identity(top) == volume.mounted:
                    dir_fd = os.dup(above)
            if dir_fd >= 0:
                # Nothing of ours may be in it now.
                place = b"/proc/self/fd/%d/%s" % (dir_fd, os.fsencode(volume.path).split(b"/")[-1])
                try:
                    if _libc.umount2(place, _UMOUNT_NOFOLLOW):
                        return False
                finally:
                    os.close(dir_fd)
        volume.mounted = None
        return True

    def holds(self, number: int) -> bool:
        """Whether the directory of inode *number* is on the way to a mounted volume.

        In any thread: nobody is asked but the kernel.
        """
        wanted = {each.mounted for each in self._volumes if number in each.way}
        return bool(wanted) and not wanted.isdisjoint(self._places())

    @property
    def directories(self) -> frozenset[int]:
        """The inode numbers of the share's directories on the way to any volume."""
        return frozenset().union(*(volume.way for volume in self._volumes))

    def status(self) -> list[VolumeStatus]:
        """A status for each volume: its path, its directory, and whether it is mounted."""
        mounted = self._places() if self._volumes else {}
        return [
            VolumeStatus(
                path=volume.path,
                directory=volume.directory,
                mounted=volume.mounted in mounted,
            )
            for volume in self._volumes
        ]

    def _places(self) -> dict[_Mounted, str]:
        """Where each mount in the share is.

        Elsewhere one may have the ID of a volume that is gone: the kernel gives them out anew.
        """
        inside = self._mountpoint + "/"
        return {
            (entry.mount_id, entry.device): entry.mountpoint
            for entry in mounts()
            if entry.mountpoint.startswith(inside)
        }

    @staticmethod
    def warnings(volumes: Iterable[VolumeStatus]) -> list[str]:
        """The warnings of those of *volumes* that are gone, and why, a line each."""
        return [
            f"the volume {volume.path} is gone: the host, or somebody in the guest, took away "
            "the directory that it was mounted on; what it holds is still in "
            f"{volume.directory}"
            for volume in volumes
            if not volume.mounted
        ]


def _identity(fd: int) -> _Mounted:
    """Of the mount that *fd* is in (proc_pid_fdinfo(5))."""
    return mount_number_of(fd), _device(os.fstat(fd).st_dev)


def _device(number: int) -> str:
    return f"{os.major(number)}:{os.minor(number)}"


def _reason(error: OSError) -> str:
    if error.errno == errno.EBUSY:
        return "something else is mounted on its way"
    if error.errno in (errno.ENOTDIR, errno.ELOOP, errno.EXDEV):
        return "something on its way is no directory, or a symlink, which is not followed"
    return error.strerror or str(error)
