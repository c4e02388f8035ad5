"""Copies a directory with all that it is, while others may change it, and follows nothing.

As ``cp --archive`` does: owners, modes, times, extended attributes and ACLs, hard links, holes,
and what is no file. cp walks by paths, and so is led out of the tree by who swaps a directory
for a link meanwhile. Here each directory is reached from the top's descriptor, over directories
only, and each object is opened once, without following, and copied as what it then is.
"""

import contextlib
import errno
import os
import stat as modes
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from osxfs_sim.fs import at
from osxfs_sim.fs.copies import copy_content

_NAME = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_GONE = (errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.EXDEV, errno.ESTALE)
"""What is said of a name that is no longer what it was."""
_TRIES = 20
_ENTRIES_BETWEEN_LOOKS = 64

Names = tuple[bytes, ...]


class CopyError(OSError):
    """Something cannot be copied; the file name is its path below the source."""


def copy_tree(source_fd: int, target_fd: int, check_interrupt: Callable[[], None]) -> None:
    """Copy all in the directory *source_fd* into *target_fd*, and its properties. Raises CopyError.

    Only we may enter the target until that is done. *check_interrupt* is called now and then,
    and ends it by what it raises. Raises CopyError. What vanishes meanwhile is left out.
    """
    copy = _Copy(source_fd, target_fd, check_interrupt)
    pending: list[tuple[Names, bool]] = [((), False)]
    while pending:
        names, is_full = pending.pop()
        with _naming(names):
            if is_full:
                copy.finish(names)
                continue
            below = copy.fill(names)
            pending.append((names, True))
            pending += [((*names, name), False) for name in reversed(below)]


@dataclass(slots=True)
class _Copy:
    source_fd: int
    target_fd: int
    check_interrupt: Callable[[], None]
    links: dict[tuple[int, int], Names] = field(default_factory=dict)
    """Where the first name was copied of what has several."""
    unfinished: dict[Names, tuple[os.stat_result, dict[str, bytes]]] = field(default_factory=dict)
    """What directories were like: their attributes come last, as some are inherited."""
    copied: int = 0

    def fill(self, names: Names) -> list[bytes]:
        """Copy the names of a directory; returns those of directories, which are empty yet."""
        try:
            source = at.open_directory(self.source_fd, names)
        except OSError as error:
            if error.errno in _GONE and names:
                return []  # it has become something else since it was seen
            raise
        try:
            with _opened(self.target_fd, names) as target:
                self.unfinished[names] = os.fstat(source), _attributes(source)
                return [
                    name
                    for name in map(os.fsencode, sorted(os.listdir(source)))
                    if self._copy_name(source, target, names, name)
                ]
        finally:
            os.close(source)

    def finish(self, names: Names) -> None:
        """All that is below a directory is copied: now its owner, its mode and its times."""
        seen = self.unfinished.pop(names, None)
        if seen is None:
            with _opened(self.target_fd, names[:-1]) as above:
                os.rmdir(names[-1], dir_fd=above)
            return
        with _opened(self.target_fd, names) as target:
            _dress(target, *seen)

    def _copy_name(self, source: int, target: int, names: Names, name: bytes) -> bool:
        """Copy what *name* is now; whether it is a directory."""
        self.copied += 1
        if self.copied % _ENTRIES_BETWEEN_LOOKS == 0:
            self.check_interrupt()
        for _ in range(_TRIES):
            try:
                status = os.stat(name, dir_fd=source, follow_symlinks=False)
            except FileNotFoundError:
                return False
            with _naming((*names, name)):
                try:
                    self._copy_as(status, source, target, names, name)
                except OSError as error:
                    if error.errno not in _GONE or isinstance(error, CopyError):
                        raise
                    continue  # it has become something else since
            return modes.S_ISDIR(status.st_mode)
        return False

    def _copy_as(
        self, status: os.stat_result, source: int, target: int, names: Names, name: bytes
    ) -> None:
        if modes.S_ISDIR(status.st_mode):
            os.mkdir(name, 0o700, dir_fd=target)
            return
        fd = os.open(name, _NAME, dir_fd=source)
        try:
            now = os.fstat(fd)
            if modes.S_IFMT(now.st_mode) != modes.S_IFMT(status.st_mode):
                raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
            identity = now.st_dev, now.st_ino
            first = self.links.get(identity) if now.st_nlink > 1 else None
            if first is not None:
                self._link(first, target, name)
                return
            made = self._make(fd, now, target, name)
            try:
                _dress(made, now, _attributes(fd))
            finally:
                os.close(made)
            if now.st_nlink > 1:
                self.links[identity] = (*names, name)
        finally:
            os.close(fd)

    def _link(self, first: Names, target: int, name: bytes) -> None:
        with _opened(self.target_fd, first[:-1]) as above:
            os.link(first[-1], name, src_dir_fd=above, dst_dir_fd=target, follow_symlinks=False)

    def _make(self, fd: int, status: os.stat_result, target: int, name: bytes) -> int:
        """As *name*, what is behind *fd*, for us alone: a descriptor, O_PATH but for a file."""
        if modes.S_ISREG(status.st_mode):
            # Opened only now that it is known to be a file: a device may do things when it is.
            content = at.reopened(fd, os.O_RDONLY)
            made = -1
            try:
                made = os.open(name, _NEW, 0o600, dir_fd=target)
                copy_content(content, made, self.check_interrupt)
            except BaseException:
                if made >= 0:
                    os.close(made)
                raise
            finally:
                os.close(content)
            return made
        if modes.S_ISLNK(status.st_mode):
            os.symlink(os.readlink(b"", dir_fd=fd), name, dir_fd=target)
        else:
            os.mknod(name, modes.S_IFMT(status.st_mode) | 0o600, status.st_rdev, dir_fd=target)
        return os.open(name, _NAME, dir_fd=target)


@contextlib.contextmanager
def _opened(dir_fd: int, names: Names) -> Iterator[int]:
    fd = at.open_directory(dir_fd, names)
    try:
        yield fd
    finally:
        os.close(fd)


def _dress(fd: int, status: os.stat_result, attributes: dict[str, bytes]) -> None:
    """Owner, attributes, mode and times, in that order: each changes some of the later."""
    mode = modes.S_IMODE(status.st_mode)
    try:
        at.set_owner(fd, status.st_uid, status.st_gid)
    except PermissionError:
        # Not ours to give away, as for cp: what runs as somebody must not run as us.
        mode &= ~(modes.S_ISUID | modes.S_ISGID)
        with contextlib.suppress(OSError):
            at.set_owner(fd, -1, status.st_gid)
            mode |= modes.S_IMODE(status.st_mode) & modes.S_ISGID
    for name, value in attributes.items():
        with contextlib.suppress(OSError):  # of one that the other file system does not take
            at.set_attribute(fd, name, value)
    if not modes.S_ISLNK(status.st_mode):
        at.set_mode(fd, mode)
    at.set_times(fd, status.st_atime_ns, status.st_mtime_ns)


def _attributes(fd: int) -> dict[str, bytes]:
    """Extended attributes, ACLs among them, as far as we may read them."""
    found = {}
    place = at.magic_link(fd)
    with contextlib.suppress(OSError):
        for name in os.listxattr(place):
            with contextlib.suppress(OSError):
                found[name] = os.getxattr(place, name)
    return found


@contextlib.contextmanager
def _naming(names: Names) -> Iterator[None]:
    try:
        yield
    except CopyError:
        raise
    except OSError as error:
        path = os.fsdecode(b"/".join(names)) or "."
        raise CopyError(error.errno, error.strerror, path) from error
