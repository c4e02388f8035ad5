"""The npm-install study says what its samples say, and its picture is theirs."""

from pathlib import Path

import pytest
from support.command import Command

from osxfs_sim.lab.dilation import dilation_line
from osxfs_sim.lab.results import load_result

DOCS = Path(__file__).parents[2] / "docs"
SAMPLES = DOCS / "results" / "npm-install-study"
PAGE = (DOCS / "case-studies" / "npm-install.md").read_text()


@pytest.fixture(scope="session")
def shown(cli: Command):
    def shown(*options: str) -> str:
        result = cli("reproduce", "npm-install", "--show", SAMPLES, *options)
        assert result.returncode == 0, result.stderr
        return result.stdout

    return shown


def missing_lines(page: str, told: str) -> list[str]:
    """What *told* has that *page* has not."""
    lines = {line.strip() for line in page.splitlines()}
    return [line for line in told.splitlines() if line.strip() not in lines]


def test_each_line_of_its_tables_comes_from_the_saved_samples(shown) -> None:
    assert missing_lines(PAGE, shown("--markdown")) == []


def test_its_picture_is_drawn_from_them(shown, tmp_path: Path) -> None:
    shown("--picture", str(tmp_path / "ratios.svg"))
    published = DOCS / "results" / "npm-install-ratios.svg"
    assert published.read_bytes() == (tmp_path / "ratios.svg").read_bytes()


def test_a_number_that_was_changed_would_be_noticed() -> None:
    told = "| Lima | native |\n| OrbStack | bind mount |\n"
    assert missing_lines("| Lima | native |\n| OrbStack | bind |\n", told) == [
        "| OrbStack | bind mount |"
    ]


def test_the_straight_line_is_the_one_of_its_samples() -> None:
    samples = load_result(DOCS / "results" / "comparisons" / "dilation-walk.json")
    line = dilation_line(
        [
            (samples.specs[one.arm]["options"].get("dilate", 1.0), one.wall_s)
            for one in samples.samples
        ]
    )
    assert line is not None
    assert line.dilations == (1, 2, 5, 10)
    said = f"The line is {line.processor_s:.3f} s + K × {line.waiting_s:.3f} s; no mean is further"
    assert said in PAGE
    assert f"than {100 * line.worst_share:.1f} %" in PAGE
    assert f"(p = {line.bend_p:.3f})" in PAGE
