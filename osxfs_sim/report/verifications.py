"""Predictions beside live runs as a table: the error of each, and those of simpler models."""

from collections.abc import Sequence

from osxfs_sim.model.formatting import format_count, format_signed_percent, format_wall_time
from osxfs_sim.report.console import console
from osxfs_sim.report.tables import Table
from osxfs_sim.simulate.verification import Verified

_LEGEND = (
    "error: of the predicted wall time against the median measured, on this machine, whose server "
    "shares the processors with the workload. here off: the same of the time predicted for just "
    "that. one line: that of native and each request's latency. "
    "threads: that of a prediction without other dependencies."
)


def verification_report(arms: Sequence[Verified]) -> None:
    """Print *arms*, each predicted beside measured, and every operation that differs."""
    out = console()
    out.print(verification_table(arms))
    for line in verification_notes(arms):
        out.print(line, markup=False, highlight=False)


def verification_table(arms: Sequence[Verified]) -> Table:
    """A line for each arm."""
    table = Table(
        "predicted and measured",
        (
            *("arm", "predicted", "here", "measured", "runs", "error", "here off", "one line"),
            "threads",
            *("requests", "measured requests"),
        ),
        numbers=frozenset(range(1, 11)),
        legend=_LEGEND,
    )
    for arm in arms:
        measured = arm.measured_ns is not None
        table.add_row(
            arm.name,
            format_wall_time(arm.predicted_ns / 1e9),
            "" if arm.here_ns is None else format_wall_time(arm.here_ns / 1e9),
            format_wall_time(arm.measured_ns / 1e9) if arm.measured_ns is not None else "failed",
            format_count(arm.runs),
            *(_error(each) for each in errors_of(arm)),
            format_count(sum(both[0] for both in arm.requests.values())) if measured else "",
            format_count(sum(both[1] for both in arm.requests.values())) if measured else "",
        )
    return table


def verification_notes(arms: Sequence[Verified]) -> list[str]:
    """Of each arm what differs by operation, and why runs do not count, a line each."""
    lines = []
    for arm in arms:
        lines += [f"{arm.name}: a run failed: {failure}" for failure in arm.failures]
        differing = [
            f"{name} {format_count(predicted)}, measured {format_count(measured)}"
            + (f" ({format_signed_percent(predicted / measured - 1)})" if measured else "")
            for name, (predicted, measured) in arm.requests.items()
            if predicted != measured
        ]
        if differing:
            lines.append(f"{arm.name}: predicted {'; '.join(differing)}")
        elif arm.counts_equal:
            lines.append(f"{arm.name}: every operation as often as predicted")
    return lines


def errors_of(arm: Verified) -> tuple[float | None, ...]:
    """The errors of *arm*, of the system, of a live run here, the one line and threads alone."""
    return arm.error, arm.here_error, arm.one_line_error, arm.threads_error


def _error(error: float | None) -> str:
    return "" if error is None else format_signed_percent(error)
