"""Holds the guest's changes, and sees to it that the host gets them in time and in order.

    hold        a change is noted in the journal, in the list of what must cross, and in what the
                guest is shown (held.py); the guest is answered after that
    worker      takes the oldest change, has it carried out on the host (carry_out.py), prices
                its crossing, and goes on while no more than so many are under way
    age         wakes the worker when a change has waited for as long as it may

Who needs the host to have something (fsync, a full list, unmount) says up to which change, and
waits. Where the host refuses a change the worker tries again each second; nothing overtakes it.
"""

import collections
import contextlib
import errno
import logging
import os
import resource
import time
from collections.abc import Callable, Iterable
from typing import Any

from osxfs_sim.model.extents import Extents, Piece
from osxfs_sim.model.operations import CLASS_OF, Operation
from osxfs_sim.model.write_back import Change, Kind, PendingChanges, WriteBackSpec
from osxfs_sim.mount.backing import magic_link
from osxfs_sim.mount.carry_out import HostWriter, path_of
from osxfs_sim.mount.crossings import Crossings
from osxfs_sim.mount.handlers import WRITE_IN_THREAD_BYTES
from osxfs_sim.mount.held import Held, concerned, drop, hold, link_effects, name_effects
from osxfs_sim.mount.inodes import Inode, InodeTable
from osxfs_sim.mount.journal import Journal
from osxfs_sim.mount.reactor import Reactor, Signal, breathe, in_thread, pause, told, until
from osxfs_sim.mount.receipt import Receipt

log = logging.getLogger(__name__)

_TRY_AGAIN_NS = 1_000_000_000
_NEVER = -1

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
        self.start_counting_anew()

    def start_counting_anew(self) -> None:
        """Forget counts and receipts; what is held counts as made."""
        self.changes.start_counting_anew()
        self.receipt = Receipt()
        self.acknowledged = Receipt()
        self.crossings_made = [0] * len(Operation)
        self.throttled = self.throttled_ns = 0

    # Holding

    def hold(self, change: "Change[Inode]", *, loses: Iterable[Inode] = ()) -> None:
        """The guest has made *change*, by which the objects *loses* have lost their last name.

        Raises OSError, and nothing has happened, where it cannot be kept.
        """
        changes = self.changes
        loses = list(loses)
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
                os.truncate(magic_link(fd), min(content.cuts))
            for piece in content.pieces():
                os.pwrite(fd, self.journal.read(piece.position, piece.length), piece.offset)
            if held.size is not None:
                os.truncate(magic_link(fd), held.size)
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
        if held.fd < 0 and not held.unmade:
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
                if not await self._carry_out(change):
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
        """Have the host get *change*; False where it refuses."""
        self.journal.started(change.sequence)
        try:
            copy = self.writer.copy_beforehand(change)
            if copy is not None:
                await in_thread(copy)
            if change.kind is Kind.WRITE and change.length >= WRITE_IN_THREAD_BYTES:
                fd = self.writer.begin_write(change)
                await in_thread(lambda: self.writer.write(change, fd))
                self.writer.end_write(change)
            else:
                self.writer.carry_out(change)
        except Exception as error:
            self._refused(change, error)
            return False
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
        self.changes.done(time.monotonic_ns())
        self.journal.done(change.sequence)
        inode = change.target
        held = inode.held
        if change.kind is Kind.MAKE:
            with contextlib.suppress(OSError):
                self.journal.note_arrived(inode)
            self._has_arrived(inode)
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
        self._tidy()

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

    def _refused(self, change: "Change[Inode]", error: Exception) -> None:
        """The host does not take *change*, or a bug of ours keeps it from getting it: EIO then."""
        code = error.errno if isinstance(error, OSError) else None
        if not isinstance(error, OSError):
            of = f" of {path_of(change.target)}"
            self._reactor.internal_errors.note(f"write-back: {change.kind}", error, of)
        path = path_of(change.parent, change.name) if change.name else path_of(change.target)
        if self.refusal is None:
            log.warning("the host refuses to %s %s: %s", change.kind, path, error)
        self.refusal = code or errno.EIO, path
        self._has_refused()

    def _has_refused(self) -> None:
        self.refusals += 1
        self._reactor.tell(self._progress)
        if not self._trying_again:
            self._trying_again = True
            self._reactor.start_own(self._try_again())

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

        Returns how many changes the host refuses to take. They stay in the journal.
        """
        while (change := self.changes.take()) is not None:
            self.journal.started(change.sequence)
            try:
                self.writer.carry_out(change)
                self._carried_out(change)
            except Exception as error:
                self._refused(change, error)
                break
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
            "pending_changes": len(changes),
            "pending_bytes": changes.bytes,
            "oldest_ns": 0 if oldest_ns is None else time.monotonic_ns() - oldest_ns,
            "bytes_written_back": changes.written_back_bytes,
            "longest_lag_ns": changes.longest_lag_ns,
            "most_changes_at_risk": changes.most_changes,
            "most_bytes_at_risk": changes.most_bytes,
            "throttled": self.throttled,
            "throttled_ns": self.throttled_ns,
            "lost_host_changes": self.writer.lost,
            "lost_paths": list(self.writer.lost_paths),
            "kept_host_changes": self.writer.kept,
            "kept_paths": list(self.writer.kept_paths),
            "refusal": None
            if self.refusal is None
            else {"reason": os.strerror(self.refusal[0]), "path": self.refusal[1]},
            "journal": str(self.journal.directory),
            "crossings": {op.name: n for op in Operation if (n := self.crossings_made[op])},
            "receipt": self.receipt.report(),
            "acknowledged": self.acknowledged.report(),
        }


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
