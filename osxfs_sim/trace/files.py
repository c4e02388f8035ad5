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

from osxfs_sim.fs import at
from osxfs_sim.fs.at import Found
from osxfs_sim.fs.output import Output
from osxfs_sim.trace.errors import TraceError

_MODE = 0o600
_NEW = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def recording_of(path: Path) -> Path:
    """The path PATH.partial, where the trace *path* is recorded until it is whole."""
    return path.with_name(f"{path.name}.partial")


def last_of(path: Path) -> Path:
    """The file of trace *path* that was written last: *path* itself, or its recording PATH.partial.

    Where both are there, an earlier trace of the name is not replaced yet.
    """
    recording = recording_of(path)
    try:
        recorded_ns = recording.stat().st_mtime_ns
        return recording if path.stat().st_mtime_ns < recorded_ns else path
    except OSError:
        return recording if recording.is_file() and not path.exists() else path


def is_there(path: Path) -> bool:
    """Whether the trace *path* is there as a file, if only its recording, never completed."""
    return last_of(path).is_file()


def discard(path: Path) -> None:
    """Remove the trace *path* and its recording; either may be absent. Raises OSError."""
    for each in (path, recording_of(path)):
        at.remove(each)


def place_of(path: Path) -> tuple[Path, int]:
    """A trace's real path, and a descriptor of a device or pipe there, else -1. Raises TraceError.

    Raises TraceError for what cannot be written.
    """
    try:
        with at.chased(path) as found:
            place = Path(os.fsdecode(os.path.join(at.path_of(found.dir_fd), found.name)))
            if found.fd < 0:
                return place, -1
            mode = os.fstat(found.fd).st_mode
            if stat.S_ISREG(mode):
                if not os.access(at.magic_link(found.fd), os.W_OK):
                    raise TraceError(f"{path} cannot be written: Permission denied")
                return place, -1
            if not (stat.S_ISCHR(mode) or stat.S_ISFIFO(mode)):
                raise TraceError(f"{path} cannot be written: it is no file")
            if not found.is_trusted():
                raise TraceError(f"{path} cannot be written: it is another user's")
            fd = at.reopened(found.fd, os.O_WRONLY | os.O_NONBLOCK | os.O_NOCTTY)
    except OSError as error:
        raise _unwritable(path, error) from error
    os.set_blocking(fd, True)
    return place, fd


def new_trace(path: Path) -> Output:
    """An open output that replaces *path* once committed, or a device there. Raises TraceError.

    Raises TraceError for what cannot be written.
    """
    try:
        return Output(path, mode=_MODE)
    except OSError as error:
        raise _unwritable(path, error) from error


def make_recording(path: Path) -> tuple[int, Path]:
    """Make and lock a new file to record the trace *path* in; its fd and path. Raises TraceError.

    What an earlier server could not complete is set aside. Raises TraceError, also where
    another server is recording it.
    """
    recording = recording_of(path)
    try:
        with at.chased(recording, follow=False) as found:
            if found.fd >= 0:
                _set_aside(found, recording)
            fd = os.open(found.name, _NEW, _MODE, dir_fd=found.dir_fd)
    except OSError as error:
        raise _unwritable(path, error) from error
    with contextlib.suppress(OSError):  # of a file system without locks
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return fd, recording


def _set_aside(found: Found, path: Path) -> None:
    if not stat.S_ISREG(os.fstat(found.fd).st_mode):
        raise TraceError(f"{path} cannot be written: it is no file")
    fd = at.reopened(found.fd, os.O_RDONLY)
    try:
        if is_locked(fd):
            raise TraceError(f"{path} cannot be written: a trace is being recorded in it")
    finally:
        os.close(fd)
    old = found.name + b".old"
    os.rename(found.name, old, src_dir_fd=found.dir_fd, dst_dir_fd=found.dir_fd)


def is_locked(fd: int) -> bool:
    """Whether a server holds a lock on the file *fd*, so records in it; False where locks fail."""
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
