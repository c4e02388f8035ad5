"""Has a programme performed by processes of both sides at once, and records the history.

At the end all processes have stopped, and the process that mounted the share flushes what is dirty.
The first guest reads every name, the host changes some for the last time, and then both read once
more: whatever is lost shows here at the latest, and a missing invalidation shows here alone, if
they wait until no answer may be stale any more.
"""

import contextlib
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from osxfs_sim.coherence.actors.operations import ActorOperation, OperationResult
from osxfs_sim.coherence.actors.processes import Actor, OperationInterval
from osxfs_sim.coherence.histories.generate import Programme
from osxfs_sim.coherence.histories.history import HOST, SHARE, Grain, History

Flush = Callable[[], Any]
"""Waits until everything that the guests have changed is on the host."""


def record(
    programme: Programme,
    host: Path,
    guest: Path,
    flush: Flush | None = None,
    *,
    settle_ns: int = 0,
    about: Mapping[str, Any] | None = None,
) -> History:
    """Perform *programme* on both sides of an empty share; its History. Raises UserError, OSError.

    *settle_ns* are waited before the final reads: until host events have come, and no stale answer
    is allowed any more. *about* goes into the history. Raises UserError where a process does not
    answer.
    """
    for path, content in programme.initial.items():
        (host / path).write_text(content)
        (host / path).chmod(0o644 & ~process_umask())
    grain = Grain.DIRECTORY if host == guest else Grain.SHARE
    interval: list[OperationInterval] = []
    with contextlib.ExitStack() as processes:
        actors = {
            name: processes.enter_context(Actor(name, host if name == HOST else guest))
            for name in programme.batches
        }
        for name, batch in programme.batches.items():
            actors[name].start(batch)
        for actor in actors.values():
            interval += actor.finish()
        if flush is not None:
            interval.append(flushed(flush))
        first = next(name for name in actors if name != HOST)
        if programme.last:
            interval += actors[first].play(final_reads(programme.names))
            interval += actors[HOST].play(programme.last)
        interval += actors[HOST].play([ActorOperation("wait", pause_ns=settle_ns)])
        for name in (HOST, first):
            interval += actors[name].play(final_reads(programme.names))
    known = [each for each in interval if each.operation.act != "wait"]
    return History.of(
        known,
        grain=grain,
        initial=programme.initial,
        umask=process_umask(),
        about=about or {},
    )


def final_reads(names: tuple[str, ...]) -> list[ActorOperation]:
    """The operations that read everything: list the root, stat and read each of *names*."""
    return [
        ActorOperation("list"),
        *(ActorOperation(act, name) for name in names for act in ("stat", "read")),
    ]


def flushed(flush: Flush) -> OperationInterval:
    """Call *flush*, and return the interval of that as a ``sync`` of the share; its errors pass."""
    call_ns = time.monotonic_ns()
    flush()
    return OperationInterval(
        SHARE, ActorOperation("sync"), call_ns, time.monotonic_ns(), OperationResult()
    )


def process_umask() -> int:
    """The umask of this process, read without setting it. Raises AssertionError if not told."""
    for line in Path("/proc/self/status").read_text().splitlines():
        key, _, value = line.partition(":")
        if key == "Umask":
            return int(value, 8)
    raise AssertionError("the kernel tells no Umask")
