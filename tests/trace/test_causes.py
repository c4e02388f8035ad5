"""What ideal caches would have spared: told by stories, and against caches written plainly."""

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.traces import Row, found, header_of, in_turn, missed, row, table_of

from osxfs_sim.trace.analysis import Analysis, analyze
from osxfs_sim.trace.causes import NECESSARY, RULES, Replay
from osxfs_sim.trace.requests import requests_of

KEYS = [rule.key for rule in RULES] + ["necessary"]


def causes_of(*rows: Row) -> list[str]:
    """The key of each request's cause, in the order of arrival."""
    table = table_of(in_turn(list(rows)))
    return [KEYS[each] for each in Replay(requests_of(table, (0, 10**15))).classes()]


def analysis_of(*rows: Row, **header: Any) -> Analysis:
    ordered = in_turn(list(rows))
    return analyze(header_of(ordered, **header), table_of(ordered), title="a story")


# Names


def test_a_name_that_was_missing_is_known_to_be():
    assert causes_of(missed("a"), missed("a"), missed("a")) == ["necessary", "negative", "negative"]


def test_the_first_miss_brings_all_names_of_its_directory_along():
    assert causes_of(missed("a"), missed("b"), missed("b"), missed("b", inode=2)) == [
        *("necessary", "complete", "negative", "necessary"),
    ]


def test_a_listing_brings_all_names_along():
    assert causes_of(row("READDIRPLUS", 5), missed("a", 5)) == ["necessary", "complete"]


def test_what_is_missing_is_not_known_after_it_was_made_or_taken_away():
    story = (
        missed("a"),
        row("CREATE", 1, "a", found=9),
        found("a", 9),
        row("UNLINK", 1, "a"),
        missed("a"),
        missed("a"),
    )
    assert causes_of(*story) == [
        *("necessary", "cancelled", "entries", "cancelled", "complete", "negative"),
    ]


def test_a_name_that_is_another_object_now_is_looked_up_for_good_reason():
    assert causes_of(found("a", 5), found("a", 5), found("a", 6), found("a", 6)) == [
        *("necessary", "entries", "necessary", "entries"),
    ]


def test_a_renamed_name_is_not_known_any_more():
    assert causes_of(found("a", 5), row("RENAME", 1, "a", found=1), missed("a"))[2] == "necessary"


def test_a_refused_lookup_says_nothing():
    refused = row("LOOKUP", 1, "a", error="EACCES")
    assert causes_of(refused, refused) == ["necessary", "necessary"]


# Attributes


@pytest.mark.parametrize(
    "teaching",
    [
        row("GETATTR", 5),
        row("SETATTR", 5),
        found("a", 5),
        row("CREATE", 1, "a", found=5),
    ],
    ids=lambda row: row["operation"],
)
def test_every_answer_about_an_object_tells_its_attributes(teaching):
    assert causes_of(teaching, row("GETATTR", 5), row("GETATTR", 6))[1:] == [
        *("attributes", "necessary"),
    ]


@pytest.mark.parametrize(
    "ending",
    [
        row("WRITE", 5),
        row("READ", 5, size_bytes=1),
        row("READDIRPLUS", 5),
        row("SETXATTR", 5, "user.a"),
        row("CREATE", 5, "a", found=7),
        row("UNLINK", 5, "a"),
        row("RENAME", 9, "a", found=5),
    ],
    ids=lambda row: row["operation"],
)
def test_what_changes_an_object_ends_what_is_known_of_its_attributes(ending):
    assert causes_of(row("GETATTR", 5), ending, row("GETATTR", 5))[2] == "necessary"


def test_a_link_that_goes_changes_the_object_it_named():
    story = (found("a", 5), row("UNLINK", 1, "a"), row("GETATTR", 5), row("GETATTR", 5))
    assert causes_of(*story)[2:] == ["necessary", "attributes"]


def test_a_failed_change_changes_nothing():
    failed = row("CREATE", 5, "a", error="EEXIST")
    assert causes_of(row("GETATTR", 5), failed, row("GETATTR", 5)) == [
        *("necessary", "necessary", "attributes"),
    ]


def test_data_that_was_read_before_does_not_change_the_time_of_access():
    read = row("READ", 5, size_bytes=9)
    story = (read, row("GETATTR", 5), read, row("GETATTR", 5))
    assert causes_of(*story) == ["necessary", "necessary", "data", "attributes"]


# Contents


def test_data_is_read_again_at_the_same_place_until_it_is_written():
    def read(offset: int, size: int) -> Row:
        return row("READ", 5, offset_bytes=offset, size_bytes=size)

    story = (read(0, 10), read(0, 10), read(10, 10), read(0, 20), row("WRITE", 5), read(0, 10))
    assert causes_of(*story) == ["necessary", "data", "necessary", "necessary", "held", "necessary"]


