"""Starts a mount in a process of its own and waits until it is ready.

The server is never forked from the caller: a notebook's threads and a test's
captured output have no place in it. It is this very package, run anew, with
its settings as an argument and its first words on a pipe.
"""

import contextlib
import errno
import json
import logging
import math
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

from osxfs_sim.fs import at
from osxfs_sim.fs.reading import read_text
from osxfs_sim.model.escaping import quoted
from osxfs_sim.model.profile import ProfileError, Transport
from osxfs_sim.model.status import ShareStatus
from osxfs_sim.mount.force import Budget, end_by_force, end_detached, what_is_left
from osxfs_sim.mount.mounts.control import ask, ask_status
from osxfs_sim.mount.mounts.identity import server_user, user_of_id
from osxfs_sim.mount.mounts.mountpoints import (
    GoneError,
    MountEntry,
    MountError,
    SilentError,
    check_before_mounting,
    check_fuse,
    check_source,
    local_record_path,
    local_records,
    log_path,
    make_runtime_directory,
    mount_at,
    mounts,
    open_runtime_directory,
    real_mountpoint,
    shares_in,
    unmount,
)
from osxfs_sim.mount.mounts.runtime_records import (
    UNSYNCHRONIZED,
    Record,
    all_records,
    has_ended,
    is_server_of,
    is_stopped,
    read_record,
)
from osxfs_sim.mount.mounts.service_checks import check_host_services
from osxfs_sim.mount.mounts.volumes import Volumes
from osxfs_sim.mount.writeback.unwritten import is_anything_kept, unwritten_error
from osxfs_sim.settings import Exports, ShareSettings

log = logging.getLogger(__name__)

OnWait = Callable[[str], None]

_SERVER = "osxfs_sim.mount.server.main"
SETTLES_WITHIN_S = 60.0
_READY_WITHIN_S = 60.0
# Of the last exports of a share file, where the first have taken all of the time.
_SHORTEST_WAIT_S = 0.1
_UNMOUNTED_WITHIN_S = 30.0
_ENDING_WITHIN_S = 10.0
# The kernel ends a session with its last mount, at once: but the server may have to wait for a
# processor.
_ENDS_WITH_ITS_MOUNT_S = 0.5
_LETTING_GO_WITHIN_S = 2.0
_DYING_WITHIN_S = 0.5
_ANSWERING_WITHIN_S = 10.0


