"""Does below a directory what it is told, a line of JSON each, and answers each with a line.

Run as a script: actor.py ROOT [UID]. An answer is {"ok": value} or {"errno": number}. What it
holds open it knows by the number that it was told.
"""

import contextlib
import ctypes
import errno
import json
import mmap
import os
import shutil
import sys
import zlib
from typing import Any

_EXCHANGE = 2
_AT_FDCWD = -100
ATTRIBUTE = "user.adversary"
_libc = ctypes.CDLL(None, use_errno=True)

_held: dict[str, int] = {}


def _path(root: str, path: str) -> str:
    return os.path.join(root, path)


def _write_all(fd: int, data: bytes, offset: int | None = None) -> None:
    while data:
        done = os.write(fd, data) if offset is None else os.pwrite(fd, data, offset)
        data = data[done:]
        offset = None if offset is None else offset + done


def _write_mapped(fd: int, data: bytes, offset: int) -> None:
    """Through a shared mapping, which makes the file as long as it must be.

    In a process of its own: where somebody cuts the file meanwhile, or its disk is full, SIGBUS
    ends it.
    """
    pid = os.fork()
    if not pid:
        code = errno.EFAULT
        try:
            if os.fstat(fd).st_size < offset + len(data):
                os.truncate(fd, offset + len(data))
            with mmap.mmap(fd, offset + len(data)) as memory:
                memory[offset:] = data
                memory.flush()
            code = 0
        except OSError as error:
            code = error.errno or errno.EIO
        finally:
            os._exit(code)
    _, status = os.waitpid(pid, 0)
    code = errno.EFAULT if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
    if code:
        raise OSError(code, os.strerror(code))


def _summary(fd: int) -> list[object]:
    content, offset = b"", 0
    while data := os.pread(fd, 1 << 20, offset):
        content += data
        offset += len(data)
    text = content[:16].decode("latin-1"), content[-16:].decode("latin-1")
    return [len(content), *text, zlib.crc32(content)]


def _exchange(path: str, to: str) -> None:
    names = os.fsencode(path), os.fsencode(to)
    if _libc.renameat2(_AT_FDCWD, names[0], _AT_FDCWD, names[1], _EXCHANGE):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), path)


def _turn(path: str, into: str) -> None:
    """Whatever is at *path* becomes something else."""
    if os.path.isdir(path) and not os.path.islink(path):
        shutil.rmtree(path, ignore_errors=True)
    elif os.path.lexists(path):
        os.unlink(path)
    if into == "directory":
        os.mkdir(path)
    elif into == "symlink":
        os.symlink("nowhere/turned", path)
    else:
        _with(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, lambda fd: os.write(fd, b"turned"))


def _replace(path: str, move: dict[str, Any]) -> None:
    """As an editor saves."""
    beside = f"{path}.new"
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC
    try:
        _with(beside, flags, lambda fd: _write_all(fd, _content(move)))
        os.rename(beside, path)
    except OSError:
        with contextlib.suppress(OSError):
            os.unlink(beside)
        raise


def _content(move: dict[str, Any]) -> bytes:
    token: bytes = move["token"].encode()
    return (token * (move["size"] // len(token) + 1))[: move["size"]]


def _with(path: str, flags: int, what: Any) -> None:
    fd = os.open(path, flags | os.O_NONBLOCK, 0o644)  # or a pipe would wait for its other end
    try:
        what(fd)
    finally:
        os.close(fd)


def _fsync(path: str) -> None:
    _with(path, os.O_RDONLY, os.fsync)


def do(root: str, move: dict[str, Any]) -> Any:
    """One move; most are one system call, and the open and close around it."""
    path = _path(root, move.get("path", ""))
    synced = os.O_SYNC if move.get("synced") else 0
    match move["do"]:
        case "write":
            flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | synced
            _with(path, flags, lambda fd: _write_all(fd, _content(move)))
        case "append":
            flags = os.O_WRONLY | os.O_APPEND | synced
            _with(path, flags, lambda fd: _write_all(fd, _content(move)))
        case "patch":
            _with(path, os.O_WRONLY, lambda fd: _write_all(fd, _content(move), move["offset"]))
        case "map":
            content, offset = _content(move), move["offset"]
            _with(path, os.O_RDWR, lambda fd: _write_mapped(fd, content, offset))
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
        case "exchange":
            _exchange(path, _path(root, move["to"]))
        case "turn":
            _turn(path, move["into"])
        case "replace":
            _replace(path, move)
        case "pipe":
            os.mkfifo(path)
        case "attribute":
            os.setxattr(path, ATTRIBUTE, move["token"].encode())
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
            fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK)
            try:
                return _summary(fd)
            finally:
                os.close(fd)
        case "hold":
            flags = os.O_RDWR | (os.O_APPEND if move["appends"] else 0)
            _held[move["number"]] = os.open(path, flags | os.O_NONBLOCK)
        case "put":  # into what is held
            _write_all(_held[move["number"]], _content(move), move["offset"])
        case "cut":
            os.truncate(_held[move["number"]], move["size"])
        case "look":
            return _summary(_held[move["number"]])
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
