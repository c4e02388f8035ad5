"""One body of stories about what the host changes, told by every watcher.

This process is the server for them: what another process does is the host's
change, and what this one does is the guest's, carried out by the server.
"""

import contextlib
import errno
import itertools
import os
import select
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.acting import acting_as
from support.complaints import noticed
from support.guests import refused, start
from support.nobody import NOBODY

from osxfs_sim.model.events import What
from osxfs_sim.mount import syscalls
from osxfs_sim.mount.mounts.mountpoints import MountError
from osxfs_sim.mount.tree.inodes import Inode, InodeTable
from osxfs_sim.mount.watch import inotify
from osxfs_sim.mount.watch.fanotify import FanotifyWatcher
from osxfs_sim.mount.watch.inotify import InotifyWatcher
from osxfs_sim.mount.watch.open_watcher import open_watcher
from osxfs_sim.mount.watch.watcher import HostChange, Lost, Watcher

pytestmark = pytest.mark.starts_processes

C, X, R, M, A, W = (
    What.CREATED,
    What.REMOVED,
    What.RENAMED,
    What.MODIFIED,
    What.ATTRIBUTES,
    What.CLOSED,
)
D = What.DIRECTORY

WATCHERS = ("file system", "directories", "inotify")
"""fanotify as root has it, fanotify as anybody has it, and inotify."""


def make_watcher(how: str, root: Inode, root_fd: int) -> Watcher:
    if how == "inotify":
        return open_watcher("inotify", root, root_fd)
    try:
        if how == "file system":
            if os.geteuid() != 0:
                pytest.skip("only root marks file systems")
            watcher = open_watcher("fanotify", root, root_fd)
        elif os.geteuid() != 0:
            watcher = open_watcher("fanotify", root, root_fd)
        else:
            with pytest.MonkeyPatch.context() as patch:
                patch.setattr(syscalls, "fanotify_init", init_as_nobody)
                patch.setattr(syscalls, "fanotify_mark", mark_directories_only)
                watcher = open_watcher("fanotify", root, root_fd)
    except MountError as error:
        pytest.skip(str(error))
    assert watcher._marks_directories is (how == "directories")
    return watcher


def init_as_nobody(flags: int, event_flags: int) -> int:
    """A group is unprivileged for ever if somebody without rights has made it."""
    with acting_as(NOBODY):
        return fanotify_init(flags, event_flags)


def mark_directories_only(group_fd: int, flags: int, *arguments: Any) -> None:
    """As the kernel answers whoever is not root."""
    if flags & 0x100:
        without(errno.EPERM)()
    fanotify_mark(group_fd, flags, *arguments)


fanotify_init, fanotify_mark = syscalls.fanotify_init, syscalls.fanotify_mark


def without(code: int) -> Callable[..., Any]:
    """A system call that this kernel does not have, or not for us."""

    def fail(*_: object, **__: object) -> None:
        raise OSError(code, os.strerror(code))

    return fail


