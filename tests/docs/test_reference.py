"""The reference names every command, and every field of what is saved."""

import dataclasses
import re
from pathlib import Path

import click
import pytest

from osxfs_sim.cli import main
from osxfs_sim.lab.results import Comparison, Sample

REFERENCE = (Path(__file__).parents[2] / "docs" / "reference.md").read_text()


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
