"""The compiled implementation says what the reference says, whatever is asked of it."""

import dataclasses
from collections.abc import Sequence

import hypothesis
import numpy as np
import pytest
from hypothesis import strategies as st
from support import broken_kernels
from support.complaints import noticed
from support.random_recordings import recordings
from support.recordings import (
    A_DIRECTORY,
    A_FILE,
    CACHED,
    LONG_NS,
    TICK_NS,
    asked,
    attributes,
    found,
    missed,
    recording,
    system,
)

from osxfs_sim.catalogue import profile_names
from osxfs_sim.lab.arms import Arm
from osxfs_sim.model import complete_directories
from osxfs_sim.model.caching import Cached, CachePolicy, Complete, Dilated, Negative
from osxfs_sim.model.latency import LatencySpec, LogNormal
from osxfs_sim.model.user_error import UserError
from osxfs_sim.model.write_back import WriteBackSpec
from osxfs_sim.predicted_systems import system_of
from osxfs_sim.simulate import reference as reference_module
from osxfs_sim.simulate.columns import columns_of
from osxfs_sim.simulate.dependencies import NOTHING, Dependencies, order
from osxfs_sim.simulate.fast import Fast, is_by_kind
from osxfs_sim.simulate.graph import Graph, graph_of
from osxfs_sim.simulate.prediction import predict_systems
from osxfs_sim.simulate.recording import UNKNOWN, Question, Recording, read_recording
from osxfs_sim.simulate.reference import Reference, Simulated
from osxfs_sim.simulate.running import FAST, REFERENCE, WORTH_COMPILING, Runs, scaled
from osxfs_sim.simulate.share import System
from osxfs_sim.trace import format as trace_format

pytestmark = pytest.mark.takes_seconds  # where nothing of it was compiled before

LATENCY = LatencySpec((130_000, 200_000, 225_000, 150_000, 1_000_000))
TIMEOUTS_NS = (0, 1, TICK_NS, 3 * TICK_NS, LONG_NS)
"""None, less than a tick, one, some, and longer than any recording."""


def _policies() -> list[CachePolicy]:
    policies: list[CachePolicy] = [CachePolicy()]
    for timeout_ns in TIMEOUTS_NS:
        policies += [
            Negative(timeout_ns, negative_ns=LONG_NS),
            Cached(timeout_ns, keeps_pages=False),
            Complete(timeout_ns, negative_ns=0),
            Dilated(Negative(LONG_NS, negative_ns=timeout_ns), 0.3),
        ]
    return policies


systems = st.builds(
    lambda policy, **others: system(policy, **others),
    policy=st.sampled_from(_policies()),
    latency=st.builds(
        LatencySpec,
        st.sampled_from([(0,) * 5, LATENCY.base_ns, (TICK_NS,) * 5]),
        st.sampled_from([None, 250_000_000, 7]),
        served_at_once=st.sampled_from([None, None, 1, 2, 5]),
    ),
    readdirplus=st.sampled_from(["never", "always", "adaptive"]),
    keeps_xattrs=st.booleans(),
    checks_permissions=st.booleans(),
)


def by_reference(
    recorded: Recording, on: System, by: Dependencies, think_scale: float = 1.0
) -> Simulated:
    graph = scaled(order(recorded, by), think_scale)
    return Reference(recorded, graph, on, tick_ns=TICK_NS, seed=1).run()


def by_fast(
    recorded: Recording, on: System, by: Dependencies, think_scale: float = 1.0
) -> Simulated:
    fast = Fast(recorded)
    assert fast.covers(on)
    graph = graph_of(recorded, fast.recorded, by).scaled(think_scale)
    return fast.run(graph, on, tick_ns=TICK_NS)


def check_equal(
    recorded: Recording,
    on: System,
    by: Dependencies = Dependencies.OBJECTS,
    think_scale: float = 1.0,
) -> None:
    """Each field of what comes out: the wall time, crossings, hits, names, and what is added."""
    expected = dataclasses.asdict(by_reference(recorded, on, by, think_scale))
    assert dataclasses.asdict(by_fast(recorded, on, by, think_scale)) == expected


