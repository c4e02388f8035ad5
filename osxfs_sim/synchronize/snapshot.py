"""What a side of the synchronization holds, as values: a tree of entries.

Two directories are equal where what takes part in them is: each carries a
fingerprint of it, so that whole trees are compared at once, and a cycle's work is
that of what has changed. Names are bytes: a file system has no others.
"""

import hashlib
import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import ClassVar, NamedTuple

_FINGERPRINT_BYTES = 16

Stamp = tuple[int, int, int, int, int, int, int, int]
"""Device, inode, size, modification and change time, mode, owner and group: who has these
has not changed."""

_IDENTITY_BYTES = 12
_NUMBERS = {count: struct.Struct(f"<Q{count - 1}q") for count in (1, 3, 4)}
"""An inode number, and sizes and times."""
USUAL_GRANTS = 0o055
"""What group and others may do with what is made where nothing speaks against it."""


class Known(NamedTuple):
    """A side's object at the moment when both sides agreed upon it.

    Equal content is not enough to tell that a side has done nothing since: it may have
    deleted the object and made it again.
    """

    identity: bytes
    """What the object is told from another by, that may have its name later."""
    grants: int
    """Its permission bits for group and others."""
    is_image: bool = False
    """Whether it was made after the other side's: then that one's permissions are its own."""
    change_ns: int = 0
    """Of a directory, its change time: what was moved away with it, and back, has its own."""


Knowns = tuple[Known | None, Known | None]
"""Of the host's and of the guest's object; None: in doubt."""
UNKNOWN: Knowns = (None, None)


@dataclass(frozen=True, slots=True)
class File:
    """A regular file; equal to one of the same content and executability for the owner."""

    digest: bytes
    """BLAKE2b digest of its content."""
    executable: bool = False
    """Whether its owner may execute it."""
    size: int = field(default=0, compare=False)
    """Of its content, in bytes."""
    stamp: Stamp | None = field(default=None, compare=False, repr=False)
    """What it had when it was read."""
    settled: bool = field(default=True, compare=False, repr=False)
    """Whether a later change is sure to show in the stamp."""
    birth: bytes = field(default=b"", compare=False, repr=False)
    """What no later object has, though it were given the same inode number."""
    grants: int = field(default=USUAL_GRANTS, compare=False, repr=False)
    """What its mode lets its group and others do."""
    known: Knowns = field(default=UNKNOWN, compare=False, repr=False)
    """Of one that was agreed upon."""

    @property
    def fingerprint(self) -> bytes:
        """Bytes that are equal for files of equal content and executability."""
        return (b"X" if self.executable else b"F") + self.digest


@dataclass(frozen=True, slots=True)
class Link:
    """A symlink that means the same on both sides."""

    target: bytes
    """As readlink(2) gives it."""
    stamp: Stamp | None = field(default=None, compare=False, repr=False)
    """What it had when it was read."""
    settled: bool = field(default=True, compare=False, repr=False)
    """Whether a later change is sure to show in the stamp."""
    birth: bytes = field(default=b"", compare=False, repr=False)
    """What no later object has, though it were given the same inode number."""
    known: Knowns = field(default=UNKNOWN, compare=False, repr=False)
    """Of one that was agreed upon."""

    grants: ClassVar[int] = 0
    """Nothing: a symlink's mode means nothing."""

    @property
    def fingerprint(self) -> bytes:
        """Bytes that are equal for symlinks of equal target."""
        return b"L" + self.target


@dataclass(frozen=True, slots=True)
class Blocked:
    """Something that cannot travel, and why: it stays as it is, and so does its counterpart."""

    reason: str
    """Why it cannot travel, in words."""
    passing: bool = False
    """Whether to scan it again soon: it was being changed."""


@dataclass(frozen=True, slots=True)
class Ignored:
    """Something that the user leaves out."""


IGNORED = Ignored()


def of_fingerprint(fingerprint: bytes) -> File | Link:
    """The file or symlink, as an entry, that *fingerprint* was made of; its size is 0."""
    kind, rest = fingerprint[:1], fingerprint[1:]
    return Link(rest) if kind == b"L" else File(rest, kind == b"X")


@dataclass(frozen=True, slots=True)
class Totals:
    """How much there is in a directory, at any depth."""

    files: int = 0
    """How many regular files."""
    directories: int = 0
    """How many directories, itself left out."""
    links: int = 0
    """How many symlinks."""
    size_bytes: int = 0
    """Of the files' content, in bytes."""
    ignored: int = 0
    """How many things the user leaves out."""
    blocked: int = 0
    """How many things cannot travel."""

    @property
    def entries(self) -> int:
        """How many files, directories and symlinks take part, at any depth."""
        return self.files + self.directories + self.links


