"""Shares without requests: the host's directory itself, or a copy of it in the guest.

The guest works in a directory of this very machine, bind-mounted. There is nothing to
serve, to price or to trace. But such a share begins, is asked and ends as any other, by a
server of its own: so that whoever compares shares need not know which is which.

For the kernel it is a mount like any other. A record beside the control socket says that
it is ours, and which mount exactly, also when this server has been killed.
"""

import contextlib
import errno
import json
import logging
import os
import select
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import trio

from osxfs_sim.fs import at
from osxfs_sim.fs.output import write_output
from osxfs_sim.model.escaping import quoted
from osxfs_sim.model.profile import Transport
from osxfs_sim.model.status import ShareStatus
from osxfs_sim.mount import syscalls
from osxfs_sim.mount.mounts.copying import (
    check_copy,
    copy_place,
    is_made,
    make_copy,
    make_empty,
    record_source,
)
from osxfs_sim.mount.mounts.identity import server_user, state_directory
from osxfs_sim.mount.mounts.mountpoints import (
    MountEntry,
    MountError,
    check_before_mounting,
    control_path,
    local_record_path,
    local_records,
    make_runtime_directory,
    mount_at,
    mounts,
    unmount,
)
from osxfs_sim.mount.mounts.runtime_records import UNSYNCHRONIZED, has_ended, start_of
from osxfs_sim.mount.mounts.volumes import Volumes, check_volumes
from osxfs_sim.mount.server import control_socket
from osxfs_sim.mount.server.signals import catch_early_signals, signals_of_the_end
from osxfs_sim.mount.server.status import Counting, processor_s, status_without_requests
from osxfs_sim.mount.writeback.unwritten import check_unwritten
from osxfs_sim.settings import EmulatedSystem, ShareSettings
from osxfs_sim.synchronize import Claim, SyncError, Synchronizer

log = logging.getLogger(__name__)

Ready = Callable[[ShareStatus], None]

_BACKGROUND_NICENESS = 19
_UNMOUNT_ATTEMPTS = 6
_LOOK_AT_THE_LATEST_S = 2.0


def serve_local(settings: ShareSettings, on_ready: Ready, say: Callable[[str], None]) -> None:
    """Mount a share without requests, serve it to its end. Raises MountError, ProfileError.

    Until it is unmounted or a signal comes; then it cleans up. *on_ready* is called once with the
    first status when the share can be used; until then *say* is told what takes its time. Raises
    MountError or ProfileError, with one line for the user, before that.
    """
    system = settings.system()
    if os.geteuid() != 0:
        raise MountError(
            f"a share with the profile {system.profile.name} needs root, who alone may mount a "
            "directory: mount as root"
        )
    directory = make_runtime_directory(0)
    source, mountpoint = check_before_mounting(settings.source, settings.mountpoint)
    volumes = check_volumes(settings.volumes, source, mountpoint)
    kept_in = Path(settings.state_directory or state_directory(server_user(None)))
    # Only a share that makes requests can recover them; the remedy says how.
    check_unwritten(kept_in, source, None, say)
    copy, state = _places(settings, system, source, mountpoint)
    if copy is not None:
        check_volumes(volumes, str(copy), mountpoint)
    os.chdir("/")  # keep no directory of the caller's busy
    early = catch_early_signals()
    share = _LocalShare(settings, system, source, mountpoint, copy, state)
    with contextlib.ExitStack() as cleaning_up:
        if copy is not None:
            record_source(Path(settings.state_directory or _own_state()), copy, source)
            share.synchronizer = _prepare_copy(
                system, source, copy, state, lambda: bool(early), cleaning_up
            )
        if share.synchronizer is not None:
            cleaning_up.callback(share.end_synchronizer)
        entry = _bind(str(copy or source), mountpoint)
        record = local_record_path(mountpoint)
        os.close(at.make_private(record.parent))
        _forget_what_is_gone()
        cleaning_up.callback(at.remove, record)
        share.entry, share.record = entry, record
        cleaning_up.callback(share.unmount)
        share.write_record()
        share.volumes = Volumes(volumes, mountpoint, entry.device)
        share.volumes.mount()
        share.write_record()
        trio.run(share.run, control_path(directory, mountpoint), on_ready, early)
    if share.failure is not None:
        raise share.failure


