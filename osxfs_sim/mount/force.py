"""Ends a share within two seconds, whatever state its server and its guests are in.

The server may be stopped, stuck in the kernel, a zombie, or gone; guests may be inside. So
nothing here looks into the share. A server that still answers is first asked to end by
itself, which loses nothing. Then the connection is aborted, which lets go of everybody who
waits in the share; the server is killed; and the mount is detached.
"""

import contextlib
import os
import signal
import socket
import subprocess
import time
from pathlib import Path

from osxfs_sim.fs import at
from osxfs_sim.mount import connections
from osxfs_sim.mount.control import ask, server_behind
from osxfs_sim.mount.mountpoints import (
    FORCE,
    MountEntry,
    MountError,
    control_path,
    local_record_path,
    local_records,
    mount_at,
    runtime_directory,
    shares_in,
    unmount,
)
from osxfs_sim.mount.records import (
    Record,
    has_ended,
    is_server_of,
    is_stopped,
    read_record,
    record_path,
    start_of,
)
from osxfs_sim.mount.unwritten import is_unwritten, unwritten_error
from osxfs_sim.mount.volumes import Volumes

_ANSWERS_WITHIN_S = 0.3
_ENDS_BY_ITSELF_WITHIN_S = 0.5
_DIES_WITHIN_S = 0.5
_LOOK_AGAIN_S = 0.005


def end_by_force(entry: MountEntry) -> MountError | None:
    """Unmount the share *entry* and end its server, within two seconds.

    Returns what the guest has changed and is not on the host, if anything. Raises MountError
    where it is not ours to end.
    """
    if os.geteuid() not in (0, entry.user_id):
        raise MountError(
            f"the share at {entry.mountpoint} belongs to user {entry.user_id}: "
            "unmount it as that user or root"
        )
    left = None
    if entry.is_hub:
        for export in reversed(shares_in(entry.mountpoint)):
            left = end_by_force(export) or left
    if entry.is_local:
        return _end_local(entry)
    record = read_record(entry.user_id, entry.mountpoint)
    if record is not None and (record.mount_id, record.device) != (entry.mount_id, entry.device):
        record = None  # of an earlier share
    pid, started = _server_of(entry, record)
    if not _ends_by_itself(entry, pid, started):
        helpers = _children(pid)
        aborted = connections.abort(entry.device) or _abort_as_root(entry)
        _kill(pid, started)
        for helper in helpers:  # its supervisor may be stopped, too
            with contextlib.suppress(OSError):
                os.kill(helper, signal.SIGCONT)
        if aborted or os.geteuid() == 0 or _wait_for_end(pid, started):
            _detach(entry)
        if not _wait_for_end(pid, started):
            raise MountError(
                f"{entry.mountpoint} is unmounted, but its server (process {pid}) is held by the "
                "kernel, and ends when that lets it go"
            )
    return what_is_left(entry.user_id, entry.mountpoint, record) or left


def what_is_left(uid: int, mountpoint: str, record: Record | None) -> MountError | None:
    """After a server's end without order: what is not on the host, if anything."""
    for path in (record_path(uid, mountpoint), control_path(runtime_directory(uid), mountpoint)):
        with contextlib.suppress(OSError):
            at.remove(path)
    if record is not None and record.journal and is_unwritten(Path(record.journal)):
        return unwritten_error(Path(record.journal), record.source)
    return None


def _server_of(entry: MountEntry, record: Record | None) -> tuple[int, str]:
    """The server's process and when it was started; 0 where it is gone, or cannot be told."""
    if record is not None:
        is_there = start_of(record.pid) == record.started and is_server_of(entry, record.pid)
        return (record.pid, record.started) if is_there else (0, "")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(_ANSWERS_WITHIN_S)
        try:
            client.connect(
                os.fspath(control_path(runtime_directory(entry.user_id), entry.mountpoint))
            )
        except OSError:
            return 0, ""
        pid = server_behind(client)
    return (pid, start_of(pid)) if is_server_of(entry, pid) else (0, "")


def _ends_by_itself(entry: MountEntry, pid: int, started: str) -> bool:
    """Ask the server to end, and whether it soon has."""
    if is_stopped(pid) or has_ended(pid):
        return False
    try:
        ask(entry.mountpoint, "stop", timeout_s=_ANSWERS_WITHIN_S)
    except MountError:
        return False
    deadline_s = time.monotonic() + _ENDS_BY_ITSELF_WITHIN_S
    while time.monotonic() < deadline_s:
        if start_of(pid) != started or has_ended(pid):
            return _is_unmounted(entry)
        time.sleep(_LOOK_AGAIN_S)
    return False


def _is_unmounted(entry: MountEntry) -> bool:
    now = mount_at(entry.mountpoint)
    return now is None or now.identity != entry.identity


def _children(pid: int) -> list[int]:
    """The processes that the server has started."""
    try:
        with open(f"/proc/{pid}/task/{pid}/children", encoding="ascii") as file:
            return [int(child) for child in file.read().split()]
    except OSError:
        return []


def _abort_as_root(entry: MountEntry) -> bool:
    if os.geteuid():
        return False
    with contextlib.suppress(OSError):
        unmount(entry.mountpoint, flags=FORCE)
    return True


def _kill(pid: int, started: str) -> None:
    if not pid:
        return
    with contextlib.suppress(OSError):
        pidfd = os.pidfd_open(pid)
        try:
            if start_of(pid) == started:
                signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        finally:
            os.close(pidfd)


def _wait_for_end(pid: int, started: str) -> bool:
    deadline_s = time.monotonic() + _DIES_WITHIN_S
    while pid and start_of(pid) == started:
        with contextlib.suppress(OSError):
            # A zombie of one thread holds nothing.
            if has_ended(pid) and len(os.listdir(f"/proc/{pid}/task")) <= 1:
                return True
        if time.monotonic() > deadline_s:
            return False
        time.sleep(_LOOK_AGAIN_S)
    return True


def _detach(entry: MountEntry) -> None:
    """Take the name away, unless its supervisor was faster. Raises MountError."""
    if _is_unmounted(entry):
        return
    try:
        unmount(entry.mountpoint, lazily=True, timeout_s=_DIES_WITHIN_S)
    except (OSError, subprocess.TimeoutExpired) as error:
        if not _is_unmounted(entry):
            raise MountError(f"cannot unmount {entry.mountpoint}: {error}") from error


def _end_local(entry: MountEntry) -> MountError | None:
    """A share without requests: nobody waits in it for its server."""
    records = [each for each in local_records() if tuple(each["identity"]) == entry.identity]
    copy = ""
    for record in records:
        pid, started = int(record["pid"]), str(record.get("started", ""))
        if start_of(pid) == started and _ends_by_itself(entry, pid, started):
            return None
        _kill(pid, started)
        _wait_for_end(pid, started)
        Volumes.of_record(record).unmount()
        copy = record.get("copy", "")
    _detach(entry)
    at.remove(local_record_path(entry.mountpoint))
    with contextlib.suppress(OSError):
        at.remove(control_path(runtime_directory(0), entry.mountpoint))
    if not copy:
        return None
    return MountError(
        f"{entry.mountpoint} is unmounted, but its server was killed: what the guest has "
        f"changed at last may be in {copy} only, until the share is mounted again"
    )
