"""What a tool does to a file that it saves, step by step, in terms of any file. Pure.

A pattern is taken from a recording (recording.py) or written by hand, and kept as TOML:

    name = "vim"
    about = "..."
    recorded = "how it was made"
    [[steps]]
    at_ns = 0              # since the first step
    act = "create"         # create, truncate, write, rename, unlink, mkdir, rmdir
    path = ".{name}.swp"   # beside the edited file, whose own name is {name}
    [[steps]]
    at_ns = 410000
    act = "write"
    path = ".{name}.swp"
    what = "scratch"       # new: the edited content; old: what was there; scratch: bytes
    size = 4096            # of scratch

rename has ``to`` as well. burst, gap_ns, rate_per_s and files say how the stream of that name
uses it (stream.py). With ``targets = "missing"`` it is for names that the workload asks for in
vain, and not for files.
"""

import math
import tomllib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from osxfs_sim.fs.reading import parse_toml
from osxfs_sim.model.user_error import UserError

TARGET = "{name}"
ACTS = ("create", "truncate", "write", "rename", "unlink", "mkdir", "rmdir")
TARGETS = ("files", "missing")
CONTENTS = ("new", "old", "scratch")
_MOST_SCRATCH_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Step:
    """One thing that the tool does, *at_ns* after the first, beside the edited file.

    *what* and *size* are for a write, *to* is for a rename.
    """

    at_ns: int
    act: str
    path: str
    to: str = ""
    what: str = ""
    size: int = 0


@dataclass(frozen=True, slots=True)
class Pattern:
    """What a tool does to each file, and how it is usually used.

    It takes *burst* files at a time, each *gap_ns* after the one before. *rate_per_s* is how
    often, and *files* how many there are to choose from, where nobody says otherwise.
    *targets* is what it is done to: files that are read, or names that are missing.
    """

    name: str
    about: str
    recorded: str
    steps: tuple[Step, ...]
    rate_per_s: float = 1.0
    files: int = 20
    burst: int = 1
    gap_ns: int = 0
    targets: str = "files"

    def names(self) -> set[str]:
        """All templates of names that it uses, the edited file's among them."""
        return {TARGET} | {name for step in self.steps for name in (step.path, step.to) if name}

    def to_toml(self) -> str:
        """The pattern as a file."""
        lines = [f"{key} = {_toml(value)}" for key, value in asdict(self).items() if key != "steps"]
        for step in self.steps:
            lines += ["", "[[steps]]"]
            needed: dict[str, Any] = {"at_ns": step.at_ns, "act": step.act, "path": step.path}
            others = {key: value for key, value in asdict(step).items() if value}
            lines += [f"{key} = {_toml(value)}" for key, value in (needed | others).items()]
        return "\n".join(lines) + "\n"


_NUMBER = (int, float)
_KINDS: Mapping[Any, tuple[Any, str]] = {
    str: (str, "text"),
    int: (int, "a whole number"),
    float: (_NUMBER, "a number"),
}


def pattern_from(text: str) -> Pattern:
    """The pattern in the TOML document *text*. Raises UserError."""
    try:
        document = parse_toml(text)
        steps = tuple(_step(step) for step in document.pop("steps"))
        pattern = Pattern(**document, steps=steps)
        _check(pattern)
    except tomllib.TOMLDecodeError as error:
        raise UserError(str(error)) from error
    except KeyError as error:
        raise UserError(f"it lacks {error.args[0]!r}") from error
    except TypeError as error:
        raise UserError(str(error).replace("Pattern.__init__()", "it")) from error
    return pattern


def _step(values: Mapping[str, Any]) -> Step:
    return Step(**values)


def _check(pattern: Pattern) -> None:
    parts: tuple[Pattern | Step, ...] = (pattern, *pattern.steps)
    for value in parts:
        for each in fields(value):
            kind, words = _KINDS.get(each.type, (object, ""))
            given = getattr(value, each.name)
            if not isinstance(given, kind) or isinstance(given, bool):
                raise UserError(f"{each.name} is {given!r}, and not {words}")
    if not pattern.steps:
        raise UserError("it has no steps")
    if (
        not 0 < pattern.rate_per_s < math.inf
        or pattern.files < 1
        or pattern.burst < 1
        or pattern.gap_ns < 0
    ):
        raise UserError("rate_per_s, files and burst are positive, and gap_ns is not negative")
    if pattern.targets not in TARGETS:
        raise UserError(f"targets is {pattern.targets!r}: write one of {', '.join(TARGETS)}")
    for number, step in enumerate(pattern.steps, 1):
        where = f"step {number}"
        if step.act not in ACTS:
            raise UserError(f"{where} has act {step.act!r}: write one of {', '.join(ACTS)}")
        if not 0 <= step.size <= _MOST_SCRATCH_BYTES:
            raise UserError(f"{where}: size is from 0 to {_MOST_SCRATCH_BYTES} bytes")
        if (pattern.targets == "missing") != (step.act in ("mkdir", "rmdir")):
            raise UserError(
                f"{where}: {step.act} is for targets = "
                f'"{"files" if pattern.targets == "missing" else "missing"}"'
            )
        if (step.act == "rename") != bool(step.to):
            raise UserError(f"{where}: to is for a rename, and a rename has it")
        if (step.act == "write") != (step.what in CONTENTS):
            raise UserError(f"{where}: what is for a write, and is one of {', '.join(CONTENTS)}")
        for name in (step.path, step.to):
            if "/" in name or name in (".", ".."):
                raise UserError(f"{where}: {name!r} is no name beside the edited file")
    times = [step.at_ns for step in pattern.steps]
    if times != sorted(times) or times[0] < 0:
        raise UserError("at_ns of its steps do not grow")


def _toml(value: Any) -> str:
    if isinstance(value, str):
        escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        return f'"{escaped}"'
    return repr(value)
