"""The events that a listener in the guest gets of host changes: the vendor's table.

The listener looks at once: what it sees then must be the new state. And nothing
that is done to raise an event may be seen by anybody else, in the guest or on
the host.
"""

import os
import shutil
import stat as modes
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pytest
from inotify_simple import INotify, flags
from support.guests import ended, eventually, finish, hear, start
from support.live import LiveShare, Place, is_mounted
from support.nobody import need_fusermount, run_as_nobody

PROFILES = ("osxfs", "osxfs-cached", "osxfs-negative", "osxfs-complete")
HEARD = (
    flags.CREATE
    | flags.DELETE
    | flags.DELETE_SELF
    | flags.MODIFY
    | flags.ATTRIB
    | flags.MOVED_FROM
    | flags.MOVED_TO
    | flags.CLOSE_WRITE
)


class Heard(NamedTuple):
    """What came, and what the listener saw when it looked at once."""

    event: str
    name: str
    seen: object


class Listener:
    """inotify on one directory of the guest, and on one object in it if asked for."""

    def __init__(self, directory: Path, itself: str | None = None) -> None:
        self.directory = directory
        self._notify = INotify()
        self._notify.add_watch(directory, HEARD)
        self._self = None
        if itself is not None:
            self._self = self._notify.add_watch(directory / itself, flags.DELETE_SELF)

    def hear(self) -> list[Heard]:
        """What has come until now; of each, what is there at the very moment."""
        heard = []
        for event in self._notify.read(timeout=0):
            mask = flags.from_mask(event.mask)
            is_directory = flags.ISDIR in mask
            for flag in mask:
                if flag not in (flags.ISDIR, flags.IGNORED):
                    name = flag.name + (",ISDIR" if is_directory else "")
                    heard.append(Heard(name, event.name, self.look(event.name)))
        return heard

    def look(self, name: str) -> object:
        try:
            status = os.lstat(self.directory / name)
        except FileNotFoundError:
            return None
        if modes.S_ISREG(status.st_mode):
            return (self.directory / name).read_text()
        return modes.S_IFMT(status.st_mode)

    def close(self) -> None:
        self._notify.close()


def told(live: LiveShare | Place, listener: Listener, change: Callable[[], object]) -> list[Heard]:
    """What a listener hears of *change*, looked at as it comes."""
    heard = []
    change()
    settling = threading.Thread(target=live.settle)
    settling.start()
    while settling.is_alive():
        heard += listener.hear()
        settling.join(0.01)
    return heard + listener.hear()


def without_repeats(heard: list[Heard]) -> list[tuple[str, str]]:
    """The events in order; one that is delivered more than once counts once, as the vendor says."""
    return list(dict.fromkeys((each.event, each.name) for each in heard))


class Story(NamedTuple):
    change: Callable[[Path], object]
    events: list[tuple[str, str]]
    sees: dict[str, object]
    may: tuple[tuple[str, str], ...] = ()
    """Events that may be there or not."""


def append(path: Path) -> None:
    with open(path, "a") as file:
        file.write(", and more")


