"""A share is never entered from within its own source, and nothing of its server's lies in it."""

import contextlib
import errno
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.complaints import complaint
from support.guests import eventually, refused, run
from support.mounted import bound

from osxfs_sim import ShareSettings
from osxfs_sim.mount.launch import launch
from osxfs_sim.mount.mounts import lower
from osxfs_sim.mount.mounts.cycles import Mount, Shares, below
from osxfs_sim.mount.mounts.lower import lower_paths
from osxfs_sim.mount.mounts.mountpoints import MountError
from osxfs_sim.mount.mounts.runtime_records import Record

PROFILES = ("osxfs", "osxfs-cached", "osxfs-delegated")


def settings(source: Path, guest: Path, **others: object) -> ShareSettings:
    return ShareSettings(
        str(source), str(guest), **{"profile": "none", "calibrate": False} | others
    )


# What lies below what


def mount(number: int, parent: int, device: str, path: str) -> Mount:
    return Mount(number, parent, device, path, "any")


def record(number: int, device: str, mountpoint: str, source: str) -> Record:
    return Record(mountpoint, number, device, source, 1, 0, 0, "", "")


ROOT = mount(1, 0, "8:1", "/")


def test_what_is_mounted_below_a_directory_is_reached_from_it_and_nothing_else() -> None:
    table = [
        ROOT,
        mount(2, 1, "0:2", "/a/x"),
        mount(3, 2, "0:3", "/a/x/deep"),
        mount(4, 1, "0:4", "/ab"),
        mount(5, 9, "0:5", "/a/elsewhere"),
    ]
    assert {each.number for each in below(table, 1, "/a")} == {2, 3}
    assert {each.number for each in below(table, 1, "/")} == {2, 3, 4}


def ring(length: int) -> Shares:
    """Each of so many shares has the next one mounted in its source, and the last the first."""
    places = {(number + 1) % length: f"/s{number}/m" for number in range(length)}
    table = [mount(10 + number, 1, f"0:{10 + number}", place) for number, place in places.items()]
    records = [
        record(10 + number, f"0:{10 + number}", place, f"/s{number}")
        for number, place in places.items()
    ]
    return Shares([ROOT, *table], records)


@pytest.mark.parametrize("length", range(1, 6))
def test_a_ring_of_any_length_is_found_and_no_chain_is_taken_for_one(length: int) -> None:
    shares = ring(length)
    assert all(
        shares.leads_to(f"0:{10 + one}", f"0:{10 + other}")
        for one in range(length)
        for other in range(length)
    )
    chain = Shares([each for each in shares.table if each.path != f"/s{length - 1}/m"], [])
    chain.records = shares.records
    last = f"0:{10 + length - 1}"
    assert not any(chain.leads_to(last, f"0:{10 + n}") for n in range(length - 1))


# Shares that could ask themselves


@pytest.mark.parametrize("profile", PROFILES)
def test_a_share_bound_into_its_own_source_is_not_entered(share, profile: str) -> None:
    live = share(profile=profile, latency_ns=0)
    (live.source / "loop").mkdir()
    (live.source / "file").write_text("content")
    (live.source / "link").symlink_to("loop/file")
    with bound(live.guest, live.source / "loop"):
        for path in ("loop/file", "loop", "link"):
            with refused(errno.ELOOP):
                (live.guest / path).stat()
        with refused(errno.ELOOP):
            (live.guest / "loop" / "new").touch()
        assert (live.guest / "file").read_text() == "content"
        assert sorted(os.listdir(live.guest)) in (["file", "link"], ["file", "link", "loop"])
        assert any("own source" in line for line in live.status().warnings)
    eventually(lambda: (live.guest / "loop").is_dir())
    (live.guest / "loop" / "new").touch()
    live.share.flush()
    assert os.listdir(live.source / "loop") == ["new"]
    assert not any("own source" in line for line in live.status().warnings)


def test_a_share_bound_over_a_directory_that_the_guest_knows_is_not_entered(share) -> None:
    live = share()
    (live.source / "known" / "below").mkdir(parents=True)
    held = os.open(live.guest / "known", os.O_RDONLY)
    try:
        with bound(live.guest, live.source / "known"):
            for path in ("known", "known/below", "known/below/missing"):
                with contextlib.suppress(OSError):
                    (live.guest / path).stat()
            with contextlib.suppress(OSError):
                os.listdir(held)
            assert live.status().mountpoint == str(live.guest)
            (live.guest / "new").touch()
    finally:
        os.close(held)
    assert os.path.exists(live.source / "new")


# By way of what a mount rests on


