"""Several exports below one mount point: each a share of its own, and nothing beside them."""

import contextlib
import errno
import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.command import Command
from support.guests import eventually, refused
from support.live import is_mounted, shares_below

import osxfs_sim
from osxfs_sim.mount.mounts.mountpoints import (
    control_path,
    make_runtime_directory,
    mount_at,
    runtime_directory,
    unmount,
)

SHARE_FILE = """
[exports.cached]
source = "first"
profile = "osxfs-cached"
latency = "0us"

[exports.host]
source = "second"
profile = "host"

[exports.none]
source = "first/inner"
profile = "none"
"""


@pytest.fixture
def site(field: Path, need_fuse: None) -> Iterator[Path]:
    """A directory with two trees, a share file and a mount point; nothing stays mounted."""
    del need_fuse
    for name in ("first/inner", "second", "mnt", "outside"):
        (field / name).mkdir(parents=True)
    (field / "outside" / "secret").write_text("secret")
    (field / "first" / "file").write_text("first")
    (field / "second" / "file").write_text("second")
    (field / "share.toml").write_text(SHARE_FILE)
    yield field
    for mountpoint in reversed(shares_below(field)):
        unmount(mountpoint, lazily=True)
    eventually(lambda: not skeleton(field).exists())


def skeleton(site: Path) -> Path:
    """The directory behind the mount point, as long as it is mounted."""
    socket = control_path(runtime_directory(os.geteuid()), str(site / "mnt"))
    return socket.with_suffix(".exports")


def exported(site: Path) -> contextlib.AbstractContextManager[osxfs_sim.Share]:
    return osxfs_sim.share(site / "share.toml", site / "mnt", calibrate=False)


@pytest.fixture(scope="session")
def osxfs_sim_command(cli: Command):
    def osxfs_sim_command(*arguments: object) -> "subprocess.CompletedProcess[str]":
        return cli(*arguments)

    return osxfs_sim_command


def test_exports_lie_side_by_side_and_each_is_its_own_share(site: Path) -> None:
    guest = site / "mnt"
    with exported(site) as share:
        assert sorted(os.listdir(guest)) == ["cached", "host", "none"]
        assert (guest / "cached" / "file").read_text() == "first"
        (guest / "host" / "new").write_text("new")
        assert (site / "second" / "new").read_text() == "new"
        status = {
            name: each.status()
            for name, each in zip(("cached", "host", "none"), share.exports, strict=True)
        }
        assert [each.profile for each in status.values()] == ["osxfs-cached", "host", "none"]
        assert status["host"].as_dict()["ownership"] == {"policy": "host"}
        assert status["cached"].ownership.policy == "osxfs"
        assert share.status().exports == ["cached", "host", "none"]
    assert not shares_below(site)
    assert not skeleton(site).exists()


def test_each_export_has_its_own_consistency(site: Path) -> None:
    guest = site / "mnt"
    # An event would invalidate what is cached, and may come at once.
    silent = SHARE_FILE.replace('latency = "0us"', 'latency = "0us"\nhost_events = "none"')
    (site / "share.toml").write_text(silent)
    with exported(site):
        assert os.stat(guest / "cached" / "file").st_size == 5
        assert os.stat(guest / "host" / "file").st_size == 6
        for tree in ("first", "second"):
            (site / tree / "file").write_text("longer than before")
        assert os.stat(guest / "cached" / "file").st_size == 5, "cached for an hour"
        assert os.stat(guest / "host" / "file").st_size == 18, "asked for every time"


def test_each_export_has_its_own_ownership(site: Path) -> None:
    guest = site / "mnt"
    for tree in ("first", "second"):
        os.chown(site / tree / "file", 65533, 65532)
    stat = ["stat", "-c", "%u:%g", guest / "cached" / "file", guest / "host" / "file"]
    with exported(site):
        told = subprocess.run(stat, capture_output=True, text=True, check=True, user=65534)
    assert told.stdout.split() == ["65534:0", "65533:65532"]


