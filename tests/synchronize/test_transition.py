"""Changes on the disk: never over what the scan did not see, and never in a wrong state."""

import contextlib
import errno
import itertools
import os
import shutil
import stat as modes
import subprocess
import tempfile
from pathlib import Path

import pytest
from support.pairs import Pair
from support.sync_trees import read_tree, write_tree

from osxfs_sim.model.synchronization import SyncMode, SyncSpec
from osxfs_sim.synchronize import archive as archive_module
from osxfs_sim.synchronize import engine as engine_module
from osxfs_sim.synchronize import stage, transition
from osxfs_sim.synchronize.archive import no_step
from osxfs_sim.synchronize.errors import SyncError


class Crash(BaseException):
    """As if the process had been killed."""


def die():
    raise Crash


def agreed(pair, tree):
    write_tree(pair.host, tree)
    pair.engine.cycle()
    assert read_tree(pair.host) == read_tree(pair.guest)


@pytest.mark.parametrize("at", ["stage", "exchange"])
def test_an_edit_after_the_scan_is_not_replaced(pair, at):
    agreed(pair, {"f": "1"})
    (pair.host / "f").write_text("host's")
    pair.once_at(at, lambda: (pair.guest / "f").write_text("guest's"))
    assert pair.engine.cycle().raced == 1
    assert (pair.guest / "f").read_text() == "guest's"
    assert [found.path for found in pair.engine.cycle().conflicts] == [(b"f",)]
    assert (pair.host / "f").read_text() == "host's"


def test_an_edit_of_what_was_just_exchanged_in_is_kept_with_what_came_out(pair):
    """The narrowest of all: both moments of one exchange are hit."""
    agreed(pair, {"f": "1"})
    (pair.host / "f").write_text("host's")

    def edit():
        (pair.guest / "f").write_text("guest's first")
        pair.once_at("exchanged", lambda: (pair.guest / "f").write_text("guest's second"))

    pair.once_at("exchange", edit)
    result = pair.engine.cycle()
    assert result.raced == 1
    texts = [path.read_text() for path in pair.guest.iterdir()]
    kept = [path.read_text() for path in pair.state.rglob("kept/*")]
    assert sorted(texts + kept) == ["guest's first", "guest's second"]
    pair.start_anew()


@pytest.mark.parametrize("at", ["move away", "scan"])
def test_an_edit_after_the_scan_is_not_deleted(pair, at):
    agreed(pair, {"f": "1"})
    (pair.host / "f").unlink()
    pair.once_at(at, lambda: (pair.guest / "f").write_text("guest's"))
    pair.engine.cycle()
    pair.engine.cycle()
    assert (pair.guest / "f").read_text() == (pair.host / "f").read_text() == "guest's"


@pytest.mark.parametrize("becomes", ["fifo", "device", "longer", "gone"])
def test_a_source_that_became_something_else_is_not_copied(pair, becomes):
    path = pair.host / "f"
    path.write_text("1")

    def replace():
        path.unlink()
        if becomes == "fifo":
            os.mkfifo(path)
        elif becomes == "device":
            if os.geteuid() != 0:
                pytest.skip("only root makes devices")
            os.mknod(path, modes.S_IFCHR | 0o666, os.makedev(1, 5))  # /dev/zero has no end
        elif becomes == "longer":
            path.write_text("12")

    pair.once_at("stage", replace)
    assert pair.engine.cycle().raced == 1
    assert read_tree(pair.guest) == {}


def test_what_is_made_meanwhile_is_not_replaced(pair):
    (pair.host / "f").write_text("host's")
    pair.once_at("place", lambda: (pair.guest / "f").write_text("guest's"))
    assert pair.engine.cycle().raced == 1
    assert (pair.guest / "f").read_text() == "guest's"


@pytest.mark.parametrize("crash_at", ["exchanged", "moved away"])
def test_a_crash_between_moving_away_and_looking_gives_the_edit_back(pair, crash_at):
    agreed(pair, {"f": "1"})
    if crash_at == "exchanged":
        (pair.host / "f").write_text("host's")
    else:
        (pair.host / "f").unlink()

    def edit():
        (pair.guest / "f").write_text("guest's")
        pair.once_at(crash_at, die)

    pair.once_at("exchange" if crash_at == "exchanged" else "move away", edit)
    with pytest.raises(Crash):
        pair.engine.cycle()
    pair.start_anew()
    assert (pair.guest / "f").read_text() == "guest's"
    pair.engine.cycle()
    assert (pair.guest / "f").read_text() == "guest's"


