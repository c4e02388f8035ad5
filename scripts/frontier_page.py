"""Fills what was measured into docs/case-studies/frontier.md, and draws its pictures.

What stands between the two marks of the page is made from docs/results/frontier/*.json by
``osxfs-sim frontier --show``, and nothing there is written by hand.
"""

import subprocess
import sys
from pathlib import Path

DOCS = Path(__file__).resolve().parents[1] / "docs"
PAGE = DOCS / "case-studies" / "frontier.md"
RESULTS = DOCS / "results" / "frontier"
PICTURE = DOCS / "results" / "frontier.svg"
CASES = ("rake", "rake-appear", "ember", "npm-install", "git", "watch")

BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"
NOT_YET = "*Nothing is measured yet: `scripts/frontier` fills this in.*"
IMAGE = "![Wall time against stale answers per run, a panel for each case](../results/frontier.svg)"


def filled(page: str, text: str) -> str:
    """*page* with *text* between its marks. Raises ValueError where it has none."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the page lacks {BEGIN} or {END}")
    return f"{before}{BEGIN}\n\n{text}\n\n{END}{after}"


def measured(results: Path = RESULTS) -> list[Path]:
    """The results that there are, in the order of the page."""
    return [path for case in CASES if (path := results / f"{case}.json").exists()]


def told(results: list[Path], *options: str) -> str:
    """What the command says of them."""
    command = [sys.executable, "-m", "osxfs_sim", "frontier", "--show", "--markdown"]
    done = subprocess.run(
        [*command, *options, *map(str, results)], stdout=subprocess.PIPE, text=True, check=True
    )
    return done.stdout.strip()


def main() -> None:
    """Draw, and fill the page."""
    results = measured()
    text = NOT_YET
    if results:
        text = f"{IMAGE}\n\n{told(results, '--picture', str(PICTURE))}"
    PAGE.write_text(filled(PAGE.read_text(encoding="utf-8"), text), encoding="utf-8")


if __name__ == "__main__":
    main()
