"""``frontier``: what each policy gains in time and costs in stale answers, under host edits."""

import dataclasses
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import click
from click.core import ParameterSource

from osxfs_sim.cli.arms import parse_arms
from osxfs_sim.cli.errors import end_on_signals
from osxfs_sim.cli.measuring import measure_all, planned
from osxfs_sim.cli.options import Edits, case_options, directory_option, force_option, seed_option
from osxfs_sim.cli.outputs import check_can_be_written
from osxfs_sim.cli.progress import StepProgress
from osxfs_sim.cli.saying import say_json, say_lines
from osxfs_sim.cli.trust import (
    check_file,
    check_result,
    is_own_case,
    modules_of,
    trust_option,
)
from osxfs_sim.fs.output import write_output
from osxfs_sim.lab.arms import Arm, check_arms
from osxfs_sim.lab.cases import CaseError
from osxfs_sim.lab.comparing import ComparisonPlan, gone_on_with
from osxfs_sim.lab.frontier import GROUPS, Best, Point, Standing
from osxfs_sim.lab.machine import describe_machine_shortly
from osxfs_sim.lab.results import Comparison, ResultError, load_result, read_from
from osxfs_sim.lab.sweep import DEFAULT, load_sweep
from osxfs_sim.model.escaping import quoted
from osxfs_sim.model.user_error import UserError
from osxfs_sim.report.frontier import (
    Frontier,
    frontier_markdown,
    frontier_of,
    frontier_report,
)

_PICTURES: Mapping[str, Literal["svg", "png"]] = {".svg": "svg", ".png": "png"}
_EDITS = "vim"
"""Recorded from an editor that puts a new file in the old one's place."""
_SHOWING = ("what", "show", "picture", "dark", "markdown", "as_json")
_WITH_RESUME = (*_SHOWING, "resume", "runs", "trust")


@click.command()
@click.argument("what", nargs=-1, metavar="CASE | --show FILE...")
@click.option(
    "--sweep",
    default=DEFAULT,
    metavar="NAME",
    help="Which arms: default, short, brief, latency, or a .toml file like theirs. [default]",
)
@click.option(
    "--arm",
    "arms",
    multiple=True,
    metavar="ARM",
    help="Instead of a sweep: as compare has them. Give it several times.",
)
@click.option("--runs", type=click.IntRange(min=1), default=5, help="Of each arm. [5]")
@click.option(
    "--edits",
    type=Edits(),
    default=_EDITS,
    metavar="STREAM",
    help=f"What the host does meanwhile; see `osxfs-sim edits list`. [{_EDITS}]",
)
@case_options
@directory_option
@seed_option
@click.option(
    "-o",
    "--output",
    type=click.Path(dir_okay=False),
    help="Where every sample is saved. [frontier-CASE.json]",
)
@force_option
@click.option(
    "--resume",
    type=click.Path(dir_okay=False),
    metavar="FILE",
    help="Go on with an interrupted one; --runs may ask for more.",
)
@click.option("--show", is_flag=True, help="Measure nothing: what these FILEs say, together.")
@click.option(
    "--picture",
    type=click.Path(dir_okay=False),
    metavar="FILE",
    help="Draw it, as .svg or .png.",
)
@trust_option
@click.option("--dark", is_flag=True, help="The picture for a dark page.")
@click.option("--markdown", is_flag=True, help="Print tables in Markdown.")
@click.option("--json", "as_json", is_flag=True, help="Print what is derived as JSON.")
@click.pass_context
def frontier(ctx: click.Context, /, **asked: Any) -> None:
    """Sweep cache policies under host edits: wall time against stale answers.

    \b
    osxfs-sim frontier rake --quick --picture frontier.svg
    osxfs-sim frontier git --runs 10 --edits rewrite@10/s,same
    osxfs-sim frontier --resume frontier-git.json --runs 20
    osxfs-sim frontier --show frontier-*.json --picture frontier.svg

    Each arm is run in turn, in random order, on a fresh mount of a fresh tree, while
    the host edits files of it. A table says of each group of arms which is the
    fastest without a stale answer, with none older than 100 ms, and at all.
    Ctrl-C keeps what is finished.
    """
    given = {
        name for name in ctx.params if ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE
    }
    _check_showing(asked)
    if asked["show"]:
        _refuse_beside("--show", given - {*_SHOWING})
        if not asked["what"]:
            raise click.UsageError("--show takes files that frontier has saved")
        comparisons = [load_result(path) for path in asked["what"]]
        for path, comparison in zip(asked["what"], comparisons, strict=True):
            if not comparison.samples:
                raise ResultError(f"{path} holds no samples yet: nothing can be shown of it")
        with read_from(", ".join(asked["what"])):
            _tell(comparisons, asked)
        return
    if asked["resume"] is not None:
        comparison, arms, plan = _resumed(asked, given)
    else:
        comparison, arms, plan = _begun(asked, given)
    output = Path(asked["resume"] or asked["output"] or f"frontier-{comparison.case}.json")
    _check_output(output, asked)
    end_on_signals()
    _carry_out(comparison, arms, plan, output, asked)
    if any(sample.failure for sample in comparison.samples):
        sys.exit(1)


