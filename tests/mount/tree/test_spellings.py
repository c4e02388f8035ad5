"""Names that fold together: FoldedNames on a directory without a mount, then on real mounts."""

import contextlib
import ctypes
import errno
import os
import shutil
import subprocess
import time
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from osxfs_sim.model.caching import CacheTimeouts
from osxfs_sim.model.names import RULES
from osxfs_sim.mount.tree import spellings
from osxfs_sim.mount.tree.collisions import collisions_below
from osxfs_sim.mount.tree.inodes import InodeTable
from osxfs_sim.mount.tree.spellings import CaseOnlyRenameError, ExactNames, FoldedNames
from osxfs_sim.mount.tree.syscall_inspection import Renaming

HOUR_NS = 3_600 * 10**9
NFC, NFD = "caf\xe9".encode(), b"cafe\xcc\x81"
NOT_TEXT = b"no\xfftext"


def refused(code: int) -> contextlib.AbstractContextManager[Any]:
    return pytest.raises(OSError, check=lambda error: error.errno == code)


class Clock:
    """The time as the tests make it pass; by the wall clock, all files are a day old."""

    def __init__(self) -> None:
        self.now_ns = time.time_ns()

    def monotonic_ns(self) -> int:
        return self.now_ns

    def time_ns(self) -> int:
        return self.now_ns + 86_400 * 10**9


class Bench:
    """FoldedNames at work in one directory, with what it asks of others counted."""

    def __init__(self, path: Path, rules: str, monkeypatch: pytest.MonkeyPatch) -> None:
        self.path = path
        self.fd = os.open(path, os.O_PATH | os.O_DIRECTORY)
        self.table = InodeTable(os.fstat(self.fd))
        self.root = self.table.root
        self.ends = 0
        self.can_end = True
        self.reads = 0
        self.clock = Clock()
        self.names = FoldedNames(RULES[rules], self.increment_epoch, "/mnt/share")

        def listdir(path: int) -> list[str]:
            self.reads += 1
            return os.listdir(path)

        real = {name: getattr(os, name) for name in dir(os)}
        monkeypatch.setattr(spellings, "os", types.SimpleNamespace(**{**real, "listdir": listdir}))
        monkeypatch.setattr(spellings, "time", self.clock)

    def increment_epoch(self) -> bool:
        self.ends += 1
        return self.can_end

    def find(self, asked: bytes) -> bytes | None:
        try:
            return self.names.find(self.root, self.fd, asked)[0]
        except FileNotFoundError:
            return None

    def make(self, asked: bytes) -> bytes:
        """As a handler makes a file."""
        name = self.names.new(self.root, self.fd, asked)
        os.close(os.open(name, os.O_CREAT | os.O_EXCL | os.O_WRONLY, dir_fd=self.fd))
        self.names.added(self.root, self.fd, name, asked)
        return name

    def remove(self, asked: bytes) -> None:
        name = self.names.existing(self.root, self.fd, asked)
        os.unlink(name, dir_fd=self.fd)
        self.names.removed(self.root, self.fd, name, asked)

    def miss(self, asked: bytes, cache_timeout_ns: int = HOUR_NS) -> int:
        """As a handler answers that there is no *requested*: how long that may be cached."""
        assert self.find(asked) is None
        return self.names.negative_timeout_ns(self.root, asked, cache_timeout_ns)

    def cache(self, name: bytes, asked: bytes) -> int:
        return self.names.entry_timeouts(
            name, asked, CacheTimeouts(HOUR_NS, HOUR_NS)
        ).entry_timeout_ns


@pytest.fixture
def bench(field: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Bench]]:
    benches = []

    def make(rules: str = "apfs") -> Bench:
        benches.append(Bench(field, rules, monkeypatch))
        return benches[-1]

    yield make
    for each in benches:
        os.close(each.fd)


# What a name reaches


def test_a_name_is_reached_in_any_spelling_its_own_first(bench) -> None:
    names = bench()
    (names.path / "ReadMe").touch()
    assert names.find(b"readme") == names.find(b"README") == names.find(b"ReadMe") == b"ReadMe"
    assert names.find(b"readme2") is None
    (names.path / "README").touch()
    (names.path / "readMe").touch()
    for own in (b"ReadMe", b"README", b"readMe"):
        assert names.find(own) == own
    assert names.find(b"readme") == b"README"  # the first in the order of bytes


