"""Histories recorded on a plain directory and on shares, judged by what each promises."""

from pathlib import Path
from random import Random

import pytest

from osxfs_sim.coherence.actors.operations import ActorOperation
from osxfs_sim.coherence.histories.generate import ProgrammeSize, generate
from osxfs_sim.coherence.histories.history import HOST, Grain, History
from osxfs_sim.coherence.histories.linearize import CheckResult, Limits
from osxfs_sim.coherence.histories.modes import Bounds
from osxfs_sim.coherence.histories.record import record
from osxfs_sim.coherence.histories.shrink import shrink_by_replay
from osxfs_sim.coherence.histories.stage import Places
from osxfs_sim.coherence.histories.verdicts import HistoryVerdict, Rules, check
from osxfs_sim.model.consistency import Mode

S = 10**9
DAY_NS = 86_400 * S
LIMITS = Limits(50_000)

# Enough on few names that whatever a mode allows to go wrong does.
PLAN = ProgrammeSize(operations=40, guests=2, objects=2)


def judged(
    history: History, mode: Mode, bounds: Bounds | None = None, limits: Limits = LIMITS
) -> HistoryVerdict:
    return check(history, Rules(mode, bounds or Bounds(), limits))


def recorded(
    places: Places, seeds: range, plan: ProgrammeSize = PLAN, flush: object = None
) -> list[History]:
    return [
        record(generate(plan, Random(seed)), *places.sides(), flush)  # type: ignore[arg-type]
        for seed in seeds
    ]


def answers(
    histories: list[History],
    mode: Mode,
    bounds: Bounds | None = None,
    limits: Limits = LIMITS,
) -> dict[CheckResult, int]:
    verdicts = [judged(history, mode, bounds, limits) for history in histories]
    return {answer: sum(each.answer is answer for each in verdicts) for answer in CheckResult}


def all_are(answer: CheckResult, number: int) -> dict[CheckResult, int]:
    return {each: number if each is answer else 0 for each in CheckResult}


def test_a_programme_follows_from_its_seed_and_its_size() -> None:
    again = [generate(PLAN, Random(5)) for _ in range(2)]
    assert again[0] == again[1] != generate(PLAN, Random(6))
    assert set(again[0].batches) == {HOST, "guest-1", "guest-2"}
    # A mapping is not ended half way.
    assert all(40 <= len(batch) < 44 for batch in again[0].batches.values())


def test_every_act_is_in_some_programme() -> None:
    acts = {
        operation.act
        for seed in range(10)
        for batch in generate(PLAN, Random(seed)).batches.values()
        for operation in batch
    }
    assert acts == {
        *("create", "write", "append", "overwrite", "truncate", "rename", "unlink", "link"),
        *("mkdir", "rmdir", "chmod", "stat", "read", "list", "fsync", "map", "mread", "unmap"),
    }


def test_apart_only_whose_object_it_is_changes_it() -> None:
    reads = {"stat", "read", "list", "fsync", "map", "mread", "unmap"}
    programme = generate(ProgrammeSize(200, 2, 4, apart=True), Random(1))

    def changed_by(actor: str) -> set[str]:
        return {each.path[0] for each in programme.batches[actor] if each.act not in reads}

    assert changed_by(HOST) == {"b", "c"}
    assert changed_by("guest-1") | changed_by("guest-2") == {"a", "c", "d"}


@pytest.mark.starts_processes
def test_a_plain_directory_is_linearizable(field: Path) -> None:
    """The check of the check: where one kernel does it all, there is nothing to find."""
    with Places(field, field) as places:
        histories = recorded(places, range(4))
    assert {history.grain for history in histories} == {Grain.DIRECTORY}
    for mode in Mode:
        assert answers(histories, mode) == all_are(CheckResult.OK, 4)


@pytest.mark.slow
def test_a_plain_directory_is_linearizable_many_times(field: Path) -> None:
    with Places(field, field) as places:
        histories = recorded(places, range(100, 300), ProgrammeSize(60, 3, 2))
    assert answers(histories, Mode.CONSISTENT) == all_are(CheckResult.OK, 200)


@pytest.mark.starts_processes
def test_a_directory_that_is_not_the_same_is_found_out(field: Path) -> None:
    """Two directories as two sides: nobody sees what the other does."""
    for side in ("host", "guest"):
        (field / side).mkdir()
    (field / "guest" / "a").write_text("=" * 16)
    programme = generate(ProgrammeSize(operations=20, objects=1), Random(1))
    history = record(programme, field / "host", field / "guest")
    for mode in (Mode.CONSISTENT, Mode.CACHED):
        assert judged(history, mode).answer is CheckResult.VIOLATION


def test_osxfs_is_consistent(share) -> None:
    live = share(profile="osxfs", latency_ns=0)
    with Places(live.source, live.guest) as places:
        histories = recorded(places, range(2))
    assert answers(histories, Mode.CONSISTENT) == all_are(CheckResult.OK, 2)


