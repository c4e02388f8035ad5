"""The agreed state on the disk: whole or refused, and its journal as far as it is whole."""

import os

import pytest

from osxfs_sim.synchronize import archive as module
from osxfs_sim.synchronize.archive import Archive, Intent
from osxfs_sim.synchronize.errors import SyncError
from osxfs_sim.synchronize.snapshot import EMPTY, File, Link, directory, with_changes

TREE = directory({b"f": File(b"1", True, 7), b"\xff": directory({b"l": Link(b"f")})})
PUTS = [
    ((b"f",), None),
    ((b"d",), EMPTY),
    ((b"d", b"g"), File(b"2")),
    ((b"\xff", b"l"), Link(b"d")),
]
INTENT = Intent("1-1", "guest", (b"d", b"g"), b"Fold", b"")


class Crash(BaseException):
    """As if the process had been killed."""


@pytest.fixture
def opened(tmp_path):
    made = []

    def open_(step=module.no_step, host=b"/host"):
        for archive in made:
            archive.close()
        made.clear()
        made.append(Archive(os.fsencode(tmp_path), host, b"/copy", step))
        return made[-1]

    yield open_
    for archive in made:
        archive.close()


def saved(opened):
    archive = opened()
    assert archive.load() == (EMPTY, [], [])
    archive.checkpoint(TREE)
    for path, entry in PUTS:
        archive.put(path, entry)
    archive.intend(INTENT)
    return archive


def test_what_was_saved_and_done_since_is_there_again(opened):
    saved(opened)
    agreed, intents, unfinished = opened().load()
    assert unfinished == [INTENT]
    assert agreed == with_changes(TREE, PUTS)
    assert agreed.totals == with_changes(TREE, PUTS).totals
    assert intents == [INTENT]


def test_a_journal_of_before_the_machine_started_anew_counts_only_for_what_was_moved(
    opened, monkeypatch
):
    saved(opened)
    monkeypatch.setattr(module, "boot_id", lambda: "another")
    assert opened().load() == (TREE, [INTENT], [])


def test_a_torn_end_of_the_journal_is_left_out(opened, tmp_path):
    saved(opened)
    journal = tmp_path / "journal"
    whole = journal.read_bytes()
    states = [with_changes(TREE, PUTS[:count]) for count in range(len(PUTS) + 1)]
    for length in range(len(whole)):
        journal.write_bytes(whole[:length])
        agreed, *_ = opened().load()
        assert agreed in states


def test_a_damaged_state_is_refused_with_the_remedy(opened, tmp_path):
    saved(opened)
    path = tmp_path / "agreed"
    whole = path.read_bytes()
    for at in range(0, len(whole), 3):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        with pytest.raises(SyncError, match=r"remove .*agreed to start anew") as raised:
            opened().load()
        assert "\n" not in str(raised.value)
    path.write_bytes(whole.replace(b"agreed 1\n", b"agreed 2\n"))
    with pytest.raises(SyncError, match="of another version"):
        opened().load()
    path.unlink()
    assert opened().load() == (EMPTY, [], [])


def test_the_state_of_another_pair_is_refused(opened):
    saved(opened)
    with pytest.raises(SyncError, match="that of /host and /copy"):
        opened(host=b"/elsewhere").load()


@pytest.mark.parametrize("at", range(6))
def test_a_crash_while_saving_leaves_the_old_or_the_new_state(opened, at):
    saved(opened)
    steps = iter(range(100))

    def step(_):
        if next(steps) == at:
            raise Crash

    archive = opened(step)
    agreed, *_ = archive.load()
    new = directory({b"new": File(b"3")})
    crashed = True
    try:
        archive.checkpoint(new)
        crashed = False
    except Crash:
        pass
    assert crashed is (at < 4)
    found, *_ = opened().load()
    assert found == (agreed if at < 2 else new)


def test_a_record_that_does_not_fit_leaves_no_torn_one(opened, monkeypatch):
    archive = saved(opened)
    write = os.write
    monkeypatch.setattr(module.os, "write", lambda fd, content: write(fd, content[:5]))
    archive.put((b"lost",), EMPTY)
    with pytest.raises(OSError, match="No space"):
        archive.intend(INTENT)
    monkeypatch.undo()
    archive.put((b"kept",), EMPTY)
    agreed, *_ = opened().load()
    assert agreed == with_changes(TREE, [*PUTS, ((b"kept",), EMPTY)])
