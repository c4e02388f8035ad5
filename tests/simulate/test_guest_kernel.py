"""The caches of the guest's kernel, rule by rule; each rule is shown a kernel that breaks it."""

from collections.abc import Callable

import pytest
from support import broken_kernels
from support.complaints import noticed
from support.recordings import LONG_NS, TICK_NS

from osxfs_sim.model.caching import UNCACHED, CacheTimeouts
from osxfs_sim.simulate.guest_kernel import (
    ALL,
    ATIME,
    CONTENT,
    CTIME,
    MODE,
    NEGATIVE,
    GuestKernel,
    Ticks,
    pages,
)

Kernel = Callable[[Ticks], GuestKernel]
TICKS = Ticks(TICK_NS)
FOR_LONG = CacheTimeouts(LONG_NS, LONG_NS)
STATUS = (5, 1_000)


def with_a(kernel: Kernel, timeouts: CacheTimeouts = FOR_LONG) -> GuestKernel:
    """A kernel that has looked up a, inode 2, in the directory 1, at 0."""
    made = kernel(TICKS)
    made.attributes(1, timeouts.attr_timeout_ns, (0, 0), 0)
    made.entry(1, b"a", 2, timeouts, STATUS, 0)
    return made


def is_valid(kernel: GuestKernel, name: bytes = b"a", now_ns: int = 0) -> bool:
    return kernel.valid(1, name, now_ns) is not None


# Rule 1


def an_answer_is_valid_to_the_end_of_its_last_tick(kernel: Kernel) -> None:
    for timeout_ns, ticks in ((1, 1), (TICK_NS, 1), (TICK_NS + 1, 2), (10 * TICK_NS, 10)):
        made = kernel(TICKS)
        came_ns = TICK_NS // 2
        made.entry(1, b"a", 2, CacheTimeouts(timeout_ns, timeout_ns), STATUS, came_ns)
        made.negative_entry(1, b"none", timeout_ns, came_ns)
        last_ns = (ticks + 1) * TICK_NS - 1
        for name in (b"a", b"none"):
            assert is_valid(made, name, last_ns)
            assert not is_valid(made, name, last_ns + 1)
        assert made.has_attributes(2, ALL, last_ns)
        assert not made.has_attributes(2, ALL, last_ns + 1)


def no_time_is_never(kernel: Kernel) -> None:
    made = with_a(kernel, UNCACHED)
    assert not is_valid(made)
    assert not made.has_attributes(2, MODE, 0)


# Rule 2


def a_hit_renews_nothing(kernel: Kernel) -> None:
    made = with_a(kernel, CacheTimeouts(2 * TICK_NS, 2 * TICK_NS))
    assert [is_valid(made, now_ns=tick * TICK_NS) for tick in range(4)] == [True] * 3 + [False]


# Rule 3


def an_epoch_ends_every_entry_and_no_attributes(kernel: Kernel) -> None:
    made = with_a(kernel)
    made.negative_entry(1, b"none", LONG_NS, 0)
    made.increment_epoch()
    assert not is_valid(made)
    assert not is_valid(made, b"none")
    assert made.known(1, b"a") is None
    assert made.has_attributes(2, ALL, 0)
    made.entry(1, b"a", 2, FOR_LONG, STATUS, 0)
    assert is_valid(made)


# Rule 4


def one_lookup_renews_entry_and_attributes(kernel: Kernel) -> None:
    made = with_a(kernel, CacheTimeouts(TICK_NS, TICK_NS))
    late_ns = 5 * TICK_NS
    known = made.known(1, b"a")
    assert not is_valid(made, now_ns=late_ns)
    assert known is not None
    assert known.inode == 2, "an expired dentry is revalidated"
    made.entry(1, b"a", 2, CacheTimeouts(TICK_NS, TICK_NS), STATUS, late_ns)
    assert is_valid(made, now_ns=late_ns)
    assert made.has_attributes(2, ALL, late_ns)


# Rule 6


