"""What the user should know of a share before trusting a number: its warnings, a line each."""

import math
import os
from typing import TYPE_CHECKING

from osxfs_sim.model.formatting import format_duration
from osxfs_sim.model.ownership import Ownership
from osxfs_sim.model.status import ShareStatus
from osxfs_sim.mount.latency.calibration import NOT_CALIBRATED
from osxfs_sim.mount.mounts import services
from osxfs_sim.mount.writeback.unwritten import command_for, describe_kept

if TYPE_CHECKING:
    from osxfs_sim.mount.server.session import Session


def warnings_of(share: "Session", status: ShareStatus) -> list[str]:
    """The warnings that *status* calls for before its numbers are trusted; a line each."""
    warnings = share.volumes.warnings(status.volumes)
    if share.settings.calibrate and share.calibration is NOT_CALIBRATED:
        warnings.append(
            "calibration failed: what lies outside the server (some 10 to 20 us a request) "
            "is not subtracted; mount again"
        )
    if share.services is not None:
        synthetic = share.components.synthetic
        if synthetic is not None and synthetic.hides_an_entry():
            warnings.append(
                f"the source has an entry {services.DIRECTORY}: the guest does not see it, "
                "but the host services; rename it"
            )
        warnings += share.services.warnings()
    warnings += share.cycles.warnings()
    if share.kept_aside:
        warnings.append(describe_kept(share.kept_aside))
    warnings += _of_events(share, status)
    warnings += _of_write_back(share)
    floor_ns = share.calibration.floor_ns
    latency = share.system.latency
    asked = {base_ns for base_ns in latency.base_ns if base_ns}
    out_of_reach = [base_ns for base_ns in asked if base_ns < floor_ns]
    if out_of_reach:
        factor = math.ceil(floor_ns / min(out_of_reach) * 1.25 * share.system.dilate)
        warnings.append(
            f"{format_duration(min(out_of_reach))} is out of reach: this machine's floor is "
            f"{format_duration(floor_ns)} a request; --dilate {factor} brings it into reach"
        )
    if asked and not share.reactor.awake.available:
        warnings.append(
            "without root the processors cannot be kept awake (PM QoS): "
            "expect latencies to scatter more, above all after idle times"
        )
    for label, line in status.receipt.items():
        if line.within_tolerance is False:
            warnings.append(
                f"{label}: asked for {format_duration(line.target_p50_ns)}, observed "
                f"{format_duration(line.observed_p50_ns)} (median), "
                f"{line.late} of {line.count} late: out of tolerance"
            )
    trace = status.trace
    if trace is not None and trace.failure:
        warnings.append(
            f"the trace {trace.path} loses requests, {trace.lost} so far: {trace.failure}"
        )
    elif trace is not None and trace.lost:
        warnings.append(f"{trace.lost} requests found no room in the trace: the disk is slow")
    warnings += _of_files(share, status)
    if share.system.own_policy is not None:
        warnings += share.system.own_policy.warnings()
    warnings += filter(None, (share.components.dispatcher.opened.warning(),))
    errors = share.reactor.internal_errors
    if errors.count:
        warnings.append(
            f"{errors.count} internal errors, for the first of each kind see the log, which "
            f"is worth a report; the latest is {errors.latest}"
        )
    return warnings


def _of_events(share: "Session", status: ShareStatus) -> list[str]:
    events = share.components.host_events
    if events is None or status.events is None:
        return []
    warnings = [events.trouble] if events.trouble else []
    not_raised = status.events.not_raised
    if not_raised:
        warnings.append(
            f"{not_raised} events could not be raised in the guest, for the first of each kind "
            "see the log: where the guest's kernel checks rights (ownership host), the "
            "server's user needs those to change what the host has changed"
        )
    if events.watcher.refused:
        warnings.append(
            f"{events.watcher.refused} directories cannot be watched: nothing in them is "
            "cached; raise fs.inotify.max_user_watches and fs.fanotify.max_user_marks"
        )
    return warnings


def _of_write_back(share: "Session") -> list[str]:
    write_back = share.components.write_back
    if write_back is None:
        return []
    warnings = []
    if share.recovered:
        warnings.append(
            f"an earlier share of this source had left {share.recovered} changes unwritten: "
            "the host has them now"
        )
    if write_back.refusal is not None:
        code, path = write_back.refusal
        warnings.append(
            f"{len(write_back.changes)} changes wait, because the host refuses the first, of "
            f"{path}: {os.strerror(code)}; it is tried again each second"
        )
    if write_back.aside.count:
        latest = write_back.aside.latest[-1]
        warnings.append(
            f"{write_back.aside.count} changes were set aside, because the host does not take "
            f"them; the latest is of {latest.path}: {latest.reason}; kept in "
            f"{write_back.aside.directory} "
            f"({command_for(share.source, write_back.aside.directory)})"
        )
    conflicts = write_back.conflicts
    if conflicts.lost:
        warnings.append(
            f"{conflicts.lost} changes of the host were lost to changes that the guest "
            f"had made meanwhile (DEL-7); the latest is {conflicts.lost_paths[-1]}"
        )
    if conflicts.kept:
        warnings.append(
            f"{conflicts.kept} removals of the guest's were not applied, because "
            "the host had put something else there meanwhile; the latest is "
            f"{conflicts.kept_paths[-1]}"
        )
    return warnings


def _of_files(share: "Session", status: ShareStatus) -> list[str]:
    warnings = []
    if share.user.uid != 0 and share.system.files.ownership is Ownership.HOST:
        warnings.append(
            f"ownership host without root: everything is made as {share.user}, "
            "and owners cannot be changed"
        )
    owners, names = status.ownership, status.names
    if owners.malformed:
        warnings.append(
            f"{owners.malformed} objects have a malformed owner attribute, taken as unset; "
            f"the first is {owners.first_malformed}"
        )
    if owners.store_trouble:
        warnings.append(f"the owners that no attribute can hold: {owners.store_trouble}")
    if names.directories_with_collisions:
        warnings.append(
            f"{names.directories_with_collisions} directories hold names that "
            f"{names.rules} takes for one; each is reached by its own spelling only, other "
            f"spellings reach the first; {names.first_collision}"
        )
    if names.names_can_be_invalidated is False and share.settings.calibrate:
        who = "a share with volumes" if share.settings.volumes else "this kernel (before 6.16)"
        warnings.append(
            f"{who} cannot invalidate all names at once, so that under "
            f"{names.rules} no name is cached: expect more LOOKUPs"
        )
    return warnings
