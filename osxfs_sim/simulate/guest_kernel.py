"""The caches of the guest's kernel (fs/fuse of Linux 6.18): dentries, attributes and pages.

A reference: each rule is written down once, as plainly as it can be, one question at a time. The
rules and their numbers are those at the head of model/caching.py; for how long an answer may be
kept is the share's to say (share.py). What is asked of it has a method here, which says whether
the kernel would have to send the request, and a second one that learns from its answer.

Time is the caller's, in nanoseconds; the kernel keeps it in ticks (jiffies).
"""

from dataclasses import dataclass, field

from osxfs_sim.model.caching import CacheTimeouts

PAGE_BYTES = 4096

ATIME = 1
"""Of what may be invalidated among the attributes: the time of access alone."""
CONTENT = 2
"""Size and times of content, which the guest's own writes change."""
MODE = 4
"""Mode, owner and the number of links."""
CTIME = 8
"""The time of the last change of status."""
ALL = ATIME | CONTENT | MODE | CTIME

NEGATIVE = 0
"""The inode number of a negative dentry (rule 6)."""


class Ticks:
    """The clock by which the kernel lets answers expire."""

    def __init__(self, tick_ns: int) -> None:
        """*tick_ns*: 1 s / CONFIG_HZ."""
        self.tick_ns = tick_ns

    def expiry(self, now_ns: int, timeout_ns: int) -> int:
        """The last tick in which an answer of *now_ns* is valid; -1: in none (rule 1)."""
        if timeout_ns <= 0:
            return -1
        return now_ns // self.tick_ns + -(-timeout_ns // self.tick_ns)

    def has_expired(self, expiry: int, now_ns: int) -> bool:
        """Whether what is valid up to the tick *expiry* is not any more (rule 1)."""
        return expiry < now_ns // self.tick_ns


@dataclass(slots=True)
class Dentry:
    """A name that the kernel has looked up."""

    inode: int
    """What it leads to; NEGATIVE: nowhere."""
    expiry: int
    """The last tick in which that is valid; -1: it has to be revalidated."""
    epoch: int
    """Of the connection, when the answer came (rule 3)."""


@dataclass(slots=True)
class CachedInode:
    """What the kernel has of one object."""

    expiry: int = -1
    """The last tick in which its attributes are valid."""
    invalid: int = ALL
    """Which of them are not, whatever the tick."""
    size_bytes: int = -1
    """As the kernel knows it; -1: it does not."""
    mtime_ns: int = -1
    """As the kernel knows it; -1: it does not."""
    pages: set[int] = field(default_factory=set)
    """The numbers of the pages that are up to date."""
    initialized_by_listing: bool = False
    """A listing has brought its attributes, and nobody has looked at it since."""
    place: tuple[int, bytes] | None = None
    """The directory and the name by which an answer last named it."""