class Share:
    """A mounted share, as seen from outside the process that serves it."""

    def __init__(self, first_status: ShareStatus, server: "subprocess.Popen[bytes]") -> None:
        self.mountpoint = first_status.mountpoint
        self.first_status = first_status
        self.exports: tuple[Share, ...] = ()
        """The shares in it, where it is the mount point of a share file."""
        self._server = server
        self._lifeline = -1
        """By which the server knows that we are there; -1: it does not look."""

    def status(self) -> ShareStatus:
        """The share's status: request counts, target and observed latency. Raises MountError."""
        return ask_status(self.mountpoint)

    def reset(self) -> ShareStatus:
        """Return the status, and start counts and receipt from nothing. Raises MountError."""
        return ask_status(self.mountpoint, "reset")

    def settle(self, timeout_s: float = SETTLES_WITHIN_S) -> ShareStatus:
        """Wait until the guest was told of all host changes; returns status. Raises MountError.

        That is: everything was read from the kernel, has waited as long as the profile says, has
        invalidated what it makes untrue, and was raised as an event. On a share without host events
        there is nothing to wait for; on a synchronized one it is a cycle that has seen it all. Of a
        share file's mount point: all its exports.

        Raises MountError where that takes longer than *timeout_s*, in seconds: the host may go on
        changing something all the time.
        """
        return settle(self.mountpoint, timeout_s=timeout_s)

    def flush(self) -> ShareStatus:
        """Wait until the host has all that the guest changed; the status. Raises MountError.

        On a share without write-back the host always has. Raises MountError where the host has no
        room, and, once, where it has refused a change for good: that is set aside, and everything
        else is on the host.
        """
        return ask_status(self.mountpoint, "flush", timeout_s=None)

    def start_trace(self, path: str, *, with_calls: bool = False) -> None:
        """Record every request from now on in the new file *path*. Raises MountError.

        *with_calls*: also which system call each is for, as a prediction needs it; that adds some
        10 us to each request.

        Raises MountError where a trace is being written already, or *path* cannot be.
        """
        ask(self.mountpoint, "start-trace", path=os.path.abspath(path), with_calls=with_calls)

    def stop_trace(
        self,
        *,
        command_start_ns: int | None = None,
        command_end_ns: int | None = None,
        notes: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Complete the trace's file; returns its path, rows and lost rows. Raises MountError.

        The moments at which a measured command began and ended (of
        time.monotonic_ns()) and *notes* go into its header. Raises MountError
        where no trace is being written, or it could not be.
        """
        return ask(
            self.mountpoint,
            "stop-trace",
            timeout_s=None,
            command_start_ns=command_start_ns,
            command_end_ns=command_end_ns,
            notes=notes,
        )

    def drop_events(self, *, count: int = 0, rate: float = 0.0) -> dict[str, Any]:
        """Lose the next *count* host events, or each with chance *rate*. Raises MountError.

        Each call replaces what the one before asked for; without arguments it
        ends that. The share is told of each loss, as by FSEvents, and asked to
        look for itself. Raises MountError where there are no host events to lose.
        """
        return drop_events(self.mountpoint, count=count, rate=rate)

    def unmount(self, *, force: bool = False) -> None:
        """Unmount, and wait until the server has ended. Raises MountError if it is in use.

        With *force* it ends within two seconds whatever state it is in, its users are told
        ENOTCONN, and MountError is raised where something is not on the host.
        """
        try:
            unmount_and_wait(self.mountpoint, force=force)
        finally:
            if force:
                self._wait_ended()
        self._wait_ended()

    def end(self) -> None:
        """Unmount if it is mounted still; if in use, end the server. Raises MountError."""
        try:
            if mount_at(self.mountpoint) is not None:
                self.unmount()
        except MountError:
            self._server.terminate()
            raise
        finally:
            self._wait_ended()

    def _wait_ended(self) -> None:
        """Reap the server, and those of its exports. Raises MountError if one goes on."""
        for export in self.exports:
            export._wait_ended()
        try:
            self._server.wait(_UNMOUNTED_WITHIN_S)
        except subprocess.TimeoutExpired as error:
            raise MountError(
                f"{self.mountpoint} is unmounted, "
                f"but its server (process {self._server.pid}) goes on"
            ) from error
        self._let_go()

    def wait(self) -> None:
        """Wait until it is unmounted and its server has ended, without limit; never fails."""
        for share in (self, *self.exports):
            share._server.wait()

    def detach(self) -> None:
        """Let the share outlive this process, which no longer waits for it; never fails."""
        for share in (self, *self.exports):
            share._server.returncode = 0
            if share._lifeline >= 0:
                with contextlib.suppress(OSError):  # it has ended
                    os.write(share._lifeline, b"d")
            share._let_go()

    def _let_go(self) -> None:
        if self._lifeline >= 0:
            os.close(self._lifeline)
            self._lifeline = -1


def launch(
    settings: ShareSettings, on_wait: OnWait = log.info, *, ends_with_us: bool = False
) -> Share:
    """Mount in the background; the Share, ready for use. Raises MountError or ProfileError.

    With *ends_with_us* it ends with this process, however that ends.

    *on_wait* is called with what takes long, in words for people: changes of an earlier share that
    have to reach the host first. Raises ProfileError, too, where it cannot be mounted.
    """
    if not ends_with_us:
        return _launch(settings, on_wait)
    theirs, ours = os.pipe()
    try:
        share = _launch(settings, on_wait, theirs)
    except BaseException:
        os.close(ours)
        raise
    finally:
        os.close(theirs)
    share._lifeline = ours
    return share


def _launch(settings: ShareSettings, on_wait: OnWait, *lifeline: int) -> Share:
    # Mistakes need no process to be found, and must not touch another share's log.
    profile = settings.system().profile
    user = server_user(settings.user)
    runtime = make_runtime_directory(user.uid)
    check_before_mounting(settings.source or str(runtime), settings.mountpoint)
    if not profile.is_local:
        check_fuse()
    check_host_services(settings.host_services)
    mountpoint = real_mountpoint(settings.mountpoint)
    log_file = log_path(runtime, mountpoint)
    read_fd, write_fd = os.pipe()
    with open(read_fd, "rb", buffering=0) as first_words:
        try:
            with _new_log(log_file.name, user.uid) as log:
                server = subprocess.Popen(
                    # -P: a file of the caller's directory must not stand in for a library.
                    [sys.executable, "-P", "-m", _SERVER, settings.to_json()]
                    + [str(fd) for fd in (write_fd, *lifeline)],
                    env=_environment(),
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    pass_fds=(write_fd, *lifeline),
                    start_new_session=True,
                )
        finally:
            os.close(write_fd)
        try:
            # A copy takes as long as it takes, and what is waited for has bounds of its own.
            within_s = None if profile.transport is Transport.COPY else _READY_WITHIN_S
            message: dict[str, Any] | None = None
            while ready := _wait_for_words(read_fd, within_s):
                words = first_words.readline()  # no more than the line is taken from the pipe
                message = json.loads(words) if words else None
                if message is None or "waiting" not in message:
                    break
                on_wait(message["waiting"])
                within_s = None
        except BaseException:
            server.terminate()  # interrupted: it unmounts what it may have mounted
            server.wait()
            raise
    if not ready:
        server.terminate()
        server.wait()
        raise MountError(f"the share was not ready within {_READY_WITHIN_S:g} s: see {log_file}")
    if message is None:
        try:
            code = server.wait(_ENDING_WITHIN_S)
        except subprocess.TimeoutExpired:
            server.terminate()
            code = server.wait()
        raise MountError(
            f"the server ended before the share was ready (exit code {code}): see {log_file}"
        )
    if "error" in message:
        server.wait()
        error_class = ProfileError if message["kind"] == "profile" else MountError
        raise error_class(message["error"])
    return Share(ShareStatus.from_dict(message), server)


def launch_exports(
    exports: Exports, on_wait: OnWait = log.info, *, ends_with_us: bool = False
) -> Share:
    """Mount all of a share file below one mount point, or none. Raises MountError, ProfileError.

    Raises MountError or ProfileError where one cannot be mounted; none is then.
    """
    if os.geteuid() != 0 and not exports.root.allow_other:
        raise MountError(
            "a share file needs root, or --allow-other with user_allow_other in /etc/fuse.conf: "
            "fusermount3 cannot enter a mount that only you may enter"
        )
    for settings in exports.shares:
        settings.system()
        try:
            check_source(settings.source, exports.root.mountpoint)
        except MountError as error:
            name = os.path.basename(settings.mountpoint)
            raise MountError(f"export {name}: {error}") from error
    root = launch(exports.root, ends_with_us=ends_with_us)
    try:
        for settings in exports.shares:
            root.exports += (launch(settings, on_wait, ends_with_us=ends_with_us),)
    except BaseException:
        with contextlib.suppress(MountError):
            root.end()
        raise
    return root


def _new_log(name: str, uid: int) -> BinaryIO:
    """An empty file of user *uid* in that user's runtime directory, in place of what is there."""
    directory_fd = open_runtime_directory(uid)
    try:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name, dir_fd=directory_fd)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        fd = os.open(name, flags, 0o600, dir_fd=directory_fd)
    finally:
        os.close(directory_fd)
    os.fchown(fd, uid, -1)
    return open(fd, "wb")


