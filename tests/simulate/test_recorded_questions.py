"""A trace as questions: what is refused, what is known of the tree, what must cross."""

from pathlib import Path

import pytest
from support.complaints import complaint
from support.recordings import A_DIRECTORY, A_FILE, asked, found, missed, recording
from support.traces import found as found_row
from support.traces import in_turn, row, write_trace
from support.traces import missed as missed_row

from osxfs_sim.model.caching import CachePolicy, Consistent
from osxfs_sim.simulate import recording as recordings
from osxfs_sim.simulate.dependencies import NOTHING, Dependencies, order
from osxfs_sim.simulate.recording import (
    UNKNOWN,
    Lookup,
    Question,
    RecordingError,
    Status,
    read_recording,
)
from osxfs_sim.trace.errors import TraceError

AGAIN = "record it again: osxfs-sim record CASE -o FILE"
UNCACHED = Consistent().describe()


# What is refused


@pytest.mark.parametrize(
    ("header", "said"),
    [
        (
            {"profile": "osxfs-cached", "policy": "cached: for 1s"},
            "is of a share that caches (osxfs-cached, cached: for 1s): what the guest's kernel "
            "answered is not in it",
        ),
        ({"policy": UNCACHED, "lost": 1_234}, "is not whole, 1,234 requests are lost"),
        ({"policy": UNCACHED, "failure": "the disk is full"}, "is not whole, the disk is full"),
    ],
)
def test_a_trace_that_does_not_hold_every_question_is_refused_in_one_line(
    tmp_path: Path, header: dict, said: str
) -> None:
    path = write_trace(tmp_path / "t", in_turn([missed_row("a")]), **header)
    text = complaint(RecordingError, read_recording, path)
    assert text == f"{path} {said}; {AGAIN}"


def test_what_is_no_trace_is_refused(tmp_path: Path) -> None:
    (tmp_path / "t").write_text("no trace")
    assert "is not a trace" in complaint(TraceError, read_recording, tmp_path / "t")
    assert "No such file" in complaint(TraceError, read_recording, tmp_path / "none")


@pytest.mark.parametrize("policy", [CachePolicy(), Consistent()])
def test_every_share_that_caches_nothing_is_accepted(tmp_path: Path, policy: CachePolicy) -> None:
    path = write_trace(tmp_path / "t", in_turn([missed_row("a")]), policy=policy.describe())
    assert len(read_recording(path)) == 1


def test_an_imported_log_is_accepted(tmp_path: Path) -> None:
    path = write_trace(tmp_path / "t", in_turn([missed_row("a")]), source="strace", policy="")
    assert len(read_recording(path)) == 1


def test_rows_are_read_as_questions(tmp_path: Path) -> None:
    said = {"mode": 0o100644, "object_bytes": 5, "mtime_ns": 7, "links": 2, "found": 3}
    rows = [
        row("LOOKUP", 1, "a", process=9, call="openat", **said),
        row("OPEN", 3, process=9, flags=1, handle=4),
        row("RENAME", 1, "a", found=1, new_name="caf\N{LATIN SMALL LETTER E WITH ACUTE}"),
        missed_row("b"),
    ]
    path = write_trace(
        tmp_path / "t",
        in_turn(rows),
        policy=UNCACHED,
        command_start_ns=5,
        command_end_ns=900,
    )
    read = read_recording(path)
    first, opened, moved, missing = read.questions
    assert first.status == Status(0o100644, 5, 7, 2)
    assert (first.name, first.found, first.thread, first.call) == (b"a", 3, 9, "openat")
    assert (opened.status, opened.flags, opened.handle, opened.call) == (UNKNOWN, 1, 4, "")
    assert (moved.new_name, moved.found) == ("caf\N{LATIN SMALL LETTER E WITH ACUTE}".encode(), 1)
    assert (missing.error, missing.arrival_ns, missing.end_ns) == ("ENOENT", 300, 400)
    assert (read.begin_ns, read.end_ns) == (5, 900)


def test_a_recording_without_a_command_ends_with_its_last_answer() -> None:
    read = recording(
        missed(b"a", arrival_ns=10, took_ns=1_000),
        missed(b"b", thread=2, arrival_ns=20),
        header={"command_start_ns": None, "command_end_ns": None},
    )
    assert (read.begin_ns, read.end_ns) == (0, 1_010)
    empty = recording(header={"command_start_ns": None, "command_end_ns": None})
    assert empty.end_ns == 0


# Names at a moment

