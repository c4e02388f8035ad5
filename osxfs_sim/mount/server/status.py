"""Builds what a share tells of itself (model/status.py): of any share, and with nothing more.

A share that serves requests adds what its parts count (request_status.py). That is apart, as a
share without requests does without FUSE.
"""

import os
import time
from collections.abc import Sequence

from osxfs_sim.model.operations import OperationClass
from osxfs_sim.model.status import (
    CalibrationStatus,
    InternalErrorsStatus,
    LatencyStatus,
    NamesStatus,
    OwnershipStatus,
    ShareStatus,
    SynchronizationStatus,
    VolumeStatus,
)
from osxfs_sim.mount.mounts.mountpoints import log_path, runtime_directory
from osxfs_sim.settings import EmulatedSystem, ShareSettings

_OF_THE_KERNEL = "the kernel's own"


class Counting:
    """Since when counts and processor time of a share are counted."""

    def __init__(self) -> None:
        self._started_ns = self._since_ns = time.monotonic_ns()
        self._processor_before_s = 0.0

    def reset(self) -> None:
        """Count requests' time and processor time from now on."""
        self._since_ns = time.monotonic_ns()
        self._processor_before_s = processor_s()

    @property
    def up_s(self) -> float:
        """Seconds since the share was mounted."""
        return (time.monotonic_ns() - self._started_ns) / 1e9

    @property
    def counting_s(self) -> float:
        """Seconds since reset() was called last."""
        return (time.monotonic_ns() - self._since_ns) / 1e9

    @property
    def processor_s(self) -> float:
        """The server's processor time since reset() was called last, in seconds."""
        return processor_s() - self._processor_before_s


def processor_s() -> float:
    """All processor time of this process so far, user and system, in seconds."""
    # times(2) counts in ticks of 10 ms, in which a small share answers hundreds of requests.
    return time.process_time()


def status_without_requests(
    settings: ShareSettings,
    system: EmulatedSystem,
    source: str,
    mountpoint: str,
    counting: Counting,
    *,
    volumes: Sequence[VolumeStatus],
    warnings: Sequence[str],
    copy: str | None = None,
    synchronization: SynchronizationStatus | None = None,
    uid: int = 0,
) -> ShareStatus:
    """The status of a share whose work makes no requests: time alone is counted."""
    profile = system.profile
    return ShareStatus(
        mountpoint=mountpoint,
        source=source,
        pid=os.getpid(),
        profile=profile.name,
        title=profile.title,
        transport=profile.transport.value,
        copy=copy,
        synchronization=synchronization,
        policy=_OF_THE_KERNEL,
        own_policy=None,
        user="root",
        exports=[],
        overlaps=[],
        bugs=[],
        changed=list(settings.changed()),
        log=str(log_path(runtime_directory(uid), mountpoint)),
        ownership=OwnershipStatus(policy=_OF_THE_KERNEL),
        names=NamesStatus(rules="case-sensitive"),
        extended_attributes=_OF_THE_KERNEL,
        replaced=_OF_THE_KERNEL,
        seed=settings.seed,
        dilate=system.dilate,
        latency=LatencyStatus(
            base_ns={operation_class.label: 0 for operation_class in OperationClass},
            bandwidth_bytes_per_s=None,
            distribution=system.latency.distribution.describe(),
            served_at_once=None,
        ),
        calibration=CalibrationStatus(
            calibrated=False, floor_ns=0, client_overhead_ns={}, wake_ns={}
        ),
        warnings=warnings,
        up_s=counting.up_s,
        counting_s=counting.counting_s,
        server_processor_s=counting.processor_s,
        requests={},
        missing_lookups=0,
        wakes={},
        receipt={},
        in_flight=0,
        internal_errors=InternalErrorsStatus(count=0, latest=None),
        inodes=0,
        open_handles=0,
        most_handles=0,
        handles_refused=0,
        descriptors=0,
        pm_qos_held=False,
        events=None,
        write_back=None,
        trace=None,
        volumes=volumes,
        host_services=[],
    )
