"""A share that caches, and does not hear all: with events that come when a test says.

The guest caches what it was told until an event of that name reaches its caches. Every change
raises events, of the kinds of `Change`, and each arrives *delay* steps later: so an event of a
file's making may come before, between or after the looks of a schedule, and nothing of it is luck.
A fault is a set of kinds, or a directory, of which the caches (and the processes) are never told.
"""

import enum
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from osxfs_sim.coherence.actors.operations import ActorOperation, OperationResult, Performer
from osxfs_sim.coherence.actors.processes import OperationInterval
from osxfs_sim.coherence.actors.staging import SILENCE
from osxfs_sim.coherence.contract.schedules import ContractSchedule
from support.pretended_share import _of_the_tree

LOOKS = frozenset({"stat", "read", "outline", "list", "readlink", "fstat", "pread", "mread"})


class Change(enum.Enum):
    """What an event is of."""

    CREATED = "created"
    REMOVED = "removed"
    ATTRIBUTES = "attributes"
    RENAMED = "renamed"
    CONTENT = "content"


EVERY_KIND = frozenset(Change)


@dataclass(frozen=True)
class Fault:
    """Changes of *kinds*, below *directory* ("": anywhere), invalidate nothing that is cached.

    *silent*: no process is told of them either.
    """

    kinds: frozenset[Change] = frozenset()
    directory: str = ""
    silent: bool = True

    def is_of(self, kind: Change, path: str) -> bool:
        return kind in self.kinds and path.startswith(self.directory)


HEARING = Fault()


class DeafShare:
    """Plays schedules below *root*.

    *caches_special*: FIFOs and the like as files. *each_process* has a cache of its own.
    *overlaps_too*: the part in a stronger export is cached as the rest.
    """

    def __init__(
        self,
        root: Path,
        fault: Fault = HEARING,
        delay: int = 0,
        *,
        caches_special: bool = False,
        each_process: bool = False,
        overlaps_too: bool = False,
    ) -> None:
        self.root, self.fault, self.delay = root, fault, delay
        self.caches_special, self.each_process = caches_special, each_process
        self.overlaps_too = overlaps_too

    def play(self, schedule: ContractSchedule) -> Sequence[OperationInterval]:
        with tempfile.TemporaryDirectory(dir=self.root) as ground:
            playing = _Playing(self, Path(ground), cacheable=not schedule.exports)
            try:
                return [
                    OperationInterval(actor, step, 0, 0, playing.perform(actor, step))
                    for actor, step in schedule.steps
                ]
            finally:
                playing.close()


class _Playing:
    def __init__(self, share: DeafShare, ground: Path, *, cacheable: bool) -> None:
        self.share, self.ground = share, ground
        self.cacheable = cacheable or share.overlaps_too
        (ground / "tree" / "inner").mkdir(parents=True)
        self.performers: dict[str, Performer] = {}
        self.cached: dict[tuple[str, str, str, str], OperationResult] = {}
        self.handles: dict[tuple[str, str], str] = {}
        self.special = set[str]()
        self.coming: list[tuple[int, Change, str]] = []
        self.heard: list[str] | None = None
        self.step = 0

    def close(self) -> None:
        for performer in self.performers.values():
            performer.close()

    def perform(self, actor: str, operation: ActorOperation) -> OperationResult:
        self.step += 1
        self.deliver(self.step)
        if actor == "share":
            if operation.act == "settle":
                self.deliver()
            return OperationResult()
        operation = replace(operation, path=_of_the_tree(operation.path))
        if actor == "listener":
            return self.listen(operation)
        if actor != "host" and operation.act in LOOKS:
            return self.read(actor, operation)
        outcome = self.performer(actor).perform(operation)
        if outcome.error is None and operation.handle:
            self.handles[actor, operation.handle] = operation.path
        for kind, path in _events(operation) if outcome.error is None else ():
            if operation.act in ("mkfifo", "mksock", "mkdev"):
                self.special.add(path)
            self.coming.append((self.step + self.share.delay, kind, path))
            if actor != "host":  # what it changes itself it knows
                self.end(path, actor if self.share.each_process else "")
        return outcome

    def performer(self, actor: str) -> Performer:
        if actor not in self.performers:
            self.performers[actor] = Performer(str(self.ground))
        return self.performers[actor]

    def read(self, actor: str, operation: ActorOperation) -> OperationResult:
        path = operation.path or self.handles.get((actor, operation.handle), "")
        who = actor if self.share.each_process else "guest"
        key = who, operation.act, path, operation.handle
        if key not in self.cached:
            self.cached[key] = self.performer(actor).perform(operation)
        told = self.cached[key]
        is_special = path in self.special and not self.share.caches_special
        if not self.cacheable or is_special or operation.act == "mread":
            del self.cached[key]
        return told

    def end(self, path: str, actor: str = "") -> None:
        """Nothing is cached of *path* any more, nor of the directory that it is in."""
        parent = path.rpartition("/")[0]
        for key in list(self.cached):
            who, act, of, _ = key
            if actor in ("", who) and (of == path or (act == "list" and of == parent)):
                del self.cached[key]

    def deliver(self, until: int | None = None) -> None:
        """The events that have come by step *until*; all of them without."""
        due = [each for each in self.coming if until is None or each[0] < until]
        self.coming = [each for each in self.coming if each not in due]
        for _, kind, path in due:
            is_deaf = self.share.fault.is_of(kind, path)
            if not is_deaf:
                self.end(path)
            if self.heard is not None and not (is_deaf and self.share.fault.silent):
                self.heard.append(path)

    def listen(self, operation: ActorOperation) -> OperationResult:
        if operation.act == "watch":
            self.heard = []
            return OperationResult()
        self.deliver()
        if operation.path not in (self.heard or ()):
            return OperationResult(error=SILENCE)
        stat = self.read("guest", ActorOperation("stat", operation.path))
        seen: dict[str, Any] = {"event": "IN_ANY", "exists": stat.error is None}
        if stat.value is not None:
            seen |= {"size_bytes": stat.value["size"], "mode": stat.value["mode"]}
            seen["mtime_ns"] = stat.value["mtime_ns"]
            if stat.value["type"] == "file":
                seen["content"] = self.read("guest", ActorOperation("read", operation.path)).value
        return OperationResult(seen)


def _events(operation: ActorOperation) -> Sequence[tuple[Change, str]]:
    path, to = operation.path, operation.to
    match operation.act:
        case "create":
            content = [(Change.CONTENT, path)] if operation.data else []
            return [(Change.CREATED, path), *content]
        case "mkdir" | "symlink" | "mkfifo" | "mksock" | "mkdev":
            return [(Change.CREATED, path)]
        case "write" | "overwrite" | "append" | "truncate":
            return [(Change.CONTENT, path)]
        case "chmod" | "utimes":
            return [(Change.ATTRIBUTES, path)]
        case "unlink" | "rmdir":
            return [(Change.REMOVED, path)]
        case "rename":
            return [(Change.RENAMED, path), (Change.RENAMED, to)]
        case "link":
            return [(Change.CREATED, to), (Change.ATTRIBUTES, path)]
    return []
