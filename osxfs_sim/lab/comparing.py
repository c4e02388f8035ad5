"""Comparisons from beginning to end: planned, checked, measured, saved, and gone on with.

This is what the commands are made of, and what Python can do without them:

    comparison = run_comparison("rake", [Arm("native", "native"), Arm("osxfs", "osxfs")],
                                shares=EmulatedShares(), samples=5)

The lab mounts nothing itself: *shares* are handed in (lab/shares.py).
"""

import dataclasses
import datetime
import json
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any, Self

from osxfs_sim.coherence.edits.stream import parse_stream
from osxfs_sim.lab.arms import Arm, check_arms
from osxfs_sim.lab.caches import (
    COLD,
    COLD_IN_MEMORY,
    WARM,
    check_cold,
    is_in_memory,
    preparation,
)
from osxfs_sim.lab.cases import CaseError, load_case
from osxfs_sim.lab.executor import Bench, clock_since, measure
from osxfs_sim.lab.machine import describe_machine
from osxfs_sim.lab.provenance import UnchangedArms, sources_of
from osxfs_sim.lab.results import Comparison, Sample, save_result
from osxfs_sim.lab.resume import check_resumable
from osxfs_sim.lab.schedule import Interleaved, RunSchedule
from osxfs_sim.lab.shares import ArmMounter
from osxfs_sim.lab.trees import default_cache, default_directory, prepare_tree
from osxfs_sim.lab.workload import Say, Workload
from osxfs_sim.model.user_error import UserError, nearest


class PlanError(UserError):
    """What was asked for contradicts itself, or has no effect; the message is one line."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ComparisonPlan:
    """What is asked for. A result keeps it under these names, so that it can go on."""

    case: str
    """The name of a shipped case, or the path of a case's folder."""
    runs: int
    """Runs of each arm, at the least."""
    until: float | None = None
    """Goes on until intervals reach no further than this share; None: *runs* are enough."""
    most_runs: int = 0
    """With *until*: runs of each arm, at the most."""
    arms: Sequence[str] | None = None
    """The arms in words, as they were given; None: the case's own."""
    aa: str | None = None
    """The arm, in words, that is compared with itself; None: there is none."""
    baseline: str | None = None
    """The label of the arm that the others are compared with; None: the first."""
    caches: str = WARM
    """The host's caches when a run begins: ``warm`` or ``cold``."""
    again: bool = False
    """Whether each mount is measured twice."""
    quick: bool = False
    """Whether the case's shortened command is measured."""
    variant: str | None = None
    """The case's variant; None: its first."""
    toggles: Sequence[str] = ()
    """The options of the case that are switched on."""
    directory: str | None = None
    """Where host trees lie; None: in memory."""
    seed: int = 0
    """Seeds the order of the arms and all randomness of the shares."""
    dilate: float = 1.0
    """Multiplies every time in the model, in every mounted arm that does not say its own."""
    trace: str | None = None
    """The directory for traces of each run's requests; None: there are none."""
    trace_calls: bool = False
    """Whether traces say which system call each request is for."""
    edits: str | None = None
    """The stream of the host's edits, as --edits has it; None: there are none."""

    @classmethod
    def saved_in(cls, comparison: Comparison, **others: Any) -> Self:
        """The plan that *comparison* was made by, *others* replaced, missing fields defaults."""
        known = {each.name for each in dataclasses.fields(cls)}
        values: dict[str, Any] = {"case": comparison.case, "runs": 1}
        for name, value in comparison.plan.items():
            if name in known and value is not None:
                values[name] = value
        return cls(**values | others)

    @property
    def schedule(self) -> Interleaved:
        """The schedule of rounds that *runs*, *until*, *most_runs* and *again* ask for."""
        return Interleaved(self.runs, self.until, self.most_runs, bool(self.again))

    def workload(self) -> Workload:
        """Load the case, variant and edits that each arm runs. Raises CaseError or UserError."""
        case = load_case(self.case)
        return Workload(
            case,
            case.variant(self.variant, quick=self.quick),
            self.quick,
            tuple(self.toggles),
            parse_stream(self.edits) if self.edits else None,
            self.seed,
        )


MAY_GROW = ("runs", "until", "most_runs")
"""Of a plan, what may be asked for anew when a comparison goes on."""


def new_comparison(
    plan: ComparisonPlan, arms: Sequence[Arm], shares: ArmMounter, *, made_by: str = "compare"
) -> Comparison:
    """Check *plan* and *arms*; the Comparison they ask for, without samples yet. Raises UserError.

    Raises PlanError, CaseError, or what *shares* raises of an arm that cannot be mounted.
    """
    case = load_case(plan.case)
    case.check_needs()
    if plan.quick and case.quick is None:
        raise CaseError(f"the case {case.name} has no quick form: compare it without --quick")
    case.environment(tuple(plan.toggles))
    labels = [arm.label for arm in arms]
    baseline = plan.baseline or labels[0]
    if baseline not in labels:
        raise PlanError(f"no arm is called {baseline!r}{nearest(baseline, labels)}")
    mounted = [arm for arm in arms if not arm.is_native]
    if not mounted:
        for name, is_asked in (("dilate", plan.dilate != 1), ("trace", plan.trace is not None)):
            if is_asked:
                raise PlanError(f"--{name} has no effect without a mounted arm: add --arm osxfs")
    for arm in mounted:
        shares.check(arm, traced=plan.trace is not None)
    if plan.caches == COLD:
        check_cold()
    return Comparison(
        case=case.name,
        title=case.title,
        variant=case.variant(plan.variant, quick=plan.quick),
        quick=plan.quick,
        options=list(plan.toggles),
        arms=labels,
        baseline=baseline,
        caches=plan.caches,
        seed=plan.seed,
        dilate=plan.dilate,
        started=datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        machine=describe_machine(),
        specs=_plain({arm.label: arm.spec() for arm in arms}),
        made_by=made_by,
        plan=_plain(dataclasses.asdict(plan)),
        sources=sources_of(
            load_case(plan.case), arms, shares, dilate=plan.dilate, edits=plan.edits
        ),
        claims=[dataclasses.asdict(claim) for claim in case.claims],
    )


