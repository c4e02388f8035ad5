"""What a workload risked under edits of the host: a line per arm."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from statistics import median
from typing import Any

from rich.console import Console
from rich.padding import Padding

from osxfs_sim.coherence.answers.risk import KINDS, SAME
from osxfs_sim.lab.results import Comparison
from osxfs_sim.lab.stale_answers import StaleAnswers
from osxfs_sim.lab.summary import kinds_of
from osxfs_sim.model.formatting import format_duration, format_significant
from osxfs_sim.report.tables import bold, table

RISK_COLUMNS = (
    "edits",
    "judged",
    "not judged",
    "stale",
    "of them",
    "median age",
    "max age",
    "result",
)
LEGEND = (
    "judged: what answers said of edited names (a stat says two things: that one is there, and "
    "its attributes); not judged: answers about names that the workload changes itself, or that "
    "cannot be known; stale: true of no state that the host had from call to return; age: since "
    "the host's edit. result: of the command, against a native run under the same edits; without "
    "a stale answer, what differs is the edits' doing. Only names that are edited are judged, and "
    "what is read through a mapping or without libc is not seen."
)

_WORDS = ("of them", "result")


def risk_report(out: Console, rows: Iterable[tuple[str, str, Sequence[Mapping[str, Any]]]]) -> None:
    """Print how stale the answers of each arm's runs were under edits; nothing without any.

    Nothing, if there are none.
    """
    lines = table(
        *("risk", "run"),
        *(name if name in _WORDS else f">{name}" for name in RISK_COLUMNS),
    )
    doubted = False
    for arm, kind, risks in rows:
        if risks:
            lines.add_row(bold(arm), kind, *risk_cells(risks))
            doubted = doubted or any(
                risk["native"]["stale"] or risk["native"]["unexplained"] for risk in risks
            )
    if not lines.row_count:
        return
    out.print(lines)
    if doubted:
        out.print(
            "  [red]answers of the native run were judged to be stale, which cannot be: "
            "do not believe this table[/red]"
        )
    out.print(Padding(LEGEND, (0, 0, 1, 2)))


def risks_of(
    comparison: Comparison,
) -> Iterator[tuple[str, str, list[Mapping[str, Any]]]]:
    """Yield arm, kind and the judged answers of its runs; nothing where the host was not edited.

    Of failed runs too: an edit may be what they failed of.
    """
    for kind in kinds_of(comparison):
        for arm in comparison.arms:
            risks = [one.risk for one in comparison.all_of(arm, kind) if one.risk]
            if risks:
                yield arm, kind, list(risks)


def risk_cells(risks: Sequence[Mapping[str, Any]]) -> list[str]:
    """The cells of a table below RISK_COLUMNS, from the judged answers of an arm's runs."""
    total = StaleAnswers.of(risks)
    stale = {kind: found.stale for kind in KINDS if (found := total.kinds.get(kind))}
    ages_ns = total.ages_ns
    return [
        f"{total.edits_made}",
        f"{total.things_judged}",
        f"{total.unknown}",
        f"{len(ages_ns)} ({format_significant(100 * len(ages_ns) / total.things_judged, 2)}%)"
        if ages_ns
        else "0",
        ", ".join(f"{kind} {count}" for kind, count in stale.items() if count),
        format_duration(round(median(ages_ns))) if ages_ns else "",
        format_duration(max(ages_ns)) if ages_ns else "",
        _results(risks),
    ]


def _results(risks: Sequence[Mapping[str, Any]]) -> str:
    """``same``, or how many runs came to something else; of which some were told the truth."""
    if not any("exit" in risk["compared"] for risk in risks):
        return "not compared"
    found = []
    for result in sorted({risk["result"] for risk in risks} - {SAME}):
        of_result = [risk for risk in risks if risk["result"] == result]
        truly = sum(not any(one["stale"] for one in risk["stale"].values()) for risk in of_result)
        truth = f" ({truly} without a stale answer)" if truly else ""
        found.append(f"{result} in {len(of_result)} of {len(risks)}{truth}")
    return ", ".join(found) or SAME
