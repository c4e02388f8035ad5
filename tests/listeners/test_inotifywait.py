"""inotifywait (Debian's inotify-tools) in the guest hears what the host does.

It shows the kernel's events as they are, so these tests are the table of
docs/semantics.md, "Host events", as a user meets it.
"""

import itertools
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from support.guests import eventually
from support.listening import Listener, edit_as_editors_do, edit_in_place, listener, once
from support.live import LiveShare

# All but what looking alone causes: those of the watcher itself would be heard too.
EVENTS = "modify,attrib,close_write,moved_from,moved_to,move_self,create,delete,delete_self"
LAST = "CREATE ./last"

Waiting = Callable[..., "Listener[str]"]


@pytest.fixture
def source(field: Path) -> Path:
    """What the host had before it was shared: later, the guest would be told of it."""
    source = field / "source"
    (source / "folder").mkdir(parents=True)
    (source / "tree" / "below").mkdir(parents=True)
    (source / "tree" / "leaf").touch()
    (source / "tree" / "below" / "leaf").touch()
    (source / "page").write_text("edit 00")
    return source


@pytest.fixture(params=["osxfs", "osxfs-cached"])
def told(
    request: pytest.FixtureRequest, share: Callable[..., LiveShare], source: Path
) -> LiveShare:
    """A share whose guest is told."""
    return share(source, profile=request.param)


def waiting(directory: Path, events: str = EVENTS):
    """inotifywait, watching *directory* and all below."""
    return listener(
        ["inotifywait", "-m", "-r", "-e", events, "--format", "%e %w%f", "."],
        directory,
        lambda line: line if "./" in line else None,
        lambda line: line == "Watches established.",
    )


def all_of(heard: "Listener[str]", share: LiveShare) -> list[str]:
    """What was heard, up to a last change by the host."""
    (share.source / "last").touch()
    reports = heard.until(LAST)
    return reports[: reports.index(LAST)]


def test_a_new_file_is_created_and_modified_and_never_closed(told: LiveShare) -> None:
    with waiting(told.guest) as heard:
        (told.source / "new").write_text("content")
        assert once(all_of(heard, told)) == ["CREATE ./new", "MODIFY ./new"]


def test_an_edit_is_one_modification(told: LiveShare) -> None:
    with waiting(told.guest) as heard:
        edit_in_place(told.source / "page", "edit 01")
        assert once(all_of(heard, told)) == ["MODIFY ./page"]


def test_an_edit_as_editors_do_it_is_a_modification_of_the_same_name(told: LiveShare) -> None:
    with waiting(told.guest) as heard:
        edit_as_editors_do(told.source / "page", "new")
        of_the_page = [event for event in all_of(heard, told) if event.endswith("/page")]
        assert once(of_the_page) == ["MODIFY ./page"]


def test_new_rights_are_new_attributes(told: LiveShare) -> None:
    with waiting(told.guest) as heard:
        (told.source / "page").chmod(0o600)
        assert once(all_of(heard, told)) == ["ATTRIB ./page"]


def test_a_rename_is_a_deletion_and_a_modification_and_no_move(told: LiveShare) -> None:
    with waiting(told.guest) as heard:
        (told.source / "page").rename(told.source / "leaf")
        assert sorted(once(all_of(heard, told))) == ["DELETE ./page", "MODIFY ./leaf"]


def test_a_deletion_is_told_to_the_directory_and_to_the_file(told: LiveShare) -> None:
    with (
        waiting(told.guest) as heard,
        listener(
            ["inotifywait", "-m", "-e", "delete_self", "--format", "%e", "page"],
            told.guest,
            lambda line: line,
            lambda line: line == "Watches established.",
        ) as of_the_file,
    ):
        (told.source / "page").unlink()
        assert once(all_of(heard, told)) == ["DELETE ./page"]
        of_the_file.until("DELETE_SELF")