def test_what_a_mount_rests_on_is_read_off_its_line() -> None:
    layers = "rw,lowerdir=/a/one:/a/two:relative,upperdir=/b/upper,workdir=/b/work,uuid=on"
    assert lower_paths("overlay", "overlay", "0:9", layers) == [
        *("/a/one", "/a/two", "/b/upper", "/b/work")
    ]
    assert lower_paths("fuse", "/a/bound", "0:9", "rw") == ["/a/bound"]
    assert lower_paths("fuse.other", "name@host:/a", "0:9", "rw") == []
    assert lower_paths("nfs4", "localhost:/a/exported", "0:9", "rw,addr=127.0.0.1") == [
        "/a/exported"
    ]
    assert lower_paths("nfs", "[::1]:/a", "0:9", "rw,addr=192.0.2.1") == [], "another machine"
    assert lower_paths("nfs4", "server:/a", "0:9", "rw") == []
    assert lower_paths("tmpfs", "/a", "0:9", "rw") == []
    assert lower_paths("ext4", "/dev/nowhere", "8:1", "rw") == []


def test_the_file_behind_a_block_device_is_found_through_partitions_and_mappings(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    numbers = tmp_path / "dev" / "block"
    (tmp_path / "devices" / "loop0" / "loop0p1").mkdir(parents=True)
    (tmp_path / "devices" / "loop0" / "loop").mkdir()
    (tmp_path / "devices" / "loop0" / "loop" / "backing_file").write_text("/a/an image\n")
    (tmp_path / "devices" / "loop0" / "loop0p1" / "dev").write_text("259:3\n")
    (tmp_path / "devices" / "dm-0" / "slaves").mkdir(parents=True)
    (tmp_path / "devices" / "dm-0" / "slaves" / "loop0p1").symlink_to(
        tmp_path / "devices" / "loop0" / "loop0p1"
    )
    numbers.mkdir(parents=True)
    for number, place in (("7:0", "loop0"), ("259:3", "loop0/loop0p1"), ("253:0", "dm-0")):
        (numbers / number).symlink_to(tmp_path / "devices" / place)
    monkeypatch.setattr(lower, "_BLOCK_DEVICES", numbers)
    for number in ("7:0", "259:3", "253:0"):
        assert lower_paths("ext4", "/dev/nowhere", number, "rw") == ["/a/an image"], number
    assert lower_paths("ext4", "/dev/nowhere", "8:1", "rw") == []


@contextlib.contextmanager
def mounted(*words: object) -> Iterator[None]:
    """The last of *words* is where."""
    if os.geteuid():
        pytest.skip("only root can mount that")
    said = subprocess.run(["mount", *map(str, words)], capture_output=True, check=False)
    if said.returncode:
        pytest.skip(f"this machine cannot mount that: {said.stderr.decode().strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(words[-1])], check=True)


def assert_not_entered(live, name: str) -> None:
    for path in (name, f"{name}/below"):
        with refused(errno.ELOOP):
            (live.guest / path).stat()
    assert any("own source" in line for line in live.status().warnings)
    (live.guest / "new").touch()


def test_an_overlay_below_the_source_with_a_layer_in_the_share_is_not_entered(share) -> None:
    live = share(profile="osxfs", latency_ns=0)
    for name in ("layer", "merged"):
        (live.source / name).mkdir()
    layers = f"lowerdir={live.guest}/layer:{live.guest.parent}"
    with mounted("-t", "overlay", "none", "-o", layers, live.source / "merged"):
        assert_not_entered(live, "merged")
    eventually(lambda: (live.guest / "merged").is_dir())


def test_an_image_that_lies_in_the_share_is_not_entered_below_its_source(share) -> None:
    mkfs = shutil.which("mkfs.ext4", path=f"{os.environ['PATH']}:/usr/sbin:/sbin")
    if mkfs is None or not os.path.exists("/dev/loop-control"):
        pytest.skip("it takes loop devices and mkfs.ext4")
    live = share(profile="osxfs", latency_ns=0)
    with open(live.source / "image", "wb") as image:
        image.truncate(4 << 20)
    subprocess.run([mkfs, "-q", str(live.source / "image")], check=True)
    (live.source / "mounted").mkdir()
    with mounted("-o", "loop,ro", live.guest / "image", live.source / "mounted"):
        assert_not_entered(live, "mounted")


def test_a_pass_through_of_the_share_is_not_entered_below_its_source(share) -> None:
    if shutil.which("bindfs") is None:
        pytest.skip("it takes bindfs")
    live = share(profile="osxfs", latency_ns=0)
    (live.source / "passed").mkdir()
    with mounted("-t", "fuse.bindfs", live.guest, live.source / "passed"):
        assert_not_entered(live, "passed")


def test_a_mount_below_the_source_that_rests_on_something_else_is_entered(
    share, field: Path
) -> None:
    for name in ("one", "two"):
        (field / name).mkdir()
    (field / "one" / "file").touch()
    live = share(profile="osxfs", latency_ns=0)
    (live.source / "merged").mkdir()
    layers = f"lowerdir={field / 'one'}:{field / 'two'}"
    with mounted("-t", "overlay", "none", "-o", layers, live.source / "merged"):
        assert os.listdir(live.guest / "merged") == ["file"]
        assert not any("own source" in line for line in live.status().warnings)


def test_two_shares_that_would_ask_each_other_are_refused(field: Path, share) -> None:
    (field / "p" / "b").mkdir(parents=True)
    (field / "q" / "a").mkdir(parents=True)
    share(field / "p", field / "q" / "a")
    message = complaint(MountError, launch, settings(field / "q", field / "p" / "b"))
    assert "each would ask the other" in message
    with pytest.raises(OSError, match="o"):
        run("import os; os.stat('missing')", cwd=field / "q" / "a" / "b" / "a")


def test_three_shares_in_a_ring_are_refused(field: Path, share) -> None:
    for name in "pqr":
        (field / name / "m").mkdir(parents=True)
    share(field / "p", field / "q" / "m")
    share(field / "q", field / "r" / "m")
    message = complaint(MountError, launch, settings(field / "r", field / "p" / "m"))
    assert "each would ask the other" in message


def test_a_share_of_a_share_is_none_that_asks_itself(field: Path, share) -> None:
    (field / "p").mkdir()
    inner = share()
    (inner.source / "m").mkdir()
    outer = share(inner.guest, field / "p")
    (outer.guest / "file").touch()
    assert (inner.source / "file").exists()
    outer.unmount()


def test_shares_that_are_bound_into_each_other_later_are_not_entered(share) -> None:
    one, other = share(), share()
    for live in (one, other):
        (live.source / "loop").mkdir()
    with bound(other.guest, one.source / "loop"), bound(one.guest, other.source / "loop"):
        for live in (one, other):
            with refused(errno.ELOOP):
                (live.guest / "loop" / "loop" / "loop").stat()
            (live.guest / "new").touch()
    assert os.path.exists(one.source / "new")


# What the server itself works with


def said(field: Path, **others: object) -> str:
    for name in ("source", "guest"):
        (field / name).mkdir(exist_ok=True)
    return complaint(MountError, launch, settings(field / "source", field / "guest", **others))


@pytest.mark.usefixtures("need_fuse")
def test_nothing_of_the_server_s_own_may_lie_in_its_share(field: Path) -> None:
    (field / "guest").mkdir()
    (field / "link").symlink_to("guest")
    for way in (field / "guest", field / "link", field / "guest" / "deep" / "er"):
        assert "the trace" in said(field, trace=str(way / "t.parquet"))
        assert "choose another with --state" in said(field, state_directory=str(way / "state"))


@pytest.mark.usefixtures("need_fuse")
def test_nor_where_the_share_would_appear_by_a_bind_mount(field: Path) -> None:
    # Mounts propagate: the share would be at both places, and its server wait for itself.
    (field / "tree" / "guest").mkdir(parents=True)
    (field / "source").mkdir()
    (field / "bound").mkdir()

    def told(**others: object) -> str:
        made = settings(field / "source", field / "tree" / "guest", **others)
        return complaint(MountError, launch, made)

    with bound(field / "tree", field / "bound"):
        way = field / "bound" / "guest" / "deep"
        assert "the trace" in told(trace=str(way / "t.parquet"))
        assert "choose another with --state" in told(state_directory=str(way))
        state = str(field / "state")
        assert "not apart" in told(profile="docker-vz-sync", state_directory=state, copy=str(way))
    with bound(field / "source", field / "bound"):  # it would be copied into itself
        copy = str(field / "bound" / "copy")
        assert "not apart" in told(profile="docker-vz-sync", state_directory=state, copy=copy)


def test_a_trace_that_is_begun_later_may_not_lie_in_the_share_either(field: Path, share) -> None:
    live = share()
    (field / "link").symlink_to(live.guest)
    (live.source / "made").mkdir()
    for path in ("t.parquet", "made/t.parquet", "none/t.parquet"):
        for way in (live.guest, field / "link"):
            message = complaint(MountError, live.share.start_trace, str(way / path))
            assert "lies inside the share itself" in message
    (field / "bound").mkdir()
    with bound(live.source, field / "bound"):
        live.share.start_trace(str(field / "bound" / "t.parquet"))
        (live.guest / "file").touch()
        assert live.share.stop_trace()["rows"]


def test_a_trace_may_not_lie_in_a_share_that_asks_this_one(share) -> None:
    outer = share()
    (outer.source / "m").mkdir()
    inner = share(guest=outer.source / "m")
    message = complaint(MountError, inner.share.start_trace, str(outer.guest / "m" / "t.parquet"))
    assert "another share" in message
    inner.share.unmount(force=True)
    inner.expected_end = None
