"""The figures of staleness: each that a page names lies beside its samples, and is theirs."""

import re
from pathlib import Path

import pytest

from osxfs_sim.cli import main

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"
PAGE = DOCS / "coherence.md"
SCRIPT = (ROOT / "scripts" / "staleness-figures").read_text()


def named(page: str) -> set[str]:
    """The figures of staleness that *page* shows."""
    return set(re.findall(r"\]\(results/staleness/([\w-]+)\.svg\)", page))


def missing(page: str, directory: Path) -> set[str]:
    """The files that *page* needs and *directory* has not."""
    needed = {f"{name}.{ending}" for name in named(page) for ending in ("svg", "json")}
    return {name for name in needed if not (directory / name).is_file()}


def measured(script: str) -> set[str]:
    """The figures that the script makes."""
    return set(re.findall(r"^figure ([\w-]+)", script, re.MULTILINE))


FIGURES = sorted(named(PAGE.read_text())) if PAGE.exists() else []
needs_page = pytest.mark.skipif(not FIGURES, reason="docs/coherence.md shows no such figure yet")


@needs_page
def test_every_figure_exists_with_its_samples() -> None:
    assert missing(PAGE.read_text(), DOCS / "results" / "staleness") == set()


@needs_page
def test_the_script_measures_each_figure_of_the_page_and_no_other() -> None:
    assert measured(SCRIPT) == set(FIGURES)


@pytest.mark.takes_seconds
@pytest.mark.parametrize("name", FIGURES)
def test_every_figure_is_drawn_of_its_samples(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    published = DOCS / "results" / "staleness" / f"{name}.svg"
    drawn = tmp_path / "drawn.svg"
    with pytest.raises(SystemExit) as end:
        main(["staleness", "--from", str(published.with_suffix(".json")), "--svg", str(drawn)])
    # With losses the changes whose event was lost are later than is predicted: that is told.
    assert (end.value.code or 0) == int(name == "losses"), capsys.readouterr().err
    assert drawn.read_bytes() == published.read_bytes()


def test_a_figure_without_its_samples_is_noticed(tmp_path: Path) -> None:
    page = "![what](results/staleness/load.svg) and ![x](results/staleness/at-once.svg)"
    for name in ("load.svg", "load.json", "at-once.svg"):
        (tmp_path / name).touch()
    assert named(page) == {"load", "at-once"}
    assert missing(page, tmp_path) == {"at-once.json"}


def test_what_the_script_measures_is_read_from_it() -> None:
    assert measured("figure() {\n}\nfigure held 4 x\n  figure not\nfigure at-once 9\n") == {
        "held",
        "at-once",
    }
    assert "losses" in measured(SCRIPT)
