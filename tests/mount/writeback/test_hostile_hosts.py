"""Guests and hosts that want to lose data, or to bring write-back to a stop."""

import errno
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.guests import eventually, refused
from support.live import LiveShare, Place
from support.nobody import NOBODY

from osxfs_sim.model.write_back import Change, Kind
from osxfs_sim.mount.tree.inodes import InodeTable
from osxfs_sim.mount.writeback.journal import open_journal
from osxfs_sim.mount.writeback.journal_directory import journals_of
from osxfs_sim.mount.writeback.journal_format import OtherDetail
from osxfs_sim.mount.writeback.journal_reader import read_journal

HELD = {
    "profile": "osxfs-delegated",
    "latency_ns": 0,
    "write_back_age_ns": 3_600 * 10**9,
}


def counts(live: LiveShare) -> dict:
    return live.status().write_back


def crash(live: LiveShare) -> None:
    live.kill()


@pytest.fixture
def mounted_below(tmp_path: Path) -> Iterator[Path]:
    """A host directory with another file system in it."""
    source = tmp_path / "with-another"
    below = source / "below"
    below.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=4m", "below", below], check=True)
    yield source
    subprocess.run(["umount", "-l", below], check=True)


@pytest.fixture
def nobodys_state() -> Iterator[str]:
    """Where a server of an ordinary user can keep a journal."""
    state = tempfile.mkdtemp(prefix="osxfs-sim-nobody-")
    os.chown(state, pwd.getpwnam("nobody").pw_uid, -1)
    yield state
    shutil.rmtree(state)


def test_what_a_full_disk_did_not_note_is_told_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An object's place is in the journal only once its frame is: else nobody finds it again."""
    source = tmp_path / "source"
    source.mkdir()
    (source / "file").touch()
    inodes = InodeTable(os.stat(source))
    inode = inodes.find_or_add(inodes.root, b"file", os.stat(source / "file"))
    journal = open_journal(tmp_path, str(source), inodes.root)

    def unlink(sequence: int) -> Change:
        return Change(
            Kind.UNLINK, inode, 0, inodes.root, b"file", detail=OtherDetail(0), sequence=sequence
        )

    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "full")

    with monkeypatch.context() as patched:
        patched.setattr(os, "pwrite", full)
        with pytest.raises(OSError, match="full"):
            journal.append(unlink(1))
    journal.append(unlink(1))
    journal.close(keep=True)
    left = read_journal(journals_of(tmp_path, str(source))[0])
    assert inode.number in left.numbers


def test_a_file_appended_to_and_removed_by_the_host_is_whole_again(
    share: Callable[..., LiveShare],
) -> None:
    """The guest's descriptor cannot read, and is the only thing left of the file."""
    live = share(**HELD)
    (live.source / "file").write_text("host ")
    with open(live.guest / "file", "a") as file:
        file.write("guest")
    (live.source / "file").unlink()
    live.share.flush()
    assert (live.source / "file").read_text() == "host guest"


def test_a_link_to_what_the_host_has_removed_does_not_stop_the_rest(
    share: Callable[..., LiveShare],
) -> None:
    live = share(**HELD)
    (live.source / "file").write_text("host")
    os.link(live.guest / "file", live.guest / "link")
    (live.source / "file").unlink()
    (live.guest / "later").touch()
    live.share.flush()
    assert os.listdir(live.source) == ["later"]
    assert counts(live).lost_host_changes == 1


def test_recovery_goes_on_where_the_host_has_removed_a_file_that_was_written(
    share: Callable[..., LiveShare],
) -> None:
    live = share(**HELD)
    (live.source / "file").write_text("host ")
    with open(live.guest / "file", "r+") as file:
        file.write("guest")
    (live.guest / "later").touch()
    crash(live)
    (live.source / "file").unlink()
    share(live.source, live.guest, **HELD, unwritten="recover")
    assert (live.source / "later").exists()
    assert (live.source / "file").read_text() == "guest"


