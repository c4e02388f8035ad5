"""What group and others may do: of all modes and all pasts, never more than on the other side."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from osxfs_sim.synchronize import permissions
from osxfs_sim.synchronize.permissions import created, merged, replacing
from osxfs_sim.synchronize.snapshot import Known

GRANTS = st.integers(0, 0o077)
MODES = st.integers(0, 0o777)
READ = 0o044
MANY = settings(
    max_examples=300, deadline=None, derandomize=True, database=None, report_multiple_bugs=False
)


@MANY
@given(GRANTS, st.booleans())
def test_what_is_made_grants_no_more_and_is_its_owners(grants, runs):
    mode = created(grants, runs=runs)
    assert mode & 0o077 & ~grants == 0
    assert mode & 0o600 == 0o600
    assert mode & ~(0o755 if runs else 0o644) == 0
    assert bool(mode & 0o111) is runs


@MANY
@given(MODES, GRANTS, st.booleans())
def test_what_is_replaced_grants_no_more_than_it_did_nor_than_what_comes(mode, grants, runs):
    after = replacing(mode, grants, runs=runs)
    for bits in (READ, 0o011):
        assert after & bits & ~grants == 0
    assert after & 0o066 & ~mode == 0
    assert after & 0o011 & ~((mode & READ) >> 2) == 0
    assert (after & READ) >> 1 | ~after & 0o022 == 0o022 | (after & READ) >> 1


@MANY
@given(GRANTS, GRANTS, st.booleans())
def test_of_two_that_meet_neither_may_be_read_by_more(host, guest, runs):
    after = merged((None, None), host, guest, runs=runs)
    assert {grants & READ for grants in after} == {host & guest & READ}
    assert after[0] & ~host == after[1] & ~guest == 0


@MANY
@given(GRANTS, GRANTS, GRANTS, GRANTS, st.booleans(), st.booleans())
def test_what_is_taken_away_is_so_on_both_sides_and_only_an_image_is_opened(
    host_then, guest_then, host, guest, runs, is_image
):
    then = Known(b"h", host_then), Known(b"g", guest_then, is_image)
    new_host, new_guest = merged(then, host, guest, runs=runs)
    assert new_host & ~host == 0  # whatever the guest does
    assert new_guest & host_then & ~host & READ == 0
    assert new_host & guest_then & ~guest & READ == 0
    if not is_image:
        assert new_guest & ~guest == 0
    assert new_guest & ~guest & ~host == 0
    # And that is the end of it.
    assert merged(then, new_host, new_guest, runs=runs) == (new_host, new_guest)


@pytest.mark.takes_seconds
def test_a_rule_that_opens_the_original_is_noticed(monkeypatch):
    right = permissions.merged

    def wrong(then, host, guest, *, runs):
        return host | guest & READ, right(then, host, guest, runs=runs)[1]

    monkeypatch.setitem(globals(), "merged", wrong)
    with pytest.raises(AssertionError):
        test_what_is_taken_away_is_so_on_both_sides_and_only_an_image_is_opened()
