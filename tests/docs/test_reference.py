"""The reference names every command, and every field of what is saved."""

import dataclasses
import re
from pathlib import Path

import click
import pytest
from support.project_scripts import project_script

from osxfs_sim.cli import main
from osxfs_sim.lab.results import Comparison, Sample

ROOT = Path(__file__).parents[2]
REFERENCE = (ROOT / "docs" / "reference.md").read_text()


status_table = project_script("status_table")


def named_in(text: str, heading: str) -> set[str]:
    """What stands between backquotes below *heading*, up to the next one of its level."""
    level = heading.split()[0]
    section = text.partition(f"{heading}\n")[2]
    return set(re.findall(r"`([^`]+)`", section.partition(f"\n{level} ")[0]))


@pytest.mark.parametrize("record", [Comparison, Sample])
def test_every_field_of_a_result_is_documented(record: type) -> None:
    named = named_in(REFERENCE, "### The file of a comparison")
    assert {each.name for each in dataclasses.fields(record)} <= named


def test_every_command_is_in_the_table() -> None:
    words = {name.split()[0] for name in named_in(REFERENCE, "## Commands")}
    assert isinstance(main, click.Group)
    assert set(main.list_commands(click.Context(main))) <= words


def test_what_is_missing_would_be_noticed() -> None:
    text = "## One\n`first`\n### Below\n`second`\n## Two\n`third`\n"
    assert named_in(text, "## One") == {"first", "second"}
    assert named_in(text, "## Two") == {"third"}
    assert named_in(text, "## Three") == set()


# The status: its tables are made of the classes.


def test_the_tables_of_the_status_are_those_of_its_classes() -> None:
    assert status_table.filled(REFERENCE) == REFERENCE, "python scripts/status_table.py"


def test_a_table_that_says_something_else_is_noticed() -> None:
    changed = REFERENCE.replace("| `pid` | ", "| `pid` | perhaps ")
    assert changed != REFERENCE
    assert status_table.filled(changed) == REFERENCE
    lacking = re.sub(r"\| `descriptors` \|.*\n", "", REFERENCE)
    assert status_table.filled(lacking) == REFERENCE != lacking


def undocumented(source: str) -> list[str]:
    """Classes and fields without a line of their own, or with more than one."""
    return [
        f"{name}.{field}" if field else name
        for name, (about, fields) in status_table.classes_of(source).items()
        for field, line in (("", about), *((field, line) for field, _, line in fields))
        if not line or "\n" in line or "|" in line
    ]


def test_every_field_of_the_status_has_one_line() -> None:
    assert undocumented(Path(status_table.status.__file__).read_text()) == []


def test_a_field_without_a_line_is_noticed() -> None:
    source = (
        'class A:\n    """One."""\n    a: int\n    b: int\n    """Two."""\nclass B:\n    pass\n'
    )
    assert undocumented(source) == ["A.a", "B"]
