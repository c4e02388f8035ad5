"""Privileged operations by descriptor, and ways to an object that nobody can turn aside.

openat(2) and its kin. A descriptor may be of O_PATH: it names one object for good, whatever
becomes of the name that it was opened by.
"""

import contextlib
import ctypes
import errno
import functools
import os
import stat as modes
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

_libc = ctypes.CDLL(None, use_errno=True)

AT_EMPTY_PATH = 0x1000
"""Work on the object behind the descriptor itself, O_PATH and symlinks included (open(2))."""
_UTIME_OMIT = (1 << 30) - 2

_WALK = os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC
_DIRECTORY = os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC
_MOST_LINKS = 40  # MAXSYMLINKS (include/linux/namei.h)


class UntrustedError(OSError):
    """Something of another user's is in the way, where that user can put what they like."""

    def __init__(self, what: str) -> None:
        super().__init__(errno.EPERM, what)


def magic_link(fd: int) -> str:
    """The path in /proc that names exactly the object behind *fd* (proc(5)), O_PATH included.

    The kernel jumps to the object without a walk, so nothing on the host can
    redirect it. It serves the calls that take no O_PATH descriptor.
    """
    return f"/proc/self/fd/{fd}"


# What is changed of an object


def set_mode(fd: int, mode: int) -> None:
    """fchmod(2), of an O_PATH descriptor too. Raises OSError: EOPNOTSUPP for a symlink."""
    os.chmod(magic_link(fd), mode)


def set_owner(fd: int, uid: int, gid: int) -> None:
    """fchownat(2) on the object behind *fd*, a symlink too; -1 keeps an id. Raises OSError."""
    if _libc.fchownat(fd, b"", ctypes.c_uint(uid), ctypes.c_uint(gid), AT_EMPTY_PATH):
        _raise_errno()


def sync_file_system(fd: int) -> None:
    """syncfs(2): write all of the file system of *fd* to its disk. Raises OSError."""
    if _libc.syncfs(fd):
        _raise_errno()


class _Timespec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


def set_times(fd: int, atime_ns: int | None, mtime_ns: int | None) -> None:
    """utimensat(2) on what *fd* is, a symlink too; None keeps a time. Raises OSError."""
    times = (_Timespec * 2)(_timespec(atime_ns), _timespec(mtime_ns))
    if _libc.utimensat(fd, b"", times, AT_EMPTY_PATH):
        _raise_errno()


def _timespec(time_ns: int | None) -> _Timespec:
    if time_ns is None:
        return _Timespec(0, _UTIME_OMIT)
    return _Timespec(*divmod(time_ns, 1_000_000_000))


def set_size(fd: int, size: int) -> None:
    """ftruncate(2) to *size* bytes, of a descriptor of O_PATH too. Raises OSError."""
    os.truncate(magic_link(fd), size)


def set_attribute(fd: int, name: str | bytes, value: bytes) -> None:
    """fsetxattr(2), of a descriptor of O_PATH too. Raises OSError."""
    os.setxattr(magic_link(fd), name, value)


def remove_attribute(fd: int, name: str | bytes) -> None:
    """fremovexattr(2), of a descriptor of O_PATH too. Raises OSError."""
    os.removexattr(magic_link(fd), name)


def reopened(fd: int, flags: int) -> int:
    """Open the very object behind *fd* (O_PATH too) anew, with *flags*. Raises OSError."""
    return os.open(magic_link(fd), flags & ~os.O_NOFOLLOW | os.O_CLOEXEC)


def unnamed_file(dir_fd: int, mode: int) -> int:
    """A descriptor of a new file of *mode* without a name (O_TMPFILE). Raises OSError."""
    return os.open(b".", os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, mode, dir_fd=dir_fd)


def give_name(fd: int, dir_fd: int, name: bytes) -> None:
    """linkat(2): give the object behind *fd* a (first or further) name. Raises OSError."""
    os.link(magic_link(fd), name, dst_dir_fd=dir_fd, follow_symlinks=True)


def _raise_errno() -> None:
    code = ctypes.get_errno()
    raise OSError(code, os.strerror(code))


# Ways below a directory

RESOLVE_NO_XDEV = 0x01
RESOLVE_NO_MAGICLINKS = 0x02
RESOLVE_NO_SYMLINKS = 0x04
RESOLVE_BENEATH = 0x08
_OPENAT2 = 437  # on every architecture but alpha (arch/*/kernel/syscalls)
_LONGEST_PATH_BYTES = 4_000  # the kernel's limit is 4096, its end included


class _OpenHow(ctypes.Structure):
    _fields_ = (
        ("flags", ctypes.c_uint64),
        ("mode", ctypes.c_uint64),
        ("resolve", ctypes.c_uint64),
    )


