"""Changes of the guest that the host gets later: what each side sees, and when it has them."""

import errno
import mmap
import os
import socket
import stat as modes
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from support.guests import eventually, refused, run
from support.live import LiveShare

from osxfs_sim import MountError
from osxfs_sim.mount.mounts.mountpoints import mount_at

HOUR_NS = 3_600 * 10**9
DELEGATED = {"profile": "osxfs-delegated", "latency_ns": 0}
HELD = {**DELEGATED, "write_back_age_ns": HOUR_NS}
"""Nothing is written back unless somebody asks."""


def counts(live: LiveShare) -> dict:
    return live.status().write_back


def tree(top: Path) -> dict[str, str | None]:
    """Every path below *top*, and the content of what is a file."""
    return {
        str(path.relative_to(top)): path.read_text() if path.is_file() else None
        for path in sorted(top.rglob("*"))
    }


@pytest.fixture
def held(share: Callable[..., LiveShare]) -> LiveShare:
    return share(**HELD)


# What each side sees


def test_a_change_is_the_guests_alone_until_it_is_written_back(held: LiveShare) -> None:
    (held.guest / "file").write_text("content")
    assert tree(held.guest) == {"file": "content"}
    assert tree(held.source) == {}
    held.share.flush()
    assert tree(held.source) == {"file": "content"}


def test_all_kinds_of_change_are_seen_by_another_process_of_the_guest(held: LiveShare) -> None:
    (held.source / "old").write_text("host")
    (held.source / "gone").write_text("host")
    guest = held.guest
    (guest / "directory").mkdir()
    (guest / "directory" / "new").write_text("guest")
    (guest / "link").symlink_to("directory/new")
    os.link(guest / "old", guest / "directory" / "second")
    os.rename(guest / "old", guest / "moved")
    os.truncate(guest / "moved", 2)
    os.chmod(guest / "moved", 0o604)
    os.unlink(guest / "gone")
    seen = run(
        """
        import os, sys
        os.chdir(sys.argv[1])
        for top, directories, files in os.walk("."):
            directories.sort()
            for name in sorted(files):
                path = os.path.join(top, name)
                status = os.stat(path)
                print(path, open(path).read(), oct(status.st_mode & 0o777), status.st_nlink)
        """.replace("\n        ", "\n"),
        guest,
    )
    assert seen.splitlines() == [
        "./link guest 0o644 1",
        "./moved ho 0o604 2",
        "./directory/new guest 0o644 1",
        "./directory/second ho 0o604 2",
    ]
    assert tree(held.source) == {"old": "host", "gone": "host"}
    held.share.flush()
    assert tree(held.source) == tree(guest)
    assert os.stat(held.source / "moved").st_nlink == 2
    assert os.readlink(held.source / "link") == "directory/new"


def test_written_back_a_file_has_the_times_that_the_guest_gave_it(held: LiveShare) -> None:
    (held.guest / "file").write_text("content")
    (held.guest / "directory").mkdir()
    (held.guest / "directory" / "inside").touch()
    os.utime(held.guest / "file", ns=(10**18, 10**18 + 1))
    before = {name: os.stat(held.guest / name).st_mtime_ns for name in ("file", "directory")}
    held.share.flush()
    for name, mtime_ns in before.items():
        assert os.stat(held.source / name).st_mtime_ns == mtime_ns
        assert os.stat(held.guest / name).st_mtime_ns == mtime_ns


def test_a_pending_mode_decides_about_access(held: LiveShare) -> None:
    (held.source / "program").touch(0o644)
    assert not os.access(held.guest / "program", os.X_OK)
    os.chmod(held.guest / "program", 0o755)
    assert os.access(held.guest / "program", os.X_OK)
    assert not os.access(held.source / "program", os.X_OK), "the host has not got it"


def test_data_written_in_pieces_is_read_back_whole(held: LiveShare) -> None:
    (held.source / "file").write_bytes(b"." * 100)
    with open(held.guest / "file", "r+b", buffering=0) as file:
        file.seek(10)
        file.write(b"guest")
        file.truncate(50)
        file.seek(60)
        file.write(b"more")
        expected = b"." * 10 + b"guest" + b"." * 35 + bytes(10) + b"more"
        assert os.pread(file.fileno(), 200, 0) == expected
    assert (held.guest / "file").read_bytes() == expected
    assert (held.source / "file").read_bytes() == b"." * 100
    held.share.flush()
    assert (held.source / "file").read_bytes() == expected


