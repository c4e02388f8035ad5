"""One cycle after the other: scan both sides, reconcile, stage, apply, record.

Without a thread, a clock or a watch: whoever has those says when, and which
directories have changed. A crash between any two of its steps (*step* is called
before each) leaves both sides and the state such that the next start goes on.
"""

import contextlib
import errno
import functools
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from osxfs_sim.fs.at import sync_file_system
from osxfs_sim.model.synchronization import SyncMode, SyncSpec
from osxfs_sim.model.user_error import UserError
from osxfs_sim.synchronize.agreement import Adjustment, Agreement
from osxfs_sim.synchronize.archive import Archive, Step, no_step
from osxfs_sim.synchronize.errors import SyncError
from osxfs_sim.synchronize.ignore import Ignore
from osxfs_sim.synchronize.reconcile import Conflict, Plan, Side, SyncChange, reconcile
from osxfs_sim.synchronize.roots import (
    LastDirectory,
    Root,
    RootLostError,
    refuse_unfit,
)
from osxfs_sim.synchronize.scan import Scanner, ScanRules
from osxfs_sim.synchronize.snapshot import (
    EMPTY,
    Child,
    Entry,
    File,
    Path,
    Put,
    Subtree,
    blocked_in,
    with_changes,
)
from osxfs_sim.synchronize.stage import NotAsSeenError, Staging
from osxfs_sim.synchronize.transition import (
    Outcome,
    Transition,
    exchanged,
    finished,
    not_begun,
    recover,
)

EMPTIED_FROM_ENTRIES = 10
"""A root that had at least so many and has none is taken for a mistake."""
_SYNCED_EACH = 32
"""Files in a cycle, up to which each is forced to the disk; more are with their file system."""
_LONGEST_JOURNAL_BYTES = 4_000_000
_SIDES: tuple[Side, Side] = ("host", "guest")

_CHANGED = "a version that was changed at the moment of its replacement"
_MAYBE_NEWER = "a version that gave way, and may be the newer one since there was a crash,"
_LOST, _EMPTIED = "lost", "emptied"

Phase = Callable[[str], None]


class HaltedError(UserError):
    """The synchronization has halted until the user confirms: the message says why."""


@dataclass(frozen=True, slots=True)
class Problem:
    """Something that could not be synchronized, and why."""

    path: Path
    """Where, relative to the root."""
    side: Side
    """On which side it is."""
    why: str
    """In words, with the remedy where there is one."""


@dataclass(frozen=True, slots=True)
class CycleResult:
    """What a cycle has found and changed."""

    to_host: int = 0
    """How many changes were made on the host."""
    to_guest: int = 0
    """How many changes were made in the guest."""
    raced: int = 0
    """How many were not made, because their side had changed meanwhile."""
    conflicts: tuple[Conflict, ...] = ()
    """What both sides have changed, each its own way."""
    problems: tuple[Problem, ...] = ()
    """What could not be synchronized."""
    host: Subtree = EMPTY
    """What the host's side held when it was scanned."""
    guest: Subtree = EMPTY
    """What the guest's side held when it was scanned."""
    scan_again: bool = False
    """Whether something passing was in the way."""

    @property
    def made(self) -> int:
        """How many changes the cycle has made, both sides together."""
        return self.to_host + self.to_guest


@dataclass(slots=True)
class _SideState:
    root: Root
    scanner: Scanner
    staging: Staging
    seen: Subtree | None = None
    touched: set[Path] = field(default_factory=set)
    """Directories that it has changed itself since they were scanned: a watch that is
    missing must not make it take its own change for one that was undone."""
    kept: list[Problem] = field(default_factory=list)


