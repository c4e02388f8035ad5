"""docs/cases.md names every case, key and placeholder; each case's page has what it must have."""

import re
from pathlib import Path

import pytest

from osxfs_sim.lab.cases import KEYS, PLACEHOLDERS, case_names, load_case

PAGE = (Path(__file__).parents[2] / "docs" / "cases.md").read_text()
# The first three were written before the others' headings were agreed upon.
HEADINGS = ("Files", "Environment", "The command", "What is measured", "What to expect, and why")
EARLIER = {"rake", "ember", "dd-1k"}


def rows_of(page: str, heading: str) -> list[str]:
    """The first cells of the table whose first column has that heading."""
    table = page.partition(f"\n| {heading} |")[2].partition("\n\n")[0]
    return [line.split("|")[1].strip() for line in table.splitlines()[2:]]


def known_keys() -> set[str]:
    return {
        f"{table}.{key}" if table else key
        for table, keys in KEYS.items()
        for key in keys
        if key not in {known.partition(".")[0] for known in KEYS}  # a table of its own
    }


def test_every_key_of_a_case_is_documented_and_no_other() -> None:
    documented = [row.strip("`") for row in rows_of(PAGE, "key")]
    assert len(documented) == len(set(documented))
    assert set(documented) == known_keys()


def test_every_placeholder_is_documented_and_no_other() -> None:
    assert {row.strip("`{}") for row in rows_of(PAGE, "placeholder")} == set(PLACEHOLDERS)


def test_every_shipped_case_is_in_the_table_and_no_other() -> None:
    linked = [re.match(r"\[([\w-]+)\]\((.*)\)", row) for row in rows_of(PAGE, "case")]
    assert sorted(found[1] for found in linked if found) == case_names()
    for found in linked:
        assert found
        assert (Path(__file__).parents[2] / "docs" / found[2]).is_file()


def test_a_key_that_is_not_documented_would_be_noticed() -> None:
    page = PAGE.replace("| `command.tells` |", "| `command.told` |")
    documented = {row.strip("`") for row in rows_of(page, "key")}
    assert documented ^ known_keys() == {"command.tells", "command.told"}


def test_the_example_is_a_case(tmp_path: Path) -> None:
    example = re.search(r"```toml\n(.*?)```", PAGE, re.DOTALL)
    assert example
    (tmp_path / "case.toml").write_text(example[1])
    assert load_case(str(tmp_path)).name == "word"


@pytest.mark.parametrize("name", sorted(set(case_names()) - EARLIER))
def test_a_cases_page_has_its_five_parts_and_how_to_run_it(name: str) -> None:
    page = (load_case(name).folder / "README.md").read_text()
    assert page.startswith(f"# {name}: ")
    found = re.findall(r"^## (.*)$", page, re.MULTILINE)
    assert tuple(found[:5]) == HEADINGS
    assert f"    osxfs-sim run {name} " in page
    assert f"    osxfs-sim run {name} --quick" in page


@pytest.mark.parametrize("name", case_names())
def test_every_case_has_a_quick_form(name: str) -> None:
    assert load_case(name).quick is not None
