"""Who may do what: modes, owners, groups, sticky directories, search permission."""

import os
import stat as modes
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from support.objects import (
    RENAME_EXCHANGE,
    UTIME_NOW,
    UTIME_OMIT,
    make,
    mode_of,
    octal,
    opened,
    owners_of,
    renameat2,
    utimensat,
)
from support.users import (
    JOINED,
    MEMBER,
    OK,
    OWNER,
    ROOT,
    STRANGER,
    THIRD,
    User,
    act_as,
    become,
    outcome,
    outcome_as,
    outcomes_as,
    program_as,
)

pytestmark = pytest.mark.starts_processes


def setting(name: str) -> int:
    """How strict the kernel is told to be (proc_sys_fs(5))."""
    return int(Path("/proc/sys/fs", name).read_text())


# Files: who may open them, and for what

_WANTED = {
    "read": os.O_RDONLY,
    "write": os.O_WRONLY,
    "both": os.O_RDWR,
    "append": os.O_WRONLY | os.O_APPEND,
    "empty": os.O_RDONLY | os.O_TRUNC,
    "path": os.O_PATH,
}
_ANYTHING = set(_WANTED)
_READING, _WRITING = {"read", "path"}, {"write", "append", "path"}


@pytest.mark.parametrize(
    ("mode", "owner", "group", "others"),
    [
        (0o000, {"path"}, {"path"}, {"path"}),
        (0o400, _READING, {"path"}, {"path"}),
        (0o200, _WRITING, {"path"}, {"path"}),
        (0o600, _ANYTHING, {"path"}, {"path"}),
        (0o040, {"path"}, _READING, {"path"}),
        (0o020, {"path"}, _WRITING, {"path"}),
        (0o060, {"path"}, _ANYTHING, {"path"}),
        (0o004, {"path"}, {"path"}, _READING),
        (0o002, {"path"}, {"path"}, _WRITING),
        (0o006, {"path"}, {"path"}, _ANYTHING),
        (0o077, {"path"}, _ANYTHING, _ANYTHING),
        (0o707, _ANYTHING, {"path"}, _ANYTHING),
        (0o642, _ANYTHING, _READING, _WRITING),
        (0o111, {"path"}, {"path"}, {"path"}),
    ],
    ids=octal,
)
def test_the_first_class_that_fits_decides_what_a_file_is_opened_for(
    posix_place: Path, mode: int, owner: set[str], group: set[str], others: set[str]
) -> None:
    file = make(posix_place / "file", mode=mode)
    acts = {name: lambda flags=flags: opened(file, flags) for name, flags in _WANTED.items()}
    for user, allowed in (
        (OWNER, owner),
        (MEMBER, group),
        (JOINED, group),
        (STRANGER, others),
        (ROOT, _ANYTHING),
    ):
        expected = {name: OK if name in allowed else "EACCES" for name in _WANTED}
        assert outcomes_as(user, acts) == expected, user


@pytest.mark.parametrize(
    ("mode", "owner", "group", "others", "root"),
    [
        (0o700, "rwx", "", "", "rwx"),
        (0o640, "rw", "r", "", "rw"),
        (0o071, "", "rwx", "x", "rwx"),
        (0o017, "", "x", "rwx", "rwx"),
        (0o000, "", "", "", "rw"),
        (0o644, "rw", "r", "r", "rw"),
    ],
    ids=octal,
)
def test_access_tells_each_user_what_the_mode_says(
    posix_place: Path, mode: int, owner: str, group: str, others: str, root: str
) -> None:
    if os.statvfs(posix_place).f_flag & os.ST_NOEXEC:
        pytest.skip("nothing can be executed here")
    file = make(posix_place / "file", mode=mode)

    def allowed() -> str:
        asked = {"r": os.R_OK, "w": os.W_OK, "x": os.X_OK}
        assert os.access(file, os.F_OK)
        return "".join(letter for letter, bit in asked.items() if os.access(file, bit))

    for user, expected in ((OWNER, owner), (MEMBER, group), (JOINED, group), (STRANGER, others)):
        assert act_as(user, allowed) == expected, user
    assert allowed() == root


def test_access_asks_for_the_real_user_and_opening_for_the_effective_one(
    posix_place: Path,
) -> None:
    file = make(posix_place / "file", mode=0o600, owner=ROOT)
    os.chown(file, OWNER.uid, OWNER.gid)

    def as_two(real: User, effective: User) -> tuple[bool, bool, str]:
        os.setgroups([])
        os.setresgid(real.gid, effective.gid, effective.gid)
        os.setresuid(real.uid, effective.uid, effective.uid)
        return (
            os.access(file, os.R_OK),
            os.access(file, os.R_OK, effective_ids=True),
            outcome(opened, file, os.O_RDONLY),
        )

    for real, effective, expected in (
        (OWNER, STRANGER, (True, False, "EACCES")),
        (STRANGER, OWNER, (False, True, OK)),
        (STRANGER, ROOT, (False, True, OK)),
        (ROOT, STRANGER, (True, False, "EACCES")),
    ):
        assert act_as(ROOT, lambda r=real, e=effective: as_two(r, e)) == expected


