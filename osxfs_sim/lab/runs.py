"""A case, arm by arm, and what came out.

An arm is the case under one configuration: ``native`` (the tree itself, no
mount) or a profile. Each arm gets a fresh copy of the tree and a fresh mount;
its first run is *fresh* (the guest's caches know nothing), the following ones
are *again* (the guest's caches as the runs before left them). The host's page
cache is warm in all of them, native included: the copy was just written.

A command that fails, or leaves or prints something else than it should, is a
failed run: it has no wall time in the table. Where a case is deterministic, the
tree on the host must then be what a native run leaves.

What is measured ends with the command. A share may hold changes back then: it
is asked to write them to the host, and the time that takes is kept beside the
wall time, not in it. The counts of a run go on until the host has everything,
because these crossings are the run's own.
"""

import contextlib
import hashlib
import os
import re
import resource
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any, Protocol

from osxfs_sim.coherence.edits.stream import Stream
from osxfs_sim.lab.cases import Case, CaseError
from osxfs_sim.lab.machine import busy_s
from osxfs_sim.lab.originals import difference, save_state, saved_state, state_of
from osxfs_sim.lab.tree_digest import entries_of, first_difference, read_manifest, write_manifest
from osxfs_sim.lab.work_directories import work_directory
from osxfs_sim.model.status import ShareStatus

NATIVE = "native"
SCHEMA = 1

Progress = Callable[[str], None]


