"""The judge, against hand-made timelines: every kind, at the edges of every window.

The host's history in most tests: ``a`` has "old" until the edit that is called at 100 and
returns at 110, and "new" from then on. Nothing is measured: all times are made up.
"""

import errno
import zlib
from dataclasses import replace

import pytest

from osxfs_sim.coherence.answers.judge import (
    CompleteListing,
    Freshness,
    Judge,
    JudgedStatement,
    listings,
    own_changes,
)
from osxfs_sim.coherence.answers.log import AnswerKind, RecordedAnswer
from osxfs_sim.coherence.answers.risk import KINDS, counted
from osxfs_sim.coherence.answers.timeline import (
    NameState,
    ObjectState,
    Timeline,
    possible,
    timeline_from,
)

OLD, NEW = b"old", b"new one"
CONTENTS = {"0": OLD, "1": NEW, "2": b""}
FIRST = ObjectState(0, 0, 3, 1_000, "0")
WRITTEN = ObjectState(100, 110, 7, 2_000, "1")

IN_PLACE = Timeline({"d/a": (NameState(0, 0, 1),)}, {1: (FIRST, WRITTEN)}, CONTENTS)
REPLACED = Timeline(
    {"d/a": (NameState(0, 0, 1), NameState(100, 110, 2))},
    {1: (FIRST,), 2: (ObjectState(0, 0, 7, 2_000, "1"),)},
    CONTENTS,
)
REMOVED = Timeline(
    {"d/a": (NameState(0, 0, 1), NameState(100, 110, None))}, {1: (FIRST,)}, CONTENTS
)
MADE = Timeline(
    {"d/a": (NameState(0, 0, None), NameState(100, 110, 1))},
    {1: (ObjectState(0, 0, 3, 1_000, "0"),)},
    CONTENTS,
)
CUT_AND_WRITTEN = Timeline(
    {"d/a": (NameState(0, 0, 1),)},
    {1: (FIRST, ObjectState(100, 110, 0, 2_000, "2"), ObjectState(120, 130, 7, 3_000, "1"))},
    CONTENTS,
)


APPEARED = Timeline(
    {"d/a": (NameState(0, 0, None), NameState(100, 110, 1), NameState(200, 210, None))},
    {1: ()},
    CONTENTS,
)


def judge(
    timeline: Timeline, answer: RecordedAnswer, **more: object
) -> tuple[JudgedStatement, ...]:
    return Judge(timeline, more.pop("own", {}), **more).judge(answer)  # type: ignore[arg-type]


def looked(call_ns: int, return_ns: int, error: int = 0) -> RecordedAnswer:
    return RecordedAnswer(AnswerKind.LOOKUP, "d/a", call_ns, return_ns, error)


def stated(call_ns: int, return_ns: int, size: int, mtime_ns: int) -> RecordedAnswer:
    return RecordedAnswer(AnswerKind.STAT, "d/a", call_ns, return_ns, size=size, more=mtime_ns)


def was_read(
    data: bytes, call_ns: int, return_ns: int, opened: tuple[int, int] = (0, 0), at: int = 0
) -> RecordedAnswer:
    return RecordedAnswer(
        AnswerKind.READ,
        "d/a",
        call_ns,
        return_ns,
        opened_call_ns=opened[0],
        opened_return_ns=opened[1],
        size=at,
        more=len(data),
        crc=zlib.crc32(data),
        number=1,
    )


def fresh(*kinds: str) -> tuple[JudgedStatement, ...]:
    return tuple(JudgedStatement(kind, Freshness.FRESH) for kind in kinds)


def stale(kind: str, age_ns: int) -> tuple[JudgedStatement, ...]:
    return (JudgedStatement(kind, Freshness.STALE, age_ns),)


# Which states there were


@pytest.mark.parametrize(
    ("call_ns", "return_ns", "places"),
    [
        (0, 99, [0]),
        (0, 100, [0, 1]),  # the edit had been called when the answer came
        (110, 300, [0, 1]),  # it had not returned when the question was asked
        (111, 300, [1]),
        (105, 106, [0, 1]),
    ],
)
def test_while_an_edit_is_going_on_both_states_are_possible(
    call_ns: int, return_ns: int, places: list[int]
) -> None:
    assert list(possible((FIRST, WRITTEN), call_ns, return_ns)) == places


def test_a_long_question_spans_all_states() -> None:
    history = CUT_AND_WRITTEN.objects[1]
    assert list(possible(history, 0, 1_000)) == [0, 1, 2]
    assert list(possible(history, 112, 118)) == [1]


