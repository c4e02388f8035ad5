"""Writes to the host what a share that ended badly has left in its journal."""

import contextlib
import errno
import heapq
import itertools
import logging
import os
import stat as modes
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from osxfs_sim.fs import at
from osxfs_sim.model.ownership import Ownership
from osxfs_sim.model.refusals import Verdict, judge
from osxfs_sim.model.write_back import Change, Kind, depending
from osxfs_sim.mount.mounts.mountpoints import MountError
from osxfs_sim.mount.tree.backing import Backing, StaleError, affordable, reached
from osxfs_sim.mount.tree.inodes import ROOT_NUMBER, Facts, Inode, InodeTable
from osxfs_sim.mount.tree.namespace import Namespace
from osxfs_sim.mount.tree.owners import KnownCaller, Owners, open_owners
from osxfs_sim.mount.tree.spellings import ExactNames
from osxfs_sim.mount.writeback.host_writer import HostWriter
from osxfs_sim.mount.writeback.journal_directory import Owner, claim, is_aside, locked, open_file
from osxfs_sim.mount.writeback.journal_format import Known, LeftChange, Refusal
from osxfs_sim.mount.writeback.journal_reader import Leftover, discard
from osxfs_sim.mount.writeback.overlay import drop, hold
from osxfs_sim.mount.writeback.recovery_progress import Continuation
from osxfs_sim.mount.writeback.room import has_room
from osxfs_sim.mount.writeback.unwritten import describe

log = logging.getLogger(__name__)

_MOST_DIRECTORIES = 1_024  # that have a descriptor at a time
_MANY = 2  # links: a file may have further names


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
    """The directory *source*, to be written to as the user that we are. Raises OSError."""
    root_fd = at.open_place(source)
    inodes = InodeTable(os.fstat(root_fd))
    backing = Backing(inodes.root, root_fd, most_descriptors=affordable(_MOST_DIRECTORIES))
    owners = open_owners(ownership, state, KnownCaller(os.geteuid(), os.getegid()))
    namespace = Namespace(inodes, backing, owners, ExactNames(), None, None)
    try:
        yield HostTree(inodes, backing, owners, namespace)
    finally:
        owners.close()
        backing.close()


def recover(leftovers: Sequence[Leftover], tree: HostTree) -> int:
    """Write to the host what *leftovers* hold. Returns how many changes that were.

    Those of several journals in the order of their times, whichever journal they lie in: shares of
    one source that were mounted at once have each seen what the other had written back. What was
    set aside comes last.

    What the host refuses is set aside, where it is, with what depends on it; all else goes on.
    What was set aside before is tried again, but for what has come to the host in its place since.
    Raises MountError where the host has no room; what it did not take is still kept.
    """
    carried_out = 0
    for aside in (False, True):
        together = [left for left in leftovers if is_aside(left.directory) is aside]
        carried_out += _recover_together(together, tree)
    return carried_out


def _recover_together(leftovers: Sequence[Leftover], tree: HostTree) -> int:
    with contextlib.ExitStack() as locks:
        for left in leftovers:
            if not locks.enter_context(locked(left.directory)):
                raise MountError(f"{left.directory} is in use by another share: unmount that first")
            _claim(left, tree.inodes.root)
        recoveries = []
        shared: dict[_Identity, Inode] = {}
        try:
            for left in leftovers:
                recoveries.append(_Recovery(left, tree, shared))
            # Each yields the time of what it does next: the earliest of all goes on.
            for _ in heapq.merge(*(each.carry_out() for each in recoveries)):
                pass
        finally:
            for each in recoveries:
                each.close()
        for left in leftovers:
            if not left.changes:
                discard(left)
        return sum(each.carried_out for each in recoveries)


def _claim(left: Leftover, root: Inode) -> None:
    """Whoever mounts the source meanwhile waits for us, as for a share that is unmounted."""
    owner = Owner(os.getpid(), left.source, (root.device, root.host_number), drains=True)
    with contextlib.suppress(OSError):  # then the lock alone tells
        claim(left.directory, owner)


