"""What may take whose place, and what is counted: renames, links, removals."""

import os
import stat as modes
from collections.abc import Callable
from pathlib import Path

import pytest
from support.objects import (
    RENAME_EXCHANGE,
    RENAME_NOREPLACE,
    RENAME_WHITEOUT,
    make,
    opened,
    renameat2,
)
from support.users import OK, outcome

_KINDS = ("file", "fifo", "socket", "link to a file", "link to a directory", "dangling link")
_DIRECTORIES = ("empty", "full")


def _make(path: Path, kind: str) -> Path:
    """An object of one of the kinds above, or nothing for "missing"."""
    if kind == "full":
        (path / "below").mkdir(parents=True)
    elif kind == "empty":
        path.mkdir()
    elif kind.endswith(" link") or kind.startswith("link "):
        target = {"link to a file": "/proc/self/status", "link to a directory": "/"}
        os.symlink(target.get(kind, "nowhere"), path)
    elif kind != "missing":
        make(path, kind)
    return path


def _identity(path: Path) -> tuple[int, int]:
    status = os.lstat(path)
    return status.st_ino, modes.S_IFMT(status.st_mode)


def _verdict_of_replacing(old: str, new: str) -> str:
    if old == "missing":
        return "ENOENT"
    if new == "missing":
        return OK
    if old in _DIRECTORIES:
        if new not in _DIRECTORIES:
            return "ENOTDIR"
        return "ENOTEMPTY" if new == "full" else OK
    return "EISDIR" if new in _DIRECTORIES else OK


@pytest.mark.parametrize("apart", [False, True], ids=["beside", "elsewhere"])
@pytest.mark.parametrize("old", [*_KINDS, *_DIRECTORIES, "missing"])
def test_everything_takes_the_place_of_its_own_sort_only(
    posix_place: Path, old: str, apart: bool
) -> None:
    for new in (*_KINDS, *_DIRECTORIES, "missing"):
        here = posix_place / f"over {new}"
        there = here / "elsewhere" if apart else here
        there.mkdir(parents=True)
        source, target = _make(here / "old", old), _make(there / "new", new)
        before = {path: _identity(path) for path in (source, target) if os.path.lexists(path)}
        expected = _verdict_of_replacing(old, new)
        assert outcome(os.rename, source, target) == expected, new
        after = {path: _identity(path) for path in (source, target) if os.path.lexists(path)}
        if expected == OK:
            assert after == {target: before[source]}, new
            if old == "full":
                assert os.listdir(target) == ["below"]
        else:
            assert after == before, new
        assert sorted(os.listdir(there)) == sorted(p.name for p in after if p.parent == there)


@pytest.mark.parametrize("old", [*_KINDS, *_DIRECTORIES])
def test_everything_changes_places_with_everything(posix_place: Path, old: str) -> None:
    for new in (*_KINDS, *_DIRECTORIES):
        here = posix_place / f"with {new}"
        (here / "elsewhere").mkdir(parents=True)
        source, target = _make(here / "old", old), _make(here / "elsewhere" / "new", new)
        before = _identity(source), _identity(target)
        assert outcome(renameat2, source, target, RENAME_NOREPLACE) == "EEXIST", new
        assert (_identity(source), _identity(target)) == before, new
        assert outcome(renameat2, source, target, RENAME_EXCHANGE) == OK, new
        assert (_identity(target), _identity(source)) == before, new
        missing = here / "missing"
        assert outcome(renameat2, source, missing, RENAME_EXCHANGE) == "ENOENT"
        assert outcome(renameat2, source, missing, RENAME_NOREPLACE) == OK
        assert sorted(os.listdir(here)) == ["elsewhere", "missing"]


def test_a_name_is_renamed_to_itself_and_nothing_happens(posix_place: Path) -> None:
    for kind in (*_KINDS, *_DIRECTORIES):
        path = _make(posix_place / kind, kind)
        before = _identity(path)
        assert outcome(os.rename, path, path) == OK
        assert outcome(renameat2, path, path, RENAME_NOREPLACE) == "EEXIST"
        assert outcome(renameat2, path, path, RENAME_EXCHANGE) == OK
        assert _identity(path) == before


@pytest.mark.parametrize("kind", _KINDS)
def test_two_names_of_one_object_stay_two_when_renamed_onto_each_other(
    posix_place: Path, kind: str
) -> None:
    one = _make(posix_place / "one", kind)
    (posix_place / "elsewhere").mkdir()
    for two in (posix_place / "two", posix_place / "elsewhere" / "two"):
        os.link(one, two, follow_symlinks=False)
        assert outcome(os.rename, one, two) == OK
        assert _identity(one) == _identity(two)
    assert os.lstat(one).st_nlink == 3