# Attributes


@pytest.mark.parametrize("timeline", [IN_PLACE, REPLACED])
@pytest.mark.parametrize(
    ("call_ns", "return_ns", "size", "mtime_ns", "age_ns"),
    [
        (10, 20, 3, 1_000, None),
        (10, 100, 7, 2_000, None),
        (110, 150, 3, 1_000, None),  # called at the moment the edit returned
        (111, 150, 3, 1_000, 40),
        (111, 150, 7, 2_000, None),
    ],
)
def test_attributes_are_stale_from_the_edits_return_on(
    timeline: Timeline,
    call_ns: int,
    return_ns: int,
    size: int,
    mtime_ns: int,
    age_ns: int | None,
) -> None:
    said = judge(timeline, stated(call_ns, return_ns, size, mtime_ns))
    expected = (
        fresh("existence", "attributes")
        if age_ns is None
        else fresh("existence") + stale("attributes", age_ns)
    )
    assert said == expected


def test_attributes_of_two_states_at_once_are_stale_since_the_last_edit() -> None:
    mixed = stated(200, 210, 3, 2_000)
    assert judge(IN_PLACE, mixed) == fresh("existence") + stale("attributes", 100)
    assert judge(REPLACED, mixed) == fresh("existence") + stale("attributes", 100)


def test_attributes_from_before_two_edits_are_as_old_as_the_first_of_them() -> None:
    said = judge(CUT_AND_WRITTEN, stated(200, 210, 3, 1_000))
    assert said == fresh("existence") + stale("attributes", 100)
    said = judge(CUT_AND_WRITTEN, stated(200, 210, 0, 2_000))
    assert said == fresh("existence") + stale("attributes", 80)


def test_where_the_guest_has_a_copy_its_times_are_its_own() -> None:
    copied = stated(200, 210, 7, 5_555)
    assert judge(IN_PLACE, copied) == (
        *fresh("existence"),
        JudgedStatement("attributes", Freshness.UNEXPLAINED),
    )
    assert judge(IN_PLACE, copied, times=False) == fresh("existence", "attributes")
    not_yet = stated(200, 210, 3, 5_555)
    assert judge(IN_PLACE, not_yet, times=False) == fresh("existence") + stale("attributes", 100)


def test_other_attributes_without_any_edit_are_not_stale() -> None:
    assert judge(IN_PLACE, stated(10, 20, 3, 999)) == fresh("existence")


def test_a_torn_answer_during_an_edit_is_unknown() -> None:
    assert judge(IN_PLACE, stated(105, 106, 3, 2_000)) == fresh("existence")


def test_attributes_by_descriptor_are_those_of_what_was_opened() -> None:
    answer = RecordedAnswer(
        AnswerKind.FSTAT,
        "d/a",
        200,
        210,
        opened_call_ns=50,
        opened_return_ns=60,
        size=3,
        more=1_000,
    )
    assert judge(REPLACED, answer) == fresh("attributes")  # the old file is as it was
    assert judge(IN_PLACE, answer) == stale("attributes", 100)
    late = replace(answer, opened_call_ns=150, opened_return_ns=160)
    assert judge(REPLACED, late) == stale("attributes", 100)  # it was not the old file's name then


# Existence and absence


def test_a_name_that_has_gone_is_stale_existence() -> None:
    assert judge(REMOVED, looked(105, 106)) == fresh("existence")
    assert judge(REMOVED, looked(111, 150)) == stale("existence", 40)
    assert judge(REMOVED, stated(111, 150, 3, 1_000)) == stale("existence", 40)
    assert judge(REMOVED, looked(111, 150, errno.ENOENT)) == fresh("absence")


def test_a_name_that_has_come_is_stale_absence() -> None:
    assert judge(MADE, looked(10, 20, errno.ENOENT)) == fresh("absence")
    assert judge(MADE, looked(105, 106, errno.ENOENT)) == fresh("absence")
    assert judge(MADE, looked(111, 150, errno.ENOENT)) == stale("absence", 40)
    assert judge(MADE, looked(111, 150)) == fresh("existence")


def test_a_name_that_was_always_there_is_not_missing_because_of_an_edit() -> None:
    assert judge(IN_PLACE, looked(200, 210, errno.ENOENT)) == ()


