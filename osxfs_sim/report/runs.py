"""A case study's arms, on a terminal."""

import os
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from rich.padding import Padding

from osxfs_sim.lab.judgement import (
    Observed,
    dominant,
    named,
    observed,
    out_of_tolerance,
    warnings_of,
)
from osxfs_sim.lab.runs import NATIVE, ArmResult, Plan, Run
from osxfs_sim.model.units import format_duration
from osxfs_sim.report.console import console, escape, table
from osxfs_sim.report.risk import risk_report
from osxfs_sim.report.trade_off import BASELINE, WRITE_BACK_LEGEND, trade_offs, write_back_table

# So many kinds of requests are shown by name, the most frequent; the others are summed up.
_SHOWN_REQUESTS = 5
_BASELINES = (NATIVE, BASELINE)


def runs_report(plan: Plan, results: Sequence[ArmResult], machine: str) -> None:
    """Print a line per arm and kind of run, and what to know before believing it."""
    out = console()
    what = "quick: a shortened command" if plan.quick else "the whole command"
    options = "".join(f", with {name}" for name in plan.toggles)
    dilated = f", time dilated {plan.dilate:g} times" if plan.dilate != 1 else ""
    title = f"{plan.case.title} ({plan.variant}{options}; {what}{dilated})"
    times = table(
        "arm",
        "run",
        ">wall",
        *(f">/ {name}" for name in _BASELINES),
        ">server",
        ">asked",
        ">achieved",
        ">late",
        title=escape(title),
    )
    shown = _most_frequent(results)
    names = (f">{name}" for name in shown)
    counts = table("requests", "run", ">all", ">missing", ">each", *names, ">others")
    for result in results:
        for run in result.representative():
            times.add_row(*_times_row(result, run, results))
            if run.share is not None:
                counts.add_row(*_counts_row(result, run, shown))
    out.print(times)
    if counts.row_count:
        out.print(counts)
    write_back = write_back_table(results)
    if write_back.row_count:
        out.print(write_back)
        out.print(Padding(WRITE_BACK_LEGEND, (0, 0, 1, 2)))
    risk_report(
        out,
        (
            (result.arm, kind, [run.risk for run in result.runs if run.kind == kind and run.risk])
            for result in results
            for kind in dict.fromkeys(run.kind for run in result.runs)
        ),
    )
    out.print("  trade-off")
    for line in trade_offs(results):
        out.print(Padding(escape(line), (0, 0, 0, 4)))
    for line in _caveats(results):
        out.print(line)
    out.print(f"  {escape(machine)}", style="dim")


def _times_row(result: ArmResult, run: Run, results: Sequence[ArmResult]) -> list[str]:
    row = [f"[bold]{escape(result.arm)}[/bold]", run.kind]
    row.append("[red]failed[/red]" if run.failure else f"{run.wall_s:.2f} s")
    for baseline in _BASELINES:
        base = next((other for other in results if other.arm == baseline), None)
        same = None if base is None or run.failure else base.counterpart(run)
        row.append("" if same is None else f"{run.wall_s / same.wall_s:.2f}")
    if run.share is None:
        return [*row, "", "", "", ""]
    receipt = run.share["receipt"]
    late = sum(line["late"] for line in receipt.values())
    answers = sum(line["count"] for line in receipt.values())
    row.append(f"{run.share['server_processor_s']:.2f} s")
    judged = dominant(receipt)
    if judged is None:
        return [*row, "", "", ""]
    line = receipt[judged]
    mark = "!" if out_of_tolerance(receipt) else ""
    return [
        *row,
        named(judged, format_duration(line["asked_p50_ns"])),
        format_duration(line["achieved_p50_ns"]) + mark,
        f"{100 * late / answers:.1f}%",
    ]


def _most_frequent(results: Sequence[ArmResult]) -> list[str]:
    """The kinds of requests that are worth a column, over all runs."""
    total: Counter[str] = Counter()
    for result in results:
        for run in result.runs:
            total.update(run.share["requests"] if run.share is not None else {})
    return [name for name, _ in total.most_common(_SHOWN_REQUESTS)]


def _counts_row(result: ArmResult, run: Run, names: Sequence[str]) -> list[str]:
    assert run.share is not None
    requests = run.share["requests"]
    shown = [requests.get(name, 0) for name in names]
    all_requests, missing = sum(requests.values()), run.share["missing_lookups"]
    return [
        escape(result.arm),
        run.kind,
        f"{all_requests}",
        f"{missing}",
        f"{all_requests / missing:.1f}" if missing else "",
        *(f"{count}" for count in shown),
        f"{all_requests - sum(shown)}",
    ]


def _caveats(results: Sequence[ArmResult]) -> list[str]:
    """What a reader must know: failures, the shares' warnings, receipts out of tolerance."""
    lines = []
    for result in results:
        name = escape(result.arm)
        for warning in result.mounted["warnings"] if result.mounted else ():
            lines.append(f"[yellow]{name}: {escape(warning)}[/yellow]")
        for run in result.runs:
            if run.failure:
                lines.append(f"[red]{name}, {run.kind}: {escape(run.failure)}[/red]")
            if run.share is not None:
                lines += _out_of_tolerance(f"{name}, {run.kind}", run.share["receipt"])
            lines += [
                f"[yellow]{name}, {run.kind}: {escape(said)}[/yellow]"
                for said in warnings_of(_observed(result, run, results))
            ]
    lines.append(
        "  server: the emulator's own processor time, taken from the same cores. missing: lookups "
        "of names that do not exist; each: requests per missing name. asked, achieved: median of "
        "metadata requests, or of the class named, where that was waited for longer, ! where one "
        "was out of tolerance. Times scatter by some percent on a shared machine; counts repeat."
    )
    return lines


def _observed(result: ArmResult, run: Run, results: Sequence[ArmResult]) -> Observed:
    native = next((other for other in results if other.arm == NATIVE), None)
    same = None if native is None or native is result else native.counterpart(run)
    return observed(
        *(run.wall_s, run.workload_processor_s, run.others_processor_s, run.share),
        os.cpu_count() or 1,
        None if same is None or run.risk is not None else same.wall_s,
    )


def _out_of_tolerance(name: str, receipt: Mapping[str, Any]) -> list[str]:
    return [
        f"[red]{name}: {label}: asked for {format_duration(line['asked_p50_ns'])}, achieved "
        f"{format_duration(line['achieved_p50_ns'])} (median), {line['late']} of "
        f"{line['count']} late: out of tolerance[/red]"
        for label, line in out_of_tolerance(receipt).items()
    ]
