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
own. So only the host's own spelling is ever cached, and when a change is made
under another spelling, or a name is made of which another spelling has a negative
entry, every dentry is invalidated at once (see increment_epoch), before the change
is answered.
"""

import errno
import logging
import os
import time
from collections import OrderedDict
from collections.abc import Callable
from typing import Protocol

from osxfs_sim.model.caching import CacheTimeouts
from osxfs_sim.model.names import NameRules
from osxfs_sim.model.status import NamesStatus
from osxfs_sim.mount import syscalls
from osxfs_sim.mount.tree.collisions import Collision
from osxfs_sim.mount.tree.inodes import ROOT_NUMBER, Inode
from osxfs_sim.mount.tree.syscall_inspection import rename_in_progress

log = logging.getLogger(__name__)

_MOST_NAMES_INDEXED = 500_000
_MOST_NEGATIVE_ENTRIES = 100_000
_MOST_REPORTED = 10_000
# Timestamps are as coarse as 4 ms on older kernels: two changes within one tick
# look like one. An index read so soon after a change, or adapted to a change of
# our own, may lack a change that the host made in the same moment: it is read
# again after this time. In a large directory it is after more, so that reading
# never takes more than a small part of the time.
_QUIET_NS = 50_000_000
_QUIET_NS_PER_NAME = 50_000
_DEEPEST_PATH = 2048
_RENAME_NOREPLACE = 1


class CaseOnlyRenameError(FileNotFoundError):
    """The name exists in another spelling, and a rename is about to give it this one.

    The guest's kernel has to take it for missing, and not to cache that.
    """

    def __init__(self) -> None:
        super().__init__(errno.ENOENT, os.strerror(errno.ENOENT))


class Spellings(Protocol):
    """How a name that the guest requests is found on the host: exact or case-insensitive.

    Raises what the host's calls raise.
    """

    def look_up(
        self, directory: Inode, dir_fd: int, requested: bytes, thread_id: int
    ) -> tuple[bytes, os.stat_result]:
        """The host's name and status of *requested*. Raises FileNotFoundError, CaseOnlyRenameError.

        As find(), for LOOKUP; the latter where a case-only rename is under way.
        """

    def find(self, directory: Inode, dir_fd: int, requested: bytes) -> tuple[bytes, os.stat_result]:
        """The host's name for *requested*, and its status. Raises FileNotFoundError, OSError."""

    def existing(self, directory: Inode, dir_fd: int, requested: bytes) -> bytes:
        """The host's name for *requested*, else *requested*, before its removal. Raises OSError."""

    def new(
        self, directory: Inode, dir_fd: int, requested: bytes, *, may_exist: bool = False
    ) -> bytes:
        """How a new *requested* is to be stored. Raises FileExistsError, OSError: EILSEQ.

        If it *may_exist*, the host's name where it exists. FileExistsError where it exists under
        another spelling, EILSEQ for what the emulated file system refuses.
        """

    def is_same(self, one: bytes, other: bytes) -> bool:
        """Whether both names would be the same entry of a directory."""

    def target(
        self, directory: Inode, dir_fd: int, requested: bytes
    ) -> tuple[bytes, os.stat_result | None]:
        """The name that a rename to *requested* meets, and its status or None. Raises OSError."""

    def key(self, name: bytes) -> bytes:
        """The folded form that all spellings of *name* have in common."""

    def negative_spelling(self, directory: Inode, name: bytes) -> bytes | None:
        """The spelling of new *name* that the kernel may cache as missing; None: none. Forgets it.

        The host has made *name*. It may be *name* itself, where the guest found it by another
        since.
        """

    def stored_name(self, requested: bytes) -> bytes:
        """How *requested* is stored when it is new. Raises OSError: EILSEQ."""

    def display_name(self, dir_fd: int, name: bytes) -> bytes:
        """The name by which the host's *name* is listed to the guest."""

    def respell(self, directory: Inode, dir_fd: int, name: bytes, requested: bytes) -> bytes:
        """Rename *name* to the spelling *requested* if it is free; its name. Raises OSError."""

    def entry_timeouts(
        self, name: bytes, requested: bytes, timeouts: CacheTimeouts
    ) -> CacheTimeouts:
        """*timeouts*, but 0 for the entry where *requested* may not be cached as *name*."""

    def negative_timeout_ns(self, directory: Inode, requested: bytes, cache_timeout_ns: int) -> int:
        """How long, in ns, the kernel may cache that *requested* is missing; 0: not at all."""

    def added(self, directory: Inode, dir_fd: int, name: bytes, requested: bytes) -> None:
        """Note that *name* was created, where the guest asked for *requested*. Raises OSError."""

    def renamed(self, directory: Inode, dir_fd: int, name: bytes, requested: bytes) -> None:
        """Note that a rename to *requested* has made something *name*. Raises OSError."""

    def removed(self, directory: Inode, dir_fd: int, name: bytes, requested: bytes) -> None:
        """Note that *name* was removed, where the guest asked for *requested*. Raises OSError."""

    def listed(self, directory: Inode, dir_fd: int, names: list[bytes]) -> None:
        """Report *directory* where some of *names*, read from it, fold together. Never fails."""

    def forget(self, directory: Inode) -> None:
        """Drop the index of the names in *directory*, if there is one."""

    def report(self) -> NamesStatus:
        """The rules and what was found, as a part of the share's status."""


