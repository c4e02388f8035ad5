"""Which system call a thread of the guest waits in, by its name: what a request does not tell.

A GETATTR of stat(2) and one of read(2), which only needs the size, look the same; so do the
LOOKUP of a path that is walked and that of a name that must not exist. The kernel says which it
is (proc(5): /proc/PID/syscall), to root. Only calls that matter to who reads a trace have names.
"""

import os
import platform

_X86_64 = {
    0: "read",
    1: "write",
    2: "open",
    3: "close",
    4: "stat",
    5: "fstat",
    6: "lstat",
    8: "lseek",
    9: "mmap",
    17: "pread64",
    18: "pwrite64",
    19: "readv",
    20: "writev",
    21: "access",
    40: "sendfile",
    59: "execve",
    74: "fsync",
    75: "fdatasync",
    76: "truncate",
    77: "ftruncate",
    78: "getdents",
    80: "chdir",
    82: "rename",
    83: "mkdir",
    84: "rmdir",
    85: "creat",
    86: "link",
    87: "unlink",
    88: "symlink",
    89: "readlink",
    90: "chmod",
    91: "fchmod",
    92: "chown",
    93: "fchown",
    94: "lchown",
    132: "utime",
    133: "mknod",
    137: "statfs",
    138: "fstatfs",
    188: "setxattr",
    191: "getxattr",
    192: "lgetxattr",
    193: "fgetxattr",
    194: "listxattr",
    217: "getdents64",
    231: "exit_group",
    235: "utimes",
    257: "openat",
    258: "mkdirat",
    259: "mknodat",
    260: "fchownat",
    261: "futimesat",
    262: "newfstatat",
    263: "unlinkat",
    264: "renameat",
    265: "linkat",
    266: "symlinkat",
    267: "readlinkat",
    268: "fchmodat",
    269: "faccessat",
    275: "splice",
    280: "utimensat",
    285: "fallocate",
    295: "preadv",
    296: "pwritev",
    316: "renameat2",
    322: "execveat",
    326: "copy_file_range",
    327: "preadv2",
    328: "pwritev2",
    332: "statx",
    426: "io_uring_enter",
    437: "openat2",
    439: "faccessat2",
}
_AARCH64 = {
    5: "setxattr",
    8: "getxattr",
    9: "lgetxattr",
    10: "fgetxattr",
    11: "listxattr",
    33: "mknodat",
    34: "mkdirat",
    35: "unlinkat",
    36: "symlinkat",
    37: "linkat",
    38: "renameat",
    43: "statfs",
    44: "fstatfs",
    45: "truncate",
    46: "ftruncate",
    47: "fallocate",
    48: "faccessat",
    49: "chdir",
    52: "fchmod",
    53: "fchmodat",
    54: "fchownat",
    55: "fchown",
    56: "openat",
    57: "close",
    61: "getdents64",
    62: "lseek",
    63: "read",
    64: "write",
    65: "readv",
    66: "writev",
    67: "pread64",
    68: "pwrite64",
    69: "preadv",
    70: "pwritev",
    71: "sendfile",
    76: "splice",
    78: "readlinkat",
    79: "newfstatat",
    80: "fstat",
    82: "fsync",
    83: "fdatasync",
    88: "utimensat",
    94: "exit_group",
    221: "execve",
    222: "mmap",
    276: "renameat2",
    281: "execveat",
    285: "copy_file_range",
    286: "preadv2",
    287: "pwritev2",
    291: "statx",
    426: "io_uring_enter",
    437: "openat2",
    439: "faccessat2",
}
NAMES = {"x86_64": _X86_64, "aarch64": _AARCH64}.get(platform.machine(), {})
"""Of this machine's numbers (arch/*/kernel/syscalls in the kernel)."""
OTHER = "other"
"""A call that has no name here."""
_ATTEMPTS = 64
"""A thread is "running" until it has gone to sleep, which takes microseconds."""


def system_call_of(thread: int) -> str | None:
    """The name of the system call that *thread* waits in, such as ``openat``.

    With ``O_CREAT`` behind it where a file may be made, ``O_EXCL`` where it must not exist. OTHER
    for one without a name here, and for what waits outside of any (a page fault). None where it
    cannot be told: the thread has ended, or is not ours to look at.
    """
    try:
        fd = os.open(f"/proc/{thread}/syscall", os.O_RDONLY | os.O_CLOEXEC)
        try:
            for _ in range(_ATTEMPTS):
                words = os.pread(fd, 256, 0).split()
                if words[0] != b"running":
                    return _named(words)
        finally:
            os.close(fd)
    except (OSError, ValueError, IndexError):
        pass
    return None


_FLAGS_AT = {"open": 2, "openat": 3}
"""Where among the words of /proc/PID/syscall the flags of open(2) are."""


def _named(words: list[bytes]) -> str:
    """The call that *words* of /proc/PID/syscall tell of: its number, and its arguments."""
    name = NAMES.get(int(words[0]), OTHER)
    at = _FLAGS_AT.get(name)
    flags = int(words[at], 16) if at is not None else 0
    if not flags & os.O_CREAT:
        return name
    return f"{name} O_EXCL" if flags & os.O_EXCL else f"{name} O_CREAT"
