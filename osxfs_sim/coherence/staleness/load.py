"""A process of the guest that keeps reading the files of one directory: a load on a share.

Started as a script, with the directory and the share of one processor that it may take; with
nothing but the standard library. It reports that it has begun, reads until its standard input
ends, and then reports what it did: a line of JSON each.
"""

import contextlib
import json
import os
import select
import sys
import time
from typing import Any

MOST_READ_BYTES = 1 << 20
_SHORTEST_SLEEP_S = 0.001


def read_file(path: str) -> None:
    """Stat, open, read (at most 1 MiB) and close *path*, as build tools do. Raises OSError."""
    os.stat(path)
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.read(fd, MOST_READ_BYTES)
    finally:
        os.close(fd)


def rest_s(processor_s: float, elapsed_s: float, share: float) -> float:
    """How many s to sleep so that *processor_s* is at most *share* (0 to 1) of all time; or 0."""
    ahead_s = processor_s / share - elapsed_s
    return ahead_s if ahead_s >= _SHORTEST_SLEEP_S else 0.0


def keep_reading(directory: str, share: float) -> dict[str, float]:
    """Read the files of *directory* in turn until stdin ends; what was done. Raises OSError.

    Returns the fields of LoadResult.
    """
    paths = [os.path.join(directory, name) for name in sorted(os.listdir(directory))]
    began_s, began_processor_s = time.monotonic(), time.process_time()
    reads = 0
    while True:
        read_file(paths[reads % len(paths)])
        reads += 1
        elapsed_s = time.monotonic() - began_s
        processor_s = time.process_time() - began_processor_s
        ended, _, _ = select.select([sys.stdin], [], [], rest_s(processor_s, elapsed_s, share))
        if ended:
            return {"reads": reads, "processor_s": processor_s, "elapsed_s": elapsed_s}


def main() -> None:
    """Run the load's process ``load.py DIRECTORY SHARE``; an OSError is reported, not raised."""
    directory, share = sys.argv[1], float(sys.argv[2])
    _tell({"began": True})
    try:
        done: dict[str, float | str] = {**keep_reading(directory, share)}
    except OSError as error:  # the share has gone, for one
        done = {"error": str(error)}
    _tell(done)


def _tell(words: dict[str, Any]) -> None:
    # Past the buffer of sys.stdout, which would complain at exit if the reader has gone.
    os.write(sys.stdout.fileno(), json.dumps(words).encode() + b"\n")


if __name__ == "__main__":
    # Whoever started it may have ended, and needs no answer.
    with contextlib.suppress(BrokenPipeError):
        main()