def test_a_name_that_is_being_replaced_may_be_torn() -> None:
    timeline = Timeline(
        {"d/a": (NameState(0, 0, None), NameState(10, 20, 1), NameState(100, 110, 2))},
        {1: (FIRST,), 2: (FIRST,)},
        CONTENTS,
    )
    assert judge(timeline, looked(105, 106, errno.ENOENT)) == ()
    assert judge(timeline, looked(120, 130, errno.ENOENT)) == stale("absence", 110)


def test_a_lost_handle_is_stale_where_an_edit_has_replaced_the_file() -> None:
    assert judge(REPLACED, looked(200, 210, errno.ESTALE)) == stale("existence", 100)
    assert judge(IN_PLACE, looked(200, 210, errno.ESTALE)) == ()


def test_other_errors_say_nothing() -> None:
    assert judge(REMOVED, looked(200, 210, errno.EACCES)) == ()


# Content


@pytest.mark.parametrize("timeline", [IN_PLACE, REPLACED])
def test_content_is_what_some_state_has_at_that_place(timeline: Timeline) -> None:
    opened = (10, 20)
    assert judge(timeline, was_read(OLD, 30, 40, opened)) == fresh("content")
    assert judge(timeline, was_read(b"ld", 30, 40, opened, at=1)) == fresh("content")
    later = (150, 160)
    assert judge(timeline, was_read(NEW, 170, 180, later)) == fresh("content")
    assert judge(timeline, was_read(OLD, 170, 180, later)) == stale("content", 70)


def test_an_open_file_that_was_replaced_keeps_its_content() -> None:
    assert judge(REPLACED, was_read(OLD, 170, 180, (10, 20))) == fresh("content")
    assert judge(REPLACED, was_read(NEW, 170, 180, (10, 20))) == ()  # where could it be from?
    assert judge(IN_PLACE, was_read(OLD, 170, 180, (10, 20))) == stale("content", 70)


def test_too_few_bytes_at_an_old_end_are_stale() -> None:
    """Nothing came at offset 3, where "old" ends and "new one" goes on."""
    assert judge(IN_PLACE, was_read(b"", 170, 180, at=3)) == stale("content", 70)
    assert judge(IN_PLACE, was_read(b"", 170, 180, at=7)) == fresh("content")


def test_as_many_bytes_as_asked_for_say_nothing_of_the_end() -> None:
    all_asked = replace(was_read(b"new", 170, 180), number=0)
    assert judge(IN_PLACE, all_asked) == fresh("content")
    assert judge(IN_PLACE, was_read(b"new", 170, 180)) == stale("content", 70)


def test_content_through_a_name_that_has_gone_is_stale() -> None:
    assert judge(REMOVED, was_read(OLD, 170, 180, (150, 160))) == stale("content", 70)


# Listings


def listed(call_ns: int, return_ns: int, *names: str) -> CompleteListing:
    return CompleteListing(
        RecordedAnswer(AnswerKind.LIST_END, "d", call_ns, return_ns), frozenset(names)
    )


def test_a_listing_is_stale_if_one_of_its_names_is() -> None:
    of_removed = Judge(REMOVED, {})
    assert of_removed.judge_listing(listed(10, 20, "d/a")) == fresh("listing")
    assert of_removed.judge_listing(listed(105, 106, "d/a")) == fresh("listing")
    assert of_removed.judge_listing(listed(111, 150, "d/a")) == stale("listing", 40)
    assert of_removed.judge_listing(listed(111, 150)) == fresh("listing")
    of_made = Judge(MADE, {})
    assert of_made.judge_listing(listed(111, 150)) == stale("listing", 40)
    assert of_made.judge_listing(listed(111, 150, "d/a")) == fresh("listing")


def test_a_listing_may_miss_a_name_that_is_replaced_meanwhile() -> None:
    of_replaced = Judge(REPLACED, {})
    assert of_replaced.judge_listing(listed(90, 120)) == ()
    assert of_replaced.judge_listing(listed(90, 120, "d/a")) == fresh("listing")


def test_listings_are_told_apart_by_process_and_number() -> None:
    answers = [
        RecordedAnswer(AnswerKind.LISTED, "d/a", 1, 2, number=1, process="7"),
        RecordedAnswer(AnswerKind.LISTED, "d/b", 1, 2, number=1, process="8"),
        RecordedAnswer(AnswerKind.LIST_END, "d", 1, 3, number=1, process="7"),
        RecordedAnswer(AnswerKind.LIST_END, "d", 1, 3, number=2, process="7"),
    ]
    assert [one.names for one in listings(answers)] == [{"d/a"}, frozenset()]