@pytest.mark.parametrize(
    "change",
    [
        lambda root: os.mkdir(root / "new"),
        lambda root: (root / "new").write_text("new"),
        lambda root: os.symlink("/", root / "new"),
        lambda root: os.mkfifo(root / "new"),
        lambda root: os.rename(root / "host", root / "guest"),
        lambda root: os.chmod(root, 0o777),
        lambda root: os.chown(root, 1, 1),
        lambda root: os.utime(root),
    ],
    ids=["mkdir", "create", "symlink", "mkfifo", "rename", "chmod", "chown", "utime"],
)
def test_beside_the_exports_nothing_can_be_made_or_changed(site: Path, change) -> None:
    with exported(site):
        before = os.stat(site / "mnt")
        with pytest.raises(OSError, match=r"Read-only|busy") as caught:
            change(site / "mnt")
        # The kernel itself refuses to move what something is mounted on.
        assert caught.value.errno in (errno.EROFS, errno.EBUSY)
        assert os.stat(site / "mnt") == before
        assert sorted(os.listdir(site / "mnt")) == ["cached", "host", "none"]


def test_a_path_outside_the_exports_does_not_exist(site: Path) -> None:
    with exported(site):
        for path in ("outside", "outside/secret", "first", "share.toml", str(site)[1:]):
            with refused(errno.ENOENT):
                os.stat(site / "mnt" / path)


def test_nothing_is_renamed_or_linked_from_one_export_to_another(site: Path) -> None:
    guest = site / "mnt"
    with exported(site):
        with refused(errno.EXDEV):
            os.rename(guest / "cached" / "file", guest / "host" / "moved")
        with refused(errno.EXDEV):
            os.link(guest / "cached" / "file", guest / "host" / "linked")
        assert (site / "first" / "file").read_text() == "first"
        assert sorted(os.listdir(site / "second")) == ["file"]


def test_exports_may_overlap(site: Path) -> None:
    guest = site / "mnt"
    with exported(site):
        (guest / "none" / "both").write_text("seen twice")
        assert (guest / "cached" / "inner" / "both").read_text() == "seen twice"


def test_to_walk_into_an_export_costs_the_exports_root_no_request(site: Path) -> None:
    with exported(site) as share:
        os.stat(site / "mnt" / "none")
        share.reset()
        for _ in range(20):
            assert not (site / "mnt" / "none" / "missing").exists()
        assert share.status().requests == {}
        assert share.exports[2].status().missing_lookups == 20


def test_an_export_that_cannot_be_mounted_leaves_nothing_mounted(site: Path) -> None:
    os.rmdir(site / "first" / "inner")
    with (
        pytest.raises(osxfs_sim.MountError, match=r"export none: the source .*inner does not"),
        exported(site),
    ):
        pytest.fail("mounted")
    assert not shares_below(site)
    assert not skeleton(site).exists()


def test_an_export_that_holds_the_mount_point_is_refused(site: Path) -> None:
    (site / "share.toml").write_text('[exports.all]\nsource = "."\nprofile = "none"\n')
    with pytest.raises(osxfs_sim.MountError, match="lies inside the source"), exported(site):
        pytest.fail("mounted")
    assert not shares_below(site)


def test_the_commands_treat_them_as_one(osxfs_sim_command, site: Path) -> None:
    mounted = osxfs_sim_command("mount", site / "share.toml", site / "mnt", "--latency", "0us")
    assert (mounted.returncode, mounted.stdout) == (0, "")
    listed = osxfs_sim_command("status", site / "mnt")
    for name in ("cached", "host", "none"):
        assert f"{site}/mnt/{name} shares" in listed.stdout
    as_json = osxfs_sim_command("status", "--json", site / "mnt")
    assert '"cached": {' in as_json.stdout
    with open(site / "mnt" / "none" / "held", "w"):
        busy = osxfs_sim_command("umount", site / "mnt")
        assert busy.returncode == 1
        assert "is in use" in busy.stderr
        assert len(busy.stderr.splitlines()) == 1
    unmounted = osxfs_sim_command("umount", site / "mnt")
    assert (unmounted.returncode, unmounted.stderr) == (0, "")
    assert not shares_below(site)


def test_in_the_foreground_a_signal_unmounts_all(cli: Command, site: Path) -> None:
    words = ("mount", "-f", site / "share.toml", site / "mnt", "--latency", "0us")
    with cli.start(*words, stdout=None, stderr=None) as process:
        eventually(lambda: is_mounted(site / "mnt" / "none"))
        eventually(lambda: (site / "mnt" / "none").is_dir())
        process.send_signal(signal.SIGTERM)
        # Ended by the signal, if it came before the last server's word that it is ready was heard.
        assert process.wait(180) in (0, 128 + signal.SIGTERM)
    assert not shares_below(site)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_the_end_of_the_exports_root_is_the_end_of_all(site: Path, number: signal.Signals) -> None:
    with contextlib.suppress(osxfs_sim.MountError), exported(site) as share:
        servers = [each._server for each in share.exports]
        (site / "mnt" / "host" / "file").write_text("written before")
        os.kill(share.first_status.pid, number)
        if number == signal.SIGKILL:
            share._server.wait(180)
            share.unmount()
        for server in servers:
            assert server.wait(180) == 0
    assert not shares_below(site)
    assert (site / "second" / "file").read_text() == "written before"
    # What a killed exports root leaves in the runtime directory goes with the next mount there.
    with exported(site):
        pass
    assert not skeleton(site).exists()


