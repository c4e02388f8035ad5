"""File systems in C that do nothing but pass through: what the floor is compared with.

    bindfs             a package of most distributions; libfuse 2, one thread, paths
    passthrough_ll     libfuse's own example, compiled here where its source is installed
                       (Debian: libfuse3-dev); inode numbers, several threads

Both with all caching off. bindfs mounts with default_permissions, and so costs
a GETATTR for every directory on the way besides. How many requests a stat(2)
costs on each is therefore counted, from their debugging output, in a run of
its own before the measurement.
"""

import contextlib
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from bench.clients import CannotMeasureError, compiled
from bench.scratch import Scratch

_EXAMPLE = Path("/usr/share/doc/libfuse3-dev/examples/passthrough_ll.c")
_REQUEST = re.compile(rb"opcode: (\w+)")
# Nobody waits for these (see osxfs_sim.model.operations.UNAWAITED).
_UNAWAITED = {b"FORGET", b"BATCH_FORGET", b"RELEASE", b"RELEASEDIR"}
_MOUNTED_WITHIN_S = 10.0
_CALLS_COUNTED = 10


@dataclass(frozen=True, slots=True)
class Passthrough:
    """A command that serves SOURCE at MOUNTPOINT in the foreground."""

    name: str
    command: tuple[str, ...]

    def argv(self, scratch: Scratch) -> list[str]:
        """The command line that mounts it in *scratch*'s directories."""
        places = {"SOURCE": scratch.source, "MOUNTPOINT": scratch.mountpoint}
        return [
            part.replace("SOURCE", places["SOURCE"]).replace("MOUNTPOINT", places["MOUNTPOINT"])
            for part in self.command
        ]


def available() -> list[Passthrough]:
    """Those that can be run on this machine."""
    found = []
    if program := shutil.which("bindfs"):
        off = "attr_timeout=0,entry_timeout=0,negative_timeout=0"
        found.append(Passthrough("bindfs", (program, "-f", "-o", off, "SOURCE", "MOUNTPOINT")))
    with contextlib.suppress(CannotMeasureError):
        if _EXAMPLE.exists():
            program = str(compiled(_EXAMPLE, "-I/usr/include/fuse3", "-lfuse3", "-lpthread"))
            command = (program, "-f", "-o", "source=SOURCE,cache=never", "MOUNTPOINT")
            found.append(Passthrough("passthrough_ll", command))
    return found


@contextlib.contextmanager
def serving(
    passthrough: Passthrough, scratch: Scratch, log: IO[bytes] | None = None
) -> Iterator[None]:
    """Mounted for the time of the block; with its debugging output in *log* if given."""
    command = passthrough.argv(scratch)
    if log is not None:
        command.insert(1, "-d")
    output = subprocess.DEVNULL if log is None else log
    process = subprocess.Popen(command, stdout=output, stderr=output, start_new_session=True)
    try:
        _wait_mounted(passthrough, process, scratch.mountpoint)
        yield
    finally:
        subprocess.run(["umount", scratch.mountpoint], capture_output=True, check=False)
        try:
            process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _wait_mounted(
    passthrough: Passthrough, process: "subprocess.Popen[bytes]", mountpoint: str
) -> None:
    deadline_s = time.monotonic() + _MOUNTED_WITHIN_S
    while not os.path.ismount(mountpoint):
        if process.poll() is not None or time.monotonic() > deadline_s:
            raise CannotMeasureError(f"{passthrough.name} does not mount: {process.args!r}")
        time.sleep(0.01)


def requests_per_stat(
    passthrough: Passthrough, scratch: Scratch, paths: Sequence[str]
) -> dict[str, float]:
    """How many requests a stat(2) of each path costs, as its debugging output has it."""
    counted = {}
    with tempfile.TemporaryFile() as log, serving(passthrough, scratch, log):
        for path in paths:
            time.sleep(0.05)  # what is still being answered is not of this path
            start = log.seek(0, os.SEEK_END)
            for _ in range(_CALLS_COUNTED):
                os.path.exists(path)
            time.sleep(0.05)
            log.seek(start)
            names = _REQUEST.findall(log.read())
            counted[path] = sum(name not in _UNAWAITED for name in names) / _CALLS_COUNTED
    return counted