def _check_showing(asked: Mapping[str, Any]) -> None:
    if asked["markdown"] and asked["as_json"]:
        raise click.UsageError("--markdown has no effect beside --json: leave one of them out")
    if asked["picture"] is not None and Path(asked["picture"]).suffix not in _PICTURES:
        raise click.UsageError(f"--picture {asked['picture']}: name a file in .svg or .png")
    if asked["picture"] is not None:
        # A sweep takes hours, and is drawn at its end.
        check_can_be_written(Path(asked["picture"]))
    if asked["dark"] and asked["picture"] is None:
        raise click.UsageError("--dark has no effect without --picture")


def _refuse_beside(option: str, names: set[str]) -> None:
    spelled = {"arms": "arm", "toggles": "with"}
    for name in sorted(names):
        raise click.UsageError(
            f"--{spelled.get(name, name)} has no effect with {option}: leave one of them out"
        )


def _begun(
    asked: Mapping[str, Any], given: set[str]
) -> tuple[Comparison, tuple[Arm, ...], ComparisonPlan]:
    """What was asked for, without a sample yet."""
    if len(asked["what"]) != 1:
        raise click.UsageError("name one case, such as rake; --show takes files")
    if asked["arms"] and "sweep" in given:
        raise click.UsageError("--arm has no effect with --sweep: leave one of them out")
    groups: dict[str, str] = {}
    if asked["arms"]:
        words = list(asked["arms"])
    else:
        sweep = load_sweep(asked["sweep"])
        if asked["sweep"].endswith(".toml"):
            check_file(asked["sweep"], modules_of(sweep.arms), trusted=asked["trust"])
        words = list(sweep.arms)
        for group in sweep.groups:
            groups |= {arm.label: group.name for arm in parse_arms(group.arms)}
    arms = parse_arms(words)
    check_arms(arms)
    if not any(not arm.is_native for arm in arms):
        raise click.UsageError("a frontier takes an arm with a share, such as --arm osxfs")
    plan = _plan(asked, words)
    comparison = planned(plan, arms, "frontier")
    comparison.plan["sweep"] = None if asked["arms"] else asked["sweep"]
    comparison.plan[GROUPS] = groups
    return comparison, arms, plan


def _plan(asked: Mapping[str, Any], words: Sequence[str]) -> ComparisonPlan:
    """As compare has it, of which a frontier is a special one."""
    return ComparisonPlan(
        case=asked["what"][0],
        runs=asked["runs"],
        most_runs=asked["runs"],
        arms=list(words),
        quick=asked["quick"],
        variant=asked["variant"],
        toggles=tuple(asked["toggles"]),
        directory=asked["directory"],
        seed=asked["seed"],
        edits=asked["edits"],
    )


