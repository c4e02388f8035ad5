"""Names come, go, move, and mean the same object while they last."""

import ctypes
import errno
import os
import stat as modes
from pathlib import Path

import pytest
from support.guests import finish, hear, refused, start

RENAME_NOREPLACE, RENAME_EXCHANGE, RENAME_WHITEOUT = 1, 2, 4
_AT_FDCWD = -100
_libc = ctypes.CDLL(None, use_errno=True)


def renameat2(old: Path, new: Path, flags: int) -> None:
    paths = os.fsencode(old), os.fsencode(new)
    if _libc.renameat2(_AT_FDCWD, paths[0], _AT_FDCWD, paths[1], ctypes.c_uint(flags)):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def test_a_hard_link_is_the_same_file(place: Path) -> None:
    (place / "one").write_text("content")
    os.link(place / "one", place / "two")
    one, two = (place / "one").stat(), (place / "two").stat()
    assert (one.st_ino, one.st_nlink) == (two.st_ino, two.st_nlink)
    assert one.st_nlink == 2
    (place / "two").write_text("changed")
    assert (place / "one").read_text() == "changed"


def test_a_file_keeps_its_other_names(place: Path) -> None:
    names = [place / name for name in ("one", "two", "three")]
    names[0].write_text("content")
    for name in names[1:]:
        os.link(names[0], name)
    for left, name in ((2, names[0]), (1, names[2])):
        name.unlink()
        assert not name.exists()
        assert names[1].stat().st_nlink == left
        assert names[1].read_text() == "content"
    os.chmod(names[1], 0o640)
    os.truncate(names[1], 3)
    assert names[1].read_text() == "con"


def test_an_open_file_outlives_the_name_it_was_opened_by(place: Path) -> None:
    (place / "one").write_text("content")
    os.link(place / "one", place / "two")
    with open(place / "one", "r+") as file:
        os.unlink(place / "one")
        assert os.fstat(file.fileno()).st_nlink == 1
        file.truncate(4)
        os.rename(place / "two", place / "three")
        assert os.fstat(file.fileno()).st_size == 4
    assert (place / "three").read_text() == "cont"


def test_what_cannot_be_linked_is_refused(place: Path) -> None:
    (place / "directory").mkdir()
    (place / "file").touch()
    with refused(errno.EPERM):
        os.link(place / "directory", place / "again")
    with refused(errno.EEXIST):
        os.link(place / "file", place / "directory")
    with refused(errno.ENOENT):
        os.link(place / "missing", place / "again")


def test_a_symlink_can_have_two_names(place: Path) -> None:
    os.symlink("nowhere", place / "link")
    os.link(place / "link", place / "again", follow_symlinks=False)
    assert os.readlink(place / "again") == "nowhere"
    assert os.lstat(place / "again").st_ino == os.lstat(place / "link").st_ino
    assert os.lstat(place / "again").st_nlink == 2


def test_a_rename_moves_a_file_and_its_identity(place: Path) -> None:
    (place / "from").write_text("content")
    (place / "directory").mkdir()
    number = (place / "from").stat().st_ino
    os.rename(place / "from", place / "directory" / "to")
    assert not (place / "from").exists()
    assert (place / "directory" / "to").stat().st_ino == number
    assert (place / "directory" / "to").read_text() == "content"


def test_a_rename_replaces_a_file(place: Path) -> None:
    (place / "from").write_text("new")
    (place / "to").write_text("old")
    os.rename(place / "from", place / "to")
    assert os.listdir(place) == ["to"]
    assert (place / "to").read_text() == "new"


def test_a_rename_onto_another_name_of_the_same_file_does_nothing(place: Path) -> None:
    (place / "one").write_text("content")
    os.link(place / "one", place / "two")
    os.rename(place / "one", place / "two")
    assert sorted(os.listdir(place)) == ["one", "two"]
    assert (place / "one").stat().st_nlink == 2


def test_a_rename_keeps_files_and_directories_apart(place: Path) -> None:
    (place / "file").write_text("content")
    (place / "empty").mkdir()
    (place / "full" / "below").mkdir(parents=True)
    with refused(errno.EISDIR):
        os.rename(place / "file", place / "empty")
    with refused(errno.ENOTDIR):
        os.rename(place / "empty", place / "file")
    with refused(errno.ENOTEMPTY):
        os.rename(place / "empty", place / "full")
    with refused(errno.ENOENT):
        os.rename(place / "missing", place / "file")
    with refused(errno.EINVAL):
        os.rename(place / "full", place / "full" / "below" / "itself")
    assert sorted(os.listdir(place)) == ["empty", "file", "full"]
    os.rename(place / "full", place / "empty")
    assert sorted(os.listdir(place)) == ["empty", "file"]
    assert os.listdir(place / "empty") == ["below"]


