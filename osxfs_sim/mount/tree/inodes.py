"""The inode table: what the kernel knows by number, and the lookup count of each.

The kernel refers to objects by a number that we choose. An inode lives here
from the first answer that named it until the kernel has forgotten every one of
them (forget), also when the object was unlinked meanwhile.

The number is the host's own inode number wherever that is free, so that tools
which remember inode numbers (git, tar, rsync) find them unchanged after a
remount. The exceptions get numbers from _FIRST_INVENTED on: the root (always
1), objects of a file system mounted below the export, and an object whose
number is still held by a deleted one.

What is in the table, and what for (check() says where it is not so):

* an inode is in it if and only if the kernel knows it, or a change of it is pending, or another
  inode that is in it is reached through it (its *pins*, pending places included);
* so the directories by which an inode in the table is reached are in the table, too;
* nobody finds an inode here that is not in it: neither by number nor by identity;
* lookup counts are never negative.
"""

import collections
import errno
import os
import stat as modes
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from osxfs_sim.mount.tree.pending import Overlay

ROOT_NUMBER = 1
_FIRST_INVENTED = 1 << 62


class UnknownInodeError(OSError, KeyError):
    """The kernel was sent no inode of that number, or has forgotten it; errno is ESTALE."""

    def __init__(self) -> None:
        super().__init__(errno.ESTALE, os.strerror(errno.ESTALE))


class Identifying(Protocol):
    """What tells an object of the host: os.stat_result, or as much as was kept of one."""

    @property
    def st_dev(self) -> int:
        """The number of the device that the object is on."""
        ...

    @property
    def st_ino(self) -> int:
        """The object's inode number on its device, which a later object may be given again."""
        ...

    @property
    def st_mode(self) -> int:
        """The object's type, in the S_IFMT bits, and its permissions."""
        ...


class Facts(NamedTuple):
    """What the host says of an object when a change of it begins to be pending."""

    generation: bytes | None
    """What tells it from a later object with its inode number (tree/generations.py); None: nothing
    does."""
    mount_id: int
    """The ID of the mount that it is on (statx(2)); 0: unknown, or to be read again."""
    attributes: int
    """Its STATX_ATTR bits, such as immutable."""


class Shown(NamedTuple):
    """What the guest was last shown of an object, so that it can be made again like that."""

    mode: int
    """Type and permissions, as st_mode."""
    uid: int
    """The host's owner."""
    gid: int
    """The host's group."""
    owner_uid: int = -1
    """The owner that the guest has given it; -1: none."""
    owner_gid: int = -1
    """The group that the guest has given it; -1: none."""


