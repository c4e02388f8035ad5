"""How a synchronized share stands, on a terminal."""

from osxfs_sim.model.escaping import quoted
from osxfs_sim.model.formatting import format_duration, format_size
from osxfs_sim.model.status import SynchronizationStatus
from osxfs_sim.report.console import console, escape, escape_all
from osxfs_sim.report.tables import Table, table

_BOTH_WAYS = "delete the one that is not to be kept, or make both the same: the other travels"
_ONE_WAY = "delete the guest's, or make it the same as the host's"


def synchronization_report(mountpoint: str, status: SynchronizationStatus) -> None:
    """Print both sides of a synchronized share, its conflicts, and what cannot travel."""
    resuming = escape(f"osxfs-sim sync resume {quoted(mountpoint)}")
    as_given = status
    mountpoint, status = escape(mountpoint), escape_all(status)
    out = console()
    out.print(f"{mountpoint}: synchronized, {status.mode}, {status.phase}")
    if status.halted is not None:
        out.print(f"  halted    {status.halted}", soft_wrap=True)
        out.print(f"            {resuming}", soft_wrap=True)
    out.print(
        f"  cycles    {status.cycles}, the last took {format_duration(status.last_cycle_ns)}"
        f"; {status.changes_to_guest} changes to the guest, "
        f"{status.changes_to_host} to the host, {status.changes_put_off} put off"
    )
    watched = "all changes are heard of"
    if status.watching != "inotify":
        watched = "not all can be watched: raise the sysctl fs.inotify.max_user_watches"
    out.print(
        f"  watching  {status.watching}, collected for {format_duration(status.latency_ns)}, "
        f"everything every {format_duration(status.rescan_ns)}: {watched}",
        soft_wrap=True,
    )
    out.print(_sides(as_given))
    if status.conflicts_total:
        _conflicts(as_given)
    if status.problems_total:
        _problems(as_given)


def _sides(status: SynchronizationStatus) -> Table:
    made = table(
        "side", "directory", ">files", ">directories", ">symlinks", ">size", ">ignored", ">left out"
    )
    for side, totals in (("host", status.host), ("guest", status.guest)):
        made.add_row(
            side,
            totals.path,
            str(totals.files),
            str(totals.directories),
            str(totals.symlinks),
            format_size(totals.bytes),
            str(totals.ignored),
            str(totals.not_synchronized),
        )
    return made


def _conflicts(status: SynchronizationStatus) -> None:
    out = console()
    made = table("conflict", "agreed upon", "host", "guest")
    for conflict in status.conflicts:
        made.add_row(conflict.path, conflict.agreed, conflict.host, conflict.guest)
    out.print(made)
    _rest(len(status.conflicts), status.conflicts_total)
    remedy = _ONE_WAY if status.mode.startswith("one-way") else _BOTH_WAYS
    out.print(f"Both sides have changed these, and nothing moves: {remedy}.", soft_wrap=True)


def _problems(status: SynchronizationStatus) -> None:
    made = table("not synchronized", "side", "why")
    for problem in status.problems:
        made.add_row(problem.path or ".", problem.side, problem.why)
    console().print(made)
    _rest(len(status.problems), status.problems_total)


def _rest(listed: int, total: int) -> None:
    if total > listed:
        console().print(f"and {total - listed} more")
