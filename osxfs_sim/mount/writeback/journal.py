"""A write-ahead log of what the guest has changed and the host does not have yet.

It outlives the server.

A directory per share, in the server's state directory, with four files:

    lock      held by the server for as long as it lives; says which server that is
    changes   what the guest has done, in its order, a record each
    data      the bytes it has written; a record says where
    progress  two numbers: the change that is being applied, and the last that was

A record is durable once write(2) has returned, before the guest is answered, and nothing is
synced to the disk: a killed server loses nothing, a machine that loses its power may lose what
is in here (fsync in the guest writes to the host's own files, and syncs those). A record that was
torn is known by its checksum; nobody was answered that it was there.

When nothing is pending the files are emptied. The records are written anew when they have become
many. The bytes of the guest's writes, in ``data``, have an object of their own (journal_data.py).
"""

import contextlib
import errno
import logging
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from osxfs_sim.fs.copies import copy_content
from osxfs_sim.model.write_back import Change, Kind
from osxfs_sim.mount.tree.inodes import ROOT_NUMBER, Inode
from osxfs_sim.mount.writeback.journal_data import JournalData
from osxfs_sim.mount.writeback.journal_directory import (
    OPEN,
    Owner,
    aside_of,
    digest_of,
    make_directory,
    new_lock,
    opened,
    take_away,
    write_owner,
    written,
)
from osxfs_sim.mount.writeback.journal_format import (
    PROGRESS_DONE_AT,
    VERSION,
    change_record,
    created_record,
    known_record,
    progress_bytes,
    record,
)

log = logging.getLogger(__name__)

_COMPACT_AT_BYTES = 32 << 20
_SMALL_BYTES = 4 << 20
_MOST_JOURNALS = 4_096


