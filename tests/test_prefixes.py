"""The judge of what a host shows of its guest's changes: what it accepts, and what it must not."""

from pathlib import Path

import pytest
from support.prefixes import History, Node, Tree, difference, snapshot, written


def file(name: str, content: bytes = b"", mode: int = 0o644) -> Node:
    return Node("file", mode, content, name)


def directory(name: str) -> Node:
    return Node("directory", 0o755, b"", name)


A, B, D = file("A", b"a"), file("B", b"b"), directory("D")


def history(*states: Tree) -> History:
    made = History(states[0])
    for state in states[1:]:
        made.add(state)
    return made


def on_host(tree: Tree) -> dict[str, Node]:
    """As the host tells objects apart: by other words than the guest."""
    return {path: node._replace(object=hash(node.object)) for path, node in tree.items()}


def without(tree: Tree, *paths: str) -> dict[str, Node]:
    return {path: node for path, node in tree.items() if path not in paths}


# What may be


def test_each_state_of_the_guest_is_found_as_what_it_is() -> None:
    states = [{}, {"a": A}, {"a": A, "d": D}, {"a": A, "d": D, "d/b": B}]
    made = history(*states)
    assert [made.judge(on_host(state)).point for state in states] == [0, 1, 2, 3]


def test_what_the_guest_has_taken_away_may_be_missing_or_be_there_still() -> None:
    made = history(
        {"b": B}, {"b": B, "a": A}, {"b": B}, {"b": written({"b": B}, "B", 0, b"c")["b"]}
    )
    assert made.judge(on_host({"b": B})).point == 0
    assert made.judge(on_host({"b": B, "a": A})).point == 1


def test_what_the_guest_replaced_of_its_own_need_never_have_been_there() -> None:
    made = history({}, {"new": B}, {"new": B, "old": A}, {"new": A})
    assert made.judge(on_host({"old": A})).point == 2


def test_what_was_written_to_what_is_gone_may_be_missing() -> None:
    longer = A._replace(content=b"aa")
    made = history({"a": A}, {"a": longer}, {"a": longer, "b": B}, {"b": B})
    assert made.judge(on_host({"a": A, "b": B})).point == 2
    assert made.judge(on_host({"a": longer, "b": B})).point == 2


def test_hard_links_are_one_file_on_both_sides() -> None:
    made = history({"a": A}, {"a": A, "b": A})
    assert made.judge(on_host({"a": A, "b": A})).point == 1
    assert made.judge({"a": A, "b": A._replace(object="another")}).point is None


# What must not be


def test_two_independent_changes_in_the_wrong_order_are_rejected() -> None:
    made = history({}, {"a": A}, {"a": A, "b": B})
    assert made.judge(on_host({"b": B})).point is None


def test_two_independent_writes_in_the_wrong_order_are_rejected() -> None:
    newer_a, newer_b = A._replace(content=b"A"), B._replace(content=b"B")
    made = history({"a": A, "b": B}, {"a": newer_a, "b": B}, {"a": newer_a, "b": newer_b})
    assert made.judge(on_host({"a": A, "b": newer_b})).point is None


@pytest.mark.parametrize(
    "torn", [{}, {"old": A, "new": A}, {"old": B, "new": A}, {"old": A}], ids=str
)
def test_a_torn_rename_is_rejected(torn: Tree) -> None:
    made = history({"old": A, "new": B}, {"new": A})
    assert made.judge(on_host({"old": A, "new": B})).point == 0
    assert made.judge(on_host({"new": A})).point == 1
    assert made.judge(on_host(torn)).point is None


def test_a_directory_moved_without_what_is_in_it_is_rejected() -> None:
    made = history({"d": D, "d/a": A}, {"e": D, "e/a": A})
    assert made.judge(on_host({"e": D})).point is None
    assert made.judge(on_host({"e": D, "d/a": A})).point is None


@pytest.mark.parametrize("content", [b"", b"half of ", b"\0" * 16, b"half of a write?"])
def test_partial_content_is_rejected(content: bytes) -> None:
    whole = A._replace(content=b"half of a write.")
    made = history({"a": A}, {"a": whole})
    assert made.judge(on_host({"a": whole})).point == 1
    assert made.judge(on_host({"a": A._replace(content=content)})).point is None


