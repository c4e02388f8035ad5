"""Checks that the five places where a pending change lives say the same. For tests.

The package's docstring states what must hold, in five bullets; here each is a function that says
in words where it does not hold. To be asked between two steps: while no request is in the middle
of being answered, and no change in the middle of being made on the host.
"""

import collections
import os
from collections.abc import Iterable, Iterator

from osxfs_sim.model.write_back import Change, Kind, concerned, name_effects
from osxfs_sim.mount.tree.inodes import Inode, InodeTable
from osxfs_sim.mount.tree.pending import Overlay
from osxfs_sim.mount.writeback.journal_data import SEGMENT_BYTES
from osxfs_sim.mount.writeback.journal_reader import read_journal
from osxfs_sim.mount.writeback.overlay import guest_path, link_effects
from osxfs_sim.mount.writeback.writeback import WriteBack

Range = tuple[int, int]
"""Where bytes begin, and where they end."""


def breaches(write_back: WriteBack, inodes: InodeTable) -> list[str]:
    """Where the invariants of pending changes are broken, in words; empty: nowhere. Raises OSError.

    Reads the journal's files, and changes nothing. Raises OSError where those cannot be read.
    """
    return [
        *list_and_journal(write_back),
        *list_and_overlay(write_back, inodes),
        *overlay_and_data(write_back, inodes),
        *pending_and_table(write_back, inodes),
        *overlay_and_descriptors(write_back, inodes),
    ]


def list_and_journal(write_back: WriteBack) -> Iterator[str]:
    """Yield where a crash now would not find the list's changes in order. Raises OSError."""
    changes = write_back.changes
    left = read_journal(write_back.journal.directory)
    wanted = [
        (change.sequence, change.kind, change.target.number, change.length, change.position)
        for change in changes.all()
    ]
    found = [
        (each.sequence, each.kind, each.target, each.length, each.position) for each in left.pending
    ]
    if found != wanted:
        yield f"the journal has {found}, the list {wanted}"
    if left.done != changes.done_sequence:
        yield f"the journal is done up to {left.done}, the list up to {changes.done_sequence}"
    numbers = [changes.done_sequence, *(change.sequence for change in changes.all())]
    if numbers != sorted(set(numbers)):
        yield f"the list is out of order: {numbers}"


def list_and_overlay(write_back: WriteBack, inodes: InodeTable) -> Iterator[str]:
    """Yield where an object is shown with other than what the list has; nothing: all well."""
    counts: collections.Counter[Inode] = collections.Counter()
    links: collections.Counter[Inode] = collections.Counter()
    names: dict[Inode, dict[bytes, tuple[int, Inode | None]]] = collections.defaultdict(dict)
    latest: dict[Inode, int] = {}
    made: set[Inode] = set()
    for change in write_back.changes.all():
        made |= {change.target} if change.kind is Kind.MAKE else set()
        for inode in _takes_part(change):
            counts[inode] += 1
            latest[inode] = change.sequence
        for inode, number in link_effects(change):
            links[inode] += number
        for directory, name, inode_or_none in name_effects(change):
            number = names[directory].get(name, (0, None))[0] + 1
            names[directory][name] = number, inode_or_none
    for inode, overlay in _overlays(inodes, counts):
        what = _called(inode)
        if overlay.changes != counts[inode]:
            yield f"{what} has {overlay.changes} changes, and {counts[inode]} in the list"
        if overlay.links != links[inode]:
            yield f"{what} has {overlay.links} links more, and {links[inode]} by the list"
        shown = {name: (each.changes, each.inode) for name, each in (overlay.names or {}).items()}
        if shown != names.get(inode, {}):
            yield f"{what} shows the names {shown}, and {names.get(inode, {})} by the list"
        if overlay.last_sequence < latest.get(inode, 0):
            yield f"{what} ends with {overlay.last_sequence}, and {latest[inode]} in the list"
        if overlay.local_only is not (inode in made) and not (
            overlay.local_only and overlay.orphan
        ):
            yield f"{what} is {'not ' * (not overlay.local_only)}to be made, unlike in the list"
        if not overlay.changes and not (overlay.local_only and overlay.orphan):
            yield f"{what} has an overlay of nothing"


