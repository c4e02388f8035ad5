"""Keeps what the guest has changed and the host does not have yet: it outlives the server.

A directory per share, in the server's state directory, with four files:

    lock      held by the server for as long as it lives; says which server that is
    changes   what the guest has done, in its order, a frame each
    data      the bytes it has written; a frame says where
    progress  two numbers: the change that is being carried out, and the last that was

A frame is acknowledged once write(2) has returned, before the guest is answered, and nothing is
synced to the disk: a killed server loses nothing, a machine that loses its power may lose what
is in here (fsync in the guest writes to the host's own files, and syncs those). A frame that was
torn is told by its checksum; nobody was told that it was there.

When nothing is held the files are emptied. The data of what is held no more is given back a
segment at a time, and the frames are written anew when they have become many.
"""

import contextlib
import errno
import fcntl
import hashlib
import json
import logging
import os
import stat as modes
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import msgpack

from osxfs_sim.fs import at
from osxfs_sim.fs.copies import copy_content
from osxfs_sim.model.write_back import Change, Kind
from osxfs_sim.mount import syscalls
from osxfs_sim.mount.tree.inodes import ROOT_NUMBER, Inode, Shown

log = logging.getLogger(__name__)

VERSION = 2
_READABLE = (1, 2)
"""The first had neither generations nor what the guest was shown in its frames."""
_HEADER = struct.Struct("<II")  # length and CRC-32 of the frame that follows
_PROGRESS = struct.Struct("=QQ")
_NUMBER = struct.Struct("=Q")
_SEGMENT_BYTES = 1 << 20
_REWRITE_AT_BYTES = 32 << 20
_SMALL_BYTES = 4 << 20
_PUNCH_HOLE = 0x02 | 0x01  # FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE (linux/falloc.h)
_MOST_JOURNALS = 4_096
_ASIDE = "-aside"
_OWNER_BYTES = 65_536
"""More than two paths of the longest (PATH_MAX), with each byte escaped as JSON does."""


class MakeDetail(NamedTuple):
    """Of a MAKE: what is made, for whom."""

    mode: int
    uid: int
    gid: int
    link_target: bytes
    at_ns: int


class SetDetail(NamedTuple):
    """Of a SET: the attributes that are set; None for the others. Times are wall-clock."""

    size: int | None
    mode: int | None
    uid: int | None
    gid: int | None
    atime_ns: int | None
    mtime_ns: int | None
    at_ns: int


class OtherDetail(NamedTuple):
    """Of all others: when it was, by the wall clock."""

    at_ns: int


class Owner(NamedTuple):
    """Which server a journal belongs to, while that lives."""

    pid: int
    source: str
    root: tuple[int, int]
    """Device and inode number of the source's root."""
    mountpoint: str = ""
    """Empty until it is mounted."""
    device: str = ""
    """Of its mount, ``major:minor``: the next file system that is mounted may get it again."""
    drains: bool = False
    """Whether its mount is gone, and only the rest is still written back."""


_DETAILS: dict[Kind, Callable[..., Any]] = {Kind.MAKE: MakeDetail, Kind.SET: SetDetail}


