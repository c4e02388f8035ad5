"""A running mount's socket: one question a line, one JSON answer.

    status       what it is, how many requests, target against observed latency
    reset        the same, and counting starts anew
    stop         unmount and end, as a signal would
    alive        nothing but that it answers
    release      release what of the server's keeps the mount busy, before an unmount
    drop-events  lose host events on purpose: drop-events {"count": 3}
    start-trace  record every request from now on: start-trace {"path": "/tmp/a.parquet"}
    live-counters  what was requested since this was asked last: rates, latency, directories
    stop-trace   complete the trace's file; what is to stand in its header may be given
    flush        the status, once the host has everything that the guest has changed
    settle       the status, once the guest has been told of all that the host has done until
                 it was asked: settle {"within_s": 60}

What a question needs to know follows it as a JSON object: the keyword arguments
of its answer. The socket lies in a directory that only its owner (and root) can enter.

Here it is asked; server/control_socket.py answers. Whoever asks need not wait for trio to be
imported.
"""

import contextlib
import json
import os
import socket
import struct
import time
from collections.abc import Iterator
from typing import Any

from osxfs_sim.model.escaping import quoted
from osxfs_sim.model.status import ShareStatus
from osxfs_sim.mount.mounts.mountpoints import (
    GoneError,
    MountEntry,
    MountError,
    SilentError,
    control_path,
    mount_at,
    real_mountpoint,
    runtime_directory,
)
from osxfs_sim.mount.mounts.runtime_records import has_ended, is_stopped, read_record

_CONNECTED_WITHIN_S = 10.0
# Where an answer takes as long as it takes, whether anybody is at it is asked this often.
_LOOK_AFTER_S = 0.5
_ASK_AGAIN_AFTER_S = 10.0
_ANSWERS_WITHIN_S = 10.0
_STOPPED_LOOKS = 2
_LONGEST_ANSWER_BYTES = 1 << 24
_LONGEST_ERROR = 4_096
_CREDENTIALS = struct.Struct("=iII")


def ask(
    mountpoint: str, question: str, *, timeout_s: float | None = 10.0, **arguments: Any
) -> dict[str, Any]:
    """Ask the share at *mountpoint* a *question*; its answer, a document. Raises MountError.

    Without a *timeout_s* the answer may take as long as it takes; but somebody must be at it.
    MountError where there is none to answer, or it answers with an error; of its kinds, SilentError
    where the server is there and does not answer, and GoneError where it is not.
    """
    target = real_mountpoint(mountpoint)
    entry = mount_at(target)
    if entry is None or not entry.is_ours:
        record = read_record(os.geteuid(), target)
        if record is not None and record.is_of_the_dead:
            raise GoneError(
                f"the server of the share at {mountpoint} was killed, and its mount is taken away: "
                f"osxfs-sim umount {quoted(mountpoint)} tells what is not on the host"
            )
        raise MountError(
            f"no share is mounted at {mountpoint}: osxfs-sim mount SOURCE {quoted(mountpoint)}"
        )
    path = control_path(runtime_directory(entry.user_id), target)
    asked_with = (json.dumps(arguments),) if arguments else ()
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(_CONNECTED_WITHIN_S if timeout_s is None else timeout_s)
        try:
            client.connect(os.fspath(path))
            check_server(client, entry)
            client.sendall(" ".join((question, *asked_with)).encode() + b"\n")
            if timeout_s is None:
                received = _as_long_as_it_takes(client, mountpoint)
            else:
                received = _before_long(client, mountpoint, timeout_s)
        except PermissionError as error:
            raise MountError(
                f"the share at {mountpoint} belongs to user {entry.user_id}: "
                "ask as that user or root"
            ) from error
        except TimeoutError as error:
            raise _silent(mountpoint, server_behind(client)) from error
        except OSError as error:
            raise _gone(mountpoint) from error
    try:
        answer = json.loads(received) if received else {"error": "no answer"}
    except (ValueError, RecursionError):
        answer = None
    if not isinstance(answer, dict):
        raise _no_answer(mountpoint)
    if "error" in answer:
        raise MountError(
            f"the share at {mountpoint} answered: {str(answer['error'])[:_LONGEST_ERROR]}"
        )
    return answer


def ask_status(
    mountpoint: str, question: str = "status", *, timeout_s: float | None = 10.0, **arguments: Any
) -> ShareStatus:
    """Ask the share at *mountpoint* a *question* that it answers by its status. MountError."""
    answer = ask(mountpoint, question, timeout_s=timeout_s, **arguments)
    with understanding(mountpoint):
        return ShareStatus.from_dict(answer)