@pytest.mark.parametrize(
    ("mode", "expected"),
    [
        (0o755, {OWNER: 7, STRANGER: 7, ROOT: 7}),
        (0o500, {OWNER: 7, STRANGER: "EACCES", ROOT: 7}),
        (0o644, {OWNER: "EACCES", STRANGER: "EACCES", ROOT: "EACCES"}),
        (0o055, {OWNER: "EACCES", MEMBER: 7, JOINED: 7, STRANGER: 7, ROOT: 7}),
        (0o705, {OWNER: 7, MEMBER: "EACCES", JOINED: "EACCES", STRANGER: 7}),
    ],
    ids=octal,
)
def test_a_program_is_run_by_who_may_execute_it(
    posix_place: Path, mode: int, expected: dict[User, int | str]
) -> None:
    if os.statvfs(posix_place).f_flag & os.ST_NOEXEC:
        pytest.skip("nothing can be executed here")
    program = posix_place / "program"
    program.write_text("#!/bin/sh\nexit 7\n")
    os.chown(program, OWNER.uid, OWNER.gid)
    program.chmod(mode)
    for user, answer in expected.items():
        if isinstance(answer, int):
            assert program_as(user, program) == answer, user
        else:
            assert outcome(program_as, user, program) == answer, user


def test_no_kind_but_a_file_is_a_program(posix_place: Path) -> None:
    make(posix_place / "directory", "directory", 0o777)
    make(posix_place / "fifo", "fifo", 0o777)
    for name in ("directory", "fifo"):
        for user in (ROOT, OWNER):
            assert outcome(program_as, user, posix_place / name) == "EACCES"


def test_a_handle_keeps_the_rights_it_was_opened_with(posix_place: Path) -> None:
    file = make(posix_place / "file", mode=0o600)

    def act() -> list[str]:
        fd = os.open(file, os.O_RDWR)
        os.fchmod(fd, 0)
        told = [
            outcome(os.write, fd, b"CON"),
            outcome(os.ftruncate, fd, 5),
            outcome(os.pread, fd, 3, 0),
            outcome(opened, file, os.O_RDONLY),
            outcome(opened, Path(f"/proc/self/fd/{fd}"), os.O_RDONLY),
            outcome(os.truncate, file, 0),
            outcome(os.fchmod, fd, 0o600),
            outcome(opened, Path(f"/proc/self/fd/{fd}"), os.O_RDONLY),
        ]
        os.close(fd)
        return told

    assert act_as(OWNER, act) == [OK, OK, OK, "EACCES", "EACCES", "EACCES", OK, OK]
    assert file.read_bytes() == b"CONte"


def test_a_handle_opened_by_root_serves_who_inherits_it(posix_place: Path) -> None:
    file = make(posix_place / "file", mode=0o600, owner=ROOT)
    fd = os.open(file, os.O_RDWR)
    try:
        acts = {
            "read": lambda: os.pread(fd, 3, 0),
            "write": lambda: os.pwrite(fd, b"CON", 0),
            "truncate": lambda: os.ftruncate(fd, 5),
            "chmod": lambda: os.fchmod(fd, 0o666),
            "chown": lambda: os.fchown(fd, STRANGER.uid, -1),
            "set times": lambda: os.utime(fd, ns=(1, 2)),
            "touch": lambda: os.utime(fd),
            "open": lambda: opened(file, os.O_RDONLY),
        }
        assert outcomes_as(STRANGER, acts) == {
            "read": OK,
            "write": OK,
            "truncate": OK,
            "chmod": "EPERM",
            "chown": "EPERM",
            "set times": "EPERM",
            "touch": "EACCES",
            "open": "EACCES",
        }
    finally:
        os.close(fd)
    assert file.read_bytes() == b"CONte"


def test_a_file_without_a_name_obeys_its_owner_and_nobody_else(posix_place: Path) -> None:
    file = make(posix_place / "file", mode=0o666)
    fd = os.open(file, os.O_RDWR)
    file.unlink()
    try:
        acts = {
            "chmod": lambda: os.fchmod(fd, 0o600),
            "chown": lambda: os.fchown(fd, -1, os.getegid()),
            "truncate": lambda: os.ftruncate(fd, 3),
            "set times": lambda: os.utime(fd, ns=(1, 2)),
        }
        strangers = {"chmod": "EPERM", "chown": "EPERM", "set times": "EPERM", "truncate": OK}
        assert outcomes_as(STRANGER, acts) == strangers
        assert outcomes_as(OWNER, acts) == dict.fromkeys(acts, OK)
        status = os.fstat(fd)
        assert (status.st_nlink, modes.S_IMODE(status.st_mode)) == (0, 0o600)
        assert (status.st_size, status.st_mtime_ns) == (3, 2)
    finally:
        os.close(fd)


def test_only_the_owner_and_root_may_leave_the_access_time_alone(posix_place: Path) -> None:
    file = make(posix_place / "file", mode=0o666)
    for user, expected in ((OWNER, OK), (ROOT, OK), (STRANGER, "EPERM"), (MEMBER, "EPERM")):
        assert outcome_as(user, opened, file, os.O_RDONLY | os.O_NOATIME) == expected


