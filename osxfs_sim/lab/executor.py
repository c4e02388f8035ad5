"""Takes the samples of a comparison, mount by mount: the only place that runs what is measured.

Each mount is of a freshly made tree. What is measured ends with the command. A share may hold
changes back then: it is asked to write them to the host, and the time that takes is kept beside
the wall time, not in it. The counts of a run go on until the host has everything, because these
crossings are the run's own.
"""

import contextlib
import datetime
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from osxfs_sim.lab.arms import Arm
from osxfs_sim.lab.cases import CaseError
from osxfs_sim.lab.results import Comparison, Sample
from osxfs_sim.lab.risk import EditedRuns, prepare_edits
from osxfs_sim.lab.schedule import MountTurn, RunSchedule, seed_of
from osxfs_sim.lab.shares import (
    Drained,
    MountArm,
    MountedShare,
    check_failure,
    drain,
    end_trace,
    mount_place,
)
from osxfs_sim.lab.trees import fresh_tree
from osxfs_sim.lab.verification import Reference, reference_of, tree_mismatch
from osxfs_sim.lab.work_directories import work_directory
from osxfs_sim.lab.workload import Say, Workload, execute, reset_tree
from osxfs_sim.trace.files import discard


@dataclass(frozen=True, slots=True)
class Bench:
    """What samples are taken with, and where."""

    workload: Workload
    """What is run in each sample."""
    arms: Mapping[str, Arm]
    """Each arm by its label."""
    tree: Path
    """The set-up tree that each mount gets a copy of."""
    directory: Path
    """Where the copies of the tree lie."""
    mount: MountArm
    """Mounts an arm on the copy of a tree, for a ``with`` block."""
    prepare_caches: Callable[[], None]
    """Called before the first run on each mount."""
    clock_s: Callable[[], float]
    """Gives the seconds since the comparison began."""
    progress: Say
    """Called with the step that is being done."""
    say: Say
    """Called with lines that shall be seen afterwards, too."""
    traces: Path | None = None
    """The directory that traces of requests are kept in; None: there are none."""
    trace_calls: bool = False
    """Whether they say which system call each request is for."""
    result_directory: Path = Path()
    """What the names of traces are relative to."""


def clock_since(started: str) -> Callable[[], float]:
    """A function giving the seconds since *started*, an ISO date and time. Raises ValueError."""
    began_s = datetime.datetime.fromisoformat(started).timestamp()
    now_s, ticks_s = time.time(), time.monotonic()
    return lambda: max(0.0, now_s - began_s) + time.monotonic() - ticks_s


@dataclass(frozen=True, slots=True)
class _Judges:
    """What a run is judged by: what a native one leaves, or what one under edits comes to."""

    reference: Reference | None = None
    edits: EditedRuns | None = None


def measure(comparison: Comparison, schedule: RunSchedule, bench: Bench) -> Iterator[list[Sample]]:
    """Run what *schedule* wants; yields each mount's samples, failed ones too. Raises CaseError.

    Raises CaseError where a tree cannot be made, and what *bench* raises where nothing can be
    mounted. A command that fails, or a share that cannot write back, is a failed sample.
    """
    with work_directory(schedule.work, bench.directory) as made:
        work = made.resolve()  # by which the kernel knows it: answers are told apart by it
        is_needed = schedule.next_turn(comparison) is not None
        if is_needed and schedule.warms_up:
            _warm_up(bench, work)
        judges = _judges(bench, work, is_needed=is_needed)
        while (turn := schedule.next_turn(comparison)) is not None:
            samples = _take(comparison, schedule, turn, bench, work, judges)
            comparison.samples += samples
            yield samples


def _judges(bench: Bench, work: Path, *, is_needed: bool) -> _Judges:
    if bench.workload.edits is None:
        return _Judges(reference=reference_of(bench.workload, bench.tree, work, bench.progress))
    if not is_needed:
        return _Judges()
    return _Judges(edits=prepare_edits(bench.workload, bench.tree, work, bench.progress))


def _warm_up(bench: Bench, work: Path) -> None:
    bench.progress("one run without a share first, not measured, so that programs are in memory")
    with fresh_tree(bench.workload, bench.tree, work) as host:
        failure = execute(bench.workload, host, host).failure
        failure = failure or check_failure(bench.workload, host, host)
        if failure:
            bench.say(f"it failed, even without a share: {failure}")


