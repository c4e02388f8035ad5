"""Runs under edits of the host, and what the workload risked by its caches.

Which files are edited is decided by a native run first: an edit of a file that the workload
never asks for risks nothing. Of those that it asks for and does not change itself, some are
drawn by the seed, and each run of every arm gets the same edits from its command's start on,
until it ends: a slower arm gets more of the same.

The answers that the command gets are recorded while it runs and judged afterwards, so that
judging costs the measured time nothing; recording costs a little, in every arm alike.

Whether the result changed is decided against two native runs, one with the edits and one
without: only that is compared in which these two agree. A command that prints the time would
else have another result each time, and an edit that shows natively is no fault of a cache.
"""

import hashlib
import os
import stat
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from osxfs_sim.coherence.answers.library import begin_recording, compiled, missing_lookups
from osxfs_sim.coherence.answers.log import AnswerKind, RecordedAnswer, read_answers
from osxfs_sim.coherence.answers.risk import CHANGED, FAILED, SAME, counted
from osxfs_sim.coherence.answers.timeline import timeline_from
from osxfs_sim.coherence.edits.applying import edited, names_of
from osxfs_sim.coherence.edits.stream import Stream, chosen
from osxfs_sim.lab.cases import CaseError
from osxfs_sim.lab.shares import MountedShare, check_failure, real_places
from osxfs_sim.lab.tree_digest import entries_of
from osxfs_sim.lab.trees import default_cache, fresh_tree
from osxfs_sim.lab.workload import Execution, Say, Watched, Workload, execute

_MOST_BYTES = 256 * 1024
"""Nobody edits larger files by hand, and each content is kept for the judge."""
_NOBODY_EDITS = {".git", ".hg", ".svn", ".osxfs-sim"}

_NATIVE_TRIES = 3

_EXIT, _CHECK, _OUTPUT, _TREE = "exit", "check", "output", "tree"


@dataclass(frozen=True, slots=True)
class WorkDone:
    """What a run came to: complaints (empty, if there are none) and digests."""

    exit: str
    """How the command failed; empty if it did not."""
    check: str
    """What the case's check found wrong; empty if nothing."""
    output: str
    """Digest of what the command printed."""
    tree: str
    """Digest of the deterministic parts of the tree."""

    def parts_as(self, other: "WorkDone") -> tuple[str, ...]:
        """The names of the parts (exit, check, output, tree) in which *other* is the same."""
        return tuple(
            part
            for part in (_EXIT, _CHECK, _OUTPUT, _TREE)
            if getattr(self, part) == getattr(other, part)
        )


@dataclass(frozen=True, slots=True)
class EditedRuns:
    """What the runs under edits need, found out by native runs."""

    workload: Workload
    """What is run in each sample."""
    stream: Stream
    """The edits that the host makes meanwhile."""
    library: Path
    """The preloaded library that records the answers that the command gets."""
    files: tuple[str, ...]
    """The names that are edited, relative to what is shared."""
    expected: WorkDone
    """What a native run under the same edits comes to."""
    compared: tuple[str, ...]
    """The parts of a result that a run is judged by."""
    native: dict[str, int]
    """Counts of the native run's judged and stale answers: none stale, if the judge is right."""

    def run(
        self, guest: Path, host: Path, share: MountedShare | None
    ) -> tuple[Execution, dict[str, Any]]:
        """Run the command under edits: its execution, failed or not, and its answers, judged.

        The risk's result is failed, until `finish` says otherwise.
        """
        execution, risk = _run(
            *(self.workload, self.stream, self.library, self.files, guest, host, share)
        )
        risk |= {"result": FAILED, "compared": list(self.compared), "native": dict(self.native)}
        return execution, risk

    def finish(
        self,
        execution: Execution,
        risk: dict[str, Any],
        failure: str,
        guest: Path,
        host: Path,
        share: MountedShare | None,
    ) -> str:
        """Put into *risk* whether the result is the expected one; returns the run's failure, or "".

        *failure* is what is known against the run; returns it, or what the case's check says.
        """
        found = _work_done(
            *(self.workload, execution, failure, self._names(), guest, host, share),
        )
        same = found.parts_as(self.expected)
        differs = [part for part in self.compared if part not in same]
        failed = _EXIT in differs or _CHECK in differs
        risk["result"] = FAILED if failed else CHANGED if differs else SAME
        return failure or (found.check if _CHECK in differs else "")

    def _names(self) -> frozenset[str]:
        return frozenset(names_of(self.stream, self.files))


