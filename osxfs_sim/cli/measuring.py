"""Measures what was planned, saves it, and says how far it is: for run, compare and others."""

from collections.abc import Sequence
from pathlib import Path

import click

from osxfs_sim.cli.clean import sweep
from osxfs_sim.cli.progress import StepProgress, remaining_words
from osxfs_sim.cli.trust import tell_whose_case
from osxfs_sim.emulated_shares import EmulatedShares
from osxfs_sim.lab.arms import Arm
from osxfs_sim.lab.cases import load_case
from osxfs_sim.lab.comparing import (
    ComparisonPlan,
    PlanError,
    Taken,
    bench_for,
    new_comparison,
    take_all,
)
from osxfs_sim.lab.results import Comparison, Sample, save_result
from osxfs_sim.lab.schedule import Interleaved, RunSchedule, widest
from osxfs_sim.lab.trees import default_directory
from osxfs_sim.model.formatting import format_percent, format_plain, format_seconds

_SHARES = EmulatedShares()


def planned(plan: ComparisonPlan, arms: Sequence[Arm], made_by: str) -> Comparison:
    """A new comparison as *plan* has it, checked. Raises UsageError, CaseError or ProfileError."""
    try:
        return new_comparison(plan, arms, _SHARES, made_by=made_by)
    except PlanError as error:
        raise click.UsageError(str(error)) from error


def measure_all(
    comparison: Comparison,
    schedule: RunSchedule,
    arms: Sequence[Arm],
    plan: ComparisonPlan,
    output: Path | None,
    progress: StepProgress,
) -> None:
    """Take the samples that are missing, saving *output* after each mount. Raises CaseError."""
    tell_whose_case(load_case(plan.case))
    sweep(Path(plan.directory) if plan.directory else default_directory(), progress.say)
    bench = bench_for(
        *(comparison, arms, plan, _SHARES),
        result_directory=Path.cwd() if output is None else output.absolute().parent,
        progress=progress.begin,
        say=progress.say,
    )
    left = schedule.turns_left(comparison).total()
    progress.expect(schedule.turns_done(comparison), left)
    until = schedule.until if isinstance(schedule, Interleaved) else None
    for taken in take_all(comparison, schedule, bench):
        if output is not None:
            save_result(comparison, output)
        _tell(taken, comparison, until, progress)
    if until is not None and isinstance(schedule, Interleaved) and widest(comparison) > until:
        progress.say(
            f"--until {format_plain(100 * until)}% was not reached after {schedule.most_runs} "
            f"rounds: {_reached(comparison)}"
        )


def _tell(
    taken: Taken, comparison: Comparison, until: float | None, progress: StepProgress
) -> None:
    words = remaining_words(taken.remaining_s, at_most=until is not None)
    if until is not None:
        words = ", ".join(filter(None, (_reached(comparison), words)))
    said = ", ".join(map(_in_words, taken.samples))
    progress.finished(f"{taken.samples[0].arm}: {said}", taken.done, taken.left, words)


def _reached(comparison: Comparison) -> str:
    reach = widest(comparison)
    if reach == float("inf"):
        return "no interval yet"
    return f"intervals reach {format_percent(reach, 1)}"


def _in_words(sample: Sample) -> str:
    if sample.failure:
        return f"{sample.failure} ({sample.kind})"
    line = f": {sample.last_line}" if sample.last_line else ""
    return f"{format_seconds(sample.wall_s, 2)} ({sample.kind}){line}"
