"""A running mount's socket: one question a line, one JSON answer.

    status    what it is, how many requests, asked-for against achieved latency
    reset     the same, and counting starts anew
    stop      unmount and end, as a signal would
    release   let go of host services that keep the mount busy, before an unmount

The socket lies in a directory that only its owner (and root) can enter.
"""

import contextlib
import json
import logging
import os
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import trio

from osxfs_sim.mount.mountpoints import (
    MountError,
    control_path,
    mount_at,
    real_mountpoint,
    runtime_directory,
)

log = logging.getLogger(__name__)

_LONGEST_QUESTION_BYTES = 4096


async def serve(
    path: Path,
    answers: dict[str, Callable[[], dict[str, Any]]],
    task_status: "trio.TaskStatus[None]" = trio.TASK_STATUS_IGNORED,
) -> None:
    """Answer questions at the socket *path* until cancelled; started once it listens."""
    path.unlink(missing_ok=True)  # of a server that was killed
    own_inode = 0
    listener = trio.socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        await listener.bind(os.fspath(path))
        path.chmod(0o600)
        own_inode = path.stat().st_ino
        listener.listen(16)
        task_status.started()

        async def answer(stream: trio.SocketStream) -> None:
            # Whoever asked may be gone by now; the share is not the worse for it.
            with contextlib.suppress(trio.BrokenResourceError), trio.move_on_after(5):
                async with stream:
                    question = (await stream.receive_some(_LONGEST_QUESTION_BYTES)).strip()
                    reply = _reply(question.decode("ascii", "replace"), answers)
                    await stream.send_all(json.dumps(reply).encode() + b"\n")

        async with trio.open_nursery() as nursery:
            await trio.serve_listeners(
                answer, [trio.SocketListener(listener)], handler_nursery=nursery
            )
    finally:
        listener.close()
        # A share that was mounted here meanwhile has a socket of its own.
        with contextlib.suppress(FileNotFoundError):
            if path.stat().st_ino == own_inode:
                path.unlink()


def _reply(question: str, answers: dict[str, Callable[[], dict[str, Any]]]) -> dict[str, Any]:
    if question not in answers:
        return {"error": f"unknown question {question!r}"}
    try:
        return answers[question]()
    except Exception as error:  # a policy of the user's own may fail to describe itself
        log.exception("bug: the answer to %r failed", question)
        return {"error": f"{type(error).__name__}: {error}"}


def ask(mountpoint: str, question: str, *, timeout_s: float = 10.0) -> dict[str, Any]:
    """What the share at *mountpoint* answers. Raises MountError where there is none to answer."""
    target = real_mountpoint(mountpoint)
    entry = mount_at(target)
    if entry is None or not entry.is_ours:
        raise MountError(
            f"no share is mounted at {mountpoint}: osxfs-sim mount SOURCE {mountpoint}"
        )
    path = control_path(runtime_directory(entry.user_id), target)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(timeout_s)
        try:
            client.connect(os.fspath(path))
            client.sendall(question.encode() + b"\n")
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
