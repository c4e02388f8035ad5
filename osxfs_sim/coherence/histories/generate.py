"""Makes a random programme: what each process of host and guest does, and its pauses between.

The programme follows from the Random that is passed in, and from nothing else; the times at which
it is then performed do not. Every content is written once, so that what is read tells which
operation wrote it.
"""

import enum
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from random import Random

from osxfs_sim.coherence.actors.operations import ActorOperation
from osxfs_sim.coherence.histories.history import HOST

LONGEST_PAUSE_NS = 2_000_000
_MAPPED_BYTES = 16
_MODES = (0o600, 0o640, 0o644, 0o700, 0o755)
_LAST_MODE = 0o704  # none of those, and others can still read
_FIRST_LETTERS = "abcdefghijklmnopqrstuvwxyz"
MOST_OBJECTS = len(_FIRST_LETTERS)


class Writers(enum.StrEnum):
    """Which processes change an object; the others only read it."""

    GUESTS = "guests"
    HOST = "host"
    ALL = "all"


@dataclass(frozen=True, slots=True)
class Programme:
    """What each actor does, in order.

    Nothing is changed after *last*: a guest that never gets an invalidation for it goes on reading
    the old state from its cache.
    """

    batches: Mapping[str, tuple[ActorOperation, ...]]
    """What each actor does, in order."""
    initial: Mapping[str, str]
    """The files that are there before: path to content."""
    last: tuple[ActorOperation, ...] = ()
    """What the host changes when all batches are done and a guest has read everything."""

    @property
    def names(self) -> tuple[str, ...]:
        """All paths that the programme's operations touch, or that are there before, sorted."""
        found = set(self.initial)
        for batch in (*self.batches.values(), self.last):
            for operation in batch:
                found |= {operation.path, operation.to}
        return tuple(sorted(found - {""}))


@dataclass(frozen=True, slots=True)
class ProgrammeSize:
    """How large a programme is.

    Each object is a file, a second name for it, a directory and a file in that; the last one, if
    there are at least two, is a file of one length that is mapped. With *apart* the mapped one is
    the guests' to change.
    """

    operations: int = 60
    """How many the host and each guest do (a mapping is ended, up to 3 more)."""
    guests: int = 2
    """How many guest processes there are."""
    objects: int = 3
    """How many objects they share, 1 to MOST_OBJECTS."""
    apart: bool = False
    """Whether guests, host and all take turns as the objects' writers; False: all write all."""

    def actors(self) -> tuple[str, ...]:
        """The names of the programme's actors: host, guest-1, guest-2 and so on."""
        return (HOST, *(f"guest-{number}" for number in range(1, self.guests + 1)))


def generate(plan: ProgrammeSize, random: Random) -> Programme:
    """A random programme of operations, of the size *plan*, which *random* alone decides."""
    letters = _FIRST_LETTERS[: plan.objects]
    mapped = letters[-1] if plan.objects > 1 else None
    writers = {
        letter: list(Writers)[number % len(Writers)] if plan.apart else Writers.ALL
        for number, letter in enumerate(letters)
    }
    if plan.apart and mapped is not None:
        writers[mapped] = Writers.GUESTS
    batches = {}
    for actor in plan.actors():
        author = _Author(actor, random)
        batch: list[ActorOperation] = []
        while len(batch) < plan.operations:
            letter = random.choice(letters)
            may_write = writers[letter] in (
                Writers.ALL,
                Writers.HOST if actor == HOST else Writers.GUESTS,
            )
            batch += (
                author.mapped(letter, may_write)
                if letter == mapped
                else author.plain(letter, may_write)
            )
        batches[actor] = tuple(batch)
    host = _Author(HOST, random, "z")
    last: list[ActorOperation] = []
    for letter in letters:
        if writers[letter] is not Writers.GUESTS:
            last += host.last(letter, is_mapped=letter == mapped)
    # Most names are there from the beginning: a missing one has little to be stale about.
    initial = dict.fromkeys(letters, "=" * _MAPPED_BYTES)
    return Programme(batches, initial, tuple(last))


