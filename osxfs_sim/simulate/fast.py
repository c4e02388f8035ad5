"""A share in virtual time, compiled: what reference.py does, over arrays of integers.

It says exactly what the reference says, and says nothing of systems for which it could not: those
with write-back, with latencies that are drawn, or with a policy whose answers depend on more than
the kind of an object (which() tells). Policies are asked beforehand, by the share that the
reference asks; the rules of the guest's kernel are written down once more, and the tests hold both
against each other.
"""

from collections import Counter
from typing import NamedTuple

import numpy as np

from osxfs_sim.model import complete_directories
from osxfs_sim.model.caching import (
    Cached,
    CachePolicy,
    Complete,
    Consistent,
    Default,
    Dilated,
    Direct,
    Negative,
)
from osxfs_sim.model.latency import Constant
from osxfs_sim.model.operations import Operation
from osxfs_sim.simulate.columns import (
    ALONE,
    CLASSES,
    ENOENT,
    IS_TRUNCATE,
    KINDS,
    LINKS,
    LISTS,
    MAKES,
    MAY_MAKE,
    NAMED,
    NO_ERROR,
    OF_ITSELF,
    OF_THE_PARENT,
    REMOVES,
    ROOT,
    SETS_MODE,
    SHARED,
    STARTS_RENAME,
    TAKES,
    TRUNCATES,
    UNAWAITED_BIT,
    WANTS_SIZE,
    Columns,
    Integers,
    Recorded,
    columns_of,
)
from osxfs_sim.simulate.compiled import compiled_without_allocation
from osxfs_sim.simulate.graph import Graph
from osxfs_sim.simulate.guest_kernel import ALL, ATIME, CONTENT, CTIME, MODE, PAGE_BYTES, Ticks
from osxfs_sim.simulate.inferred import EXCLUSIVE, LAST, RENAMED, Inferred, infer
from osxfs_sim.simulate.recording import UNKNOWN, Recording, Status
from osxfs_sim.simulate.reference import Simulated
from osxfs_sim.simulate.share import DIRENT_BYTES, Share, System

(_LOOKUP, _GETATTR, _SETATTR, _RENAME, _LINK, _OPEN, _READ, _WRITE, _RELEASE) = (
    *(int(Operation.LOOKUP), int(Operation.GETATTR), int(Operation.SETATTR)),
    *(int(Operation.RENAME), int(Operation.LINK), int(Operation.OPEN), int(Operation.READ)),
    *(int(Operation.WRITE), int(Operation.RELEASE)),
)
(_OPENDIR, _READDIRPLUS, _GETXATTR, _ACCESS, _CREATE, _READDIR) = (
    *(int(Operation.OPENDIR), int(Operation.READDIRPLUS), int(Operation.GETXATTR)),
    *(int(Operation.ACCESS), int(Operation.CREATE), int(Operation.READDIR)),
)
_OPERATIONS = len(Operation)
_NEVER, _ALWAYS, _ADAPTIVE = range(3)
_READDIRPLUS_MODES = {"never": _NEVER, "always": _ALWAYS, "adaptive": _ADAPTIVE}
_NS_PER_S = 1_000_000_000
_MOST_PAGES = 1 << 27
_LONGEST_NS = 1 << 61
_SLOWEST_NS = 1 << 36
"""A minute for one request: so many of these as a trace can have are an integer of 64 bits."""
_LARGEST_BYTES = 1 << 33
"""Of one transfer: so many bytes times 1e9 are an integer of 64 bits."""
_BY_KIND = (CachePolicy, Consistent, Direct, Default, Cached, Negative, Complete)
"""Policies that look at neither the name, nor the time, nor at more of a status than its mode."""