class ExactNames:
    """Case-sensitive names, as on most Linux file systems: bytes that are what they are."""

    def look_up(
        self, directory: Inode, dir_fd: int, requested: bytes, thread_id: int
    ) -> tuple[bytes, os.stat_result]:
        """*requested*, as it is, and its status on the host. Raises OSError: ENOENT."""
        return requested, os.stat(requested, dir_fd=dir_fd, follow_symlinks=False)

    def find(self, directory: Inode, dir_fd: int, requested: bytes) -> tuple[bytes, os.stat_result]:
        """*requested*, as it is, and its status on the host. Raises OSError: ENOENT."""
        return requested, os.stat(requested, dir_fd=dir_fd, follow_symlinks=False)

    def existing(self, directory: Inode, dir_fd: int, requested: bytes) -> bytes:
        """Always *requested*, whether it exists or not. Never fails."""
        return requested

    def new(
        self, directory: Inode, dir_fd: int, requested: bytes, *, may_exist: bool = False
    ) -> bytes:
        """Always *requested*, whether it exists or not. Never fails."""
        return requested

    def is_same(self, one: bytes, other: bytes) -> bool:
        """Whether both names are equal, byte by byte."""
        return one == other

    def target(
        self, directory: Inode, dir_fd: int, requested: bytes
    ) -> tuple[bytes, os.stat_result | None]:
        """*requested*, and its status, or None where it is missing. Raises OSError."""
        try:
            return requested, os.stat(requested, dir_fd=dir_fd, follow_symlinks=False)
        except FileNotFoundError:
            return requested, None

    def key(self, name: bytes) -> bytes:
        """Always *name* itself."""
        return name

    def negative_spelling(self, directory: Inode, name: bytes) -> bytes | None:
        """Always None: no name has another spelling."""
        return None

    def stored_name(self, requested: bytes) -> bytes:
        """Always *requested*, as it is. Never fails."""
        return requested

    def display_name(self, dir_fd: int, name: bytes) -> bytes:
        """Always *name* itself."""
        return name

    def respell(self, directory: Inode, dir_fd: int, name: bytes, requested: bytes) -> bytes:
        """Always *name*, without a rename: it has the requested spelling already."""
        return name

    def entry_timeouts(
        self, name: bytes, requested: bytes, timeouts: CacheTimeouts
    ) -> CacheTimeouts:
        """Always *timeouts*, unchanged: every name may be cached."""
        return timeouts

    def negative_timeout_ns(self, directory: Inode, requested: bytes, cache_timeout_ns: int) -> int:
        """Always *cache_timeout_ns*: every missing name may be cached."""
        return cache_timeout_ns

    def added(self, directory: Inode, dir_fd: int, name: bytes, requested: bytes) -> None:
        """Do nothing: exact names need no index."""
        return

    def renamed(self, directory: Inode, dir_fd: int, name: bytes, requested: bytes) -> None:
        """Do nothing: exact names need no index."""
        return

    def removed(self, directory: Inode, dir_fd: int, name: bytes, requested: bytes) -> None:
        """Do nothing: exact names need no index."""
        return

    def listed(self, directory: Inode, dir_fd: int, names: list[bytes]) -> None:
        """Do nothing: no two exact names fold together."""
        return

    def forget(self, directory: Inode) -> None:
        """Do nothing: exact names need no index."""
        return

    def report(self) -> NamesStatus:
        """The rules' name, case-sensitive, as a part of the share's status."""
        return NamesStatus(rules="case-sensitive")


