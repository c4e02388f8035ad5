"""Shares without requests: the host's directory itself, and a copy of it in the guest.

They begin, are asked and end as any other share, though to the kernel they are mounts
like any other: so what is ours must be told from what is not.
"""

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.command import Command
from support.complaints import complaint
from support.guests import eventually
from support.live import LiveShare, is_mounted

import osxfs_sim
from osxfs_sim.mount.launch import launch
from osxfs_sim.mount.mounts.copying import make_copy
from osxfs_sim.mount.mounts.mountpoints import (
    local_record_path,
    local_records,
    mount_at,
    mounts,
    unmount,
)
from osxfs_sim.mount.server import local as local_module

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can bind-mount")

Shared = Callable[..., LiveShare]


@pytest.fixture(scope="session")
def run_cli(cli: Command):
    def run_cli(*words: object) -> "subprocess.CompletedProcess[str]":
        return cli(*words)

    return run_cli


@pytest.fixture
def sides(field: Path) -> tuple[Path, Path]:
    """A source with something of everything in it, and a mount point."""
    source, guest = field / "source", field / "guest"
    guest.mkdir()
    (source / "directory").mkdir(parents=True)
    (source / "file").write_text("the host's")
    (source / "file").chmod(0o640)
    os.utime(source / "file", ns=(1_000_000_000, 2_000_000_000))
    os.chown(source / "file", 1234, 5678)
    os.link(source / "file", source / "directory" / "same")
    (source / "link").symlink_to("/etc/passwd")
    (source / "outside").symlink_to(field)
    os.setxattr(source / "file", "user.note", b"kept")
    os.mkfifo(source / "pipe")
    source.chmod(0o710)
    return source, guest


@pytest.fixture
def local(sides: tuple[Path, Path], field: Path, share: Shared) -> Shared:
    """A function that mounts the source with a profile that makes no requests."""

    def mount(profile: str = "native", **settings: object) -> LiveShare:
        state = str(field / "state")
        return share(*sides, profile=profile, state_directory=state, **settings)

    return mount


# What each is


def test_natively_both_sides_are_one(local: Shared) -> None:
    live = local()
    (live.guest / "guest's").touch()
    (live.source / "host's").touch()
    assert sorted(os.listdir(live.guest)) == sorted(os.listdir(live.source))
    assert os.stat(live.guest / "file").st_ino == os.stat(live.source / "file").st_ino
    assert os.stat(live.guest / "file").st_uid == 1234
    live.unmount()
    assert os.listdir(live.guest) == []
    assert (live.source / "guest's").exists()


def test_a_copy_is_made_once_with_all_that_the_source_is_and_kept(
    local: Shared, sides: tuple[Path, Path], field: Path
) -> None:
    source, guest = sides
    live = local("volume")
    status, copied = os.stat(source / "file"), os.stat(guest / "file")
    for key in ("st_mode", "st_uid", "st_gid", "st_size", "st_mtime_ns", "st_nlink"):
        assert getattr(copied, key) == getattr(status, key), key
    assert os.stat(guest / "directory" / "same").st_ino == copied.st_ino
    assert os.getxattr(guest / "file", "user.note") == b"kept"
    assert os.readlink(guest / "link") == "/etc/passwd"
    assert (guest / "outside").is_symlink()
    assert (guest / "pipe").is_fifo()
    assert os.stat(guest).st_mode == os.stat(source).st_mode
    (guest / "guest's").touch()
    (source / "host's").touch()
    assert not (source / "guest's").exists()
    assert not (guest / "host's").exists()
    copy = Path(live.status().copy)
    assert copy.is_relative_to(field / "state")
    live.unmount()
    again = local("volume")
    assert (guest / "guest's").exists()
    assert not (guest / "host's").exists()
    again.unmount()
    assert (copy / "guest's").exists()


def test_a_copy_can_lie_where_one_says(local: Shared, sides: tuple[Path, Path]) -> None:
    source, guest = sides
    for place in ("elsewhere", "deep/er/copy"):
        live = local("volume", copy=str(source.parent / place))
        (guest / "guest's").touch()
        live.unmount()
        assert (source.parent / place / "guest's").exists()


