"""A case study's arms, on a terminal."""

from collections.abc import Mapping, Sequence
from typing import Any

from rich.padding import Padding

from osxfs_sim.lab.arms import NATIVE
from osxfs_sim.lab.judgement import dominant, late_share, named, out_of_tolerance, warnings_of
from osxfs_sim.lab.results import Comparison, Sample
from osxfs_sim.lab.summary import (
    kinds_of,
    most_frequent_requests,
    native_median_s,
    observed_in,
    representative,
    representatives,
)
from osxfs_sim.model.formatting import (
    format_duration,
    format_fixed,
    format_percent,
    format_plain,
    format_seconds,
)
from osxfs_sim.report.console import console, escape
from osxfs_sim.report.risk import risk_report, risks_of
from osxfs_sim.report.tables import Cell, bold, red, table
from osxfs_sim.report.trade_off import BASELINE, trade_offs, write_back_table

# So many kinds of requests are shown by name, the most frequent; the others are summed up.
_SHOWN_REQUESTS = 5
_BASELINES = (NATIVE, BASELINE)


def runs_report(comparison: Comparison, machine: str) -> None:
    """Print times and requests per arm and kind of run, and what to know before believing it."""
    out = console()
    what = "quick: a shortened command" if comparison.quick else "the whole command"
    options = "".join(f", with {name}" for name in comparison.options)
    dilated = (
        f", time dilated {format_plain(comparison.dilate)} times" if comparison.dilate != 1 else ""
    )
    title = f"{comparison.title} ({comparison.variant}{options}; {what}{dilated})"
    times = table(
        "arm",
        "run",
        ">wall",
        *(f">/ {name}" for name in _BASELINES),
        ">server",
        ">target",
        ">observed",
        ">late",
        title=title,
    )
    shown = most_frequent_requests(comparison.samples, _SHOWN_REQUESTS)
    names = (f">{name}" for name in shown)
    counts = table("requests", "run", ">all", ">missing", ">each", *names, ">others")
    for arm in comparison.arms:
        for sample in representatives(comparison, arm):
            times.add_row(*_times_row(comparison, sample))
            if sample.share is not None:
                counts.add_row(*_counts_row(sample, sample.share, shown))
    out.print(times)
    if counts.row_count:
        out.print(counts)
    write_back = write_back_table(comparison)
    if write_back.row_count:
        out.print(write_back)
    risk_report(out, risks_of(comparison))
    out.print("  trade-off")
    for line in trade_offs(comparison):
        out.print(Padding(escape(line), (0, 0, 0, 4)))
    for line in _caveats(comparison):
        out.print(line)
    out.print(f"  {escape(machine)}", style="dim")


def _times_row(comparison: Comparison, sample: Sample) -> list[str | Cell]:
    row: list[str | Cell] = [bold(sample.arm), sample.kind]
    row.append(red("failed") if sample.failure else format_seconds(sample.wall_s, 2))
    for baseline in _BASELINES:
        same = None if sample.failure else representative(comparison, baseline, sample.kind)
        row.append("" if same is None else format_fixed(sample.wall_s / same.wall_s, 2))
    if sample.share is None:
        return [*row, "", "", "", ""]
    receipt = sample.share["receipt"]
    row.append(format_seconds(sample.share["server_processor_s"], 2))
    judged = dominant(receipt)
    if judged is None:
        return [*row, "", "", ""]
    line = receipt[judged]
    mark = "!" if out_of_tolerance(receipt) else ""
    return [
        *row,
        named(judged, format_duration(line["target_p50_ns"])),
        format_duration(line["observed_p50_ns"]) + mark,
        format_percent(late_share([receipt]) or 0.0, 1),
    ]


def _counts_row(sample: Sample, share: Mapping[str, Any], names: Sequence[str]) -> list[str]:
    requests = share["requests"]
    shown = [requests.get(name, 0) for name in names]
    all_requests, missing = sum(requests.values()), share["missing_lookups"]
    return [
        sample.arm,
        sample.kind,
        f"{all_requests}",
        f"{missing}",
        format_fixed(all_requests / missing, 1) if missing else "",
        *(f"{count}" for count in shown),
        f"{all_requests - sum(shown)}",
    ]


def _caveats(comparison: Comparison) -> list[str]:
    """What a reader must know: failures, the shares' warnings, receipts out of tolerance."""
    native_s = {kind: native_median_s(comparison, kind) for kind in kinds_of(comparison)}
    lines = []
    for arm in comparison.arms:
        name = escape(arm)
        for warning in comparison.mounted.get(arm, {}).get("warnings", ()):
            lines.append(f"[yellow]{name}: {escape(warning)}[/yellow]")
        for sample in comparison.all_of(arm):
            which = f"{name}, {sample.kind}"
            if sample.failure:
                lines.append(f"[red]{which}: {escape(sample.failure)}[/red]")
            if sample.share is not None:
                lines += _out_of_tolerance(which, sample.share["receipt"])
            lines += [
                f"[yellow]{which}: {escape(said)}[/yellow]"
                for said in warnings_of(observed_in(comparison, sample, native_s[sample.kind]))
            ]
    lines.append(
        "  server: the emulator's own processor time, taken from the same cores. missing: lookups "
        "of names that do not exist; each: requests per missing name. target, observed: median of "
        "metadata requests, or of the class named, where that was waited for longer, ! where one "
        "was out of tolerance. Times scatter by some percent on a shared machine; counts repeat."
    )
    return lines


def _out_of_tolerance(name: str, receipt: Mapping[str, Any]) -> list[str]:
    return [
        f"[red]{name}: {label}: asked for {format_duration(line['target_p50_ns'])}, achieved "
        f"{format_duration(line['observed_p50_ns'])} (median), {line['late']} of "
        f"{line['count']} late: out of tolerance[/red]"
        for label, line in out_of_tolerance(receipt).items()
    ]
