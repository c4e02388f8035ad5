"""Reads what a side holds, without following a symlink or leaving the root.

The snapshot before is the cache: content is read again only where a file's stamp is
another, directories that nobody has told of are taken as they were. Times have
ticks: a file that changed within one of being read is read again next time, since
a later change in the same tick would not show.
"""

import errno
import hashlib
import os
import stat as modes
import time
from collections.abc import Callable
from dataclasses import dataclass

from osxfs_sim.synchronize.ignore import STAGING_PREFIX, Ignore
from osxfs_sim.synchronize.roots import (
    birth_of,
    is_executable,
    open_directory,
    open_file,
    shown,
    stamp_of,
)
from osxfs_sim.synchronize.snapshot import (
    IGNORED,
    Blocked,
    Child,
    File,
    Link,
    Path,
    Stamp,
    Subtree,
    directory,
)

DIGEST_BYTES = 20
_BLOCK_BYTES = 1 << 20
_TICK_NS = 20_000_000
"""More than the kernel's coarsest clock: 10 ms at 100 ticks a second."""
_READ_TRIES = 3
_DEEPEST = 150
"""Directories within each other: each holds a descriptor while it is looked through."""


def new_digest() -> "hashlib.blake2b":
    """A new BLAKE2b hash object for content: equal digests are taken for equal content."""
    return hashlib.blake2b(digest_size=DIGEST_BYTES)


@dataclass(frozen=True, slots=True)
class ScanRules:
    """What takes part."""

    ignore: Ignore
    """The patterns of what the user leaves out."""
    most_file_bytes: int | None = None
    """Larger files do not travel; None: all do."""


class _ChangingError(Exception):
    """A file changed whenever it was read."""


class Scanner:
    """Takes snapshots of one side, and reads again only what may have changed."""

    def __init__(
        self,
        rules: ScanRules,
        on_directory: Callable[[Path, int], None] | None = None,
    ) -> None:
        """*on_directory* is called with each directory before it is listed: it may watch it."""
        self._rules = rules
        self._on_directory = on_directory
        self.read_bytes = 0

    def scan(self, root_fd: int, before: Subtree | None, changed: set[Path] | None) -> Subtree:
        """A snapshot of the root; only *changed* directories are read again. Raises OSError.

        Where *changed* is None, all are. What cannot be read below the root is Blocked.
        """
        below = None if changed is None else _with_parents(changed)
        return self._directory(root_fd, (), before, below)

    def _directory(
        self, fd: int, path: Path, before: Subtree | None, below: set[Path] | None
    ) -> Subtree:
        status = os.fstat(fd)
        identity = status.st_dev, status.st_ino
        birth = birth_of(fd)
        if before is not None and (before.inode, before.birth) != (identity, birth):
            before, below = None, None  # another directory of the same name
        grants, owner = grants_of(fd, status), (status.st_uid, status.st_gid)
        if self._on_directory is not None:
            self._on_directory(path, fd)
        known = before.children if before is not None else {}
        children: dict[bytes, Child] = {}
        same = True
        for listed in os.listdir(fd):
            name = os.fsencode(listed)
            if not path and name.startswith(STAGING_PREFIX):
                continue
            was = known.get(name)
            child = self._child(fd, (*path, name), was, below)
            if child is not was:
                same = False
            if child is not None:
                children[name] = child
        if (
            before is not None
            and same
            and len(children) == len(known)
            and (before.grants, before.owner, before.change_ns)
            == (grants, owner, status.st_ctime_ns)
        ):
            return before
        return directory(
            children,
            identity,
            birth=birth,
            grants=grants,
            owner=owner,
            change_ns=status.st_ctime_ns,
        )

    def _child(
        self, dir_fd: int, path: Path, was: Child | None, below: set[Path] | None
    ) -> Child | None:
        name = path[-1]
        try:
            status = os.stat(name, dir_fd=dir_fd, follow_symlinks=False)
            is_directory = modes.S_ISDIR(status.st_mode)
            # Whoever took part before still does: patterns do not change.
            if not (
                (isinstance(was, (File, Link)) and not is_directory)
                or (isinstance(was, Subtree) and is_directory)
            ) and self._rules.ignore.leaves_out(path, is_directory=is_directory):
                return IGNORED
            if is_directory:
                return self._subdirectory(dir_fd, path, was, below, status)
            if modes.S_ISREG(status.st_mode):
                return self._file(dir_fd, name, was, status)
            if modes.S_ISLNK(status.st_mode):
                return self._link(dir_fd, path, was, status)
        except FileNotFoundError:
            return None
        except _ChangingError:
            return Blocked("it changes while it is read", passing=True)
        except OSError as error:
            if error.errno == errno.EXDEV:
                return Blocked("something else is mounted on it")
            if error.errno in (errno.ELOOP, errno.ENOTDIR, errno.ENXIO, errno.EAGAIN):
                return Blocked("it became something else meanwhile", passing=True)
            return Blocked(error.strerror or str(error))
        return Blocked(f"it is a {_special(status.st_mode)}: only files, directories and symlinks")

    def _subdirectory(
        self,
        dir_fd: int,
        path: Path,
        was: Child | None,
        below: set[Path] | None,
        status: os.stat_result,
    ) -> Child:
        before = was if isinstance(was, Subtree) else None
        if (
            before is not None
            and below is not None
            and path not in below
            and before.inode == (status.st_dev, status.st_ino)
            and before.owner == (status.st_uid, status.st_gid)
            and before.grants == status.st_mode & 0o077
            and not before.totals.blocked
        ):
            return before
        if len(path) > _DEEPEST:
            return Blocked(f"it lies more than {_DEEPEST} directories deep")
        fd = open_directory(dir_fd, path[-1])
        try:
            return self._directory(fd, path, before, below)
        finally:
            os.close(fd)

    def _file(self, dir_fd: int, name: bytes, was: Child | None, status: os.stat_result) -> Child:
        stamp = stamp_of(status)
        if isinstance(was, File) and was.stamp == stamp and was.settled:
            return was
        most = self._rules.most_file_bytes
        if most is not None and status.st_size > most:
            return Blocked(f"it has {status.st_size} bytes: more than {most}")
        fd = open_file(dir_fd, name)
        try:
            file = self._read(fd)
        finally:
            os.close(fd)
        if (
            file == was
            and isinstance(was, File)
            and (file.stamp, file.birth) == (was.stamp, was.birth)
        ):
            return was if was.settled == file.settled else file
        return file

    def _read(self, fd: int) -> File:
        for _ in range(_READ_TRIES):
            began_ns = time.time_ns()
            before = os.fstat(fd)
            if not modes.S_ISREG(before.st_mode):
                raise _ChangingError
            digest = new_digest()
            left = before.st_size
            # No more than it had: one that grows as fast as it is read must not keep everything
            # else waiting, and has another stamp afterwards.
            while left > 0 and (block := os.read(fd, min(left, _BLOCK_BYTES))):
                digest.update(block)
                self.read_bytes += len(block)
                left -= len(block)
            stamp = stamp_of(before)
            if stamp_of(os.fstat(fd)) == stamp:
                return File(
                    digest.digest(),
                    is_executable(before.st_mode),
                    before.st_size,
                    stamp,
                    settled=is_settled(stamp, began_ns),
                    birth=birth_of(fd),
                    grants=grants_of(fd, before),
                )
            os.lseek(fd, 0, os.SEEK_SET)
        raise _ChangingError

    def _link(self, dir_fd: int, path: Path, was: Child | None, status: os.stat_result) -> Child:
        stamp = stamp_of(status)
        if isinstance(was, Link) and was.stamp == stamp and was.settled:
            return was
        read_ns = time.time_ns()
        birth = birth_of(dir_fd, path[-1])
        target = os.readlink(path[-1], dir_fd=dir_fd)
        assert isinstance(target, bytes)
        if stamp_of(os.stat(path[-1], dir_fd=dir_fd, follow_symlinks=False)) != stamp:
            raise _ChangingError
        reason = unportable(path, target)
        if reason:
            return Blocked(reason)
        link = Link(target, stamp, is_settled(stamp, read_ns), birth)
        if (
            isinstance(was, Link)
            and was == link
            and (was.stamp, was.birth, was.settled) == (stamp, birth, link.settled)
        ):
            return was
        return link


