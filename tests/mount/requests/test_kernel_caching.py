"""May the guest's kernel keep an answer, and for how long: each reason against it, one by one."""

import os
import stat
from types import SimpleNamespace
from typing import Any

import pytest

from osxfs_sim.model.caching import (
    UNCACHED,
    CacheTimeouts,
    Complete,
    Negative,
    is_ever_cached,
    negative_timeout_ns,
)
from osxfs_sim.model.complete_directories import CompleteDirectories
from osxfs_sim.mount.requests.caching import Caching
from osxfs_sim.mount.tree.inodes import Inode, InodeTable
from osxfs_sim.mount.tree.spellings import ExactNames

POLICY = Negative(5, negative_ns=7)
KEPT = CacheTimeouts(5, 5)


class Tree:
    """A root, and a directory in it."""

    def __init__(
        self, policy: Negative = POLICY, complete_directories: CompleteDirectories | None = None
    ) -> None:
        self.inodes = InodeTable(os.stat("/"), tracks_dentries=True)
        self.status = os.stat("/proc")
        self.below: Inode = self.inodes.find_or_add(self.inodes.root, b"below", self.status)
        backing: Any = SimpleNamespace(is_own=lambda inode: inode is self.inodes.root)
        self.caching = Caching(
            policy, self.inodes.root, backing, ExactNames(), complete_directories, overlaps=None
        )

    def entry(self) -> CacheTimeouts:
        return self.caching.entry_timeouts(self.below, b"f", b"f", self.status)


def test_where_nothing_speaks_against_it_the_policy_decides() -> None:
    tree = Tree()
    assert tree.entry() == KEPT
    assert tree.caching.attr_timeouts(tree.below, tree.status) == KEPT
    assert tree.caching.negative_timeout_ns(tree.below, b"f") == 7
    assert tree.caching.keep_cache(tree.below, tree.status)
    assert tree.caching.keep_cache_of_new(tree.below, tree.status)


def test_of_a_directory_that_is_not_watched_nothing_is_kept() -> None:
    tree = Tree()
    tree.below.watched = False
    assert tree.entry() == UNCACHED
    assert tree.caching.attr_timeouts(tree.below, tree.status) == UNCACHED
    assert tree.caching.negative_timeout_ns(tree.below, b"f") == 0
    assert not tree.caching.keep_cache(tree.below, tree.status)
    assert not tree.caching.keep_cache_of_new(tree.below, tree.status)


def test_of_what_the_host_has_moved_away_nothing_is_kept_and_of_the_root_it_is() -> None:
    tree = Tree()
    tree.below.parent = None
    assert tree.caching.attr_timeouts(tree.below, tree.status) == UNCACHED
    assert tree.caching.attr_timeouts(tree.inodes.root, tree.status) == KEPT


def test_a_negative_entry_is_kept_only_where_it_can_be_invalidated() -> None:
    tree = Tree()
    root = tree.inodes.root
    assert tree.caching.negative_timeout_ns(root, b"f") == 7
    tree.caching.set_can_invalidate_root_names(False)
    assert tree.caching.negative_timeout_ns(root, b"f") == 0
    assert tree.caching.negative_timeout_ns(tree.below, b"f") == 7
    tree.caching.set_volumes(frozenset({tree.below.number}))
    assert tree.caching.negative_timeout_ns(tree.below, b"f") == 0


def test_what_the_server_asks_of_itself_leaves_nothing_in_the_kernel() -> None:
    tree = Tree()
    with tree.caching.suspended():
        assert tree.entry() == UNCACHED
        assert tree.caching.negative_timeout_ns(tree.below, b"f") == 0
    assert tree.entry() == KEPT


def test_a_name_is_known_absent_once_all_others_are_known() -> None:
    sets = CompleteDirectories()
    tree = Tree(Complete(5, negative_ns=7), sets)
    tree.below.watched = True
    assert tree.caching.should_read_names(tree.below)
    assert not tree.caching.known_absent(tree.below, b"f")
    sets.begin_reading(tree.below)
    sets.end_reading(tree.below, {b"g"})
    assert tree.caching.known_absent(tree.below, b"f")
    assert not tree.caching.known_absent(tree.below, b"g")
    assert not tree.caching.should_read_names(tree.below)


@pytest.mark.parametrize("kind", [stat.S_IFIFO, stat.S_IFSOCK, stat.S_IFCHR, stat.S_IFBLK])
def test_of_pipes_sockets_and_devices_nothing_is_ever_kept(kind: int) -> None:
    assert not is_ever_cached(kind | 0o644)
    assert is_ever_cached(stat.S_IFREG | 0o644)


def test_a_policy_s_negative_entries_are_no_shorter_than_nothing() -> None:
    assert negative_timeout_ns(POLICY, b"f", 0, True) == 7
    assert negative_timeout_ns(POLICY, b"f", 0, False) == 0
    assert negative_timeout_ns(Negative(1, negative_ns=-1), b"f", 0, True) == 0
