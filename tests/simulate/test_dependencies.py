"""What waits for what: graphs without cycles that keep the order that they must."""

import random
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
from support.complaints import noticed
from support.recordings import A_FILE, asked, attributes, found, missed, recording

from osxfs_sim.model.operations import UNAWAITED, Operation
from osxfs_sim.simulate.dependencies import NOTHING, Dependencies, Order, order
from osxfs_sim.simulate.recording import CHANGES, Question, Recording

MODELS = list(Dependencies)
FAMILY = [[thread, thread, 1 if thread > 1 else 0, 0] for thread in range(1, 5)]
"""Thread 1 has started the others."""


def at_random(seed: int, count: int = 60) -> Recording:
    """Questions of four threads that overlap, on three names and three files."""
    draw = random.Random(seed)
    free_ns = [0] * 5
    questions = []
    for _ in range(count):
        thread = draw.randrange(1, 5)
        arrival_ns = free_ns[thread] + draw.randrange(1, 300)
        took_ns = draw.randrange(1, 400)
        name = draw.choice((b"a", b"b", b"c"))
        inode = draw.randrange(2, 5)
        made: Question = draw.choice(
            (
                found(name, inode),
                missed(name),
                attributes(inode),
                asked("WRITE", inode, size_bytes=5, status=A_FILE),
                asked("UNLINK", 1, name, found=inode),
                asked("CREATE", 1, name, found=inode, status=A_FILE),
                asked("RELEASE", inode),
            )
        )
        questions.append(made._replace(thread=thread, arrival_ns=arrival_ns, took_ns=took_ns))
        free_ns[thread] = arrival_ns + (0 if made.operation in UNAWAITED else took_ns)
    return recording(*questions, header={"threads": FAMILY})


def before(graph: Order, index: int) -> set[int]:
    """What the question number *index* waits for itself."""
    previous = graph.previous[index]
    follows = () if previous == NOTHING else (previous,)
    return {*graph.after[index], *graph.causes[index], *follows}


def all_before(graph: Order) -> list[set[int]]:
    """What each waits for, itself or because what it waits for does."""
    everything: list[set[int]] = []
    for index in range(len(graph.previous)):
        direct = before(graph, index)
        assert all(each < index for each in direct), "what is waited for came earlier"
        everything.append(direct.union(*(everything[each] for each in direct)))
    return everything


def check_threads(questions: Sequence[Question], waits: list[set[int]]) -> None:
    """A thread's question waits for its last awaited one."""
    last: dict[int, int] = {}
    for index, each in enumerate(questions):
        if each.thread in last:
            assert last[each.thread] in waits[index]
        if each.operation not in UNAWAITED:
            last[each.thread] = index


def places(each: Question) -> set[object]:
    own = {(each.inode, each.name)} if each.name else {each.inode}
    return own | {each.found} if each.name and each.found else own


def check_objects(questions: Sequence[Question], waits: list[set[int]]) -> None:
    """Two questions about one object or name, one of which changes it, keep their order."""
    for index, each in enumerate(questions):
        for earlier, other in enumerate(questions[:index]):
            if {each.operation, other.operation}.isdisjoint(CHANGES):
                continue
            if other.end_ns <= each.arrival_ns and places(each) & places(other):
                assert earlier in waits[index]


def check_completed(questions: Sequence[Question], waits: list[set[int]]) -> None:
    """A question waits for all that were answered when it came, and for no other."""
    for index, each in enumerate(questions):
        answered = {
            number
            for number, other in enumerate(questions)
            if other.end_ns <= each.arrival_ns and other.operation not in UNAWAITED
        }
        assert waits[index] >= answered


def check_processes(questions: Sequence[Question], waits: list[set[int]]) -> None:
    """Thread 1 has started the others: nobody comes before what it was answered by then."""
    for index, each in enumerate(questions):
        if each.thread in {other.thread for other in questions[:index]} or each.thread == 1:
            continue
        answered = [
            number
            for number, other in enumerate(questions[:index])
            if other.thread == 1
            and other.end_ns <= each.arrival_ns
            and other.operation not in UNAWAITED
        ]
        assert {*answered[-1:]} <= waits[index]


