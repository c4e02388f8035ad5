"""Writes to the host what a share that ended badly has left in its journal."""

import contextlib
import errno
import heapq
import itertools
import logging
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from osxfs_sim.fs import at
from osxfs_sim.model.ownership import Ownership
from osxfs_sim.model.refusals import Verdict, judge
from osxfs_sim.model.write_back import Change, Kind, depending
from osxfs_sim.mount.mounts.mountpoints import MountError
from osxfs_sim.mount.requests.namespace import Namespace
from osxfs_sim.mount.tree.backing import Backing, descriptor_budget
from osxfs_sim.mount.tree.inodes import Inode, InodeTable
from osxfs_sim.mount.tree.owners import KnownCaller, Owners, open_owners
from osxfs_sim.mount.tree.spellings import ExactNames
from osxfs_sim.mount.writeback.conflicts import Conflicts
from osxfs_sim.mount.writeback.effect_applier import EffectApplier
from osxfs_sim.mount.writeback.host_writer import HostWriter
from osxfs_sim.mount.writeback.inode_resolver import Identity, InodeResolver
from osxfs_sim.mount.writeback.journal_directory import Owner, claim, is_aside, locked, open_file
from osxfs_sim.mount.writeback.journal_format import KnownObject, RecordedChange, Refusal
from osxfs_sim.mount.writeback.journal_reader import UnfinishedJournal, discard
from osxfs_sim.mount.writeback.recovery_progress import RecoveryProgress
from osxfs_sim.mount.writeback.room import has_room
from osxfs_sim.mount.writeback.unwritten import describe

log = logging.getLogger(__name__)

_MOST_DIRECTORIES = 1_024  # that have a descriptor at a time


@dataclass(frozen=True, slots=True)
class HostTree:
    """The host's directory that was shared, as far as writing to it goes."""

    inodes: InodeTable
    """What the journals speak of, by its identity on the host; at first only the root."""
    backing: Backing
    """Descriptors of it."""
    owners: Owners
    """To whom the guest is told that things belong."""
    namespace: Namespace
    """Its names: exactly those that a journal has, however the next share spells them."""


@contextlib.contextmanager
def open_host_tree(source: str, state: Path, ownership: Ownership) -> Iterator[HostTree]:
    """Yield the directory *source*, to be written to as our user. Raises OSError."""
    root_fd = at.open_place(source)
    inodes = InodeTable(os.fstat(root_fd))
    backing = Backing(inodes.root, root_fd, most_descriptors=descriptor_budget(_MOST_DIRECTORIES))
    owners = open_owners(ownership, state, KnownCaller(os.geteuid(), os.getegid()))
    namespace = Namespace(inodes, backing, owners, ExactNames(), None, None)
    try:
        yield HostTree(inodes, backing, owners, namespace)
    finally:
        owners.close()
        backing.close()


def recover(unfinished_journals: Sequence[UnfinishedJournal], tree: HostTree) -> int:
    """Write to the host what the journals hold; how many changes. Raises MountError.

    Those of several journals in the order of their times, whichever journal they lie in: shares of
    one source that were mounted at once have each seen what the other had written back. What was
    set aside comes last.

    What the host refuses is set aside, where it is, with what depends on it; all else goes on.
    What was set aside before is tried again, but for what has come to the host in its place since.
    Raises MountError where the host has no room; what it did not take is still kept.
    """
    applied = 0
    for aside in (False, True):
        together = [left for left in unfinished_journals if is_aside(left.directory) is aside]
        applied += _recover_together(together, tree)
    return applied


def _recover_together(unfinished_journals: Sequence[UnfinishedJournal], tree: HostTree) -> int:
    with contextlib.ExitStack() as locks:
        for left in unfinished_journals:
            if not locks.enter_context(locked(left.directory)):
                raise MountError(f"{left.directory} is in use by another share: unmount that first")
            _claim(left, tree.inodes.root)
        recoveries = []
        shared: dict[Identity, Inode] = {}
        try:
            for left in unfinished_journals:
                recoveries.append(_Recovery(left, tree, shared))
            # Each yields the time of what it does next: the earliest of all goes on.
            for _ in heapq.merge(*(each.apply() for each in recoveries)):
                pass
        finally:
            for each in recoveries:
                each.close()
        for left in unfinished_journals:
            if not left.changes:
                discard(left)
        return sum(each.applied for each in recoveries)


def _claim(left: UnfinishedJournal, root: Inode) -> None:
    """Whoever mounts the source meanwhile waits for us, as for a share that is unmounted."""
    owner = Owner(os.getpid(), left.source, (root.device, root.host_number), drains=True)
    with contextlib.suppress(OSError):  # then the lock alone tells
        claim(left.directory, owner)