def test_a_link_is_followed_again():
    assert causes_of(row("READLINK", 5), row("READLINK", 5)) == ["necessary", "links"]


def test_one_listing_takes_several_requests_and_is_no_repeat_of_itself():
    listing = (row("OPENDIR", 5), row("READDIRPLUS", 5), row("READDIRPLUS", 5))
    assert causes_of(*listing, *listing) == ["necessary"] * 3 + ["listings"] * 3


def test_a_directory_that_has_changed_is_listed_again_for_good_reason():
    listing = (row("OPENDIR", 5), row("READDIRPLUS", 5))
    made = row("MKDIR", 5, "a", found=8)
    assert causes_of(*listing, made, *listing) == [
        *("necessary", "necessary", "held", "necessary", "necessary"),
    ]


# Changes


def test_what_is_made_and_removed_never_needs_to_cross():
    story = (
        row("CREATE", 1, "a", found=5),
        row("WRITE", 5),
        row("SETATTR", 5),
        row("FLUSH", 5),
        row("UNLINK", 1, "a"),
    )
    assert causes_of(*story) == ["cancelled", "cancelled", "cancelled", "flush", "cancelled"]


def test_a_number_that_is_given_again_is_another_object():
    story = (
        row("CREATE", 1, "a", found=5),
        row("UNLINK", 1, "a"),
        row("CREATE", 1, "b", found=5),
        row("WRITE", 5),
    )
    assert causes_of(*story) == ["cancelled", "cancelled", "held", "held"]


def test_what_keeps_a_name_has_to_cross_some_time():
    story = (
        row("CREATE", 1, "a", found=5),
        row("LINK", 1, "b", found=5),
        row("UNLINK", 1, "a"),
    )
    assert causes_of(*story) == ["held"] * 3


def test_what_was_made_safe_has_crossed():
    story = (row("CREATE", 1, "a", found=5), row("FSYNC", 5), row("UNLINK", 1, "a"))
    assert causes_of(*story) == ["held", "necessary", "held"]


def test_what_was_there_before_does_not_come_and_go():
    assert causes_of(found("a", 5), row("UNLINK", 1, "a")) == ["necessary", "held"]


def test_a_refused_change_has_to_be_asked_for():
    assert causes_of(row("MKDIR", 1, "a", error="EEXIST")) == ["necessary"]


@pytest.mark.parametrize("answered_by", ["names", "held", "guest"])
def test_what_did_not_cross_cannot_be_spared(answered_by):
    assert causes_of(missed("a"), missed("a", answered_by=answered_by))[1] == "inside"


def test_a_removal_that_says_what_it_took_away_is_trusted():
    story = (found("a", 6), found("a", 7), row("UNLINK", 1, "a", found=6))
    assert causes_of(*story, row("GETATTR", 6))[3] == "necessary"
    assert causes_of(*story, row("GETATTR", 7))[3] == "attributes"


# Against caches written as plainly as can be


def plainly(rows: list[Row]) -> list[str]:
    """The causes by caches that are dictionaries and sets, one request at a time.

    Answers for names, attributes and data alone: all else is "other".
    """
    names: dict[Any, Any] = {}
    known_directories: set[int] = set()
    attributes: set[int] = set()
    data: dict[int, dict[int, int]] = {}
    said = []
    for each in rows:
        operation, inode, found = each["operation"], each["inode"], each.get("found", 0)
        failed, key = each.get("error") is not None, (each["inode"], each["name"])
        cause = "other"
        if operation == "LOOKUP" and each.get("error") == "ENOENT":
            cause = "negative" if names.get(key) == "missing" else "necessary"
            if cause == "necessary" and inode in known_directories:
                cause = "complete"
            names[key] = "missing"
            known_directories.add(inode)
        elif operation == "LOOKUP":
            cause = "entries" if not failed and names.get(key) == found else "necessary"
            if not failed:
                names[key] = found
                attributes.add(found)
        elif operation == "GETATTR":
            cause = "attributes" if not failed and inode in attributes else "necessary"
            if not failed:
                attributes.add(inode)
        elif operation == "READ":
            before = data.setdefault(inode, {})
            offset, size = each["offset_bytes"], each["size_bytes"]
            cause = "data" if not failed and size <= before.get(offset, -1) else "necessary"
            if not failed:
                before.setdefault(offset, size)
                if cause != "data":
                    attributes.discard(inode)
        elif not failed:
            if operation == "WRITE":
                data.pop(inode, None)
                attributes.discard(inode)
            elif operation == "READDIRPLUS":
                known_directories.add(inode)
                attributes.discard(inode)
            elif operation == "CREATE":
                names[key] = found
                attributes.discard(inode)
                attributes.add(found)
                data.pop(found, None)
            elif operation in ("UNLINK", "RENAME"):
                child = names.pop(key, None)
                if operation == "UNLINK" and found:
                    child = found  # it says so itself
                if child != "missing":
                    attributes.discard(child)
                attributes.discard(inode)
                if operation == "RENAME":
                    attributes.discard(found)
        said.append(cause)
    return said


