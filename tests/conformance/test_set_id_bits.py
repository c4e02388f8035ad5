"""Set-user-id and set-group-id bits: who may set them, what clears and what inherits them."""

import os
import stat as modes
from collections.abc import Callable
from pathlib import Path

import pytest
from support.objects import make, mode_of, octal, opened, owners_of
from support.users import (
    JOINED,
    MEMBER,
    OK,
    OWNER,
    ROOT,
    STRANGER,
    User,
    act_as,
    outcome,
    outcome_as,
    outcomes_as,
)

pytestmark = pytest.mark.starts_processes

# Before, set-group-ID bits of what is no program stayed, whoever changed the file.
_KERNEL = tuple(int(number) for number in os.uname().release.split(".")[:2])
needs_linux_6_2 = pytest.mark.skipif(_KERNEL < (6, 2), reason="older kernels leave the bit")

_NAMES = {ROOT: "root", OWNER: "owner", MEMBER: "member", JOINED: "joined", STRANGER: "stranger"}


def name_of(value: object) -> str | None:
    return _NAMES[value] if isinstance(value, User) else octal(value)


# What is done to a file's content


def _write(path: Path) -> None:
    with open(path, "r+b", buffering=0) as file:
        file.write(b"new")


def _write_at_an_offset(path: Path) -> None:
    with open(path, "r+b", buffering=0) as file:
        os.pwrite(file.fileno(), b"new", 2)


def _write_several(path: Path) -> None:
    with open(path, "r+b", buffering=0) as file:
        os.writev(file.fileno(), [b"n", b"ew"])


def _append(path: Path) -> None:
    with open(path, "ab", buffering=0) as file:
        file.write(b"new")


def _write_and_sync(path: Path) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_SYNC)
    os.write(fd, b"new")
    os.close(fd)


def _cut_by_handle(path: Path) -> None:
    with open(path, "r+b", buffering=0) as file:
        os.ftruncate(file.fileno(), 3)


_CHANGES: dict[str, Callable[[Path], None]] = {
    "write": _write,
    "write at an offset": _write_at_an_offset,
    "write several": _write_several,
    "write and sync": _write_and_sync,
    "append": _append,
    "truncate": lambda path: os.truncate(path, 3),
    "truncate by handle": _cut_by_handle,
    "make longer": lambda path: os.truncate(path, 10_000),
    "empty by opening": lambda path: opened(path, os.O_WRONLY | os.O_TRUNC),
}


@pytest.mark.parametrize("user", [OWNER, STRANGER], ids=name_of)
@pytest.mark.parametrize("change", list(_CHANGES))
def test_whoever_changes_a_file_takes_its_set_id_bits(
    posix_place: Path, change: str, user: User
) -> None:
    left = {
        0o4777: 0o777,
        0o2777: 0o777,
        0o6777: 0o777,
        0o7777: 0o1777,
        0o4666: 0o666,
        0o2676: 0o676,
    }
    files = {mode: make(posix_place / f"file-{mode:o}", mode=mode) for mode in left}
    acts = {oct(mode): lambda f=file: _CHANGES[change](f) for mode, file in files.items()}
    assert outcomes_as(user, acts) == dict.fromkeys(acts, OK)
    assert {mode: mode_of(file) for mode, file in files.items()} == left


@pytest.mark.parametrize("change", list(_CHANGES))
def test_root_changes_a_file_and_its_set_id_bits_stay(posix_place: Path, change: str) -> None:
    for mode in (0o4777, 0o2777, 0o6777, 0o4644):
        file = make(posix_place / f"file-{mode:o}", mode=mode)
        _CHANGES[change](file)
        assert mode_of(file) == mode


@pytest.mark.parametrize("user", [OWNER, MEMBER, JOINED], ids=name_of)
def test_a_set_group_id_bit_of_no_program_stays_for_the_group(
    posix_place: Path, user: User
) -> None:
    for mode in (0o2666, 0o6666):
        files = {name: make(posix_place / f"{name}-{mode:o}", mode=mode) for name in _CHANGES}
        acts = {name: lambda n=name, f=files[name]: _CHANGES[n](f) for name in files}
        assert outcomes_as(user, acts) == dict.fromkeys(acts, OK)
        assert {name: mode_of(file) for name, file in files.items()} == dict.fromkeys(acts, 0o2666)


