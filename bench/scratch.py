"""Directories, mounts and processes of a benchmark, cleaned up whatever happens.

The host's side lies on /dev/shm: a benchmark of the emulator shall not measure
a disk.
"""

import contextlib
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from osxfs_sim import Share
from osxfs_sim.model.operations import UNAWAITED
from osxfs_sim.model.status import ShareStatus
from osxfs_sim.mount.loop.pm_qos import PmQosRequest
from osxfs_sim.mount.mounts.mountpoints import mount_at

CLIENTS_AT_MOST = 8
MISSING, EXISTING = "missing", "there"
_QUIET_SHARE = 0.01


@dataclass(frozen=True, slots=True)
class Scratch:
    """A host directory and a mount point, both fresh."""

    source: str
    mountpoint: str

    def paths(self, name: str, clients: int) -> list[str]:
        """*name* in the root for one client, in a directory of its own for each of several."""
        if clients == 1:
            return [os.path.join(self.mountpoint, name)]
        return self.own_paths(name, clients)

    def own_paths(self, name: str, clients: int) -> list[str]:
        """*name* in a directory of its own for each client."""
        return [os.path.join(self.mountpoint, f"d{i}", name) for i in range(clients)]


@contextlib.contextmanager
def scratch() -> Iterator[Scratch]:
    """Both directories for the time of a block, with the names that stat benchmarks use."""
    source = tempfile.mkdtemp(prefix="osxfs-sim-bench-", dir="/dev/shm")
    mountpoint = tempfile.mkdtemp(prefix="osxfs-sim-bench-")
    try:
        Path(source, EXISTING).touch()
        for i in range(CLIENTS_AT_MOST):
            Path(source, f"d{i}").mkdir()
            Path(source, f"d{i}", EXISTING).touch()
        yield Scratch(source, mountpoint)
    finally:
        if mount_at(mountpoint) is not None:
            subprocess.run(["umount", "--lazy", mountpoint], check=False)
        # rmdir and never rmtree: through a mount it would empty the other side.
        with contextlib.suppress(OSError):
            os.rmdir(mountpoint)
        shutil.rmtree(source, ignore_errors=True)


@contextlib.contextmanager
def processors_awake() -> Iterator[None]:
    """PM QoS held by us: the same conditions for servers that do not ask for it."""
    awake = PmQosRequest()
    awake.hold()
    try:
        yield
    finally:
        awake.release()


def awaited(status: ShareStatus) -> int:
    """The requests that somebody in the guest waited for, out of a share's status."""
    background = {operation.name for operation in UNAWAITED}
    return sum(count for name, count in status.requests.items() if name not in background)


def server_share(status: ShareStatus) -> float:
    """The part of one core that the server used while its status counted."""
    return round(status.server_processor_s / status.counting_s, 3)


def pid_of(share: Share) -> int:
    """The process id of the share's server."""
    return share.first_status.pid


def processor_ns(pid: int) -> int:
    """Processor time of all threads of a process, to the nanosecond (proc(5), schedstat).

    stat counts in ticks of 10 ms, too coarse for the cost of doing nothing.
    """
    return sum(
        int(task.joinpath("schedstat").read_text().split()[0])
        for task in Path(f"/proc/{pid}/task").iterdir()
    )


def memory_bytes(pid: int) -> dict[str, int]:
    """The memory a process has now, and the most it ever had."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    kibibytes = {
        key: value.split()[0]
        for key, _, value in (line.partition(":") for line in lines)
        if key in ("VmRSS", "VmHWM")
    }
    return {
        "now_bytes": int(kibibytes["VmRSS"]) * 1024,
        "most_bytes": int(kibibytes["VmHWM"]) * 1024,
    }


def wait_quiet(pid: int, *, quiet_s: float, within_s: float) -> bool:
    """Wait until a process has done next to nothing for *quiet_s*. Returns whether it came to that.

    Asks the kernel and not the server: a server that is asked is not left alone.
    """
    deadline_s = time.monotonic() + within_s
    quiet_since_s = time.monotonic()
    before_ns = processor_ns(pid)
    while time.monotonic() < deadline_s:
        time.sleep(0.25)
        now_ns = processor_ns(pid)
        if now_ns - before_ns > 0.25e9 * _QUIET_SHARE:
            quiet_since_s = time.monotonic()
        elif time.monotonic() - quiet_since_s >= quiet_s:
            return True
        before_ns = now_ns
    return False