def _places(
    settings: ShareSettings, system: EmulatedSystem, source: str, mountpoint: str
) -> tuple[Path | None, Path]:
    """Where the copy is, if there is to be one, and where the synchronizer keeps its state."""
    state = Path(settings.state_directory or _own_state())
    if system.profile.transport is not Transport.COPY:
        return None, state
    copy = Path(settings.copy) if settings.copy else copy_place(state, source)
    copy = check_copy(copy, source, mountpoint)
    return copy, state / "synchronized" / copy_place(state, f"{source}\0{copy}").name


def _own_state() -> Path:
    return state_directory(server_user(None))


def _prepare_copy(
    system: EmulatedSystem,
    source: str,
    copy: Path,
    state: Path,
    is_unwanted: Callable[[], bool],
    cleaning_up: contextlib.ExitStack,
) -> Synchronizer | None:
    """The copy, filled. Raises MountError."""
    spec = system.synchronization
    if spec is None:
        if not is_made(copy):
            _claim(source, copy).release()  # before anything is put there
            make_copy(source, copy, is_unwanted)
        cleaning_up.callback(_claim(source, copy).release)
        return None
    try:
        make_empty(copy, source)
        os.close(at.make_private(state))
        at.remove(state / UNSYNCHRONIZED)
        # What travels in the background gives way to the work, as on a Mac with cores to spare.
        os.setpriority(os.PRIO_PROCESS, 0, _BACKGROUND_NICENESS)
        synchronizer = Synchronizer(Path(source), copy, state, spec)
        synchronizer.start()
    except SyncError as error:
        raise MountError(str(error)) from error
    except OSError as error:
        raise MountError(f"no copy can be made at {copy}: {error.strerror}") from error
    return synchronizer


def _claim(source: str, copy: Path) -> Claim:
    try:
        return Claim(os.fsencode(source), os.fsencode(copy), is_only_read=True)
    except SyncError as error:
        raise MountError(str(error)) from error
    except OSError as error:
        raise MountError(f"no copy can be made at {copy}: {error.strerror}") from error


def _forget_what_is_gone() -> None:
    """Take away the records of killed servers whose mounts somebody else has unmounted.

    Not of one that has just begun, and whose mount we might have looked too early for; nor of
    one whose mount only another mount namespace has.
    """
    records = local_records()
    there = {entry.identity for entry in mounts()}
    ours = _mount_namespace()
    for record in records:
        is_there = tuple(record["identity"]) in there
        pid = int(record["pid"])
        is_alive = start_of(pid) == record.get("started") and not has_ended(pid)
        if not is_there and not is_alive and record.get("namespace", ours) == ours:
            at.remove(local_record_path(record["mountpoint"]))


def _mount_namespace() -> str:
    return os.readlink("/proc/self/ns/mnt")


def _bind(directory: str, mountpoint: str) -> MountEntry:
    try:
        # Neither can be swapped for another since it was looked at.
        with at.chased(directory) as shown, at.chased(mountpoint) as place:
            if shown.fd < 0 or place.fd < 0:
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
            syscalls.bind_mount(at.magic_link(shown.fd), at.magic_link(place.fd).encode())
    except OSError as error:
        raise MountError(
            f"{directory} cannot be mounted at {mountpoint}: {error.strerror}"
        ) from error
    entry = mount_at(mountpoint)
    if entry is None:
        raise MountError(f"{mountpoint} was unmounted at once, by somebody else")
    return entry


