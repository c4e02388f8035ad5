"""Where a share must differ from a plain directory: docs/known-differences.md, as tests.

A test that fails here because something works now is good news: change the
document too.
"""

import ctypes
import errno
import fcntl
import mmap
import os
import stat as modes
from pathlib import Path

import pytest
from support.guests import refused
from support.objects import RENAME_WHITEOUT, make, mode_of, renameat2
from support.users import OK, ROOT, STRANGER, act_as, outcome, outcome_as

_libc = ctypes.CDLL(None, use_errno=True)
_FS_IOC_GETFLAGS, _FS_IOC_FSGETXATTR = 0x80086601, 0x801C581F  # linux/fs.h


@pytest.mark.parametrize("kind", [modes.S_IFCHR, modes.S_IFBLK])
def test_devices_cannot_be_made(mount_place: Path, kind: int) -> None:
    with refused(errno.EPERM):
        os.mknod(mount_place / "device", kind | 0o600, os.makedev(1, 3))
    assert os.listdir(mount_place) == []


@pytest.mark.parametrize("kind", [modes.S_IFCHR, modes.S_IFBLK])
def test_under_host_ownership_root_makes_devices_that_nobody_opens(
    host_place: Path, kind: int
) -> None:
    device = host_place / "device"
    os.mknod(device, kind | 0o666, os.makedev(1, 3))
    assert (modes.S_IFMT(os.stat(device).st_mode), os.stat(device).st_rdev) == (
        kind,
        os.makedev(1, 3),
    )
    with refused(errno.EACCES):
        os.open(device, os.O_RDONLY)
    another = host_place / "another"
    assert outcome_as(STRANGER, os.mknod, another, kind | 0o666, os.makedev(1, 3)) == "EPERM"


def test_files_without_a_name_cannot_be_made(mount_place: Path) -> None:
    with refused(errno.EOPNOTSUPP):
        os.open(mount_place, os.O_TMPFILE | os.O_RDWR)
    assert os.listdir(mount_place) == []


def test_room_cannot_be_reserved_except_by_writing_it(mount_place: Path) -> None:
    fd = os.open(mount_place / "file", os.O_RDWR | os.O_CREAT)
    try:
        code = _libc.fallocate(fd, 0, ctypes.c_long(0), ctypes.c_long(10_000))
        assert (code, ctypes.get_errno()) == (-1, errno.EOPNOTSUPP)
        os.posix_fallocate(fd, 0, 10_000)  # the C library writes it then
        assert os.fstat(fd).st_size == 10_000
    finally:
        os.close(fd)


def test_holes_are_not_told(mount_place: Path) -> None:
    fd = os.open(mount_place / "file", os.O_RDWR | os.O_CREAT)
    try:
        os.pwrite(fd, b"end", 1 << 30)
        assert os.lseek(fd, 0, os.SEEK_HOLE) == (1 << 30) + 3
        assert os.lseek(fd, 4096, os.SEEK_DATA) == 4096
    finally:
        os.close(fd)


def test_extended_attributes_are_not_supported(mount_place: Path) -> None:
    (mount_place / "file").touch()
    for attempt in (
        lambda: os.setxattr(mount_place / "file", "user.key", b"value"),
        lambda: os.getxattr(mount_place / "file", "user.key"),
        lambda: os.listxattr(mount_place / "file"),
        lambda: os.removexattr(mount_place / "file", "user.key"),
    ):
        for _ in range(2):
            with refused(errno.ENOTSUP):
                attempt()


def test_a_handle_that_appends_cannot_be_mapped_shared(mount_side, mount_place: Path) -> None:
    fd = os.open(mount_place / "file", os.O_RDWR | os.O_CREAT | os.O_APPEND)
    try:
        os.write(fd, b"a" * 8_192)
        if mount_side.name == "osxfs-delegated-kernel":
            # There appends go through the pages that the guest's kernel holds.
            with mmap.mmap(fd, 0) as mapping:
                assert mapping[:3] == b"aaa"
        else:
            with refused(errno.ENODEV):
                mmap.mmap(fd, 0)
        assert os.pread(fd, 3, 4_096) == b"aaa"
    finally:
        os.close(fd)
    with open(mount_place / "file", "r+b") as file, mmap.mmap(file.fileno(), 0) as mapping:
        assert mapping[:3] == b"aaa"


def test_set_id_bits_end_by_who_opened_a_file_to_append(host_place: Path) -> None:
    # Appends do not pass through the guest's page cache; for those that do, its
    # kernel tells who writes.
    file = make(host_place / "opened by root", mode=0o6777)
    fd = os.open(file, os.O_WRONLY | os.O_APPEND)
    try:
        assert outcome_as(STRANGER, os.write, fd, b"more") == OK
    finally:
        os.close(fd)
    assert mode_of(file) == 0o6777


def test_set_id_bits_end_when_a_strangers_mapping_is_written_out(host_place: Path) -> None:
    file = make(host_place / "file", mode=0o6777)

    def write_by_mapping() -> None:
        with open(file, "r+b") as opened, mmap.mmap(opened.fileno(), 0) as mapping:
            mapping[0:3] = b"new"
            mapping.flush()

    assert outcome_as(STRANGER, write_by_mapping) == OK
    assert mode_of(file) == 0o777


def test_set_id_bits_end_when_root_writes_to_a_strangers_handle(host_place: Path) -> None:
    file = make(host_place / "file", mode=0o6777)

    def act() -> None:
        os.setresuid(STRANGER.uid, STRANGER.uid, 0)
        fd = os.open(file, os.O_RDWR)
        os.setresuid(0, 0, 0)
        os.write(fd, b"new")
        os.close(fd)

    act_as(ROOT, act)
    assert mode_of(file) == 0o777


def test_no_room_is_reserved_through_a_handle_that_appends(host_place: Path) -> None:
    fd = os.open(host_place / "file", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    try:
        # The C library would have to write in the middle.
        assert outcome(os.posix_fallocate, fd, 0, 100) == "EBADF"
        assert os.fstat(fd).st_size == 0
    finally:
        os.close(fd)


def test_file_flags_are_not_known(host_place: Path) -> None:
    with open(make(host_place / "file"), "rb") as file:
        for request in (_FS_IOC_GETFLAGS, _FS_IOC_FSGETXATTR):
            assert outcome(fcntl.ioctl, file, request, bytes(32)) == "ENOTTY"


def test_a_rename_leaves_no_whiteout(host_place: Path) -> None:
    make(host_place / "file")
    paths = host_place / "file", host_place / "moved"
    assert outcome(renameat2, *paths, RENAME_WHITEOUT) == "EINVAL"
    assert os.listdir(host_place) == ["file"]


def test_access_lists_are_refused(host_place: Path) -> None:
    directory = make(host_place / "directory", "directory", 0o755)
    # version 2; user::rw- group::r-- other::r--
    rules = bytes.fromhex("0200000001000600ffffffff04000400ffffffff20000400ffffffff")
    for name in ("system.posix_acl_access", "system.posix_acl_default"):
        assert outcome(os.setxattr, directory, name, rules) == "ENOTSUP"
        assert outcome(os.getxattr, directory, name) == "ENOTSUP"
