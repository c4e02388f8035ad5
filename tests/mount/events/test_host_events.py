"""Host changes reach the guest: what is cached is invalidated, and no more than that.

That an answer was ended shows in the request that comes again, and that another
was not in the request that does not.
"""

import contextlib
import mmap
import os
import stat as modes
import subprocess
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import pytest
from support.guests import ended, eventually, finish, hear, run, start
from support.live import LiveShare, Place

CACHED = {"profile": "osxfs-cached", "latency_ns": 0}
NEGATIVE = {"profile": "osxfs-negative", "latency_ns": 0}
COMPLETE = {"profile": "osxfs-complete", "latency_ns": 0}
WATCHERS = ("fanotify", "inotify")


def asked(share: LiveShare | Place, *kinds: str) -> int:
    requests = share.requests()
    return sum(requests.get(kind, 0) for kind in kinds)


@pytest.fixture(scope="module", params=WATCHERS)
def day_long(request: pytest.FixtureRequest, module_share) -> LiveShare:
    """A share that caches for a day, with both ways to see the host's changes."""
    return module_share(**CACHED, host_events=request.param)


@pytest.fixture
def cached(day_long: LiveShare) -> Place:
    """A place on such a share, with a directory of two files."""
    place = Place.on(day_long)
    directory = place.source / "directory"
    directory.mkdir()
    for name in ("one", "other"):
        (directory / name).write_text("as it was")
    place.settle()
    return place


def look(live: Place) -> None:
    """Have the guest cache all that is in the directory.

    Twice, since a file that is read, or a directory, has another time of access.
    """
    directory = live.guest / "directory"
    names = os.listdir(directory)
    os.stat(directory)
    look_again(live, names)
    look_again(live, names)


def look_again(live: Place, names: Iterable[str] = ("one", "other")) -> None:
    directory = live.guest / "directory"
    for name in names:
        if modes.S_ISREG(os.lstat(directory / name).st_mode):
            (directory / name).read_bytes()
    os.stat(directory)


# Each change, and what it ends


def test_what_does_not_change_is_cached(cached: Place) -> None:
    look(cached)
    cached.reset()
    look_again(cached)
    assert asked(cached, "LOOKUP", "GETATTR", "READ") == 0


def test_a_write_invalidates_content_size_and_times_of_that_file_alone(cached: Place) -> None:
    look(cached)
    (cached.source / "directory" / "one").write_text("as it is now")
    cached.settle()
    cached.reset()
    assert (cached.guest / "directory" / "one").read_text() == "as it is now"
    assert os.stat(cached.guest / "directory" / "one").st_size == len("as it is now")
    assert asked(cached, "LOOKUP") == 0, "its name was not in doubt"
    assert asked(cached, "READ") == 1
    cached.reset()
    assert (cached.guest / "directory" / "other").read_text() == "as it was"
    assert asked(cached, "LOOKUP", "READ", "GETATTR") == 0


def test_a_write_of_the_same_length_is_seen_in_an_open_file_and_a_mapping(
    cached: Place,
) -> None:
    with open(cached.guest / "directory" / "one", "rb", buffering=0) as file:
        assert file.read() == b"as it was"
        mapping = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
        assert mapping[:] == b"as it was"
        descriptor = os.open(cached.source / "directory" / "one", os.O_WRONLY)
        os.pwrite(descriptor, b"AS IT IS!", 0)
        os.close(descriptor)
        cached.settle()
        assert mapping[:] == b"AS IT IS!"
        assert os.pread(file.fileno(), 20, 0) == b"AS IT IS!"
        mapping.close()


@pytest.mark.parametrize("change", ["chmod", "utime", "setxattr"])
def test_a_change_of_attributes_invalidates_them_and_not_the_content(
    cached: Place, change: str
) -> None:
    look(cached)
    before = os.stat(cached.guest / "directory" / "one")
    path = cached.source / "directory" / "one"
    match change:
        case "chmod":
            path.chmod(0o640)
        case "utime":
            os.utime(path, ns=(before.st_atime_ns + 1, before.st_mtime_ns))
        case "setxattr":
            try:
                os.setxattr(path, "user.colour", b"blue")
            except OSError:
                pytest.skip("this file system has no attributes of users")
    cached.settle()
    cached.reset()
    now = os.stat(cached.guest / "directory" / "one")
    assert now.st_ctime_ns == os.stat(path).st_ctime_ns != before.st_ctime_ns
    assert now.st_mode == os.stat(path).st_mode
    assert asked(cached, "GETATTR", "LOOKUP") == 1
    (cached.guest / "directory" / "one").read_bytes()
    assert asked(cached, "READ") == 0