def test_no_directory_moves_below_itself_or_onto_what_holds_it(posix_place: Path) -> None:
    (posix_place / "a" / "b" / "c").mkdir(parents=True)
    make(posix_place / "a" / "file")
    for old, new, expected in (
        ("a", "a/x", "EINVAL"),
        ("a", "a/b", "EINVAL"),
        ("a", "a/b/c", "EINVAL"),
        ("a", "a/b/c/x", "EINVAL"),
        ("a/b/c", "a", "ENOTEMPTY"),
        ("a/b", "a", "ENOTEMPTY"),
        ("a/file", "a", "ENOTEMPTY"),
        ("a/b", "a/b/../b", OK),
    ):
        assert outcome(os.rename, posix_place / old, posix_place / new) == expected, (old, new)
    for old, new in (("a", "a/b"), ("a/b/c", "a"), ("a/file", "a"), ("a", "a/file")):
        paths = posix_place / old, posix_place / new
        assert outcome(renameat2, *paths, RENAME_EXCHANGE) == "EINVAL", (old, new)
    assert sorted(os.listdir(posix_place / "a")) == ["b", "file"]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("file/", "new", "ENOTDIR"),
        ("file", "new/", "ENOTDIR"),
        ("file", "other/", "ENOTDIR"),
        ("directory/", "new", OK),
        ("directory", "new/", OK),
        ("directory/", "new//", OK),
        ("directory", "empty/", OK),
        ("directory/.", "new", "EBUSY"),
        ("directory/..", "new", "EBUSY"),
        ("directory", "empty/.", "EBUSY"),
        ("directory", "empty/..", "EBUSY"),
        (".", "new", "EBUSY"),
        ("file/x", "new", "ENOTDIR"),
        ("file", "other/x", "ENOTDIR"),
        ("file", "missing/new", "ENOENT"),
        ("missing/x", "new", "ENOENT"),
        ("link/", "new", "ENOTDIR"),
        ("file", "link/", "ENOTDIR"),
        ("circle/x", "new", "ELOOP"),
        ("file", "circle/x", "ELOOP"),
        ("file", "link/new", OK),
        ("link/below", "new", OK),
        ("", "new", "ENOENT"),
        ("file", "", "ENOENT"),
    ],
)
def test_the_ends_of_paths_count_in_a_rename(
    posix_place: Path, old: str, new: str, expected: str
) -> None:
    make(posix_place / "file")
    make(posix_place / "other")
    (posix_place / "directory" / "below").mkdir(parents=True)
    (posix_place / "empty").mkdir()
    os.symlink("directory", posix_place / "link")
    os.symlink("circle", posix_place / "circle")
    directory = os.open(posix_place, os.O_PATH)
    try:
        assert outcome(os.rename, old, new, src_dir_fd=directory, dst_dir_fd=directory) == expected
    finally:
        os.close(directory)


def test_a_symlink_is_renamed_itself_and_replaced_itself(posix_place: Path) -> None:
    file = make(posix_place / "file")
    (posix_place / "directory").mkdir()
    os.symlink("file", posix_place / "to-file")
    os.symlink("directory", posix_place / "to-directory")
    os.rename(posix_place / "to-file", posix_place / "moved")
    assert os.readlink(posix_place / "moved") == "file"
    os.rename(posix_place / "moved", posix_place / "to-directory")
    assert os.readlink(posix_place / "to-directory") == "file"
    os.rename(file, posix_place / "to-directory")
    assert (posix_place / "to-directory").read_bytes() == b"content"
    assert sorted(os.listdir(posix_place)) == ["directory", "to-directory"]


def test_nothing_is_renamed_or_linked_to_another_file_system(posix_place: Path) -> None:
    for kind in ("file", "empty", "dangling link"):
        path = _make(posix_place / kind, kind)
        assert outcome(os.rename, path, "/proc/self/new") == "EXDEV"
        assert outcome(os.rename, "/proc/self/status", posix_place / "new") == "EXDEV"
        assert outcome(renameat2, path, Path("/proc/self/status"), RENAME_EXCHANGE) == "EXDEV"
    assert outcome(os.link, "/proc/self/status", posix_place / "new") == "EXDEV"
    assert len(os.listdir(posix_place)) == 3


