"""The life of a mount: start, signals, end, clean-up. Runs in a process of its own.

A share ends in one of three ways, and cleanly in each: somebody unmounts it,
the process gets a signal, or ``stop`` comes over the control socket. In the
latter two we unmount ourselves while still serving, because the kernel writes
out what it holds (pages of shared mappings) only through us.
"""

import contextlib
import errno
import gc
import importlib
import logging
import os
import resource
import subprocess
import sys
import time
from collections.abc import Callable, Coroutine
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyfuse3
import trio

from osxfs_sim.fs import at
from osxfs_sim.model.latency import NO_LATENCY, LatencyModel
from osxfs_sim.model.names import RULES
from osxfs_sim.model.protocol import USUAL, ProtocolSpec
from osxfs_sim.model.status import ShareStatus
from osxfs_sim.mount import syscalls
from osxfs_sim.mount.latency.calibration import (
    NOT_CALIBRATED,
    Calibration,
    CalibrationError,
    calibrate,
    start_prober,
)
from osxfs_sim.mount.latency.crossings import ClientOverhead
from osxfs_sim.mount.loop.fd_tables import run_without_fuse_fds
from osxfs_sim.mount.loop.pm_qos import set_timer_slack
from osxfs_sim.mount.mounts.cycles import (
    CycleGuard,
    check_cycles,
    check_outside,
    check_own_places,
    own_places,
)
from osxfs_sim.mount.mounts.exports_root import FOR_GOOD, ExportsRoot
from osxfs_sim.mount.mounts.identity import ServerUser, check_state_apart, server_user
from osxfs_sim.mount.mounts.mountpoints import (
    MountError,
    check_allow_other,
    check_before_mounting,
    check_fuse,
    control_path,
    make_runtime_directory,
    mount_at,
    mount_number_of,
    mounts,
    real_mountpoint,
    shares_in,
    unmount,
)
from osxfs_sim.mount.mounts.namespaces import are_left_over, copies_of, ways_in, write_out_by
from osxfs_sim.mount.mounts.runtime_records import Record, start_of, write_record
from osxfs_sim.mount.mounts.service_checks import check_host_services
from osxfs_sim.mount.mounts.services import HostServices
from osxfs_sim.mount.mounts.volumes import Volumes, check_volumes
from osxfs_sim.mount.server import control_socket
from osxfs_sim.mount.server.assembly import (
    Components,
    build,
    kept_in,
    make_private_directory,
    mount_options,
)
from osxfs_sim.mount.server.recovery_process import recover_apart
from osxfs_sim.mount.server.request_status import status_of_requests
from osxfs_sim.mount.server.signals import (
    catch_early_signals,
    end_at_once_by_faults,
    signals_of_the_end,
)
from osxfs_sim.mount.server.status import Counting, processor_s
from osxfs_sim.mount.server.supervision import Supervision
from osxfs_sim.mount.tree.collisions import Collision, collisions_below
from osxfs_sim.mount.tree.spellings import FoldedNames
from osxfs_sim.mount.writeback.journal_reader import UnfinishedJournal
from osxfs_sim.mount.writeback.unwritten import (
    check_unwritten,
    kept_aside,
    set_aside_message,
    unwritten_error,
)
from osxfs_sim.mount.writeback.writeback import WriteBack
from osxfs_sim.settings import EmulatedSystem, ShareSettings

log = logging.getLogger(__name__)

_OPEN_FILES_WANTED = 200_000
# After a signal: how long processes that still use the share are served.
_GRACE_S = 1.0
# Once it is unmounted, and everything is written out: how long who goes on asking is served.
_LONGEST_GRACE_S = 10.0
# How long a share of which there is but a copy somewhere must not have been asked anything, to
# be ended; and how often that is looked at, at first and later.
_UNUSED_S = 5.0
_LOOKED_AFTER_S = 60.0
# Settings by which a share is not what its profile says.
_UNMOUNT_ATTEMPTS = 6
_LOOK_AGAIN_S = 0.002
_LONGEST_SYNC_S = 30.0

Ready = Callable[[ShareStatus], None]


