"""A share in virtual time, slow and obvious: a heap, one question at a time.

Each question of a recording is asked when what it waits for has been answered (dependencies.py).
The guest's kernel answers it out of its caches (a hit), or the share has to be asked, which takes
what the latency model says (a crossing), or the share's guest side knows the answer (names).

This is what other, faster implementations are compared with, and both with the live kernel.
"""

import heapq
from collections import Counter
from dataclasses import dataclass, field

from osxfs_sim.model.operations import UNAWAITED, Operation
from osxfs_sim.simulate.dependencies import NOTHING, Order
from osxfs_sim.simulate.guest_kernel import ALL, CONTENT, MODE, NEGATIVE, GuestKernel, Ticks
from osxfs_sim.simulate.permissions import checked_after, checked_before
from osxfs_sim.simulate.processors import wall_on
from osxfs_sim.simulate.recording import (
    LISTS,
    MAKES_A_NAME,
    TAKES_A_NAME,
    UNKNOWN,
    Lookup,
    Question,
    Recording,
)
from osxfs_sim.simulate.share import Share, System

ROOT = 1
"""The inode number of a share's root (FUSE_ROOT_ID)."""
_NO_STATUS = (-1, -1)

_WANT_THE_SIZE = frozenset(
    {
        *("read", "pread64", "readv", "preadv", "preadv2", "sendfile", "splice", "lseek"),
        *("write", "pwrite64", "writev", "pwritev", "pwritev2", "copy_file_range", "mmap", "other"),
    }
)
"""Calls whose GETATTR is for the size of a file (STATX_SIZE), and not for when it was accessed."""


def _changes_content(question: Question) -> bool:
    """Whether it comes after a look for capabilities of the file (file_remove_privs)."""
    if question.operation is Operation.SETATTR:
        return question.call in ("truncate", "ftruncate")
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
    added: Counter[Operation] = field(default_factory=Counter)
    """Crossings that the recording does not have: what permissions and capabilities are checked
    by. They are among *crossings*."""

    @property
    def questions(self) -> int:
        """All that was asked: each is a hit, a crossing, or answered by names."""
        own = self.crossings.total() - self.added.total()
        return own + self.hits.total() + self.names


class Reference:
    """One run of one recording on one system."""

    def __init__(
        self, recording: Recording, order: Order, system: System, *, tick_ns: int, seed: int
    ) -> None:
        """*tick_ns* is the kernel's (1 s / CONFIG_HZ), *seed* the latencies'."""
        self._recording = recording
        self._order = order
        self.log: list[tuple[int, Operation]] | None = None
        """Where each crossing is noted, by the number of the question it is for; None: nowhere."""
        self._asking = 0
        self._system = system
        self._kernel = GuestKernel(Ticks(tick_ns))
        self._share = Share(system, recording, seed, recording.header.began_ns)
        self._opened: Counter[int] = Counter()
        self._read_since_open: set[int] = set()
        self._asked_for_xattrs: dict[int, int] = {}  # by thread, in its last question
        self._listing: set[int] = set()  # handles that have begun to be listed
        self._result = Simulated()
        # Whoever mounts it looks at its root, before the command starts.
        root_ns = self._share.timeouts(b"", UNKNOWN, recording.begin_ns).attr_timeout_ns
        self._kernel.attributes(ROOT, root_ns, _NO_STATUS, recording.begin_ns)

    def run(self) -> Simulated:
        """Ask all questions, each in its turn."""
        questions, order = self._recording.questions, self._order
        followers: list[list[int]] = [[] for _ in questions]
        waits = [0] * len(questions)
        ready_ns = [self._recording.begin_ns] * len(questions)
        due: list[tuple[int, int]] = []
        for index, previous in enumerate(order.previous):
            before = (*order.after[index], *(() if previous == NOTHING else (previous,)))
            waits[index] = len(before)
            for each in before:
                followers[each].append(index)
            if previous == NOTHING:
                ready_ns[index] += order.think_ns[index]
            if not before:
                heapq.heappush(due, (ready_ns[index], index))
        ends_ns = self._recording.begin_ns
        while due:
            arrival_ns, index = heapq.heappop(due)
            end_ns = self._ask(index, questions[index], arrival_ns)
            ends_ns = max(ends_ns, end_ns)
            for follower in followers[index]:
                think_ns = order.think_ns[follower] if order.previous[follower] == index else 0
                ready_ns[follower] = max(ready_ns[follower], end_ns + think_ns)
                waits[follower] -= 1
                if not waits[follower]:
                    heapq.heappush(due, (ready_ns[follower], follower))
        self._result.wall_ns = ends_ns + order.tail_ns - self._recording.begin_ns
        return self._result

    def run_on(self, processors: int, per_request_ns: int) -> Simulated:
        """Ask all, the server on the workload's *processors*: each crossing takes it so long."""

        def ask(index: int, now_ns: int) -> tuple[int, int]:
            before = self._result.crossings.total()
            end_ns = self._ask(index, self._recording.questions[index], now_ns)
            return end_ns, (self._result.crossings.total() - before) * per_request_ns

        self._result.wall_ns = wall_on(self._order, processors, ask, self._recording.begin_ns)
        return self._result

    # One question

    def _ask(self, index: int, question: Question, now_ns: int) -> int:
        """When its thread has its answer."""
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
            self._result.added[Operation.GETXATTR] += 1
            now_ns = self._cross(Operation.GETXATTR, 0, now_ns)
        if operation is Operation.LOOKUP:
            return self._look_up(index, question, now_ns)
        if self._is_hit(index, question, now_ns):
            self._result.hits[operation] += 1
            if operation is Operation.READ:
                self._read_since_open.add(question.inode)
            return now_ns
        if operation in LISTS:
            return self._list(index, question, now_ns)
        end_ns = self._cross(operation, question.size_bytes, now_ns)
        if not question.error:
            self._learn(index, question, end_ns)
            end_ns = self._checked_afterwards(index, end_ns)
        return end_ns

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

    def _cross(self, operation: Operation, size_bytes: int, now_ns: int) -> int:
        self._result.crossings[operation] += 1
        if self.log is not None:
            self.log.append((self._asking, operation))
        return self._share.due_ns(operation, size_bytes, now_ns)

    def _look_up(self, index: int, question: Question, now_ns: int) -> int:
        parent, name = question.inode, question.name
        dentry = self._kernel.valid(parent, name, now_ns)
        if dentry is not None and self._recording.lookups.get(index) is not Lookup.EXCLUSIVE:
            self._kernel.used(parent, dentry)
            self._result.hits[Operation.LOOKUP] += 1
            return self._checked_afterwards(index, now_ns)
        size_bytes = 0
        if question.error == "ENOENT":
            if self._share.known_absent(parent, name):
                self._result.names += 1
                self._keep_missing(question, now_ns)
                return now_ns
            size_bytes = self._share.learn_names(parent, index)
            self._result.missing_lookups += 1
        end_ns = self._cross(Operation.LOOKUP, size_bytes, now_ns)
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
            return question.call in _WANT_THE_SIZE
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
        elif operation is Operation.OPENDIR:
            self._listing.discard(question.handle)
        elif operation is Operation.OPEN:
            kernel.opened(inode, share.keeps_pages(question.status, now_ns))
            self._opened[inode] += 1
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
        end_ns = self._cross(operation, question.size_bytes, now_ns)
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
