"""Who mounts a tree that an unmounted share still writes back to waits for that share's server."""

import errno
import os
import signal
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from support.guests import eventually
from support.live import LiveShare

from osxfs_sim import MountError
from osxfs_sim.mount.launch import launch
from osxfs_sim.mount.mounts.mountpoints import mount_at, unmount
from osxfs_sim.mount.tree.inodes import InodeTable
from osxfs_sim.mount.writeback.draining import overlap, wait_until_drained
from osxfs_sim.mount.writeback.journal import Journal, open_journal
from osxfs_sim.mount.writeback.journal_directory import Owner, all_journals, claim, locked, owner_of
from osxfs_sim.settings import ShareSettings

HOUR_NS = 3_600 * 10**9
HELD = {"profile": "osxfs-delegated", "latency_ns": 0, "write_back_age_ns": HOUR_NS}


@pytest.fixture
def source(tmp_path: Path) -> Path:
    (tmp_path / "source").mkdir()
    return tmp_path / "source"


@pytest.fixture
def journal(tmp_path: Path, source: Path) -> Iterator[Journal]:
    """One of a server that lives: this process."""
    journal = open_journal(tmp_path, str(source), InodeTable(os.stat(source)).root)
    yield journal
    journal.close(keep=False)


class Said(list[str]):
    """What somebody who waits was told."""

    def __call__(self, words: str) -> None:
        self.append(words)


# Which servers are waited for


def test_a_journal_says_whose_it_is_while_its_server_lives(
    tmp_path: Path, source: Path, journal: Journal
) -> None:
    owner = owner_of(journal.directory)
    assert owner == Owner(os.getpid(), str(source), _root(source))
    journal.mounted("/mnt", "0:57")
    assert owner_of(journal.directory) == Owner(
        os.getpid(), str(source), _root(source), "/mnt", "0:57"
    )
    journal.drains()
    owner = owner_of(journal.directory)
    assert owner is not None
    assert owner.drains
    assert all_journals(tmp_path) == [journal.directory]


def test_a_journal_of_no_living_server_is_nobodys(tmp_path: Path, source: Path) -> None:
    journal = open_journal(tmp_path, str(source), InodeTable(os.stat(source)).root)
    journal.close(keep=True)
    assert owner_of(journal.directory) is None


def test_names_that_are_no_text_are_kept_whole(tmp_path: Path) -> None:
    source = os.fsdecode(b"/" + b"/".join([b"\xff" * 250] * 16))
    journal = open_journal(tmp_path, source, InodeTable(os.stat(tmp_path)).root)
    owner = owner_of(journal.directory)
    assert owner is not None
    assert owner.source == source
    journal.close(keep=False)


@pytest.mark.parametrize("state", ["begins", "is mounted"])
def test_a_share_that_begins_or_is_mounted_is_not_waited_for(
    tmp_path: Path, source: Path, journal: Journal, state: str
) -> None:
    if state == "is mounted":
        journal.mounted("/mnt", "0:57")
    said = Said()
    wait_until_drained(tmp_path, str(source), said, mounted=lambda _: True, stands_still_s=3_600)
    assert said == []


@pytest.mark.starts_processes
@pytest.mark.parametrize("how", ["it says so", "its mount is gone"])
def test_a_share_that_is_unmounted_is_waited_for_until_it_ends(
    tmp_path: Path, source: Path, how: str
) -> None:
    journal = open_journal(tmp_path, str(source), InodeTable(os.stat(source)).root)
    journal.mounted("/mnt", "0:57")
    if how == "it says so":
        journal.drains()
    said = Said()

    def mounted(_: Owner) -> bool:
        return how == "it says so"

    waiting = threading.Thread(
        target=wait_until_drained,
        args=(tmp_path, str(source), said),
        kwargs={"mounted": mounted, "stands_still_s": 3_600},
    )
    waiting.start()
    eventually(lambda: len(said) == 1)
    assert waiting.is_alive()
    journal.close(keep=False)
    waiting.join(180)
    assert not waiting.is_alive()
    assert f"waiting until the host has what an earlier share of {source}" in said[0]


