"""Takes a pattern of edits from a tool that really runs: by inotify, while it changes files.

inotify tells what was done and when, in order, but not with which bytes. So the names are
made general, and of what was written it is said whether it ended as the file's new content,
had the old one's size (a backup), or was something else (a swap file, a probe). An open with
O_TRUNC is told as a modification: where a file that was there is modified in place, it is
taken to be cut short first. Of several writes into one file the last is kept for a file's
new content, and the first for anything else.

Pauses longer than LONGEST_PAUSE_NS are those of a person at the keyboard: they are shortened,
so that how often a file is saved is the stream's to say.

Attributes that are changed (chmod after writing) are left out. The recorder only reads, and does
not slow the tool down.
"""

import contextlib
import itertools
import os
import select
import statistics
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from inotify_simple import INotify, flags

from osxfs_sim.coherence.edits.pattern import TARGET, EditStep, Pattern
from osxfs_sim.model.user_error import UserError

_HEARD = (
    flags.CREATE | flags.MODIFY | flags.CLOSE_WRITE | flags.DELETE | flags.MOVED_FROM
) | flags.MOVED_TO
_SETTLES_S = 0.1
LONGEST_PAUSE_NS = 20_000_000
"""A longer pause within an edit is a person's, not the tool's, and is shortened to this."""
_NOT_OURS = {".git", ".hg", ".svn"}


@dataclass(frozen=True, slots=True)
class RecordedEvent:
    """One inotify event of a file while the tool ran."""

    at_ns: int
    """When it was read, by CLOCK_MONOTONIC."""
    what: str
    """The inotify flag without IN_, such as MODIFY."""
    path: str
    """The name, relative to the recorded directory."""
    cookie: int = 0
    """Joins the MOVED_FROM and MOVED_TO of one rename (inotify(7)); else 0."""
    size: int = 0
    """The file's size in bytes when the event was read; 0 where it was gone."""


@dataclass(frozen=True, slots=True)
class FileStamp:
    """By what a file is known to have changed between the begin and the end of the recording."""

    inode: int
    """Its inode number."""
    size: int
    """In bytes."""
    mtime_ns: int
    """In ns since 1970."""


def record(
    directory: Path, command: Sequence[str]
) -> tuple[list[RecordedEvent], dict[str, FileStamp], dict[str, FileStamp]]:
    """Run *command*; file events in *directory*, files before and after. Raises UserError, OSError.

    Raises UserError if the command cannot be run or fails, and OSError.
    """
    before = dict(_files(directory))
    heard: list[RecordedEvent] = []
    with INotify() as inotify:
        watched = {}
        for where, names, _ in os.walk(directory):
            names[:] = [name for name in names if name not in _NOT_OURS]
            inside = os.path.relpath(where, directory)
            watched[inotify.add_watch(where, _HEARD)] = "" if inside == "." else f"{inside}/"
        ended = threading.Event()
        listener = threading.Thread(
            target=_listen, args=(inotify, watched, directory, ended, heard), daemon=True
        )
        listener.start()
        try:
            code = subprocess.run(command, check=False).returncode
        except OSError as error:
            raise UserError(f"{command[0]} cannot be run: {error.strerror}") from error
        finally:
            time.sleep(_SETTLES_S)
            ended.set()
            listener.join()
    if code:
        raise UserError(f"{command[0]} failed (exit code {code}): nothing is recorded")
    return heard, before, dict(_files(directory))


def _listen(
    inotify: INotify,
    watched: Mapping[int, str],
    directory: Path,
    ended: threading.Event,
    heard: list[RecordedEvent],
) -> None:
    while not ended.is_set():
        if not select.select([inotify], [], [], _SETTLES_S / 2)[0]:
            continue
        events = inotify.read(timeout=0)
        at_ns = time.monotonic_ns()
        for event in events:
            if event.mask & flags.ISDIR or not event.name:
                continue
            what = next(flag.name for flag in flags.from_mask(event.mask & _HEARD))
            path = f"{watched[event.wd]}{event.name}"
            size = 0
            with contextlib.suppress(OSError):
                size = os.lstat(directory / path).st_size
            heard.append(RecordedEvent(at_ns, what or "", path, event.cookie, size))


def _files(directory: Path) -> Iterator[tuple[str, FileStamp]]:
    for where, names, files in os.walk(directory):
        names[:] = [name for name in names if name not in _NOT_OURS]
        for name in files:
            path = os.path.join(where, name)
            status = os.lstat(path)
            yield (
                os.path.relpath(path, directory),
                FileStamp(status.st_ino, status.st_size, status.st_mtime_ns),
            )