class MountedShare(Protocol):
    """What the lab wants of a share: how it began, its end of a run, and counts over it."""

    first_status: ShareStatus

    def flush(self) -> ShareStatus:
        """The status, once the host has all that the guest has changed.

        Raises an exception of its own kind if the host does not get it.
        """

    def reset(self) -> ShareStatus:
        """The status, after which counting starts anew."""

    def start_trace(self, path: str) -> None:
        """Record every request from now on in the file *path*."""

    def stop_trace(
        self,
        *,
        command_start_ns: int | None = None,
        command_end_ns: int | None = None,
        notes: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        """Complete the file, with the moments between which the measured command ran."""


class Risks(Protocol):
    """Runs under edits of the host (lab/risk.py has them, on top of what is here)."""

    def run(self, kind: str, guest: Path, host: Path, share: MountedShare | None) -> "Run":
        """Run the command once, edited and recorded."""

    def finish(self, run: "Run", guest: Path, host: Path, share: MountedShare | None) -> None:
        """Say whether the result is what it should be, once the host has everything."""


Mount = Callable[[str, Path, Path], AbstractContextManager[MountedShare]]
"""Mounts, for an arm of the given name, a directory at a mount point: handed to the lab."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to run. *seed* and *dilate* are those of every mounted arm.

    Traces of their requests are kept in the directory *traces*, where one is given.
    With *edits* the host changes files while each run's command runs, as that stream says,
    drawn with *edits_seed*; what the command was told is then judged (lab/risk.py).
    """

    case: Case
    arms: tuple[str, ...]
    variant: str
    quick: bool
    toggles: tuple[str, ...]
    runs: int
    seed: int = 0
    dilate: float = 1.0
    traces: Path | None = None
    edits: Stream | None = None
    edits_seed: int = 0

    @property
    def form(self) -> str:
        """Of the case, as its commands are told: ``quick`` or ``whole``."""
        return "quick" if self.quick else "whole"

    @property
    def environment(self) -> dict[str, str]:
        """Of the case's commands: ours, and what the toggles set."""
        return {**os.environ, **self.case.environment(self.toggles)}


PrepareRisks = Callable[["Plan", Path, Path, Progress], Risks | None]
"""Makes ready for runs under a plan's edits, if it has some: of a tree, in a directory."""


@dataclass(frozen=True, slots=True)
class Watched:
    """A run that somebody watches: in *environment*, and telling when it begins."""

    environment: Mapping[str, str]
    begin: Callable[[], None] = lambda: None


@dataclass(slots=True)
class Run:
    """One execution of the measured command. Times in seconds.

    *kind* is fresh or again; *failure* says why it does not count, or is empty;
    *caught_up_s* is how long after the command's end the host had everything,
    and *share* the share's status from the command's start until then, of this
    run alone (both None for native). *digest* is of the deterministic parts of the
    host's tree after it, where the case has some and the run did not fail before.
    *told* is the last line that the command printed, where that is a result.
    *start_ns* and *end_ns* are when the command began and ended, of
    time.monotonic_ns(), as a trace of the run tells its times; *trace* is its file.
    *risk* is what the command was told while the host changed files, judged, where the
    plan has edits: a document as coherence/answers/risk.py describes it. *output* is then
    the digest of what the command printed, wherever its tree lay. *others_processor_s* is the
    processor time that all other programs of the machine used meanwhile (lab/judgement.py).
    """

    kind: str
    wall_s: float
    workload_processor_s: float
    failure: str = ""
    caught_up_s: float | None = None
    share: dict[str, Any] | None = None
    digest: str | None = None
    told: str = ""
    start_ns: int = 0
    end_ns: int = 0
    trace: Path | None = None
    risk: dict[str, Any] | None = None
    output: str = ""
    others_processor_s: float | None = None


@dataclass(frozen=True, slots=True)
class Reference:
    """What a native run leaves in the deterministic parts; *failure*, if it left nothing good."""

    manifest: Path
    failure: str = ""


@dataclass(slots=True)
class ArmResult:
    """The runs of one arm, and the share's first status, with what calibration found."""

    arm: str
    runs: list[Run] = field(default_factory=list)
    mounted: dict[str, Any] | None = None

    @property
    def is_cut_short(self) -> bool:
        """Whether the last run's changes did not reach the host, so that none can follow."""
        return self.mounted is not None and bool(self.runs) and self.runs[-1].caught_up_s is None

    def representative(self) -> list[Run]:
        """The fresh run, and of the others the median one by wall time; failed runs all."""
        chosen = [run for run in self.runs if run.kind == "fresh" or run.failure]
        others = sorted((run for run in self.runs if run not in chosen), key=lambda run: run.wall_s)
        if others:
            chosen.append(others[len(others) // 2])
        return chosen

    def counterpart(self, run: Run) -> Run | None:
        """The representative run of the same kind as *run* of another arm, if it counts."""
        same = (own for own in self.representative() if own.kind == run.kind and not own.failure)
        return next(same, None)


def recipe_of(case: Case) -> str:
    """A digest of all that makes the case what it is: its folder, without what is for people."""
    recipe = hashlib.sha256()
    for path in sorted(case.folder.rglob("*")):
        if path.is_file() and path.suffix != ".md" and "__pycache__" not in path.parts:
            recipe.update(str(path.relative_to(case.folder)).encode())
            recipe.update(path.read_bytes())
    return recipe.hexdigest()


def prepare_tree(case: Case, variant: str, cache: Path, progress: Progress) -> Path:
    """The set-up tree of a case, made once and kept in *cache* until its recipe changes.

    Raises CaseError if set-up fails; what it said goes to standard error.
    """
    name = case.tree_name(variant)
    tree = cache / "cases" / case.name / f"{name}-{recipe_of(case)[:12]}"
    original = tree.with_name(f"{tree.name}.original")
    if tree.is_dir():
        _tell_of_changes(case, original, progress)
        return tree
    what = f" ({variant})" if name == variant else ""
    progress(f"setting up the case {case.name}{what}; this is done once")
    try:
        tree.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CaseError(
            f"cannot keep the set-up tree in {cache}: {error.strerror}; "
            "let XDG_CACHE_HOME name another directory"
        ) from error
    # Before it is copied: what changes meanwhile may be in the copy, or not.
    state = None if case.copied_from is None else state_of(case.copied_from)
    command = case.command(case.setup, tree=tree, variant=variant)
    if subprocess.run(command, stdin=subprocess.DEVNULL, check=False).returncode:
        raise CaseError(f"setting up the case {case.name} failed: its last lines above say why")
    if not tree.is_dir():
        raise CaseError(f"setting up the case {case.name} made no {tree}: its recipe is wrong")
    if state is not None:
        save_state(state, original)
    return tree


def _tell_of_changes(case: Case, original: Path, progress: Progress) -> None:
    """Where the tree is the copy of a folder that has changed since."""
    then = saved_state(original)
    if case.copied_from is None or then is None:
        return
    if not case.copied_from.is_dir():
        progress(f"note: {case.copied_from} is not there any more: what runs is a copy of it")
        return
    found = difference(then, state_of(case.copied_from))
    if found:
        progress(
            f"note: {case.copied_from} has changed since it was copied ({found}): what runs is the "
            f"copy; to have it copied anew, change copy=1 in {case.folder}/scripts/setup.sh to "
            "another number"
        )


def run_case(
    plan: Plan,
    tree: Path,
    directory: Path,
    mount: Mount,
    progress: Progress,
    prepare_risks: PrepareRisks | None = None,
) -> Iterator[ArmResult]:
    """Run the arms one after the other, below *directory*; yields each when it is done.

    A plan with edits needs *prepare_risks*.
    """
    assert plan.edits is None or prepare_risks is not None
    # By its real path, by which the kernel knows it: answers are told apart by it.
    real = os.path.realpath(directory)
    with work_directory("run", real) as work:
        risks = prepare_risks(plan, tree, work, progress) if prepare_risks else None
        reference = None if risks else reference_of(plan, tree, work, progress)
        for arm in plan.arms:
            yield _run_arm(plan, arm, tree, work, mount, progress, reference, risks)


def reference_of(plan: Plan, tree: Path, work: Path, progress: Progress) -> Reference | None:
    """What a native run leaves where the case is deterministic; None where it is not.

    Kept beside the set-up tree; where it is not there yet, the command is run once
    for it, below *work*, whichever arms have been asked for.
    """
    if not plan.case.deterministic:
        return None
    name = ".".join((tree.name, plan.variant, plan.form, *sorted(plan.toggles), "manifest"))
    reference = Reference(tree.with_name(name))
    if reference.manifest.is_file():
        return reference
    progress("a native run, for the tree that every run must leave; this is done once")
    host = work / "host"
    shutil.copytree(tree, host, symlinks=True)
    try:
        reset_tree(plan, host)
        run = run_once(plan, "fresh", host, host)
        failure = run.failure or fault(plan, host, host)
        if failure:
            return Reference(reference.manifest, failure)
        entries = entries_of(host, plan.case.deterministic, plan.case.ignored)
        write_manifest(entries, reference.manifest)
    finally:
        shutil.rmtree(host)
    return reference


def _run_arm(
    plan: Plan,
    arm: str,
    tree: Path,
    work: Path,
    mount: Mount,
    progress: Progress,
    reference: Reference | None,
    risks: Risks | None,
) -> ArmResult:
    result = ArmResult(arm)
    host = work / "host"
    shutil.copytree(tree, host, symlinks=True)
    try:
        # Before it is mounted, because the fresh run's guest knows nothing of the tree.
        reset_tree(plan, host)
        with guest_view(plan, arm, host, work, None if arm == NATIVE else mount) as (guest, share):
            if share is not None:
                result.mounted = share.first_status.as_dict()
            _run_all(plan, result, guest, host, share, progress, reference, risks)
    except Exception:
        # A share that could not write back may complain of it again at its end: the failed
        # run says so, and the other arms have nothing to do with it.
        if not result.is_cut_short:
            raise
    finally:
        shutil.rmtree(host)
    return result


def _run_all(
    plan: Plan,
    result: ArmResult,
    guest: Path,
    host: Path,
    share: MountedShare | None,
    progress: Progress,
    reference: Reference | None,
    risks: Risks | None,
) -> None:
    for number in range(plan.runs):
        kind = "again" if number else "fresh"
        left = ""
        if number:
            # What other arms will take cannot be told before they have run.
            left = f", about {(plan.runs - number) * result.runs[-1].wall_s:.0f} s left of this arm"
        progress(f"{result.arm}: run {number + 1} of {plan.runs} ({kind}){left}")
        if number:
            reset_tree(plan, guest)
        trace = None
        if share is not None:
            share.flush()
            if plan.traces is not None:
                trace = plan.traces / trace_name(result.arm, plan.arms, number, kind)
                share.start_trace(str(trace))
            share.reset()
        run = risks.run(kind, guest, host, share) if risks else run_once(plan, kind, guest, host)
        run.trace = trace
        result.runs.append(run)
        if share is not None:
            let_host_catch_up(run, share)
            if trace is not None:
                end_trace(run, share, {"arm": result.arm, "run": number, "kind": kind})
        if result.is_cut_short:
            return  # what is still held back would fall into the next run
        if risks is not None:
            risks.finish(run, guest, host, share)
            continue
        run.failure = run.failure or fault(plan, guest, host, share)
        run.failure = run.failure or differing(plan, run, host, share, reference)


# How long something took ("added 12 packages in 5s") is no result.
_DURATION = re.compile(rb"\b\d+(?:\.\d+)?\s?(?:ms|s|m|min|sec|secs|seconds|minutes)\b")


def trace_name(arm: str, arms: Sequence[str], number: int, kind: str) -> str:
    """The file of a trace: of *arm*, one of *arms*, in run or round *number*, from 0."""
    # Different arms may look the same once they can be a file's name.
    plain = re.sub(r"[^A-Za-z0-9._]+", "-", arm).strip("-.")
    return f"{arms.index(arm) + 1}-{plain}-{number + 1:03}-{kind}.parquet"


def end_trace(run: Run, share: MountedShare, notes: dict[str, Any]) -> None:
    """Complete the trace of *run*, with *notes* of what it was."""
    try:
        share.stop_trace(command_start_ns=run.start_ns, command_end_ns=run.end_ns, notes=notes)
    except Exception:
        if run.caught_up_s is not None:
            raise  # else the share has failed already, and its run says so


def reset_tree(plan: Plan, tree: Path) -> None:
    """Make *tree* what it was before a run, as the case does it. Raises CaseError."""
    if plan.case.reset is None:
        return
    why = _run_unmeasured(plan, plan.case.reset, tree, tree)
    if why:
        raise CaseError(f"the case {plan.case.name} cannot be reset: {why}")


def let_host_catch_up(run: Run, share: MountedShare) -> None:
    """Wait until the host has everything, and take the status over the run.

    If the host does not get it, the run has failed, and its caught_up_s stays None.
    """
    start_ns = time.perf_counter_ns()
    status: ShareStatus | None = None
    try:
        share.flush()
    except Exception as error:  # the lab is handed its shares, and cannot know what they raise
        run.failure = run.failure or f"the host did not get everything: {error}"
        with contextlib.suppress(Exception):  # nor whether anything is left to be asked
            status = share.reset()
    else:
        run.caught_up_s = (time.perf_counter_ns() - start_ns) / 1e9
        status = share.reset()
    if status is None:
        return
    run.share = status.as_dict()
    run.failure = run.failure or _policy_failure(status)
    if run.others_processor_s is not None:
        run.others_processor_s = max(0.0, run.others_processor_s - status.server_processor_s)


def _policy_failure(status: ShareStatus) -> str:
    """How a policy of the user's own has failed, where it has: the run is of none then."""
    own = status.own_policy
    if own is None or not own.errors:
        return ""
    return f"the policy failed {own.errors} times in this run; at first: {own.first_error}"


def host_has_all(share: MountedShare | None) -> bool:
    """Whether all that the guest has made is on the host, once the share is flushed.

    What lies in a volume is not, and a copy only where it is synchronized.
    """
    if share is None:
        return True
    return not share.first_status.volumes and _lonely_copy(share) is None


def _lonely_copy(share: MountedShare) -> Path | None:
    """The guest's copy, where the guest works on one that the host does not get."""
    copy = share.first_status.copy
    if copy is None or share.first_status.synchronization is not None:
        return None
    return Path(copy)


def fault(plan: Plan, guest: Path, host: Path, share: MountedShare | None = None) -> str:
    """What the case's check finds wrong with what the command left; nothing, if all is well.

    The guest is asked first. The host must have the same, where it has the whole tree.
    """
    if plan.case.check is None:
        return ""
    for tree, where in ((guest, ""), (host, " on the host")):
        why = _run_unmeasured(plan, plan.case.check, tree, guest)
        if why:
            return f"the check failed{where}: {why}"
        if guest == host or not host_has_all(share):
            break
    return ""


def differing(
    plan: Plan,
    run: Run,
    host: Path,
    share: MountedShare | None,
    reference: Reference | None,
) -> str:
    """Take the run's digest; says what differs first from *reference*.

    It is of the tree that the guest sees, after the share was flushed and without asking it:
    all is read where it really is.
    """
    if reference is None:
        return ""
    if reference.failure:
        return f"the tree cannot be verified, because a native run fails: {reference.failure}"
    tree, elsewhere = real_places(plan, host, share)
    entries = entries_of(tree, plan.case.deterministic, plan.case.ignored, elsewhere)
    found = host.with_name("found.manifest")
    run.digest = write_manifest(entries, found)
    difference = first_difference(read_manifest(reference.manifest), read_manifest(found))
    return f"the tree is not what a native run leaves: {difference}" if difference else ""


def real_places(
    plan: Plan, host: Path, share: MountedShare | None
) -> tuple[Path, dict[PurePosixPath, Path]]:
    """Where the tree that the guest sees really is, and the parts of it that are elsewhere.

    What is mounted was moved away (see guest_view) or copied, and a volume lies where it lies.
    """
    if share is None:
        return host, {}
    part, copy = plan.case.shared.get(plan.variant), _lonely_copy(share)
    tree, elsewhere = host, {}
    if part is not None:
        elsewhere[part] = copy or host.with_name("shared")
    elif copy is not None:
        tree = copy
    for volume in share.first_status.volumes:
        elsewhere[(part or PurePosixPath()) / volume.path] = Path(volume.directory)
    return tree, elsewhere


def _run_unmeasured(plan: Plan, words: tuple[str, ...], tree: Path, guest: Path) -> str:
    """Run a command of the case in *tree*; says why it failed, or nothing."""
    command = plan.case.command(words, tree=tree, variant=plan.variant, form=plan.form, guest=guest)
    try:
        process = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env=plan.environment,
            check=False,
        )
    except OSError as error:
        return f"{command[0]} cannot be run: {error.strerror}"
    return _complaint(process.returncode, process.stderr) if process.returncode else ""


def _complaint(code: int, errors: bytes) -> str:
    """An exit code and the last line that a command said."""
    return f"exit code {code}: {_last_line(errors)}"


def _last_line(said: bytes) -> str:
    return " ".join(said.decode("utf-8", "replace").strip().splitlines()[-1:])


@contextlib.contextmanager
def guest_view(
    plan: Plan, arm: str, host: Path, work: Path, mount: Mount | None
) -> Iterator[tuple[Path, MountedShare | None]]:
    """The tree as the guest sees it: the share itself, or the host's tree with a share in it.

    Without *mount* it is the tree itself.
    """
    part = plan.case.shared.get(plan.variant)
    if mount is None:
        yield host, None
        return
    if part is None:
        source, mountpoint, guest = host, work / "share", work / "share"
    else:
        # Nothing can be mounted over what it shares: that is moved out of the way, and back.
        source, mountpoint, guest = work / "shared", host / part, host
        mountpoint.rename(source)
    mountpoint.mkdir()
    try:
        with mount(arm, source, mountpoint) as share:
            yield guest, share
    finally:
        with contextlib.suppress(OSError):  # still in use: that error comes first
            mountpoint.rmdir()
            if part is not None:
                source.rename(mountpoint)


def run_once(plan: Plan, kind: str, guest: Path, host: Path, watched: Watched | None = None) -> Run:
    """Run the measured command once; its failure is the run's.

    What it should print is not asked of a run that is *watched*: an edit may show in it.
    """
    case = plan.case
    words = case.quick if plan.quick and case.quick else case.measured
    command = case.command(words, tree=guest, variant=plan.variant, form=plan.form, host=host)
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        environment = plan.environment if watched is None else watched.environment
        before, busy_before = _children_processor_s(), busy_s()
        if watched is not None:
            watched.begin()
        start_ns, began_ns = time.perf_counter_ns(), time.monotonic_ns()
        try:
            process = subprocess.run(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=errors,
                env=environment,
                check=False,
            )
        except OSError as error:  # such as an interpreter that is not there
            return Run(kind, 0.0, 0.0, f"{command[0]} cannot be run: {error.strerror}")
        wall_s = (time.perf_counter_ns() - start_ns) / 1e9
        run = Run(kind, wall_s, _children_processor_s() - before)
        busy = busy_s()
        if busy is not None and busy_before is not None:
            run.others_processor_s = max(0.0, busy - busy_before - run.workload_processor_s)
        run.start_ns, run.end_ns = began_ns, began_ns + round(wall_s * 1e9)
        output.seek(0)
        errors.seek(0)
        if process.returncode:
            run.failure = _complaint(process.returncode, errors.read())
        elif watched is not None:
            told = output.read().replace(os.fsencode(guest), b"{guest}")
            run.output = hashlib.sha256(_DURATION.sub(b"{time}", told)).hexdigest()
        elif case.expected_output and not plan.quick:
            # From the host's side: the share shall not count it, nor remember it.
            if output.read() != (host / case.expected_output).read_bytes():
                run.failure = f"the output differs from {case.expected_output}"
        elif case.check is None and not output.read(1):
            run.failure = "the command printed nothing"
        if case.tells:
            output.seek(0)
            run.told = _last_line(output.read())
    return run


def _children_processor_s() -> float:
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


def default_directory() -> Path:
    """Where host trees lie unless asked otherwise: in memory.

    The disk's own cost would hide the latency that is injected, and the
    published latencies already include the published machine's disk.
    """
    memory = Path("/dev/shm")
    return memory if os.access(memory, os.W_OK) else Path(tempfile.gettempdir())


def default_cache() -> Path:
    """Where set-up trees are kept: the user's cache directory."""
    base = os.environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "osxfs-sim"


def to_document(
    plan: Plan,
    results: Sequence[ArmResult],
    machine: dict[str, object],
    started: str,
    directory: Path = Path(),
) -> dict[str, Any]:
    """All that was measured, for a file in *directory*; *started* is an ISO date and time."""
    return {
        "schema": SCHEMA,
        "case": plan.case.name,
        "variant": plan.variant,
        "quick": plan.quick,
        "options": list(plan.toggles),
        "seed": plan.seed,
        "dilate": plan.dilate,
        "started": started,
        "machine": machine,
        "arms": [
            {
                "arm": result.arm,
                "mounted": result.mounted,
                "runs": [
                    {
                        "kind": run.kind,
                        "wall_s": run.wall_s,
                        "workload_processor_s": run.workload_processor_s,
                        "others_processor_s": run.others_processor_s,
                        "failure": run.failure,
                        "caught_up_s": run.caught_up_s,
                        "share": run.share,
                        "digest": run.digest,
                        "told": run.told,
                        "trace": run.trace and os.path.relpath(run.trace, directory),
                        "risk": run.risk,
                    }
                    for run in result.runs
                ],
            }
            for result in results
        ],
    }
