"""A share in virtual time, slow and obvious: a heap, one question at a time.

Each question of a recording is asked when what it waits for has been answered (dependencies.py).
The guest's kernel answers it out of its caches (a hit), or the share has to be asked, which takes
what the latency model says (a crossing), or the share's guest side knows the answer (names), or
takes the change and has it written back later (held).

This is what other, faster implementations are compared with, and both with the live kernel.
"""

import os
import stat as modes
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from osxfs_sim.model.operations import UNAWAITED, Operation
from osxfs_sim.simulate.background import Background
from osxfs_sim.simulate.dependencies import Order
from osxfs_sim.simulate.guest_kernel import ALL, CONTENT, MODE, NEGATIVE, GuestKernel, Ticks
from osxfs_sim.simulate.inode_locks import InodeLocks
from osxfs_sim.simulate.machine import Machine
from osxfs_sim.simulate.pending_changes import HELD, PendingTree
from osxfs_sim.simulate.permissions import checked_after, checked_before
from osxfs_sim.simulate.processors import Processors
from osxfs_sim.simulate.recording import (
    LISTS,
    MAKES_A_NAME,
    SETS_MODE,
    TAKES_A_NAME,
    UNKNOWN,
    Lookup,
    Question,
    Recording,
)
from osxfs_sim.simulate.schedule import WAKE, Schedule
from osxfs_sim.simulate.share import Share, System

ROOT = 1
"""The inode number of a share's root (FUSE_ROOT_ID)."""
_NO_STATUS = (-1, -1)
_SYNCHRONOUS = os.O_SYNC | os.O_DSYNC

WANT_THE_SIZE = frozenset(
    {
        *("read", "pread64", "readv", "preadv", "preadv2", "sendfile", "splice", "lseek"),
        *("write", "pwrite64", "writev", "pwritev", "pwritev2", "copy_file_range", "mmap", "other"),
    }
)
"""Calls whose GETATTR is for the size of a file (STATX_SIZE), and not for when it was accessed."""


TRUNCATE = frozenset({"truncate", "ftruncate"})
"""Calls whose SETATTR is of a size, and changes content."""


def _changes_content(question: Question) -> bool:
    """Whether it comes after a look for capabilities of the file (file_remove_privs)."""
    if question.operation is Operation.SETATTR:
        return question.call in TRUNCATE
    return question.operation is Operation.WRITE


@dataclass(slots=True)
class Simulated:
    """What a recording came to on one system."""

    wall_ns: int = 0
    """From the command's start to its end."""
    crossings: Counter[Operation] = field(default_factory=Counter)
    """Requests that crossed, by operation; those that nobody waits for are among them."""
    missing_lookups: int = 0
    """Crossings of names that do not exist."""
    hits: Counter[Operation] = field(default_factory=Counter)
    """Questions that the guest's kernel answered."""
    names: int = 0
    """Questions that complete directories answered."""
    held: Counter[Operation] = field(default_factory=Counter)
    """Questions that write-back answered on the guest's side, changes among them."""
    background: Counter[Operation] = field(default_factory=Counter)
    """Crossings by which changes were written back, beside the requests; all, when it has ended."""
    added: Counter[Operation] = field(default_factory=Counter)
    """Crossings that the recording does not have: what permissions and capabilities are checked
    by. They are among *crossings*."""

    @property
    def questions(self) -> int:
        """All that was asked: each is a hit, a crossing, held, or answered by names."""
        own = self.crossings.total() - self.added.total()
        return own + self.hits.total() + self.held.total() + self.names


@dataclass(frozen=True, slots=True)
class _Waiting:
    """A question that waits for what is written back."""

    sequence: int  # of the last change that the host must have; 0: none
    size_bytes: int | None  # for how many bytes there must be room among what is pending
    go_on: Callable[[int], "int | _Waiting"]  # by the moment; the moment of the answer


