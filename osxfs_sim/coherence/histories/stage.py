"""Empty places on one share, one for each run, and the playing of schedules in them.

A share takes a second to mount and a directory in it a millisecond. Names that no process has
looked up yet are in no cache, so a new directory is as good as a new share.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Self

from osxfs_sim.coherence.actors.operations import ActorOperation
from osxfs_sim.coherence.actors.processes import Actor, OperationInterval
from osxfs_sim.coherence.actors.staging import ScheduleStep
from osxfs_sim.coherence.histories.history import SHARE, Grain, History, is_guest
from osxfs_sim.coherence.histories.record import Flush, flushed, process_umask


class Places:
    """Makes empty directories in the two sides of a share (or in one), for a ``with`` block."""

    def __init__(self, host: Path, guest: Path, flush: Flush | None = None) -> None:
        self._host, self._guest, self._flush = host, guest, flush
        self._names = (f"place-{number}" for number in count())
        self._processes = ExitStack()
        self._actors: dict[str, Actor] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._processes.close()

    def sides(self) -> tuple[Path, Path]:
        """Make a new empty directory by the guest; its host's and guest's paths. Raises OSError."""
        name = self._new()
        return self._host / name, self._guest / name

    def _new(self) -> str:
        name = next(self._names)
        # By the guest: its kernel then has the dentry, whatever else it caches of the directory.
        (self._guest / name).mkdir()
        if self._flush is not None:
            self._flush()
        return name

    def play(self, schedule: Sequence[ScheduleStep]) -> History:
        """Perform *schedule* step by step in a new directory; its History. Raises UserError.

        Raises UserError where a process does not answer.
        The processes are the same from one schedule to the next: they take long to start.
        """
        place = self._new()
        grain = Grain.DIRECTORY if self._host == self._guest else Grain.SHARE
        interval: list[OperationInterval] = []
        for name, operation in schedule:
            if name != SHARE:
                done = self._actor(name).do(_within(place, operation))
                interval.append(replace(done, operation=operation))
            elif self._flush is not None:
                interval.append(flushed(self._flush))
        return History.of(interval, grain=grain, umask=process_umask())

    def _actor(self, name: str) -> Actor:
        if name not in self._actors:
            root = self._guest if is_guest(name) else self._host
            self._actors[name] = self._processes.enter_context(Actor(name, root))
        return self._actors[name]


def _within(place: str, operation: ActorOperation) -> ActorOperation:
    """The operation in the directory *place*; one by a handle is where the handle is."""
    path = operation.path
    if path or operation.act == "list":
        path = f"{place}/{path}" if path else place
    to = f"{place}/{operation.to}" if operation.to else ""
    return replace(operation, path=path, to=to)
