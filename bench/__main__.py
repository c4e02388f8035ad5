"""The command: run benchmarks, save what they measured, and say which targets are met."""

import datetime
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import click
from rich.console import Console

from bench import (
    burst,
    control,
    floor,
    forced_end,
    idle,
    inodes,
    latency,
    listing,
    machine,
    prediction,
    results,
    sequential,
    simulate,
    small_writes,
    tracing,
    write_back,
)
from bench.clients import BUILD, HERE, CannotMeasureError
from bench.tables import show_judgements, show_rows
from bench.targets import Judgement, Verdict, judge
from osxfs_sim import MountError

BENCHMARKS: dict[str, Callable[[bool], dict[str, Any]]] = {
    "floor": floor.measure,
    "latency": latency.measure,
    "sequential": sequential.measure,
    "small_writes": small_writes.measure,
    "listing": listing.measure,
    "control": control.measure,
    "forced_end": forced_end.measure,
    "idle": idle.measure,
    "inodes": inodes.measure,
    "burst": burst.measure,
    "write_back": write_back.measure,
    "tracing": tracing.measure,
    "simulate": simulate.measure,
}
_MISSED, _FAILED = 1, 3
_WIDTH_OF_FILES = 180


@click.command()
@click.argument("names", nargs=-1, type=click.Choice(list(BENCHMARKS)), metavar="[NAME]...")
@click.option("--quick", is_flag=True, help="Small inputs: shows that all works, and no figures.")
@click.option(
    "--output",
    type=click.Path(file_okay=False, path_type=Path),
    help="Where the results' folder is made.  [default: bench/results; with --quick bench/build]",
)
@click.option(
    "--date",
    type=click.DateTime(["%Y-%m-%d"]),
    default=lambda: datetime.date.today().isoformat(),
    show_default="today",
    help="The date in the folder's name.",
)
@click.option(
    "--machine", "machine_name", help="The machine in the folder's name.  [default: its processor]"
)
@click.option("--strict", is_flag=True, help="Exit with 1 when a target is missed.")
def main(
    names: tuple[str, ...],
    quick: bool,
    output: Path | None,
    date: datetime.datetime,
    machine_name: str | None,
    strict: bool,
) -> None:
    """Measure the emulator itself: all benchmarks, or those NAMEd.

    Prints a table for each and one of all targets, and saves a file for each
    in bench/results/DATE-MACHINE. A missed target is reported, and is no error.
    """
    # As Ctrl-C does: every mount is taken away on the way out.
    signal.signal(signal.SIGTERM, _interrupt)
    if output is None:
        output = BUILD / "results" if quick else HERE / "results"
    directory = results.folder(
        output, date.date().isoformat(), machine_name or machine.short_name()
    )
    console = Console()
    if not console.is_terminal:
        console = Console(width=_WIDTH_OF_FILES)
    judgements: list[Judgement] = []
    failed: list[str] = []
    for name in dict.fromkeys(names or BENCHMARKS):
        console.rule(name)
        measured = _measure(console, name, quick)
        if measured is None:
            failed.append(name)
            continue
        result, described = measured
        judged = judge(name, result)
        judgements += judged
        result["targets"] = [judgement.as_plain_values() for judgement in judged]
        results.save(directory, name, result, described)
        show_rows(console, name, result)
    if judgements:
        console.rule()
        show_judgements(console, judgements, quick=quick)
        console.print(f"Results are in {directory}", soft_wrap=True)
    if failed:
        console.print(f"[red]Not measured, see above: {', '.join(failed)}[/]")
        raise SystemExit(_FAILED)
    if strict and any(judgement.verdict is Verdict.MISSED for judgement in judgements):
        raise SystemExit(_MISSED)


def _interrupt(*_: object) -> NoReturn:
    raise KeyboardInterrupt


def _measure(
    console: Console, name: str, quick: bool
) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """The result and the machine it was measured on, or None after saying why there is none."""
    described = machine.describe()
    stolen_s, start_s = machine.stolen_s(), time.monotonic()
    try:
        result = BENCHMARKS[name](quick)
    except (CannotMeasureError, MountError) as error:
        console.print(f"[red]{name}:[/] {error}")
        return None
    except Exception:
        # The others are worth having all the same.
        console.print(f"[red]{name} failed[/]")
        console.print(traceback.format_exc(), markup=False, highlight=False)
        return None
    taken_s = time.monotonic() - start_s
    described["measured_for_s"] = round(taken_s, 1)
    described["stolen_share_of_core"] = round((machine.stolen_s() - stolen_s) / taken_s, 4)
    return result, described


def _begin() -> None:
    """A matrix has options of its own, and takes hours: it is not one of all benchmarks."""
    if sys.argv[1:2] == ["prediction"]:
        prediction.main(sys.argv[2:], prog_name="python -m bench prediction")
    main()


if __name__ == "__main__":
    _begin()