class Journal:
    """The journal of one share. Raises OSError where it cannot be written: nothing is held then."""

    def __init__(self, directory: Path, source: str, root: Inode, lock_fd: int) -> None:
        """Begin with nothing held, in *directory*, which is locked by *lock_fd*."""
        self.directory = directory
        self.source = source
        self._root = root
        self._lock_fd = lock_fd
        self._owner = Owner(os.getpid(), source, (root.device, root.host_number))
        self._say_whose()
        with opened(directory) as dir_fd:
            self._changes_fd, self.data_fd, self._progress_fd = (
                os.open(name, _OPEN | os.O_RDWR | os.O_CREAT, 0o600, dir_fd=dir_fd)
                for name in ("changes", "data", "progress")
            )
        # Written, so that it has its room from the start: what is acknowledged may fill the disk
        # that it lies on. Not mapped: a page without room would end the server (SIGBUS).
        os.pwrite(self._progress_fd, _PROGRESS.pack(0, 0), 0)
        self._told: dict[int, Inode] = {}
        self._told_ways: dict[int, set[tuple[int, bytes]]] = {}
        self._begin()

    def _begin(self) -> None:
        """Nothing is held."""
        # Frames first: without them the data means nothing.
        os.ftruncate(self._changes_fd, 0)
        os.ftruncate(self.data_fd, 0)
        self._end = 0
        self._frames_bytes = 0
        self._rewritten_bytes = 0
        self._live: dict[int, int] = {}
        self._forget_told()

    # Whose it is

    def mounted(self, mountpoint: str, device: str) -> None:
        """The share's mount is the one of *device* (``major:minor``) at *mountpoint*."""
        self._owner = self._owner._replace(mountpoint=mountpoint, device=device)
        with contextlib.suppress(OSError):
            self._say_whose()

    def drains(self) -> None:
        """The mount is gone: what is still held is written back, and no more comes."""
        self._owner = self._owner._replace(drains=True)
        with contextlib.suppress(OSError):  # its mount tells, too
            self._say_whose()

    def _say_whose(self) -> None:
        _say_whose(self._lock_fd, self._owner)

    def _forget_told(self) -> None:
        """No frame says where anything is."""
        # What the next frames introduce: objects, and further ways to them.
        self._introduced: list[tuple[int, tuple[int, bytes] | None]] = []
        self._told = {ROOT_NUMBER: self._root}
        self._told_ways = {}

    # Data

    def reserve(self, length: int) -> int:
        """A place for *length* bytes: to be put there, noted in a frame, and freed."""
        position = self._end
        self._end += length
        segment = position // _SEGMENT_BYTES
        if self._end <= (segment + 1) * _SEGMENT_BYTES:
            self._live[segment] = self._live.get(segment, 0) + length
            return position
        for segment, part in _segments(position, length):
            self._live[segment] = self._live.get(segment, 0) + part
        return position

    def put(self, position: int, data: bytes) -> None:
        """Keep *data* at the reserved *position*; in a thread, perhaps. Raises OSError."""
        written = os.pwrite(self.data_fd, data, position)
        while written < len(data):
            written += os.pwrite(self.data_fd, memoryview(data)[written:], position + written)

    def free(self, position: int, length: int) -> None:
        """These bytes are held no more."""
        for segment, part in _segments(position, length):
            left = self._live[segment] - part
            if left:
                self._live[segment] = left
                continue
            del self._live[segment]
            if (segment + 1) * _SEGMENT_BYTES <= self._end:
                self._punch(segment * _SEGMENT_BYTES)

    def _punch(self, position: int) -> None:
        # Some file systems cannot; their journal gets small when nothing is held.
        with contextlib.suppress(OSError):
            syscalls.fallocate(self.data_fd, _PUNCH_HOLE, position, _SEGMENT_BYTES)

    def read(self, position: int, length: int) -> bytes:
        """The bytes kept at *position*."""
        return os.pread(self.data_fd, length, position)

    @property
    def holds_data(self) -> bool:
        return bool(self._live)

    # Frames

    def note(self, change: "Change[Inode]") -> None:
        """The guest is about to make *change*. Raises OSError, and nothing is kept of it."""
        frames = bytearray()
        if not self._frames_bytes:
            frames += self._base()
        frames += self._frames_of(change)
        self._append_introducing(frames)

    def note_longer(self, sequence: int, length: int, detail: Any) -> None:
        """The last change, a write, becomes longer. Raises OSError."""
        self._append(_frame(("longer", sequence, length, tuple(detail))))

    def note_cancelled(self, dropped: list[int], turned: "Iterable[Change[Inode]]") -> None:
        """These numbers need not cross any more; *turned* cross as something else."""
        frames = bytearray(_frame(("gone", dropped)))
        for each in turned:
            frames += self._frames_of(each)
        self._append_introducing(frames)

    def note_arrived(self, inode: Inode) -> None:
        """The host has got *inode*."""
        self._append(_arrived(inode.number, inode))

    def _append_introducing(self, frames: bytearray) -> None:
        """As _append: what these frames introduce is known only once they are kept."""
        introduced, self._introduced = self._introduced, []
        try:
            self._append(frames)
        except BaseException:
            self._take_back(introduced)
            raise

    def _take_back(self, introduced: list[tuple[int, tuple[int, bytes] | None]]) -> None:
        """No frame says this."""
        for number, way in introduced:
            if way is None:
                self._told.pop(number, None)
            else:
                self._told_ways.get(number, set()).discard(way)

    def _append(self, frames: bytes | bytearray) -> None:
        written = os.pwrite(self._changes_fd, frames, self._frames_bytes)
        if written < len(frames):
            # As if it had never been: what follows is written over it.
            os.ftruncate(self._changes_fd, self._frames_bytes)
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._frames_bytes += written

    def _base(self) -> bytes:
        return _frame(("base", VERSION, os.fsencode(self.source), self._root.device))

    def _frames_of(self, change: "Change[Inode]") -> bytearray:
        frames = bytearray()
        if change.kind is Kind.MAKE:
            self._tell(change.target)
        for inode in (change.target, change.parent, change.old_parent, change.replaced):
            if inode is not None:
                frames += self._introduce(inode)
        frames += _frame(
            (
                "change",
                change.sequence,
                change.kind.value,
                self._number(change.target),
                change.target.kind,
                self._number(change.parent),
                change.name,
                self._number(change.old_parent),
                change.old_name,
                self._number(change.replaced),
                change.replaced_is_directory,
                change.offset,
                change.length,
                change.position,
                tuple(change.detail),
            )
        )
        return frames

    def _number(self, inode: Inode | None) -> int:
        """What the frames call it."""
        return inode.number if inode is not None else 0

    def _ways(self, inode: Inode) -> list[tuple[Inode, bytes]]:
        """By which names the host has it, the latest first."""
        if inode.parent is None:
            return []  # it has no name on the host, not yet or no more
        return [(inode.parent, inode.name), *(inode.other_names or ())]

    def _known(self, inode: Inode, parent: Inode, name: bytes) -> bytes:
        return _known(inode, self._number(inode), self._number(parent), name)

    def _tell(self, inode: Inode) -> None:
        self._told[self._number(inode)] = inode
        self._introduced.append((self._number(inode), None))

    def _introduce(self, inode: Inode) -> bytes:
        """Frames that tell where the host has *inode*, as far as no frame has yet.

        A file may have several names, and get known by more of them later.
        """
        if inode.is_directory:
            return self._introduce_directory(inode)
        number = self._number(inode)
        if self._told.get(number) is not inode:
            self._tell(inode)
            self._told_ways.pop(number, None)
        frames = b""
        for parent, name in self._ways(inode):
            told = self._told_ways.setdefault(number, set())
            way = self._number(parent), name
            if way not in told:
                told.add(way)
                self._introduced.append((number, way))
                frames += self._introduce_directory(parent) + self._known(inode, parent, name)
        return frames

    def _introduce_directory(self, inode: Inode) -> bytes:
        frames = b""
        while self._told.get(self._number(inode)) is not inode:
            self._tell(inode)
            ways = self._ways(inode)
            if not ways:
                break  # it has no name on the host: nothing can be done to it there
            frames = self._known(inode, *ways[0]) + frames
            inode = ways[0][0]
        return frames

    def started(self, sequence: int) -> None:
        """This change is being carried out: it may be half done."""
        os.pwrite(self._progress_fd, _NUMBER.pack(sequence), 0)

    def done(self, sequence: int) -> None:
        """This change and all before it are on the host."""
        os.pwrite(self._progress_fd, _NUMBER.pack(sequence), _NUMBER.size)

    @property
    def wants_rewriting(self) -> bool:
        return self._frames_bytes > max(_REWRITE_AT_BYTES, 2 * self._rewritten_bytes)

    def rewrite(self, held: "Iterable[Change[Inode]]") -> None:
        """Leave out all frames but those that the changes still *held* need."""
        told = self._told, self._told_ways
        self._forget_told()
        try:
            frames = bytearray(self._base())
            for change in held:
                frames += self._frames_of(change)
            with opened(self.directory) as dir_fd:
                fd = _written(dir_fd, "changes.new", frames)
                os.rename("changes.new", "changes", src_dir_fd=dir_fd, dst_dir_fd=dir_fd)
        except OSError:
            self._told, self._told_ways = told
            raise
        finally:
            self._introduced = []
        os.close(self._changes_fd)
        self._changes_fd = fd
        self._frames_bytes = self._rewritten_bytes = len(frames)

    @property
    def is_small(self) -> bool:
        """Whether it may stay as it is for a while."""
        return self._frames_bytes < _SMALL_BYTES and self._end < _SMALL_BYTES

    def clear(self) -> None:
        """No change is held, and no data."""
        if self._frames_bytes or self._end:
            self._begin()

    def clear_frames(self) -> None:
        """No change is held; data is, of files without a name."""
        if self._frames_bytes:
            os.ftruncate(self._changes_fd, 0)
            self._frames_bytes = 0
            self._forget_told()

    def close(self, *, keep: bool) -> None:
        """*keep* it for the next mount, or take it away."""
        if not keep:
            with contextlib.suppress(OSError):
                take_away(self.directory)
        elif not self._is_in_place():
            try:
                self._put_back()
            except OSError as error:
                log.error("what is not on the host cannot be kept: %s", error)
        for fd in (self._changes_fd, self.data_fd, self._progress_fd, self._lock_fd):
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
                ("data", self.data_fd),
                ("changes", self._changes_fd),
            ):
                flags = _OPEN | os.O_WRONLY | os.O_CREAT | os.O_EXCL
                target = os.open(name, flags, 0o600, dir_fd=dir_fd)
                try:
                    copy_content(source, target)
                    os.fsync(target)
                finally:
                    os.close(target)


