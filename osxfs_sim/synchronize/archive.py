"""The last agreed state, and what has been done since: on the disk, in an order that loses nothing.

Two files in the state's directory:

agreed   the whole tree, written beside and renamed into place, after both sides'
         file systems have been told to write everything (syncfs). It is therefore
         never newer than what the disks hold: a disk that lost a change could
         otherwise look as if its side had taken it back.
journal  what has been put where since, one record after each change that was made,
         and one before each that takes something away. It is not forced to the
         disk, so it counts only until the machine starts anew; what it says is then
         found equal on both sides instead, or in doubt. A torn end is left out.

Of every object that both agreed upon, it is also known which it was on either side
(snapshot.Known): a side whose object has the agreed content, and is another, may have
deleted it and made it again.

The first format did not know that. What it says is taken over with no object known:
then nothing is deleted on the strength of it, and what either side has deleted since
comes back.

A damaged *agreed* is refused, not taken as empty: with nothing agreed upon, two
sides that differ are conflicts where it is safe, and the host's wins where it is
resolved so. That is for the user to decide.
"""

import contextlib
import fcntl
import hashlib
import os
import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import msgpack

from osxfs_sim.synchronize.claims import Claim
from osxfs_sim.synchronize.errors import SyncError
from osxfs_sim.synchronize.roots import shown
from osxfs_sim.synchronize.snapshot import (
    EMPTY,
    UNKNOWN,
    Child,
    Entry,
    File,
    Known,
    Link,
    Path,
    Put,
    Subtree,
    directory,
    with_changes,
)

Step = Callable[[str], None]
"""Called before each durable action, by its name: a test lets it crash there."""


def no_step(name: str) -> None:
    """Do nothing: the step that is called where no test wants to crash."""


_NAME = b"osxfs-sim agreed "
_MAGIC = _NAME + b"2\n"
_FIRST_MAGIC = _NAME + b"1\n"
"""Of the format that did not know which objects were agreed upon."""
_CHECK_BYTES = 16
_FRAME = struct.Struct("<II")  # length, CRC-32
_BOOT_ID = "/proc/sys/kernel/random/boot_id"


@dataclass(frozen=True, slots=True)
class Intent:
    """The object at *path* of *side* is about to be replaced, moved away, or made.

    What lay there comes to *name* of the side's staging.
    """

    name: str
    """The name in the side's staging where what lay there comes to."""
    side: Literal["host", "guest"]
    """On which side the object is."""
    path: Path
    """Where it lies, relative to the root."""
    old: bytes
    """Its fingerprint, as it was seen: what has another is its side's, and goes back.
    Empty: nothing lay there."""
    new: bytes
    """Of what takes its place; empty: nothing does."""
    identity: bytes = b""
    """Of a deletion: apart from its name, the very object that is to go."""
    is_made: bool = False
    """Whether it comes from *name* of the staging to where nothing is to lie: it waits there
    for as long as that was not done."""


