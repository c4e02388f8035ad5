"""The guest's own copy of the host's directory: made whole, or not at all.

It is made beside its place and then moved there, so that a copy which exists is
complete, whatever ended whoever made it.
"""

import contextlib
import errno
import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

from osxfs_sim.mount.mountpoints import MountError, lies_in
from osxfs_sim.synchronize import created

_LOOK_AGAIN_S = 0.05


def copy_place(state: Path, source: str) -> Path:
    """Where the copy of *source* (a real path) lies unless asked otherwise."""
    digest = hashlib.sha256(os.fsencode(source)).hexdigest()[:20]
    return state / "copies" / digest


def check_copy(copy: Path, source: str, mountpoint: str) -> Path:
    """The real path of *copy*, which is apart from the other two (real paths). MountError."""
    real = Path(os.path.realpath(copy))
    for other, name in ((source, "source"), (mountpoint, "mount point")):
        if lies_in(str(real), other) or lies_in(other, str(real)):
            raise MountError(
                f"the copy {copy} and the {name} are not apart: let --copy name another directory"
            )
    if real.exists() and not real.is_dir():
        raise MountError(f"the copy {copy} is no directory: let --copy name another")
    return real


def note_source(state: Path, copy: Path, source: str) -> None:
    """Write down that *copy* is of *source* (real paths). MountError where it is another's.

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
        record.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        beside = record.with_suffix(f".{os.getpid()}")
        beside.write_bytes(os.fsencode(source))
        beside.replace(record)
    except OSError as error:
        raise MountError(f"{record}: {error.strerror}: put that right") from error


def make_empty(copy: Path, source: str) -> None:
    """Make the directory for a copy of *source*, which others may enter as they may the source."""
    if copy.exists():
        return
    copy.parent.mkdir(parents=True, exist_ok=True)
    copy.mkdir(mode=0o700)
    status = os.stat(source)
    os.chown(copy, status.st_uid, status.st_gid)
    copy.chmod(created(status.st_mode & 0o077, runs=True))


def is_made(copy: Path) -> bool:
    """Whether there is a copy; an empty directory is none."""
    return copy.is_dir() and any(copy.iterdir())


def make_copy(source: str, copy: Path, is_unwanted: Callable[[], bool]) -> None:
    """Copy *source* with all that it is: owners, times, links, attributes. Raises MountError.

    Nothing is followed out of it. Ends early when *is_unwanted* says so.
    """
    try:
        copy.parent.mkdir(parents=True, exist_ok=True)
        made = tempfile.mkdtemp(prefix=f".{copy.name}-", dir=copy.parent)
    except OSError as error:
        raise MountError(f"no copy can be made in {copy.parent}: {error.strerror}") from error
    try:
        _copy(source, made, is_unwanted)
        os.rename(made, copy)
    except OSError as error:
        if error.errno in (errno.ENOTEMPTY, errno.EEXIST) and is_made(copy):
            return  # another share has been faster
        raise MountError(f"no copy can be made at {copy}: {error.strerror}") from error
    finally:
        shutil.rmtree(made, ignore_errors=True)


def _copy(source: str, made: str, is_unwanted: Callable[[], bool]) -> None:
    command = ["cp", "--archive", "--reflink=auto", "--no-target-directory", "--", source, made]
    with (
        tempfile.TemporaryFile() as said,
        subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=said) as process,
    ):
        while True:
            if is_unwanted():
                process.kill()
                process.wait()
                raise MountError("interrupted while the copy was made: nothing is mounted")
            with contextlib.suppress(subprocess.TimeoutExpired):
                code = process.wait(_LOOK_AGAIN_S)
                break
        said.seek(0)
        lines = said.read().decode("utf-8", "replace").strip().splitlines()
    if code:
        raise MountError(
            f"{source} cannot be copied: {' '.join(lines[-1:]) or f'cp ended with {code}'}"
        )
