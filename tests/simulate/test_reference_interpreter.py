"""A share in virtual time: what is known to come out of small recordings, and what must add up."""

import dataclasses
from collections.abc import Iterator

import pytest
from support.complaints import noticed
from support.recordings import (
    A_DIRECTORY,
    A_FILE,
    CACHED,
    LONG_NS,
    TICK_NS,
    asked,
    attributes,
    crossed,
    found,
    latency,
    missed,
    recording,
    simulate,
    system,
)

from osxfs_sim.model.caching import CachePolicy, Complete, Consistent
from osxfs_sim.model.latency import LatencySpec, LogNormal
from osxfs_sim.model.operations import Operation
from osxfs_sim.simulate.dependencies import Dependencies, order
from osxfs_sim.simulate.permissions import checked_after, checked_before
from osxfs_sim.simulate.recording import Recording
from osxfs_sim.simulate.reference import Reference, Simulated
from osxfs_sim.simulate.share import System

COMPLETE = Complete(LONG_NS, negative_ns=LONG_NS)
CACHES = system(CACHED)
AS_RECORDED = system()


def a_bit_of_everything() -> Recording:
    """Two threads that make, look, read, write, list, move and remove."""
    questions = [
        found(b"d", 2, status=A_DIRECTORY),
        missed(b"none", 2),
        missed(b"none", 2, thread=2),
        asked("OPENDIR", 2, handle=9),
        asked("READDIRPLUS", 2, handle=9, size_bytes=120),
        asked("READDIRPLUS", 2, handle=9),
        asked("RELEASEDIR", 2, handle=9),
        asked("CREATE", 2, b"a", found=3, status=A_FILE, handle=1),
        asked("WRITE", 3, size_bytes=5, status=A_FILE, handle=1),
        asked("FLUSH", 3, handle=1),
        asked("RELEASE", 3, handle=1),
        found(b"a", 3, 2, thread=2),
        asked("OPEN", 3, handle=2, thread=2),
        attributes(3, thread=2),
        asked("READ", 3, size_bytes=5, handle=2, thread=2),
        asked("RELEASE", 3, handle=2, thread=2),
        asked("RENAME", 2, b"a", found=2, new_name=b"b"),
        found(b"b", 3, 2),
        attributes(3),
        asked("ACCESS", 2),
        missed(b"secret", 2)._replace(error="EACCES"),
        asked("UNLINK", 2, b"b", found=3),
        missed(b"b", 2),
        asked("FORGET", 3),
    ]
    return recording(*questions)


SYSTEMS = {
    "uncached": AS_RECORDED,
    "cached": CACHES,
    "short": system(type(CACHED)(1, negative_ns=1)),
    "complete": system(COMPLETE, readdirplus="adaptive"),
    "permissions": system(CACHED, checks_permissions=True, keeps_xattrs=True),
    "drawn": system(CACHED, latency=LatencySpec((9,) * 5, distribution=LogNormal(0.5))),
}


def check_conservation(recorded: Recording, run: Simulated) -> None:
    """Each recorded question is a hit, a crossing or answered by names, and is one of them."""
    assert run.questions == len(recorded)
    own = run.crossings - run.added
    assert own.total() + run.hits.total() + run.names == len(recorded)
    assert not (run.added - run.crossings)
    counted = own + run.hits
    # Listings change what they are called by; names answers LOOKUPs alone.
    listings = {Operation.READDIR, Operation.READDIRPLUS}
    for operation in Operation:
        asked_for = sum(each.operation is operation for each in recorded.questions)
        if operation is Operation.LOOKUP:
            assert counted[operation] + run.names == asked_for
        elif operation not in listings:
            assert counted[operation] == asked_for, operation


@pytest.mark.parametrize("by", list(Dependencies))
@pytest.mark.parametrize("on", SYSTEMS.values(), ids=SYSTEMS.keys())
def test_every_question_is_answered_once(on: System, by: Dependencies) -> None:
    recorded = a_bit_of_everything()
    check_conservation(recorded, simulate(recorded, on, by=by))


@pytest.mark.parametrize("lost", ["hits", "crossings", "added"])
def test_a_run_that_loses_a_question_is_noticed(lost: str) -> None:
    recorded = a_bit_of_everything()
    run = simulate(recorded, SYSTEMS["permissions"])
    getattr(run, lost)[Operation.GETATTR] -= 1
    with noticed():
        check_conservation(recorded, run)


@pytest.mark.parametrize("on", SYSTEMS.values(), ids=SYSTEMS.keys())
def test_two_runs_of_one_seed_are_the_same_to_the_byte(on: System) -> None:
    runs = [repr(dataclasses.asdict(simulate(a_bit_of_everything(), on))) for _ in range(2)]
    assert runs[0] == runs[1]