class Host:
    """Another process, which does what it is told to, as far as the system lets it."""

    def __init__(self) -> None:
        self.process = start(
            "import os, sys\n"
            "for line in sys.stdin:\n"
            "    try:\n"
            "        exec(eval(line))\n"
            "        print('done', flush=True)\n"
            "    except OSError as error:\n"
            "        print(error, flush=True)\n"
        )

    @property
    def pid(self) -> int:
        return self.process.pid

    def try_to(self, code: str) -> str:
        """Do it, and return "done" or why not."""
        self.process.stdin.write(repr(code) + "\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()

    def end(self) -> None:
        self.process.communicate()
        assert self.process.returncode == 0


@pytest.fixture(scope="module")
def process() -> Iterator[Host]:
    host = Host()
    yield host
    host.end()


class Tree:
    """An export that is watched, and what was told of it."""

    def __init__(self, path: Path, watcher: Callable[[Inode, int], Watcher], host: Host) -> None:
        self.path = path
        self.fd = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        self.inodes = InodeTable(os.fstat(self.fd))
        self.root = self.inodes.root
        self.root.path_fd = self.fd
        self.watcher = watcher(self.root, self.fd)
        self._process = host
        assert self.watcher.watch(self.root, self.fd, b".")

    def host(self, code: str) -> None:
        """The host does it."""
        assert self.host_tries(code) == "done"

    def host_tries(self, code: str) -> str:
        return self._process.try_to(f"os.chdir({os.fspath(self.path)!r}); {code}")

    def inode(self, name: str) -> Inode:
        """The inode of a directory, as if the guest had looked it up."""
        inode = self.root
        here = self.path
        for part in Path(name).parts:
            here = here / part
            inode = self.inodes.find_or_add(inode, os.fsencode(part), here.lstat())
        return inode

    def follow(self, name: str) -> Inode:
        inode = self.inode(name)
        parent_fd = os.open(self.path / Path(name).parent, os.O_PATH)
        try:
            assert self.watcher.watch(inode, parent_fd, os.fsencode(Path(name).name))
        finally:
            os.close(parent_fd)
        return inode

    def read(self, most: int = 1_000) -> list[HostChange | Lost]:
        """All there is to read now."""
        found: list[HostChange | Lost] = []
        while True:
            changes = self.watcher.read(most)
            assert len(changes) <= most + 1
            found += changes
            # What is not followed is read too, and not told.
            if len(changes) < most and not select.select([self.watcher], [], [], 0)[0]:
                return found

    def told(self) -> dict[str, What]:
        """What is told of each path, a name's flags joined, in the order they came first."""
        flags: dict[str, What] = {}
        for change in self.read():
            path = self.path_of(change.directory, change.name)
            flags[path] = flags.get(path, What(0)) | change.what
        return flags

    def path_of(self, directory: Inode, name: bytes) -> str:
        parts = [name] if name else []
        while directory is not self.root:
            parts.append(directory.name)
            directory = directory.parent
        return "/".join(os.fsdecode(part) for part in reversed(parts)) or "."

    def own(self, *names: str) -> None:
        """The server says that it has changed them."""
        for name in names:
            path = Path(name)
            fd = os.open(self.path / path.parent, os.O_PATH)
            self.watcher.record_own_change(self.inode(str(path.parent)), os.fsencode(path.name), fd)
            os.close(fd)

    def close(self) -> None:
        self.watcher.close()
        os.close(self.fd)


@pytest.fixture(params=["memory", "disk"])
def place(request, field, tmp_path) -> Path:
    """Two kinds of file system, wherever the machine has two."""
    return field if request.param == "memory" else tmp_path


@pytest.fixture(params=WATCHERS)
def tree(request, place, process) -> Iterator[Tree]:
    tree = Tree(place, lambda root, fd: make_watcher(request.param, root, fd), process)
    yield tree
    tree.close()


@pytest.fixture
def inotify_tree(field, process) -> Iterator[Tree]:
    tree = Tree(field, InotifyWatcher, process)
    yield tree
    tree.close()


# What the host does


def test_nothing_is_told_where_nothing_happened(tree):
    assert tree.told() == {}


@pytest.mark.parametrize(
    ("before", "act", "path", "what"),
    [
        ("", "open('f', 'x').close()", "f", C | W),
        ("", "os.mkdir('d')", "d", C | D),
        ("", "os.symlink('to', 's')", "s", C),
        ("", "os.mkfifo('p')", "p", C),
        ("open('f', 'x')", "os.link('f', 'g')", "g", C),
        ("open('f', 'x')", "os.unlink('f')", "f", X),
        ("open('f', 'x'); os.link('f', 'g')", "os.unlink('g')", "g", X),
        ("os.mkdir('d')", "os.rmdir('d')", "d", X | D),
        ("open('f', 'x')", "open('f', 'a').write('text')", "f", M | W),
        ("open('f', 'x').write('text')", "os.truncate('f', 1)", "f", M),
        ("open('f', 'x')", "os.chmod('f', 0o600)", "f", A),
        ("open('f', 'x')", "os.utime('f', ns=(0, 1))", "f", A),
        ("open('f', 'x')", "os.chown('f', os.getuid(), os.getgid())", "f", A),
        ("os.symlink('to', 's')", "os.utime('s', ns=(0, 1), follow_symlinks=False)", "s", A),
        ("open('f', 'x')", "open('f', 'a').close()", "f", W),
    ],
)
def test_a_change_by_the_host_is_told(tree, before, act, path, what):
    tree.host(before)
    tree.read()
    tree.host(act)
    assert tree.told() == {path: what}


def test_an_extended_attribute_is_an_attribute(tree):
    (tree.path / "f").touch()
    try:
        os.setxattr(tree.path / "f", "user.one", b"")
    except OSError:
        pytest.skip("this file system keeps no extended attributes")
    tree.own("f")
    tree.read()
    tree.host("os.setxattr('f', 'user.two', b'value')")
    assert tree.told() == {"f": A}


def test_reading_listing_and_opening_are_no_changes(tree):
    tree.host("open('f', 'x').write('text')")
    tree.read()
    tree.host("open('f').read(); os.listdir(); os.stat('f')")
    assert tree.told() == {}


def test_names_are_told_as_the_bytes_they_are(tree):
    names = (b"\xff\xfe", b"two\nlines", "\u00e9".encode(), b" ", b"\\", b"n" * 255)
    for name in names:
        tree.host(f"os.mkdir({name!r})")
        assert [change.name for change in tree.read()] == [name]


def test_a_change_in_a_watched_directory_is_told_of_that(tree):
    tree.host("os.makedirs('a/b')")
    tree.follow("a")
    inode = tree.follow("a/b")
    tree.read()
    tree.host("open('a/b/f', 'x').close()")
    changes = tree.read()
    assert {(change.directory, change.name) for change in changes} == {(inode, b"f")}


def test_a_directory_that_is_not_watched_is_passed_over(tree):
    tree.host("os.mkdir('a')")
    tree.read()
    tree.host("open('a/f', 'x').close(); os.mkdir('a/d'); os.rename('a/f', 'a/g')")
    assert tree.told() == {}


def test_a_forgotten_directory_is_passed_over(tree):
    tree.host("os.mkdir('a')")
    inode = tree.follow("a")
    tree.read()
    tree.host("os.mkdir('a/before')")
    tree.watcher.unwatch(inode)
    tree.host("os.mkdir('a/after')")
    assert tree.told() == {}
    tree.watcher.unwatch(inode)
    tree.follow("a")
    tree.host("os.mkdir('a/again')")
    assert tree.told() == {"a/again": C | D}


def test_a_forgotten_directory_leaves_no_mark_in_the_kernel(tree):
    tree.host("os.mkdir('a')")
    before = marks(tree.watcher)
    inode = tree.follow("a")
    tree.watcher.unwatch(inode)
    assert marks(tree.watcher) == before


def marks(watcher: Watcher) -> int:
    """How many the kernel has for this watcher (proc(5))."""
    lines = Path(f"/proc/self/fdinfo/{watcher.fileno()}").read_text().splitlines()
    return sum(line.startswith(("inotify wd", "fanotify ino", "fanotify sdev")) for line in lines)


def test_a_directorys_own_attributes_are_a_change_of_its_name(tree):
    tree.host("os.makedirs('a/b')")
    tree.follow("a")
    inode = tree.follow("a/b")
    tree.read()
    tree.host("os.chmod('a/b', 0o700)")
    assert tree.told() == {"a/b": A | D}
    inode.moved(tree.root, b"elsewhere", inode.parent, inode.name)
    tree.host("os.rename('a/b', 'elsewhere')")
    tree.read()
    tree.host("os.chmod('elsewhere', 0o755)")
    assert tree.told() == {"elsewhere": A | D}


def test_the_roots_own_attributes_are_a_change_of_the_root(tree):
    tree.host("os.chmod('.', 0o700)")
    changes = tree.read()
    assert {(change.directory, change.name) for change in changes} == {(tree.root, b"")}
    assert {change.what for change in changes} == {A | D}


def test_a_directory_that_was_replaced_is_watched_once_it_is_watched_again(tree):
    tree.host("os.mkdir('a')")
    inode = tree.follow("a")
    tree.read()
    tree.host("os.rmdir('a'); os.mkdir('a')")
    assert tree.told() == {"a": C | X | D}
    # ext4 gives the number of the first to the second: the guest's inode may be the same.
    tree.inodes.root.nlookup += 1
    inode.host_number = (tree.path / "a").stat().st_ino
    assert tree.watcher.watch(inode, tree.fd, b"a")
    tree.host("os.mkdir('a/b')")
    assert [(change.directory, change.name) for change in tree.read()] == [(inode, b"b")]


# Renames


def sides(tree: Tree) -> list[tuple[str, str | None]]:
    """Each side of the renames told: its path, and where it says that it went."""
    return [
        (
            tree.path_of(change.directory, change.name),
            None if change.moved_to is None else tree.path_of(*change.moved_to),
        )
        for change in tree.read()
        if change.what & R
    ]


def test_a_rename_within_a_directory_has_two_sides(tree):
    tree.host("open('f', 'x').close()")
    tree.read()
    tree.host("os.rename('f', 'g')")
    old, new = tree.read()
    assert (old.directory, old.name, old.what) == (tree.root, b"f", R)
    assert old.moved_to == (tree.root, b"g")
    assert (new.directory, new.name, new.what) == (tree.root, b"g", R)
    assert new.moved_to is None


def test_a_rename_between_watched_directories_has_two_sides(tree):
    tree.host("os.mkdir('a'); os.mkdir('b'); os.mkdir('a/d')")
    tree.follow("a")
    tree.follow("b")
    tree.read()
    tree.host("os.rename('a/d', 'b/e')")
    assert sides(tree) == [("a/d", "b/e"), ("b/e", None)]


def test_of_a_rename_out_of_sight_the_old_side_is_told(tree):
    tree.host("os.mkdir('away'); open('f', 'x').close()")
    tree.read()
    tree.host("os.rename('f', 'away/f')")
    assert sides(tree) == [("f", None)]


def test_of_a_rename_into_sight_the_new_side_is_told(tree):
    tree.host("os.mkdir('away'); open('away/f', 'x').close()")
    tree.read()
    tree.host("os.rename('away/f', 'f')")
    assert sides(tree) == [("f", None)]


def test_an_exchange_is_two_renames(tree):
    tree.host("open('f', 'x').close(); os.mkdir('d')")
    tree.read()
    tree.host(
        "import ctypes; "
        "assert not ctypes.CDLL(None).renameat2(-100, b'f', -100, b'd', ctypes.c_uint(2))"
    )
    assert Counter(sides(tree)) == Counter([("f", "d"), ("d", None), ("d", "f"), ("f", None)])


def test_renames_that_are_read_piece_by_piece_stay_together(tree):
    tree.host("[os.mkdir(f'd{number}') for number in range(20)]")
    tree.read()
    tree.host("[os.rename(f'd{number}', f'e{number}') for number in range(20)]")
    read = tree.read(most=1)
    assert len(read) == 40
    for old, new in zip(read[::2], read[1::2], strict=True):
        assert old.moved_to == (new.directory, new.name)


# Whose change it is


def act_as_server(tree: Tree) -> None:
    """Everything that a guest may ask for, done and noted."""
    path = tree.path
    fd = os.open(path / "f", os.O_CREAT | os.O_EXCL | os.O_RDWR)
    tree.own("f")
    os.write(fd, b"text")
    tree.watcher.record_own_change_fd(fd)
    os.ftruncate(fd, 1)
    tree.watcher.record_own_change_fd(fd)
    os.close(fd)
    (path / "d").mkdir()
    tree.own("d")
    (path / "d").chmod(0o700)
    tree.own("d")
    os.link(path / "f", path / "g")
    tree.own("g")
    (path / "s").symlink_to("nowhere")
    tree.own("s")
    (path / "g").rename(path / "h")
    tree.own("g", "h")
    (path / "s").unlink()
    tree.own("s")
    os.utime(path / "h", ns=(0, 1))
    tree.own("h")


def test_our_own_changes_are_not_told(tree):
    act_as_server(tree)
    if not tree.watcher.needs_own_changes:
        assert tree.told() == {}
    else:
        # Of names that are gone before anybody read, nothing is left to tell by.
        assert {path for path in tree.told() if (tree.path / path).exists()} == set()


def test_our_own_changes_are_not_told_if_each_is_read_at_once(tree):
    def act(change: Callable[[], object], *names: str) -> None:
        change()
        tree.own(*names)
        assert tree.told() == {}

    path = tree.path
    act((path / "f").touch, "f")
    act(lambda: (path / "f").chmod(0o600), "f")
    act(lambda: (path / "f").write_text("text"), "f")
    act((path / "d").mkdir, "d")
    act((path / "d").rmdir, "d")
    act(lambda: (path / "f").rename(path / "g"), "f", "g")
    act(lambda: os.link(path / "g", path / "f"), "f")
    act(lambda: (path / "f").unlink(), "f")
    act(lambda: path.chmod(0o700), ".")


def test_the_hosts_changes_are_told_among_our_own(tree):
    tree.host("open('theirs', 'x').close()")
    tree.read()
    (tree.path / "ours").touch()
    tree.own("ours")
    tree.host("open('theirs', 'a').write('text')")
    (tree.path / "ours").unlink()
    tree.own("ours")
    told = tree.told()
    assert told["theirs"] & M
    assert not told.get("ours", What(0)) & X


def test_a_change_by_both_is_told_if_the_host_came_last(tree):
    (tree.path / "f").write_text("ours")
    tree.own("f")
    tree.host("open('f', 'r+').write('host')")
    assert tree.told()["f"] & M


def test_what_the_host_put_in_place_of_ours_is_told(tree):
    (tree.path / "f").write_text("ours")
    tree.own("f")
    tree.host("os.unlink('f'); open('f', 'x').write('host')")
    told = tree.told()
    assert told["f"] & (C | X) == C | X


def test_of_changes_at_the_same_time_exactly_the_hosts_are_told(tree):
    many = 300
    tree.host("import threading; go = threading.Event()")
    tree.host(
        "thread = threading.Thread(target=lambda here=os.getcwd(): "
        f"[go.wait(), [os.mkdir(f'{{here}}/theirs-{{each}}') for each in range({many})]])"
    )
    told: dict[str, What] = {}
    tree.host("thread.start(); go.set()")
    for each in range(many):
        (tree.path / f"ours-{each}").mkdir()
        tree.own(f"ours-{each}")
        if each % 10 == 0:
            told |= tree.told()
    tree.host("thread.join()")
    told |= tree.told()
    assert told == {f"theirs-{each}": C | D for each in range(many)}


# What both change, in any order

NAMES = ("f", "g")
ACTS = {
    "write": "h = os.open({0!r}, os.O_WRONLY | os.O_CREAT, 0o644); os.write(h, b'x'); os.close(h)",
    "remove": "os.rmdir({0!r}) if os.path.isdir({0!r}) else os.unlink({0!r})",
    "mkdir": "os.mkdir({0!r})",
    "rename": "os.rename({0!r}, {1!r})",
    "chmod": "os.chmod({0!r}, 0o755)",
}
STEPS = st.one_of(
    st.just(("read",)),
    st.tuples(
        st.sampled_from(("host", "own")),
        st.sampled_from(sorted(ACTS)),
        st.sampled_from(list(itertools.permutations(NAMES))),
    ),
)
FG, GF = NAMES, NAMES[::-1]


def any_history_is_told(make, place, process, examples=40):
    """Whatever both did: a name that the host was the last to change is told at the next read."""
    number = itertools.count()

    @settings(max_examples=examples, deadline=None, database=None, derandomize=True)
    @given(st.lists(STEPS, max_size=12))
    @example([("own", "write", FG), ("host", "write", FG)])
    @example([("own", "write", FG), ("read",), ("host", "write", FG)])
    @example(
        [
            ("own", "mkdir", FG),
            ("read",),
            ("host", "rename", FG),
            ("read",),
            ("host", "rename", GF),
        ]
    )
    @example(
        [
            ("own", "mkdir", FG),
            ("own", "remove", FG),
            ("read",),
            ("host", "mkdir", FG),
            ("host", "remove", FG),
        ]
    )
    def check(steps):
        path = place / str(next(number))
        path.mkdir()
        tree = Tree(path, make, process)
        try:
            check_history(tree, [*steps, ("read",)])
        finally:
            tree.close()

    check()


def check_history(tree: Tree, steps: list) -> None:
    untold: set[str] = set()
    for step in steps:
        if step == ("read",):
            missing = untold - set(tree.told())
            assert not missing, f"never told: {missing}"
            untold.clear()
            continue
        who, act, names = step
        code = ACTS[act].format(*(os.fspath(tree.path / name) for name in names))
        changed = names if act == "rename" else names[:1]
        if who == "host":
            if tree.host_tries(code) == "done":
                untold.update(changed)
        else:
            with contextlib.suppress(OSError):
                exec(code, {"os": os})
                tree.own(*changed)
                untold.difference_update(changed)
        for name in NAMES:
            if (tree.path / name).is_dir():
                tree.follow(name)


@pytest.mark.parametrize("how", WATCHERS)
def test_in_any_history_what_the_host_did_last_is_told(how, place, process):
    any_history_is_told(lambda root, fd: make_watcher(how, root, fd), place, process)


class TakesTheHostForUs(FanotifyWatcher):
    def __init__(self, root: Inode, root_fd: int, host: int) -> None:
        super().__init__(root, root_fd)
        self._pid = host


class KnowsObjectsByNumberAlone(InotifyWatcher):
    def _is_as_left(self, status: os.stat_result) -> bool:
        return (status.st_dev, status.st_ino) in self._own_objects


class NeverUsesUpARemoval(InotifyWatcher):
    def _is_own_name(self, directory, watch, mask, name):
        own = self._own_names.get((watch, name))
        removals = own.removals if own is not None else 0
        answer = super()._is_own_name(directory, watch, mask, name)
        if own is not None:
            own.removals = removals
        return answer


class KeepsWhatTheHostMovedAway(InotifyWatcher):
    def _is_own_name(self, directory, watch, mask, name):
        own = self._own_names.get((watch, name))
        made = own.made if own is not None else None
        answer = super()._is_own_name(directory, watch, mask, name)
        if own is not None:
            own.made = made
        return answer


@pytest.mark.parametrize(
    "bug", [KnowsObjectsByNumberAlone, NeverUsesUpARemoval, KeepsWhatTheHostMovedAway]
)
def test_the_check_of_histories_notices(bug, field, process):
    with noticed(AssertionError):
        any_history_is_told(bug, field, process, examples=500)


def test_the_check_of_histories_notices_a_watcher_that_takes_the_host_for_us(field, process):
    need_root_marks()
    with noticed(AssertionError):
        any_history_is_told(
            lambda root, fd: TakesTheHostForUs(root, fd, process.pid), field, process
        )


def need_root_marks() -> None:
    if os.geteuid() != 0:
        pytest.skip("only root is told the processes of others")


# Too much of it


def queue_limit(how: str) -> int:
    kind = "inotify" if how == "inotify" else "fanotify"
    limit = int(Path(f"/proc/sys/fs/{kind}/max_queued_events").read_text())
    if limit > 50_000:
        pytest.skip("this machine's queues are too long to overflow in a test")
    return limit


@pytest.mark.parametrize("how", WATCHERS)
def test_more_than_the_kernel_keeps_is_said_to_be_lost(how, field, process):
    limit = queue_limit(how)
    tree = Tree(field, lambda root, fd: make_watcher(how, root, fd), process)
    tree.host(f"[os.mkdir(str(number)) for number in range({limit + 3_000})]")
    read = tree.read(most=64)
    lost = [change for change in read if isinstance(change, Lost)]
    assert len(lost) == 1
    assert len(read) <= limit + 1
    tree.host("os.mkdir('after')")
    assert tree.told() == {"after": C | D}
    tree.close()


@pytest.mark.parametrize("how", WATCHERS)
def test_one_reading_takes_about_as_much_as_it_is_asked_for(how, field, process):
    tree = Tree(field, lambda root, fd: make_watcher(how, root, fd), process)
    tree.host("[os.mkdir(str(number)) for number in range(500)]")
    first = tree.watcher.read(10)
    rest = tree.read(10)
    assert len(first) == 10
    assert [change.name for change in (*first, *rest)] == [b"%d" % each for each in range(500)]
    tree.close()


def test_what_is_remembered_of_our_own_changes_is_bounded(inotify_tree, monkeypatch):
    monkeypatch.setattr(inotify, "_OWN_KEPT", 10)
    watcher = inotify_tree.watcher
    for number in range(50):
        (inotify_tree.path / str(number)).touch()
        inotify_tree.own(str(number))
    assert len(watcher._own_names) == len(watcher._own_objects) == 10
    # The forgotten ones are told as if the host had made them.
    assert set(inotify_tree.told()) == {str(number) for number in range(40)}


def test_removals_that_were_lost_do_not_hide_later_ones(field, process):
    limit = queue_limit("inotify")
    tree = Tree(field, InotifyWatcher, process)
    tree.host(f"[os.mkdir(str(number)) for number in range({limit + 10})]")
    (field / "0").rmdir()  # its event finds the queue full
    tree.own("0")
    assert any(isinstance(change, Lost) for change in tree.read())
    tree.host("os.mkdir('0')")
    tree.read()
    tree.host("os.rmdir('0')")
    assert tree.told() == {"0": X | D}
    tree.close()


@pytest.mark.parametrize("cut", [1, 10, 30, 40])
def test_a_cut_record_is_taken_for_a_loss(tree, monkeypatch, cut):
    tree.host("os.mkdir('directory-with-a-long-name')")
    read = os.read
    monkeypatch.setattr(os, "read", lambda fd, size: read(fd, size)[:cut])
    # In memory others change the same file system: what is ours may come with a later read.
    reads = list(iter(lambda: [type(change) for change in tree.watcher.read(100)], []))
    monkeypatch.undo()
    assert reads
    assert all(read in ([Lost], [Lost, Lost]) for read in reads)
    tree.host("os.mkdir('after')")
    assert tree.told() == {"after": C | D}


# What cannot be followed


def test_a_directory_of_another_file_system_is_not_watched(tree, tmp_path, field):
    other = tmp_path if tree.path == field else field
    if other.stat().st_dev == tree.path.stat().st_dev:
        pytest.skip("this machine has one file system only")
    fd = os.open(other, os.O_PATH)
    inode = tree.inodes.find_or_add(tree.root, b"other", os.fstat(fd))
    assert tree.watcher.watch(inode, fd, b".") is False
    os.close(fd)


def test_what_took_a_directorys_place_is_not_followed_for_it(tree):
    tree.host("os.mkdir('a'); os.mkdir('b')")
    inode = tree.inode("a")
    tree.host("os.rename('a', 'away'); os.rename('b', 'a')")
    assert tree.watcher.watch(inode, tree.fd, b"a") is False
    tree.host("os.rmdir('a'); os.symlink('away', 'a')")
    assert tree.watcher.watch(inode, tree.fd, b"a") is False
    tree.host("os.unlink('a')")
    assert tree.watcher.watch(inode, tree.fd, b"a") is False


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be other users")
@pytest.mark.parametrize("how", ["directories", "inotify"])
def test_a_directory_that_may_not_be_read_is_not_watched(how, field, process):
    field.chmod(0o755)
    tree = Tree(field, lambda root, fd: make_watcher(how, root, fd), process)
    tree.host("os.mkdir('a'); os.chmod('a', 0o700)")
    inode = tree.inode("a")
    with acting_as(NOBODY):
        assert tree.watcher.watch(inode, tree.fd, b"a") is False
    tree.close()


_WITH_FEW_WATCHES = """
import os, sys
from pathlib import Path
from osxfs_sim.mount.tree.inodes import InodeTable
from osxfs_sim.mount.watch.open_watcher import open_watcher
kind, path = sys.argv[1:]
limit = {"inotify": "max_inotify_watches", "fanotify": "max_fanotify_marks"}[kind]
Path("/proc/sys/user", limit).write_text("3")
os.chdir(path)
fd = os.open(".", os.O_PATH)
inodes = InodeTable(os.fstat(fd))
inodes.root.path_fd = fd
watcher = open_watcher(kind, inodes.root, fd)
followed = [watcher.watch(inodes.root, fd, b".")]
for name in ("a", "b", "c", "d"):
    os.mkdir(name)
    inode = inodes.find_or_add(inodes.root, name.encode(), os.stat(name))
    followed.append(watcher.watch(inode, fd, name.encode()))
watcher.unwatch(inode)
watcher.unwatch(inodes.find_or_add(inodes.root, b"a", os.stat("a")))
followed.append(watcher.watch(inode, fd, b"d"))
print(followed, watcher.refused)
"""


@pytest.mark.parametrize("kind", ["inotify", "fanotify"])
def test_a_directory_for_which_no_watch_is_left_is_not_watched(kind, field):
    in_user_namespace = ("unshare", "--user", "--map-root-user")
    if shutil.which("unshare") is None or subprocess.run([*in_user_namespace, "true"]).returncode:
        pytest.skip("this machine gives no user namespaces")
    # One has limits of its own.
    done = subprocess.run(
        [*in_user_namespace, sys.executable, "-c", _WITH_FEW_WATCHES, kind, field],
        capture_output=True,
        text=True,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    assert done.stdout == "[True, True, True, False, False, True] 2\n", done.stderr


# Which watcher


def test_auto_is_fanotify_where_it_can_be_had(field):
    with opened_tree(field) as (root, fd), closing(open_watcher("auto", root, fd)) as watcher:
        assert (watcher.kind, watcher.needs_own_changes) == ("fanotify", False)


@contextlib.contextmanager
def opened_tree(path: Path) -> Iterator[tuple[Inode, int]]:
    fd = os.open(path, os.O_PATH)
    yield InodeTable(os.fstat(fd)).root, fd
    os.close(fd)


@pytest.mark.parametrize("call", ["fanotify_init", "fanotify_mark", "event_handle"])
def test_auto_is_inotify_where_fanotify_cannot_be_had(field, monkeypatch, call):
    fail = (lambda *_: None) if call == "event_handle" else without(errno.ENOSYS)
    monkeypatch.setattr(syscalls, call, fail)
    with opened_tree(field) as (root, fd):
        before = os.listdir("/proc/self/fd")
        with closing(open_watcher("auto", root, fd)) as watcher:
            assert (watcher.kind, watcher.needs_own_changes) == ("inotify", True)
        with pytest.raises(MountError, match=r"^fanotify cannot watch .*: watch by inotify"):
            open_watcher("fanotify", root, fd)
        assert os.listdir("/proc/self/fd") == before


@pytest.mark.parametrize("code", [errno.EPERM, errno.EXDEV, errno.EOPNOTSUPP])
def test_where_the_file_system_cannot_be_marked_directories_are(field, monkeypatch, code):
    def refuse_file_systems(group_fd, flags, *arguments):
        if flags & 0x100:
            without(code)()
        fanotify_mark(group_fd, flags, *arguments)

    monkeypatch.setattr(syscalls, "fanotify_mark", refuse_file_systems)
    with opened_tree(field) as (root, fd), closing(FanotifyWatcher(root, fd)) as watcher:
        assert watcher._marks_directories


@pytest.mark.parametrize("how", ["file system", "directories"])
def test_before_a_rename_was_one_event_its_sides_are_told_apart(how, field, process, monkeypatch):
    mark = fanotify_mark

    def as_in_linux_5_16(group_fd, flags, mask, *arguments):
        if mask & 0x1000_0000:
            without(errno.EINVAL)()
        mark(group_fd, flags, mask, *arguments)

    monkeypatch.setattr(syscalls, "fanotify_mark", as_in_linux_5_16)
    monkeypatch.setitem(globals(), "fanotify_mark", as_in_linux_5_16)
    tree = Tree(field, lambda root, fd: make_watcher(how, root, fd), process)
    tree.host("open('f', 'x').close()")
    tree.read()
    tree.host("os.rename('f', 'g')")
    assert sides(tree) == [("f", None), ("g", None)]
    tree.close()


def test_before_handles_for_events_there_were_handles(field, monkeypatch):
    with opened_tree(field) as (_, fd):
        new = syscalls.event_handle(fd, b"")
        # No kernel knows this flag, as those before Linux 6.5 did not know the other.
        monkeypatch.setattr(syscalls, "_AT_HANDLE_FID", 1 << 30)
        assert syscalls.event_handle(fd, b"") == new
        with refused(errno.ENOENT):
            syscalls.event_handle(fd, b"missing")


def test_two_inodes_of_one_directory_share_its_watch(tree):
    tree.host("os.mkdir('a')")
    first = tree.follow("a")
    tree.inodes.detach_host_number(first)
    tree.inodes._by_number.clear()
    second = tree.follow("a")
    assert first is not second
    tree.watcher.unwatch(first)
    tree.read()
    tree.host("os.mkdir('a/b')")
    assert [(change.directory, change.name) for change in tree.read()] == [(second, b"b")]


def test_no_more_inotify_is_a_message_with_its_remedy(field, monkeypatch):
    monkeypatch.setattr(inotify, "INotify", without(errno.EMFILE))
    with (
        opened_tree(field) as (root, fd),
        pytest.raises(
            MountError,
            match=r"^inotify cannot be had \(Too many open files\): "
            r"raise the sysctl fs\.inotify\.max_user_instances$",
        ),
    ):
        open_watcher("inotify", root, fd)


def test_where_change_times_have_ticks_only_removals_are_taken_for_ours(
    field, process, monkeypatch
):
    monkeypatch.setattr(inotify, "_change_times_tell", lambda _: False)
    tree = Tree(field, InotifyWatcher, process)
    (field / "f").touch()
    tree.own("f")
    assert tree.told() == {"f": C | W | A} or tree.told() == {}
    (field / "f").unlink()
    tree.own("f")
    assert tree.told() == {}
    tree.host("open('f', 'x').close(); os.unlink('f')")
    assert tree.told() == {"f": C | W | X}
    tree.close()


@pytest.mark.parametrize(
    ("release", "magic", "tell"),
    [
        ("6.13.0", 0xEF53, True),
        ("6.12.99-generic", 0xEF53, False),
        ("5.20", 0x01021994, False),
        ("7.0-rc1", 0x01021994, True),
        ("6.18.44-custom", 0x65735546, False),
        ("unknown", 0xEF53, False),
    ],
)
def test_change_times_tell_changes_apart_on_new_kernels_and_some_file_systems(
    monkeypatch, release, magic, tell
):
    monkeypatch.setattr(os, "uname", lambda: SimpleNamespace(release=release))
    monkeypatch.setattr(syscalls, "file_system_magic", lambda _: magic)
    assert inotify._change_times_tell(0) is tell


def test_a_closed_watcher_holds_nothing(tree):
    before = len(os.listdir("/proc/self/fd"))
    tree.watcher.close()
    assert len(os.listdir("/proc/self/fd")) == before - 1