def test_no_name_moves_to_another_file_system_of_the_hosts(
    mounted_below: Path, share: Callable[..., LiveShare]
) -> None:
    live = share(mounted_below, **HELD)
    (live.guest / "file").write_text("content")
    with refused(errno.EXDEV):
        os.rename(live.guest / "file", live.guest / "below" / "file")
    with refused(errno.EXDEV):
        os.link(live.guest / "file", live.guest / "below" / "link")
    with refused(errno.EBUSY):
        os.rmdir(live.guest / "below")
    live.share.flush()
    assert (mounted_below / "file").read_text() == "content"


def test_an_open_file_that_is_gone_from_the_host_does_not_come_back(
    share: Callable[..., LiveShare],
) -> None:
    live = share(**HELD)
    (live.source / "file").write_text("host")
    with open(live.guest / "file", "r+b", buffering=0) as file:
        os.unlink(live.guest / "file")
        live.share.flush()
        file.write(b"guest")
        os.ftruncate(file.fileno(), 7)
        assert os.pread(file.fileno(), 20, 0) == b"guest\0\0"
        live.share.flush()
        assert os.listdir(live.source) == []


@pytest.mark.parametrize("afterwards", [b"", b"y" * 10])
def test_a_refused_write_to_a_file_that_loses_its_name_and_is_overwritten(
    tmp_path: Path, share: Callable[..., LiveShare], afterwards: bytes
) -> None:
    """The write stays under way, and its bytes with it, whatever is done to the file."""
    source = tmp_path / "small"
    source.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=24m", "small", source], check=True)
    try:
        live = share(source, **HELD)
        with open(live.guest / "file", "w+b", buffering=0) as file:
            file.write(b"x" * 100_000)
            (source / "host").write_bytes(bytes((24 << 20) - 50_000))
            with refused(errno.ENOSPC):
                os.fsync(file.fileno())
            os.unlink(live.guest / "file")
            (source / "host").unlink()
            os.ftruncate(file.fileno(), 0)
            os.pwrite(file.fileno(), afterwards, 0)
            live.share.flush()
            assert os.pread(file.fileno(), 20, 0) == afterwards
        (live.guest / "later").touch()
        live.share.flush()
        assert os.listdir(source) == ["later"]
        live.unmount()
    finally:
        subprocess.run(["umount", "-l", source], check=True)


def test_who_is_not_the_owner_on_the_host_is_told_so_at_once(
    share: Callable[..., LiveShare], nobodys_state: str
) -> None:
    live = share(**HELD, user="nobody", state_directory=nobodys_state)
    os.chmod(live.source, 0o777)
    (live.source / "file").write_text("host")
    os.chmod(live.source / "file", 0o666)
    with refused(errno.EPERM):
        os.chmod(live.guest / "file", 0o600)
    with refused(errno.EPERM):
        os.utime(live.guest / "file", (1, 1))
    (live.source / "roots").write_text("host")
    with refused(errno.EACCES):
        os.truncate(live.guest / "roots", 1)
    (live.guest / "file").write_text("guest")
    (live.guest / "later").touch()
    live.share.flush()
    assert (live.source / "file").read_text() == "guest"
    assert (live.source / "later").exists()


def test_what_the_host_closes_and_takes_away_is_there_again(
    share: Callable[..., LiveShare], nobodys_state: str
) -> None:
    live = share(**HELD, user="nobody", state_directory=nobodys_state)
    os.chmod(live.source, 0o777)
    (live.source / "file").write_text("what the host has")
    os.chown(live.source / "file", NOBODY, NOBODY)
    with open(live.guest / "file", "wb") as file:
        file.write(b"guest")
    os.chmod(live.source / "file", 0)
    os.unlink(live.source / "file")
    live.share.flush()
    assert (live.source / "file").read_bytes() == b"guest"
    assert live.status().write_back.set_aside.count == 0