@pytest.mark.parametrize("crash_at", ["exchanged", "done", "record", "drop", "set mode"])
@pytest.mark.parametrize("kind", ["edit", "creation", "chmod"])
def test_an_edit_after_a_crash_contradicts_nothing(make_pair, kind, crash_at):
    """What has come to the host before the crash is not the host's own."""
    pair = make_pair(mode=SyncMode.TWO_WAY_RESOLVED)
    if kind != "creation":
        agreed(pair, {"f": "1"})
    if kind == "chmod":
        (pair.guest / "f").chmod(0o755)
    else:
        (pair.guest / "f").write_text("2")
    pair.once_at(crash_at, die)
    with contextlib.suppress(Crash):
        pair.engine.cycle()
    (pair.guest / "f").write_text("3")
    pair.start_anew()
    pair.engine.cycle()
    assert (pair.host / "f").read_text() == (pair.guest / "f").read_text() == "3"


@pytest.mark.parametrize("crash_at", [None, "moved away", "exchanged"])
def test_a_directory_that_came_in_the_place_of_a_file_meanwhile_goes_back(pair, crash_at):
    agreed(pair, {"f": "1"})
    if crash_at == "exchanged":
        (pair.host / "f").write_text("2")
    else:
        (pair.host / "f").unlink()

    def replace():
        (pair.guest / "f").unlink()
        write_tree(pair.guest, {"f/deep": "guest's"})
        if crash_at is not None:
            pair.once_at(crash_at, die)

    pair.once_at("exchange" if crash_at == "exchanged" else "move away", replace)
    if crash_at is None:
        assert pair.engine.cycle().raced == 1
    else:
        with pytest.raises(Crash):
            pair.engine.cycle()
        pair.start_anew()
    assert (pair.guest / "f/deep").read_text() == "guest's"


def test_what_nothing_is_known_of_is_kept(pair):
    stray = pair.state / "staging-guest" / "old" / "7-1"
    stray.write_text("somebody's")
    pair.start_anew()
    [problem] = pair.engine.cycle().problems
    assert "is kept in" in problem.why
    assert [path.read_text() for path in pair.state.rglob("kept/*")] == ["somebody's"]


def test_without_a_second_look_an_edit_would_be_lost(pair, monkeypatch):
    """The tests above would notice: what they rest on is taken away here."""
    monkeypatch.setattr(transition, "is_as_seen", lambda *_, **__: True)
    agreed(pair, {"f": "1"})
    (pair.host / "f").write_text("host's")
    pair.once_at("exchange", lambda: (pair.guest / "f").write_text("guest's"))
    assert pair.engine.cycle().raced == 0
    assert (pair.guest / "f").read_text() == "host's"


def test_a_full_disk_loses_nothing_and_is_tried_again(pair, monkeypatch):
    agreed(pair, {"f": "1"})
    (pair.host / "f").write_text("2")
    (pair.host / "g").write_text("3")
    whole = stage.Staging.stage_file

    def full(*_, **__):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(stage.Staging, "stage_file", full)
    result = pair.engine.cycle()
    assert {problem.why for problem in result.problems} == {"the disk is full: it is tried again"}
    assert read_tree(pair.guest) == {"f": (b"1", False)}
    monkeypatch.setattr(stage.Staging, "stage_file", whole)
    assert not pair.engine.cycle().problems
    assert read_tree(pair.guest) == read_tree(pair.host)


@pytest.mark.mounts
@pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts")
def test_a_disk_that_is_really_full_takes_what_fits(tmp_path):
    """On a file system of its own, so that the staging is in the root too."""
    guest = tmp_path / "guest"
    guest.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=256k", "none", guest], check=True)
    pair = None
    try:
        pair = Pair(tmp_path)
        (pair.host / "big").write_bytes(b"x" * 1_000_000)
        (pair.host / "small").write_text("1")
        result = pair.engine.cycle()
        assert [(problem.path, problem.why) for problem in result.problems] == [
            ((b"big",), "the disk is full: it is tried again")
        ]
        assert (guest / "small").read_text() == "1"
        assert not (guest / "big").exists()
        (pair.host / "big").write_bytes(b"x" * 1000)
        assert not pair.engine.cycle().problems
        assert (guest / "big").stat().st_size == 1000
    finally:
        if pair is not None:
            pair.engine.close()
        assert list(guest.glob(".osxfs-sim-staging-*")) == []
        subprocess.run(["umount", guest], check=True)