def test_a_name_reached_by_its_own_spelling_costs_no_reading(bench) -> None:
    names = bench()
    (names.path / "a").touch()
    assert names.find(b"a") == b"a"
    assert names.reads == 0
    assert names.find(b"A") == b"a"
    assert names.reads == 1


def test_a_new_name_never_stands_beside_another_spelling(bench) -> None:
    names = bench()
    assert names.make(b"a") == b"a"
    with refused(errno.EEXIST):
        names.names.new(names.root, names.fd, b"A")
    assert names.names.new(names.root, names.fd, b"A", may_exist=True) == b"a"
    assert names.names.target(names.root, names.fd, b"A")[0] == b"a"
    assert names.names.target(names.root, names.fd, b"B") == (b"B", None)


def test_what_is_not_text_is_served_but_never_made(bench) -> None:
    names = bench()
    with refused(errno.EILSEQ):
        names.make(NOT_TEXT)
    os.mknod(os.fsencode(names.path) + b"/" + NOT_TEXT)
    assert names.find(NOT_TEXT) == NOT_TEXT
    assert names.find(NOT_TEXT.upper()) is None
    assert names.names.existing(names.root, names.fd, NOT_TEXT) == NOT_TEXT


def test_hfs_stores_and_lists_decomposed(bench) -> None:
    names = bench("hfs+")
    assert names.make(NFC) == NFD
    assert os.listdir(os.fsencode(names.path)) == [NFD]
    assert names.find(NFC) == NFD
    assert names.names.display_name(names.fd, NFD) == NFD


def test_hfs_lists_what_the_host_spells_both_ways_as_it_is(bench) -> None:
    names = bench("hfs+")
    os.mknod(os.fsencode(names.path) + b"/" + NFC)
    assert names.names.display_name(names.fd, NFC) == NFD
    os.mknod(os.fsencode(names.path) + b"/" + NFD)
    assert [names.names.display_name(names.fd, name) for name in (NFC, NFD)] == [NFC, NFD]


def test_a_name_too_long_to_ask_for_may_be_shorter_as_it_is(bench) -> None:
    names = bench("hfs+")
    composed, decomposed = "\xe9".encode() * 127, b"e\xcc\x81" * 127
    os.mknod(os.fsencode(names.path) + b"/" + composed)
    assert names.names.display_name(names.fd, composed) == decomposed
    assert names.find(decomposed) == composed
    with refused(errno.ENAMETOOLONG):
        names.find(b"o\xcc\x81" * 127)


# What the guest may cache


def test_only_the_hosts_own_spelling_is_cached(bench) -> None:
    names = bench()
    assert names.cache(b"a", b"a") == HOUR_NS
    assert names.cache(b"a", b"A") == 0
    assert names.names.entry_timeouts(b"a", b"A", CacheTimeouts(5, 7)) == CacheTimeouts(0, 7)


def test_a_change_under_another_spelling_invalidates_what_is_cached(bench) -> None:
    names = bench()
    for name in (b"a", b"b"):
        names.cache(names.make(name), name)
    names.remove(b"a")
    assert names.ends == 0
    names.remove(b"B")
    assert names.ends == 1


def test_where_nothing_was_ever_cached_nothing_is_invalidated(bench) -> None:
    names = bench()
    names.make(b"a")
    names.names.entry_timeouts(b"a", b"a", CacheTimeouts(0, HOUR_NS))
    names.miss(b"b", 0)
    names.remove(b"A")
    assert names.ends == 0


def test_one_spelling_of_each_missing_name_is_cached_and_invalidated_with_another(bench) -> None:
    names = bench()
    assert names.miss(b"a") == HOUR_NS
    assert names.miss(b"A") == 0
    assert names.miss(b"a") == HOUR_NS
    names.make(b"a")
    assert names.ends == 0
    names.remove(b"a")
    assert names.miss(b"A") == HOUR_NS
    names.make(b"a")
    assert names.ends == 1


def test_missing_names_are_kept_track_of_up_to_a_bound(bench, monkeypatch) -> None:
    monkeypatch.setattr(spellings, "_MOST_NEGATIVE_ENTRIES", 10)
    names = bench()
    for number in range(100):
        assert names.miss(b"%d" % number) == HOUR_NS
        assert len(names.names._missing) <= 10
    assert 0 < names.ends <= 10


