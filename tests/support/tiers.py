"""A plugin: each test's tier, from what it uses; and a unit test that does more is refused.

    unit      no mount, no process, no waiting for the clock: for every edit
    thorough  as unit, but takes about a second or more of a processor: random cases by the hundred
    mount     mounts something
    process   starts processes, or waits for the clock
    slow      marked so, whatever it does

A test mounts that uses the fixture need_fuse, as all do that mount a share, or small_source; or
that says so (``pytest.mark.mounts``) because it mounts something by hand. It starts processes if
it uses one of PROCESS_FIXTURES, or says so (``pytest.mark.starts_processes``). What mounts a share
starts its server, too: the tier is mount. All others are
unit tests, or thorough (``pytest.mark.takes_seconds``), and watched while they run.
"""

import contextlib
from collections.abc import Generator, Iterable

import pytest

from support.unit_guard import GUARD, install

TIERS = {
    "unit": "no mount, no process, no waiting for the clock: for every edit",
    "thorough": "as unit, but takes a second or more: random cases by the hundred",
    "mount": "mounts something",
    "process": "starts processes, or waits for the clock",
}
SLOW = "slow"
COLLECTED = pytest.StashKey[dict[str, frozenset[str]]]()
"""All tests that were collected, before any was left out, and their marks."""
MOUNT_FIXTURES = {"need_fuse", "small_source"}
PROCESS_FIXTURES = {"cli", "small_case"}
MARKS = {
    "mounts": "mounts something by hand",
    "starts_processes": "starts a process by hand, or waits for the clock",
    "takes_seconds": "takes about a second of a processor, or more, in all its cases",
}


def tier_of(fixtures: Iterable[str], marks: Iterable[str]) -> str:
    """The one tier of a test that uses these fixtures, those of its fixtures among them."""
    used, said = set(fixtures), set(marks)
    if SLOW in said:
        return SLOW
    if used & MOUNT_FIXTURES or "mounts" in said:
        return "mount"
    if used & PROCESS_FIXTURES or "starts_processes" in said:
        return "process"
    return "thorough" if "takes_seconds" in said else "unit"


def tiers_of(item: pytest.Item) -> list[str]:
    """The tiers that -m finds a test in: one, or something is wrong."""
    names = {mark.name for mark in item.iter_markers()}
    return sorted(names & {*TIERS, SLOW})


def pytest_configure(config: pytest.Config) -> None:
    slow = {SLOW: "takes more than a few seconds; run with -m slow"}
    for name, meaning in {**TIERS, **slow, **MARKS}.items():
        config.addinivalue_line("markers", f"{name}: {meaning}")
    install()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        by_hand = set(tiers_of(item)) - {SLOW}
        if by_hand:
            raise pytest.UsageError(
                f"{item.nodeid} is marked {', '.join(sorted(by_hand))}: a tier follows from what "
                f"a test uses; mark what it does by hand: {' or '.join(MARKS)}"
            )
        marks = {mark.name for mark in item.iter_markers()}
        tier = tier_of(getattr(item, "fixturenames", ()), marks)
        if tier != SLOW:
            item.add_marker(tier)
    config.stash[COLLECTED] = {
        item.nodeid: frozenset(mark.name for mark in item.iter_markers()) for item in items
    }


def pytest_collection_finish(session: pytest.Session) -> None:
    """What is run is in one tier, so that running them one by one leaves nothing out."""
    for item in session.items:
        if len(found := tiers_of(item)) != 1:
            raise pytest.UsageError(
                f"{item.nodeid} is in {' and '.join(found) or 'no tier'}: it must be in exactly "
                f"one of {', '.join((*TIERS, SLOW))} (tests/support/tiers.py)"
            )


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, object, object]:
    with _over(item):
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    with _over(item):
        return (yield)


def _over(item: pytest.Item) -> contextlib.AbstractContextManager[None]:
    is_watched = tiers_of(item) in (["unit"], ["thorough"])
    return GUARD.over(item.nodeid) if is_watched else contextlib.nullcontext()