class Inode:
    """One object of the host that the kernel knows.

    Each field says who may write it; everybody may read. "The table" is InodeTable.
    """

    __slots__ = (
        "_other_names",
        "_parent",
        "changed_ns",
        "device",
        "facts",
        "handle",
        "host_number",
        "kind",
        "name",
        "nlookup",
        "number",
        "open_fds",
        "openable_handle",
        "overlay",
        "path_fd",
        "pins",
        "recently_used",
        "sent_dentries",
        "shown",
        "table",
        "watched",
    )

    def __init__(
        self,
        number: int,
        device: int,
        host_number: int,
        kind: int,
        parent: "Inode | None",
        name: bytes,
    ) -> None:
        self.number = number
        """The FUSE inode number, st_ino in the guest. Written by table, synthetic_directories."""
        self.device = device
        """st_dev on the host; -1: the host has no such object, or its number is another's. Written
        by the table."""
        self.host_number = host_number
        """st_ino on the host; 0 while it is local-only. Written by the table."""
        self.kind = kind
        """Its type, the S_IFMT bits; with the two above its identity. Never changes."""
        self.table: InodeTable | None = None
        """The table that it is in. Written by that."""
        self.pins = 0
        """How many inodes in the table are reached through it, pending places included. Written by
        inodes, pending."""
        self._parent = parent
        self.name = name
        """Its name in *parent*; b"" of the root. Written with parent."""
        self._other_names: list[tuple[Inode, bytes]] | None = None
        self.nlookup = 0
        """The kernel's lookup count: replies that named it, less what FORGET has paid back. Raised
        by whoever sends such a reply, lowered by the table."""
        self.path_fd = -1
        """An O_PATH descriptor while it is a directory in use, an orphan, or held; -1: none.
        Written by backing, synthetic_directories."""
        self.recently_used = False
        """The second chance of its descriptor. Written by backing."""
        self.handle: bytes | None = None
        """The file handle of a directory, FIFO or socket; None: none is known. Written by entries,
        host_places."""
        self.openable_handle: bytes | None = None
        """By what an object that gave its descriptor up is found again. Written by backing."""
        self.open_fds: list[int] | None = None
        """The descriptors by which the guest has it open; None: it has not. Written by
        handle_table."""
        self.sent_dentries: dict[bytes, Inode] | None = None
        """Of a directory: the dentries in it that were sent to the kernel, where that is tracked.
        Written by the table, guest_side, guest_view, effect_applier."""
        self.watched: bool | None = None
        """Of a directory: whether host changes in it will be seen; None: nobody has tried. Written
        by assembly, entries, host_places."""
        self.changed_ns = 0
        """When the guest last changed it, wall-clock. Written by requests and write-back."""
        self.overlay: Overlay | None = None
        """What is pending of it; None: nothing. Written by pending."""
        self.facts: Facts | None = None
        """What the host said of it when that began. Written by deferral, host_places,
        inode_resolver."""
        self.shown: Shown | None = None
        """What the guest was last shown of it. Written by deferral, guest_view, host_places,
        inode_resolver."""

    @property
    def parent(self) -> "Inode | None":
        """The directory where this inode was last reached; None: it is the root, or has no name."""
        return self._parent

    @parent.setter
    def parent(self, parent: "Inode | None") -> None:
        before = self._parent
        self._parent = parent
        if self.table is not None and parent is not before:
            if parent is not None:
                parent.pins += 1
            if before is not None:
                before.unpin()

    @property
    def other_names(self) -> "list[tuple[Inode, bytes]] | None":
        """Further (directory, name) pairs of a file with several links; None: none are known."""
        return self._other_names

    @other_names.setter
    def other_names(self, places: "list[tuple[Inode, bytes]] | None") -> None:
        before = self._other_names
        self._other_names = places
        if self.table is not None:
            for parent, _ in places or ():
                parent.pins += 1
            for parent, _ in before or ():
                parent.unpin()

    def places(self) -> "Iterator[tuple[Inode, bytes]]":
        """All (directory, name) pairs by which this inode is reached, the latest first."""
        if self._parent is not None:
            yield self._parent, self.name
        yield from self._other_names or ()

    def unpin(self) -> None:
        """Lower *pins*, the inodes reached through this one; at 0 it may be due for eviction."""
        self.pins -= 1
        if not self.pins and not self.nlookup and self.table is not None:
            self.table.unneeded.append(self)

    @property
    def is_local_only(self) -> bool:
        """Whether the guest has created this object and the host does not have it (yet)."""
        return self.overlay is not None and self.overlay.local_only

    def is_same(self, status: Identifying) -> bool:
        """Whether *status* is of this very object: equal device, inode number and type."""
        return (
            status.st_ino == self.host_number
            and status.st_dev == self.device
            and modes.S_IFMT(status.st_mode) == self.kind
        )

    @property
    def is_directory(self) -> bool:
        """Whether this inode is a directory."""
        return self.kind == modes.S_IFDIR

    def add_name(self, parent: "Inode", name: bytes, links: int) -> None:
        """Make *name* in *parent* its latest place; older ones stay if *links* (st_nlink) > 1."""
        if self.parent is parent and self.name == name:
            return
        if links > 1 and not self.is_directory:
            others = self.other_names or []
            others = [other for other in others if other != (parent, name)]
            if self.parent is not None:
                others.append((self.parent, self.name))
            for unkept in others[:-_NAMES_KEPT]:
                self._drop_sent_dentry(*unkept)
            self.other_names = others[-_NAMES_KEPT:]
        elif self.parent is not None:
            self._drop_sent_dentry(self.parent, self.name)
        self.parent = parent
        self.name = name

    def sent_dentry(self, name: bytes) -> "Inode | None":
        """The inode that the kernel was last sent for *name* in this directory; None: unknown."""
        return self.sent_dentries.get(name) if self.sent_dentries is not None else None

    def _drop_sent_dentry(self, parent: "Inode", name: bytes) -> None:
        if parent.sent_dentry(name) is self:
            assert parent.sent_dentries is not None
            del parent.sent_dentries[name]

    def drop_sent_dentries(self) -> None:
        """Drop this inode from its directories' sent dentries: the kernel has forgotten it."""
        for parent, name in self.other_names or ():
            self._drop_sent_dentry(parent, name)
        if self.parent is not None:
            self._drop_sent_dentry(self.parent, self.name)

    def moved(self, parent: "Inode", name: bytes, from_parent: "Inode", from_name: bytes) -> None:
        """Note the guest's rename of it to *name* in *parent*; drop the place it was moved from."""
        self._drop_sent_dentry(from_parent, from_name)
        if parent.sent_dentries is not None:
            parent.sent_dentries[name] = self
        places = [*(self.other_names or ())]
        if self.parent is not None:
            places.append((self.parent, self.name))
        gone = ((from_parent, from_name), (parent, name))
        self.other_names = [place for place in places if place not in gone] or None
        self.parent = parent
        self.name = name

    def moved_by_host(self, parent: "Inode", name: bytes) -> None:
        """Note the host's rename of it to *name* in *parent*; the old place stays another name."""
        before = self.parent
        if before is not None and (before is not parent or self.name != name):
            places = [place for place in self.other_names or () if place != (parent, name)]
            self.other_names = [*places, (before, self.name)][-_NAMES_KEPT:]
        self.parent = parent
        self.name = name

    def drop_name(self, parent: "Inode", name: bytes) -> bool:
        """Note that it is no longer *name* in *parent*. Returns whether another name is known."""
        self._drop_sent_dentry(parent, name)
        others = [other for other in self.other_names or () if other != (parent, name)]
        if self.parent is parent and self.name == name:
            if not others:
                return False
            self.parent, self.name = others.pop()
        self.other_names = others or None
        return True