def pattern_of(
    heard: Sequence[RecordedEvent],
    before: Mapping[str, FileStamp],
    after: Mapping[str, FileStamp],
    *,
    name: str,
    about: str,
    recorded: str,
) -> Pattern:
    """The pattern of edits that most edited files share. Raises UserError if no file was edited.

    Where several files were, the steps are those that most of them had in common; they are
    a burst then.
    """
    targets = [path for path in before if path in after and before[path] != after[path]]
    found: dict[str, tuple[int, tuple[EditStep, ...]]] = {}
    for target in targets:
        events = [event for event in heard if _belongs(event.path, target, targets, before, after)]
        if events:
            found[target] = (events[0].at_ns, _steps(events, target, before))
    found = {target: one for target, one in found.items() if one[1]}
    if not found:
        raise UserError(
            "no file was edited: the command must change a file that was there before, and "
            "leave it there"
        )
    shapes = Counter(_shape(steps) for _, steps in found.values())
    shape = shapes.most_common(1)[0][0]
    same = [one for one in found.values() if _shape(one[1]) == shape]
    chosen = sorted(same, key=lambda one: one[0])
    moments = [first_ns for first_ns, _ in chosen]
    gaps = [later - earlier for earlier, later in itertools.pairwise(moments)]
    return Pattern(
        name=name,
        about=about,
        recorded=recorded,
        steps=_without_pauses(chosen[0][1]),
        files=max(20, len(chosen)),
        burst=len(chosen),
        gap_ns=round(statistics.median(gaps)) if gaps else 0,
    )


def _without_pauses(steps: Sequence[EditStep]) -> tuple[EditStep, ...]:
    """*steps* with pauses of a person shortened."""
    at_ns, before_ns, kept = 0, 0, []
    for step in steps:
        at_ns += min(step.at_ns - before_ns, LONGEST_PAUSE_NS)
        before_ns = step.at_ns
        kept.append(replace(step, at_ns=at_ns))
    return tuple(kept)


def _belongs(
    path: str,
    target: str,
    targets: Sequence[str],
    before: Mapping[str, FileStamp],
    after: Mapping[str, FileStamp],
) -> bool:
    """Whether *path* is the target, or something that was there for its sake."""
    if path == target:
        return True
    directory, _, base = target.rpartition("/")
    where, _, name = path.rpartition("/")
    if where != directory or path in targets or (path in before and path in after):
        return False
    alone = sum(other.rpartition("/")[0] == directory for other in targets) == 1
    return base in name or alone


def _steps(
    events: Sequence[RecordedEvent], target: str, before: Mapping[str, FileStamp]
) -> tuple[EditStep, ...]:
    first_ns = events[0].at_ns
    base = target.rpartition("/")[2]
    objects: dict[str, int] = {target: 0}  # what each name stands for; 0 was there before
    cookies: dict[int, tuple[str, int]] = {}
    sizes: dict[int, int] = {}
    steps: list[tuple[int, EditStep]] = []  # with the object that it is about

    def template(path: str) -> str:
        return path.rpartition("/")[2].replace(base, TARGET)

    for event in events:
        at_ns = event.at_ns - first_ns
        if event.what == "CREATE":
            objects[event.path] = len(steps) + 1
            steps.append((objects[event.path], EditStep(at_ns, "create", template(event.path))))
        elif event.what == "MODIFY" and event.path in objects:
            number = objects[event.path]
            if number == 0 and not any(one == 0 and step.act == "truncate" for one, step in steps):
                steps.append((0, EditStep(at_ns, "truncate", template(event.path))))
            steps.append((number, EditStep(at_ns, "write", template(event.path), what="new")))
            sizes[number] = max(event.size, sizes.get(number, 0))
        elif event.what == "MOVED_FROM":
            cookies[event.cookie] = event.path, objects.pop(event.path, 0)
        elif event.what == "MOVED_TO" and event.cookie in cookies:
            path, number = cookies.pop(event.cookie)
            objects[event.path] = number
            renamed = EditStep(at_ns, "rename", template(path), to=template(event.path))
            steps.append((number, renamed))
        elif event.what == "DELETE":
            number = objects.pop(event.path, -1)
            steps.append((number, EditStep(at_ns, "unlink", template(event.path))))
    return _with_contents(steps, objects.get(target), before[target].size, sizes)


def _with_contents(
    steps: Sequence[tuple[int, EditStep]],
    final: int | None,
    old_size: int,
    sizes: Mapping[int, int],
) -> tuple[EditStep, ...]:
    """One write for each object, and what it writes: that of *final* is the new content."""
    kept: list[EditStep] = []
    for place, (number, step) in enumerate(steps):
        if step.act == "write":
            others = steps[place + 1 :] if number == final else steps[:place]
            if any(one == number and other.act == "write" for one, other in others):
                continue
            size = sizes.get(number, 0)
            if number != final:
                is_backup = size == old_size and size > 0
                what = replace(step, what="old") if is_backup else None
                step = what or replace(step, what="scratch", size=size)
        kept.append(step)
    return tuple(kept)


def _shape(steps: Sequence[EditStep]) -> tuple[tuple[str, str, str, str], ...]:
    return tuple((step.act, step.path, step.to, step.what) for step in steps)
