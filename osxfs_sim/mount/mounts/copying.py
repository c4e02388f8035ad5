"""The guest's own copy of the host's directory: made whole, or not at all.

It is made beside its place and then moved there, so that a copy which exists is
complete, whatever ended whoever made it.
"""

import contextlib
import errno
import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path

from osxfs_sim.fs import at
from osxfs_sim.fs.output import write_output
from osxfs_sim.fs.tree_copy import CopyError, copy_tree
from osxfs_sim.mount.mounts.mountpoints import MountError, lies_in
from osxfs_sim.synchronize import created


def copy_place(state: Path, source: str) -> Path:
    """The path in *state* at which the copy of *source* (a real path) lies by default."""
    digest = hashlib.sha256(os.fsencode(source)).hexdigest()[:20]
    return state / "copies" / digest


def check_copy(copy: Path, source: str, mountpoint: str) -> Path:
    """The real path of *copy*. Raises MountError unless apart from source and mount point."""
    real = Path(os.path.realpath(copy))
    for other, name in ((source, "source"), (mountpoint, "mount point")):
        if lies_in(str(real), other) or lies_in(other, str(real)):
            raise MountError(
                f"the copy {copy} and the {name} are not apart: let --copy name another directory"
            )
    if real.exists() and not real.is_dir():
        raise MountError(f"the copy {copy} is no directory: let --copy name another")
    return real


def record_source(state: Path, copy: Path, source: str) -> None:
    """Record in *state* that *copy* is of *source*. Raises MountError where it is another's.

    Its content would be taken for this one's: with a synchronized share it would travel there.
    """
    digest = hashlib.sha256(os.fsencode(copy)).hexdigest()[:20]
    record = state / "copied" / digest
    try:
        with contextlib.suppress(FileNotFoundError):
            other = os.fsdecode(record.read_bytes())
            if other == source:
                return
            if is_made(copy):
                raise MountError(
                    f"the copy {copy} has what was copied from {other}: let --copy name another "
                    f"directory, or remove {record} if it is to become one with {source}"
                )
        os.close(at.make_directories(record.parent, 0o700))
        write_output(record, os.fsencode(source), mode=0o600)
    except OSError as error:
        raise MountError(f"{record}: {error.strerror}: put that right") from error


def make_empty(copy: Path, source: str) -> None:
    """Make the empty directory *copy*, owned and open as *source* is. Raises OSError."""
    if copy.exists():
        return
    status = os.stat(source)
    with _beside(copy) as (above_fd, fd, made):
        at.set_owner(fd, status.st_uid, status.st_gid)
        at.set_mode(fd, created(status.st_mode & 0o077, runs=True))
        os.rename(made, os.fsencode(copy.name), src_dir_fd=above_fd, dst_dir_fd=above_fd)


def is_made(copy: Path) -> bool:
    """Whether *copy* is a directory that holds something; an empty one is no copy."""
    return copy.is_dir() and any(copy.iterdir())


def make_copy(source: str, copy: Path, is_unwanted: Callable[[], bool]) -> None:
    """Copy the directory *source* to *copy*, whole or not at all. Raises MountError.

    Nothing is followed out of it, whoever changes it meanwhile. Ends early, by MountError, when
    *is_unwanted* says so.
    """

    def look() -> None:
        if is_unwanted():
            raise MountError("interrupted while the copy was made: nothing is mounted")

    try:
        with _beside(copy) as (above_fd, fd, made):
            look()
            _fill(source, fd, look)
            try:
                os.rename(made, os.fsencode(copy.name), src_dir_fd=above_fd, dst_dir_fd=above_fd)
            except OSError as error:
                if error.errno in (errno.ENOTEMPTY, errno.EEXIST) and is_made(copy):
                    return  # another share has been faster
                raise
    except OSError as error:
        raise MountError(f"no copy can be made at {copy}: {error.strerror}") from error


def _fill(source: str, fd: int, look: Callable[[], None]) -> None:
    try:
        source_fd = at.open_place(source)
        try:
            copy_tree(source_fd, fd, look)
        finally:
            os.close(source_fd)
    except OSError as error:
        what = f": {error.filename!r}" if isinstance(error, CopyError) else ""
        raise MountError(f"{source} cannot be copied{what}: {error.strerror}") from error


@contextlib.contextmanager
def _beside(copy: Path) -> Iterator[tuple[int, int, bytes]]:
    """What is to become *copy*: the directory that it will be in, its own, and its name yet."""
    above_fd = at.make_directories(copy.parent, 0o755, flags=os.O_PATH)
    try:
        with at.new_directory(above_fd, b".%s-" % os.fsencode(copy.name)[:200]) as (fd, made):
            yield above_fd, fd, made
    finally:
        os.close(above_fd)