def test_both_have_volumes(local: Shared, field: Path) -> None:
    (field / "volume").mkdir()
    for profile in ("volume", "native"):
        live = local(profile, volumes=(("a/b", str(field / "volume")),))
        (live.guest / "a" / "b" / profile).touch()
        assert live.status().volumes[0].mounted
        assert live.status().warnings == []
        live.unmount()
        assert (live.source / "a" / "b").exists() == (profile == "native")
    assert sorted(os.listdir(field / "volume")) == ["native", "volume"]


# Synchronized


def test_a_synchronized_copy_and_the_host_get_each_others_changes(
    local: Shared, field: Path
) -> None:
    live = local("docker-vz-sync", copy=str(field / "copy"))
    assert (live.guest / "file").read_text() == "the host's", "all is there before it is ready"
    (live.guest / "guest's").write_text("made by the guest")
    live.share.flush()
    assert (live.source / "guest's").read_text() == "made by the guest"
    (live.source / "host's").touch()
    eventually((live.guest / "host's").exists)
    assert live.status().synchronization.phase == "watching"
    (live.guest / "last").touch()
    live.unmount()
    assert (live.source / "last").exists(), "what was done last is on the host when it has ended"
    assert live.wait_for_end() == 0
    (live.source / "meanwhile").touch()
    again = local("docker-vz-sync", copy=str(field / "copy"))
    assert {"last", "meanwhile"} <= set(os.listdir(again.guest))


def test_a_contradiction_is_warned_of_and_the_share_ends_well(local: Shared, field: Path) -> None:
    live = local("docker-vz-sync", copy=str(field / "copy"))
    live.unmount()
    (live.source / "file").write_text("as the host has it")
    (field / "copy" / "file").write_text("as the guest has it")
    again = local("docker-vz-sync", copy=str(field / "copy"))
    assert (again.guest / "file").read_text() == "as the guest has it"
    assert "1 conflicts" in again.status().warnings[0]
    again.unmount()
    assert (again.source / "file").read_text() == "as the host has it"


def test_what_a_halt_keeps_from_the_host_is_said_when_the_share_ends(
    run_cli, local: Shared, field: Path
) -> None:
    live = local("docker-vz-sync", copy=str(field / "copy"))
    live.expected_end, live.expected_trouble = 1, True
    for number in range(12):
        (live.guest / f"file-{number}").touch()
    live.share.flush()
    for path in live.source.iterdir():
        shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
    eventually(lambda: live.status().synchronization.halted is not None)
    (live.guest / "late").write_text("the guest's alone")
    result = run_cli("umount", live.guest)
    assert result.returncode == 1
    (line,) = result.stderr.splitlines()
    assert line.startswith(f"osxfs-sim: {live.guest} is unmounted, but the synchronization had ha")
    assert str(field / "copy") in line
    assert not is_mounted(live.guest)
    assert (field / "copy" / "late").read_text() == "the guest's alone"
    # The halt stands until somebody has looked; nothing is lost by it.
    assert live.wait_for_end() == 1
    again = local("docker-vz-sync", copy=str(field / "copy"))
    assert (again.guest / "late").exists()
    assert run_cli("sync", "resume", again.guest).returncode == 0


def test_a_signal_lets_the_host_have_the_last_changes(local: Shared) -> None:
    live = local("docker-vz-sync")
    (live.guest / "last").touch()
    live.server.terminate()
    assert live.wait_for_end() == 0
    assert (live.source / "last").exists()


# They are asked as any other


def test_the_questions_of_a_share_are_answered(run_cli, local: Shared) -> None:
    live = local()
    status = live.status()
    assert (status.profile, status.transport) == ("native", "host")
    assert (status.requests, status.receipt, status.write_back) == ({}, {}, None)
    assert live.share.flush().source == str(live.source)
    assert live.share.reset().counting_s > 0
    for question in (
        lambda: live.share.start_trace("/tmp/never"),
        live.share.stop_trace,
        lambda: live.share.drop_events(count=1),
    ):
        assert "makes no requests" in complaint(osxfs_sim.MountError, question)
    assert "in the host's directory itself" in run_cli("status", live.guest).stdout
    assert f"{live.guest}  {live.source}  native" in run_cli("status").stdout
    top = run_cli("top", live.guest, "--count", 1, "--interval", "100ms")
    assert "nothing was asked" in top.stdout


