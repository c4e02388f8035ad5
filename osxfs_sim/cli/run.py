"""``run`` and ``cases``: a case study, arm by arm."""

import os
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource
from click.shell_completion import CompletionItem

from osxfs_sim.cli.errors import end_on_signals
from osxfs_sim.cli.measuring import measure_all, planned
from osxfs_sim.cli.options import (
    ProfileName,
    case_options,
    directory_option,
    edits_option,
    json_option,
    share_options,
)
from osxfs_sim.cli.outputs import check_can_be_written
from osxfs_sim.cli.progress import StepProgress
from osxfs_sim.cli.saying import say_json
from osxfs_sim.fs.output import make_output_directory
from osxfs_sim.lab.arms import NATIVE, Arm, check_labels
from osxfs_sim.lab.cases import Case, CaseError, case_names, load_case
from osxfs_sim.lab.comparing import ComparisonPlan
from osxfs_sim.lab.machine import describe_machine_shortly
from osxfs_sim.lab.schedule import InTurn
from osxfs_sim.report.console import console
from osxfs_sim.report.runs import runs_report
from osxfs_sim.report.tables import table
from osxfs_sim.settings import ShareSettings


class CaseName(click.ParamType[str]):
    """A shipped case, or the path of a folder. Checked when it is loaded."""

    name = "case"

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """The shipped cases that begin with *incomplete*, as completions."""
        return [CompletionItem(name) for name in case_names() if name.startswith(incomplete)]


@click.command()
@json_option
def cases(as_json: bool) -> None:
    """List the case studies that can be run, and their variants and options."""
    if as_json:
        say_json([_described(load_case(name)) for name in case_names()], indent=2)
        return
    rows = table("case", "variants", "options", "what it is")
    for name in case_names():
        case = load_case(name)
        rows.add_row(name, ", ".join(case.variants), ", ".join(case.toggles), case.title)
    console().print(rows)


def _described(case: Case) -> dict[str, Any]:
    return {
        "name": case.name,
        "title": case.title,
        "purpose": case.purpose,
        "variants": list(case.variants),
        "options": {name: toggle.about for name, toggle in case.toggles.items()},
        "arms": list(case.arms),
        "claims": [asdict(claim) for claim in case.claims],
    }


@click.command()
@click.argument("case", type=CaseName())
@click.option(
    "--arm",
    "arms",
    multiple=True,
    type=ProfileName(),
    help="native, or a profile; give it several times. [as the case has them]",
)
@case_options
@click.option("--runs", type=click.IntRange(min=1), default=2, help="A fresh one and others. [2]")
@click.option(
    "--json", "json_file", type=click.Path(dir_okay=False), help="Save all that was measured."
)
@click.option(
    "--trace",
    "traces",
    type=click.Path(file_okay=False),
    metavar="DIRECTORY",
    help="Keep a trace of each run's requests there; see analyze.",
)
@directory_option
@edits_option
@share_options
@click.pass_context
def run(
    ctx: click.Context,
    /,
    case: str,
    arms: tuple[str, ...],
    quick: bool,
    variant: str | None,
    toggles: tuple[str, ...],
    runs: int,
    json_file: str | None,
    traces: str | None,
    directory: str | None,
    edits: str | None,
    **options: Any,
) -> None:
    """Run a case study under each arm, and print a table.

    The options of a share (--latency and so on) apply to every mounted arm.
    """
    loaded = load_case(case)
    loaded.check_needs()
    chosen = [Arm(name, name) for name in arms or loaded.arms]
    check_labels(chosen)
    if quick and loaded.quick is None:
        raise CaseError(f"the case {loaded.name} has no quick form: run it without --quick")
    is_mounted = any(not arm.is_native for arm in chosen)
    # The seed is that of the edits, too.
    unused = ShareSettings("", "", seed=options["seed"] if edits else 0)
    if not is_mounted and ShareSettings("", "", **options) != unused:
        raise CaseError("options of a share have no effect without a mounted arm: add --arm osxfs")
    if not is_mounted and traces is not None:
        raise CaseError("--trace has no effect without a mounted arm: add --arm osxfs")
    given = {"seed": options["seed"]} | {
        name: value
        for name, value in options.items()
        if ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE
    }
    chosen = [arm if arm.is_native else replace(arm, options=given) for arm in chosen]
    plan = ComparisonPlan(
        case=case,
        runs=runs,
        arms=[arm.label for arm in chosen],
        baseline=next((arm.label for arm in chosen if arm.label == NATIVE), None),
        again=runs > 1,
        quick=quick,
        variant=variant,
        toggles=toggles,
        directory=directory,
        seed=options["seed"],
        dilate=options["dilate"],
        trace=traces,
        edits=edits,
    )
    comparison = planned(plan, chosen, "run")
    _check_files(json_file, traces)
    end_on_signals()
    output = None if json_file is None else Path(json_file)
    with StepProgress(begin_lines=True) as progress:
        try:
            measure_all(comparison, InTurn(runs), chosen, plan, output, progress)
        finally:
            # What is finished is kept, also when the rest is interrupted.
            progress.stop()
            if comparison.samples:
                runs_report(comparison, describe_machine_shortly())
                if output is not None:
                    progress.say(f"saved to {output}")
    if any(sample.failure for sample in comparison.samples):
        sys.exit(1)


def _check_files(json_file: str | None, traces: str | None) -> None:
    if json_file is not None:
        check_can_be_written(json_file)
    if traces is not None:
        make_output_directory(traces)
        if os.listdir(traces):
            raise CaseError(f"{traces} is not empty: name another directory for the traces")
