"""What each question had to wait for, as arrays: dependencies.py once more, compiled.

An edge leads from a question to one that may not come before its answer. Where it is causal, that
one comes a think time after it; it comes at the latest of all.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from osxfs_sim.simulate import dependencies
from osxfs_sim.simulate.columns import CHANGES, KINDS, UNAWAITED_BIT, Columns, Integers, Recorded
from osxfs_sim.simulate.compiled import compiled
from osxfs_sim.simulate.dependencies import NOTHING, Dependencies, Families, Order
from osxfs_sim.simulate.recording import Recording

_Pairs = tuple[Integers, Integers]


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
    previous = _previous(columns, _by_end(columns), len(recorded.threads))
    causes = _no_edges()
    after = _no_edges()
    if by is Dependencies.OBJECTS:
        causes = _of_families(recording, recorded, previous)
        after = _of_objects(columns, recorded.inodes)
    ends_ns = columns.end_ns[previous] if count else columns.end_ns
    since_ns = np.where(previous == NOTHING, recorded.begin_ns, ends_ns)
    np.maximum.at(since_ns, causes[1], columns.end_ns[causes[0]])
    think_ns = np.maximum(0, columns.arrival_ns - since_ns)
    last_ns = int(columns.end_ns.max()) if count else recorded.begin_ns
    return _graph(previous, causes, think_ns, after, max(0, recorded.end_ns - last_ns))


def _of_families(recording: Recording, recorded: Recorded, previous: Integers) -> _Pairs:
    """Edges to what follows a process that it has waited for; *previous* is put right for firsts.

    By the very object that the reference asks, of columns.
    """
    columns = recorded.columns
    if not len(recording):
        return _no_edges()
    is_awaited = KINDS[columns.operation] & UNAWAITED_BIT == 0
    by_thread = np.argsort(columns.thread, kind="stable")
    cuts = np.searchsorted(columns.thread[by_thread], np.arange(1, len(recorded.threads)))
    asked: dict[int, list[int]] = {}
    firsts: list[tuple[int, int]] = []
    for thread, of_thread in zip(recorded.threads, np.split(by_thread, cuts), strict=True):
        awaited = of_thread[is_awaited[of_thread]]
        if len(awaited):
            asked[thread] = awaited.tolist()
        until = awaited[0] if len(awaited) else len(recording)
        firsts += [(index, thread) for index in of_thread[of_thread <= until].tolist()]
    families = Families(recording.header.threads, asked, columns.arrival_ns, columns.end_ns)  # type: ignore[arg-type]
    for index, thread in sorted(firsts):
        previous[index] = families.origin(index, thread, int(previous[index]))
    return _columns_of((last, then) for then, last in families.waits(previous).items())  # type: ignore[arg-type]


def graph_of_order(order: Order) -> Graph:
    """*order* as arrays."""

    def edges(of: Sequence[Iterable[int]]) -> _Pairs:
        return _columns_of((each, index) for index, those in enumerate(of) for each in those)

    return _graph(
        np.array(order.previous, np.int64),
        edges(order.causes),
        np.array(order.think_ns, np.int64),
        edges(order.after),
        order.tail_ns,
    )


def _no_edges() -> _Pairs:
    return np.empty(0, np.int64), np.empty(0, np.int64)


def _columns_of(edges: Iterable[tuple[int, int]]) -> _Pairs:
    pairs = np.array(list(edges), np.int64).reshape(-1, 2)
    return pairs[:, 0].copy(), pairs[:, 1].copy()


def _graph(
    previous: Integers, causes: _Pairs, think_ns: Integers, after: _Pairs, tail_ns: int
) -> Graph:
    """*causes* and *after* are edges: where they begin, and where they end."""
    follows = np.flatnonzero(previous != NOTHING)
    causal = np.concatenate((previous[follows], causes[0]))
    caused = np.concatenate((follows, causes[1]))
    waits, starts, followers, thinks = _edges(len(previous), causal, caused, *after)
    return Graph(think_ns, waits, starts, followers, thinks, tail_ns)


@compiled
def _edges(
    count: int, causal: Integers, caused: Integers, before: Integers, after: Integers
) -> tuple[Integers, Integers, Integers, Integers]:
    """All edges, causal ones and others, by where they begin."""
    waits, starts = np.zeros(count, np.int64), np.zeros(count + 1, np.int64)
    for edge in range(len(causal)):
        starts[causal[edge] + 1] += 1
        waits[caused[edge]] += 1
    for edge in range(len(before)):
        starts[before[edge] + 1] += 1
        waits[after[edge]] += 1
    starts = np.cumsum(starts)
    filled = starts[:count].copy()
    followers = np.empty(starts[count], np.int64)
    thinks = np.zeros(starts[count], np.int64)
    for edge in range(len(causal)):
        at = filled[causal[edge]]
        followers[at], thinks[at] = caused[edge], 1
        filled[causal[edge]] += 1
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
