"""Decides whether, and for how long, an answer of the host may be believed.

The guest's kernel keeps the caches (names, attributes, pages); what it keeps
is what each answer allows. A policy is asked once per answer and returns the
permission. It knows no clock and no FUSE: callers pass the time.

What the kernel makes of a permission (fs/fuse/dir.c of Linux 6.18; the numbers are cited
elsewhere):

1. An answer is valid until the tick in which it came, and its lifetime in ticks, rounded up, have
   passed; in its last tick it still is. 0 is never.
2. A hit renews nothing: only an answer sets the time.
3. An entry that is older than the connection's epoch is invalid, whatever its lifetime, positive
   and negative alike (FUSE_NOTIFY_INC_EPOCH).
4. A positive entry that has expired is revalidated by one LOOKUP, which renews entry and
   attributes (fuse_dentry_revalidate); one that names another inode is dropped, and looked up
   again. A negative one that has expired is looked up afresh.
5. Who makes a name with O_EXCL, and the target of a rename, are asked for in any case.
6. ENOENT is never kept; the node id 0 with a lifetime is: that is a negative entry.
7. A GETATTR is sent if a wanted attribute is invalidated, or the attributes have expired.
8. What the guest itself changes in a directory invalidates its attributes, and not its entries.

To try an idea, write one small class and name it on the command line
(``--policy package.module:Class``):

    class FreshFilesChange(CachePolicy):
        '''Believe a file the longer the older it is, as NFS does.'''

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
    """How long the two parts of an answer may be believed, in nanoseconds; 0: not at all.

    The entry says "this name is this object", the attributes say what the
    object is like.
    """

    entry_timeout_ns: int
    attr_timeout_ns: int


UNCACHED = CacheTimeouts(0, 0)

if not TYPE_CHECKING:
    _RENAMED = {"Lifetimes": "CacheTimeouts", "NOT_BELIEVED": "UNCACHED"}

    def __getattr__(name: str) -> object:
        """For who imports a name of earlier versions: ImportError with that of today."""
        if new := _RENAMED.get(name):
            raise ImportError(f"{__name__}.{name} is called {new} now")
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


_NEVER_CACHED = (stat.S_IFIFO, stat.S_IFSOCK, stat.S_IFCHR, stat.S_IFBLK)


def is_ever_cached(mode: int) -> bool:
    """Whether anything may be kept of an object of this st_mode.

    Whatever the policy, nothing is of sockets, pipes and devices (osxfs-caching.md, DEL-8).
    """
    return stat.S_IFMT(mode) not in _NEVER_CACHED


class CachePolicy:
    """Believes nothing: every question crosses. The base of all policies.

    Methods are called in the hot path, once per answer: keep them short. They
    must be pure in the sense that the same calls give the same answers; state
    of their own (an adaptive lifetime, say) is welcome.
    """

    complete: bool = False
    """Whether the names of a directory may be kept as a set, so that every other
    name is answered without a crossing. Only host events can keep such a set true."""

    direct: bool = False
    """Whether the guest keeps no content at all: each read(2) and write(2) is a
    request of its own, also while a file is open."""

    def found(self, name: bytes, status: os.stat_result, now_ns: int) -> CacheTimeouts:
        """For an object that exists.

        *name* is the name it was found by (empty when it was asked for without
        one), *status* what the host says of it, *now_ns* the wall-clock time in
        nanoseconds, comparable with ``status.st_mtime_ns``.
        """
        del name, status, now_ns
        return UNCACHED

    def negative_timeout_ns(self, name: bytes, now_ns: int) -> int:
        """For a name that does not exist: how long that may be believed, in nanoseconds."""
        del name, now_ns
        return 0

    def keep_pages(self, status: os.stat_result, now_ns: int) -> bool:
        """Whether pages that the guest holds of a file outlive this new open of it.

        With False, opening a file is what makes its content fresh (close to
        open consistency), and one open file is still read ahead and mapped as
        usual. Either way the kernel drops pages once it learns of a change of
        size or mtime.
        """
        del status, now_ns
        return False

    def describe(self) -> str:
        """One phrase for a status line."""
        return f"{type(self).__module__}:{type(self).__qualname__}"


def negative_timeout_ns(policy: CachePolicy, name: bytes, now_ns: int, can_end: bool) -> int:
    """How long a negative entry for *name* may be kept, in nanoseconds; 0: ENOENT is answered.

    *can_end* tells whether the kernel can be told of it when the host makes the name: else rule 1
    alone would end it, and the host's new file would not be seen until then.
    """
    return max(0, policy.negative_timeout_ns(name, now_ns)) if can_end else 0


class Consistent(CachePolicy):
    """The contract's ``consistent``: nothing is believed, every question crosses."""

    def describe(self) -> str:
        return "consistent: nothing believed"


