"""Finds out whether a share's loop waits for the share itself.

The loop is the only one who could answer it. What can be known beforehand is refused
(cycles.py); but a file system may lead back into the share in a way that no table tells, a
policy of one's own may look into it. Run as a script by the supervisor, once that has seen the
loop's thread in the same wait for a while: the process of the server, and the share's device
(``major:minor``). Exit code 0, and the way on standard output: it waits for itself. Exit code
1: it does not, or that cannot be told; it may wait for another, who answers one day.

It follows what the system call that the thread is in names, through overlays, and through other
FUSE file systems whose servers wait in their turn. It is all read in /proc: nothing is entered.

It imports nothing of the package, so that it starts fast.
"""

import contextlib
import os
import struct
import sys
from collections.abc import Iterator
from dataclasses import dataclass

_AT_FDCWD = -100
_LONGEST_PATH_BYTES = 4096
_SMALLEST_POINTER = 1 << 16
_ESCAPES = ((b"\\040", b" "), (b"\\011", b"\t"), (b"\\012", b"\n"), (b"\\134", b"\\"))

# Where the arguments of a system call have paths, below a directory's descriptor or not
# (None); by its numbers on x86_64 and aarch64. All others have a descriptor first.
_NONE: tuple[int | None, int] = (None, 0)
_BELOW = (0, 1)
_X86_64: dict[int, tuple[tuple[int | None, int], ...]] = {
    **dict.fromkeys((2, 4, 6, 21, 59, 76, 80, 83, 84, 85, 87, 89, 90, 92, 94, 133), (_NONE,)),
    **dict.fromkeys((137, 161, 188, 189, 191, 192, 194, 195, 197, 198), (_NONE,)),
    **dict.fromkeys((82, 86), (_NONE, (None, 1))),
    88: ((None, 1),),
    254: ((None, 1),),
    **dict.fromkeys((257, 258, 259, 260, 261, 262, 263, 267, 268, 269, 280, 303, 322), (_BELOW,)),
    **dict.fromkeys((264, 265, 316), (_BELOW, (2, 3))),
    266: ((1, 2),),
    332: (_BELOW,),
}
_AARCH64: dict[int, tuple[tuple[int | None, int], ...]] = {
    **dict.fromkeys((5, 6, 8, 9, 11, 12, 14, 15, 43, 45, 49, 51), (_NONE,)),
    27: ((None, 1),),
    **dict.fromkeys((33, 34, 35, 48, 53, 54, 56, 78, 79, 88, 264, 281, 291), (_BELOW,)),
    **dict.fromkeys((37, 38, 276), (_BELOW, (2, 3))),
    36: ((1, 2),),
}
_EVERYWHERE = dict.fromkeys((428, 437, 439, 452), (_BELOW,))
_PATHS = {"x86_64": _X86_64, "aarch64": _AARCH64}.get(os.uname().machine, {}) | _EVERYWHERE


@dataclass(frozen=True)
class _Mount:
    number: int
    device: str
    place: bytes
    kind: bytes
    options: bytes


def _unescape(path: bytes) -> bytes:
    for code, character in _ESCAPES:
        path = path.replace(code, character)
    return path


def _mounts(pid: int) -> list[_Mount]:
    found = []
    with open(f"/proc/{pid}/mountinfo", "rb") as file:
        for line in file:
            before, _, after = line.rstrip(b"\n").partition(b" - ")
            number, _, device, _, place, *_ = before.split(b" ")
            kind, _, options = after.split(b" ", 2)
            found.append(_Mount(int(number), device.decode(), _unescape(place), kind, options))
    return found


def _mount_at(mounts: list[_Mount], path: bytes) -> _Mount | None:
    """Which one the absolute *path* leads into, as far as its words tell."""
    inside = [
        each
        for each in mounts
        if path == each.place or path.startswith(each.place.rstrip(b"/") + b"/")
    ]
    deepest = max((len(each.place) for each in inside), default=0)
    return next((each for each in reversed(inside) if len(each.place) == deepest), None)


def waits_for_fuse(pid: int, thread: int) -> bool:
    """Whether a thread waits for a FUSE file system's reply; False where it is gone."""
    with contextlib.suppress(OSError), open(f"/proc/{pid}/task/{thread}/wchan", "rb") as file:
        return file.read().startswith((b"request_wait_answer", b"fuse_"))
    return False