def test_the_status_has_the_keys_of_any_share(local: Shared, share: Shared) -> None:
    assert local().status().as_dict().keys() == share().status().as_dict().keys()


# Their end


def test_what_is_in_use_stays(run_cli, local: Shared) -> None:
    live = local()
    inside = os.open(live.guest / "directory", os.O_RDONLY)
    try:
        said = run_cli("umount", live.guest)
        assert said.returncode == 1
        assert "is in use" in said.stderr
        assert (live.guest / "file").exists()
    finally:
        os.close(inside)
    assert run_cli("umount", live.guest).returncode == 0
    assert live.wait_for_end() == 0


def test_the_systems_own_umount_ends_it(local: Shared) -> None:
    live = local()
    assert local_record_path(str(live.guest)).exists()
    subprocess.run(["umount", live.guest], check=True)
    assert live.wait_for_end() == 0
    assert not local_record_path(str(live.guest)).exists()


@pytest.mark.parametrize("in_use", [False, True])
def test_a_signal_ends_it(local: Shared, in_use: bool, field: Path) -> None:
    (field / "volume").mkdir()
    live = local(volumes=(("directory", str(field / "volume")),))
    inside = os.open(live.guest / "directory" if in_use else field, os.O_RDONLY)
    try:
        live.server.terminate()
        assert live.wait_for_end() == 0
        assert not [e for e in mounts() if e.mountpoint.startswith(str(live.guest))]
    finally:
        os.close(inside)


def test_what_a_killed_server_has_left_is_found_and_unmounted(
    run_cli, local: Shared, field: Path
) -> None:
    (field / "volume").mkdir()
    live = local(volumes=(("directory", str(field / "volume")),))
    live.kill()
    assert (live.guest / "file").exists(), "it is the host's directory"
    assert "the server of" in run_cli("status", live.guest).stderr
    assert str(live.guest) in json.loads(run_cli("status", "--json").stdout)
    again = run_cli("mount", live.source, live.guest, "--profile", "native")
    assert again.returncode == 1
    assert "already mounted" in again.stderr
    assert run_cli("umount", live.guest).returncode == 0
    assert not is_mounted(live.guest)
    assert not [e for e in mounts() if e.mountpoint.startswith(f"{live.guest}/")]
    assert not local_record_path(str(live.guest)).exists()


def test_a_share_is_not_forgotten_by_who_cannot_see_its_mount(local: Shared, monkeypatch) -> None:
    """From another mount namespace; then nothing could unmount it in order any more."""
    live = local()
    # Not of what other tests have mounted and killed meanwhile.
    own = [each for each in local_records() if each["mountpoint"] == str(live.guest)]
    assert own
    monkeypatch.setattr(local_module, "local_records", lambda: own)
    monkeypatch.setattr(local_module, "mounts", list)
    local_module._forget_what_is_gone()
    assert any(record["mountpoint"] == str(live.guest) for record in local_records())


def test_a_mount_of_somebody_elses_is_not_ours(run_cli, local: Shared, field: Path) -> None:
    live = local()
    record = local_record_path(str(live.guest))
    as_it_was = record.read_text()
    live.kill()
    unmount(str(live.guest))
    (field / "other").mkdir()
    subprocess.run(["mount", "--bind", field / "other", live.guest], check=True)
    try:
        # It stays until the next server starts, as one of another test may at any moment.
        record.write_text(as_it_was)
        entry = mount_at(str(live.guest))
        assert entry is not None
        assert not entry.is_ours
        said = run_cli("umount", live.guest)
        assert said.returncode == 1
        assert "not a share: use umount" in said.stderr
    finally:
        unmount(str(live.guest))
    local().unmount()
    assert not any(record["mountpoint"] == str(live.guest) for record in local_records())


