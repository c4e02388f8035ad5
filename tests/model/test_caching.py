"""The cache policies: each tested as its author would, without a mount."""

import os
import textwrap

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.complaints import noticed

from osxfs_sim.model import caching
from osxfs_sim.model.caching import (
    UNCACHED,
    Cached,
    CachePolicy,
    CacheTimeouts,
    Complete,
    Consistent,
    Dilated,
    Negative,
)

SECOND_NS = 10**9
HOUR_NS = 3_600 * SECOND_NS


def status_of(mtime_s: float = 0) -> os.stat_result:
    # The tenth field is the whole seconds, the one for nanoseconds comes last of the times.
    return os.stat_result(
        (0o100644, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0.0, mtime_s, 0.0, 0, int(mtime_s * SECOND_NS), 0)
    )


def permissions(policy: CachePolicy, now_ns: int = 0) -> tuple[CacheTimeouts, int, bool]:
    """All that a policy may be asked, of one file and one missing name."""
    status = status_of()
    return (
        policy.found(b"name", status, now_ns),
        policy.negative_timeout_ns(b"missing", now_ns),
        policy.keep_pages(status, now_ns),
    )


def test_the_base_of_all_policies_caches_nothing():
    assert permissions(CachePolicy()) == (UNCACHED, 0, False)
    assert CacheTimeouts(entry_timeout_ns=0, attr_timeout_ns=0) == UNCACHED


def test_consistent_caches_nothing():
    assert permissions(Consistent()) == (UNCACHED, 0, False)


def test_cached_caches_what_exists_and_no_negative_entries():
    assert permissions(Cached(HOUR_NS)) == (CacheTimeouts(HOUR_NS, HOUR_NS), 0, True)


def test_negative_caches_negative_entries_for_a_timeout_of_their_own():
    policy = Negative(HOUR_NS, 5 * SECOND_NS)
    assert permissions(policy) == (CacheTimeouts(HOUR_NS, HOUR_NS), 5 * SECOND_NS, True)


def test_complete_caches_what_negative_does_and_complete_directories_too():
    complete, negative = (each(HOUR_NS, 5 * SECOND_NS) for each in (Complete, Negative))
    assert permissions(complete) == permissions(negative)
    assert complete.complete
    assert Dilated(complete, 2.0).complete


@pytest.mark.parametrize("policy", [CachePolicy(), Consistent(), Cached(1), Negative(1, 1)])
def test_no_other_policy_keeps_a_set_of_names(policy):
    assert not policy.complete
    assert not Dilated(policy, 2.0).complete


def test_a_lifetime_counts_from_the_answer_whatever_the_time_is():
    policy = Negative(HOUR_NS, SECOND_NS)
    assert permissions(policy, now_ns=0) == permissions(policy, now_ns=1_700_000_000 * SECOND_NS)


@pytest.mark.parametrize(
    ("policy", "phrase"),
    [
        (Consistent(), "consistent: nothing cached"),
        (Cached(HOUR_NS), "cached: entries, attributes and pages for 3600s"),
        (Cached(SECOND_NS // 2), "cached: entries, attributes and pages for 0.5s"),
        (
            Negative(HOUR_NS, 5 * SECOND_NS),
            "cached: entries, attributes and pages for 3600s, missing names for 5s",
        ),
        (
            Complete(HOUR_NS, 5 * SECOND_NS),
            "cached: entries, attributes and pages for 3600s, missing names for 5s, "
            "names of a directory as a whole",
        ),
        (Dilated(Consistent(), 2.0), "consistent: nothing cached; times 2"),
        (CachePolicy(), "osxfs_sim.model.caching:CachePolicy"),
    ],
)
def test_a_policy_describes_itself_in_one_phrase(policy, phrase):
    assert policy.describe() == phrase


def test_a_dilated_policy_multiplies_every_lifetime_and_nothing_else():
    policy = Negative(HOUR_NS, 5 * SECOND_NS)
    assert permissions(Dilated(policy, 10.0)) == (
        CacheTimeouts(10 * HOUR_NS, 10 * HOUR_NS),
        50 * SECOND_NS,
        True,
    )
    assert permissions(Dilated(policy, 0.5)) == (
        CacheTimeouts(HOUR_NS // 2, HOUR_NS // 2),
        5 * SECOND_NS // 2,
        True,
    )


def every_lifetime_is_multiplied(dilated):
    lifetimes = st.integers(0, 10_000 * HOUR_NS)

    @given(entry=lifetimes, attributes=lifetimes, missing=lifetimes, factor=st.integers(1, 1_000))
    def check(entry, attributes, missing, factor):
        class Told(CachePolicy):
            def found(self, name, status, now_ns):
                return CacheTimeouts(entry, attributes)

            def negative_timeout_ns(self, name, now_ns):
                return missing

        timeouts, negative_timeout_ns, keep = permissions(dilated(Told(), float(factor)))
        # A float carries 53 bits of the product.
        assert timeouts.entry_timeout_ns == pytest.approx(entry * factor, rel=1e-15)
        assert timeouts.attr_timeout_ns == pytest.approx(attributes * factor, rel=1e-15)
        assert negative_timeout_ns == pytest.approx(missing * factor, rel=1e-15)
        assert not keep

    check()


def test_dilating_multiplies_the_lifetimes_of_any_policy():
    every_lifetime_is_multiplied(Dilated)


class ForgetsMissing(Dilated):
    def negative_timeout_ns(self, name, now_ns):
        return self.policy.negative_timeout_ns(name, now_ns)


class ForgetsAttributes(Dilated):
    def found(self, name, status, now_ns):
        entry_timeout_ns, attr_timeout_ns = self.policy.found(name, status, now_ns)
        return CacheTimeouts(round(entry_timeout_ns * self.factor), attr_timeout_ns)


class AlwaysKeeps(Dilated):
    def keep_pages(self, status, now_ns):
        return True


@pytest.mark.parametrize("bug", [ForgetsMissing, ForgetsAttributes, AlwaysKeeps])
def test_the_check_of_dilated_policies_notices(bug):
    with noticed():
        every_lifetime_is_multiplied(bug)


def test_the_example_for_authors_works_as_printed():
    text = caching.__doc__
    example = textwrap.dedent(text[text.index("    class ") :])
    names = {"CachePolicy": CachePolicy, "CacheTimeouts": CacheTimeouts}
    exec(example, names)
    policy = names["FreshFilesChange"]()

    def timeouts(age_s):
        return policy.found(b"", status_of(mtime_s=1_000), (1_000 + age_s) * SECOND_NS)

    assert timeouts(age_s=100) == CacheTimeouts(10 * SECOND_NS, 10 * SECOND_NS)
    assert timeouts(age_s=10_000) == CacheTimeouts(60 * SECOND_NS, 60 * SECOND_NS)
    assert timeouts(age_s=-5) == UNCACHED  # a file of the future