@pytest.mark.parametrize("move", [os.link, os.rename])
def test_what_the_guest_could_not_move_after_all_it_caches_no_more(
    share: Callable[..., LiveShare], move: Callable[[Path, Path], None]
) -> None:
    """A name that the guest has made of what the host took away meanwhile is there for nobody."""
    live = share(**HELD, cache_timeout_ns=24 * 3_600 * 10**9)
    (live.guest / "old").write_bytes(b"guest")
    live.share.flush()
    with open(live.guest / "old", "rb"):
        move(live.guest / "old", live.guest / "new")
        os.unlink(live.source / "old")
        live.settle()
        assert (live.guest / "new").exists()  # as far as the guest knows
    live.share.flush()
    assert os.listdir(live.source) == []

    def is_unknown() -> bool:
        """Also to the guest's kernel, which need not ask to know that it is no directory."""
        try:
            os.rmdir(live.guest / "new")
        except OSError as error:
            return error.errno == errno.ENOENT
        return False

    eventually(is_unknown)
    assert os.listdir(live.guest) == []


def test_who_may_not_write_by_name_may_cut_by_descriptor(
    share: Callable[..., LiveShare], nobodys_state: str
) -> None:
    live = share(**HELD, user="nobody", state_directory=nobodys_state)
    os.chmod(live.source, 0o777)
    fd = os.open(live.guest / "file", os.O_CREAT | os.O_RDWR, 0o444)
    os.write(fd, b"guest")
    live.share.flush()
    os.ftruncate(fd, 2)
    os.close(fd)
    live.share.flush()
    assert (live.source / "file").read_text() == "gu"


def opened(path: Path) -> int:
    """The errno of opening it."""
    try:
        path.read_bytes()
    except OSError as error:
        return error.errno or 0
    return 0


def sizes_in(directory: Path) -> list[int]:
    with os.scandir(directory) as entries:
        return [entry.stat().st_size for entry in entries]


LOOKS: dict[str, tuple[Callable[[Path], object], object]] = {
    "stat": (lambda where: os.path.lexists(where / "new"), False),
    "list": (lambda where: sorted(os.listdir(where)), ["other"]),
    "scan": (sizes_in, [5]),
    "open": (lambda where: opened(where / "new"), errno.ENOENT),
    "make": (lambda where: (where / "new").mkdir(), None),
}


@pytest.fixture(scope="module")
def nothing_cached(module_share: Callable[..., LiveShare]) -> LiveShare:
    return module_share(**HELD, cache_timeout_ns=0)


@pytest.mark.parametrize("look", LOOKS)
@pytest.mark.parametrize("move", [os.link, os.rename])
def test_what_the_guest_has_moved_and_the_host_taken_away_is_settled_when_it_is_looked_at(
    nothing_cached: LiveShare, look: str, move: Callable[[Path, Path], None]
) -> None:
    """Else it would be ESTALE until that change crosses: here for an hour."""
    its = Place.on(nothing_cached)
    (its.source / "old").write_bytes(b"host")
    (its.source / "other").write_bytes(b"12345")
    move(its.guest / "old", its.guest / "new")
    os.unlink(its.source / "old")
    looked, told = LOOKS[look]
    assert looked(its.guest) == told
    assert sorted(os.listdir(its.guest)) == (["new", "other"] if look == "make" else ["other"])
    nothing_cached.share.flush()
    assert nothing_cached.status().write_back.set_aside.count == 0


@pytest.mark.parametrize("told_first", [True, False])
def test_a_removed_directory_that_is_made_again_is_no_dead_one_to_who_was_in_it(
    share: Callable[..., LiveShare], told_first: bool
) -> None:
    """The guest has something in it: that it went for a while is told by its name alone."""
    live = share(**HELD)
    (live.source / "d").mkdir()
    (live.source / "d" / "open").touch()
    with open(live.guest / "d" / "open"):  # so that the guest's kernel keeps its directory
        (live.guest / "d" / "new").write_text("guest")
        shutil.rmtree(live.source / "d")
        (live.source / "d").symlink_to("elsewhere")
        if told_first:
            live.settle()
        live.share.flush()
        live.settle()
        assert os.listdir(live.source / "d") == ["new"]
        eventually(lambda: (live.guest / "d").is_dir())
        assert os.listdir(live.guest / "d") == ["new"]
        (live.guest / "d" / "newer").touch()
