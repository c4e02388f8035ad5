"""A share that is none: two directories, and changes that are carried from one to the other.

Its rules are those of the contract, plainly: what lags, what is held, and when that ends. A seeded
breach changes one of them. It is quick and exact, so that every rule can be shown what it must
reject; that real shares are judged rightly, live tests show.
"""

import enum
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from osxfs_sim.coherence.actors.operations import ActorOperation, OperationResult, Performer
from osxfs_sim.coherence.actors.processes import OperationInterval
from osxfs_sim.coherence.contract.schedules import ContractSchedule, Export
from osxfs_sim.coherence.scorecard.listener import observe

CHANGES = frozenset(
    (
        *("create", "write", "overwrite", "append", "truncate", "unlink", "rename", "link"),
        *("symlink", "mkdir", "rmdir", "mkfifo", "mksock", "mkdev", "chmod", "utimes"),
    )
)


class Seeded(enum.Enum):
    """What such a share may do wrong."""

    EVENTS_COME_EARLY = "the listener is told before the guest's caches are"
    OWN_CHANGES_MASK_EVENTS = "as above, of what the guest has changed itself"
    SYNC_DOES_NOTHING = "fsync and flush return, and nothing is written"
    EACH_PROCESS_HAS_A_CACHE = "a second process of the guest does not see the first one's changes"
    UNMOUNT_DROPS = "what is held at the end is dropped"
    REFUSAL_IS_SILENT = "what the host refuses at the end is dropped, and nobody is told"
    OVERLAPS_DO_NOT_MATTER = "the part in a stronger export is as weak as the rest"
    NOTHING_EXPIRES = "what the guest knows it caches for ever"
    NOTHING_IS_LOST = "a host change wins against what is held of the guest's"
    SPECIAL_FILES_TOO = "FIFOs, sockets and devices lag and are held as files are"
    ONLY_THE_FIRST_PAGES = (
        "of what is written, and of what is cut, far behind nothing is carried over"
    )
    DEFAULT_STRENGTHENS = "a default export makes what overlaps it consistent"


_FIRST_PAGES = 128 * 1024

_WEAKNESS = {
    "osxfs": (False, False),
    "osxfs-cached": (True, False),
    "osxfs-delegated": (True, True),
}


class PretendedShare:
    """Plays schedules below *root*. *lags*: what the guest knows it believes until it is told.

    *holds*: what the guest changes waits for a sync. *is_default*: it strengthens no other export.
    *only*: by this act alone anything is held back, or goes wrong.
    """

    def __init__(
        self,
        root: Path,
        *,
        lags: bool = False,
        holds: bool = False,
        is_default: bool = False,
        seeded: Seeded | None = None,
        only: str = "",
    ) -> None:
        self._root = root
        self._only = only
        self._weakness = lags, holds
        self._is_default = is_default
        self._seeded = seeded

    def play(self, schedule: ContractSchedule) -> Sequence[OperationInterval]:
        lags, holds = self._weakness
        if schedule.exports:
            lags, holds = self._in_the_overlap(*schedule.exports)
        with tempfile.TemporaryDirectory(dir=self._root) as ground:
            playing = _Playing(Path(ground), lags, holds, self._seeded, self._only)
            try:
                return [
                    OperationInterval(actor, step, 0, 0, playing.perform(actor, step))
                    for actor, step in schedule.steps
                ]
            finally:
                playing.close()

    def _in_the_overlap(self, above: Export, inner: Export) -> tuple[bool, bool]:
        weak, strong = (
            self._weakness if each.profile is None else _WEAKNESS[each.profile]
            for each in (above, inner)
        )
        is_default = self._is_default and inner.profile is None
        strengthens = not is_default or self._seeded is Seeded.DEFAULT_STRENGTHENS
        if not strengthens or self._seeded is Seeded.OVERLAPS_DO_NOT_MATTER:
            return weak
        return weak[0] and strong[0], weak[1] and strong[1]