def test_a_file_made_for_reading_only_is_written_by_its_maker_this_once(
    posix_place: Path,
) -> None:
    file = posix_place / "file"

    def act() -> list[str]:
        fd = os.open(file, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o000)
        told = [outcome(os.write, fd, b"content"), outcome(os.ftruncate, fd, 3)]
        os.close(fd)
        return [*told, outcome(opened, file, os.O_RDONLY)]

    assert act_as(STRANGER, act) == [OK, OK, "EACCES"]
    assert file.read_bytes() == b"con"
    assert owners_of(file) == (STRANGER.uid, STRANGER.gid)


# Modes and owners: who may change them


@pytest.mark.parametrize("kind", ["file", "directory", "fifo"])
def test_a_mode_is_changed_by_the_owner_and_root_only(posix_place: Path, kind: str) -> None:
    path = make(posix_place / "object", kind, 0o777)
    for user in (STRANGER, MEMBER, JOINED):
        assert outcome_as(user, os.chmod, path, 0o700) == "EPERM"
        assert mode_of(path) == 0o777
    for user, mode in ((OWNER, 0o640), (ROOT, 0o711), (OWNER, 0o000), (OWNER, 0o751)):
        assert outcome_as(user, os.chmod, path, mode) == OK
        assert mode_of(path) == mode


def test_a_mode_is_changed_through_a_handle_for_reading(posix_place: Path) -> None:
    for kind in ("file", "directory"):
        path = make(posix_place / kind, kind, 0o755)

        def act(path: Path = path) -> str:
            fd = os.open(path, os.O_RDONLY)
            told = outcome(os.fchmod, fd, 0o711)
            os.close(fd)
            return told

        assert act_as(STRANGER, act) == "EPERM"
        assert mode_of(path) == 0o755
        assert act_as(OWNER, act) == OK
        assert mode_of(path) == 0o711


def test_a_mode_changed_through_a_symlink_is_the_targets(posix_place: Path) -> None:
    file = make(posix_place / "file", mode=0o644)
    os.symlink("file", posix_place / "link")  # root's own
    assert outcome_as(OWNER, os.chmod, posix_place / "link", 0o600) == OK
    assert mode_of(file) == 0o600
    assert mode_of(posix_place / "link") == 0o777
    assert outcome_as(STRANGER, os.chmod, posix_place / "link", 0o600) == "EPERM"


_NOBODY = 12345


@pytest.mark.parametrize(
    ("user", "uid", "gid", "expected"),
    [
        (ROOT, _NOBODY, _NOBODY, OK),
        (ROOT, _NOBODY, -1, OK),
        (ROOT, -1, _NOBODY, OK),
        (OWNER, OWNER.uid, -1, OK),
        (OWNER, OWNER.uid, OWNER.gid, OK),
        (OWNER, -1, OWNER.gid, OK),
        (OWNER, -1, -1, OK),
        (OWNER, STRANGER.uid, -1, "EPERM"),
        (OWNER, 0, -1, "EPERM"),
        (OWNER, -1, STRANGER.gid, "EPERM"),
        (OWNER, OWNER.uid, STRANGER.gid, "EPERM"),
        (User(OWNER.uid, 1, (2, STRANGER.gid)), -1, STRANGER.gid, OK),
        (User(OWNER.uid, 1, (2, STRANGER.gid)), OWNER.uid, 1, OK),
        (User(OWNER.uid, 1, (2, STRANGER.gid)), -1, _NOBODY, "EPERM"),
        (User(OWNER.uid, 1, (2, STRANGER.gid)), STRANGER.uid, 1, "EPERM"),
        (STRANGER, STRANGER.uid, STRANGER.gid, "EPERM"),
        (STRANGER, -1, STRANGER.gid, "EPERM"),
        (STRANGER, OWNER.uid, -1, "EPERM"),
        (MEMBER, -1, OWNER.gid, "EPERM"),
        (STRANGER, -1, -1, OK),
    ],
)
def test_owners_give_only_to_their_own_groups(
    posix_place: Path, user: User, uid: int, gid: int, expected: str
) -> None:
    paths = {
        kind: make(posix_place / kind, kind, 0o666)
        for kind in ("file", "directory", "symlink", "fifo")
    }
    acts = {
        kind: lambda path=path: os.chown(path, uid, gid, follow_symlinks=False)
        for kind, path in paths.items()
    }
    assert outcomes_as(user, acts) == dict.fromkeys(acts, expected)
    if expected == OK:
        wanted = (OWNER.uid if uid == -1 else uid, OWNER.gid if gid == -1 else gid)
    else:
        wanted = (OWNER.uid, OWNER.gid)
    assert {kind: owners_of(path) for kind, path in paths.items()} == dict.fromkeys(acts, wanted)


def test_an_owner_changed_through_a_handle_follows_the_same_rules(posix_place: Path) -> None:
    file = make(posix_place / "file")
    with open(file, "rb") as handle:
        fd = handle.fileno()
        assert outcome_as(STRANGER, os.fchown, fd, STRANGER.uid, -1) == "EPERM"
        assert outcome_as(OWNER, os.fchown, fd, -1, STRANGER.gid) == "EPERM"
        in_both = User(OWNER.uid, OWNER.gid, (STRANGER.gid,))
        assert outcome_as(in_both, os.fchown, fd, -1, STRANGER.gid) == OK
        assert owners_of(file) == (OWNER.uid, STRANGER.gid)
        assert outcome_as(ROOT, os.fchown, fd, 7, 8) == OK
        assert owners_of(file) == (7, 8)


