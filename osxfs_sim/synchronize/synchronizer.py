"""The synchronization in a thread of its own, as a share runs it.

A cycle begins once nothing has changed for the latency that the spec has, or after
fifty times that while changes do not end. Its own changes are heard too: the cycle
after them finds nothing to do and changes nothing, so nothing is heard any more.
"""

import contextlib
import logging
import os
import select
import threading
import time
from pathlib import Path

from osxfs_sim.model.status import (
    ConflictStatus,
    SideStatus,
    SynchronizationStatus,
    SyncProblemStatus,
)
from osxfs_sim.model.synchronization import SyncSpec
from osxfs_sim.synchronize import snapshot
from osxfs_sim.synchronize.archive import Step, no_step
from osxfs_sim.synchronize.engine import CycleResult, Engine, HaltedError
from osxfs_sim.synchronize.errors import SyncError
from osxfs_sim.synchronize.reconcile import Side
from osxfs_sim.synchronize.roots import shown
from osxfs_sim.synchronize.watch import Heard, SideWatcher

log = logging.getLogger(__name__)

LISTED = 100
"""Conflicts and problems that the status has one by one; it counts them all."""
_MOST_LATENCIES = 50
_TRIES_AFTER_RACES = 4
_POLLING_NS = 1_000_000_000
"""Between whole scans, in ns, where not everything can be watched."""
_RESTING_NS = 3_600_000_000_000
_RESTED_FOR = 10
"""Looking at everything takes at most one part in so many of the time."""

SIDES: tuple[Side, Side] = ("host", "guest")