def test_another_seed_draws_other_latencies() -> None:
    recorded = a_bit_of_everything()
    graph = order(recorded, Dependencies.THREADS)
    drawn = system(latency=LatencySpec((10_000,) * 5, distribution=LogNormal(0.5)))
    walls = {
        Reference(recorded, graph, drawn, tick_ns=TICK_NS, seed=seed).run().wall_ns
        for seed in range(4)
    }
    assert len(walls) == 4


# Known results


def test_a_share_that_caches_nothing_is_asked_everything() -> None:
    recorded = a_bit_of_everything()
    run = simulate(recorded, AS_RECORDED)
    assert run.crossings.total() == len(recorded)
    assert not run.hits
    assert run.missing_lookups == 3


def test_a_name_and_its_attributes_are_asked_for_once() -> None:
    twice = (found(b"a", 2), attributes(2), found(b"a", 2), attributes(2))
    assert crossed(twice, CACHES) == ["LOOKUP"]
    assert crossed(twice, AS_RECORDED) == ["LOOKUP", "GETATTR"] * 2


def test_a_missing_name_is_asked_for_once_where_that_is_kept() -> None:
    assert crossed([missed(b"a")] * 3, CACHES) == ["LOOKUP"]
    positive = system(type(CACHED)(LONG_NS, negative_ns=0))
    assert crossed([missed(b"a")] * 3, positive) == ["LOOKUP"] * 3


def test_what_the_guest_makes_it_knows_and_what_it_removes_is_missing() -> None:
    questions = (
        missed(b"a"),
        asked("CREATE", 1, b"a", found=2, status=A_FILE),
        found(b"a", 2),
        asked("UNLINK", 1, b"a", found=2),
        missed(b"a"),
        missed(b"a"),
    )
    assert crossed(questions, CACHES) == ["LOOKUP", "CREATE", "UNLINK", "LOOKUP"]


def test_an_exclusive_lookup_crosses_whatever_is_cached() -> None:
    made = asked("MKDIR", 1, b"a", found=2, status=A_DIRECTORY, call="mkdir")
    assert crossed((missed(b"a"), missed(b"a", call="mkdir"), made), CACHES) == [
        "LOOKUP",
        "LOOKUP",
        "MKDIR",
    ]


def test_pages_outlive_an_open_only_where_they_may() -> None:
    reads = (
        *(asked("OPEN", 2, handle=1, status=A_FILE), asked("READ", 2, size_bytes=5)),
        asked("RELEASE", 2, handle=1),
    )
    kept = ["OPEN", "READ", "OPEN"]
    assert crossed((found(b"a", 2), *reads, *reads), CACHES) == ["LOOKUP", *kept]
    fresh = system(type(CACHED)(LONG_NS, negative_ns=0, keeps_pages=False))
    assert crossed((*reads, *reads), fresh) == ["OPEN", "READ"] * 2


def test_a_read_takes_the_time_of_access_which_stat_wants_and_read_does_not() -> None:
    opened = (found(b"a", 2), asked("OPEN", 2, handle=1, status=A_FILE))
    read = asked("READ", 2, size_bytes=5)
    assert crossed((*opened, read, attributes(2, call="newfstatat")), CACHES)[-1] == "GETATTR"
    assert crossed((*opened, read, attributes(2, call="read")), CACHES)[-1] == "READ"


def test_a_listing_brings_what_is_in_it() -> None:
    questions = (
        asked("OPENDIR", 1, handle=9),
        asked("READDIRPLUS", 1, handle=9, size_bytes=50),
        asked("READDIRPLUS", 1, handle=9),
        found(b"a", 2),
        attributes(2),
    )
    listed = ["OPENDIR", "READDIRPLUS", "READDIRPLUS"]
    assert crossed(questions, CACHES) == listed
    assert crossed(questions, system(CACHED, readdirplus="never")) == [
        *("OPENDIR", "READDIR", "READDIR", "LOOKUP")
    ]


def test_complete_directories_answer_for_names_that_nobody_has_asked_for() -> None:
    recorded = recording(found(b"a", 2), *(missed(bytes([code])) for code in b"xyz"))
    run = simulate(recorded, system(COMPLETE))
    assert (run.crossings.total(), run.names, run.missing_lookups) == (2, 2, 1)


def test_extended_attributes_are_looked_at_before_each_change_of_content() -> None:
    written = (asked("WRITE", 2, size_bytes=1), asked("SETATTR", 2, call="truncate"))
    assert crossed(written, system(keeps_xattrs=True)) == [
        *("GETXATTR", "WRITE", "GETXATTR", "SETATTR")
    ]
    assert crossed(written, AS_RECORDED) == ["WRITE", "SETATTR"]


