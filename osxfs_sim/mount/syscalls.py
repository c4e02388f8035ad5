"""The few system calls that the standard library does not offer in full."""

import ctypes
import errno
import os

from osxfs_sim.fs.at import AT_EMPTY_PATH as AT_EMPTY_PATH
from osxfs_sim.fs.at import RESOLVE_BENEATH as RESOLVE_BENEATH
from osxfs_sim.fs.at import RESOLVE_NO_MAGICLINKS as RESOLVE_NO_MAGICLINKS
from osxfs_sim.fs.at import RESOLVE_NO_SYMLINKS as RESOLVE_NO_SYMLINKS
from osxfs_sim.fs.at import RESOLVE_NO_XDEV as RESOLVE_NO_XDEV
from osxfs_sim.fs.at import open_beneath as open_beneath
from osxfs_sim.fs.at import set_owner as set_owner
from osxfs_sim.fs.at import set_times as set_times

_libc = ctypes.CDLL(None, use_errno=True)


def _raise_errno() -> None:
    code = ctypes.get_errno()
    raise OSError(code, os.strerror(code))


def rename(old_fd: int, old: bytes, new_fd: int, new: bytes, flags: int) -> None:
    """renameat2(2); *flags* are RENAME_NOREPLACE and RENAME_EXCHANGE. Raises OSError."""
    if not flags:
        os.rename(old, new, src_dir_fd=old_fd, dst_dir_fd=new_fd)
    elif _libc.renameat2(old_fd, old, new_fd, new, ctypes.c_uint(flags)):
        _raise_errno()


def fallocate(fd: int, mode: int, offset: int, length: int) -> None:
    """fallocate(2) of *length* bytes at *offset*, with its *mode* bits. Raises OSError."""
    if _libc.fallocate(fd, mode, ctypes.c_int64(offset), ctypes.c_int64(length)):
        _raise_errno()


class _AttributeArguments(ctypes.Structure):
    _fields_ = (
        ("value", ctypes.c_uint64),
        ("size", ctypes.c_uint32),
        ("flags", ctypes.c_uint32),
    )


class AttributeReader:
    """Reads one extended attribute of many objects, without an exception for each that lacks it.

    *attribute* is its full name; longer values than *longest_bytes* are ERANGE.
    An exception costs as much as the system call, and nearly no object has the
    attribute. getxattrat(2) (Linux 6.13) takes 1.7 us here, against 4 us by
    way of /proc, which serves older kernels. Not thread-safe.
    """

    _GETXATTRAT = 464  # on every architecture but alpha (arch/*/kernel/syscalls)

    def __init__(self, attribute: bytes, longest_bytes: int) -> None:
        self._attribute = attribute
        self._buffer = ctypes.create_string_buffer(longest_bytes)
        self._size = ctypes.c_size_t(longest_bytes)
        self._arguments = _AttributeArguments(ctypes.addressof(self._buffer), longest_bytes, 0)
        self._by_reference = ctypes.byref(self._arguments)
        self._arguments_bytes = ctypes.c_size_t(ctypes.sizeof(self._arguments))
        self._number = ctypes.c_long(self._GETXATTRAT)
        self._has_getxattrat = True

    def read_at(self, dir_fd: int, name: bytes) -> bytes | int:
        """The attribute's value of *name* in a directory, never followed; errno where it fails."""
        if self._has_getxattrat:
            length = _libc.syscall(
                self._number,
                dir_fd,
                name,
                _AT_SYMLINK_NOFOLLOW,
                self._attribute,
                self._by_reference,
                self._arguments_bytes,
            )
            if length >= 0:
                return self._buffer.raw[:length]
            code = ctypes.get_errno()
            # EPERM is never said of reading one: some sandboxes say it of the call.
            if code not in (errno.ENOSYS, errno.EPERM):
                return code
            self._has_getxattrat = False
        path = b"/proc/self/fd/%d/%s" % (dir_fd, name)
        return self._result(_libc.lgetxattr(path, self._attribute, self._buffer, self._size))

    def read(self, fd: int) -> bytes | int:
        """The attribute's value of the object behind *fd*, O_PATH too; errno where it fails."""
        path = b"/proc/self/fd/%d" % fd
        return self._result(_libc.getxattr(path, self._attribute, self._buffer, self._size))

    def _result(self, length: int) -> bytes | int:
        return self._buffer.raw[:length] if length >= 0 else ctypes.get_errno()


_AT_SYMLINK_NOFOLLOW = 0x100
_HANDLE_HEADER_BYTES = 8  # its length and type: struct file_handle
_LONGEST_HANDLE_BYTES = 128


class _FileHandle(ctypes.Structure):
    _fields_ = (
        ("size", ctypes.c_uint),
        ("type", ctypes.c_int),
        ("handle", ctypes.c_ubyte * _LONGEST_HANDLE_BYTES),
    )


