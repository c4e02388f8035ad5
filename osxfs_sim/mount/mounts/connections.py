"""Aborts the connection of a FUSE mount, whatever its server does: fusectl (fuse(4))."""

import contextlib
import os

from osxfs_sim.mount import syscalls

_CONNECTIONS = "/sys/fs/fuse/connections"


def open_abort(device: str) -> int:
    """A descriptor of the file that aborts *device*'s FUSE connection; -1 where that is not ours.

    *device* is ``major:minor``. It stays this connection's, whatever gets its number when it is
    gone.
    """
    number = device.partition(":")[2]
    flags = os.O_WRONLY | os.O_CLOEXEC
    with contextlib.suppress(OSError):
        return os.open(f"{_CONNECTIONS}/{number}/abort", flags)
    try:
        # Mounted nowhere, which root may do.
        connections = syscalls.detached_file_system(b"fusectl", {})
    except OSError:
        return -1
    try:
        return os.open(f"{number}/abort", flags, dir_fd=connections)
    except OSError:
        return -1
    finally:
        os.close(connections)


def abort(fd: int) -> bool:
    """Abort the FUSE connection that *fd*, of open_abort(), is of; returns whether it was possible.

    Where that has gone meanwhile, nothing happens: not to another one with its number either.
    """
    try:
        os.write(fd, b"1")
    except OSError:
        return False
    return True
