"""What a journal's files say, as bytes and as values: nothing here opens a file.

``changes`` is a row of records, each with its length and its checksum (CRC-32) before it, and a
msgpack array in it whose first element says which it is:

    base        version, source, device number of the source's root: the first record
    known       where the host had an object: number, number of the directory, name, identity, and
                what the guest was shown of it
    change      one change, objects by their numbers
    longer      the last change, a write, was continued: its new length
    gone        these changes need not cross any more
    arrived     the host has got an object: its identity
    refused     these changes are set aside, with the errno and the path
    seen        what a file was like on the host when a change of it was set aside
    settled     the host has taken, after all, a change that was set aside

``progress`` is two numbers: the change that is being applied, and the last that was. ``data`` is
the bytes that the guest has written, wherever a change says.
"""

import os
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import msgpack

from osxfs_sim.model.write_back import Change, Kind
from osxfs_sim.mount.tree.inodes import Inode, Shown

VERSION = 2
READABLE = (1, 2)
"""The first had neither generations nor what the guest was shown in its records."""
_HEADER = struct.Struct("<II")  # length and CRC-32 of the record that follows
_BASE = b"\x94\xa4base"
"""How the first record begins."""
_ARRAY, _ARRAY_MASK = 0x90, 0xF0
"""How every record begins (msgpack's fixarray)."""
_PROGRESS = struct.Struct("=QQ")
_NUMBER = struct.Struct("=Q")
PROGRESS_DONE_AT = _NUMBER.size
"""Where in ``progress`` the second number is: of the last change that the host has."""


class MakeDetail(NamedTuple):
    """What a MAKE creates, and for whom."""

    mode: int
    """Its permissions, without the type."""
    uid: int
    """The guest's user that makes it."""
    gid: int
    """That user's group."""
    link_target: bytes
    """Of a symlink, where it leads; else empty."""
    at_ns: int
    """When it was made, wall-clock."""


class SetDetail(NamedTuple):
    """The attributes that a SET sets, None for the others; times are wall-clock ns."""

    size: int | None
    """In bytes."""
    mode: int | None
    """Permissions, without the type."""
    uid: int | None
    """Owner."""
    gid: int | None
    """Group."""
    atime_ns: int | None
    """Time of access."""
    mtime_ns: int | None
    """Time of modification."""
    at_ns: int
    """When they were set."""


class OtherDetail(NamedTuple):
    """When another change was made."""

    at_ns: int
    """When it was, wall-clock."""


_DETAILS: dict[Kind, Callable[..., Any]] = {Kind.MAKE: MakeDetail, Kind.SET: SetDetail}


@dataclass(slots=True)
class KnownObject:
    """Where the host had an object, and by what it is known, as its record has it."""

    parent: int
    """The number of its directory in the records."""
    name: bytes
    """Its name there."""
    device: int
    """Its st_dev on the host."""
    host_number: int
    """Its st_ino on the host."""
    kind: int
    """Its type, the S_IFMT bits."""
    generation: bytes | None = None
    """What tells it from a later object with that number; None: nothing does, or a record of
    version 1."""
    shown: Shown | None = None
    """What the guest was last shown of it; None: nothing was, or a record of version 1."""


@dataclass(slots=True)
class RecordedChange:
    """One change as its record has it; objects by their numbers."""

    sequence: int
    """Its number: changes are applied in this order."""
    kind: Kind
    """What is done."""
    target: int
    """The object that it is about."""
    target_kind: int
    """The target's type, its S_IFMT bits."""
    parent: int
    """The directory in which a name is given or taken; 0: none is."""
    name: bytes
    """That name."""
    old_parent: int
    """Of a RENAME, the directory that it leaves; else 0."""
    old_name: bytes
    """Of a RENAME, the name that it had."""
    replaced: int
    """Of a RENAME, the object that loses the name; 0: none does."""
    replaced_is_directory: bool
    """Whether that is a directory."""
    offset: int
    """Of a WRITE, where in the file, in bytes."""
    length: int
    """Of a WRITE, how many bytes. Written by the reader, where later records make it longer."""
    position: int
    """Of a WRITE, where its bytes are in ``data``."""
    detail: Any
    """A MakeDetail, SetDetail or OtherDetail, as the kind asks for. Written by the reader, as
    length."""


