"""Where new content waits until it is whole, and what was moved away until it is looked at.

On the file system of its side, so that it comes into place by a rename: in the
state's directory where that is possible, else in a hidden directory of the root,
which no scan sees. Three directories:

new    copies that are not in place yet: worth nothing after a crash
old    what has been exchanged or moved away, until it is verified that it is what
       the scan saw: a crash leaves it here, and the next start looks at it
kept   what turned out to be somebody's version that could not be put back
"""

import contextlib
import errno
import hashlib
import os
import stat as modes

from osxfs_sim.synchronize.ignore import STAGING_PREFIX
from osxfs_sim.synchronize.roots import (
    directory_at,
    is_executable,
    open_file,
    stamp_of,
)
from osxfs_sim.synchronize.scan import new_digest
from osxfs_sim.synchronize.snapshot import Entry, File, Link, Path

_BLOCK_BYTES = 1 << 20
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class NotAsSeenError(Exception):
    """The source has changed since it was scanned: the next cycle takes it."""


class Staging:
    """One side's. Not thread-safe."""

    def __init__(self, state: bytes, side: str, root_fd: int, root: bytes) -> None:
        """Makes the directories; raises OSError."""
        self._counter = 0
        self._prefix = ""
        self._root = root
        inside = STAGING_PREFIX + hashlib.blake2b(state, digest_size=6).hexdigest().encode()
        beside = os.path.join(state, b"staging-" + side.encode())
        os.makedirs(beside, 0o700, exist_ok=True)
        self.is_inside = not _can_rename(beside, root_fd)
        # One that an earlier run had inside may still hold something.
        self.path = os.path.join(root, inside) if self.is_inside else beside
        self.new, self.old, self.kept = self._opened()

    def _opened(self) -> tuple[int, int, int]:
        for name in (b"", b"new", b"old", b"kept"):
            with contextlib.suppress(FileExistsError):
                os.mkdir(os.path.join(self.path, name), 0o700)
        fd = os.open(self.path, _DIRECTORY)
        try:
            new, old, kept = (
                os.open(name, _DIRECTORY, dir_fd=fd) for name in (b"new", b"old", b"kept")
            )
        finally:
            os.close(fd)
        return new, old, kept

    def begin(self, generation: int) -> None:
        """Names of this run differ from any that an earlier one has written down."""
        self._prefix = f"{generation}-"

    def clear_new(self) -> None:
        """Nothing of an earlier run is worth keeping there."""
        for name in os.listdir(self.new):
            with contextlib.suppress(OSError):
                self.drop(self.new, name)

    def next_name(self) -> str:
        """A name that nothing here has."""
        self._counter += 1
        return f"{self._prefix}{self._counter}"

    def stage_file(self, source_fd: int, path: Path, file: File, *, sync: bool) -> str:
        """Copy *file* from the source's root; NotAsSeenError where it is another by now."""
        name = self.next_name()
        target = os.open(
            name,
            os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC,
            0o600,
            dir_fd=self.new,
        )
        try:
            with directory_at(source_fd, path[:-1]) as parent:
                source = open_file(parent, path[-1])
            try:
                digest = new_digest()
                left = file.size
                if not modes.S_ISREG(os.fstat(source).st_mode):
                    raise NotAsSeenError  # a device has no end
                while left >= 0 and (block := os.read(source, _BLOCK_BYTES)):
                    left -= len(block)
                    digest.update(block)
                    view = memoryview(block)
                    while view:
                        view = view[os.write(target, view) :]
            finally:
                os.close(source)
            if digest.digest() != file.digest:
                raise NotAsSeenError
            if sync:
                os.fsync(target)
        except Exception as error:
            os.unlink(name, dir_fd=self.new)
            if isinstance(error, OSError) and error.errno in (
                errno.ENOENT,
                errno.ELOOP,
                errno.ENOTDIR,
                errno.ENXIO,
            ):
                raise NotAsSeenError from None
            raise
        finally:
            os.close(target)
        return name

    def fingerprint(self, name: str) -> bytes:
        """Of what lies in *old*; of a directory, just that it is one."""
        return fingerprint(self.old, os.fsencode(name))

    def drop(self, dir_fd: int, name: str) -> None:
        """Remove what is known to be of no worth: an empty directory, a file, a symlink."""
        try:
            os.unlink(name, dir_fd=dir_fd)
        except IsADirectoryError:
            os.rmdir(name, dir_fd=dir_fd)

    def keep(self, name: str, called: bytes) -> str:
        """Move what lies in *old* where it stays for its owner; its path for reading."""
        kept = f"{name}-".encode() + called[-200:]
        os.rename(name, kept, src_dir_fd=self.old, dst_dir_fd=self.kept)
        return os.fsdecode(os.path.join(self.path, b"kept", kept))

    def kept_paths(self) -> list[str]:
        """What is kept."""
        return [
            os.path.join(os.fsdecode(self.path), "kept", name)
            for name in sorted(os.listdir(self.kept))
        ]

    def close(self) -> None:
        """Leave no directory behind that is empty."""
        for fd in (self.new, self.old, self.kept):
            os.close(fd)
        if self.is_inside:
            for name in (b"new", b"old", b"kept", b""):
                with contextlib.suppress(OSError):
                    os.rmdir(os.path.join(self.path, name))


