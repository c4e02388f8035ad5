"""The files that a command writes for its user: results, reports, pictures, manifests, traces.

A file is written whole or not at all, and takes the place of the regular file that is there.
What is there and is none (a device, a pipe) is written to, and keeps its place; a link stays
what it is, and what it leads to is written. In a directory where others may write, what they
have put there is neither followed nor used, and until a file is whole it has no name.
"""

import contextlib
import errno
import os
import stat as modes
from collections.abc import Iterator
from typing import IO

from osxfs_sim.fs import at
from osxfs_sim.fs.at import Found, UntrustedError, chased, magic_link

_NEW = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_LACKS_UNNAMED = (errno.EOPNOTSUPP, errno.EISDIR, errno.EINVAL, errno.ENOENT, errno.ENOSYS)
_KEEPS_ITS_PLACE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.EBUSY, errno.EXDEV)
"""What is said where nothing can take the place of a file, which may be written to yet."""
_ACL = "system.posix_acl_access"
_TRIES = 100
_BLOCK_BYTES = 1 << 20
_LONGEST_NAME_BYTES = 200


class Output:
    """A file that is being written to *file*. Either commit() or discard() ends it.

    All raise OSError, whose strerror says what is wrong; the path is the caller's to name.
    """

    file: IO[bytes]

    def __init__(self, path: str | os.PathLike[str], *, mode: int = 0o666) -> None:
        """*mode*: of a new file, less the umask. One that is there keeps its own if less."""
        self._path = os.fspath(path)
        self._mode = mode
        self._dir_fd = -1
        self._name = b""
        self._there_fd = -1
        """O_PATH, of the regular file whose place is taken."""
        self._there: os.stat_result | None = None
        self._beside = b""
        """The name of the new file until it is whole, where none can be without."""
        self._is_through = False
        try:
            with self._naming(), chased(path) as found:
                fd = self._begin(found)
            self.file = open(fd, "wb")  # noqa: SIM115 (closed by commit or discard)
        except BaseException:
            self._release()
            raise

    def _begin(self, found: Found) -> int:
        """A descriptor to write to."""
        self._dir_fd, self._name = os.dup(found.dir_fd), found.name
        if found.fd < 0:
            return self._make()
        self._there = status = os.fstat(found.fd)
        what = _KINDS.get(modes.S_IFMT(status.st_mode), "no file")
        is_own = found.is_trusted()
        if modes.S_ISREG(status.st_mode) and not found.is_magic:
            if not os.access(magic_link(found.fd), os.W_OK):
                raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
            if is_own:
                self._there_fd = os.dup(found.fd)
            try:
                return self._make()
            except OSError as error:
                if not self._is_left_in_place(error):
                    raise
            return _elsewhere()
        if modes.S_ISDIR(status.st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        if what not in _WRITTEN_TO and not modes.S_ISREG(status.st_mode):
            raise OSError(errno.EINVAL, f"it is {what}")
        if not is_own:
            raise UntrustedError(f"it is {what} of user {status.st_uid}, in a directory of others")
        self._is_through = True
        # Of a file that is open elsewhere (/dev/stdout), what has been written stays.
        return at.reopened(found.fd, os.O_WRONLY | os.O_APPEND | os.O_NOCTTY)

    def _make(self) -> int:
        """A new file in the directory, without a name if that can be."""
        try:
            return at.unnamed_file(self._dir_fd, self._mode)
        except OSError as error:
            if error.errno not in _LACKS_UNNAMED:
                raise
        for _ in range(_TRIES):
            with contextlib.suppress(FileExistsError):
                name = self._another_name()
                fd = os.open(name, _NEW, self._mode, dir_fd=self._dir_fd)
                self._beside = name
                return fd
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))

    def _another_name(self) -> bytes:
        return b".%s.%s" % (self._name[:_LONGEST_NAME_BYTES], os.urandom(8).hex().encode())

    def commit(self) -> None:
        """Let the written file take the place of its path. Raises OSError, having discarded it."""
        try:
            with self._naming():
                self.file.flush()
                if not self._is_through:
                    self._take_the_place()
                self.file.close()
        finally:
            self.discard()

    def _take_the_place(self) -> None:
        fd = self.file.fileno()
        self._dress(fd)
        try:
            if self._there is None and not self._beside:
                with contextlib.suppress(FileExistsError):
                    at.give_name(fd, self._dir_fd, self._name)
                    return
            self._replace(fd)
        except OSError as error:
            if not self._is_left_in_place(error):
                raise
            _copy(fd, self._there_fd)

    def _is_left_in_place(self, error: OSError) -> bool:
        """Whether nothing can take the place of what is there, which is ours to write to."""
        is_said = error.errno in _KEEPS_ITS_PLACE and not isinstance(error, UntrustedError)
        return is_said and self._there_fd >= 0

    def _replace(self, fd: int) -> None:
        if not self._beside:
            name = self._another_name()
            at.give_name(fd, self._dir_fd, name)
            self._beside = name
        with contextlib.suppress(FileNotFoundError):
            there = os.stat(self._name, dir_fd=self._dir_fd, follow_symlinks=False)
            if not modes.S_ISREG(there.st_mode):
                raise UntrustedError("somebody has put something else there meanwhile")
        os.rename(self._beside, self._name, src_dir_fd=self._dir_fd, dst_dir_fd=self._dir_fd)
        self._beside = b""
        now = os.stat(self._name, dir_fd=self._dir_fd, follow_symlinks=False)
        if not os.path.samestat(now, os.fstat(fd)):
            raise UntrustedError("somebody has put something else there meanwhile")

    def _dress(self, fd: int) -> None:
        """Nobody may read more than of what was there."""
        there = self._there
        if there is None or not modes.S_ISREG(there.st_mode):
            return
        new = os.fstat(fd)
        mode = modes.S_IMODE(there.st_mode) & self._mode
        if self._there_fd < 0:
            os.fchmod(fd, mode & new.st_mode)  # it was another's
            return
        if there.st_gid != new.st_gid:
            try:
                os.fchown(fd, -1, there.st_gid)
            except OSError:
                mode &= ~0o070
        try:
            acl = os.getxattr(magic_link(self._there_fd), _ACL)
        except OSError:
            acl = b""
        os.fchmod(fd, mode)
        if acl:
            try:
                os.setxattr(fd, _ACL, acl)
            except OSError:
                os.fchmod(fd, mode & ~0o070)

    def discard(self) -> None:
        """Remove the file, unless it was committed; never fails."""
        with contextlib.suppress(OSError):
            self.file.close()
        self._release()

    @contextlib.contextmanager
    def _naming(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            error.filename = self._path
            if error.filename2 is not None:
                del error.filename2
            raise

    def _release(self) -> None:
        if self._beside:
            with contextlib.suppress(OSError):
                os.unlink(self._beside, dir_fd=self._dir_fd)
            self._beside = b""
        for fd in (self._dir_fd, self._there_fd):
            if fd >= 0:
                os.close(fd)
        self._dir_fd = self._there_fd = -1


_KINDS = {
    modes.S_IFREG: "a file",
    modes.S_IFCHR: "a device",
    modes.S_IFBLK: "a block device",
    modes.S_IFIFO: "a pipe",
    modes.S_IFSOCK: "a socket",
}
_WRITTEN_TO = ("a device", "a pipe")


@contextlib.contextmanager
def output(path: str | os.PathLike[str], *, mode: int = 0o666) -> Iterator[IO[bytes]]:
    """Yield a new file to write, which takes the place of *path* at the end. Raises OSError."""
    result = Output(path, mode=mode)
    try:
        yield result.file
    except BaseException:
        result.discard()
        raise
    result.commit()


def write_output(path: str | os.PathLike[str], content: str | bytes, *, mode: int = 0o666) -> None:
    """Write *content* to the file *path*, whole or not at all. Raises OSError."""
    data = content.encode("utf-8", "backslashreplace") if isinstance(content, str) else content
    with output(path, mode=mode) as file:
        file.write(data)


def make_output_directory(path: str | os.PathLike[str]) -> None:
    """Make the directory *path*, and those above it, where they are missing. Raises OSError."""
    try:
        os.close(at.make_directories(path, flags=os.O_PATH))
    except OSError as error:
        error.filename = os.fspath(path)
        raise


def _elsewhere() -> int:
    import tempfile

    with tempfile.TemporaryFile() as file:
        return os.dup(file.fileno())


def _copy(source: int, there_fd: int) -> None:
    target = at.reopened(there_fd, os.O_WRONLY | os.O_TRUNC)
    try:
        position = 0
        while data := os.pread(source, _BLOCK_BYTES, position):
            position += os.pwrite(target, data, position)
    finally:
        os.close(target)
