"""Volumes: directories of the guest's own inside a share.

What is on either side of a volume, how it ends with its share, and what the host can do
to it: take away the directory that it lies on, and nothing else.
"""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from support.command import Command
from support.complaints import complaint
from support.guests import eventually
from support.live import LiveShare, is_mounted
from support.nobody import NOBODY

import osxfs_sim
from osxfs_sim.model.status import VolumeStatus
from osxfs_sim.mount.mounts.mountpoints import mounts, unmount
from osxfs_sim.mount.mounts.volumes import check_volumes

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a volume")

PROFILES = ("none", "osxfs-cached", "osxfs-delegated", "osxfs-apfs")

Shared = Callable[..., LiveShare]


def mounted_below(directory: Path) -> list[str]:
    """All that is mounted below *directory*, of whatever kind."""
    return [e.mountpoint for e in mounts() if e.mountpoint.startswith(f"{directory}/")]


@pytest.fixture
def volume(field: Path) -> Path:
    """A directory with one file in it."""
    path = field / "volume"
    path.mkdir()
    (path / "kept").write_text("in the volume")
    return path


@pytest.fixture
def with_volume(share: Shared, volume: Path) -> Shared:
    """A share with *volume* at the path that is given."""

    def mount(path: str = "modules", profile: str = "none", **settings: object) -> LiveShare:
        if profile != "none":
            settings = {"latency_ns": 0} | settings
        return share(profile=profile, volumes=((path, str(volume)),), **settings)

    return mount


@pytest.fixture(scope="session")
def run_cli(cli: Command):
    def run_cli(*words: object) -> "subprocess.CompletedProcess[str]":
        return cli(*words)

    return run_cli


# The two sides of it


@pytest.mark.parametrize("profile", PROFILES)
def test_each_side_sees_its_own_and_the_content_survives(
    with_volume: Shared, volume: Path, profile: str
) -> None:
    live = with_volume("web/modules", profile)
    inside = live.guest / "web" / "modules"
    assert (inside / "kept").read_text() == "in the volume"
    (inside / "made").write_text("by the guest")
    live.share.flush()
    assert os.listdir(live.source / "web" / "modules") == [], "made for it, and empty"
    (live.source / "web" / "modules" / "host's").touch()
    live.reset()
    assert sorted(os.listdir(inside)) == ["kept", "made"]
    assert not live.requests().get("READ"), "what is in it is no request"
    live.unmount()
    assert sorted(os.listdir(volume)) == ["kept", "made"]
    assert not mounted_below(live.guest.parent)


def test_the_status_tells_of_it(run_cli, with_volume: Shared, volume: Path) -> None:
    live = with_volume()
    told = VolumeStatus(path="modules", directory=str(volume), mounted=True)
    assert live.status().volumes == [told]
    assert live.status().warnings == []
    assert f"modules: {volume}" in run_cli("status", live.guest).stdout.replace("\n", "")


def test_one_lies_in_another(share: Shared, field: Path) -> None:
    for name in ("outer", "inner"):
        (field / name).mkdir()
    volumes = (("a/b/c", str(field / "inner")), ("a", str(field / "outer")))
    live = share(volumes=volumes)
    (live.guest / "a" / "b" / "c" / "file").touch()
    (live.guest / "a" / "b" / "file").touch()
    assert os.listdir(live.source / "a") == []
    assert os.listdir(field / "inner") == ["file"]
    assert sorted(os.listdir(field / "outer" / "b")) == ["c", "file"]
    live.unmount()
    assert not mounted_below(live.guest.parent)


def test_exports_have_volumes_of_their_own(run_cli, field: Path) -> None:
    for name in ("first", "second", "volume"):
        (field / name).mkdir()
    (field / "guest").mkdir()
    text = (
        '[exports.a]\nsource = "first"\nprofile = "none"\nvolumes = { "deep/er" = "volume" }\n'
        '[exports.b]\nsource = "second"\nprofile = "none"\n'
    )
    (field / "share.toml").write_text(text)
    with osxfs_sim.share(field / "share.toml", field / "guest", calibrate=False) as root:
        (field / "guest" / "a" / "deep" / "er" / "file").touch()
        assert root.exports[0].status().volumes[0].mounted
    assert os.listdir(field / "volume") == ["file"]
    assert os.listdir(field / "first" / "deep" / "er") == []
    assert not mounted_below(field)
    said = run_cli("mount", field / "share.toml", field / "guest", "--volume", f"a={field}/volume")
    assert said.returncode == 1
    assert "a volume is in one share" in said.stderr
    assert not mounted_below(field)


# Its end


