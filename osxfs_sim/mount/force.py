"""Ends a share within two seconds, whatever state its server and its guests are in.

The server may be stopped, stuck in the kernel, a zombie, or gone; guests may be inside. So
nothing here looks into the share. A server that still answers is first asked to end by
itself, which loses nothing. Then the connection is aborted, which lets go of everybody who
waits in the share; the server is killed; and the mount is detached.

All of it takes its time out of one budget, which begins with the command, the start of Python
included: the later it is, the less time a server has to end by itself. The shares of a share
file are ended side by side.
"""

import concurrent.futures
import contextlib
import os
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from osxfs_sim.fs import at
from osxfs_sim.mount.mounts import connections
from osxfs_sim.mount.mounts.control import ask, server_behind
from osxfs_sim.mount.mounts.mountpoints import (
    FORCE,
    MountEntry,
    MountError,
    control_path,
    local_record_path,
    local_records,
    mount_at,
    mounts,
    runtime_directory,
    shares_in,
    unmount,
)
from osxfs_sim.mount.mounts.runtime_records import (
    Record,
    has_ended,
    is_server_of,
    is_stopped,
    read_record,
    record_path,
    start_of,
    user_of,
)
from osxfs_sim.mount.writeback.unwritten import command_for, is_unwritten, unwritten_error

WITHIN_S = 2.0
# Kept for saying what there is to say, and for the end of the command.
_LAST_S = 0.2
_ANSWERS_WITHIN_S = 0.3
_ENDS_BY_ITSELF_WITHIN_S = 0.5
_DIES_WITHIN_S = 0.5
# What is left of the budget is not all for servers that end by themselves.
_SHARE_OF_ASKING, _SHARE_OF_ENDING = 0.2, 0.35
_SHORTEST_S = 0.02
_LOOK_AGAIN_S = 0.005
_MOST_SIDE_BY_SIDE = 32

_Kind = TypeVar("_Kind")
_Answer = TypeVar("_Answer")


class Budget:
    """What is left of the two seconds in which a share is ended by force."""

    def __init__(self, started_s: float | None = None) -> None:
        """*started_s* is when they began, on the monotonic clock; now, where nothing is said."""
        self._deadline_s = (time.monotonic() if started_s is None else started_s) + WITHIN_S

    @property
    def left_s(self) -> float:
        """Seconds left, less 0.2 for saying what there is to say; 0 at the least."""
        return max(self._deadline_s - _LAST_S - time.monotonic(), 0.0)

    def at_most(self, most_s: float, part: float = 1.0) -> float:
        """*most_s*, but at most *part* (0 to 1) of the seconds left, and at least 20 ms."""
        return max(min(most_s, part * self.left_s), _SHORTEST_S)


def started_s() -> float:
    """When this process was started, on the monotonic clock, in seconds; exact to 10 ms."""
    since_boot_s = int(start_of(os.getpid())) / os.sysconf("SC_CLK_TCK")
    return time.monotonic() - (time.clock_gettime(time.CLOCK_BOOTTIME) - since_boot_s)


def end_by_force(entry: MountEntry, budget: Budget | None = None) -> MountError | None:
    """Unmount a share and kill its server in 2 s; what is not on the host. Raises MountError.

    Returns what the guest has changed and is not on the host, if anything; where no *budget* is
    given, that is read however long it takes. MountError where it is not ours to end, or has not
    ended.
    """
    reading, budget = budget, budget or Budget()
    if os.geteuid() not in (0, entry.user_id):
        raise MountError(
            f"the share at {entry.mountpoint} belongs to user {entry.user_id}: "
            "unmount it as that user or root"
        )
    exports = [*reversed(shares_in(entry.mountpoint))] if entry.is_exports_root else []
    shares: list[_Share | _LocalShare] = [
        _LocalShare(each, budget) if each.is_local else _Share(each, budget, reading)
        for each in (*exports, entry)
    ]
    # The exports root last: it unmounts what is in it by itself.
    for together in (shares[:-1], shares[-1:]):
        _each(together, lambda share: share.ask_to_end())
    _each(shares, lambda share: share.cut())
    # From the top: what is mounted in it goes along, and no path leads through a dead share.
    for share in reversed(shares):
        try:
            share.detach()
        except MountError as error:
            share.complaint = str(error)
    _each(shares, lambda share: share.wait_for_end())
    held = [share.complaint for share in shares if share.complaint]
    left = [str(each) for each in _each(shares, lambda share: share.what_is_left()) if each]
    if held:
        raise MountError("; ".join([*held, *left]))
    return MountError("; ".join(left)) if left else None


