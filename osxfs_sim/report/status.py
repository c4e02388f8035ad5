"""A running share, on a terminal."""

from collections.abc import Sequence
from typing import Any

from osxfs_sim.model.formatting import (
    format_duration,
    format_plain,
    format_rate,
    format_seconds,
    format_size,
)
from osxfs_sim.model.status import HostEventsStatus, ShareStatus, WriteBackStatus
from osxfs_sim.report.console import console, escape, escape_all
from osxfs_sim.report.tables import Table, table


def _events_report(events: HostEventsStatus | None) -> None:
    out = console()
    if events is None:
        out.print("  events    none: the guest does not hear of the host's changes")
        return
    raised = ", ".join(f"{count} {kind}" for kind, count in events.raised.items() if count)
    of_each_kind = {
        "entries": events.invalidated.entries,
        "attributes": events.invalidated.attributes,
        "pages": events.invalidated.pages,
    }
    invalidated = ", ".join(f"{count} {kind}" for kind, count in of_each_kind.items() if count)
    lost = f"; {events.dropped} lost, {events.rescans} scans" if events.rescans else ""
    out.print(
        f"  events    {events.watcher}, window {format_duration(events.latency_ns)}: "
        f"{events.seen} host changes, {events.waiting} on their way{lost}"
    )
    if invalidated or raised:
        out.print(
            f"            invalidated: {invalidated or 'nothing'}; raised: {raised or 'nothing'}"
        )
    names = events.complete_directories
    if names.directories:
        out.print(
            f"            {names.directories} directories cached completely: "
            f"{names.answers} lookups answered without a crossing"
        )


def _write_back_report(write_back: WriteBackStatus | None) -> None:
    if write_back is None:
        return
    out = console()
    kernel = "; small writes in the guest's kernel too" if write_back.kernel else ""
    out.print(
        f"  pending   {write_back.pending_changes} changes "
        f"({format_size(write_back.pending_bytes)}), "
        f"the oldest for {format_duration(write_back.oldest_ns)}; "
        f"at most {write_back.limit_changes} changes, {format_size(write_back.limit_bytes)}, "
        f"{format_duration(write_back.age_ns)}{kernel}"
    )
    out.print(
        f"            of {write_back.made} made {write_back.crossed} crossed, "
        f"{write_back.merged} along with others, {write_back.cancelled} cancelled out; "
        f"{format_size(write_back.bytes_written_back)} written back"
    )
    out.print(
        f"            at the worst {write_back.most_changes_at_risk} changes "
        f"({format_size(write_back.most_bytes_at_risk)}) were the guest's alone; "
        f"the host lagged up to {format_duration(write_back.longest_lag_ns)}"
    )
    aside = write_back.set_aside
    if aside is not None and aside.count:
        latest = aside.latest[-1]
        out.print(
            f"            {aside.count} changes ({format_size(aside.bytes)}) set aside, "
            f"which the host does not take; the latest: {latest.change} "
            f"{latest.path}: {latest.reason}"
        )
    if not write_back.sync_waits:
        out.print("            sync(2) does not wait for the host here; fsync(2) and flush do")
    if write_back.throttled:
        out.print(
            f"            who made changes waited {write_back.throttled} times, "
            f"{format_duration(write_back.throttled_ns)} in all"
        )


def unwritten_report(journals: Sequence[dict[str, Any]]) -> None:
    """Print for each journal left by an ended share what the host lacks; says so if none is."""
    out = console()
    for journal in journals:
        rows = table("change", "path", "refused")
        for change in journal["changes"]:
            rows.add_row(change["change"], change["path"], change["refused"] or "")
        out.print(
            f"[bold]{escape(journal['source'])}[/bold]: {len(journal['changes'])} changes "
            f"({format_size(journal['bytes'])}) are not on the host; "
            f"kept in {escape(journal['journal'])}",
            soft_wrap=True,
        )
        out.print(rows)
    if not journals:
        out.print("nothing was left unwritten")


def services_report(status: ShareStatus) -> None:
    """Print path and connections of each host service of a share, a line each."""
    _services_report(escape_all(status))


