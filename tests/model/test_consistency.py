"""Where exports of one share file overlap, the stronger mode holds; and where that is."""

import itertools
from collections.abc import Callable, Sequence
from pathlib import PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.complaints import noticed

from osxfs_sim.model.consistency import Mode, Promise, Tree, promised, stronger_parts
from osxfs_sim.model.profile import POLICIES

Decide = Callable[[Tree, Sequence[Tree]], tuple[tuple[str, Mode], ...]]

DELEGATED, CACHED, CONSISTENT = (Promise(mode) for mode in Mode)
DEFAULT = promised("default")


def tree(source: str, promise: Promise) -> Tree:
    return Tree(PurePosixPath(source), promise)


def parts(export: Tree, *others: Tree) -> dict[str, str]:
    return {path: mode.label for path, mode in stronger_parts(export, (export, *others))}


# What a profile promises


def test_the_order_of_the_contract() -> None:
    assert Mode.DELEGATED < Mode.CACHED < Mode.CONSISTENT


@pytest.mark.parametrize("policy", [*POLICIES, "own"])
def test_a_mode_follows_from_the_caching(policy: str) -> None:
    promise = promised(policy)
    nothing_cached = policy in ("consistent", "direct", "default")
    assert promise.mode is (Mode.CONSISTENT if nothing_cached else Mode.CACHED)
    assert promise.strengthens == (policy != "default")


@pytest.mark.parametrize("policy", ["cached", "negative", "complete"])
def test_whoever_writes_back_is_delegated(policy: str) -> None:
    assert promised(policy, writes_back=True) == Promise(Mode.DELEGATED)


# Where exports overlap


def test_trees_that_do_not_overlap_have_nothing_to_do_with_each_other() -> None:
    assert parts(tree("/a", CACHED), tree("/ab", CONSISTENT), tree("/b/a", CONSISTENT)) == {}


def test_a_stronger_tree_below_is_a_part_that_obeys_it() -> None:
    assert parts(tree("/a", CACHED), tree("/a/b/c", CONSISTENT)) == {"b/c": "consistent"}


def test_a_stronger_tree_above_or_the_same_tree_is_obeyed_by_all() -> None:
    assert parts(tree("/a/b", CACHED), tree("/a", CONSISTENT)) == {".": "consistent"}
    assert parts(tree("/a", CACHED), tree("/a", CONSISTENT)) == {".": "consistent"}
    assert parts(tree("/a", CACHED), tree("/", CONSISTENT)) == {".": "consistent"}


@pytest.mark.parametrize("source", ["/", "/a", "/a/b"])
@pytest.mark.parametrize("weaker", [DELEGATED, CACHED, DEFAULT])
def test_what_is_not_stronger_changes_nothing(source: str, weaker: Promise) -> None:
    assert parts(tree("/a", CONSISTENT), tree(source, weaker)) == {}
    assert parts(tree("/a", weaker), tree(source, weaker)) == {}


def test_default_is_as_strong_as_consistent_for_itself_only() -> None:
    for source in ("/", "/a", "/a/b"):
        assert parts(tree("/a", CACHED), tree(source, DEFAULT)) == {}
        assert parts(tree("/a", DEFAULT), tree(source, CONSISTENT)) == {}


def test_in_three_levels_each_part_obeys_the_strongest_that_has_it() -> None:
    outer, middle, inner = tree("/a", DELEGATED), tree("/a/b", CACHED), tree("/a/b/c", CONSISTENT)
    assert parts(outer, middle, inner) == {"b": "cached", "b/c": "consistent"}
    assert parts(middle, outer, inner) == {"c": "consistent"}
    assert parts(inner, outer, middle) == {}
    # And the other way round: what is strong above is so all the way down.
    outer, middle, inner = tree("/a", DELEGATED), tree("/a/b", CONSISTENT), tree("/a/b/c", CACHED)
    assert parts(outer, middle, inner) == {"b": "consistent"}
    assert parts(inner, outer, middle) == {".": "consistent"}


def test_a_part_of_a_strengthened_export_may_be_stronger_still() -> None:
    outer, export, inner = tree("/a", CACHED), tree("/a/b", DELEGATED), tree("/a/b/c", CONSISTENT)
    assert parts(export, outer, inner) == {".": "cached", "c": "consistent"}


def test_the_order_in_the_file_does_not_matter() -> None:
    others = [
        *(tree("/a/b", CACHED), tree("/a/b", CONSISTENT), tree("/a/b/c", CACHED)),
        *(tree("/a/d/e", CACHED), tree("/a/d", DEFAULT)),
    ]
    for order in itertools.permutations(others):
        assert parts(tree("/a", DELEGATED), *order) == {"b": "consistent", "d/e": "cached"}


trees = st.builds(
    tree,
    st.lists(st.sampled_from("ab"), max_size=3).map(lambda names: "/".join(["", "r", *names])),
    st.sampled_from([DELEGATED, CACHED, CONSISTENT, DEFAULT]),
)


def every_place_obeys_the_strongest_that_has_it(decide: Decide) -> None:
    @given(trees, st.lists(trees, max_size=4), st.lists(st.sampled_from("ab"), max_size=4))
    def check(export: Tree, others: list[Tree], names: list[str]) -> None:
        place = export.source.joinpath(*names)
        asked = [
            other.promise.mode
            for other in others
            if other.promise.strengthens and place.is_relative_to(other.source)
        ]
        obeyed = [
            mode
            for path, mode in decide(export, [export, *others])
            if place.is_relative_to(export.source / path)
        ]
        # What is told last of what holds there is the strongest of it, too.
        assert obeyed == sorted(set(obeyed))
        assert max([export.promise.mode, *obeyed]) == max([export.promise.mode, *asked])

    check()


def test_every_place_obeys_the_strongest_that_has_it() -> None:
    every_place_obeys_the_strongest_that_has_it(stronger_parts)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda *_: (),
        lambda export, others: stronger_parts(export, others[:2]),
        lambda export, others: stronger_parts(export, others)[:1],
        lambda export, others: stronger_parts(
            export, [tree(str(other.source), Promise(other.promise.mode)) for other in others]
        ),
        lambda export, others: tuple((".", mode) for _, mode in stronger_parts(export, others)),
    ],
    ids=["nobody obeys", "one other only", "one part only", "default strengthens", "all of it"],
)
def test_the_check_notices_an_export_that_obeys_too_little_or_too_much(wrong: Decide) -> None:
    with noticed():
        every_place_obeys_the_strongest_that_has_it(wrong)
