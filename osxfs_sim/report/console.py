"""Where reports go: standard output, as wide as the terminal, plain when piped."""

import shutil
import sys

from rich import box
from rich.console import Console
from rich.table import Table

_WIDTH_WHEN_PIPED = 120


def console() -> Console:
    """A console on the standard output of this moment (tests replace it)."""
    width = (
        None if sys.stdout.isatty() else shutil.get_terminal_size((_WIDTH_WHEN_PIPED, 24)).columns
    )
    return Console(file=sys.stdout, width=width, highlight=False, soft_wrap=False)


def table(*columns: str, title: str | None = None) -> Table:
    """An empty table; columns whose name begins with ``>`` are numbers, aligned right."""
    made = Table(box=box.SIMPLE_HEAD, title=title, title_justify="left", pad_edge=False)
    for number, column in enumerate(columns):
        if column.startswith(">"):
            made.add_column(column[1:], justify="right", no_wrap=True)
        else:
            # What a line is about is never cut; prose further right may wrap.
            made.add_column(column, no_wrap=number < 2, min_width=len(column))
    return made