def test_an_owner_changed_through_a_symlink_is_the_targets(posix_place: Path) -> None:
    file = make(posix_place / "file")
    link = make(posix_place / "link", "symlink", owner=STRANGER)
    link.unlink()
    os.symlink("file", link)
    os.chown(link, STRANGER.uid, STRANGER.gid, follow_symlinks=False)
    in_both = User(OWNER.uid, OWNER.gid, (STRANGER.gid,))
    assert outcome_as(in_both, os.chown, link, -1, STRANGER.gid) == OK
    assert owners_of(file) == (OWNER.uid, STRANGER.gid)
    assert owners_of(link) == (STRANGER.uid, STRANGER.gid)
    assert outcome_as(STRANGER, os.chown, link, -1, STRANGER.gid) == "EPERM"


def test_what_was_given_away_is_lost(posix_place: Path) -> None:
    file = make(posix_place / "file", mode=0o600)
    assert outcome_as(OWNER, opened, file, os.O_RDWR) == OK
    os.chown(file, STRANGER.uid, STRANGER.gid)
    assert outcome_as(OWNER, opened, file, os.O_RDWR) == "EACCES"
    assert outcome_as(OWNER, os.chmod, file, 0o666) == "EPERM"
    assert outcome_as(STRANGER, opened, file, os.O_RDWR) == OK
    assert outcome_as(STRANGER, os.chmod, file, 0o666) == OK
    assert outcome_as(OWNER, opened, file, os.O_RDWR) == OK


# Sizes and times


@pytest.mark.parametrize(
    ("user", "mode", "expected"),
    [
        (OWNER, 0o200, OK),
        (OWNER, 0o466, "EACCES"),
        (MEMBER, 0o020, OK),
        (MEMBER, 0o646, "EACCES"),
        (JOINED, 0o020, OK),
        (STRANGER, 0o002, OK),
        (STRANGER, 0o664, "EACCES"),
        (ROOT, 0o000, OK),
    ],
)
def test_a_file_is_cut_by_who_may_write_it(
    posix_place: Path, user: User, mode: int, expected: str
) -> None:
    file = make(posix_place / "file", mode=mode)
    assert outcome_as(user, os.truncate, file, 3) == expected
    assert file.stat().st_size == (3 if expected == OK else 7)


_SOME_TIME = 1


@pytest.mark.parametrize(
    ("user", "mode", "set_both", "set_one", "touch", "touch_one", "leave"),
    [
        (OWNER, 0o600, OK, OK, OK, OK, OK),
        (OWNER, 0o000, OK, OK, OK, OK, OK),
        (ROOT, 0o000, OK, OK, OK, OK, OK),
        (STRANGER, 0o666, "EPERM", "EPERM", OK, "EPERM", OK),
        (STRANGER, 0o644, "EPERM", "EPERM", "EACCES", "EPERM", OK),
        (MEMBER, 0o664, "EPERM", "EPERM", OK, "EPERM", OK),
        (JOINED, 0o020, "EPERM", "EPERM", OK, "EPERM", OK),
        (MEMBER, 0o646, "EPERM", "EPERM", "EACCES", "EPERM", OK),
    ],
)
def test_times_are_set_by_owners_and_touched_by_writers(
    posix_place: Path,
    user: User,
    mode: int,
    set_both: str,
    set_one: str,
    touch: str,
    touch_one: str,
    leave: str,
) -> None:
    calls: dict[str, tuple[Callable[[Path], object], str]] = {
        "set both": (lambda p: utimensat(p, _SOME_TIME, _SOME_TIME), set_both),
        "set one": (lambda p: utimensat(p, UTIME_OMIT, _SOME_TIME), set_one),
        "set one and touch": (lambda p: utimensat(p, _SOME_TIME, UTIME_NOW), set_one),
        "touch": (lambda p: utimensat(p, UTIME_NOW, UTIME_NOW), touch),
        "touch the usual way": (os.utime, touch),
        "touch one": (lambda p: utimensat(p, UTIME_NOW, UTIME_OMIT), touch_one),
        "leave": (lambda p: utimensat(p, UTIME_OMIT, UTIME_OMIT), leave),
    }
    acts, expected = {}, {}
    for kind in ("file", "directory", "fifo"):
        path = make(posix_place / kind, kind, mode)
        for name, (call, verdict) in calls.items():
            acts[f"{kind}: {name}"] = lambda call=call, path=path: call(path)
            expected[f"{kind}: {name}"] = verdict
    assert outcomes_as(user, acts) == expected


# Directories: what each of their bits allows


def _fill_for_acts(directory: Path, mode: int, owner: User) -> None:
    make(directory / "file", "file", mode, owner)
    make(directory / "spare", "file", mode, owner)
    make(directory / "empty", "directory", mode, owner)
    make(directory / "link", "symlink", owner=owner)