TABLE = {
    "an empty file is made": Story(
        lambda host: os.mknod(host / "new"), [("CREATE", "new")], {"new": ""}
    ),
    "a file is made and written": Story(
        lambda host: (host / "new").write_text("new"),
        [("CREATE", "new"), ("MODIFY", "new")],
        {"new": "new"},
    ),
    "a file is written": Story(
        lambda host: append(host / "file"),
        [("MODIFY", "file")],
        {"file": "as it was, and more"},
        (("ATTRIB", "file"),),
    ),
    "a file is cut": Story(
        lambda host: os.truncate(host / "file", 2),
        [("MODIFY", "file")],
        {"file": "as"},
        (("ATTRIB", "file"),),
    ),
    "a mode is changed": Story(
        lambda host: (host / "file").chmod(0o600), [("ATTRIB", "file")], {"file": "as it was"}
    ),
    "times are set": Story(
        lambda host: os.utime(host / "file", (1, 1)), [("ATTRIB", "file")], {"file": "as it was"}
    ),
    "a file is deleted": Story(
        lambda host: (host / "file").unlink(), [("DELETE", "file")], {"file": None}
    ),
    "a directory is made": Story(
        lambda host: (host / "sub").mkdir(), [("CREATE,ISDIR", "sub")], {"sub": modes.S_IFDIR}
    ),
    "a directory is removed": Story(
        lambda host: (host / "empty").rmdir(), [("DELETE,ISDIR", "empty")], {"empty": None}
    ),
    "a file is renamed": Story(
        lambda host: os.rename(host / "file", host / "renamed"),
        [("DELETE", "file"), ("MODIFY", "renamed")],
        {"file": None, "renamed": "as it was"},
    ),
    "a file is renamed over another": Story(
        lambda host: os.rename(host / "other", host / "file"),
        [("DELETE", "other"), ("MODIFY", "file")],
        {"other": None, "file": "the other"},
    ),
    "a directory is renamed": Story(
        lambda host: os.rename(host / "empty", host / "moved"),
        [("DELETE,ISDIR", "empty"), ("MODIFY,ISDIR", "moved")],
        {"empty": None, "moved": modes.S_IFDIR},
    ),
    "a file leaves": Story(
        lambda host: os.rename(host / "file", host.parent / "elsewhere"),
        [("DELETE", "file")],
        {"file": None},
    ),
    "a file comes": Story(
        lambda host: os.rename(host.parent / "outside", host / "inside"),
        [("MODIFY", "inside")],
        {"inside": "from outside"},
    ),
    "a symlink is made": Story(
        lambda host: os.symlink("nowhere", host / "symlink"),
        [("CREATE", "symlink")],
        {"symlink": modes.S_IFLNK},
    ),
    "a FIFO is made": Story(
        lambda host: os.mkfifo(host / "fifo"), [("CREATE", "fifo")], {"fifo": modes.S_IFIFO}
    ),
    "a link is made": Story(
        lambda host: os.link(host / "file", host / "link"),
        [("CREATE", "link")],
        {"link": "as it was"},
    ),
    "a name of odd bytes": Story(
        lambda host: os.mknod(host / os.fsdecode(b"odd \xff\n name")),
        [("CREATE", os.fsdecode(b"odd \xff\n name"))],
        {},
    ),
    "a file is opened, read and closed": Story(
        lambda host: (host / "file").read_text(), [], {"file": "as it was"}
    ),
}


@pytest.fixture(scope="module", params=PROFILES)
def telling(request: pytest.FixtureRequest, module_share) -> LiveShare:
    return module_share(profile=request.param, latency_ns=0)


@pytest.fixture
def live(telling: LiveShare) -> Place:
    place = Place.on(telling)
    host = place.source / "directory"
    host.mkdir()
    (host / "file").write_text("as it was")
    (host / "other").write_text("the other")
    (host / "empty").mkdir()
    (place.source / "outside").write_text("from outside")
    place.settle()
    for name in os.listdir(place.guest / "directory"):
        os.lstat(place.guest / "directory" / name)
    return place


@pytest.mark.parametrize("story", TABLE)
def test_the_table(live: Place, story: str) -> None:
    change, events, sees, may = TABLE[story]
    listener = Listener(live.guest / "directory")
    heard = told(live, listener, lambda: change(live.source / "directory"))
    listener.close()
    assert [event for event in without_repeats(heard) if event not in may] == events
    for event in heard:
        if event.name in sees:
            assert event.seen == sees[event.name], event


@pytest.mark.parametrize("name", ["file", "empty"])
def test_the_object_itself_is_seen_to_go(live: Place, name: str) -> None:
    listener = Listener(live.guest / "directory", name)
    path = live.source / "directory" / name
    heard = told(live, listener, path.unlink if name == "file" else path.rmdir)
    listener.close()
    assert ("DELETE_SELF", "") in without_repeats(heard)


def test_an_object_with_another_link_is_not_seen_to_go(live: Place) -> None:
    os.link(live.source / "directory" / "file", live.source / "link")
    live.settle()
    assert os.stat(live.guest / "link").st_nlink == 2
    listener = Listener(live.guest / "directory", "file")
    heard = told(live, listener, (live.source / "directory" / "file").unlink)
    listener.close()
    assert without_repeats(heard) == [("DELETE", "file")]
    assert os.stat(live.guest / "link").st_nlink == 1
    os.link(live.guest / "link", live.guest / "a third")
    assert os.stat(live.source / "link").st_nlink == 2


