"""Waits for the journals of shares that are unmounted and still write back.

umount(8) returns when the mount is gone; its server then has the host get what was held. Whoever
mounts the same tree in that time would be shown a host that lacks acknowledged changes, and what
it writes, and syncs, would be overwritten by older ones. So a mount waits until those servers
have ended, for as long as they get on.
"""

import os
import time
from collections.abc import Callable
from pathlib import Path

from osxfs_sim.mount.mounts.mountpoints import MountError, is_below, mounts
from osxfs_sim.mount.writeback.journal_directory import Owner, all_journals, numbers_of, owner_of
from osxfs_sim.mount.writeback.journal_reader import read_journal

_LOOK_AGAIN_S = 0.02
_STANDS_STILL_S = 10.0
"""Longer than a crossing of any profile, and than several attempts at what the host refuses."""


def wait_until_drained(
    state: Path,
    source: str,
    say: Callable[[str], None],
    *,
    stands_still_s: float = _STANDS_STILL_S,
    mounted: "Callable[[Owner], bool] | None" = None,
) -> None:
    """Wait until no unmounted share writes back to *source*'s tree. Raises MountError.

    *say* is told, once, what is waited for; *mounted* whether a server's mount is still there.
    Raises MountError where a server does not get on for *stands_still_s*.
    """
    is_mounted = mounted or _is_mounted
    for directory in all_journals(state):
        owner = owner_of(directory)
        if owner is None or not overlap(owner, source):
            continue
        if not owner.drains and (not owner.mountpoint or is_mounted(owner)):
            continue  # it begins, or lives: two shares of one tree are each the other's host
        say(
            f"waiting until the host has what an earlier share of {owner.source} still writes "
            f"back (process {owner.pid})"
        )
        _wait(directory, owner, stands_still_s)


def _wait(directory: Path, owner: Owner, stands_still_s: float) -> None:
    """Until the server of the journal in *directory* has ended. Raises MountError."""
    before, since_s = numbers_of(directory), time.monotonic()
    while owner_of(directory) is not None:
        time.sleep(_LOOK_AGAIN_S)
        now, now_s = numbers_of(directory), time.monotonic()
        if now != before:
            before, since_s = now, now_s
        elif now_s - since_s > stands_still_s:
            if not _is_pending(directory):
                return  # unmounted lazily, and somebody still has files open: nothing waits
            raise MountError(
                f"an earlier share of {owner.source} is unmounted, and its server (process "
                f"{owner.pid}) still has changes that the host does not have and does not get on "
                f"(kept in {directory}): leave what is still open in that share, or end the server "
                f"(kill {owner.pid}), and mount again"
            )


def _is_pending(directory: Path) -> bool:
    try:
        return bool(read_journal(directory).pending)
    except (OSError, ValueError):
        return True


def paths_overlap(one: str, other: str) -> bool:
    """Whether one real path is the other, or lies below it, by their words."""
    return is_below(one, other) or is_below(other, one)


def overlap(owner: Owner, source: str) -> bool:
    """Whether the source of *owner* and *source* share anything, as far as paths and roots tell."""
    if paths_overlap(owner.source, source):
        return True
    try:
        status = os.stat(source)
    except OSError:
        return False
    return (status.st_dev, status.st_ino) == owner.root  # another way to it: a bind mount


def _is_mounted(owner: Owner) -> bool:
    """Whether the mount of *owner* is there, in the mount namespace of its server."""
    for process in (owner.pid, "self"):
        try:
            there = mounts(process)
        except OSError:
            continue
        return any(
            (each.mountpoint, each.device) == (owner.mountpoint, owner.device) for each in there
        )
    return False
