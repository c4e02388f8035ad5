"""Holds the guest's changes, and sees to it that the host gets them in time and in order.

    hold        a change is noted in the journal, in the list of what must cross, and in what the
                guest is shown (overlay.py); the guest is answered after that
    worker      takes the oldest change, has it carried out on the host (host_writer.py), prices
                its crossing, and goes on while no more than so many are under way
    age         wakes the worker when a change has waited for as long as it may

Who needs the host to have something (fsync, a full list, unmount) says up to which change, and
waits. What becomes of a change that the host refuses is decided in model/refusals.py: it is tried
again, or set aside (quarantine.py) with what depends on it, and the guest is shown what is on the
host instead. Nothing overtakes a change that is still to be tried.
"""

import collections
import contextlib
import errno
import fcntl
import logging
import os
import resource
import stat as modes
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from osxfs_sim.fs import at
from osxfs_sim.model.extents import Extents, Piece
from osxfs_sim.model.operations import CLASS_OF, Operation
from osxfs_sim.model.ownership import UNSET
from osxfs_sim.model.refusals import OF_ROOM, Verdict, judge
from osxfs_sim.model.write_back import Change, Closure, Kind, PendingChanges, WriteBackSpec
from osxfs_sim.mount.latency.crossings import Crossings
from osxfs_sim.mount.latency.receipt import Receipt
from osxfs_sim.mount.loop.reactor import Reactor, Signal, breathe, in_thread, pause, told, until
from osxfs_sim.mount.requests.handlers import WRITE_IN_THREAD_BYTES
from osxfs_sim.mount.tree.backing import StaleError
from osxfs_sim.mount.tree.inodes import Inode, InodeTable
from osxfs_sim.mount.writeback.host_writer import HostWriter
from osxfs_sim.mount.writeback.journal import Journal
from osxfs_sim.mount.writeback.journal_directory import aside_of
from osxfs_sim.mount.writeback.journal_format import Refusal
from osxfs_sim.mount.writeback.overlay import (
    Held,
    concerned,
    drop,
    hold,
    link_effects,
    name_effects,
)
from osxfs_sim.mount.writeback.quarantine import Quarantine, open_quarantine
from osxfs_sim.mount.writeback.room import has_room

log = logging.getLogger(__name__)

_TRY_AGAIN_NS = 1_000_000_000
_NEVER = -1
_KEPT_PATHS = 10
_MOST_UNTOLD = 10_000
# Who has used up the patience for one change is not waited for again with the next.
_PATIENCE_COMES_BACK_NS = 60_000_000_000
_OF_DESCRIPTORS = (errno.EMFILE, errno.ENFILE)
_SPARE_DESCRIPTORS = 32
"""More than one change takes: a few directories, a file or two."""

_OPERATION_OF = {
    Kind.WRITE: Operation.WRITE,
    Kind.SET: Operation.SETATTR,
    Kind.LINK: Operation.LINK,
    Kind.UNLINK: Operation.UNLINK,
    Kind.RMDIR: Operation.RMDIR,
    Kind.RENAME: Operation.RENAME,
}


