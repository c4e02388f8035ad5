"""A table that is made once and shown twice: on a terminal, and in a document.

So the two cannot disagree.
"""

from collections.abc import Collection, Iterator
from dataclasses import dataclass

from rich.console import Console
from rich.padding import Padding

from osxfs_sim.report.console import escape, table
from osxfs_sim.report.markdown import escaped


@dataclass(frozen=True, slots=True)
class Rows:
    """A table: *columns* whose name begins with ``>`` hold numbers."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    legend: str = ""


def print_rows(out: Console, rows: Rows, *, never_cut: Collection[str] = ()) -> None:
    """On a terminal. Numbers and the columns named are never cut; prose may wrap."""
    made = table(*rows.columns)
    for column in made.columns:
        column.no_wrap = column.justify == "right" or column.header in never_cut
    for row in rows.rows:
        made.add_row(*map(escape, row))
    out.print(escape(rows.title), style="italic")
    out.print(made)
    if rows.legend:
        out.print(Padding(escape(rows.legend), (0, 0, 1, 2)))


def markdown_of(rows: Rows) -> Iterator[str]:
    """Its blocks, which an empty line parts: title, table, and what its columns mean."""
    rules = ["---:" if column.startswith(">") else "---" for column in rows.columns]
    lines = [[escaped(column.removeprefix(">")) for column in rows.columns], rules]
    lines += [[escaped(cell) for cell in row] for row in rows.rows]
    yield f"**{escaped(rows.title)}**"
    yield "\n".join(f"| {' | '.join(line)} |" for line in lines)
    if rows.legend:
        yield escaped(rows.legend)
