"""Empty places on one share, one for each run, and the playing of schedules in them.

A share takes a second to mount and a directory in it a millisecond. Names that nobody has looked
at yet are in no cache, so a new directory is as good as a new share.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from itertools import count
from pathlib import Path

from osxfs_sim.coherence.actors import Actor, Performed
from osxfs_sim.coherence.histories.history import SHARE, Grain, History, is_guest
from osxfs_sim.coherence.histories.record import Flush, flushed, process_umask
from osxfs_sim.coherence.histories.schedules import Step


class PlainStage:
    """Directories named after *name* in the two sides of a share (or in one directory)."""

    def __init__(self, host: Path, guest: Path, flush: Flush | None, name: str) -> None:
        self._host, self._guest, self._flush = host, guest, flush
        self._names = (f"{name}.{number}" for number in count())

    def sides(self) -> tuple[Path, Path]:
        """A new empty directory, as host and guest have it."""
        name = next(self._names)
        # By the guest: its kernel then knows of it whatever it believes of the directory above.
        (self._guest / name).mkdir()
        if self._flush is not None:
            self._flush()
        return self._host / name, self._guest / name

    def play(self, schedule: Sequence[Step]) -> History:
        """Perform *schedule* in a new directory, one step after the other. Raises ActorError."""
        host, guest = self.sides()
        grain = Grain.DIRECTORY if host == guest else Grain.SHARE
        performed: list[Performed] = []
        with ExitStack() as processes:
            actors: dict[str, Actor] = {}
            for name, operation in schedule:
                if name == SHARE:
                    if self._flush is not None:
                        performed.append(flushed(self._flush))
                    continue
                if name not in actors:
                    root = guest if is_guest(name) else host
                    actors[name] = processes.enter_context(Actor(name, root))
                performed.append(actors[name].do(operation))
        return History.of(performed, grain=grain, umask=process_umask())
