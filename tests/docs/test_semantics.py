"""Every rule of docs/semantics.md names tests, and every test that a page names exists."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
_TEST = re.compile(r"`(tests/[\w/]+\.py)::(\w+)`")
_TEST_COLUMN = re.compile(r"^\| rule .*\| test \|$", re.MULTILINE)


def missing(page: str) -> list[str]:
    """The tests that *page* names and nobody has written."""
    defined: dict[str, set[str]] = {}
    lacking = []
    for path, name in _TEST.findall(page):
        if path not in defined:
            file = ROOT / path
            nodes = ast.walk(ast.parse(file.read_text())) if file.exists() else ()
            defined[path] = {node.name for node in nodes if isinstance(node, ast.FunctionDef)}
        if name not in defined[path]:
            lacking.append(f"{path}::{name}")
    return lacking


def rules_without_test(page: str) -> list[str]:
    """Rows of tables of rules that name no test."""
    without, in_rules = [], False
    for line in page.splitlines():
        if not line.startswith("|"):
            in_rules = False
        elif _TEST_COLUMN.match(line):
            in_rules = True
        elif in_rules and not line.startswith("| ---") and not _TEST.search(line):
            without.append(line)
    return without


@pytest.mark.takes_seconds
def test_every_rule_names_a_test_that_exists() -> None:
    page = (ROOT / "docs" / "semantics.md").read_text()
    assert len(_TEST.findall(page)) > 50
    assert missing(page) == []
    assert rules_without_test(page) == []


@pytest.mark.takes_seconds
@pytest.mark.parametrize("page", sorted(path.name for path in (ROOT / "docs").glob("*.md")))
def test_every_test_that_a_page_names_exists(page: str) -> None:
    assert missing((ROOT / "docs" / page).read_text()) == []


def test_a_test_that_nobody_wrote_would_be_noticed() -> None:
    here = "tests/docs/test_semantics.py"
    assert missing(f"`{here}::test_that_nobody_wrote`") == [f"{here}::test_that_nobody_wrote"]
    assert missing("`tests/docs/nowhere.py::test_it`") == ["tests/docs/nowhere.py::test_it"]
    table = "| rule | test |\n| --- | --- |\n| all is well | we think so |\n"
    assert rules_without_test(table) == ["| all is well | we think so |"]