class _Thread:
    """What a thread's system call names."""

    def __init__(self, pid: int, thread: int) -> None:
        self._pid = pid
        with open(f"/proc/{pid}/task/{thread}/syscall", "rb") as file:
            number, *arguments = file.read().split()
        self._number = int(number)
        self._arguments = [int(each, 16) for each in arguments[:6]]

    def mounts(self) -> Iterator[_Mount]:
        """Those that it may have entered. Raises OSError."""
        if self._number < 0 or len(self._arguments) < 6:
            return
        mounts = _mounts(self._pid)
        for below, index in _PATHS.get(self._number, ()):
            path = self._path(self._arguments[index])
            if below is not None and not path.startswith(b"/"):
                fd = _signed(self._arguments[below])
                yield from self._of_descriptor(mounts, fd)
                base = "cwd" if fd == _AT_FDCWD else f"fd/{fd}"
            else:
                base = "cwd"
            if not path.startswith(b"/"):
                with contextlib.suppress(OSError):
                    above = os.readlink(os.fsencode(f"/proc/{self._pid}/{base}"))
                    path = os.path.join(above, path)
            found = _mount_at(mounts, os.path.normpath(path)) if path.startswith(b"/") else None
            if found is not None:
                yield found
        if self._number not in _PATHS:
            yield from self._of_descriptor(mounts, _signed(self._arguments[0]))

    def _path(self, pointer: int) -> bytes:
        if pointer < _SMALLEST_POINTER:
            return b""
        with (
            contextlib.suppress(OSError, OverflowError, ValueError),
            # Unbuffered, as what follows may be no memory.
            open(f"/proc/{self._pid}/mem", "rb", buffering=0) as memory,
        ):
            memory.seek(pointer)
            return memory.read(_LONGEST_PATH_BYTES).partition(b"\0")[0]
        return b""

    def _of_descriptor(self, mounts: list[_Mount], fd: int) -> Iterator[_Mount]:
        with contextlib.suppress(OSError):
            with open(f"/proc/{self._pid}/fdinfo/{fd}", "rb") as file:
                number = int(file.read().partition(b"mnt_id:")[2].split()[0])
            yield from (each for each in mounts if each.number == number)


def _signed(argument: int) -> int:
    return int(struct.unpack("=i", struct.pack("=I", argument & 0xFFFFFFFF))[0])


def _servers_of(device: str) -> Iterator[int]:
    """The processes that serve the FUSE file system *device* (Linux 6.13 tells)."""
    wanted = b"fuse_connection:\t%s\n" % device.partition(":")[2].encode()
    for name in filter(str.isdecimal, os.listdir("/proc")):
        with contextlib.suppress(OSError):
            for fd in os.listdir(f"/proc/{name}/fd"):
                if os.readlink(f"/proc/{name}/fd/{fd}") == "/dev/fuse":
                    with open(f"/proc/{name}/fdinfo/{fd}", "rb") as file:
                        if wanted in file.read():
                            yield int(name)
                            break


def way_back(pid: int, thread: int, device: str, seen: frozenset[str] = frozenset()) -> list[bytes]:
    """The mounts by which *thread*'s wait leads to *device*; empty: no way, or none to tell."""
    with contextlib.suppress(OSError, ValueError):
        for mount in _Thread(pid, thread).mounts():
            if way := _way_by(pid, mount, device, seen):
                return way
    return []


def _way_by(pid: int, mount: _Mount, device: str, seen: frozenset[str]) -> list[bytes]:
    if mount.device == device:
        return [mount.place]
    if mount.device in seen:
        return []
    seen |= {mount.device}
    if mount.kind == b"overlay":
        for option in mount.options.split(b","):
            name, _, places = option.partition(b"=")
            if name.rstrip(b"+") in (b"lowerdir", b"upperdir", b"workdir"):
                for place in filter(None, places.split(b":")):
                    found = _mount_at(_mounts(pid), _unescape(place))
                    if found is not None and (way := _way_by(pid, found, device, seen)):
                        return [mount.place, *way]
    elif mount.kind.startswith(b"fuse"):
        for server in _servers_of(mount.device):
            threads = [int(name) for name in os.listdir(f"/proc/{server}/task")]
            waiting = [each for each in threads if waits_for_fuse(server, each)]
            if any(_is_busy(server, each) for each in threads if each not in waiting):
                continue  # it may be just that which is waited for
            for thread in waiting:
                if way := way_back(server, thread, device, seen):
                    return [mount.place, *way]
    return []


def _is_busy(pid: int, thread: int) -> bool:
    """Whether a thread is at something, or waits for a disk."""
    with contextlib.suppress(OSError), open(f"/proc/{pid}/task/{thread}/stat", "rb") as file:
        return file.read().rpartition(b")")[2].split()[0] in (b"R", b"D")
    return False


def main() -> None:
    """Exit with 0, the way on standard output, where the share waits for itself; else with 1."""
    pid, device = int(sys.argv[1]), sys.argv[2]
    way = way_back(pid, pid, device) if waits_for_fuse(pid, pid) else []
    if not way:
        sys.exit(1)
    sys.stdout.buffer.write(b", which leads to ".join(way))


if __name__ == "__main__":
    main()
