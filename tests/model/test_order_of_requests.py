"""Who waits for whom, decided without anybody who waits."""

from collections.abc import Callable, Sequence
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from osxfs_sim.model.operations import UNAWAITED, Operation
from osxfs_sim.model.request_order import ACCESS_OF, Access, Order, Turn

READS, CHANGES, SYNCS = Access.READS, Access.CHANGES, Access.SYNCS


def begun(accesses: Sequence[Access]) -> list[bool]:
    """Which of requests about one object may begin, when none is done yet."""
    order: Order[str] = Order()
    return [order.enter("file", access).has_begun for access in accesses]


def test_those_that_look_go_together() -> None:
    assert begun([READS, READS, READS]) == [True, True, True]


def test_a_read_waits_for_a_write_that_came_before_it() -> None:
    assert begun([CHANGES, READS]) == [True, False]


def test_a_write_waits_for_reads_and_writes_that_came_before_it() -> None:
    assert begun([READS, CHANGES, CHANGES]) == [True, False, False]


def test_a_read_does_not_pass_a_write_that_waits() -> None:
    """Else there would always be one more, and the write would wait for ever."""
    assert begun([READS, CHANGES, READS]) == [True, False, False]


def test_a_sync_waits_for_writes_and_nobody_for_a_sync() -> None:
    assert begun([CHANGES, SYNCS]) == [True, False]
    assert begun([READS, SYNCS, CHANGES]) == [True, True, False]
    assert begun([SYNCS, CHANGES, SYNCS]) == [True, True, False]


def test_objects_have_nothing_to_do_with_each_other() -> None:
    order: Order[str] = Order()
    order.enter("one", CHANGES)
    assert order.enter("other", CHANGES).has_begun


def test_who_waited_begins_when_what_it_waited_for_is_done() -> None:
    order: Order[str] = Order()
    write = order.enter("file", CHANGES)
    reads = [order.enter("file", READS) for _ in range(3)]
    later = order.enter("file", CHANGES)
    assert order.leave(write) == reads
    assert [order.leave(read) for read in reads] == [[], [], [later]]
    assert order.leave(later) == []


def test_nothing_is_kept_of_an_object_that_is_idle() -> None:
    order: Order[str] = Order()
    order.leave(order.enter("file", CHANGES))
    assert not order.turns


def test_one_that_gives_up_before_it_began_holds_up_nobody() -> None:
    order: Order[str] = Order()
    read = order.enter("file", READS)
    write = order.enter("file", CHANGES)
    later = order.enter("file", READS)
    assert order.leave(write) == [later]
    order.leave(read)


def test_every_request_for_whose_answer_somebody_waits_is_thought_of() -> None:
    of_names = {"MKNOD", "MKDIR", "SYMLINK", "UNLINK", "RMDIR", "RENAME", "STATFS"}
    of_directories = {"OPENDIR", "READDIR", "READDIRPLUS", "FSYNCDIR"}
    left = {each.name for each in set(Operation) - set(ACCESS_OF) - UNAWAITED}
    assert left == of_names | of_directories


def conflict(one: Access, other: Access) -> bool:
    """Said once more, in other words: whether the later of two has to wait."""
    return (one, other) in {
        (CHANGES, CHANGES),
        (CHANGES, READS),
        (CHANGES, SYNCS),
        (READS, CHANGES),
    }


def judge(order: Order[str], accesses: list[Access], choose: Callable[[list[Any]], Any]) -> None:
    """Let requests come and go as *choose* says; nobody begins too early, or too late."""
    here: list[Turn[str]] = []
    coming = list(accesses)
    while coming or here:
        can_leave = [turn for turn in here if turn.has_begun]
        assert coming or can_leave, "nobody can go on"
        if coming and (not can_leave or choose([True, False])):
            here.append(order.enter("file", coming.pop()))
        else:
            turn = choose(can_leave)
            waited = [each for each in here if not each.has_begun]
            here.remove(turn)
            begins = order.leave(turn)
            assert begins == [each for each in waited if each.has_begun], "all are told of"
        for place, turn in enumerate(here):
            free = not any(conflict(before.access, turn.access) for before in here[:place])
            assert turn.has_begun == free
    assert not order.turns


@given(st.lists(st.sampled_from(Access), max_size=9), st.data())
def test_whoever_has_begun_is_in_conflict_with_nobody_before_it(
    accesses: list[Access], data: st.DataObject
) -> None:
    judge(Order(), accesses, lambda among: data.draw(st.sampled_from(among)))


class _Eager(Order[str]):
    """Nobody waits."""

    def enter(self, of: str, access: Access, *, has_begun: bool = False) -> Turn[str]:
        del has_begun
        return super().enter(of, access, has_begun=True)


class _Forgetful(Order[str]):
    """Only the first of those that may begin is told."""

    def leave(self, turn: Turn[str]) -> list[Turn[str]]:
        return super().leave(turn)[:1]


class _Hasty(Order[str]):
    """Whoever looks passes those that wait."""

    def enter(self, of: str, access: Access, *, has_begun: bool = False) -> Turn[str]:
        waiting = [each for each in self.turns.get(of, {}) if not each.has_begun]
        return super().enter(of, access, has_begun=has_begun or bool(waiting))


@pytest.mark.parametrize("wrong", [_Eager, _Forgetful, _Hasty])
def test_an_order_that_is_none_is_found_out(wrong: type[Order[str]]) -> None:
    random = Random(1)

    def judge_many() -> None:
        for _ in range(500):
            judge(wrong(), random.choices(list(Access), k=9), random.choice)

    with pytest.raises(AssertionError):
        judge_many()
