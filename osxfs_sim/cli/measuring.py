"""Takes the samples of a comparison and says how far it is: for compare and for reproduce."""

import dataclasses
import datetime
import hashlib
import json
import os
import time
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

import click

from osxfs_sim.catalogue import load_profile
from osxfs_sim.cli.arms import check_traceable, mounted_for_a_run, settings_of
from osxfs_sim.cli.clean import sweep
from osxfs_sim.cli.progress import StepProgress, remaining_words
from osxfs_sim.cli.trust import tell_whose_case
from osxfs_sim.coherence.edits.stream import parse_stream
from osxfs_sim.lab.arms import Arm
from osxfs_sim.lab.caches import COLD, COLD_IN_MEMORY, check_cold, is_in_memory, make_cold
from osxfs_sim.lab.cases import CaseError, load_case
from osxfs_sim.lab.compare import Bench, Stop, has_a_share, measure, steps_left, widest
from osxfs_sim.lab.machine import describe_machine
from osxfs_sim.lab.results import Comparison, Sample, save_result
from osxfs_sim.lab.runs import (
    MountedShare,
    Plan,
    default_cache,
    default_directory,
    prepare_tree,
    recipe_of,
)
from osxfs_sim.model.user_error import nearest
from osxfs_sim.sources import digest_of_program

PLANNED = (
    *("runs", "until", "most_runs"),
    *("case", "arms", "aa", "baseline", "caches", "again", "quick", "variant", "toggles"),
    *("directory", "seed", "dilate", "trace", "edits"),
)
"""What a comparison keeps of what was asked for, under these names, so that it can go on."""


def new_comparison(asked: Mapping[str, Any], arms: tuple[Arm, ...]) -> Comparison:
    """What was asked for (PLANNED), checked, and without a sample yet."""
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
    if asked["trace"] is not None:
        check_traceable((arm.label, load_profile(arm.profile)) for arm in arms if not arm.is_native)
    if asked["caches"] == COLD:
        check_cold()
    plan = {name: asked[name] for name in PLANNED}
    plan["recipe"] = recipe_of(case)
    plan |= _identities(arms, asked["dilate"])
    if asked["edits"]:
        plan["edits_digest"] = _digest(parse_stream(asked["edits"]))
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


def _identities(arms: Sequence[Arm], dilate: float) -> dict[str, dict[str, str]]:
    """By which *arms* can be told from others of the same name, as digests.

    ``systems`` are of all values that an arm's system acts by: a profile's file may change.
    ``policies`` are of the source of a policy of the user's own, where an arm has one.
    """
    systems, policies = {}, {}
    for arm in arms:
        if arm.is_native:
            continue
        system = settings_of(arm, dilate=dilate).system()
        values = (system.profile, system.latency, system.files, system.events, system.write_back)
        systems[arm.label] = _digest(values)
        if system.own_policy is not None:
            policies[arm.label] = system.own_policy.digest
    return {"systems": systems, "policies": policies}


def _digest(values: object) -> str:
    return hashlib.sha256(repr(values).encode()).hexdigest()[:16]


def check_unchanged(comparison: Comparison, arm: Arm) -> None:
    """That *arm* is what it was when the comparison began. Raises CaseError.

    Whoever works at a policy, a profile or this program edits it while others are measured.
    """
    now = _identities((arm,), comparison.dilate)
    changed = [
        what
        for what, key in (("the profile", "systems"), ("the source of the policy", "policies"))
        if now[key].get(arm.label) != comparison.plan.get(key, {}).get(arm.label)
    ]
    if digest_of_program() != comparison.machine.get("code"):
        changed.append("the code of osxfs-sim")
    if changed:
        raise CaseError(
            f"{' and '.join(changed)} of the arm {arm.label} changed while it was measured: what "
            "was measured before is kept; begin another comparison"
        )


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    """As it will be when it is read again: a tuple is a list then."""
    plain: dict[str, Any] = json.loads(json.dumps(values))
    return plain


def bench_for(
    comparison: Comparison,
    arms: Sequence[Arm],
    asked: Mapping[str, Any],
    output: Path,
    progress: StepProgress,
) -> Bench:
    """What the samples of *comparison* are taken with; sets the case's tree up if need be."""
    case = load_case(asked["case"])
    tell_whose_case(case)
    toggles = tuple(asked["toggles"])
    plan = Plan(
        case,
        (),
        comparison.variant,
        comparison.quick,
        toggles,
        asked["runs"],
        edits=parse_stream(asked["edits"]) if asked["edits"] else None,
        edits_seed=comparison.seed,
    )
    directory = Path(asked["directory"]) if asked["directory"] else default_directory()
    sweep(directory, progress.say)
    tree = prepare_tree(case, plan.variant, default_cache(), progress.say)
    in_memory = is_in_memory(directory)
    if comparison.caches == COLD and in_memory:
        progress.say(f"warning: {COLD_IN_MEMORY}")
    return Bench(
        plan=plan,
        arms={arm.label: arm for arm in arms},
        tree=tree,
        directory=directory,
        mount=_mount(comparison),
        prepare_caches=_caches(comparison.caches, in_memory),
        clock_s=_clock_since(comparison.started),
        progress=progress.begin,
        say=progress.say,
        again=bool(asked["again"]),
        traces=Path(asked["trace"]) if asked["trace"] else None,
        result_directory=output.absolute().parent,
    )


def take_all(
    comparison: Comparison, stop: Stop, bench: Bench, output: Path, progress: StepProgress
) -> None:
    """Take what is missing, save each sample in *output*, and say how far it is."""
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
            sum(fmean(took_s[label]) * count for label, count in (+left).items())
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
    comparison: Comparison,
) -> Callable[[Arm, int, Path, Path], AbstractContextManager[MountedShare]]:
    def mount(
        arm: Arm, seed: int, source: Path, mountpoint: Path
    ) -> AbstractContextManager[MountedShare]:
        check_unchanged(comparison, arm)
        settings = settings_of(arm, str(source), str(mountpoint), dilate=comparison.dilate)
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