def _acts_in(directory: Path, outside: Path) -> dict[str, Callable[[], object]]:
    """Acts that need permissions for *directory*, which holds what _fill_for_acts puts in."""
    return {
        "list": lambda: os.listdir(directory),
        "enter": lambda: os.chdir(directory),
        "look": lambda: os.stat(directory / "file"),
        "look for nothing": lambda: os.stat(directory / "missing"),
        "read": lambda: opened(directory / "file", os.O_RDONLY),
        "write": lambda: opened(directory / "file", os.O_WRONLY),
        "open or create what is there": lambda: opened(
            directory / "file", os.O_WRONLY | os.O_CREAT
        ),
        "chmod": lambda: os.chmod(directory / "file", 0o666),
        "follow": lambda: os.readlink(directory / "link"),
        "create anew what is there": lambda: opened(
            directory / "file", os.O_WRONLY | os.O_CREAT | os.O_EXCL
        ),
        "mkdir what is there": lambda: os.mkdir(directory / "empty"),
        "rmdir what is missing": lambda: os.rmdir(directory / "missing"),
        "create": lambda: opened(directory / "new", os.O_WRONLY | os.O_CREAT),
        "mkdir": lambda: os.mkdir(directory / "new directory"),
        "mkfifo": lambda: os.mkfifo(directory / "new fifo"),
        "mknod": lambda: os.mknod(directory / "new socket", modes.S_IFSOCK | 0o666),
        "symlink": lambda: os.symlink("nowhere", directory / "new link"),
        "link": lambda: os.link(outside, directory / "second name"),
        "rename": lambda: os.rename(directory / "file", directory / "file 2"),
        "rename over": lambda: os.rename(directory / "link", directory / "file 2"),
        "unlink": lambda: os.unlink(directory / "spare"),
        "rmdir": lambda: os.rmdir(directory / "empty"),
    }


_NEED_READ = {"list"}
_NEED_SEARCH = {
    "enter",
    "look",
    "look for nothing",
    "read",
    "write",
    "open or create what is there",
    "chmod",
    "follow",
    "create anew what is there",
    "mkdir what is there",
    "rmdir what is missing",
}
_FAIL_ANYHOW = {
    "look for nothing": "ENOENT",
    "create anew what is there": "EEXIST",
    "mkdir what is there": "EEXIST",
    "rmdir what is missing": "ENOENT",
}


@pytest.mark.parametrize("bits", range(8), ids=lambda bits: f"{bits:o}")
@pytest.mark.parametrize("user", [OWNER, JOINED, STRANGER], ids=["owner", "group", "others"])
def test_a_directorys_bits_allow_to_list_to_change_and_to_search(
    posix_place: Path, user: User, bits: int
) -> None:
    directory = posix_place / "directory"
    directory.mkdir()
    _fill_for_acts(directory, 0o666, user)
    outside = make(posix_place / "outside", owner=user)
    shift = {OWNER: 6, JOINED: 3, STRANGER: 0}[user]
    os.chown(directory, OWNER.uid, OWNER.gid)
    directory.chmod(0o777 & ~(7 << shift) | bits << shift)
    acts = _acts_in(directory, outside)
    expected = {}
    for name in acts:
        if name in _NEED_READ:
            allowed = bits & 4
        elif name in _NEED_SEARCH:
            allowed = bits & 1
        else:
            allowed = bits & 3 == 3
        expected[name] = _FAIL_ANYHOW.get(name, OK) if allowed else "EACCES"
    assert outcomes_as(user, acts) == expected


def test_root_needs_no_bits_of_a_directory(posix_place: Path) -> None:
    directory = make(posix_place / "directory", "directory", 0o777)
    _fill_for_acts(directory, 0o000, OWNER)
    outside = make(posix_place / "outside", mode=0o000)
    directory.chmod(0o000)
    acts = _acts_in(directory, outside)
    assert outcomes_as(ROOT, acts) == {name: _FAIL_ANYHOW.get(name, OK) for name in acts}


def test_names_can_be_listed_by_who_may_not_search(posix_place: Path) -> None:
    directory = make(posix_place / "directory", "directory", 0o777)
    names = [f"file-{number}" for number in range(100)]
    for name in names:
        (directory / name).touch()
    directory.chmod(0o744)
    assert act_as(STRANGER, lambda: sorted(os.listdir(directory))) == sorted(names)
    assert outcome_as(STRANGER, os.stat, directory / "file-1") == "EACCES"
    assert outcome_as(STRANGER, os.stat, directory / "missing") == "EACCES"


def test_a_directory_can_be_used_by_who_may_not_list_it(posix_place: Path) -> None:
    directory = make(posix_place / "directory", "directory", 0o733)
    assert outcome_as(STRANGER, os.listdir, directory) == "EACCES"
    assert outcome_as(STRANGER, opened, directory / "new", os.O_CREAT | os.O_WRONLY) == OK
    assert outcome_as(STRANGER, os.unlink, directory / "new") == OK


@pytest.mark.parametrize(
    "path",
    ["a/b/c/file", "a/b/c/../../b/c/file", "link/c/file", "a/b/c/.."],
    ids=["straight", "up-and-down", "through-a-symlink", "up"],
)
def test_every_directory_on_the_way_must_be_searchable(posix_place: Path, path: str) -> None:
    (posix_place / "a" / "b" / "c").mkdir(parents=True)
    (posix_place / "a" / "b" / "c" / "file").touch()
    os.symlink("a/b", posix_place / "link")
    target = posix_place / path
    assert outcome_as(STRANGER, os.stat, target) == OK
    for closed in ("a", "a/b"):
        (posix_place / closed).chmod(0o766)
        assert outcome_as(STRANGER, os.stat, target) == "EACCES"
        assert outcome_as(STRANGER, os.open, target, os.O_RDONLY) == "EACCES"
        assert outcome_as(ROOT, os.stat, target) == OK
        (posix_place / closed).chmod(0o755)
    assert outcome_as(STRANGER, os.stat, target) == OK