class Refusal(NamedTuple):
    """Why the host has refused a change."""

    code: int
    """The errno."""
    path: str
    """The path below the source that it was about, for people."""

    @property
    def reason(self) -> str:
        """The errno's description in words, as strerror(3)."""
        return os.strerror(self.code)


def record(values: tuple[Any, ...]) -> bytes:
    """The bytes of a record with *values*: length, CRC-32, msgpack."""
    body: bytes = msgpack.packb(values, use_bin_type=True)
    return _HEADER.pack(len(body), zlib.crc32(body)) + body


def known_record(inode: Inode, number: int, parent_number: int, name: bytes) -> bytes:
    """The bytes of the record that the host has *inode* as *name* in a directory."""
    identity = (inode.device, inode.host_number, inode.kind, _generation(inode))
    return record(("known", number, parent_number, name, *identity, inode.shown))


def created_record(number: int, inode: Inode) -> bytes:
    """The bytes of the record that the host has created the object *number*, *inode*."""
    return record(("arrived", number, inode.device, inode.host_number, _generation(inode)))


def change_record(change: Change[Inode], numbers: tuple[int, int, int, int]) -> bytes:
    """The bytes of the record of *change*, its objects given by *numbers*.

    *numbers* are what the records call target, parent, old parent and what is replaced; 0: none.
    """
    target, parent, old_parent, replaced = numbers
    return record(
        (
            "change",
            change.sequence,
            change.kind.value,
            target,
            change.target.kind,
            parent,
            change.name,
            old_parent,
            change.old_name,
            replaced,
            change.replaced_is_directory,
            change.offset,
            change.length,
            change.position,
            tuple(change.detail),
        )
    )


def progress_bytes(number: int) -> bytes:
    """The 8 bytes of one *number* in the file ``progress``."""
    return _NUMBER.pack(number)


def progress_numbers(data: bytes) -> tuple[int, int]:
    """(change being applied, last one done), of the bytes of ``progress``; zeros if too few."""
    if len(data) < _PROGRESS.size:
        return 0, 0
    applying, done = _PROGRESS.unpack_from(data)
    return applying, done


def _generation(inode: Inode) -> bytes | None:
    return inode.facts.generation if inode.facts is not None else None


def intact_records(data: bytes) -> Iterator[tuple[list[Any], int]]:
    """Yield each record of *data* with the offset where it ends, up to the first torn one."""
    at = 0
    while at < len(data):
        body = b""
        if at + _HEADER.size <= len(data):
            length, checksum = _HEADER.unpack_from(data, at)
            body = data[at + _HEADER.size : at + _HEADER.size + length]
        if not body or len(body) != length or zlib.crc32(body) != checksum:
            return
        at += _HEADER.size + length
        yield msgpack.unpackb(body, raw=False), at


def is_damaged(data: bytes, end: int) -> bool:
    """Whether more of *data* than one record torn at offset *end* is unreadable.

    Which is where intact_records() end.
    """
    if not any(memoryview(data)[end:]):
        return False  # never reached the disk, before the machine lost its power
    if end == 0 and not _BASE.startswith(data[_HEADER.size :][: len(_BASE)]):
        return True  # the first one of all, or something else altogether
    for start in range(end + 1, len(data) - _HEADER.size):
        length, checksum = _HEADER.unpack_from(data, start)
        body = start + _HEADER.size
        if (
            0 < length <= len(data) - body
            and data[body] & _ARRAY_MASK == _ARRAY
            and zlib.crc32(memoryview(data)[body : body + length]) == checksum
        ):
            return True
    return False


def detail_of(kind: Kind, values: Iterable[Any]) -> MakeDetail | SetDetail | OtherDetail:
    """The detail of a change of *kind*, made of its recorded *values*. Raises TypeError."""
    detail: MakeDetail | SetDetail | OtherDetail = _DETAILS.get(kind, OtherDetail)(*values)
    return detail