class Fast:
    """One recording, for any number of runs on systems that it can be run on."""

    def __init__(self, recording: Recording) -> None:
        """Reads *recording* into columns."""
        self.recording = recording
        self.recorded = columns_of(recording)
        self._inferred = infer(self.recorded)
        columns = self.recorded.columns
        reads = (columns.operation == _READ) | (columns.operation == _WRITE)
        last = np.where(reads, -(-(columns.offset_bytes + columns.size_bytes) // PAGE_BYTES), 0)
        pages = np.zeros(self.recorded.inodes, np.int64)
        np.maximum.at(pages, columns.inode, last)
        self._first_page = np.concatenate((np.zeros(1, np.int64), np.cumsum(pages)))
        least = min(columns.offset_bytes.min(initial=0), columns.size_bytes.min(initial=0))
        self._sizes_fit = (
            least >= 0
            and columns.size_bytes.max(initial=0) < _LARGEST_BYTES
            and columns.offset_bytes.max(initial=0) < _LONGEST_NS
            and int(pages.sum()) <= _MOST_PAGES
        )
        named = np.diff(self._inferred.names)
        cost = complete_directories.COST_OF_A_SET
        self._names_fit = (
            int(named.sum()) + cost * len(named) <= complete_directories.MOST_NAMES
            and named.max(initial=0) <= complete_directories.LARGEST_DIRECTORY
        )

    def covers(self, system: System) -> bool:
        """Whether run() says what the reference would say of *system*."""
        return (
            self._sizes_fit
            and system.write_back is None
            and isinstance(system.latency.distribution, Constant)
            and max(system.latency.base_ns) < _SLOWEST_NS
            and is_by_kind(system.policy)
            and (self._names_fit or not system.policy.complete)
        )

    def run(self, graph: Graph, system: System, *, tick_ns: int) -> Simulated:
        """What this recording comes to on *system*, which it covers()."""
        rules = _rules(self.recorded, self.recording, system, tick_ns)
        kernel = _kernel(self.recorded, self._first_page, system)
        ends_ns = _run(
            self.recorded.columns,
            self._inferred,
            rules,
            kernel,
            graph.think_ns,
            graph.waits.copy(),
            graph.starts,
            graph.followers,
            graph.thinks,
            self.recorded.begin_ns,
            np.full(len(self.recording), self.recorded.begin_ns, np.int64),
            np.empty(len(self.recording), np.int64),
            np.zeros(len(self.recording), np.int64),
        )
        return Simulated(
            wall_ns=ends_ns + graph.tail_ns - self.recorded.begin_ns,
            crossings=_counter(kernel.crossings),
            missing_lookups=int(kernel.counts[_MISSING]),
            hits=_counter(kernel.hits),
            names=int(kernel.counts[_NAMES]),
            added=_counter(kernel.added),
        )


def is_by_kind(policy: CachePolicy) -> bool:
    """Whether *policy* answers by the kind of an object alone: one of ours, not a user's own."""
    if type(policy) is Dilated:
        return is_by_kind(policy.policy)
    return type(policy) in _BY_KIND


def _counter(counts: Integers) -> Counter[Operation]:
    return Counter({Operation(i): int(count) for i, count in enumerate(counts) if count})


class _Rules(NamedTuple):
    """What a system's share answers, asked of it beforehand; what its guest's kernel is like."""

    tick_ns: int
    entry_ticks: Integers
    """By mode: for how many ticks an entry may be kept; -1: not at all."""
    attr_ticks: Integers
    """By mode: the same, of attributes."""
    keeps_pages: Integers
    """By mode: 1 where pages outlive an open."""
    unknown_ticks: int
    """As attr_ticks, where no status was told."""
    unknown_entry_ticks: int
    """As entry_ticks, where no status was told."""
    negative_ticks: int
    readdirplus: int
    is_complete: bool
    keeps_xattrs: bool
    checks_permissions: bool
    base_ns: Integers
    """By class of operations."""
    bandwidth_bytes_per_s: int
    """0: unlimited."""


def _rules(recorded: Recorded, recording: Recording, system: System, tick_ns: int) -> _Rules:
    share = Share(system, recording, 0, recording.began_wall_ns)
    ticks, now_ns = Ticks(tick_ns), recorded.begin_ns

    def of(status: Status) -> tuple[int, int]:
        timeouts = share.timeouts(b"", status, now_ns)
        return _ticks(ticks, timeouts.entry_timeout_ns), _ticks(ticks, timeouts.attr_timeout_ns)

    statuses = [Status(mode, 0, 0, 1) for mode in recorded.modes]
    timeouts = np.array([of(each) for each in statuses], np.int64).reshape(-1, 2)
    entry_ticks, attr_ticks = of(UNKNOWN)
    return _Rules(
        tick_ns=tick_ns,
        entry_ticks=timeouts[:, 0].copy(),
        attr_ticks=timeouts[:, 1].copy(),
        keeps_pages=np.array([share.keeps_pages(each, now_ns) for each in statuses], np.int64),
        unknown_ticks=attr_ticks,
        unknown_entry_ticks=entry_ticks,
        negative_ticks=_ticks(ticks, share.negative_timeout_ns(b"", now_ns)),
        readdirplus=_READDIRPLUS_MODES[system.readdirplus],
        is_complete=system.policy.complete,
        keeps_xattrs=system.keeps_xattrs,
        checks_permissions=system.checks_permissions,
        base_ns=np.array(system.latency.base_ns, np.int64),
        bandwidth_bytes_per_s=system.latency.bandwidth_bytes_per_s or 0,
    )


def _ticks(ticks: Ticks, timeout_ns: int) -> int:
    """For how many ticks after the one in which it came an answer is valid; -1: not even in it."""
    return min(ticks.expiry(0, timeout_ns), _LONGEST_NS)


_MISSING, _NAMES, _LINK_FREE_NS = range(3)
_NO_DENTRY = -1


class _Kernel(NamedTuple):
    """What changes in a run: the guest's kernel, complete directories, the link, and counts."""

    # By place.
    dentry: Integers
    """The inode that a dentry leads to, NO_INODE for a negative one; _NO_DENTRY: there is none."""
    dentry_expiry: Integers
    in_set: Integers
    """1 where it is among the names that are known of its directory."""
    # By inode.
    is_kept: Integers
    """1 where the kernel has the inode at all."""
    expiry: Integers
    invalid: Integers
    object_bytes: Integers
    mtime_ns: Integers
    brought_by_listing: Integers
    place: Integers
    advised: Integers
    opened: Integers
    was_read: Integers
    names_known: Integers
    first_page: Integers
    age: Integers
    """Pages of another age are gone."""
    alone_until_ns: Integers
    shared_until_ns: Integers
    # By page, from first_page on.
    page_age: Integers
    # By thread and by handle.
    asked_for_xattrs: Integers
    is_listing: Integers
    # By operation.
    crossings: Integers
    hits: Integers
    added: Integers
    counts: Integers
    slots_free_ns: Integers
    """A heap of when each slot of the server is free; empty: there is no limit."""


def _kernel(recorded: Recorded, first_page: Integers, system: System) -> _Kernel:
    places, inodes = len(recorded.columns.place_directory), recorded.inodes

    def filled(count: int, value: int = 0) -> Integers:
        return np.full(count, value, np.int64) if value else np.zeros(count, np.int64)

    return _Kernel(
        dentry=filled(places, _NO_DENTRY),
        dentry_expiry=filled(places, -1),
        in_set=filled(places),
        is_kept=filled(inodes),
        expiry=filled(inodes, -1),
        invalid=filled(inodes, ALL),
        object_bytes=filled(inodes, -1),
        mtime_ns=filled(inodes, -1),
        brought_by_listing=filled(inodes),
        place=filled(inodes, -1),
        advised=filled(inodes),
        opened=filled(inodes),
        was_read=filled(inodes),
        names_known=filled(inodes),
        first_page=first_page,
        age=filled(inodes, 1),
        alone_until_ns=filled(inodes),
        shared_until_ns=filled(inodes),
        page_age=np.zeros(int(first_page[-1]), np.int32),
        asked_for_xattrs=filled(len(recorded.threads)),
        is_listing=filled(recorded.handles),
        crossings=filled(_OPERATIONS),
        hits=filled(_OPERATIONS),
        added=filled(_OPERATIONS),
        counts=filled(3),
        slots_free_ns=filled(system.latency.served_at_once or 0),
    )


@compiled_without_allocation
def _run(
    c: Columns,
    inferred: Inferred,
    rules: _Rules,
    k: _Kernel,
    think_ns: Integers,
    waits: Integers,
    starts: Integers,
    followers: Integers,
    thinks: Integers,
    begin_ns: int,
    ready_ns: Integers,
    due: Integers,
    follows: Integers,
) -> int:
    """Ask all questions, each in its turn; returns when the last answer has come."""
    _attributes(rules, k, ROOT, rules.unknown_ticks, -1, -1, begin_ns)
    count = len(c.operation)
    size = 0
    for edge in range(len(followers)):
        follows[followers[edge]] |= thinks[edge]
    for index in range(count):
        if not follows[index]:
            ready_ns[index] += think_ns[index]
        if not waits[index]:
            size = _push(due, size, ready_ns, index)
    ends_ns = begin_ns
    while size:
        index = due[0]
        size = _pop(due, size, ready_ns)
        end_ns = _ask(c, inferred, rules, k, index, ready_ns[index])
        ends_ns = max(ends_ns, end_ns)
        for edge in range(starts[index], starts[index + 1]):
            follower = followers[edge]
            from_ns = end_ns + think_ns[follower] if thinks[edge] else end_ns
            ready_ns[follower] = max(ready_ns[follower], from_ns)
            waits[follower] -= 1
            if not waits[follower]:
                size = _push(due, size, ready_ns, follower)
    return ends_ns


@compiled_without_allocation
def _comes_before(ready_ns: Integers, one: int, other: int) -> bool:
    if ready_ns[one] != ready_ns[other]:
        return ready_ns[one] < ready_ns[other]  # type: ignore[no-any-return]
    return one < other


@compiled_without_allocation
def _push(due: Integers, size: int, ready_ns: Integers, index: int) -> int:
    at = size
    while at and _comes_before(ready_ns, index, due[(at - 1) // 2]):
        due[at] = due[(at - 1) // 2]
        at = (at - 1) // 2
    due[at] = index
    return size + 1


@compiled_without_allocation
def _pop(due: Integers, size: int, ready_ns: Integers) -> int:
    size -= 1
    index, at = due[size], 0
    while 2 * at + 1 < size:
        child = 2 * at + 1
        if child + 1 < size and _comes_before(ready_ns, due[child + 1], due[child]):
            child += 1
        if not _comes_before(ready_ns, due[child], index):
            break
        due[at] = due[child]
        at = child
    due[at] = index
    return size


# One question


@compiled_without_allocation
def _ask(c: Columns, inferred: Inferred, rules: _Rules, k: _Kernel, index: int, now_ns: int) -> int:
    """When its thread has its answer."""
    operation, inode = c.operation[index], c.inode[index]
    kind = KINDS[operation]
    if kind & UNAWAITED_BIT:
        k.crossings[operation] += 1
        if operation == _RELEASE:
            k.opened[inode] -= 1
            if not k.opened[inode]:
                k.was_read[inode] = 0
        return now_ns
    if rules.checks_permissions:
        now_ns = _check_before(c, inferred, rules, k, index, now_ns)
    now_ns = _ask_for_capabilities(c, rules, k, index, now_ns)
    if operation == _LOOKUP:
        return _look_up(c, inferred, rules, k, index, now_ns)
    if _is_hit(c, rules, k, index, now_ns):
        k.hits[operation] += 1
        if operation == _READ:
            k.was_read[inode] = 1
        return now_ns
    if kind & LISTS:
        return _list(c, inferred, rules, k, index, now_ns)
    now_ns = _wait_for_locks(c, k, index, now_ns)
    now_ns = _cross(rules, k, operation, c.size_bytes[index], now_ns)
    _hold_locks(c, k, index, now_ns)
    if c.error[index] == NO_ERROR:
        _learn(c, rules, k, index, now_ns)
        if rules.checks_permissions:
            now_ns = _check_after(c, inferred, rules, k, index, now_ns)
    return now_ns


@compiled_without_allocation
def _cross(rules: _Rules, k: _Kernel, operation: int, size_bytes: int, now_ns: int) -> int:
    """When the answer to a crossing is there, by model.latency.LatencyModel."""
    k.crossings[operation] += 1
    cost_ns = rules.base_ns[CLASSES[operation]]
    slots = k.slots_free_ns
    start_ns = max(now_ns, slots[0]) if len(slots) else now_ns
    if size_bytes and rules.bandwidth_bytes_per_s:
        taken_ns = size_bytes * _NS_PER_S // rules.bandwidth_bytes_per_s
        start_ns = max(start_ns, k.counts[_LINK_FREE_NS]) + taken_ns
        k.counts[_LINK_FREE_NS] = start_ns
    due_ns = start_ns + cost_ns
    if len(slots):
        at = 0
        while 2 * at + 1 < len(slots):
            child = 2 * at + 1
            if child + 1 < len(slots) and slots[child + 1] < slots[child]:
                child += 1
            if slots[child] >= due_ns:
                break
            slots[at] = slots[child]
            at = child
        slots[at] = due_ns
    return due_ns  # type: ignore[no-any-return]


# Locks, as in inode_locks.py


@compiled_without_allocation
def _wait_for_locks(c: Columns, k: _Kernel, index: int, now_ns: int) -> int:
    operation, inode, kind = c.operation[index], c.inode[index], KINDS[c.operation[index]]
    if kind & (ALONE | SHARED):
        now_ns = max(now_ns, k.alone_until_ns[inode])
    if kind & ALONE:
        now_ns = max(now_ns, k.shared_until_ns[inode])
    if operation == _RENAME:
        to = c.found[index]
        now_ns = max(now_ns, k.alone_until_ns[to], k.shared_until_ns[to])
    return now_ns


@compiled_without_allocation
def _hold_locks(c: Columns, k: _Kernel, index: int, end_ns: int) -> None:
    operation, inode, kind = c.operation[index], c.inode[index], KINDS[c.operation[index]]
    if kind & ALONE:
        k.alone_until_ns[inode] = max(k.alone_until_ns[inode], end_ns)
    elif kind & SHARED:
        k.shared_until_ns[inode] = max(k.shared_until_ns[inode], end_ns)
    if operation == _RENAME:
        to = c.found[index]
        k.alone_until_ns[to] = max(k.alone_until_ns[to], end_ns)


@compiled_without_allocation
def _look_up(
    c: Columns, inferred: Inferred, rules: _Rules, k: _Kernel, index: int, now_ns: int
) -> int:
    parent, place, error = c.inode[index], c.place[index], c.error[index]
    to = k.dentry[place]
    if (
        to != _NO_DENTRY
        and k.dentry_expiry[place] >= now_ns // rules.tick_ns
        and inferred.role[index] != EXCLUSIVE
    ):
        if k.is_kept[to] and k.brought_by_listing[to]:
            k.brought_by_listing[to] = 0
            k.advised[parent] = 1
        k.hits[_LOOKUP] += 1
        return _check_after(c, inferred, rules, k, index, now_ns)
    size_bytes = 0
    if error == ENOENT:
        if rules.is_complete and k.names_known[parent] and not k.in_set[place]:
            k.counts[_NAMES] += 1
            _negative(rules, k, place, now_ns)
            return now_ns
        if rules.is_complete:
            size_bytes = _read_names(c, inferred, k, parent, index)
        k.counts[_MISSING] += 1
    if to > 0:  # which is revalidated
        now_ns = _cross(rules, k, _LOOKUP, size_bytes, now_ns)
    else:
        now_ns = _wait_for_locks(c, k, index, now_ns)
        now_ns = _cross(rules, k, _LOOKUP, size_bytes, now_ns)
        _hold_locks(c, k, index, now_ns)
    if error == ENOENT:
        _negative(rules, k, place, now_ns)
    elif error == NO_ERROR:
        _keep_entry(c, rules, k, index, now_ns)
        k.advised[parent] = 1
    return _check_after(c, inferred, rules, k, index, now_ns)


@compiled_without_allocation
def _negative(rules: _Rules, k: _Kernel, place: int, now_ns: int) -> None:
    k.dentry[place] = 0
    k.dentry_expiry[place] = _expiry(rules, rules.negative_ticks, now_ns)


@compiled_without_allocation
def _expiry(rules: _Rules, ticks: int, now_ns: int) -> int:
    return now_ns // rules.tick_ns + ticks if ticks >= 0 else -1


@compiled_without_allocation
def _keep_entry(c: Columns, rules: _Rules, k: _Kernel, index: int, now_ns: int) -> None:
    """By the answer to the question number *index*, which names something."""
    _entry(c, rules, k, c.place[index], c.found[index], index, now_ns)


@compiled_without_allocation
def _entry(
    c: Columns, rules: _Rules, k: _Kernel, place: int, inode: int, told_by: int, now_ns: int
) -> None:
    """*place* leads to *inode*, of the status that question *told_by* was answered; -1: unknown."""
    if told_by >= 0:
        entry_ticks = rules.entry_ticks[c.mode[told_by]]
        attr_ticks = rules.attr_ticks[c.mode[told_by]]
        object_bytes, mtime_ns = c.object_bytes[told_by], c.mtime_ns[told_by]
    else:
        entry_ticks, attr_ticks = rules.unknown_entry_ticks, rules.unknown_ticks
        object_bytes, mtime_ns = -1, -1
    k.dentry[place] = inode
    k.dentry_expiry[place] = _expiry(rules, entry_ticks, now_ns)
    _attributes(rules, k, inode, attr_ticks, object_bytes, mtime_ns, now_ns)
    k.place[inode] = place


@compiled_without_allocation
def _attributes(
    rules: _Rules, k: _Kernel, inode: int, ticks: int, size_bytes: int, mtime_ns: int, now_ns: int
) -> None:
    """An answer tells what *inode* is like; a size or an mtime that is another drops its pages."""
    k.is_kept[inode] = 1
    if size_bytes >= 0:
        if k.object_bytes[inode] >= 0 and (
            k.object_bytes[inode] != size_bytes or k.mtime_ns[inode] != mtime_ns
        ):
            k.age[inode] += 1
        k.object_bytes[inode], k.mtime_ns[inode] = size_bytes, mtime_ns
    k.invalid[inode] = 0
    k.expiry[inode] = _expiry(rules, ticks, now_ns)


@compiled_without_allocation
def _has_attributes(rules: _Rules, k: _Kernel, inode: int, wanted: int, now_ns: int) -> bool:
    if not k.is_kept[inode] or k.invalid[inode] & wanted:
        return False
    return k.expiry[inode] >= now_ns // rules.tick_ns  # type: ignore[no-any-return]


@compiled_without_allocation
def _invalidate(k: _Kernel, inode: int, mask: int) -> None:
    if k.is_kept[inode]:
        k.invalid[inode] |= mask


@compiled_without_allocation
def _is_hit(c: Columns, rules: _Rules, k: _Kernel, index: int, now_ns: int) -> bool:
    operation, inode = c.operation[index], c.inode[index]
    if operation == _GETATTR:
        wanted = CONTENT if _is_of_a_read(c, k, index) else ALL
        return _has_attributes(rules, k, inode, wanted, now_ns)
    if operation == _ACCESS:
        return rules.checks_permissions
    if operation != _READ or not k.is_kept[inode]:
        return False
    first, end = _pages(c, k, index)
    while first < end and k.page_age[first] == k.age[inode]:
        first += 1
    return first >= end


@compiled_without_allocation
def _pages(c: Columns, k: _Kernel, index: int) -> tuple[int, int]:
    first = k.first_page[c.inode[index]]
    offset_bytes = c.offset_bytes[index]
    end = -(-(offset_bytes + c.size_bytes[index]) // PAGE_BYTES)
    return first + offset_bytes // PAGE_BYTES, first + end


@compiled_without_allocation
def _is_of_a_read(c: Columns, k: _Kernel, index: int) -> bool:
    inode = c.inode[index]
    if c.call[index] & NAMED:
        return c.call[index] & WANTS_SIZE != 0  # type: ignore[no-any-return]
    if not k.opened[inode]:
        return False
    if k.was_read[inode]:
        return True
    then = index + 1
    return then < len(c.operation) and c.operation[then] == _READ and c.inode[then] == inode


@compiled_without_allocation
def _learn(c: Columns, rules: _Rules, k: _Kernel, index: int, now_ns: int) -> None:
    """What the guest's kernel makes of the answer to what crossed."""
    operation, inode, found = c.operation[index], c.inode[index], c.found[index]
    if operation in (_GETATTR, _SETATTR):
        size_bytes, mtime_ns = c.object_bytes[index], c.mtime_ns[index]
        ticks = rules.attr_ticks[c.mode[index]]
        _attributes(rules, k, inode, ticks, size_bytes, mtime_ns, now_ns)
        if operation == _SETATTR and c.is_directory[index] and c.call[index] & SETS_MODE:
            place = k.place[inode]
            if place >= 0 and k.dentry[place] == inode:
                k.dentry_expiry[place] = -1
    elif operation == _OPENDIR:
        k.is_listing[c.handle[index]] = 0
    elif operation == _OPEN:
        if not rules.keeps_pages[c.mode[index]]:
            k.is_kept[inode] = 1
            k.age[inode] += 1
        k.opened[inode] += 1
    elif operation == _READ:
        _read_or_wrote(c, k, index, ATIME)
        k.was_read[inode] = 1
    elif operation == _WRITE:
        _read_or_wrote(c, k, index, CONTENT)
        if k.object_bytes[inode] >= 0:
            end_bytes = c.offset_bytes[index] + c.size_bytes[index]
            k.object_bytes[inode] = max(k.object_bytes[inode], end_bytes)
    elif KINDS[operation] & MAKES:
        _keep_entry(c, rules, k, index, now_ns)
        _invalidate(k, inode, ALL)
        k.in_set[c.place[index]] |= k.names_known[inode]
        if operation == _CREATE:
            k.opened[found] += 1
    elif KINDS[operation] & TAKES:
        place = c.place[index]
        if k.dentry[place] > 0:
            _invalidate(k, k.dentry[place], MODE)
        k.dentry[place] = _NO_DENTRY
        _invalidate(k, inode, ALL)
    elif operation == _RENAME:
        _renamed(k, c.place[index], c.new_place[index])
        _invalidate(k, inode, ALL)
        _invalidate(k, found, ALL)
        k.in_set[c.new_place[index]] |= k.names_known[found]


@compiled_without_allocation
def _read_or_wrote(c: Columns, k: _Kernel, index: int, invalid: int) -> None:
    inode = c.inode[index]
    k.is_kept[inode] = 1
    first, end = _pages(c, k, index)
    for page in range(first, end):
        k.page_age[page] = k.age[inode]
    k.invalid[inode] |= invalid


@compiled_without_allocation
def _renamed(k: _Kernel, place: int, new_place: int) -> None:
    """The dentry moves along; what it replaces goes."""
    moved, expiry = k.dentry[place], k.dentry_expiry[place]
    k.dentry[place] = _NO_DENTRY
    replaced = k.dentry[new_place]
    k.dentry[new_place] = _NO_DENTRY
    if replaced > 0:
        _invalidate(k, replaced, MODE)
    if moved != _NO_DENTRY:
        k.dentry[new_place], k.dentry_expiry[new_place] = moved, expiry
        k.is_kept[moved] = 1
        k.place[moved] = new_place
        _invalidate(k, moved, CTIME)


@compiled_without_allocation
def _list(
    c: Columns, inferred: Inferred, rules: _Rules, k: _Kernel, index: int, now_ns: int
) -> int:
    """A part of a listing, with attributes or without."""
    directory, handle = c.inode[index], c.handle[index]
    is_plus = rules.readdirplus == _ALWAYS
    if rules.readdirplus == _ADAPTIVE:
        is_plus = k.advised[directory] != 0 or not k.is_listing[handle]
        k.advised[directory] = 0
    k.is_listing[handle] = 1
    operation = _READDIRPLUS if is_plus else _READDIR
    now_ns = _wait_for_locks(c, k, index, now_ns)
    now_ns = _cross(rules, k, operation, c.size_bytes[index], now_ns)
    _hold_locks(c, k, index, now_ns)
    if c.error[index] != NO_ERROR:
        return now_ns
    _invalidate(k, directory, ATIME)
    if rules.is_complete:
        _read_names(c, inferred, k, directory, index)
    if not c.size_bytes[index]:
        k.is_listing[handle] = 0
    elif is_plus:
        for number in range(inferred.names[directory], inferred.names[directory + 1]):
            place = inferred.name_place[number]
            inode, told_by = _named(inferred, place, index)
            if inode:
                _entry(c, rules, k, place, inode, told_by, now_ns)
                k.brought_by_listing[inode] = 1
    return now_ns


@compiled_without_allocation
def _named(inferred: Inferred, place: int, index: int) -> tuple[int, int]:
    """What *place* leads to when question *index* is asked, and who told its status; -1: nobody.

    As recording.Recording.names().
    """
    first, end = inferred.mentions[place], inferred.mentions[place + 1]
    low, high = first, end
    while low < high:
        middle = (low + high) // 2
        if inferred.mention_at[middle] >= index:
            high = middle
        else:
            low = middle + 1
    told_by = inferred.mention_status[low - 1] if low > first else -1
    if low == end:
        return inferred.mention_after[end - 1], told_by
    if told_by < 0:
        told_by = inferred.mention_status[low]
    return inferred.mention_before[low], told_by


@compiled_without_allocation
def _read_names(c: Columns, inferred: Inferred, k: _Kernel, directory: int, index: int) -> int:
    """The names of *directory* are known, where they were not; the bytes that cross with them."""
    if k.names_known[directory]:
        return 0
    k.names_known[directory] = 1
    size_bytes = 0
    for number in range(inferred.names[directory], inferred.names[directory + 1]):
        place = inferred.name_place[number]
        if _named(inferred, place, index)[0]:
            k.in_set[place] = 1
            size_bytes += c.place_name_bytes[place] + DIRENT_BYTES
    return size_bytes


@compiled_without_allocation
def _ask_for_capabilities(c: Columns, rules: _Rules, k: _Kernel, index: int, now_ns: int) -> int:
    thread, operation = c.thread[index], c.operation[index]
    has_asked = k.asked_for_xattrs[thread] == c.inode[index]
    k.asked_for_xattrs[thread] = c.inode[index] if operation == _GETXATTR else 0
    is_change = operation == _WRITE or (operation == _SETATTR and c.call[index] & TRUNCATES != 0)
    if not rules.keeps_xattrs or not is_change or has_asked:
        return now_ns
    k.added[_GETXATTR] += 1
    return _cross(rules, k, _GETXATTR, 0, now_ns)


# Permissions, as in permissions.py


@compiled_without_allocation
def _check(rules: _Rules, k: _Kernel, inode: int, now_ns: int) -> int:
    if _has_attributes(rules, k, inode, MODE, now_ns):
        return now_ns
    k.added[_GETATTR] += 1
    now_ns = _cross(rules, k, _GETATTR, 0, now_ns)
    _attributes(rules, k, inode, rules.unknown_ticks, -1, -1, now_ns)
    return now_ns


@compiled_without_allocation
def _check_before(
    c: Columns, inferred: Inferred, rules: _Rules, k: _Kernel, index: int, now_ns: int
) -> int:
    operation, inode, kind = c.operation[index], c.inode[index], KINDS[c.operation[index]]
    if operation == _LOOKUP:
        return _check_lookup(c, inferred, rules, k, index, now_ns)
    if kind & (OF_ITSELF | OF_THE_PARENT):
        return _check(rules, k, inode, now_ns)
    if operation == _RENAME:
        return _check(rules, k, c.found[index], _check(rules, k, inode, now_ns))
    if operation == _LINK:
        return _check(rules, k, inode, _check(rules, k, c.found[index], now_ns))
    if operation == _SETATTR and c.call[index] & IS_TRUNCATE:
        return _check(rules, k, inode, now_ns)
    return now_ns


@compiled_without_allocation
def _check_lookup(
    c: Columns, inferred: Inferred, rules: _Rules, k: _Kernel, index: int, now_ns: int
) -> int:
    parent, role, then = c.inode[index], inferred.role[index], inferred.following[index]
    error = c.error[index]
    if role == RENAMED:
        is_target = error == NO_ERROR and then >= 0 and c.operation[then] == _LOOKUP
        target = c.inode[then] if is_target else parent
        return _check(rules, k, target, _check(rules, k, parent, now_ns))
    if role == EXCLUSIVE and c.call[index] & STARTS_RENAME:
        return now_ns
    goes_on_in_it = then >= 0 and c.inode[then] == c.found[index] and c.has_name[then]
    makes = not goes_on_in_it and error == NO_ERROR and c.call[index] & MAY_MAKE != 0
    if then >= 0 and c.operation[then] == _CREATE and c.place[then] == c.place[index]:
        makes = True
    is_known = k.dentry[c.place[index]] > 0
    now_ns = _check(rules, k, parent, now_ns)
    return _check(rules, k, parent, now_ns) if makes and not is_known else now_ns


@compiled_without_allocation
def _check_after(
    c: Columns, inferred: Inferred, rules: _Rules, k: _Kernel, index: int, now_ns: int
) -> int:
    if not rules.checks_permissions:
        return now_ns
    operation, role, then = c.operation[index], inferred.role[index], inferred.following[index]
    if operation == _CREATE:
        return _check(rules, k, c.found[index], now_ns)
    refused = False
    if role == LAST and c.found[index] and c.call[index] & REMOVES:
        refused = then < 0 or KINDS[c.operation[then]] & TAKES == 0
    elif role == EXCLUSIVE and c.error[index] != NO_ERROR and c.call[index] & LINKS:
        refused = then < 0 or c.operation[then] != _LINK
    return _check(rules, k, c.inode[index], now_ns) if refused else now_ns