def file_handle(dir_fd: int, name: bytes) -> bytes | None:
    """The handle of *name* ("": *dir_fd*), which no later object has, or None. Raises OSError.

    A handle holds the inode's number and its generation, so that a later object with the same
    number has another (name_to_handle_at(2)). None where the file system offers none.
    """
    handle = openable_handle(dir_fd, name)
    return None if handle is None else handle[_HANDLE_HEADER_BYTES:]


def openable_handle(dir_fd: int, name: bytes) -> bytes | None:
    """The handle of *name* for open_by_handle(); None: none is offered. Raises OSError."""
    handle = _FileHandle(_LONGEST_HANDLE_BYTES, 0)
    mount_id = ctypes.c_int()
    flags = 0 if name else AT_EMPTY_PATH
    if _libc.name_to_handle_at(dir_fd, name, ctypes.byref(handle), ctypes.byref(mount_id), flags):
        if ctypes.get_errno() in (errno.EOPNOTSUPP, errno.EOVERFLOW):
            return None
        _raise_errno()
    return bytes(memoryview(handle).cast("B")[: _HANDLE_HEADER_BYTES + handle.size])


def open_by_handle(mount_fd: int, handle: bytes, flags: int) -> int:
    """open_by_handle_at(2): a descriptor by an openable_handle(). Raises OSError.

    *mount_fd* is of that file system, and no descriptor of O_PATH. EPERM without
    CAP_DAC_READ_SEARCH, ESTALE where the object is no more.
    """
    structure = _FileHandle.from_buffer_copy(handle.ljust(ctypes.sizeof(_FileHandle), b"\0"))
    fd = int(_libc.open_by_handle_at(mount_fd, ctypes.byref(structure), flags))
    if fd < 0:
        _raise_errno()
    return fd


_AT_HANDLE_FID = 0x200


def event_handle(dir_fd: int, name: bytes) -> bytes | None:
    """The handle by which fanotify reports *name*; None: none is offered. Raises OSError.

    As file_handle, with its length and type before it: a struct file_handle. AT_HANDLE_FID (Linux
    6.5) gives one also where the file system could not open by it, as overlayfs; fanotify reports
    by those (fanotify_encode_fh).
    """
    handle = _FileHandle(_LONGEST_HANDLE_BYTES, 0)
    mount_id = ctypes.c_int()
    by_reference = ctypes.byref(handle), ctypes.byref(mount_id)
    flags = 0 if name else AT_EMPTY_PATH
    if _libc.name_to_handle_at(dir_fd, name, *by_reference, flags | _AT_HANDLE_FID):
        if ctypes.get_errno() == errno.EINVAL:
            failed = _libc.name_to_handle_at(dir_fd, name, *by_reference, flags)
        else:
            failed = True
        if failed:
            if ctypes.get_errno() in (errno.EOPNOTSUPP, errno.EOVERFLOW):
                return None
            _raise_errno()
    return bytes(memoryview(handle).cast("B")[: _HANDLE_HEADER_BYTES + handle.size])


def fanotify_init(flags: int, event_flags: int) -> int:
    """A descriptor of a new fanotify group (fanotify_init(2)). Raises OSError."""
    fd = int(_libc.fanotify_init(ctypes.c_uint(flags), ctypes.c_uint(event_flags)))
    if fd < 0:
        _raise_errno()
    return fd


def fanotify_mark(group_fd: int, flags: int, mask: int, dir_fd: int, name: bytes) -> None:
    """fanotify_mark(2) on *name*, which is b"." if *dir_fd* is of O_PATH. Raises OSError.

    By itself, such a descriptor is not taken.
    """
    if _libc.fanotify_mark(
        group_fd, ctypes.c_uint(flags), ctypes.c_uint64(mask), dir_fd, ctypes.c_char_p(name)
    ):
        _raise_errno()


_STATX_BTIME = 0x800
_STATX_MNT_ID = 0x1000
STATX_ATTR_IMMUTABLE = 0x10
STATX_ATTR_APPEND = 0x20


class _Statx(ctypes.Structure):
    """struct statx (statx(2)) as far as the values that os.stat does not tell."""

    _fields_ = (
        ("mask", ctypes.c_uint32),
        ("block_bytes", ctypes.c_uint32),
        ("attributes", ctypes.c_uint64),
        ("between", ctypes.c_ubyte * 64),
        ("birth_s", ctypes.c_int64),
        ("birth_ns", ctypes.c_uint32),
        ("more", ctypes.c_ubyte * 52),
        ("mount_id", ctypes.c_uint64),
        ("rest", ctypes.c_ubyte * 104),
    )


def birth_time_ns(dir_fd: int, name: bytes) -> int:
    """The birth of *name* (b"": of *dir_fd*), in ns since 1970; 0: not kept. Raises OSError."""
    return more_status(dir_fd, name)[0]