CHECKS: dict[Dependencies, tuple[Callable[[Sequence[Question], list[set[int]]], None], ...]] = {
    Dependencies.THREADS: (check_threads,),
    Dependencies.PROCESSES: (check_threads, check_processes),
    Dependencies.OBJECTS: (check_threads, check_processes, check_objects),
    Dependencies.COMPLETED: (check_threads, check_processes, check_completed),
}


def check_graph(recorded: Recording, graph: Order, by: Dependencies) -> None:
    """*graph* has no cycle, keeps the order that *by* promises, and waits for nothing later."""
    waits = all_before(graph)
    for check in CHECKS[by]:
        check(recorded.questions, waits)
    for index, each in enumerate(recorded.questions):
        for other in before(graph, index):
            assert recorded.questions[other].end_ns <= each.arrival_ns
    assert all(think_ns >= 0 for think_ns in graph.think_ns)


@pytest.mark.parametrize("by", MODELS)
@pytest.mark.parametrize("seed", range(8))
def test_graphs_have_no_cycles_and_keep_the_order_that_they_promise(
    seed: int, by: Dependencies
) -> None:
    recorded = at_random(seed)
    check_graph(recorded, order(recorded, by), by)


def without_threads(graph: Order) -> Order:
    count = len(graph.previous)
    return replace(graph, previous=[NOTHING] * count, causes=[()] * count)


def without_others(graph: Order) -> Order:
    nothing: list[tuple[int, ...]] = [()] * len(graph.previous)
    return replace(graph, causes=nothing, after=nothing)


def with_a_cycle(graph: Order) -> Order:
    after = list(graph.after)
    after[3], after[4] = (4,), (3,)
    return replace(graph, after=after)


@pytest.mark.parametrize(
    ("by", "broken"),
    [
        (Dependencies.THREADS, without_threads),
        (Dependencies.PROCESSES, without_threads),
        (Dependencies.OBJECTS, without_others),
        (Dependencies.COMPLETED, without_others),
        *((by, with_a_cycle) for by in MODELS),
    ],
)
def test_a_graph_that_forgets_an_order_or_has_a_cycle_is_noticed(
    by: Dependencies, broken: Callable[[Order], Order]
) -> None:
    recorded = at_random(1)
    with noticed():
        check_graph(recorded, broken(order(recorded, by)), by)


# By hand


def test_think_time_counts_from_the_threads_last_answer() -> None:
    recorded = recording(
        missed(b"a", arrival_ns=30, took_ns=100),
        missed(b"b", arrival_ns=150, took_ns=100),
        header={"command_start_ns": 10, "command_end_ns": 300},
    )
    graph = order(recorded, Dependencies.THREADS)
    assert graph == Order([NOTHING, 0], [(), ()], [20, 20], [(), ()], tail_ns=50)


def test_a_new_thread_follows_the_last_answer_that_anybody_had() -> None:
    recorded = recording(
        missed(b"a", arrival_ns=0),
        missed(b"b", arrival_ns=110, took_ns=1_000),  # still under way
        missed(b"c", thread=2, arrival_ns=150),
    )
    graph = order(recorded, Dependencies.THREADS)
    assert (graph.previous, graph.think_ns[2]) == ([NOTHING, 0, 0], 50)


def test_nobody_waits_for_what_has_no_answer() -> None:
    recorded = recording(
        asked("FLUSH", 2, arrival_ns=0),
        asked("RELEASE", 2, arrival_ns=110),
        missed(b"a", arrival_ns=120),
    )
    assert order(recorded, Dependencies.THREADS).previous == [NOTHING, 0, 0]


def test_a_look_waits_for_the_change_and_a_change_for_the_looks() -> None:
    recorded = recording(
        asked("CREATE", 1, b"a", found=2, status=A_FILE, thread=1),
        found(b"a", 2, thread=2),
        found(b"a", 2, thread=3),
        asked("UNLINK", 1, b"a", found=2, thread=4),
    )
    graph = order(recorded, Dependencies.OBJECTS)
    assert all_before(graph)[3] == {0, 1, 2}
    assert graph.after[3] == (0, 1), "the third is what it follows"
    threads = order(recorded, Dependencies.THREADS)
    assert threads.after == [()] * 4


