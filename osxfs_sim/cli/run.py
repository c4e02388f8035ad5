"""``run`` and ``cases``: a case study, arm by arm."""

import datetime
import json
import os
import sys
from contextlib import AbstractContextManager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import click
from click.shell_completion import CompletionItem

from osxfs_sim.catalogue import load_profile
from osxfs_sim.cli.arms import check_traceable, mounted_for_a_run
from osxfs_sim.cli.clean import sweep
from osxfs_sim.cli.errors import end_on_signals
from osxfs_sim.cli.options import ProfileName, edits_option, share_options
from osxfs_sim.cli.outputs import check_can_be_written
from osxfs_sim.cli.saying import say_json, tell
from osxfs_sim.cli.trust import tell_whose_case
from osxfs_sim.coherence.edits.stream import parse_stream
from osxfs_sim.fs.output import make_output_directory, write_output
from osxfs_sim.lab.cases import Case, CaseError, case_names, load_case
from osxfs_sim.lab.machine import describe_machine, describe_machine_shortly
from osxfs_sim.lab.risk import prepare_edits
from osxfs_sim.lab.runs import (
    NATIVE,
    MountedShare,
    Plan,
    default_cache,
    default_directory,
    prepare_tree,
    run_case,
    to_document,
)
from osxfs_sim.report.console import console, table
from osxfs_sim.report.runs import runs_report
from osxfs_sim.settings import ShareSettings


class CaseName(click.ParamType[str]):
    """A shipped case, or the path of a folder. Checked when it is loaded."""

    name = "case"

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        return [CompletionItem(name) for name in case_names() if name.startswith(incomplete)]


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Everything, for scripts.")
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
@click.option("--quick", is_flag=True, help="A shortened command, for a first look.")
@click.option("--variant", help="Of the case, such as full. [its first]")
@click.option(
    "--with", "toggles", multiple=True, metavar="OPTION", help="Of the case, such as bootsnap."
)
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
@click.option(
    "--directory",
    type=click.Path(exists=True, file_okay=False, writable=True),
    help="Where host trees lie: a disk, for one. [memory: /dev/shm]",
)
@edits_option
@share_options
def run(
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
    tell_whose_case(loaded)
    chosen = arms or loaded.arms
    if quick and loaded.quick is None:
        raise CaseError(f"the case {loaded.name} has no quick form: run it without --quick")
    settings = ShareSettings("", "", **options)
    mounted_arms = [arm for arm in chosen if arm != NATIVE]
    for arm in mounted_arms:
        replace(settings, profile=arm).system()  # a mistake is found before anything has run
    # The seed is that of the edits, too.
    unused = ShareSettings("", "", seed=settings.seed if edits else 0)
    if not mounted_arms and settings != unused:
        raise CaseError("options of a share have no effect without a mounted arm: add --arm osxfs")
    plan = Plan(
        loaded,
        chosen,
        loaded.variant(variant, quick=quick),
        quick,
        toggles,
        runs,
        seed=settings.seed,
        dilate=settings.dilate,
        traces=Path(traces).absolute() if traces else None,
        edits=parse_stream(edits) if edits else None,
        edits_seed=settings.seed,
    )
    if traces is not None and not mounted_arms:
        raise CaseError("--trace has no effect without a mounted arm: add --arm osxfs")
    if traces is not None:
        check_traceable((arm, load_profile(arm)) for arm in mounted_arms)

    def mount(arm: str, source: Path, mountpoint: Path) -> AbstractContextManager[MountedShare]:
        return mounted_for_a_run(
            replace(settings, source=str(source), mountpoint=str(mountpoint), profile=arm)
        )

    loaded.environment(toggles)
    if json_file is not None:
        check_can_be_written(json_file)
    if traces is not None:
        make_output_directory(traces)
        if os.listdir(traces):
            raise CaseError(f"{traces} is not empty: name another directory for the traces")
    started = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    machine = describe_machine()
    end_on_signals()
    tree = prepare_tree(loaded, plan.variant, default_cache(), _say)
    where = Path(directory) if directory else default_directory()
    sweep(where, _say)
    results = []
    try:
        for result in run_case(plan, tree, where, mount, _say, prepare_edits):
            results.append(result)
            for one in result.runs:
                told = f": {one.told}" if one.told and not one.failure else ""
                _say(f"{result.arm}: {one.failure or f'{one.wall_s:.2f} s'} ({one.kind}){told}")
    finally:
        # What is finished is kept, also when the rest is interrupted.
        if results:
            runs_report(plan, results, describe_machine_shortly())
            if json_file is not None:
                document = to_document(
                    plan, results, machine, started, Path(json_file).absolute().parent
                )
                write_output(json_file, json.dumps(document, indent=1) + "\n")
                _say(f"saved to {json_file}")
    if any(one.failure for result in results for one in result.runs):
        sys.exit(1)


def _say(text: str) -> None:
    tell(f"  {text}")
