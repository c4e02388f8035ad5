"""What several shares of one source have left is recovered in the order in which it was done."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest
from support.live import LiveShare
from support.unmounted import Unmounted, recovering

from osxfs_sim.mount.writeback import recovery
from osxfs_sim.mount.writeback.journal_reader import unfinished_journals

HELD = {
    "profile": "osxfs-delegated",
    "latency_ns": 0,
    "write_back_age_ns": 3_600 * 10**9,
}


@pytest.fixture
def two(share: Callable[..., LiveShare], field: Path) -> tuple[LiveShare, LiveShare]:
    """Two shares of one source, which knows the file ``there``."""
    (field / "host").mkdir()
    (field / "host" / "there").write_text("host")
    first, second = (share(field / "host", **HELD, state_directory=str(field)) for _ in "12")
    return first, second


def killed(*shares: LiveShare) -> None:
    for each in shares:
        each.kill()


def recovered(share: Callable[..., LiveShare], field: Path) -> dict[str, str]:
    live = share(field / "host", **HELD, state_directory=str(field), unwritten="recover")
    live.unmount()
    assert unfinished_journals(field, str(field / "host")) == []
    return {path.name: path.read_text() for path in (field / "host").iterdir()}


def test_the_newer_change_is_there_whichever_share_made_it(
    two: tuple[LiveShare, LiveShare], share: Callable[..., LiveShare], field: Path
) -> None:
    first, second = two
    for name in ("there", "made"):
        (first.guest / f"{name}").write_text("older")
        (second.guest / f"{name}").write_text("newer")
    # And the other way round, so that neither journal as a whole is the older one.
    (second.guest / "else").write_text("older")
    (first.guest / "else").write_text("newer")
    killed(first, second)
    assert recovered(share, field) == {"there": "newer", "made": "newer", "else": "newer"}


def test_a_number_that_has_become_free_makes_no_journal_older(
    share: Callable[..., LiveShare], field: Path
) -> None:
    (field / "host").mkdir()
    first, second = (share(field / "host", **HELD, state_directory=str(field)) for _ in "12")
    first.unmount()
    (second.guest / "file").write_text("older")
    third = share(field / "host", **HELD, state_directory=str(field))
    (third.guest / "file").write_text("newer")
    killed(second, third)
    assert recovered(share, field) == {"file": "newer"}


def test_what_one_share_removed_last_is_gone(
    two: tuple[LiveShare, LiveShare], share: Callable[..., LiveShare], field: Path
) -> None:
    first, second = two
    (first.guest / "there").write_text("written first")
    os.unlink(second.guest / "there")
    killed(first, second)
    assert recovered(share, field) == {}


def test_a_clock_that_was_set_back_changes_no_order_within_a_journal(field: Path) -> None:
    (field / "host").mkdir()
    share = Unmounted(field / "host", field / "state")
    for name in ("a", "b", "c"):
        share.make(name)
    share.crash()
    (left,) = unfinished_journals(field / "state", str(field / "host"))
    for number, each in enumerate(left.changes):
        each.detail = each.detail._replace(at_ns=1_000 - number)
    with recovering(field / "host", field / "other") as tree:
        its = recovery._Recovery(left, tree, {})
        times = list(its.apply())
        its.close()
    assert times == [1_000] * 3
    assert sorted(os.listdir(field / "host")) == ["a", "b", "c"]