_NUMBER = ctypes.c_long(_OPENAT2)
_HOW_BYTES = ctypes.c_size_t(ctypes.sizeof(_OpenHow))


@functools.cache  # of a scan, one is asked for with each directory, and they are few
def _how(flags: int, resolve: int) -> Any:
    return ctypes.byref(_OpenHow(flags, 0, resolve))


def open_beneath(dir_fd: int, path: bytes, flags: int, resolve: int) -> int:
    """openat2(2): open *path* only where *resolve* lets it lead. Raises OSError (EXDEV, ELOOP)."""
    fd = _libc.syscall(_NUMBER, dir_fd, path, _how(flags, resolve), _HOW_BYTES)
    if fd < 0:
        _raise_errno()
    return int(fd)


def open_directory(dir_fd: int, names: Sequence[bytes]) -> int:
    """A descriptor of the directory *names* below another, no link followed. Raises OSError."""
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    path = b"/".join(names) or b"."
    if len(path) <= _LONGEST_PATH_BYTES:
        resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS
        try:
            return open_beneath(dir_fd, path, flags, resolve)
        except OSError as error:
            if error.errno not in (errno.ENOSYS, errno.EPERM):
                raise  # older kernels and some sandboxes lack openat2
    fd = os.open(b".", flags, dir_fd=dir_fd)
    for name in names:
        try:
            below = os.open(name, flags, dir_fd=fd)
        finally:
            os.close(fd)
        fd = below
    return fd


# Ways by a path


def path_of(fd: int) -> bytes:
    """The path at which the directory behind *fd* is now. Raises OSError."""
    return os.readlink(os.fsencode(magic_link(fd)))


class Found(NamedTuple):
    """Where a path has led: to a name in a directory, and to the object that has it."""

    dir_fd: int
    """O_PATH descriptor of the directory that *name* is in."""
    name: bytes
    """The last component of the path, links followed."""
    fd: int
    """O_PATH descriptor of the object itself; -1 where there is nothing of that name."""
    is_magic: bool = False
    """Whether a magic link of /proc led here: to an object whatever its name is, so that nothing
    can take its place."""

    def is_trusted(self) -> bool:
        """Whether it is ours or root's, or no other user could put it there. Raises OSError."""
        own = (0, os.geteuid())
        directory = os.fstat(self.dir_fd)
        return os.fstat(self.fd).st_uid in own or (
            directory.st_uid in own and not directory.st_mode & (modes.S_IWGRP | modes.S_IWOTH)
        )


@contextlib.contextmanager
def chased(path: str | bytes | os.PathLike[str], *, follow: bool = True) -> Iterator[Found]:
    """Yield where *path* leads, over links of us or root only. Raises OSError, UntrustedError.

    Raises UntrustedError for another link, and OSError. Without *follow*, a link at the end is
    what is found. (systemd calls it chase.)
    """
    found = _chase(os.fsencode(path), follow=follow)
    try:
        yield found
    finally:
        os.close(found.dir_fd)
        if found.fd >= 0:
            os.close(found.fd)


def _chase(path: bytes, *, follow: bool) -> Found:
    here = os.open(b"/" if path.startswith(b"/") else b".", _DIRECTORY)
    names = _names(path)[::-1]
    links = 0
    fd = -1
    try:
        while names:
            name = names.pop()
            try:
                fd = os.open(name, _WALK, dir_fd=here)
            except FileNotFoundError:
                if names:
                    raise
                return Found(here, name, -1)
            status = os.fstat(fd)
            if not modes.S_ISLNK(status.st_mode) or not (names or follow):
                if not names:
                    return Found(here, name, fd)
                os.close(here)
                here, fd = fd, -1
                continue
            links += 1
            if links > _MOST_LINKS:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))
            if status.st_uid not in (0, os.geteuid()):
                raise UntrustedError(
                    f"{os.fsdecode(name)!r} is a link of user {status.st_uid}: name the place that "
                    "is meant, without it"
                )
            is_magic = _is_in_proc(fd)
            target = b"" if is_magic else os.readlink(b"", dir_fd=fd)
            os.close(fd)
            fd = -1
            if is_magic:
                fd = os.open(name, os.O_PATH | os.O_CLOEXEC, dir_fd=here)
                if not names:
                    return Found(here, name, fd, is_magic=True)
                os.close(here)
                here, fd = fd, -1
                continue
            if target.startswith(b"/"):
                os.close(here)
                here = -1
                here = os.open(b"/", _DIRECTORY)
            names += _names(target)[::-1] or ([] if names else [b"."])
        return Found(here, b".", os.open(b".", _DIRECTORY, dir_fd=here))
    except BaseException:
        for each in (here, fd):
            if each >= 0:
                os.close(each)
        raise


