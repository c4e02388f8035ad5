"""Holds the guest's changes, and sees to it that the host gets them in time and in order.

    defer       a change is appended to the journal, to the list of what must cross, and to what
                the guest is shown (pending_state.py); the guest is answered after that
    worker      takes the oldest change, has it applied on the host (host_writer.py), prices its
                crossing, and goes on while no more than so many are under way
    age         wakes the worker when a change has waited for as long as it may

Who needs the host to have something (fsync, a full list, unmount) says up to which change, and
waits. What becomes of a change that the host refuses is decided in model/refusals.py: it is tried
again, or set aside (set_aside.py) with what depends on it, and the guest is shown what is on the
host instead. Nothing overtakes a change that is still to be tried.
"""

import collections
import errno
import logging
import os
import time
from collections.abc import Callable, Iterable

from osxfs_sim.model.operations import CLASS_OF, Operation
from osxfs_sim.model.refusals import OF_ROOM, Verdict, judge
from osxfs_sim.model.status import RefusalStatus, SetAsideStatus, WriteBackStatus
from osxfs_sim.model.write_back import (
    OPERATION_OF,
    Change,
    Kind,
    PendingChanges,
    WriteBackSpec,
    made_by,
)
from osxfs_sim.mount.latency.crossings import Crossings
from osxfs_sim.mount.latency.receipt import Receipt
from osxfs_sim.mount.loop.reactor import Reactor, Signal, in_thread, pause, until, wait, yield_
from osxfs_sim.mount.requests.handlers import WRITE_IN_THREAD_BYTES
from osxfs_sim.mount.tree.backing import Backing
from osxfs_sim.mount.tree.inodes import Inode, InodeTable
from osxfs_sim.mount.writeback.effect_applier import EffectApplier
from osxfs_sim.mount.writeback.host_writer import HostWriter
from osxfs_sim.mount.writeback.journal import Journal
from osxfs_sim.mount.writeback.journal_format import Refusal
from osxfs_sim.mount.writeback.overlay import path_of_change
from osxfs_sim.mount.writeback.pending_state import PendingState
from osxfs_sim.mount.writeback.room import has_room
from osxfs_sim.mount.writeback.set_aside import OnAside, SetAside

log = logging.getLogger(__name__)

_TRY_AGAIN_NS = 1_000_000_000
_NEVER = -1
# Who has used up the patience for one change is not waited for again with the next.
_PATIENCE_COMES_BACK_NS = 60_000_000_000
_OF_DESCRIPTORS = (errno.EMFILE, errno.ENFILE)