class _Recovery:
    """One journal on its way to the host."""

    def __init__(self, left: Leftover, tree: HostTree, shared: "dict[_Identity, Inode]") -> None:
        self._left = left
        self._tree = tree
        self._data_fd = open_file(left.directory, "data")
        self._noted = Continuation(left)
        self._writer = HostWriter(
            *(tree.namespace, tree.inodes, tree.backing, tree.owners, None),
            lambda position, length: os.pread(self._data_fd, length, position),
        )
        self._cast = _Cast(left, tree.inodes, shared)
        self.carried_out = 0
        """How many changes the host has got so far."""
        self._fallen: set[int] = set()
        """What depends on something that was refused just now."""

    def carry_out(self) -> Iterator[int]:
        """All that the host takes; yields before each change its time. Raises MountError."""
        left = self._left
        latest_ns = 0
        for number, each in list(zip(left.numbers, left.story, strict=True)):
            if isinstance(each, Known):
                try:
                    self._cast.introduce(number, each)
                except (KeyError, OSError) as error:  # what needs it will be refused
                    log.warning("%s does not say where all is: %r", left.directory, error)
            elif left.has(each.sequence):
                self._cast.has_happened(each, self._cast.change(each))
            elif each.sequence not in self._fallen:
                # A clock that was set back changes nothing about the order in a journal.
                latest_ns = max(latest_ns, each.detail.at_ns)
                yield latest_ns
                self.carried_out += self._try(each)

    def close(self) -> None:
        """Let go of everything, also of what is not done."""
        os.close(self._data_fd)
        self._noted.close()
        for inode in self._cast.dismissed():
            self._tree.namespace.forget(inode)

    def _try(self, each: LeftChange) -> bool:
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
                self._writer.carry_out(self._cast.change(each))
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
            noted.arrived(each.target, self._cast.change(each).target)
        if was_refused:
            noted.settled(each.sequence)
            left.settled.add(each.sequence)
        else:
            self._passed(each.sequence)
        return True

    def _refusal(self, each: LeftChange, error: Exception) -> Refusal:
        code = error.errno if isinstance(error, OSError) else None
        paths = {change.sequence: path for change, path in self._left.paths()}
        path = paths.get(each.sequence, "?")
        if not isinstance(error, OSError | KeyError | AssertionError):
            log.error("bug: %s of %s", each.kind, path, exc_info=error)
        return Refusal(code or errno.EIO, path)

    def _set_aside(self, each: LeftChange, refusal: Refusal) -> None:
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

    def _closure(self, each: LeftChange) -> "list[Change[int]]":
        later = [change for change in self._left.changes if change.sequence > each.sequence]
        return depending(_by_numbers(each), map(_by_numbers, later)).changes

    def _makes_room(self, each: LeftChange) -> bool:
        """Whether anything that is still to come, and does not depend on *each*, frees room."""
        fallen = {change.sequence for change in self._closure(each)}
        return any(
            change.sequence not in fallen
            and (change.kind in (Kind.UNLINK, Kind.RMDIR) or change.replaced != 0)
            for change in self._left.changes
        )


def _by_numbers(left: LeftChange) -> "Change[int]":
    return Change(
        *(left.kind, left.target, 0, left.parent or None, left.name),
        *(left.old_parent or None, left.old_name, left.replaced or None),
        left.replaced_is_directory,
        sequence=left.sequence,
    )


_Identity = tuple[int, int, bytes | None]
"""Device, inode number and generation."""


