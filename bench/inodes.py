"""What an inode costs in memory, and whether the memory comes back.

A million names are looked up under a policy that caches answers, so that the
kernel keeps them all. Then it is told to drop what it keeps (drop_caches,
which needs root), sends forget for each, and the server is left alone until
its idle tidy-up has run. The server is asked nothing in between: its memory is
read from /proc.
"""

import os
import time
from pathlib import Path
from typing import Any

import numpy as np

import osxfs_sim
from bench.figures import Samples
from bench.scratch import memory_bytes, pid_of, scratch, wait_quiet

_DROP_CACHES = "/proc/sys/vm/drop_caches"
_DENTRIES_AND_INODES = "2"
# Longer than the server waits before it tidies up (Patience.block_ns and awake_ns).
_TIDY_AFTER_S = 3.0
_FORGOTTEN_WITHIN_S = 120.0


def measure(quick: bool) -> dict[str, Any]:
    """Memory and lookup times with many inodes, and once they are forgotten; *quick* is shorter."""
    directories, files = (10, 500) if quick else (100, 10_000)
    with scratch() as place:
        _make_files(Path(place.source), directories, files)
        with osxfs_sim.share(
            place.source,
            place.mountpoint,
            profile="osxfs-cached",
            latency_ns=0,
            bandwidth="none",
            cache_timeout_ns=24 * 3_600 * 1_000_000_000,
        ) as share:
            pid = pid_of(share)
            wait_quiet(pid, quiet_s=_TIDY_AFTER_S, within_s=30)
            memory = {"start": memory_bytes(pid)}
            taken_ns = _look_up(place.mountpoint, directories, files)
            memory["looked up"] = memory_bytes(pid)
            wait_quiet(pid, quiet_s=_TIDY_AFTER_S, within_s=30)
            memory["idle"] = memory_bytes(pid)
            dropped = _drop_caches()
            if dropped:
                wait_quiet(pid, quiet_s=_TIDY_AFTER_S, within_s=_FORGOTTEN_WITHIN_S)
                memory["forgotten"] = memory_bytes(pid)
            status = share.status()
    looked_up = directories * files
    grown_bytes = memory["looked up"]["most_bytes"] - memory["start"]["now_bytes"]
    return {
        "quick": quick,
        "names": looked_up,
        "lookups": status.requests.get("LOOKUP", 0),
        "forgets": status.requests.get("FORGET", 0),
        "inodes_left": status.inodes,
        "caches_dropped": dropped,
        "bytes_per_inode": round(grown_bytes / looked_up, 1),
        "stat_p50_us": round(float(np.median(taken_ns)) / 1_000, 2),
        "stat_worst_ms": round(int(taken_ns.max()) / 1e6, 2),
        "rows": [
            {
                "when": when,
                "now_mib": round(figures["now_bytes"] / 2**20, 1),
                "most_mib": round(figures["most_bytes"] / 2**20, 1),
                **figures,
            }
            for when, figures in memory.items()
        ],
    }


def _make_files(source: Path, directories: int, files: int) -> None:
    for i in range(directories):
        directory = source / f"directory-{i:03}"
        directory.mkdir()
        fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
        try:
            for j in range(files):
                os.mknod(f"file-{j:05}", 0o644, dir_fd=fd)
        finally:
            os.close(fd)


def _look_up(mountpoint: str, directories: int, files: int) -> Samples:
    taken_ns = np.zeros(directories * files, np.int64)
    clock_ns, stat = time.perf_counter_ns, os.stat
    position = 0
    for i in range(directories):
        for j in range(files):
            path = f"{mountpoint}/directory-{i:03}/file-{j:05}"
            start_ns = clock_ns()
            stat(path)
            taken_ns[position] = clock_ns() - start_ns
            position += 1
    return taken_ns


def _drop_caches() -> bool:
    if not os.access(_DROP_CACHES, os.W_OK):
        return False
    Path(_DROP_CACHES).write_text(_DENTRIES_AND_INODES)
    return True
