"""Exports that overlap: in the overlapping part the stronger mode holds, and only there.

Host events are off and timeouts are a day: what the guest sees of the host's
changes, it has asked for.
"""

import contextlib
import os
import stat as modes
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.guests import eventually
from support.live import shares_below

import osxfs_sim
from osxfs_sim.model.caching import Cached, Consistent
from osxfs_sim.model.consistency import Mode
from osxfs_sim.model.status import OverlapStatus
from osxfs_sim.mount.mounts.mountpoints import (
    control_path,
    runtime_directory,
    unmount,
)
from osxfs_sim.mount.tree.inodes import Inode, InodeTable
from osxfs_sim.mount.tree.overlaps import Overlaps
from osxfs_sim.report.status import status_report

NO_EVENTS = {"latency": "0us", "host_events": "none"}


class Site:
    """Trees of a host, and exports of them below one mount point."""

    def __init__(self, field: Path) -> None:
        self.host = field / "host"
        self.guest = field / "guest"
        self.guest.mkdir()
        self.host.mkdir()
        self._share_file = field / "share.toml"

    def directory(self, path: str) -> Path:
        (self.host / path).mkdir(parents=True, exist_ok=True)
        return self.host / path

    @contextlib.contextmanager
    def exports(self, *trees: tuple[str, str, str], **options: str) -> Iterator[osxfs_sim.Share]:
        """Exports, each of a name, a source and a profile."""
        text = ""
        for name, source, profile in trees:
            self.directory(source)
            text += f'[exports.{name}]\nsource = "host/{source}"\nprofile = "{profile}"\n'
            text += "".join(f'{key} = "{value}"\n' for key, value in (NO_EVENTS | options).items())
        self._share_file.write_text(text)
        with osxfs_sim.share(self._share_file, self.guest, calibrate=False) as share:
            yield share


@pytest.fixture
def site(field: Path, need_fuse: None) -> Iterator[Site]:
    del need_fuse
    site = Site(field)
    yield site
    for mountpoint in reversed(shares_below(field)):
        unmount(mountpoint, lazily=True)
    skeleton = control_path(runtime_directory(os.geteuid()), str(site.guest))
    eventually(lambda: not skeleton.with_suffix(".exports").exists())


CHANGES = {"attributes", "content", "removal", "creation"}


def unseen(guest: Path, host: Path) -> set[str]:
    """The guest looks, the host changes things, the guest looks again: what has it not seen?"""
    for name in ("attributes", "content", "removal"):
        (host / name).write_text("old")
    for name in CHANGES:
        with contextlib.suppress(FileNotFoundError):
            (guest / name).read_text()
            os.stat(guest / name)
    (host / "attributes").chmod(0o640)
    (host / "content").write_text("new")
    (host / "removal").unlink()
    (host / "creation").touch()
    seen = {
        "attributes": modes.S_IMODE(os.stat(guest / "attributes").st_mode) == 0o640,
        "content": (guest / "content").read_text() == "new",
        "removal": not (guest / "removal").exists(),
        "creation": (guest / "creation").exists(),
    }
    for name in CHANGES - {"removal"}:
        (host / name).unlink()
    return {change for change, was_seen in seen.items() if not was_seen}


def test_a_cached_export_above_a_consistent_one_is_consistent_in_the_overlap_only(
    site: Site,
) -> None:
    site.directory("tree/inner/deep/deeper")
    trees = ("above", "tree", "osxfs-negative"), ("inner", "tree/inner", "osxfs")
    with site.exports(*trees):
        for below in ("inner", "inner/deep", "inner/deep/deeper"):
            assert unseen(site.guest / "above" / below, site.host / "tree" / below) == set()
        assert unseen(site.guest / "inner", site.host / "tree" / "inner") == set()
        # And that the guest would not have seen it by itself, shows outside.
        assert unseen(site.guest / "above", site.host / "tree") == CHANGES


@pytest.mark.parametrize("profile", ["osxfs-default", "osxfs-cached"])
def test_who_asks_for_nothing_stronger_strengthens_nothing(site: Site, profile: str) -> None:
    trees = ("above", "tree", "osxfs-negative"), ("inner", "tree/inner", profile)
    with site.exports(*trees) as share:
        assert unseen(site.guest / "above" / "inner", site.host / "tree" / "inner") == CHANGES
        assert [export.status().overlaps for export in share.exports] == [[], []]


def test_default_itself_is_consistent(site: Site) -> None:
    with site.exports(("tree", "tree", "osxfs-default")):
        assert unseen(site.guest / "tree", site.host / "tree") == set()


