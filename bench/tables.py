"""Prints results and verdicts for a reader; the files have everything."""

from collections.abc import Sequence
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.figures import without_histograms
from bench.targets import Judgement, Verdict
from osxfs_sim.model.formatting import format_count, format_grouped

_COLOURS = {Verdict.MET: "green", Verdict.MISSED: "red", Verdict.NOT_MEASURED: "yellow"}


def show_rows(console: Console, name: str, result: dict[str, Any]) -> None:
    """The rows of a result, a table for each set of columns, and below its single figures."""
    rows = [
        {key: value for key, value in without_histograms(row).items() if _is_single(value)}
        for row in result["rows"]
    ]
    # Rows of one benchmark may show different things: those alike share a table.
    for columns in dict.fromkeys(tuple(row) for row in rows):
        table = Table(title=name, title_justify="left")
        for column in columns:
            table.add_column(column.replace("_", " "), justify="right", overflow="fold")
        for row in rows:
            if tuple(row) == columns:
                table.add_row(*map(_text, row.values()))
        console.print(table)
    singles = {key: value for key, value in result.items() if key != "rows" and _is_single(value)}
    console.print("  ".join(f"{key.replace('_', ' ')}: {_text(v)}" for key, v in singles.items()))


def show_judgements(console: Console, judgements: Sequence[Judgement], *, quick: bool) -> None:
    """Met, missed by how much, or not measured; one line a target."""
    title = "Targets, judged by a QUICK run: too short to be believed" if quick else "Targets"
    table = Table(title=title, title_justify="left")
    for column in ("target", "wanted", "measured", "verdict", "missed by"):
        table.add_column(column, justify="right" if column in ("measured", "missed by") else "left")
    for judgement in judgements:
        target = judgement.target
        colour = _COLOURS[judgement.verdict]
        value = (
            "" if judgement.value is None else f"{format_grouped(judgement.value, 4)} {target.unit}"
        )
        missed = ""
        if judgement.missed_by:
            missed = f"{format_grouped(judgement.missed_by, 3)} {target.unit}"
        verdict = f"[{colour}]{judgement.verdict.value}[/]"
        table.add_row(target.name, target.text, value, verdict, missed)
    console.print(table)


def _is_single(value: object) -> bool:
    return value is None or isinstance(value, str | int | float)


def _text(value: object) -> str:
    if isinstance(value, bool) or value is None:
        return {True: "yes", False: "no", None: "-"}[value]
    return format_count(value) if isinstance(value, int) else str(value)
