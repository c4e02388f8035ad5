"""The search for an order: what it finds, what it gives up, and that it rejects what is changed."""

from dataclasses import replace
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from osxfs_sim.coherence.actors.operations import ActorOperation, OperationResult, Performer
from osxfs_sim.coherence.actors.processes import OperationInterval
from osxfs_sim.coherence.histories.generate import ProgrammeSize, generate
from osxfs_sim.coherence.histories.history import HOST, Grain, History
from osxfs_sim.coherence.histories.linearize import Candidate, CheckResult, Limits, search
from osxfs_sim.coherence.histories.model import DONE, MUTATORS, START, AnswerSource, State, steps
from osxfs_sim.coherence.histories.modes import Bounds
from osxfs_sim.coherence.histories.objects import partition_by_object
from osxfs_sim.coherence.histories.verdicts import Rules, check
from osxfs_sim.model.consistency import Mode

STEPS = 200_000
S = 10**9


def does(
    actor: str, begin: int, end: int, operation: ActorOperation, **told: object
) -> OperationInterval:
    return OperationInterval(actor, operation, begin, end, OperationResult(**told))


def rules(mode: Mode, stale_ns: int = S, lag_ns: int = S, limit: int = STEPS) -> Rules:
    return Rules(mode, Bounds(stale_ns, lag_ns), Limits(limit))


def one_after_the_other(root: str, seed: int, actors: tuple[str, ...]) -> History:
    """What a real directory says to a random programme when nothing overlaps."""
    programme = generate(
        ProgrammeSize(operations=8, guests=len(actors) - 1, objects=2), Random(seed)
    )
    for path, content in programme.initial.items():
        with open(f"{root}/{path}", "w") as file:
            file.write(content)
    random = Random(seed)
    left = {actor: list(batch) for actor, batch in programme.batches.items()}
    performers = {actor: Performer(root) for actor in left}
    interval: list[OperationInterval] = []
    while any(left.values()):
        actor = random.choice([each for each, batch in left.items() if batch])
        operation = left[actor].pop(0)
        outcome = performers[actor].perform(operation)
        interval.append(
            OperationInterval(actor, operation, 10 * len(interval), 10 * len(interval) + 5, outcome)
        )
    for performer in performers.values():
        performer.close()
    return History.of(interval, initial=programme.initial)


ACTORS = (HOST, "guest-1", "guest-2")


@pytest.mark.parametrize("mode", list(Mode))
@settings(max_examples=10, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_what_a_real_directory_says_in_sequence_is_accepted_by_all(
    tmp_path_factory: pytest.TempPathFactory, mode: Mode, seed: int
) -> None:
    history = one_after_the_other(str(tmp_path_factory.mktemp("root")), seed, ACTORS)
    for grain in Grain:
        verdict = check(replace(history, grain=grain), rules(mode))
        assert verdict.answer is CheckResult.OK, verdict.violations


def altered(interval: OperationInterval) -> OperationInterval | None:
    """The same with an answer that it cannot have been given; None where there is none to alter."""
    value, error = interval.outcome.value, interval.outcome.error
    match interval.operation.act:
        case "read" | "mread" if value is not None:
            told = OperationResult(f"{value}never")
        case "stat" if value is not None and value["type"] == "file":
            told = OperationResult(value | {"links": value["links"] + 5})
        case act if act in MUTATORS and error is None:
            told = OperationResult(error="ENOTTY")
        case _:
            return None
    return replace(interval, outcome=told)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), data=st.data())
def test_an_altered_answer_is_rejected_by_all_that_judge_it(
    tmp_path_factory: pytest.TempPathFactory, seed: int, data: st.DataObject
) -> None:
    history = one_after_the_other(str(tmp_path_factory.mktemp("root")), seed, ACTORS)
    choices = [each for each in history.operations if altered(each) is not None]
    if not choices:
        return
    chosen = data.draw(st.sampled_from(choices))
    changed = altered(chosen)
    assert changed is not None
    wrong = history.only([changed if each is chosen else each for each in history.operations])
    for mode in (Mode.CONSISTENT, Mode.CACHED):
        assert check(wrong, rules(mode)).answer is CheckResult.VIOLATION


