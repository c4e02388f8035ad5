"""Extended attributes: names, values, sizes, and who may have them."""

import ctypes
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from support.objects import make, wait_for_the_clock
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
    outcomes_as,
)

_libc = ctypes.CDLL(None, use_errno=True)

KEY = "user.key"


@pytest.fixture
def place(posix_place: Path) -> Path:
    """Where attributes are kept; some file systems, and older tmpfs, keep none."""
    probe = posix_place / "probe"
    probe.touch()
    os.chown(probe, OWNER.uid, OWNER.gid)
    if outcome(os.setxattr, probe, KEY, b"value") != OK and "/plain-" in str(posix_place):
        pytest.skip("this file system keeps no extended attributes of users")
    probe.unlink()
    return posix_place


def _get(path: Path, name: str, room: int) -> int:
    """getxattr(2) into *room* bytes: what it returned."""
    buffer = ctypes.create_string_buffer(max(room, 1))
    length = _libc.lgetxattr(os.fsencode(path), name.encode(), buffer, ctypes.c_size_t(room))
    return _checked(length)


def _list(path: Path, room: int) -> tuple[int, bytes]:
    buffer = ctypes.create_string_buffer(max(room, 1))
    length = _checked(_libc.llistxattr(os.fsencode(path), buffer, ctypes.c_size_t(room)))
    return length, buffer.raw[: length if room else 0]


def _checked(length: int) -> int:
    if length < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return length


def _of_users(path: Path) -> list[str]:
    return sorted(name for name in os.listxattr(path) if name.startswith("user."))


@pytest.mark.parametrize("kind", ["file", "directory"])
def test_attributes_are_set_read_replaced_and_removed(place: Path, kind: str) -> None:
    path = make(place / "object", kind, 0o755)
    assert outcome(os.getxattr, path, KEY) == "ENODATA"
    assert _of_users(path) == []
    os.setxattr(path, KEY, b"one")
    os.setxattr(path, "user.other", b"two")
    assert os.getxattr(path, KEY) == b"one"
    assert _of_users(path) == [KEY, "user.other"]
    os.setxattr(path, KEY, b"a longer value")
    assert os.getxattr(path, KEY) == b"a longer value"
    os.setxattr(path, KEY, b"x")
    assert os.getxattr(path, KEY) == b"x"
    os.removexattr(path, KEY)
    assert outcome(os.getxattr, path, KEY) == "ENODATA"
    assert outcome(os.removexattr, path, KEY) == "ENODATA"
    assert _of_users(path) == ["user.other"]


def test_an_attribute_is_created_once_and_replaced_when_there(place: Path) -> None:
    file = make(place / "file")
    assert outcome(os.setxattr, file, KEY, b"1", os.XATTR_REPLACE) == "ENODATA"
    assert _of_users(file) == []
    assert outcome(os.setxattr, file, KEY, b"2", os.XATTR_CREATE) == OK
    assert outcome(os.setxattr, file, KEY, b"3", os.XATTR_CREATE) == "EEXIST"
    assert os.getxattr(file, KEY) == b"2"
    assert outcome(os.setxattr, file, KEY, b"4", os.XATTR_REPLACE) == OK
    assert os.getxattr(file, KEY) == b"4"
    assert outcome(os.setxattr, file, KEY, b"5", 1 << 10) == "EINVAL"


@pytest.mark.parametrize("value", [b"", b"\0", b"a\0b", bytes(range(256)), b"v" * 3_000])
def test_any_value_is_kept_byte_by_byte(place: Path, value: bytes) -> None:
    file = make(place / "file")
    os.setxattr(file, KEY, value)
    assert os.getxattr(file, KEY) == value


@pytest.mark.parametrize(
    "name", ["user.x", "user.with space", "user.a.b.c", "user.ü", "user.user.", "user." + "n" * 250]
)
def test_any_name_of_the_users_is_kept(place: Path, name: str) -> None:
    file = make(place / "file")
    os.setxattr(file, name, b"value")
    assert _of_users(file) == [name]
    assert os.getxattr(file, name) == b"value"
    os.removexattr(file, name)
    assert _of_users(file) == []


@pytest.mark.parametrize(
    ("name", "setting", "getting"),
    [
        ("", "ERANGE", "ERANGE"),
        ("user." + "n" * 251, "ERANGE", "ERANGE"),
        ("user.", "EINVAL", "EINVAL"),
        ("unspaced", "ENOTSUP", "ENOTSUP"),
        ("strange.key", "ENOTSUP", "ENOTSUP"),
        ("system.strange", "ENOTSUP", "ENOTSUP"),
    ],
    ids=lambda value: value[:20] or "nothing",
)
def test_names_that_are_none_are_refused(
    place: Path, name: str, setting: str, getting: str
) -> None:
    file = make(place / "file")
    assert outcome(os.setxattr, file, name, b"value") == setting
    assert outcome(os.getxattr, file, name) == getting
    assert outcome(os.removexattr, file, name) == setting
    assert _of_users(file) == []