def test_a_shared_mapping_shows_and_makes_pending_changes(held: LiveShare) -> None:
    (held.guest / "file").write_bytes(bytes(8_192))
    with (
        open(held.guest / "file", "r+b", buffering=0) as file,
        mmap.mmap(file.fileno(), 0) as mapping,
    ):
        mapping[:5] = b"first"
        mapping.flush()
        assert os.pread(file.fileno(), 5, 0) == b"first"
        file.seek(4_096)
        file.write(b"second")
        assert mapping[4_096:4_102] == b"second"
        assert (held.source / "file").read_bytes()[:5] == b"first", "msync(2) is a sync"


def test_a_removed_file_that_is_open_lives_on_and_never_crosses(held: LiveShare) -> None:
    with open(held.guest / "file", "w+b", buffering=0) as file:
        file.write(b"before ")
        os.unlink(held.guest / "file")
        file.write(b"after")
        assert os.pread(file.fileno(), 20, 0) == b"before after"
        assert os.fstat(file.fileno()).st_nlink == 0
        file.truncate(6)
        assert os.pread(file.fileno(), 20, 0) == b"before"
        os.fsync(file.fileno())
    after = held.share.flush().write_back
    assert after.crossings == {}
    assert after.pending_changes == 0


def test_a_removed_file_of_the_hosts_that_is_open_keeps_what_was_written(held: LiveShare) -> None:
    (held.source / "file").write_text("host content")
    with open(held.guest / "file", "r+b", buffering=0) as file:
        file.write(b"GUEST")
        os.unlink(held.guest / "file")
        file.seek(5)
        file.write(b"!")
        assert os.pread(file.fileno(), 20, 0) == b"GUEST!ontent"
        held.share.flush()
        assert tree(held.source) == {}
        assert os.pread(file.fileno(), 20, 0) == b"GUEST!ontent"
        file.seek(0)
        file.write(b"later")
        assert os.pread(file.fileno(), 20, 0) == b"later!ontent"


def test_a_removed_file_that_is_open_does_not_come_back(held: LiveShare) -> None:
    with open(held.guest / "file", "w+b", buffering=0) as file:
        held.share.flush()
        os.unlink(held.guest / "file")
        held.share.flush()
        file.write(b"nobody's")
        held.share.flush()
        assert tree(held.guest) == tree(held.source) == {}
        assert os.pread(file.fileno(), 20, 0) == b"nobody's"


def test_a_file_is_open_across_its_writing_back(held: LiveShare) -> None:
    with open(held.guest / "file", "w+b", buffering=0) as file:
        file.write(b"held ")
        held.share.flush()
        assert (held.source / "file").read_bytes() == b"held "
        file.write(b"later")
        assert os.pread(file.fileno(), 20, 0) == b"held later"
        held.share.flush()
        assert (held.source / "file").read_bytes() == b"held later"
        assert os.fstat(file.fileno()).st_ino == os.stat(held.guest / "file").st_ino


def test_a_directory_is_listed_across_its_writing_back(held: LiveShare) -> None:
    (held.guest / "directory").mkdir()
    for number in range(50):
        (held.guest / "directory" / f"file-{number}").touch()
    with os.scandir(held.guest / "directory") as entries:
        first = next(entries).name
        held.share.flush()
        rest = [entry.name for entry in entries]
    assert sorted([first, *rest]) == sorted(f"file-{number}" for number in range(50))
    assert len(os.listdir(held.guest / "directory")) == 50


def test_who_owns_what_is_held_and_kept(held: LiveShare) -> None:
    (held.guest / "file").touch()
    os.chown(held.guest / "file", 1234, -1)
    assert os.stat(held.guest / "file").st_uid == 1234
    held.share.flush()
    assert os.getxattr(held.source / "file", "user.com.docker.owner") == b"0:1234:"
    assert os.stat(held.guest / "file").st_uid == 1234


# What crosses, and what does not


