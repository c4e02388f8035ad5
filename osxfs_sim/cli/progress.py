"""How far something long is, on standard error: a bar on a terminal, else a line per step."""

import sys
from types import TracebackType
from typing import Self

from rich.progress import BarColumn, Progress, TextColumn

from osxfs_sim.cli.saying import tell
from osxfs_sim.model.escaping import printable
from osxfs_sim.model.formatting import format_fixed
from osxfs_sim.report.console import error_console


class StepProgress:
    """Tells the step that is being done and how much is left, for the time of a ``with`` block."""

    def __init__(self, *, begin_lines: bool = False) -> None:
        """With *begin_lines*, where there is no terminal what begins is a line of its own, too."""
        self._begin_lines = begin_lines
        self._bar: Progress | None = None
        self._remaining = ""
        if sys.stderr.isatty():
            self._bar = Progress(
                BarColumn(bar_width=30),
                TextColumn("{format_fixed(task.completed, 0)} of {format_fixed(task.total, 0)}"),
                TextColumn("{task.description}", markup=False),
                console=error_console(),
                transient=True,
                auto_refresh=False,  # a thread that draws would take time from what is measured
            )
            self._task = self._bar.add_task("", total=None, visible=False)

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        where: TracebackType | None,
    ) -> None:
        self.stop()

    def stop(self) -> None:
        """Take the progress bar away, if there is one; what is printed then is not in its way."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def say(self, text: str) -> None:
        """Print a line that stays above the bar; on standard error where there is no bar."""
        if self._bar is not None:
            self._bar.console.print(f"  {printable(text)}", markup=False)
        else:
            tell(f"  {text}")

    def expect(self, done: int, left: int) -> None:
        """Tell the bar how many steps are done and how many are left; nothing without a bar."""
        if self._bar is not None:
            self._bar.update(self._task, completed=done, total=done + left, visible=True)

    def begin(self, text: str) -> None:
        """Show the step *text* while it is done; without a terminal only with *begin_lines*."""
        if self._bar is not None:
            self._describe(text)
        elif self._begin_lines:
            tell(f"  {text}")

    def finished(self, text: str, done: int, left: int, remaining: str) -> None:
        """Print that step *text* is finished, and how many are *done* and *left*."""
        if self._bar is not None:
            self._bar.console.print(f"  {printable(text)}", markup=False)
            self.expect(done, left)
            self._remaining = remaining
            self._describe("")
        else:
            tell(f"  {text}; {done} of {done + left}{remaining and f', {remaining}'}")

    def _describe(self, text: str) -> None:
        if self._bar is not None:
            words = " · ".join(filter(None, (self._remaining, text)))
            self._bar.update(self._task, description=printable(words), refresh=True)


def remaining_words(remaining_s: float | None, *, at_most: bool) -> str:
    """``about 4 min left`` for *remaining_s*; empty where it is None or not above 0."""
    if remaining_s is None or remaining_s <= 0:
        return ""
    if remaining_s < 90:
        amount = f"{max(1, round(remaining_s))} s"
    elif remaining_s < 5_400:
        amount = f"{round(remaining_s / 60)} min"
    else:
        amount = f"{format_fixed(remaining_s / 3_600, 1)} h"
    return f"{'at most ' if at_most else ''}about {amount} left"
