"""What a scan sees: without following, leaving or crashing; and what it need not read again."""

import os
import shutil
import socket
import subprocess
import tempfile
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from osxfs_sim.synchronize import scan as scan_module
from osxfs_sim.synchronize.errors import SyncError
from osxfs_sim.synchronize.ignore import Ignore
from osxfs_sim.synchronize.scan import Scanner, ScanRules, is_settled, unportable
from osxfs_sim.synchronize.snapshot import (
    Blocked,
    File,
    Ignored,
    Link,
    Subtree,
    at,
    blocked_in,
)


def scan(root, before=None, changed=None, *, ignored=(), most=None, vcs=False, scanner=None):
    scanner = scanner or Scanner(ScanRules(Ignore(ignored, vcs=vcs), most))
    fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    try:
        return scanner.scan(fd, before, changed)
    finally:
        os.close(fd)


def reason(root, *path, **rules):
    found = at(scan(root, **rules), path)
    assert isinstance(found, Blocked)
    return found.reason


def test_a_tree_of_each_kind(tmp_path):
    (tmp_path / "d/e").mkdir(parents=True)
    (tmp_path / "d/f").write_text("1")
    (tmp_path / "x").write_text("1")
    (tmp_path / "x").chmod(0o755)
    (tmp_path / "d/l").symlink_to("../x")
    seen = scan(tmp_path)
    file, executable = at(seen, (b"d", b"f")), at(seen, (b"x",))
    assert isinstance(file, File)
    assert isinstance(executable, File)
    assert file.digest == executable.digest
    assert (file.executable, executable.executable) == (False, True)
    assert at(seen, (b"d", b"l")) == Link(b"../x")
    assert isinstance(at(seen, (b"d", b"e")), Subtree)
    assert (seen.totals.files, seen.totals.directories, seen.totals.links) == (2, 2, 1)


def test_special_files_do_not_travel_and_do_not_hang(tmp_path):
    os.mkfifo(tmp_path / "fifo")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(tmp_path / "socket"))
    assert "FIFO" in reason(tmp_path, b"fifo")
    assert "socket" in reason(tmp_path, b"socket")
    assert len(list(blocked_in(scan(tmp_path)))) == 2


@pytest.mark.parametrize(
    ("path", "target", "is_portable"),
    [
        ("a/b", b"c", True),
        ("a/b", b"../c", True),
        ("a/b", b"../../c", False),
        ("a/b", b"/etc/passwd", False),
        ("l", b"..", False),
        ("l", b"a/../b", False),
        ("l", b"./.././b", False),
        ("a/b", b".././c/.", True),
        ("a/b", b"../c/../d", False),
        ("a/b", b"./..//d", True),
        ("l", b"a/../../share/b", False),
        ("l", b".", True),
    ],
)
def test_only_symlinks_that_mean_the_same_travel(path, target, is_portable):
    assert (unportable(tuple(path.encode().split(b"/")), target) == "") is is_portable


def test_names_that_are_not_utf8_are_names(tmp_path):
    name = b"\xff\xfe\n"
    with open(os.path.join(os.fsencode(tmp_path), name), "wb") as file:
        file.write(b"1")
    assert isinstance(at(scan(tmp_path), (name,)), File)
    assert isinstance(at(scan(tmp_path, ignored=("*",)), (name,)), Ignored)


@pytest.mark.mounts
@pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts")
@pytest.mark.parametrize("of_the_same_file_system", [True, False])
def test_mounts_are_not_entered(tmp_path, of_the_same_file_system):
    root = tmp_path / "root"
    for path in (root / "m", tmp_path / "other"):
        path.mkdir(parents=True)
    (tmp_path / "other/x").write_text("1")
    command = (
        ["mount", "--bind", str(tmp_path / "other"), str(root / "m")]
        if of_the_same_file_system
        else ["mount", "-t", "tmpfs", "none", str(root / "m")]
    )
    subprocess.run(command, check=True)
    try:
        assert "mounted" in reason(root, b"m")
    finally:
        subprocess.run(["umount", str(root / "m")], check=True)