def _resumed(
    asked: Mapping[str, Any], given: set[str]
) -> tuple[Comparison, tuple[Arm, ...], ComparisonPlan]:
    """What was interrupted, if nothing that it compares has changed since."""
    _refuse_beside("--resume", given - {*_WITH_RESUME} - {"what"})
    before = load_result(asked["resume"])
    if GROUPS not in before.plan:
        raise ResultError(f"{asked['resume']} cannot be resumed: it was not made by frontier")
    if asked["what"] and list(asked["what"]) != [before.plan.get("case")]:
        raise click.UsageError(
            f"{asked['resume']} is of the case {before.plan.get('case')}: name that with "
            "--resume, or none"
        )
    named = {"case"} if asked["what"] else set()
    check_result(before, asked["resume"], named, trusted=asked["trust"])
    more = {"runs": asked["runs"], "most_runs": asked["runs"]} if "runs" in given else {}
    plan = ComparisonPlan.saved_in(before, **more)
    arms = parse_arms(plan.arms or ())
    return gone_on_with(before, planned(plan, arms, "frontier"), asked["resume"]), arms, plan


def _check_output(output: Path, asked: Mapping[str, Any]) -> None:
    check_can_be_written(output)
    if output.exists() and asked["resume"] is None and not asked["force"]:
        raise CaseError(
            f"{output} exists: --resume {quoted(str(output))} goes on with it, "
            "--force overwrites it, --output names another"
        )


def _carry_out(
    comparison: Comparison,
    arms: tuple[Arm, ...],
    plan: ComparisonPlan,
    output: Path,
    asked: Mapping[str, Any],
) -> None:
    with StepProgress() as progress:
        try:
            measure_all(comparison, plan.schedule, arms, plan, output, progress)
        finally:
            # What is finished is kept, also when the rest is interrupted.
            progress.stop()
            if comparison.samples:
                _tell([comparison], asked)
                progress.say(f"saved to {output}")
                if sys.exc_info()[0] is not None:
                    case = f"{quoted(plan.case)} " if is_own_case(plan.case) else ""
                    trust = " --trust" if any(modules_of(plan.arms or ())) else ""
                    progress.say(
                        f"to go on: osxfs-sim frontier {case}--resume {quoted(str(output))}{trust}"
                    )


def _tell(comparisons: Sequence[Comparison], asked: Mapping[str, Any]) -> None:
    frontiers = [frontier_of(comparison) for comparison in comparisons]
    if asked["picture"] is not None:
        _draw(frontiers, Path(asked["picture"]), is_dark=asked["dark"])
    if asked["as_json"]:
        documents = [_document(one) for one in frontiers]
        say_json({"frontiers": documents}, indent=1)
    elif asked["markdown"]:
        say_lines(frontier_markdown(frontiers))
    else:
        machines = {describe_machine_shortly(one.machine): None for one in comparisons}
        frontier_report(frontiers, "; ".join(machines))


def _draw(frontiers: Sequence[Frontier], path: Path, *, is_dark: bool) -> None:
    # Drawing takes a library that takes a second to load.
    from osxfs_sim.report.frontier_picture import frontier_picture
    from osxfs_sim.report.plots import DARK, LIGHT, Style, render

    style = Style(DARK if is_dark else LIGHT)
    try:
        picture = render(frontier_picture(frontiers, style), style, _PICTURES[path.suffix])
        write_output(path, picture)
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}") from error


def _document(one: Frontier) -> dict[str, Any]:
    comparison = one.comparison
    return {
        "case": comparison.case,
        "variant": comparison.variant,
        "quick": comparison.quick,
        "sweep": comparison.plan.get("sweep"),
        "edits": comparison.plan.get("edits"),
        "native": [_point(point, None) for point in one.natives],
        "points": [_point(point, one.standings[point.arm]) for point in one.points],
        "best": [_best(best) for best in one.best],
    }


def _point(point: Point, standing: Standing | None) -> dict[str, Any]:
    """The ages of all stale answers are in the samples; here is what they come to."""
    document = dataclasses.asdict(point) | {
        "stale": point.stale,
        "oldest_ns": point.oldest_ns,
        "standing": None if standing is None else standing.value,
    }
    del document["ages_ns"]
    return document


def _best(best: Best) -> dict[str, Any]:
    return {
        "group": best.group,
        "limit": dataclasses.asdict(best.limit),
        "arm": best.point and best.point.arm,
        "not_slower": list(best.not_slower),
        "is_sure": best.is_sure,
        "why_not": dict(best.why_not),
    }
