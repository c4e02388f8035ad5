"""Ending cached answers: in order, in a thread of its own, and past what the kernel forgot."""

import errno
import os
import threading
from collections.abc import Iterator
from typing import Any

import pyfuse3
import pytest
from support.guests import eventually

from osxfs_sim.model.caching import Negative
from osxfs_sim.mount.events.invalidate import Invalidator
from osxfs_sim.mount.loop.notifications import (
    IncrementEpoch,
    InvalAttributes,
    InvalEntry,
    InvalPages,
)
from osxfs_sim.mount.requests.caching import Caching
from osxfs_sim.mount.tree.inodes import InodeTable
from osxfs_sim.mount.tree.spellings import ExactNames

NO_BACKING: Any = None


class FakeKernel:
    """What pyfuse3 was asked to do; *unknown* are the inodes that it says it does not know."""

    def __init__(self) -> None:
        self.asked: list[tuple[object, ...]] = []
        self.unknown: set[int] = set()
        self.arrives_with: dict[int, bytes] = {}
        self.broken: set[bytes] = set()

    def invalidate_inode(self, number: int, attributes_only: bool) -> None:
        self.asked.append(("inode", number, attributes_only))
        if number in self.unknown:
            raise OSError(errno.ENOENT, "no such inode")

    def invalidate_entry(self, directory: int, name: bytes) -> None:
        self.asked.append(("entry", directory, name))
        if name in self.broken:
            raise OSError(errno.EIO, "broken")
        for number, way in list(self.arrives_with.items()):
            if way == name:
                self.unknown.discard(number)


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> FakeKernel:
    kernel = FakeKernel()
    monkeypatch.setattr(pyfuse3, "invalidate_inode", kernel.invalidate_inode)
    monkeypatch.setattr(pyfuse3, "invalidate_entry", kernel.invalidate_entry)
    return kernel


@pytest.fixture
def invalidator(kernel: FakeKernel) -> Iterator[Invalidator]:
    assert kernel.asked == []
    invalidator = Invalidator()
    yield invalidator
    assert invalidator.stop()


def end(invalidator: Invalidator, *endings: object) -> None:
    """End these, and wait until it is done."""
    done = threading.Event()
    invalidator.invalidate(endings, done.set)
    assert done.wait(180)


def test_answers_are_invalidated_in_order_and_then_it_is_told(
    kernel: FakeKernel, invalidator: Invalidator
) -> None:
    told: list[int] = []
    done = threading.Event()
    entry = InvalEntry(1, b"name")
    invalidator.invalidate(
        [entry, InvalAttributes(1, None)], lambda: told.append(len(kernel.asked))
    )
    invalidator.invalidate([InvalPages(7, entry)], done.set)
    assert done.wait(180)
    assert kernel.asked == [("entry", 1, b"name"), ("inode", 1, True), ("inode", 7, False)]
    assert told == [2]
    assert (invalidator.entries, invalidator.attributes, invalidator.pages) == (1, 1, 1)
    assert invalidator.waiting == 0


def test_an_inode_that_a_reply_on_its_way_brings_is_invalidated_after_it(
    kernel: FakeKernel, invalidator: Invalidator
) -> None:
    kernel.unknown = {7}
    kernel.arrives_with = {7: b"name"}
    end(invalidator, InvalAttributes(7, InvalEntry(1, b"name")))
    assert kernel.asked == [("inode", 7, True), ("entry", 1, b"name"), ("inode", 7, True)]


def test_what_the_kernel_has_forgotten_is_no_trouble(
    kernel: FakeKernel, invalidator: Invalidator, caplog: pytest.LogCaptureFixture
) -> None:
    kernel.unknown = {7, 8}
    end(invalidator, InvalPages(7, InvalEntry(1, b"name")), InvalAttributes(8, None))
    assert kernel.asked[-1] == ("inode", 8, True)
    assert caplog.text == ""


def test_trouble_with_one_answer_does_not_keep_the_others(
    kernel: FakeKernel, invalidator: Invalidator, caplog: pytest.LogCaptureFixture
) -> None:
    kernel.broken = {b"broken"}
    end(invalidator, InvalEntry(1, b"broken"), InvalEntry(1, b"sound"))
    assert kernel.asked == [("entry", 1, b"broken"), ("entry", 1, b"sound")]
    assert "bug:" in caplog.text


def test_everything_is_one_call(invalidator: Invalidator) -> None:
    calls: list[str] = []

    def end_all() -> bool:
        calls.append("all")
        return True

    end(invalidator, IncrementEpoch(end_all))
    assert calls == ["all"]


@pytest.mark.starts_processes
def test_what_waits_when_it_stops_is_left(kernel: FakeKernel) -> None:
    invalidator = Invalidator()
    held, go_on = threading.Event(), threading.Event()

    def hold() -> bool:
        held.set()
        return go_on.wait(180)

    invalidator.invalidate([IncrementEpoch(hold), InvalEntry(1, b"left")], lambda: None)
    assert held.wait(180)
    stopping = threading.Thread(target=invalidator.stop)
    stopping.start()
    eventually(lambda: invalidator._stopping)
    go_on.set()
    stopping.join()
    assert kernel.asked == []


@pytest.mark.parametrize("can_end_all_names", [True, False])
def test_a_name_missing_in_the_root_is_cached_only_if_that_can_be_invalidated(
    can_end_all_names: bool,
) -> None:
    """Before Linux 6.16 there is no message that ends all names, the root's missing ones too."""
    status = os.stat("/")
    inodes = InodeTable(status, tracks_dentries=True)
    below = inodes.find_or_add(inodes.root, b"below", os.stat("/proc"))
    policy = Negative(1_000_000_000, 1_000_000_000)
    caching = Caching(policy, inodes.root, NO_BACKING, ExactNames(), None, None)
    caching.set_can_invalidate_root_names(can_end_all_names)
    assert (caching.negative_timeout_ns(inodes.root, b"missing") > 0) is can_end_all_names
    assert caching.negative_timeout_ns(below, b"missing") == 1_000_000_000