class _Recovery:
    """One journal on its way to the host."""

    def __init__(
        self, left: UnfinishedJournal, tree: HostTree, shared: "dict[Identity, Inode]"
    ) -> None:
        self._left = left
        self._tree = tree
        self._data_fd = open_file(left.directory, "data")
        self._noted = RecoveryProgress(left)
        effects = EffectApplier(tree.namespace, tree.inodes, tree.backing, None, Conflicts())
        self._writer = HostWriter(
            *(tree.inodes.root, tree.backing, tree.owners),
            lambda position, length: os.pread(self._data_fd, length, position),
            effects.apply,
        )
        self._resolver = InodeResolver(left, tree.inodes, shared)
        self.applied = 0
        """How many changes the host has got so far."""
        self._fallen: set[int] = set()
        """What depends on something that was refused just now."""

    def apply(self) -> Iterator[int]:
        """All that the host takes; yields before each change its time. Raises MountError."""
        left = self._left
        latest_ns = 0
        for number, each in list(zip(left.numbers, left.records, strict=True)):
            if isinstance(each, KnownObject):
                try:
                    self._resolver.introduce(number, each)
                except (KeyError, OSError) as error:  # what needs it will be refused
                    log.warning("%s does not say where all is: %r", left.directory, error)
            elif left.has(each.sequence):
                self._resolver.has_happened(each, self._resolver.change(each))
            elif each.sequence not in self._fallen:
                # A clock that was set back changes nothing about the order in a journal.
                latest_ns = max(latest_ns, each.detail.at_ns)
                yield latest_ns
                self.applied += self._try(each)

    def close(self) -> None:
        """Let go of everything, also of what is not done."""
        os.close(self._data_fd)
        self._noted.close()
        for inode in self._resolver.dismissed():
            self._tree.namespace.forget(inode)

    def _try(self, each: RecordedChange) -> bool:
        """Have the host get *each*, or set it aside. Returns whether the host has it."""
        left, noted = self._left, self._noted
        was_refused = left.is_set_aside(each.sequence)
        for attempt in itertools.count(1):
            self._writer.conflicts.yields = was_refused
            # What yields must never take what it finds for its own.
            is_half_done = each.sequence == left.started or attempt > 1
            self._writer.conflicts.repeats = is_half_done and not was_refused
            noted.started(each.sequence)
            try:
                self._writer.apply(self._resolver.change(each))
            except Exception as error:
                refusal = self._refusal(each, error)
                verdict = Verdict.ASIDE
                if not was_refused:
                    root_fd = self._tree.inodes.root.path_fd
                    roomy = has_room(root_fd, refusal.code, each.length)
                    frees = not roomy and self._makes_room(each)
                    verdict = judge(
                        refusal.code, attempt, 0, has_room=roomy, makes_room=frees, ends=True
                    )
                if verdict is Verdict.AGAIN:
                    continue
                if verdict is Verdict.WAIT:
                    raise MountError(
                        f"the host does not take what was left unwritten: {refusal.reason}; "
                        f"{describe(left)}; still kept in {left.directory}"
                    ) from error
                self._set_aside(each, refusal)
                return False
            break
        if each.kind is Kind.MAKE:
            noted.created(each.target, self._resolver.change(each).target)
        if was_refused:
            noted.applied_since(each.sequence)
            left.applied_since.add(each.sequence)
        else:
            self._passed(each.sequence)
        return True

    def _refusal(self, each: RecordedChange, error: Exception) -> Refusal:
        code = error.errno if isinstance(error, OSError) else None
        paths = {change.sequence: path for change, path in self._left.paths()}
        path = paths.get(each.sequence, "?")
        if not isinstance(error, OSError | KeyError | AssertionError):
            log.error("bug: %s of %s", each.kind, path, exc_info=error)
        return Refusal(code or errno.EIO, path)

    def _set_aside(self, each: RecordedChange, refusal: Refusal) -> None:
        """The host does not take *each*: it stays where it is, with what depends on it."""
        left = self._left
        fallen = [change.sequence for change in self._closure(each)]
        self._fallen |= set(fallen)
        new = [sequence for sequence in fallen if not left.is_set_aside(sequence)]
        if new:
            try:
                self._noted.refused(new, refusal)
            except OSError as error:
                raise MountError(
                    f"the host does not take {refusal.path} ({refusal.reason}), and that cannot "
                    f"be noted in {left.directory}: {error.strerror}"
                ) from error
            left.refused.update(dict.fromkeys(new, refusal))
            self._passed(each.sequence)
        log.warning("still set aside: %s: %s", refusal.path, refusal.reason)

    def _passed(self, sequence: int) -> None:
        if sequence > self._left.done:
            self._left.done = sequence
            self._noted.done(sequence)

    def _closure(self, each: RecordedChange) -> "list[Change[int]]":
        later = [change for change in self._left.changes if change.sequence > each.sequence]
        return depending(_by_numbers(each), map(_by_numbers, later)).changes

    def _makes_room(self, each: RecordedChange) -> bool:
        """Whether anything that is still to come, and does not depend on *each*, frees room."""
        fallen = {change.sequence for change in self._closure(each)}
        return any(
            change.sequence not in fallen
            and (change.kind in (Kind.UNLINK, Kind.RMDIR) or change.replaced != 0)
            for change in self._left.changes
        )


def _by_numbers(left: RecordedChange) -> "Change[int]":
    return Change(
        *(left.kind, left.target, 0, left.parent or None, left.name),
        *(left.old_parent or None, left.old_name, left.replaced or None),
        left.replaced_is_directory,
        sequence=left.sequence,
    )
