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


@dataclass(slots=True, eq=False)
class OverlayName:
    """What the guest takes a name in a directory for."""

    inode: Inode | None = None
    """What it stands for, or None if there is no such name. Written by overlay, set_aside."""
    changes: int = 0
    """How many pending changes are of this name. Written by overlay."""


@dataclass(slots=True, eq=False)
class Overlay:
    """The guest's changes of one object: what it is shown with, as long as any is pending.

    Made by overlay_of(), and ended by drop_overlay(). Each field says which modules of this
    package may write it; everybody may read. What is None is as the host has it.
    """

    changes: int = 0
    """How many pending changes it takes part in: as their object, or as a directory whose names
    they change. Written by pending_state."""
    local_only: bool = False
    """Whether the host has no such object, not yet or never. Written by handlers, host_places."""
    orphan: bool = False
    """Whether the guest has taken away its last name: nothing of it crosses any more but that.
    Written by pending_state, set_aside."""
    aside: int = 0
    """The errno with which the host has refused to have it made, or 0: it is local-only for good,
    and nothing is pending of it but what those read who have it open. Written by set_aside."""
    mode: int | None = None
    """Its permissions, without the kind. Written by handlers, set_aside."""
    owner: Owner = UNSET
    """To whom the guest has given it. Written by handlers, set_aside."""
    size: int | None = None
    """Of a file, in bytes; of a local-only symlink, too. Written by handlers, pending_state,
    set_aside."""
    atime_ns: int | None = None
    """When it was read last, by the wall clock. Written by handlers, set_aside."""
    mtime_ns: int | None = None
    """When its content was changed last, by the wall clock. Written by handlers, set_aside."""
    ctime_ns: int | None = None
    """When anything of it was changed last, by the wall clock. Written by handlers, set_aside."""
    links: int = 0
    """To be added to the host's link count, or all of it while local-only. Written by
    pending_state."""
    content: Extents | None = None
    """The bytes of a file that the guest has written or cut off. Written by handlers,
    pending_state, set_aside."""
    link_target: bytes = b""
    """Of a symlink that is local-only. Written by handlers."""
    names: dict[bytes, OverlayName] | None = None
    """Of a directory: the names that differ from the host's. Written by overlay."""
    fd: int = -1
    """The descriptor by which it is written to; -1 where none is open. Written by host_contents,
    pending_descriptors, inode_resolver."""
    last_sequence: int = 0
    """The latest change that it takes part in. Written by pending_state."""
    own_sequence: int = 0
    """The latest change whose object it is. Written by pending_state."""
    seen: tuple[int, int, int] | None = None
    """What the host's object was like when the guest first changed it, or when we last did:
    see restoring.what_is_seen(). Written by handlers, host_contents, set_aside, inode_resolver."""
    _place: tuple[Inode, bytes] | None = None
    _guest_place: tuple[Inode, bytes] | None = None

    # Directories by which something held is to be found stay in the table of inodes.

    @property
    def place(self) -> tuple[Inode, bytes] | None:
        """The directory and the name by which the host had it last.

        Written by overlay, host_places, host_writer.
        """
        return self._place

    @place.setter
    def place(self, place: tuple[Inode, bytes] | None) -> None:
        before, self._place = self._place, place
        _pin_instead(before, place)

    @property
    def guest_place(self) -> tuple[Inode, bytes] | None:
        """The directory and the name where the guest has it, if it has moved or made it.

        Written by handlers, set_aside, overlay.
        """
        return self._guest_place

    @guest_place.setter
    def guest_place(self, place: tuple[Inode, bytes] | None) -> None:
        before, self._guest_place = self._guest_place, place
        _pin_instead(before, place)

    def places(self) -> list[tuple[Inode, bytes]]:
        """The places that it keeps in the table."""
        return [place for place in (self._place, self._guest_place) if place is not None]

    def name(self, name: bytes) -> OverlayName | None:
        """What is held of *name* in this directory."""
        return self.names.get(name) if self.names is not None else None

    def named(self, name: bytes, inode: Inode | None) -> None:
        """*name* in this directory stands for *inode* now, by one more change."""
        if self.names is None:
            self.names = {}
        entry = self.names.get(name)
        if entry is None:
            entry = self.names[name] = OverlayName()
        entry.inode = inode
        entry.changes += 1

    def named_before(self, name: bytes) -> None:
        """One more change of *name* is held, but not the latest: it stands for what it did."""
        assert self.names is not None
        self.names[name].changes += 1

    def mark_name_clean(self, name: bytes) -> None:
        """A change of *name* is held no more."""
        assert self.names is not None
        entry = self.names[name]
        entry.changes -= 1
        if not entry.changes:
            del self.names[name]


