"""What a workload risked under edits of the host: a line per arm."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from statistics import median
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.padding import Padding

from osxfs_sim.coherence.answers.risk import KINDS, SAME
from osxfs_sim.model.units import format_duration
from osxfs_sim.report.console import table

LEGEND = (
    "stale: answers that were true of no state the host had from call to return, of those that "
    "could be judged, and their share; age: since the host's edit. result: of the command, against "
    "a native run under the same edits. Only names that are edited are judged; what programs read "
    "through a mapping, or without libc, is not seen."
)


def risk_report(out: Console, rows: Iterable[tuple[str, str, Sequence[Mapping[str, Any]]]]) -> None:
    """Print a line for each of *rows*: an arm, a kind of run, and the risks of its runs.

    Nothing, if there are none.
    """
    lines = table(
        *("risk", "run", ">edits", ">judged", ">unknown"),
        *(f">{kind}" for kind in KINDS),
        *(">median age", ">max age", "result"),
    )
    doubted = False
    for arm, kind, risks in rows:
        if risks:
            lines.add_row(f"[bold]{escape(arm)}[/bold]", kind, *map(escape, _cells(risks)))
            doubted = doubted or any(risk["native"]["stale"] for risk in risks)
    if not lines.row_count:
        return
    out.print(lines)
    if doubted:
        out.print(
            "  [red]answers of the native run were judged to be stale, which cannot be: "
            "do not believe this table[/red]"
        )
    out.print(Padding(LEGEND, (0, 0, 1, 2)))


def _cells(risks: Sequence[Mapping[str, Any]]) -> list[str]:
    ages_ns = [
        age_ns for risk in risks for kind in risk["stale"].values() for age_ns in kind["ages_ns"]
    ]
    return [
        f"{sum(risk['edits']['made'] for risk in risks)}",
        f"{sum(risk['answers']['judged'] for risk in risks)}",
        f"{sum(risk['answers']['unknown'] for risk in risks)}",
        *(_share([risk["stale"][kind] for risk in risks]) for kind in KINDS),
        format_duration(round(median(ages_ns))) if ages_ns else "",
        format_duration(max(ages_ns)) if ages_ns else "",
        _results(risks),
    ]


def _share(counts: Sequence[Mapping[str, Any]]) -> str:
    """``12 (3.4%)``: how many were stale; a dash where none was judged."""
    judged = sum(count["judged"] for count in counts)
    stale = sum(count["stale"] for count in counts)
    if not judged:
        return "-"
    return f"{stale} ({100 * stale / judged:.2g}%)" if stale else "0"


def _results(risks: Sequence[Mapping[str, Any]]) -> str:
    """``same``, or how many runs came to something else."""
    results = Counter(risk["result"] for risk in risks)
    others = [
        f"{result} in {count} of {len(risks)}"
        for result, count in sorted(results.items())
        if result != SAME
    ]
    return ", ".join(others) or SAME
