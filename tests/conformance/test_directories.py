"""Listing a directory: every name that stays is seen, once, and for what it is."""

import ctypes
import os
import socket
import stat as modes
from pathlib import Path

import pytest
from support.guests import eventually, finish, hear, run, start

_libc = ctypes.CDLL(None, use_errno=True)
_libc.opendir.restype = ctypes.c_void_p
_libc.telldir.restype = ctypes.c_long
_libc.telldir.argtypes = _libc.closedir.argtypes = _libc.rewinddir.argtypes = (ctypes.c_void_p,)
_libc.seekdir.argtypes = (ctypes.c_void_p, ctypes.c_long)
_libc.seekdir.restype = _libc.rewinddir.restype = None


class _Entry(ctypes.Structure):
    _fields_ = (
        ("number", ctypes.c_uint64),
        ("position", ctypes.c_int64),
        ("length", ctypes.c_ushort),
        ("type", ctypes.c_ubyte),
        ("name", ctypes.c_char * 256),
    )


_libc.readdir.restype = ctypes.POINTER(_Entry)
_libc.readdir.argtypes = (ctypes.c_void_p,)


class Stream:
    """A directory stream of the C library, which can tell, seek and rewind."""

    def __init__(self, path: Path) -> None:
        self._stream = _libc.opendir(os.fsencode(path))
        assert self._stream, os.strerror(ctypes.get_errno())

    def __enter__(self) -> "Stream":
        return self

    def __exit__(self, *exc_info: object) -> None:
        _libc.closedir(self._stream)

    def read(self) -> tuple[str, int] | None:
        """The next name and its inode number; None at the end."""
        entry = _libc.readdir(self._stream)
        return (os.fsdecode(entry.contents.name), entry.contents.number) if entry else None

    def rest(self) -> list[str]:
        return [entry[0] for entry in iter(self.read, None)]

    def tell(self) -> int:
        return _libc.telldir(self._stream)

    def seek(self, position: int) -> None:
        _libc.seekdir(self._stream, position)

    def rewind(self) -> None:
        _libc.rewinddir(self._stream)


def fill(directory: Path, prefix: str, count: int) -> list[str]:
    names = [f"{prefix}-{number}" for number in range(count)]
    for name in names:
        os.mknod(directory / name, modes.S_IFREG | 0o644)
    return names


def test_a_new_directory_holds_itself_and_its_parent(place: Path) -> None:
    (place / "new").mkdir()
    with Stream(place / "new") as stream:
        assert sorted(stream.rest()) == [".", ".."]
    assert os.listdir(place / "new") == []


def test_a_large_directory_is_listed_in_full(place: Path) -> None:
    names = fill(place, "file", 3_000)
    assert sorted(os.listdir(place)) == sorted(names)


_CHURN = """
import os, sys
os.chdir(sys.argv[1])
number = 0
while not os.path.exists("../stop"):
    name = f"fleeting-{number % 150}-with-a-name-that-takes-some-room"
    try:
        os.mkdir(name) if number % 3 else os.close(os.open(name, os.O_CREAT | os.O_WRONLY))
        if number % 5:
            os.rename(name, name + "-renamed")
            name += "-renamed"
        os.rmdir(name) if number % 3 else os.unlink(name)
    except OSError:
        pass  # a leftover of the last round
    number += 1
    if number == 1:
        print("ready", flush=True)  # and at it: on one processor it may not get another turn
print(number)
"""


def test_names_that_stay_are_listed_once_while_others_come_and_go(place: Path) -> None:
    directory = place / "busy"
    directory.mkdir()
    stable = fill(directory, "stable", 1_000)  # more than one reading of a directory brings
    churn = start(_CHURN, directory)
    hear(churn, "ready")
    try:
        for _ in range(8):
            seen = [name for name in os.listdir(directory) if name.startswith("stable")]
            assert len(seen) == len(set(seen))
            assert sorted(seen) == sorted(stable)
    finally:
        (place / "stop").touch()
        rounds = int(finish(churn))
    assert rounds > 0