def _services_report(status: ShareStatus) -> None:
    for service in status.host_services:
        console().print(
            f"  service   {service.name}: {service.path}; "
            f"connections so far {service.connections}, open {service.open}"
        )


def _volumes_report(status: ShareStatus) -> None:
    for volume in status.volumes:
        gone = "" if volume.mounted else ", which is gone"
        console().print(f"  volume    {volume.path}: {volume.directory}{gone}")


def _local_report(status: ShareStatus) -> None:
    """Print what there is to say of a share whose work makes no requests."""
    out = console()
    if status.copy is None:
        out.print("  work      in the host's directory itself: nothing crosses")
    else:
        kept = ", synchronized" if status.synchronization is not None else ""
        out.print(f"  work      in a copy, {status.copy}{kept}: nothing crosses")
    out.print(f"  server    process {status.pid} of {status.user}")
    _volumes_report(status)
    for warning in status.warnings:
        out.print(f"[yellow]warning:[/yellow] {warning}")


def _receipt_table(status: ShareStatus) -> Table:
    made = table("receipt", ">answers", ">target p50", ">observed p50", ">p90", ">p99", ">late", "")
    for label, line in status.receipt.items():
        within = line.within_tolerance
        made.add_row(
            label,
            f"{line.count}",
            format_duration(line.target_p50_ns),
            format_duration(line.observed_p50_ns),
            format_duration(line.observed_p90_ns),
            format_duration(line.observed_p99_ns),
            f"{line.late}",
            "" if within is None else "ok" if within else "out of tolerance",
        )
    return made


def _requests_table(status: ShareStatus) -> Table:
    made = table("request", ">count")
    for name, count in sorted(status.requests.items(), key=lambda item: -item[1]):
        made.add_row(name, f"{count}")
    return made


def status_report(status: ShareStatus) -> None:
    """Print a share's status: profile, latency, caches, pending changes, receipt, warnings."""
    as_given, status = status, escape_all(status)
    out = console()
    latency = status.latency
    out.print(f"[bold]{status.mountpoint}[/bold] shares {status.source}")
    dilated = f", dilated {format_plain(status.dilate)} times" if status.dilate != 1 else ""
    changed = f", changed: {', '.join(status.changed)}" if status.changed else ""
    out.print(f"  profile   {status.profile}: {status.title}{changed}{dilated}")
    if status.transport != "requests":
        _local_report(status)
        return
    out.print(f"  caching   {status.policy}")
    if status.bugs:
        out.print(f"  bugs      {', '.join(status.bugs)}: on purpose (osxfs-sim museum)")
    if status.overlaps:
        parts = ", ".join(f"{part.path} is {part.mode}" for part in status.overlaps)
        out.print(f"  overlaps  with other exports: {parts}")
    out.print(
        f"  files     owners {status.ownership.policy}; names {status.names.rules}; "
        f"extended attributes {status.extended_attributes}"
    )
    classes = ", ".join(
        f"{label} {format_duration(base_ns)}" for label, base_ns in latency.base_ns.items()
    )
    out.print(f"  latency   {classes}; {latency.distribution}; seed {status.seed}")
    queue = f"; {latency.served_at_once} served at once" if latency.served_at_once else ""
    out.print(f"  link      {format_rate(latency.bandwidth_bytes_per_s)}{queue}")
    if status.calibration.calibrated:
        floor = format_duration(status.calibration.floor_ns)
        out.print(
            f"  floor     {floor} a request: what this machine takes when nothing is asked for"
        )
    out.print(
        f"  server    process {status.pid} of {status.user}, "
        f"{format_seconds(status.server_processor_s, 2)} of processor time in "
        f"{format_seconds(status.counting_s, 1)}"
    )
    out.print(
        f"  state     {status.inodes} inodes, {status.open_handles} open, "
        f"{status.in_flight} in flight"
    )
    _events_report(status.events)
    _write_back_report(status.write_back)
    _volumes_report(status)
    _services_report(status)
    if as_given.receipt:
        out.print(_receipt_table(as_given))
    if as_given.requests:
        out.print(_requests_table(as_given))
        out.print(f"  lookups of names that do not exist: {status.missing_lookups}")
    for warning in status.warnings:
        out.print(f"[yellow]warning:[/yellow] {warning}")