def is_settled(stamp: Stamp, read_ns: int) -> bool:
    """Whether a change after it was read at *read_ns* (ns since 1970) would show in *stamp*."""
    return max(stamp[3], stamp[4]) < read_ns - _TICK_NS


def unportable(path: Path, target: bytes) -> str:
    """Why the symlink *target* at *path* means something else on the other side; "": it does not.

    `..` may only stand at the beginning: there it leads from one real directory to the one
    that holds it. Behind a name it leads from wherever that name does, which may be a symlink,
    or become one. Without that, whatever symlinks lead through each other, each goes on from
    where the next one really lies, and none leaves the share.
    """
    if target.startswith(b"/"):
        return f"it is a symlink to {shown(target)}: an absolute path is another object elsewhere"
    above, is_below = 0, False
    for name in target.split(b"/"):
        if name == b"..":
            if is_below:
                return (
                    f"it is a symlink to {shown(target)}: .. behind a name leads out of the "
                    "share where that is a symlink"
                )
            above += 1
        elif name not in (b"", b"."):
            is_below = True
    if above >= len(path):
        return f"it is a symlink to {shown(target)}, which leads out of the share"
    return ""


_ACL = "system.posix_acl_access"


def grants_of(fd: int, status: os.stat_result) -> int:
    """The permission bits for group and others of *fd*, less what its ACL may take; never fails.

    With an access list, what the mode has for the group is the most that anybody named
    there may do: the group itself may do less.
    """
    grants = status.st_mode & 0o077
    if grants & 0o070:
        try:
            os.getxattr(fd, _ACL)
        except OSError:
            return grants
        return grants & 0o007
    return grants


def _with_parents(changed: set[Path]) -> set[Path]:
    return {path[:length] for path in changed for length in range(len(path) + 1)}


def _special(mode: int) -> str:
    for is_kind, name in (
        (modes.S_ISFIFO, "FIFO"),
        (modes.S_ISSOCK, "socket"),
        (modes.S_ISCHR, "character device"),
        (modes.S_ISBLK, "block device"),
    ):
        if is_kind(mode):
            return name
    return "special file"
