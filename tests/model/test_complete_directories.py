"""What a directory is known to lack: bounded, and never more than was read."""

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from osxfs_sim.model.complete_directories import CompleteDirectories
from osxfs_sim.mount.tree.inodes import Inode, InodeTable


def directories(count: int) -> list[Inode]:
    status = os.stat("/")
    return [Inode(number, status.st_dev, number, 0o040000, None, b"") for number in range(count)]


def known(sets: CompleteDirectories[Inode], directory: Inode, *names: bytes) -> None:
    sets.begin_reading(directory)
    sets.end_reading(directory, set(names))


def test_only_a_directory_that_was_read_lacks_anything() -> None:
    sets, (directory, other) = CompleteDirectories(), directories(2)
    assert not sets.known_absent(directory, b"missing")
    known(sets, directory, b"there")
    assert sets.known_absent(directory, b"missing")
    assert not sets.known_absent(directory, b"there")
    assert not sets.known_absent(other, b"missing")
    assert not sets.should_read(directory)
    assert sets.should_read(other)


def test_a_name_that_comes_is_no_longer_known_absent() -> None:
    sets, (directory,) = CompleteDirectories(), directories(1)
    known(sets, directory)
    sets.added(directory, b"new")
    assert not sets.known_absent(directory, b"new")


def test_a_name_that_comes_while_the_directory_is_read_is_not_missed() -> None:
    sets, (directory,) = CompleteDirectories(), directories(1)
    sets.begin_reading(directory)
    assert not sets.should_read(directory)
    sets.added(directory, b"new")
    sets.end_reading(directory, {b"old"})
    assert not sets.known_absent(directory, b"new")
    assert sets.known_absent(directory, b"other")


@pytest.mark.parametrize("loses", ["all", "it"])
def test_what_is_read_while_events_are_lost_is_not_kept(loses: str) -> None:
    sets, (directory,) = CompleteDirectories(), directories(1)
    sets.begin_reading(directory)
    if loses == "all":
        sets.clear()
    else:
        sets.forget(directory)
    sets.end_reading(directory, {b"old"})
    assert not sets.known_absent(directory, b"missing")
    assert len(sets) == 0


def test_a_reading_that_fails_leaves_nothing() -> None:
    sets, (directory,) = CompleteDirectories(), directories(1)
    sets.begin_reading(directory)
    sets.end_reading(directory, None)
    assert not sets.known_absent(directory, b"missing")
    assert sets.should_read(directory)


def test_too_large_a_directory_is_not_kept_nor_read_again() -> None:
    sets, (directory,) = CompleteDirectories(largest_directory=3), directories(1)
    known(sets, directory, b"1", b"2", b"3", b"4")
    assert not sets.known_absent(directory, b"missing")
    assert not sets.should_read(directory)


def test_the_least_recently_used_are_dropped_first() -> None:
    sets, (first, second, third) = CompleteDirectories(most_names=50), directories(3)
    names = [b"%d" % number for number in range(10)]
    known(sets, first, *names)
    known(sets, second, *names)
    assert sets.known_absent(first, b"missing")
    known(sets, third, *names)
    assert not sets.known_absent(second, b"missing")
    assert sets.known_absent(first, b"missing")
    assert sets.names <= 50


_STEPS = st.lists(
    st.tuples(
        st.sampled_from(["read", "add", "forget", "clear"]),
        st.integers(0, 3),
        st.integers(0, 20),
    ),
    max_size=60,
)


@given(_STEPS)
def test_it_never_lacks_what_is_there_and_counts_right(steps: list[tuple[str, int, int]]) -> None:
    sets, inodes = CompleteDirectories(most_names=60, largest_directory=12), directories(4)
    there: list[set[bytes]] = [set() for _ in inodes]
    for what, which, name in steps:
        match what:
            case "read":
                known(sets, inodes[which], *there[which])
            case "add":
                there[which].add(b"%d" % name)
                sets.added(inodes[which], b"%d" % name)
            case "forget":
                sets.forget(inodes[which])
            case "clear":
                sets.clear()
        for inode, names in zip(inodes, there, strict=True):
            assert not any(sets.known_absent(inode, present) for present in names)
    kept = [names for names in sets._sets.values() if names is not None]
    assert sets.names == sum(map(len, kept)) + 8 * len(sets)


def test_a_table_without_names_remembers_none(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    for remembers in (True, False):
        inodes = InodeTable(os.stat(tmp_path), tracks_dentries=remembers)
        below = inodes.find_or_add(inodes.root, b"below", os.stat(tmp_path / "below"))
        assert inodes.root.sent_dentry(b"below") is (below if remembers else None)
        below.nlookup = 1
        inodes.forget(below.number, 1)
        assert inodes.root.sent_dentry(b"below") is None