@hypothesis.settings(max_examples=600)
@hypothesis.given(
    recordings(40), systems, st.sampled_from(list(Dependencies)), st.sampled_from([1.0, 0.37])
)
def test_both_say_the_same_of_anything(
    recorded: Recording, on: System, by: Dependencies, think_scale: float
) -> None:
    check_equal(recorded, on, by, think_scale)


@hypothesis.settings(max_examples=30)
@hypothesis.given(recordings(400), systems)
def test_both_say_the_same_of_what_is_long(recorded: Recording, on: System) -> None:
    check_equal(recorded, on)


def _of_the_catalogue() -> dict[str, System]:
    known = {}
    for name in profile_names():
        try:
            known[name] = system_of(Arm(name, name))
        except UserError:
            continue  # which is not predicted at all
    return known


CATALOGUE = _of_the_catalogue()


@pytest.mark.parametrize("name", CATALOGUE)
@hypothesis.settings(max_examples=20)
@hypothesis.given(recorded=recordings(60))
def test_both_say_the_same_of_every_profile(recorded: Recording, name: str) -> None:
    on = CATALOGUE[name]
    assert Fast(recorded).covers(on) == (on.write_back is None)
    if on.write_back is None:
        check_equal(recorded, on)


def edges(graph: Graph, *, causal: bool) -> list[set[int]]:
    """Of each question those that it waits for, as an Order has them."""
    before: list[set[int]] = [set() for _ in graph.waits]
    for index in range(len(graph.waits)):
        for edge in range(graph.starts[index], graph.starts[index + 1]):
            if bool(graph.thinks[edge]) == causal:
                before[graph.followers[edge]].add(index)
    return before


@hypothesis.given(recordings(60), st.sampled_from(list(Dependencies)))
def test_both_say_that_the_same_is_waited_for(recorded: Recording, by: Dependencies) -> None:
    expected, graph = order(recorded, by), graph_of(recorded, columns_of(recorded), by)
    followed = [
        {*causes, *(() if previous == NOTHING else (previous,))}
        for previous, causes in zip(expected.previous, expected.causes, strict=True)
    ]
    assert edges(graph, causal=True) == followed
    others = [
        each - before for each, before in zip(edges(graph, causal=False), followed, strict=True)
    ]
    assert others == [set(each) for each in expected.after]
    assert graph.think_ns.tolist() == expected.think_ns
    assert graph.tail_ns == expected.tail_ns


# What is told of a file is what is told of its questions


def _saved(recorded: Recording, path) -> Recording:
    """*recorded*, written to a file and read again."""
    rows = [
        {
            **{name: getattr(each, name) for name in _AS_THEY_ARE},
            "operation": each.operation.name,
            "process": each.thread,
            "name": each.name.decode("utf-8", "surrogateescape") or None,
            "new_name": each.new_name.decode() or None,
            "error": each.error or None,
            "call": each.call or None,
            "mode": each.status.mode,
            "object_bytes": each.status.size_bytes,
            "mtime_ns": each.status.mtime_ns,
            "links": each.status.links,
        }
        for each in recorded.questions
    ]
    writer = trace_format.TraceWriter(path)
    writer.write(trace_format.columns_of(iter(rows)))
    writer.close(dataclasses.replace(recorded.header, source="strace"))
    return read_recording(path)


_AS_THEY_ARE = (
    *("inode", "found", "offset_bytes", "size_bytes", "flags", "handle", "arrival_ns", "took_ns"),
)


def test_no_question_is_made_of_what_is_read_from_a_file(tmp_path) -> None:
    recorded = everything()
    read = _saved(recorded, tmp_path / "r.parquet")
    assert predict_systems(
        read, [system(CACHED)], tick_ns=TICK_NS, implementation=FAST
    ) == predict_systems(recorded, [system(CACHED)], tick_ns=TICK_NS, implementation=FAST)
    assert "questions" not in vars(read)
    assert len(read) == len(recorded)
    assert read.questions == recorded.questions
    of_file, of_questions = columns_of(read), columns_of(recorded)
    for name, column in of_file.columns._asdict().items():
        if name != "call_word":
            assert np.array_equal(column, getattr(of_questions.columns, name)), name
    assert of_file[1:] == of_questions[1:]


# A rule that is broken in one of them is noticed


