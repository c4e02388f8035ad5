"""What a command says: the only place from which it writes to a terminal, besides tables.

Names, paths and messages are often somebody else's. So what is said is one line, of which a
terminal takes nothing for a command (model/escaping.py); who says several lines, says so.
Tables go by way of report/console.py, which does the same.
"""

import json
import sys
import time
from collections.abc import Callable
from typing import Any

import click

from osxfs_sim.model.escaping import ERRORS, printable, printable_lines

_WORTH_TELLING_S = 2.0


def say(text: str) -> None:
    """Print a line of the answer on standard output, control characters escaped."""
    click.echo(printable(text))


def say_lines(text: str) -> None:
    """Print lines on standard output, all control characters but line ends escaped."""
    click.echo(printable_lines(text))


def say_json(document: Any, *, indent: int | None = None) -> None:
    """Print *document* on standard output as ASCII JSON. Raises TypeError for other types."""
    click.echo(json.dumps(document, indent=indent).replace("\x7f", "\\u007f"))


def tell(text: str) -> None:
    """Print a line on standard error (progress, warnings), control characters escaped."""
    click.echo(printable(text), err=True)


def telling_when_slow() -> Callable[[str], None]:
    """A function that prints each step it is called with, from two seconds after now on.

    By then somebody wonders what is being done.
    """
    began_s = time.monotonic()

    def say_step(text: str) -> None:
        if time.monotonic() - began_s > _WORTH_TELLING_S:
            tell(f"  {text}")

    return say_step


def hand_out(data: bytes) -> None:
    """Write *data* to standard output as it is, or readable where that is a terminal."""
    if sys.stdout.isatty():
        data = printable_lines(data.decode("utf-8", "replace").replace("\r\n", "\n")).encode()
    sys.stdout.buffer.write(data)


def write_what_can_be_written() -> None:
    """Let standard output and error replace letters that their encoding lacks, not raise."""
    for stream in (sys.stdout, sys.stderr):
        reconfigure = getattr(stream, "reconfigure", None)  # not of what stands in for one
        if reconfigure is not None:
            reconfigure(errors=ERRORS)
