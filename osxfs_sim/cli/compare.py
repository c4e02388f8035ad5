"""``compare``: a case under several arms, interleaved, with how sure one can be."""

import dataclasses
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from osxfs_sim.cli.arms import parse_arm, parse_arms
from osxfs_sim.cli.errors import end_on_signals
from osxfs_sim.cli.measuring import measure_all, planned
from osxfs_sim.cli.options import (
    case_options,
    directory_option,
    edits_option,
    force_option,
    seed_option,
)
from osxfs_sim.cli.outputs import check_can_be_written
from osxfs_sim.cli.progress import StepProgress
from osxfs_sim.cli.run import CaseName
from osxfs_sim.cli.saying import say_json
from osxfs_sim.cli.trust import check_result, is_own_case, modules_of, trust_option
from osxfs_sim.fs.output import make_output_directory
from osxfs_sim.lab.arms import Arm, check_arms, twins_of
from osxfs_sim.lab.caches import COLD, WARM
from osxfs_sim.lab.cases import CaseError, load_case
from osxfs_sim.lab.comparing import ComparisonPlan, gone_on_with
from osxfs_sim.lab.false_alarms import false_alarms
from osxfs_sim.lab.machine import describe_machine_shortly
from osxfs_sim.lab.results import Comparison, ResultError, load_result, read_from
from osxfs_sim.lab.statistics import FEWEST_FOR_INTERVAL
from osxfs_sim.lab.summary import kinds_of, summarize
from osxfs_sim.model.escaping import quoted
from osxfs_sim.report.comparison import comparison_report


class _Percentage(click.ParamType[float]):
    """``2%``; the value is a share. A bare number could be either, so it is refused."""

    name = "percentage"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        if isinstance(value, float):
            return value
        text = str(value).strip()
        try:
            percent = float(text.removesuffix("%"))
        except ValueError:
            percent = 0.0
        if not text.endswith("%") or not 0 < percent < 100:
            self.fail(f"{value!r} is not a percentage: write it like 2%", param, ctx)
        return percent / 100


# With --resume what was planned is as the interrupted comparison had it, unless it is given anew;
# then all but how many runs there are must be the same, or it is refused. These cannot be given.
_ANEW = ("output", "force")


@click.command()
@click.argument("case", type=CaseName(), required=False)
@click.option(
    "--arm",
    "arms",
    multiple=True,
    metavar="ARM",
    help="native, or a profile with options of a share, such as 'osxfs --latency 65us'; "
    "'NAME=...' names it. Give it several times. [as the case has them]",
)
@click.option("--aa", metavar="ARM", help="Compare an arm with itself: how often is that noticed?")
@click.option("--runs", type=click.IntRange(min=1), default=10, help="Of each arm. [10]")
@click.option(
    "--until",
    type=_Percentage(),
    help="Go on after --runs until each interval reaches no further than this to either side, "
    "such as 2%.",
)
@click.option(
    "--most-runs", type=click.IntRange(min=1), default=50, help="With --until: then stop. [50]"
)
@click.option("--baseline", metavar="LABEL", help="What the others are compared with. [first arm]")
@click.option(
    "--caches",
    type=click.Choice((WARM, COLD)),
    default=WARM,
    help="Of the host, when a run begins; cold needs root. [warm]",
)
@click.option("--again", is_flag=True, help="Run a second time on each mount, measured as well.")
@case_options
@directory_option
@edits_option
@seed_option
@click.option(
    "--dilate",
    type=float,
    default=1.0,
    metavar="K",
    help="Multiply every time in the model by K, in every mounted arm that does not say its own.",
)
@click.option(
    "--output",
    type=click.Path(dir_okay=False),
    help="Where every sample is saved. [comparison-CASE.json]",
)
@force_option
@click.option(
    "--resume",
    type=click.Path(dir_okay=False),
    metavar="FILE",
    help="Go on with an interrupted comparison; --runs and --until may ask for more.",
)
@trust_option
@click.option(
    "--trace",
    type=click.Path(file_okay=False),
    metavar="DIRECTORY",
    help="Keep a trace of each run's requests there.",
)
@click.option(
    "--show",
    type=click.Path(dir_okay=False),
    metavar="FILE",
    help="Measure nothing: what a comparison that was saved says.",
)
@click.option("--json", "as_json", is_flag=True, help="Print what is derived as JSON, no table.")
@click.pass_context
def compare(
    ctx: click.Context,
    /,
    resume: str | None,
    show: str | None,
    trust: bool,
    as_json: bool,
    **asked: Any,
) -> None:
    """Run a case under several arms in random order, and say what differs. Raises UserError.

    \b
    osxfs-sim compare rake --quick --arm native --arm osxfs --arm 'osxfs --latency 65us'
    osxfs-sim compare --resume comparison-rake.json --runs 20
    osxfs-sim compare --show comparison-rake.json

    Every sample is saved when it is taken: Ctrl-C keeps what is finished.
    """
    given = {
        name for name in ctx.params if ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE
    }
    if show is not None:
        for name in sorted(given - {"show", "as_json"}):
            spelled = {"arms": "--arm", "toggles": "--with", "case": "CASE"}.get(name, f"--{name}")
            raise click.UsageError(f"{spelled} has no effect with --show: leave one of them out")
        _show_saved(show, as_json)
        return
    before = None
    if resume is not None:
        before = load_result(resume)
        if before.made_by == "run" or "recipe" not in before.sources:
            raise ResultError(f"{resume} cannot be resumed: it was not made by compare")
        check_result(before, resume, given, trusted=trust)
        for name in _ANEW:
            if name in given:
                raise click.UsageError(f"--{name} has no effect with --resume: it goes on in FILE")
        asked |= _as_before(before, given)
    _check_together(asked, given)
    plan = ComparisonPlan(
        **{each.name: asked[each.name] for each in dataclasses.fields(ComparisonPlan)}
    )
    arms = _arms_of(plan)
    comparison = planned(plan, arms, "compare")
    if before is not None:
        comparison = gone_on_with(before, comparison, str(resume))
    output = Path(resume or asked["output"] or f"comparison-{comparison.case}.json")
    _check_files(output, asked, resumes=resume is not None)
    end_on_signals()
    _carry_out(comparison, arms, plan, output, as_json)
    if any(sample.failure for sample in comparison.samples):
        sys.exit(1)