def serve(settings: ShareSettings, on_ready: Ready, say: Callable[[str], None]) -> None:
    """Mount a share and serve its requests until it ends. Raises MountError, ProfileError.

    Until it is unmounted or a signal comes; then it cleans up. *on_ready* is called once with the
    first status when the share can be used; until then *say* is told what takes its time. It
    raises, with one line for the user, before that; and at the end, where something could not be
    written back, or the mount was taken away from it.
    """
    system = settings.system()
    user = server_user(settings.user)
    directory = make_runtime_directory(user.uid)
    with contextlib.ExitStack() as cleaning_up:
        source = settings.source
        if settings.exports:
            mountpoint = real_mountpoint(settings.mountpoint)
            with user.acting():
                exports_root = ExportsRoot(directory, mountpoint, settings.exports)
            cleaning_up.callback(_as_user, user, exports_root.remove)
            source, system = (
                str(exports_root.path),
                replace(system, policy=FOR_GOOD, own_policy=None),
            )
        with user.acting():
            source, mountpoint = check_before_mounting(source, settings.mountpoint)
        check_fuse()
        allow_other = check_allow_other(settings.allow_other)
        host_services = check_host_services(settings.host_services)
        if settings.volumes and user.drops:
            raise MountError(
                "volumes are mounted by root, which the server of a --user is not: leave out one "
                "of the two"
            )
        volumes = check_volumes(settings.volumes, source, mountpoint)
        check_cycles(source, mountpoint)
        kept = kept_in(settings, user)
        check_own_places(mountpoint, own_places(user.uid, kept, settings.trace, host_services))
        if settings.trace is not None and user.drops:
            _load_recorder()  # whose files that user may not be able to read
        private_directory = None
        if host_services:
            with user.acting():
                private_directory = make_private_directory(directory, source)
            cleaning_up.callback(_as_user, user, private_directory.remove)
        with user.acting():
            state = kept_in(settings, user)
            if settings.state_directory is not None or system.write_back is not None:
                check_state_apart(state, source)
            unfinished = check_unwritten(state, source, settings.unwritten, say)
        _prepare_process()
        recovered = 0
        if unfinished:
            # While there is no mount, and nobody whom it could concern.
            changes = sum(len(left.changes) for left in unfinished)
            say(f"writing {changes} changes of an earlier share of {source} to the host")
            recovered = recover_apart(state, source, system.files.ownership, user)
        with user.acting():
            still_aside = kept_aside(state, source)
        components = build(settings, system, user, source, mountpoint, private_directory)
        early = catch_early_signals()
        supervision = Supervision(mountpoint, user.uid)
        try:
            with user.mounting(), _agreeing(system.profile.protocol, components):
                pyfuse3.init(
                    components.dispatcher, mountpoint, mount_options(settings, system, allow_other)
                )
        except LookupError as error:
            supervision.end()
            components.close()
            raise MountError(
                f"the kernel cannot be asked for what profile {system.profile.name} asks for in "
                f"[protocol]: {error}; use a profile with readdirplus = 'always' and "
                "parallel_directories = false, or pyfuse3 built from source"
            ) from error
        except RuntimeError as error:
            supervision.end()
            components.close()
            raise MountError(
                f"the kernel refused to mount at {mountpoint}: {_what_mounting_needs()}"
            ) from error
        session = Session(
            *(settings, system, user, source, mountpoint, components, early, volumes),
            *(supervision, recovered, still_aside),
        )
        session.prepare(host_services)
        user.become()
        try:
            session.keep_record()
            trio.run(session.run, control_path(directory, mountpoint), on_ready)
        finally:
            session.close()
    if session.failure is not None:
        raise session.failure


def _agreeing(
    spec: ProtocolSpec, components: Components
) -> contextlib.AbstractContextManager[None]:
    """Around the beginning of the session: what the kernel is asked for."""
    if spec == USUAL:
        return contextlib.nullcontext()
    # Loaded now: a usual share has no need of it.
    from osxfs_sim.mount.loop.negotiation import negotiating

    def read_names(fh: int, start_id: int, size_bytes: int) -> Coroutine[Any, Any, bytes]:
        return components.dispatcher.read_names(fh, start_id, size_bytes)

    return negotiating(spec, read_names, components.reactor.spawn)


def _as_user(user: ServerUser, call: Callable[[], None]) -> None:
    with user.acting():
        call()


