"""The objects that an unfinished journal speaks of, as inodes that stand for them."""

import os
import stat as modes
from collections.abc import Iterator

from osxfs_sim.model.write_back import Change, Kind
from osxfs_sim.mount.tree.backing import StaleError, reached
from osxfs_sim.mount.tree.inodes import ROOT_NUMBER, Facts, Inode, InodeTable
from osxfs_sim.mount.tree.pending import drop_overlay, overlay_of
from osxfs_sim.mount.writeback.journal_format import KnownObject, RecordedChange
from osxfs_sim.mount.writeback.journal_reader import UnfinishedJournal

_MANY = 2  # links: a file may have further names

Identity = tuple[int, int, bytes | None]
"""Device, inode number and generation."""


class InodeResolver:
    """The objects of a journal's story, as inodes of the new share that stand for them.

    *shared* are those that the stories of other journals may speak of, too.
    """

    def __init__(
        self, left: UnfinishedJournal, inodes: InodeTable, shared: dict[Identity, Inode]
    ) -> None:
        self._left = left
        self._shared = shared
        self._table = inodes
        self._by_number: dict[int, Inode] = {ROOT_NUMBER: inodes.root}
        self._open: Inode | None = None
        self._seen: dict[Inode, tuple[int, int, int]] = {}

    def introduce(self, number: int, known: KnownObject) -> None:
        """Learn that the host has the object *number* as *known*. Raises KeyError or OSError."""
        identity = self._device(known.device), known.host_number, known.generation
        inode = self._by_number.get(number)
        if inode is None or inode.kind != known.kind:
            inode = self._shared.get(identity) if known.host_number else None
            if inode is None or inode.kind != known.kind:
                inode = self._table.new_local_only(known.kind)
            self._by_number[number] = inode
        name = self._by_number[known.parent], known.name
        if inode.parent is None or inode.is_directory:
            inode.parent, inode.name = name
        elif name != (inode.parent, inode.name):
            # It is called that, too; or was, and has been renamed since in this story.
            inode.other_names = [*(inode.other_names or ()), name]
        if known.host_number:
            self._identify(inode, identity)
        else:
            self._adopt(inode)  # it was on its way there
        inode.facts = Facts(known.generation, 0, 0)
        inode.shown = known.shown

    def _identify(self, inode: Inode, identity: Identity) -> None:
        if self._shared.get(identity) is not inode:
            self._shared[identity] = inode
            self._table.identify(inode, *identity[:2])

    def _device(self, device: int) -> int:
        """File systems may have another number after the machine was started anew."""
        return self._table.root.device if device == self._left.root_device else device

    def change(self, left: RecordedChange) -> "Change[Inode]":
        """The recorded change *left* with inodes in place of the journal's numbers."""
        if left.target not in self._by_number:
            self._by_number[left.target] = self._table.new_local_only(left.target_kind)
        target = self._by_number[left.target]
        if target is not self._open or target.overlay is None:
            self._close()
            overlay_of(target)  # so that the writer has a place for its descriptor
            self._open = target
        replaced = self._by_number.get(left.replaced)
        for number, inode in ((left.target, target), (left.replaced, replaced)):
            if inode is not None and number in self._left.seen:
                overlay = overlay_of(inode)
                if overlay.seen is None:
                    overlay.seen = self._seen.setdefault(inode, self._left.seen[number])
        return Change(
            left.kind,
            target,
            0,
            self._by_number.get(left.parent),
            left.name,
            self._by_number.get(left.old_parent),
            left.old_name,
            replaced,
            left.replaced_is_directory,
            left.offset,
            left.length,
            left.position,
            left.detail,
            left.sequence,
        )

    def _close(self) -> None:
        inode = self._open
        if inode is not None and inode.overlay is not None:
            if inode.overlay.fd >= 0:
                os.close(inode.overlay.fd)
            if inode.overlay.seen is not None:
                self._seen[inode] = inode.overlay.seen  # by our own changes, too
            drop_overlay(inode)

    def has_happened(self, left: RecordedChange, change: "Change[Inode]") -> None:
        """Learn where things are from *change*, which the host has. Raises OSError."""
        target, parent, name = change.target, change.parent, change.name
        if change.kind is Kind.MAKE:
            target.parent, target.name = parent, name
            identity = self._left.created.get(left.target)
            if identity is not None:
                device, host_number, generation = identity
                whose = self._device(device), host_number, generation
                known = self._shared.get(whose)
                if known is not None and known.kind == target.kind:
                    self._by_number[left.target] = known  # another share has come to know it
                else:
                    self._identify(target, whose)
                    target.facts = Facts(generation, 0, 0)
            else:
                self._adopt(target)
        elif change.kind is Kind.RENAME:
            assert parent is not None
            assert change.old_parent is not None
            if change.replaced is not None:
                change.replaced.drop_name(parent, name)
            target.moved(parent, name, change.old_parent, change.old_name)
        elif change.kind is Kind.LINK:
            assert parent is not None
            target.add_name(parent, name, _MANY)
        elif change.kind in (Kind.UNLINK, Kind.RMDIR):
            assert parent is not None
            target.drop_name(parent, name)

    def _adopt(self, inode: Inode) -> None:
        """What is there is it, if it is of its kind: the server ended before it could say."""
        assert inode.parent is not None
        try:
            with reached(inode.parent) as fd:
                status = os.stat(inode.name, dir_fd=fd, follow_symlinks=False)
        except (StaleError, FileNotFoundError):
            return
        if modes.S_IFMT(status.st_mode) == inode.kind:
            self._table.identify(inode, status.st_dev, status.st_ino)

    def dismissed(self) -> Iterator[Inode]:
        """Yield each of the story's inodes, having removed it from the table."""
        self._close()
        for inode in self._seen:
            drop_overlay(inode)
        for inode in self._by_number.values():
            if inode is not self._table.root and self._table.knows(inode):
                self._table.remove(inode)
                yield inode