CHANGING = (
    missed(b"a"),  # 0
    asked("CREATE", 1, b"a", found=2, status=A_FILE),  # 1
    found(b"b", 3),  # 2
    asked("RENAME", 1, b"a", found=9, new_name=b"c"),  # 3
    asked("UNLINK", 1, b"b", found=3),  # 4
    asked("MKDIR", 1, b"d", found=5, status=A_DIRECTORY, error="EEXIST"),  # 5: made nothing
)


def names(read: recordings.Recording, directory: int, index: int) -> set[tuple[bytes, int]]:
    return {(name, inode) for name, inode, _ in read.names(directory, index)}


def test_the_names_of_a_directory_are_those_of_the_moment() -> None:
    read = recording(*CHANGING)
    there = [names(read, 1, index) for index in range(len(CHANGING) + 1)]
    assert there == [
        {(b"b", 3)},  # it was there before anybody asked
        {(b"b", 3)},
        {(b"a", 2), (b"b", 3)},
        {(b"a", 2), (b"b", 3)},
        {(b"b", 3)},
        set(),
        set(),
    ]
    assert [names(read, 9, index) for index in (3, 4, 6)] == [set(), {(b"c", 2)}, {(b"c", 2)}]
    assert read.exists(1, b"b", 4)
    assert not read.exists(1, b"b", 5)
    assert not read.exists(1, b"never asked for", 0)


def test_what_a_name_is_like_is_what_was_said_last() -> None:
    larger = A_FILE._replace(size_bytes=99)
    read = recording(found(b"a", 2), missed(b"b"), found(b"a", 2, status=larger), missed(b"b"))
    statuses = [[status for _, _, status in read.names(1, index)] for index in (0, 1, 3)]
    assert statuses == [[A_FILE], [A_FILE], [larger]]


def test_a_lookup_that_failed_otherwise_says_nothing_of_the_name() -> None:
    assert names(recording(missed(b"a")._replace(error="EACCES")), 1, 0) == set()


# Lookups that cross whatever is cached


def exclusive(*questions: Question) -> set[int]:
    lookups = recording(*questions).lookups
    return {index for index, each in lookups.items() if each is Lookup.EXCLUSIVE}


def test_who_makes_a_name_asks_for_it_in_any_case() -> None:
    made = {"found": 2, "status": A_FILE}
    for operation, call in (
        ("MKDIR", "mkdir"),
        ("SYMLINK", "symlinkat"),
        ("MKNOD", "mknod"),
        ("CREATE", "openat O_EXCL"),
    ):
        assert exclusive(
            found(b"dir", 8, call=call),
            missed(b"a", 8, call=call),
            asked(operation, 8, b"a", call=call, **made),
        ) == {1}
        assert exclusive(found(b"a", 2, call=call)) == {0}, "it is there: EEXIST"


def test_who_only_looks_does_not() -> None:
    assert exclusive(missed(b"a", call="statx"), found(b"a", 2, call="openat")) == set()
    assert exclusive(missed(b"a", call="openat"), asked("CREATE", 1, b"a", call="openat")) == set()
    assert exclusive(found(b"a", 2, call="unlink"), asked("UNLINK", 1, b"a")) == set()


def test_a_directory_on_the_way_is_walked_through() -> None:
    made = asked("MKDIR", 8, b"e", found=9, status=A_DIRECTORY, call="mkdir")
    assert exclusive(found(b"d", 8, call="mkdir"), missed(b"e", 8, call="mkdir"), made) == {1}


def test_a_missing_directory_on_the_way_to_what_is_made_is_no_name_that_is_made() -> None:
    """mkdir("d/e/f") where there is no e, as of mkdir -p: a negative dentry of e ends it."""
    assert exclusive(found(b"d", 8, call="mkdir"), missed(b"e", 8, call="mkdir")) == set()


def test_the_target_of_a_rename_is_asked_for_in_any_case() -> None:
    moved = asked("RENAME", 1, b"a", found=1, new_name=b"b", call="rename")
    old, new = found(b"a", 2, call="rename"), missed(b"b", call="rename")
    assert exclusive(old, new, moved) == {1}
    replaced = found(b"b", 3, call="rename")
    assert exclusive(old, replaced, moved) == {1}
    assert exclusive(missed(b"a", call="rename"), new) == set(), "ENOENT ended the call"


