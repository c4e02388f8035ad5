"""What is seen of a tree, on the host or in the guest."""

import errno
import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path as FilePath

from adversary.actor import ATTRIBUTE
from adversary.expected import Path, Seen


def tree(top: FilePath) -> tuple[dict[Path, Seen], dict[Path, int]]:
    """What is seen by path, and inode numbers. What cannot be read has no content."""
    found: dict[Path, Seen] = {}
    inodes: dict[Path, int] = {}
    for path, status in _walk(str(top), ()):
        try:
            found[path] = _seen(os.path.join(top, *path), status)
        except FileNotFoundError:
            continue
        inodes[path] = status.st_ino
    return found, inodes


def differences(
    host: dict[Path, Seen], guest: dict[Path, Seen], fold: Callable[[str], str] = str
) -> list[Path]:
    """Where two sides differ, as far as both can be looked into.

    Of several names of the host's that *fold* makes one the guest has any.
    """
    host, guest = _without_collisions(host, fold), _without_collisions(guest, fold)
    one_of_many = [path for path, seen in host.items() if seen is _SEVERAL]
    closed = [path for path, seen in guest.items() if not seen.is_readable]
    found = []
    for path in sorted({*host, *guest}):
        here, there = host.get(path), guest.get(path)
        if any(each == path[: len(each)] for each in one_of_many):
            continue
        if any(each == path[: len(each)] for each in closed):
            differs = bool(here and there and (here.kind, here.mode) != (there.kind, there.mode))
        else:
            differs = here != there
        if differs:
            found.append(path)
    return found


_SEVERAL = Seen("several")


def _without_collisions(side: dict[Path, Seen], fold: Callable[[str], str]) -> dict[Path, Seen]:
    found: dict[Path, Seen] = {}
    for path, seen in side.items():
        folded = tuple(map(fold, path))
        found[folded] = _SEVERAL if folded in found else seen
    return found


def _seen(where: str, status: os.stat_result) -> Seen:
    mode, mtime_s = stat.S_IMODE(status.st_mode), int(status.st_mtime)
    if stat.S_ISLNK(status.st_mode):
        return Seen("symlink", os.readlink(os.fsencode(where)), 0, mtime_s, status.st_nlink)
    kind = {stat.S_IFDIR: "directory", stat.S_IFREG: "file"}.get(stat.S_IFMT(status.st_mode))
    if kind is None:
        return Seen("other", mode=mode, links=status.st_nlink)
    try:
        content = b""
        if kind == "directory":
            os.listdir(where)
        if kind == "file":
            with open(where, "rb") as file:
                content = file.read()
                # As what is read: it may have been written to since it was listed.
                mtime_s = int(os.fstat(file.fileno()).st_mtime)
        return Seen(kind, content, mode, mtime_s, _links(kind, status), _attribute(where))
    except PermissionError:
        return Seen(kind, b"", mode, mtime_s, _links(kind, status), is_readable=False)


def _links(kind: str, status: os.stat_result) -> int:
    return 1 if kind == "directory" else status.st_nlink  # of these, file systems disagree


def _attribute(where: str) -> bytes:
    try:
        return os.getxattr(where, ATTRIBUTE, follow_symlinks=False)
    except OSError as error:
        if error.errno in (errno.ENODATA, errno.EOPNOTSUPP):
            return b""
        raise


def _walk(top: str, path: Path) -> Iterator[tuple[Path, os.stat_result]]:
    try:
        with os.scandir(os.path.join(top, *path)) as listed:
            entries = sorted(listed, key=lambda each: each.name)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return
    for entry in entries:
        try:
            status = entry.stat(follow_symlinks=False)
        except FileNotFoundError:
            continue
        yield (*path, entry.name), status
        if stat.S_ISDIR(status.st_mode):
            yield from _walk(top, (*path, entry.name))
