"""What is known about an object besides its content: times, modes, owners, room."""

import ctypes
import errno
import os
import stat as modes
import time
from pathlib import Path

from support.guests import refused

UTIME_NOW, UTIME_OMIT = (1 << 30) - 1, (1 << 30) - 2
_AT_FDCWD = -100
_libc = ctypes.CDLL(None, use_errno=True)


class _Timespec(ctypes.Structure):
    _fields_ = (("seconds", ctypes.c_long), ("nanoseconds", ctypes.c_long))


def utimensat(path: Path, atime: tuple[int, int], mtime: tuple[int, int]) -> None:
    times = (_Timespec * 2)(_Timespec(*atime), _Timespec(*mtime))
    if _libc.utimensat(_AT_FDCWD, os.fsencode(path), times, 0):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def test_times_are_kept_to_the_nanosecond(place: Path) -> None:
    (place / "file").touch()
    (place / "directory").mkdir()
    for name in ("file", "directory"):
        os.utime(place / name, ns=(1_234_567_890_123_456_789, 987_654_321_987_654_321))
        status = (place / name).stat()
        assert status.st_atime_ns == 1_234_567_890_123_456_789
        assert status.st_mtime_ns == 987_654_321_987_654_321


def test_times_before_1970_and_after_2038_are_kept(place: Path) -> None:
    (place / "file").touch()
    for seconds in (-1, -1_000_000, 2**31, 2**32 + 5):
        os.utime(place / "file", ns=(seconds * 10**9, seconds * 10**9 + 1))
        status = (place / "file").stat()
        assert status.st_atime_ns == seconds * 10**9
        assert status.st_mtime_ns == seconds * 10**9 + 1


def test_one_time_is_set_and_the_other_left(place: Path) -> None:
    (place / "file").touch()
    os.utime(place / "file", ns=(10**18 + 1, 10**18 + 2))
    utimensat(place / "file", (0, UTIME_OMIT), (5, 6))
    status = (place / "file").stat()
    assert (status.st_atime_ns, status.st_mtime_ns) == (10**18 + 1, 5 * 10**9 + 6)
    utimensat(place / "file", (7, 8), (0, UTIME_OMIT))
    status = (place / "file").stat()
    assert (status.st_atime_ns, status.st_mtime_ns) == (7 * 10**9 + 8, 5 * 10**9 + 6)
    utimensat(place / "file", (0, UTIME_OMIT), (0, UTIME_OMIT))
    status = (place / "file").stat()
    assert (status.st_atime_ns, status.st_mtime_ns) == (7 * 10**9 + 8, 5 * 10**9 + 6)


def test_a_time_is_set_to_now(place: Path) -> None:
    (place / "file").touch()
    os.utime(place / "file", ns=(1, 2))
    before = time.time_ns() - 20_000_000  # file systems stamp with a coarse clock
    utimensat(place / "file", (0, UTIME_OMIT), (0, UTIME_NOW))
    status = (place / "file").stat()
    assert status.st_atime_ns == 1
    assert before <= status.st_mtime_ns <= time.time_ns()
    os.utime(place / "file")
    status = (place / "file").stat()
    assert before <= status.st_atime_ns <= time.time_ns()


def test_a_symlink_has_times_of_its_own(place: Path) -> None:
    (place / "file").touch()
    os.symlink("file", place / "link")
    os.utime(place / "file", ns=(1, 2))
    os.utime(place / "link", ns=(10**18 + 3, 10**18 + 4), follow_symlinks=False)
    assert os.stat(place / "link").st_mtime_ns == 2
    assert os.lstat(place / "link").st_mtime_ns == 10**18 + 4
    os.utime(place / "link", ns=(5, 6))
    assert (place / "file").stat().st_mtime_ns == 6
    assert os.lstat(place / "link").st_mtime_ns == 10**18 + 4


def test_changes_move_the_times_they_must(place: Path) -> None:
    long_ago = (10**18, 10**18)
    file = place / "file"
    file.write_text("content")
    os.utime(file, ns=long_ago)
    os.utime(place, ns=long_ago)
    with open(file, "a") as opened:
        opened.write("more")
    assert file.stat().st_mtime_ns > 10**18
    assert place.stat().st_mtime_ns == 10**18
    os.utime(file, ns=long_ago)
    os.truncate(file, 3)
    assert file.stat().st_mtime_ns > 10**18
    os.utime(file, ns=long_ago)
    os.chmod(file, 0o600)
    assert file.stat().st_mtime_ns == 10**18
    (place / "new").touch()
    assert place.stat().st_mtime_ns > 10**18
    os.utime(place, ns=long_ago)
    os.rename(place / "new", place / "newer")
    assert place.stat().st_mtime_ns > 10**18
    os.utime(place, ns=long_ago)
    os.unlink(place / "newer")
    assert place.stat().st_mtime_ns > 10**18


