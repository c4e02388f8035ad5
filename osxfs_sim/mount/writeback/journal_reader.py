"""What a server has left behind in its journal, read after a crash: nothing here writes."""

import contextlib
import os
from dataclasses import dataclass, field
from pathlib import Path

from osxfs_sim.model.write_back import Kind
from osxfs_sim.mount.tree.inodes import ROOT_NUMBER, Shown
from osxfs_sim.mount.writeback.journal_directory import (
    aside_of,
    has_changes,
    is_aside,
    journals_of,
    locked,
    read_file,
    take_away,
)
from osxfs_sim.mount.writeback.journal_format import (
    READABLE,
    VERSION,
    KnownObject,
    OtherDetail,
    RecordedChange,
    Refusal,
    detail_of,
    intact_records,
    is_damaged,
    progress_numbers,
)


@dataclass(slots=True)
class UnfinishedJournal:
    """The content of a journal whose server has ended; objects by the records' numbers."""

    directory: Path
    """Where it lies."""
    source: str = ""
    """The directory that was shared; empty where its server had just begun."""
    root_device: int = 0
    """The device number that the source's root had."""
    started: int = 0
    """The change that was being applied: it may be half done."""
    done: int = 0
    """The last change that the host has, and all before it, but for those that were set aside."""
    records: list[KnownObject | RecordedChange] = field(default_factory=list)
    """What is to be known and done, in the guest's order, the changes that the host has already
    included: they tell where things are."""
    numbers: list[int] = field(default_factory=list)
    """For each of the records the number of the object that is known by it; 0 for a change."""
    created: dict[int, tuple[int, int, bytes | None]] = field(default_factory=dict)
    """Objects that the host has got: device, inode number and generation there."""
    end: int = 0
    """Where its records end, in bytes."""
    torn: bool = False
    """Whether another was cut off there: nobody was answered that it was there."""
    damaged: bool = False
    """Whether it is more than that which cannot be read."""
    refused: dict[int, Refusal] = field(default_factory=dict)
    """Changes that were set aside, by their numbers, and why."""
    applied_since: set[int] = field(default_factory=set)
    """Those of them that the host has taken after all."""
    seen: dict[int, tuple[int, int, int]] = field(default_factory=dict)
    """What files were like on the host when a change of theirs was set aside."""

    def has(self, sequence: int) -> bool:
        """Whether the host has the change numbered *sequence*."""
        return sequence in self.applied_since or (
            sequence <= self.done and sequence not in self.refused
        )

    def is_set_aside(self, sequence: int) -> bool:
        """Whether the host refused the change *sequence*, and has not taken it since."""
        return sequence in self.refused and sequence not in self.applied_since

    @property
    def changes(self) -> list[RecordedChange]:
        """The changes that the host does not have, oldest first."""
        return [
            each
            for each in self.records
            if isinstance(each, RecordedChange) and not self.has(each.sequence)
        ]

    @property
    def pending(self) -> list[RecordedChange]:
        """The changes that the host neither has nor has refused, oldest first."""
        return [each for each in self.changes if not self.is_set_aside(each.sequence)]

    @property
    def aside(self) -> list[RecordedChange]:
        """The changes that were set aside (refused, or needing such), oldest first."""
        return [each for each in self.changes if self.is_set_aside(each.sequence)]

    @property
    def pending_bytes(self) -> int:
        """How many bytes the pending writes have in all."""
        return sum(change.length for change in self.pending)

    def paths(self) -> list[tuple[RecordedChange, str]]:
        """Each change that the host lacks, with its path below the source as text."""
        places: dict[int, tuple[int, bytes]] = {}
        lines: list[tuple[RecordedChange, str]] = []
        for number, each in zip(self.numbers, self.records, strict=True):
            if isinstance(each, KnownObject):
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


def read_journal(directory: Path) -> UnfinishedJournal:
    """Read the journal in *directory*, changing nothing. Raises OSError, ValueError.

    ValueError for another version, or what makes no sense.
    """
    left = UnfinishedJournal(directory)
    with contextlib.suppress(FileNotFoundError):  # its server had just begun
        left.started, left.done = progress_numbers(read_file(directory, "progress"))
    changes: dict[int, RecordedChange] = {}
    order: list[tuple[int, KnownObject | int]] = []
    data = read_file(directory, "changes")
    for entry, left.end in intact_records(data):
        match entry:
            case ["base", version, source, device]:
                if version not in READABLE:
                    raise ValueError(f"a journal of version {version}; this is {VERSION}")
                left.source, left.root_device = os.fsdecode(source), device
            case ["known", number, parent, name, device, host_number, kind]:
                order.append((number, KnownObject(parent, name, device, host_number, kind)))
            case ["known", number, parent, name, device, host_number, kind, generation, shown]:
                shown = Shown(*shown) if shown is not None else None
                known = KnownObject(parent, name, device, host_number, kind, generation, shown)
                order.append((number, known))
            case ["arrived", number, device, host_number, *generation]:
                left.created[number] = device, host_number, generation[0] if generation else None
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
                left.applied_since.add(sequence)
            case ["change", sequence, kind, *rest]:
                kind = Kind(kind)
                if sequence not in changes:
                    order.append((0, sequence))
                values = (sequence, kind, *rest[:-1], detail_of(kind, rest[-1]))
                changes[sequence] = RecordedChange(*values)
    left.torn = left.end < len(data)
    left.damaged = left.torn and is_damaged(data, left.end)
    if is_aside(directory):
        # What is not said to be refused was cut off: it is with the others still. Each set of
        # changes came when it was refused; they are listed in the guest's order.
        changes = {number: each for number, each in changes.items() if number in left.refused}
        order.sort(key=lambda each: 0 if isinstance(each[1], KnownObject) else each[1])
    for number, each in order:
        if isinstance(each, KnownObject):
            left.records.append(each)
            left.numbers.append(number)
        elif each in changes:
            left.records.append(changes[each])
            left.numbers.append(0)
    return left


def unfinished_journals(state: Path, source: str) -> list[UnfinishedJournal]:
    """Journals with changes that ended servers of *source* left. Raises OSError, ValueError.

    Those in use are passed over, empty ones removed.
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
                if left.damaged:
                    raise ValueError(
                        f"{directory} is damaged; what it held is not on the host: move it away "
                        "to go on without"
                    )
            with contextlib.suppress(OSError):
                take_away(directory)
    return found


def _leave_to_aside(left: UnfinishedJournal) -> None:
    """What was set aside is kept there. Who was killed then may not have noted that here."""
    aside = aside_of(left.directory)
    if is_aside(left.directory) or not has_changes(aside):
        return
    kept = read_journal(aside)
    left.applied_since |= kept.refused.keys()


def discard(left: UnfinishedJournal) -> None:
    """Remove the journal *left*, with all that it holds. Raises OSError."""
    take_away(left.directory)
