"""Does below a directory what it is told, a line of JSON each, and answers each with a line.

Run as a script: actor.py ROOT [UID]. An answer is {"ok": value} or {"errno": number}. What it
holds open it knows by the number that it was told.
"""

import contextlib
import errno
import json
import os
import sys
from typing import Any

_held: dict[int, int] = {}


def _path(root: str, path: str) -> str:
    return os.path.join(root, path)


def _write_all(fd: int, data: bytes, offset: int | None = None) -> None:
    while data:
        done = os.write(fd, data) if offset is None else os.pwrite(fd, data, offset)
        data = data[done:]
        offset = None if offset is None else offset + done


def _content(move: dict[str, Any]) -> bytes:
    token: bytes = move["token"].encode()
    return (token * (move["size"] // len(token) + 1))[: move["size"]]


def _with(path: str, flags: int, what: Any) -> None:
    fd = os.open(path, flags, 0o644)
    try:
        what(fd)
    finally:
        os.close(fd)


def _fsync(path: str) -> None:
    _with(path, os.O_RDONLY, os.fsync)


def do(root: str, move: dict[str, Any]) -> Any:
    """One move; most are one system call, and the open and close around it."""
    path = _path(root, move.get("path", ""))
    match move["do"]:
        case "write":
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
            _with(path, flags, lambda fd: _write_all(fd, _content(move)))
        case "append":
            flags = os.O_WRONLY | os.O_APPEND
            _with(path, flags, lambda fd: _write_all(fd, _content(move)))
        case "patch":
            _with(path, os.O_WRONLY, lambda fd: _write_all(fd, _content(move), move["offset"]))
        case "truncate":
            os.truncate(path, move["size"])
        case "mkdir":
            os.mkdir(path, move["mode"])
        case "rmdir":
            os.rmdir(path)
        case "unlink":
            os.unlink(path)
        case "rename":
            os.rename(path, _path(root, move["to"]))
        case "link":
            os.link(path, _path(root, move["to"]), follow_symlinks=False)
        case "symlink":
            os.symlink(move["target"], path)
        case "chmod":
            os.chmod(path, move["mode"])
        case "utime":
            os.utime(path, (move["at_s"], move["at_s"]))
        case "fsync":
            _fsync(path)
        case "list":
            return sorted(os.listdir(path))
        case "read":
            with open(path, "rb") as file:
                return len(file.read())
        case "hold":
            _held[move["number"]] = os.open(path, os.O_RDWR)
        case "put":  # into what is held
            _write_all(_held[move["number"]], _content(move), move["offset"])
        case "sync":  # what is held
            os.fsync(_held[move["number"]])
        case "drop":
            os.close(_held.pop(move["number"]))
        case "drop all":
            for fd in _held.values():
                with contextlib.suppress(OSError):
                    os.close(fd)
            _held.clear()
        case "fill":  # all but so much of the file system
            _fill(path, move["spare"])
        case "free":
            if os.path.exists(path):
                os.unlink(path)
        case other:
            raise AssertionError(other)
    return None


def _fill(path: str, spare: int) -> None:
    disk = os.statvfs(os.path.dirname(path))
    size = disk.f_bavail * disk.f_frsize - spare
    if size > 0:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
        try:
            os.posix_fallocate(fd, 0, size)
        finally:
            os.close(fd)


def main() -> None:
    root = sys.argv[1]
    os.umask(0o022)
    if len(sys.argv) > 2:
        os.setgroups([])
        os.setgid(int(sys.argv[2]))
        os.setuid(int(sys.argv[2]))
    for line in sys.stdin:
        try:
            answer = {"ok": do(root, json.loads(line))}
        except OSError as error:
            answer = {"errno": error.errno or errno.EIO}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
