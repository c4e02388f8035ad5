"""The state of what is pending, kept in step: list, journal, overlay, data and descriptors.

Whatever begins or ceases to be pending does it here, so that what ties the five together (the
package's docstring) holds between any two calls.
"""

import contextlib
import errno
import logging
import os
from collections.abc import Callable, Iterable
from typing import Any

from osxfs_sim.fs import at
from osxfs_sim.model.extents import Extents, Piece
from osxfs_sim.model.write_back import (
    Change,
    Kind,
    PendingChanges,
    WriteBackSpec,
    concerned,
    name_effects,
)
from osxfs_sim.mount.tree.backing import StaleError
from osxfs_sim.mount.tree.inodes import Inode
from osxfs_sim.mount.tree.pending import Overlay, drop_overlay, overlay_of
from osxfs_sim.mount.writeback.journal import Journal
from osxfs_sim.mount.writeback.overlay import link_effects
from osxfs_sim.mount.writeback.pending_descriptors import PendingDescriptors

log = logging.getLogger(__name__)


class PendingState:
    """All that is pending of one share: list, journal, overlays, data. Reactor's thread only."""

    def __init__(
        self,
        spec: WriteBackSpec,
        journal: Journal,
        evict: Callable[[Inode], None],
        created_on_host: Callable[[Inode], None],
        attributes_set_on_host: Callable[[Inode], None],
        when_dropped: Callable[[], None],
    ) -> None:
        """*evict* is called with objects of which nothing is pending any more, *created_on_host*
        with those that the host has got, *attributes_set_on_host* with those whose attributes it
        has got, *when_dropped* when something need not cross any more.
        """
        self.changes: PendingChanges[Inode] = PendingChanges(spec)
        """What must cross, in its order."""
        self.journal = journal
        """What a crash leaves of it."""
        self._data = journal.data
        self.descriptors = PendingDescriptors()
        """By which files are written to."""
        self._evict = evict
        self._created_on_host = created_on_host
        self._attributes_set_on_host = attributes_set_on_host
        self._when_dropped = when_dropped

    # What begins to be pending

    def defer(self, change: "Change[Inode]", *, orphaned: Iterable[Inode] = ()) -> None:
        """Make *change* pending; *orphaned* have lost their last name. Raises OSError.

        Nothing has happened then: it could not be kept in the journal, or is of what was set aside
        (ESTALE).
        """
        changes = self.changes
        orphaned = list(orphaned)
        change.sequence = changes.last_sequence + 1
        try:
            for inode in concerned(change):
                if inode.overlay is not None and inode.overlay.aside:
                    raise StaleError  # the guest's kernel shall look again
            # Who is killed before the rest of this has all that was made on the host first.
            self.journal.append(change)
        except OSError:
            for inode in concerned(change):
                self.drop_unused(inode)  # it says what the host has only for this change
            raise
        for inode in orphaned:
            if inode is change.replaced and changes.cancels(inode):
                change.replaced = None  # the host never gets it
        changes.add(change)
        self.count(change, 1)
        for inode in orphaned:
            self._orphan(inode)

    def extend(self, inode: Inode, offset: int, length: int, position: int, detail: Any) -> bool:
        """Make a write part of the last change; False: it does not continue it. Raises OSError."""
        carrier = self.changes.carrier_of(inode, offset, length, position)
        if carrier is None:
            return False
        self.journal.append_extension(carrier.sequence, carrier.length + length, detail)
        self.changes.extend(carrier, length, detail)
        return True

    def count(self, change: "Change[Inode]", sign: int, *, is_latest: bool = True) -> None:
        """Add *change* to (*sign* 1), or take it from (-1), the overlays it concerns.

        Where it is not the latest, the guest has what later changes made of its names.
        """
        if change.kind is Kind.WRITE:
            objects: Iterable[Inode] = (change.target,)
        else:
            for inode, links in link_effects(change):
                overlay_of(inode).links += sign * links
            for directory, name, inode_or_none in name_effects(change):
                overlay = overlay_of(directory)
                if sign > 0 and is_latest:
                    overlay.named(name, inode_or_none)
                elif sign > 0:
                    overlay.named_before(name)
                else:
                    overlay.mark_name_clean(name)
            objects = concerned(change)
        for inode in objects:
            overlay = overlay_of(inode)
            overlay.changes += sign
            if sign > 0:
                overlay.last_sequence = max(overlay.last_sequence, change.sequence)
                if inode is change.target:
                    overlay.own_sequence = max(overlay.own_sequence, change.sequence)
            elif not overlay.changes:
                self._mark_clean(inode, overlay)

    def _orphan(self, inode: Inode) -> None:
        """*inode* has no name any more: cancel what need not cross."""
        overlay = overlay_of(inode)
        overlay.orphan = True
        cancelled = self.changes.gone(inode)
        if cancelled.dropped or cancelled.compacted:
            with contextlib.suppress(OSError):  # else the same is found out again after a crash
                self.journal.append_cancelled(
                    [change.sequence for change in cancelled.dropped],
                    [after for _, after in cancelled.compacted],
                )
        written = [change for change in cancelled.dropped if change.kind is Kind.WRITE]
        self.release_content(inode, overlay, written)
        for before, after in cancelled.compacted:
            self.count(after, 1, is_latest=False)
            self.count(before, -1)
        for change in cancelled.dropped:
            self.count(change, -1)
        if cancelled.dropped:
            self._when_dropped()
        self.trim_journal()

    def release_content(
        self, inode: Inode, overlay: Overlay, written: "list[Change[Inode]]"
    ) -> None:
        """Free the bytes *written* to a nameless file, but for what is read by open handles."""
        content = overlay.content
        if content is None:
            return
        if inode.open_fds is None:
            content = overlay.content = None
        for change in written:
            self.free_written(change, content)

    # What ceases to be

    def applied(self, change: "Change[Inode]") -> None:
        """End *change*'s being pending, as the host has it: overlay, data, descriptors."""
        inode = change.target
        overlay = inode.overlay
        if change.kind is Kind.MAKE:
            with contextlib.suppress(OSError):
                self.journal.append_created(inode)
            self._created_on_host(inode)
            self.descriptors.keep_of_made(inode)
        elif overlay is not None and overlay.content is not None and not overlay.orphan:
            if change.kind is Kind.WRITE:
                overlay.content.mark_clean(change.offset, change.length, change.position)
            elif change.kind is Kind.SET and change.detail.size is not None:
                overlay.content.mark_cut_clean()
        if change.kind is Kind.SET:
            self._attributes_set_on_host(inode)
        if change.kind is Kind.WRITE:
            # The guest may have taken away its name meanwhile, and have it open.
            orphan = overlay is not None and overlay.orphan
            self.free_written(change, overlay.content if overlay is not None and orphan else None)
        self.count(change, -1)

    def _mark_clean(self, inode: Inode, overlay: Overlay) -> None:
        """No change of *inode* is pending any more."""
        if overlay.local_only:
            # It never got to the host. Who has it open may go on; see forget().
            if not inode.nlookup and inode.open_fds is None:
                self.forget(inode)
            return
        if overlay.fd >= 0:
            if overlay.orphan and overlay.content:
                self.write_to_orphan(inode, overlay)
            self.descriptors.close_of(inode, overlay)
        elif overlay.orphan and overlay.content and inode.open_fds:
            self.write_to_orphan(inode, overlay)
        self._free_content(overlay)
        drop_overlay(inode)
        if overlay.orphan and not inode.is_directory:
            inode.parent = None  # who has it open does not give it a name again
        self._evict(inode)

    def write_to_orphan(self, inode: Inode, overlay: Overlay) -> None:
        """Write a nameless file's pending bytes to the host's; logs a failure, goes on.

        The host's file has lost its name with all that was not written: nobody on the host can see
        it, any more.
        """
        fd = overlay.fd if overlay.fd >= 0 else (inode.open_fds or [-1])[-1]
        content = overlay.content
        assert content is not None
        try:
            if content.cuts:
                at.set_size(fd, min(content.cuts))
            for piece in content.pieces():
                os.pwrite(fd, self._data.read(piece.position, piece.length), piece.offset)
            if overlay.size is not None:
                at.set_size(fd, overlay.size)
        except OSError:
            log.exception("a file without a name has lost what was written to it")

    def forget(self, inode: Inode) -> None:
        """Drop overlay and data of a local-only *inode*, which the guest uses no more."""
        overlay = inode.overlay
        assert overlay is not None
        self._free_content(overlay)
        drop_overlay(inode)
        self._evict(inode)
        self.trim_journal()

    def _free_content(self, overlay: Overlay) -> None:
        """The pieces that no change owns."""
        if overlay.content is not None and overlay.orphan:
            for piece in overlay.content.pieces():
                self._data.free(piece.position, piece.length)
        overlay.content = None

    def free(self, pieces: Iterable[Piece]) -> None:
        """Free the data of replaced *pieces* of a nameless file, but for what is being written."""
        now = self.changes.under_way
        # What is being written, or is refused, is still to be read, and freed after that.
        busy = [(now.position, now.length)] if now is not None and now.kind is Kind.WRITE else []
        for piece in pieces:
            for position, length in _without(piece.position, piece.length, busy):
                self._data.free(position, length)

    def free_written(self, change: "Change[Inode]", content: Extents | None) -> None:
        """Free the data of the write *change*, but for what *content*, if given, shows of it."""
        pieces = content.pieces() if content is not None else ()
        live = sorted((piece.position, piece.length) for piece in pieces)
        for position, length in _without(change.position, change.length, live):
            self._data.free(position, length)

    def drop_unused(self, inode: Inode) -> None:
        """Drop the overlay of *inode* if no change of it is pending; else does nothing."""
        overlay = inode.overlay
        if overlay is not None and not (overlay.changes or overlay.local_only or overlay.aside):
            self._mark_clean(inode, overlay)

    def trim_journal(self, *, thoroughly: bool = False) -> None:
        """Empty or compact the journal if worth it (*thoroughly*: also a small one); never fails.

        To cut a file costs more than a change. What is left in the journal then is known as done or
        cancelled.
        """
        try:
            if not len(self.changes):
                if self.journal.is_small and not thoroughly:
                    return
                if self._data.holds_data:
                    self.journal.clear_records()
                else:
                    self.journal.clear()
            elif self.journal.wants_compaction:
                self.journal.compact(self.changes.all())
        except OSError as error:
            log.warning("the journal %s: %s", self.journal.directory, error)

    def check_not_aside(self, inode: Inode) -> None:
        """Raise OSError (EIO, ESTALE) where *inode* was set aside, and is no more to be had."""
        if inode.overlay is not None and inode.overlay.aside:
            if inode.is_directory:
                raise StaleError
            raise OSError(errno.EIO, os.strerror(errno.EIO))


def _without(position: int, length: int, live: list[tuple[int, int]]) -> Iterable[tuple[int, int]]:
    """The parts of *length* bytes at *position* that are not among the sorted ranges *live*."""
    end = position + length
    for start, size in live:
        if start + size <= position:
            continue
        if start >= end:
            break
        if start > position:
            yield position, start - position
        position = min(start + size, end)
    if position < end:
        yield position, end - position