class WriteBack:
    """Everything of one share that is on its way to the host. The reactor's thread only."""

    def __init__(
        self,
        spec: WriteBackSpec,
        reactor: Reactor,
        crossings: Crossings,
        inodes: InodeTable,
        writer: HostWriter,
        journal: Journal,
        let_go: Callable[[Inode], None],
        has_arrived: Callable[[Inode], None],
    ) -> None:
        """*let_go* is told of objects of which nothing is held any more, *has_arrived* of those
        that the host has got.
        """
        self.changes: PendingChanges[Inode] = PendingChanges(spec)
        self.writer = writer
        self.journal = journal
        self.refusal: tuple[int, str] | None = None
        """The errno and the path with which the host refuses the oldest change."""
        self.refusals = 0
        """How often it has refused one."""
        self._reactor = reactor
        self._crossings = crossings
        self._inodes = inodes
        self._let_go = let_go
        self._has_arrived = has_arrived
        self._wanted = _NEVER  # the worker goes on up to this change
        self._unpaid: collections.deque[tuple[int, int, int, Operation]] = collections.deque()
        self._progress = Signal()
        self._working = self._ageing = self._trying_again = False
        self._with_descriptor: set[Inode] = set()
        self._most_descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)[0] // 4
        # Of files that were made: their descriptors may be given up, and are opened again.
        self._made: collections.OrderedDict[Inode, None] = collections.OrderedDict()
        self._spare: list[int] = []
        self._keep_spare_descriptors()
        self.quarantine: Quarantine | None = None
        """What was set aside; None where nothing was."""
        self.set_aside = 0
        """How many changes that are, and of how many bytes; with the latest of them."""
        self.set_aside_bytes = 0
        self.latest_set_aside: collections.deque[dict[str, Any]] = collections.deque(
            maxlen=_KEPT_PATHS
        )
        self._untold: dict[str, str] = {}  # paths and reasons, since the last flush
        self._refused_times = 0  # of the change under way
        self._refused_since_ns = 0
        self._out_of_patience: dict[int, int] = {}  # with an errno, and since when
        self.on_aside: Callable[[list[Change[Inode]], set[Inode], int], None] = _nothing
        """Is told of changes that were set aside, of what is shown anew, and of the errno."""
        self.start_counting_anew()

    def start_counting_anew(self) -> None:
        """Forget counts and receipts; what is held counts as made."""
        self.changes.start_counting_anew()
        self.receipt = Receipt()
        self.acknowledged = Receipt()
        self.crossings_made = [0] * len(Operation)
        self.throttled = self.throttled_ns = 0

    @property
    def most_descriptors(self) -> int:
        """So many are held at most of each: files that are written to, and files that were made."""
        return self._most_descriptors

    @property
    def with_descriptor(self) -> set[Inode]:
        """Of which one is kept open for what is pending of them, and counted."""
        return self._with_descriptor | self._made.keys()

    # Holding

    def hold(self, change: "Change[Inode]", *, loses: Iterable[Inode] = ()) -> None:
        """The guest has made *change*, by which the objects *loses* have lost their last name.

        Raises OSError, and nothing has happened, where it cannot be kept.
        """
        changes = self.changes
        loses = list(loses)
        for inode in concerned(change):
            if inode.held is not None and inode.held.aside:
                raise StaleError  # the guest's kernel shall look again
        change.sequence = changes.last_sequence + 1
        # Who is killed before the rest of this has all that was made on the host first.
        self.journal.note(change)
        for inode in loses:
            if inode is change.replaced and changes.cancels(inode):
                change.replaced = None  # the host never gets it
        changes.add(change)
        self._count(change, 1)
        for inode in loses:
            self._lose(inode)
        if not self._ageing:
            self._ageing = True
            # Not from within a request: what it is doing to the guest's view is not done yet.
            self._reactor.call_soon(lambda: self._reactor.start_own(self._age()))

    def extend(self, inode: Inode, offset: int, length: int, position: int, detail: Any) -> bool:
        """Hold a write along with the last change, if it only continues that. Raises OSError."""
        carrier = self.changes.carrier_of(inode, offset, length, position)
        if carrier is None:
            return False
        self.journal.note_longer(carrier.sequence, carrier.length + length, detail)
        self.changes.extend(carrier, length, detail)
        return True

    def _count(self, change: "Change[Inode]", sign: int, *, is_latest: bool = True) -> None:
        """*change* begins (1) or ceases (-1) to be held.

        Where it is not the latest, the guest has what later changes made of its names.
        """
        if change.kind is Kind.WRITE:
            objects: Iterable[Inode] = (change.target,)
        else:
            for inode, links in link_effects(change):
                hold(inode).links += sign * links
            for directory, name, inode_or_none in name_effects(change):
                held = hold(directory)
                if sign > 0 and is_latest:
                    held.named(name, inode_or_none)
                elif sign > 0:
                    held.named_before(name)
                else:
                    held.settled_name(name)
            objects = concerned(change)
        for inode in objects:
            held = hold(inode)
            held.changes += sign
            if sign > 0:
                held.last_sequence = max(held.last_sequence, change.sequence)
                if inode is change.target:
                    held.own_sequence = max(held.own_sequence, change.sequence)
            elif not held.changes:
                self._settled(inode, held)

    def _lose(self, inode: Inode) -> None:
        """*inode* has no name any more: cancel what need not cross."""
        held = hold(inode)
        held.nameless = True
        cancelled = self.changes.gone(inode)
        if cancelled.dropped or cancelled.turned:
            with contextlib.suppress(OSError):  # else the same is found out again after a crash
                self.journal.note_cancelled(
                    [change.sequence for change in cancelled.dropped],
                    [after for _, after in cancelled.turned],
                )
        written = [change for change in cancelled.dropped if change.kind is Kind.WRITE]
        self._disown(inode, held, written)
        for before, after in cancelled.turned:
            self._count(after, 1, is_latest=False)
            self._count(before, -1)
        for change in cancelled.dropped:
            self._count(change, -1)
        if cancelled.dropped:
            self._reactor.tell(self._progress)
        self._tidy()

    def _disown(self, inode: Inode, held: Held, written: "list[Change[Inode]]") -> None:
        """What was written to a file without a name belongs to who has it open, or to nobody."""
        content = held.content
        if content is None:
            return
        if inode.open_fds is None:
            content = held.content = None
        for change in written:
            self._free_written(change, content)

    def _settled(self, inode: Inode, held: Held) -> None:
        """No change of *inode* is held any more."""
        if held.unmade:
            # It never got to the host. Who has it open may go on; see forget().
            if not inode.lookups and inode.open_fds is None:
                self.forget(inode)
            return
        if held.fd >= 0:
            if held.nameless and held.content:
                self._pour_out(inode, held)
            os.close(held.fd)
            self._with_descriptor.discard(inode)
            self._made.pop(inode, None)
        elif held.nameless and held.content and inode.open_fds:
            self._pour_out(inode, held)
        self._free_content(held)
        drop(inode)
        if held.nameless and not inode.is_directory:
            inode.parent = None  # who has it open does not give it a name again
        self._let_go(inode)

    def _pour_out(self, inode: Inode, held: Held) -> None:
        """The host's file has lost its name with all that was not written: who has it open sees it.

        Nobody on the host can, any more.
        """
        fd = held.fd if held.fd >= 0 else (inode.open_fds or [-1])[-1]
        content = held.content
        assert content is not None
        try:
            if content.cuts:
                at.set_size(fd, min(content.cuts))
            for piece in content.pieces():
                os.pwrite(fd, self.journal.read(piece.position, piece.length), piece.offset)
            if held.size is not None:
                at.set_size(fd, held.size)
        except OSError:
            log.exception("a file without a name has lost what was written to it")

    def forget(self, inode: Inode) -> None:
        """The guest uses *inode*, which the host never had, no more."""
        held = inode.held
        assert held is not None
        self._free_content(held)
        drop(inode)
        self._let_go(inode)
        self._tidy()

    def _free_content(self, held: Held) -> None:
        """The pieces that no change owns."""
        if held.content is not None and held.nameless:
            for piece in held.content.pieces():
                self.journal.free(piece.position, piece.length)
        held.content = None

    def free(self, pieces: Iterable[Piece]) -> None:
        """These pieces of a nameless file's content are replaced."""
        now = self.changes.under_way
        # What is being written, or is refused, is still to be read, and freed after that.
        busy = [(now.position, now.length)] if now is not None and now.kind is Kind.WRITE else []
        for piece in pieces:
            for position, length in _without(piece.position, piece.length, busy):
                self.journal.free(position, length)

    def keep_descriptor(self, inode: Inode, held: Held, fd: int) -> None:
        """Write the bytes of *inode* through a copy of *fd*, if nothing better is at hand."""
        if held.fd >= 0 or held.unmade:
            return
        if not fcntl.fcntl(fd, fcntl.F_GETFL) & os.O_APPEND:  # which was append-only, then
            held.fd = os.dup(fd)
            self._with_descriptor.add(inode)

    def drop_unused(self, inode: Inode) -> None:
        """A change of *inode* could not be held: keep nothing for it, if there is no other."""
        held = inode.held
        if held is not None and not held.changes and not held.unmade:
            self._settled(inode, held)

    # Limits

    def has_room_for(self, size_bytes: int) -> bool:
        return (
            self.changes.has_room_for(size_bytes)
            and len(self._with_descriptor) < self._most_descriptors
        )

    async def room_for(self, size_bytes: int) -> None:
        """Wait until one more change of *size_bytes* may be held. Raises OSError if none can be."""
        if self.has_room_for(size_bytes):
            return
        began_ns = time.monotonic_ns()
        refusals = self.refusals
        self.throttled += 1
        try:
            while not self.has_room_for(size_bytes):
                # A few more than there must be, so that the worker need not begin anew for each.
                self.hurry(self.changes.oldest_sequence + self.changes.spec.in_flight)
                await self._next_progress(refusals)
        finally:
            self.throttled_ns += time.monotonic_ns() - began_ns

    # Writing back

    def hurry(self, sequence: int) -> None:
        """Write back everything up to this change, now."""
        self._wanted = max(self._wanted, sequence)
        if not self._working and len(self.changes):
            self._working = True
            self._reactor.start_own(self._work())

    async def reach(self, sequence: int) -> None:
        """Wait until the host has everything up to this change. Raises OSError if it refuses."""
        refusals = self.refusals
        while not self.has_reached(sequence):
            self.hurry(sequence)
            await self._next_progress(refusals)

    async def _next_progress(self, refusals: int) -> None:
        """Wait until the worker gets on. Raises OSError if the host has refused since *refusals*.

        What it refused before, it is being asked again.
        """
        if self.refusals > refusals and self.refusal is not None:
            raise OSError(self.refusal[0], os.strerror(self.refusal[0]))
        if self._working:
            await told(self._progress)

    def has_reached(self, sequence: int) -> bool:
        """Whether everything up to this change is on the host, and its crossing is paid."""
        if self.changes.oldest_sequence <= sequence and len(self.changes):
            return False
        return not self._unpaid or self._unpaid[0][0] > sequence

    def _next(self) -> "Change[Inode] | None":
        """What is to be carried out now."""
        changes = self.changes
        due_ns = changes.due_ns
        if due_ns is None:
            return None
        if changes.oldest_sequence <= self._wanted or due_ns <= time.monotonic_ns():
            return changes.take()
        return None

    async def _work(self) -> None:
        """One change after the other, until none is wanted on the host now."""
        try:
            while (change := self._next()) is not None:
                await self._pay_all_but(self.changes.spec.in_flight - 1)
                try:
                    goes_on = await self._carry_out(change)
                except Exception as error:
                    self._reactor.internal_errors.note("write-back: a change", error)
                    goes_on = self._waits(errno.EIO, self._path_of_change(change))
                if not goes_on:
                    return
                self._reactor.tell(self._progress)
                await breathe()
            await self._pay_all_but(0)
        except Exception as error:
            self._broken(error)
        finally:
            self._working = False
            self._reactor.tell(self._progress)
        if self._next() is not None:
            self.hurry(self._wanted)

    def _broken(self, error: Exception) -> None:
        """The worker cannot go on, by a bug of ours: who waits for it gets EIO, and it tries again.

        Else who waits would start it anew at once, for ever.
        """
        self._reactor.internal_errors.note("write-back", error)
        self.refusal = errno.EIO, "an internal error"
        self._has_refused()

    async def _pay_all_but(self, number: int) -> None:
        """Wait until no more than *number* crossings are under way."""
        while len(self._unpaid) > number:
            _, began_ns, due_ns, operation = self._unpaid[0]
            answered_ns = due_ns
            if time.monotonic_ns() < due_ns:
                await until(due_ns)
                answered_ns = time.monotonic_ns()
            # Where nobody has waited for the answer, it came when it was due.
            self._unpaid.popleft()
            self.receipt.add(CLASS_OF[operation], due_ns - began_ns, answered_ns - began_ns)
            self._reactor.tell(self._progress)

    async def _carry_out(self, change: "Change[Inode]") -> bool:
        """Have the host get *change*; False where it is to be tried again in a while."""
        self.journal.started(change.sequence)
        try:
            copy = self.writer.contents.copy_beforehand(change)
            if copy is not None:
                await in_thread(copy)
            if change.kind is Kind.WRITE and change.length >= WRITE_IN_THREAD_BYTES:
                fd = self.writer.contents.begin_write(change)
                await in_thread(lambda: self.writer.contents.write(change, fd))
                self.writer.contents.end_write(change)
            else:
                self.writer.carry_out(change)
        except Exception as error:
            return self._refused(change, error)
        self._carried_out(change)
        began_ns = time.monotonic_ns()
        operation = _operation_of(change)
        self.crossings_made[operation] += 1
        due_ns = self._crossings.latency.due_ns(CLASS_OF[operation], change.length, began_ns)
        self._unpaid.append((change.sequence, began_ns, due_ns, operation))
        return True

    def _carried_out(self, change: "Change[Inode]") -> None:
        """The host has *change*."""
        self.refusal = None
        self._refused_times = 0
        self.changes.done(time.monotonic_ns())
        self.journal.done(change.sequence)
        try:
            self._let_go_of(change)
        except Exception:
            log.exception("bug: after %s", self._path_of_change(change))
        if not self._spare:
            self._keep_spare_descriptors()
        self._tidy()

    def _let_go_of(self, change: "Change[Inode]") -> None:
        """*change* is held no more: the host has it."""
        inode = change.target
        held = inode.held
        if change.kind is Kind.MAKE:
            with contextlib.suppress(OSError):
                self.journal.note_arrived(inode)
            self._has_arrived(inode)
            self._keeps_descriptor_of_made(inode)
        elif held is not None and held.content is not None and not held.nameless:
            if change.kind is Kind.WRITE:
                held.content.settle(change.offset, change.length, change.position)
            elif change.kind is Kind.SET and change.detail.size is not None:
                held.content.settle_cut()
        if change.kind is Kind.WRITE:
            # The guest may have taken away its name meanwhile, and have it open.
            nameless = held is not None and held.nameless
            self._free_written(change, held.content if held is not None and nameless else None)
        self._count(change, -1)

    def _free_written(self, change: "Change[Inode]", content: Extents | None) -> None:
        """What *change* kept is needed no more, but for what *content*, if given, shows of it."""
        pieces = content.pieces() if content is not None else ()
        live = sorted((piece.position, piece.length) for piece in pieces)
        for position, length in _without(change.position, change.length, live):
            self.journal.free(position, length)

    def tidy(self) -> None:
        """When there is time for it: where nothing is held any more, nothing is kept."""
        self._tidy(thoroughly=True)

    def _tidy(self, *, thoroughly: bool = False) -> None:
        """Where nothing is held any more, little is kept: to cut a file costs more than a change.

        What is left in the journal then is known as done or cancelled.
        """
        try:
            if not len(self.changes):
                if self.journal.is_small and not thoroughly:
                    return
                if self.journal.holds_data:
                    self.journal.clear_frames()
                else:
                    self.journal.clear()
            elif self.journal.wants_rewriting:
                self.journal.rewrite(self.changes.all())
        except OSError as error:
            log.warning("the journal %s: %s", self.journal.directory, error)

    def _refused(self, change: "Change[Inode]", error: Exception, *, ends: bool = False) -> bool:
        """The host does not take *change*, or a bug of ours keeps it from getting it: EIO then.

        Returns whether the worker goes on at once; else the change is to be tried again in a while.
        """
        code = (error.errno if isinstance(error, OSError) else None) or errno.EIO
        is_bug = not isinstance(error, OSError)
        path = self._path_of_change(change)
        if is_bug:
            self._reactor.internal_errors.note(f"write-back: {change.kind}", error, f" of {path}")
        if change.kind is Kind.MAKE and not change.target.is_unmade:
            # It is there; what has failed was to dress it up.
            log.warning("the host has made %s, but: %s", path, error)
            self._carried_out(change)
            return True
        now_ns = time.monotonic_ns()
        if not self._refused_times:
            self._refused_since_ns = now_ns
        self._refused_times += 1
        waited_ns = now_ns - self._refused_since_ns
        spent_ns = self._out_of_patience.get(code)
        if spent_ns is not None and now_ns - spent_ns < _PATIENCE_COMES_BACK_NS:
            waited_ns = now_ns
        roomy = code not in OF_ROOM or has_room(self._inodes.root.path_fd, code, change.length)
        verdict = judge(
            code,
            self._refused_times,
            waited_ns,
            has_room=roomy,
            makes_room=not roomy and self.changes.makes_room,
            ends=ends or is_bug,
        )
        if verdict is Verdict.AGAIN:
            if code in _OF_DESCRIPTORS:
                self._free_descriptors()
            return True
        if verdict is Verdict.ASIDE:
            if waited_ns:
                self._out_of_patience[code] = now_ns
            try:
                self._set_aside(change, Refusal(code, path))
                return True
            except OSError as failure:
                log.warning("%s cannot be set aside: %s", path, failure)
                code = failure.errno or errno.EIO
        if self.refusal is None:
            log.warning("the host refuses to %s %s: %s", change.kind, path, error)
        return self._waits(code, path, ends=ends)

    def _waits(self, code: int, path: str, *, ends: bool = False) -> bool:
        """The oldest change is tried again in a while: the worker does not go on (False)."""
        self.refusal = code, path
        return self._has_refused(ends=ends)

    def _has_refused(self, *, ends: bool = False) -> bool:
        self.refusals += 1
        self._reactor.tell(self._progress)
        if not self._trying_again and not ends:
            self._trying_again = True
            self._reactor.start_own(self._try_again())
        return False

    # What the host will not take

    @staticmethod
    def _is_gone(inode: Inode) -> bool:
        return inode.held is not None and inode.held.nameless

    @staticmethod
    def _parent_on_host(inode: Inode) -> Inode | None:
        return inode.parent

    def _set_aside(self, change: "Change[Inode]", refusal: Refusal) -> None:
        """The host will not take *change*: that, and what depends on it, is kept elsewhere.

        The guest is shown what is on the host instead. Raises OSError, and nothing has happened,
        where it cannot be kept.
        """
        closure = self.changes.closure(self._is_gone, self._parent_on_host)
        is_moot = closure.is_moot(self._is_gone)
        fallen = closure.changes
        paths = [self._path_of_change(each) for each in fallen]
        if not is_moot:
            if self.quarantine is None:
                source, root = self.journal.source, self._inodes.root
                self.quarantine = open_quarantine(self.journal, source, root)
            try:
                self.quarantine.keep(fallen, refusal, self.journal.read, self._as_they_are(fallen))
            except BaseException:
                if self.quarantine.is_empty:  # or it is told of as if it held something
                    self.quarantine.close(keep=False)
                    self.quarantine = None
                raise
        self._leave(closure, is_moot=is_moot)
        try:
            self._show_the_hosts(closure, 0 if is_moot else refusal.code)
        except Exception:
            log.exception("bug: after %s was set aside", refusal.path)
        self.refusal = None
        self._refused_times = 0
        if not self._spare:
            self._keep_spare_descriptors()
        if not is_moot:
            self.set_aside += len(fallen)
            self.set_aside_bytes += sum(each.length for each in fallen)
            if len(self._untold) < _MOST_UNTOLD:
                self._untold |= dict.fromkeys(paths, refusal.reason)
            self.latest_set_aside += [
                {
                    "change": each.kind.value,
                    "path": path,
                    "from": guest_path(each.old_parent, each.old_name)
                    if each.old_parent is not None
                    else None,
                    "reason": refusal.reason,
                }
                for each, path in zip(fallen, paths, strict=True)
            ]
            log.warning(
                "the host does not take it to %s %s (%s): set aside, with %d changes that depend "
                "on it, in %s",
                *(change.kind.value, refusal.path, refusal.reason, len(fallen) - 1),
                self.quarantine.directory if self.quarantine is not None else "",
            )
        self._reactor.tell(self._progress)
        self._tidy()

    def _as_they_are(self, changes: "list[Change[Inode]]") -> dict[Inode, tuple[int, int, int]]:
        """What the host's files are like that are the objects of *changes*."""
        found = {}
        for change in changes:
            for inode in (change.target, change.replaced):
                if inode is not None and inode.kind == modes.S_IFREG and not inode.is_unmade:
                    with contextlib.suppress(OSError):
                        found[inode] = self.writer.contents.seen_now(inode)
        return found

    def _leave(self, closure: "Closure[Inode]", *, is_moot: bool) -> None:
        """None of *closure* is in the list any more."""
        last = closure.changes[0].sequence
        self.changes.leave(closure, is_moot=is_moot)
        with contextlib.suppress(OSError):  # else it is found to be in both, after a crash
            self.journal.note_cancelled(
                [each.sequence for each in closure.changes], [after for _, after in closure.turned]
            )
        self.journal.done(last)

    def _show_the_hosts(self, closure: "Closure[Inode]", code: int) -> None:
        """What the guest is shown no longer has the changes of *closure*.

        *code* is why the host has refused them, or 0 where the guest has taken it all away.
        """
        lost = {inode for inode in closure.lost if inode.is_unmade}
        back: set[Inode] = set()
        for change in closure.changes:
            for inode in (change.target, change.replaced):
                if inode is None or inode.held is None or inode in lost:
                    continue
                if inode is change.replaced or change.kind in (Kind.UNLINK, Kind.RMDIR):
                    back.add(inode)  # it keeps its name
        unwritten = {
            change.target
            for change in closure.changes
            if change.kind in (Kind.WRITE, Kind.SET) and change.target not in lost
        }
        for inode in lost:
            held = hold(inode)
            held.nameless, held.aside = True, code
        for inode in back:
            self._comes_back(inode)
        for inode in unwritten:
            self._forget_what_was_written(inode)
        written = [change for change in closure.changes if change.kind is Kind.WRITE]
        for inode in lost:
            self._disown(inode, hold(inode), [each for each in written if each.target is inode])
        for change in written:
            if change.target not in lost:
                shown = change.target.held
                nameless = shown is not None and shown.nameless
                self._free_written(
                    change, shown.content if shown is not None and nameless else None
                )
        for before, after in closure.turned:
            self._count(after, 1, is_latest=False)
            self._count(before, -1)
        for change in closure.changes:
            self._count(change, -1)
        self._name_again(closure)
        for inode in back:
            if inode.held is None:
                self.writer.comes_back_as_another(inode)
        if code:
            self.on_aside(closure.changes, lost | back | unwritten, code)

    def _comes_back(self, inode: Inode) -> None:
        """The host keeps the name that the guest had taken away."""
        held = inode.held
        assert held is not None
        if held.nameless and not held.unmade:
            if held.content is not None:
                if held.fd >= 0 or inode.open_fds:
                    self._pour_out(inode, held)
                for piece in held.content.pieces():
                    self.journal.free(piece.position, piece.length)
                held.content = None
                held.size = None
            held.nameless = False

    @staticmethod
    def _forget_what_was_written(inode: Inode) -> None:
        """Its content and attributes are the host's again."""
        held = inode.held
        if held is None or held.nameless:
            return
        held.content = held.size = held.mode = None
        held.owner = UNSET
        held.atime_ns = held.mtime_ns = held.ctime_ns = None
        held.seen = None

    def _name_again(self, closure: "Closure[Inode]") -> None:
        """Where later changes of the same names and objects are still held, these show."""
        touched = {
            (directory, name)
            for change in closure.changes
            for directory, name, _ in name_effects(change)
        }
        moved = {change.target for change in closure.changes if change.kind is Kind.RENAME}
        for inode in moved:
            if inode.held is not None and not inode.held.unmade:
                inode.held.guest_place = None
        for change in self.changes.all():
            for directory, name, inode_or_none in name_effects(change):
                known = directory.held.name(name) if directory.held is not None else None
                if known is not None and (directory, name) in touched:
                    known.inode = inode_or_none
            if change.kind in (Kind.MAKE, Kind.RENAME) and change.target in moved:
                assert change.parent is not None
                hold(change.target).guest_place = change.parent, change.name

    def check_not_aside(self, inode: Inode) -> None:
        """That *inode* is one that the host will get, or has. Raises OSError: EIO, ESTALE."""
        if inode.held is not None and inode.held.aside:
            if inode.is_directory:
                raise StaleError
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    def take_untold(self) -> dict[str, str]:
        """Paths of what was set aside since this was last asked for, and why."""
        untold, self._untold = self._untold, {}
        return untold

    @staticmethod
    def _path_of_change(change: "Change[Inode]") -> str:
        if change.parent is not None:
            return guest_path(change.parent, change.name)
        return guest_path(change.target)

    # Descriptors

    def _keeps_descriptor_of_made(self, inode: Inode) -> None:
        """A file that was made has a descriptor, until nothing of it is held. Not too many have."""
        if inode.held is None or inode.held.fd < 0:
            return
        self._made[inode] = None
        while len(self._made) > self._most_descriptors:
            self._give_up_descriptor()

    def _give_up_descriptor(self) -> None:
        inode, _ = self._made.popitem(last=False)
        held = inode.held
        # Where the host's file has lost its name, nothing else leads to it.
        if held is not None and held.fd >= 0 and os.fstat(held.fd).st_nlink:
            os.close(held.fd)
            held.fd = -1

    def _free_descriptors(self) -> None:
        """There is none left, for the guest has many open, or others have."""
        while self._made:
            self._give_up_descriptor()
        for fd in self._spare:
            os.close(fd)
        self._spare.clear()

    def _keep_spare_descriptors(self) -> None:
        with contextlib.suppress(OSError):
            while len(self._spare) < _SPARE_DESCRIPTORS:
                self._spare.append(os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC))

    def close(self, *, keep: bool) -> None:
        """After finish(): nothing more will be held. *keep* the journal for the next mount."""
        for fd in self._spare:
            os.close(fd)
        self._spare.clear()
        if self.quarantine is not None:
            self.quarantine.close(keep=True)
        self.journal.close(keep=keep)

    @property
    def quarantine_directory(self) -> Path:
        return aside_of(self.journal.directory)

    async def _try_again(self) -> None:
        """Perhaps the host takes it now."""
        try:
            while self.refusal is not None:
                await pause(_TRY_AGAIN_NS)
                if not len(self.changes):
                    self.refusal = None  # it was no change that could not be made
                self.hurry(self.changes.oldest_sequence)
        finally:
            self._trying_again = False

    async def _age(self) -> None:
        """Have each change written back when it has waited for as long as it may."""
        try:
            while self.changes.due_ns is not None:
                try:
                    await self._until_due()
                except Exception as error:
                    self._reactor.internal_errors.note("write-back: what is due", error)
                    await pause(_TRY_AGAIN_NS)
        finally:
            self._ageing = False

    async def _until_due(self) -> None:
        due_ns = self.changes.due_ns
        if self.refusal is not None:
            await pause(_TRY_AGAIN_NS)  # _try_again() sees to it
        elif due_ns is not None and due_ns > time.monotonic_ns():
            await until(due_ns)
        else:
            self.hurry(self.changes.oldest_sequence)
            if self._working:
                await told(self._progress)

    def finish(self) -> int:
        """Write back everything, waiting for nothing: after the last request.

        Returns how many changes the host has no room for. They stay in the journal; what it has
        refused is set aside.
        """
        while (change := self.changes.take()) is not None:
            self.journal.started(change.sequence)
            try:
                self.writer.carry_out(change)
            except Exception as error:
                if not self._refused(change, error, ends=True):
                    break
                continue
            self._carried_out(change)
        return len(self.changes)

    def report(self) -> dict[str, Any]:
        """For the status; documented in docs/reference.md."""
        changes, spec = self.changes, self.changes.spec
        oldest_ns = changes.oldest_ns
        return {
            "age_ns": spec.age_ns,
            "limit_changes": spec.most_changes,
            "limit_bytes": spec.most_bytes,
            "in_flight": spec.in_flight,
            "kernel": spec.kernel,
            "made": changes.made,
            "crossed": changes.crossed,
            "cancelled": changes.cancelled,
            "merged": changes.merged,
            "refused": changes.set_aside,
            "pending_changes": len(changes),
            "pending_bytes": changes.bytes,
            "oldest_ns": 0 if oldest_ns is None else time.monotonic_ns() - oldest_ns,
            "bytes_written_back": changes.written_back_bytes,
            "longest_lag_ns": changes.longest_lag_ns,
            "most_changes_at_risk": changes.most_changes,
            "most_bytes_at_risk": changes.most_bytes,
            "throttled": self.throttled,
            "throttled_ns": self.throttled_ns,
            "lost_host_changes": self.writer.conflicts.lost,
            "lost_paths": list(self.writer.conflicts.lost_paths),
            "kept_host_changes": self.writer.conflicts.kept,
            "kept_paths": list(self.writer.conflicts.kept_paths),
            "refusal": None
            if self.refusal is None
            else {"reason": os.strerror(self.refusal[0]), "path": self.refusal[1]},
            "journal": str(self.journal.directory),
            "set_aside": {
                "count": self.set_aside,
                "bytes": self.set_aside_bytes,
                "latest": list(self.latest_set_aside),
                "kept_in": str(self.quarantine_directory),
            },
            "crossings": {op.name: n for op in Operation if (n := self.crossings_made[op])},
            "receipt": self.receipt.report(),
            "acknowledged": self.acknowledged.report(),
        }