def test_a_first_getxattr_that_was_recorded_is_not_added_once_more() -> None:
    written = (
        *(asked("GETXATTR", 2, b"security.capability", error="ENOSYS"), asked("WRITE", 2)),
        asked("WRITE", 2),
    )
    assert crossed(written, system(keeps_xattrs=True)) == ["GETXATTR", "WRITE"] * 2
    assert crossed(written, AS_RECORDED) == ["GETXATTR", "WRITE", "WRITE"]


@pytest.mark.parametrize(
    ("questions", "expected"),
    [
        # Each directory that is gone through, and what is opened.
        ((found(b"d", 8, status=A_DIRECTORY), found(b"a", 2, 8), asked("OPEN", 2)), [1, 8, 2]),
        # may_o_create before the LOOKUP, and may_open after the CREATE.
        (
            (missed(b"a", call="openat"), asked("CREATE", 1, b"a", found=2, status=A_FILE)),
            [1, 1, 2],
        ),
        # Walked, and may_delete; also where it then cannot be.
        ((found(b"a", 2), asked("UNLINK", 1, b"a", found=2)), [1, 1]),
        ((found(b"a", 2, call="rmdir"),), [1, 1]),
        # Both paths, and both directories again.
        (
            (
                *(found(b"a", 2, call="rename"), missed(b"b", call="rename")),
                asked("RENAME", 1, b"a", found=1, new_name=b"b", call="rename"),
            ),
            [1, 1, 1, 1],
        ),
        ((found(b"a", 2), asked("SETATTR", 2, call="truncate")), [1, 2]),
    ],
)
def test_a_kernel_that_checks_permissions_asks_for_modes_where_namei_does(
    questions: tuple, expected: list[int]
) -> None:
    recorded = recording(*questions)
    checked: list[int] = []
    for index in range(len(recorded)):
        checked += checked_before(recorded, index, is_known=False)
        checked += checked_after(recorded, index)
    assert checked == expected
    on = system(checks_permissions=True)
    assert simulate(recorded, on).added[Operation.GETATTR] == len(expected)
    kept = simulate(recorded, system(CACHED, checks_permissions=True))
    assert kept.added[Operation.GETATTR] < len(expected)


# Time


def test_the_wall_time_is_think_times_and_latencies() -> None:
    recorded = recording(missed(b"a"), missed(b"a"), header={"command_end_ns": 1_000})
    # 10 before each question; the last answer comes at 220.
    assert simulate(recorded, AS_RECORDED).wall_ns == 2 * 10 + 780
    assert simulate(recorded, system(latency=latency(500))).wall_ns == 2 * 510 + 780
    assert simulate(recorded, system(CACHED, latency=latency(500))).wall_ns == 20 + 500 + 780


def test_threads_wait_side_by_side_and_one_object_in_turn() -> None:
    def recorded() -> Iterator[object]:
        for number in range(4):
            yield missed(b"a", thread=number + 1, arrival_ns=number, took_ns=100)

    side_by_side = recording(*recorded())  # type: ignore[arg-type]
    slow = system(latency=latency(10_000))
    assert simulate(side_by_side, slow).wall_ns == 10_003
    in_turn = recording(
        asked("CREATE", 1, b"a", found=2, status=A_FILE, thread=1, arrival_ns=0),
        found(b"a", 2, thread=2, arrival_ns=0),
        found(b"a", 2, thread=2),
    )
    assert simulate(in_turn, slow, by=Dependencies.OBJECTS).wall_ns == 20_010


def test_a_timeout_is_counted_in_virtual_time() -> None:
    """What is recorded within microseconds is further apart where each answer takes longer."""
    recorded = recording(*[missed(b"a")] * 4)
    a_tick = type(CACHED)(TICK_NS, negative_ns=TICK_NS)
    fast, slow = system(a_tick), system(a_tick, latency=latency(3 * TICK_NS))
    assert simulate(recorded, fast).crossings.total() == 1
    assert simulate(recorded, slow).crossings.total() == 1, "a hit takes no time"
    between = [missed(b"a"), *[missed(bytes([code])) for code in b"xy"]] * 2
    assert simulate(recording(*between), fast).crossings.total() == 3
    assert simulate(recording(*between), slow).crossings.total() == 6


def test_a_policy_of_ones_own_is_asked_what_a_mounted_share_would_ask_it() -> None:
    told = []

    class Listening(CachePolicy):
        def found(self, name, status, now_ns):
            told.append((name, status.st_size, status.st_mtime_ns, oct(status.st_mode)))
            return super().found(name, status, now_ns)

    simulate(recording(found(b"a", 2), attributes(2)), system(Listening()))
    of_a_file = (5, A_FILE.mtime_ns, "0o100644")
    assert told[1:] == [(b"a", *of_a_file), (b"", *of_a_file)]
    assert isinstance(AS_RECORDED.policy, Consistent)
