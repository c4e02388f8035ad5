"""The life of a mount: start, signals, end, clean-up. Runs in a process of its own.

A share ends in one of three ways, and cleanly in each: somebody unmounts it,
the process gets a signal, or ``stop`` comes over the control socket. In the
latter two we unmount ourselves while still serving, because the kernel writes
out what it holds (pages of shared mappings) only through us.
"""

import errno
import gc
import logging
import math
import os
import resource
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyfuse3
import trio

from osxfs_sim.model.caching import Consistent
from osxfs_sim.model.latency import LatencyModel
from osxfs_sim.model.names import RULES
from osxfs_sim.model.operations import Operation, OperationClass
from osxfs_sim.model.ownership import Ownership
from osxfs_sim.model.profile import FileRules, GuestAttributes
from osxfs_sim.model.units import format_duration
from osxfs_sim.mount import control, syscalls
from osxfs_sim.mount.backing import Backing
from osxfs_sim.mount.calibration import (
    NOT_CALIBRATED,
    Calibration,
    CalibrationError,
    calibrate,
)
from osxfs_sim.mount.collisions import Collision, collisions_below
from osxfs_sim.mount.crossings import Crossings, Outside
from osxfs_sim.mount.handlers import Handlers
from osxfs_sim.mount.identity import ServerUser, server_user, state_directory
from osxfs_sim.mount.inodes import InodeTable
from osxfs_sim.mount.mountpoints import (
    MountError,
    check_allow_other,
    check_before_mounting,
    check_fuse,
    control_path,
    make_runtime_directory,
    mount_at,
    mounts,
    unmount,
)
from osxfs_sim.mount.owners import HostOwners, KnownCaller, OsxfsOwners, Owners
from osxfs_sim.mount.reactor import Reactor, Wake
from osxfs_sim.mount.spellings import ExactNames, FoldedNames, Spellings
from osxfs_sim.mount.wakefulness import sleep_precisely
from osxfs_sim.settings import EmulatedSystem, ShareSettings

log = logging.getLogger(__name__)

_MOST_DIRECTORY_DESCRIPTORS = 1024
_FILES_RESERVED = 512
_STOPPING = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
# After a signal: how long processes that still use the share are served.
_GRACE_S = 1.0
_UNMOUNT_ATTEMPTS = 6

Ready = Callable[[dict[str, Any]], None]