def test_a_journal_on_a_full_disk_stops_before_anything_is_taken_away(pair, monkeypatch):
    agreed(pair, {"f": "1"})
    (pair.host / "f").write_text("2")

    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(pair.engine.archive, "intend", full)
    assert [problem.path for problem in pair.engine.cycle().problems] == [(b"f",)]
    assert (pair.guest / "f").read_text() == "1"


def test_ignored_content_survives_the_deletion_of_its_directory(make_pair):
    pair = make_pair(ignored=("*.log",))
    agreed(pair, {"d/x": "1"})
    (pair.guest / "d/keep.log").write_text("mine")
    shutil.rmtree(pair.host / "d")
    [problem] = pair.engine.cycle().problems
    assert problem.path == (b"d",)
    assert "ignored" in problem.why
    pair.engine.cycle()
    assert read_tree(pair.guest) == {"d": None, "d/keep.log": (b"mine", False)}
    assert read_tree(pair.host) == {}


def test_a_symlink_in_the_place_of_a_directory_leads_nowhere(pair, tmp_path):
    outside = tmp_path / "outside"
    outside.mkdir()
    agreed(pair, {"d/x": "1"})
    (pair.host / "d/new").write_text("2")

    def replace():
        shutil.rmtree(pair.guest / "d")
        (pair.guest / "d").symlink_to(outside)

    pair.once_at("place", replace)
    pair.engine.cycle()
    pair.engine.cycle()
    assert list(outside.iterdir()) == []


def test_where_the_state_is_on_another_file_system_staging_is_in_the_root(make_pair, monkeypatch):
    monkeypatch.setattr(stage, "_can_rename", lambda *_: False)
    pair = make_pair()
    agreed(pair, {"a": "1", "d/b": "2"})
    (pair.guest / "a").write_text("3")
    pair.engine.cycle()
    assert (pair.host / "a").read_text() == "3"
    hidden = [path.name for path in pair.host.iterdir() if path.name.startswith(".osxfs-sim")]
    assert len(hidden) == 1
    result = pair.engine.cycle()
    assert result.made == 0
    assert result.host.totals.directories == result.guest.totals.directories == 1
    pair.start_anew()
    assert pair.engine.cycle().made == 0


@pytest.mark.parametrize("unsupported", [errno.EINVAL, errno.ENOSYS])
def test_file_systems_without_exchange_are_served_too(pair, monkeypatch, unsupported):
    def refuse(*_):
        raise OSError(unsupported, os.strerror(unsupported))

    monkeypatch.setattr(transition, "rename", refuse)
    agreed(pair, {"a": "1", "d/b": "2"})
    (pair.host / "a").write_text("3")
    (pair.guest / "d/b").unlink()
    pair.engine.cycle()
    assert read_tree(pair.host) == read_tree(pair.guest) == {"a": (b"3", False), "d": None}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_what_is_made_belongs_to_the_owner_of_its_directory_at_every_step(pair):
    for path in (pair.host, pair.guest):
        os.chown(path, 1234, 2345)
    write_tree(pair.host, {"d/e/f": "1", "g": "2"})
    (pair.host / "l").symlink_to("g")
    seen = []

    def look(_):
        for path in pair.guest.rglob("*"):
            status = path.lstat()
            seen.append((status.st_uid, status.st_gid))
            if modes.S_ISDIR(status.st_mode):
                assert modes.S_IMODE(status.st_mode) == 0o755

    pair.at_step = look
    pair.engine.cycle()
    look("end")
    assert set(seen) == {(1234, 2345)}
    # One that takes another's place takes its owner and permissions too.
    os.chown(pair.guest / "g", 77, 88)
    (pair.guest / "g").chmod(0o640)
    pair.engine.cycle()
    (pair.host / "g").write_text("3")
    (pair.host / "g").chmod(0o755)
    pair.engine.cycle()
    status = (pair.guest / "g").stat()
    assert (status.st_uid, status.st_gid, status.st_mode & 0o777) == (77, 88, 0o750)


def test_only_executability_travels_without_touching_the_content(pair):
    agreed(pair, {"f": "1"})
    inode = (pair.guest / "f").stat().st_ino
    (pair.host / "f").chmod(0o711)
    pair.engine.cycle()
    assert (pair.guest / "f").stat().st_mode & 0o777 == 0o711
    assert (pair.guest / "f").stat().st_ino == inode