def _as_before(before: Comparison, given: set[str]) -> dict[str, Any]:
    """What the interrupted comparison was asked for, but for what is *given* anew."""
    plan = dataclasses.asdict(ComparisonPlan.saved_in(before))
    return {name: value for name, value in plan.items() if name not in given}


def _check_together(asked: Mapping[str, Any], given: set[str]) -> None:
    """Raise UsageError for options that contradict each other, or have no effect."""
    if asked["case"] is None:
        raise click.UsageError("name a case, such as rake, or --resume a file")
    if asked["until"] is None and "most_runs" in given:
        raise click.UsageError("--most-runs has no effect without --until")
    if asked["until"] is not None and asked["most_runs"] < max(asked["runs"], FEWEST_FOR_INTERVAL):
        raise click.UsageError(
            f"--most-runs {asked['most_runs']} leaves --until no room: give at least "
            f"{max(asked['runs'], FEWEST_FOR_INTERVAL)}"
        )
    if asked["aa"] is not None:
        for name in ("arms", "baseline", "until"):
            if asked[name]:
                option = {"arms": "arm"}.get(name, name)
                raise click.UsageError(f"--{option} has no effect with --aa: leave one of them out")


def _arms_of(plan: ComparisonPlan) -> tuple[Arm, ...]:
    if plan.aa is not None:
        return twins_of(parse_arm(plan.aa))
    arms = parse_arms(plan.arms or load_case(plan.case).arms)
    check_arms(arms)
    return arms


def _check_files(output: Path, asked: Mapping[str, Any], *, resumes: bool) -> None:
    check_can_be_written(output)
    if output.exists() and not resumes and not asked["force"]:
        raise CaseError(
            f"{output} exists: --resume {quoted(str(output))} goes on with it, "
            "--force overwrites it, --output names another"
        )
    if asked["trace"] is not None:
        make_output_directory(asked["trace"])
        if os.listdir(asked["trace"]) and not resumes and not asked["force"]:
            raise CaseError(
                f"{asked['trace']} is not empty: name another directory, or overwrite with --force"
            )


def _carry_out(
    comparison: Comparison,
    arms: tuple[Arm, ...],
    plan: ComparisonPlan,
    output: Path,
    as_json: bool,
) -> None:
    with StepProgress() as progress:
        try:
            measure_all(comparison, plan.schedule, arms, plan, output, progress)
        finally:
            # What is finished is kept, also when the rest is interrupted.
            progress.stop()
            if comparison.samples:
                _show(comparison, as_json)
                progress.say(f"saved to {output}")
                if sys.exc_info()[0] is not None:
                    progress.say(f"to go on: {_to_go_on(plan, output)}")


def _to_go_on(plan: ComparisonPlan, output: Path) -> str:
    """The command, with what the file alone would not be believed."""
    case = f"{quoted(plan.case)} " if is_own_case(plan.case) else ""
    words = [*(plan.arms or ()), *([plan.aa] if plan.aa else [])]
    trust = " --trust" if any(modules_of(words)) else ""
    return f"osxfs-sim compare {case}--resume {quoted(str(output))}{trust}"


def _show_saved(path: str, as_json: bool) -> None:
    comparison = load_result(path)
    if not comparison.samples:
        raise ResultError(f"{path} holds no samples yet: nothing can be shown of it")
    with read_from(path):
        _show(comparison, as_json, describe_machine_shortly(comparison.machine))


def _show(comparison: Comparison, as_json: bool, machine: str | None = None) -> None:
    summaries = summarize(comparison, seed=comparison.seed)
    alarms = []
    if comparison.plan.get("aa") is not None:
        for kind in kinds_of(comparison):
            found = false_alarms(comparison, kind, seed=comparison.seed)
            if found is not None:
                alarms.append((kind, found))
    if not as_json:
        machine = machine or describe_machine_shortly()
        comparison_report(comparison, summaries, machine, alarms)
        return
    document = {
        "case": comparison.case,
        "variant": comparison.variant,
        "quick": comparison.quick,
        "caches": comparison.caches,
        "baseline": comparison.baseline,
        "arms": [dataclasses.asdict(summary) for summary in summaries],
        "false_alarms": [
            {"kind": kind, **dataclasses.asdict(found), "rate": found.rate}
            for kind, found in alarms
        ],
    }
    say_json(document, indent=1)
