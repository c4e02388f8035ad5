"""Every system that ships can be mounted and used, and tells of changes what its table says."""

import os
import stat as modes
from collections import Counter
from random import Random

import pytest
from support.guests import eventually, refused
from support.live import LiveShare

from osxfs_sim.catalogue import load_profile
from osxfs_sim.coherence.scorecard.expectations import ChangeKind, expected_of
from osxfs_sim.coherence.scorecard.measure import Pace, run_scorecard

# Those of osxfs have tests of their own all over; their variants differ in one value each.
AFTER_OSXFS = [
    *("docker-vz", "docker-vmm", "lima-vz", "lima-vz-inotify", "orbstack"),
    *("docker-vz-4.15", "docker-vz-4.34", "grpc-fuse", "grpc-fuse-2.4", "grpc-fuse-4.9"),
    *("virtiofsd-none", "virtiofsd-auto", "virtiofsd-always", "host", "none"),
]
DISTINCT = {load_profile(name).events: name for name in AFTER_OSXFS}
TELLING = sorted(name for events, name in DISTINCT.items() if events.stream is not None)
SILENT = [name for name in AFTER_OSXFS if load_profile(name).events.stream is None]
TIMES = 1


def say_nothing(text: str) -> None:
    del text


@pytest.mark.parametrize("name", AFTER_OSXFS)
def test_a_share_can_be_worked_in(share, name: str) -> None:
    live = share(profile=name, latency_ns=0)
    (live.source / "from-host").write_text("host")
    assert (live.guest / "from-host").read_text() == "host"
    work = live.guest / "work"
    work.mkdir()
    (work / "file").write_text("some content")
    with open(work / "file", "a") as file:
        file.write(", and more")
    os.rename(work / "file", work / "renamed")
    os.link(work / "renamed", work / "linked")
    os.symlink("renamed", work / "pointing")
    (work / "renamed").chmod(0o640)
    assert sorted(os.listdir(work)) == ["linked", "pointing", "renamed"]
    assert (work / "pointing").read_text() == "some content, and more"
    assert (live.source / "work" / "linked").read_text() == "some content, and more"
    assert modes.S_IMODE((live.source / "work" / "renamed").stat().st_mode) == 0o640
    for entry in os.listdir(work):
        (work / entry).unlink()
    work.rmdir()
    assert os.listdir(live.source) == ["from-host"]
    with refused(2):
        os.stat(work)


@pytest.mark.parametrize("name", TELLING)
def test_its_events_are_those_of_its_table(share, name: str) -> None:
    live = share(profile=name, latency_ns=0)
    events = load_profile(name).events
    kinds = (ChangeKind.WRITE, ChangeKind.MODIFY_OPEN, ChangeKind.DELETE)
    results = run_scorecard(
        *(live.source, live.guest, lambda kind: expected_of(kind, events.notify)),
        *(TIMES, Pace.of(events), Random(1), say_nothing, kinds),
    )
    for result in results:
        assert result.score.is_right, (result.kind, result.score)


@pytest.mark.parametrize("name", ["docker-vz", "docker-vmm", "orbstack", "grpc-fuse"])
def test_a_change_that_is_told_invalidates_what_was_cached(share, name: str) -> None:
    """Deletions too, of which the guest's processes hear nothing on some systems."""
    live = share(profile=name, latency_ns=0, cache_timeout_ns=3_600 * 10**9)
    file = live.source / "file"
    file.write_text("old")
    assert (live.guest / "file").read_text() == "old"
    file.write_text("new content")
    eventually(lambda: (live.guest / "file").read_text() == "new content")
    file.unlink()
    eventually(lambda: not os.path.lexists(live.guest / "file"))


@pytest.mark.parametrize("name", SILENT)
def test_a_system_that_tells_nothing_goes_by_its_timeouts(share, name: str) -> None:
    spec = load_profile(name).caching
    cache_timeout_ns = {"cache_timeout_ns": 3_600 * 10**9} if spec.cache_timeout_ns else {}
    live = share(profile=name, latency_ns=0, **cache_timeout_ns)
    (live.source / "file").write_text("old")
    assert os.stat(live.guest / "file").st_size == 3
    (live.source / "file").write_text("new content")
    size = os.stat(live.guest / "file").st_size
    assert size == (3 if spec.cache_timeout_ns else 11)


def test_pages_that_an_open_drops_are_read_again(share) -> None:
    def reads(name: str) -> int:
        live: LiveShare = share(profile=name, latency_ns=0, cache_timeout_ns=3_600 * 10**9)
        (live.source / "file").write_text("content")
        live.reset()
        for _ in range(3):
            (live.guest / "file").read_text()
        return live.requests()["READ"]

    # read_text() reads until nothing more comes, but the kernel knows the end by the size.
    assert reads("docker-vz") == 3
    assert reads("orbstack") == 1


def test_only_the_systems_with_extended_attributes_have_them(share) -> None:
    for name in ("docker-vz", "virtiofsd-auto", "docker-vz-4.34", "grpc-fuse"):
        live = share(profile=name, latency_ns=0)
        (live.source / "file").touch()
        if load_profile(name).files.extended_attributes == "host":
            os.setxattr(live.guest / "file", "user.mine", b"value")
            assert os.getxattr(live.source / "file", "user.mine") == b"value"
        else:
            with refused(95):
                os.setxattr(live.guest / "file", "user.mine", b"value")


def test_no_two_systems_are_the_same() -> None:
    profiles = [load_profile(name) for name in AFTER_OSXFS]
    values = Counter(
        (p.latency, p.caching, p.files, p.events, p.protocol, p.write_back) for p in profiles
    )
    assert max(values.values()) == 1