def test_a_file_larger_than_the_limit_does_not_travel(tmp_path):
    (tmp_path / "f").write_bytes(b"x" * 11)
    assert "more than 10" in reason(tmp_path, b"f", most=10)
    assert isinstance(at(scan(tmp_path, most=11), (b"f",)), File)


def test_a_file_that_changes_whenever_it_is_read_is_left_for_later(tmp_path, monkeypatch):
    path = tmp_path / "f"
    path.write_text("1")
    fstat, counter = os.fstat, iter(range(1000))

    def moving(fd):
        if os.readlink(f"/proc/self/fd/{fd}") == str(path):
            path.write_text(str(next(counter)))
        return fstat(fd)

    monkeypatch.setattr(scan_module.os, "fstat", moving)
    seen = at(scan(tmp_path), (b"f",))
    assert seen == Blocked("it changes while it is read", passing=True)


@pytest.mark.parametrize("failing", ["open_file", "open_directory"])
def test_what_may_not_be_read_is_a_problem_of_its_own(tmp_path, monkeypatch, failing):
    (tmp_path / "d").mkdir()
    (tmp_path / "f").write_text("1")

    def denied(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(scan_module, failing, denied)
    name = b"f" if failing == "open_file" else b"d"
    assert reason(tmp_path, name) == "Permission denied"


def test_what_is_deeper_than_descriptors_last_is_a_problem(tmp_path, monkeypatch):
    monkeypatch.setattr(scan_module, "_DEEPEST", 3)
    (tmp_path / "/".join("abcdef")).mkdir(parents=True)
    assert "3 directories deep" in reason(tmp_path, b"a", b"b", b"c", b"d")


@pytest.mark.starts_processes
def test_content_is_read_again_only_where_it_may_have_changed(tmp_path):
    scanner = Scanner(ScanRules(Ignore(())))
    for name in "abc":
        (tmp_path / name).write_text("12345")
    time.sleep(0.03)  # so that the times are over: a later change has later ones
    first = scan(tmp_path, scanner=scanner)
    assert scanner.read_bytes == 15
    assert scan(tmp_path, first, scanner=scanner) is first
    assert scanner.read_bytes == 15
    (tmp_path / "b").write_text("54321")
    second = scan(tmp_path, first, scanner=scanner)
    assert scanner.read_bytes == 20
    assert second != first


def test_a_change_in_the_same_tick_as_the_look_is_seen(tmp_path):
    """Same size, same times: as coarse clocks make it."""
    path = tmp_path / "f"
    path.write_text("1")
    status = path.stat()
    first = scan(tmp_path)
    file = at(first, (b"f",))
    assert isinstance(file, File)
    assert not file.settled
    path.write_text("2")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert scan(tmp_path, first) != first


def test_settled_is_what_is_older_than_a_tick():
    stamp = (1, 2, 3, 1_000_000_000, 1_000_000_000, 0)
    assert is_settled(stamp, 1_030_000_000)
    assert not is_settled(stamp, 1_010_000_000)


def test_only_changed_directories_are_looked_at(tmp_path):
    for name in ("a/b", "c"):
        (tmp_path / name).mkdir(parents=True)
    listed = []
    scanner = Scanner(ScanRules(Ignore(())), lambda path, _: listed.append(path))
    first = scan(tmp_path, scanner=scanner)
    (tmp_path / "a/b/new").write_text("1")
    (tmp_path / "c/unheard").write_text("1")
    listed.clear()
    second = scan(tmp_path, first, {(b"a", b"b")}, scanner=scanner)
    assert listed == [(), (b"a",), (b"a", b"b")]
    assert at(second, (b"a", b"b", b"new")) is not None
    assert at(second, (b"c",)) is at(first, (b"c",))
    assert at(scan(tmp_path, second, scanner=scanner), (b"c", b"unheard")) is not None


def test_a_directory_in_anothers_place_is_looked_at_whole(tmp_path):
    for name in ("a/x", "b/x"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "b/x/f").write_text("1")
    first = scan(tmp_path)
    (tmp_path / "a").rename(tmp_path / "old")
    (tmp_path / "b").rename(tmp_path / "a")
    second = scan(tmp_path, first, {()})
    assert at(second, (b"a", b"x", b"f")) is not None
    assert at(second, (b"old", b"x")) is not None


@pytest.mark.parametrize(
    ("patterns", "left_out", "kept"),
    [
        (("*.log", "!keep.log"), ["a.log", "d/b.log"], ["keep.log", "d/f"]),
        (("/build/",), ["build"], ["d/build"]),
        (("build/",), ["build", "d/build"], ["build.txt"]),
        (("d/**/z",), ["d/e/z"], ["z"]),
        (("# no", "", "\\#x"), ["#x"], ["d"]),
    ],
)
def test_patterns_are_those_of_gitignore(tmp_path, patterns, left_out, kept):
    for name in ("build", "d/build", "d/e"):
        (tmp_path / name).mkdir(parents=True)
    for name in ("a.log", "keep.log", "d/b.log", "d/f", "build.txt", "d/e/z", "z", "#x"):
        (tmp_path / name).write_text("1")
    seen = scan(tmp_path, ignored=patterns)
    for paths, is_left_out in ((left_out, True), (kept, False)):
        for path in paths:
            found = at(seen, tuple(path.encode().split(b"/")))
            assert isinstance(found, Ignored) is is_left_out, path


def test_version_control_can_be_left_out(tmp_path):
    (tmp_path / "d/.git").mkdir(parents=True)
    assert isinstance(at(scan(tmp_path, vcs=True), (b"d", b".git")), Ignored)
    assert isinstance(at(scan(tmp_path), (b"d", b".git")), Subtree)


def test_a_pattern_that_means_nothing_is_refused():
    with pytest.raises(SyncError, match="is no pattern of"):
        Ignore(("!",))


TARGETS = st.lists(
    st.sampled_from((b"..", b".", b"a", b"b", b"c", b"")), min_size=1, max_size=6
).map(b"/".join)
PLACES = st.lists(st.sampled_from((b"a", b"b", b"c")), min_size=1, max_size=3).map(tuple)


def outward(root):
    """Symlinks in *root* that lead out of it."""
    for folder, directories, files in os.walk(os.fsencode(root)):
        for name in (*directories, *files):
            path = os.path.join(folder, name)
            real = os.path.realpath(path)
            if os.path.islink(path) and not f"{os.fsdecode(real)}/".startswith(f"{root}/"):
                yield path


def compositions_stay_within(rule):
    """Of symlinks that *rule* lets travel, and directories, which take each other's places."""
    search = settings(max_examples=300, deadline=None, derandomize=True, database=None)
    things = st.lists(st.tuples(PLACES, st.one_of(TARGETS, st.none())), max_size=12)
    search(given(things, st.data())(lambda made, data: stay_within(rule, made, data)))()


def stay_within(rule, things, data):
    with tempfile.TemporaryDirectory(dir="/dev/shm" if os.path.isdir("/dev/shm") else None) as base:
        root = os.path.join(os.path.realpath(base), "root")
        os.mkdir(root)
        for place, target in things:
            path = os.path.join(os.fsencode(root), *place)
            parent = os.path.dirname(path)
            if os.path.realpath(parent) != parent or not os.path.isdir(parent):
                continue  # a synchronizer makes nothing through a symlink
            if os.path.lexists(path) and data.draw(st.booleans()):
                shutil.rmtree(path) if not os.path.islink(path) else os.unlink(path)
            if not os.path.lexists(path):
                if target is None:
                    os.mkdir(path)
                elif target and not rule(place, target):
                    os.symlink(target, path)
        assert list(outward(root)) == []


@pytest.mark.takes_seconds
def test_no_symlinks_that_travel_lead_out_together_whatever_changes_later():
    compositions_stay_within(unportable)


@pytest.mark.takes_seconds
def test_counting_names_would_let_them_out():
    def counting(place, target):
        depth = len(place) - 1
        for name in target.split(b"/"):
            depth += {b"..": -1, b"": 0, b".": 0}.get(name, 1)
            if depth < 0:
                return "out"
        return "" if not target.startswith(b"/") else "absolute"

    with pytest.raises(AssertionError):
        compositions_stay_within(counting)
