"""What the guest has changed of an object, and the host does not have yet.

Everything in here goes with write-back: once no change of an object is pending, it is what the
host says that it is. Until then the guest is shown the host's answer with these laid over it, or,
where the host has nothing at all, these alone.
"""

import os
import stat as modes
from dataclasses import dataclass

from osxfs_sim.model.write_back import Change, Kind
from osxfs_sim.mount.tree.inodes import Inode
from osxfs_sim.mount.tree.pending import Overlay

_BLOCK_BYTES = 512
_PREFERRED_BYTES = 4096


@dataclass(slots=True)
class GuestStatus:
    """An object's status as the guest sees it, by the names of os.stat_result."""

    st_mode: int
    """Type and permissions."""
    st_ino: int
    """The host's inode number, or ours while it is local-only."""
    st_dev: int
    """The host's device; -1 while it is local-only."""
    st_nlink: int
    """Links, with what is pending of them."""
    st_uid: int
    """The host's owner; what the guest is shown is Owners' to say."""
    st_gid: int
    """The host's group; as st_uid."""
    st_rdev: int
    """Of a device, which."""
    st_size: int
    """In bytes."""
    st_blksize: int
    """The preferred size of a read or write, in bytes."""
    st_blocks: int
    """Room that it takes, in units of 512 bytes."""
    st_atime_ns: int
    """Last access, wall-clock."""
    st_mtime_ns: int
    """Last modification, wall-clock."""
    st_ctime_ns: int
    """Last change, wall-clock."""


def status_of_local_only(inode: Inode) -> GuestStatus:
    """The status of an *inode* that the host does not have; uid and gid are left 0."""
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
    """The status of an object: the host's *status* with what *overlay* has pending."""
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
    """The inodes whose link counts *change* changes, each with by how much."""
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


def names_changed(directory: Inode, now_ns: int) -> None:
    """Date *directory*, whose names the guest has changed, unless nothing is pending of it."""
    overlay = directory.overlay
    if overlay is not None:
        overlay.mtime_ns = overlay.ctime_ns = now_ns


def guest_path(inode: Inode | None, name: bytes = b"") -> str:
    """The path, as one line of text, at which the guest has *name* in a directory."""
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
    """The path, as one line of text, at which the guest has what *change* is about."""
    if change.parent is not None:
        return guest_path(change.parent, change.name)
    return guest_path(change.target)