def test_umount_finds_it_in_use_and_leaves_all_as_it_is(run_cli, with_volume: Shared) -> None:
    live = with_volume()
    inside = os.open(live.guest / "modules", os.O_RDONLY)
    try:
        said = run_cli("umount", live.guest)
        assert said.returncode == 1
        assert "modules is in use" in said.stderr
    finally:
        os.close(inside)
    assert (live.guest / "modules" / "kept").exists()
    root = os.open(live.guest, os.O_RDONLY)
    try:
        assert "is in use" in complaint(osxfs_sim.MountError, live.unmount)
    finally:
        os.close(root)
    assert (live.guest / "modules" / "kept").exists(), "mounted again, as the share goes on"
    assert run_cli("umount", live.guest).returncode == 0
    assert not mounted_below(live.guest.parent)


def test_the_systems_own_umount_finds_the_share_busy(with_volume: Shared) -> None:
    live = with_volume()
    said = subprocess.run(["umount", live.guest], capture_output=True, text=True, check=False)
    assert "busy" in said.stderr
    subprocess.run(["umount", "--recursive", live.guest], check=True)
    assert live.wait_for_end() == 0
    assert not mounted_below(live.guest.parent)


def test_a_signal_takes_both_away(with_volume: Shared, volume: Path) -> None:
    live = with_volume()
    (live.guest / "modules" / "late").touch()
    live.server.terminate()
    assert live.wait_for_end() == 0
    assert not mounted_below(live.guest.parent)
    assert (volume / "late").exists()


@pytest.mark.parametrize("remedy", ["umount", "mount"])
def test_a_killed_servers_volumes_are_taken_away_with_its_share(
    run_cli, with_volume: Shared, volume: Path, remedy: str
) -> None:
    live = with_volume()
    live.kill()
    assert not mounted_below(live.guest.parent), "they go along with the share"
    if remedy == "umount":
        assert run_cli("umount", live.guest).returncode == 0
    else:
        again = LiveShare.mount(live.source, live.guest)
        assert not (live.guest / "modules" / "kept").exists()
        assert again.finish() == []
    assert not mounted_below(live.guest.parent)
    assert (volume / "kept").exists()


def test_what_others_have_mounted_is_not_unmounted(with_volume: Shared) -> None:
    live = with_volume()
    place = str(live.guest / "modules")
    unmount(place)
    assert live.status().volumes[0].mounted is False
    assert "is gone" in live.status().warnings[0]
    subprocess.run(["mount", "-t", "tmpfs", "other", place], check=True)
    try:
        assert "in use" in complaint(osxfs_sim.MountError, live.unmount)
        assert mounted_below(live.guest) == [place]
    finally:
        unmount(place)


def test_another_mount_with_the_number_of_one_that_is_gone_is_not_taken_for_it(
    with_volume: Shared, volume: Path, field: Path
) -> None:
    """The kernel gives the least number that is free, and the device is that of both."""
    live = with_volume()
    place = str(live.guest / "modules")

    def number(path: str) -> int:
        return next(each.mount_id for each in mounts() if each.mountpoint == path)

    wanted = number(place)
    unmount(place)
    others = []
    try:
        for each in range(20):
            other = field / f"other-{each}"
            other.mkdir()
            subprocess.run(["mount", "--bind", volume, other], check=True)
            others.append(str(other))
            if number(str(other)) == wanted:
                break
        assert live.status().volumes[0].mounted is False
        assert "is gone" in live.status().warnings[0]
    finally:
        for other in others:
            unmount(other)


# What can go wrong before


def test_one_that_cannot_be_mounted_leaves_nothing_mounted(
    share: Shared, volume: Path, field: Path
) -> None:
    source, guest = field / "source", field / "guest"
    for path in (source, guest):
        path.mkdir()
    (source / "file").touch()
    (source / "link").symlink_to(field)
    for path, why in (
        ("file", "no directory"),
        ("file/a", "no directory"),
        ("link/a", "not followed"),
    ):
        volumes = (("first", str(volume)), (path, str(volume)))
        said = complaint(osxfs_sim.MountError, lambda v=volumes: share(source, guest, volumes=v))
        assert f"the volume {path} cannot be mounted" in said
        assert why in said
        assert not mounted_below(field)
    assert not (field / "a").exists(), "nothing was made behind the link"