def test_who_is_inside_a_directory_stays_when_it_is_closed(posix_place: Path) -> None:
    directory = make(posix_place / "directory", "directory", 0o755)
    (directory / "file").write_text("content")

    def act() -> list[str]:
        os.chdir(directory)
        fd = os.open(".", os.O_RDONLY)
        os.chmod(".", 0o000)
        told = [
            outcome(os.stat, "file"),
            outcome(os.stat, "."),
            outcome(os.listdir, "."),
            outcome(os.listdir, fd),
            outcome(os.open, "file", os.O_RDONLY, dir_fd=fd),
            outcome(os.chdir, "."),
            outcome(os.fchdir, fd),
            outcome(os.fchmod, fd, 0o755),
            outcome(os.stat, "file"),
        ]
        os.close(fd)
        return told

    # Even "." is looked up in the directory, and needs the right to search it.
    closed = "EACCES"
    assert act_as(OWNER, act) == [
        closed,
        closed,
        closed,
        OK,
        closed,
        closed,
        closed,
        OK,
        OK,
    ]


def test_moving_a_directory_needs_the_right_to_write_it(posix_place: Path) -> None:
    for name in ("from", "to"):
        make(posix_place / name, "directory", 0o777)
    moving = make(posix_place / "from" / "moving", "directory", 0o755, owner=ROOT)
    there = posix_place / "to" / "moving"
    # Its ".." would change; a new name beside the old one changes nothing in it.
    assert outcome_as(STRANGER, os.rename, moving, there) == "EACCES"
    assert outcome_as(STRANGER, os.rename, moving, moving.with_name("renamed")) == OK
    moving.with_name("renamed").rename(moving)
    moving.chmod(0o777)
    assert outcome_as(STRANGER, os.rename, moving, there) == OK
    file = make(posix_place / "from" / "file", mode=0o000, owner=ROOT)
    assert outcome_as(STRANGER, os.rename, file, posix_place / "to" / "file") == OK


@pytest.mark.parametrize(
    ("of_old", "of_new", "expected"),
    [
        (0o777, 0o777, OK),
        (0o755, 0o777, "EACCES"),
        (0o777, 0o755, "EACCES"),
        (0o766, 0o777, "EACCES"),
        (0o777, 0o766, "EACCES"),
        (0o733, 0o733, OK),
    ],
    ids=octal,
)
def test_a_rename_changes_two_directories(
    posix_place: Path, of_old: int, of_new: int, expected: str
) -> None:
    old = make(posix_place / "old", "directory", 0o777)
    new = make(posix_place / "new", "directory", 0o777)
    make(old / "file", owner=STRANGER)
    make(old / "directory", "directory", owner=STRANGER)
    make(old / "other", owner=STRANGER)
    make(new / "other", owner=STRANGER)
    old.chmod(of_old)
    new.chmod(of_new)
    acts = {
        "file": lambda: os.rename(old / "file", new / "file"),
        "directory": lambda: os.rename(old / "directory", new / "directory"),
        "exchange": lambda: renameat2(old / "other", new / "other", RENAME_EXCHANGE),
        "over": lambda: os.rename(old / "other", new / "other"),
    }
    assert outcomes_as(STRANGER, acts) == dict.fromkeys(acts, expected)
    assert len(os.listdir(old)) == (0 if expected == OK else 3)


# Sticky directories


def _sticky_users() -> Iterable[object]:
    """Who acts, on whose object, in whose directory, and whether that may be."""
    for directory, target, actor, allowed in (
        (OWNER, OWNER, OWNER, True),
        (OWNER, STRANGER, OWNER, True),
        (STRANGER, OWNER, OWNER, True),
        (STRANGER, STRANGER, OWNER, False),
        (ROOT, STRANGER, OWNER, False),
        (STRANGER, ROOT, OWNER, False),
        (ROOT, OWNER, MEMBER, False),
        (OWNER, ROOT, JOINED, False),
        (STRANGER, THIRD, ROOT, True),
    ):
        names = {ROOT: "root", OWNER: "A", STRANGER: "B", THIRD: "C", MEMBER: "M", JOINED: "J"}
        story = f"{names[actor]}-on-{names[target]}s-in-{names[directory]}s"
        yield pytest.param(directory, target, actor, allowed, id=story)


def _acts_of_taking_away(here: Path, elsewhere: Path) -> dict[str, Callable[[], object]]:
    return {
        "unlink": lambda: os.unlink(here / "file-1"),
        "unlink a fifo": lambda: os.unlink(here / "fifo"),
        "unlink a symlink": lambda: os.unlink(here / "symlink"),
        "rmdir": lambda: os.rmdir(here / "directory-1"),
        "rename": lambda: os.rename(here / "file-2", here / "renamed"),
        "rename a directory": lambda: os.rename(here / "directory-2", here / "renamed-2"),
        "move out": lambda: os.rename(here / "file-3", elsewhere / "moved"),
        "replace": lambda: os.rename(elsewhere / "own-1", here / "file-4"),
        "replace a directory": lambda: os.rename(elsewhere / "own-2", here / "directory-3"),
        "exchange": lambda: renameat2(elsewhere / "own-3", here / "file-5", RENAME_EXCHANGE),
    }


