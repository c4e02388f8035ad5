"""docs/analysis.md has every column and every cause, and its examples run."""

import json
import re
from pathlib import Path

import pytest
from test_examples import blocks, run_blocks

from osxfs_sim.trace.causes import RULES
from osxfs_sim.trace.format import SCHEMA

PAGE = (Path(__file__).parents[2] / "docs" / "analysis.md").read_text()


def lines_of_tables(page: str) -> dict[str, str]:
    """The first cell of each line of a table, and the rest."""
    return dict(re.findall(r"^\| `?([^|`]+?)`? \| (.*) \|$", page, re.MULTILINE))


def undocumented(page: str) -> list[str]:
    lines = lines_of_tables(page)
    missing = [name for name in SCHEMA.names if name not in lines]
    return missing + [
        rule.label
        for rule in RULES
        if not lines.get(rule.label, "").startswith(f"`{rule.remedy}` |")
    ]


def test_every_column_and_every_cause_is_documented():
    assert undocumented(PAGE) == []


def test_what_is_not_documented_is_noticed():
    assert undocumented(PAGE.replace("| `found` |", "| `sought` |")) == ["found"]
    assert undocumented(PAGE.replace("| closing files |", "| closing |")) == ["closing files"]


@pytest.mark.usefixtures("need_fuse")
def test_its_examples_do_what_they_say(tmp_path):
    result = run_blocks(
        "sh", [text for kind, _, text in blocks("analysis.md") if kind == "sh"], tmp_path
    )
    assert result.returncode == 0, result.stderr
    told = " ".join(result.stdout.split())
    assert "missing names, asked again" in told
    assert "2 lookups of missing names x 159us = 318us of 20ms: 1 is a repeat" in told
    document = json.loads((tmp_path / "analysis.json").read_text())
    assert {cause["remedy"] for cause in document["causes"]} >= {"cached", "negative"}
    texts = [text for kind, _, text in blocks("analysis.md") if kind == "python"]
    result = run_blocks("python", texts, tmp_path)
    assert result.returncode == 0, result.stderr
    assert re.fullmatch(r"3 of \d+ requests found nothing\nosxfs\n", result.stdout)
