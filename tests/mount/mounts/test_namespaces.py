"""A share that is unmounted ends, though mount namespaces elsewhere have copies of its mount."""

import contextlib
import errno
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.complaints import complaint
from support.guests import ended, eventually, hear, refused, start, without_shares
from support.live import LiveShare, is_mounted

from osxfs_sim.mount.mounts.mountpoints import MountError, mount_at
from osxfs_sim.mount.mounts.namespaces import are_left_over, copies_of, ways_in, write_out_by

# Does as it is told, in the namespace it is in, until there is nothing more to do.
_SERVANT = """
import errno, mmap, os, subprocess, sys
kept = []
print("there", flush=True)
for line in sys.stdin:
    try:
        exec(line)
        said = "done"
    except OSError as error:
        said = errno.errorcode[error.errno]
    print(said, flush=True)
"""
_DIRTY = (
    "fd = os.open({path!r}, os.O_RDWR); kept.append(mmap.mmap(fd, 0)); os.close(fd); "
    "kept[0][4_000:4_200] = b'x' * 200"
)
_WRITTEN = b"-" * 4_000 + b"x" * 200 + b"-" * 3_992


class Elsewhere:
    """A process in a mount namespace of its own, which has a copy of the share's mount."""

    def __init__(self, guest: Path) -> None:
        self.process = subprocess.Popen(
            [*without_shares(but=guest), sys.executable, "-ISc", _SERVANT],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        hear(self.process, "there")

    def does(self, code: str) -> str:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.write(f"{code}\n")
        self.process.stdin.flush()
        return self.process.stdout.readline().strip()


@contextlib.contextmanager
def elsewhere(live: LiveShare) -> Iterator[Elsewhere]:
    there = Elsewhere(live.guest)
    with ended(there.process):
        yield there


def device_of(live: LiveShare) -> str:
    entry = mount_at(str(live.guest))
    assert entry is not None
    return entry.device


def is_told_that_it_is_gone(there: Elsewhere, live: LiveShare) -> bool:
    return there.does(f"os.stat({str(live.guest / 'missing')!r})") in ("ENOTCONN", "ECONNABORTED")


def test_who_unmounts_a_share_ends_it_everywhere(share) -> None:
    live = share()
    with elsewhere(live) as there:
        assert there.does(f"os.stat({str(live.guest)!r})") == "done"
        live.unmount()
        assert live.wait_for_end() == 0
        assert is_told_that_it_is_gone(there, live)


@pytest.mark.parametrize("profile", ["none", "osxfs-delegated"])
def test_what_the_kernel_holds_of_a_copy_is_written_out_before(share, profile: str) -> None:
    live = share(profile=profile, latency_ns=0)
    (live.source / "file").write_bytes(b"-" * 8_192)
    with elsewhere(live) as there:
        assert there.does(_DIRTY.format(path=str(live.guest / "file"))) == "done"
        live.unmount()
        assert live.wait_for_end() == 0
        assert (live.source / "file").read_bytes() == _WRITTEN


def test_a_signal_ends_a_share_of_which_there_is_a_copy(share) -> None:
    live = share()
    with elsewhere(live) as there:
        os.kill(live.pid, signal.SIGTERM)
        assert live.wait_for_end() == 0
        assert not is_mounted(live.guest)
        assert is_told_that_it_is_gone(there, live)


def test_a_share_that_others_unmount_ends_though_nobody_tells_the_server(share) -> None:
    live = share()
    with elsewhere(live) as there:
        subprocess.run(["umount", live.guest], check=True)
        assert live.wait_for_end() == 0
        assert is_told_that_it_is_gone(there, live)


def test_who_uses_a_copy_is_served_until_they_leave(share) -> None:
    live = share()
    device = device_of(live)
    with elsewhere(live) as there:
        assert there.does(f"kept.append(open({str(live.guest / 'file')!r}, 'w'))") == "done"
        subprocess.run(["umount", live.guest], check=True)
        assert copies_of(device)
        assert there.does("kept[0].write('served'); kept[0].flush()") == "done"
        assert (live.source / "file").read_text() == "served"
        assert live.server.poll() is None
        assert there.does("kept.pop().close()") == "done"
        assert live.wait_for_end() == 0


def test_a_copy_is_left_over_unless_somebody_is_inside_or_wanted_it(share, field: Path) -> None:
    live = share()
    device, place = device_of(live), str(live.guest)
    other = field / "other"
    other.mkdir()
    assert not are_left_over([], place), "it ends by itself"
    with elsewhere(live) as there:
        subprocess.run(["umount", live.guest], check=True)
        # Somebody else's new namespace, of another test say, has one for a moment too.
        theirs = os.readlink(f"/proc/{there.process.pid}/ns/mnt")
        (copy,) = (each for each in copies_of(device) if each.namespace == theirs)
        assert (copy.mountpoint, copy.root) == (place, "/")
        assert are_left_over([copy], place)
        assert there.does(f"os.chdir({place!r})") == "done"
        assert not are_left_over([copy], place), "somebody is inside"
        assert there.does("os.chdir('/')") == "done"
        bind = f"subprocess.run(['mount', '--bind', {place!r}, {str(other)!r}], check=True)"
        assert there.does(bind) == "done"
        assert not are_left_over(copies_of(device), place), "somebody wanted it there"
    assert live.wait_for_end() == 0
    eventually(lambda: not copies_of(device))


def test_a_share_that_is_mounted_twice_goes_on_where_it_still_is(share, field: Path) -> None:
    live = share()
    other = field / "other"
    other.mkdir()
    subprocess.run(["mount", "--bind", live.guest, other], check=True)
    try:
        assert complaint(MountError, live.unmount) == (
            f"{live.guest} is unmounted, but the share is mounted at {other} too, and goes on "
            f"there: umount {other}"
        )
        (other / "file").touch()
        assert os.listdir(live.source) == ["file"]
    finally:
        subprocess.run(["umount", other], check=True)
    assert live.wait_for_end() == 0


def test_a_signal_writes_out_for_who_is_inside_what_was_unmounted_lazily(share) -> None:
    live = share()
    (live.source / "file").write_bytes(b"-" * 8_192)
    with ended(inside := start(_SERVANT, cwd=live.guest)):
        hear(inside, "there")
        assert inside.stdin is not None
        inside.stdin.write(_DIRTY.format(path="file") + "\n")
        inside.stdin.flush()
        hear(inside, "done")
        subprocess.run(["umount", "-l", live.guest], check=True)
        os.kill(live.pid, signal.SIGTERM)
        assert live.wait_for_end() == 0
        assert (live.source / "file").read_bytes() == _WRITTEN


def test_ways_in_are_those_of_one_mount(share) -> None:
    live, beside = share(), share()
    entry = mount_at(str(live.guest))
    assert entry is not None
    fd = os.open(live.guest, os.O_RDONLY)
    try:
        ways = list(ways_in(entry.mount_id))
        assert f"/proc/{os.getpid()}/fd/{fd}" in ways
        assert write_out_by(ways, entry.device)
        assert not write_out_by(ways, device_of(beside))
    finally:
        os.close(fd)
    eventually(lambda: not list(ways_in(entry.mount_id)))


def test_what_leads_nowhere_is_no_way(field: Path) -> None:
    assert not write_out_by([str(field / "none"), "/proc/0/cwd"], "0:0")
    with refused(errno.ENOENT):
        os.stat(field / "none")
