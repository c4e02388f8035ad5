"""What the server of a share says of itself in a file, for who finds the share without it.

A server that is stopped, stuck or gone answers nothing. The record beside its control socket
says which mount is its, which process it was, what it shares, and where it keeps what the host
has not got. It goes when the server ends in order: one that stays tells of a server that was
killed.
"""

import contextlib
import json
import os
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from osxfs_sim.fs import at
from osxfs_sim.fs.output import write_output
from osxfs_sim.mount.mounts.mountpoints import (
    MountEntry,
    control_path,
    mount_number_of,
    runtime_directory,
)

UNSYNCHRONIZED = "unsynchronized"
"""A file in the state of a share that ended before both sides were the same: why."""
_SUFFIX = ".share"
# How long a record of a killed server is kept, where nobody asks for it: while somebody may still
# unmount the share in order, and longer where changes were left, which the next mount tells of too.
_KEPT_S, _KEPT_WITH_CHANGES_S = 60.0, 86_400.0
_LONGEST_BYTES = 65_536


@dataclass(frozen=True, slots=True)
class Record:
    """What the server of one share says of itself in a file."""

    mountpoint: str
    """Where the share is."""
    mount_id: int
    """The mount ID of the share."""
    device: str
    """Its device, as ``major:minor``."""
    source: str
    """The host's directory."""
    source_mount_id: int
    """The mount ID of what that lies in."""
    uid: int
    """Whose server it is, and whose directory this lies in."""
    pid: int
    """The server's process."""
    started: str
    """When the process was started, in the kernel's words: numbers of processes are given anew."""
    state: str
    """The directory for what outlives the share."""
    journal: str = ""
    """Where what the host has not got is kept; empty where the share holds nothing."""

    @property
    def is_of_the_dead(self) -> bool:
        """Whether the record's server has ended, though threads of it may be left."""
        return start_of(self.pid) != self.started or has_ended(self.pid)


def start_of(pid: int) -> str:
    """When the process *pid* was started, in ticks since boot, as text; empty: there is none."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[19].decode()
    except OSError:
        return ""


def user_of(pid: int) -> int:
    """The only user id that the process *pid* has; -1 where it has several, or is gone."""
    try:
        with open(f"/proc/{pid}/status", "rb") as file:
            words = next(line for line in file if line.startswith(b"Uid:")).split()
    except (OSError, StopIteration):
        return -1
    return int(words[1]) if len(set(words[1:4])) == 1 else -1


def is_server_of(entry: MountEntry, pid: int) -> bool:
    """Whether *pid* is a process of the user of *entry*, and so may be signalled as its server.

    What a user's share says of itself can name any process: only that user's own are meant.
    """
    return user_of(pid) == entry.user_id


def has_ended(pid: int) -> bool:
    """Whether the process *pid* is gone or a zombie; False for 0, which is unknown."""
    return bool(pid) and _state_of(pid) in ("", "Z", "X")


def is_stopped(pid: int) -> bool:
    """Whether the process *pid* waits for SIGCONT or its debugger; False where it is gone."""
    return bool(pid) and _state_of(pid) in ("T", "t")


def _state_of(pid: int) -> str:
    """The kernel's letter for what the process does; empty where there is none."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            return file.read().rpartition(b")")[2].split()[0].decode()
    except OSError:
        return ""


def record_path(uid: int, mountpoint: str) -> Path:
    """The path of the record that user *uid*'s server keeps of the share at *mountpoint*."""
    return control_path(runtime_directory(uid), mountpoint).with_suffix(_SUFFIX)


def write_record(uid: int, record: Record) -> Path:
    """Write *record*, in place of an earlier one; returns its path. Raises OSError.

    As the user who owns the directory.
    """
    path = record_path(uid, record.mountpoint)
    _forget_old_ones(path.parent)
    write_output(path, json.dumps(asdict(record)), mode=0o600)
    return path


def _forget_old_ones(directory: Path) -> None:
    """Take away what servers that were killed have left, once nobody wonders any more."""
    for path in directory.glob(f"*{_SUFFIX}"):
        with contextlib.suppress(OSError):
            record = _read(path)
            kept_s = _KEPT_WITH_CHANGES_S if record is not None and record.journal else _KEPT_S
            is_old = time.time() - path.stat().st_mtime > kept_s
            if is_old and (record is None or record.is_of_the_dead):
                at.remove(path)


def read_record(uid: int, mountpoint: str) -> Record | None:
    """The record of the share at *mountpoint*; None where none can be read."""
    return _read(record_path(uid, mountpoint))


def _read(path: Path | str, dir_fd: int | None = None) -> Record | None:
    """The record at *path*, whatever somebody may have put there."""
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        with open(os.open(path, flags, dir_fd=dir_fd), "rb") as file:
            record = Record(**json.loads(file.read(_LONGEST_BYTES)))
    except (OSError, ValueError, TypeError, RecursionError):
        return None
    for each in fields(record):
        # A truth value is no number here, and what is to be a path is text.
        if type(getattr(record, each.name)) is not each.type:
            return None
    return record


def all_records() -> Iterator[Record]:
    """Yield all users' records that we may read; leaves out what cannot be read."""
    yield from _records_in(runtime_directory(0))
    if os.geteuid():
        yield from _records_in(runtime_directory(os.geteuid()))
        return
    for above, pattern in (("/run/user", "*/osxfs-sim"), ("/tmp", "osxfs-sim-*")):
        for directory in Path(above).glob(pattern):
            yield from _records_in(directory)


def _records_in(directory: Path) -> Iterator[Record]:
    """Of a directory that may be anything: its user may have mounted something there."""
    with contextlib.ExitStack() as closing, contextlib.suppress(OSError):
        place, above = (
            os.open(path, os.O_PATH | os.O_NOFOLLOW | os.O_DIRECTORY | os.O_CLOEXEC)
            for path in (directory, directory.parent)
        )
        closing.callback(os.close, place)
        closing.callback(os.close, above)
        if mount_number_of(place) != mount_number_of(above):
            return
        fd = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=place)
        closing.callback(os.close, fd)
        uid = os.fstat(fd).st_uid
        for name in os.listdir(fd):
            if name.endswith(_SUFFIX):
                record = _read(name, fd)
                # Of shares of its own, and of nobody else's, a user may say what it likes.
                if record is not None and record.uid == uid:
                    yield record