@dataclass(frozen=True, slots=True, eq=False)
class Subtree:
    """A directory with all that it holds; equal to one that holds other ignored things."""

    children: Mapping[bytes, "Child"]
    """What it holds, by name (bytes)."""
    fingerprint: bytes
    """A digest of all that takes part in it, at any depth."""
    totals: Totals
    """How much it holds, at any depth."""
    inode: tuple[int, int] | None = field(default=None, repr=False)
    """Device and inode, by which the scan recognizes it."""
    birth: bytes = field(default=b"", repr=False)
    """What no later object has, though it were given the same inode number."""
    grants: int = field(default=USUAL_GRANTS, repr=False)
    """What its mode lets its group and others do."""
    owner: tuple[int, int] | None = field(default=None, repr=False)
    """User and group id; None where they are not known."""
    change_ns: int = field(default=0, repr=False)
    """Its time of change (ctime), since the epoch."""
    known: Knowns = field(default=UNKNOWN, repr=False)
    """Of one that was agreed upon."""
    compared_with: "tuple[Subtree, Subtree] | None" = field(default=None, repr=False)
    """Of one that was agreed upon: what both sides held when all that is known of it,
    and of what it holds, was last brought up to date."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Subtree) and self.fingerprint == other.fingerprint

    def __hash__(self) -> int:
        return hash(self.fingerprint)


Entry = File | Link | Subtree
"""What takes part."""
Child = Entry | Blocked | Ignored
"""What may lie in a directory."""
Path = tuple[bytes, ...]
"""Names from the root; the root's own is empty."""


def directory(
    children: Mapping[bytes, Child],
    inode: tuple[int, int] | None = None,
    *,
    birth: bytes = b"",
    grants: int = USUAL_GRANTS,
    owner: tuple[int, int] | None = None,
    change_ns: int = 0,
    known: Knowns = UNKNOWN,
) -> Subtree:
    """The Subtree that holds *children*, with its totals and fingerprint computed."""
    digest = hashlib.blake2b(b"D", digest_size=_FINGERPRINT_BYTES)
    files = directories = links = size_bytes = ignored = blocked = 0
    for name in sorted(children):
        match children[name]:
            case File(size=size) as child:
                files += 1
                size_bytes += size
            case Link() as child:
                links += 1
            case Subtree(totals=totals) as child:
                files += totals.files
                directories += 1 + totals.directories
                links += totals.links
                size_bytes += totals.size_bytes
                ignored += totals.ignored
                blocked += totals.blocked
            case Blocked():
                blocked += 1
                continue
            case Ignored():
                ignored += 1
                continue
        print_ = child.fingerprint
        # Lengths first, so that no two lists of children are written the same.
        digest.update(b"%d,%d,%s%s" % (len(name), len(print_), name, print_))
    return Subtree(
        children,
        b"D" + digest.digest(),
        Totals(files, directories, links, size_bytes, ignored, blocked),
        inode,
        birth,
        grants,
        owner,
        change_ns,
        known,
    )


EMPTY = directory({})


def identity_of(entry: Entry) -> bytes:
    """Bytes that tell *entry*'s object, unchanged, from any other; b"": read from no disk.

    Of a directory, whatever is done in it. Not the device: that may have another number
    after the machine has started anew. Empty for what was read from no disk.
    """
    if isinstance(entry, Subtree):
        return b"" if entry.inode is None else _identity(entry.birth, entry.inode[1:])
    return b"" if entry.stamp is None else _identity(entry.birth, entry.stamp[1:5])


def identity_apart_from_its_name(birth: bytes, stamp: Stamp) -> bytes:
    """As identity_of(), but of a file or symlink, and the same after a rename (without ctime)."""
    return _identity(birth, stamp[1:4])


def _identity(birth: bytes, numbers: tuple[int, ...]) -> bytes:
    text = birth + _NUMBERS[len(numbers)].pack(*numbers)
    return hashlib.blake2b(text, digest_size=_IDENTITY_BYTES).digest()


def known_of(entry: Entry, *, is_image: bool) -> Known:
    """The record of the object that *entry* was read from, kept when both sides agree on it."""
    change_ns = entry.change_ns if isinstance(entry, Subtree) else 0
    return Known(identity_of(entry), entry.grants, is_image, change_ns)