def a_missing_name_is_kept_only_with_a_timeout(kernel: Kernel) -> None:
    made = kernel(TICKS)
    made.negative_entry(1, b"none", 0, 0)
    assert not is_valid(made, b"none")
    made.negative_entry(1, b"none", 1, 0)
    dentry = made.valid(1, b"none", 0)
    assert dentry is not None
    assert dentry.inode == NEGATIVE


# Rule 7


def attributes_are_asked_for_when_one_that_is_wanted_is_invalid_or_all_have_expired(
    kernel: Kernel,
) -> None:
    made = with_a(kernel)
    assert made.has_attributes(2, ALL, 0)
    made.invalidate_attributes(2, CTIME)
    assert not made.has_attributes(2, ALL, 0)
    assert made.has_attributes(2, CONTENT | MODE | ATIME, 0)
    made.attributes(2, TICK_NS, STATUS, 0)
    assert made.has_attributes(2, ALL, 0)
    assert not made.has_attributes(2, MODE, 5 * TICK_NS)
    assert not made.has_attributes(99, MODE, 0), "nobody has ever answered"


# Rule 8 (of model/caching.py)


def a_change_in_a_directory_ends_its_attributes_and_not_its_entries(kernel: Kernel) -> None:
    made = with_a(kernel)
    made.entry(1, b"b", 3, FOR_LONG, STATUS, 0)
    made.removed(1, b"a")
    assert not made.has_attributes(1, ALL, 0)
    assert is_valid(made, b"b")
    assert not is_valid(made, b"a")


# Rule 9 (of the facts that this was built on)


def a_read_takes_the_time_of_access_alone(kernel: Kernel) -> None:
    made = with_a(kernel)
    made.read(2, 0, 5)
    assert not made.has_attributes(2, ATIME, 0)
    assert made.has_attributes(2, CONTENT | MODE | CTIME, 0)


def a_listing_takes_the_time_of_access_alone(kernel: Kernel) -> None:
    made = with_a(kernel)
    made.listed(1)
    assert not made.has_attributes(1, ATIME, 0)
    assert made.has_attributes(1, CONTENT | MODE | CTIME, 0)


def a_removed_name_leaves_another_number_of_links(kernel: Kernel) -> None:
    made = with_a(kernel)
    made.removed(1, b"a")
    assert not made.has_attributes(2, MODE, 0)
    assert made.has_attributes(2, CONTENT, 0)


def a_renamed_entry_moves_along(kernel: Kernel) -> None:
    made = with_a(kernel)
    made.renamed(1, b"a", 1, b"b")
    assert not is_valid(made, b"a")
    assert is_valid(made, b"b")
    assert not made.has_attributes(2, CTIME, 0)
    assert made.has_attributes(2, CONTENT | MODE, 0)


# Pages


def pages_are_kept_until_size_or_mtime_differ(kernel: Kernel) -> None:
    for status in ((6, 1_000), (5, 1_001)):
        made = with_a(kernel)
        made.read(2, 0, 5)
        made.attributes(2, LONG_NS, STATUS, 0)
        assert made.has_pages(2, 0, 5)
        made.attributes(2, LONG_NS, status, 0)
        assert not made.has_pages(2, 0, 5)


def an_open_drops_pages_unless_they_may_be_kept(kernel: Kernel) -> None:
    made = with_a(kernel)
    made.read(2, 0, 5)
    made.opened(2, keeps_pages=True)
    assert made.has_pages(2, 0, 5)
    made.opened(2, keeps_pages=False)
    assert not made.has_pages(2, 0, 5)