def test_a_time_that_was_set_survives_closing_the_file(place: Path) -> None:
    # cp -p, tar and rsync set the time while the file is still open for writing.
    with open(place / "file", "wb") as file:
        file.write(b"content" * 10_000)
        file.flush()
        os.utime(file.fileno(), ns=(10**18 + 1, 10**18 + 2))
    assert (place / "file").stat().st_mtime_ns == 10**18 + 2


def test_modes_are_kept(place: Path) -> None:
    (place / "file").touch()
    (place / "directory").mkdir()
    for mode in (0o000, 0o400, 0o644, 0o755, 0o7777, 0o1777, 0o2755, 0o4711):
        for name in ("file", "directory"):
            os.chmod(place / name, mode)
            assert modes.S_IMODE((place / name).stat().st_mode) == mode


def test_the_umask_of_who_creates_decides(place: Path) -> None:
    before = os.umask(0o027)
    try:
        os.close(os.open(place / "file", os.O_CREAT | os.O_WRONLY, 0o666))
        os.mkdir(place / "directory", 0o777)
        os.mkfifo(place / "fifo", 0o666)
    finally:
        os.umask(before)
    found = {name: modes.S_IMODE((place / name).stat().st_mode) for name in os.listdir(place)}
    assert found == {"file": 0o640, "directory": 0o750, "fifo": 0o640}


def test_a_file_that_its_creator_may_not_write_can_be_written_once(place: Path) -> None:
    # git creates its objects so.
    fd = os.open(place / "object", os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o444)
    os.write(fd, b"content")
    os.ftruncate(fd, 3)
    os.close(fd)
    assert (place / "object").read_bytes() == b"con"


def test_owners_are_changed_one_at_a_time(place: Path) -> None:
    (place / "file").touch()
    os.symlink("file", place / "link")
    os.chown(place / "file", 1234, -1)
    os.chown(place / "file", -1, 2345)
    status = (place / "file").stat()
    assert (status.st_uid, status.st_gid) == (1234, 2345)
    os.chown(place / "link", 3456, 4567, follow_symlinks=False)
    status = os.lstat(place / "link")
    assert (status.st_uid, status.st_gid) == (3456, 4567)
    assert (place / "file").stat().st_uid == 1234


def test_access_tells_what_may_be_done(place: Path) -> None:
    (place / "file").touch()
    os.chmod(place / "file", 0o644)
    assert os.access(place / "file", os.R_OK | os.W_OK)
    assert not os.access(place / "file", os.X_OK)
    os.chmod(place / "file", 0o755)
    assert os.access(place / "file", os.X_OK)
    assert os.access(place, os.R_OK | os.W_OK | os.X_OK)
    assert not os.access(place / "missing", os.F_OK)
    os.symlink("missing", place / "dangling")
    assert not os.access(place / "dangling", os.F_OK)


def test_the_file_system_tells_its_room(place: Path) -> None:
    room = os.statvfs(place)
    assert 0 < room.f_bavail <= room.f_blocks
    assert room.f_bsize > 0
    assert room.f_frsize > 0
    assert room.f_namemax == 255
    fd = os.open(place, os.O_RDONLY)
    assert os.fstatvfs(fd).f_blocks == room.f_blocks
    os.close(fd)


def test_everything_can_be_synced(place: Path) -> None:
    with open(place / "file", "wb") as file:
        file.write(b"content" * 1_000)
        file.flush()
        os.fsync(file.fileno())
        os.fdatasync(file.fileno())
    directory = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
    os.fsync(directory)
    os.fdatasync(directory)
    assert _libc.syncfs(directory) == 0
    os.close(directory)


def test_a_file_opened_by_path_only_can_be_looked_at(place: Path) -> None:
    (place / "file").write_text("content")
    fd = os.open(place / "file", os.O_PATH)
    assert os.fstat(fd).st_size == 7
    with refused(errno.EBADF):
        os.read(fd, 1)
    with open(f"/proc/self/fd/{fd}") as file:
        assert file.read() == "content"
    os.close(fd)
