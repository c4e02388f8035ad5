"""Builds the status of a share that serves requests: what its parts have counted, put together."""

from dataclasses import replace
from typing import TYPE_CHECKING

from osxfs_sim.model.operations import Operation, OperationClass
from osxfs_sim.model.status import (
    CalibrationStatus,
    HostEventsStatus,
    LatencyStatus,
    OverlapStatus,
    ShareStatus,
    WriteBackStatus,
)
from osxfs_sim.mount.latency.calibration import NOT_CALIBRATED, Calibration
from osxfs_sim.mount.loop.reactor import Wake
from osxfs_sim.mount.server.share_warnings import warnings_of
from osxfs_sim.mount.server.status import status_without_requests
from osxfs_sim.settings import EmulatedSystem

if TYPE_CHECKING:
    from osxfs_sim.mount.server.session import Session


def status_of_requests(share: "Session") -> ShareStatus:
    """The status of a share that serves requests, of what its parts have counted."""
    system, components, reactor = share.system, share.components, share.reactor
    counts, opened = share.crossings.counts, components.dispatcher.opened
    own_policy = system.own_policy
    without = status_without_requests(
        share.settings,
        system,
        share.source,
        share.mountpoint,
        share.counting,
        volumes=share.volumes.status(),
        warnings=[],
        uid=share.user.uid,
    )
    status = replace(
        without,
        policy=system.policy.describe(),
        own_policy=None if own_policy is None else own_policy.report(),
        user=str(share.user),
        exports=list(share.settings.exports),
        overlaps=[OverlapStatus(path=path, mode=mode) for path, mode in share.settings.stronger],
        bugs=list(map(str, system.bugs)),
        ownership=components.owners.report(),
        names=components.spellings.report(),
        extended_attributes=system.files.extended_attributes.value,
        replaced=system.files.replaced.value,
        latency=_latency(system),
        calibration=_calibration(share.calibration),
        requests={op.name: counts[op] for op in Operation if counts[op]},
        missing_lookups=share.crossings.missing_lookups,
        wakes={wake.name.lower(): reactor.wakes[wake] for wake in Wake},
        receipt=share.crossings.receipt.report(),
        in_flight=reactor.in_flight,
        internal_errors=reactor.internal_errors.report(),
        inodes=len(components.inodes),
        open_handles=len(components.handles),
        most_handles=opened.most,
        handles_refused=opened.refused,
        descriptors=components.backing.descriptors,
        pm_qos_held=reactor.awake.held,
        events=_events(share),
        write_back=_write_back(share),
        trace=share.tracing.report(),
        host_services=share.services.status() if share.services is not None else [],
    )
    return replace(status, warnings=warnings_of(share, status))


def _latency(system: EmulatedSystem) -> LatencyStatus:
    latency = system.latency
    return LatencyStatus(
        base_ns={each.label: latency.base_ns[each] for each in OperationClass},
        bandwidth_bytes_per_s=latency.bandwidth_bytes_per_s,
        distribution=latency.distribution.describe(),
        served_at_once=latency.served_at_once,
    )


def _calibration(calibration: Calibration) -> CalibrationStatus:
    return CalibrationStatus(
        calibrated=calibration is not NOT_CALIBRATED,
        floor_ns=calibration.floor_ns,
        client_overhead_ns={
            str(asked_ns): ns for asked_ns, ns in calibration.client_overhead_ns.items()
        },
        wake_ns={wake.name.lower(): ns for wake, ns in calibration.wake_ns.items()},
    )


def _write_back(share: "Session") -> WriteBackStatus | None:
    write_back = share.components.write_back
    if write_back is None:
        return None
    return write_back.report(recovered=share.recovered, sync_waits=share.supervision.sync_waits)


def _events(share: "Session") -> HostEventsStatus | None:
    events = share.components.host_events
    return None if events is None else events.report()