def end_detached(record: Record, budget: Budget | None = None) -> MountError | None:
    """Kill, in 2 s, the server whose mount is gone; what it left. Raises MountError.

    Somebody has unmounted it lazily, with guests inside; or it writes back what is pending. Returns
    as end_by_force(). By its number nothing may be ended: another share may have that by now. Its
    supervisor ends its connection, which it was given at the start.
    """
    reading, budget = budget, budget or Budget()
    pid, started = record.pid, record.started
    if os.geteuid() not in (0, record.uid) or user_of(pid) != record.uid:
        raise MountError(
            f"the server of {record.mountpoint} (process {pid}) belongs to another user: "
            "end it as that user or root"
        )
    if not is_stopped(pid):
        _kill(pid, started, signal.SIGTERM)
        within_s = budget.at_most(_ENDS_BY_ITSELF_WITHIN_S, _SHARE_OF_ENDING)
        deadline_s = time.monotonic() + within_s
        while not record.is_of_the_dead and time.monotonic() < deadline_s:
            time.sleep(_LOOK_AGAIN_S)
    if not record.is_of_the_dead:
        helpers = _children(pid)
        _kill(pid, started)
        _continue(helpers)
    has_gone = _wait_for_end(pid, started, budget)
    left = what_is_left(record.uid, record.mountpoint, record, reading)
    if has_gone:
        return left
    raise MountError(
        "; ".join([_not_ended(record.mountpoint, pid), *([str(left)] if left else [])])
    )


def _each(shares: Sequence[_Kind], call: Callable[[_Kind], _Answer]) -> list[_Answer]:
    """What *call* answers for each, made side by side."""
    if len(shares) < 2:
        return [call(share) for share in shares]
    with concurrent.futures.ThreadPoolExecutor(min(len(shares), _MOST_SIDE_BY_SIDE)) as threads:
        return list(threads.map(call, shares))


class _Share:
    """One whose guests' requests a server answers, step by step to its end."""

    def __init__(self, entry: MountEntry, budget: Budget, reading: Budget | None) -> None:
        self.entry = entry
        self.complaint = ""
        """Why it has not ended, if it has not."""
        self._budget = budget
        self._reading = reading
        record = read_record(entry.user_id, entry.mountpoint)
        if record is not None and _mount_of(record) != (entry.mount_id, entry.device):
            record = None  # of an earlier share
        self._record = record
        self.pid, self._started = _server_of(entry, record, budget)
        self._has_ended_by_itself = False
        self._detachable = False
        self._abort_fd = _abort_of(entry)

    def ask_to_end(self) -> None:
        self._has_ended_by_itself = _ends_by_itself(
            self.entry, self.pid, self._started, self._budget
        )

    def cut(self) -> None:
        """End the connection and kill the server, unless it has ended."""
        fd, self._abort_fd = self._abort_fd, -1
        try:
            if not self._has_ended_by_itself:
                self._cut(fd)
        finally:
            if fd >= 0:
                os.close(fd)

    def _cut(self, abort_fd: int) -> None:
        helpers = _children(self.pid) or [*_supervisors_of(self.entry)]
        aborted = connections.abort(abort_fd) or _abort_as_root(self.entry)
        _kill(self.pid, self._started)
        _continue(helpers)
        self._detachable = aborted or os.geteuid() == 0

    def detach(self) -> None:
        """Raises MountError."""
        if self._has_ended_by_itself:
            return
        if self._detachable or _wait_for_end(self.pid, self._started, self._budget):
            _detach(self.entry, self._budget)

    def wait_for_end(self) -> None:
        if not _wait_for_end(self.pid, self._started, self._budget) and not self.complaint:
            self.complaint = _not_ended(self.entry.mountpoint, self.pid)

    def what_is_left(self) -> MountError | None:
        entry = self.entry
        return what_is_left(entry.user_id, entry.mountpoint, self._record, self._reading)


