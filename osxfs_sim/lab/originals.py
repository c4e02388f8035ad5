"""Whether a folder is as it was when a case's tree was copied from it.

A tree is set up once and kept. Where it is the copy of a folder that somebody works in, that
folder goes on changing, and what is measured is what it was. So its state is kept beside the
copy, and checked before each use. It is recognized by what lstat says, not by contents, which would
take long, and a change of contents without a change of ctime is hard to make.
"""

import json
import os
import stat
from collections.abc import Mapping
from pathlib import Path

from osxfs_sim.fs.output import write_output

State = dict[str, list[int]]
"""Per path in the folder what lstat says of it; of a directory its kind and mode alone."""


def state_of(folder: Path) -> State:
    """By path in *folder* the lstat values that show a change; leaves out what cannot be read."""
    state: State = {}
    waiting = [""]
    while waiting:
        within = waiting.pop()
        try:
            with os.scandir(folder / within) as listing:
                entries = list(listing)
        except OSError:
            continue
        for entry in entries:
            path = f"{within}/{entry.name}" if within else entry.name
            try:
                status = entry.stat(follow_symlinks=False)
            except OSError:
                continue
            if stat.S_ISDIR(status.st_mode):
                # What is made and removed in it changes its times, and not what is copied.
                state[path] = [status.st_mode]
                waiting.append(path)
            else:
                state[path] = [
                    *(status.st_mode, status.st_ino, status.st_size),
                    *(status.st_mtime_ns, status.st_ctime_ns),
                ]
    return state


def difference(then: Mapping[str, list[int]], now: Mapping[str, list[int]]) -> str:
    """The first path in which two states differ, how, and how many more do; "" where none does."""
    changed = sorted(path for path in {*then, *now} if then.get(path) != now.get(path))
    if not changed:
        return ""
    first = changed[0]
    what = "changed"
    if first not in now:
        what = "is gone"
    elif first not in then:
        what = "is new"
    shown = first.encode("utf-8", "backslashreplace").decode()
    others = f", and {len(changed) - 1} more" if len(changed) > 1 else ""
    return f"{shown} {what}{others}"


def save_state(state: Mapping[str, list[int]], file: Path) -> None:
    """Write *state* into *file* as JSON, for saved_state() to read. Raises OSError."""
    write_output(file, json.dumps(state))


def saved_state(file: Path) -> State | None:
    """The state that save_state() wrote into *file*. None where there is none, or it is damaged."""
    try:
        state = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    return state if isinstance(state, dict) else None