def test_a_kernel_that_invalidates_nothing_is_sent_nothing_to_cache(bench) -> None:
    names = bench()
    names.can_end = False
    names.names.check_kernel()
    assert names.ends == 1
    assert names.names.report().names_can_be_invalidated is False
    assert names.cache(b"a", b"a") == 0
    assert names.miss(b"a") == 0
    names.make(b"a")
    names.remove(b"A")
    assert names.ends == 1


# Renames that give another spelling


def told(monkeypatch: pytest.MonkeyPatch, old: bytes, new: bytes) -> None:
    """The thread that asks is in this rename."""
    way = [tuple(part for part in path.split(b"/") if part) for path in (old, new)]
    monkeypatch.setattr(spellings, "rename_in_progress", lambda *_: Renaming(*way))


RESPELLED = [
    (b"/mnt/share/a", b"/mnt/share/A", True),
    (b"/elsewhere/a", b"/elsewhere/A", True),  # mounted there too
    (b"/mnt/share/b", b"/mnt/share/A", False),
    (b"/mnt/share/d/a", b"/mnt/share/A", False),  # from another directory
    (b"/mnt/share/a", b"/mnt/share/b", False),
    (b"/mnt/share/A", b"/mnt/share/A", False),
    (b"/mnt/share/A/a", b"/mnt/share/A/A", False),  # on its way there
    (b"/elsewhere/A/a", b"/elsewhere/A/A", False),
]


@pytest.mark.parametrize(("old", "new", "respelled"), RESPELLED)
def test_a_name_gives_way_to_its_own_new_spelling_only(
    bench, monkeypatch, old: bytes, new: bytes, respelled: bool
) -> None:
    names = bench()
    (names.path / "a").touch()
    told(monkeypatch, old, new)
    if respelled:
        with pytest.raises(CaseOnlyRenameError):
            names.names.look_up(names.root, names.fd, b"A", 1)
    else:
        assert names.names.look_up(names.root, names.fd, b"A", 1)[0] == b"a"
    assert names.names.look_up(names.root, names.fd, b"a", 1)[0] == b"a"


def test_below_the_root_the_directory_must_be_the_one_the_rename_names(bench, monkeypatch) -> None:
    names = bench()
    (names.path / "d" / "a").mkdir(parents=True)
    inode = names.table.find_or_add(names.root, b"d", os.stat(names.path / "d"))
    fd = os.open(names.path / "d", os.O_PATH)
    try:
        told(monkeypatch, b"/mnt/share/D/a", b"/mnt/share/d/A")
        with pytest.raises(CaseOnlyRenameError):
            names.names.look_up(inode, fd, b"A", 1)
        told(monkeypatch, b"/mnt/share/x/a", b"/mnt/share/x/A")
        assert names.names.look_up(inode, fd, b"A", 1)[0] == b"a"
        inode.parent = None  # the host's secret
        assert names.names.look_up(inode, fd, b"A", 1)[0] == b"a"
    finally:
        os.close(fd)


def test_what_replaces_gets_the_spelling_it_was_given(bench) -> None:
    names = bench()
    (names.path / "a").write_text("new")
    assert names.names.respell(names.root, names.fd, b"a", b"A") == b"A"
    assert os.listdir(names.path) == ["A"]
    assert names.names.respell(names.root, names.fd, b"A", b"A") == b"A"


def test_respelling_never_replaces_what_the_host_has_put_there(bench) -> None:
    names = bench()
    (names.path / "a").write_text("new")
    (names.path / "A").write_text("host")
    assert names.names.respell(names.root, names.fd, b"a", b"A") == b"a"
    assert (names.path / "A").read_text() == "host"
    assert (names.path / "a").read_text() == "new"


# The index


def test_changes_by_the_host_are_seen_at_once(bench) -> None:
    names = bench()
    (names.path / "a").touch()
    assert names.find(b"A") == b"a"
    (names.path / "b").touch()
    assert names.find(b"B") == b"b"
    (names.path / "a").rename(names.path / "A")
    assert names.find(b"a") == b"A"
    (names.path / "A").unlink()
    assert names.find(b"a") is None


def test_what_changed_within_one_tick_is_seen_later(bench, monkeypatch) -> None:
    """Where time stamps are coarse: the host's change leaves none."""
    names = bench()
    (names.path / "a").touch()
    monkeypatch.setattr(spellings, "_stamp", lambda *_: (0,))
    monkeypatch.setattr(names.clock, "time_ns", lambda: names.path.stat().st_ctime_ns)
    assert names.find(b"A") == b"a"
    (names.path / "b").touch()
    assert names.find(b"B") is None
    names.clock.now_ns += spellings._QUIET_NS + 1
    assert names.find(b"B") == b"b"