def test_its_own_changes_are_not_taken_for_undone_where_nothing_is_heard(pair):
    """As where no watch was left: of each cycle, it is told of the host's directory only."""
    write_tree(pair.host, {"d/a": "1"})
    pair.engine.cycle()
    for content in "23":
        (pair.host / "d/a").write_text(content)
        (pair.host / f"d/{content}").write_text(content)
        pair.engine.cycle({"host": {(b"d",)}, "guest": set()})
        assert pair.engine.cycle({"host": {(b"d",)}, "guest": set()}).made == 0
        assert read_tree(pair.host) == read_tree(pair.guest)


# What a user's rm -r can meet while we put things into the directory it removes.


class _Removing:
    """rm -r of a directory, which stops after it has listed and emptied it, before the rmdir."""

    def __init__(self, path):
        self.path = path

    def empty(self):
        for path in sorted(self.path.rglob("*"), reverse=True):
            path.rmdir() if path.is_dir() else path.unlink()

    def finish(self):
        self.path.rmdir()


@pytest.mark.parametrize("what", [{"node_modules/a": "2"}, {"node_modules/new/b": "2"}])
def test_rm_r_can_find_a_directory_not_empty_for_what_came_meanwhile(pair, what):
    agreed(pair, {"node_modules/a": "1"})
    removing = _Removing(pair.guest / "node_modules")
    removing.empty()
    write_tree(pair.host, what)
    pair.engine.cycle()
    with pytest.raises(OSError, match="Directory not empty") as raised:
        removing.finish()
    assert raised.value.errno == errno.ENOTEMPTY
    # What to do: once more, when nothing travels.
    shutil.rmtree(pair.guest / "node_modules")
    pair.engine.cycle()
    assert read_tree(pair.host) == {}


def test_rm_r_can_find_a_name_gone_that_we_have_deleted(pair):
    agreed(pair, {"node_modules/a": "1"})
    listed = os.listdir(pair.guest / "node_modules")
    shutil.rmtree(pair.host / "node_modules")
    pair.engine.cycle()
    assert listed == ["a"]
    with pytest.raises(FileNotFoundError):  # rm -f says nothing of it, rm does
        (pair.guest / "node_modules" / "a").unlink()


@pytest.fixture
def owned_pair():
    """In a place that another user can enter, and that user's."""
    base = Path(tempfile.mkdtemp(prefix="osxfs-sim-sync-"))
    base.chmod(0o711)
    pair = Pair(base)
    for path in (pair.host, pair.guest):
        os.chown(path, 1234, 1234)
    yield pair
    pair.engine.close()
    shutil.rmtree(base)


def errors_of_rm(pair):
    """What a real rm -r of the owner says, started at every step of one cycle."""
    tree = {f"node_modules/{name}/{file}": "1" for name in "ab" for file in "xy"}
    said = set()

    def remove():
        result = subprocess.run(
            ["rm", "-r", str(pair.guest / "node_modules")],
            user=1234,
            group=1234,
            extra_groups=[],
            capture_output=True,
            text=True,
            env={"LC_ALL": "C", "PATH": os.environ["PATH"]},
        )
        said.update(line.rpartition(": ")[2] for line in result.stderr.splitlines() or [": done"])

    for at in range(24):
        write_tree(pair.host, tree)
        pair.at_step = after(at, remove)
        pair.engine.cycle()
        pair.at_step = no_step
        for root in (pair.host, pair.guest):
            shutil.rmtree(root / "node_modules", ignore_errors=True)
        pair.engine.cycle()
    return said


def after(steps, action):
    left = itertools.count(steps, -1)

    def step(_):
        if next(left) == 0:
            action()

    return step


@pytest.mark.starts_processes
@pytest.mark.skipif(os.geteuid() != 0, reason="acts as another user")
def test_rm_r_is_never_denied_permission(owned_pair):
    said = errors_of_rm(owned_pair)
    assert "done" in said
    assert said <= {"done", "Directory not empty", "No such file or directory"}