def test_a_renamed_object_lives_on(live: Place) -> None:
    listener = Listener(live.guest / "directory", "file")
    host = live.source / "directory"
    heard = told(live, listener, lambda: os.rename(host / "file", host / "renamed"))
    listener.close()
    assert "DELETE_SELF" not in [event.event for event in heard]
    assert os.stat(live.guest / "directory" / "renamed").st_nlink == 1
    os.link(live.guest / "directory" / "renamed", live.guest / "directory" / "a second")


def test_what_the_guest_has_open_goes_on_when_the_host_deletes_it(live: Place) -> None:
    with open(live.guest / "directory" / "file", "r+b", buffering=0) as file:
        listener = Listener(live.guest / "directory")
        heard = told(live, listener, (live.source / "directory" / "file").unlink)
        assert without_repeats(heard) == [("DELETE", "file")]
        assert file.read() == b"as it was"
        assert os.fstat(file.fileno()).st_nlink == 0
        assert os.fstat(file.fileno()).st_size == len("as it was")
        file.write(b", and is still")
        assert os.pread(file.fileno(), 100, 0) == b"as it was, and is still"
    listener.close()


def test_the_guests_own_events_are_native(live: Place) -> None:
    listener = Listener(live.guest / "directory")
    guest = live.guest / "directory"

    def change() -> None:
        (guest / "own").write_text("own")
        os.rename(guest / "own", guest / "renamed")
        (guest / "renamed").unlink()

    heard = [(each.event, each.name) for each in told(live, listener, change)]
    listener.close()
    assert heard == [
        ("CREATE", "own"),
        ("MODIFY", "own"),
        ("CLOSE_WRITE", "own"),
        ("MOVED_FROM", "own"),
        ("MOVED_TO", "renamed"),
        ("DELETE", "renamed"),
    ]


# Nothing else may be seen of it


def picture(host: Path) -> dict[str, tuple[object, ...]]:
    """All that the host can tell of a tree, times included."""
    return {
        path: (
            *(status.st_mode, status.st_ino, status.st_nlink, status.st_uid, status.st_gid),
            *(status.st_size, status.st_atime_ns, status.st_mtime_ns, status.st_ctime_ns),
        )
        for above, directories, files in os.walk(host)
        for path in [above, *(os.path.join(above, name) for name in [*directories, *files])]
        for status in [os.lstat(path)]
    }


def test_raising_events_changes_nothing_on_the_host(share) -> None:
    live = share(profile="osxfs-cached", latency_ns=0)
    host = live.source / "d"
    host.mkdir()
    live.settle()
    os.listdir(live.guest / "d")
    for number in range(20):
        (host / f"file-{number}").write_text("content")
        (host / f"directory-{number}").mkdir()
        os.symlink("nowhere", host / f"symlink-{number}")
    for number in range(10):
        (host / f"file-{number}").chmod(0o600)
        (host / f"file-{number + 10}").unlink()
        (host / f"directory-{number}").rmdir()
    picture(host)  # to walk there reads symlinks, which have another time of access then
    before = picture(host)
    live.settle()
    time.sleep(0.05)
    raised = live.status().events.raised
    assert sum(raised.values()) > 60
    assert picture(host) == before


_WATCH_NAMES = """
import os, select, sys
# Says what is seen otherwise than it must be: what exists always, what never does;
# and "looking" once it has looked often.
root = sys.argv[1]
print("ready", flush=True)
wrong = set()
looks = 0
while not select.select([sys.stdin], [], [], 0)[0]:
    looks += 1
    for name in ("always", "always-directory"):
        try:
            status = os.stat(f"{root}/{name}")
            if status.st_nlink == 0 or (name == "always" and status.st_size != 7):
                wrong.add((name, status.st_nlink, status.st_size))
            if name == "always" and open(f"{root}/{name}").read() != "content":
                wrong.add((name, "content"))
        except OSError as error:
            wrong.add((name, error.errno))
    if os.path.lexists(f"{root}/never"):
        wrong.add("never")
    if len({"always", "always-directory"} & set(os.listdir(root))) != 2:
        wrong.add("listing")
    if looks == 20:
        print("looking", flush=True)
print(sorted(map(str, wrong)))
"""


