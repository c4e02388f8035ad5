"""What the guest has changed of an object, and the host does not have yet.

Everything in here ends with write-back: once no change of an object is held, it is what the host
says that it is. Until then the guest is shown the host's answer with these laid over it, or,
where the host has nothing at all, these alone.
"""

import os
import stat as modes
from dataclasses import dataclass
from typing import Any

from osxfs_sim.model.extents import Extents
from osxfs_sim.model.ownership import UNSET, Owner
from osxfs_sim.model.write_back import Change, Kind
from osxfs_sim.mount.tree.inodes import Inode

_BLOCK_BYTES = 512
_PREFERRED_BYTES = 4096


class HeldName:
    """What the guest takes a name in a directory for: *inode*, or None if there is none.

    *changes* is how many changes of this name are held.
    """

    __slots__ = ("changes", "inode")

    def __init__(self) -> None:
        self.inode: Inode | None = None
        self.changes = 0


class Held:
    """The guest's changes of one object.

    *changes* counts those in which it takes part, as what is changed or as a directory that
    gets or loses a name. *unmade* while the host has no such object. Attributes are None where
    the host's hold; *links* is to be added to the host's link count, or is all of it. *names*
    are those of a directory that differ from the host's. *fd* is the descriptor that its bytes
    are written through (-1: none yet). *place* is where the host had it last, *guest_place* where
    the guest has it, if it has moved or made it. *last_sequence* is the latest change in which it
    takes part, *own_sequence* the latest of itself. *nameless*
    once the guest has taken away its last name: nothing of it crosses any more but that. *seen*
    is what the host's object was like when the guest first changed it. *aside* is the errno with
    which the host has refused to have it made: it is unmade for good, and nothing is held of it
    any more but what those read who have it open.
    """

    __slots__ = (
        "_guest_place",
        "_place",
        "aside",
        "atime_ns",
        "changes",
        "content",
        "ctime_ns",
        "fd",
        "last_sequence",
        "link_target",
        "links",
        "mode",
        "mtime_ns",
        "nameless",
        "names",
        "own_sequence",
        "owner",
        "seen",
        "size",
        "unmade",
    )

    def __init__(self) -> None:
        self.changes = 0
        self.unmade = False
        self.nameless = False
        self.aside = 0
        self.mode: int | None = None
        self.owner: Owner = UNSET
        self.size: int | None = None
        self.atime_ns: int | None = None
        self.mtime_ns: int | None = None
        self.ctime_ns: int | None = None
        self.links = 0
        self.content: Extents | None = None
        self.link_target = b""
        self.names: dict[bytes, HeldName] | None = None
        self.fd = -1
        self.last_sequence = self.own_sequence = 0
        self._place: tuple[Inode, bytes] | None = None
        self._guest_place: tuple[Inode, bytes] | None = None
        self.seen: tuple[int, int, int] | None = None

    # Directories by which something held is to be found stay in the table of inodes.

    @property
    def place(self) -> "tuple[Inode, bytes] | None":
        """Where the host had it last."""
        return self._place

    @place.setter
    def place(self, place: "tuple[Inode, bytes] | None") -> None:
        before, self._place = self._place, place
        _pin_instead(before, place)

    @property
    def guest_place(self) -> "tuple[Inode, bytes] | None":
        """Where the guest has it, if it has moved or made it."""
        return self._guest_place

    @guest_place.setter
    def guest_place(self, place: "tuple[Inode, bytes] | None") -> None:
        before, self._guest_place = self._guest_place, place
        _pin_instead(before, place)

    def places(self) -> "list[tuple[Inode, bytes]]":
        """The places that it keeps in the table."""
        return [place for place in (self._place, self._guest_place) if place is not None]

    def name(self, name: bytes) -> HeldName | None:
        """What is held of *name* in this directory."""
        return self.names.get(name) if self.names is not None else None

    def named(self, name: bytes, inode: "Inode | None") -> None:
        """*name* in this directory stands for *inode* now, by one more change."""
        if self.names is None:
            self.names = {}
        held = self.names.get(name)
        if held is None:
            held = self.names[name] = HeldName()
        held.inode = inode
        held.changes += 1

    def named_before(self, name: bytes) -> None:
        """One more change of *name* is held, but not the latest: it stands for what it did."""
        assert self.names is not None
        self.names[name].changes += 1

    def settled_name(self, name: bytes) -> None:
        """A change of *name* is held no more."""
        assert self.names is not None
        held = self.names[name]
        held.changes -= 1
        if not held.changes:
            del self.names[name]


def hold(inode: "Inode") -> Held:
    """What is held of *inode*; from now on something is."""
    if inode.held is None:
        inode.held = Held()
        if inode.parent is not None:
            inode.held.place = inode.parent, inode.name
    return inode.held


def drop(inode: "Inode") -> None:
    """Nothing is held of *inode* any more. Whether it is needed still, its table can tell."""
    held = inode.held
    if held is not None:
        held.place = held.guest_place = None
    inode.held = None


def _pin_instead(before: "tuple[Inode, bytes] | None", after: "tuple[Inode, bytes] | None") -> None:
    if after is not None:
        after[0].pins += 1
    if before is not None:
        before[0].unpin()