def more_status(dir_fd: int, name: bytes) -> tuple[int, int, int]:
    """Birth time (ns), mount ID and STATX_ATTR bits of *name* (statx(2)). Raises OSError.

    An empty name is the object behind *dir_fd*. The birth is in nanoseconds, 0 where that is not
    kept; the ID of the mount 0 before Linux 5.8.
    """
    answer = _Statx()
    flags = _AT_SYMLINK_NOFOLLOW if name else AT_EMPTY_PATH
    mask = _STATX_BTIME | _STATX_MNT_ID
    if _libc.statx(dir_fd, name, flags, mask, ctypes.byref(answer)):
        _raise_errno()
    birth_ns = 0
    if answer.mask & _STATX_BTIME:
        birth_ns = int(answer.birth_s) * 1_000_000_000 + int(answer.birth_ns)
    mount_id = int(answer.mount_id) if answer.mask & _STATX_MNT_ID else 0
    return birth_ns, mount_id, int(answer.attributes)


def keep_capabilities_when_ids_change() -> None:
    """Let this thread keep its rights when it acts as another user; goes on where it may not.

    SECBIT_NO_SETUID_FIXUP (capabilities(7)). Without it, a thread that takes
    on a user's id for a moment loses the right to enter directories that the
    user may enter only as a member of another group. Does nothing where it is
    not allowed.
    """
    _libc.prctl(_PR_SET_SECUREBITS, ctypes.c_ulong(_SECBIT_NO_SETUID_FIXUP), 0, 0, 0)


_PR_SET_SECUREBITS = 28
_SECBIT_NO_SETUID_FIXUP = 1 << 2


def signal_when_parent_ends(number: int) -> None:
    """Have this process sent signal *number* when the thread that started it ends; never fails.

    PR_SET_PDEATHSIG (prctl(2)); forgotten when this process becomes another user.
    """
    _libc.prctl(_PR_SET_PDEATHSIG, ctypes.c_ulong(number), 0, 0, 0)


_PR_SET_PDEATHSIG = 1


def act_as(uid: int, gid: int) -> None:
    """Let this thread create objects as *uid* and *gid* (setfsuid(2)); no failure is reported.

    Neither call reports a failure; both fail only without the right to.
    """
    _libc.setfsgid(ctypes.c_uint(gid))
    _libc.setfsuid(ctypes.c_uint(uid))


def give_memory_back() -> None:
    """malloc_trim(3): return freed heap to the system, where the C library can; never fails."""
    if hasattr(_libc, "malloc_trim"):
        _libc.malloc_trim(0)


def file_system_magic(fd: int) -> int:
    """The number of the kind of file system *fd* is on: f_type of fstatfs(2). Raises OSError."""
    answer = (ctypes.c_long * 64)()  # longer than any struct statfs, of which it is the first
    if _libc.fstatfs(fd, ctypes.byref(answer)):
        _raise_errno()
    return int(answer[0])


_MS_BIND = 4096


def bind_mount(directory: str, place: bytes) -> None:
    """mount(2), MS_BIND: show *directory* at *place*. Raises OSError, naming the directory."""
    if _libc.mount(os.fsencode(directory), place, None, ctypes.c_ulong(_MS_BIND), None):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code), directory)


def write_out(path: str) -> None:
    """syncfs(2) of the file system at *path*: write out what the kernel holds. Raises OSError."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        syncfs(fd)
    finally:
        os.close(fd)


def syncfs(fd: int) -> None:
    """syncfs(2): have the kernel write out what it holds of *fd*'s file system. Raises OSError."""
    if _libc.syncfs(fd):
        _raise_errno()


_FSOPEN, _FSCONFIG, _FSMOUNT = 430, 431, 432  # on all architectures
_FSCONFIG_SET_STRING, _FSCONFIG_CMD_CREATE = 1, 6
_FS_CLOEXEC = 1


def detached_file_system(kind: bytes, options: dict[str, str]) -> int:
    """A descriptor of the root of a new file system, mounted nowhere. Raises OSError.

    *kind* is its type, *options* as fsconfig(2) takes them.
    """
    context = _libc.syscall(_FSOPEN, kind, _FS_CLOEXEC)
    if context < 0:
        _raise_errno()
    try:
        for key, value in options.items():
            setting = (_FSCONFIG_SET_STRING, key.encode(), value.encode(), 0)
            if _libc.syscall(_FSCONFIG, context, *setting) < 0:
                _raise_errno()
        if _libc.syscall(_FSCONFIG, context, _FSCONFIG_CMD_CREATE, None, None, 0) < 0:
            _raise_errno()
        root: int = _libc.syscall(_FSMOUNT, context, _FS_CLOEXEC, 0)
        if root < 0:
            _raise_errno()
        return root
    finally:
        os.close(context)
