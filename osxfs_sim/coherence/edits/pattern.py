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
from dataclasses import asdict, dataclass
from typing import Any

from osxfs_sim.model.user_error import UserError
from osxfs_sim.toml_files import FileKind

TARGET = "{name}"
ACTS = ("create", "truncate", "write", "rename", "unlink", "mkdir", "rmdir")
TARGETS = ("files", "missing")
CONTENTS = ("new", "old", "scratch")
_MOST_SCRATCH_BYTES = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class EditStep:
    """One thing that the tool does, *at_ns* after the first, beside the edited file.

    *what* and *size* are for a write, *to* is for a rename.
    """

    at_ns: int
    """When it is due, since the first step of the edit."""
    act: str
    """One of ACTS."""
    path: str
    """The name it is about, beside the edited file, with {name} for that file's own."""
    to: str = ""
    """Of rename, the new name, likewise."""
    what: str = ""
    """Of write, which content: one of CONTENTS."""
    size: int = 0
    """Of write with scratch content, how many bytes."""


@dataclass(frozen=True, slots=True)
class Pattern:
    """What a tool does to each file that it saves, and how a stream uses it by default."""

    name: str
    """What a stream calls it."""
    about: str
    """What tool it is of, in a sentence."""
    recorded: str
    """How it was recorded, with versions; or that it was written by hand."""
    steps: tuple[EditStep, ...]
    """The system calls of one edit, in order of time."""
    rate_per_s: float = 1.0
    """How many edits (or bursts of edits) come a second, unless a stream says otherwise."""
    files: int = 20
    """Of how many files it edits at most, unless a stream says otherwise."""
    burst: int = 1
    """How many files are edited in a row; 1: one at a time."""
    gap_ns: int = 0
    """The time between the begins of two edits of a burst."""
    targets: str = "files"
    """What is edited: existing files, or names that the workload looks up and that are missing."""

    def __post_init__(self) -> None:
        _check(self)

    def names(self) -> set[str]:
        """The templates of all names that an edit touches, the edited file's {name} included."""
        return {TARGET} | {name for step in self.steps for name in (step.path, step.to) if name}

    def to_toml(self) -> str:
        """The pattern of edits as the text of a TOML file, which pattern_from() can read."""
        lines = [f"{key} = {_toml(value)}" for key, value in asdict(self).items() if key != "steps"]
        for step in self.steps:
            lines += ["", "[[steps]]"]
            needed: dict[str, Any] = {"at_ns": step.at_ns, "act": step.act, "path": step.path}
            others = {key: value for key, value in asdict(step).items() if value}
            lines += [f"{key} = {_toml(value)}" for key, value in (needed | others).items()]
        return "\n".join(lines) + "\n"


def pattern_from(text: str, name: str = "by hand") -> Pattern:
    """The pattern of edits in the TOML text of a file called *name*. Raises UserError."""
    return PATTERN.parse(text, name)


def _check(pattern: Pattern) -> None:
    """That it can be made. Raises UserError."""
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


PATTERN = FileKind("pattern of edits", Pattern)


def _toml(value: Any) -> str:
    if isinstance(value, str):
        escaped = value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
        return f'"{escaped}"'
    return repr(value)
