"""A running mount's socket: one question a line, one JSON answer.

    status       what it is, how many requests, asked-for against achieved latency
    reset        the same, and counting starts anew
    stop         unmount and end, as a signal would
    release      let go of what of the server's keeps the mount busy, before an unmount
    drop-events  lose host events on purpose: drop-events {"count": 3}
    start-trace  record every request from now on: start-trace {"path": "/tmp/a.parquet"}
    pulse        what was asked since this was asked last: rates, latency, directories
    stop-trace   complete the trace's file; what is to stand in its header may be given
    flush        the status, once the host has everything that the guest has changed

What a question needs to know follows it as a JSON object: the keyword arguments
of its answer. The socket lies in a directory that only its owner (and root) can enter.

Here it is asked; answering.py answers. Whoever asks need not wait for trio to be imported.
"""

import json
import os
import socket
from typing import Any

from osxfs_sim.mount.mountpoints import (
    MountError,
    control_path,
    mount_at,
    real_mountpoint,
    runtime_directory,
)


def ask(
    mountpoint: str, question: str, *, timeout_s: float | None = 10.0, **arguments: Any
) -> dict[str, Any]:
    """What the share at *mountpoint* answers to *question*, asked with *arguments*.

    Raises MountError where there is none to answer, or it answers with an error.
    """
    target = real_mountpoint(mountpoint)
    entry = mount_at(target)
    if entry is None or not entry.is_ours:
        raise MountError(
            f"no share is mounted at {mountpoint}: osxfs-sim mount SOURCE {mountpoint}"
        )
    path = control_path(runtime_directory(entry.user_id), target)
    asked_with = (json.dumps(arguments),) if arguments else ()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(timeout_s)
        try:
            client.connect(os.fspath(path))
            client.sendall(" ".join((question, *asked_with)).encode() + b"\n")
            received = bytearray()
            while chunk := client.recv(65536):
                received += chunk
        except PermissionError as error:
            raise MountError(
                f"the share at {mountpoint} belongs to user {entry.user_id}: "
                "ask as that user or root"
            ) from error
        except TimeoutError as error:
            raise MountError(f"the share at {mountpoint} does not answer") from error
        except OSError as error:
            raise MountError(
                f"the server of {mountpoint} is gone: osxfs-sim umount {mountpoint}"
            ) from error
    answer = json.loads(received) if received else {"error": "no answer"}
    if "error" in answer:
        raise MountError(f"the share at {mountpoint} answered: {answer['error']}")
    assert isinstance(answer, dict)
    return answer