def _plain(values: dict[str, Any]) -> dict[str, Any]:
    """As it will be when it is read again: a tuple is a list then."""
    plain: dict[str, Any] = json.loads(json.dumps(values))
    return plain


def gone_on_with(before: Comparison, now: Comparison, where: str | Path) -> Comparison:
    """Let *before* ask for *now*'s runs and return it. Raises ResultError unless all else is alike.

    Raises ResultError, naming *where* it is from, unless all that it compares is as it was.
    """
    check_resumable(before, now, where)
    before.plan |= {name: now.plan[name] for name in MAY_GROW}
    return before


def bench_for(
    comparison: Comparison,
    arms: Sequence[Arm],
    plan: ComparisonPlan,
    shares: ArmMounter,
    *,
    result_directory: Path,
    progress: Say,
    say: Say,
) -> Bench:
    """Set the case's tree up; make the Bench that takes *comparison*'s samples. Raises CaseError.

    Traces are named relative to *result_directory*. Raises CaseError.
    """
    workload = plan.workload()
    directory = Path(plan.directory) if plan.directory else default_directory()
    tree = prepare_tree(workload.case, workload.variant, default_cache(), say)
    if comparison.caches == COLD and is_in_memory(directory):
        say(f"warning: {COLD_IN_MEMORY}")
    return Bench(
        workload=workload,
        arms={arm.label: arm for arm in arms},
        tree=tree,
        directory=directory,
        mount=UnchangedArms(comparison, shares).mount,
        prepare_caches=preparation(comparison.caches, directory),
        clock_s=clock_since(comparison.started),
        progress=progress,
        say=say,
        traces=Path(plan.trace).absolute() if plan.trace else None,
        trace_calls=plan.trace_calls,
        result_directory=result_directory,
    )


@dataclass(frozen=True, slots=True)
class Taken:
    """Samples that have just been taken, and how far the comparison is."""

    samples: Sequence[Sample]
    """The samples of one mount, in their order."""
    done: int
    """How many mounts have been measured."""
    left: int
    """How many mounts are left: at most, where that is not known yet."""
    remaining_s: float | None
    """Seconds that those will take if they are as those before; None: not known yet."""


def take_all(comparison: Comparison, schedule: RunSchedule, bench: Bench) -> Iterator[Taken]:
    """Measure the runs that *comparison* lacks; yields after each mount. Raises CaseError.

    Raises what `measure` raises.
    """
    took_s: dict[str, list[float]] = defaultdict(list)
    since_s = time.monotonic()
    for samples in measure(comparison, schedule, bench):
        took_s[samples[0].arm].append(time.monotonic() - since_s)
        left = +schedule.turns_left(comparison)
        remaining_s = None
        if all(took_s[label] for label in left):
            remaining_s = sum(fmean(took_s[label]) * count for label, count in left.items())
        yield Taken(samples, schedule.turns_done(comparison), left.total(), remaining_s)
        since_s = time.monotonic()


def run_comparison(
    case: str,
    arms: Sequence[Arm],
    *,
    shares: ArmMounter,
    samples: int = 10,
    seed: int = 0,
    on_progress: Callable[[Taken], None] | None = None,
    say: Say | None = None,
    save_to: str | Path | None = None,
    **others: Any,
) -> Comparison:
    """Measure *case* *samples* times under each of *arms*, in random order. Raises UserError.

    *case* is a shipped case or the path of a folder, *shares* how arms are mounted
    (osxfs_sim.emulated_shares.EmulatedShares for the emulator's own). *seed* is of all
    randomness: the order of the arms, latencies, edits. *on_progress* is called after each
    mount, *say* with a line where something is to be known (a tree is set up, a warning). The
    result is saved in the file *save_to* after each mount, if one is given. *others* are further
    fields of ComparisonPlan, such as ``quick=True`` or ``edits="vim"``.

    Failed runs are samples that say why; see `summarize` for medians, intervals and ratios.
    Raises UserError for arms that cannot be compared, PlanError or CaseError for what cannot be
    run, and what *shares* raises where nothing can be mounted. Nothing stays mounted.
    """
    check_arms(arms)
    plan = ComparisonPlan(case=case, runs=samples, most_runs=samples, seed=seed, **others)
    comparison = new_comparison(plan, arms, shares)
    tell = say or _say_nothing
    bench = bench_for(
        *(comparison, arms, plan, shares),
        result_directory=Path.cwd() if save_to is None else Path(save_to).absolute().parent,
        progress=_say_nothing,
        say=tell,
    )
    for taken in take_all(comparison, plan.schedule, bench):
        if save_to is not None:
            save_result(comparison, save_to)
        if on_progress is not None:
            on_progress(taken)
    return comparison


def _say_nothing(text: str) -> None:
    del text