@pytest.mark.parametrize("profile", PROFILES)
def test_no_process_sees_a_wrong_state_while_events_are_raised(share, profile: str) -> None:
    """Events that tell what is true already, raised again and again for the same names.

    By scans after losses: each raises what has changed of late, and that is all of it.
    """
    live = share(profile=profile, latency_ns=0, event_latency_ns=0)
    host = live.source / "d"
    host.mkdir()
    (host / "always").write_text("content")
    (host / "always-directory").mkdir()
    live.settle()
    lookers = [start(_WATCH_NAMES, live.guest / "d") for _ in range(2)]
    with ended(*lookers):
        for looker in lookers:
            hear(looker, "ready")
        for turn in range(15):
            (host / "never").touch()  # for a moment: the lookers are told of both
            (host / "never").unlink()
            live.share.drop_events(count=5)
            (host / "always").chmod(0o600)
            (host / "always").chmod(0o644)
            live.settle()
            if turn == 7:  # however slow they are, they look before it and after it
                for looker in lookers:
                    hear(looker, "looking")
        words = [finish(looker, "stop\n") for looker in lookers]
    raised = live.status().events.raised
    assert raised["create"] >= 10, "the scans have raised nothing"
    for word in words:
        assert word in ("[]\n", "['never']\n"), "it existed for a moment"


def test_the_watch_for_wrong_states_notices(share) -> None:
    live = share(profile="osxfs", latency_ns=0)
    host = live.source / "d"
    host.mkdir()
    (host / "always").write_text("content")
    looker = start(_WATCH_NAMES, live.guest / "d")
    with ended(looker):
        hear(looker, "ready")
        hear(looker, "looking")
        assert "always-directory" in finish(looker, "stop\n")


def test_what_the_guest_has_mounted_in_the_share_is_not_touched(share) -> None:
    """The injector's calls would be real there."""
    live = share(profile="osxfs-cached", latency_ns=0)
    (live.source / "d" / "inner").mkdir(parents=True)
    live.settle()
    guest = live.guest / "d"
    os.listdir(guest / "inner")
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", guest], check=True)
    try:
        (guest / "inner").mkdir()
        (guest / "inner" / "precious").write_text("the guest's own")
        before = picture(guest)
        host = live.source / "d" / "inner"
        (host / "precious").write_text("of the host")
        (host / "new").touch()
        (host / "precious").unlink()
        live.settle()
        assert picture(guest) == before
    finally:
        subprocess.run(["umount", "-l", guest], check=False)


def test_events_below_a_second_mount_of_the_share_are_heard_there_too(share, field: Path) -> None:
    live = share(profile="osxfs-cached", latency_ns=0)
    (live.source / "d").mkdir()
    live.settle()
    second = field / "second"
    second.mkdir()
    subprocess.run(["mount", "--bind", live.guest / "d", second], check=True)
    try:
        listener = Listener(second)
        heard = told(live, listener, (live.source / "d" / "new").touch)
        listener.close()
        assert ("CREATE", "new") in without_repeats(heard)
    finally:
        subprocess.run(["umount", second], check=True)


# Profiles that tell less


def profile_file(field: Path, events: str) -> str:
    path = field / "own.toml"
    path.write_text('name = "own"\nextends = "osxfs-cached"\n[events]\n' + events + "\n[sources]\n")
    return str(path)


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        ("deletes = false", [("CREATE", "new"), ("MODIFY", "new")]),
        ("creates = false", [("MODIFY", "new"), ("DELETE", "new")]),
        ('modifies = "never"', [("CREATE", "new"), ("DELETE", "new")]),
        ('modifies = "closed"', [("CREATE", "new"), ("MODIFY", "new"), ("DELETE", "new")]),
        ("inotify = false", []),
    ],
)
def test_a_profile_may_tell_less(
    share, field: Path, events: str, expected: list[tuple[str, str]]
) -> None:
    live = share(profile=profile_file(field, events), latency_ns=0)
    (live.source / "d").mkdir()
    live.settle()
    listener = Listener(live.guest / "d")
    heard = told(live, listener, lambda: (live.source / "d" / "new").write_text("new"))
    assert (live.guest / "d" / "new").read_text() == "new"
    heard += told(live, listener, (live.source / "d" / "new").unlink)
    assert not (live.guest / "d" / "new").exists()
    listener.close()
    assert [each for each in without_repeats(heard) if each[0] != "ATTRIB"] == expected