def _wait_for_words(fd: int, within_s: float | None) -> bool:
    """Whether there is something to read from *fd* in time, words or an end."""
    # select(2) has no place for the descriptors of a caller with a thousand open files.
    poller = select.poll()
    poller.register(fd, select.POLLIN)
    return bool(poller.poll(None if within_s is None else within_s * 1_000))


def _environment() -> dict[str, str]:
    """Ours, with this very package to be found first, installed or not."""
    path = [str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, path))}


def drop_events(mountpoint: str, *, count: int, rate: float) -> dict[str, Any]:
    """Lose *count* host events of a share, or each with chance *rate*. Raises MountError."""
    if count < 0 or not 0 <= rate <= 1 or (count and rate):
        raise MountError("give a count from 0 on, or a rate from 0 to 1, of the events to lose")
    return ask(mountpoint, "drop-events", count=count, rate=rate)


def settle(mountpoint: str, *, timeout_s: float = SETTLES_WITHIN_S) -> ShareStatus:
    """Wait until a share's guest was told of all host changes; its status. Raises MountError."""
    if not 0 < timeout_s < math.inf:
        raise MountError(f"{timeout_s:g} s is no time to wait: give some seconds")
    deadline_s = time.monotonic() + timeout_s
    status = ask_status(mountpoint, "settle", timeout_s=None, within_s=timeout_s)
    for name in status.exports:
        left_s = max(deadline_s - time.monotonic(), _SHORTEST_WAIT_S)
        export = os.path.join(mountpoint, name)
        ask_status(export, "settle", timeout_s=None, within_s=left_s)
    return status