def test_an_index_of_a_directory_long_quiet_is_trusted_for_good(bench) -> None:
    names = bench()
    (names.path / "a").touch()
    for _ in range(5):
        assert names.find(b"A") == b"a"
        names.clock.now_ns += HOUR_NS
    assert names.reads == 1


@pytest.mark.parametrize("pace_ns", [100_000, 60_000_000])
def test_creates_after_missing_lookups_do_not_read_the_directory_each_time(
    bench, monkeypatch, pace_ns: int
) -> None:
    """At any pace: what is large is read the more rarely."""
    monkeypatch.setattr(spellings, "_QUIET_NS_PER_NAME", 1_000_000)
    names = bench()
    for number in range(2_000):
        names.clock.now_ns += pace_ns
        assert names.miss(b"Name%d" % number, 0) == 0
        names.make(b"Name%d" % number)
    assert names.find(b"NAME7") == b"Name7"
    assert names.reads <= 400


@pytest.mark.parametrize("count", [10_000, pytest.param(100_000, marks=pytest.mark.slow)])
def test_a_large_directory_is_read_a_few_times_as_it_grows(bench, count: int) -> None:
    names = bench()
    for number in range(count):
        names.clock.now_ns += 100_000
        names.miss(b"Name%d" % number, 0)
        names.make(b"Name%d" % number)
    assert names.reads <= 50


def test_indices_are_bounded_and_forgotten_with_their_directories(bench, monkeypatch) -> None:
    monkeypatch.setattr(spellings, "_MOST_NAMES_INDEXED", 25)
    names = bench()
    directories = []
    with contextlib.ExitStack() as stack:
        for number in range(6):
            path = names.path / f"d{number}"
            path.mkdir()
            for name in range(10):
                (path / f"n{name}").touch()
            fd = os.open(path, os.O_PATH)
            stack.callback(os.close, fd)
            inode = names.table.find_or_add(names.root, b"d%d" % number, path.stat())
            directories.append(inode)
            assert names.names.find(inode, fd, b"N3")[0] == b"n3"
            assert names.names.report().names_indexed <= 25
    for inode in directories:
        names.names.forget(inode)
    assert names.names.report().names_indexed == 0


# Trees that hold collisions


def test_collisions_are_counted_and_logged_once_per_directory(bench, caplog) -> None:
    names = bench()
    for name in ("a", "A", "b"):
        (names.path / name).touch()
    for _ in range(3):
        names.names.listed(names.root, names.fd, [b"a", b"A", b"b"])
        names.find(b"B")
    report = names.names.report()
    assert report.directories_with_collisions == 1
    assert report.first_collision == f"{names.path}: 'A' and 'a'"
    assert len(caplog.records) == 1


def test_a_tree_is_looked_through_up_to_a_bound(field: Path) -> None:
    for path in ("x/y/a", "x/y/A", "x/b", "x/B", "dead/c", "dead/C"):
        (field / path).parent.mkdir(parents=True, exist_ok=True)
        (field / path).touch()
    os.symlink("/", field / "x" / "out")
    fd = os.open(field, os.O_RDONLY)
    try:
        below = [
            (os.fsdecode(found.path), found.names)
            for found in collisions_below(fd, RULES["apfs"], {os.fsencode(field / "dead")})
        ]
        assert below == [
            (str(field / "x"), [b"B", b"b"]),
            (str(field / "x" / "y"), [b"A", b"a"]),
        ]
        assert collisions_below(fd, RULES["apfs"], (), 2) == []
        assert collisions_below(fd, RULES["case-sensitive"]) == []
    finally:
        os.close(fd)


def test_exact_names_are_bytes(field: Path) -> None:
    fd = os.open(field, os.O_PATH)
    root = InodeTable(os.fstat(fd)).root
    names = ExactNames()
    try:
        (field / "a").touch()
        assert names.target(root, fd, b"a")[1] is not None
        assert names.target(root, fd, b"A") == (b"A", None)
        assert names.display_name(fd, NOT_TEXT) == names.new(root, fd, NOT_TEXT) == NOT_TEXT
    finally:
        os.close(fd)


# On real mounts

