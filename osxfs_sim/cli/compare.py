"""``compare``: a case under several arms, interleaved, with how sure one can be."""

import dataclasses
import datetime
import hashlib
import json
import os
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

import click
from click.core import ParameterSource

from osxfs_sim.cli.arms import mounted_for_a_run, parse_arm, parse_arms, settings_of
from osxfs_sim.cli.errors import end_on_signals
from osxfs_sim.cli.progress import StepProgress, remaining_words
from osxfs_sim.cli.run import CaseName
from osxfs_sim.lab.arms import Arm, check_arms, twins_of
from osxfs_sim.lab.caches import COLD, COLD_IN_MEMORY, WARM, check_cold, is_in_memory, make_cold
from osxfs_sim.lab.cases import CaseError, load_case
from osxfs_sim.lab.compare import (
    Bench,
    Stop,
    has_a_share,
    measure,
    steps_left,
    widest,
)
from osxfs_sim.lab.false_alarms import false_alarms
from osxfs_sim.lab.machine import describe_machine, describe_machine_shortly
from osxfs_sim.lab.results import Comparison, ResultError, Sample, load_result, save_result
from osxfs_sim.lab.resume import check_resumable
from osxfs_sim.lab.runs import (
    MountedShare,
    Plan,
    default_cache,
    default_directory,
    prepare_tree,
    recipe_of,
)
from osxfs_sim.lab.statistics import FEWEST_FOR_INTERVAL
from osxfs_sim.lab.summary import kinds_of, summarize
from osxfs_sim.model.profile import nearest
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


# With --resume these are as the interrupted comparison had them, unless they are given anew;
# then all but the first three must be the same, or it is refused.
_RESUMED = (
    *("runs", "until", "most_runs"),
    *("case", "arms", "aa", "baseline", "caches", "again", "quick", "variant", "toggles"),
    *("directory", "seed", "dilate", "trace"),
)
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
@click.option("--quick", is_flag=True, help="A shortened command, for a first look.")
@click.option("--variant", help="Of the case, such as full. [its first]")
@click.option(
    "--with", "toggles", multiple=True, metavar="OPTION", help="Of the case, such as bootsnap."
)
@click.option(
    "--directory",
    type=click.Path(exists=True, file_okay=False, writable=True),
    help="Where host trees lie: a disk, for one. [memory: /dev/shm]",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, help="Of all randomness. [0]")
@click.option(
    "--dilate",
    type=float,
    default=1.0,
    metavar="K",
    help="Multiply every time in the model by K, in every mounted arm.",
)
@click.option(
    "--output",
    type=click.Path(dir_okay=False),
    help="Where every sample is saved. [comparison-CASE.json]",
)
@click.option("--force", is_flag=True, help="Overwrite what is there.")
@click.option(
    "--resume",
    type=click.Path(dir_okay=False),
    metavar="FILE",
    help="Go on with an interrupted comparison; --runs and --until may ask for more.",
)
@click.option(
    "--trace",
    type=click.Path(file_okay=False),
    metavar="DIRECTORY",
    help="Keep a trace of each run's requests there.",
)
@click.option("--json", "as_json", is_flag=True, help="Print what is derived as JSON, no table.")
@click.pass_context
def compare(ctx: click.Context, /, resume: str | None, as_json: bool, **asked: Any) -> None:
    """Run a case under several arms in random order, and say what differs.

    \b
    osxfs-sim compare rake --quick --arm native --arm osxfs --arm 'osxfs --latency 65us'
    osxfs-sim compare --resume comparison-rake.json --runs 20

    Every sample is saved when it is taken: Ctrl-C keeps what is finished.
    """
    given = {
        name for name in ctx.params if ctx.get_parameter_source(name) is ParameterSource.COMMANDLINE
    }
    before = None
    if resume is not None:
        before = load_result(resume)
        if "recipe" not in before.plan:
            raise ResultError(f"{resume} cannot be resumed: it was not made by compare")
        for name in _ANEW:
            if name in given:
                raise click.UsageError(f"--{name} has no effect with --resume: it goes on in FILE")
        asked |= {
            name: before.plan.get(name, asked[name]) for name in _RESUMED if name not in given
        }
    _check_together(asked, given)
    arms = _arms_of(asked)
    comparison = _comparison(asked, arms)
    stop = Stop(asked["runs"], asked["until"], asked["most_runs"])
    if before is not None:
        check_resumable(before, comparison, str(resume))
        before.plan |= {name: asked[name] for name in _RESUMED[:3]}
        comparison = before
    output = Path(resume or asked["output"] or f"comparison-{comparison.case}.json")
    _check_files(output, asked, resumes=resume is not None)
    end_on_signals()
    _carry_out(comparison, stop, arms, asked, output, as_json)
    if any(sample.failure for sample in comparison.samples):
        sys.exit(1)


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


