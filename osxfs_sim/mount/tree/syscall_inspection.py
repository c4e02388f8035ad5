"""What a process in the guest is in the middle of, where its request does not tell.

A LOOKUP does not say what the name is looked up for. The system call that its
thread waits in does (proc(5): /proc/PID/syscall), and its arguments lie in the
process's memory. Both may be read by root, and by the user of the process where
the kernel lets users trace their own processes (Yama's ptrace_scope of 0).

Nothing here asks the share itself: descriptors, working directory and root of
the process are only read as links, which the kernel answers from what it has.
"""

import os
import platform
import time
from dataclasses import dataclass

# The numbers of rename, renameat and renameat2, each with the positions of its
# arguments: directory and path, twice, and flags (arch/*/kernel/syscalls in the
# kernel). None: the working directory, or no flags.
_Positions = tuple[int | None, int, int | None, int, int | None]
_ARCHITECTURES: dict[str, dict[int, _Positions]] = {
    "x86_64": {82: (None, 0, None, 1, None), 264: (0, 1, 2, 3, None), 316: (0, 1, 2, 3, 4)},
    "aarch64": {38: (0, 1, 2, 3, None), 276: (0, 1, 2, 3, 4)},
}
_RENAMES = _ARCHITECTURES.get(platform.machine(), {})
_RENAME_EXCHANGE = 2
_AT_FDCWD = 2**32 - 100  # as an unsigned int
_LONGEST_PATH_BYTES = 4096
# The top byte of an address is the program's to use (aarch64) or a copy of bit 55.
_ADDRESS = (1 << 56) - 1
# A thread sends its request just before it goes to sleep: until then it is
# "running", and its system call is not shown.
_ATTEMPTS = 200
_BETWEEN_ATTEMPTS_S = 0.000_1


@dataclass(frozen=True, slots=True)
class Renaming:
    """A rename(2) as its caller wrote it: two paths from the root, as components, not resolved."""

    old: tuple[bytes, ...]
    """The components of the old path."""
    new: tuple[bytes, ...]
    """The components of the new path."""


def rename_in_progress(thread_id: int) -> Renaming | None:
    """The rename(2) that a thread waits in; None if it is in none, or that cannot be read.

    An exchange is none: it leaves names as they are.
    """
    try:
        call = _system_call(thread_id)
        positions = _RENAMES.get(call[0])
        if positions is None:
            return None
        old_at, old, new_at, new, flags = positions
        if flags is not None and call[1 + flags] & _RENAME_EXCHANGE:
            return None
        fd = os.open(f"/proc/{thread_id}/mem", os.O_RDONLY | os.O_CLOEXEC)
        try:
            old_path, new_path = _text(fd, call[1 + old]), _text(fd, call[1 + new])
        finally:
            os.close(fd)
        return Renaming(
            _components(thread_id, None if old_at is None else call[1 + old_at], old_path),
            _components(thread_id, None if new_at is None else call[1 + new_at], new_path),
        )
    except (OSError, ValueError, OverflowError):  # gone, or not ours to look at
        return None


def _system_call(thread_id: int) -> list[int]:
    """The number of the system call, and its arguments. ValueError if there is none."""
    for _ in range(_ATTEMPTS):
        with open(f"/proc/{thread_id}/syscall", encoding="ascii") as file:
            words = file.read().split()
        if words != ["running"]:
            return [int(word, 0) for word in words[:7]]
        time.sleep(_BETWEEN_ATTEMPTS_S)
    raise ValueError("it does not wait")


def groups_of(thread_id: int) -> frozenset[int]:
    """The supplementary groups of a thread (/proc); empty where they cannot be read."""
    try:
        with open(f"/proc/{thread_id}/status", "rb") as file:
            lines = [line for line in file if line.startswith(b"Groups:")]
        return frozenset(int(group) for line in lines for group in line.split()[1:])
    except (OSError, ValueError):
        return frozenset()


def _text(fd: int, address: int) -> bytes:
    """The text that ends with a NUL at *address*; read page by page, as the next may not exist."""
    text = b""
    while b"\0" not in text:
        position = (address & _ADDRESS) + len(text)
        page = os.pread(fd, 4096 - position % 4096, position)
        text += page
        if not page or len(text) >= _LONGEST_PATH_BYTES + 4096:
            raise ValueError("no path")  # its memory is gone, or was written to meanwhile
    return text.partition(b"\0")[0]


def _components(thread_id: int, directory: int | None, path: bytes) -> tuple[bytes, ...]:
    """*path* from the root on, as the process means it: by name only."""
    if path.startswith(b"/"):
        start = "root"
    elif directory is None or directory & 0xFFFF_FFFF == _AT_FDCWD:
        start = "cwd"
    else:
        start = f"fd/{directory & 0xFFFF_FFFF}"
    base = os.fsencode(os.readlink(f"/proc/{thread_id}/{start}"))
    components: list[bytes] = []
    for component in (base + b"/" + path).split(b"/"):
        if component == b"..":
            del components[-1:]
        elif component not in (b"", b"."):
            components.append(component)
    return tuple(components)