class _Author:
    """Writes one actor's operations."""

    def __init__(self, actor: str, random: Random, sign: str = "") -> None:
        self._sign = sign or actor[0] + actor.rpartition("-")[2][:1]
        self._random = random
        self._written = 0
        self._mapped = 0

    def _content(self) -> str:
        self._written += 1
        return f"{self._sign}{self._written}".ljust(self._random.choice((2, 4, 9)), ".") + ";"

    def _pause_ns(self) -> int:
        # Often none: concurrent operations need short gaps.
        if self._random.random() < 0.3:
            return 0
        return self._random.randrange(LONGEST_PAUSE_NS)

    def plain(self, letter: str, may_write: bool) -> list[ActorOperation]:
        """One operation on an object that is a file, or several."""
        file, second, directory = letter, f"{letter}.2", f"{letter}.d"
        inside = f"{directory}/x"
        chosen, pause_ns = self._random.choice, self._pause_ns()
        path = chosen((file, file, file, second, second, inside))
        reads: Sequence[Callable[[], ActorOperation]] = (
            lambda: ActorOperation("stat", chosen((path, path, directory)), pause_ns=pause_ns),
            lambda: ActorOperation("read", path, pause_ns=pause_ns),
            lambda: ActorOperation("list", chosen(("", directory)), pause_ns=pause_ns),
            lambda: ActorOperation("fsync", path, pause_ns=pause_ns),
        )
        changes: Sequence[Callable[[], ActorOperation]] = (
            lambda: ActorOperation("create", path, data=self._content(), pause_ns=pause_ns),
            lambda: ActorOperation("write", path, data=self._content(), pause_ns=pause_ns),
            lambda: ActorOperation("append", path, data=self._content(), pause_ns=pause_ns),
            lambda: ActorOperation("truncate", path, size=chosen((0, 3)), pause_ns=pause_ns),
            lambda: ActorOperation("unlink", path, pause_ns=pause_ns),
            lambda: ActorOperation(
                "rename",
                *chosen(((file, second), (second, file), (file, inside), (inside, file))),
                pause_ns=pause_ns,
            ),
            lambda: ActorOperation(
                "link", *chosen(((file, second), (second, file))), pause_ns=pause_ns
            ),
            lambda: ActorOperation("mkdir", directory, pause_ns=pause_ns),
            lambda: ActorOperation("rmdir", directory, pause_ns=pause_ns),
            lambda: ActorOperation("chmod", path, mode=chosen(_MODES), pause_ns=pause_ns),
        )
        if not may_write:
            return [self._random.choices(reads, (4, 4, 2, 0))[0]()]
        weights = (8, 7, 3, 1, 3, 5, 2, 2, 2, 3, 2, 2, 1, 2)
        return [self._random.choices((*reads, *changes), weights)[0]()]

    def last(self, letter: str, *, is_mapped: bool) -> list[ActorOperation]:
        """A change of what is there at the end, whatever that is: some of it is refused.

        One kind to an object, as a second change might have the first one seen after all.
        """
        second, directory = f"{letter}.2", f"{letter}.d"
        files = (letter, second, f"{directory}/x")
        if is_mapped:
            data = self._content().ljust(_MAPPED_BYTES, "-")
            return [ActorOperation("overwrite", letter, data=data)]
        match self._random.choice(("content", "size", "mode", "gone", "moved", "new")):
            case "content":
                # No longer than what is there, and of each file another.
                return [
                    ActorOperation("overwrite", path, data=data)
                    for path, data in zip(files, "zyx", strict=True)
                ]
            case "size":
                return [ActorOperation("append", path, data=self._content()) for path in files]
            case "mode":
                return [
                    ActorOperation("chmod", path, mode=_LAST_MODE) for path in (*files, directory)
                ]
            case "gone":
                return [ActorOperation("unlink", path) for path in files] + [
                    ActorOperation("rmdir", directory)
                ]
            case "moved":
                return [
                    ActorOperation("rename", letter, second),
                    ActorOperation("rename", second, letter),
                ][: self._random.choice((1, 2))]
            case _:
                return [
                    ActorOperation("mkdir", directory),
                    *(ActorOperation("create", path, data=self._content()) for path in files),
                ]

    def mapped(self, letter: str, may_write: bool) -> list[ActorOperation]:
        """Operations on a file that keeps its length: reading a mapping beyond it would kill."""
        pause_ns, chosen = self._pause_ns(), self._random.choice
        match self._random.choices(("write", "read", "stat", "map"), (4 * may_write, 2, 1, 3))[0]:
            case "write":
                data = self._content().ljust(_MAPPED_BYTES, "-")
                return [ActorOperation("overwrite", letter, data=data, pause_ns=pause_ns)]
            case "map":
                self._mapped += 1
                handle = f"m{self._mapped}"
                return [
                    ActorOperation(
                        "map", letter, size=_MAPPED_BYTES, handle=handle, pause_ns=pause_ns
                    ),
                    *(
                        ActorOperation("mread", handle=handle, pause_ns=self._pause_ns())
                        for _ in range(chosen((1, 2)))
                    ),
                    ActorOperation("unmap", handle=handle),
                ]
            case act:
                return [ActorOperation(act, letter, pause_ns=pause_ns)]
