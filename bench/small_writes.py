"""Writes of 1 KiB one after the other: the case that osxfs publishes a time for.

The published number (docker/docs osxfs-caching.md) is 23 s for 100 MB, which
is 102,400 writes of 225 us. The profile was fitted to it: this shows that the
emulation returns what was put in, and no more.
"""

import os
from typing import Any

import numpy as np

import osxfs_sim
from bench import clients
from bench.figures import histogram, per_request
from bench.scratch import awaited, scratch, server_share

_PUBLISHED_WRITES = 102_400
_PUBLISHED_S = 23.0


def measure(quick: bool) -> dict[str, Any]:
    """The time of small writes, beside the published one; *quick* is shorter."""
    writes = 1_000 if quick else 20_000
    with (
        scratch() as place,
        osxfs_sim.share(place.source, place.mountpoint, profile="osxfs") as share,
    ):
        path = os.path.join(place.mountpoint, "file")
        clients.run("write", 100, [path])
        share.reset()
        called = clients.run("write", writes, [path])
        status = share.reset()
        assert os.stat(os.path.join(place.source, "file")).st_size == writes * 1024
    extrapolated_s = float(np.sum(called.taken_ns)) / writes * _PUBLISHED_WRITES / 1e9
    row = {
        "writes": writes,
        "mean_us": round(float(np.mean(called.taken_ns)) / 1_000, 2),
        **per_request(called.taken_ns, 1),
        "requests_per_write": round(awaited(status) / writes, 3),
        "extrapolated_s": round(extrapolated_s, 2),
        "published_s": _PUBLISHED_S,
        "to_published": round(extrapolated_s / _PUBLISHED_S, 4),
        "receipt_p50_us": status.receipt["write"].observed_p50_ns / 1_000,
        "server_share_of_core": server_share(status),
        "histogram": histogram(called.taken_ns),
    }
    return {"quick": quick, "published_writes": _PUBLISHED_WRITES, "rows": [row]}
