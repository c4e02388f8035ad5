"""What a process in the guest is in the middle of, where its request does not tell.

A LOOKUP does not say what the name is looked up for. The system call that its
thread waits in does (proc(5): /proc/PID/syscall), and its arguments lie in the
process's memory. Both may be read by root, and by the user of the process.
"""

import os
import platform
from collections.abc import Callable

# The numbers of rename, renameat and renameat2, each with the positions of its
# two paths among its arguments (arch/*/kernel/syscalls in the kernel).
_RENAMES = {
    "x86_64": {82: (0, 1), 264: (1, 3), 316: (1, 3)},
    "aarch64": {38: (1, 3), 276: (1, 3)},
}.get(platform.machine(), {})
_LONGEST_PATH_BYTES = 4096


def renames(thread_id: int, is_old: Callable[[bytes], bool], new: bytes) -> bool:
    """Whether a thread is renaming, from a name of which *is_old* is true, to exactly *new*.

    Only last components are looked at. False where it cannot be told.
    """
    try:
        with open(f"/proc/{thread_id}/syscall", encoding="ascii") as file:
            number, *arguments = file.read().split()
        positions = _RENAMES.get(int(number))
        if positions is None:
            return False
        fd = os.open(f"/proc/{thread_id}/mem", os.O_RDONLY | os.O_CLOEXEC)
        try:
            old_path, new_path = (_text(fd, int(arguments[at], 16)) for at in positions)
        finally:
            os.close(fd)
    except (OSError, ValueError):  # gone, not ours to look at, or not in a system call
        return False
    old = _last_component(old_path)
    return _last_component(new_path) == new and old != new and is_old(old)


def groups_of(thread_id: int) -> frozenset[int]:
    """The supplementary groups of a thread; none where they cannot be told."""
    try:
        with open(f"/proc/{thread_id}/status", "rb") as file:
            lines = [line for line in file if line.startswith(b"Groups:")]
        return frozenset(int(group) for line in lines for group in line.split()[1:])
    except (OSError, ValueError):
        return frozenset()


def _text(fd: int, address: int) -> bytes:
    """The text that ends with a NUL at *address*; read page by page, as the next may not exist."""
    text = b""
    while b"\0" not in text and len(text) < _LONGEST_PATH_BYTES:
        position = address + len(text)
        text += os.pread(fd, 4096 - position % 4096, position)
    return text.partition(b"\0")[0]


def _last_component(path: bytes) -> bytes:
    return path.rstrip(b"/").rpartition(b"/")[2]