def everything() -> Recording:
    """Each rule of the kernel's caches makes a difference to what is asked of this."""
    return recording(*_everything())


def _everything() -> Sequence[Question]:
    later = {"status": A_FILE._replace(mtime_ns=A_FILE.mtime_ns + 1)}
    reads = (
        *(asked("OPEN", 3, status=A_FILE, handle=1), asked("READ", 3, size_bytes=5, handle=1)),
        *(attributes(3, call="read"), attributes(3, call="newfstatat")),
        asked("RELEASE", 3, handle=1),
    )
    only_read = (asked("READ", 3, offset_bytes=5_000, size_bytes=1), attributes(3, call="read"))
    return (
        *(found(b"d", 2, status=A_DIRECTORY), attributes(2, status=A_DIRECTORY)),
        *(missed(b"x", 2), missed(b"x", 2), missed(b"y", 2), found(b"a", 3, 2), attributes(3)),
        *(*reads, *only_read, *reads, attributes(3, **later), *reads),
        *(asked("OPENDIR", 2, handle=2), asked("READDIRPLUS", 2, handle=2, size_bytes=90)),
        *(asked("READDIRPLUS", 2, handle=2), attributes(2, status=A_DIRECTORY)),
        *(found(b"a", 3, 2), asked("CREATE", 2, b"n", found=4, status=A_FILE, handle=3)),
        *(found(b"a", 3, 2), attributes(2, status=A_DIRECTORY), attributes(4)),
        *(asked("WRITE", 4, size_bytes=5, handle=3), attributes(4), attributes(4)),
        *(asked("LINK", 2, b"l", found=4, status=A_FILE), found(b"l", 4, 2)),
        *(asked("UNLINK", 2, b"l", found=4), attributes(4), missed(b"l", 2), missed(b"l", 2)),
        *(asked("RENAME", 2, b"n", found=1, new_name=b"m"), found(b"m", 4), missed(b"n", 2)),
        *(attributes(4), attributes(3), found(b"d", 2, status=A_DIRECTORY), missed(b"x", 2)),
    )


