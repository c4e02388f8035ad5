"""Host events under conditions that are rare and real: what was stale once, and must not be again.

An event is told some time after the change, and the guest may look in between:
each story here is of what it may learn then.
"""

import functools
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from support.live import LiveShare

NEGATIVE = {"profile": "osxfs-negative", "latency_ns": 0}
COMPLETE = {"profile": "osxfs-complete", "latency_ns": 0}
WATCHERS = ("fanotify", "inotify")
_LATE_NS = 300_000_000


def tell_late(live: LiveShare) -> None:
    """What the host does from now on is told only when the window ends that this opens."""
    live.settle()
    (live.source / ".first").touch()
    live.settle()


def test_a_negative_entry_is_invalidated_though_its_other_spelling_was_found_meanwhile(
    share,
) -> None:
    live = share(**NEGATIVE, names="apfs", event_latency_ns=_LATE_NS)
    assert not os.path.lexists(live.guest / "README")
    assert not os.path.lexists(live.guest / "license")
    tell_late(live)
    (live.source / "readme").touch()
    (live.source / "license").touch()
    assert os.path.lexists(live.guest / "readme")
    assert os.path.lexists(live.guest / "LICENSE")
    live.settle()
    assert os.path.lexists(live.guest / "README")
    assert os.path.lexists(live.guest / "license")


@pytest.fixture
def on_disk(share, tmp_path: Path) -> Callable[..., LiveShare]:
    """As share, of a tree where pytest keeps its files: often a disk, and not memory.

    It has one directory, which the guest does not know.
    """
    (tmp_path / "guest").mkdir()
    (tmp_path / "source" / "unseen").mkdir(parents=True)
    return functools.partial(share, tmp_path / "source", tmp_path / "guest")


def with_a_reused_number(live: LiveShare, made: str) -> Path:
    """Make directory *made* on the host, with the number of one that the guest knows.

    Where the file system gives numbers anew (ext4), and not for ever (tmpfs).
    """
    (live.source / "above" / "removed").mkdir(parents=True)
    (live.source / "above" / "removed" / "old").touch()
    live.settle()
    number = os.stat(live.guest / "above" / "removed").st_ino
    tell_late(live)
    (live.source / "above" / "removed" / "old").unlink()
    (live.source / "above" / "removed").rmdir()
    (live.source / "above" / made).mkdir()
    if os.stat(live.source / "above" / made).st_ino != number:
        pytest.skip("this file system gave the directory another number")
    return live.guest / "above" / made


@pytest.mark.parametrize("watcher", WATCHERS)
@pytest.mark.parametrize("made", ["another", "removed"])
def test_a_directory_with_the_number_of_a_removed_one_is_watched_anew(
    on_disk, watcher: str, made: str
) -> None:
    """Taken for the old one, what changes in it would never be heard of."""
    live = on_disk(**COMPLETE, host_events=watcher, event_latency_ns=_LATE_NS)
    guest = with_a_reused_number(live, made)
    assert os.listdir(guest) == []
    live.settle()
    assert not os.path.lexists(guest / "later")
    host = live.source / "above" / made
    (host / "later").write_text("made")
    live.settle()
    assert (guest / "later").read_text() == "made"
    (host / "later").write_text("and changed")
    live.settle()
    assert (guest / "later").read_text() == "and changed"


def test_a_directory_with_the_number_of_one_whose_end_was_lost_is_watched_anew(on_disk) -> None:
    live = on_disk(**COMPLETE, event_latency_ns=_LATE_NS)
    live.share.drop_events(rate=1)
    guest = with_a_reused_number(live, "removed")
    live.settle()
    live.share.drop_events()
    assert os.listdir(guest) == []
    assert not os.path.lexists(guest / "later")
    (live.source / "above" / "removed" / "later").touch()
    live.settle()
    assert os.path.lexists(guest / "later")


@pytest.mark.parametrize("watcher", WATCHERS)
@pytest.mark.parametrize("moved", ["where nobody looks", "out of the export", "nowhere"])
def test_an_open_file_that_the_host_moves_out_of_sight_is_not_cached(
    on_disk, watcher: str, moved: str
) -> None:
    """No event will tell what becomes of it: a log that was rotated and is written on."""
    live = on_disk(**COMPLETE, host_events=watcher)
    (live.source / "log").write_text("one")
    live.settle()
    fd = os.open(live.guest / "log", os.O_RDONLY)
    assert os.pread(fd, 100, 0) == b"one"
    with open(live.source / "log", "a") as writer:
        if moved == "where nobody looks":
            os.rename(live.source / "log", live.source / "unseen" / "log")
        elif moved == "out of the export":
            os.rename(live.source / "log", live.source.parent / "log")
        else:
            (live.source / "log").unlink()
        live.settle()
        assert os.pread(fd, 100, 0) == b"one"
        assert os.fstat(fd).st_size == 3
        writer.write(", two")
        writer.flush()
        assert os.fstat(fd).st_size == 8
        assert os.pread(fd, 100, 0) == b"one, two"
    os.close(fd)


def test_what_the_guest_has_unlinked_itself_and_holds_open_is_cached(share) -> None:
    live = share(**COMPLETE)
    with open(live.guest / "temporary", "w+b", buffering=0) as file:
        file.write(b"the guest's own")
        (live.guest / "temporary").unlink()
        os.fstat(file.fileno())
        live.reset()
        assert os.fstat(file.fileno()).st_size == len("the guest's own")
        assert live.requests().get("GETATTR", 0) == 0


def test_who_may_not_raise_events_says_so_once(share, field: Path) -> None:
    """With ownership host the guest's kernel checks what the server's user may, too."""
    # The other tests' state is root's.
    state = str(field / "state")
    live = share(**COMPLETE, ownership="host", user="nobody", state_directory=state)
    (live.source / "roots").mkdir(mode=0o755)
    looking = os.open(live.guest / "roots", os.O_RDONLY)
    for number in range(20):
        (live.source / "roots" / f"made-{number}").touch()
    live.settle()
    os.close(looking)
    assert live.status().events.not_raised >= 20
    assert Path(live.status().log).read_text().count("cannot raise create") == 1
    assert len(os.listdir(live.guest / "roots")) == 20
