"""Has a stream of edits made by a process of its own, for the time of a ``with`` block."""

import contextlib
import itertools
import json
import os
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from osxfs_sim.coherence.edits import editor
from osxfs_sim.coherence.edits.contents import comment_of
from osxfs_sim.coherence.edits.stream import Stream, edits_of
from osxfs_sim.model.user_error import UserError

_MOST_S = 3600.0
_MOST_EDITS = 20_000
_ENDS_WITHIN_S = 60.0


@dataclass(slots=True)
class EditLog:
    """What the edits of a block did to the host; ``edited`` makes it."""

    log: dict[str, Any] = field(default_factory=dict)
    """What editor.py wrote of its edits; {} until the block has ended. ``edited`` sets it."""


def names_of(stream: Stream, files: Sequence[str]) -> list[str]:
    """All paths that *stream* may touch when it edits *files*, temporary ones too, sorted."""
    templates = stream.pattern.names()
    return sorted({editor.beside(path, name) for path in files for name in templates})


@contextlib.contextmanager
def edited(
    stream: Stream, root: Path, files: Sequence[str], seed: int, work: Path
) -> Iterator[tuple[Callable[[], None], EditLog]]:
    """Edit *files* in *root* for a block, once what it yields is called. Raises UserError, OSError.

    Yields that function, and the log, which is complete after the block. What passes between us
    and the editor's process is kept in *work*. Raises UserError where that fails, and OSError.
    """
    told, tell = work / "edits.json", work / "edited.json"
    document = {
        "targets": [_target(root, path, stream) for path in files],
        "names": sorted(stream.pattern.names()),
        "steps": [asdict(step) for step in stream.pattern.steps],
        "edits": [
            (edit.at_ns, edit.file)
            for edit in itertools.takewhile(
                lambda edit: edit.at_ns < _MOST_S * 1e9,
                itertools.islice(edits_of(stream, len(files), seed), _MOST_EDITS),
            )
        ],
    }
    told.write_text(json.dumps(document), encoding="utf-8")
    applied = EditLog()
    process = subprocess.Popen(
        # By path, alone: it shall find the standard library, and nothing else.
        [sys.executable, "-I", "-S", editor.__file__, str(root), str(told), str(tell)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        start_new_session=True,  # Ctrl-C is for us, and our end is its end
    )
    assert process.stdin is not None
    assert process.stdout is not None

    def begin() -> None:
        assert process.stdin is not None
        process.stdin.write(b"go\n")
        process.stdin.flush()

    try:
        if process.stdout.readline() != b"ready\n":
            raise UserError("the process that edits the host's files could not begin")
        yield begin, applied
        process.stdin.close()
        code = process.wait(_ENDS_WITHIN_S)
        if code:
            raise UserError(f"the process that edits the host's files failed (exit code {code})")
        applied.log = json.loads(tell.read_text(encoding="utf-8"))
    except subprocess.TimeoutExpired as error:
        raise UserError("the process that edits the host's files does not end") from error
    except BrokenPipeError as error:
        raise UserError("the process that edits the host's files has ended") from error
    finally:
        with contextlib.suppress(BrokenPipeError):
            process.stdin.close()
        process.stdout.close()
        if process.poll() is None:
            process.kill()
            process.wait()


def _target(root: Path, path: str, stream: Stream) -> dict[str, Any]:
    if stream.pattern.targets == "missing":
        return {"path": path, "comment": None}
    status = os.stat(root / path)
    with open(root / path, "rb") as file:
        begins = file.read(256)
    return {
        "path": path,
        "comment": None if stream.same else comment_of(path, begins),
        "mode": stat.S_IMODE(status.st_mode),
        "owner": status.st_uid,
        "group": status.st_gid,
    }
