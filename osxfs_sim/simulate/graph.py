"""What each question had to wait for, as arrays: dependencies.py once more, compiled.

An edge leads from a question to one that may not come before its answer. Where it is causal, that
one comes a think time after it; it comes at the latest of all.
"""

from collections.abc import Iterable
from dataclasses import dataclass, replace

import numpy as np

from osxfs_sim.simulate import dependencies
from osxfs_sim.simulate.columns import CHANGES, KINDS, UNAWAITED_BIT, Columns, Integers, Recorded
from osxfs_sim.simulate.compiled import compiled
from osxfs_sim.simulate.dependencies import NOTHING, Dependencies, Order
from osxfs_sim.simulate.recording import Recording


@dataclass(frozen=True, slots=True)
class Graph:
    """An Order as arrays: of each question the edges to those that follow it."""

    think_ns: Integers
    """By question: how long after what it follows it comes."""
    waits: Integers
    """By question: how many edges lead to it."""
    starts: Integers
    """By question: where the edges from it begin; one more is the end of the last."""
    followers: Integers
    """By edge: the question that it leads to."""
    thinks: Integers
    """By edge: 1 where it is causal, else 0."""
    tail_ns: int
    """What the command computes after its last answer."""

    def scaled(self, scale: float) -> "Graph":
        """The same with all think times multiplied, and rounded to whole nanoseconds."""
        return replace(
            self,
            # As Python rounds: half to even.
            think_ns=np.rint(self.think_ns * scale).astype(np.int64),
            tail_ns=round(self.tail_ns * scale),
        )


def graph_of(recording: Recording, recorded: Recorded, by: Dependencies) -> Graph:
    """What each question of *recording* waits for; *recorded* are its columns.

    By threads and by objects without making an object for any question.
    """
    if by not in (Dependencies.THREADS, Dependencies.OBJECTS):
        return graph_of_order(dependencies.order(recording, by))
    columns, count = recorded.columns, len(recording)
    previous = _previous(columns, _by_end(columns), recorded.threads)
    ends_ns = columns.end_ns[previous] if count else columns.end_ns
    before_ns = np.where(previous == NOTHING, recorded.begin_ns, ends_ns)
    think_ns = np.maximum(0, columns.arrival_ns - before_ns)
    last_ns = int(columns.end_ns.max()) if count else recorded.begin_ns
    waits = (np.empty(0, np.int64),) * 2
    if by is Dependencies.OBJECTS:
        waits = _of_objects(columns, recorded.inodes)
    return _graph(previous, think_ns, *waits, max(0, recorded.end_ns - last_ns))


def graph_of_order(order: Order) -> Graph:
    """*order* as arrays."""
    edges = [(each, index) for index, those in enumerate(order.after) for each in those]
    before, after = _columns_of(edges)
    return _graph(
        np.array(order.previous, np.int64),
        np.array(order.think_ns, np.int64),
        before,
        after,
        order.tail_ns,
    )


def _columns_of(edges: Iterable[tuple[int, int]]) -> tuple[Integers, Integers]:
    pairs = np.array(list(edges), np.int64).reshape(-1, 2)
    return pairs[:, 0].copy(), pairs[:, 1].copy()


def _graph(
    previous: Integers, think_ns: Integers, before: Integers, after: Integers, tail_ns: int
) -> Graph:
    """*before* and *after* are the ends of edges that are not causal."""
    waits, starts, followers, thinks = _edges(previous, before, after)
    return Graph(think_ns, waits, starts, followers, thinks, tail_ns)