class _LocalShare:
    """What lives as long as the mount."""

    def __init__(
        self,
        settings: ShareSettings,
        system: EmulatedSystem,
        source: str,
        mountpoint: str,
        copy: Path | None,
        state: Path,
    ) -> None:
        self.settings = settings
        self.system = system
        self.source = source
        self.mountpoint = mountpoint
        self.copy = copy
        self.state = state
        """Of the synchronizer, where there is one."""
        self.synchronizer: Synchronizer | None = None
        self.entry: MountEntry | None = None
        self.record: Path | None = None
        self.volumes = Volumes((), mountpoint, "")
        self.failure: MountError | None = None
        """What could not be synchronized at the end."""
        self._stop = trio.Event()
        self.counting = Counting()

    def write_record(self) -> None:
        """Say which mount is ours, for who finds it without us."""
        assert self.entry is not None
        assert self.record is not None
        text = json.dumps(
            {
                "mountpoint": self.mountpoint,
                "identity": self.entry.identity,
                "device": self.entry.device,
                "volumes": self.volumes.record(),
                "pid": os.getpid(),
                "started": start_of(os.getpid()),
                "namespace": _mount_namespace(),
                "copy": "" if self.synchronizer is None else str(self.copy),
            }
        )
        write_output(self.record, text, mode=0o600)

    async def run(self, socket_path: Path, on_ready: Ready, early: list[int]) -> None:
        """Answer until the mount is gone."""
        async with trio.open_nursery() as nursery:
            await nursery.start(signals_of_the_end, self._stop, early)
            answers: dict[str, control_socket.Answer] = {
                "status": self.status,
                "reset": self.reset,
                "flush": self._flush,
                "settle": self._settle,
                "stop": self._answer_stop,
                "release": lambda: {"released": False},
                "live-counters": self._live_counters,
                "mount-volumes": self._answer_mount_volumes,
                "unmount-volumes": self._answer_unmount_volumes,
                "sync-resume": self._resume,
                "drop-events": self._has_no_requests,
                "start-trace": self._has_no_requests,
                "stop-trace": self._has_no_requests,
            }
            await nursery.start(control_socket.serve, socket_path, answers)
            self.counting.reset()
            on_ready(self.status())
            nursery.start_soon(self._wait_until_unmounted)
            await self._stop.wait()
            nursery.cancel_scope.cancel()

    async def _wait_until_unmounted(self) -> None:
        """Somebody may unmount it without us: then it ends. The kernel tells of any change."""
        with open("/proc/self/mountinfo", "rb") as table:
            poller = select.poll()
            poller.register(table, select.POLLPRI)
            while self._is_mounted():
                # In a thread, as trio waits for what can be read, and the table always can.
                await trio.to_thread.run_sync(
                    poller.poll, _LOOK_AT_THE_LATEST_S * 1_000, abandon_on_cancel=True
                )
        self._stop.set()

    def _is_mounted(self) -> bool:
        entry = self.entry
        return entry is not None and any(each.identity == entry.identity for each in mounts())

    # Its end

    def unmount(self) -> None:
        """Take the mount away, and the volumes in it; only the name, where somebody is inside."""
        try:
            self.volumes.unmount()
        except MountError as error:
            log.info("%s", error)  # the share takes it along
        for attempt in range(_UNMOUNT_ATTEMPTS):
            if not self._is_mounted():
                return
            try:
                unmount(self.mountpoint)
                return
            except OSError as error:
                if error.errno != errno.EBUSY:
                    log.warning("cannot unmount %s: %s", self.mountpoint, error)
                    return
                time.sleep(0.01 * attempt)
        if self._is_mounted():
            unmount(self.mountpoint, lazily=True)

    def end_synchronizer(self) -> None:
        """The guest has done its last; the host gets it."""
        assert self.synchronizer is not None
        try:
            self.synchronizer.stop()
            halted = self.synchronizer.status().halted
            if halted is not None:
                raise SyncError(
                    f"the synchronization had halted ({halted}): what the guest has changed "
                    f"since is in {self.copy} only, until the share is mounted again"
                )
        except SyncError as error:
            self.failure = MountError(f"{self.mountpoint} is unmounted, but {error}")
            log.error("%s", error)
            with contextlib.suppress(OSError):  # for whoever waits for our end
                write_output(self.state / UNSYNCHRONIZED, str(self.failure), mode=0o600)

    def _answer_stop(self) -> dict[str, Any]:
        self._stop.set()
        return {"stopping": True}

    async def _answer_mount_volumes(self) -> dict[str, Any]:
        await trio.to_thread.run_sync(self.volumes.mount)
        self.write_record()
        return {"volumes": self.volumes.status()}

    async def _answer_unmount_volumes(self) -> dict[str, Any]:
        await trio.to_thread.run_sync(self.volumes.unmount)
        self.write_record()
        return {"volumes": self.volumes.status()}

    # What it tells

    def _has_no_requests(self, **_: Any) -> dict[str, Any]:
        raise MountError(
            f"the work on a share with the profile {self.system.profile.name} makes no requests: "
            "there is nothing to trace, and there are no events to lose"
        )

    async def _flush(self) -> ShareStatus:
        if self.synchronizer is not None:
            try:
                await trio.to_thread.run_sync(self.synchronizer.flush)
            except SyncError as error:
                raise MountError(str(error)) from error
        return self.status()

    async def _settle(self, within_s: float) -> ShareStatus:
        """Where the guest works in a copy: after a cycle that has seen all. Raises MountError."""
        with trio.move_on_after(within_s) as waiting:
            if self.synchronizer is not None:
                try:
                    await trio.to_thread.run_sync(self.synchronizer.flush, abandon_on_cancel=True)
                except SyncError as error:
                    raise MountError(str(error)) from error
        if waiting.cancelled_caught:
            raise control_socket.not_settled(within_s)
        return self.status()

    async def _resume(self) -> ShareStatus:
        if self.synchronizer is None:
            raise MountError("it is not synchronized: there is nothing to go on with")
        try:
            await trio.to_thread.run_sync(self.synchronizer.resume)
        except SyncError as error:
            raise MountError(str(error)) from error
        return self.status()

    def reset(self) -> ShareStatus:
        status = self.status()
        self.counting.reset()
        return status

    def _live_counters(self, top: int = 10) -> dict[str, Any]:
        """That nothing is asked, in the words of a share that is."""
        return {
            "interval_s": self.counting.counting_s,
            "requests": {},
            "missing_lookups": 0,
            "answered_by": {},
            "target_p50_ns": None,
            "observed_p50_ns": None,
            "observed_p99_ns": None,
            "directories": [],
            "profile": self.system.profile.name,
            "source": self.source,
            "in_flight": 0,
            "inodes": 0,
            "open_handles": 0,
            "server_processor_s": processor_s(),
            "write_back": None,
        }

    def status(self) -> ShareStatus:
        """As of any share (model/status.py), with nothing where there are no requests."""
        volumes = self.volumes.status()
        return status_without_requests(
            self.settings,
            self.system,
            self.source,
            self.mountpoint,
            self.counting,
            volumes=volumes,
            warnings=[*self.volumes.warnings(volumes), *self._warnings()],
            copy=None if self.copy is None else str(self.copy),
            synchronization=None if self.synchronizer is None else self.synchronizer.status(),
        )

    def _warnings(self) -> Iterator[str]:
        if self.synchronizer is not None:
            state = self.synchronizer.status()
            if state.halted is not None:
                yield f"the synchronization has halted: {state.halted}"
            if state.conflicts_total:
                yield (
                    f"{state.conflicts_total} conflicts: osxfs-sim sync status "
                    f"{quoted(self.mountpoint)} lists them"
                )
        below = str(self.copy or self.source).rstrip("/") + "/"
        hidden = [entry.mountpoint for entry in mounts() if entry.mountpoint.startswith(below)]
        if hidden and self.copy is None:
            yield f"what is mounted inside the source is not seen, such as {hidden[0]}"