NEGATIVE = {
    "profile": "osxfs-negative",
    "latency_ns": 0,
    "cache_timeout_ns": HOUR_NS,
    "negative_timeout_ns": HOUR_NS,
}
POLICIES: dict[str, dict[str, Any]] = {
    "consistent": {},
    "cached": {"profile": "osxfs-cached", "latency_ns": 0, "cache_timeout_ns": HOUR_NS},
    "negative": NEGATIVE,
}


@pytest.fixture(scope="module", params=POLICIES)
def apfs(request, module_share):
    return module_share(names="apfs", **POLICIES[request.param])


@pytest.fixture
def place(apfs, request) -> Iterator[tuple[Path, Path]]:
    """The guest's and the host's view of a directory."""
    name = request.node.name.replace("/", "-")
    (apfs.guest / name).mkdir()
    yield apfs.guest / name, apfs.source / name
    shutil.rmtree(apfs.source / name)


@pytest.mark.parametrize("kind", ["file", "directory", "link"])
@pytest.mark.parametrize("way", ["absolute", "relative", "descriptor", "other", "mv"])
def test_a_rename_to_another_spelling_respells(place, monkeypatch, kind: str, way: str) -> None:
    guest, host = place
    make: dict[str, Callable[[Path], Any]] = {
        "file": Path.touch,
        "directory": Path.mkdir,
        "link": lambda path: path.symlink_to("nowhere"),
    }
    (guest / "d").mkdir()
    make[kind](guest / "d" / "a")
    monkeypatch.chdir(guest / "d")
    fd = os.open(".", os.O_RDONLY)
    try:
        match way:
            case "absolute":
                os.rename(guest / "d" / "a", guest / "d" / "A")
            case "relative":
                os.rename("a", "A")
            case "descriptor":
                os.rename("a", "A", src_dir_fd=fd, dst_dir_fd=fd)
            case "other":
                os.rename("../D/a", guest / "d" / "A")
            case "mv":
                subprocess.run(["mv", "-T", "a", "A"], check=True)
    finally:
        os.close(fd)
    assert os.listdir(host / "d") == os.listdir(guest / "d") == ["A"]
    assert os.path.lexists("a")


def test_a_directory_in_one_of_its_own_name_is_respelled(place) -> None:
    guest, host = place
    (guest / "a" / "a" / "a").mkdir(parents=True)
    os.rename(guest / "A" / "A" / "a", guest / "A" / "A" / "A")
    assert os.listdir(host / "a" / "a") == ["A"]


def test_a_file_moved_onto_another_spelling_takes_its_place(place) -> None:
    guest, host = place
    (guest / "d").mkdir()
    (guest / "a").write_text("old")
    (guest / "d" / "a").write_text("new")
    with open(guest / "a", encoding="utf-8") as held:
        os.rename(guest / "d" / "a", guest / "A")
        assert os.fstat(held.fileno()).st_nlink == 0
        assert held.read() == "old"
    assert sorted(os.listdir(host)) == ["A", "d"]
    assert (guest / "a").read_text() == (guest / "A").read_text() == "new"


def test_not_replacing_and_exchanging_know_every_spelling(place) -> None:
    guest, host = place
    libc = ctypes.CDLL(None, use_errno=True)

    def rename(old: str, new: str, flags: int) -> int:
        paths = os.fsencode(guest / old), os.fsencode(guest / new)
        return ctypes.get_errno() if libc.renameat2(-100, paths[0], -100, paths[1], flags) else 0

    (guest / "a").write_text("a")
    (guest / "b").write_text("b")
    assert rename("a", "B", 1) == errno.EEXIST
    assert rename("A", "B", 2) == 0
    assert sorted(os.listdir(host)) == ["a", "b"]
    assert ((guest / "a").read_text(), (guest / "b").read_text()) == ("b", "a")
    os.unlink(guest / "a")
    assert not (guest / "A").exists()
    assert rename("b", "B", 2) == 0
    assert rename("b", "B", 1) == 0
    assert os.listdir(host) == ["B"]


def test_a_case_only_rename_that_failed_leaves_no_negative_entry(place) -> None:
    guest, _ = place
    # As if it were a new name: it may be followed by a slash only if it is a directory's.
    (guest / "f").touch()
    with refused(errno.ENOTDIR):
        os.rename(guest / "f", os.fspath(guest / "F") + "/")
    assert (guest / "F").exists()
    assert (guest / "f").exists()


