"""A pattern taken from what was heard; and from a tool that really runs."""

import shutil
from pathlib import Path

import pytest

from osxfs_sim.coherence.edits.pattern import EditStep, Pattern
from osxfs_sim.coherence.edits.recording import (
    LONGEST_PAUSE_NS,
    FileStamp,
    RecordedEvent,
    pattern_of,
    record,
)
from osxfs_sim.model.user_error import UserError

BEFORE = {"d/a.rb": FileStamp(1, 10, 1), "d/other": FileStamp(2, 5, 1)}


def taken(
    heard: list[RecordedEvent],
    after: dict[str, FileStamp],
    before: dict[str, FileStamp] = BEFORE,
) -> Pattern:
    return pattern_of(heard, before, before | after, name="t", about="a", recorded="r")


def acts(pattern: Pattern) -> list[tuple[str, str, str]]:
    return [(one.act, one.path, one.to or one.what) for one in pattern.steps]


def test_a_modification_in_place_begins_with_cutting_short() -> None:
    heard = [
        RecordedEvent(100, "MODIFY", "d/a.rb"),
        RecordedEvent(300, "MODIFY", "d/a.rb", size=12),
        RecordedEvent(310, "CLOSE_WRITE", "d/a.rb", size=12),
    ]
    pattern = taken(heard, {"d/a.rb": FileStamp(1, 12, 2)})
    assert pattern.steps == (
        EditStep(0, "truncate", "{name}"),
        EditStep(200, "write", "{name}", what="new"),
    )
    assert (pattern.burst, pattern.gap_ns) == (1, 0)


def test_names_become_general_and_contents_are_told_apart() -> None:
    heard = [
        RecordedEvent(0, "CREATE", "d/.a.rb.swp"),
        RecordedEvent(1, "MODIFY", "d/.a.rb.swp", size=4096),
        RecordedEvent(2, "CREATE", "d/4913"),
        RecordedEvent(3, "DELETE", "d/4913"),
        RecordedEvent(4, "CREATE", "d/a.rb~"),
        RecordedEvent(5, "MODIFY", "d/a.rb~", size=10),
        RecordedEvent(6, "CREATE", "d/tmp"),
        RecordedEvent(7, "MODIFY", "d/tmp", size=12),
        RecordedEvent(8, "MOVED_FROM", "d/tmp", cookie=9),
        RecordedEvent(8, "MOVED_TO", "d/a.rb", cookie=9),
        RecordedEvent(9, "DELETE", "d/a.rb~"),
        RecordedEvent(10, "DELETE", "d/.a.rb.swp"),
        RecordedEvent(11, "MODIFY", "d/other", size=6),
    ]
    pattern = taken(heard, {"d/a.rb": FileStamp(3, 12, 2)})
    assert acts(pattern) == [
        ("create", ".{name}.swp", ""),
        ("write", ".{name}.swp", "scratch"),
        ("create", "4913", ""),
        ("unlink", "4913", ""),
        ("create", "{name}~", ""),
        ("write", "{name}~", "old"),
        ("create", "tmp", ""),
        ("write", "tmp", "new"),
        ("rename", "tmp", "{name}"),
        ("unlink", "{name}~", ""),
        ("unlink", ".{name}.swp", ""),
    ]
    assert pattern.steps[1].size == 4096


def test_a_persons_pauses_are_shortened() -> None:
    heard = [
        RecordedEvent(0, "CREATE", "d/.a.rb.swp"),
        RecordedEvent(10**9, "MODIFY", "d/a.rb", size=12),
        RecordedEvent(10**9 + 7, "DELETE", "d/.a.rb.swp"),
    ]
    pattern = taken(heard, {"d/a.rb": FileStamp(1, 12, 2)})
    assert [step.at_ns for step in pattern.steps] == [
        0,
        LONGEST_PAUSE_NS,
        LONGEST_PAUSE_NS,
        LONGEST_PAUSE_NS + 7,
    ]


def test_several_files_are_a_burst_of_what_most_of_them_had() -> None:
    before = {f"f{number}": FileStamp(number, 5, 1) for number in range(4)}
    heard = [RecordedEvent(number * 100, "MODIFY", f"f{number}", size=6) for number in range(3)]
    heard += [RecordedEvent(300, "DELETE", "f3"), RecordedEvent(310, "CREATE", "f3")]
    after = {f"f{number}": FileStamp(number, 6, 2) for number in range(4)}
    pattern = taken(heard, after, before)
    assert (pattern.burst, pattern.gap_ns) == (3, 100)
    assert [one.act for one in pattern.steps] == ["truncate", "write"]


def test_where_no_file_was_edited_the_remedy_is_named() -> None:
    made_anew = [RecordedEvent(0, "CREATE", "new"), RecordedEvent(1, "MODIFY", "new", size=1)]
    with pytest.raises(UserError, match="no file was edited: the command must change a file"):
        taken(made_anew, {"new": FileStamp(9, 1, 1)})


def project(tmp_path: Path) -> Path:
    (tmp_path / "a.txt").write_text("hello\n")
    return tmp_path


@pytest.mark.starts_processes
@pytest.mark.skipif(shutil.which("sed") is None, reason="there is no sed")
def test_a_real_tool_is_recorded_and_the_pattern_can_be_kept(tmp_path: Path) -> None:
    heard, before, after = record(project(tmp_path), ["sed", "-i", "s/h/H/", f"{tmp_path}/a.txt"])
    assert (tmp_path / "a.txt").read_text() == "Hello\n"
    pattern = pattern_of(heard, before, after, name="sed", about="a", recorded="r")
    assert [one.act for one in pattern.steps] == ["create", "write", "rename"]
    assert pattern.steps[1].what == "new"
    assert pattern.steps[2].to == "{name}"


@pytest.mark.starts_processes
def test_an_append_by_the_shell_is_taken_as_written_in_place(tmp_path: Path) -> None:
    found = record(project(tmp_path), ["sh", "-c", f"echo more > {tmp_path}/a.txt"])
    pattern = pattern_of(*found, name="sh", about="a", recorded="r")
    assert acts(pattern) == [("truncate", "{name}", ""), ("write", "{name}", "new")]


@pytest.mark.starts_processes
def test_a_command_that_fails_is_no_recording(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"^sh failed \(exit code 3\)"):
        record(project(tmp_path), ["sh", "-c", "exit 3"])
    with pytest.raises(UserError, match=r"^no-such-tool cannot be run: No such file"):
        record(project(tmp_path), ["no-such-tool"])