class _Playing:
    """One schedule."""

    def __init__(
        self, ground: Path, lags: bool, holds: bool, seeded: Seeded | None, only: str
    ) -> None:
        self._only = only
        self._lags, self._may_defer, self._seeded = lags, holds, seeded
        self._host, self._guest = ground / "host", ground / "guest"
        views = [self._host, self._guest, ground / "guest-2"]
        for view in views:
            (view / "tree" / "inner").mkdir(parents=True)
        self._host_performer, self._guest_performer, self._second = (
            Performer(str(view)) for view in views
        )
        self._to_guest: list[ActorOperation] = []
        self._to_host: list[ActorOperation] = []
        self._known = set[str]()
        self._mine = set[str]()
        self._of_the_host = set[str]()
        self._special = set[str]()
        self._refusing = False

    def close(self) -> None:
        for performer in (self._host_performer, self._guest_performer, self._second):
            performer.close()

    def perform(self, actor: str, operation: ActorOperation) -> OperationResult:
        if actor == "share":
            return self._share(operation.act)
        if actor == "listener":
            return self._listen(operation)
        if actor == "host":
            return self._on_the_host(operation)
        return self._in_the_guest(actor, replace(operation, path=_of_the_tree(operation.path)))

    def _on_the_host(self, operation: ActorOperation) -> OperationResult:
        outcome = self._host_performer.perform(operation)
        if operation.act not in CHANGES or outcome.error:
            return outcome
        self._note(operation)
        names = {operation.path, operation.to}
        self._of_the_host |= names
        if self._to_guest or self._may_lag(names):
            self._to_guest.append(operation)
        else:
            self._tell_guest([operation])
        return outcome

    def _may_lag(self, names: set[str]) -> bool:
        if self._is_special(names) or not names & self._known:
            return False
        early = self._seeded is Seeded.EVENTS_COME_EARLY
        masked = self._seeded is Seeded.OWN_CHANGES_MASK_EVENTS and bool(names & self._mine)
        return self._lags or early or masked

    def _in_the_guest(self, actor: str, operation: ActorOperation) -> OperationResult:
        if operation.act == "fsync":
            self._write_back(but=Seeded.SYNC_DOES_NOTHING)
            return OperationResult()
        if operation.path and operation.path not in self._known:
            self._expire()  # whoever asks of something new is told of all
        performer = self._guest_performer
        if self._seeded is Seeded.EACH_PROCESS_HAS_A_CACHE and actor == "guest-2":
            performer = self._second
        outcome = performer.perform(operation)
        if outcome.error is None and operation.path:
            self._known.add(operation.path)
        if operation.act not in CHANGES or outcome.error:
            return outcome
        self._note(operation)
        names = {operation.path, operation.to}
        self._mine |= names
        # A seed says what goes wrong with what is held: else this act alone is held back.
        is_other = self._seeded is None and self._only not in ("", operation.act)
        if self._may_defer and not is_other and not self._is_special(names):
            self._to_host.append(operation)
            self._of_the_host.clear()
        else:
            self._carried(self._host_performer, operation)
        return outcome

    def _carried(self, performer: Performer, operation: ActorOperation) -> None:
        if self._seeded is Seeded.ONLY_THE_FIRST_PAGES:
            if operation.offset > _FIRST_PAGES or (
                operation.act == "truncate" and operation.size > _FIRST_PAGES
            ):
                return
            if operation.act != "truncate":
                operation = replace(operation, size=min(operation.size, _FIRST_PAGES))
        performer.perform(operation)

    def _note(self, operation: ActorOperation) -> None:
        if operation.act in ("mkfifo", "mksock", "mkdev"):
            self._special.add(operation.path)

    def _is_special(self, names: set[str]) -> bool:
        return bool(names & self._special) and self._seeded is not Seeded.SPECIAL_FILES_TOO

    def _tell_guest(self, operations: list[ActorOperation]) -> None:
        for operation in operations:
            self._carried(self._guest_performer, operation)
            self._carried(self._second, operation)

    def _expire(self) -> None:
        told, self._to_guest = self._to_guest, []
        self._tell_guest(told)

    def _write_back(self, but: Seeded) -> None:
        """All that is held, but for what *but* keeps from it."""
        held, self._to_host = self._to_host, []
        for operation in held:
            if self._seeded is but and self._only in ("", operation.act):
                self._to_host.append(operation)
                continue
            if self._seeded is Seeded.NOTHING_IS_LOST and operation.path in self._of_the_host:
                continue
            self._carried(self._host_performer, operation)

    def _listen(self, operation: ActorOperation) -> OperationResult:
        if operation.act == "watch":
            return OperationResult()
        early = (Seeded.EVENTS_COME_EARLY, Seeded.OWN_CHANGES_MASK_EVENTS)
        if self._seeded not in early:
            self._expire()
        return OperationResult({"event": "IN_MODIFY"} | observe(str(self._guest), operation.path))

    def _share(self, act: str) -> OperationResult:
        match act:
            case "settle" if self._seeded is not Seeded.NOTHING_EXPIRES:
                self._expire()
            case "flush":
                self._write_back(but=Seeded.SYNC_DOES_NOTHING)
            case "refuse" | "accept":
                self._refusing = act == "refuse"
            case "unmount":
                return self._unmount()
        return OperationResult()

    def _unmount(self) -> OperationResult:
        if self._refusing and self._to_host:
            if self._seeded is Seeded.REFUSAL_IS_SILENT:
                self._to_host.clear()
                return OperationResult()
            return OperationResult(error=f"{len(self._to_host)} changes are not on the host")
        self._write_back(but=Seeded.UNMOUNT_DROPS)
        return OperationResult()


def _of_the_tree(path: str) -> str:
    """Where a guest's *path* in one of the two exports lies on the host."""
    for export, source in (("above", "tree"), ("inner", "tree/inner")):
        if path == export or path.startswith(f"{export}/"):
            return source + path.removeprefix(export)
    return path
