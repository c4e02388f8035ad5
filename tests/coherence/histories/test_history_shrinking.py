"""Violations made smaller: purely, and by playing shorter schedules on something that is wrong."""

import os
from collections.abc import Sequence
from itertools import count
from pathlib import Path
from random import Random

from osxfs_sim.coherence.actors.operations import ActorOperation, OperationResult, Performer
from osxfs_sim.coherence.actors.processes import OperationInterval
from osxfs_sim.coherence.histories.generate import ProgrammeSize, generate
from osxfs_sim.coherence.histories.history import HOST, Grain, History, is_guest
from osxfs_sim.coherence.histories.linearize import CheckResult, Limits
from osxfs_sim.coherence.histories.schedules import ScheduleStep, schedule_of
from osxfs_sim.coherence.histories.shrink import minimize, shrink_by_replay, shrink_recorded
from osxfs_sim.coherence.histories.verdicts import Rules, check
from osxfs_sim.model.consistency import Mode

RULES = Rules(Mode.CONSISTENT, limits=Limits(100_000))


def violates(history: History) -> bool:
    return check(history, RULES).answer is CheckResult.VIOLATION


def test_what_is_needed_stays_and_nothing_else() -> None:
    tried = []

    def fails(items: Sequence[int]) -> bool:
        tried.append(tuple(items))
        return {3, 7, 11} <= set(items)

    assert minimize(range(20), fails) == [3, 7, 11]
    assert len(tried) < 100
    assert minimize([5], bool) == [5]


class Forgetful:
    """A share whose guests never learn that a name they found missing was made since (V7)."""

    def __init__(self, ground: Path) -> None:
        self._places = (ground / str(number) for number in count())
        self.played = 0

    def play(self, schedule: Sequence[ScheduleStep]) -> History:
        self.played += 1
        place = next(self._places)
        place.mkdir()
        performer = Performer(str(place))
        missing: set[str] = set()
        interval = []
        for number, (actor, operation) in enumerate(schedule):
            if is_guest(actor) and operation.act == "stat" and operation.path in missing:
                outcome = OperationResult(error="ENOENT")
            else:
                outcome = performer.perform(operation)
                if is_guest(actor) and operation.act == "stat" and outcome.error == "ENOENT":
                    missing.add(operation.path)
            interval.append(
                OperationInterval(actor, operation, 10 * number, 10 * number + 5, outcome)
            )
        performer.close()
        return History.of(interval, grain=Grain.SHARE, umask=umask())


def umask() -> int:
    mask = os.umask(0o022)
    os.umask(mask)
    return mask


def interleaved(seed: int) -> list[ScheduleStep]:
    """A random programme, one step after the other."""
    programme = generate(ProgrammeSize(operations=25, objects=1), Random(seed))
    random, left = Random(seed), {actor: list(batch) for actor, batch in programme.batches.items()}
    made = [
        (HOST, ActorOperation("create", path, data=text))
        for path, text in programme.initial.items()
    ]
    while any(left.values()):
        actor = random.choice([each for each, batch in left.items() if batch])
        made.append((actor, left[actor].pop(0)))
    return made


def test_a_seeded_bug_is_played_again_in_three_steps(tmp_path: Path) -> None:
    bug = [
        ("guest-1", ActorOperation("stat", "a")),
        (HOST, ActorOperation("create", "a", data="1")),
        ("guest-2", ActorOperation("stat", "a")),
    ]
    noise = [
        (HOST, ActorOperation("mkdir", "d")),
        ("guest-2", ActorOperation("create", "d/x", data="2")),
        ("guest-1", ActorOperation("list")),
        ("guest-1", ActorOperation("read", "a")),
    ]
    share = Forgetful(tmp_path)
    seen = share.play([*noise, bug[0], *noise, bug[1], *noise, bug[2], *noise])
    shortest = shrink_by_replay(seen, ["a"], share.play, violates)
    assert shortest is not None
    assert schedule_of(shortest) == bug
    assert share.played < 40


def test_in_random_programmes_it_comes_down_to_a_handful(tmp_path: Path) -> None:
    share = Forgetful(tmp_path)
    lengths = []
    for seed in range(8):
        seen = share.play(interleaved(seed))
        verdict = check(seen, RULES)
        if verdict.answer is not CheckResult.VIOLATION:
            continue
        shortest = shrink_by_replay(seen, verdict.violations[0].names, share.play, violates)
        assert shortest is not None
        assert violates(shortest)
        reads = [each.operation for each in shortest.operations if each.operation.act == "stat"]
        assert len(reads) == 2
        assert reads[0].path == reads[1].path
        lengths.append(len(shortest.operations))
    assert len(lengths) >= 2, "no programme met the bug: the others prove nothing"
    # Beside the two looks: what made the name, and made it go before.
    assert max(lengths) <= 6


def test_what_does_not_show_when_played_again_is_left_as_it_was_seen(tmp_path: Path) -> None:
    history = History.of(
        [
            OperationInterval(
                HOST, ActorOperation("create", "a", data="1"), 0, 1, OperationResult()
            ),
            OperationInterval("guest-1", ActorOperation("read", "a"), 2, 3, OperationResult("2")),
        ]
    )
    assert violates(history)
    assert shrink_by_replay(history, ["a"], Places(tmp_path).play, violates) is None


class Places(Forgetful):
    """And one that forgets nothing."""

    def play(self, schedule: Sequence[ScheduleStep]) -> History:
        honest = [(HOST, operation) for _, operation in schedule]
        return super().play(honest)


def test_looks_other_objects_and_what_came_after_are_left_out_purely() -> None:
    def does(
        begin: int, actor: str, operation: ActorOperation, told: object = None
    ) -> OperationInterval:
        return OperationInterval(actor, operation, begin, begin + 1, OperationResult(told))

    wanted = [
        does(20, HOST, ActorOperation("write", "a", data="new")),
        does(50, "guest-1", ActorOperation("read", "a"), "old"),
    ]
    noise = [
        does(0, "guest-1", ActorOperation("read", "a"), "old"),
        does(10, "guest-2", ActorOperation("write", "b", data="b")),
        does(30, "guest-2", ActorOperation("read", "a"), "new"),
        does(40, HOST, ActorOperation("list"), ["a", "b"]),
        does(60, HOST, ActorOperation("write", "a", data="newer")),
        does(70, "guest-2", ActorOperation("read", "b"), "b"),
    ]
    history = History.of([*wanted, *noise], initial={"a": "old"})
    smallest = shrink_recorded(history, ["a"], violates)
    assert list(smallest.operations) == wanted
    assert smallest.initial == {"a": "old"}
    assert violates(smallest)
