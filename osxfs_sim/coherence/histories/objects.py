"""Partitions a history into parts that can be judged one by one: its objects.

Linearizability is local: a history of several objects is linearizable if and only if that of each
object is (Herlihy and Wing, theorem 1). With rename and link a name is no object: they touch
two names in one step. So an object is what is connected: two names belong together if some rename
or link names both, and so do a name and the directory that it lies in, if that directory is itself
changed in the history. What nothing connects, no operation of ours can tell apart in time.

A listing tells of many names, and no file system promises them as of one moment (readdir(3)
leaves open whether what is made or removed meanwhile is seen). So a listing is taken apart: each
name that the history knows was there or not at some moment of it, on its own. What is listed and
known to no other operation is a name from nowhere, and nothing explains it.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from osxfs_sim.coherence.actors.operations import ActorOperation, OperationResult
from osxfs_sim.coherence.actors.processes import OperationInterval
from osxfs_sim.coherence.histories.history import History, in_order
from osxfs_sim.coherence.histories.sessions import TWO_NAMES

_OF_NAMES = frozenset(
    {"create", "write", "unlink", "rename", "link", "mkdir", "rmdir", "chmod", "truncate"}
    | {"overwrite", "append"}
)


@dataclass(frozen=True, slots=True)
class Partition:
    """The part of a history that is about one object (porcupine's partition)."""

    names: tuple[str, ...]
    """The paths of the object, sorted."""
    operations: tuple[OperationInterval, ...]
    """The operations on it, ordered by their calls; ``sync`` is in every partition."""
    initial: Mapping[str, str]
    """Those of its files that were there before: path to content."""


def partition_by_object(history: History) -> list[Partition]:
    """*history* divided by object, in the order of first names; ``sync`` is in each part.

    ``sync`` is about all of them, and is in each.
    """
    joined = _joined(history)
    known = {name for name in joined if name}
    operations = taken_apart(history.operations, known)
    by_object: dict[str, list[OperationInterval]] = {}
    everywhere = []
    for interval in operations:
        operation = interval.operation
        if operation.act == "sync":
            everywhere.append(interval)
        else:
            name = operation.path or _name_of_handle(interval, operations)
            by_object.setdefault(_root(joined, name), []).append(interval)
    return [
        Partition(
            tuple(sorted(name for name in known if _root(joined, name) == root)),
            in_order((*found, *everywhere)),
            {
                name: content
                for name, content in history.initial.items()
                if _root(joined, name) == root
            },
        )
        for root, found in sorted(by_object.items())
    ]


def _joined(history: History) -> dict[str, str]:
    """Of each name another of the same object (or itself): a forest."""
    joined: dict[str, str] = {}
    names: set[str] = set(history.initial)
    changed: set[str] = set(history.initial)
    for interval in history.operations:
        operation = interval.operation
        given = [operation.path]
        if operation.act in TWO_NAMES:
            given.append(operation.to)
        names.update(given)
        if operation.act in _OF_NAMES:
            changed.update(given)
        if operation.act == "list":
            for name in interval.outcome.value or ():
                names.add(f"{operation.path}/{name}" if operation.path else name)
    for name in names:
        joined.setdefault(name, name)
    for name in names:
        parent = name.rpartition("/")[0]
        while parent:
            if parent in changed:
                _join(joined, name, parent)
            parent = parent.rpartition("/")[0]
    for interval in history.operations:
        if interval.operation.act in TWO_NAMES:
            _join(joined, interval.operation.path, interval.operation.to)
    return joined


def _root(joined: Mapping[str, str], name: str) -> str:
    while joined.get(name, name) != name:
        name = joined[name]
    return name


def _join(joined: dict[str, str], one: str, other: str) -> None:
    joined.setdefault(one, one)
    joined.setdefault(other, other)
    one, other = sorted((_root(joined, one), _root(joined, other)))
    joined[other] = one


def _name_of_handle(interval: OperationInterval, operations: Sequence[OperationInterval]) -> str:
    """The path at which the handle of *interval* was last made by its process."""
    handle = interval.operation.handle
    return next(
        (
            each.operation.path
            for each in reversed(operations)
            if each.actor == interval.actor
            and each.operation.handle == handle
            and each.operation.path
            and each.call_ns <= interval.call_ns
        ),
        "",
    )


def taken_apart(
    operations: Iterable[OperationInterval], known: Iterable[str]
) -> list[OperationInterval]:
    """*operations* with each listing as one ``opendir`` and an ``entry`` per *known* name in it."""
    found: list[OperationInterval] = []
    for interval in operations:
        operation, outcome = interval.operation, interval.outcome
        if operation.act != "list":
            found.append(interval)
            continue
        if operation.path:
            found.append(
                replace(
                    interval,
                    operation=ActorOperation("opendir", operation.path),
                    outcome=OperationResult(error=outcome.error),
                )
            )
        if outcome.error is not None:
            continue
        listed = set(outcome.value)
        prefix = f"{operation.path}/" if operation.path else ""
        found += [
            replace(
                interval,
                operation=ActorOperation("entry", name),
                outcome=OperationResult(name.removeprefix(prefix) in listed),
            )
            for name in sorted(known)
            if name.rpartition("/")[0] == operation.path
        ]
    return found