ASKED = ("LOOKUP", "GETATTR", "READ")
STORIES = st.lists(
    st.builds(
        row,
        st.sampled_from([*ASKED, "LOOKUP", "WRITE", "READDIRPLUS", "CREATE", "UNLINK", "RENAME"]),
        st.integers(1, 3),
        st.sampled_from("abc"),
        found=st.integers(0, 5),
        error=st.sampled_from([None, None, None, "ENOENT", "EACCES"]),
        offset_bytes=st.sampled_from([0, 10]),
        size_bytes=st.sampled_from([5, 10]),
    ),
    max_size=40,
)


@pytest.mark.takes_seconds
@given(STORIES)
@settings(max_examples=300)
def test_the_replay_agrees_with_plain_caches(rows):
    expected = plainly(rows)
    assert [
        cause if each["operation"] in ASKED else "other"
        for cause, each in zip(causes_of(*rows), rows, strict=True)
    ] == expected


def test_plain_caches_do_not_agree_with_anything():
    rows = [missed("a"), missed("a")]
    assert plainly(rows) == ["necessary", "negative"]
    assert plainly(rows) != causes_of(missed("a"), missed("b"))


@pytest.mark.takes_seconds
@given(STORIES, STORIES)
def test_what_comes_later_changes_no_cause_of_a_question(rows, more):
    alone = causes_of(*rows)
    followed = causes_of(*rows, *more)[: len(rows)]
    for each, before, after in zip(rows, alone, followed, strict=True):
        # A change may turn out to be one of an object that goes again; a question is what it is.
        assert before == after or each["operation"] not in ASKED


# In sentences


def test_missing_names_are_told_in_one_sentence():
    rows = [*(missed("a") for _ in range(1_200)), *(missed(f"n{n}") for n in range(30))]
    said = analysis_of(*rows, lasted_ns=1_000_000).summary[0]
    assert said == (
        "1,230 lookups of missing names x 100ns = 123us of 1ms: 1,199 are repeats that a negative "
        "cache answers (119.9us); 30 are first lookups that only a complete negative cache answers "
        "(3us); 1 is a first lookup in directories of which nothing was known (100ns)"
    )


def test_a_cause_is_told_with_its_product():
    result = analysis_of(missed("a"), *(missed("a") for _ in range(2_000)), lasted_ns=1_000_000)
    (cause,) = result.causes
    assert (cause.remedy, cause.requests, cause.time_ns) == ("negative", 2_000, 200_000)
    assert cause.sentence == (
        "2,000 repeated lookups of missing names x 100ns = 200us of 1ms: "
        "a negative cache answers them"
    )
    assert (result.necessary.requests, result.necessary.time_ns) == (1, 100)


def test_each_policy_spares_what_those_before_it_spare_too():
    result = analysis_of(missed("a"), missed("a"), missed("b"), found("c", 5), found("c", 5))
    assert result.summary[-1] == (
        "of 500ns, ideal caches spare at most: cached 100ns, negative 200ns, complete 300ns; "
        "write-back besides 0us; requests of 200ns are necessary"
    )


def test_a_remedy_that_no_policy_here_has_says_so():
    (cause,) = analysis_of(row("READLINK", 5), row("READLINK", 5)).causes
    assert cause.remedy == "none here"
    assert "no policy here keeps them" in cause.sentence


def test_reuse_counts_questions_and_repeats():
    reuse = analysis_of(missed("a"), missed("a"), found("b", 5), row("GETATTR", 5)).reuse
    assert reuse["names"] == {"requests": 3, "before": 1}
    assert reuse["attributes"] == {"requests": 1, "before": 1}
    assert reuse["data"] == {"requests": 0, "before": 0}


def test_every_rule_has_a_story():
    stories = (
        *(missed("a"), missed("a"), missed("b"), found("c", 5), found("c", 5)),
        *(row("GETATTR", 5), row("READ", 5), row("READ", 5), row("READLINK", 6)),
        *(row("READLINK", 6), row("OPENDIR", 7), row("OPENDIR", 7), row("WRITE", 5)),
        *(row("CREATE", 1, "t", found=8), row("UNLINK", 1, "t"), row("FLUSH", 5)),
        row("FORGET", 5, answered_by="guest"),
    )
    assert set(causes_of(*stories)) == set(KEYS)
    assert KEYS[NECESSARY] == "necessary"
