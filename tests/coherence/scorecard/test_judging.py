"""The judge of the scorecard, on logs written by hand: what it accepts and what it must reject."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from osxfs_sim.coherence.scorecard.expectations import ChangeKind, Expectation, expected_of, native
from osxfs_sim.coherence.scorecard.judging import add_up, is_satisfied, judge
from osxfs_sim.coherence.scorecard.signals import (
    ChangeLog,
    ChangeStep,
    Event,
    ExpectedState,
    NameEvent,
    ObservedState,
    ReceivedEvent,
    Role,
)
from osxfs_sim.model.events import NotifySpec

CREATED, MODIFIED = NameEvent(Event.CREATE), NameEvent(Event.MODIFY)
DELETED, ATTRIBUTES = NameEvent(Event.DELETE), NameEvent(Event.ATTRIB)
CLOSED = NameEvent(Event.CLOSE_WRITE)
WRITTEN = Expectation((CREATED, MODIFIED), frozenset({ATTRIBUTES}))

EMPTY = ExpectedState(size_bytes=0, content="")
FULL = ExpectedState(size_bytes=4, content="full")
# Created within 10 ns of the beginning, written within 20.
STEPS = (ChangeStep(1_010, {Role.A: EMPTY}), ChangeStep(1_020, {Role.A: FULL}))


def observed(at_ns: int, content: str | None) -> ObservedState:
    """A look at a file of that content, or at a name that is missing."""
    if content is None:
        return ObservedState(at_ns, exists=False, listed=False)
    return ObservedState(at_ns, True, True, len(content), 0o644, 1, content)


def received(signal: NameEvent, at_ns: int, content: str | None = "full") -> ReceivedEvent:
    return ReceivedEvent(signal, at_ns, observed(at_ns, content))


def log(*each: ReceivedEvent) -> ChangeLog:
    return ChangeLog(1_000, STEPS, each)


def test_a_log_with_all_that_was_expected_is_right():
    verdict = judge(log(received(CREATED, 1_500), received(MODIFIED, 1_700)), WRITTEN)
    assert (verdict.delivered, verdict.delays_ns) == (2, (500, 700))
    wrong = (verdict.missing, verdict.duplicates, verdict.unexpected, verdict.early)
    assert wrong == ((), (), (), ())
    assert add_up([verdict]).is_right


def test_a_missing_event_is_noticed():
    verdict = judge(log(received(CREATED, 1_500)), WRITTEN)
    assert verdict.missing == (MODIFIED,)
    assert verdict.delivered == 1
    assert not add_up([verdict]).is_right


def test_an_event_that_comes_twice_is_counted_and_is_not_wrong():
    verdict = judge(
        log(received(CREATED, 1_500), received(MODIFIED, 1_600), received(MODIFIED, 1_900)), WRITTEN
    )
    assert verdict.duplicates == (MODIFIED,)
    assert verdict.delays_ns == (500, 600)  # of the first
    assert add_up([verdict]).is_right


def test_an_event_that_this_system_does_not_raise_is_noticed():
    verdict = judge(
        log(received(CREATED, 1_500), received(MODIFIED, 1_600), received(CLOSED, 1_700)), WRITTEN
    )
    assert verdict.unexpected == (CLOSED,)
    assert not add_up([verdict]).is_right


def test_what_is_allowed_is_neither_required_nor_unexpected():
    verdict = judge(
        log(received(CREATED, 1_500), received(MODIFIED, 1_600), received(ATTRIBUTES, 1_700)),
        WRITTEN,
    )
    assert (verdict.delivered, verdict.unexpected) == (2, ())


@pytest.mark.parametrize("stale", [None, "", "old!"])
def test_an_event_that_comes_before_its_change_can_be_seen_is_early(stale: str | None):
    verdict = judge(log(received(CREATED, 1_500, stale), received(MODIFIED, 1_700)), WRITTEN)
    assert verdict.early == (CREATED,)
    assert not add_up([verdict]).is_right


def test_an_early_event_that_comes_again_in_time_is_still_early():
    verdict = judge(
        log(received(CREATED, 1_500, None), received(CREATED, 1_600), received(MODIFIED, 1_700)),
        WRITTEN,
    )
    assert (verdict.early, verdict.duplicates) == ((CREATED,), (CREATED,))


def test_a_name_that_the_directory_does_not_list_is_not_there_yet():
    unlisted = ReceivedEvent(CREATED, 1_500, ObservedState(1_500, True, False, 4, 0o644, 1, "full"))
    assert judge(log(unlisted, received(MODIFIED, 1_700)), WRITTEN).early == (CREATED,)


@pytest.mark.parametrize(
    ("at_ns", "content", "is_early"),
    [
        (1_005, None, False),  # the host had finished nothing yet
        (1_015, None, True),
        (1_015, "", False),  # created; the write was still to come
        (1_015, "full", False),  # and came while the guest looked
        (1_025, "", True),
    ],
)
def test_a_guest_must_see_what_the_host_had_finished_before_it_looked(at_ns, content, is_early):
    verdict = judge(log(received(CREATED, at_ns, content), received(MODIFIED, 1_700)), WRITTEN)
    assert bool(verdict.early) == is_early


def test_an_event_before_its_change_is_of_nothing():
    """The listener knows the name, and nothing had happened to it: it is invented."""
    right = received(CREATED, 1_500), received(MODIFIED, 1_600)
    verdict = judge(log(received(MODIFIED, 900, None), *right), WRITTEN)
    assert (verdict.unexpected, verdict.delays_ns) == ((MODIFIED,), (500, 600))
    assert not add_up([verdict]).is_right
    # Nor does it stand for the one that must come afterwards.
    only_before = log(received(CREATED, 999), received(MODIFIED, 1_600))
    assert judge(only_before, WRITTEN).missing == (CREATED,)
    assert not is_satisfied(only_before, WRITTEN)


def test_a_delete_is_early_while_the_name_can_be_seen():
    gone = (ChangeStep(1_010, {Role.A: ExpectedState(exists=False)}),)
    expectation = Expectation((DELETED,))
    in_time = ChangeLog(1_000, gone, (received(DELETED, 1_500, None),))
    early = ChangeLog(1_000, gone, (received(DELETED, 1_500, "full"),))
    assert not judge(in_time, expectation).early
    assert judge(early, expectation).early == (DELETED,)


@pytest.mark.parametrize(
    ("expected", "seen"),
    [
        (ExpectedState(mode=0o600), ObservedState(1_500, True, True, 4, 0o644, 1, "full")),
        (ExpectedState(mtime_ns=7), ObservedState(1_500, True, True, 4, 0o600, 1, "full")),
    ],
)
def test_attributes_are_early_with_the_old_mode_or_time(
    expected: ExpectedState, seen: ObservedState
):
    steps = (ChangeStep(1_010, {Role.A: expected}),)
    expectation = Expectation((ATTRIBUTES,))
    verdict = judge(ChangeLog(1_000, steps, (ReceivedEvent(ATTRIBUTES, 1_500, seen),)), expectation)
    assert verdict.early == (ATTRIBUTES,)


def test_scores_add_up():
    right = judge(log(received(CREATED, 1_700), received(MODIFIED, 1_500)), WRITTEN)
    wrong = judge(log(received(CREATED, 1_600, None), received(CLOSED, 1_700)), WRITTEN)
    score = add_up([right, wrong])
    assert (score.changes, score.delivered, score.delays_ns) == (2, 3, (500, 600, 700))
    assert dict(score.missing) == {"IN_MODIFY a": 1}
    assert dict(score.unexpected) == {"IN_CLOSE_WRITE a": 1}
    assert dict(score.early) == {"IN_CREATE a": 1}


# Every table: what fulfils it is right, and nothing else

EXPECTATIONS = st.one_of(
    st.sampled_from(ChangeKind).map(native),
    st.builds(
        expected_of,
        st.sampled_from(ChangeKind),
        st.builds(
            NotifySpec,
            creates=st.booleans(),
            modifies=st.sampled_from(["written", "closed", "never"]),
            attributes=st.booleans(),
            deletes=st.booleans(),
        ),
    ),
)
ANYTHING = st.builds(NameEvent, st.sampled_from(Event), st.sampled_from(Role), st.booleans())


@given(EXPECTATIONS, st.data())
def test_what_meets_every_requirement_in_any_order_is_right(expectation, data):
    chosen = list(expectation.required)
    known = sorted(expectation.known, key=str)
    more = data.draw(st.lists(st.sampled_from(known), max_size=4)) if known else []
    signals = data.draw(st.permutations(chosen + more))
    told = tuple(received(signal, 2_000 + each) for each, signal in enumerate(signals))
    verdict = judge(ChangeLog(1_000, (), told), expectation)
    assert add_up([verdict]).is_right
    assert is_satisfied(ChangeLog(1_000, (), told), expectation)
    assert verdict.delivered == len(expectation.required)
    assert len(verdict.duplicates) == len(signals) - len(set(signals))


@given(EXPECTATIONS, st.lists(ANYTHING, max_size=6))
def test_a_log_is_right_only_if_it_meets_every_requirement_with_known_signals(expectation, signals):
    told = tuple(received(signal, 2_000 + each) for each, signal in enumerate(signals))
    is_right = set(expectation.required) <= set(signals) <= expectation.known
    assert add_up([judge(ChangeLog(1_000, (), told), expectation)]).is_right == is_right