SLOW = LatencySpec((TICK_NS // 3,) * 5)
UNDER = [
    system(policy, latency=SLOW, checks_permissions=checks)
    for policy in _policies()
    for checks in (False, True)
]
BROKEN = [
    *(broken_kernels.ExpiresATickTooEarly, broken_kernels.RoundsTimeoutsDown),
    *(broken_kernels.KeepsForNoTime, broken_kernels.RenewsByHits),
    *(broken_kernels.ForgetsAttributesOfEntries, broken_kernels.KeepsEveryMissingName),
    *(broken_kernels.NeverAsksForAttributes, broken_kernels.IgnoresInvalidation),
    broken_kernels.DropsEntriesOfChangedDirectories,
    broken_kernels.KeepsAttributesOfChangedDirectories,
    *(broken_kernels.ReadsWithoutATime, broken_kernels.ReadsForgetAll),
    *(broken_kernels.ForgetsNoLinks, broken_kernels.LeavesTheOldName),
    *(broken_kernels.KeepsPagesWhateverIsToldOfThem, broken_kernels.KeepsPagesOverOpens),
]


def check_all() -> None:
    for on in UNDER:
        check_equal(everything(), on)


def test_both_say_the_same_of_everything() -> None:
    check_all()


@pytest.mark.parametrize("broken", BROKEN, ids=lambda each: each.__name__)
def test_a_rule_that_one_of_them_breaks_is_noticed(broken, monkeypatch) -> None:
    monkeypatch.setattr(reference_module, "GuestKernel", broken)
    with noticed():
        check_all()


@pytest.mark.parametrize(
    "forgotten",
    [
        *("_is_of_a_read", "_released", "_check_permissions", "_asks_for_capabilities"),
    ],
)
def test_what_one_of_them_leaves_out_is_noticed(forgotten: str, monkeypatch) -> None:
    """Not of the kernel's caches, but of what is asked of them."""
    instead = {"_check_permissions": lambda *given: given[-1]}.get(forgotten, lambda *_: False)
    monkeypatch.setattr(Reference, forgotten, instead)
    opened = asked("OPEN", 3, status=A_FILE, handle=1)
    read = (opened, asked("READ", 3, size_bytes=5, status=UNKNOWN), attributes(3))
    again = (found(b"a", 3), *read, asked("RELEASE", 3))
    with noticed():
        check_all()
        check_equal(recording(*again), system(CACHED))
        check_equal(recording(*again, attributes(3)), system(CACHED))
        check_equal(recording(asked("WRITE", 3, size_bytes=5)), system(keeps_xattrs=True))


@pytest.mark.parametrize("forgotten", ["known_absent", "learn_names", "listed", "added"])
def test_complete_directories_that_forget_something_are_noticed(forgotten, monkeypatch) -> None:
    share = reference_module.Share
    monkeypatch.setattr(share, forgotten, lambda *_: 0)
    complete = system(Complete(LONG_NS, negative_ns=0), latency=LatencySpec((0,) * 5, 1_000))
    listed = (
        *(asked("READDIRPLUS", 2, size_bytes=9), missed(b"a", 2)),
        *(asked("CREATE", 2, b"a", found=3, status=A_FILE), asked("UNLINK", 2, b"a", found=3)),
        missed(b"a", 2),
    )
    with noticed():
        check_equal(everything(), complete)
        check_equal(recording(*listed), complete)


# What is not covered, and who decides


class OfAge(CachePolicy):
    """A user's own."""


@pytest.mark.parametrize(
    "on",
    [
        system(OfAge()),
        system(Dilated(OfAge(), 2.0)),
        system(type("Mine", (Negative,), {})(LONG_NS)),
        system(latency=LatencySpec((9,) * 5, distribution=LogNormal(0.5))),
        system(write_back=WriteBackSpec(10**9)),
        system(latency=LatencySpec((1 << 40,) * 5)),
    ],
    ids=["own", "dilated", "derived", "drawn", "write-back", "very slow"],
)
def test_what_it_does_not_cover_is_left_to_the_reference(on: System) -> None:
    recorded = everything()
    assert not Fast(recorded).covers(on)
    both = [
        predict_systems(recorded, [on, system(CACHED)], tick_ns=TICK_NS, implementation=each)
        for each in (FAST, REFERENCE)
    ]
    assert [arm.implementation for arm in both[0].arms] == [REFERENCE, FAST]
    assert [arm.implementation for arm in both[1].arms] == [REFERENCE, REFERENCE]
    named = dataclasses.replace(both[0].arms[1], implementation=REFERENCE)
    assert (both[0].arms[0], named) == both[1].arms


def test_more_names_than_complete_directories_keep_are_left_to_the_reference(monkeypatch) -> None:
    recorded = recording(*(missed(b"%d" % number) for number in range(9)))
    complete = system(Complete(LONG_NS))
    assert Fast(recorded).covers(complete)
    for limit in ("MOST_NAMES", "LARGEST_DIRECTORY"):
        with monkeypatch.context() as patch:
            patch.setattr(complete_directories, limit, 8)
            assert not Fast(recorded).covers(complete)
            assert Fast(recorded).covers(system(CACHED))


def test_pages_beyond_number_are_left_to_the_reference() -> None:
    assert not Fast(recording(asked("READ", 2, offset_bytes=1 << 50))).covers(system())


def test_every_policy_of_ours_is_covered() -> None:
    assert all(is_by_kind(each) for each in _policies())
    assert all(is_by_kind(on.policy) for on in CATALOGUE.values())


def test_a_small_recording_is_left_to_the_reference_and_a_large_one_is_not() -> None:
    recorded = recording(*[missed(b"a")] * 10)
    for expected, implementation in (
        (WORTH_COMPILING // 10 - 1, REFERENCE),
        (WORTH_COMPILING // 10, FAST),
    ):
        runs = Runs(recorded, Dependencies.OBJECTS, tick_ns=TICK_NS, expected=expected)
        assert runs.implementation(system()) == implementation


def test_without_numba_there_is_the_reference(monkeypatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "osxfs_sim.simulate.fast", None)
    recorded = recording(missed(b"a"), asked("GETATTR", 1, status=UNKNOWN))
    made = predict_systems(recorded, [system()], tick_ns=TICK_NS, implementation=FAST)
    assert made.arms[0].implementation == REFERENCE