@pytest.mark.starts_processes
@pytest.mark.skipif(os.geteuid() != 0, reason="acts as another user")
def test_rm_r_is_denied_by_one_that_hands_directories_over_late(owned_pair, monkeypatch):
    """What the seed saw: a directory in place, still with its maker's owner and mode."""
    own = transition.Transition._own

    @contextlib.contextmanager
    def late(self, waiting, parent, path, new, old=None):
        if modes.S_ISDIR(os.stat(waiting, dir_fd=self._staging.new).st_mode):
            fd = os.open(waiting, os.O_RDONLY, dir_fd=self._staging.new)
            try:
                yield fd
            finally:
                os.close(fd)
        else:
            with own(self, waiting, parent, path, new, old) as fd:
                yield fd

    monkeypatch.setattr(transition.Transition, "_own", late)
    assert "Permission denied" in errors_of_rm(owned_pair)


# Halts


def many(pair):
    agreed(pair, {f"f{number}": "1" for number in range(20)})


@pytest.mark.parametrize("side", ["host", "guest"])
def test_an_emptied_root_halts_until_it_is_confirmed(pair, side):
    many(pair)
    root, other = getattr(pair, side), pair.guest if side == "host" else pair.host
    for path in root.iterdir():
        path.unlink()
    for _ in range(2):
        with pytest.raises(engine_module.HaltedError, match="had 20 entries and is empty"):
            pair.engine.cycle()
    assert len(list(other.iterdir())) == 20
    pair.engine.confirm()
    pair.engine.cycle()
    assert list(other.iterdir()) == []
    (other / "new").write_text("1")
    assert pair.engine.cycle().made == 1


def test_who_puts_an_empty_directory_back_is_asked_again(pair):
    """As a disk's mount point does when the disk is not there."""
    many(pair)
    pair.host.rename(pair.host.with_name("moved"))
    with pytest.raises(engine_module.HaltedError, match="is gone: put it back, then resume"):
        pair.engine.cycle()
    pair.host.mkdir()
    pair.engine.confirm()
    with pytest.raises(engine_module.HaltedError, match="had 20 entries and is empty"):
        pair.engine.cycle()
    assert len(list(pair.guest.iterdir())) == 20
    pair.engine.confirm()
    pair.engine.cycle()
    assert list(pair.guest.iterdir()) == []


@pytest.mark.parametrize("mode", [SyncMode.ONE_WAY_SAFE, SyncMode.ONE_WAY_REPLICA])
def test_an_emptied_guest_is_filled_again_one_way(make_pair, mode):
    pair = make_pair(mode=mode)
    many(pair)
    for path in pair.guest.iterdir():
        path.unlink()
    pair.engine.cycle()
    assert len(list(pair.guest.iterdir())) == 20


@pytest.mark.parametrize("becomes", ["nothing", "a file", "a symlink", "another directory"])
@pytest.mark.parametrize("side", ["host", "guest"])
def test_a_root_that_is_not_what_it_was_halts(pair, side, becomes):
    many(pair)
    root, other = getattr(pair, side), pair.guest if side == "host" else pair.host
    moved = root.with_name("moved")
    root.rename(moved)
    if becomes == "a file":
        root.write_text("")
    elif becomes == "a symlink":
        root.symlink_to(moved)
    elif becomes == "another directory":
        root.mkdir()
    with pytest.raises(engine_module.HaltedError, match="resume"):
        pair.engine.cycle()
    assert len(list(other.iterdir())) == 20
    if becomes != "nothing":
        root.unlink() if becomes != "another directory" else root.rmdir()
    moved.rename(root)
    assert pair.engine.cycle().made == 0


@pytest.mark.parametrize(
    ("host", "copy", "state", "message"),
    [
        ("a", "a/b", "s", "lies in the host's directory"),
        ("a/b", "a", "s", "lies in the guest's copy"),
        ("a", "a", "s", "lies in"),
        ("a", "c", "a/b", "the state's directory"),
        ("link", "c", "s", "is a symlink"),
        ("missing", "c", "s", "is no directory"),
    ],
)
def test_unfit_directories_are_refused(tmp_path, host, copy, state, message):
    for name in ("a/b", "c", "s"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "link").symlink_to(tmp_path / "a")
    with pytest.raises(SyncError, match=message) as raised:
        engine_module.Engine(
            *(os.fsencode(tmp_path / name) for name in (host, copy, state)), SyncSpec()
        )
    assert "\n" not in str(raised.value)


def test_a_second_one_on_the_same_state_is_refused(pair):
    with pytest.raises(SyncError, match="stop the other"):
        pair.new_engine()


# What one side keeps to itself


def mode_of(path):
    return modes.S_IMODE(path.lstat().st_mode)


