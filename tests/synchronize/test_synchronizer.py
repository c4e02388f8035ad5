"""The thread: what it hears of, when it begins, and that it comes to rest."""

import contextlib
import errno
import os
import shutil
import threading
import time
from pathlib import Path
from random import Random

import pytest
from support.guests import eventually
from support.sync_trees import read_tree, write_tree

from osxfs_sim.model.synchronization import SyncMode, SyncSpec
from osxfs_sim.synchronize import SyncError, Synchronizer
from osxfs_sim.synchronize import synchronizer as module
from osxfs_sim.synchronize.engine import Engine
from osxfs_sim.synchronize.watch import Heard, SideWatcher

pytestmark = pytest.mark.starts_processes

LONG_NS = 3_600_000_000_000


@pytest.fixture
def start(tmp_path):
    started = []

    def start_(**spec):
        for name in ("host", "guest", "state"):
            (tmp_path / name).mkdir(exist_ok=True)
        paths = [tmp_path / name for name in ("host", "guest", "state")]
        # No rescan helps what is not heard of.
        made = Synchronizer(*paths, SyncSpec(**{"rescan_ns": LONG_NS, **spec}))
        started.append(made)
        made.start()
        return made

    yield start_
    for each in started:
        each.stop()


@pytest.fixture
def sides(tmp_path):
    made = tmp_path / "host", tmp_path / "guest"
    for path in made:
        path.mkdir()
    return made


def same(sides):
    return read_tree(sides[0]) == read_tree(sides[1])


def test_start_has_synchronized_once_when_it_returns(start, sides):
    write_tree(sides[0], {"a": "1", "d/b": "2"})
    start()
    assert same(sides)


def test_changes_of_both_sides_travel_by_themselves(start, sides):
    host, guest = sides
    write_tree(host, {"d/b": "2"})
    start()
    (guest / "d/new").mkdir()
    (guest / "d/new/f").write_text("1")
    eventually(lambda: (host / "d/new/f").exists())
    (host / "d/new/f").write_text("11")
    eventually(lambda: (guest / "d/new/f").read_text() == "11")
    (host / "d").rename(host / "e")
    eventually(lambda: same(sides) and (guest / "e/new/f").exists())
    (guest / "e/new/f").chmod(0o755)  # in a directory that was moved after it was watched
    eventually(lambda: os.access(host / "e/new/f", os.X_OK))


def test_its_own_changes_end(start, sides):
    sync = start()
    write_tree(sides[0], {f"d{number}/f": "1" for number in range(50)})
    eventually(lambda: same(sides))
    seen = []

    def is_still():
        seen.append(sync.status().cycles)
        time.sleep(0.1)
        return len(seen) > 3 and len(set(seen[-4:])) == 1

    eventually(is_still)


def test_a_flush_sees_what_changed_before_it(start, sides):
    sync = start(latency_ns=LONG_NS)
    for number in range(5):
        (sides[1] / "f").write_text(str(number))
        status = sync.flush()
        assert (sides[0] / "f").read_text() == str(number)
    assert status.changes_to_host >= 5
    assert status.phase == "watching"


