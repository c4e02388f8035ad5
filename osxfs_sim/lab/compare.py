"""Several arms, sample by sample, in an order that no drift of the machine can favour.

Each round runs every arm once, in a random order of its own. Each run is on a
fresh mount of a freshly made tree, so that no run inherits from another; the host's
caches are treated alike for every arm (lab/caches.py).

Before the first round the case is run once natively and not measured: the
interpreters and libraries of the workload come into the page cache then, and not
in whichever arm happened to be first.

What is next follows from the samples that are there. So a comparison can be
interrupted anywhere, and goes on where it was.
"""

import itertools
import os
import shutil
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from osxfs_sim.lab.arms import Arm
from osxfs_sim.lab.cases import CaseError
from osxfs_sim.lab.results import Comparison, Sample
from osxfs_sim.lab.risk import prepare_edits
from osxfs_sim.lab.runs import (
    MountedShare,
    Plan,
    Progress,
    Reference,
    Risks,
    differing,
    end_trace,
    fault,
    guest_view,
    let_host_catch_up,
    reference_of,
    reset_tree,
    run_once,
    trace_name,
)
from osxfs_sim.lab.statistics import median_estimate
from osxfs_sim.lab.work_directories import work_directory
from osxfs_sim.trace.files import discard

MountArm = Callable[[Arm, int, Path, Path], AbstractContextManager[MountedShare]]
"""Mounts, for an arm and a seed, a directory at a mount point: handed to the lab."""


@dataclass(frozen=True, slots=True)
class Stop:
    """When it is enough: after *runs* rounds; or, with *until*, when intervals are narrow.

    Then every arm's interval must reach no further than the share *until* of its median to
    either side, after *runs* rounds at the earliest and *most_runs* at the latest.
    """

    runs: int
    until: float | None = None
    most_runs: int = 0

    def wants(self, comparison: Comparison, finished: int) -> bool:
        """Whether there shall be a round after the *finished* ones."""
        if finished < self.runs:
            return True
        if self.until is None or finished >= self.most_runs:
            return False
        return widest(comparison) > self.until


@dataclass(frozen=True, slots=True)
class Step:
    """What is measured next: an arm, in a round that counts from 0."""

    round: int
    label: str


def order_of_round(labels: Sequence[str], seed: int, number: int) -> list[str]:
    """All *labels* in the order in which round *number* runs them."""
    order = np.random.default_rng([seed, number]).permutation(len(labels))
    return [labels[index] for index in order]


def next_step(comparison: Comparison, stop: Stop) -> Step | None:
    """What is to be measured next, after all that there is; None if it is enough.

    A round that has begun is completed in any case.
    """
    taken = {(sample.round, sample.arm) for sample in comparison.samples}
    for number in itertools.count():
        order = order_of_round(comparison.arms, comparison.seed, number)
        left = [label for label in order if (number, label) not in taken]
        if len(left) == len(order) and not stop.wants(comparison, number):
            return None
        if left:
            return Step(number, left[0])
    raise AssertionError("rounds are endless")


def steps_left(comparison: Comparison, stop: Stop) -> Counter[str]:
    """How often each arm is still to be run: where *until* decides, at most."""
    rounds = stop.runs if stop.until is None else max(stop.runs, stop.most_runs)
    taken = Counter(arm for _, arm in {(one.round, one.arm) for one in comparison.samples})
    return Counter({label: max(0, rounds - taken[label]) for label in comparison.arms})


def widest(comparison: Comparison) -> float:
    """Of all arms and kinds of run: how far an interval reaches to a side, as a share.

    Infinite while an interval cannot be given. An arm of which no run counts has no time at
    all, and is not waited for.
    """
    reaches = [0.0]
    for arm in comparison.arms:
        for kind in {sample.kind for sample in comparison.samples}:
            walls_s = [sample.wall_s for sample in comparison.of(arm, kind)]
            estimate = median_estimate(walls_s, seed=comparison.seed)
            if estimate is not None:
                reach = estimate.relative_half_width
                reaches.append(float("inf") if reach is None else reach)
    return max(reaches)


@dataclass(frozen=True, slots=True)
class Bench:
    """With what samples are taken, and where.

    *prepare_caches* is called before each fresh run; *clock_s* gives the seconds since
    the comparison began. *progress* is told what is being done, *say* what shall be seen
    afterwards, too. Traces are kept in the directory *traces*, and named
    relative to *result_directory*. With *again*, each mount is measured twice.
    """

    plan: Plan
    arms: Mapping[str, Arm]
    tree: Path
    directory: Path
    mount: MountArm
    prepare_caches: Callable[[], None]
    clock_s: Callable[[], float]
    progress: Progress
    say: Progress
    again: bool = False
    traces: Path | None = None
    result_directory: Path = Path()


