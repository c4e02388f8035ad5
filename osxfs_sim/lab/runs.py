"""A case, arm by arm, and what came out.

An arm is the case under one configuration: ``native`` (the tree itself, no
mount) or a profile. Each arm gets a fresh copy of the tree and a fresh mount;
its first run is *fresh* (the guest's caches know nothing), the following ones
are *again* (the guest's caches as the runs before left them). The host's page
cache is warm in all of them, native included: the copy was just written.

A command that fails, or prints something else than it should, is a failed run:
it has no wall time in the table.
"""

import contextlib
import hashlib
import os
import resource
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from osxfs_sim.lab.cases import Case, CaseError

NATIVE = "native"
SCHEMA = 1

Progress = Callable[[str], None]


class MountedShare(Protocol):
    """What the lab wants of a share: how it began, and counts over one run."""

    first_status: dict[str, Any]

    def reset(self) -> dict[str, Any]:
        """The status, after which counting starts anew."""


Mount = Callable[[str, Path, Path], AbstractContextManager[MountedShare]]
"""Mounts, for an arm of the given name, a directory at a mount point: handed to the lab."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to run. *seed* and *dilate* are those of every mounted arm."""

    case: Case
    arms: tuple[str, ...]
    variant: str
    quick: bool
    toggles: tuple[str, ...]
    runs: int
    seed: int = 0
    dilate: float = 1.0


@dataclass(slots=True)
class Run:
    """One execution of the measured command. Times in seconds.

    *kind* is fresh or again; *failure* says why it does not count, or is empty;
    *share* is the share's status over this run alone (None for native).
    """

    kind: str
    wall_s: float
    workload_processor_s: float
    failure: str = ""
    share: dict[str, Any] | None = None


@dataclass(slots=True)
class ArmResult:
    """The runs of one arm, and the share's first status, with what calibration found."""

    arm: str
    runs: list[Run] = field(default_factory=list)
    mounted: dict[str, Any] | None = None


def prepare_tree(case: Case, variant: str, cache: Path, progress: Progress) -> Path:
    """The set-up tree of a case, made once and kept in *cache* until its recipe changes.

    Raises CaseError if set-up fails; what it said goes to standard error.
    """
    recipe = hashlib.sha256()
    for path in sorted(case.folder.rglob("*")):
        if path.is_file() and path.suffix != ".md" and "__pycache__" not in path.parts:
            recipe.update(str(path.relative_to(case.folder)).encode())
            recipe.update(path.read_bytes())
    tree = cache / "cases" / case.name / f"{variant}-{recipe.hexdigest()[:12]}"
    if tree.is_dir():
        return tree
    progress(f"setting up the case {case.name} ({variant}); this is done once")
    try:
        tree.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CaseError(
            f"cannot keep the set-up tree in {cache}: {error.strerror}; "
            "let XDG_CACHE_HOME name another directory"
        ) from error
    command = case.command(case.setup, tree=tree, variant=variant)
    if subprocess.run(command, stdin=subprocess.DEVNULL, check=False).returncode:
        raise CaseError(f"setting up the case {case.name} failed: its last lines above say why")
    if not tree.is_dir():
        raise CaseError(f"setting up the case {case.name} made no {tree}: its recipe is wrong")
    return tree


def run_case(
    plan: Plan, tree: Path, directory: Path, mount: Mount, progress: Progress
) -> Iterator[ArmResult]:
    """Run the arms one after the other, below *directory*; yields each when it is done."""
    with tempfile.TemporaryDirectory(prefix="osxfs-sim-run-", dir=directory) as work:
        for arm in plan.arms:
            yield _run_arm(plan, arm, tree, Path(work), mount, progress)


def _run_arm(
    plan: Plan, arm: str, tree: Path, work: Path, mount: Mount, progress: Progress
) -> ArmResult:
    result = ArmResult(arm)
    host = work / "host"
    shutil.copytree(tree, host, symlinks=True)
    try:
        with _guest_view(arm, host, work / "share", mount) as (guest, share):
            if share is not None:
                result.mounted = share.first_status
            for number in range(plan.runs):
                kind = "again" if number else "fresh"
                progress(f"{arm}: run {number + 1} of {plan.runs} ({kind})")
                if share is not None:
                    share.reset()
                run = _run_once(plan, kind, guest, host)
                if share is not None:
                    run.share = share.reset()
                result.runs.append(run)
    finally:
        shutil.rmtree(host)
    return result


@contextlib.contextmanager
def _guest_view(
    arm: str, host: Path, mountpoint: Path, mount: Mount
) -> Iterator[tuple[Path, MountedShare | None]]:
    if arm == NATIVE:
        yield host, None
        return
    mountpoint.mkdir()
    try:
        with mount(arm, host, mountpoint) as share:
            yield mountpoint, share
    finally:
        with contextlib.suppress(OSError):  # still in use: that error comes first
            mountpoint.rmdir()


def _run_once(plan: Plan, kind: str, guest: Path, host: Path) -> Run:
    case = plan.case
    words = case.quick if plan.quick and case.quick else case.measured
    command = case.command(words, tree=guest, variant=plan.variant)
    environment = {**os.environ, **case.environment(plan.toggles)}
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        before = _children_processor_s()
        start_ns = time.perf_counter_ns()
        process = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=errors,
            env=environment,
            check=False,
        )
        wall_s = (time.perf_counter_ns() - start_ns) / 1e9
        run = Run(kind, wall_s, _children_processor_s() - before)
        if process.returncode:
            errors.seek(0)
            last = errors.read().decode("utf-8", "replace").strip().splitlines()[-1:]
            run.failure = f"exit code {process.returncode}: {' '.join(last)}"
        elif case.expected_output and not plan.quick:
            output.seek(0)
            # From the host's side: the share shall not count it, nor remember it.
            if output.read() != (host / case.expected_output).read_bytes():
                run.failure = f"the output differs from {case.expected_output}"
        else:
            output.seek(0)
            if not output.read(1):
                run.failure = "the command printed nothing"
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
    plan: Plan, results: Sequence[ArmResult], machine: dict[str, object], started: str
) -> dict[str, Any]:
    """Everything that was measured, for a file; *started* is an ISO date and time."""
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
                        "failure": run.failure,
                        "share": run.share,
                    }
                    for run in result.runs
                ],
            }
            for result in results
        ],
    }