@compiled
def _edges(
    previous: Integers, before: Integers, after: Integers
) -> tuple[Integers, Integers, Integers, Integers]:
    """All edges, causal ones among them, by where they come from."""
    count = len(previous)
    waits, starts = np.zeros(count, np.int64), np.zeros(count + 1, np.int64)
    for index in range(count):
        if previous[index] >= 0:
            starts[previous[index] + 1] += 1
            waits[index] += 1
    for edge in range(len(before)):
        starts[before[edge] + 1] += 1
        waits[after[edge]] += 1
    starts = np.cumsum(starts)
    filled = starts[:count].copy()
    followers = np.empty(starts[count], np.int64)
    thinks = np.zeros(starts[count], np.int64)
    for index in range(count):
        if previous[index] >= 0:
            at = filled[previous[index]]
            followers[at], thinks[at] = index, 1
            filled[previous[index]] += 1
    for edge in range(len(before)):
        followers[filled[before[edge]]] = after[edge]
        filled[before[edge]] += 1
    return waits, starts, followers, thinks


def _by_end(columns: Columns) -> Integers:
    """The awaited questions by when they were answered, those of one moment by their numbers."""
    awaited = np.flatnonzero(KINDS[columns.operation] & UNAWAITED_BIT == 0)
    by_end: Integers = awaited[np.argsort(columns.end_ns[awaited], kind="stable")]
    return by_end


@compiled
def _previous(columns: Columns, by_end: Integers, threads: int) -> Integers:
    """As dependencies._previous(), without families."""
    previous = np.empty(len(columns.thread), np.int64)
    last = np.full(threads, -1, np.int64)
    passed = 0
    for index in range(len(previous)):
        thread = columns.thread[index]
        before = last[thread]
        if before < 0:
            moment_ns = columns.arrival_ns[index]
            while passed < len(by_end) and columns.end_ns[by_end[passed]] <= moment_ns:
                passed += 1
            before = by_end[passed - 1] if passed else -1
        previous[index] = before
        if not KINDS[columns.operation[index]] & UNAWAITED_BIT:
            last[thread] = index
    return previous


@compiled
def _of_objects(columns: Columns, inodes: int) -> tuple[Integers, Integers]:
    """As dependencies._of_objects(): edges that may come twice, and beside a causal one.

    Of each object and of each place there are two lists, in the order in which they came: the
    changes, and the looks.
    """
    count = len(columns.operation)
    keys = inodes + len(columns.place_directory)
    heads, tails = np.full(2 * keys, -1, np.int64), np.full(2 * keys, -1, np.int64)
    item, rest = np.empty(2 * count, np.int64), np.empty(2 * count, np.int64)
    items = 0
    before, after = np.empty(2 * count + 16, np.int64), np.empty(2 * count + 16, np.int64)
    edges = 0
    for index in range(count):
        now_ns = columns.arrival_ns[index]
        is_change = KINDS[columns.operation[index]] & CHANGES != 0
        first, second = columns.inode[index], -1
        if columns.has_name[index]:
            first = inodes + columns.place[index]
            second = columns.found[index] if columns.found[index] else -1
        for key in (first, second):
            if key < 0:
                continue
            changed, looked = 2 * key, 2 * key + 1
            done = -1
            each = heads[changed]
            while each >= 0:
                if columns.end_ns[item[each]] <= now_ns:
                    done = item[each]
                each = rest[each]
            since_ns = columns.arrival_ns[done] if done >= 0 else -1
            for which in (changed, looked):
                if which == looked and not is_change:
                    continue
                # What was answered before the last one that is done, that has waited for.
                kept, tail = -1, -1
                each = heads[which]
                while each >= 0:
                    following, number = rest[each], item[each]
                    is_of_it = which == changed and (done < 0 or number == done)
                    if is_of_it or columns.end_ns[number] > since_ns:
                        rest[each] = -1
                        if tail >= 0:
                            rest[tail] = each
                        else:
                            kept = each
                        tail = each
                        if columns.end_ns[number] <= now_ns:
                            if edges == len(before):
                                before = np.concatenate((before, np.empty_like(before)))
                                after = np.concatenate((after, np.empty_like(after)))
                            before[edges], after[edges] = number, index
                            edges += 1
                    each = following
                heads[which], tails[which] = kept, tail
            which = changed if is_change else looked
            item[items], rest[items] = index, -1
            if tails[which] >= 0:
                rest[tails[which]] = items
            else:
                heads[which] = items
            tails[which] = items
            items += 1
    return before[:edges].copy(), after[:edges].copy()