def test_what_is_made_and_removed_again_never_crosses(held: LiveShare) -> None:
    held.reset()
    (held.guest / "tmp").mkdir()
    for number in range(20):
        (held.guest / "tmp" / f"{number}").write_text("temporary")
    (held.guest / "tmp" / "link").symlink_to("0")
    os.rename(held.guest / "tmp" / "0", held.guest / "tmp" / "renamed")
    subprocess.run(["rm", "-r", held.guest / "tmp"], check=True)
    after = held.share.flush().write_back
    assert after.crossings == {}
    assert after.crossed == 0
    assert after.made == after.cancelled + after.merged > 60
    assert tree(held.source) == {}
    assert os.path.getsize(Path(after.journal) / "changes") == 0, "nothing is kept of it"
    assert os.path.getsize(Path(after.journal) / "data") == 0


def test_nothing_crosses_for_what_only_the_guest_has(held: LiveShare) -> None:
    (held.guest / "tmp").mkdir()
    (held.guest / "tmp" / "file").write_text("content")
    held.reset()
    os.stat(held.guest / "tmp" / "file")
    os.listdir(held.guest / "tmp")
    assert (held.guest / "tmp" / "file").read_text() == "content"
    assert not (held.guest / "tmp" / "missing").exists()
    assert held.requests().keys() <= {"RELEASE", "RELEASEDIR", "FORGET"}


def test_small_writes_cross_together(held: LiveShare) -> None:
    with open(held.guest / "file", "wb", buffering=0) as file:
        for _ in range(1_000):
            file.write(bytes(1_024))
    after = held.share.flush().write_back
    assert after.crossings == {"CREATE": 1, "WRITE": 8}
    assert after.bytes_written_back == 1_024_000
    assert after.made == 1_001 == after.crossed + after.merged


def test_a_temporary_file_renamed_over_a_file_of_the_hosts_replaces_it(held: LiveShare) -> None:
    (held.source / "file").write_text("old")
    (held.guest / "file.new").write_text("new")
    os.rename(held.guest / "file.new", held.guest / "file")
    assert tree(held.guest) == {"file": "new"}
    assert tree(held.source) == {"file": "old"}
    held.share.flush()
    assert tree(held.source) == {"file": "new"}


def test_a_file_that_is_replaced_again_and_again_is_there(held: LiveShare) -> None:
    (held.source / "file").write_text("host")
    for number in range(3):
        (held.guest / "temporary").write_text(f"version {number}")
        os.replace(held.guest / "temporary", held.guest / "file")
        assert tree(held.guest) == {"file": f"version {number}"}
    assert os.listdir(held.guest) == ["file"]
    held.share.flush()
    assert tree(held.guest) == tree(held.source) == {"file": "version 2"}


def test_a_replacement_that_goes_takes_what_it_replaced_along(held: LiveShare) -> None:
    (held.source / "file").write_text("old")
    (held.guest / "file.new").write_text("new")
    os.rename(held.guest / "file.new", held.guest / "file")
    os.unlink(held.guest / "file")
    after = held.share.flush().write_back
    assert tree(held.source) == {}
    assert after.crossings == {"UNLINK": 1}


# Who makes the host have it


def test_fsync_brings_the_file_its_name_and_what_these_need(held: LiveShare) -> None:
    (held.source / "a").mkdir()
    os.rename(held.guest / "a", held.guest / "b")
    (held.guest / "b" / "c").mkdir()
    with open(held.guest / "b" / "c" / "file", "w") as file:
        file.write("synced")
        file.flush()
        (held.guest / "unrelated, later").touch()
        os.fsync(file.fileno())
        assert tree(held.source) == {"b": None, "b/c": None, "b/c/file": "synced"}
    assert counts(held).pending_changes == 1


@pytest.mark.parametrize("sync", [os.fsync, os.fdatasync])
def test_a_rename_before_it_is_part_of_what_is_synced(held: LiveShare, sync: Callable) -> None:
    with open(held.guest / "file.new", "w") as file:
        file.write("new")
        file.flush()
        os.rename(held.guest / "file.new", held.guest / "file")
        sync(file.fileno())
        assert tree(held.source) == {"file": "new"}


