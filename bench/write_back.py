"""What it costs to hold a change, and whether what crosses in the background costs what it should.

Small writes, as dd makes them, to a share without latency that writes through, to one that holds
changes, and to one whose kernel holds them too. The first is the emulator's floor for a write:
what the second adds is the journal and the list. Then a guest that writes faster than its limit
allows, on a share with osxfs's latencies: the receipt of the crossings behind its back.
"""

import os
from typing import Any

import numpy as np

import osxfs_sim
from bench import clients
from bench.figures import histogram, per_request
from bench.scratch import scratch, server_share

_HOLDS_ALL = {"write_back_age_ns": 3_600 * 10**9}
_SHARES: dict[str, dict[str, Any]] = {
    "written through": {"profile": "none"},
    "held": {"profile": "osxfs-delegated", "latency_ns": 0, **_HOLDS_ALL},
    "held by the kernel too": {"profile": "osxfs-delegated-kernel", "latency_ns": 0, **_HOLDS_ALL},
}


def measure(quick: bool) -> dict[str, Any]:
    """What an acknowledged and a throttled write cost, by kind of share; *quick* is shorter."""
    writes = 1_000 if quick else 50_000
    rows = [_acknowledged(share, settings, writes) for share, settings in _SHARES.items()]
    floor_us = rows[0]["p50_us"]
    for row in rows:
        row["to_written_through"] = round(row["p50_us"] / floor_us, 3)
    return {"quick": quick, "rows": [*rows, _throttled(quick)]}


def _acknowledged(name: str, settings: dict[str, Any], writes: int) -> dict[str, Any]:
    with scratch() as place, osxfs_sim.share(place.source, place.mountpoint, **settings) as share:
        path = os.path.join(place.mountpoint, "file")
        clients.run("write", 100, [path])
        share.flush()
        share.reset()
        called = clients.run("write", writes, [path])
        status = share.status()
        share.flush()
        assert os.stat(os.path.join(place.source, "file")).st_size == writes * 1024
    return {
        "share": name,
        "writes": writes,
        "mean_us": round(float(np.mean(called.taken_ns)) / 1_000, 2),
        **per_request(called.taken_ns, 1),
        "server_share_of_core": server_share(status),
        "histogram": histogram(called.taken_ns),
    }


def _throttled(quick: bool) -> dict[str, Any]:
    """Changes beyond what may be held, each of which waits until another has crossed."""
    changes = 500 if quick else 5_000
    with (
        scratch() as place,
        osxfs_sim.share(
            place.source, place.mountpoint, profile="osxfs-delegated", write_back_changes=50
        ) as share,
    ):
        share.reset()
        for number in range(changes):
            os.mkdir(os.path.join(place.mountpoint, f"directory-{number}"))
        held = share.flush().write_back
    assert held is not None
    receipt = held.receipt["metadata"]
    return {
        "share": "held, more than may be",
        "changes": held.made,
        "crossed": held.crossed,
        "throttled": held.throttled,
        "most_changes_at_risk": held.most_changes_at_risk,
        "limit_changes": held.limit_changes,
        "crossing_asked_us": receipt.target_p50_ns / 1_000,
        "crossing_achieved_us": receipt.observed_p50_ns / 1_000,
        "crossing_achieved_p90_us": receipt.observed_p90_ns / 1_000,
        "achieved_to_asked": round(receipt.observed_p50_ns / receipt.target_p50_ns, 4),
    }
