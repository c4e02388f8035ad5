"""Python's watchdog in the guest hears what the host does.

It pairs the two halves of a move by a cookie that raised events cannot have, and
so shows best what the emulated systems lose.
"""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.listening import (
    HERE,
    Listener,
    create,
    edit_as_editors_do,
    edit_in_place,
    from_json,
    is_ready,
    listener,
    once,
)
from support.live import LiveShare

LAST = ("created", "last", "")


@pytest.fixture
def source(field: Path) -> Path:
    """What the host had before it was shared: later, the guest would be told of it."""
    source = field / "source"
    (source / "folder").mkdir(parents=True)
    (source / "page").write_text("old")
    (source / "folder" / "page").write_text("old")
    return source


@pytest.fixture(params=["osxfs", "osxfs-cached"])
def told(
    request: pytest.FixtureRequest, share: Callable[..., LiveShare], source: Path
) -> LiveShare:
    """A share whose guest is told."""
    return share(source, profile=request.param)


def watchdog(directory: Path):
    """watchdog's observer, watching *directory* and all below."""
    return listener([sys.executable, HERE / "watchdog_listener.py"], directory, from_json, is_ready)


def all_of(heard: "Listener[tuple[Any, ...]]", share: LiveShare) -> list[tuple[Any, ...]]:
    """What was heard of names, up to a last change by the host.

    That a directory is modified is watchdog's own conclusion, not an event.
    """
    (share.source / "last").touch()
    reports = heard.until(LAST)
    reports = reports[: reports.index(LAST)]
    return [report for report in reports if report[:2] != ("modified-directory", ".")]


def test_an_edit_is_heard_and_its_content_is_there(told: LiveShare) -> None:
    assert (told.guest / "page").read_text() == "old"
    with watchdog(told.guest) as heard:
        edit_in_place(told.source / "page", "new")
        assert once(all_of(heard, told)) == [("modified", "page", "new")]


def test_an_edit_as_editors_do_it_is_a_modification(told: LiveShare) -> None:
    # On a local directory it is a move.
    assert (told.guest / "page").read_text() == "old"
    with watchdog(told.guest) as heard:
        edit_as_editors_do(told.source / "page", "new")
        of_the_page = [report for report in all_of(heard, told) if report[1] == "page"]
        assert once(of_the_page) == [("modified", "page", "new")]


def test_a_new_file_is_heard_and_its_content_is_there(told: LiveShare, field: Path) -> None:
    with watchdog(told.guest) as heard:
        create(told.source / "new", "content", aside=field)
        reports = once(all_of(heard, told))
        assert reports[0] == ("created", "new", "content")
        # The link that gave it its name has changed its attributes, too.
        assert set(reports[1:]) <= {("attrib", "new", "content")}


def test_a_rename_is_a_deletion_and_a_modification_of_a_name_never_created(
    told: LiveShare,
) -> None:
    with watchdog(told.guest) as heard:
        (told.source / "page").rename(told.source / "leaf")
        assert sorted(once(all_of(heard, told))) == [
            ("deleted", "page", "FileNotFoundError"),
            ("modified", "leaf", "old"),
        ]


def test_a_deletion_is_heard(told: LiveShare) -> None:
    with watchdog(told.guest) as heard:
        (told.source / "page").unlink()
        assert once(all_of(heard, told)) == [("deleted", "page", "FileNotFoundError")]


def test_a_tree_is_heard_to_go_file_by_file(told: LiveShare) -> None:
    with watchdog(told.guest) as heard:
        (told.source / "folder" / "page").unlink()
        (told.source / "folder").rmdir()
        heard.until(
            ("deleted", "folder/page", "FileNotFoundError"),
            ("deleted-directory", "folder", "FileNotFoundError"),
        )


def test_a_file_that_came_with_its_directory_is_found(told: LiveShare, field: Path) -> None:
    with watchdog(told.guest) as heard:
        (told.source / "new").mkdir()
        create(told.source / "new" / "page", "first", aside=field)
        heard.until(("created-directory", "new", None), ("created", "new/page", "first"))
        edit_in_place(told.source / "new" / "page", "later")
        heard.until(("modified", "new/page", "later"))


def test_after_a_rename_of_a_directory_its_old_name_is_reported(told: LiveShare) -> None:
    # An inotify watch stays with the directory, and no event says where that has gone.
    with watchdog(told.guest) as heard:
        (told.source / "folder").rename(told.source / "renamed")
        heard.until(("deleted-directory", "folder", "FileNotFoundError"))
        heard.until(("modified-directory", "renamed", None))
        edit_in_place(told.source / "renamed" / "page", "new")
        heard.until(("modified", "folder/page", "FileNotFoundError"))


def test_what_the_guest_does_is_heard_once(told: LiveShare) -> None:
    with watchdog(told.guest) as heard:
        (told.guest / "page").write_text("new")
        (told.guest / "page").rename(told.guest / "leaf")
        (told.guest / "leaf").unlink()
        reports = [(kind, path, *to) for kind, path, _, *to in all_of(heard, told)]
        # To cut it to nothing and to write it are two modifications, which the kernel
        # makes one if watchdog has not read the first.
        assert reports[-3:] == [
            ("closed", "page"),
            ("moved", "page", "leaf"),
            ("deleted", "leaf"),
        ]
        assert reports[:-3] in ([("modified", "page")], [("modified", "page")] * 2)


def test_without_host_events_only_the_guest_is_heard(
    share: Callable[..., LiveShare], source: Path
) -> None:
    deaf = share(source, profile="osxfs-cached", host_events="none")
    with watchdog(deaf.guest) as heard:
        edit_in_place(deaf.source / "page", "new")
        (deaf.guest / "mine").mkdir()
        reports = heard.until(("created-directory", "mine", None))
        assert all(report[1] in ("mine", ".") for report in reports)
