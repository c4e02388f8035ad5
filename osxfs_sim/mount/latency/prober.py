"""The client that calibration measures with: a process of its own, as real clients are.

Run as a script, with the user to be and two paths as its arguments: a name that
does not exist on the share, and the share's root. To ask for either is one request. Each line on
standard input asks for a round: a number of probes and a pause before each, in
nanoseconds. Each answer is one JSON line: how long the probes took, in
nanoseconds, less what the interpreter itself adds, missing and existing in turn.

It imports nothing of the package, so that it starts fast.
"""

import contextlib
import json
import os
import sys
import time


def _probe_ns(paths: list[str], count: int, pause_ns: int) -> list[int]:
    # access(2) walks the path as stat(2) does, and a missing name costs no exception.
    access, clock_ns, missing = os.access, time.perf_counter_ns, os.F_OK
    taken_ns = []
    for number in range(count):
        path = paths[number % len(paths)]
        if pause_ns:
            time.sleep(pause_ns / 1_000_000_000)
        start_ns = clock_ns()
        access(path, missing)
        taken_ns.append(clock_ns() - start_ns)
    return taken_ns


def _become(user: str) -> None:
    """Be the user that the share's server becomes: ``uid:gid:group,group``, or ``-``.

    The server starts us before it becomes that user, who may not be able to
    run this very interpreter.
    """
    if user == "-":
        return
    uid, gid, groups = user.split(":")
    os.setgroups([int(group) for group in groups.split(",") if group])
    os.setresgid(int(gid), int(gid), int(gid))
    os.setresuid(int(uid), int(uid), int(uid))


def main() -> None:
    """Become the user in sys.argv; answer stdin's lines by probe times in ns. Raises OSError."""
    user, *paths = sys.argv[1:]
    _become(user)
    # The empty path fails at the kernel's door: what is left is the interpreter.
    own_ns = sorted(_probe_ns([""], 201, 0))[100]
    for line in sys.stdin:
        count, pause_ns = map(int, line.split())
        taken_ns = [max(0, taken - own_ns) for taken in _probe_ns(paths, count, pause_ns)]
        # Past the buffer of sys.stdout, which would complain at exit if the reader has gone.
        os.write(sys.stdout.fileno(), json.dumps(taken_ns).encode() + b"\n")


if __name__ == "__main__":
    # Whoever started it may have ended, and needs no answer.
    with contextlib.suppress(BrokenPipeError):
        main()