@pytest.mark.starts_processes
def test_a_recovery_is_waited_for_until_it_ends(tmp_path: Path, source: Path) -> None:
    journal = open_journal(tmp_path, str(source), InodeTable(os.stat(source)).root)
    journal.mounted("/mnt", "0:57")  # which is there still, and dead
    journal.close(keep=True)
    said = Said()
    waiting = threading.Thread(
        target=wait_until_drained,
        args=(tmp_path, str(source), said),
        kwargs={"mounted": lambda _: True, "stands_still_s": 3_600},
    )
    with locked(journal.directory):
        claim(journal.directory, Owner(os.getpid(), str(source), _root(source), drains=True))
        waiting.start()
        eventually(lambda: len(said) == 1)
        assert waiting.is_alive()
    waiting.join(180)
    assert not waiting.is_alive()


@pytest.mark.starts_processes
def test_one_that_stands_still_is_told_with_the_remedy(
    tmp_path: Path, source: Path, journal: Journal
) -> None:
    from test_journal import make

    table = InodeTable(os.stat(source))
    journal.append(make(table, b"a", 1))
    journal.mounted("/mnt", "0:57")
    journal.drains()
    with pytest.raises(MountError, match=rf"kill {os.getpid()}") as caught:
        wait_until_drained(tmp_path, str(source), Said(), stands_still_s=0)
    assert "\n" not in str(caught.value)


@pytest.mark.starts_processes
def test_one_that_has_nothing_to_write_back_keeps_nobody(
    tmp_path: Path, source: Path, journal: Journal
) -> None:
    journal.mounted("/mnt", "0:57")
    journal.drains()  # unmounted lazily: somebody has a file open
    wait_until_drained(tmp_path, str(source), Said(), stands_still_s=0)


def _root(source: Path) -> tuple[int, int]:
    status = os.stat(source)
    return status.st_dev, status.st_ino


@pytest.mark.parametrize(
    ("other", "is_one"),
    [("", True), ("/below", True), ("/..", True), ("/../source-2", False), ("/../else", False)],
)
def test_trees_overlap_where_one_holds_the_other(source: Path, other: str, is_one: bool) -> None:
    path = os.path.normpath(str(source) + other)
    os.makedirs(path, exist_ok=True)
    assert overlap(Owner(1, str(source), _root(source)), path) is is_one


def test_a_bind_mount_is_the_same_tree(source: Path) -> None:
    assert overlap(Owner(1, "/elsewhere", _root(source)), str(source))


# On live shares


def stopped_and_unmounted(live: LiveShare) -> None:
    """Unmounted, while its server is kept from writing back by being stopped."""
    os.kill(live.pid, signal.SIGSTOP)
    unmount(str(live.guest))  # umount(8) would look at it first, and wait


@pytest.mark.parametrize("profile", ["osxfs", "osxfs-delegated", "native"])
def test_what_a_guest_syncs_is_not_overwritten_by_an_earlier_share(
    share: Callable[..., LiveShare], profile: str
) -> None:
    if profile == "native" and os.geteuid():
        pytest.skip("only root can mount it")
    live = share(**HELD)
    (live.guest / "file").write_text("older")
    state = Path(live.status().write_back.journal).parents[1]
    stopped_and_unmounted(live)
    said = Said()
    settings = ShareSettings(
        str(live.source),
        str(live.guest),
        profile=profile,
        calibrate=False,
        state_directory=str(state),
    )
    again: list[object] = []

    def mount() -> None:
        try:
            again.append(launch(settings, said))
        except MountError as error:
            said(str(error))  # and fails below

    mounting = threading.Thread(target=mount)
    mounting.start()
    try:
        eventually(lambda: bool(said))
        assert "waiting until the host has" in said[0]
        assert mount_at(str(live.guest)) is None
        assert not again
    finally:
        os.kill(live.pid, signal.SIGCONT)
    mounting.join(180)
    (newer,) = again
    try:
        assert (live.guest / "file").read_text() == "older"
        with open(live.guest / "file", "w") as file:
            file.write("newer, synced")
            file.flush()
            os.fsync(file.fileno())
        assert live.wait_for_end() == 0
        assert (live.source / "file").read_text() == "newer, synced"
    finally:
        newer.end()  # type: ignore[attr-defined]
    assert (live.source / "file").read_text() == "newer, synced"