def _prepare_process() -> None:
    os.chdir("/")  # keep no directory of the caller's busy
    # Modes come from the guest, where its own umask was already applied.
    os.umask(0)
    end_at_once_by_faults()
    _raise_descriptor_limit()
    set_timer_slack()
    # A thread that finishes a host call shall not wait 5 ms for the interpreter.
    sys.setswitchinterval(0.000_5)
    logging.getLogger("pyfuse3").setLevel(logging.CRITICAL)  # it reports replies to killed callers


def _raise_descriptor_limit() -> None:
    """Each file that the guest has open is one here: as many as we may have."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for limit in (max(hard, _OPEN_FILES_WANTED), hard):
        with contextlib.suppress(ValueError, OSError):  # beyond *hard* needs CAP_SYS_RESOURCE
            resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
            return


class Session:
    """What lives as long as the mount of a share that serves requests."""

    def __init__(
        self,
        settings: ShareSettings,
        system: EmulatedSystem,
        user: ServerUser,
        source: str,
        mountpoint: str,
        components: Components,
        early: list[int],
        volumes: tuple[tuple[str, str], ...],
        supervision: Supervision,
        recovered: int,
        still_aside: list[UnfinishedJournal],
    ) -> None:
        self.settings = settings
        self.system = system
        self.user = user
        self.supervision = supervision
        self.source = source
        self.mountpoint = mountpoint
        self.components = components
        self.reactor = components.reactor
        self.crossings = components.crossings
        self._early = early  # signals that came before anybody listened
        self._prober: subprocess.Popen[bytes] | None = None
        self.calibration: Calibration = NOT_CALIBRATED
        self._mounted = mount_at(mountpoint)
        self._device = self._mounted.device if self._mounted else ""
        if components.write_back is not None:
            components.write_back.journal.mounted(mountpoint, self._device)
        self._record: Path | None = None
        self.cycles = CycleGuard(self._device, components.inodes.root.path_fd)
        self.reactor.watch_mounts(self.cycles.fileno(), self.cycles.refresh)
        self.reactor.set_activity_callback(supervision.at_work)
        self.counting = Counting()
        self._stop = trio.Event()
        self._unmounted = trio.Event()
        self.volumes = Volumes(volumes, mountpoint, self._device)
        self.services: HostServices | None = None
        self.tracing = components.tracing
        self.recovered = recovered
        """Changes that an earlier share had left unwritten."""
        self.kept_aside = still_aside
        """What the host had refused of earlier shares, and is kept."""
        self.failure: MountError | None = None
        """Why it ended before it was ready, or what it could not write back."""

    def prepare(self, host_services: tuple[tuple[str, str], ...]) -> None:
        """Start the helper processes, while the server may still be root. Raises OSError.

        *host_services* are names and paths of the host's sockets.
        """
        if self._mounted is not None:
            self.supervision.mounted(
                self._mounted, wants_barrier=self.components.write_back is not None
            )
        if self.settings.calibrate:
            self._prober = start_prober(self.mountpoint, self.user)
        if host_services:
            self.services = HostServices(host_services, self.mountpoint, self._device)
            self.services.prepare(self.user)

    def keep_record(self) -> None:
        """Write the record by which others find the share; goes on where it cannot."""
        if self._mounted is None:
            return
        write_back = self.components.write_back
        record = Record(
            self.mountpoint,
            self._mounted.mount_id,
            self._device,
            self.source,
            mount_number_of(self.components.inodes.root.path_fd),
            self.user.uid,
            os.getpid(),
            start_of(os.getpid()),
            str(kept_in(self.settings, self.user)),
            "" if write_back is None else str(write_back.journal.directory),
        )
        try:
            self._record = write_record(self.user.uid, record)
        except OSError as error:
            log.warning("no record of the share can be kept: %s", error)

    async def run(self, socket_path: Path, on_ready: Ready) -> None:
        """Serve until the mount is gone; *on_ready* gets the first status; *failure* has errors."""
        async with trio.open_nursery() as nursery:
            await nursery.start(signals_of_the_end, self._stop, self._early)
            nursery.start_soon(self._wait_for_stop)
            nursery.start_soon(self._serve_requests, nursery.cancel_scope)
            nursery.start_soon(self.supervision.serve, self._answer_sync, self._unmounted.set)
            nursery.start_soon(self._look_after_unmounted)
            if self._prober is not None:
                await self._calibrate(self._prober)
            if self.services is not None and not await self._start_services(self.services):
                return  # once it is unmounted
            gc.collect()
            gc.freeze()
            gc.disable()
            self.reactor.set_idle_callback(self._on_idle)
            if isinstance(self.components.spellings, FoldedNames):
                while not self.reactor.serves:
                    await trio.lowlevel.checkpoint()
                self.components.spellings.check_kernel()
                for collision in await self._collisions():
                    self.components.spellings.collided(collision)
            answers = {
                "status": self.status,
                "reset": self.reset,
                "stop": self._answer_stop,
                "release": self._answer_release,
                "drop-events": self._drop_events,
                "flush": self._flush,
                "settle": self._settle,
                "start-trace": self._start_trace,
                "stop-trace": self._stop_trace,
                "live-counters": self._live_counters,
                "mount-volumes": self._answer_mount_volumes,
                "unmount-volumes": self._answer_unmount_volumes,
            }
            self.components.owners.check()
            if self.components.host_events is not None:
                while not self.reactor.serves:
                    await trio.lowlevel.checkpoint()
                self.components.host_events.start()
                with self.crossings.without_latency():
                    open_mount = self.components.host_events.open_mount
                    await trio.to_thread.run_sync(run_without_fuse_fds, open_mount)
            if self.settings.volumes and not await self._mount_volumes():
                return  # once it is unmounted
            if self.settings.trace is not None:
                try:
                    await self._start_trace(self.settings.trace)
                except MountError as error:
                    self.failure = error
                    self._stop.set()
                    return  # once it is unmounted
            await nursery.start(control_socket.serve, socket_path, answers)
            self._reset_counts()
            on_ready(self.status())

    async def _serve_requests(self, everything: trio.CancelScope) -> None:
        await self.reactor.run()
        everything.cancel()

    async def _collisions(self) -> list[Collision]:
        """What the user shall know before anything in the tree is touched."""
        behind = {os.fsencode(entry.mountpoint) for entry in mounts()}
        root_fd, rules = self.components.inodes.root.path_fd, RULES[self.system.files.names]
        return await trio.to_thread.run_sync(collisions_below, root_fd, rules, behind)

    async def _calibrate(self, prober: "subprocess.Popen[bytes]") -> None:
        try:
            with self.components.caching.suspended():
                self.calibration = await calibrate(
                    self.reactor, self.crossings, prober, self.system.latency
                )
        except (CalibrationError, trio.BrokenResourceError, OSError) as error:
            log.warning("not calibrated: %r", error)
        self.crossings.set_client_overhead(ClientOverhead(self.calibration.client_overhead_ns))
        self.reactor.set_wake_latency(self.calibration.wake_ns)

    async def _start_services(self, host_services: HostServices) -> bool:
        """Bind the sockets in the share, by requests that are neither priced nor cached."""
        synthetic = self.components.synthetic
        assert synthetic is not None
        try:
            with self.components.caching.suspended(), self.crossings.without_latency():
                await trio.to_thread.run_sync(host_services.start, synthetic.allow_sockets_of)
        except MountError as error:
            if self._stop.is_set():
                return False  # it was unmounted meanwhile, as a signal asked
            self.failure = error
            self._stop.set()
        return self.failure is None

    async def _mount_volumes(self) -> bool:
        while not self.reactor.serves:
            await trio.lowlevel.checkpoint()
        try:
            await trio.to_thread.run_sync(self.volumes.mount)
        except MountError as error:
            if not self._stop.is_set():
                self.failure = error
                self._stop.set()
            return False
        self.components.caching.set_volumes(self.volumes.directories)
        if self.components.host_events is not None:
            self.components.host_events.set_volumes(self.volumes)
        return True

    async def _answer_mount_volumes(self) -> dict[str, Any]:
        """Where the share could not be unmounted after all."""
        await trio.to_thread.run_sync(self.volumes.mount)
        return {"volumes": self.volumes.status()}

    async def _answer_unmount_volumes(self) -> dict[str, Any]:
        """Before the share is unmounted. Raises MountError where one is in use."""
        await trio.to_thread.run_sync(self.volumes.unmount)
        return {"volumes": self.volumes.status()}

    # Its end

    def _answer_stop(self) -> dict[str, Any]:
        self._stop.set()
        return {"stopping": True}

    def _answer_release(self) -> dict[str, Any]:
        """Let go of what keeps the mount busy and is our own: host services, events."""
        events = self.components.host_events
        released = events is not None and events.pause()
        if self.services is not None and self.services.hold_the_mount:
            self.services.begin_to_stop()
            released = True
        return {"released": released}

    def _drop_events(self, count: int = 0, rate: float = 0.0) -> dict[str, Any]:
        events = self.components.host_events
        if events is None:
            raise MountError("it hears no host events: nothing can be dropped")
        return events.drop(count, rate)

    def _live_counters(self, top: int = 10) -> dict[str, Any]:
        """What is asked just now; with what changes from moment to moment of the status."""
        write_back = self.components.write_back
        return {
            **self.tracing.live_counters(top),
            "profile": self.system.profile.name,
            "source": self.source,
            "in_flight": self.reactor.in_flight,
            "inodes": len(self.components.inodes),
            "open_handles": len(self.components.handles),
            "server_processor_s": processor_s(),
            "write_back": None
            if write_back is None
            else {
                "pending_changes": len(write_back.changes),
                "pending_bytes": write_back.changes.bytes,
                "oldest_ns": write_back.oldest_age_ns,
            },
        }

    async def _start_trace(self, path: str, with_calls: bool = False) -> dict[str, Any]:
        # The library for its format takes a while to load: not in the thread of the requests.
        await trio.to_thread.run_sync(_load_recorder)
        await trio.to_thread.run_sync(check_outside, path, "the trace", self._device)
        self.tracing.start(Path(path), with_calls=with_calls, **self._answerer())
        return {"path": path}

    async def _stop_trace(
        self,
        command_start_ns: int | None = None,
        command_end_ns: int | None = None,
        notes: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        command = None
        if command_start_ns is not None and command_end_ns is not None:
            command = command_start_ns, command_end_ns
        complete = self.tracing.stop(command, notes)
        return await trio.to_thread.run_sync(complete)

    def _answerer(self) -> dict[str, Any]:
        """What answers, for a trace's header."""
        return {
            "profile": self.system.profile.name,
            "policy": self.system.policy.describe(),
            "floor_ns": self.calibration.floor_ns,
        }

    async def _flush(self) -> ShareStatus:
        """Flush everything that is pending now. Raises MountError where the host refuses."""
        write_back = self.components.write_back
        if write_back is None:
            return self.status()
        if not await _write_back_all(write_back):
            assert write_back.refusal is not None
            code, path = write_back.refusal
            raise MountError(
                f"{len(write_back.changes)} changes are not on the host, the first of {path}: "
                f"{os.strerror(code)}"
            )
        unreported = write_back.aside.take_unreported()
        if unreported:
            raise MountError(set_aside_message(unreported, write_back.aside.directory))
        write_back.trim_journal()
        return self.status()

    async def _settle(self, within_s: float) -> ShareStatus:
        """Have the guest told of all that the host has done until now. Raises MountError."""
        events = self.components.host_events
        if events is not None:
            asked_ns = time.monotonic_ns()
            self.reactor.wake_idle_task()
            with trio.move_on_after(within_s) as waiting:
                while not events.has_delivered(asked_ns):
                    await trio.sleep(_LOOK_AGAIN_S)
            if waiting.cancelled_caught:
                raise control_socket.not_settled(within_s, events.waiting)
        return self.status()

    async def _answer_sync(self) -> None:
        """For sync(2) of anybody on this machine: so it never waits for long, and never fails."""
        with trio.move_on_after(_LONGEST_SYNC_S) as waiting:
            try:
                await self._have_all_written()
            except OSError as error:
                log.warning("a sync(2) was answered though the host has not synced: %s", error)
            except Exception as error:
                self.reactor.internal_errors.record("sync(2)", error)
        if waiting.cancelled_caught:
            log.warning("a sync(2) was answered though not everything is on the host yet")

    async def _have_all_written(self) -> None:
        """The host has what was pending when this began, and has synced it.

        sync(2) can be told of no failure: where the host refuses, it does not wait.
        """
        write_back = self.components.write_back
        assert write_back is not None
        if not await _write_back_all(write_back):
            return
        await trio.to_thread.run_sync(syscalls.syncfs, self.components.inodes.root.path_fd)

    async def _wait_for_stop(self) -> None:
        """Unmount while requests are still served; the reactor then ends by itself."""
        await self._stop.wait()
        # Nobody measures a share that ends; what is written out shall not wait.
        self.crossings.set_latency(LatencyModel(NO_LATENCY, self.settings.seed))
        self.reactor.reply_at_once()
        if self.services is not None:
            await trio.to_thread.run_sync(self.services.stop)
        await trio.to_thread.run_sync(self._end_events)
        try:
            await trio.to_thread.run_sync(self.volumes.unmount)
        except MountError as error:
            log.info("%s", error)  # the share takes it along
        unmounted = await trio.to_thread.run_sync(
            run_without_fuse_fds, _unmount_and_write_out, self.mountpoint, self._device
        )
        if unmounted:
            # That is the end of the session, unless there are other mounts of it, or who was
            # inside when somebody unmounted it lazily.
            await self._write_out_elsewhere()
        else:
            # Somebody is still inside. The name is gone, what was written is written
            # out; let them finish what they are at, and no longer.
            await trio.sleep(_GRACE_S)
        self.reactor.end()

    async def _write_out_elsewhere(self) -> None:
        """Return when a session that the kernel does not end has all written out, and is quiet.

        Where the kernel cannot be told to, it is served until it ends: who unmounts the last
        of it may still be writing out.
        """
        pause_s = _GRACE_S
        while True:
            await trio.sleep(pause_s)
            written_out = await trio.to_thread.run_sync(
                run_without_fuse_fds, self._write_out_somewhere, abandon_on_cancel=True
            )
            if written_out:
                break
            pause_s = min(2 * pause_s, _LOOKED_AFTER_S)
        # syncfs(2) waits for no answer of ours: what the kernel has sent comes yet.
        with trio.move_on_after(_LONGEST_GRACE_S):
            while self.reactor.quiet_ns < _GRACE_S * 1e9:
                await trio.sleep(_GRACE_S / 10)

    def _write_out_somewhere(self) -> bool:
        """By a mount of the share elsewhere, or by whoever is inside. Whether there was a way."""
        paths = [copy.path for copy in copies_of(self._device)]
        if self._mounted is not None:
            paths += ways_in(self._mounted.mount_id)
        return write_out_by(paths, self._device)

    async def _look_after_unmounted(self) -> None:
        """End a share that somebody has unmounted, where nothing but left-over copies keep it."""
        await self._unmounted.wait()
        pause_s = _UNUSED_S
        while not self._stop.is_set():
            await trio.sleep(pause_s)
            if self._is_unused() and await trio.to_thread.run_sync(self._is_left_over):
                log.info("%s is unmounted, and copies of it are in nobody's use", self.mountpoint)
                self._stop.set()
            pause_s = min(1.5 * pause_s, _LOOKED_AFTER_S)

    def _is_unused(self) -> bool:
        return not len(self.components.handles) and self.reactor.quiet_ns > _UNUSED_S * 1e9

    def _is_left_over(self) -> bool:
        return are_left_over(copies_of(self._device), self.mountpoint)

    def _end_events(self) -> bool:
        """Whether no thread of theirs speaks to the kernel any more."""
        events = self.components.host_events
        return events is None or events.stop()

    def close(self) -> None:
        """Write back what is left and free everything, after run(); *failure* has errors."""
        self.supervision.ending()
        if self.supervision.has_cut:
            self.failure = MountError(
                f"the server of {self.mountpoint} waited for its own share, which was ended"
            )
            log.error("%s: what looks into it from within?", self.failure)
        if self.components.write_back is not None:
            self.components.write_back.journal.drains()
        if not self._end_events():
            # It waits for a lock that waits for an answer of ours, which will not come.
            # To go on would take the connection away under its feet.
            log.critical("host events do not end: the share is given up")
            # The supervisor does that then, and the mount goes along.
            os._exit(1)
        self._write_back_the_rest()
        if self.tracing.report() is not None:
            try:
                self.tracing.stop()()
            except MountError as error:
                self.failure = self.failure or error
                log.error("%s", error)
        self.cycles.close()
        self.components.close()
        still_mounted = _is_mounted(self.mountpoint, self._device)
        # Closing the device ends the session of whoever still uses it (ENOTCONN).
        pyfuse3.close(unmount=still_mounted)
        if self.services is not None:
            self.services.stop()
        if self._record is not None:
            at.remove(self._record)
        # libfuse leaves the mount of a connection that was aborted.
        self.supervision.end(mounted=still_mounted and _is_mounted(self.mountpoint, self._device))

    def _write_back_the_rest(self) -> None:
        """The guest has done its last; what the host does not take stays in the journal."""
        write_back = self.components.write_back
        if write_back is None:
            return
        left = write_back.finish()
        write_back.close(keep=left > 0)
        if left or write_back.aside.count:
            self.failure = unwritten_error(write_back.journal.directory, self.source)
            log.error("%s", self.failure)

    # What it tells

    def _on_idle(self) -> None:
        """When nobody has asked anything for a while: collect garbage, give memory back."""
        gc.collect()
        if self.components.write_back is not None:
            self.components.write_back.trim_journal()
        self.components.inodes.compact()
        syscalls.give_memory_back()

    def reset(self) -> ShareStatus:
        """The status until now; counts, receipt and processor time then begin at 0."""
        status = self.status()
        self._reset_counts()
        return status

    def _reset_counts(self) -> None:
        self.crossings.reset_counts()
        if self.components.write_back is not None:
            self.components.write_back.reset_counts()
        if self.system.own_policy is not None:
            self.system.own_policy.reset_counts()
        self.reactor.reset_wake_counts()
        self.counting.reset()

    def status(self) -> ShareStatus:
        """The whole status of the share, counts and warnings included (model/status.py)."""
        return status_of_requests(self)


