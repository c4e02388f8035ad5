"""Has a programme performed by processes of both sides at once, and takes down what they say.

At the end everybody has stopped, and whoever mounted the share has the host take what is held. The
first guest looks at every name, the host changes some for the last time, and then both look once
more: whatever is lost shows here at the latest, and what is never told shows here alone, if they
wait until nothing may be old any more.
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
"""Waits until the host has everything that the guests have changed."""


def record(
    programme: Programme,
    host: Path,
    guest: Path,
    flush: Flush | None = None,
    *,
    settle_ns: int = 0,
    about: Mapping[str, Any] | None = None,
) -> History:
    """Perform *programme* in the two sides of an empty share; the same directory twice is native.

    *settle_ns* are waited before the last looks: until host events have come, and nobody may still
    be told what was before. Raises UserError where a process does not answer.
    """
    for path, content in programme.initial.items():
        (host / path).write_text(content)
        (host / path).chmod(0o644 & ~process_umask())
    grain = Grain.DIRECTORY if host == guest else Grain.SHARE
    performed: list[OperationInterval] = []
    with contextlib.ExitStack() as processes:
        actors = {
            name: processes.enter_context(Actor(name, host if name == HOST else guest))
            for name in programme.lots
        }
        for name, lot in programme.lots.items():
            actors[name].start(lot)
        for actor in actors.values():
            performed += actor.finish()
        if flush is not None:
            performed.append(flushed(flush))
        first = next(name for name in actors if name != HOST)
        if programme.last:
            performed += actors[first].play(last_looks(programme.names))
            performed += actors[HOST].play(programme.last)
        performed += actors[HOST].play([ActorOperation("wait", pause_ns=settle_ns)])
        for name in (HOST, first):
            performed += actors[name].play(last_looks(programme.names))
    known = [each for each in performed if each.operation.act != "wait"]
    return History.of(
        known,
        grain=grain,
        initial=programme.initial,
        umask=process_umask(),
        about=about or {},
    )


def last_looks(names: tuple[str, ...]) -> list[ActorOperation]:
    """One look at everything."""
    return [
        ActorOperation("list"),
        *(ActorOperation(act, name) for name in names for act in ("stat", "read")),
    ]


def flushed(flush: Flush) -> OperationInterval:
    """Have it done; when it was."""
    call_ns = time.monotonic_ns()
    flush()
    return OperationInterval(
        SHARE, ActorOperation("sync"), call_ns, time.monotonic_ns(), OperationResult()
    )


def process_umask() -> int:
    """The mask of this process, which its actors inherit."""
    for line in Path("/proc/self/status").read_text().splitlines():
        key, _, value = line.partition(":")
        if key == "Umask":
            return int(value, 8)
    raise AssertionError("the kernel tells no Umask")