EVERYTHING: frozenset[Path] = frozenset({()})


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a state directory says at the start: the agreed state, and what a crash left undone."""

    agreed: Subtree
    """The last agreed state."""
    intents: list[Intent]
    """What may have been moved away."""
    unfinished: list[Intent]
    """Those after which no record says that it was done: the end of the process may have
    come between."""
    doubts: frozenset[Path]
    """Where more may have travelled than is known; the root: everywhere, as after another
    boot, since what the journal says is not sure to be on the disks."""
    recorded: frozenset[Intent] = frozenset()
    """Those after which a record says that it was done."""


class Archive:
    """The directory of a synchronized share's agreed state and journal. Not thread-safe."""

    def __init__(self, state: bytes, host: bytes, copy: bytes, step: Step = no_step) -> None:
        """Locks *state*, for this pair of directories; raises SyncError."""
        self._state = state
        self._pair = [host, copy]
        self._step = step
        self._journal = -1
        self._journal_bytes = self._header_bytes = self._before_intent = 0
        self._is_of_first_format = False
        self.generation = 0
        self._claim: Claim | None = None
        _refuse_others(state)
        self._lock = os.open(
            os.path.join(state, b"lock"),
            os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC,
            0o600,
        )
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._lock)
            raise SyncError(
                f"{shown(host)} is synchronized with {shown(copy)} already: "
                "stop the other share first"
            ) from None

    def claim(self, host: bytes, copy: bytes) -> None:
        """Claim both directories against other shares. Raises SyncError, OSError."""
        self._claim = Claim(host, copy)

    @property
    def _agreed_path(self) -> bytes:
        return os.path.join(self._state, b"agreed")

    @property
    def _journal_path(self) -> bytes:
        return os.path.join(self._state, b"journal")

    def load(self) -> Loaded:
        """Read the last agreed state, and what was begun after it. Raises SyncError or OSError."""
        agreed = self._load_agreed()
        puts: list[Put] = []
        intents: list[Intent] = []
        unfinished: dict[Path, Intent] = {}
        journal = iter(self._load_journal())
        header = next(journal, None)
        if header is None or header[0] != "journal":
            # Nothing is known of what was done since, if there was anything.
            return Loaded(agreed, [], [], EVERYTHING if self.generation else frozenset())
        is_same_boot = header[2] == boot_id()
        records = list(journal)
        is_sure = is_same_boot or records == [["clean"]]
        in_doubt = header[3] if len(header) > 3 else []  # the first format has none
        doubts = frozenset(map(tuple, in_doubt)) if is_sure else EVERYTHING
        if header[1] != self.generation:
            return Loaded(agreed, [], [], doubts)
        for record in records:
            if record[0] == "put":
                puts.append((tuple(record[1]), _entry(self._upgraded(record[2]))))
                unfinished.pop(puts[-1][0], None)
            elif record[0] == "intent":
                _, name, side, path, *rest = record
                intents.append(Intent(name, side, tuple(path), *rest))
                unfinished[intents[-1].path] = intents[-1]
        if is_same_boot:
            entry = with_changes(agreed, puts)
            assert isinstance(entry, Subtree)
            agreed = entry
        begun = list(unfinished.values()) if is_same_boot else []
        recorded = set(intents) - set(begun)
        return Loaded(agreed, intents, begun, doubts, frozenset(recorded if is_same_boot else ()))

    def _load_agreed(self) -> Subtree:
        try:
            with open(self._agreed_path, "rb") as file:
                content = file.read()
        except FileNotFoundError:
            return EMPTY
        magic, rest = content[: len(_MAGIC)], content[len(_MAGIC) :]
        check, payload = rest[:_CHECK_BYTES], rest[_CHECK_BYTES:]
        remedy = (
            f"remove {shown(self._agreed_path)} to start anew: both sides are then compared as "
            "if nothing had been agreed upon, so equal files agree, different ones are conflicts "
            "(or the host's, by the mode), and what was deleted since comes back"
        )
        self._is_of_first_format = magic == _FIRST_MAGIC
        is_known = magic in (_MAGIC, _FIRST_MAGIC)
        if not is_known and magic.startswith(_NAME):
            raise SyncError(
                f"the last agreed state is of another version: use that version, or {remedy}"
            )
        if not is_known or _check(payload) != check:
            raise SyncError(f"the last agreed state is damaged: {remedy}")
        try:
            generation, pair, tree = msgpack.unpackb(payload, raw=False, strict_map_key=False)
            entry = _entry(self._upgraded(tree))
        except (ValueError, TypeError, IndexError):
            raise SyncError(f"the last agreed state is damaged: {remedy}") from None
        if pair != self._pair:
            raise SyncError(
                f"the last agreed state is that of {shown(pair[0])} and {shown(pair[1])}: {remedy}"
            )
        self.generation = generation
        assert isinstance(entry, Subtree)
        return entry

    def _upgraded(self, plain: list[Any] | None) -> list[Any] | None:
        """*plain* in today's format: which objects they were is not known, so none is deleted."""
        return _with_unknown(plain) if self._is_of_first_format and plain else plain

    def _load_journal(self) -> Iterator[Any]:
        try:
            with open(self._journal_path, "rb") as file:
                content = file.read()
        except FileNotFoundError:
            return
        offset = 0
        while offset + _FRAME.size <= len(content):
            length, check = _FRAME.unpack_from(content, offset)
            payload = content[offset + _FRAME.size : offset + _FRAME.size + length]
            if len(payload) < length or zlib.crc32(payload) != check:
                return  # torn: the process ended while it wrote
            yield msgpack.unpackb(payload, raw=False)
            offset += _FRAME.size + length

    @property
    def journal_bytes(self) -> int:
        """The bytes of the journal's records; 0: nothing was recorded in it."""
        return self._journal_bytes - self._header_bytes

    def put(self, path: Path, entry: Entry | None) -> None:
        """Record that *entry* (None: nothing) lies at *path* on both sides; never fails."""
        self._step("record")
        # One that is missing is found equal on both sides: no reason to fail.
        with contextlib.suppress(OSError):
            self._append(["put", list(path), _plain(entry)])

    def intend(self, intent: Intent) -> None:
        """Record in the journal what is about to be moved away. Raises OSError."""
        self._step("intend")
        self._before_intent = self._journal_bytes
        self._append(
            [
                "intent",
                intent.name,
                intent.side,
                list(intent.path),
                intent.old,
                intent.new,
                intent.identity,
                intent.is_made,
            ]
        )

    def withdraw(self) -> None:
        """Take the intent recorded last out of the journal: it was not done. Raises OSError."""
        os.ftruncate(self._journal, self._before_intent)
        self._journal_bytes = self._before_intent

    def _append(self, record: list[Any]) -> None:
        payload = msgpack.packb(record)
        framed = _FRAME.pack(len(payload), zlib.crc32(payload)) + payload
        try:
            written = os.write(self._journal, framed)
            if written < len(framed):
                raise OSError(28, "No space left on device")
        except OSError:
            os.ftruncate(self._journal, self._journal_bytes)  # nothing after a torn record is read
            raise
        self._journal_bytes += len(framed)

    def checkpoint(self, agreed: Subtree, doubts: frozenset[Path] = frozenset()) -> None:
        """Save *agreed* whole, and begin a new journal. Raises OSError.

        Both sides are on their disks by then. *doubts* are still to be checked.
        """
        generation = self.generation + 1
        payload = msgpack.packb([generation, self._pair, _plain_tree(agreed)])
        self._step("save agreed")
        self._replace(self._agreed_path, _MAGIC + _check(payload) + payload)
        self.generation = generation
        payload = msgpack.packb(["journal", generation, boot_id(), [list(path) for path in doubts]])
        framed = _FRAME.pack(len(payload), zlib.crc32(payload)) + payload
        self._step("new journal")
        self._replace(self._journal_path, framed)
        if self._journal >= 0:
            os.close(self._journal)
        self._journal = os.open(self._journal_path, os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)
        self._journal_bytes = self._header_bytes = len(framed)

    def _replace(self, path: bytes, content: bytes) -> None:
        beside = path + b".new"
        fd = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            view = memoryview(content)
            while view:
                view = view[os.write(fd, view) :]
            os.fsync(fd)
        finally:
            os.close(fd)
        self._step("rename into place")
        os.replace(beside, path)
        fd = os.open(self._state, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)

    def end(self) -> None:
        """Record that nothing was done since the last save; goes on where that fails."""
        if self._journal >= 0 and not self.journal_bytes:
            with contextlib.suppress(OSError):  # else it is not sure
                self._append(["clean"])
                os.fsync(self._journal)

    def close(self) -> None:
        """Unlock the state and release the claim of the two directories; never fails."""
        if self._claim is not None:
            self._claim.release()
        if self._journal >= 0:
            os.close(self._journal)
            self._journal = -1
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1


