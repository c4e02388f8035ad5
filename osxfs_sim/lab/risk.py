"""Runs under edits of the host, and what the workload risked by its caches.

Which files are edited is decided by a native run first: an edit of a file that the workload
never asks for risks nothing. Of those that it asks for and does not change itself, some are
drawn by the seed, and each run of every arm gets the same edits from its command's start on,
until it ends: a slower arm gets more of the same.

What the command is told is taken down while it runs and judged afterwards, so that judging
costs the measured time nothing; taking it down costs a little, in every arm alike.

Whether the result changed is decided against two native runs, one with the edits and one
without: only that is compared in which these two agree. A command that prints the time would
else have another result each time, and an edit that shows natively is no fault of a cache.
"""

import contextlib
import hashlib
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from osxfs_sim.coherence.answers.library import asked_in_vain, begin_recording, compiled
from osxfs_sim.coherence.answers.log import Answer, Told, read_answers
from osxfs_sim.coherence.answers.risk import CHANGED, FAILED, SAME, counted
from osxfs_sim.coherence.answers.timeline import timeline_from
from osxfs_sim.coherence.edits.applying import edited, names_of
from osxfs_sim.coherence.edits.stream import Stream, chosen
from osxfs_sim.lab.cases import CaseError
from osxfs_sim.lab.runs import (
    MountedShare,
    Plan,
    Progress,
    Run,
    Watched,
    default_cache,
    fault,
    real_places,
    reset_tree,
    run_once,
)
from osxfs_sim.lab.tree_digest import entries_of

_MOST_BYTES = 256 * 1024
"""Nobody edits larger files by hand, and each content is kept for the judge."""
_NOBODY_EDITS = {".git", ".hg", ".svn", ".osxfs-sim"}

_NATIVE_TRIES = 3