def look_at_every_step(pair, name, seen):
    """Whatever has that content, wherever it lies, may be read by nobody else."""

    def look(_):
        for path in (*pair.guest.rglob("*"), *pair.state.rglob("*")):
            with contextlib.suppress(OSError):
                if path.is_file() and path.read_bytes() == name.encode():
                    seen.add(mode_of(path) & 0o077)

    pair.at_step = look


@pytest.mark.parametrize("inside", [False, True], ids=["state", "root"])
@pytest.mark.parametrize("replaces", [None, 0o644, 0o666, 0o755])
def test_what_is_private_is_so_at_every_step(make_pair, monkeypatch, replaces, inside):
    if inside:
        monkeypatch.setattr(stage, "_can_rename", lambda *_: False)
    pair = make_pair()
    if replaces is not None:
        agreed(pair, {"f": "1"})
        (pair.guest / "f").chmod(replaces)
        pair.engine.cycle()
    (pair.host / "f").touch()
    (pair.host / "f").chmod(0o600)
    (pair.host / "f").write_text("secret")
    seen = set()
    look_at_every_step(pair, "secret", seen)
    pair.engine.cycle()
    assert (pair.guest / "f").read_text() == "secret"
    assert seen == {0}
    assert mode_of(pair.guest / "f") == 0o600


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("mode", [0o600, 0o640, 0o604, 0o644, 0o666, 0o700, 0o750, 0o711, 0o777])
def test_the_other_side_grants_no_more(pair, mode, reverse):
    one, other = (pair.guest, pair.host) if reverse else (pair.host, pair.guest)
    (one / "f").write_text("1")
    (one / "f").chmod(mode)
    (one / "d").mkdir()
    (one / "d").chmod(mode | 0o700)
    pair.engine.cycle()
    pair.engine.cycle()
    usual = 0o755 if mode & 0o100 else 0o644
    assert mode_of(other / "f") == mode & usual
    assert mode_of(other / "d") == (mode | 0o700) & 0o755
    assert (mode_of(one / "f"), mode_of(one / "d")) == (mode, mode | 0o700)


@pytest.mark.parametrize("reverse", [False, True])
def test_what_becomes_private_later_does_so_on_the_other_side(pair, reverse):
    agreed(pair, {"f": "1", "d/x": "1"})
    one, other = (pair.guest, pair.host) if reverse else (pair.host, pair.guest)
    (one / "f").chmod(0o600)
    (one / "d").chmod(0o700)
    pair.engine.cycle()
    assert (mode_of(other / "f"), mode_of(other / "d")) == (0o600, 0o700)
    assert pair.engine.cycle().made == 0


def test_who_opens_an_image_does_not_open_the_original(pair):
    (pair.host / "f").write_text("1")
    (pair.host / "f").chmod(0o600)
    pair.engine.cycle()
    (pair.guest / "f").chmod(0o644)
    pair.engine.cycle()
    pair.start_anew()
    pair.engine.cycle()
    assert (mode_of(pair.host / "f"), mode_of(pair.guest / "f")) == (0o600, 0o644)
    # But the image follows the original, as of a program that makes files private at first.
    (pair.guest / "f").chmod(0o600)
    pair.engine.cycle()
    (pair.host / "f").chmod(0o664)
    pair.engine.cycle()
    assert (mode_of(pair.host / "f"), mode_of(pair.guest / "f")) == (0o664, 0o644)


def test_of_two_that_meet_the_narrower_holds(pair):
    for root, mode in ((pair.host, 0o640), (pair.guest, 0o604)):
        (root / "f").write_text("1")
        (root / "f").chmod(mode)
    pair.engine.cycle()
    assert {mode_of(root / "f") for root in (pair.host, pair.guest)} == {0o600}


def test_the_deletion_of_what_was_made_private_just_before_travels(pair):
    agreed(pair, {"f": "1"})
    (pair.host / "f").chmod(0o600)
    pair.engine.cycle()
    (pair.host / "f").unlink()
    pair.engine.cycle()
    assert read_tree(pair.guest) == {}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
@pytest.mark.parametrize("later", [False, True])
def test_what_is_private_to_another_than_its_directorys_owner_stays_that_ones(pair, later):
    for root in (pair.host, pair.guest):
        os.chown(root, 1234, 2345)
    (pair.host / "f").write_text("1")  # root's
    (pair.host / "mine").write_text("1")
    os.chown(pair.host / "mine", 1234, 2345)
    if later:
        pair.engine.cycle()
        assert (pair.guest / "f").stat().st_uid == 1234
    for name in ("f", "mine"):
        (pair.host / name).chmod(0o600)
    pair.engine.cycle()
    status = (pair.guest / "f").stat()
    assert (status.st_uid, mode_of(pair.guest / "f")) == (0, 0o600)
    status = (pair.guest / "mine").stat()
    assert (status.st_uid, mode_of(pair.guest / "mine")) == (1234, 0o600)