def _arms_of(asked: Mapping[str, Any]) -> tuple[Arm, ...]:
    if asked["aa"] is not None:
        return twins_of(parse_arm(asked["aa"]))
    arms = parse_arms(asked["arms"] or load_case(asked["case"]).arms)
    check_arms(arms)
    return arms


def _comparison(asked: Mapping[str, Any], arms: tuple[Arm, ...]) -> Comparison:
    """What was asked for, checked, and without a sample yet."""
    case = load_case(asked["case"])
    case.check_needs()
    if asked["quick"] and case.quick is None:
        raise CaseError(f"the case {case.name} has no quick form: compare it without --quick")
    case.environment(tuple(asked["toggles"]))
    labels = [arm.label for arm in arms]
    baseline = asked["baseline"] or labels[0]
    if baseline not in labels:
        raise click.UsageError(f"no arm is called {baseline!r}{nearest(baseline, labels)}")
    if not has_a_share(arms):
        for name, default in (("dilate", 1.0), ("trace", None)):
            if asked[name] != default:
                raise click.UsageError(f"--{name} has no effect without a mounted arm")
    if asked["caches"] == COLD:
        check_cold()
    plan = {name: asked[name] for name in _RESUMED}
    plan["recipe"] = recipe_of(case)
    plan["systems"] = {
        arm.label: _digest(arm, asked["dilate"]) for arm in arms if not arm.is_native
    }
    return Comparison(
        case=case.name,
        title=case.title,
        variant=case.variant(asked["variant"], quick=asked["quick"]),
        quick=asked["quick"],
        options=list(asked["toggles"]),
        arms=labels,
        baseline=baseline,
        caches=asked["caches"],
        seed=asked["seed"],
        dilate=asked["dilate"],
        started=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        machine=describe_machine(),
        specs=_plain({arm.label: arm.spec() for arm in arms}),
        plan=_plain(plan),
        claims=[dataclasses.asdict(claim) for claim in case.claims],
    )


def _digest(arm: Arm, dilate: float) -> str:
    """Of all values that the arm's system acts by: a profile's file may have changed."""
    system = replace(settings_of(arm), dilate=dilate).system()
    values = (system.profile, system.latency, system.files, system.events, system.write_back)
    return hashlib.sha256(repr(values).encode()).hexdigest()[:16]


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    """As it will be when it is read again: a tuple is a list then."""
    plain: dict[str, Any] = json.loads(json.dumps(values))
    return plain


def _check_files(output: Path, asked: Mapping[str, Any], *, resumes: bool) -> None:
    if not output.absolute().parent.is_dir():
        raise CaseError(f"{output} cannot be written: its directory does not exist")
    if output.exists() and not resumes and not asked["force"]:
        raise CaseError(
            f"{output} exists: --resume {output} goes on with it, --force overwrites it, "
            "--output names another"
        )
    if asked["trace"] is not None:
        os.makedirs(asked["trace"], exist_ok=True)
        if os.listdir(asked["trace"]) and not resumes and not asked["force"]:
            raise CaseError(
                f"{asked['trace']} is not empty: name another directory, or overwrite with --force"
            )


