"""A pattern, how many files and how often: the edits of a run, drawn by a seed.

A stream is named ``vim``, or ``vim@5/s`` with another rate, or by the path of a file.
"""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Stream:
    """Edits to be made while a command runs. *rate_per_s* is of arrivals."""

    name: str
    rate_per_s: float


def parse_stream(text: str) -> Stream:
    """The stream that *text* (NAME, NAME@RATE or a file) stands for. Raises StreamError."""
    raise NotImplementedError
