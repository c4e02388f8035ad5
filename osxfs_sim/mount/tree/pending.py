"""What the guest has changed of an object and the host does not have yet, as a part of its inode.

It is written by write-back alone (mount/writeback/), each field by whom it says; everybody may
read it. So that whoever looks at an inode can, it is known here, where inodes are.
"""

from dataclasses import dataclass

from osxfs_sim.model.extents import Extents
from osxfs_sim.model.ownership import UNSET, Owner
from osxfs_sim.mount.tree.inodes import Inode


@dataclass(slots=True, eq=False)
class OverlayName:
    """What the guest takes a name in a directory for."""

    inode: Inode | None = None
    """What it stands for, or None if there is no such name. Written by pending, set_aside."""
    changes: int = 0
    """How many pending changes are of this name. Written by pending."""


@dataclass(slots=True, eq=False)
class Overlay:
    """The guest's changes of one object: what it is shown with, as long as any is pending.

    Made by overlay_of(), and dropped by drop_overlay(). Each field says which modules of
    write-back may write it; everybody may read. What is None is as the host has it.
    """

    changes: int = 0
    """How many pending changes it takes part in: as their object, or as a directory whose names
    they change. Written by pending_state."""
    local_only: bool = False
    """Whether the host has no such object, not yet or never. Written by making, effect_applier."""
    orphan: bool = False
    """Whether the guest has taken away its last name: nothing of it crosses any more but that.
    Written by pending_state, set_aside."""
    aside: int = 0
    """The errno with which the host has refused to have it made, or 0: it is local-only for good,
    and nothing is pending of it but what those read who have it open. Written by set_aside."""
    mode: int | None = None
    """Its permissions, without the kind. Written by attributes, making, set_aside."""
    owner: Owner = UNSET
    """To whom the guest has given it. Written by attributes, set_aside."""
    size: int | None = None
    """Of a file, in bytes; of a local-only symlink, too. Written by attributes, files, making,
    pending_state, set_aside."""
    atime_ns: int | None = None
    """When it was read last, by the wall clock. Written by attributes, making, set_aside."""
    mtime_ns: int | None = None
    """When its content was changed last, by the wall clock. Written by attributes, files, making,
    overlay, set_aside."""
    ctime_ns: int | None = None
    """When anything of it was changed last, by the wall clock. Written by attributes, files,
    making, overlay, removing, renaming, set_aside."""
    links: int = 0
    """To be added to the host's link count, or all of it while local-only. Written by
    pending_state."""
    content: Extents | None = None
    """The bytes of a file that the guest has written or cut off. Written by attributes, files,
    pending_state, set_aside."""
    link_target: bytes = b""
    """Of a symlink that is local-only. Written by making."""
    names: dict[bytes, OverlayName] | None = None
    """Of a directory: the names that differ from the host's. Written by pending."""
    fd: int = -1
    """The descriptor by which it is written to; -1 where none is open. Written by effect_applier,
    pending_descriptors, inode_resolver."""
    last_sequence: int = 0
    """The latest change that it takes part in. Written by pending_state."""
    own_sequence: int = 0
    """The latest change whose object it is. Written by pending_state."""
    seen: tuple[int, int, int] | None = None
    """What the host's object was like when the guest first changed it, or when we last did: see
    restoring.what_is_seen(). Written by deferring, effect_applier, set_aside, inode_resolver."""
    _place: tuple[Inode, bytes] | None = None
    _guest_place: tuple[Inode, bytes] | None = None

    # Directories by which something pending is reached stay in the inode table.

    @property
    def place(self) -> tuple[Inode, bytes] | None:
        """The (directory, name) by which the host had the object last; None: by none.

        Written by pending, effect_applier.
        """
        return self._place

    @place.setter
    def place(self, place: tuple[Inode, bytes] | None) -> None:
        before, self._place = self._place, place
        _pin_instead(before, place)

    @property
    def guest_place(self) -> tuple[Inode, bytes] | None:
        """The (directory, name) to which the guest has moved or made the object; None: to none.

        Written by making, renaming, set_aside, pending.
        """
        return self._guest_place

    @guest_place.setter
    def guest_place(self, place: tuple[Inode, bytes] | None) -> None:
        before, self._guest_place = self._guest_place, place
        _pin_instead(before, place)

    def places(self) -> list[tuple[Inode, bytes]]:
        """The (directory, name) pairs of host and guest, which keep directories in the table."""
        return [place for place in (self._place, self._guest_place) if place is not None]

    def name(self, name: bytes) -> OverlayName | None:
        """The pending entry of *name* in this directory; None: it is as the host has it."""
        return self.names.get(name) if self.names is not None else None

    def named(self, name: bytes, inode: Inode | None) -> None:
        """Note one more pending change of *name*, which now is *inode*'s; None: nothing's."""
        if self.names is None:
            self.names = {}
        entry = self.names.get(name)
        if entry is None:
            entry = self.names[name] = OverlayName()
        entry.inode = inode
        entry.changes += 1

    def named_before(self, name: bytes) -> None:
        """Note a further, earlier change of a pending *name*, which stands for what it did."""
        assert self.names is not None
        self.names[name].changes += 1

    def mark_name_clean(self, name: bytes) -> None:
        """Note that a change of *name* is pending no more; with the last, drop its entry."""
        assert self.names is not None
        entry = self.names[name]
        entry.changes -= 1
        if not entry.changes:
            del self.names[name]


def overlay_of(inode: Inode) -> Overlay:
    """The overlay of *inode*, which holds its pending changes; made empty where there is none."""
    if inode.overlay is None:
        inode.overlay = Overlay()
        if inode.parent is not None:
            inode.overlay.place = inode.parent, inode.name
    return inode.overlay


def drop_overlay(inode: Inode) -> None:
    """Drop the overlay of *inode*, of which nothing is pending any more; evicts nothing."""
    overlay = inode.overlay
    if overlay is not None:
        overlay.place = overlay.guest_place = None
    inode.overlay = None


def _pin_instead(before: tuple[Inode, bytes] | None, after: tuple[Inode, bytes] | None) -> None:
    if after is not None:
        after[0].pins += 1
    if before is not None:
        before[0].unpin()
