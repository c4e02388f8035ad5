"""Writes a schedule as a Python script that mounts a share, plays the schedule, and judges it.

The script stands by itself: it says what it shows, uses osxfs_sim.share and the actors of
staging.py, exits with 1 and prints what was returned if the breach shows, and with 0 if not.
Settings can be changed for one run (``python breach.py profile=osxfs``), to try what cures it.
"""

import contextlib
import json
import pprint
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from osxfs_sim.coherence.actors.staging import ScheduleStep

Exports = Mapping[str, Mapping[str, Any]]
"""The exports of a share file by name, each with its keys; *source* is relative to the host."""

_SCRIPT = '''\
"""{title}

Mounts a share by SETTINGS, has STEPS performed by processes of the host and of the guest, and
judges what they returned. Exits with 1 and says what was seen if the breach shows, with 0 if
not. Settings can be changed for a run: python SCRIPT {example}
"""

import sys

import osxfs_sim
from osxfs_sim.coherence.actors.processes import OperationInterval
{imports}from osxfs_sim.coherence.actors.operations import ActorOperation, OperationResult
from osxfs_sim.coherence.actors.scripts import changed, set_up
from osxfs_sim.coherence.actors.staging import Stage

SETTINGS = {settings}

# The exports of a share file, if it takes several.
EXPORTS = {exports}

STEPS = [
{steps}
]


{judge}


def play() -> list[OperationInterval]:
    settings, exports = changed(SETTINGS, EXPORTS, sys.argv[1:])
    with (
        set_up(exports) as place,
        osxfs_sim.share(place.source, place.guest, **place.defaults | settings) as share,
        Stage(place.host, place.guest, share, osxfs_sim.MountError) as stage,
    ):
        return stage.play(STEPS)


def main() -> int:
    for _ in range({tries}):
        told = play()
        wrong = breach(told)
        if {enough}:
            break
    for each in told:
        print(each)
    print(f"BREACH: {{wrong}}" if wrong else "no breach")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
'''


def script(
    settings: Mapping[str, Any],
    steps: Sequence[ScheduleStep],
    judge: str,
    title: str,
    *,
    exports: Exports | None = None,
    imports: Sequence[str] = (),
    tries: int = 1,
    every: bool = False,
) -> str:
    """The source of a Python script that plays *steps* on a share with *settings*, and judges them.

    *settings* are keywords of osxfs_sim.share. *judge* is the source of a function
    ``breach(told: list[OperationInterval]) -> str | None``, which says what is wrong with the
    results, if anything is: one OperationInterval for each step. It may use OperationResult.
    *title* opens the script's docstring. With *exports* the source is a share file. *imports* are
    lines by which the judge gets what it needs besides. What depends on which process is quicker
    is tried up to *tries* times: one breach is enough, or with *every* it needs one each time.
    """
    lines = "\n".join(f"    ({actor!r}, {operation_source(step)})," for actor, step in steps)
    return _SCRIPT.format(
        title=title.replace("\\", "\\\\").replace('"""', "'''").strip(),
        settings=pprint.pformat(dict(settings), sort_dicts=False),
        exports=pprint.pformat(
            {name: dict(keys) for name, keys in (exports or {}).items()}, sort_dicts=False
        ),
        example=f"{next(iter(exports))}.profile=osxfs" if exports else "profile=osxfs",
        imports="".join(f"{line}\n" for line in imports),
        steps=lines,
        tries=tries,
        enough="not wrong" if every else "wrong",
        judge=judge.strip(),
    )


def operation_source(operation: Any) -> str:
    """*operation* as the Python expression that makes it, without fields that are as by default."""
    given = operation.to_json()
    words = [repr(given.pop("act"))]
    if "path" in given:
        words.append(repr(given.pop("path")))
    words += [f"{key}={value!r}" for key, value in given.items()]
    return f"ActorOperation({', '.join(words)})"


# What the scripts use


@dataclass(frozen=True, slots=True)
class SharePlace:
    """Where a script mounts its share; ``set_up`` makes it.

    By its defaults nothing is left in the user's own state, and no time is spent on calibration.
    """

    host: Path
    """The directory of the host's actors."""
    guest: Path
    """The mount point."""
    source: Path
    """What is mounted: *host*, or a share file beside it."""
    defaults: Mapping[str, Any]
    """Settings that hold unless a script says otherwise."""


@contextlib.contextmanager
def set_up(exports: Exports | None = None, directory: Path | None = None) -> Iterator[SharePlace]:
    """Make a share's directories below *directory* (None: in memory) for a block. Raises OSError.

    With *exports* also a share file of them. Raises OSError.
    """
    if directory is None:
        memory = Path("/dev/shm")
        directory = memory if memory.is_dir() else Path(tempfile.gettempdir())
    with tempfile.TemporaryDirectory(prefix="osxfs-sim-schedule-", dir=directory) as name:
        work = Path(name).resolve()
        host, guest, state = work / "host", work / "share", work / "state"
        for each in (host, guest):
            each.mkdir()
        source = host
        if exports:
            source = work / "share.toml"
            source.write_text(_share_file(exports))
            for keys in exports.values():
                (host / keys["source"]).mkdir(parents=True, exist_ok=True)
        yield SharePlace(host, guest, source, {"state_directory": str(state), "calibrate": False})


def _share_file(exports: Exports) -> str:
    text = ""
    for name, keys in exports.items():
        text += f"[exports.{name}]\n"
        for key, value in keys.items():
            given = f"host/{value}" if key == "source" else value
            text += f"{key} = {json.dumps(given)}\n"  # text, numbers and truth are alike in TOML
    return text


def changed(
    settings: Mapping[str, Any], exports: Exports, arguments: Sequence[str]
) -> tuple[dict[str, Any], dict[str, dict[str, Any]]]:
    """Copies of *settings*, *exports* with the KEY=VALUE *arguments* applied. Raises SystemExit.

    A value is read as JSON, or else as text. Raises SystemExit for an argument that is neither.
    """
    settings = dict(settings)
    trees = {name: dict(keys) for name, keys in exports.items()}
    for argument in arguments:
        names, equals, text = argument.partition("=")
        export, dot, key = names.rpartition(".")
        if not equals or not key or (dot and export not in trees):
            raise SystemExit(
                f"{argument!r}: write KEY=VALUE, such as profile=osxfs, or EXPORT.KEY=VALUE"
            )
        try:
            value = json.loads(text)
        except json.JSONDecodeError:
            value = text
        (trees[export] if dot else settings)[key] = value
    return settings, trees