@pytest.mark.usefixtures("sides")
def test_flushes_from_several_threads_all_come_back(start):
    sync = start()
    threads = [threading.Thread(target=sync.flush) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(180)
        assert not thread.is_alive()


def test_stop_synchronizes_a_last_time_and_lets_another_start(start, sides):
    sync = start(latency_ns=LONG_NS)
    (sides[0] / "f").write_text("1")
    sync.stop()
    sync.stop()
    assert same(sides)
    assert sync.status().phase == "stopped"
    with pytest.raises(SyncError, match="start it first"):
        sync.flush()
    (sides[1] / "f").unlink()
    start()
    assert read_tree(sides[0]) == {}  # a deletion: what was agreed upon is remembered


@pytest.mark.usefixtures("sides")
def test_a_second_start_is_refused(start):
    sync = start()
    with pytest.raises(SyncError, match="already"):
        sync.start()
    with pytest.raises(SyncError, match="stop the other"):
        start()
    sync.flush()


def test_a_halt_is_told_and_resumed(start, sides):
    host, guest = sides
    write_tree(host, {f"f{number}": "1" for number in range(20)})
    sync = start(latency_ns=500_000_000)  # emptied at once, whatever else the machine does
    for path in list(guest.iterdir()):
        path.unlink()
    eventually(lambda: sync.status().phase == "halted")
    with pytest.raises(SyncError, match=r"halted: .* is empty: put them back"):
        sync.flush()
    assert len(list(host.iterdir())) == 20
    sync.resume()
    eventually(lambda: sync.status().halted is None)
    with pytest.raises(SyncError, match="not halted"):
        sync.resume()
    assert same(sides)
    (host / "new").write_text("1")
    eventually(lambda: (guest / "new").exists())


def test_lost_events_are_made_good_by_looking_at_everything(start, sides, monkeypatch):
    def forgetful(self, heard):
        if real(self, Heard()):
            heard.is_lost = True
            return True
        return False

    real = SideWatcher.read_into
    monkeypatch.setattr(SideWatcher, "read_into", forgetful)
    start()
    write_tree(sides[0], {"d/f": "1"})
    eventually(lambda: same(sides))


@pytest.mark.parametrize("missing", ["inotify", "watches"])
def test_without_inotify_it_looks_again_and_again(start, sides, monkeypatch, missing):
    def refuse(*_):
        raise OSError(errno.EMFILE, "no more")

    def unwatched(self, *_):
        self.refused += 1

    monkeypatch.setattr(module, "_POLLING_NS", 50_000_000)
    if missing == "inotify":
        monkeypatch.setattr(module, "SideWatcher", refuse)
    else:
        monkeypatch.setattr(SideWatcher, "follow", unwatched)
    sync = start()
    assert sync.status().watching == "polling"
    write_tree(sides[1], {"d/f": "1"})
    eventually(lambda: same(sides))


def test_endless_churn_does_not_put_a_cycle_off_for_ever(start, sides):
    sync = start(latency_ns=10_000_000)
    stop = threading.Event()

    def churn():
        number = 0
        while not stop.wait(0.001):
            number += 1
            (sides[0] / "churn").write_text(str(number))

    thread = threading.Thread(target=churn)
    thread.start()
    try:
        (sides[0] / "f").write_text("1")
        eventually(lambda: (sides[1] / "f").exists())
    finally:
        stop.set()
        thread.join()
    sync.flush()
    assert same(sides)


def test_a_state_that_cannot_be_saved_is_told(start, sides, monkeypatch):
    sync = start()

    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as context:
        context.setattr(Engine, "checkpoint", full)
        (sides[0] / "f").write_text("1")
        sync.flush()
        eventually(lambda: sync.status().problems_total == 1)
        assert "cannot be saved" in sync.status().problems[0].why
    sync.flush()
    eventually(lambda: sync.status().problems_total == 0)


@pytest.mark.usefixtures("sides")
def test_a_bug_halts_instead_of_ending_in_silence(start, monkeypatch):
    sync = start()

    def broken(*_):
        raise ZeroDivisionError("surprise")

    with monkeypatch.context() as context:
        context.setattr(Engine, "cycle", broken)
        with pytest.raises(SyncError, match="surprise"):
            sync.flush()
    sync.resume()
    eventually(lambda: sync.status().phase == "watching")


def test_a_state_directory_that_is_missing_is_one_line(tmp_path, sides):
    with pytest.raises(SyncError, match="missing: No such file") as raised:
        Synchronizer(*sides, Path(tmp_path / "missing"), SyncSpec()).start()
    assert "\n" not in str(raised.value)


def scribble(root, seed, count):
    """Random changes of one side, as fast as they go; names that the other has too."""
    random = Random(seed)
    for number in range(count):
        path = root / "/".join(random.choice("abc") for _ in range(random.randint(1, 3)))
        with contextlib.suppress(OSError):
            match random.randrange(6):
                case 0 | 1:
                    path.parent.mkdir(parents=True, exist_ok=True)
                    path.write_text(f"{seed} {number}")
                case 2:
                    path.mkdir(parents=True)
                case 3:
                    shutil.rmtree(path) if path.is_dir() else path.unlink()
                case 4:
                    path.rename(root / random.choice("abc") / random.choice("abc"))
                case 5:
                    path.chmod(path.stat().st_mode ^ 0o111)


@pytest.mark.parametrize("mode", SyncMode)
def test_two_that_scribble_at_once_agree_in_the_end(start, sides, mode):
    """All of it at once: threads, events, races; only what is promised at rest is asked."""
    sync = start(mode=mode, latency_ns=1_000_000)
    threads = [
        threading.Thread(target=scribble, args=(root, seed, 1_500))
        for seed, root in enumerate(sides)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    def agree():
        status = sync.status()
        if status.phase == "halted":  # a side was empty for a moment
            sync.resume()
        conflicts = [Path(found.path) for found in status.conflicts]
        host, guest = (
            {
                path: entry
                for path, entry in read_tree(side).items()
                if not any(Path(path).is_relative_to(conflict) for conflict in conflicts)
            }
            for side in sides
        )
        if mode is SyncMode.ONE_WAY_SAFE:
            guest = {path: guest.get(path) for path in host}
        return host == guest and not status.problems and status.phase == "watching"

    # No flush and no rescan: what has not been heard of does not come any more.
    eventually(agree)
    # And it stays so: once the synchronizer, which may have been at work still, is done.
    sync.flush()
    eventually(agree)
    before = [read_tree(side) for side in sides]
    sync.flush()
    assert [read_tree(side) for side in sides] == before
