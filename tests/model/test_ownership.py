"""Whom an object belongs to: the attribute's value, and what a chown makes of it."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from support.complaints import complaint, noticed

from osxfs_sim.model.ownership import (
    LONGEST_OWNER_BYTES,
    OWNER_ATTRIBUTE,
    UNSET,
    MalformedOwnerError,
    Owner,
    Ownership,
    format_owner,
    parse_owner,
)

HIGHEST_ID = 2**32 - 2
ids = st.none() | st.integers(0, HIGHEST_ID)
owners = st.builds(Owner, ids, ids)


def test_there_are_two_policies():
    assert [policy.value for policy in Ownership] == ["osxfs", "host"]


def test_the_attribute_is_the_one_of_osxfs_in_the_namespace_that_linux_gives_users():
    assert OWNER_ATTRIBUTE == b"user.com.docker.owner"


@pytest.mark.parametrize(
    ("value", "owner"),
    [
        (b"0:0:0", Owner(0, 0)),
        (b"0:1000:100", Owner(1000, 100)),
        (b"0:1000:", Owner(1000, None)),
        (b"0::100", Owner(None, 100)),
        (b"0::", UNSET),
        (b"0:4294967294:4294967294", Owner(HIGHEST_ID, HIGHEST_ID)),
    ],
)
def test_values_and_what_they_mean(value: bytes, owner: Owner):
    assert parse_owner(value) == owner
    assert format_owner(owner) == value


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"0",
        b"0:",
        b"0:1",
        b":1:2",
        b"1:1:2",
        b"00:1:2",
        b"0:1:2:3",
        b"0:-1:2",
        b"0:+1:2",
        b"0:1.0:2",
        b"0:1_0:2",
        b"0: 1:2",
        b"0:1:2\n",
        b"0:1:2\0",
        b" 0:1:2",
        b"0:root:root",
        b"0:0x10:1",
        "0:1:²".encode(),
        "0:١:1".encode(),
        b"\xff\xfe",
        b"0:4294967295:0",
        b"0:0:4294967295",
        b"0:0:4294967296",
        b"0:99999999999:0",
        b"0:" + b"1" * 4_096 + b":0",
    ],
)
def test_what_is_no_owner_is_refused_in_one_line(value: bytes):
    message = complaint(MalformedOwnerError, parse_owner, value)
    assert len(message) < 4 * LONGEST_OWNER_BYTES + 40


@given(st.binary(max_size=LONGEST_OWNER_BYTES) | st.from_regex(rb"0:[0-9]{0,11}:[0-9]{0,11}\n?"))
def test_any_bytes_are_an_owner_or_are_refused(value: bytes):
    try:
        owner = parse_owner(value)
    except MalformedOwnerError:
        return
    assert parse_owner(format_owner(owner)) == owner


def what_is_written_is_read_again(form, parse):
    @given(owners)
    @example(UNSET)
    @example(Owner(0, 0))
    def check(owner):
        value = form(owner)
        assert len(value) <= LONGEST_OWNER_BYTES
        assert parse(value) == owner

    check()


def test_what_is_written_is_read_again():
    what_is_written_is_read_again(format_owner, parse_owner)


def swaps(owner: Owner) -> bytes:
    return format_owner(Owner(owner.gid, owner.uid))


def takes_root_for_unset(owner: Owner) -> bytes:
    return f"0:{owner.uid or ''}:{owner.gid or ''}".encode()


def pads(owner: Owner) -> bytes:
    return format_owner(owner) + b"\0"


@pytest.mark.parametrize("bug", [swaps, takes_root_for_unset, pads])
def test_the_check_of_what_is_written_notices(bug):
    with noticed(AssertionError, MalformedOwnerError):
        what_is_written_is_read_again(bug, parse_owner)


@pytest.mark.parametrize(
    ("owner", "told"),
    [
        (UNSET, (501, 20)),
        (Owner(7, None), (7, 20)),
        (Owner(None, 8), (501, 8)),
        (Owner(7, 8), (7, 8)),
        (Owner(0, 0), (0, 0)),
        (Owner(0, None), (0, 20)),
    ],
)
def test_whoever_asks_is_told_its_own_id_where_none_is_kept(owner, told):
    assert owner.reported_to(501, 20) == told


@pytest.mark.parametrize(
    ("before", "change", "after"),
    [
        (UNSET, (7, None), Owner(7, None)),
        (UNSET, (None, 8), Owner(None, 8)),
        (UNSET, (7, 8), Owner(7, 8)),
        (Owner(1, 2), (7, None), Owner(7, 2)),
        (Owner(1, 2), (None, 8), Owner(1, 8)),
        (Owner(1, 2), (0, 0), Owner(0, 0)),
        (Owner(1, None), (None, 0), Owner(1, 0)),
        (Owner(1, 2), (None, None), Owner(1, 2)),
    ],
)
def test_a_change_of_one_id_leaves_the_other_as_it_was(before, change, after):
    assert before.overlaid(*change) == after


def changes_overlay(owner_class):
    """The last one set of each id is told, and nothing else ever is."""

    @given(owners, st.lists(st.tuples(ids, ids), max_size=5), st.tuples(ids, ids))
    @example(UNSET, [(0, None)], (5, 5))
    @example(Owner(1, 2), [(None, 3)], (5, 5))
    def check(start, changes, caller):
        owner = owner_class(*start)
        for change in changes:
            owner = owner.overlaid(*change)
        for kept, told, which in zip(owner, owner.reported_to(*caller), (0, 1), strict=True):
            given_ids = [each[which] for each in (start, *changes) if each[which] is not None]
            assert kept == (given_ids[-1] if given_ids else None)
            assert told == (caller[which] if kept is None else kept)

    check()


def test_of_many_changes_the_last_of_each_id_counts():
    changes_overlay(Owner)


class ForgetsTheOther(Owner):
    def overlaid(self, uid, gid):
        return ForgetsTheOther(uid, gid)


class TakesRootForNobody(Owner):
    def overlaid(self, uid, gid):
        return TakesRootForNobody(uid or self.uid, gid or self.gid)


class TellsOnlyRoot(Owner):
    def overlaid(self, uid, gid):
        return TellsOnlyRoot(*super().overlaid(uid, gid))

    def reported_to(self, uid, gid):
        return self.uid or 0, self.gid or 0


@pytest.mark.parametrize("bug", [ForgetsTheOther, TakesRootForNobody, TellsOnlyRoot])
def test_the_check_of_changes_notices(bug):
    with noticed():
        changes_overlay(bug)


def test_the_longest_value_that_is_written_fits():
    assert len(format_owner(Owner(HIGHEST_ID, HIGHEST_ID))) <= LONGEST_OWNER_BYTES