class WriteBack:
    """Everything of one share that is on its way to the host. The reactor's thread only."""

    def __init__(
        self,
        spec: WriteBackSpec,
        reactor: Reactor,
        crossings: Crossings,
        inodes: InodeTable,
        backing: Backing,
        writer: HostWriter,
        effects: EffectApplier,
        journal: Journal,
        evict: Callable[[Inode], None],
        created_on_host: Callable[[Inode], None],
        attributes_set_on_host: Callable[[Inode], None],
        on_aside: OnAside | None = None,
    ) -> None:
        """*effects* applies what *writer* does on the host to what is known of it. *evict* is
        told of objects of which nothing is held any more, *created_on_host* of those
        that the host has got, *attributes_set_on_host* of those whose attributes it has got;
        *on_aside* as SetAside's.
        """
        self._reactor = reactor
        self._crossings = crossings
        self._inodes = inodes
        self._progress = Signal()
        self.writer = writer
        """Makes each change on the host."""
        self.conflicts = effects.conflicts
        """What the host has changed meanwhile, and became of it."""
        self.pending = PendingState(
            spec,
            journal,
            evict,
            created_on_host,
            attributes_set_on_host,
            lambda: reactor.notify_all(self._progress),
        )
        """What is pending: list, journal, overlay, data, descriptors."""
        self.aside = SetAside(self.pending, effects, inodes, backing, on_aside)
        """What the host will never take."""
        self.changes: PendingChanges[Inode] = self.pending.changes
        """What must cross, in its order."""
        self.journal = journal
        """What a crash leaves of it."""
        self.refusal: tuple[int, str] | None = None
        """The errno and the path with which the host refuses the oldest change."""
        self.refusals = 0
        """How often it has refused one."""
        self._wanted = _NEVER  # the worker goes on up to this change
        self._unpaid: collections.deque[tuple[int, int, int, Operation]] = collections.deque()
        self._working = self._ageing = self._trying_again = False
        self._refused_times = 0  # of the change under way
        self._refused_since_ns = 0
        self._out_of_patience: dict[int, int] = {}  # with an errno, and since when
        self.reset_counts()

    def reset_counts(self) -> None:
        """Begin counts and receipts at 0; what is pending counts as made."""
        self.changes.reset_counts()
        self.receipt = Receipt()
        self.acknowledged = Receipt()
        self.crossings_made = [0] * len(Operation)
        self.throttled = self.throttled_ns = 0

    # What begins to be pending

    def defer(self, change: "Change[Inode]", *, orphaned: Iterable[Inode] = ()) -> None:
        """Make the guest's *change* pending; *orphaned* lost their last name. Raises OSError.

        Raises OSError, and nothing has happened, where it cannot be kept.
        """
        self.pending.defer(change, orphaned=orphaned)
        if not self._ageing:
            self._ageing = True
            # Not from within a request: what it is doing to the guest's view is not done yet.
            self._reactor.call_soon(lambda: self._reactor.spawn(self._age()))

    # Limits

    @property
    def most_descriptors(self) -> int:
        """How many descriptors are kept at most of written files, and as many of made ones."""
        return self.pending.descriptors.most

    def has_room_for(self, size_bytes: int) -> bool:
        """Whether one more change, of *size_bytes*, may be made pending now."""
        return self.changes.has_room_for(size_bytes) and self.pending.descriptors.has_room

    async def room_for(self, size_bytes: int) -> None:
        """Wait until one more change of *size_bytes* may be pending. Raises OSError."""
        if self.has_room_for(size_bytes):
            return
        began_ns = time.monotonic_ns()
        refusals = self.refusals
        self.throttled += 1
        try:
            while not self.has_room_for(size_bytes):
                # A few more than there must be, so that the worker need not begin anew for each.
                self.flush_up_to(self.changes.oldest_sequence + self.changes.spec.in_flight)
                await self._next_progress(refusals)
        finally:
            self.throttled_ns += time.monotonic_ns() - began_ns

    # Writing back

    def flush_up_to(self, sequence: int) -> None:
        """Begin to write back all changes up to *sequence*; does not wait, never fails."""
        self._wanted = max(self._wanted, sequence)
        if not self._working and len(self.changes):
            self._working = True
            self._reactor.spawn(self._work())

    async def wait_flushed(self, sequence: int) -> None:
        """Wait until the host has all changes up to *sequence*. Raises OSError if refused."""
        refusals = self.refusals
        while not self.is_flushed(sequence):
            self.flush_up_to(sequence)
            await self._next_progress(refusals)

    async def _next_progress(self, refusals: int) -> None:
        """Wait until the worker gets on. Raises OSError if the host has refused since *refusals*.

        What it refused before, it is being asked again.
        """
        if self.refusals > refusals and self.refusal is not None:
            raise OSError(self.refusal[0], os.strerror(self.refusal[0]))
        if self._working:
            await wait(self._progress)

    def is_flushed(self, sequence: int) -> bool:
        """Whether all changes up to *sequence* are on the host, their latency waited out."""
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
                    goes_on = await self._apply(change)
                except Exception as error:
                    self._reactor.internal_errors.record("write-back: a change", error)
                    goes_on = self._waits(errno.EIO, path_of_change(change))
                if not goes_on:
                    return
                self._reactor.notify_all(self._progress)
                await yield_()
            await self._pay_all_but(0)
        except Exception as error:
            self._broken(error)
        finally:
            self._working = False
            self._reactor.notify_all(self._progress)
        if self._next() is not None:
            self.flush_up_to(self._wanted)

    def _broken(self, error: Exception) -> None:
        """The worker cannot go on, by a bug of ours: who waits for it gets EIO, and it tries again.

        Else who waits would start it anew at once, for ever.
        """
        self._reactor.internal_errors.record("write-back", error)
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
            self._reactor.notify_all(self._progress)

    async def _apply(self, change: "Change[Inode]") -> bool:
        """Have the host get *change*; False where it is to be tried again in a while."""
        self.journal.started(change.sequence)
        try:
            copy = self.writer.contents.copy_beforehand(change)
            if copy is not None:
                await in_thread(copy)
            if change.kind is Kind.WRITE and change.length >= WRITE_IN_THREAD_BYTES:
                await self._write_in_thread(change)
            else:
                self.writer.apply(change)
        except Exception as error:
            return self._refused(change, error)
        self._applied(change)
        began_ns = time.monotonic_ns()
        operation = _operation_of(change)
        self.crossings_made[operation] += 1
        due_ns = self._crossings.latency.due_ns(CLASS_OF[operation], change.length, began_ns)
        self._unpaid.append((change.sequence, began_ns, due_ns, operation))
        return True

    async def _write_in_thread(self, change: "Change[Inode]") -> None:
        """As the writer's apply(), for a write that takes long. Raises OSError."""
        contents = self.writer.contents
        fd = contents.begin_write(change)
        try:
            await in_thread(lambda: contents.write(change, fd))
        except OSError:
            contents.end_failed(change, fd)
            raise
        contents.end_write(change)

    def _applied(self, change: "Change[Inode]") -> None:
        """The host has *change*."""
        self.refusal = None
        self._refused_times = 0
        self.changes.done(time.monotonic_ns())
        self.journal.done(change.sequence)
        try:
            self.pending.applied(change)
        except Exception:
            log.exception("bug: after %s", path_of_change(change))
        self.pending.descriptors.keep_spare()
        self.pending.trim_journal()

    def trim_journal(self) -> None:
        """Empty the journal if nothing is pending, compact a large one; never fails."""
        self.pending.trim_journal(thoroughly=True)

    def finish(self) -> int:
        """Write back everything, once nobody asks any more; how many changes are left.

        Returns how many changes the host has no room for. They stay in the journal; what it has
        refused is set aside.
        """
        while (change := self.changes.take()) is not None:
            self.journal.started(change.sequence)
            try:
                self.writer.apply(change)
            except Exception as error:
                if not self._refused(change, error, ends=True):
                    break
                continue
            self._applied(change)
        return len(self.changes)

    # What the host refuses

    def _refused(self, change: "Change[Inode]", error: Exception, *, ends: bool = False) -> bool:
        """The host does not take *change*, or a bug of ours keeps it from getting it: EIO then.

        Returns whether the worker goes on at once; else the change is to be tried again in a while.
        """
        code = (error.errno if isinstance(error, OSError) else None) or errno.EIO
        is_bug = not isinstance(error, OSError)
        path = path_of_change(change)
        if is_bug:
            self._reactor.internal_errors.record(f"write-back: {change.kind}", error, f" of {path}")
        if change.kind is Kind.MAKE and not change.target.is_local_only:
            # It is there; what has failed was to dress it up.
            log.warning("the host has made %s, but: %s", path, error)
            self._applied(change)
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
                self.pending.descriptors.give_up()
            return True
        if verdict is Verdict.ASIDE:
            if waited_ns:
                self._out_of_patience[code] = now_ns
            try:
                self._set_aside(Refusal(code, path))
                return True
            except OSError as failure:
                log.warning("%s cannot be set aside: %s", path, failure)
                code = failure.errno or errno.EIO
        if self.refusal is None:
            log.warning("the host refuses to %s %s: %s", change.kind, path, error)
        return self._waits(code, path, ends=ends)

    def _set_aside(self, refusal: Refusal) -> None:
        """The host will not take the change that is under way. Raises OSError if it cannot be kept.

        What depends on it falls with it.
        """
        self.aside.set_aside(refusal)
        self.refusal = None
        self._refused_times = 0
        self.pending.descriptors.keep_spare()
        self._reactor.notify_all(self._progress)
        self.pending.trim_journal()

    def _waits(self, code: int, path: str, *, ends: bool = False) -> bool:
        """The oldest change is tried again in a while: the worker does not go on (False)."""
        self.refusal = code, path
        return self._has_refused(ends=ends)

    def _has_refused(self, *, ends: bool = False) -> bool:
        self.refusals += 1
        self._reactor.notify_all(self._progress)
        if not self._trying_again and not ends:
            self._trying_again = True
            self._reactor.spawn(self._try_again())
        return False

    async def _try_again(self) -> None:
        """Perhaps the host takes it now."""
        try:
            while self.refusal is not None:
                await pause(_TRY_AGAIN_NS)
                if not len(self.changes):
                    self.refusal = None  # it was no change that could not be made
                self.flush_up_to(self.changes.oldest_sequence)
        finally:
            self._trying_again = False

    # Age

    async def _age(self) -> None:
        """Have each change written back when it has waited for as long as it may."""
        try:
            while self.changes.due_ns is not None:
                try:
                    await self._until_due()
                except Exception as error:
                    self._reactor.internal_errors.record("write-back: what is due", error)
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
            self.flush_up_to(self.changes.oldest_sequence)
            if self._working:
                await wait(self._progress)

    def close(self, *, keep: bool) -> None:
        """Close the journal after finish(), and remove it unless *keep*; never fails."""
        self.pending.descriptors.close()
        self.aside.close()
        self.journal.close(keep=keep)

    @property
    def oldest_age_ns(self) -> int:
        """For how many ns the oldest pending change has waited; 0: nothing is pending."""
        oldest_ns = self.changes.oldest_ns
        return 0 if oldest_ns is None else time.monotonic_ns() - oldest_ns

    def report(self, *, recovered: int = 0, sync_waits: bool = False) -> WriteBackStatus:
        """The status of write-back: limits, counts, refusals, receipts."""
        changes, spec = self.changes, self.changes.spec
        return WriteBackStatus(
            age_ns=spec.age_ns,
            limit_changes=spec.most_changes,
            limit_bytes=spec.most_bytes,
            in_flight=spec.in_flight,
            kernel=spec.kernel,
            made=changes.made,
            crossed=changes.crossed,
            cancelled=changes.cancelled,
            merged=changes.merged,
            refused=changes.set_aside,
            pending_changes=len(changes),
            pending_bytes=changes.bytes,
            oldest_ns=self.oldest_age_ns,
            bytes_written_back=changes.written_back_bytes,
            longest_lag_ns=changes.longest_lag_ns,
            most_changes_at_risk=changes.most_changes,
            most_bytes_at_risk=changes.most_bytes,
            throttled=self.throttled,
            throttled_ns=self.throttled_ns,
            lost_host_changes=self.conflicts.lost,
            lost_paths=list(self.conflicts.lost_paths),
            kept_host_changes=self.conflicts.kept,
            kept_paths=list(self.conflicts.kept_paths),
            refusal=None
            if self.refusal is None
            else RefusalStatus(reason=os.strerror(self.refusal[0]), path=self.refusal[1]),
            journal=str(self.journal.directory),
            set_aside=SetAsideStatus(
                count=self.aside.count,
                bytes=self.aside.bytes,
                latest=list(self.aside.latest),
                kept_in=str(self.aside.directory),
            ),
            crossings={op.name: n for op in Operation if (n := self.crossings_made[op])},
            receipt=self.receipt.report(),
            acknowledged=self.acknowledged.report(),
            recovered=recovered,
            sync_waits=sync_waits,
        )


def _operation_of(change: "Change[Inode]") -> Operation:
    """The request by which *change* crosses."""
    if change.kind is not Kind.MAKE:
        return OPERATION_OF[change.kind]
    is_symlink = bool(change.detail.link_target)
    return made_by(is_directory=change.target.is_directory, is_symlink=is_symlink)
