"""Guest kernels that break one rule each: what checks of the caches must notice.

The rules are numbered as at the head of osxfs_sim/model/caching.py.
"""

from osxfs_sim.model.caching import CacheTimeouts
from osxfs_sim.simulate.guest_kernel import (
    ALL,
    ATIME,
    MODE,
    CachedInode,
    Dentry,
    GuestKernel,
    Ticks,
)


class _TooEarly(Ticks):
    def has_expired(self, expiry: int, now_ns: int) -> bool:
        return expiry <= now_ns // self.tick_ns


class _RoundedDown(Ticks):
    def expiry(self, now_ns: int, timeout_ns: int) -> int:
        return (now_ns + timeout_ns) // self.tick_ns if timeout_ns > 0 else -1


class _ZeroIsATick(Ticks):
    def expiry(self, now_ns: int, timeout_ns: int) -> int:
        return now_ns // self.tick_ns + -(-timeout_ns // self.tick_ns)


class ExpiresATickTooEarly(GuestKernel):
    """Breaks rule 1: not valid any more in its last tick."""

    def __init__(self, ticks: Ticks) -> None:
        super().__init__(_TooEarly(ticks.tick_ns))


class RoundsTimeoutsDown(GuestKernel):
    """Breaks rule 1: a timeout is not rounded up to ticks."""

    def __init__(self, ticks: Ticks) -> None:
        super().__init__(_RoundedDown(ticks.tick_ns))


class KeepsForNoTime(GuestKernel):
    """Breaks rule 1: what may be kept for no time is, to the end of the tick."""

    def __init__(self, ticks: Ticks) -> None:
        super().__init__(_ZeroIsATick(ticks.tick_ns))


class RenewsByHits(GuestKernel):
    """Breaks rule 2: a hit makes a dentry last longer."""

    def valid(self, parent: int, name: bytes, now_ns: int) -> Dentry | None:
        dentry = super().valid(parent, name, now_ns)
        if dentry is not None:
            dentry.expiry += 1
        return dentry


class IgnoresTheEpoch(GuestKernel):
    """Breaks rule 3."""

    def increment_epoch(self) -> None:
        pass


class ForgetsAttributesOfEntries(GuestKernel):
    """Breaks rule 4: a LOOKUP renews the entry, and not the attributes."""

    def entry(
        self,
        parent: int,
        name: bytes,
        inode: int,
        timeouts: CacheTimeouts,
        status: tuple[int, int],
        now_ns: int,
    ) -> None:
        kept = self.inode(inode)
        before = kept.expiry, kept.invalid
        super().entry(parent, name, inode, timeouts, status, now_ns)
        kept.expiry, kept.invalid = before


class KeepsEveryMissingName(GuestKernel):
    """Breaks rule 6: ENOENT, which is answered where nothing may be kept, is kept."""

    def negative_entry(self, parent: int, name: bytes, timeout_ns: int, now_ns: int) -> None:
        super().negative_entry(parent, name, timeout_ns or 10**12, now_ns)


class NeverAsksForAttributes(GuestKernel):
    """Breaks rule 7: attributes that were answered once stay."""

    def has_attributes(self, number: int, wanted: int, now_ns: int) -> bool:
        return number in self._inodes


class IgnoresInvalidation(GuestKernel):
    """Breaks rule 7: by their timeout alone attributes are not known any more."""

    def invalidate_attributes(self, number: int, mask: int) -> None:
        pass


class DropsEntriesOfChangedDirectories(GuestKernel):
    """Breaks rule 8: what changes in a directory takes its entries along."""

    def changed_directory(self, inode: int) -> None:
        super().changed_directory(inode)
        for place in [each for each in self._dentries if each[0] == inode]:
            del self._dentries[place]


class KeepsAttributesOfChangedDirectories(GuestKernel):
    """Breaks rule 8: a directory's times and size are as before."""

    def changed_directory(self, inode: int) -> None:
        pass


class ReadsWithoutATime(GuestKernel):
    """Breaks rule 9: a READ leaves the time of access as it was known."""

    def read(self, number: int, offset_bytes: int, size_bytes: int) -> None:
        super().read(number, offset_bytes, size_bytes)
        self.inode(number).invalid &= ~ATIME


class ReadsForgetAll(GuestKernel):
    """Breaks rule 9: a READ invalidates more than the time of access."""

    def read(self, number: int, offset_bytes: int, size_bytes: int) -> None:
        super().read(number, offset_bytes, size_bytes)
        self.inode(number).invalid = ALL


class KeepsPagesWhateverIsToldOfThem(GuestKernel):
    """Breaks AUTO_INVAL_DATA: another size or mtime does not drop pages."""

    def inode(self, number: int) -> CachedInode:
        kept = super().inode(number)
        kept.size_bytes = -1
        return kept


class KeepsPagesOverOpens(GuestKernel):
    """Breaks the OPEN without FOPEN_KEEP_CACHE."""

    def opened(self, number: int, keeps_pages: bool) -> None:
        super().opened(number, keeps_pages=True)


class ForgetsNoLinks(GuestKernel):
    """An UNLINK leaves the number of links of what had the name as it was known."""

    def removed(self, parent: int, name: bytes) -> None:
        dentry = self._dentries.get((parent, name))
        super().removed(parent, name)
        if dentry is not None:
            self.inode(dentry.inode).invalid &= ~MODE


class LeavesTheOldName(GuestKernel):
    """A rename leaves the old name's dentry where it is."""

    def renamed(self, parent: int, name: bytes, new_parent: int, new_name: bytes) -> None:
        dentry = self._dentries.get((parent, name))
        super().renamed(parent, name, new_parent, new_name)
        if dentry is not None:
            self._dentries[parent, name] = dentry
