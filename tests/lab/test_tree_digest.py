"""Two trees that differ in anything but times differ in their manifests, and the first says how."""

import os
from collections.abc import Callable
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from osxfs_sim.lab.tree_digest import (
    TreeEntry,
    entries_of,
    first_difference,
    read_manifest,
    write_manifest,
)

ALL = (PurePosixPath("."),)


def plant(tree: Path) -> Path:
    (tree / "inner/deep").mkdir(parents=True)
    (tree / "inner/deep/word").write_text("hello")
    (tree / "inner-most").write_text("sorts between inner and inner/deep, as bytes")
    (tree / "link").symlink_to("inner/deep")
    (tree / "log.txt").write_text("x")
    for path in (tree, tree / "inner", tree / "inner/deep"):
        path.chmod(0o755)
    (tree / "inner/deep/word").chmod(0o644)
    return tree


def relink(tree: Path) -> None:
    (tree / "link").unlink()
    (tree / "link").symlink_to("inner")


def to_directory(tree: Path) -> None:
    (tree / "log.txt").unlink()
    (tree / "log.txt").mkdir()


def difference(one: Path, other: Path, *ignored: str) -> str:
    return first_difference(entries_of(one, ALL, ignored), entries_of(other, ALL, ignored))


def test_a_copy_is_the_same_whatever_its_times(tmp_path: Path) -> None:
    one, other = plant(tmp_path / "one"), plant(tmp_path / "other")
    os.utime(other / "inner/deep/word", (1, 1))
    assert difference(one, other) == ""


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda tree: (tree / "inner/deep/word").write_text("hallo"), "word has another content"),
        (lambda tree: (tree / "inner/deep/word").write_text("hell"), "word has 4 bytes, not 5"),
        (lambda tree: (tree / "inner/deep/word").chmod(0o755), "word has mode 755, not 644"),
        (lambda tree: (tree / "inner").chmod(0o700), "inner has mode 700, not 755"),
        (lambda tree: (tree / "inner/deep/word").unlink(), "inner/deep/word is missing"),
        (lambda tree: (tree / "log.txt").unlink(), "log.txt is missing"),
        (lambda tree: (tree / "inner/zoo").touch(), "inner/zoo should not be there"),
        (lambda tree: (tree / "zoo").touch(), "zoo should not be there"),
        (lambda tree: (tree / "a\nb").touch(), r"a\nb should not be there"),
        (relink, "link leads to 'inner', not to 'inner/deep'"),
        (to_directory, "log.txt is a directory, not a file"),
    ],
)
def test_every_kind_of_difference_is_found_and_said(
    tmp_path: Path, change: Callable[[Path], object], said: str
) -> None:
    one, other = plant(tmp_path / "one"), plant(tmp_path / "other")
    change(other)
    assert difference(one, other).endswith(said)


def test_what_is_ignored_may_differ_by_its_name_or_by_its_path(tmp_path: Path) -> None:
    one, other = plant(tmp_path / "one"), plant(tmp_path / "other")
    (other / "log.txt").unlink()
    (other / "inner/deep/word").write_text("goodbye")
    assert difference(one, other, "*.txt", "inner/deep") == ""
    assert difference(one, other, "*.txt") == "inner/deep/word has 7 bytes, not 5"


def test_only_the_parts_that_are_asked_for_are_looked_at(tmp_path: Path) -> None:
    tree = plant(tmp_path / "one")
    parts = [PurePosixPath(part) for part in ("link", "inner/deep", "inner", "gone")]
    paths = [entry.path for entry in entries_of(tree, parts)]
    assert paths == ["inner", "inner/deep", "inner/deep/word", "link"]


def test_a_part_that_something_is_mounted_over_is_read_where_it_really_is(tmp_path: Path) -> None:
    one, other = plant(tmp_path / "one"), plant(tmp_path / "other")
    (other / "inner").rename(tmp_path / "moved")
    (other / "inner").mkdir()
    elsewhere = {PurePosixPath("inner"): tmp_path / "moved"}
    for parts in (ALL, (PurePosixPath("inner/deep"),)):
        found = entries_of(other, parts, elsewhere=elsewhere)
        assert first_difference(entries_of(one, parts), found) == ""


def test_a_manifest_is_read_back_as_it_was_also_names_that_are_no_text(tmp_path: Path) -> None:
    tree = plant(tmp_path / "one")
    (tree / os.fsdecode(b"\xff\n")).touch()
    entries = list(entries_of(tree, ALL))
    digest = write_manifest(entries, tmp_path / "manifest")
    assert list(read_manifest(tmp_path / "manifest")) == entries
    assert write_manifest(entries, tmp_path / "again") == digest
    assert write_manifest(entries[1:], tmp_path / "fewer") != digest


PATHS = st.lists(st.sampled_from(["a", "b", "a-b", "é"]), min_size=1, max_size=3).map("/".join)
TREES = st.dictionaries(PATHS, st.sampled_from(["x", "y"])).map(
    lambda tree: [
        TreeEntry(path, "file", 0o644, 1, tree[path])
        for path in sorted(tree, key=lambda path: path.split("/"))
    ]
)


@given(TREES, TREES)
def test_nothing_is_said_exactly_where_two_are_equal(
    one: list[TreeEntry], other: list[TreeEntry]
) -> None:
    assert (first_difference(one, other) == "") == (one == other)
    if one != other:
        differing = {entry.path for entry in set(one) ^ set(other)}
        first = min(differing, key=lambda path: path.split("/"))
        assert first_difference(one, other).startswith(first)