@pytest.mark.parametrize(
    "flags",
    [RENAME_NOREPLACE | RENAME_EXCHANGE, RENAME_WHITEOUT | RENAME_EXCHANGE, 1 << 5, 1 << 31],
)
def test_renames_with_flags_that_make_no_sense_are_refused(posix_place: Path, flags: int) -> None:
    make(posix_place / "a")
    make(posix_place / "b")
    assert outcome(renameat2, posix_place / "a", posix_place / "b", flags) == "EINVAL"
    assert sorted(os.listdir(posix_place)) == ["a", "b"]


def test_what_a_rename_replaces_lives_on_for_who_has_it_open(posix_place: Path) -> None:
    old = make(posix_place / "old")
    new = make(posix_place / "new")
    with open(old, "r+b", buffering=0) as kept:
        os.rename(new, old)
        assert os.fstat(kept.fileno()).st_nlink == 0
        assert kept.write(b"CON") == 3
        kept.seek(0)
        assert kept.read() == b"CONtent"
        kept.truncate(2)
        assert os.fstat(kept.fileno()).st_size == 2
    assert old.read_bytes() == b"content"


# Counts of links


def _links(*paths: Path) -> list[int]:
    return [os.lstat(path).st_nlink for path in paths]


def test_a_directory_counts_the_directories_in_it(posix_place: Path) -> None:
    a, b = posix_place / "a", posix_place / "b"
    a.mkdir()
    b.mkdir()
    assert _links(a, b, posix_place) == [2, 2, 4]
    make(a / "file")
    make(a / "fifo", "fifo")
    os.symlink("/", a / "link")
    assert _links(a) == [2]
    (a / "one").mkdir()
    (a / "two").mkdir()
    assert _links(a, b, a / "one") == [4, 2, 2]
    os.rename(a / "one", a / "renamed")
    assert _links(a, b) == [4, 2]
    os.rename(a / "renamed", b / "one")
    assert _links(a, b) == [3, 3]
    os.rename(a / "two", b / "one")
    assert _links(a, b, b / "one") == [2, 3, 2]
    make(b / "file")
    renameat2(a / "file", b / "one", RENAME_EXCHANGE)
    assert _links(a, b, a / "file") == [3, 2, 2]
    (b / "other").mkdir()
    renameat2(a / "file", b / "other", RENAME_EXCHANGE)
    assert _links(a, b) == [3, 3]
    assert outcome(os.rmdir, a) == "ENOTEMPTY"
    assert _links(a) == [3]
    os.rmdir(a / "file")
    assert _links(a) == [2]
    assert outcome(os.mkdir, b / "other") == "EEXIST"
    assert _links(b) == [3]


def test_a_directory_that_moved_has_its_new_parent_above_it(posix_place: Path) -> None:
    (posix_place / "a" / "moving" / "below").mkdir(parents=True)
    (posix_place / "b").mkdir()
    number = (posix_place / "a" / "moving").stat().st_ino
    os.rename(posix_place / "a" / "moving", posix_place / "b" / "moved")
    moved = posix_place / "b" / "moved"
    assert os.stat(moved / "..").st_ino == (posix_place / "b").stat().st_ino
    assert os.stat(moved / "below" / "..").st_ino == number
    with os.scandir(moved) as entries:
        assert [entry.name for entry in entries] == ["below"]


@pytest.mark.parametrize("kind", _KINDS)
def test_links_are_counted_by_every_kind(posix_place: Path, kind: str) -> None:
    one = _make(posix_place / "one", kind)
    two, three = posix_place / "two", posix_place / "three"
    assert _links(one) == [1]
    os.link(one, two, follow_symlinks=False)
    assert _links(one, two) == [2, 2]
    os.link(two, three, follow_symlinks=False)
    assert _links(one, two, three) == [3, 3, 3]
    assert _identity(one) == _identity(two) == _identity(three)
    os.unlink(one)
    assert _links(two, three) == [2, 2]
    os.rename(two, three)  # the same object: nothing happens
    assert _links(two, three) == [2, 2]
    make(posix_place / "other")
    os.rename(posix_place / "other", two)
    assert _links(three) == [1]


def test_what_is_changed_by_one_name_is_seen_by_the_others(posix_place: Path) -> None:
    names = [posix_place / name for name in ("one", "two", "three")]
    make(names[0])
    for name in names[1:]:
        os.link(names[0], name)
    for number, name in enumerate(names):
        os.chmod(name, 0o600 + number)
        os.chown(name, 100 + number, 200 + number)
        os.truncate(name, 10 + number)
        os.utime(name, ns=(number, number))
        seen = {
            (s.st_mode, s.st_uid, s.st_gid, s.st_size, s.st_atime_ns, s.st_mtime_ns, s.st_nlink)
            for s in map(os.stat, names)
        }
        mode = modes.S_IFREG | 0o600 + number
        assert seen == {(mode, 100 + number, 200 + number, 10 + number, number, number, 3)}