def overlay_and_data(
    write_back: WriteBack, inodes: InodeTable, *, exactly: bool = True
) -> Iterator[str]:
    """Yield where the shown bytes are not kept, or others are; nothing: all well.

    Where not *exactly*, more may be kept: those of writes that are being answered.
    """
    written: dict[Inode, list[Range]] = collections.defaultdict(list)
    for change in write_back.changes.all():
        if change.kind is Kind.WRITE and change.length:
            written[change.target].append((change.position, change.position + change.length))
    kept = [each for ranges in written.values() for each in ranges]
    for inode, overlay in _overlays(inodes, ()):
        pieces = overlay.content.pieces() if overlay.content is not None else []
        shown = [(each.position, each.position + each.length) for each in pieces]
        if overlay.orphan:
            kept += shown
        elif _bytes(_union([*shown, *written[inode]])) != _bytes(_union(written[inode])):
            yield f"{_called(inode)} shows bytes at {shown}, written are {written[inode]}"
    wanted: collections.Counter[int] = collections.Counter()
    for begin, end in _union(kept):
        for segment in range(begin // SEGMENT_BYTES, -(-end // SEGMENT_BYTES)):
            first, behind = segment * SEGMENT_BYTES, (segment + 1) * SEGMENT_BYTES
            wanted[segment] += min(end, behind) - max(begin, first)
    kept_bytes = write_back.journal.data.live_bytes
    is_enough = all(kept_bytes.get(segment, 0) >= number for segment, number in wanted.items())
    if not is_enough or (exactly and kept_bytes != dict(wanted)):
        yield f"the journal keeps {kept_bytes} bytes, needed are {dict(wanted)}"


def pending_and_table(write_back: WriteBack, inodes: InodeTable) -> Iterator[str]:
    """Yield what is pending of objects not in the inode table; nothing: all well."""
    yield from inodes.check()
    for change in write_back.changes.all():
        for inode in _takes_part(change):
            if inode.overlay is None:
                yield f"{change.kind} {change.sequence} is of {_called(inode)}, without overlay"
            if not inodes.knows(inode):
                yield f"{change.kind} {change.sequence} is of {_called(inode)}, not in the table"


def overlay_and_descriptors(write_back: WriteBack, inodes: InodeTable) -> Iterator[str]:
    """Yield where a descriptor to write through is another object's; nothing: all well."""
    seen: dict[int, Inode] = {}
    for inode, overlay in _overlays(inodes, write_back.pending.descriptors.counted):
        if overlay.fd < 0:
            continue
        what = f"descriptor {overlay.fd} of {_called(inode)}"
        if overlay.fd in seen:
            yield f"{what} is that of {_called(seen[overlay.fd])}, too"
        seen[overlay.fd] = inode
        try:
            status = os.fstat(overlay.fd)
        except OSError:
            yield f"{what} is closed"
            continue
        if overlay.local_only:
            yield f"{what} is of nothing: the host has no such object"
        elif inode.device != -1 and not inode.is_same(status):
            yield f"{what} is of {status.st_dev}:{status.st_ino}"
    for inode in write_back.pending.descriptors.counted:
        if inode.overlay is None:
            yield f"a descriptor is counted of {_called(inode)}, of which nothing is pending"


def _takes_part(change: "Change[Inode]") -> set[Inode]:
    return {change.target} if change.kind is Kind.WRITE else concerned(change)


def _overlays(inodes: InodeTable, more: Iterable[Inode]) -> list[tuple[Inode, Overlay]]:
    """All overlays there are, and of which objects."""
    return [(inode, inode.overlay) for inode in {*inodes.all(), *more} if inode.overlay is not None]


def _union(ranges: list[Range]) -> list[Range]:
    """The same bytes, each once, in order."""
    found: list[Range] = []
    for begin, end in sorted(ranges):
        if found and begin <= found[-1][1]:
            found[-1] = found[-1][0], max(end, found[-1][1])
        else:
            found.append((begin, end))
    return found


def _bytes(ranges: list[Range]) -> int:
    return sum(end - begin for begin, end in ranges)


def _called(inode: Inode) -> str:
    return f"{inode.number} ({guest_path(inode)})"