def overlay_of(inode: Inode) -> Overlay:
    """What is held of *inode*; from now on something is."""
    if inode.overlay is None:
        inode.overlay = Overlay()
        if inode.parent is not None:
            inode.overlay.place = inode.parent, inode.name
    return inode.overlay


def drop_overlay(inode: Inode) -> None:
    """Nothing is held of *inode* any more. Whether it is needed still, its table can tell."""
    overlay = inode.overlay
    if overlay is not None:
        overlay.place = overlay.guest_place = None
    inode.overlay = None


def _pin_instead(before: tuple[Inode, bytes] | None, after: tuple[Inode, bytes] | None) -> None:
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


def status_of_local_only(inode: Inode) -> GuestStatus:
    """Of an object that the host does not have. The ids are for the caller to set."""
    overlay = inode.overlay
    assert overlay is not None
    size = overlay.size or 0
    return GuestStatus(
        st_mode=inode.kind | (overlay.mode or 0),
        st_ino=inode.number,
        st_dev=-1,
        st_nlink=overlay.links,
        st_uid=0,
        st_gid=0,
        st_rdev=0,
        st_size=size,
        st_blksize=_PREFERRED_BYTES,
        st_blocks=_blocks(overlay),
        st_atime_ns=overlay.atime_ns or 0,
        st_mtime_ns=overlay.mtime_ns or 0,
        st_ctime_ns=overlay.ctime_ns or 0,
    )


def _blocks(overlay: Overlay) -> int:
    """The room that the guest's bytes will take."""
    return -(-overlay.content.bytes // _BLOCK_BYTES) if overlay.content is not None else 0


def laid_over(overlay: Overlay, status: os.stat_result | GuestStatus) -> GuestStatus:
    """The host's *status* of an object as the guest shall see it."""
    mode = status.st_mode
    if overlay.mode is not None:
        mode = modes.S_IFMT(mode) | overlay.mode
    links = status.st_nlink
    if not (modes.S_ISDIR(mode) and links < 2):  # some file systems do not count directories
        links = max(links + overlay.links, 0)
    size = status.st_size if overlay.size is None else overlay.size
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
        st_blocks=status.st_blocks + _blocks(overlay) if size else 0,
        st_atime_ns=status.st_atime_ns if overlay.atime_ns is None else overlay.atime_ns,
        st_mtime_ns=status.st_mtime_ns if overlay.mtime_ns is None else overlay.mtime_ns,
        st_ctime_ns=status.st_ctime_ns if overlay.ctime_ns is None else overlay.ctime_ns,
    )


def link_effects(change: Change[Inode]) -> list[tuple[Inode, int]]:
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


def concerned(change: Change[Inode]) -> set[Inode]:
    """The objects whose held state *change* is part of."""
    found: set[Any] = {change.target, *change.directories}
    if change.replaced is not None:
        found.add(change.replaced)
    return found


def name_effects(change: Change[Inode]) -> list[tuple[Inode, bytes, Inode | None]]:
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
        overlay = inode.overlay
        if overlay is not None and overlay.guest_place is not None:
            inode, own = overlay.guest_place
        elif inode.name:
            own, inode = inode.name, inode.parent
        else:
            break
        names.append(own)
    path = os.fsdecode(b"/".join(reversed(names))) or "."
    return path if path.isprintable() else repr(path)


def path_of_change(change: Change[Inode]) -> str:
    """What *change* is about, as guest_path()."""
    if change.parent is not None:
        return guest_path(change.parent, change.name)
    return guest_path(change.target)
