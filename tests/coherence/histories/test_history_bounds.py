"""What is too old to be an answer as cached, where nothing changes any more."""

import pytest

from osxfs_sim.coherence.actors.operations import ActorOperation, OperationResult
from osxfs_sim.coherence.actors.processes import OperationInterval
from osxfs_sim.coherence.histories.history import HOST, History
from osxfs_sim.coherence.histories.linearize import CheckResult, Limits
from osxfs_sim.coherence.histories.modes import Bounds, past_the_bound, stale_beyond_bound
from osxfs_sim.coherence.histories.verdicts import Rules, check
from osxfs_sim.model.consistency import Mode

BOUND = Bounds(100, 100)


def did(actor: str, act: str, call_ns: int, value: object = None, error: str | None = None):
    return OperationInterval(
        actor, ActorOperation(act, "a"), call_ns, call_ns + 1, OperationResult(value, error)
    )


CHANGE = OperationInterval(
    HOST, ActorOperation("overwrite", "a", data="new"), 0, 1, OperationResult()
)
GONE = OperationInterval(HOST, ActorOperation("unlink", "a"), 0, 1, OperationResult())


def status(mode: int = 0o644, size: int = 3, inode: int = 1) -> dict[str, object]:
    words = {"type": "file", "mode": mode, "size": size, "links": 1}
    return words | {"inode": inode, "mtime_ns": 0}


@pytest.mark.parametrize(
    ("change", "of_the_host", "of_the_guest", "is_old"),
    [
        (CHANGE, did(HOST, "read", 150, "new"), did("guest", "read", 150, "old"), True),
        (CHANGE, did(HOST, "read", 150, "new"), did("guest", "read", 150, "new"), False),
        (CHANGE, did(HOST, "read", 150, "new"), did("guest", "read", 90, "old"), False),
        (GONE, did(HOST, "stat", 150, None, "ENOENT"), did("guest", "stat", 150, status()), True),
        (
            GONE,
            did(HOST, "stat", 150, None, "ENOENT"),
            did("guest", "stat", 150, None, "ESTALE"),
            False,
        ),
        (CHANGE, did(HOST, "stat", 150, status()), did("guest", "stat", 150, status(0o600)), True),
        (CHANGE, did(HOST, "stat", 150, status()), did("guest", "stat", 150, status(size=9)), True),
        (CHANGE, did(HOST, "stat", 9, status()), did("guest", "stat", 150, status(inode=2)), False),
    ],
)
def test_what_the_host_has_had_for_longer_than_the_bound_the_guest_sees(
    change: OperationInterval,
    of_the_host: OperationInterval,
    of_the_guest: OperationInterval,
    is_old: bool,
) -> None:
    operations = (change, of_the_host, of_the_guest)
    found = stale_beyond_bound(operations, BOUND)
    assert [each for each, _ in found] == [of_the_guest] * is_old
    # And it is said without any search.
    history = History.of(operations, initial={"a": "old"})
    verdict = check(history, Rules(Mode.CACHED, BOUND, Limits(0)))
    assert (verdict.answer is CheckResult.VIOLATION) is is_old
    if is_old:
        (partition,) = verdict.violations
        assert partition.counterexample == (of_the_guest,)
        assert partition.steps == 0


def test_a_change_of_anybody_begins_the_bound_anew() -> None:
    refused = did("guest", "chmod", 100, None, "ESTALE")
    operations = (CHANGE, refused, did(HOST, "read", 150, "new"), did("guest", "read", 150, "old"))
    assert not stale_beyond_bound(operations, BOUND)


def test_as_delegated_what_only_the_host_changes_is_judged_the_same() -> None:
    operations = (CHANGE, did(HOST, "read", 150, "new"), did("guest", "read", 150, "old"))
    history = History.of(operations, initial={"a": "old"})
    verdict = check(history, Rules(Mode.DELEGATED, BOUND, Limits(0)))
    assert verdict.answer is CheckResult.VIOLATION
    assert verdict.violations[0].lost


@pytest.mark.parametrize(
    ("operations", "number"),
    [
        ((CHANGE, did("guest", "read", 102, "old")), 1),
        ((CHANGE, did("guest", "read", 101, "old")), 0),
        ((CHANGE, did(HOST, "read", 500, "new")), 0),
        ((CHANGE, did("guest", "chmod", 500)), 0),
        ((did("guest", "read", 500, "old"),), 0),
    ],
)
def test_looks_past_the_bound_are_counted(
    operations: tuple[OperationInterval, ...], number: int
) -> None:
    assert past_the_bound(operations, BOUND) == number