@dataclass(slots=True)
class GuestStatus:
    """What the guest is told of an object, by the names of os.stat_result."""

    st_mode: int
    st_ino: int
    st_dev: int
    st_nlink: int
    st_uid: int
    st_gid: int
    st_rdev: int
    st_size: int
    st_blksize: int
    st_blocks: int
    st_atime_ns: int
    st_mtime_ns: int
    st_ctime_ns: int


def status_of_unmade(inode: "Inode") -> GuestStatus:
    """Of an object that the host does not have. The ids are for the caller to set."""
    held = inode.held
    assert held is not None
    size = held.size or 0
    return GuestStatus(
        st_mode=inode.kind | (held.mode or 0),
        st_ino=inode.number,
        st_dev=-1,
        st_nlink=held.links,
        st_uid=0,
        st_gid=0,
        st_rdev=0,
        st_size=size,
        st_blksize=_PREFERRED_BYTES,
        st_blocks=_blocks(held),
        st_atime_ns=held.atime_ns or 0,
        st_mtime_ns=held.mtime_ns or 0,
        st_ctime_ns=held.ctime_ns or 0,
    )


def _blocks(held: Held) -> int:
    """The room that the guest's bytes will take."""
    return -(-held.content.bytes // _BLOCK_BYTES) if held.content is not None else 0


def laid_over(held: Held, status: "os.stat_result | GuestStatus") -> GuestStatus:
    """The host's *status* of an object as the guest shall see it."""
    mode = status.st_mode
    if held.mode is not None:
        mode = modes.S_IFMT(mode) | held.mode
    links = status.st_nlink
    if not (modes.S_ISDIR(mode) and links < 2):  # some file systems do not count directories
        links = max(links + held.links, 0)
    size = status.st_size if held.size is None else held.size
    return GuestStatus(
        st_mode=mode,
        st_ino=status.st_ino,
        st_dev=status.st_dev,
        st_nlink=links,
        st_uid=status.st_uid,
        st_gid=status.st_gid,
        st_rdev=status.st_rdev,
        st_size=size,
        st_blksize=status.st_blksize,
        st_blocks=status.st_blocks + _blocks(held) if size else 0,
        st_atime_ns=status.st_atime_ns if held.atime_ns is None else held.atime_ns,
        st_mtime_ns=status.st_mtime_ns if held.mtime_ns is None else held.mtime_ns,
        st_ctime_ns=status.st_ctime_ns if held.ctime_ns is None else held.ctime_ns,
    )


def link_effects(change: "Change[Inode]") -> list[tuple["Inode", int]]:
    """What *change* does to link counts, and whose."""
    target, parent = change.target, change.parent
    match change.kind:
        case Kind.MAKE | Kind.LINK | Kind.UNLINK | Kind.RMDIR:
            assert parent is not None
            sign = 1 if change.kind in (Kind.MAKE, Kind.LINK) else -1
            if target.is_directory:
                return [(target, 2 * sign), (parent, sign)]
            return [(target, sign)]
        case Kind.RENAME:
            assert parent is not None
            assert change.old_parent is not None
            effects: list[tuple[Inode, int]] = []
            if target.is_directory and parent is not change.old_parent:
                effects += [(change.old_parent, -1), (parent, 1)]
            if change.replaced is not None:
                if change.replaced_is_directory:
                    effects += [(change.replaced, -2), (parent, -1)]
                else:
                    effects.append((change.replaced, -1))
            return effects
    return []


def concerned(change: "Change[Inode]") -> set["Inode"]:
    """The objects whose held state *change* is part of."""
    found: set[Any] = {change.target, *change.directories}
    if change.replaced is not None:
        found.add(change.replaced)
    return found


def name_effects(change: "Change[Inode]") -> list[tuple["Inode", bytes, "Inode | None"]]:
    """The names that *change* gives and takes: directory, name, and what it stands for then."""
    parent = change.parent
    if parent is None:
        return []
    if change.kind in (Kind.UNLINK, Kind.RMDIR):
        return [(parent, change.name, None)]
    effects: list[tuple[Inode, bytes, Inode | None]] = []
    if change.kind is Kind.RENAME:
        assert change.old_parent is not None
        effects.append((change.old_parent, change.old_name, None))
    effects.append((parent, change.name, change.target))
    return effects


def guest_path(inode: Inode | None, name: bytes = b"") -> str:
    """Where the guest has *name* in a directory, below the source, for people: on one line."""
    names = [name] if name else []
    seen: set[Inode] = set()
    while inode is not None and inode not in seen:
        seen.add(inode)  # both sides may have moved one into the other
        held = inode.held
        if held is not None and held.guest_place is not None:
            inode, own = held.guest_place
        elif inode.name:
            own, inode = inode.name, inode.parent
        else:
            break
        names.append(own)
    path = os.fsdecode(b"/".join(reversed(names))) or "."
    return path if path.isprintable() else repr(path)


def path_of_change(change: "Change[Inode]") -> str:
    """What *change* is about, as guest_path()."""
    if change.parent is not None:
        return guest_path(change.parent, change.name)
    return guest_path(change.target)
