"""Bugs on live shares: each shows as the museum says, its cures work, and others pay nothing."""

import contextlib
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from support.controlled import requests
from support.guests import eventually
from support.live import LiveShare

import osxfs_sim
from osxfs_sim.coherence.actors.operations import ActorOperation, OperationResult
from osxfs_sim.coherence.actors.processes import Actor
from osxfs_sim.coherence.museum.exhibits import (
    HOUR_NS,
    Arrangement,
    MountedSides,
    demonstrations,
    play,
)
from osxfs_sim.model.bugs import Bug
from osxfs_sim.mount.faults.chosen import FAULTS, change_filter, injection_mapper
from osxfs_sim.mount.faults.fault import Fault
from osxfs_sim.mount.requests.entries import Entries
from osxfs_sim.mount.requests.handlers import Handlers
from osxfs_sim.mount.requests.host_operations import HostOperations
from osxfs_sim.mount.requests.layer import Layer
from osxfs_sim.mount.requests.namespace import Namespace

CACHED = {"profile": "osxfs-cached", "cache_timeout_ns": HOUR_NS, "latency_ns": 0}


@pytest.fixture
def stage(share: Callable[..., LiveShare]):
    """Mounts what a demonstration asks for; what it leaves behind is looked at as ever."""

    @contextlib.contextmanager
    def stage(host: Path, settings: Mapping[str, Any]) -> Iterator[MountedSides]:
        live = share(host, **settings)
        has_events = live.status().events is not None
        yield MountedSides(host, live.guest, live.settle if has_events else lambda: None)
        live.unmount()

    return stage


def wrong(demonstration, arrangement: Arrangement, stage, field: Path, *, is_cured: bool):
    """The steps of a demonstration that came out otherwise than documented."""
    host = field / "host"
    host.mkdir()
    told = play(demonstration.steps, arrangement, stage, host, is_cured=is_cured)
    return [(str(each.step), each.answer) for each in told if not each.as_expected]


POLICIES = [
    next((each, cure) for cure in each.cures if cure.has_bug)
    for each in demonstrations()
    if any(cure.has_bug for cure in each.cures)
]
"""Of each bug that a policy cures, the first such policy. The other cures are slow tests: most
are a share without the bug, which all other tests look at."""
OTHERS = [
    (each, cure) for each in demonstrations() for cure in each.cures if (each, cure) not in POLICIES
]


def cures(pairs):
    return pytest.mark.parametrize(
        ("demonstration", "cure"),
        [pytest.param(each, cure, id=f"{each.bug}: {cure.words}") for each, cure in pairs],
    )


@pytest.mark.parametrize("demonstration", demonstrations(), ids=lambda each: each.bug)
def test_the_bug_shows(demonstration, stage, field: Path) -> None:
    assert wrong(demonstration, demonstration.shows, stage, field, is_cured=False) == []


@cures(POLICIES)
def test_a_policy_cures_it_though_the_share_has_it(demonstration, cure, stage, field: Path) -> None:
    assert wrong(demonstration, cure, stage, field, is_cured=True) == []


@pytest.mark.slow
@cures(OTHERS)
def test_the_other_cures_work(demonstration, cure, stage, field: Path) -> None:
    assert wrong(demonstration, cure, stage, field, is_cured=True) == []


# Where there are none


def test_a_share_without_bugs_is_made_of_the_usual_parts_alone(field: Path) -> None:
    assert change_filter(()) is None
    assert injection_mapper(()) is None
    with requests(field) as share:
        handlers = share.components.handlers
        assert type(handlers) is Handlers
        assert type(handlers._operations) is HostOperations
        assert type(handlers._entries) is Entries
        assert handlers._caching is share.components.caching
        assert handlers._evict.__func__ is Namespace.forget


def test_bugs_are_laid_over_the_usual_parts_and_change_none_of_them(field: Path) -> None:
    before = dict(vars(HostOperations))
    with requests(field, bugs=("phantom", "two-locks")) as share:
        laid = share.components.handlers._operations
        names = []
        while isinstance(laid, Layer):
            names.append(type(laid).__name__)
            laid = laid.next
        assert names == ["_InvalidWhenGone", "_TwoInodes"], "the first named is the outermost"
        assert type(laid) is HostOperations
    assert dict(vars(HostOperations)) == before


def test_status_tells_of_the_bugs_of_a_share(share) -> None:
    live = share(bugs=("V5", "descriptors=100"))
    status = live.status()
    assert status.bugs == ["phantom", "descriptors=100"]
    assert status.changed == ["bugs"]


# Each one's limits


def told(actor: Actor, act: str, **what: Any) -> OperationResult:
    return actor.do(ActorOperation(act, **what)).outcome


@pytest.fixture(scope="module")
def caching_share(module_share) -> LiveShare:
    """A share that caches for an hour, and has the three bugs of that."""
    return module_share(
        profile="osxfs-negative",
        latency_ns=0,
        cache_timeout_ns=HOUR_NS,
        negative_timeout_ns=HOUR_NS,
        bugs=("phantom", "still-missing", "stale-size"),
    )


def test_bugs_can_be_had_together(caching_share: LiveShare) -> None:
    host = caching_share.source
    (host / "edited").write_text("abc\n")
    (host / "removed").write_text("x")
    with Actor("guest", caching_share.guest) as guest:
        for name in ("edited", "removed", "made"):
            told(guest, "stat", path=name)
        (host / "edited").write_text("123abc\n")
        (host / "removed").unlink()
        (host / "made").mkdir()
        caching_share.settle()
        assert told(guest, "read", path="edited") == OperationResult("123a")
        assert told(guest, "read", path="removed") == OperationResult(error="EINVAL")
        assert told(guest, "mkdir", path="made") == OperationResult(error="EEXIST")
        assert told(guest, "stat", path="made") == OperationResult(error="ENOENT")