def _nothing(*_: Any) -> None:
    """Nobody is to be told."""


def guest_path(inode: Inode | None, name: bytes = b"") -> str:
    """As path_of(), where the guest has it."""
    names = [name] if name else []
    seen: set[Inode] = set()
    while inode is not None and inode not in seen:
        seen.add(inode)  # both sides may have moved one into the other
        held = inode.held
        if held is not None and held.guest_place is not None:
            inode, own = held.guest_place
        elif inode.name:
            own, inode = inode.name, inode.parent
        else:
            break
        names.append(own)
    path = os.fsdecode(b"/".join(reversed(names))) or "."
    return path if path.isprintable() else repr(path)


def _operation_of(change: "Change[Inode]") -> Operation:
    """The request by which *change* crosses."""
    if change.kind is not Kind.MAKE:
        return _OPERATION_OF[change.kind]
    if change.target.is_directory:
        return Operation.MKDIR
    return Operation.SYMLINK if change.detail.link_target else Operation.CREATE


def _without(position: int, length: int, live: list[tuple[int, int]]) -> Iterable[tuple[int, int]]:
    """The parts of *length* bytes at *position* that are not among the sorted ranges *live*."""
    end = position + length
    for start, size in live:
        if start + size <= position:
            continue
        if start >= end:
            break
        if start > position:
            yield position, start - position
        position = min(start + size, end)
    if position < end:
        yield position, end - position