@pytest.mark.parametrize("inner", ["tree/inner", "tree"])
def test_a_cached_export_below_a_consistent_one_is_consistent_wholly(
    site: Site, inner: str
) -> None:
    site.directory(f"{inner}/deep")
    trees = ("inner", inner, "osxfs-negative"), ("above", "tree", "osxfs")
    with site.exports(*trees) as share:
        for below in (".", "deep"):
            assert unseen(site.guest / "inner" / below, site.host / inner / below) == set()
        told = share.exports[0].status()
        assert told.overlaps == [OverlapStatus(path=".", mode="consistent")]
        assert told.policy == Consistent().describe()


def test_the_directory_where_the_overlap_begins_is_part_of_it(site: Site) -> None:
    trees = ("above", "tree", "osxfs-cached"), ("inner", "tree/inner", "osxfs")
    with site.exports(*trees):
        os.stat(site.guest / "above" / "inner")
        (site.host / "tree" / "inner").chmod(0o750)
        assert modes.S_IMODE(os.stat(site.guest / "above" / "inner").st_mode) == 0o750


def test_in_the_overlap_pages_do_not_outlive_an_open(site: Site) -> None:
    trees = ("above", "tree", "osxfs-cached"), ("inner", "tree/inner", "osxfs")
    with site.exports(*trees):
        for below, expected in (("inner", "new"), (".", "old")):
            host = site.host / "tree" / below / "file"
            host.write_text("old")
            before = os.stat(host)
            assert (site.guest / "above" / below / "file").read_text() == "old"
            host.write_text("new")
            # Neither size nor mtime tell the kernel.
            os.utime(host, ns=(before.st_atime_ns, before.st_mtime_ns))
            assert (site.guest / "above" / below / "file").read_text() == expected


def test_an_open_file_of_the_overlap_follows_the_host(site: Site) -> None:
    trees = ("above", "tree", "osxfs-cached"), ("inner", "tree/inner", "osxfs")
    with site.exports(*trees):
        for below, expected in (("inner", 0o640), (".", 0o600)):
            host = site.host / "tree" / below / "file"
            host.touch(0o600)
            with open(site.guest / "above" / below / "file") as file:
                os.fstat(file.fileno())
                host.chmod(0o640)
                assert modes.S_IMODE(os.fstat(file.fileno()).st_mode) == expected


def test_a_file_with_a_name_in_the_overlap_is_of_the_overlap(site: Site) -> None:
    trees = ("above", "tree", "osxfs-cached"), ("inner", "tree/inner", "osxfs")
    with site.exports(*trees):
        outside, inside = site.host / "tree" / "file", site.host / "tree" / "inner" / "file"
        outside.touch(0o600)
        os.link(outside, inside)
        guest = site.guest / "above"
        os.stat(guest / "file")
        os.stat(guest / "inner" / "file")
        for mode in (0o640, 0o644):
            outside.chmod(mode)
            assert modes.S_IMODE(os.stat(guest / "file").st_mode) == mode


def test_what_the_guest_moves_into_the_overlap_obeys_it_at_once(site: Site) -> None:
    """Also what lies below it, which the guest had cached for a day where it was before."""
    trees = ("above", "tree", "osxfs-cached"), ("inner", "tree/inner", "osxfs")
    with site.exports(*trees):
        guest, host = site.guest / "above", site.host / "tree"
        (host / "moved" / "deep").mkdir(parents=True)
        (host / "moved" / "deep" / "file").touch(0o600)
        (host / "moved" / "deep" / "gone").touch()
        for name in ("file", "gone"):
            os.stat(guest / "moved" / "deep" / name)
        os.rename(guest / "moved", guest / "inner" / "moved")
        (host / "inner" / "moved" / "deep" / "file").chmod(0o640)
        (host / "inner" / "moved" / "deep" / "gone").unlink()
        deep = guest / "inner" / "moved" / "deep"
        assert modes.S_IMODE(os.stat(deep / "file").st_mode) == 0o640
        assert not (deep / "gone").exists()
        assert unseen(deep, host / "inner" / "moved" / "deep") == set()


def test_what_the_host_moves_into_the_overlap_obeys_it_once_it_is_found_there(site: Site) -> None:
    trees = ("above", "tree", "osxfs-cached"), ("inner", "tree/inner", "osxfs")
    with site.exports(*trees):
        guest, host = site.guest / "above", site.host / "tree"
        (host / "moved").mkdir()
        (host / "moved" / "gone").touch()
        os.stat(guest / "moved" / "gone")
        os.rename(host / "moved", host / "inner" / "moved")
        os.stat(guest / "inner" / "moved")
        (host / "inner" / "moved" / "gone").unlink()
        assert not (guest / "inner" / "moved" / "gone").exists()