def _segments(position: int, length: int) -> Iterator[tuple[int, int]]:
    """The segments that these bytes lie in, and how many in each."""
    while length > 0:
        segment = position // _SEGMENT_BYTES
        part = min(length, (segment + 1) * _SEGMENT_BYTES - position)
        yield segment, part
        position += part
        length -= part


def _frame(values: tuple[Any, ...]) -> bytes:
    body: bytes = msgpack.packb(values, use_bin_type=True)
    return _HEADER.pack(len(body), zlib.crc32(body)) + body


def _known(inode: Inode, number: int, parent_number: int, name: bytes) -> bytes:
    """The frame that says that the host has *inode* as *name* in a directory."""
    identity = (inode.device, inode.host_number, inode.kind, _generation(inode))
    return _frame(("known", number, parent_number, name, *identity, inode.shown))


def _arrived(number: int, inode: Inode) -> bytes:
    """The frame that says that the host has got *inode*."""
    return _frame(("arrived", number, inode.device, inode.host_number, _generation(inode)))


def _generation(inode: Inode) -> bytes | None:
    return inode.facts.generation if inode.facts is not None else None


# Where journals lie


def all_journals(state: Path) -> list[Path]:
    """The directories of all journals, of whatever source."""
    return sorted((state / "write-back").glob("*-*"))


