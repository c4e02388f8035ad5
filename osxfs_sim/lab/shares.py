"""Shares as the lab sees them: what it asks of one, and where the guest's tree lies then.

The lab mounts nothing itself. Whoever runs it hands it *Shares*: how an arm is mounted, and
what tells it from another of the same name. The emulator's own are in
osxfs_sim/emulated_shares.py; a real file system could be handed in as well.
"""

import contextlib
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

from osxfs_sim.lab.arms import Arm
from osxfs_sim.lab.workload import Execution, Workload, run_unmeasured
from osxfs_sim.model.status import ShareStatus


class MountedShare(Protocol):
    """What the lab needs of a share: to flush it, to count a run's requests, to trace them."""

    first_status: ShareStatus

    def flush(self) -> ShareStatus:
        """Wait until the host has all the guest's changes, return the status; raises if it cannot.

        Raises an exception of its own kind if the host does not get it.
        """

    def reset(self) -> ShareStatus:
        """Set the share's counts to 0; returns the status just before."""

    def start_trace(self, path: str, *, with_calls: bool = False) -> None:
        """Record every request from now on in the new file *path*.

        *with_calls*: and which system call each is for.
        """

    def stop_trace(
        self,
        *,
        command_start_ns: int | None = None,
        command_end_ns: int | None = None,
        notes: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Complete the trace's file; returns its path and counts of rows; raises if it cannot."""


MountArm = Callable[[Arm, int, Path, Path], AbstractContextManager[MountedShare]]
"""Mounts, for an arm and a seed, a directory at a mount point."""


@dataclass(frozen=True, slots=True)
class Identity:
    """By which an arm is told from another of the same name."""

    system: str
    """A digest of all values that it acts by: a profile's file may change."""
    policy: str | None = None
    """A digest of the source of a policy of the user's own; None where it has none."""


class ArmMounter(Protocol):
    """Mounts arms for the lab: given to it by who knows how a share is mounted."""

    def check(self, arm: Arm, *, traced: bool) -> None:
        """Raise CaseError or UserError unless *arm* can be mounted and, *traced*, makes requests.

        The message is one line that names the remedy. Nothing is mounted.
        """

    def identity(self, arm: Arm, *, dilate: float) -> Identity:
        """Digests by which *arm* is told from others of its name, as it is at this moment.

        *dilate* is for an arm that does not say its own.
        """

    def mount(
        self, arm: Arm, source: Path, mountpoint: Path, *, seed: int, dilate: float
    ) -> AbstractContextManager[MountedShare]:
        """A context manager that mounts *source* at *mountpoint* as *arm*, and gives the share.

        *seed* and *dilate* are for an arm that does not say them itself.
        """


@dataclass(frozen=True, slots=True)
class MountPlace:
    """Where an arm is mounted for a run."""

    source: Path
    """The directory that is shared."""
    mountpoint: Path
    """Where it is mounted: an empty directory."""
    guest: Path
    """The tree as the guest sees it then: the share itself, or the host's with a share in it."""


@contextlib.contextmanager
def mount_place(workload: Workload, host: Path, work: Path) -> Iterator[MountPlace]:
    """Context manager: a place to mount what *workload* shares of *host*. Raises OSError.

    *work* is an empty directory for what is needed beside the tree. Raises OSError.
    """
    part = workload.shared_part
    if part is None:
        place = MountPlace(host, work / "share", work / "share")
    else:
        # Nothing can be mounted over what it shares: that is moved out of the way, and back.
        place = MountPlace(work / "shared", host / part, host)
        place.mountpoint.rename(place.source)
    place.mountpoint.mkdir()
    try:
        yield place
    finally:
        with contextlib.suppress(OSError):  # still in use: that error comes first
            place.mountpoint.rmdir()
            if part is not None:
                place.source.rename(place.mountpoint)


@dataclass(frozen=True, slots=True)
class Drained:
    """What became of the changes pending in a share when the command ended."""

    failure: str
    """Why the host did not get everything; empty if it did."""
    drain_s: float | None
    """How long it took until the host had everything; None if it does not."""
    status: ShareStatus | None
    """The share's, from the command's start until then; None if it cannot be asked."""


def drain(share: MountedShare) -> Drained:
    """Flush the share after a command, take its status; a failed flush is returned, not raised."""
    start_ns = time.perf_counter_ns()
    try:
        share.flush()
    except Exception as error:  # the lab is handed its shares, and cannot know what they raise
        failure, drain_s, status = f"the host did not get everything: {error}", None, None
        with contextlib.suppress(Exception):  # nor whether anything is left to be asked
            status = share.reset()
    else:
        failure, drain_s = "", (time.perf_counter_ns() - start_ns) / 1e9
        status = share.reset()
    return Drained(failure or _policy_failure(status), drain_s, status)


def _policy_failure(status: ShareStatus | None) -> str:
    """How a policy of the user's own has failed, where it has: the run is of none then."""
    own = None if status is None else status.own_policy
    if own is None or not own.errors:
        return ""
    return f"the policy failed {own.errors} times in this run; at first: {own.first_error}"


def end_trace(
    share: MountedShare, execution: Execution, notes: dict[str, Any], *, has_failed: bool
) -> None:
    """Complete the share's trace of *execution*; never fails where the share *has_failed* already.

    A share that *has_failed* already may not be able to, and its run says so.
    """
    try:
        share.stop_trace(
            command_start_ns=execution.start_ns, command_end_ns=execution.end_ns, notes=notes
        )
    except Exception:
        if not has_failed:
            raise


def host_has_all(share: MountedShare | None) -> bool:
    """Whether a flush brings all that the guest has made to the host; True without a share.

    What lies in a volume is not, and a copy only where it is synchronized.
    """
    if share is None:
        return True
    return not share.first_status.volumes and _lonely_copy(share) is None


def _lonely_copy(share: MountedShare) -> Path | None:
    """The guest's copy, where the guest works on one that the host does not get."""
    copy = share.first_status.copy
    if copy is None or share.first_status.synchronization is not None:
        return None
    return Path(copy)


def check_failure(
    workload: Workload, guest: Path, host: Path, share: MountedShare | None = None
) -> str:
    """What the case's check finds wrong with what the command left; "" if all is well.

    The guest is asked first. The host must have the same, where it has the whole tree.
    """
    if workload.case.check is None:
        return ""
    for tree, where in ((guest, ""), (host, " on the host")):
        why = run_unmeasured(workload, workload.case.check, tree, guest)
        if why:
            return f"the check failed{where}: {why}"
        if guest == host or not host_has_all(share):
            break
    return ""


def real_places(
    workload: Workload, host: Path, share: MountedShare | None
) -> tuple[Path, dict[PurePosixPath, Path]]:
    """Where the guest's tree really lies, and by path the parts of it that lie elsewhere.

    What is mounted was moved away (see mount_place) or copied, and a volume lies where it lies.
    """
    if share is None:
        return host, {}
    part, copy = workload.shared_part, _lonely_copy(share)
    tree, elsewhere = host, {}
    if part is not None:
        elsewhere[part] = copy or host.with_name("shared")
    elif copy is not None:
        tree = copy
    for volume in share.first_status.volumes:
        elsewhere[(part or PurePosixPath()) / volume.path] = Path(volume.directory)
    return tree, elsewhere
