"""Watches directories in the guest and, as soon as an event of a name comes, reads its state.

A process of its own, started as a script with nothing but the standard library
and inotify-simple, so that what measures and what is measured share neither an
interpreter nor its lock. A line of JSON on standard input asks for a watch:

    {"watch": PATH, "object": false}      answered by {"watching": PATH}

and each event is a line of JSON on standard output. It ends with its input. Its
own reads (lstat, open for reading, a listing) raise no event that it listens for.
"""

import contextlib
import errno
import json
import os
import select
import stat
import sys
import time
from typing import Any

from inotify_simple import INotify, flags

_IN_A_DIRECTORY = (
    flags.CREATE
    | flags.MODIFY
    | flags.ATTRIB
    | flags.DELETE
    | flags.MOVED_FROM
    | flags.MOVED_TO
    | flags.CLOSE_WRITE
)
_OF_AN_OBJECT = flags.DELETE_SELF
_MOST_CONTENT_BYTES = 64


def observe(directory: str, name: str) -> dict[str, Any]:
    """Read the state of *name* in *directory*, as fields of ObservedState. Raises OSError.

    Raises OSError where the directory cannot be listed.
    """
    path = os.path.join(directory, name)
    seen: dict[str, Any] = {"began_ns": time.monotonic_ns(), "exists": True}
    try:
        status = os.lstat(path)
    except FileNotFoundError:
        seen["exists"] = False
    else:
        seen["size_bytes"] = status.st_size
        seen["mode"] = stat.S_IMODE(status.st_mode)
        seen["mtime_ns"] = status.st_mtime_ns
        if stat.S_ISREG(status.st_mode):
            # May vanish between the two: then there is no content to compare.
            with contextlib.suppress(FileNotFoundError):
                seen["content"] = _content(path)
                # After a read the kernel's cached attributes are invalid (atime has changed),
                # so that the next read would request them anew: let it cache them again.
                os.lstat(path)
    seen["listed"] = name in os.listdir(directory)
    return seen


def _content(path: str) -> str:
    # Not by open(), which calls fstat(2) and so may refresh what is stale.
    fd = os.open(path, os.O_RDONLY)
    try:
        return os.read(fd, _MOST_CONTENT_BYTES).decode("latin-1")
    finally:
        os.close(fd)


class _Listener:
    """One inotify instance and what it watches."""

    def __init__(self) -> None:
        self._inotify = INotify()
        self._watched: dict[int, str] = {}

    def listen(self) -> None:
        """Add watches from standard input, report events; until the input ends."""
        poller = select.poll()
        poller.register(sys.stdin.fileno(), select.POLLIN | select.POLLHUP)
        poller.register(self._inotify.fileno(), select.POLLIN)
        asked = b""
        while True:
            ready = {fd for fd, _ in poller.poll()}
            if self._inotify.fileno() in ready:
                self._hear()
            if sys.stdin.fileno() in ready:
                piece = os.read(sys.stdin.fileno(), 65_536)
                if not piece:
                    return
                *lines, asked = (asked + piece).split(b"\n")
                for line in lines:
                    self._watch(**json.loads(line))

    def _watch(self, watch: str, object: bool) -> None:
        mask = _OF_AN_OBJECT if object else _IN_A_DIRECTORY
        try:
            descriptor = self._inotify.add_watch(watch, mask | flags.DONT_FOLLOW)
        except OSError as error:
            if error.errno == errno.ENOSPC:
                _tell(trouble="too many watches: raise fs.inotify.max_user_watches")
            else:
                _tell(trouble=f"cannot watch {watch}: {error.strerror}")
            return
        self._watched[descriptor] = watch
        _tell(watching=watch)

    def _hear(self) -> None:
        events = self._inotify.read(timeout=0)
        at_ns = time.monotonic_ns()
        for event in events:
            if event.mask & flags.Q_OVERFLOW:
                _tell(trouble="more events than the listener could take: give a smaller --number")
                continue
            if event.mask & (flags.IGNORED | flags.UNMOUNT):
                continue
            watched = self._watched[event.wd]
            path = os.path.join(watched, event.name) if event.name else watched
            kinds = [flag for flag in flags if flag & event.mask and flag is not flags.ISDIR]
            _tell(
                received=f"IN_{kinds[0].name}",
                # Of an object itself the kernel does not always say that it was a directory.
                directory=bool(event.mask & flags.ISDIR and event.name),
                path=path,
                at_ns=at_ns,
                observed=observe(*os.path.split(path)),
            )


def _tell(**words: Any) -> None:
    # Past the buffer of sys.stdout, which would complain at exit if the reader has gone.
    os.write(sys.stdout.fileno(), json.dumps(words).encode() + b"\n")


def main() -> None:
    """Run the listener's process: watch what standard input says, report events, until it ends."""
    try:
        listener = _Listener()
    except OSError as error:
        _tell(trouble=f"no inotify: {error.strerror} (fs.inotify.max_user_instances)")
        return
    _tell(ready=True)
    listener.listen()


if __name__ == "__main__":
    # Whoever started it may have ended, and needs no answer.
    with contextlib.suppress(BrokenPipeError):
        main()
