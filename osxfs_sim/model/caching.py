"""Decides whether, and for how long, an answer of the host may be cached.

The guest's kernel keeps the caches (dentries, attributes, pages); what it keeps is what each
answer allows: the entry_valid and attr_valid of a FUSE reply. A policy is called once per answer
and returns these timeouts. It knows no clock and no FUSE: callers pass the time.

What the kernel makes of a timeout (fs/fuse/dir.c of Linux 6.18; the numbers are cited
elsewhere):

1. An answer is valid until the tick in which it came, and its timeout in ticks, rounded up, have
   passed; in its last tick it still is. 0 is never.
2. A hit renews nothing: only an answer sets the time.
3. An entry that is older than the connection's epoch is invalid, whatever its timeout, positive
   and negative alike (FUSE_NOTIFY_INC_EPOCH).
4. A positive entry that has expired is revalidated by one LOOKUP, which renews entry and
   attributes (fuse_dentry_revalidate); one that names another inode is dropped, and looked up
   again. A negative one that has expired is looked up afresh.
5. A name that is made with O_EXCL, and the target of a rename, are looked up in any case.
6. ENOENT is never kept; the node id 0 with a timeout is: that is a negative entry.
7. A GETATTR is sent if a wanted attribute is invalidated, or the attributes have expired.
8. What the guest itself changes in a directory invalidates its attributes, and not its entries.

To try an idea, write one small class and name it on the command line
(``--policy package.module:Class``):

    class FreshFilesChange(CachePolicy):
        '''Cache a file the longer the older it is, as NFS does.'''

        def found(self, name, status, now_ns):
            age_ns = now_ns - status.st_mtime_ns
            cache_timeout_ns = min(max(age_ns // 10, 0), 60 * 10**9)
            return CacheTimeouts(cache_timeout_ns, cache_timeout_ns)
"""

import os
import stat
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple


class CacheTimeouts(NamedTuple):
    """How long the two parts of an answer may be cached, in nanoseconds; 0: not at all."""

    entry_timeout_ns: int
    """Of the dentry: "this name is this object" (entry_valid of fuse_entry_out)."""
    attr_timeout_ns: int
    """Of the attributes: what the object is like (attr_valid of fuse_entry_out, fuse_attr_out)."""


UNCACHED = CacheTimeouts(0, 0)

if not TYPE_CHECKING:
    _RENAMED = {"Lifetimes": "CacheTimeouts", "NOT_BELIEVED": "UNCACHED"}

    def __getattr__(name: str) -> object:
        """Raise ImportError with the name of today for a name of earlier versions."""
        if new := _RENAMED.get(name):
            raise ImportError(f"{__name__}.{name} is called {new} now")
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


_NEVER_CACHED = (stat.S_IFIFO, stat.S_IFSOCK, stat.S_IFCHR, stat.S_IFBLK)


def is_ever_cached(mode: int) -> bool:
    """Whether an object of this st_mode may be cached at all: not pipes, sockets and devices.

    Whatever the policy, nothing is of sockets, pipes and devices (osxfs-caching.md, DEL-8).
    """
    return stat.S_IFMT(mode) not in _NEVER_CACHED


class CachePolicy:
    """Caches nothing: every request crosses. The base of all policies.

    Methods are called in the hot path, once per answer: keep them short. They
    must be pure in the sense that the same calls give the same answers; state
    of their own (an adaptive timeout, say) is welcome.
    """

    complete: bool = False
    """Whether all names of a directory may be cached as a set, so that every other name
    is known absent without a crossing. Only host events can keep such a set true."""

    direct: bool = False
    """Whether the guest caches no content at all (FOPEN_DIRECT_IO): each read(2) and
    write(2) is a request of its own, also while a file is open."""

    def found(self, name: bytes, status: os.stat_result, now_ns: int) -> CacheTimeouts:
        """How long entry and attributes of the object *name* are cached, in ns; here UNCACHED.

        *name* is the name it was looked up by (b"" for a GETATTR), *status* what the host's
        stat(2) says of it, *now_ns* the wall-clock time in nanoseconds, comparable with
        ``status.st_mtime_ns``.
        """
        del name, status, now_ns
        return UNCACHED

    def negative_timeout_ns(self, name: bytes, now_ns: int) -> int:
        """For how many ns it is cached that *name* does not exist; 0 (here): not at all.

        *now_ns* is the wall-clock time.
        """
        del name, now_ns
        return 0

    def keep_pages(self, status: os.stat_result, now_ns: int) -> bool:
        """Whether a file's cached pages outlive a new open (FOPEN_KEEP_CACHE); here False.

        With False, opening a file is what makes its content fresh (close to
        open consistency), and one open file is still read ahead and mapped as
        usual. Either way the kernel drops pages once it learns of a change of
        size or mtime. *status* and *now_ns* are as for ``found``.
        """
        del status, now_ns
        return False

    def describe(self) -> str:
        """The policy and its numbers in one phrase, for a status line; here module and class."""
        return f"{type(self).__module__}:{type(self).__qualname__}"


