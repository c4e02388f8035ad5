"""chokidar, by which most JavaScript tools watch, hears what the host does.

It takes an event for a hint and looks for itself. So the stories are the same on a
local directory, and are told there first: it cannot tell the difference.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.listening import (
    create,
    edit_as_editors_do,
    edit_in_place,
    from_json,
    is_ready,
    javascript,
    listener,
)
from support.live import LiveShare


@dataclass(frozen=True, slots=True)
class Place:
    """Where files are changed, and where that is watched."""

    host: Path
    guest: Path


@pytest.fixture
def source(field: Path) -> Path:
    """What the host had before it was shared: later, the guest would be told of it."""
    source = field / "source"
    (source / "folder").mkdir(parents=True)
    (source / "folder" / "page").write_text("a page")
    for name in ("edited", "saved", "renamed", "deleted"):
        (source / name).write_text(f"{name} before")
    return source


@pytest.fixture(params=["a local directory", "osxfs", "osxfs-cached"])
def place(request: pytest.FixtureRequest, share: Callable[..., LiveShare], source: Path) -> Place:
    if request.param == "a local directory":
        return Place(source, source)
    guest = share(source, profile=request.param).guest
    for path in guest.rglob("*"):
        assert path.is_dir() or path.read_text()  # so that a cached share has it cached
    return Place(source, guest)


def chokidar(directory: Path):
    """chokidar, watching *directory* and all below."""
    return listener(javascript("chokidar_listener.mjs"), directory, from_json, is_ready)


def test_edits_are_heard_and_what_is_read_then_is_new(place: Place) -> None:
    with chokidar(place.guest) as heard:
        edit_in_place(place.host / "edited", "edited  after")
        heard.until(("change", "edited", "edited  after"))
        edit_as_editors_do(place.host / "saved", "saved after, and longer")
        reports = heard.until(("change", "saved", "saved after, and longer"))
        assert {path for _, path, _ in reports} <= {"edited", "saved", ".saved.swp"}
        assert not {("unlink", "saved"), ("add", "saved")} & {each[:2] for each in reports}


def test_new_and_deleted_files_are_heard(place: Place, field: Path) -> None:
    with chokidar(place.guest) as heard:
        create(place.host / "new", "content", aside=field)
        heard.until(("add", "new", "content"))
        (place.host / "deleted").unlink()
        heard.until(("unlink", "deleted", "ENOENT"))


def test_a_rename_is_both_halves(place: Place) -> None:
    with chokidar(place.guest) as heard:
        (place.host / "renamed").rename(place.host / "to this")
        heard.until(("unlink", "renamed", "ENOENT"), ("add", "to this", "renamed before"))


def test_a_file_that_came_with_its_directory_is_found_and_watched(
    place: Place, field: Path
) -> None:
    with chokidar(place.guest) as heard:
        (place.host / "new").mkdir()
        create(place.host / "new" / "page", "first", aside=field)
        heard.until(("addDir", "new", None), ("add", "new/page", "first"))
        (place.host / "new" / "deeper").mkdir()
        heard.until(("addDir", "new/deeper", None))


def test_a_directory_that_is_renamed_is_watched_under_its_new_name(place: Place) -> None:
    with chokidar(place.guest) as heard:
        (place.host / "folder").rename(place.host / "renamed folder")
        heard.until(
            ("unlink", "folder/page", "ENOENT"),
            ("addDir", "renamed folder", None),
            ("add", "renamed folder/page", "a page"),
        )
        edit_in_place(place.host / "renamed folder" / "page", "a  new")
        heard.until(("change", "renamed folder/page", "a  new"))


def test_a_tree_that_is_removed_is_heard_file_by_file(place: Place) -> None:
    with chokidar(place.guest) as heard:
        (place.host / "folder" / "page").unlink()
        (place.host / "folder").rmdir()
        heard.until(("unlink", "folder/page", "ENOENT"))
        # chokidar 4 reports a vanished directory by its full path.
        heard.until(lambda report: report[0] == "unlinkDir" and report[1].endswith("folder"))


def test_what_the_guest_does_is_heard_once(place: Place) -> None:
    with chokidar(place.guest) as heard:
        edit_in_place(place.guest / "edited", "edited  after")
        heard.until(("change", "edited", "edited  after"))
        (place.guest / "deleted").unlink()
        heard.until(("unlink", "deleted", "ENOENT"))
        (place.host / "last").mkdir()
        assert heard.until(("addDir", "last", None)) == [
            ("change", "edited", "edited  after"),
            ("unlink", "deleted", "ENOENT"),
            ("addDir", "last", None),
        ]


def test_without_host_events_only_the_guest_is_heard(
    share: Callable[..., LiveShare], source: Path
) -> None:
    deaf = share(source, profile="osxfs-cached", host_events="none")
    with chokidar(deaf.guest) as heard:
        edit_in_place(deaf.source / "edited", "edited  after")
        (deaf.guest / "mine").mkdir()
        assert heard.until(("addDir", "mine", None)) == [("addDir", "mine", None)]
