"""The process that writes to the host what an earlier share has left: it needs no mount.

It runs before there is one, as the share's user, and ends with the server that has started it. It
is the only one that reads the journals then: a recovery that is killed leaves them as they
were but for what is on the host, and the next one goes on.

Its arguments are those of recover_apart(), as JSON, and its answer is a line of JSON.
"""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from osxfs_sim.model.ownership import Ownership
from osxfs_sim.mount.mounts.identity import ServerUser
from osxfs_sim.mount.mounts.mountpoints import MountError
from osxfs_sim.mount.server import without_fuse
from osxfs_sim.mount.server.log import log_to
from osxfs_sim.mount.writeback.recovery import open_host_tree, recover
from osxfs_sim.mount.writeback.unwritten import recoverable

MODULE = __name__
"""What is started; tests put one in its place that dies."""


def recover_apart(state: Path, source: str, ownership: Ownership, user: ServerUser) -> int:
    """Have a process write what ended shares left; how many changes. Raises MountError.

    As *user*, by the rules of recovery.recover(). Returns how many changes that were. Raises
    MountError where the host has no room for all, where a journal cannot be read or is in use, and
    where that process does not come to its end; what the host did not get is still kept.
    """
    asked = {
        "state": str(state),
        "source": source,
        "ownership": ownership.value,
        "user": user.as_argument,
        "parent_pid": os.getpid(),
    }
    ended = subprocess.run(
        without_fuse.command(MODULE, json.dumps(asked)),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        check=False,
    )
    try:
        answer: dict[str, Any] = json.loads(ended.stdout)
    except ValueError:
        raise MountError(
            f"the process that writes to the host what was left unwritten of {source} has ended "
            f"before it was done ({_how(ended.returncode)}): the rest is still kept; mount again "
            "with --unwritten recover to go on"
        ) from None
    if "error" in answer:
        raise MountError(answer["error"])
    return int(answer["recovered"])


def _how(code: int) -> str:
    """How a process has ended, for people."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"


def main() -> None:
    """Run the recovery process: write to the host, answer with a count or an error as JSON."""
    asked = json.loads(sys.argv[1])
    log_to()
    os.umask(0)  # modes come from the guest, where its own umask was already applied
    without_fuse.become(asked["user"])
    without_fuse.end_with(asked["parent_pid"])
    answer: dict[str, Any]
    try:
        answer = {"recovered": _recovered(Path(asked["state"]), asked)}
    except MountError as error:
        answer = {"error": str(error)}
    json.dump(answer, sys.stdout)


def _recovered(state: Path, asked: dict[str, Any]) -> int:
    source = asked["source"]
    with open_host_tree(source, state, Ownership(asked["ownership"])) as tree:
        return recover(recoverable(state, source), tree)