_EXIT, _CHECK, _OUTPUT, _TREE = "exit", "check", "output", "tree"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run came to: complaints (empty, if there are none) and digests."""

    exit: str
    check: str
    output: str
    tree: str

    def parts_as(self, other: "Outcome") -> tuple[str, ...]:
        """The parts in which both are the same."""
        return tuple(
            part
            for part in (_EXIT, _CHECK, _OUTPUT, _TREE)
            if getattr(self, part) == getattr(other, part)
        )


@dataclass(frozen=True, slots=True)
class EditedRuns:
    """What the runs under edits need: the *files* that are edited, and what they shall come to.

    *expected* is the outcome of a native run under the same edits, and *compared* what of
    it an outcome is judged by. *native* counts what of that run was judged, and stale: none,
    if the judge is right.
    """

    plan: Plan
    stream: Stream
    library: Path
    files: tuple[str, ...]
    expected: Outcome
    compared: tuple[str, ...]
    native: dict[str, int]

    def run(self, kind: str, guest: Path, host: Path, share: MountedShare | None) -> Run:
        """Run the command once, edited and recorded; failed, until `finish` says otherwise."""
        run = _run(self.plan, self.stream, self.library, self.files, kind, guest, host, share)
        assert run.risk is not None
        run.risk |= {
            "result": FAILED,
            "compared": list(self.compared),
            "native": dict(self.native),
        }
        return run

    def finish(self, run: Run, guest: Path, host: Path, share: MountedShare | None) -> None:
        """Say whether the result of *run* is the expected one, once the host has everything."""
        assert run.risk is not None
        found = _outcome(self.plan, run, self._names(), guest, host, share)
        same = found.parts_as(self.expected)
        differs = [part for part in self.compared if part not in same]
        failed = _EXIT in differs or _CHECK in differs
        result = FAILED if failed else CHANGED if differs else SAME
        if _CHECK in differs:
            run.failure = run.failure or found.check
        run.risk["result"] = result

    def _names(self) -> frozenset[str]:
        return frozenset(names_of(self.stream, self.files))


def prepare_edits(plan: Plan, tree: Path, work: Path, progress: Progress) -> EditedRuns | None:
    """Two native runs of *tree*, copied below *work*: one that tells what to edit, one edited.

    None, if the plan has no edits. Raises CaseError, where there is nothing to edit, and
    UserError.
    """
    if plan.edits is None:
        return None
    library = compiled(default_cache())
    progress("a native run, to see what the case asks for")
    with _native_tree(plan, tree, work) as host:
        place = _real_root(plan, host, None)
        everything = list(_files_below(place))
        with tempfile.TemporaryDirectory(prefix="answers-", dir=work) as made:
            wants_missing = plan.edits.pattern.targets == "missing"
            recording = begin_recording(Path(made), everything, missing=wants_missing)
            environment = recording.environment(library, place, plan.environment)
            run = run_once(plan, "fresh", host, host, Watched(environment))
            answers = list(read_answers(recording.directory, recording.names))
            missing = asked_in_vain(recording)
        candidates = _missing(missing, place) if wants_missing else _candidates(answers, place)
        files = tuple(chosen(plan.edits, candidates, plan.edits_seed))
        if not files:
            what = "missing name" if wants_missing else "file"
            raise CaseError(
                f"the case {plan.case.name} asks for no {what} in its tree that somebody could "
                "edit meanwhile: --edits has no effect on it"
            )
        names = frozenset(names_of(plan.edits, files))
        plain = _outcome(plan, run, names, host, host, None)
    progress(f"a native run under the edits, of {len(files)} names")
    native = dict.fromkeys(("judged", "stale", "unexplained"), 0)
    for _ in range(_NATIVE_TRIES):
        with _native_tree(plan, tree, work) as host:
            run = _run(plan, plan.edits, library, files, "fresh", host, host, None)
            expected = _outcome(plan, run, names, host, host, None)
        assert run.risk is not None
        for key in native:
            native[key] += sum(of_kind[key] for of_kind in run.risk["stale"].values())
        if not expected.exit or plain.exit:
            break
        progress(f"the native run fails under these edits: {expected.exit}")
    if native["stale"] or native["unexplained"]:
        progress(
            f"warning: {native['stale']} answers of a native run were judged to be stale, and "
            f"{native['unexplained']} true of nothing, which cannot be: do not believe what follows"
        )
    compared = expected.parts_as(plain) if not expected.exit or plain.exit else ()
    if _EXIT not in compared:
        progress(
            "warning: natively the command fails under these edits, so that no result is compared: "
            "choose others, such as rewrite,same"
        )
    return EditedRuns(plan, plan.edits, library, files, expected, compared, native)


@contextlib.contextmanager
def _native_tree(plan: Plan, tree: Path, work: Path) -> Iterator[Path]:
    """A fresh copy of the tree, as a case makes it before a run, for a ``with`` block."""
    host = work / "host"
    shutil.copytree(tree, host, symlinks=True)
    try:
        reset_tree(plan, host)
        yield host
    finally:
        shutil.rmtree(host)


def _run(
    plan: Plan,
    stream: Stream,
    library: Path,
    files: tuple[str, ...],
    kind: str,
    guest: Path,
    host: Path,
    share: MountedShare | None,
) -> Run:
    part = plan.case.shared.get(plan.variant)
    with tempfile.TemporaryDirectory(prefix="answers-", dir=host.parent) as made:
        work = Path(made)
        recording = begin_recording(work, names_of(stream, files))
        environment = recording.environment(library, guest / (part or ""), plan.environment)
        place = _real_root(plan, host, share)
        with edited(stream, place, files, plan.edits_seed, work) as (begin, applied):
            run = run_once(plan, kind, guest, host, Watched(environment, begin))
        answers = list(read_answers(work, recording.names))
    status = {} if share is None else share.first_status
    private = [one["path"] for one in status.get("volumes", ())]
    # A guest that works on a copy sees the times at which its files were made.
    times = status.get("copy") is None
    run.risk = {
        "edits": {
            "stream": stream.text,
            "seed": plan.edits_seed,
            "made": applied.log["made"],
            "skipped": applied.log["skipped"],
            "files": len(files),
            "chosen": hashlib.sha256(os.fsencode("\n".join(files))).hexdigest()[:16],
        },
        **counted(timeline_from(applied.log), answers, private, times=times),
    }
    return run


def _real_root(plan: Plan, host: Path, share: MountedShare | None) -> Path:
    """Where the host has what is shared: of a part of the tree, it was moved away."""
    part = plan.case.shared.get(plan.variant)
    if part is None:
        return host
    return host / part if share is None else host.with_name("shared")


def _outcome(
    plan: Plan,
    run: Run,
    edited_names: frozenset[str],
    guest: Path,
    host: Path,
    share: MountedShare | None,
) -> Outcome:
    if run.failure:
        return Outcome(run.failure, "", run.output, "")
    return Outcome(
        "",
        fault(plan, guest, host, share),
        run.output,
        _tree_digest(plan, edited_names, host, share),
    )


def _tree_digest(
    plan: Plan, edited_names: frozenset[str], host: Path, share: MountedShare | None
) -> str:
    """Of the deterministic parts of the tree, without the names that are edited."""
    if not plan.case.deterministic:
        return ""
    part = plan.case.shared.get(plan.variant)
    inside = "" if part is None else f"{part}/"
    tree, elsewhere = real_places(plan, host, share)
    digest = hashlib.sha256()
    for entry in entries_of(tree, plan.case.deterministic, plan.case.ignored, elsewhere):
        if not entry.path.startswith(inside) or entry.path[len(inside) :] not in edited_names:
            digest.update(repr(tuple(entry)).encode())
    return digest.hexdigest()


def _candidates(answers: list[Answer], place: Path) -> list[str]:
    """The files that the workload asked for by name and did not change."""
    own = {answer.path for answer in answers if answer.told is Told.OWN}
    asked = {
        answer.path
        for answer in answers
        if answer.told in (Told.LOOK, Told.STAT, Told.READ) and not answer.error
    }
    return sorted(path for path in asked if _can_be_edited(path, own, place))


def _missing(asked: list[str], place: Path) -> list[str]:
    """Of the names that were *asked* for in vain those that are missing in a directory there is.

    What the command made and removed again, or had not made yet, is not known here: a name that
    it makes later is not missing any more.
    """
    return [
        path
        for path in asked
        if not _NOBODY_EDITS.intersection(path.split("/"))
        and not os.path.lexists(place / path)
        and (place / path).parent.is_dir()
    ]


def _can_be_edited(path: str, own: set[str], place: Path) -> bool:
    parts = path.split("/")
    above = {"/".join(parts[:count]) for count in range(len(parts) + 1)}
    if above & own or _NOBODY_EDITS.intersection(parts):
        return False
    try:
        status = os.lstat(place / path)
    except OSError:
        return False  # the command has taken it away by means that are not seen
    return stat.S_ISREG(status.st_mode) and status.st_size <= _MOST_BYTES


def _files_below(place: Path) -> Iterator[str]:
    for directory, _, names in os.walk(place):
        inside = os.path.relpath(directory, place)
        for name in names:
            yield name if inside == "." else f"{inside}/{name}"
