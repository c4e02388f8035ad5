"""``reproduce``: a published table, measured again and set beside what was published."""

import dataclasses
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import click
from click.shell_completion import CompletionItem

from osxfs_sim.catalogue import load_profile
from osxfs_sim.cli.arms import parse_arm
from osxfs_sim.cli.errors import end_on_signals
from osxfs_sim.cli.measuring import measure_all, planned
from osxfs_sim.cli.options import directory_option, seed_option
from osxfs_sim.cli.outputs import check_can_be_written
from osxfs_sim.cli.progress import StepProgress
from osxfs_sim.cli.saying import say_json, say_lines, tell
from osxfs_sim.cli.trust import check_file, modules_of, scripts_of, trust_option
from osxfs_sim.fs.output import make_output_directory, write_output
from osxfs_sim.lab.arms import NATIVE, Arm
from osxfs_sim.lab.comparing import ComparisonPlan, gone_on_with
from osxfs_sim.lab.machine import describe_machine_shortly
from osxfs_sim.lab.reproduction import Reproduction, bars_of, reproduction, table_arms
from osxfs_sim.lab.results import Comparison, ResultError, load_result, read_from
from osxfs_sim.lab.statistics import median_estimate
from osxfs_sim.lab.study import TABLE, Study, load_study, study_names
from osxfs_sim.model.escaping import quoted
from osxfs_sim.model.user_error import UserError
from osxfs_sim.report.reproduction import reproduction_markdown, reproduction_report

_MACHINE = "machine"
"""The first step's file: how fast this machine is natively."""
_MACHINE_RUNS = 3
"""However many are asked for later: the dilations are made from it, and stay."""


_PICTURES: Mapping[str, Literal["svg", "png"]] = {".svg": "svg", ".png": "png"}


class StudyName(click.ParamType[str]):
    """A study that is shipped, or a file."""

    name = "study"

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        """The shipped studies that begin with *incomplete*, as completions."""
        return [CompletionItem(name) for name in study_names() if name.startswith(incomplete)]


@dataclasses.dataclass(frozen=True, slots=True)
class _Asked:
    runs: int
    quick: bool
    seed: int
    directory: str | None
    output: Path
    resumes: bool


@click.command()
@click.argument("study", type=StudyName())
@click.option("--runs", type=click.IntRange(min=1), default=3, help="Of each arm. [3]")
@click.option("--quick", is_flag=True, help="The case's short form, once: a look at the procedure.")
@seed_option
@directory_option
@click.option(
    "--output",
    type=click.Path(file_okay=False),
    help="A directory for the samples. [reproduction-STUDY]",
)
@click.option(
    "--resume",
    type=click.Path(exists=True, file_okay=False),
    metavar="DIRECTORY",
    help="Go on with what is there; --runs may ask for more.",
)
@click.option(
    "--show",
    type=click.Path(exists=True, file_okay=False),
    metavar="DIRECTORY",
    help="Measure nothing: what the samples there say.",
)
@click.option(
    "--picture",
    type=click.Path(dir_okay=False),
    metavar="FILE",
    help="Draw the ratios of bind mounts, published and ours, as .svg or .png.",
)
@trust_option
@click.option("--markdown", is_flag=True, help="Print tables in Markdown.")
@click.option("--json", "as_json", is_flag=True, help="Print what is derived as JSON.")
@click.pass_context
def reproduce(
    ctx: click.Context,
    /,
    study: str,
    output: str | None,
    resume: str | None,
    show: str | None,
    picture: str | None,
    trust: bool,
    markdown: bool,
    as_json: bool,
    **measured: Any,
) -> None:
    """Measure a published table of platforms and topologies again, and compare.

    \b
    osxfs-sim reproduce npm-install                 # an hour or more
    osxfs-sim reproduce npm-install --quick         # minutes; no result, a look
    osxfs-sim reproduce npm-install --resume reproduction-npm-install --runs 5
    osxfs-sim reproduce npm-install --show reproduction-npm-install

    STUDY is npm-install, or a file like it. First this machine's native time is
    measured: what the published one took makes K of it, the dilation at which
    ratios can be compared. Then all arms are measured in turn, in random order.
    Ctrl-C keeps what is finished.
    """
    if markdown and as_json:
        raise click.UsageError("--markdown has no effect beside --json: leave one of them out")
    if picture is not None and Path(picture).suffix not in _PICTURES:
        raise click.UsageError(f"--picture {picture}: name a file that ends in .svg or .png")
    if picture is not None:
        check_can_be_written(picture)  # it is drawn when all is measured
    found = load_study(study)
    if show is not None:
        _refuse_beside(ctx, "--show", ("runs", "quick", "seed", "directory", "output", "resume"))
        saved = _load_all(found, Path(show))
        with read_from(show):
            _tell(found, saved, picture, markdown, as_json)
        return
    if resume is not None:
        _refuse_beside(ctx, "--resume", ("output",))
    if study.endswith(".toml"):
        check_file(study, _run_by(found), trusted=trust)
    directory = Path(resume or output or f"reproduction-{found.name}")
    _make_directory(directory, resumes=resume is not None)
    if measured["quick"]:
        measured["runs"] = 1
    end_on_signals()
    asked = _Asked(**measured, output=directory, resumes=resume is not None)
    try:
        _measure_all(found, asked)
    except BaseException:
        tell(
            f"  to go on: osxfs-sim reproduce {quoted(study)} --resume {quoted(str(directory))}"
            + (" --quick" if asked.quick else "")
        )
        raise
    comparisons = _load_all(found, directory)
    _tell(found, comparisons, picture, markdown, as_json)
    if any(sample.failure for one in comparisons.values() for sample in one.samples):
        sys.exit(1)


