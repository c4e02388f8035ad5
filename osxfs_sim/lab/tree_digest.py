"""What a tree holds, line by line, to be compared with another's.

A manifest has a line per file, directory and link: its path, kind, mode, size
and content's hash (a link's target). Times, owners and link counts are not in
it: they differ between two runs of the same work. Lines are sorted by path,
component by component, so that two manifests of any length are compared side by
side, and neither taking nor comparing them needs more memory than the largest
directory's names.
"""

import fnmatch
import hashlib
import json
import os
import stat
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from osxfs_sim.fs.output import output

_BLOCK_BYTES = 1 << 20
_KINDS = {
    stat.S_IFREG: "file",
    stat.S_IFDIR: "directory",
    stat.S_IFLNK: "link",
    stat.S_IFIFO: "pipe",
    stat.S_IFSOCK: "socket",
    stat.S_IFCHR: "character device",
    stat.S_IFBLK: "block device",
}


class TreeEntry(NamedTuple):
    """One object of a tree, as far as every run must leave it alike."""

    path: str
    """Relative to the tree, undecodable bytes as surrogate escapes."""
    kind: str
    """What it is: file, directory, link, pipe, socket or a device."""
    mode: int
    """The permission bits; 0 of links, whose own have no meaning."""
    size: int
    """Of files, in bytes; 0 of others."""
    content: str
    """Digest of a file's content, a link's target; empty of others."""


# Taking one


def entries_of(
    tree: Path,
    parts: Iterable[PurePosixPath],
    ignored: Sequence[str] = (),
    elsewhere: Mapping[PurePosixPath, Path] | None = None,
) -> Iterator[TreeEntry]:
    """Yield a TreeEntry for all that is there in *parts* of *tree*, sorted. Raises OSError.

    What a pattern of *ignored* matches, by its path in the tree or by its name,
    is left out with all below it. *elsewhere* says where a directory of the tree
    really is, when something else is mounted there. What is not there has no entry.
    """
    moved = {str(path): place for path, place in (elsewhere or {}).items()}
    wanted = sorted({part.parts for part in parts})
    for number, part in enumerate(wanted):
        if any(part[: len(outer)] == outer for outer in wanted[:number]):
            continue  # inside another part, and listed with that
        place, inside = tree, ""
        for name in part:
            inside = f"{inside}/{name}" if inside else name
            place = moved.get(inside, place / name)
        yield from _walk(inside, place, ignored, moved)


def _walk(
    path: str, place: Path, ignored: Sequence[str], moved: Mapping[str, Path]
) -> Iterator[TreeEntry]:
    if path and _is_ignored(path, ignored):
        return
    try:
        status = os.lstat(place)
        yield _entry(path, place, status)
        names = os.listdir(place) if stat.S_ISDIR(status.st_mode) else []
    except FileNotFoundError:
        return  # gone meanwhile: then it is not there
    for name in sorted(names):
        inside = f"{path}/{name}" if path else name
        yield from _walk(inside, moved.get(inside, place / name), ignored, moved)


def _entry(path: str, place: Path, status: os.stat_result) -> TreeEntry:
    kind = _KINDS[stat.S_IFMT(status.st_mode)]
    mode = stat.S_IMODE(status.st_mode)
    if kind == "file":
        return TreeEntry(path, kind, mode, status.st_size, _hash_of(place))
    if kind == "link":
        return TreeEntry(path, kind, 0, 0, os.readlink(place))  # a link's own mode has no meaning
    return TreeEntry(path, kind, mode, 0, "")


def _hash_of(place: Path) -> str:
    digest = hashlib.sha256()
    try:
        with open(place, "rb") as file:
            while block := file.read(_BLOCK_BYTES):
                digest.update(block)
    except PermissionError:
        return "not readable"
    return digest.hexdigest()


def _is_ignored(path: str, patterns: Sequence[str]) -> bool:
    name = path.rpartition("/")[2]
    return any(
        fnmatch.fnmatchcase(path, pattern) or fnmatch.fnmatchcase(name, pattern)
        for pattern in patterns
    )


# Keeping one


def write_manifest(entries: Iterable[TreeEntry], file: Path) -> str:
    """Write *entries* into *file*, whole or not at all; their hex SHA-256. Raises OSError."""
    digest = hashlib.sha256()
    with output(file) as manifest:
        for entry in entries:
            line = json.dumps(entry).encode() + b"\n"  # in ASCII: also names that are no text
            digest.update(line)
            manifest.write(line)
    return digest.hexdigest()


def read_manifest(file: Path) -> Iterator[TreeEntry]:
    """Yield the entries that write_manifest() wrote into *file*, in order. Raises OSError."""
    with open(file, "rb") as manifest:
        for line in manifest:
            yield TreeEntry(*json.loads(line))


# Comparing two


def first_difference(expected: Iterable[TreeEntry], found: Iterable[TreeEntry]) -> str:
    """The first difference of two trees' entries in words, its path first; "" where all is equal.

    Both are sorted as *entries_of* sorts.
    """
    theirs, ours = iter(expected), iter(found)
    while True:
        wanted, present = next(theirs, None), next(ours, None)
        if wanted == present:
            if wanted is None:
                return ""
            continue
        if present is None or (wanted is not None and _key(wanted) < _key(present)):
            assert wanted is not None
            return f"{_shown(wanted)} is missing"
        if wanted is None or _key(present) < _key(wanted):
            return f"{_shown(present)} should not be there"
        return f"{_shown(present)} {_how(wanted, present)}"


def _key(entry: TreeEntry) -> list[str]:
    return entry.path.split("/") if entry.path else []


def _shown(entry: TreeEntry) -> str:
    return ascii(entry.path)[1:-1] if not entry.path.isprintable() else entry.path or "the tree"


def _how(wanted: TreeEntry, present: TreeEntry) -> str:
    if present.kind != wanted.kind:
        return f"is a {present.kind}, not a {wanted.kind}"
    if present.mode != wanted.mode:
        return f"has mode {present.mode:o}, not {wanted.mode:o}"
    if present.size != wanted.size:
        return f"has {present.size} bytes, not {wanted.size}"
    if present.kind == "link":
        return f"leads to {present.content!a}, not to {wanted.content!a}"
    return "has another content"