# What nothing can be said about


def test_what_the_workload_changed_itself_is_unknown_from_then_on() -> None:
    own = own_changes(
        [
            RecordedAnswer(AnswerKind.OWN, "d/a", 140, 145),
            RecordedAnswer(AnswerKind.OWN, "d/a", 130, 131),
        ]
    )
    assert own == {"d/a": 130}
    assert judge(REMOVED, looked(115, 129), own=own) == stale("existence", 19)
    assert judge(REMOVED, looked(115, 130), own=own) == ()
    assert Judge(REMOVED, own).judge_listing(listed(115, 150, "d/a")) == ()


def test_a_directory_that_the_workload_moves_takes_its_names_with_it() -> None:
    assert judge(REMOVED, looked(200, 210), own={"d": 150}) == ()
    assert judge(REMOVED, looked(200, 210), own={"": 150}) == ()
    assert judge(REMOVED, looked(200, 210), own={"e": 150}) == stale("existence", 100)


def test_what_lies_in_a_volume_is_not_the_hosts() -> None:
    assert judge(REMOVED, looked(200, 210), private=("d",)) == ()
    assert judge(REMOVED, looked(200, 210), private=("da",)) == stale("existence", 100)


def test_a_mapping_is_unknown() -> None:
    assert judge(REMOVED, RecordedAnswer(AnswerKind.UNKNOWN, "d/a", 200, 210)) == ()


# All of them


def kind(judged: int, *ages_ns: int, unexplained: int = 0) -> dict[str, object]:
    return {
        "judged": judged,
        "stale": len(ages_ns),
        "ages_ns": list(ages_ns),
        "unexplained": unexplained,
    }


def test_what_is_true_of_nothing_is_told_apart_and_not_taken_for_stale() -> None:
    """Another program's bytes under a descriptor's old number, or a change that nobody saw."""
    unexplained = (JudgedStatement("content", Freshness.UNEXPLAINED),)
    assert judge(IN_PLACE, was_read(b"a socket's", 200, 210)) == unexplained
    found = counted(IN_PLACE, [was_read(b"a socket's", 200, 210), stated(200, 210, 3, 777)])
    assert found["stale"]["content"] == kind(0, unexplained=1)
    assert found["stale"]["attributes"] == kind(0, unexplained=1)
    assert found["answers"] == {"recorded": 2, "judged": 1, "unknown": 1}


def test_a_mixture_of_two_states_is_stale() -> None:
    """A new size with an old time; new content that ends where the old one did."""
    assert judge(IN_PLACE, stated(200, 210, 7, 1_000)) == fresh("existence") + stale(
        "attributes", 100
    )
    assert judge(IN_PLACE, replace(was_read(NEW[:3], 200, 210), number=1)) == stale("content", 100)


def test_answers_are_counted_by_kind() -> None:
    answers = [
        stated(10, 20, 3, 1_000),
        looked(111, 150),
        looked(111, 210, errno.EACCES),
        RecordedAnswer(AnswerKind.LISTED, "d/a", 111, 120, number=1),
        RecordedAnswer(AnswerKind.LIST_END, "d", 111, 150, number=1),
        looked(150, 160, errno.ENOENT),
        RecordedAnswer(AnswerKind.LOOKUP, "d/other", 1, 2),
        RecordedAnswer(AnswerKind.OWN, "d/a", 900, 910),
        looked(950, 960),
    ]
    found = counted(REMOVED, answers)
    assert found["answers"] == {"recorded": 6, "judged": 4, "unknown": 2}
    assert set(found["stale"]) == set(KINDS)
    assert found["stale"]["existence"] == kind(2, 40)
    assert found["stale"]["absence"] == kind(1)
    assert found["stale"]["attributes"] == kind(1)
    assert found["stale"]["listing"] == kind(1, 40)


def test_a_timeline_is_read_from_the_editors_log() -> None:
    document = {
        "names": {"d/a": [[0, 0, 1], [100, 110, None]]},
        "objects": {"1": [[0, 0, 3, 1_000, "0"]]},
        "contents": {"0": "old", "1": "new one", "2": ""},
    }
    assert timeline_from(document) == REMOVED


