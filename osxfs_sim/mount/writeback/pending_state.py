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
from osxfs_sim.model.write_back import Change, Kind, PendingChanges, WriteBackSpec
from osxfs_sim.mount.tree.backing import StaleError
from osxfs_sim.mount.tree.inodes import Inode
from osxfs_sim.mount.writeback.journal import Journal
from osxfs_sim.mount.writeback.overlay import (
    Held,
    concerned,
    drop,
    hold,
    link_effects,
    name_effects,
)
from osxfs_sim.mount.writeback.pending_descriptors import PendingDescriptors

log = logging.getLogger(__name__)


class PendingState:
    """All that is pending of one share. The reactor's thread only."""

    def __init__(
        self,
        spec: WriteBackSpec,
        journal: Journal,
        let_go: Callable[[Inode], None],
        has_arrived: Callable[[Inode], None],
        when_dropped: Callable[[], None],
    ) -> None:
        """*let_go* is told of objects of which nothing is pending any more, *has_arrived* of those
        that the host has got, *when_dropped* when something need not cross any more.
        """
        self.changes: PendingChanges[Inode] = PendingChanges(spec)
        """What must cross, in its order."""
        self.journal = journal
        """What a crash leaves of it."""
        self.descriptors = PendingDescriptors()
        """By which files are written to."""
        self._let_go = let_go
        self._has_arrived = has_arrived
        self._when_dropped = when_dropped

    # What begins to be pending

    def hold(self, change: "Change[Inode]", *, loses: Iterable[Inode] = ()) -> None:
        """The guest has made *change*, by which the objects *loses* have lost their last name.

        Raises OSError, and nothing has happened, where it cannot be kept.
        """
        changes = self.changes
        loses = list(loses)
        for inode in concerned(change):
            if inode.held is not None and inode.held.aside:
                raise StaleError  # the guest's kernel shall look again
        change.sequence = changes.last_sequence + 1
        # Who is killed before the rest of this has all that was made on the host first.
        self.journal.note(change)
        for inode in loses:
            if inode is change.replaced and changes.cancels(inode):
                change.replaced = None  # the host never gets it
        changes.add(change)
        self.count(change, 1)
        for inode in loses:
            self._lose(inode)

    def extend(self, inode: Inode, offset: int, length: int, position: int, detail: Any) -> bool:
        """Hold a write along with the last change, if it only continues that. Raises OSError."""
        carrier = self.changes.carrier_of(inode, offset, length, position)
        if carrier is None:
            return False
        self.journal.note_longer(carrier.sequence, carrier.length + length, detail)
        self.changes.extend(carrier, length, detail)
        return True

    def count(self, change: "Change[Inode]", sign: int, *, is_latest: bool = True) -> None:
        """*change* begins (1) or ceases (-1) to be held.

        Where it is not the latest, the guest has what later changes made of its names.
        """
        if change.kind is Kind.WRITE:
            objects: Iterable[Inode] = (change.target,)
        else:
            for inode, links in link_effects(change):
                hold(inode).links += sign * links
            for directory, name, inode_or_none in name_effects(change):
                held = hold(directory)
                if sign > 0 and is_latest:
                    held.named(name, inode_or_none)
                elif sign > 0:
                    held.named_before(name)
                else:
                    held.settled_name(name)
            objects = concerned(change)
        for inode in objects:
            held = hold(inode)
            held.changes += sign
            if sign > 0:
                held.last_sequence = max(held.last_sequence, change.sequence)
                if inode is change.target:
                    held.own_sequence = max(held.own_sequence, change.sequence)
            elif not held.changes:
                self._settled(inode, held)

    def _lose(self, inode: Inode) -> None:
        """*inode* has no name any more: cancel what need not cross."""
        held = hold(inode)
        held.nameless = True
        cancelled = self.changes.gone(inode)
        if cancelled.dropped or cancelled.turned:
            with contextlib.suppress(OSError):  # else the same is found out again after a crash
                self.journal.note_cancelled(
                    [change.sequence for change in cancelled.dropped],
                    [after for _, after in cancelled.turned],
                )
        written = [change for change in cancelled.dropped if change.kind is Kind.WRITE]
        self.disown(inode, held, written)
        for before, after in cancelled.turned:
            self.count(after, 1, is_latest=False)
            self.count(before, -1)
        for change in cancelled.dropped:
            self.count(change, -1)
        if cancelled.dropped:
            self._when_dropped()
        self.tidy()

    def disown(self, inode: Inode, held: Held, written: "list[Change[Inode]]") -> None:
        """What was written to a file without a name belongs to who has it open, or to nobody."""
        content = held.content
        if content is None:
            return
        if inode.open_fds is None:
            content = held.content = None
        for change in written:
            self.free_written(change, content)

    # What ceases to be

    def applied(self, change: "Change[Inode]") -> None:
        """*change* is pending no more: the host has it."""
        inode = change.target
        held = inode.held
        if change.kind is Kind.MAKE:
            with contextlib.suppress(OSError):
                self.journal.note_arrived(inode)
            self._has_arrived(inode)
            self.descriptors.keep_of_made(inode)
        elif held is not None and held.content is not None and not held.nameless:
            if change.kind is Kind.WRITE:
                held.content.settle(change.offset, change.length, change.position)
            elif change.kind is Kind.SET and change.detail.size is not None:
                held.content.settle_cut()
        if change.kind is Kind.WRITE:
            # The guest may have taken away its name meanwhile, and have it open.
            nameless = held is not None and held.nameless
            self.free_written(change, held.content if held is not None and nameless else None)
        self.count(change, -1)

    def _settled(self, inode: Inode, held: Held) -> None:
        """No change of *inode* is held any more."""
        if held.unmade:
            # It never got to the host. Who has it open may go on; see forget().
            if not inode.lookups and inode.open_fds is None:
                self.forget(inode)
            return
        if held.fd >= 0:
            if held.nameless and held.content:
                self.pour_out(inode, held)
            self.descriptors.close_of(inode, held)
        elif held.nameless and held.content and inode.open_fds:
            self.pour_out(inode, held)
        self._free_content(held)
        drop(inode)
        if held.nameless and not inode.is_directory:
            inode.parent = None  # who has it open does not give it a name again
        self._let_go(inode)

    def pour_out(self, inode: Inode, held: Held) -> None:
        """The host's file has lost its name with all that was not written: who has it open sees it.

        Nobody on the host can, any more.
        """
        fd = held.fd if held.fd >= 0 else (inode.open_fds or [-1])[-1]
        content = held.content
        assert content is not None
        try:
            if content.cuts:
                at.set_size(fd, min(content.cuts))
            for piece in content.pieces():
                os.pwrite(fd, self.journal.read(piece.position, piece.length), piece.offset)
            if held.size is not None:
                at.set_size(fd, held.size)
        except OSError:
            log.exception("a file without a name has lost what was written to it")

    def forget(self, inode: Inode) -> None:
        """The guest uses *inode*, which the host never had, no more."""
        held = inode.held
        assert held is not None
        self._free_content(held)
        drop(inode)
        self._let_go(inode)
        self.tidy()

    def _free_content(self, held: Held) -> None:
        """The pieces that no change owns."""
        if held.content is not None and held.nameless:
            for piece in held.content.pieces():
                self.journal.free(piece.position, piece.length)
        held.content = None

    def free(self, pieces: Iterable[Piece]) -> None:
        """These pieces of a nameless file's content are replaced."""
        now = self.changes.under_way
        # What is being written, or is refused, is still to be read, and freed after that.
        busy = [(now.position, now.length)] if now is not None and now.kind is Kind.WRITE else []
        for piece in pieces:
            for position, length in _without(piece.position, piece.length, busy):
                self.journal.free(position, length)

    def free_written(self, change: "Change[Inode]", content: Extents | None) -> None:
        """What *change* kept is needed no more, but for what *content*, if given, shows of it."""
        pieces = content.pieces() if content is not None else ()
        live = sorted((piece.position, piece.length) for piece in pieces)
        for position, length in _without(change.position, change.length, live):
            self.journal.free(position, length)

    def drop_unused(self, inode: Inode) -> None:
        """A change of *inode* could not be held: keep nothing for it, if there is no other."""
        held = inode.held
        if held is not None and not held.changes and not held.unmade:
            self._settled(inode, held)

    def tidy(self, *, thoroughly: bool = False) -> None:
        """Where nothing is held any more, little is kept: to cut a file costs more than a change.

        What is left in the journal then is known as done or cancelled.
        """
        try:
            if not len(self.changes):
                if self.journal.is_small and not thoroughly:
                    return
                if self.journal.holds_data:
                    self.journal.clear_frames()
                else:
                    self.journal.clear()
            elif self.journal.wants_rewriting:
                self.journal.rewrite(self.changes.all())
        except OSError as error:
            log.warning("the journal %s: %s", self.journal.directory, error)

    def check_not_aside(self, inode: Inode) -> None:
        """That *inode* is one that the host will get, or has. Raises OSError: EIO, ESTALE."""
        if inode.held is not None and inode.held.aside:
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