def test_the_record_of_a_share_is_nobody_else_s_to_take_away(
    local: Shared, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another share that begins may have looked at the mounts too early, or sees others."""
    live = local()
    path = local_record_path(str(live.guest))
    own = json.loads(path.read_text())
    dead = own | {"started": "0"}
    seen: list[dict[str, Any]] = []
    monkeypatch.setattr(local_module, "mounts", list)
    monkeypatch.setattr(local_module, "local_records", lambda: seen)
    for record in (own, dead | {"namespace": "mnt:[1]"}):
        seen[:] = [record]
        local_module._forget_what_is_gone()
        assert path.exists(), record
    seen[:] = [dead]
    local_module._forget_what_is_gone()
    assert not path.exists()
    path.write_text(json.dumps(own))
    live.unmount()


# What can go wrong before


@pytest.mark.parametrize(
    ("profile", "options", "said"),
    [
        ("native", {"latency_ns": 1}, "latency has no effect with the profile native"),
        ("volume", {"names": "apfs"}, "names has no effect with the profile volume"),
        ("native", {"user": "nobody"}, "user has no effect"),
        ("native", {"dilate": 2.0}, "dilate has no effect"),
        ("native", {"host_services": (("a", "/b"),)}, "host_services has no effect"),
        ("native", {"copy": "x"}, "copy has no effect with the profile native"),
        ("osxfs", {"copy": "x"}, "copy has no effect with the profile osxfs"),
        ("native", {"trace": "x"}, "trace has no effect"),
    ],
)
def test_what_has_no_effect_is_refused(
    profile: str, options: dict[str, Any], said: str, sides: tuple[Path, Path]
) -> None:
    settings = osxfs_sim.ShareSettings(*map(str, sides), profile=profile, **options)
    assert said in complaint(osxfs_sim.ProfileError, launch, settings)
    assert not is_mounted(sides[1])


def test_a_copy_is_apart_from_all_else(local: Shared, sides: tuple[Path, Path]) -> None:
    (field := sides[0].parent).joinpath("copy").mkdir()
    for place in (sides[0] / "in", field, sides[1] / "in"):
        assert "are not apart" in complaint(
            osxfs_sim.MountError, lambda at=place: local("volume", copy=str(at))
        )
    copy = str(field / "copy")
    assert "are not apart" in complaint(
        osxfs_sim.MountError, lambda: local("volume", copy=copy, volumes=(("a", copy),))
    )
    assert not is_mounted(sides[1])


def test_a_copy_that_cannot_be_made_leaves_nothing(
    local: Shared, sides: tuple[Path, Path], field: Path
) -> None:
    source, guest = sides
    (field / "file-in-the-way").touch()
    said = complaint(
        osxfs_sim.MountError, lambda: local("volume", copy=str(field / "file-in-the-way" / "copy"))
    )
    assert "no copy can be made" in said
    assert not is_mounted(guest)
    with pytest.raises(osxfs_sim.MountError, match="interrupted"):
        make_copy(str(source), field / "wanted" / "copy", lambda: True)
    assert os.listdir(field / "wanted") == []
    with pytest.raises(osxfs_sim.MountError, match="cannot be copied"):
        make_copy(str(field / "nowhere"), field / "wanted" / "copy", lambda: False)
    assert os.listdir(field / "wanted") == []


@pytest.mark.parametrize("profile", ["native", "volume"])
def test_a_volume_that_cannot_be_mounted_leaves_nothing(
    local: Shared, sides: tuple[Path, Path], profile: str
) -> None:
    (volume := sides[0].parent / "volume").mkdir()
    volumes = (("directory", str(volume)), ("outside/a", str(volume)))
    said = complaint(osxfs_sim.MountError, lambda: local(profile, volumes=volumes))
    assert "the volume outside/a cannot be mounted" in said
    assert not [e for e in mounts() if e.mountpoint.startswith(str(sides[1]))]
    assert not local_record_path(str(sides[1])).exists()
    assert not (sides[0].parent / "a").exists(), "nothing was made behind the link"


@pytest.mark.mounts
def test_exports_can_be_of_any_kind(field: Path, sides: tuple[Path, Path]) -> None:
    text = "".join(
        f'[exports.{name}]\nsource = "source"\nprofile = "{profile}"\n{more}\n'
        for name, profile, more in (
            ("a", "native", ""),
            ("b", "volume", 'copy = "copy"'),
            ("c", "none", ""),
        )
    )
    (field / "share.toml").write_text(text)
    with osxfs_sim.share(field / "share.toml", sides[1], calibrate=False) as root:
        assert [export.status().transport for export in root.exports] == [
            "host",
            "copy",
            "requests",
        ]
        (sides[1] / "a" / "natively").touch()
        eventually((sides[1] / "c" / "natively").exists)
        assert not (sides[1] / "b" / "natively").exists()
    assert not [e for e in mounts() if e.mountpoint.startswith(f"{field}/")]
    assert (field / "copy" / "file").exists()


# One copy, one source


def refused(share: Shared, source: Path, field: Path, **settings: object) -> str:
    mountpoint = field / "other-mount"
    mountpoint.mkdir(exist_ok=True)
    said = complaint(osxfs_sim.MountError, lambda: share(source, mountpoint, **settings))
    assert not is_mounted(mountpoint)
    return said


@pytest.mark.parametrize("state", ["state", "another-state"])
@pytest.mark.parametrize("profile", ["docker-vz-sync", "volume"])
def test_two_sources_never_have_one_copy_at_a_time(
    local: Shared, share: Shared, field: Path, profile: str, state: str
) -> None:
    live = local(profile, copy=str(field / "copy"))
    other = field / "other"
    other.mkdir()
    (other / "secret").touch()
    for copy in (field / "copy", field / "copy" / "directory", field / "link"):
        if copy.name == "link":
            copy.symlink_to(field / "copy")
        said = refused(
            share,
            other,
            field,
            profile="docker-vz-sync",
            copy=str(copy),
            state_directory=str(field / state),
        )
        assert "copy" in said
        assert "let --copy name another" in said or "choose another copy" in said
    assert not (live.source / "secret").exists()
    assert os.listdir(other) == ["secret"]


def test_nor_one_after_the_other_unless_one_says_so(
    local: Shared, share: Shared, field: Path
) -> None:
    """What the first has left in it would travel to the second."""
    local("docker-vz-sync", copy=str(field / "copy")).unmount()
    other = field / "other"
    other.mkdir()
    settings: dict[str, object] = {
        "profile": "docker-vz-sync",
        "copy": str(field / "copy"),
        "state_directory": str(field / "state"),
    }
    said = refused(share, other, field, **settings)
    assert f"has what was copied from {field / 'source'}" in said
    assert os.listdir(other) == []
    record = Path(said.partition("or remove ")[2].partition(" if")[0])
    record.unlink()
    share(other, field / "other-mount", **settings).unmount()
    assert (other / "file").exists()


def test_one_directory_is_not_a_source_and_a_copy(
    local: Shared, share: Shared, field: Path
) -> None:
    live = local("docker-vz-sync", copy=str(field / "copy"))
    settings: dict[str, object] = {
        "profile": "docker-vz-sync",
        "state_directory": str(field / "another-state"),
    }
    said = refused(share, field / "copy", field, copy=str(field / "copy-of-copy"), **settings)
    assert "the copy of another share" in said
    other = field / "other"
    other.mkdir()
    said = refused(share, other, field, copy=str(live.source / "directory"), **settings)
    assert "has as its source" in said


def test_a_share_that_was_killed_stops_no_other(
    local: Shared, sides: tuple[Path, Path], field: Path
) -> None:
    live = local("docker-vz-sync", copy=str(field / "copy"))
    live.expected_end = -9
    live.server.kill()
    live.server.wait()
    unmount(str(sides[1]))
    again = local("docker-vz-sync", copy=str(field / "copy"))
    assert (sides[1] / "file").read_text() == "the host's"
    again.unmount()


def test_a_copy_may_be_entered_by_those_who_may_enter_the_source(
    local: Shared, sides: tuple[Path, Path], field: Path
) -> None:
    source, guest = sides
    source.chmod(0o700)
    os.chown(source, 1234, 5678)
    (source / "private").touch(0o600)
    live = local("docker-vz-sync", copy=str(field / "copy"))
    status = guest.stat()
    assert (status.st_mode & 0o777, status.st_uid, status.st_gid) == (0o700, 1234, 5678)
    assert (guest / "private").stat().st_mode & 0o777 == 0o600
    (guest / "token").touch(0o600)
    live.unmount()
    assert (source / "token").stat().st_mode & 0o777 == 0o600