def test_a_new_file_is_listed_and_found(cached: Place) -> None:
    look(cached)
    (cached.source / "directory" / "new").write_text("new")
    cached.settle()
    assert (cached.guest / "directory" / "new").read_text() == "new"
    assert sorted(os.listdir(cached.guest / "directory")) == ["new", "one", "other"]
    host, guest = (os.stat(side / "directory") for side in (cached.source, cached.guest))
    assert host.st_mtime_ns == guest.st_mtime_ns


def test_a_removed_file_is_missing_and_the_directory_has_its_new_times(cached: Place) -> None:
    look(cached)
    (cached.source / "directory" / "one").unlink()
    cached.settle()
    cached.reset()
    with pytest.raises(FileNotFoundError):
        os.stat(cached.guest / "directory" / "one")
    host, guest = (os.stat(side / "directory") for side in (cached.source, cached.guest))
    assert host.st_mtime_ns == guest.st_mtime_ns
    cached.reset()
    os.stat(cached.guest / "directory" / "other")
    assert asked(cached, "LOOKUP", "GETATTR") == 0


def test_a_rename_invalidates_both_names(cached: Place) -> None:
    look(cached)
    number = os.stat(cached.guest / "directory" / "one").st_ino
    os.rename(cached.source / "directory" / "one", cached.source / "directory" / "renamed")
    cached.settle()
    with pytest.raises(FileNotFoundError):
        os.stat(cached.guest / "directory" / "one")
    assert os.stat(cached.guest / "directory" / "renamed").st_ino == number


def test_a_rename_over_a_file_shows_the_new_one(cached: Place) -> None:
    look(cached)
    (cached.source / "temporary").write_text("replaced as editors do")
    os.rename(cached.source / "temporary", cached.source / "directory" / "one")
    cached.settle()
    assert (cached.guest / "directory" / "one").read_text() == "replaced as editors do"


def test_an_exchange_of_two_names_is_seen_on_both(cached: Place) -> None:
    (cached.source / "directory" / "other").write_text("the other")
    cached.settle()
    look(cached)
    code = """
import ctypes, os, sys
directory = os.open(sys.argv[1], os.O_PATH)
assert not ctypes.CDLL(None).renameat2(directory, b"one", directory, b"other", 2)
"""
    run(code, cached.source / "directory")
    cached.settle()
    assert (cached.guest / "directory" / "one").read_text() == "the other"
    assert (cached.guest / "directory" / "other").read_text() == "as it was"


def test_a_directory_that_the_host_renames_keeps_what_is_below_it(cached: Place) -> None:
    look(cached)
    number = os.stat(cached.guest / "directory" / "one").st_ino
    os.rename(cached.source / "directory", cached.source / "moved")
    cached.settle()
    assert not os.path.exists(cached.guest / "directory")
    assert os.stat(cached.guest / "moved" / "one").st_ino == number
    (cached.source / "moved" / "one").write_text("changed after the move")
    cached.settle()
    assert (cached.guest / "moved" / "one").read_text() == "changed after the move"


def test_a_directory_removed_and_made_again_is_another_one(cached: Place) -> None:
    look(cached)
    for _ in range(3):
        subprocess.run(["rm", "-r", cached.source / "directory"], check=True)
        (cached.source / "directory").mkdir()
        (cached.source / "directory" / "again").touch()
        cached.settle()
        assert os.listdir(cached.guest / "directory") == ["again"]
        (cached.guest / "directory" / "by the guest").touch()
        assert sorted(os.listdir(cached.source / "directory")) == ["again", "by the guest"]


def test_a_second_link_made_and_removed_by_the_host_is_counted(cached: Place) -> None:
    look(cached)
    os.link(cached.source / "directory" / "one", cached.source / "directory" / "link")
    cached.settle()
    assert os.stat(cached.guest / "directory" / "link").st_nlink == 2
    (cached.source / "directory" / "link").write_text("through the link")
    cached.settle()
    assert (cached.guest / "directory" / "one").read_text() == "through the link"
    (cached.source / "directory" / "link").unlink()
    cached.settle()
    assert os.stat(cached.guest / "directory" / "one").st_nlink == 1


