"""A new case's text can be read back as the case that was asked for."""

import os
import shlex
import subprocess
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from osxfs_sim.lab.cases import load_case
from osxfs_sim.lab.new_case import NewCase, files_of, name_from, path_into

# What the kernel takes as an argument and UTF-8 can hold.
WORDS = st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)), max_size=30)


def written(folder: Path, case: NewCase) -> Path:
    for path, text in files_of(case).items():
        file = folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
        file.chmod(0o755)
    return folder


@pytest.mark.starts_processes
@given(words=st.lists(WORDS, max_size=4), title=st.none() | WORDS)
@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_any_command_and_title_make_a_case_that_runs_just_that(
    tmp_path: Path, words: list[str], title: str | None
) -> None:
    new = NewCase("mine", ("printf", "%s\\0", *words), title=title, program_needed="printf")
    folder = written(tmp_path / "mine", new)
    case = load_case(str(folder))
    case.check_needs()
    assert (case.name, case.commands_needed) == ("mine", ("printf",))
    command = case.command(case.measured, tree=tmp_path, variant="default")
    said = subprocess.run(command, capture_output=True, check=True).stdout
    assert said == b"".join(word.encode() + b"\0" for word in words or [""])


@pytest.mark.starts_processes
def test_a_tree_that_is_a_copy_is_made_whole_and_the_command_runs_in_it(tmp_path: Path) -> None:
    source = tmp_path / "what's mine"
    (source / "inner").mkdir(parents=True)
    (source / "inner" / "word").write_text("hello")
    new = NewCase("mine", ("cat", "inner/word"), PurePosixPath(source))
    case = load_case(str(written(tmp_path / "mine", new)))
    tree = tmp_path / "tree"
    subprocess.run(case.command(case.setup, tree=tree, variant="default"), check=True)
    command = case.command(case.measured, tree=tree, variant="default")
    assert subprocess.run(command, capture_output=True, check=True).stdout == b"hello"
    assert sorted(os.listdir(tmp_path)) == ["mine", "tree", "what's mine"]


@pytest.mark.starts_processes
def test_a_folder_that_is_gone_fails_the_set_up_and_leaves_nothing(tmp_path: Path) -> None:
    new = NewCase("mine", ("true",), PurePosixPath(tmp_path / "gone"))
    case = load_case(str(written(tmp_path / "mine", new)))
    command = case.command(case.setup, tree=tmp_path / "tree", variant="default")
    result = subprocess.run(command, capture_output=True, text=True)
    assert result.returncode == 1
    assert result.stderr == f"setup.sh: there is no folder {tmp_path / 'gone'}\n"
    assert os.listdir(tmp_path) == ["mine"]


def test_the_readme_has_the_five_parts_of_the_shipped_ones() -> None:
    readme = files_of(NewCase("mine", ("make", "all"), title="Make"))["README.md"]
    headings = [line for line in readme.splitlines() if line.startswith("## ")]
    assert len(headings) == 5
    assert shlex.join(["make", "all"]) in readme


@pytest.mark.parametrize(
    ("folder", "name"),
    [("my-case", "my-case"), ("my case (2)", "my-case-2"), (".hidden", "hidden"), ("...", "")],
)
def test_a_case_is_named_after_its_folder(folder: str, name: str) -> None:
    assert name_from(folder) == name


def test_a_path_into_the_original_is_found() -> None:
    source = PurePosixPath("/home/me/project")
    assert path_into(source, ["make", "-C", "/home/me/project/sub"]) == "/home/me/project/sub"
    assert path_into(source, ["make", "OUT=/home/me/project"]) == "OUT=/home/me/project"
    assert path_into(source, ["make", "/home/me/projects", "project", "/usr"]) is None