def _mount_of(record: Record) -> tuple[int, str]:
    return record.mount_id, record.device


def what_is_left(
    uid: int, mountpoint: str, record: Record | None, budget: Budget | None = None
) -> MountError | None:
    """An error saying what a killed server left unwritten, or None. Removes its record."""
    for path in (record_path(uid, mountpoint), control_path(runtime_directory(uid), mountpoint)):
        with contextlib.suppress(OSError):
            at.remove(path)
    if record is None or not record.journal:
        return None
    journal = Path(record.journal)

    def look() -> MountError | None:
        return unwritten_error(journal, record.source) if is_unwritten(journal) else None

    if budget is None:
        return look()
    # It may be long, and its disk slow.
    answer: concurrent.futures.Future[MountError | None] = concurrent.futures.Future()
    threading.Thread(target=lambda: answer.set_result(look()), daemon=True).start()
    try:
        return answer.result(max(budget.left_s, _SHORTEST_S))
    except TimeoutError:
        return MountError(
            f"changes that the host does not have may be kept in {journal}, which takes longer to "
            f"read: {command_for(record.source, journal)} tells"
        )


def _server_of(entry: MountEntry, record: Record | None, budget: Budget) -> tuple[int, str]:
    """The server's process and when it was started; 0 where it is gone, or cannot be told."""
    if record is not None:
        is_there = start_of(record.pid) == record.started and is_server_of(entry, record.pid)
        return (record.pid, record.started) if is_there else (0, "")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(budget.at_most(_ANSWERS_WITHIN_S, _SHARE_OF_ASKING))
        try:
            client.connect(
                os.fspath(control_path(runtime_directory(entry.user_id), entry.mountpoint))
            )
        except OSError:
            return 0, ""
        pid = server_behind(client)
    return (pid, start_of(pid)) if is_server_of(entry, pid) else (0, "")


def _ends_by_itself(entry: MountEntry, pid: int, started: str, budget: Budget) -> bool:
    """Ask the server to end, and whether it soon has."""
    if not pid or is_stopped(pid) or has_ended(pid):
        return False
    try:
        within_s = budget.at_most(_ANSWERS_WITHIN_S, _SHARE_OF_ASKING)
        ask(entry.mountpoint, "stop", timeout_s=within_s)
    except MountError:
        return False
    deadline_s = time.monotonic() + budget.at_most(_ENDS_BY_ITSELF_WITHIN_S, _SHARE_OF_ENDING)
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


