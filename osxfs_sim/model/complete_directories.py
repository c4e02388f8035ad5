"""Directories whose names are all known: what is not among them does not exist.

The guest's half of complete negative caching (model/caching.py, Complete): once
the names of a directory are known, any other name is answered without a
crossing. A set is kept true by the guest's own changes and by the host's events,
and all are dropped when events were lost. A name that is gone may stay in a set:
it is asked for, and found missing.

Names are given by their keys (spellings), so that spellings which fold together
are one. One thread only.
"""

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, TypeVar

D = TypeVar("D", bound=Hashable)
"""What the caller tells directories apart by."""

MOST_NAMES = 1_000_000
LARGEST_DIRECTORY = 200_000
COST_OF_A_SET = 8  # what an empty set takes, in names


class CompleteDirectories(Generic[D]):
    """The directories whose names are all known, least recently used dropped first."""

    def __init__(
        self, most_names: int = MOST_NAMES, largest_directory: int = LARGEST_DIRECTORY
    ) -> None:
        self._most_names = most_names
        self._largest_directory = largest_directory
        # None: too many names to be kept; they are not read again and again.
        self._sets: OrderedDict[D, set[bytes] | None] = OrderedDict()
        self._readings: dict[D, set[bytes]] = {}
        self.names = 0
        self.answers = 0
        """Names that were answered as missing without a crossing."""

    def __len__(self) -> int:
        return len(self._sets)

    def known_absent(self, directory: D, key: bytes) -> bool:
        """Whether all names of *directory* are known, and *key* is none of them."""
        names = self._sets.get(directory)
        if names is None or key in names:
            return False
        self._sets.move_to_end(directory)
        return True

    def should_read(self, directory: D) -> bool:
        """Whether the names of *directory* are unknown and nobody is reading them."""
        return directory not in self._sets and directory not in self._readings

    def begin_reading(self, directory: D) -> None:
        """Note that *directory* is about to be read, so that names added meanwhile are kept too."""
        self._readings[directory] = set()

    def end_reading(self, directory: D, keys: set[bytes] | None) -> None:
        """Keep *keys* as all names of *directory*; None: the reading failed, nothing is kept."""
        meanwhile = self._readings.pop(directory, None)
        # Without it the sets were dropped during the reading, as events were lost:
        # what the reading missed will never be reported.
        if meanwhile is None or keys is None:
            return
        self.forget(directory)
        names = keys | meanwhile if meanwhile else keys
        if len(names) > self._largest_directory:
            self._sets[directory] = None
            self.names += COST_OF_A_SET
            return
        self._sets[directory] = names
        self.names += len(names) + COST_OF_A_SET
        while self.names > self._most_names and len(self._sets) > 1:
            self.forget(next(iter(self._sets)))

    def added(self, directory: D, key: bytes) -> None:
        """Guest or host has given something in *directory* a name with this *key*."""
        reading = self._readings.get(directory)
        if reading is not None:
            reading.add(key)
        names = self._sets.get(directory)
        if names is not None and key not in names:
            names.add(key)
            self.names += 1

    def forget(self, directory: D) -> None:
        """Drop the names kept of *directory*, if any; a reading under way keeps none, either."""
        self._readings.pop(directory, None)
        if directory in self._sets:
            names = self._sets.pop(directory)
            self.names -= COST_OF_A_SET + (len(names) if names is not None else 0)

    def clear(self) -> None:
        """Drop all directories' names: host events were lost, so any may have new ones."""
        self._sets.clear()
        self._readings.clear()
        self.names = 0
