"""Changes in, effects out: the host writer needs nothing of the server but what it is told.

It runs here in a process that cannot import pyfuse3 (support/writer_process.py), with a tree of
its own. What the server knows of the host afterwards is what the effects say, and no more; and the
process may be killed at any moment: another makes the same change again.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from random import Random
from typing import Any

import pytest
from support.both_sides import guest_steps, host_interferes, is_applied
from support.unmounted import Unmounted, tree_of, unmounted
from support.writer_process import MODULE, ProcessWriter

from osxfs_sim.mount.server.without_fuse import BLOCKED
from osxfs_sim.mount.writeback.effects import (
    Created,
    Effect,
    Linked,
    Moved,
    NameLost,
    Opened,
    Seen,
)

pytestmark = pytest.mark.starts_processes


@pytest.fixture(autouse=True)
def finds_its_modules(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).parents[2]))


def furnished(base: Path) -> Path:
    source = base / "source"
    (source / "d").mkdir(parents=True)
    (source / "a").write_text("host")
    return source


def written_apart(guest: Unmounted, module: str = MODULE) -> ProcessWriter:
    """From now on the changes of *guest* are made by another process."""
    writer = ProcessWriter(
        *(guest.components.inodes.root.path_fd, guest.state),
        *(guest.write_back.journal.data.fd, guest.write_back.aside._effects, module),
    )
    guest.write_back.writer = writer  # type: ignore[assignment]
    return writer


@contextmanager
def apart(base: Path, module: str = MODULE) -> Iterator[tuple[Unmounted, ProcessWriter]]:
    """A share of a small tree whose changes another process makes."""
    with unmounted(furnished(base), base / "state") as guest:
        writer = written_apart(guest, module)
        yield guest, writer
        guest.finish()
        writer.close()


def worked_at_random(guest: Unmounted, seed: int) -> None:
    """The guest makes changes, and the host its own."""
    draw, opened = Random(seed), list[int]()
    for _ in range(60):
        what = draw.random()
        if what < 0.6:
            guest_steps(guest, draw, opened)
        elif what < 0.85:
            is_applied(guest)
        else:
            host_interferes(guest.source, draw)
        guest.check()
    guest.finish()


def guest_tree(guest: Unmounted) -> dict[str, str | None] | int:
    """As it has it; or the errno, where the host has changed since it looked."""
    try:
        return guest.tree()
    except OSError as error:
        return error.errno or 0


def outcome(guest: Unmounted) -> dict[str, Any]:
    """What can be told apart afterwards: both trees, and what was counted."""
    write_back = guest.write_back
    return {
        "host": tree_of(guest.source),
        "guest": guest_tree(guest),
        "lost": (write_back.conflicts.lost, [*write_back.conflicts.lost_paths]),
        "kept": (write_back.conflicts.kept, [*write_back.conflicts.kept_paths]),
        "aside": [asdict(each) for each in write_back.aside.latest],
        "crossed": write_back.changes.crossed,
    }


@pytest.mark.parametrize("seed", range(6))
def test_it_makes_no_difference_in_which_process_a_change_is_made(
    tmp_path: Path, seed: int
) -> None:
    with unmounted(furnished(tmp_path / "one"), tmp_path / "one/state") as guest:
        worked_at_random(guest, seed)
        expected = outcome(guest)
    with apart(tmp_path / "other") as (guest, writer):
        worked_at_random(guest, seed)
        assert outcome(guest) == expected
        assert writer.starts == 1


def test_it_cannot_import_what_a_mount_needs(tmp_path: Path) -> None:
    with apart(tmp_path, "support.curious_writer") as (guest, _):
        guest.make("new")
        guest.finish()
    assert (tmp_path / "source/new").read_text() == ""
    assert (tmp_path / "state/refused").read_text().split() == [*BLOCKED]


# A guest that makes every kind of change, alone

WORKED = {
    "d": None,
    "d/a": "gue!",
    "new": None,
    "new/also": "content",
    "new/file": "content",
    "old": "../a",
}


def work(guest: Unmounted) -> None:
    """The host has WORKED afterwards."""
    guest.mkdir("new")
    guest.make("new/file")
    handle = guest.open("new/file")
    guest.write("new/file", b"content")
    guest.link("new/file", "new/also")
    guest.symlink("new/link", "../a")
    guest.mkdir("gone")
    guest.make("replaced")
    guest.write("a", b"guest")
    guest.set("a", size=3)
    guest.write("a", b"!", 3)
    guest.finish()
    assert os.pread(handle, 100, 0) == b"content", "what the guest has open is the host's file"
    guest.rename("new/link", "old")
    guest.rename("a", "d/a")
    guest.rename("replaced", "b")
    guest.make("replaced")
    guest.rename("b", "replaced")
    guest.unlink("replaced")
    guest.rmdir("gone")
    guest.finish()


def unknown(guest: Unmounted) -> list[str]:
    """Where the server does not know the host as it is, nobody else having changed that."""
    wrong = []
    for inode in guest.components.inodes.all():
        if not inode.host_number:
            continue  # it never crossed
        try:
            status = guest.components.backing.status(inode)
        except OSError as error:
            wrong.append(f"{inode.name!r} is not reached: {error}")
            continue
        ways = [*inode.places()]
        if inode.device != -1 and not inode.is_directory and len(ways) != status.st_nlink:
            wrong.append(f"{inode.name!r} has {status.st_nlink} names, {len(ways)} are known")
        for parent, name in ways if inode.device != -1 else ():
            dir_fd = guest.components.backing.directory_fd(parent)
            try:
                there = os.stat(name, dir_fd=dir_fd, follow_symlinks=False)
            except FileNotFoundError:
                wrong.append(f"{name!r} is not there")
            else:
                if not inode.is_same(there):
                    wrong.append(f"{name!r} is something else")
    return wrong


def worked_and_judged(guest: Unmounted) -> None:
    """After work() the host has it all, and the server knows the host."""
    work(guest)
    assert tree_of(guest.source) == WORKED
    assert guest.tree() == WORKED
    assert unknown(guest) == []
    conflicts = guest.write_back.conflicts
    assert (conflicts.lost, conflicts.kept) == (0, 0)


def test_after_it_has_told_its_effects_the_server_knows_the_host(tmp_path: Path) -> None:
    with apart(tmp_path) as (guest, _):
        worked_and_judged(guest)


@pytest.mark.parametrize("left_out", [Created, NameLost, Moved, Linked, Opened, Seen])
def test_an_effect_that_is_not_told_is_found_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, left_out: type[Any]
) -> None:
    guest = Unmounted(furnished(tmp_path), tmp_path / "state")
    writer = written_apart(guest)
    apply = writer.effects.apply

    def hard_of_hearing(effect: Effect) -> None:
        if not isinstance(effect, left_out):
            apply(effect)
        elif isinstance(effect, NameLost | Opened):
            os.close(effect.fd)

    monkeypatch.setattr(writer.effects, "apply", hard_of_hearing)
    try:
        with pytest.raises((AssertionError, OSError)):
            worked_and_judged(guest)
    finally:
        writer.close()
        guest.crash()


# Its end

STEPS = [0, 3, 9, 14, 22, 31, 45, 60, 80]


@pytest.mark.parametrize(
    "step",
    [pytest.param(step, marks=[] if step in STEPS else pytest.mark.slow) for step in range(200)],
)
def test_wherever_it_is_killed_another_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    died = tmp_path / "died"
    monkeypatch.setenv("WRITER_DIES", f"{step}:{died}")
    with apart(tmp_path, "support.dying_writer") as (guest, writer):
        work(guest)
        assert tree_of(guest.source) == WORKED
        assert guest.tree() == WORKED
        assert guest.write_back.conflicts.lost == 0
        assert writer.starts == 1 + died.exists()
        assert died.exists() or step not in STEPS