def test_a_negative_entry_is_invalidated_when_the_host_makes_the_name(share) -> None:
    live = share(**NEGATIVE)
    (live.source / "directory").mkdir()
    live.settle()
    for path in (live.guest / "missing", live.guest / "directory" / "missing"):
        assert not os.path.exists(path)
        live.reset()
        assert not os.path.exists(path)
        assert asked(live, "LOOKUP") == 0
        (live.source / path.relative_to(live.guest)).touch()
        live.settle()
        assert os.path.exists(path)


def test_a_negative_entry_of_another_spelling_is_invalidated_too(share) -> None:
    live = share(**NEGATIVE, names="apfs")
    (live.source / "directory").mkdir()
    live.settle()
    assert not os.path.exists(live.guest / "directory" / "ReadMe")
    (live.source / "directory" / "README").touch()
    live.settle()
    assert os.path.exists(live.guest / "directory" / "ReadMe")


# The guest's own changes


def own_changes(directory: Path) -> list[Callable[[], object]]:
    """One after the other, all that a guest can change."""

    def overwrite() -> None:
        with open(directory / "one", "r+b") as file:
            file.write(b"own")
            file.truncate(5)

    return [
        lambda: (directory / "own").write_text("the guest's"),
        overwrite,
        lambda: (directory / "own").chmod(0o600),
        lambda: os.utime(directory / "own"),
        lambda: os.rename(directory / "own", directory / "renamed"),
        lambda: os.link(directory / "renamed", directory / "linked"),
        lambda: os.symlink("one", directory / "symlink"),
        lambda: (directory / "made").mkdir(),
        lambda: (directory / "made").rmdir(),
        lambda: (directory / "linked").unlink(),
        lambda: os.replace(directory / "renamed", directory / "other"),
    ]


def test_the_guests_own_changes_do_not_come_back(cached: Place) -> None:
    look(cached)
    before = cached.status().events
    for change in own_changes(cached.guest / "directory"):
        change()
        if before.watcher == "inotify":
            # It tells no process: what is ours is known by what it leaves, and a name
            # that is gone when its event is read leaves nothing.
            time.sleep(0.05)
    time.sleep(0.1)
    after = cached.status().events
    assert after.seen == before.seen
    assert after.raised == before.raised
    look(cached)
    cached.reset()
    look_again(cached)
    assert asked(cached, "LOOKUP", "GETATTR", "READ") == 0


_WRITE_IN_TURNS = """
import os, sys
path, own, count = sys.argv[1], sys.argv[2].encode(), int(sys.argv[3])
fd = os.open(path, os.O_WRONLY)
for turn in range(count):
    os.pwrite(fd, own + b"%07d" % turn, 0 if own == b"h" else 4096)
print("done")
"""


def test_both_sides_change_one_file_and_the_host_is_not_missed(cached: Place) -> None:
    path = Path("directory", "shared")
    (cached.source / path).write_bytes(bytes(8192))
    cached.settle()
    for _ in range(10):
        (cached.guest / path).read_bytes()
        both = [
            start(_WRITE_IN_TURNS, side / path, who, 200)
            for side, who in ((cached.source, "h"), (cached.guest, "g"))
        ]
        for each in both:
            assert finish(each) == "done\n"
        cached.settle()
        assert (cached.guest / path).read_bytes() == (cached.source / path).read_bytes()
        assert (cached.guest / path).read_bytes()[:8] == b"h0000199"


# Races


_CHANGE_AND_CHANGE = """
import os, sys
root, count = sys.argv[1], int(sys.argv[2])
for turn in range(count):
    for name in ("a", "b", "c"):
        path = f"{root}/{name}"
        what = turn % 4
        if what == 0:
            open(path, "w").write("x" * (turn + 1))
        elif what == 1:
            open(path + ".new", "w").write("y" * (turn + 2)); os.rename(path + ".new", path)
        elif what == 2:
            os.chmod(path, 0o600 + turn % 64)
        else:
            os.unlink(path)
print("done")
"""

