"""What is left of a share whose server has ended, in whatever way: nothing, or a test says so."""

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from osxfs_sim.mount.mounts import connections
from osxfs_sim.mount.mounts.mountpoints import mount_at
from support.guests import PATIENCE_S, eventually
from support.live import LiveShare, is_mounted


def supervisor_of(live: LiveShare) -> int:
    """The process that looks after the server; 0 where there is none."""
    for child in Path(f"/proc/{live.pid}/task/{live.pid}/children").read_text().split():
        with contextlib.suppress(OSError):
            if b"supervisor.py" in Path(f"/proc/{child}/cmdline").read_bytes():
                return int(child)
    return 0


def threads_in_the_kernel(pid: int) -> int:
    """How many threads of a process wait in a way that no signal ends."""
    found = 0
    with contextlib.suppress(OSError):
        for thread in os.listdir(f"/proc/{pid}/task"):
            stat = Path(f"/proc/{pid}/task/{thread}/stat").read_bytes()
            found += stat.rpartition(b")")[2].split()[0] == b"D"
    return found


def assert_gone(live: LiveShare, device: str) -> None:
    """Nothing is left: no mount, no process, no connection."""
    eventually(lambda: not is_mounted(live.guest))
    assert live.server.wait(PATIENCE_S) is not None
    eventually(lambda: not supervisors_for(live.guest))
    eventually(lambda: not has_connection(device) or mount_with(device))


def has_connection(device: str) -> bool:
    fd = connections.open_abort(device)
    if fd >= 0:
        os.close(fd)
    return fd >= 0


def abort(device: str) -> bool:
    """Whether the connection of *device*, which is mounted, was aborted."""
    fd = connections.open_abort(device)
    try:
        return fd >= 0 and connections.abort(fd)
    finally:
        if fd >= 0:
            os.close(fd)


def mount_with(device: str) -> bool:
    """Whether a later mount has got the number."""
    return f" {device} ".encode() in Path("/proc/self/mountinfo").read_bytes()


def supervisors_for(guest: Path) -> list[int]:
    found = []
    for process in os.listdir("/proc"):
        with contextlib.suppress(OSError):
            if process.isdecimal():
                words = Path(f"/proc/{process}/cmdline").read_bytes().split(b"\0")
                if os.fsencode(guest) in words and any(b"supervisor" in word for word in words):
                    found.append(int(process))
    return found


def device_of(live: LiveShare) -> str:
    entry = mount_at(str(live.guest))
    assert entry is not None
    return entry.device


# Waits for the end of its input, and so for the end of the test in whatever way.
_ABORTS = """
import os, sys
print("ready", flush=True)
sys.stdin.read()
os.write(int(sys.argv[1]), b"1")
"""


@contextlib.contextmanager
def aborting_at_the_end(device: str) -> Iterator[None]:
    """The connection of *device* is ended with the block, also if the test's process is killed.

    For tests that let it hang: what is left else can be ended by nobody who does not know how,
    and sync(2) of the whole machine waits for it.
    """
    abort_fd = connections.open_abort(device)
    assert abort_fd >= 0
    try:
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-c", _ABORTS, str(abort_fd)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            pass_fds=(abort_fd,),
            start_new_session=True,  # Ctrl-C is the tests'
        )
    finally:
        os.close(abort_fd)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    try:
        yield
    finally:
        process.communicate(timeout=PATIENCE_S)
