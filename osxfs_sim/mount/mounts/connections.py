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


def abort(device: str) -> bool:
    """Abort the FUSE connection of *device* (``major:minor``); returns whether it was possible."""
    fd = open_abort(device)
    if fd < 0:
        return False
    try:
        os.write(fd, b"1")
    except OSError:
        return False
    finally:
        os.close(fd)
    return True