_LOOK_AND_LOOK = """
import errno, os, select, sys
root = sys.argv[1]
print("ready", flush=True)
while not select.select([sys.stdin], [], [], 0)[0]:
    for name in ("a", "b", "c", "a.new", "never"):
        try:
            os.stat(f"{root}/{name}")
            open(f"{root}/{name}").read()
        except OSError as error:
            # Replaced between the question and the opening, and once more when asked again.
            assert error.errno in (errno.ENOENT, errno.ESTALE), error
    os.listdir(root)
print("done")
"""


def sides_differ(live: LiveShare, directory: str) -> list[str]:
    """What the guest sees otherwise than the host has it."""
    host, guest = live.source / directory, live.guest / directory
    wrong = []
    # The guest lists last: a listing brings what its entries are like.
    names = {*os.listdir(host), "a", "b", "c", "a.new"}
    for name in sorted(names):
        states = []
        for side in (host, guest):
            try:
                status = os.lstat(side / name)
            except FileNotFoundError:
                states.append(None)
                continue
            content = (side / name).read_bytes() if modes.S_ISREG(status.st_mode) else b""
            states.append(
                (status.st_mode, status.st_size, status.st_mtime_ns, status.st_nlink, content)
            )
        if states[0] != states[1]:
            wrong.append(f"{name}: host {states[0]}, guest {states[1]}")
    if sorted(os.listdir(host)) != sorted(os.listdir(guest)):
        wrong.append("listings")
    return wrong


@pytest.mark.parametrize("settings", [CACHED, NEGATIVE, COMPLETE], ids=lambda s: s["profile"])
@pytest.mark.parametrize("latency_ns", [0, 2_000_000], ids=["at once", "slow answers"])
def test_no_answer_on_its_way_outlives_a_change(share, settings: dict, latency_ns: int) -> None:
    """Answers are held for longer than a change takes to be told, and looked for all the time."""
    live = share(**settings | {"latency_ns": latency_ns, "event_latency_ns": 0})
    (live.source / "d").mkdir()
    lookers = [start(_LOOK_AND_LOOK, live.guest / "d") for _ in range(2)]
    with ended(*lookers):
        for looker in lookers:
            hear(looker, "ready")
        for turns in range(40, 60):
            assert finish(start(_CHANGE_AND_CHANGE, live.source / "d", turns)) == "done\n"
            live.settle()
            assert sides_differ(live, "d") == []
        for looker in lookers:
            assert finish(looker, "stop\n") == "done\n"


def test_the_comparison_of_both_sides_notices(share) -> None:
    live = share(**CACHED, host_events="none")
    (live.source / "d").mkdir()
    (live.source / "d" / "a").write_text("before")
    for _ in range(2):  # reading changes the time of access
        assert (live.guest / "d" / "a").read_text() == "before"
    (live.source / "d" / "a").write_text("after!")
    assert sides_differ(live, "d") != []


# Losses


@contextlib.contextmanager
def losing(live: LiveShare, count: int) -> Iterator[None]:
    live.share.drop_events(count=count)
    yield
    live.settle()


@pytest.mark.parametrize("settings", [CACHED, NEGATIVE, COMPLETE], ids=lambda s: s["profile"])
def test_what_was_lost_is_looked_for_and_nothing_stays_untrue(share, settings: dict) -> None:
    live = share(**settings)
    for directory in ("d", "d/e", "f"):
        (live.source / directory).mkdir()
        for name in ("kept", "changed", "removed"):
            (live.source / directory / name).write_text("before")
    live.settle()
    guest = live.guest

    def look_everywhere() -> None:
        for above, _, names in os.walk(guest):
            for name in [*names, "made", "never"]:
                path = os.path.join(above, name)
                if os.path.exists(path):
                    Path(path).read_text()

    look_everywhere()
    with losing(live, 1_000):
        for directory in ("d", "d/e", "f"):
            (live.source / directory / "changed").write_text("after!")
            (live.source / directory / "removed").unlink()
            (live.source / directory / "made").write_text("made")
    events = live.status().events
    assert events.dropped >= 3
    assert events.must_scans >= 1
    for directory in ("d", "d/e", "f"):
        assert (guest / directory / "changed").read_text() == "after!"
        assert not (guest / directory / "removed").exists()
        assert (guest / directory / "made").read_text() == "made"
        assert sorted(os.listdir(guest / directory)) == sorted(os.listdir(live.source / directory))