def measure(comparison: Comparison, stop: Stop, bench: Bench) -> Iterator[list[Sample]]:
    """Take what is missing, run by run; each is in *comparison* when it is yielded."""
    with work_directory("compare", bench.directory) as made:
        work = made.resolve()  # by which the kernel knows it: answers are told apart by it
        if next_step(comparison, stop) is not None:
            _warm_up(bench, work)
        risks, reference = None, None
        if bench.plan.edits is None:
            reference = reference_of(bench.plan, bench.tree, work, bench.progress)
        elif next_step(comparison, stop) is not None:
            risks = prepare_edits(bench.plan, bench.tree, work, bench.progress)
        while (step := next_step(comparison, stop)) is not None:
            samples = _take(comparison, step, bench, work, reference, risks)
            comparison.samples += samples
            yield samples


def _warm_up(bench: Bench, work: Path) -> None:
    bench.progress("one run without a share first, not measured, so that programs are in memory")
    host = _copy(bench.tree, work / "host")
    try:
        reset_tree(bench.plan, host)
        run = run_once(bench.plan, "fresh", host, host)
        failure = run.failure or fault(bench.plan, host, host)
        if failure:
            bench.say(f"it failed, even without a share: {failure}")
    finally:
        shutil.rmtree(host)


def _take(
    comparison: Comparison,
    step: Step,
    bench: Bench,
    work: Path,
    reference: Reference | None,
    risks: Risks | None,
) -> list[Sample]:
    """The samples of one mount: the fresh one, and with *again* another."""
    arm = bench.arms[step.label]
    samples: list[Sample] = []
    host = _copy(bench.tree, work / "host")

    def mount(_: str, source: Path, mountpoint: Path) -> AbstractContextManager[MountedShare]:
        return bench.mount(arm, seed_of(comparison.seed, step.round), source, mountpoint)

    try:
        # Before it is mounted, because the fresh run's guest knows nothing of the tree.
        reset_tree(bench.plan, host)
        with guest_view(bench.plan, arm.label, host, work, None if arm.is_native else mount) as (
            guest,
            share,
        ):
            if share is not None:
                comparison.mounted.setdefault(arm.label, share.first_status.as_dict())
            bench.prepare_caches()
            samples.append(_sample(step, "fresh", guest, host, share, bench, reference, risks))
            if bench.again and not samples[0].failure:
                try:
                    reset_tree(bench.plan, guest)
                except CaseError as error:
                    samples.append(Sample(arm.label, step.round, "again", 0.0, 0.0, str(error)))
                else:
                    samples.append(
                        _sample(step, "again", guest, host, share, bench, reference, risks)
                    )
    except Exception:
        # A share that could not write back may complain of it again at its end: the failed
        # sample says so, and the others have nothing to do with it.
        if arm.is_native or not samples or samples[-1].caught_up_s is not None:
            raise
    finally:
        shutil.rmtree(host)
    return samples


def seed_of(seed: int, number: int) -> int:
    """The seed of a share in round *number*: another one each time, the same for every arm."""
    return int(np.random.SeedSequence([seed, number]).generate_state(1)[0])


def _sample(
    step: Step,
    kind: str,
    guest: Path,
    host: Path,
    share: MountedShare | None,
    bench: Bench,
    reference: Reference | None,
    risks: Risks | None,
) -> Sample:
    bench.progress(f"{step.label}: round {step.round + 1} ({kind})")
    began_s, load = bench.clock_s(), os.getloadavg()[0]
    trace = None
    if share is not None:
        share.flush()
        if bench.traces is not None:
            trace = bench.traces / trace_name(step.label, [*bench.arms], step.round, kind)
            discard(trace)  # of the same run, where it was interrupted
            share.start_trace(str(trace))
        share.reset()
    run = risks.run(kind, guest, host, share) if risks else run_once(bench.plan, kind, guest, host)
    if share is not None:
        let_host_catch_up(run, share)
        if trace is not None:
            notes = {"arm": step.label, "round": step.round, "kind": kind}
            end_trace(run, share, notes)
    if risks is not None and (share is None or run.caught_up_s is not None):
        risks.finish(run, guest, host, share)
    elif share is None or run.caught_up_s is not None:
        run.failure = run.failure or fault(bench.plan, guest, host, share)
        run.failure = run.failure or differing(bench.plan, run, host, share, reference)
    return Sample(
        arm=step.label,
        round=step.round,
        kind=kind,
        wall_s=run.wall_s,
        workload_processor_s=run.workload_processor_s,
        failure=run.failure,
        began_s=began_s,
        load_average=load,
        caught_up_s=run.caught_up_s,
        share=run.share,
        trace=None if trace is None else os.path.relpath(trace, bench.result_directory),
        told=run.told,
        digest=run.digest,
        risk=run.risk,
        others_processor_s=run.others_processor_s,
    )


def _copy(tree: Path, to: Path) -> Path:
    """A copy of *tree*, owners, times and links as they are, as fast as the disk can."""
    done = subprocess.run(
        ["cp", "-a", "--reflink=auto", str(tree), str(to)],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        said = done.stderr.strip().splitlines()[-1:]
        raise CaseError(f"the tree {tree} cannot be copied to {to.parent}: {' '.join(said)}")
    return to


def has_a_share(arms: Sequence[Arm]) -> bool:
    """Whether any of *arms* mounts something."""
    return any(not arm.is_native for arm in arms)
