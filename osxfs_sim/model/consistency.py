"""The modes of the consistency contract, and which of them holds where exports overlap.

docker/docs, osxfs-caching.md: each mount is delegated, cached, consistent or
default, and where mounts overlap, the overlapping part obeys the stronger mode
(DEL-5, CAC-4); `default` is consistent, and strengthens no other (DEF-1).

Of an overlap only the mode is taken over. How long something may be cached the contract leaves
open (CAC-5): cache timeouts stay those of the export that a request comes by, because they fit its
host events, which need not be the other's.
"""

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath


class Mode(enum.IntEnum):
    """How far a mount may deviate from what the host has; the greater the stronger."""

    DELEGATED = 0
    """What the guest changes may stay in the guest for a while."""
    CACHED = 1
    """What the host changes may be seen later; what the guest changes is on the host at once."""
    CONSISTENT = 2
    """What either side changes, the other sees at once."""

    @property
    def label(self) -> str:
        """The mode's name as options and documents have it, in lower case, such as ``cached``."""
        return self.name.lower()


@dataclass(frozen=True, slots=True)
class Promise:
    """What an export promises of its tree, and whether those that overlap it keep it too."""

    mode: Mode
    """The mode of the contract."""
    strengthens: bool = True
    """Whether exports that overlap keep it too."""


def promised(policy: str, *, writes_back: bool = False) -> Promise:
    """What a profile promises by its cache *policy*'s name; DELEGATED if it writes back.

    Any policy that caches is ``cached``, one of the user's own included: what it does not cache
    today it may tomorrow.
    """
    if writes_back:
        return Promise(Mode.DELEGATED)
    match policy:
        case "consistent" | "direct":
            return Promise(Mode.CONSISTENT)
        case "default":
            return Promise(Mode.CONSISTENT, strengthens=False)
    return Promise(Mode.CACHED)


@dataclass(frozen=True, slots=True)
class Tree:
    """An exported tree and its promise."""

    source: PurePosixPath
    """Its directory on the host as a real path: absolute, without links."""
    promise: Promise
    """What is promised of it."""


def stronger_parts(export: Tree, others: Sequence[Tree]) -> tuple[tuple[str, Mode], ...]:
    """The (path, mode) where *export* must obey a stronger mode because *others* overlap it; or ().

    Paths are relative to its source, "." being all of it; a part counts from its
    path down, and lies in the one before it only if its mode is stronger still. At
    each place the strongest holds of all the exports that have it.
    """
    inside = {other.source for other in others if other.source.is_relative_to(export.source)}
    stronger: dict[PurePosixPath, Mode] = {}
    for place in sorted({export.source, *inside}):  # what is above comes before
        above = [mode for part, mode in stronger.items() if place.is_relative_to(part)]
        strongest = max(
            other.promise.mode
            for other in (*others, export)
            if place.is_relative_to(other.source) and (other.promise.strengthens or other is export)
        )
        if strongest > max(above, default=export.promise.mode):
            stronger[place] = strongest
    return tuple((str(place.relative_to(export.source)), mode) for place, mode in stronger.items())
