"""Ten thousand host changes at once, while a guest goes on reading.

What unpacking an archive, or switching a branch, does to a share that caches
what it knows: whether requests keep their latency, whether memory stays
bounded, and whether the guest sees the truth at the end. The same burst beside
the share, on the same file system, is the control: what the machine itself
takes (two processors for a client, a server and a host that is busy), and what
it costs that the watcher sees the whole file system.
"""

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import osxfs_sim
from bench import clients
from bench.figures import histogram, per_request
from bench.scratch import MISSING, memory_bytes, pid_of, scratch, server_share

_NO_BURST, _BESIDE, _INSIDE = "none", "beside the share", "in the share"
_SETTLED_WITHIN_S = 120.0
_BEGINS_AFTER_S = 0.3

# Each writes what it took, in nanoseconds.
_BURSTS = {
    # As tar does.
    "unpack": """
for number in range(count):
    with open(f"{root}/{number % directories}/new-{number}", "w") as file:
        file.write(f"new {number}")
""",
    # As git does: a new file takes the place of the old.
    "switch branch": """
for number in range(count):
    path = f"{root}/{number % directories}/file-{number}"
    with open(path + ".new", "w") as file:
        file.write(f"another {number}")
    os.rename(path + ".new", path)
""",
}
_BURST = """
import os, sys, time
root, count, directories = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
time.sleep({begins_after_s})
began_ns = time.monotonic_ns()
{burst}
print(time.monotonic_ns() - began_ns)
"""


def measure(quick: bool) -> dict[str, Any]:
    """Receipts, staleness and memory in and after a burst of host changes; *quick* is shorter."""
    changes, directories, calls = (300, 10, 5_000) if quick else (10_000, 100, 20_000)
    rows = [_measure(_NO_BURST, "", changes, directories, calls)]
    for kind in _BURSTS:
        rows += [_measure(where, kind, changes, directories, calls) for where in (_BESIDE, _INSIDE)]
    return {"quick": quick, "changes": changes, "rows": rows}


def _measure(where: str, kind: str, changes: int, directories: int, calls: int) -> dict[str, Any]:
    with scratch() as place, scratch() as beside:
        for source in (place.source, beside.source):
            _fill(Path(source), changes, directories)
        with osxfs_sim.share(place.source, place.mountpoint, profile="osxfs-cached") as share:
            _look_everywhere(place.mountpoint, directories)
            pid = pid_of(share)
            before = memory_bytes(pid)
            share.reset()
            host = None
            if where != _NO_BURST:
                root = place.source if where == _INSIDE else beside.source
                script = _BURST.format(burst=_BURSTS[kind], begins_after_s=_BEGINS_AFTER_S)
                host = subprocess.Popen(
                    [sys.executable, "-c", script, root, str(changes), str(directories)],
                    stdout=subprocess.PIPE,
                    text=True,
                )
            called = clients.run("stat", calls, place.paths(MISSING, 1))
            burst_ns = 0
            if host is not None:
                burst_ns = int(host.communicate()[0])
            began_s = time.monotonic()
            try:
                status = share.settle(_SETTLED_WITHIN_S)
            except osxfs_sim.MountError as error:
                raise clients.CannotMeasureError(str(error)) from error
            settled_s = time.monotonic() - began_s
            wrong = _differences(place.source, place.mountpoint, changes, directories)
            after = memory_bytes(pid)
    events = status.events
    assert events is not None
    receipt = status.receipt["metadata"]
    return {
        "burst": kind or "-",
        "where": where,
        "burst_s": round(burst_ns / 1e9, 2),
        "settled_after_s": round(settled_s, 2),
        **per_request(called.taken_ns, 1),
        "receipt_p50_us": receipt.observed_p50_ns / 1_000,
        "late": receipt.late,
        "seen": events.seen,
        "must_scans": events.must_scans,
        "rescans": events.rescans,
        "raised": sum(events.raised.values()),
        "wrong_at_the_end": wrong,
        "grown_mib": round((after["most_bytes"] - before["now_bytes"]) / 2**20, 1),
        "server_share_of_core": server_share(status),
        "histogram": histogram(called.taken_ns),
    }


def _fill(source: Path, changes: int, directories: int) -> None:
    for number in range(directories):
        (source / str(number)).mkdir()
    for number in range(changes):
        (source / str(number % directories) / f"file-{number}").write_text(f"one {number}")


def _look_everywhere(mountpoint: str, directories: int) -> None:
    """Have the guest's kernel cache all there is."""
    for number in range(directories):
        with os.scandir(os.path.join(mountpoint, str(number))) as entries:
            for entry in entries:
                entry.stat()


def _differences(source: str, mountpoint: str, changes: int, directories: int) -> int:
    """How many files the guest sees otherwise than the host. It is not asked for listings first."""
    wrong = 0
    for number in range(changes):
        for name in (f"file-{number}", f"new-{number}"):
            within = os.path.join(str(number % directories), name)
            wrong += _seen(os.path.join(source, within)) != _seen(os.path.join(mountpoint, within))
    return wrong


def _seen(path: str) -> tuple[int, int, bytes] | None:
    try:
        status = os.stat(path)
        with open(path, "rb") as file:
            return status.st_size, status.st_mtime_ns, file.read()
    except FileNotFoundError:
        return None