def _what_mounting_needs() -> str:
    if os.geteuid() == 0:
        return (
            "root has no CAP_SYS_ADMIN here: in a container, add it (--device /dev/fuse "
            "--cap-add SYS_ADMIN)"
        )
    return (
        "mounting needs root, or fusermount3 with its set-user-id bit and write access to the "
        "mount point"
    )


async def _write_back_all(write_back: WriteBack) -> bool:
    """Flush everything that is pending now; False where the host refuses."""
    wanted, refusals = write_back.changes.last_sequence, write_back.refusals
    while not write_back.is_flushed(wanted):
        write_back.flush_up_to(wanted)
        if write_back.refusals > refusals and write_back.refusal is not None:
            return False
        await trio.sleep(_LOOK_AGAIN_S)
    return True


def _load_recorder() -> None:
    """Load what records a trace. Raises MountError where the server's user cannot."""
    try:
        importlib.import_module("osxfs_sim.trace.recorder")
    except (ImportError, OSError) as error:
        raise MountError(
            f"the server, of user {os.geteuid()}, cannot load what records a trace ({error}): "
            "mount with --trace, or have a Python that this user can read"
        ) from error


def _is_mounted(mountpoint: str, device: str) -> bool:
    """Whether this very share is mounted there, and not one that came after it."""
    entry = mount_at(mountpoint)
    return entry is not None and entry.device == device


def _unmount_and_write_out(mountpoint: str, device: str) -> bool:
    """Unmount; where somebody is inside, write out, then take away the name only.

    Returns whether the mount is really gone. The kernel writes out dirty pages
    while unmounting and in syncfs(2), and the reactor serves those writes.
    """
    entry = mount_at(mountpoint)
    if entry is not None and entry.device == device and entry.is_exports_root:
        for export in reversed(shares_in(mountpoint)):
            _unmount_and_write_out(export.mountpoint, export.device)
    for attempt in range(_UNMOUNT_ATTEMPTS):
        if not _is_mounted(mountpoint, device):
            return True  # somebody else was faster
        try:
            unmount(mountpoint)
            return True
        except OSError as error:
            if error.errno != errno.EBUSY:
                log.warning("cannot unmount %s: %s", mountpoint, error)
                break
            # A path walk in progress is reason enough for EBUSY.
            time.sleep(0.01 * attempt)
    for step in (syscalls.write_out, lambda path: unmount(path, lazily=True)):
        try:
            if _is_mounted(mountpoint, device):
                step(mountpoint)
        except OSError as error:
            log.warning("while unmounting %s: %s", mountpoint, error)
    return False