def test_sizes_are_told_and_room_must_suffice(place: Path) -> None:
    file = make(place / "file")
    os.setxattr(file, KEY, b"x" * 100)
    assert _get(file, KEY, 0) == 100
    assert _get(file, KEY, 100) == 100
    assert _get(file, KEY, 101) == 100
    for room in (1, 99):
        assert outcome(_get, file, KEY, room) == "ERANGE"
    os.setxattr(file, "user.empty", b"")
    assert _get(file, "user.empty", 0) == 0
    assert _get(file, "user.empty", 1) == 0
    listed = b"".join(name.encode() + b"\0" for name in os.listxattr(file))
    assert _list(file, 0)[0] == len(listed)
    assert _list(file, len(listed)) == (len(listed), listed)
    for room in (1, len(listed) - 1):
        assert outcome(_list, file, room) == "ERANGE"


def test_values_larger_than_the_kernel_takes_are_refused(place: Path) -> None:
    file = make(place / "file")
    assert outcome(os.setxattr, file, KEY, b"x" * 65_537) == "E2BIG"
    assert _of_users(file) == []
    # How large one may be is up to the file system; the largest possible is kept or refused.
    if outcome(os.setxattr, file, KEY, b"x" * 65_536) == OK:
        assert os.getxattr(file, KEY) == b"x" * 65_536
    else:
        assert _of_users(file) == []


def test_many_attributes_are_listed(place: Path) -> None:
    file = make(place / "file")
    names = [f"user.attribute-{number:02}" for number in range(40)]
    for name in names:
        os.setxattr(file, name, name.encode())
    assert _of_users(file) == names
    assert [os.getxattr(file, name) for name in names] == [name.encode() for name in names]
    for name in names[::2]:
        os.removexattr(file, name)
    assert _of_users(file) == names[1::2]


@pytest.mark.starts_processes
@pytest.mark.parametrize("kind", ["fifo", "socket", "symlink"])
def test_only_files_and_directories_have_attributes_of_users(place: Path, kind: str) -> None:
    path = make(place / "object", kind)
    link = {"follow_symlinks": False}
    for user in (ROOT, OWNER):
        acts: dict[str, Callable[[], object]] = {
            "set": lambda: os.setxattr(path, KEY, b"value", **link),
            "remove": lambda: os.removexattr(path, KEY, **link),
            "get": lambda: os.getxattr(path, KEY, **link),
            "list": lambda: os.listxattr(path, **link),
        }
        assert outcomes_as(user, acts) == {
            "set": "EPERM",
            "remove": "EPERM",
            "get": "ENODATA",
            "list": OK,
        }


@pytest.mark.starts_processes
@pytest.mark.parametrize("kind", ["file", "directory", "fifo", "symlink"])
def test_trusted_attributes_are_roots(place: Path, kind: str) -> None:
    path = make(place / "object", kind)
    os.setxattr(path, "trusted.key", b"value", follow_symlinks=False)
    assert os.getxattr(path, "trusted.key", follow_symlinks=False) == b"value"
    assert "trusted.key" in os.listxattr(path, follow_symlinks=False)
    acts = {
        "set": lambda: os.setxattr(path, "trusted.key", b"x", follow_symlinks=False),
        "remove": lambda: os.removexattr(path, "trusted.key", follow_symlinks=False),
        "get": lambda: os.getxattr(path, "trusted.key", follow_symlinks=False),
    }
    assert outcomes_as(OWNER, acts) == {"set": "EPERM", "remove": "EPERM", "get": "ENODATA"}
    os.removexattr(path, "trusted.key", follow_symlinks=False)
    assert outcome(os.getxattr, path, "trusted.key", follow_symlinks=False) == "ENODATA"


@pytest.mark.starts_processes
def test_ordinary_users_are_not_shown_trusted_attributes(place: Path) -> None:
    file = make(place / "file", mode=0o644)
    os.setxattr(file, "trusted.key", b"value")
    os.setxattr(file, KEY, b"value")
    for user in (OWNER, STRANGER):
        assert act_as(user, lambda: _of_all_but_security(file)) == [KEY]
    assert _of_all_but_security(file) == ["trusted.key", KEY]


def _of_all_but_security(path: Path) -> list[str]:
    return sorted(name for name in os.listxattr(path) if not name.startswith("security."))