class Synchronizer:
    """Keeps *host* and *copy* the same in a thread of its own, by the rules of *spec*."""

    def __init__(
        self, host: Path, copy: Path, state: Path, spec: SyncSpec, *, step: Step = no_step
    ) -> None:
        """*state*: a private directory for the last agreed state, staging and the lock."""
        self._host, self._copy, self._state = (
            os.fsencode(os.path.abspath(path)) for path in (host, copy, state)
        )
        self._spec = spec
        self._step = step
        self._engine: Engine | None = None
        self._watchers: dict[Side, SideWatcher] = {}
        self._heard: dict[Side, Heard] = {side: Heard() for side in SIDES}
        self._thread: threading.Thread | None = None
        self._wake = -1
        self._condition = threading.Condition()
        # Below: changed and read with the condition held.
        self._phase = "stopped"
        self._halted: str | None = None
        self._is_resumed = False
        self._is_stopping = False
        self._wanted = 0
        self._done = 0
        self._result = CycleResult()
        self._cycles = self._full_scans = 0
        self._travelled = dict.fromkeys(SIDES, 0)
        self._raced = 0
        self._last_cycle_ns = self._full_scan_ns = 0
        self._save_problem: str | None = None

    # For the share

    def start(self) -> None:
        """Lock the state, synchronize once, and go on in a thread. Raises SyncError.

        A halt is no error here: the share comes up, and its user can look and resume.
        """
        if self._thread is not None:
            raise SyncError("it is synchronizing already")
        try:
            self._engine = Engine(
                self._host,
                self._copy,
                self._state,
                self._spec,
                on_directory=self._follow,
                on_phase=self._enter,
                step=self._step,
            )
            # Where there is no inotify to be had, everything is scanned again and again.
            with contextlib.suppress(OSError):
                for side in SIDES:
                    self._watchers[side] = SideWatcher()
            self._wake = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        except OSError as error:
            self._close()
            where = f"{shown(os.fsencode(error.filename))}: " if error.filename else ""
            raise SyncError(f"cannot synchronize: {where}{error.strerror}") from None
        except BaseException:
            self._close()
            raise
        self._is_stopping = False
        self._whole_cycles()
        self._save()
        self._thread = threading.Thread(target=self._run, name="synchronizer", daemon=True)
        self._thread.start()

    def flush(self) -> SynchronizationStatus:
        """Run a cycle that sees all earlier changes; returns the status. Raises SyncError."""
        with self._condition:
            if self._thread is None:
                raise SyncError("nothing is synchronized: start it first")
            self._wanted += 1
            wanted = self._wanted
            self._wake_up()
            while self._done < wanted and self._halted is None and self._thread is not None:
                self._condition.wait()
            if self._halted is not None:
                raise SyncError(f"the synchronization has halted: {self._halted}")
            if self._done < wanted:
                raise SyncError("the synchronization has ended: mount the share again")
        return self.status()

    def resume(self) -> None:
        """Go on after a halt, which the user has confirmed. Raises SyncError without a halt."""
        with self._condition:
            if self._halted is None:
                raise SyncError("it has not halted: there is nothing to resume")
            self._is_resumed = True
            self._wake_up()

    def stop(self) -> None:
        """Synchronize a last time and wait for the thread's end; never fails."""
        with self._condition:
            thread = self._thread
            self._is_stopping = True
            self._wake_up()
        if thread is not None:
            thread.join()

    def status(self) -> SynchronizationStatus:
        """A snapshot of progress, conflicts and problems, from any thread; never fails."""
        with self._condition:
            result = self._result
            problems = [
                SyncProblemStatus(path=_shown(problem.path), side=problem.side, why=problem.why)
                for problem in result.problems[:LISTED]
            ]
            if self._save_problem is not None:
                problems.append(SyncProblemStatus(path="", side="", why=self._save_problem))
            return SynchronizationStatus(
                mode=str(self._spec.mode),
                phase="halted" if self._halted is not None else self._phase,
                halted=self._halted,
                cycles=self._cycles,
                last_cycle_ns=self._last_cycle_ns,
                full_scans=self._full_scans,
                last_full_scan_ns=self._full_scan_ns,
                host=self._side("host", result.host),
                guest=self._side("guest", result.guest),
                changes_to_host=self._travelled["host"],
                changes_to_guest=self._travelled["guest"],
                changes_put_off=self._raced,
                conflicts=[
                    ConflictStatus(
                        path=_shown(conflict.path),
                        host=snapshot.kind_of(conflict.host),
                        guest=snapshot.kind_of(conflict.guest),
                        agreed=snapshot.kind_of(conflict.then),
                    )
                    for conflict in result.conflicts[:LISTED]
                ],
                conflicts_total=len(result.conflicts),
                problems=problems,
                problems_total=len(result.problems) + (self._save_problem is not None),
                watching="inotify" if self._is_watching_all() else "polling",
                directories_not_watched=sum(w.refused for w in self._watchers.values()),
                latency_ns=self._spec.latency_ns,
                rescan_ns=self._spec.rescan_ns,
                state=os.fsdecode(self._state),
            )

    def _side(self, side: Side, seen: snapshot.Subtree) -> SideStatus:
        totals = seen.totals
        return SideStatus(
            path=shown(self._host if side == "host" else self._copy),
            files=totals.files,
            directories=totals.directories,
            symlinks=totals.links,
            bytes=totals.size_bytes,
            ignored=totals.ignored,
            not_synchronized=totals.blocked,
        )

    # In the thread

    def _run(self) -> None:
        try:
            self._work()
        finally:
            self._close()
            with self._condition:
                self._phase = "stopped"
                self._thread = None
                self._condition.notify_all()

    def _work(self) -> None:
        rescan_at_ns = self._next_rescan_ns()
        while True:
            self._wait(rescan_at_ns)
            with self._condition:
                is_stopping, is_resumed = self._is_stopping, self._is_resumed
                self._is_resumed = False
                is_halted = self._halted is not None
                is_wanted = self._wanted > self._done
            if is_halted and not is_resumed:
                if is_stopping:
                    return
                continue
            is_due = time.monotonic_ns() >= rescan_at_ns
            if is_resumed or is_wanted or is_due or is_stopping or self._is_anything_lost():
                if is_resumed:
                    assert self._engine is not None
                    self._engine.confirm()
                self._whole_cycles()
                self._save()
                rescan_at_ns = self._next_rescan_ns()
            elif any(self._heard.values()):
                self._guarded_cycle(full=False)
            if is_stopping:
                return

    def _next_rescan_ns(self) -> int:
        every_ns = self._spec.rescan_ns
        if not self._is_watching_all():
            every_ns = min(every_ns, _POLLING_NS)
        return time.monotonic_ns() + max(every_ns, _RESTED_FOR * self._full_scan_ns)

    def _is_watching_all(self) -> bool:
        return len(self._watchers) == len(SIDES) and not any(
            watcher.refused for watcher in self._watchers.values()
        )

    def _is_anything_lost(self) -> bool:
        return any(heard.is_lost for heard in self._heard.values())

    def _wait(self, until_ns: int) -> None:
        """Until something has changed and nothing does any more, or there is a wish."""
        poll = select.poll()
        for fd in (self._wake, *(watcher.fd for watcher in self._watchers.values())):
            poll.register(fd, select.POLLIN)
        first_ns: int | None = None
        while True:
            end_ns = until_ns
            if self._halted is not None:
                end_ns = time.monotonic_ns() + _RESTING_NS
            elif first_ns is not None:
                longest_ns = first_ns + _MOST_LATENCIES * self._spec.latency_ns
                end_ns = min(until_ns, longest_ns, time.monotonic_ns() + self._spec.latency_ns)
                until_ns = min(until_ns, longest_ns)
            ready = poll.poll(max(0, end_ns - time.monotonic_ns() + 999_999) // 1_000_000)
            has_changed = self._hear()
            if any(fd == self._wake for fd, _ in ready):
                with contextlib.suppress(BlockingIOError):
                    os.eventfd_read(self._wake)
                return
            if self._halted is not None:
                continue
            now_ns = time.monotonic_ns()
            if has_changed and first_ns is None:
                first_ns = now_ns
            if not ready or now_ns >= until_ns:
                return

    def _hear(self) -> bool:
        counts = False
        for side, watcher in self._watchers.items():
            counts = watcher.read_into(self._heard[side]) or counts
        return counts

    def _whole_cycles(self) -> None:
        """Look at everything; again where a side has changed what was about to be changed."""
        with self._condition:
            wanted = self._wanted
        for _ in range(_TRIES_AFTER_RACES):
            result = self._guarded_cycle(full=True)
            if result is None or not result.raced:
                break
        with self._condition:
            self._done = max(self._done, wanted)
            self._condition.notify_all()

    def _guarded_cycle(self, *, full: bool) -> CycleResult | None:
        """One cycle; None where it has halted."""
        assert self._engine is not None
        self._hear()  # what is to be heard of is in what is scanned
        heard = {side: self._heard[side].paths for side in SIDES}
        for side in SIDES:
            self._heard[side] = Heard()
        if full:
            for watcher in self._watchers.values():
                watcher.refused = 0
        began_ns = time.monotonic_ns()
        try:
            result = self._engine.cycle(None if full else heard)
        except HaltedError as halt:
            self._halt(str(halt))
            return None
        except OSError as error:
            self._halt(f"{error.strerror or error}: put that right, then resume")
            return None
        except Exception as error:
            log.exception("bug: a cycle of the synchronization failed")
            self._halt(f"{type(error).__name__}: {error}: report this, then resume")
            return None
        took_ns = time.monotonic_ns() - began_ns
        with self._condition:
            self._result = result
            self._halted = None
            self._phase = "watching"
            self._cycles += 1
            self._last_cycle_ns = took_ns
            if full:
                self._full_scans += 1
                self._full_scan_ns = took_ns
            self._travelled["host"] += result.to_host
            self._travelled["guest"] += result.to_guest
            self._raced += result.raced
        return result

    def _halt(self, why: str) -> None:
        with self._condition:
            self._halted = why
            self._condition.notify_all()
        log.warning("the synchronization has halted: %s", why)

    def _save(self) -> None:
        assert self._engine is not None
        problem = None
        try:
            self._engine.save()
        except OSError as error:
            problem = f"the agreed state cannot be saved: {error.strerror}: it is tried again"
        with self._condition:
            self._save_problem = problem

    def _follow(self, side: Side, path: snapshot.Path, fd: int) -> None:
        watcher = self._watchers.get(side)
        if watcher is not None:
            watcher.follow(path, fd)

    def _enter(self, phase: str) -> None:
        self._phase = phase

    def _wake_up(self) -> None:
        if self._wake >= 0:
            os.eventfd_write(self._wake, 1)

    def _close(self) -> None:
        with self._condition:
            wake, self._wake = self._wake, -1
        if self._engine is not None:
            self._engine.close()
            self._engine = None
        for watcher in self._watchers.values():
            watcher.close()
        self._watchers = {}
        if wake >= 0:
            os.close(wake)


def _shown(path: snapshot.Path) -> str:
    return shown(b"/".join(path))