@contextlib.contextmanager
def _guest_view(
    arm: Arm, seed: int, bench: Bench, host: Path, work: Path
) -> Iterator[tuple[Path, MountedShare | None]]:
    """The tree as the guest of *arm* sees it, and its share; natively *host* itself, and None."""
    if arm.is_native:
        yield host, None
        return
    with (
        mount_place(bench.workload, host, work) as place,
        bench.mount(arm, seed, place.source, place.mountpoint) as share,
    ):
        yield place.guest, share


def _take(
    comparison: Comparison,
    schedule: RunSchedule,
    turn: MountTurn,
    bench: Bench,
    work: Path,
    judges: _Judges,
) -> list[Sample]:
    """The samples of one mount."""
    arm = bench.arms[turn.arm]
    samples: list[Sample] = []
    try:
        with (
            fresh_tree(bench.workload, bench.tree, work) as host,
            _guest_view(arm, seed_of(comparison.seed, turn.round), bench, host, work) as seen,
        ):
            guest, share = seen
            if share is not None:
                comparison.mounted.setdefault(arm.label, share.first_status.as_dict())
            if schedule.prepares_caches:
                bench.prepare_caches()
            for number, kind in turn.runs:
                bench.progress(f"{arm.label}: {schedule.name_of(number, kind)}")
                sample = Sample(arm.label, number, kind, 0.0, 0.0)
                if samples:
                    try:
                        reset_tree(bench.workload, guest)
                    except CaseError as error:
                        sample.failure = str(error)
                        samples.append(sample)
                        break
                _fill(sample, guest, host, share, bench, judges)
                samples.append(sample)
                # What is still pending would fall into the next run.
                is_cut_short = share is not None and sample.drain_s is None
                if is_cut_short or (sample.failure and not schedule.goes_on_after_failure):
                    break
    except Exception:
        # A share that could not write back may complain of it again at its end: the failed
        # sample says so, and the others have nothing to do with it.
        if arm.is_native or not samples or samples[-1].drain_s is not None:
            raise
    return samples


def _fill(
    sample: Sample,
    guest: Path,
    host: Path,
    share: MountedShare | None,
    bench: Bench,
    judges: _Judges,
) -> None:
    """Run the command once, and put into *sample* what came out."""
    sample.began_s, sample.load_average = bench.clock_s(), os.getloadavg()[0]
    trace = _begin_counting(sample, share, bench)
    if judges.edits is not None:
        execution, sample.risk = judges.edits.run(guest, host, share)
    else:
        execution = execute(bench.workload, guest, host)
    sample.wall_s, sample.workload_processor_s = execution.wall_s, execution.workload_processor_s
    sample.failure, sample.last_line = execution.failure, execution.last_line
    sample.others_processor_s = execution.others_processor_s
    if share is not None:
        drained = drain(share)
        _take_over(sample, drained)
        if trace is not None:
            notes = {"arm": sample.arm, "round": sample.round, "kind": sample.kind}
            end_trace(share, execution, notes, has_failed=drained.drain_s is None)
            sample.trace = os.path.relpath(trace, bench.result_directory)
        if drained.drain_s is None:
            return
    if judges.edits is not None:
        assert sample.risk is not None
        sample.failure = judges.edits.finish(
            execution, sample.risk, sample.failure, guest, host, share
        )
        return
    sample.failure = sample.failure or check_failure(bench.workload, guest, host, share)
    if not sample.failure:
        sample.failure, sample.digest = tree_mismatch(bench.workload, host, share, judges.reference)


def _begin_counting(sample: Sample, share: MountedShare | None, bench: Bench) -> Path | None:
    """Let *share* count from here on; returns the file of its trace, if there is one."""
    if share is None:
        return None
    share.flush()
    trace = None
    if bench.traces is not None:
        trace = bench.traces / trace_name(sample.arm, [*bench.arms], sample.round, sample.kind)
        discard(trace)  # of the same run, where it was interrupted
        share.start_trace(str(trace), with_calls=bench.trace_calls)
    share.reset()
    return trace


def _take_over(sample: Sample, drained: Drained) -> None:
    sample.failure = sample.failure or drained.failure
    sample.drain_s = drained.drain_s
    if drained.status is None:
        return
    sample.share = drained.status.as_dict()
    if sample.others_processor_s is not None:
        server_s = drained.status.server_processor_s
        sample.others_processor_s = max(0.0, sample.others_processor_s - server_s)


def trace_name(arm: str, arms: Sequence[str], number: int, kind: str) -> str:
    """The file name of *arm*'s trace in round *number*. Raises ValueError if not one of *arms*."""
    # Different arms may look the same once they can be a file's name.
    plain = re.sub(r"[^A-Za-z0-9._]+", "-", arm).strip("-.")
    return f"{arms.index(arm) + 1}-{plain}-{number + 1:03}-{kind}.parquet"