def negative_timeout_ns(policy: CachePolicy, name: bytes, now_ns: int, can_end: bool) -> int:
    """For how many ns *policy* caches that *name* is absent; 0 where events cannot end it.

    *can_end* tells whether the entry can be invalidated when the host makes the name: else rule 1
    alone would end it, and the host's new file would not be seen until then.
    """
    return max(0, policy.negative_timeout_ns(name, now_ns)) if can_end else 0


class Consistent(CachePolicy):
    """The contract's ``consistent``: nothing is cached, every request crosses."""

    def describe(self) -> str:
        """A phrase for a status line: the policy's name, and that nothing is cached."""
        return "consistent: nothing cached"


class Direct(Consistent):
    """As ``consistent``, and no content is kept while a file is open either.

    What FUSE calls direct I/O, and virtiofsd does for every file under cache=none:
    nothing is read ahead, and files cannot be mapped shared.
    """

    direct = True

    def describe(self) -> str:
        """A phrase for a status line: the policy's name, and that not even content is cached."""
        return "direct: nothing cached, no content kept"


class Default(Consistent):
    """The contract's ``default``: as ``consistent``, and exports that overlap it keep their own.

    See model/consistency.py.
    """

    def describe(self) -> str:
        """A phrase for a status line: the policy, and that overlapping exports keep theirs."""
        return "default: nothing cached, and overlapping exports keep their own"


@dataclass
class Cached(CachePolicy):
    """The contract's ``cached``: entries, attributes and pages are cached until a timeout."""

    timeout_ns: int
    """The entry timeout and the attribute timeout of every object, in nanoseconds."""
    keeps_pages: bool = field(default=True, kw_only=True)
    """Whether the page cache outlives an open; False: each open makes content fresh."""

    def __post_init__(self) -> None:
        self._timeouts = CacheTimeouts(self.timeout_ns, self.timeout_ns)

    def found(self, name: bytes, status: os.stat_result, now_ns: int) -> CacheTimeouts:
        """Entry and attribute timeout, both *timeout_ns*, the same for every object."""
        return self._timeouts

    def keep_pages(self, status: os.stat_result, now_ns: int) -> bool:
        """Whether a file's cached pages outlive an open: *keeps_pages*, the same for every file."""
        return self.keeps_pages

    def describe(self) -> str:
        """A phrase for a status line: the policy, what is cached, and for how many seconds."""
        kept = "entries, attributes and pages" if self.keeps_pages else "entries and attributes"
        return f"cached: {kept} for {self.timeout_ns / 1e9:g}s"


@dataclass
class Negative(Cached):
    """As ``cached``, and negative entries are cached until a timeout of their own."""

    negative_ns: int = 0
    """The timeout of every negative entry, in nanoseconds; 0: none is cached."""

    def negative_timeout_ns(self, name: bytes, now_ns: int) -> int:
        """For how many ns it is cached that *name* does not exist: *negative_ns*, any name."""
        return self.negative_ns

    def describe(self) -> str:
        """A phrase for a status line: as that of ``cached``, and the seconds for missing names."""
        return f"{super().describe()}, missing names for {self.negative_ns / 1e9:g}s"


@dataclass
class Complete(Negative):
    """As ``negative``, and a directory whose names are all known answers for every other name.

    The vendor planned it ("negatively caches all directory entries not in a
    specified set"): unlike ``negative`` it helps the first time too. The set is
    kept true by host events and dropped whole when the host has lost some.
    """

    complete = True

    def describe(self) -> str:
        """A phrase for a status line: as of ``negative``, and that directories are cached whole."""
        return f"{super().describe()}, names of a directory as a whole"


@dataclass
class Dilated(CachePolicy):
    """Another policy with every timeout multiplied, for a share whose time runs slower."""

    policy: CachePolicy
    """The policy that is dilated; it is given times as in undilated time."""
    factor: float
    """By what its timeouts are multiplied; above 0."""

    def __post_init__(self) -> None:
        self.complete = self.policy.complete
        self.direct = self.policy.direct

    def found(self, name: bytes, status: os.stat_result, now_ns: int) -> CacheTimeouts:
        """The inner policy's timeouts for the object at its undilated age, times *factor*, ns."""
        entry_timeout_ns, attr_timeout_ns = self.policy.found(
            name, status, self._undilated(status, now_ns)
        )
        return CacheTimeouts(
            round(entry_timeout_ns * self.factor), round(attr_timeout_ns * self.factor)
        )

    def negative_timeout_ns(self, name: bytes, now_ns: int) -> int:
        """The inner policy's ns for a missing name, multiplied by *factor* and rounded."""
        return round(self.policy.negative_timeout_ns(name, now_ns) * self.factor)

    def keep_pages(self, status: os.stat_result, now_ns: int) -> bool:
        """Whether the inner policy keeps the file's cached pages, asked with its undilated age."""
        return self.policy.keep_pages(status, self._undilated(status, now_ns))

    def _undilated(self, status: os.stat_result, now_ns: int) -> int:
        """*now_ns* such that the object is as old as it would be in undilated time."""
        age_ns = now_ns - status.st_mtime_ns
        return status.st_mtime_ns + round(age_ns / self.factor)

    def describe(self) -> str:
        """A phrase for a status line: that of the inner policy, and the factor of time."""
        return f"{self.policy.describe()}; times {self.factor:g}"