def test_a_directory_is_synced_with_its_names(held: LiveShare) -> None:
    (held.guest / "directory").mkdir()
    (held.guest / "directory" / "file").write_text("content")
    os.unlink(held.guest / "directory" / "file")
    (held.guest / "directory" / "other").touch()
    fd = os.open(held.guest / "directory", os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
    assert tree(held.source) == {"directory": None, "directory/other": ""}


def test_a_file_opened_to_be_synced_at_each_write_is(held: LiveShare) -> None:
    fd = os.open(held.guest / "file", os.O_WRONLY | os.O_CREAT | os.O_SYNC)
    try:
        os.write(fd, b"first")
        assert tree(held.source) == {"file": "first"}
    finally:
        os.close(fd)


def test_close_is_no_sync(held: LiveShare) -> None:
    (held.guest / "file").write_text("content")
    assert tree(held.source) == {}


def test_unmount_writes_everything_back(share: Callable[..., LiveShare]) -> None:
    live = share(**HELD)
    for number in range(100):
        (live.guest / f"{number}").write_text(f"content {number}")
    live.unmount()
    assert tree(live.source) == {f"{number}": f"content {number}" for number in range(100)}


def test_a_signal_writes_everything_back(share: Callable[..., LiveShare]) -> None:
    live = share(**HELD)
    (live.guest / "file").write_text("content")
    live.server.terminate()
    live.wait_for_end()
    assert tree(live.source) == {"file": "content"}


def test_age_writes_back_without_anybody_asking(share: Callable[..., LiveShare]) -> None:
    live = share(**DELEGATED, write_back_age_ns=20_000_000)
    (live.guest / "file").write_text("content")
    eventually(lambda: tree(live.source) == {"file": "content"})
    after = eventually(lambda: (now := counts(live)).pending_changes == 0 and now)
    assert after.longest_lag_ns >= 20_000_000
    assert after.throttled == 0


@pytest.mark.parametrize(
    "limit", [{"write_back_changes": 10}, {"write_back_bytes": "10KB"}], ids=["changes", "bytes"]
)
def test_who_changes_more_than_may_be_pending_is_slowed(
    share: Callable[..., LiveShare], limit: dict
) -> None:
    live = share(**HELD, **limit)
    for number in range(60):
        (live.guest / f"{number}").write_bytes(bytes(1_000))
    after = counts(live)
    assert after.throttled > 0
    assert after.most_changes_at_risk <= limit.get("write_back_changes", 60 * 2)
    assert after.most_bytes_at_risk <= 10_000
    assert after.crossed > 40
    live.share.flush()
    assert len(os.listdir(live.source)) == 60


def test_a_file_that_gets_to_the_host_while_it_is_opened_is_that_file(
    share: Callable[..., LiveShare],
) -> None:
    live = share(**HELD, write_back_changes=1)
    (live.guest / "file").touch()
    with open(live.guest / "file", "r+b", buffering=0) as file:  # waits until there is room
        file.write(b"content")
        live.share.flush()
        assert os.pread(file.fileno(), 20, 0) == b"content"
    assert tree(live.source) == {"file": "content"}


@pytest.mark.parametrize("change", ["write", "truncate", "fchmod"])
def test_a_file_that_loses_its_name_on_the_host_while_it_is_changed_stays_away(
    share: Callable[..., LiveShare], change: str
) -> None:
    live = share(**HELD, write_back_changes=1)
    (live.source / "file").write_text("host")
    with open(live.guest / "file", "r+b", buffering=0) as file:
        os.unlink(live.guest / "file")
        if change == "write":
            file.write(b"more")
            assert os.pread(file.fileno(), 20, 0) == b"more"
        elif change == "truncate":
            file.truncate(1)
            assert os.pread(file.fileno(), 20, 0) == b"h"
        else:
            os.fchmod(file.fileno(), 0o600)
        after = live.share.flush().write_back
        assert tree(live.source) == tree(live.guest) == {}
        assert after.lost_host_changes == after.pending_changes == 0


def test_a_write_larger_than_the_limit_is_taken_alone(share: Callable[..., LiveShare]) -> None:
    live = share(**HELD, write_back_bytes="1KB")
    (live.guest / "file").write_bytes(bytes(2_000_000))
    live.share.flush()
    assert os.path.getsize(live.source / "file") == 2_000_000


def test_sockets_and_fifos_are_on_the_host_at_once(held: LiveShare) -> None:
    (held.guest / "new").mkdir()
    os.mkfifo(held.guest / "new" / "fifo")
    assert modes.S_ISFIFO(os.stat(held.source / "new" / "fifo").st_mode)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(held.guest / "socket"))
        assert modes.S_ISSOCK(os.stat(held.source / "socket").st_mode)
    os.chmod(held.guest / "new" / "fifo", 0o600)
    assert modes.S_IMODE(os.stat(held.source / "new" / "fifo").st_mode) == 0o600
    os.rename(held.guest / "new" / "fifo", held.guest / "moved")
    assert (held.source / "moved").exists()
    os.unlink(held.guest / "moved")
    assert not (held.source / "moved").exists()