def test_two_that_were_under_way_together_have_no_order() -> None:
    recorded = recording(
        asked("CREATE", 1, b"a", found=2, status=A_FILE, thread=1, arrival_ns=0, took_ns=500),
        found(b"a", 2, thread=2, arrival_ns=100),
    )
    for by in MODELS:
        assert before(order(recorded, by), 1) == set()


def test_what_follows_from_others_is_not_waited_for_once_more() -> None:
    recorded = recording(
        missed(b"a", thread=1),
        missed(b"b", thread=2),
        missed(b"c", thread=1),
        missed(b"d", thread=3),
    )
    graph = order(recorded, Dependencies.COMPLETED)
    assert graph.causes == [(), (), (1,), ()]
    assert [each.operation for each in recorded.questions] == [Operation.LOOKUP] * 4


# By hand: processes


def of_a_family(*questions: Question) -> Order:
    return order(recording(*questions, header={"threads": FAMILY}), Dependencies.PROCESSES)


def test_a_process_comes_after_who_has_started_it_and_not_after_anybody() -> None:
    graph = of_a_family(
        missed(b"a", thread=1, arrival_ns=0),
        missed(b"b", thread=2, arrival_ns=110),
        missed(b"c", thread=3, arrival_ns=300),  # the last answer by then is thread 2's
        missed(b"d", thread=2, arrival_ns=420),  # which goes on
    )
    assert graph.previous == [NOTHING, 0, 0, 1]


def test_a_process_comes_after_one_of_its_kin_that_has_made_way_for_it() -> None:
    """As of a shell's script, one command after the other."""
    graph = of_a_family(
        missed(b"a", thread=1, arrival_ns=0),
        missed(b"b", thread=2, arrival_ns=110),
        missed(b"c", thread=3, arrival_ns=300),
    )
    assert graph.previous == [NOTHING, 0, 1]
    assert graph.think_ns[2] == 300 - 210


def test_a_shell_that_asks_nothing_joins_its_parent_to_its_children() -> None:
    threads = [[1, 1, 0, 0], [2, 2, 9, 0], [9, 9, 1, 0]]
    made = recording(
        missed(b"a", thread=1, arrival_ns=0),
        missed(b"b", thread=2, arrival_ns=110),
        missed(b"c", thread=1, arrival_ns=5_000),
        header={"threads": threads},
    )
    graph = order(made, Dependencies.PROCESSES)
    assert (graph.previous, graph.causes) == ([NOTHING, 0, 0], [(), (), (1,)])
    assert graph.think_ns == [0, 10, 5_000 - 210], "what it waited is no computing"


def test_who_asked_nothing_while_its_child_ran_has_waited_for_it() -> None:
    graph = of_a_family(
        missed(b"a", thread=1, arrival_ns=0),
        missed(b"b", thread=2, arrival_ns=110),
        missed(b"c", thread=2, arrival_ns=300),
        missed(b"d", thread=1, arrival_ns=500),
    )
    assert (graph.previous, graph.causes) == ([NOTHING, 0, 1, 0], [(), (), (), (2,)])
    assert graph.think_ns[3] == 500 - 400


def test_who_asked_meanwhile_has_not() -> None:
    graph = of_a_family(
        missed(b"a", thread=1, arrival_ns=0),
        missed(b"b", thread=2, arrival_ns=110),
        missed(b"d", thread=1, arrival_ns=120),
        missed(b"c", thread=2, arrival_ns=300),
        missed(b"d", thread=1, arrival_ns=500),
    )
    assert graph.causes == graph.after == [()] * 5


def test_of_whom_nothing_is_known_follows_the_last_answer_of_anybody() -> None:
    recorded = recording(missed(b"a", thread=1), missed(b"b", thread=77))
    assert order(recorded, Dependencies.PROCESSES) == order(recorded, Dependencies.THREADS)