class _Index:
    """The names in one directory by their keys, as of one state of the directory.

    *read_at* and *status* are the time and the directory's status before it was read.
    """

    __slots__ = ("by_key", "count", "doubtful_since_ns", "stamp")

    def __init__(
        self, rules: NameRules, names: list[bytes], status: os.stat_result, read_at_ns: int
    ) -> None:
        self.by_key: dict[bytes, list[bytes]] = {}
        self.count = len(names)
        for name in names:
            self.by_key.setdefault(rules.key(name), []).append(name)
        self.stamp = _stamp(status)
        # By ctime alone: nobody sets that.
        quiet = read_at_ns - status.st_ctime_ns > _QUIET_NS
        self.doubtful_since_ns = None if quiet else time.monotonic_ns()

    def restamp(self, status: os.stat_result) -> None:
        """After a change of our own."""
        self.stamp = _stamp(status)
        if self.doubtful_since_ns is None:
            self.doubtful_since_ns = time.monotonic_ns()

    def is_of(self, status: os.stat_result) -> bool:
        """Whether the directory is as it was."""
        if self.stamp != _stamp(status):
            return False
        if self.doubtful_since_ns is None:
            return True
        doubtful_ns = time.monotonic_ns() - self.doubtful_since_ns
        return doubtful_ns <= max(_QUIET_NS, _QUIET_NS_PER_NAME * self.count)


def _stamp(status: os.stat_result) -> tuple[int, ...]:
    # Size and links tell of changes within a tick on some file systems.
    return status.st_mtime_ns, status.st_ctime_ns, status.st_size, status.st_nlink


