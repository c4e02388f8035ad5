"""One large file, read and written from end to end: with the profile's link, and without.

Cold in the guest (a fresh mount holds no pages), warm on the host (tmpfs). The
file is written in calls of 1 MiB, as ``dd bs=1M`` does, and read likewise.
"""

import os
import time
from pathlib import Path
from statistics import median
from typing import Any

import osxfs_sim
from bench.scratch import Scratch, awaited, scratch, server_share

_BLOCK_BYTES = 1 << 20
# What is asked for: the profile's 250 MB/s, and nothing at all.
_ARMS: dict[str, dict[str, Any]] = {
    "250MB/s": {"profile": "osxfs"},
    "none": {"profile": "none", "bandwidth": "none"},
}


def measure(quick: bool) -> dict[str, Any]:
    """Throughput of one large file, by link and direction; *quick* is shorter."""
    rounds, size_bytes = (1, 32 << 20) if quick else (3, 512 << 20)
    seen: dict[tuple[str, str], list[dict[str, Any]]] = {}
    with scratch() as place:
        _make_file(Path(place.source, "read"), size_bytes)
        for _ in range(rounds):
            for cap in _ARMS:
                for direction in ("read", "write"):
                    one = _transfer(place, cap, direction, size_bytes)
                    seen.setdefault((cap, direction), []).append(one)
    rows = [
        {
            "cap": cap,
            "direction": direction,
            "megabytes_per_s": round(median(one["megabytes_per_s"] for one in ones), 1),
            "kib_per_request": round(median(one["kib_per_request"] for one in ones), 1),
            "server_share_of_core": median(one["server_share_of_core"] for one in ones),
            "megabytes_per_s_of_rounds": [one["megabytes_per_s"] for one in ones],
        }
        for (cap, direction), ones in seen.items()
    ]
    return {
        "quick": quick,
        "rounds": rounds,
        "size_bytes": size_bytes,
        "host": "tmpfs, in memory",
        "rows": rows,
    }


def _make_file(path: Path, size_bytes: int) -> None:
    block = os.urandom(_BLOCK_BYTES)
    with path.open("wb") as file:
        for _ in range(size_bytes // _BLOCK_BYTES):
            file.write(block)


def _transfer(place: Scratch, cap: str, direction: str, size_bytes: int) -> dict[str, Any]:
    with osxfs_sim.share(place.source, place.mountpoint, **_ARMS[cap]) as share:
        path = os.path.join(place.mountpoint, direction)
        share.reset()
        start_ns = time.perf_counter_ns()
        if direction == "read":
            _read(path, size_bytes)
        else:
            _write(path, size_bytes)
        taken_ns = time.perf_counter_ns() - start_ns
        status = share.reset()
        requests = status.requests.get(direction.upper(), 0)
    if direction == "write":
        os.unlink(os.path.join(place.source, direction))
    return {
        "megabytes_per_s": round(size_bytes / taken_ns * 1_000, 1),
        "kib_per_request": size_bytes / 1024 / requests,
        "requests": awaited(status),
        "server_share_of_core": server_share(status),
    }


def _read(path: str, size_bytes: int) -> None:
    block = bytearray(_BLOCK_BYTES)
    fd = os.open(path, os.O_RDONLY)
    try:
        read_bytes = 0
        while length := os.readv(fd, [block]):
            read_bytes += length
        assert read_bytes == size_bytes, (read_bytes, size_bytes)
    finally:
        os.close(fd)


def _write(path: str, size_bytes: int) -> None:
    block = os.urandom(_BLOCK_BYTES)
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    try:
        for _ in range(size_bytes // _BLOCK_BYTES):
            written = os.write(fd, block)
            assert written == len(block), written
    finally:
        os.close(fd)