class GuestKernel:
    """One guest's caches of one share."""

    def __init__(self, ticks: Ticks) -> None:
        self._ticks = ticks
        self._dentries: dict[tuple[int, bytes], Dentry] = {}
        self._inodes: dict[int, CachedInode] = {}
        self._epoch = 0
        self._advised_readdirplus: set[int] = set()

    # Names

    def valid(self, parent: int, name: bytes, now_ns: int) -> Dentry | None:
        """The dentry that answers for *name* in *parent*; None: it has to be looked up."""
        dentry = self._dentries.get((parent, name))
        if dentry is None or dentry.epoch != self._epoch:
            return None
        return None if self._ticks.has_expired(dentry.expiry, now_ns) else dentry

    def known(self, parent: int, name: bytes) -> Dentry | None:
        """The dentry of *name* in *parent*, valid or not."""
        dentry = self._dentries.get((parent, name))
        return dentry if dentry is not None and dentry.epoch == self._epoch else None

    def entry(
        self,
        parent: int,
        name: bytes,
        inode: int,
        timeouts: CacheTimeouts,
        status: tuple[int, int],
        now_ns: int,
    ) -> None:
        """An answer says that *name* leads to *inode*, of *status*: size in bytes and mtime in ns.

        As by LOOKUP, whatever makes a name, and READDIRPLUS.
        """
        expiry = self._ticks.expiry(now_ns, timeouts.entry_timeout_ns)
        self._dentries[parent, name] = Dentry(inode, expiry, self._epoch)
        self.attributes(inode, timeouts.attr_timeout_ns, status, now_ns)
        self._inodes[inode].place = parent, name

    def negative_entry(self, parent: int, name: bytes, timeout_ns: int, now_ns: int) -> None:
        """An answer says that there is no *name* in *parent*; 0: that is not to be kept."""
        expiry = self._ticks.expiry(now_ns, timeout_ns)
        self._dentries[parent, name] = Dentry(NEGATIVE, expiry, self._epoch)

    def invalidate_entry(self, parent: int, name: bytes) -> None:
        """FUSE_NOTIFY_INVAL_ENTRY: the dentry goes, and the attributes of its directory."""
        if self._dentries.pop((parent, name), None) is not None:
            self.invalidate_attributes(parent, ALL)

    def increment_epoch(self) -> None:
        """FUSE_NOTIFY_INC_EPOCH: no dentry is valid any more (rule 3)."""
        self._epoch += 1

    def removed(self, parent: int, name: bytes) -> None:
        """The guest itself has taken the name away (UNLINK, RMDIR)."""
        dentry = self._dentries.pop((parent, name), None)
        if dentry is not None and dentry.inode != NEGATIVE:
            self.invalidate_attributes(dentry.inode, MODE)
        self.changed_directory(parent)

    def renamed(self, parent: int, name: bytes, new_parent: int, new_name: bytes) -> None:
        """The guest itself has moved a name: its dentry moves along, as long as it was valid."""
        dentry = self._dentries.pop((parent, name), None)
        replaced = self._dentries.pop((new_parent, new_name), None)
        if replaced is not None and replaced.inode != NEGATIVE:
            self.invalidate_attributes(replaced.inode, MODE)
        if dentry is not None:
            self._dentries[new_parent, new_name] = dentry
            self.inode(dentry.inode).place = new_parent, new_name
            self.invalidate_attributes(dentry.inode, CTIME)
        self.changed_directory(parent)
        self.changed_directory(new_parent)

    def changed_directory(self, inode: int) -> None:
        """The guest itself has changed its names: its attributes go, its entries stay (rule 8)."""
        self.invalidate_attributes(inode, ALL)

    def changed_mode(self, directory: int) -> None:
        """The guest itself has set *directory*'s mode: its dentry is revalidated (fuse_setattr)."""
        inode = self._inodes.get(directory)
        dentry = None if inode is None or inode.place is None else self._dentries.get(inode.place)
        if dentry is not None and dentry.inode == directory:
            dentry.expiry = -1

    # Attributes

    def inode(self, number: int) -> CachedInode:
        """What the kernel has of it; made where it has nothing yet."""
        inode = self._inodes.get(number)
        if inode is None:
            inode = self._inodes[number] = CachedInode()
        return inode

    def has_attributes(self, number: int, wanted: int, now_ns: int) -> bool:
        """Whether it knows those attributes that are *wanted*, a mask (rule 7)."""
        inode = self._inodes.get(number)
        if inode is None or inode.invalid & wanted:
            return False
        return not self._ticks.has_expired(inode.expiry, now_ns)

    def attributes(
        self, number: int, timeout_ns: int, status: tuple[int, int], now_ns: int
    ) -> None:
        """An answer tells what *number* is like; *status* as in entry().

        A size or an mtime that differs from what was known drops the pages (AUTO_INVAL_DATA).
        """
        inode = self.inode(number)
        size_bytes, mtime_ns = status
        if size_bytes >= 0:
            if inode.size_bytes >= 0 and (inode.size_bytes, inode.mtime_ns) != status:
                inode.pages.clear()
            inode.size_bytes, inode.mtime_ns = size_bytes, mtime_ns
        inode.invalid = 0
        inode.expiry = self._ticks.expiry(now_ns, timeout_ns)

    def invalidate_attributes(self, number: int, mask: int) -> None:
        """They are to be asked for when they are wanted next."""
        inode = self._inodes.get(number)
        if inode is not None:
            inode.invalid |= mask

    def invalidate_inode(self, number: int) -> None:
        """FUSE_NOTIFY_INVAL_INODE: attributes and pages go."""
        inode = self._inodes.get(number)
        if inode is not None:
            inode.invalid = ALL
            inode.pages.clear()

    # Content

    def opened(self, number: int, keeps_pages: bool) -> None:
        """OPEN was answered; without FOPEN_KEEP_CACHE the pages go."""
        if not keeps_pages:
            self.inode(number).pages.clear()

    def has_pages(self, number: int, offset_bytes: int, size_bytes: int) -> bool:
        """Whether all of this range is in the page cache."""
        inode = self._inodes.get(number)
        return inode is not None and inode.pages.issuperset(pages(offset_bytes, size_bytes))

    def read(self, number: int, offset_bytes: int, size_bytes: int) -> None:
        """READ was answered: the pages are there, and the time of access is not known."""
        inode = self.inode(number)
        inode.pages.update(pages(offset_bytes, size_bytes))
        inode.invalid |= ATIME

    def wrote(self, number: int, offset_bytes: int, size_bytes: int) -> None:
        """WRITE was answered: whole pages are up to date; size and times are the server's."""
        inode = self.inode(number)
        inode.pages.update(pages(offset_bytes, size_bytes))
        inode.invalid |= CONTENT
        if inode.size_bytes >= 0:
            inode.size_bytes = max(inode.size_bytes, offset_bytes + size_bytes)

    # Listings

    def uses_readdirplus(self, number: int, mode: str, *, is_first: bool) -> bool:
        """Whether it asks for attributes along with the names of a directory.

        *mode* is one of model.protocol.READDIRPLUS, *is_first* whether a listing begins
        (fuse_use_readdirplus).
        """
        if mode != "adaptive":
            return mode == "always"
        advised = number in self._advised_readdirplus
        self._advised_readdirplus.discard(number)
        return advised or is_first

    def looked_up(self, parent: int) -> None:
        """A LOOKUP in *parent* has found something: listings are advised to bring attributes."""
        self._advised_readdirplus.add(parent)

    def used(self, parent: int, dentry: Dentry) -> None:
        """A valid *dentry* of *parent* answers. If a listing has brought it, such are advised."""
        inode = self._inodes.get(dentry.inode)
        if inode is not None and inode.initialized_by_listing:
            inode.initialized_by_listing = False
            self._advised_readdirplus.add(parent)

    def linked(self, number: int) -> None:
        """A READDIRPLUS has brought what *number* is like."""
        self.inode(number).initialized_by_listing = True

    def listed(self, number: int) -> None:
        """A READDIR or READDIRPLUS was answered: when the directory was accessed is not known."""
        self.invalidate_attributes(number, ATIME)


def pages(offset_bytes: int, size_bytes: int) -> range:
    """The numbers of the pages that a range touches."""
    return range(offset_bytes // PAGE_BYTES, -(-(offset_bytes + size_bytes) // PAGE_BYTES))