class FoldedNames:
    """Several spellings name one object. The reactor's thread only.

    *increment_epoch* invalidates every dentry of the guest's kernel, without
    waiting for any lock of its own, and returns whether it could. Where it
    cannot (Linux before 6.16), no entry, positive or negative, is ever cached.
    It is called only if one was ever cached: it costs the kernel all it
    knows, and takes away what is mounted on directories of the share.

    *mountpoint* is where the share is mounted: by it, paths of processes are
    told from each other.
    """

    def __init__(
        self, rules: NameRules, increment_epoch: Callable[[], bool], mountpoint: str = "/"
    ) -> None:
        self._rules = rules
        self._increment_epoch = increment_epoch
        self._mountpoint = [part for part in os.fsencode(mountpoint).split(b"/") if part]
        self._may_cache = True
        self._ever_cached = False
        self._indices: OrderedDict[Inode, _Index] = OrderedDict()
        self._names_indexed = 0
        # Per directory and key, the spelling of which the kernel has a negative entry.
        self._missing: dict[tuple[int, bytes], bytes] = {}
        self._collisions = 0
        self._first_collision = ""
        self._reported: set[tuple[int, int]] = set()

    def check_kernel(self) -> None:
        """Find out whether all dentries can be dropped; else none is cached. Raises OSError."""
        self._may_cache = self._increment_epoch()

    def look_up(
        self, directory: Inode, dir_fd: int, requested: bytes, thread_id: int
    ) -> tuple[bytes, os.stat_result]:
        """The host's name and status of *requested*. Raises FileNotFoundError, CaseOnlyRenameError.

        As find(); the latter where the thread renames another spelling to this one.
        """
        name, status = self.find(directory, dir_fd, requested)
        respelling = name not in (requested, self._stored_name(requested)) and self._is_respelled(
            directory, requested, thread_id
        )
        if respelling:
            # rename("a", "A"): to the kernel both would be the same object, for
            # which rename(2) does nothing. It has to find that there is no "A".
            raise CaseOnlyRenameError
        return name, status

    def find(self, directory: Inode, dir_fd: int, requested: bytes) -> tuple[bytes, os.stat_result]:
        """The name equal or folding to *requested*, and its status. Raises FileNotFoundError."""
        try:
            return requested, os.stat(requested, dir_fd=dir_fd, follow_symlinks=False)
        except OSError as error:
            # Another spelling of what is too long may be shorter.
            if error.errno not in (errno.ENOENT, errno.ENAMETOOLONG):
                raise
            name = self._otherwise_spelled(directory, dir_fd, requested)
            if name is None:
                raise
        try:
            return name, os.stat(name, dir_fd=dir_fd, follow_symlinks=False)
        except FileNotFoundError:
            # The host was faster: what it is called now, if it is there.
            self.forget(directory)
            name = self._otherwise_spelled(directory, dir_fd, requested)
            if name is None:
                raise
        return name, os.stat(name, dir_fd=dir_fd, follow_symlinks=False)

    def existing(self, directory: Inode, dir_fd: int, requested: bytes) -> bytes:
        """The host's name for *requested*, or *requested*; drops a stale index. Raises OSError."""
        self._prepare_change(directory, dir_fd)
        try:
            return self.find(directory, dir_fd, requested)[0]
        except FileNotFoundError:
            return requested

    def new(
        self, directory: Inode, dir_fd: int, requested: bytes, *, may_exist: bool = False
    ) -> bytes:
        """The stored form of a new *requested*. Raises FileExistsError, OSError: EILSEQ.

        If it *may_exist*, the host's name where it does.
        """
        stored = self._rules.stored(requested)
        self._prepare_change(directory, dir_fd)
        try:
            name, _ = self.find(directory, dir_fd, requested)
        except FileNotFoundError:
            return stored
        if may_exist:
            return name
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST))

    def is_same(self, one: bytes, other: bytes) -> bool:
        """Whether both names fold to one key."""
        return self._rules.key(one) == self._rules.key(other)

    def target(
        self, directory: Inode, dir_fd: int, requested: bytes
    ) -> tuple[bytes, os.stat_result | None]:
        """Name and status of what *requested* leads to, or stored form and None. Raises OSError."""
        self._prepare_change(directory, dir_fd)
        try:
            return self.find(directory, dir_fd, requested)
        except FileNotFoundError:
            return self._rules.stored(requested), None

    def key(self, name: bytes) -> bytes:
        """*name* folded by case and normalization, as the rules say. Never fails."""
        return self._rules.key(name)

    def negative_spelling(self, directory: Inode, name: bytes) -> bytes | None:
        """The spelling that the kernel caches as missing, forgotten by this call; or None."""
        return self._missing.pop((directory.number, self._rules.key(name)), None)

    def stored_name(self, requested: bytes) -> bytes:
        """*requested* as the emulated file system stores it. Raises OSError: EILSEQ."""
        return self._rules.stored(requested)

    def display_name(self, dir_fd: int, name: bytes) -> bytes:
        """The rules' display form of *name*; *name* where the host has that, too. Never fails."""
        shown = self._rules.shown(name)
        if shown != name and _exists(dir_fd, shown):
            return name  # the host holds both: no two entries of a listing are the same
        return shown

    def respell(self, directory: Inode, dir_fd: int, name: bytes, requested: bytes) -> bytes:
        """Rename *name* to the spelling *requested* if it is free; its name. Raises OSError."""
        stored = self._stored_name(requested)
        if stored == name:
            return name
        # The replacing itself was atomic; now it gets the spelling it was given,
        # unless the host has put something there in this moment.
        try:
            syscalls.rename(dir_fd, name, dir_fd, stored, _RENAME_NOREPLACE)
        except OSError as error:
            if error.errno != errno.EINVAL:
                return name
            if _exists(dir_fd, stored):  # a file system without RENAME_NOREPLACE
                return name
            os.rename(name, stored, src_dir_fd=dir_fd, dst_dir_fd=dir_fd)
        self._index_without(directory, dir_fd, name)
        self._invalidate_all_names()
        return stored

    def entry_timeouts(
        self, name: bytes, requested: bytes, timeouts: CacheTimeouts
    ) -> CacheTimeouts:
        """*timeouts* where *requested* is the host's own spelling, else 0 for the entry."""
        if name == requested and self._may_cache:
            self._ever_cached |= timeouts.entry_timeout_ns > 0
            return timeouts
        return CacheTimeouts(0, timeouts.attr_timeout_ns)

    def negative_timeout_ns(self, directory: Inode, requested: bytes, cache_timeout_ns: int) -> int:
        """*cache_timeout_ns* for the first spelling of a missing name, 0 for any other."""
        if cache_timeout_ns <= 0 or not self._may_cache:
            return 0
        self._ever_cached = True
        place = directory.number, self._rules.key(requested)
        if self._missing.setdefault(place, requested) != requested:
            return 0  # one spelling of each is enough to keep track of
        if len(self._missing) > _MOST_NEGATIVE_ENTRIES:
            self._invalidate_all_names()
            self._missing[place] = requested
        return cache_timeout_ns

    def added(self, directory: Inode, dir_fd: int, name: bytes, requested: bytes) -> None:
        """Index *name*; drop all dentries if another spelling is cached absent. Raises OSError."""
        key = self._rules.key(name)
        index = self._indices.get(directory)
        if index is not None:
            names = index.by_key.setdefault(key, [])
            if name not in names:
                names.append(name)
                index.count += 1
                self._names_indexed += 1
            index.restamp(os.fstat(dir_fd))
        if self._missing.pop((directory.number, key), requested) != requested:
            self._invalidate_all_names()

    def renamed(self, directory: Inode, dir_fd: int, name: bytes, requested: bytes) -> None:
        """Index *name*; invalidate all dentries if it is not *requested*. Raises OSError."""
        self.added(directory, dir_fd, name, requested)
        if name != requested:
            # The kernel goes on to cache the object by its new name, as requested.
            self._invalidate_all_names()

    def removed(self, directory: Inode, dir_fd: int, name: bytes, requested: bytes) -> None:
        """Unindex *name*; invalidate all dentries if it is not *requested*. Raises OSError."""
        self._index_without(directory, dir_fd, name)
        if name != requested:
            self._invalidate_all_names()

    def listed(self, directory: Inode, dir_fd: int, names: list[bytes]) -> None:
        """Count and log *directory*, once, if any of its *names* fold together. Never fails."""
        identity = directory.device, directory.host_number
        if identity in self._reported or len(self._reported) >= _MOST_REPORTED:
            return
        groups = self._rules.collisions(names)
        if groups:
            try:
                path = os.readlink(b"/proc/self/fd/%d" % dir_fd)
            except OSError:  # too deep for readlink(2)
                path = b"..."
            self.collided(Collision(identity, path, groups[0]))

    def collided(self, collision: Collision) -> None:
        """Count and log, once, a directory that holds names that fold together."""
        if collision.directory in self._reported or len(self._reported) >= _MOST_REPORTED:
            return
        self._reported.add(collision.directory)
        self._collisions += 1
        path = collision.path.decode("utf-8", "replace")
        spellings = " and ".join(ascii(os.fsdecode(name)) for name in collision.names)
        self._first_collision = self._first_collision or f"{path}: {spellings}"
        log.warning("names fold together in %s: %s", path, spellings)

    def forget(self, directory: Inode) -> None:
        """Drop the index of the names in *directory*, if there is one."""
        index = self._indices.pop(directory, None)
        if index is not None:
            self._names_indexed -= index.count

    def report(self) -> NamesStatus:
        """Rules, collisions, index size, and whether the kernel can invalidate all names."""
        return NamesStatus(
            rules=self._rules.label,
            directories_with_collisions=self._collisions,
            first_collision=self._first_collision,
            names_indexed=self._names_indexed,
            names_can_be_invalidated=self._may_cache,
        )

    def _otherwise_spelled(self, directory: Inode, dir_fd: int, requested: bytes) -> bytes | None:
        try:
            index = self._index(directory, dir_fd)
        except PermissionError:
            return None  # it may be searched and not listed: names are what they are
        names = index.by_key.get(self._rules.key(requested))
        return min(names) if names else None

    def _index(self, directory: Inode, dir_fd: int) -> _Index:
        index = self._indices.get(directory)
        if index is not None:
            if index.is_of(os.fstat(dir_fd)):
                self._indices.move_to_end(directory)
                return index
            self.forget(directory)
        # The descriptor may be one that only leads there (O_PATH).
        fd = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=dir_fd)
        read_at_ns = time.time_ns()
        status = os.fstat(dir_fd)
        try:
            names = [os.fsencode(name) for name in os.listdir(fd)]
        finally:
            os.close(fd)
        self.listed(directory, dir_fd, names)
        index = self._indices[directory] = _Index(self._rules, names, status, read_at_ns)
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

    def _invalidate_all_names(self) -> None:
        self._missing.clear()
        if self._may_cache and self._ever_cached:
            self._may_cache = self._increment_epoch()

    def _stored_name(self, requested: bytes) -> bytes:
        """As stored, for a name that exists and may be one that cannot be made."""
        try:
            return self._rules.stored(requested)
        except OSError:
            return requested

    def _is_respelled(self, directory: Inode, requested: bytes, thread_id: int) -> bool:
        """Whether a thread looks *asked* up to rename another spelling of it to this one.

        The same rename may look up the same spelling on its way there ("A/a" to
        "A/A"), so it matters which directory it is looked up in.
        """
        found = rename_in_progress(thread_id)
        if found is None or not found.old or not found.new:
            return False
        key = self._rules.key
        *old_way, old = found.old
        *way, new = found.new
        if new != requested or old == new or key(old) != key(new):
            return False
        keys = [key(part) for part in way]
        here = self._way_to(directory)
        if here is None or keys != [key(part) for part in old_way]:
            return False  # from one directory into another, where it replaces
        above = len(self._mountpoint)
        if way[:above] == self._mountpoint:
            return keys[above:] == here
        # Reached by another way: a link, a mount of a part, another view of mounts.
        return keys[len(keys) - len(here) :] == here and requested not in way

    def _way_to(self, directory: Inode) -> list[bytes] | None:
        """The keys of the names from the share's root to *directory*; None if it has no way."""
        keys: list[bytes] = []
        inode = directory
        while inode.parent is not None:
            keys.append(self._rules.key(inode.name))
            inode = inode.parent
            if len(keys) > _DEEPEST_PATH:
                return None
        keys.reverse()
        return keys if inode.number == ROOT_NUMBER else None


def _exists(dir_fd: int, name: bytes) -> bool:
    try:
        os.stat(name, dir_fd=dir_fd, follow_symlinks=False)
    except OSError:
        return False
    return True