# When the host has changed the same thing


def test_a_host_file_written_by_both_keeps_the_guests_bytes(held: LiveShare) -> None:
    (held.source / "file").write_text("aaaaaa")
    with open(held.guest / "file", "r+") as file:
        file.write("GG")
    (held.source / "file").write_text("bbbbbb")
    after = held.share.flush().write_back
    assert (held.source / "file").read_text() == "GGbbbb"
    assert after.lost_host_changes == 1
    assert after.lost_paths == ["file"]
    assert any("DEL-7" in warning for warning in held.status().warnings)


def test_a_file_that_both_have_made_is_the_guests(held: LiveShare) -> None:
    (held.guest / "file").write_text("guest")
    (held.source / "file").write_text("host")
    after = held.share.flush().write_back
    assert tree(held.source) == tree(held.guest) == {"file": "guest"}
    assert after.lost_host_changes == 1


def test_a_directory_that_both_have_made_is_one(held: LiveShare) -> None:
    (held.guest / "directory").mkdir()
    (held.guest / "directory" / "guest").touch()
    (held.source / "directory").mkdir()
    (held.source / "directory" / "host").touch()
    after = held.share.flush().write_back
    assert sorted(tree(held.source)) == ["directory", "directory/guest", "directory/host"]
    assert after.lost_host_changes == 0


def test_a_host_directory_in_the_way_of_a_file_is_moved_aside(held: LiveShare) -> None:
    (held.guest / "name").write_text("guest")
    (held.source / "name").mkdir()
    (held.source / "name" / "precious").write_text("host")
    held.share.flush()
    assert tree(held.source) == {
        "name": "guest",
        "name.host-1": None,
        "name.host-1/precious": "host",
    }


def test_a_file_that_the_host_removed_and_the_guest_wrote_to_is_there_again(
    held: LiveShare,
) -> None:
    (held.source / "file").write_text("aaaaaa")
    with open(held.guest / "file", "r+") as file:
        file.write("GG")
    (held.source / "file").unlink()
    after = held.share.flush().write_back
    assert (held.source / "file").read_text() == "GGaaaa"
    assert after.lost_host_changes == 1


def test_a_file_that_the_host_replaced_and_the_guest_wrote_to_is_the_guests(
    held: LiveShare,
) -> None:
    (held.source / "file").write_text("aaaaaa")
    with open(held.guest / "file", "r+") as file:
        file.write("GG")
    (held.source / "other").write_text("replacement")
    os.rename(held.source / "other", held.source / "file")
    held.share.flush()
    assert (held.source / "file").read_text() == "GGaaaa"


def test_a_directory_that_the_host_removed_is_there_again_with_what_the_guest_made(
    held: LiveShare,
) -> None:
    (held.source / "a" / "b").mkdir(parents=True)
    (held.guest / "a" / "b" / "file").write_text("guest")
    subprocess.run(["rm", "-r", held.source / "a"], check=True)
    held.share.flush()
    assert tree(held.source) == {"a": None, "a/b": None, "a/b/file": "guest"}


def test_what_the_host_put_in_the_place_of_what_the_guest_removed_stays(held: LiveShare) -> None:
    (held.source / "file").write_text("old")
    os.unlink(held.guest / "file")
    (held.source / "new").write_text("new")
    os.rename(held.source / "new", held.source / "file")
    after = held.share.flush().write_back
    assert tree(held.source) == {"file": "new"}
    assert after.kept_host_changes == 1
    held.settle()
    assert tree(held.guest) == {"file": "new"}


def test_a_directory_that_the_host_put_something_into_is_not_removed(held: LiveShare) -> None:
    (held.source / "directory").mkdir()
    os.rmdir(held.guest / "directory")
    (held.source / "directory" / "host").write_text("precious")
    after = held.share.flush().write_back
    assert tree(held.source) == {"directory": None, "directory/host": "precious"}
    assert after.kept_paths == ["directory"]
    held.settle()
    assert tree(held.guest) == tree(held.source)