def unmount_and_wait(
    mountpoint: str, *, force: bool = False, started_s: float | None = None
) -> str:
    """Unmount a share, await its server's end; what a dead one left. Raises MountError.

    A share whose server is gone is unmounted too; returns then what it has left
    unwritten, in a line, or nothing. Raises MountError where
    there is none, it is in use, or its server does not answer; with *force*
    it is ended then, within two seconds of *started_s* (of the monotonic clock; of now, where
    nothing is said).
    """
    budget = Budget(started_s)
    # With force as it is written, if that is a mount point: the way there may lead through a
    # share that answers nothing.
    target = os.path.abspath(mountpoint)
    if not force or mount_at(target) is None:
        target = real_mountpoint(mountpoint)
    entry = mount_at(target)
    if entry is None:
        for uid, record in killed_at(target):
            return str(what_is_left(uid, target, record) or "")
        for record in _detached_from(target) if force else ():
            left_by_force = end_detached(record, budget)
            if left_by_force is not None:
                raise left_by_force
            return ""
        raise MountError(f"nothing is mounted at {mountpoint}")
    if not entry.is_ours:
        raise MountError(
            f"{mountpoint} is a {entry.file_system_type} mount, not a share: use umount"
        )
    if force:
        left_by_force = end_by_force(entry, budget)
        left_before = _left_by_killed_exports(entry, budget)
        if left_by_force is not None or left_before:
            raise MountError(
                "; ".join([*([str(left_by_force)] if left_by_force else []), *left_before])
            )
        return ""
    if entry.is_exports_root:
        for export in reversed(shares_in(target)):
            unmount_and_wait(export.mountpoint)
    # Of another user's share root learns what the user wants it to: what it does then, and where
    # it looks, is bounded by what that user might do as well.
    is_foreign = entry.user_id not in (0, os.geteuid())
    looking = user_of_id(entry.user_id).acting if is_foreign else contextlib.nullcontext
    pid, journal, has_volumes, left, gone = 0, "", False, "", False
    trace: str | None = None
    try:
        status = _status_of(mountpoint, target)
        told = status.pid
        kept = "" if status.write_back is None else status.write_back.journal
        mounted_in_it = any(volume.mounted for volume in status.volumes)
        if status.synchronization is not None:
            left = os.path.join(status.synchronization.state, UNSYNCHRONIZED)
        trace = None if status.trace is None else status.trace.path
    except SilentError:
        raise
    except GoneError:
        gone = True
    except MountError:
        left = ""  # it is not ours to ask, or makes no sense: unmounting it is another matter
    else:
        pid, journal, has_volumes = told, kept, mounted_in_it
        if is_foreign:
            pid, has_volumes = told if is_server_of(entry, told) else 0, False
    if not pid and entry.is_local:
        unmount_abandoned(entry)
        return ""
    if gone and not _is_starting_or_ending(entry):
        return str(end_by_force(entry) or "")
    if has_volumes:
        ask(target, "unmount-volumes")
    others = _other_mounts(entry)
    try:
        # What is mounted in it goes along.
        _unmount(target, lazily=False)
    except OSError as error:
        if has_volumes:
            with contextlib.suppress(MountError):
                ask(target, "mount-volumes")
        if error.strerror and "busy" in error.strerror.lower():
            raise MountError(
                f"{mountpoint} is in use: leave it (fuser -vm {quoted(mountpoint)} shows who is "
                "in it), "
                f"or osxfs-sim umount --force {quoted(mountpoint)}"
            ) from error
        if os.geteuid() not in (0, entry.user_id):
            raise MountError(
                f"the share at {mountpoint} belongs to user {entry.user_id}: "
                "unmount it as that user or root"
            ) from error
        raise MountError(f"cannot unmount {mountpoint}: {error.strerror}") from error
    deadline_s = time.monotonic() + _UNMOUNTED_WITHIN_S
    told_s = None if entry.is_local else time.monotonic() + _ENDS_WITH_ITS_MOUNT_S
    while pid and not has_ended(pid):
        if told_s is not None and time.monotonic() > told_s:
            told_s = None
            _tell_to_end(mountpoint, others, pid)
        # What is held is written back first, and takes as long as it takes.
        waits = not is_foreign and (bool(left) or os.path.exists(journal))
        if time.monotonic() > deadline_s and (not waits or is_stopped(pid)):
            raise MountError(f"{mountpoint} is unmounted, but its server (process {pid}) goes on")
        time.sleep(0.005)
    with looking():
        _tell_what_is_left(mountpoint, journal, left, trace)
    return "; ".join(_left_by_killed_exports(entry))


