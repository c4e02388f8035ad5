"""The text of a new case, made from a command: files as strings, nothing written.

What a user gets is a case like the shipped ones, to be read and changed: so each
script says what it is for, and case.toml shows the keys that are worth a thought.
"""

import json
import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath

ARMS = ("native", "osxfs", "osxfs-cached")
_LONGEST_TITLE = 60


@dataclass(frozen=True, slots=True)
class NewCase:
    """What is asked for of a new case's folder."""

    name: str
    """The case's name: its folder's, and in case.toml."""
    command: tuple[str, ...]
    """The measured command, in words."""
    source: PurePosixPath | None = None
    """The folder that the tree is a copy of; None: the tree begins empty."""
    title: str | None = None
    """What it is, in a few words; None: to be written by its author."""
    program_needed: str = ""
    """The command's program, where the machine must have it; empty where the tree brings it."""


def name_from(folder: str) -> str:
    """A case's name from its folder's: what is not allowed becomes a dash; may be empty."""
    return re.sub(r"[^A-Za-z0-9._-]+", "-", folder).strip("-._")


def path_into(source: PurePosixPath, words: Sequence[str]) -> str | None:
    """The first of *words* with an absolute path in *source* itself. None without one."""
    for word in words:
        for part in (word, word.partition("=")[2]):
            if part.startswith("/") and PurePosixPath(part).is_relative_to(source):
                return word
    return None


def files_of(case: NewCase) -> dict[str, str]:
    """The text of each file of a new case, by its path in the case's folder; writes nothing."""
    return {
        "case.toml": _case_toml(case),
        "README.md": _readme(case),
        "scripts/setup.sh": _SETUP_COPY.format(source=shlex.quote(str(case.source)))
        if case.source is not None
        else _SETUP_EMPTY,
        "scripts/run.sh": _RUN.format(command=shlex.join(case.command)),
        "scripts/check.sh": _CHECK,
    }


def _title(case: NewCase) -> str:
    title = " ".join((case.title or shlex.join(case.command)).split())
    return title if len(title) <= _LONGEST_TITLE else f"{title[: _LONGEST_TITLE - 3]}..."


def _toml(text: str) -> str:
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _case_toml(case: NewCase) -> str:
    needs = ""
    if case.program_needed:
        needs = f"""
[needs]
commands = [{_toml(case.program_needed)}]
# How to install them, with versions: install = "apt-get install ..."
"""
    copied_from = ""
    if case.source is not None:
        copied_from = f"""# Of which setup.sh makes a copy; a run says so when it has changed since.
copied_from = {_toml(str(case.source))}
"""
    return f"""name = {_toml(case.name)}
title = {_toml(_title(case))}
purpose = "What this workload is for, in a sentence."
arms = [{", ".join(_toml(arm) for arm in ARMS)}]
{needs}
[tree]
setup = ["scripts/setup.sh", "{{tree}}"]
{copied_from}# Where each run must begin anew, a script that takes away what the run before left:
# reset = ["scripts/reset.sh", "{{tree}}"]

[command]
measured = ["scripts/run.sh", "{{tree}}"]
check = ["scripts/check.sh", "{{tree}}"]
# A shortened command, for --quick:
# quick = ["scripts/quick.sh", "{{tree}}"]
# Parts of the tree that must be, after each run, what a native run leaves:
# deterministic = ["."]
# ignored = ["*.log"]
"""


def _readme(case: NewCase) -> str:
    files = (
        f"A copy of `{case.source}`, made once. When that folder changes, a run says so, and\n"
        "goes on with the copy. To have it copied anew, change `copy=1` in `scripts/setup.sh`\n"
        "to another number."
        if case.source is not None
        else "None: the tree is empty, until the command makes files."
    )
    return f"""# {case.name}: {_title(case)}

    osxfs-sim run ./{case.name}      # from the folder that this one is in

## Files

{files}

## Environment

{f"The machine's `{case.program_needed}`." if case.program_needed else "What the machine has."} \
The command sees the environment of whoever runs the case.

## The command

    {shlex.join(case.command)}

It runs in the tree (`scripts/run.sh`).

## What is measured

The command's wall time, and the requests that it makes to the share. A run counts if the
command's exit code is 0 and `scripts/check.sh` agrees.

## What to expect, and why

Write here what you expect before you run it.
"""


_SETUP_COPY = """#!/usr/bin/env bash
# setup.sh DEST: the tree, a copy of the folder that the case was made from.
set -euo pipefail
[[ $# -eq 1 ]] || {{ echo "usage: ${{0##*/}} DEST" >&2; exit 2; }}
copy=1  # of that folder; another number has it copied anew
source={source}
[[ -d $source ]] || {{ echo "${{0##*/}}: there is no folder $source" >&2; exit 1; }}
trap 'rm -rf -- "$1.partial"' EXIT
rm -rf -- "$1.partial"
cp -a -- "$source" "$1.partial"
# As the last step, so that an interrupted set-up leaves no half tree.
mv -T -- "$1.partial" "$1"
echo "${{0##*/}}: copy $copy of $source" >&2
"""

_SETUP_EMPTY = """#!/usr/bin/env bash
# setup.sh DEST: the tree, an empty directory.
set -euo pipefail
[[ $# -eq 1 ]] || { echo "usage: ${0##*/} DEST" >&2; exit 2; }
mkdir -- "$1"
"""

_RUN = """#!/usr/bin/env bash
# run.sh TREE: the measured command.
set -euo pipefail
[[ $# -eq 1 ]] || {{ echo "usage: ${{0##*/}} TREE" >&2; exit 2; }}
cd -- "$1"
exec {command}
"""

_CHECK = """#!/usr/bin/env bash
# check.sh TREE: says by its status whether the command did its work. As it was made, it
# is content with the command's own exit code; say here what must be in the tree, such as
#   [[ -s $1/out ]] || { echo "there is no out" >&2; exit 1; }
set -euo pipefail
[[ $# -eq 1 ]] || { echo "usage: ${0##*/} TREE" >&2; exit 2; }
[[ -d $1 ]] || { echo "${0##*/}: there is no $1" >&2; exit 1; }
"""