_NAMES_KEPT = 8


class InodeTable:
    """The inodes that the kernel knows, by number and by identity. FORGET shrinks it.

    With *tracks_dentries* each directory keeps the dentries that were sent to the kernel.
    """

    def __init__(self, root: os.stat_result, *, tracks_dentries: bool = False) -> None:
        self._tracks_dentries = tracks_dentries
        self.root = Inode(
            ROOT_NUMBER, root.st_dev, root.st_ino, modes.S_IFMT(root.st_mode), None, b""
        )
        self.root.nlookup = 1  # the kernel never forgets the root
        self.root.sent_dentries = {} if tracks_dentries else None
        self._by_number: dict[int, Inode] = {ROOT_NUMBER: self.root}
        # Only the objects whose number is not the host's.
        self._by_identity: dict[tuple[int, int], Inode] = {(root.st_dev, root.st_ino): self.root}
        self._next_invented = _FIRST_INVENTED
        self._peak = 1
        self.root.table = self
        self.unneeded: list[Inode] = []
        """What is perhaps needed no more: see pop_unneeded()."""

    def __len__(self) -> int:
        return len(self._by_number)

    def __getitem__(self, number: int) -> Inode:
        """The inode of that number. Raises UnknownInodeError, an OSError."""
        try:
            return self._by_number[number]
        except KeyError:
            raise UnknownInodeError from None

    def find(self, status: Identifying) -> Inode | None:
        """The inode of the object that *status* is of; None where the table has none."""
        inode = self._by_number.get(status.st_ino)
        if inode is not None and inode.is_same(status):
            return inode
        inode = self._by_identity.get((status.st_dev, status.st_ino))
        if inode is not None and inode.is_same(status):
            return inode
        return None

    def find_or_add(self, parent: Inode, name: bytes, status: os.stat_result) -> Inode:
        """The inode of an object found as *name* in *parent*, added to the table where it is new.

        Does not raise its lookup count: that is done only if a reply names it.
        """
        inode = self.find(status)
        if inode is None:
            inode = Inode(
                self._free_number(status),
                status.st_dev,
                status.st_ino,
                modes.S_IFMT(status.st_mode),
                parent,
                name,
            )
            self._put(inode)
            if inode.number != inode.host_number:
                self._by_identity[inode.device, inode.host_number] = inode
            if self._tracks_dentries and inode.is_directory:
                inode.sent_dentries = {}
        elif (inode.parent is not parent or inode.name != name) and inode is not self.root:
            inode.add_name(parent, name, status.st_nlink)
        if parent.sent_dentries is not None:
            parent.sent_dentries[name] = inode
        return inode

    def all(self) -> list[Inode]:
        """All inodes in the table now, as a list of its own."""
        return list(self._by_number.values())

    def knows(self, inode: Inode) -> bool:
        """Whether *inode* is in the table still."""
        return self._by_number.get(inode.number) is inode

    def tombstone(self, parent: Inode, name: bytes, kind: int) -> Inode:
        """Add an inode for *name* in *parent*, which is gone, so that an event can delete it.

        The guest never looked it up while it was there; now it hears that it goes.
        """
        self._next_invented += 1
        inode = Inode(self._next_invented, -1, 0, kind, parent, name)
        self._put(inode)
        return inode

    def _put(self, inode: Inode) -> None:
        self._by_number[inode.number] = inode
        self._peak = max(self._peak, len(self._by_number))
        inode.table = self
        for parent, _ in inode.places():
            parent.pins += 1

    def new_local_only(self, kind: int) -> Inode:
        """Add an inode of this *kind* (S_IFMT) that the guest has made and the host has not."""
        self._next_invented += 1
        inode = Inode(self._next_invented, -1, 0, kind, None, b"")
        self._put(inode)
        if self._tracks_dentries and inode.is_directory:
            inode.sent_dentries = {}
        return inode

    def created_on_host(
        self, inode: Inode, parent: Inode, name: bytes, status: Identifying
    ) -> None:
        """Note that the host has created *inode* as *name* in *parent*; its FUSE number stays."""
        before = self.find(status)
        if before is not None and before is not inode:
            # The host has removed that, and given its number to this one.
            self.detach_host_number(before)
        self.identify(inode, status.st_dev, status.st_ino)
        inode.parent, inode.name, inode.other_names = parent, name, None
        if parent.sent_dentries is not None:
            parent.sent_dentries[name] = inode

    def identify(self, inode: Inode, device: int, host_number: int) -> None:
        """Make *inode* stand for the host's object of this device and inode number from now on.

        It was another before, perhaps; and so was another inode that one.
        """
        before = self._by_identity.get((device, host_number))
        if before is not None:
            self.detach_host_number(before)
        self.detach_host_number(inode)
        inode.device, inode.host_number = device, host_number
        if inode.table is self:  # or it would be found here, and its number would not
            self._by_identity[device, host_number] = inode

    def _free_number(self, status: os.stat_result) -> int:
        number = status.st_ino
        if (
            status.st_dev == self.root.device
            and ROOT_NUMBER < number < _FIRST_INVENTED
            and number not in self._by_number
        ):
            return number
        self._next_invented += 1
        return self._next_invented

    def forget(self, number: int, nlookup: int) -> Inode | None:
        """Lower *number*'s lookup count; the inode if that evicts it, or None. Raises KeyError.

        What is needed for another reason stays until evict() or pop_unneeded(). Raises KeyError for
        an unknown number, AssertionError for more than was counted.
        """
        inode = self._by_number[number]
        assert inode.nlookup >= nlookup, (number, inode.nlookup, nlookup)
        inode.nlookup -= nlookup
        if self.is_needed(inode):
            return None
        self.remove(inode)
        return inode

    def is_needed(self, inode: Inode) -> bool:
        """Whether *inode* must stay: looked up, pending, the root, or others are reached by it."""
        return (
            inode.nlookup > 0
            or inode.pins > 0
            or inode is self.root
            or (inode.overlay is not None and inode.overlay.changes > 0)
        )

    def evict(self, inode: Inode) -> bool:
        """Take *inode* out of the table if nothing needs it. Returns whether it was taken out."""
        if inode.table is not self or self.is_needed(inode):
            return False
        self.remove(inode)
        return True

    def pop_unneeded(self) -> Inode | None:
        """Evict and return an inode kept only for others, which are gone; None: there is none."""
        while self.unneeded:
            inode = self.unneeded.pop()
            if self.evict(inode):
                return inode
        return None

    def remove(self, inode: Inode) -> None:
        """Take *inode* out of the table and unpin the directories it is in. Raises KeyError."""
        del self._by_number[inode.number]
        if self._tracks_dentries:
            inode.drop_sent_dentries()
        if self._by_identity.get((inode.device, inode.host_number)) is inode:
            del self._by_identity[inode.device, inode.host_number]
        inode.table = None
        for parent, _ in inode.places():
            parent.unpin()

    def check(self) -> list[str]:
        """Where the invariant at the head of this module is broken, in words. For tests."""
        wrong: list[str] = []
        pins: collections.Counter[Inode] = collections.Counter()
        for number, inode in self._by_number.items():
            what = f"inode {number} ({inode.name!r})"
            if inode.table is not self:
                wrong.append(f"{what} is found by its number and does not know of the table")
            if inode.nlookup < 0:
                wrong.append(f"{what} has {inode.nlookup} lookups")
            is_waiting = inode in self.unneeded or inode.overlay is not None
            if not self.is_needed(inode) and not is_waiting:
                wrong.append(f"{what} is needed by nobody")
            places = [parent for parent, _ in inode.places()]
            if inode.overlay is not None:
                places += [place[0] for place in inode.overlay.places()]
            pins.update(places)
            wrong += [
                f"{what} is reached through {parent.number} ({parent.name!r}), which is not here"
                for parent in places
                if parent.table is not self
            ]
        wrong += [
            f"inode {inode.number} has {inode.pins} pins, not {pins[inode]}"
            for inode in self._by_number.values()
            if inode.pins != pins[inode]
        ]
        for identity, inode in self._by_identity.items():
            if inode.table is not self:
                wrong.append(f"{identity} leads to {inode.number}, which is not here")
            if identity != (inode.device, inode.host_number):
                wrong.append(f"{identity} leads to {inode.number}, which is another object")
        return wrong

    def detach_host_number(self, inode: Inode) -> None:
        """Forget which host object *inode* is: it lost its last name, or another has its number.

        From now on a new object with the same host number is another inode.
        """
        if self._by_identity.get((inode.device, inode.host_number)) is inode:
            del self._by_identity[inode.device, inode.host_number]
        inode.device = -1

    def compact(self) -> None:
        """Give memory back if at most a quarter of the most inodes is left; else do nothing."""
        if len(self._by_number) * 4 > self._peak:
            return
        self._peak = len(self._by_number)
        self._by_number = dict(self._by_number)
        self._by_identity = dict(self._by_identity)