def test_another_mode_and_another_kind_are_rejected() -> None:
    made = history({}, {"a": A})
    assert made.judge(on_host({"a": A._replace(mode=0o600)})).point is None
    assert made.judge(on_host({"a": A._replace(kind="symlink")})).point is None


def test_what_the_guest_never_had_is_rejected() -> None:
    made = history({"a": A}, {"a": A, "b": B})
    assert made.judge(on_host({"a": A, "a.host-1": B})).point is None


def test_what_is_gone_must_not_show_what_it_never_was_or_is_not_yet() -> None:
    made = history(
        {"a": A}, {"a": A, "b": B}, {"a": A._replace(content=b"later"), "b": B}, {"b": B}
    )
    assert made.judge(on_host({"a": A._replace(content=b"never"), "b": B})).point is None
    early = history({"a": A}, {"a": A._replace(content=b"later")}, {})
    assert early.judge(on_host({"a": A._replace(content=b"later")})).point == 1
    assert early.judge(on_host({"a": A._replace(content=b"later")}), until=0).point is None


def test_what_is_gone_must_not_be_there_under_a_name_that_it_has_yet_to_get() -> None:
    made = history({"a": A, "b": B}, {"c": A, "b": B}, {"c": A}, {})
    assert made.judge(on_host({"c": A, "a": B})).point is None


# What was synced


def test_a_lost_synced_file_is_rejected() -> None:
    made = history({}, {"a": A})
    assert made.judge({}).point == 0
    made.sync("A")
    assert made.judge({}).point is None
    assert made.judge(on_host({"a": A})).point == 1


def test_lost_synced_content_is_rejected_and_what_came_later_may_be_missing() -> None:
    first, second, third = (A._replace(content=each) for each in (b"1", b"2", b"3"))
    made = history({"a": first}, {"a": second})
    made.sync("A")
    made.add({"a": third})
    assert made.judge(on_host({"a": first})).point is None
    assert made.judge(on_host({"a": second})).point == 1
    assert made.judge(on_host({"a": third})).point == 2


def test_a_synced_file_under_the_name_that_it_had_before_is_rejected() -> None:
    made = history({"a": A}, {"d": D, "a": A}, {"d": D, "d/b": A}, {"e": D, "e/b": A})
    made.sync("A")
    assert made.judge(on_host({"d": D, "d/b": A})).point is None
    assert made.judge(on_host({"e": D, "e/b": A})).point == 3


def test_a_synced_directory_without_its_names_is_rejected() -> None:
    made = history({"d": D}, {"d": D, "d/a": A}, {"d": D, "d/a": A, "b": B})
    made.sync("D")
    assert made.judge(on_host({"d": D})).point is None
    assert made.judge(on_host({"d": D, "d/a": A})).point == 1, "b was not synced"


def test_what_went_again_before_the_sync_demands_nothing() -> None:
    made = history({"d": D}, {"d": D, "b": B}, {"d": D, "b": B, "d/a": A}, {"d": D, "b": B})
    made.sync("D")
    assert made.judge(on_host({"d": D})).point == 0


def test_time_does_not_go_backwards() -> None:
    made = history({}, {"a": A}, {"a": A, "b": B})
    assert made.judge(on_host({"a": A}), since=2).point is None
    assert made.judge(on_host({"a": A, "b": B}), until=1).point is None


# Trees of a real directory


def test_a_directory_is_read_as_a_tree(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir(0o755)
    (tmp_path / "d" / "a").write_bytes(b"a")
    (tmp_path / "d" / "a").chmod(0o644)
    (tmp_path / "b").hardlink_to(tmp_path / "d" / "a")
    (tmp_path / "s").symlink_to("nowhere")
    found = snapshot(tmp_path)
    wanted = {"d": D, "d/a": A, "b": A, "s": Node("symlink", 0o777, b"nowhere", "S")}
    assert not difference(wanted, found)
    assert difference(without(wanted, "b"), found)
    assert difference({**wanted, "b": B}, found)