def _fill(here: Path, elsewhere: Path, target: User, actor: User) -> None:
    for number in range(1, 6):
        make(here / f"file-{number}", mode=0o666, owner=target)
    for number in range(1, 4):
        make(here / f"directory-{number}", "directory", 0o777, owner=target)
    make(here / "fifo", "fifo", 0o666, owner=target)
    make(here / "symlink", "symlink", owner=target)
    make(elsewhere / "own-1", owner=actor)
    make(elsewhere / "own-2", "directory", 0o777, owner=actor)
    make(elsewhere / "own-3", owner=actor)


@pytest.mark.parametrize("sticky", [True, False], ids=["sticky", "not-sticky"])
@pytest.mark.parametrize(("directory", "target", "actor", "allowed"), list(_sticky_users()))
def test_a_sticky_directory_protects_what_belongs_to_others(
    posix_place: Path, directory: User, target: User, actor: User, allowed: bool, sticky: bool
) -> None:
    here = make(posix_place / "here", "directory", 0o777, owner=ROOT)
    elsewhere = make(posix_place / "elsewhere", "directory", 0o777, owner=ROOT)
    _fill(here, elsewhere, target, actor)
    os.chown(here, directory.uid, directory.gid)
    here.chmod(0o1777 if sticky else 0o777)
    before = sorted(os.listdir(here))
    acts = _acts_of_taking_away(here, elsewhere)
    expected = OK if allowed or not sticky else "EPERM"
    assert outcomes_as(actor, acts) == dict.fromkeys(acts, expected)
    if expected != OK:
        assert sorted(os.listdir(here)) == before
        assert sorted(os.listdir(elsewhere)) == ["own-1", "own-2", "own-3"]


def test_a_sticky_directory_keeps_no_one_from_adding_and_writing(posix_place: Path) -> None:
    directory = make(posix_place / "sticky", "directory", 0o1777, owner=ROOT)
    file = make(directory / "file", mode=0o666)
    acts = {
        "create": lambda: opened(directory / "new", os.O_CREAT | os.O_WRONLY),
        "mkdir": lambda: os.mkdir(directory / "new directory"),
        "write": lambda: opened(file, os.O_WRONLY),
        "link": lambda: os.link(file, directory / "second name"),
        "rename own": lambda: os.rename(directory / "new", directory / "newer"),
        "unlink own": lambda: os.unlink(directory / "newer"),
        "rmdir own": lambda: os.rmdir(directory / "new directory"),
        # The new name is somebody else's file, too.
        "unlink link": lambda: os.unlink(directory / "second name"),
    }
    assert outcomes_as(STRANGER, acts) == dict.fromkeys(acts, OK) | {"unlink link": "EPERM"}


def test_a_sticky_directory_can_be_exchanged_into_only_with_what_may_leave(
    posix_place: Path,
) -> None:
    directory = make(posix_place / "sticky", "directory", 0o1777, owner=ROOT)
    make(directory / "own", owner=STRANGER)
    make(directory / "others")
    both = directory / "own", directory / "others"
    assert outcome_as(STRANGER, renameat2, *both, RENAME_EXCHANGE) == "EPERM"
    assert outcome_as(OWNER, renameat2, *both, RENAME_EXCHANGE) == "EPERM"
    assert outcome_as(ROOT, renameat2, *both, RENAME_EXCHANGE) == OK


def test_anybody_may_make_their_own_sticky(posix_place: Path) -> None:
    for kind in ("file", "directory"):
        path = make(posix_place / kind, kind)
        assert outcome_as(OWNER, os.chmod, path, 0o1755) == OK
        assert mode_of(path) == 0o1755


# What the kernel's settings forbid in world-writable sticky directories


def test_only_what_one_could_change_may_get_a_hard_link(posix_place: Path) -> None:
    strict = setting("protected_hardlinks")
    refused = "EPERM" if strict else OK
    for name, kind, mode, expected in (
        ("writable", "file", 0o666, OK),
        ("readable", "file", 0o644, refused),
        ("secret", "file", 0o600, refused),
        ("write-only", "file", 0o622, refused),
        ("set-user-id", "file", 0o4666, refused),
        ("set-group-id program", "file", 0o2676, refused),
        ("set-group-id", "file", 0o2666, OK),
        ("fifo", "fifo", 0o666, refused),
        ("symlink", "symlink", 0o777, refused),
    ):
        path = make(posix_place / name, kind, mode)
        second = posix_place / f"{name} again"
        assert outcome_as(STRANGER, os.link, path, second, follow_symlinks=False) == expected
        assert os.path.lexists(second) == (expected == OK)
        third = posix_place / f"{name} of its owner"
        assert outcome_as(OWNER, os.link, path, third, follow_symlinks=False) == OK


def test_symlinks_of_others_in_sticky_directories_may_not_be_followed(posix_place: Path) -> None:
    refused = "EACCES" if setting("protected_symlinks") else OK
    directory = make(posix_place / "sticky", "directory", 0o1777, owner=ROOT)
    (posix_place / "target").write_text("content")
    os.symlink("../target", directory / "link")
    os.chown(directory / "link", STRANGER.uid, STRANGER.gid, follow_symlinks=False)
    for user, expected in ((STRANGER, OK), (THIRD, refused), (ROOT, refused)):
        assert outcome_as(user, opened, directory / "link", os.O_RDONLY) == expected
        assert outcome_as(user, os.readlink, directory / "link") == OK