def _run_by(study: Study) -> list[str]:
    """In words, what of its own this study has run."""
    cases = dict.fromkeys((study.case, *(other.case for other in study.others)))
    arms = [
        *(study.local, *(platform.profile for platform in study.platforms)),
        *(study.extra_arms or {}).values(),
        *(arm for other in study.others for arm in other.arms),
    ]
    return [*(each for case in cases for each in scripts_of(case)), *modules_of(arms)]


def _refuse_beside(ctx: click.Context, option: str, names: tuple[str, ...]) -> None:
    given = click.core.ParameterSource.COMMANDLINE
    for name in names:
        if ctx.get_parameter_source(name) is given:
            raise click.UsageError(f"--{name} has no effect with {option}: leave one of them out")


def _make_directory(directory: Path, *, resumes: bool) -> None:
    try:
        make_output_directory(directory)
    except OSError as error:
        raise UserError(f"cannot make {directory}: {error.strerror}") from error
    if any(directory.iterdir()) and not resumes:
        raise UserError(
            f"{directory} is not empty: --resume {directory} goes on with it, "
            "--output names another"
        )


def _measure_all(study: Study, asked: _Asked) -> None:
    """The machine first, because the table's dilations are made from it."""
    native = {NATIVE: "native"}
    first = dataclasses.replace(asked, runs=1 if asked.quick else _MACHINE_RUNS)
    _measure(first, _MACHINE, study.case, None, native, again=False)
    native_s = _native_s(load_result(asked.output / f"{_MACHINE}.json"))
    arms = table_arms(study, native_s, _waits(study))
    _measure(asked, TABLE, study.case, None, arms, again=False)
    for other in study.others:
        arms = {words: words for words in other.arms}
        _measure(asked, other.name, other.case, other.variant, arms, again=other.again)


def _waits(study: Study) -> dict[str, bool]:
    """Of which profiles time matters: one without requests has none to wait for."""
    waits = {}
    for platform in study.platforms:
        latency = load_profile(platform.profile).latency
        waits[platform.profile] = any(latency.base_ns)
    return waits


def _measure(
    asked: _Asked,
    name: str,
    case: str,
    variant: str | None,
    arms: Mapping[str, str],
    *,
    again: bool,
) -> None:
    """Take what is missing of one comparison, which is kept as *name*.json."""
    parsed = tuple(_arm(label, words) for label, words in arms.items())
    plan = ComparisonPlan(
        case=case,
        runs=asked.runs,
        most_runs=asked.runs,
        arms=list(arms.values()),
        baseline=NATIVE,
        again=again,
        quick=asked.quick,
        variant=None if asked.quick else variant,
        directory=asked.directory,
        seed=asked.seed,
    )
    comparison = planned(plan, parsed, "reproduce")
    output = asked.output / f"{name}.json"
    if asked.resumes and output.exists():
        comparison = gone_on_with(load_result(output), comparison, output)
    with StepProgress() as progress:
        progress.say(f"{name}: {len(parsed)} arms, {asked.runs} runs each")
        measure_all(comparison, plan.schedule, parsed, plan, output, progress)


def _arm(label: str, words: str) -> Arm:
    return dataclasses.replace(parse_arm(words), label=label)


def _native_s(machine: Comparison) -> float:
    estimate = median_estimate([one.wall_s for one in machine.of(NATIVE)], seed=0, resamples=1)
    if estimate is None:
        failure = next((one.failure for one in machine.samples), "no run")
        raise UserError(f"the case fails natively, so that nothing can be compared: {failure}")
    return estimate.value


def _load_all(study: Study, directory: Path) -> dict[str, Comparison]:
    names = [_MACHINE, TABLE, *(other.name for other in study.others)]
    paths = {name: directory / f"{name}.json" for name in names}
    for name in (_MACHINE, TABLE):
        if not paths[name].exists():
            raise ResultError(
                f"{directory} holds no {name}.json: it is no reproduction's, or a "
                "part of one; --resume goes on with it"
            )
    return {name: load_result(path) for name, path in paths.items() if path.exists()}


def _tell(
    study: Study,
    comparisons: Mapping[str, Comparison],
    picture: str | None,
    markdown: bool,
    as_json: bool,
) -> None:
    derived = reproduction(study, _native_s(comparisons[_MACHINE]), comparisons)
    if picture is not None:
        _draw(derived, Path(picture))
    if as_json:
        say_json(_document(study, derived), indent=1)
    elif markdown:
        say_lines(reproduction_markdown(study, derived))
    else:
        reproduction_report(
            study, derived, comparisons, describe_machine_shortly(comparisons[TABLE].machine)
        )


def _draw(derived: Reproduction, path: Path) -> None:
    # Drawing takes a library that takes a second to load.
    from osxfs_sim.report.plots import Style, ratios, render

    style = Style()
    try:
        write_output(path, render(ratios(bars_of(derived), style), style, _PICTURES[path.suffix]))
    except OSError as error:
        raise UserError(f"cannot write {path}: {error.strerror}") from error


def _document(study: Study, derived: Reproduction) -> dict[str, Any]:
    document = {"study": study.name, **dataclasses.asdict(derived)}
    for made, cell in zip(document["cells"], derived.cells, strict=True):
        made |= {"error": cell.error, "reached": cell.reached}
    for made, added in zip(document["added"], derived.added, strict=True):
        made["waiting_s"] = added.waiting_s
    for made, checked in zip(document["checked"], derived.checked, strict=True):
        made["error"] = checked.error
    return document
