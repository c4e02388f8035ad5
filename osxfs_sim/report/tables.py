"""A table as a value: made once, and shown on a terminal, in Markdown, or as CSV.

So the renderings cannot disagree. Nothing in it is ever cut: where a terminal is too narrow,
cells are folded. What is in a cell may be somebody else's text: each rendering escapes it.
"""

import csv
import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from rich import box
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderResult
from rich.padding import Padding
from rich.table import Table as RichTable
from rich.text import Text

from osxfs_sim.model.escaping import printable, printable_lines

_NUMBER = ">"
_NEVER_WRAPPED = 2
"""What a line is about, and of which kind, stays on one line where there is room for it."""
_GAP = 3
"""Columns are so many characters apart, as rich draws them."""


@dataclass(frozen=True, slots=True)
class Cell:
    """A cell that a terminal shows in a *style* (rich's words, such as ``red``)."""

    text: str
    """What it says, unescaped."""
    style: str = ""
    """How it looks, where there are styles."""


@dataclass(slots=True)
class Table:
    """Rows of texts under named columns."""

    title: str
    """What the table is about; empty: no title."""
    columns: tuple[str, ...]
    """The names of the columns; two may have the same."""
    rows: list[tuple[str | Cell, ...]] = field(default_factory=list)
    """As many cells each as there are columns."""
    numbers: frozenset[int] = frozenset()
    """The indices of the columns that are aligned right."""
    legend: str = ""
    """What the columns mean, in sentences."""

    def add_row(self, *cells: str | Cell) -> None:
        """Put a row below the others. Raises ValueError for another number of cells."""
        if len(cells) != len(self.columns):
            raise ValueError(f"{len(cells)} cells for {len(self.columns)} columns")
        self.rows.append(cells)

    @property
    def row_count(self) -> int:
        """How many rows this table has."""
        return len(self.rows)

    def texts(self) -> Iterator[tuple[str, ...]]:
        """The table's rows as tuples of plain texts, without styles."""
        for row in self.rows:
            yield tuple(cell.text if isinstance(cell, Cell) else cell for cell in row)

    def without_empty(self, words: int) -> "Table":
        """A new table without columns that are empty in all rows, but for the first *words*."""
        texts = list(self.texts())
        kept = [
            place
            for place in range(len(self.columns))
            if place < words or any(row[place] for row in texts)
        ]
        return Table(
            self.title,
            tuple(self.columns[place] for place in kept),
            [tuple(row[place] for place in kept) for row in self.rows],
            frozenset(new for new, place in enumerate(kept) if place in self.numbers),
            self.legend,
        )

    # Its renderings

    def __rich_console__(self, out: Console, options: ConsoleOptions) -> RenderResult:
        """On a terminal: title, table, and legend."""
        if self.title:
            yield Text(printable(self.title), style="italic")
        yield self._rich(options.max_width)
        if self.legend:
            yield Padding(Text(printable(self.legend)), (0, 0, 1, 2))

    def _rich(self, width: int) -> RichTable:
        made = RichTable(box=box.SIMPLE_HEAD, pad_edge=False)
        widths = self._widths(width - 2 - _GAP * (len(self.columns) - 1))
        for place, name in enumerate(self.columns):
            made.add_column(
                Text(printable(name)),
                justify="right" if place in self.numbers else "left",
                overflow="fold",
                width=widths[place],
            )
        for row in self.rows:
            made.add_row(*map(_shown, row))
        return made

    def _widths(self, room: int) -> list[int]:
        """How wide each column is, where all together have *room*, in characters.

        Numbers and what a line is about stay on one line, numbers first, as long as the
        others have room for their names; what is left is dealt out among those.
        """
        texts = [self.columns, *self.texts()]
        columns = range(len(self.columns))
        natural = [max(1, *(cell_len(printable(row[n])) for row in texts)) for n in columns]
        least = [max(1, cell_len(printable(name))) for name in self.columns]
        if sum(least) > room:
            least = [1] * len(least)
        spare = room - sum(least)
        first = sorted(columns, key=lambda n: (self._is_prose(n), n not in self.numbers))
        widths = list(least)
        for place in (n for n in first if not self._is_prose(n)):
            if natural[place] - least[place] <= spare:
                widths[place] = natural[place]
                spare -= natural[place] - least[place]
        wanting = sorted(columns, key=lambda n: natural[n] - widths[n])
        for number, place in enumerate(wanting):
            more = min(natural[place] - widths[place], max(0, spare) // (len(wanting) - number))
            widths[place] += more
            spare -= more
        return widths

    def _is_prose(self, place: int) -> bool:
        return place not in self.numbers and place >= _NEVER_WRAPPED

    def markdown(self) -> Iterator[str]:
        """The table in Markdown blocks to be parted by empty lines: title, table and legend."""
        yield f"**{markdown_text(self.title)}**"
        rules = ["---:" if n in self.numbers else "---" for n in range(len(self.columns))]
        lines = [[markdown_text(name) for name in self.columns], rules]
        lines += [[markdown_text(text) for text in row] for row in self.texts()]
        yield "\n".join(f"| {' | '.join(line)} |" for line in lines)
        if self.legend:
            yield markdown_text(self.legend)

    def csv(self) -> str:
        """The table's columns and rows as CSV text (RFC 4180), without title and legend."""
        text = io.StringIO()
        # Lines end as RFC 4180 says; else a lone carriage return in a name would not be quoted.
        writer = csv.writer(text, lineterminator="\r\n")
        writer.writerow(self.columns)
        writer.writerows(self.texts())
        return text.getvalue()


def table(
    *columns: str,
    title: str = "",
    rows: Iterable[Sequence[str | Cell]] = (),
    legend: str = "",
) -> Table:
    """Make a Table of *rows*; a column whose name begins with ``>`` is aligned as numbers."""
    return Table(
        title,
        tuple(name.removeprefix(_NUMBER) for name in columns),
        [tuple(row) for row in rows],
        frozenset(n for n, name in enumerate(columns) if name.startswith(_NUMBER)),
        legend,
    )


def _shown(cell: str | Cell) -> Text:
    if isinstance(cell, Cell):
        return Text(printable(cell.text), style=cell.style)
    return Text(printable(cell))


# What Markdown, or the HTML that it may hold, would take for something else.
_SPECIAL = str.maketrans(
    {letter: f"\\{letter}" for letter in "\\`*_[]<>|#~"} | {"\n": " ", "\r": " "}
)


def markdown_text(text: str) -> str:
    """*text* on one line, with all that Markdown or HTML would take for markup escaped."""
    return printable_lines(text).translate(_SPECIAL)


def styled(style: str) -> Callable[[str], Cell]:
    """A function that makes a Cell in *style*, rich's word, of a text."""
    return lambda text: Cell(text, style)


bold, red, yellow, green = (styled(each) for each in ("bold", "red", "yellow", "green"))
