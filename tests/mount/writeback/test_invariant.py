"""What ties the five places together where a pending change lives holds after each step.

writeback/__init__.py states it. Whatever is tried with support/unmounted.py is checked after each
step; here the host joins in, and a server that breaks one of its five parts is found out.
"""

import errno
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random
from typing import Any

import pytest
from support.both_sides import guest_steps, host_interferes, is_applied
from support.unmounted import Unmounted, unmounted

from osxfs_sim.mount.tree.inodes import Inode, InodeTable
from osxfs_sim.mount.tree.pending import Overlay
from osxfs_sim.mount.writeback import invariant, pending_state
from osxfs_sim.mount.writeback.journal import Journal
from osxfs_sim.mount.writeback.pending_descriptors import PendingDescriptors
from osxfs_sim.mount.writeback.pending_state import PendingState
from osxfs_sim.mount.writeback.room import HostRoom


@pytest.fixture
def source(tmp_path: Path) -> Path:
    source = tmp_path / "source"
    (source / "d").mkdir(parents=True)
    (source / "a").write_text("host")
    return source


@pytest.fixture
def guest(source: Path, tmp_path: Path) -> Iterator[Unmounted]:
    with unmounted(source, tmp_path / "state") as guest:
        yield guest


@pytest.mark.parametrize("seed", range(12))
def test_it_holds_whatever_guest_and_host_do(guest: Unmounted, source: Path, seed: int) -> None:
    draw, opened = Random(seed), list[int]()
    for _ in range(60):
        what = draw.random()
        if what < 0.6:
            guest_steps(guest, draw, opened)
        elif what < 0.85:
            is_applied(guest)
        else:
            host_interferes(source, draw)
        guest.check()
    guest.finish()
    assert not guest.write_back.changes.all()


@pytest.mark.parametrize("seed", range(12))
@pytest.mark.parametrize("place", ["room", "journal"])
def test_it_holds_where_a_change_is_refused_before_it_is_pending(
    guest: Unmounted, source: Path, place: str, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk of the host, or of the journal, whichever change meets it."""
    draw, opened = Random(seed), list[int]()
    refusals = 0

    def perhaps(method: Callable[..., None]) -> Callable[..., None]:
        def refusing(self: Any, *arguments: Any, **keywords: Any) -> None:
            nonlocal refusals
            if draw.random() < 0.5:
                refusals += 1
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            method(self, *arguments, **keywords)

        return refusing

    kind, name = {"room": (HostRoom, "check"), "journal": (Journal, "append")}[place]
    with monkeypatch.context() as patch:
        patch.setattr(kind, name, perhaps(getattr(kind, name)))
        for _ in range(150):
            if draw.random() < 0.8:
                guest_steps(guest, draw, opened)
            elif draw.random() < 0.5:
                is_applied(guest)
            else:
                host_interferes(source, draw)
            guest.check()
    assert refusals > 3
    guest.finish()
    assert not guest.write_back.changes.all()


def test_a_change_that_was_refused_leaves_nothing_that_a_later_one_is_judged_by(
    guest: Unmounted, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the host has written since then is no conflict."""

    def refused(*_: object, **__: object) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    guest.inode("a")
    with monkeypatch.context() as patch:
        patch.setattr(HostRoom, "check", refused)
        with pytest.raises(OSError, match="No space"):
            guest.set("a", size=1)
    (source / "a").write_text("by the host, longer than before")
    guest.set("a", size=2)
    guest.finish()
    assert (source / "a").read_text() == "by"
    assert guest.write_back.aside.count == 0
    assert not guest.write_back.report().lost_host_changes


# And it is found out where it does not hold


def test_list_and_journal_a_change_that_grows_only_in_the_list_is_found_out(
    guest: Unmounted, monkeypatch: pytest.MonkeyPatch
) -> None:
    guest.write("a", b"first")
    with monkeypatch.context() as patch:
        patch.setattr(Journal, "append_extension", lambda *_: None)
        with pytest.raises(AssertionError, match="the journal has"):
            guest.write("a", b"second", 5)
    (told,) = invariant.breaches(guest.write_back, guest.components.inodes)
    assert [told] == list(invariant.list_and_journal(guest.write_back))
    guest.write_back.journal.compact(guest.write_back.changes.all())
    guest.check()


def test_list_and_overlay_a_link_that_is_not_counted_is_found_out(
    guest: Unmounted, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(pending_state, "link_effects", lambda _: [])
        with pytest.raises(AssertionError, match=r"\(a\) has 0 links more, and 1 by the list"):
            guest.link("a", "b")
        assert list(
            invariant.list_and_overlay(guest.write_back, guest.components.inodes)
        ) == invariant.breaches(guest.write_back, guest.components.inodes)
        guest.write_back.finish()
    guest.check()


def test_overlay_and_data_bytes_that_nobody_needs_are_found_out(
    guest: Unmounted, monkeypatch: pytest.MonkeyPatch
) -> None:
    guest.write("a", b"guest")
    with monkeypatch.context() as patch:
        patch.setattr(PendingState, "free_written", lambda *_: None)
        with pytest.raises(
            AssertionError, match=r"the journal keeps \{0: 5\} bytes, needed are \{\}"
        ):
            guest.finish()
    (told,) = invariant.breaches(guest.write_back, guest.components.inodes)
    assert [told] == list(invariant.overlay_and_data(guest.write_back, guest.components.inodes))
    guest.write_back.journal.data.free(0, 5)
    guest.check()


def test_overlay_and_data_bytes_that_are_shown_and_not_kept_are_found_out(
    guest: Unmounted,
) -> None:
    guest.write("a", b"guest")
    overlay = guest.inode("a").overlay
    assert overlay is not None
    assert overlay.content is not None
    overlay.content.write(90, 7, 1_000)
    assert len(list(invariant.overlay_and_data(guest.write_back, guest.components.inodes))) == 1
    overlay.content.truncate(90)
    overlay.content.cuts.clear()
    guest.check()


def test_pending_and_table_an_object_that_was_forgotten_is_found_out(
    guest: Unmounted, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = guest.make("new")
    inodes = guest.components.inodes
    with monkeypatch.context() as patch:
        patch.setattr(InodeTable, "is_needed", lambda _, inode: inode.number == 1)
        inodes.forget(made.number, 1)
        told = list(invariant.pending_and_table(guest.write_back, inodes))
        assert f"make 1 is of {made.number} (new), not in the table" in told
    inodes._put(made)
    made.nlookup = 1
    guest.check()


def test_overlay_and_descriptors_one_of_another_object_is_found_out(
    guest: Unmounted, monkeypatch: pytest.MonkeyPatch
) -> None:
    def another(_: PendingDescriptors, __: Inode, overlay: Overlay, ___: int) -> None:
        overlay.fd = os.open(os.devnull, os.O_WRONLY | os.O_CLOEXEC)

    with monkeypatch.context() as patch:
        patch.setattr(PendingDescriptors, "keep", another)
        with pytest.raises(AssertionError, match=r"descriptor \d+ of \d+ \(a\) is of "):
            guest.write("a", b"guest")
    told = invariant.breaches(guest.write_back, guest.components.inodes)
    assert told == list(
        invariant.overlay_and_descriptors(guest.write_back, guest.components.inodes)
    )
    overlay = guest.inode("a").overlay
    assert overlay is not None
    os.close(overlay.fd)
    (closed,) = invariant.breaches(guest.write_back, guest.components.inodes)
    assert "is closed" in closed
    overlay.fd = -1
    guest.check()