def _supervisors_of(entry: MountEntry) -> Iterator[int]:
    """The supervisors at its mount point, also once the server is gone; they may be stopped."""
    for name in filter(str.isdecimal, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            with open(f"/proc/{name}/cmdline", "rb") as file:
                words = file.read().split(b"\0")
            if (
                os.fsencode(entry.mountpoint) in words
                and any(word.endswith(b"/supervisor.py") for word in words)
                and os.stat(f"/proc/{name}").st_uid in (0, entry.user_id)
            ):
                yield int(name)


def _abort_of(entry: MountEntry) -> int:
    """A descriptor that aborts *entry*'s connection; -1 where it is not ours, or is gone.

    The mount is looked for once the descriptor is open: else its number may have become that of
    another, whose connection it would be.
    """
    fd = connections.open_abort(entry.device)
    if fd >= 0 and not _is_mounted(entry):
        os.close(fd)
        return -1
    return fd


def _is_mounted(entry: MountEntry) -> bool:
    return any(each.identity == entry.identity for each in mounts())


def _abort_as_root(entry: MountEntry) -> bool:
    if os.geteuid():
        return False
    if _is_mounted(entry):
        with contextlib.suppress(OSError):
            unmount(entry.mountpoint, flags=FORCE)
    return True


def _continue(helpers: Sequence[int]) -> None:
    """Its supervisor may be stopped, too."""
    for helper in helpers:
        with contextlib.suppress(OSError):
            os.kill(helper, signal.SIGCONT)


def _kill(pid: int, started: str, number: int = signal.SIGKILL) -> None:
    if not pid:
        return
    with contextlib.suppress(OSError):
        pidfd = os.pidfd_open(pid)
        try:
            if start_of(pid) == started:
                signal.pidfd_send_signal(pidfd, number)
        finally:
            os.close(pidfd)


def _wait_for_end(pid: int, started: str, budget: Budget) -> bool:
    deadline_s = time.monotonic() + budget.at_most(_DIES_WITHIN_S)
    while pid and start_of(pid) == started:
        with contextlib.suppress(OSError):
            # A zombie of one thread holds nothing.
            if has_ended(pid) and len(os.listdir(f"/proc/{pid}/task")) <= 1:
                return True
        if time.monotonic() > deadline_s:
            return False
        time.sleep(_LOOK_AGAIN_S)
    return True


def _not_ended(mountpoint: str, pid: int) -> str:
    return (
        f"{mountpoint} is unmounted, but its server (process {pid}) has not ended yet: it "
        "does as soon as the kernel lets it go"
    )


def _detach(entry: MountEntry, budget: Budget) -> None:
    """Take the name away, unless its supervisor was faster. Raises MountError."""
    if _is_unmounted(entry):
        return
    try:
        unmount(entry.mountpoint, lazily=True, timeout_s=budget.at_most(_DIES_WITHIN_S))
    except (OSError, subprocess.TimeoutExpired) as error:
        if not _is_unmounted(entry):
            raise MountError(f"cannot unmount {entry.mountpoint}: {error}") from error


class _LocalShare:
    """One without requests: nobody waits in it for its server."""

    def __init__(self, entry: MountEntry, budget: Budget) -> None:
        self.entry = entry
        self.complaint = ""
        self._budget = budget
        self._servers = [
            (int(record["pid"]), str(record.get("started", "")), record.get("copy", ""))
            for record in local_records()
            if tuple(record["identity"]) == entry.identity
        ]
        self._has_ended_by_itself = False

    def ask_to_end(self) -> None:
        self._has_ended_by_itself = any(
            start_of(pid) == started and _ends_by_itself(self.entry, pid, started, self._budget)
            for pid, started, _ in self._servers
        )

    def cut(self) -> None:
        if not self._has_ended_by_itself:
            for pid, started, _ in self._servers:
                _kill(pid, started)

    def detach(self) -> None:
        """With the volumes in it, whoever may be inside. Raises MountError."""
        if not self._has_ended_by_itself:
            _detach(self.entry, self._budget)

    def wait_for_end(self) -> None:
        for pid, started, _ in self._servers:
            if not _wait_for_end(pid, started, self._budget) and not self.complaint:
                self.complaint = _not_ended(self.entry.mountpoint, pid)

    def what_is_left(self) -> MountError | None:
        if self._has_ended_by_itself:
            return None
        at.remove(local_record_path(self.entry.mountpoint))
        with contextlib.suppress(OSError):
            at.remove(control_path(runtime_directory(0), self.entry.mountpoint))
        copy = next((copy for _, _, copy in self._servers if copy), "")
        if not copy:
            return None
        return MountError(
            f"{self.entry.mountpoint} is unmounted, but its server was killed: what the guest has "
            f"changed at last may be in {copy} only, until the share is mounted again"
        )
