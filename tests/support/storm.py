"""A guest that works in the directory it is in, until that is no more, or its input ends.

Run as a script, with what it does and a seed. It says ``at work`` once it is, and then how it
was stopped: ``told`` where the share told it that there is none (ENOTCONN, ECONNABORTED).
"""

import errno
import mmap
import os
import random
import select
import sys
from collections.abc import Callable

_TOLD = (errno.ENOTCONN, errno.ECONNABORTED)


def _names(chance: random.Random) -> None:
    name, other = (f"d{chance.randrange(4)}" for _ in range(2))
    step = chance.randrange(5)
    if step == 0:
        os.mkdir(name)
    elif step == 1:
        os.rmdir(name)
    elif step == 2:
        os.rename(name, other)
    elif step == 3:
        os.stat(f"{name}/missing")
    else:
        with os.scandir(".") as entries:
            for entry in entries:
                entry.stat(follow_symlinks=False)


def _writes(chance: random.Random) -> None:
    fd = os.open(f"w{chance.randrange(3)}", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        os.pwrite(fd, b"x" * chance.choice((1, 4096, 700_000)), chance.randrange(100_000))
        if chance.random() < 0.3:
            os.fsync(fd)
        os.pread(fd, 8192, 0)
    finally:
        os.close(fd)
    if chance.random() < 0.2:
        os.truncate(f"w{chance.randrange(3)}", chance.randrange(10_000))


def _maps(chance: random.Random) -> None:
    fd = os.open("mapped", os.O_RDWR | os.O_CREAT, 0o644)
    try:
        os.ftruncate(fd, 65536 << chance.randrange(2))
        with mmap.mmap(fd, 65536) as pages:
            # Only what cannot be a SIGBUS: it is written out, and not read in.
            pages[0:1] = b"y"
            pages.flush()
    finally:
        os.close(fd)


def _host(chance: random.Random) -> None:
    """The other side's part, in the source: what the share hears of."""
    name = f"h{chance.randrange(4)}"
    step = chance.randrange(4)
    if step == 0:
        with open(name, "a") as file:
            file.write("host")
    elif step == 1:
        os.unlink(name)
    elif step == 2:
        os.mkdir(f"{name}d")
    else:
        os.rmdir(f"{name}d")


WORK: dict[str, Callable[[random.Random], None]] = {
    "names": _names,
    "writes": _writes,
    "maps": _maps,
    "host": _host,
}


def main() -> None:
    what, seed = sys.argv[1:]
    work, chance = WORK[what], random.Random(int(seed))
    print("at work", flush=True)
    while not select.select([sys.stdin], [], [], 0)[0]:
        try:
            work(chance)
        except OSError as error:
            if error.errno in _TOLD:
                print("told", flush=True)
                return
    print("asked to stop", flush=True)


if __name__ == "__main__":
    main()
