"""Who keeps a share alive that is unmounted: copies in mount namespaces, and who is inside.

The kernel ends a session with the last mount of it. A mount namespace begins as a copy of
another, mounts and all (``unshare --mount``, a service with PrivateMounts): nobody has asked for
the share to be there, and it would be served for as long as the namespace lasts. Who was inside
when it was unmounted lazily keeps it, too.

What there is, is read in /proc, of which nobody waits for a share. Only root sees it of all.
"""

import contextlib
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from osxfs_sim.mount import syscalls
from osxfs_sim.mount.mounts.mountpoints import is_below, mount_number_of, unescape

_OF_A_USER = ("cwd", "root")
_WALK = os.O_PATH | os.O_CLOEXEC


@dataclass(frozen=True, slots=True)
class Copy:
    """A mount of a share that is not the one it was mounted as."""

    namespace: str
    """The mount namespace it is in, as /proc tells it."""
    pid: int
    """A process that sees it."""
    mountpoint: str
    """Where, in the eyes of that process."""
    root: str = "/"
    """Which of the share's directories is there."""

    @property
    def path(self) -> str:
        """The path from here to that mount, by way of its process's root in /proc."""
        return f"/proc/{self.pid}/root{self.mountpoint}"


def _namespaces() -> Iterator[tuple[str, int]]:
    """Each process and its mount namespace."""
    for name in os.listdir("/proc"):
        if name.isdecimal():
            with contextlib.suppress(OSError):  # it has ended, or is not ours to see
                yield os.readlink(f"/proc/{name}/ns/mnt"), int(name)


def copies_of(device: str) -> list[Copy]:
    """The mounts of *device* (``major:minor``) in all namespaces we can see; skips the others."""
    found, seen = [], set[str]()
    for namespace, pid in _namespaces():
        if namespace in seen:
            continue
        with contextlib.suppress(OSError):
            with open(f"/proc/{pid}/mountinfo", "rb") as file:
                lines = [line.split(b" ", 5) for line in file]
            seen.add(namespace)
            found += [
                Copy(namespace, pid, *(unescape(os.fsdecode(path)) for path in (place, root)))
                for _, _, number, root, place, _ in lines
                if number.decode() == device
            ]
    return found


def are_left_over(copies: Sequence[Copy], mountpoint: str) -> bool:
    """Whether *copies* of the mount once at *mountpoint* are in nobody's use; False if none.

    They are where it was, and nobody is inside. What was mounted elsewhere, as a container's volume
    is, somebody wanted.
    """
    if not all((each.mountpoint, each.root) == (mountpoint, "/") for each in copies):
        return False
    namespaces = {each.namespace for each in copies}
    for namespace, pid in _namespaces():
        if namespace in namespaces:
            for name in _OF_A_USER:
                with contextlib.suppress(OSError):
                    if is_below(os.readlink(f"/proc/{pid}/{name}"), mountpoint):
                        return False
    return bool(copies)


def ways_in(mount_id: int) -> Iterator[str]:
    """Yield /proc paths of what processes have open, or are in, of a mount without a place."""
    for _, pid in _namespaces():
        with contextlib.suppress(OSError):
            for name in _OF_A_USER:
                fd = os.open(f"/proc/{pid}/{name}", _WALK)
                try:
                    if mount_number_of(fd) == mount_id:
                        yield f"/proc/{pid}/{name}"
                finally:
                    os.close(fd)
            for fd_name in os.listdir(f"/proc/{pid}/fdinfo"):
                with open(f"/proc/{pid}/fdinfo/{fd_name}", "rb") as file:
                    if b"mnt_id:\t%d\n" % mount_id in file.read():
                        yield f"/proc/{pid}/fd/{fd_name}"


def write_out_by(paths: Sequence[str], device: str) -> bool:
    """syncfs(2) of *device* by the first of *paths* that leads there; False where none does.

    The kernel then writes out what it holds; while it is served, since it asks.
    """
    for path in paths:
        with contextlib.suppress(OSError):
            # Neither a pipe is waited for, nor a terminal taken.
            fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
            try:
                number = os.fstat(fd).st_dev
                if f"{os.major(number)}:{os.minor(number)}" == device:
                    syscalls.syncfs(fd)
                    return True
            finally:
                os.close(fd)
    return False