@pytest.mark.starts_processes
@pytest.mark.parametrize(
    ("user", "mode", "getting", "setting"),
    [
        (OWNER, 0o600, OK, OK),
        (OWNER, 0o400, OK, "EACCES"),
        (OWNER, 0o200, "EACCES", OK),
        (OWNER, 0o077, "EACCES", "EACCES"),
        (MEMBER, 0o640, OK, "EACCES"),
        (JOINED, 0o620, "EACCES", OK),
        (STRANGER, 0o666, OK, OK),
        (STRANGER, 0o664, OK, "EACCES"),
        (STRANGER, 0o660, "EACCES", "EACCES"),
        (ROOT, 0o000, OK, OK),
    ],
)
def test_attributes_are_read_and_changed_as_contents_are(
    place: Path, user: User, mode: int, getting: str, setting: str
) -> None:
    acts: dict[str, Callable[[], object]] = {}
    expected = {}
    for kind in ("file", "directory"):
        path = make(place / kind, kind, 0o777)
        os.setxattr(path, KEY, b"value")
        path.chmod(mode)
        acts |= {
            f"get of a {kind}": lambda path=path: os.getxattr(path, KEY),
            f"list of a {kind}": lambda path=path: os.listxattr(path),
            f"set of a {kind}": lambda path=path: os.setxattr(path, "user.new", b"value"),
            f"remove of a {kind}": lambda path=path: os.removexattr(path, KEY),
        }
        expected |= dict.fromkeys((f"set of a {kind}", f"remove of a {kind}"), setting)
        expected |= {f"get of a {kind}": getting, f"list of a {kind}": OK}
    assert outcomes_as(user, acts) == expected


@pytest.mark.starts_processes
def test_attributes_of_a_sticky_directory_are_its_owners(place: Path) -> None:
    directory = make(place / "sticky", "directory", 0o1777)
    acts = {
        "set": lambda: os.setxattr(directory, KEY, b"value"),
        "get": lambda: os.getxattr(directory, KEY),
        "remove": lambda: os.removexattr(directory, KEY),
    }
    assert outcomes_as(OWNER, acts) == dict.fromkeys(acts, OK)
    os.setxattr(directory, KEY, b"value")
    assert outcomes_as(STRANGER, acts) == {"set": "EPERM", "get": OK, "remove": "EPERM"}
    assert outcomes_as(ROOT, acts) == dict.fromkeys(acts, OK)


@pytest.mark.starts_processes
def test_attributes_are_reached_through_handles_too(place: Path) -> None:
    file = make(place / "file", mode=0o400)
    fd = os.open(file, os.O_RDONLY)
    try:
        os.setxattr(fd, KEY, b"value")
        assert os.getxattr(fd, KEY) == os.getxattr(file, KEY) == b"value"
        assert outcomes_as(STRANGER, {"get": lambda: os.getxattr(fd, KEY)}) == {"get": "EACCES"}
        assert outcomes_as(OWNER, {"get": lambda: os.getxattr(fd, KEY)}) == {"get": OK}
        file.unlink()
        assert os.getxattr(fd, KEY) == b"value"
        os.setxattr(fd, "user.late", b"value")
        os.removexattr(fd, KEY)
        assert sorted(n for n in os.listxattr(fd) if n.startswith("user.")) == ["user.late"]
    finally:
        os.close(fd)


def test_attributes_belong_to_the_object_and_not_to_its_name(place: Path) -> None:
    file = make(place / "file")
    os.setxattr(file, KEY, b"value")
    os.link(file, place / "second")
    os.rename(file, place / "moved")
    os.symlink("moved", place / "link")
    for name in ("second", "moved", "link"):
        assert os.getxattr(place / name, KEY) == b"value"
    assert outcome(os.getxattr, place / "link", KEY, follow_symlinks=False) == "ENODATA"
    (place / "moved").write_bytes(b"other content")
    assert os.getxattr(place / "second", KEY) == b"value"
    make(place / "new")
    os.rename(place / "new", place / "moved")
    assert _of_users(place / "moved") == []
    assert _of_users(place / "second") == [KEY]


@pytest.mark.starts_processes
def test_an_attributes_change_is_a_change_of_the_object(place: Path) -> None:
    file = make(place / "file")
    os.utime(file, ns=(10**18, 10**18))

    def moves(act: Callable[[], object]) -> tuple[bool, bool]:
        wait_for_the_clock(file)
        before = file.stat()
        act()
        after = file.stat()
        assert after.st_atime_ns == before.st_atime_ns
        return after.st_mtime_ns > before.st_mtime_ns, after.st_ctime_ns > before.st_ctime_ns

    assert moves(lambda: os.setxattr(file, KEY, b"one")) == (False, True)
    assert moves(lambda: os.setxattr(file, KEY, b"two")) == (False, True)
    assert moves(lambda: os.getxattr(file, KEY)) == (False, False)
    assert moves(lambda: os.listxattr(file)) == (False, False)
    assert moves(lambda: outcome(os.setxattr, file, KEY, b"x", os.XATTR_CREATE)) == (False, False)
    assert moves(lambda: os.removexattr(file, KEY)) == (False, True)
    assert moves(lambda: outcome(os.removexattr, file, KEY)) == (False, False)


@pytest.mark.starts_processes
def test_attributes_take_no_set_id_bits(place: Path) -> None:
    file = make(place / "file", mode=0o6777)
    acts = {
        "set": lambda: os.setxattr(file, KEY, b"value"),
        "remove": lambda: os.removexattr(file, KEY),
    }
    assert outcomes_as(STRANGER, acts) == dict.fromkeys(acts, OK)
    assert file.stat().st_mode & 0o7777 == 0o6777
