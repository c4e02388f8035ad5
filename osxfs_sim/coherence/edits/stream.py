"""A pattern, how many files and how often: the edits of a run, drawn by a seed. Pure but for
reading a pattern's file.

A stream is written ``vim``, ``vim@5/s`` (at another rate), ``vim@5/s,same`` (contents stay as
they are, and only times change) or ``vim,files=100``; instead of a name there may be the path
of a pattern's file. Edits come at random moments (a Poisson process), or evenly with ``even``.

Of two runs with the same seed, the longer one's edits begin with the shorter one's.
"""

import hashlib
import math
import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from importlib import resources
from random import Random

from osxfs_sim.coherence.edits.pattern import PATTERN, Pattern, pattern_from
from osxfs_sim.model.user_error import UserError, nearest

_SHIPPED = resources.files("osxfs_sim.coherence.edits") / "patterns"
_PER_S = {"s": 1.0, "min": 60.0}


@dataclass(frozen=True, slots=True)
class Stream:
    """Edits that are made while a command runs: a pattern, of how many files, how often."""

    text: str
    """What the user has called it, such as ``vim@5/s``."""
    pattern: Pattern
    """What one edit is."""
    rate_per_s: float
    """Edits (or bursts of edits) a second."""
    files: int
    """How many files it edits at most, in an order that a seed decides."""
    same: bool = False
    """Whether contents stay as they are, and only times change."""
    even: bool = False
    """Whether edits come evenly, and not at random (a Poisson process)."""


@dataclass(frozen=True, slots=True)
class ScheduledEdit:
    """One edit of a stream: when its steps begin, and on which file."""

    at_ns: int
    """When its first step is due, since the command began."""
    file: int
    """The index of the edited file among those chosen."""


def stream_names() -> list[str]:
    """The names of the patterns of edits that ship with the package, sorted."""
    return sorted(
        entry.name.removesuffix(".toml")
        for entry in _SHIPPED.iterdir()
        if entry.name.endswith(".toml")
    )


def parse_stream(text: str) -> Stream:
    """The stream of edits that *text* means, such as ``vim@5/s,same``. Raises UserError.

    Raises UserError for an unknown pattern or word, and for a rate that its steps do not allow.
    """
    name, *words = text.split(",")
    base, at, rate = name.rpartition("@")
    if at and (base in stream_names() or re.fullmatch(r"[\d.]+/\w+", rate)):
        name = base
    else:
        rate = ""  # a path may have the sign as well
    pattern = _pattern(name)
    stream = Stream(text, pattern, pattern.rate_per_s, pattern.files)
    if rate or name != text.split(",")[0]:
        stream = replace(stream, rate_per_s=parse_rate(rate, f"the edits {text!r}"))
    for word in words:
        key, equals, value = word.partition("=")
        if word == "same":
            stream = replace(stream, same=True)
        elif word == "even":
            stream = replace(stream, even=True)
        elif key == "files" and equals and value.isdecimal() and int(value) > 0:
            stream = replace(stream, files=int(value))
        else:
            raise UserError(f"the edits {text!r}: {word!r} is none of same, even and files=N")
    most = most_per_s(pattern)
    if stream.rate_per_s > most:
        raise UserError(
            f"the edits {text!r} cannot be made so often: they come one after the other, and "
            f"each takes its time; give a rate of at most {math.floor(most * 10) / 10:g}/s"
        )
    return stream


def most_per_s(pattern: Pattern) -> float:
    """The most edits a second that *pattern* allows by its own length; infinite if it has none."""
    length_ns = pattern.burst * max(pattern.gap_ns, pattern.steps[-1].at_ns)
    return 1e9 / length_ns if length_ns else math.inf


def parse_rate(text: str, what: str) -> float:
    """The rate ``5/s`` or ``2/min`` in times a second. Raises UserError, naming *what* it is of."""
    match = re.fullmatch(r"(\d+(?:\.\d+)?)/(s|min)", text)
    if match is None or not float(match[1]) > 0:
        raise UserError(f"{what}: write the rate like 5/s or 2/min")
    return float(match[1]) / _PER_S[match[2]]


def _pattern(name: str) -> Pattern:
    shipped = stream_names()
    if name in shipped:
        text = (_SHIPPED / f"{name}.toml").read_text(encoding="utf-8")
    elif "/" in name or name.endswith(".toml"):
        text = PATTERN.text_of(name)
    else:
        raise UserError(
            f"there are no edits called {name!r}{nearest(name, shipped)}: "
            f"choose from {', '.join(shipped)}, or name a pattern's file"
        )
    return pattern_from(text, name)


def chosen(stream: Stream, candidates: Sequence[str], seed: int) -> list[str]:
    """The paths of *candidates* that a stream edits, drawn by *seed*; all where it wants more."""

    def rank(path: str) -> bytes:
        # By each name alone: one candidate more or less changes nothing for the others.
        return hashlib.sha256(os.fsencode(f"files {seed} {path}")).digest()

    return sorted(candidates, key=rank)[: stream.files]


def edits_of(stream: Stream, files: int, seed: int) -> Iterator[ScheduledEdit]:
    """Yield, without end, when *stream* edits which of *files* files, by *seed*, in time order.

    A burst takes the files in turn, from a random one on; single edits take any.
    """
    random = Random(f"edits {seed}")
    burst, at_ns = min(stream.pattern.burst, files), 0
    waiting: list[ScheduledEdit] = []
    while True:
        wait_s = 1 / stream.rate_per_s if stream.even else random.expovariate(stream.rate_per_s)
        at_ns += round(wait_s * 1e9)
        due = [edit for edit in waiting if edit.at_ns <= at_ns]
        yield from due
        first = random.randrange(files)
        waiting = waiting[len(due) :] + [
            ScheduledEdit(at_ns + place * stream.pattern.gap_ns, (first + place) % files)
            for place in range(burst)
        ]
        waiting.sort(key=lambda edit: edit.at_ns)