def test_without_looking_at_the_source_a_secret_would_be_seen(pair, monkeypatch):
    """The tests above would notice: what they rest on is taken away here."""
    monkeypatch.setattr(transition, "created", lambda _, *, runs: 0o755 if runs else 0o644)
    with pytest.raises(AssertionError):
        test_what_is_private_is_so_at_every_step(lambda: pair, monkeypatch, None, False)


# Staging in a root that others may write in


@pytest.mark.parametrize("kind", ["directory", "symlink", "file"])
def test_who_takes_the_stagings_name_first_gains_and_stops_nothing(
    make_pair, monkeypatch, tmp_path, kind
):
    monkeypatch.setattr(stage, "_can_rename", lambda *_: False)
    outside = tmp_path / "outside"
    outside.mkdir()
    names = iter(["taken", "taken", "host", "guest"])
    monkeypatch.setattr(stage.secrets, "token_hex", lambda _: next(names))
    (tmp_path / "host").mkdir()
    taken = tmp_path / "host/.osxfs-sim-staging-taken"
    if kind == "directory":
        (taken / "new").mkdir(parents=True)
    elif kind == "symlink":
        taken.symlink_to(outside)
    else:
        taken.write_text("mine")
    pair = make_pair()
    agreed(pair, {"a": "1"})
    assert list(outside.iterdir()) == []
    assert {path.name for path in pair.host.glob(".osxfs-sim-staging-*")} == {
        ".osxfs-sim-staging-taken",
        ".osxfs-sim-staging-host",
    }


@pytest.mark.parametrize("comes", ["nothing", "another's directory", "a symlink"])
def test_a_staging_that_is_exchanged_is_not_taken_again(make_pair, monkeypatch, tmp_path, comes):
    """By the root's owner, who may rename what is in it."""
    monkeypatch.setattr(stage, "_can_rename", lambda *_: False)
    pair = make_pair()
    agreed(pair, {"a": "1"})
    [mine] = pair.host.glob(".osxfs-sim-staging-*")
    (mine / "kept" / "somebody's").write_text("kept")  # so that it stays
    pair.engine.close()
    mine.rename(pair.host / "moved")
    outside = tmp_path / "outside"
    outside.mkdir()
    if comes == "another's directory":
        mine.mkdir(0o777)
    elif comes == "a symlink":
        mine.symlink_to(outside)
    pair.start_anew()
    (pair.guest / "b").write_text("2")
    pair.engine.cycle()
    assert (pair.host / "b").read_text() == "2"
    assert list(outside.iterdir()) == []
    now = [path for path in pair.host.glob(".osxfs-sim-staging-*") if path != mine]
    assert len(now) == 1
    assert mode_of(now[0]) == 0o700


def test_a_staging_in_the_root_that_holds_something_is_found_again(make_pair, monkeypatch):
    monkeypatch.setattr(stage, "_can_rename", lambda *_: False)
    pair = make_pair()
    agreed(pair, {"f": "1"})
    (pair.guest / "f").unlink()

    def edit():
        (pair.host / "f").write_text("host's")
        pair.once_at("moved away", die)

    pair.once_at("move away", edit)
    with pytest.raises(Crash):
        pair.engine.cycle()
    pair.start_anew()
    pair.engine.cycle()
    assert (pair.host / "f").read_text() == (pair.guest / "f").read_text() == "host's"


def test_a_file_made_again_between_look_and_deletion_is_not_deleted(pair):
    """With the same content, in both moments; and an empty directory likewise."""
    for at in ("scan", "move away"):
        agreed(pair, {"f": "1"})
        (pair.host / "f").unlink()

        def again():
            (pair.guest / "f").unlink()
            (pair.guest / "f").write_text("1")

        pair.once_at(at, again)
        pair.engine.cycle()
        pair.engine.cycle()
        assert read_tree(pair.host) == read_tree(pair.guest) == {"f": (b"1", False)}