def _can_rename(beside: bytes, root_fd: int) -> bool:
    """Whether a rename leads from *beside* into the root: only trying tells, of bind mounts too."""
    probe = os.path.join(beside, b"probe")
    with contextlib.suppress(FileExistsError):
        os.mkdir(probe, 0o700)
    target = STAGING_PREFIX + b"probe"
    try:
        os.rename(probe, target, dst_dir_fd=root_fd)
    except OSError as error:
        os.rmdir(probe)
        if error.errno == errno.EXDEV:
            return False
        raise
    os.rmdir(target, dir_fd=root_fd)
    return True


def fingerprint(dir_fd: int, name: bytes) -> bytes:
    """Of the object *name*, read now; b"" for what has none."""
    status = os.stat(name, dir_fd=dir_fd, follow_symlinks=False)
    if modes.S_ISLNK(status.st_mode):
        return Link(os.readlink(name, dir_fd=dir_fd)).fingerprint
    if not modes.S_ISREG(status.st_mode):
        return b""
    fd = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, dir_fd=dir_fd)
    try:
        digest = new_digest()
        left = status.st_size
        if not modes.S_ISREG(os.fstat(fd).st_mode):
            return b""
        while left >= 0 and (block := os.read(fd, _BLOCK_BYTES)):
            left -= len(block)
            digest.update(block)
    finally:
        os.close(fd)
    return File(digest.digest(), is_executable(status.st_mode)).fingerprint


def is_as_seen(dir_fd: int, name: bytes, seen: Entry, *, moved: bool = False) -> bool:
    """Whether *name* is what the scan saw. A rename (*moved*) changes the change time."""
    status = os.stat(name, dir_fd=dir_fd, follow_symlinks=False)
    if isinstance(seen, File):
        now = stamp_of(status)
        if seen.stamp is not None and seen.settled:
            skipped = 4 if moved else -1
            if all(
                one == other
                for index, (one, other) in enumerate(zip(now, seen.stamp, strict=True))
                if index != skipped
            ):
                return True
            if now[1] == seen.stamp[1] and now[2] != seen.stamp[2]:
                return False
        if not modes.S_ISREG(status.st_mode):
            return False
        return fingerprint(dir_fd, name) == seen.fingerprint
    if isinstance(seen, Link):
        return modes.S_ISLNK(status.st_mode) and os.readlink(name, dir_fd=dir_fd) == seen.target
    return modes.S_ISDIR(status.st_mode)