CHECKS: dict[Callable[[Kernel], None], tuple[type[GuestKernel], ...]] = {
    an_answer_is_valid_to_the_end_of_its_last_tick: (
        broken_kernels.ExpiresATickTooEarly,
        broken_kernels.RoundsTimeoutsDown,
    ),
    no_time_is_never: (broken_kernels.KeepsForNoTime,),
    a_hit_renews_nothing: (broken_kernels.RenewsByHits,),
    an_epoch_ends_every_entry_and_no_attributes: (broken_kernels.IgnoresTheEpoch,),
    one_lookup_renews_entry_and_attributes: (broken_kernels.ForgetsAttributesOfEntries,),
    a_missing_name_is_kept_only_with_a_timeout: (broken_kernels.KeepsEveryMissingName,),
    attributes_are_asked_for_when_one_that_is_wanted_is_invalid_or_all_have_expired: (
        broken_kernels.NeverAsksForAttributes,
        broken_kernels.IgnoresInvalidation,
    ),
    a_change_in_a_directory_ends_its_attributes_and_not_its_entries: (
        broken_kernels.DropsEntriesOfChangedDirectories,
        broken_kernels.KeepsAttributesOfChangedDirectories,
    ),
    a_read_takes_the_time_of_access_alone: (
        broken_kernels.ReadsWithoutATime,
        broken_kernels.ReadsForgetAll,
    ),
    a_listing_takes_the_time_of_access_alone: (broken_kernels.IgnoresInvalidation,),
    a_removed_name_leaves_another_number_of_links: (broken_kernels.ForgetsNoLinks,),
    a_renamed_entry_moves_along: (broken_kernels.LeavesTheOldName,),
    pages_are_kept_until_size_or_mtime_differ: (broken_kernels.KeepsPagesWhateverIsToldOfThem,),
    an_open_drops_pages_unless_they_may_be_kept: (broken_kernels.KeepsPagesOverOpens,),
}


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_a_rule_of_the_kernels_caches_holds(check: Callable[[Kernel], None]) -> None:
    check(GuestKernel)


@pytest.mark.parametrize(
    ("check", "broken"),
    [(check, broken) for check, kernels in CHECKS.items() for broken in kernels],
    ids=lambda each: each.__name__,
)
def test_a_kernel_that_breaks_a_rule_is_noticed(
    check: Callable[[Kernel], None], broken: type[GuestKernel]
) -> None:
    with noticed():
        check(broken)


# Readdirplus, and what notifications take


@pytest.mark.parametrize(
    ("mode", "expected"),
    [("always", [True, True, True]), ("never", [False] * 3), ("adaptive", [True, False, True])],
)
def test_a_listing_brings_attributes_as_was_negotiated(mode: str, expected: list[bool]) -> None:
    kernel = GuestKernel(TICKS)
    first = kernel.uses_readdirplus(1, mode, is_first=True)
    second = kernel.uses_readdirplus(1, mode, is_first=False)
    kernel.looked_up(1)
    assert [first, second, kernel.uses_readdirplus(1, mode, is_first=False)] == expected


def test_who_uses_what_a_listing_brought_is_brought_more() -> None:
    kernel = with_a(GuestKernel)
    kernel.linked(2)
    for _ in range(2):
        dentry = kernel.valid(1, b"a", 0)
        assert dentry is not None
        kernel.used(1, dentry)
    assert kernel.uses_readdirplus(1, "adaptive", is_first=False)
    kernel.used(1, dentry)
    assert not kernel.uses_readdirplus(1, "adaptive", is_first=False), "it is advised once"


def test_notifications_take_an_entry_or_what_an_inode_has() -> None:
    kernel = with_a(GuestKernel)
    kernel.read(2, 0, 5)
    kernel.invalidate_inode(2)
    assert not kernel.has_attributes(2, MODE, 0)
    assert not kernel.has_pages(2, 0, 5)
    kernel.invalidate_entry(1, b"a")
    assert not is_valid(kernel)
    assert not kernel.has_attributes(1, MODE, 0)
    kernel.invalidate_entry(1, b"a")
    kernel.invalidate_inode(77)


def test_pages_are_those_that_a_range_touches() -> None:
    assert list(pages(0, 1)) == [0]
    assert list(pages(4_095, 2)) == [0, 1]
    assert list(pages(4_096, 4_096)) == [1]
