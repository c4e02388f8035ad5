"""Finds what the host calls a name that the guest may spell in another way.

The rules are the model's (model/names.py). On a case-sensitive share a name is
what it is (ExactNames), and costs nothing here. Where names fold together
(FoldedNames), the guest's "README" may be the host's "ReadMe":

- A name is first looked for as it was asked for, then by the rules, in an index
  of the directory. If the host already holds two names that fold together, each
  is reached by its own spelling, and any other spelling reaches the first of
  them in the order of their bytes.
- A new name never stands beside one that folds together with it.

The guest's kernel knows nothing of all this: it caches each spelling on its
own. So only the host's own spelling is ever believed, and when a change is made
under another spelling, or a name is made that was believed missing under
another, every name the kernel holds is ended at once (see end_all_names), before
the change is answered.
"""

import errno
import logging
import os
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Protocol

from osxfs_sim.model.caching import Lifetimes
from osxfs_sim.model.names import NameRules
from osxfs_sim.mount.callers import renames
from osxfs_sim.mount.inodes import Inode

log = logging.getLogger(__name__)

_MOST_NAMES_INDEXED = 500_000
_MOST_BELIEVED_MISSING = 100_000
# Timestamps are as coarse as 4 ms on older kernels: two changes within one tick
# look like one. An index read so soon after a change is read again later.
_QUIET_NS = 50_000_000


class Spellings(Protocol):
    """What the handlers ask about names. Raises what the host's calls raise."""

    def look_up(
        self, directory: Inode, dir_fd: int, asked: bytes, thread_id: int
    ) -> tuple[bytes, os.stat_result]:
        """As find, for LOOKUP: FileNotFoundError also where a rename shall respell the name."""

    def find(self, directory: Inode, dir_fd: int, asked: bytes) -> tuple[bytes, os.stat_result]:
        """What the host calls *asked*, and what it is. Raises FileNotFoundError."""

    def existing(self, directory: Inode, dir_fd: int, asked: bytes) -> bytes:
        """What the host calls *asked*, before it is taken away; *asked* where it does not exist."""

    def new(self, directory: Inode, dir_fd: int, asked: bytes, *, may_exist: bool = False) -> bytes:
        """How *asked* is to be stored; if it *may_exist*, what the host calls it already.

        Raises FileExistsError where it exists under another spelling, and
        OSError (EILSEQ) for what the emulated file system refuses.
        """

    def is_same(self, one: bytes, other: bytes) -> bool:
        """Whether both would be the same entry of a directory."""

    def stored(self, asked: bytes) -> bytes:
        """How *asked* is stored when it is new."""

    def shown(self, name: bytes) -> bytes:
        """How the host's *name* is listed."""

    def respell(self, directory: Inode, dir_fd: int, name: bytes, asked: bytes) -> bytes:
        """*name* was replaced by a rename to *asked*: give it that spelling, and return it."""

    def believed(self, name: bytes, asked: bytes, lifetimes: Lifetimes) -> Lifetimes:
        """How long the guest may believe that *asked* is the host's *name*."""

    def believed_missing_ns(self, directory: Inode, asked: bytes, lifetime_ns: int) -> int:
        """How long the guest may believe that there is no *asked*."""

    def added(self, directory: Inode, dir_fd: int, name: bytes, asked: bytes) -> None:
        """*name* was made, where the guest asked for *asked*."""

    def renamed(self, directory: Inode, dir_fd: int, name: bytes, asked: bytes) -> None:
        """Something became *name*, where the guest asked for *asked*."""

    def removed(self, directory: Inode, dir_fd: int, name: bytes, asked: bytes) -> None:
        """*name* was taken away, where the guest asked for *asked*."""

    def listed(self, directory: Inode, dir_fd: int, names: list[bytes]) -> None:
        """*names* were read from a directory: look for those that fold together."""

    def forget(self, directory: Inode) -> None: ...

    def report(self) -> dict[str, Any]: ...


class ExactNames:
    """Names are bytes, as on most Linux file systems."""

    def look_up(
        self, directory: Inode, dir_fd: int, asked: bytes, thread_id: int
    ) -> tuple[bytes, os.stat_result]:
        return asked, os.stat(asked, dir_fd=dir_fd, follow_symlinks=False)

    def find(self, directory: Inode, dir_fd: int, asked: bytes) -> tuple[bytes, os.stat_result]:
        return asked, os.stat(asked, dir_fd=dir_fd, follow_symlinks=False)

    def existing(self, directory: Inode, dir_fd: int, asked: bytes) -> bytes:
        return asked

    def new(self, directory: Inode, dir_fd: int, asked: bytes, *, may_exist: bool = False) -> bytes:
        return asked

    def is_same(self, one: bytes, other: bytes) -> bool:
        return one == other

    def stored(self, asked: bytes) -> bytes:
        return asked

    def shown(self, name: bytes) -> bytes:
        return name

    def respell(self, directory: Inode, dir_fd: int, name: bytes, asked: bytes) -> bytes:
        return name

    def believed(self, name: bytes, asked: bytes, lifetimes: Lifetimes) -> Lifetimes:
        return lifetimes

    def believed_missing_ns(self, directory: Inode, asked: bytes, lifetime_ns: int) -> int:
        return lifetime_ns

    def added(self, directory: Inode, dir_fd: int, name: bytes, asked: bytes) -> None:
        return

    def renamed(self, directory: Inode, dir_fd: int, name: bytes, asked: bytes) -> None:
        return

    def removed(self, directory: Inode, dir_fd: int, name: bytes, asked: bytes) -> None:
        return

    def listed(self, directory: Inode, dir_fd: int, names: list[bytes]) -> None:
        return

    def forget(self, directory: Inode) -> None:
        return

    def report(self) -> dict[str, Any]:
        return {"rules": "case-sensitive"}


