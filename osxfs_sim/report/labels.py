"""Where the labels of points go, so that none lies on another, nor on a point.

Pure: boxes in, boxes out, all in points of a page. Greedy: each label in turn gets the
nearest free place around its point. What is tried, and in which order, is fixed, so that
the same points always give the same picture.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

_DISTANCES = (5.0, 12.0, 20.0, 30.0, 42.0, 56.0, 72.0, 90.0)
# To the right first, where text is read from; then left, and the corners.
_DIRECTIONS = (
    *((1.0, 0.0), (-1.0, 0.0), (0.7, 0.7), (0.7, -0.7)),
    *((-0.7, 0.7), (-0.7, -0.7), (0.0, 1.0), (0.0, -1.0)),
)


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle, from its lower left to its upper right corner."""

    left: float
    """The left edge, in the unit of the picture like all of them."""
    bottom: float
    """The lower edge, not above *top*."""
    right: float
    """The right edge, not left of *left*."""
    top: float
    """The upper edge: upwards is more."""

    def overlap(self, other: "Box") -> float:
        """The area that this rectangle and *other* both cover; 0 where they are apart."""
        width = min(self.right, other.right) - max(self.left, other.left)
        height = min(self.top, other.top) - max(self.bottom, other.bottom)
        return max(0.0, width) * max(0.0, height)

    def is_within(self, other: "Box") -> bool:
        """Whether no part of this rectangle is outside *other*; edges may touch."""
        return (
            self.left >= other.left
            and self.right <= other.right
            and self.bottom >= other.bottom
            and self.top <= other.top
        )


def place_labels(
    anchors: Sequence[tuple[float, float]],
    sizes: Sequence[tuple[float, float]],
    frame: Box,
    obstacles: Sequence[Box] = (),
) -> list[Box]:
    """A box near each of *anchors* for its label, inside *frame*, covering as little as can be.

    Where there is no free place the one that covers least is taken.
    """
    taken = list(obstacles)
    placed = []
    for anchor, size in zip(anchors, sizes, strict=True):
        candidates = [box for box in _around(anchor, size) if box.is_within(frame)]
        if not candidates:
            candidates = list(_around(anchor, size))
        costs = [sum(box.overlap(other) for other in taken) for box in candidates]
        chosen = candidates[costs.index(min(costs))]
        placed.append(chosen)
        taken.append(chosen)
    return placed


def _around(anchor: tuple[float, float], size: tuple[float, float]) -> Iterator[Box]:
    """The places that are tried, the nearest first."""
    (x, y), (width, height) = anchor, size
    for distance in _DISTANCES:
        for right, up in _DIRECTIONS:
            # The side of the box that faces the anchor is *distance* away from it.
            left = x + right * distance - (width if right < 0 else width / 2 if not right else 0)
            bottom = y + up * distance - (height if up < 0 else height / 2 if not up else 0)
            yield Box(left, bottom, left + width, bottom + height)