def test_a_volume_is_the_guests_own(volume: Path, field: Path, share: Shared) -> None:
    source, guest = str(field / "source"), str(field / "guest")

    def refused(directory: object) -> str:
        volumes = (("a", str(directory)),)
        return complaint(osxfs_sim.MountError, lambda: check_volumes(volumes, source, guest))

    for path in ("source/inside", "guest/inside", "file"):
        (field / path).parent.mkdir(exist_ok=True)
        (field / path).touch() if path == "file" else (field / path).mkdir()
    assert "mkdir -p" in refused(field / "nowhere")
    assert "no directory" in refused(field / "file")
    assert "write --volume a=DIRECTORY" in refused("")
    for inside in ("source", "source/inside", "guest/inside", ".", "/"):
        assert "are not apart" in refused(field / inside)
    other = share()
    (other.source / "inside").mkdir()
    assert "lies in a share" in refused(other.guest / "inside")
    assert check_volumes((("a", str(volume)),), source, guest) == (("a", str(volume)),)


def test_it_takes_root_and_a_server_that_stays_root(run_cli, volume: Path, field: Path) -> None:
    for name in ("source", "guest"):
        (field / name).mkdir()
    words = ("mount", field / "source", field / "guest", "--volume", f"a={volume}")
    said = run_cli(*words, "--user", "nobody")
    assert said.returncode == 1
    assert "leave out one of the two" in said.stderr
    assert not is_mounted(field / "guest")
    code = (
        "import os; from osxfs_sim.mount.mounts.volumes import check_volumes\n"
        f"os.setuid({NOBODY})\n"
        "try: check_volumes((('a', '/'),), '/a', '/b')\n"
        "except Exception as error: print(error)"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "mount as root" in said.stdout


# What the host does meanwhile


@pytest.mark.parametrize(
    ("profile", "watcher"), [("osxfs-cached", "inotify"), ("osxfs-complete", "fanotify")]
)
def test_changes_on_the_way_do_not_take_it_away(
    with_volume: Shared, profile: str, watcher: str
) -> None:
    live = with_volume("web/modules", profile, host_events=watcher)
    web = live.source / "web"
    for number in range(3):
        web.chmod(0o700 + number)
        (web / "modules").chmod(0o711 + number)
        (web / f"file-{number}").touch()
        (web / "modules" / f"file-{number}").touch()
        os.utime(web / "modules")
        live.settle()
    assert os.stat(live.guest / "web").st_mode & 0o777 == 0o702, "the change arrived"
    assert (live.guest / "web" / "file-2").exists()
    live.share.drop_events(count=2)
    (web / "lost").touch()
    web.chmod(0o755)
    live.settle()
    assert live.status().events.rescans, "and so is what follows after a loss"
    assert (live.guest / "web" / "lost").exists()
    assert (live.guest / "web" / "modules" / "kept").exists()
    assert live.status().volumes[0].mounted


def test_names_that_were_missing_are_found_after_a_loss(with_volume: Shared) -> None:
    live = with_volume("web/modules", "osxfs-negative")
    for missing in ("late", "web/late"):
        assert not (live.guest / missing).exists()
    live.reset()
    assert not (live.guest / "web" / "late").exists()
    assert live.requests()["LOOKUP"] == 1, "what a loss could not invalidate at once is not cached"
    live.share.drop_events(rate=1.0)
    for missing in ("late", "web/late"):
        (live.source / missing).touch()
    live.settle()
    for missing in ("late", "web/late"):
        assert (live.guest / missing).exists()
    assert (live.guest / "web" / "modules" / "kept").exists()


@pytest.mark.parametrize(
    ("profile", "how"),
    [
        ("none", "replace"),
        *(("osxfs-cached", how) for how in ("delete", "rename", "replace", "rename above")),
    ],
)
def test_the_host_takes_it_away_with_its_directory(
    with_volume: Shared, volume: Path, profile: str, how: str
) -> None:
    live = with_volume("web/modules", profile)
    place = live.source / "web" / "modules"
    if how == "rename above":
        place.parent.rename(live.source / "moved")
    elif how == "rename":
        place.rename(live.source / "web" / "moved")
    else:
        place.rmdir()
        if how == "replace":
            place.mkdir()
            (place / "host's").touch()
    inside = live.guest / "web" / "modules"
    eventually(lambda: not (inside / "kept").exists())
    assert inside.exists() == (how == "replace")
    if how == "replace":
        assert os.listdir(inside) == ["host's"]
    eventually(lambda: not live.status().volumes[0].mounted)
    assert "is gone" in live.status().warnings[0]
    assert (volume / "kept").read_text() == "in the volume"
    live.unmount()
    assert not mounted_below(live.guest.parent)


def test_it_goes_along_when_the_guest_renames_a_directory_above(with_volume: Shared) -> None:
    live = with_volume("web/modules", "osxfs-cached")
    (live.guest / "web").rename(live.guest / "moved")
    assert (live.guest / "moved" / "modules" / "kept").exists()
    live.unmount()
    assert not mounted_below(live.guest.parent)
