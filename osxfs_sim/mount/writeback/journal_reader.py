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
    Known,
    LeftChange,
    OtherDetail,
    Refusal,
    detail_of,
    intact_records,
    progress_numbers,
)


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
    with contextlib.suppress(FileNotFoundError):  # its server had just begun
        left.started, left.done = progress_numbers(read_file(directory, "progress"))
    changes: dict[int, LeftChange] = {}
    order: list[tuple[int, Known | int]] = []
    data = read_file(directory, "changes")
    for frame, left.end in intact_records(data):
        match frame:
            case ["base", version, source, device]:
                if version not in READABLE:
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
                if sequence not in changes:
                    order.append((0, sequence))
                values = (sequence, kind, *rest[:-1], detail_of(kind, rest[-1]))
                changes[sequence] = LeftChange(*values)
    left.torn = left.end < len(data)
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


def discard(left: Leftover) -> None:
    """Give up what *left* holds, for good."""
    take_away(left.directory)
