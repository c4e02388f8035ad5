"""The agreed state on the disk: whole or refused, and its journal as far as it is whole."""

import os

import pytest

from osxfs_sim.synchronize import archive as module
from osxfs_sim.synchronize.archive import EVERYTHING, Archive, Intent, Loaded
from osxfs_sim.synchronize.errors import SyncError
from osxfs_sim.synchronize.snapshot import EMPTY, File, Known, Link, at, directory, with_changes

KNOWN = (Known(b"id", 0o044), Known(b"di", 0, True))
TREE = directory(
    {b"f": File(b"1", True, 7, known=KNOWN), b"\xff": directory({b"l": Link(b"f", known=KNOWN)})},
    known=KNOWN,
)
PUTS = [
    ((b"f",), None),
    ((b"d",), EMPTY),
    ((b"d", b"g"), File(b"2")),
    ((b"\xff", b"l"), Link(b"d")),
]
INTENT = Intent("1-1", "guest", (b"d", b"g"), b"Fold", b"", b"one")
NOTHING = Loaded(EMPTY, [], [], frozenset())


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
    assert archive.load() == NOTHING
    archive.checkpoint(TREE)
    for path, entry in PUTS:
        archive.put(path, entry)
    archive.intend(INTENT)
    return archive


def test_what_was_saved_and_done_since_is_there_again(opened):
    saved(opened)
    loaded = opened().load()
    assert loaded.unfinished == [INTENT]
    assert loaded.agreed == with_changes(TREE, PUTS)
    assert loaded.agreed.totals == with_changes(TREE, PUTS).totals
    assert loaded.intents == [INTENT]
    assert loaded.doubts == frozenset()


def test_which_object_it_was_is_there_again(opened):
    archive = saved(opened)
    known = (None, Known(b"new", 0o055))
    archive.put((b"d", b"g"), File(b"2", known=known))
    archive.put((b"\xff",), directory({}, known=known))
    agreed = opened().load().agreed
    assert agreed.known == KNOWN
    found = {path: at(agreed, path) for path in ((b"d", b"g"), (b"\xff",))}
    assert [entry.known for entry in found.values()] == [known, known]


def test_doubts_outlast_a_second_crash_and_end_with_the_next_save(opened):
    archive = saved(opened)
    doubts = frozenset({(b"d", b"g"), (b"f",)})
    archive.checkpoint(TREE, doubts)
    assert opened().load().doubts == doubts
    archive = opened()
    archive.load()
    archive.checkpoint(TREE)
    assert opened().load().doubts == frozenset()


def test_a_journal_of_before_the_machine_started_anew_counts_only_for_what_was_moved(
    opened, monkeypatch
):
    saved(opened)
    monkeypatch.setattr(module, "boot_id", lambda: "another")
    assert opened().load() == Loaded(TREE, [INTENT], [], EVERYTHING)


def test_a_journal_that_is_missing_leaves_everything_in_doubt(opened, tmp_path):
    saved(opened)
    (tmp_path / "journal").unlink()
    assert opened().load() == Loaded(TREE, [], [], EVERYTHING)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives directories away")
def test_a_state_that_is_another_users_is_refused_and_ones_own_closed(tmp_path):
    state = tmp_path / "state"
    state.mkdir(0o755)
    Archive(os.fsencode(state), b"/host", b"/copy").close()
    assert state.stat().st_mode & 0o777 == 0o700
    os.chown(state, 1234, 1234)
    with pytest.raises(SyncError, match="belongs to another user: choose another"):
        Archive(os.fsencode(state), b"/host", b"/copy")


def test_a_torn_end_of_the_journal_is_left_out(opened, tmp_path):
    saved(opened)
    journal = tmp_path / "journal"
    whole = journal.read_bytes()
    states = [with_changes(TREE, PUTS[:count]) for count in range(len(PUTS) + 1)]
    for length in range(len(whole)):
        journal.write_bytes(whole[:length])
        agreed = opened().load().agreed
        assert agreed in states


def test_a_damaged_state_is_refused_with_the_remedy(opened, tmp_path):
    saved(opened)
    path = tmp_path / "agreed"
    whole = path.read_bytes()
    for place in range(0, len(whole), 3):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        with pytest.raises(SyncError, match=r"remove .*agreed to start anew") as raised:
            opened().load()
        assert "\n" not in str(raised.value)
    path.write_bytes(whole.replace(b"agreed 2\n", b"agreed 3\n"))
    with pytest.raises(SyncError, match="of another version"):
        opened().load()
    path.unlink()
    assert opened().load() == NOTHING


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
    agreed = archive.load().agreed
    new = directory({b"new": File(b"3")})
    crashed = True
    try:
        archive.checkpoint(new)
        crashed = False
    except Crash:
        pass
    assert crashed is (at < 4)
    found = opened().load().agreed
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
    agreed = opened().load().agreed
    assert agreed == with_changes(TREE, [*PUTS, ((b"kept",), EMPTY)])