def test_a_rename_walks_both_paths_before_it_looks_up_what_they_end_with() -> None:
    def walked(name: bytes, inode: int, parent: int = 1) -> Question:
        return found(name, inode, parent, status=A_DIRECTORY, call="rename")

    questions = (
        *(walked(b"d", 8), walked(b"e", 9)),
        *(found(b"a", 2, 8, call="rename"), missed(b"b", 9, call="rename")),
        asked("RENAME", 8, b"a", found=9, new_name=b"b", call="rename"),
        *(walked(b"d", 8), found(b"x", 3, 8, call="rename")),
    )
    assert list(recording(*questions).lookups.values()) == [
        *(Lookup.WALKED, Lookup.WALKED, Lookup.RENAMED, Lookup.EXCLUSIVE),
        *(Lookup.WALKED, Lookup.RENAMED),
    ]


def test_two_links_of_one_file_are_renamed_by_nothing_but_their_lookups() -> None:
    """So one rename ends where the next begins, though no request says so."""
    looks = (found(b"a", 2, call="rename"), found(b"b", 2, call="rename"))
    assert exclusive(*looks, *looks, *looks) == {1, 3, 5}


def test_of_a_link_the_second_name_is() -> None:
    assert exclusive(
        found(b"a", 2, call="linkat"),
        missed(b"b", call="linkat"),
        asked("LINK", 1, b"b", found=2, call="linkat", status=A_FILE),
    ) == {1}


def test_threads_are_told_apart() -> None:
    assert exclusive(
        missed(b"a", thread=1),
        missed(b"a", thread=2),
        asked("MKDIR", 1, b"a", thread=1, found=2, status=A_DIRECTORY),
    ) == {0}


def test_without_calls_what_follows_tells() -> None:
    made = {"found": 2, "status": A_FILE}
    assert exclusive(missed(b"a"), asked("MKDIR", 1, b"a", **made)) == {0}
    assert exclusive(missed(b"a"), asked("CREATE", 1, b"a", flags=0o200, **made)) == {0}
    assert exclusive(missed(b"a"), asked("CREATE", 1, b"a", flags=0, **made)) == set()
    assert exclusive(missed(b"a"), asked("MKDIR", 1, b"other", **made)) == set()


def test_what_is_read_column_by_column_is_what_the_rows_say(tmp_path: Path) -> None:
    rows = [
        found_row("lib", 2, mode=0o040755, object_bytes=40, links=2, mtime_ns=7),
        missed_row("café", 2),
        row("RENAME", 2, name="a", new_name="b", found=2, call="rename"),
        row("FORGET", 2),
        row("READ", 3, offset_bytes=4_096, size_bytes=10, handle=5),
    ]
    path = write_trace(tmp_path / "t", in_turn(rows), policy=UNCACHED)
    read = read_recording(path).questions
    assert [each.operation.name for each in read] == [
        "LOOKUP",
        "LOOKUP",
        "RENAME",
        "FORGET",
        "READ",
    ]
    assert read[0].status == Status(0o040755, 40, 7, 2)
    assert read[1].name == "café".encode()
    assert (read[1].error, read[1].status) == ("ENOENT", UNKNOWN)
    assert (read[2].name, read[2].new_name, read[2].call) == (b"a", b"b", "rename")
    assert (read[4].offset_bytes, read[4].size_bytes, read[4].handle) == (4_096, 10, 5)
    assert all(type(each.inode) is int for each in read), "no numbers of numpy, which are slow"


def test_a_recording_of_nothing_is_read(tmp_path: Path) -> None:
    assert len(read_recording(write_trace(tmp_path / "t", [], policy=UNCACHED))) == 0


@pytest.mark.parametrize("by", list(Dependencies))
def test_an_answer_in_no_time_is_not_waited_for_by_its_own_question(
    tmp_path: Path, by: Dependencies
) -> None:
    """As in a log of strace, whose times are of microseconds."""
    rows = [missed_row("a"), missed_row("b")]
    at_once = [each | {"arrival_ns": 5, "took_ns": 0} for each in in_turn(rows)]
    recorded = read_recording(write_trace(tmp_path / "t", at_once, policy=UNCACHED))
    graph = order(recorded, by)
    assert graph.previous[0] == NOTHING
    assert all(each < index for index, each in enumerate(graph.previous))


def test_policies_are_asked_by_the_wall_clock() -> None:
    """Which they compare with when a file was changed; the trace's own clock begins anywhere."""
    header = {"began_wall_ns": 1_700_000_000 * 10**9}
    assert recording(missed(b"a"), header=header).began_wall_ns == 1_700_000_000 * 10**9