class Journal:
    """The write-ahead log of one share. Raises OSError where it cannot be written.

    Nothing may be pending then.
    """

    def __init__(self, directory: Path, source: str, root: Inode, lock_fd: int) -> None:
        """Begin with nothing pending, in *directory*, which is locked by *lock_fd*."""
        self.directory = directory
        self.source = source
        self._root = root
        self._lock_fd = lock_fd
        self._owner = Owner(os.getpid(), source, (root.device, root.host_number))
        self._say_whose()
        with opened(directory) as dir_fd:
            self._changes_fd, data_fd, self._progress_fd = (
                os.open(name, OPEN | os.O_RDWR | os.O_CREAT, 0o600, dir_fd=dir_fd)
                for name in ("changes", "data", "progress")
            )
        # Written, so that it has its room from the start: what is recorded may fill the disk
        # that it lies on. Not mapped: a page without room would end the server (SIGBUS).
        os.pwrite(self._progress_fd, progress_bytes(0) + progress_bytes(0), 0)
        self.data = JournalData(data_fd)
        """The bytes of writes: whoever makes one pending puts them there before it is appended."""
        self._recorded: dict[int, Inode] = {}
        self._recorded_places: dict[int, set[tuple[int, bytes]]] = {}
        self._begin()

    def _begin(self) -> None:
        """Nothing is pending."""
        # Records first: without them the data means nothing.
        os.ftruncate(self._changes_fd, 0)
        self.data.clear()
        self._records_bytes = 0
        self._compacted_bytes = 0
        self._forget_recorded()

    # Whose it is

    def mounted(self, mountpoint: str, device: str) -> None:
        """Record the share's mount: *device* and *mountpoint*; goes on where it cannot."""
        self._owner = self._owner._replace(mountpoint=mountpoint, device=device)
        with contextlib.suppress(OSError):
            self._say_whose()

    def drains(self) -> None:
        """Record that the mount is gone and the rest is written back; goes on if it cannot."""
        self._owner = self._owner._replace(drains=True)
        with contextlib.suppress(OSError):  # its mount tells, too
            self._say_whose()

    def _say_whose(self) -> None:
        write_owner(self._lock_fd, self._owner)

    def _forget_recorded(self) -> None:
        """No record says where anything is."""
        # What the next records introduce: objects, and further places of them.
        self._introduced: list[tuple[int, tuple[int, bytes] | None]] = []
        self._recorded = {ROOT_NUMBER: self._root}
        self._recorded_places = {}

    # Records

    def append(self, change: "Change[Inode]") -> None:
        """Record *change* before the guest is answered. Raises OSError, having recorded nothing."""
        records = bytearray()
        if not self._records_bytes:
            records += self._base()
        records += self._records_of(change)
        self._append_introducing(records)

    def append_extension(self, sequence: int, length: int, detail: Any) -> None:
        """Record that the last change, a write, has *length* bytes now. Raises OSError."""
        self._append(record(("longer", sequence, length, tuple(detail))))

    def append_cancelled(self, dropped: list[int], compacted: "Iterable[Change[Inode]]") -> None:
        """Record that changes *dropped* need not be applied, others anew. Raises OSError."""
        records = bytearray(record(("gone", dropped)))
        for each in compacted:
            records += self._records_of(each)
        self._append_introducing(records)

    def append_created(self, inode: Inode) -> None:
        """Record that the host has created *inode*. Raises OSError."""
        self._append(created_record(inode.number, inode))

    def _append_introducing(self, records: bytearray) -> None:
        """As _append: what these records introduce is known only once they are kept."""
        introduced, self._introduced = self._introduced, []
        try:
            self._append(records)
        except BaseException:
            self._take_back(introduced)
            raise

    def _take_back(self, introduced: list[tuple[int, tuple[int, bytes] | None]]) -> None:
        """No record says this."""
        for number, place in introduced:
            if place is None:
                self._recorded.pop(number, None)
            else:
                self._recorded_places.get(number, set()).discard(place)

    def _append(self, records: bytes | bytearray) -> None:
        written = os.pwrite(self._changes_fd, records, self._records_bytes)
        if written < len(records):
            # As if it had never been: what follows is written over it.
            os.ftruncate(self._changes_fd, self._records_bytes)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._records_bytes += written

    def _base(self) -> bytes:
        return record(("base", VERSION, os.fsencode(self.source), self._root.device))

    def _records_of(self, change: "Change[Inode]") -> bytearray:
        records = bytearray()
        if change.kind is Kind.MAKE:
            self._mark_recorded(change.target)
        for inode in (change.target, change.parent, change.old_parent, change.replaced):
            if inode is not None:
                records += self._introduce(inode)
        number = self._number
        records += change_record(
            change,
            (
                number(change.target),
                number(change.parent),
                number(change.old_parent),
                number(change.replaced),
            ),
        )
        return records

    def _number(self, inode: Inode | None) -> int:
        """What the records call it."""
        return inode.number if inode is not None else 0

    def _places(self, inode: Inode) -> list[tuple[Inode, bytes]]:
        """By which names the host has it, the latest first."""
        if inode.parent is None:
            return []  # it has no name on the host, not yet or no more
        return [(inode.parent, inode.name), *(inode.other_names or ())]

    def _known(self, inode: Inode, parent: Inode, name: bytes) -> bytes:
        return known_record(inode, self._number(inode), self._number(parent), name)

    def _mark_recorded(self, inode: Inode) -> None:
        self._recorded[self._number(inode)] = inode
        self._introduced.append((self._number(inode), None))

    def _introduce(self, inode: Inode) -> bytes:
        """Records that say where the host has *inode*, as far as no record has yet.

        A file may have several names, and get known by more of them later.
        """
        if inode.is_directory:
            return self._introduce_directory(inode)
        number = self._number(inode)
        if self._recorded.get(number) is not inode:
            self._mark_recorded(inode)
            self._recorded_places.pop(number, None)
        records = b""
        for parent, name in self._places(inode):
            recorded = self._recorded_places.setdefault(number, set())
            place = self._number(parent), name
            if place not in recorded:
                recorded.add(place)
                self._introduced.append((number, place))
                records += self._introduce_directory(parent) + self._known(inode, parent, name)
        return records

    def _introduce_directory(self, inode: Inode) -> bytes:
        records = b""
        while self._recorded.get(self._number(inode)) is not inode:
            self._mark_recorded(inode)
            places = self._places(inode)
            if not places:
                break  # it has no name on the host: nothing can be done to it there
            records = self._known(inode, *places[0]) + records
            inode = places[0][0]
        return records

    def started(self, sequence: int) -> None:
        """Record that the change *sequence* is under way, perhaps half done. Raises OSError."""
        os.pwrite(self._progress_fd, progress_bytes(sequence), 0)

    def done(self, sequence: int) -> None:
        """Record that the host has the change *sequence* and all before it. Raises OSError."""
        os.pwrite(self._progress_fd, progress_bytes(sequence), PROGRESS_DONE_AT)

    @property
    def wants_compaction(self) -> bool:
        """Whether its records have become many more than the pending changes need."""
        return self._records_bytes > max(_COMPACT_AT_BYTES, 2 * self._compacted_bytes)

    def compact(self, overlay: "Iterable[Change[Inode]]") -> None:
        """Write the records anew, only those that pending changes need. Raises OSError."""
        recorded = self._recorded, self._recorded_places
        self._forget_recorded()
        try:
            records = bytearray(self._base())
            for change in overlay:
                records += self._records_of(change)
            with opened(self.directory) as dir_fd:
                fd = written(dir_fd, "changes.new", records)
                os.rename("changes.new", "changes", src_dir_fd=dir_fd, dst_dir_fd=dir_fd)
        except OSError:
            self._recorded, self._recorded_places = recorded
            raise
        finally:
            self._introduced = []
        os.close(self._changes_fd)
        self._changes_fd = fd
        self._records_bytes = self._compacted_bytes = len(records)

    @property
    def is_small(self) -> bool:
        """Whether the journal is too small to be worth emptying."""
        return self._records_bytes < _SMALL_BYTES and self.data.end_bytes < _SMALL_BYTES

    def clear(self) -> None:
        """Empty the journal's records and data: nothing is pending. Raises OSError."""
        if self._records_bytes or self.data.end_bytes:
            self._begin()

    def clear_records(self) -> None:
        """Empty the records, not the data, which orphans need. Raises OSError."""
        if self._records_bytes:
            os.ftruncate(self._changes_fd, 0)
            self._records_bytes = 0
            self._forget_recorded()

    def close(self, *, keep: bool) -> None:
        """Close the journal, and remove it unless *keep*; never fails, logs what is lost."""
        if not keep:
            with contextlib.suppress(OSError):
                take_away(self.directory)
        elif not self._is_in_place():
            try:
                self._put_back()
            except OSError as error:
                log.error("what is not on the host cannot be kept: %s", error)
        for fd in (self._changes_fd, self.data.fd, self._progress_fd, self._lock_fd):
            os.close(fd)

    def _is_in_place(self) -> bool:
        """Whether the next mount finds it by its path: nobody has removed or renamed that."""
        try:
            there = os.stat(self.directory / "changes")
        except OSError:
            return False
        return os.path.samestat(there, os.fstat(self._changes_fd))

    def _put_back(self) -> None:
        """Make it again from what is open, which is all there is of it. Raises OSError."""
        make_directory(self.directory)
        with opened(self.directory) as dir_fd:
            # Without "changes" it is none: that comes last.
            for name, source in (
                ("lock", self._lock_fd),
                ("progress", self._progress_fd),
                ("data", self.data.fd),
                ("changes", self._changes_fd),
            ):
                flags = OPEN | os.O_WRONLY | os.O_CREAT | os.O_EXCL
                target = os.open(name, flags, 0o600, dir_fd=dir_fd)
                try:
                    copy_content(source, target)
                    os.fsync(target)
                finally:
                    os.close(target)


def open_journal(state: Path, source: str, root: Inode) -> Journal:
    """Make a new journal for *source* in the *state* directory. Raises OSError."""
    parent = state / "write-back"
    for number in range(_MOST_JOURNALS):
        directory = parent / f"{digest_of(source)}-{number}"
        if aside_of(directory).exists():
            continue  # an earlier share's
        try:
            make_directory(directory)
        except FileExistsError:
            continue
        lock_fd = new_lock(directory)
        if lock_fd < 0:
            continue
        try:
            return Journal(directory, source, root, lock_fd)
        except BaseException:
            with contextlib.suppress(OSError):
                take_away(directory)
            os.close(lock_fd)
            raise
    raise OSError(errno.EEXIST, f"more than {_MOST_JOURNALS} journals of {source}", str(parent))