def test_a_profile_may_wait_until_a_name_is_quiet(share, field: Path) -> None:
    quiet_ns = 500_000_000
    live = share(
        profile=profile_file(field, 'debounce_files = "500ms"'), latency_ns=0, event_latency_ns=0
    )
    (live.source / "d").mkdir()
    (live.source / "d" / "file").touch()
    live.settle()
    listener = Listener(live.guest / "d")
    pauses_ns: list[int] = []

    def write_often() -> None:
        pauses_ns.clear()
        since_ns = time.monotonic_ns()
        for turn in range(10):
            (live.source / "d" / "file").write_text("often" * turn)
            time.sleep(0.005)
            assert (live.guest / "d" / "file").stat().st_size >= 0
            since_ns, before_ns = time.monotonic_ns(), since_ns
            pauses_ns.append(since_ns - before_ns)

    def heard_of_writes_in_a_row() -> list[Heard] | None:
        heard = told(live, listener, write_often)
        # Where others had the processor meanwhile, the name was quiet: that is no answer.
        return heard if max(pauses_ns) < quiet_ns // 4 else None

    heard = eventually(heard_of_writes_in_a_row)
    listener.close()
    assert [each.event for each in heard if each.event == "MODIFY"] == ["MODIFY"]
    assert heard[-1].seen == "often" * 9


# Without root


_AS_NOBODY = """
import os, subprocess, sys, tempfile, time
import osxfs_sim
from inotify_simple import INotify, flags
source, guest, host_events = sys.argv[1:]
os.mkdir(f"{source}/d")
with (
    tempfile.TemporaryDirectory() as state,
    osxfs_sim.share(source, guest, profile="osxfs-complete", calibrate=False,
                    state_directory=state, host_events=host_events,
                    latency_ns=0) as share,
):
    assert share.status().warnings == [], share.status().warnings
    notify = INotify()
    notify.add_watch(f"{guest}/d", flags.CREATE | flags.DELETE | flags.MODIFY)
    assert not os.path.exists(f"{guest}/d/new")
    # The server is another process: to it, this one is the host here and the guest below.
    with open(f"{source}/d/new", "w") as file:
        file.write("content")
    heard = set()
    while not {("CREATE", "new"), ("MODIFY", "new")} <= heard:
        for event in notify.read(timeout=60_000):
            heard |= {(flag.name, event.name) for flag in flags.from_mask(event.mask)}
            if event.name == "new":
                assert os.path.exists(f"{guest}/d/new")
    assert open(f"{guest}/d/new").read() == "content"
    def seen_once_told(name):
        # What came before it has been seen, too. A directory's making is a single event.
        os.mkdir(f"{source}/d/{name}")
        while not any(event.name == name for event in notify.read(timeout=60_000)):
            pass
        return share.status().events.seen
    seen = seen_once_told("before")
    with open(f"{guest}/d/own", "w") as file:
        file.write("own")
    time.sleep(0.2)
    assert seen_once_told("after") == seen + 1, "its own changes came back"
    print(share.status().events.watcher)
"""


@pytest.mark.starts_processes
@pytest.mark.parametrize("host_events", ["auto", "inotify"])
def test_an_ordinary_user_hears_the_host_too(nobody: tuple[Path, Path], host_events: str) -> None:
    need_fusermount()
    watcher = "fanotify" if host_events == "auto" else "inotify"
    assert run_as_nobody(_AS_NOBODY, *nobody, host_events).splitlines()[-1] == watcher
    assert not is_mounted(nobody[1])


def test_a_tree_that_goes_is_told_name_by_name_every_time(share) -> None:
    """The host is still at it when the first event is told, and done before the last is."""
    live = share(profile="osxfs-cached", latency_ns=0)
    for turn in range(25):
        tree = Path(f"tree-{turn}")
        (live.source / tree / "below").mkdir(parents=True)
        (live.source / tree / "leaf").touch()
        (live.source / tree / "below" / "leaf").touch()
        live.settle()
        notify = INotify()
        watches = {
            notify.add_watch(live.guest / place, flags.DELETE): place
            for place in (Path(), tree, tree / "below")
        }
        shutil.rmtree(live.source / tree)
        live.settle()
        heard = {
            watches[event.wd] / event.name
            for event in notify.read(timeout=0)
            if event.mask & flags.DELETE
        }
        notify.close()
        wanted = {tree, tree / "leaf", tree / "below", tree / "below" / "leaf"}
        assert heard == wanted
