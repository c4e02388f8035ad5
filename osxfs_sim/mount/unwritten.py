"""What a share that ended badly has left in its journal: told to the user, or given up.

recovery.py writes it to the host.
"""

import os
from collections.abc import Callable
from pathlib import Path

from osxfs_sim.model.units import format_size
from osxfs_sim.mount.draining import wait_until_drained
from osxfs_sim.mount.journal import (
    Leftover,
    all_journals,
    discard,
    leftovers,
    locked,
    read_journal,
)
from osxfs_sim.mount.mountpoints import MountError

_SHOWN = 5


def is_unwritten(directory: Path) -> bool:
    """Whether the journal in *directory* holds anything that the host has not got, or may."""
    try:
        return bool(read_journal(directory).pending)
    except FileNotFoundError:
        return False
    except (OSError, ValueError):
        return True


def unwritten_error(directory: Path, source: str = "") -> MountError:
    """What is not on the host, the first names of it, where it is kept, and the remedy."""
    try:
        left = read_journal(directory)
    except (OSError, ValueError) as error:
        return MountError(f"changes that the host does not have are kept in {directory}: {error}")
    return MountError(f"{describe(left)}; kept in {directory}; {remedy(left.source or source)}")


def describe(left: Leftover) -> str:
    """How much of *left* is not on the host, and of what."""
    paths = list(dict.fromkeys(path for _, path in left.paths()))
    more = f" and {len(paths) - _SHOWN} more" if len(paths) > _SHOWN else ""
    return (
        f"{len(left.pending)} changes ({format_size(left.pending_bytes)}) of {left.source} are not "
        f"on the host: {', '.join(paths[:_SHOWN])}{more}"
    )


def remedy(source: str) -> str:
    return (
        f"mount {source} with --unwritten recover to write them, or --unwritten discard to give "
        f"them up (osxfs-sim unwritten {source} lists them)"
    )


def left_unwritten(state: Path, source: str) -> list[Leftover]:
    """What ended shares of *source* have left in *state*. Raises MountError."""
    try:
        return leftovers(state, source)
    except (OSError, ValueError) as error:
        raise MountError(f"cannot read what was left unwritten of {source}: {error}") from error


def check_unwritten(
    state: Path, source: str, wanted: str | None, say: Callable[[str], None]
) -> list[Leftover]:
    """What earlier shares of *source* have left and is to be recovered now.

    *wanted* is recover, discard, or None: then there must be nothing. *say* is told what is waited
    for: shares that are unmounted and still write back. Raises MountError.
    """
    wait_until_drained(state, source, say)
    check_apart(state, source)
    found = left_unwritten(state, source)
    if not found or wanted == "recover":
        return found
    if wanted == "discard":
        for left in found:
            discard(left)
        return []
    raise MountError(f"{describe(found[0])}; {remedy(source)}")


def check_apart(state: Path, source: str) -> None:
    """That no share of a tree above or below *source* has left anything. Raises MountError.

    What it has left is older than what is about to be written here, and would overwrite it.
    """
    for directory in all_journals(state):
        with locked(directory) as is_free:
            if not is_free:
                continue
            try:
                left = read_journal(directory)
            except (OSError, ValueError):
                continue  # told when its own source is mounted
        if left.source in ("", source) or not left.pending:
            continue
        if os.path.commonpath((left.source, source)) in (left.source, source):
            raise MountError(
                f"{describe(left)}, which overlaps {source}; first {remedy(left.source)}"
            )
