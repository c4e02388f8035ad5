"""The tables of what a change raises: osxfs, what other systems leave out, and native."""

import pytest

from osxfs_sim.coherence.scorecard.expectations import ChangeKind, expected_of, native
from osxfs_sim.model.events import NotifySpec


def required(kind: ChangeKind, **notify: object) -> list[str]:
    return [str(each) for each in expected_of(kind, NotifySpec(**notify)).required]


@pytest.mark.parametrize(
    ("kind", "events"),
    [
        (ChangeKind.CREATE, ["IN_CREATE a"]),
        (ChangeKind.WRITE, ["IN_CREATE a", "IN_MODIFY a"]),
        (ChangeKind.MODIFY, ["IN_MODIFY a"]),
        (ChangeKind.CHMOD, ["IN_ATTRIB a"]),
        (ChangeKind.DELETE, ["IN_DELETE a", "IN_DELETE_SELF a"]),
        (ChangeKind.MKDIR, ["IN_CREATE|IN_ISDIR a"]),
        (ChangeKind.RMDIR, ["IN_DELETE|IN_ISDIR a", "IN_DELETE_SELF a"]),
        (ChangeKind.RENAME, ["IN_DELETE a", "IN_MODIFY b"]),
        (ChangeKind.REPLACE, ["IN_DELETE a", "IN_MODIFY b"]),
        (ChangeKind.RENAME_DIRECTORY, ["IN_DELETE|IN_ISDIR a", "IN_MODIFY|IN_ISDIR b"]),
        (ChangeKind.LINK, ["IN_CREATE b"]),
        (ChangeKind.READ, []),
    ],
)
def test_osxfs_raises_what_its_table_says(kind: ChangeKind, events: list[str]) -> None:
    assert required(kind) == events


def test_osxfs_never_tells_of_a_close_nor_of_a_move() -> None:
    known = {
        signal.event.value
        for kind in ChangeKind
        for signal in expected_of(kind, NotifySpec()).known
    }
    assert known == {"IN_CREATE", "IN_MODIFY", "IN_ATTRIB", "IN_DELETE", "IN_DELETE_SELF"}


@pytest.mark.parametrize(
    ("left_out", "gone"),
    [
        ({"creates": False}, {"IN_CREATE"}),
        ({"modifies": "never"}, {"IN_MODIFY"}),
        ({"attributes": False}, {"IN_ATTRIB"}),
        ({"deletes": False}, {"IN_DELETE", "IN_DELETE_SELF"}),
    ],
)
def test_what_a_system_leaves_out_is_unexpected_of_it(
    left_out: dict[str, object], gone: set[str]
) -> None:
    for kind in ChangeKind:
        all_of_them = expected_of(kind, NotifySpec())
        fewer = expected_of(kind, NotifySpec(**left_out))
        lacking = {signal.event.value for signal in all_of_them.known - fewer.known}
        assert lacking <= gone
        assert not {signal.event.value for signal in fewer.known} & gone
    assert required(ChangeKind.RENAME, deletes=False) == ["IN_MODIFY b"]


def test_told_when_a_writer_closes_a_file_kept_open_is_silent() -> None:
    assert required(ChangeKind.MODIFY, modifies="closed") == ["IN_MODIFY a"]
    assert required(ChangeKind.MODIFY_OPEN, modifies="closed") == []
    assert required(ChangeKind.MODIFY_OPEN) == ["IN_MODIFY a"]


@pytest.mark.parametrize(
    ("kind", "events"),
    [
        (ChangeKind.CREATE, ["IN_ATTRIB a"]),
        (ChangeKind.WRITE, ["IN_ATTRIB a"]),
        (ChangeKind.MODIFY, ["IN_ATTRIB a"]),
        (ChangeKind.CHMOD, ["IN_ATTRIB a"]),
        (ChangeKind.MKDIR, ["IN_ATTRIB|IN_ISDIR a"]),
        (ChangeKind.REPLACE, ["IN_ATTRIB b"]),
        (ChangeKind.LINK, ["IN_ATTRIB b"]),
        (ChangeKind.DELETE, []),
        (ChangeKind.RMDIR, []),
    ],
)
def test_where_all_that_is_told_of_is_touched_only_that_is_expected(
    kind: ChangeKind, events: list[str]
) -> None:
    """As Lima's agent does in the guest."""
    assert required(kind, touches=True, deletes=False) == events
    known = expected_of(kind, NotifySpec(touches=True, deletes=False)).known
    assert {signal.event.value for signal in known} <= {"IN_ATTRIB"}


def test_natively_a_rename_is_two_moves_and_a_writer_is_heard_to_close() -> None:
    assert [str(each) for each in native(ChangeKind.RENAME).required] == [
        "IN_MOVED_FROM a",
        "IN_MOVED_TO b",
    ]
    assert "IN_CLOSE_WRITE a" in [str(each) for each in native(ChangeKind.APPEND).required]
    assert native(ChangeKind.READ).required == ()
