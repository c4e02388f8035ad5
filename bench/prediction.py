"""The matrix of predictions: cases by arms, each predicted from one recording and then run live.

    python -m bench prediction --output DIR
    python -m bench prediction --output DIR --cases rake --arms osxfs,osxfs-cached --runs 1 --quick

A case is recorded once and an arm measured once: what DIR has already, of this very program, is not
done again, so an interrupted matrix goes on, and a part of it can be had first. Each cell is saved
raw, by itself.
"""

import json
import os
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from bench import machine
from osxfs_sim.cli.arms import parse_arms
from osxfs_sim.lab.arms import Arm
from osxfs_sim.model.user_error import UserError
from osxfs_sim.predicting import record
from osxfs_sim.simulate.verification import Verified
from osxfs_sim.verifying import verify

SERIAL = ("rake", "find-stat", "walk", "git", "tar", "dd-1k", "sqlite")
"""Cases of one thread at a time."""
PARALLEL = ("npm-install", "ember", "vite-install", "pip-install")
"""Cases whose requests overlap."""
ARMS = (
    "osxfs",
    "osxfs-cached",
    "osxfs-negative",
    "osxfs-complete",
    "osxfs-cached --cache-timeout 1s",
    "osxfs-cached --cache-timeout 10s",
    "osxfs --latency 65us",
    "osxfs-delegated",
    "osxfs --latency 250us",
    "osxfs-negative --latency 250us",
    "docker-vz",
    "virtiofsd-auto",
)
"""Twelve systems that can be predicted; none of them was used to tune anything."""
_NOT_ALL = 3
"""The exit code where a cell could not be measured, as that of benchmarks."""
_ERRORS = ("error", "here_error", "one_line_error", "threads_error")
"""Of a cell: of the system, of a live run here, of the one line, and of threads alone."""


@click.command()
@click.option("--output", required=True, type=click.Path(file_okay=False, path_type=Path))
@click.option("--cases", default=",".join((*SERIAL, *PARALLEL)), help="Separated by commas.")
@click.option("--arms", default=",".join(ARMS), help="Separated by commas.")
@click.option("--runs", type=click.IntRange(min=1), default=5, show_default=True)
@click.option("--native-runs", type=click.IntRange(min=1), default=5, show_default=True)
@click.option("--quick", is_flag=True, help="Shortened commands: shows that all works.")
def main(output: Path, cases: str, arms: str, runs: int, native_runs: int, quick: bool) -> None:
    """Record cases, predict arms, run them live, and say how far each prediction was off."""
    console = Console(width=None if Console().is_terminal else 160)
    chosen = parse_arms([arm.strip() for arm in arms.split(",")])
    output.mkdir(parents=True, exist_ok=True)
    cells = []
    for case in cases.split(","):
        settings = {"case": case, "runs": runs, "native_runs": native_runs, "quick": quick}
        cells += _cells(console, output, settings, chosen)
    console.print(table_of(cells))
    for line in summary(cells):
        console.print(line, highlight=False)
    if len(cells) < len(cases.split(",")) * len(chosen):
        raise SystemExit(_NOT_ALL)


def _cells(
    console: Console, output: Path, settings: Mapping[str, Any], arms: Sequence[Arm]
) -> list[dict[str, Any]]:
    """The cells of a case, those that are saved already and those measured now."""
    case, quick = settings["case"], settings["quick"]
    stem = f"{case}-quick" if quick else case
    recording = output / f"{stem}.parquet"
    try:
        if not recording.exists():
            record(case, recording, native_runs=settings["native_runs"], quick=quick)
    except UserError as error:
        console.print(f"{case}: not recorded: {error}", highlight=False, markup=False)
        return []
    code = machine.describe()["code"]
    paths = {
        arm.label: output / f"{stem}.{arm.label.replace('/', '_').replace(' ', '_')}.json"
        for arm in arms
    }
    cells = {label: saved(path, settings["runs"], code) for label, path in paths.items()}
    # All that are not there in one comparison: in turn, so that a slow minute meets every arm.
    missing = [arm for arm in arms if cells[arm.label] is None]
    verified: tuple[Verified, ...] = ()
    try:
        if missing:
            verified = verify(recording, missing, count=len(missing), runs=settings["runs"])
    except UserError as error:
        console.print(f"{case}: {error}", highlight=False, markup=False)
    for arm, each in zip(missing, verified, strict=bool(verified)):
        cell = {**settings, **asdict(each), "counts_equal": each.counts_equal}
        document = {"benchmark": "prediction", "machine": machine.describe(), "cell": cell}
        _save(paths[arm.label], document)
        cells[arm.label] = cell
    return [cell for cell in cells.values() if cell is not None]


def saved(path: Path, runs: int, code: str) -> dict[str, Any] | None:
    """The cell in the file *path*; None: it is to be measured.

    As it is where it is not whole, or of other than *runs* runs, or of a program other than *code*.
    """
    try:
        document = json.loads(path.read_text())
        cell: dict[str, Any] = document["cell"]
        is_of_this = (cell.get("runs"), document["machine"]["code"]) == (runs, code)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return cell if is_of_this and not cell.get("failures") else None


def _save(path: Path, document: Mapping[str, Any]) -> None:
    """Whole or not at all: who is interrupted leaves no half of a cell."""
    part = path.with_suffix(".part")
    part.write_text(json.dumps(document, indent=1) + "\n")
    os.replace(part, path)


def table_of(cells: Iterable[Mapping[str, Any]]) -> Table:
    """A line for each cell."""
    table = Table(title="prediction", title_justify="left")
    for column in ("case", "arm", "runs", "counts", "measured s", *_ERRORS):
        table.add_column(column.replace("_", " "), justify="right")
    for cell in cells:
        live_ns = cell["measured_ns"]
        counts = {True: "equal", False: "differ", None: "failed"}[cell["counts_equal"]]
        table.add_row(
            *(cell["case"], cell["name"], str(cell["runs"]), counts),
            "" if live_ns is None else f"{live_ns / 1e9:.2f}",
            *("" if cell[each] is None else f"{cell[each]:+.1%}" for each in _ERRORS),
        )
    return table


def summary(cells: Sequence[Mapping[str, Any]]) -> list[str]:
    """Median and worst error of each model, of serial cases, parallel ones and all; a line each."""
    lines = []
    for kind, cases in (("serial", SERIAL), ("parallel", PARALLEL), ("all", None)):
        of = [each for each in cells if cases is None or each["case"] in cases]
        measured = [each for each in of if each["measured_ns"] is not None]
        if not measured:
            continue
        equal = sum(each["counts_equal"] for each in measured)
        lines.append(f"{kind}: counts equal in {equal} of {len(measured)}")
        for name in _ERRORS:
            off = [abs(each[name]) for each in measured if each[name] is not None]
            if off:
                lines.append(
                    f"{kind}: {name.replace('_', ' ')}: median {statistics.median(off):.1%}, "
                    f"worst {max(off):.1%}, of {len(off)}"
                )
    return lines
