"""What a tree was copied from goes on changing: who measures the copy is told."""

import os
from pathlib import Path

import pytest

from osxfs_sim.lab.originals import difference, save_state, saved_state, state_of


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    (folder / "src").mkdir(parents=True)
    (folder / "src/a.c").write_text("one")
    (folder / "link").symlink_to("src")
    return folder


def test_a_folder_that_nobody_touched_is_what_it_was(folder: Path, tmp_path: Path) -> None:
    then = state_of(folder)
    save_state(then, tmp_path / "state")
    (folder / "src/a.c").read_text()
    (folder / "src/made").touch()
    (folder / "src/made").unlink()
    assert difference(saved_state(tmp_path / "state") or {}, state_of(folder)) == ""


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda folder: (folder / "src/a.c").write_text("two"), "src/a.c changed"),
        (lambda folder: (folder / "src/a.c").chmod(0o700), "src/a.c changed"),
        (lambda folder: (folder / "src/a.c").unlink(), "src/a.c is gone"),
        (lambda folder: (folder / "b").touch(), "b is new"),
        (lambda folder: (folder / "src").chmod(0o700), "src changed"),
        (lambda folder: (folder / "src").rename(folder / "lib"), "lib is new, and 3 more"),
        (lambda folder: os.mkfifo(folder / "a\udcff"), "a\\udcff is new"),
    ],
)
def test_the_first_change_is_named(folder: Path, change, said: str) -> None:
    then = state_of(folder)
    change(folder)
    assert difference(then, state_of(folder)) == said


def test_the_same_length_and_time_do_not_hide_another_content(folder: Path) -> None:
    then = state_of(folder)
    status = (folder / "src/a.c").stat()
    (folder / "src/a.c").write_text("two")
    os.utime(folder / "src/a.c", ns=(status.st_atime_ns, status.st_mtime_ns))
    assert difference(then, state_of(folder)) == "src/a.c changed"


@pytest.mark.parametrize("text", ["", "{", "[]", "7", "[" * 100_000])
def test_a_state_that_cannot_be_read_is_as_if_none_was_kept(tmp_path: Path, text: str) -> None:
    (tmp_path / "state").write_text(text)
    assert saved_state(tmp_path / "state") is None
    assert saved_state(tmp_path / "none") is None