def _refuse_others(state: bytes) -> None:
    """Nobody else may reach what waits and what is written in *state*. Raises SyncError."""
    fd = os.open(state, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        status = os.fstat(fd)
        if status.st_uid != os.geteuid():
            raise SyncError(
                f"the state's directory {shown(state)} belongs to another user: choose another"
            )
        if status.st_mode & 0o077:
            os.fchmod(fd, 0o700)
    finally:
        os.close(fd)


def boot_id() -> str:
    """The kernel's random id of this boot of the machine; "" where it cannot be read."""
    try:
        with open(_BOOT_ID) as file:
            return file.read().strip()
    except OSError:
        return ""


def _check(payload: bytes) -> bytes:
    return hashlib.blake2b(payload, digest_size=_CHECK_BYTES).digest()


def _plain(entry: Entry | None) -> list[Any] | None:
    match entry:
        case None:
            return None
        case File(digest=digest, executable=executable, size=size):
            return ["f", _plain_known(entry), digest, executable, size]
        case Link(target=target):
            return ["l", _plain_known(entry), target]
        case Subtree():
            return ["d", _plain_known(entry), []]


def _plain_known(entry: Entry) -> list[Any]:
    host, guest = entry.known
    return [_plain_object(host), _plain_object(guest)]


def _plain_object(known: Known | None) -> list[Any] | None:
    if known is None:
        return None
    return [known.identity, known.grants, known.is_image, known.change_ns]


def _plain_tree(entry: Child) -> list[Any] | None:
    if isinstance(entry, Subtree):
        children = [[name, _plain_tree(child)] for name, child in entry.children.items()]
        return ["d", _plain_known(entry), children]
    assert isinstance(entry, (File, Link))
    return _plain(entry)


def _with_unknown(plain: list[Any]) -> list[Any]:
    kind, *rest = plain
    if kind == "d":
        rest = [[[name, _with_unknown(child)] for name, child in rest[0]]]
    return [kind, list(UNKNOWN), *rest]


def _entry(plain: list[Any] | None) -> Entry | None:
    return None if plain is None else _tree(plain)


def _tree(plain: list[Any]) -> Entry:
    kind, sides, *rest = plain
    host, guest = (None if known is None else Known(*known) for known in sides)
    match kind:
        case "f":
            return File(rest[0], rest[1], rest[2], known=(host, guest))
        case "l":
            return Link(rest[0], known=(host, guest))
        case _:
            children = {name: _tree(child) for name, child in rest[0]}
            return directory(children, known=(host, guest))