def test_a_directory_that_is_not_removed_is_shown_to_who_is_in_it(held: LiveShare) -> None:
    """The guest's kernel takes a directory that was removed for empty as long as it knows it."""
    (held.source / "build").mkdir()
    inside = os.open(held.guest / "build", os.O_RDONLY)
    try:
        os.rmdir(held.guest / "build")
        (held.source / "build" / "host").write_text("host")
        held.share.flush()
        host = held.guest / "build" / "host"
        eventually(lambda: host.exists() and host.read_text() == "host")
        (held.source / "build" / "later").touch()
        eventually(lambda: sorted(os.listdir(host.parent)) == ["host", "later"])
    finally:
        os.close(inside)


def test_a_file_that_the_host_moved_is_written_where_it_is(held: LiveShare) -> None:
    (held.source / "file").write_text("aaaaaa")
    with open(held.guest / "file", "r+") as file:
        file.write("GG")
    os.rename(held.source / "file", held.source / "moved")
    held.settle()
    held.share.flush()
    assert tree(held.source) == {"moved": "GGaaaa"}
    held.settle()
    assert tree(held.guest) == {"moved": "GGaaaa"}


def test_the_guest_does_not_hear_of_its_own_changes_as_the_hosts(held: LiveShare) -> None:
    (held.guest / "directory").mkdir()
    (held.guest / "directory" / "file").write_text("content")
    held.share.flush()
    held.settle()
    events = held.status().events
    assert sum(events.raised.values()) == 0


def test_a_host_edit_of_what_was_written_back_is_seen(held: LiveShare) -> None:
    (held.guest / "directory").mkdir()
    (held.guest / "directory" / "file").write_text("guest")
    held.share.flush()
    assert (held.guest / "directory" / "file").read_text() == "guest"
    (held.source / "directory" / "file").write_text("edited on the host")
    (held.source / "directory" / "new").write_text("made on the host")
    held.settle()
    assert tree(held.guest) == tree(held.source)


# When the host refuses


def test_a_full_host_is_met_when_the_guest_writes(
    small_source: Path, share: Callable[..., LiveShare]
) -> None:
    live = share(small_source, **HELD)
    with refused(errno.ENOSPC), open(live.guest / "file", "wb", buffering=0) as file:
        for _ in range(30):
            file.write(bytes(1 << 20))
    live.share.flush()
    assert os.path.getsize(live.source / "file") < 24 << 20


def test_what_a_full_host_does_not_take_is_kept_told_and_recovered(
    small_source: Path, share: Callable[..., LiveShare]
) -> None:
    live = share(small_source, **HELD)
    (live.guest / "file").write_bytes(b"guest" * 200_000)
    (live.guest / "second").touch()
    (small_source / "host").write_bytes(bytes((24 << 20) - 300_000))
    with pytest.raises(MountError, match="not on the host, the first of file: No space"):
        live.share.flush()
    with open(live.guest / "second") as file, refused(errno.ENOSPC):
        os.fsync(file.fileno())
    assert any("host refuses" in warning for warning in live.status().warnings)
    assert (live.guest / "file").read_bytes() == b"guest" * 200_000
    with pytest.raises(MountError, match=r"not on the host: file, second; kept in .*recover"):
        live.unmount()
    live.expected_end, live.expected_trouble = 1, True  # and says so in its log
    assert live.wait_for_end() == 1
    assert "Traceback" not in live.log()
    assert mount_at(str(live.guest)) is None
    with pytest.raises(MountError, match=r"changes .* not on the host: .*--unwritten recover"):
        share(small_source, live.guest, **HELD)
    (small_source / "host").unlink()
    again = share(small_source, live.guest, **HELD, unwritten="recover")
    assert (small_source / "file").read_bytes() == b"guest" * 200_000
    assert (small_source / "second").exists()
    assert counts(again).recovered >= 2
    assert (again.guest / "file").read_bytes() == b"guest" * 200_000