def _say_whose(lock_fd: int, owner: Owner) -> None:
    # Padded, and so in place: a full disk has room for what it had room for before.
    os.pwrite(lock_fd, json.dumps(owner).encode().ljust(_OWNER_BYTES), 0)


def claim(directory: Path, owner: Owner) -> None:
    """Say that the journal in *directory*, which is locked, is *owner*'s now. Raises OSError."""
    fd = open_file(directory, "lock", os.O_RDWR)
    try:
        _say_whose(fd, owner)
    finally:
        os.close(fd)


def owner_of(directory: Path) -> Owner | None:
    """The living server whose journal that is; None if there is none, or it has just begun."""
    with locked(directory) as is_free:
        if is_free:
            return None
    try:
        text = _read(directory, "lock")
        pid, source, root, *rest = json.loads(text)
    except (OSError, ValueError):
        return None
    return Owner(pid, source, (root[0], root[1]), *rest)


# Its directory
#
# Whose state it is may put something else into the place of a journal, and root reads it
# and takes it away: by descriptors, and nothing that another user could have put there.

_OPEN = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


@contextlib.contextmanager
def opened(directory: Path) -> Iterator[int]:
    """A descriptor of the *directory* of a journal. Raises OSError."""
    fd = at.open_place(directory)
    try:
        yield fd
    finally:
        os.close(fd)


def make_directory(directory: Path) -> None:
    """Make the *directory* of a journal, and those above it, for us alone. Raises OSError."""
    parent_fd = at.make_directories(directory.parent, 0o700, flags=os.O_PATH)
    try:
        os.mkdir(directory.name, 0o700, dir_fd=parent_fd)
    finally:
        os.close(parent_fd)


def open_file(directory: Path, name: str, flags: int = os.O_RDONLY) -> int:
    """A descriptor of a file of a journal. Raises OSError."""
    with opened(directory) as dir_fd:
        fd = os.open(name, _OPEN | flags, dir_fd=dir_fd)
    if not modes.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise OSError(errno.EINVAL, f"{name} is no file")
    return fd