def test_the_overlap_is_the_directory_wherever_the_host_moves_it(site: Site) -> None:
    """As the other export's server goes by its directory too, and not by a path."""
    trees = ("above", "tree", "osxfs-cached"), ("inner", "tree/inner", "osxfs")
    with site.exports(*trees):
        (site.host / "tree" / "inner").rename(site.host / "tree" / "elsewhere")
        site.directory("tree/inner")
        assert unseen(site.guest / "above" / "elsewhere", site.host / "tree" / "elsewhere") == set()
        assert unseen(site.guest / "above" / "inner", site.host / "tree" / "inner")


def test_in_the_overlap_no_set_of_names_answers(site: Site) -> None:
    site.directory("tree/outside")
    trees = ("above", "tree", "osxfs-complete"), ("inner", "tree/inner", "osxfs")
    with site.exports(*trees, host_events="auto") as share:
        above = share.exports[0]
        for below, crossings in (("outside", 0), ("inner", 20)):
            os.listdir(site.guest / "above" / below)
            above.reset()
            for number in range(20):
                assert not (site.guest / "above" / below / f"missing-{number}").exists()
            assert above.status().missing_lookups == crossings


def test_a_status_tells_what_a_share_obeys(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    trees = (
        *(("above", "tree", "osxfs-cached"), ("one", "tree/one", "osxfs")),
        *(("two", "tree/two/deep", "none"), ("three", "tree/two/deep/er", "osxfs-cached")),
    )
    with site.exports(*trees) as share:
        told = [export.status().overlaps for export in share.exports]
        assert told == [
            [
                OverlapStatus(path="one", mode="consistent"),
                OverlapStatus(path="two/deep", mode="consistent"),
            ],
            [],
            [],
            [OverlapStatus(path=".", mode="consistent")],
        ]
        assert share.status().overlaps == []
        for export in share.exports[:2]:
            status_report(export.status())
        lines = [line for line in capsys.readouterr().out.splitlines() if "overlaps" in line]
        assert lines == [
            "  overlaps  with other exports: one is consistent, two/deep is consistent"
        ]


def test_two_shares_without_a_share_file_do_not_know_of_each_other(share) -> None:
    cached = share(profile="osxfs-negative", latency_ns=0, host_events="none")
    (cached.source / "inner").mkdir()
    consistent = share(source=cached.source / "inner", profile="osxfs", latency_ns=0)
    assert unseen(cached.guest / "inner", consistent.source) == CHANGES
    assert cached.status().overlaps == consistent.status().overlaps == []


# Which inode obeys what


class Known:
    """A tree of the host and what a guest has been told of it."""

    def __init__(self, root: Path) -> None:
        self.path = root
        self.fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
        self.inodes = InodeTable(os.fstat(self.fd))

    def found(self, path: str) -> Inode:
        """Each name of *path* was looked up, one after the other."""
        inode = self.inodes.root
        for here in [*reversed(Path(path).parents), Path(path)][1:]:
            status = os.lstat(self.path / here)
            inode = self.inodes.find_or_add(inode, os.fsencode(here.name), status)
        return inode

    def overlaps(self, mode: Mode = Mode.DELEGATED, **parts: Mode) -> Overlaps:
        by_path = [(path.replace("_", "/"), mode) for path, mode in parts.items()]
        return Overlaps(mode, by_path, self.inodes, self.fd)


@pytest.fixture
def known(tmp_path: Path) -> Iterator[Known]:
    for path in ("a/b/c/d", "e", "a/b/dir"):
        (tmp_path / path).mkdir(parents=True)
    (tmp_path / "e" / "file").touch()
    known = Known(tmp_path)
    yield known
    os.close(known.fd)


def test_the_strongest_part_on_the_way_up_decides(known: Known) -> None:
    overlaps = known.overlaps(a_b=Mode.CACHED, a_b_c=Mode.CONSISTENT)
    found = {path: overlaps.mode_of(known.found(path)) for path in ("a", "a/b", "a/b/c/d", "e")}
    assert found == {
        "a": Mode.DELEGATED,
        "a/b": Mode.CACHED,
        "a/b/c/d": Mode.CONSISTENT,
        "e": Mode.DELEGATED,
    }
    assert overlaps.mode_of(known.inodes.root) is Mode.DELEGATED
    assert overlaps.is_stronger(known.found("a/b/dir"))
    assert not overlaps.is_stronger(known.found("e"))


def test_cached_parts_cache_as_the_share_does_and_consistent_ones_nothing(known: Known) -> None:
    overlaps = known.overlaps(a_b=Mode.CACHED, a_b_c=Mode.CONSISTENT)
    own = Cached(5)
    assert overlaps.policy_at(known.found("a/b/dir"), own) is own
    assert isinstance(overlaps.policy_at(known.found("a/b/c"), own), Consistent)
    status = os.stat(known.path / "a/b/c")
    assert isinstance(overlaps.policy_at(known.found("a/b"), own, status), Consistent)


def test_any_name_of_a_file_may_be_the_one_that_decides(known: Known) -> None:
    overlaps = known.overlaps(a_b=Mode.CONSISTENT)
    os.link(known.path / "e" / "file", known.path / "a" / "b" / "file")
    file = known.found("e/file")
    assert overlaps.mode_of(file) is Mode.DELEGATED, "nobody has asked for the other name"
    assert known.found("a/b/file") is file
    assert known.found("e/file") is file
    assert overlaps.mode_of(file) is Mode.CONSISTENT
    assert overlaps.mode_at(known.found("e"), os.stat(known.path / "e/file")) is Mode.CONSISTENT


def test_what_has_no_name_left_obeys_the_strongest(known: Known) -> None:
    overlaps = known.overlaps(a_b=Mode.CACHED, a_b_c=Mode.CONSISTENT)
    file = known.found("e/file")
    file.parent = None
    assert overlaps.mode_of(file) is Mode.CONSISTENT


def test_renames_heard_of_in_the_wrong_order_end_the_search_all_the_same(known: Known) -> None:
    overlaps = known.overlaps(a_b=Mode.CONSISTENT)
    outer, inner = known.found("e"), known.found("a")
    outer.parent, inner.parent = inner, outer
    assert overlaps.mode_of(outer) is Mode.DELEGATED


def test_a_part_that_cannot_be_seen_makes_more_obey_and_not_less(known: Known) -> None:
    overlaps = known.overlaps(a_b_missing_deep=Mode.CONSISTENT)
    assert overlaps.mode_of(known.found("a/b/c")) is Mode.CONSISTENT
    assert overlaps.mode_of(known.found("a")) is Mode.DELEGATED
    everything = known.overlaps(missing=Mode.CACHED)
    assert everything.mode_of(known.found("e/file")) is Mode.CACHED


# A delegated export: what is changed in the overlap is on the host at once.


@pytest.mark.parametrize("stronger", ["osxfs", "osxfs-cached"])
def test_a_delegated_export_holds_nothing_back_in_a_stronger_part(
    site: Site, stronger: str
) -> None:
    with site.exports(
        ("outer", "tree", "osxfs-delegated"), ("inner", "tree/part", stronger)
    ) as share:
        outer = site.guest / "outer"
        (outer / "held").write_text("outside")
        (outer / "part" / "directory").mkdir()
        (outer / "part" / "directory" / "file").write_text("inside")
        assert not (site.host / "tree" / "held").exists(), "outside, changes may be held"
        assert (site.host / "tree" / "part" / "directory" / "file").read_text() == "inside"
        os.truncate(outer / "part" / "directory" / "file", 3)
        assert (site.host / "tree" / "part" / "directory" / "file").read_text() == "ins"
        os.unlink(outer / "part" / "directory" / "file")
        assert not (site.host / "tree" / "part" / "directory" / "file").exists()
        status = share.exports[0].status()
        assert status.write_back.pending_changes == 2
        share.exports[0].flush()


def test_what_is_moved_into_a_stronger_part_is_on_the_host_with_all_it_holds(site: Site) -> None:
    with site.exports(("outer", "tree", "osxfs-delegated"), ("inner", "tree/part", "osxfs")):
        outer = site.guest / "outer"
        (outer / "new" / "deep").mkdir(parents=True)
        (outer / "new" / "deep" / "file").write_text("held")
        assert not (site.host / "tree" / "new").exists()
        os.rename(outer / "new", outer / "part" / "new")
        assert (site.host / "tree" / "part" / "new" / "deep" / "file").read_text() == "held"
        os.link(outer / "part" / "new" / "deep" / "file", outer / "second")
        with open(outer / "second", "a") as file:
            file.write(" and not")
        assert (site.host / "tree" / "part" / "new" / "deep" / "file").read_text() == (
            "held and not"
        ), "a file of several names obeys the strongest"


def test_a_delegated_export_below_a_consistent_one_is_consistent(site: Site) -> None:
    with site.exports(
        ("inner", "tree/part", "osxfs-delegated"), ("outer", "tree", "osxfs")
    ) as share:
        (site.guest / "inner" / "file").write_text("content")
        assert (site.host / "tree" / "part" / "file").read_text() == "content"
        assert share.exports[0].status().write_back is None
