"""Which bytes of a file are dirty in the guest, and where they are.

A file with dirty data is made of extents: what the guest has written, zeros where it has truncated
and grown the file again, and the host's own bytes for the rest. Knows no file and no descriptor: a
*position* is a place in whatever stores the guest's bytes.
"""

import bisect
from collections.abc import Iterator
from typing import NamedTuple

ZEROS = -1
"""The position of bytes that are zero because nothing was ever written there."""
ON_HOST = -2
"""The position of bytes that are the host's."""


class Piece(NamedTuple):
    """One extent: consecutive bytes of a file, and the consecutive bytes where they are stored."""

    offset: int
    """Its first byte in the file."""
    length: int
    """How many bytes."""
    position: int
    """Where they are: a place in the guest's store, ZEROS or ON_HOST."""


class Extents:
    """The dirty bytes of one file, as sorted pieces that neither overlap nor touch needlessly.

    *cuts* are the sizes of truncations that the host has not seen, in their order: its bytes
    beyond the smallest do not show. *bytes* is how many are dirty.
    """

    __slots__ = ("_pieces", "bytes", "cuts")

    def __init__(self) -> None:
        self._pieces: list[Piece] = []
        self.cuts: list[int] = []
        self.bytes = 0

    def __bool__(self) -> bool:
        """Whether a reader sees anything else than the host's file."""
        return bool(self._pieces or self.cuts)

    def __len__(self) -> int:
        return len(self._pieces)

    def pieces(self) -> list[Piece]:
        """All dirty pieces of the file, as a new list, in the order of their offsets."""
        return list(self._pieces)

    def write(self, offset: int, length: int, position: int) -> list[Piece]:
        """Note *length* dirty bytes, stored at *position*; returns the pieces that it replaces."""
        if length <= 0:
            return []
        replaced = self._cut_out(offset, offset + length)
        self.bytes += length
        at = bisect.bisect_left(self._pieces, offset, key=_offset)
        new = Piece(offset, length, position)
        if at:
            before = self._pieces[at - 1]
            if before.offset + before.length == offset and _continues(before, position):
                at -= 1
                new = Piece(before.offset, before.length + length, before.position)
                del self._pieces[at]
        self._pieces.insert(at, new)
        return replaced

    def truncate(self, size: int) -> list[Piece]:
        """Note a truncation of the file to *size* bytes; returns the dirty pieces it drops."""
        self.cuts.append(size)
        if not self._pieces:
            return []
        last = self._pieces[-1]
        return self._cut_out(size, last.offset + last.length)

    def mark_cut_clean(self) -> None:
        """Forget the earliest truncation, now on the host. Raises IndexError if there is none."""
        del self.cuts[0]

    def mark_clean(self, offset: int, length: int, position: int) -> None:
        """Mark bytes stored at *position* as on the host; what was overwritten since stays dirty.

        What has been written over them since, and is stored elsewhere, stays dirty.
        """
        at = max(bisect.bisect_right(self._pieces, offset, key=_offset) - 1, 0)
        end = offset + length
        kept: list[Piece] = []
        first = at
        while at < len(self._pieces) and self._pieces[at].offset < end:
            left = _without(self._pieces[at], offset, end, position)
            self.bytes += sum(piece.length for piece in left) - self._pieces[at].length
            kept += left
            at += 1
        self._pieces[first:at] = kept

    def read(self, offset: int, length: int) -> Iterator[Piece]:
        """Yield pieces that cover these bytes in order; their position may be ZEROS or ON_HOST."""
        end = offset + length
        at = max(bisect.bisect_right(self._pieces, offset, key=_offset) - 1, 0)
        while offset < end:
            while at < len(self._pieces) and _end(self._pieces[at]) <= offset:
                at += 1
            piece = self._pieces[at] if at < len(self._pieces) else None
            if piece is not None and piece.offset <= offset:
                stop = min(_end(piece), end)
                yield Piece(offset, stop - offset, piece.position + offset - piece.offset)
            else:
                stop = end if piece is None else min(piece.offset, end)
                yield from self._unwritten(offset, stop)
            offset = stop

    def _unwritten(self, offset: int, end: int) -> Iterator[Piece]:
        limit = min(max(min(self.cuts), offset), end) if self.cuts else end
        if limit > offset:
            yield Piece(offset, limit - offset, ON_HOST)
        if end > limit:
            yield Piece(limit, end - limit, ZEROS)

    def _cut_out(self, start: int, end: int) -> list[Piece]:
        """Take away what lies from *start* to *end*, and return it."""
        first = bisect.bisect_right(self._pieces, start, key=_offset)
        if first and _end(self._pieces[first - 1]) > start:
            first -= 1
        at = first
        kept: list[Piece] = []
        cut: list[Piece] = []
        while at < len(self._pieces) and self._pieces[at].offset < end:
            piece = self._pieces[at]
            if piece.offset < start:
                kept.append(Piece(piece.offset, start - piece.offset, piece.position))
            from_, to = max(piece.offset, start), min(_end(piece), end)
            cut.append(Piece(from_, to - from_, piece.position + from_ - piece.offset))
            self.bytes -= to - from_
            if _end(piece) > end:
                kept.append(Piece(end, _end(piece) - end, piece.position + end - piece.offset))
            at += 1
        self._pieces[first:at] = kept
        return cut


def _offset(piece: Piece) -> int:
    return piece.offset


def _end(piece: Piece) -> int:
    return piece.offset + piece.length


def _continues(before: Piece, position: int) -> bool:
    return before.position + before.length == position


def _without(piece: Piece, start: int, end: int, position: int) -> list[Piece]:
    """*piece* less its bytes from *start* to *end*, as far as they are those of *position*."""
    # The same bytes lie at the same distance from the file's beginning in both.
    if piece.position - piece.offset != position - start:
        return [piece]
    kept = []
    if piece.offset < start:
        kept.append(Piece(piece.offset, start - piece.offset, piece.position))
    if _end(piece) > end:
        kept.append(Piece(end, _end(piece) - end, piece.position + end - piece.offset))
    return kept
