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
from osxfs_sim.mount.writeback.journal_reader import discard, read_journal, unfinished_journals
from osxfs_sim.mount.writeback.recovery_progress import RecoveryProgress
from osxfs_sim.mount.writeback.unwritten import describe, is_unwritten, unwritten_error

SOURCE = "/the/source"


@pytest.fixture
def table(tmp_path: Path) -> InodeTable:
    return InodeTable(os.stat(tmp_path))


def begin(state: Path, table: InodeTable) -> Journal:
    return open_journal(state, SOURCE, table.root)


def make(table: InodeTable, name: bytes, sequence: int) -> "Change":
    detail = MakeDetail(0o644, 0, 0, b"", 0)
    target = table.new_local_only(0o100000)
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
    assert unfinished_journals(tmp_path, SOURCE) == []
    assert journals_of(tmp_path, SOURCE) == []


def test_a_journal_in_use_is_nobody_elses(tmp_path: Path, table: InodeTable) -> None:
    journal = begin(tmp_path, table)
    journal.append(make(table, b"a", 1))
    assert unfinished_journals(tmp_path, SOURCE) == []
    assert journals_of(tmp_path, SOURCE) == [journal.directory]
    journal.close(keep=True)
    assert [len(left.pending) for left in unfinished_journals(tmp_path, SOURCE)] == [1]


@pytest.mark.parametrize("calls", range(6))
def test_who_was_killed_while_discarding_has_left_all_or_nothing(
    tmp_path: Path, table: InodeTable, calls: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = begin(tmp_path, table)
    journal.append(make(table, b"a", 1))
    journal.close(keep=True)
    (left,) = unfinished_journals(tmp_path, SOURCE)
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
    assert [len(left.pending) for left in unfinished_journals(tmp_path, SOURCE)] == (
        [] if calls else [1]
    )
    if calls:
        assert journals_of(tmp_path, SOURCE) == []


def test_how_far_it_was_is_read_back(tmp_path: Path, table: InodeTable) -> None:
    journal = begin(tmp_path, table)
    for sequence in range(1, 600):
        journal.append(make(table, b"%d" % sequence, sequence))
    for sequence in range(1, 300):
        journal.started(sequence)
        journal.done(sequence)
    journal.started(300)
    journal.close(keep=True)
    (left,) = unfinished_journals(tmp_path, SOURCE)
    assert (left.started, left.done, len(left.pending)) == (300, 299, 300)


def test_a_recovery_goes_on_where_another_was_killed(tmp_path: Path, table: InodeTable) -> None:
    journal = begin(tmp_path, table)
    made = make(table, b"a", 1)
    journal.append(made)
    journal.append(make(table, b"b", 2))
    journal.close(keep=True)
    with open(journal.directory / "changes", "r+b") as changes:
        changes.truncate(os.path.getsize(changes.name) - 3)  # nobody was told of b
    (left,) = unfinished_journals(tmp_path, SOURCE)
    assert left.torn
    assert len(left.pending) == 1
    noted = RecoveryProgress(left)
    noted.started(1)
    table.identify(made.target, 7, 42)
    noted.created(made.target.number, made.target)
    noted.close()
    (left,) = unfinished_journals(tmp_path, SOURCE)
    assert (left.started, left.done) == (1, 0)
    assert left.created == {made.target.number: (7, 42, None)}


def test_a_file_is_told_by_all_names_that_are_known(tmp_path: Path, table: InodeTable) -> None:
    journal = begin(tmp_path, table)
    file = table.new_local_only(0o100000)
    table.identify(file, 7, 42)
    file.add_name(table.root, b"one", 2)
    file.add_name(table.root, b"two", 2)
    for sequence in (1, 2):
        detail = OtherDetail(0)
        journal.append(Change(Kind.WRITE, file, 0, detail=detail, sequence=sequence))
    file.add_name(table.root, b"three", 3)
    journal.append(Change(Kind.WRITE, file, 0, detail=OtherDetail(0), sequence=3))
    journal.close(keep=True)
    (left,) = unfinished_journals(tmp_path, SOURCE)
    names = [each.name for each in left.records if hasattr(each, "host_number")]
    assert names == [b"two", b"one", b"three"], "the best known first"


def records_of(path: Path) -> list[tuple[int, int]]:
    """Where each record of a journal's file begins and ends."""
    data, found, at = path.read_bytes(), [], 0
    while at < len(data):
        end = at + 8 + int.from_bytes(data[at : at + 4], "little")
        found.append((at, end))
        at = end
    return found


def left_by_a_killed_server(state: Path, table: InodeTable) -> Path:
    journal = begin(state, table)
    for number, name in enumerate((b"a", b"b", b"c"), 1):
        journal.append(make(table, name, number))
    journal.close(keep=True)
    return journal.directory / "changes"


def test_one_that_is_cut_anywhere_is_not_taken_for_damaged(
    tmp_path: Path, table: InodeTable
) -> None:
    changes = left_by_a_killed_server(tmp_path, table)
    data = changes.read_bytes()
    for size in range(len(data)):
        changes.write_bytes(data[:size])
        assert not read_journal(changes.parent).damaged
    changes.write_bytes(bytes(len(data)))  # after a loss of power
    assert not read_journal(changes.parent).damaged


def test_one_whose_beginning_cannot_be_read_is_kept_and_told(
    tmp_path: Path, table: InodeTable
) -> None:
    changes = left_by_a_killed_server(tmp_path, table)
    data = changes.read_bytes()
    (_, first), *_ = records_of(changes)
    for place in range(first):
        changes.write_bytes(data[:place] + bytes([data[place] ^ 0x40]) + data[place + 1 :])
        with pytest.raises(ValueError, match="is damaged"):
            unfinished_journals(tmp_path, SOURCE)
    assert changes.exists()
    assert is_unwritten(changes.parent)
    assert "is damaged" in str(unwritten_error(changes.parent))


def test_of_one_that_is_damaged_further_on_the_rest_is_told(
    tmp_path: Path, table: InodeTable
) -> None:
    changes = left_by_a_killed_server(tmp_path, table)
    data, (at, end) = changes.read_bytes(), records_of(changes)[-2]
    changes.write_bytes(data[:at] + bytes(end - at) + data[end:])
    (left,) = unfinished_journals(tmp_path, SOURCE)
    assert left.changes
    assert "the journal is damaged" in describe(left)