def test_what_was_left_of_a_tree_below_keeps_the_one_above_from_being_mounted(
    share: Callable[..., LiveShare], field: Path
) -> None:
    (field / "all" / "part").mkdir(parents=True)
    live = share(field / "all" / "part", **HELD)
    (live.guest / "file").write_text("left")
    live.kill()
    eventually(lambda: mount_at(str(live.guest)) is None)
    for source in (field / "all", field / "all" / "part"):
        with pytest.raises(MountError, match=f"mount {field / 'all' / 'part'} with --unwritten"):
            share(source, live.guest, profile="none")
    share(field / "all" / "part", live.guest, profile="none", unwritten="recover").unmount()
    share(field / "all", live.guest, profile="none")
    assert (live.source / "file").read_text() == "left"


# Where the journal lies


def fill(path: Path) -> int:
    """Write to *path* until there is no room; returns the bytes that were acknowledged."""
    written = 0
    with open(path, "wb", buffering=0) as file:
        try:
            for _ in range(1_000):
                written += file.write(bytes(1 << 20))
        except OSError as error:
            if error.errno != errno.ENOSPC:
                raise
            return written
    raise AssertionError("there was room for all")


def test_a_state_that_fills_up_ends_no_server(
    share: Callable[..., LiveShare], small_source: Path, field: Path
) -> None:
    (field / "host").mkdir()
    live = share(field / "host", **HELD, state_directory=str(small_source))
    written = fill(live.guest / "big")
    live.share.flush()
    assert (live.source / "big").stat().st_size >= written > 0
    live.unmount()


def test_what_is_left_in_a_full_state_can_be_recovered(
    share: Callable[..., LiveShare], small_source: Path, field: Path
) -> None:
    (field / "host").mkdir()
    live = share(field / "host", **HELD, state_directory=str(small_source))
    fill(live.guest / "big")
    size = (live.guest / "big").stat().st_size
    live.kill()
    eventually(lambda: mount_at(str(live.guest)) is None)
    (small_source / "full").write_bytes(bytes(os.statvfs(small_source).f_bavail * 4096))
    again = share(
        field / "host",
        live.guest,
        profile="none",
        state_directory=str(small_source),
        unwritten="recover",
    )
    assert (again.source / "big").stat().st_size == size
    again.unmount()


@pytest.mark.parametrize("profile", ["osxfs-delegated", "osxfs-cached"])
def test_a_state_that_the_guest_could_reach_is_refused(
    share: Callable[..., LiveShare], field: Path, profile: str
) -> None:
    (field / "host").mkdir()
    for state in (field / "host" / "state" / "deeper", field / "host"):
        with pytest.raises(MountError, match=r"lies in the source .* let --state name"):
            share(field / "host", profile=profile, state_directory=str(state))


def test_a_state_that_the_guest_could_reach_by_a_bind_mount_is_refused(
    share: Callable[..., LiveShare], field: Path
) -> None:
    if os.geteuid():
        pytest.skip("only root can mount")
    (field / "host" / "state").mkdir(parents=True)
    (field / "bound").mkdir()
    subprocess.run(["mount", "--bind", field / "host", field / "bound"], check=True)
    try:
        with pytest.raises(MountError, match="lies in the source"):
            share(field / "bound", **HELD, state_directory=str(field / "host" / "state"))
    finally:
        subprocess.run(["umount", field / "bound"], check=True)