def test_names_are_listed_while_the_lister_removes_them(place: Path) -> None:
    fill(place, "file", 500)
    with os.scandir(place) as entries:
        removed = 0
        for entry in entries:
            os.unlink(entry)
            removed += 1
    assert removed == 500
    assert os.listdir(place) == []


def test_rewinding_shows_what_came_since(place: Path) -> None:
    (place / "before").touch()
    with Stream(place) as stream:
        assert sorted(stream.rest()) == [".", "..", "before"]
        (place / "after").touch()
        (place / "before").unlink()
        stream.rewind()
        assert sorted(stream.rest()) == [".", "..", "after"]


def test_a_told_position_can_be_returned_to(place: Path) -> None:
    fill(place, "file", 700)
    with Stream(place) as stream:
        for _ in range(300):
            stream.read()
        position = stream.tell()
        rest = stream.rest()
        assert len(rest) == 402
        stream.seek(position)
        assert stream.rest() == rest
        stream.rewind()
        assert len(stream.rest()) == 702
        stream.seek(position)
        assert stream.rest() == rest


def test_entries_say_what_they_are(place: Path) -> None:
    (place / "file").touch()
    (place / "directory").mkdir()
    os.symlink("file", place / "link")
    os.mkfifo(place / "fifo")
    with socket.socket(socket.AF_UNIX) as listener:
        run_in = os.open(place, os.O_RDONLY)
        listener.bind(f"/proc/self/fd/{run_in}/socket")
        os.close(run_in)
    with os.scandir(place) as entries:
        found = {entry.name: entry for entry in entries}
    assert sorted(found) == ["directory", "fifo", "file", "link", "socket"]
    kinds = {
        name: (e.is_file(follow_symlinks=False), e.is_dir(follow_symlinks=False), e.is_symlink())
        for name, e in found.items()
    }
    assert kinds == {
        "file": (True, False, False),
        "directory": (False, True, False),
        "link": (False, False, True),
        "fifo": (False, False, False),
        "socket": (False, False, False),
    }
    assert modes.S_ISFIFO(os.lstat(place / "fifo").st_mode)
    assert modes.S_ISSOCK(os.lstat(place / "socket").st_mode)


@pytest.mark.parametrize("stat_first", [False, True])
def test_entries_carry_the_numbers_that_stat_tells(place: Path, stat_first: bool) -> None:
    (place / "d" / "below").mkdir(parents=True)
    (place / "d" / "file").touch()
    os.link(place / "d" / "file", place / "d" / "again")
    os.symlink("file", place / "d" / "link")

    def listed() -> dict[str, int]:
        with Stream(place / "d") as stream:
            return dict(iter(stream.read, None))

    def told() -> dict[str, int]:
        names = [".", "..", "below", "file", "again", "link"]
        return {name: os.lstat(f"{place}/d/{name}").st_ino for name in names}

    if stat_first:
        numbers = told()
        assert listed() == numbers
    else:
        numbers = listed()
        assert told() == numbers
    assert numbers["file"] == numbers["again"]
    assert len(set(numbers.values())) == 5


def test_numbers_last_as_long_as_their_objects(place: Path) -> None:
    names = fill(place, "file", 50)
    before = {name: (place / name).stat().st_ino for name in names}
    os.listdir(place)
    run("import os, sys; [os.stat(e) for e in os.scandir(sys.argv[1])]", place)
    assert {name: (place / name).stat().st_ino for name in names} == before


def test_a_directory_counts_its_subdirectories_as_the_host_does(place: Path) -> None:
    before = place.stat().st_nlink
    for number in range(3):
        (place / f"directory-{number}").mkdir()
    assert place.stat().st_nlink == before + 3
    (place / "directory-0").rmdir()
    assert place.stat().st_nlink == before + 2


def test_a_deleted_tree_is_gone(place: Path) -> None:
    for outer in range(10):
        for inner in range(10):
            (place / f"{outer}" / f"{inner}").mkdir(parents=True)
            (place / f"{outer}" / f"{inner}" / "file").write_text("content")
    for directory, below, files in os.walk(place, topdown=False):
        for name in files:
            os.unlink(os.path.join(directory, name))
        for name in below:
            os.rmdir(os.path.join(directory, name))
    assert eventually(lambda: os.listdir(place) == [])
