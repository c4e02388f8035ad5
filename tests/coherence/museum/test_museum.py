"""The museum's demonstrations as values, and played where nothing is emulated at all."""

import contextlib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from osxfs_sim.coherence.actors.operations import ActorOperation, OperationResult
from osxfs_sim.coherence.museum.exhibits import (
    Arrangement,
    Demonstration,
    ExhibitStep,
    MountedSides,
    demonstrate,
    demonstration_of,
    demonstrations,
    play,
    seen,
)
from osxfs_sim.model.bugs import BUGS, Bug
from osxfs_sim.settings import ShareSettings

every_bug = pytest.mark.parametrize("demonstration", demonstrations(), ids=lambda each: each.bug)


@contextlib.contextmanager
def plain(host: Path, settings: Mapping[str, Any]) -> Iterator[MountedSides]:
    """No share: both sides are one directory."""
    del settings
    yield MountedSides(host, host, lambda: None)


@pytest.fixture
def ground(tmp_path: Path) -> Callable[[], Path]:
    numbers = iter(range(100))

    def new() -> Path:
        path = tmp_path / f"ground-{next(numbers)}"
        path.mkdir()
        return path

    return new


def say_nothing(text: str) -> None:
    del text


def test_every_bug_is_shown_in_the_museums_order() -> None:
    assert [each.bug for each in demonstrations()] == list(Bug) == list(BUGS)
    assert [BUGS[bug].id for bug in Bug] == [f"V{number}" for number in range(1, 10)]
    assert all(demonstration_of(bug).bug is bug for bug in Bug)


@every_bug
def test_a_demonstration_has_the_bug_and_a_cure_that_tells_otherwise(demonstration) -> None:
    assert demonstration.shows.has_bug
    assert demonstration.cures
    assert any(step.cured not in (None, step.shown) for step in demonstration.steps)


@every_bug
def test_its_shares_can_be_had_and_have_the_bug_where_they_say_so(demonstration) -> None:
    for arrangement in (demonstration.shows, *demonstration.cures):
        system = ShareSettings("/source", "/guest", **arrangement.settings).system()
        bugs = {ailment.bug for ailment in system.bugs}
        assert bugs == ({demonstration.bug} if arrangement.has_bug else set())


@every_bug
def test_a_cure_is_a_policy_and_keeps_the_bug_or_says_that_it_does_not(demonstration) -> None:
    for cure in demonstration.cures:
        assert cure.has_bug == cure.words.startswith("the policy: ")
        assert cure.has_bug != cure.words.startswith("without the bug")


@pytest.mark.starts_processes
@every_bug
def test_where_nothing_is_emulated_there_is_no_bug_and_that_is_noticed(
    demonstration: Demonstration, ground
) -> None:
    shown = demonstrate(demonstration, plain, ground, say_nothing)
    assert not shown.as_documented
    with_bug = shown.plays[0]
    assert not with_bug.as_documented
    different = [told.step for told in with_bug.answers if not told.as_expected]
    if demonstration.bug is Bug.ONE_SPELLING:
        return  # a plain directory here knows one spelling of a name
    # What a cure must tell is what a directory without any share in between tells.
    assert all(play.as_documented for play in shown.plays[1:]), shown.plays[1:]
    assert different == [step for step in demonstration.steps if step.cured is not None]


@pytest.mark.starts_processes
def test_a_plain_directory_is_not_the_cure_of_spellings(ground) -> None:
    shown = demonstrate(demonstration_of(Bug.ONE_SPELLING), plain, ground, say_nothing)
    assert [play.as_documented for play in shown.plays] == [False, False]


@pytest.mark.starts_processes
def test_a_remount_is_a_share_of_its_own_with_processes_of_its_own(ground) -> None:
    mounts: list[dict[str, Any]] = []

    @contextlib.contextmanager
    def counting(host: Path, settings: Mapping[str, Any]) -> Iterator[MountedSides]:
        mounts.append(dict(settings))
        yield MountedSides(host, host, lambda: None)

    steps = (
        ExhibitStep("guest", ActorOperation("create", "f", data="x"), "done"),
        ExhibitStep("guest", ActorOperation("open", "f", handle="h"), "done"),
        ExhibitStep("share", ActorOperation("remount"), "done"),
        ExhibitStep("guest", ActorOperation("open", "f", handle="h"), "done"),
        ExhibitStep("guest", ActorOperation("read", "f"), "'y'", "'x'"),
    )
    arrangement = Arrangement("", {"profile": "osxfs"})
    told = play(steps, arrangement, counting, ground(), is_cured=True)
    assert [each.answer for each in told] == ["done", "done", "done", "done", "'x'"]
    assert [each.as_expected for each in told] == [True] * 5
    assert mounts == [{"profile": "osxfs"}] * 2


@pytest.mark.parametrize(
    ("outcome", "words"),
    [
        (OperationResult(), "done"),
        (OperationResult(error="ENOENT"), "ENOENT"),
        (OperationResult("abc\n"), "'abc\\n'"),
        (OperationResult(""), "''"),
        (OperationResult(["a", "b"]), "a, b"),
        (OperationResult([]), "nothing"),
        (OperationResult({"type": "file", "size": 4, "mode": 0o644}), "a file of 4 bytes"),
        (OperationResult({"type": "directory", "size": 4096}), "a directory"),
    ],
)
def test_what_is_told_is_put_into_words(outcome: OperationResult, words: str) -> None:
    assert seen(outcome) == words