def serve(settings: ShareSettings, on_ready: Ready) -> None:
    """Mount the share, serve it until it is unmounted or a signal comes, clean up.

    *on_ready* is called once with the first status when the share can be used.
    Raises MountError or ProfileError, with one line for the user, before that.
    """
    system = settings.system()
    user = server_user(settings.user)
    with user.acting():
        source, mountpoint = check_before_mounting(settings.source, settings.mountpoint)
    check_fuse()
    allow_other = check_allow_other(settings.allow_other)
    directory = make_runtime_directory(user.uid)
    _prepare_process()
    with user.acting():
        root_fd = os.open(source, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    inodes = InodeTable(os.fstat(root_fd))
    backing = Backing(inodes.root, root_fd, most_descriptors=_directory_descriptors())
    crossings = Crossings(LatencyModel(system.latency, settings.seed), Outside({0: 0}))
    reactor = Reactor(pyfuse3._session_loop)  # type: ignore[attr-defined]
    owners = _owners(system.files, user, settings.state_directory)
    rules = RULES[system.files.names]
    spellings = (
        FoldedNames(rules, reactor.end_all_names, mountpoint) if rules.folds else ExactNames()
    )
    handlers = Handlers(
        reactor,
        inodes,
        backing,
        crossings,
        system.policy,
        owners,
        spellings,
        guest_attributes=system.files.extended_attributes is GuestAttributes.HOST,
        privileged=user.uid == 0,
    )
    pyfuse3.trio = reactor.as_trio()  # type: ignore[attr-defined]
    options = {f"fsname=osxfs-sim#{_plain(system.profile.name)}", "subtype=osxfs-sim"}
    if allow_other:
        options.add("allow_other")
    if system.files.ownership is Ownership.HOST:
        options.add("default_permissions")
    # Until somebody listens for them, a signal would leave a dead mount behind.
    signal.pthread_sigmask(signal.SIG_BLOCK, _STOPPING)
    try:
        with user.mounting():
            pyfuse3.init(handlers, mountpoint, options)
        user.become()
    except RuntimeError as error:
        backing.close()
        raise MountError(
            f"the kernel refused to mount at {mountpoint}: mounting needs root, or fusermount3 "
            "with its set-user-id bit and write access to the mount point"
        ) from error
    session = _Session(
        settings,
        system,
        user,
        source,
        mountpoint,
        reactor,
        handlers,
        owners,
        spellings,
        inodes,
        backing,
        crossings,
    )
    try:
        trio.run(session.run, control_path(directory, mountpoint), on_ready)
    finally:
        session.close()


def _owners(files: FileRules, user: ServerUser, state: str | None) -> Owners:
    if files.ownership is Ownership.HOST:
        return HostOwners(KnownCaller(user.uid, user.gid))
    directory = state_directory(user) if state is None else Path(state)
    return OsxfsOwners(directory, user.uid)


def _plain(name: str) -> str:
    """*name* without what would need escaping in a mount option."""
    return "".join(letter if letter.isascii() and letter.isalnum() else "-" for letter in name)


def _prepare_process() -> None:
    os.chdir("/")  # keep no directory of the caller's busy
    # Modes come from the guest, where its own umask was already applied.
    os.umask(0)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    sleep_precisely()
    # A thread that finishes a host call shall not wait 5 ms for the interpreter.
    sys.setswitchinterval(0.000_5)
    logging.getLogger("pyfuse3").setLevel(logging.CRITICAL)  # it reports replies to killed callers


def _directory_descriptors() -> int:
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(16, min(_MOST_DIRECTORY_DESCRIPTORS, (soft - _FILES_RESERVED) // 2))


class _Session:
    """What lives as long as the mount."""

    def __init__(
        self,
        settings: ShareSettings,
        system: EmulatedSystem,
        user: ServerUser,
        source: str,
        mountpoint: str,
        reactor: Reactor,
        handlers: Handlers,
        owners: Owners,
        spellings: Spellings,
        inodes: InodeTable,
        backing: Backing,
        crossings: Crossings,
    ) -> None:
        self.settings = settings
        self.system = system
        self.user = user
        self.source = source
        self.mountpoint = mountpoint
        self.reactor = reactor
        self.handlers = handlers
        self.owners = owners
        self.spellings = spellings
        self.inodes = inodes
        self.backing = backing
        self.crossings = crossings
        self.calibration: Calibration = NOT_CALIBRATED
        mounted = mount_at(mountpoint)
        self._device = mounted.device if mounted else ""
        self._started_ns = time.monotonic_ns()
        self._counting_since_ns = self._started_ns
        self._processor_before_s = 0.0
        self._stop = trio.Event()

    async def run(self, socket_path: Path, on_ready: Ready) -> None:
        """Serve until the mount is gone."""
        async with trio.open_nursery() as nursery:
            await nursery.start(self._wait_for_signals)
            nursery.start_soon(self._wait_for_stop)
            nursery.start_soon(self._serve_requests, nursery.cancel_scope)
            if self.settings.calibrate:
                await self._calibrate()
            gc.collect()
            gc.freeze()
            gc.disable()
            self.reactor.when_idle = self._tidy
            if isinstance(self.spellings, FoldedNames):
                while not self.reactor.serves:
                    await trio.lowlevel.checkpoint()
                self.spellings.check_kernel()
                for collision in await self._collisions():
                    self.spellings.collided(collision)
            answers = {"status": self.status, "reset": self.reset, "stop": self._answer_stop}
            await nursery.start(control.serve, socket_path, answers)
            self.reset()
            on_ready(self.status())

    async def _serve_requests(self, everything: trio.CancelScope) -> None:
        await self.reactor.run()
        everything.cancel()

    async def _collisions(self) -> list[Collision]:
        """What the user shall know before anything in the tree is touched."""
        behind = {os.fsencode(entry.mountpoint) for entry in mounts()}
        root_fd, rules = self.inodes.root.path_fd, RULES[self.system.files.names]
        return await trio.to_thread.run_sync(collisions_below, root_fd, rules, behind)

    async def _calibrate(self) -> None:
        policy = self.handlers.policy
        self.handlers.policy = Consistent()
        try:
            self.calibration = await calibrate(
                self.reactor, self.crossings, self.mountpoint, self.system.latency
            )
        except* (CalibrationError, trio.BrokenResourceError, OSError) as errors:
            log.warning("not calibrated: %s", errors.exceptions)
        finally:
            self.handlers.policy = policy
        self.crossings.outside = Outside(self.calibration.outside_ns)
        for wake, wake_ns in self.calibration.wake_ns.items():
            self.reactor.wake_ns[wake] = wake_ns

    # Its end

    async def _wait_for_signals(
        self, task_status: "trio.TaskStatus[None]" = trio.TASK_STATUS_IGNORED
    ) -> None:
        with trio.open_signal_receiver(*_STOPPING) as signals:
            signal.pthread_sigmask(signal.SIG_UNBLOCK, _STOPPING)
            task_status.started()
            async for _ in signals:
                self._stop.set()

    def _answer_stop(self) -> dict[str, Any]:
        self._stop.set()
        return {"stopping": True}

    async def _wait_for_stop(self) -> None:
        """Unmount while requests are still served; the reactor then ends by itself."""
        await self._stop.wait()
        unmounted = await trio.to_thread.run_sync(
            _unmount_and_write_out, self.mountpoint, self._device
        )
        if unmounted:
            return
        # Somebody is still inside. The name is gone, what was written is written
        # out; let them finish what they are at, and no longer.
        await trio.sleep(_GRACE_S)
        self.reactor.ended = True
        self.reactor.wake_up()

    def close(self) -> None:
        """Let go of everything; after run() has returned or failed."""
        self.reactor.close()
        self.handlers.close()
        self.owners.close()
        self.backing.close()
        still_mounted = _is_mounted(self.mountpoint, self._device)
        # Closing the device ends the session of whoever still uses it (ENOTCONN).
        pyfuse3.close(unmount=still_mounted)

    # What it tells

    def _tidy(self) -> None:
        """When nobody has asked anything for a while: collect garbage, give memory back."""
        gc.collect()
        self.inodes.compact()
        syscalls.give_memory_back()

    def reset(self) -> dict[str, Any]:
        """The status so far; counts, receipt and processor time then start from nothing."""
        status = self.status()
        self.crossings.start_counting_anew()
        self.reactor.wakes = [0] * len(Wake)
        self._counting_since_ns = time.monotonic_ns()
        self._processor_before_s = _processor_s()
        return status

    def status(self) -> dict[str, Any]:
        """Everything worth knowing, as plain values; documented in docs/reference.md."""
        latency = self.system.latency
        counts = self.crossings.counts
        return {
            "mountpoint": self.mountpoint,
            "source": self.source,
            "pid": os.getpid(),
            "profile": self.system.profile.name,
            "title": self.system.profile.title,
            "policy": self.system.policy.describe(),
            "user": str(self.user),
            "ownership": self.owners.report(),
            "names": self.spellings.report(),
            "extended_attributes": self.system.files.extended_attributes.value,
            "seed": self.settings.seed,
            "dilate": self.system.dilate,
            "latency": {
                "base_ns": {
                    operation_class.label: latency.base_ns[operation_class]
                    for operation_class in OperationClass
                },
                "bandwidth_bytes_per_s": latency.bandwidth_bytes_per_s,
                "distribution": latency.distribution.describe(),
                "served_at_once": latency.served_at_once,
            },
            "calibration": {
                "calibrated": self.calibration is not NOT_CALIBRATED,
                "floor_ns": self.calibration.floor_ns,
                "outside_ns": {str(k): v for k, v in self.calibration.outside_ns.items()},
                "wake_ns": {w.name.lower(): ns for w, ns in self.calibration.wake_ns.items()},
            },
            "warnings": self.warnings(),
            "up_s": (time.monotonic_ns() - self._started_ns) / 1e9,
            "counting_s": (time.monotonic_ns() - self._counting_since_ns) / 1e9,
            "server_processor_s": _processor_s() - self._processor_before_s,
            "requests": {op.name: counts[op] for op in Operation if counts[op]},
            "missing_lookups": self.crossings.missing_lookups,
            "wakes": {wake.name.lower(): self.reactor.wakes[wake] for wake in Wake},
            "receipt": self.crossings.receipt.report(),
            "in_flight": self.reactor.in_flight,
            "inodes": len(self.inodes),
            "open_handles": self.handlers.open_handles,
            "descriptors": self.backing.descriptors,
            "pm_qos_held": self.reactor.awake.held,
        }

    def warnings(self) -> list[str]:
        """What the user should know before trusting a number; one line each."""
        warnings = []
        if self.settings.calibrate and self.calibration is NOT_CALIBRATED:
            warnings.append(
                "calibration failed: what lies outside the server (some 10 to 20 us a request) "
                "is not subtracted; mount again"
            )
        floor_ns = self.calibration.floor_ns
        latency = self.system.latency
        asked = {base_ns for base_ns in latency.base_ns if base_ns}
        out_of_reach = [base_ns for base_ns in asked if base_ns < floor_ns]
        if out_of_reach:
            factor = math.ceil(floor_ns / min(out_of_reach) * 1.25 * self.system.dilate)
            warnings.append(
                f"{format_duration(min(out_of_reach))} is out of reach: this machine's floor is "
                f"{format_duration(floor_ns)} a request; --dilate {factor} brings it into reach"
            )
        if asked and not self.reactor.awake.available:
            warnings.append(
                "without root the processors cannot be kept awake (PM QoS): "
                "expect latencies to scatter more, above all after idle times"
            )
        for label, line in self.crossings.receipt.report().items():
            if line["within_tolerance"] is False:
                warnings.append(
                    f"{label}: asked for {format_duration(line['asked_p50_ns'])}, achieved "
                    f"{format_duration(line['achieved_p50_ns'])} (median), "
                    f"{line['late']} of {line['count']} late: out of tolerance"
                )
        warnings += self._warnings_of_files()
        return warnings

    def _warnings_of_files(self) -> list[str]:
        warnings = []
        owners, names = self.owners.report(), self.spellings.report()
        if owners.get("malformed"):
            warnings.append(
                f"{owners['malformed']} objects have a malformed owner attribute, taken as unset; "
                f"the first is {owners['first_malformed']}"
            )
        if names.get("directories_with_collisions"):
            warnings.append(
                f"{names['directories_with_collisions']} directories hold names that "
                f"{names['rules']} takes for one; each is reached by its own spelling only, other "
                f"spellings reach the first; {names['first_collision']}"
            )
        if not names.get("names_can_be_ended", True) and self.settings.calibrate:
            warnings.append(
                "this kernel (before 6.16) cannot end all cached names at once, so that under "
                f"{names['rules']} no name is believed: expect more LOOKUPs"
            )
        return warnings


def _processor_s() -> float:
    times = os.times()
    return times.user + times.system


def _is_mounted(mountpoint: str, device: str) -> bool:
    """Whether this very share is mounted there, and not one that came after it."""
    entry = mount_at(mountpoint)
    return entry is not None and entry.device == device


def _unmount_and_write_out(mountpoint: str, device: str) -> bool:
    """Unmount; where somebody is inside, write out, then take away the name only.

    Returns whether the mount is really gone. The kernel writes out dirty pages
    while unmounting and in syncfs(2), and the reactor serves those writes.
    """
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