class Direct(Consistent):
    """As ``consistent``, and no content is kept while a file is open either.

    What FUSE calls direct I/O, and virtiofsd does for every file under cache=none:
    nothing is read ahead, and files cannot be mapped shared.
    """

    direct = True

    def describe(self) -> str:
        return "direct: nothing believed, no content kept"


class Default(Consistent):
    """The contract's ``default``: as ``consistent``, and exports that overlap it keep their own.

    See model/consistency.py.
    """

    def describe(self) -> str:
        return "default: nothing believed, and nothing asked of overlapping exports"


@dataclass
class Cached(CachePolicy):
    """The contract's ``cached``: entries, attributes and pages are believed for a lifetime.

    Without *keeps_pages* content is fresh whenever a file is opened.
    """

    timeout_ns: int
    keeps_pages: bool = field(default=True, kw_only=True)

    def __post_init__(self) -> None:
        self._timeouts = CacheTimeouts(self.timeout_ns, self.timeout_ns)

    def found(self, name: bytes, status: os.stat_result, now_ns: int) -> CacheTimeouts:
        return self._timeouts

    def keep_pages(self, status: os.stat_result, now_ns: int) -> bool:
        return self.keeps_pages

    def describe(self) -> str:
        believed = "entries, attributes and pages" if self.keeps_pages else "entries and attributes"
        return f"cached: {believed} for {self.timeout_ns / 1e9:g}s"


@dataclass
class Negative(Cached):
    """As ``cached``, and names that do not exist are believed missing for a lifetime too."""

    negative_ns: int = 0

    def negative_timeout_ns(self, name: bytes, now_ns: int) -> int:
        return self.negative_ns

    def describe(self) -> str:
        return f"{super().describe()}, missing names for {self.negative_ns / 1e9:g}s"


@dataclass
class Complete(Negative):
    """As ``negative``, and a directory whose names are all known answers for every other name.

    The vendor planned it ("negatively caches all directory entries not in a
    specified set"): unlike ``negative`` it helps the first time too. The set is
    kept true by host events and given up whole when the host has lost some.
    """

    complete = True

    def describe(self) -> str:
        return f"{super().describe()}, names of a directory as a whole"


@dataclass
class Dilated(CachePolicy):
    """Another policy with every lifetime multiplied, for a share whose time runs slower."""

    policy: CachePolicy
    factor: float

    def __post_init__(self) -> None:
        self.complete = self.policy.complete
        self.direct = self.policy.direct

    def found(self, name: bytes, status: os.stat_result, now_ns: int) -> CacheTimeouts:
        entry_timeout_ns, attr_timeout_ns = self.policy.found(
            name, status, self._undilated(status, now_ns)
        )
        return CacheTimeouts(
            round(entry_timeout_ns * self.factor), round(attr_timeout_ns * self.factor)
        )

    def negative_timeout_ns(self, name: bytes, now_ns: int) -> int:
        return round(self.policy.negative_timeout_ns(name, now_ns) * self.factor)

    def keep_pages(self, status: os.stat_result, now_ns: int) -> bool:
        return self.policy.keep_pages(status, self._undilated(status, now_ns))

    def _undilated(self, status: os.stat_result, now_ns: int) -> int:
        """*now_ns* such that the object is as old as it would be in undilated time."""
        age_ns = now_ns - status.st_mtime_ns
        return status.st_mtime_ns + round(age_ns / self.factor)

    def describe(self) -> str:
        return f"{self.policy.describe()}; times {self.factor:g}"
