"""Where new content waits until it is whole, and what was moved away until it is checked.

On the file system of its side, so that it comes into place by a rename: in the
state's directory where that is possible, else in a hidden directory of the root,
which no scan sees. Three directories:

new    copies that are not in place yet: worth nothing after a crash
old    what has been exchanged or moved away, until it is verified that it is what
       the scan saw: a crash leaves it here, and the next start checks it
kept   what turned out to be somebody's version that could not be put back
"""

import contextlib
import errno
import os
import secrets
import stat as modes

from osxfs_sim.synchronize.ignore import STAGING_PREFIX
from osxfs_sim.synchronize.roots import (
    LastDirectory,
    birth_of,
    is_executable,
    open_file,
    stamp_of,
)
from osxfs_sim.synchronize.scan import new_digest
from osxfs_sim.synchronize.snapshot import (
    Entry,
    File,
    Link,
    Path,
    Subtree,
    identity_apart_from_its_name,
)

_BLOCK_BYTES = 1 << 20
_SECTOR_BYTES = 512
"""The unit of st_blocks."""
_TRIES = 20
_DEFAULT_ACL = "system.posix_acl_default"
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class NotAsSeenError(Exception):
    """The source has changed since it was scanned: the next cycle takes it."""


class Staging:
    """The staging directory of one side: new content comes from it, what gives way goes to it.

    All of it lies in a directory that only this user can enter, reached by its descriptor:
    nobody else can put anything in between. In a root, whose owner can rename it, it has a
    name that nobody can know before, and is taken again only if it is the very same.
    """

    def __init__(self, state: bytes, side: str, root_fd: int, root: bytes) -> None:
        """Makes the directories; raises OSError."""
        self._counter = 0
        self._prefix = ""
        self._record = os.path.join(state, b"staging-in-" + side.encode())
        self._fds: list[int] = []
        self._root = -1
        self._inside = b""
        try:
            state_fd = self._held(os.open(state, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
            name = b"staging-" + side.encode()
            self._fd = self._held(_private(state_fd, name))
            self.path = os.path.join(state, name)
            self.is_inside = not _can_rename(self._fd, root_fd)
            if self.is_inside:
                self._root = self._held(os.dup(root_fd))
                self._inside, self._fd = self._in_the_root()
                self._held(self._fd)
                self.path = os.path.join(root, self._inside)
            self.new, self.old, self.kept = (
                self._held(_private(self._fd, name)) for name in (b"new", b"old", b"kept")
            )
        except BaseException:
            self._release()
            raise

    def _held(self, fd: int) -> int:
        self._fds.append(fd)
        return fd

    def _release(self) -> None:
        fds, self._fds = self._fds, []
        for fd in fds:
            os.close(fd)

    def _in_the_root(self) -> tuple[bytes, int]:
        """Name and descriptor of the staging in the root: that of an earlier run, or a new one."""
        name, birth = self._recorded()
        if name:
            with contextlib.suppress(OSError):
                fd = _private(self._root, name, make=False)
                if birth_of(fd) == birth:
                    return name, fd
                os.close(fd)
        for _ in range(_TRIES):
            name = STAGING_PREFIX + secrets.token_hex(8).encode()
            with contextlib.suppress(FileExistsError, _NotOursError):
                os.mkdir(name, 0o700, dir_fd=self._root)
                fd = _private(self._root, name, make=False)
                if os.listdir(fd):
                    os.close(fd)
                    continue
                self._write_down(name + b"\n" + birth_of(fd))
                return name, fd
        raise OSError(errno.EEXIST, "somebody takes each directory for staging away", self.path)

    def _recorded(self) -> tuple[bytes, bytes]:
        try:
            with open(self._record, "rb") as file:
                name, _, birth = file.read().partition(b"\n")
        except OSError:
            return b"", b""
        return (name, birth) if name.startswith(STAGING_PREFIX) and b"/" not in name else (b"", b"")

    def _write_down(self, content: bytes) -> None:
        beside = self._record + b".new"
        with open(beside, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(beside, self._record)

    def begin(self, generation: int) -> None:
        """Let run *generation* begin its names anew: they differ from earlier runs' names."""
        self._prefix = f"{generation}-"

    def clear_new(self) -> None:
        """Remove new content that an earlier run has left in the staging. Raises OSError."""
        for name in os.listdir(self.new):
            with contextlib.suppress(OSError):
                self.drop(self.new, name)

    def next_name(self) -> str:
        """A new name, as text, that nothing in the staging has."""
        self._counter += 1
        return f"{self._prefix}{self._counter}"

    def stage_file(self, source: LastDirectory, path: Path, file: File, *, sync: bool) -> str:
        """Copy the *source*'s *file* here; returns its name. Raises NotAsSeenError, OSError."""
        name = self.next_name()
        target = os.open(
            name,
            os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC,
            0o600,
            dir_fd=self.new,
        )
        try:
            fd = open_file(source.at(path[:-1]), path[-1])
            try:
                digest = new_digest()
                left = file.size
                status = os.fstat(fd)
                if not modes.S_ISREG(status.st_mode):
                    raise NotAsSeenError  # a device has no end
                has_holes = status.st_blocks * _SECTOR_BYTES < status.st_size
                while left >= 0 and (block := os.read(fd, min(left + 1, _BLOCK_BYTES))):
                    left -= len(block)
                    digest.update(block)
                    if has_holes and block.count(0) == len(block):
                        os.lseek(target, len(block), os.SEEK_CUR)
                        continue
                    view = memoryview(block)
                    while view:
                        view = view[os.write(target, view) :]
                if has_holes:
                    os.ftruncate(target, os.lseek(target, 0, os.SEEK_CUR))
            finally:
                os.close(fd)
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
        """The fingerprint of *name* among what gave way, b"" of no file. Raises OSError."""
        return fingerprint(self.old, os.fsencode(name))

    def identity(self, name: str) -> bytes:
        """The identity, name apart, of *name* among what gave way. Raises OSError."""
        whole = os.fsencode(name)
        status = os.stat(whole, dir_fd=self.old, follow_symlinks=False)
        return identity_apart_from_its_name(birth_of(self.old, whole), stamp_of(status))

    def drop(self, dir_fd: int, name: str) -> None:
        """Remove the file, symlink or empty directory *name* for good. Raises OSError."""
        try:
            os.unlink(name, dir_fd=dir_fd)
        except IsADirectoryError:
            os.rmdir(name, dir_fd=dir_fd)

    def keep(self, name: str, called: bytes) -> str:
        """Move what gave way to where its owner finds it; returns that path. Raises OSError."""
        kept = f"{name}-".encode() + called[-200:]
        os.rename(name, kept, src_dir_fd=self.old, dst_dir_fd=self.kept)
        return os.fsdecode(os.path.join(self.path, b"kept", kept))

    def kept_paths(self) -> list[str]:
        """The paths, as text, of versions kept for their owners. Raises OSError."""
        return [
            os.path.join(os.fsdecode(self.path), "kept", name)
            for name in sorted(os.listdir(self.kept))
        ]

    def close(self) -> None:
        """Remove the staging in a root if it is empty, and close it; never fails."""
        if self.is_inside and self._fds:
            with contextlib.suppress(OSError):
                for name in (b"new", b"old", b"kept"):
                    os.rmdir(name, dir_fd=self._fd)
                os.rmdir(self._inside, dir_fd=self._root)
                os.unlink(self._record)
        self._release()


class _NotOursError(OSError):
    """A directory that others can enter, or have made."""


def _private(dir_fd: int, name: bytes, *, make: bool = True) -> int:
    """The directory *name*, which only this user can enter; made if need be. Raises OSError."""
    if make:
        with contextlib.suppress(FileExistsError):
            os.mkdir(name, 0o700, dir_fd=dir_fd)
    try:
        fd = os.open(name, _DIRECTORY, dir_fd=dir_fd)
    except OSError as error:
        if error.errno in (errno.ENOENT, errno.ELOOP, errno.ENOTDIR):
            raise _NotOursError(error.errno, error.strerror, name) from None
        raise
    try:
        status = os.fstat(fd)
        if status.st_uid != os.geteuid():
            raise _NotOursError(errno.EPERM, "it belongs to another user", name)
        if not make and status.st_mode & 0o077:
            raise _NotOursError(errno.EPERM, "others can enter it", name)
        os.fchmod(fd, 0o700)
        # Else what is made in it would grant what its neighbours do.
        with contextlib.suppress(OSError):
            os.removexattr(fd, _DEFAULT_ACL)
    except BaseException:
        os.close(fd)
        raise
    return fd


def _can_rename(beside_fd: int, root_fd: int) -> bool:
    """Whether a rename leads from there into the root: only trying tells, of bind mounts too."""
    for name in os.listdir(beside_fd):
        if name.startswith("probe"):
            os.rmdir(name, dir_fd=beside_fd)  # of one that ended just here
    probe = b"probe-" + secrets.token_hex(8).encode()
    target = STAGING_PREFIX + probe
    os.mkdir(probe, 0o700, dir_fd=beside_fd)
    try:
        os.rename(probe, target, src_dir_fd=beside_fd, dst_dir_fd=root_fd)
    except OSError as error:
        os.rmdir(probe, dir_fd=beside_fd)
        if error.errno == errno.EXDEV:
            return False
        raise
    with contextlib.suppress(OSError):  # the root's owner may have taken it away
        os.rmdir(target, dir_fd=root_fd)
    return True


def fingerprint(dir_fd: int, name: bytes) -> bytes:
    """The fingerprint of the file or symlink *name*, read now; b"" for others. Raises OSError."""
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
    """Whether *name* has the kind and content that the scan saw in *seen*. Raises OSError."""
    status = os.stat(name, dir_fd=dir_fd, follow_symlinks=False)
    if isinstance(seen, File):
        if seen.settled and _has_stamp(status, seen, moved=moved):
            return True
        if seen.stamp is not None and seen.settled:
            now = stamp_of(status)
            if now[1] == seen.stamp[1] and now[2] != seen.stamp[2]:
                return False
        if not modes.S_ISREG(status.st_mode):
            return False
        return fingerprint(dir_fd, name) == seen.fingerprint
    if isinstance(seen, Link):
        return modes.S_ISLNK(status.st_mode) and os.readlink(name, dir_fd=dir_fd) == seen.target
    return modes.S_ISDIR(status.st_mode)


def is_the_same(dir_fd: int, name: bytes, seen: Entry, *, moved: bool = False) -> bool:
    """Whether *name* is the very object that was scanned, unchanged. Raises OSError.

    One that was made again with the same content is another: nobody has deleted it.
    """
    if isinstance(seen, Subtree):
        status = os.stat(name, dir_fd=dir_fd, follow_symlinks=False)
        return (status.st_dev, status.st_ino) == seen.inode and birth_of(dir_fd, name) == seen.birth
    if birth_of(dir_fd, name) != seen.birth:
        return False
    if not _has_stamp(os.stat(name, dir_fd=dir_fd, follow_symlinks=False), seen, moved=moved):
        return False
    # What was changed within a tick of being read shows in nothing but its content.
    return seen.settled or is_as_seen(dir_fd, name, seen, moved=moved)


def _has_stamp(status: os.stat_result, seen: File | Link, *, moved: bool) -> bool:
    """A rename (*moved*) changes the change time."""
    skipped = 4 if moved else -1
    return seen.stamp is not None and all(
        one == other
        for index, (one, other) in enumerate(zip(stamp_of(status), seen.stamp, strict=True))
        if index != skipped
    )