def test_an_ordinary_deletion_travels_after_every_ordinary_restart(pair, monkeypatch):
    tree = {f"{name}": "1" for name in ("f", "g", "h", "d/x", "e/y")}
    agreed(pair, tree)
    pair.engine.cycle()
    pair.engine.save()
    for number, name in enumerate(("f", "g", "h")):
        monkeypatch.setattr(archive_module, "boot_id", lambda number=number: str(number))
        (pair.host / name).unlink()
        pair.start_anew()
        pair.engine.cycle()
        assert not (pair.guest / name).exists()
        pair.engine.save()
    shutil.rmtree(pair.guest / "d")
    (pair.host / "e").rename(pair.host / "moved")
    pair.start_anew()
    pair.engine.cycle()
    assert (
        read_tree(pair.host) == read_tree(pair.guest) == {"moved": None, "moved/y": (b"1", False)}
    )


@pytest.mark.parametrize("lacks", ["content", "directories"])
def test_what_was_in_doubt_and_found_no_room_is_not_deleted_by_the_next_cycle(
    pair, monkeypatch, lacks
):
    """Moved away and back around a crash of the machine, on a full disk: they are the very
    objects that both once agreed upon, and the other side does not have them any more.
    """
    agreed(pair, {"d/x": "1", "keep": "k"})
    pair.engine.cycle()
    pair.engine.checkpoint()
    (pair.guest / "d").rename(pair.guest / "elsewhere")
    pair.engine.cycle()
    (pair.guest / "elsewhere").rename(pair.guest / "d")
    pair.engine.archive.close()
    monkeypatch.setattr(archive_module, "boot_id", lambda: "another")
    pair.start_anew()

    def no_room(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as full:
        if lacks == "content":
            full.setattr(stage.Staging, "stage_file", no_room)
        else:
            full.setattr(transition.Transition, "_make_directory", no_room)
        assert pair.engine.cycle().problems
    for _ in range(3):
        pair.engine.cycle()
    for root in (pair.host, pair.guest):
        assert (root / "d/x").read_text() == "1"
    assert pair.engine.cycle().made == 0


def test_what_could_not_be_looked_at_stays_in_doubt(pair, monkeypatch):
    """Who writes again what was agreed upon once, after a crash of the machine that nobody
    has recovered from there yet, contradicts what had travelled meanwhile.
    """
    agreed(pair, {"f": "1", "g": "1"})
    pair.engine.cycle()
    pair.engine.checkpoint()
    for name in ("f", "g"):
        (pair.host / name).write_text("two")
    pair.engine.cycle()
    for name in ("f", "g"):
        (pair.guest / name).write_text("1")
    pair.engine.archive.close()
    monkeypatch.setattr(archive_module, "boot_id", lambda: "another")
    pair.start_anew()
    aside = pair.guest / "f", pair.guest.parent / "f"
    aside[0].rename(aside[1])
    os.mkfifo(aside[0])
    assert [found.path for found in pair.engine.cycle().conflicts] == [(b"g",)]
    aside[1].rename(aside[0])
    assert [found.path for found in pair.engine.cycle().conflicts] == [(b"f",), (b"g",)]
    assert (pair.guest / "f").read_text() == "1"


def test_a_file_with_holes_takes_no_more_room_on_the_other_side(pair):
    with (pair.host / "f").open("wb") as file:
        file.write(b"1" * 4096)
        file.seek(1 << 25)
        file.write(b"2")
        file.truncate(1 << 26)
    pair.engine.cycle()
    assert (pair.guest / "f").read_bytes() == (pair.host / "f").read_bytes()
    assert (pair.guest / "f").stat().st_blocks * 512 < 1 << 23


def test_what_gave_way_to_what_is_agreed_upon_does_not_go_back(pair):
    """Somebody wrote, through a descriptor, into what was replaced, and the process ended
    just then: as an edit of the new version that would travel over it.
    """
    agreed(pair, {"f": "1"})
    (pair.host / "f").write_text("host's")
    with (pair.guest / "f").open("a") as old:
        pair.once_at("drop", die)
        with pytest.raises(Crash):
            pair.engine.cycle()
        old.write("guest's")
    pair.start_anew()
    problems = pair.engine.cycle().problems
    assert [problem.path for problem in problems] == [(b"f",)]
    assert {(root / "f").read_text() for root in (pair.host, pair.guest)} == {"host's"}
    kept = pair.state / "staging-guest/kept"
    assert [path.read_text() for path in kept.iterdir()] == ["1guest's"]
