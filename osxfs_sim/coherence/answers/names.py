"""The names whose answers are recorded, as a table that a C program can search.

It is a hash table with open addressing, mapped by every process of a workload as it is, so
that neither starting a process nor a call about some other name costs more than a probe.
Names are relative to the root, ``a/b``; the root itself is the empty name.
"""

import os
import struct
from collections.abc import Iterable, Sequence

MAGIC = b"OSXNAMES"
_HEADER = struct.Struct("<8sQQQ")
_SLOT = struct.Struct("<QIIII")
_OFFSET_BASIS, _PRIME, _MASK = 0xCBF29CE484222325, 0x100000001B3, (1 << 64) - 1


def fnv_1a(name: bytes) -> int:
    """The 64-bit FNV-1a hash of *name*, the same as record.c computes, as an int."""
    value = _OFFSET_BASIS
    for byte in name:
        value = (value ^ byte) * _PRIME & _MASK
    return value


def table_of(files: Sequence[str], directories: Sequence[str] = ()) -> bytes:
    """The bytes of the hash table of *files* and *directories* that record.c maps and searches."""
    names = [*files, *directories]
    slots_count = 16
    while slots_count < 2 * len(names):  # half of it stays empty, so that a search ends soon
        slots_count *= 2
    slots: list[bytes | None] = [None] * slots_count
    blob = bytearray()
    for index, name in enumerate(names):
        encoded = os.fsencode(name)
        value = fnv_1a(encoded)
        at = value & (slots_count - 1)
        while slots[at] is not None:
            at = (at + 1) & (slots_count - 1)
        slots[at] = _SLOT.pack(value, index + 1, len(blob), len(encoded), 0)
        blob += encoded
    empty = bytes(_SLOT.size)
    blob_at = _HEADER.size + slots_count * _SLOT.size
    header = _HEADER.pack(MAGIC, slots_count, blob_at, len(files))
    return b"".join((header, *(slot or empty for slot in slots), bytes(blob)))


def directories_of(names: Iterable[str]) -> list[str]:
    """All directories above the paths *names*, without duplicates, sorted; "" is the root."""
    found = set()
    for name in names:
        while name:
            name = name.rpartition("/")[0]
            if name in found:
                break
            found.add(name)
    return sorted(found)
