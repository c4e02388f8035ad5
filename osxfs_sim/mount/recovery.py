"""Writes to the host what a share that ended badly has left in its journal."""

import errno
import os
import stat as modes
from collections.abc import Iterator

from osxfs_sim.model.write_back import Change, Kind
from osxfs_sim.mount.assembly import Machinery
from osxfs_sim.mount.backing import StaleError, reached
from osxfs_sim.mount.carry_out import HostWriter
from osxfs_sim.mount.held import drop, hold
from osxfs_sim.mount.inodes import ROOT_NUMBER, Facts, Inode, InodeTable
from osxfs_sim.mount.journal import Continuation, Known, LeftChange, Leftover, discard, locked
from osxfs_sim.mount.mountpoints import MountError
from osxfs_sim.mount.unwritten import describe

_MANY = 2  # links: a file may have further names


def recover(left: Leftover, machinery: Machinery) -> int:
    """Write to the host what *left* holds. Returns how many changes that were.

    Raises MountError where the host refuses; what it did not take is still kept.
    """
    with locked(left.directory) as is_ours:
        if not is_ours:
            raise MountError(f"{left.directory} is in use by another share: unmount that first")
        return _recover(left, machinery)


def _recover(left: Leftover, machinery: Machinery) -> int:
    events = machinery.host_events
    data_fd = os.open(left.directory / "data", os.O_RDONLY | os.O_CLOEXEC)
    noted = Continuation(left)
    writer = HostWriter(
        machinery.handlers,
        machinery.inodes,
        machinery.backing,
        machinery.owners,
        events.watcher if events is not None else None,
        lambda position, length: os.pread(data_fd, length, position),
    )
    cast = _Cast(left, machinery.inodes)
    carried_out = 0
    try:
        for number, each in zip(left.numbers, left.story, strict=True):
            if isinstance(each, Known):
                cast.introduce(number, each)
                continue
            change = cast.change(each)
            if each.sequence <= left.done:
                cast.has_happened(each, change)
                continue
            writer.repeats = each.sequence == left.started
            noted.started(each.sequence)
            writer.carry_out(change)
            if each.kind is Kind.MAKE:
                noted.arrived(each.target, change.target)
            carried_out += 1
            left.done = each.sequence
            noted.done(each.sequence)
    except (KeyError, AssertionError) as error:
        raise MountError(
            f"the journal in {left.directory} does not say where everything is ({error!r}): what "
            "it holds can be listed with osxfs-sim unwritten, and given up with --unwritten discard"
        ) from error
    except OSError as error:
        reason = os.strerror(error.errno or errno.EIO)
        raise MountError(
            f"the host does not take what was left unwritten: {reason}; {describe(left)}; "
            f"still kept in {left.directory}"
        ) from error
    finally:
        os.close(data_fd)
        noted.close()
        for inode in cast.dismissed():
            machinery.handlers.let_go(inode)
    discard(left)
    return carried_out


class _Cast:
    """The objects of a journal's story, as inodes of the new share that stand for them."""

    def __init__(self, left: Leftover, inodes: InodeTable) -> None:
        self._left = left
        self._table = inodes
        self._by_number: dict[int, Inode] = {ROOT_NUMBER: inodes.root}
        self._open: Inode | None = None

    def introduce(self, number: int, known: Known) -> None:
        """The host had it there, too."""
        inode = self._by_number.get(number)
        if inode is None or inode.kind != known.kind:
            inode = self._by_number[number] = self._table.unmade(known.kind)
        name = self._by_number[known.parent], known.name
        if inode.parent is None or inode.is_directory:
            inode.parent, inode.name = name
        elif name != (inode.parent, inode.name):
            # It is called that, too; or was, and has been renamed since in this story.
            inode.other_names = [*(inode.other_names or ()), name]
        self._table.identify(inode, self._device(known.device), known.host_number)
        inode.facts = Facts(known.generation, 0, 0)
        inode.shown = known.shown

    def _device(self, device: int) -> int:
        """File systems may have another number after the machine was started anew."""
        return self._table.root.device if device == self._left.root_device else device

    def change(self, left: LeftChange) -> "Change[Inode]":
        """*left* with the objects that it speaks of."""
        if left.target not in self._by_number:
            self._by_number[left.target] = self._table.unmade(left.target_kind)
        target = self._by_number[left.target]
        if target is not self._open:
            self._close()
            hold(target)  # so that the writer has a place for its descriptor
            self._open = target
        return Change(
            left.kind,
            target,
            0,
            self._by_number.get(left.parent),
            left.name,
            self._by_number.get(left.old_parent),
            left.old_name,
            self._by_number.get(left.replaced),
            left.replaced_is_directory,
            left.offset,
            left.length,
            left.position,
            left.detail,
            left.sequence,
        )

    def _close(self) -> None:
        inode = self._open
        if inode is not None and inode.held is not None:
            if inode.held.fd >= 0:
                os.close(inode.held.fd)
            drop(inode)

    def has_happened(self, left: LeftChange, change: "Change[Inode]") -> None:
        """The host has it already: only where things are is to be known."""
        target, parent, name = change.target, change.parent, change.name
        if change.kind is Kind.MAKE:
            target.parent, target.name = parent, name
            identity = self._left.arrived.get(left.target)
            if identity is not None:
                self._table.identify(target, self._device(identity[0]), identity[1])
                target.facts = Facts(identity[2], 0, 0)
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
        """All of them, out of the table: the share begins with nothing known."""
        self._close()
        for inode in self._by_number.values():
            if inode is not self._table.root and self._table.knows(inode):
                self._table.remove(inode)
                yield inode