def _tell_what_is_left(mountpoint: str, journal: str, left: str, trace: str | None) -> None:
    """Raises MountError where something is not on the host, or not in the trace."""
    if journal and is_anything_kept(Path(journal)):
        raise unwritten_error(Path(journal))
    if os.path.exists(left):
        try:
            said = read_text(left)
        except (OSError, ValueError):
            said = f"{mountpoint} is unmounted, but not synchronized: {left} cannot be read"
        raise MountError(said)
    if trace is not None:
        # Loaded now: the library for its format takes time and memory.
        from osxfs_sim.trace.outcome import complaint

        if said := complaint(Path(trace)):
            raise MountError(f"{mountpoint} is unmounted, but {said}")


def _other_mounts(entry: MountEntry) -> set[MountEntry]:
    """Where else the share is mounted; while it is, as its number is given anew afterwards."""
    return {each for each in mounts() if each.device == entry.device and each != entry}


def _tell_to_end(mountpoint: str, others: set[MountEntry], pid: int) -> None:
    """The share is unmounted, and the kernel does not end it: a copy of it may be somewhere.

    Raises MountError where that is one of *others*.
    """
    for other in others.intersection(mounts()):
        raise MountError(
            f"{mountpoint} is unmounted, but the share is mounted at {other.mountpoint} too, "
            f"and goes on there: umount {quoted(other.mountpoint)}"
        )
    with contextlib.suppress(OSError):
        os.kill(pid, signal.SIGTERM)


def _status_of(mountpoint: str, target: str) -> ShareStatus:
    """The share's status, for which a server that is busy has some time. Raises MountError."""
    deadline_s = time.monotonic() + _ANSWERING_WITHIN_S
    while True:
        try:
            return ask_status(target, timeout_s=_LETTING_GO_WITHIN_S)
        except SilentError as error:
            if "stopped" in str(error) or time.monotonic() > deadline_s:
                raise SilentError(str(error).replace(target, mountpoint)) from error