def agreed(entry: Entry, known: Knowns) -> Entry:
    """*entry* as the agreed state keeps it: with *known*, without what only a scan needs."""
    match entry:
        case File(digest=digest, executable=executable, size=size):
            return File(digest, executable, size, known=known)
        case Link(target=target):
            return Link(target, known=known)
        case Subtree():
            return replace(entry, known=known)


def owner_of(entry: Child | None) -> tuple[int, int] | None:
    """The entry's (user id, group id); None where there is nothing, or they are not known."""
    if isinstance(entry, Subtree):
        return entry.owner
    if isinstance(entry, (File, Link)) and entry.stamp is not None:
        return entry.stamp[6], entry.stamp[7]
    return None


def is_tracked(child: Child | None) -> bool:
    """Whether *child* takes part: it is neither ignored nor unable to travel."""
    return isinstance(child, (File, Link, Subtree))


def is_alike(one: Child | None, other: Child | None) -> bool:
    """Whether both entries are equal, directories whatever they hold."""
    if isinstance(one, Subtree):
        return isinstance(other, Subtree)
    return one == other


def kind_of(child: Child | None) -> str:
    """The kind of *child* in words ("file", "symlink"), for a table; "nothing" for None."""
    match child:
        case None:
            return "nothing"
        case File(executable=executable):
            return "executable file" if executable else "file"
        case Link():
            return "symlink"
        case Subtree():
            return "directory"
        case Ignored():
            return "ignored"
        case _:
            return "not synchronized"


def at(root: Child | None, path: Path) -> Child | None:
    """The child at *path* below *root*; None where there is nothing. Never fails."""
    found = root
    for name in path:
        if not isinstance(found, Subtree):
            return None
        found = found.children.get(name)
    return found


def blocked_in(root: Child | None, path: Path = ()) -> Iterator[tuple[Path, Blocked]]:
    """Yield the path and reason of each thing in *root* that cannot travel, sorted."""
    if isinstance(root, Blocked):
        yield path, root
    elif isinstance(root, Subtree) and root.totals.blocked:
        for name in sorted(root.children):
            yield from blocked_in(root.children[name], (*path, name))


def shallow(entry: Entry | None) -> Entry | None:
    """The entry without what it holds: a directory becomes EMPTY."""
    return EMPTY if isinstance(entry, Subtree) else entry


Put = tuple[Path, Entry | None]
"""What now lies at a path: a directory's children stay; None: nothing does."""
"""What now lies at a path: a directory's children stay; None: nothing does."""


@dataclass(slots=True)
class _Open:
    children: dict[bytes, "Child | _Open"]
    known: Knowns


def with_changes(root: Entry | None, puts: Iterable[Put]) -> Entry | None:
    """The tree *root* after *puts*, applied in order; None: nothing is left. Pure.

    A put below something that is no directory makes the directories it needs:
    a list of what has been agreed upon need not name those that were there before.
    """
    opened: Child | _Open | None = root
    for path, entry in puts:
        if not path:
            opened = _over(opened, entry)
            continue
        if entry is None and not isinstance(opened, (Subtree, _Open)):
            continue
        here = opened = _opened(opened)
        missing = False
        for name in path[:-1]:
            below = here.children.get(name)
            if entry is None and not isinstance(below, (Subtree, _Open)):
                missing = True  # nothing there to take away
                break
            below = here.children[name] = _opened(below)
            here = below
        if missing:
            continue
        over = _over(here.children.get(path[-1]), entry)
        if over is None:
            here.children.pop(path[-1], None)
        else:
            here.children[path[-1]] = over
    closed = _closed(opened)
    assert not isinstance(closed, (Blocked, Ignored))
    return closed


def _over(old: "Child | _Open | None", entry: Entry | None) -> "Child | _Open | None":
    if isinstance(entry, Subtree):
        if isinstance(old, Subtree):
            return replace(old, known=entry.known, compared_with=None)
        if isinstance(old, _Open):
            old.known = entry.known
            return old
    return entry


def _opened(entry: "Child | _Open | None") -> _Open:
    if isinstance(entry, _Open):
        return entry
    if isinstance(entry, Subtree):
        return _Open(dict(entry.children), entry.known)
    return _Open({}, UNKNOWN)


def _closed(entry: "Child | _Open | None") -> Child | None:
    if not isinstance(entry, _Open):
        return entry
    children: dict[bytes, Child] = {}
    for name, child in entry.children.items():
        closed = _closed(child)
        if closed is not None:
            children[name] = closed
    return directory(children, known=entry.known)
