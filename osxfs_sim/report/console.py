"""Where reports go: standard output, as wide as the terminal, plain when piped.

What reports are about has names that others have chosen, so nothing that a terminal takes for
a command gets there, whatever a report has put into its tables. What is put into a line or a
cell and is not the program's own goes through escape(), which keeps it on that line too.
"""

import dataclasses
import shutil
import sys
from collections.abc import Iterable
from typing import Any, TypeVar

from rich import markup as rich_markup
from rich.console import Console, ConsoleOptions, RenderableType
from rich.segment import Segment

from osxfs_sim.model.escaping import printable, printable_lines

_WIDTH_WHEN_PIPED = 120

T = TypeVar("T")


class SafeConsole(Console):
    """A console that shows control characters instead of sending them to the terminal."""

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        """Render as rich does, but show control characters of texts instead of sending them."""
        for segment in super().render(renderable, options):
            if segment.control or segment.text.isprintable():
                yield segment
            else:
                yield Segment(printable_lines(segment.text), segment.style)


def console() -> Console:
    """A SafeConsole on standard output as it is now; COLUMNS or 120 wide where no terminal."""
    width = (
        None if sys.stdout.isatty() else shutil.get_terminal_size((_WIDTH_WHEN_PIPED, 24)).columns
    )
    return SafeConsole(file=sys.stdout, width=width, highlight=False, soft_wrap=False)


def error_console(**options: Any) -> Console:
    """A SafeConsole on standard error, made with rich's *options*."""
    return SafeConsole(stderr=True, highlight=False, **options)


def escape(text: str) -> str:
    """*text* for a line that rich prints: one line, markup and control characters harmless."""
    return rich_markup.escape(printable(text))


def escape_all(answer: T) -> T:
    """A copy of *answer* (dataclass, dict, list or text) with escape() applied to each text."""
    escaped: T = _escaped(answer)
    return escaped


def _escaped(answer: Any) -> Any:
    if isinstance(answer, str):
        return escape(answer)
    if dataclasses.is_dataclass(answer) and not isinstance(answer, type):
        texts = {
            each.name: _escaped(getattr(answer, each.name)) for each in dataclasses.fields(answer)
        }
        return dataclasses.replace(answer, **texts)
    if isinstance(answer, dict):
        return {_escaped(key): _escaped(value) for key, value in answer.items()}
    if isinstance(answer, list | tuple):
        return [_escaped(value) for value in answer]
    return answer
