"""What is left of a journal whose server was killed when it had just begun or was about to end."""

import contextlib
import os
from pathlib import Path

import pytest

from osxfs_sim.model.write_back import Change, Kind
from osxfs_sim.mount.tree.inodes import InodeTable
from osxfs_sim.mount.writeback.journal import Journal, open_journal
from osxfs_sim.mount.writeback.journal_directory import journals_of
from osxfs_sim.mount.writeback.journal_format import MakeDetail, OtherDetail
from osxfs_sim.mount.writeback.journal_reader import discard, leftovers
from osxfs_sim.mount.writeback.recovery_progress import Continuation

SOURCE = "/the/source"


@pytest.fixture
def table(tmp_path: Path) -> InodeTable:
    return InodeTable(os.stat(tmp_path))


def begin(state: Path, table: InodeTable) -> Journal:
    return open_journal(state, SOURCE, table.root)


def make(table: InodeTable, name: bytes, sequence: int) -> "Change":
    detail = MakeDetail(0o644, 0, 0, b"", 0)
    target = table.unmade(0o100000)
    return Change(Kind.MAKE, target, 0, table.root, name, detail=detail, sequence=sequence)


@pytest.mark.parametrize("has", ["nothing", "lock", "changes"])
def test_who_was_killed_when_it_had_hardly_begun_has_left_nothing(
    tmp_path: Path, table: InodeTable, has: str
) -> None:
    directory = begin(tmp_path, table).directory
    os.rename(directory, tmp_path / "running")  # so that its lock is somebody else's
    directory.mkdir()
    if has != "nothing":
        (directory / "lock").touch()
    if has == "changes":
        (directory / "changes").touch()
    assert leftovers(tmp_path, SOURCE) == []
    assert journals_of(tmp_path, SOURCE) == []


def test_a_journal_in_use_is_nobody_elses(tmp_path: Path, table: InodeTable) -> None:
    journal = begin(tmp_path, table)
    journal.note(make(table, b"a", 1))
    assert leftovers(tmp_path, SOURCE) == []
    assert journals_of(tmp_path, SOURCE) == [journal.directory]
    journal.close(keep=True)
    assert [len(left.pending) for left in leftovers(tmp_path, SOURCE)] == [1]


@pytest.mark.parametrize("calls", range(6))
def test_who_was_killed_while_discarding_has_left_all_or_nothing(
    tmp_path: Path, table: InodeTable, calls: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = begin(tmp_path, table)
    journal.note(make(table, b"a", 1))
    journal.close(keep=True)
    (left,) = leftovers(tmp_path, SOURCE)
    done = 0

    def killed_after(remove):
        def removing(*arguments, **keywords):
            nonlocal done
            if done == calls:
                raise KeyboardInterrupt
            done += 1
            remove(*arguments, **keywords)

        return removing

    with monkeypatch.context() as patch:
        patch.setattr(os, "unlink", killed_after(os.unlink))
        patch.setattr(os, "rmdir", killed_after(os.rmdir))
        with contextlib.suppress(KeyboardInterrupt):
            discard(left)
    assert [len(left.pending) for left in leftovers(tmp_path, SOURCE)] == ([] if calls else [1])
    if calls:
        assert journals_of(tmp_path, SOURCE) == []


def test_how_far_it_was_is_read_back(tmp_path: Path, table: InodeTable) -> None:
    journal = begin(tmp_path, table)
    for sequence in range(1, 600):
        journal.note(make(table, b"%d" % sequence, sequence))
    for sequence in range(1, 300):
        journal.started(sequence)
        journal.done(sequence)
    journal.started(300)
    journal.close(keep=True)
    (left,) = leftovers(tmp_path, SOURCE)
    assert (left.started, left.done, len(left.pending)) == (300, 299, 300)


def test_a_recovery_goes_on_where_another_was_killed(tmp_path: Path, table: InodeTable) -> None:
    journal = begin(tmp_path, table)
    made = make(table, b"a", 1)
    journal.note(made)
    journal.note(make(table, b"b", 2))
    journal.close(keep=True)
    with open(journal.directory / "changes", "r+b") as changes:
        changes.truncate(os.path.getsize(changes.name) - 3)  # nobody was told of b
    (left,) = leftovers(tmp_path, SOURCE)
    assert left.torn
    assert len(left.pending) == 1
    noted = Continuation(left)
    noted.started(1)
    table.identify(made.target, 7, 42)
    noted.arrived(made.target.number, made.target)
    noted.close()
    (left,) = leftovers(tmp_path, SOURCE)
    assert (left.started, left.done) == (1, 0)
    assert left.arrived == {made.target.number: (7, 42, None)}


def test_a_file_is_told_by_all_names_that_are_known(tmp_path: Path, table: InodeTable) -> None:
    journal = begin(tmp_path, table)
    file = table.unmade(0o100000)
    table.identify(file, 7, 42)
    file.add_name(table.root, b"one", 2)
    file.add_name(table.root, b"two", 2)
    for sequence in (1, 2):
        detail = OtherDetail(0)
        journal.note(Change(Kind.WRITE, file, 0, detail=detail, sequence=sequence))
    file.add_name(table.root, b"three", 3)
    journal.note(Change(Kind.WRITE, file, 0, detail=OtherDetail(0), sequence=3))
    journal.close(keep=True)
    (left,) = leftovers(tmp_path, SOURCE)
    names = [each.name for each in left.story if hasattr(each, "host_number")]
    assert names == [b"two", b"one", b"three"], "the best known first"