def has_changes(directory: Path) -> bool:
    """Whether a journal has any frames, or had: else its server was about to make it."""
    with contextlib.suppress(OSError), opened(directory) as dir_fd:
        return modes.S_ISREG(os.stat("changes", dir_fd=dir_fd, follow_symlinks=False).st_mode)
    return False


def _read(directory: Path, name: str) -> bytes:
    with open(open_file(directory, name), "rb") as file:
        return file.read()


def _written(dir_fd: int, name: str, data: bytes | bytearray) -> int:
    """The new file *name* with *data*, open."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(name, dir_fd=dir_fd)
    fd = os.open(name, _OPEN | os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600, dir_fd=dir_fd)
    try:
        left = memoryview(data)
        while left:
            left = left[os.write(fd, left) :]
    except BaseException:
        os.close(fd)
        raise
    return fd


def numbers_of(directory: Path) -> bytes:
    """How far its server has got, to be compared with what it was before."""
    with contextlib.suppress(OSError):
        return _read(directory, "progress")
    return b""


def journals_of(state: Path, source: str) -> list[Path]:
    """The directories of all journals of the directory *source*."""
    digest = hashlib.sha256(os.fsencode(source)).hexdigest()[:16]
    return sorted((state / "write-back").glob(f"{digest}-*"))


def aside_of(directory: Path) -> Path:
    """Where what the host has refused of the journal in *directory* is set aside."""
    return directory.with_name(directory.name + _ASIDE)


def is_aside(directory: Path) -> bool:
    """Whether that journal holds only what was set aside."""
    return directory.name.endswith(_ASIDE)


def open_journal(state: Path, source: str, root: Inode) -> Journal:
    """A new journal for *source*. Raises OSError."""
    parent = state / "write-back"
    digest = hashlib.sha256(os.fsencode(source)).hexdigest()[:16]
    for number in range(_MOST_JOURNALS):
        directory = parent / f"{digest}-{number}"
        if aside_of(directory).exists():
            continue  # an earlier share's
        try:
            make_directory(directory)
        except FileExistsError:
            continue
        lock_fd = _new_lock(directory)
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


def _new_lock(directory: Path) -> int:
    """The lock of a new journal, or -1 if another mount has taken that for left behind."""
    try:
        with opened(directory) as dir_fd:
            fd = os.open("lock", _OPEN | os.O_RDWR | os.O_CREAT, 0o600, dir_fd=dir_fd)
    except FileNotFoundError:
        return -1
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        return -1
    if not os.fstat(fd).st_nlink:
        os.close(fd)
        return -1
    return fd


def take_away(directory: Path) -> None:
    """Remove a journal, which is locked, so that who is killed in that leaves none or all of it."""
    with contextlib.suppress(FileNotFoundError):
        with opened(directory) as dir_fd:
            for name in ("changes", "changes.new", "data", "progress", "lock"):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(name, dir_fd=dir_fd)
        at.remove_directory(directory)


# What a server has left behind


@dataclass(slots=True)
class Known:
    """What a frame says of an object that the host had: how to find it."""

    parent: int
    name: bytes
    device: int
    host_number: int
    kind: int
    generation: bytes | None = None
    shown: Shown | None = None


@dataclass(slots=True)
class LeftChange:
    """One change as its frame has it; objects by their numbers."""

    sequence: int
    kind: Kind
    target: int
    target_kind: int
    parent: int
    name: bytes
    old_parent: int
    old_name: bytes
    replaced: int
    replaced_is_directory: bool
    offset: int
    length: int
    position: int
    detail: Any


class Refusal(NamedTuple):
    """That the host has not taken a change: with which errno, and of what; the path is text."""

    code: int
    path: str

    @property
    def reason(self) -> str:
        return os.strerror(self.code)


@dataclass(slots=True)
class Leftover:
    """What a journal holds whose server has ended.

    *story* is what is to be known and done, in the order of the guest, the changes that the
    host has already included: they tell where things are. *started* may be half done. *refused*
    are those that were set aside, by their numbers, *settled* those that the host has taken after
    all. *seen* is what objects were like on the host then.
    """

    directory: Path
    source: str = ""
    root_device: int = 0
    started: int = 0
    done: int = 0
    story: list[Known | LeftChange] = field(default_factory=list)
    numbers: list[int] = field(default_factory=list)
    arrived: dict[int, tuple[int, int, bytes | None]] = field(default_factory=dict)
    end: int = 0
    """Where its frames end."""
    torn: bool = False
    """Whether another was cut off there: nobody was told that it was there."""
    refused: dict[int, Refusal] = field(default_factory=dict)
    settled: set[int] = field(default_factory=set)
    seen: dict[int, tuple[int, int, int]] = field(default_factory=dict)

    def has(self, sequence: int) -> bool:
        """Whether the host has this change."""
        return sequence in self.settled or (sequence <= self.done and sequence not in self.refused)

    def is_set_aside(self, sequence: int) -> bool:
        return sequence in self.refused and sequence not in self.settled

    @property
    def changes(self) -> list[LeftChange]:
        """What the host does not have, oldest first."""
        return [
            each
            for each in self.story
            if isinstance(each, LeftChange) and not self.has(each.sequence)
        ]

    @property
    def pending(self) -> list[LeftChange]:
        """What the host does not have, and has not refused."""
        return [each for each in self.changes if not self.is_set_aside(each.sequence)]

    @property
    def aside(self) -> list[LeftChange]:
        """What was set aside, because the host has refused it, or because it depends on that."""
        return [each for each in self.changes if self.is_set_aside(each.sequence)]

    @property
    def pending_bytes(self) -> int:
        return sum(change.length for change in self.pending)

    def paths(self) -> list[tuple[LeftChange, str]]:
        """Each change that the host does not have, and its path below the source, for people."""
        places: dict[int, tuple[int, bytes]] = {}
        lines: list[tuple[LeftChange, str]] = []
        for number, each in zip(self.numbers, self.story, strict=True):
            if isinstance(each, Known):
                places.setdefault(number, (each.parent, each.name))
                continue
            if each.kind in (Kind.MAKE, Kind.LINK, Kind.RENAME):
                places[each.target] = each.parent, each.name
            if not self.has(each.sequence):
                place = places.get(each.target, (0, b"?"))
                if each.kind in (Kind.UNLINK, Kind.RMDIR):
                    place = each.parent, each.name
                lines.append((each, _path(place, places)))
        return lines


def _path(place: tuple[int, bytes], places: dict[int, tuple[int, bytes]]) -> str:
    names = [place[1]]
    parent = place[0]
    seen: set[int] = set()
    while parent != ROOT_NUMBER and parent in places and parent not in seen:
        seen.add(parent)  # both sides may have moved one into the other
        parent, name = places[parent]
        names.append(name)
    path = os.fsdecode(b"/".join(reversed(names)))
    return path if path.isprintable() else repr(path)


def read_journal(directory: Path) -> Leftover:
    """What the journal in *directory* holds. Raises OSError, and ValueError for another version."""
    left = Leftover(directory)
    with contextlib.suppress(struct.error, FileNotFoundError):  # its server had just begun
        left.started, left.done = _PROGRESS.unpack_from(_read(directory, "progress"))
    changes: dict[int, LeftChange] = {}
    order: list[tuple[int, Known | int]] = []
    for frame in _frames(_read(directory, "changes"), left):
        match frame:
            case ["base", version, source, device]:
                if version not in _READABLE:
                    raise ValueError(f"a journal of version {version}; this is {VERSION}")
                left.source, left.root_device = os.fsdecode(source), device
            case ["known", number, parent, name, device, host_number, kind]:
                order.append((number, Known(parent, name, device, host_number, kind)))
            case ["known", number, parent, name, device, host_number, kind, generation, shown]:
                shown = Shown(*shown) if shown is not None else None
                known = Known(parent, name, device, host_number, kind, generation, shown)
                order.append((number, known))
            case ["arrived", number, device, host_number, *generation]:
                left.arrived[number] = device, host_number, generation[0] if generation else None
            case ["longer", sequence, length, detail]:
                if sequence in changes:
                    changes[sequence].length = length
                    changes[sequence].detail = OtherDetail(*detail)
            case ["gone", sequences]:
                for sequence in sequences:
                    changes.pop(sequence, None)
            case ["refused", sequences, code, path]:
                left.refused.update(dict.fromkeys(sequences, Refusal(code, path)))
            case ["seen", number, *like]:
                left.seen[number] = (like[0], like[1], like[2])
            case ["settled", sequence]:
                left.settled.add(sequence)
            case ["change", sequence, kind, *rest]:
                kind = Kind(kind)
                make_detail = _DETAILS.get(kind, OtherDetail)
                if sequence not in changes:
                    order.append((0, sequence))
                values = (sequence, kind, *rest[:-1], make_detail(*rest[-1]))
                changes[sequence] = LeftChange(*values)
    if is_aside(directory):
        # What is not said to be refused was cut off: it is with the others still. Each set of
        # changes came when it was refused; they are told in the guest's order.
        changes = {number: each for number, each in changes.items() if number in left.refused}
        order.sort(key=lambda each: 0 if isinstance(each[1], Known) else each[1])
    for number, each in order:
        if isinstance(each, Known):
            left.story.append(each)
            left.numbers.append(number)
        elif each in changes:
            left.story.append(changes[each])
            left.numbers.append(0)
    return left


def _frames(data: bytes, left: Leftover) -> Iterator[list[Any]]:
    at = 0
    while at < len(data):
        body = b""
        if at + _HEADER.size <= len(data):
            length, checksum = _HEADER.unpack_from(data, at)
            body = data[at + _HEADER.size : at + _HEADER.size + length]
        if not body or len(body) != length or zlib.crc32(body) != checksum:
            left.torn = True
            return
        yield msgpack.unpackb(body, raw=False)
        at += _HEADER.size + length
        left.end = at


def leftovers(state: Path, source: str) -> list[Leftover]:
    """What servers have left behind for *source*, and is not in use; empty ones are taken away.

    Raises OSError and ValueError.
    """
    found = []
    for directory in journals_of(state, source):
        with locked(directory) as is_ours:
            if not is_ours:
                continue
            # Without changes its server was about to make it, or to take it away.
            if has_changes(directory):
                left = read_journal(directory)
                _leave_to_aside(left)
                if left.changes:
                    found.append(left)
                    continue
            with contextlib.suppress(OSError):
                take_away(directory)
    return found


def _leave_to_aside(left: Leftover) -> None:
    """What was set aside is kept there. Who was killed then may not have noted that here."""
    aside = aside_of(left.directory)
    if is_aside(left.directory) or not has_changes(aside):
        return
    kept = read_journal(aside)
    left.settled |= kept.refused.keys()


@contextlib.contextmanager
def locked(directory: Path) -> Iterator[bool]:
    """Whether no server uses the journal in *directory*; none will for the time of the block."""
    try:
        fd = open_file(directory, "lock", os.O_RDWR)
    except FileNotFoundError:
        # Its server is about to make it, or has ended when it had hardly begun, or was removing it.
        with contextlib.suppress(OSError):
            at.remove_directory(directory)
        yield False
        return
    try:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(fd)


class Continuation:
    """Notes how far a recovery has got, for the next one in case that it is killed."""

    def __init__(self, left: Leftover) -> None:
        self._end = left.end
        self._changes_fd = open_file(left.directory, "changes", os.O_WRONLY)
        self._progress_fd = open_file(left.directory, "progress", os.O_WRONLY)

    def started(self, sequence: int) -> None:
        """As Journal.started()."""
        os.pwrite(self._progress_fd, _NUMBER.pack(sequence), 0)

    def done(self, sequence: int) -> None:
        """As Journal.done()."""
        os.pwrite(self._progress_fd, _NUMBER.pack(sequence), _NUMBER.size)

    def settled(self, sequence: int) -> None:
        """The host has taken what was set aside."""
        self._append(_frame(("settled", sequence)))

    def refused(self, sequences: list[int], refusal: Refusal) -> None:
        """These are set aside, where they are."""
        self._append(_frame(("refused", sequences, *refusal)))

    def _append(self, frame: bytes) -> None:
        if os.pwrite(self._changes_fd, frame, self._end) != len(frame):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        self._end += len(frame)

    def arrived(self, number: int, inode: Inode) -> None:
        """The host has got what the frames call *number*."""
        frame = _arrived(number, inode)
        # On a full disk it goes without: what is there is then found by its name. What was torn
        # is written over; what is left of it then is torn, too.
        with contextlib.suppress(OSError):
            if os.pwrite(self._changes_fd, frame, self._end) == len(frame):
                self._end += len(frame)

    def close(self) -> None:
        os.close(self._changes_fd)
        os.close(self._progress_fd)


def discard(left: Leftover) -> None:
    """Give up what *left* holds, for good."""
    take_away(left.directory)