def test_files_in_a_new_directory_are_heard_once_it_is_watched(told: LiveShare) -> None:
    # Until inotifywait has begun to watch it, they are not: on a local directory neither.
    with waiting(told.guest) as heard:
        (told.source / "new").mkdir()
        heard.until("CREATE,ISDIR ./new")
        numbers = itertools.count()

        def is_heard() -> bool:
            (told.source / "new" / str(next(numbers))).touch()
            return any(report.startswith("CREATE ./new/") for report in heard.reports)

        eventually(is_heard)


def test_a_directory_is_seen_to_go(told: LiveShare) -> None:
    with waiting(told.guest) as heard:
        (told.source / "folder").rmdir()
        reports = set(all_of(heard, told))
        assert reports == {"DELETE,ISDIR ./folder", "DELETE_SELF ./folder/"}


def test_a_tree_is_seen_to_go_file_by_file(told: LiveShare) -> None:
    # By the time that the guest is told, the directories are gone, too.
    with waiting(told.guest) as heard:
        shutil.rmtree(told.source / "tree")
        assert sorted(once(all_of(heard, told))) == [
            "DELETE ./tree/below/leaf",
            "DELETE ./tree/leaf",
            "DELETE,ISDIR ./tree",
            "DELETE,ISDIR ./tree/below",
            "DELETE_SELF ./tree/",
            "DELETE_SELF ./tree/below/",
        ]


def test_what_the_guest_does_is_heard_once_and_completely(told: LiveShare) -> None:
    with waiting(told.guest) as heard:
        (told.guest / "mine").write_text("content")
        (told.guest / "mine").rename(told.guest / "still mine")
        (told.guest / "still mine").chmod(0o600)
        (told.guest / "still mine").unlink()
        assert all_of(heard, told) == [
            "CREATE ./mine",
            "MODIFY ./mine",
            "CLOSE_WRITE,CLOSE ./mine",
            "MOVED_FROM ./mine",
            "MOVED_TO ./still mine",
            "ATTRIB ./still mine",
            "DELETE ./still mine",
        ]


def test_who_waits_for_close_write_hears_the_guest_only(told: LiveShare) -> None:
    with (
        waiting(told.guest) as everything,
        waiting(told.guest, "close_write") as closings,
    ):
        (told.source / "page").write_text("from the host")
        everything.until("MODIFY ./page")
        (told.guest / "page").write_text("from the guest")
        assert closings.until("CLOSE_WRITE,CLOSE ./page") == ["CLOSE_WRITE,CLOSE ./page"]


def test_who_reads_when_told_reads_what_is_new(told: LiveShare) -> None:
    edits = [f"edit {number:02}" for number in range(1, 21)]
    command = (
        "cat page; inotifywait -m -e modify --format %f . | "
        'while read -r name; do if [ "$name" = page ]; then cat page; echo; fi; done'
    )
    with listener(
        ["bash", "-c", command],
        told.guest,
        lambda line: line if line.startswith("edit") else None,
        lambda line: line == "Watches established.",
    ) as heard:
        for number, edit in enumerate(edits):
            if number % 2:
                edit_in_place(told.source / "page", edit)
            else:
                edit_as_editors_do(told.source / "page", edit)
            heard.until(edit)
        assert once(heard.reports) == edits


def test_without_host_events_only_the_guest_is_heard(
    share: Callable[..., LiveShare], source: Path
) -> None:
    deaf = share(source, profile="osxfs-cached", host_events="none")
    with waiting(deaf.guest) as heard:
        edit_in_place(deaf.source / "page", "edit 01")
        (deaf.guest / "mine").touch()
        assert heard.until("CREATE ./mine")[0] == "CREATE ./mine"


@pytest.mark.starts_processes
def test_a_listener_that_ends_is_noticed(field: Path) -> None:
    with (
        pytest.raises(AssertionError, match="ended before it reported"),
        listener(["echo", "ready"], field, str, lambda line: line == "ready") as heard,
    ):
        heard.until("anything")