def test_without_the_scan_a_loss_would_stay_cached(share) -> None:
    """The test above could not fail otherwise: events that are never told leave the old."""
    live = share(**CACHED, host_events="none")
    (live.source / "changed").write_text("before")
    for _ in range(2):  # reading changes the time of access
        assert (live.guest / "changed").read_text() == "before"
    (live.source / "changed").write_text("after!")
    time.sleep(0.2)
    assert (live.guest / "changed").read_text() == "before"


@pytest.mark.parametrize("watcher", WATCHERS)
def test_a_burst_overflows_into_a_scan_and_not_into_a_wrong_answer(share, watcher: str) -> None:
    live = share(**CACHED, host_events=watcher)
    (live.source / "d").mkdir()
    for number in range(3_000):
        (live.source / "d" / f"f{number}").write_text("before")
    live.settle()
    with os.scandir(live.guest / "d") as entries:
        assert len([os.stat(entry) for entry in entries]) == 3_000
    code = """
import os, sys
for turn in range(3):
    for number in range(3_000):
        name = f"{sys.argv[1]}/f{number}"
        if number % 3 == 0:
            open(name, "w").write(f"after {turn}")
        elif number % 3 == 1:
            open(name + ".new", "w").write("renamed")
            os.rename(name + ".new", name)
        elif turn == 2:
            os.unlink(name)
print("done")
"""
    assert finish(start(code, live.source / "d")) == "done\n"
    live.settle()
    assert sides_differ(live, "d") == []


# What is lost with the watcher


def test_without_events_to_hear_they_cannot_be_dropped(share) -> None:
    from osxfs_sim import MountError

    live = share(**CACHED, host_events="none")
    assert live.status().events is None
    with pytest.raises(MountError, match="hears no host events"):
        live.share.drop_events(count=1)


def test_a_file_system_below_that_nobody_watches_is_not_cached(share) -> None:
    live = share(**COMPLETE)
    (live.source / "mounted").mkdir()
    subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", live.source / "mounted"], check=True
    )
    try:
        (live.source / "mounted" / "file").write_text("before")
        live.settle()
        assert (live.guest / "mounted" / "file").read_text() == "before"
        assert not (live.guest / "mounted" / "new").exists()
        (live.source / "mounted" / "file").write_text("after, longer")
        (live.source / "mounted" / "new").touch()
        assert (live.guest / "mounted" / "file").read_text() == "after, longer"
        assert (live.guest / "mounted" / "new").exists()
    finally:
        subprocess.run(["umount", "-l", live.source / "mounted"], check=True)


# Complete negative caching


def test_a_name_that_a_known_directory_lacks_is_answered_without_a_crossing(share) -> None:
    live = share(**COMPLETE)
    (live.source / "directory").mkdir()
    (live.source / "directory" / "present").touch()
    live.settle()
    live.reset()
    assert not (live.guest / "directory" / "first").exists()
    crossed = asked(live, "LOOKUP")
    for number in range(100):
        assert not (live.guest / "directory" / f"missing-{number}").exists()
    assert asked(live, "LOOKUP") == crossed, "in the first run too"
    assert live.status().events.complete_directories.answers == 100
    assert (live.guest / "directory" / "present").exists()


def test_a_listing_makes_a_directory_known(share) -> None:
    live = share(**COMPLETE)
    (live.source / "directory").mkdir()
    live.settle()
    os.listdir(live.guest / "directory")
    live.reset()
    assert not (live.guest / "directory" / "missing").exists()
    assert asked(live, "LOOKUP") == 0


def test_what_the_guest_makes_in_a_known_directory_is_found(share) -> None:
    live = share(**COMPLETE)
    directory = live.guest / "directory"
    directory.mkdir()
    for name in ("made", "linked", "renamed", "exchanged", "symlinked", "node"):
        assert not (directory / name).exists()
    (directory / "made").touch()
    os.link(directory / "made", directory / "linked")
    os.rename(directory / "linked", directory / "renamed")
    os.symlink("made", directory / "symlinked")
    os.mknod(directory / "node")
    (directory / "sub").mkdir()
    live.drop_dentries()
    names = ("made", "renamed", "symlinked", "node", "sub")
    assert all((directory / name).exists() for name in names)
    assert not (directory / "linked").exists()