def test_a_search_that_is_given_up_is_unknown_and_no_violation() -> None:
    history = History.of(
        [
            *(
                does(f"guest-{number}", 0, 100, ActorOperation("append", "a", data=str(number)))
                for number in range(5)
            ),
            does(HOST, 200, 201, ActorOperation("read", "a"), value="none of these"),
        ],
        initial={"a": ""},
    )
    assert check(history, rules(Mode.CONSISTENT, limit=50)).answer is CheckResult.UNKNOWN
    found = check(history, rules(Mode.CONSISTENT))
    assert found.answer is CheckResult.VIOLATION
    assert len(found.partitions[0].linearized) == 5
    assert [each.actor for each in found.partitions[0].counterexample] == [HOST]
    timely = Rules(Mode.CONSISTENT, limits=Limits(within_ns=0))
    assert check(history, timely).answer is CheckResult.UNKNOWN


def test_one_violation_outweighs_what_is_unknown() -> None:
    appends = [
        does(f"guest-{number}", 0, 100, ActorOperation("append", "a", data=str(number)))
        for number in range(5)
    ]
    wrong = does("guest-8", 0, 1, ActorOperation("read", "b"), value="nothing")
    unknown = does(HOST, 200, 201, ActorOperation("read", "a"), value="none of these")
    history = History.of([*appends, wrong, unknown], initial={"a": "", "b": ""})
    verdict = check(history, rules(Mode.CONSISTENT, limit=50))
    assert {partition.names: partition.answer for partition in verdict.partitions} == {
        ("a",): CheckResult.UNKNOWN,
        ("b",): CheckResult.VIOLATION,
    }
    assert verdict.answer is CheckResult.VIOLATION


def test_a_configuration_is_searched_once() -> None:
    """Six changes of two steps each: millions of orders, and at most 4 ** 6 configurations."""
    candidates = [
        Candidate.exactly(
            does(f"guest-{number}", 0, 100, ActorOperation("chmod", "a", mode=0o600)),
            Grain.DIRECTORY,
        )
        for number in range(6)
    ]
    wrong = does(HOST, 200, 201, ActorOperation("read", "a"), value="no")
    candidates.append(Candidate.exactly(wrong, Grain.DIRECTORY))
    found = search(candidates, State.of({"a": ""}, 0o022), 0o022)
    assert found.answer is CheckResult.VIOLATION
    assert found.steps < 4**6


def test_objects_are_what_rename_link_and_changed_directories_connect() -> None:
    history = History.of(
        [
            does(HOST, 0, 1, ActorOperation("rename", "a", "b")),
            does(HOST, 2, 3, ActorOperation("link", "b", "c")),
            does(HOST, 4, 5, ActorOperation("mkdir", "d")),
            does(HOST, 6, 7, ActorOperation("create", "d/x", data="1")),
            does(HOST, 8, 9, ActorOperation("create", "e", data="1")),
            does(HOST, 10, 11, ActorOperation("list"), value=["b", "c", "d", "e"]),
            does(HOST, 12, 13, ActorOperation("stat", "still/there"), error="ENOENT"),
        ],
        initial={"a": "x"},
    )
    partitions = {partition.names: partition for partition in partition_by_object(history)}
    assert set(partitions) == {("a", "b", "c"), ("d", "d/x"), ("e",), ("still/there",)}
    seen = [
        (each.operation.path, each.outcome.value)
        for each in partitions["a", "b", "c"].operations
        if each.operation.act == "entry"
    ]
    assert seen == [("a", False), ("b", True), ("c", True)]


def test_a_failed_rename_of_kinds_from_two_moments_is_what_a_share_may_say() -> None:
    """The kernel looks at one name before the other: never were both as it says."""
    history = History.of(
        [
            does("guest-1", 0, 100, ActorOperation("rename", "a", "b"), error="EISDIR"),
            does(HOST, 10, 11, ActorOperation("unlink", "a")),
            does(HOST, 12, 13, ActorOperation("mkdir", "b")),
        ],
        initial={"a": "x"},
    )
    shared = check(history, rules(Mode.CONSISTENT))
    assert shared.answer is CheckResult.OK
    native = check(replace(history, grain=Grain.DIRECTORY), rules(Mode.CONSISTENT))
    assert native.answer is CheckResult.VIOLATION