def test_long_lifetimes_are_cached_and_not_consistent(share) -> None:
    live = share(profile="osxfs-cached", latency_ns=0, host_events="none")
    with Places(live.source, live.guest) as places:
        # With answers that may be a day old, some searches are too long for a test: unknown. How
        # many depends on how busy the machine was meanwhile.
        histories: list[History] = []
        said = dict.fromkeys(CheckResult, 0)
        for first in range(0, 16, 4):
            more = recorded(places, range(first, first + 4))
            histories += more
            found = answers(more, Mode.CACHED, Bounds(2 * DAY_NS), Limits(3_000))
            said = {each: number + found[each] for each, number in said.items()}
            if said[CheckResult.OK] >= 2:
                break
        assert not said[CheckResult.VIOLATION]
        assert said[CheckResult.OK] >= 2
        wrong = [
            (history, verdict)
            for history in histories
            if (verdict := judged(history, Mode.CONSISTENT)).answer is CheckResult.VIOLATION
        ]
        assert wrong


def ended(live, bounds: Bounds) -> list[CheckResult]:
    """Short programmes, after which the last looks wait for longer than the bound."""
    plan = ProgrammeSize(operations=4, guests=1, objects=1)
    with Places(live.source, live.guest) as places:
        return [
            judged(
                record(
                    *(generate(plan, Random(seed)), *places.sides()),
                    settle_ns=bounds.stale_ns + S // 10,
                ),
                *(Mode.CACHED, bounds),
            ).answer
            for seed in range(8)
        ]


def test_who_is_never_told_of_a_change_is_found_out_at_the_end(share) -> None:
    """The bound says that events invalidate what is cached, and there are none."""
    deaf = share(profile="osxfs-cached", latency_ns=0, host_events="none")
    assert CheckResult.VIOLATION in ended(deaf, Bounds(S // 10))


def test_who_is_told_of_changes_keeps_to_the_bound_at_the_end(share) -> None:
    told = share(profile="osxfs-cached", latency_ns=0)
    assert set(ended(told, Bounds(S // 4))) == {CheckResult.OK}


@pytest.mark.starts_processes
def test_at_the_end_the_host_changes_what_a_guest_has_seen(field: Path) -> None:
    programme = generate(ProgrammeSize(operations=3, guests=1, objects=2), Random(1))
    assert programme.last
    with Places(field, field) as places:
        told = record(programme, *places.sides()).operations
    count = len(programme.last)
    begin = next(
        number
        for number in range(len(told))
        if [each.operation for each in told[number : number + count]] == list(programme.last)
    )
    assert {each.actor for each in told[begin : begin + count]} == {HOST}
    names = set(programme.names)
    before = {each.operation.path for each in told[:begin] if each.actor == "guest-1"}
    after = {each.operation.path for each in told[begin + count :] if each.actor == "guest-1"}
    assert names <= before
    assert names <= after


def test_at_the_end_the_host_changes_only_what_is_its_own() -> None:
    """As delegated, an object that both sides change is judged by less."""
    for seed in range(20):
        programme = generate(ProgrammeSize(5, 2, 4, apart=True), Random(seed))
        assert {each.path[0] for each in programme.last} == {"b", "c"}


STALE = (
    (HOST, ActorOperation("create", "a", data="old")),
    ("guest-1", ActorOperation("stat", "b")),
    ("guest-1", ActorOperation("read", "a")),
    (HOST, ActorOperation("mkdir", "d")),
    (HOST, ActorOperation("write", "a", data="new one")),
    ("guest-2", ActorOperation("stat", "d")),
    ("guest-2", ActorOperation("read", "a")),
    (HOST, ActorOperation("read", "a")),
)


def test_a_violation_is_played_again_on_the_share_in_four_steps(share) -> None:
    live = share(profile="osxfs-cached", latency_ns=0, host_events="none")

    def violates(history: History) -> bool:
        return judged(history, Mode.CONSISTENT).answer is CheckResult.VIOLATION

    with Places(live.source, live.guest) as places:
        seen = places.play(STALE)
        names = judged(seen, Mode.CONSISTENT).violations[0].names
        shortest = shrink_by_replay(seen, names, places.play, violates)
    assert names == ("a",)
    assert shortest is not None
    assert [(each.actor, each.operation) for each in shortest.operations] == [
        STALE[0],
        STALE[2],
        STALE[4],
        STALE[6],
    ]


def test_what_is_older_than_the_bound_is_no_cached_answer(share) -> None:
    """Every guest answer is of before; with a bound of nothing that is a violation."""
    live = share(profile="osxfs-cached", latency_ns=0, host_events="none")
    with Places(live.source, live.guest) as places:
        seen = places.play(STALE)
    assert judged(seen, Mode.CACHED, Bounds(DAY_NS)).answer is CheckResult.OK
    assert judged(seen, Mode.CACHED, Bounds(0)).answer is CheckResult.VIOLATION


def test_delegated_is_delegated_and_not_consistent(share) -> None:
    live = share(profile="osxfs-delegated", latency_ns=0)
    plan = ProgrammeSize(operations=40, guests=2, objects=4, apart=True)
    with Places(live.source, live.guest, live.share.flush) as places:
        histories = recorded(places, range(2), plan, live.share.flush)
    allowed = Bounds(60 * S, 60 * S)
    assert answers(histories, Mode.DELEGATED, allowed) == all_are(CheckResult.OK, 2)
    assert answers(histories, Mode.CONSISTENT)[CheckResult.VIOLATION]
    for history in histories:
        verdict = judged(history, Mode.DELEGATED, allowed)
        assert verdict.unjudged < len(history.operations) // 2
