"""Sets aside what the host will never take: kept elsewhere, reported once, shown no more.

What falls with a change is decided in model/write_back.py (depending), where it is kept in
quarantine.py; here the guest's view becomes the host's again, with what is still pending over it.
"""

import collections
import contextlib
import logging
import stat as modes
from collections.abc import Callable
from pathlib import Path
from typing import Any

from osxfs_sim.model.ownership import UNSET
from osxfs_sim.model.status import ChangeSetAside
from osxfs_sim.model.write_back import Change, Closure, Kind, name_effects
from osxfs_sim.mount.tree.backing import Backing
from osxfs_sim.mount.tree.inodes import Inode, InodeTable
from osxfs_sim.mount.tree.pending import overlay_of
from osxfs_sim.mount.writeback.effect_applier import EffectApplier
from osxfs_sim.mount.writeback.journal_directory import aside_of
from osxfs_sim.mount.writeback.journal_format import Refusal
from osxfs_sim.mount.writeback.overlay import guest_path, path_of_change
from osxfs_sim.mount.writeback.pending_state import PendingState
from osxfs_sim.mount.writeback.quarantine import Quarantine, open_quarantine
from osxfs_sim.mount.writeback.restoring import seen_now

log = logging.getLogger(__name__)

_KEPT_PATHS = 10
_MOST_UNREPORTED = 10_000


OnAside = Callable[[list[Change[Inode]], set[Inode], int], None]