def prepare_edits(workload: Workload, tree: Path, work: Path, say: Say) -> EditedRuns | None:
    """Find names to edit by native runs of *tree*. None without edits. Raises UserError if none.

    None, if the workload has no edits. Raises CaseError, where there is nothing to edit, and
    UserError.
    """
    if workload.edits is None:
        return None
    library = compiled(default_cache())
    say("a native run, to see what the case asks for")
    with fresh_tree(workload, tree, work) as host:
        place = _real_root(workload, host, None)
        everything = list(_files_below(place))
        with tempfile.TemporaryDirectory(prefix="answers-", dir=work) as made:
            wants_missing = workload.edits.pattern.targets == "missing"
            recording = begin_recording(Path(made), everything, missing=wants_missing)
            environment = recording.environment(library, place, workload.environment)
            execution = execute(workload, host, host, Watched(environment))
            answers = list(read_answers(recording.directory, recording.names))
            missing = missing_lookups(recording)
        candidates = _missing(missing, place) if wants_missing else _candidates(answers, place)
        files = tuple(chosen(workload.edits, candidates, workload.edits_seed))
        if not files:
            what = "missing name" if wants_missing else "file"
            raise CaseError(
                f"the case {workload.case.name} asks for no {what} in its tree that somebody could "
                "edit meanwhile: --edits has no effect on it"
            )
        names = frozenset(names_of(workload.edits, files))
        plain = _work_done(workload, execution, execution.failure, names, host, host, None)
    say(f"a native run under the edits, of {len(files)} names")
    native = dict.fromkeys(("judged", "stale", "unexplained"), 0)
    for _ in range(_NATIVE_TRIES):
        with fresh_tree(workload, tree, work) as host:
            execution, risk = _run(workload, workload.edits, library, files, host, host, None)
            expected = _work_done(workload, execution, execution.failure, names, host, host, None)
        for key in native:
            native[key] += sum(of_kind[key] for of_kind in risk["stale"].values())
        if not expected.exit or plain.exit:
            break
        say(f"the native run fails under these edits: {expected.exit}")
    if native["stale"] or native["unexplained"]:
        say(
            f"warning: {native['stale']} answers of a native run were judged to be stale, and "
            f"{native['unexplained']} true of nothing, which cannot be: do not believe what follows"
        )
    compared = expected.parts_as(plain) if not expected.exit or plain.exit else ()
    if _EXIT not in compared:
        say(
            "warning: natively the command fails under these edits, so that no result is compared: "
            "choose others, such as rewrite,same"
        )
    return EditedRuns(workload, workload.edits, library, files, expected, compared, native)


def _run(
    workload: Workload,
    stream: Stream,
    library: Path,
    files: tuple[str, ...],
    guest: Path,
    host: Path,
    share: MountedShare | None,
) -> tuple[Execution, dict[str, Any]]:
    """One execution under *stream*, and the answers that it got, judged."""
    part = workload.shared_part
    with tempfile.TemporaryDirectory(prefix="answers-", dir=host.parent) as made:
        work = Path(made)
        recording = begin_recording(work, names_of(stream, files))
        environment = recording.environment(library, guest / (part or ""), workload.environment)
        place = _real_root(workload, host, share)
        with edited(stream, place, files, workload.edits_seed, work) as (begin, applied):
            execution = execute(workload, guest, host, Watched(environment, begin))
        answers = list(read_answers(work, recording.names))
    private = [] if share is None else [one.path for one in share.first_status.volumes]
    # A guest that works on a copy sees the times at which its files were made.
    times = share is None or share.first_status.copy is None
    return execution, {
        "edits": {
            "stream": stream.text,
            "seed": workload.edits_seed,
            "made": applied.log["made"],
            "skipped": applied.log["skipped"],
            "files": len(files),
            "chosen": hashlib.sha256(os.fsencode("\n".join(files))).hexdigest()[:16],
        },
        **counted(timeline_from(applied.log), answers, private, times=times),
    }


def _real_root(workload: Workload, host: Path, share: MountedShare | None) -> Path:
    """Where the host has what is shared: of a part of the tree, it was moved away."""
    part = workload.shared_part
    if part is None:
        return host
    return host / part if share is None else host.with_name("shared")


def _work_done(
    workload: Workload,
    execution: Execution,
    failure: str,
    edited_names: frozenset[str],
    guest: Path,
    host: Path,
    share: MountedShare | None,
) -> WorkDone:
    if failure:
        return WorkDone(failure, "", execution.output_digest, "")
    return WorkDone(
        "",
        check_failure(workload, guest, host, share),
        execution.output_digest,
        _tree_digest(workload, edited_names, host, share),
    )


def _tree_digest(
    workload: Workload, edited_names: frozenset[str], host: Path, share: MountedShare | None
) -> str:
    """Of the deterministic parts of the tree, without the names that are edited."""
    if not workload.case.deterministic:
        return ""
    part = workload.shared_part
    inside = "" if part is None else f"{part}/"
    tree, elsewhere = real_places(workload, host, share)
    digest = hashlib.sha256()
    for entry in entries_of(tree, workload.case.deterministic, workload.case.ignored, elsewhere):
        if not entry.path.startswith(inside) or entry.path[len(inside) :] not in edited_names:
            digest.update(repr(tuple(entry)).encode())
    return digest.hexdigest()


def _candidates(answers: list[RecordedAnswer], place: Path) -> list[str]:
    """The files that the workload asked for by name and did not change."""
    own = {answer.path for answer in answers if answer.kind is AnswerKind.OWN}
    asked = {
        answer.path
        for answer in answers
        if answer.kind in (AnswerKind.LOOKUP, AnswerKind.STAT, AnswerKind.READ) and not answer.error
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
