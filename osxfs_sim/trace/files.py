"""The files that a trace is written to: whose they are, and what they take the place of.

A trace names private files, so its files are their owner's alone. What is made
beside it until it is whole is made anew each time, and never follows a link.
Known without the library that traces are written with.
"""

import contextlib
import fcntl
import os
import stat
from pathlib import Path

from osxfs_sim.trace.errors import TraceError

_MODE = 0o600
_NEW = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def recording_of(path: Path) -> Path:
    """The file beside a trace that it is recorded in, until it is whole."""
    return path.with_name(f"{path.name}.partial")


def last_of(path: Path) -> Path:
    """The file of *path*'s trace that was written last: itself, or what it is recorded in.

    Where both are there, an earlier trace of the name is not replaced yet.
    """
    recording = recording_of(path)
    try:
        recorded_ns = recording.stat().st_mtime_ns
        return recording if path.stat().st_mtime_ns < recorded_ns else path
    except OSError:
        return recording if recording.is_file() and not path.exists() else path


def is_there(path: Path) -> bool:
    """Whether there is a trace *path*, if only a recording that was not completed."""
    return last_of(path).is_file()


def discard(path: Path) -> None:
    """Remove the trace *path*, in whatever state it is."""
    for each in (path, recording_of(path)):
        each.unlink(missing_ok=True)


def place_of(path: Path) -> tuple[Path, bool]:
    """Where a trace *path* is to be, and whether that is a device or pipe, to be written through.

    Raises TraceError for what cannot be written.
    """
    try:
        link = path.lstat()
        if stat.S_ISLNK(link.st_mode):
            if link.st_uid not in (0, os.geteuid()):
                raise TraceError(f"{path} cannot be written: it is a link of user {link.st_uid}")
            path = Path(os.path.realpath(path))
        there = path.stat()
    except FileNotFoundError:
        return path, False
    except OSError as error:
        raise _unwritable(path, error) from error
    if stat.S_ISCHR(there.st_mode) or stat.S_ISFIFO(there.st_mode):
        return path, True
    if not stat.S_ISREG(there.st_mode):
        raise TraceError(f"{path} cannot be written: it is no file")
    if not os.access(path, os.W_OK):
        raise TraceError(f"{path} cannot be written: Permission denied")
    return path, False


def open_through(path: Path) -> int:
    """A descriptor to write to a device or a pipe. Raises TraceError."""
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError as error:
        raise _unwritable(path, error) from error
    os.set_blocking(fd, True)
    return fd


def make_new(path: Path) -> tuple[int, Path]:
    """A new file that is to take the place of *path*: a descriptor, and where it is.

    What an earlier process has left there goes. Raises TraceError.
    """
    new = path.with_name(f"{path.name}.new")
    try:
        new.unlink(missing_ok=True)
        return os.open(new, _NEW, _MODE), new
    except OSError as error:
        raise _unwritable(path, error) from error


def make_recording(path: Path) -> tuple[int, Path]:
    """A new file to record the trace *path* in, locked as long as its descriptor is open.

    What an earlier server could not complete is set aside. Raises TraceError, also where
    another server is recording it.
    """
    recording = recording_of(path)
    try:
        try:
            fd = os.open(recording, _NEW, _MODE)
        except FileExistsError:
            _set_aside(recording)
            fd = os.open(recording, _NEW, _MODE)
    except OSError as error:
        raise _unwritable(path, error) from error
    with contextlib.suppress(OSError):  # of a file system without locks
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return fd, recording


def _set_aside(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        if is_locked(fd):
            raise TraceError(f"{path} cannot be written: a trace is being recorded in it")
        path.replace(path.with_name(f"{path.name}.old"))
    finally:
        os.close(fd)


def is_locked(fd: int) -> bool:
    """Whether a server is recording in the file."""
    try:
        fcntl.flock(fd, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    fcntl.flock(fd, fcntl.LOCK_UN)
    return False


def _unwritable(path: Path, error: OSError) -> TraceError:
    return TraceError(f"{path} cannot be written: {error.strerror}")