class _Index:
    """The names in one directory by their keys, as of one state of the directory."""

    __slots__ = ("by_key", "confirmed", "count", "stamp")

    def __init__(self, rules: NameRules, names: list[bytes], status: os.stat_result) -> None:
        self.by_key: dict[bytes, list[bytes]] = {}
        self.count = len(names)
        for name in names:
            self.by_key.setdefault(rules.key(name), []).append(name)
        self.restamp(status)
        self.confirmed = time.time_ns() - status.st_mtime_ns > _QUIET_NS

    def restamp(self, status: os.stat_result) -> None:
        self.stamp = status.st_mtime_ns, status.st_ctime_ns
        self.confirmed = False

    def is_of(self, status: os.stat_result) -> bool:
        """Whether the directory is as it was. What is not confirmed is so while it is in use."""
        if self.stamp != (status.st_mtime_ns, status.st_ctime_ns):
            return False
        return self.confirmed or time.time_ns() - status.st_mtime_ns <= _QUIET_NS


class FoldedNames:
    """Several spellings name one object. The reactor's thread only.

    *end_all_names* ends every name that the guest's kernel believes, without
    waiting for any lock of its own, and returns whether it could. Where it
    cannot (Linux before 6.16), no name and no missing name is ever believed.
    """

    def __init__(self, rules: NameRules, end_all_names: Callable[[], bool]) -> None:
        self._rules = rules
        self._end_all_names = end_all_names
        self._may_believe = True
        self._indices: OrderedDict[Inode, _Index] = OrderedDict()
        self._names_indexed = 0
        # Per directory and key, the spelling that the kernel believes missing.
        self._missing: dict[tuple[int, bytes], bytes] = {}
        self._collisions = 0
        self._first_collision = ""
        self._reported: set[tuple[int, int]] = set()

    def check_kernel(self) -> None:
        """Find out whether names can be ended; once requests are served."""
        self._may_believe = self._end_all_names()

    def look_up(
        self, directory: Inode, dir_fd: int, asked: bytes, thread_id: int
    ) -> tuple[bytes, os.stat_result]:
        name, status = self.find(directory, dir_fd, asked)
        if name != self._rules.stored(asked) and renames(
            thread_id, lambda old: self._rules.key(old) == self._rules.key(asked), asked
        ):
            # rename("a", "A"): to the kernel both would be the same object, for
            # which rename(2) does nothing. It has to believe that there is no "A".
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
        return name, status

    def find(self, directory: Inode, dir_fd: int, asked: bytes) -> tuple[bytes, os.stat_result]:
        try:
            return asked, os.stat(asked, dir_fd=dir_fd, follow_symlinks=False)
        except FileNotFoundError:
            name = self._otherwise_spelled(directory, dir_fd, asked)
            if name is None:
                raise
        return name, os.stat(name, dir_fd=dir_fd, follow_symlinks=False)

    def existing(self, directory: Inode, dir_fd: int, asked: bytes) -> bytes:
        self._prepare_change(directory, dir_fd)
        try:
            return self.find(directory, dir_fd, asked)[0]
        except FileNotFoundError:
            return asked

    def new(self, directory: Inode, dir_fd: int, asked: bytes, *, may_exist: bool = False) -> bytes:
        stored = self._rules.stored(asked)
        self._prepare_change(directory, dir_fd)
        try:
            name, _ = self.find(directory, dir_fd, asked)
        except FileNotFoundError:
            return stored
        if may_exist:
            return name
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))

    def is_same(self, one: bytes, other: bytes) -> bool:
        return self._rules.key(one) == self._rules.key(other)

    def stored(self, asked: bytes) -> bytes:
        return self._rules.stored(asked)

    def shown(self, name: bytes) -> bytes:
        return self._rules.shown(name)

    def respell(self, directory: Inode, dir_fd: int, name: bytes, asked: bytes) -> bytes:
        stored = self._rules.stored(asked)
        if stored != name:
            # The replacing itself was atomic; now it gets the spelling it was given.
            os.rename(name, stored, src_dir_fd=dir_fd, dst_dir_fd=dir_fd)
            self._index_without(directory, dir_fd, name)
            self._end_names()
        return stored

    def believed(self, name: bytes, asked: bytes, lifetimes: Lifetimes) -> Lifetimes:
        if name == asked and self._may_believe:
            return lifetimes
        return Lifetimes(0, lifetimes.attributes_ns)

    def believed_missing_ns(self, directory: Inode, asked: bytes, lifetime_ns: int) -> int:
        if lifetime_ns <= 0 or not self._may_believe:
            return 0
        place = directory.number, self._rules.key(asked)
        if self._missing.setdefault(place, asked) != asked:
            return 0  # one spelling of each is enough to keep track of
        if len(self._missing) > _MOST_BELIEVED_MISSING:
            self._end_names()
            self._missing[place] = asked
        return lifetime_ns

    def added(self, directory: Inode, dir_fd: int, name: bytes, asked: bytes) -> None:
        key = self._rules.key(name)
        index = self._indices.get(directory)
        if index is not None:
            names = index.by_key.setdefault(key, [])
            if name not in names:
                names.append(name)
                index.count += 1
                self._names_indexed += 1
            index.restamp(os.fstat(dir_fd))
        if self._missing.pop((directory.number, key), asked) != asked:
            self._end_names()

    def renamed(self, directory: Inode, dir_fd: int, name: bytes, asked: bytes) -> None:
        self.added(directory, dir_fd, name, asked)
        if name != asked:
            # The kernel goes on to believe the object by its new name, as asked.
            self._end_names()

    def removed(self, directory: Inode, dir_fd: int, name: bytes, asked: bytes) -> None:
        self._index_without(directory, dir_fd, name)
        if name != asked:
            self._end_names()

    def listed(self, directory: Inode, dir_fd: int, names: list[bytes]) -> None:
        identity = directory.device, directory.host_number
        if identity in self._reported:
            return
        groups = self._rules.collisions(names)
        if not groups:
            return
        self._collisions += 1
        path = os.fsencode(os.readlink(f"/proc/self/fd/{dir_fd}")).decode("utf-8", "replace")
        spellings = " and ".join(repr(name.decode("utf-8", "replace")) for name in groups[0])
        self._first_collision = self._first_collision or f"{path}: {spellings}"
        if len(self._reported) < _MOST_BELIEVED_MISSING:
            self._reported.add(identity)
        log.warning("names fold together in %s: %s", path, spellings)

    def forget(self, directory: Inode) -> None:
        index = self._indices.pop(directory, None)
        if index is not None:
            self._names_indexed -= index.count

    def report(self) -> dict[str, Any]:
        return {
            "rules": self._rules.label,
            "directories_with_collisions": self._collisions,
            "first_collision": self._first_collision,
            "names_indexed": self._names_indexed,
            "names_can_be_ended": self._may_believe,
        }

    def _otherwise_spelled(self, directory: Inode, dir_fd: int, asked: bytes) -> bytes | None:
        names = self._index(directory, dir_fd).by_key.get(self._rules.key(asked))
        return min(names) if names else None

    def _index(self, directory: Inode, dir_fd: int) -> _Index:
        index = self._indices.get(directory)
        status = os.fstat(dir_fd)
        if index is not None:
            if index.is_of(status):
                self._indices.move_to_end(directory)
                return index
            self.forget(directory)
        # The descriptor may be one that only leads there (O_PATH).
        fd = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=dir_fd)
        try:
            names = [os.fsencode(name) for name in os.listdir(fd)]
        finally:
            os.close(fd)
        self.listed(directory, dir_fd, names)
        index = self._indices[directory] = _Index(self._rules, names, status)
        self._names_indexed += index.count
        while self._names_indexed > _MOST_NAMES_INDEXED and len(self._indices) > 1:
            self.forget(next(iter(self._indices)))
        return index

    def _prepare_change(self, directory: Inode, dir_fd: int) -> None:
        """Before a change of our own: drop an index that a change of the host's made old.

        What happens on the host between this and the change is seen when the
        directory has been quiet for a moment: the index is then read anew.
        """
        index = self._indices.get(directory)
        if index is not None and not index.is_of(os.fstat(dir_fd)):
            self.forget(directory)

    def _index_without(self, directory: Inode, dir_fd: int, name: bytes) -> None:
        index = self._indices.get(directory)
        if index is None:
            return
        key = self._rules.key(name)
        names = index.by_key.get(key, [])
        if name in names:
            names.remove(name)
            index.count -= 1
            self._names_indexed -= 1
        if not names:
            index.by_key.pop(key, None)
        index.restamp(os.fstat(dir_fd))

    def _end_names(self) -> None:
        self._missing.clear()
        if self._may_believe:
            self._may_believe = self._end_all_names()