@needs_linux_6_2
@pytest.mark.parametrize("change", list(_CHANGES))
def test_a_set_group_id_bit_of_no_program_is_taken_by_strangers(
    posix_place: Path, change: str
) -> None:
    file = make(posix_place / "file", mode=0o2666)
    assert outcome_as(STRANGER, _CHANGES[change], file) == OK
    assert mode_of(file) == 0o666


@pytest.mark.parametrize("user", [OWNER, STRANGER], ids=name_of)
def test_what_changes_nothing_takes_no_set_id_bits(posix_place: Path, user: User) -> None:
    file = make(posix_place / "file", mode=0o6777)

    def act() -> None:
        with open(file, "r+b", buffering=0) as opened:
            opened.read()
            opened.write(b"")
            os.fsync(opened.fileno())
        os.utime(file)
        os.access(file, os.W_OK)
        os.rename(file, posix_place / "renamed")
        os.rename(posix_place / "renamed", file)

    act_as(user, act)
    assert mode_of(file) == 0o6777


def test_changes_that_are_refused_take_no_set_id_bits(posix_place: Path) -> None:
    file = make(posix_place / "file", mode=0o6755)
    for change in _CHANGES.values():
        assert outcome_as(STRANGER, change, file) == "EACCES"
    assert outcome_as(STRANGER, os.chown, file, STRANGER.uid, -1) == "EPERM"
    assert outcome_as(STRANGER, os.chmod, file, 0o755) == "EPERM"
    assert outcome_as(STRANGER, os.utime, file) == "EACCES"
    assert mode_of(file) == 0o6755


def test_set_id_bits_set_after_opening_are_taken_by_the_next_write(posix_place: Path) -> None:
    file = make(posix_place / "file", mode=0o777)

    def act() -> list[int]:
        fd = os.open(file, os.O_RDWR)
        found = []
        for change in (
            lambda: os.write(fd, b"a"),
            lambda: os.pwrite(fd, b"b", 0),
            lambda: os.ftruncate(fd, 1),
            lambda: os.ftruncate(fd, 1),
        ):
            os.fchmod(fd, 0o6777)
            found.append(modes.S_IMODE(os.fstat(fd).st_mode))
            change()
            found.append(modes.S_IMODE(os.fstat(fd).st_mode))
        os.close(fd)
        return found

    assert act_as(OWNER, act) == [0o6777, 0o777] * 4


def test_set_id_bits_are_taken_from_a_file_without_a_name(posix_place: Path) -> None:
    file = make(posix_place / "file", mode=0o6777)
    fd = os.open(file, os.O_RDWR)
    try:
        file.unlink()
        assert outcome_as(STRANGER, os.write, fd, b"new") == OK
        assert modes.S_IMODE(os.fstat(fd).st_mode) == 0o777
    finally:
        os.close(fd)


def test_what_grants_capabilities_is_taken_by_who_writes(posix_place: Path) -> None:
    file = make(posix_place / "file", mode=0o777)
    grant = bytes.fromhex("0100000200040000000000000000000000000000")  # cap_net_bind_service
    try:
        os.setxattr(file, "security.capability", grant)
    except OSError as error:
        pytest.skip(f"this file system keeps no capabilities: {error}")
    assert os.getxattr(file, "security.capability") == grant
    assert outcome_as(STRANGER, _write, file) == OK
    assert outcome(os.getxattr, file, "security.capability") == "ENODATA"


# Owners


@pytest.mark.parametrize(
    ("user", "uid", "gid", "mode", "left"),
    [
        (ROOT, 1, 1, 0o6777, 0o777),
        (ROOT, 1, -1, 0o6777, 0o777),
        (ROOT, -1, 1, 0o6777, 0o777),
        (ROOT, -1, -1, 0o6777, 0o777),
        (ROOT, 1, 1, 0o7755, 0o1755),
        (ROOT, 1, 1, 0o4644, 0o644),
        (ROOT, 1, 1, 0o2644, 0o2644),
        (ROOT, 1, 1, 0o6644, 0o2644),
        (OWNER, -1, OWNER.gid, 0o6777, 0o777),
        (OWNER, OWNER.uid, OWNER.gid, 0o6777, 0o777),
        (OWNER, OWNER.uid, -1, 0o6777, 0o777),
        (OWNER, -1, -1, 0o6777, 0o777),
        (OWNER, -1, OWNER.gid, 0o2666, 0o2666),
        pytest.param(User(OWNER.uid, 7), -1, 7, 0o2666, 0o666, marks=needs_linux_6_2),
        pytest.param(User(OWNER.uid, 7), OWNER.uid, -1, 0o2666, 0o666, marks=needs_linux_6_2),
        (User(OWNER.uid, OWNER.gid, (7,)), -1, 7, 0o6777, 0o777),
    ],
    ids=octal,
)
def test_a_new_owner_gets_a_file_without_its_set_id_bits(
    posix_place: Path, user: User, uid: int, gid: int, mode: int, left: int
) -> None:
    file = make(posix_place / "file", mode=mode)
    assert outcome_as(user, os.chown, file, uid, gid) == OK
    assert mode_of(file) == left
    file.chmod(mode)
    # Through a handle, it is the same.
    os.chown(file, OWNER.uid, OWNER.gid)
    file.chmod(mode)
    with open(file, "rb") as handle:
        assert outcome_as(user, os.fchown, handle.fileno(), uid, gid) == OK
    assert mode_of(file) == left


