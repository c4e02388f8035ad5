"""``record`` and ``predict``: a workload once, and what it would take on any other system."""

import json
import os
from dataclasses import asdict
from pathlib import Path

import click

from osxfs_sim.cli.arms import parse_arms
from osxfs_sim.cli.outputs import check_can_be_written
from osxfs_sim.cli.run import CaseName
from osxfs_sim.cli.saying import say, tell
from osxfs_sim.fs.output import write_output
from osxfs_sim.predicting import USUAL_ARMS
from osxfs_sim.predicting import predict as predict_arms
from osxfs_sim.predicting import record as record_case
from osxfs_sim.report.predictions import prediction_report
from osxfs_sim.report.verifications import verification_report
from osxfs_sim.simulate.dependencies import Dependencies
from osxfs_sim.verifying import verify

SCHEMA = 1
"""Of what --json saves: it grows when a key changes its meaning or goes."""


@click.command()
@click.argument("case", type=CaseName())
@click.option(
    "-o",
    "--output",
    required=True,
    type=click.Path(dir_okay=False),
    help="The recording to write, such as rake.parquet.",
)
@click.option("--quick", is_flag=True, help="A shortened command, for a first look.")
@click.option("--variant", help="Of the case, such as full. [its first]")
@click.option(
    "--with", "toggles", multiple=True, metavar="OPTION", help="Of the case, such as bootsnap."
)
@click.option(
    "--native-runs",
    type=click.IntRange(min=1),
    default=3,
    help="Runs without a share, and of the share, in turn; the median of the share is kept. [3]",
)
@click.option(
    "--directory",
    type=click.Path(exists=True, file_okay=False, writable=True),
    help="Where host trees lie: a disk, for one. [memory: /dev/shm]",
)
def record(
    case: str,
    output: str,
    quick: bool,
    variant: str | None,
    toggles: tuple[str, ...],
    native_runs: int,
    directory: str | None,
) -> None:
    """Record every request of CASE, for predictions of any other system.

    The workload runs on a share that caches nothing and adds no latency.
    """
    check_can_be_written(output)
    made = record_case(
        case,
        output,
        native_runs=native_runs,
        say=tell,
        quick=quick,
        variant=variant,
        toggles=toggles,
        directory=directory,
    )
    say(f"recorded to {output}; see: osxfs-sim predict {made.name}")


@click.command()
@click.argument("recording", type=click.Path(dir_okay=False))
@click.option(
    "--arm",
    "arms",
    multiple=True,
    metavar="ARM",
    help="A profile and options of a share, such as 'osxfs-cached --cache-timeout 1s'; give it "
    "several times. [osxfs and its caches]",
)
@click.option(
    "--dependencies",
    type=click.Choice([each.value for each in Dependencies]),
    default=Dependencies.OBJECTS.value,
    help="What a request waits for: its thread alone, parent and child processes too, or the "
    "order of each object too, or all that was answered before it came. [objects]",
)
@click.option(
    "--seeds",
    type=click.IntRange(1, 10_000),
    default=1,
    help="So many runs of each arm, which differ where latencies are drawn. [1]",
)
@click.option(
    "--processors",
    type=click.IntRange(min=1),
    help="How many the server and the workload share in a live run, which is predicted, too. "
    "[those of this machine]",
)
@click.option(
    "--verify",
    "live_arms",
    type=click.IntRange(min=1),
    help="Draw so many of the arms, run them live, and show predicted beside measured. It needs "
    "what the case needs, and FUSE.",
)
@click.option(
    "--verify-runs", type=click.IntRange(min=1), default=1, help="Live runs of each of them. [1]"
)
@click.option("--verify-seed", type=int, default=1, help="Draws the arms that are run live. [1]")
@click.option("--json", "json_file", type=click.Path(dir_okay=False), help="Save the prediction.")
def predict(
    recording: str,
    arms: tuple[str, ...],
    dependencies: str,
    seeds: int,
    processors: int | None,
    live_arms: int | None,
    verify_runs: int,
    verify_seed: int,
    json_file: str | None,
) -> None:
    """Predict in virtual time what RECORDING would take on other systems."""
    if json_file is not None:
        check_can_be_written(json_file)
    prediction = predict_arms(
        recording,
        parse_arms(arms or USUAL_ARMS),
        dependencies=dependencies,
        seeds=range(1, seeds + 1),
        processors=processors or len(os.sched_getaffinity(0)),
    )
    prediction_report(prediction)
    verified = None
    if live_arms is not None:
        verified = verify(
            recording,
            parse_arms(arms or USUAL_ARMS),
            count=live_arms,
            runs=verify_runs,
            seed=verify_seed,
            dependencies=dependencies,
            processors=processors,
            say=tell,
        )
        verification_report(verified)
    if json_file is not None:
        document = {"schema": SCHEMA, **asdict(prediction)}
        if verified is not None:
            document["verified"] = [
                {**asdict(each), "counts_equal": each.counts_equal} for each in verified
            ]
        write_output(Path(json_file), json.dumps(document, indent=1) + "\n")
        tell(f"saved to {json_file}")