def test_nothing_in_the_runtime_directory_of_a_user_leads_root_elsewhere(site: Path) -> None:
    """Whoever the server becomes may put anything in the place of what root makes there."""
    runtime = make_runtime_directory(65534)
    socket = control_path(runtime, str(site / "mnt"))
    (site / "precious" / "empty").mkdir(parents=True)
    (site / "outside").chmod(0o700)
    links = {
        socket.with_suffix(".exports"): site / "precious",
        socket.with_suffix(".log"): site / "outside" / "secret",
    }
    (site / "share.toml").write_text('[exports.a]\nsource = "second"\nprofile = "none"\n')
    os.chown(site / "second", 65534, -1)
    try:
        for link, target in links.items():
            link.symlink_to(target)
        with pytest.raises(osxfs_sim.MountError, match=r"exports: (File exists|Not a directory)"):
            _mount_as_nobody(site)
        assert os.listdir(site / "precious") == ["empty"]
        assert os.stat(site / "precious").st_uid == 0
        assert (site / "outside" / "secret").read_text() == "secret"
        assert os.stat(site / "outside" / "secret").st_uid == 0
    finally:
        for link in links:
            link.unlink(missing_ok=True)


def _mount_as_nobody(site: Path) -> None:
    source, mountpoint = site / "share.toml", site / "mnt"
    with osxfs_sim.share(source, mountpoint, calibrate=False, user="nobody"):
        pytest.fail("mounted")


def test_an_ordinary_user_is_told_what_a_share_file_needs(site: Path, monkeypatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 65534)
    with pytest.raises(osxfs_sim.MountError, match="a share file needs root"), exported(site):
        pytest.fail("mounted")


def test_an_export_that_has_ended_does_not_hide_the_others(osxfs_sim_command, site: Path) -> None:
    with exported(site) as share:
        share.exports[0].unmount()
        told = osxfs_sim_command("status", site / "mnt")
        assert "no share is mounted" in told.stderr
        assert f"{site}/mnt/host shares" in told.stdout
        told = osxfs_sim_command("status", "--json", site / "mnt")
        assert list(json.loads(told.stdout)["exports"]["cached"]) == ["error"]


@pytest.mark.parametrize("force", [[], ["--force"]])
def test_what_an_export_has_left_that_was_killed_is_told_with_the_others(
    osxfs_sim_command, site: Path, force: list[str]
) -> None:
    (site / "share.toml").write_text(
        '[exports.held]\nsource = "first"\nprofile = "osxfs-delegated"\nwrite_back_age = "1h"\n'
        '[exports.none]\nsource = "second"\nprofile = "none"\n'
    )
    mounted = osxfs_sim_command(
        *("mount", site / "share.toml", site / "mnt", "--state", site / "state", "--latency", "0us")
    )
    assert not mounted.returncode, mounted.stderr
    status = json.loads(osxfs_sim_command("status", "--json", site / "mnt" / "held").stdout)
    (site / "mnt" / "held" / "new").write_text("held")
    os.kill(status["pid"], signal.SIGKILL)
    eventually(lambda: not is_mounted(site / "mnt" / "held"))
    told = osxfs_sim_command("umount", *force, site / "mnt")
    said = told.stdout + told.stderr
    assert "2 changes (4B) of" in said
    assert f"osxfs-sim unwritten {site}/first --state {site}/state lists them" in said
    assert not shares_below(site)


def test_a_share_whose_profile_is_called_exports_is_no_exports_root(site: Path) -> None:
    (site / "mine.toml").write_text('name = "exports"\n')
    with osxfs_sim.share(
        site / "second", site / "mnt", profile=str(site / "mine.toml"), calibrate=False
    ):
        entry = mount_at(str(site / "mnt"))
        assert entry is not None
        assert not entry.is_exports_root


def test_umount_recursively_ends_them_too(site: Path) -> None:
    with exported(site) as share:
        subprocess.run(["umount", "-R", site / "mnt"], check=True)
        for each in (share, *share.exports):
            assert each._server.wait(180) == 0
    assert not shares_below(site)