class Reference:
    """One run of one recording on one system."""

    def __init__(
        self,
        recording: Recording,
        order: Order,
        system: System,
        *,
        tick_ns: int,
        seed: int,
        machine: Machine | None = None,
    ) -> None:
        """*tick_ns* is the kernel's (1 s / CONFIG_HZ), *seed* the latencies'.

        With *machine* it is a live run there; else the system itself, whose server takes no time.
        """
        self._recording = recording
        self._machine = machine
        self._tail_ns = order.tail_ns
        self._schedule = Schedule(
            order,
            recording.begin_ns,
            None if machine is None else Processors(machine.processors),
        )
        self.log: list[tuple[int, Operation, bool]] | None = None
        """Where each crossing is noted, by the number of the question it is for, and what is held,
        which the last says; None: nowhere."""
        self._asking = 0
        self._system = system
        self._kernel = GuestKernel(Ticks(tick_ns))
        self._locks = InodeLocks()
        self._share = Share(system, recording, seed, recording.began_wall_ns)
        self._opened: Counter[int] = Counter()
        self._read_since_open: set[int] = set()
        self._asked_for_xattrs: dict[int, int] = {}  # by thread, in its last question
        self._listing: set[int] = set()  # handles that have begun to be listed
        self._server_ns = 0  # what the question that is asked has taken of a processor so far
        self._pending: PendingTree | None = None
        self._waiting: list[tuple[int, _Waiting]] = []
        self._synchronous: set[int] = set()  # handles whose writes are synced
        if system.write_back is not None:
            self._pending = PendingTree(system.write_back, ROOT)
            self._background = Background(self._pending, self._share.due_ns, self._schedule.wake_at)
        self._result = Simulated()
        # Whoever mounts it looks at its root, before the command starts.
        root_ns = self._share.timeouts(b"", UNKNOWN, recording.begin_ns).attr_timeout_ns
        self._kernel.attributes(ROOT, root_ns, _NO_STATUS, recording.begin_ns)

    def run(self) -> Simulated:
        """Ask all questions, each in its turn."""
        questions, schedule = self._recording.questions, self._schedule
        while (moment := schedule.next()) is not None:
            now_ns, index = moment
            if index == WAKE:
                self._background.wake(now_ns)
                self._resume(now_ns)
            else:
                self._give(index, self._ask(index, questions[index], now_ns), now_ns)
        self._result.wall_ns = round(schedule.ends_ns) + self._tail_ns - self._recording.begin_ns
        if self._pending is not None:
            self._result.background = self._background.crossings
        return self._result

    def _give(self, index: int, end_ns: "int | _Waiting", now_ns: int) -> None:
        """The question number *index* is answered *end_ns*, or has to wait."""
        if isinstance(end_ns, _Waiting):
            self._waiting.append((index, end_ns))
            return
        self._schedule.answered(index, end_ns, now_ns, self._server_ns)
        self._server_ns = 0

    def _resume(self, now_ns: int) -> None:
        """What waited for write-back goes on, as far as it may."""
        waiting, self._waiting = self._waiting, []
        for index, each in waiting:
            if self._may_go_on(each, now_ns):
                self._asking = index
                self._give(index, each.go_on(now_ns), now_ns)
            else:
                self._waiting.append((index, each))

    def _may_go_on(self, waiting: _Waiting, now_ns: int) -> bool:
        """Whether there is nothing to wait for; has what there is written back."""
        assert self._pending is not None
        changes = self._pending.changes
        if waiting.size_bytes is not None and not changes.has_room_for(waiting.size_bytes):
            # A few more than there must be, so that the worker need not begin anew for each.
            self._background.flush_up_to(changes.oldest_sequence + changes.spec.in_flight, now_ns)
            return False
        if waiting.sequence and not self._background.is_flushed(waiting.sequence):
            self._background.flush_up_to(waiting.sequence, now_ns)
            return False
        return True

    def _wait(self, waiting: _Waiting, now_ns: int) -> "int | _Waiting":
        return waiting.go_on(now_ns) if self._may_go_on(waiting, now_ns) else waiting

    # One question

    def _ask(self, index: int, question: Question, now_ns: int) -> "int | _Waiting":
        """When its thread has its answer, or for what it waits before it can be answered."""
        self._asking = index
        operation = question.operation
        if operation in UNAWAITED:
            self._result.crossings[operation] += 1
            if operation is Operation.RELEASE:
                self._released(question)
            return now_ns
        if self._system.checks_permissions:
            is_known = operation is Operation.LOOKUP and self._has_positive(question)
            checked = checked_before(self._recording, index, is_known=is_known)
            now_ns = self._check_permissions(checked, now_ns)
        if self._asks_for_capabilities(question):
            now_ns = self._ask_for_capabilities(question, now_ns)
        if self._pending is not None:
            self._pending.learn(question)
        if operation is Operation.LOOKUP:
            return self._look_up(index, question, now_ns)
        if self._is_hit(index, question, now_ns):
            self._result.hits[operation] += 1
            if operation is Operation.READ:
                self._read_since_open.add(question.inode)
            return self._hit(question, now_ns)
        if self._pending is not None:
            return self._ask_with_write_back(index, question, now_ns)
        return self._ask_host(index, question, now_ns)

    def _ask_host(self, index: int, question: Question, now_ns: int) -> int:
        if question.operation in LISTS:
            return self._list(index, question, now_ns)
        now_ns = self._locks.wait(question, now_ns)
        end_ns = self._cross(question.operation, question.size_bytes, now_ns)
        self._locks.hold(question, end_ns)
        return self._answered(index, question, end_ns)

    def _answered(self, index: int, question: Question, now_ns: int) -> int:
        """The guest's kernel learns from the answer, which has come *now_ns*."""
        if not question.error:
            self._learn(index, question, now_ns)
            now_ns = self._checked_afterwards(index, now_ns)
        return now_ns

    def _ask_with_write_back(self, index: int, question: Question, now_ns: int) -> "int | _Waiting":
        """As _ask_host(), where a change may be pending, and the host has to have some before."""
        assert self._pending is not None
        return self._wait(
            _Waiting(
                self._pending.needs(question),
                self._pending.size_to_hold(question),
                lambda moment_ns: self._ask_overlaid(index, question, moment_ns),
            ),
            now_ns,
        )

    def _ask_overlaid(self, index: int, question: Question, now_ns: int) -> "int | _Waiting":
        """What is answered by what is pending, and what of it crosses."""
        assert self._pending is not None
        answer = self._pending.answer(question, now_ns)
        self._background.changed()
        if not answer.is_held and answer.crosses_as is None:
            return self._ask_host(index, question, now_ns)
        if answer.crosses_as is not None:
            self._result.added[answer.crosses_as] += answer.is_held
            now_ns = self._cross(answer.crosses_as, answer.size_bytes, now_ns)
        if answer.is_held:
            answered_ns = self._hold(question.operation, now_ns)
            if answer.crosses_as is None:
                now_ns = answered_ns
        end_ns = self._answered(index, question, now_ns)
        if question.operation is Operation.WRITE and question.handle in self._synchronous:
            return self._wait(
                _Waiting(self._pending.needed(question.inode), None, self._sync), end_ns
            )
        return end_ns

    def _sync(self, now_ns: int) -> int:
        """What was written by a handle that is synchronous is synced."""
        self._result.added[Operation.FSYNC] += 1
        return self._cross(Operation.FSYNC, 0, now_ns)

    def _hold(self, operation: Operation, now_ns: int) -> int:
        """The guest's side answers it; returns when."""
        self._result.held[operation] += 1
        if self.log is not None:
            self.log.append((self._asking, operation, True))
        if self._machine is None:
            return now_ns
        return self._served(now_ns, self._machine.holding_ns)

    def _hit(self, question: Question, now_ns: int) -> int:
        """When the guest's kernel has the answer that it knows."""
        if self._machine is None or question.error == "ENOENT":
            return now_ns
        return now_ns + self._machine.hit_ns

    def _served(self, now_ns: int, took_ns: int) -> int:
        """When a live answer is there that takes the server so long at least."""
        assert self._machine is not None
        self._server_ns += self._machine.server_ns(took_ns)
        return now_ns + took_ns

    def _check_permissions(self, inodes: tuple[int, ...], now_ns: int) -> int:
        """The modes and owners of *inodes* are known; returns when (rule 8)."""
        for inode in inodes:
            if not self._kernel.has_attributes(inode, MODE, now_ns):
                self._result.added[Operation.GETATTR] += 1
                now_ns = self._cross(Operation.GETATTR, 0, now_ns)
                timeout_ns = self._share.timeouts(b"", UNKNOWN, now_ns).attr_timeout_ns
                self._kernel.attributes(inode, timeout_ns, _NO_STATUS, now_ns)
        return now_ns

    def _checked_afterwards(self, index: int, now_ns: int) -> int:
        if not self._system.checks_permissions:
            return now_ns
        return self._check_permissions(checked_after(self._recording, index), now_ns)

    def _has_positive(self, question: Question) -> bool:
        dentry = self._kernel.known(question.inode, question.name)
        return dentry is not None and dentry.inode != NEGATIVE

    def _asks_for_capabilities(self, question: Question) -> bool:
        """Whether a GETXATTR comes before *question* that the recording does not have.

        It has the first one: its guest has no extended attributes, and is not asked again.
        """
        has_asked = self._asked_for_xattrs.pop(question.thread, 0) == question.inode
        if question.operation is Operation.GETXATTR:
            self._asked_for_xattrs[question.thread] = question.inode
        return self._system.keeps_xattrs and _changes_content(question) and not has_asked

    def _ask_for_capabilities(self, question: Question, now_ns: int) -> int:
        if self._pending is not None and self._pending.is_local_only(question.inode):
            return now_ns  # which has none
        self._result.added[Operation.GETXATTR] += 1
        return self._cross(Operation.GETXATTR, 0, now_ns)

    def _cross(self, operation: Operation, size_bytes: int, now_ns: int) -> int:
        self._result.crossings[operation] += 1
        if self.log is not None:
            self.log.append((self._asking, operation, False))
        due_ns = self._share.due_ns(operation, size_bytes, now_ns)
        if self._machine is None:
            return due_ns
        served_ns = self._served(now_ns, self._machine.crossing_ns(operation))
        is_missing = self._recording.questions[self._asking].error == "ENOENT"
        return max(due_ns + self._machine.late_ns(is_missing=is_missing), served_ns)

    def _look_up(self, index: int, question: Question, now_ns: int) -> int:
        parent, name = question.inode, question.name
        dentry = self._kernel.valid(parent, name, now_ns)
        if dentry is not None and self._recording.lookups.get(index) is not Lookup.EXCLUSIVE:
            self._kernel.used(parent, dentry)
            self._result.hits[Operation.LOOKUP] += 1
            now_ns = self._hit(question, now_ns)
            return self._checked_afterwards(index, now_ns)
        if self._pending is not None and self._pending.answer(question, now_ns) is HELD:
            now_ns = self._hold(Operation.LOOKUP, now_ns)
            if question.error == "ENOENT":
                self._keep_missing(question, now_ns)
            elif not question.error:
                self._keep_entry(question, now_ns)
                self._kernel.looked_up(parent)
            return self._checked_afterwards(index, now_ns)
        size_bytes = 0
        if question.error == "ENOENT":
            if self._share.known_absent(parent, name):
                self._result.names += 1
                if self._machine is not None:
                    now_ns = self._served(now_ns, self._machine.inside_ns)
                self._keep_missing(question, now_ns)
                return now_ns
            size_bytes = self._share.learn_names(parent, index)
            self._result.missing_lookups += 1
        if self._has_positive(question):  # which is revalidated
            end_ns = self._cross(Operation.LOOKUP, size_bytes, now_ns)
        else:
            now_ns = self._locks.wait(question, now_ns)
            end_ns = self._cross(Operation.LOOKUP, size_bytes, now_ns)
            self._locks.hold(question, end_ns)
        if question.error == "ENOENT":
            self._keep_missing(question, end_ns)
        elif not question.error:
            self._keep_entry(question, end_ns)
            self._kernel.looked_up(parent)
        return self._checked_afterwards(index, end_ns)

    def _keep_missing(self, question: Question, now_ns: int) -> None:
        timeout_ns = self._share.negative_timeout_ns(question.name, now_ns)
        self._kernel.negative_entry(question.inode, question.name, timeout_ns, now_ns)

    def _keep_entry(self, question: Question, now_ns: int) -> None:
        timeouts = self._share.timeouts(question.name, question.status, now_ns)
        status = question.status.size_bytes, question.status.mtime_ns
        self._kernel.entry(question.inode, question.name, question.found, timeouts, status, now_ns)

    def _is_hit(self, index: int, question: Question, now_ns: int) -> bool:
        """Whether the kernel answers it out of its caches."""
        if question.operation is Operation.GETATTR:
            wanted = CONTENT if self._is_of_a_read(index, question) else ALL
            return self._kernel.has_attributes(question.inode, wanted, now_ns)
        if question.operation is Operation.ACCESS:
            return self._system.checks_permissions
        return question.operation is Operation.READ and self._kernel.has_pages(
            question.inode, question.offset_bytes, question.size_bytes
        )

    def _is_of_a_read(self, index: int, question: Question) -> bool:
        """Whether a GETATTR is what read(2) asks for the size by, and not a stat(2).

        read(2) does not want the time of access (fuse_cache_read_iter), and its READ follows
        where pages are missing. What is asked of a file that is open and was read from is taken
        for another read(2), at its end.
        """
        inode = question.inode
        if question.call:
            return question.call in WANT_THE_SIZE
        if not self._opened[inode]:
            return False
        if inode in self._read_since_open:
            return True
        following = index + 1
        if following < len(self._recording):
            then = self._recording.questions[following]
            return then.operation is Operation.READ and then.inode == inode
        return False

    def _released(self, question: Question) -> None:
        self._synchronous.discard(question.handle)
        self._opened[question.inode] -= 1
        if not self._opened[question.inode]:
            self._read_since_open.discard(question.inode)

    def _learn(self, index: int, question: Question, now_ns: int) -> None:
        """What the guest's kernel makes of the answer to what crossed."""
        operation, inode = question.operation, question.inode
        status = question.status.size_bytes, question.status.mtime_ns
        kernel, share = self._kernel, self._share
        if operation in (Operation.GETATTR, Operation.SETATTR):
            timeout_ns = share.timeouts(b"", question.status, now_ns).attr_timeout_ns
            kernel.attributes(inode, timeout_ns, status, now_ns)
            is_directory = modes.S_ISDIR(question.status.mode)
            if operation is Operation.SETATTR and is_directory and question.call in SETS_MODE:
                kernel.changed_mode(inode)
        elif operation is Operation.OPENDIR:
            self._listing.discard(question.handle)
        elif operation is Operation.OPEN:
            kernel.opened(inode, share.keeps_pages(question.status, now_ns))
            self._opened[inode] += 1
            if question.flags & _SYNCHRONOUS:
                self._synchronous.add(question.handle)
        elif operation is Operation.READ:
            kernel.read(inode, question.offset_bytes, question.size_bytes)
            self._read_since_open.add(inode)
        elif operation is Operation.WRITE:
            kernel.wrote(inode, question.offset_bytes, question.size_bytes)
        elif operation in MAKES_A_NAME:
            self._keep_entry(question, now_ns)
            kernel.changed_directory(inode)
            share.added(inode, question.name)
            if operation is Operation.CREATE:
                self._opened[question.found] += 1
                if question.flags & _SYNCHRONOUS:
                    self._synchronous.add(question.handle)
        elif operation in TAKES_A_NAME:
            kernel.removed(inode, question.name)
        elif operation is Operation.RENAME:
            kernel.renamed(inode, question.name, question.found, question.new_name)
            share.added(question.found, question.new_name)

    def _list(self, index: int, question: Question, now_ns: int) -> int:
        """A part of a listing, which the kernel asks for with attributes or without."""
        directory, handle = question.inode, question.handle
        is_plus = self._kernel.uses_readdirplus(
            directory, self._system.readdirplus, is_first=handle not in self._listing
        )
        self._listing.add(handle)
        operation = Operation.READDIRPLUS if is_plus else Operation.READDIR
        now_ns = self._locks.wait(question, now_ns)
        end_ns = self._cross(operation, question.size_bytes, now_ns)
        self._locks.hold(question, end_ns)
        if question.error:
            return end_ns
        self._kernel.listed(directory)
        self._share.listed(directory, index)
        if not question.size_bytes:
            self._listing.discard(handle)  # whoever lists on has begun anew
        elif is_plus:
            for name, inode, status in self._recording.names(directory, index):
                timeouts = self._share.timeouts(name, status, end_ns)
                known = status.size_bytes, status.mtime_ns
                self._kernel.entry(directory, name, inode, timeouts, known, end_ns)
                self._kernel.linked(inode)
        return end_ns
