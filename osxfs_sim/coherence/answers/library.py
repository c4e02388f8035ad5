"""The library that takes down answers: compiled once, and preloaded into a workload.

It is compiled by the user's own ``cc``, which set-up asks for anyway, and kept in the
user's cache until its source changes. A workload is told of it by its environment alone.
"""

import hashlib
import os
import subprocess
import tempfile
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from osxfs_sim.coherence.answers.names import directories_of, table_of
from osxfs_sim.fs import at
from osxfs_sim.model.user_error import UserError

_SOURCE = Path(__file__).with_name("record.c")
_COMPILER = ("cc", "-O2", "-shared", "-fPIC")
_LIBRARIES = ("-ldl", "-pthread")


def _refuse_anothers(path: Path) -> None:
    """What is measured loads what is there: with sudo -E, from another user's cache."""
    uid = path.stat().st_uid
    if uid not in (0, os.geteuid()):
        raise UserError(
            f"{path} belongs to user {uid}, and what is in it would be loaded: let XDG_CACHE_HOME "
            "name a directory of your own"
        )


def compiled(cache: Path, compiler: Sequence[str] = _COMPILER) -> Path:
    """The path of the recording library below *cache*, compiled if not there. Raises UserError.

    Raises UserError where *compiler* is missing or fails, or the library cannot be kept or loaded.
    """
    made_of = hashlib.sha256(_SOURCE.read_bytes() + repr((*compiler, os.uname().machine)).encode())
    library = cache / "answers" / f"record-{made_of.hexdigest()[:16]}.so"
    if " " in str(library) or ":" in str(library):
        raise UserError(
            f"what records the answers cannot be loaded from {library}: LD_PRELOAD ends at a space "
            "or colon; let XDG_CACHE_HOME name a directory without"
        )
    if library.is_file():
        _refuse_anothers(library)
        _refuse_anothers(library.parent)
        return library
    try:
        os.close(at.make_directories(library.parent, 0o755))
        _refuse_anothers(library.parent)
        with tempfile.TemporaryDirectory(dir=library.parent) as made:
            target = Path(made) / library.name
            done = subprocess.run(
                [*compiler, "-o", str(target), str(_SOURCE), *_LIBRARIES],
                capture_output=True,
                text=True,
                check=False,
            )
            if done.returncode:
                said = " ".join(done.stderr.strip().splitlines()[:1])
                raise UserError(
                    f"what records the answers cannot be compiled by {compiler[0]}: {said}; "
                    "install the headers of the C library (libc6-dev)"
                )
            target.replace(library)
    except FileNotFoundError as error:
        raise UserError(
            f"there is no {compiler[0]} to compile what records the answers: "
            "apt-get install gcc libc6-dev"
        ) from error
    except OSError as error:
        raise UserError(
            f"what records the answers cannot be kept in {cache}: {error.strerror}; "
            "let XDG_CACHE_HOME name another directory"
        ) from error
    return library


_WANTS_MISSING = "wants-missing"


def missing_lookups(recording: "Recording") -> list[str]:
    """Names that a run looked up in vain and never made itself, sorted; [] if not recorded.

    [] unless its recording was begun with *missing*.
    """

    def taken_down(kind: str) -> set[str]:
        try:
            lines = (recording.directory / kind).read_bytes().split(b"\n")
        except FileNotFoundError:
            return set()
        return {os.fsdecode(line) for line in lines if line}

    return sorted(taken_down("missing") - taken_down("made"))


@dataclass(frozen=True, slots=True)
class Recording:
    """The recording of one run's answers; ``begin_recording`` makes it."""

    directory: Path
    """Where each process of the run writes its records."""
    names: tuple[str, ...]
    """The names that are recorded; a record tells one by its index here."""

    def environment(self, library: Path, root: Path, around: Mapping[str, str]) -> dict[str, str]:
        """The environment *around*, with LD_PRELOAD and more to record processes below *root*."""
        preloaded = around.get("LD_PRELOAD", "")
        return {
            **around,
            "LD_PRELOAD": f"{library}:{preloaded}" if preloaded else str(library),
            "OSXFS_SIM_ANSWERS": str(self.directory),
            "OSXFS_SIM_ANSWERS_ROOT": str(root.resolve()),
        }


def begin_recording(directory: Path, names: Collection[str], *, missing: bool = False) -> Recording:
    """Prepare the empty *directory* to record answers about *names*. Raises OSError.

    With *missing*, other names that are looked up in vain are recorded, too (`missing_lookups`):
    it costs each such lookup some system calls, and is for a run that is not measured. Raises
    OSError.
    """
    if missing:
        (directory / _WANTS_MISSING).touch()
    directories = directories_of(names)
    files = sorted(set(names).difference(directories))
    (directory / "names").write_bytes(table_of(files, directories))
    return Recording(directory, (*files, *directories))
