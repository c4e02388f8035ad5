"""The server's side of control.py: a socket at which questions are answered."""

import contextlib
import inspect
import json
import logging
import os
import socket
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import trio

from osxfs_sim.model.documents import document_of
from osxfs_sim.model.status import ShareStatus
from osxfs_sim.mount.mounts.mountpoints import MountError

log = logging.getLogger(__name__)

_LONGEST_QUESTION_BYTES = 4096
_SLOWEST_CLIENT_S = 5.0

Reply = ShareStatus | dict[str, Any]
Answer = Callable[..., Reply | Awaitable[Reply]]
"""Answers a question; raises MountError, in one line, where it cannot."""


async def serve(
    path: Path,
    answers: dict[str, Answer],
    task_status: "trio.TaskStatus[None]" = trio.TASK_STATUS_IGNORED,
) -> None:
    """Answer questions at the socket *path* until cancelled. Raises OSError: it cannot bind.

    It has started (*task_status*) once it listens.
    """
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
            question = b""
            with contextlib.suppress(trio.BrokenResourceError):
                async with stream:
                    with trio.move_on_after(_SLOWEST_CLIENT_S):
                        question = await _read_question(stream)
                    reply = await _reply(question, answers)
                    with trio.move_on_after(_SLOWEST_CLIENT_S):
                        await stream.send_all(reply)

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


async def _read_question(stream: trio.SocketStream) -> bytes:
    """The first line, as far as it is not too long: it may come in pieces."""
    question = bytearray()
    while b"\n" not in question and len(question) <= _LONGEST_QUESTION_BYTES:
        piece = await stream.receive_some(_LONGEST_QUESTION_BYTES)
        if not piece:
            break
        question += piece
    return bytes(question.partition(b"\n")[0])


async def _reply(line: bytes, answers: dict[str, Answer]) -> bytes:
    """The answer as it is sent: whatever an answer holds, its sending must not fail."""
    answer = await _answer_to(line, answers)
    try:
        return json.dumps(document_of(answer)).encode() + b"\n"
    except (TypeError, ValueError, RecursionError) as error:
        log.exception("bug: an answer cannot be sent")
        return json.dumps({"error": f"{type(error).__name__}: {error}"}).encode() + b"\n"


async def _answer_to(line: bytes, answers: dict[str, Answer]) -> Reply:
    if len(line) > _LONGEST_QUESTION_BYTES:
        return {"error": f"a question has at most {_LONGEST_QUESTION_BYTES} bytes"}
    question, _, text = line.decode("ascii", "replace").strip().partition(" ")
    if question == "alive":
        return {"alive": True}
    if question not in answers:
        return {"error": f"unknown question {question[:40]!r}"}
    answer = answers[question]
    try:
        arguments = json.loads(text or "{}")
    except (ValueError, RecursionError):
        arguments = None
    if not isinstance(arguments, dict) or not _takes(answer, arguments):
        return {"error": f"{question} cannot be asked with {text[:40]!r}"}
    try:
        answered = answer(**arguments)
        return await answered if isinstance(answered, Awaitable) else answered
    except MountError as error:
        return {"error": str(error)}
    except Exception as error:  # a policy of the user's own may fail to describe itself
        log.exception("bug: the answer to %r failed", question)
        return {"error": f"{type(error).__name__}: {error}"}


def _takes(answer: Answer, arguments: dict[str, Any]) -> bool:
    """Whether *answer* can be called with *arguments*, by their names."""
    try:
        inspect.signature(answer).bind(**arguments)
    except TypeError:
        return False
    return True


def not_settled(within_s: float, waiting: int = 0) -> MountError:
    """A MountError (not raised) saying that host changes have not reached the guest in time."""
    how_many = f", {waiting} changes and notices" if waiting else ""
    return MountError(
        f"what the host has done is still on its way to the guest after {within_s:g} s{how_many}: "
        "have the host pause, or wait longer"
    )