class Engine:
    """Synchronizes a pair of directories, cycle by cycle. Not thread-safe."""

    def __init__(
        self,
        host: bytes,
        copy: bytes,
        state: bytes,
        spec: SyncSpec,
        *,
        on_directory: Callable[[Side, Path, int], None] | None = None,
        on_phase: Phase = no_step,
        step: Step = no_step,
    ) -> None:
        """Locks the state and recovers from a crash; raises SyncError."""
        self._spec = spec
        self._step = step
        self._on_phase = on_phase
        self._halted_for: str | None = None
        self._confirmed: str | None = None
        self._puts: list[Put] = []
        self._doubts: frozenset[Path] = frozenset()
        self._is_to_save = False
        """Whether more is known of what was agreed upon than is saved, and no record says so."""
        self.ancestor = EMPTY
        roots = {
            "host": Root(host, "the host's directory"),
            "guest": Root(copy, "the guest's copy"),
        }
        rules = ScanRules(Ignore(spec.ignored, vcs=spec.ignore_vcs), spec.most_file_bytes)
        refuse_unfit(roots["host"], roots["guest"], state)
        self.archive = Archive(state, host, copy, step)
        self._sides: dict[Side, _SideState] = {}
        try:
            self.archive.claim(host, copy)
            loaded = self.archive.load()
            self.ancestor = loaded.agreed
            puts: list[Put] = []
            sure: set[Path] = set()
            for side in _SIDES:
                root = roots[side]
                with _opened(root) as fd:
                    staging = Staging(state, side, fd, root.path)
                    hears = functools.partial(on_directory, side) if on_directory else None
                    scanner = Scanner(rules, hears)
                    self._sides[side] = _SideState(root, scanner, staging)
                    done = exchanged(loaded.unfinished, side, staging)
                    sure |= not_begun(loaded.unfinished, side, staging)
                    for path, where in recover(loaded.intents, fd, side, staging, loaded.recorded):
                        self._keep(side, path, where)
                    puts += finished(loaded.unfinished, fd, side, done)
            self.ancestor = _directory(with_changes(self.ancestor, puts))
            self._doubts = (
                loaded.doubts
                | {intent.path for intent in loaded.unfinished if intent.new}
                - {path for path, _ in puts}
                - sure
            )
            self.checkpoint()
            for each in self._sides.values():
                each.staging.clear_new()  # the journal that needs to know what waits is another
        except RootLostError as lost:
            self.close()
            raise SyncError(str(lost)) from None
        except BaseException:
            self.close()
            raise

    def _keep(self, side: Side, path: Path, where: str, what: str = _CHANGED) -> None:
        self._sides[side].kept.append(Problem(path, side, f"{what} is kept in {where}"))

    def confirm(self) -> None:
        """Take what has halted it as wanted by the user: the next cycle goes on.

        Only that: who has put a lost root back has not said that it may be empty.
        """
        self._confirmed = self._halted_for

    def cycle(self, changed: dict[Side, set[Path]] | None = None) -> CycleResult:
        """Make both sides agree once; reads only *changed* directories. HaltedError or OSError.

        Where *changed* is None, all are read. Raises HaltedError where a root is not what it should
        be; nothing is changed then.
        """
        if self._confirmed is not None:
            for state in self._sides.values():
                if os.path.isdir(state.root.path) and not os.path.islink(state.root.path):
                    state.root.identity, state.seen = None, None
        try:
            with (
                _opened(self._sides["host"].root) as host_fd,
                _opened(self._sides["guest"].root) as guest_fd,
            ):
                fds: dict[Side, int] = {"host": host_fd, "guest": guest_fd}
                result = self._cycle(fds, changed)
        except RootLostError as lost:
            self._halted_for = _LOST
            raise HaltedError(f"{lost}, then resume") from None
        self._confirmed = self._halted_for = None
        if self.archive.journal_bytes > _LONGEST_JOURNAL_BYTES:
            with contextlib.suppress(OSError):  # whoever saves next is told
                self.checkpoint()
        return result

    def _cycle(self, fds: dict[Side, int], changed: dict[Side, set[Path]] | None) -> CycleResult:
        self._on_phase("scanning")
        self._step("scan")
        for side in _SIDES:
            state = self._sides[side]
            told = None if changed is None or state.seen is None else changed[side] | state.touched
            try:
                if told is None or told:
                    state.seen = state.scanner.scan(fds[side], state.seen, told)
                state.touched = set()
            except OSError as error:
                raise RootLostError(
                    f"{state.root.title} ({state.root.shown}) cannot be read "
                    f"({error.strerror}): put that right"
                ) from None
        host, guest = self._seen("host"), self._seen("guest")
        self._refuse_emptied(host, guest)
        plan = reconcile(self.ancestor, host, guest, self._spec.mode, self._doubts)
        self._puts = []
        try:
            for path, entry in plan.agreed:
                self._put(path, entry)
            self._take_in()
            adjustments = self._bring_up_to_date(host, guest)
            outcomes = self._carry_out(plan, adjustments, fds)
        finally:
            self._take_in()
        for side in _SIDES:
            for path, where in outcomes[side].kept:
                self._keep(side, path, where, _MAYBE_NEWER)
        if self._doubts:
            self._settle_doubts(outcomes.values(), (host, guest))
        return self._result(plan, outcomes, host, guest)

    def _settle_doubts(self, outcomes: Iterable[Outcome], seen: tuple[Subtree, Subtree]) -> None:
        """What has been decided, and done, is in doubt no more.

        What could not be read was not decided, and what has failed, on a full disk, say,
        is decided once more.
        """
        outcomes = list(outcomes)
        if any(outcome.raced for outcome in outcomes):
            return
        open_ = {path for side in seen for path, _ in blocked_in(side)}
        open_ |= {path for outcome in outcomes for path, _ in outcome.problems if path}
        if () in self._doubts:
            left = open_
        else:
            left = {path for path in self._doubts if any(_overlap(path, one) for one in open_)}
        if left != self._doubts:
            self._doubts = frozenset(left)
            self._is_to_save = True

    def _take_in(self) -> None:
        puts, self._puts = self._puts, []
        if puts:
            self.ancestor = _directory(with_changes(self.ancestor, puts))

    def _bring_up_to_date(self, host: Subtree, guest: Subtree) -> list[Adjustment]:
        """Know the objects that both sides have as it is agreed; what is to be granted by them."""
        agreement = Agreement(self._spec.mode in (SyncMode.TWO_WAY_SAFE, SyncMode.TWO_WAY_RESOLVED))
        self.ancestor = _directory(agreement.brought_up_to_date(self.ancestor, host, guest))
        self._is_to_save = self._is_to_save or agreement.is_news
        return agreement.adjustments

    def _seen(self, side: Side) -> Subtree:
        seen = self._sides[side].seen
        assert seen is not None
        return seen

    def _put(self, path: Path, entry: Entry | None) -> None:
        self._puts.append((path, entry))
        self.archive.put(path, entry)

    def _put_on(self, side: Side, path: Path, entry: Entry | None) -> None:
        self._sides[side].touched.add(path[:-1])
        self._put(path, entry)

    def _refuse_emptied(self, host: Subtree, guest: Subtree) -> None:
        had = self.ancestor.totals.entries
        if self._confirmed == _EMPTIED or had < EMPTIED_FROM_ENTRIES:
            return
        two_way = self._spec.mode in (SyncMode.TWO_WAY_SAFE, SyncMode.TWO_WAY_RESOLVED)
        emptied = None
        if not host.totals.entries and guest.totals.entries:
            emptied = "host"
        elif two_way and not guest.totals.entries and host.totals.entries:
            emptied = "guest"
        if emptied is not None:
            root = self._sides["host" if emptied == "host" else "guest"].root
            self._halted_for = _EMPTIED
            raise HaltedError(
                f"{root.title} ({root.shown}) had {had} entries and is empty: put them back, "
                "or resume if the other side is to be emptied too"
            )

    def _carry_out(
        self, plan: Plan, adjustments: list[Adjustment], fds: dict[Side, int]
    ) -> dict[Side, Outcome]:
        outcomes = {}
        planned: list[tuple[Side, Side, list[SyncChange]]] = [
            ("guest", "host", plan.guest),
            ("host", "guest", plan.host),
        ]
        for side, other, changes in planned:
            transition = Transition(
                side,
                fds[side],
                self._sides[side].staging,
                self.archive.intend,
                self.archive.withdraw,
                functools.partial(self._put_on, side),
                self._step,
                then=self.ancestor,
                source=self._seen(other),
            )
            outcomes[side] = transition.outcome
            # First of all: nothing is to come into what does not protect it yet.
            for each in adjustments:
                if each.side == side:
                    transition.adjust(each.path, each.seen, each.grants)
            if not changes:
                continue
            self._on_phase("staging")
            staged = self._stage(side, fds[other], changes, transition.outcome)
            self._on_phase("applying")
            for change in changes:
                transition.apply(change, staged)
            self._sides[side].staging.clear_new()
        return outcomes

    def _stage(
        self, side: Side, source_fd: int, changes: list[SyncChange], outcome: Outcome
    ) -> dict[Path, str]:
        staging = self._sides[side].staging
        wanted = [pair for change in changes for pair in _new_content(change)]
        each = len(wanted) <= _SYNCED_EACH
        staged: dict[Path, str] = {}
        with contextlib.closing(LastDirectory(source_fd)) as source:
            for path, file in wanted:
                self._step("stage")
                try:
                    staged[path] = staging.stage_file(source, path, file, sync=each)
                except NotAsSeenError:
                    outcome.raced += 1
                except OSError as error:
                    outcome.problems.append((path, _why(error)))  # a smaller one may have room
        if staged and not each:
            with contextlib.suppress(OSError):
                sync_file_system(staging.new)
        return staged

    def _result(
        self,
        plan: Plan,
        outcomes: dict[Side, Outcome],
        host: Subtree,
        guest: Subtree,
    ) -> CycleResult:
        problems = []
        scan_again = False
        for side, seen in zip(_SIDES, (host, guest), strict=True):
            problems += self._sides[side].kept
            for path, blocked in blocked_in(seen):
                problems.append(Problem(path, side, blocked.reason))
                scan_again = scan_again or blocked.passing
            problems += [Problem(path, side, why) for path, why in outcomes[side].problems]
        problems += [
            Problem(path, side, "it is ignored here, and in the way of what the other side has")
            for path, side in plan.in_the_way
        ]
        return CycleResult(
            outcomes["host"].made,
            outcomes["guest"].made,
            outcomes["host"].raced + outcomes["guest"].raced,
            tuple(plan.conflicts),
            tuple(problems),
            host,
            guest,
            scan_again,
        )

    def save(self) -> None:
        """Save the agreed state as checkpoint() does, if it is not saved. Raises OSError."""
        if self.archive.journal_bytes or self._is_to_save:
            self.checkpoint()

    def checkpoint(self) -> None:
        """Sync both sides' file systems, then save the agreed state. Raises OSError."""
        for side in _SIDES:
            self._step("sync side")
            sync_file_system(self._sides[side].staging.new)
        self.archive.checkpoint(self.ancestor, self._doubts)
        self._is_to_save = False
        for state in self._sides.values():
            state.staging.begin(self.archive.generation)

    def close(self) -> None:
        """Remove empty staging directories and unlock the state; never fails."""
        sides, self._sides = self._sides, {}
        for state in sides.values():
            state.staging.close()
        if sides and not self._is_to_save:
            self.archive.end()
        self.archive.close()


@contextlib.contextmanager
def _opened(root: Root) -> Iterator[int]:
    fd = root.open()
    try:
        yield fd
    finally:
        os.close(fd)


def _overlap(one: Path, other: Path) -> bool:
    """Whether one lies in the other."""
    return all(a == b for a, b in zip(one, other, strict=False))


def _directory(entry: Entry | None) -> Subtree:
    assert isinstance(entry, Subtree)  # the root is never put
    return entry


def _new_content(change: SyncChange) -> Iterator[tuple[Path, File]]:
    if (
        isinstance(change.old, File)
        and isinstance(change.new, File)
        and change.old.digest == change.new.digest
    ):
        return  # only executability
    yield from _files(change.new, change.path)


def _files(entry: Child | None, path: Path) -> Iterator[tuple[Path, File]]:
    if isinstance(entry, File):
        yield path, entry
    elif isinstance(entry, Subtree):
        for name, child in sorted(entry.children.items()):
            yield from _files(child, (*path, name))


def _why(error: OSError) -> str:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "the disk is full: it is tried again"
    return error.strerror or str(error)