@contextlib.contextmanager
def understanding(mountpoint: str) -> Iterator[None]:
    """Within the block, errors of a share's answer that makes no sense become MountError.

    Its server is another program. It may be of another version; of another user, it may be
    anything.
    """
    try:
        yield
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError) as error:
        raise _no_answer(mountpoint) from error


def _no_answer(mountpoint: str) -> MountError:
    return MountError(
        f"the share at {mountpoint} answered what this version does not understand: its server is "
        "of another version, or no server of ours"
    )


def check_server(client: socket.socket, entry: MountEntry) -> None:
    """Raise MountError unless a process of the share's user, or root, is behind *client*.

    The kernel says whose process it is (SO_PEERCRED): nobody else's has a word on that user's
    share.
    """
    said = client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    uid = _CREDENTIALS.unpack(said)[1]
    if uid not in (0, entry.user_id):
        raise MountError(
            f"at the socket of the share at {entry.mountpoint}, which user {entry.user_id} has "
            f"mounted, a process of user {uid} listens: it is not asked"
        )


def _gone(mountpoint: str) -> GoneError:
    return GoneError(f"the server of {mountpoint} is gone: osxfs-sim umount {quoted(mountpoint)}")


def _silent(mountpoint: str, pid: int) -> MountError:
    """Why the process *pid* says nothing, and what can be done."""
    if has_ended(pid):
        return _gone(mountpoint)
    way_out = f"osxfs-sim umount --force {quoted(mountpoint)}"
    if is_stopped(pid):
        return SilentError(
            f"the share at {mountpoint} does not answer, its server is stopped: kill -CONT {pid}, "
            f"or {way_out}"
        )
    return SilentError(f"the share at {mountpoint} does not answer: wait, or {way_out}")


def server_behind(client: socket.socket) -> int:
    """The pid that listens where *client* is connected to; 0 where it is not connected."""
    try:
        said = client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _CREDENTIALS.size)
    except OSError:
        return 0
    return int(_CREDENTIALS.unpack(said)[0])


def _before_long(client: socket.socket, mountpoint: str, timeout_s: float) -> bytes:
    """What comes until the end. Raises TimeoutError."""
    deadline_s = time.monotonic() + timeout_s
    received = bytearray()
    stopped = 0
    while True:
        client.settimeout(min(_LOOK_AFTER_S, max(deadline_s - time.monotonic(), 0.001)))
        try:
            chunk = client.recv(65536)
        except TimeoutError:
            # Of a process that has ended, threads may be left that keep its sockets open.
            pid = server_behind(client)
            if has_ended(pid):
                raise _gone(mountpoint) from None
            stopped = stopped + 1 if is_stopped(pid) else 0
            if stopped >= _STOPPED_LOOKS or time.monotonic() >= deadline_s:
                raise
            continue
        if not chunk:
            return bytes(received)
        received += chunk
        _check_length(received, mountpoint)
        if time.monotonic() >= deadline_s:
            raise TimeoutError


def _as_long_as_it_takes(client: socket.socket, mountpoint: str) -> bytes:
    """What comes until the end, however late. Raises MountError where nobody is at it."""
    received = bytearray()
    client.settimeout(_LOOK_AFTER_S)
    stopped, asked_s, rest_by_s = 0, time.monotonic(), 0.0
    while True:
        try:
            chunk = client.recv(65536)
        except TimeoutError:
            pid = server_behind(client)
            stopped = stopped + 1 if is_stopped(pid) else 0
            if stopped >= _STOPPED_LOOKS or has_ended(pid):
                raise _silent(mountpoint, pid) from None
            if time.monotonic() - asked_s > _ASK_AGAIN_AFTER_S:
                ask(mountpoint, "alive", timeout_s=_ANSWERS_WITHIN_S)
                asked_s = time.monotonic()
            continue
        if not chunk:
            return bytes(received)
        # Its answer is there at once: who sends it by the drop has another reason.
        received += chunk
        _check_length(received, mountpoint)
        rest_by_s = rest_by_s or time.monotonic() + _ANSWERS_WITHIN_S
        if time.monotonic() > rest_by_s:
            raise TimeoutError


def _check_length(received: bytearray, mountpoint: str) -> None:
    if len(received) > _LONGEST_ANSWER_BYTES:
        raise _no_answer(mountpoint)