@pytest.mark.parametrize(("kind", "name"), [("file", "regular"), ("fifo", "fifos")])
def test_what_others_left_in_sticky_directories_may_not_be_created_again(
    posix_place: Path, kind: str, name: str
) -> None:
    strict = setting(f"protected_{name}")
    directory = make(posix_place / "sticky", "directory", 0o1777, owner=ROOT)
    path = make(directory / "left", kind, 0o666)
    flags = os.O_RDWR | os.O_NONBLOCK
    refused = "EACCES" if strict else OK
    assert outcome_as(STRANGER, opened, path, flags | os.O_CREAT) == refused
    assert outcome_as(STRANGER, opened, path, flags) == OK
    assert outcome_as(OWNER, opened, path, flags | os.O_CREAT) == OK


# What is new


_MAKERS: dict[str, Callable[[Path], object]] = {
    "file": lambda path: opened(path, os.O_CREAT | os.O_WRONLY, 0o777),
    "directory": lambda path: os.mkdir(path, 0o777),
    "fifo": lambda path: os.mkfifo(path, 0o777),
    "socket": lambda path: os.mknod(path, modes.S_IFSOCK | 0o777),
    "node": lambda path: os.mknod(path, modes.S_IFREG | 0o777),
    "symlink": lambda path: os.symlink("nowhere", path),
}


@pytest.mark.parametrize("user", [ROOT, OWNER, JOINED], ids=["root", "owner", "joined"])
def test_what_is_new_belongs_to_its_maker(posix_place: Path, user: User) -> None:
    acts = {name: lambda n=name, m=maker: m(posix_place / n) for name, maker in _MAKERS.items()}
    assert outcomes_as(user, acts) == dict.fromkeys(acts, OK)
    found = {name: owners_of(posix_place / name) for name in os.listdir(posix_place)}
    assert found == dict.fromkeys(acts, (user.uid, user.gid))


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077, 0o123, 0o777], ids=octal)
def test_the_umask_takes_bits_from_what_is_new(posix_place: Path, umask: int) -> None:
    def act() -> None:
        os.umask(umask)
        for name, maker in _MAKERS.items():
            maker(posix_place / name)

    act_as(STRANGER, act)
    found = {name: mode_of(posix_place / name) for name in os.listdir(posix_place)}
    expected = dict.fromkeys(_MAKERS, 0o777 & ~umask) | {"symlink": 0o777}
    assert found == expected


def test_who_creates_is_the_effective_user(posix_place: Path) -> None:
    def act() -> None:
        os.setgroups([])
        os.setresgid(STRANGER.gid, OWNER.gid, OWNER.gid)
        os.setresuid(STRANGER.uid, OWNER.uid, OWNER.uid)
        for name, maker in _MAKERS.items():
            maker(posix_place / name)

    act_as(ROOT, act)
    for name in _MAKERS:
        assert owners_of(posix_place / name) == (OWNER.uid, OWNER.gid)


@pytest.mark.parametrize("kind", [modes.S_IFCHR, modes.S_IFBLK], ids=["character", "block"])
def test_ordinary_users_make_no_devices(posix_place: Path, kind: int) -> None:
    device = posix_place / "device"
    assert outcome_as(OWNER, os.mknod, device, kind | 0o666, os.makedev(1, 3)) == "EPERM"
    assert os.listdir(posix_place) == []


def test_several_users_work_side_by_side(posix_place: Path) -> None:
    shared = make(posix_place / "shared", "directory", 0o2775)

    def contribute(name: str) -> None:
        os.umask(0o002)
        (shared / name).write_text(name)
        for other in os.listdir(shared):
            with open(shared / other, "a") as file:
                file.write("+")

    for user, name in ((OWNER, "one"), (MEMBER, "two"), (JOINED, "three")):
        act_as(user, lambda n=name: contribute(n))
    assert outcome_as(STRANGER, contribute, "four") == "EACCES"
    found = {name: (shared / name).read_text() for name in os.listdir(shared)}
    assert found == {"one": "one+++", "two": "two++", "three": "three+"}
    assert {owners_of(shared / name) for name in found} == {
        (OWNER.uid, OWNER.gid),
        (MEMBER.uid, OWNER.gid),
        (JOINED.uid, OWNER.gid),
    }


def test_a_user_may_change_groups_between_two_acts(posix_place: Path) -> None:
    file = make(posix_place / "file", mode=0o660)

    def act() -> list[str]:
        told = []
        for groups in ((), (OWNER.gid,), (1, 2, 3), (4, OWNER.gid, 5)):
            os.setgroups(groups)
            os.setresuid(STRANGER.uid, STRANGER.uid, 0)
            told.append(outcome(opened, file, os.O_RDWR))
            os.setresuid(0, 0, 0)
        become(STRANGER)
        return [*told, outcome(os.setgroups, (OWNER.gid,))]

    assert act_as(User(0, STRANGER.gid), act) == ["EACCES", OK, "EACCES", OK, "EPERM"]