def test_a_stranger_who_changes_no_owner_takes_no_set_id_bits(posix_place: Path) -> None:
    file = make(posix_place / "file", mode=0o6777)
    assert outcome_as(STRANGER, os.chown, file, -1, -1) == "EPERM"
    assert mode_of(file) == 0o6777


def test_a_directory_keeps_its_set_id_bits_with_a_new_owner(posix_place: Path) -> None:
    directory = make(posix_place / "directory", "directory", 0o6775)
    for uid, gid in ((1, 1), (2, -1), (-1, 2), (-1, -1)):
        os.chown(directory, uid, gid)
        assert mode_of(directory) == 0o6775
    os.chown(directory, OWNER.uid, OWNER.gid)
    in_two = User(OWNER.uid, OWNER.gid, (7,))
    assert outcome_as(in_two, os.chown, directory, -1, 7) == OK
    assert mode_of(directory) == 0o6775


# Modes


@pytest.mark.parametrize("kind", ["file", "directory"])
@pytest.mark.parametrize(
    ("user", "gid", "wanted", "left"),
    [
        (OWNER, OWNER.gid, 0o6755, 0o6755),
        (OWNER, OWNER.gid, 0o4711, 0o4711),
        (OWNER, OWNER.gid, 0o2070, 0o2070),
        (OWNER, STRANGER.gid, 0o6755, 0o4755),
        (OWNER, STRANGER.gid, 0o2640, 0o640),
        (OWNER, 0, 0o7777, 0o5777),
        (User(OWNER.uid, 1, (2, STRANGER.gid)), STRANGER.gid, 0o6755, 0o6755),
        (User(OWNER.uid, 1, (2, 3)), STRANGER.gid, 0o6755, 0o4755),
        (ROOT, STRANGER.gid, 0o6755, 0o6755),
    ],
    ids=octal,
)
def test_only_the_group_may_set_a_set_group_id_bit(
    posix_place: Path, kind: str, user: User, gid: int, wanted: int, left: int
) -> None:
    path = make(posix_place / "object", kind)
    os.chown(path, -1, gid)
    assert outcome_as(user, os.chmod, path, wanted) == OK
    assert mode_of(path) == left
    if kind == "file":
        path.chmod(0o600)
        with open(path, "rb") as handle:
            assert outcome_as(user, os.fchmod, handle.fileno(), wanted) == OK
        assert mode_of(path) == left


def test_a_mode_is_set_as_a_whole(posix_place: Path) -> None:
    for kind in ("file", "directory", "fifo"):
        path = make(posix_place / kind, kind)
        for mode in (0o7777, 0o4000, 0o2000, 0o1000, 0o0, 0o6111, 0o755):
            assert outcome_as(OWNER, os.chmod, path, mode) == OK
            assert mode_of(path) == mode
        assert (
            modes.S_IFMT(os.lstat(path).st_mode)
            == {
                "file": modes.S_IFREG,
                "directory": modes.S_IFDIR,
                "fifo": modes.S_IFIFO,
            }[kind]
        )


@pytest.mark.parametrize("user", [ROOT, OWNER], ids=name_of)
def test_files_are_made_with_their_set_id_bits_and_directories_without(
    posix_place: Path, user: User
) -> None:
    def act() -> None:
        os.umask(0)
        for mode in (0o4755, 0o2755, 0o6711, 0o7777, 0o1644):
            opened(posix_place / f"file-{mode:o}", os.O_CREAT | os.O_WRONLY, mode)
            os.mknod(posix_place / f"node-{mode:o}", modes.S_IFREG | mode)
            os.mkdir(posix_place / f"directory-{mode:o}", mode)

    act_as(user, act)
    for name in os.listdir(posix_place):
        kind, asked = name.split("-")
        mode = int(asked, 8)
        assert mode_of(posix_place / name) == (mode & 0o1777 if kind == "directory" else mode)


