"""Files that are damaged at random, and what a command may say of them: one line, or a result."""

import copy
import sys
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import strategies as st

from osxfs_sim.cli import main

ODD = (
    *(None, True, False, 0, -1, 1, 7, 1.5, -0.5, 2**63, -(2**63), 10**30, 10**400),
    *(float("nan"), float("inf"), 1e308, "", "x", "\ud800", "osxfs", "0", "a\nb", "\x1b[31m"),
    *([], {}, [None], [[]], {"x": None}, {"": {"count": "x"}}, [1, "2"], "2026-13-45", "[/]"),
)
"""Values that nobody meant, in the place of others."""


def places(document: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The path of every value in it."""
    if path:
        yield path
    if isinstance(document, dict):
        for key, value in document.items():
            yield from places(value, (*path, key))
    elif isinstance(document, list):
        for number, value in enumerate(document[:3]):
            yield from places(value, (*path, number))


@st.composite
def damaged(draw: st.DrawFn, document: Any) -> Any:
    """*document* with one to three values replaced, taken away, or doubled."""
    changed = copy.deepcopy(document)
    for _ in range(draw(st.integers(1, 3))):
        known = list(places(changed))
        if not known:
            return changed
        # Not each value alike: then those of the longest lists would be nearly all.
        depth = draw(st.sampled_from(sorted({len(path) for path in known})))
        path = draw(st.sampled_from([each for each in known if len(each) == depth]))
        holder = changed
        for key in path[:-1]:
            holder = holder[key]
        match draw(st.sampled_from(("odd", "odd", "odd", "gone", "other"))):
            case "odd":
                holder[path[-1]] = copy.deepcopy(draw(st.sampled_from(ODD)))
            case "gone":
                del holder[path[-1]]
            case "other":
                elsewhere = changed
                for key in draw(st.sampled_from(known)):
                    elsewhere = elsewhere[key] if _has(elsewhere, key) else elsewhere
                holder[path[-1]] = copy.deepcopy(elsewhere)
    return changed


def _has(holder: Any, key: Any) -> bool:
    if isinstance(holder, dict):
        return key in holder
    return isinstance(holder, list) and isinstance(key, int) and key < len(holder)


@st.composite
def cut_or_flipped(draw: st.DrawFn, content: bytes) -> bytes:
    """*content* with bytes changed, inserted, taken out, or its end cut off."""
    changed = bytearray(content)
    for _ in range(draw(st.integers(1, 4))):
        if not changed:
            break
        at = draw(st.integers(0, len(changed) - 1))
        match draw(st.sampled_from(("flip", "flip", "cut", "out", "in", "zero"))):
            case "flip":
                changed[at] ^= 1 << draw(st.integers(0, 7))
            case "cut":
                del changed[at:]
            case "out":
                del changed[at : at + draw(st.integers(1, 64))]
            case "in":
                changed[at:at] = draw(st.binary(min_size=1, max_size=16))
            case "zero":
                end = min(len(changed), at + draw(st.integers(1, 64)))
                changed[at:end] = bytes(end - at)
    return bytes(changed)


def said_by(words: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[int, str, str]:
    """The exit code of a command, and what it said. What it raises is a bug of its own."""
    kept = sys.stdout, sys.stderr
    code: object = 0
    try:
        main.main(words, prog_name="osxfs-sim")
    except SystemExit as end:
        code = end.code
    finally:
        sys.stdout, sys.stderr = kept
    out, err = capsys.readouterr()
    assert isinstance(code, int | None)
    return code or 0, out, err


def is_shown_or_refused_in_a_line(
    words: list[str], capsys: pytest.CaptureFixture[str], *, progress: bool = False
) -> bool:
    """Whether the command went well; else it must have said why in one line."""
    code, out, err = said_by(words, capsys)
    lines = [line for line in err.splitlines() if not (progress and line.startswith("  "))]
    if code == 0 or (out and not err):
        return True  # a verdict, which may be that something is violated
    assert code in (1, 2), err
    assert len(lines) == 1, err
    assert lines[0].startswith("osxfs-sim: "), err
    return False