_LIE_DETECTOR = """
import os, sys, time
# Asks for names that are made one after the other, from before each is made.
root, events, count = sys.argv[1], sys.argv[2], int(sys.argv[3])
late = 0
for turn in range(count):
    path = f"{root}/n{turn}"
    os.path.exists(path)
    print(turn, flush=True)
    assert sys.stdin.readline() == "made\\n"
    # The host has made it, and what it told of that has been told to the guest.
    if not os.path.exists(path):
        late += 1
print("lies", late)
"""


def test_complete_is_never_wrong_once_an_event_has_been_told(share) -> None:
    """Tries to catch it lying: a name is asked for, made, told, and asked for again."""
    live = share(**COMPLETE, event_latency_ns=0)
    (live.source / "d").mkdir()
    live.settle()
    detector = start(_LIE_DETECTOR, live.guest / "d", "", 60)
    with ended(detector):
        assert detector.stdin is not None
        for turn in range(60):
            hear(detector, str(turn))
            made = live.source / "d" / f"n{turn}"
            match turn % 4:
                case 0:
                    made.touch()
                case 1:
                    made.mkdir()
                case 2:
                    os.rename(live.source / "d" / f"n{turn - 2}", made)
                case 3:
                    os.symlink("nowhere/else", live.source / "elsewhere")
                    os.rename(live.source / "elsewhere", made)
                    made.unlink()
                    made.touch()
            live.settle()
            detector.stdin.write("made\n")
            detector.stdin.flush()
        assert finish(detector) == "lies 0\n"


def test_the_lie_detector_catches_one_who_hears_nothing_in_time(share) -> None:
    live = share(**COMPLETE, event_latency_ns=3_600_000_000_000)
    (live.source / "d").mkdir()
    # The first event is told at once; from then on the window is open for an hour.
    eventually(lambda: live.status().events.delivered)
    detector = start(_LIE_DETECTOR, live.guest / "d", "", 3)
    with ended(detector):
        assert detector.stdin is not None
        for turn in range(3):
            hear(detector, str(turn))
            (live.source / "d" / f"n{turn}").touch()
            detector.stdin.write("made\n")
            detector.stdin.flush()
        assert finish(detector) == "lies 3\n"


def test_known_names_are_dropped_whole_when_events_were_lost(share) -> None:
    live = share(**COMPLETE)
    for name in ("d", "e"):
        (live.source / name).mkdir()
    live.settle()
    for name in ("d", "e"):
        assert not (live.guest / name / "missing").exists()
    assert live.status().events.complete_directories.directories >= 2
    with losing(live, 1):
        (live.source / "d" / "missing").touch()
    assert live.status().events.complete_directories.directories == 0
    assert (live.guest / "d" / "missing").exists()


# The server's own work


def test_a_host_that_never_rests_does_not_keep_requests_waiting(share) -> None:
    live = share(**CACHED)
    (live.source / "busy").mkdir()
    (live.source / "calm").write_text("calm")
    os.listdir(live.guest / "busy")
    code = """
import os, select, sys
turn = 0
print("ready", flush=True)
while not select.select([sys.stdin], [], [], 0)[0]:
    turn += 1
    open(f"{sys.argv[1]}/f{turn % 500}", "w").write(str(turn))
print("done")
"""
    host = start(code, live.source / "busy")
    with ended(host):
        hear(host, "ready")
        for _ in range(100):
            assert (live.guest / "calm").read_text() == "calm"
            os.listdir(live.guest / "busy")
        finish(host, "stop\n")
    live.settle()
    assert sides_differ(live, "busy") == []


def test_ending_while_events_are_raised_leaves_nothing(share) -> None:
    live = share(**CACHED)
    (live.source / "d").mkdir()
    os.listdir(live.guest / "d")
    for number in range(2_000):
        (live.source / "d" / f"f{number}").touch()
    live.server.terminate()
    assert live.wait_for_end() == 0


def test_unmounting_while_events_are_raised_works(share) -> None:
    live = share(**CACHED)
    (live.source / "d").mkdir()
    os.listdir(live.guest / "d")
    for number in range(2_000):
        (live.source / "d" / f"f{number}").touch()
    live.unmount()
    assert live.wait_for_end() == 0