def test_every_way_to_make_a_name_meets_the_other_spelling(place) -> None:
    guest, host = place
    (guest / "a").write_text("a")
    ways: list[Callable[[Path], Any]] = [
        os.mkdir,
        lambda path: os.symlink("x", path),
        lambda path: os.link(guest / "a", path),
        os.mkfifo,
        lambda path: os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY),
    ]
    for way in ways:
        with refused(errno.EEXIST):
            way(guest / "A")
    (guest / "A").write_text("A")
    assert os.listdir(host) == os.listdir(guest) == ["a"]
    assert (host / "a").read_text() == "A"
    for way in ways:
        assert not (guest / "B").exists()
        opened = way(guest / "b")
        assert (guest / "B").exists() or os.path.lexists(guest / "B")
        if opened is not None:
            os.close(opened)
        (os.rmdir if way is os.mkdir else os.unlink)(guest / "B")
        assert not os.path.lexists(guest / "b")


def test_what_is_not_text_is_refused_when_made_and_served_when_there(place) -> None:
    guest, host = place
    with refused(errno.EILSEQ):
        os.mkdir(os.fsencode(guest) + b"/" + NOT_TEXT)
    os.mkdir(os.fsencode(host) + b"/" + NOT_TEXT)
    assert os.listdir(os.fsencode(guest)) == [NOT_TEXT]


def test_the_working_directory_outlives_the_end_of_all_names(place, monkeypatch) -> None:
    guest, _ = place
    (guest / "d").mkdir()
    (guest / "x").touch()
    monkeypatch.chdir(guest / "d")
    os.unlink(guest / "X")
    assert os.path.exists(guest / "d")  # whoever walks there makes its way known again
    assert os.getcwd() == str(guest / "d")
    (Path("inside")).touch()
    assert (guest / "d" / "inside").exists()


def test_a_tree_with_collisions_is_warned_about_when_mounted(field: Path, share) -> None:
    (field / "source" / "deep").mkdir(parents=True)
    (field / "guest").mkdir()
    for name in ("a", "A"):
        (field / "source" / "deep" / name).write_text(name)
    live = share(field / "source", field / "guest", names="apfs")
    assert any("'A' and 'a'" in line for line in live.share.first_status.warnings)
    for name in ("a", "A"):
        assert (live.guest / "deep" / name).read_text() == name
    os.unlink(live.guest / "deep" / "a")
    assert (live.guest / "deep" / "a").read_text() == "A"
    assert live.log().count("fold together") == 1


def test_no_warning_where_names_do_not_fold(field: Path, share) -> None:
    for path in ("source", "guest"):
        (field / path).mkdir()
    for name in ("a", "A"):
        (field / "source" / name).touch()
    assert share(field / "source", field / "guest").share.first_status.warnings == []


def test_a_mount_inside_survives_where_nothing_is_cached(share) -> None:
    """Where names are cached it is taken away: see docs/known-differences.md."""
    live = share(names="apfs")
    if os.geteuid() != 0:
        pytest.skip("only root mounts")
    (live.guest / "d").mkdir()
    (live.guest / "x").touch()
    subprocess.run(["mount", "-t", "tmpfs", "none", live.guest / "d"], check=True)
    try:
        (live.guest / "d" / "inner").touch()
        os.unlink(live.guest / "X")
        assert os.listdir(live.guest / "D") == ["inner"]
    finally:
        subprocess.run(["umount", live.guest / "d"], check=True)


def test_hfs_on_a_mount_lists_what_it_stores(share) -> None:
    live = share(names="hfs+", **NEGATIVE)
    guest = os.fsencode(live.guest)
    for path in (NFC, NFD):
        assert not os.path.exists(guest + b"/" + path)
    os.mkdir(guest + b"/" + NFC)
    assert os.listdir(guest) == os.listdir(os.fsencode(live.source)) == [NFD]
    for path in (NFC, NFD, NFC.upper()):
        assert os.path.isdir(guest + b"/" + path)
    os.rmdir(guest + b"/" + NFC)
    assert not os.path.exists(guest + b"/" + NFD)


def test_without_names_that_fold_nothing_is_invalidated_or_indexed(share) -> None:
    live = share()
    (live.guest / "a").touch()
    assert not (live.guest / "A").exists()
    assert live.status().as_dict()["names"] == {"rules": "case-sensitive"}