# Directories that give their group on

_MAKERS: dict[str, Callable[[Path], None]] = {
    "file": lambda path: opened(path, os.O_CREAT | os.O_WRONLY, 0o666),
    "node": lambda path: os.mknod(path, modes.S_IFREG | 0o666),
    "fifo": lambda path: os.mkfifo(path, 0o666),
    "socket": lambda path: os.mknod(path, modes.S_IFSOCK | 0o666),
    "symlink": lambda path: os.symlink("nowhere", path),
    "directory": lambda path: os.mkdir(path, 0o777),
}


@pytest.mark.parametrize("user", [ROOT, OWNER, MEMBER, STRANGER], ids=name_of)
def test_a_set_group_id_directory_gives_its_group_to_what_is_new_in_it(
    posix_place: Path, user: User
) -> None:
    directory = make(posix_place / "directory", "directory", 0o2777)
    for name, maker in _MAKERS.items():
        assert outcome_as(user, maker, directory / name) == OK
        assert owners_of(directory / name) == (user.uid, OWNER.gid), name
    inherits = {name for name in _MAKERS if os.lstat(directory / name).st_mode & modes.S_ISGID}
    assert inherits == {"directory"}
    assert mode_of(directory / "directory") == 0o2755
    # And so on below.
    assert outcome_as(user, os.mkdir, directory / "directory" / "below") == OK
    assert owners_of(directory / "directory" / "below") == (user.uid, OWNER.gid)
    assert mode_of(directory / "directory" / "below") == 0o2755


def test_a_directory_without_the_bit_gives_nothing_on(posix_place: Path) -> None:
    directory = make(posix_place / "directory", "directory", 0o5777)
    for name, maker in _MAKERS.items():
        assert outcome_as(STRANGER, maker, directory / name) == OK
        assert owners_of(directory / name) == (STRANGER.uid, STRANGER.gid), name
    assert mode_of(directory / "directory") == 0o755


@pytest.mark.parametrize(
    ("user", "asked", "left"),
    [
        (MEMBER, 0o2775, 0o2775),
        (JOINED, 0o2775, 0o2775),
        (ROOT, 0o2775, 0o2775),
        (STRANGER, 0o2775, 0o775),
        (STRANGER, 0o6775, 0o4775),
        (STRANGER, 0o2644, 0o2644),
        (STRANGER, 0o4775, 0o4775),
    ],
    ids=name_of,
)
def test_nobody_makes_a_program_for_a_group_that_is_not_theirs(
    posix_place: Path, user: User, asked: int, left: int
) -> None:
    directory = make(posix_place / "directory", "directory", 0o2777)

    def act() -> None:
        os.umask(0)
        opened(directory / "file", os.O_CREAT | os.O_WRONLY, asked)
        os.mknod(directory / "node", modes.S_IFREG | asked)

    act_as(user, act)
    for name in ("file", "node"):
        assert owners_of(directory / name) == (user.uid, OWNER.gid)
        assert mode_of(directory / name) == left


def test_what_moves_into_a_set_group_id_directory_keeps_its_group(posix_place: Path) -> None:
    directory = make(posix_place / "directory", "directory", 0o2777)
    for kind in ("file", "directory"):
        path = make(posix_place / f"moving-{kind}", kind, owner=STRANGER)
        assert outcome_as(STRANGER, os.rename, path, directory / kind) == OK
        assert owners_of(directory / kind) == (STRANGER.uid, STRANGER.gid)
    assert mode_of(directory / "directory") == 0o644
    file = make(posix_place / "file", owner=STRANGER)
    assert outcome_as(STRANGER, os.link, file, directory / "second name") == OK
    assert owners_of(directory / "second name") == (STRANGER.uid, STRANGER.gid)


def test_the_bit_of_a_directory_is_not_a_files(posix_place: Path) -> None:
    directory = make(posix_place / "directory", "directory", 0o2777)
    make(directory / "file", mode=0o644)
    assert outcome_as(OWNER, os.rename, directory / "file", directory / "renamed") == OK
    assert outcome_as(OWNER, _write, directory / "renamed") == OK
    assert mode_of(directory) == 0o2777
    assert mode_of(directory / "renamed") == 0o644
