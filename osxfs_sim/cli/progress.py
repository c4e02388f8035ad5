"""How far something long is, on standard error: a bar on a terminal, else a line per step."""

import sys
from types import TracebackType
from typing import Self

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn


class StepProgress:
    """Tells what is being done and how much is left; for the time of a ``with`` block."""

    def __init__(self) -> None:
        self._bar: Progress | None = None
        if sys.stderr.isatty():
            self._bar = Progress(
                BarColumn(bar_width=30),
                TextColumn("{task.completed:.0f} of {task.total:.0f}"),
                TimeElapsedColumn(),
                TextColumn("{task.description}", markup=False),
                console=Console(stderr=True, highlight=False),
                transient=True,
            )
            self._task = self._bar.add_task("", total=1, visible=False)

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
        if self._bar is not None:
            self._bar.stop()

    def say(self, text: str) -> None:
        """A line that stays."""
        if self._bar is not None:
            self._bar.console.print(f"  {text}", markup=False)
        else:
            click.echo(f"  {text}", err=True)

    def begin(self, text: str) -> None:
        """What is being done now: shown while it is, where there is a terminal."""
        if self._bar is not None:
            self._bar.update(self._task, description=text)

    def finished(self, text: str, done: int, left: int, remaining: str) -> None:
        """A step is finished, *done* of them and *left* to do."""
        if self._bar is not None:
            self._bar.console.print(f"  {text}", markup=False)
            self._bar.update(self._task, completed=done, total=done + left, visible=True)
            self._bar.update(self._task, description=remaining)
        else:
            click.echo(
                f"  {text}; {done} of {done + left}{remaining and f', {remaining}'}", err=True
            )


def remaining_words(remaining_s: float | None, *, at_most: bool) -> str:
    """``about 4 min left``; nothing, where it cannot be told yet or there is nothing left."""
    if remaining_s is None or remaining_s <= 0:
        return ""
    if remaining_s < 90:
        amount = f"{max(1, round(remaining_s))} s"
    elif remaining_s < 5_400:
        amount = f"{round(remaining_s / 60)} min"
    else:
        amount = f"{remaining_s / 3_600:.1f} h"
    return f"{'at most ' if at_most else ''}about {amount} left"