class SetAside:
    """What was set aside of one share, and kept in its quarantine. Reactor's thread only."""

    def __init__(
        self,
        pending: PendingState,
        effects: EffectApplier,
        inodes: InodeTable,
        backing: Backing,
        on_aside: OnAside | None = None,
    ) -> None:
        """*effects* applies to the server's tree what the host has. *on_aside* is called with
        changes that were set aside, what is shown anew, and the errno.
        """
        self._on_aside = on_aside or _nothing
        self.quarantine: Quarantine | None = None
        """Where it is kept; None where nothing was set aside."""
        self.count = 0
        """How many changes that are."""
        self.bytes = 0
        """Of how many bytes."""
        self.latest: collections.deque[ChangeSetAside] = collections.deque(maxlen=_KEPT_PATHS)
        """The latest of them, as the status has them."""
        self._pending = pending
        self._effects = effects
        self._inodes = inodes
        self._backing = backing
        self._unreported: dict[str, str] = {}  # paths and reasons, since the last flush

    @property
    def directory(self) -> Path:
        """The path where the quarantine is, or would be."""
        return aside_of(self._pending.journal.directory)

    def set_aside(self, refusal: Refusal) -> None:
        """Move the change under way, and what depends on it, to quarantine. Raises OSError.

        The guest is shown what is on the host instead. Where it cannot be kept nothing has
        happened.
        """
        closure = self._pending.changes.closure(self._is_gone, self._parent_on_host)
        is_moot = closure.is_moot(self._is_gone)
        fallen = closure.changes
        paths = [path_of_change(each) for each in fallen]
        if not is_moot:
            if self.quarantine is None:
                source, root = self._pending.journal.source, self._inodes.root
                self.quarantine = open_quarantine(self._pending.journal, source, root)
            try:
                self.quarantine.keep(
                    fallen, refusal, self._pending.journal.data.read, self._as_they_are(fallen)
                )
            except BaseException:
                if self.quarantine.is_empty:  # or it is reported as if it held something
                    self.quarantine.close(keep=False)
                    self.quarantine = None
                raise
        self._leave(closure, is_moot=is_moot)
        try:
            self._show_the_hosts(closure, 0 if is_moot else refusal.code)
        except Exception:
            log.exception("bug: after %s was set aside", refusal.path)
        if not is_moot:
            self._report(fallen, paths, refusal)

    def _report(self, fallen: list[Change[Inode]], paths: list[str], refusal: Refusal) -> None:
        """For the status, the next flush, and the log."""
        self.count += len(fallen)
        self.bytes += sum(each.length for each in fallen)
        if len(self._unreported) < _MOST_UNREPORTED:
            self._unreported |= dict.fromkeys(paths, refusal.reason)
        self.latest += [
            ChangeSetAside(
                change=each.kind.value,
                path=path,
                from_path=guest_path(each.old_parent, each.old_name)
                if each.old_parent is not None
                else None,
                reason=refusal.reason,
            )
            for each, path in zip(fallen, paths, strict=True)
        ]
        log.warning(
            "the host does not take it to %s %s (%s): set aside, with %d changes that depend "
            "on it, in %s",
            *(fallen[0].kind.value, refusal.path, refusal.reason, len(fallen) - 1),
            self.quarantine.directory if self.quarantine is not None else "",
        )

    def _as_they_are(self, changes: "list[Change[Inode]]") -> dict[Inode, tuple[int, int, int]]:
        """What the host's files are like that are the objects of *changes*."""
        found = {}
        for change in changes:
            for inode in (change.target, change.replaced):
                if inode is not None and inode.kind == modes.S_IFREG and not inode.is_local_only:
                    with contextlib.suppress(OSError):
                        found[inode] = seen_now(inode, self._backing)
        return found

    @staticmethod
    def _is_gone(inode: Inode) -> bool:
        return inode.overlay is not None and inode.overlay.orphan

    @staticmethod
    def _parent_on_host(inode: Inode) -> Inode | None:
        return inode.parent

    def _leave(self, closure: "Closure[Inode]", *, is_moot: bool) -> None:
        """None of *closure* is in the list any more."""
        last = closure.changes[0].sequence
        self._pending.changes.leave(closure, is_moot=is_moot)
        with contextlib.suppress(OSError):  # else it is found to be in both, after a crash
            self._pending.journal.append_cancelled(
                [each.sequence for each in closure.changes],
                [after for _, after in closure.compacted],
            )
        self._pending.journal.done(last)

    def _show_the_hosts(self, closure: "Closure[Inode]", code: int) -> None:
        """What the guest is shown no longer has the changes of *closure*.

        *code* is why the host has refused them, or 0 where the guest has taken it all away.
        """
        lost = {inode for inode in closure.lost if inode.is_local_only}
        back: set[Inode] = set()
        for change in closure.changes:
            for inode in (change.target, change.replaced):
                if inode is None or inode.overlay is None or inode in lost:
                    continue
                if inode is change.replaced or change.kind in (Kind.UNLINK, Kind.RMDIR):
                    back.add(inode)  # it keeps its name
        unwritten = {
            change.target
            for change in closure.changes
            if change.kind in (Kind.WRITE, Kind.SET) and change.target not in lost
        }
        for inode in lost:
            overlay = overlay_of(inode)
            overlay.orphan, overlay.aside = True, code
        for inode in back:
            self._comes_back(inode)
        for inode in unwritten:
            self._forget_what_was_written(inode)
        written = [change for change in closure.changes if change.kind is Kind.WRITE]
        for inode in lost:
            self._pending.release_content(
                inode, overlay_of(inode), [each for each in written if each.target is inode]
            )
        for change in written:
            if change.target not in lost:
                shown = change.target.overlay
                orphan = shown is not None and shown.orphan
                self._pending.free_written(
                    change, shown.content if shown is not None and orphan else None
                )
        for before, after in closure.compacted:
            self._pending.count(after, 1, is_latest=False)
            self._pending.count(before, -1)
        for change in closure.changes:
            self._pending.count(change, -1)
        self._name_again(closure)
        for inode in back:
            if inode.overlay is None:
                self._effects.came_back(inode)
        if code:
            self._on_aside(closure.changes, lost | back | unwritten, code)

    def _comes_back(self, inode: Inode) -> None:
        """The host keeps the name that the guest had taken away."""
        overlay = inode.overlay
        assert overlay is not None
        if overlay.orphan and not overlay.local_only:
            if overlay.content is not None:
                if overlay.fd >= 0 or inode.open_fds:
                    self._pending.write_to_orphan(inode, overlay)
                for piece in overlay.content.pieces():
                    self._pending.journal.data.free(piece.position, piece.length)
                overlay.content = None
                overlay.size = None
            overlay.orphan = False

    @staticmethod
    def _forget_what_was_written(inode: Inode) -> None:
        """Its content and attributes are the host's again."""
        overlay = inode.overlay
        if overlay is None or overlay.orphan:
            return
        overlay.content = overlay.size = overlay.mode = None
        overlay.owner = UNSET
        overlay.atime_ns = overlay.mtime_ns = overlay.ctime_ns = None
        overlay.seen = None

    def _name_again(self, closure: "Closure[Inode]") -> None:
        """Where later changes of the same names and objects are still pending, these show."""
        touched = {
            (directory, name)
            for change in closure.changes
            for directory, name, _ in name_effects(change)
        }
        moved = {change.target for change in closure.changes if change.kind is Kind.RENAME}
        for inode in moved:
            if inode.overlay is not None and not inode.overlay.local_only:
                inode.overlay.guest_place = None
        for change in self._pending.changes.all():
            for directory, name, inode_or_none in name_effects(change):
                known = directory.overlay.name(name) if directory.overlay is not None else None
                if known is not None and (directory, name) in touched:
                    known.inode = inode_or_none
            if change.kind in (Kind.MAKE, Kind.RENAME) and change.target in moved:
                assert change.parent is not None
                overlay_of(change.target).guest_place = change.parent, change.name

    def take_unreported(self) -> dict[str, str]:
        """The reasons, by path, of what was set aside since this was called last."""
        unreported, self._unreported = self._unreported, {}
        return unreported

    def close(self) -> None:
        """Close the quarantine, if there is one; its files stay."""
        if self.quarantine is not None:
            self.quarantine.close(keep=True)


def _nothing(*_: Any) -> None:
    """Nobody is to be called."""