def test_of_a_directory_that_comes_and_goes_only_its_being_there_is_judged() -> None:
    assert judge(APPEARED, looked(120, 130, errno.ENOENT)) == (
        JudgedStatement("absence", Freshness.STALE, 20),
    )
    assert judge(APPEARED, stated(120, 130, 4096, 5)) == (
        JudgedStatement("existence", Freshness.FRESH),
    )
    assert judge(APPEARED, stated(220, 230, 4096, 5)) == (
        JudgedStatement("existence", Freshness.STALE, 20),
    )
    assert judge(APPEARED, looked(220, 230, errno.ENOENT)) == (
        JudgedStatement("absence", Freshness.FRESH),
    )
    assert judge(APPEARED, was_read(b"", 120, 130, (112, 115))) == ()


# What is untrue in two ways

GONE_AFTER_AN_EDIT = Timeline(
    {"d/a": (NameState(0, 0, 1), NameState(9_990, 10_000, None))},
    {1: (FIRST, WRITTEN)},
    CONTENTS,
)


def test_attributes_are_as_old_as_they_are_also_where_the_name_has_gone() -> None:
    """The stat was last true before the first edit, not until the removal."""
    assert judge(GONE_AFTER_AN_EDIT, stated(10_010, 10_110, 3, 1_000)) == (
        *stale("existence", 110),
        *stale("attributes", 10_000),
    )
    # True until the name went: that is one untruth.
    assert judge(GONE_AFTER_AN_EDIT, stated(10_010, 10_110, 7, 2_000)) == stale("existence", 110)


EDITED_TWICE = Timeline(
    {"d/a": (NameState(0, 0, 1),)},
    {
        1: (
            FIRST,
            WRITTEN,
            ObjectState(500, 510, 3, 3_000, "0"),
            ObjectState(900, 910, 5, 4_000, "3"),
        )
    },
    CONTENTS | {"3": b"fifth"},
)


def test_a_mixture_is_as_old_as_its_oldest_part() -> None:
    assert judge(EDITED_TWICE, stated(1_000, 1_010, 5, 1_000)) == fresh("existence") + stale(
        "attributes", 900
    )
    # The size of the first state has come back, and ended with the third.
    assert judge(EDITED_TWICE, stated(1_000, 1_010, 3, 4_000)) == fresh("existence") + stale(
        "attributes", 100
    )


def test_content_that_came_back_is_as_old_as_when_it_ended_last() -> None:
    assert judge(EDITED_TWICE, was_read(OLD, 1_000, 1_010)) == stale("content", 100)


def test_a_read_that_was_cut_where_no_state_ended_is_not_stale() -> None:
    """A signal, or a device, may end a read anywhere: nothing is concluded from that."""
    short = was_read(NEW[:2], 200, 210)
    assert judge(IN_PLACE, short) == (JudgedStatement("content", Freshness.UNEXPLAINED),)


def test_what_may_be_made_of_both_sides_of_a_change_is_unknown() -> None:
    """Two of three pages were written when they were read: so it may be natively, too."""
    timeline = Timeline(
        {"d/a": (NameState(0, 0, 1),)},
        {
            1: (
                ObjectState(0, 0, 2, 1, "x"),
                ObjectState(10, 20, 2, 2, "y"),
                ObjectState(100, 110, 2, 3, "z"),
            )
        },
        {"x": b"ab", "y": b"aa", "z": b"bb"},
    )
    assert judge(timeline, was_read(b"ab", 105, 106)) == ()
    assert judge(timeline, was_read(b"ab", 120, 130)) == stale("content", 110)


def test_a_state_from_before_the_name_was_given_is_not_what_the_name_shows() -> None:
    """It was written under another name, and renamed: by this one nobody saw it so."""
    timeline = Timeline(
        {"d/a": (NameState(0, 0, 1), NameState(100, 110, 2))},
        {
            1: (ObjectState(0, 0, 3, 7, "0"),),
            2: (ObjectState(0, 0, 3, 7, "0"), ObjectState(50, 60, 7, 8, "1")),
        },
        CONTENTS,
    )
    # The old file had that until it was replaced, which is later than the new one had it.
    assert judge(timeline, stated(200, 210, 3, 7)) == fresh("existence") + stale("attributes", 100)
    # And while both may be asked for, what was before the rename is nothing to be seen.
    late = Timeline(
        {"d/a": (NameState(0, 0, None), NameState(100, 110, 2))},
        {2: (ObjectState(0, 0, 3, 7, "0"), ObjectState(50, 60, 7, 8, "1"))},
        CONTENTS,
    )
    assert judge(late, stated(55, 120, 3, 7))[1:] != fresh("attributes")