def test_a_mapping_may_show_any_state_since_it_was_mapped_and_none_before() -> None:
    def shown(content: str) -> CheckResult:
        history = History.of(
            [
                does(HOST, 0, 1, ActorOperation("overwrite", "m", data="1")),
                does("guest-1", 2, 3, ActorOperation("map", "m", size=1, handle="h")),
                does(HOST, 4, 5, ActorOperation("overwrite", "m", data="2")),
                does("guest-1", 6, 7, ActorOperation("mread", handle="h"), value=content),
            ],
            initial={"m": "0"},
        )
        return check(history, rules(Mode.CONSISTENT)).answer

    assert [shown(content) for content in "012"] == [
        CheckResult.VIOLATION,
        CheckResult.OK,
        CheckResult.OK,
    ]


def test_steps_of_a_write_are_seen_one_by_one() -> None:
    state = State.of({"a": "long before"}, 0o022)
    write = does(HOST, 0, 1, ActorOperation("write", "a", data="new"))
    contents, progress = [], START
    while progress is not DONE:
        step = next(
            each
            for each in steps(state, write, 1, progress, Grain.DIRECTORY, 0o022)
            if each.source is AnswerSource.HOST
        )
        state, progress = step.state, step.progress
        contents.append(state.object(-1).content)
    assert contents == ["long before", "", "new"]


def test_a_history_survives_its_file(tmp_path) -> None:
    history = History.of(
        [
            does(HOST, 100, 101, ActorOperation("mkdir", "d"), error="EEXIST"),
            does("guest-1", 103, 104, ActorOperation("list"), value=["d"]),
        ],
        grain=Grain.DIRECTORY,
        initial={"a": "x"},
        umask=0o077,
        about={"seed": 3},
    )
    history.save(tmp_path / "history.json")
    again = History.load(tmp_path / "history.json")
    assert again.operations[0].call_ns == 0
    assert [each.outcome for each in again.operations] == [
        each.outcome for each in history.operations
    ]
    again.save(tmp_path / "again.json")
    assert (tmp_path / "again.json").read_text() == (tmp_path / "history.json").read_text()


def test_where_every_call_of_the_guests_failed_there_is_nothing_to_go_by() -> None:
    def answer(*operations: OperationInterval) -> CheckResult:
        history = History.of(operations, initial={"a": "x"})
        verdict = check(history, rules(Mode.CONSISTENT))
        assert verdict.unjudged == sum(each.outcome.error == "EIO" for each in operations)
        return verdict.answer

    failed = does("guest-1", 0, 1, ActorOperation("read", "a"), error="EIO")
    by_host = does(HOST, 2, 3, ActorOperation("read", "a"), value="x")
    assert answer(failed, by_host) is CheckResult.UNKNOWN
    read = does("guest-1", 4, 5, ActorOperation("read", "a"), value="x")
    assert answer(failed, by_host, read) is CheckResult.OK
    wrong = does(HOST, 6, 7, ActorOperation("read", "a"), value="y")
    assert answer(failed, by_host, wrong) is CheckResult.VIOLATION


def test_a_long_content_that_changes_while_it_is_read_is_unknown_and_no_violation() -> None:
    """No system reads several pages at one moment: half of each is what may be seen."""

    def answer(begin: int) -> CheckResult:
        torn = "n" * 4_096 + "o" * 4_096
        history = History.of(
            [
                does(HOST, 10, 20, ActorOperation("overwrite", "a", data="n", size=8_192)),
                does("guest-1", begin, begin + 1, ActorOperation("read", "a"), value=torn),
            ],
            initial={"a": "o" * 8_192},
        )
        return check(history, rules(Mode.CONSISTENT)).answer

    assert [answer(begin) for begin in (1, 15, 30)] == [
        *(CheckResult.VIOLATION, CheckResult.UNKNOWN, CheckResult.VIOLATION)
    ]


def test_a_process_that_does_two_things_at_once_is_none() -> None:
    history = History.of(
        [
            does("guest-1", 0, 9, ActorOperation("read", "a"), value="x"),
            does("guest-1", 5, 6, ActorOperation("read", "a"), value="x"),
        ],
        initial={"a": "x"},
    )
    with pytest.raises(ValueError, match="one call after the other"):
        check(history, rules(Mode.CONSISTENT))