class _Cast:
    """The objects of a journal's story, as inodes of the new share that stand for them.

    *shared* are those that the stories of other journals may speak of, too.
    """

    def __init__(self, left: Leftover, inodes: InodeTable, shared: dict[_Identity, Inode]) -> None:
        self._left = left
        self._shared = shared
        self._table = inodes
        self._by_number: dict[int, Inode] = {ROOT_NUMBER: inodes.root}
        self._open: Inode | None = None
        self._seen: dict[Inode, tuple[int, int, int]] = {}

    def introduce(self, number: int, known: Known) -> None:
        """The host had it there, too."""
        identity = self._device(known.device), known.host_number, known.generation
        inode = self._by_number.get(number)
        if inode is None or inode.kind != known.kind:
            inode = self._shared.get(identity) if known.host_number else None
            if inode is None or inode.kind != known.kind:
                inode = self._table.unmade(known.kind)
            self._by_number[number] = inode
        name = self._by_number[known.parent], known.name
        if inode.parent is None or inode.is_directory:
            inode.parent, inode.name = name
        elif name != (inode.parent, inode.name):
            # It is called that, too; or was, and has been renamed since in this story.
            inode.other_names = [*(inode.other_names or ()), name]
        if known.host_number:
            self._identify(inode, identity)
        else:
            self._adopt(inode)  # it was on its way there
        inode.facts = Facts(known.generation, 0, 0)
        inode.shown = known.shown

    def _identify(self, inode: Inode, identity: _Identity) -> None:
        if self._shared.get(identity) is not inode:
            self._shared[identity] = inode
            self._table.identify(inode, *identity[:2])

    def _device(self, device: int) -> int:
        """File systems may have another number after the machine was started anew."""
        return self._table.root.device if device == self._left.root_device else device

    def change(self, left: LeftChange) -> "Change[Inode]":
        """*left* with the objects that it speaks of."""
        if left.target not in self._by_number:
            self._by_number[left.target] = self._table.unmade(left.target_kind)
        target = self._by_number[left.target]
        if target is not self._open or target.held is None:
            self._close()
            hold(target)  # so that the writer has a place for its descriptor
            self._open = target
        replaced = self._by_number.get(left.replaced)
        for number, inode in ((left.target, target), (left.replaced, replaced)):
            if inode is not None and number in self._left.seen:
                held = hold(inode)
                if held.seen is None:
                    held.seen = self._seen.setdefault(inode, self._left.seen[number])
        return Change(
            left.kind,
            target,
            0,
            self._by_number.get(left.parent),
            left.name,
            self._by_number.get(left.old_parent),
            left.old_name,
            replaced,
            left.replaced_is_directory,
            left.offset,
            left.length,
            left.position,
            left.detail,
            left.sequence,
        )

    def _close(self) -> None:
        inode = self._open
        if inode is not None and inode.held is not None:
            if inode.held.fd >= 0:
                os.close(inode.held.fd)
            if inode.held.seen is not None:
                self._seen[inode] = inode.held.seen  # by our own changes, too
            drop(inode)

    def has_happened(self, left: LeftChange, change: "Change[Inode]") -> None:
        """The host has it already: only where things are is to be known."""
        target, parent, name = change.target, change.parent, change.name
        if change.kind is Kind.MAKE:
            target.parent, target.name = parent, name
            identity = self._left.arrived.get(left.target)
            if identity is not None:
                device, host_number, generation = identity
                whose = self._device(device), host_number, generation
                known = self._shared.get(whose)
                if known is not None and known.kind == target.kind:
                    self._by_number[left.target] = known  # another share has come to know it
                else:
                    self._identify(target, whose)
                    target.facts = Facts(generation, 0, 0)
            else:
                self._adopt(target)
        elif change.kind is Kind.RENAME:
            assert parent is not None
            assert change.old_parent is not None
            if change.replaced is not None:
                change.replaced.drop_name(parent, name)
            target.moved(parent, name, change.old_parent, change.old_name)
        elif change.kind is Kind.LINK:
            assert parent is not None
            target.add_name(parent, name, _MANY)
        elif change.kind in (Kind.UNLINK, Kind.RMDIR):
            assert parent is not None
            target.drop_name(parent, name)

    def _adopt(self, inode: Inode) -> None:
        """What is there is it, if it is of its kind: the server ended before it could say."""
        assert inode.parent is not None
        try:
            with reached(inode.parent) as fd:
                status = os.stat(inode.name, dir_fd=fd, follow_symlinks=False)
        except (StaleError, FileNotFoundError):
            return
        if modes.S_IFMT(status.st_mode) == inode.kind:
            self._table.identify(inode, status.st_dev, status.st_ino)

    def dismissed(self) -> Iterator[Inode]:
        """All of them, out of the table: the share begins with nothing known."""
        self._close()
        for inode in self._seen:
            drop(inode)
        for inode in self._by_number.values():
            if inode is not self._table.root and self._table.knows(inode):
                self._table.remove(inode)
                yield inode