def _carry_out(
    comparison: Comparison,
    stop: Stop,
    arms: tuple[Arm, ...],
    asked: Mapping[str, Any],
    output: Path,
    as_json: bool,
) -> None:
    case = load_case(asked["case"])
    toggles = tuple(asked["toggles"])
    plan = Plan(case, (), comparison.variant, comparison.quick, toggles, stop.runs)
    directory = Path(asked["directory"]) if asked["directory"] else default_directory()
    with StepProgress() as progress:
        tree = prepare_tree(case, plan.variant, default_cache(), progress.say)
        in_memory = is_in_memory(directory)
        if comparison.caches == COLD and in_memory:
            progress.say(f"warning: {COLD_IN_MEMORY}")
        bench = Bench(
            plan=plan,
            arms={arm.label: arm for arm in arms},
            tree=tree,
            directory=directory,
            mount=_mount(comparison.dilate),
            prepare_caches=_caches(comparison.caches, in_memory),
            clock_s=_clock_since(comparison.started),
            progress=progress.begin,
            say=progress.say,
            again=bool(asked["again"]),
            traces=Path(asked["trace"]) if asked["trace"] else None,
            result_directory=output.absolute().parent,
        )
        try:
            _take_all(comparison, stop, bench, output, progress)
        finally:
            # What is finished is kept, also when the rest is interrupted.
            progress.stop()
            if comparison.samples:
                _show(comparison, as_json)
                progress.say(f"saved to {output}")
                if sys.exc_info()[0] is not None:
                    progress.say(f"to go on: osxfs-sim compare --resume {output}")


def _take_all(
    comparison: Comparison, stop: Stop, bench: Bench, output: Path, progress: StepProgress
) -> None:
    took_s: dict[str, list[float]] = defaultdict(list)
    since_s = time.monotonic()
    progress.expect(_taken(comparison), steps_left(comparison, stop).total())
    for samples in measure(comparison, stop, bench):
        save_result(comparison, output)
        label = samples[0].arm
        took_s[label].append(time.monotonic() - since_s)
        since_s = time.monotonic()
        left = steps_left(comparison, stop)
        remaining_s = (
            sum(fmean(took_s[label]) * count for label, count in left.items())
            if all(took_s[label] for label in +left)
            else None
        )
        words = remaining_words(remaining_s, at_most=stop.until is not None)
        if stop.until is not None:
            words = ", ".join(filter(None, (_reached(comparison), words)))
        progress.finished(f"{label}: {_told(samples)}", _taken(comparison), left.total(), words)
    if stop.until is not None and widest(comparison) > stop.until:
        progress.say(
            f"--until {100 * stop.until:g}% was not reached after {stop.most_runs} rounds: "
            f"{_reached(comparison)}"
        )


def _taken(comparison: Comparison) -> int:
    return len({(sample.round, sample.arm) for sample in comparison.samples})


def _reached(comparison: Comparison) -> str:
    reach = widest(comparison)
    return "no interval yet" if reach == float("inf") else f"intervals reach {100 * reach:.1f}%"


def _told(samples: list[Sample]) -> str:
    return ", ".join(
        f"{sample.failure or f'{sample.wall_s:.2f} s'} ({sample.kind})" for sample in samples
    )


def _mount(
    dilate: float,
) -> Callable[[Arm, int, Path, Path], AbstractContextManager[MountedShare]]:
    def mount(
        arm: Arm, seed: int, source: Path, mountpoint: Path
    ) -> AbstractContextManager[MountedShare]:
        settings = replace(settings_of(arm, str(source), str(mountpoint)), dilate=dilate)
        return mounted_for_a_run(
            settings if "seed" in arm.options else replace(settings, seed=seed)
        )

    return mount


def _caches(wanted: str, in_memory: bool) -> Callable[[], None]:
    """What is done before each measured run: in memory nothing waits to be written."""
    if wanted == COLD:
        return make_cold
    return (lambda: None) if in_memory else os.sync


def _clock_since(started: str) -> Callable[[], float]:
    """Seconds since *started*, an ISO date and time: also of a comparison that is resumed."""
    began_s = datetime.datetime.fromisoformat(started).timestamp()
    now_s, ticks_s = time.time(), time.monotonic()
    return lambda: max(0.0, now_s - began_s) + time.monotonic() - ticks_s


def _show(comparison: Comparison, as_json: bool) -> None:
    summaries = summarize(comparison, seed=comparison.seed)
    alarms = []
    if comparison.plan.get("aa") is not None:
        for kind in kinds_of(comparison):
            found = false_alarms(comparison, kind, seed=comparison.seed)
            if found is not None:
                alarms.append((kind, found))
    if not as_json:
        comparison_report(comparison, summaries, describe_machine_shortly(), alarms)
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
    click.echo(json.dumps(document, indent=1))