def _is_starting_or_ending(entry: MountEntry) -> bool:
    """Whether there is a server that cannot be asked yet, or no longer.

    One that was killed in this moment is given the time to be dead.
    """
    record = read_record(entry.user_id, entry.mountpoint)
    if record is None or (record.mount_id, record.device) != (entry.mount_id, entry.device):
        return False
    deadline_s = time.monotonic() + _DYING_WITHIN_S
    while not record.is_of_the_dead:
        if time.monotonic() > deadline_s:
            return True
        time.sleep(0.005)
    return False


def killed_at(mountpoint: str) -> Iterator[tuple[int, Record]]:
    """Yield (uid, record) of each killed server that had a share at *mountpoint*; never fails."""
    for uid, record in _records_of(mountpoint):
        if record.is_of_the_dead:
            yield uid, record


def _left_by_killed_exports(entry: MountEntry, budget: Budget | None = None) -> list[str]:
    """What exports below *entry* have left whose servers were killed, and are not mounted."""
    if not entry.is_exports_root:
        return []
    above, users = f"{entry.mountpoint}/", (os.geteuid(), entry.user_id)
    left = []
    for record in [*all_records()]:
        is_export = record.mountpoint.startswith(above) and record.uid in users
        if is_export and record.is_of_the_dead:
            left.append(what_is_left(record.uid, record.mountpoint, record, budget))
    return [str(each) for each in left if each is not None]


def _detached_from(mountpoint: str) -> Iterator[Record]:
    """What living servers say of themselves whose share was at *mountpoint*, where none is now."""
    for _, record in _records_of(mountpoint):
        if not record.is_of_the_dead:
            yield record


def _records_of(mountpoint: str) -> Iterator[tuple[int, Record]]:
    for uid in {os.geteuid(), *(each.uid for each in all_records() if os.geteuid() == 0)}:
        record = read_record(uid, mountpoint)
        if record is not None:
            yield uid, record


def unmount_abandoned(entry: MountEntry) -> None:
    """Unmount a local share whose server is gone. Raises MountError where it is in use."""
    for record in local_records():
        if tuple(record["identity"]) == entry.identity:
            Volumes.of_record(record).unmount()
    try:
        unmount(entry.mountpoint)
    except OSError as error:
        raise MountError(
            f"{entry.mountpoint} is in use: leave it (fuser -vm {quoted(entry.mountpoint)} "
            "shows who is in it)"
        ) from error
    at.remove(local_record_path(entry.mountpoint))


def _unmount(target: str, *, lazily: bool) -> None:
    """unmount(), after the share has let go of what it holds itself: host services, events.

    Raises OSError: EBUSY where somebody else is in it.
    """
    try:
        unmount(target, lazily=lazily)
        return
    except OSError as error:
        if mount_at(target) is None:
            return  # somebody else was faster
        if error.errno != errno.EBUSY:
            raise
    released = False
    with contextlib.suppress(MountError):
        released = bool(ask(target, "release", timeout_s=2.0).get("released"))
    deadline_s = time.monotonic() + (_LETTING_GO_WITHIN_S if released else 0.0)
    while True:
        # Once more in any case: what the share held it may have let go while it was asked.
        try:
            unmount(target, lazily=lazily)
            return
        except OSError as error:
            if mount_at(target) is None:
                return
            if error.errno != errno.EBUSY or time.monotonic() >= deadline_s:
                raise
        time.sleep(0.01)


@contextlib.contextmanager
def mounted(settings: ShareSettings | Exports) -> Iterator[Share]:
    """Yield a mounted share, unmounted after the ``with`` block. Raises MountError, ProfileError.

    It ends with this process, too, if that is killed. Somebody else may have unmounted it
    meanwhile. Where somebody is still inside it is ended all the same, and MountError says so.
    """
    if isinstance(settings, Exports):
        share = launch_exports(settings, ends_with_us=True)
    else:
        share = launch(settings, ends_with_us=True)
    try:
        yield share
    except BaseException:
        with contextlib.suppress(MountError):  # the caller's own error comes first
            share.end()
        raise
    share.end()