def test_of_what_the_guest_itself_changes_it_knows_the_size(caching_share: LiveShare) -> None:
    with Actor("guest", caching_share.guest) as guest, Actor("guest", caching_share.guest) as other:
        told(guest, "create", path="f", data="abc")
        told(guest, "append", path="f", data="def")
        assert told(other, "read", path="f") == OperationResult("abcdef")
        told(guest, "truncate", path="f", size=1)
        assert told(other, "read", path="f") == OperationResult("a")


def test_what_the_guest_itself_removes_is_no_phantom(caching_share: LiveShare) -> None:
    with Actor("guest", caching_share.guest) as guest:
        told(guest, "create", path="gone", data="abc")
        told(guest, "unlink", path="gone")
        assert told(guest, "stat", path="gone") == OperationResult(error="ENOENT")
        assert told(guest, "read", path="gone") == OperationResult(error="ENOENT")


def test_what_the_guest_itself_makes_is_not_missing(caching_share: LiveShare) -> None:
    with Actor("guest", caching_share.guest) as guest:
        assert told(guest, "stat", path="d") == OperationResult(error="ENOENT")
        assert told(guest, "stat", path="e") == OperationResult(error="ENOENT")
        assert told(guest, "mkdir", path="d") == OperationResult()
        assert told(guest, "rename", path="d", to="e") == OperationResult()
        assert told(guest, "list", path="e") == OperationResult([])


def test_a_name_stays_missing_for_its_negative_timeout_and_no_longer(share) -> None:
    live = share(profile="osxfs-negative", negative_timeout_ns=10**9, bugs=("still-missing",))
    with Actor("guest", live.guest) as guest:
        assert told(guest, "stat", path="d") == OperationResult(error="ENOENT")
        (live.source / "d").mkdir()
        eventually(lambda: told(guest, "stat", path="d").error != "ENOENT")


def test_a_file_with_two_locks_can_be_read_and_written_as_before(share) -> None:
    live = share(profile="osxfs", latency_ns=0, bugs=("two-locks",))
    with Actor("guest", live.guest) as one, Actor("guest", live.guest) as other:
        told(one, "create", path="f", data="abc")
        for number, actor in enumerate((one, other, one)):
            assert told(actor, "open", path="f", handle=f"h{number}") == OperationResult()
        told(other, "pwrite", handle="h1", data="X")
        assert (live.source / "f").read_text() == "Xbc"
        assert told(one, "pwrite", handle="h0", data="Y", offset=1) == OperationResult()
        for number, actor in enumerate((one, other, one)):
            assert told(actor, "close", handle=f"h{number}") == OperationResult()
        assert told(one, "read", path="f") == OperationResult("XYc")


def descriptors_of(live: LiveShare) -> int:
    return len(os.listdir(f"/proc/{live.pid}/fd"))


def test_descriptors_are_held_until_the_guests_kernel_forgets(share) -> None:
    live = share(profile="osxfs", latency_ns=0, bugs=("descriptors=40",))
    with Actor("guest", live.guest) as guest:
        before = descriptors_of(live)
        for number in range(40):
            assert told(guest, "create", path=f"f{number}") == OperationResult()
        assert descriptors_of(live) >= before + 40
        assert told(guest, "create", path="more") == OperationResult(error="ENFILE")
        assert not (live.source / "more").exists()
        for number in range(20):
            assert told(guest, "unlink", path=f"f{number}") == OperationResult()
        # The kernel's forgets come in their own time.
        eventually(lambda: told(guest, "create", path="more").error != "ENFILE")
        assert told(guest, "read", path="more") == OperationResult("")


def test_a_spelling_is_a_matter_of_who_asks(share) -> None:
    live = share(profile="osxfs", names="apfs", latency_ns=0, bugs=("one-spelling",))
    (live.source / "a").mkdir()
    (live.source / "File").write_text("x")
    with Actor("ls", live.guest) as ls:
        assert told(ls, "list") == OperationResult(["File", "a"])
        # Having listed what is above, it finds it by the listed name alone.
        assert told(ls, "list", path="A") == OperationResult(error="ENOENT")
        assert told(ls, "list", path="a") == OperationResult([])
        assert told(ls, "read", path="fILE") == OperationResult("x")
    with Actor("another", live.guest) as another:
        assert told(another, "list", path="A") == OperationResult([])


@pytest.mark.mounts
def test_a_bug_shows_while_requests_are_recorded_and_after(tmp_path: Path, field) -> None:
    (field / "host").mkdir()
    (field / "guest").mkdir()
    with (
        osxfs_sim.share(
            field / "host",
            field / "guest",
            latency_ns=0,
            bugs=["two-locks"],
            calibrate=False,
            state_directory=tmp_path,
        ) as live,
        Actor("one", live.mountpoint) as one,
        Actor("other", live.mountpoint) as other,
    ):
        for name in ("during", "after"):
            if name == "during":
                live.start_trace(tmp_path / "trace.parquet")
            told(one, "create", path=name)
            for actor in (one, other):
                assert told(actor, "open", path=name, handle=name) == OperationResult()
                assert told(actor, "lock", handle=name) == OperationResult()
            if name == "during":
                live.stop_trace()


def test_every_bug_is_made_by_something() -> None:
    assert set(FAULTS) == set(Bug)
    seams = {name for name in vars(Fault) if not name.startswith("_")}
    for bug, fault in FAULTS.items():
        assert seams & set(vars(fault)), bug