def test_a_tree_that_moved_is_reached_by_its_new_path(place: Path) -> None:
    (place / "a" / "b" / "c").mkdir(parents=True)
    (place / "a" / "b" / "c" / "file").write_text("content")
    (place / "elsewhere").mkdir()
    inside = os.open(place / "a" / "b" / "c", os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.rename(place / "a" / "b", place / "elsewhere" / "moved")
        assert (place / "elsewhere" / "moved" / "c" / "file").read_text() == "content"
        assert not (place / "a" / "b").exists()
        above = os.stat("..", dir_fd=inside)
        assert above.st_ino == (place / "elsewhere" / "moved").stat().st_ino
        fd = os.open("new", os.O_CREAT | os.O_WRONLY, dir_fd=inside)
        os.close(fd)
    finally:
        os.close(inside)
    assert (place / "elsewhere" / "moved" / "c" / "new").exists()


def test_a_rename_that_must_not_replace_does_not(place: Path) -> None:
    (place / "from").write_text("new")
    (place / "to").write_text("old")
    with refused(errno.EEXIST):
        renameat2(place / "from", place / "to", RENAME_NOREPLACE)
    assert (place / "to").read_text() == "old"
    renameat2(place / "from", place / "free", RENAME_NOREPLACE)
    assert (place / "free").read_text() == "new"


def test_an_exchange_swaps_two_names(place: Path) -> None:
    (place / "file").write_text("content")
    (place / "directory" / "below").mkdir(parents=True)
    renameat2(place / "file", place / "directory", RENAME_EXCHANGE)
    assert (place / "directory").read_text() == "content"
    assert os.listdir(place / "file") == ["below"]
    (place / "file" / "below" / "new").touch()
    renameat2(place / "file", place / "directory", RENAME_EXCHANGE)
    assert (place / "file").read_text() == "content"
    assert os.listdir(place / "directory" / "below") == ["new"]
    with refused(errno.ENOENT):
        renameat2(place / "file", place / "missing", RENAME_EXCHANGE)


def test_files_exchanged_while_open_stay_what_they_are(place: Path) -> None:
    (place / "a").write_text("a")
    (place / "b").write_text("b")
    with open(place / "a") as a, open(place / "b") as b:
        renameat2(place / "a", place / "b", RENAME_EXCHANGE)
        os.chmod(a.fileno(), 0o600)
        assert (a.read(), b.read()) == ("a", "b")
    assert (place / "b").stat().st_mode & 0o777 == 0o600
    assert (place / "a").read_text() == "b"


def test_unknown_rename_flags_are_refused(place: Path) -> None:
    (place / "a").touch()
    with refused(errno.EINVAL):
        renameat2(place / "a", place / "b", RENAME_EXCHANGE | RENAME_NOREPLACE)


def test_directories_are_removed_only_when_empty(place: Path) -> None:
    (place / "directory" / "below").mkdir(parents=True)
    (place / "file").touch()
    with refused(errno.ENOTEMPTY):
        os.rmdir(place / "directory")
    with refused(errno.ENOTDIR):
        os.rmdir(place / "file")
    with refused(errno.EISDIR):
        os.unlink(place / "directory")
    with refused(errno.EEXIST):
        os.mkdir(place / "directory")
    with refused(errno.ENOENT):
        os.rmdir(place / "missing")
    os.rmdir(place / "directory" / "below")
    os.rmdir(place / "directory")
    assert os.listdir(place) == ["file"]


def test_a_removed_name_is_free_for_another_kind(place: Path) -> None:
    for _ in range(3):
        (place / "name").write_text("file")
        (place / "name").unlink()
        (place / "name").mkdir()
        assert (place / "name").is_dir()
        (place / "name").rmdir()
        os.symlink("target", place / "name")
        assert os.readlink(place / "name") == "target"
        (place / "name").unlink()
    assert not os.path.lexists(place / "name")


_IN_A_REMOVED_DIRECTORY = """
import errno, os, sys
os.chdir(sys.argv[1])
print("inside", flush=True)
sys.stdin.readline()
assert os.listdir(".") == []
assert os.stat(".").st_nlink == 0, os.stat(".")
def refused(call, *arguments):
    try:
        call(*arguments)
    except OSError as error:
        return error.errno
    return 0
assert refused(os.mkdir, "new") == errno.ENOENT
assert refused(open, "new", "w") == errno.ENOENT
assert refused(os.stat, "new") == errno.ENOENT
assert refused(os.getcwd) == errno.ENOENT
assert os.stat("..").st_ino == int(sys.argv[2])
"""


def test_a_process_can_be_inside_a_removed_directory(place: Path) -> None:
    (place / "directory").mkdir()
    inside = start(_IN_A_REMOVED_DIRECTORY, place / "directory", place.stat().st_ino)
    hear(inside, "inside")
    os.rmdir(place / "directory")
    finish(inside, "go\n")


def test_a_replaced_directory_is_gone_for_who_is_inside(place: Path) -> None:
    (place / "old").mkdir()
    (place / "new" / "below").mkdir(parents=True)
    inside = os.open(place / "old", os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.rename(place / "new", place / "old")
        assert os.fstat(inside).st_nlink == 0
        assert os.listdir(inside) == []
        with refused(errno.ENOENT):
            os.mkdir("again", dir_fd=inside)
    finally:
        os.close(inside)
    assert os.listdir(place / "old") == ["below"]


def test_symlinks_hold_what_was_put_in(place: Path) -> None:
    long = "/".join(["d" * 100] * 40)
    for number, target in enumerate(("x", "../up", "/absolute", "nowhere/at all", long, "ü\n")):
        os.symlink(target, place / f"link-{number}")
        status = os.lstat(place / f"link-{number}")
        assert os.readlink(place / f"link-{number}") == target
        assert modes.S_ISLNK(status.st_mode)
        assert status.st_size == len(os.fsencode(target))
    os.symlink(b"\xff\xfe", os.fsencode(place / "bytes"))
    assert os.readlink(os.fsencode(place / "bytes")) == b"\xff\xfe"
    with refused(errno.ENOENT):
        os.symlink("", place / "empty")
    with refused(errno.ENAMETOOLONG):
        os.symlink("x" * 4096, place / "too-long")
    with refused(errno.EEXIST):
        os.symlink("x", place / "link-0")


def test_symlinks_lead_where_they_say(place: Path) -> None:
    (place / "directory").mkdir()
    (place / "directory" / "file").write_text("content")
    os.symlink("directory", place / "link")
    os.symlink("../link/file", place / "directory" / "back")
    assert (place / "link" / "back").read_text() == "content"
    assert sorted(os.listdir(place / "link")) == ["back", "file"]
    os.symlink("missing", place / "dangling")
    with refused(errno.ENOENT):
        os.stat(place / "dangling")
    with refused(errno.EINVAL):
        os.readlink(place / "directory" / "file")


def test_symlinks_in_a_circle_are_told(place: Path) -> None:
    os.symlink("b", place / "a")
    os.symlink("a", place / "b")
    os.symlink("self", place / "self")
    for name in ("a", "b", "self"):
        with refused(errno.ELOOP):
            os.stat(place / name)
        with refused(errno.ELOOP):
            os.open(place / name, os.O_RDONLY)
    (place / "file").touch()
    os.symlink("file", place / "good")
    with refused(errno.ELOOP):
        os.open(place / "good", os.O_RDONLY | os.O_NOFOLLOW)


@pytest.mark.parametrize(
    "name",
    [
        b"with space",
        b"new\nline",
        b"-rf",
        b"\xff\xfe\x80 not UTF-8",
        "é composed".encode(),
        "e\u0301 decomposed".encode(),
        b"back\\slash",
        b"...",
        b"\x01\x7f",
        "𝄞".encode() * 60,
    ],
)
def test_any_name_is_kept_byte_by_byte(side, place: Path, name: bytes) -> None:
    path = os.path.join(os.fsencode(place), name)
    if side.name == "osxfs-apfs" and b"not UTF-8" in name:
        with refused(errno.EILSEQ):  # to APFS a name is text
            os.mkdir(path)
        assert os.listdir(place) == []
        return
    with open(path, "wb") as file:
        file.write(name)
    assert os.listdir(os.fsencode(place)) == [name]
    with open(path, "rb") as file:
        assert file.read() == name
    os.rename(path, path + b"2")
    assert os.listdir(os.fsencode(place)) == [name + b"2"]
    os.unlink(path + b"2")
    assert os.listdir(place) == []


def test_composed_decomposed_and_capital_names_are_different(side, place: Path) -> None:
    names = ["é", "e\u0301", "É", "file", "File"]
    for name in names:
        (place / name).write_text(name)
    if side.name == "osxfs-apfs":
        # There they are not: the first spelling stays, the last content wins.
        assert sorted(os.listdir(place)) == ["file", "é"]
        assert {(place / name).read_text() for name in names} == {"É", "File"}
        return
    assert sorted(os.listdir(place)) == sorted(names)
    assert [(place / name).read_text() for name in names] == names


def test_a_name_has_up_to_255_bytes(place: Path) -> None:
    longest, too_long = place / ("n" * 255), place / ("n" * 256)
    longest.write_text("content")
    assert longest.read_text() == "content"
    assert os.listdir(place) == [longest.name]
    os.rename(longest, place / ("m" * 255))
    for attempt in (
        lambda: os.stat(too_long),
        lambda: os.mkdir(too_long),
        lambda: os.open(too_long, os.O_CREAT | os.O_WRONLY),
        lambda: os.symlink("x", too_long),
        lambda: os.rename(place / ("m" * 255), too_long),
        lambda: os.link(place / ("m" * 255), too_long),
        lambda: os.unlink(too_long),
    ):
        with refused(errno.ENAMETOOLONG):
            attempt()


def test_deep_paths_are_walked(place: Path) -> None:
    depth = 300
    directory = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
    for _ in range(depth):
        os.mkdir("deeper", dir_fd=directory)
        below = os.open("deeper", os.O_RDONLY | os.O_DIRECTORY, dir_fd=directory)
        os.close(directory)
        directory = below
    os.close(os.open("bottom", os.O_CREAT | os.O_WRONLY, dir_fd=directory))
    os.close(directory)
    assert (place / "/".join(["deeper"] * depth) / "bottom").exists()
    # From directory to directory: by paths each level would walk all above it once more.
    assert sum(1 for _ in os.fwalk(place)) == depth + 1