def test_a_nameless_file_counts_no_links(posix_place: Path) -> None:
    make(posix_place / "file")
    os.link(posix_place / "file", posix_place / "second")
    fd = os.open(posix_place / "file", os.O_RDWR)
    try:
        for left, name in ((1, "file"), (0, "second")):
            os.unlink(posix_place / name)
            assert os.fstat(fd).st_nlink == left
        assert os.write(fd, b"still") == 5
        assert os.pread(fd, 9, 0) == b"stillnt"
        # With a directory's descriptor, Python follows the link to the file itself.
        at = os.open("/proc/self/fd", os.O_PATH)
        assert outcome(os.link, f"{fd}", posix_place / "again", src_dir_fd=at) == "ENOENT"
        os.close(at)
    finally:
        os.close(fd)
    assert os.listdir(posix_place) == []


# Links and removals: what is refused


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("file", "new", OK),
        ("file", "new/", "ENOENT"),
        ("file/", "new", "ENOTDIR"),
        ("directory", "new", "EPERM"),
        ("directory", "file", "EEXIST"),
        (".", "new", "EPERM"),
        ("missing", "new", "ENOENT"),
        ("file", "file", "EEXIST"),
        ("file", "directory", "EEXIST"),
        ("file", "dangling", "EEXIST"),
        ("file", ".", "EEXIST"),
        ("file", "directory/..", "EEXIST"),
        ("file", "missing/new", "ENOENT"),
        ("missing/x", "new", "ENOENT"),
        ("file/x", "new", "ENOTDIR"),
        ("file", "file/x", "ENOTDIR"),
        ("circle/x", "new", "ELOOP"),
        ("file", "circle/x", "ELOOP"),
        ("dangling", "new", OK),
        ("circle", "new", OK),
        ("file", "", "ENOENT"),
        ("", "new", "ENOENT"),
    ],
)
def test_a_link_is_made_where_nothing_is(
    posix_place: Path, old: str, new: str, expected: str
) -> None:
    make(posix_place / "file")
    (posix_place / "directory").mkdir()
    os.symlink("nowhere", posix_place / "dangling")
    os.symlink("circle", posix_place / "circle")
    at = os.open(posix_place, os.O_PATH)
    try:
        link = {"src_dir_fd": at, "dst_dir_fd": at, "follow_symlinks": False}
        assert outcome(os.link, old, new, **link) == expected
    finally:
        os.close(at)
    assert (posix_place / "file").stat().st_nlink == (2 if (old, expected) == ("file", OK) else 1)


def test_a_link_follows_a_symlink_only_when_asked_to(posix_place: Path) -> None:
    file = make(posix_place / "file")
    os.symlink("file", posix_place / "link")
    at = os.open(posix_place, os.O_PATH)
    try:
        for follow, name in ((True, "followed"), (False, "not-followed")):
            os.link("link", name, src_dir_fd=at, dst_dir_fd=at, follow_symlinks=follow)
    finally:
        os.close(at)
    assert _identity(posix_place / "followed") == _identity(file)
    assert os.readlink(posix_place / "not-followed") == "file"


_REMOVALS: dict[str, tuple[Callable[..., object], str]] = {
    "unlink a file": (os.unlink, "file"),
    "unlink a fifo": (os.unlink, "fifo"),
    "unlink a socket": (os.unlink, "socket"),
    "unlink a symlink": (os.unlink, "link"),
    "unlink a dangling symlink": (os.unlink, "dangling"),
    "rmdir": (os.rmdir, "empty"),
    "rmdir with a slash": (os.rmdir, "empty/"),
    "rmdir the long way": (os.rmdir, "full/../empty"),
}


@pytest.mark.parametrize("case", list(_REMOVALS))
def test_every_kind_is_removed_in_its_way(posix_place: Path, case: str) -> None:
    _zoo(posix_place)
    before = set(os.listdir(posix_place))
    remove, name = _REMOVALS[case]
    remove(f"{posix_place}/{name}")
    assert before - set(os.listdir(posix_place)) == {Path(name).name}
    assert outcome(remove, f"{posix_place}/{name}") == "ENOENT"


def _zoo(place: Path) -> None:
    for kind in ("file", "fifo", "socket"):
        make(place / kind, kind)
    (place / "empty").mkdir()
    (place / "full" / "below").mkdir(parents=True)
    os.symlink("file", place / "link")
    os.symlink("empty", place / "to-directory")
    os.symlink("nowhere", place / "dangling")
    os.symlink("circle", place / "circle")