def open_place(path: str | bytes | os.PathLike[str], flags: int = 0) -> int:
    """A descriptor of the directory *path*, no other user's link followed. Raises OSError."""
    with chased(path) as found:
        if found.fd < 0:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), os.fsdecode(path))
        return os.open(b".", flags | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=found.fd)


def make_directories(
    path: str | bytes | os.PathLike[str], mode: int = 0o777, *, flags: int = 0
) -> int:
    """Open the directory *path*, made with those above it if missing. Raises OSError.

    *mode* is of the last one, less the umask; those above it are written by nobody else.
    """
    with contextlib.suppress(FileNotFoundError):
        return open_place(path, flags)
    above, name = os.path.split(os.fsencode(path).rstrip(b"/"))
    # Nobody but us may write in what has to be made on the way, whatever our umask.
    above_fd = make_directories(above or b".", mode & 0o755, flags=os.O_PATH)
    try:
        with contextlib.suppress(FileExistsError):
            os.mkdir(name, mode, dir_fd=above_fd)
        return os.open(name, flags | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=above_fd)
    finally:
        os.close(above_fd)


def make_private(path: str | bytes | os.PathLike[str]) -> int:
    """Open the directory *path*, made if missing, closed to other users. Raises OSError.

    Raises UntrustedError where it is another user's.
    """
    fd = make_directories(path, 0o700)
    try:
        status = os.fstat(fd)
        if status.st_uid != os.geteuid():
            raise UntrustedError(f"it is user {status.st_uid}'s")
        if status.st_mode & 0o077:
            os.fchmod(fd, 0o700)
    except BaseException:
        os.close(fd)
        raise
    return fd


@contextlib.contextmanager
def new_place(path: str | bytes | os.PathLike[str], mode: int = 0o777) -> Iterator[int]:
    """Make the new directory *path* and yield its descriptor. Raises OSError where it exists."""
    with chased(path, follow=False) as found:
        os.mkdir(found.name, mode, dir_fd=found.dir_fd)
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
        fd = os.open(found.name, flags, dir_fd=found.dir_fd)
    try:
        if os.fstat(fd).st_uid != os.geteuid():
            raise UntrustedError("somebody has put something else in its place")
        yield fd
    finally:
        os.close(fd)


_TRIES = 100


@contextlib.contextmanager
def new_directory(dir_fd: int, prefix: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield descriptor and name of a new temporary directory in another. Raises OSError.

    After the block it is gone with all that is in it, unless it has got another name.
    """
    for _ in range(_TRIES):
        name = prefix + os.urandom(8).hex().encode()
        try:
            os.mkdir(name, 0o700, dir_fd=dir_fd)
        except FileExistsError:
            continue
        break
    else:
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    fd = os.open(name, flags, dir_fd=dir_fd)
    try:
        if os.fstat(fd).st_uid != os.geteuid() or os.listdir(fd):
            raise UntrustedError("somebody has put something else in its place")
        yield fd, name
    finally:
        os.close(fd)
        remove_tree(dir_fd, name)


def remove_tree(dir_fd: int, name: bytes) -> None:
    """Remove *name* and all in it, no link followed; never fails, leaves what it cannot remove."""
    import shutil  # it takes long to load

    shutil.rmtree(os.fsdecode(name), ignore_errors=True, dir_fd=dir_fd)


def remove_all(path: str | bytes | os.PathLike[str]) -> None:
    """Remove the directory *path* and all in it as far as can be. Raises OSError on the way."""
    with contextlib.suppress(FileNotFoundError), chased(path, follow=False) as found:
        if found.fd >= 0:
            remove_tree(found.dir_fd, found.name)


def remove_directory(path: str | bytes | os.PathLike[str]) -> None:
    """Remove the empty directory *path* (rmdir(2)), which may be gone. Raises OSError."""
    with contextlib.suppress(FileNotFoundError), chased(path, follow=False) as found:
        if found.fd >= 0:
            os.rmdir(found.name, dir_fd=found.dir_fd)


def remove(path: str | bytes | os.PathLike[str]) -> None:
    """unlink(2) *path*, no other user's link followed; it may be gone. Raises OSError.

    It may be gone already. Raises UntrustedError and OSError.
    """
    with contextlib.suppress(FileNotFoundError), chased(path, follow=False) as found:
        if found.fd >= 0:
            os.unlink(found.name, dir_fd=found.dir_fd)


def _names(path: bytes) -> list[bytes]:
    if not path:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
    names = [each for each in path.split(b"/") if each not in (b"", b".")]
    # What ends with a slash can only be a directory.
    return [*names, b"."] if path.endswith((b"/", b"/.")) and names else names


def _is_in_proc(fd: int) -> bool:
    """Whether it is of proc(5), whose links lead to objects. Its device is that of /proc/self."""
    return os.fstat(fd).st_dev == os.lstat("/proc/self").st_dev