def test_what_a_full_host_has_taken_half_of_is_no_change_of_the_hosts(
    small_source: Path, share: Callable[..., LiveShare]
) -> None:
    for name in ("taken away", "written"):
        (small_source / name).write_bytes(b"before")
    live = share(small_source, **HELD)
    for name in ("written", "taken away"):
        (live.guest / name).write_bytes(b"guest" * 200_000)
    (small_source / "host").write_bytes(bytes((24 << 20) - 300_000))
    with pytest.raises(MountError, match="No space"):
        live.share.flush()
    assert 0 < (small_source / "written").stat().st_size < 1_000_000
    (live.guest / "taken away").unlink()
    (small_source / "host").unlink()
    live.share.flush()
    assert (small_source / "written").read_bytes() == b"guest" * 200_000
    assert not (small_source / "taken away").exists()
    assert counts(live).lost_host_changes == 0
    assert counts(live).kept_host_changes == 0
    live.expected_trouble = True


def test_a_host_that_has_room_again_gets_what_waited(
    small_source: Path, share: Callable[..., LiveShare]
) -> None:
    live = share(small_source, **DELEGATED, write_back_age_ns=1_000_000)
    live.expected_trouble = True
    (small_source / "host").write_bytes(bytes(6 << 20))
    (live.guest / "ballast").touch()
    live.share.flush()
    with open(live.guest / "file", "wb", buffering=0) as file:
        (small_source / "more").write_bytes(bytes(1 << 20))
        file.write(b"x" * 500_000)
    (small_source / "host").unlink()
    eventually(lambda: counts(live).pending_changes == 0)
    assert (small_source / "file").read_bytes() == b"x" * 500_000


def test_what_was_refused_is_tried_again_however_old_it_may_get(
    small_source: Path, share: Callable[..., LiveShare]
) -> None:
    live = share(small_source, **HELD)
    live.expected_trouble = True
    (live.guest / "file").write_bytes(b"guest" * 200_000)
    (small_source / "host").write_bytes(bytes((24 << 20) - 300_000))
    with pytest.raises(MountError, match="No space"):
        live.share.flush()
    (small_source / "host").unlink()
    eventually(lambda: counts(live).refusal is None)
    assert (small_source / "file").exists(), "it crosses without anybody asking"


# What a killed server leaves


def test_after_a_crash_the_next_mount_asks_what_to_do(share: Callable[..., LiveShare]) -> None:
    live = share(**HELD)
    (live.guest / "file").write_text("content")
    (live.guest / "synced").write_text("synced")
    with open(live.guest / "synced") as file:
        os.fsync(file.fileno())
    (live.guest / "later").write_text("later")
    live.kill()
    assert tree(live.source) == {"file": "content", "synced": "synced"}
    with pytest.raises(MountError, match=r"2 changes .* not on the host: later; mount") as caught:
        share(live.source, live.guest, **HELD)
    assert "\n" not in str(caught.value)
    again = share(live.source, live.guest, **HELD, unwritten="recover")
    assert tree(again.source) == tree(again.guest)
    assert (again.source / "later").read_text() == "later"
    assert "2 changes unwritten: the host has them now" in " ".join(again.status().warnings)


def test_after_a_crash_what_was_left_can_be_given_up(share: Callable[..., LiveShare]) -> None:
    live = share(**HELD)
    (live.guest / "file").write_text("content")
    live.kill()
    again = share(live.source, live.guest, **HELD, unwritten="discard")
    assert tree(again.guest) == {}
    again.unmount()
    share(live.source, live.guest, **HELD)


def test_a_share_of_any_profile_asks_what_to_do(share: Callable[..., LiveShare]) -> None:
    live = share(**HELD)
    (live.guest / "file").write_text("content")
    live.kill()
    with pytest.raises(MountError, match="not on the host"):
        share(live.source, live.guest, profile="none")
    share(live.source, live.guest, profile="none", unwritten="recover")
    assert tree(live.source) == {"file": "content"}


def test_two_shares_of_one_source_keep_journals_of_their_own(
    share: Callable[..., LiveShare],
) -> None:
    first = share(**HELD)
    (first.guest.parent / "second").mkdir()
    second = share(first.source, first.guest.parent / "second", **HELD)
    (first.guest / "a").touch()
    (second.guest / "b").touch()
    assert counts(first).journal != counts(second).journal
    first.unmount()
    second.unmount()
    assert sorted(os.listdir(first.source)) == ["a", "b"]