@pytest.mark.parametrize(
    ("remove", "name", "expected"),
    [
        (os.unlink, "empty", "EISDIR"),
        (os.unlink, "full", "EISDIR"),
        (os.unlink, "empty/", "EISDIR"),
        (os.unlink, "file/", "ENOTDIR"),
        (os.unlink, "to-directory/", "ENOTDIR"),
        (os.unlink, "missing", "ENOENT"),
        (os.unlink, "missing/", "ENOENT"),
        (os.unlink, "file/x", "ENOTDIR"),
        (os.unlink, "circle/x", "ELOOP"),
        (os.unlink, "full/.", "EISDIR"),
        (os.unlink, "full/..", "EISDIR"),
        (os.rmdir, "full", "ENOTEMPTY"),
        (os.rmdir, "file", "ENOTDIR"),
        (os.rmdir, "fifo", "ENOTDIR"),
        (os.rmdir, "socket", "ENOTDIR"),
        (os.rmdir, "to-directory", "ENOTDIR"),
        (os.rmdir, "to-directory/", "ENOTDIR"),
        (os.rmdir, "dangling", "ENOTDIR"),
        (os.rmdir, "empty/.", "EINVAL"),
        (os.rmdir, "full/..", "ENOTEMPTY"),
        (os.rmdir, "missing", "ENOENT"),
        (os.rmdir, "file/x", "ENOTDIR"),
        (os.rmdir, "circle/x", "ELOOP"),
        (os.rmdir, "", "ENOENT"),
        (os.unlink, "", "ENOENT"),
    ],
    ids=lambda value: getattr(value, "__name__", value) or "nothing",
)
def test_what_cannot_be_removed_stays(
    posix_place: Path, remove: Callable[..., object], name: str, expected: str
) -> None:
    _zoo(posix_place)
    before = sorted(os.listdir(posix_place))
    at = os.open(posix_place, os.O_PATH)
    try:
        assert outcome(remove, name, dir_fd=at) == expected
    finally:
        os.close(at)
    assert sorted(os.listdir(posix_place)) == before


# Making


_MAKERS: dict[str, Callable[[str], object]] = {
    "mkdir": os.mkdir,
    "mkfifo": os.mkfifo,
    "mknod": lambda path: os.mknod(path, modes.S_IFREG | 0o644),
    "socket": lambda path: os.mknod(path, modes.S_IFSOCK | 0o644),
    "symlink": lambda path: os.symlink("nowhere", path),
    "create": lambda path: opened(Path(path), os.O_CREAT | os.O_EXCL | os.O_WRONLY),
}


@pytest.mark.parametrize("maker", list(_MAKERS))
def test_nothing_is_made_where_something_is(posix_place: Path, maker: str) -> None:
    _zoo(posix_place)
    before = {name: _identity(posix_place / name) for name in os.listdir(posix_place)}
    for name in (*before, ".", "..", "full/below"):
        assert outcome(_MAKERS[maker], f"{posix_place}/{name}") == "EEXIST", name
    assert {name: _identity(posix_place / name) for name in os.listdir(posix_place)} == before


@pytest.mark.parametrize("maker", [name for name in _MAKERS if name != "create"])
def test_only_a_directory_is_made_by_a_name_with_a_slash(posix_place: Path, maker: str) -> None:
    expected = OK if maker == "mkdir" else "ENOENT"
    assert outcome(_MAKERS[maker], f"{posix_place}/new/") == expected
    assert os.listdir(posix_place) == (["new"] if maker == "mkdir" else [])
    flags = os.O_CREAT | os.O_WRONLY
    assert outcome(os.open, f"{posix_place}/file/", flags) == "EISDIR"


def test_opening_creates_what_a_dangling_symlink_means(posix_place: Path) -> None:
    (posix_place / "directory").mkdir()
    os.symlink("directory/target", posix_place / "link")
    flags = os.O_CREAT | os.O_WRONLY
    assert outcome(os.open, posix_place / "link", flags | os.O_EXCL) == "EEXIST"
    assert outcome(os.open, posix_place / "link", flags | os.O_NOFOLLOW) == "ELOOP"
    assert os.listdir(posix_place / "directory") == []
    opened(posix_place / "link", flags)
    assert os.listdir(posix_place / "directory") == ["target"]
    assert outcome(os.open, posix_place / "link", flags | os.O_EXCL) == "EEXIST"
